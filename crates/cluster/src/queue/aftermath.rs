//! What is to be done once a queue is unlocked. One serves for a whole batch over many queues, and is used again.

use std::sync::Arc;

use warren_model::queue::{Entry, Missing, Position, Removed};
use warren_model::{Message, Millis, QueueId};

use super::{DeliverySink, Queue, Tries};

/// A message in a queue that has to be on disk.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The caller's number: the same message may be in several queues.
    pub number: u32,
    /// What.
    pub message: Arc<Message>,
    /// In which queue.
    pub queue: QueueId,
    /// Where.
    pub position: Position,
    /// When its time runs out.
    pub expires: Option<Millis>,
}

/// Positions in a row that are gone from a queue.
#[derive(Clone, Copy, Debug)]
pub struct Purged {
    /// Of which queue.
    pub queue: QueueId,
    /// They may be on disk.
    pub durable: bool,
    /// From here on.
    pub first: Position,
    /// Up to here, included.
    pub last: Position,
}

/// A queue that was deleted, with all its messages.
#[derive(Clone, Copy, Debug)]
pub struct Gone {
    /// Which.
    pub queue: QueueId,
    /// They may have been kept as long as the node.
    pub durable: bool,
}

/// What queues leave to whoever did something to them.
#[derive(Default)]
pub struct Aftermath {
    /// Messages that have to be on disk before they are confirmed.
    pub placed: Vec<Placed>,
    /// There was room for them when they were published.
    pub promised: bool,
    /// Messages, by the caller's numbers, that a queue did not take.
    pub refused: Vec<u32>,
    /// Those of them that are dead letters of that queue, if it has a dead-letter exchange: there were too many.
    pub turned_away: Vec<(Arc<Queue>, Arc<Message>)>,
    /// Positions that the disk may forget.
    pub settled: Vec<(QueueId, Position)>,
    /// Positions in a row that the disk may forget.
    pub purged: Vec<Purged>,
    /// Messages that went out, where a later process has to know how often they did.
    pub tries: Vec<(QueueId, Tries)>,
    /// Queues that the disk may forget.
    pub gone: Vec<Gone>,
    /// Messages that left without having been settled: dead letters if the queue has a dead-letter exchange. The disk may
    /// forget them when those are there.
    pub removed: Vec<(Arc<Queue>, Removed)>,
    /// Queues that have more in memory than they should ([`Queue::to_page`]).
    pub paged: Vec<Arc<Queue>>,
    /// Queues that got more than leaves the memory: who published to them has to wait ([`Queue::when_relieved`]).
    pub crowded: Vec<Arc<Queue>>,
    /// Messages that have to be brought from the disk ([`Queue::load`]).
    pub missing: Vec<(Arc<Queue>, Missing)>,
    /// When a queue wants to be told the time ([`Queue::expire`]); each is said once.
    pub deadlines: Vec<(QueueId, Millis)>,
    /// Consumers whose queue is gone.
    pub cancelled: Vec<Arc<dyn DeliverySink>>,
    /// Connections that have something to send.
    wakes: Vec<Arc<dyn DeliverySink>>,
}

impl Aftermath {
    /// Somebody has a message of a queue where that is counted. Mostly it is the one behind the last.
    pub(super) fn goes_out(&mut self, queue: QueueId, entry: &Entry) {
        let (position, count) = (entry.position, entry.tries());
        match self.tries.last_mut() {
            Some((of, last)) if *of == queue && last.count == count && last.last.next() == position => {
                last.last = position;
            }
            _ => self.tries.push((queue, Tries::one(position, count))),
        }
    }

    /// Has this to be woken? Mostly it is the one that was said last.
    pub(super) fn wake(&mut self, sink: &Arc<dyn DeliverySink>) {
        if !self.wakes.last().is_some_and(|last| Arc::ptr_eq(last, sink)) {
            self.wakes.push(Arc::clone(sink));
        }
    }

    /// Tells connections to send what they were given, and consumers that their queues are gone.
    pub fn tell(&mut self) {
        self.wakes.drain(..).for_each(|sink| sink.wake());
        self.cancelled.drain(..).for_each(|sink| sink.cancel());
    }

    /// What is kept, or was, needs not be: all that is said to a [`LogStore`](crate::LogStore) is forgotten.
    pub fn forget_kept(&mut self) {
        self.placed.clear();
        self.promised = false;
        self.settled.clear();
        self.purged.clear();
        self.tries.clear();
        self.gone.clear();
    }

    /// All of it has been done.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.placed.is_empty()
            && self.refused.is_empty()
            && self.turned_away.is_empty()
            && self.settled.is_empty()
            && self.purged.is_empty()
            && self.tries.is_empty()
            && self.gone.is_empty()
            && self.removed.is_empty()
            && self.paged.is_empty()
            && self.crowded.is_empty()
            && self.missing.is_empty()
            && self.deadlines.is_empty()
            && self.cancelled.is_empty()
            && self.wakes.is_empty()
    }
}
