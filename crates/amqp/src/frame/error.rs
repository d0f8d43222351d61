//! What can be wrong with a frame, and what the peer is told.

use std::fmt;

use thiserror::Error;

use super::FrameKind;
use crate::method::MethodId;
use crate::reply::{Exception, Printed, ReplyCode};

/// A stream that cannot be taken apart any further.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The connection does not begin with a protocol header.
    #[error("the connection does not begin with the letters AMQP: check which port the peer was given")]
    NotAmqp,
    /// Larger than was negotiated. Said as soon as the header is there, nothing of the payload is kept.
    #[error(
        "a frame of type {kind} announces {size} octets, {payload_max} were agreed: make the peer keep to frame_max"
    )]
    TooLarge {
        /// Type octet.
        kind: u8,
        /// Octets of the payload, as announced.
        size: u32,
        /// What was agreed.
        payload_max: u32,
    },
    /// The octet after the payload is not the one that ends a frame.
    #[error("a frame of type {kind} ends with {end:#04x} instead of 0xce: the peer lost count")]
    WrongEnd {
        /// Type octet.
        kind: u8,
        /// The beginning of the payload.
        octets: Snippet,
        /// What was there instead.
        end: u8,
    },
    /// No such type, or a payload that this type cannot have.
    #[error("a frame of type {kind} with {octets} is none of AMQP 0-9-1: check what the peer speaks")]
    Unknown {
        /// Type octet.
        kind: u8,
        /// The beginning of the payload.
        octets: Snippet,
    },
    /// Heartbeats concern the connection.
    #[error("a heartbeat came on channel {0}: the peer has to send it on channel 0")]
    HeartbeatOnChannel(u16),
}

impl FrameError {
    /// What `connection.close` says about it. Nothing if there is no connection yet: the answer to what is not AMQP is
    /// the protocol header.
    #[must_use]
    pub fn exception(&self) -> Option<Exception> {
        let (code, explanation) = match self {
            Self::NotAmqp => return None,
            Self::TooLarge {
                kind,
                size,
                payload_max,
            } => (
                ReplyCode::FrameError,
                format!("type {kind}, all octets = <<>>: {{frame_too_large,{size},{payload_max}}}"),
            ),
            Self::WrongEnd { kind, octets, end } => (
                ReplyCode::FrameError,
                format!("type {kind}, {octets}: {{invalid_frame_end_marker,{end}}}"),
            ),
            Self::Unknown { kind, octets } => (
                ReplyCode::FrameError,
                format!("type {kind}, {octets}: unknown_frame"),
            ),
            Self::HeartbeatOnChannel(_) => {
                (ReplyCode::UnexpectedFrame, "type 8, all octets = <<>>".to_owned())
            }
        };
        Some(Exception::new(code, explanation, MethodId::NONE))
    }
}

/// What `connection.close` says about a frame that is none for the connection: a content on channel 0.
#[must_use]
pub fn unexpected(kind: FrameKind, payload: &[u8]) -> Exception {
    let size = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let explanation = format!("type {}, {}", kind.code(), Snippet::new(payload, size));
    Exception::new(ReplyCode::UnexpectedFrame, explanation, MethodId::NONE)
}

/// The beginning of a payload, for an error's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snippet {
    octets: Vec<u8>,
    whole: bool,
}

impl Snippet {
    const MAX: usize = 16;

    /// Keeps what will be shown of a payload of this size.
    pub(super) fn new(start: &[u8], size: u32) -> Self {
        let octets: Vec<u8> = start.iter().copied().take(Self::MAX).collect();
        Self {
            whole: u32::try_from(octets.len()) == Ok(size),
            octets,
        }
    }
}

impl fmt::Display for Snippet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let octets = Printed(&self.octets);
        match self.whole {
            true => write!(f, "all octets = {octets}"),
            false => write!(f, "first {} octets = {octets}", self.octets.len()),
        }
    }
}
