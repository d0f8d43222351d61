//! Is a server to be used, and how much: results of checks and agents, the operator's word, slow start.
//!
//! ```text
//!   maint ◀──── operator or agent ────▶ up, drain          no check is run in maint
//!   up    ──── `fall` failures in a row ──▶ down            at the start one failure is enough
//!   down  ──── `rise` successes in a row ──▶ up             then slow start
//! ```
//!
//! What has to be done follows from the difference between the state before and after ([`Effect`]). Absent on
//! purpose: how a check is made, and results seen in traffic (`observe`).

use std::num::{NonZeroU8, NonZeroU32};
use std::time::Duration;

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
    /// `None`: not checked, and so always up.
    pub check: Option<Check>,
    /// How long it takes to full weight after coming up; zero: at once.
    pub slowstart: Duration,
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

/// The operator's word, as in `set server b/s state`.
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
    /// `up`; or `down`, `failed`, `stopped`.
    pub up: Option<bool>,
    /// Percent of the configured weight.
    pub percent: Option<u8>,
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
    /// `set server b/s state`.
    Admin(Admin),
    /// `set server b/s weight`. Of this and the agent's percentage the later holds.
    Weight(Weight),
}

/// What a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Takes connections.
    Up,
    /// Well, but takes no new ones by balancing.
    Drain,
    /// Failed its checks, or its agent says so.
    Down,
    /// Taken out by the operator or the agent.
    Maint,
}

/// What has to be done because of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
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
}

/// One server's health.
#[derive(Clone, Debug)]
pub struct Health {
    settings: Settings,
    /// 0 to rise + fall - 1; up from `rise` on.
    score: u16,
    checked: bool,
    agent_up: bool,
    admin: Admin,
    /// Weight without slow start.
    base: Share,
    /// When slow start began.
    started: Option<Instant>,
}

impl Health {
    /// Up until the first check says otherwise, and at full weight: slow start is for servers that had failed.
    #[must_use]
    pub fn new(settings: Settings, admin: Admin) -> Self {
        Self {
            score: settings.check.map_or(0, |check| u16::from(check.rise.get())),
            checked: false,
            agent_up: true,
            admin,
            base: Share::full(settings.weight),
            started: None,
            settings,
        }
    }

    /// Takes in what happened; what has to be done follows, in order.
    pub fn handle(&mut self, now: Instant, input: &Input) -> Vec<Effect> {
        let before = self.state();
        match input {
            Input::Check(ok) => self.count(*ok),
            Input::Agent(report) => {
                self.agent_up = report.up.unwrap_or(self.agent_up);
                if let Some(percent) = report.percent {
                    self.base = Share::full(self.settings.weight).percent(percent);
                }
                if let Some(admin) = report.admin {
                    self.administer(admin);
                }
            }
            Input::Admin(admin) => self.administer(*admin),
            Input::Weight(weight) => self.base = Share::full(*weight),
        }
        self.enter(now, before)
    }

    /// What it is now.
    #[must_use]
    pub const fn state(&self) -> State {
        match self.admin {
            Admin::Maint => State::Maint,
            Admin::Ready | Admin::Drain if !self.agent_up || !self.passes() => State::Down,
            Admin::Drain => State::Drain,
            Admin::Ready => State::Up,
        }
    }

    /// As the balancer should see it at `now`.
    #[must_use]
    pub fn server(&self, now: Instant) -> Server {
        let (done, whole) = self.progress(now);
        // HAProxy manual, `slowstart`: weight and maxconn grow linearly, maxconn from 1.
        let maxconn = self.settings.maxconn.map(|limit| {
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
        let check = self.settings.check.filter(|_| self.admin != Admin::Maint)?;
        let pause = if !self.checked || (self.score != 0 && self.score != check.best()) {
            check.fastinter
        } else if self.score == 0 {
            check.downinter
        } else {
            None
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

    /// The status as in the statistics: `UP`, `UP 1/3`, `DOWN 1/2`, `DRAIN`, `MAINT`, `no check`.
    #[must_use]
    pub fn status(&self) -> String {
        let word = match (self.state(), self.base == Share::ZERO) {
            (State::Maint, _) => return "MAINT".to_owned(),
            (State::Down, _) if !self.agent_up => return "DOWN (agent)".to_owned(),
            (State::Down, _) => "DOWN",
            (State::Drain, _) | (State::Up, true) => "DRAIN",
            (State::Up, false) => "UP",
        };
        let Some(check) = self.settings.check else {
            return if word == "UP" {
                "no check".to_owned()
            } else {
                word.to_owned()
            };
        };
        let rise = u16::from(check.rise.get());
        match self.score {
            0 => word.to_owned(),
            score if score == check.best() => word.to_owned(),
            score if score < rise => format!("{word} {score}/{rise}"),
            score => format!("{word} {}/{}", score + 1 - rise, check.fall),
        }
    }

    /// Results in a row, 0 to rise + fall - 1; well from rise on. 0 if it is not checked.
    #[must_use]
    pub const fn score(&self) -> u16 {
        self.score
    }

    /// The operator's word.
    #[must_use]
    pub const fn admin(&self) -> Admin {
        self.admin
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

    const fn passes(&self) -> bool {
        match self.settings.check {
            Some(check) => self.score >= check.rise.get() as u16,
            None => true,
        }
    }

    /// A failure on the way up, or a success on the way down, starts the count again.
    fn count(&mut self, ok: bool) {
        let Some(check) = self.settings.check.filter(|_| self.admin != Admin::Maint) else {
            return;
        };
        let rise = u16::from(check.rise.get());
        self.checked = true;
        self.score = match ok {
            true if self.score + 1 >= rise => check.best(),
            true => self.score + 1,
            false if self.score > rise => self.score - 1,
            false => 0,
        };
    }

    fn administer(&mut self, admin: Admin) {
        if self.admin == Admin::Maint && admin != Admin::Maint {
            // Nothing is known of it: up, until the first check says otherwise.
            self.score = self.settings.check.map_or(0, |check| u16::from(check.rise.get()));
            self.checked = false;
        }
        self.admin = admin;
    }

    fn enter(&mut self, now: Instant, before: State) -> Vec<Effect> {
        let after = self.state();
        if before == after {
            return Vec::new();
        }
        let running = |state| matches!(state, State::Up | State::Drain);
        let mut effects = vec![Effect::Changed {
            from: before,
            to: after,
        }];
        if running(after) && !running(before) {
            self.started = Some(now);
        } else if !running(after) {
            self.started = None;
        }
        if running(before) && !running(after) && self.settings.shutdown_sessions {
            effects.push(Effect::ShutdownSessions);
        }
        if before == State::Up {
            effects.push(Effect::Redistribute);
        }
        let replaces_backups = !self.settings.backup && self.base != Share::ZERO;
        if after == State::Up && replaces_backups && self.settings.shutdown_backup_sessions {
            effects.push(Effect::ShutdownBackupSessions);
        }
        effects
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

impl Check {
    fn best(&self) -> u16 {
        u16::from(self.rise.get()) + u16::from(self.fall.get()) - 1
    }
}

#[cfg(test)]
mod tests;
