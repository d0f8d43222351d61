//! When a check is attempted: the first time at once, then every interval from start to start.
//!
//! Checks of one configuration are spread over the interval from their second attempt on, so that a hundred of them do
//! not fork in the same instant for ever. Of the slots that pass while an attempt runs, only the last
//! is made up for.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// No interval is shorter: a check must not become a fork bomb by a typing error.
const INTERVAL_MIN: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(crate) struct Schedule {
    interval: Duration,
    next: Instant,
    /// How much earlier than a whole interval the second attempt comes.
    shift: Duration,
}

impl Schedule {
    /// The schedule of check `index` of `count`.
    pub(crate) fn new(interval: Duration, index: usize, count: usize) -> Self {
        let interval = interval.max(INTERVAL_MIN);
        let share = u32::try_from(count.max(1)).unwrap_or(u32::MAX);
        let shift = interval / share * u32::try_from(index).unwrap_or(0).min(share - 1);
        Self {
            interval,
            next: Instant::now(),
            shift,
        }
    }

    /// Waits for the next slot; at once if it, or one after it, has passed.
    pub(crate) async fn slot(&mut self) {
        if let Some(late) = Instant::now().checked_duration_since(self.next) {
            let missed = late.as_nanos() / self.interval.as_nanos();
            self.next += self.interval * u32::try_from(missed).unwrap_or(u32::MAX);
        }
        sleep_until(self.next).await;
        self.next += self.interval - std::mem::take(&mut self.shift);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn slots_are_one_interval_apart_and_missed_ones_are_skipped() {
        let begin = Instant::now();
        let mut schedule = Schedule::new(SECOND, 0, 1);
        schedule.slot().await;
        assert_eq!(begin.elapsed(), Duration::ZERO, "the first attempt is at once");
        tokio::time::advance(Duration::from_millis(3500)).await;
        schedule.slot().await;
        assert_eq!(
            begin.elapsed().as_millis(),
            3500,
            "once for the three that passed"
        );
        schedule.slot().await;
        assert_eq!(begin.elapsed().as_secs(), 4, "the rhythm is kept");
    }

    #[tokio::test(start_paused = true)]
    async fn checks_are_spread_from_the_second_attempt_on() {
        for (index, expected) in [(0, 1000), (1, 750), (3, 250)] {
            let begin = Instant::now();
            let mut schedule = Schedule::new(SECOND, index, 4);
            schedule.slot().await;
            schedule.slot().await;
            assert_eq!(begin.elapsed().as_millis(), expected);
        }
    }
}
