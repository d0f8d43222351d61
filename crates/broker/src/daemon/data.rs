//! Where the data is: the one directory that outlives the process.

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::DaemonError;

/// Root's.
const SYSTEM: &str = "/var/lib/warren/broker";

/// No more others are named.
const OTHERS_MAX: usize = 8;

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

/// The name under which the node used the directory last.
const NAME: &str = "name";

/// Says so if the data were last used under another name, or if this name is new and data of others lie beside; and writes the name
/// down. Whoever calls has locked the directory.
pub(super) fn compare_name(path: &Path, node: &str, is_new: bool) {
    let file = path.join(NAME);
    let before = fs::read_to_string(&file).unwrap_or_default();
    let before = before.trim_end();
    let data = path.display();
    if before == node {
        return;
    }
    if !before.is_empty() {
        tracing::warn!(
            node,
            before,
            %data,
            "the data were last used under another name of the node, and all of them are served: if that is not meant, end this node \
             and say node_name (RABBITMQ_NODENAME) or another data directory"
        );
    } else if is_new {
        let others = beside(path);
        if !others.is_empty() {
            let others = others.join(", ");
            tracing::warn!(
                node,
                others,
                %data,
                "this node is new and empty; data of other names lie beside: if one of them is meant, end this node and say its name with \
                 node_name (RABBITMQ_NODENAME)"
            );
        }
    }
    let new = file.with_extension("new");
    let written = fs::write(&new, format!("{node}\n")).and_then(|()| fs::rename(&new, &file));
    if let Err(error) = written {
        tracing::info!(%error, "the name of the node is not written down beside its data");
    }
}

/// Names of other nodes with data in the same place, if this directory has the name of its own.
fn beside(path: &Path) -> Vec<String> {
    let parent = path.parent().filter(|_| path.to_string_lossy().contains('@'));
    let entries = parent.and_then(|parent| fs::read_dir(parent).ok());
    let mut others: Vec<String> = (entries.into_iter().flatten().flatten())
        .filter(|entry| entry.path() != path && entry.path().join("checkpoint").is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.contains('@'))
        .take(OTHERS_MAX)
        .collect();
    others.sort_unstable();
    others
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
