//! Moments as log lines write them. A second's text is made once: most lines of a moment share it.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// Writes moments. One per thread: it remembers the last second of each kind.
#[derive(Clone, Debug)]
pub struct Dates {
    zone: TimeZone,
    header: Second,
    local: Second,
    gmt: Second,
}

/// A second of some offset from GMT.
#[derive(Clone, Copy, Debug)]
struct Second {
    /// Since 1970; nothing was written yet if it is the smallest.
    number: i64,
    /// `21/Nov/2026:14:43:52`
    day: [u8; 20],
    /// `+0100`
    offset: [u8; 5],
    /// `Nov  1 14:47:37`
    syslog: [u8; 15],
}

impl Default for Dates {
    fn default() -> Self {
        Self::in_zone(TimeZone::system())
    }
}

impl Dates {
    fn in_zone(zone: TimeZone) -> Self {
        Self {
            zone,
            header: Second::NONE,
            local: Second::NONE,
            gmt: Second::NONE,
        }
    }

    /// `Nov  1 14:47:37`, local: RFC 3164's.
    pub(super) fn syslog(&mut self, moment: SystemTime, out: &mut Vec<u8>) {
        let (number, _) = since_epoch(moment);
        if self.header.number != number {
            self.header = Second::new(number, Some(&self.zone));
        }
        out.extend_from_slice(&self.header.syslog);
    }

    /// `21/Nov/2026:14:43:52.997`, local.
    pub(super) fn milliseconds(&mut self, moment: SystemTime, out: &mut Vec<u8>) {
        let (number, milliseconds) = since_epoch(moment);
        out.extend_from_slice(&self.local(number).day);
        out.push(b'.');
        three_digits(milliseconds, out);
    }

    /// `21/Nov/2026:14:43:52 +0100`
    pub(super) fn with_offset(&mut self, moment: SystemTime, out: &mut Vec<u8>) {
        let (number, _) = since_epoch(moment);
        self.local(number).push_with_offset(out);
    }

    /// `21/Nov/2026:13:43:52 +0000`
    pub(super) fn gmt(&mut self, moment: SystemTime, out: &mut Vec<u8>) {
        let (number, _) = since_epoch(moment);
        if self.gmt.number != number {
            self.gmt = Second::new(number, None);
        }
        self.gmt.push_with_offset(out);
    }

    fn local(&mut self, number: i64) -> &Second {
        if self.local.number != number {
            self.local = Second::new(number, Some(&self.zone));
        }
        &self.local
    }
}

/// Whole seconds and the milliseconds after them.
pub(super) fn since_epoch(moment: SystemTime) -> (i64, u32) {
    let since = moment
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    (
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        since.subsec_millis(),
    )
}

/// `007`
pub(super) fn three_digits(value: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&[digit(value / 100), digit(value / 10), digit(value)]);
}

impl Second {
    const NONE: Self = Self {
        number: i64::MIN,
        day: [b' '; 20],
        offset: *b"+0000",
        syslog: [b' '; 15],
    };

    fn new(number: i64, zone: Option<&TimeZone>) -> Self {
        let timestamp = Timestamp::from_second(number).unwrap_or(Timestamp::UNIX_EPOCH);
        let offset = zone.map_or(Offset::UTC, |zone| zone.to_offset(timestamp));
        let moment = offset.to_datetime(timestamp);
        let [day, hour, minute, second] =
            [moment.day(), moment.hour(), moment.minute(), moment.second()].map(two_digits);
        let month = usize::from(moment.month().unsigned_abs()).clamp(1, 12);
        let month = MONTHS[month - 1];
        let year = u32::from(moment.year().unsigned_abs());
        let year = [
            digit(year / 1000),
            digit(year / 100),
            digit(year / 10),
            digit(year),
        ];
        let mut written = Self { number, ..Self::NONE };
        fill(
            &mut written.day,
            &[
                &day, b"/", month, b"/", &year, b":", &hour, b":", &minute, b":", &second,
            ],
        );
        let padded = if day[0] == b'0' { [b' ', day[1]] } else { day };
        fill(
            &mut written.syslog,
            &[month, b" ", &padded, b" ", &hour, b":", &minute, b":", &second],
        );
        let minutes = offset.seconds() / 60;
        let sign: &[u8] = if minutes < 0 { b"-" } else { b"+" };
        let [hours, minutes] = [minutes.abs() / 60, minutes.abs() % 60]
            .map(|value| two_digits(i8::try_from(value).unwrap_or_default()));
        fill(&mut written.offset, &[sign, &hours, &minutes]);
        written
    }

    fn push_with_offset(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.day);
        out.push(b' ');
        out.extend_from_slice(&self.offset);
    }
}

fn fill(into: &mut [u8], parts: &[&[u8]]) {
    let octets = parts.iter().flat_map(|part| part.iter());
    for (place, octet) in into.iter_mut().zip(octets) {
        *place = *octet;
    }
}

fn two_digits(value: i8) -> [u8; 2] {
    let value = u32::from(value.unsigned_abs());
    [digit(value / 10), digit(value)]
}

fn digit(value: u32) -> u8 {
    b"0123456789"[(value % 10) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> SystemTime {
        text.parse::<Timestamp>().unwrap().into()
    }

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn moments_are_written_as_haproxy_does() {
        let mut dates = Dates::in_zone(TimeZone::fixed(jiff::tz::offset(-3)));
        let at = moment("2017-08-01T01:07:03.042Z");
        assert_eq!(
            written(|out| dates.milliseconds(at, out)),
            "31/Jul/2017:22:07:03.042"
        );
        assert_eq!(
            written(|out| dates.with_offset(at, out)),
            "31/Jul/2017:22:07:03 -0300"
        );
        assert_eq!(written(|out| dates.gmt(at, out)), "01/Aug/2017:01:07:03 +0000");
        assert_eq!(written(|out| dates.syslog(at, out)), "Jul 31 22:07:03");
        let first = moment("2017-08-01T04:00:00Z");
        assert_eq!(written(|out| dates.syslog(first, out)), "Aug  1 01:00:00");
    }

    #[test]
    fn the_second_that_is_remembered_is_not_taken_for_another() {
        let mut dates = Dates::in_zone(TimeZone::UTC);
        let at = moment("2026-11-21T23:59:59.999Z");
        assert_eq!(
            written(|out| dates.milliseconds(at, out)),
            "21/Nov/2026:23:59:59.999"
        );
        let later = at + Duration::from_millis(1);
        assert_eq!(
            written(|out| dates.milliseconds(later, out)),
            "22/Nov/2026:00:00:00.000"
        );
    }
}
