//! Turns by a table made beforehand: O(1), and a weight changed later has no effect (HAProxy manual, `balance
//! static-rr`).

use super::map::Map;
use super::{Request, Server};
use crate::types::ServerId;

#[derive(Clone, Debug, Default)]
pub(super) struct StaticRr {
    map: Map,
    /// The next place in the table.
    next: usize,
}

impl StaticRr {
    pub(super) fn update(&mut self, candidates: &[Server]) {
        self.map.update(candidates);
        if self.next >= self.map.len() {
            self.next = 0;
        }
    }

    pub(super) fn choose(&mut self, candidates: &[Server], request: &Request<'_>) -> Option<ServerId> {
        let (passed, server) = self
            .map
            .from(self.next)
            .filter_map(|place| candidates.get(usize::from(place)))
            .enumerate()
            .find(|(_, server)| request.accepts(server))?;
        self.next = (self.next + passed + 1) % self.map.len().max(1);
        Some(server.id)
    }
}
