//! What every session has, whatever it speaks and however far it is; and how it is counted and logged.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::connect::Upstream;
use super::endpoint::{Endpoint, Received};
use super::tracking::Tracked;
use super::{Flow, Side};
use crate::live::{Backend, Frontend, Server, Target};
use crate::plan::{self, LogFormat, Mode};
use crate::record::{AmqpFacts, Cause, Phase, Record, Refusal, Refused, Termination, Times, TlsFacts};
use crate::worker::context::{Context, Entrance};
use crate::worker::links::{Link, Links, Whose};
use crate::worker::reactor::{Named, Place, Token};

/// What every session has, whatever it speaks.
#[derive(Debug)]
pub(crate) struct Common {
    /// Its number in this process.
    pub(crate) id: u64,
    pub(super) slot: u32,
    /// Of its server's socket; of one that it had before, which may be somebody else's by now.
    pub(crate) link: Option<Link>,
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
    /// Whether a connection that has served other requests will do.
    pub(crate) reuse: Reuse,
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
    /// What few sessions have.
    pub(super) rare: Option<Box<Rare>>,
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
    /// Why it did not come in.
    pub(crate) refusal: Option<Refusal>,
}

/// Of a connection to a server that has served other requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// It has to be a new one.
    #[default]
    No,
    /// It will do.
    Welcome,
    /// It was taken.
    Taken,
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

    pub(super) fn duration(phase: Option<NonZeroU32>) -> Option<Duration> {
        phase.map(|millis| Duration::from_millis(u64::from(millis.get()) - 1))
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

    /// The token of a new socket towards a server. Events of an earlier one come to nobody from now on.
    pub(crate) fn next_link(&mut self, links: &mut Links) -> Token {
        self.leave_link(links);
        let (link, token) = links.open(self.place());
        self.link = Some(link);
        token
    }

    /// Its server's socket is one that was idle.
    pub(super) fn take_link(&mut self, link: Link, links: &mut Links) {
        self.leave_link(links);
        links.give(link, Whose::Session(self.place()));
        self.link = Some(link);
    }

    /// It has no socket towards a server any more.
    pub(crate) fn leave_link(&mut self, links: &mut Links) {
        if let Some(link) = self.link.take() {
            links.close(link, Whose::Session(self.place()));
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

    /// What a client said while it waited in vain counts as said: `option dontlognull` is about those that said nothing.
    pub(super) fn notice_unheard(&mut self) {
        if let Received::Data(octets) = self.client.peek(&mut [0; 1024]) {
            self.bytes[Side::Client as usize] += octets as u64;
        }
    }

    /// Logs before the end, if that is what the frontend wants; then nothing is logged at the end.
    pub(super) fn log_early(&mut self, context: &mut Context, wanted: impl FnOnce(&plan::Logging) -> bool) {
        let frontend = Arc::clone(self.frontend());
        if wanted(&frontend.plan().log) {
            self.log(None, false, context);
            self.unlogged = true;
        }
    }

    pub(super) fn log(&self, amqp: Option<&AmqpFacts>, over: bool, context: &mut Context) {
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
    pub(super) fn farewell(&mut self) {
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
    pub(super) fn told(&self) -> Option<&Told> {
        self.rare.as_ref()?.told.as_ref()
    }

    /// Where it is counted.
    pub(crate) fn tracked(&self) -> &[Tracked] {
        self.rare.as_ref().map_or(&[], |rare| &rare.tracked)
    }

    pub(crate) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    pub(super) fn end_tracking(&self, context: &Context) {
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

    pub(super) fn count_end(&self, total: u64, context: &Context) {
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
            refused: self
                .rare
                .as_ref()
                .and_then(|rare| rare.refusal)
                .map(|why| self.refused(why, plan)),
        }
    }

    /// What the frontend speaks.
    pub(crate) fn mode(&self) -> Mode {
        self.frontend().plan().mode
    }
}
