//! A table with as many places as the servers weigh, in the smoothest order; the key modulo its length.
//!
//! HAProxy manual, `hash-type map-based`: smooth, considers weights, "but will be static in that weight changes while
//! a server is up will be ignored". So the configured weight counts, not the share of the moment.

use super::roundrobin::RoundRobin;
use super::{Request, Server};
use crate::types::{ServerId, Share};

#[derive(Clone, Debug, Default)]
pub(super) struct Map {
    /// Indices among the candidates. At most 4095 × 256 places.
    places: Vec<u16>,
}

impl Map {
    pub(super) fn update(&mut self, candidates: &[Server]) {
        self.places = layout(candidates);
    }

    /// The client's server, or the next other one in the table if that one is to be avoided.
    pub(super) fn choose(&self, candidates: &[Server], request: &Request<'_>) -> Option<ServerId> {
        let length = u64::try_from(self.places.len())
            .ok()
            .filter(|length| *length > 0)?;
        let start = usize::try_from(request.key % length).ok()?;
        self.from(start)
            .filter_map(|place| candidates.get(usize::from(place)))
            .map(|server| server.id)
            .find(|id| request.avoid != Some(*id))
    }

    /// Every place once, from `start` on.
    pub(super) fn from(&self, start: usize) -> impl Iterator<Item = u16> {
        let (before, after) = self.places.split_at_checked(start).unwrap_or((&self.places, &[]));
        after.iter().chain(before).copied()
    }

    pub(super) const fn len(&self) -> usize {
        self.places.len()
    }
}

fn layout(candidates: &[Server]) -> Vec<u16> {
    let weight = |server: &Server| u32::from(server.weight.get()).max(1);
    let divisor = candidates.iter().map(weight).fold(0, common_divisor).max(1);
    let turns: Vec<Server> = (0_u32..)
        .zip(candidates)
        .map(|(position, server)| Server {
            id: ServerId(position),
            share: Share::units(weight(server) / divisor),
            maxconn: None,
            ..*server
        })
        .collect();
    let total: u32 = turns.iter().map(|server| server.share.get()).sum();
    let mut order = RoundRobin::default();
    order.update(&turns);
    let request = Request {
        key: 0,
        entropy: 0,
        avoid: None,
        inflight: &|_| 0,
    };
    (0..total)
        .filter_map(|_| order.choose(&turns, &request))
        .filter_map(|position| u16::try_from(position.0).ok())
        .collect()
}

const fn common_divisor(one: u32, other: u32) -> u32 {
    if other == 0 {
        one
    } else {
        common_divisor(other, one % other)
    }
}
