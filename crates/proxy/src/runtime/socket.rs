//! Where the runtime socket listens.
//!
//! A unix socket is bound under a temporary name and then renamed, so that a path always leads to somebody who answers:
//! to the process before us until the moment we take over, and never to what a killed process has left behind.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::net::{SocketFlags, accept_with};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::plan::{BindAddress, SocketAddress, StatsSocket};

/// A socket that commands can be sent to.
#[derive(Debug)]
pub enum Listener {
    /// A unix socket, with its path.
    Unix(UnixListener, PathBuf),
    /// TCP.
    Tcp(TcpListener),
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on the stats socket {place}: {source}")]
pub struct BindError {
    /// Where.
    pub place: String,
    /// Why.
    pub source: io::Error,
}

/// A client.
pub(super) trait Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}
impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Stream for S {}

impl Listener {
    /// Binds a `stats socket`. What is not as asked but does no harm (a user that does not exist) is only warned of.
    ///
    /// To be called within a tokio runtime, before privileges are dropped.
    ///
    /// # Errors
    /// The address is taken, the directory does not exist or may not be written, ...
    pub fn bind(socket: &StatsSocket) -> Result<Self, BindError> {
        let failed = |source| BindError {
            place: place(&socket.address),
            source,
        };
        match &socket.address {
            SocketAddress::Unix(path) => bind_unix(socket, path).map_err(failed),
            SocketAddress::Tcp(address) => {
                let listener = std::net::TcpListener::bind(address).map_err(failed)?;
                listener.set_nonblocking(true).map_err(failed)?;
                TcpListener::from_std(listener).map(Self::Tcp).map_err(failed)
            }
        }
    }

    /// The socket of a predecessor, which listens there.
    ///
    /// # Errors
    /// There is no event loop for it.
    pub fn inherited(listener: OwnedFd, address: &SocketAddress) -> io::Result<Self> {
        match address {
            SocketAddress::Unix(path) => {
                let listener = std::os::unix::net::UnixListener::from(listener);
                listener.set_nonblocking(true)?;
                Ok(Self::Unix(UnixListener::from_std(listener)?, path.clone()))
            }
            SocketAddress::Tcp(_) => {
                let listener = std::net::TcpListener::from(listener);
                listener.set_nonblocking(true)?;
                TcpListener::from_std(listener).map(Self::Tcp)
            }
        }
    }

    /// The same socket once more, for a successor.
    ///
    /// # Errors
    /// There are too many open files.
    pub fn share(&self) -> io::Result<OwnedFd> {
        self.as_fd().try_clone_to_owned()
    }

    /// Somebody who has connected already; an error if there is nobody.
    pub(super) fn waiting(&self) -> io::Result<Box<dyn Stream>> {
        let accepted = accept_with(self.as_fd(), SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        Ok(match self {
            Self::Unix(..) => Box::new(UnixStream::from_std(accepted.into())?),
            Self::Tcp(_) => Box::new(TcpStream::from_std(accepted.into())?),
        })
    }

    pub(super) async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Unix(listener, _) => Box::new(listener.accept().await?.0),
            Self::Tcp(listener) => Box::new(listener.accept().await?.0),
        })
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(listener, _) => listener.as_fd(),
            Self::Tcp(listener) => listener.as_fd(),
        }
    }
}

/// As successors are told of it.
pub(crate) fn address(socket: &StatsSocket) -> BindAddress {
    match &socket.address {
        SocketAddress::Unix(path) => BindAddress::Unix(path.clone()),
        SocketAddress::Tcp(address) => BindAddress::Tcp(*address),
    }
}

/// As `show cli sockets` names it.
pub(super) fn place(address: &SocketAddress) -> String {
    match address {
        SocketAddress::Unix(path) => format!("unix@{}", path.display()),
        SocketAddress::Tcp(address) if address.is_ipv6() => format!("ipv6@{address}"),
        SocketAddress::Tcp(address) => format!("ipv4@{address}"),
    }
}

fn bind_unix(socket: &StatsSocket, path: &Path) -> io::Result<Listener> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = std::os::unix::net::UnixListener::bind(&temporary)?;
    let finished = prepare(socket, path, &temporary).and_then(|()| {
        std::fs::rename(&temporary, path)?;
        listener.set_nonblocking(true)?;
        UnixListener::from_std(listener)
    });
    if finished.is_err() {
        // Whatever went wrong is what is reported; a file left behind under this name is replaced next time.
        let _ = std::fs::remove_file(&temporary);
    }
    Ok(Listener::Unix(finished?, path.to_owned()))
}

fn prepare(socket: &StatsSocket, path: &Path, temporary: &Path) -> io::Result<()> {
    if let Some(mode) = socket.mode {
        std::fs::set_permissions(temporary, std::fs::Permissions::from_mode(mode & 0o777))?;
    }
    let user = socket
        .user
        .as_deref()
        .and_then(|user| known(path, user, user_number));
    let group = socket
        .group
        .as_deref()
        .and_then(|group| known(path, group, group_number));
    if user.is_none() && group.is_none() {
        return Ok(());
    }
    if let Err(error) = std::os::unix::fs::chown(temporary, user, group) {
        tracing::warn!(socket = %path.display(), %error, "the owner of the stats socket cannot be changed");
    }
    Ok(())
}

fn known(path: &Path, name: &str, number: impl Fn(&str) -> Option<u32>) -> Option<u32> {
    let found = number(name);
    if found.is_none() {
        tracing::warn!(socket = %path.display(), name, "there is no such user or group; the stats socket keeps ours");
    }
    found
}

fn user_number(user: &str) -> Option<u32> {
    let found = || nix::unistd::User::from_name(user).ok().flatten();
    user.parse()
        .ok()
        .or_else(|| found().map(|user| user.uid.as_raw()))
}

fn group_number(group: &str) -> Option<u32> {
    warren_kit::accounts::group_id(group).ok()
}
