//! Files as they were when they were looked at, to see whether they have changed since.
//!
//! Files are looked at, not watched: renewals replace links, directories and whole mounts, and a look every few seconds
//! sees them all.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

/// Files and directories at a moment; equal if nothing has changed, as far as can be told without reading them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prints(Vec<Print>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Print {
    path: PathBuf,
    /// Device, inode, size, and when it was written. `None`: it is not there.
    stat: Option<(u64, u64, u64, i64, i64)>,
}

impl Prints {
    /// Looks. Of directories it is seen that a file is new or gone.
    #[must_use]
    pub fn of(mut paths: Vec<PathBuf>) -> Self {
        paths.sort();
        paths.dedup();
        let print = |path: PathBuf| {
            let stat = std::fs::metadata(&path).ok();
            let stat = stat.map(|stat| {
                (
                    stat.dev(),
                    stat.ino(),
                    stat.size(),
                    stat.mtime(),
                    stat.mtime_nsec(),
                )
            });
            Print { path, stat }
        };
        Self(paths.into_iter().map(print).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_replaced_is_another_and_one_that_is_missing_too() {
        let directory = tempfile::tempdir().unwrap();
        let (file, other) = (directory.path().join("file"), directory.path().join("other"));
        std::fs::write(&file, "one").unwrap();
        let look = || Prints::of(vec![file.clone(), other.clone(), file.clone()]);
        let seen = look();
        assert_eq!(look(), seen);
        std::fs::write(&other, "two").unwrap();
        let both = look();
        assert_ne!(both, seen);
        std::fs::rename(&other, &file).unwrap();
        assert_ne!(look(), both);
        std::fs::remove_file(&file).unwrap();
        assert_ne!(look(), seen);
    }
}
