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

#[allow(dead_code, reason = "sessions of mode amqp come next")]
pub(crate) mod amqp;
pub(crate) mod connect;
pub(crate) mod endpoint;
pub(crate) mod http;
pub(crate) mod relay;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use warren_balance::ServerId;

use self::connect::{Progress, Upstream};
use self::endpoint::Endpoint;
use self::http::Http;
use self::relay::Relay;
use crate::live::{Backend, Frontend, Server, Target};
use crate::plan::{self, Mode};
use crate::record::{Cause, Phase, Record, Termination, Times};
use crate::worker::context::{Context, Entrance};
use crate::worker::reactor::{Named, Place, Ready, Token};

/// Which end of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    Opening,
    /// Waiting for a server.
    Joining,
    /// Octets both ways.
    Relay(Relay),
    /// Requests and responses, with as many servers as it takes.
    Http(Box<Http>),
}

/// What every session has, whatever it speaks.
#[derive(Debug)]
pub(crate) struct Common {
    /// Its number in this process.
    pub(crate) id: u64,
    slot: u32,
    /// Attempts to reach a server so far, modulo [`Token::ATTEMPTS`]: tells their sockets' events apart.
    attempt: u8,
    pub(crate) client: Endpoint,
    pub(crate) server: Option<Endpoint>,
    /// Where the client came in.
    pub(crate) entrance: Arc<Entrance>,
    /// Entered by [`Common::enter`].
    pub(crate) backend: Option<Arc<Backend>>,
    /// Of which it has a slot.
    pub(crate) assigned: Option<Arc<Server>>,
    /// Where that server was when we connected.
    pub(crate) target: Option<Arc<Target>>,
    /// How far the way to a server is.
    pub(crate) upstream: Upstream,
    /// What hashes go by.
    pub(crate) key: u64,
    pub(crate) client_address: Option<SocketAddr>,
    /// When it was accepted, for people.
    pub(crate) accepted_at: SystemTime,
    /// The same by the worker's clock, in milliseconds.
    pub(crate) accepted: u64,
    /// When octets last passed on each side, by the worker's clock.
    pub(crate) activity: [u64; 2],
    /// Octets received from each side.
    pub(crate) bytes: [u64; 2],
    /// Milliseconds that phases took, for the log.
    pub(crate) spent: Spent,
    /// Failed attempts to connect that were followed by another.
    pub(crate) retries: u32,
    /// Not taken again if there is another.
    pub(crate) avoid: Option<ServerId>,
    /// Another server was taken after a failure.
    pub(crate) redispatched: bool,
    /// What ended it; the first cause counts.
    pub(crate) termination: Option<Termination>,
    /// Its deadline may be another than before: the timer has to be looked at.
    pub(crate) changed: bool,
}

/// Milliseconds that phases took; `None` is not reached.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    pub(crate) handshake: Option<NonZeroU32>,
    /// In queues. One more than the time, so that it needs no more room than a number.
    pub(crate) queue: Option<NonZeroU32>,
    pub(crate) connect: Option<NonZeroU32>,
}

impl Spent {
    /// Since `from`, as a phase's time.
    pub(crate) fn since(from: u64, now: u64) -> Option<NonZeroU32> {
        NonZeroU32::new(u32::try_from(now.saturating_sub(from)).unwrap_or(u32::MAX - 1) + 1)
    }

    fn duration(phase: Option<NonZeroU32>) -> Option<Duration> {
        phase.map(|millis| Duration::from_millis(u64::from(millis.get()) - 1))
    }
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
                attempt: 0,
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
                retries: 0,
                avoid: None,
                redispatched: false,
                termination: None,
                changed: true,
            },
            stage: Stage::Opening,
        }
    }

    /// Goes as far as it can.
    pub(crate) fn drive(&mut self, context: &mut Context) -> Flow {
        loop {
            match &mut self.stage {
                Stage::Opening if self.common.mode() == Mode::Http => {
                    match Http::begin(&mut self.common, context) {
                        Ok(http) => self.stage = Stage::Http(Box::new(http)),
                        Err(termination) => return self.common.end(termination),
                    }
                }
                Stage::Opening => match self.common.choose_backend(context) {
                    Ok(()) => self.stage = Stage::Joining,
                    Err(termination) => return self.common.end(termination),
                },
                Stage::Joining => match connect::advance(&mut self.common, context) {
                    Progress::Pending => return self.client_while_joining(),
                    Progress::Joined => {
                        self.common.activity = [context.now; 2];
                        self.stage = Stage::Relay(Relay::default());
                    }
                    Progress::Failed(termination) => return self.common.end(termination),
                },
                Stage::Relay(relay) => return relay.drive(&mut self.common, context),
                Stage::Http(http) => return http.drive(&mut self.common, context),
            }
        }
    }

    /// A client that leaves before there is a server, and has said nothing, is not connected any more.
    fn client_while_joining(&mut self) -> Flow {
        if !self.common.client.may_have_left() {
            return Flow::Stay;
        }
        match self.common.client.peek(&mut [0]) {
            endpoint::Received::Data(_) | endpoint::Received::Wait => Flow::Stay,
            endpoint::Received::End | endpoint::Received::Failed(_) => {
                let phase = self.common.upstream.phase();
                self.common.end(Termination::new(Cause::ClientAborted, phase))
            }
        }
    }

    /// When it has to be woken although nothing happens.
    pub(crate) fn deadline(&self) -> Option<u64> {
        match &self.stage {
            Stage::Opening => None,
            Stage::Joining => self.common.upstream.deadline(),
            Stage::Relay(relay) => relay.deadline(&self.common).map(|(at, _)| at),
            Stage::Http(http) => http.deadline(&self.common),
        }
    }

    /// Its timer went off.
    pub(crate) fn expire(&mut self, context: &mut Context) -> Flow {
        self.common.changed = true;
        if self.deadline().is_none_or(|deadline| deadline > context.now) {
            return Flow::Stay;
        }
        match &mut self.stage {
            Stage::Opening => Flow::Stay,
            Stage::Joining => self.drive(context),
            Stage::Http(http) => http.expire(&mut self.common, context),
            Stage::Relay(relay) => match relay.deadline(&self.common) {
                Some((_, late)) => {
                    let cause = match late {
                        Side::Client => Cause::ClientTimeout,
                        Side::Server => Cause::ServerTimeout,
                    };
                    self.common.end(Termination::new(cause, Phase::Data))
                }
                None => Flow::Stay,
            },
        }
    }

    /// A slot it waited for. False if it does not wait any more.
    pub(crate) fn granted(&mut self, server: &Arc<Server>, context: &Context) -> bool {
        connect::granted(&mut self.common, server, context)
    }

    /// It is over: logs it and gives back everything it has taken.
    pub(crate) fn finish(mut self, context: &mut Context) {
        let common = &mut self.common;
        if common.termination.is_none() {
            common.termination = Some(Termination::NORMAL);
        }
        let total = context.now.saturating_sub(common.accepted);
        common.count_end(total, context);
        let frontend = Arc::clone(&common.entrance.frontend);
        let plan = frontend.plan();
        if let Stage::Http(http) = &mut self.stage {
            http.finish(common, context);
        } else if !plan.log.targets.is_empty() {
            let record = common.record(&plan, context);
            context.log.record(&plan, &record);
        }
        common.leave_server(context);
        if let Some(backend) = &common.backend {
            backend.sessions.leave();
        }
        context.leave(&common.entrance);
    }
}

impl Common {
    /// Where it is in its worker.
    pub(crate) const fn place(&self) -> Place {
        Place {
            slot: self.slot,
            generation: self.id as u32,
        }
    }

    /// The token of its client's socket.
    pub(crate) const fn client_token(&self) -> Token {
        Token::new(Named::Client(self.place()))
    }

    /// The token of its server's socket, once [`Common::next_attempt`] was called.
    pub(crate) const fn server_token(&self) -> Token {
        Token::new(Named::Server(self.place(), self.attempt))
    }

    /// Events of earlier sockets towards a server are not ours from now on.
    pub(crate) const fn next_attempt(&mut self) {
        self.attempt = (self.attempt + 1) % Token::ATTEMPTS;
    }

    /// An event of the server's socket, unless it is one of an earlier attempt.
    pub(crate) fn note_server(&mut self, attempt: u8, ready: Ready) {
        if attempt == self.attempt
            && let Some(server) = &mut self.server
        {
            server.note(ready);
        }
    }

    /// The frontend.
    pub(crate) fn frontend(&self) -> &Arc<Frontend> {
        &self.entrance.frontend
    }

    /// It ends for this reason, unless there was one before.
    pub(crate) fn end(&mut self, termination: Termination) -> Flow {
        self.termination.get_or_insert(termination);
        Flow::End
    }

    /// Finds the backend by the frontend's rules and enters it.
    fn choose_backend(&mut self, context: &mut Context) -> Result<(), Termination> {
        let plan = self.frontend().plan();
        let Some(index) = plan.default_backend else {
            return Err(Termination::new(Cause::ServerAborted, Phase::Connect));
        };
        let backend = Arc::clone(context.snapshot().backend(index));
        self.enter(backend, context);
        self.key = match self.client_address {
            Some(address) => warren_balance::hash::of_address(address.ip()),
            None => 0,
        };
        self.upstream = Upstream::begin(context.now);
        Ok(())
    }

    /// Counts as a session of `backend` from now on.
    pub(crate) fn enter(&mut self, backend: Arc<Backend>, context: &Context) {
        backend.sessions.enter();
        backend.session_rate.count(context.time());
        backend.tally.of(context.worker).sessions.count();
        backend
            .last_session
            .store(context.now, std::sync::atomic::Ordering::Relaxed);
        self.backend = Some(backend);
    }

    /// Gives back its place in the queue and its slot, and whoever waits gets it.
    pub(crate) fn leave_server(&mut self, context: &mut Context) {
        let Some(backend) = &self.backend else { return };
        if let Upstream::Queued { ticket, .. } = self.upstream {
            // If it had a slot already, the worker gives that back when it hears of it.
            backend.leave(ticket);
            self.upstream = Upstream::None;
        }
        if let Some(server) = self.assigned.take()
            && let Some(waiter) = backend.release(&server)
        {
            context.grant(waiter, Arc::clone(backend), server);
        }
    }

    /// Octets came from `side`.
    #[inline]
    pub(crate) fn count(&mut self, side: Side, octets: usize, context: &Context) {
        let octets = octets as u64;
        self.bytes[side as usize] += octets;
        let worker = context.worker;
        let add = |tally: &crate::live::Tally| {
            let cells = tally.of(worker);
            match side {
                Side::Client => cells.bytes_in.add(octets),
                Side::Server => cells.bytes_out.add(octets),
            }
        };
        add(&self.entrance.frontend.tally);
        add(&context.live.tally);
        if let Some(backend) = &self.backend {
            add(&backend.tally);
        }
        if let Some(server) = &self.assigned {
            add(&server.tally);
        }
    }

    fn count_end(&self, total: u64, context: &Context) {
        let worker = context.worker;
        let total = Duration::from_millis(total);
        let cause = self.termination.map(|termination| termination.cause);
        let count = |tally: &crate::live::Tally| match cause {
            Some(Cause::ClientAborted) => tally.of(worker).client_aborts.count(),
            Some(Cause::ServerAborted) if self.spent.connect.is_some() => {
                tally.of(worker).server_aborts.count()
            }
            _ => {}
        };
        count(&self.frontend().tally);
        let time = |timings: &crate::live::Timings| {
            timings
                .queue
                .record(Spent::duration(self.spent.queue).unwrap_or_default());
            timings
                .connect
                .record(Spent::duration(self.spent.connect).unwrap_or_default());
            timings.total.record(total);
        };
        if let Some(backend) = &self.backend {
            count(&backend.tally);
            if self.spent.connect.is_some() {
                time(&backend.timings);
            }
        }
        if let Some(server) = &self.assigned {
            count(&server.tally);
            if self.spent.connect.is_some() {
                time(&server.timings);
            }
        }
    }

    /// Everything a log line can be made of. Addresses that only some formats need are only asked for if `plan`'s does.
    pub(crate) fn record<'a>(&'a self, plan: &plan::Frontend, context: &Context) -> Record<'a> {
        let all = !matches!(plan.log.format, plan::LogFormat::Tcp | plan::LogFormat::Http);
        let gauge = |gauge: Option<u32>| gauge.unwrap_or(0);
        Record {
            client: self.client_address,
            local: if all { self.client.local() } else { None },
            source: self.server.as_ref().filter(|_| all).and_then(Endpoint::local),
            server_address: match self.target.as_deref() {
                Some(Target::Tcp(address)) => Some(*address),
                Some(Target::Unix(_)) | None => None,
            },
            accepted: self.accepted_at,
            frontend: &self.frontend().name,
            tls: None,
            backend: self
                .backend
                .as_ref()
                .map_or(&self.frontend().name, |backend| &backend.name),
            server: self.assigned.as_ref().map_or("<NOSRV>", |server| &server.name),
            times: Times {
                handshake: Spent::duration(self.spent.handshake),
                idle: None,
                request: None,
                queue: Spent::duration(self.spent.queue),
                connect: Spent::duration(self.spent.connect),
                response: None,
                total: Duration::from_millis(context.now.saturating_sub(self.accepted)),
            },
            bytes_out: self.bytes[Side::Server as usize],
            bytes_in: self.bytes[Side::Client as usize],
            termination: self.termination.unwrap_or(Termination::NORMAL),
            connections: [
                context.live.connections.now(),
                self.frontend().sessions.now(),
                gauge(self.backend.as_ref().map(|backend| backend.sessions.now())),
                gauge(self.assigned.as_ref().map(|server| server.sessions.now())),
            ],
            retries: self.retries,
            redispatched: self.redispatched,
            queues: [0, 0],
            http: None,
            amqp: None,
            session: self.id,
        }
    }

    /// What the frontend speaks.
    pub(crate) fn mode(&self) -> Mode {
        self.frontend().plan().mode
    }
}
