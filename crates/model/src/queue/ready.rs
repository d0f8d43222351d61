//! Messages of one priority that nobody has, in order.
//!
//! ```text
//!   returned            head                 gap                      tail
//!   [3] [5]             [7] [8] … [4000]     4001 … 990000            [990001] … [993000]
//!   came back           in memory            only on disk: runs       in memory
//! ```
//!
//! The first message is the first of `returned` and `head`, whichever has the lower position. Only a queue that is much
//! longer than what its consumers take has a gap and a tail. What is in the gap is known by positions; the caller has put the
//! messages where it finds them again, and brings them back with [`Ready::load`] before the head runs out.

use std::collections::{BTreeMap, VecDeque};

use super::{Entry, Position};

/// Entries of the head from which on new ones go to the tail. Small in tests, so that short histories reach everything.
pub(super) const HEAD_MAX: usize = if cfg!(test) { 8 } else { 32_768 };
/// Entries of the tail from which on older ones may leave the memory.
pub(super) const TAIL_MAX: usize = if cfg!(test) { 4 } else { 4096 };
/// Entries of the head from which on those of the gap should be fetched.
const HEAD_LOW: usize = HEAD_MAX / 4;
/// The same for octets: those of the bodies, and what a message needs beside its body.
const HEAD_OCTETS: u64 = 12 << 20;
const TAIL_OCTETS: u64 = HEAD_OCTETS / 2;
const BESIDE_BODY: u64 = 256;

/// Positions that only the disk has the messages of. Some between the first and the last may be gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first position.
    pub first: Position,
    /// The last position, which is in it.
    pub last: Position,
    /// How many messages.
    pub count: u64,
    /// Octets of their bodies.
    pub octets: u64,
}

/// Messages of one priority.
#[derive(Debug, Default)]
pub(super) struct Ready {
    returned: BTreeMap<Position, Entry>,
    head: Window,
    gap: VecDeque<Run>,
    tail: Window,
}

/// Entries in memory, in order, and the octets that they need.
#[derive(Debug, Default)]
struct Window {
    entries: VecDeque<Entry>,
    octets: u64,
}

impl Window {
    fn push_back(&mut self, entry: Entry) {
        self.octets += octets(&entry);
        self.entries.push_back(entry);
    }

    fn push_front(&mut self, entry: Entry) {
        self.octets += octets(&entry);
        self.entries.push_front(entry);
    }

    fn pop_front(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.octets -= octets(&entry);
        Some(entry)
    }

    fn front(&self) -> Option<&Entry> {
        self.entries.front()
    }

    fn len(&self) -> usize {
        self.entries.len()
    }

    fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }
}

fn octets(entry: &Entry) -> u64 {
    entry.message.size() + BESIDE_BODY
}

impl Ready {
    /// Behind all others. Positions only grow.
    pub(super) fn push(&mut self, entry: Entry) {
        let head_takes = self.gap.is_empty()
            && self.tail.is_empty()
            && self.head.len() < HEAD_MAX
            && self.head.octets < HEAD_OCTETS;
        let end = if head_takes {
            &mut self.head
        } else {
            &mut self.tail
        };
        debug_assert!(
            end.entries
                .back()
                .is_none_or(|last| last.position < entry.position)
        );
        end.push_back(entry);
    }

    /// To where it was: what somebody had is older than all that the gap and the tail have.
    pub(super) fn put_back(&mut self, entry: Entry) {
        match self.head.front() {
            Some(first) if entry.position > first.position => {
                self.returned.insert(entry.position, entry);
            }
            _ => self.head.push_front(entry),
        }
    }

    /// What is delivered next; nothing while that is in the gap.
    pub(super) fn first(&self) -> Option<&Entry> {
        let head = self
            .head
            .front()
            .or_else(|| self.gap.is_empty().then(|| self.tail.front()).flatten());
        match (self.returned.first_key_value(), head) {
            (Some((position, returned)), Some(head)) if *position < head.position => Some(returned),
            (Some((_, returned)), None) => Some(returned),
            (_, head) => head,
        }
    }

    pub(super) fn pop(&mut self) -> Option<Entry> {
        let position = self.first()?.position;
        if self
            .returned
            .first_key_value()
            .is_some_and(|(first, _)| *first == position)
        {
            return self.returned.pop_first().map(|(_, entry)| entry);
        }
        if self.head.is_empty() && self.gap.is_empty() {
            std::mem::swap(&mut self.head, &mut self.tail);
        }
        self.head.pop_front()
    }

    /// Entries of the tail that may leave the memory.
    pub(super) fn pageable(&self) -> usize {
        let many = self.tail.len().saturating_sub(TAIL_MAX);
        // All are about as large, or else this is about right the next time.
        let beyond = self.tail.octets.saturating_sub(TAIL_OCTETS);
        let large = (self.tail.len() as u64 * beyond).checked_div(self.tail.octets);
        many.max(usize::try_from(large.unwrap_or(0)).unwrap_or(0))
    }

    /// Octets of the tail that may leave the memory.
    pub(super) const fn pageable_octets(&self) -> u64 {
        self.tail.octets.saturating_sub(TAIL_OCTETS)
    }

    /// The oldest `count` entries of the tail.
    pub(super) fn to_page(&self, count: usize) -> impl Iterator<Item = &Entry> {
        self.tail.iter().take(count)
    }

    /// Entries of the tail leave the memory, up to a position.
    pub(super) fn page_out(&mut self, through: Position) -> Option<Run> {
        let mut left: Option<Run> = None;
        while self.tail.front().is_some_and(|entry| entry.position <= through) {
            let Some(entry) = self.tail.pop_front() else { break };
            let run = left.get_or_insert(Run {
                first: entry.position,
                last: entry.position,
                count: 0,
                octets: 0,
            });
            run.last = entry.position;
            run.count += 1;
            run.octets += entry.message.size();
        }
        left.into_iter().for_each(|run| self.append_run(run));
        left
    }

    /// Messages that a restart finds on disk, behind all that are known.
    pub(super) fn append_run(&mut self, run: Run) {
        match self.gap.back_mut() {
            Some(before) => {
                before.last = run.last;
                before.count += run.count;
                before.octets += run.octets;
            }
            None => self.gap.push_back(run),
        }
    }

    /// What should be fetched from disk now.
    pub(super) fn missing(&self) -> Option<Run> {
        (self.head.len() < HEAD_LOW && self.head.octets < HEAD_OCTETS / 4)
            .then(|| self.gap.front().copied())
            .flatten()
    }

    /// Entries of the gap that were asked for, in order, and up to where the gap has been looked through. Returns what
    /// was thought to be there and is not. The gap may have been purged meanwhile, and another may have begun.
    pub(super) fn load(&mut self, entries: Vec<Entry>, through: Position) -> (u64, u64) {
        let Some(run) = self.gap.front_mut().filter(|run| run.first <= through) else {
            return (0, 0);
        };
        let wanted = run.first..=run.last;
        for entry in entries
            .into_iter()
            .filter(|entry| wanted.contains(&entry.position))
        {
            run.count = run.count.saturating_sub(1);
            run.octets = run.octets.saturating_sub(entry.message.size());
            self.head.push_back(entry);
        }
        if through < run.last {
            run.first = through.next();
            return (0, 0);
        }
        let lost = (run.count, run.octets);
        self.gap.pop_front();
        lost
    }

    /// Forgets all; says which positions there were.
    pub(super) fn clear(&mut self, gone: &mut Vec<(Position, Position)>) {
        let entries = self
            .returned
            .values()
            .chain(self.head.iter())
            .map(|entry| (entry.position, entry.position));
        let runs = self.gap.iter().map(|run| (run.first, run.last));
        for (first, last) in entries
            .chain(runs)
            .chain(self.tail.iter().map(|entry| (entry.position, entry.position)))
        {
            match gone.last_mut() {
                Some((_, end)) if end.next() == first => *end = last,
                _ => gone.push((first, last)),
            }
        }
        *self = Self::default();
    }

    /// Entries in memory, in no order.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.returned
            .values()
            .chain(self.head.iter())
            .chain(self.tail.iter())
    }

    /// Entries that take room in memory.
    pub(super) fn in_memory(&self) -> usize {
        self.returned.len() + self.head.len() + self.tail.len()
    }
}
