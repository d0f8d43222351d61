//! Times in the reader's own zone, as short as they are clear.

use jiff::tz::TimeZone;
use jiff::{Timestamp as Instant, Zoned};
use warren_api::Timestamp;

/// Turns times into words.
pub(crate) struct Clock {
    zone: TimeZone,
    /// What is of the same day goes without its date.
    now: Timestamp,
}

impl Clock {
    pub(crate) fn local(now: Timestamp) -> Self {
        Self {
            zone: TimeZone::system(),
            now,
        }
    }

    #[cfg(test)]
    pub(crate) fn utc(now: Timestamp) -> Self {
        Self {
            zone: TimeZone::UTC,
            now,
        }
    }

    /// `12:03:04`, or `2026-11-20 12:03:04` when that was another day.
    pub(crate) fn words(&self, time: Timestamp) -> String {
        let (Some(now), Some(time)) = (self.zoned(self.now), self.zoned(time)) else {
            return time.to_string();
        };
        let form = if now.date() == time.date() {
            "%H:%M:%S"
        } else {
            "%Y-%m-%d %H:%M:%S"
        };
        time.strftime(form).to_string()
    }

    /// `2026-11-20 12:03:04.567`
    pub(crate) fn precisely(&self, time: Timestamp) -> String {
        match self.zoned(time) {
            Some(time) => time.strftime("%Y-%m-%d %H:%M:%S.%3f").to_string(),
            None => time.to_string(),
        }
    }

    fn zoned(&self, time: Timestamp) -> Option<Zoned> {
        let millis = i64::try_from(time.unix_millis()).ok()?;
        Some(
            Instant::from_millisecond(millis)
                .ok()?
                .to_zoned(self.zone.clone()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_is_said_only_of_other_days() {
        let clock = Clock::utc("2026-11-21T12:10:00Z".parse().unwrap());
        let earlier = "2026-11-21T12:03:04.567Z".parse().unwrap();
        assert_eq!(clock.words(earlier), "12:03:04");
        assert_eq!(clock.precisely(earlier), "2026-11-21 12:03:04.567");
        assert_eq!(
            clock.words("2026-11-20T12:03:04Z".parse().unwrap()),
            "2026-11-20 12:03:04"
        );
    }
}
