//! One queue: which messages it has, in which order, who has some of them, and which leave it before anybody settles
//! them.
//!
//! Deterministic: what happens depends on what was said, in order, and on the times that were said with it. Who
//! consumes is not known here ([`crate::Consumers`]), nor where dead letters go.
//!
//! Rules are those of RabbitMQ 3.10's classic queues, for all kinds of queues:
//! - limits count ready messages only, and messages are dropped at the end from which they are delivered;
//! - messages expire at that end only, those with a time of zero unless somebody takes them at once;
//! - what comes back goes to where it was, with its time to live running on.

mod levels;
mod ready;
#[cfg(test)]
mod tests;
mod unacked;
mod waiting;

use std::sync::Arc;

use crate::message::Message;
use crate::time::Millis;
use levels::Levels;
use ready::Ready;
pub use ready::Run;
use unacked::Unacked;
use waiting::Waiting;

/// Where a message is in the order of its queue. Never used twice in the life of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Position {
    /// The one behind it.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A message in a queue.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where.
    pub position: Position,
    /// What.
    pub message: Arc<Message>,
    /// From when on nobody gets it any more.
    pub expires: Option<Millis>,
    /// How often it came back.
    pub returns: u32,
    /// Somebody may have seen it: it came back, or was there before a restart.
    pub redelivered: bool,
}

impl Entry {
    /// How often it was given out, with this time.
    #[must_use]
    pub const fn tries(&self) -> u32 {
        self.returns.saturating_add(1)
    }
}

/// What a queue does with messages beyond its limit (`x-overflow`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest goes.
    #[default]
    DropHead,
    /// The new one is refused.
    RejectPublish,
    /// The new one is refused and dead-lettered.
    RejectPublishDlx,
}

/// What arguments and policies say of a queue, merged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// `x-message-ttl`, milliseconds.
    pub message_ttl: Option<u64>,
    /// `x-max-length`: ready messages.
    pub length: Option<u64>,
    /// `x-max-length-bytes`: octets of the bodies of ready messages.
    pub octets: Option<u64>,
    /// `x-overflow`.
    pub overflow: Overflow,
    /// `x-delivery-limit`: how often a message may come back.
    pub deliveries: Option<u32>,
}

impl Limits {
    /// A message that came back so often leaves.
    #[must_use]
    pub fn came_too_often(&self, returns: u32) -> bool {
        self.deliveries.is_some_and(|most| returns > most)
    }
}

/// What is on disk and is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Of this priority.
    pub level: usize,
    /// What is needed first comes first.
    pub runs: Vec<Run>,
}

/// Why a message left without having been settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its time ran out.
    Expired,
    /// There were too many.
    MaxLength,
    /// A consumer did not want it, nor that it comes back.
    Rejected,
    /// It came back too often.
    DeliveryLimit,
}

impl Reason {
    /// As `x-death` says it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::MaxLength => "maxlen",
            Self::Rejected => "rejected",
            Self::DeliveryLimit => "delivery_limit",
        }
    }
}

/// A message that left, to be dead-lettered if the queue does that, and forgotten by the log.
#[derive(Clone, Debug)]
pub struct Removed {
    /// Which.
    pub entry: Entry,
    /// Why.
    pub reason: Reason,
}

impl Removed {
    const fn too_often(entry: Entry) -> Self {
        Self {
            entry,
            reason: Reason::DeliveryLimit,
        }
    }
}

/// A message is not taken into the queue.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Which.
    pub message: Arc<Message>,
    /// It is to be dead-lettered with [`Reason::MaxLength`].
    pub dead_letter: bool,
}

/// How many messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// That nobody has.
    pub ready: u64,
    /// Octets of their bodies.
    pub ready_octets: u64,
    /// That consumers have and have not settled.
    pub unacked: u64,
    /// Octets of their bodies.
    pub unacked_octets: u64,
}

impl Counts {
    fn add_ready(&mut self, entry: &Entry) {
        self.ready += 1;
        self.ready_octets += entry.message.size();
    }

    fn remove_ready(&mut self, entry: &Entry) {
        self.ready = self.ready.saturating_sub(1);
        self.ready_octets = self.ready_octets.saturating_sub(entry.message.size());
    }
}

/// One queue.
#[derive(Debug)]
pub struct QueueMachine {
    limits: Limits,
    levels: Levels,
    /// Of a queue that holds messages back until their delay is over. It has no levels.
    waiting: Option<Waiting>,
    unacked: Unacked,
    next: Position,
    counts: Counts,
}

impl QueueMachine {
    /// An empty queue; `priority_max` as in `x-max-priority`.
    #[must_use]
    pub fn new(limits: Limits, priority_max: u8) -> Self {
        let count = usize::from(priority_max) + 1;
        Self {
            limits,
            levels: Levels::new(count),
            waiting: None,
            unacked: Unacked::default(),
            next: Position(1),
            counts: Counts::default(),
        }
    }

    /// An empty queue that holds messages back until the delay is over that they ask for. They leave as expired ones.
    #[must_use]
    pub fn delaying(limits: Limits) -> Self {
        Self {
            levels: Levels::new(0),
            waiting: Some(Waiting::default()),
            ..Self::new(limits, 0)
        }
    }

    /// Nobody gets its messages.
    #[must_use]
    pub const fn is_delaying(&self) -> bool {
        self.waiting.is_some()
    }

    /// How many messages there are.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// The position that the next message gets.
    #[must_use]
    pub const fn next_position(&self) -> Position {
        self.next
    }

    /// Is it served in another order than that of positions?
    #[must_use]
    pub const fn has_priorities(&self) -> bool {
        self.levels.len() > 1
    }

    /// What holds for it.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        self.limits
    }

    /// A message for the queue. It may push others out. Says where it is, and when its time runs out.
    ///
    /// # Errors
    /// The queue is full and refuses new messages.
    pub fn publish(
        &mut self,
        now: Millis,
        message: Arc<Message>,
        removed: &mut Vec<Removed>,
    ) -> Result<(Position, Option<Millis>), Refused> {
        let message = self.admit(message)?;
        let entry = self.enter(now, message);
        let placed = (entry.position, entry.expires);
        self.add(entry);
        self.drop_beyond_limits(removed);
        Ok(placed)
    }

    /// A message for the queue, of which there is nothing ready, that a consumer takes at once. Unless `settled`, it is
    /// unacked now.
    ///
    /// # Errors
    /// The queue refuses messages that it could not hold, even if it need not.
    pub fn publish_taken(
        &mut self,
        now: Millis,
        message: Arc<Message>,
        settled: bool,
    ) -> Result<Entry, Refused> {
        let message = self.admit(message)?;
        debug_assert!(self.counts.ready == 0);
        let entry = self.enter(now, message);
        if !settled {
            self.hold(entry.clone());
        }
        Ok(entry)
    }

    /// The next message, for somebody who has to settle it, or not if it is `settled` by being taken. Messages whose
    /// time ran out leave before that. Nothing, too, while messages have to be fetched ([`QueueMachine::missing`]).
    pub fn take(&mut self, now: Millis, settled: bool, removed: &mut Vec<Removed>) -> Option<Entry> {
        self.expire(now, removed);
        if self.is_delaying() {
            return None;
        }
        let entry = self.pop()?;
        self.counts.remove_ready(&entry);
        if !settled {
            self.hold(entry.clone());
        }
        Some(entry)
    }

    /// Somebody is done with a message. Nothing: nobody had it.
    pub fn settle(&mut self, position: Position) -> Option<Entry> {
        self.release(position)
    }

    /// Somebody does not want a message that he had, nor that anybody gets it.
    pub fn reject(&mut self, position: Position, removed: &mut Vec<Removed>) -> bool {
        let Some(entry) = self.release(position) else {
            return false;
        };
        removed.push(Removed {
            entry,
            reason: Reason::Rejected,
        });
        true
    }

    /// Messages that somebody had go to where they were. Those that came back too often leave.
    pub fn requeue(&mut self, positions: &mut [Position], removed: &mut Vec<Removed>) {
        // From the last to the first, so that each goes to the very front.
        positions.sort_unstable_by(|one, other| other.cmp(one));
        for position in positions.iter() {
            let Some(mut entry) = self.release(*position) else {
                continue;
            };
            entry.redelivered = true;
            entry.returns = entry.tries();
            if self.limits.came_too_often(entry.returns) {
                removed.push(Removed::too_often(entry));
                continue;
            }
            self.counts.add_ready(&entry);
            let level = self.level(&entry.message);
            self.levels.change(level, |level| level.put_back(entry));
        }
        self.drop_beyond_limits(removed);
    }

    /// All ready messages go. Says how many, and which positions.
    pub fn purge(&mut self, gone: &mut Vec<(Position, Position)>) -> u64 {
        let count = self.counts.ready;
        let used: Vec<usize> = self.levels.used().map(|(level, _)| level).collect();
        for level in used {
            self.levels.change(level, |level| level.clear(gone));
        }
        if let Some(waiting) = &mut self.waiting {
            waiting.clear(gone);
        }
        self.counts.ready = 0;
        self.counts.ready_octets = 0;
        // Those of several priorities are mixed.
        gone.sort_unstable();
        gone.dedup_by(|(first, last), (_, end)| {
            let follows = end.next() == *first;
            if follows {
                *end = *last;
            }
            follows
        });
        count
    }

    /// Messages at the front whose time ran out leave.
    pub fn expire(&mut self, now: Millis, removed: &mut Vec<Removed>) {
        let is_over = |entry: &Entry| entry.expires.is_some_and(|time| time <= now);
        let over = |levels: &Levels| {
            let mut timed = levels.timed();
            timed.find_map(|(level, ready)| is_over(ready.first()?).then_some(level))
        };
        while let Some(level) = over(&self.levels) {
            let mut next = || {
                let pop =
                    |level: &mut Ready| level.first().is_some_and(is_over).then(|| level.pop()).flatten();
                self.levels.change(level, pop).flatten()
            };
            while let Some(entry) = next() {
                self.counts.remove_ready(&entry);
                removed.push(Removed {
                    entry,
                    reason: Reason::Expired,
                });
            }
        }
        if let Some(waiting) = &mut self.waiting {
            while waiting.deadline().is_some_and(|time| time <= now) {
                let Some(entry) = waiting.pop() else { break };
                self.counts.remove_ready(&entry);
                removed.push(Removed {
                    entry,
                    reason: Reason::Expired,
                });
            }
        }
    }

    /// When [`QueueMachine::expire`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Millis> {
        let levels = self
            .levels
            .timed()
            .filter_map(|(_, level)| level.first()?.expires);
        levels
            .chain(self.waiting.as_ref().and_then(Waiting::deadline))
            .min()
    }

    /// Other limits, since a policy changed. Messages keep the time that they were given.
    pub fn set_limits(&mut self, limits: Limits, removed: &mut Vec<Removed>) {
        self.limits = limits;
        self.drop_beyond_limits(removed);
    }

    /// Messages in memory that nobody has seen.
    pub fn unseen(&self) -> impl Iterator<Item = Position> {
        let new = self.ready().filter(|entry| !entry.redelivered);
        new.map(|entry| entry.position)
    }

    /// Those that are only on disk: what this process has put there nobody has seen.
    pub fn on_disk(&self) -> impl Iterator<Item = &Run> {
        self.levels.gaps()
    }

    /// Messages in memory that were given out, and how often they were: those that somebody has will come back once more.
    pub fn tries(&self) -> impl Iterator<Item = (Position, u32)> {
        let returned = self.ready().filter(|entry| entry.returns > 0);
        let out = self.unacked.entries();
        returned
            .map(|entry| (entry.position, entry.returns))
            .chain(out.map(|entry| (entry.position, entry.tries())))
    }

    /// Positions that somebody has.
    pub fn unacked(&self) -> impl Iterator<Item = Position> {
        self.unacked.positions()
    }

    /// How many entries should leave the memory.
    #[must_use]
    pub fn pageable(&self) -> usize {
        let waiting = self.waiting.as_ref().map_or(0, Waiting::pageable);
        let levels = self.levels.deep().map(|(_, level)| level.pageable());
        levels.sum::<usize>() + waiting
    }

    /// Octets of the bodies of these.
    #[must_use]
    pub fn pageable_octets(&self) -> u64 {
        let waiting = self.waiting.as_ref().map_or(0, Waiting::pageable_octets);
        let levels = self.levels.deep().map(|(_, level)| level.pageable_octets());
        levels.sum::<u64>() + waiting
    }

    /// Entries that may leave the memory, `count` at most: all of one priority, oldest first, or those that wait longest.
    pub fn to_page(&self, count: usize) -> impl Iterator<Item = &Entry> {
        let levels = self.levels.deep().map(|(_, level)| level);
        let level = levels.max_by_key(|level| level.pageable());
        let entries = level
            .into_iter()
            .flat_map(move |level| level.to_page(count.min(level.pageable())));
        let waiting = self.waiting.iter();
        entries.chain(waiting.flat_map(move |waiting| waiting.to_page(count.min(waiting.pageable()))))
    }

    /// Entries of [`QueueMachine::to_page`] leave the memory: they are on disk now. Gives those that had left the queue.
    pub fn page_out(&mut self, entries: &[Entry]) -> Vec<Position> {
        if let Some(waiting) = &mut self.waiting {
            return waiting.page_out(entries);
        }
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
            return Vec::new();
        };
        let level = self.level(&first.message);
        let start = self.levels.change(level, |level| {
            // The oldest are those that leave.
            let start = level.tail_start();
            level.page_out(last.position);
            start
        });
        let start = start.flatten().unwrap_or_else(|| last.position.next());
        let positions = entries.iter().map(|entry| entry.position);
        positions.take_while(|position| *position < start).collect()
    }

    /// What should be fetched from disk.
    pub fn missing(&mut self) -> Option<Missing> {
        if let Some(waiting) = &mut self.waiting {
            let runs = waiting.missing();
            return (!runs.is_empty()).then_some(Missing { level: 0, runs });
        }
        self.levels.highest_deep(|level, ready| {
            let runs = ready.missing();
            (!runs.is_empty()).then_some(Missing { level, runs })
        })
    }

    /// Messages that were missing, in the order of what was asked for, and the first and last positions for which the disk
    /// has been asked by now: of each run, and of the last one maybe not all. Those that came back too often leave.
    pub fn load(
        &mut self,
        level: usize,
        entries: Vec<Entry>,
        looked: &[(Position, Position)],
        removed: &mut Vec<Removed>,
    ) {
        let Some((_, through)) = looked.last() else { return };
        let limits = self.limits;
        let too_often = |entry: &Entry| limits.came_too_often(entry.returns);
        let leave = entries.iter().any(too_often);
        let loaded = match &mut self.waiting {
            Some(waiting) => Some(waiting.load(entries, looked)),
            None => self.levels.change(level, |level| level.load(entries, *through)),
        };
        let Some((count, octets)) = loaded else { return };
        self.counts.ready = self.counts.ready.saturating_sub(count);
        self.counts.ready_octets = self.counts.ready_octets.saturating_sub(octets);
        if leave {
            let left = self.levels.change(level, |level| level.extract(too_often));
            for entry in left.into_iter().flatten() {
                self.counts.remove_ready(&entry);
                removed.push(Removed::too_often(entry));
            }
        }
    }

    /// Messages that a restart found on disk, behind all that are known.
    pub fn recover(&mut self, run: Run) {
        self.next = self.next.max(run.last.next());
        self.counts.ready += run.count;
        self.counts.ready_octets += run.octets;
        if let Some(waiting) = &mut self.waiting {
            waiting.append_run(run);
        } else {
            self.levels.change(0, |level| level.append_run(run));
        }
    }

    /// Messages that a restart found on disk, behind all that are known, of a queue with priorities. They do not stay in
    /// memory if they are many. Those that came back too often leave.
    pub fn recover_entries(&mut self, entries: impl IntoIterator<Item = Entry>, removed: &mut Vec<Removed>) {
        for mut entry in entries {
            self.next = self.next.max(entry.position.next());
            if self.limits.came_too_often(entry.returns) {
                removed.push(Removed::too_often(entry));
                continue;
            }
            // Few of those that were read together stay in memory.
            entry.message = Arc::new(entry.message.detached());
            self.add(entry);
        }
        let deep: Vec<usize> = self.levels.deep().map(|(level, _)| level).collect();
        for level in deep {
            self.levels.change(level, |level| {
                let last = level.to_page(level.pageable()).last();
                if let Some(last) = last.map(|entry| entry.position) {
                    level.page_out(last);
                }
            });
        }
    }

    /// Positions up to this one were used before a restart.
    pub fn skip_to(&mut self, next: Position) {
        self.next = self.next.max(next);
    }

    /// Entries that take room in memory.
    #[must_use]
    pub fn in_memory(&self) -> usize {
        let waiting = self.waiting.as_ref().map_or(0, Waiting::in_memory);
        let levels = self.levels.used().map(|(_, level)| level.in_memory());
        levels.sum::<usize>() + self.unacked.len() + waiting
    }

    /// Messages in memory that nobody has.
    fn ready(&self) -> impl Iterator<Item = &Entry> {
        let waiting = self.waiting.iter().flat_map(Waiting::entries);
        let levels = self.levels.used().flat_map(|(_, level)| level.entries());
        levels.chain(waiting)
    }

    /// Does the queue take another message?
    fn admit(&self, message: Arc<Message>) -> Result<Arc<Message>, Refused> {
        if self.limits.overflow != Overflow::DropHead
            && self.is_beyond(self.counts.ready + 1, self.counts.ready_octets + message.size())
        {
            return Err(Refused {
                message,
                dead_letter: self.limits.overflow == Overflow::RejectPublishDlx,
            });
        }
        Ok(message)
    }

    fn enter(&mut self, now: Millis, message: Arc<Message>) -> Entry {
        let position = self.next;
        self.next = position.next();
        let lifetime = match (self.limits.message_ttl, message.expiration) {
            _ if self.is_delaying() => Some(message.delay().unwrap_or(0)),
            (Some(queue), Some(own)) => Some(queue.min(own)),
            (queue, own) => queue.or(own),
        };
        Entry {
            position,
            message,
            expires: lifetime.map(|time| now.after(time)),
            returns: 0,
            redelivered: false,
        }
    }

    fn add(&mut self, entry: Entry) {
        self.counts.add_ready(&entry);
        if let Some(waiting) = &mut self.waiting {
            waiting.add(entry);
        } else {
            let level = self.level(&entry.message);
            self.levels.change(level, |level| level.push(entry));
        }
    }

    /// What is delivered next, or leaves next.
    fn pop(&mut self) -> Option<Entry> {
        match &mut self.waiting {
            Some(waiting) => waiting.pop(),
            None => self.levels.pop(),
        }
    }

    /// Where a message goes: with the highest level there is if its priority is higher, with the lowest if it has none.
    fn level(&self, message: &Message) -> usize {
        let highest = self.levels.len().saturating_sub(1);
        usize::from(message.priority.unwrap_or(0)).min(highest)
    }

    fn hold(&mut self, entry: Entry) {
        self.counts.unacked += 1;
        self.counts.unacked_octets += entry.message.size();
        self.unacked.insert(entry);
    }

    fn release(&mut self, position: Position) -> Option<Entry> {
        let entry = self.unacked.remove(position)?;
        self.counts.unacked = self.counts.unacked.saturating_sub(1);
        self.counts.unacked_octets = self.counts.unacked_octets.saturating_sub(entry.message.size());
        Some(entry)
    }

    fn is_beyond(&self, messages: u64, octets: u64) -> bool {
        self.limits.length.is_some_and(|most| messages > most)
            || self.limits.octets.is_some_and(|most| octets > most)
    }

    fn drop_beyond_limits(&mut self, removed: &mut Vec<Removed>) {
        while self.is_beyond(self.counts.ready, self.counts.ready_octets) {
            // Nothing in memory: the rest goes when it has been fetched.
            let Some(entry) = self.pop() else {
                break;
            };
            self.counts.remove_ready(&entry);
            removed.push(Removed {
                entry,
                reason: Reason::MaxLength,
            });
        }
    }
}
