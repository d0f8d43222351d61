//! The one place that reads clocks.
//!
//! Decisions use [`boottime_nanos`]: it never jumps and counts the time a suspended host was away. The wall clock may
//! jump and only labels what people read. How a moment is written is the business of who writes it.

use std::time::SystemTime;

/// Nanoseconds since the host was started, suspended time included.
pub fn boottime_nanos() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    // The kernel's boot clock is never negative and overflows after 584 years.
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// What the host believes the time of day to be.
#[allow(clippy::disallowed_methods, reason = "the one reader of the wall clock")]
pub fn wall_clock() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_boot_clock_counts_nanoseconds_forward() {
        let (before, pause) = (boottime_nanos(), Duration::from_millis(20));
        std::thread::sleep(pause);
        let passed = Duration::from_nanos(boottime_nanos() - before);
        assert!(passed >= pause && passed < pause * 500, "{passed:?}");
    }

    #[test]
    fn the_wall_clock_is_plausible() {
        let since_epoch = wall_clock().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert!(since_epoch > Duration::from_secs(1_700_000_000));
    }
}
