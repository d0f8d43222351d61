//! The Erlang cookie: the secret that nodes of a cluster share, in a file whose name and shape are RabbitMQ's, so that it is
//! copied from host to host as ever.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rand::RngExt as _;

use crate::furniture::Secret;

/// Name of the file.
pub(super) const FILE: &str = ".erlang.cookie";
/// Letters of one that is made here, as Erlang makes them.
const LENGTH: usize = 20;
/// For its owner to read.
const MODE: u32 = 0o400;
/// More is no cookie.
const OCTETS_MAX: u64 = 255;

/// No cookie.
#[derive(Debug, thiserror::Error)]
pub enum CookieError {
    /// The system refuses.
    #[error("{path}: {source}; it has to be readable by the user that runs the broker", path = path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A secret that others can read is none.
    #[error("{path} must be accessible by its owner only and has mode {mode:o}: chmod 400 it", path = path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Nothing in it, or too much.
    #[error("{path} has {octets} octets: a cookie has 1 to {OCTETS_MAX}; remove it to have one made", path = path.display())]
    Size {
        /// Which file.
        path: PathBuf,
        /// How many.
        octets: u64,
    },
}

/// The cookie in the file, which is made if there is none: of what is `wanted`, else of chance. What is wanted wins over what
/// is in the file, which stays as it is.
pub(super) fn take(path: &Path, wanted: Option<&Secret>) -> Result<Secret, CookieError> {
    let failed = |source| CookieError::Io {
        path: path.to_owned(),
        source,
    };
    let fresh = || wanted.cloned().unwrap_or_else(letters);
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let cookie = fresh();
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(MODE)
                .open(path)
                .map_err(failed)?;
            file.write_all(cookie.reveal().as_bytes()).map_err(failed)?;
            file.sync_all().map_err(failed)?;
            return Ok(cookie);
        }
        metadata => metadata.map_err(failed)?,
    };
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(CookieError::Open {
            path: path.to_owned(),
            mode,
        });
    }
    let size = |octets| CookieError::Size {
        path: path.to_owned(),
        octets,
    };
    if metadata.len() > OCTETS_MAX {
        return Err(size(metadata.len()));
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    let found = Secret::from(text.trim_end_matches(['\n', '\r']).to_owned());
    if found.reveal().is_empty() {
        return Err(size(0));
    }
    match wanted {
        Some(wanted) if *wanted != found => {
            tracing::warn!(file = %path.display(), "RABBITMQ_ERLANG_COOKIE is not what is in the file, and counts");
            Ok(wanted.clone())
        }
        _ => Ok(found),
    }
}

/// Capital letters, as Erlang's.
fn letters() -> Secret {
    let mut random = rand::rng();
    let letters: String = (0..LENGTH).map(|_| random.random_range('A'..='Z')).collect();
    Secret::from(letters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_made_once_and_for_its_owner() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        let made = take(&path, None).unwrap();
        assert_eq!(made.reveal().len(), LENGTH);
        assert!(made.reveal().bytes().all(|octet| octet.is_ascii_uppercase()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        assert_eq!(take(&path, None).unwrap(), made);
    }

    #[test]
    fn what_the_environment_says_counts_and_the_file_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        let (one, other) = (Secret::from("one".to_owned()), Secret::from("other".to_owned()));
        assert_eq!(take(&path, Some(&one)).unwrap(), one);
        assert_eq!(take(&path, Some(&other)).unwrap(), other);
        assert_eq!(take(&path, None).unwrap(), one);
    }

    #[test]
    fn a_cookie_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        fs::write(&path, "SECRET\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = take(&path, None).unwrap_err().to_string();
        assert!(error.ends_with("has mode 640: chmod 400 it"), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(take(&path, None).unwrap().reveal(), "SECRET");
        fs::write(&path, "\n").unwrap();
        assert!(matches!(
            take(&path, None),
            Err(CookieError::Size { octets: 0, .. })
        ));
    }
}
