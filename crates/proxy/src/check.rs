//! Who is well: every server of the current configuration is checked, its agent asked, and what they say counts.
//!
//! ```text
//!   run ── one task for each server ──▶ Probe ──▶ Finding ──▶ Servers::change ──▶ live, log, workers
//!            sleeps until its check is due, its slow start goes on, or somebody says something to it
//! ```
//!
//! - [`Servers`]: the one place where health changes. `lines`: HAProxy's words about it.
//! - `probe`, `link`: one check. `http`, `script`, `amqp`, `agent`: what is asked. `tls`: how it is kept from others.
//!
//! At most [`CHECKS_MAX`] checks are under way, farewells included. The first ones are spread over the interval.
//! Connections end with a FIN where HAProxy resets them: a broker logs resets.

mod agent;
mod amqp;
#[cfg(test)]
mod databases;
#[cfg(test)]
mod differential;
mod finding;
#[cfg(test)]
pub(crate) mod fixture;
mod http;
mod lines;
mod link;
mod probe;
#[cfg(test)]
pub(crate) mod rabbitmq;
mod script;
mod servers;
#[cfg(test)]
mod tests;
mod tls;

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};
use warren_balance::health::{self, Input, State};

use self::finding::Finding;
pub use self::lines::Cause;
use self::probe::Probe;
pub use self::servers::{Outlet, SILENCE, Servers};
use crate::live::{Backend, CheckResult, Operational, Server};
use crate::plan::Observe;

/// Checks and questions to agents that are under way at once, farewells included.
pub const CHECKS_MAX: usize = 256;

/// Checks every server of the current configuration, for as long as it is polled.
pub async fn run(servers: Servers) {
    let slots = Arc::new(Semaphore::new(CHECKS_MAX));
    let (mut tasks, mut reloads) = (JoinSet::new(), servers.reloads());
    let mut known: HashMap<usize, Known> = HashMap::new();
    loop {
        let current = current(&servers);
        let places: HashSet<_> = current.iter().map(|(_, server)| place(server)).collect();
        known.retain(|place, known| {
            let stays = places.contains(place);
            if !stays {
                known.end();
            }
            stays
        });
        while tasks.try_join_next().is_some() {}
        servers.begin();
        let fresh: Vec<_> = current
            .into_iter()
            .filter(|(_, server)| {
                // Whoever stays may have other intervals now.
                server.wake.notify_one();
                server.agent_wake.notify_one();
                !known.contains_key(&place(server))
            })
            .collect();
        for ((backend, server), first) in first_checks(&fresh) {
            let tender = Tender {
                servers: servers.clone(),
                backend,
                server: Arc::clone(&server),
                slots: Arc::clone(&slots),
            };
            let agent = tender.clone();
            let tasks = [
                tasks.spawn(tender.check(first)),
                tasks.spawn(agent.ask_agent(first)),
            ];
            known.insert(
                place(&server),
                Known {
                    _server: server,
                    tasks,
                },
            );
        }
        if reloads.changed().await.is_err() {
            return;
        }
    }
}

/// A server that is looked after; it is kept so that no other can have its place in memory.
struct Known {
    _server: Arc<Server>,
    tasks: [AbortHandle; 2],
}

impl Known {
    fn end(&self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Where a server is in memory: what tells it from others of its name that were before.
fn place(server: &Arc<Server>) -> usize {
    Arc::as_ptr(server).addr()
}

type Place = (Arc<Backend>, Arc<Server>);

fn current(servers: &Servers) -> Vec<Place> {
    let snapshot = servers.live.snapshot();
    let of_backend = |backend: &Arc<Backend>| {
        let servers = backend.servers();
        let places = servers
            .iter()
            .map(|server| (Arc::clone(backend), Arc::clone(server)));
        places.collect::<Vec<_>>()
    };
    snapshot.backends.iter().flat_map(of_backend).collect()
}

/// When each is checked first: spread over the interval.
fn first_checks(fresh: &[Place]) -> Vec<(Place, Duration)> {
    let intervals: Vec<_> = fresh
        .iter()
        .filter_map(|(_, server)| server.operational.lock().health.next_check())
        .collect();
    let mut place = 0;
    fresh
        .iter()
        .map(|one| {
            let checked = one.1.operational.lock().health.next_check().is_some();
            let first = if checked {
                health::first_check(&intervals, place)
            } else {
                Duration::ZERO
            };
            place += usize::from(checked);
            (one.clone(), first)
        })
        .collect()
}

/// Who looks after one server.
#[derive(Clone)]
struct Tender {
    servers: Servers,
    backend: Arc<Backend>,
    server: Arc<Server>,
    slots: Arc<Semaphore>,
}

impl Tender {
    /// Checks it whenever a check is due, lets its slow start go on, and takes in what traffic says.
    async fn check(self, first: Duration) {
        let mut due = Instant::now() + first;
        let mut later = None;
        loop {
            let checked = self.server.operational.lock().health.next_check().is_some();
            tokio::select! {
                biased;
                () = self.server.wake.notified() => {
                    self.take_errors();
                    due = due.min(Instant::now() + self.pause());
                }
                () = sleep_until(later.unwrap_or(due)), if later.is_some() => self.refresh(),
                () = sleep_until(due), if checked => {
                    self.check_once().await;
                    due = Instant::now() + self.pause();
                }
            }
            // What was planned stays planned, unless it was done or there is nothing to do any more.
            let planned = later.filter(|later| *later > Instant::now());
            later = self
                .next_refresh()
                .map(|next| planned.map_or(next, |planned| planned.min(next)));
        }
    }

    fn pause(&self) -> Duration {
        let pause = self.server.operational.lock().health.next_check();
        let percent = self.servers.live.snapshot().plan.global.spread_checks;
        health::spread(pause.unwrap_or_default(), percent, entropy())
    }

    /// In slow start its weight grows; while it is down sessions fall silent.
    fn next_refresh(&self) -> Option<Instant> {
        let now = self.servers.now();
        let (deadline, down) = {
            let operational = self.server.operational.lock();
            let down = operational.health.state() == State::Down;
            (operational.health.deadline(now), down)
        };
        let until = deadline.map(|deadline| Duration::from_millis(deadline.millis_since(now)));
        let silent = (down && self.server.sessions.now() > 0).then_some(SILENCE);
        let soonest = until.into_iter().chain(silent).min();
        soonest.map(|pause| Instant::now() + pause)
    }

    fn refresh(&self) {
        self.backend.refresh(self.servers.now());
        self.servers.grant(&self.backend);
        self.servers.farewell_again(&self.backend, &self.server);
    }

    fn take_errors(&self) {
        for _ in 0..self.server.error_limits.swap(0, Relaxed).min(100) {
            let plan = self.server.plan();
            let last = match plan.observe {
                Some(Observe::Layer7) => "Wrong http response",
                Some(Observe::Layer4) | None => "L4 unsuccessful connection",
            };
            let text = format!(
                "Detected {} consecutive errors, last one was: {last}",
                plan.error_limit
            );
            let result = self.result(Finding::failed("HANA", text), Instant::now());
            self.servers.change(
                &self.backend,
                &self.server,
                &Input::ErrorLimit,
                Cause::Traffic(&result),
            );
        }
    }

    async fn slot(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.slots).acquire_owned().await.ok()
    }

    async fn check_once(&self) {
        let Some(slot) = self.slot().await else { return };
        let plan = self.server.plan();
        let target = self.server.target.load_full();
        let Some(probe) = Probe::of_server(&plan, target.as_deref(), slot) else {
            return;
        };
        let _under_way = UnderWay::begin(&self.server, |operational| &mut operational.checking);
        let start = Instant::now();
        let finding = probe.run().await;
        let result = self.result(finding, start);
        self.servers.found(&self.backend, &self.server, result);
    }

    fn result(&self, finding: Finding, start: Instant) -> CheckResult {
        CheckResult {
            status: finding.status,
            code: finding.code,
            duration: start.elapsed(),
            detail: finding.detail,
            passed: finding.passed,
            at: self.servers.now(),
        }
    }

    /// Asks its agent, if it has one, on a schedule of its own; also in maintenance, which an agent may end.
    async fn ask_agent(self, first: Duration) {
        let mut due = Instant::now() + first;
        loop {
            let inter = self.server.plan().agent.as_ref().map(|agent| agent.inter);
            let asked = inter.is_some() && self.server.operational.lock().health.agent().is_some();
            tokio::select! {
                biased;
                () = self.server.agent_wake.notified() => {
                    due = due.min(Instant::now() + inter.unwrap_or_default());
                }
                () = sleep_until(due), if asked => {
                    self.ask_once().await;
                    due = Instant::now() + inter.unwrap_or_default();
                }
            }
        }
    }

    async fn ask_once(&self) {
        let Some(slot) = self.slot().await else { return };
        let plan = self.server.plan();
        let Some(agent) = &plan.agent else { return };
        let timeouts = match &plan.check {
            Some(check) => [check.connect_timeout, check.timeout],
            None => [agent.inter, agent.inter],
        };
        let target = self.server.target.load_full();
        let Some(probe) = Probe::of_agent(&plan, target.as_deref(), timeouts, slot) else {
            return;
        };
        let _under_way = UnderWay::begin(&self.server, |operational| &mut operational.asking);
        let start = Instant::now();
        let (finding, report) = probe.ask_agent(agent.send.as_deref()).await;
        let result = self.result(finding, start);
        {
            let mut operational = self.server.operational.lock();
            let last = operational.last_agent.replace(result.clone());
            operational.agent_word_changed = last.is_none_or(|last| last.status != result.status);
        }
        let cause = if result.status == "CHECKED" {
            Cause::Silent
        } else {
            Cause::Agent(&result)
        };
        self.servers
            .change(&self.backend, &self.server, &Input::Agent(report), cause);
    }
}

/// A question to a server for which the statistics show that it is under way, until it has an answer or is given up.
struct UnderWay<'a> {
    server: &'a Server,
    mark: fn(&mut Operational) -> &mut bool,
}

impl<'a> UnderWay<'a> {
    fn begin(server: &'a Server, mark: fn(&mut Operational) -> &mut bool) -> Self {
        *mark(&mut server.operational.lock()) = true;
        Self { server, mark }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        *(self.mark)(&mut self.server.operational.lock()) = false;
    }
}

/// Fresh random bits, good enough to keep checks apart.
pub(crate) fn entropy() -> u64 {
    RandomState::new().build_hasher().finish()
}
