//! How results of checks add up: one number from 0 to rise + fall - 1, up from `rise` on.
//!
//! A failure on the way up, or a success on the way down, starts the count again.

use super::Check;

/// How checks, or an agent, stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Score {
    /// 0 to rise + fall - 1.
    pub health: u16,
    /// Successes in a row that bring it up.
    pub rise: u16,
    /// Failures in a row that take it down.
    pub fall: u16,
}

impl Score {
    /// Just up: one failure takes it down.
    pub(super) fn of_check(check: Check) -> Self {
        let rise = u16::from(check.rise.get());
        Self {
            health: rise,
            rise,
            fall: u16::from(check.fall.get()),
        }
    }

    /// One word of an agent is enough.
    pub(super) const fn of_agent() -> Self {
        Self {
            health: 1,
            rise: 1,
            fall: 1,
        }
    }

    /// Enough successes.
    #[must_use]
    pub const fn passes(self) -> bool {
        self.health >= self.rise
    }

    /// The most there is.
    #[must_use]
    pub const fn best(self) -> u16 {
        self.rise + self.fall - 1
    }

    /// `3/3`: how far from changing over, for a log line.
    #[must_use]
    pub const fn part(self) -> (u16, u16) {
        if self.passes() {
            (self.health - self.rise + 1, self.fall)
        } else {
            (self.health, self.rise)
        }
    }

    /// A result; true if it moved the count.
    pub(super) fn count(&mut self, passed: bool) -> bool {
        let before = self.health;
        self.health = match passed {
            true if self.health + 1 >= self.rise => self.best(),
            true => self.health + 1,
            false if self.health > self.rise => self.health - 1,
            false => 0,
        };
        self.health != before
    }

    pub(super) const fn set(&mut self, passed: bool) {
        self.health = if passed { self.best() } else { 0 };
    }

    /// As good, by another rise and fall.
    pub(super) fn adopt(&mut self, old: Self) {
        self.health = match old.health {
            health if health == old.best() => self.best(),
            health if old.passes() => (self.rise + (health - old.rise)).min(self.best()),
            health => health.min(self.rise - 1),
        };
    }
}
