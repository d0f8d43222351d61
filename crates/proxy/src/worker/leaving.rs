//! Sessions that are to end politely, so many per second: a broker that all clients leave and come back to at once is
//! not helped.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::Duration;

use super::Scope;
use super::reactor::Place;
use crate::record::Cause;
use crate::session::connect::millis;
use crate::session::{Common, Side};

/// Who is to leave, in the order in which it was said.
#[derive(Debug, Default)]
pub(super) struct Leavings(VecDeque<Group>);

#[derive(Debug)]
struct Group {
    places: VecDeque<Place>,
    cause: Cause,
    /// How long each may take.
    patience: u64,
    rate: NonZeroU32,
    begun: u64,
    told: u64,
}

impl Leavings {
    pub(super) fn add(
        &mut self,
        places: Vec<Place>,
        cause: Cause,
        patience: Duration,
        rate: NonZeroU32,
        now: u64,
    ) {
        self.0.push_back(Group {
            places: places.into(),
            cause,
            patience: millis(patience),
            rate,
            begun: now,
            told: 0,
        });
    }

    /// The next one whose turn it is, why, and how long it may take. To be called until there is none.
    pub(super) fn next(&mut self, now: u64) -> Option<(Place, Cause, u64)> {
        loop {
            let group = self.0.front_mut()?;
            if group.places.is_empty() {
                self.0.pop_front();
                if let Some(next) = self.0.front_mut() {
                    next.begun = now;
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

    /// When [`Leavings::next`] has somebody again.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.0.front().map(Group::due)
    }
}

impl Group {
    fn due(&self) -> u64 {
        self.begun + self.told * 1000 / u64::from(self.rate.get())
    }
}

impl Scope {
    /// Whether a session is meant.
    pub(super) fn has(&self, common: &Common, now: u64) -> bool {
        let of_backend = |id| {
            common
                .backend
                .as_ref()
                .is_some_and(|backend| backend.plan().id == id)
        };
        match self {
            Self::All => true,
            Self::Session(id) => common.id == *id,
            Self::Frontend(id) => common.frontend().plan().id == *id,
            Self::Server(backend, id) => {
                common.assigned.as_ref().is_some_and(|server| server.id == *id) && of_backend(*backend)
            }
            Self::Silent(backend, id, silence) => {
                let heard = common.activity.get(Side::Server as usize).copied().unwrap_or(now);
                let silent = u128::from(now.saturating_sub(heard)) >= silence.as_millis();
                silent && Self::Server(*backend, *id).has(common, now)
            }
            Self::Backups(backend) => {
                common
                    .assigned
                    .as_ref()
                    .is_some_and(|server| server.plan().backup)
                    && of_backend(*backend)
            }
            Self::Local(address) => {
                let local = common.client.local().map(|local| local.ip().to_canonical());
                local == Some(address.to_canonical())
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
        let rate = NonZeroU32::new(10).unwrap();
        let mut leavings = Leavings::default();
        leavings.add(
            vec![place(1), place(2)],
            Cause::Killed,
            Duration::from_secs(2),
            rate,
            1000,
        );
        leavings.add(vec![place(3)], Cause::Down, Duration::from_secs(3), rate, 1000);
        assert_eq!(leavings.next(1000), Some((place(1), Cause::Killed, 2000)));
        assert_eq!((leavings.next(1099), leavings.deadline()), (None, Some(1100)));
        assert_eq!(leavings.next(1100), Some((place(2), Cause::Killed, 2000)));
        assert_eq!(leavings.next(1100), Some((place(3), Cause::Down, 3000)));
        assert_eq!((leavings.next(5000), leavings.deadline()), (None, None));
    }
}
