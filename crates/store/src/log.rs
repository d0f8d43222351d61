//! The log as the broker sees it: threads around the writer and the keeper, and what waits between them.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::batch::OCTETS_MAX;
use crate::disk::Disk;
use crate::format::SEGMENT_HEADER;
use crate::index::Early;
use crate::keeper::Keeper;
use crate::recovery::recover;
use crate::scrub::Scrub;
use crate::shared::{Shared, Spare, Task, fatal};
use crate::statistics::{Statistics, add};
use crate::writer::{SYNC_AFTER, Submitted, Writer};
use crate::{
    AppendError, Batch, Durability, Fatal, OpenError, Options, ReadError, Recovered, Stored, StreamId,
    identity,
};

/// As much is written at once without waiting for more to collect.
const GATHERED_OCTETS: usize = 256 << 10;
/// Written batches kept for appenders, and how much memory one of them may have.
const USED_MAX: usize = 16;
const USED_OCTETS: usize = 128 << 10;
/// How often the keeper looks whether the disk has room again.
const KEEPER_WAKES: Duration = Duration::from_secs(1);
const KEEPER_SOON: Duration = Duration::from_millis(1);
/// When segments are looked at first, and when again after all have been.
const SCRUB_FIRST: Duration = Duration::from_secs(60);
const SCRUB_AGAIN: Duration = Duration::from_secs(3600);

/// What is told as it happens, from the writer thread: be quick.
#[derive(Debug, Clone)]
pub enum Progress {
    /// All tickets below this number are durable.
    Durable(u64),
    /// A sealed segment is not what was written: which, and where. From a thread of its own.
    Damaged(String),
    /// The log has ended, and so must the process. Tickets that are not durable never will be.
    Failed(Fatal),
}

/// A place in the order of batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

impl Ticket {
    /// Whether [`Progress::Durable`] of this number includes it.
    pub fn is_durable(self, durable: u64) -> bool {
        self.0 < durable
    }
}

/// An open log. Dropping it writes what was appended, and a checkpoint, so that the next start has nothing to do.
pub struct Log {
    shared: Arc<Shared>,
    backlog: Arc<Backlog>,
    threads: Vec<JoinHandle<()>>,
    /// Dropped to end it.
    scrubbing: Option<SyncSender<()>>,
    _lock: Box<dyn Any + Send + Sync>,
}

/// Batches that wait for the writer.
struct Backlog {
    waiting: Mutex<Waiting>,
    /// There is something to write, or nothing will come any more.
    wake: Condvar,
    /// There is room again, or something is durable, or all is over.
    moved: Condvar,
    /// Batches that were written, to be used again.
    used: Mutex<Vec<Batch>>,
    durable: AtomicU64,
    failed: OnceLock<Fatal>,
    notify: Box<dyn Fn(Progress) + Send + Sync>,
}

#[derive(Default)]
struct Waiting {
    batches: Vec<Submitted>,
    octets: usize,
    /// Ticket of the next batch.
    next: u64,
    /// The writer sleeps until it is woken.
    idle: bool,
    closing: bool,
}

impl Log {
    /// Locks the data directory, creating it, recovers what is in it, and starts the threads. `notify` is called from the writer thread.
    pub fn open(
        directory: &Path,
        disk: Arc<dyn Disk>,
        mut options: Options,
        notify: impl Fn(Progress) + Send + Sync + 'static,
    ) -> Result<(Self, Recovered), OpenError> {
        options.segment_octets = options.segment_octets.clamp(64 << 10, 1 << 30);
        options.spares = options.spares.max(3);
        options.backlog_octets = options.backlog_octets.min(options.segment_octets as usize / 2);
        let identity = identity::take(&*disk, directory)?;
        let shared = Arc::new(Shared::new(disk, directory.to_owned(), options, &identity));
        let (recovered, segment, sequence) = recover(&shared, &identity)?;
        if shared.options.durability == Durability::Volatile {
            shared.index.lock().early = Early::never();
        }
        let backlog = Arc::new(Backlog {
            waiting: Mutex::new(Waiting {
                next: sequence,
                ..Waiting::default()
            }),
            wake: Condvar::new(),
            moved: Condvar::new(),
            used: Mutex::default(),
            durable: AtomicU64::new(sequence),
            failed: OnceLock::new(),
            notify: Box::new(notify),
        });
        let mut log = Self {
            shared: shared.clone(),
            backlog: backlog.clone(),
            threads: Vec::new(),
            scrubbing: None,
            _lock: identity.lock,
        };
        let writer = Writer::new(shared.clone(), segment, sequence);
        let keeper = Keeper::new(shared.clone());
        // Whether there is room for messages is known before any are taken.
        keeper.prepare().map_err(|fatal| OpenError::Disk {
            source: io::Error::new(fatal.source.kind(), fatal.source),
            path: fatal.path,
        })?;
        log.start("log writer", {
            let (shared, backlog) = (shared.clone(), backlog.clone());
            move || write(&shared, &backlog, writer)
        })?;
        let scrubbing = (log.shared.options.durability != Durability::Volatile
            && log.shared.options.scrub_octets > 0)
            .then(|| Scrub::new(shared.clone()));
        log.start("log keeper", {
            let backlog = backlog.clone();
            move || keep(&shared, &backlog, keeper)
        })?;
        if let Some(scrubbing) = scrubbing {
            let (over, ended) = sync_channel(1);
            let limit = log.shared.options.scrub_octets;
            log.scrubbing = Some(over);
            log.start("log scrub", move || scrub(&backlog, scrubbing, limit, &ended))?;
        }
        Ok((log, recovered))
    }

    fn start(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), OpenError> {
        let (shared, backlog) = (self.shared.clone(), self.backlog.clone());
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            if catch_unwind(AssertUnwindSafe(run)).is_err() {
                // Who waits for it would wait for ever.
                let panicked = io::Error::other("a thread of the log panicked");
                backlog.fail(fatal("working in", &shared.directory)(panicked));
                shared.give_task(Task::End);
            }
        });
        self.threads.push(thread.map_err(|source| OpenError::Disk {
            path: self.shared.directory.clone(),
            source,
        })?);
        Ok(())
    }

    /// An empty batch, with the allocations of an earlier one if there is one: better than a new one for who appends much.
    pub fn batch(&self) -> Batch {
        self.backlog.used.lock().pop().unwrap_or_default()
    }

    /// Appends a batch; waits while too much waits already. An empty batch is durable when everything before it is.
    pub fn append(&self, batch: Batch) -> Result<Ticket, AppendError> {
        let room = self.admit(&batch)?;
        let mut waiting = self.backlog.waiting.lock();
        while !self.has_room(&waiting, &batch) {
            self.backlog.check()?;
            self.backlog.moved.wait(&mut waiting);
        }
        Ok(self.backlog.submit(waiting, batch, room)?)
    }

    /// Appends a batch and leaves an empty one, or leaves it as it is: with [`AppendError::Busy`] when too much waits already.
    pub fn try_append(&self, batch: &mut Batch) -> Result<Ticket, AppendError> {
        drop(self.with_room(batch)?);
        let room = self.admit(batch)?;
        let waiting = match room {
            // Others may have been faster.
            None => self.with_room(batch)?,
            // A segment that was made for it is not given back.
            Some(_) => self.backlog.waiting.lock(),
        };
        Ok(self.backlog.submit(waiting, std::mem::take(batch), room)?)
    }

    /// What waits for the writer, if the batch may wait, too.
    fn with_room(&self, batch: &Batch) -> Result<MutexGuard<'_, Waiting>, AppendError> {
        self.backlog.check()?;
        let waiting = self.backlog.waiting.lock();
        match self.has_room(&waiting, batch) {
            true => Ok(waiting),
            false => Err(AppendError::Busy {
                waiting: waiting.octets,
            }),
        }
    }

    fn has_room(&self, waiting: &Waiting, batch: &Batch) -> bool {
        waiting.octets == 0 || waiting.octets + batch.octets() as usize <= self.shared.options.backlog_octets
    }

    /// Takes what is needed to promise that the batch can be written.
    fn admit(&self, batch: &Batch) -> Result<Option<Spare>, AppendError> {
        self.backlog.check()?;
        let (octets, limit) = (batch.octets(), OCTETS_MAX);
        if octets > limit {
            return Err(AppendError::TooLarge { octets, limit });
        }
        let refuse = || {
            add(&self.shared.counters.refused, 1);
            AppendError::Full
        };
        if batch.may_be_refused() && self.shared.space.lock().full {
            return Err(refuse());
        }
        let needed = SEGMENT_HEADER as u64 + octets;
        if needed <= self.shared.options.segment_octets {
            return Ok(None);
        }
        Ok(Some(self.shared.make_spare(needed).map_err(|_| refuse())?))
    }

    /// Settles positions of a stream. See [`Batch::settle`].
    pub fn settle(
        &self,
        stream: StreamId,
        ranges: &[std::ops::RangeInclusive<u64>],
    ) -> Result<Ticket, AppendError> {
        let mut batch = Batch::new();
        batch.settle(stream, ranges);
        self.append(batch)
    }

    /// All tickets below this number are durable.
    pub fn durable(&self) -> u64 {
        self.backlog.durable.load(Ordering::Acquire)
    }

    /// Waits until a ticket is durable.
    pub fn wait(&self, ticket: Ticket) -> Result<(), Fatal> {
        let mut waiting = self.backlog.waiting.lock();
        while !ticket.is_durable(self.durable()) {
            self.backlog.check()?;
            self.backlog.moved.wait(&mut waiting);
        }
        Ok(())
    }

    /// Messages of a stream from a position on, in order: up to `messages`, of about `octets` together, at least one if there is any. They
    /// share memory, so hold all or none. Only what is written is found: whoever appends keeps a message until its ticket is durable.
    ///
    /// When the first is damaged that is the error, which names its position; fetch from the next to go on.
    pub fn fetch(
        &self,
        stream: StreamId,
        from: u64,
        messages: usize,
        octets: u64,
    ) -> Result<Vec<Stored>, ReadError> {
        let read = self.shared.fetch(stream, from, messages, octets);
        if matches!(read, Err(ReadError::Corrupt { .. })) {
            add(&self.shared.counters.damaged, 1);
        }
        read
    }

    /// Whether messages are refused because the disk is full.
    pub fn is_full(&self) -> bool {
        self.shared.space.lock().full
    }

    /// The last ticket, if half of what may wait for the writer does: who brings more should wait until it is durable.
    pub fn behind(&self) -> Option<Ticket> {
        let waiting = self.backlog.waiting.lock();
        let is_behind = waiting.octets > self.shared.options.backlog_octets / 2;
        is_behind.then(|| Ticket(waiting.next.saturating_sub(1)))
    }

    /// Octets that the file system of the data directory still has for us.
    pub fn free_octets(&self) -> io::Result<u64> {
        self.shared.disk.free(&self.shared.directory)
    }

    pub fn statistics(&self) -> Statistics {
        let mut picture = self.shared.counters.picture();
        let index = self.shared.index.lock();
        picture.segments = index.segments.len() as u64;
        picture.segment_octets = index.segments.values().map(|used| used.octets).sum();
        picture.live = index.segments.values().map(|used| used.live).sum();
        picture.streams = index.streams.len() as u64;
        picture.duplicates = index.duplicates;
        drop(index);
        picture.waiting = self.backlog.waiting.lock().octets as u64;
        picture.full = self.is_full();
        picture
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.scrubbing = None;
        self.backlog.waiting.lock().closing = true;
        self.backlog.wake.notify_all();
        self.backlog.moved.notify_all();
        for thread in self.threads.drain(..) {
            // A panic has been told as what it is, the end of the log.
            thread.join().ok();
        }
    }
}

impl Backlog {
    fn check(&self) -> Result<(), Fatal> {
        self.failed.get().map_or(Ok(()), |fatal| Err(fatal.clone()))
    }

    fn submit(
        &self,
        mut waiting: MutexGuard<'_, Waiting>,
        mut batch: Batch,
        room: Option<Spare>,
    ) -> Result<Ticket, Fatal> {
        self.check()?;
        batch.sum();
        let before = waiting.octets;
        waiting.octets += batch.octets() as usize;
        waiting.batches.push(Submitted { batch, room });
        let ticket = Ticket(waiting.next);
        waiting.next += 1;
        let gathered = before < GATHERED_OCTETS && waiting.octets >= GATHERED_OCTETS;
        let wake = std::mem::take(&mut waiting.idle) || gathered;
        drop(waiting);
        if wake {
            self.wake.notify_one();
        }
        Ok(ticket)
    }

    fn fail(&self, error: Fatal) {
        // Said before any call can fail with it: whoever meets it finds that everybody has been told.
        self.failed.get_or_init(|| {
            (self.notify)(Progress::Failed(error.clone()));
            error
        });
        // Whoever waits is to look, and cannot be between looking and waiting while we hold this.
        drop(self.waiting.lock());
        self.moved.notify_all();
        self.wake.notify_all();
    }

    /// Keeps batches for appenders, unless they hold much memory.
    fn keep(&self, written: Vec<Submitted>) {
        let mut used = self.used.lock();
        let room = USED_MAX.saturating_sub(used.len());
        let small = written
            .into_iter()
            .map(|one| one.batch)
            .filter(|batch| batch.capacity() <= USED_OCTETS);
        used.extend(small.take(room).map(|mut batch| {
            batch.clear();
            batch
        }));
    }

    fn advance(&self, durable: u64) {
        self.durable.store(durable, Ordering::Release);
        drop(self.waiting.lock());
        self.moved.notify_all();
        (self.notify)(Progress::Durable(durable));
    }
}

/// The writer thread.
fn write(shared: &Shared, backlog: &Backlog, mut writer: Writer) {
    let mut last = None;
    let result = loop {
        let mut waiting = backlog.waiting.lock();
        if backlog.failed.get().is_some() {
            break Ok(());
        }
        if waiting.batches.is_empty() && !waiting.closing {
            waiting.idle = true;
            let timeout = if writer.unsynced() {
                SYNC_AFTER
            } else {
                KEEPER_WAKES
            };
            let late = backlog.wake.wait_for(&mut waiting, timeout).timed_out();
            waiting.idle = false;
            drop(waiting);
            let wanted = late && shared.seal_wanted.swap(false, Relaxed);
            let done = if wanted {
                shared.counters.asking(|| writer.seal(true))
            } else if late {
                shared.counters.asking(|| writer.sync())
            } else {
                Ok(())
            };
            match done {
                Ok(()) => continue,
                Err(error) => break Err(error),
            }
        }
        if waiting.batches.is_empty() {
            drop(waiting);
            break writer.seal(true);
        }
        // Not at once after the last time: what is worth a write should collect, however fast the disk.
        let earliest = last.map(|last: Instant| last + shared.options.gather);
        while !waiting.closing
            && waiting.octets < GATHERED_OCTETS
            && earliest.is_some_and(|earliest| Instant::now() < earliest)
        {
            let Some(earliest) = earliest else { break };
            backlog.wake.wait_until(&mut waiting, earliest);
        }
        let mut batches = std::mem::take(&mut waiting.batches);
        waiting.octets = 0;
        drop(waiting);
        last = Some(Instant::now());
        wait_for_keeper(shared, backlog);
        if let Err(error) = shared.counters.asking(|| writer.commit(&mut batches)) {
            break Err(error);
        }
        backlog.advance(writer.sequence());
        backlog.keep(batches);
    };
    if let Err(error) = result {
        backlog.fail(error);
    }
    // Nothing will come any more: the keeper ends.
    shared.tasks.lock().push_back(Task::End);
    shared.tasks_changed.notify_all();
}

/// Until there are spares and the keeper is not far behind, or the disk is full.
fn wait_for_keeper(shared: &Shared, backlog: &Backlog) {
    while !shared.may_write() && backlog.failed.get().is_none() {
        let mut tasks = shared.tasks.lock();
        // What changed between looking and locking is noticed a moment later.
        shared.tasks_changed.wait_for(&mut tasks, KEEPER_SOON);
    }
}

/// The thread that looks for damage.
fn scrub(backlog: &Backlog, mut scrub: Scrub, limit: u64, ended: &Receiver<()>) {
    let mut pause = SCRUB_FIRST;
    while ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        let read = scrub.step(|what| (backlog.notify)(Progress::Damaged(what)));
        pause = read.map_or(SCRUB_AGAIN, |octets| {
            Duration::from_secs_f64(octets as f64 / limit as f64)
        });
    }
}

/// The keeper thread.
fn keep(shared: &Shared, backlog: &Backlog, mut keeper: Keeper) {
    loop {
        let result = (|| {
            keeper.prepare()?;
            while keeper.step()? {
                keeper.prepare()?;
            }
            Ok(())
        })();
        if let Err(error) = result {
            return backlog.fail(error);
        }
        if keeper.is_over() {
            return;
        }
        for batch in keeper.copy_forward() {
            // Past the limit: the writer may be waiting for us.
            if backlog.submit(backlog.waiting.lock(), batch, None).is_err() {
                return;
            }
        }
        let mut tasks = shared.tasks.lock();
        if shared.space.lock().full && matches!(tasks.back(), Some(Task::End)) {
            // There is no room for the checkpoint: recovery will do without.
            return;
        }
        if tasks.is_empty() && shared.space.lock().spares.len() >= shared.options.spares {
            shared.tasks_changed.wait_for(&mut tasks, KEEPER_WAKES);
        } else if shared.space.lock().full {
            shared.tasks_changed.wait_for(&mut tasks, KEEPER_WAKES / 4);
        }
    }
}
