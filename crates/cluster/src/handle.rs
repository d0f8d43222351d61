//! The way to a queue, wherever it is, and what a channel may do there.

use std::sync::Arc;
use std::time::Instant;

use warren_model::consumers::{ConsumerId, Terms};
use warren_model::queue::Position;
use warren_model::{Message, Millis};

use crate::queue::{ConsumerInfo, Identity, NoConsumer, OnlyIf, Snapshot, Stays};
use crate::{Aftermath, DeliverySink, Next, Queue, lock};

/// The way to a queue. Nobody who has one knows where it leads; on a node that is alone it is the lock of a queue, taken
/// once for a batch.
///
/// What is asked for without an answer leaves what it leads to in an [`Aftermath`]; what has an answer may wait for it, so nothing is
/// locked by who asks.
#[derive(Clone, Debug)]
pub struct QueueHandle(Arc<Queue>);

impl QueueHandle {
    /// To a queue of this node.
    #[must_use]
    pub const fn here(queue: Arc<Queue>) -> Self {
        Self(queue)
    }

    /// Do both lead to the same queue?
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// What was declared.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        self.0.identity()
    }

    /// Do messages leave it in another order than they came, by their priority or their delay?
    #[must_use]
    pub fn mixes(&self) -> bool {
        self.0.is_delaying() || self.0.has_priorities()
    }

    /// See [`Queue::is_gone`].
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.0.is_gone()
    }

    /// See [`Queue::publish`].
    pub fn publish(
        &self,
        now: Millis,
        messages: impl IntoIterator<Item = (u32, Arc<Message>)>,
        after: &mut Aftermath,
    ) {
        self.0.publish(now, messages, after);
    }

    /// See [`Queue::settle`].
    pub fn settle(
        &self,
        now: Millis,
        consumer: Option<ConsumerId>,
        positions: &[Position],
        after: &mut Aftermath,
    ) {
        lock::at_length(positions.len(), || {
            self.0.settle(now, consumer, positions, after);
        });
    }

    /// See [`Queue::reject`].
    pub fn reject(
        &self,
        now: Millis,
        consumer: Option<ConsumerId>,
        positions: &[Position],
        after: &mut Aftermath,
    ) {
        lock::at_length(positions.len(), || {
            self.0.reject(now, consumer, positions, after);
        });
    }

    /// See [`Queue::requeue`].
    pub fn requeue(
        &self,
        now: Millis,
        consumer: Option<ConsumerId>,
        positions: &mut [Position],
        after: &mut Aftermath,
    ) {
        lock::at_length(positions.len(), || {
            self.0.requeue(now, consumer, positions, after);
        });
    }

    /// See [`Queue::block`].
    pub fn block(&self, id: ConsumerId) {
        self.0.block(id);
    }

    /// See [`Queue::unblock`].
    pub fn unblock(&self, now: Millis, id: ConsumerId, after: &mut Aftermath) {
        self.0.unblock(now, id, after);
    }

    /// See [`Queue::touch`].
    pub fn touch(&self, now: Millis) {
        self.0.touch(now);
    }

    /// See [`Queue::get`].
    #[must_use]
    pub fn get(&self, now: Millis, no_ack: bool, after: &mut Aftermath) -> Next {
        self.0.get(now, no_ack, after)
    }

    /// See [`Queue::wait_for_disk`].
    pub fn wait_for_disk(&self, until: Instant) {
        self.0.wait_for_disk(until);
    }

    /// See [`Queue::subscribe`].
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
        self.0.subscribe(now, terms, no_ack, sink)
    }

    /// See [`Queue::unsubscribe`].
    pub fn unsubscribe(&self, now: Millis, id: ConsumerId, after: &mut Aftermath) -> usize {
        self.0.unsubscribe(now, id, after)
    }

    /// See [`Queue::purge`].
    pub fn purge(&self, after: &mut Aftermath) -> u64 {
        self.0.purge(after)
    }

    /// See [`Queue::leave`].
    ///
    /// # Errors
    /// The queue is not like that.
    pub fn leave(&self, only_if: OnlyIf) -> Result<u64, Stays> {
        self.0.leave(only_if)
    }

    /// See [`Queue::stay`].
    pub fn stay(&self) {
        self.0.stay();
    }

    /// See [`Queue::snapshot`].
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.0.snapshot()
    }

    /// See [`Queue::consumers`].
    #[must_use]
    pub fn consumers(&self) -> Vec<ConsumerInfo> {
        self.0.consumers()
    }

    /// See [`Queue::has_single_active_consumer`].
    #[must_use]
    pub fn has_single_active_consumer(&self) -> bool {
        self.0.has_single_active_consumer()
    }
}
