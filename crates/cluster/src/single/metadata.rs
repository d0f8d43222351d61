//! Metadata of a node that is alone: whatever it wants is agreed, and what has to outlive it goes into its log.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;
use warren_amqp::ReplyCode;
use warren_model::Refusal;
use warren_model::meta::{Command, Done};
use warren_store::{AppendError, Batch, Log, Place, StreamId, Ticket};

use super::StorageError;
use super::stored::FOR_EVER;
use crate::ConfirmTicket;
use crate::lock;
use crate::meta_store::{Follower, Found, MetaStore, MetadataView};

/// Commands read at once when a node starts.
const COMMANDS: usize = 4096;
/// Octets of them.
const COMMAND_OCTETS: u64 = 8 << 20;
/// Commands from which on a start writes them anew, if that is half of them or less.
const REWRITE: u64 = 1024;

/// See the module.
pub(super) struct SingleMetadata {
    view: Arc<MetadataView>,
    follower: OnceLock<Weak<dyn Follower>>,
    /// Without one everything is gone with the process.
    journal: Option<Journal>,
    /// What was written has been read: changes are written from now on.
    is_started: AtomicBool,
}

impl SingleMetadata {
    pub(super) fn new(view: Arc<MetadataView>, journal: Option<Journal>) -> Self {
        Self {
            view,
            follower: OnceLock::new(),
            journal,
            is_started: AtomicBool::new(false),
        }
    }

    /// What was refused then is refused again.
    fn replay(&self, journal: &Journal) -> Result<Found, StorageError> {
        let commands = journal.commands()?;
        let written = commands.len() as u64;
        self.view.again(|| {
            for command in commands {
                self.propose(command).ok();
            }
        });
        // Transient queues had numbers, too, which are in no command that was kept.
        let last = journal.last_queue;
        self.propose(Command::NumberQueuesAfter { last }).ok();
        if written == 0 {
            return Ok(Found::Nothing);
        }
        let commands: Vec<Command> = self.view.read(|meta| meta.durable().collect());
        journal.rewrite(written, &commands)?;
        Ok(Found::Metadata)
    }
}

impl MetaStore for SingleMetadata {
    fn start(&self, follower: Weak<dyn Follower>) -> Result<Found, StorageError> {
        self.follower.set(follower).ok();
        let found = match &self.journal {
            Some(journal) => self.replay(journal)?,
            None => Found::Nothing,
        };
        self.is_started.store(true, Ordering::Release);
        Ok(found)
    }

    fn propose(&self, command: Command) -> Result<(Done, Option<ConfirmTicket>), Refusal> {
        let Some(follower) = self.follower.get().and_then(Weak::upgrade) else {
            return Err(not_written("the node is ending"));
        };
        let journal = self.journal.as_ref();
        match journal.filter(|_| self.is_started.load(Ordering::Acquire)) {
            Some(journal) => self.view.apply(
                command,
                &*follower,
                Some(&mut |command| journal.write(command).map_err(not_written)),
            ),
            None => self.view.apply(command, &*follower, None),
        }
    }

    fn under_way(&self) -> Option<ConfirmTicket> {
        self.journal.as_ref()?.under_way()
    }
}

fn not_written(why: impl std::fmt::Display) -> Refusal {
    tracing::error!(%why, "change of the metadata was not written");
    Refusal::new(ReplyCode::InternalError, "the change cannot be written")
}

/// Commands in stream 0 of the log.
pub(super) struct Journal {
    log: Arc<Log>,
    /// Position of the next command.
    next: Mutex<u64>,
    /// The last command's ticket and one.
    last: AtomicU64,
    /// The highest number of a queue that the log knows.
    last_queue: u64,
}

impl Journal {
    pub(super) const fn new(log: Arc<Log>, next: u64, last_queue: u64) -> Self {
        Self {
            log,
            next: Mutex::new(next),
            last: AtomicU64::new(0),
            last_queue,
        }
    }

    /// All commands, oldest first.
    fn commands(&self) -> Result<Vec<Command>, StorageError> {
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

    /// Writes a command; it counts when the ticket is safe.
    ///
    /// # Errors
    /// It cannot be written, and must not be carried out.
    fn write(&self, command: &Command) -> Result<ConfirmTicket, StorageError> {
        lock::change_waits();
        let mut next = self.next.lock();
        let mut batch = Batch::new();
        push(&mut batch, command, *next)?;
        batch.essential();
        let ticket = match self.log.try_append(&mut batch) {
            Err(AppendError::Busy { .. }) => lock::blocking(|| self.log.append(batch)),
            done => done,
        }?;
        self.last.store(ticket.0 + 1, Ordering::Release);
        *next += 1;
        Ok(ConfirmTicket::new(ticket.0))
    }

    fn under_way(&self) -> Option<ConfirmTicket> {
        let last = self.last.load(Ordering::Acquire).checked_sub(1)?;
        let is_safe = Ticket(last).is_durable(self.log.durable());
        (!is_safe).then(|| ConfirmTicket::new(last))
    }

    /// Writes all commands anew, if the log has become long with those that no longer mean anything.
    fn rewrite(&self, written: u64, commands: &[Command]) -> Result<(), StorageError> {
        if written < REWRITE || (commands.len() as u64) * 2 > written {
            return Ok(());
        }
        let mut next = self.next.lock();
        let mut batch = Batch::new();
        batch.settle(StreamId::METADATA, &[0..=next.saturating_sub(1)]);
        for command in commands {
            push(&mut batch, command, *next)?;
            *next += 1;
        }
        batch.essential();
        self.log.append(batch)?;
        Ok(())
    }
}

fn push(batch: &mut Batch, command: &Command, position: u64) -> Result<(), StorageError> {
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
