//! Memory or disk is short: who publishes waits until it is not.
//!
//! ```text
//!   every 20 ms to a second: memory of the process ┐
//!   every one to five seconds: room on disk        ┴─▶ Alarms ── ALARM ──▶ every connection: not read once it publishes
//! ```
//!
//! Connections that consume and acknowledge go on: what they do makes room.

mod machine;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::node::{Node, Settings};
use crate::output::ALARM;

/// Between two looks at memory that is far from its limit, and between two that is near it: what a fast publisher brings
/// meanwhile is above the limit.
const FAR: Duration = Duration::from_millis(250);
const NEAR: Duration = Duration::from_millis(20);
/// The same where more is left than can be filled in that time: a broker that does nothing need not be woken often.
const FARTHEST: Duration = Duration::from_secs(1);
/// Between two looks at the disk, and where much is left.
const DISK: Duration = Duration::from_secs(1);
const DISK_FARTHEST: Duration = Duration::from_secs(5);
/// Octets that clients can fill in a second, on machines faster than those we have seen.
const FASTEST: u64 = 4 << 30;
/// A disk that has not answered for so long is spoken of.
const UNANSWERED: Duration = Duration::from_secs(5);

/// How much memory the broker may use before publishers wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryLimit {
    /// Millionths of what the machine has, or the control group that the process is in.
    Millionths(u32),
    /// Octets.
    Octets(u64),
}

/// How much has to be free where the data is; with less, publishers wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskLimit {
    /// Millionths of the memory that the machine has, or the control group.
    MillionthsOfMemory(u32),
    /// Octets.
    Octets(u64),
}

impl fmt::Display for MemoryLimit {
    /// As it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Millionths(part) => write!(f, "{}", f64::from(*part) / 1e6),
            Self::Octets(octets) => write!(f, "{octets}"),
        }
    }
}

impl fmt::Display for DiskLimit {
    /// As it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MillionthsOfMemory(part) => MemoryLimit::Millionths(*part).fmt(f),
            Self::Octets(octets) => write!(f, "{octets}"),
        }
    }
}

impl MemoryLimit {
    /// RabbitMQ 3.10's: two fifths.
    pub const DEFAULT: Self = Self::Millionths(400_000);

    /// In octets, of a machine with so much memory.
    #[must_use]
    pub fn octets(self, memory: u64) -> u64 {
        match self {
            Self::Millionths(part) => millionths(memory, part),
            Self::Octets(octets) => octets,
        }
    }
}

impl DiskLimit {
    /// RabbitMQ 3.10's: 50 MB.
    pub const DEFAULT: Self = Self::Octets(50_000_000);

    /// In octets, on a machine with so much memory.
    #[must_use]
    pub fn octets(self, memory: u64) -> u64 {
        match self {
            Self::MillionthsOfMemory(part) => millionths(memory, part),
            Self::Octets(octets) => octets,
        }
    }
}

fn millionths(of: u64, part: u32) -> u64 {
    u64::try_from(u128::from(of) * u128::from(part) / 1_000_000).unwrap_or(u64::MAX)
}

/// What is short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Short {
    /// The broker uses more memory than it may.
    pub memory: bool,
    /// The disk has less room than it has to.
    pub disk: bool,
}

impl Short {
    const MEMORY: u8 = 1;
    const DISK: u8 = 2;

    const fn of(bits: u8) -> Self {
        Self {
            memory: bits & Self::MEMORY != 0,
            disk: bits & Self::DISK != 0,
        }
    }

    const fn bits(self) -> u8 {
        self.memory as u8 * Self::MEMORY + self.disk as u8 * Self::DISK
    }

    /// Anything.
    #[must_use]
    pub const fn any(self) -> bool {
        self.memory || self.disk
    }

    /// What a client hears of it.
    pub(crate) const fn reason(self) -> &'static str {
        match (self.memory, self.disk) {
            (true, true) => "low on disk & memory",
            (false, true) => "low on disk",
            (_, false) => "low on memory",
        }
    }
}

/// What was measured last, in octets, and what it is compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// Memory that the process has.
    pub memory: u64,
    /// Memory from which on publishers wait.
    pub memory_limit: u64,
    /// Room where the data is; nothing without a data directory.
    pub disk: Option<u64>,
    /// Room below which publishers wait.
    pub disk_limit: u64,
}

impl Measured {
    /// The same beside these limits, on a machine with so much memory.
    fn with(self, settings: &Settings, total: u64) -> Self {
        Self {
            memory_limit: settings.memory_limit.octets(total),
            disk_limit: settings.disk_free_limit.octets(total),
            ..self
        }
    }
}

/// What is short on this node, and what was measured.
#[derive(Debug, Default)]
pub struct Alarms {
    short: AtomicU8,
    memory: AtomicU64,
    memory_limit: AtomicU64,
    /// One more than the octets; 0: there is no disk.
    disk: AtomicU64,
    disk_limit: AtomicU64,
    /// The log refuses messages.
    full: AtomicBool,
    /// When memory became short, and when the disk did, in microseconds since 1970.
    since: [AtomicU64; 2],
    /// Alarms since the node started.
    raised: AtomicU64,
    /// Connections that were blocked since the node started.
    pub(crate) blocked: AtomicU64,
    /// The disk does not answer, and that was said.
    unanswered: AtomicBool,
    runs: AtomicBool,
}

impl Alarms {
    /// What is short now.
    #[must_use]
    #[inline]
    pub fn short(&self) -> Short {
        Short::of(self.short.load(Ordering::Relaxed))
    }

    /// What was measured last.
    #[must_use]
    pub fn measured(&self) -> Measured {
        Measured {
            memory: self.memory.load(Ordering::Relaxed),
            memory_limit: self.memory_limit.load(Ordering::Relaxed),
            disk: self.disk.load(Ordering::Relaxed).checked_sub(1),
            disk_limit: self.disk_limit.load(Ordering::Relaxed),
        }
    }

    /// How often something became short, and how often a connection had to wait for that.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (
            self.raised.load(Ordering::Relaxed),
            self.blocked.load(Ordering::Relaxed),
        )
    }

    /// For how long the disk has not answered, if that is long.
    pub(crate) fn disk_unanswered(&self, node: &Node) -> Option<Duration> {
        let unanswered = node.log.statistics()?.unanswered;
        let unanswered = Some(unanswered).filter(|time| *time >= UNANSWERED);
        let was_answered = !self.unanswered.swap(unanswered.is_some(), Ordering::Relaxed);
        match (unanswered, was_answered) {
            (Some(time), true) => tracing::error!(
                seconds = time.as_secs(),
                "the disk does not answer: confirms and changes wait for it; see dmesg and the storage"
            ),
            (None, false) => tracing::warn!("the disk answers again"),
            _ => {}
        }
        unanswered
    }

    /// When memory became short the last time, or the disk.
    #[must_use]
    pub fn since(&self, disk: bool) -> SystemTime {
        let [memory, of_disk] = &self.since;
        let since = if disk { of_disk } else { memory };
        UNIX_EPOCH + Duration::from_micros(since.load(Ordering::Relaxed))
    }

    /// Starts the task that measures, which ends with the node. Once; after that it does nothing.
    pub(crate) fn start(&self, node: &Arc<Node>) {
        if !self.runs.swap(true, Ordering::AcqRel) {
            tokio::spawn(watch(Arc::downgrade(node)));
        }
    }

    /// There are other limits, which are compared with what was measured last: an operator who blocks publishers need not wait for the
    /// next look. Says whether what is short is something else than before.
    pub(crate) fn limits_change(&self, settings: &Settings) -> bool {
        if self.memory.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let measured = self.measured().with(settings, machine::memory());
        self.judge(measured, self.full.load(Ordering::Relaxed))
    }

    /// Keeps what was measured. Says whether what is short is something else than before.
    fn judge(&self, measured: Measured, is_full: bool) -> bool {
        self.memory.store(measured.memory, Ordering::Relaxed);
        self.memory_limit.store(measured.memory_limit, Ordering::Relaxed);
        let disk = measured.disk.map_or(0, |octets| octets.saturating_add(1));
        self.disk.store(disk, Ordering::Relaxed);
        self.disk_limit.store(measured.disk_limit, Ordering::Relaxed);
        self.full.store(is_full, Ordering::Relaxed);
        let now = Short {
            memory: measured.memory > measured.memory_limit,
            disk: is_full || measured.disk.is_some_and(|free| free < measured.disk_limit),
        };
        let before = Short::of(self.short.swap(now.bits(), Ordering::AcqRel));
        let free = measured.disk.unwrap_or_default();
        for (what, was, is, since, octets, limit) in [
            (
                "memory",
                before.memory,
                now.memory,
                &self.since[0],
                measured.memory,
                measured.memory_limit,
            ),
            (
                "disk",
                before.disk,
                now.disk,
                &self.since[1],
                free,
                measured.disk_limit,
            ),
        ] {
            match (was, is) {
                (false, true) => {
                    let at = warren_kit::clock::wall_clock().duration_since(UNIX_EPOCH);
                    let micros = u64::try_from(at.unwrap_or_default().as_micros());
                    since.store(micros.unwrap_or(u64::MAX), Ordering::Relaxed);
                    self.raised.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(
                        octets,
                        limit,
                        "{what} resource limit alarm set: publishers are blocked; `warren broker why` says what to do"
                    );
                }
                (true, false) => tracing::warn!(octets, limit, "{what} resource limit alarm cleared"),
                _ => {}
            }
        }
        before != now
    }
}

async fn watch(node: Weak<Node>) {
    let (mut room_was, mut looked_at, mut look) = ((None, false), None::<Instant>, None);
    let (mut every, mut asked_at) = (DISK, Instant::now());
    loop {
        let Some(node) = node.upgrade() else { return };
        if asked_at.elapsed() >= DISK {
            node.alarms.disk_unanswered(&node);
            asked_at = Instant::now();
        }
        if looked_at.is_none_or(|at| at.elapsed() >= every) {
            let (asked, was_known) = (Arc::clone(&node), looked_at.is_none() || room_was.0.is_some());
            let looks =
                look.get_or_insert_with(|| tokio::task::spawn_blocking(move || room(&asked, was_known)));
            // Disks can hang; memory is looked at all the same.
            if let Ok(found) = tokio::time::timeout(NEAR, looks).await {
                room_was = found.unwrap_or_default();
                (looked_at, look) = (Some(Instant::now()), None);
            }
        }
        let (disk, is_full) = room_was;
        let measured = Measured {
            memory: machine::resident(),
            disk,
            ..Measured::default()
        };
        let measured = measured.with(&node.settings(), machine::memory());
        if node.alarms.judge(measured, is_full) {
            node.registry.tell(ALARM);
        }
        drop(node);
        every = disk_pause(measured);
        tokio::time::sleep(pause(measured)).await;
    }
}

/// Room where the data is, and whether the log refuses messages.
fn room(node: &Node, was_known: bool) -> (Option<u64>, bool) {
    let Some(space) = node.log.space() else {
        return (None, false);
    };
    if let (Err(error), true) = (&space.free, was_known) {
        tracing::warn!(%error, "room on disk is unknown");
    }
    (space.free.ok(), space.is_full)
}

/// The nearer to the limit, the sooner it is looked again.
fn pause(measured: Measured) -> Duration {
    match measured.memory > measured.memory_limit / 2 {
        true => NEAR,
        false => filled_in(measured.memory_limit - measured.memory).clamp(FAR, FARTHEST),
    }
}

fn disk_pause(measured: Measured) -> Duration {
    let left = measured
        .disk
        .unwrap_or_default()
        .saturating_sub(measured.disk_limit);
    filled_in(left).clamp(DISK, DISK_FARTHEST)
}

fn filled_in(octets: u64) -> Duration {
    Duration::from_millis(octets / (FASTEST / 1000))
}
