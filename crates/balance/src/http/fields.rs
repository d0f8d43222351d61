//! The fields of a head: places within octets, and what a proxy has to know of them.

use super::{Length, Limits, Refused, Version};

/// A place within octets that are kept elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Where `part` is in `whole`, of which it is a part.
    pub(super) fn of(part: &[u8], whole: &[u8]) -> Self {
        let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
        Self::new(start, start.saturating_add(part.len()))
    }

    /// Heads are far shorter than 4 GiB.
    pub(super) fn new(start: usize, end: usize) -> Self {
        let place = |place| u32::try_from(place).unwrap_or(u32::MAX);
        Self {
            start: place(start),
            end: place(end),
        }
    }

    #[inline]
    pub(super) fn of_octets(self, octets: &[u8]) -> &[u8] {
        octets
            .get(self.start as usize..self.end as usize)
            .unwrap_or_default()
    }

    /// Octets that were checked to be visible ASCII.
    #[inline]
    pub(super) fn text(self, octets: &[u8]) -> &str {
        str::from_utf8(self.of_octets(octets)).unwrap_or_default()
    }

    pub(super) const fn start(self) -> usize {
        self.start as usize
    }

    pub(super) const fn end(self) -> usize {
        self.end as usize
    }
}

/// Where a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: Span,
    pub(super) value: Span,
}

/// The fields of a head, in order.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    pub(super) octets: &'a [u8],
    pub(super) places: &'a [Field],
}

impl<'a> Fields<'a> {
    /// Name and value of each, in order. Values have no space around them.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.places
            .iter()
            .map(move |field| (field.name.text(self.octets), field.value.of_octets(self.octets)))
    }

    /// Values of all fields of this name, whatever its case.
    pub fn all<'n>(self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.iter()
            .filter(move |(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// Value of the first field of this name, whatever its case.
    #[must_use]
    pub fn get(self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// How many there are.
    #[must_use]
    pub const fn len(self) -> usize {
        self.places.len()
    }

    /// There is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.places.is_empty()
    }
}

/// The members of a comma-separated list, without the spaces around them; a comma between quotes is none. Empty members
/// are left out (RFC 9110 5.6.1).
pub fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        loop {
            let here = rest?;
            let (mut quoted, mut escaped) = (false, false);
            let end = here.iter().position(|octet| {
                match octet {
                    _ if escaped => escaped = false,
                    b'\\' if quoted => escaped = true,
                    b'"' => quoted = !quoted,
                    b',' if !quoted => return true,
                    _ => {}
                }
                false
            });
            let (member, after) = match end {
                Some(end) => (here.get(..end)?, here.get(end + 1..)),
                None => (here, None),
            };
            rest = after;
            let member = member.trim_ascii();
            if !member.is_empty() {
                return Some(member);
            }
        }
    })
}

/// What the fields say that concerns a proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// `Connection` says `close`.
    pub(super) close: bool,
    /// `Connection` says `keep-alive`.
    pub(super) keep_alive: bool,
    /// `Connection` says `upgrade`, and `Upgrade` is there.
    pub(super) upgrade: bool,
    /// `Expect: 100-continue`.
    pub(super) expects: bool,
    pub(super) host: Option<Span>,
    pub(super) length: Option<u64>,
    pub(super) chunked: bool,
    /// Must be written anew.
    pub(super) irregular: bool,
}

/// Whose fields they are: a little more is forgiven to a server, whom the operator has chosen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Request,
    Response,
}

/// Takes over the fields that were found in `octets`, a head with its end, and finds out what they say. Fields that
/// only repeat the length are left out.
pub(super) fn take(
    fields: &mut Vec<Field>,
    octets: &[u8],
    found: &[httparse::Header<'_>],
    version: Version,
    side: Side,
) -> Result<Facts, Refused> {
    fields.clear();
    let mut facts = Facts::default();
    let (mut upgrade_listed, mut upgrade_there, mut encoded) = (false, false, false);
    for header in found {
        let (name, value) = (header.name, header.value.trim_ascii());
        let field = Field {
            name: Span::of(name.as_bytes(), octets),
            value: Span::of(value, octets),
        };
        // A line that ends with LF alone goes on with CRLF.
        facts.irregular |= !begins_a_line(octets, field.name.start());
        match name.len() {
            4 if name.eq_ignore_ascii_case("host") => match facts.host {
                None => facts.host = Some(field.value),
                Some(host) if host.of_octets(octets) == value => {
                    facts.irregular = true;
                    continue;
                }
                Some(_) if side == Side::Response => {}
                Some(_) => return Err(Refused::Hosts),
            },
            6 if name.eq_ignore_ascii_case("expect") => {
                facts.expects |= value.eq_ignore_ascii_case(b"100-continue");
            }
            7 if name.eq_ignore_ascii_case("upgrade") => upgrade_there = true,
            10 if name.eq_ignore_ascii_case("connection") => {
                for option in list(value) {
                    facts.close |= option.eq_ignore_ascii_case(b"close");
                    facts.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                    upgrade_listed |= option.eq_ignore_ascii_case(b"upgrade");
                }
            }
            14 if name.eq_ignore_ascii_case("content-length") => {
                let length = content_length(value)?;
                match facts.length {
                    None => facts.length = Some(length),
                    Some(before) if before == length => {
                        facts.irregular = true;
                        continue;
                    }
                    Some(_) => return Err(Refused::LengthsDiffer),
                }
                facts.irregular |= value.contains(&b',');
            }
            17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                encoded = true;
                for coding in list(value) {
                    // Nothing may come after chunked, on this line or the next.
                    if facts.chunked {
                        return Err(Refused::EncodingInvalid);
                    }
                    facts.chunked = coding.eq_ignore_ascii_case(b"chunked");
                }
            }
            _ => {}
        }
        fields.push(field);
    }
    facts.irregular |= !octets.ends_with(b"\r\n\r\n");
    facts.upgrade = upgrade_listed && upgrade_there;
    if encoded {
        encoding(&mut facts, fields, octets, version, side)?;
    }
    Ok(facts)
}

/// What a message with `Transfer-Encoding` is, by RFC 9112 6.1 and 6.3.
fn encoding(
    facts: &mut Facts,
    fields: &mut Vec<Field>,
    octets: &[u8],
    version: Version,
    side: Side,
) -> Result<(), Refused> {
    match side {
        Side::Request if version == Version::Http10 => return Err(Refused::EncodingUnknown),
        Side::Request if !facts.chunked => return Err(Refused::EncodingUnknown),
        Side::Request if facts.length.is_some() => return Err(Refused::LengthAndEncoding),
        Side::Request => {}
        // The encoding overrides the length, which must not go on.
        Side::Response => {
            if facts.length.take().is_some() {
                fields.retain(|field| !field.name.text(octets).eq_ignore_ascii_case("content-length"));
                facts.irregular = true;
            }
        }
    }
    Ok(())
}

/// What begins at `place` begins a line, after CRLF.
fn begins_a_line(octets: &[u8], place: usize) -> bool {
    place >= 2 && octets.get(place - 2..place) == Some(b"\r\n")
}

/// One number, or the same one again and again (RFC 9110 8.6).
fn content_length(value: &[u8]) -> Result<u64, Refused> {
    let mut length = None;
    for member in value.split(|octet| *octet == b',') {
        let member = decimal(member.trim_ascii())?;
        if length.is_some_and(|length| length != member) {
            return Err(Refused::LengthsDiffer);
        }
        length = Some(member);
    }
    length.ok_or(Refused::LengthInvalid)
}

fn decimal(digits: &[u8]) -> Result<u64, Refused> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Refused::LengthInvalid);
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        number
            .checked_mul(10)
            .and_then(|number| number.checked_add(u64::from(digit - b'0')))
            .ok_or(Refused::LengthTooLarge)
    })
}

impl Facts {
    /// The connection goes on after this message, as far as its sender is concerned (RFC 9112 9.3).
    pub(super) const fn persistent(&self, version: Version) -> bool {
        match version {
            Version::Http11 => !self.close,
            Version::Http10 => self.keep_alive && !self.close,
        }
    }

    /// Where a message with these fields ends; `otherwise` if they say nothing.
    pub(super) const fn body(&self, otherwise: Length) -> Length {
        match (self.chunked, self.length) {
            (true, _) => Length::Chunked,
            (false, Some(0)) => Length::None,
            (false, Some(length)) => Length::Sized(length),
            (false, None) => otherwise,
        }
    }
}

/// What went wrong in a head, in our words.
pub(super) const fn refused(error: httparse::Error, side: Side, limits: Limits) -> Refused {
    match (error, side) {
        (httparse::Error::HeaderName, _) => Refused::FieldName,
        (httparse::Error::HeaderValue, _) => Refused::FieldValue,
        (httparse::Error::NewLine, _) => Refused::LineEnd,
        (httparse::Error::TooManyHeaders, _) => Refused::TooManyFields(limits.fields),
        (httparse::Error::Version, _) => Refused::Version,
        (httparse::Error::Status | httparse::Error::Token, Side::Request) => Refused::RequestLine,
        (httparse::Error::Status | httparse::Error::Token, Side::Response) => Refused::StatusLine,
    }
}
