//! Where a message that was refused goes wrong: for people, who have to find it.
//!
//! Reading stops at the first octet that cannot stand where it stands; the places are those of HAProxy's parser, whose
//! names for them tools and people know (`MSG_HDR_NAME(17)`). A head without such an octet is wrong as a whole, and then
//! the field is named that the refusal is about.

use super::Refused;

/// Whose message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A client's.
    Request,
    /// A server's.
    Response,
}

/// The place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Octets before it.
    pub position: usize,
    /// In which part of the message.
    pub part: Part,
}

/// Parts of a message, numbered as HAProxy does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Before a request.
    RequestBefore = 0,
    /// Its method.
    Method = 2,
    /// Its target.
    Target = 4,
    /// Its version.
    RequestVersion = 6,
    /// Before a response.
    ResponseBefore = 8,
    /// Its version.
    ResponseVersion = 10,
    /// Its status.
    Status = 12,
    /// What follows the status.
    Reason = 14,
    /// A field's name.
    FieldName = 17,
    /// Its value.
    FieldValue = 22,
    /// The LF of its line.
    LineEnd = 23,
    /// After its line: the field as a whole.
    FieldEnd = 24,
    /// The empty line.
    HeadEnd = 25,
    /// The size of a chunk of the body.
    ChunkSize = 26,
}

impl Part {
    /// HAProxy's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RequestBefore => "MSG_RQBEFORE",
            Self::Method => "MSG_RQMETH",
            Self::Target => "MSG_RQURI",
            Self::RequestVersion => "MSG_RQVER",
            Self::ResponseBefore => "MSG_RPBEFORE",
            Self::ResponseVersion => "MSG_RPVER",
            Self::Status => "MSG_RPCODE",
            Self::Reason => "MSG_RPREASON",
            Self::FieldName => "MSG_HDR_NAME",
            Self::FieldValue => "MSG_HDR_VAL",
            Self::LineEnd => "MSG_HDR_L2_LF",
            Self::FieldEnd => "MSG_HDR_L2_LWS",
            Self::HeadEnd => "MSG_LAST_LF",
            Self::ChunkSize => "MSG_CHUNK_SIZE",
        }
    }
}

impl Fault {
    /// Where `octets`, which were refused for this reason, go wrong.
    #[must_use]
    pub fn find(octets: &[u8], origin: Origin, refused: Refused) -> Self {
        let mut part = match origin {
            Origin::Request => Part::RequestBefore,
            Origin::Response => Part::ResponseBefore,
        };
        // Where the part begins, the last name, and where the last field that the refusal is about has its value.
        let (mut begin, mut blamed) = (0, None);
        let mut name: &[u8] = &[];
        for (position, octet) in octets.iter().copied().enumerate() {
            let next = follow(part, octet, position == begin);
            match next {
                Some(Part::FieldValue) if part == Part::FieldName => {
                    name = octets.get(begin..position).unwrap_or_default();
                }
                // The blanks before a value do not belong to it.
                Some(Part::FieldValue) if begin == position && matches!(octet, b' ' | b'\t') => begin += 1,
                Some(Part::LineEnd | Part::FieldName)
                    if part == Part::FieldValue && is_about(refused, name) =>
                {
                    blamed = Some(begin);
                }
                Some(_) => {}
                None if matches!(part, Part::RequestVersion | Part::ResponseVersion)
                    && refused == Refused::Version =>
                {
                    return Self {
                        position: begin,
                        part,
                    };
                }
                None => return Self { position, part },
            }
            if let Some(next) = next
                && next != part
            {
                if part == Part::HeadEnd || (part == Part::FieldName && next == Part::ChunkSize) {
                    // The head is whole.
                    let whole = Self {
                        position: position + 1,
                        part: Part::ChunkSize,
                    };
                    return blamed.map_or(whole, |position| Self {
                        position,
                        part: Part::FieldEnd,
                    });
                }
                (part, begin) = (next, position + 1);
            }
        }
        Self {
            position: octets.len(),
            part,
        }
    }
}

/// What comes after an octet; `None` if it cannot stand here. `first`: it is the first one of the part.
fn follow(part: Part, octet: u8, first: bool) -> Option<Part> {
    let version = |next: Part| match octet {
        b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' => Some(part),
        b' ' if part == Part::ResponseVersion && !first => Some(next),
        b'\r' | b'\n' if part == Part::RequestVersion && !first => Some(next),
        _ => None,
    };
    match (part, octet) {
        (Part::RequestBefore, b'\r' | b'\n') | (Part::ResponseBefore, b'\r' | b'\n') => Some(part),
        (Part::RequestBefore, _) => is_token(octet).then_some(Part::Method),
        (Part::ResponseBefore, b'A'..=b'Z') => Some(Part::ResponseVersion),
        (Part::Method, b' ') => Some(Part::Target),
        (Part::Method, _) => is_token(octet).then_some(part),
        (Part::Target, b' ') if !first => Some(Part::RequestVersion),
        (Part::Target, b'!'..=b'~') => Some(part),
        (Part::RequestVersion, b'\r') if !first => Some(Part::LineEnd),
        (Part::RequestVersion, _) => version(Part::FieldName),
        (Part::ResponseVersion, _) => version(Part::Status),
        (Part::Status, b'0'..=b'9') => Some(part),
        (Part::Status, b' ') if !first => Some(Part::Reason),
        (Part::Status | Part::Reason | Part::FieldValue, b'\r') => Some(Part::LineEnd),
        (Part::Status | Part::Reason | Part::FieldValue | Part::LineEnd, b'\n') => Some(Part::FieldName),
        (Part::Reason | Part::FieldValue, b'\t' | b' '..=b'~' | 0x80..) => Some(part),
        (Part::FieldName, b':') if !first => Some(Part::FieldValue),
        (Part::FieldName, b'\r') if first => Some(Part::HeadEnd),
        (Part::FieldName, b'\n') if first => Some(Part::ChunkSize),
        (Part::FieldName, _) => is_token(octet).then_some(part),
        (Part::HeadEnd, b'\n') => Some(Part::ChunkSize),
        _ => None,
    }
}

fn is_token(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet)
}

/// Whether a refusal is about fields of this name.
fn is_about(refused: Refused, name: &[u8]) -> bool {
    let blamed: &[u8] = match refused {
        Refused::Hosts => b"host",
        Refused::LengthInvalid | Refused::LengthTooLarge | Refused::LengthsDiffer => b"content-length",
        Refused::LengthAndEncoding | Refused::EncodingUnknown | Refused::EncodingInvalid => {
            b"transfer-encoding"
        }
        Refused::TargetTooLong(_)
        | Refused::HeadTooLong(_)
        | Refused::TooManyFields(_)
        | Refused::RequestLine
        | Refused::StatusLine
        | Refused::Version
        | Refused::Target
        | Refused::FieldName
        | Refused::FieldValue
        | Refused::LineEnd
        | Refused::ChunkSize
        | Refused::ChunkEnd
        | Refused::ChunkLineTooLong
        | Refused::TrailersTooLong => return false,
    };
    name.eq_ignore_ascii_case(blamed)
}

#[cfg(test)]
mod tests {
    use super::super::{Limits, Request, Response};
    use super::*;

    fn request(octets: &[u8]) -> (usize, Part) {
        let refused = Request::default().read(octets, Limits::default()).unwrap_err();
        let fault = Fault::find(octets, Origin::Request, refused);
        (fault.position, fault.part)
    }

    fn response(octets: &[u8]) -> (usize, Part) {
        let refused = Response::default().read(octets, Limits::default()).unwrap_err();
        let fault = Fault::find(octets, Origin::Response, refused);
        (fault.position, fault.part)
    }

    /// The positions are those that HAProxy 2.6 says of the same octets.
    #[test]
    fn the_place_is_the_first_octet_that_cannot_stand_there() {
        assert_eq!(
            request(b"GET /ok HTTP/1.1\r\nHo st: a\r\n\r\n"),
            (20, Part::FieldName)
        );
        assert_eq!(request(b"\x16\x03\x01\x02\x00"), (0, Part::RequestBefore));
        let long = [b"GET /", &[b'x'; 20_000][..]].concat();
        let long = &long[..Limits::default().head];
        assert_eq!(request(long), (long.len(), Part::Target));
        assert_eq!(
            response(b"HTTP/1.1 200 OK\r\nServ\x01er: x\r\n\r\n"),
            (21, Part::FieldName)
        );
        assert_eq!(response(b"SSH-2.0-OpenSSH\r\n"), (3, Part::ResponseVersion));
    }

    #[test]
    fn a_head_that_is_wrong_as_a_whole_names_the_field() {
        assert_eq!(
            response(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
            (52, Part::FieldEnd)
        );
        assert_eq!(
            request(b"GET / HTTP/1.1\r\nHost: a\r\nHost:  b\r\nX: y\r\n\r\n"),
            (32, Part::FieldEnd)
        );
    }

    #[test]
    fn whatever_comes_the_place_is_within_it() {
        for end in 0..=255 {
            for text in [
                &b"GET / HTTP/1.1\r\nA:\n"[..],
                b"HTTP/1.1 200\r\n\r",
                b"\r\n",
                b"",
            ] {
                let octets = [text, &[end, end]].concat();
                for origin in [Origin::Request, Origin::Response] {
                    let fault = Fault::find(&octets, origin, Refused::LengthInvalid);
                    assert!(fault.position <= octets.len(), "{octets:?} {fault:?}");
                }
            }
        }
    }
}
