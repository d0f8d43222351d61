//! The other routers heard of late, for the operator's eyes and for one decision: whether a successor is likely
//! when we are worth less.

use std::net::IpAddr;
use std::time::Duration;

use crate::time::Instant;
use crate::types::Priority;

/// Peers remembered; the one silent for longest makes room.
pub const PEERS_MAX: usize = 8;

/// Another router that was heard as active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Source of its advertisements.
    pub address: IpAddr,
    /// What it announced last, priority 0 aside.
    pub priority: Priority,
    /// The interval it announced last.
    pub interval: Duration,
    /// When.
    pub heard: Instant,
}

impl Peer {
    /// Whether this router wins an election against one worth `priority` at `address`.
    ///
    /// Addresses compare as unsigned numbers in network order; the standard library's order is just that.
    pub(super) fn beats(&self, priority: Priority, address: Option<IpAddr>) -> bool {
        self.priority > priority
            || (self.priority == priority && address.is_none_or(|address| self.address > address))
    }
}

#[derive(Debug, Default)]
pub(super) struct Peers(Vec<Peer>);

impl Peers {
    pub(super) fn note(&mut self, peer: Peer) {
        if let Some(known) = self.0.iter_mut().find(|known| known.address == peer.address) {
            *known = peer;
            return;
        }
        if self.0.len() >= PEERS_MAX {
            let oldest = self
                .0
                .iter()
                .enumerate()
                .min_by_key(|(_, known)| known.heard)
                .map(|(index, _)| index);
            if let Some(index) = oldest {
                self.0.swap_remove(index);
            }
        }
        self.0.push(peer);
    }

    pub(super) fn as_slice(&self) -> &[Peer] {
        &self.0
    }
}
