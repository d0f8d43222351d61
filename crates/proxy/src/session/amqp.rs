//! The tap of an AMQP connection: it looks on while octets pass both ways, learns who talks to whom, and knows when and
//! how the connection can be ended without cutting a frame.
//!
//! ```text
//!   client ── octets ──▶ pass(FromClient) ──▶ server          both unchanged, until the connection is to end:
//!   client ◀── octets ── pass(FromServer) ◀── server
//!
//!   end ─▶ wait for a frame boundary ─▶ close 320 to the client, nothing else from the server
//!       ─▶ frames of the client up to its close-ok ─▶ close to the server ─▶ its close-ok ─▶ over
//! ```
//!
//! After the handshake a frame costs the walk over its header and nothing is copied. A connection that turns out not to
//! be AMQP 0-9-1 passes as octets do; telling its client is for the server.
//!
//! Absent on purpose: sockets and clocks. How long an ending may take is for the caller to say, and so is what happens
//! to a connection that cannot be ended politely: it is closed.

mod channels;
mod flow;
mod saved;

use std::borrow::Cow;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use warren_amqp::connection::{Close, CloseOk, Method, OpenOk};
use warren_amqp::frame::{Boundary, Frame};
use warren_amqp::glance;
use warren_amqp::handshake::{Direction, Fact, Identity, Observer};
use warren_amqp::protocol::ProtocolHeader;
use warren_amqp::{Exception, FrameKind, FrameMax, MethodId, ReplyCode};

use self::channels::Channels;
use self::flow::{Flow, Seen};
use super::Side;
use crate::record::{AmqpFacts, Cause};

pub(crate) use self::saved::Saved;

/// The longest frame of class connection that is read: a login with a token is long, an attack is longer. What is
/// longer passes and tells nothing.
const READ_MAX: usize = 16 * 1024;
/// A peer that lets so many heartbeats pass is gone (the specification says two; one more for the network).
const SILENT_HEARTBEATS: u32 = 3;

/// Looks on.
#[derive(Debug)]
pub(crate) struct Tap {
    client: Flow,
    server: Flow,
    said: Said,
    phase: Phase,
    ending: Ending,
    channels: Channels,
    facts: Box<AmqpFacts>,
    /// Of our own, to be sent after everything that has passed.
    owed: [BytesMut; 2],
}

/// What the client said before the server said anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum Said {
    /// At most a part of the protocol header.
    Nothing,
    /// The protocol header of 0-9-1, or else of 0-9.
    Header { is_0_9_1: bool },
    /// What cannot be said again.
    More,
}

/// How far the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum Phase {
    /// Nothing came from the server yet.
    Silent,
    /// Until open-ok.
    Handshake,
    /// Open.
    Open,
    /// One side has closed it.
    Closing,
}

/// How far we are with ending it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum Ending {
    /// Nobody wants it to end.
    No,
    /// The server is in the middle of a frame.
    Awaited(Cause),
    /// The client was told. Its current frame, if there is one, is `passing` on, or is held since it may be the answer.
    Told { passing: bool, server_gone: bool },
    /// The client has answered, the server was told.
    ServerTold,
    /// Everybody knows.
    Over,
}

/// What can be done when a connection is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It ends politely: go on until [`Tap::is_over`], or until it has taken too long.
    Going,
    /// Nobody can be told anything: close it.
    Close,
}

impl Tap {
    /// Of a connection on which nothing was said yet.
    pub(crate) fn new() -> Self {
        Self {
            client: Flow::of_client(),
            server: Flow::of_server(),
            said: Said::Nothing,
            phase: Phase::Silent,
            ending: Ending::No,
            channels: Channels::default(),
            facts: Box::default(),
            owed: Default::default(),
        }
    }

    /// Takes note of a chunk and says what is to be passed on instead of it: the chunk itself, unless the connection is
    /// being ended. [`Tap::take_owed`] comes after it.
    pub(crate) fn pass<'a>(&mut self, from: Direction, chunk: &'a [u8]) -> Cow<'a, [u8]> {
        match (from, &self.ending) {
            (_, Ending::No) | (Direction::FromClient, Ending::Awaited(_)) => {
                self.watch(from, chunk);
                Cow::Borrowed(chunk)
            }
            (Direction::FromServer, Ending::Awaited(cause)) => {
                let cause = *cause;
                Cow::Borrowed(self.pass_to_boundary(chunk, cause))
            }
            (Direction::FromClient, Ending::Told { passing, server_gone }) => {
                let (passing, server_gone) = (*passing, *server_gone);
                let passed = self.pass_to_answer(chunk, passing);
                if server_gone { Cow::default() } else { passed }
            }
            (_, Ending::Told { .. } | Ending::ServerTold | Ending::Over) => {
                self.watch(from, chunk);
                Cow::default()
            }
        }
    }

    /// Whether [`Tap::take_owed`] has something.
    pub(crate) fn owes(&self) -> bool {
        self.owed.iter().any(|owed| !owed.is_empty())
    }

    /// Octets of our own, due now, in this direction: as if they had come from that side.
    pub(crate) fn take_owed(&mut self, from: Direction) -> Bytes {
        self.owed[from as usize].split().freeze()
    }

    /// The connection is to end.
    pub(crate) fn end(&mut self, cause: Cause) -> End {
        match (self.phase, &self.ending) {
            // It ends as it is.
            (Phase::Closing, _) | (_, Ending::Awaited(_) | Ending::Told { .. } | Ending::ServerTold) => {
                End::Going
            }
            (Phase::Silent | Phase::Handshake, _) | (_, Ending::Over) => End::Close,
            (Phase::Open, Ending::No) if self.server.is_blind() || self.client.is_blind() => End::Close,
            (Phase::Open, Ending::No) => {
                self.ending = Ending::Awaited(cause);
                if self.server.at_boundary() {
                    self.tell_client(cause);
                }
                End::Going
            }
        }
    }

    /// The server is gone: closed, reset, silent for too long. What it said in time was passed on before.
    pub(crate) fn server_gone(&mut self) -> End {
        match &mut self.ending {
            Ending::Told { server_gone, .. } => {
                *server_gone = true;
                End::Going
            }
            Ending::ServerTold | Ending::Over => {
                self.ending = Ending::Over;
                End::Going
            }
            Ending::No | Ending::Awaited(_)
                if self.phase == Phase::Open && self.server.at_boundary() && !self.client.is_blind() =>
            {
                self.tell_client(Cause::Down);
                self.server_gone()
            }
            Ending::No | Ending::Awaited(_) => End::Close,
        }
    }

    /// The client is gone. If that was its answer, the server is still told.
    pub(crate) fn client_gone(&mut self) -> End {
        match self.ending {
            Ending::Told {
                server_gone: true, ..
            }
            | Ending::Over => {
                self.ending = Ending::Over;
                End::Going
            }
            Ending::Told { .. } if self.may_tell_server() => {
                self.tell_server();
                End::Going
            }
            Ending::ServerTold => End::Going,
            Ending::No | Ending::Awaited(_) | Ending::Told { .. } => End::Close,
        }
    }

    /// Both sides know that it ends: to be closed once everything owed was sent.
    pub(crate) fn is_over(&self) -> bool {
        self.ending == Ending::Over
    }

    /// The client has answered: it gets nothing more.
    pub(crate) fn is_answered(&self) -> bool {
        matches!(self.ending, Ending::ServerTold | Ending::Over)
    }

    /// Whether it could be ended now without anybody losing anything, as far as is known; silence is for the caller to
    /// judge.
    pub(crate) fn is_movable(&self) -> bool {
        self.phase == Phase::Open
            && self.ending == Ending::No
            && self.server.at_boundary()
            && self.client.at_boundary()
            && self.channels.are_idle()
    }

    /// What the client has said and another server may be told instead of this one, which said nothing: a part of the
    /// protocol header, or all of it. `None` if the client has said more, or the server has said something.
    pub(crate) fn replay(&self) -> Option<Vec<u8>> {
        if self.phase != Phase::Silent || self.server.passed() > 0 || self.client.is_blind() {
            return None;
        }
        match self.said {
            Said::Nothing => Some(self.client.start().to_vec()),
            Said::Header { is_0_9_1 } if self.client.at_boundary() => Some(match is_0_9_1 {
                true => ProtocolHeader::AMQP_0_9_1.encode().to_vec(),
                false => ProtocolHeader::AMQP_0_9.encode().to_vec(),
            }),
            Said::Header { .. } | Said::More => None,
        }
    }

    /// How long a side may be silent. `configured` is without end if `None`.
    ///
    /// Once heartbeats are agreed, a side is silent when they fail; if none are, silence means nothing, and whether the
    /// peer is there is for TCP to find out.
    pub(crate) fn timeout(&self, configured: Option<Duration>) -> Option<Duration> {
        match (self.phase, self.facts.heartbeat) {
            (Phase::Open, Some(0)) => None,
            (Phase::Open, Some(seconds)) => {
                let heartbeats = Duration::from_secs(u64::from(seconds)) * SILENT_HEARTBEATS;
                configured.map(|configured| configured.max(heartbeats))
            }
            (Phase::Silent | Phase::Handshake | Phase::Open | Phase::Closing, _) => configured,
        }
    }

    /// What is known so far.
    pub(crate) fn facts(&self) -> AmqpFacts {
        let [published, delivered] = self.channels.messages();
        AmqpFacts {
            channels: self.channels.count(),
            unsettled: self.channels.unsettled(),
            published,
            delivered,
            ..AmqpFacts::clone(&self.facts)
        }
    }

    /// Takes note of a chunk that passes as it is, or not at all.
    fn watch(&mut self, from: Direction, mut chunk: &[u8]) {
        while self.step(from, &mut chunk).is_some() {}
    }

    /// Goes to the end of the next frame.
    fn step(&mut self, from: Direction, chunk: &mut &[u8]) -> Option<Option<MethodId>> {
        let flow = match from {
            Direction::FromClient => &mut self.client,
            Direction::FromServer => &mut self.server,
        };
        match flow.next(chunk, |frame| wanted(from, frame))? {
            Seen::Protocol(header) => {
                self.see_header(from, header);
                Some(None)
            }
            Seen::Frame(frame, payload) => {
                let Some(id) = frame.method else {
                    return Some(None);
                };
                if from == Direction::FromClient && self.phase == Phase::Silent {
                    self.said = Said::More;
                }
                if frame.channel != 0 {
                    let arguments = payload.get(4..).unwrap_or_default();
                    if let Some(glance) = glance::glance(from, id, arguments) {
                        self.channels.see(frame.channel, glance);
                    }
                    return Some(None);
                }
                let payload = Bytes::copy_from_slice(&payload);
                self.see_method(from, payload);
                Some(Some(id))
            }
        }
    }

    fn see_header(&mut self, from: Direction, header: ProtocolHeader) {
        let is_0_9_1 = header == ProtocolHeader::AMQP_0_9_1;
        if from == Direction::FromClient && (is_0_9_1 || header == ProtocolHeader::AMQP_0_9) {
            self.said = Said::Header { is_0_9_1 };
        } else {
            // The server refuses, or something else is spoken.
            self.client.close_eyes();
            self.server.close_eyes();
        }
    }

    /// A method of class connection.
    fn see_method(&mut self, from: Direction, payload: Bytes) {
        if from == Direction::FromServer && self.phase == Phase::Silent {
            self.phase = Phase::Handshake;
        }
        let frame = Frame {
            kind: FrameKind::Method,
            channel: 0,
            payload,
        };
        match Observer.observe(from, &frame) {
            Some(Fact::Server(Identity { product, version, .. })) => {
                let words: Vec<String> = product.into_iter().chain(version).collect();
                self.facts.broker = (!words.is_empty()).then(|| words.join(" "));
            }
            Some(Fact::Client { user, identity, .. }) => {
                self.facts.user = user;
                self.facts.product = identity.product;
                self.facts.version = identity.version;
                self.facts.connection_name = identity.connection_name;
            }
            Some(Fact::Tuned(tuning)) => {
                self.facts.heartbeat = Some(tuning.heartbeat);
                self.facts.frame_max = Some(tuning.frame_max);
            }
            Some(Fact::Asked { virtual_host }) => self.facts.vhost = Some(virtual_host),
            Some(Fact::Opened) if self.phase == Phase::Handshake => self.phase = Phase::Open,
            Some(Fact::Blocked { reason }) => self.facts.blocked = Some(reason),
            Some(Fact::Unblocked) => self.facts.blocked = None,
            Some(Fact::Closing { by, code, text }) => self.see_close(by, code, text),
            Some(Fact::Closed) if from == Direction::FromServer && self.ending == Ending::ServerTold => {
                self.ending = Ending::Over;
            }
            Some(Fact::Closed | Fact::Opened) | None => {}
        }
    }

    /// One side closes the connection. If we are ending it already, that side gets its answer from us.
    fn see_close(&mut self, by: Direction, code: u16, text: String) {
        match (&self.ending, by) {
            (Ending::No | Ending::Awaited(_), _) => {
                let name = match by {
                    Direction::FromClient => "client",
                    Direction::FromServer => "broker",
                };
                self.facts.close = Some((name.to_owned(), code, text));
                self.phase = Phase::Closing;
                self.ending = Ending::No;
            }
            (Ending::Told { .. }, Direction::FromServer) => {
                if self.may_tell_server() {
                    self.owe(Direction::FromClient, CloseOk {});
                }
                if let Ending::Told { server_gone, .. } = &mut self.ending {
                    *server_gone = true;
                }
            }
            (Ending::ServerTold, Direction::FromServer) => {
                self.owe(Direction::FromClient, CloseOk {});
                self.ending = Ending::Over;
            }
            // Its own close goes on to the server, which answers; that answer is not for the client any more.
            (Ending::Told { .. }, Direction::FromClient) => self.owe(Direction::FromServer, CloseOk {}),
            (Ending::ServerTold | Ending::Over, _) => {}
        }
    }

    /// From the server, while the client is to be told as soon as a frame ends.
    fn pass_to_boundary<'a>(&mut self, chunk: &'a [u8], cause: Cause) -> &'a [u8] {
        let mut rest = chunk;
        loop {
            if self.server.at_boundary() {
                let (passed, dropped) = chunk.split_at(chunk.len() - rest.len());
                self.tell_client(cause);
                self.watch(Direction::FromServer, dropped);
                return passed;
            }
            if self.step(Direction::FromServer, &mut rest).is_none() {
                return chunk;
            }
            if self.phase == Phase::Closing {
                // The server was faster; it ends without us.
                self.watch(Direction::FromServer, rest);
                return chunk;
            }
        }
    }

    /// From the client, which was told: everything before its answer. A frame that may be the answer is held until it
    /// is known.
    fn pass_to_answer<'a>(&mut self, chunk: &'a [u8], mut passing: bool) -> Cow<'a, [u8]> {
        // At most the eleven octets that are kept of a frame, since the answer has no more than twelve.
        let mut held = match passing {
            true => Vec::new(),
            false => self.client.start().to_vec(),
        };
        let (mut certain, mut rest) = (0, chunk);
        while let Some(method) = self.step(Direction::FromClient, &mut rest) {
            if method == Some(CloseOk::ID) {
                if certain == 0 && !passing {
                    held.clear();
                }
                self.answered();
                return joined(held, chunk, certain);
            }
            certain = chunk.len() - rest.len();
            passing = false;
            if method == Some(Close::ID) {
                // Both at once: the server is told by the client itself.
                self.ending = Ending::ServerTold;
                self.watch(Direction::FromClient, rest);
                return joined(held, chunk, certain);
            }
        }
        let under_way = self.client.passed() > 0;
        let holds = under_way && !passing && !self.client.is_blind() && may_be_answer(self.client.start());
        if let Ending::Told { passing, .. } = &mut self.ending {
            *passing = !holds && under_way;
        }
        if !holds {
            certain = chunk.len();
        } else if certain == 0 {
            held.clear();
        }
        joined(held, chunk, certain)
    }

    /// The client's close-ok came.
    fn answered(&mut self) {
        match self.ending {
            Ending::Told {
                server_gone: true, ..
            } => self.ending = Ending::Over,
            Ending::Told { .. } => self.tell_server(),
            Ending::No | Ending::Awaited(_) | Ending::ServerTold | Ending::Over => {}
        }
    }

    fn tell_client(&mut self, cause: Cause) {
        let exception = Exception::new(ReplyCode::ConnectionForced, reason(cause), MethodId::NONE);
        self.owe(Direction::FromServer, Close::from(&exception));
        self.facts.close = Some(("proxy".to_owned(), exception.code.code(), exception.text));
        self.ending = Ending::Told {
            // It began before the client could know.
            passing: self.client.passed() > 0,
            server_gone: false,
        };
    }

    /// Whether what was passed on to the server ends with a frame.
    fn may_tell_server(&self) -> bool {
        match self.ending {
            Ending::Told { passing, .. } => !passing && !self.client.is_blind(),
            Ending::No | Ending::Awaited(_) | Ending::ServerTold | Ending::Over => self.client.at_boundary(),
        }
    }

    fn tell_server(&mut self) {
        self.owe(Direction::FromClient, Close::normal("closed through the proxy"));
        self.ending = Ending::ServerTold;
    }

    fn owe(&mut self, from: Direction, method: impl Into<Method>) {
        // Much smaller than the smallest frame_max.
        let _ = method
            .into()
            .encode(0, FrameMax::MIN, &mut self.owed[from as usize]);
    }
}

impl From<Side> for Direction {
    fn from(side: Side) -> Self {
        match side {
            Side::Client => Self::FromClient,
            Side::Server => Self::FromServer,
        }
    }
}

/// What the client reads after `CONNECTION_FORCED - `.
const fn reason(cause: Cause) -> &'static str {
    match cause {
        Cause::Down | Cause::ServerAborted | Cause::ServerTimeout => "the server is gone, connect again",
        Cause::Up => "another server is up again, connect again",
        Cause::Killed => "closed by the operator of the proxy",
        Cause::Normal
        | Cause::ClientAborted
        | Cause::ClientTimeout
        | Cause::Proxy
        | Cause::Local
        | Cause::Resource
        | Cause::Internal => "the proxy ends this connection, connect again",
    }
}

/// How much of a frame's payload matters.
fn wanted(from: Direction, frame: &Boundary) -> Option<usize> {
    let id = frame.method?;
    let size = usize::try_from(frame.size).ok()?;
    match frame.channel {
        // All of it, or nothing.
        0 if id.class == OpenOk::ID.class && size <= READ_MAX => Some(size),
        0 => None,
        _ => Some(size.min(4 + glance::needs(from, id)?)),
    }
}

/// Whether a frame that begins so may be a close-ok on channel 0. All of such frames are alike.
fn may_be_answer(start: &[u8]) -> bool {
    const ANSWER: [u8; 12] = [1, 0, 0, 0, 0, 0, 4, 0, 10, 0, 51, 0xCE];
    ANSWER.starts_with(start)
}

/// What was held, and then this much of the chunk.
fn joined(mut held: Vec<u8>, chunk: &[u8], certain: usize) -> Cow<'_, [u8]> {
    let passed = chunk.get(..certain).unwrap_or_default();
    if held.is_empty() {
        return Cow::Borrowed(passed);
    }
    held.extend_from_slice(passed);
    Cow::Owned(held)
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
