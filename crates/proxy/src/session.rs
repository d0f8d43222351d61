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
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use self::connect::{Progress, Upstream};
use self::endpoint::{Endpoint, Received};
use self::http::Http;
use self::opening::{Opened, Opening};
use self::relay::Relay;
use self::tracking::Tracked;
use crate::live::{Backend, Frontend, Server, Target};
use crate::plan::{self, LogFormat, Mode};
use crate::record::{AmqpFacts, Cause, Phase, Record, Refusal, Refused, Termination, Times, TlsFacts};
use crate::worker::SessionInfo;
use crate::worker::context::{Context, Entrance};
use crate::worker::reactor::{Named, Place, Ready, Token};

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

/// What every session has, whatever it speaks.
#[derive(Debug)]
pub(crate) struct Common {
    /// Its number in this process.
    pub(crate) id: u64,
    slot: u32,
    /// Attempts to reach a server so far, modulo [`Token::ATTEMPTS`]: tells their sockets' events apart.
    attempts: u8,
    /// The one whose socket is in use.
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
    /// How many waited for its server and for any server when it began to wait, itself included.
    pub(crate) queues: [u32; 2],
    /// Failed attempts to connect that were followed by another.
    pub(crate) retries: u32,
    /// Not taken again if there is another.
    pub(crate) avoid: Option<Arc<Server>>,
    /// The server that a cookie of the client's or a rule names. It is used whatever its state: whoever writes this has
    /// looked.
    pub(crate) wanted: Option<Arc<Server>>,
    /// A connection that has served others will do, and one was taken.
    pub(crate) reuse: bool,
    pub(crate) reused: bool,
    /// Another server was taken after a failure.
    pub(crate) redispatched: bool,
    /// What ended it; the first cause counts.
    pub(crate) termination: Option<Termination>,
    /// Its deadline may be another than before: the timer has to be looked at.
    pub(crate) changed: bool,
    /// It is among those that could go on once others have had their turn.
    pub(crate) lined_up: bool,
    /// Nothing is to be logged, or it has been already.
    pub(crate) unlogged: bool,
    /// Why it did not come in.
    pub(crate) refusal: Option<Refusal>,
    /// What few sessions have.
    rare: Option<Box<Rare>>,
    /// It is to end soon.
    pub(crate) leaving: Option<Box<Leaving>>,
}

/// What few sessions have.
#[derive(Debug, Default)]
pub(crate) struct Rare {
    /// Who the client is according to a PROXY protocol header.
    pub(crate) told: Option<Told>,
    /// Where it is counted.
    pub(crate) tracked: Vec<Tracked>,
}

/// What a PROXY protocol header said.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// The address the client came in by, at whoever sent the header.
    pub(crate) local: Option<SocketAddr>,
}

/// A session that is to end when that harms nobody.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaving {
    /// What the log says.
    pub(crate) cause: Cause,
    /// Then it ends whatever is under way.
    pub(crate) until: u64,
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
                attempts: 0,
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
                queues: [0; 2],
                retries: 0,
                avoid: None,
                wanted: None,
                reuse: false,
                reused: false,
                redispatched: false,
                termination: None,
                changed: true,
                lined_up: false,
                unlogged: false,
                rare: None,
                refusal: None,
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
        common.leave_server(context);
        common.end_tracking(context);
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
        self.attempts = (self.attempts + 1) % Token::ATTEMPTS;
        self.attempt = self.attempts;
    }

    /// An event of the server's socket; false if it is one of an earlier attempt.
    pub(crate) fn note_server(&mut self, attempt: u8, ready: Ready) -> bool {
        match &mut self.server {
            Some(server) if attempt == self.attempt => {
                server.note(ready);
                true
            }
            _ => false,
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

    /// It is to end, at `until` at the latest. What was said before holds if it is sooner.
    pub(crate) fn hurry(&mut self, cause: Cause, until: u64) {
        if self.leaving.as_ref().is_none_or(|leaving| until < leaving.until) {
            self.leaving = Some(Box::new(Leaving { cause, until }));
            self.changed = true;
        }
    }

    /// What follows when the client has come in.
    fn begin(&mut self, mode: Mode, context: &mut Context) -> Stage {
        if mode == Mode::Http {
            return Stage::Http(Box::new(Http::begin(self, context)));
        }
        self.log_early(context, |log| log.format == LogFormat::Plain);
        self.upstream = Upstream::begin(context.now);
        Stage::Joining { said: Vec::new() }
    }

    /// What a client said while it waited in vain counts as said: `option dontlognull` is about those that said nothing.
    fn notice_unheard(&mut self) {
        if let Received::Data(octets) = self.client.peek(&mut [0; 1024]) {
            self.bytes[Side::Client as usize] += octets as u64;
        }
    }

    /// Logs before the end, if that is what the frontend wants; then nothing is logged at the end.
    fn log_early(&mut self, context: &mut Context, wanted: impl FnOnce(&plan::Logging) -> bool) {
        let frontend = Arc::clone(self.frontend());
        if wanted(&frontend.plan().log) {
            self.log(None, false, context);
            self.unlogged = true;
        }
    }

    fn log(&self, amqp: Option<&AmqpFacts>, over: bool, context: &mut Context) {
        let plan = self.frontend().plan();
        if !self.unlogged && !plan.log.targets.is_empty() {
            let mut record = self.record(&plan, context);
            record.amqp = amqp;
            if over {
                record.leave(self.backend.is_some(), self.assigned.is_some());
            }
            context.log.record(&plan, &record);
        }
    }

    /// The address the client came in by.
    pub(crate) fn local_address(&self) -> Option<SocketAddr> {
        match self.told() {
            Some(told) => told.local,
            None => self.client.local(),
        }
    }

    fn refused(&self, why: Refusal, plan: &plan::Frontend) -> Refused<'_> {
        let bind = &self.entrance.bind;
        let before = plan.binds.iter().position(|known| known.address == bind.address);
        Refused {
            bind: bind.name.as_deref(),
            place: before.map_or(1, |before| before + 1),
            why,
        }
    }

    /// Who speaks TLS is told that nothing was cut off, unless something was.
    fn farewell(&mut self) {
        let is_whole = match self.termination {
            None => true,
            Some(Termination { cause, phase }) => {
                matches!(cause, Cause::Normal | Cause::Proxy | Cause::Local) || phase == Phase::Request
            }
        };
        if is_whole {
            self.client.farewell();
            if let Some(server) = &mut self.server {
                server.farewell();
            }
        }
    }

    /// What is known of the TLS that is ended here.
    pub(crate) fn tls_facts(&self) -> Option<TlsFacts<'_>> {
        self.client.tls()?.facts()
    }

    /// Who the client is according to a PROXY protocol header.
    fn told(&self) -> Option<&Told> {
        self.rare.as_ref()?.told.as_ref()
    }

    /// Where it is counted.
    pub(crate) fn tracked(&self) -> &[Tracked] {
        self.rare.as_ref().map_or(&[], |rare| &rare.tracked)
    }

    pub(crate) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    fn end_tracking(&self, context: &Context) {
        for tracked in self.tracked() {
            tracked.end(context.time(), self.bytes);
        }
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
        if let Upstream::Queued { ticket, since, .. } = self.upstream {
            self.spent.queue = Spent::since(since, context.now);
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
        if let Some(socket) = &self.entrance.socket {
            add(&socket.tally);
        }
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
        let all = !matches!(plan.log.format, LogFormat::Tcp | LogFormat::Http);
        let gauge = |gauge: Option<u32>| gauge.unwrap_or(0);
        Record {
            client: self.client_address,
            local: if all { self.local_address() } else { None },
            source: self.server.as_ref().filter(|_| all).and_then(Endpoint::local),
            server_address: match self.target.as_deref() {
                Some(Target::Tcp(address)) => Some(*address),
                Some(Target::Unix(_)) | None => None,
            },
            accepted: self.accepted_at,
            frontend: &self.frontend().name,
            tls: self.tls_facts(),
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
            queues: self.queues,
            http: None,
            amqp: None,
            session: self.id,
            refused: self.refusal.map(|why| self.refused(why, plan)),
        }
    }

    /// What the frontend speaks.
    pub(crate) fn mode(&self) -> Mode {
        self.frontend().plan().mode
    }
}
