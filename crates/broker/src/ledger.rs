//! What a channel's client has and has not settled: delivery tags, and where each message came from.
//!
//! Tags of a channel grow by one, so the place of one that is not settled is mostly as far from the first as its tag. Messages
//! that nobody settles have tags and no places.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use slab::Slab;
use warren_cluster::QueueHandle;
use warren_model::{ConsumerId, Millis, Position};

/// Places of messages that the client has no more are not given up before there are so many.
const EMPTY_MIN: usize = 64;
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
    /// Its turn among those who wait for room.
    turn: Option<u64>,
}

/// A message that a client has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unsettled {
    pub(crate) origin: u32,
    pub(crate) position: Position,
}

/// A message that a client has, or one before others that he has.
#[derive(Clone, Copy, Debug)]
struct Place {
    tag: u64,
    position: Position,
    origin: u32,
    /// The client has it no more, or has said what he will do with it.
    empty: bool,
}

impl Place {
    const fn unsettled(self) -> Unsettled {
        Unsettled {
            origin: self.origin,
            position: self.position,
        }
    }
}

/// What a channel's client has.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    origins: Slab<Origin>,
    /// From where a message was fetched last.
    fetched: u32,
    /// The last tag.
    last: u64,
    /// By tag; the first is not empty, unless something is held.
    places: VecDeque<Place>,
    unsettled: u32,
    /// Those of them that came to consumers, and were not fetched.
    held: u32,
    /// Room that was promised to messages on their way.
    reserved: u32,
    /// Consumers that found no room or took the last of it, by turn. They get nothing before they are told that there is some again, those
    /// first who have waited longest.
    refused: BTreeMap<u64, u32>,
    /// The last turn.
    turns: u64,
    /// Whose consumer got the last one.
    served: u32,
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
            turn: None,
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
        if let Some(turn) = entry.turn.take() {
            self.refused.remove(&turn);
        }
        if entry.unsettled == 0 {
            self.origins.remove(origin as usize);
        }
    }

    /// A tag for a message that nobody settles.
    pub(crate) const fn next_tag(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// A tag for a message that has to be settled.
    pub(crate) fn deliver(&mut self, number: u32, position: Position) -> u64 {
        self.unsettled += 1;
        if let Some(origin) = self.origins.get_mut(number as usize) {
            origin.unsettled += 1;
            if origin.consumer.is_some() {
                self.held += 1;
                self.reserved = self.reserved.saturating_sub(1);
                self.served = number;
            }
        }
        let tag = self.next_tag();
        self.places.push_back(Place {
            tag,
            position,
            origin: number,
            empty: false,
        });
        tag
    }

    /// A tag for a message that was fetched from a queue and has to be settled. Nothing is kept of the queue beyond that.
    pub(crate) fn fetch(&mut self, queue: &QueueHandle, position: Position) -> u64 {
        let last = self.origins.get(self.fetched as usize);
        if !last.is_some_and(|last| !last.open && last.consumer.is_none() && last.queue.is(queue)) {
            self.fetched = self.open(queue.clone());
            if let Some(origin) = self.origins.get_mut(self.fetched as usize) {
                origin.open = false;
            }
        }
        self.deliver(self.fetched, position)
    }

    /// The place of a message that the client has.
    fn find(&self, tag: u64) -> Result<usize, UnknownTag> {
        let is_it = |index: &usize| {
            let place = self.places.get(*index);
            place.is_some_and(|place| place.tag == tag && !place.empty)
        };
        let guess = || usize::try_from(tag.checked_sub(self.places.front()?.tag)?).ok();
        let search = || self.places.binary_search_by_key(&tag, |place| place.tag).ok();
        guess()
            .filter(is_it)
            .or_else(|| search().filter(is_it))
            .ok_or(UnknownTag(tag))
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
        let before = into.len();
        match (tag, multiple) {
            (_, false) => {
                let index = self.find(tag)?;
                if let Some(place) = self.places.get_mut(index) {
                    place.empty = true;
                    into.push(place.unsettled());
                }
            }
            (_, true) => {
                let count = match tag {
                    0 => self.places.len(),
                    _ => self.find(tag)? + 1,
                };
                let places = self.places.drain(..count).filter(|place| !place.empty);
                into.extend(places.map(Place::unsettled));
            }
        }
        self.let_go(into.len() - before);
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
        let range = match (tag, multiple) {
            (0, true) => 0..self.places.len(),
            (_, true) => 0..self.find(tag)? + 1,
            (_, false) => {
                let index = self.find(tag)?;
                index..index + 1
            }
        };
        for place in self.places.range_mut(range).filter(|place| !place.empty) {
            place.empty = true;
            held(place.tag, place.unsettled());
        }
        Ok(())
    }

    /// A message that was held is the client's again.
    pub(crate) fn restore(&mut self, tag: u64) {
        if let Ok(index) = self.places.binary_search_by_key(&tag, |place| place.tag)
            && let Some(place) = self.places.get_mut(index)
        {
            place.empty = false;
        }
    }

    /// So many messages that were held are settled.
    pub(crate) fn let_go(&mut self, count: usize) {
        self.unsettled = self
            .unsettled
            .saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// No message is held any more: places at the front that are empty are not needed, nor are those behind a message that the
    /// client keeps for long, once they are most of all.
    pub(crate) fn trim(&mut self) {
        while self.places.pop_front_if(|place| place.empty).is_some() {}
        if self.places.len() > 2 * self.unsettled as usize + EMPTY_MIN {
            self.places.retain(|place| !place.empty);
        }
    }

    /// All that the client has, oldest first, with where it came from. The channel is gone.
    pub(crate) fn drain(&mut self) -> Vec<(Origin, Position)> {
        let origins = &self.origins;
        let all = self.places.drain(..).filter(|place| !place.empty);
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

    /// Promises a consumer room for a message, if there is any. Who does not settle what he gets needs none of it, and waits for it all the
    /// same, as with RabbitMQ.
    pub(crate) fn reserve(&mut self, origin: u32, no_ack: bool) -> bool {
        let room = !self.is_full();
        match room {
            true => self.reserved += u32::from(!no_ack),
            false => self.refuse(origin),
        }
        room
    }

    /// There was no message for the room. Says whether others have been refused meanwhile.
    pub(crate) fn unreserve(&mut self) -> bool {
        self.reserved = self.reserved.saturating_sub(1);
        !self.is_full() && !self.refused.is_empty()
    }

    /// A consumer gets nothing more before there is room again.
    pub(crate) fn refuse(&mut self, origin: u32) {
        let entry = self.origins.get_mut(origin as usize);
        if let Some(entry) = entry.filter(|entry| entry.open && entry.turn.is_none()) {
            self.turns += 1;
            entry.turn = Some(self.turns);
            self.refused.insert(self.turns, origin);
        }
    }

    /// Who is to be told that there is room, if there is; who got the last one not before all others. He may not need it, and then there is
    /// for the next one.
    pub(crate) fn next_refused(&mut self) -> Option<(QueueHandle, ConsumerId)> {
        if self.is_full() {
            return None;
        }
        let mut origin = self.take_refused()?;
        if origin == self.served && !self.refused.is_empty() {
            self.refuse(origin);
            origin = self.take_refused()?;
        }
        let entry = self.origins.get(origin as usize)?;
        Some((entry.queue.clone(), entry.consumer?))
    }

    fn take_refused(&mut self) -> Option<u32> {
        let (_, origin) = self.refused.pop_first()?;
        if let Some(entry) = self.origins.get_mut(origin as usize) {
            entry.turn = None;
        }
        Some(origin)
    }

    /// Messages came from somewhere and are not settled, or may come.
    pub(crate) fn is_open(&self) -> bool {
        !self.origins.is_empty()
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
        let Some(first) = self.places.front().map(|place| place.tag) else {
            self.looks.clear();
            return None;
        };
        while self.looks.pop_front_if(|(tag, _)| *tag < first).is_some() {}
        let last = self.last;
        if self.looks.len() < LOOKS_MAX && self.looks.back().is_none_or(|(tag, _)| *tag < last) {
            self.looks.push_back((last, now));
        }
        self.looks.front().map(|(_, time)| *time)
    }
}

#[cfg(test)]
mod tests {
    use super::{Ledger, UnknownTag, Unsettled};
    use warren_cluster::QueueHandle;
    use warren_model::{ConsumerId, Millis, Position};

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
    fn messages_that_nobody_settles_have_tags_and_take_no_room() {
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
        assert_eq!(ledger.deliver(0, Position(8)), 5);
        (6..=1000).for_each(|tag| assert_eq!(ledger.next_tag(), tag));
        assert_eq!((ledger.deliver(0, Position(9)), ledger.places.len()), (1001, 2));
        assert_eq!(settle(&mut ledger, 6, true), Err(UnknownTag(6)));
        assert_eq!(settle(&mut ledger, 1001, false), Ok(vec![9]));
        assert_eq!(settle(&mut ledger, 1001, false), Err(UnknownTag(1001)));
        assert_eq!(settle(&mut ledger, 5, true), Ok(vec![8]));
    }

    #[test]
    fn what_is_held_is_settled_or_restored_whatever_has_come_since() {
        let mut ledger = Ledger::default();
        for tag in 1..=6 {
            match tag {
                3 => assert_eq!(ledger.next_tag(), tag),
                _ => assert_eq!(ledger.deliver(0, Position(tag * 10)), tag),
            }
        }
        let mut held = Vec::new();
        let mut hold = |ledger: &mut Ledger, tag, multiple| {
            held.clear();
            ledger.hold(tag, multiple, |tag, one| held.push((tag, one.position.0)))?;
            Ok::<_, UnknownTag>(held.clone())
        };
        assert_eq!(hold(&mut ledger, 4, false), Ok(vec![(4, 40)]));
        assert_eq!(hold(&mut ledger, 5, true), Ok(vec![(1, 10), (2, 20), (5, 50)]));
        assert_eq!(hold(&mut ledger, 4, false), Err(UnknownTag(4)));
        assert_eq!(hold(&mut ledger, 3, true), Err(UnknownTag(3)));
        ledger.restore(2);
        ledger.restore(4);
        assert_eq!(hold(&mut ledger, 0, true), Ok(vec![(2, 20), (4, 40), (6, 60)]));
        ledger.let_go(5);
        ledger.trim();
        assert_eq!((ledger.unsettled, ledger.places.len()), (0, 0));
    }

    #[test]
    fn a_message_that_is_kept_for_long_does_not_keep_those_behind_it() {
        let mut ledger = Ledger::default();
        let kept = ledger.deliver(0, Position(1));
        for number in 2..=100_000 {
            let tag = ledger.deliver(0, Position(number));
            assert_eq!(settle(&mut ledger, tag, false), Ok(vec![number]));
        }
        assert!(ledger.places.len() < 100, "{}", ledger.places.len());
        let next = ledger.deliver(0, Position(7));
        assert_eq!(settle(&mut ledger, next - 1, true), Err(UnknownTag(next - 1)));
        assert_eq!(settle(&mut ledger, next, false), Ok(vec![7]));
        assert_eq!(settle(&mut ledger, kept, false), Ok(vec![1]));
        assert!(ledger.places.is_empty());
    }

    #[test]
    fn nothing_is_kept_of_queues_from_which_everything_that_was_fetched_is_settled() {
        let mut ledger = Ledger::default();
        let (one, other) = (queue(1), queue(2));
        let consumer = ledger.open(one.clone());
        for (tag, queue) in [&one, &one, &other, &one].into_iter().enumerate() {
            assert_eq!(ledger.fetch(queue, Position(9)), tag as u64 + 1);
        }
        assert_eq!(ledger.origins.len(), 4, "one after another, they share");
        let mut settled = Vec::new();
        ledger.settle(0, true, &mut settled).unwrap();
        for one in settled {
            let (_, from) = ledger
                .release(one.origin, 1)
                .expect("known as long as it is unsettled");
            assert_eq!(from, None);
        }
        assert_eq!(ledger.origins.len(), 1, "that of who may consume");
        assert_ne!(ledger.fetched, consumer);
        ledger.fetch(&one, Position(10));
        assert_eq!(ledger.origins.len(), 2);
    }

    #[test]
    fn a_limit_is_for_all_of_the_channel() {
        let mut ledger = Ledger {
            held: 1,
            ..Ledger::default()
        };
        let [one, other] = [1, 2].map(|id| consumer(&mut ledger, &queue(1), id));
        assert!(ledger.reserve(one, false), "there is none");
        assert!(!ledger.unreserve());
        ledger.set_limit(2);
        assert!(ledger.reserve(one, false));
        assert!(!ledger.reserve(other, false));
        assert!(ledger.unreserve(), "somebody was refused");
        assert!(!ledger.is_full());
        assert_eq!(ledger.next_refused().map(|(_, id)| id), Some(ConsumerId(2)));
        assert!(ledger.reserve(other, false));
        assert!(!ledger.unreserve());
    }

    #[test]
    fn one_place_is_for_one_of_many_who_wait_and_for_each_in_turn() {
        const MANY: u64 = 1000;
        let (mut ledger, queue) = (Ledger::default(), queue(1));
        ledger.set_limit(1);
        let mut at = Vec::new();
        for id in 0..MANY {
            at.push(consumer(&mut ledger, &queue, id));
        }
        assert!(ledger.reserve(at[0], false));
        let mut tag = ledger.deliver(at[0], Position(1));
        ledger.refuse(at[0]);
        for _ in 0..2 {
            at[1..]
                .iter()
                .for_each(|origin| assert!(!ledger.reserve(*origin, false)));
        }
        assert!(ledger.next_refused().is_none(), "there is no room");
        // One who goes is not asked.
        ledger.close(at[7]);
        let mut served = Vec::new();
        for position in 2..=MANY {
            let mut settled = Vec::new();
            ledger.settle(tag, false, &mut settled).unwrap();
            ledger.release(settled[0].origin, 1).unwrap();
            let (_, id) = ledger.next_refused().unwrap();
            served.push(id.0);
            let origin = at[id.0 as usize];
            assert!(ledger.reserve(origin, false));
            tag = ledger.deliver(origin, Position(position));
            ledger.refuse(origin);
            assert!(ledger.next_refused().is_none(), "one was told");
        }
        let turns: Vec<u64> = (1..MANY).filter(|id| *id != 7).collect();
        assert_eq!(served, [&turns[..], &[0]].concat());
        assert_eq!(ledger.refused.len() as u64, MANY - 1, "each once");
        // Without a limit all are told.
        ledger.set_limit(0);
        let told = std::iter::from_fn(|| ledger.next_refused()).count();
        assert_eq!(told as u64, MANY - 1);
    }

    fn consumer(ledger: &mut Ledger, queue: &QueueHandle, id: u64) -> u32 {
        let origin = ledger.open(queue.clone());
        ledger.set_consumer(origin, ConsumerId(id));
        origin
    }

    fn queue(id: u64) -> QueueHandle {
        let name = |text| warren_model::Name::try_from(text).unwrap();
        let identity = warren_cluster::queue::Identity {
            id: warren_model::QueueId(id),
            vhost: name("/"),
            name: name("fetched"),
            durable: false,
            kind: warren_model::arguments::QueueType::Classic,
        };
        let limits = warren_model::queue::Limits::default();
        let queue = warren_cluster::Queue::new(identity, limits, 0, false, Millis(1));
        QueueHandle::here(std::sync::Arc::new(queue))
    }
}
