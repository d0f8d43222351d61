//! The worker: everything but the guard.
//!
//! ```text
//!                                   ┌───────────────────────────────┐
//!   control socket ── Ask ────────▶ │                               │ ── Command ──▶ protocol thread (src/protocol.rs)
//!   netlink ───────── Change ─────▶ │   control thread: one loop,   │ ◀── Event ───  adverts, timers, real-time
//!   checks ────────── CheckReport ▶ │   one owner of all the state  │
//!   guard ─────────── ToWorker ───▶ │   (struct Daemon)             │ ── Command ──▶ plumbing thread (src/plumbing.rs)
//!                                   └───────────────────────────────┘ ◀── Report ──  addresses, routes, ARP and ND
//!                                      │ Event: log, history, notify
//! ```
//!
//! Every channel is bounded. The control thread may be slow: nothing that keeps an address alive waits for it.

mod answers;
mod links;
mod reload;
mod repairs;
mod rivals;
mod start;
mod statics;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use warren_api::Timestamp;
use warren_api::vrrp::{self as api, kind};
use warren_kit::report::Report;
use warren_vrrp::group;
use warren_vrrp::{Input, State};

use crate::cli::VrrpOptions;
use crate::config::plan::Plan;
use crate::control::Ask;
use crate::guard::messages::{FromWorker, ToWorker};
use crate::history::{self, History, event, with};
use crate::instance::Instance;
use crate::metrics;
use crate::netlink::monitor::Monitor;
use crate::notify::{Notification, Notifier, NotifyState, Scope};
use crate::plumbing;
use crate::protocol::{self, Slot};
use crate::track::{CheckReport, Tracker, Verdict};
use crate::words;
use links::Links;
use rivals::{Rivals, Sighting};
use start::{GuardLine, Signals};
use statics::StaticsKept;

/// How long to leave a guard alone that has no room for more.
const GUARD_PAUSE: Duration = Duration::from_millis(5);
/// How long routers wait on an orderly stop for another to take over; with the rest of the stop within 100 ms.
const HAND_OVER_GRACE: Duration = Duration::from_millis(60);
/// How long `notify stop` programs may run.
const STOP_NOTIFY_LIMIT: Duration = Duration::from_secs(1);
/// How long removing the addresses may take.
const STOP_PLUMBING_LIMIT: Duration = Duration::from_millis(500);
/// How often other hosts are asked for our addresses and foreign VRIDs are looked for.
const PROBE_EVERY: Duration = Duration::from_secs(5);

/// Runs the worker until it is told to stop.
pub(crate) fn run(options: &VrrpOptions) -> Result<(), Report> {
    start::run(options)
}

/// Everything the control thread owns.
struct Daemon {
    options: VrrpOptions,
    runtime_dir: PathBuf,
    host: String,
    plan: Plan,
    warnings: Vec<String>,
    /// What the host does not grant; no configuration changes that.
    shortcomings: Vec<String>,
    /// By slot.
    instances: Vec<Option<Instance>>,
    groups: Vec<api::GroupStatus>,
    links: Links,
    rivals: Rivals,
    statics: StaticsKept,
    monitor: Monitor,
    protocol: protocol::Handle,
    plumbing: plumbing::Plumbing,
    tracker: Tracker,
    reports: BTreeMap<Arc<str>, CheckReport>,
    notifier: Notifier,
    history: History,
    guard: Option<GuardLine>,
    started: Timestamp,
    config_read: Timestamp,
    realtime: api::Realtime,
    /// No role before this.
    hold_off_until: Option<Instant>,
    stopping: Option<Stopping>,
    /// When to remove what an earlier run left and nobody has taken up.
    sweep_at: Option<Instant>,
    restarts: u32,
    sightings: mpsc::Sender<Sighting>,
    transitions: BTreeMap<metrics::Transition, u64>,
    /// Answers to `drain` that wait for the role to be gone.
    drains: Vec<(Slot, oneshot::Sender<crate::control::Answer>)>,
}

/// A stop under way.
struct Stopping {
    since: Instant,
}

/// Where the loop hears from the other threads.
struct Inbox {
    protocol: mpsc::Receiver<protocol::Event>,
    plumbing: mpsc::Receiver<plumbing::Report>,
    checks: mpsc::Receiver<CheckReport>,
    asks: mpsc::Receiver<Ask>,
    scrapes: mpsc::Receiver<oneshot::Sender<String>>,
    sightings: mpsc::Receiver<Sighting>,
    signals: Signals,
}

impl Daemon {
    /// Until told to stop.
    async fn serve(&mut self, inbox: &mut Inbox) {
        let mut probe = tokio::time::interval(PROBE_EVERY);
        probe.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            if let Some(guard) = &mut self.guard {
                guard.catch_up();
            }
            let hold_off = self.hold_off_until;
            let sweep = self.sweep_at;
            let behind = self.guard.as_ref().is_some_and(GuardLine::is_behind);
            let reclaim = self
                .instances
                .iter()
                .flatten()
                .filter_map(|instance| instance.reclaim_at)
                .min();
            tokio::select! {
                biased;
                Some(event) = inbox.protocol.recv() => {
                    if matches!(event, protocol::Event::Stopped) {
                        return;
                    }
                    self.take_event(event);
                }
                message = hear_guard(self.guard.as_mut()) => self.take_order(message),
                order = inbox.signals.order() => {
                    if self.guard.is_none() {
                        self.take_order(Some(order));
                    }
                }
                changes = self.monitor.changes() => self.take_changes(changes),
                Some(report) = inbox.plumbing.recv() => self.take_plumbing(report),
                Some(report) = inbox.checks.recv() => self.take_check(report),
                Some(ask) = inbox.asks.recv() => self.answer(ask).await,
                Some(scrape) = inbox.scrapes.recv() => {
                    // A scraper that has hung up does not want it any more.
                    let _ = scrape.send(self.metrics().await);
                }
                Some(sighting) = inbox.sightings.recv() => self.take_sighting(&sighting),
                () = tokio::time::sleep(GUARD_PAUSE), if behind => {}
                () = until(reclaim) => self.reclaim(),
                () = until(sweep) => {
                    self.sweep_at = None;
                    self.plumbing.sweep();
                }
                () = until(hold_off) => {
                    self.hold_off_until = None;
                    self.reassess_all();
                }
                _ = probe.tick() => self.look_around(),
            }
        }
    }

    fn instance(&self, slot: Slot) -> Option<&Instance> {
        self.instances.get(usize::from(slot)).and_then(Option::as_ref)
    }

    fn instance_mut(&mut self, slot: Slot) -> Option<&mut Instance> {
        self.instances.get_mut(usize::from(slot)).and_then(Option::as_mut)
    }

    fn slot_of(&self, name: &str) -> Option<Slot> {
        self.instances
            .iter()
            .flatten()
            .find(|instance| instance.name() == name && !instance.leaving)
            .map(|it| it.slot)
    }

    /// From the guard, or its end.
    fn take_order(&mut self, message: Option<ToWorker>) {
        match message {
            Some(ToWorker::Reload) => {
                let outcome = self.reload();
                let ok = outcome.is_ok();
                if let Err(problem) = outcome {
                    tracing::error!("{problem}");
                }
                self.tell_guard(FromWorker::Reloaded { ok });
            }
            Some(ToWorker::Stop) => self.begin_stop("told to stop"),
            // Nothing is undone: the next worker goes on with what is there.
            Some(ToWorker::Detach) => std::process::exit(0),
            Some(ToWorker::Adopt(_) | ToWorker::Begin { .. }) => {}
            None => {
                self.guard = None;
                self.begin_stop("the guard is gone");
            }
        }
    }

    fn begin_stop(&mut self, why: &str) {
        if self.stopping.is_some() {
            return;
        }
        self.stopping = Some(Stopping {
            since: Instant::now(),
        });
        self.history
            .record(event(kind::DAEMON, None, format!("stopping: {why}")));
        self.protocol.send(protocol::Command::Shutdown {
            grace: HAND_OVER_GRACE,
        });
    }

    /// After the routers have left: addresses are gone, scripts are told, files removed.
    async fn finish(mut self, mut inbox: Inbox) {
        // Transitions that came before the end still have to be told.
        while let Ok(event) = inbox.protocol.try_recv() {
            self.take_event(event);
        }
        self.plumbing.stop();
        self.remove_statics();
        for instance in self.instances.iter().flatten() {
            self.notifier
                .notify(about(instance, NotifyState::Stop, instance.plan.priority));
        }
        for group in &self.groups {
            self.notifier.notify(about_group(&group.name, NotifyState::Stop));
        }
        // Its channel ends with the thread: what the routers have left is removed then.
        let plumbing = async {
            while let Some(report) = inbox.plumbing.recv().await {
                self.take_plumbing(report);
            }
        };
        if tokio::time::timeout(STOP_PLUMBING_LIMIT, plumbing).await.is_err() {
            tracing::warn!("addresses were not removed in time; they expire with their lease");
        }
        self.notifier.finish(STOP_NOTIFY_LIMIT).await;
        self.links.remove_virtual_macs();
        self.protocol.send(protocol::Command::Exit);
        let took_ms = self
            .stopping
            .map_or(0, |stopping| stopping.since.elapsed().as_millis());
        tracing::info!(took_ms, "stopped");
    }

    fn tell_guard(&mut self, message: FromWorker) {
        if let Some(guard) = &mut self.guard {
            guard.tell(message);
        }
    }

    /// From the protocol thread.
    fn take_event(&mut self, event: protocol::Event) {
        match event {
            protocol::Event::Transition {
                slot,
                from,
                to,
                cause,
                priority,
            } => {
                self.take_transition(slot, from, to, &cause, priority);
            }
            protocol::Event::Rejected {
                slot,
                reject,
                source,
                count,
            } => self.say(slot, |name| {
                let text = format!("refused an advertisement from {source}: {reject}");
                let fields = [
                    ("peer", source.to_string()),
                    ("reason", reject.reason().into()),
                    ("count", count.to_string()),
                ];
                with(history::event(kind::REJECTED, Some(name), text), fields)
            }),
            protocol::Event::AddressesDiffer { slot, peer } => self.say(slot, |name| {
                let text =
                    format!("{peer} advertises other addresses than this host has; make the lists the same");
                with(
                    history::event(kind::REJECTED, Some(name), text),
                    [("peer", peer.to_string())],
                )
            }),
            protocol::Event::RivalOwner { slot, peer } => self.say(slot, |name| {
                let text = format!(
                    "{peer} claims to own the addresses (priority 255) as this host does; only one may"
                );
                with(
                    history::event(kind::DUAL_ACTIVE, Some(name), text),
                    [("peer", peer.to_string())],
                )
            }),
            protocol::Event::LowerPriorityActive { slot, peer, priority } => {
                if let Some(instance) = self.instance(slot) {
                    let told = about(instance, NotifyState::LowerPriority, instance.plan.priority);
                    self.notifier.notify(told);
                }
                self.say(slot, |name| {
                    let text = format!(
                        "{peer} was active as well, with priority {priority}; asserted and announced again"
                    );
                    with(
                        history::event(kind::REJECTED, Some(name), text),
                        [("peer", peer.to_string())],
                    )
                });
            }
            protocol::Event::SendFailed { slot, error } => self.say(slot, |name| {
                let text = match &error {
                    Some(error) => format!("advertisements cannot be sent: {error}"),
                    None => "advertisements can be sent again".to_owned(),
                };
                history::event(kind::LINK, Some(name), text)
            }),
            protocol::Event::Removed { slot } => self.forget(slot),
            protocol::Event::Stopped => {}
        }
    }

    fn say(&mut self, slot: Slot, event: impl FnOnce(&str) -> api::Event) {
        if let Some(instance) = self.instance(slot) {
            let event = event(instance.name());
            self.history.record(event);
        }
    }

    fn take_transition(
        &mut self,
        slot: Slot,
        from: State,
        to: State,
        cause: &warren_vrrp::Cause,
        priority: u8,
    ) {
        let Some(instance) = self.instances.get_mut(usize::from(slot)).and_then(Option::as_mut) else {
            return;
        };
        let mut cause = words::cause(cause);
        if cause.code == api::cause::UNFIT {
            if instance.drained {
                cause.code = api::cause::DRAINED.to_owned();
            } else if let Some(failing) = instance.assessment.as_ref().filter(|it| !it.failing.is_empty()) {
                cause.text = format!("{} failed", failing.failing.join(", "));
            }
        }
        let text = format!(
            "became {} because {}",
            words::state(to).word(),
            api::cause_in_words(&cause)
        );
        let counted = metrics::Transition {
            router: instance.name().to_owned(),
            from: words::state(from),
            to: words::state(to),
            cause: cause.code.clone(),
        };
        *self.transitions.entry(counted).or_default() += 1;
        let starts = cause.code == api::cause::STARTED;
        let nobody_heard = cause.code == api::cause::ACTIVE_SILENT && cause.peer.is_none();
        instance.state = to;
        instance.since = words::timestamp();
        instance.cause = cause.clone();
        if to != State::Active {
            instance.dual_active = None;
        }
        let name = instance.name().to_owned();
        let told = about(instance, words::notified(to), priority);
        let leaving = instance.leaving;
        let event = history::transition(&name, words::state(from), words::state(to), cause, text);
        self.history
            .record(with(event, [("priority", priority.to_string())]));
        if self.stopping.is_none() && !leaving {
            self.notifier.notify(told);
            self.follow_group(slot);
            // While the first silence is awaited, and beside the claim: nobody waits for the answer.
            if to == State::Active || starts {
                self.look_for_rival(slot);
            }
            if to == State::Active {
                self.judge_holder_before(slot, nobody_heard);
            }
        }
        if to != State::Active {
            self.answer_drains(slot);
        }
        self.tell_guard(FromWorker::Status(self.summary()));
    }

    /// A sync group is in the state that all its members share; while they differ it keeps the last one.
    fn follow_group(&mut self, slot: Slot) {
        let Some(index) = self.instance(slot).and_then(|instance| instance.group) else {
            return;
        };
        let mut states = self
            .instances
            .iter()
            .flatten()
            .filter(|instance| instance.group == Some(index))
            .map(|instance| instance.state);
        let Some(first) = states.next() else { return };
        let united = states.all(|state| state == first);
        let Some(group) = self.groups.get_mut(index) else {
            return;
        };
        let shared = words::state(first);
        if united && group.state != shared {
            group.state = shared;
            group.since = words::timestamp();
            group.keepalived = words::notified(first).to_string();
            self.notifier
                .notify(about_group(&group.name, words::notified(first)));
        }
    }

    /// One line for the service manager.
    fn summary(&self) -> String {
        let count = |state| {
            self.instances
                .iter()
                .flatten()
                .filter(|instance| instance.state == state)
                .count()
        };
        format!(
            "{} active, {} backup, {} waiting",
            count(State::Active),
            count(State::Backup),
            count(State::Initialize)
        )
    }

    fn take_check(&mut self, report: CheckReport) {
        let verdict = if report.verdict == Verdict::Up {
            "well"
        } else {
            "failing"
        };
        let text = format!("{} is {verdict}: {}", report.name, report.detail);
        let fields = [
            ("check", report.name.to_string()),
            ("result", report.detail.clone()),
        ];
        self.history.record(with(event(kind::CHECK, None, text), fields));
        self.reports.insert(Arc::clone(&report.name), report);
        self.reassess_all();
    }

    /// Works out what every router is worth and tells the protocol thread what has changed.
    fn reassess_all(&mut self) {
        if self.hold_off_until.is_some() || self.stopping.is_some() {
            return;
        }
        let mut assessed: Vec<(Slot, Option<usize>, warren_vrrp::priority::Fitness)> = Vec::new();
        for instance in self
            .instances
            .iter_mut()
            .flatten()
            .filter(|instance| !instance.leaving)
        {
            let fitness = instance.assess(&self.reports);
            assessed.push((instance.slot, instance.group, fitness));
        }
        for index in 0..self.plan.groups.len() {
            let members: Vec<usize> = (0..assessed.len())
                .filter(|position| assessed[*position].1 == Some(index))
                .collect();
            let worth: Vec<group::Member> = members
                .iter()
                .filter_map(|position| {
                    Some(
                        self.instance(assessed[*position].0)?
                            .member(assessed[*position].2),
                    )
                })
                .collect();
            for (position, fitness) in members.into_iter().zip(group::fitness(&worth)) {
                assessed[position].2 = fitness;
            }
        }
        for (slot, _, fitness) in assessed {
            // Without a link the protocol thread does not know the router yet and would forget what it is told.
            let Some(instance) = self.instance_mut(slot).filter(|instance| instance.link.is_some()) else {
                continue;
            };
            let before = instance.fitness.replace(fitness);
            if before == Some(fitness) {
                continue;
            }
            let name = instance.name().to_owned();
            let sum = instance
                .assessment
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default();
            self.protocol.input(slot, Input::Fitness(fitness));
            if before.is_some_and(|before| before.priority != fitness.priority) {
                self.history
                    .record(event(kind::PRIORITY, Some(&name), format!("priority is {sum}")));
            }
        }
    }

    /// From the plumbing thread.
    fn take_plumbing(&mut self, report: plumbing::Report) {
        use plumbing::Report;
        let (router, refusals) = match report {
            Report::Claimed {
                router,
                elapsed,
                announced,
                refusals,
            } => {
                tracing::debug!(router, ?elapsed, ?announced, "claimed");
                (router, refusals)
            }
            Report::Released {
                router,
                elapsed,
                refusals,
            } => {
                tracing::debug!(router, ?elapsed, "released");
                (router, refusals)
            }
            Report::Repaired { router, refusals, .. } | Report::Changed { router, refusals } => {
                (router, refusals)
            }
            Report::Troubled { router, refusal } => (router, vec![refusal]),
            Report::Expired { router, late } => return self.take_expiry(router, late),
            Report::LeaseChanged { factor } => {
                let text = format!("renewing leases costs too much: all leases are {factor} times as long");
                let text = if factor == 1 {
                    "leases are as configured again".into()
                } else {
                    text
                };
                return self.history.record(event(kind::DAEMON, None, text));
            }
            Report::Swept {
                addresses,
                routes_and_rules,
            } => {
                if addresses + routes_and_rules > 0 {
                    let text = format!(
                        "removed {addresses} addresses and {routes_and_rules} routes and rules that an earlier run had left"
                    );
                    self.history.record(event(kind::DAEMON, None, text));
                }
                return;
            }
            Report::Unrecorded { error } => {
                let text =
                    format!("addresses not written down ({error}): after a crash they go with their lease");
                return self.history.record(event(kind::DAEMON, None, text));
            }
            Report::Scheduling { error } => {
                tracing::debug!(error, "plumbing without real-time scheduling");
                return;
            }
        };
        let Ok(slot) = Slot::try_from(router) else { return };
        for plumbing::Refusal { what, errno } in refusals {
            self.say(slot, |name| {
                let text = format!("{what} refused by the kernel: {}", errno.desc());
                event(kind::REPAIR, Some(name), text)
            });
        }
    }

    /// The process was stopped for longer than the lease. Whether the role is still ours shows within an interval: the
    /// protocol thread listens first.
    fn take_expiry(&mut self, router: usize, late: Duration) {
        let Ok(slot) = Slot::try_from(router) else { return };
        let Some(instance) = self.instance_mut(slot) else {
            return;
        };
        let listening = instance.plan.settings.interval * 2 + Duration::from_millis(10);
        instance.reclaim_at = Some(Instant::now() + listening);
        let text =
            format!("was stopped for so long that its addresses expired ({late:?} late); listening first");
        self.say(slot, |name| event(kind::LATE, Some(name), text));
    }

    fn reclaim(&mut self) {
        let now = Instant::now();
        for instance in self.instances.iter_mut().flatten() {
            if instance.reclaim_at.is_some_and(|at| at <= now) {
                instance.reclaim_at = None;
                if instance.state == State::Active {
                    self.plumbing.claim(usize::from(instance.slot));
                }
            }
        }
    }

    /// Every few seconds: who else is there?
    fn look_around(&mut self) {
        self.look_for_foreign();
        // What was refused - a socket, a virtual MAC - may be granted by now, and no notification tells of that.
        if self.stopping.is_none() && self.instances.iter().flatten().any(|it| it.link.is_none()) {
            self.attach_all();
        }
        let active: Vec<Slot> = self
            .instances
            .iter()
            .flatten()
            .filter(|instance| instance.state == State::Active)
            .map(|instance| instance.slot)
            .collect();
        for slot in active {
            self.look_for_rival(slot);
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

async fn hear_guard(guard: Option<&mut GuardLine>) -> Option<ToWorker> {
    match guard {
        Some(guard) => guard.hear().await,
        None => std::future::pending().await,
    }
}

fn about(instance: &Instance, state: NotifyState, priority: u8) -> Notification {
    Notification {
        scope: Scope::Instance,
        name: Arc::clone(&instance.plan.name),
        state,
        priority,
    }
}

fn about_group(name: &str, state: NotifyState) -> Notification {
    // keepalived gives a group the priority 0.
    Notification {
        scope: Scope::Group,
        name: Arc::from(name),
        state,
        priority: 0,
    }
}
