//! The little of a certificate that is needed besides verifying it: for which hosts, for whom, until when. Pure.
//!
//! Read are RFC 5280's fields in their order; whatever is of another shape is not there. Trust is rustls's business:
//! nothing is believed because it stands here.

use std::time::SystemTime;

/// A certificate's fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fields {
    /// Hosts, in small letters: subject alternative names, and the common name.
    pub(super) names: Vec<String>,
    pub(super) common_name: Option<String>,
    pub(super) not_after: SystemTime,
}

mod tag {
    pub(super) const SEQUENCE: u8 = 0x30;
    pub(super) const OBJECT: u8 = 0x06;
    pub(super) const OCTETS: u8 = 0x04;
    pub(super) const UTC_TIME: u8 = 0x17;
    pub(super) const GENERALIZED_TIME: u8 = 0x18;
    pub(super) const VERSION: u8 = 0xa0;
    pub(super) const EXTENSIONS: u8 = 0xa3;
    /// `dNSName` of a GeneralName.
    pub(super) const DNS_NAME: u8 = 0x82;
}

/// 2.5.4.3
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// 2.5.29.17
const ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// The subject's common name.
pub(crate) fn common_name(certificate: &[u8]) -> Option<String> {
    fields(certificate)?.common_name
}

pub(super) fn fields(certificate: &[u8]) -> Option<Fields> {
    let mut certificate = Der(Der(certificate).expect(tag::SEQUENCE)?);
    let mut body = Der(certificate.expect(tag::SEQUENCE)?);
    let (mut kind, _) = body.next()?;
    if kind == tag::VERSION {
        // The serial number.
        (kind, _) = body.next()?;
    }
    let _ = kind;
    body.expect(tag::SEQUENCE)?; // signature algorithm
    body.expect(tag::SEQUENCE)?; // issuer
    let mut validity = Der(body.expect(tag::SEQUENCE)?);
    validity.next()?;
    let (kind, end) = validity.next()?;
    let not_after = time(kind, end)?;
    let common_name = subject(body.expect(tag::SEQUENCE)?);
    body.expect(tag::SEQUENCE)?; // public key
    let mut names = alternative_names(body);
    if let Some(name) = common_name.as_ref().map(|name| name.to_ascii_lowercase())
        && !names.contains(&name)
    {
        names.push(name);
    }
    Some(Fields {
        names,
        common_name,
        not_after,
    })
}

/// The last common name of a sequence of sets of pairs.
fn subject(name: &[u8]) -> Option<String> {
    let mut found = None;
    for (_, set) in Der(name) {
        for (_, pair) in Der(set) {
            let mut pair = Der(pair);
            if pair.expect(tag::OBJECT) == Some(COMMON_NAME)
                && let Some((_, value)) = pair.next()
            {
                found = Some(String::from_utf8_lossy(value).into_owned());
            }
        }
    }
    found
}

fn alternative_names(rest: Der<'_>) -> Vec<String> {
    let mut names = Vec::new();
    for (_, list) in rest.filter(|(kind, _)| *kind == tag::EXTENSIONS) {
        for (_, extension) in Der(Der(list).expect(tag::SEQUENCE).unwrap_or_default()) {
            let mut extension = Der(extension);
            if extension.expect(tag::OBJECT) != Some(ALTERNATIVE_NAME) {
                continue;
            }
            let value = extension.find(|(kind, _)| *kind == tag::OCTETS);
            let value = value.map(|(_, value)| value).unwrap_or_default();
            for (kind, name) in Der(Der(value).expect(tag::SEQUENCE).unwrap_or_default()) {
                if kind == tag::DNS_NAME {
                    names.push(String::from_utf8_lossy(name).to_ascii_lowercase());
                }
            }
        }
    }
    names
}

/// `YYMMDDhhmmssZ` or `YYYYMMDDhhmmssZ`.
fn time(kind: u8, text: &[u8]) -> Option<SystemTime> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = match kind {
        tag::UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year: i16 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        tag::GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let part = |place: usize| rest.get(2 * place..2 * place + 2)?.parse::<i8>().ok();
    let (month, day, hour) = (part(0)?, part(1)?, part(2)?);
    let (minute, second) = (part(3)?, part(4)?);
    let moment = jiff::civil::DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    let moment = jiff::tz::TimeZone::UTC.to_timestamp(moment).ok()?;
    Some(moment.into())
}

/// Values one after another: tag, length, octets.
#[derive(Clone, Copy)]
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next one, if it is of this kind.
    fn expect(&mut self, kind: u8) -> Option<&'a [u8]> {
        let (found, value) = self.next()?;
        (found == kind).then_some(value)
    }

    fn octets(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }
}

impl<'a> Iterator for Der<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let [kind, length] = *self.octets(2)?.first_chunk::<2>()?;
        let length = match length {
            ..=0x7f => usize::from(length),
            // More than four octets would be longer than any file that is read.
            0x81..=0x84 => self
                .octets(usize::from(length & 0x7f))?
                .iter()
                .fold(0, |sum, octet| sum << 8 | usize::from(*octet)),
            _ => return None,
        };
        Some((kind, self.octets(length)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::Authority;

    #[test]
    fn names_and_the_end_are_found() {
        let authority = Authority::new("test authority");
        let (certificate, _) = authority.issue("Alice", &["A.example", "*.b.example"], 90);
        let fields = fields(&certificate).unwrap();
        assert_eq!(fields.names, ["a.example", "*.b.example", "alice"]);
        assert_eq!(fields.common_name.as_deref(), Some("Alice"));
        let left = fields
            .not_after
            .duration_since(warren_kit::clock::wall_clock())
            .unwrap();
        let days = left.as_secs_f64() / 86400.0;
        assert!((88.0..=91.0).contains(&days), "{days}");
    }

    #[test]
    fn both_kinds_of_time_are_read() {
        let at = |text: &str| SystemTime::from(text.parse::<jiff::Timestamp>().unwrap());
        assert_eq!(
            time(tag::UTC_TIME, b"491231235959Z"),
            Some(at("2049-12-31T23:59:59Z"))
        );
        assert_eq!(
            time(tag::UTC_TIME, b"500101000000Z"),
            Some(at("1950-01-01T00:00:00Z"))
        );
        assert_eq!(
            time(tag::GENERALIZED_TIME, b"20500101000000Z"),
            Some(at("2050-01-01T00:00:00Z"))
        );
        assert_eq!(time(tag::UTC_TIME, b"5001010000Z"), None);
        assert_eq!(time(tag::UTC_TIME, b"501301000000Z"), None);
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(mut changes in proptest::collection::vec((0usize..700, proptest::prelude::any::<u8>()), 0..6)) {
            use std::sync::OnceLock;
            static CERTIFICATE: OnceLock<Vec<u8>> = OnceLock::new();
            let mut octets = CERTIFICATE
                .get_or_init(|| Authority::new("x").issue("Alice", &["a.example"], 90).0.to_vec())
                .clone();
            for (place, octet) in changes.drain(..) {
                if let Some(old) = octets.get_mut(place) {
                    *old = octet;
                }
            }
            let _ = fields(&octets);
            let _ = fields(octets.get(..octets.len() / 2).unwrap_or_default());
        }
    }
}
