//! The sockets that clients connect to: opened with the plan, kept over a reload, passed on by an upgrade.
//!
//! Addresses that this host does not have (yet) can be listened on: on the backup host of a pair the virtual address is
//! absent. A socket is known by its address, so that a reload that keeps a bind line keeps its socket and the
//! connections that wait in it.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use socket2::{Domain, Protocol, Socket, Type};
use warren_kit::accounts;

use crate::plan::{ABSTRACT, Bind, BindAddress, Plan, socket_address};

/// Connections the kernel completes before we accept them, unless `backlog` says otherwise. The kernel's own limit,
/// net.core.somaxconn, holds as well.
const BACKLOG: i32 = 4096;

/// Why a bind line cannot be.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody else listens there.
    #[error(
        "{frontend}: {address} is in use by another process: stop it first (ss -ltnp shows which), or bind elsewhere"
    )]
    InUse {
        /// Whose line.
        frontend: String,
        /// Where.
        address: String,
    },
    /// A port below 1024.
    #[error("{frontend}: {address} may not be bound by this user: run as root or with CAP_NET_BIND_SERVICE")]
    Denied {
        /// Whose line.
        frontend: String,
        /// Where.
        address: String,
    },
    /// Anything else.
    #[error("{frontend}: {address} cannot be bound: {source}")]
    Bind {
        /// Whose line.
        frontend: String,
        /// Where.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// The path of a unix socket is something else.
    #[error("{frontend}: {path} exists and is no socket: remove it, or bind elsewhere", path = path.display())]
    NotASocket {
        /// Whose line.
        frontend: String,
        /// Where.
        path: PathBuf,
    },
}

/// Sockets by address.
#[derive(Debug, Default)]
pub(super) struct Sockets(HashMap<BindAddress, Arc<OwnedFd>>);

impl Sockets {
    /// Sockets that another process had.
    #[must_use]
    pub(super) fn inherited(sockets: impl IntoIterator<Item = (BindAddress, OwnedFd)>) -> Self {
        Self(
            sockets
                .into_iter()
                .map(|(address, socket)| (address, Arc::new(socket)))
                .collect(),
        )
    }

    /// The socket of an address.
    #[must_use]
    pub(super) fn get(&self, address: &BindAddress) -> Option<&Arc<OwnedFd>> {
        self.0.get(address)
    }

    /// The first socket of a path with this name that `others` have not, and its path.
    pub(super) fn named(&self, name: &str, others: &Self) -> Option<(&Path, &OwnedFd)> {
        let mut unix = self.0.iter().filter(|(address, _)| others.get(address).is_none());
        unix.find_map(|(address, socket)| match address {
            BindAddress::Unix(path) if path.file_name().is_some_and(|file| file == name) => {
                Some((path.as_path(), &**socket))
            }
            BindAddress::Unix(_) | BindAddress::Tcp(_) => None,
        })
    }

    /// What this plan needs: sockets there are, and new ones. Nothing of `self` has changed if one of them cannot be.
    ///
    /// # Errors
    /// All that cannot be opened.
    pub(super) fn for_plan(&self, plan: &Plan) -> Result<Self, Vec<ListenError>> {
        let mut sockets = HashMap::new();
        let mut errors = Vec::new();
        for frontend in plan.frontends.iter().filter(|frontend| !frontend.disabled) {
            for bind in &frontend.binds {
                if let Some(socket) = self.0.get(&bind.address) {
                    sockets.insert(bind.address.clone(), Arc::clone(socket));
                    continue;
                }
                match open(bind, &frontend.name) {
                    Ok(socket) => drop(sockets.insert(bind.address.clone(), Arc::new(socket))),
                    Err(error) => errors.push(error),
                }
            }
        }
        if errors.is_empty() {
            Ok(Self(sockets))
        } else {
            Err(errors)
        }
    }

    /// Removes the files of unix sockets that `kept` has not.
    pub(super) fn remove_files_except(&self, kept: &Self) {
        for address in self.0.keys().filter(|address| !kept.0.contains_key(address)) {
            if let BindAddress::Unix(path) = address
                && !is_named(path)
            {
                // Gone already is as good.
                let _ = fs::remove_file(path);
            }
        }
    }
}

fn open(bind: &Bind, frontend: &str) -> Result<OwnedFd, ListenError> {
    match &bind.address {
        BindAddress::Tcp(address) => tcp(bind, *address, frontend),
        BindAddress::Unix(path) if is_named(path) => named(bind, path, frontend),
        BindAddress::Unix(path) => unix(bind, path, frontend),
    }
}

fn tcp(bind: &Bind, address: SocketAddr, frontend: &str) -> Result<OwnedFd, ListenError> {
    let failed = |source: io::Error| {
        let frontend = frontend.to_owned();
        let address = address.to_string();
        match source.kind() {
            io::ErrorKind::AddrInUse => ListenError::InUse { frontend, address },
            io::ErrorKind::PermissionDenied => ListenError::Denied { frontend, address },
            _ => ListenError::Bind {
                frontend,
                address,
                source,
            },
        }
    };
    let domain = Domain::for_address(address);
    let prepare = || -> io::Result<OwnedFd> {
        let socket = Socket::new(domain, Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
        // Connections of an earlier process in TIME_WAIT are no reason to wait. A port that somebody listens on is
        // refused all the same, whatever that socket allows.
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(bind.v6only)?;
            socket.set_freebind_v6(true)?;
        } else {
            socket.set_freebind_v4(true)?;
        }
        if let Some(interface) = &bind.interface {
            socket.bind_device(Some(interface.as_bytes()))?;
        }
        socket.bind(&address.into())?;
        socket.listen(backlog(bind))?;
        Ok(socket.into())
    };
    prepare().map_err(failed)
}

fn backlog(bind: &Bind) -> i32 {
    let wanted = bind
        .backlog
        .map(|backlog| i32::try_from(backlog.get()).unwrap_or(i32::MAX));
    wanted.unwrap_or(BACKLOG)
}

/// A name that is in no directory is free when nobody listens any more.
fn named(bind: &Bind, path: &Path, frontend: &str) -> Result<OwnedFd, ListenError> {
    let prepare = || -> io::Result<OwnedFd> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        rustix::net::bind(&socket, &socket_address(path)?)?;
        rustix::net::listen(&socket, backlog(bind))?;
        Ok(socket)
    };
    let frontend = frontend.to_owned();
    let address = path.display().to_string();
    prepare().map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse { frontend, address },
        _ => ListenError::Bind {
            frontend,
            address,
            source,
        },
    })
}

fn is_named(path: &Path) -> bool {
    path.to_str().is_some_and(|path| path.starts_with(ABSTRACT))
}

/// Made under another name and moved into place, so that nobody can connect before owner and mode are right and a
/// stale file is replaced without a gap.
fn unix(bind: &Bind, path: &Path, frontend: &str) -> Result<OwnedFd, ListenError> {
    let failed = |source: io::Error| ListenError::Bind {
        frontend: frontend.to_owned(),
        address: path.display().to_string(),
        source,
    };
    match fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => {
            return Err(ListenError::NotASocket {
                frontend: frontend.to_owned(),
                path: path.to_owned(),
            });
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            return Err(ListenError::InUse {
                frontend: frontend.to_owned(),
                address: path.display().to_string(),
            });
        }
        Ok(_) | Err(_) => {}
    }
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let _ = fs::remove_file(&draft);
    let prepare = || -> io::Result<OwnedFd> {
        let listener = UnixListener::bind(&draft)?;
        listener.set_nonblocking(true)?;
        let (user, group, mode) = &bind.unix;
        let uid = user
            .as_deref()
            .map(|user| accounts::identity(user, None))
            .transpose();
        let uid = uid.map_err(io::Error::other)?.map(|identity| identity.uid);
        let gid = group
            .as_deref()
            .map(accounts::group_id)
            .transpose()
            .map_err(io::Error::other)?;
        if uid.is_some() || gid.is_some() {
            chown(&draft, uid, gid)?;
        }
        if let Some(mode) = mode {
            fs::set_permissions(&draft, fs::Permissions::from_mode(*mode))?;
        }
        fs::rename(&draft, path)?;
        Ok(listener.into())
    };
    prepare().map_err(|error| {
        let _ = fs::remove_file(&draft);
        failed(error)
    })
}
