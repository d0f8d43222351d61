//! What guard and worker say to each other, over a socket pair that keeps message boundaries.
//!
//! ```text
//!   guard ──── Adopt*, Begin, Reload, Stop, Detach ───▶ worker
//!   worker ─── Hold, Role, Beat, Ready, Reloaded, … ──▶ guard
//! ```
//!
//! `Role` and `Beat` come from the protocol thread itself: if that thread stands still, so does the beat.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, recv, send, setsockopt, socketpair, sockopt,
};
use serde::{Deserialize, Serialize};

/// Longest message: a router with 255 IPv6 addresses and as many unicast peers stays well below.
const MESSAGE_MAX: usize = 128 * 1024;
/// Roles in one message: they are sent before anybody reads, and the kernel counts a small message as a large one.
pub(super) const ROLES_PER_MESSAGE: usize = 256;

/// From the guard to the worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToWorker {
    /// An earlier worker held these roles until a moment ago, each at this effective priority: go on as active.
    Adopt(Vec<(String, u8)>),
    /// That was all; begin.
    Begin {
        /// How often the guard has started a worker before.
        restarts: u32,
        /// This worker goes on for one of another binary.
        upgraded: bool,
    },
    /// Read the configuration again (SIGHUP).
    Reload,
    /// Stop: resign, hand over, release.
    Stop,
    /// End at once and leave every address where it is: another worker goes on.
    Detach,
}

/// From the worker to the guard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromWorker {
    /// The protocol thread is alive.
    Beat,
    /// How long the protocol thread may be silent before it counts as hung.
    BeatLimit(Duration),
    /// Everything is running; adopted roles have been taken over.
    Ready,
    /// What has to be undone should the worker vanish while it is active in this router.
    Hold(Holding),
    /// The router is gone from the configuration.
    Forget { slot: u16 },
    /// The router became active or ceased to be, at this effective priority.
    Role { slot: u16, active: bool, priority: u8 },
    /// A reload has ended.
    Reloaded { ok: bool },
    /// One line for the service manager.
    Status(String),
    /// The operator asked for the binary to be replaced.
    Upgrade,
}

impl FromWorker {
    /// Whether the guard need not hear `earlier` any more once it hears this.
    #[must_use]
    pub fn supersedes(&self, earlier: &Self) -> bool {
        match (self, earlier) {
            (Self::Hold(new), Self::Hold(old)) => new.slot == old.slot,
            (Self::Forget { slot }, Self::Hold(old)) => *slot == old.slot,
            (Self::Status(_), Self::Status(_)) | (Self::BeatLimit(_), Self::BeatLimit(_)) => true,
            _ => false,
        }
    }
}

/// One virtual router as the guard sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    pub slot: u16,
    pub router: String,
    /// Ready-made priority-0 advertisements, IP header included.
    pub resign: Vec<ReadyPacket>,
    pub addresses: Vec<HeldAddress>,
}

/// An IP packet and where it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadyPacket {
    pub interface: String,
    pub interface_index: u32,
    pub destination: IpAddr,
    pub bytes: Vec<u8>,
}

/// An address to be removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldAddress {
    pub interface_index: u32,
    pub address: IpAddr,
    pub prefix: u8,
}

/// One end of the pair. Sending never blocks.
#[derive(Debug)]
pub struct Channel(OwnedFd);

impl Channel {
    /// Both ends. They close on exec; the worker's is passed on as its standard input.
    pub fn pair() -> io::Result<(Self, Self)> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        for end in [&ours, &theirs] {
            // Room for a whole configuration's holdings at start. Less is only slower.
            if setsockopt(end, sockopt::SndBufForce, &(4 * MESSAGE_MAX)).is_err() {
                let _ = setsockopt(end, sockopt::SndBuf, &(4 * MESSAGE_MAX));
            }
        }
        Ok((Self(ours), Self(theirs)))
    }

    /// Takes over an end that was inherited.
    #[must_use]
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Gives the descriptor away.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.0
    }

    /// Another handle on the same end.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Sends; `WouldBlock` if the other side has not kept up.
    pub fn send<T: Serialize>(&self, message: &T) -> io::Result<()> {
        let bytes = postcard::to_stdvec(message).map_err(io::Error::other)?;
        self.send_bytes(&bytes)
    }

    /// Sends a small message without allocating.
    pub fn send_small<T: Serialize>(&self, message: &T) -> io::Result<()> {
        let mut buffer = [0; 32];
        let bytes = postcard::to_slice(message, &mut buffer).map_err(io::Error::other)?;
        self.send_bytes(bytes)
    }

    fn send_bytes(&self, bytes: &[u8]) -> io::Result<()> {
        send(
            self.0.as_raw_fd(),
            bytes,
            MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL,
        )?;
        Ok(())
    }

    /// The next message that has arrived.
    pub fn receive<T: for<'de> Deserialize<'de>>(&self, buffer: &mut Vec<u8>) -> io::Result<Received<T>> {
        buffer.resize(MESSAGE_MAX, 0);
        match recv(self.0.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(0) => Ok(Received::Closed),
            Ok(length) => postcard::from_bytes(&buffer[..length])
                .map(Received::Message)
                .map_err(io::Error::other),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(Received::Nothing),
            Err(Errno::ECONNRESET) => Ok(Received::Closed),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Outcome of a look at the channel.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<T> {
    Message(T),
    Nothing,
    /// The other side is gone.
    Closed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_boundaries_and_the_end_is_seen() {
        let (guard, worker) = Channel::pair().unwrap();
        let mut buffer = Vec::new();
        worker.send_small(&FromWorker::Beat).unwrap();
        let addresses = (0..255)
            .map(|n| HeldAddress {
                interface_index: 7,
                address: IpAddr::from([n; 16]),
                prefix: 128,
            })
            .collect();
        let hold = FromWorker::Hold(Holding {
            slot: 3,
            router: "VI_1".into(),
            resign: Vec::new(),
            addresses,
        });
        worker.send(&hold).unwrap();
        drop(worker);
        assert_eq!(
            guard.receive(&mut buffer).unwrap(),
            Received::Message(FromWorker::Beat)
        );
        assert_eq!(guard.receive(&mut buffer).unwrap(), Received::Message(hold));
        assert_eq!(
            guard.receive::<FromWorker>(&mut buffer).unwrap(),
            Received::Closed
        );
    }

    #[test]
    fn the_roles_of_the_largest_configuration_fit_the_channel_before_anybody_reads() {
        let (guard, _worker) = Channel::pair().unwrap();
        let roles: Vec<(String, u8)> = (0..4096)
            .map(|n| (format!("a-router-of-some-length-{n:04}"), 255))
            .collect();
        for roles in roles.chunks(ROLES_PER_MESSAGE) {
            guard.send(&ToWorker::Adopt(roles.to_vec())).unwrap();
        }
    }
}
