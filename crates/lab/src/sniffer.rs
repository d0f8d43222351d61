//! Every VRRP, ARP and neighbour frame a host sends, stamped by the kernel as it enters the switch.
//!
//! The socket listens on all ports of the switch and takes incoming frames only, so the port tells who really sent a
//! frame, and frames that a fault drops later are seen too.

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::cmsg_space;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, recvmsg,
    setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeSpec, TimeVal};

use crate::clock::Offset;
use crate::frame::{Advert, Frame};
use crate::network::Network;

/// More than any scenario sends; a flood beyond it is not recorded.
const MOST_FRAMES: usize = 2_000_000;
const BUFFER_BYTES: usize = 16 << 20;

/// One frame and its circumstances.
#[derive(Debug, Clone)]
pub struct Seen {
    /// When it entered the switch, on the lab's clock.
    pub at: Duration,
    /// The host that sent it.
    pub host: String,
    /// What it was.
    pub frame: Frame,
}

impl Seen {
    /// The advert, if it is one.
    pub fn advert(&self) -> Option<&Advert> {
        match &self.frame {
            Frame::Advert(advert) => Some(advert),
            _ => None,
        }
    }
}

/// A running capture.
#[derive(Debug)]
pub struct Sniffer {
    frames: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sniffer {
    /// Listens to all hosts that exist by now.
    pub fn start(network: &Network) -> Self {
        let ports = network.switch().port_indices();
        let socket = network.switch().namespace.enter(capture_socket);
        let frames = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let (frames, stop) = (Arc::clone(&frames), Arc::clone(&stop));
            std::thread::spawn(move || capture(&socket, &ports, &frames, &stop))
        };
        Self {
            frames,
            stop,
            thread: Some(thread),
        }
    }

    /// A copy of everything seen so far.
    pub fn frames(&self) -> Vec<Seen> {
        self.frames.lock().expect("the capture does not panic").clone()
    }

    /// Adverts of one host for one virtual router since `since`.
    pub fn adverts(&self, host: &str, vrid: u8, since: Duration) -> Vec<(Duration, Advert)> {
        let frames = self.frames.lock().expect("the capture does not panic");
        frames
            .iter()
            .rev()
            .take_while(|seen| seen.at >= since)
            .filter(|seen| seen.host == host)
            .filter_map(|seen| Some((seen.at, seen.advert()?.clone())))
            .filter(|(_, advert)| advert.vrid == vrid)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .collect()
    }

    /// Forgets what was seen, to keep long runs small.
    pub fn clear(&self) {
        self.frames.lock().expect("the capture does not panic").clear();
    }
}

impl Drop for Sniffer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn capture_socket() -> OwnedFd {
    let socket = socket(
        AddressFamily::Packet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::EthAll,
    )
    .expect("a packet socket");
    // The larger buffer needs a privilege that a user namespace does not give; the default does for small scenarios.
    let _ = setsockopt(&socket, sockopt::RcvBufForce, &BUFFER_BYTES);
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true).expect("kernel time stamps");
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(0, 20_000)).expect("a receive timeout");
    attach_filter(&socket);
    socket
}

/// Incoming frames of the three kinds only; client traffic never reaches the lab.
fn attach_filter(socket: &OwnedFd) {
    const LOAD_HALF: u16 = 0x28;
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const PACKET_TYPE: u32 = 0xffff_f000 + 4;
    const OUTGOING: u32 = 4;
    let step = |code, k, jt, jf| socket2::SockFilter::new(code, jt, jf, k);
    let program = [
        step(LOAD_HALF, PACKET_TYPE, 0, 0),
        step(JUMP_EQUAL, OUTGOING, 10, 0),
        step(LOAD_HALF, 12, 0, 0),
        step(JUMP_EQUAL, 0x0806, 7, 0),
        step(JUMP_EQUAL, 0x0800, 0, 2),
        step(LOAD_BYTE, 23, 0, 0),
        step(JUMP_EQUAL, 112, 4, 5),
        step(JUMP_EQUAL, 0x86dd, 0, 4),
        step(LOAD_BYTE, 20, 0, 0),
        step(JUMP_EQUAL, 112, 1, 0),
        step(JUMP_EQUAL, 58, 0, 1),
        step(RETURN, 0xffff, 0, 0),
        step(RETURN, 0, 0, 0),
    ];
    socket2::SockRef::from(socket)
        .attach_filter(&program)
        .expect("a socket filter");
}

fn capture(socket: &OwnedFd, ports: &[(usize, String)], frames: &Mutex<Vec<Seen>>, stop: &AtomicBool) {
    let offset = Offset::measure();
    let mut bytes = [0u8; 2048];
    let mut control = cmsg_space!(TimeSpec);
    while !stop.load(Ordering::Relaxed) {
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let Ok(message) = recvmsg::<LinkAddr>(
            socket.as_raw_fd(),
            &mut slices,
            Some(&mut control),
            MsgFlags::empty(),
        ) else {
            continue;
        };
        let length = message.bytes;
        let Some(port) = message.address.map(|address| address.ifindex()) else {
            continue;
        };
        let stamp = message.cmsgs().ok().and_then(|mut all| {
            all.find_map(|one| match one {
                ControlMessageOwned::ScmTimestampns(stamp) => Some(Duration::from(stamp)),
                _ => None,
            })
        });
        // The bridge hands broadcast to itself as well; only ports are hosts.
        let Some((_, host)) = ports.iter().find(|(index, _)| *index == port) else {
            continue;
        };
        let (Some(stamp), Some(frame)) = (stamp, Frame::decode(bytes.get(..length).unwrap_or_default()))
        else {
            continue;
        };
        let mut frames = frames.lock().expect("readers do not panic");
        if frames.len() < MOST_FRAMES {
            frames.push(Seen {
                at: offset.to_monotonic(stamp),
                host: host.clone(),
                frame,
            });
        }
    }
}
