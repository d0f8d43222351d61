//! Where lines leave the process: datagrams in batches, or a standard stream.
//!
//! Nothing waits. Datagram sockets are not connected, so that a restarted receiver is found again and an absent one is
//! no error of the next line. Standard streams belong to others as well and stay as they are: a pipe or terminal is
//! opened once more for ourselves, a socket is told not to wait with each call, a file never makes anybody wait.
//!
//! Over UDP, lines of the same length that follow each other go to the kernel as one message, which it cuts into one
//! datagram for each line (`UDP_SEGMENT`): the way through the network is gone once for all of them, and who receives is
//! woken once. Their order stays.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{setsockopt, sockopt};
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
/// Longer lines are not cut out of one message: a datagram would not fit into a packet.
const SEGMENT_MAX: usize = 1200;
/// Lines cut out of one message; the kernel allows 64.
const SEGMENTS_MAX: usize = 64;
/// Octets of one message that the kernel cuts: a little less than the largest that there is.
const MESSAGE_MAX: usize = 60_000;
/// Fewer lines of the same length are not worth a call of their own.
const ALIKE_MIN: usize = 4;

pub(super) const JOURNAL: &str = "/run/systemd/journal/socket";

/// An open way out.
#[derive(Debug)]
pub(super) enum Sink {
    Datagrams(Datagrams),
    Stream(Stream),
}

#[derive(Debug)]
pub(super) struct Datagrams {
    socket: OwnedFd,
    address: SocketAddrAny,
    /// After how many octets the kernel has been told to cut a message; 0 is not at all, `None` that it cannot.
    segment: Option<usize>,
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
                let mut datagrams = Datagrams::open(family, SocketAddrAny::from(*address))?;
                datagrams.segment = Some(0);
                Ok(Self::Datagrams(datagrams))
            }
            Transport::Unix(path) => Self::unix(path.as_path()),
            Transport::Journal => Self::unix(JOURNAL.as_ref()),
            Transport::Stdout => Stream::open(io::stdout().as_fd(), "/proc/self/fd/1").map(Self::Stream),
            Transport::Stderr => Stream::open(io::stderr().as_fd(), "/proc/self/fd/2").map(Self::Stream),
        }
    }

    fn unix(path: &std::path::Path) -> io::Result<Self> {
        let address = SocketAddrUnix::new(path)?;
        Datagrams::open(AddressFamily::UNIX, SocketAddrAny::from(address)).map(Self::Datagrams)
    }

    /// As where the kernel refuses to cut messages.
    #[cfg(test)]
    pub(super) fn refuse_to_cut(&mut self) {
        if let Self::Datagrams(datagrams) = self {
            datagrams.cut_no_more();
        }
    }

    /// Sends lines, each of which ends where the next begins; how many of them were not taken.
    pub(super) fn send(&mut self, octets: &[u8], ends: &[usize]) -> u64 {
        match self {
            Self::Datagrams(datagrams) => datagrams.send(octets, ends),
            Self::Stream(stream) => stream.send(octets, ends),
        }
    }
}

impl Datagrams {
    /// Each line is a message of its own.
    pub(super) fn open(family: AddressFamily, address: SocketAddrAny) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        Ok(Self {
            socket: rustix::net::socket_with(family, SocketType::DGRAM, flags, None)?,
            address,
            segment: None,
        })
    }

    /// The next messages are cut after so many octets, as far as is known.
    fn cut_after(&mut self, octets: usize) {
        if self.segment.is_some_and(|now| now != octets) {
            let told = setsockopt(
                &self.socket,
                sockopt::UdpGsoSegment,
                &i32::try_from(octets).unwrap_or(0),
            );
            self.segment = told.is_ok().then_some(octets);
        }
    }

    fn send(&mut self, octets: &[u8], ends: &[usize]) -> u64 {
        let (mut begin, mut dropped) = (0, 0);
        let (mut rest, mut before) = (ends, 0);
        // So many at the beginning of `rest` are too different to go together.
        while let Some(ahead) = rest.get(before..).filter(|ahead| !ahead.is_empty()) {
            let from = before
                .checked_sub(1)
                .and_then(|last| rest.get(last))
                .map_or(begin, |end| *end);
            let alike = if self.segment.is_some() {
                alike(from, ahead)
            } else {
                ahead.len()
            };
            if self.segment.is_some() && alike >= ALIKE_MIN {
                dropped += self.send_each(octets, begin, rest.get(..before).unwrap_or_default());
                let together = ahead.get(..alike).unwrap_or_default();
                dropped += self.send_together(octets, from, together);
                begin = together.last().map_or(from, |end| *end);
                (rest, before) = (ahead.get(alike..).unwrap_or_default(), 0);
            } else {
                before += alike;
            }
        }
        dropped + self.send_each(octets, begin, rest)
    }

    /// Lines of one length, of which the last may be shorter, as one message. How many were not taken.
    fn send_together(&mut self, octets: &[u8], begin: usize, ends: &[usize]) -> u64 {
        let (Some(first), Some(last)) = (ends.first(), ends.last()) else {
            return 0;
        };
        self.cut_after(first - begin);
        if self.segment.is_some() {
            let sent = rustix::net::sendto(
                &self.socket,
                octets.get(begin..*last).unwrap_or_default(),
                SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
                &self.address,
            );
            match sent {
                Ok(_) => return 0,
                // The way to this receiver is one on which messages cannot be cut.
                Err(Errno::INVAL | Errno::IO | Errno::OPNOTSUPP | Errno::MSGSIZE) => self.cut_no_more(),
                Err(_) => return ends.len() as u64,
            }
        }
        self.send_each(octets, begin, ends)
    }

    fn send_each(&mut self, octets: &[u8], begin: usize, ends: &[usize]) -> u64 {
        if ends.is_empty() {
            return 0;
        }
        self.cut_after(0);
        send_each(self.socket.as_fd(), &self.address, octets, begin, ends)
    }

    fn cut_no_more(&mut self) {
        self.cut_after(0);
        self.segment = None;
    }
}

/// How many lines can go together: those that are as long as the first, and one that is shorter.
fn alike(begin: usize, ends: &[usize]) -> usize {
    let mut lengths = ends.iter().scan(begin, |begin, end| {
        let length = end - *begin;
        *begin = *end;
        Some(length)
    });
    let first = lengths.next().unwrap_or_default();
    let most = (MESSAGE_MAX / first.max(1)).min(SEGMENTS_MAX);
    if first > SEGMENT_MAX {
        return 1;
    }
    let mut count = 1;
    for length in lengths.take(most - 1) {
        if length > first {
            break;
        }
        count += 1;
        if length < first {
            break;
        }
    }
    count
}

/// One message for each line, many with one call. How many were not taken.
fn send_each(
    socket: BorrowedFd<'_>,
    address: &SocketAddrAny,
    octets: &[u8],
    mut begin: usize,
    ends: &[usize],
) -> u64 {
    let mut dropped = 0;
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
