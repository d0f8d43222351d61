//! One request and its response: what is known of them, from the first octet to the line in the log.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use warren_balance::http::{Body, Length, Request, Version};

use super::Kept;
use super::moving::Moving;
use crate::live::{Server, Tally};
use crate::plan;
use crate::record::{Cause, HttpFacts, Record, Termination, Times};
use crate::session::connect::Upstream;
use crate::session::endpoint::Endpoint;
use crate::session::tracking::Tracked;
use crate::session::{Common, Reuse, Spent};
use crate::worker::Service;
use crate::worker::context::Context;

/// Octets that a recycled exchange may keep room for.
const KEPT_MAX: usize = 16 * 1024;
/// Exchanges that wait to be used again.
const SPARE_MAX: usize = 256;

/// One request and its response. Recycled, so that a request costs no allocation.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) request: Request,
    /// The octets that `request` was read from, and what edits have appended.
    pub(crate) head: Vec<u8>,
    /// What is left of the request's body, and of the response's once its head has come.
    pub(crate) upload: Body,
    pub(crate) download: Option<Body>,
    /// For the server and for the client, not sent yet.
    pub(crate) up: Out,
    pub(crate) down: Out,
    /// Large bodies.
    pub(super) moved_up: Moving,
    pub(super) moved_down: Moving,
    /// Of the response's head, while it is not whole.
    pub(crate) partial: Vec<u8>,
    pub(crate) frontend: Option<Arc<plan::Frontend>>,
    pub(crate) backend: Option<Arc<plan::Backend>>,
    /// What of the proxy itself answers.
    pub(crate) service: Option<Service>,
    /// When its first octet came, by the worker's clock and for people.
    pub(crate) began: u64,
    pub(crate) date: SystemTime,
    /// Milliseconds before its first octet, to the end of its head, and to that of the response's.
    pub(crate) idle: u64,
    pub(crate) request_time: Option<u64>,
    pub(crate) response_time: Option<u64>,
    /// When the server's connection stood.
    pub(crate) joined: Option<u64>,
    /// Our end of it, if the log may ask for it: it is given away before the line is written.
    pub(crate) source: Option<SocketAddr>,
    pub(crate) status: Option<u16>,
    /// The head was understood.
    pub(crate) understood: bool,
    /// Everything that was sent so far is still in `up`, so it can be sent again.
    pub(crate) replayable: bool,
    /// The client's connection is to end.
    pub(crate) closing: bool,
    /// Only a new connection to a server will do.
    pub(crate) fresh: bool,
    /// A rule has changed the head.
    pub(crate) edited: bool,
    /// The server's connection has served other requests.
    pub(crate) reused: bool,
    /// The server takes no more of the request. It may have answered all the same.
    pub(crate) upload_lost: bool,
    /// What waits for the client waits until everybody has received.
    pub(crate) deferred: bool,
    /// What connections do after the response.
    pub(crate) keep_client: bool,
    pub(crate) keep_server: bool,
    /// After the response's head nothing is HTTP any more.
    pub(crate) tunnel: bool,
    /// Not to be logged (again).
    pub(crate) quiet: bool,
    /// Where it is counted by itself.
    pub(crate) tracked: Vec<Tracked>,
    /// What few configurations ask for.
    pub(crate) extra: Option<Box<Extra>>,
}

/// What the configuration wants to be remembered of a request.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Extra {
    /// `unique-id-format`.
    pub(crate) unique_id: Option<Vec<u8>>,
    /// `capture request header` and the like, then the same of responses.
    pub(crate) captures: [Vec<Option<Vec<u8>>>; 2],
    /// `capture cookie`: what the client sent, and what it was sent.
    pub(crate) cookies: [Option<Vec<u8>>; 2],
    /// What `%tsc` says of them.
    pub(crate) cookie_state: [u8; 2],
    /// `set-var`.
    pub(crate) variables: Vec<(String, Vec<u8>)>,
    /// The client's cookie names a server, and that is the one it got.
    pub(crate) direct: bool,
    /// What that cookie says of when the client was here last and first, in seconds.
    pub(crate) cookie_dates: [Option<u32>; 2],
    /// `ignore-persist`: nothing is made of cookies.
    pub(crate) unattached: bool,
}

impl Default for Extra {
    fn default() -> Self {
        Self {
            unique_id: None,
            captures: [Vec::new(), Vec::new()],
            cookies: [None, None],
            cookie_state: [b'-'; 2],
            variables: Vec::new(),
            direct: false,
            cookie_dates: [None; 2],
            unattached: false,
        }
    }
}

/// Octets on their way out.
#[derive(Debug, Default)]
pub(crate) struct Out {
    pub(crate) octets: Vec<u8>,
    pub(crate) sent: usize,
}

impl Out {
    /// What is left to be sent.
    pub(crate) fn rest(&self) -> &[u8] {
        self.octets.get(self.sent..).unwrap_or_default()
    }

    /// Nothing is.
    pub(crate) fn is_empty(&self) -> bool {
        self.sent >= self.octets.len()
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.octets.clear();
        self.sent = 0;
    }

    /// These, and nothing of what was sent before. To be called when nothing is left.
    pub(crate) fn replace(&mut self, octets: &[u8]) {
        self.clear();
        self.octets.extend_from_slice(octets);
    }
}

impl Default for Exchange {
    fn default() -> Self {
        Self {
            request: Request::default(),
            head: Vec::new(),
            upload: Body::new(Length::None),
            download: None,
            up: Out::default(),
            down: Out::default(),
            moved_up: Moving::default(),
            moved_down: Moving::default(),
            partial: Vec::new(),
            frontend: None,
            backend: None,
            service: None,
            began: 0,
            date: SystemTime::UNIX_EPOCH,
            idle: 0,
            request_time: None,
            response_time: None,
            joined: None,
            source: None,
            status: None,
            understood: false,
            replayable: false,
            closing: false,
            fresh: false,
            edited: false,
            reused: false,
            upload_lost: false,
            deferred: false,
            keep_client: false,
            keep_server: false,
            tunnel: false,
            quiet: false,
            tracked: Vec::new(),
            extra: None,
        }
    }
}

impl Exchange {
    /// What is to be remembered; from now on something is.
    pub(crate) fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    /// What the client speaks; the best there is if that is not known.
    pub(crate) const fn version(&self) -> Version {
        if self.understood {
            self.request.version()
        } else {
            Version::Http11
        }
    }

    /// The request is HEAD.
    pub(crate) fn is_head(&self) -> bool {
        self.understood && self.request.is_head(&self.head)
    }

    /// Octets of the request may still come.
    pub(crate) const fn uploading(&self) -> bool {
        !self.upload.is_finished() && !self.upload_lost
    }

    /// Ready to be used for another request. Nothing stays but room.
    fn recycle(&mut self) {
        let Self {
            request,
            head,
            up,
            down,
            partial,
            ..
        } = std::mem::take(self);
        self.request = request;
        for (vector, kept) in [
            (&mut self.head, head),
            (&mut self.up.octets, up.octets),
            (&mut self.down.octets, down.octets),
            (&mut self.partial, partial),
        ] {
            if kept.capacity() <= KEPT_MAX {
                *vector = kept;
                vector.clear();
            }
        }
    }

    /// Everything that a line of the log or a template can be made of. `server` is who answered, if anybody was chosen.
    pub(crate) fn record<'a>(
        &'a self,
        common: &'a Common,
        server: Option<&'a Server>,
        facts: Option<HttpFacts<'a>>,
        context: &Context,
    ) -> Record<'a> {
        let usual = !self.log_asks();
        let millis = |millis: Option<u64>| millis.map(Duration::from_millis);
        let frontend = common.frontend();
        let now = |gauge: Option<&crate::live::Gauge>| gauge.map_or(0, crate::live::Gauge::now);
        Record {
            client: common.client_address,
            local: if usual { None } else { common.local_address() },
            source: self.source,
            server_address: match common.target.as_deref() {
                Some(crate::live::Target::Tcp(address)) => Some(*address),
                Some(crate::live::Target::Unix(_)) | None => None,
            },
            accepted: self.date,
            frontend: &frontend.name,
            tls: common.tls_facts(),
            backend: self
                .backend
                .as_ref()
                .map_or(&*frontend.name, |backend| &backend.name),
            server: match (self.service, server) {
                (Some(Service::Stats { .. }), _) => "<STATS>",
                (Some(Service::Prometheus), _) => "<PROMEX>",
                (None, Some(server)) => &server.name,
                (None, None) => "<NOSRV>",
            },
            times: Times {
                handshake: Spent::duration(common.spent.handshake),
                idle: Some(Duration::from_millis(self.idle)),
                request: millis(self.request_time),
                queue: Spent::duration(common.spent.queue),
                connect: Spent::duration(common.spent.connect),
                response: millis(self.response_time),
                total: Duration::from_millis(context.now.saturating_sub(self.began)),
            },
            bytes_out: common.bytes[1],
            bytes_in: common.bytes[0],
            termination: common.termination.unwrap_or(Termination::NORMAL),
            connections: [
                context.live.connections.now(),
                frontend.sessions.now(),
                now(common.backend.as_ref().map(|backend| &backend.sessions)),
                now(server.map(|server| &server.sessions)),
            ],
            retries: common.retries,
            redispatched: common.redispatched,
            queues: common.queues,
            http: facts,
            amqp: None,
            session: common.id,
            refused: None,
        }
    }

    /// Variables that belong to the connection.
    pub(super) fn take_kept(&mut self) -> Option<Box<Kept>> {
        let mut kept = std::mem::take(&mut self.extra.as_mut()?.variables);
        kept.retain(|(name, _)| name.starts_with("sess."));
        (!kept.is_empty()).then(|| Box::new(kept))
    }

    /// The server's connection stands.
    pub(super) fn join(&mut self, common: &mut Common, context: &Context) {
        self.joined = Some(context.now);
        self.reused = std::mem::take(&mut common.reuse) == Reuse::Taken;
        if self.log_asks() {
            self.source = common.server.as_ref().and_then(Endpoint::local);
        }
    }

    /// Whether the line may be made of more than HAProxy's usual formats are: addresses of ours, headers.
    fn log_asks(&self) -> bool {
        self.frontend.as_ref().is_none_or(|plan| {
            matches!(
                plan.log.format,
                plan::LogFormat::Custom(_) | plan::LogFormat::Json
            )
        })
    }

    /// The request line as it came, whatever rules have made of it since.
    pub(crate) fn facts<'a>(&'a self, headers: &'a [(String, String)]) -> HttpFacts<'a> {
        let mut facts = HttpFacts {
            status: self.status,
            headers,
            ..HttpFacts::default()
        };
        if let Some(extra) = self.extra.as_deref() {
            facts.unique_id = extra.unique_id.as_deref();
            facts.captures = [&extra.captures[0], &extra.captures[1]];
            facts.cookies = [extra.cookies[0].as_deref(), extra.cookies[1].as_deref()];
            facts.cookie_state = extra.cookie_state;
            facts.variables = &extra.variables;
        }
        if self.understood {
            let line = self.request.original(&self.head);
            let mut words = line.splitn(3, |octet| *octet == b' ');
            let mut word = || str::from_utf8(words.next().unwrap_or_default()).unwrap_or_default();
            facts.method = word();
            facts.uri = word();
            facts.version = self.request.version().text();
        }
        facts
    }

    /// Hands the log what it has to say of this request, once.
    pub(crate) fn log(&mut self, common: &Common, server: Option<&Server>, context: &mut Context) {
        let Some(plan) = self.frontend.clone() else { return };
        if plan.log.targets.is_empty() || std::mem::replace(&mut self.quiet, true) {
            return;
        }
        // A connection is announced by its first request that was one.
        if plan.log.format == plan::LogFormat::Plain && !self.understood {
            return;
        }
        let headers: Vec<(String, String)> = if self.log_asks() && self.understood {
            let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
            let fields = self.request.fields(&self.head);
            fields
                .iter()
                .map(|(name, value)| (name.to_owned(), text(value)))
                .collect()
        } else {
            Vec::new()
        };
        let record = self.record(common, server, Some(self.facts(&headers)), context);
        context.log.record(&plan, &record);
    }

    /// A request is over: counted, logged, and everything it had taken is given back.
    pub(crate) fn close(mut self: Box<Self>, common: &mut Common, context: &mut Context) {
        let server = common.assigned.clone();
        self.count(common, server.as_deref(), context);
        if let Some(server) = server.as_deref() {
            self.observe(common, server);
        }
        common.leave_server(context);
        if let Some(backend) = &common.backend {
            backend.sessions.leave();
        }
        self.log(common, server.as_deref(), context);
        for tracked in self.tracked.drain(..) {
            tracked.end(context.time(), common.bytes);
        }
        common.backend = None;
        common.target = None;
        common.upstream = Upstream::None;
        common.spent = Spent::default();
        common.bytes = [0; 2];
        common.queues = [0; 2];
        common.retries = 0;
        common.avoid = None;
        common.wanted = None;
        common.redispatched = false;
        common.termination = None;
        self.moved_up.end(&mut context.pipes);
        self.moved_down.end(&mut context.pipes);
        self.recycle();
        if context.http.spare.len() < SPARE_MAX {
            context.http.spare.push(self);
        }
    }

    /// What this says of the server's health (`observe layer7`), if it says anything.
    fn observe(&self, common: &Common, server: &Server) {
        let cause = common.termination.map(|termination| termination.cause);
        let failed = match (self.response_time, self.status) {
            // Not to know a method or a version is no fault.
            (Some(_), Some(501 | 505)) => false,
            (Some(_), Some(status)) => status >= 500,
            _ => matches!(
                cause,
                Some(Cause::ServerAborted | Cause::ServerTimeout | Cause::Proxy)
            ),
        };
        if failed || self.response_time.is_some() {
            server.observed(plan::Observe::Layer7, !failed);
        }
    }

    fn count(&self, common: &Common, server: Option<&Server>, context: &Context) {
        let worker = context.worker;
        let cause = common.termination.map(|termination| termination.cause);
        let count = |tally: &Tally| {
            let cells = tally.of(worker);
            match self.status {
                Some(100..=199) => cells.responses_1xx.count(),
                Some(200..=299) => cells.responses_2xx.count(),
                Some(300..=399) => cells.responses_3xx.count(),
                Some(400..=499) => cells.responses_4xx.count(),
                Some(500..=599) => cells.responses_5xx.count(),
                Some(_) => cells.responses_other.count(),
                None => {}
            }
            match cause {
                Some(Cause::ClientAborted) if self.understood => cells.client_aborts.count(),
                Some(Cause::ServerAborted) if self.joined.is_some() => cells.server_aborts.count(),
                _ => {}
            }
        };
        count(&common.frontend().tally);
        let time = |timings: &crate::live::Timings| {
            timings
                .queue
                .record(Spent::duration(common.spent.queue).unwrap_or_default());
            timings
                .connect
                .record(Spent::duration(common.spent.connect).unwrap_or_default());
            timings
                .response
                .record(Duration::from_millis(self.response_time.unwrap_or(0)));
            timings
                .total
                .record(Duration::from_millis(context.now.saturating_sub(self.began)));
        };
        if let Some(backend) = &common.backend {
            count(&backend.tally);
            if self.response_time.is_some() {
                time(&backend.timings);
            }
        }
        if let Some(server) = server {
            count(&server.tally);
            if self.response_time.is_some() {
                time(&server.timings);
            }
        }
    }
}
