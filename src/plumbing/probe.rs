//! Asks an interface's neighbours who answers for an address.
//!
//! The question names no sender, so that nobody's cache is changed by it. Used by the control thread, which holds the
//! answer against what should be: another's hardware address for an address of ours means that two hosts hold it.
//! With a virtual MAC both hosts would answer alike; there the advertisements alone can tell.

use std::io;
use std::net::{IpAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{LinkAddr, bind};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::time::{Instant, timeout_at};

use crate::frames::{Mac, arp_probe, holder, neighbour_probe};

const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;

/// A socket on one interface for the questions of one family.
pub struct Prober {
    socket: tokio::net::UdpSocket,
    ipv6: bool,
}

impl Prober {
    /// Needs a tokio runtime and CAP_NET_RAW.
    pub fn open(link: LinkAddr, ipv6: bool) -> io::Result<Self> {
        let ethertype = if ipv6 { IPV6 } else { ARP };
        let protocol = Protocol::from(i32::from(ethertype.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), Some(protocol))?;
        if ipv6 {
            socket.attach_filter(&neighbour_advertisements())?;
        }
        // The protocol of this address is zero, which keeps that of the socket.
        bind(socket.as_raw_fd(), &link)?;
        let socket = tokio::net::UdpSocket::from_std(UdpSocket::from(std::os::fd::OwnedFd::from(socket)))?;
        Ok(Self { socket, ipv6 })
    }

    /// The hardware address, other than `own`, of the first who answers within `wait`.
    pub async fn who_has(&self, own: Mac, address: IpAddr, wait: Duration) -> io::Result<Option<Mac>> {
        let question = match address {
            IpAddr::V4(address) if !self.ipv6 => arp_probe(own, address),
            IpAddr::V6(address) if self.ipv6 => neighbour_probe(own, address),
            _ => {
                return Err(io::Error::other(format!(
                    "{address} is not of this prober's family"
                )));
            }
        };
        let deadline = Instant::now() + wait;
        let mut buffer = [0; 256];
        while self.socket.try_recv(&mut buffer).is_ok() {
            // What was said before the question does not answer it.
        }
        self.socket.send(&question).await?;
        while let Ok(received) = timeout_at(deadline, self.socket.recv(&mut buffer)).await {
            let answer = holder(&buffer[..received?]);
            if let Some((_, mac)) = answer.filter(|(held, mac)| *held == address && *mac != own) {
                return Ok(Some(mac));
            }
        }
        Ok(None)
    }
}

/// What a packet socket is bound to. Finding it reads every address of the host, so keep it.
pub fn link_address(ifindex: u32) -> io::Result<LinkAddr> {
    getifaddrs()?
        .filter_map(|interface| interface.address?.as_link_addr().copied())
        .find(|link| link.ifindex() == ifindex as usize)
        .ok_or_else(|| io::Error::other(format!("there is no interface {ifindex}")))
}

/// Asks once.
pub async fn who_has(link: LinkAddr, own: Mac, address: IpAddr, wait: Duration) -> io::Result<Option<Mac>> {
    Prober::open(link, address.is_ipv6())?
        .who_has(own, address, wait)
        .await
}

/// A packet filter for ICMPv6 type 136 without extension headers, so that ordinary traffic wakes nobody.
fn neighbour_advertisements() -> [SockFilter; 6] {
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    [
        SockFilter::new(LOAD_BYTE, 0, 0, 14 + 6),
        SockFilter::new(JUMP_IF_EQUAL, 0, 3, 58),
        SockFilter::new(LOAD_BYTE, 0, 0, 14 + 40),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, 136),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::{eventually, in_namespace, ip};

    #[test]
    fn the_holder_answers_and_nobody_answers_for_an_address_that_is_not_held() {
        in_namespace(|| {
            ip("link add v0 address 02:00:00:00:00:01 type veth peer name v1 address 02:00:00:00:00:02");
            ip("link set v0 up");
            ip("link set v1 up");
            ip("address add 10.9.0.1/24 dev v0");
            ip("address add fd99::1/64 dev v0 nodad");
            let v1 = link_address(nix::net::if_::if_nametoindex("v1").unwrap()).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let ask = |own: Mac, address: &str, wait_ms| {
                let wait = Duration::from_millis(wait_ms);
                runtime
                    .block_on(who_has(v1, own, address.parse().unwrap(), wait))
                    .unwrap()
            };
            let (holder, asker) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
            for address in ["10.9.0.1", "fd99::1"] {
                // The first questions may go under while the link comes up.
                eventually(Duration::from_secs(3), || match ask(asker, address, 100) {
                    Some(mac) if mac == holder => Ok(()),
                    other => Err(format!("{address}: {other:?}")),
                });
                assert_eq!(ask(holder, address, 50), None, "our own answer does not count");
            }
            for address in ["10.9.0.2", "fd99::2"] {
                assert_eq!(ask(asker, address, 50), None);
            }
            let wrong = runtime.block_on(async {
                Prober::open(v1, true)?
                    .who_has(asker, [10, 9, 0, 1].into(), Duration::ZERO)
                    .await
            });
            assert!(wrong.is_err());
            assert!(link_address(99).is_err());
        });
    }
}
