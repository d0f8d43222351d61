//! Octets both ways, until both sides have said that nothing follows.
//!
//! Each direction is a [`Way`]: what was read is sent at once; what finds no room is kept, and nothing more is read from
//! that side until it is gone. So a slow reader slows its writer down and costs at most one buffer.

mod polite;

use std::borrow::Cow;

use rustix::io::Errno;

use super::amqp::Tap;
use super::connect::millis;
use super::endpoint::{Endpoint, Received, Sent};
use super::{Common, Flow, Side};
use crate::plan::{BackendTimeouts, FrontendTimeouts, Mode};
use crate::record::{Cause, Phase, Termination};
use crate::worker::context::Context;

/// Buffers that one direction may move before other sessions have their turn.
const BUFFERS_PER_TURN: usize = 8;

/// Both directions of a session.
#[derive(Debug, Default)]
pub(crate) struct Relay {
    /// From the client, and from the server.
    ways: [Way; 2],
    /// Mode amqp: looks on, and knows how to end.
    tap: Option<Box<Tap>>,
}

/// One direction.
#[derive(Debug, Default)]
pub(crate) struct Way {
    /// Read, and not sent yet.
    pending: Option<Box<Pending>>,
}

/// What found no room.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    octets: Vec<u8>,
    sent: usize,
}

/// How far a direction came.
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
    Reading(Side, #[allow(dead_code, reason = "for the debugger")] Errno),
    /// `send` said so.
    Writing(Side, #[allow(dead_code, reason = "for the debugger")] Errno),
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
                Ok(Passed::More) => context.again(common.place()),
                Err(gone) => return self.gone(gone, common, context),
            }
        }
        self.close(common, context)
    }

    /// Moves octets that come from `from`.
    fn pass(&mut self, from: Side, common: &mut Common, context: &mut Context) -> Result<Passed, Gone> {
        for _ in 0..BUFFERS_PER_TURN {
            if !self.send_pending(from, common, context)? {
                return Ok(Passed::Waits);
            }
            let (reader, writer) = ends(from, common);
            if !reader.readable || !writer.writable {
                return Ok(Passed::Waits);
            }
            let buffer = &mut *context.buffer;
            let count = match reader.recv(buffer) {
                Received::Data(count) => count,
                Received::Wait | Received::End => {
                    common.changed |= ends(from, common).0.ended;
                    return Ok(Passed::Waits);
                }
                Received::Failed(errno) => return Err(Gone::Reading(from, errno)),
            };
            let received = buffer.get(..count).unwrap_or_default();
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
                    Sent::Failed(errno) => return Err(Gone::Writing(from.other(), errno)),
                },
            };
            if let Some(rest) = octets.get(sent..).filter(|rest| !rest.is_empty()) {
                self.ways[from as usize].pending = Some(Box::new(Pending {
                    octets: rest.to_vec(),
                    sent: 0,
                }));
                common.changed = true;
            }
            common.count(from, count, context);
            common.activity[from as usize] = context.now;
            // Heartbeats go out whether the peer is there or not: in mode amqp only hearing from it counts.
            if sent > 0 && self.tap.is_none() {
                common.activity[from.other() as usize] = context.now;
            }
            self.pay(common, context);
        }
        Ok(Passed::More)
    }

    /// Sends what was kept. True once nothing is.
    fn send_pending(&mut self, from: Side, common: &mut Common, context: &Context) -> Result<bool, Gone> {
        let way = &mut self.ways[from as usize];
        let Some(pending) = &mut way.pending else {
            return Ok(true);
        };
        let (_, writer) = ends(from, common);
        if !writer.writable {
            return Ok(false);
        }
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
            Sent::Failed(errno) => Err(Gone::Writing(from.other(), errno)),
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
            ended && self.ways[from as usize].pending.is_none()
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
        let (Gone::Reading(side, _) | Gone::Writing(side, _)) = gone;
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
        self.ways[Side::Client as usize].pending = None;
        common.client.readable = false;
        common.client.ended = true;
        common.changed = true;
        if let Gone::Writing(..) = gone
            && let Some(server) = &mut common.server
        {
            server.readable = true;
            match self.pass(Side::Server, common, context) {
                Ok(Passed::Waits) => {}
                Ok(Passed::More) => context.again(common.place()),
                Err(_) => {
                    if self.ways[Side::Server as usize].pending.is_none() {
                        return Flow::End;
                    }
                }
            }
        }
        self.close(common, context)
    }

    /// Octets from a side that could not be sent on yet.
    pub(crate) fn pending(&self, from: Side) -> usize {
        let pending = self.ways[from as usize].pending.as_ref();
        pending.map_or(0, |pending| pending.octets.len() - pending.sent)
    }

    /// When silence has lasted too long, and whose.
    pub(crate) fn deadline(&self, common: &Common) -> Option<(u64, Side)> {
        let frontend = common.frontend().plan();
        let backend = common.backend.as_ref().map(|backend| backend.plan());
        let backend = backend
            .as_ref()
            .map_or_else(BackendTimeouts::default, |plan| plan.timeouts);
        let client = self.silence(Side::Client, &common.client, common, &frontend.timeouts, &backend);
        let server = common
            .server
            .as_ref()
            .and_then(|server| self.silence(Side::Server, server, common, &frontend.timeouts, &backend));
        let client = client.map(|at| (at, Side::Client));
        let server = server.map(|at| (at, Side::Server));
        match (client, server) {
            (Some(client), Some(server)) => Some(if server.0 < client.0 { server } else { client }),
            (client, server) => client.or(server),
        }
    }

    /// A side is waited for if it may still send, or if it has to take something.
    fn silence(
        &self,
        side: Side,
        endpoint: &Endpoint,
        common: &Common,
        frontend: &FrontendTimeouts,
        backend: &BackendTimeouts,
    ) -> Option<u64> {
        let owes = self.ways[side.other() as usize].pending.is_some();
        if endpoint.ended && !owes {
            return None;
        }
        let (usual, closing) = match side {
            Side::Client => (frontend.client, frontend.client_fin),
            Side::Server => (backend.server, backend.server_fin),
        };
        let usual = match &self.tap {
            None => backend.tunnel.or(usual),
            Some(tap) => tap.timeout(backend.tunnel.or(usual)),
        };
        let timeout = if endpoint.shut { closing.or(usual) } else { usual };
        Some(common.activity[side as usize] + millis(timeout?))
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
