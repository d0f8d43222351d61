//! Which addresses are ours, written down for the next process: only on kernels that keep no tags (before 5.18).
//!
//! One file in the runtime directory, replaced as a whole. It names the boot it was written in, since interface numbers
//! mean nothing in another. A file that cannot be read is as good as none: leases end by themselves.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};

use super::steps::{Key, key};
use crate::netlink::{self, Address, Netlink, NetlinkError};

/// Name of the file in the runtime directory.
const FILE: &str = "vrrp.addresses";

#[derive(Debug, Clone)]
pub struct Ledger {
    path: PathBuf,
    boot: String,
}

impl Ledger {
    /// `None` where the kernel keeps tags: they are the better record.
    #[must_use]
    pub fn needed(runtime_dir: &Path) -> Option<Self> {
        (!netlink::kernel_keeps_tags()).then(|| Self::at(runtime_dir))
    }

    #[must_use]
    pub(super) fn at(runtime_dir: &Path) -> Self {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self {
            path: runtime_dir.join(FILE),
            boot: boot.trim().to_owned(),
        }
    }

    pub(super) fn read(&self) -> BTreeSet<Key> {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        let mut lines = text.lines();
        if lines.next() != Some(&self.heading()) {
            return BTreeSet::new();
        }
        lines.filter_map(parse).collect()
    }

    /// Replaces the file; without addresses there is none.
    pub(super) fn write(&self, addresses: &BTreeSet<Key>) -> io::Result<()> {
        if addresses.is_empty() {
            return match std::fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        let mut text = self.heading();
        for (ifindex, address, prefix) in addresses {
            // Writing to a string cannot fail.
            let _ = write!(text, "\n{ifindex} {address}/{prefix}");
        }
        let new = self.path.with_extension("new");
        std::fs::write(&new, text)?;
        std::fs::rename(&new, &self.path)
    }

    fn heading(&self) -> String {
        format!("boot {}", self.boot)
    }
}

fn parse(line: &str) -> Option<Key> {
    let (ifindex, rest) = line.split_once(' ')?;
    let (address, prefix) = rest.split_once('/')?;
    Some((ifindex.parse().ok()?, address.parse().ok()?, prefix.parse().ok()?))
}

/// Addresses that an earlier run left behind: by their tag, and those of the ledger that are still there.
pub fn leftovers(netlink: &mut Netlink, ledger: Option<&Ledger>) -> Result<Vec<Address>, NetlinkError> {
    let Some(ledger) = ledger else {
        return netlink::leftovers(netlink);
    };
    let recorded = ledger.read();
    let mut found = netlink::leftovers(netlink)?;
    let tagged: BTreeSet<Key> = found.iter().map(key).collect();
    let present = netlink::present(netlink)?;
    found.extend(
        present
            .into_iter()
            .filter(|address| recorded.contains(&key(address)) && !tagged.contains(&key(address))),
    );
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> BTreeSet<Key> {
        BTreeSet::from([
            (7, "10.9.0.1".parse().unwrap(), 32),
            (8, "fd99::1".parse().unwrap(), 64),
        ])
    }

    #[test]
    fn what_is_written_is_read_and_an_empty_ledger_is_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::at(directory.path());
        assert_eq!(ledger.read(), BTreeSet::new());
        ledger.write(&some()).unwrap();
        assert_eq!(ledger.read(), some());
        ledger.write(&BTreeSet::new()).unwrap();
        ledger.write(&BTreeSet::new()).unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn another_boots_ledger_and_lines_that_are_none_count_for_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::at(directory.path());
        let before = Ledger {
            boot: "another".to_owned(),
            ..ledger.clone()
        };
        before.write(&some()).unwrap();
        assert_eq!(ledger.read(), BTreeSet::new());
        let text = format!("{}\n7 10.9.0.1/32\nnonsense\n7 10.9/x\n\n", ledger.heading());
        std::fs::write(&ledger.path, text).unwrap();
        assert_eq!(ledger.read().len(), 1);
    }

    #[test]
    fn a_directory_that_is_gone_is_an_error_to_the_writer_only() {
        let ledger = Ledger::at(Path::new("/nonexistent"));
        assert!(ledger.write(&some()).is_err());
        assert_eq!(ledger.read(), BTreeSet::new());
    }
}
