//! What is logged of servers, in HAProxy 2.6's words.

use std::fmt::Write as _;

use warren_balance::health::{Operation, State};
use warren_balance::{Health, Instant, Share};

use crate::live::{Backend, CheckResult, Server};
use crate::plan::Level;
use crate::stats::result_in_words;

/// Why a server changed.
#[derive(Clone, Copy, Debug)]
pub enum Cause<'a> {
    /// A check found this.
    Check(&'a CheckResult),
    /// The agent said this.
    Agent(&'a CheckResult),
    /// Too many errors in traffic.
    Traffic(&'a CheckResult),
    /// `set server b/s health`, `set server b/s agent`.
    Operator,
    /// The server that it tracks changed.
    Tracked,
    /// The line needs no reason.
    Silent,
}

/// What is compared: a server before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) state: State,
    operation: Operation,
    reasons: warren_balance::health::Reasons,
}

impl Moment {
    pub(super) const fn of(health: &Health) -> Self {
        Self {
            state: health.state(),
            operation: health.operation(),
            reasons: health.reasons(),
        }
    }

    /// It takes nobody new already.
    const fn idle(&self) -> bool {
        matches!(self.operation, Operation::Stopping) || self.reasons.drain()
    }
}

/// What the lines about one change have in common.
pub(super) struct Scene<'a> {
    name: String,
    backup: bool,
    via: Option<String>,
    cause: Cause<'a>,
    /// Results have lines of their own.
    log_checks: bool,
    active: usize,
    backups: usize,
    sessions: u32,
    requeued: u32,
    queued: u32,
    weightless: bool,
    health: Option<(u16, u16, bool)>,
    agent: Option<(u16, u16, bool)>,
}

impl<'a> Scene<'a> {
    pub(super) fn new(
        backend: &Backend,
        server: &Server,
        requeued: u32,
        now: Instant,
        log_checks: bool,
        cause: Cause<'a>,
    ) -> Self {
        let (mut active, mut backups) = (0, 0);
        for server in backend.servers().iter() {
            let view = server.operational.lock().health.server(now);
            if view.eligible() && server.target.load().is_some() {
                *(if view.backup { &mut backups } else { &mut active }) += 1;
            }
        }
        let plan = server.plan();
        let operational = server.operational.lock();
        let part = |score: warren_balance::health::Score| {
            let (part, whole) = score.part();
            (part, whole, score.passes())
        };
        Self {
            name: format!("{}/{}", backend.name, server.name),
            backup: plan.backup,
            via: plan
                .track
                .as_ref()
                .map(|(backend, server)| format!("{backend}/{server}")),
            cause,
            log_checks,
            active,
            backups,
            sessions: server.sessions.now(),
            requeued,
            queued: server.queued.now(),
            weightless: operational.health.base() == Share::ZERO,
            health: operational.health.check().map(part),
            agent: operational.health.agent().map(part),
        }
    }

    /// `Health check for server b/s failed, reason: …` (`option log-health-checks`).
    pub(super) fn check(&self, result: &CheckResult) -> String {
        let agent = matches!(self.cause, Cause::Agent(_));
        let mut text = format!(
            "{} check for {}server {} {}",
            if agent { "Agent" } else { "Health" },
            if self.backup { "backup " } else { "" },
            self.name,
            if result.passed { "succeeded" } else { "failed" },
        );
        append(&mut text, result);
        if let Some((part, whole, up)) = if agent { self.agent } else { self.health } {
            let word = match (up, self.weightless) {
                (true, false) => "UP",
                (true, true) => "DRAIN",
                (false, _) => "DOWN",
            };
            let _ = write!(text, ", status: {part}/{whole} {word}");
        }
        text + "."
    }

    /// Every line that the change deserves, with its level.
    pub(super) fn lines(&self, before: Moment, after: Moment) -> Vec<(Level, String)> {
        let mut lines = match (before.reasons.maint(), after.reasons.maint()) {
            (false, true) => vec![self.enters_maintenance(before, after)],
            (true, false) => self.leaves_maintenance(before, after),
            (true, true) => self.still_in_maintenance(before, after).into_iter().collect(),
            (false, false) => self.works_otherwise(before, after),
        };
        let worked = !before.reasons.maint() && !after.reasons.maint();
        let forced = after.reasons.drain_by.is_some() && before.reasons.drain_by.is_some();
        if worked && forced && before.operation != after.operation {
            lines.push((Level::Notice, self.server("remains in forced drain mode")));
        }
        lines
    }

    fn enters_maintenance(&self, before: Moment, after: Moment) -> (Level, String) {
        let unresolved = if after.reasons.unresolved {
            " (No IP for server)"
        } else {
            ""
        };
        if before.operation == Operation::Stopped {
            let text = self.server(&format!(
                "was DOWN and now enters maintenance{unresolved}{}",
                self.via()
            ));
            return (Level::Notice, text);
        }
        let level = if before.idle() {
            Level::Notice
        } else {
            Level::Alert
        };
        let text = format!("is going DOWN for maintenance{unresolved}{}", self.via());
        (level, self.server(&(text + &self.left())))
    }

    fn leaves_maintenance(&self, before: Moment, after: Moment) -> Vec<(Level, String)> {
        let how = if before.reasons.maint_by.is_some() {
            "leaving forced maintenance"
        } else if before.reasons.unresolved {
            "resolves again"
        } else {
            "leaving maintenance"
        };
        let up = if after.operation == Operation::Stopped {
            "DOWN"
        } else {
            "UP"
        };
        let ready = if after.reasons.drain() { "DRAIN" } else { "READY" };
        let mut lines = vec![(Level::Notice, self.server(&format!("is {up}/{ready} ({how})")))];
        if after.reasons.drain_by.is_some() {
            lines.push((Level::Notice, self.server("remains in forced drain mode")));
        } else if after.reasons.inherited_drain {
            lines.push(self.drains_via());
        }
        lines
    }

    fn still_in_maintenance(&self, before: Moment, after: Moment) -> Option<(Level, String)> {
        let forced = [before, after].map(|moment| moment.reasons.maint_by.is_some());
        let text = match forced {
            [true, false] => format!(
                "is leaving forced maintenance but remains in maintenance{}",
                self.via()
            ),
            [true, true] if before.reasons.inherited_maint && !after.reasons.inherited_maint => {
                "remains in forced maintenance".to_owned()
            }
            _ => return None,
        };
        Some((Level::Notice, self.server(&text)))
    }

    fn works_otherwise(&self, before: Moment, after: Moment) -> Vec<(Level, String)> {
        let mut lines = Vec::new();
        if before.operation != after.operation {
            let reason = self.via() + &self.reason();
            lines.push(match after.operation {
                Operation::Stopped => {
                    let level = if before.idle() {
                        Level::Notice
                    } else {
                        Level::Alert
                    };
                    (level, self.server(&format!("is DOWN{reason}{}", self.left())))
                }
                Operation::Running => {
                    let text = format!("is UP{reason}{}", self.online());
                    (Level::Notice, self.server(&text))
                }
                Operation::Stopping => {
                    let text = format!("is stopping{reason}{}", self.online());
                    (Level::Notice, self.server(&text))
                }
            });
        }
        let forced = [before, after].map(|moment| moment.reasons.drain_by.is_some());
        match (before.reasons.drain(), after.reasons.drain()) {
            (false, true) => {
                let counts = if after.operation == Operation::Stopped {
                    self.left()
                } else {
                    self.online()
                };
                let text = format!("enters drain state{}{counts}", self.via());
                lines.push((Level::Notice, self.server(&text)));
            }
            (true, false) => {
                let up = if after.operation == Operation::Stopped {
                    "DOWN"
                } else {
                    "UP"
                };
                lines.push((
                    Level::Notice,
                    self.server(&format!("is {up} (leaving forced drain)")),
                ));
            }
            (true, true) if forced == [true, false] => {
                lines.push(self.drains_via());
            }
            (true, true) | (false, false) => {}
        }
        lines
    }

    fn drains_via(&self) -> (Level, String) {
        let via = self
            .via
            .as_ref()
            .map(|via| format!(" via {via}"))
            .unwrap_or_default();
        let text = format!("is leaving forced drain but remains in drain mode{via}");
        (Level::Notice, self.server(&text))
    }

    fn server(&self, what: &str) -> String {
        let backup = if self.backup { "Backup " } else { "" };
        format!("{backup}Server {} {what}.", self.name)
    }

    fn via(&self) -> String {
        match (&self.via, self.cause) {
            (Some(via), Cause::Tracked) => format!(" via {via}"),
            _ => String::new(),
        }
    }

    fn reason(&self) -> String {
        let mut text = String::new();
        match self.cause {
            Cause::Check(result) | Cause::Agent(result) if !self.log_checks => append(&mut text, result),
            Cause::Traffic(result) => append(&mut text, result),
            Cause::Operator => text.push_str(", changed from CLI"),
            Cause::Check(_) | Cause::Agent(_) | Cause::Tracked | Cause::Silent => {}
        }
        text
    }

    fn on_backup(&self) -> &'static str {
        if self.active == 0 && self.backups > 0 {
            " Running on backup."
        } else {
            ""
        }
    }

    fn left(&self) -> String {
        format!(
            ". {} active and {} backup servers left.{} {} sessions active, {} requeued, {} remaining in queue",
            self.active,
            self.backups,
            self.on_backup(),
            self.sessions,
            self.requeued,
            self.queued
        )
    }

    fn online(&self) -> String {
        format!(
            ". {} active and {} backup servers online.{} {} sessions requeued, {} total in queue",
            self.active,
            self.backups,
            self.on_backup(),
            self.requeued,
            self.queued
        )
    }
}

/// A code is only said of answers that had one to give.
fn append(text: &mut String, result: &CheckResult) {
    let _ = write!(text, ", reason: {}", result_in_words(result.status));
    if matches!(result.status, "L7OK" | "L7OKC" | "L7STS") {
        let _ = write!(text, ", code: {}", result.code.unwrap_or(0));
    }
    if !result.detail.is_empty() {
        let clean: String = result
            .detail
            .chars()
            .map(|letter| if letter.is_control() { ' ' } else { letter })
            .collect();
        let _ = write!(text, ", info: \"{}\"", clean.replace('"', "\\\""));
    }
    if result.status != "HANA" {
        let _ = write!(text, ", check duration: {}ms", result.duration.as_millis());
    }
}
