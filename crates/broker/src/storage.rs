//! What outlives the process: messages and metadata, in the log of the node's data directory.
//!
//! ```text
//!   Aftermath ──▶ one batch: messages placed, positions settled, queues removed ──▶ ticket ──▶ fdatasync ──▶ whoever waits
//!   stream 0       commands that make the metadata again          stream n       messages of queue n, by position
//!
//!   a message's head:   when it came, 8 octets | exchange, short string | routing key, short string | content header
//! ```
//!
//! Time to live is with the place of a message, since it differs from queue to queue: milliseconds from when it came.

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use thiserror::Error;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::watch;
use warren_amqp::content::{self, Header};
use warren_amqp::hot::Publish;
use warren_cluster::queue::{Past, Returned};
use warren_cluster::{Aftermath, Placed};
use warren_model::meta::Command;
use warren_model::{Entry, Message, MessageId, Millis, Position, QueueId};
use warren_store::{
    AppendError, Batch, Disk, Fatal, Log, OpenError, Options, Place, Progress, ReadError, Recovered, Stored,
    StreamId, Ticket,
};

use crate::clock::{at_time_of_day, now, time_of_day};
use crate::output::{Output, WRITTEN};
use crate::returns::{self, Left, Returns};
use crate::spill::Spill;

/// No time to live.
pub(crate) const FOR_EVER: u32 = 0;
/// Commands read at once when a node starts.
const COMMANDS: usize = 4096;
/// Octets of them.
const COMMAND_OCTETS: u64 = 8 << 20;
/// Messages read at once then, and octets of them.
const MESSAGES: usize = 4096;
const MESSAGE_OCTETS: u64 = 8 << 20;
/// Commands from which on a start writes them anew, if that is half of them or less.
const REWRITE: u64 = 1024;

/// Why a node does not start.
#[derive(Debug, Error)]
pub enum StorageError {
    /// The log does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A part of the metadata cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What was read is no metadata of this version.
    #[error(
        "the metadata at position {position} cannot be understood: {why}; use the version of the program that wrote it, or a newer one"
    )]
    Metadata {
        /// Where in stream 0.
        position: u64,
        /// What is wrong.
        why: String,
    },
    /// Something cannot be written.
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// Connections that want to hear when tickets are durable.
type Waiting = Mutex<Vec<(Ticket, Arc<Output>)>>;

/// The log, and who waits for it.
pub(crate) struct Storage {
    log: Log,
    waiting: Arc<Waiting>,
    /// Position of the next command.
    next_command: Mutex<u64>,
    /// The last command's ticket and one.
    last_change: AtomicU64,
    segment_octets: u64,
    /// What is to be known of messages besides.
    returns: Returns,
    /// Messages that need not outlive the process, and do not fit into its memory.
    pub(crate) spill: Spill,
}

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Storage").finish_non_exhaustive()
    }
}

impl Storage {
    /// Opens the log of a data directory. `failed` hears of it if nothing can be written any more.
    pub(crate) fn open(
        directory: &Path,
        disk: Arc<dyn Disk>,
        options: Options,
        failed: watch::Sender<Option<String>>,
    ) -> Result<(Self, Recovered), StorageError> {
        let spill = Spill::new(directory, &disk, &options)?;
        let segment_octets = options.segment_octets;
        let waiting: Arc<Waiting> = Arc::default();
        let told = Arc::clone(&waiting);
        let (log, recovered) = Log::open(directory, disk, options, move |progress| match progress {
            Progress::Durable(durable) => {
                told.lock().retain(|(ticket, output)| {
                    let is_durable = ticket.is_durable(durable);
                    if is_durable {
                        output.tell(WRITTEN);
                    }
                    !is_durable
                });
            }
            Progress::Failed(fatal) => {
                failed.send_replace(Some(fatal.to_string()));
            }
        })?;
        let commands = recovered
            .streams
            .iter()
            .find(|state| state.stream == StreamId::METADATA);
        let next = commands.map_or(1, |state| state.next);
        Ok((
            Self {
                log,
                waiting,
                next_command: Mutex::new(next),
                last_change: AtomicU64::new(0),
                segment_octets,
                returns: Returns::default(),
                spill,
            },
            recovered,
        ))
    }

    /// All commands, oldest first.
    pub(crate) fn commands(&self) -> Result<Vec<Command>, StorageError> {
        let (mut commands, mut from) = (Vec::new(), 0);
        loop {
            let read = self
                .log
                .fetch(StreamId::METADATA, from, COMMANDS, COMMAND_OCTETS)?;
            let Some(last) = read.last() else {
                return Ok(commands);
            };
            from = last.position + 1;
            for stored in &read {
                let understood = postcard::from_bytes(&stored.body);
                commands.push(understood.map_err(|error| StorageError::Metadata {
                    position: stored.position,
                    why: error.to_string(),
                })?);
            }
        }
    }

    /// Writes a command; it counts when the ticket is durable.
    ///
    /// # Errors
    /// It cannot be written, and must not be carried out.
    pub(crate) fn command(&self, command: &Command) -> Result<Ticket, StorageError> {
        let mut next = self.next_command.lock();
        let mut batch = Batch::new();
        push_command(&mut batch, command, *next)?;
        batch.essential();
        let ticket = self.log.append(batch)?;
        self.last_change.store(ticket.0 + 1, Ordering::Release);
        *next += 1;
        Ok(ticket)
    }

    /// The last change of the metadata, as long as it is not on disk. What became of a message by it is not for ever yet.
    pub(crate) fn change_under_way(&self) -> Option<Ticket> {
        let last = self.last_change.load(Ordering::Acquire).checked_sub(1)?;
        Some(Ticket(last)).filter(|ticket| !self.is_durable(*ticket))
    }

    /// Writes all commands anew, if the log has become long with those that no longer mean anything.
    pub(crate) fn rewrite(&self, written: u64, commands: &[Command]) -> Result<(), StorageError> {
        if written < REWRITE || (commands.len() as u64) * 2 > written {
            return Ok(());
        }
        let mut next = self.next_command.lock();
        let mut batch = Batch::new();
        batch.settle(StreamId::METADATA, &[0..=next.saturating_sub(1)]);
        for command in commands {
            push_command(&mut batch, command, *next)?;
            *next += 1;
        }
        batch.essential();
        self.log.append(batch)?;
        Ok(())
    }

    /// Does the disk take messages of so many octets? Who has heard so writes them with `promised`.
    pub(crate) fn has_room(&self, octets: u64) -> bool {
        // What fits into a segment has its room taken beforehand.
        let fits = || self.log.free_octets().is_ok_and(|free| free / 2 > octets);
        !self.log.is_full() && (octets <= self.segment_octets / 2 || fits())
    }

    /// Writes what a batch of queue operations has to leave on disk. Nothing if that is nothing. `promised`: there was room
    /// when queues got the messages, and so they are written.
    pub(crate) fn write(&self, after: &mut Aftermath, promised: bool) -> Result<Option<Ticket>, AppendError> {
        let mut batch = self.log.batch();
        if promised || after.placed.is_empty() {
            batch.essential();
        }
        match self.is_full() {
            // What is settled needs the room more.
            true => after.returned.clear(),
            false if after.returned.is_empty() => {}
            false => self.returns.push(&mut batch, &mut after.returned),
        }
        place(&mut batch, &mut after.placed);
        settle(&mut batch, &mut after.settled);
        for gone in after.purged.drain(..) {
            if gone.durable {
                batch.settle(StreamId(gone.queue.0), &[gone.first.0..=gone.last.0]);
            }
            self.spill.settle(gone.queue, gone.first, gone.last);
        }
        if batch.is_empty() {
            return Ok(None);
        }
        let appended = match self.log.try_append(&mut batch) {
            Err(AppendError::Busy { .. }) => blocking(|| self.log.append(batch)),
            done => done,
        };
        let placed = after.placed.drain(..);
        let ticket = appended?;
        placed.for_each(|one| one.message.written.set(ticket.0));
        Ok(Some(ticket))
    }

    /// Reads what the last process left besides messages.
    pub(crate) fn left(&self, recovered: &Recovered) -> Result<Left, ReadError> {
        let state = recovered
            .streams
            .iter()
            .find(|state| state.stream == returns::STREAM);
        self.returns.read(&self.log, state.map_or(1, |state| state.next))
    }

    /// Is it time for [`Storage::rewrite_returned`], and before which record?
    pub(crate) fn has_many_returned(&self) -> Option<u64> {
        self.returns.are_many()
    }

    /// What was known of messages besides is what is `left`.
    pub(crate) fn rewrite_returned(
        &self,
        before: Option<u64>,
        left: Vec<Returned>,
    ) -> Result<Ticket, AppendError> {
        let before = before.unwrap_or_else(|| self.returns.next());
        self.returns.rewrite(&self.log, before, left)
    }

    /// The process ends in order: what a later one should know of messages is on disk then.
    pub(crate) fn stop(&self, pasts: &[(QueueId, Past)]) -> Result<(), AppendError> {
        let ticket = self.returns.stop(&self.log, pasts)?;
        Ok(self.log.wait(ticket)?)
    }

    /// Queues and their messages are gone.
    pub(crate) fn remove(&self, queues: &[QueueId]) -> Result<(), AppendError> {
        if queues.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new();
        queues.iter().for_each(|queue| batch.remove(StreamId(queue.0)));
        self.log.append(batch).map(drop)
    }

    /// Says [`WRITTEN`] to a connection when a ticket is durable.
    pub(crate) fn tell(&self, ticket: Ticket, output: &Arc<Output>) {
        self.waiting.lock().push((ticket, Arc::clone(output)));
        // It may have become durable in between, unheard.
        if self.is_durable(ticket) {
            output.tell(WRITTEN);
        }
    }

    pub(crate) fn is_behind(&self) -> bool {
        self.log.is_behind()
    }

    /// Messages are refused because the disk is full.
    pub(crate) fn is_full(&self) -> bool {
        self.log.is_full()
    }

    /// Octets that may still be written.
    pub(crate) fn free_octets(&self) -> std::io::Result<u64> {
        self.log.free_octets()
    }

    pub(crate) fn is_durable(&self, ticket: Ticket) -> bool {
        ticket.is_durable(self.log.durable())
    }

    /// Waits until a ticket is durable.
    ///
    /// # Errors
    /// It never will be.
    pub(crate) fn wait(&self, ticket: Ticket) -> Result<(), Fatal> {
        match self.is_durable(ticket) {
            true => Ok(()),
            false => blocking(|| self.log.wait(ticket)),
        }
    }

    /// All messages of a queue from a position on that can be read.
    pub(crate) fn all(&self, queue: QueueId, first: Position) -> Vec<Entry> {
        let (mut all, mut from) = (Vec::new(), first);
        loop {
            match self.fetch(queue, from, MESSAGES, MESSAGE_OCTETS) {
                Ok((read, _)) => match read.last() {
                    Some(last) => {
                        from = last.position.next();
                        all.extend(read);
                    }
                    None => return all,
                },
                Err(error) => {
                    tracing::error!(%error, "message cannot be read and is left out");
                    match error {
                        ReadError::Corrupt { position, .. } => from = Position(position + 1),
                        ReadError::Disk { .. } => return all,
                    }
                }
            }
        }
    }

    /// Messages of a queue from a position on, wherever they were written, and up to which position these are all that
    /// there are; none: there is nothing from there on.
    pub(crate) fn fetch(
        &self,
        queue: QueueId,
        from: Position,
        count: usize,
        octets: u64,
    ) -> Result<(Vec<Entry>, Option<Position>), ReadError> {
        let kept = self.log.fetch(StreamId(queue.0), from.0, count, octets)?;
        let spilled = self.spill.fetch(queue, from, count, octets)?;
        let ends = [&kept, &spilled].into_iter().filter_map(|stored| stored.last());
        let through = ends.map(|last| last.position).min().map(Position);
        let both = !spilled.is_empty();
        let mut entries: Vec<Entry> = kept.into_iter().chain(spilled).filter_map(entry).collect();
        if both {
            entries.retain(|entry| Some(entry.position) <= through);
            entries.sort_by_key(|entry| entry.position);
            // It was spilled before it was known that it would be kept.
            entries.dedup_by_key(|entry| entry.position);
        }
        Ok((entries, through))
    }

    /// Makes sure that messages of a queue can be fetched. To be called where waiting for the disk is no harm.
    ///
    /// # Errors
    /// They cannot be written.
    pub(crate) fn keep(&self, queue: QueueId, entries: &[Entry]) -> Result<(), AppendError> {
        let mut last = None;
        let mut others = Vec::new();
        for entry in entries {
            match entry.message.written.ticket() {
                Some(ticket) => last = last.max(Some(Ticket(ticket))),
                None => others.push(entry),
            }
        }
        if let Some(ticket) = last {
            self.log.wait(ticket)?;
        }
        self.spill.write(queue, &others)
    }
}

/// Waits for the disk. Other tasks of this thread go on elsewhere meanwhile, if there is an elsewhere.
fn blocking<T>(wait: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(wait),
        _ => wait(),
    }
}

fn push_command(batch: &mut Batch, command: &Command, position: u64) -> Result<(), StorageError> {
    let octets = postcard::to_stdvec(command).map_err(|error| StorageError::Metadata {
        position,
        why: error.to_string(),
    })?;
    batch.message(warren_store::Message {
        id: warren_store::MessageId::default(),
        places: &[Place {
            stream: StreamId::METADATA,
            position,
            tag: FOR_EVER,
        }],
        head: &[],
        body: &[octets.into()],
    });
    Ok(())
}

/// Puts messages into a batch, each once, with all the places it has.
fn place(batch: &mut Batch, placed: &mut [Placed]) {
    if placed.is_empty() {
        return;
    }
    let (time, now) = (time_of_day(), now());
    // Those of several queues lie apart.
    placed.sort_by_key(|one| (one.number, Arc::as_ptr(&one.message)));
    let mut places: Vec<Place> = Vec::new();
    let mut rest = placed.iter().peekable();
    while let Some(one) = rest.next() {
        let lifetime = one.expires.map_or(FOR_EVER, |end| lifetime(now, end));
        places.push(Place {
            stream: StreamId(one.queue.0),
            position: one.position.0,
            tag: lifetime,
        });
        if rest
            .peek()
            .is_some_and(|next| Arc::ptr_eq(&next.message, &one.message))
        {
            continue;
        }
        push_message(batch, &one.message, time, &places);
        places.clear();
    }
}

pub(crate) fn push_message(batch: &mut Batch, message: &Message, time: Millis, places: &[Place]) {
    let content = &message.content;
    let body: Vec<bytes::Bytes> = content.pieces_of_body().collect();
    batch.message(warren_store::Message {
        id: warren_store::MessageId {
            incarnation: message.id.incarnation,
            sequence: message.id.sequence,
        },
        places,
        head: &[
            &time.0.to_be_bytes(),
            // Both short strings as they lie on the wire: there is none that does not fit.
            content.address(),
            content.header().payload(),
        ],
        body: &body,
    });
}

/// Time to live as a place has room for it, one more than milliseconds; what lives longer than 49 days lives for ever.
pub(crate) fn lifetime(now: Millis, ends: Millis) -> u32 {
    u32::try_from(ends.0.saturating_sub(now.0).saturating_add(1)).unwrap_or(FOR_EVER)
}

/// A message of a queue as it was written; nothing if it is none, which only another program can have written.
fn entry(stored: Stored) -> Option<Entry> {
    let (time, rest) = stored.head.split_first_chunk::<8>()?;
    let came = at_time_of_day(Millis(u64::from_be_bytes(*time)));
    let (exchange, rest) = short(rest)?;
    let (routing_key, rest) = short(rest)?;
    let header = Header::read(rest).ok()?;
    let publish = Publish {
        exchange,
        routing_key,
        mandatory: false,
        immediate: false,
    };
    let content = content::Message::new(&publish, header, &[stored.body]);
    let id = MessageId {
        incarnation: stored.id.incarnation,
        sequence: stored.id.sequence,
    };
    let message = Message::new(id, content).ok()?;
    let expires = (stored.tag != FOR_EVER).then(|| came.after(u64::from(stored.tag) - 1));
    Some(Entry {
        position: Position(stored.position),
        message: Arc::new(message),
        expires,
        returns: 0,
        redelivered: false,
    })
}

fn short(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = octets.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

/// Positions of each queue as few ranges.
fn settle(batch: &mut Batch, settled: &mut Vec<(QueueId, Position)>) {
    settled.sort_unstable();
    let mut ranges: Vec<RangeInclusive<u64>> = Vec::new();
    let mut of: Option<QueueId> = None;
    for (queue, position) in settled.drain(..) {
        if of != Some(queue) {
            if let Some(before) = of.replace(queue) {
                batch.settle(StreamId(before.0), &ranges);
            }
            ranges.clear();
        }
        match ranges.last_mut() {
            Some(range) if *range.end() + 1 == position.0 => *range = *range.start()..=position.0,
            _ => ranges.push(position.0..=position.0),
        }
    }
    if let Some(queue) = of {
        batch.settle(StreamId(queue.0), &ranges);
    }
}
