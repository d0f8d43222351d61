//! A queue on this node: its machine and its consumers behind one lock, which is held for a batch at a time.
//!
//! Whoever does something to a queue gets an [`Aftermath`] back: what is to be done once the lock is free. Messages are
//! given to consumers under the lock, into what their connections will send ([`DeliverySink`]), so that no task has to be
//! woken for a message but one for each connection and batch.

mod aftermath;
mod paging;
mod past;
mod recovery;
mod sink;
#[cfg(test)]
mod tests;
mod view;

use std::sync::Arc;

use parking_lot::Condvar;
use warren_model::arguments::QueueType;
use warren_model::consumers::{ConsumerId, Consumers, InExclusiveUse, Terms};
use warren_model::queue::{Entry, Limits, Position, QueueMachine, Refused, Removed};
use warren_model::{Message, Millis};

use crate::lock::{Mutex, QUEUE};

pub use aftermath::{Aftermath, Gone, Placed, Purged};
use paging::Paging;
pub use past::{Past, Tries};
pub use sink::{Delivery, DeliverySink, Room};
pub use view::{ConsumerInfo, Identity, Snapshot, Traffic};

/// What there is for somebody who asks for a message.
#[derive(Debug)]
pub enum Next {
    /// This one.
    Message {
        /// It.
        entry: Entry,
        /// How many are ready behind it.
        left: u64,
    },
    /// One that is still on disk: what is to be fetched has been said, now or before.
    OnDisk,
    /// None.
    Nothing,
}

/// Under which conditions a queue goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OnlyIf {
    /// Nobody consumes from it.
    pub unused: bool,
    /// No message is ready in it.
    pub empty: bool,
}

/// Why a queue does not go that was to go under a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stays {
    /// Somebody consumes from it.
    InUse,
    /// Messages are ready in it.
    NotEmpty,
}

/// Why somebody cannot consume from a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoConsumer {
    /// It is in exclusive use, or would have to be.
    InExclusiveUse,
    /// It is being deleted.
    Gone,
}

/// Somebody who consumes from a queue.
struct Subscriber {
    sink: Arc<dyn DeliverySink>,
    no_ack: bool,
}

/// A queue on this node.
pub struct Queue {
    identity: Identity,
    state: Mutex<QUEUE, State>,
    /// For those who wait for messages from the disk.
    loaded: Condvar,
}

struct State {
    machine: QueueMachine,
    consumers: Consumers<Subscriber>,
    traffic: Traffic,
    /// When somebody last consumed, fetched or declared: for `x-expires`.
    used: Millis,
    /// The lack of messages in memory has been said and not been mended.
    fetching: bool,
    /// How messages leave the memory.
    paging: Paging,
    /// When it will be told the time ([`Queue::expire`]), as far as it asked for that.
    alarm: Option<Millis>,
    gone: bool,
    /// Nobody gets messages any more.
    stopped: bool,
    /// What is known of messages that are still to be read.
    past: Past,
    removed: Vec<Removed>,
}

impl Queue {
    /// An empty queue; `single`: `x-single-active-consumer`.
    #[must_use]
    pub fn new(identity: Identity, limits: Limits, priority_max: u8, single: bool, now: Millis) -> Self {
        Self::of(identity, QueueMachine::new(limits, priority_max), single, now)
    }

    /// An empty queue that holds messages back until the delay is over that they ask for. They leave as expired ones.
    #[must_use]
    pub fn delaying(identity: Identity, limits: Limits, now: Millis) -> Self {
        Self::of(identity, QueueMachine::delaying(limits), false, now)
    }

    fn of(identity: Identity, machine: QueueMachine, single: bool, now: Millis) -> Self {
        let state = State {
            machine,
            consumers: Consumers::new(single),
            traffic: Traffic::default(),
            used: now,
            fetching: false,
            paging: Paging::default(),
            alarm: None,
            gone: false,
            stopped: false,
            past: Past::default(),
            removed: Vec::new(),
        };
        Self {
            identity,
            state: Mutex::new(state),
            loaded: Condvar::new(),
        }
    }

    /// Messages for the queue, each with a number by which the caller knows it again. Consumers get what they can take.
    pub fn publish(
        self: &Arc<Self>,
        now: Millis,
        messages: impl IntoIterator<Item = (u32, Arc<Message>)>,
        after: &mut Aftermath,
    ) {
        let mut state = self.state.lock();
        let state = &mut *state;
        if state.gone {
            return;
        }
        let counts = self.counts(state.machine.limits());
        for (number, message) in messages {
            state.traffic.published += 1;
            let kept = self.keeps(&message);
            match state.next_if_idle() {
                Some((consumer, no_ack)) => match state.machine.publish_taken(now, message, no_ack) {
                    Ok(entry) => {
                        if kept && !no_ack {
                            after.placed.push(self.placed(number, &entry));
                            if counts {
                                after.goes_out(self.identity.id, &entry);
                            }
                        }
                        state.hand_over(consumer, &entry, after);
                    }
                    Err(refused) => self.refuse(number, refused, after),
                },
                None => {
                    let copy = kept.then(|| Arc::clone(&message));
                    match state.machine.publish(now, message, &mut state.removed) {
                        Ok((position, expires)) => after.placed.extend(copy.map(|message| Placed {
                            number,
                            message,
                            queue: self.identity.id,
                            position,
                            expires,
                        })),
                        Err(refused) => self.refuse(number, refused, after),
                    }
                }
            }
        }
        self.finish(state, now, after);
        if state.paging.is_crowded() {
            after.crowded.push(Arc::clone(self));
        }
    }

    fn refuse(self: &Arc<Self>, number: u32, refused: Refused, after: &mut Aftermath) {
        after.refused.push(number);
        if refused.dead_letter {
            after.turned_away.push((Arc::clone(self), refused.message));
        }
    }

    /// A consumer is done with messages.
    pub fn settle(
        self: &Arc<Self>,
        now: Millis,
        consumer: Option<ConsumerId>,
        positions: &[Position],
        after: &mut Aftermath,
    ) {
        let mut state = self.state.lock();
        let state = &mut *state;
        for position in positions {
            let Some(entry) = state.machine.settle(*position) else {
                continue;
            };
            state.traffic.acked += 1;
            if self.keeps(&entry.message) {
                after.settled.push((self.identity.id, *position));
            }
        }
        if state.has_room_again(consumer, positions.len()) {
            self.finish(state, now, after);
        }
    }

    /// A consumer does not want messages that he had, nor that anybody gets them.
    pub fn reject(
        self: &Arc<Self>,
        now: Millis,
        consumer: Option<ConsumerId>,
        positions: &[Position],
        after: &mut Aftermath,
    ) {
        let mut state = self.state.lock();
        let state = &mut *state;
        for position in positions {
            state.machine.reject(*position, &mut state.removed);
        }
        state.has_room_again(consumer, positions.len());
        self.finish(state, now, after);
    }

    /// Messages come back to where they were. How often they did by then was said when they went out.
    pub fn requeue(
        self: &Arc<Self>,
        now: Millis,
        consumer: Option<ConsumerId>,
        positions: &mut [Position],
        after: &mut Aftermath,
    ) {
        let mut state = self.state.lock();
        let state = &mut *state;
        state.machine.requeue(positions, &mut state.removed);
        state.has_room_again(consumer, positions.len());
        self.finish(state, now, after);
    }

    /// The next message, for somebody who asks for one, and how many are left.
    pub fn get(self: &Arc<Self>, now: Millis, no_ack: bool, after: &mut Aftermath) -> Next {
        let mut state = self.state.lock();
        let state = &mut *state;
        state.used = now;
        if state.stopped {
            return Next::Nothing;
        }
        let entry = state.machine.take(now, no_ack, &mut state.removed);
        match &entry {
            None => {}
            Some(entry) => {
                state.traffic.got += u64::from(!no_ack);
                state.traffic.got_no_ack += u64::from(no_ack);
                state.traffic.redelivered += u64::from(entry.redelivered);
                let counts = self.counts(state.machine.limits());
                self.taken(entry, no_ack, counts, after);
                // What has expired behind it does not count as left.
                state.machine.expire(now, &mut state.removed);
            }
        }
        let left = state.machine.counts().ready;
        self.finish(state, now, after);
        match entry {
            Some(entry) => Next::Message { entry, left },
            None if left > 0 && state.fetching => Next::OnDisk,
            None => {
                state.traffic.got_empty += 1;
                Next::Nothing
            }
        }
    }

    /// Another consumer, who gets nothing before [`Queue::unblock`]: his client has to hear first that he is one.
    ///
    /// # Errors
    /// Nobody else can consume from it.
    pub fn subscribe(
        &self,
        now: Millis,
        terms: Terms,
        no_ack: bool,
        sink: Arc<dyn DeliverySink>,
    ) -> Result<ConsumerId, NoConsumer> {
        let mut state = self.state.lock();
        if state.gone {
            return Err(NoConsumer::Gone);
        }
        state.used = now;
        let added = state.consumers.add(terms, Subscriber { sink, no_ack });
        let id = added.map_err(|InExclusiveUse| NoConsumer::InExclusiveUse)?;
        state.consumers.set_blocked(id, true);
        Ok(id)
    }

    /// A consumer goes; what he has stays with him. Says how many are left.
    pub fn unsubscribe(self: &Arc<Self>, now: Millis, id: ConsumerId, after: &mut Aftermath) -> usize {
        let mut state = self.state.lock();
        let state = &mut *state;
        state.used = now;
        state.consumers.remove(id);
        // Another may be the single active one now.
        self.finish(state, now, after);
        state.consumers.len()
    }

    /// A consumer is about to go: it gets nothing more, and if it is the single active one nobody else does before it is gone.
    pub fn block(&self, id: ConsumerId) {
        self.state.lock().consumers.set_blocked(id, true);
    }

    /// A consumer's connection has room, or had none to begin with.
    pub fn unblock(self: &Arc<Self>, now: Millis, id: ConsumerId, after: &mut Aftermath) {
        let mut state = self.state.lock();
        let state = &mut *state;
        if state.consumers.set_blocked(id, false) {
            self.finish(state, now, after);
        }
    }

    /// All ready messages go. Says how many.
    pub fn purge(self: &Arc<Self>, after: &mut Aftermath) -> u64 {
        let mut state = self.state.lock();
        let mut gone = Vec::new();
        let count = state.machine.purge(&mut gone);
        let (queue, durable) = (self.identity.id, self.identity.durable);
        after.purged.extend(gone.into_iter().map(|(first, last)| Purged {
            queue,
            durable,
            first,
            last,
        }));
        count
    }

    /// Messages whose time ran out leave.
    pub fn expire(self: &Arc<Self>, now: Millis, after: &mut Aftermath) {
        let mut state = self.state.lock();
        let state = &mut *state;
        if state.alarm.is_some_and(|alarm| alarm <= now) {
            state.alarm = None;
        }
        state.machine.expire(now, &mut state.removed);
        self.finish(state, now, after);
    }

    /// The queue is about to be deleted, if it is as `only_if` says: from now on nobody consumes from it and nothing comes in, so
    /// that it stays like that. Says how many messages are ready.
    ///
    /// # Errors
    /// It is not like that: all is as before.
    pub fn leave(&self, only_if: OnlyIf) -> Result<u64, Stays> {
        let mut state = self.state.lock();
        let ready = state.machine.counts().ready;
        if only_if.unused && !state.consumers.is_empty() {
            return Err(Stays::InUse);
        }
        if only_if.empty && ready > 0 {
            return Err(Stays::NotEmpty);
        }
        state.gone = true;
        Ok(ready)
    }

    /// Nothing comes in any more: the queue is deleted, or about to be.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.state.lock().gone
    }

    /// It could not be deleted.
    pub fn stay(&self) {
        self.state.lock().gone = false;
    }

    /// The queue is deleted: consumers are told, messages go with it. Says how many were ready.
    pub fn close(&self, after: &mut Aftermath) -> u64 {
        let mut state = self.state.lock();
        state.gone = true;
        let ids: Vec<ConsumerId> = state.consumers.iter().map(|(id, ..)| id).collect();
        after.cancelled.extend(
            ids.into_iter()
                .filter_map(|id| state.consumers.remove(id))
                .map(|gone| gone.sink),
        );
        let count = state.machine.counts().ready;
        state.machine.purge(&mut Vec::new());
        let released = state.paging.stop();
        drop(state);
        paging::tell(released);
        after.gone.push(Gone {
            queue: self.identity.id,
            durable: self.identity.durable,
        });
        count
    }

    /// Other limits hold, since a policy changed.
    pub fn set_limits(self: &Arc<Self>, now: Millis, limits: Limits, after: &mut Aftermath) {
        let mut state = self.state.lock();
        let state = &mut *state;
        if state.machine.limits() != limits {
            state.machine.set_limits(limits, &mut state.removed);
            self.finish(state, now, after);
        }
    }

    /// Does it matter after a restart how often a message was given out?
    fn counts(&self, limits: Limits) -> bool {
        self.identity.durable && (self.identity.kind == QueueType::Quorum || limits.deliveries.is_some())
    }

    /// Somebody has a message that was ready, or is done with it already.
    fn taken(&self, entry: &Entry, no_ack: bool, counts: bool, after: &mut Aftermath) {
        if !self.keeps(&entry.message) {
            return;
        }
        if no_ack {
            after.settled.push((self.identity.id, entry.position));
        } else if counts {
            after.goes_out(self.identity.id, entry);
        }
    }

    fn placed(&self, number: u32, entry: &Entry) -> Placed {
        Placed {
            number,
            message: Arc::clone(&entry.message),
            queue: self.identity.id,
            position: entry.position,
            expires: entry.expires,
        }
    }

    /// Gives messages to consumers, and says what else is to be done.
    fn finish(self: &Arc<Self>, state: &mut State, now: Millis, after: &mut Aftermath) {
        let counts = self.counts(state.machine.limits());
        while let Some((id, no_ack)) = state.next_with_room() {
            let Some(entry) = state.machine.take(now, no_ack, &mut state.removed) else {
                if let Some(subscriber) = state.consumers.get(id) {
                    subscriber.sink.release();
                }
                break;
            };
            self.taken(&entry, no_ack, counts, after);
            state.hand_over(id, &entry, after);
        }
        state.machine.expire(now, &mut state.removed);
        after
            .removed
            .extend(state.removed.drain(..).map(|removed| (Arc::clone(self), removed)));
        if state.paging.look(&state.machine) {
            after.paged.push(Arc::clone(self));
        }
        if !state.fetching
            && let Some(missing) = state.machine.missing()
        {
            state.fetching = true;
            after.missing.push((Arc::clone(self), missing));
        }
        if let Some(deadline) = state.machine.deadline()
            && state.alarm.is_none_or(|alarm| deadline < alarm)
        {
            state.alarm = Some(deadline);
            after.deadlines.push((self.identity.id, deadline));
        }
    }
}

impl State {
    /// A consumer who can have a message before all others that are ready, of which there are none.
    fn next_if_idle(&mut self) -> Option<(ConsumerId, bool)> {
        match self.machine.counts().ready {
            0 => self.next_with_room(),
            _ => None,
        }
    }

    /// A consumer who gets the next message, if there is one, and whether it is settled by that. The room for it is his.
    fn next_with_room(&mut self) -> Option<(ConsumerId, bool)> {
        if self.stopped || self.machine.is_delaying() {
            return None;
        }
        loop {
            let id = self.consumers.next()?;
            let subscriber = self.consumers.get(id)?;
            if subscriber.sink.reserve() {
                return Some((id, subscriber.no_ack));
            }
            self.consumers.set_blocked(id, true);
        }
    }

    fn hand_over(&mut self, id: ConsumerId, entry: &Entry, after: &mut Aftermath) {
        let Some(subscriber) = self.consumers.get(id) else {
            return;
        };
        self.traffic.delivered += u64::from(!subscriber.no_ack);
        self.traffic.delivered_no_ack += u64::from(subscriber.no_ack);
        self.traffic.redelivered += u64::from(entry.redelivered);
        let delivery = Delivery {
            position: entry.position,
            message: &entry.message,
            redelivered: entry.redelivered,
            returns: entry.returns,
        };
        let (room, unacked) = (subscriber.sink.deliver(delivery), !subscriber.no_ack);
        after.wake(&subscriber.sink);
        self.consumers.served(id, unacked);
        if room == Room::Full {
            self.consumers.set_blocked(id, true);
        }
    }

    fn has_room_again(&mut self, consumer: Option<ConsumerId>, count: usize) -> bool {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        consumer.is_some_and(|id| self.consumers.settled(id, count))
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "queue '{}' in vhost '{}'",
            self.identity.name, self.identity.vhost
        )
    }
}
