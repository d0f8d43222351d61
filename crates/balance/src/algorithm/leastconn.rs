//! The fewest connections for the share; equals in turns.
//!
//! HAProxy manual, `balance leastconn`: "Round-robin is performed within groups of servers of the same load to ensure
//! that all servers will be used", and connections waiting for a server count as load. Idle servers are equal
//! whatever they weigh; others compare what they would have with one more.
//!
//! A choice looks at every server: loads change under other threads' hands, so an order kept here would be stale.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::{Request, Server};
use crate::types::ServerId;

#[derive(Clone, Debug, Default)]
pub(super) struct LeastConn {
    /// When each candidate was last chosen, by position; the smallest goes first of equals.
    last: Vec<u64>,
    ids: Vec<ServerId>,
    count: u64,
}

impl LeastConn {
    pub(super) fn update(&mut self, candidates: &[Server]) {
        let known: HashMap<ServerId, u64> = self.ids.iter().copied().zip(self.last.iter().copied()).collect();
        self.ids = candidates.iter().map(|server| server.id).collect();
        self.last = self
            .ids
            .iter()
            .map(|id| known.get(id).copied().unwrap_or(0))
            .collect();
    }

    pub(super) fn choose(&mut self, candidates: &[Server], request: &Request<'_>) -> Option<ServerId> {
        let (server, last) = candidates
            .iter()
            .zip(&mut self.last)
            .filter(|(server, _)| request.accepts(server))
            .map(|(server, last)| (Burden::of(server, request), server, last))
            .min_by(|(one, _, last), (other, _, other_last)| one.cmp(other).then(last.cmp(other_last)))
            .map(|(_, server, last)| (server, last))?;
        self.count += 1;
        *last = self.count;
        Some(server.id)
    }
}

/// Connections per share, compared without rounding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Burden {
    connections: u64,
    share: u64,
}

impl Burden {
    pub(super) fn of(server: &Server, request: &Request<'_>) -> Self {
        let inflight = (request.inflight)(server.id);
        Self {
            connections: if inflight == 0 { 0 } else { u64::from(inflight) + 1 },
            share: u64::from(server.share.get()),
        }
    }

    pub(super) fn cmp(&self, other: &Self) -> Ordering {
        (self.connections * other.share).cmp(&(other.connections * self.share))
    }
}
