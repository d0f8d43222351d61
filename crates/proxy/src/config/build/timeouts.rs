//! Timeouts of both halves, and keepalive.

use std::time::Duration;

use toml::Spanned;
use warren_kit::config::Report;
use warren_kit::duration::HumanDuration;

use super::{Given, Surroundings};
use crate::config::file::{KeepaliveTable, KeepaliveUse, Timeouts};
use crate::plan::{BackendTimeouts, FrontendTimeouts, Keepalive, Mode, Origin};

type Field = fn(&Timeouts) -> Option<&Spanned<HumanDuration>>;

/// Of the section, else of the whole file, else `default`; zero is without end.
fn timeout(
    given: &Given<'_>,
    surroundings: &Surroundings<'_>,
    field: Field,
    default: Option<u64>,
) -> Option<Duration> {
    let written = field(&given.section.timeouts).or_else(|| field(&surroundings.file.timeouts));
    match written {
        Some(written) => Some(written.get_ref().get()).filter(|timeout| !timeout.is_zero()),
        None => default.map(Duration::from_secs),
    }
}

/// Silence is the business of keepalive, except in HTTP.
fn silence(given: &Given<'_>) -> Option<u64> {
    (given.mode == Mode::Http).then_some(60)
}

pub(super) fn of_frontend(
    report: &mut Report,
    given: &Given<'_>,
    surroundings: &Surroundings<'_>,
) -> FrontendTimeouts {
    let get = |field: Field, default| timeout(given, surroundings, field, default);
    let timeouts = FrontendTimeouts {
        client: get(|all| all.client.as_ref(), silence(given)),
        client_fin: get(|all| all.client_fin.as_ref(), Some(30)),
        http_request: get(|all| all.http_request.as_ref(), Some(10)),
        http_keep_alive: get(|all| all.http_keep_alive.as_ref(), Some(60)),
        handshake: get(|all| all.handshake.as_ref(), Some(10)),
    };
    let missing =
        surroundings.origin == Origin::Haproxy && !given.section.bind.is_empty() && timeouts.client.is_none();
    if missing {
        missing_timeouts(report, given, "frontend", "timeout client");
    }
    timeouts
}

pub(super) fn of_backend(
    report: &mut Report,
    given: &Given<'_>,
    surroundings: &Surroundings<'_>,
) -> BackendTimeouts {
    let get = |field: Field, default| timeout(given, surroundings, field, default);
    let timeouts = BackendTimeouts {
        connect: get(|all| all.connect.as_ref(), Some(5)),
        server: get(|all| all.server.as_ref(), silence(given)),
        server_fin: get(|all| all.server_fin.as_ref(), Some(30)),
        queue: get(|all| all.queue.as_ref(), Some(30)),
        tunnel: get(|all| all.tunnel.as_ref(), Some(3600)),
        check: get(|all| all.check.as_ref(), None),
    };
    let has_servers = !given.section.servers.0.is_empty();
    let missing = timeouts.connect.is_none() || timeouts.server.is_none();
    if surroundings.origin == Origin::Haproxy && has_servers && missing {
        missing_timeouts(report, given, "backend", "timeout connect and timeout server");
    }
    timeouts
}

/// HAProxy's own warning.
fn missing_timeouts(report: &mut Report, given: &Given<'_>, what: &str, which: &str) {
    report.warn(
        given.name.span(),
        format!("missing timeouts for {what} '{}'", given.name.get_ref()),
        format!("connections that nobody uses any more may stay for ever: give {which}"),
    );
}

pub(super) fn keepalive(report: &mut Report, written: Option<&Spanned<KeepaliveUse>>) -> Keepalive {
    const HOURS_9: Duration = Duration::from_secs(32_767);
    const SECOND: Duration = Duration::from_secs(1);
    const DAY: Duration = Duration::from_secs(86_400);
    let default = Keepalive::default();
    let table = match written.map(Spanned::get_ref) {
        None | Some(KeepaliveUse::Switch(true)) => &KeepaliveTable::default(),
        Some(KeepaliveUse::Switch(false)) => {
            return Keepalive { on: false, ..default };
        }
        Some(KeepaliveUse::Table(table)) => table,
    };
    let idle = report.duration("idle", table.idle.as_ref(), SECOND..=HOURS_9, default.idle);
    let interval = report.duration(
        "interval",
        table.interval.as_ref(),
        SECOND..=HOURS_9,
        default.interval,
    );
    let count = report.number("count", table.count.as_ref(), 1..=127, default.count);
    Keepalive {
        on: true,
        idle,
        interval,
        count,
        unanswered: report.duration(
            "unanswered",
            table.unanswered.as_ref(),
            SECOND..=DAY,
            default.unanswered,
        ),
    }
}

/// TCP_USER_TIMEOUT; zero leaves it to the kernel.
pub(super) fn user(report: &mut Report, written: Option<&Spanned<HumanDuration>>) -> Option<Duration> {
    const DAYS_24: Duration = Duration::from_millis(i32::MAX as u64);
    let timeout = report.duration("user_timeout", written, Duration::ZERO..=DAYS_24, Duration::ZERO);
    Some(timeout).filter(|timeout| !timeout.is_zero())
}
