//! Processor time: of some processes exactly, of the machine as the kernel counts it.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::time::Duration;

use nix::unistd::{SysconfVar, sysconf};

/// User and system time of the process and its descendants so far, from the scheduler's own count where there is one
/// (nanoseconds; `stat` has hundredths of a second).
pub(crate) fn of_unit(id: u32) -> Duration {
    family(id).into_iter().map(of_process).sum()
}

/// Anonymous memory of the process and its descendants, in octets.
pub(crate) fn memory_of_unit(id: u32) -> u64 {
    from_status(id, "RssAnon:")
}

/// Resident memory of the process and its descendants, in octets; what several of them share is in it several times.
pub(crate) fn resident_of_unit(id: u32) -> u64 {
    from_status(id, "VmRSS:")
}

fn from_status(id: u32, field: &str) -> u64 {
    let of_one = |id: u32| -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
    };
    family(id).into_iter().filter_map(of_one).sum()
}

/// The process and its descendants.
pub(crate) fn family(id: u32) -> Vec<u32> {
    let mut family = vec![id];
    let mut next = 0;
    while let Some(&parent) = family.get(next) {
        let Ok(tasks) = fs::read_dir(format!("/proc/{parent}/task")) else {
            break;
        };
        for task in tasks.filter_map(Result::ok) {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            family.extend(
                children
                    .split_whitespace()
                    .filter_map(|id| id.parse::<u32>().ok()),
            );
        }
        next += 1;
    }
    family
}

fn of_process(id: u32) -> Duration {
    of_threads(id).map_or_else(
        || stat(id).map(|stat| stat.own).unwrap_or_default(),
        |threads| threads.values().sum(),
    )
}

/// The same of each thread of a process, by its number; `None` if the scheduler does not count.
pub(crate) fn of_threads(id: u32) -> Option<BTreeMap<u32, Duration>> {
    let tasks = fs::read_dir(format!("/proc/{id}/task")).ok()?;
    tasks
        .filter_map(Result::ok)
        .map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            let nanoseconds = text.split_whitespace().next()?.parse().ok()?;
            let id = task.file_name().to_str()?.parse().ok()?;
            Some((id, Duration::from_nanos(nanoseconds)))
        })
        .collect()
}

/// What the machine and everybody else on it had done at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Machine {
    busy: Duration,
    others: Duration,
}

impl Machine {
    /// `ours` are the processes that take part in the benchmark.
    pub(crate) fn now(ours: &[u32]) -> Self {
        let ours: HashSet<u32> = ours.iter().copied().collect();
        let ids = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
        let others = ids
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|id| !ours.contains(id))
            .filter_map(stat)
            .filter(|stat| !stat.kernel)
            .map(|stat| stat.own + stat.waited_for)
            .sum();
        Self { busy: busy(), others }
    }

    /// Busy time since `before`, without what processes outside the benchmark used; the kernel's own threads and
    /// interrupts are in it. Also how many cores those others kept busy.
    pub(crate) fn since(&self, before: &Self, took: Duration) -> (Duration, f64) {
        let others = self.others.saturating_sub(before.others);
        let busy = (self.busy - before.busy).saturating_sub(others);
        (busy, others.as_secs_f64() / took.as_secs_f64())
    }
}

/// All time that was not idle: user, nice, system, irq, softirq.
fn busy() -> Duration {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let fields: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    ticks(
        [0, 1, 2, 5, 6]
            .iter()
            .filter_map(|&index| fields.get(index))
            .sum(),
    )
}

struct Stat {
    kernel: bool,
    own: Duration,
    /// Of children that have ended.
    waited_for: Duration,
}

fn stat(id: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        // The kernel's threads are children of number 2.
        kernel: id == 2 || number(1)? == 2,
        own: ticks(number(11)? + number(12)?),
        waited_for: ticks(number(13)? + number(14)?),
    })
}

fn ticks(count: u64) -> Duration {
    let per_second = sysconf(SysconfVar::CLK_TCK)
        .ok()
        .flatten()
        .unwrap_or(100)
        .unsigned_abs();
    Duration::from_nanos(count * (1_000_000_000 / per_second))
}
