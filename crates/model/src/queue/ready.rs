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
//!
//! Of a queue with one priority the gap is one run. Where there are more, a run has nothing of another priority in it, and so
//! there are as many as it takes; all priorities together have about as much memory as one.

use std::collections::{BTreeMap, VecDeque};

use super::{Entry, Position};

/// Entries of the head from which on new ones go to the tail. Small in tests, so that short histories reach everything.
pub(super) const HEAD_MAX: usize = if cfg!(test) { 8 } else { 32_768 };
/// Entries of the tail from which on older ones may leave the memory.
pub(super) const TAIL_MAX: usize = if cfg!(test) { 4 } else { 4096 };
/// Entries that the head of one of many priorities may have.
const LEVEL_MIN: usize = if cfg!(test) { 4 } else { 64 };
/// The same for octets: those of the bodies, and what a message needs beside its body.
pub(super) const HEAD_OCTETS: u64 = 12 << 20;
const BESIDE_BODY: u64 = 256;
/// Messages that are asked for together, if they are not in one run.
pub(super) const ASKED_MAX: usize = if cfg!(test) { 6 } else { 2048 };
/// Octets from which on no more are.
pub(super) const ASKED_OCTETS: u64 = 4 << 20;

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
#[derive(Debug)]
pub(super) struct Ready {
    returned: BTreeMap<Position, Entry>,
    head: Window,
    gap: VecDeque<Run>,
    tail: Window,
    /// What the head may have.
    room: Room,
}

/// How much may be in memory.
#[derive(Clone, Copy, Debug)]
struct Room {
    /// Entries of the head, those of the tail, and octets of the head.
    entries: usize,
    tail: usize,
    octets: u64,
    /// There are other priorities.
    shared: bool,
}

impl Room {
    const fn of_one_in(levels: usize) -> Self {
        let (head, tail) = (HEAD_MAX / levels, TAIL_MAX / levels);
        Self {
            entries: if head < LEVEL_MIN { LEVEL_MIN } else { head },
            tail: if tail < LEVEL_MIN / 2 { LEVEL_MIN / 2 } else { tail },
            octets: HEAD_OCTETS / levels as u64,
            shared: levels > 1,
        }
    }
}

/// Entries in memory, in order, and the octets that they need.
#[derive(Debug)]
struct Window {
    entries: VecDeque<Entry>,
    octets: u64,
}

impl Window {
    const fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            octets: 0,
        }
    }

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

pub(super) fn octets(entry: &Entry) -> u64 {
    entry.message.size() + BESIDE_BODY
}

impl Ready {
    /// One of so many priorities.
    pub(super) const fn one_of(levels: usize) -> Self {
        Self::with(Room::of_one_in(levels))
    }

    const fn with(room: Room) -> Self {
        Self {
            returned: BTreeMap::new(),
            head: Window::new(),
            gap: VecDeque::new(),
            tail: Window::new(),
            room,
        }
    }

    /// There is nothing, on disk neither.
    pub(super) fn is_empty(&self) -> bool {
        self.first().is_none() && self.gap.is_empty()
    }

    /// There is something behind the head.
    pub(super) fn is_deep(&self) -> bool {
        !self.gap.is_empty() || !self.tail.is_empty()
    }

    /// Behind all others. Positions only grow.
    pub(super) fn push(&mut self, entry: Entry) {
        let head_takes = self.gap.is_empty()
            && self.tail.is_empty()
            && self.head.len() < self.room.entries
            && self.head.octets < self.room.octets;
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
        beyond(
            (self.tail.len(), self.tail.octets),
            (self.room.tail, self.room.octets / 2),
        )
    }

    /// Octets of the tail that may leave the memory.
    pub(super) const fn pageable_octets(&self) -> u64 {
        self.tail.octets.saturating_sub(self.room.octets / 2)
    }

    /// The oldest `count` entries of the tail.
    pub(super) fn to_page(&self, count: usize) -> impl Iterator<Item = &Entry> {
        self.tail.iter().take(count)
    }

    /// Entries of the tail leave the memory, up to a position. What is not in it any more is not needed there.
    pub(super) fn page_out(&mut self, through: Position) {
        while self.tail.front().is_some_and(|entry| entry.position <= through) {
            let Some(entry) = self.tail.pop_front() else { break };
            self.append_run(Run {
                first: entry.position,
                last: entry.position,
                count: 1,
                octets: entry.message.size(),
            });
        }
    }

    /// The position of the first entry of the tail.
    pub(super) fn tail_start(&self) -> Option<Position> {
        self.tail.front().map(|entry| entry.position)
    }

    /// Messages on disk behind all that are known.
    pub(super) fn append_run(&mut self, run: Run) {
        match self.gap.back_mut() {
            Some(before) if !self.room.shared || before.last.next() == run.first => {
                before.last = run.last;
                before.count += run.count;
                before.octets += run.octets;
            }
            _ => self.gap.push_back(run),
        }
    }

    /// What should be fetched from disk now.
    pub(super) fn missing(&self) -> Vec<Run> {
        let low = self.head.len() < self.room.entries / 4 && self.head.octets < self.room.octets / 4;
        let (mut count, mut octets) = (0, 0);
        let most = ASKED_MAX.min(self.room.entries) as u64;
        let runs = self.gap.iter().take_while(|run| {
            let before = (count, octets);
            (count, octets) = (count + run.count, octets + run.octets);
            before.0 < most && before.1 < ASKED_OCTETS.min(self.room.octets)
        });
        if low { runs.copied().collect() } else { Vec::new() }
    }

    /// Entries of the gap that were asked for, in order, and up to where the gap has been looked through. Returns what
    /// was thought to be there and is not. The gap may have been purged meanwhile, and another may have begun.
    pub(super) fn load(&mut self, entries: Vec<Entry>, through: Position) -> (u64, u64) {
        let mut lost = (0, 0);
        let mut entries = entries.into_iter().peekable();
        while let Some(run) = self.gap.front_mut().filter(|run| run.first <= through) {
            while let Some(entry) = entries.next_if(|entry| entry.position <= run.last) {
                if entry.position >= run.first {
                    run.count = run.count.saturating_sub(1);
                    run.octets = run.octets.saturating_sub(entry.message.size());
                    self.head.push_back(entry);
                }
            }
            if through < run.last {
                run.first = through.next();
                break;
            }
            lost = (lost.0 + run.count, lost.1 + run.octets);
            self.gap.pop_front();
        }
        lost
    }

    /// Takes entries out of the head, wherever they are in it.
    pub(super) fn extract(&mut self, leaves: impl Fn(&Entry) -> bool) -> VecDeque<Entry> {
        let (left, stay) = self.head.entries.drain(..).partition(leaves);
        self.head.entries = stay;
        self.head.octets = self.head.iter().map(octets).sum();
        left
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
        *self = Self::with(self.room);
    }

    /// What is only on disk.
    pub(super) fn gap(&self) -> impl Iterator<Item = &Run> {
        self.gap.iter()
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

/// Entries beyond what there may be, by their number or by the octets of their bodies.
pub(super) fn beyond((entries, octets): (usize, u64), (entries_max, octets_max): (usize, u64)) -> usize {
    let many = entries.saturating_sub(entries_max);
    // All are about as large, or else this is about right the next time.
    let large = (entries as u64 * octets.saturating_sub(octets_max)).checked_div(octets);
    many.max(usize::try_from(large.unwrap_or(0)).unwrap_or(0))
}
