//! Sends forged frames from a host at a steady rate, for a bounded time.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, sendto, socket};

use crate::host::Host;

/// A raw socket on a host.
#[derive(Debug)]
pub struct Injector {
    socket: OwnedFd,
    eth0: LinkAddr,
}

/// What an injection came to.
#[derive(Debug, Clone, Copy)]
pub struct Injection {
    /// Frames sent.
    pub sent: u64,
    /// How long it took.
    pub took: Duration,
}

impl Injector {
    /// An attacker on `host`.
    pub fn new(host: &Host) -> Self {
        let (socket, eth0) = host.enter(|| {
            let socket = socket(
                AddressFamily::Packet,
                SockType::Raw,
                SockFlag::SOCK_CLOEXEC,
                None::<SockProtocol>,
            )
            .expect("a packet socket");
            let eth0 = getifaddrs()
                .expect("addresses can be listed")
                .filter(|interface| interface.interface_name == "eth0")
                .find_map(|interface| interface.address?.as_link_addr().copied())
                .expect("eth0 has a hardware address");
            (socket, eth0)
        });
        Self { socket, eth0 }
    }

    /// Sends one frame.
    pub fn send(&self, frame: &[u8]) {
        // A full queue is part of a flood.
        let _ = sendto(self.socket.as_raw_fd(), frame, &self.eth0, MsgFlags::empty());
    }

    /// Sends what `next` makes of each sequence number, `rate` frames a second for `period`.
    pub fn flood(&self, rate: u32, period: Duration, mut next: impl FnMut(u64) -> Vec<u8>) -> Injection {
        let start = Instant::now();
        let mut sent = 0u64;
        loop {
            let elapsed = start.elapsed();
            if elapsed >= period {
                return Injection { sent, took: elapsed };
            }
            let due = (elapsed.as_secs_f64() * f64::from(rate)) as u64;
            while sent <= due {
                self.send(&next(sent));
                sent += 1;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
