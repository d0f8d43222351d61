//! What an earlier process knew of messages that this one has not read yet: who has seen them, and how often they came
//! back. It is not with the messages on disk, since it changes while they do not.

use std::collections::BTreeMap;

use warren_model::{Entry, Position, QueueId, QueueMachine};

use super::Returned;

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
    /// How often messages came back, as far as that is counted.
    pub returns: BTreeMap<Position, u32>,
}

impl Past {
    /// How often messages of a queue came back.
    pub fn returned(&self, queue: QueueId) -> impl Iterator<Item = Returned> {
        self.returns.iter().map(move |(position, returns)| Returned {
            queue,
            position: *position,
            returns: *returns,
        })
    }

    /// A message has been read. It may leave the memory and be read again.
    pub(super) fn tell(&self, entry: &mut Entry) {
        let position = entry.position;
        let at = self.unseen.partition_point(|(_, last)| *last < position);
        let is_unseen = self.unseen.get(at).is_some_and(|(first, _)| *first <= position);
        entry.redelivered |= position < self.before && !is_unseen;
        entry.returns = self.returns.get(&position).copied().unwrap_or(0);
    }

    /// What a later process has to know of a queue, of which this was the past.
    pub(super) fn then(mut self, machine: &QueueMachine, counts: bool) -> Self {
        if counts {
            self.returns.extend(machine.returned());
        }
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
        let past = past.then(&machine, true);
        assert_eq!(past.before, Position(30));
        assert_eq!(past.unseen, runs(&[(4, 5), (9, 12), (15, 29)]));
        let past = past.then(&QueueMachine::new(Limits::default(), 0), true);
        assert_eq!((past.before, past.unseen), (Position(1), Vec::new()));
    }
}
