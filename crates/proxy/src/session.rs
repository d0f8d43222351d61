//! One proxied connection, from the moment its client is accepted until both sides are closed.
//!
//! ```text
//!   accepted ─▶ Opening ─▶ Joining ──▶ Relay ─▶ ended        (tcp, amqp)
//!                  │        ▲  queue, connect, retries
//!                  └──▶ Http┴─────────────────▶ ended        (http: joins servers by itself, again and again)
//! ```
//!
//! A session is driven: whenever something may have changed (an event, a slot, a deadline) [`Session::drive`] goes as
//! far as it can without waiting. It keeps no buffer; what could not be sent yet is the exception and is on the heap.

pub(crate) mod amqp;
mod carry;
mod common;
pub(crate) mod condition;
pub(crate) mod connect;
pub(crate) mod endpoint;
pub(crate) mod http;
mod introduction;
mod opening;
pub(crate) mod relay;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod tracking;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::common::{Common, Leaving, Reuse, Spent, Told};
use self::connect::{Progress, Upstream};
use self::endpoint::{Endpoint, Received};
use self::http::Http;
use self::opening::{Opened, Opening};
use self::relay::Relay;
use crate::live::Server;
use crate::plan::{LogFormat, Mode};
use crate::record::{AmqpFacts, Cause, Phase, Termination};
use crate::worker::SessionInfo;
use crate::worker::context::{Context, Entrance};

/// How long what the proxy itself answers may take once its process has retired, in milliseconds.
const VISIT: u64 = 1_000;

/// Which end of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    /// Who connected to us.
    Client = 0,
    /// Whom we connected to.
    Server = 1,
}

impl Side {
    /// The other one.
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// Whether a session goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// It waits for something.
    Stay,
    /// It is over: both sides are to be closed.
    End,
}

/// One proxied connection.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) common: Common,
    stage: Stage,
}

/// How far it is.
#[derive(Debug)]
enum Stage {
    /// Before a backend is chosen.
    Opening(Opening),
    /// Waiting for a server, which is to be told first what the client has said to another one.
    Joining { said: Vec<u8> },
    /// Octets both ways.
    Relay(Relay),
    /// Requests and responses, with as many servers as it takes.
    Http(Box<Http>),
}

/// A client that was accepted and counted, on its way to the worker that will serve it.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) socket: std::os::fd::OwnedFd,
    pub(crate) address: Option<SocketAddr>,
    pub(crate) entrance: Arc<Entrance>,
}

impl Session {
    /// A client has come. Its slot in the slab is `slot`.
    pub(crate) fn new(arrival: Arrival, slot: u32, context: &Context) -> Self {
        Self {
            common: Common {
                id: context.live.next_session(),
                slot,
                link: None,
                client: Endpoint::accepted(arrival.socket),
                server: None,
                entrance: arrival.entrance,
                backend: None,
                assigned: None,
                target: None,
                upstream: Upstream::None,
                key: 0,
                client_address: arrival.address,
                accepted_at: context.wall(),
                accepted: context.now,
                activity: [context.now; 2],
                bytes: [0; 2],
                spent: Spent::default(),
                queues: [0; 2],
                retries: 0,
                avoid: None,
                wanted: None,
                reuse: Reuse::No,
                redispatched: false,
                termination: None,
                changed: true,
                lined_up: false,
                unlogged: false,
                rare: None,
                leaving: None,
            },
            stage: Stage::Opening(Opening::new()),
        }
    }

    /// Goes as far as it can.
    pub(crate) fn drive(&mut self, context: &mut Context) -> Flow {
        loop {
            match &mut self.stage {
                Stage::Opening(opening) => match opening.advance(&mut self.common, context) {
                    Opened::Pending => return Flow::Stay,
                    Opened::Refused(termination) => return self.common.end(termination),
                    Opened::Done(mode) => self.stage = self.common.begin(mode, context),
                },
                Stage::Joining { said } => match connect::advance(&mut self.common, context) {
                    Progress::Pending => {
                        if let Some(flow) = self.client_while_joining() {
                            return flow;
                        }
                    }
                    Progress::Joined => {
                        self.common.activity = [context.now; 2];
                        self.common.log_early(context, |log| log.logasap);
                        let said = std::mem::take(said);
                        self.stage = Stage::Relay(Relay::new(self.common.mode(), said));
                    }
                    Progress::Failed(termination) => return self.common.end(termination),
                },
                Stage::Relay(relay) => {
                    let flow = relay.drive(&mut self.common, context);
                    let Some(said) = relay.replay(&self.common) else {
                        return flow;
                    };
                    if let Some(termination) = connect::again(&mut self.common, context) {
                        return self.common.end(termination);
                    }
                    self.stage = Stage::Joining { said };
                }
                Stage::Http(http) => return http.drive(&mut self.common, context),
            }
        }
    }

    /// A client that leaves before there is a server, and has said nothing, is not connected any more. `None`: there is
    /// a server by now, of which only the event has not been seen yet.
    fn client_while_joining(&mut self) -> Option<Flow> {
        let common = &mut self.common;
        if !common.client.may_have_left() {
            return Some(Flow::Stay);
        }
        let left = common.client.peek(&mut [0]);
        let connected = matches!(left, Received::End | Received::Failed(_))
            && common.server.as_mut().is_some_and(Endpoint::is_connected);
        match left {
            Received::Data(_) | Received::Wait => Some(Flow::Stay),
            Received::End if connected => None,
            // As HAProxy names it, whether or not there are data yet.
            Received::Failed(_) if connected || matches!(common.upstream, Upstream::Connecting { .. }) => {
                Some(common.end(Termination::new(Cause::ClientAborted, Phase::Data)))
            }
            Received::End | Received::Failed(_) => Some(self.end(Cause::ClientAborted)),
        }
    }

    /// When it has to be woken although nothing happens.
    pub(crate) fn deadline(&self) -> Option<u64> {
        let own = match &self.stage {
            Stage::Opening(opening) => opening.deadline(),
            Stage::Joining { .. } => self.common.upstream.deadline(),
            Stage::Relay(relay) => relay.deadline(&self.common).map(|(at, _)| at),
            Stage::Http(http) => http.deadline(&self.common),
        };
        let leaving = self.common.leaving.as_ref().map(|leaving| leaving.until);
        own.into_iter().chain(leaving).min()
    }

    /// Its timer went off.
    pub(crate) fn expire(&mut self, context: &mut Context) -> Flow {
        self.common.changed = true;
        if self.deadline().is_none_or(|deadline| deadline > context.now) {
            return Flow::Stay;
        }
        if let Some(leaving) = &self.common.leaving
            && leaving.until <= context.now
        {
            return self.end(leaving.cause);
        }
        match &mut self.stage {
            Stage::Opening(_) | Stage::Joining { .. } => self.drive(context),
            Stage::Http(http) => http.expire(&mut self.common, context),
            Stage::Relay(relay) => match relay.deadline(&self.common) {
                Some((_, late)) => relay.expire(late, &mut self.common, context),
                None => Flow::Stay,
            },
        }
    }

    /// It ends now, for this reason.
    pub(crate) fn end(&mut self, cause: Cause) -> Flow {
        self.common.end(Termination::new(cause, self.phase()))
    }

    /// It ends now, and nobody is told but by a reset.
    pub(crate) fn reset(&mut self, cause: Cause) -> Flow {
        self.common.client.reset_on_close();
        if let Some(server) = &self.common.server {
            server.reset_on_close();
        }
        self.end(cause)
    }

    /// It is to end when that harms nobody, at `until` at the latest.
    pub(crate) fn leave(&mut self, cause: Cause, until: u64, context: &mut Context) -> Flow {
        self.common.hurry(cause, until);
        match &mut self.stage {
            Stage::Relay(relay) => relay.end(cause, &mut self.common, context),
            Stage::Opening(_) | Stage::Joining { .. } | Stage::Http(_) => self.drive(context),
        }
    }

    /// Its process serves nobody new: a client of mode http may have one more request answered, and what the proxy
    /// itself tells (the statistics, live) the next process tells better.
    pub(crate) fn retire(&mut self, context: &mut Context) -> Flow {
        if let Stage::Http(http) = &mut self.stage {
            http.retire();
            if self.common.server.is_some() && self.common.assigned.is_none() {
                self.common.hurry(Cause::Killed, context.now + VISIT);
            }
        }
        Flow::Stay
    }

    /// Whether it could be ended now without anybody losing anything, after a silence of so many milliseconds.
    pub(crate) fn is_movable(&self, silence: u64, now: u64) -> bool {
        let idle = |activity: u64| now.saturating_sub(activity) >= silence;
        let Stage::Relay(relay) = &self.stage else {
            return false;
        };
        self.common.leaving.is_none() && self.common.activity.into_iter().all(idle) && relay.is_movable()
    }

    /// What is known of the AMQP connection, if it is one.
    fn amqp(&self) -> Option<AmqpFacts> {
        match &self.stage {
            Stage::Relay(relay) => relay.amqp(),
            Stage::Opening(_) | Stage::Joining { .. } | Stage::Http(_) => None,
        }
    }

    fn phase(&self) -> Phase {
        match &self.stage {
            Stage::Opening(_) => Phase::Request,
            Stage::Joining { .. } => self.common.upstream.phase(),
            // What HAProxy says of connections that it ends by itself while they carry data.
            Stage::Relay(_) => Phase::Normal,
            Stage::Http(_) => Phase::Data,
        }
    }

    /// Itself as the live table shows it.
    pub(crate) fn info(&self, context: &Context) -> SessionInfo {
        let common = &self.common;
        let millis = |since: u64| Duration::from_millis(context.now.saturating_sub(since));
        let address =
            |address: Option<SocketAddr>| address.map_or_else(|| "unix".to_owned(), |a| a.to_string());
        let unsent = match &self.stage {
            Stage::Relay(relay) => relay.pending(Side::Server),
            Stage::Opening(_) | Stage::Joining { .. } | Stage::Http(_) => 0,
        };
        SessionInfo {
            id: common.id,
            worker: context.worker,
            accepted: common.accepted_at,
            age: millis(common.accepted),
            client: address(common.client_address),
            local: address(common.local_address()),
            frontend: Arc::clone(&common.frontend().name),
            backend: common.backend.as_ref().map(|backend| Arc::clone(&backend.name)),
            server: common.assigned.as_ref().map(|server| {
                let target = common.target.as_deref();
                (
                    Arc::clone(&server.name),
                    target.map_or_else(String::new, ToString::to_string),
                )
            }),
            bytes_in: common.bytes[Side::Client as usize],
            bytes_out: common.bytes[Side::Server as usize],
            idle: common.activity.map(millis),
            unsent: unsent as u64,
            state: match (&self.stage, &common.upstream) {
                _ if common.leaving.is_some() => "closing",
                (Stage::Opening(_), _) => "opening",
                (Stage::Joining { .. }, Upstream::Queued { .. }) => "queued",
                (Stage::Joining { .. }, _) => "connecting",
                (Stage::Relay(_), _) if common.client.shut || common.client.ended => "closing",
                (Stage::Relay(_), _) => "established",
                (Stage::Http(http), _) => http.doing(),
            },
            tls: !common.client.is_plain(),
            amqp: self.amqp().map(Arc::new),
        }
    }

    /// A slot it waited for. False if it does not wait any more.
    pub(crate) fn granted(&mut self, server: &Arc<Server>, context: &Context) -> bool {
        connect::granted(&mut self.common, server, context)
    }

    /// It is over: logs it and gives back everything it has taken.
    pub(crate) fn finish(mut self, context: &mut Context) {
        let amqp = self.amqp();
        let common = &mut self.common;
        if common.termination.is_none() {
            common.termination = Some(Termination::NORMAL);
        }
        if let Stage::Relay(relay) = &mut self.stage {
            relay.finish(context);
        }
        if let Stage::Http(http) = &mut self.stage {
            http.finish(common, context);
        } else {
            if let Stage::Joining { .. } = self.stage {
                common.notice_unheard();
            }
            if let Upstream::Queued { since, .. } = common.upstream {
                common.spent.queue = Spent::since(since, context.now);
            }
            let total = context.now.saturating_sub(common.accepted);
            common.count_end(total, context);
            common.log(amqp.as_ref(), true, context);
        }
        common.farewell();
        common.leave_link(&mut context.links);
        common.leave_server(context);
        common.end_tracking(context);
        if let Some(backend) = &common.backend {
            backend.sessions.leave();
        }
        context.leave(&common.entrance);
    }
}

impl Common {
    /// What follows when the client has come in.
    fn begin(&mut self, mode: Mode, context: &mut Context) -> Stage {
        if mode == Mode::Http {
            return Stage::Http(Box::new(Http::begin(self, context)));
        }
        self.log_early(context, |log| log.format == LogFormat::Plain);
        self.upstream = Upstream::begin(context.now);
        Stage::Joining { said: Vec::new() }
    }
}
