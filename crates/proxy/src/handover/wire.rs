//! Messages with file descriptors over a socket that keeps packets apart.
//!
//! ```text
//!   packet 1   length (4) | descriptors (4) | the first octets       with the first descriptors
//!   packet 2   further octets                                        with further ones
//!   ...        until `length` octets and all descriptors have come
//! ```
//!
//! Both ends are the same program, perhaps in two versions, and started by each other; still nothing here trusts a
//! length. Blocking, with a time limit for each packet: this is no place for an event loop.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, sockopt,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// Octets of a packet: well below what the kernel lets a socket buffer by default.
const PACKET_MAX: usize = 64 * 1024;
/// Descriptors of a packet; the kernel's limit is 253.
const DESCRIPTORS_MAX: usize = 250;
/// Octets of a message.
const MESSAGE_MAX: usize = 256 * 1024 * 1024;
/// Descriptors of a message.
const MESSAGE_DESCRIPTORS_MAX: usize = 65_536;
const HEADER: usize = 8;

/// Why there is no message.
#[derive(Debug, Error)]
pub enum WireError {
    /// The other process is gone.
    #[error("the other process has closed the connection: see its log")]
    Closed,
    /// The other process took too long.
    #[error("the other process did not answer in time: see its log")]
    TimedOut,
    /// The kernel.
    #[error("the connection to the other process cannot be used: {0}")]
    System(#[from] Errno),
    /// It was not a message.
    #[error("the other process sent what is no message of this kind: both have to be the same program")]
    Unreadable,
    /// A message is too large.
    #[error("a message of {0} octets is too large to be sent")]
    TooLarge(usize),
}

/// One end.
#[derive(Debug)]
pub(super) struct Wire(OwnedFd);

impl Wire {
    /// A connected `SOCK_SEQPACKET` socket; a packet may take so long.
    pub(super) fn new(socket: OwnedFd, patience: Duration) -> Result<Self, WireError> {
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(patience))?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(patience))?;
        let flags = rustix::fs::fcntl_getfl(&socket)?;
        rustix::fs::fcntl_setfl(&socket, flags - rustix::fs::OFlags::NONBLOCK)?;
        Ok(Self(socket))
    }

    /// From now on what comes may take so long, or for ever.
    pub(super) fn wait_for(&self, patience: Option<Duration>) -> Result<(), WireError> {
        Ok(sockopt::set_socket_timeout(
            &self.0,
            sockopt::Timeout::Recv,
            patience,
        )?)
    }

    /// Whatever the other process says from now on does not arrive, and it learns that it did not. What it said before
    /// can still be received.
    pub(super) fn hang_up(&self) {
        // Gone already is as good.
        let _gone = rustix::net::shutdown(&self.0, rustix::net::Shutdown::Both);
    }

    /// Sends a message and waits until the kernel has all of it.
    pub(super) fn send(
        &self,
        message: &impl Serialize,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), WireError> {
        let mut octets = vec![0; HEADER];
        octets = postcard::to_extend(message, octets).map_err(|_| WireError::Unreadable)?;
        let too_large = WireError::TooLarge(octets.len());
        let length = u32::try_from(octets.len()).map_err(|_| WireError::TooLarge(octets.len()))?;
        if octets.len() > MESSAGE_MAX || descriptors.len() > MESSAGE_DESCRIPTORS_MAX {
            return Err(too_large);
        }
        let count = u32::try_from(descriptors.len()).map_err(|_| too_large)?;
        if let Some((head, _)) = octets.split_first_chunk_mut::<HEADER>() {
            let ([l1, l2, l3, l4], [c1, c2, c3, c4]) = (length.to_be_bytes(), count.to_be_bytes());
            *head = [l1, l2, l3, l4, c1, c2, c3, c4];
        }
        let (mut rest, mut further) = (&octets[..], descriptors);
        while !rest.is_empty() || !further.is_empty() {
            let (packet, after) = rest.split_at(rest.len().min(PACKET_MAX));
            let (passed, later) = further.split_at(further.len().min(DESCRIPTORS_MAX));
            // A packet without octets would look like the end. One octet more is nobody's.
            self.send_packet(if packet.is_empty() { &[0] } else { packet }, passed)?;
            (rest, further) = (after, later);
        }
        Ok(())
    }

    fn send_packet(&self, octets: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), WireError> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(descriptors));
        }
        loop {
            let sent = rustix::net::sendmsg(
                &self.0,
                &[IoSlice::new(octets)],
                &mut control,
                SendFlags::NOSIGNAL,
            );
            return match sent {
                Ok(_) => Ok(()),
                Err(Errno::INTR) => continue,
                Err(Errno::PIPE | Errno::CONNRESET) => Err(WireError::Closed),
                Err(Errno::AGAIN) => Err(WireError::TimedOut),
                Err(errno) => Err(errno.into()),
            };
        }
    }

    /// Waits for a message.
    pub(super) fn receive<T: DeserializeOwned>(&self) -> Result<(T, Vec<OwnedFd>), WireError> {
        let (mut octets, mut descriptors) = (Vec::new(), Vec::new());
        self.receive_packet(&mut octets, &mut descriptors)?;
        let head = *octets.first_chunk::<HEADER>().ok_or(WireError::Unreadable)?;
        let [l1, l2, l3, l4, c1, c2, c3, c4] = head;
        let length = u32::from_be_bytes([l1, l2, l3, l4]) as usize;
        let count = u32::from_be_bytes([c1, c2, c3, c4]) as usize;
        if length > MESSAGE_MAX || count > MESSAGE_DESCRIPTORS_MAX {
            return Err(WireError::Unreadable);
        }
        while octets.len() < length || descriptors.len() < count {
            let enough = octets.len() >= length;
            self.receive_packet(&mut octets, &mut descriptors)?;
            if enough {
                octets.truncate(length);
            }
        }
        if octets.len() != length || descriptors.len() != count {
            return Err(WireError::Unreadable);
        }
        let payload = octets.get(HEADER..).unwrap_or_default();
        let message = postcard::from_bytes(payload).map_err(|_| WireError::Unreadable)?;
        Ok((message, descriptors))
    }

    fn receive_packet(&self, octets: &mut Vec<u8>, descriptors: &mut Vec<OwnedFd>) -> Result<(), WireError> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let start = octets.len();
        octets.resize(start + PACKET_MAX, 0);
        let received = loop {
            let place = octets.get_mut(start..).unwrap_or_default();
            let flags = RecvFlags::CMSG_CLOEXEC;
            match rustix::net::recvmsg(&self.0, &mut [IoSliceMut::new(place)], &mut control, flags) {
                Err(Errno::INTR) => {}
                Err(Errno::CONNRESET) => return Err(WireError::Closed),
                Err(Errno::AGAIN) => return Err(WireError::TimedOut),
                Err(errno) => return Err(errno.into()),
                Ok(received) => break received,
            }
        };
        octets.truncate(start + received.bytes);
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(passed) = message {
                descriptors.extend(passed);
            }
        }
        if received.bytes == 0 {
            return Err(WireError::Closed);
        }
        Ok(())
    }
}

/// Two ends that are connected: one for this process, one to be given to the other.
pub fn pair() -> Result<(OwnedFd, OwnedFd), WireError> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    Ok(socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn wires() -> (Wire, Wire) {
        let (one, other) = pair().unwrap();
        let patience = Duration::from_secs(10);
        (
            Wire::new(one, patience).unwrap(),
            Wire::new(other, patience).unwrap(),
        )
    }

    #[test]
    fn a_message_of_many_packets_and_descriptors_comes_whole() {
        let (one, other) = wires();
        let octets: Vec<u8> = (0..1_000_000_u32).map(|number| (number / 3) as u8).collect();
        let pairs: Vec<(UnixStream, UnixStream)> = (0..400).map(|_| UnixStream::pair().unwrap()).collect();
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| {
                let descriptors: Vec<BorrowedFd<'_>> = pairs.iter().map(|(_, given)| given.as_fd()).collect();
                one.send(&octets, &descriptors).unwrap();
                one.send(&(), &descriptors).unwrap();
                one.send(&"after it", &[]).unwrap();
            });
            let (message, descriptors) = other.receive::<Vec<u8>>().unwrap();
            assert!(message == octets);
            assert_eq!(descriptors.len(), 400);
            for (index, (descriptor, (kept, _))) in descriptors.into_iter().zip(&pairs).enumerate() {
                let index = u8::try_from(index % 256).unwrap();
                UnixStream::from(descriptor).write_all(&[index]).unwrap();
                let mut octet = [0];
                (&*kept).read_exact(&mut octet).unwrap();
                assert_eq!(octet, [index]);
            }
            assert_eq!(other.receive::<()>().unwrap().1.len(), 400);
            assert_eq!(other.receive::<String>().unwrap().0, "after it");
            sender.join().unwrap();
        });
    }

    #[test]
    fn what_was_said_before_a_hang_up_arrives_and_nothing_after_it() {
        let (one, other) = wires();
        other.send(&1_u8, &[]).unwrap();
        one.hang_up();
        assert!(matches!(other.send(&2_u8, &[]), Err(WireError::Closed)));
        assert_eq!(one.receive::<u8>().unwrap().0, 1);
        assert!(matches!(one.receive::<u8>(), Err(WireError::Closed)));
    }

    #[test]
    fn a_process_that_is_gone_or_silent_or_wrong_is_told_apart() {
        let (one, other) = wires();
        other.wait_for(Some(Duration::from_millis(20))).unwrap();
        assert!(matches!(other.receive::<u8>(), Err(WireError::TimedOut)));
        one.send(&"text", &[]).unwrap();
        assert!(matches!(other.receive::<[u64; 32]>(), Err(WireError::Unreadable)));
        drop(one);
        assert!(matches!(other.receive::<u8>(), Err(WireError::Closed)));
        assert!(matches!(other.send(&1_u8, &[]), Err(WireError::Closed)));
    }
}
