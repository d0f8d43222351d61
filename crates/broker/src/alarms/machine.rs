//! Memory, as the kernel counts it.

use std::fs;
use std::path::Path;

/// Octets of memory that the process has: pages that are its own. Those of files, its program for example, can be dropped
/// at any time and are not counted.
pub(super) fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    own(&status)
}

fn own(status: &str) -> u64 {
    ["RssAnon:", "RssShmem:"]
        .iter()
        .filter_map(|name| kibibytes(status, name))
        .sum()
}

/// Octets of memory that the process may have at most: the machine's, or less in a control group. If nobody knows,
/// for ever more than it has.
pub(super) fn memory() -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = group_limits(Path::new("/sys/fs/cgroup"), &groups);
    kibibytes(&meminfo, "MemTotal:")
        .into_iter()
        .chain(limits)
        .min()
        .unwrap_or(u64::MAX)
}

/// Octets of a line such as `MemTotal:  24576 kB`.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kibi: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kibi * 1024)
}

/// Limits of the groups that a process is in, and of those around them: versions 2 and 1.
fn group_limits(root: &Path, groups: &str) -> Vec<u64> {
    let mut limits = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let (base, file) = match controllers {
            "" => (root.to_owned(), "memory.max"),
            _ if controllers.split(',').any(|one| one == "memory") => {
                (root.join("memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let mut path = Path::new(path.trim_start_matches('/'));
        loop {
            let limit = fs::read_to_string(base.join(path).join(file));
            // `max`: none.
            limits.extend(limit.ok().and_then(|text| text.trim().parse::<u64>().ok()));
            let Some(parent) = path.parent() else { break };
            path = parent;
        }
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_and_no_more_than_its_machine() {
        let (resident, memory) = (resident(), memory());
        assert!(resident > 100_000, "{resident}");
        assert!(memory > resident, "{memory}");
    }

    #[test]
    fn pages_of_files_are_not_counted() {
        let status = "VmRSS:\t 900 kB\nRssAnon:\t     100 kB\nRssFile:\t 780 kB\nRssShmem:\t 20 kB\n";
        assert_eq!(own(status), 120 * 1024);
        assert_eq!(own("nonsense"), 0);
    }

    #[test]
    fn memory_is_read_as_the_kernel_writes_it() {
        let meminfo = "MemFree: 1 kB\nMemTotal:       24576 kB\n";
        assert_eq!(kibibytes(meminfo, "MemTotal:"), Some(24_576 * 1024));
        assert_eq!(kibibytes("", "MemTotal:"), None);
    }

    #[test]
    fn groups_around_the_own_one_limit_it_too() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("a/b/memory.max", "max\n");
        write("a/memory.max", "5000\n");
        write("memory/x/memory.limit_in_bytes", "7000\n");
        let mut limits = group_limits(
            root.path(),
            "12:cpu,cpuacct:/q\n9:hugetlb,memory:/x\n0::/a/b\nnonsense\n",
        );
        limits.sort_unstable();
        assert_eq!(limits, [5000, 7000]);
    }
}
