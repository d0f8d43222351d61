//! What can be wrong with a content, and what the peer is told.

use thiserror::Error;

use super::{BODY_SIZE_MAX, InvalidHeader};
use crate::basic;
use crate::method::{MethodError, MethodId};
use crate::reply::{Exception, ReplyCode};

/// Frames that are not one method, one header and as much body as that says.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ContentError {
    /// A header or a body without a method before it.
    #[error("a part of a content came without a method: the peer has to send that first")]
    NoMethod,
    /// Something else where a header should be.
    #[error(
        "something other than a content header came after method {method}: the peer has to send that next"
    )]
    NoHeader {
        /// The method that announced a content.
        method: MethodId,
    },
    /// A header for the contents of another class.
    #[error(
        "a content header for class {class} came after method {method}: the peer has to send one for class 60"
    )]
    WrongClass {
        /// The method that announced a content.
        method: MethodId,
        /// The class in the header.
        class: u16,
    },
    /// Something else where a body should be.
    #[error("something other than a content body came for method {method}: the peer has to send all of it")]
    NoBody {
        /// The method that announced a content.
        method: MethodId,
    },
    /// More body than the header said.
    #[error(
        "the body for method {method} has {surplus} octets more than its header says: make the peer count right"
    )]
    BodyTooLong {
        /// The method that announced a content.
        method: MethodId,
        /// So many more.
        surplus: u64,
    },
    /// More body than is taken at all.
    #[error(
        "a message of {size} octets is announced, {max} are allowed: send less, or raise max_message_size"
    )]
    TooLarge {
        /// The method that announced a content.
        method: MethodId,
        /// Octets announced.
        size: u64,
        /// Octets allowed.
        max: u64,
    },
    /// Properties that cannot be read.
    #[error("the properties after method {method} cannot be read: {reason}")]
    Header {
        /// The method that announced a content.
        method: MethodId,
        /// Why.
        reason: InvalidHeader,
    },
    /// The method itself cannot be read.
    #[error(transparent)]
    Method(#[from] MethodError),
}

impl ContentError {
    /// What `channel.close` or `connection.close`, by the weight of the code, says about it.
    #[must_use]
    pub fn exception(&self) -> Exception {
        let unexpected = |text: String, method| Exception::new(ReplyCode::UnexpectedFrame, text, method);
        let class = basic::CLASS;
        match self {
            Self::NoMethod => unexpected(
                "expected method frame, got non method frame instead".to_owned(),
                MethodId::NONE,
            ),
            Self::NoHeader { method } => unexpected(
                format!("expected content header for class {class}, got non content header frame instead"),
                *method,
            ),
            Self::WrongClass { method, class: got } => unexpected(
                format!("expected content header for class {class}, got one for class {got} instead"),
                *method,
            ),
            Self::NoBody { method } => unexpected(
                "expected content body, got non content body frame instead".to_owned(),
                *method,
            ),
            // RabbitMQ waits for ever for a body of just the right size.
            Self::BodyTooLong { method, surplus } => unexpected(
                format!("expected end of content body, got {surplus} octets more"),
                *method,
            ),
            Self::TooLarge { method, size, max } => {
                let configured = if *max == BODY_SIZE_MAX { "" } else { "configured " };
                Exception::new(
                    ReplyCode::PreconditionFailed,
                    format_args!("message size {size} is larger than {configured}max size {max}"),
                    *method,
                )
            }
            // RabbitMQ's channel process crashes, and its text is a dump of that.
            Self::Header { method, reason } => Exception::new(
                ReplyCode::SyntaxError,
                format_args!("invalid properties: {reason}"),
                *method,
            ),
            Self::Method(error) => error.exception(),
        }
    }
}
