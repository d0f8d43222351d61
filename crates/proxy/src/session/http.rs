//! A session of mode http: requests and responses on the session's two endpoints.
//!
//! ```text
//!   Waiting ─▶ (rules, backend) ─▶ Joining ─▶ Passing ─▶ Waiting ...        keep-alive
//!      │               │             queue,      │ ├────▶ Tunnel            101, CONNECT
//!      └───────────────┴── own answer connect ──▶┘ └────▶ Lingering ─▶ end  close
//! ```
//!
//! Heads are read where they were received. One that no rule has changed goes on as it came, and so do bodies, chunks
//! and all. Requests of one client are answered one after the other; what of the next one has come already waits.
//!
//! - [`exchange`]: one request and its response. [`rules`], [`edit`], [`template`], [`remember`]: what the configuration makes of them.
//! - [`upload`], [`download`]: their octets, large ones by [`moving`]. [`answer`], [`pages`]: what the proxy says itself.
//! - [`pool`]: connections to servers between requests.
//! - [`carry`]: all of it on its way to another process.
//! - [`patience`]: how long is waited for whom. [`lost`]: what follows when something fails.

mod answer;
mod carry;
mod cookie;
#[cfg(test)]
mod differential;
mod download;
mod edit;
mod exchange;
mod lost;
mod moving;
mod pages;
mod patience;
mod pool;
mod remember;
mod rules;
mod template;
#[cfg(test)]
mod tests;
mod upload;

pub(crate) use self::edit::FRAMING;
pub(crate) use self::exchange::Extra;
pub(crate) use self::pages::reason;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use warren_balance::http::{Body, Limits, Persistence, Response};

pub(crate) use self::exchange::Exchange;
use self::lost::Lost;
use self::pool::{Idle, Pool};
use self::rules::{Reply, Verdict};
pub(crate) use self::template::express;
use super::connect::{self, Progress, Upstream, millis};
use super::endpoint::{Endpoint, Received};
use super::relay::Relay;
use super::tracking::{self, Event};
use super::{Common, Flow, Reuse, Side, Spent};
use crate::live::{Server, Target};
use crate::logs::Dates;
use crate::plan;
use crate::record::{Cause, Phase, Termination};
use crate::worker::Service;
use crate::worker::context::Context;

/// Buffers that one direction may move before other sessions have their turn.
const BUFFERS_PER_TURN: usize = 8;
/// Longer messages are sent at once, without a copy.
const DEFERRED_MAX: usize = 2 * 1024;
/// How long a client may take to close after we have, while what it still sends is thrown away. Closing at once would
/// reset the connection and might destroy the answer before it is read.
const LINGER: Duration = Duration::from_secs(1);
/// Octets thrown away while lingering.
const LINGER_OCTETS_MAX: usize = 1 << 20;

/// What the http sessions of a worker share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) pool: Pool,
    #[allow(clippy::vec_box, reason = "what is moved between sessions is the box")]
    spare: Vec<Box<Exchange>>,
    dates: Dates,
    /// Where responses' heads are read: nothing of it is needed once the head was passed on.
    response: Response,
    /// Heads that have to be changed.
    scratch: Vec<u8>,
}

/// One client and its requests.
#[derive(Debug)]
pub(crate) struct Http {
    state: State,
    /// What has come of requests that are not under way yet.
    ahead: Vec<u8>,
    exchange: Option<Box<Exchange>>,
    /// The one under way included.
    requests: u32,
    /// When it began to wait for a request.
    since: u64,
    /// When the first octet of the request came whose head is not whole yet.
    began: Option<(u64, SystemTime)>,
    /// Ends as soon as it politely can.
    ending: bool,
    /// Variables of the connection (`sess.`), between requests.
    kept: Option<Box<Kept>>,
}

/// Variables, by name.
type Kept = Vec<(String, Vec<u8>)>;

#[derive(Debug)]
enum State {
    /// For a request's head, whole.
    Waiting,
    /// For a server.
    Joining,
    /// Octets of a request and its response, or of an answer of our own.
    Passing,
    /// Something else is spoken.
    Tunnel(Relay),
    /// For a client that is not wanted to have waited long enough.
    Tarpit { until: u64, status: u16 },
    /// For the client to close, too.
    Lingering { until: u64, thrown: usize },
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The new state has something to do.
    Again,
    /// An event, or a time, will tell.
    Stay,
    /// The session is over.
    End,
}

/// How far an exchange came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passed {
    /// Until one of both sockets has to tell.
    Waits,
    /// It could go on.
    More,
    /// The response is with the client.
    Finished,
}

impl Http {
    /// A client that can be read from.
    pub(crate) const fn begin(common: &mut Common, context: &Context) -> Self {
        common.changed = true;
        Self {
            state: State::Waiting,
            ahead: Vec::new(),
            exchange: None,
            requests: 0,
            since: context.now,
            began: None,
            ending: false,
            kept: None,
        }
    }

    /// Something may have changed: goes as far as it can without waiting.
    pub(crate) fn drive(&mut self, common: &mut Common, context: &mut Context) -> Flow {
        if common.leaving.is_some() && self.wind_up() == Flow::End {
            return Flow::End;
        }
        loop {
            let next = match &mut self.state {
                State::Waiting => self.wait(common, context),
                State::Joining => self.join(common, context),
                State::Passing => self.pass(common, context),
                State::Tarpit { until, status } if *until <= context.now => {
                    let status = *status;
                    self.answer_error(status, common, context)
                }
                State::Tarpit { .. } => self.tarpit(common, context),
                State::Tunnel(relay) => return relay.drive(common, context),
                State::Lingering { thrown, .. } => linger(thrown, common, context),
            };
            match next {
                Next::Again => {}
                Next::Stay => return Flow::Stay,
                Next::End => return Flow::End,
            }
        }
    }

    /// Ends after the response that is under way: at once if none is.
    fn wind_up(&mut self) -> Flow {
        self.ending = true;
        match self.state {
            State::Waiting if self.ahead.is_empty() => Flow::End,
            _ => Flow::Stay,
        }
    }

    /// The next answer is the last one on this connection.
    pub(crate) const fn retire(&mut self) {
        self.ending = true;
    }

    /// What it is doing, for the live table.
    pub(crate) fn doing(&self) -> &'static str {
        match &self.state {
            State::Waiting if self.ahead.is_empty() => "idle",
            State::Waiting => "request",
            State::Joining => "connecting",
            State::Passing => "response",
            State::Tarpit { .. } => "tarpit",
            State::Tunnel(_) => "tunnel",
            State::Lingering { .. } => "closing",
        }
    }

    /// Takes requests from what has come.
    fn wait(&mut self, common: &mut Common, context: &mut Context) -> Next {
        if self.began.is_none() && !self.ahead.is_empty() {
            // It came while another request was under way.
            let ahead = std::mem::take(&mut self.ahead);
            if let Some(next) = self.receive(&ahead, common, context) {
                return next;
            }
        }
        loop {
            if common.client.ended {
                return self.client_left(common, context);
            }
            if !common.client.readable {
                return Next::Stay;
            }
            let mut buffer = std::mem::take(&mut context.buffer);
            let received = common.client.recv(&mut buffer);
            let next = match received {
                Received::Data(count) => {
                    self.receive(buffer.get(..count).unwrap_or_default(), common, context)
                }
                Received::Wait => Some(Next::Stay),
                Received::End | Received::Failed(_) => Some(self.client_left(common, context)),
            };
            context.buffer = buffer;
            if let Some(next) = next {
                return next;
            }
        }
    }

    /// More of a head. `None`: it is not whole yet.
    fn receive(&mut self, octets: &[u8], common: &mut Common, context: &mut Context) -> Option<Next> {
        common.activity[Side::Client as usize] = context.now;
        if self.began.is_none() {
            self.began = Some((context.now, context.wall()));
            common.changed = true;
        }
        if self.ahead.is_empty() {
            return self.read(octets, common, context);
        }
        self.ahead.extend_from_slice(octets);
        // A head ends with a line: what has no end of one need not be looked at, but for its length.
        if !octets.contains(&b'\n') && self.ahead.len() < limits(context).head {
            return None;
        }
        let ahead = std::mem::take(&mut self.ahead);
        self.read(&ahead, common, context)
    }

    fn read(&mut self, octets: &[u8], common: &mut Common, context: &mut Context) -> Option<Next> {
        let mut exchange = context.http.spare.pop().unwrap_or_default();
        match exchange.request.read(octets, limits(context)) {
            Ok(Some(end)) => Some(self.begin_request(exchange, octets, end, common, context)),
            Ok(None) => {
                context.http.spare.push(exchange);
                self.ahead = octets.to_vec();
                None
            }
            Err(refused) => {
                self.prepare(&mut exchange, common, context);
                common.count(Side::Client, octets.len(), context);
                Some(self.bad_request(exchange, refused, octets, common, context))
            }
        }
    }

    /// What is known of a request before its head is.
    fn prepare(&mut self, exchange: &mut Exchange, common: &Common, context: &mut Context) {
        let (began, date) = self.began.take().unwrap_or_else(|| (self.since, context.wall()));
        exchange.frontend = Some(context.plan_of(common.frontend()));
        exchange.idle = began.saturating_sub(self.since);
        exchange.began = began;
        exchange.date = date;
        if let Some(kept) = self.kept.take() {
            exchange.extra().variables = *kept;
        }
    }

    /// A head has come, and what follows it.
    fn begin_request(
        &mut self,
        mut exchange: Box<Exchange>,
        octets: &[u8],
        end: usize,
        common: &mut Common,
        context: &mut Context,
    ) -> Next {
        self.prepare(&mut exchange, common, context);
        self.requests = self.requests.saturating_add(1);
        let (head, rest) = octets.split_at_checked(end).unwrap_or((octets, &[]));
        exchange.head.clear();
        exchange.head.extend_from_slice(head);
        exchange.upload = Body::new(exchange.request.length());
        let body = match exchange.upload.take(rest) {
            Ok(taken) => taken.octets,
            Err(refused) => {
                common.count(Side::Client, octets.len(), context);
                return self.bad_request(exchange, refused, octets, common, context);
            }
        };
        let (body, ahead) = rest.split_at_checked(body).unwrap_or((rest, &[]));
        if !ahead.is_empty() {
            self.ahead = ahead.to_vec();
        }
        exchange.understood = true;
        exchange.request_time = Some(context.now.saturating_sub(exchange.began));
        common.changed = true;
        let frontend = common.frontend();
        frontend.tally.of(context.worker).requests.count();
        frontend.request_rate.count(context.time());
        if let Err(reply) = self.route(&mut exchange, common, context) {
            common.count(Side::Client, head.len() + body.len(), context);
            return self.reply(exchange, reply, common, context);
        }
        common.count(Side::Client, head.len() + body.len(), context);
        write_request(&mut exchange, body);
        self.exchange = Some(exchange);
        if self
            .exchange
            .as_ref()
            .is_some_and(|exchange| exchange.service.is_some())
        {
            return self.visit(common, context);
        }
        common.upstream = Upstream::begin(context.now);
        self.state = State::Joining;
        Next::Again
    }

    /// Where the request goes, by the rules; or what is answered instead.
    fn route(
        &self,
        exchange: &mut Exchange,
        common: &mut Common,
        context: &mut Context,
    ) -> Result<(), Option<Reply>> {
        let Some(plan) = exchange.frontend.clone() else {
            return Err(None);
        };
        if !rules::content(&plan.tcp_rules, exchange, common, context) {
            return Err(Some(Reply::Drop));
        }
        tracking::happened(Event::Request, Some(exchange), common, context);
        let url = || exchange.request.url(&exchange.head);
        if plan.monitor_uri.as_deref().is_some_and(|uri| uri == url()) {
            exchange.quiet = true;
            let unwell = rules::any_holds(&plan.monitor_fail, exchange, common, context);
            return Err(unwell.then_some(Reply::Unwell));
        }
        remember::request(exchange, common, context);
        let verdict = rules::request(&plan.request_rules, exchange, common, context);
        if let Verdict::Reply(reply) = verdict {
            return served(reply, exchange);
        }
        if let Some(stats) = &plan.stats
            && exchange.request.url(&exchange.head).starts_with(&stats.uri)
        {
            let admin =
                plan.stats_admin.is_empty() || rules::any_holds(&plan.stats_admin, exchange, common, context);
            exchange.service = Some(Service::Stats { admin });
            return Ok(());
        }
        let Some(backend) = rules::backend(exchange, common, context) else {
            return Err(Some(Reply::Nowhere));
        };
        let backend_plan = context.plan_of_backend(&backend);
        common.enter(backend, context);
        if let Some(backend) = &common.backend {
            backend.tally.of(context.worker).requests.count();
            backend.request_rate.count(context.time());
        }
        exchange.backend = Some(Arc::clone(&backend_plan));
        if verdict == Verdict::Pass && !backend_plan.request_rules.is_empty() {
            let verdict = rules::request(&backend_plan.request_rules, exchange, common, context);
            if let Verdict::Reply(reply) = verdict {
                return served(reply, exchange);
            }
        }
        if let Some(backend) = common.backend.clone() {
            let persistence = rules::persistence(&backend_plan.persist_rules, exchange, common, context);
            let forced = backend_plan.use_down || persistence == Some(true);
            let rules = &backend_plan.server_rules;
            common.wanted = rules::server(rules, &backend, forced, exchange, common, context);
            if let Some(cookie) = &backend_plan.cookie {
                let date = context.wall();
                let persistence = match persistence {
                    Some(false) => cookie::Persistent::Never,
                    _ if forced => cookie::Persistent::Always,
                    _ => cookie::Persistent::Up,
                };
                cookie::request(cookie, exchange, common, &backend, persistence, date);
            }
        }
        let options = [&backend_plan.forwardfor, &plan.forwardfor];
        rules::tell_address(options, common.client_address, exchange);
        if backend_plan.originalto.is_some() || plan.originalto.is_some() {
            let options = [&backend_plan.originalto, &plan.originalto];
            rules::tell_address(options, common.local_address(), exchange);
        }
        common.key = rules::key(&backend_plan.balance.on, exchange, common);
        Ok(())
    }

    /// The proxy itself answers: over a pair of sockets, of which the control thread has the other end.
    fn visit(&mut self, common: &mut Common, context: &mut Context) -> Next {
        let Some(exchange) = &mut self.exchange else {
            return Next::End;
        };
        let Some(service) = exchange.service else {
            return Next::End;
        };
        let opened = std::os::unix::net::UnixStream::pair().and_then(|(ours, theirs)| {
            ours.set_nonblocking(true)?;
            theirs.set_nonblocking(true)?;
            let ours = std::os::fd::OwnedFd::from(ours);
            let token = common.next_link(&mut context.links);
            context.reactor.add(&ours, token)?;
            Ok((ours, theirs))
        });
        let visited = opened.ok().and_then(|(ours, theirs)| {
            let visit = crate::worker::Visit {
                stream: theirs,
                service,
                frontend: Arc::clone(common.frontend()),
            };
            context.visits.try_send(visit).ok().map(|()| ours)
        });
        match visited {
            Some(ours) => {
                common.server = Some(Endpoint::accepted(ours));
                exchange.joined = Some(context.now);
                common.frontend().tally.of(context.worker).intercepted.count();
                common.termination = Some(Termination::new(Cause::Local, Phase::Request));
                self.state = State::Passing;
                Next::Again
            }
            None => {
                // Too many visitors at once.
                common.termination = Some(Termination::new(Cause::Resource, Phase::Request));
                self.answer_error(503, common, context)
            }
        }
    }

    /// On the way to a server.
    fn join(&mut self, common: &mut Common, context: &mut Context) -> Next {
        let Some(exchange) = &mut self.exchange else {
            return Next::End;
        };
        let again = exchange.replayable && exchange.request.is_idempotent(&exchange.head);
        common.reuse = if !exchange.fresh && (again || self.requests > 1) {
            Reuse::Welcome
        } else {
            Reuse::No
        };
        match connect::advance(common, context) {
            Progress::Pending => {
                if common.client.may_have_left() && self.watch_client(common, context).is_err() {
                    return self.lost(Lost::Client, common, context);
                }
                Next::Stay
            }
            Progress::Joined => {
                exchange.join(common, context);
                common.activity = [context.now; 2];
                if let Some(server) = &common.assigned {
                    let octets = exchange.up.octets.len() as u64;
                    server.tally.of(context.worker).bytes_in.add(octets);
                }
                self.state = State::Passing;
                if exchange.up.octets.len() <= DEFERRED_MAX && context.defer(common.place()) {
                    return Next::Stay;
                }
                Next::Again
            }
            Progress::Failed(termination) => {
                common.termination = Some(termination);
                let status = if termination.cause == Cause::Internal {
                    500
                } else {
                    503
                };
                self.answer_error(status, common, context)
            }
        }
    }

    /// Somebody is kept waiting, unless he gives up.
    fn tarpit(&mut self, common: &mut Common, context: &mut Context) -> Next {
        if common.client.may_have_left() && self.watch_client(common, context).is_err() {
            return Next::End;
        }
        Next::Stay
    }

    /// Octets both ways.
    fn pass(&mut self, common: &mut Common, context: &mut Context) -> Next {
        let passed = self.upload(common, context).and_then(|up| {
            let down = self.download(common, context)?;
            Ok(if up == Passed::More && down == Passed::Waits {
                up
            } else {
                down
            })
        });
        match passed {
            Ok(Passed::Waits) => Next::Stay,
            Ok(Passed::More) => {
                context.again(common);
                Next::Stay
            }
            Ok(Passed::Finished) => self.complete(common, context),
            Err(lost) => self.lost(lost, common, context),
        }
    }

    /// The response is with the client. What comes next is another request, a tunnel, or nothing.
    fn complete(&mut self, common: &mut Common, context: &mut Context) -> Next {
        let Some(mut exchange) = self.exchange.take() else {
            return Next::End;
        };
        common.changed = true;
        if exchange.tunnel {
            let mut early = exchange.up.rest().to_vec();
            common.count(Side::Client, self.ahead.len(), context);
            early.append(&mut self.ahead);
            exchange.up.clear();
            self.exchange = Some(exchange);
            common.activity = [context.now; 2];
            self.state = State::Tunnel(Relay::new(plan::Mode::Tcp, early));
            return Next::Again;
        }
        let whole = exchange.upload.is_finished();
        if let (Some(endpoint), Some(link), Some(server), Some(target)) = (
            common.server.take(),
            common.link,
            &common.assigned,
            &common.target,
        ) && exchange.keep_server
            && !server.is_told_of_clients()
            && whole
            && exchange.up.is_empty()
            && !exchange.moved_up.owes()
            && !endpoint.ended
            && !endpoint.has_hung_up()
        {
            let idle = Idle::new(
                Arc::clone(server),
                Arc::clone(target),
                link,
                endpoint,
                context.now,
            );
            context.http.pool.put(idle, &mut context.links);
        }
        let keep = exchange.keep_client && whole && !self.ending;
        self.kept = exchange.take_kept().filter(|_| keep);
        exchange.close(common, context);
        if keep {
            self.since = context.now;
            self.state = State::Waiting;
            return Next::Again;
        }
        self.close_client(whole, common, context)
    }

    /// The client is told that nothing follows.
    fn close_client(&mut self, whole: bool, common: &mut Common, context: &Context) -> Next {
        if common.client.ended || (whole && self.ahead.is_empty() && !common.client.readable) {
            return Next::End;
        }
        common.client.shutdown_write();
        common.changed = true;
        self.state = State::Lingering {
            until: context.now + millis(LINGER),
            thrown: 0,
        };
        Next::Again
    }

    /// The client has gone before its request was whole.
    fn client_left(&mut self, common: &mut Common, context: &mut Context) -> Next {
        // Between requests that is how it ends.
        if self.began.is_none() && self.requests > 0 {
            return Next::End;
        }
        let mut exchange = context.http.spare.pop().unwrap_or_default();
        self.prepare(&mut exchange, common, context);
        common.count(Side::Client, self.ahead.len(), context);
        common.frontend().tally.of(context.worker).request_errors.count();
        for event in [Event::Request, Event::Error] {
            tracking::happened(event, None, common, context);
        }
        common.termination = Some(Termination::new(Cause::ClientAborted, Phase::Request));
        exchange.status = Some(400);
        exchange.close(common, context);
        Next::End
    }

    /// The session is over: logs what is under way. Slot, backend and frontend are left by the caller.
    pub(crate) fn finish(&mut self, common: &mut Common, context: &mut Context) {
        if let Some(exchange) = self.exchange.take() {
            exchange.close(common, context);
        }
    }
}

/// A service inside the proxy, or an answer.
fn served(reply: Reply, exchange: &mut Exchange) -> Result<(), Option<Reply>> {
    if reply == Reply::Prometheus {
        exchange.service = Some(Service::Prometheus);
        return Ok(());
    }
    Err(Some(reply))
}

/// What the server will get, as far as it has come: the head, written anew if it has to be, and some of the body.
fn write_request(exchange: &mut Exchange, body: &[u8]) {
    let closes = |plan: &plan::Backend| plan.server_close || plan.http_close;
    let closes = exchange.backend.as_deref().is_none_or(closes)
        || exchange.frontend.as_ref().is_some_and(|plan| plan.http_close);
    let persistence = if closes {
        Persistence::Close
    } else {
        Persistence::KeepAlive
    };
    exchange.keep_server = !closes;
    exchange.replayable = exchange.upload.is_finished();
    let Exchange {
        request,
        head,
        up,
        edited,
        ..
    } = exchange;
    up.clear();
    if *edited || request.irregular() || !request.says(persistence) {
        request.set_persistence(head, persistence);
        request.write(head, &mut up.octets);
    } else {
        up.octets.extend_from_slice(request.original(head));
    }
    up.octets.extend_from_slice(body);
}

/// Throws away what a client sends that was told that nothing follows.
fn linger(thrown: &mut usize, common: &mut Common, context: &mut Context) -> Next {
    for _ in 0..BUFFERS_PER_TURN {
        if !common.client.readable {
            return Next::Stay;
        }
        match common.client.recv(&mut context.buffer) {
            Received::Data(count) => {
                *thrown += count;
                if *thrown > LINGER_OCTETS_MAX {
                    return Next::End;
                }
            }
            Received::Wait => return Next::Stay,
            Received::End | Received::Failed(_) => return Next::End,
        }
    }
    context.again(common);
    Next::Stay
}

/// An idle connection to the server that was chosen, if there may be one: the session's last one rather than another.
pub(super) fn reuse(
    common: &mut Common,
    server: &Arc<Server>,
    target: &Target,
    context: &mut Context,
) -> bool {
    // One that was told who the client is belongs to that client.
    if common.reuse != Reuse::Welcome || server.is_told_of_clients() {
        return false;
    }
    let (pool, links) = (&mut context.http.pool, &mut context.links);
    let Some((endpoint, link)) = pool.take(server, target, common.link, links) else {
        return false;
    };
    common.take_link(link, links);
    for tally in [
        Some(&server.tally),
        common.backend.as_ref().map(|backend| &backend.tally),
    ]
    .into_iter()
    .flatten()
    {
        tally.of(context.worker).reuses.count();
    }
    common.server = Some(endpoint);
    common.reuse = Reuse::Taken;
    common.spent.connect = Spent::since(context.now, context.now);
    common.upstream = Upstream::Joined;
    true
}

fn limits(context: &Context) -> Limits {
    Limits::of_buffer(context.snapshot().plan.global.buffer.get())
}
