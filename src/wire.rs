//! Raw sockets for protocol 112, one pair per interface and family.
//!
//! Receiving and sending are apart: what we send carries an IP header of our own making (`IPPROTO_RAW`), so that its
//! source is what the configuration says even while addresses come and go, and so that the guard can keep a finished
//! packet. What we receive passes a filter in the kernel that lets only our own VRIDs through: a flood for somebody
//! else never wakes the protocol thread.

use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::cmsg_space;
use nix::libc;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, setsockopt, sockopt};
use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};
use warren_vrrp::Family;
use warren_vrrp::packet::{Envelope, GROUP_V4, GROUP_V6, PROTOCOL};

use crate::frames::Mac;

/// Longest VRRP message with the longest IPv4 header before it.
pub(crate) const PACKET_MAX: usize = 60 + 8 + 255 * 16;

/// Bytes the kernel may queue for us; a few hundred packets, so that a flood is dropped early.
const RECEIVE_BUFFER: usize = 256 * 1024;

/// VRIDs that are ours on one interface and family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct VridSet([u32; 8]);

impl VridSet {
    pub(crate) fn insert(&mut self, vrid: u8) {
        self.0[usize::from(vrid >> 5)] |= 1 << (vrid & 31);
    }

    /// Every VRID that is not in this set.
    pub(crate) fn complement(self) -> Self {
        Self(self.0.map(|word| !word))
    }
}

/// What comes in by one interface and family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Passing {
    pub(crate) vrids: VridSet,
    /// From this MAC only. What others send arrives on the interface of a virtual MAC as well as on its base.
    pub(crate) sender: Option<Mac>,
}

/// Where adverts of one interface and family come in.
#[derive(Debug)]
pub(crate) struct Receiver {
    socket: Socket,
    family: Family,
}

impl Receiver {
    /// Opens a socket that hears protocol 112 on `interface` only. Nothing passes before [`Receiver::listen_to`].
    pub(crate) fn open(interface: &str, index: u32, family: Family) -> io::Result<Self> {
        let (domain, protocol) = match family {
            Family::V4 => (Domain::IPV4, Protocol::from(i32::from(PROTOCOL))),
            Family::V6 => (Domain::IPV6, Protocol::from(i32::from(PROTOCOL))),
        };
        let socket = Socket::new(domain, Type::RAW.cloexec().nonblocking(), Some(protocol))?;
        let receiver = Self { socket, family };
        receiver.listen_to(&Passing::default())?;
        let socket = &receiver.socket;
        socket.bind_device(Some(interface.as_bytes()))?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        match family {
            Family::V4 => {
                // Without this a raw socket hears the groups that others joined on other interfaces.
                socket.set_multicast_all_v4(false)?;
                let interface = socket2::InterfaceIndexOrAddress::Index(index);
                socket.join_multicast_v4_n(&GROUP_V4, &interface)?;
            }
            Family::V6 => {
                socket.set_multicast_all_v6(false)?;
                setsockopt(socket, sockopt::Ipv6RecvHopLimit, &true)?;
                setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?;
                socket.join_multicast_v6(&GROUP_V6, index)?;
            }
        }
        Ok(receiver)
    }

    /// Lets this through and nothing else.
    pub(crate) fn listen_to(&self, passing: &Passing) -> io::Result<()> {
        self.socket.attach_filter(&filter(self.family, passing))
    }

    /// Reads one packet into `buffer`: where it came from and where in the buffer the VRRP message lies.
    pub(crate) fn receive<'b>(
        &self,
        buffer: &'b mut [u8],
        control: &mut [u8],
    ) -> io::Result<Option<(Envelope, &'b [u8])>> {
        match self.family {
            Family::V4 => {
                let length = (&self.socket).read(buffer)?;
                Ok(split_ipv4(&buffer[..length]))
            }
            Family::V6 => receive_v6(&self.socket, buffer, control),
        }
    }
}

impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Room for the control messages of [`Receiver::receive`].
pub(crate) fn control_buffer() -> Vec<u8> {
    cmsg_space!(libc::in6_pktinfo, libc::c_int)
}

fn split_ipv4(packet: &[u8]) -> Option<(Envelope, &[u8])> {
    // The header's length is its own to say: options are legal.
    let header_length = usize::from(packet.first()? & 0x0f) * 4;
    let total_length = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
    let ttl = *packet.get(8)?;
    let source: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
    let destination: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
    let payload = packet.get(header_length.max(20)..total_length.min(packet.len()))?;
    let envelope = Envelope {
        source: Ipv4Addr::from(source).into(),
        destination: Ipv4Addr::from(destination).into(),
        ttl,
    };
    Some((envelope, payload))
}

fn receive_v6<'b>(
    socket: &Socket,
    buffer: &'b mut [u8],
    control: &mut [u8],
) -> io::Result<Option<(Envelope, &'b [u8])>> {
    let (source, destination, ttl, length) = {
        let mut slices = [io::IoSliceMut::new(buffer)];
        let received = recvmsg::<SockaddrIn6>(
            socket.as_raw_fd(),
            &mut slices,
            Some(control),
            MsgFlags::MSG_DONTWAIT,
        )?;
        let mut destination = None;
        let mut ttl = None;
        for message in received.cmsgs()? {
            match message {
                ControlMessageOwned::Ipv6PacketInfo(info) => {
                    destination = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr));
                }
                ControlMessageOwned::Ipv6HopLimit(limit) => ttl = u8::try_from(limit).ok(),
                _ => {}
            }
        }
        (
            received.address.map(|address| address.ip()),
            destination,
            ttl,
            received.bytes,
        )
    };
    let (Some(source), Some(destination), Some(ttl)) = (source, destination, ttl) else {
        return Ok(None);
    };
    let envelope = Envelope {
        source: source.into(),
        destination: destination.into(),
        ttl,
    };
    Ok(Some((envelope, &buffer[..length])))
}

/// Where adverts of one interface and family go out, IP header included.
#[derive(Debug)]
pub(crate) struct Sender {
    socket: Socket,
}

impl Sender {
    pub(crate) fn open(interface: &str, index: u32, family: Family) -> io::Result<Self> {
        let domain = match family {
            Family::V4 => Domain::IPV4,
            Family::V6 => Domain::IPV6,
        };
        // IPPROTO_RAW implies that the header is ours to write, and that nothing is ever received.
        let protocol = Protocol::from(libc::IPPROTO_RAW);
        let socket = Socket::new(domain, Type::RAW.cloexec().nonblocking(), Some(protocol))?;
        socket.bind_device(Some(interface.as_bytes()))?;
        match family {
            Family::V4 => socket.set_multicast_loop_v4(false)?,
            Family::V6 => {
                socket.set_multicast_loop_v6(false)?;
                socket.set_multicast_if_v6(index)?;
            }
        }
        Ok(Self { socket })
    }

    /// Sends a finished packet.
    pub(crate) fn send(&self, packet: &[u8], destination: &SockAddr) -> io::Result<()> {
        self.socket.send_to(packet, destination).map(|_| ())
    }
}

/// The socket address of `destination` on the interface with this index.
pub(crate) fn socket_address(destination: IpAddr, interface_index: u32) -> SockAddr {
    let address: SocketAddr = match destination {
        IpAddr::V4(address) => SocketAddrV4::new(address, 0).into(),
        IpAddr::V6(address) => SocketAddrV6::new(address, 0, 0, interface_index).into(),
    };
    address.into()
}

/// A classic BPF program that passes a packet whose VRID is in the set: the set is eight words of a bitmap; the word
/// is chosen by the VRID's upper three bits and shifted by its lower five.
fn filter(family: Family, passing: &Passing) -> Vec<SockFilter> {
    const LOAD_WORD: u16 = 0x20; // A = four octets at k, in network order
    const LOAD_HALF: u16 = 0x28; // A = two of them
    const LOAD_BYTE: u16 = 0x30; // A = packet[k]
    const LOAD_BYTE_X: u16 = 0x50; // A = packet[X + k]
    const LOAD_HEADER_LENGTH: u16 = 0xb1; // X = 4 * (packet[k] & 15)
    const LOAD_CONSTANT: u16 = 0x00; // A = k
    const STORE: u16 = 0x02; // M[k] = A
    const LOAD_MEMORY: u16 = 0x60; // A = M[k]
    const AND: u16 = 0x54;
    const SHIFT_RIGHT: u16 = 0x74;
    const SHIFT_RIGHT_X: u16 = 0x7c;
    const TO_X: u16 = 0x07;
    const JUMP: u16 = 0x05;
    const JUMP_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let mut program = Vec::with_capacity(40);
    let mut push =
        |code, jump_true, jump_false, k| program.push(SockFilter::new(code, jump_true, jump_false, k));
    if let Some([a, b, c, d, e, f]) = passing.sender {
        // Octets 6 to 11 of the Ethernet header, which lies before what the socket sees (SKF_LL_OFF of the kernel).
        const SENDER: u32 = (-0x20_0000_i32 + 6).cast_unsigned();
        push(LOAD_WORD, 0, 0, SENDER);
        push(JUMP_EQUAL, 1, 0, u32::from_be_bytes([a, b, c, d]));
        push(RETURN, 0, 0, 0);
        push(LOAD_HALF, 0, 0, SENDER + 4);
        push(JUMP_EQUAL, 1, 0, u32::from(u16::from_be_bytes([e, f])));
        push(RETURN, 0, 0, 0);
    }
    match family {
        // A raw IPv4 socket sees the IP header first, a raw IPv6 socket does not.
        Family::V4 => {
            push(LOAD_HEADER_LENGTH, 0, 0, 0);
            push(LOAD_BYTE_X, 0, 0, 1);
        }
        Family::V6 => push(LOAD_BYTE, 0, 0, 1),
    }
    push(STORE, 0, 0, 0);
    push(AND, 0, 0, 31);
    push(TO_X, 0, 0, 0);
    push(LOAD_MEMORY, 0, 0, 0);
    push(SHIFT_RIGHT, 0, 0, 5);
    // Each word's turn takes three instructions: compare (skip two), load, jump behind the last.
    for (word, bits) in (0u32..).zip(passing.vrids.0) {
        push(JUMP_EQUAL, 0, 2, word);
        push(LOAD_CONSTANT, 0, 0, bits);
        push(JUMP, 0, 0, 3 * (7 - word));
    }
    push(SHIFT_RIGHT_X, 0, 0, 0);
    push(AND, 0, 0, 1);
    push(JUMP_EQUAL, 1, 0, 0);
    push(RETURN, 0, 0, u32::MAX);
    push(RETURN, 0, 0, 0);
    program
}

/// Hears the VRIDs that are *not* ours, so that `warren status` can name a clash. Belongs to the control thread.
#[derive(Debug)]
pub(crate) struct ForeignObserver(Receiver);

impl ForeignObserver {
    pub(crate) fn open(interface: &str, index: u32, family: Family, ours: &VridSet) -> io::Result<Self> {
        let receiver = Receiver::open(interface, index, family)?;
        receiver.socket.set_recv_buffer_size(8 * 1024)?;
        receiver.listen_to(&Passing {
            vrids: ours.complement(),
            sender: None,
        })?;
        Ok(Self(receiver))
    }

    /// Looks at up to `budget` packets and throws the rest away: one look per second is enough for a status line.
    pub(crate) fn look(&self, budget: usize, mut seen: impl FnMut(u8, u8, IpAddr)) {
        let mut buffer = [0; 128];
        let mut control = control_buffer();
        for _ in 0..budget {
            match self.0.receive(&mut buffer, &mut control) {
                Ok(Some((envelope, [head, vrid, priority, ..]))) if head & 0x0f == 1 => {
                    seen(*vrid, *priority, envelope.source);
                }
                Ok(_) => {}
                Err(_) => return,
            }
        }
        let mut rest = [MaybeUninit::uninit(); 1];
        for _ in 0..10 * budget {
            if self.0.socket.recv(&mut rest).is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program as the kernel would.
    fn passes(program: &[SockFilter], packet: &[u8]) -> bool {
        // Attach to a datagram pair and see whether the packet arrives: the kernel itself is the interpreter.
        let (sender, receiver) = Socket::pair(Domain::UNIX, Type::DGRAM, None).unwrap();
        receiver.set_nonblocking(true).unwrap();
        receiver.attach_filter(program).unwrap();
        sender.send(packet).unwrap();
        let mut buffer = [MaybeUninit::uninit(); 128];
        receiver.recv(&mut buffer).is_ok()
    }

    fn anybody(vrids: VridSet) -> Passing {
        Passing { vrids, sender: None }
    }

    #[test]
    fn filter_passes_our_vrids_and_no_others_behind_any_ip_header() {
        let mut vrids = VridSet::default();
        for vrid in [1, 31, 32, 51, 200, 255] {
            vrids.insert(vrid);
        }
        for vrid in 0..=255u8 {
            let expected = [1, 31, 32, 51, 200, 255].contains(&vrid);
            for words in [5usize, 7] {
                let mut packet = vec![0x40 | words as u8];
                packet.resize(words * 4, 0);
                packet.extend([0x31, vrid, 100, 0]);
                assert_eq!(
                    passes(&filter(Family::V4, &anybody(vrids)), &packet),
                    expected,
                    "vrid {vrid}"
                );
            }
            assert_eq!(
                passes(&filter(Family::V6, &anybody(vrids)), &[0x31, vrid, 100, 0]),
                expected
            );
            assert_eq!(
                passes(
                    &filter(Family::V6, &anybody(vrids.complement())),
                    &[0x31, vrid, 100, 0]
                ),
                !expected
            );
        }
        assert!(
            !passes(&filter(Family::V4, &anybody(vrids)), &[0x45]),
            "a torso is dropped"
        );
    }

    #[test]
    fn ip_options_are_skipped_and_nonsense_is_refused() {
        let mut packet = vec![
            0x46, 0xc0, 0, 28, 0, 0, 0, 0, 254, 112, 0, 0, 10, 0, 0, 1, 224, 0, 0, 18,
        ];
        packet.extend([1, 1, 1, 1, 0x31, 51, 100, 0]);
        let (envelope, payload) = split_ipv4(&packet).unwrap();
        assert_eq!(payload, [0x31, 51, 100, 0]);
        assert_eq!(envelope.ttl, 254);
        assert_eq!(envelope.source, IpAddr::from([10, 0, 0, 1]));
        for length in 0..packet.len() {
            let _ = split_ipv4(&packet[..length]);
        }
        packet[0] = 0x4f;
        assert!(split_ipv4(&packet).is_none());
    }
}
