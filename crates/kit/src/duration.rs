//! Durations as operators write them: `"10us"`, `"100ms"`, `"1.5s"`, `"2m"`, `"1h"`.
//!
//! A bare number is refused: seconds here and milliseconds there is how timeouts go wrong. So are sums
//! (`"1m30s"`) and spaces: one way to write a value is enough.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

const UNITS: [(&str, u128); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// A [`Duration`] that reads and prints as text with a unit.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HumanDuration(Duration);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseDurationError {
    #[error(
        "\"{0}\" is not a duration: write a number and a unit (us, ms, s, m, h or d), such as \"100ms\" or \"1.5s\""
    )]
    NotANumber(String),
    #[error(
        "\"{0}\" has no unit: write us, ms, s, m, h or d after the number, such as \"{0}ms\" or \"{0}s\""
    )]
    NoUnit(String),
    #[error("\"{text}\" has the unknown unit \"{unit}\": use us, ms, s, m, h or d")]
    UnknownUnit { text: String, unit: String },
    #[error("\"{0}\" is negative: a duration is zero or more")]
    Negative(String),
    #[error("\"{0}\" is finer than a nanosecond: use fewer digits after the point")]
    TooFine(String),
    #[error("\"{0}\" is too long: the longest duration is 36500d")]
    TooLong(String),
}

impl HumanDuration {
    /// A hundred years. Anything longer is a typing error, and would overflow deadlines computed from it.
    pub const MAX: Self = Self(Duration::from_secs(36_500 * 86_400));

    pub const fn new(duration: Duration) -> Self {
        Self(duration)
    }

    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    pub const fn get(self) -> Duration {
        self.0
    }
}

impl From<Duration> for HumanDuration {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl From<HumanDuration> for Duration {
    fn from(duration: HumanDuration) -> Self {
        duration.0
    }
}

impl FromStr for HumanDuration {
    type Err = ParseDurationError;

    fn from_str(text: &str) -> Result<Self, ParseDurationError> {
        if text.starts_with('-') {
            return Err(ParseDurationError::Negative(text.into()));
        }
        let not_a_number = || ParseDurationError::NotANumber(text.into());
        let number_end = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(number_end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
            return Err(not_a_number());
        }
        if unit.is_empty() {
            return Err(ParseDurationError::NoUnit(text.into()));
        }
        let Some((_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(ParseDurationError::UnknownUnit {
                text: text.into(),
                unit: unit.into(),
            });
        };

        let too_long = || ParseDurationError::TooLong(text.into());
        let whole: u64 = whole.parse().map_err(|_| too_long())?;
        let mut nanos = u128::from(whole) * scale;
        let mut place = *scale;
        for digit in fraction.trim_end_matches('0').bytes() {
            if !place.is_multiple_of(10) {
                return Err(ParseDurationError::TooFine(text.into()));
            }
            place /= 10;
            nanos += u128::from(digit - b'0') * place;
        }
        if nanos > Self::MAX.0.as_nanos() {
            return Err(too_long());
        }
        Ok(Self(Duration::from_nanos_u128(nanos)))
    }
}

impl fmt::Display for HumanDuration {
    /// The shortest exact form that does not begin with `0.`; of two equally short ones, that of the larger unit.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        if nanos == 0 {
            return f.write_str("0s");
        }
        let shortest = UNITS
            .iter()
            .filter(|(_, scale)| *scale <= nanos)
            .filter_map(|(unit, scale)| exact_form(nanos, *scale).map(|number| number + unit))
            .min_by_key(String::len);
        // Nanoseconds always fit exactly, so there always is one.
        f.write_str(shortest.as_deref().unwrap_or_default())
    }
}

/// `nanos / scale` in decimals, if that ends.
fn exact_form(nanos: u128, scale: u128) -> Option<String> {
    let whole = nanos / scale;
    let mut rest = nanos % scale;
    if rest == 0 {
        return Some(whole.to_string());
    }
    let mut number = format!("{whole}.");
    // Fourteen digits are one nanosecond of a day.
    for _ in 0..14 {
        rest *= 10;
        number.push(char::from(b'0' + u8::try_from(rest / scale).unwrap_or(0)));
        rest %= scale;
        if rest == 0 {
            return Some(number);
        }
    }
    None
}

impl fmt::Debug for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for HumanDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = HumanDuration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration in quotes with its unit, such as \"100ms\" or \"1.5s\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<HumanDuration, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Duration, ParseDurationError> {
        text.parse().map(HumanDuration::get)
    }

    #[test]
    fn each_unit_is_understood_with_and_without_a_fraction() {
        assert_eq!(parse("10ns"), Ok(Duration::from_nanos(10)));
        assert_eq!(parse("10us"), Ok(Duration::from_micros(10)));
        assert_eq!(parse("100ms"), Ok(Duration::from_millis(100)));
        assert_eq!(parse("0s"), Ok(Duration::ZERO));
        assert_eq!(parse("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(parse("0.5d"), Ok(Duration::from_secs(43_200)));
        assert_eq!(parse("1.50000000000000s"), Ok(Duration::from_millis(1500)));
    }

    #[test]
    fn each_mistake_is_told_with_its_rule() {
        for (text, expected) in [
            (
                "100",
                "\"100\" has no unit: write us, ms, s, m, h or d after the number, such as \"100ms\" or \"100s\"",
            ),
            ("-1s", "\"-1s\" is negative: a duration is zero or more"),
            (
                "1.1ns",
                "\"1.1ns\" is finer than a nanosecond: use fewer digits after the point",
            ),
            (
                "5 sec",
                "\"5 sec\" has the unknown unit \" sec\": use us, ms, s, m, h or d",
            ),
            (
                "1m30s",
                "\"1m30s\" has the unknown unit \"m30s\": use us, ms, s, m, h or d",
            ),
            ("36501d", "\"36501d\" is too long: the longest duration is 36500d"),
            (
                "99999999999999999999s",
                "\"99999999999999999999s\" is too long: the longest duration is 36500d",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), expected);
        }
        for text in ["", "s", ".5s", "1.s", "1.2.3s", "ten"] {
            assert!(
                matches!(parse(text), Err(ParseDurationError::NotANumber(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn the_shortest_exact_form_is_printed_and_reads_back() {
        for (nanos, expected) in [
            (0, "0s"),
            (1, "1ns"),
            (10_000, "10us"),
            (100_000_000, "100ms"),
            (1_500_000_000, "1.5s"),
            (1_001_000_000, "1.001s"),
            (90_000_000_000, "90s"),
            (120_000_000_000, "2m"),
            (5_400_000_000_000, "90m"),
            (3_600_000_000_000, "1h"),
            (36_500 * 86_400_000_000_000, "36500d"),
            (1_234_567_890, "1.23456789s"),
        ] {
            let duration = HumanDuration::new(Duration::from_nanos(nanos));
            assert_eq!(duration.to_string(), expected);
            assert_eq!(expected.parse(), Ok(duration));
        }
    }

    #[test]
    fn a_bare_number_in_a_file_is_refused_with_an_example() {
        let error = serde_json::from_str::<HumanDuration>("100").unwrap_err();
        assert!(
            error
                .to_string()
                .contains("expected a duration in quotes with its unit"),
            "{error}"
        );
        assert_eq!(
            serde_json::to_string(&HumanDuration::from_millis(100)).unwrap(),
            "\"100ms\""
        );
    }
}
