//! An address as we give it to the kernel: tagged as ours, with a lifetime, without side effects.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, CacheInfo,
};
use serde::{Deserialize, Serialize};

use super::batch::{Batch, Netlink, NetlinkError};
use super::family;

/// IFA_PROTO of every address we add, so that leftovers are known for ours. Kernels before 5.18 drop it.
pub const TAG: u8 = 0x57;

/// "For ever" in IFA_CACHEINFO.
const INFINITY: u32 = u32::MAX;

/// An address on one interface.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Address {
    pub ifindex: u32,
    pub address: IpAddr,
    pub prefix: u8,
    pub label: Option<String>,
    /// rtnetlink scope: 0 global, 253 link, 254 host.
    pub scope: u8,
    pub broadcast: Option<Ipv4Addr>,
    /// Let the kernel add the connected route of the prefix.
    pub prefix_route: bool,
}

impl Address {
    /// As much of an address as deleting it takes.
    #[must_use]
    pub fn bare(ifindex: u32, address: IpAddr, prefix: u8) -> Self {
        Self {
            ifindex,
            address,
            prefix,
            label: None,
            scope: 0,
            broadcast: None,
            prefix_route: false,
        }
    }

    /// Adds the address unless it is there (EEXIST). `None` = for ever.
    pub fn add(&self, lease: Option<Duration>, batch: &mut Batch) {
        batch.push(
            RouteNetlinkMessage::NewAddress(self.message(lease)),
            NLM_F_CREATE | NLM_F_EXCL,
        );
    }

    /// Adds the address, or gives it the lease if it is there. The kernel *creates* a missing one for every form of
    /// the request, so a renewal that comes too late brings the address back: callers look at the clock first.
    pub fn renew(&self, lease: Option<Duration>, batch: &mut Batch) {
        batch.push(
            RouteNetlinkMessage::NewAddress(self.message(lease)),
            NLM_F_CREATE | NLM_F_REPLACE,
        );
    }

    /// Deletes the address; EADDRNOTAVAIL if it is not there.
    pub fn delete(&self, batch: &mut Batch) {
        batch.push(RouteNetlinkMessage::DelAddress(self.message(None)), 0);
    }

    pub(super) fn message(&self, lease: Option<Duration>) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.header.family = family(self.address);
        message.header.prefix_len = self.prefix;
        message.header.scope = self.scope.into();
        message.header.index = self.ifindex;
        let attributes = &mut message.attributes;
        attributes.push(AddressAttribute::Local(self.address));
        attributes.push(AddressAttribute::Address(self.address));
        if let Some(label) = &self.label {
            attributes.push(AddressAttribute::Label(label.clone()));
        }
        if let Some(broadcast) = self.broadcast {
            attributes.push(AddressAttribute::Broadcast(broadcast));
        }
        attributes.push(AddressAttribute::Flags(self.flags()));
        attributes.push(AddressAttribute::CacheInfo(self.lifetime(lease)));
        attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(TAG)));
        message
    }

    fn flags(&self) -> AddressFlags {
        let mut flags = AddressFlags::empty();
        if self.address.is_ipv6() {
            // The peer may hold the address for a moment yet; detection would then disable ours.
            flags |= AddressFlags::Nodad;
        }
        if !self.prefix_route {
            flags |= AddressFlags::Noprefixroute;
        }
        flags
    }

    /// An IPv6 virtual address is deprecated from birth: still usable, but not chosen as the source of the host's own
    /// connections, which would break when it moves. IPv4 has no such choice to influence.
    fn lifetime(&self, lease: Option<Duration>) -> CacheInfo {
        let valid = lease.map_or(INFINITY, |lease| {
            u32::try_from(lease.as_secs()).unwrap_or(INFINITY)
        });
        let mut lifetime = CacheInfo::default();
        lifetime.ifa_valid = valid;
        lifetime.ifa_preferred = if self.address.is_ipv6() { 0 } else { valid };
        lifetime
    }

    /// Reads what the kernel says of an address, and whether it carries our tag.
    pub(super) fn parse(message: &AddressMessage) -> Option<(Self, bool)> {
        let mut local = None;
        let mut peer = None;
        let mut label = None;
        let mut broadcast = None;
        let mut prefix_route = true;
        let mut tagged = false;
        for attribute in &message.attributes {
            match attribute {
                AddressAttribute::Local(address) => local = Some(*address),
                AddressAttribute::Address(address) => peer = Some(*address),
                AddressAttribute::Label(name) => label = Some(name.clone()),
                AddressAttribute::Broadcast(address) => broadcast = Some(*address),
                AddressAttribute::Flags(flags) => prefix_route = !flags.contains(AddressFlags::Noprefixroute),
                AddressAttribute::Protocol(protocol) => tagged = u8::from(*protocol) == TAG,
                _ => {}
            }
        }
        let address = Self {
            ifindex: message.header.index,
            address: local.or(peer)?,
            prefix: message.header.prefix_len,
            label,
            scope: message.header.scope.into(),
            broadcast,
            prefix_route,
        };
        Some((address, tagged))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "address {}/{}", self.address, self.prefix)
    }
}

/// Every address there is, whoever added it.
pub fn present(netlink: &mut Netlink) -> Result<Vec<Address>, NetlinkError> {
    let messages = netlink.dump_addresses()?;
    Ok(messages
        .iter()
        .filter_map(Address::parse)
        .map(|(address, _)| address)
        .collect())
}

/// Whether the kernel remembers the tag of an address (5.18 and later). One that cannot be asked is taken for old.
#[must_use]
pub fn kernel_keeps_tags() -> bool {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").is_ok_and(|release| keeps_tags(&release))
}

fn keeps_tags(release: &str) -> bool {
    let mut numbers = release.split(['.', '-', '+', '\n']).map(str::parse);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        return false;
    };
    (major, minor) >= (5_u32, 18_u32)
}

/// Addresses an earlier run left behind, by their tag.
pub fn leftovers(netlink: &mut Netlink) -> Result<Vec<Address>, NetlinkError> {
    let messages = netlink.dump_addresses()?;
    Ok(messages
        .iter()
        .filter_map(Address::parse)
        .filter(|(_, tagged)| *tagged)
        .map(|(a, _)| a)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_kept_since_5_18() {
        for (release, kept) in [
            ("5.18.0", true),
            ("5.17.15-generic", false),
            ("6.1.0-13-amd64\n", true),
            ("4.19.0", false),
            ("6.0-rc1", true),
            ("unknown", false),
        ] {
            assert_eq!(keeps_tags(release), kept, "{release}");
        }
    }
}
