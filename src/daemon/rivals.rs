//! Who else is there: other holders of our addresses, and virtual routers with VRIDs that are not ours.
//!
//! Both are looked for every few seconds, and cost no more than a few packets each time.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use nix::sys::socket::LinkAddr;
use warren_api::vrrp::{self as api, kind};
use warren_vrrp::{Family, State};

use super::Daemon;
use crate::config::plan::AddressPlan;
use crate::frames::Mac;
use crate::history::{event, with};
use crate::netlink::monitor::Interfaces;
use crate::plumbing::{self, probe};
use crate::protocol::Slot;
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

/// What has been seen, and what has yet to be looked at.
#[derive(Default)]
pub(super) struct Rivals {
    /// Routers whose link is to be asked who holds an address, and how many questions are open.
    to_look: VecDeque<Slot>,
    looking: usize,
    /// Where questions are sent from, by interface.
    link_addresses: BTreeMap<u32, LinkAddr>,
    foreign: BTreeMap<(String, u8, IpAddr), (api::ForeignRouter, Instant)>,
}

impl Rivals {
    /// Where questions on this interface are sent from.
    fn link_address(&mut self, index: u32) -> io::Result<LinkAddr> {
        match self.link_addresses.entry(index) {
            Entry::Occupied(known) => Ok(*known.get()),
            Entry::Vacant(vacant) => Ok(*vacant.insert(probe::link_address(index)?)),
        }
    }

    /// A number that comes back is another interface's.
    pub(super) fn forget_gone(&mut self, interfaces: &Interfaces) {
        self.link_addresses
            .retain(|index, _| interfaces.by_index(*index).is_some());
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
    /// Puts a router on the list of those whose link is asked who holds an address.
    pub(super) fn look_for_rival(&mut self, slot: Slot) {
        if !self.rivals.to_look.contains(&slot) {
            self.rivals.to_look.push_back(slot);
        }
        self.look_on();
    }

    /// Asks on behalf of the next ones on the list. A few at a time: every open question hears all of the link's ARP.
    fn look_on(&mut self) {
        while self.rivals.looking < LOOKS_MAX
            && let Some(slot) = self.rivals.to_look.pop_front()
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
        let from = match self.rivals.link_address(index) {
            Ok(from) => from,
            Err(error) => return tracing::debug!(%address, %error, "address not asked after"),
        };
        let sightings = self.sightings.clone();
        self.rivals.looking += 1;
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

    /// If nobody was heard and somebody held the address before all the same, that is no virtual router.
    pub(super) fn judge_holder_before(&mut self, slot: Slot, nobody_heard: bool) {
        let held_by = self
            .instance_mut(slot)
            .and_then(|instance| instance.held_by.take());
        if let Some((address, mac)) = held_by.filter(|_| nobody_heard) {
            self.raise_dual_active(slot, address, mac);
        }
    }

    fn raise_dual_active(&mut self, slot: Slot, address: IpAddr, mac: Mac) {
        let mac = words::hardware_address(mac);
        let Some(instance) = self.instance_mut(slot) else {
            return;
        };
        instance.dual_active = Some(api::DualActive {
            address: Some(address),
            mac: mac.clone(),
            since: words::timestamp(),
        });
        let name = instance.name().to_owned();
        let text = format!("{mac} answers for {address} as well: two hosts hold it; announced again");
        let fields = [("address", address.to_string()), ("mac", mac)];
        self.history
            .record(with(event(kind::DUAL_ACTIVE, Some(&name), text), fields));
    }

    /// Another hardware address answered for ours, or nobody did.
    pub(super) fn take_sighting(&mut self, sighting: &Sighting) {
        let Sighting { slot, address, mac } = *sighting;
        self.rivals.looking = self.rivals.looking.saturating_sub(1);
        self.look_on();
        let ours = |mac: Mac| {
            self.monitor
                .interfaces()
                .iter()
                .any(|interface| interface.mac == mac)
        };
        let rival = mac.filter(|mac| !ours(*mac));
        let Some(instance) = self.instance_mut(slot) else {
            return;
        };
        if instance.state != State::Active {
            // Somebody may well hold it while we do not; whether that is right shows if we take over from nobody.
            instance.held_by = rival.map(|mac| (address, mac));
            return;
        }
        let name = instance.name().to_owned();
        let known = instance
            .dual_active
            .as_ref()
            .is_some_and(|dual| dual.address == Some(address));
        match rival {
            Some(mac) => {
                // The rightful holder says so again, every time.
                self.plumbing
                    .announce(usize::from(slot), plumbing::Cause::DualActive);
                if !known {
                    self.raise_dual_active(slot, address, mac);
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

    /// Looks for VRIDs that are not ours.
    pub(super) fn look_for_foreign(&mut self) {
        let now = Instant::now();
        let mut found = Vec::new();
        for (interface, family, observer) in self.links.observers() {
            observer.look(FOREIGN_PACKETS, |vrid, priority, source| {
                let key = (interface.to_owned(), vrid, source);
                let router = api::ForeignRouter {
                    interface: interface.to_owned(),
                    vrid,
                    family: if family == Family::V4 {
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
        self.rivals
            .foreign
            .retain(|_, (_, heard)| now.duration_since(*heard) < FOREIGN_MEMORY);
        for (key, router) in found {
            let known = self.rivals.foreign.contains_key(&key);
            if !known && self.rivals.foreign.len() >= FOREIGN_MAX {
                continue;
            }
            if !known {
                let text = format!(
                    "VRID {} on {} belongs to {}: do not use it here",
                    router.vrid, router.interface, key.2
                );
                self.history.record(event(kind::FOREIGN, None, text));
            }
            self.rivals.foreign.insert(key, (router, now));
        }
    }
}
