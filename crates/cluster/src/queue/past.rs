//! What an earlier process knew of messages that this one has not read yet: who has seen them, and how often they came
//! back. It is not with the messages on disk, since it changes while they do not.

use std::collections::BinaryHeap;

use warren_model::{Entry, Position, QueueMachine};

/// What is known of messages before they are read.
///
/// It says what nobody has seen, and not what somebody has: a message that was settled just before the end may be there again,
/// and is in neither.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// Somebody may have seen any message before this one.
    pub before: Position,
    /// But for these: first and last of each run, in order.
    pub unseen: Vec<(Position, Position)>,
    /// How often messages were given out, as far as that is counted, in order.
    pub tries: Vec<Tries>,
}

/// How often messages in a row were given out. None of them is with anybody when a process starts: they came back as often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tries {
    /// From here on.
    pub first: Position,
    /// Up to here, included. Some may not be there any more.
    pub last: Position,
    /// Each of them.
    pub count: u32,
}

impl Tries {
    pub(super) const fn one(position: Position, count: u32) -> Self {
        Self {
            first: position,
            last: position,
            count,
        }
    }

    /// Brings what was noted at different times, in any order, into the order of positions: of each the highest count holds, since counts
    /// only grow.
    #[must_use]
    pub fn highest(mut noted: Vec<Self>) -> Vec<Self> {
        noted.sort_unstable_by_key(|tries| tries.first);
        let (mut highest, mut at) = (Vec::<Self>::new(), Position(0));
        // Those that have begun, by their count.
        let mut open = BinaryHeap::new();
        let mut rest = noted.into_iter().peekable();
        loop {
            while let Some(begins) = rest.next_if(|next| next.first <= at) {
                open.push((begins.count, begins.last));
            }
            while open.peek().is_some_and(|(_, last)| *last < at) {
                open.pop();
            }
            let next = rest.peek().map(|next| next.first);
            let Some((count, last)) = open.peek().copied() else {
                let Some(next) = next else { return highest };
                at = next;
                continue;
            };
            let last = next.map_or(last, |next| last.min(Position(next.0 - 1)));
            match highest.last_mut() {
                Some(before) if before.count == count && before.last.next() == at => before.last = last,
                _ => highest.push(Self {
                    first: at,
                    last,
                    count,
                }),
            }
            at = last.next();
        }
    }
}

impl Past {
    /// A message has been read. It may leave the memory and be read again.
    pub(super) fn tell(&self, entry: &mut Entry) {
        let position = entry.position;
        let at = self.unseen.partition_point(|(_, last)| *last < position);
        let is_unseen = self.unseen.get(at).is_some_and(|(first, _)| *first <= position);
        entry.redelivered |= position < self.before && !is_unseen;
        let at = self.tries.partition_point(|tries| tries.last < position);
        let tries = self.tries.get(at).filter(|tries| tries.first <= position);
        entry.returns = tries.map_or(0, |tries| tries.count);
    }

    /// What a later process has to know of a queue, of which this was the past.
    pub(super) fn then(mut self, machine: &QueueMachine) -> Self {
        let mut unseen: Vec<_> = machine.unseen().map(|position| (position, position)).collect();
        for run in machine.on_disk() {
            let before = self.unseen.iter();
            let before = before.map(|(first, last)| (run.first.max(*first), run.last.min(*last)));
            unseen.extend(before.filter(|(first, last)| first <= last));
            unseen.extend((run.last >= self.before).then_some((run.first.max(self.before), run.last)));
        }
        unseen.sort_unstable();
        self.unseen.clear();
        for (first, last) in unseen {
            match self.unseen.last_mut() {
                Some((_, end)) if first <= end.next() => *end = last.max(*end),
                _ => self.unseen.push((first, last)),
            }
        }
        self.before = machine.next_position();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use warren_model::queue::{Limits, Run};

    #[test]
    fn of_what_was_noted_in_any_order_the_highest_count_holds() {
        // Small numbers, so that they lie over each other in all ways.
        let mut seed = 1_u64;
        let mut below = |most: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % most
        };
        for _ in 0..5000 {
            let noted: Vec<Tries> = (0..below(8))
                .map(|_| {
                    let first = below(20);
                    Tries {
                        first: Position(first),
                        last: Position(first + below(6)),
                        count: 1 + below(3) as u32,
                    }
                })
                .collect();
            let count = |tries: &[Tries], at: Position| {
                let of = tries.iter().filter(|it| it.first <= at && at <= it.last);
                of.map(|it| it.count).max()
            };
            let highest = Tries::highest(noted.clone());
            let differ =
                |pair: &[Tries]| pair[0].last.next() < pair[1].first || pair[0].count != pair[1].count;
            assert!(
                highest
                    .windows(2)
                    .all(|pair| pair[0].last < pair[1].first && differ(pair))
            );
            for at in (0..30).map(Position) {
                assert_eq!(count(&highest, at), count(&noted, at), "{noted:?}");
            }
        }
    }

    #[test]
    fn what_nobody_has_seen_is_known_however_many_processes_there_were() {
        let runs = |runs: &[(u64, u64)]| -> Vec<_> {
            runs.iter()
                .map(|(first, last)| (Position(*first), Position(*last)))
                .collect()
        };
        let past = Past {
            before: Position(20),
            unseen: runs(&[(3, 5), (9, 12), (15, 30)]),
            ..Past::default()
        };
        let mut machine = QueueMachine::new(Limits::default(), 0);
        machine.recover(Run {
            first: Position(4),
            last: Position(29),
            count: 20,
            octets: 20,
        });
        let past = past.then(&machine);
        assert_eq!(past.before, Position(30));
        assert_eq!(past.unseen, runs(&[(4, 5), (9, 12), (15, 29)]));
        let past = past.then(&QueueMachine::new(Limits::default(), 0));
        assert_eq!((past.before, past.unseen), (Position(1), Vec::new()));
    }
}
