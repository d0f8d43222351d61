//! Messages that nobody gets before their time: those of an exchange that delays them. The one whose time comes first is the
//! first, whenever it came.
//!
//! ```text
//!   near                     far                                  unread
//!   in memory, any time      only on disk: time, position, size   found by a restart: runs
//! ```
//!
//! What is far costs some octets each. Those with the earliest times are brought back when one of them is the first of all.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::ready::{ASKED_MAX, ASKED_OCTETS, HEAD_MAX, HEAD_OCTETS, beyond, octets};
use super::{Entry, Position, Run};
use crate::time::Millis;

/// Messages by the time at which they leave.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    near: BTreeMap<(Millis, Position), Entry>,
    /// That these need.
    octets: u64,
    /// With the octets of their bodies.
    far: BTreeMap<(Millis, Position), u64>,
    /// What was asked for last of what is far.
    asked: BTreeMap<Position, Millis>,
    /// What a restart found, and nobody has read yet: any of it may be the first.
    unread: VecDeque<Run>,
}

impl Waiting {
    /// A message that waits until `entry.expires`; without that it does not wait.
    pub(super) fn add(&mut self, entry: Entry) {
        self.octets += octets(&entry);
        let time = entry.expires.unwrap_or_default();
        self.near.insert((time, entry.position), entry);
    }

    /// When the first leaves.
    pub(super) fn deadline(&self) -> Option<Millis> {
        let near = self.near.first_key_value().map(|((time, _), _)| *time);
        let far = self.far.first_key_value().map(|((time, _), _)| *time);
        near.into_iter().chain(far).min()
    }

    /// The first, whether its time has come or not; nothing while that is far.
    pub(super) fn pop(&mut self) -> Option<Entry> {
        if self.is_first_far() {
            return None;
        }
        let (_, entry) = self.near.pop_first()?;
        self.octets -= octets(&entry);
        Some(entry)
    }

    fn is_first_far(&self) -> bool {
        let near = self.near.first_key_value().map(|(key, _)| key);
        self.far
            .first_key_value()
            .is_some_and(|(far, _)| near.is_none_or(|near| far < near))
    }

    /// Entries that may leave the memory.
    pub(super) fn pageable(&self) -> usize {
        beyond((self.near.len(), self.octets), (HEAD_MAX, HEAD_OCTETS))
    }

    /// Octets of their bodies.
    pub(super) const fn pageable_octets(&self) -> u64 {
        self.octets.saturating_sub(HEAD_OCTETS)
    }

    /// The `count` entries whose time comes last.
    pub(super) fn to_page(&self, count: usize) -> impl Iterator<Item = &Entry> {
        self.near.values().rev().take(count)
    }

    /// Entries leave the memory; gives those that had left the queue.
    pub(super) fn page_out(&mut self, entries: &[Entry]) -> Vec<Position> {
        let mut gone = Vec::new();
        for entry in entries {
            let key = (entry.expires.unwrap_or_default(), entry.position);
            match self.near.remove(&key) {
                Some(entry) => {
                    self.octets -= octets(&entry);
                    self.far.insert(key, entry.message.size());
                }
                None => gone.push(entry.position),
            }
        }
        gone
    }

    pub(super) fn append_run(&mut self, run: Run) {
        self.unread.push_back(run);
    }

    /// What has to be fetched, in the order of times.
    pub(super) fn missing(&mut self) -> Vec<Run> {
        if let Some(run) = self.unread.front() {
            return vec![*run];
        }
        if !self.is_first_far() {
            return Vec::new();
        }
        self.asked.clear();
        let mut runs: Vec<Run> = Vec::new();
        let mut all = 0;
        for ((time, position), size) in self.far.iter().take(ASKED_MAX) {
            if all >= ASKED_OCTETS {
                break;
            }
            all += size;
            self.asked.insert(*position, *time);
            match runs.last_mut() {
                Some(run) if run.last.next() == *position => {
                    run.last = *position;
                    run.count += 1;
                    run.octets += size;
                }
                _ => runs.push(Run {
                    first: *position,
                    last: *position,
                    count: 1,
                    octets: *size,
                }),
            }
        }
        runs
    }

    /// Entries that were asked for, and for which positions the disk was asked. Returns what was thought to be there and is
    /// not.
    pub(super) fn load(&mut self, entries: Vec<Entry>, looked: &[(Position, Position)]) -> (u64, u64) {
        if !self.asked.is_empty() {
            return self.load_asked(entries, looked);
        }
        let (Some(mut run), Some((_, through))) = (self.unread.pop_front(), looked.last()) else {
            return (0, 0);
        };
        for mut entry in entries {
            run.count = run.count.saturating_sub(1);
            run.octets = run.octets.saturating_sub(entry.message.size());
            // Few of those that were read together stay in memory.
            entry.message = Arc::new(entry.message.detached());
            self.add(entry);
        }
        if *through < run.last {
            run.first = through.next();
            self.unread.push_front(run);
            return (0, 0);
        }
        (run.count, run.octets)
    }

    fn load_asked(&mut self, entries: Vec<Entry>, looked: &[(Position, Position)]) -> (u64, u64) {
        let mut asked = std::mem::take(&mut self.asked);
        for mut entry in entries {
            // The time that it was given first; the one on disk goes by the time of day.
            if let Some(time) = asked.remove(&entry.position)
                && self.far.remove(&(time, entry.position)).is_some()
            {
                entry.expires = Some(time);
                self.add(entry);
            }
        }
        let looked = looked
            .iter()
            .flat_map(|(first, last)| asked.range(*first..=*last));
        let lost = looked.filter_map(|(position, time)| self.far.remove(&(*time, *position)));
        lost.fold((0, 0), |(count, octets), size| (count + 1, octets + size))
    }

    /// Forgets all; says which positions there were.
    pub(super) fn clear(&mut self, gone: &mut Vec<(Position, Position)>) {
        let entries = self.near.keys().chain(self.far.keys());
        let entries = entries.map(|(_, position)| (*position, *position));
        gone.extend(entries.chain(self.unread.iter().map(|run| (run.first, run.last))));
        *self = Self::default();
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.near.values()
    }

    pub(super) fn in_memory(&self) -> usize {
        self.near.len()
    }
}
