//! May this file run as root? Only if nobody but root can change it, or put another in its place.
//!
//! Every step from `/` to the file counts, through symbolic links: a safe script in a directory that anybody may write to
//! is not safe. A sticky directory is (its entries can only be replaced by their owner), so `/tmp` itself is no reason.
//! In a user namespace, files of users outside of it count as root's: nobody inside can act for those.
//! Access control lists, mount options and what the script itself calls are not looked at.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// As many symbolic links as the kernel follows.
const LINKS_MAX: usize = 40;
const STICKY: u32 = 0o1000;
const GROUP_WRITE: u32 = 0o020;
const OTHER_WRITE: u32 = 0o002;

/// A file or directory on the way to a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) path: PathBuf,
    pub(crate) kind: StepKind,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mode: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StepKind {
    Directory,
    Link,
    File,
}

/// Why somebody other than root decides what runs, and where to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Weakness {
    pub(crate) path: PathBuf,
    reason: Reason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    Owner(u32),
    Group(u32),
    Everyone,
}

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.reason {
            Reason::Owner(uid) => write!(f, "{path} belongs to uid {uid}: run `chown root {path}`"),
            Reason::Group(gid) => write!(f, "{path} is writable by group {gid}: run `chmod g-w {path}`"),
            Reason::Everyone => write!(f, "{path} is writable by everyone: run `chmod go-w {path}`"),
        }
    }
}

/// The number under which files of users outside of our user namespace show; `None` if there is no outside.
pub(crate) fn outsiders() -> Option<u32> {
    let map = std::fs::read_to_string("/proc/self/uid_map").ok()?;
    if map.split_ascii_whitespace().eq(["0", "0", "4294967295"]) {
        return None;
    }
    std::fs::read_to_string("/proc/sys/kernel/overflowuid")
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// The first step that somebody other than root and the `outsiders` can change.
pub(crate) fn weakness(steps: &[Step], outsiders: Option<u32>) -> Option<Weakness> {
    let trusted = |number: u32| number == 0 || outsiders == Some(number);
    steps.iter().find_map(|step| {
        let shielded = match step.kind {
            StepKind::Directory => step.mode & STICKY != 0,
            // A link's mode means nothing; its owner can replace it in a sticky directory.
            StepKind::Link => true,
            StepKind::File => false,
        };
        let reason = if !trusted(step.uid) {
            Reason::Owner(step.uid)
        } else if !shielded && step.mode & OTHER_WRITE != 0 {
            Reason::Everyone
        } else if !shielded && step.mode & GROUP_WRITE != 0 && !trusted(step.gid) {
            Reason::Group(step.gid)
        } else {
            return None;
        };
        Some(Weakness {
            path: step.path.clone(),
            reason,
        })
    })
}

/// Everything the kernel passes on its way from `/` to `path`.
pub(crate) fn walk(path: &Path) -> io::Result<Vec<Step>> {
    let mut ahead: VecDeque<OsString> = names(path);
    let mut place = PathBuf::from("/");
    let mut steps = vec![step(&place)?];
    let mut links = 0;
    while let Some(name) = ahead.pop_front() {
        if name == ".." {
            place.pop();
            continue;
        }
        place.push(&name);
        let here = step(&place)?;
        let kind = here.kind;
        steps.push(here);
        if kind == StepKind::Link {
            links += 1;
            if links > LINKS_MAX {
                return Err(io::Error::other(format!(
                    "{} is a loop of symbolic links",
                    path.display()
                )));
            }
            let target = std::fs::read_link(&place)?;
            place.pop();
            if target.is_absolute() {
                place = PathBuf::from("/");
            }
            let mut names = names(&target);
            names.append(&mut ahead);
            ahead = names;
        }
    }
    Ok(steps)
}

fn names(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsString::from("..")),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

fn step(path: &Path) -> io::Result<Step> {
    let metadata = std::fs::symlink_metadata(path)?;
    let kind = match metadata.file_type() {
        kind if kind.is_dir() => StepKind::Directory,
        kind if kind.is_symlink() => StepKind::Link,
        _ => StepKind::File,
    };
    Ok(Step {
        path: path.to_owned(),
        kind,
        uid: metadata.uid(),
        gid: metadata.gid(),
        mode: metadata.mode() & 0o7777,
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn entry(path: &str, kind: StepKind, uid: u32, gid: u32, mode: u32) -> Step {
        Step {
            path: path.into(),
            kind,
            uid,
            gid,
            mode,
        }
    }

    #[test]
    fn only_a_path_that_root_alone_can_change_is_safe() {
        use StepKind::{Directory, File, Link};
        let weak = |steps: &[Step]| weakness(steps, None).map(|weakness| weakness.to_string());
        let root = entry("/", Directory, 0, 0, 0o755);
        assert_eq!(weak(&[root.clone(), entry("/x", File, 0, 0, 0o755)]), None);
        assert_eq!(
            weak(&[root.clone(), entry("/x", File, 0, 0, 0o777)]).as_deref(),
            Some("/x is writable by everyone: run `chmod go-w /x`")
        );
        assert_eq!(
            weak(&[root.clone(), entry("/x", File, 0, 5, 0o775)]).as_deref(),
            Some("/x is writable by group 5: run `chmod g-w /x`")
        );
        assert_eq!(
            weak(&[root.clone(), entry("/x", File, 0, 0, 0o775)]),
            None,
            "group root is root"
        );
        assert_eq!(
            weak(&[root.clone(), entry("/x", File, 7, 0, 0o700)]).as_deref(),
            Some("/x belongs to uid 7: run `chown root /x`")
        );
        assert_eq!(
            weak(&[
                entry("/tmp", Directory, 0, 0, 0o1777),
                entry("/tmp/x", File, 0, 0, 0o755)
            ]),
            None
        );
        assert!(
            weak(&[
                entry("/tmp", Directory, 0, 0, 0o777),
                entry("/tmp/x", File, 0, 0, 0o755)
            ])
            .is_some()
        );
        assert_eq!(weak(&[root.clone(), entry("/l", Link, 0, 0, 0o777)]), None);
        assert!(weak(&[root, entry("/l", Link, 7, 0, 0o777)]).is_some());
    }

    #[test]
    fn the_walk_passes_links_and_names_the_weak_directory_behind_them() {
        if !nix::unistd::geteuid().is_root() {
            return crate::skip::skip("only root has what others may not change");
        }
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().canonicalize().unwrap();
        if let Some(weakness) = weakness(&walk(&base).unwrap(), outsiders()) {
            crate::skip::skip(&weakness.to_string());
            return;
        }
        fs::create_dir(base.join("open")).unwrap();
        fs::write(base.join("open/script"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(base.join("open/script"), Permissions::from_mode(0o755)).unwrap();
        symlink("open/../open/script", base.join("link")).unwrap();
        assert_eq!(weakness(&walk(&base.join("link")).unwrap(), outsiders()), None);

        fs::set_permissions(base.join("open"), Permissions::from_mode(0o777)).unwrap();
        let found = weakness(&walk(&base.join("link")).unwrap(), outsiders()).unwrap();
        assert_eq!(found.path, base.join("open"));
    }

    #[test]
    fn files_of_users_outside_of_the_namespace_cannot_be_changed_from_inside() {
        let outside = [entry("/x", StepKind::File, 65534, 65534, 0o775)];
        assert_eq!(weakness(&outside, Some(65534)), None);
        assert!(weakness(&outside, None).is_some());
    }

    #[test]
    fn a_loop_of_links_ends_in_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        symlink(&link, &link).unwrap();
        assert!(walk(&link).is_err());
    }
}
