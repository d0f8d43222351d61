//! What a valid configuration still gets wrong: for `warren check`.
//!
//! Pure but for what it is given: a plan, a way to resolve names, a limit. Nothing here stops the proxy from starting;
//! an error is what cannot work on this host.

mod addresses;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use warren_kit::config::finding::Finding;
use warren_kit::duration::HumanDuration;

use crate::plan::{Backend, Frontend, HostAddress, HttpAction, Mode, Plan, Server};

/// A name made into addresses, or why not.
pub type Resolve<'a> = dyn Fn(&str) -> Result<Vec<IpAddr>, String> + 'a;

/// RabbitMQ suggests a heartbeat of so long; two that are missed mean that the other side is gone.
const HEARTBEAT: Duration = Duration::from_secs(60);
/// AMQP with and without TLS.
const AMQP_PORTS: [u16; 2] = [5671, 5672];
/// Files needed besides two for each session: listeners, checks, sockets, logs.
const FILES_BESIDES: u64 = 100;

/// Everything there is to say. `open_files` is how many files the process may have open once it has raised its limit.
#[must_use]
pub fn lint(plan: &Plan, resolve: &Resolve<'_>, open_files: u64) -> Vec<Finding> {
    let mut findings = Findings::default();
    for backend in plan.backends.iter().filter(|backend| !backend.disabled) {
        never_chosen(&mut findings, backend);
        unwatched(&mut findings, backend);
    }
    for frontend in plan.frontends.iter().filter(|frontend| !frontend.disabled) {
        without_use(&mut findings, plan, frontend);
        heartbeats(&mut findings, plan, frontend);
    }
    unused(&mut findings, plan);
    addresses::names(&mut findings, plan, resolve);
    addresses::clashes(&mut findings, plan);
    addresses::loops(&mut findings, plan, resolve);
    limits(&mut findings, plan, open_files);
    findings.0
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, finding: Finding) {
        if !self.0.contains(&finding) {
            self.0.push(finding);
        }
    }

    fn error(&mut self, text: impl Into<String>, fix: impl Into<String>) {
        self.add(Finding::error(text, fix));
    }

    fn warn(&mut self, text: impl Into<String>, fix: impl Into<String>) {
        self.add(Finding::warning(text, fix));
    }

    fn note(&mut self, text: impl Into<String>) {
        self.add(Finding::note(text));
    }
}

/// Up whatever happens to it.
fn is_always_up(server: &Server) -> bool {
    server.check.is_none() && server.track.is_none() && server.agent.is_none() && !server.disabled
}

fn never_chosen(findings: &mut Findings, backend: &Backend) {
    for server in &backend.servers {
        let name = format!("{}/{}", backend.name, server.name);
        if server.disabled {
            findings.note(format!("{name} starts in maintenance (`disabled`)"));
        } else if server.weight.get() == 0 {
            findings.warn(
                format!("{name} has weight 0 and gets no connections"),
                "give it a weight of 1 or more, or write `disabled`",
            );
        }
    }
    let counts = |server: &&std::sync::Arc<Server>| !server.disabled && server.weight.get() > 0;
    let unfailing = backend
        .servers
        .iter()
        .filter(counts)
        .find(|server| !server.backup && is_always_up(server));
    let backups: Vec<_> = backend
        .servers
        .iter()
        .filter(|server| server.backup)
        .filter(counts)
        .collect();
    if let Some(unfailing) = unfailing {
        for backup in &backups {
            findings.warn(
                format!(
                    "{0}/{1} is a backup that is never needed: {0}/{2} is not checked and so is always up",
                    backend.name, backup.name, unfailing.name
                ),
                format!("write `check` for {}", unfailing.name),
            );
        }
    } else if !backend.all_backups
        && let Some(first) = backups.iter().position(|server| is_always_up(server))
    {
        for later in backups.iter().skip(first + 1) {
            findings.warn(
                format!(
                    "{0}/{1} is never needed: the backup {0}/{2} comes before it and is always up",
                    backend.name, later.name, backups[first].name
                ),
                "write `check` for both, or `option allbackups`",
            );
        }
    }
    if !backend.servers.is_empty() && !backend.servers.iter().any(|server| counts(&server)) {
        findings.error(
            format!("no server of {} is ever chosen", backend.name),
            "give one a weight, and do not disable all of them",
        );
    }
}

fn unwatched(findings: &mut Findings, backend: &Backend) {
    let several = backend.servers.len() > 1;
    if several && backend.servers.iter().all(|server| is_always_up(server)) {
        findings.warn(
            format!(
                "no server of {} is checked: connections go to dead ones, too",
                backend.name
            ),
            "write `check` behind their addresses",
        );
    }
}

/// The backends a frontend may lead to.
fn targets<'p>(plan: &'p Plan, frontend: &Frontend) -> Vec<&'p Backend> {
    let all = plan.backends.iter().map(|backend| &**backend);
    all.filter(|backend| frontend.may_lead_to(&backend.name, backend.mode))
        .collect()
}

fn without_use(findings: &mut Findings, plan: &Plan, frontend: &Frontend) {
    let name = &frontend.name;
    if frontend.binds.is_empty() {
        findings.warn(format!("{name} listens nowhere"), "give it a `bind` line");
    }
    let answers = |action: &HttpAction| {
        matches!(
            action,
            HttpAction::Return { .. } | HttpAction::Redirect { .. } | HttpAction::PrometheusExporter
        )
    };
    let answers_itself = frontend.stats.is_some()
        || frontend.monitor_uri.is_some()
        || frontend.request_rules.iter().any(|rule| answers(&rule.action));
    let targets = targets(plan, frontend);
    if frontend.default_backend.is_none() && !answers_itself {
        let (what, fix) = if targets.is_empty() {
            (
                "has no backend: every connection is refused",
                "give it a `default_backend`, or servers",
            )
        } else {
            (
                "has no default backend: connections that no `use_backend` takes are refused",
                "give it a `default_backend`",
            )
        };
        findings.warn(format!("{name} {what}"), fix);
    }
    for backend in targets.iter().filter(|backend| backend.servers.is_empty()) {
        findings.warn(
            format!("{name} leads to {}, which has no servers", backend.name),
            "give it servers",
        );
    }
}

fn unused(findings: &mut Findings, plan: &Plan) {
    let used: BTreeSet<&str> = plan
        .frontends
        .iter()
        .flat_map(|frontend| targets(plan, frontend))
        .map(|backend| backend.name.as_str())
        .collect();
    let tracked = plan.backends.iter().flat_map(|backend| &backend.servers);
    let tracked: BTreeSet<&str> = tracked
        .filter_map(|server| server.track.as_ref())
        .map(|(backend, _)| backend.as_str())
        .collect();
    let own_half = |backend: &Backend| plan.frontends.iter().any(|frontend| frontend.id == backend.id);
    for backend in &plan.backends {
        let name = backend.name.as_str();
        if !used.contains(name) && !tracked.contains(name) && !own_half(backend) {
            findings.warn(
                format!("no frontend leads to the backend {name}"),
                "name it in a `default_backend` or `use_backend`, or remove it",
            );
        }
    }
}

/// Idle consumers of AMQP are cut by a timeout that is no longer than two heartbeats, and by any if there are none.
fn heartbeats(findings: &mut Findings, plan: &Plan, frontend: &Frontend) {
    if frontend.mode != Mode::Tcp {
        return;
    }
    for backend in targets(plan, frontend) {
        let speaks_amqp = |server: &std::sync::Arc<Server>| match &server.address {
            HostAddress::Ip(address) => AMQP_PORTS.contains(&address.port()),
            HostAddress::Name(_, port) => AMQP_PORTS.contains(port),
            HostAddress::Unix(_) => false,
        };
        if !backend.servers.iter().any(speaks_amqp) {
            continue;
        }
        let silent = [
            ("timeout client", frontend.timeouts.client),
            ("timeout server", backend.timeouts.server),
        ];
        let short = silent
            .into_iter()
            .filter_map(|(name, timeout)| Some((name, timeout?)));
        let short: Vec<String> = short
            .filter(|(_, timeout)| *timeout <= HEARTBEAT * 2)
            .map(|(name, timeout)| format!("{name} {}", HumanDuration::new(timeout)))
            .collect();
        if !short.is_empty() {
            findings.warn(
                format!(
                    "{} cuts AMQP consumers that wait in silence ({}) unless their clients send heartbeats, which RabbitMQ \
                     wants within {}",
                    frontend.name,
                    short.join(", "),
                    HumanDuration::new(HEARTBEAT * 2)
                ),
                "use mode amqp in warren.toml, which follows the heartbeat of each connection, or timeouts of hours: dead peers \
                 are found by TCP keepalive",
            );
        }
    }
}

fn limits(findings: &mut Findings, plan: &Plan, open_files: u64) {
    let maxconn = u64::from(plan.global.maxconn.get());
    let needed = maxconn * 2 + FILES_BESIDES;
    if needed > open_files {
        findings.error(
            format!("maxconn {maxconn} needs {needed} open files, and {open_files} are allowed"),
            format!(
                "raise LimitNOFILE= in the unit, or set maxconn to {}",
                open_files.saturating_sub(FILES_BESIDES) / 2
            ),
        );
    }
    for frontend in &plan.frontends {
        if frontend.maxconn > plan.global.maxconn {
            findings.warn(
                format!(
                    "{} may have {} sessions and the whole process {}",
                    frontend.name, frontend.maxconn, plan.global.maxconn
                ),
                "raise maxconn of `global`, or lower that of the frontend",
            );
        }
    }
}
