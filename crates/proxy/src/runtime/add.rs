//! `add server`, `del server`.

use std::num::{NonZeroU8, NonZeroU32};
use std::sync::Arc;
use std::time::{Duration, Instant};

use warren_balance::health::Input;
use warren_balance::{ServerId, Weight};

use super::change::tell;
use super::commands::{Answer, Request};
use super::server::named;
use crate::live::Backend;
use crate::plan::{self, Check, CheckKind, HostAddress};

/// Servers of one backend; a runaway script must not take all memory.
const SERVERS_MAX: usize = 4096;

pub(super) fn add_server(request: &Request<'_>) -> Answer {
    match add(request) {
        Ok(()) => Answer::line("New server registered."),
        Err(answer) => answer,
    }
}

/// As HAProxy has it: most refusals of these two commands end without a newline of their own.
fn refusal(text: &str) -> Answer {
    Answer::Text(text.to_owned())
}

fn add(request: &Request<'_>) -> Result<(), Answer> {
    let Some((backend, name)) = request.argument(0).split_once('/') else {
        return Err(refusal("Require 'backend/server'."));
    };
    let snapshot = request.context.live.snapshot();
    let backend = snapshot
        .backend_named(backend)
        .ok_or_else(|| refusal("No such backend."))?;
    if backend.server_named(name).is_some() {
        return Err(Answer::line(
            "Already exists a server with the same name in backend.",
        ));
    }
    if name.is_empty() || request.argument(1).is_empty() {
        return Err(Answer::line(
            "'server' expects <name> and <addr>[:<port>] as arguments.",
        ));
    }
    if backend.servers().len() >= SERVERS_MAX {
        return Err(Answer::line(format_args!(
            "The backend has {SERVERS_MAX} servers already."
        )));
    }
    let Ok(address) = request.argument(1).parse() else {
        return Err(Answer::line(format_args!(
            "invalid address '{}': an IP address and a port are expected.",
            request.argument(1)
        )));
    };
    let mut plan = template(backend, name, HostAddress::Ip(address));
    options(&mut plan, backend, request.arguments.get(2..).unwrap_or_default())?;
    let now = request.context.live.time(Instant::now());
    // Out of service and not checked until `enable server` and `enable health`.
    plan.disabled = true;
    let server = backend.add_server(now, Arc::new(plan));
    tell(request.context, backend, &server, &Input::Checked(false));
    request.context.servers.reloaded();
    Ok(())
}

/// A server as a line without options makes it, with the lowest number that is free; out of service at first.
fn template(backend: &Backend, name: &str, address: HostAddress) -> plan::Server {
    let servers = backend.servers();
    let taken = |id: &u32| servers.iter().any(|server| server.id.0 == *id);
    let id = (1..).find(|id| !taken(id)).unwrap_or(u32::MAX);
    plan::Server {
        name: name.to_owned(),
        id: ServerId(id),
        address,
        backup: false,
        weight: Weight::DEFAULT,
        maxconn: None,
        minconn: None,
        maxqueue: None,
        disabled: true,
        check: None,
        agent: None,
        slowstart: Duration::ZERO,
        track: None,
        shutdown_sessions: false,
        shutdown_backup_sessions: false,
        observe: None,
        on_error: plan::ErrorAction::default(),
        error_limit: NonZeroU32::MIN.saturating_add(9),
        tls: None,
        send_proxy: None,
        source: None,
        may_be_unresolved: false,
    }
}

/// Options as on a `server` line, those that make sense for a server that comes and goes.
fn options(plan: &mut plan::Server, backend: &Backend, words: &[String]) -> Result<(), Answer> {
    let mut words = words.iter().map(String::as_str);
    let mut check = default_check(backend);
    let mut checked = false;
    while let Some(option) = words.next() {
        let mut value = || {
            words
                .next()
                .ok_or_else(|| Answer::line(format_args!("'{option}' expects a value.")))
        };
        match option {
            "backup" => plan.backup = true,
            "check" => checked = true,
            "no-check" => checked = false,
            "disabled" | "enabled" => {}
            "weight" => {
                let weight: u32 = number(option, value()?)?;
                plan.weight = Weight::try_from(weight).map_err(Answer::line)?;
            }
            "maxconn" => plan.maxconn = NonZeroU32::new(number(option, value()?)?),
            "minconn" => plan.minconn = NonZeroU32::new(number(option, value()?)?),
            "maxqueue" => plan.maxqueue = NonZeroU32::new(number(option, value()?)?),
            "slowstart" => plan.slowstart = duration(option, value()?)?,
            "inter" => check.timing.inter = duration(option, value()?)?,
            "fastinter" => check.timing.fastinter = Some(duration(option, value()?)?),
            "downinter" => check.timing.downinter = Some(duration(option, value()?)?),
            "rise" => check.timing.rise = count(option, value()?)?,
            "fall" => check.timing.fall = count(option, value()?)?,
            "port" => check.port = Some(number(option, value()?)?),
            "addr" => {
                let word = value()?;
                let address = word.parse();
                check.address =
                    Some(address.map_err(|_| Answer::line(format_args!("invalid address '{word}'.")))?);
            }
            "id" => {
                let id = ServerId(number(option, value()?)?);
                if id.0 == 0 || backend.servers().iter().any(|server| server.id == id) {
                    return Err(Answer::line(format_args!(
                        "the id {id} is taken in this backend, or 0."
                    )));
                }
                plan.id = id;
            }
            "on-marked-down" => plan.shutdown_sessions = value()? == "shutdown-sessions",
            "on-marked-up" => plan.shutdown_backup_sessions = value()? == "shutdown-backup-sessions",
            _ => return Err(Answer::line(format_args!("unknown keyword '{option}'"))),
        }
    }
    plan.check = checked.then_some(check);
    Ok(())
}

/// What the other servers of the backend are asked; only the timing is this server's own.
fn default_check(backend: &Backend) -> Check {
    let servers = backend.servers();
    let other = servers.iter().find_map(|server| server.plan().check.clone());
    let kind = other.as_ref().map_or(CheckKind::Tcp, |check| check.kind.clone());
    let timing = warren_balance::health::Check::default();
    Check {
        kind,
        connect_timeout: other.as_ref().map_or(timing.inter, |check| check.connect_timeout),
        timeout: other.as_ref().map_or(timing.inter, |check| check.timeout),
        timing,
        port: None,
        address: None,
        tls: None,
        send_proxy: false,
    }
}

fn number<T: std::str::FromStr>(option: &str, word: &str) -> Result<T, Answer> {
    word.parse()
        .map_err(|_| Answer::line(format_args!("'{option}' expects a number, not '{word}'.")))
}

fn count(option: &str, word: &str) -> Result<NonZeroU8, Answer> {
    NonZeroU8::new(number(option, word)?)
        .ok_or_else(|| Answer::line(format_args!("'{option}' expects a number of at least 1.")))
}

/// Milliseconds unless it has a unit.
fn duration(option: &str, word: &str) -> Result<Duration, Answer> {
    super::duration(word, Duration::from_millis(1))
        .ok_or_else(|| Answer::line(format_args!("'{option}' expects a time, not '{word}'.")))
}

pub(super) fn del_server(request: &Request<'_>) -> Answer {
    let (backend, server) = match named(request) {
        Ok(found) => found,
        // Here, too, without a newline.
        Err(Answer::Text(text)) => return Answer::Text(text.trim_end().to_owned()),
        Err(answer) => return answer,
    };
    if server.state() != warren_balance::health::State::Maint {
        return refusal("Only servers in maintenance mode can be deleted.");
    }
    if server.sessions.now() > 0 || server.queued.now() > 0 {
        return refusal("Server still has connections attached to it, cannot remove it.");
    }
    let now = request.context.live.time(Instant::now());
    backend.remove_server(now, &server.name);
    request.context.servers.reloaded();
    refusal("Server deleted.")
}
