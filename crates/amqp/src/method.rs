//! Methods: what peers ask of each other, and how each is told from the others.
//!
//! ```text
//!    0           2            4
//!   +-----------+------------+---------------------------+
//!   | class id  | method id  | arguments, by the method  |
//!   +-----------+------------+---------------------------+
//! ```
//!
//! One file per class. [`Method`] is any of them; strings in it are slices of what was read.

pub mod access;
pub mod basic;
pub mod channel;
mod class;
pub mod confirm;
pub mod connection;
pub mod exchange;
pub mod queue;
pub mod tx;

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

impl MethodId {
    /// Whether a content header and a body come after it.
    #[must_use]
    pub const fn has_content(self) -> bool {
        matches!((self.class, self.method), (basic::CLASS, 40 | 50 | 60 | 71))
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
    /// A short string that is not text.
    #[error("a short string is not UTF-8: the peer has to send names as text")]
    NotUtf8,
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
            Self::NotUtf8 => Exception::new(
                ReplyCode::FrameError,
                "Malformed UTF-8 in shortstr",
                MethodId::NONE,
            ),
        }
    }
}

macro_rules! classes {
    ($($class:ident: $variant:ident;)*) => {
        /// Any method.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Method {
            $(#[doc = concat!("Of class ", stringify!($class), ".")] $variant($class::Method),)*
        }

        impl Method {
            /// The ids of all of them, class by class.
            pub const IDS: &[&[MethodId]] = &[$($class::Method::IDS,)*];

            /// One of each, with arguments made of these octets.
            #[cfg(test)]
            fn samples(seed: &mut class::sample::Seed) -> Vec<Self> {
                let mut samples = Vec::new();
                $(samples.extend($class::Method::samples(seed).into_iter().map(Self::$variant));)*
                samples
            }

            /// Which one it is.
            #[must_use]
            pub const fn id(&self) -> MethodId {
                match self { $(Self::$variant(method) => method.id(),)* }
            }

            /// Reads the payload of a method frame. Strings are slices of it.
            pub fn decode(payload: &Bytes) -> Result<Self, MethodError> {
                let id = MethodId::of(payload).ok_or_else(|| MethodError::Malformed {
                    id: MethodId::NONE,
                    arguments: payload.clone(),
                })?;
                match id.class {
                    $($class::CLASS => $class::Method::decode(payload).map(Self::$variant),)*
                    _ => Err(MethodError::Unknown(id)),
                }
            }

            /// Appends the payload of a method frame.
            pub(crate) fn write(&self, out: &mut BytesMut) {
                match self { $(Self::$variant(method) => method.write(out),)* }
            }
        }

        $(impl From<$class::Method> for Method {
            fn from(method: $class::Method) -> Self {
                Self::$variant(method)
            }
        })*
    };
}

classes! {
    connection: Connection;
    channel: Channel;
    access: Access;
    exchange: Exchange;
    queue: Queue;
    basic: Basic;
    confirm: Confirm;
    tx: Tx;
}

impl Method {
    /// Appends the whole frame to what will be sent, or nothing if the peer would refuse it.
    pub fn encode(&self, channel: u16, frame_max: FrameMax, out: &mut BytesMut) -> Result<(), TooLarge> {
        encode_frame(channel, frame_max, out, |out| self.write(out))
    }
}

/// Octets of a frame with a method that are enough for most.
const MOSTLY: usize = 64;

/// Appends a whole frame with the payload that `write` writes, or nothing if it is larger than agreed.
fn encode_frame(
    channel: u16,
    frame_max: FrameMax,
    out: &mut BytesMut,
    write: impl FnOnce(&mut BytesMut),
) -> Result<(), TooLarge> {
    let start = out.len();
    // In an empty buffer each of its parts would ask for a little more memory than there is.
    out.reserve(MOSTLY);
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

#[cfg(test)]
mod tests;
