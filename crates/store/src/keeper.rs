//! What can wait: slot files and checkpoints of sealed segments, freeing segments, having spares, and (`forward`) copying what is left in
//! nearly empty segments.
//!
//! Not a thread itself, so that tests can drive it step by step.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::disk::is_full;
use crate::format::SEGMENT_HEADER;
use crate::index::{Picture, Use};
use crate::shared::{Kind, Shared, Spare, Task, fatal};
use crate::statistics::add;
use crate::{Durability, Fatal, checkpoint, disk, slots};
use forward::Forward;

mod forward;

/// Segments with nothing live in them are worth ending the open one early if there are so many.
const DEAD_MAX: usize = 4;
/// Segments that are free when there are spares enough, and are kept all the same: a spare is made as soon as one is taken, before the next
/// segment becomes free.
const USED_AGAIN: usize = 2;
/// While the disk is full that many are: one takes the place of the open one, what is left is gained.
const TOGETHER: usize = 2;

pub(crate) struct Keeper {
    shared: Arc<Shared>,
    forward: Forward,
    over: bool,
}

impl Keeper {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            forward: Forward::default(),
            over: false,
        }
    }

    /// Does the oldest task. False: there was none, or the disk is too full for it and it has to wait.
    pub(crate) fn step(&mut self) -> Result<bool, Fatal> {
        let Some(task) = self.shared.tasks.lock().pop_front() else {
            return Ok(false);
        };
        let done = loop {
            let done = match &task {
                Task::Slots { segment, slots } => self.write_slots(*segment, slots),
                Task::Checkpoint {
                    picture,
                    segment,
                    next,
                    ..
                } => self.write_checkpoint(picture, *segment, *next),
                Task::End => Ok(()),
            };
            match done {
                // At once, before the room is taken by another spare.
                Err(error) if is_full(&error) && self.give_up_spare()? => {}
                done => break done,
            }
        };
        match done {
            Err(error) if is_full(&error) => {
                self.shared.tasks.lock().push_front(task);
                let mut space = self.shared.space.lock();
                (space.full, space.stuck) = (true, true);
                return Ok(false);
            }
            Err(error) => return Err(fatal("writing the index of", &self.shared.directory)(error)),
            Ok(()) => self.shared.space.lock().stuck = false,
        }
        match task {
            Task::Slots { segment, .. } => self.shared.index.lock().slots_written(segment),
            Task::Checkpoint { dead, .. } => {
                add(&self.shared.counters.checkpoints, 1);
                for segment in dead {
                    self.free(segment)?;
                }
                self.forward.wanted = true;
            }
            Task::End => self.over = true,
        }
        self.shared.tasks_changed.notify_all();
        Ok(true)
    }

    /// Whether the writer has ended and everything it left is done.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// Makes spares, and asks for the end of the open segment where that frees others.
    pub(crate) fn prepare(&self) -> Result<(), Fatal> {
        self.shared.still_there()?;
        loop {
            let mut space = self.shared.space.lock();
            if space.spares.len() >= self.shared.options.spares {
                space.full = false;
                break;
            }
            drop(space);
            match self.shared.make_spare(self.shared.options.segment_octets) {
                Ok(spare) => self.shared.space.lock().spares.push(spare),
                Err(error) if is_full(&error) => {
                    self.shared.space.lock().full = true;
                    break;
                }
                Err(error) => return Err(fatal("taking room in", &self.shared.directory)(error)),
            }
        }
        let full = self.shared.space.lock().full;
        let dead = match full {
            // The open segment is worth as much as any other: another has to take its place.
            true => self.shared.index.lock().dead() >= TOGETHER,
            false => {
                let index = self.shared.index.lock();
                let dead = |used: &&Use| used.live == 0 && used.places > 0;
                index.segments.values().filter(dead).count() >= DEAD_MAX
            }
        };
        if dead {
            self.shared.seal_wanted.store(true, Relaxed);
        }
        Ok(())
    }

    fn write_slots(&self, segment: u32, slots: &[crate::index::Slot]) -> io::Result<()> {
        let path = self.shared.path(Kind::Slots, segment);
        slots::write(
            &*self.shared.disk,
            &path,
            self.shared.node,
            segment,
            slots,
            self.lasts(),
        )
    }

    /// Anything of it is found again by another process.
    fn lasts(&self) -> bool {
        self.shared.options.durability != Durability::Volatile
    }

    fn write_checkpoint(&self, picture: &Picture, segment: u32, next: u64) -> io::Result<()> {
        if !self.lasts() {
            return Ok(());
        }
        let (disk, directory) = (&*self.shared.disk, &self.shared.directory);
        let octets = checkpoint::encode(picture, self.shared.node, segment, next);
        let size = octets.len() as u64;
        self.shared.checkpoint_octets.store(size, Relaxed);
        // The names of the slot files that it refers to.
        disk.sync_directory(directory)?;
        disk::replace(disk, directory, checkpoint::NAME, &[&octets])
    }

    fn give_up_spare(&self) -> Result<bool, Fatal> {
        let Some(spare) = self.shared.space.lock().spares.pop() else {
            return Ok(false);
        };
        self.shared.space.lock().full = true;
        (self.shared.disk.remove(&spare.path)).map_err(fatal("removing", &spare.path))?;
        Ok(true)
    }

    /// A segment that no checkpoint refers to becomes a spare, or is removed.
    fn free(&mut self, segment: u32) -> Result<(), Fatal> {
        self.forward.forget(segment);
        let shared = &self.shared;
        let path = shared.path(Kind::Frames, segment);
        let file = shared.forget_files(segment);
        let lasts = self.lasts();
        let wanted = {
            let space = shared.space.lock();
            let more = if space.full { 0 } else { USED_AGAIN };
            space.spares.len() < shared.options.spares + more
        };
        let octets = shared.options.segment_octets;
        match file.filter(|file| wanted && file.size().is_ok_and(|size| size == octets)) {
            Some(file) => {
                // Whoever finds it under its next name must not take it for the old segment.
                if lasts {
                    let zeros = file.write_at(0, &mut [IoSlice::new(&[0; SEGMENT_HEADER])]);
                    zeros
                        .and_then(|()| file.sync())
                        .map_err(fatal("clearing", &path))?;
                }
                let spare = Spare {
                    path: shared.spare_path(),
                    file,
                    octets,
                };
                (shared.disk.rename(&path, &spare.path)).map_err(fatal("renaming", &path))?;
                shared.space.lock().spares.push(spare);
            }
            None => shared.disk.remove(&path).map_err(fatal("removing", &path))?,
        }
        add(&shared.counters.segments_freed, 1);
        // Absent if nothing was live when it was sealed.
        match shared.disk.remove(&shared.path(Kind::Slots, segment)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(fatal("removing the slots of", &path)(error))
            }
            _ => Ok(()),
        }
    }
}
