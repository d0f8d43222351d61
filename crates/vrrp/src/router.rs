//! One virtual router: the state machine of RFC 9568 section 6 (and RFC 3768 section 6 for version 2).
//!
//! ```text
//!                link ready and fit                      active-down timer
//!   Initialize ──────────────────────▶ Backup ─────────────────────────────────▶ Active
//!       ▲  │                            │  ▲      better advert, group steps down   │ │
//!       │  └── owner or adopted: ───────┼──┼────────────────────────────────────▶   │ │
//!       │      straight to Active       │  └────────────────────────────────────────┘ │
//!       └──── link lost, unfit, ────────┴─────────────────────────────────────────────┘
//!             surrendered, shut down
//! ```
//!
//! An Active router is in one of three phases: it advertises; it *hands over* (it announced priority 0 and keeps
//! the addresses until another active is heard, so that nobody is without them); or it *listens* (it was away for
//! longer than it can explain and lets the others speak first).
//!
//! What a change of state means for the outside is derived in one place, `Router::enter`, from the old and the
//! new state alone. `router/backup.rs` and `router/active.rs` only decide which state is next.
//!
//! Deliberately absent: ARP and ND duties, accept mode and MAC addresses (the shell's), counters of rejected packets
//! (they never get here), version 2 and 3 side by side (RFC 9568 section 8.4).

use std::net::IpAddr;
use std::time::Duration;

use crate::priority::Fitness;
use crate::time::Instant;
use crate::types::{Priority, Version};

mod active;
mod backup;
mod effect;
mod input;
mod outbox;
mod peers;
#[cfg(test)]
mod tests;
mod timing;

use active::{Active, Course, Goal, Leaving};
use backup::Backup;
pub use effect::{AnnounceReason, Cause, Effect, State};
pub use input::{Failback, Input, Settings};
use outbox::{OUTBOX_MAX, Outbox};
use peers::Peers;
pub use peers::{PEERS_MAX, Peer};

/// The longest interval that version 3 can express.
const SLOWEST: Duration = Duration::from_millis(40_950);

/// What an Active router is about; `Steady` for the other states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Nothing special.
    Steady,
    /// Announced priority 0, keeps the addresses until another active is heard.
    HandingOver,
    /// Was away, lets the others speak first.
    Listening,
}

/// What keeps a router in Initialize.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WaitingFor {
    /// `Input::LinkReady`.
    Link,
    /// The first `Input::Fitness`.
    Checks,
    /// A `Fitness` that is fit.
    Fitness,
    /// The operator: see `Input::Surrender`.
    Resume,
    /// Nothing: it is shut down.
    Nothing,
}

/// One virtual router.
#[derive(Debug)]
pub struct Router {
    settings: Settings,
    role: Role,
    /// Latest time seen; the clock never runs backwards in here.
    clock: Instant,
    source: Option<IpAddr>,
    fitness: Option<Fitness>,
    /// Until a `Fitness` that is not fit: see `Input::Surrender`.
    surrendered: bool,
    /// Go to Active when Initialize is left before this: the role was ours a moment ago.
    adopting: Option<(Legacy, Instant)>,
    stopping: bool,
    /// Active_Adver_Interval.
    learned: Duration,
    /// The best router heard as active of late.
    active: Option<Peer>,
    peers: Peers,
    /// Last advertisement heard that counted.
    heard: Option<Instant>,
    /// Last advertisement asked of the shell, sent or not.
    asked: Option<Instant>,
    /// Last advertisement that left.
    sent: Option<Instant>,
    stalls: u64,
    outbox: Outbox,
}

#[derive(Clone, Copy, Debug)]
enum Role {
    Initialize,
    Backup(Backup),
    Active(Active),
}

/// What an earlier process left us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Legacy {
    /// The role, without a pause.
    Role,
    /// The addresses, after a pause that may have been too long.
    Addresses,
}

impl Router {
    /// A router in Initialize.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            learned: settings.interval,
            settings,
            role: Role::Initialize,
            clock: Instant::ZERO,
            source: None,
            fitness: None,
            surrendered: false,
            adopting: None,
            stopping: false,
            active: None,
            peers: Peers::default(),
            heard: None,
            asked: None,
            sent: None,
            stalls: 0,
            outbox: Outbox::default(),
        }
    }

    /// Takes an input in.
    pub fn handle(&mut self, now: Instant, input: &Input) {
        let now = now.max(self.clock);
        self.clock = now;
        match input {
            Input::LinkReady { source } => self.link_ready(now, *source),
            Input::LinkLost => self.link_lost(now),
            Input::Advert {
                source,
                priority,
                interval,
            } => {
                self.hear(
                    now,
                    Peer {
                        address: *source,
                        priority: *priority,
                        interval: *interval,
                        heard: now,
                    },
                );
            }
            Input::Deadline => self.wake(now),
            Input::Sent { ok } => self.sent(now, *ok),
            Input::Fitness(fitness) => self.change_fitness(now, *fitness),
            Input::Adopt => self.adopt(now, Legacy::Role),
            Input::Orphaned => self.adopt(now, Legacy::Addresses),
            Input::GroupTakeOver => self.group_take_over(now),
            Input::GroupStepDown => self.group_step_down(now),
            Input::Surrender => self.give_in(now),
            Input::Shutdown { grace } => self.shut_down(now, *grace),
            Input::Settings(settings) => self.change_settings(now, settings),
        }
        self.check_invariants();
    }

    /// The next effect, in order.
    pub fn poll(&mut self) -> Option<Effect> {
        self.outbox.pop()
    }

    /// When to call `handle(now, Input::Deadline)` at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match &self.role {
            Role::Initialize => None,
            Role::Backup(backup) => Some(backup.down_due),
            Role::Active(active) => Some(active.deadline()),
        }
    }

    /// Current state.
    #[must_use]
    pub fn state(&self) -> State {
        match self.role {
            Role::Initialize => State::Initialize,
            Role::Backup(_) => State::Backup,
            Role::Active(_) => State::Active,
        }
    }

    /// What an Active router is about.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match &self.role {
            Role::Initialize | Role::Backup(_) => Phase::Steady,
            Role::Active(active) => active.phase(),
        }
    }

    /// Settings in force.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Shut down and done: nothing more will come out than what `poll` still holds.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.stopping && self.state() == State::Initialize
    }

    /// What keeps the router in Initialize; `None` in the other states.
    #[must_use]
    pub fn waiting_for(&self) -> Option<WaitingFor> {
        if self.state() != State::Initialize {
            return None;
        }
        Some(
            match (self.stopping, self.source, self.fitness, self.surrendered) {
                (true, _, _, _) => WaitingFor::Nothing,
                (false, None, _, _) => WaitingFor::Link,
                (false, Some(_), None, _) => WaitingFor::Checks,
                (false, Some(_), Some(_), true) => WaitingFor::Resume,
                (false, Some(_), Some(_), false) => WaitingFor::Fitness,
            },
        )
    }

    /// The router believed to be active, while we are Backup.
    #[must_use]
    pub fn active(&self) -> Option<&Peer> {
        self.active.as_ref()
    }

    /// Routers heard as active of late, at most [`PEERS_MAX`], in no order.
    #[must_use]
    pub fn peers(&self) -> &[Peer] {
        self.peers.as_slice()
    }

    /// When an advertisement that counted was last heard.
    #[must_use]
    pub fn last_heard(&self) -> Option<Instant> {
        self.heard
    }

    /// When an advertisement of ours last left the host.
    #[must_use]
    pub fn last_sent(&self) -> Option<Instant> {
        self.sent
    }

    /// Effective priority; `None` before the first `Input::Fitness`.
    #[must_use]
    pub fn priority(&self) -> Option<Priority> {
        self.fitness.map(|fitness| fitness.priority)
    }

    /// Our address on the link.
    #[must_use]
    pub fn source(&self) -> Option<IpAddr> {
        self.source
    }

    /// Active_Adver_Interval: learned from the active router in version 3, our own otherwise.
    #[must_use]
    pub fn learned_interval(&self) -> Duration {
        self.learned
    }

    /// Skew_Time.
    #[must_use]
    pub fn skew(&self) -> Duration {
        timing::skew(self.settings.version, self.ours(), self.learned)
    }

    /// Active_Down_Interval.
    #[must_use]
    pub fn active_down(&self) -> Duration {
        self.active_down_of(self.learned)
    }

    /// Active_Down_Interval under an active router that advertises every `interval`.
    fn active_down_of(&self, interval: Duration) -> Duration {
        let interval = match self.settings.version {
            Version::V2 => self.settings.interval,
            Version::V3 => interval,
        };
        let skew = timing::skew(self.settings.version, self.ours(), interval);
        timing::active_down(self.settings.dead_after, interval, skew)
    }

    /// While `Failback::After` holds us back: since when a lower-priority active router has been heard.
    #[must_use]
    pub fn lower_active_since(&self) -> Option<Instant> {
        match &self.role {
            Role::Backup(backup) => backup.lower_since,
            Role::Initialize | Role::Active(_) => None,
        }
    }

    /// Backup that does not preempt because its sync group stepped down.
    #[must_use]
    pub fn held_back(&self) -> bool {
        match &self.role {
            Role::Backup(backup) => backup.hold,
            Role::Initialize | Role::Active(_) => false,
        }
    }

    /// How often a deadline came so late that we took ourselves for having been away.
    #[must_use]
    pub fn stalls(&self) -> u64 {
        self.stalls
    }

    /// Effective priority, as far as it is known.
    fn ours(&self) -> Priority {
        self.fitness.map_or(Priority(1), |fitness| fitness.priority)
    }

    fn is_fit(&self) -> bool {
        self.fitness.is_some_and(|fitness| fitness.fit) && !self.surrendered && !self.stopping
    }

    fn link_ready(&mut self, now: Instant, source: IpAddr) {
        self.source = Some(source);
        self.start(now);
    }

    /// Leaves Initialize when nothing keeps us there.
    fn start(&mut self, now: Instant) {
        if self.state() != State::Initialize || self.source.is_none() || !self.is_fit() {
            return;
        }
        let legacy = self
            .adopting
            .take()
            .filter(|(_, until)| now < *until)
            .map(|(legacy, _)| legacy);
        if legacy == Some(Legacy::Role) {
            self.enter(now, State::Active, Cause::Adopted);
        } else if self.ours() == Priority::OWNER {
            // RFC 9568 §6.4.1: the address owner MUST go to Active at once. [9568-6.4.1-1]
            self.enter(now, State::Active, Cause::Owner);
        } else {
            // RFC 9568 §6.4.1: any other router MUST start as Backup with a full down timer. [9568-6.4.1-2]
            self.enter(now, State::Backup, Cause::Started);
            if legacy == Some(Legacy::Addresses) {
                let listening = self.settings.interval.min(self.active_down());
                self.role = Role::Backup(Backup::new(now, now + listening));
            }
        }
    }

    fn link_lost(&mut self, now: Instant) {
        self.source = None;
        self.adopting = None;
        if self.state() != State::Initialize {
            self.enter(now, State::Initialize, Cause::LinkLost);
        }
    }

    fn hear(&mut self, now: Instant, peer: Peer) {
        // Our own packet, looped back or forged: it touches nothing.
        if Some(peer.address) == self.source {
            return;
        }
        // The codec refuses an interval of zero; here it would make every timer fire at once.
        let interval = if peer.interval.is_zero() {
            self.settings.interval
        } else {
            peer.interval
        };
        let peer = Peer { interval, ..peer };
        if peer.priority != Priority::RESIGN {
            self.peers.note(peer);
        }
        match self.role {
            Role::Initialize => {}
            Role::Backup(backup) => self.backup_hears(now, backup, peer),
            Role::Active(active) => self.active_hears(now, active, peer),
        }
    }

    fn wake(&mut self, now: Instant) {
        if self.deadline().is_none_or(|due| now < due) {
            return;
        }
        match self.role {
            Role::Initialize => {}
            Role::Backup(backup) => self.backup_wakes(now, backup),
            Role::Active(active) => self.active_wakes(now, active),
        }
    }

    fn sent(&mut self, now: Instant, ok: bool) {
        if ok {
            self.sent = Some(now);
        }
        if let Role::Active(active) = self.role {
            self.active_sent(now, active, ok);
        }
    }

    fn change_fitness(&mut self, now: Instant, fitness: Fitness) {
        let fitness = Fitness {
            priority: fitness.priority.max(Priority(1)),
            ..fitness
        };
        let (skew, before) = (self.skew(), self.ours());
        self.fitness = Some(fitness);
        self.surrendered &= fitness.fit;
        match self.role {
            Role::Initialize => self.start(now),
            Role::Backup(backup) if self.is_fit() => self.backup_worth(now, backup, skew, before),
            Role::Backup(_) => self.enter(now, State::Initialize, Cause::Unfit),
            Role::Active(active) if self.is_fit() => self.active_worth(now, active, before),
            Role::Active(active) => self.leave(now, active, self.leaving(), self.hand_over_time()),
        }
    }

    /// Why a router that is not fit to stay leaves.
    fn leaving(&self) -> Leaving {
        match (self.stopping, self.surrendered) {
            (true, _) => Leaving::Shutdown,
            (false, true) => Leaving::Surrendered,
            (false, false) => Leaving::Unfit,
        }
    }

    fn adopt(&mut self, now: Instant, legacy: Legacy) {
        if self.state() == State::Initialize {
            // Later than this the others have taken over.
            self.adopting = Some((legacy, now + self.active_down()));
            self.start(now);
        }
    }

    fn group_take_over(&mut self, now: Instant) {
        match self.role {
            Role::Initialize => {}
            Role::Backup(_) => self.enter(now, State::Active, Cause::Group),
            Role::Active(active) => self.stay_for_group(now, active),
        }
    }

    fn group_step_down(&mut self, now: Instant) {
        match self.role {
            Role::Initialize => {}
            Role::Backup(_) => self.hold_back(now),
            Role::Active(active) => self.yield_to_group(now, active),
        }
    }

    fn give_in(&mut self, now: Instant) {
        self.surrendered = self.fitness.is_none_or(|fitness| fitness.fit);
        match self.role {
            Role::Initialize => {}
            Role::Backup(_) => self.enter(now, State::Initialize, Cause::Surrendered),
            Role::Active(active) => self.leave(now, active, self.leaving(), self.hand_over_time()),
        }
    }

    fn shut_down(&mut self, now: Instant, grace: Duration) {
        self.stopping = true;
        match self.role {
            Role::Initialize => {}
            // RFC 9568 §6.4.2: a Backup that shuts down MUST cancel its timer and go to Initialize. [9568-6.4.2-1]
            Role::Backup(_) => self.enter(now, State::Initialize, Cause::Shutdown),
            Role::Active(_) if grace.is_zero() => self.enter(now, State::Initialize, Cause::Shutdown),
            Role::Active(active) => self.leave(now, active, Leaving::Shutdown, grace),
        }
    }

    /// VRID and family are the router's identity and stay; everything else is taken over without a change of state.
    fn change_settings(&mut self, now: Instant, settings: &Settings) {
        let (vrid, family) = (self.settings.vrid, self.settings.family);
        let new = Settings {
            vrid,
            family,
            ..settings.clone()
        };
        let old = std::mem::replace(&mut self.settings, new);
        let timing = |of: &Settings| (of.interval, of.version, of.dead_after);
        if timing(&old) == timing(&self.settings) {
            return;
        }
        let learned_from_peer = self.settings.version == Version::V3 && self.active.is_some();
        match self.role {
            Role::Initialize => self.learned = self.settings.interval,
            Role::Backup(mut backup) => {
                if !learned_from_peer {
                    self.learned = self.settings.interval;
                }
                // Once per reload: a full wait cannot be wrong, and cannot starve anybody.
                backup.down_due = now + self.active_down();
                self.role = Role::Backup(backup);
            }
            Role::Active(active) => {
                self.learned = self.settings.interval;
                self.active_retimed(now, active);
            }
        }
    }

    /// The one place where a change of state becomes effects.
    fn enter(&mut self, now: Instant, to: State, cause: Cause) {
        let from = self.state();
        let resign = self.owes_resignation();
        match (from, to) {
            (State::Initialize, State::Initialize)
            | (State::Backup, State::Backup)
            | (State::Active, State::Active) => return,
            (State::Initialize | State::Backup, State::Active) => {
                // RFC 9568 §6.4.1, §6.4.2: who becomes Active MUST send an advertisement, tell the neighbours and
                // arm the advertisement timer. [9568-6.4.1-3] [9568-6.4.2-2]
                self.active = None;
                self.learned = self.settings.interval;
                self.role = Role::Active(Active::new(now));
                self.advertise(now);
                self.outbox.push(Effect::Claim);
                self.outbox.push(Effect::Announce {
                    reason: AnnounceReason::Claimed,
                });
            }
            (State::Active, State::Backup) => {
                self.role = Role::Backup(Backup::new(now, now + self.active_down()));
                self.outbox.push(Effect::Release);
            }
            (State::Initialize, State::Backup) => {
                self.learned = self.settings.interval;
                self.role = Role::Backup(Backup::new(now, now + self.active_down()));
            }
            (State::Active, State::Initialize) => {
                self.active = None;
                self.role = Role::Initialize;
                if resign {
                    // RFC 9568 §6.4.3: an Active that shuts down MUST send priority 0 first. [9568-6.4.3-1]
                    self.outbox.push(Effect::SendAdvert {
                        priority: Priority::RESIGN,
                    });
                }
                self.outbox.push(Effect::Release);
            }
            (State::Backup, State::Initialize) => {
                self.active = None;
                self.role = Role::Initialize;
            }
        }
        self.outbox.push(Effect::Transition { from, to, cause });
    }

    /// Whether leaving now would leave the others to find out by silence, and there is a link to tell them over.
    fn owes_resignation(&self) -> bool {
        match &self.role {
            Role::Initialize | Role::Backup(_) => false,
            Role::Active(active) => self.source.is_some() && !active.has_resigned(),
        }
    }

    /// Version 3 takes the active router's interval for its own timers; in version 2 both are equal or the packet
    /// was refused.
    fn learn(&mut self, interval: Duration) {
        // RFC 9568 §6.4.2, §6.4.3: a Backup MUST take Active_Adver_Interval from the advertisement and recompute
        // Skew_Time and Active_Down_Interval. [9568-6.4.2-3] [9568-6.4.3-2]
        self.learned = match self.settings.version {
            Version::V2 => self.settings.interval,
            Version::V3 => interval,
        };
    }

    /// What must hold between any two inputs.
    fn check_invariants(&self) {
        debug_assert!(
            self.outbox.len() <= OUTBOX_MAX,
            "outbox holds {} effects",
            self.outbox.len()
        );
        debug_assert!(
            self.peers().len() <= PEERS_MAX,
            "{} peers remembered",
            self.peers().len()
        );
        match &self.role {
            Role::Initialize => debug_assert!(self.active.is_none(), "active router known in Initialize"),
            Role::Backup(backup) => {
                debug_assert!(
                    self.source.is_some() && self.is_fit(),
                    "Backup while waiting: {self:?}"
                );
                debug_assert!(
                    backup.down_due <= self.clock + self.active_down_of(self.learned.max(SLOWEST)),
                    "down timer beyond the longest wait: {self:?}"
                );
            }
            Role::Active(active) => {
                debug_assert!(self.source.is_some(), "Active without a link: {self:?}");
                debug_assert!(
                    self.is_fit()
                        || matches!(
                            active.course,
                            Course::HandingOver {
                                goal: Goal::Leave(_),
                                ..
                            }
                        ),
                    "unfit and not leaving: {self:?}"
                );
                debug_assert!(
                    active.due <= self.clock + self.settings.interval,
                    "advertisement timer beyond one interval: {self:?}"
                );
            }
        }
    }
}
