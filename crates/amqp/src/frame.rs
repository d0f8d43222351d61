//! Frames: the pieces in which everything after the protocol header travels.
//!
//! ```text
//!    0      1         3             7                    7 + size
//!   +------+---------+-------------+--------------------+------+
//!   | type | channel | size        | payload            | 0xCE |
//!   +------+---------+-------------+--------------------+------+
//!
//!   type 1  method     class id, method id, arguments
//!   type 2  header     class id, weight, body size, properties
//!   type 3  body       a part of the content, as it is
//!   type 8  heartbeat  nothing, on channel 0
//! ```
//!
//! Two ways to take a stream apart. [`Splitter`] gives whole frames, whose payloads are slices of what was read, one by
//! one or as a [`Chunk`] of all there are; it is for who wants to understand. [`Tracker`] gives only the places where
//! frames end and keeps no more than a header; it is for who passes octets on. Neither copies a payload or allocates
//! for a frame.
//!
//! Absent on purpose: reading and writing sockets, and contents, which consist of several frames.

mod chunk;
mod error;
mod split;
mod track;

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

pub use chunk::{Chunk, Place};
pub use error::{FrameError, Snippet, unexpected};
pub use split::{Item, Splitter};
pub use track::{Boundary, KEPT, Passed, Paused, Tracker};

use crate::method::MethodId;

/// Octets before the payload.
pub const HEADER_LENGTH: usize = 7;
/// What a frame costs beyond its payload: header and end.
pub const OVERHEAD: usize = HEADER_LENGTH + 1;
/// The octet after every payload.
pub const FRAME_END: u8 = 0xCE;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// A method with its arguments.
    Method,
    /// The properties and size of a content.
    Header,
    /// A part of a content.
    Body,
    /// A sign of life.
    Heartbeat,
}

impl FrameKind {
    /// The number on the wire. Heartbeats are 8; the specification's table says so and its grammar does not.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Method => 1,
            Self::Header => 2,
            Self::Body => 3,
            Self::Heartbeat => 8,
        }
    }

    /// The kind with this number, if there is one.
    #[must_use]
    pub const fn of(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Method),
            2 => Some(Self::Header),
            3 => Some(Self::Body),
            8 => Some(Self::Heartbeat),
            _ => None,
        }
    }
}

/// A whole frame. The payload is a slice of the octets read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it carries.
    pub kind: FrameKind,
    /// The channel; 0 is the connection itself.
    pub channel: u16,
    /// What is between the header and the end.
    pub payload: Bytes,
}

impl Frame {
    /// A sign of life.
    pub const HEARTBEAT: Self = Self {
        kind: FrameKind::Heartbeat,
        channel: 0,
        payload: Bytes::new(),
    };

    /// Which method it is, if it carries one.
    #[must_use]
    pub fn method(&self) -> Option<MethodId> {
        match self.kind {
            FrameKind::Method => MethodId::of(&self.payload),
            FrameKind::Header | FrameKind::Body | FrameKind::Heartbeat => None,
        }
    }

    /// Appends it to what will be sent, unless the peer would refuse it.
    pub fn encode(&self, frame_max: FrameMax, out: &mut BytesMut) -> Result<(), TooLarge> {
        let size = frame_max.fits(self.payload.len())?;
        out.reserve(self.payload.len() + OVERHEAD);
        out.put_slice(&header(self.kind, self.channel, size));
        out.put_slice(&self.payload);
        out.put_u8(FRAME_END);
        Ok(())
    }
}

/// The octets before a payload of this size, for who sends payloads from where they are; [`FRAME_END`] goes after it.
#[must_use]
pub const fn header(kind: FrameKind, channel: u16, size: u32) -> [u8; HEADER_LENGTH] {
    let [c1, c2] = channel.to_be_bytes();
    let [s1, s2, s3, s4] = size.to_be_bytes();
    [kind.code(), c1, c2, s1, s2, s3, s4]
}

/// How large a frame may be, header and end included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FrameMax(u32);

/// No frame can be promised to be smaller than the specification's minimum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("frame_max {0} is below the smallest that AMQP allows: use 4096 or more")]
pub struct InvalidFrameMax(pub u32);

/// The peer would refuse such a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "a payload of {size} octets does not fit into a frame of {frame_max}: send less, or negotiate a larger frame_max"
)]
pub struct TooLarge {
    /// Octets of the payload.
    pub size: usize,
    /// The limit.
    pub frame_max: u32,
}

impl FrameMax {
    /// What every peer has to accept, and what counts until `connection.tune-ok` has said more.
    pub const MIN: Self = Self(4096);
    /// What RabbitMQ and we offer.
    pub const DEFAULT: Self = Self(131_072);
    /// No limit but what the size field can say. Only for a [`Tracker`], which does not keep what it sees.
    pub const UNLIMITED: Self = Self(u32::MAX);

    /// A limit.
    pub const fn new(octets: u32) -> Result<Self, InvalidFrameMax> {
        if octets < Self::MIN.0 {
            return Err(InvalidFrameMax(octets));
        }
        Ok(Self(octets))
    }

    /// The number that is negotiated.
    #[must_use]
    pub const fn octets(self) -> u32 {
        self.0
    }

    /// The largest payload that may be sent.
    #[must_use]
    pub const fn payload(self) -> u32 {
        self.0 - OVERHEAD as u32
    }

    /// The largest payload that is taken. Some clients believe that frame_max is about the payload, so that much is
    /// forgiven, as RabbitMQ does.
    pub(crate) const fn payload_taken(self) -> u32 {
        self.0
    }

    pub(crate) fn fits(self, size: usize) -> Result<u32, TooLarge> {
        let too_large = TooLarge {
            size,
            frame_max: self.0,
        };
        match u32::try_from(size) {
            Ok(size) if size <= self.payload() => Ok(size),
            Ok(_) | Err(_) => Err(too_large),
        }
    }
}

impl Default for FrameMax {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The seven octets before a payload, as read.
#[derive(Clone, Copy, Debug)]
struct Head {
    kind: u8,
    channel: u16,
    size: u32,
}

impl Head {
    const fn decode([kind, c1, c2, s1, s2, s3, s4]: [u8; HEADER_LENGTH]) -> Self {
        Self {
            kind,
            channel: u16::from_be_bytes([c1, c2]),
            size: u32::from_be_bytes([s1, s2, s3, s4]),
        }
    }

    fn check_size(self, frame_max: FrameMax) -> Result<(), FrameError> {
        if self.size > frame_max.payload_taken() {
            return Err(FrameError::TooLarge {
                kind: self.kind,
                size: self.size,
                payload_max: frame_max.payload(),
            });
        }
        Ok(())
    }

    /// What RabbitMQ checks once it has the whole frame, in its order. `start` is the beginning of the payload.
    fn check_whole(self, start: &[u8], end: u8) -> Result<FrameKind, FrameError> {
        let snippet = || Snippet::new(start, self.size);
        if end != FRAME_END {
            return Err(FrameError::WrongEnd {
                kind: self.kind,
                octets: snippet(),
                end,
            });
        }
        let known = FrameKind::of(self.kind).filter(|kind| match kind {
            FrameKind::Method => self.size >= 4,
            FrameKind::Heartbeat => self.size == 0,
            // Class, weight and body size.
            FrameKind::Header => self.size >= 12,
            FrameKind::Body => true,
        });
        let Some(kind) = known else {
            return Err(FrameError::Unknown {
                kind: self.kind,
                octets: snippet(),
            });
        };
        if kind == FrameKind::Heartbeat && self.channel != 0 {
            return Err(FrameError::HeartbeatOnChannel(self.channel));
        }
        Ok(kind)
    }
}

#[cfg(test)]
mod tests;
