//! What the threads of a log have in common. Locks are taken in the order index, files, tasks, space.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use parking_lot::{Condvar, Mutex};

use crate::disk::{Disk, DiskFile};
use crate::identity::{Identity, NODE, NodeFile};
use crate::index::{Index, Picture, Slot};
use crate::statistics::Counters;
use crate::{Fatal, Options, slots};

/// Work that the keeper may leave before the writer waits for it.
const TASKS_MAX: usize = 8;
/// Files kept open for reading.
const FILES_MAX: usize = 128;

pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) directory: PathBuf,
    pub(crate) options: Options,
    pub(crate) node: [u8; 16],
    /// See [`Identity::which`].
    pub(crate) which: (u64, u64),
    pub(crate) node_file: Arc<NodeFile>,
    pub(crate) index: Mutex<Index>,
    pub(crate) space: Mutex<Space>,
    pub(crate) counters: Counters,
    /// What the keeper has to do, in order.
    pub(crate) tasks: Mutex<VecDeque<Task>>,
    /// There is something to do, or something is done.
    pub(crate) tasks_changed: Condvar,
    /// The writer is to end its segment early, because that would free others.
    pub(crate) seal_wanted: AtomicBool,
    /// Octets of the last checkpoint.
    pub(crate) checkpoint_octets: AtomicU64,
    files: Mutex<HashMap<(Kind, u32), Arc<dyn DiskFile>>>,
}

/// Files of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Frames,
    Slots,
}

#[derive(Default)]
pub(crate) struct Space {
    pub(crate) spares: Vec<Spare>,
    /// No further spare could be had.
    pub(crate) full: bool,
    /// There is no room even for what the keeper has to write.
    pub(crate) stuck: bool,
    /// The highest number of a spare's name.
    pub(crate) numbered: u32,
}

/// A file that can become a segment: all of its room is taken, and its first octets are zeros.
pub(crate) struct Spare {
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) octets: u64,
}

pub(crate) enum Task {
    /// Write the slots of a sealed segment.
    Slots { segment: u32, slots: Arc<[Slot]> },
    /// Write a checkpoint; then these segments are free.
    Checkpoint {
        picture: Picture,
        /// The segment that it ends with, and the sequence behind it.
        segment: u32,
        next: u64,
        dead: Vec<u32>,
    },
    /// Nothing comes after it.
    End,
}

impl Shared {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        directory: PathBuf,
        options: Options,
        identity: &Identity,
    ) -> Self {
        Self {
            disk,
            directory,
            options,
            node: identity.node,
            which: identity.which,
            node_file: identity.file.clone(),
            index: Mutex::default(),
            space: Mutex::default(),
            counters: Counters::default(),
            tasks: Mutex::default(),
            tasks_changed: Condvar::new(),
            seal_wanted: AtomicBool::new(false),
            checkpoint_octets: AtomicU64::new(0),
            files: Mutex::default(),
        }
    }

    pub(crate) fn path(&self, kind: Kind, segment: u32) -> PathBuf {
        match kind {
            Kind::Frames => segment_path(&self.directory, segment),
            Kind::Slots => slots::path(&self.directory, segment),
        }
    }

    /// A file of a segment. To be called with the index locked: then the segment is in use, and stays readable through this file whatever
    /// becomes of it.
    pub(crate) fn file(&self, kind: Kind, segment: u32) -> io::Result<Arc<dyn DiskFile>> {
        let mut files = self.files.lock();
        if let Some(file) = files.get(&(kind, segment)) {
            return Ok(file.clone());
        }
        let file = self.disk.open(&self.path(kind, segment))?;
        if files.len() >= FILES_MAX {
            // Those in use have to stay: that is how the keeper knows.
            files.retain(|_, file| Arc::strong_count(file) > 1);
        }
        files.insert((kind, segment), file.clone());
        Ok(file)
    }

    pub(crate) fn remember_file(&self, segment: u32, file: Arc<dyn DiskFile>) {
        self.files.lock().insert((Kind::Frames, segment), file);
    }

    /// Forgets a segment's files. Returns the one with the frames unless a reader has it.
    pub(crate) fn forget_files(&self, segment: u32) -> Option<Arc<dyn DiskFile>> {
        let mut files = self.files.lock();
        files.remove(&(Kind::Slots, segment));
        let file = files.remove(&(Kind::Frames, segment));
        match file {
            Some(file) => (Arc::strong_count(&file) == 1).then_some(file),
            None => self.disk.open(&self.path(Kind::Frames, segment)).ok(),
        }
    }

    /// What is written now is found by the next start: the directory is where it was, and nobody else has taken it.
    pub(crate) fn still_there(&self) -> Result<(), Fatal> {
        let path = self.directory.join(NODE);
        match self.disk.which(&path) {
            Ok(which) if which != self.which => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // Whatever else it is, who writes will hear of it.
            _ => return Ok(()),
        }
        let gone =
            "removed or replaced while it was in use: bring the data directory back before the next start";
        Err(fatal("finding", &path)(io::Error::other(gone)))
    }

    /// A path that no spare has.
    pub(crate) fn spare_path(&self) -> PathBuf {
        let mut space = self.space.lock();
        space.numbered += 1;
        self.directory.join(format!("{:08x}.spare", space.numbered))
    }

    /// Takes room for a segment from the disk.
    pub(crate) fn make_spare(&self, octets: u64) -> io::Result<Spare> {
        let path = self.spare_path();
        let file = self.disk.create(&path, octets)?;
        Ok(Spare { path, file, octets })
    }

    /// Whether the writer may go on without waiting for the keeper. While the disk is not known to be full, there must be a spare more than
    /// the reserve, so that what has been admitted never takes the reserve.
    pub(crate) fn may_write(&self) -> bool {
        let tasks = self.tasks.lock().len();
        let space = self.space.lock();
        // What the keeper has left to do may free segments.
        let all_done = tasks == 0 || space.stuck;
        (space.full && all_done) || (tasks <= TASKS_MAX && space.spares.len() + 1 >= self.options.spares)
    }

    pub(crate) fn give_task(&self, task: Task) {
        self.tasks.lock().push_back(task);
        self.tasks_changed.notify_all();
    }
}

pub(crate) fn segment_path(directory: &Path, segment: u32) -> PathBuf {
    directory.join(format!("{segment:08x}.segment"))
}

/// Makes an error of the disk the end of the log.
pub(crate) fn fatal(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Fatal {
    let path = path.to_owned();
    move |source| Fatal {
        what,
        path,
        source: Arc::new(source),
    }
}
