//! The one directory with everything that lives as long as the daemon: sockets, and what a successor must know.
//!
//! `--runtime-dir`, else what the service manager prepared (`RUNTIME_DIRECTORY`), else `/run/warren` for root and
//! `$XDG_RUNTIME_DIR/warren` for others, or `~/.local/state/warren/run` where nobody logged in (containers, `su`, cron). Many daemons run side by side on one host by giving each its own.

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

const SYSTEM: &str = "/run/warren";

/// Everybody may pass: each socket in it says by its own group and mode whom it admits.
const MODE: u32 = 0o755;

#[derive(Debug, thiserror::Error)]
pub enum RuntimeDirError {
    #[error("no directory for sockets is known, not even HOME: give --runtime-dir")]
    Unknown,
    #[error("{path}: {source}; choose another --runtime-dir", path = .path.display())]
    Create { path: PathBuf, source: io::Error },
    #[error("{path} is not a directory: choose another --runtime-dir", path = .0.display())]
    NotADirectory(PathBuf),
    #[error("{path} can be written by everybody, who could put sockets of their own in it: chmod o-w it, or choose another --runtime-dir", path = .0.display())]
    Open(PathBuf),
}

/// What the choice depends on.
struct Surroundings {
    runtime_directory: Option<OsString>,
    xdg_runtime_dir: Option<OsString>,
    home: Option<OsString>,
    is_root: bool,
}

impl Surroundings {
    fn ours() -> Self {
        Self {
            runtime_directory: std::env::var_os("RUNTIME_DIRECTORY"),
            xdg_runtime_dir: std::env::var_os("XDG_RUNTIME_DIR"),
            home: std::env::var_os("HOME"),
            is_root: nix::unistd::geteuid().is_root(),
        }
    }

    /// The user's own, where there is one.
    fn personal(&self) -> Option<PathBuf> {
        let said =
            |value: &Option<OsString>| value.clone().filter(|value| !value.is_empty()).map(PathBuf::from);
        let session = said(&self.xdg_runtime_dir).map(|base| base.join("warren"));
        session.or_else(|| Some(said(&self.home)?.join(".local/state/warren/run")))
    }

    fn choose(&self, flag: Option<&Path>) -> Option<PathBuf> {
        if let Some(flag) = flag {
            return Some(flag.into());
        }
        // systemd separates several with colons; the first is the main one.
        let given = self
            .runtime_directory
            .as_ref()
            .and_then(|list| list.as_bytes().split(|byte| *byte == b':').next());
        if let Some(given) = given.filter(|given| !given.is_empty()) {
            return Some(OsString::from_vec(given.to_vec()).into());
        }
        if self.is_root {
            Some(SYSTEM.into())
        } else {
            self.personal()
        }
    }
}

/// Where the unit of a daemon whose user is not that of the others puts `ROLE.sock`: `/run/warren/ROLE`.
fn own(system: &Path, socket: &str) -> PathBuf {
    system.join(Path::new(socket).file_stem().unwrap_or_default())
}

/// The daemon's: made if it does not exist, writable by the owner only.
pub fn for_daemon(flag: Option<&Path>) -> Result<PathBuf, RuntimeDirError> {
    let path = Surroundings::ours()
        .choose(flag)
        .ok_or(RuntimeDirError::Unknown)?;
    create(&path)?;
    Ok(path)
}

/// Where a client finds `socket`: where a daemon started by the same user would put it, else the system's if it is
/// there. Nothing is made.
pub fn for_client(flag: Option<&Path>, socket: &str) -> Result<PathBuf, RuntimeDirError> {
    let chosen = Surroundings::ours().choose(flag);
    match chosen {
        Some(chosen) if flag.is_some() || chosen.join(socket).exists() => Ok(chosen),
        // An ordinary user asks about the system's daemon, most likely.
        chosen if Path::new(SYSTEM).join(socket).exists() || chosen.is_none() => Ok(SYSTEM.into()),
        // A daemon with a user of its own has a directory of its own in there.
        _ if own(Path::new(SYSTEM), socket).join(socket).exists() => Ok(own(Path::new(SYSTEM), socket)),
        chosen => chosen.ok_or(RuntimeDirError::Unknown),
    }
}

fn create(path: &Path) -> Result<(), RuntimeDirError> {
    let failed = |source| RuntimeDirError::Create {
        path: path.into(),
        source,
    };
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    match DirBuilder::new().mode(MODE).create(path) {
        // The umask may have taken the rights of others.
        Ok(()) => fs::set_permissions(path, fs::Permissions::from_mode(MODE)).map_err(failed),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let existing = fs::metadata(path).map_err(failed)?;
            if !existing.is_dir() {
                return Err(RuntimeDirError::NotADirectory(path.into()));
            }
            if existing.permissions().mode() & 0o002 != 0 {
                return Err(RuntimeDirError::Open(path.into()));
            }
            Ok(())
        }
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surroundings(
        runtime_directory: &str,
        xdg_runtime_dir: &str,
        home: &str,
        is_root: bool,
    ) -> Surroundings {
        let set = |value: &str| (value != "-").then(|| OsString::from(value));
        Surroundings {
            runtime_directory: set(runtime_directory),
            xdg_runtime_dir: set(xdg_runtime_dir),
            home: set(home),
            is_root,
        }
    }

    #[test]
    fn the_most_explicit_choice_wins() {
        let flag = Some(Path::new("/flag"));
        for (flag, runtime_directory, xdg, home, is_root, expected) in [
            (flag, "/run/a", "/run/user/1", "/root", true, Some("/flag")),
            (None, "/run/a", "/run/user/1", "/root", true, Some("/run/a")),
            (None, "/run/a:/run/b", "-", "/users/a", false, Some("/run/a")),
            (None, "", "/run/user/1", "/root", true, Some("/run/warren")),
            (None, "-", "/run/user/1", "/root", true, Some("/run/warren")),
            (
                None,
                "-",
                "/run/user/1",
                "/users/a",
                false,
                Some("/run/user/1/warren"),
            ),
            (
                None,
                "-",
                "",
                "/users/a",
                false,
                Some("/users/a/.local/state/warren/run"),
            ),
            (None, "-", "-", "", false, None),
            (None, "-", "-", "-", false, None),
        ] {
            let chosen = surroundings(runtime_directory, xdg, home, is_root).choose(flag);
            assert_eq!(chosen.as_deref(), expected.map(Path::new));
        }
    }

    #[test]
    fn the_directory_is_made_for_all_to_pass_and_kept_if_it_exists() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b");
        assert_eq!(for_daemon(Some(&path)).unwrap(), path);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o755);
        fs::write(path.join("x"), "").unwrap();
        for_daemon(Some(&path)).unwrap();
        assert!(path.join("x").exists());
    }

    #[test]
    fn what_cannot_be_trusted_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(
            for_daemon(Some(&file)),
            Err(RuntimeDirError::NotADirectory(_))
        ));
        let below = for_daemon(Some(&file.join("x"))).unwrap_err().to_string();
        assert!(below.contains("choose another --runtime-dir"), "{below}");
        let open = directory.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(for_daemon(Some(&open)), Err(RuntimeDirError::Open(_))));
    }

    #[test]
    fn a_daemon_with_a_user_of_its_own_has_a_directory_named_after_its_socket() {
        assert_eq!(
            own(Path::new("/run/warren"), "broker.sock"),
            Path::new("/run/warren/broker")
        );
    }

    #[test]
    fn a_client_takes_the_directory_it_was_given() {
        assert_eq!(
            for_client(Some(Path::new("/nowhere")), "x.sock").unwrap(),
            Path::new("/nowhere")
        );
    }
}
