//! Connections that wait for a slot: for one server, or for any server of the backend.
//!
//! A server with a free slot takes the oldest of those that wait for it and those that wait for anybody. Every operation
//! is O(log n), and there is a bound.
//!
//! Absent on purpose: who has a slot (the loads are the caller's; [`Limit::now`] says how many there are), and how long
//! somebody waits (`timeout queue`): whoever has waited long enough leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use crate::types::ServerId;

/// How many connections a server may have (HAProxy manual, `maxconn`, `minconn`, `fullconn`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The most, reached when the backend has `fullconn` connections.
    pub maxconn: NonZeroU32,
    /// What it may always have; `None`: `maxconn` whatever the backend has.
    pub minconn: Option<NonZeroU32>,
    /// Connections of the backend at which it is full.
    pub fullconn: NonZeroU32,
}

impl Limit {
    /// The limit while the backend has `connections`: in proportion to how full it is, from `minconn` to `maxconn`.
    #[must_use]
    pub fn now(self, connections: u32) -> NonZeroU32 {
        let Some(minconn) = self.minconn.filter(|minconn| *minconn < self.maxconn) else {
            return self.maxconn;
        };
        let part = u64::from(self.maxconn.get()) * u64::from(connections) / u64::from(self.fullconn.get());
        let part = NonZeroU32::new(u32::try_from(part).unwrap_or(u32::MAX)).unwrap_or(NonZeroU32::MIN);
        part.clamp(minconn, self.maxconn)
    }
}

/// A waiting connection. Older ones compare less; none is ever used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// As many wait as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} connections wait already: raise the servers' maxconn or add a server")]
pub struct QueueFull(pub usize);

/// All that wait in one backend.
#[derive(Clone, Debug)]
pub struct Queue {
    capacity: usize,
    issued: u64,
    /// Whom each waits for; `None` is anybody.
    entries: BTreeMap<Ticket, Option<ServerId>>,
    /// The same the other way round. No set is empty.
    lines: BTreeMap<Option<ServerId>, BTreeSet<Ticket>>,
}

impl Queue {
    /// Of at most `capacity` connections.
    #[must_use]
    pub const fn new(capacity: usize) -> Self {
        Self {
            capacity,
            issued: 0,
            entries: BTreeMap::new(),
            lines: BTreeMap::new(),
        }
    }

    /// Waits for `server`, or for anybody.
    ///
    /// # Errors
    /// As many wait as may.
    pub fn enter(&mut self, server: Option<ServerId>) -> Result<Ticket, QueueFull> {
        if self.entries.len() >= self.capacity {
            return Err(QueueFull(self.entries.len()));
        }
        let ticket = Ticket(self.issued);
        self.issued += 1;
        self.entries.insert(ticket, server);
        self.lines.entry(server).or_default().insert(ticket);
        Ok(ticket)
    }

    /// `server` has a free slot: the oldest that may have it, which waits no longer, and whom it waited for.
    pub fn take(&mut self, server: ServerId) -> Option<(Ticket, Option<ServerId>)> {
        let oldest = [Some(server), None]
            .iter()
            .filter_map(|line| self.lines.get(line)?.first().copied())
            .min()?;
        Some((oldest, self.leave(oldest)?))
    }

    /// Waits no longer, for example since the client went. Says whom it waited for; `None` if it did not wait.
    pub fn leave(&mut self, ticket: Ticket) -> Option<Option<ServerId>> {
        let server = self.entries.remove(&ticket)?;
        if let Some(line) = self.lines.get_mut(&server) {
            line.remove(&ticket);
            if line.is_empty() {
                self.lines.remove(&server);
            }
        }
        Some(server)
    }

    /// Those that wait for `server` wait for anybody from now on, with the age they have (`option redispatch`).
    /// Says how many they are.
    pub fn redistribute(&mut self, server: ServerId) -> usize {
        let Some(moved) = self.lines.remove(&Some(server)) else {
            return 0;
        };
        for ticket in &moved {
            self.entries.insert(*ticket, None);
        }
        let count = moved.len();
        self.lines.entry(None).or_default().extend(moved);
        count
    }

    /// Servers have other numbers from now on: those that wait for one wait for the same one.
    pub fn renumber(&mut self, number: impl Fn(ServerId) -> ServerId) {
        for server in self.entries.values_mut().flatten() {
            *server = number(*server);
        }
        let lines = std::mem::take(&mut self.lines).into_iter();
        self.lines = lines.map(|(server, line)| (server.map(&number), line)).collect();
    }

    /// How many wait for `server`, or for anybody.
    #[must_use]
    pub fn waiting(&self, server: Option<ServerId>) -> usize {
        self.lines.get(&server).map_or(0, BTreeSet::len)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ONE: ServerId = ServerId(1);
    const TWO: ServerId = ServerId(2);

    #[test]
    fn the_limit_grows_from_minconn_to_maxconn_as_the_backend_fills() {
        let number = |number| NonZeroU32::new(number).unwrap();
        let limit = Limit {
            maxconn: number(100),
            minconn: Some(number(10)),
            fullconn: number(1000),
        };
        let limits: Vec<_> = [0, 100, 500, 1000, 5000].map(|load| limit.now(load).get()).into();
        assert_eq!(limits, [10, 10, 50, 100, 100]);
        let fixed = Limit {
            minconn: None,
            ..limit
        };
        assert_eq!(fixed.now(0).get(), 100);
    }

    #[test]
    fn a_free_slot_goes_to_the_oldest_that_may_have_it() {
        let mut queue = Queue::new(10);
        let tickets = [Some(TWO), None, Some(ONE), None].map(|server| queue.enter(server).unwrap());
        assert_eq!(queue.take(ONE), Some((tickets[1], None)));
        assert_eq!(queue.take(ONE), Some((tickets[2], Some(ONE))));
        assert_eq!(queue.redistribute(TWO), 1);
        assert_eq!(queue.take(ONE), Some((tickets[0], None)));
        assert_eq!(
            (queue.leave(tickets[3]), queue.leave(tickets[3])),
            (Some(None), None)
        );
        assert_eq!(queue.take(ONE), None);
    }

    #[test]
    fn whoever_waits_for_a_server_waits_for_it_whatever_its_number_becomes() {
        let mut queue = Queue::new(10);
        let tickets = [Some(ONE), Some(TWO), None].map(|server| queue.enter(server).unwrap());
        queue.renumber(|server| if server == ONE { TWO } else { ONE });
        assert_eq!((queue.waiting(Some(ONE)), queue.waiting(Some(TWO))), (1, 1));
        assert_eq!(queue.take(ONE), Some((tickets[1], Some(ONE))));
        assert_eq!(queue.leave(tickets[0]), Some(Some(TWO)));
        assert_eq!(queue.take(TWO), Some((tickets[2], None)));
    }

    proptest! {
        #[test]
        fn the_queue_behaves_as_a_plain_list_and_never_exceeds_its_bound(
            steps in prop::collection::vec((0..7_u8, 0..3_u32), 1..200),
        ) {
            let mut queue = Queue::new(8);
            let mut list: Vec<(Ticket, Option<ServerId>)> = Vec::new();
            for (step, number) in steps {
                let server = ServerId(number);
                match step {
                    0..3 => match queue.enter((number > 0).then_some(server)) {
                        Ok(ticket) => list.push((ticket, (number > 0).then_some(server))),
                        Err(full) => prop_assert_eq!((full, list.len()), (QueueFull(8), 8)),
                    },
                    3 => {
                        let place = list.iter().position(|(_, line)| line.is_none_or(|one| one == server));
                        prop_assert_eq!(queue.take(server), place.map(|place| list.remove(place)));
                    }
                    4 => {
                        let mine = list.iter_mut().filter(|(_, line)| *line == Some(server));
                        prop_assert_eq!(queue.redistribute(server), mine.map(|entry| entry.1 = None).count());
                    }
                    5 => {
                        let other = |server: ServerId| ServerId((server.0 + number) % 3);
                        queue.renumber(other);
                        list.iter_mut().for_each(|(_, line)| *line = line.map(other));
                    }
                    _ => {
                        let place = list.len() / 2;
                        if place < list.len() {
                            let (ticket, line) = list.remove(place);
                            prop_assert_eq!(queue.leave(ticket), Some(line));
                        }
                    }
                }
                for line in [None, Some(ONE), Some(TWO)] {
                    prop_assert_eq!(queue.waiting(line), list.iter().filter(|entry| entry.1 == line).count());
                }
                prop_assert!(list.len() <= 8);
            }
        }
    }
}
