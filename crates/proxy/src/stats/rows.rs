//! One picture of everything that is counted, a row for each frontend, socket, server and backend, as HAProxy's
//! statistics have it. Whatever shows numbers is written from such a picture, so that they fit together.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

use warren_balance::Instant;
use warren_balance::health::State;

use super::field::{Field, Tags};
use super::servers;
use crate::live::{self, Live, Server, Snapshot, Target, Timings, Totals};
use crate::plan::{self, HostAddress, Mode, ProxyId};

/// Everything at one moment.
#[derive(Clone, Debug)]
pub struct Statistics {
    /// When.
    pub now: Instant,
    /// In the order of the numbers of proxies: frontend, its sockets, servers, backend.
    pub rows: Vec<Row>,
}

/// One line.
#[derive(Clone, Debug)]
pub struct Row {
    /// What it is about.
    pub kind: Kind,
    /// Number of the proxy (`iid`).
    pub proxy: ProxyId,
    /// Number of the server or socket (`sid`), 0 otherwise.
    pub id: u32,
    /// How it looks.
    pub look: Look,
    /// When the first of the certificates ends that clients are shown here.
    pub certificates_end: Option<SystemTime>,
    values: Vec<Value>,
}

/// What a row is about; the numbers are those of the column `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]

pub enum Kind {
    Frontend = 0,
    Backend = 1,
    Server = 2,
    Socket = 3,
}

/// The colour of a row: HAProxy's names for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]

pub enum Look {
    Frontend,
    Socket,
    Backend,
    ActiveUp,
    ActiveGoingDown,
    ActiveGoingUp,
    ActiveDown,
    ActiveDraining,
    ActiveNoCheck,
    BackupUp,
    BackupGoingDown,
    BackupGoingUp,
    BackupDown,
    BackupDraining,
    BackupNoCheck,
    Maintain,
}

/// What stands in a column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Value {
    /// Nothing: the column has no meaning here.
    #[default]
    Empty,
    /// `u32`
    U32(u32),
    /// `u64`
    U64(u64),
    /// `s32`
    S32(i32),
    /// `str`
    Text(Cow<'static, str>),
}

impl Statistics {
    /// The picture at `now`.
    #[must_use]
    pub fn take(live: &Live, now: std::time::Instant) -> Self {
        Self::of(&live.snapshot(), live.time(now))
    }

    fn of(snapshot: &Snapshot, now: Instant) -> Self {
        let mut rows = Vec::new();
        for frontend in &snapshot.frontends {
            rows.push(of_frontend(frontend, now));
            rows.extend(of_sockets(frontend));
        }
        for backend in &snapshot.backends {
            let plan = backend.plan();
            for server in backend.servers().iter() {
                rows.push(of_server(&plan, server, now));
            }
            rows.push(of_backend(backend, now));
        }
        // Stable, so that what belongs to a proxy stays in order; a frontend and a backend of one `listen` meet.
        rows.sort_by_key(|row| (row.proxy, matches!(row.kind, Kind::Server | Kind::Backend)));
        Self { now, rows }
    }

    /// A row by its proxy's and its own name.
    #[must_use]
    pub fn row(&self, proxy: &str, name: &str) -> Option<&Row> {
        self.rows
            .iter()
            .find(|row| row.text(Field::Pxname) == proxy && row.text(Field::Svname) == name)
    }
}

impl Row {
    fn new(kind: Kind, proxy: ProxyId, id: u32, look: Look, names: [&str; 2], mode: Mode) -> Self {
        let mut row = Self {
            kind,
            proxy,
            id,
            look,
            certificates_end: None,
            values: vec![Value::Empty; Field::ALL.len()],
        };
        row.say(Field::Pxname, names[0].to_owned());
        row.say(Field::Svname, names[1].to_owned());
        row.set(Field::Pid, 1);
        row.set(Field::Iid, proxy.0);
        row.set(Field::Sid, id);
        row.set(Field::Type, kind as u32);
        row.say(
            Field::Mode,
            match mode {
                Mode::Tcp => "tcp",
                Mode::Http => "http",
                Mode::Amqp => "amqp",
            },
        );
        row
    }

    /// What stands in a column.
    #[must_use]
    pub fn value(&self, field: Field) -> &Value {
        &self.values[field.position()]
    }

    /// The columns with their values, in order.
    pub fn values(&self) -> impl Iterator<Item = (Field, &Value)> {
        Field::ALL.iter().copied().zip(&self.values)
    }

    /// A column's number, 0 if it is empty.
    #[must_use]
    pub fn number(&self, field: Field) -> u64 {
        match self.value(field) {
            Value::U32(number) => u64::from(*number),
            Value::U64(number) => *number,
            Value::S32(number) => u64::try_from(*number).unwrap_or(0),
            Value::Empty | Value::Text(_) => 0,
        }
    }

    /// A column's text, empty if it has none.
    #[must_use]
    pub fn text(&self, field: Field) -> &str {
        match self.value(field) {
            Value::Text(text) => text,
            Value::Empty | Value::U32(_) | Value::U64(_) | Value::S32(_) => "",
        }
    }

    /// Whether the socket's or page's `up` leaves it out: a server that is down, and not about to come up.
    #[must_use]
    pub const fn is_down(&self) -> bool {
        matches!(self.look, Look::ActiveDown | Look::BackupDown | Look::Maintain)
    }

    /// What kind of value a column has in this row.
    #[must_use]
    pub fn tags(&self, field: Field) -> Tags {
        match (self.kind, field) {
            // As HAProxy has it.
            (Kind::Backend, Field::Act | Field::Bck | Field::Rate | Field::RateMax) => Tags::new("MGP"),
            _ => field.tags(),
        }
    }

    fn put(&mut self, field: Field, value: Value) {
        self.values[field.position()] = value;
    }

    fn set(&mut self, field: Field, number: u32) {
        self.put(field, Value::U32(number));
    }

    fn count(&mut self, field: Field, number: u64) {
        self.put(field, Value::U64(number));
    }

    fn say(&mut self, field: Field, text: impl Into<Cow<'static, str>>) {
        self.put(field, Value::Text(text.into()));
    }

    fn count_all(&mut self, counts: &[(Field, u64)]) {
        for (field, number) in counts {
            self.count(*field, *number);
        }
    }

    fn responses(&mut self, totals: &Totals) {
        self.count_all(&[
            (Field::Hrsp1xx, totals.responses_1xx),
            (Field::Hrsp2xx, totals.responses_2xx),
            (Field::Hrsp3xx, totals.responses_3xx),
            (Field::Hrsp4xx, totals.responses_4xx),
            (Field::Hrsp5xx, totals.responses_5xx),
            (Field::HrspOther, totals.responses_other),
        ]);
    }

    fn timings(&mut self, timings: &Timings) {
        let four = [
            (&timings.queue, Field::Qtime, Field::QtimeMax),
            (&timings.connect, Field::Ctime, Field::CtimeMax),
            (&timings.response, Field::Rtime, Field::RtimeMax),
            (&timings.total, Field::Ttime, Field::TtimeMax),
        ];
        for (timing, average, longest) in four {
            self.set(average, saturate(timing.average()));
            self.set(longest, saturate(timing.longest()));
        }
    }

    fn last_session(&mut self, last: &AtomicU64, now: Instant) {
        let ago = match last.load(Relaxed) {
            0 => -1,
            then => i32::try_from(seconds_since(now, Instant::from_millis(then))).unwrap_or(i32::MAX),
        };
        self.put(Field::Lastsess, Value::S32(ago));
    }

    /// What a server and a backend have in common.
    fn served(&mut self, totals: &Totals, http: bool) {
        self.count_all(&[
            (Field::Stot, totals.sessions),
            (Field::Bin, totals.bytes_in),
            (Field::Bout, totals.bytes_out),
            (Field::Dresp, totals.denied_responses),
            (Field::Econ, totals.connect_errors),
            (Field::Eresp, totals.response_errors),
            (Field::Wretr, totals.retries),
            (Field::Wredis, totals.redispatches),
            (Field::Lbtot, totals.chosen),
            (Field::CliAbrt, totals.client_aborts),
            (Field::SrvAbrt, totals.server_aborts),
            (Field::Wrew, totals.rewrites_failed),
            (Field::Connect, totals.connects),
            (Field::Reuse, totals.reuses),
            (Field::Eint, 0),
        ]);
        if http {
            self.responses(totals);
            self.count(Field::ReqTot, totals.requests);
        }
    }
}

fn of_frontend(frontend: &live::Frontend, now: Instant) -> Row {
    let plan = frontend.plan();
    let totals = frontend.tally.totals();
    let http = plan.mode == Mode::Http;
    let names = [&*frontend.name, "FRONTEND"];
    let mut row = Row::new(Kind::Frontend, plan.id, 0, Look::Frontend, names, plan.mode);
    row.certificates_end = first_end(frontend, None);
    row.set(Field::Scur, frontend.sessions.now());
    row.set(Field::Smax, frontend.sessions.most());
    row.set(Field::Slim, or_else(&frontend.maxconn, plan.maxconn.get()));
    row.say(Field::Status, frontend_status(frontend, &plan));
    row.set(Field::Rate, frontend.session_rate.now(now));
    row.set(Field::RateMax, frontend.session_rate.most());
    let rate_limit = plan.rate_limit.map_or(0, std::num::NonZeroU32::get);
    row.set(Field::RateLim, or_else(&frontend.rate_limit, rate_limit));
    row.set(Field::ConnRate, frontend.connection_rate.now(now));
    row.set(Field::ConnRateMax, frontend.connection_rate.most());
    row.set(Field::ReqRate, frontend.request_rate.now(now));
    row.set(Field::ReqRateMax, frontend.request_rate.most());
    row.count_all(&[
        (Field::Stot, totals.sessions),
        (Field::Bin, totals.bytes_in),
        (Field::Bout, totals.bytes_out),
        (Field::Dreq, totals.denied_requests),
        (Field::Dresp, totals.denied_responses),
        (Field::Ereq, totals.request_errors),
        (Field::ReqTot, totals.requests),
        (Field::CompIn, 0),
        (Field::CompOut, 0),
        (Field::CompByp, 0),
        (Field::CompRsp, 0),
        (Field::ConnTot, totals.connections),
        (Field::Dcon, totals.denied_connections),
        (Field::Dses, totals.denied_sessions),
        (Field::Wrew, totals.rewrites_failed),
        (Field::Eint, 0),
        (Field::SessOther, if http { 0 } else { totals.sessions }),
        (Field::H1sess, if http { totals.sessions } else { 0 }),
        (Field::H2sess, 0),
        (Field::H3sess, 0),
        (Field::ReqOther, 0),
        (Field::H1req, totals.requests),
        (Field::H2req, 0),
        (Field::H3req, 0),
    ]);
    if http {
        row.responses(&totals);
        row.count_all(&[
            (Field::Intercepted, totals.intercepted),
            (Field::CacheLookups, 0),
            (Field::CacheHits, 0),
        ]);
    }
    row
}

fn first_end(frontend: &live::Frontend, listener: Option<usize>) -> Option<SystemTime> {
    let certificates = frontend.certificates(listener);
    certificates.iter().map(|certificate| certificate.not_after).min()
}

/// A row for each listener, in the order of the file.
fn of_sockets(frontend: &live::Frontend) -> Vec<Row> {
    let plan = frontend.plan();
    if !plan.socket_stats {
        return Vec::new();
    }
    let sockets = frontend.sockets();
    let binds = plan.binds.iter().enumerate();
    let row = |(place, bind): (usize, &plan::Bind)| {
        let number = saturate(place as u64 + 1);
        let name = bind.name.clone().unwrap_or_else(|| format!("sock-{number}"));
        let names = [&*frontend.name, &name];
        let mut row = Row::new(Kind::Socket, plan.id, number, Look::Socket, names, plan.mode);
        row.certificates_end = first_end(frontend, Some(place));
        let socket = sockets.iter().find(|socket| socket.address == bind.address);
        let totals = socket.map(|socket| socket.tally.totals()).unwrap_or_default();
        let [now, most] = socket.map_or([0, 0], |socket| [socket.load.now(), socket.load.most()]);
        let limit = bind.maxconn.map_or(0, std::num::NonZeroU32::get);
        row.set(Field::Scur, now);
        row.set(Field::Smax, most);
        row.set(Field::Slim, limit);
        let full = limit > 0 && now >= limit;
        let waits = frontend_status(frontend, &plan) != "OPEN";
        row.say(
            Field::Status,
            if full {
                "FULL"
            } else if waits {
                "WAITING"
            } else {
                "OPEN"
            },
        );
        row.say(
            Field::Addr,
            match &bind.address {
                plan::BindAddress::Tcp(address) => address.to_string(),
                plan::BindAddress::Unix(_) => "unix".to_owned(),
            },
        );
        row.count_all(&[
            (Field::Stot, totals.sessions),
            (Field::Bin, totals.bytes_in),
            (Field::Bout, totals.bytes_out),
            (Field::Dreq, totals.denied_requests),
            (Field::Dresp, totals.denied_responses),
            (Field::Ereq, totals.request_errors),
            (Field::Dcon, totals.denied_connections),
            (Field::Dses, totals.denied_sessions),
            (Field::Wrew, totals.rewrites_failed),
            (Field::Eint, 0),
        ]);
        row
    };
    binds.map(row).collect()
}

fn frontend_status(frontend: &live::Frontend, plan: &plan::Frontend) -> &'static str {
    if frontend.stopped.load(Relaxed) || plan.disabled {
        "STOP"
    } else if frontend.paused.load(Relaxed) {
        "PAUSED"
    } else if frontend.sessions.now() >= or_else(&frontend.maxconn, plan.maxconn.get()) {
        "FULL"
    } else {
        "OPEN"
    }
}

fn of_server(backend: &plan::Backend, server: &Server, now: Instant) -> Row {
    let plan = server.plan();
    let totals = server.tally.totals();
    let http = backend.mode == Mode::Http;
    let names = [&*backend.name, &*server.name];
    let mut row = Row::new(
        Kind::Server,
        backend.id,
        server.id().0,
        Look::ActiveUp,
        names,
        backend.mode,
    );
    row.set(Field::Qcur, server.queued.now());
    row.set(Field::Qmax, server.queued.most());
    row.set(Field::Scur, server.sessions.now());
    row.set(Field::Smax, server.sessions.most());
    if let Some(limit) = server.operational.lock().health.maxconn() {
        row.set(Field::Slim, limit.get());
    }
    if let Some(limit) = plan.maxqueue {
        row.set(Field::Qlimit, limit.get());
    }
    row.served(&totals, http);
    row.set(Field::Rate, server.session_rate.now(now));
    row.set(Field::RateMax, server.session_rate.most());
    row.set(Field::Act, u32::from(!plan.backup));
    row.set(Field::Bck, u32::from(plan.backup));
    row.timings(&server.timings);
    row.last_session(&server.last_session, now);
    if let Some((backend, name)) = &plan.track {
        row.say(Field::Tracked, format!("{backend}/{name}"));
    }
    row.say(Field::Addr, address(server, &plan));
    row.set(Field::SrvIcur, 0);
    row.set(Field::IdleConnCur, 0);
    row.set(Field::SafeConnCur, 0);
    row.set(Field::UsedConnCur, server.sessions.now());
    row.set(Field::NeedConnEst, server.sessions.most());
    row.set(Field::Srid, 0);
    of_health(&mut row, server, &plan, now);
    row
}

/// The part of a server's row that is about its health.
fn of_health(row: &mut Row, server: &Server, plan: &plan::Server, now: Instant) {
    let standing = servers::standing(server, plan);
    row.look = look(&standing, plan);
    row.say(Field::Status, standing.text.clone());
    let operational = server.operational.lock();
    let view = operational.health.server(now);
    row.set(
        Field::Weight,
        view.share.get().div_ceil(warren_balance::Share::SCALE),
    );
    let base = operational.health.base().get();
    row.set(Field::Uweight, base.div_ceil(warren_balance::Share::SCALE));
    row.set(Field::Lastchg, seconds_since(now, operational.changed));
    if let Some(percent) = operational.health.throttle(now) {
        row.set(Field::Throttle, u32::from(percent));
    }
    if let Some(score) = operational.health.check() {
        row.count(Field::Chkfail, operational.checks_failed);
        row.count(Field::Chkdown, operational.times_down);
        let down = matches!(standing.state, State::Down | State::Maint);
        let current = if down {
            now.millis_since(operational.changed)
        } else {
            0
        };
        let before = u64::try_from(operational.downtime.as_millis()).unwrap_or(u64::MAX);
        row.set(Field::Downtime, saturate(before.saturating_add(current) / 1000));
        if standing.state != State::Maint {
            row.set(Field::CheckRise, u32::from(score.rise));
            row.set(Field::CheckFall, u32::from(score.fall));
            row.set(Field::CheckHealth, u32::from(score.health));
            if let Some(result) = &operational.last_check {
                row.say(Field::CheckStatus, under_way(operational.checking, result.status));
                if let Some(code) = result.code {
                    row.set(Field::CheckCode, u32::from(code));
                }
                row.count(Field::CheckDuration, millis(result.duration));
                row.say(Field::LastChk, result.detail.clone());
                row.say(Field::CheckDesc, servers::result_in_words(result.status));
            } else {
                row.say(Field::CheckStatus, under_way(operational.checking, "INI"));
                row.say(Field::LastChk, "");
                row.say(Field::CheckDesc, servers::result_in_words("INI"));
            }
        }
    }
    if let Some(score) = operational.health.agent() {
        row.set(Field::AgentRise, u32::from(score.rise));
        row.set(Field::AgentFall, u32::from(score.fall));
        row.set(Field::AgentHealth, u32::from(score.health));
        if let Some(result) = &operational.last_agent {
            row.say(Field::AgentStatus, under_way(operational.asking, result.status));
            if let Some(code) = result.code {
                row.set(Field::AgentCode, u32::from(code));
            }
            row.count(Field::AgentDuration, millis(result.duration));
            row.say(Field::LastAgt, result.detail.clone());
            row.say(Field::AgentDesc, servers::result_in_words(result.status));
        } else {
            row.say(Field::AgentStatus, under_way(operational.asking, "INI"));
            row.say(Field::AgentDesc, servers::result_in_words("INI"));
        }
    }
}

/// The last result's word, marked while the next one is waited for.
fn under_way(is_under_way: bool, word: &'static str) -> Cow<'static, str> {
    if is_under_way {
        format!("* {word}").into()
    } else {
        word.into()
    }
}

fn look(standing: &servers::Standing, plan: &plan::Server) -> Look {
    let choose = |active, backup| if plan.backup { backup } else { active };
    match standing.state {
        State::Maint => Look::Maintain,
        State::Drain | State::Stopping => choose(Look::ActiveDraining, Look::BackupDraining),
        State::Up if standing.unchecked => choose(Look::ActiveNoCheck, Look::BackupNoCheck),
        State::Up if standing.changing => choose(Look::ActiveGoingDown, Look::BackupGoingDown),
        State::Up => choose(Look::ActiveUp, Look::BackupUp),
        State::Down if standing.changing => choose(Look::ActiveGoingUp, Look::BackupGoingUp),
        State::Down => choose(Look::ActiveDown, Look::BackupDown),
    }
}

fn of_backend(backend: &live::Backend, now: Instant) -> Row {
    let plan = backend.plan();
    let totals = backend.tally.totals();
    let http = plan.mode == Mode::Http;
    let names = [&*backend.name, "BACKEND"];
    let mut row = Row::new(Kind::Backend, plan.id, 0, Look::Backend, names, plan.mode);
    let in_use = servers::InUse::of(backend, now);
    let servers = backend.servers();
    row.set(Field::Qcur, backend.queued.now());
    row.set(Field::Qmax, backend.queued.most());
    row.set(Field::Scur, backend.sessions.now());
    row.set(Field::Smax, backend.sessions.most());
    row.set(Field::Slim, plan.fullconn.get());
    row.served(&totals, http);
    row.say(
        Field::Status,
        if in_use.any || servers.is_empty() {
            "UP"
        } else {
            "DOWN"
        },
    );
    row.set(Field::Weight, in_use.weight);
    row.set(Field::Uweight, in_use.user_weight);
    row.set(Field::Act, in_use.active);
    row.set(Field::Bck, in_use.backup);
    let outage = *backend.outage.lock();
    row.count(Field::Chkdown, outage.times);
    row.set(Field::Lastchg, seconds_since(now, outage.changed));
    if !servers.is_empty() {
        let current = if outage.down {
            now.millis_since(outage.changed)
        } else {
            0
        };
        row.set(
            Field::Downtime,
            saturate((millis(outage.downtime).saturating_add(current)) / 1000),
        );
    }
    row.set(Field::Rate, backend.session_rate.now(now));
    row.set(Field::RateMax, backend.session_rate.most());
    row.last_session(&backend.last_session, now);
    row.timings(&backend.timings);
    row.say(Field::Algo, plan.balance.name);
    row.count_all(&[
        (Field::Dreq, totals.denied_requests),
        (Field::CompIn, 0),
        (Field::CompOut, 0),
        (Field::CompByp, 0),
        (Field::CompRsp, 0),
    ]);
    if http {
        row.count_all(&[(Field::CacheLookups, 0), (Field::CacheHits, 0)]);
    }
    for field in [
        Field::AggServerStatus,
        Field::AggServerCheckStatus,
        Field::AggCheckStatus,
    ] {
        row.set(field, 0);
    }
    row
}

/// Where a server is: its address, or what will be resolved.
fn address(server: &Server, plan: &plan::Server) -> String {
    let target: Option<Arc<Target>> = server.target.load_full();
    match (target.as_deref(), &plan.address) {
        (Some(Target::Tcp(address)), _) => match address.ip() {
            IpAddr::V4(_) => address.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]:{}", address.port()),
        },
        (Some(Target::Unix(path)), _) => format!("unix:{}", path.display()),
        (None, HostAddress::Name(name, port)) => format!("{name}:{port}"),
        (None, HostAddress::Ip(address)) => address.to_string(),
        (None, HostAddress::Unix(path)) => format!("unix:{}", path.display()),
    }
}

fn or_else(set: &std::sync::atomic::AtomicU32, configured: u32) -> u32 {
    match set.load(Relaxed) {
        0 => configured,
        number => number,
    }
}

fn saturate(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn seconds_since(now: Instant, then: Instant) -> u32 {
    saturate(now.millis_since(then) / 1000)
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
