//! Where clients come in, with as few calls of the kernel for each as there can be: thousands may come at once.
//!
//! What all of them have alike is set on the listener, which hands it down. Whether another one waits is asked: to try to
//! accept one where there is none costs the kernel nearly as much as to accept one.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::SockRef;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;
use warren_kit::pacing;

use crate::arrival::Arrival;

/// File descriptors that clients do not get: the log opens files and operators ask questions, however many clients come.
/// Where there are few, clients get three quarters of them.
const RESERVE: u64 = 192;
const RESERVE_PART: u64 = 4;

/// A listener.
#[derive(Debug)]
pub(super) struct Arrivals {
    listener: AsyncFd<TcpListener>,
    /// The address that all connect to, if there is one only.
    local: Option<SocketAddr>,
    /// All of them are on this host, and the listener hands down what that means.
    within_host: bool,
    /// Of all file descriptors, those below this number are for clients. The system gives the lowest that is free.
    for_clients: u64,
    /// Came when there was none below.
    kept: Option<(OwnedFd, Option<SocketAddr>)>,
}

impl Arrivals {
    pub(super) fn of(listener: tokio::net::TcpListener) -> io::Result<Self> {
        let listener = listener.into_std()?;
        if let Err(error) = SockRef::from(&listener).set_tcp_nodelay(true) {
            tracing::debug!(%error, "delays of small packets stay");
        }
        let local = Some(listener.local_addr()?).filter(|local| !local.ip().is_unspecified());
        let loopback = local.map(|local| local.ip()).filter(IpAddr::is_loopback);
        if let Some(loopback) = loopback {
            pacing::end_within_host(&listener, loopback);
        }
        #[expect(
            deprecated,
            reason = "its successor is unsafe, for types whose descriptor changes; this one owns it"
        )]
        let listener = AsyncFd::new(listener)?;
        Ok(Self {
            listener,
            local,
            within_host: loopback.is_some(),
            for_clients: for_clients(getrlimit(Resource::RLIMIT_NOFILE)?.0),
            kept: None,
        })
    }

    /// The next client.
    ///
    /// # Errors
    /// He was not accepted; the next one may be.
    pub(super) async fn next(&mut self) -> io::Result<(TcpStream, Arrival)> {
        if let Some((socket, peer)) = self.kept.take() {
            // Under the lowest number that is free by now.
            let moved = fcntl_dupfd_cloexec(&socket, 0);
            return self.let_in(moved.unwrap_or(socket), peer);
        }
        loop {
            let mut ready = self.listener.readable().await?;
            let accepted = acceptfrom_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK);
            let is_refused = matches!(accepted, Err(error) if error != Errno::WOULDBLOCK);
            if !is_refused && !self.has_more() {
                // One that comes from now on makes it ready anew.
                ready.clear_ready();
            }
            match accepted {
                Ok((socket, peer)) => {
                    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
                    return self.let_in(socket, peer);
                }
                Err(Errno::WOULDBLOCK) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Lets him in, or keeps him until others have gone.
    fn let_in(&mut self, socket: OwnedFd, peer: Option<SocketAddr>) -> io::Result<(TcpStream, Arrival)> {
        if u64::try_from(socket.as_raw_fd()).is_ok_and(|number| number >= self.for_clients) {
            self.kept = Some((socket, peer));
            let most = self.for_clients;
            let what = format!(
                "{most} file descriptors are in use, and the rest is for the log and for operators: raise LimitNOFILE, or ulimit -n"
            );
            return Err(io::Error::other(what));
        }
        let stream = TcpStream::from_std(socket.into())?;
        let peer = peer.map_or_else(|| stream.peer_addr(), Ok)?;
        let local = self.local.map_or_else(|| stream.local_addr(), Ok)?;
        if !self.within_host {
            pacing::end_within_host(&stream, peer.ip());
        }
        Ok((stream, Arrival::direct(peer, local)))
    }

    /// Whether another client waits. In doubt there is one.
    fn has_more(&self) -> bool {
        let mut listener = [PollFd::new(self.listener.get_ref().as_fd(), PollFlags::POLLIN)];
        poll(&mut listener, PollTimeout::ZERO).map_or(true, |count| count > 0)
    }
}

/// How many of so many.
fn for_clients(limit: u64) -> u64 {
    limit - RESERVE.min(limit / RESERVE_PART)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_who_come_at_once_and_all_who_come_later_are_let_in() {
        for address in ["127.0.0.1:0", "0.0.0.0:0"] {
            let listener = tokio::net::TcpListener::bind(address).await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let mut arrivals = Arrivals::of(listener).unwrap();
            let connect = || std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
            for count in [3, 1, 2] {
                let clients: Vec<_> = (0..count).map(|_| connect()).collect();
                for client in clients {
                    let (stream, arrival) = arrivals.next().await.unwrap();
                    assert_eq!(arrival.peer, client.local_addr().unwrap());
                    assert_eq!(arrival.local, client.peer_addr().unwrap());
                    assert!(stream.nodelay().unwrap(), "handed down");
                }
                // Nobody is there: it waits, and lets in who comes then.
                let (later, accepted) = tokio::join!(
                    async {
                        tokio::task::yield_now().await;
                        connect()
                    },
                    arrivals.next()
                );
                assert_eq!(accepted.unwrap().1.peer, later.local_addr().unwrap());
            }
        }
    }
}
