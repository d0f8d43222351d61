//! What the process has of the machine: memory and files. Read from the system when somebody asks.

/// What the process has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Process {
    /// Octets in memory.
    pub(crate) resident: u64,
    /// Open files, sockets included.
    pub(crate) files: u64,
    /// Most files it may have open.
    pub(crate) files_max: u64,
}

impl Process {
    /// As it is now. What the system does not say is 0.
    pub(crate) fn now() -> Self {
        Self {
            resident: resident(),
            files: files(),
            files_max: files_max(),
        }
    }
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilo = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kilo.unwrap_or(0) * 1024
}

fn files_max() -> u64 {
    nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft)
}

fn files() -> u64 {
    // The directory itself is open meanwhile.
    std::fs::read_dir("/proc/self/fd").map_or(0, |files| files.count().saturating_sub(1) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_and_files() {
        let before = Process::now();
        assert!(before.resident > 100_000, "{before:?}");
        assert!(before.files_max >= before.files && before.files > 0, "{before:?}");
    }
}
