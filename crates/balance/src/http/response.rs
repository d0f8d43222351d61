//! The head of a response.

use std::mem::MaybeUninit;

use super::fields::{Facts, Field, Side, Span, refused, take};
use super::{FIELDS_MAX, Fields, Length, Limits, Refused, Request, Version};

/// The head of a response: where its parts are within octets that are kept elsewhere. Every call that takes `octets`
/// means those it was read from, or a copy.
#[derive(Clone, Debug, Default)]
pub struct Response {
    pub(super) version: Version,
    pub(super) status: u16,
    pub(super) reason: Span,
    pub(super) fields: Vec<Field>,
    pub(super) facts: Facts,
    start: usize,
    end: usize,
}

impl Response {
    /// Reads the head that `octets` begin with. Says how many octets it takes, or nothing if its end has not come yet.
    ///
    /// # Errors
    /// It is none, or beyond the limits.
    pub fn read(&mut self, octets: &[u8], limits: Limits) -> Result<Option<usize>, Refused> {
        let mut headers = [const { MaybeUninit::uninit() }; FIELDS_MAX];
        let headers = headers.get_mut(..limits.fields).unwrap_or_default();
        let mut parsed = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let status = config.parse_response_with_uninit_headers(&mut parsed, octets, headers);
        let end = match status {
            Ok(httparse::Status::Complete(end)) if end <= limits.head => end,
            Ok(httparse::Status::Partial) if octets.len() < limits.head => return Ok(None),
            Ok(_) => return Err(Refused::HeadTooLong(limits.head)),
            Err(httparse::Error::Version) if !octets.trim_ascii_start().starts_with(b"HTTP/") => {
                return Err(Refused::StatusLine);
            }
            Err(error) => return Err(refused(error, Side::Response, limits)),
        };
        let (Some(status @ 100..=999), Some(reason)) = (parsed.code, parsed.reason) else {
            return Err(Refused::StatusLine);
        };
        let head = octets.get(..end).unwrap_or_default();
        self.version = Version::minor(parsed.version);
        self.status = status;
        self.start = status_line(head);
        self.end = end;
        // The parser gives an empty reason, of nowhere, for one that is not ASCII.
        self.reason = if reason.is_empty() {
            Span::default()
        } else {
            Span::of(reason.as_bytes(), head)
        };
        self.facts = take(
            &mut self.fields,
            head,
            parsed.headers,
            self.version,
            Side::Response,
        )?;
        Ok(Some(end))
    }

    /// The status, 100 to 999.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// 1xx: another head follows. 101 is the last one.
    #[must_use]
    pub const fn interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    /// The server spoke this.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// What follows the status, for people.
    #[must_use]
    pub fn reason<'a>(&self, octets: &'a [u8]) -> &'a str {
        self.reason.text(octets)
    }

    /// All fields.
    #[must_use]
    pub fn fields<'a>(&'a self, octets: &'a [u8]) -> Fields<'a> {
        Fields {
            octets,
            places: &self.fields,
        }
    }

    /// The octets of the head without empty lines before it: what goes on if nothing was changed.
    #[must_use]
    pub fn original<'a>(&self, octets: &'a [u8]) -> &'a [u8] {
        octets.get(self.start..self.end).unwrap_or_default()
    }

    /// It has to be [written](Self::write) anew, as [`Request::irregular`].
    #[must_use]
    pub const fn irregular(&self) -> bool {
        self.facts.irregular
    }

    /// The server keeps the connection for another request, if the response ends before the connection does.
    #[must_use]
    pub const fn persistent(&self) -> bool {
        self.facts.persistent(self.version)
    }

    /// Where the body ends, if this answers a request with the method that `request`, read from `octets`, has
    /// (RFC 9112 6.3).
    #[must_use]
    pub fn length(&self, request: &Request, octets: &[u8]) -> Length {
        self.length_for(request.is_head(octets), request.is_connect(octets))
    }

    /// As [`Response::length`], of a request whose head is kept no longer.
    #[must_use]
    pub const fn length_for(&self, head: bool, connect: bool) -> Length {
        match self.status {
            101 => Length::Tunnel,
            200..=299 if connect => Length::Tunnel,
            100..=199 | 204 | 304 => Length::None,
            _ if head => Length::None,
            // A response whose last encoding is not chunked ends with the connection, too.
            _ => self.facts.body(Length::UntilClose),
        }
    }
}

/// Where the status line begins: the parser skips empty lines.
fn status_line(octets: &[u8]) -> usize {
    let empty = |octet: &u8| matches!(octet, b'\r' | b'\n');
    octets.iter().take_while(|octet| empty(octet)).count()
}
