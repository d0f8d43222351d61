//! Keeps what happens all the time from filling the log.

use std::time::{Duration, Instant};

/// Lets one message through per interval and counts the others.
#[derive(Debug)]
pub struct Repeats {
    interval: Duration,
    /// When the next may pass.
    next: Option<Instant>,
    held_back: u64,
}

impl Repeats {
    pub const fn new(interval: Duration) -> Self {
        Self {
            interval,
            next: None,
            held_back: 0,
        }
    }

    /// `Some(n)`: say it, and that `n` like it were not said since the last time. `None`: do not say it.
    pub fn pass(&mut self, now: Instant) -> Option<u64> {
        if self.next.is_some_and(|next| now < next) {
            self.held_back += 1;
            return None;
        }
        self.next = Some(now + self.interval);
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
    }
}
