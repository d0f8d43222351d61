//! Rise and fall: how many attempts in a row turn a verdict.
//!
//! Kept exactly as keepalived counts, because configurations are tuned to it. A counter runs from 0 to rise + fall - 1;
//! from `rise` on the check is up. It starts at rise - 1, so that one success is enough at start, or at 0 with
//! `start_failed`. A success in the upper half and a failure in the lower half go to the far end: only attempts *in a
//! row* count. The first attempt is always reported, whatever it says.

/// What a check says to the routers that use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Up,
    Down,
}

/// The counter of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Threshold {
    rise: u32,
    fall: u32,
    count: u32,
    reported: bool,
}

impl Threshold {
    /// A counter that has seen nothing. `rise` and `fall` below 1 count as 1.
    #[must_use]
    pub fn new(rise: u32, fall: u32, start_failed: bool) -> Self {
        let (rise, fall) = (rise.max(1), fall.max(1));
        Self {
            rise,
            fall,
            count: if start_failed { 0 } else { rise - 1 },
            reported: false,
        }
    }

    /// A counter that goes on from a verdict already reported, as after a reload that only changed the numbers.
    #[must_use]
    pub fn resume(rise: u32, fall: u32, verdict: Verdict) -> Self {
        let mut threshold = Self::new(rise, fall, true);
        threshold.reported = true;
        if verdict == Verdict::Up {
            threshold.count = threshold.top();
        }
        threshold
    }

    /// Counts an attempt; `Some` when the verdict has to be reported: the first time and whenever it turns.
    pub fn record(&mut self, success: bool) -> Option<Verdict> {
        let before = self.verdict();
        self.count = match (before, success) {
            (Verdict::Up, true) => self.top(),
            (Verdict::Up, false) if self.count > self.rise => self.count - 1,
            (Verdict::Down, true) if self.count + 1 < self.rise => self.count + 1,
            (Verdict::Down, true) => self.top(),
            (_, false) => 0,
        };
        let turned = self.verdict() != before;
        let first = !std::mem::replace(&mut self.reported, true);
        (turned || first).then(|| self.verdict())
    }

    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if self.count >= self.rise {
            Verdict::Up
        } else {
            Verdict::Down
        }
    }

    /// Attempts in a row that speak against the verdict.
    #[must_use]
    pub fn contrary(&self) -> u32 {
        if self.verdict() == Verdict::Up {
            self.top() - self.count
        } else {
            self.count
        }
    }

    fn top(&self) -> u32 {
        self.rise.saturating_add(self.fall - 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_success_is_enough_at_start() {
        assert_eq!(Threshold::new(3, 2, false).record(true), Some(Verdict::Up));
    }

    #[test]
    fn a_check_that_starts_failed_needs_every_success() {
        let mut threshold = Threshold::new(3, 2, true);
        assert_eq!(
            threshold.record(true),
            Some(Verdict::Down),
            "the first result is reported though nothing turned"
        );
        assert_eq!(threshold.record(true), None);
        assert_eq!(threshold.record(true), Some(Verdict::Up));
    }

    #[test]
    fn the_first_failure_at_start_is_reported() {
        assert_eq!(Threshold::new(1, 5, false).record(false), Some(Verdict::Down));
    }

    #[test]
    fn a_resumed_verdict_is_not_reported_again() {
        assert_eq!(Threshold::resume(2, 2, Verdict::Up).record(true), None);
        assert_eq!(Threshold::resume(2, 2, Verdict::Down).record(false), None);
    }

    /// The rule in its other form: the verdict turns when `fall` failures or `rise` successes came in a row.
    struct Streaks {
        up: bool,
        streak: u32,
    }

    proptest! {
        #[test]
        fn the_verdict_turns_after_rise_successes_or_fall_failures_in_a_row(
            rise in 1_u32..6, fall in 1_u32..6, attempts in prop::collection::vec(any::<bool>(), 1..80),
        ) {
            let mut threshold = Threshold::new(rise, fall, false);
            let mut model = Streaks { up: attempts[0], streak: 0 };
            prop_assert_eq!(threshold.record(attempts[0]), Some(if attempts[0] { Verdict::Up } else { Verdict::Down }));
            for &success in &attempts[1..] {
                model.streak = if success == model.up { 0 } else { model.streak + 1 };
                let turns = model.streak >= if model.up { fall } else { rise };
                if turns {
                    model = Streaks { up: success, streak: 0 };
                }
                let verdict = if model.up { Verdict::Up } else { Verdict::Down };
                prop_assert_eq!(threshold.record(success), turns.then_some(verdict));
                prop_assert_eq!(threshold.verdict(), verdict);
                prop_assert_eq!(threshold.contrary(), model.streak);
                prop_assert!(threshold.count < rise + fall);
            }
        }
    }
}
