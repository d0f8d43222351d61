//! How long the kernel keeps addresses without renewal, and what renewing costs.
//!
//! Each renewal takes microseconds of the kernel's time, more the more addresses an interface has. When the total
//! passes its share of a core, all leases are lengthened by one factor.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Renewals may use this part of a core, in millionths.
const SHARE_LIMIT_PPM: u64 = 20_000;
/// Leases are lengthened no further.
pub const LONGEST: Duration = Duration::from_secs(120);
/// A lease is renewed this many times before it would end.
pub(super) const RENEWALS_PER_LEASE: u32 = 3;
/// The kernel ends a lease up to 20 ms early; our clock was read before the request reached it.
pub(super) const EARLY: Duration = Duration::from_millis(30);

/// The lease given for a configured one under a factor; whole seconds, as the kernel counts.
#[must_use]
pub fn effective(lease: Duration, factor: u32) -> Duration {
    let whole = Duration::from_secs(lease.as_secs().max(1));
    (whole * factor).min(LONGEST).max(whole)
}

/// When to renew, so that a lease that is not renewed ends when it should.
///
/// The kernel looks for ended leases at a whole second of its own clock if that is less than a quarter second late
/// (measured: leases given in the last quarter of a second end up to 0.25 s late, others within 0.03 s). Its seconds
/// are those of the monotonic clock to within some hundredths, plus a few ticks for each CPU.
#[derive(Debug, Clone, Copy)]
pub(super) struct Phase {
    /// A whole second of the monotonic clock.
    second: Instant,
}

const AVOIDED_FROM: Duration = Duration::from_millis(700);
const AVOIDED_TO: Duration = Duration::from_millis(1120);

impl Phase {
    pub(super) fn measure() -> Self {
        let since_second = clock_gettime(ClockId::Monotonic).tv_nsec.unsigned_abs();
        Self {
            second: Instant::now() - Duration::from_nanos(since_second),
        }
    }

    /// About a third of the lease after the last renewal.
    pub(super) fn renewal(self, renewed: Instant, lease: Duration) -> Instant {
        let due = renewed + lease / RENEWALS_PER_LEASE;
        let since = due.saturating_duration_since(self.second);
        let within = Duration::from_nanos(u64::from(since.subsec_nanos()));
        let second = due - within;
        if within < AVOIDED_TO - Duration::from_secs(1) && since.as_secs() > 0 {
            self.outside(second - Duration::from_secs(1), renewed)
        } else if within >= AVOIDED_FROM {
            self.outside(second, renewed)
        } else {
            due
        }
    }

    /// Before the avoided part of this second if that is well after the last renewal, else behind it.
    fn outside(self, second: Instant, renewed: Instant) -> Instant {
        let before = second + AVOIDED_FROM - Duration::from_millis(10);
        if before > renewed + Duration::from_millis(50) {
            before
        } else {
            second + AVOIDED_TO
        }
    }
}

/// The factor and the measurements it follows from.
#[derive(Debug)]
pub(super) struct Lengthening {
    factor: u32,
    /// Smoothed CPU time per renewed address; `None` before the first.
    cost: Option<Duration>,
}

impl Default for Lengthening {
    fn default() -> Self {
        Self {
            factor: 1,
            cost: None,
        }
    }
}

impl Lengthening {
    pub(super) fn factor(&self) -> u32 {
        self.factor
    }

    pub(super) fn observe(&mut self, cpu: Duration, addresses: usize) {
        let Ok(count @ 1..) = u32::try_from(addresses) else {
            return;
        };
        let sample = cpu / count;
        self.cost = Some(self.cost.map_or(sample, |cost| (cost * 7 + sample) / 8));
    }

    /// Chooses the factor for `leases` (configured lease, number of addresses): the smallest power of two that keeps
    /// the share. It falls again only when half the limit would do, lest it swing. `true` if it changed.
    pub(super) fn choose(&mut self, leases: impl Iterator<Item = (Duration, usize)> + Clone) -> bool {
        let before = self.factor;
        while self.share_ppm(leases.clone(), self.factor) > SHARE_LIMIT_PPM
            && self.can_lengthen(leases.clone())
        {
            self.factor *= 2;
        }
        while self.factor > 1 && self.share_ppm(leases.clone(), self.factor / 2) < SHARE_LIMIT_PPM / 2 {
            self.factor /= 2;
        }
        self.factor != before
    }

    fn can_lengthen(&self, mut leases: impl Iterator<Item = (Duration, usize)>) -> bool {
        leases.any(|(lease, _)| effective(lease, self.factor) < LONGEST)
    }

    /// CPU time of renewals per time, in millionths.
    pub(super) fn share_ppm(&self, leases: impl Iterator<Item = (Duration, usize)>, factor: u32) -> u64 {
        let cost_ns = self.cost.unwrap_or_default().as_nanos() as u64;
        leases
            .map(|(lease, count)| {
                let per_lease_ns = cost_ns * count as u64 * u64::from(RENEWALS_PER_LEASE);
                1000 * per_lease_ns / effective(lease, factor).as_micros() as u64
            })
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_are_whole_seconds_and_never_shorter_than_configured() {
        assert_eq!(effective(Duration::from_millis(400), 1), Duration::from_secs(1));
        assert_eq!(effective(Duration::from_secs(3), 4), Duration::from_secs(12));
        assert_eq!(effective(Duration::from_secs(100), 4), LONGEST);
        assert_eq!(effective(Duration::from_secs(300), 4), Duration::from_secs(300));
    }

    #[test]
    fn the_lease_lengthens_until_renewing_costs_two_percent_and_shortens_at_one() {
        let mut lengthening = Lengthening::default();
        let mut leases = vec![(Duration::from_secs(1), 20); 255];
        assert!(
            !lengthening.choose(leases.iter().copied()),
            "nothing was measured yet"
        );
        // 7 us each: 5100 * 7 us * 3 = 107 ms per lease, so 1 s costs 10.7 %, 4 s 2.7 %, 8 s 1.3 %.
        lengthening.observe(Duration::from_micros(7 * 5100), 5100);
        assert!(lengthening.choose(leases.iter().copied()));
        assert_eq!(lengthening.factor(), 8);
        assert!(!lengthening.choose(leases.iter().copied()), "it stays");
        leases.truncate(100);
        // 0.52 % at 8 s, 1.05 % at 4 s.
        assert!(!lengthening.choose(leases.iter().copied()));
        leases.truncate(80);
        assert!(lengthening.choose(leases.iter().copied()));
        assert_eq!(lengthening.factor(), 4);
        assert!(lengthening.choose(std::iter::empty()));
        assert_eq!(lengthening.factor(), 1);
    }

    #[test]
    fn the_longest_lease_ends_the_search() {
        let mut lengthening = Lengthening::default();
        lengthening.observe(Duration::from_secs(10), 1);
        lengthening.choose([(Duration::from_secs(1), 5100)].into_iter());
        assert_eq!(effective(Duration::from_secs(1), lengthening.factor()), LONGEST);
    }

    #[test]
    fn renewals_keep_clear_of_the_end_of_a_second_and_come_thrice_per_lease() {
        let second = Instant::now();
        for lease in [1, 2, 3, 8, 30].map(Duration::from_secs) {
            for start_ms in (0..1000).step_by(10) {
                let mut renewed = second + Duration::from_millis(start_ms);
                for _ in 0..50 {
                    let due = Phase { second }.renewal(renewed, lease);
                    let phase = (due - second).subsec_millis();
                    assert!(
                        (120..700).contains(&phase),
                        "{phase} ms after {:?}",
                        renewed - second
                    );
                    let interval = due - renewed;
                    assert!(interval > Duration::from_millis(50), "{interval:?}");
                    assert!(interval <= lease / 2, "{interval:?} of {lease:?}");
                    renewed = due;
                }
            }
        }
    }
}
