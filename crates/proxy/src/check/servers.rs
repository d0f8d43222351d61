//! The one place where a server's health changes, whoever wants it to, and what follows from a change.
//!
//! ```text
//!   check, agent ─┐                        ┌▶ balancer, slots for those who wait
//!   operator ─────┼▶ Servers::change ──────┼▶ counters, times, outages ──▶ statistics
//!   resolution ───┤        ▲               ├▶ log lines, in HAProxy's words
//!   traffic ──────┘        └─ those that ◀─┼─ servers that track it
//!                             track it     └▶ sessions to be ended
//! ```

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant as Clock};

use parking_lot::Mutex;
use tokio::sync::watch;
use warren_balance::Instant;
use warren_balance::health::{Effect, Input, State};

use super::lines::{self, Cause, Moment};
use crate::live::{Backend, CheckResult, Live, Operational, Server};
use crate::logs::{Dropped, Writer};
use crate::plan::{self, Level, Mode, Origin, Plan};
use crate::record;
use crate::worker::{Command, End, Ending, Scope, Workers};

/// How long a server that failed its checks must have been silent towards a session before that is ended, in mode
/// amqp: a check that flaps must not cut sessions that work.
pub const SILENCE: Duration = Duration::from_secs(5);
/// How long a client may take to answer `connection.close`.
const FAREWELL: Duration = Duration::from_secs(5);
/// Servers that track servers that track servers.
const TRACK_DEPTH_MAX: usize = 16;

/// Where the consequences go that are not in [`crate::live`].
pub trait Outlet: Send + Sync {
    /// Tells all workers to end sessions.
    fn end(&self, end: End);
    /// Gives the free slots of a backend's servers to those who wait, and tells their workers.
    fn serve_queue(&self, backend: &Arc<Backend>);
    /// An event of a backend, to be logged where its `log` lines say.
    fn log(&self, backend: &plan::Backend, level: Level, text: &str);
    /// Another configuration.
    fn reloaded(&self, plan: &Plan);
}

/// The workers and the log of this process.
struct Process {
    workers: Workers,
    log: Mutex<Writer>,
}

impl Outlet for Process {
    fn end(&self, end: End) {
        self.workers.broadcast(&Command::End(end));
    }

    fn serve_queue(&self, backend: &Arc<Backend>) {
        self.workers.serve_queue(backend);
    }

    fn log(&self, backend: &plan::Backend, level: Level, text: &str) {
        let mut log = self.log.lock();
        log.event(&backend.log, level, text);
        log.flush();
    }

    fn reloaded(&self, plan: &Plan) {
        self.log.lock().change(&plan.global);
    }
}

/// All servers, as those see them that look after them. Clones are the same.
#[derive(Clone)]
pub struct Servers {
    /// What is the case.
    pub live: Arc<Live>,
    outlet: Arc<dyn Outlet>,
    reloaded: watch::Sender<()>,
}

impl std::fmt::Debug for Servers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Servers").finish_non_exhaustive()
    }
}

impl Servers {
    /// Of this process: sessions are ended by its workers, events are logged where the configuration says; lines that
    /// could not be sent are counted in `dropped`.
    #[must_use]
    pub fn of_process(live: Arc<Live>, workers: Workers, dropped: Dropped) -> Self {
        let writer = Writer::new(&live.snapshot().plan.global, dropped);
        let log = Mutex::new(writer);
        Self::new(live, Arc::new(Process { workers, log }))
    }

    /// With somewhere else for the consequences to go.
    #[must_use]
    pub fn new(live: Arc<Live>, outlet: Arc<dyn Outlet>) -> Self {
        Self {
            live,
            outlet,
            reloaded: watch::Sender::new(()),
        }
    }

    /// To be called after [`Live::replace`], and after servers were added or removed.
    pub fn reloaded(&self) {
        self.outlet.reloaded(&self.live.snapshot().plan);
        self.reloaded.send_replace(());
    }

    /// Changes whenever there may be other servers.
    pub(crate) fn reloads(&self) -> watch::Receiver<()> {
        self.reloaded.subscribe()
    }

    /// Milliseconds since the start.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.live.time(Clock::now())
    }

    /// An event that concerns a backend and changes no server.
    pub fn log(&self, backend: &Backend, level: Level, text: &str) {
        self.outlet.log(&backend.plan(), level, text);
    }

    /// Something happened to a server: its health takes it in, and everything that follows is done.
    pub fn change(&self, backend: &Arc<Backend>, server: &Arc<Server>, input: &Input, cause: Cause<'_>) {
        self.change_at_depth(backend, server, input, cause, 0);
    }

    fn change_at_depth(
        &self,
        backend: &Arc<Backend>,
        server: &Arc<Server>,
        input: &Input,
        cause: Cause<'_>,
        depth: usize,
    ) {
        let now = self.now();
        let (before, after, effects) = self.take(server, now, input, cause);
        // Most checks find what the one before found, and nothing follows.
        let quiet = matches!(input, Input::Check(_)) && before == after && !result_is_new(server, cause);
        if !quiet || !effects.is_empty() {
            self.settle(backend, server, now, &effects, (before, after), cause);
        }
        if before != after || !effects.is_empty() {
            self.follow(backend, server, depth);
        }
        if effects.contains(&Effect::CheckSoon) {
            server.wake.notify_one();
        }
    }

    /// The change itself, under the server's lock.
    fn take(
        &self,
        server: &Server,
        now: Instant,
        input: &Input,
        cause: Cause<'_>,
    ) -> (Moment, Moment, Vec<Effect>) {
        let mut operational = server.operational.lock();
        let before = Moment::of(&operational.health);
        let effects = operational.health.handle(now, input);
        let after = Moment::of(&operational.health);
        if effects.contains(&Effect::Scored(false)) && !matches!(cause, Cause::Agent(_)) {
            operational.checks_failed += 1;
        }
        operational.count(now, before.state, after.state);
        let own = server.plan().maxconn;
        let limit = operational.health.maxconn();
        let word = if limit == own {
            0
        } else {
            limit.map_or(u32::MAX, std::num::NonZeroU32::get)
        };
        server.maxconn.store(word, Relaxed);
        (before, after, effects)
    }

    fn settle(
        &self,
        backend: &Arc<Backend>,
        server: &Arc<Server>,
        now: Instant,
        effects: &[Effect],
        (before, after): (Moment, Moment),
        cause: Cause<'_>,
    ) {
        backend.refresh(now);
        let requeued = if effects.contains(&Effect::Redistribute) {
            let waiting = server.queued.now();
            backend.redistribute(server);
            waiting
        } else {
            0
        };
        let plan = backend.plan();
        let scene = lines::Scene::new(backend, server, requeued, now, plan.log_checks, cause);
        if let (true, Cause::Check(result) | Cause::Agent(result)) = (plan.log_checks, cause) {
            let moved = effects.iter().any(|effect| matches!(effect, Effect::Scored(_)));
            if moved || result_is_new(server, cause) {
                self.outlet.log(&plan, Level::Notice, &scene.check(result));
            }
        }
        for (level, text) in scene.lines(before, after) {
            self.outlet.log(&plan, level, &text);
        }
        self.outage(backend, now);
        for effect in effects {
            match effect {
                Effect::ShutdownSessions => self.outlet.end(self.farewell(plan.mode, server)),
                Effect::ShutdownBackupSessions => self.outlet.end(End {
                    scope: Scope::Backups(Arc::clone(backend)),
                    how: Ending::Now(record::Cause::Up),
                }),
                Effect::Scored(_) | Effect::Changed { .. } | Effect::Redistribute | Effect::CheckSoon => {}
            }
        }
        self.grant(backend);
    }

    /// A backend that has lost its last server, or has one again.
    fn outage(&self, backend: &Backend, now: Instant) {
        // A `listen` without servers serves by itself.
        let down = backend.usable() == 0 && !backend.servers().is_empty();
        let mut outage = backend.outage.lock();
        if outage.down == down {
            return;
        }
        if down {
            outage.times += 1;
        } else {
            let lasted = Duration::from_millis(now.millis_since(outage.changed));
            outage.downtime += lasted;
        }
        outage.down = down;
        outage.changed = now;
        drop(outage);
        if down {
            let snapshot = self.live.snapshot();
            let listens = snapshot
                .frontend_named(&backend.name)
                .is_some_and(|it| it.plan().id == backend.plan().id);
            let kind = if listens { "proxy" } else { "backend" };
            let text = format!("{kind} {} has no server available!", backend.name);
            self.outlet.log(&backend.plan(), Level::Emerg, &text);
        }
    }

    /// Who waits gets the slots that a change made.
    pub(super) fn grant(&self, backend: &Arc<Backend>) {
        self.outlet.serve_queue(backend);
    }

    /// How the sessions of a server that went down end. Octets and HTTP: as HAProxy does, at once. In mode amqp, where
    /// this is the default and nobody asked for it in so many words, a failed check alone ends nothing: only sessions
    /// to which the server has also been silent, with a `connection.close`. Those that fall silent later follow for as
    /// long as it is down ([`Servers::farewell_again`]).
    fn farewell(&self, mode: Mode, server: &Arc<Server>) -> End {
        let snapshot = self.live.snapshot();
        let global = &snapshot.plan.global;
        if mode != Mode::Amqp || global.origin == Origin::Haproxy {
            return End {
                scope: Scope::Server(Arc::clone(server)),
                how: Ending::Now(record::Cause::Down),
            };
        }
        End {
            scope: Scope::Silent(Arc::clone(server), SILENCE),
            how: Ending::Politely {
                cause: record::Cause::Down,
                deadline: FAREWELL,
                rate: global.drain_rate,
                within: None,
            },
        }
    }

    /// Ends the sessions that have fallen silent since their server went down. True if there may be more later.
    pub(super) fn farewell_again(&self, backend: &Backend, server: &Arc<Server>) -> bool {
        if !server.plan().shutdown_sessions || server.state() != State::Down || server.sessions.now() == 0 {
            return false;
        }
        let end = self.farewell(backend.plan().mode, server);
        let again = matches!(end.scope, Scope::Silent(..));
        if again {
            self.outlet.end(end);
        }
        again
    }

    /// Tells those that track a server how it is now.
    fn follow(&self, backend: &Backend, server: &Server, depth: usize) {
        if depth >= TRACK_DEPTH_MAX {
            return;
        }
        let tracked = server.operational.lock().health.tracked();
        let snapshot = self.live.snapshot();
        for other in &snapshot.backends {
            for follower in other.servers().iter() {
                let tracks = follower
                    .plan()
                    .track
                    .as_ref()
                    .is_some_and(|(theirs, name)| **theirs == *backend.name && **name == *server.name);
                if tracks {
                    let input = Input::Tracked(tracked);
                    self.change_at_depth(other, follower, &input, Cause::Tracked, depth + 1);
                }
            }
        }
    }

    /// After a start or a reload: what the tables say of every backend, and whom each server tracks.
    pub(super) fn begin(&self) {
        let snapshot = self.live.snapshot();
        let all = || {
            snapshot
                .backends
                .iter()
                .flat_map(|backend| backend.servers().to_vec())
        };
        let tracked: HashSet<_> = all().filter_map(|server| server.plan().track.clone()).collect();
        for backend in &snapshot.backends {
            for server in backend.servers().iter() {
                let known = !tracked.is_empty()
                    && tracked.contains(&(backend.name.to_string(), server.name.to_string()));
                if known && server.plan().track.is_none() {
                    self.follow(backend, server, 0);
                }
            }
            let now = self.now();
            backend.refresh(now);
            self.outage(backend, now);
            self.grant(backend);
        }
    }

    /// Keeps what a check found, and lets it count.
    pub(super) fn found(&self, backend: &Arc<Backend>, server: &Arc<Server>, result: CheckResult) {
        let passed = result.passed;
        let kept = server.operational.lock().keep(result);
        if let Some(result) = kept {
            self.change(backend, server, &Input::Check(passed), Cause::Check(&result));
        }
    }
}

/// The last result has another word than the one before.
fn result_is_new(server: &Server, cause: Cause<'_>) -> bool {
    let operational = server.operational.lock();
    match cause {
        Cause::Check(_) => operational.word_changed,
        Cause::Agent(_) => operational.agent_word_changed,
        Cause::Operator | Cause::Traffic(_) | Cause::Tracked | Cause::Silent => false,
    }
}

impl Operational {
    /// Remembers a check's result; `None` in maintenance, when results come too late to mean anything.
    fn keep(&mut self, result: CheckResult) -> Option<CheckResult> {
        self.checking = false;
        if self.health.state() == State::Maint {
            return None;
        }
        self.word_changed = self
            .last_check
            .as_ref()
            .is_none_or(|last| last.status != result.status);
        if self.results.len() >= Self::RESULTS_MAX {
            self.results.pop_front();
        }
        self.results.push_back(result.clone());
        self.last_check = Some(result.clone());
        Some(result)
    }

    /// Times and counters of the statistics.
    fn count(&mut self, now: Instant, before: State, after: State) {
        let works = |state| matches!(state, State::Up | State::Drain | State::Stopping);
        let same = before == after || (!works(before) && !works(after));
        if same {
            return;
        }
        if !works(before) {
            let lasted = Duration::from_millis(now.millis_since(self.changed));
            self.downtime += lasted;
        }
        if !works(after) {
            self.times_down += 1;
        }
        self.changed = now;
    }
}
