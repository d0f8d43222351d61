//! TLS on one side of a session, driven by the event loop.

use std::convert::Infallible;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use super::{Handshake, Received, Sent};

/// A TLS connection. `readable` and `writable` are the endpoint's memory of its socket.
#[derive(Debug)]
pub(crate) struct Tls {
    never: Infallible,
}

#[allow(clippy::needless_pass_by_ref_mut, reason = "the shape of what comes here")]
impl Tls {
    /// Goes on with the handshake.
    pub(crate) fn handshake(
        &mut self,
        _: BorrowedFd<'_>,
        _readable: &mut bool,
        _writable: &mut bool,
    ) -> Handshake {
        match self.never {}
    }

    /// Reads plain octets.
    pub(crate) fn recv(
        &mut self,
        _: BorrowedFd<'_>,
        _readable: &mut bool,
        _writable: &mut bool,
        _: &mut [u8],
    ) -> Received {
        match self.never {}
    }

    /// Takes plain octets.
    pub(crate) fn send(
        &mut self,
        _: BorrowedFd<'_>,
        _readable: &mut bool,
        _writable: &mut bool,
        _: &[u8],
    ) -> Sent {
        match self.never {}
    }

    /// Records wait for room in the socket.
    pub(crate) fn wants_flush(&self) -> bool {
        match self.never {}
    }

    /// Sends them. True once none waits.
    pub(crate) fn flush(&mut self, _: BorrowedFd<'_>, _writable: &mut bool) -> Result<bool, Errno> {
        match self.never {}
    }

    /// Says that nothing follows.
    pub(crate) fn close_notify(&mut self, _: BorrowedFd<'_>) {
        match self.never {}
    }
}
