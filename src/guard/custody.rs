//! What the guard would have to undo: which roles the worker holds, with their addresses and ready-made packets.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};

use super::messages::Holding;
use crate::netlink::{Address, Batch, Netlink, kernel_keeps_tags, leftovers};
use crate::wire::socket_address;

/// Holdings of the running worker and, while it starts, of the one before.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Custody {
    current: BTreeMap<u16, Entry>,
    /// Active roles of the worker before, until the present one has said that it is ready.
    handover: Vec<Entry>,
    /// Roles whose holdings have yet to come: the two are told by different threads.
    #[serde(skip)]
    early: BTreeMap<u16, (bool, u8)>,
    #[serde(skip)]
    tools: Tools,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    holding: Holding,
    active: bool,
    priority: u8,
}

/// Roles that were given up.
pub(super) struct Released(Vec<Entry>);

/// Sockets opened in good time: an emergency is no time to run out of descriptors.
#[derive(Default)]
struct Tools {
    v4: Option<Socket>,
    v6: Option<Socket>,
    netlink: Option<Netlink>,
}

impl Custody {
    /// The roles a new worker is to adopt, with the priority each was held at.
    pub(super) fn begin_handover(&mut self) -> Vec<(String, u8)> {
        let ended = std::mem::take(&mut self.current);
        self.early.clear();
        self.handover
            .extend(ended.into_values().filter(|entry| entry.active));
        self.handover
            .iter()
            .map(|entry| (entry.holding.router.clone(), entry.priority))
            .collect()
    }

    /// The new worker runs; what it did not take over it has cleaned up itself.
    pub(super) fn end_handover(&mut self) {
        self.handover.clear();
    }

    pub(super) fn hold(&mut self, holding: Holding) {
        self.tools.prepare(&holding);
        let slot = holding.slot;
        match self.current.get_mut(&slot) {
            Some(entry) => entry.holding = holding,
            None => {
                let entry = Entry {
                    holding,
                    active: false,
                    priority: 0,
                };
                self.current.insert(slot, entry);
                if let Some((active, priority)) = self.early.remove(&slot) {
                    self.note_role(slot, active, priority);
                }
            }
        }
    }

    pub(super) fn forget(&mut self, slot: u16) {
        self.current.remove(&slot);
        self.early.remove(&slot);
    }

    pub(super) fn note_role(&mut self, slot: u16, active: bool, priority: u8) {
        if let Some(entry) = self.current.get_mut(&slot) {
            entry.active = active;
            entry.priority = priority;
            // From here on the present worker speaks for this router.
            let router = &entry.holding.router;
            self.handover.retain(|before| before.holding.router != *router);
        } else {
            self.early.insert(slot, (active, priority));
        }
    }

    pub(super) fn active_roles(&self) -> usize {
        self.current.values().filter(|entry| entry.active).count()
    }

    /// Resigns every active role and removes its addresses; says which they were.
    pub(super) fn release_all(&mut self) -> Released {
        let ended = std::mem::take(&mut self.current);
        self.early.clear();
        let entries: Vec<Entry> = self
            .handover
            .drain(..)
            .chain(ended.into_values())
            .filter(|entry| entry.active)
            .collect();
        for entry in &entries {
            self.tools.resign(&entry.holding);
        }
        self.tools.remove_addresses(&entries);
        if !entries.is_empty() {
            tracing::warn!(
                roles = entries.len(),
                "roles resigned and their addresses removed"
            );
        }
        Released(entries)
    }

    /// Removes what may have come back since.
    pub(super) fn remove_again(&mut self, released: &Released) {
        self.tools.remove_addresses(&released.0);
    }
}

impl Tools {
    fn prepare(&mut self, holding: &Holding) {
        let raw = |domain| {
            Socket::new(
                domain,
                Type::RAW.cloexec().nonblocking(),
                Some(Protocol::from(255)),
            )
        };
        let has = |v4: bool| {
            holding
                .resign
                .iter()
                .any(|packet| packet.destination.is_ipv4() == v4)
        };
        if self.v4.is_none() && has(true) {
            self.v4 = raw(Domain::IPV4).ok();
        }
        if self.v6.is_none() && has(false) {
            self.v6 = raw(Domain::IPV6).ok();
        }
        if self.netlink.is_none() {
            self.netlink = Netlink::open().ok();
        }
    }

    fn resign(&mut self, holding: &Holding) {
        self.prepare(holding);
        for packet in &holding.resign {
            let socket = if packet.destination.is_ipv4() {
                &self.v4
            } else {
                &self.v6
            };
            let Some(socket) = socket else { continue };
            let sent = socket
                .bind_device(Some(packet.interface.as_bytes()))
                .and_then(|()| {
                    socket.send_to(
                        &packet.bytes,
                        &socket_address(packet.destination, packet.interface_index),
                    )
                });
            if let Err(error) = sent {
                tracing::error!(router = holding.router, %error, "resignation not sent");
            }
        }
    }

    fn remove_addresses(&mut self, entries: &[Entry]) {
        let held = entries.iter().flat_map(|entry| &entry.holding.addresses);
        let mut held: Vec<Address> = held
            .map(|held| Address::bare(held.interface_index, held.address, held.prefix))
            .collect();
        if held.is_empty() {
            return;
        }
        let Some(netlink) = &mut self.netlink else {
            return tracing::error!("no netlink socket; addresses expire with their lease");
        };
        // An owner's address may be the interface's own. If the kernel does not tell, all of them go: better none than
        // a second holder.
        if kernel_keeps_tags()
            && let Ok(ours) = leftovers(netlink)
        {
            let ours: HashSet<_> = ours.iter().map(place).collect();
            held.retain(|address| ours.contains(&place(address)));
        }
        let mut batch = Batch::new();
        for address in &held {
            address.delete(&mut batch);
        }
        // An address that is gone already is no failure worth a word: that is what was wanted.
        if let Err(error) = netlink.run(&mut batch) {
            tracing::error!(%error, "addresses not removed; they expire with their lease");
        }
    }
}

fn place(address: &Address) -> (u32, IpAddr, u8) {
    (address.ifindex, address.address, address.prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(slot: u16) -> Holding {
        Holding {
            slot,
            router: format!("VI_{slot}"),
            resign: Vec::new(),
            addresses: Vec::new(),
        }
    }

    #[test]
    fn a_role_counts_whether_it_is_told_before_its_holding_or_after() {
        let mut custody = Custody::default();
        custody.hold(holding(1));
        custody.note_role(1, true, 100);
        custody.note_role(2, true, 200);
        custody.hold(holding(2));
        custody.note_role(3, true, 50);
        custody.forget(3);
        custody.hold(holding(3));
        assert_eq!(
            custody.begin_handover(),
            [("VI_1".to_owned(), 100), ("VI_2".to_owned(), 200)]
        );
    }

    #[test]
    fn a_role_that_the_next_worker_has_lost_again_is_not_handed_on() {
        let mut custody = Custody::default();
        for slot in [1, 2] {
            custody.hold(holding(slot));
            custody.note_role(slot, true, 100);
        }
        custody.begin_handover();
        // The next worker numbers them otherwise, adopts both and is outranked in one; then it dies before it is ready.
        for (slot, router) in [(2, "VI_1"), (1, "VI_2")] {
            custody.hold(Holding {
                router: router.into(),
                ..holding(slot)
            });
            custody.note_role(slot, true, 100);
        }
        custody.note_role(1, false, 100);
        assert_eq!(custody.begin_handover(), [("VI_1".to_owned(), 100)]);
    }
}
