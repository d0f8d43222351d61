//! Sockets that put ready-made Ethernet frames on an interface and receive nothing.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, bind, send, socket};

struct Port {
    socket: OwnedFd,
    /// When the gap after the last frame ends.
    free: Instant,
}

/// One socket per interface that carries an address, opened when first needed.
#[derive(Default)]
pub(super) struct Ports {
    ports: HashMap<u32, Port>,
}

impl Ports {
    /// Makes sure that there is a socket for each interface, so that a claim need not open one.
    pub(super) fn open(&mut self, mut interfaces: impl Iterator<Item = u32> + Clone) -> Result<(), Errno> {
        if interfaces
            .clone()
            .all(|ifindex| self.ports.contains_key(&ifindex))
        {
            return Ok(());
        }
        for address in getifaddrs()?.filter_map(|interface| interface.address) {
            let Some(link) = address.as_link_addr() else {
                continue;
            };
            let ifindex = link.ifindex() as u32;
            if interfaces.clone().any(|wanted| wanted == ifindex) && !self.ports.contains_key(&ifindex) {
                self.ports.insert(
                    ifindex,
                    Port {
                        socket: sender(link)?,
                        free: Instant::now(),
                    },
                );
            }
        }
        if interfaces.all(|ifindex| self.ports.contains_key(&ifindex)) {
            Ok(())
        } else {
            Err(Errno::ENODEV)
        }
    }

    /// When the next frame may leave this interface.
    pub(super) fn free(&self, ifindex: u32) -> Option<Instant> {
        self.ports.get(&ifindex).map(|port| port.free)
    }

    pub(super) fn send(&mut self, ifindex: u32, frame: &[u8], free: Instant) -> Result<(), Errno> {
        let port = self.ports.get_mut(&ifindex).ok_or(Errno::ENODEV)?;
        port.free = free;
        match send(port.socket.as_raw_fd(), frame, MsgFlags::MSG_DONTWAIT) {
            Ok(_) => Ok(()),
            Err(errno) => {
                // The interface is gone; should its number come back, that is another interface.
                if matches!(errno, Errno::ENXIO | Errno::ENODEV) {
                    self.ports.remove(&ifindex);
                }
                Err(errno)
            }
        }
    }
}

/// Protocol 0 receives nothing.
fn sender(link: &LinkAddr) -> Result<OwnedFd, Errno> {
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
    bind(socket.as_raw_fd(), link)?;
    Ok(socket)
}
