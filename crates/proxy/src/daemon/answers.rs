//! The control socket's answers about what is, made from [`crate::live`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use warren_api::proxy::{Backend, Frontend, Server, Session, Status};
use warren_balance::health::State;
use warren_kit::clock::wall_clock;

use crate::live::{self, Live, Target};
use crate::plan::{self, BindAddress, CheckKind, Mode};
use crate::worker::SessionInfo;

/// Everything that [`Status`] takes from the shared state; what only the daemon knows is left as it is by default.
pub(super) fn status(live: &Live) -> Status {
    let snapshot = live.snapshot();
    let now = live.time(Instant::now());
    let used = used_backends(&snapshot.plan);
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        time: wall_clock().into(),
        started: (wall_clock() - live.started().elapsed()).into(),
        connections: live.connections.now(),
        maxconn: snapshot.plan.global.maxconn.get(),
        frontends: snapshot
            .frontends
            .iter()
            .map(|frontend| self::frontend(frontend))
            .collect(),
        backends: snapshot
            .backends
            .iter()
            .zip(used)
            .map(|(backend, used)| self::backend(backend, used, now))
            .collect(),
        ..Status::default()
    }
}

/// Backends that hold up a frontend and have no server, of all or of the one named; `None`: there is none of that name.
pub(super) fn without_server(live: &Live, named: Option<&str>) -> Option<Vec<String>> {
    let snapshot = live.snapshot();
    let used = used_backends(&snapshot.plan);
    let wanted: Vec<&Arc<live::Backend>> = match named {
        Some(name) => vec![snapshot.backend_named(name)?],
        None => {
            let all = snapshot.backends.iter().zip(used);
            all.filter(|(_, used)| *used)
                .map(|(backend, _)| backend)
                .collect()
        }
    };
    let empty = wanted.iter().filter(|backend| backend.usable() == 0);
    Some(empty.map(|backend| backend.name.to_string()).collect())
}

/// Whether a frontend leads there, for each backend. One without servers serves the statistics and nothing else.
fn used_backends(plan: &plan::Plan) -> Vec<bool> {
    let frontends = plan.frontends.iter().filter(|frontend| !frontend.disabled);
    let backends = plan.backends.iter().map(|backend| {
        let led_to = |frontend: &Arc<plan::Frontend>| frontend.may_lead_to(&backend.name, backend.mode);
        !backend.servers.is_empty() && frontends.clone().any(led_to)
    });
    backends.collect()
}

const fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Tcp => "tcp",
        Mode::Http => "http",
        Mode::Amqp => "amqp",
    }
}

fn frontend(frontend: &live::Frontend) -> Frontend {
    use std::sync::atomic::Ordering::Relaxed;
    let plan = frontend.plan();
    let changed = frontend.maxconn.load(Relaxed);
    let maxconn = if changed == 0 { plan.maxconn.get() } else { changed };
    let sessions = frontend.sessions.now();
    let status = if frontend.stopped.load(Relaxed) || plan.disabled {
        "STOP"
    } else if frontend.paused.load(Relaxed) {
        "PAUSED"
    } else if sessions >= maxconn {
        "FULL"
    } else {
        "OPEN"
    };
    Frontend {
        name: frontend.name.to_string(),
        mode: mode(plan.mode).to_owned(),
        addresses: plan.binds.iter().map(|bind| address(&bind.address)).collect(),
        status: status.to_owned(),
        sessions,
        maxconn,
        total: frontend.tally.totals().sessions,
    }
}

pub(super) fn address(address: &BindAddress) -> String {
    match address {
        BindAddress::Tcp(address) => address.to_string(),
        BindAddress::Unix(path) => path.display().to_string(),
    }
}

fn backend(backend: &live::Backend, used: bool, now: warren_balance::Instant) -> Backend {
    let plan = backend.plan();
    Backend {
        name: backend.name.to_string(),
        mode: mode(plan.mode).to_owned(),
        balance: plan.balance.name.to_owned(),
        used,
        usable: u32::try_from(backend.usable()).unwrap_or(u32::MAX),
        sessions: backend.sessions.now(),
        queued: backend.queued.now(),
        servers: backend
            .servers()
            .iter()
            .map(|server| self::server(server, now))
            .collect(),
    }
}

fn server(server: &live::Server, now: warren_balance::Instant) -> Server {
    let plan = server.plan();
    let operational = server.operational.lock();
    let check = operational.last_check.as_ref();
    let target = server.target.load();
    Server {
        name: server.name.to_string(),
        address: target.as_deref().map(|target| match target {
            Target::Tcp(address) => address.to_string(),
            Target::Unix(path) => path.display().to_string(),
        }),
        backup: plan.backup,
        status: operational.health.status(
            plan.track
                .as_ref()
                .map(|(backend, server)| (backend.as_str(), server.as_str())),
        ),
        usable: operational.health.state() == State::Up && target.is_some(),
        weight: u32::from(plan.weight.get()),
        sessions: server.sessions.now(),
        queued: server.queued.now(),
        total: server.tally.totals().sessions,
        since_us: Duration::from_millis(now.millis_since(operational.changed)).into(),
        check: check.map(|check| check.status.to_owned()),
        check_detail: check.map(|check| check.detail.clone()).unwrap_or_default(),
        check_took_us: check.map(|check| check.duration.into()),
        checked: plan.check.as_ref().map(checked).unwrap_or_default(),
    }
}

/// How a server is checked: "its greeting, every 5 s; down after 3 failures, up after 2 successes".
fn checked(check: &plan::Check) -> String {
    let what = match &check.kind {
        CheckKind::Tcp => "a connection".to_owned(),
        CheckKind::Tls => "a TLS handshake".to_owned(),
        CheckKind::Http { method, uri, .. } => format!("{method} {uri}"),
        CheckKind::Script(_) => "a conversation".to_owned(),
        CheckKind::AmqpGreeting => "its AMQP greeting".to_owned(),
        CheckKind::AmqpLogin { vhost, .. } => format!("a login to the virtual host {vhost}"),
        CheckKind::AmqpManagement { .. } => "its management's health checks".to_owned(),
        CheckKind::AmqpFull { vhost, .. } => format!("a login to {vhost} and its management's health checks"),
    };
    let timing = &check.timing;
    format!(
        "{what}, every {}; down after {} failures, up after {} successes",
        warren_kit::duration::HumanDuration::from(timing.inter),
        timing.fall,
        timing.rise
    )
}

/// A session as the control socket shows it.
pub(super) fn session(info: &SessionInfo) -> Session {
    let amqp = info.amqp.as_deref();
    let program = amqp.and_then(|amqp| {
        let product = amqp.product.as_deref()?;
        Some(
            [product, amqp.version.as_deref().unwrap_or_default()]
                .join(" ")
                .trim_end()
                .to_owned(),
        )
    });
    Session {
        id: info.id,
        client: info.client.clone(),
        frontend: info.frontend.to_string(),
        backend: info.backend.as_deref().map(str::to_owned),
        server: info.server.as_ref().map(|(name, _)| name.to_string()),
        age_us: info.age.into(),
        idle_us: info.idle[0].min(info.idle[1]).into(),
        bytes_in: info.bytes_in,
        bytes_out: info.bytes_out,
        unsent: info.unsent,
        state: info.state.to_owned(),
        tls: info.tls,
        user: amqp.and_then(|amqp| amqp.user.clone()),
        vhost: amqp.and_then(|amqp| amqp.vhost.clone()),
        client_program: program,
        connection_name: amqp.and_then(|amqp| amqp.connection_name.clone()),
        channels: amqp.map(|amqp| amqp.channels),
        heartbeat: amqp.and_then(|amqp| amqp.heartbeat),
        blocked: amqp.and_then(|amqp| amqp.blocked.clone()),
    }
}
