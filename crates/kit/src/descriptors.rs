//! Room for as many files and sockets as there may be, before the first of them comes.
//!
//! The kernel's table of them grows by doubling. Where threads share it, whoever opens the one that makes it grow waits until every
//! processor has been somewhere else in between, 10 to 20 ms, and whom his thread serves waits with him.

use std::fs::File;
use std::io;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, getrlimit};

/// As many are provided for at most: eight octets of the kernel's memory for each.
const MOST: u64 = 1 << 16;

/// Makes room for as many as the process may have by now. Said early: whoever opens the next ones finds it done. Without it all works,
/// only later.
pub fn make_room() {
    if let Err(error) = grow() {
        tracing::warn!(%error, "room for descriptors is made when they are opened");
    }
}

fn grow() -> io::Result<()> {
    let most = getrlimit(Resource::Nofile).current.unwrap_or(MOST).min(MOST);
    let last = i32::try_from(most).unwrap_or(i32::MAX).saturating_sub(1);
    // The table grows as far as the highest number in use, and never shrinks.
    fcntl_dupfd_cloexec(File::open("/dev/null")?, last)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_room_for_all_from_then_on() {
        let room = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("FDSize:"));
            line.unwrap().trim().parse::<u64>().unwrap()
        };
        let most = getrlimit(Resource::Nofile).current.unwrap_or(MOST).min(MOST);
        make_room();
        assert!(room() >= most, "{} of {most}", room());
    }
}
