//! What the statistics say of servers: their standing in HAProxy's words, and the tables of `show servers`.

use std::fmt::Write as _;
use std::sync::Arc;

use warren_balance::health::State;
use warren_balance::{Instant, Share};

use crate::live::{Backend, Server, Target};
use crate::plan::{self, HostAddress};

/// How a server stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// The column `status`.
    pub(super) text: String,
    /// What it is.
    pub(super) state: State,
    /// On its way up or down.
    pub(super) changing: bool,
    /// Nobody checks it.
    pub(super) unchecked: bool,
}

/// The standing of a server. Its health knows that of the server it tracks.
pub(super) fn standing(server: &Server, plan: &plan::Server) -> Standing {
    let named = matches!(plan.address, HostAddress::Name(..));
    let operational = server.operational.lock();
    let health = &operational.health;
    if named && server.target.load().is_none() && !health.reasons().maint() {
        return Standing {
            text: "MAINT (resolution)".to_owned(),
            state: State::Maint,
            changing: false,
            unchecked: false,
        };
    }
    let via = plan.track.as_ref();
    let text = health.status(via.map(|(backend, name)| (backend.as_str(), name.as_str())));
    let state = health.state();
    let score = health.tracked().check;
    Standing {
        unchecked: text == "no check",
        // `set server weight 0` drains, though the operator did not say `drain`.
        state: if state == State::Up && health.base() == Share::ZERO {
            State::Drain
        } else {
            state
        },
        changing: score.is_some_and(|score| score.health != 0 && score.health != score.best()),
        text,
    }
}

/// What of a backend takes connections now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct InUse {
    /// Anybody at all.
    pub(super) any: bool,
    /// Active servers.
    pub(super) active: u32,
    /// Backup servers that could.
    pub(super) backup: u32,
    /// Weight of those that get connections.
    pub(super) weight: u32,
    /// The same without slow start.
    pub(super) user_weight: u32,
}

impl InUse {
    pub(super) fn of(backend: &Backend, now: Instant) -> Self {
        let mut sum = Self::default();
        // Weights of active servers, of all backups, and of the first backup.
        let (mut active, mut backups, mut first) = ((0, 0), (0, 0), None);
        for server in backend.servers().iter() {
            let operational = server.operational.lock();
            let view = operational.health.server(now);
            let weights = (view.share.get(), operational.health.base().get());
            if !view.usable || server.target.load().is_none() || view.share == Share::ZERO {
                continue;
            }
            let group = if view.backup {
                sum.backup += 1;
                first.get_or_insert(weights);
                &mut backups
            } else {
                sum.active += 1;
                &mut active
            };
            *group = (group.0 + weights.0, group.1 + weights.1);
        }
        let used = match (sum.active, first) {
            (1.., _) => active,
            (0, Some(_)) if backend.plan().all_backups => backups,
            (0, Some(first)) => first,
            (0, None) => (0, 0),
        };
        sum.any = used.0 > 0;
        sum.weight = used.0.div_ceil(Share::SCALE);
        sum.user_weight = used.1.div_ceil(Share::SCALE);
        sum
    }
}

/// What the short word for a check's result means.
pub(crate) fn result_in_words(status: &str) -> &'static str {
    match status.trim_start_matches("* ") {
        "INI" => "Initializing",
        "CHECKED" => "No status change",
        "SOCKERR" => "Socket error",
        "HANA" => "Health analyze",
        "L4OK" => "Layer4 check passed",
        "L4TOUT" => "Layer4 timeout",
        "L4CON" => "Layer4 connection problem",
        "L6OK" => "Layer6 check passed",
        "L6TOUT" => "Layer6 timeout",
        "L6RSP" => "Layer6 invalid response",
        "L7OK" => "Layer7 check passed",
        "L7OKC" => "Layer7 check conditionally passed",
        "L7TOUT" => "Layer7 timeout",
        "L7RSP" => "Layer7 invalid response",
        "L7STS" => "Layer7 wrong status",
        "PROCERR" => "External check error",
        "PROCTOUT" => "External check timeout",
        "PROCOK" => "External check passed",
        _ => "Unknown",
    }
}

/// HAProxy's number of a check's result in `show servers state`.
fn result_number(status: &str) -> u8 {
    const INIT: u8 = 1;
    const FIRST: u8 = 6;
    let words = [
        "L4OK", "L4TOUT", "L4CON", "L6OK", "L6TOUT", "L6RSP", "L7TOUT", "L7RSP", "", "L7OK", "L7OKC",
        "L7STS", "PROCERR", "PROCTOUT", "PROCOK",
    ];
    let place = words.iter().position(|word| *word == status);
    place.map_or(INIT, |place| FIRST + u8::try_from(place).unwrap_or(0))
}

const STATE_VERSION: &str = "1";
const STATE_HEADER: &str = "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight \
srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state \
bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr \
srv_agent_port";

/// `show servers state`: what `load-server-state-from-file` reads.
#[must_use]
pub fn state_table(backends: &[Arc<Backend>], now: Instant) -> String {
    let mut text = format!("{STATE_VERSION}\n{STATE_HEADER}\n");
    for backend in backends {
        let plan = backend.plan();
        for server in backend.servers().iter() {
            let _ = write!(text, "{} {} ", plan.id.0, backend.name);
            state_line(&mut text, server, now);
        }
    }
    text
}

fn state_line(text: &mut String, server: &Server, now: Instant) {
    const CONFIGURED: u8 = 2;
    const ENABLED: u8 = 4;
    const PAUSED: u8 = 8;
    const AGENT: u8 = 16;
    let plan = server.plan();
    let operational = server.operational.lock();
    let health = &operational.health;
    let admin = health.reasons().bits();
    let maint = health.state() == State::Maint;
    let state = match health.state() {
        State::Maint | State::Down => 0,
        State::Up | State::Drain if health.throttle(now).is_some() => 1,
        State::Up | State::Drain => 2,
        State::Stopping => 3,
    };
    let paused = if maint { PAUSED } else { 0 };
    let check = match (&plan.check, &operational.last_check) {
        (None, _) => [1, 0, 2, 0],
        (Some(_), last) => {
            let number = last.as_ref().map_or(1, |last| result_number(last.status));
            let result = last.as_ref().map_or(0, |last| if last.passed { 3 } else { 2 });
            let score = if maint { 0 } else { health.score() };
            let score = u8::try_from(score).unwrap_or(u8::MAX);
            [number, result, score, CONFIGURED | ENABLED | paused]
        }
    };
    let agent = if plan.agent.is_some() {
        CONFIGURED | ENABLED | AGENT | paused
    } else {
        0
    };
    let (address, port) = place(server);
    let name = match &plan.address {
        HostAddress::Name(name, _) => name.as_str(),
        HostAddress::Ip(_) | HostAddress::Unix(_) => "-",
    };
    let check_port = plan.check.as_ref().and_then(|check| check.port).unwrap_or(0);
    let check_address = plan.check.as_ref().and_then(|check| check.address);
    let agent_address = plan.agent.as_ref().and_then(|agent| agent.address);
    let or_dash =
        |address: Option<std::net::IpAddr>| address.map_or_else(|| "-".to_owned(), |it| it.to_string());
    let _ = writeln!(
        text,
        "{} {} {address} {state} {admin} {} {} {} {} {} {} {} {agent} 0 0 {name} {port} - {} {check_port} {} {} {}",
        server.id(),
        server.name,
        health.base().get().div_ceil(Share::SCALE),
        plan.weight.get(),
        now.millis_since(operational.changed) / 1000,
        check[0],
        check[1],
        check[2],
        check[3],
        u8::from(plan.tls.is_some()),
        or_dash(check_address),
        or_dash(agent_address),
        plan.agent.as_ref().map_or(0, |agent| agent.port),
    );
}

/// `show servers conn`.
#[must_use]
pub fn connection_table(backends: &[Arc<Backend>], threads: usize) -> String {
    let mut text = format!(
        "# bkname/svname bkid/svid addr port - purge_delay used_cur used_max need_est unsafe_nb safe_nb idle_lim \
         idle_cur idle_per_thr[{threads}]\n"
    );
    for backend in backends {
        let id = backend.plan().id.0;
        for server in backend.servers().iter() {
            let (address, port) = place(server);
            let (used, most) = (server.sessions.now(), server.sessions.most());
            let _ = write!(
                text,
                "{}/{} {id}/{} {address} {port} - 5000 {used} {most} {most} 0 0 -1 0",
                backend.name,
                server.name,
                server.id()
            );
            text.push_str(&" 0".repeat(threads));
            text.push('\n');
        }
    }
    text
}

/// Address and port, or what stands for them.
fn place(server: &Server) -> (String, u16) {
    match server.target.load().as_deref() {
        Some(Target::Tcp(address)) => (address.ip().to_string(), address.port()),
        Some(Target::Unix(path)) => (path.display().to_string(), 0),
        None => match &server.plan().address {
            HostAddress::Name(_, port) => ("-".to_owned(), *port),
            HostAddress::Ip(address) => (address.ip().to_string(), address.port()),
            HostAddress::Unix(path) => (path.display().to_string(), 0),
        },
    }
}
