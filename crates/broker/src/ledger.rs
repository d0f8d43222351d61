//! What a channel's client has and has not settled: delivery tags, and where each message came from.
//!
//! Tags of a channel grow by one, so they are places in a ring.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use slab::Slab;
use warren_cluster::QueueHandle;
use warren_model::{ConsumerId, Millis, Position};

/// Looks that are remembered. More than fit into a timeout mean nothing.
const LOOKS_MAX: usize = 64;

/// Where messages came from: a consumer, or fetches from a queue.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) queue: QueueHandle,
    pub(crate) consumer: Option<ConsumerId>,
    /// Messages of it that are not settled.
    unsettled: u32,
    /// Its consumer is still there.
    open: bool,
}

/// A message that a client has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unsettled {
    pub(crate) origin: u32,
    pub(crate) position: Position,
}

/// What a channel's client has.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    origins: Slab<Origin>,
    /// The tag before that of the first place.
    before: u64,
    places: VecDeque<Option<Unsettled>>,
    unsettled: u32,
    /// Those of them that came to consumers, and were not fetched.
    held: u32,
    /// Room that was promised to messages on their way.
    reserved: u32,
    /// `basic.qos` with `global`: for all of the channel's consumers together; 0 is no limit.
    limit: u32,
    /// There is or was such a limit.
    pub(crate) limited: Arc<AtomicBool>,
    /// Consumers of it are gone with their queues, and the channel does not know yet.
    pub(crate) bereft: bool,
    /// When somebody looked, and the last tag then, as long as the client has messages up to that one.
    looks: VecDeque<(u64, Millis)>,
}

/// No message has this tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnknownTag(pub(crate) u64);

impl Ledger {
    /// Messages may come from there now.
    pub(crate) fn open(&mut self, queue: QueueHandle) -> u32 {
        let origin = Origin {
            queue,
            consumer: None,
            unsettled: 0,
            open: true,
        };
        u32::try_from(self.origins.insert(origin)).unwrap_or(u32::MAX)
    }

    /// The consumer is this one.
    pub(crate) fn set_consumer(&mut self, origin: u32, id: ConsumerId) {
        if let Some(origin) = self.origins.get_mut(origin as usize) {
            origin.consumer = Some(id);
        }
    }

    /// No more messages come from there; those that came stay.
    pub(crate) fn close(&mut self, origin: u32) {
        let Some(entry) = self.origins.get_mut(origin as usize) else {
            return;
        };
        entry.open = false;
        if entry.unsettled == 0 {
            self.origins.remove(origin as usize);
        }
    }

    /// A tag for a message that nobody settles.
    pub(crate) fn next_tag(&mut self) -> u64 {
        if self.places.is_empty() {
            self.before += 1;
            return self.before;
        }
        self.places.push_back(None);
        self.last_tag()
    }

    /// A tag for a message that has to be settled.
    pub(crate) fn deliver(&mut self, origin: u32, position: Position) -> u64 {
        self.unsettled += 1;
        if let Some(origin) = self.origins.get_mut(origin as usize) {
            origin.unsettled += 1;
            if origin.consumer.is_some() {
                self.held += 1;
                self.reserved = self.reserved.saturating_sub(1);
            }
        }
        self.places.push_back(Some(Unsettled { origin, position }));
        self.last_tag()
    }

    /// The client settles a tag, with all before it if `multiple`. Tag 0 is all there are then.
    ///
    /// # Errors
    /// It has no such.
    pub(crate) fn settle(
        &mut self,
        tag: u64,
        multiple: bool,
        into: &mut Vec<Unsettled>,
    ) -> Result<(), UnknownTag> {
        let count = match tag == 0 && multiple {
            true => self.places.len(),
            false => {
                let index = tag
                    .checked_sub(self.before + 1)
                    .and_then(|index| usize::try_from(index).ok());
                let place = index.and_then(|index| self.places.get_mut(index));
                let one = place
                    .and_then(|place| if multiple { *place } else { place.take() })
                    .ok_or(UnknownTag(tag))?;
                match multiple {
                    true => index.unwrap_or_default() + 1,
                    false => {
                        into.push(one);
                        self.unsettled = self.unsettled.saturating_sub(1);
                        0
                    }
                }
            }
        };
        let settled = into.len();
        into.extend(self.places.drain(..count).flatten());
        self.unsettled = self
            .unsettled
            .saturating_sub(u32::try_from(into.len() - settled).unwrap_or(u32::MAX));
        self.before += count as u64;
        self.trim();
        Ok(())
    }

    /// As [`Ledger::settle`], but the messages stay the client's until [`Ledger::let_go`] or [`Ledger::restore`]; nobody
    /// else can settle them meanwhile.
    ///
    /// # Errors
    /// It has no such.
    pub(crate) fn hold(
        &mut self,
        tag: u64,
        multiple: bool,
        mut held: impl FnMut(u64, Unsettled),
    ) -> Result<(), UnknownTag> {
        let first = self.before + 1;
        let index = tag
            .checked_sub(first)
            .and_then(|index| usize::try_from(index).ok());
        let range = match (tag, multiple) {
            (0, true) => 0..self.places.len(),
            _ => {
                let index = index
                    .filter(|index| self.places.get(*index).is_some_and(Option::is_some))
                    .ok_or(UnknownTag(tag))?;
                if multiple { 0..index + 1 } else { index..index + 1 }
            }
        };
        let start = range.start;
        for (place, index) in self.places.range_mut(range).zip(start..) {
            if let Some(one) = place.take() {
                held(first + index as u64, one);
            }
        }
        Ok(())
    }

    /// A message that was held is the client's again.
    pub(crate) fn restore(&mut self, tag: u64, one: Unsettled) {
        let index = tag
            .checked_sub(self.before + 1)
            .and_then(|index| usize::try_from(index).ok());
        if let Some(place) = index.and_then(|index| self.places.get_mut(index)) {
            *place = Some(one);
        }
    }

    /// So many messages that were held are settled.
    pub(crate) fn let_go(&mut self, count: usize) {
        self.unsettled = self
            .unsettled
            .saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// No message is held any more: places at the front that are empty are not needed.
    pub(crate) fn trim(&mut self) {
        while let Some(None) = self.places.front() {
            self.places.pop_front();
            self.before += 1;
        }
    }

    /// All that the client has, oldest first, with where it came from. The channel is gone.
    pub(crate) fn drain(&mut self) -> Vec<(Origin, Position)> {
        let origins = &self.origins;
        let all = self.places.drain(..).flatten();
        all.filter_map(|one| Some((origins.get(one.origin as usize)?.clone(), one.position)))
            .collect()
    }

    /// Where it came from. Called once for each message that was settled: an origin goes with its last.
    pub(crate) fn release(&mut self, origin: u32, count: u32) -> Option<(QueueHandle, Option<ConsumerId>)> {
        let entry = self.origins.get_mut(origin as usize)?;
        entry.unsettled = entry.unsettled.saturating_sub(count);
        if entry.consumer.is_some() {
            self.held = self.held.saturating_sub(count);
        }
        let found = (entry.queue.clone(), entry.consumer.filter(|_| entry.open));
        if !entry.open && entry.unsettled == 0 {
            self.origins.remove(origin as usize);
        }
        Some(found)
    }

    /// Its consumers get no more until something is settled.
    pub(crate) const fn is_full(&self) -> bool {
        self.limit > 0 && self.held + self.reserved >= self.limit
    }

    /// Promises room for a message, if there is any.
    pub(crate) const fn reserve(&mut self) -> bool {
        let room = !self.is_full();
        if room {
            self.reserved += 1;
        }
        room
    }

    /// There was no message for the room.
    pub(crate) const fn unreserve(&mut self) {
        self.reserved = self.reserved.saturating_sub(1);
    }

    /// The limit of the whole channel; 0: none.
    pub(crate) const fn limit(&self) -> u32 {
        self.limit
    }

    /// How many messages its client has to settle.
    pub(crate) const fn unsettled(&self) -> u32 {
        self.unsettled
    }

    /// `basic.qos` with `global`.
    pub(crate) fn set_limit(&mut self, limit: u32) {
        self.limit = limit;
        if limit > 0 {
            self.limited.store(true, Ordering::Relaxed);
        }
    }

    /// Since when, at least, the client has had the oldest message that it has. Asked now and then, since it only knows the
    /// times at which it was asked.
    pub(crate) fn had_since(&mut self, now: Millis) -> Option<Millis> {
        while self.looks.front().is_some_and(|(tag, _)| *tag <= self.before) {
            self.looks.pop_front();
        }
        if self.places.is_empty() {
            return None;
        }
        let last = self.last_tag();
        if self.looks.len() < LOOKS_MAX && self.looks.back().is_none_or(|(tag, _)| *tag < last) {
            self.looks.push_back((last, now));
        }
        self.looks.front().map(|(_, time)| *time)
    }

    /// Where its consumers' messages come from, to say that there is room again.
    pub(crate) fn consumers(&self) -> Vec<(QueueHandle, ConsumerId)> {
        let open = self.origins.iter().filter(|(_, origin)| origin.open);
        open.filter_map(|(_, origin)| Some((origin.queue.clone(), origin.consumer?)))
            .collect()
    }

    fn last_tag(&self) -> u64 {
        self.before + self.places.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::{Ledger, UnknownTag, Unsettled};
    use warren_model::{Millis, Position};

    fn settle(ledger: &mut Ledger, tag: u64, multiple: bool) -> Result<Vec<u64>, UnknownTag> {
        let mut found: Vec<Unsettled> = Vec::new();
        ledger.settle(tag, multiple, &mut found)?;
        Ok(found.into_iter().map(|one| one.position.0).collect())
    }

    #[test]
    fn a_tag_is_settled_once() {
        let mut ledger = Ledger::default();
        let tags: Vec<u64> = (1..=5)
            .map(|number| ledger.deliver(0, Position(number * 10)))
            .collect();
        assert_eq!(tags, [1, 2, 3, 4, 5]);
        assert_eq!(settle(&mut ledger, 3, false), Ok(vec![30]));
        assert_eq!(settle(&mut ledger, 3, false), Err(UnknownTag(3)));
        assert_eq!(settle(&mut ledger, 4, true), Ok(vec![10, 20, 40]));
        assert_eq!(settle(&mut ledger, 4, true), Err(UnknownTag(4)));
        assert_eq!(settle(&mut ledger, 6, false), Err(UnknownTag(6)));
        assert_eq!(settle(&mut ledger, 0, false), Err(UnknownTag(0)));
        assert_eq!(ledger.unsettled, 1);
        assert_eq!(settle(&mut ledger, 0, true), Ok(vec![50]));
        assert_eq!(settle(&mut ledger, 0, true), Ok(vec![]), "all of none is fine");
        assert_eq!(ledger.deliver(0, Position(60)), 6);
    }

    #[test]
    fn a_message_is_had_since_it_was_first_seen() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.had_since(Millis(1)), None);
        ledger.deliver(0, Position(1));
        assert_eq!(ledger.had_since(Millis(2)), Some(Millis(2)));
        ledger.deliver(0, Position(2));
        assert_eq!(ledger.had_since(Millis(5)), Some(Millis(2)));
        settle(&mut ledger, 1, false).unwrap();
        assert_eq!(ledger.had_since(Millis(6)), Some(Millis(5)));
        ledger.deliver(0, Position(3));
        settle(&mut ledger, 2, false).unwrap();
        assert_eq!(ledger.had_since(Millis(9)), Some(Millis(9)));
        settle(&mut ledger, 0, true).unwrap();
        assert_eq!(ledger.had_since(Millis(10)), None);
    }

    #[test]
    fn messages_that_nobody_settles_have_tags_too() {
        let mut ledger = Ledger::default();
        assert_eq!(
            (
                ledger.next_tag(),
                ledger.deliver(0, Position(7)),
                ledger.next_tag()
            ),
            (1, 2, 3)
        );
        assert_eq!(settle(&mut ledger, 3, false), Err(UnknownTag(3)));
        assert_eq!(settle(&mut ledger, 2, false), Ok(vec![7]));
        assert_eq!((ledger.next_tag(), ledger.unsettled), (4, 0));
    }

    #[test]
    fn a_limit_is_for_all_of_the_channel() {
        let mut ledger = Ledger {
            held: 1,
            ..Ledger::default()
        };
        assert!(ledger.reserve(), "there is none");
        ledger.unreserve();
        ledger.set_limit(2);
        assert!(ledger.reserve());
        assert!(!ledger.reserve());
        ledger.unreserve();
        assert!(!ledger.is_full());
    }
}
