//! Which interfaces the virtual routers live on: sockets, virtual MACs, readiness, and who else is there.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::socket::LinkAddr;
use warren_api::vrrp::{self as api, kind};
use warren_vrrp::{Family, Input, State};

use super::{Daemon, REPAIR_WINDOW};
use crate::config::plan::{AddressPlan, RouterPlan};
use crate::frames::Mac;
use crate::guard::messages::{FromWorker, HeldAddress, Holding as GuardHolding};
use crate::history::{event, with};
use crate::instance::{Instance, Link};
use crate::netlink::macvlan::VirtualMac;
use crate::netlink::monitor::{Change, Interface};
use crate::plumbing::{self, probe};
use crate::protocol::{Command, Slot, resignation};
use crate::wire::{ForeignObserver, Receiver, Sender, VridSet};
use crate::words;

/// Packets with foreign VRIDs looked at per interface and look.
const FOREIGN_PACKETS: usize = 32;
/// Foreign virtual routers remembered.
const FOREIGN_MAX: usize = 256;
/// For how long after they were last heard.
const FOREIGN_MEMORY: Duration = Duration::from_secs(600);

/// Questions open at a time.
const LOOKS_MAX: usize = 4;
/// How long an address is asked after.
const RIVAL_WAIT: Duration = Duration::from_millis(300);

/// Who else answered for an address of ours.
#[derive(Debug)]
pub(super) struct Sighting {
    slot: Slot,
    address: IpAddr,
    mac: Option<Mac>,
}

/// Sockets, virtual MACs and foreign routers.
#[derive(Default)]
pub(super) struct Links {
    wires: Vec<Option<Wire>>,
    virtual_macs: BTreeMap<Slot, VirtualMac>,
    /// Routers whose link is to be asked who holds an address, and how many questions are open.
    to_look: VecDeque<Slot>,
    looking: usize,
    /// Where questions are sent from, by interface.
    link_addresses: BTreeMap<u32, LinkAddr>,
    foreign: BTreeMap<(String, u8, IpAddr), (api::ForeignRouter, Instant)>,
}

/// The sockets of one interface and family. Its position is the protocol thread's name for it.
struct Wire {
    interface: String,
    index: u32,
    family: Family,
    receiver: Arc<Receiver>,
    sender: Arc<Sender>,
    observer: Option<ForeignObserver>,
    /// What the receiver lets through.
    vrids: VridSet,
}

impl Links {
    /// The wire for this interface, opened if need be. True if it is new to the protocol thread.
    fn wire(&mut self, interface: &str, index: u32, family: Family) -> io::Result<(usize, bool)> {
        let same = |wire: &Wire| wire.index == index && wire.family == family;
        if let Some(position) = self.wires.iter().position(|wire| wire.as_ref().is_some_and(same)) {
            return Ok((position, false));
        }
        let wire = Wire {
            interface: interface.to_owned(),
            index,
            family,
            receiver: Arc::new(Receiver::open(interface, index, family)?),
            sender: Arc::new(Sender::open(interface, index, family)?),
            observer: None,
            vrids: VridSet::default(),
        };
        let free = self.wires.iter().position(Option::is_none);
        let position = free.unwrap_or_else(|| {
            self.wires.push(None);
            self.wires.len() - 1
        });
        self.wires[position] = Some(wire);
        Ok((position, true))
    }

    /// Where questions on this interface are sent from.
    fn link_address(&mut self, index: u32) -> io::Result<LinkAddr> {
        match self.link_addresses.entry(index) {
            Entry::Occupied(known) => Ok(*known.get()),
            Entry::Vacant(vacant) => Ok(*vacant.insert(probe::link_address(index)?)),
        }
    }

    /// Takes the virtual MAC interfaces away again.
    pub(super) fn remove_virtual_macs(&mut self) {
        while let Some((&slot, _)) = self.virtual_macs.first_key_value() {
            self.remove_virtual_mac(slot);
        }
    }

    /// Takes a router's virtual MAC interface away, unless its successor has taken it over.
    pub(super) fn remove_virtual_mac(&mut self, slot: Slot) {
        let Some(gone) = self.virtual_macs.remove(&slot) else {
            return;
        };
        let index = gone.index();
        if !self.virtual_macs.values().any(|other| other.index() == index)
            && let Err(error) = gone.remove()
        {
            tracing::warn!(%error, "virtual MAC interface not removed");
        }
    }

    pub(super) fn foreign(&self) -> Vec<api::ForeignRouter> {
        self.foreign
            .values()
            .map(|(router, heard)| api::ForeignRouter {
                heard_ago_us: words::micros(heard.elapsed()),
                ..router.clone()
            })
            .collect()
    }
}

impl Daemon {
    /// Brings every router in line with the interfaces as they are now.
    pub(super) fn attach_all(&mut self) {
        let interfaces = self.monitor.interfaces();
        self.links
            .link_addresses
            .retain(|index, _| interfaces.by_index(*index).is_some());
        let slots: Vec<Slot> = self
            .instances
            .iter()
            .flatten()
            .map(|instance| instance.slot)
            .collect();
        for slot in slots {
            self.attach(slot);
        }
        self.update_filters();
        // A sync group's members depend on each other's links.
        self.reassess_all();
    }

    /// Brings one router in line with its interface.
    pub(super) fn attach(&mut self, slot: Slot) {
        let Some(instance) = self.instance(slot).filter(|instance| !instance.leaving) else {
            return;
        };
        let plan = instance.plan.clone();
        match self.link_for(slot, &plan) {
            Ok(link) => {
                let changed = self
                    .instance(slot)
                    .is_some_and(|instance| instance.link.as_ref() != Some(&link));
                if changed {
                    if let Some(instance) = self.instance_mut(slot) {
                        instance.link = Some(link);
                    }
                    self.install(slot);
                    if let Some(legacy) = self.instance_mut(slot).and_then(|it| it.legacy.take()) {
                        self.protocol.input(slot, legacy);
                    }
                }
                self.refresh_source(slot, &plan);
            }
            Err(problem) => self.detach(slot, problem),
        }
    }

    /// Tells protocol, plumbing and guard what the router is, as its plan and link say now.
    pub(super) fn install(&mut self, slot: Slot) {
        let Some(instance) = self.instance(slot) else {
            return;
        };
        let Some(installation) = instance.installation() else {
            return;
        };
        self.protocol.send(Command::Install(Box::new(installation)));
        let lease = self.lease_of(&instance.plan);
        let find = |name: &str| {
            let interface = self.monitor.interfaces().by_name(name)?;
            Some(plumbing::Link {
                index: interface.index,
                mac: interface.mac,
                forwarding: interface.forwarding,
            })
        };
        match plumbing::Holding::resolve(&instance.plan, lease, &find) {
            Ok(holding) => self.plumbing.install(usize::from(slot), holding),
            Err(missing) => {
                let text = missing.to_string();
                let event = event(kind::LINK, Some(instance.name()), text);
                self.history.record(event);
            }
        }
        self.hold(slot);
    }

    /// Tells the guard what it would have to undo.
    fn hold(&mut self, slot: Slot) {
        let Some(instance) = self.instance(slot) else {
            return;
        };
        let (Some(source), Some(installation), Some(link)) =
            (instance.source, instance.installation(), instance.link.as_ref())
        else {
            return;
        };
        let index_of = |device: &Option<String>| match device {
            Some(name) => self
                .monitor
                .interfaces()
                .by_name(name)
                .map(|interface| interface.index),
            None => Some(link.carrier_index),
        };
        let addresses = instance
            .plan
            .addresses
            .iter()
            .chain(&instance.plan.excluded)
            .filter_map(|address| {
                Some(HeldAddress {
                    interface_index: index_of(&address.device)?,
                    address: address.address,
                    prefix: address.prefix,
                })
            })
            .collect();
        self.tell_guard(FromWorker::Hold(GuardHolding {
            slot,
            router: instance.name().to_owned(),
            resign: resignation(&installation, source),
            addresses,
        }));
    }

    fn link_for(&mut self, slot: Slot, plan: &RouterPlan) -> Result<Link, String> {
        let family = plan.settings.family;
        let base = self
            .monitor
            .interfaces()
            .by_name(&plan.interface)
            .ok_or_else(|| format!("interface {} does not exist", plan.interface))?
            .clone();
        let carrier = self.carrier(slot, plan, &base)?;
        let transmit_base = plan
            .virtual_mac
            .as_ref()
            .is_none_or(|virtual_mac| virtual_mac.transmit_base);
        let sending = if transmit_base { &base } else { &carrier };
        let receive_on = self.open_wire(&base, family)?;
        let send_on = self.open_wire(sending, family)?;
        Ok(Link {
            interface_index: base.index,
            receive_on,
            send_on,
            send_interface: sending.name.clone(),
            send_interface_index: sending.index,
            carrier: carrier.name,
            carrier_index: carrier.index,
            carrier_mac: carrier.mac,
            devices: self.devices(plan),
        })
    }

    fn devices(&self, plan: &RouterPlan) -> Vec<(String, Option<u32>)> {
        let of_addresses = plan
            .addresses
            .iter()
            .chain(&plan.excluded)
            .filter_map(|address| address.device.as_ref());
        let of_routes = plan.routes.iter().filter_map(|route| route.device.as_ref());
        let names: BTreeSet<&String> = of_addresses.chain(of_routes).collect();
        let interfaces = self.monitor.interfaces();
        let index = |name: &str| interfaces.by_name(name).map(|interface| interface.index);
        names
            .into_iter()
            .map(|name| (name.clone(), index(name)))
            .collect()
    }

    /// The interface that carries the addresses: with a virtual MAC one of its own, made now if it is not there.
    fn carrier(&mut self, slot: Slot, plan: &RouterPlan, base: &Interface) -> Result<Interface, String> {
        let Some(wanted) = &plan.virtual_mac else {
            return Ok(base.clone());
        };
        if self.monitor.interfaces().by_name(&wanted.name).is_none() {
            // Somebody deleted it, or its base went and came back.
            self.links.virtual_macs.remove(&slot);
        }
        if let Entry::Vacant(vacant) = self.links.virtual_macs.entry(slot) {
            let made = VirtualMac::create(wanted, base.index, &base.name, plan.settings.family)
                .map_err(|error| format!("virtual MAC interface {} not made: {error}", wanted.name))?;
            vacant.insert(made);
            self.monitor.refresh().map_err(|error| error.to_string())?;
        }
        let carrier = self.monitor.interfaces().by_name(&wanted.name);
        carrier
            .cloned()
            .ok_or_else(|| format!("virtual MAC interface {} has gone", wanted.name))
    }

    fn open_wire(&mut self, interface: &Interface, family: Family) -> Result<usize, String> {
        let (position, new) = self
            .links
            .wire(&interface.name, interface.index, family)
            .map_err(|error| format!("no socket on {}: {error}; CAP_NET_RAW is needed", interface.name))?;
        if new && let Some(wire) = &self.links.wires[position] {
            self.protocol.send(Command::Wire {
                wire: position,
                receiver: Some(Arc::clone(&wire.receiver)),
                sender: Some(Arc::clone(&wire.sender)),
            });
        }
        Ok(position)
    }

    fn detach(&mut self, slot: Slot, problem: String) {
        self.links.virtual_macs.remove(&slot);
        if let Some(instance) = self.instance_mut(slot) {
            instance.link = None;
        }
        self.lose_link(slot, problem);
    }

    /// Looks whether the interface can be spoken from, and as whom.
    fn refresh_source(&mut self, slot: Slot, plan: &RouterPlan) {
        match self.usable_source(plan, slot) {
            Ok(source) => {
                let Some(instance) = self.instance_mut(slot) else {
                    return;
                };
                if instance.source == Some(source) {
                    return;
                }
                instance.source = Some(source);
                instance.link_problem = None;
                let text = format!("{} is ready; speaking as {source}", plan.interface);
                let event = event(kind::LINK, Some(instance.name()), text);
                self.history.record(event);
                self.hold(slot);
                self.protocol.input(slot, Input::LinkReady { source });
            }
            Err(problem) => self.lose_link(slot, problem),
        }
    }

    fn lose_link(&mut self, slot: Slot, problem: String) {
        let Some(instance) = self.instance_mut(slot) else {
            return;
        };
        if instance.source.is_none() && instance.link_problem.as_ref() == Some(&problem) {
            return;
        }
        let had_link = instance.source.take().is_some();
        instance.link_problem = Some(problem.clone());
        let event = event(kind::LINK, Some(instance.name()), problem);
        self.history.record(event);
        if had_link {
            self.protocol.input(slot, Input::LinkLost);
        }
    }

    fn usable_source(&self, plan: &RouterPlan, slot: Slot) -> Result<IpAddr, String> {
        let interfaces = self.monitor.interfaces();
        let family = plan.settings.family;
        let link = self.instance(slot).and_then(|instance| instance.link.as_ref());
        let base = interfaces
            .by_name(&plan.interface)
            .ok_or("interface does not exist")?;
        if !plan.ignore_interface_down && !base.operational() {
            return Err(format!(
                "interface {} is down ({})",
                base.name,
                base.operstate_word()
            ));
        }
        // IPv6 adverts leave with the link-local address of the interface they leave by.
        let speaker = match (family, link) {
            (Family::V6, Some(link)) => interfaces.by_index(link.send_interface_index).unwrap_or(base),
            _ => base,
        };
        let configured = plan.source;
        if let Some(source) = configured {
            return if base.has(source) || speaker.has(source) {
                Ok(source)
            } else {
                Err(format!(
                    "{source} is not on {}; add it or remove `source`",
                    base.name
                ))
            };
        }
        let ours = |address: IpAddr| {
            self.instances.iter().flatten().any(|instance| {
                let plan = &instance.plan;
                // An owner's address is a virtual one and the interface's own at once.
                instance.plan.priority != 255
                    && plan
                        .addresses
                        .iter()
                        .chain(&plan.excluded)
                        .any(|held| held.address == address)
            })
        };
        speaker.source(family, &ours).ok_or_else(|| match family {
            Family::V4 => format!("interface {} has no IPv4 address of its own", speaker.name),
            Family::V6 => format!("interface {} has no usable link-local address", speaker.name),
        })
    }

    /// Closes the wires that no router uses any more: the interface is gone, or another one by now.
    fn close_wires(&mut self) {
        for position in 0..self.links.wires.len() {
            let mut links = self
                .instances
                .iter()
                .flatten()
                .filter_map(|instance| instance.link.as_ref());
            let used = links.any(|link| link.receive_on == position || link.send_on == position);
            if !used && self.links.wires[position].take().is_some() {
                self.protocol.send(Command::Wire {
                    wire: position,
                    receiver: None,
                    sender: None,
                });
            }
        }
    }

    /// Lets through what is ours on each wire, and the rest to the observer.
    pub(super) fn update_filters(&mut self) {
        self.close_wires();
        for position in 0..self.links.wires.len() {
            let mut vrids = VridSet::default();
            for instance in self.instances.iter().flatten() {
                if instance
                    .link
                    .as_ref()
                    .is_some_and(|link| link.receive_on == position)
                {
                    vrids.insert(instance.plan.settings.vrid.get());
                }
            }
            // Every notification of the kernel's leads here; hardly any changes this.
            let Some(wire) = self.links.wires[position]
                .as_mut()
                .filter(|wire| wire.vrids != vrids)
            else {
                continue;
            };
            match wire.receiver.listen_to(&vrids) {
                Ok(()) => wire.vrids = vrids,
                Err(error) => tracing::error!(interface = wire.interface, %error, "packet filter refused"),
            }
            if vrids != VridSet::default() {
                wire.observer = ForeignObserver::open(&wire.interface, wire.index, wire.family, &vrids).ok();
            }
        }
    }

    /// From netlink.
    pub(super) fn take_changes(&mut self, changes: Vec<Change>) {
        let mut interfaces_changed = false;
        for change in changes {
            match change {
                Change::Interface { name, up } => {
                    self.tracker.interface(&name, up);
                    interfaces_changed = true;
                }
                Change::Addresses { .. } => interfaces_changed = true,
                Change::Deleted { index, address } => {
                    self.repair(index, address);
                    interfaces_changed = true;
                }
            }
        }
        if interfaces_changed && self.stopping.is_none() {
            self.keep_statics();
            self.attach_all();
        }
    }

    /// Looks for VRIDs that are not ours.
    pub(super) fn look_for_foreign(&mut self) {
        let now = Instant::now();
        let mut found = Vec::new();
        for wire in self.links.wires.iter().flatten() {
            let Some(observer) = &wire.observer else { continue };
            observer.look(FOREIGN_PACKETS, |vrid, priority, source| {
                let key = (wire.interface.clone(), vrid, source);
                let router = api::ForeignRouter {
                    interface: wire.interface.clone(),
                    vrid,
                    family: if wire.family == Family::V4 {
                        "ipv4".into()
                    } else {
                        "ipv6".into()
                    },
                    address: Some(source),
                    priority,
                    ..api::ForeignRouter::default()
                };
                found.push((key, router));
            });
        }
        self.links
            .foreign
            .retain(|_, (_, heard)| now.duration_since(*heard) < FOREIGN_MEMORY);
        for (key, router) in found {
            let known = self.links.foreign.contains_key(&key);
            if !known && self.links.foreign.len() >= FOREIGN_MAX {
                continue;
            }
            if !known {
                let text = format!(
                    "VRID {} on {} belongs to {}: do not use it here",
                    router.vrid, router.interface, key.2
                );
                self.history.record(event(kind::FOREIGN, None, text));
            }
            self.links.foreign.insert(key, (router, now));
        }
    }

    /// The instance that holds `address` on the interface with this index.
    pub(super) fn holder_of(&self, index: u32, address: IpAddr) -> Option<&Instance> {
        self.instances.iter().flatten().find(|instance| {
            let Some(link) = &instance.link else { return false };
            let plan = &instance.plan;
            plan.addresses.iter().chain(&plan.excluded).any(|held| {
                let on = match &held.device {
                    Some(device) => self
                        .monitor
                        .interfaces()
                        .by_name(device)
                        .map(|interface| interface.index),
                    None => Some(link.carrier_index),
                };
                held.address == address && on == Some(index)
            })
        })
    }
}

impl Daemon {
    /// An address of ours was deleted by somebody else: put it back, but do not fight over it for ever.
    fn repair(&mut self, index: u32, address: IpAddr) {
        let limit = usize::try_from(self.plan.repair_limit).unwrap_or(usize::MAX);
        let Some(slot) = self.holder_of(index, address).map(|instance| instance.slot) else {
            return;
        };
        let Some(instance) = self.instance_mut(slot) else {
            return;
        };
        if instance.state != State::Active || instance.surrendered {
            return;
        }
        let now = Instant::now();
        instance
            .repairs
            .retain(|at| now.duration_since(*at) < REPAIR_WINDOW);
        let name = instance.name().to_owned();
        let fields = |count: usize| [("address", address.to_string()), ("count", count.to_string())];
        if instance.repairs.len() < limit {
            instance.repairs.push_back(now);
            instance.repairs_total += 1;
            let count = instance.repairs.len();
            self.plumbing.repair(usize::from(slot));
            let text = format!("{address} was deleted by somebody else; put back");
            self.history
                .record(with(event(kind::REPAIR, Some(&name), text), fields(count)));
        } else {
            instance.surrendered = true;
            self.protocol.input(slot, Input::Surrender);
            let text = format!(
                "{address} was deleted {limit} times within a minute; the role is given up: stop whatever deletes it, \
                 then `warren resume {name}`"
            );
            self.history
                .record(with(event(kind::REPAIR, Some(&name), text), fields(limit)));
            self.reassess_all();
        }
    }
}

impl Daemon {
    /// Puts a router on the list of those whose link is asked who holds an address.
    pub(super) fn look_for_rival(&mut self, slot: Slot) {
        if !self.links.to_look.contains(&slot) {
            self.links.to_look.push_back(slot);
        }
        self.look_on();
    }

    /// Asks on behalf of the next ones on the list. A few at a time: every open question hears all of the link's ARP.
    fn look_on(&mut self) {
        while self.links.looking < LOOKS_MAX
            && let Some(slot) = self.links.to_look.pop_front()
        {
            self.look(slot);
        }
    }

    /// Asks after one of the router's addresses; each look asks after the next one.
    fn look(&mut self, slot: Slot) {
        let Some(instance) = self.instance_mut(slot) else {
            return;
        };
        let Some(link) = &instance.link else { return };
        let (index, mac) = (link.carrier_index, link.carrier_mac);
        let own_device = |address: &&AddressPlan| address.device.is_none();
        let addresses: Vec<IpAddr> = instance
            .plan
            .addresses
            .iter()
            .filter(own_device)
            .map(|address| address.address)
            .collect();
        if addresses.is_empty() {
            return;
        }
        instance.looks = instance.looks.wrapping_add(1);
        let address = addresses[instance.looks % addresses.len()];
        let from = match self.links.link_address(index) {
            Ok(from) => from,
            Err(error) => return tracing::debug!(%address, %error, "address not asked after"),
        };
        let sightings = self.sightings.clone();
        self.links.looking += 1;
        tokio::spawn(async move {
            let mac = probe::who_has(from, mac, address, RIVAL_WAIT)
                .await
                .unwrap_or_else(|error| {
                    tracing::debug!(%address, %error, "address not asked after");
                    None
                });
            // Room for every open question; the daemon is gone if it is refused.
            let _ = sightings.send(Sighting { slot, address, mac }).await;
        });
    }

    /// Another hardware address answered for ours, or nobody did.
    pub(super) fn take_sighting(&mut self, sighting: &Sighting) {
        let Sighting { slot, address, mac } = *sighting;
        self.links.looking = self.links.looking.saturating_sub(1);
        self.look_on();
        let ours = |mac: Mac| {
            self.monitor
                .interfaces()
                .iter()
                .any(|interface| interface.mac == mac)
        };
        let rival = mac.filter(|mac| !ours(*mac));
        let Some(instance) = self
            .instance_mut(slot)
            .filter(|instance| instance.state == State::Active)
        else {
            return;
        };
        let name = instance.name().to_owned();
        let known = instance
            .dual_active
            .as_ref()
            .is_some_and(|dual| dual.address == Some(address));
        match rival {
            Some(mac) => {
                let mac = words::hardware_address(mac);
                // The rightful holder says so again, every time.
                self.plumbing
                    .announce(usize::from(slot), plumbing::Cause::DualActive);
                if !known {
                    let dual = api::DualActive {
                        address: Some(address),
                        mac: mac.clone(),
                        since: words::timestamp(),
                    };
                    if let Some(instance) = self.instance_mut(slot) {
                        instance.dual_active = Some(dual);
                    }
                    let text =
                        format!("{mac} answers for {address} as well: two hosts hold it; announced again");
                    let fields = [("address", address.to_string()), ("mac", mac)];
                    self.history
                        .record(with(event(kind::DUAL_ACTIVE, Some(&name), text), fields));
                }
            }
            None if known => {
                instance.dual_active = None;
                let text = format!("nobody else answers for {address} any more");
                self.history.record(event(kind::DUAL_ACTIVE, Some(&name), text));
            }
            None => {}
        }
    }
}
