//! Messages that need not outlive the process, and are too many for its memory: those of queues or of a kind that nobody
//! keeps. They are in a log of their own that never syncs and starts empty, opened when it is needed first.
//!
//! A message is here only while it is not in memory.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use warren_model::{Entry, Position, QueueId};
use warren_store::{
    AppendError, Batch, Disk, Durability, Log, OpenError, Options, Place, ReadError, Stored, StreamId,
};

use super::stored::{FOR_EVER, lifetime, push_message};
use crate::clock::{now, time_of_day};

/// In the data directory.
const DIRECTORY: &str = "spill";

/// See the module.
pub(super) struct Spill {
    directory: PathBuf,
    disk: Arc<dyn Disk>,
    options: Options,
    log: OnceLock<Log>,
    /// Held while the log is opened.
    opening: Mutex<()>,
    /// Queues of which something may be here.
    queues: Mutex<HashSet<QueueId>>,
}

impl Spill {
    /// Throws away what is left of an earlier time.
    pub(super) fn new(directory: &Path, disk: &Arc<dyn Disk>, options: &Options) -> Result<Self, OpenError> {
        let spill = Self {
            directory: directory.join(DIRECTORY),
            disk: Arc::clone(disk),
            options: Options {
                durability: Durability::Volatile,
                ..options.clone()
            },
            log: OnceLock::new(),
            opening: Mutex::new(()),
            queues: Mutex::default(),
        };
        if disk.list(&spill.directory).is_ok_and(|files| !files.is_empty()) {
            drop(spill.open()?);
        }
        Ok(spill)
    }

    /// Writes messages, and waits until they can be fetched.
    pub(super) fn write(&self, queue: QueueId, entries: &[&Entry]) -> Result<(), AppendError> {
        if entries.is_empty() {
            return Ok(());
        }
        let log = self.log().map_err(|error| {
            tracing::error!(%error, "messages that should leave the memory stay");
            AppendError::Full
        })?;
        self.queues.lock().insert(queue);
        let (time, now) = (time_of_day(), now());
        let mut batch = Batch::new();
        for entry in entries {
            let place = Place {
                stream: StreamId(queue.0),
                position: entry.position.0,
                tag: entry.expires.map_or(FOR_EVER, |end| lifetime(now, end)),
            };
            push_message(&mut batch, &entry.message, time, &[place]);
        }
        let ticket = log.append(batch)?;
        Ok(log.wait(ticket)?)
    }

    /// Messages of a queue from a position on.
    pub(super) fn fetch(
        &self,
        queue: QueueId,
        from: Position,
        count: usize,
        octets: u64,
    ) -> Result<Vec<Stored>, ReadError> {
        match self.of(queue) {
            Some(log) => log.fetch(StreamId(queue.0), from.0, count, octets),
            None => Ok(Vec::new()),
        }
    }

    /// Messages are in memory again, or gone.
    pub(super) fn settle(&self, queue: QueueId, first: Position, last: Position) {
        if let Some(log) = self.of(queue)
            && let Err(error) = log.settle(StreamId(queue.0), &[first.0..=last.0])
        {
            tracing::error!(%error, "messages that are not needed stay on disk");
        }
    }

    /// The queue is gone.
    pub(super) fn remove(&self, queue: QueueId) {
        if let Some(log) = self.of(queue) {
            let mut batch = Batch::new();
            batch.remove(StreamId(queue.0));
            if let Err(error) = log.append(batch) {
                tracing::error!(%error, "messages that are not needed stay on disk");
            }
            self.queues.lock().remove(&queue);
        }
    }

    fn of(&self, queue: QueueId) -> Option<&Log> {
        let log = self.log.get()?;
        self.queues.lock().contains(&queue).then_some(log)
    }

    fn log(&self) -> Result<&Log, OpenError> {
        let _opening = self.opening.lock();
        match self.log.get() {
            Some(log) => Ok(log),
            None => {
                let log = self.open()?;
                Ok(self.log.get_or_init(|| log))
            }
        }
    }

    fn open(&self) -> Result<Log, OpenError> {
        let opened = Log::open(
            &self.directory,
            Arc::clone(&self.disk),
            self.options.clone(),
            |_| {},
        );
        opened.map(|(log, _)| log)
    }
}
