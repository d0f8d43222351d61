//! Sessions that are to end politely, so many per second: a broker that all clients leave and come back to at once is
//! not helped.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::Scope;
use super::reactor::Place;
use crate::record::Cause;
use crate::session::connect::millis;
use crate::session::{Common, Side};

/// Who is to leave, in the order in which it was said.
#[derive(Debug, Default)]
pub(super) struct Leavings(VecDeque<Group>);

/// Sessions that leave for the same reason.
#[derive(Debug)]
pub(super) struct Group {
    places: VecDeque<Place>,
    cause: Cause,
    /// How long each may take.
    patience: u64,
    /// Microseconds between two of them.
    pace: u64,
    urgent: bool,
    begun: u64,
    told: u64,
}

impl Leavings {
    /// After those who are leaving already.
    pub(super) fn add(&mut self, group: Group) {
        self.0.push_back(group);
    }

    /// Before those who are leaving already, for they have more time.
    pub(super) fn add_urgent(&mut self, group: Group) {
        self.0.push_front(group);
    }

    /// Whether some are left who have to leave in time.
    pub(super) fn has_urgent(&self) -> bool {
        self.0
            .front()
            .is_some_and(|group| group.urgent && !group.places.is_empty())
    }

    /// The next one whose turn it is, why, and how long it may take. To be called until there is none.
    pub(super) fn next(&mut self, now: u64) -> Option<(Place, Cause, u64)> {
        loop {
            let group = self.0.front_mut()?;
            if group.places.is_empty() {
                self.0.pop_front();
                if let Some(next) = self.0.front_mut() {
                    (next.begun, next.told) = (now, 0);
                }
                continue;
            }
            if group.due() > now {
                return None;
            }
            group.told += 1;
            let place = group.places.pop_front()?;
            return Some((place, group.cause, group.patience));
        }
    }

    /// The last one had nothing to be told: he had gone, or was leaving already. The next one may have his turn.
    pub(super) fn pass_over(&mut self) {
        if let Some(group) = self.0.front_mut() {
            group.told = group.told.saturating_sub(1);
        }
    }

    /// When [`Leavings::next`] has somebody again.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.0.front().map(Group::due)
    }
}

impl Group {
    /// All at once.
    pub(super) fn new(places: Vec<Place>, cause: Cause, patience: Duration, now: u64) -> Self {
        Self {
            places: places.into(),
            cause,
            patience: millis(patience),
            pace: 0,
            urgent: false,
            begun: now,
            told: 0,
        }
    }

    /// So many per second.
    pub(super) fn at(mut self, rate: f64) -> Self {
        self.pace = (1e6 / rate) as u64;
        self
    }

    /// Faster if not all would be told by then.
    pub(super) fn or_within(mut self, within: Duration) -> Self {
        let within = u64::try_from(within.as_micros()).unwrap_or(u64::MAX);
        self.urgent = true;
        self.pace = self.pace.min(within / (self.places.len() as u64).max(1));
        self
    }

    fn due(&self) -> u64 {
        self.begun + self.told.saturating_mul(self.pace) / 1000
    }
}

impl Scope {
    /// Whether a session is meant.
    pub(super) fn has(&self, common: &Common, now: u64) -> bool {
        let at = |server| {
            let assigned = common.assigned.as_ref();
            assigned.is_some_and(|assigned| Arc::ptr_eq(assigned, server))
        };
        match self {
            Self::All => true,
            Self::Session(id) => common.id == *id,
            Self::Server(server) => at(server),
            Self::Silent(server, silence) => {
                let heard = common.activity.get(Side::Server as usize).copied().unwrap_or(now);
                at(server) && u128::from(now.saturating_sub(heard)) >= silence.as_millis()
            }
            Self::Backups(backend) => {
                let of_backend = common
                    .backend
                    .as_ref()
                    .is_some_and(|own| Arc::ptr_eq(own, backend));
                let assigned = common.assigned.as_ref();
                of_backend && assigned.is_some_and(|server| server.plan().backup)
            }
            Self::Local(address) => {
                let mut ends = [Some(&common.client), common.server.as_ref()]
                    .into_iter()
                    .flatten();
                ends.any(|end| {
                    let local = end.local().map(|local| local.ip().to_canonical());
                    local == Some(address.to_canonical())
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_leave_per_second_and_one_group_after_the_other() {
        let place = |slot| Place { slot, generation: 0 };
        let mut leavings = Leavings::default();
        let group =
            |places, cause, seconds| Group::new(places, cause, Duration::from_secs(seconds), 1000).at(10.0);
        leavings.add(group(vec![place(1), place(2)], Cause::Killed, 2));
        leavings.add(group(vec![place(3)], Cause::Down, 3));
        assert_eq!(leavings.next(1000), Some((place(1), Cause::Killed, 2000)));
        assert_eq!((leavings.next(1099), leavings.deadline()), (None, Some(1100)));
        assert_eq!(leavings.next(1100), Some((place(2), Cause::Killed, 2000)));
        assert_eq!(leavings.next(1100), Some((place(3), Cause::Down, 3000)));
        assert_eq!((leavings.next(5000), leavings.deadline()), (None, None));
    }

    #[test]
    fn nobody_waits_for_those_who_have_gone_by_themselves() {
        let places = |slots: std::ops::Range<u32>| slots.map(|slot| Place { slot, generation: 0 }).collect();
        let mut leavings = Leavings::default();
        for slots in [0..100, 100..102] {
            leavings.add(Group::new(places(slots), Cause::Killed, Duration::from_secs(1), 0).at(10.0));
        }
        for _ in 0..100 {
            assert!(leavings.next(0).is_some());
            leavings.pass_over();
        }
        assert!(leavings.next(0).is_some());
        assert_eq!((leavings.next(0), leavings.deadline()), (None, Some(100)));
    }

    #[test]
    fn whoever_has_a_deadline_goes_first_and_all_of_them_in_time() {
        let place = |slot| Place { slot, generation: 0 };
        let group = |slots: std::ops::Range<u32>| {
            let places = slots.map(place).collect();
            Group::new(places, Cause::Killed, Duration::from_secs(1), 0).at(1.0)
        };
        let mut leavings = Leavings::default();
        leavings.add(group(0..3));
        leavings.add_urgent(group(10..110).or_within(Duration::from_secs(1)));
        let mut told = |now| std::iter::from_fn(|| leavings.next(now)).count();
        assert_eq!((told(0), told(500)), (1, 50));
        // The last of the hundred, and the first of the others.
        assert_eq!(told(1000), 49 + 1);
        assert_eq!(told(2000), 1);
    }

    #[test]
    fn whoever_had_to_let_others_go_first_goes_on_at_the_same_pace() {
        let place = |slot| Place { slot, generation: 0 };
        let group = |slots: std::ops::Range<u32>, now| {
            let places = slots.map(place).collect();
            Group::new(places, Cause::Killed, Duration::from_secs(1), now).at(10.0)
        };
        let mut leavings = Leavings::default();
        leavings.add(group(0..1000, 0));
        let told = |leavings: &mut Leavings, now| std::iter::from_fn(|| leavings.next(now)).count();
        assert_eq!(told(&mut leavings, 50_000), 501);
        leavings.add_urgent(group(2000..2001, 50_000).or_within(Duration::ZERO));
        assert_eq!(told(&mut leavings, 50_000), 2);
        assert_eq!(leavings.deadline(), Some(50_100));
    }
}
