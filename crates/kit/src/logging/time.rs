//! When a record was made, as `2026-01-31T23:59:59.999999Z`. The calendar is asked once for each second: thousands of records may be made
//! in one.

use std::cell::Cell;
use std::fmt;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use crate::clock::wall_clock;

/// Octets of such a text.
const LENGTH: usize = 27;
/// Those of the second, and the point.
const SECOND: usize = 20;

thread_local! {
    /// What was written last: the second, counted from the epoch, and the text of its beginning.
    static LAST: Cell<Option<(u64, [u8; LENGTH])>> = const { Cell::new(None) };
}

/// The time of day in UTC.
#[derive(Clone, Copy, Debug)]
pub(super) struct Utc;

impl FormatTime for Utc {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let since_epoch = wall_clock().duration_since(SystemTime::UNIX_EPOCH);
        let text = text(since_epoch.unwrap_or_default());
        writer.write_str(str::from_utf8(&text).unwrap_or_default())
    }
}

fn text(since_epoch: Duration) -> [u8; LENGTH] {
    let second = since_epoch.as_secs();
    let mut text = match LAST.get() {
        Some((last, text)) if last == second => text,
        _ => {
            let text = calendar(second);
            LAST.set(Some((second, text)));
            text
        }
    };
    let mut left = since_epoch.subsec_micros();
    for digit in text[SECOND..LENGTH - 1].iter_mut().rev() {
        *digit = b'0' + (left % 10) as u8;
        left /= 10;
    }
    text
}

/// The beginning of a second.
fn calendar(second: u64) -> [u8; LENGTH] {
    let second = i64::try_from(second).unwrap_or(i64::MAX);
    let text = format!("{:.6}", Timestamp::from_second(second).unwrap_or(Timestamp::MAX));
    // Four digits of a year are enough for all that a timestamp can be.
    text.as_bytes().try_into().unwrap_or([b'?'; LENGTH])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_the_calendar_has_it() {
        let written =
            |seconds, nanos| String::from_utf8(text(Duration::new(seconds, nanos)).to_vec()).unwrap();
        for (seconds, nanos, wanted) in [
            (0, 0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399, 999_999_999, "2000-02-28T23:59:59.999999Z"),
            (951_782_399, 1_000, "2000-02-28T23:59:59.000001Z"),
            (951_782_400, 120_000_000, "2000-02-29T00:00:00.120000Z"),
            (951_782_399, 30_000, "2000-02-28T23:59:59.000030Z"),
            (u64::MAX, 0, "9999-12-30T22:00:00.000000Z"),
        ] {
            assert_eq!(written(seconds, nanos), wanted);
        }
    }
}
