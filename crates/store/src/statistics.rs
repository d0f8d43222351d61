//! Counters of a log, for metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// A picture of a log. Everything counts from the start of the process, except what says "now".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Batches and messages appended, and the octets they took.
    pub batches: u64,
    pub messages: u64,
    pub octets: u64,
    /// Writes by the writer thread, each of all that had collected.
    pub writes: u64,
    pub syncs: u64,
    /// Time in fdatasync: all together, and the longest.
    pub sync_time: Duration,
    pub sync_longest: Duration,
    /// Segments taken into use, recycled or deleted.
    pub segments_used: u64,
    pub segments_freed: u64,
    pub checkpoints: u64,
    /// Messages copied out of nearly empty segments.
    pub moved: u64,
    /// Messages and octets read back.
    pub fetched: u64,
    pub fetched_octets: u64,
    /// Batches refused because the disk is full.
    pub refused: u64,
    /// Positions appended twice, which only a broker that miscounts does; ignored the second time.
    pub duplicates: u64,
    /// Octets read to see whether they are what was written.
    pub scrubbed_octets: u64,
    /// How often something was read, for that or for a client, that was not what was written.
    pub damaged: u64,
    /// Now: segments with something live in them, their size, streams, and messages (each in as many places as it has).
    pub segments: u64,
    pub segment_octets: u64,
    pub streams: u64,
    pub live: u64,
    /// Now: octets that wait for the writer.
    pub waiting: u64,
    /// Now: messages are refused because the disk is full.
    pub full: bool,
    /// Now: how long the disk has been busy with what was last asked of it; nothing if it is idle.
    pub unanswered: Duration,
}

/// Declares the counters that threads add to.
macro_rules! counters {
    ($($name:ident),*) => {
        #[derive(Debug, Default)]
        pub(crate) struct Counters { $(pub(crate) $name: AtomicU64,)* pub(crate) sync_nanoseconds: AtomicU64, pub(crate) sync_longest: AtomicU64, asked: Mutex<Option<Instant>> }

        impl Counters {
            pub(crate) fn picture(&self) -> Statistics {
                Statistics {
                    $($name: self.$name.load(Relaxed),)*
                    sync_time: Duration::from_nanos(self.sync_nanoseconds.load(Relaxed)),
                    sync_longest: Duration::from_nanos(self.sync_longest.load(Relaxed)),
                    unanswered: self.asked.lock().map_or(Duration::ZERO, |asked| asked.elapsed()),
                    ..Statistics::default()
                }
            }
        }
    };
}

counters!(
    batches,
    messages,
    octets,
    writes,
    syncs,
    segments_used,
    segments_freed,
    checkpoints,
    moved,
    fetched,
    fetched_octets,
    refused,
    scrubbed_octets,
    damaged
);

impl Counters {
    /// The disk is asked for something, which may take long.
    pub(crate) fn asking<T>(&self, ask: impl FnOnce() -> T) -> T {
        *self.asked.lock() = Some(Instant::now());
        let answer = ask();
        *self.asked.lock() = None;
        answer
    }

    pub(crate) fn synced(&self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.syncs.fetch_add(1, Relaxed);
        self.sync_nanoseconds.fetch_add(nanoseconds, Relaxed);
        self.sync_longest.fetch_max(nanoseconds, Relaxed);
    }
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Relaxed);
}
