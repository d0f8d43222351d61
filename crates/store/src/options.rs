//! What can be chosen when a log is opened.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// When a batch counts as durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// fdatasync has returned: nothing is lost in a power cut.
    #[default]
    Disk,
    /// The kernel has it, and fdatasync follows within a second: nothing is lost when the process is killed.
    System,
    /// Never synced, and everything is thrown away at the next start: for what does not fit into memory and need not survive. A position that was
    /// settled can be appended again, so nothing may be settled before it is durable.
    Volatile,
}

/// Sizes and times of a log. The defaults are those of the broker.
#[derive(Debug, Clone)]
pub struct Options {
    pub durability: Durability,
    /// Size of a segment's file. Taken from the disk beforehand; a log has at least four of them. Between 64 KiB and 1 GiB.
    pub segment_octets: u64,
    /// How much may wait for the writer before appenders have to wait too; at most half a segment. As much again may be being written.
    pub backlog_octets: usize,
    /// Time between the starts of two writes, so that batches become large also where syncing takes no time. The first after a pause does
    /// not wait.
    pub gather: Duration,
    /// Segments kept ready beside the one in use, at least three. Messages are refused when there cannot be so many: the rest is for
    /// acknowledgements, and for what it takes to free segments.
    pub spares: usize,
    /// A sealed segment is copied forward when fewer than one in so many of its messages are left.
    pub copy_below: u64,
    /// Octets a second of sealed segments that are read to see whether they are what was written; 0: none.
    pub scrub_octets: u64,
    /// Says, while the log is being opened, how far that is.
    pub recovery: Arc<RecoveryProgress>,
}

/// How much of what recovery has to read it has read. For whoever looks on from another thread.
#[derive(Debug, Default)]
pub struct RecoveryProgress {
    read: AtomicU64,
    all: AtomicU64,
}

impl RecoveryProgress {
    /// Octets that have been read, and of how many. Nothing of nothing before it is known.
    pub fn octets(&self) -> (u64, u64) {
        let all = self.all.load(Relaxed);
        (self.read.load(Relaxed).min(all), all)
    }

    pub(crate) fn begin(&self, all: u64) {
        self.read.store(0, Relaxed);
        self.all.store(all, Relaxed);
    }

    pub(crate) fn add(&self, octets: u64) {
        self.read.fetch_add(octets, Relaxed);
    }

    pub(crate) fn end(&self) {
        self.read.store(self.all.load(Relaxed), Relaxed);
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::Disk,
            segment_octets: 16 << 20,
            backlog_octets: 8 << 20,
            gather: Duration::from_micros(200),
            spares: 3,
            copy_below: 4,
            scrub_octets: 2 << 20,
            recovery: Arc::default(),
        }
    }
}
