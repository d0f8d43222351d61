//! When checks are made, so that not all servers are asked at the same moment.

use std::time::Duration;

/// A server with a shorter interval than this does not press the others' first checks together.
const SHORTEST: Duration = Duration::from_secs(1);

/// How long after the start the check at `place` of `count` is made first: all servers once within the shortest of
/// the `intervals`, evenly, in their order. A server whose own interval is longer takes its part of that one.
#[must_use]
pub fn first_check(intervals: &[Duration], place: usize) -> Duration {
    let shortest = intervals.iter().filter(|interval| **interval >= SHORTEST).min();
    let own = intervals.get(place).copied().unwrap_or_default();
    let within = shortest.map_or(own, |shortest| own.max(*shortest));
    let count = u32::try_from(intervals.len()).unwrap_or(u32::MAX).max(1);
    within.saturating_mul(u32::try_from(place).unwrap_or(u32::MAX)) / count
}

/// `pause`, more or less up to `percent` of it (`spread-checks`), by fresh random bits.
#[must_use]
pub fn spread(pause: Duration, percent: u8, entropy: u64) -> Duration {
    let width = pause.saturating_mul(u32::from(percent.min(50))) / 100;
    let nanos = u64::try_from(width.as_nanos().saturating_mul(2)).unwrap_or(u64::MAX);
    let part = (u128::from(entropy) * u128::from(nanos)) >> 64;
    (pause - width).saturating_add(Duration::from_nanos(u64::try_from(part).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn first_checks_are_spread_evenly_over_the_shortest_interval() {
        let first = |intervals: &[u64]| -> Vec<u128> {
            let intervals: Vec<_> = intervals.iter().map(|millis| ms(*millis)).collect();
            let places = 0..intervals.len();
            places
                .map(|place| first_check(&intervals, place).as_millis())
                .collect()
        };
        assert_eq!(first(&[5000, 5000, 5000, 5000]), [0, 1250, 2500, 3750]);
        assert_eq!(first(&[2000, 10_000]), [0, 5000]);
        assert_eq!(first(&[300, 300, 300]), [0, 100, 200]);
        assert_eq!(first(&[300, 2000]), [0, 1000]);
        assert_eq!(first(&[]), [0_u128; 0]);
    }

    #[test]
    fn a_pause_is_spread_around_itself_by_its_percentage_and_no_further() {
        assert_eq!(spread(ms(1000), 0, u64::MAX), ms(1000));
        assert_eq!(spread(ms(1000), 10, 0), ms(900));
        assert_eq!(spread(ms(1000), 10, 1 << 63), ms(1000));
        assert_eq!(spread(ms(1000), 10, u64::MAX).as_millis(), 1099);
        assert_eq!(spread(ms(1000), 200, 0), ms(500));
    }
}
