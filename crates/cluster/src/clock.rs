//! The time by which messages live, and the time of day.
//!
//! The time of day may be set forwards or back; it labels what people read, and is all that two processes have in common:
//! so it is what is on disk. Everything that ends after some time goes by [`now`], which begins as the time of day and then
//! only counts on, a suspended host's time included.

use std::sync::OnceLock;
use std::time::UNIX_EPOCH;

use warren_kit::clock::{boottime_nanos, wall_clock};
use warren_model::Millis;

/// The time, as messages and queues know it: it never jumps.
#[must_use]
pub fn now() -> Millis {
    /// The time of day less the time since the host was started, when this was asked first.
    static BEGAN: OnceLock<u64> = OnceLock::new();
    let counted = boottime_nanos() / 1_000_000;
    let began = BEGAN.get_or_init(|| time_of_day().0.wrapping_sub(counted));
    Millis(began.wrapping_add(counted))
}

/// What the host believes the time of day to be.
#[must_use]
pub fn time_of_day() -> Millis {
    let since = wall_clock().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Which [`now`] it was at a time of day, as far as the present one is right. What is still to come is now: nothing lives
/// longer than it should have from the beginning.
#[must_use]
pub fn at_time_of_day(time: Millis) -> Millis {
    let ago = time_of_day().0.saturating_sub(time.0);
    Millis(now().0.saturating_sub(ago))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_to_come_is_now() {
        let before = now();
        let future = at_time_of_day(time_of_day().after(3_600_000));
        assert!(before <= future && future <= now());
        let past = at_time_of_day(Millis(time_of_day().0 - 60_000));
        assert!(past.after(60_000) >= before && past.after(60_000) <= now());
    }
}
