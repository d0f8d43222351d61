//! The one that writes: takes whatever has collected, writes it in one go, syncs once, and takes it into the index.
//!
//! Not a thread itself, so that tests can drive it step by step.

use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::disk::DiskFile;
use crate::format::{FRAME_HEADER, SEGMENT_HEADER, SegmentHeader};
use crate::identity::{NODE, Promised};
use crate::shared::{Kind, Shared, Spare, Task, fatal};
use crate::statistics::add;
use crate::{Batch, Durability, Fatal};

/// With [`Durability::System`]: how long something written stays unsynced.
pub(crate) const SYNC_AFTER: Duration = Duration::from_secs(1);
/// A checkpoint is written when this many times its own size has been appended.
const CHECKPOINT_SHARE: u64 = 4;

/// A batch on its way to the disk.
pub(crate) struct Submitted {
    pub(crate) batch: Batch,
    /// For a batch that needs a segment to itself.
    pub(crate) room: Option<Spare>,
}

pub(crate) struct Writer {
    shared: Arc<Shared>,
    active: Option<Active>,
    /// Of the last segment that was begun.
    segment: u32,
    /// Of the next frame.
    sequence: u64,
    /// Everything below is synced.
    safe: u64,
    last_sync: Instant,
    since_checkpoint: u64,
}

/// The open segment.
struct Active {
    file: Arc<dyn DiskFile>,
    end: u64,
    octets: u64,
    /// Nothing has been written into it.
    fresh: bool,
    /// Its name may be lost in a power cut, and that it was would not be noticed.
    unnamed: bool,
    unsynced: bool,
}

impl Writer {
    /// Goes on behind what recovery found.
    pub(crate) fn new(shared: Arc<Shared>, segment: u32, sequence: u64) -> Self {
        Self {
            shared,
            active: None,
            segment,
            sequence,
            safe: sequence,
            last_sync: Instant::now(),
            since_checkpoint: 0,
        }
    }

    /// Sequence of the next batch: all below are written.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Makes the batches durable, in this order.
    pub(crate) fn commit(&mut self, batches: &mut [Submitted]) -> Result<(), Fatal> {
        if self.shared.seal_wanted.swap(false, Relaxed) {
            self.seal(true)?;
        }
        let mut rest = batches;
        while !rest.is_empty() {
            let room = rest.first_mut().and_then(|first| first.room.take());
            if room.is_some() {
                self.begin(room)?;
            }
            let mut left = self
                .active
                .as_ref()
                .map_or(0, |active| active.octets - active.end);
            let fits = rest.iter().take_while(|one| {
                let octets = one.batch.octets();
                let fits = one.room.is_none() && octets <= left;
                left = left.saturating_sub(octets);
                fits
            });
            let count = fits.count();
            if count == 0 {
                self.begin(None)?;
                continue;
            }
            let (now, later) = rest.split_at_mut(count);
            self.write(now)?;
            rest = later;
        }
        Ok(())
    }

    /// Writes batches that fit into the open segment.
    fn write(&mut self, batches: &[Submitted]) -> Result<(), Fatal> {
        let Some(active) = &mut self.active else {
            return Ok(());
        };
        let path = || self.shared.path(Kind::Frames, self.segment);
        let header = SegmentHeader {
            node: self.shared.node,
            segment: self.segment,
            first: self.sequence,
        };
        let header = header.encode();
        let numbered = batches.iter().zip(self.sequence..);
        let heads: Vec<_> = numbered
            .map(|(one, sequence)| one.batch.header(self.segment, sequence, self.safe).encode())
            .collect();
        let mut slices = Vec::with_capacity(1 + batches.len() * 3);
        let mut start = active.end;
        if std::mem::take(&mut active.fresh) {
            start = 0;
            slices.push(IoSlice::new(&header));
        }
        for (head, one) in heads.iter().zip(batches) {
            slices.push(IoSlice::new(head));
            one.batch.slices(&mut slices);
        }
        (active.file.write_at(start, &mut slices)).map_err(|error| fatal("writing to", &path())(error))?;
        active.unsynced = true;
        self.sequence += batches.len() as u64;
        let due = match self.shared.options.durability {
            Durability::Disk => true,
            Durability::System => self.last_sync.elapsed() >= SYNC_AFTER,
            Durability::Volatile => false,
        };
        if due {
            self.sync()?;
        }
        self.account(batches)
    }

    /// Takes written batches into the index.
    fn account(&mut self, batches: &[Submitted]) -> Result<(), Fatal> {
        let Some(active) = &mut self.active else {
            return Ok(());
        };
        let mut index = self.shared.index.lock();
        let (mut messages, before) = (0, active.end);
        for one in batches {
            let content = active.end + FRAME_HEADER as u64 + one.batch.descriptors().len() as u64;
            index
                .apply(one.batch.descriptors(), content as u32)
                .ok_or_else(|| {
                    let path = self.shared.path(Kind::Frames, self.segment);
                    fatal("encoding for", &path)(std::io::Error::other("a batch that cannot be decoded"))
                })?;
            active.end += one.batch.octets();
            messages += u64::from(one.batch.messages());
        }
        index.written(active.end);
        drop(index);
        let counters = &self.shared.counters;
        add(&counters.writes, 1);
        add(&counters.batches, batches.len() as u64);
        add(&counters.messages, messages);
        add(&counters.octets, active.end - before);
        Ok(())
    }

    /// Syncs what is not.
    pub(crate) fn sync(&mut self) -> Result<(), Fatal> {
        let Some(active) = &mut self.active else {
            return Ok(());
        };
        if !active.unsynced || self.shared.options.durability == Durability::Volatile {
            return Ok(());
        }
        let path = || self.shared.path(Kind::Frames, self.segment);
        let start = Instant::now();
        active
            .file
            .sync()
            .map_err(|error| fatal("syncing", &path())(error))?;
        self.last_sync = Instant::now();
        self.shared.counters.synced(self.last_sync - start);
        if std::mem::take(&mut active.unnamed) {
            let directory = &self.shared.directory;
            (self.shared.disk.sync_directory(directory)).map_err(fatal("syncing", directory))?;
            // In this order: what is promised is there.
            let promised = Promised {
                segment: self.segment,
                batches: self.sequence,
            };
            (self.shared.node_file.promise(promised)).map_err(fatal("writing to", &directory.join(NODE)))?;
        }
        active.unsynced = false;
        self.safe = self.sequence;
        Ok(())
    }

    /// Whether something written waits to be synced.
    pub(crate) fn unsynced(&self) -> bool {
        let volatile = self.shared.options.durability == Durability::Volatile;
        !volatile && self.active.as_ref().is_some_and(|active| active.unsynced)
    }

    /// Ends the open segment, with a checkpoint if it is time for one or `at_once`. The next write begins another.
    pub(crate) fn seal(&mut self, at_once: bool) -> Result<(), Fatal> {
        self.sync()?;
        let Some(active) = self.active.take() else {
            return Ok(());
        };
        self.since_checkpoint += active.end;
        let share = self.shared.checkpoint_octets.load(Relaxed) * CHECKPOINT_SHARE;
        let due = at_once || self.since_checkpoint >= share.max(self.shared.options.segment_octets / 2);
        let mut index = self.shared.index.lock();
        let slots = index.seal();
        let segment = self.segment;
        if !slots.is_empty() {
            self.shared.give_task(Task::Slots { segment, slots });
        }
        if due {
            self.since_checkpoint = 0;
            let dead = index.forget_dead();
            let picture = index.picture();
            index.early.age();
            self.shared.give_task(Task::Checkpoint {
                picture,
                segment,
                next: self.sequence,
                dead,
            });
        }
        Ok(())
    }

    /// Ends the open segment and begins another, in the given room or a spare.
    fn begin(&mut self, room: Option<Spare>) -> Result<(), Fatal> {
        self.seal(false)?;
        let spare = match room {
            Some(spare) => spare,
            None => self.spare()?,
        };
        self.segment += 1;
        let path = self.shared.path(Kind::Frames, self.segment);
        (self.shared.disk.rename(&spare.path, &path)).map_err(fatal("renaming a file to", &path))?;
        let mut index = self.shared.index.lock();
        index.begin(self.segment);
        self.shared.remember_file(self.segment, spare.file.clone());
        drop(index);
        add(&self.shared.counters.segments_used, 1);
        self.active = Some(Active {
            file: spare.file,
            end: SEGMENT_HEADER as u64,
            octets: spare.octets,
            fresh: true,
            unnamed: true,
            unsynced: false,
        });
        Ok(())
    }

    fn spare(&self) -> Result<Spare, Fatal> {
        let spare = self.shared.space.lock().spares.pop();
        // The keeper makes another. It cannot be between looking and waiting while we hold this.
        drop(self.shared.tasks.lock());
        self.shared.tasks_changed.notify_all();
        match spare {
            Some(spare) => Ok(spare),
            // It did not keep up, or the reserve is used up.
            None => {
                let octets = self.shared.options.segment_octets;
                let directory = &self.shared.directory;
                (self.shared.make_spare(octets))
                    .map_err(fatal("taking room for acknowledgements in", directory))
            }
        }
    }
}
