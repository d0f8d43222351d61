//! As much as the connection bears, one way.

use std::io::{self, Write as _};
use std::net::TcpStream;
use std::os::fd::AsRawFd;

use nix::sys::epoll::EpollFlags;
use nix::sys::socket::{MsgFlags, recv};

use super::Tally;
use super::clients::{Talk, Then};

/// Reads without copying: the kernel throws away what has come.
pub(crate) fn discard(stream: &TcpStream, at_most: &mut [u8]) -> io::Result<usize> {
    match recv(stream.as_raw_fd(), at_most, MsgFlags::MSG_TRUNC)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        octets => Ok(octets),
    }
}

/// Connections to a server that sends for ever.
#[derive(Debug, Default)]
pub(crate) struct Down;

impl Talk for Down {
    fn start(&mut self, _: &TcpStream, _: &mut Tally) -> io::Result<()> {
        Ok(())
    }

    fn go_on(&mut self, stream: &TcpStream, scratch: &mut [u8], tally: &mut Tally) -> io::Result<Then> {
        tally.octets += discard(stream, scratch)? as u64;
        Ok(Then::Stay)
    }
}

/// Connections to a server that takes everything.
#[derive(Debug, Default)]
pub(crate) struct Up;

impl Talk for Up {
    const INTEREST: EpollFlags = EpollFlags::EPOLLOUT;

    fn start(&mut self, _: &TcpStream, _: &mut Tally) -> io::Result<()> {
        Ok(())
    }

    fn go_on(&mut self, mut stream: &TcpStream, scratch: &mut [u8], tally: &mut Tally) -> io::Result<Then> {
        tally.octets += stream.write(scratch)? as u64;
        Ok(Then::Stay)
    }
}
