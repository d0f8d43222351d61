//! A process on a host: its output in a file, its descendants, its signals, what it costs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, sysconf};

/// A process the lab started; it is killed, with its descendants, when the value is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
    what: String,
}

/// Processor time and memory of a process and all its descendants.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// User and system time together.
    pub cpu: Duration,
    /// Resident memory in bytes, pages shared between the processes counted in each.
    pub resident: u64,
    /// How many processes there are.
    pub processes: usize,
}

impl Process {
    pub(crate) fn new(child: Child, log: PathBuf, what: String) -> Self {
        Self { child, log, what }
    }

    /// Its process id as seen by the lab (inside the host it has another).
    pub fn id(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Everything it has written so far.
    pub fn log(&self) -> String {
        read_log(&self.log)
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal to the process alone.
    pub fn signal(&self, signal: Signal) {
        send(self.id(), signal);
    }

    /// Sends a signal to the process and all its descendants, parents first.
    pub fn signal_all(&self, signal: Signal) {
        send(self.id(), signal);
        for id in self.descendants() {
            send(id, signal);
        }
    }

    /// Children, their children and so on, in that order.
    pub fn descendants(&self) -> Vec<i32> {
        descendants_of(self.id())
    }

    /// Waits until the process has ended by itself; panics after `deadline`.
    #[track_caller]
    pub fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return status;
            }
            assert!(
                start.elapsed() < deadline,
                "{}: still running after {deadline:?}",
                self.what
            );
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// Asks for a graceful end (SIGTERM) and waits for it; answers how long that took.
    #[track_caller]
    pub fn terminate(&mut self, deadline: Duration) -> Duration {
        let start = Instant::now();
        self.signal(Signal::SIGTERM);
        self.wait(deadline);
        start.elapsed()
    }

    /// Kills the process and all its descendants at once, as if all of them had crashed.
    pub fn kill(&mut self) {
        // Stopped first: else one that dies a moment later can still say goodbye for the one that died before.
        self.signal_all(Signal::SIGSTOP);
        let family = self.descendants();
        send(self.id(), Signal::SIGKILL);
        family.iter().for_each(|&id| send(id, Signal::SIGKILL));
        // An error here means that it has been waited for already.
        let _ = self.child.wait();
        // The host's init reaps the rest in its own time. Until then their ids look alive, and keepalived refuses to
        // start when the id in its pid file does.
        let start = Instant::now();
        while family.iter().any(|&id| Stat::read(id).is_some()) && start.elapsed() < Duration::from_secs(2) {
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// What the process and its descendants have cost so far.
    pub fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        for id in std::iter::once(self.id()).chain(self.descendants()) {
            let Some(stat) = Stat::read(id) else { continue };
            usage.cpu += stat.cpu;
            usage.resident += stat.resident;
            usage.processes += 1;
        }
        usage
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            eprintln!("--- {} wrote (last lines):", self.what);
            tail.iter().rev().for_each(|line| eprintln!("    {line}"));
        }
    }
}

pub(crate) fn read_log(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

pub(crate) fn create_log(path: &Path) -> File {
    File::create(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A process that has ended meanwhile is no error.
fn send(id: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(id), signal);
}

fn descendants_of(ancestor: i32) -> Vec<i32> {
    let mut parents: Vec<(i32, i32)> = fs::read_dir("/proc")
        .expect("/proc is mounted")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|id| Some((id, Stat::read(id)?.parent)))
        .collect();
    parents.sort_unstable();
    let mut family = vec![ancestor];
    let mut next = 0;
    while let Some(&parent) = family.get(next) {
        family.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(id, _)| *id));
        next += 1;
    }
    family.split_off(1)
}

/// The fields of `/proc/ID/stat` the lab needs.
struct Stat {
    parent: i32,
    cpu: Duration,
    resident: u64,
}

impl Stat {
    fn read(id: i32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name in parentheses may contain anything, so fields are counted from behind it.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        let ticks = number(11)? + number(12)?;
        let ticks_per_second = sysconf(SysconfVar::CLK_TCK).ok()??.cast_unsigned();
        let page = sysconf(SysconfVar::PAGE_SIZE).ok()??.cast_unsigned();
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            cpu: Duration::from_nanos(ticks * (1_000_000_000 / ticks_per_second)),
            resident: number(21)? * page,
        })
    }
}
