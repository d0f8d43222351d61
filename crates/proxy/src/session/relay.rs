//! Octets both ways, until both sides have said that nothing follows.
//!
//! Each direction is a [`Way`]: what was read is sent at once; what finds no room is kept, and nothing more is read from
//! that side until it is gone. So a slow reader slows its writer down and costs at most one buffer.
//!
//! Octets are copied through the worker's buffer, until a flow has filled two reads: from then on the kernel moves them
//! through a [`pipe`], until calls move little again. Small messages are cheaper to copy, large flows several times
//! cheaper to move. Where a [`Tap`] looks on (mode amqp) or TLS is spoken, everything is copied.

mod carry;
pub(crate) mod pipe;
mod polite;
mod silence;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use self::pipe::{Moved, Pipe};
use super::amqp::Tap;
use super::endpoint::{Endpoint, Received, Sent};
use super::{Common, Flow, Side};
use crate::plan::Mode;
use crate::record::{Cause, Phase, Termination};
use crate::worker::context::Context;

/// Buffers or pipes that one direction may move before other sessions have their turn.
const ROUNDS_PER_TURN: usize = 8;
/// Octets, likewise: a large pipe holds as much.
const OCTETS_PER_TURN: u64 = 1024 * 1024;
/// A read of so many octets is that of a large flow.
const LARGE_READ: usize = 32 * 1024;
/// After so many of them in a row the kernel moves the octets.
const LARGE_READS: u8 = 2;
/// A pipe that moves less than this is not worth it.
const SMALL_MOVE: usize = 8 * 1024;
/// After so many of them in a row octets are copied again.
const SMALL_MOVES: u8 = 5;
/// After so many calls that moved much a flow gets a larger pipe.
const LARGE_MOVES: u8 = 32;

/// Both directions of a session.
#[derive(Debug, Default)]
pub(crate) struct Relay {
    /// From the client, and from the server.
    ways: [Way; 2],
    /// Of each, how its octets are moved; here rather than there, for a session is smaller so.
    methods: [Method; 2],
    /// Mode amqp: looks on, and knows how to end.
    tap: Option<Box<Tap>>,
}

/// One direction.
#[derive(Debug, Default)]
pub(crate) struct Way {
    /// Read, and not sent yet.
    pending: Option<Box<Pending>>,
    /// The same, in the kernel; never empty, and never besides `pending`.
    piped: Option<Box<Pipe>>,
}

/// How octets of a direction are moved, and the reason to change that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    /// By us; so many large reads in a row.
    Copy { large: u8 },
    /// By the kernel; so many small moves in a row, or large ones since.
    Pipe { small: u8, large: u8 },
}

/// What found no room.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    octets: Vec<u8>,
    sent: usize,
}

/// How far a direction came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passed {
    /// Until one of both sockets has to tell.
    Waits,
    /// It could go on.
    More,
}

/// One of both connections is gone.
#[derive(Clone, Copy, Debug)]
enum Gone {
    /// `recv` said so.
    Reading(Side),
    /// `send` said so.
    Writing(Side),
}

impl Relay {
    /// Nothing has passed yet, but the client has `said` something already.
    pub(crate) fn new(mode: Mode, said: Vec<u8>) -> Self {
        let mut relay = Self::default();
        if mode == Mode::Amqp {
            let mut tap = Box::new(Tap::new());
            tap.pass(Side::Client.into(), &said);
            relay.tap = Some(tap);
        }
        if !said.is_empty() {
            relay.ways[Side::Client as usize].pending = Some(Box::new(Pending {
                octets: said,
                sent: 0,
            }));
        }
        relay
    }

    /// Goes as far as it can.
    pub(crate) fn drive(&mut self, common: &mut Common, context: &mut Context) -> Flow {
        for from in [Side::Client, Side::Server] {
            match self.pass(from, common, context) {
                Ok(Passed::Waits) => {}
                Ok(Passed::More) => context.again(common),
                Err(gone) => return self.gone(gone, common, context),
            }
        }
        self.close(common, context)
    }

    /// Moves octets that come from `from`.
    fn pass(&mut self, from: Side, common: &mut Common, context: &mut Context) -> Result<Passed, Gone> {
        // What a large flow moves costs as much as many messages, which come first.
        if context.crowded && matches!(self.methods[from as usize], Method::Pipe { .. }) {
            return Ok(Passed::More);
        }
        let before = common.bytes[from as usize];
        for _ in 0..ROUNDS_PER_TURN {
            if !self.send_pending(from, common, context)? {
                return Ok(Passed::Waits);
            }
            if common.bytes[from as usize] - before >= OCTETS_PER_TURN {
                return Ok(Passed::More);
            }
            let (reader, writer) = ends(from, common);
            if !reader.readable || !writer.writable {
                return Ok(Passed::Waits);
            }
            let passed = match self.methods[from as usize] {
                Method::Copy { .. } => self.copy(from, common, context)?,
                Method::Pipe { .. } => self.pipe(from, common, context)?,
            };
            if passed == Passed::Waits {
                return Ok(passed);
            }
        }
        // Whoever keeps its pipe until its next turn keeps it from all others.
        Ok(match self.send_pending(from, common, context)? {
            true => Passed::More,
            false => Passed::Waits,
        })
    }

    /// One buffer.
    fn copy(&mut self, from: Side, common: &mut Common, context: &mut Context) -> Result<Passed, Gone> {
        let (reader, writer) = ends(from, common);
        let buffer = &mut *context.buffer;
        let received = match reader.recv(buffer) {
            Received::Data(count) => buffer.get(..count).unwrap_or_default(),
            Received::Wait => return Ok(Passed::Waits),
            Received::End => {
                common.changed = true;
                return Ok(Passed::Waits);
            }
            Received::Failed(_) => return Err(Gone::Reading(from)),
        };
        let octets = match &mut self.tap {
            None => Cow::Borrowed(received),
            Some(tap) => tap.pass(from.into(), received),
        };
        let count = octets.len();
        let sent = match &*octets {
            [] => 0,
            octets => match writer.send(octets) {
                Sent::Octets(sent) => sent,
                Sent::Wait => 0,
                Sent::Failed(_) => return Err(Gone::Writing(from.other())),
            },
        };
        let plain = self.tap.is_none() && reader.is_plain() && writer.is_plain();
        let way = &mut self.ways[from as usize];
        if let Some(rest) = octets.get(sent..).filter(|rest| !rest.is_empty()) {
            way.pending = Some(Box::new(Pending {
                octets: rest.to_vec(),
                sent: 0,
            }));
            common.changed = true;
        }
        if plain {
            let method = &mut self.methods[from as usize];
            *method = method.after_read(count);
        }
        common.count(from, count, context);
        common.activity[from as usize] = context.now;
        // Heartbeats go out whether the peer is there or not: in mode amqp only hearing from it counts.
        if sent > 0 && self.tap.is_none() {
            common.activity[from.other() as usize] = context.now;
        }
        self.pay(common, context);
        Ok(Passed::More)
    }

    /// One pipe.
    fn pipe(&mut self, from: Side, common: &mut Common, context: &mut Context) -> Result<Passed, Gone> {
        let method = &mut self.methods[from as usize];
        let taken = match *method {
            Method::Pipe { large, .. } if large >= LARGE_MOVES => context.pipes.take_large(),
            Method::Pipe { .. } | Method::Copy { .. } => context.pipes.take(),
        };
        let Some(mut pipe) = taken else {
            *method = Method::default();
            return Ok(Passed::More);
        };
        let (reader, _) = ends(from, common);
        let moved = pipe.fill(&*reader);
        let Moved::Octets(count) = moved else {
            context.pipes.give_back(pipe);
            return match moved {
                Moved::Octets(_) | Moved::Wait => {
                    reader.readable = false;
                    Ok(Passed::Waits)
                }
                // The end, an error, or a socket that cannot do this: `recv` says which.
                Moved::End | Moved::Failed(_) => {
                    *method = Method::default();
                    self.copy(from, common, context)
                }
            };
        };
        *method = method.after_move(count);
        self.ways[from as usize].piped = Some(pipe);
        common.count(from, count, context);
        context.pipes.count_moved(count);
        common.activity[from as usize] = context.now;
        Ok(Passed::More)
    }

    /// Sends what was kept. True once nothing is.
    fn send_pending(&mut self, from: Side, common: &mut Common, context: &mut Context) -> Result<bool, Gone> {
        let way = &mut self.ways[from as usize];
        if way.is_empty() {
            return Ok(true);
        }
        let (_, writer) = ends(from, common);
        if !writer.writable {
            return Ok(false);
        }
        if let Some(pipe) = &mut way.piped {
            match pipe.drain(&*writer) {
                Moved::Octets(_) => writer.writable = pipe.holds == 0,
                Moved::Wait | Moved::End => writer.writable = false,
                Moved::Failed(_) => return Err(Gone::Writing(from.other())),
            }
            common.activity[from.other() as usize] = context.now;
            if pipe.holds > 0 {
                // A client that has closed its direction is only waited for while it owes something.
                common.changed = true;
                return Ok(false);
            }
            way.drop_pipe(context);
            return Ok(true);
        }
        let Some(pending) = &mut way.pending else {
            return Ok(true);
        };
        let rest = pending.octets.get(pending.sent..).unwrap_or_default();
        match writer.send(rest) {
            Sent::Octets(sent) => {
                pending.sent += sent;
                if self.tap.is_none() {
                    common.activity[from.other() as usize] = context.now;
                }
                if pending.sent < pending.octets.len() {
                    return Ok(false);
                }
                way.pending = None;
                Ok(true)
            }
            Sent::Wait => Ok(false),
            Sent::Failed(_) => Err(Gone::Writing(from.other())),
        }
    }

    /// Passes on that nothing follows, once everything before has been sent.
    fn close(&mut self, common: &mut Common, context: &mut Context) -> Flow {
        if let Some(flow) = self.close_politely(common, context) {
            return flow;
        }
        let done = [Side::Client, Side::Server].map(|from| {
            let ended = match from {
                Side::Client => common.client.ended,
                Side::Server => common.server.as_ref().is_none_or(|server| server.ended),
            };
            ended && self.ways[from as usize].is_empty()
        });
        if done == [true, true] {
            return Flow::End;
        }
        if done[0]
            && let Some(server) = &mut common.server
            && !server.shut
        {
            server.shutdown_write();
            common.changed = true;
        }
        if done[1] && !common.client.shut {
            common.client.shutdown_write();
            common.changed = true;
        }
        Flow::Stay
    }

    /// A connection is gone. What a server had sent before is still for the client.
    fn gone(&mut self, gone: Gone, common: &mut Common, context: &mut Context) -> Flow {
        let (Gone::Reading(side) | Gone::Writing(side)) = gone;
        let cause = match side {
            Side::Client => Cause::ClientAborted,
            Side::Server => Cause::ServerAborted,
        };
        common
            .termination
            .get_or_insert_with(|| Termination::new(cause, Phase::Data));
        if side == Side::Client {
            common.client.ended = true;
            return self.close_politely(common, context).unwrap_or(Flow::End);
        }
        if let Some(flow) = self.lose_server(gone, common, context) {
            return flow;
        }
        let way = &mut self.ways[Side::Client as usize];
        way.pending = None;
        way.drop_pipe(context);
        common.client.readable = false;
        common.client.ended = true;
        common.changed = true;
        if let Gone::Writing(_) = gone
            && let Some(server) = &mut common.server
        {
            server.readable = true;
            match self.pass(Side::Server, common, context) {
                Ok(Passed::Waits) => {}
                Ok(Passed::More) => context.again(common),
                // What waits is for the client; there is nobody else to wait for.
                Err(Gone::Reading(Side::Server) | Gone::Writing(Side::Server)) => {
                    if self.ways[Side::Server as usize].is_empty() {
                        return Flow::End;
                    }
                }
                // Both at once, and no event will come that says so again.
                Err(Gone::Reading(Side::Client) | Gone::Writing(Side::Client)) => return Flow::End,
            }
        }
        self.close(common, context)
    }

    /// Octets from a side that could not be sent on yet.
    pub(crate) fn pending(&self, from: Side) -> usize {
        let way = &self.ways[from as usize];
        let pending = way.pending.as_ref();
        let pending = pending.map_or(0, |pending| pending.octets.len() - pending.sent);
        pending + way.piped.as_ref().map_or(0, |pipe| pipe.holds)
    }

    /// It is over: pipes go back.
    pub(crate) fn finish(&mut self, context: &mut Context) {
        for way in &mut self.ways {
            way.drop_pipe(context);
        }
    }
}

impl Way {
    /// Everything that was read has been sent.
    fn is_empty(&self) -> bool {
        self.pending.is_none() && self.piped.is_none()
    }

    fn drop_pipe(&mut self, context: &mut Context) {
        if let Some(pipe) = self.piped.take() {
            context.pipes.give_back(pipe);
        }
    }
}

impl Default for Method {
    fn default() -> Self {
        Self::Copy { large: 0 }
    }
}

impl Method {
    fn after_read(self, count: usize) -> Self {
        match self {
            Self::Copy { large } if count >= LARGE_READ && large + 1 >= LARGE_READS => {
                Self::Pipe { small: 0, large: 0 }
            }
            Self::Copy { large } if count >= LARGE_READ => Self::Copy { large: large + 1 },
            Self::Copy { .. } | Self::Pipe { .. } => Self::default(),
        }
    }

    fn after_move(self, count: usize) -> Self {
        match self {
            Self::Pipe { small, .. } if count < SMALL_MOVE && small + 1 < SMALL_MOVES => Self::Pipe {
                small: small + 1,
                large: 0,
            },
            Self::Pipe { large, .. } if count >= SMALL_MOVE => Self::Pipe {
                small: 0,
                large: large
                    .saturating_add(u8::from(count >= LARGE_READ))
                    .min(LARGE_MOVES),
            },
            Self::Pipe { .. } | Self::Copy { .. } => Self::default(),
        }
    }
}

/// Reader and writer of a direction. A session that relays has both.
fn ends(from: Side, common: &mut Common) -> (&mut Endpoint, &mut Endpoint) {
    let Common { client, server, .. } = common;
    let server = server
        .as_mut()
        .unwrap_or_else(|| unreachable!("a relay has a server"));
    match from {
        Side::Client => (client, server),
        Side::Server => (server, client),
    }
}
