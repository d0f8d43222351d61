//! One side of a session: a socket, what is known of its readiness, and what is spoken on it.
//!
//! Readiness is remembered because events are edge-triggered: it is true from an event until a call says otherwise. A
//! `recv` that came back short has emptied the socket, so the call that would only say so is left out, except where the
//! other end has hung up.

pub(crate) mod tls;

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};

use crate::worker::reactor::Ready;

/// One side.
#[derive(Debug)]
pub(crate) struct Endpoint {
    fd: OwnedFd,
    /// `recv` may find something.
    pub(crate) readable: bool,
    /// `send` may find room.
    pub(crate) writable: bool,
    /// The other end has closed or the connection is gone: only `recv` knows which.
    hung_up: bool,
    /// `recv` has said [`Received::End`] or [`Received::Failed`]: nothing comes any more.
    pub(crate) ended: bool,
    /// We have said that nothing follows.
    pub(crate) shut: bool,
    /// What is spoken.
    transport: Transport,
}

/// What is spoken on a socket.
#[derive(Debug)]
pub(crate) enum Transport {
    /// Octets as they are.
    Plain,
    /// TLS, ended here.
    Tls(Box<tls::Tls>),
}

/// What `recv` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// So many octets, at least one.
    Data(usize),
    /// Nothing for now; an event will tell.
    Wait,
    /// The other end has said that nothing follows.
    End,
    /// The connection is gone.
    Failed(Errno),
}

/// What `send` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// Took so many octets, at least one. Fewer than given: an event will tell when there is room again.
    Octets(usize),
    /// There is no room; an event will tell.
    Wait,
    /// The connection is gone.
    Failed(Errno),
}

/// How far a handshake is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Handshake {
    /// Octets can pass.
    Done,
    /// An event will tell.
    Wait,
    /// The other end has closed.
    Left,
    /// It failed; the reason in words.
    Failed(String),
}

impl Endpoint {
    /// A socket that was just accepted: it can be written to, whatever there is to read will be told by an event.
    pub(crate) const fn accepted(fd: OwnedFd) -> Self {
        Self::new(fd, true)
    }

    /// A socket that is about to connect.
    pub(crate) const fn connecting(fd: OwnedFd) -> Self {
        Self::new(fd, false)
    }

    const fn new(fd: OwnedFd, writable: bool) -> Self {
        Self {
            fd,
            readable: false,
            writable,
            hung_up: false,
            ended: false,
            shut: false,
            transport: Transport::Plain,
        }
    }

    /// From now on this is spoken.
    pub(crate) fn speak(&mut self, transport: Transport) {
        self.transport = transport;
    }

    /// Octets pass as they are, so the kernel may pass them on by itself.
    pub(crate) const fn is_plain(&self) -> bool {
        matches!(self.transport, Transport::Plain)
    }

    /// TLS is spoken.
    pub(crate) const fn tls(&self) -> Option<&tls::Tls> {
        match &self.transport {
            Transport::Plain => None,
            Transport::Tls(tls) => Some(tls),
        }
    }

    /// An event came.
    pub(crate) const fn note(&mut self, ready: Ready) {
        self.readable |= ready.read;
        self.writable |= ready.write;
        self.hung_up |= ready.hung_up;
    }

    /// Goes on with the handshake, if there is one.
    pub(crate) fn handshake(&mut self) -> Handshake {
        match &mut self.transport {
            Transport::Plain => Handshake::Done,
            Transport::Tls(tls) => tls.handshake(self.fd.as_fd(), &mut self.readable, &mut self.writable),
        }
    }

    /// Reads what has come, at most `buffer`.
    pub(crate) fn recv(&mut self, buffer: &mut [u8]) -> Received {
        if self.ended {
            return Received::End;
        }
        let received = match &mut self.transport {
            Transport::Plain => {
                let received = recv(self.fd.as_fd(), buffer);
                let emptied = matches!(received, Received::Data(count) if count < buffer.len());
                if received == Received::Wait || (emptied && !self.hung_up) {
                    self.readable = false;
                }
                received
            }
            Transport::Tls(tls) => tls.recv(
                self.fd.as_fd(),
                &mut self.readable,
                &mut self.writable,
                self.hung_up,
                buffer,
            ),
        };
        if matches!(received, Received::End | Received::Failed(_)) {
            self.ended = true;
            self.readable = false;
        }
        received
    }

    /// Sends what there is room for.
    pub(crate) fn send(&mut self, octets: &[u8]) -> Sent {
        match &mut self.transport {
            Transport::Plain => {
                let sent = send(self.fd.as_fd(), octets);
                self.writable = matches!(sent, Sent::Octets(count) if count == octets.len());
                sent
            }
            Transport::Tls(tls) => tls.send(self.fd.as_fd(), &mut self.writable, octets),
        }
    }

    /// Octets that `send` took still wait inside (TLS records): [`Endpoint::flush`] when the socket has room.
    pub(crate) fn wants_flush(&self) -> bool {
        self.tls().is_some_and(tls::Tls::wants_flush)
    }

    /// Sends what waits inside. True once nothing does.
    pub(crate) fn flush(&mut self) -> Result<bool, Errno> {
        match &mut self.transport {
            Transport::Plain => Ok(true),
            Transport::Tls(tls) => tls.flush(self.fd.as_fd(), &mut self.writable),
        }
    }

    /// Says that nothing follows.
    pub(crate) fn shutdown_write(&mut self) {
        if self.shut {
            return;
        }
        self.shut = true;
        if let Transport::Tls(tls) = &mut self.transport {
            tls.close_notify(self.fd.as_fd());
        }
        // It fails if the connection is gone, which the next `recv` says.
        let _gone = rustix::net::shutdown(&self.fd, Shutdown::Write);
    }

    /// It is about to be closed, and nothing that was to be sent is missing: who speaks TLS is told so.
    pub(crate) fn farewell(&mut self) {
        if !self.shut
            && let Transport::Tls(tls) = &mut self.transport
        {
            self.shut = true;
            tls.close_notify(self.fd.as_fd());
        }
    }

    /// When the socket is closed, the other end gets a reset.
    pub(crate) fn reset_on_close(&self) {
        let _gone = rustix::net::sockopt::set_socket_linger(&self.fd, Some(std::time::Duration::ZERO));
    }

    /// Has the kernel forget the connection: from now on it is as if the other end had reset it.
    pub(crate) fn break_off(&self) {
        // It fails if there is none any more.
        let _gone = rustix::net::connect_unspec(&self.fd);
    }

    /// Whether a socket that was about to connect has done so, even if no event said so yet.
    pub(crate) fn is_connected(&mut self) -> bool {
        self.writable |= rustix::net::getpeername(&self.fd).is_ok();
        self.writable
    }

    /// Our address.
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        SocketAddr::try_from(rustix::net::getsockname(&self.fd).ok()?).ok()
    }

    /// Why the connection failed, if the kernel has kept it.
    pub(crate) fn error(&self) -> Option<Errno> {
        rustix::net::sockopt::socket_error(&self.fd).ok()?.err()
    }

    /// Sees what has come without taking it: of TLS its records, so that only whether anything came means something.
    pub(crate) fn peek(&mut self, buffer: &mut [u8]) -> Received {
        loop {
            return match rustix::net::recv(&self.fd, &mut *buffer, RecvFlags::PEEK) {
                Ok((0, _)) => Received::End,
                Ok((count, _)) => Received::Data(count),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => {
                    self.readable = false;
                    Received::Wait
                }
                Err(errno) => Received::Failed(errno),
            };
        }
    }

    /// The other end has closed its direction, or the connection is gone.
    pub(crate) const fn has_hung_up(&self) -> bool {
        self.hung_up
    }

    /// It may be that the other end has left: something came, or it has hung up.
    pub(crate) const fn may_have_left(&self) -> bool {
        self.readable && self.hung_up
    }
}

impl AsFd for Endpoint {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// `recv(2)`, in our words.
pub(crate) fn recv(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Received {
    loop {
        return match rustix::net::recv(fd, &mut *buffer, RecvFlags::empty()) {
            Ok((0, _)) => Received::End,
            Ok((count, _)) => Received::Data(count),
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => Received::Wait,
            Err(errno) => Received::Failed(errno),
        };
    }
}

/// `send(2)`, in our words.
pub(crate) fn send(fd: BorrowedFd<'_>, octets: &[u8]) -> Sent {
    loop {
        return match rustix::net::send(fd, octets, SendFlags::NOSIGNAL) {
            Ok(count) => Sent::Octets(count),
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => Sent::Wait,
            Err(errno) => Sent::Failed(errno),
        };
    }
}
