//! Where lines leave the process: datagrams in batches, or a standard stream.
//!
//! Nothing waits. Datagram sockets are not connected, so that a restarted receiver is found again and an absent one is
//! no error of the next line. Standard streams belong to others as well and stay as they are: a pipe or terminal is
//! opened once more for ourselves, a socket is told not to wait with each call, a file never makes anybody wait.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::stat::SFlag;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, SocketAddrUnix, SocketFlags,
    SocketType,
};

use crate::plan::Transport;

/// Lines sent with one system call.
const LINES_PER_CALL: usize = 32;

pub(super) const JOURNAL: &str = "/run/systemd/journal/socket";

/// An open way out.
#[derive(Debug)]
pub(super) enum Sink {
    Datagrams { socket: OwnedFd, address: SocketAddrAny },
    Stream(Stream),
}

#[derive(Debug)]
pub(super) struct Stream {
    output: Output,
    /// The end of a line whose beginning is out: never more than one line.
    leftover: Vec<u8>,
}

#[derive(Debug)]
enum Output {
    /// Writing to it does not wait.
    Ours(OwnedFd),
    /// A socket that may wait if it is not told otherwise.
    Socket(OwnedFd),
}

impl Sink {
    pub(super) fn open(transport: &Transport) -> io::Result<Self> {
        match transport {
            Transport::Udp(address) => {
                let family = match address {
                    std::net::SocketAddr::V4(_) => AddressFamily::INET,
                    std::net::SocketAddr::V6(_) => AddressFamily::INET6,
                };
                Self::datagrams(family, SocketAddrAny::from(*address))
            }
            Transport::Unix(path) => Self::unix(path.as_path()),
            Transport::Journal => Self::unix(JOURNAL.as_ref()),
            Transport::Stdout => Stream::open(io::stdout().as_fd(), "/proc/self/fd/1").map(Self::Stream),
            Transport::Stderr => Stream::open(io::stderr().as_fd(), "/proc/self/fd/2").map(Self::Stream),
        }
    }

    fn unix(path: &std::path::Path) -> io::Result<Self> {
        let address = SocketAddrUnix::new(path)?;
        Self::datagrams(AddressFamily::UNIX, SocketAddrAny::from(address))
    }

    fn datagrams(family: AddressFamily, address: SocketAddrAny) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(family, SocketType::DGRAM, flags, None)?;
        Ok(Self::Datagrams { socket, address })
    }

    /// Sends what lies between `begin` and the ends; how many of them were not taken.
    pub(super) fn send(&mut self, octets: &[u8], ends: &[usize]) -> u64 {
        match self {
            Self::Datagrams { socket, address } => send_datagrams(socket.as_fd(), address, octets, ends),
            Self::Stream(stream) => stream.send(octets, ends),
        }
    }
}

fn send_datagrams(socket: BorrowedFd<'_>, address: &SocketAddrAny, octets: &[u8], ends: &[usize]) -> u64 {
    let (mut begin, mut dropped) = (0, 0);
    let mut rest = ends;
    while !rest.is_empty() {
        let count = rest.len().min(LINES_PER_CALL);
        let mut from = begin;
        let slices: [[IoSlice<'_>; 1]; LINES_PER_CALL] = std::array::from_fn(|place| {
            let line = rest.get(place).and_then(|end| octets.get(from..*end));
            from = rest.get(place).copied().unwrap_or(from);
            [IoSlice::new(line.unwrap_or_default())]
        });
        let mut controls: [SendAncillaryBuffer<'_, '_, '_>; LINES_PER_CALL] =
            std::array::from_fn(|_| SendAncillaryBuffer::default());
        let mut lines = slices.iter();
        let mut messages = controls.each_mut().map(|control| {
            let line: &[IoSlice<'_>] = lines.next().map_or(&[], |line| line);
            MMsgHdr::new_with_addr(address, line, control)
        });
        let sent = rustix::net::sendmmsg(
            socket,
            &mut messages[..count],
            SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
        );
        let done = match sent {
            Ok(sent) => sent.max(1),
            // This one is too long for the socket; the next may not be.
            Err(Errno::MSGSIZE) => {
                dropped += 1;
                1
            }
            Err(_) => return dropped + rest.len() as u64,
        };
        begin = rest.get(done - 1).copied().unwrap_or(octets.len());
        rest = rest.get(done..).unwrap_or_default();
    }
    dropped
}

impl Stream {
    pub(super) fn open(stream: BorrowedFd<'_>, again: &str) -> io::Result<Self> {
        let kind = SFlag::from_bits_truncate(nix::sys::stat::fstat(stream)?.st_mode) & SFlag::S_IFMT;
        let output = if kind == SFlag::S_IFSOCK {
            Output::Socket(stream.try_clone_to_owned()?)
        } else if kind == SFlag::S_IFIFO || kind == SFlag::S_IFCHR {
            let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOCTTY;
            Output::Ours(rustix::fs::open(again, flags, Mode::empty())?)
        } else {
            Output::Ours(stream.try_clone_to_owned()?)
        };
        Ok(Self {
            output,
            leftover: Vec::new(),
        })
    }

    pub(super) fn send(&mut self, octets: &[u8], ends: &[usize]) -> u64 {
        let leftover = std::mem::take(&mut self.leftover);
        if !leftover.is_empty() {
            let taken = self.write(&leftover);
            if taken < leftover.len() {
                self.leftover = leftover;
                self.leftover.drain(..taken);
                return ends.len() as u64;
            }
        }
        let taken = self.write(octets);
        if taken == octets.len() {
            return 0;
        }
        // Who reads gets whole lines: what was begun is kept, what was not is dropped.
        let whole = ends.iter().filter(|end| **end <= taken).count();
        let is_begun = taken
            > whole
                .checked_sub(1)
                .and_then(|last| ends.get(last))
                .copied()
                .unwrap_or(0);
        if is_begun && let Some(rest) = ends.get(whole).and_then(|end| octets.get(taken..*end)) {
            self.leftover.extend_from_slice(rest);
        }
        (ends.len() - whole - usize::from(is_begun)) as u64
    }

    /// How much was taken.
    fn write(&self, octets: &[u8]) -> usize {
        let mut taken = 0;
        while let Some(rest) = octets.get(taken..).filter(|rest| !rest.is_empty()) {
            let written = match &self.output {
                Output::Ours(output) => rustix::io::write(output, rest),
                Output::Socket(output) => {
                    rustix::net::send(output, rest, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
                }
            };
            match written {
                Ok(0) | Err(_) => break,
                Ok(written) => taken += written,
            }
        }
        taken
    }
}
