//! Is a server to be used, and how much: results of checks and agents, the operator's word, errors in traffic, slow
//! start.
//!
//! ```text
//!   maint    ◀──── operator, agent, tracked server, name without address      no check is run in maint
//!   running  ──── `fall` failures in a row ──▶ stopped      at the start one failure is enough
//!   stopped  ──── `rise` successes in a row ──▶ running     then slow start
//!   stopping ◀──── operator                                 serves whom it knows, takes nobody new
//! ```
//!
//! As in HAProxy, what a server does ([`Operation`]) is remembered and not worked out from the counts: an operator's
//! `set server b/s health up` holds until a check says otherwise. Why it is out of service ([`Reasons`]) is kept
//! apart, so that one reason ending does not end another.
//!
//! What has to be done follows from the difference between the state before and after ([`Effect`]). Absent on
//! purpose: how a check is made, when exactly, and who counts errors in traffic.

mod paused;
mod reasons;
mod score;
mod spread;
mod status;

use std::num::{NonZeroU8, NonZeroU32};
use std::time::Duration;

pub use paused::{Paused, Saved};
pub use reasons::{By, Reasons};
pub use score::Score;
pub use spread::{first_check, spread};

use crate::algorithm::Server;
use crate::time::Instant;
use crate::types::{ServerId, Share, Weight};

/// What the configuration says about a server.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Unique within the backend.
    pub id: ServerId,
    /// Only used when no active server is.
    pub backup: bool,
    /// The configured weight.
    pub weight: Weight,
    /// Connections it may have at once.
    pub maxconn: Option<NonZeroU32>,
    /// `None`: not checked, and so up until somebody says otherwise.
    pub check: Option<Check>,
    /// It has an agent, of which one word is enough.
    pub agent: bool,
    /// How long it takes to full weight after coming up; zero: at once.
    pub slowstart: Duration,
    /// What follows when `error-limit` errors in a row were seen in traffic.
    pub on_error: ErrorAction,
    /// `on-marked-down shutdown-sessions`.
    pub shutdown_sessions: bool,
    /// `on-marked-up shutdown-backup-sessions`.
    pub shutdown_backup_sessions: bool,
}

/// How often it is checked and how results count (HAProxy manual, server keywords of these names).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// Successes in a row that bring it up.
    pub rise: NonZeroU8,
    /// Failures in a row that take it down.
    pub fall: NonZeroU8,
    /// Between two checks.
    pub inter: Duration,
    /// The same while it is on its way up or down, or not yet checked.
    pub fastinter: Option<Duration>,
    /// The same while it is down.
    pub downinter: Option<Duration>,
}

impl Default for Check {
    /// HAProxy's: 2 up, 3 down, every 2 seconds.
    fn default() -> Self {
        Self {
            rise: NonZeroU8::MIN.saturating_add(1),
            fall: NonZeroU8::MIN.saturating_add(2),
            inter: Duration::from_secs(2),
            fastinter: None,
            downinter: None,
        }
    }
}

/// What follows when errors in traffic have reached their limit (HAProxy manual, `on-error`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorAction {
    /// Check soon.
    FastInter,
    /// Counts as a failed check. HAProxy's default.
    #[default]
    FailCheck,
    /// One more failed check and it is down.
    SuddenDeath,
    /// Down at once.
    MarkDown,
}

/// The operator's or agent's word, as in `set server b/s state`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Admin {
    /// Normal.
    #[default]
    Ready,
    /// No new connection by balancing; checks go on.
    Drain,
    /// No connection, no check.
    Maint,
}

/// What an agent answered. What it left out stays as it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AgentReport {
    /// `up`; or `down`, `fail`, `stopped`.
    pub up: Option<bool>,
    /// Percent of the configured weight.
    pub percent: Option<u32>,
    /// `maxconn:30`.
    pub maxconn: Option<u32>,
    /// `ready`, `drain`, `maint`.
    pub admin: Option<Admin>,
}

/// What can happen to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A check succeeded (`true`) or failed.
    Check(bool),
    /// Its agent answered. An agent that cannot be reached says nothing.
    Agent(AgentReport),
    /// `error-limit` errors in a row were seen in its traffic.
    ErrorLimit,
    /// `set server b/s state`.
    Admin(Admin),
    /// `set server b/s health`.
    Health(Operation),
    /// `set server b/s agent up` (`true`) or `down`.
    AgentHealth(bool),
    /// `enable health` (`true`) or `disable health`.
    Checked(bool),
    /// `enable agent` (`true`) or `disable agent`.
    AgentAsked(bool),
    /// `set server b/s weight 10`. Of this and the agent's percentage the later holds.
    Weight(Weight),
    /// `set server b/s weight 50%`.
    Percent(u32),
    /// `set maxconn server b/s`; 0 is no limit.
    Maxconn(u32),
    /// Its name has an address (`true`), or none any more.
    Resolved(bool),
    /// The server that it tracks is now like this.
    Tracked(Tracked),
}

/// What a server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Nothing: it failed its checks, somebody said so, or it is in maintenance.
    Stopped,
    /// Takes connections.
    Running,
    /// Serves whom it knows and takes nobody new (`NOLB`).
    Stopping,
}

/// What a server is, all things considered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Takes connections.
    Up,
    /// Well, but takes no new ones by balancing, because somebody said so (`DRAIN`).
    Drain,
    /// Says itself that it takes no new ones (`NOLB`).
    Stopping,
    /// Failed its checks, or its agent says so.
    Down,
    /// Taken out by the operator, the agent or the server it tracks, or nobody knows its address.
    Maint,
}

/// What those that track a server go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracked {
    /// What it does.
    pub operation: Operation,
    /// It is in maintenance.
    pub maint: bool,
    /// It is draining.
    pub drain: bool,
    /// How its checks stand, for the statistics.
    pub check: Option<Score>,
    /// How its agent stands.
    pub agent: Option<Score>,
}

/// What has to be done because of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The result moved the count of checks (`true`: upwards): to be logged with `option log-health-checks`, and a
    /// failure to be counted.
    Scored(bool),
    /// To be logged and counted.
    Changed {
        /// What it was.
        from: State,
        /// What it is.
        to: State,
    },
    /// End the sessions on this server.
    ShutdownSessions,
    /// End the sessions on all backup servers of the backend.
    ShutdownBackupSessions,
    /// Connections that wait for this server go to others.
    Redistribute,
    /// The next check is due after [`Health::next_check`] from now, if it was to come later.
    CheckSoon,
}

/// One server's health.
#[derive(Clone, Debug)]
pub struct Health {
    settings: Settings,
    operation: Operation,
    check: Option<Score>,
    agent: Option<Score>,
    reasons: Reasons,
    tracked: Option<Tracked>,
    /// Weight without slow start.
    base: Share,
    maxconn: Option<NonZeroU32>,
    /// When slow start began.
    started: Option<Instant>,
}

impl Health {
    /// Up until the first check says otherwise, and at full weight: slow start is for servers that had failed.
    /// `admin` is what the configuration says (`disabled`).
    #[must_use]
    pub fn new(settings: Settings, admin: Admin) -> Self {
        let mut health = Self {
            operation: Operation::Running,
            check: settings.check.map(Score::of_check),
            agent: settings.agent.then_some(Score::of_agent()),
            reasons: Reasons::default(),
            tracked: None,
            base: Share::full(settings.weight),
            maxconn: settings.maxconn,
            started: None,
            settings,
        };
        health.reasons.say(admin, By::Configuration);
        if health.reasons.maint() {
            health.operation = Operation::Stopped;
        }
        health
    }

    /// Takes in what happened; what has to be done follows, in order.
    pub fn handle(&mut self, now: Instant, input: &Input) -> Vec<Effect> {
        let before = self.state();
        let mut effects = self.take(input);
        self.enter(now, before, &mut effects);
        effects
    }

    fn take(&mut self, input: &Input) -> Vec<Effect> {
        match *input {
            Input::Check(passed) => return self.checked(passed),
            Input::Agent(report) => return self.reported(&report),
            Input::ErrorLimit => return self.erred(),
            Input::Admin(admin) => return self.because(|reasons| reasons.say(admin, By::Operator)),
            Input::Health(operation) => {
                if let Some(check) = &mut self.check {
                    check.set(operation != Operation::Stopped);
                }
                self.operate(operation);
            }
            Input::AgentHealth(up) => {
                if let Some(agent) = &mut self.agent {
                    agent.set(up);
                    self.operate(if up {
                        Operation::Running
                    } else {
                        Operation::Stopped
                    });
                }
            }
            Input::Checked(on) => {
                let mut known = self.check.or_else(|| self.settings.check.map(Score::of_check));
                if let (Operation::Stopped, None, Some(score)) = (self.operation, self.check, &mut known) {
                    score.set(false);
                }
                self.check = known.filter(|_| on);
                return vec![Effect::CheckSoon];
            }
            Input::AgentAsked(on) => {
                let known = self.agent.or_else(|| self.settings.agent.then(Score::of_agent));
                self.agent = known.filter(|_| on);
            }
            Input::Weight(weight) => self.base = Share::full(weight),
            Input::Percent(percent) => self.weigh(percent),
            Input::Maxconn(limit) => self.maxconn = NonZeroU32::new(limit),
            Input::Resolved(resolved) => return self.because(|reasons| reasons.unresolved = !resolved),
            Input::Tracked(tracked) => {
                self.tracked = Some(tracked);
                let effects = self.because(|reasons| {
                    reasons.inherited_maint = tracked.maint;
                    reasons.inherited_drain = tracked.drain;
                });
                self.operate(tracked.operation);
                return effects;
            }
        }
        Vec::new()
    }

    fn checked(&mut self, passed: bool) -> Vec<Effect> {
        let Some(check) = self.check.as_mut().filter(|_| !self.reasons.maint()) else {
            return Vec::new();
        };
        let moved = check.count(passed);
        if check.health == 0 {
            self.operate(Operation::Stopped);
        } else if passed && self.passes() {
            self.operate(Operation::Running);
        }
        moved.then_some(Effect::Scored(passed)).into_iter().collect()
    }

    /// HAProxy manual, `agent-check`: administrative state first, then weight and limit, then health. `ready` ends
    /// whatever maintenance and drain there is, also the operator's.
    fn reported(&mut self, report: &AgentReport) -> Vec<Effect> {
        if self.agent.is_none() {
            return Vec::new();
        }
        let mut effects = match report.admin {
            Some(admin) => self.because(|reasons| reasons.say(admin, By::Agent)),
            None => Vec::new(),
        };
        if let Some(percent) = report.percent {
            self.weigh(percent);
        }
        if let Some(limit) = report.maxconn {
            self.maxconn = NonZeroU32::new(limit);
        }
        let (Some(up), Some(agent)) = (report.up, &mut self.agent) else {
            return effects;
        };
        if agent.count(up) {
            effects.push(Effect::Scored(up));
        }
        if !up {
            self.operate(Operation::Stopped);
        } else if self.passes() && self.operation == Operation::Stopped {
            self.operate(Operation::Running);
        }
        effects
    }

    fn erred(&mut self) -> Vec<Effect> {
        let Some(check) = self.check.as_mut().filter(|_| !self.reasons.maint()) else {
            return Vec::new();
        };
        match self.settings.on_error {
            ErrorAction::FastInter => return vec![Effect::CheckSoon],
            ErrorAction::FailCheck => {}
            ErrorAction::SuddenDeath => check.health = check.health.min(check.rise + 1),
            ErrorAction::MarkDown => check.health = check.health.min(check.rise),
        }
        let mut effects = self.checked(false);
        effects.push(Effect::CheckSoon);
        effects
    }

    fn weigh(&mut self, percent: u32) {
        const HUNDRED: NonZeroU32 = NonZeroU32::MIN.saturating_add(99);
        self.base = Share::full(self.settings.weight).scaled(u64::from(percent), HUNDRED);
    }

    /// In maintenance it stays stopped whatever is said.
    fn operate(&mut self, operation: Operation) {
        if !self.reasons.maint() {
            self.operation = operation;
        }
    }

    /// A change of reasons, and what entering or leaving maintenance brings. Nothing is known of a server that
    /// leaves it: up, until the first check says otherwise, unless its agent or the server it tracks is against it.
    fn because(&mut self, change: impl FnOnce(&mut Reasons)) -> Vec<Effect> {
        let before = self.reasons.maint();
        change(&mut self.reasons);
        match (before, self.reasons.maint()) {
            (false, true) => self.operation = Operation::Stopped,
            (true, false) => {
                if let Some(check) = &mut self.check {
                    check.health = check.rise;
                }
                self.operation = match self.tracked {
                    Some(tracked) => tracked.operation,
                    None if self.passes() => Operation::Running,
                    None => Operation::Stopped,
                };
                return vec![Effect::CheckSoon];
            }
            (true, true) | (false, false) => {}
        }
        Vec::new()
    }

    fn enter(&mut self, now: Instant, before: State, effects: &mut Vec<Effect>) {
        let after = self.state();
        if before == after {
            return;
        }
        let works = |state| matches!(state, State::Up | State::Drain | State::Stopping);
        effects.push(Effect::Changed {
            from: before,
            to: after,
        });
        if !works(after) {
            self.started = None;
        } else if !works(before) {
            self.started = Some(now);
        }
        if works(before) && !works(after) && self.settings.shutdown_sessions {
            effects.push(Effect::ShutdownSessions);
        }
        if before == State::Up {
            effects.push(Effect::Redistribute);
        }
        let replaces_backups = !self.settings.backup && self.base != Share::ZERO;
        if after == State::Up && replaces_backups && self.settings.shutdown_backup_sessions {
            effects.push(Effect::ShutdownBackupSessions);
        }
    }

    fn passes(&self) -> bool {
        self.check.is_none_or(Score::passes) && self.agent.is_none_or(Score::passes)
    }

    /// Another line of the configuration: what the operator said and what the server does stays. `anew` forgets what
    /// checks found and what a tracked server was, because they now ask something else, or somebody else.
    pub fn reconfigure(&mut self, settings: Settings, admin: Admin, anew: bool) {
        let mut fresh = Self::new(settings, admin);
        let configured = |health: &Self| health.reasons.maint_by == Some(By::Configuration);
        if !configured(self) && !configured(&fresh) {
            fresh.reasons = self.reasons;
        }
        if anew {
            fresh.reasons.inherited_maint = false;
            fresh.reasons.inherited_drain = false;
        } else {
            fresh.tracked = self.tracked;
        }
        if self.base != Share::full(self.settings.weight) && fresh.settings.weight == self.settings.weight {
            fresh.base = self.base;
        }
        if self.maxconn != self.settings.maxconn && fresh.settings.maxconn == self.settings.maxconn {
            fresh.maxconn = self.maxconn;
        }
        if !anew {
            fresh.operation = self.operation;
            fresh.started = self.started;
            if let (Some(new), Some(old)) = (&mut fresh.check, self.check) {
                new.adopt(old);
            }
            if let (Some(new), Some(old)) = (&mut fresh.agent, self.agent) {
                new.adopt(old);
            }
        }
        if fresh.reasons.maint() {
            fresh.operation = Operation::Stopped;
        } else if self.reasons.maint() {
            fresh.operation = Operation::Running;
        }
        *self = fresh;
    }

    /// What it is now.
    #[must_use]
    pub const fn state(&self) -> State {
        match self.operation {
            _ if self.reasons.maint() => State::Maint,
            Operation::Stopped => State::Down,
            Operation::Stopping => State::Stopping,
            Operation::Running if self.reasons.drain() => State::Drain,
            Operation::Running => State::Up,
        }
    }

    /// What it does.
    #[must_use]
    pub const fn operation(&self) -> Operation {
        self.operation
    }

    /// Why it is in maintenance or draining.
    #[must_use]
    pub const fn reasons(&self) -> Reasons {
        self.reasons
    }

    /// The count of its checks, 0 to rise + fall - 1; well from rise on. 0 if it is not checked.
    #[must_use]
    pub const fn score(&self) -> u16 {
        match self.check {
            Some(score) => score.health,
            None => 0,
        }
    }

    /// How its checks stand; `None`: it is not checked.
    #[must_use]
    pub const fn check(&self) -> Option<Score> {
        self.check
    }

    /// How its agent stands; `None`: it has none, or it is not asked.
    #[must_use]
    pub const fn agent(&self) -> Option<Score> {
        self.agent
    }

    /// Connections it may have at once, without slow start.
    #[must_use]
    pub const fn maxconn(&self) -> Option<NonZeroU32> {
        self.maxconn
    }

    /// Its weight without slow start, as `set server b/s weight` and agents left it, 0 to 256.
    #[must_use]
    pub const fn weight(&self) -> u32 {
        self.base.get().div_ceil(Share::SCALE)
    }

    /// Weight without slow start.
    #[must_use]
    pub const fn base(&self) -> Share {
        self.base
    }

    /// Percent of slow start that is done, 1 to 99; `None` if it is over, or there is none.
    #[must_use]
    pub fn throttle(&self, now: Instant) -> Option<u8> {
        let (done, whole) = self.progress(now);
        let percent = (done.saturating_mul(100) / u64::from(whole.get())).max(1);
        u8::try_from(percent).ok().filter(|percent| *percent < 100)
    }

    /// What those that track it go by.
    #[must_use]
    pub fn tracked(&self) -> Tracked {
        let of_tracked = |own: Option<Score>, of: fn(&Tracked) -> Option<Score>| match &self.tracked {
            Some(tracked) => of(tracked),
            None => own,
        };
        Tracked {
            operation: self.operation,
            maint: self.reasons.maint(),
            drain: self.reasons.drain(),
            check: of_tracked(self.check, |tracked| tracked.check),
            agent: of_tracked(self.agent, |tracked| tracked.agent),
        }
    }

    /// As the balancer should see it at `now`.
    #[must_use]
    pub fn server(&self, now: Instant) -> Server {
        let (done, whole) = self.progress(now);
        // HAProxy manual, `slowstart`: weight and maxconn grow linearly, maxconn from 1.
        let maxconn = self.maxconn.map(|limit| {
            let part = u64::from(limit.get()).saturating_mul(done) / u64::from(whole.get());
            NonZeroU32::new(u32::try_from(part).unwrap_or(u32::MAX)).unwrap_or(NonZeroU32::MIN)
        });
        Server {
            id: self.settings.id,
            backup: self.settings.backup,
            usable: self.state() == State::Up,
            weight: self.settings.weight,
            share: self.base.scaled(done, whole),
            maxconn,
        }
    }

    /// Time from a check's result to the next check; `None` while none is to be made.
    #[must_use]
    pub fn next_check(&self) -> Option<Duration> {
        let check = self.settings.check.filter(|_| !self.reasons.maint())?;
        let score = self.check?;
        let pause = if score.health == score.best() {
            None
        } else if score.health == 0 && self.operation == Operation::Stopped {
            check.downinter
        } else {
            check.fastinter
        };
        Some(pause.unwrap_or(check.inter))
    }

    /// When the balancer should be told again though nothing happened: in slow start, twenty times, but not more
    /// often than every second.
    #[must_use]
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let end = self.started? + self.settings.slowstart;
        let step = (self.settings.slowstart / 20).max(Duration::from_secs(1));
        (now < end).then(|| end.min(now + step))
    }

    /// How much of slow start is done: a part and the whole, never nothing.
    fn progress(&self, now: Instant) -> (u64, NonZeroU32) {
        let whole = u32::try_from(self.settings.slowstart.as_millis()).unwrap_or(u32::MAX);
        match (self.started, NonZeroU32::new(whole)) {
            (Some(started), Some(whole)) => {
                let done = now.millis_since(started).clamp(1, u64::from(whole.get()));
                (done, whole)
            }
            (None, _) | (_, None) => (1, NonZeroU32::MIN),
        }
    }
}

#[cfg(test)]
mod tests;
