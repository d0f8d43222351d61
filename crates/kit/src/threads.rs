//! Whether the system lets a process have as many threads as it needs, asked before anybody wants them who can only panic without, or wait
//! for ever.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::process::{Resource, getrlimit};

/// The system lets too few threads be started.
#[derive(Debug, thiserror::Error)]
#[error("of {needed} threads that are needed the system lets {started} be started ({source}): {limits}")]
pub struct TooFewThreads {
    needed: usize,
    started: usize,
    source: io::Error,
    limits: String,
}

/// Starts so many threads at once, which end at once.
///
/// # Errors
/// Not all could be.
pub fn can_be_started(needed: usize) -> Result<(), TooFewThreads> {
    let (mut started, mut refused) = (0, None);
    thread::scope(|scope| {
        let mut threads = Vec::with_capacity(needed);
        while threads.len() < needed && refused.is_none() {
            match thread::Builder::new().spawn_scoped(scope, thread::park) {
                Ok(thread) => threads.push(thread),
                Err(error) => refused = Some(error),
            }
        }
        started = threads.len();
        threads.iter().for_each(|thread| thread.thread().unpark());
    });
    refused.map_or(Ok(()), |source| Err(TooFewThreads::new(needed, started, source)))
}

impl TooFewThreads {
    /// One more thread was refused.
    pub(crate) fn new(needed: usize, started: usize, source: io::Error) -> Self {
        Self {
            needed,
            started,
            source,
            limits: limits(),
        }
    }
}

/// Which limits there are, and how they are raised.
fn limits() -> String {
    let user = getrlimit(Resource::Nproc).current.map(|limit| {
        format!(
            "this user may have {limit} in all his processes (raise LimitNPROC of the unit, or ulimit -u)"
        )
    });
    let group = fs::read_to_string("/proc/self/cgroup").ok();
    let group = group.and_then(|text| lowest(Path::new("/sys/fs/cgroup"), &text));
    let group = group.map(|(limit, file)| {
        format!(
            "{} says {limit} (raise TasksMax of the unit, or the container's limit of pids)",
            file.display()
        )
    });
    let known: Vec<_> = user.into_iter().chain(group).collect();
    match known.is_empty() {
        true => "make room in kernel.threads-max, or memory".to_owned(),
        false => known.join("; "),
    }
}

/// The lowest limit of the process's cgroup and of those above it, and the file that says so.
fn lowest(root: &Path, of_process: &str) -> Option<(u64, PathBuf)> {
    let group = of_process.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let groups = root.join(group);
    let files = groups.ancestors().take_while(|group| group.starts_with(root));
    files
        .filter_map(|group| {
            let file = group.join("pids.max");
            let limit = fs::read_to_string(&file).ok()?.trim().parse().ok()?;
            Some((limit, file))
        })
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_there_may_be_are_started_and_gone_again() {
        for _ in 0..20 {
            can_be_started(20).unwrap();
        }
    }

    #[test]
    fn the_lowest_limit_of_a_group_and_of_those_above_is_named() {
        let root = tempfile::tempdir().unwrap();
        let (slice, unit) = (root.path().join("slice"), root.path().join("slice/unit"));
        fs::create_dir_all(&unit).unwrap();
        assert_eq!(lowest(root.path(), "0::/slice/unit\n"), None);
        fs::write(unit.join("pids.max"), "max\n").unwrap();
        fs::write(slice.join("pids.max"), "70\n").unwrap();
        let found = lowest(root.path(), "1:name=x:/y\n0::/slice/unit\n");
        assert_eq!(found, Some((70, slice.join("pids.max"))));
        fs::write(unit.join("pids.max"), "12\n").unwrap();
        let found = lowest(root.path(), "0::/slice/unit\n");
        assert_eq!(found, Some((12, unit.join("pids.max"))));
    }
}
