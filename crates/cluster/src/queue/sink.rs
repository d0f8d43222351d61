//! The way to a consumer, as a queue knows it: messages are given to it while the queue is locked.

use std::sync::Arc;

use warren_model::Message;
use warren_model::queue::Position;

/// A message for a consumer.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// Where it is in the queue: how it is settled.
    pub position: Position,
    /// What.
    pub message: &'a Arc<Message>,
    /// Somebody may have seen it before.
    pub redelivered: bool,
    /// How often it came back.
    pub returns: u32,
}

/// Can a consumer have another message after this one?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Yes.
    Left,
    /// Not before [`Queue::unblock`](super::Queue::unblock).
    Full,
}

/// The way to a consumer.
pub trait DeliverySink: Send + Sync {
    /// Is there room for a message? If so, [`DeliverySink::deliver`] or [`DeliverySink::release`] follows; if not, the consumer
    /// gets none before [`Queue::unblock`](super::Queue::unblock). This is for limits that consumers of several queues share. The queue is locked.
    fn reserve(&self) -> bool {
        true
    }

    /// There was no message after all. The queue is locked.
    fn release(&self) {}

    /// Takes a message for the consumer's client. The queue is locked meanwhile: this neither waits nor asks a queue.
    fn deliver(&self, delivery: Delivery<'_>) -> Room;

    /// Messages were delivered since the last time: send them. The queue is not locked.
    fn wake(&self);

    /// The queue is gone, and so is the consumer. The queue is not locked.
    fn cancel(&self);
}
