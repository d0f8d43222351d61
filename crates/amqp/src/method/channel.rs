//! Class channel: many conversations over one connection.
//!
//! ```text
//!   client                                    server
//!     │ open ─────────────────────────────────▶ │   on a number that is free
//!     │ ◀────────────────────────────── open-ok │
//!     │ ◀─────────── flow, flow-ok ───────────▶ │   RabbitMQ answers to active and refuses to stop
//!     │ ◀────────── close, close-ok ──────────▶ │   from either side; what comes before close-ok is ignored
//! ```

use bytes::Bytes;

use super::class::methods;
use crate::reply::{Exception, ReplyCode};
use crate::text::ShortString;

methods! {
    20;

    /// The client opens the channel on whose number this comes.
    10 Open {
        /// Once settings out of band; empty.
        reserved_1: ShortString,
    }

    /// The channel is open.
    11 OpenOk {
        /// Once its id; empty.
        reserved_1: Bytes,
    }

    /// The other side is to send contents, or no more of them.
    20 Flow {
        /// Whether to send.
        active: bool,
    }

    /// It does so.
    21 FlowOk {
        /// Whether contents are sent.
        active: bool,
    }

    /// The channel ends. Nothing is sent on it after this but close-ok.
    40 Close {
        /// Why, as a number; see [`ReplyCode::of`].
        reply_code: u16,
        /// Why, in words.
        reply_text: ShortString,
        /// The class of the method that was at fault, or 0.
        class_id: u16,
        /// The method that was at fault, or 0.
        method_id: u16,
    }

    /// The channel has ended; its number is free.
    41 CloseOk {}
}

impl Close {
    /// An end without a fault.
    #[must_use]
    pub const fn normal(text: &'static str) -> Self {
        Self {
            reply_code: ReplyCode::Success.code(),
            reply_text: ShortString::from_static(text),
            class_id: 0,
            method_id: 0,
        }
    }
}

impl From<&Exception> for Close {
    fn from(exception: &Exception) -> Self {
        Self {
            reply_code: exception.code.code(),
            // An exception's text is never too long.
            reply_text: ShortString::try_from(exception.text.as_str()).unwrap_or_default(),
            class_id: exception.method.class,
            method_id: exception.method.method,
        }
    }
}
