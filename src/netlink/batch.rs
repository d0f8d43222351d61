//! A blocking route-netlink socket that sends many requests in one system call.
//!
//! The plumbing thread and the guard use it: both must act at once on thousands of addresses, neither has a runtime.
//! The kernel works through a batch inside `send`, so every error is already waiting when `send` returns; one
//! acknowledgement at the end of each chunk proves that all of it was read.
//! Deliberately absent: retries (the callers know what an error means) and anything asynchronous.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send, setsockopt, sockopt};
use nix::sys::time::TimeVal;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage::{self, NewAddress, NewLink, NewRoute, NewRule};
use rtnetlink::packet_route::address::AddressMessage;
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::packet_route::route::RouteMessage;
use rtnetlink::packet_route::rule::RuleMessage;
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// Bytes per `send`: some 400 addresses. The kernel's routing lock is free between chunks.
const CHUNK: usize = 32 * 1024;
/// The kernel writes at most 32 KiB into one datagram of a dump.
const RECEIVE: usize = 64 * 1024;
/// Room for one error per message of a chunk, by the kernel's accounting of some 1 KiB each.
const RECEIVE_QUEUE: usize = 4 << 20;
/// An answer is ready when `send` returns; longer than this means that it was lost.
const ANSWER: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    #[error("netlink socket refused: {0}; is CAP_NET_ADMIN held and AF_NETLINK allowed?")]
    Open(#[source] io::Error),
    #[error("netlink request not sent: {0}")]
    Send(#[source] Errno),
    #[error("netlink answer not received: {0}")]
    Receive(#[source] Errno),
    #[error("netlink answer not understood: {0}")]
    Decode(String),
    #[error("{request} refused by the kernel: {errno}")]
    Refused { request: String, errno: Errno },
}

impl NetlinkError {
    #[must_use]
    pub fn errno(&self) -> Errno {
        match self {
            Self::Open(error) => error.raw_os_error().map_or(Errno::EIO, Errno::from_raw),
            Self::Send(errno) | Self::Receive(errno) | Self::Refused { errno, .. } => *errno,
            Self::Decode(_) => Errno::EPROTO,
        }
    }
}

/// One request of a batch that the kernel refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// Position in the batch.
    pub index: usize,
    pub errno: Errno,
}

/// Requests in wire form, ready to be sent any number of times.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Where each message ends.
    ends: Vec<usize>,
}

impl Batch {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub fn push(&mut self, message: RouteNetlinkMessage, flags: u16) {
        let mut message = NetlinkMessage::from(message);
        message.header.flags = NLM_F_REQUEST | flags;
        message.finalize();
        let start = self.bytes.len();
        self.bytes
            .resize((start + message.buffer_len()).next_multiple_of(4), 0);
        message.serialize(&mut self.bytes[start..start + message.buffer_len()]);
        self.ends.push(self.bytes.len());
    }

    pub fn append(&mut self, other: &Self) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        self.ends.extend(other.ends.iter().map(|end| start + end));
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn start(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| self.ends[before])
    }

    /// Messages `from..result` fit one chunk.
    fn chunk_end(&self, from: usize) -> usize {
        let limit = self.start(from) + CHUNK;
        let fitting = self.ends[from..].iter().take_while(|end| **end <= limit).count();
        from + fitting.max(1)
    }

    /// Numbers the messages of a chunk from `sequence`; only the last asks for an acknowledgement, if any does.
    fn prepare(&mut self, from: usize, to: usize, sequence: u32, acknowledged: bool) {
        for index in from..to {
            let start = self.start(index);
            let header = &mut self.bytes[start..start + 16];
            let flags = u16::from_ne_bytes([header[6], header[7]]) & !NLM_F_ACK;
            let flags = if acknowledged && index + 1 == to {
                flags | NLM_F_ACK
            } else {
                flags
            };
            header[6..8].copy_from_slice(&flags.to_ne_bytes());
            let number = sequence.wrapping_add((index - from) as u32);
            header[8..12].copy_from_slice(&number.to_ne_bytes());
        }
    }
}

/// The socket; it belongs to the network namespace of the thread that opened it.
pub struct Netlink {
    socket: Socket,
    port: u32,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    pub fn open() -> Result<Self, NetlinkError> {
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(NetlinkError::Open)?;
        let address = socket.bind_auto().map_err(NetlinkError::Open)?;
        socket
            .connect(&SocketAddr::new(0, 0))
            .map_err(NetlinkError::Open)?;
        // Errors need not repeat the request. Kernels older than 4.3 do so anyway.
        let _ = socket.set_cap_ack(true);
        enlarge_receive_queue(&socket, RECEIVE_QUEUE);
        let answer = TimeVal::new(ANSWER.as_secs() as i64, 0);
        setsockopt(&socket, sockopt::ReceiveTimeout, &answer).map_err(|e| NetlinkError::Open(e.into()))?;
        Ok(Self {
            socket,
            port: address.port_number(),
            sequence: 1,
            buffer: vec![0; RECEIVE],
        })
    }

    /// The number by which notifications name us as their cause.
    #[must_use]
    pub fn port(&self) -> u32 {
        self.port
    }

    /// Sends everything and returns what the kernel refused.
    pub fn run(&mut self, batch: &mut Batch) -> Result<Vec<Failure>, NetlinkError> {
        self.submit(batch, true)
    }

    /// As [`run`](Self::run) without the acknowledgement: refusals known by now are returned.
    pub fn post(&mut self, batch: &mut Batch) -> Result<Vec<Failure>, NetlinkError> {
        self.submit(batch, false)
    }

    /// Runs one request; its refusal is an error.
    pub fn request(&mut self, message: RouteNetlinkMessage, flags: u16) -> Result<(), Errno> {
        let mut batch = Batch::new();
        batch.push(message, flags);
        let failures = self.run(&mut batch).map_err(|error| error.errno())?;
        failures.first().map_or(Ok(()), |failure| Err(failure.errno))
    }

    fn submit(&mut self, batch: &mut Batch, acknowledged: bool) -> Result<Vec<Failure>, NetlinkError> {
        let mut failures = Vec::new();
        let mut from = 0;
        while from < batch.len() {
            let to = batch.chunk_end(from);
            let sequence = self.sequence;
            self.sequence = self.sequence.wrapping_add((to - from) as u32);
            batch.prepare(from, to, sequence, acknowledged);
            let bytes = &batch.bytes[batch.start(from)..batch.ends[to - 1]];
            retry(|| send(self.socket.as_raw_fd(), bytes, MsgFlags::empty())).map_err(NetlinkError::Send)?;
            let chunk = from..to;
            self.collect(chunk, sequence, acknowledged, &mut failures)?;
            from = to;
        }
        Ok(failures)
    }

    /// Reads errors until the last message of the chunk is answered, or until none is left if it never will be.
    fn collect(
        &mut self,
        chunk: std::ops::Range<usize>,
        sequence: u32,
        acknowledged: bool,
        failures: &mut Vec<Failure>,
    ) -> Result<(), NetlinkError> {
        let flags = if acknowledged {
            MsgFlags::empty()
        } else {
            MsgFlags::MSG_DONTWAIT
        };
        loop {
            let length = match retry(|| recv(self.socket.as_raw_fd(), &mut self.buffer, flags)) {
                Ok(length) => length,
                Err(Errno::EAGAIN) if !acknowledged => return Ok(()),
                // Too many errors for the queue: those that fitted are still there.
                Err(Errno::ENOBUFS) => continue,
                Err(errno) => return Err(NetlinkError::Receive(errno)),
            };
            for message in messages(&self.buffer[..length]) {
                let (header, payload) = message?.into_parts();
                let NetlinkPayload::Error(error) = payload else {
                    continue;
                };
                let offset = header.sequence_number.wrapping_sub(sequence) as usize;
                if offset >= chunk.len() {
                    continue;
                }
                if error.code.is_some() {
                    failures.push(Failure {
                        index: chunk.start + offset,
                        errno: Errno::from_raw(-error.raw_code()),
                    });
                }
                if acknowledged && offset + 1 == chunk.len() {
                    return Ok(());
                }
            }
        }
    }

    pub fn dump_addresses(&mut self) -> Result<Vec<AddressMessage>, NetlinkError> {
        let answers = self.dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
        Ok(answers
            .into_iter()
            .filter_map(|m| if let NewAddress(m) = m { Some(m) } else { None })
            .collect())
    }

    pub fn dump_links(&mut self) -> Result<Vec<LinkMessage>, NetlinkError> {
        let answers = self.dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
        Ok(answers
            .into_iter()
            .filter_map(|m| if let NewLink(m) = m { Some(m) } else { None })
            .collect())
    }

    pub fn dump_routes(&mut self) -> Result<Vec<RouteMessage>, NetlinkError> {
        let answers = self.dump(RouteNetlinkMessage::GetRoute(RouteMessage::default()))?;
        Ok(answers
            .into_iter()
            .filter_map(|m| if let NewRoute(m) = m { Some(m) } else { None })
            .collect())
    }

    pub fn dump_rules(&mut self) -> Result<Vec<RuleMessage>, NetlinkError> {
        let answers = self.dump(RouteNetlinkMessage::GetRule(RuleMessage::default()))?;
        Ok(answers
            .into_iter()
            .filter_map(|m| if let NewRule(m) = m { Some(m) } else { None })
            .collect())
    }

    fn dump(&mut self, request: RouteNetlinkMessage) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        let mut batch = Batch::new();
        batch.push(request, NLM_F_DUMP);
        let sequence = self.sequence;
        self.sequence = self.sequence.wrapping_add(1);
        batch.prepare(0, 1, sequence, false);
        retry(|| send(self.socket.as_raw_fd(), &batch.bytes, MsgFlags::empty()))
            .map_err(NetlinkError::Send)?;
        let mut answers = Vec::new();
        loop {
            let length = retry(|| recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::empty()))
                .map_err(NetlinkError::Receive)?;
            for message in messages(&self.buffer[..length]) {
                let message = message?;
                if message.header.sequence_number != sequence {
                    continue;
                }
                match message.payload {
                    NetlinkPayload::InnerMessage(message) => answers.push(message),
                    NetlinkPayload::Done(_) => return Ok(answers),
                    NetlinkPayload::Error(error) => {
                        let errno = Errno::from_raw(-error.raw_code());
                        return Err(NetlinkError::Refused {
                            request: "dump".to_owned(),
                            errno,
                        });
                    }
                    _ => {}
                }
            }
        }
    }
}

/// Refused only to those without CAP_NET_ADMIN, who then keep as much as the system's limit allows.
pub(super) fn enlarge_receive_queue(socket: &impl AsFd, bytes: usize) {
    if setsockopt(socket, sockopt::RcvBufForce, &bytes).is_err() {
        let _ = setsockopt(socket, sockopt::RcvBuf, &bytes);
    }
}

/// The messages of one datagram.
pub(super) fn messages(
    mut rest: &[u8],
) -> impl Iterator<Item = Result<NetlinkMessage<RouteNetlinkMessage>, NetlinkError>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let message = NetlinkMessage::deserialize(rest).map_err(|e| NetlinkError::Decode(e.to_string()));
        let length = NetlinkBuffer::new_checked(rest).map_or(rest.len(), |buffer| buffer.length() as usize);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

pub(super) fn retry<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}
