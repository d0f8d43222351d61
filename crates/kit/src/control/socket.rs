//! The socket file: never visible with the wrong mode, never stolen from a living daemon, never left behind.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::sockopt::{PeerCredentials, SendTimeout};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, getsockopt, setsockopt, socket};
use nix::sys::time::{TimeVal, TimeValLike};

/// Owner and group may connect.
const MODE: u32 = 0o660;

/// A listening socket whose file disappears with it.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode, to know the file again.
    file: (u64, u64),
}

#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("{path}: a daemon{pid} is already answering here: stop it first, or give this one another --runtime-dir",
        path = .path.display(), pid = .pid.map(|pid| format!(" with process id {pid}")).unwrap_or_default())]
    InUse { path: PathBuf, pid: Option<i32> },
    #[error("{path} exists and is no socket: remove it, or choose another --runtime-dir", path = .0.display())]
    NotASocket(PathBuf),
    #[error("{path} is longer than the {max} bytes a socket's name may have: choose a shorter --runtime-dir", path = .path.display())]
    TooLong { path: PathBuf, max: usize },
    #[error("{path} could not be given to group {gid}: {source}; run as root or as a member of the group", path = .path.display())]
    Group {
        path: PathBuf,
        gid: u32,
        source: io::Error,
    },
    #[error("{path} could not be created: {source}", path = .path.display())]
    Create { path: PathBuf, source: io::Error },
}

impl ControlSocket {
    /// Listens at `path`, open to the owner and to `group`. A file left by a daemon that is gone is replaced.
    pub fn bind(path: &Path, group: Option<u32>) -> Result<Self, BindError> {
        refuse_if_in_use(path)?;
        Self::bind_over(path, group)
    }

    /// The same in place of a daemon that still answers, whose successor this one is. Its file is not removed by it
    /// any more.
    pub fn bind_over(path: &Path, group: Option<u32>) -> Result<Self, BindError> {
        // The socket is made under another name, and takes its own when it is ready: nobody can connect before its
        // mode is right, and there is no moment without a socket when a stale one is replaced.
        let draft = draft_path(path)?;
        let create = |source| BindError::Create {
            path: path.into(),
            source,
        };
        let _ = fs::remove_file(&draft);
        let listener = UnixListener::bind(&draft).map_err(create)?;
        let prepared = (|| {
            fs::set_permissions(&draft, fs::Permissions::from_mode(MODE)).map_err(create)?;
            if let Some(gid) = group {
                let failed = |source| BindError::Group {
                    path: path.into(),
                    gid,
                    source,
                };
                chown(&draft, None, Some(gid)).map_err(failed)?;
            }
            listener.set_nonblocking(true).map_err(create)?;
            let file = fs::metadata(&draft).map_err(create)?;
            fs::rename(&draft, path).map_err(create)?;
            Ok((file.dev(), file.ino()))
        })();
        match prepared {
            Ok(file) => Ok(Self {
                listener,
                path: path.into(),
                file,
            }),
            Err(error) => {
                let _ = fs::remove_file(&draft);
                Err(error)
            }
        }
    }

    /// The socket of a predecessor that listens at `path`, for a successor that may not make one there.
    pub fn inherited(listener: OwnedFd, path: &Path) -> io::Result<Self> {
        let file = fs::symlink_metadata(path)?;
        let listener = UnixListener::from(listener);
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener,
            path: path.into(),
            file: (file.dev(), file.ino()),
        })
    }

    /// The same socket once more, for a successor.
    pub fn share(&self) -> io::Result<OwnedFd> {
        Ok(self.listener.try_clone()?.into())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Somebody who has connected already, if there is anybody.
    pub(super) fn waiting(&self) -> io::Result<Option<tokio::net::UnixStream>> {
        match self.listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(true)?;
                tokio::net::UnixStream::from_std(stream).map(Some)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn listener(&self) -> io::Result<tokio::net::UnixListener> {
        tokio::net::UnixListener::from_std(self.listener.try_clone()?)
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // A successor may have taken the name already.
        let ours = |file: fs::Metadata| (file.dev(), file.ino()) == self.file;
        if fs::symlink_metadata(&self.path).is_ok_and(ours) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn draft_path(path: &Path) -> Result<PathBuf, BindError> {
    // sockaddr_un has 108 bytes, the last of them zero; the draft's name adds two.
    const PATH_BYTES_MAX: usize = 108 - 1 - 2;
    if path.as_os_str().len() > PATH_BYTES_MAX {
        return Err(BindError::TooLong {
            path: path.into(),
            max: PATH_BYTES_MAX,
        });
    }
    let mut draft = path.as_os_str().to_owned();
    draft.push(".n");
    Ok(draft.into())
}

fn refuse_if_in_use(path: &Path) -> Result<(), BindError> {
    let Ok(file) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !file.file_type().is_socket() {
        return Err(BindError::NotASocket(path.into()));
    }
    match connect(path, Duration::from_millis(100)) {
        Ok(answering) => {
            let pid = getsockopt(&answering, PeerCredentials)
                .ok()
                .map(|peer| peer.pid())
                .filter(|pid| *pid > 0);
            Err(BindError::InUse {
                path: path.into(),
                pid,
            })
        }
        // Somebody listens but is stopped or overwhelmed.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(BindError::InUse {
            path: path.into(),
            pid: None,
        }),
        // Nobody listens; any other reason will keep us from replacing the file, too.
        Err(_) => Ok(()),
    }
}

/// Connects like the standard library, but waits no longer than `patience` for a daemon that accepts nobody.
pub(super) fn connect(path: &Path, patience: Duration) -> io::Result<UnixStream> {
    let socket = socket(
        AddressFamily::Unix,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    let micros = i64::try_from(patience.as_micros().max(1)).unwrap_or(i64::MAX);
    setsockopt(&socket, SendTimeout, &TimeVal::microseconds(micros))?;
    nix::sys::socket::connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(socket.into())
}
