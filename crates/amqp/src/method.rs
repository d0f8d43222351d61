//! Methods: what peers ask of each other, and how each is told from the others.
//!
//! ```text
//!    0           2            4
//!   +-----------+------------+---------------------------+
//!   | class id  | method id  | arguments, by the method  |
//!   +-----------+------------+---------------------------+
//! ```
//!
//! One file per class. Absent so far: every class but connection.

mod class;
pub mod connection;

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

use crate::frame::{self, FRAME_END, FrameKind, FrameMax, HEADER_LENGTH, TooLarge};
use crate::reply::{Exception, Numbers, ReplyCode};

/// Class and method, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MethodId {
    /// 10 for connection, 20 for channel and so on.
    pub class: u16,
    /// The number within the class.
    pub method: u16,
}

impl MethodId {
    /// What a close says if no method was at fault.
    pub const NONE: Self = Self::new(0, 0);

    /// From the two numbers.
    #[must_use]
    pub const fn new(class: u16, method: u16) -> Self {
        Self { class, method }
    }

    /// From the first four octets of a method's payload.
    #[must_use]
    pub fn of(payload: &[u8]) -> Option<Self> {
        let [c1, c2, m1, m2] = *payload.first_chunk()?;
        Some(Self::new(
            u16::from_be_bytes([c1, c2]),
            u16::from_be_bytes([m1, m2]),
        ))
    }
}

impl fmt::Display for MethodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({},{})", self.class, self.method)
    }
}

/// A method that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MethodError {
    /// No such class or method, or none that has a place where it came.
    #[error("method {0} is not known here: the peer has to send methods of AMQP 0-9-1 where they belong")]
    Unknown(MethodId),
    /// The arguments are shorter or longer than the method has them, or contain what cannot be.
    #[error("the arguments of method {id} cannot be decoded: the peer has to send them as AMQP 0-9-1 says")]
    Malformed {
        /// Which method.
        id: MethodId,
        /// All that came after the ids.
        arguments: Bytes,
    },
}

impl MethodError {
    /// What `connection.close` says about it.
    ///
    /// For a method that does not exist RabbitMQ drops the connection without a word; it gets the answer here that
    /// RabbitMQ has for a method in the wrong place.
    #[must_use]
    pub fn exception(&self) -> Exception {
        match self {
            Self::Unknown(id) => Exception::new(ReplyCode::CommandInvalid, "unimplemented method", *id),
            Self::Malformed { id, arguments } => {
                // More than this does not fit into the text anyway.
                let start = Numbers(arguments.get(..255).unwrap_or(arguments));
                Exception::new(ReplyCode::FrameError, format_args!("cannot decode {start}"), *id)
            }
        }
    }
}

/// Appends a whole frame with the payload that `write` writes, or nothing if it is larger than agreed.
fn encode_frame(
    channel: u16,
    frame_max: FrameMax,
    out: &mut BytesMut,
    write: impl FnOnce(&mut BytesMut),
) -> Result<(), TooLarge> {
    let start = out.len();
    out.put_slice(&frame::header(FrameKind::Method, channel, 0));
    write(out);
    match frame_max.fits(out.len() - start - HEADER_LENGTH) {
        Ok(size) => {
            let header = frame::header(FrameKind::Method, channel, size);
            if let Some(place) = out.get_mut(start..start + HEADER_LENGTH) {
                place.copy_from_slice(&header);
            }
            out.put_u8(FRAME_END);
            Ok(())
        }
        Err(too_large) => {
            out.truncate(start);
            Err(too_large)
        }
    }
}
