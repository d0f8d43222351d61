//! The two derived times of section 6.1, in nanoseconds.
//!
//! Whole centiseconds would round the skew of a fast router to nothing, and with it the order in which backups
//! take over.

use std::time::Duration;

use crate::types::{Priority, Version};

/// Skew_Time: the lower the priority, the longer a backup waits, so that the best one speaks first.
///
/// Version 2 takes it from a whole second whatever the interval is.
pub(super) fn skew(version: Version, priority: Priority, interval: Duration) -> Duration {
    let whole = largest_skew(version, interval);
    // RFC 9568 §6.1: Skew_Time MUST follow (256 - Priority) * Active_Adver_Interval / 256. [9568-6.1-1]
    let nanos = whole.as_nanos() * u128::from(256 - u16::from(priority.0)) / 256;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// What no router's skew exceeds.
pub(super) fn largest_skew(version: Version, interval: Duration) -> Duration {
    match version {
        Version::V2 => Duration::from_secs(1),
        Version::V3 => interval,
    }
}

/// Active_Down_Interval: the silence after which the active router counts as dead.
pub(super) fn active_down(dead_after: u8, interval: Duration, skew: Duration) -> Duration {
    // RFC 9568 §6.1: Active_Down_Interval MUST be three Active_Adver_Intervals plus Skew_Time. [9568-6.1-2]
    interval
        .saturating_mul(u32::from(dead_after.max(1)))
        .saturating_add(skew)
}
