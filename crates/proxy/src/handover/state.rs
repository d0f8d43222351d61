//! What a process knows besides its sessions: counters, health, the operator's word, whom clients belong to.
//!
//! Everything goes by name: the configuration of the new process may be another one. What it does not have any more is
//! forgotten, what is new in it begins anew.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use warren_balance::health::{By, Operation, Saved};
use warren_balance::{Key, Weight};

use crate::live::{self, Live, Target, Totals};
use crate::plan::{HostAddress, Plan};

/// Everything.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct State {
    /// How long ago the first of all these processes started.
    pub(super) age: Duration,
    /// The next session's number.
    pub(super) sessions: u64,
    /// Octets that went through a pipe.
    spliced: u64,
    numbers: Numbers,
    maxconn: u32,
    frontends: HashMap<String, Frontend>,
    backends: HashMap<String, Backend>,
}

/// What is counted of everything: sums, and the most there were of sessions, new sessions, connections, requests.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Numbers {
    totals: Totals,
    most: [u32; 5],
    last_session: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Frontend {
    numbers: Numbers,
    maxconn: u32,
    rate_limit: u32,
    paused: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Backend {
    numbers: Numbers,
    servers: HashMap<String, Server>,
    /// Which server a client has.
    stick: Vec<(IpAddr, u64)>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Server {
    numbers: Numbers,
    maxconn: u32,
    /// As configured, and as it is.
    address: String,
    target: Option<(Option<SocketAddr>, String)>,
    /// Stopped, running, stopping.
    operation: u8,
    maint: bool,
    drain: bool,
    weight: u32,
    score: u16,
    checks_failed: u64,
    times_down: u64,
    changed: u64,
    downtime: Duration,
}

impl State {
    /// As it is now.
    pub(super) fn of(live: &Live) -> Self {
        let snapshot = live.snapshot();
        let now = Instant::now();
        Self {
            age: now.saturating_duration_since(live.started()),
            sessions: live.sessions_begun(),
            spliced: live.spliced.load(Relaxed),
            numbers: Numbers {
                totals: live.tally.totals(),
                most: [
                    live.connections.most(),
                    live.session_rate.most(),
                    live.connection_rate.most(),
                    live.tls_rate.most(),
                    0,
                ],
                last_session: 0,
            },
            maxconn: live.maxconn.load(Relaxed),
            frontends: snapshot
                .frontends
                .iter()
                .map(|frontend| (frontend.name.to_string(), Frontend::of(frontend)))
                .collect(),
            backends: snapshot
                .backends
                .iter()
                .map(|backend| (backend.name.to_string(), Backend::of(backend, live.time(now))))
                .collect(),
        }
    }

    /// A process that goes on with it.
    pub(super) fn live(&self, plan: Arc<Plan>) -> Live {
        let now = Instant::now();
        let live = Live::since(plan, now.checked_sub(self.age).unwrap_or(now));
        live.continue_from(self.sessions);
        live.maxconn.store(self.maxconn, Relaxed);
        let snapshot = live.snapshot();
        for frontend in &snapshot.frontends {
            if let Some(state) = self.frontends.get(&*frontend.name) {
                frontend.maxconn.store(state.maxconn, Relaxed);
                frontend.rate_limit.store(state.rate_limit, Relaxed);
                frontend.paused.store(state.paused, Relaxed);
            }
        }
        for backend in &snapshot.backends {
            if let Some(state) = self.backends.get(&*backend.name) {
                state.restore(backend, live.time(now));
            }
            backend.refresh(live.time(now));
        }
        live
    }

    /// Adds what the other process had counted.
    pub(super) fn count(&self, live: &Live) {
        live.spliced.fetch_add(self.spliced, Relaxed);
        live.tally.of_control().add_all(&self.numbers.totals);
        let [connections, sessions, new, handshakes, _] = self.numbers.most;
        live.connections.raise(connections);
        live.session_rate.raise(sessions);
        live.connection_rate.raise(new);
        live.tls_rate.raise(handshakes);
        let snapshot = live.snapshot();
        for frontend in &snapshot.frontends {
            if let Some(Frontend { numbers, .. }) = self.frontends.get(&*frontend.name) {
                frontend.tally.of_control().add_all(&numbers.totals);
                let [sessions, rate, connections, requests, _] = numbers.most;
                frontend.sessions.raise(sessions);
                frontend.session_rate.raise(rate);
                frontend.connection_rate.raise(connections);
                frontend.request_rate.raise(requests);
                frontend.last_session.fetch_max(numbers.last_session, Relaxed);
            }
        }
        for backend in &snapshot.backends {
            let Some(Backend { numbers, servers, .. }) = self.backends.get(&*backend.name) else {
                continue;
            };
            backend.tally.of_control().add_all(&numbers.totals);
            let [sessions, rate, requests, queued, _] = numbers.most;
            backend.sessions.raise(sessions);
            backend.session_rate.raise(rate);
            backend.request_rate.raise(requests);
            backend.queued.raise(queued);
            backend.last_session.fetch_max(numbers.last_session, Relaxed);
            for server in backend.servers().iter() {
                if let Some(Server { numbers, .. }) = servers.get(&*server.name) {
                    server.tally.of_control().add_all(&numbers.totals);
                    let [sessions, rate, queued, ..] = numbers.most;
                    server.sessions.raise(sessions);
                    server.session_rate.raise(rate);
                    server.queued.raise(queued);
                    server.last_session.fetch_max(numbers.last_session, Relaxed);
                }
            }
        }
    }
}

impl Frontend {
    fn of(frontend: &live::Frontend) -> Self {
        Self {
            numbers: Numbers {
                totals: frontend.tally.totals(),
                most: [
                    frontend.sessions.most(),
                    frontend.session_rate.most(),
                    frontend.connection_rate.most(),
                    frontend.request_rate.most(),
                    0,
                ],
                last_session: frontend.last_session.load(Relaxed),
            },
            maxconn: frontend.maxconn.load(Relaxed),
            rate_limit: frontend.rate_limit.load(Relaxed),
            paused: frontend.paused.load(Relaxed),
        }
    }
}

impl Backend {
    fn of(backend: &live::Backend, now: warren_balance::Instant) -> Self {
        let stick = backend.stick.lock();
        let entries = stick.iter().flat_map(|table| table.entries(now));
        Self {
            numbers: Numbers {
                totals: backend.tally.totals(),
                most: [
                    backend.sessions.most(),
                    backend.session_rate.most(),
                    backend.request_rate.most(),
                    backend.queued.most(),
                    0,
                ],
                last_session: backend.last_session.load(Relaxed),
            },
            servers: backend
                .servers()
                .iter()
                .map(|server| (server.name.to_string(), Server::of(server)))
                .collect(),
            stick: entries
                .filter_map(|(key, counters, _)| Some((address(key)?, counters.gpc0)))
                .collect(),
        }
    }

    fn restore(&self, backend: &live::Backend, now: warren_balance::Instant) {
        for server in backend.servers().iter() {
            if let Some(state) = self.servers.get(&*server.name) {
                state.restore(server);
            }
        }
        if let Some(table) = backend.stick.lock().as_mut() {
            for (address, server) in &self.stick {
                // A table that is smaller now keeps as many as it can.
                let _full = table.set_gpc0(now, &Key::from(*address), *server);
            }
        }
    }
}

const fn address(key: &Key) -> Option<IpAddr> {
    match key {
        Key::Ip(address) => Some(IpAddr::V4(*address)),
        Key::Ipv6(address) => Some(IpAddr::V6(*address)),
        Key::Integer(_) | Key::String(_) => None,
    }
}

impl Server {
    fn of(server: &live::Server) -> Self {
        let operational = server.operational.lock();
        let (health, reasons) = (&operational.health, operational.health.reasons());
        Self {
            numbers: Numbers {
                totals: server.tally.totals(),
                most: [
                    server.sessions.most(),
                    server.session_rate.most(),
                    server.queued.most(),
                    0,
                    0,
                ],
                last_session: server.last_session.load(Relaxed),
            },
            maxconn: server.maxconn.load(Relaxed),
            address: written(&server.plan().address),
            target: server.target.load().as_deref().map(|target| match target {
                Target::Tcp(address) => (Some(*address), String::new()),
                Target::Unix(path) => (None, path.display().to_string()),
            }),
            operation: match health.operation() {
                Operation::Stopped => 0,
                Operation::Running => 1,
                Operation::Stopping => 2,
            },
            maint: matches!(reasons.maint_by, Some(By::Operator | By::Agent)),
            drain: matches!(reasons.drain_by, Some(By::Operator | By::Agent)),
            weight: health.weight(),
            score: health.score(),
            checks_failed: operational.checks_failed,
            times_down: operational.times_down,
            changed: operational
                .changed
                .millis_since(warren_balance::Instant::default()),
            downtime: operational.downtime,
        }
    }

    fn restore(&self, server: &live::Server) {
        server.maxconn.store(self.maxconn, Relaxed);
        if written(&server.plan().address) == self.address {
            let target = self.target.as_ref().map(|(address, path)| match address {
                Some(address) => Target::Tcp(*address),
                None => Target::Unix(path.into()),
            });
            if let Some(target) = target {
                server.target.store(Some(Arc::new(target)));
            }
        }
        let mut operational = server.operational.lock();
        let checked = operational.health.check().is_some() || operational.health.agent().is_some();
        operational.health.restore(&Saved {
            operation: match self.operation {
                // Nobody would find out that it is well again.
                0 if !checked => Operation::Running,
                0 => Operation::Stopped,
                2 => Operation::Stopping,
                _ => Operation::Running,
            },
            maint: self.maint,
            drain: self.drain,
            weight: Weight::try_from(self.weight).unwrap_or_default(),
            health: self.score,
        });
        operational.checks_failed = self.checks_failed;
        operational.times_down = self.times_down;
        operational.changed = warren_balance::Instant::from_millis(self.changed);
        operational.downtime = self.downtime;
    }
}

fn written(address: &HostAddress) -> String {
    match address {
        HostAddress::Ip(address) => address.to_string(),
        HostAddress::Name(name, port) => format!("{name}:{port}"),
        HostAddress::Unix(path) => path.display().to_string(),
    }
}
