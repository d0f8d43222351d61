//! A server's health on its way to another process: all of it when that one takes over, or what a file of states says.
//!
//! The configuration may be another one there, and what it says otherwise now was changed on purpose.

use std::num::NonZeroU32;

use super::{Admin, By, Health, Operation};
use crate::time::Instant;
use crate::types::{Share, Weight};

/// What a server's health was when it was saved (`show servers state`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saved {
    /// What it did.
    pub operation: Operation,
    /// The operator had taken it out.
    pub maint: bool,
    /// The operator had let it drain.
    pub drain: bool,
    /// The weight in force.
    pub weight: Weight,
    /// The count of checks.
    pub health: u16,
}

/// All that has become of a server since its configuration was read, for a process that goes on with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paused {
    /// As configured: what has another value now was changed on purpose, and what was said of it before is over.
    pub disabled: bool,
    /// As configured.
    pub weight: Weight,
    /// As configured.
    pub maxconn: Option<NonZeroU32>,
    /// What it did.
    pub operation: Operation,
    /// It was in maintenance, for whatever reason.
    pub maint: bool,
    /// Who said so, if somebody did.
    pub maint_by: Option<By>,
    /// Who said that it drains.
    pub drain_by: Option<By>,
    /// Its weight without slow start, in the smallest shares.
    pub share: u32,
    /// Connections at once.
    pub maxconn_now: Option<NonZeroU32>,
    /// The count of its checks; `None`: it was not checked.
    pub check: Option<u16>,
    /// The count of its agent's words; `None`: it was not asked.
    pub agent: Option<u16>,
    /// It would be checked, and its agent asked, if somebody had not said otherwise.
    pub silenced: [bool; 2],
    /// When slow start began.
    pub started: Option<Instant>,
}

impl Health {
    /// Takes over what another process knew. To be called before the first input.
    pub fn restore(&mut self, saved: &Saved) {
        if saved.maint {
            self.reasons.say(Admin::Maint, By::Operator);
        } else if saved.drain {
            self.reasons.say(Admin::Drain, By::Operator);
        }
        self.base = Share::full(saved.weight);
        if let Some(check) = &mut self.check {
            check.health = saved.health.min(check.best());
        }
        self.operation = if self.reasons.maint() {
            Operation::Stopped
        } else {
            saved.operation
        };
    }

    /// Everything, for [`Health::resume`]. `disabled` is what the configuration says.
    #[must_use]
    pub fn pause(&self, disabled: bool) -> Paused {
        Paused {
            disabled,
            weight: self.settings.weight,
            maxconn: self.settings.maxconn,
            operation: self.operation,
            maint: self.reasons.maint(),
            maint_by: self.reasons.maint_by,
            drain_by: self.reasons.drain_by,
            share: self.base.get(),
            maxconn_now: self.maxconn,
            check: self.check.map(|check| check.health),
            agent: self.agent.map(|agent| agent.health),
            silenced: [
                self.settings.check.is_some() && self.check.is_none(),
                self.settings.agent && self.agent.is_none(),
            ],
            started: self.started,
        }
    }

    /// Goes on where another process was. To be called before the first input.
    pub fn resume(&mut self, paused: &Paused, disabled: bool) {
        if paused.disabled == disabled {
            (self.reasons.maint_by, self.reasons.drain_by) = (paused.maint_by, paused.drain_by);
        } else if !disabled && paused.maint_by != Some(By::Configuration) {
            self.reasons.maint_by = paused.maint_by;
            self.reasons.drain_by = paused.drain_by;
        }
        if paused.weight == self.settings.weight {
            self.base = Share::units(paused.share.min(Share::full(Weight::MAX).get()));
        }
        if paused.maxconn == self.settings.maxconn {
            self.maxconn = paused.maxconn_now;
        }
        let counts = [(&mut self.check, paused.check), (&mut self.agent, paused.agent)];
        for ((score, count), silenced) in counts.into_iter().zip(paused.silenced) {
            match (score.as_mut(), count) {
                _ if silenced => *score = None,
                (Some(score), Some(count)) => score.health = count.min(score.best()),
                // It is asked since the configuration has changed, or is not any more.
                (Some(_) | None, _) => {}
            }
        }
        self.started = paused.started;
        self.operation = match paused.operation {
            _ if self.reasons.maint() => Operation::Stopped,
            // Nobody would find out that it is well again.
            Operation::Stopped if self.check.is_none() && self.agent.is_none() => Operation::Running,
            // In maintenance it did nothing, which says nothing about it.
            Operation::Stopped if paused.maint => Operation::Running,
            Operation::Stopped => Operation::Stopped,
            Operation::Running => Operation::Running,
            Operation::Stopping => Operation::Stopping,
        };
    }
}
