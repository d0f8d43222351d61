//! A service on every address of a host, UDP and TCP, that answers with the name of the host.
//!
//! It is bound to the wildcard address, so it serves the virtual address from the moment the kernel has it, and it
//! answers from the address it was asked at.

use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::cmsg_space;
use nix::libc::in6_pktinfo;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, sendmsg, setsockopt, sockopt,
};

use crate::host::Host;
use crate::namespace::NetNamespace;

const PATIENCE: Duration = Duration::from_millis(20);

/// A running echo service; it ends with the value.
#[derive(Debug)]
pub struct Echo {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Echo {
    /// The port, for both protocols.
    pub const PORT: u16 = 7777;

    /// Serves on a host. A request is echoed with the name of the host behind it (UDP), or answered by the name and
    /// a line end (TCP).
    pub fn start(host: &Host) -> Self {
        let (udp, tcp) = host.enter(|| (bind_udp(), bind_tcp()));
        Self::serve(host.net(), udp, tcp, host.name())
    }

    fn serve(net: NetNamespace, udp: UdpSocket, tcp: TcpListener, name: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        {
            let (stop, name) = (Arc::clone(&stop), name.to_owned());
            threads.push(std::thread::spawn(move || answer_datagrams(&udp, &name, &stop)));
        }
        {
            let (stop, name) = (Arc::clone(&stop), name.to_owned());
            threads.push(std::thread::spawn(move || {
                let _net = net;
                answer_connections(&tcp, &name, &stop);
            }));
        }
        Self { stop, threads }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

/// One IPv6 socket serves both families; IPv4 clients appear as mapped addresses.
fn bind_udp() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, Echo::PORT)).expect("the echo port is free");
    setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true).expect("packet information");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket
}

fn bind_tcp() -> TcpListener {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, Echo::PORT)).expect("the echo port is free");
    listener.set_nonblocking(true).expect("a listener can be polled");
    listener
}

fn answer_datagrams(socket: &UdpSocket, name: &str, stop: &AtomicBool) {
    let mut bytes = [0u8; 512];
    let mut control = cmsg_space!(in6_pktinfo);
    while !stop.load(Ordering::Relaxed) {
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let Ok(message) = recvmsg::<SockaddrIn6>(
            socket.as_raw_fd(),
            &mut slices,
            Some(&mut control),
            MsgFlags::empty(),
        ) else {
            continue;
        };
        let asked_at = message.cmsgs().ok().and_then(|mut all| {
            all.find_map(|one| match one {
                ControlMessageOwned::Ipv6PacketInfo(information) => Some(information),
                _ => None,
            })
        });
        let (length, client) = (message.bytes, message.address);
        let (Some(mut asked_at), Some(client)) = (asked_at, client) else {
            continue;
        };
        // The interface is the kernel's choice: a reply may not leave where the request came in.
        asked_at.ipi6_ifindex = 0;
        let parts = [IoSlice::new(&bytes[..length]), IoSlice::new(name.as_bytes())];
        let _ = sendmsg(
            socket.as_raw_fd(),
            &parts,
            &[ControlMessage::Ipv6PacketInfo(&asked_at)],
            MsgFlags::empty(),
            Some(&client),
        );
    }
}

fn answer_connections(listener: &TcpListener, name: &str, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((mut stream, _)) => {
                let _ = stream.write_all(format!("{name}\n").as_bytes());
            }
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// Connects from `client` over TCP and answers the name that an echo service sends.
pub(crate) fn ask_over_tcp(client: &Host, server: SocketAddr, patience: Duration) -> std::io::Result<String> {
    client.enter(|| {
        let mut stream = TcpStream::connect_timeout(&server, patience)?;
        stream.set_read_timeout(Some(patience))?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.trim_end().to_owned())
    })
}
