//! `show ...`: everything that only looks.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use warren_kit::clock;

use super::commands::{Answer, Request};
use super::socket::place;
use crate::live::Backend;
use crate::plan::{ProxyId, SocketLevel};
use crate::stats::{self, Info, Selection, Statistics};
use crate::tls::CertificateInfo;
use crate::worker::SessionInfo;

pub(super) fn statistics(request: &Request<'_>) -> Answer {
    let mut selection = Selection {
        discreet: request.level < SocketLevel::Operator,
        ..Selection::default()
    };
    let mut words = request.arguments;
    if let [proxy, kinds, id, rest @ ..] = words
        && !proxy.is_empty()
    {
        let Some(proxy) = proxy_number(request, proxy) else {
            return Answer::line("No such proxy.");
        };
        selection.proxy = proxy;
        // -1 is all of them.
        selection.kinds = kinds
            .parse::<i32>()
            .ok()
            .and_then(|kinds| u8::try_from(kinds).ok());
        selection.id = id.parse::<i64>().ok().and_then(|id| u32::try_from(id).ok());
        words = rest;
    }
    let said = |word: &str| words.iter().any(|given| given == word);
    selection.up = said("up");
    selection.no_maint = said("no-maint");
    let statistics = Statistics::take(&request.context.live, Instant::now());
    Answer::Text(if said("json") {
        stats::json(&statistics, &selection) + "\n"
    } else if said("typed") {
        stats::typed(&statistics, &selection, said("desc"))
    } else {
        stats::csv(&statistics, &selection)
    })
}

/// By name or number; -1 is all. `None` if there is no such proxy.
pub(super) fn proxy_number(request: &Request<'_>, name: &str) -> Option<Option<ProxyId>> {
    let snapshot = request.context.live.snapshot();
    let frontend = snapshot.frontend_named(name).map(|frontend| frontend.plan().id);
    let backend = snapshot.backend_named(name).map(|backend| backend.plan().id);
    if let Some(id) = frontend.or(backend) {
        return Some(Some(id));
    }
    match name.parse::<i64>().ok()? {
        0 => None,
        number => Some(u32::try_from(number).ok().map(ProxyId)),
    }
}

pub(super) fn info(request: &Request<'_>) -> Answer {
    let context = request.context;
    let info = Info::take(&context.live, &context.process, Instant::now());
    let said = |word: &str| request.arguments.iter().any(|given| given == word);
    Answer::Text(if said("json") {
        info.json() + "\n"
    } else if said("typed") {
        info.typed(said("desc"))
    } else {
        info.text(said("desc"))
    })
}

pub(super) fn schema(_: &Request<'_>) -> Answer {
    Answer::line(stats::schema())
}

pub(super) fn version(request: &Request<'_>) -> Answer {
    Answer::line(&request.context.process.version)
}

pub(super) fn level(request: &Request<'_>) -> Answer {
    Answer::line(level_word(request.level))
}

const fn level_word(level: SocketLevel) -> &'static str {
    match level {
        SocketLevel::User => "user",
        SocketLevel::Operator => "operator",
        SocketLevel::Admin => "admin",
    }
}

pub(super) fn sockets(request: &Request<'_>) -> Answer {
    let mut text = "# socket lvl processes\n".to_owned();
    for socket in &request.context.live.snapshot().plan.global.sockets {
        let _ = writeln!(
            text,
            "{} {} all",
            place(&socket.address),
            level_word(socket.level)
        );
    }
    Answer::Text(text)
}

pub(super) fn backends(request: &Request<'_>) -> Answer {
    let mut text = "# name\n".to_owned();
    for backend in &request.context.live.snapshot().backends {
        let _ = writeln!(text, "{}", backend.name);
    }
    Answer::Text(text)
}

/// All backends, or the one that is named.
fn backends_named(request: &Request<'_>) -> Option<Vec<Arc<Backend>>> {
    let snapshot = request.context.live.snapshot();
    match request.argument(0) {
        "" => Some(snapshot.backends.clone()),
        name => snapshot
            .backend_named(name)
            .map(|backend| vec![Arc::clone(backend)]),
    }
}

pub(super) fn server_states(request: &Request<'_>) -> Answer {
    let now = request.context.live.time(Instant::now());
    match backends_named(request) {
        Some(backends) => Answer::Text(stats::state_table(&backends, now)),
        None => Answer::line("Can't find backend."),
    }
}

pub(super) fn server_connections(request: &Request<'_>) -> Answer {
    match backends_named(request) {
        Some(backends) => Answer::Text(stats::connection_table(&backends, request.context.live.workers)),
        None => Answer::line("Can't find backend."),
    }
}

pub(super) fn environment(request: &Request<'_>) -> Answer {
    let shown = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        format!("{}={}\n", name.to_string_lossy(), value.to_string_lossy())
    };
    match request.argument(0) {
        "" => Answer::Text(std::env::vars_os().map(shown).collect()),
        name => match std::env::var_os(name) {
            Some(value) => Answer::Text(shown((name.into(), value))),
            None => Answer::line("Variable not found"),
        },
    }
}

pub(super) fn pools(_: &Request<'_>) -> Answer {
    Answer::Text(
        "Dumping pools usage.\nTotal: 0 pools, 0 bytes allocated, 0 used (~0 by thread caches).\n".to_owned(),
    )
}

pub(super) fn activity(request: &Request<'_>) -> Answer {
    let context = request.context;
    let threads = context.live.workers;
    let now = clock::wall_clock();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let totals = context.live.tally.totals();
    Answer::Text(format!(
        "thread_id: 1 (1..{threads})\ndate_now: {}.{:06}\naccepted: {}\nstream_calls: {}\nreq: {}\n",
        since.as_secs(),
        since.subsec_micros(),
        totals.connections,
        totals.sessions,
        totals.requests,
    ))
}

pub(super) fn certificates(request: &Request<'_>) -> Answer {
    let snapshot = request.context.live.snapshot();
    let shown = snapshot
        .frontends
        .iter()
        .flat_map(|frontend| frontend.certificates(None));
    let files: BTreeMap<String, CertificateInfo> = shown
        .map(|certificate| (certificate.path.display().to_string(), certificate))
        .collect();
    let wanted = request.argument(0);
    if wanted.is_empty() {
        let names: Vec<&str> = files.keys().map(String::as_str).collect();
        return match names.as_slice() {
            [] => Answer::nothing(),
            names => Answer::line(format_args!("# filename\n{}", names.join("\n"))),
        };
    }
    match files.get(wanted).and_then(CertificateInfo::description) {
        Some(description) => Answer::Text(format!("Filename: {wanted}\nStatus: Used\n{description}")),
        None => Answer::line("Can't display the certificate: Not found or the certificate is a bundle!"),
    }
}

/// A number as HAProxy's pointers: `0x1f`.
pub(super) fn sessions(request: &Request<'_>) -> Answer {
    Answer::Sessions(session_number(request.argument(0)))
}

/// The number of a session as it is shown, `0x` and hexadecimal.
pub(super) fn session_number(word: &str) -> Option<u64> {
    u64::from_str_radix(word.strip_prefix("0x")?, 16).ok()
}

/// A line for each session, the oldest first.
pub(super) fn session_lines(mut sessions: Vec<SessionInfo>) -> String {
    sessions.sort_by_key(|session| session.id);
    let mut text = String::new();
    for session in &sessions {
        let _ = writeln!(
            text,
            "{:#014x}: proto={} src={} fe={} be={} srv={} ts=00 epoch=0 age={} calls=1 rate=0 cpu=0 lat=0 \
             rq[f=0h,i=0,an=00h,rx={},wx=,ax=] rp[f=0h,i=0,an=00h,rx={},wx=,ax=] \
             scf=[8,0h,fd=-1] scb=[8,0h,fd=-1] exp= rc=0 c_exp=",
            session.id,
            protocol(&session.client),
            session.client,
            session.frontend,
            session.backend.as_deref().unwrap_or("<NONE>"),
            session.server.as_ref().map_or("<none>", |(name, _)| name),
            words_for(session.age),
            words_for(session.idle[0]),
            words_for(session.idle[1]),
        );
    }
    text
}

/// Everything about one session.
pub(super) fn session_details(session: &SessionInfo) -> String {
    let accepted = jiff::Timestamp::try_from(session.accepted).unwrap_or_default();
    let accepted = accepted.to_zoned(jiff::tz::TimeZone::system());
    let mut text = format!(
        "{:#014x}: [{}] id={} proto={} source={}\n",
        session.id,
        accepted.strftime("%d/%b/%Y:%H:%M:%S%.6f"),
        session.id,
        protocol(&session.client),
        session.client,
    );
    let server = session.server.as_ref();
    let _ = writeln!(
        text,
        "  state={} age={} tls={}",
        session.state,
        words_for(session.age),
        session.tls
    );
    let _ = writeln!(text, "  frontend={} addr={}", session.frontend, session.local);
    let _ = writeln!(
        text,
        "  backend={}",
        session.backend.as_deref().unwrap_or("<NONE>")
    );
    let _ = writeln!(
        text,
        "  server={} addr={}",
        server.map_or("<none>", |(name, _)| name),
        server.map_or("-", |(_, address)| address),
    );
    let _ = writeln!(
        text,
        "  thread={} bytes_in={} bytes_out={}",
        session.worker + 1,
        session.bytes_in,
        session.bytes_out
    );
    let _ = writeln!(
        text,
        "  idle_client={} idle_server={} unsent={}",
        words_for(session.idle[0]),
        words_for(session.idle[1]),
        session.unsent
    );
    if let Some(amqp) = &session.amqp {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let _ = writeln!(
            text,
            "  amqp user={} vhost={} product={} version={} name={} heartbeat={} channels={} blocked={}",
            or_dash(&amqp.user),
            or_dash(&amqp.vhost),
            or_dash(&amqp.product),
            or_dash(&amqp.version),
            or_dash(&amqp.connection_name),
            amqp.heartbeat
                .map_or_else(|| "-".to_owned(), |seconds| seconds.to_string()),
            amqp.channels,
            or_dash(&amqp.blocked),
        );
    }
    text
}

fn protocol(client: &str) -> &'static str {
    if client.starts_with('[') {
        "tcpv6"
    } else if client.starts_with("unix") {
        "unix_stream"
    } else {
        "tcpv4"
    }
}

/// `3s`, `4m5s`, `2h3m`, `1d2h`.
fn words_for(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let pair = |whole: u64, part: u64, [one, other]: [&str; 2]| match part {
        0 => format!("{whole}{one}"),
        part => format!("{whole}{one}{part}{other}"),
    };
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => pair(seconds / 60, seconds % 60, ["m", "s"]),
        3600..86_400 => pair(seconds / 3600, seconds / 60 % 60, ["h", "m"]),
        _ => pair(seconds / 86_400, seconds / 3600 % 24, ["d", "h"]),
    }
}
