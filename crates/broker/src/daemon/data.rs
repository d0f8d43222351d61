//! Where the data is: the one directory that outlives the process.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::DaemonError;

/// Root's.
const SYSTEM: &str = "/var/lib/warren/broker";

/// Messages of others are nobody's business.
const MODE: u32 = 0o750;

/// What the choice depends on.
struct Surroundings {
    state_directory: Option<OsString>,
    xdg_state_home: Option<OsString>,
    home: Option<OsString>,
    is_root: bool,
}

/// What the service manager prepared, else `/var/lib/warren/broker` for root and `$XDG_STATE_HOME/warren/broker` for
/// others.
#[must_use]
pub fn default_directory() -> PathBuf {
    Surroundings {
        state_directory: std::env::var_os("STATE_DIRECTORY"),
        xdg_state_home: std::env::var_os("XDG_STATE_HOME"),
        home: std::env::var_os("HOME"),
        is_root: rustix::process::geteuid().is_root(),
    }
    .choose()
    // To be refused by the system, by name.
    .unwrap_or_else(|| SYSTEM.into())
}

impl Surroundings {
    fn choose(&self) -> Option<PathBuf> {
        let said = |value: &Option<OsString>| value.clone().filter(|value| !value.is_empty());
        if let Some(given) = said(&self.state_directory) {
            // systemd separates several with colons; the first is the main one.
            let first = given.as_bytes().split(|octet| *octet == b':').next()?;
            return Some(OsString::from_vec(first.to_vec()).into());
        }
        if self.is_root {
            return Some(SYSTEM.into());
        }
        let base = match said(&self.xdg_state_home) {
            Some(base) => PathBuf::from(base),
            None => Path::new(&said(&self.home)?).join(".local/state"),
        };
        Some(base.join("warren/broker"))
    }
}

/// Makes the directory if there is none.
pub(super) fn create(path: &Path) -> Result<(), DaemonError> {
    DirBuilder::new()
        .recursive(true)
        .mode(MODE)
        .create(path)
        .map_err(|source| DaemonError::Data {
            path: path.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_explicit_directory_wins() {
        let set = |value: &str| (value != "-").then(|| OsString::from(value));
        for (state, xdg, home, is_root, expected) in [
            ("/var/lib/a:/var/lib/b", "/x", "/h", true, Some("/var/lib/a")),
            ("", "/x", "/h", true, Some("/var/lib/warren/broker")),
            ("-", "/x", "/h", false, Some("/x/warren/broker")),
            ("-", "", "/h", false, Some("/h/.local/state/warren/broker")),
            ("-", "-", "-", false, None),
        ] {
            let surroundings = Surroundings {
                state_directory: set(state),
                xdg_state_home: set(xdg),
                home: set(home),
                is_root,
            };
            assert_eq!(surroundings.choose().as_deref(), expected.map(Path::new));
        }
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = create(&file.path().join("x")).unwrap_err().to_string();
        assert!(error.contains("choose another --data"), "{error}");
    }
}
