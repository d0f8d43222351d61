//! The interfaces and their addresses, as a table that messages update. Pure: what is heard goes in, changes come out.

use std::collections::BTreeMap;
use std::net::IpAddr;

use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::RouteNetlinkMessage::{self, DelAddress, DelLink, NewAddress, NewLink};
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage, State};
use warren_vrrp::Family;

use super::address::Address;
use crate::frames::Mac;

/// An interface as the kernel last described it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    pub index: u32,
    pub name: String,
    /// Zero if it has none of six octets.
    pub mac: Mac,
    pub mtu: u32,
    /// Whether the host forwards IPv6 packets that arrive here.
    pub forwarding: bool,
    flags: LinkFlags,
    operstate: State,
    addresses: Vec<Assigned>,
}

/// An address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Assigned {
    address: IpAddr,
    prefix: u8,
    flags: AddressFlags,
    /// Added by a program like this one.
    tagged: bool,
}

/// What has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// An interface appeared, went up or down, got another name or hardware address, or disappeared (`up` is false).
    Interface { name: String, up: bool },
    /// Addresses of an interface came, went or became usable.
    Addresses { index: u32 },
    /// An address vanished by another's doing: deleted, flushed with its interface, or its lease ran out.
    Deleted { index: u32, address: IpAddr },
}

impl Interface {
    /// Frames sent now leave. IFF_UP alone does not say so: until the operational state is up the kernel drops what
    /// is sent without a word. Interfaces that know no operational state count by their flags.
    #[must_use]
    pub fn operational(&self) -> bool {
        match self.operstate {
            State::Up => self.flags.contains(LinkFlags::Up),
            State::Unknown => self.flags.contains(LinkFlags::Up | LinkFlags::Running),
            _ => false,
        }
    }

    /// The state in the words of `ip link`.
    #[must_use]
    pub fn operstate_word(&self) -> &'static str {
        match self.operstate {
            _ if !self.flags.contains(LinkFlags::Up) => "switched off",
            State::Up => "up",
            State::Down => "down",
            State::LowerLayerDown => "lower layer down",
            State::Dormant => "dormant",
            State::Testing => "testing",
            State::NotPresent => "not present",
            _ => "unknown",
        }
    }

    /// The interface without its addresses, of which there may be thousands: to be kept or passed on.
    #[must_use]
    pub fn bare(&self) -> Self {
        Self {
            name: self.name.clone(),
            addresses: Vec::new(),
            ..*self
        }
    }

    /// The address is here and can be used.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        self.addresses
            .iter()
            .any(|assigned| assigned.address == address && assigned.is_usable())
    }

    /// Every address. Those of our own plumbing are as of the last dump: [`refresh`](super::Monitor::refresh) first.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().map(|assigned| assigned.address)
    }

    /// The address to speak from: the primary IPv4 address or the link-local IPv6 address that is the host's own.
    #[must_use]
    pub fn source(&self, family: Family, virtual_address: &dyn Fn(IpAddr) -> bool) -> Option<IpAddr> {
        let mut own = self.addresses.iter().filter(|a| a.is_usable() && !a.tagged);
        let fits = |assigned: &Assigned| match (family, assigned.address) {
            (Family::V4, IpAddr::V4(_)) => !assigned
                .flags
                .intersects(AddressFlags::Secondary | AddressFlags::Deprecated),
            (Family::V6, IpAddr::V6(address)) => address.is_unicast_link_local(),
            _ => false,
        };
        // Whether an address is a virtual one takes longest to find out.
        let found = own.find(|assigned| fits(assigned) && !virtual_address(assigned.address));
        found.map(|assigned| assigned.address)
    }

    fn parse(message: &LinkMessage) -> Option<Self> {
        let mut interface = Self {
            index: message.header.index,
            name: String::new(),
            mac: Mac::default(),
            mtu: 0,
            forwarding: false,
            flags: message.header.flags,
            operstate: State::Unknown,
            addresses: Vec::new(),
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => interface.name.clone_from(name),
                LinkAttribute::Address(mac) => interface.mac = mac.as_slice().try_into().unwrap_or_default(),
                LinkAttribute::Mtu(mtu) => interface.mtu = *mtu,
                LinkAttribute::OperState(state) => interface.operstate = *state,
                _ => {}
            }
        }
        (!interface.name.is_empty()).then_some(interface)
    }

    fn same_link(&self, other: &Self) -> bool {
        (
            &self.name,
            self.mac,
            self.mtu,
            self.forwarding,
            self.operational(),
        ) == (
            &other.name,
            other.mac,
            other.mtu,
            other.forwarding,
            other.operational(),
        )
    }
}

impl Assigned {
    fn parse(message: &AddressMessage) -> Option<Self> {
        let (Address { address, prefix, .. }, tagged) = Address::parse(message)?;
        let flags = message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Flags(flags) => Some(*flags),
            _ => None,
        });
        let short = AddressFlags::from_bits_retain(u32::from(message.header.flags.bits()));
        Some(Self {
            address,
            prefix,
            flags: flags.unwrap_or(short),
            tagged,
        })
    }

    /// Not waiting for, nor condemned by, duplicate address detection.
    fn is_usable(&self) -> bool {
        let checked =
            !self.flags.contains(AddressFlags::Tentative) || self.flags.contains(AddressFlags::Optimistic);
        checked && !self.flags.contains(AddressFlags::Dadfailed)
    }

    fn is_same_place(&self, other: &Self) -> bool {
        (self.address, self.prefix) == (other.address, other.prefix)
    }
}

/// All interfaces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interfaces {
    by_index: BTreeMap<u32, Interface>,
}

impl Interfaces {
    #[must_use]
    pub fn by_index(&self, index: u32) -> Option<&Interface> {
        self.by_index.get(&index)
    }

    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Interface> {
        self.iter().find(|interface| interface.name == name)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Interface> {
        self.by_index.values()
    }

    /// Takes up one notification. `forwarding` looks the setting up by interface name.
    pub(super) fn apply(
        &mut self,
        message: &RouteNetlinkMessage,
        forwarding: impl Fn(&str) -> bool,
        changes: &mut Vec<Change>,
    ) {
        match message {
            // Bridges tell of their ports by link messages of another family.
            NewLink(link) if link.header.interface_family == AddressFamily::Unspec => {
                if let Some(mut interface) = Interface::parse(link) {
                    interface.forwarding = forwarding(&interface.name);
                    self.put(interface, changes);
                }
            }
            DelLink(link) if link.header.interface_family == AddressFamily::Unspec => {
                if let Some(gone) = self.by_index.remove(&link.header.index) {
                    changes.push(Change::Interface {
                        name: gone.name,
                        up: false,
                    });
                }
            }
            NewAddress(message) => self.assign(message, changes),
            DelAddress(message) => self.withdraw(message, changes),
            _ => {}
        }
    }

    fn put(&mut self, mut interface: Interface, changes: &mut Vec<Change>) {
        let up = interface.operational();
        if let Some(before) = self.by_index.get_mut(&interface.index) {
            interface.addresses = std::mem::take(&mut before.addresses);
            if !before.same_link(&interface) {
                if before.name != interface.name {
                    changes.push(Change::Interface {
                        name: before.name.clone(),
                        up: false,
                    });
                }
                changes.push(Change::Interface {
                    name: interface.name.clone(),
                    up,
                });
            }
        } else {
            changes.push(Change::Interface {
                name: interface.name.clone(),
                up,
            });
        }
        self.by_index.insert(interface.index, interface);
    }

    fn assign(&mut self, message: &AddressMessage, changes: &mut Vec<Change>) {
        let (Some(assigned), Some(interface)) = (
            Assigned::parse(message),
            self.by_index.get_mut(&message.header.index),
        ) else {
            return;
        };
        match interface
            .addresses
            .iter_mut()
            .find(|other| other.is_same_place(&assigned))
        {
            Some(same) if *same == assigned => return,
            Some(other) => *other = assigned,
            None => interface.addresses.push(assigned),
        }
        changes.push(Change::Addresses {
            index: interface.index,
        });
    }

    fn withdraw(&mut self, message: &AddressMessage, changes: &mut Vec<Change>) {
        let Some(withdrawn) = Assigned::parse(message) else {
            return;
        };
        let index = message.header.index;
        changes.push(Change::Deleted {
            index,
            address: withdrawn.address,
        });
        let Some(interface) = self.by_index.get_mut(&index) else {
            return;
        };
        let before = interface.addresses.len();
        interface
            .addresses
            .retain(|other| !other.is_same_place(&withdrawn));
        if interface.addresses.len() < before {
            changes.push(Change::Addresses { index });
        }
    }

    /// The table that a dump describes.
    pub(super) fn from_dump(
        links: &[LinkMessage],
        addresses: &[AddressMessage],
        forwarding: impl Fn(&str) -> bool,
    ) -> Self {
        let mut by_index = BTreeMap::new();
        for mut interface in links.iter().filter_map(Interface::parse) {
            interface.forwarding = forwarding(&interface.name);
            by_index.insert(interface.index, interface);
        }
        for message in addresses {
            let interface = by_index.get_mut(&message.header.index);
            if let (Some(interface), Some(assigned)) = (interface, Assigned::parse(message)) {
                interface.addresses.push(assigned);
            }
        }
        Self { by_index }
    }

    /// What has changed since `before`.
    pub(super) fn since(&self, before: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        for old in before.iter() {
            if self.by_index(old.index).is_none_or(|new| new.name != old.name) {
                changes.push(Change::Interface {
                    name: old.name.clone(),
                    up: false,
                });
            }
        }
        for new in self.iter() {
            let old = before.by_index(new.index);
            if old.is_none_or(|old| !old.same_link(new)) {
                changes.push(Change::Interface {
                    name: new.name.clone(),
                    up: new.operational(),
                });
            }
            if old.is_none_or(|old| old.addresses != new.addresses) {
                changes.push(Change::Addresses { index: new.index });
            }
        }
        changes
    }

    /// The addresses that were held `before` and are no longer.
    pub(super) fn lost_since(&self, before: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        for old in before.iter() {
            let new = self.by_index(old.index);
            let lost = old
                .addresses()
                .filter(|address| new.is_none_or(|new| !new.addresses().any(|a| a == *address)));
            changes.extend(lost.map(|address| Change::Deleted {
                index: old.index,
                address,
            }));
        }
        changes
    }
}
