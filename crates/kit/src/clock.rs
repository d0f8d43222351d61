//! The one place that reads clocks.
//!
//! Decisions use [`boottime_ns`]: it never jumps and counts the time a suspended host was away. [`Timestamp`] is wall
//! clock, may jump, and only labels what people read.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};

/// Nanoseconds since the host was started, suspended time included.
pub fn boottime_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    // The kernel's boot clock is never negative and overflows after 584 years.
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// A moment of the wall clock to the millisecond; as text, RFC 3339 in UTC: `2026-11-21T12:03:04.567Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Since 1970-01-01T00:00:00Z; from the year 0 to the year 9999.
    millis: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a time: write RFC 3339, such as \"2026-11-21T12:03:04.567Z\"")]
pub struct ParseTimestampError(String);

const DAY_MILLIS: i64 = 86_400_000;

impl Timestamp {
    const MIN: i64 = -719_528 * DAY_MILLIS;
    const MAX: i64 = 2_932_897 * DAY_MILLIS - 1;

    #[allow(clippy::disallowed_methods, reason = "the one reader of the wall clock")]
    pub fn now() -> Self {
        let now = SystemTime::now();
        // A host with a dead clock battery may believe it is before 1970: say so with 1970 itself.
        let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::from_unix_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }

    /// Clamped to the years that RFC 3339 can write.
    pub fn from_unix_millis(millis: i64) -> Self {
        Self {
            millis: millis.clamp(Self::MIN, Self::MAX),
        }
    }

    pub fn unix_millis(self) -> i64 {
        self.millis
    }

    /// `12:03:04`, in UTC.
    pub fn time_of_day(self) -> String {
        let seconds = self.millis.rem_euclid(DAY_MILLIS) / 1000;
        format!(
            "{:02}:{:02}:{:02}",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        )
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.millis.div_euclid(DAY_MILLIS));
        let millis = self.millis.rem_euclid(1000);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{}.{millis:03}Z",
            self.time_of_day()
        )
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    fn from_str(text: &str) -> Result<Self, ParseTimestampError> {
        let millis = parse_rfc3339(text.as_bytes()).filter(|millis| (Self::MIN..=Self::MAX).contains(millis));
        millis
            .map(|millis| Self { millis })
            .ok_or_else(|| ParseTimestampError(text.into()))
    }
}

/// Digits below a millisecond are dropped; a leap second counts as the first of the next minute.
fn parse_rfc3339(text: &[u8]) -> Option<i64> {
    let number = |text: &[u8]| {
        let digits = text.iter().all(u8::is_ascii_digit) && !text.is_empty();
        digits.then(|| {
            text.iter()
                .fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'))
        })
    };
    let two = |at: usize, range: std::ops::RangeInclusive<i64>| {
        number(text.get(at..at + 2)?).filter(|value| range.contains(value))
    };
    for (at, separators) in [(4, "-"), (7, "-"), (10, "Tt "), (13, ":"), (16, ":")] {
        if !separators.as_bytes().contains(text.get(at)?) {
            return None;
        }
    }
    let (year, month, day) = (number(text.get(..4)?)?, two(5, 1..=12)?, two(8, 1..=31)?);
    let days = days_from_civil(year, month, day);
    // The 31st of a month of 30 days comes back as the 1st of the next.
    if civil_from_days(days) != (year, month, day) {
        return None;
    }
    let seconds = two(11, 0..=23)? * 3600 + two(14, 0..=59)? * 60 + two(17, 0..=60)?;

    let mut at = 19;
    let mut millis = 0;
    if text.get(at) == Some(&b'.') {
        let length = text
            .get(at + 1..)?
            .iter()
            .take_while(|digit| digit.is_ascii_digit())
            .count();
        let digits = text.get(at + 1..at + 1 + length)?;
        let padded: Vec<u8> = digits.iter().copied().chain(*b"00").take(3).collect();
        millis = number(digits.get(..1)?).and_then(|_| number(&padded))?;
        at += 1 + length;
    }
    let offset = match text.get(at..)? {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let minutes = two(at + 1, 0..=23)? * 60 + two(at + 4, 0..=59)?;
            if *sign == b'-' { -minutes } else { minutes }
        }
        _ => return None,
    };
    Some(days * DAY_MILLIS + (seconds - offset * 60) * 1000 + millis)
}

/// Days since 1970-01-01 to the proleptic Gregorian calendar. A year is counted from March, so that the leap day is
/// its last; 400 such years have 146 097 days.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments_print_as_rfc_3339_and_read_back() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_262_584_567, "2026-11-21T12:03:04.567Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (Timestamp::MAX, "9999-12-31T23:59:59.999Z"),
            (Timestamp::MIN, "0000-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(Timestamp::from_unix_millis(millis).to_string(), text);
            assert_eq!(text.parse(), Ok(Timestamp { millis }));
        }
    }

    #[test]
    fn every_day_of_eight_centuries_survives_the_calendar_both_ways() {
        let mut last = (0, 0, 0);
        for days in -146_097..146_097 {
            let civil = civil_from_days(days);
            assert!(civil > last || days == -146_097, "{civil:?} follows {last:?}");
            assert_eq!(days_from_civil(civil.0, civil.1, civil.2), days);
            last = civil;
        }
    }

    #[test]
    fn offsets_fractions_and_small_letters_are_understood() {
        let expected = Ok(Timestamp {
            millis: 1_795_262_584_500,
        });
        for text in [
            "2026-11-21T12:03:04.5Z",
            "2026-11-21t12:03:04.5009999z",
            "2026-11-21 13:33:04.50+01:30",
            "2026-11-21T11:03:04.500-01:00",
        ] {
            assert_eq!(text.parse::<Timestamp>(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "now",
            "2026-11-21",
            "2026-11-21T12:03:04",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-11-21T24:00:00Z",
            "2026-11-21T12:03:04.Z",
            "2026-11-21T12:03:04Zz",
            "2026-11-21T12:03:04+1:00",
            "+026-11-21T12:03:04Z",
            "0000-01-01T00:00:00+01:00",
        ] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_boot_clock_runs_forward_and_the_wall_clock_is_plausible() {
        let first = boottime_ns();
        assert!(first > 0 && boottime_ns() >= first);
        assert!(Timestamp::now() > "2025-01-01T00:00:00Z".parse().unwrap());
    }
}
