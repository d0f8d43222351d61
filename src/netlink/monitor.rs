//! Hears of changes to interfaces and addresses, on the control thread's runtime.
//!
//! The socket asks the kernel to drop notifications of our own doing before they wake anyone: thousands of renewals a
//! second would otherwise be read only to be ignored. A full queue (ENOBUFS) means that something was missed:
//! everything is then dumped again and compared.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsFd;

use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use socket2::{SockFilter, SockRef};

use super::batch::{Netlink, enlarge_receive_queue, messages};
pub use super::interfaces::{Change, Interface, Interfaces};

const GROUP_LINK: u32 = 0x1;
const GROUP_IPV4_ADDRESS: u32 = 0x10;
const GROUP_IPV6_ADDRESS: u32 = 0x100;
/// Some thousand notifications.
const RECEIVE_QUEUE: usize = 8 << 20;
/// Datagrams read before the changes are handed over.
const DATAGRAMS: usize = 256;

/// The table of interfaces, kept current.
pub struct Monitor {
    socket: tokio::net::UdpSocket,
    netlink: Netlink,
    interfaces: Interfaces,
    /// Found by a dump, not yet handed over.
    found: Vec<Change>,
    buffer: Vec<u8>,
}

impl Monitor {
    /// Listens, then reads everything, in the network namespace of this thread. `own_ports` are the netlink ports
    /// whose doings are not told. Needs a tokio runtime.
    pub fn start(own_ports: &[u32]) -> io::Result<Self> {
        let socket = listen(own_ports)?;
        let netlink = Netlink::open().map_err(io::Error::other)?;
        let (interfaces, found, buffer) = (Interfaces::default(), Vec::new(), vec![0; 64 * 1024]);
        let mut monitor = Self {
            socket,
            netlink,
            interfaces,
            found,
            buffer,
        };
        monitor.interfaces = monitor.dump()?;
        Ok(monitor)
    }

    #[must_use]
    pub fn interfaces(&self) -> &Interfaces {
        &self.interfaces
    }

    /// Reads everything again, our own doings included. What differs is told by [`changes`](Self::changes).
    pub fn refresh(&mut self) -> io::Result<()> {
        let now = self.dump()?;
        self.found.extend(now.since(&self.interfaces));
        self.interfaces = now;
        Ok(())
    }

    /// Waits for changes. Nothing is lost if the wait is cancelled.
    pub async fn changes(&mut self) -> Vec<Change> {
        loop {
            if !self.found.is_empty() {
                return std::mem::take(&mut self.found);
            }
            let received = self.socket.recv(&mut self.buffer).await;
            self.take(received);
            for _ in 0..DATAGRAMS {
                let received = self.socket.try_recv(&mut self.buffer);
                if received
                    .as_ref()
                    .is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
                {
                    break;
                }
                self.take(received);
            }
        }
    }

    fn take(&mut self, received: io::Result<usize>) {
        match received {
            Ok(length) => {
                for message in messages(&self.buffer[..length]) {
                    // A message that the parser does not know tells of nothing that the table holds.
                    if let Ok(NetlinkPayload::InnerMessage(message)) = message.map(|message| message.payload)
                    {
                        self.interfaces.apply(&message, forwards_ipv6, &mut self.found);
                    }
                }
            }
            // The queue was full. Should the dump be refused too, the next notification tries again.
            Err(_) => {
                if let Ok(now) = self.dump() {
                    self.found.extend(now.since(&self.interfaces));
                    self.found.extend(now.lost_since(&self.interfaces));
                    self.interfaces = now;
                }
            }
        }
    }

    fn dump(&mut self) -> io::Result<Interfaces> {
        let links = self.netlink.dump_links().map_err(io::Error::other)?;
        let addresses = self.netlink.dump_addresses().map_err(io::Error::other)?;
        Ok(Interfaces::from_dump(&links, &addresses, forwards_ipv6))
    }
}

fn listen(own_ports: &[u32]) -> io::Result<tokio::net::UdpSocket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.set_non_blocking(true)?;
    enlarge_receive_queue(&socket, RECEIVE_QUEUE);
    SockRef::from(&socket).attach_filter(&all_but(own_ports))?;
    socket.bind(&SocketAddr::new(
        0,
        GROUP_LINK | GROUP_IPV4_ADDRESS | GROUP_IPV6_ADDRESS,
    ))?;
    // Only send and receive are used, and those know no address family.
    tokio::net::UdpSocket::from_std(UdpSocket::from(socket.as_fd().try_clone_to_owned()?))
}

/// A packet filter that drops notifications caused by these ports.
fn all_but(ports: &[u32]) -> Vec<SockFilter> {
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    /// Where `struct nlmsghdr` has the port, in the byte order of the host.
    const PORT: u32 = 12;
    let mut filter = vec![SockFilter::new(LOAD_WORD, 0, 0, PORT)];
    for (before, port) in ports.iter().enumerate() {
        // The filter loads words in network order. The accepting return comes after the last comparison.
        let behind = (ports.len() - before) as u8;
        filter.push(SockFilter::new(
            JUMP_IF_EQUAL,
            behind,
            0,
            u32::from_be_bytes(port.to_ne_bytes()),
        ));
    }
    filter.push(SockFilter::new(RETURN, 0, 0, u32::MAX));
    filter.push(SockFilter::new(RETURN, 0, 0, 0));
    filter
}

fn forwards_ipv6(interface: &str) -> bool {
    let setting = std::fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{interface}/forwarding"));
    setting.is_ok_and(|value| value.trim() != "0")
}

#[cfg(test)]
mod tests;
