//! Who gets the next message of a queue: consumers by priority, those of equal priority in turn.
//!
//! A consumer is *ready* while it may get a message: it has room under its prefetch limit and its connection takes
//! octets. Only ready ones are in the rings, so that choosing costs the same whatever the number of consumers.
//!
//! ```text
//!   priority 10:  ring [c4]           served while it is ready
//!   priority  0:  ring [c1 c7 c2]     then these, in turn
//! ```

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

#[cfg(test)]
mod tests;

/// A consumer of a queue. Never used twice in the life of a queue; older ones compare less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsumerId(pub u64);

/// What a consumer asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// `x-priority`; higher is served first.
    pub priority: i32,
    /// Most unacked messages it may have; `None`: any number (no_ack, or a prefetch of 0).
    pub prefetch: Option<u32>,
    /// Nobody else may consume.
    pub exclusive: bool,
}

/// A queue has an exclusive consumer, or is asked for one while it has others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InExclusiveUse;

#[derive(Debug)]
struct Consumer<T> {
    terms: Terms,
    unacked: u32,
    /// Its connection, or all of its channel, has no room.
    blocked: bool,
    /// Its turn in a ring, if it is in one.
    turn: Option<u64>,
    payload: T,
}

impl<T> Consumer<T> {
    fn has_room(&self) -> bool {
        !self.blocked && self.terms.prefetch.is_none_or(|most| self.unacked < most)
    }
}

/// The consumers of a queue, each with what the caller knows of it.
#[derive(Debug)]
pub struct Consumers<T> {
    /// By age.
    all: BTreeMap<ConsumerId, Consumer<T>>,
    /// One stays while it is empty, until a consumer of its priority goes: it will be used again. Behind the first there are some
    /// who left: to look for them would take as long as the ring is.
    rings: BTreeMap<Reverse<i32>, VecDeque<(ConsumerId, u64)>>,
    next: u64,
    turns: u64,
    exclusive: bool,
    /// `x-single-active-consumer`
    single: Option<Single>,
}

/// Only one of them gets messages at any time.
#[derive(Debug, Default)]
struct Single {
    active: Option<ConsumerId>,
    /// All of them, who follows first is first.
    line: BTreeSet<(Reverse<i32>, ConsumerId)>,
}

impl<T> Consumers<T> {
    /// Nobody yet; `single`: only one of them gets messages at any time (`x-single-active-consumer`).
    #[must_use]
    pub fn new(single: bool) -> Self {
        Self {
            all: BTreeMap::new(),
            rings: BTreeMap::new(),
            next: 1,
            turns: 0,
            exclusive: false,
            single: single.then(Single::default),
        }
    }

    /// Another consumer.
    ///
    /// # Errors
    /// One of them is exclusive, or the queue has a single active consumer already and this one is exclusive.
    pub fn add(&mut self, terms: Terms, payload: T) -> Result<ConsumerId, InExclusiveUse> {
        if self.exclusive || (terms.exclusive && (!self.all.is_empty() || self.single.is_some())) {
            return Err(InExclusiveUse);
        }
        self.exclusive = terms.exclusive;
        let id = ConsumerId(self.next);
        self.next += 1;
        self.all.insert(
            id,
            Consumer {
                terms,
                unacked: 0,
                blocked: false,
                turn: None,
                payload,
            },
        );
        if let Some(single) = &mut self.single {
            single.line.insert((Reverse(terms.priority), id));
            single.active.get_or_insert(id);
        }
        self.offer(id);
        Ok(id)
    }

    /// A consumer goes. If it was the single active one, the oldest of the highest priority takes its place.
    pub fn remove(&mut self, id: ConsumerId) -> Option<T> {
        let gone = self.all.remove(&id)?;
        if self.trim(gone.terms.priority) {
            self.rings.remove(&Reverse(gone.terms.priority));
        }
        self.exclusive &= !gone.terms.exclusive;
        if let Some(single) = &mut self.single {
            single.line.remove(&(Reverse(gone.terms.priority), id));
            if single.active == Some(id) {
                single.active = single.line.first().map(|(_, next)| *next);
            }
            if let Some(active) = single.active {
                self.offer(active);
            }
        }
        Some(gone.payload)
    }

    /// Who gets the next message, if anybody may.
    #[must_use]
    pub fn next(&self) -> Option<ConsumerId> {
        self.rings.values().find_map(VecDeque::front).map(|(id, _)| *id)
    }

    /// It got a message; `unacked`: one that it has to settle. The next of its priority is served before it is again.
    pub fn served(&mut self, id: ConsumerId, unacked: bool) {
        let Some(consumer) = self.all.get_mut(&id) else {
            return;
        };
        consumer.unacked += u32::from(unacked);
        let priority = consumer.terms.priority;
        if !consumer.has_room() {
            consumer.turn = None;
        } else if let Some(ring) = self.rings.get_mut(&Reverse(priority)) {
            if ring.len() == 1 {
                return;
            }
            ring.rotate_left(1);
        }
        self.trim(priority);
    }

    /// So many of the messages that it had are settled or came back. Says whether it may get one now and could not before.
    pub fn settled(&mut self, id: ConsumerId, count: u32) -> bool {
        let Some(consumer) = self.all.get_mut(&id) else {
            return false;
        };
        consumer.unacked = consumer.unacked.saturating_sub(count);
        self.offer(id)
    }

    /// Its connection or channel has no room, or has room again. Says whether it may get a message now and could not before.
    pub fn set_blocked(&mut self, id: ConsumerId, blocked: bool) -> bool {
        let Some(consumer) = self.all.get_mut(&id) else {
            return false;
        };
        consumer.blocked = blocked;
        if !blocked {
            return self.offer(id);
        }
        consumer.turn = None;
        let priority = consumer.terms.priority;
        self.trim(priority);
        false
    }

    /// What the caller knows of a consumer.
    #[must_use]
    pub fn get(&self, id: ConsumerId) -> Option<&T> {
        self.all.get(&id).map(|consumer| &consumer.payload)
    }

    /// All of them, oldest first, with their terms and how many unacked messages they have.
    pub fn iter(&self) -> impl Iterator<Item = (ConsumerId, &Terms, u32, &T)> {
        self.all
            .iter()
            .map(|(id, consumer)| (*id, &consumer.terms, consumer.unacked, &consumer.payload))
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Only one of them gets messages at any time.
    #[must_use]
    pub const fn is_single(&self) -> bool {
        self.single.is_some()
    }

    /// Does it get messages: always, unless only one of them does.
    #[must_use]
    pub fn is_active(&self, id: ConsumerId) -> bool {
        let single = self.single.as_ref();
        single.is_none_or(|single| single.active == Some(id))
    }

    fn offer(&mut self, id: ConsumerId) -> bool {
        if !self.is_active(id) {
            return false;
        }
        let Some(consumer) = self.all.get_mut(&id) else {
            return false;
        };
        if consumer.turn.is_some() || !consumer.has_room() {
            return false;
        }
        self.turns += 1;
        consumer.turn = Some(self.turns);
        let ring = self.rings.entry(Reverse(consumer.terms.priority)).or_default();
        ring.push_back((id, self.turns));
        if ring.len() > 2 * self.all.len() {
            ring.retain(|entry| waits(&self.all, entry));
        }
        true
    }

    /// Nobody is at the front of a ring who left it. Says whether nobody is in it.
    fn trim(&mut self, priority: i32) -> bool {
        let Some(ring) = self.rings.get_mut(&Reverse(priority)) else {
            return false;
        };
        while ring.pop_front_if(|entry| !waits(&self.all, entry)).is_some() {}
        ring.is_empty()
    }
}

fn waits<T>(all: &BTreeMap<ConsumerId, Consumer<T>>, (id, turn): &(ConsumerId, u64)) -> bool {
    all.get(id).is_some_and(|consumer| consumer.turn == Some(*turn))
}
