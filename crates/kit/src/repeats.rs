//! Keeps what happens all the time from filling the log.

use std::time::{Duration, Instant};

/// Lets one message through per interval, or a few, and counts the others.
#[derive(Debug)]
pub struct Repeats {
    interval: Duration,
    /// As many may pass in it.
    most: u32,
    /// When the next interval begins.
    next: Option<Instant>,
    /// How many may still pass in this one.
    left: u32,
    held_back: u64,
}

impl Repeats {
    pub const fn new(interval: Duration) -> Self {
        Self::few(1, interval)
    }

    /// So many in each interval.
    pub const fn few(most: u32, interval: Duration) -> Self {
        Self {
            interval,
            most,
            next: None,
            left: 0,
            held_back: 0,
        }
    }

    /// `Some(n)`: say it, and that `n` like it were not said since the last time. `None`: do not say it.
    pub fn pass(&mut self, now: Instant) -> Option<u64> {
        if self.next.is_none_or(|next| now >= next) {
            self.next = Some(now + self.interval);
            self.left = self.most;
        }
        let Some(left) = self.left.checked_sub(1) else {
            self.held_back += 1;
            return None;
        };
        self.left = left;
        Some(std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_per_interval_passes_with_the_number_of_those_held_back() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut repeats = Repeats::new(Duration::from_millis(100));
        let passed: Vec<_> = [0, 1, 99, 100, 150, 350, 351]
            .map(|millis| repeats.pass(at(millis)))
            .into();
        assert_eq!(passed, [Some(0), None, None, Some(2), None, Some(1), None]);
        let mut few = Repeats::few(2, Duration::from_millis(100));
        let passed: Vec<_> = [0, 1, 2, 3, 100].map(|millis| few.pass(at(millis))).into();
        assert_eq!(passed, [Some(0), Some(0), None, None, Some(2)]);
    }
}
