//! What an earlier process knew of messages that this one has not read yet: who has seen them, and how often they came
//! back. It is not with the messages on disk, since it changes while they do not.

use std::collections::BTreeMap;

use warren_model::{Entry, Position, QueueId};

use super::Returned;

/// What is known of messages before they are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// Somebody may have seen any message before this one.
    pub seen_before: Position,
    /// Somebody may have seen these, too: first and last of each run, in order.
    pub seen: Vec<(Position, Position)>,
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
        let at = self.seen.partition_point(|(_, last)| *last < position);
        entry.redelivered |=
            position < self.seen_before || self.seen.get(at).is_some_and(|(first, _)| *first <= position);
        entry.returns = self.returns.get(&position).copied().unwrap_or(0);
    }

    /// The same once this process is over, too: it has seen and counted more, in any order.
    pub(super) fn with(
        mut self,
        mut seen: Vec<Position>,
        returns: impl IntoIterator<Item = (Position, u32)>,
    ) -> Self {
        self.returns.extend(returns);
        seen.retain(|position| *position >= self.seen_before);
        let mut runs = std::mem::take(&mut self.seen);
        runs.extend(seen.into_iter().map(|position| (position, position)));
        runs.sort_unstable();
        for (first, last) in runs {
            match self.seen.last_mut() {
                Some((_, end)) if first <= end.next() => *end = last.max(*end),
                _ => self.seen.push((first, last)),
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_few_runs_whatever_process_saw_it() {
        let at = |positions: &[u64]| positions.iter().map(|at| Position(*at)).collect::<Vec<_>>();
        let past = Past {
            seen_before: Position(10),
            ..Past::default()
        };
        let past = past.with(at(&[14, 3, 12, 11]), [(Position(12), 2)]);
        let past = past.with(at(&[13, 20, 15]), [(Position(20), 1), (Position(12), 3)]);
        let runs = [(11, 15), (20, 20)].map(|(first, last)| (Position(first), Position(last)));
        assert_eq!(past.seen, runs);
        assert_eq!(
            past.returns.into_iter().collect::<Vec<_>>(),
            [(Position(12), 3), (Position(20), 1)]
        );
    }
}
