//! HTTP/1.0 and HTTP/1.1 as a proxy needs it (RFC 9110, RFC 9112): heads within limits, where messages end, and whether
//! a connection goes on.
//!
//! ```text
//!   octets ─▶ Request::read ─▶ method, target, fields, keep-alive, ... ─▶ set_header, set_target, ... ─▶ write
//!                 └─▶ Length ─▶ Body::take: how many of the octets that follow belong to this message
//! ```
//!
//! A head is the *places* of its parts within octets that somebody else keeps: reading does not copy or allocate once
//! its list of fields has grown to its size, and a head that nobody changed goes on as it came. Two readers
//! of one message that disagree about its end are how requests are smuggled, so whatever can be read in two ways is
//! refused or, where that is harmless, goes on written anew in the one way ([`Request::irregular`]).
//!
//! Absent on purpose: HTTP/2, decoding of contents, and what a field means to anybody but a proxy.

mod body;
mod edit;
mod fault;
mod fields;
mod request;
mod response;
#[cfg(test)]
mod tests;

pub use body::{Body, CHUNK_LINE_MAX, Length, TRAILERS_MAX, Taken};
pub use edit::Persistence;
pub use fault::{Fault, Origin, Part};
pub use fields::{Fields, list};
pub use request::{Request, Target};
pub use response::Response;

/// Fields that a head may have whatever the configuration says.
pub const FIELDS_MAX: usize = 128;

/// Of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets, with the empty line at its end.
    pub head: usize,
    /// Fields; [`FIELDS_MAX`] at most. HAProxy manual, `tune.http.maxhdr`: 101 unless said otherwise.
    pub fields: usize,
}

impl Limits {
    /// For a buffer of so many octets: as in HAProxy, a sixteenth of it is kept for what is added to a head
    /// (`tune.bufsize`, `tune.maxrewrite`).
    #[must_use]
    pub const fn of_buffer(octets: usize) -> Self {
        Self {
            head: octets - octets / 16,
            fields: 101,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::of_buffer(16_384)
    }
}

/// What is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0: a connection ends with its response unless both sides want otherwise.
    Http10,
    /// HTTP/1.1: a connection goes on unless one side wants otherwise.
    #[default]
    Http11,
}

impl Version {
    /// As in a start line.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
        }
    }

    const fn minor(minor: Option<u8>) -> Self {
        match minor {
            Some(0) => Self::Http10,
            _ => Self::Http11,
        }
    }
}

/// Why a message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The request line alone is longer than a head may be.
    #[error("the request line is longer than {0} octets")]
    TargetTooLong(usize),
    /// The head is longer than it may be.
    #[error("the head is longer than {0} octets")]
    HeadTooLong(usize),
    /// More fields than there may be.
    #[error("the head has more than {0} fields")]
    TooManyFields(usize),
    /// Not `METHOD target HTTP/1.x`. HTTP/0.9 has no version and looks like this, too.
    #[error("the first line is not that of a request")]
    RequestLine,
    /// Not `HTTP/1.x status reason`.
    #[error("the first line is not that of a response")]
    StatusLine,
    /// HTTP/2 or anything else.
    #[error("HTTP/1.0 and HTTP/1.1 are the versions spoken here")]
    Version,
    /// The target is no path, no absolute URI, no authority and not `*`, or does not go with the method.
    #[error("the target of the request is none")]
    Target,
    /// Not a token, or followed by a space before the colon (RFC 9112 5.1).
    #[error("the name of a field is none")]
    FieldName,
    /// Has a NUL, a bare CR or another control character, or is continued on the next line (RFC 9112 5.2).
    #[error("the value of a field is none")]
    FieldValue,
    /// A CR that no LF follows.
    #[error("a line has no end")]
    LineEnd,
    /// Several `Host` that differ, or one that differs from an absolute target.
    #[error("it is for different hosts at once")]
    Hosts,
    /// `Content-Length` that is no number.
    #[error("its length is no number")]
    LengthInvalid,
    /// `Content-Length` beyond what can be counted.
    #[error("its length is beyond what can be counted")]
    LengthTooLarge,
    /// Several `Content-Length` that differ.
    #[error("it has different lengths at once")]
    LengthsDiffer,
    /// `Content-Length` and `Transfer-Encoding` (RFC 9112 6.1: ought to be handled as an attack).
    #[error("it has a length and a transfer encoding")]
    LengthAndEncoding,
    /// A `Transfer-Encoding` that is unknown, or in HTTP/1.0.
    #[error("its transfer encoding is not known")]
    EncodingUnknown,
    /// A `Transfer-Encoding` in which `chunked` is not last, or not once (RFC 9112 6.3).
    #[error("its transfer encoding does not tell where it ends")]
    EncodingInvalid,
    /// A chunk without a size, or with an impossible one.
    #[error("the size of a chunk is no number")]
    ChunkSize,
    /// A chunk does not end where its size says, or its line has a bare CR or LF.
    #[error("a chunk does not end where it says")]
    ChunkEnd,
    /// The line of a chunk, with its extensions, is longer than [`CHUNK_LINE_MAX`].
    #[error("the line of a chunk is longer than {CHUNK_LINE_MAX} octets")]
    ChunkLineTooLong,
    /// The trailers are longer than [`TRAILERS_MAX`].
    #[error("the trailers are longer than {TRAILERS_MAX} octets")]
    TrailersTooLong,
}

impl Refused {
    /// The status of the answer to a request. A response that is refused is a 502 whatever is wrong with it.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::TargetTooLong(_) => 414,
            Self::HeadTooLong(_) | Self::TooManyFields(_) | Self::TrailersTooLong => 431,
            Self::Version => 505,
            Self::LengthTooLarge => 413,
            Self::EncodingUnknown => 501,
            Self::RequestLine
            | Self::StatusLine
            | Self::Target
            | Self::FieldName
            | Self::FieldValue
            | Self::LineEnd
            | Self::Hosts
            | Self::LengthInvalid
            | Self::LengthsDiffer
            | Self::LengthAndEncoding
            | Self::EncodingInvalid
            | Self::ChunkSize
            | Self::ChunkEnd
            | Self::ChunkLineTooLong => 400,
        }
    }
}
