//! Points in time and durations as they stand in JSON.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const DAY_MS: u64 = 86_400_000;

/// The last millisecond of the year 9999: RFC 3339 has four digits for a year.
const LAST_MS: u64 = 253_402_300_799_999;

/// A point in time to the millisecond; in JSON `"2026-11-21T12:03:04.567Z"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

/// Not of the form that [`Timestamp`] prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidTimestamp(String);

impl fmt::Display for InvalidTimestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is not a time; write it like 2026-11-21T12:03:04.567Z",
            self.0
        )
    }
}

impl std::error::Error for InvalidTimestamp {}

impl Timestamp {
    /// Milliseconds since the Unix epoch; times after the year 9999 become its last millisecond.
    #[must_use]
    pub fn from_unix_millis(millis: u64) -> Self {
        Self(millis.min(LAST_MS))
    }

    #[must_use]
    pub fn unix_millis(self) -> u64 {
        self.0
    }

    /// Time from `earlier` to `self`; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self::from_unix_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date_of(self.0 / DAY_MS);
        let millis = self.0 % DAY_MS;
        let (hours, minutes, seconds) = (millis / 3_600_000, millis / 60_000 % 60, millis / 1000 % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{:03}Z",
            millis % 1000
        )
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        parse(text).ok_or_else(|| InvalidTimestamp(text.chars().take(40).collect()))
    }
}

/// Exactly what `Display` writes; the milliseconds may be missing.
fn parse(text: &str) -> Option<Timestamp> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let (time, millis) = time.split_once('.').unwrap_or((time, "000"));
    let [hours, minutes, seconds] = numbers(time, ':', [2, 2, 2])?;
    let [millis] = numbers(millis, '.', [3])?;
    if year < 1970 || !(1..=12).contains(&month) || hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    let days = days_until(year, month, day);
    if date_of(days) != (year, month, day) {
        return None;
    }
    let of_day = ((hours * 60 + minutes) * 60 + seconds) * 1000 + millis;
    Some(Timestamp(days * DAY_MS + of_day))
}

fn numbers<const N: usize>(text: &str, separator: char, digits: [usize; N]) -> Option<[u64; N]> {
    let mut parts = text.split(separator);
    let mut out = [0; N];
    for (number, width) in out.iter_mut().zip(digits) {
        let part = parts.next()?;
        if part.len() != width || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(out)
}

/// Gregorian date of a day counted from 1970-01-01. Years begin in March here, so that a leap day is a year's last.
fn date_of(days: u64) -> (u64, u64, u64) {
    // Days from 0000-03-01 to 1970-01-01.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

/// The inverse of [`date_of`].
fn days_until(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let from_march = (month + 9) % 12;
    let of_year = (153 * from_march + 2) / 5 + day;
    let of_era = year % 400 * 365 + year % 400 / 4 - year % 400 / 100 + of_year;
    (year / 400 * 146_097 + of_era).saturating_sub(719_469)
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
            .map_err(serde::de::Error::custom)
    }
}

/// A duration in whole microseconds; in JSON a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Micros(pub u64);

impl From<Duration> for Micros {
    fn from(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
    }
}

impl From<Micros> for Duration {
    fn from(micros: Micros) -> Self {
        Self::from_micros(micros.0)
    }
}

/// Two figures are enough to read: `781 us`, `8 ms`, `3.6 s`, `3 m`, `2 h 5 m`, `4 d 3 h`.
impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0;
        let seconds = micros / 1_000_000;
        match micros {
            0..1000 => write!(f, "{micros} us"),
            1000..10_000 => tenths(f, micros, 1000, "ms"),
            10_000..1_000_000 => write!(f, "{} ms", micros / 1000),
            1_000_000..10_000_000 => tenths(f, micros, 1_000_000, "s"),
            10_000_000..60_000_000 => write!(f, "{seconds} s"),
            60_000_000..3_600_000_000 => write!(f, "{} m", seconds / 60),
            3_600_000_000..86_400_000_000 => {
                write!(f, "{} h {} m", seconds / 3600, seconds / 60 % 60)
            }
            _ => write!(f, "{} d {} h", seconds / 86_400, seconds / 3600 % 24),
        }
    }
}

/// One decimal, unless it is zero.
fn tenths(f: &mut fmt::Formatter<'_>, micros: u64, unit: u64, name: &str) -> fmt::Result {
    match micros % unit * 10 / unit {
        0 => write!(f, "{} {name}", micros / unit),
        tenth => write!(f, "{}.{tenth} {name}", micros / unit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_prints_as_rfc_3339() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_262_584_567, "2026-11-21T12:03:04.567Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (LAST_MS, "9999-12-31T23:59:59.999Z"),
        ] {
            let stamp = Timestamp::from_unix_millis(millis);
            assert_eq!(stamp.to_string(), text);
            assert_eq!(text.parse(), Ok(stamp), "{text}");
        }
        assert_eq!(
            Timestamp::from_unix_millis(u64::MAX).to_string(),
            "9999-12-31T23:59:59.999Z"
        );
    }

    #[test]
    fn every_day_of_four_centuries_reads_back() {
        let mut before = (1969, 12, 31);
        for day in 0..146_097 + 365 {
            let date = date_of(day);
            assert!(date > before, "{date:?} follows {before:?}");
            assert_eq!(days_until(date.0, date.1, date.2), day);
            before = date;
        }
        assert_eq!(before, (2370, 12, 31));
    }

    #[test]
    fn what_is_no_time_is_refused_with_its_text() {
        for text in [
            "",
            "now",
            "2026-02-30T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-21T24:00:00Z",
            "2026-11-21T12:03:04",
            "2026-11-21T12:03:04.5Z",
            "1969-12-31T23:59:59Z",
            "+026-11-21T12:03:04Z",
        ] {
            let error = text.parse::<Timestamp>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{text}` is not a time")), "{error}");
        }
    }

    #[test]
    fn durations_print_two_figures() {
        for (micros, text) in [
            (0, "0 us"),
            (781, "781 us"),
            (8_000, "8 ms"),
            (8_100, "8.1 ms"),
            (100_000, "100 ms"),
            (3_609_375, "3.6 s"),
            (59_999_999, "59 s"),
            (180_000_000, "3 m"),
            (7_500_000_000, "2 h 5 m"),
            (356_400_000_000, "4 d 3 h"),
        ] {
            assert_eq!(Micros(micros).to_string(), text);
        }
    }
}
