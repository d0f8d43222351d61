//! Messages in the log of the node's data directory: one fdatasync for all that waits, whoever left it.
//!
//! ```text
//!   Aftermath ──▶ one batch: messages placed, positions settled, queues removed ──▶ ticket ──▶ fdatasync ──▶ whoever waits
//!   stream 0       commands that make the metadata again          stream n       messages of queue n, by position
//! ```

use std::sync::Arc;

use parking_lot::Mutex;
use warren_model::{Entry, Position, QueueId};
use warren_store::{AppendError, Fatal, Log, Progress, ReadError, StreamId, Ticket};

use super::returns::Returns;
use super::spill::Spill;
use super::stored::{entry, place, settle};
use crate::lock;
use crate::log_store::{Fetched, LogStore, NotRead, NotWritten, Space};
use crate::queue::{Past, Queue, Tries};
use crate::{Aftermath, ConfirmTicket, LogStatistics, Session, Waiter};

/// The ticket of what is on disk already.
const BEFORE_ALL: u64 = 0;

/// Those who want to hear when tickets are safe.
#[derive(Default)]
pub(super) struct Waiting(Mutex<Waiters>);

#[derive(Default)]
struct Waiters {
    all: Vec<(Ticket, Arc<dyn Waiter>)>,
    /// The log has ended: they need not wait.
    ended: bool,
}

impl Waiting {
    /// Hears from the log. An end of the log is the end of the session.
    pub(super) fn hear(&self, progress: Progress, session: &Session) {
        match progress {
            Progress::Durable(durable) => self.0.lock().all.retain(|(ticket, waiter)| {
                let is_durable = ticket.is_durable(durable);
                if is_durable {
                    waiter.safe();
                }
                !is_durable
            }),
            Progress::Damaged(what) => {
                tracing::error!(%what, "the log is damaged; put back a copy of the data directory while there is one");
            }
            Progress::Failed(fatal) => {
                session.end(fatal.to_string());
                let mut waiters = self.0.lock();
                waiters.ended = true;
                waiters.all.drain(..).for_each(|(_, waiter)| waiter.safe());
            }
        }
    }
}

/// The log, and who waits for it.
pub(super) struct SingleLog {
    pub(super) log: Arc<Log>,
    pub(super) waiting: Arc<Waiting>,
    pub(super) segment_octets: u64,
    /// What is to be known of messages besides.
    pub(super) returns: Returns,
    /// The last process left something of that.
    pub(super) had_returns: bool,
    /// Messages that need not outlive the process, and do not fit into its memory.
    pub(super) spill: Spill,
}

impl LogStore for SingleLog {
    fn write(&self, after: &mut Aftermath) -> Result<Option<ConfirmTicket>, NotWritten> {
        lock::waits();
        let mut batch = self.log.batch();
        if std::mem::take(&mut after.promised) || after.placed.is_empty() {
            batch.essential();
        }
        match self.log.is_full() {
            // What is settled needs the room more.
            true => after.tries.clear(),
            false if after.tries.is_empty() => {}
            false => self.returns.push(&mut batch, &mut after.tries),
        }
        place(&mut batch, &mut after.placed);
        settle(&mut batch, &mut after.settled);
        for gone in after.purged.drain(..) {
            if gone.durable {
                batch.settle(StreamId(gone.queue.0), &[gone.first.0..=gone.last.0]);
            }
            self.spill.settle(gone.queue, gone.first, gone.last);
        }
        for gone in after.gone.drain(..) {
            if gone.durable {
                batch.remove(StreamId(gone.queue.0));
            }
            self.spill.remove(gone.queue);
        }
        if batch.is_empty() {
            return Ok(None);
        }
        let appended = match self.log.try_append(&mut batch) {
            Err(AppendError::Busy { .. }) => lock::blocking(|| self.log.append(batch)),
            done => done,
        };
        let placed = after.placed.drain(..);
        let ticket = appended?;
        placed.for_each(|one| one.message.written.set(ticket.0));
        Ok(Some(ConfirmTicket::new(ticket.0)))
    }

    fn is_safe(&self, ticket: ConfirmTicket) -> bool {
        Ticket(ticket.number()).is_durable(self.log.durable())
    }

    fn when_safe(&self, ticket: ConfirmTicket, waiter: Arc<dyn Waiter>) {
        let ended = {
            let mut waiters = self.waiting.0.lock();
            waiters.all.push((Ticket(ticket.number()), Arc::clone(&waiter)));
            waiters.ended
        };
        // It may have become durable in between, unheard.
        if ended || self.is_safe(ticket) {
            waiter.safe();
        }
    }

    fn wait(&self, ticket: ConfirmTicket) -> Result<(), NotWritten> {
        lock::waits();
        match self.is_safe(ticket) {
            true => Ok(()),
            false => Ok(lock::blocking(|| self.log.wait(Ticket(ticket.number())))?),
        }
    }

    fn behind(&self) -> Option<ConfirmTicket> {
        let ticket = self.log.behind()?;
        Some(ConfirmTicket::new(ticket.0))
    }

    fn has_room(&self, octets: u64) -> bool {
        // What fits into a segment has its room taken beforehand.
        let fits = || self.log.free_octets().is_ok_and(|free| free / 2 > octets);
        !self.log.is_full() && (octets <= self.segment_octets / 2 || fits())
    }

    fn statistics(&self) -> Option<LogStatistics> {
        Some(self.log.statistics())
    }

    fn space(&self) -> Option<Space> {
        Some(Space {
            free: self.log.free_octets(),
            is_full: self.log.is_full(),
        })
    }

    fn fetch(&self, queue: QueueId, from: Position, count: usize, octets: u64) -> Result<Fetched, NotRead> {
        lock::waits();
        let kept = self.log.fetch(StreamId(queue.0), from.0, count, octets)?;
        let spilled = self.spill.fetch(queue, from, count, octets)?;
        let ends = [&kept, &spilled].into_iter().filter_map(|stored| stored.last());
        let through = ends.map(|last| last.position).min().map(Position);
        let both = !spilled.is_empty();
        let mut entries: Vec<Entry> = kept.into_iter().filter_map(entry).collect();
        for entry in &entries {
            entry.message.written.set(BEFORE_ALL);
        }
        entries.extend(spilled.into_iter().filter_map(entry));
        if both {
            entries.retain(|entry| Some(entry.position) <= through);
            entries.sort_by_key(|entry| entry.position);
            // It was spilled before it was known that it would be kept.
            entries.dedup_by_key(|entry| entry.position);
        }
        Ok(Fetched { entries, through })
    }

    fn page_out(&self, queue: &Queue, entries: &[Entry]) -> Result<(), NotWritten> {
        lock::waits();
        let mut last = None;
        let mut others = Vec::new();
        for entry in entries {
            match entry.message.written.ticket() {
                // With those of its queues that keep it.
                Some(ticket) if queue.keeps(&entry.message) => last = last.max(Some(Ticket(ticket))),
                _ => others.push(entry),
            }
        }
        if let Some(ticket) = last {
            self.log.wait(ticket)?;
        }
        Ok(self.spill.write(queue.identity().id, &others)?)
    }

    fn paged_in(&self, queue: QueueId, first: Position, last: Position) {
        lock::waits();
        self.spill.settle(queue, first, last);
    }

    fn started(&self, tries: Vec<(QueueId, Tries)>) -> Result<(), NotWritten> {
        if !self.had_returns {
            return Ok(());
        }
        let ticket = self.returns.rewrite(&self.log, self.returns.next(), tries)?;
        Ok(self.log.wait(ticket)?)
    }

    fn has_many_tries(&self) -> Option<u64> {
        self.returns.are_many()
    }

    fn rewrite_tries(&self, before: u64, tries: Vec<(QueueId, Tries)>) -> Result<(), NotWritten> {
        lock::waits();
        self.returns.rewrite(&self.log, before, tries)?;
        Ok(())
    }

    fn stop(&self, pasts: &[(QueueId, Past)]) -> Result<(), NotWritten> {
        let ticket = self.returns.stop(&self.log, pasts)?;
        Ok(self.log.wait(ticket)?)
    }
}

impl From<Fatal> for NotWritten {
    fn from(fatal: Fatal) -> Self {
        Self::Ended(fatal.to_string())
    }
}

impl From<AppendError> for NotWritten {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Fatal(fatal) => fatal.into(),
            other => Self::Refused(other.to_string()),
        }
    }
}

impl From<ReadError> for NotRead {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Corrupt { position, .. } => Self::Damaged {
                position: Position(position),
                why: error.to_string(),
            },
            ReadError::Disk { .. } => Self::Failed(error.to_string()),
        }
    }
}
