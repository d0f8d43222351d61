//! Where a successor knocks: an abstract unix socket named after this process's number.
//!
//! Only processes of the same user (or root) are heard, and a successor makes sure that it is the process of that number
//! that answers: anybody could have taken the name.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, UCred, accept_with, bind, connect, listen,
    socket_with, sockopt,
};
use tokio::io::unix::AsyncFd;
use warren_kit::setbacks::Setbacks;

use super::{DaemonError, Former};
use crate::handover::{self, Inherited};

/// How long a process that cannot hand anything over has to let go of its addresses.
const LET_GO: Duration = Duration::from_secs(5);

/// The socket successors connect to.
#[derive(Debug)]
pub(super) struct Door {
    socket: AsyncFd<OwnedFd>,
    setbacks: Setbacks,
}

impl Door {
    /// To be called within a tokio runtime.
    pub(super) fn open() -> io::Result<Self> {
        let socket = socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )?;
        bind(&socket, &name(std::process::id())?)?;
        listen(&socket, 4)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe, for types whose descriptor changes; this one owns it"
        )]
        let socket = AsyncFd::new(socket)?;
        Ok(Self {
            socket,
            setbacks: Setbacks::new("a successor"),
        })
    }

    /// The next successor that may have what is ours, and its number.
    pub(super) async fn knock(&mut self) -> (OwnedFd, u32) {
        loop {
            let (socket, peer) = match self.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    self.setbacks.rest(&error).await;
                    continue;
                }
            };
            if peer.uid.is_root() || peer.uid == rustix::process::geteuid() {
                let pid = peer.pid.as_raw_nonzero().get();
                return (socket, u32::try_from(pid).unwrap_or_default());
            }
            tracing::warn!(
                pid = peer.pid.as_raw_nonzero(),
                "a process of another user asked for our sessions"
            );
        }
    }

    async fn accept(&self) -> io::Result<(OwnedFd, UCred)> {
        loop {
            let mut ready = self.socket.readable().await?;
            let accepted =
                ready.try_io(|listener| Ok(accept_with(listener.get_ref(), SocketFlags::CLOEXEC)?));
            if let Ok(accepted) = accepted {
                let socket = accepted?;
                let peer = sockopt::socket_peercred(&socket)?;
                return Ok((socket, peer));
            }
        }
    }
}

fn name(pid: u32) -> rustix::io::Result<SocketAddrUnix> {
    SocketAddrUnix::new_abstract_name(format!("warren-proxy-{pid}").as_bytes())
}

/// What the first of these processes that can hand something over has; the others are told to let go.
pub(super) fn from_any(former: &[Former]) -> Result<Option<Inherited>, DaemonError> {
    let mut inherited = None;
    for one in former {
        if inherited.is_none() {
            match ask(one.pid) {
                Ok(socket) => {
                    inherited = Some(handover::take(socket)?);
                    continue;
                }
                Err(error) => tracing::info!(pid = one.pid, %error, "process has nothing to hand over"),
            }
        }
        signal(*one);
    }
    Ok(inherited)
}

fn ask(pid: u32) -> io::Result<OwnedFd> {
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    connect(&socket, &name(pid)?)?;
    let peer = sockopt::socket_peercred(socket.as_fd())?;
    if u32::try_from(peer.pid.as_raw_nonzero().get()).ok() == Some(pid) {
        Ok(socket)
    } else {
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "another process answers in its name",
        ))
    }
}

/// SIGUSR1 asks a proxy to finish, SIGTERM to end; a process that is gone is what was wanted.
pub(super) fn signal(former: Former) {
    let signal = if former.end {
        Signal::SIGTERM
    } else {
        Signal::SIGUSR1
    };
    let Ok(pid) = i32::try_from(former.pid) else {
        return;
    };
    if let Err(error) = kill(Pid::from_raw(pid), signal) {
        tracing::info!(pid, %error, "former process was not told to finish");
    }
}

/// Tries again for as long as former processes may need to let go.
pub(super) fn patiently<T, E>(former: &[Former], mut attempt: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let deadline = Instant::now() + LET_GO;
    loop {
        let result = attempt();
        if result.is_ok() || former.is_empty() || Instant::now() >= deadline {
            return result;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_successor_finds_its_predecessor_by_number() {
        let mut door = Door::open().unwrap();
        let asked = tokio::task::spawn_blocking(|| ask(std::process::id()));
        door.knock().await;
        asked.await.unwrap().unwrap();
    }

    #[test]
    fn nobody_answers_for_a_process_that_is_no_proxy() {
        assert!(ask(1).is_err());
        let one = [Former {
            pid: u32::MAX,
            end: false,
        }];
        assert!(from_any(&one).unwrap().is_none());
    }

    #[test]
    fn an_address_is_waited_for_only_if_somebody_is_to_let_go_of_it() {
        let mut attempts = 0;
        let mut attempt = || {
            attempts += 1;
            if attempts < 3 { Err(()) } else { Ok(()) }
        };
        assert_eq!(patiently(&[Former { pid: 1, end: false }], &mut attempt), Ok(()));
        assert_eq!(patiently(&[], || Err::<(), ()>(())), Err(()));
    }
}
