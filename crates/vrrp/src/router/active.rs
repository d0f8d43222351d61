//! Active: holding the addresses (section 6.4.3).
//!
//! The advertisement timer has a fixed cadence and exactly two things move it later: an advertisement that left,
//! and giving the role up. Everything else can only pull it nearer.

use std::net::IpAddr;
use std::time::Duration;

use super::{AnnounceReason, Cause, Effect, Peer, Phase, Role, Router, State, timing};
use crate::time::Instant;
use crate::types::Priority;

#[derive(Clone, Copy, Debug)]
pub(super) struct Active {
    pub(super) course: Course,
    /// When the next advertisement is due on the cadence.
    pub(super) due: Instant,
    /// When to try: `due`, or later after an attempt that failed or was never answered.
    attempt: Instant,
    /// An advertisement was asked for and its fate is not known yet.
    awaiting: bool,
    /// Listened after a late wake-up and has not woken in time since.
    listened: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    Advertising,
    Listening {
        until: Instant,
    },
    HandingOver {
        goal: Goal,
        until: Instant,
        /// Priority 0 left the host.
        resigned: bool,
    },
}

/// What a hand-over leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// Initialize, as soon as any other active is heard, or in the end without.
    Leave(Leaving),
    /// Backup if a better active is heard; otherwise stay. `from` is what we were worth before.
    Demote { from: Priority },
    /// Backup, as soon as any other active is heard, or in the end without.
    Yield,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    Unfit,
    Surrendered,
    Shutdown,
}

impl Leaving {
    fn cause(self) -> Cause {
        match self {
            Self::Unfit => Cause::Unfit,
            Self::Surrendered => Cause::Surrendered,
            Self::Shutdown => Cause::Shutdown,
        }
    }
}

impl Active {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            course: Course::Advertising,
            due: now,
            attempt: now,
            awaiting: false,
            listened: false,
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        match self.course {
            Course::Advertising => self.attempt,
            Course::Listening { until }
            | Course::HandingOver {
                until,
                resigned: true,
                ..
            } => until,
            Course::HandingOver {
                until,
                resigned: false,
                ..
            } => self.attempt.min(until),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        match self.course {
            Course::Advertising => Phase::Steady,
            Course::Listening { .. } => Phase::Listening,
            Course::HandingOver { .. } => Phase::HandingOver,
        }
    }

    pub(super) fn has_resigned(&self) -> bool {
        match self.course {
            Course::Advertising | Course::Listening { .. } => false,
            Course::HandingOver { resigned, .. } => resigned,
        }
    }
}

impl Router {
    /// Asks for an advertisement now. Until its fate is known a retry is scheduled, so that a lost answer cannot
    /// silence us.
    pub(super) fn advertise(&mut self, now: Instant) {
        let Role::Active(active) = &mut self.role else {
            return;
        };
        active.awaiting = true;
        active.due = active.due.min(now);
        active.attempt = now + retry(self.settings.interval);
        let resigning = matches!(active.course, Course::HandingOver { .. });
        self.asked = Some(now);
        let priority = if resigning { Priority::RESIGN } else { self.ours() };
        self.outbox.push(Effect::SendAdvert { priority });
    }

    /// Only an advertisement that left re-arms the timer: the next one is due one interval after this one was,
    /// however late it left. Missed ones are not made up for.
    pub(super) fn active_sent(&mut self, now: Instant, mut active: Active, ok: bool) {
        if !active.awaiting {
            return;
        }
        active.awaiting = false;
        if ok {
            // RFC 9568 §6.4.3: after sending, the timer MUST be set to Advertisement_Interval. [9568-6.4.3-3]
            let next = active.due + self.settings.interval;
            active.due = if next > now {
                next
            } else {
                now + self.settings.interval
            };
            active.attempt = active.due;
        } else {
            active.attempt = now + retry(self.settings.interval);
        }
        if let Course::HandingOver { resigned, .. } = &mut active.course {
            *resigned |= ok;
        }
        self.role = Role::Active(active);
    }

    pub(super) fn active_hears(&mut self, now: Instant, active: Active, peer: Peer) {
        if peer.priority == Priority::RESIGN {
            // RFC 9568 §6.4.3: priority 0 MUST be answered with an advertisement. [9568-6.4.3-4]
            if active.phase() != Phase::HandingOver {
                self.assert_role(now, active);
            }
            return;
        }
        let better = peer.beats(self.ours(), self.source);
        match (active.course, better) {
            (
                Course::HandingOver {
                    goal: Goal::Leave(_), ..
                },
                true | false,
            ) => {
                self.hand_over(
                    now,
                    active,
                    State::Initialize,
                    Cause::HandedOver { peer: peer.address },
                );
            }
            (
                Course::HandingOver {
                    goal: Goal::Yield, ..
                },
                true | false,
            ) => {
                self.hand_over(
                    now,
                    active,
                    State::Backup,
                    Cause::HandedOver { peer: peer.address },
                );
                self.follow(now, peer);
                self.hold_back(now);
            }
            (
                Course::Advertising
                | Course::Listening { .. }
                | Course::HandingOver {
                    goal: Goal::Demote { .. },
                    ..
                },
                true,
            ) => {
                // RFC 9568 §6.4.3: a higher priority, or the same from a higher address, MUST turn us into a
                // Backup with a full down timer. [9568-6.4.3-5]
                let cause = Cause::Outranked {
                    peer: peer.address,
                    theirs: peer.priority,
                    ours: self.ours(),
                };
                self.enter(now, State::Backup, cause);
                self.follow(now, peer);
            }
            (
                Course::HandingOver {
                    goal: Goal::Demote { .. },
                    ..
                },
                false,
            ) => {
                self.stay(now, active);
                self.outbox.push(Effect::Announce {
                    reason: AnnounceReason::LowerPriorityActive,
                });
            }
            // RFC 9568 §6.4.3: a lower advertisement MUST be discarded and answered at once. [9568-6.4.3-6]
            (Course::Advertising | Course::Listening { .. }, false) => self.assert_role(now, active),
        }
    }

    /// A successor speaks: there is nobody left to resign to.
    fn hand_over(&mut self, now: Instant, mut active: Active, to: State, cause: Cause) {
        if let Course::HandingOver { resigned, .. } = &mut active.course {
            *resigned = true;
        }
        self.role = Role::Active(active);
        self.enter(now, to, cause);
    }

    /// Having just become Backup because of `peer`: wait for it.
    fn follow(&mut self, now: Instant, peer: Peer) {
        self.learn(peer.interval);
        self.heard = Some(now);
        self.active = Some(peer);
        let down_due = now + self.active_down();
        if let Role::Backup(backup) = &mut self.role {
            backup.down_due = down_due;
        }
    }

    /// Tells a router that should not be active that we are, at once; but never sooner than a quarter of an interval
    /// after the last advertisement, or every packet of a stranger would draw one of ours.
    fn assert_role(&mut self, now: Instant, mut active: Active) {
        self.outbox.push(Effect::Announce {
            reason: AnnounceReason::LowerPriorityActive,
        });
        active.course = Course::Advertising;
        let at = self
            .asked
            .map_or(now, |asked| (asked + self.settings.interval / 4).max(now));
        if active.awaiting {
            self.role = Role::Active(active);
        } else if at <= now {
            self.role = Role::Active(active);
            self.advertise(now);
        } else {
            active.due = active.due.min(at);
            active.attempt = active.attempt.min(at);
            self.role = Role::Active(active);
        }
    }

    pub(super) fn active_wakes(&mut self, now: Instant, mut active: Active) {
        let late = now.since(active.deadline()) > self.settings.interval;
        match active.course {
            Course::HandingOver {
                goal: Goal::Leave(leaving),
                until,
                ..
            } if now >= until => {
                self.enter(now, State::Initialize, leaving.cause());
            }
            Course::HandingOver {
                goal: Goal::Yield,
                until,
                ..
            } if now >= until => {
                self.enter(now, State::Backup, Cause::Group);
                self.hold_back(now);
            }
            Course::HandingOver {
                goal: Goal::Demote { .. },
                until,
                ..
            } if now >= until && !late => {
                self.stay(now, active);
            }
            Course::HandingOver {
                goal: Goal::Leave(_) | Goal::Yield,
                ..
            } => self.advertise(now),
            Course::HandingOver {
                goal: Goal::Demote { .. },
                ..
            } if !late => self.advertise(now),
            Course::Advertising
            | Course::HandingOver {
                goal: Goal::Demote { .. },
                ..
            } if late && !active.listened => {
                self.listen(now, active);
            }
            Course::Advertising
            | Course::Listening { .. }
            | Course::HandingOver {
                goal: Goal::Demote { .. },
                ..
            } => {
                // RFC 9568 §6.4.3: when the advertisement timer fires an advertisement MUST be sent. [9568-6.4.3-7]
                active.listened &= late || matches!(active.course, Course::Listening { .. });
                self.stay(now, active);
            }
        }
    }

    /// A wake-up more than one interval late means that we were away and others may hold the role by now: they speak
    /// first, for one interval. Not twice in a row, or an overloaded host would never advertise again; waking in
    /// time once makes us believe the clock again.
    fn listen(&mut self, now: Instant, mut active: Active) {
        self.stalls += 1;
        let until = now + self.settings.interval;
        active.course = Course::Listening { until };
        (active.due, active.attempt) = (until, until);
        active.awaiting = false;
        active.listened = true;
        self.role = Role::Active(active);
    }

    /// Goes (on) advertising, at once.
    pub(super) fn stay(&mut self, now: Instant, mut active: Active) {
        active.course = Course::Advertising;
        self.role = Role::Active(active);
        self.advertise(now);
    }

    /// Still fit, but perhaps worth more or less than `before`.
    pub(super) fn active_worth(&mut self, now: Instant, active: Active, before: Priority) {
        let ours = self.ours();
        match active.course {
            // Fit again in time, or not worth less after all.
            Course::HandingOver {
                goal: Goal::Leave(_), ..
            } => self.stay(now, active),
            Course::HandingOver {
                goal: Goal::Demote { from },
                ..
            } => {
                if ours >= from || !self.successor_likely() {
                    self.stay(now, active);
                }
            }
            // The group's decision and the silence stand whatever we are worth.
            Course::HandingOver {
                goal: Goal::Yield, ..
            }
            | Course::Listening { .. } => {}
            Course::Advertising if ours == before => {}
            Course::Advertising if ours < before && self.successor_likely() => {
                let until = now + self.hand_over_time();
                self.resign(now, active, Goal::Demote { from: before }, until);
            }
            Course::Advertising => self.stay(now, active),
        }
    }

    /// Whether some other router is, or may be, worth more than we are now. Backups are silent, so knowing none
    /// means knowing nothing.
    fn successor_likely(&self) -> bool {
        let (ours, source): (Priority, Option<IpAddr>) = (self.ours(), self.source);
        self.peers().is_empty() || self.peers().iter().any(|peer| peer.beats(ours, source))
    }

    /// On the way to Initialize: in `time` at the latest.
    pub(super) fn leave(&mut self, now: Instant, mut active: Active, leaving: Leaving, time: Duration) {
        let by = now + time;
        match &mut active.course {
            Course::HandingOver { goal, until, .. } => {
                // Priority 0 is out already, or being tried; a shutdown may still shorten the wait.
                *until = by.min(*until);
                *goal = Goal::Leave(leaving);
                self.role = Role::Active(active);
            }
            Course::Advertising | Course::Listening { .. } => {
                self.resign(now, active, Goal::Leave(leaving), by);
            }
        }
    }

    pub(super) fn yield_to_group(&mut self, now: Instant, active: Active) {
        let until = now + self.hand_over_time();
        match active.course {
            Course::HandingOver {
                goal: Goal::Leave(_) | Goal::Yield,
                ..
            } => {}
            Course::HandingOver {
                goal: Goal::Demote { .. },
                until,
                resigned,
            } => {
                let course = Course::HandingOver {
                    goal: Goal::Yield,
                    until,
                    resigned,
                };
                self.role = Role::Active(Active { course, ..active });
            }
            Course::Advertising | Course::Listening { .. } => self.resign(now, active, Goal::Yield, until),
        }
    }

    /// The group wants the role after all; leaving for good is stronger.
    pub(super) fn stay_for_group(&mut self, now: Instant, active: Active) {
        match active.course {
            Course::HandingOver {
                goal: Goal::Demote { .. } | Goal::Yield,
                ..
            } => self.stay(now, active),
            Course::HandingOver {
                goal: Goal::Leave(_), ..
            }
            | Course::Advertising
            | Course::Listening { .. } => {}
        }
    }

    fn resign(&mut self, now: Instant, mut active: Active, goal: Goal, until: Instant) {
        active.course = Course::HandingOver {
            goal,
            until,
            resigned: false,
        };
        self.role = Role::Active(active);
        self.advertise(now);
    }

    /// How long a successor may take: its skew, which is at most the largest, and one interval for its
    /// advertisement to get through.
    pub(super) fn hand_over_time(&self) -> Duration {
        let interval = self.settings.interval;
        interval.saturating_add(timing::largest_skew(self.settings.version, interval))
    }

    /// The interval changed: the others learn it from an advertisement now, before they miss one.
    pub(super) fn active_retimed(&mut self, now: Instant, mut active: Active) {
        active.due = active.due.min(now + self.settings.interval);
        active.attempt = active.attempt.min(active.due);
        self.role = Role::Active(active);
        if active.course == Course::Advertising {
            self.advertise(now);
        }
    }
}

/// When to try again after a send that failed.
fn retry(interval: Duration) -> Duration {
    (interval / 10).max(Duration::from_millis(1))
}
