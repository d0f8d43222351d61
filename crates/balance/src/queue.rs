//! Connections that wait for a slot: for one server, or for any server of the backend.
//!
//! A server with a free slot takes the oldest of those that wait for it and those that wait for anybody. Everybody
//! waits equally long at most (`timeout queue`), so the oldest is also the next to expire. Every operation is
//! O(log n), and there is a bound.
//!
//! Absent on purpose: who has a slot (the loads are the caller's; [`Limit::now`] says how many there are).

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::Duration;

use crate::time::Instant;
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
    timeout: Duration,
    issued: u64,
    entries: BTreeMap<Ticket, Entry>,
    /// By whom they wait for; `None` is anybody. No set is empty.
    lines: BTreeMap<Option<ServerId>, BTreeSet<Ticket>>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    server: Option<ServerId>,
    until: Instant,
}

impl Queue {
    /// Of at most `capacity` connections, each for at most `timeout`.
    #[must_use]
    pub const fn new(capacity: usize, timeout: Duration) -> Self {
        Self {
            capacity,
            timeout,
            issued: 0,
            entries: BTreeMap::new(),
            lines: BTreeMap::new(),
        }
    }

    /// Waits for `server`, or for anybody. `now` never goes back.
    ///
    /// # Errors
    /// As many wait as may.
    pub fn enter(&mut self, now: Instant, server: Option<ServerId>) -> Result<Ticket, QueueFull> {
        if self.entries.len() >= self.capacity {
            return Err(QueueFull(self.entries.len()));
        }
        let ticket = Ticket(self.issued);
        self.issued += 1;
        let until = now + self.timeout;
        self.entries.insert(ticket, Entry { server, until });
        self.lines.entry(server).or_default().insert(ticket);
        Ok(ticket)
    }

    /// `server` has a free slot: the oldest that may have it, which waits no longer.
    pub fn take(&mut self, server: ServerId) -> Option<Ticket> {
        let oldest = [Some(server), None]
            .iter()
            .filter_map(|line| self.lines.get(line)?.first().copied())
            .min()?;
        self.leave(oldest);
        Some(oldest)
    }

    /// Waits no longer, for example since the client went; false if it did not wait.
    pub fn leave(&mut self, ticket: Ticket) -> bool {
        let Some(entry) = self.entries.remove(&ticket) else {
            return false;
        };
        if let Some(line) = self.lines.get_mut(&entry.server) {
            line.remove(&ticket);
            if line.is_empty() {
                self.lines.remove(&entry.server);
            }
        }
        true
    }

    /// Those that wait for `server` wait for anybody from now on, with the age they have (`option redispatch`).
    /// Says how many they are.
    pub fn redistribute(&mut self, server: ServerId) -> usize {
        let Some(moved) = self.lines.remove(&Some(server)) else {
            return 0;
        };
        for ticket in &moved {
            if let Some(entry) = self.entries.get_mut(ticket) {
                entry.server = None;
            }
        }
        let count = moved.len();
        self.lines.entry(None).or_default().extend(moved);
        count
    }

    /// The oldest whose time is over, which waits no longer. To be called until there is none.
    pub fn expire(&mut self, now: Instant) -> Option<Ticket> {
        let (ticket, _) = self
            .entries
            .first_key_value()
            .filter(|(_, entry)| entry.until <= now)?;
        let ticket = *ticket;
        self.leave(ticket);
        Some(ticket)
    }

    /// When the next one's time is over.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.entries.first_key_value().map(|(_, entry)| entry.until)
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
        let mut queue = Queue::new(10, Duration::from_secs(1));
        let now = Instant::default();
        let tickets = [Some(TWO), None, Some(ONE), None].map(|server| queue.enter(now, server).unwrap());
        assert_eq!(queue.take(ONE), Some(tickets[1]));
        assert_eq!(queue.take(ONE), Some(tickets[2]));
        assert_eq!(queue.redistribute(TWO), 1);
        assert_eq!(queue.take(ONE), Some(tickets[0]));
        assert!(queue.leave(tickets[3]) && !queue.leave(tickets[3]));
        assert_eq!(queue.take(ONE), None);
    }

    #[test]
    fn a_connection_expires_when_its_time_is_over_and_not_before() {
        let mut queue = Queue::new(10, Duration::from_secs(1));
        let ticket = queue.enter(Instant::from_millis(5), Some(ONE)).unwrap();
        assert_eq!(queue.deadline(), Some(Instant::from_millis(1005)));
        assert_eq!(queue.expire(Instant::from_millis(1004)), None);
        assert_eq!(queue.expire(Instant::from_millis(1005)), Some(ticket));
        assert_eq!((queue.deadline(), queue.waiting(Some(ONE))), (None, 0));
    }

    proptest! {
        #[test]
        fn the_queue_behaves_as_a_plain_list_and_never_exceeds_its_bound(
            steps in prop::collection::vec((0..6_u8, 0..3_u32, 0..300_u64), 1..200),
        ) {
            let mut queue = Queue::new(8, Duration::from_millis(500));
            let mut list: Vec<(Ticket, Option<ServerId>, u64)> = Vec::new();
            let mut clock = 0;
            for (step, number, millis) in steps {
                clock += millis;
                let (now, server) = (Instant::from_millis(clock), ServerId(number));
                match step {
                    0..3 => match queue.enter(now, (number > 0).then_some(server)) {
                        Ok(ticket) => list.push((ticket, (number > 0).then_some(server), clock + 500)),
                        Err(full) => prop_assert_eq!((full, list.len()), (QueueFull(8), 8)),
                    },
                    3 => {
                        let place = list.iter().position(|(_, line, _)| line.is_none_or(|one| one == server));
                        prop_assert_eq!(queue.take(server), place.map(|place| list.remove(place).0));
                    }
                    4 => {
                        let mine = list.iter_mut().filter(|(_, line, _)| *line == Some(server));
                        prop_assert_eq!(queue.redistribute(server), mine.map(|entry| entry.1 = None).count());
                    }
                    _ => while let Some(ticket) = queue.expire(now) {
                        let (oldest, _, until) = list.remove(0);
                        prop_assert!(oldest == ticket && until <= clock);
                    },
                }
                prop_assert_eq!(queue.deadline(), list.first().map(|(_, _, until)| Instant::from_millis(*until)));
                for line in [None, Some(ONE), Some(TWO)] {
                    prop_assert_eq!(queue.waiting(line), list.iter().filter(|entry| entry.1 == line).count());
                }
                prop_assert!(list.len() <= 8);
            }
        }
    }
}
