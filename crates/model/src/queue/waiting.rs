//! Messages that nobody gets before their time: those of an exchange that delays them. The one whose time comes first is the
//! first, whenever it came.

use std::collections::{BTreeMap, VecDeque};

use super::{Entry, Position, Run};
use crate::time::Millis;

/// Messages by the time at which they leave.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    entries: BTreeMap<(Millis, Position), Entry>,
    /// What a restart found, and nobody has read yet: any of it may be the first.
    unread: VecDeque<Run>,
}

impl Waiting {
    /// A message that waits until `entry.expires`; without that it does not wait.
    pub(super) fn add(&mut self, entry: Entry) {
        let time = entry.expires.unwrap_or_default();
        self.entries.insert((time, entry.position), entry);
    }

    /// When the first leaves.
    pub(super) fn deadline(&self) -> Option<Millis> {
        self.entries.first_key_value().map(|((time, _), _)| *time)
    }

    /// The first, whether its time has come or not.
    pub(super) fn pop(&mut self) -> Option<Entry> {
        self.entries.pop_first().map(|(_, entry)| entry)
    }

    pub(super) fn append_run(&mut self, run: Run) {
        self.unread.push_back(run);
    }

    pub(super) fn missing(&self) -> Option<Run> {
        self.unread.front().copied()
    }

    /// Entries that were asked for, and up to where the disk was looked through. Returns what was thought to be there and is
    /// not.
    pub(super) fn load(&mut self, entries: Vec<Entry>, through: Position) -> (u64, u64) {
        let Some(run) = self.unread.front_mut() else {
            return (0, 0);
        };
        for entry in entries {
            run.count = run.count.saturating_sub(1);
            run.octets = run.octets.saturating_sub(entry.message.size());
            let time = entry.expires.unwrap_or_default();
            self.entries.insert((time, entry.position), entry);
        }
        if through < run.last {
            run.first = through.next();
            return (0, 0);
        }
        let lost = (run.count, run.octets);
        self.unread.pop_front();
        lost
    }

    /// Forgets all; says which positions there were.
    pub(super) fn clear(&mut self, gone: &mut Vec<(Position, Position)>) {
        let entries = self.entries.keys().map(|(_, position)| (*position, *position));
        gone.extend(entries.chain(self.unread.iter().map(|run| (run.first, run.last))));
        *self = Self::default();
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    pub(super) fn in_memory(&self) -> usize {
        self.entries.len()
    }
}
