//! Which interfaces the virtual routers live on: sockets, virtual MACs and readiness.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use warren_api::vrrp::kind;
use warren_vrrp::{Family, Input};

use super::Daemon;
use crate::config::plan::{AddressPlan, RouterPlan};
use crate::guard::messages::{FromWorker, HeldAddress, Holding as GuardHolding};
use crate::history::event;
use crate::instance::Link;
use crate::netlink::macvlan::VirtualMac;
use crate::netlink::monitor::{Change, Interface};
use crate::plumbing;
use crate::protocol::{Command, Slot, resignation};
use crate::wire::{ForeignObserver, Passing, Receiver, Sender, VridSet};

/// Sockets and virtual MACs.
#[derive(Default)]
pub(super) struct Links {
    wires: Vec<Option<Wire>>,
    virtual_macs: BTreeMap<Slot, VirtualMac>,
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
    passing: Passing,
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
            passing: Passing::default(),
        };
        let free = self.wires.iter().position(Option::is_none);
        let position = free.unwrap_or_else(|| {
            self.wires.push(None);
            self.wires.len() - 1
        });
        self.wires[position] = Some(wire);
        Ok((position, true))
    }

    /// Those who hear the VRIDs that are not ours, with what they listen on.
    pub(super) fn observers(&self) -> impl Iterator<Item = (&str, Family, &ForeignObserver)> {
        let wires = self.wires.iter().flatten();
        wires.filter_map(|wire| Some((&*wire.interface, wire.family, wire.observer.as_ref()?)))
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
}

impl Daemon {
    /// Brings every router in line with the interfaces as they are now.
    pub(super) fn attach_all(&mut self) {
        self.rivals.forget_gone(self.monitor.interfaces());
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
        let addresses = instance
            .plan
            .addresses
            .iter()
            .chain(&instance.plan.excluded)
            .filter_map(|address| {
                Some(HeldAddress {
                    interface_index: self.place_of(link, address)?,
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

    /// The interface that carries this address of a router with this link.
    pub(super) fn place_of(&self, link: &Link, address: &AddressPlan) -> Option<u32> {
        match &address.device {
            Some(name) => Some(self.monitor.interfaces().by_name(name)?.index),
            None => Some(link.carrier_index),
        }
    }

    fn link_for(&mut self, slot: Slot, plan: &RouterPlan) -> Result<Link, String> {
        let family = plan.settings.family;
        let base = self
            .monitor
            .interfaces()
            .by_name(&plan.interface)
            .ok_or_else(|| {
                format!(
                    "interface {} does not exist; create it or correct `interface`",
                    plan.interface
                )
            })?
            .bare();
        let carrier = self.carrier(slot, plan, &base)?;
        let transmit_base = plan
            .virtual_mac
            .as_ref()
            .is_none_or(|virtual_mac| virtual_mac.transmit_base);
        let sending = if transmit_base { &base } else { &carrier };
        let receive_on = self.open_wire(&base, family)?;
        let receive_own_mac_on = match &plan.virtual_mac {
            Some(_) => Some(self.open_wire(&carrier, family)?),
            None => None,
        };
        let send_on = self.open_wire(sending, family)?;
        Ok(Link {
            interface_index: base.index,
            receive_on,
            receive_own_mac_on,
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
            .map(Interface::bare)
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
            let used = links.any(|link| {
                [Some(link.receive_on), link.receive_own_mac_on, Some(link.send_on)].contains(&Some(position))
            });
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
            let mut passing = Passing::default();
            for instance in self.instances.iter().flatten() {
                let Some(link) = &instance.link else { continue };
                let own_mac = link.receive_own_mac_on == Some(position);
                if own_mac {
                    passing.sender = Some(link.carrier_mac);
                }
                if own_mac || link.receive_on == position {
                    passing.vrids.insert(instance.plan.settings.vrid.get());
                }
            }
            // Every notification of the kernel's leads here; hardly any changes this.
            let Some(wire) = self.links.wires[position]
                .as_mut()
                .filter(|wire| wire.passing != passing)
            else {
                continue;
            };
            match wire.receiver.listen_to(&passing) {
                Ok(()) => wire.passing = passing,
                Err(error) => tracing::error!(interface = wire.interface, %error, "packet filter refused"),
            }
            if passing.vrids != VridSet::default() && passing.sender.is_none() {
                let ours = &passing.vrids;
                wire.observer = ForeignObserver::open(&wire.interface, wire.index, wire.family, ours).ok();
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
}
