//! The log that is the message store: one for each node, append-only, in segments that are recycled.
//!
//! A message is written once, into however many queues it was routed, and stays where it was written until nobody needs it. What brokers
//! call a queue is a *stream* here: numbers of messages that the broker chose, and their places in the log. Settling, deleting and
//! metadata go into the same log, so that whatever is appended as one [`Batch`] happens as a whole or not at all, and one fdatasync is
//! enough for all that waits for it, whoever it came from.
//!
//! - [`Log::open`] locks the data directory, recovers, and says what it found ([`Recovered`]).
//! - [`Log::append`] gives a [`Ticket`]; when [`Progress::Durable`] has passed it, the batch will be there after any crash.
//! - [`Log::fetch`] reads messages of a stream back, many at once.
//!
//! Three threads of control: appenders encode and sum ([`Batch`]); one writer thread writes whatever has collected, syncs once and reports
//! (`writer`); a keeper thread does what can wait: files for what was sealed, checkpoints, recycling, copying what is left in nearly
//! empty segments (`keeper`).
//!
//! Deliberately absent: an async runtime (callers bring their own and are called back from the writer thread), a cache of bodies (the
//! kernel has one), the meaning of what is stored.

mod batch;
mod checkpoint;
mod disk;
mod error;
mod format;
mod identity;
mod index;
mod keeper;
mod log;
mod options;
mod read;
mod recovery;
mod scrub;
mod shared;
mod slots;
mod statistics;
mod writer;

#[cfg(test)]
mod simulation;

pub use batch::{Batch, Message};
pub use disk::{Disk, DiskFile, RealDisk, SimulatedDisk, Weather};
pub use error::{AppendError, Fatal, OpenError, ReadError};
pub use format::Place;
pub use log::{Log, Progress, Ticket};
pub use options::{Durability, Options, RecoveryProgress};
pub use read::Stored;
pub use recovery::{Recovered, StreamState, Torn};
pub use statistics::Statistics;

/// A stream of messages, such as a queue. Numbers are the broker's, and are never used again for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u64);

impl StreamId {
    /// By convention: the commands that make up the broker's metadata. A snapshot is one more message, appended in one batch with
    /// the settling of everything before it.
    pub const METADATA: Self = Self(0);
}

/// Which message it is, whatever queue it is in and however often it is sent: the start of a node that took it, and a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct MessageId {
    pub incarnation: u64,
    pub sequence: u64,
}
