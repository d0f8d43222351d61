//! What a process knows besides its sessions: counters, health, the operator's word, whom clients belong to.
//!
//! Everything goes by name: the configuration of the new process may be another one. What it does not have any more is
//! forgotten, what is new in it begins anew.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use warren_balance::health::{By, Operation, Paused};
use warren_balance::{Key, ServerId, Weight};

use crate::live::{self, Live, Target, Totals};
use crate::plan::{HostAddress, Plan};
use crate::runtime;

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
    /// `set rate-limit`: connections, sessions, handshakes.
    rate_limits: [u32; 3],
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
    stopped: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Backend {
    numbers: Numbers,
    /// In order: those that were added at run time come last, and are made again in theirs.
    servers: Vec<(String, Server)>,
    outage: Outage,
    /// Which server a client has.
    stick: Vec<(IpAddr, u64)>,
}

/// When a backend had no server: whether it has none, how often, and milliseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Outage {
    down: bool,
    times: u64,
    changed: u64,
    downtime: Duration,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Server {
    numbers: Numbers,
    maxconn: u32,
    id: u32,
    /// What `add server` was told of it.
    added: Option<Vec<String>>,
    /// As configured, and as it is.
    address: String,
    target: Option<(Option<SocketAddr>, String)>,
    adjusted: Option<Adjusted>,
    health: Health,
    checks_failed: u64,
    times_down: u64,
    changed: u64,
    downtime: Duration,
}

/// What an operator has said of how it is looked after.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Adjusted {
    check: Option<(Option<IpAddr>, Option<u16>)>,
    agent: Option<(Option<IpAddr>, u16, Option<String>)>,
}

/// [`Paused`], in numbers.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Health {
    disabled: bool,
    weight: u16,
    maxconn: u32,
    /// Stopped, running, stopping.
    operation: u8,
    maint: bool,
    /// Nobody, the configuration, an operator, an agent.
    maint_by: u8,
    drain_by: u8,
    share: u32,
    maxconn_now: u32,
    check: Option<u16>,
    agent: Option<u16>,
    silenced: [bool; 2],
    started: Option<u64>,
}

impl State {
    /// As it is now.
    pub(super) fn of(live: &Live) -> Self {
        let snapshot = live.snapshot();
        let now = Instant::now();
        Self {
            age: now.saturating_duration_since(live.started()),
            sessions: live.sessions_begun(),
            spliced: live.spliced(),
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
            rate_limits: live.rate_limits.each().map(|limit| limit.load(Relaxed)),
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
        for (limit, value) in live.rate_limits.each().into_iter().zip(self.rate_limits) {
            limit.store(value, Relaxed);
        }
        let snapshot = live.snapshot();
        for frontend in &snapshot.frontends {
            if let Some(state) = self.frontends.get(&*frontend.name) {
                frontend.maxconn.store(state.maxconn, Relaxed);
                frontend.rate_limit.store(state.rate_limit, Relaxed);
                frontend.paused.store(state.paused, Relaxed);
                frontend.stopped.store(state.stopped, Relaxed);
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
        live.add_spliced(self.spliced);
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
            let servers: HashMap<&str, &Server> = servers
                .iter()
                .map(|(name, server)| (name.as_str(), server))
                .collect();
            backend.tally.of_control().add_all(&numbers.totals);
            let [sessions, rate, requests, queued, _] = numbers.most;
            backend.sessions.raise(sessions);
            backend.session_rate.raise(rate);
            backend.request_rate.raise(requests);
            backend.queued.raise(queued);
            backend.last_session.fetch_max(numbers.last_session, Relaxed);
            for server in backend.servers().iter() {
                if let Some(Server { numbers, .. }) = servers.get(&*server.name).copied() {
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
            stopped: frontend.stopped.load(Relaxed),
        }
    }
}

impl Backend {
    fn of(backend: &live::Backend, now: warren_balance::Instant) -> Self {
        let stick = backend.stick.lock();
        let outage = *backend.outage.lock();
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
            outage: Outage {
                down: outage.down,
                times: outage.times,
                changed: millis(outage.changed),
                downtime: outage.downtime,
            },
            stick: entries
                .filter_map(|(key, counters, _)| Some((address(key)?, counters.gpc0)))
                .collect(),
        }
    }

    fn restore(&self, backend: &live::Backend, now: warren_balance::Instant) {
        for (name, state) in &self.servers {
            let server = match (backend.server_named(name), &state.added) {
                (Some(server), _) => server,
                (None, None) => continue,
                (None, Some(words)) => {
                    match runtime::make_server(backend, name, words, Some(ServerId(state.id)), now) {
                        Ok(server) => server,
                        Err(error) => {
                            let backend = &backend.name;
                            tracing::error!(%backend, name, error, "server was not added again");
                            continue;
                        }
                    }
                }
            };
            state.restore(&server);
        }
        *backend.outage.lock() = live::Outage {
            changed: warren_balance::Instant::from_millis(self.outage.changed),
            down: self.outage.down,
            times: self.outage.times,
            downtime: self.outage.downtime,
        };
        let named =
            |(name, state): &(String, Server)| Some((u64::from(state.id), backend.server_named(name)?));
        let servers: HashMap<u64, Arc<live::Server>> = self.servers.iter().filter_map(named).collect();
        for (address, number) in &self.stick {
            if let Some(server) = servers.get(number) {
                backend.stick_to(now, &Key::from(*address), server);
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
        let plan = server.plan();
        let operational = server.operational.lock();
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
            id: server.id().0,
            added: server.added.load().as_deref().cloned(),
            address: written(&plan.address),
            target: server.target.load().as_deref().map(|target| match target {
                Target::Tcp(address) => (Some(*address), String::new()),
                Target::Unix(path) => (None, path.display().to_string()),
            }),
            adjusted: server.is_adjusted().then(|| Adjusted {
                check: plan.check.as_ref().map(|check| (check.address, check.port)),
                agent: plan
                    .agent
                    .as_ref()
                    .map(|agent| (agent.address, agent.port, agent.send.clone())),
            }),
            health: Health::of(&operational.health.pause(plan.disabled)),
            checks_failed: operational.checks_failed,
            times_down: operational.times_down,
            changed: millis(operational.changed),
            downtime: operational.downtime,
        }
    }

    fn restore(&self, server: &live::Server) {
        server.maxconn.store(self.maxconn, Relaxed);
        if let Some(adjusted) = &self.adjusted {
            server.adjust(|plan| {
                if let (Some(check), Some((address, port))) = (&mut plan.check, adjusted.check) {
                    (check.address, check.port) = (address, port);
                }
                if let (Some(agent), Some((address, port, send))) = (&mut plan.agent, &adjusted.agent) {
                    (agent.address, agent.port) = (*address, *port);
                    agent.send.clone_from(send);
                }
            });
        }
        if written(&server.plan().address) == self.address {
            let target = self.target.as_ref().map(|(address, path)| match address {
                Some(address) => Target::Tcp(*address),
                None => Target::Unix(path.into()),
            });
            if let Some(target) = target {
                server.target.store(Some(Arc::new(target)));
            }
        }
        let disabled = server.plan().disabled;
        let mut operational = server.operational.lock();
        operational.health.resume(&self.health.paused(), disabled);
        operational.checks_failed = self.checks_failed;
        operational.times_down = self.times_down;
        operational.changed = warren_balance::Instant::from_millis(self.changed);
        operational.downtime = self.downtime;
    }
}

impl Health {
    fn of(paused: &Paused) -> Self {
        let by = |by: Option<By>| match by {
            None => 0,
            Some(By::Configuration) => 1,
            Some(By::Operator) => 2,
            Some(By::Agent) => 3,
        };
        let limit = |limit: Option<NonZeroU32>| limit.map_or(0, NonZeroU32::get);
        Self {
            disabled: paused.disabled,
            weight: paused.weight.get(),
            maxconn: limit(paused.maxconn),
            operation: match paused.operation {
                Operation::Stopped => 0,
                Operation::Running => 1,
                Operation::Stopping => 2,
            },
            maint: paused.maint,
            maint_by: by(paused.maint_by),
            drain_by: by(paused.drain_by),
            share: paused.share,
            maxconn_now: limit(paused.maxconn_now),
            check: paused.check,
            agent: paused.agent,
            silenced: paused.silenced,
            started: paused.started.map(millis),
        }
    }

    fn paused(&self) -> Paused {
        let by = |by: u8| match by {
            1 => Some(By::Configuration),
            2 => Some(By::Operator),
            3 => Some(By::Agent),
            _ => None,
        };
        Paused {
            disabled: self.disabled,
            weight: Weight::try_from(u32::from(self.weight)).unwrap_or_default(),
            maxconn: NonZeroU32::new(self.maxconn),
            operation: match self.operation {
                0 => Operation::Stopped,
                2 => Operation::Stopping,
                _ => Operation::Running,
            },
            maint: self.maint,
            maint_by: by(self.maint_by),
            drain_by: by(self.drain_by),
            share: self.share,
            maxconn_now: NonZeroU32::new(self.maxconn_now),
            check: self.check,
            agent: self.agent,
            silenced: self.silenced,
            started: self.started.map(warren_balance::Instant::from_millis),
        }
    }
}

fn millis(time: warren_balance::Instant) -> u64 {
    time.millis_since(warren_balance::Instant::default())
}

fn written(address: &HostAddress) -> String {
    match address {
        HostAddress::Ip(address) => address.to_string(),
        HostAddress::Name(name, port) => format!("{name}:{port}"),
        HostAddress::Unix(path) => path.display().to_string(),
    }
}
