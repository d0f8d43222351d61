//! A server, with what holds for all of its backend merged in.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use warren_balance::{ServerId, Weight};
use warren_kit::config::Report;

use super::{Given, address, check, limit, timeouts, tls};
use crate::config::file::{Section, Server as File, ServerUse};
use crate::plan::{
    Agent, BackendTimeouts, ErrorAction, HostAddress, Mode, Observe, ProxyVersion, SendProxy, Server,
};

/// AMQP without TLS.
const AMQP_PORT: u16 = 5672;

/// Whether a section without a mode speaks AMQP.
pub(super) fn all_on_amqp_port(section: &Section) -> bool {
    let on_port = |address: &Spanned<String>| {
        matches!(
            address::server_address(address.get_ref()),
            Ok(HostAddress::Name(_, AMQP_PORT))
        ) || matches!(address::server_address(address.get_ref()), Ok(HostAddress::Ip(ip)) if ip.port() == AMQP_PORT)
    };
    let servers = &section.servers.0.0;
    !servers.is_empty()
        && servers.iter().all(|(_, server)| match server {
            ServerUse::Short(address) => on_port(address),
            ServerUse::Long(server) => server.address.as_ref().is_some_and(on_port),
        })
}

/// By place in the backend, around the numbers that are given.
pub(super) fn numbers(report: &mut Report, files: &[(Spanned<String>, ServerUse)]) -> Vec<ServerId> {
    let mut used: BTreeMap<u32, Range<usize>> = BTreeMap::new();
    let mut given: Vec<Option<u32>> = Vec::new();
    for (_, file) in files {
        let id = match file {
            ServerUse::Long(server) => server.id.as_ref(),
            ServerUse::Short(_) => None,
        };
        given.push(id.map(|id| {
            let number: u32 = report.number("id", Some(id), 1..=i64::from(i32::MAX), 1);
            if let Some(first) = used.insert(number, id.span()) {
                report.conflict(
                    id.span(),
                    format!("the id {number} is used twice"),
                    first,
                    "first used here",
                    "give one of them another number",
                );
            }
            number
        }));
    }
    let mut next = 1;
    given
        .into_iter()
        .map(|id| {
            ServerId(id.unwrap_or_else(|| {
                while used.contains_key(&next) {
                    next += 1;
                }
                next += 1;
                next - 1
            }))
        })
        .collect()
}

/// `$own` unless it says nothing, else `$defaults`.
macro_rules! merge {
    ($own:ident, $defaults:ident: $($field:ident),+) => {
        File { $($field: $own.$field.clone().or_else(|| $defaults.$field.clone())),+ }
    };
}

/// A server over what holds for all.
fn merged(own: &File, defaults: &File) -> File {
    merge!(own, defaults: address, id, weight, backup, disabled, maxconn, minconn, maxqueue, check, agent, track,
        slow_start, on_marked_down, on_marked_up, observe, error_limit, on_error, tls, send_proxy, proxy_unique_id,
        user_timeout, source, must_resolve, cookie)
}

pub(super) fn server(
    report: &mut Report,
    given: &Given<'_>,
    name: &Spanned<String>,
    file: &ServerUse,
    id: ServerId,
    all_timeouts: &BackendTimeouts,
) -> Server {
    let none = File::default();
    let defaults = given.section.server_defaults.as_deref().unwrap_or(&none);
    let own = match file {
        ServerUse::Short(address) => File {
            address: Some(address.clone()),
            ..File::default()
        },
        ServerUse::Long(server) => (**server).clone(),
    };
    let checks = check::Written {
        backend: given.section.check.as_ref(),
        defaults: defaults.check.as_ref(),
        own: own.check.as_ref(),
    };
    let merged = merged(&own, defaults);
    let address = address_of(report, name, merged.address.as_ref());
    let tls = tls::of_server(merged.tls.as_ref(), &address);
    let send_proxy = send_proxy(report, &merged);
    let amqp = given.mode == Mode::Amqp;
    let mut server = Server {
        name: name.get_ref().clone(),
        id,
        address,
        backup: merged.backup.unwrap_or(false),
        cookie: merged.cookie.clone(),
        weight: Weight::try_from(report.number("weight", merged.weight.as_ref(), 0..=256, 1))
            .unwrap_or_default(),
        maxconn: limit(report, "maxconn", merged.maxconn.as_ref()),
        minconn: limit(report, "minconn", merged.minconn.as_ref()),
        maxqueue: limit(report, "maxqueue", merged.maxqueue.as_ref()),
        disabled: merged.disabled.unwrap_or(false),
        check: None,
        agent: agent(report, &merged),
        slowstart: merged.slow_start.as_ref().map_or(
            if amqp {
                Duration::from_secs(10)
            } else {
                Duration::ZERO
            },
            |slow| slow.get_ref().get(),
        ),
        track: merged.track.as_ref().map(|track| tracked(track, given)),
        shutdown_sessions: word(
            report,
            "answer to `on-marked-down`",
            merged.on_marked_down.as_ref(),
            &[("shutdown-sessions", true), ("keep", false)],
            amqp,
        ),
        shutdown_backup_sessions: word(
            report,
            "answer to `on-marked-up`",
            merged.on_marked_up.as_ref(),
            &[("shutdown-backup-sessions", true), ("keep", false)],
            false,
        ),
        observe: word(
            report,
            "layer to observe",
            merged.observe.as_ref(),
            &[
                ("off", None),
                ("none", None),
                ("layer4", Some(Observe::Layer4)),
                ("layer7", Some(Observe::Layer7)),
            ],
            None,
        ),
        on_error: word(
            report,
            "answer to errors",
            merged.on_error.as_ref(),
            &[
                ("fastinter", ErrorAction::FastInter),
                ("fail-check", ErrorAction::FailCheck),
                ("sudden-death", ErrorAction::SuddenDeath),
                ("mark-down", ErrorAction::MarkDown),
            ],
            ErrorAction::default(),
        ),
        error_limit: limit(report, "error_limit", merged.error_limit.as_ref())
            .unwrap_or(NonZeroU32::MIN.saturating_add(9)),
        tls,
        send_proxy,
        user_timeout: timeouts::user(report, merged.user_timeout.as_ref()),
        source: source(report, merged.source.as_ref()),
        may_be_unresolved: !merged.must_resolve.unwrap_or(false),
    };
    server.check = check::check(report, given, &server, &checks, all_timeouts);
    if let (Some(track), Some(_)) = (&merged.track, &server.check)
        && own.check.is_some()
    {
        report.error(
            track.span(),
            "a server that follows another is not checked itself",
            "remove `track` or `check`",
        );
    }
    if server.track.is_some() {
        server.check = None;
    }
    server
}

fn address_of(report: &mut Report, name: &Spanned<String>, written: Option<&Spanned<String>>) -> HostAddress {
    let nowhere = || HostAddress::Name("localhost".to_owned(), 1);
    let Some(written) = written else {
        report.error(
            name.span(),
            format!("the server `{}` has no address", name.get_ref()),
            "write address = \"HOST:PORT\"",
        );
        return nowhere();
    };
    address::server_address(written.get_ref()).unwrap_or_else(|help| {
        report.error(
            written.span(),
            format!("\"{}\" is no address of a server", written.get_ref()),
            help,
        );
        nowhere()
    })
}

fn word<T: Clone>(
    report: &mut Report,
    what: &str,
    written: Option<&Spanned<String>>,
    choices: &[(&str, T)],
    default: T,
) -> T {
    written
        .and_then(|word| report.choice(what, word.span(), word.get_ref(), choices))
        .unwrap_or(default)
}

fn tracked(track: &Spanned<String>, given: &Given<'_>) -> (String, String) {
    match track.get_ref().split_once('/') {
        Some((backend, server)) => (backend.to_owned(), server.to_owned()),
        None => (given.name.get_ref().clone(), track.get_ref().clone()),
    }
}

fn send_proxy(report: &mut Report, file: &File) -> Option<SendProxy> {
    let (version, tls) = word(
        report,
        "form of the PROXY protocol",
        file.send_proxy.as_ref(),
        &[
            ("off", None),
            ("v1", Some((ProxyVersion::V1, false))),
            ("v2", Some((ProxyVersion::V2, false))),
            ("v2-ssl", Some((ProxyVersion::V2, true))),
        ],
        None,
    )?;
    Some(SendProxy {
        version,
        tls,
        unique_id: file.proxy_unique_id.unwrap_or(false),
    })
}

fn source(report: &mut Report, written: Option<&Spanned<String>>) -> Option<std::net::SocketAddr> {
    let written = written?;
    let address = address::source_address(written.get_ref());
    if address.is_none() {
        report.error(
            written.span(),
            format!("\"{}\" is no address to connect from", written.get_ref()),
            "write an address of this host, such as 192.0.2.1",
        );
    }
    address
}

fn agent(report: &mut Report, file: &File) -> Option<Agent> {
    let written = file.agent.as_ref()?;
    let table = written.get_ref();
    if table.port.is_none() {
        report.error(
            written.span(),
            "an agent without a port",
            "write `agent-port`, or port = in its table",
        );
    }
    Some(Agent {
        port: report.number("port", table.port.as_ref(), 1..=65_535, 1),
        address: table
            .address
            .as_ref()
            .and_then(|address| check::ip(report, address)),
        inter: report.duration(
            "interval",
            table.interval.as_ref(),
            Duration::from_millis(1)..=Duration::from_secs(86_400),
            Duration::from_secs(2),
        ),
        send: table.send.clone(),
    })
}
