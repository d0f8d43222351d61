//! Where messages of queues are kept, and when they are safe: what a node asks of that, whatever does it.

use std::io;
use std::sync::Arc;

use thiserror::Error;
use warren_model::{Entry, Position, QueueId};

use crate::queue::{Past, Queue, Tries};
use crate::{Aftermath, ConfirmTicket, LogStatistics, Waiter};

/// Messages that are read at once when all of a queue are, and octets of them.
const MESSAGES: usize = 4096;
const OCTETS: u64 = 8 << 20;

/// Keeps messages of queues. Called once for a batch, never for a message.
pub trait LogStore: Send + Sync {
    /// Takes what operations on queues have left to be kept and to be forgotten: [`Aftermath::placed`],
    /// [`Aftermath::settled`], [`Aftermath::tries`], [`Aftermath::purged`] and [`Aftermath::gone`], which are empty afterwards. All of it is kept as a
    /// whole or not at all, and is when the ticket is safe. No ticket: there was nothing of that kind. Waits if too much is under way.
    ///
    /// [`Aftermath::promised`] messages, for which [`LogStore::has_room`] said that there is room, are kept even if there is none now.
    ///
    /// What is settled may come before what was placed: a consumer can be faster than its publisher.
    ///
    /// # Errors
    /// None of it is kept.
    fn write(&self, after: &mut Aftermath) -> Result<Option<ConfirmTicket>, NotWritten>;

    /// Is this safe? It stays so.
    fn is_safe(&self, ticket: ConfirmTicket) -> bool;

    /// Tells somebody when a ticket is safe: now, if it is already. More than once does no harm. Also when nothing will ever be safe again.
    fn when_safe(&self, ticket: ConfirmTicket, waiter: Arc<dyn Waiter>);

    /// Waits until a ticket is safe. Not while anything is locked.
    ///
    /// # Errors
    /// It never will be.
    fn wait(&self, ticket: ConfirmTicket) -> Result<(), NotWritten>;

    /// So much is under way that who brings more should wait until this is safe.
    fn behind(&self) -> Option<ConfirmTicket>;

    /// Can messages of so many octets be kept? For who asks before a queue has them.
    fn has_room(&self, octets: u64) -> bool;

    /// What there is for more messages; `None`: they are not on a disk.
    fn space(&self) -> Option<Space>;

    /// What the log has counted; `None`: there is none.
    fn statistics(&self) -> Option<LogStatistics>;

    /// Messages of a queue from a position on, in order, as many as `count` or about `octets`: those whose ticket is safe, and those of
    /// [`LogStore::page_out`].
    ///
    /// # Errors
    /// The first of them cannot be read.
    fn fetch(&self, queue: QueueId, from: Position, count: usize, octets: u64) -> Result<Fetched, NotRead>;

    /// Sees to it that messages can be fetched, since they are going to leave the memory. Waits for the disk.
    ///
    /// # Errors
    /// They have to stay.
    fn page_out(&self, queue: &Queue, entries: &[Entry]) -> Result<(), NotWritten>;

    /// Messages that had left the memory are back in it, or gone from their queue: from one position up to another, included.
    fn paged_in(&self, queue: QueueId, first: Position, last: Position);

    /// Queues have what was found of them; their messages were given out so often. Whether the last process ended in order has been
    /// used, and is not found again if this one does not.
    ///
    /// # Errors
    /// It would be.
    fn started(&self, tries: Vec<(QueueId, Tries)>) -> Result<(), NotWritten>;

    /// Is it time to write anew which messages were given out how often, and in place of what was written before which record? Once for
    /// each time.
    fn has_many_tries(&self) -> Option<u64>;

    /// Writes it anew.
    ///
    /// # Errors
    /// What was written before stays.
    fn rewrite_tries(&self, before: u64, tries: Vec<(QueueId, Tries)>) -> Result<(), NotWritten>;

    /// The node ends in order: what the next process should know of messages in these queues is safe when this returns.
    ///
    /// # Errors
    /// It will not know.
    fn stop(&self, pasts: &[(QueueId, Past)]) -> Result<(), NotWritten>;
}

/// What was found of a queue.
#[derive(Clone, Debug, Default)]
pub struct Fetched {
    /// Messages, by position.
    pub entries: Vec<Entry>,
    /// Up to here these are all that there are. None: there is nothing from there on.
    pub through: Option<Position>,
}

/// What there is for more messages.
#[derive(Debug)]
pub struct Space {
    /// Octets that may still be written.
    pub free: io::Result<u64>,
    /// Messages are refused.
    pub is_full: bool,
}

/// Why something is not kept.
#[derive(Clone, Debug, Error)]
pub enum NotWritten {
    /// Not now. It may be another time.
    #[error("{0}")]
    Refused(String),
    /// Nothing will be any more: the node cannot go on.
    #[error("{0}")]
    Ended(String),
    /// Nothing ever was.
    #[error("nothing of this node outlives it; give it a data directory")]
    Nowhere,
}

/// Why a message is not read. Others can be.
#[derive(Clone, Debug, Error)]
pub enum NotRead {
    /// It is damaged. Ask for those behind it.
    #[error("{why}")]
    Damaged {
        /// Which.
        position: Position,
        /// Where, and what is wrong.
        why: String,
    },
    /// Not now. It may be another time.
    #[error("{0}")]
    Failed(String),
}

impl dyn LogStore {
    /// All messages of a queue from a position on that can be read, some at a time.
    pub fn all(&self, queue: QueueId, first: Position, mut each: impl FnMut(Vec<Entry>)) {
        let mut from = first;
        loop {
            match self.fetch(queue, from, MESSAGES, OCTETS) {
                Ok(Fetched { entries, .. }) => match entries.last() {
                    Some(last) => {
                        from = last.position.next();
                        each(entries);
                    }
                    None => return,
                },
                Err(error) => {
                    tracing::error!(%error, "message cannot be read and is left out");
                    match error {
                        NotRead::Damaged { position, .. } => from = position.next(),
                        NotRead::Failed(_) => return,
                    }
                }
            }
        }
    }
}
