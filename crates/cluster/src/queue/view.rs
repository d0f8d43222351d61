//! What there is to know of a queue.

use warren_model::arguments::QueueType;
use warren_model::consumers::{ConsumerId, Terms};
use warren_model::queue::Counts;
use warren_model::{Message, Millis, Name, QueueId};

use super::{Queue, Subscriber};

/// What is declared of a queue and does not change.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its number.
    pub id: QueueId,
    /// Where.
    pub vhost: Name,
    /// Its name.
    pub name: Name,
    /// Persistent messages in it are kept on disk.
    pub durable: bool,
    /// Its type, by which what it counts is told apart.
    pub kind: QueueType,
}

/// How many messages went which way since the queue is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Came in.
    pub published: u64,
    /// Went to consumers who have to settle them.
    pub delivered: u64,
    /// Went to consumers who do not.
    pub delivered_no_ack: u64,
    /// Were fetched, to be settled.
    pub got: u64,
    /// Were fetched.
    pub got_no_ack: u64,
    /// Nothing was there to be fetched.
    pub got_empty: u64,
    /// Went to consumers again.
    pub redelivered: u64,
    /// Were settled.
    pub acked: u64,
}

/// What there is to know of a queue at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot {
    /// How many messages.
    pub counts: Counts,
    /// How many consumers.
    pub consumers: usize,
    /// How many messages went which way.
    pub traffic: Traffic,
    /// Entries in memory.
    pub in_memory: usize,
}

/// Who is there to consume, for listings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerInfo {
    /// Who.
    pub id: ConsumerId,
    /// What he asked for.
    pub terms: Terms,
    /// Messages that he has.
    pub unacked: u32,
    /// Does he get messages.
    pub active: bool,
}

impl Queue {
    /// What was declared.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Is a message kept on disk while it is in this queue? A quorum queue keeps all, whatever their publishers say of them, as RabbitMQ's do.
    #[must_use]
    pub fn keeps(&self, message: &Message) -> bool {
        self.identity.durable && (message.persistent || self.identity.kind == QueueType::Quorum)
    }

    /// Does only one of its consumers get messages at any time?
    #[must_use]
    pub fn has_single_active_consumer(&self) -> bool {
        self.state.lock().consumers.is_single()
    }

    /// Does it hold messages back until their delay is over?
    #[must_use]
    pub fn is_delaying(&self) -> bool {
        self.state.lock().machine.is_delaying()
    }

    /// Somebody declared it again.
    pub fn touch(&self, now: Millis) {
        self.state.lock().used = now;
    }

    /// Since when it is out of use; `None`: it has consumers.
    #[must_use]
    pub fn unused_since(&self) -> Option<Millis> {
        let state = self.state.lock();
        state.consumers.is_empty().then_some(state.used)
    }

    /// What there is to know now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let state = self.state.lock();
        Snapshot {
            counts: state.machine.counts(),
            consumers: state.consumers.len(),
            traffic: state.traffic,
            in_memory: state.machine.in_memory(),
        }
    }

    /// Who is there to consume, oldest first.
    #[must_use]
    pub fn consumers(&self) -> Vec<ConsumerInfo> {
        let state = self.state.lock();
        let info = |(id, terms, unacked, _): (ConsumerId, &Terms, u32, &Subscriber)| ConsumerInfo {
            id,
            terms: *terms,
            unacked,
            active: state.consumers.is_active(id),
        };
        state.consumers.iter().map(info).collect()
    }

    /// `x-max-priority`.
    #[must_use]
    pub fn has_priorities(&self) -> bool {
        self.state.lock().machine.has_priorities()
    }
}
