//! Class connection: who speaks, within which limits, on which virtual host, and why it ends. Always on channel 0.
//!
//! ```text
//!   client                                    server
//!     │ protocol header ──────────────────────▶ │
//!     │ ◀──────────────────────────────── start │   properties, mechanisms
//!     │ start-ok ─────────────────────────────▶ │   properties, mechanism, response
//!     │ ◀───── secure, secure-ok ─────────────▶ │   as often as the mechanism wants; PLAIN never does
//!     │ ◀───────────────────────────────── tune │   limits offered
//!     │ tune-ok, open ────────────────────────▶ │   limits taken; virtual host
//!     │ ◀────────────────────────────── open-ok │
//!     │ ◀───────────── blocked, unblocked ───── │   RabbitMQ's: no publishing for now
//!     │ update-secret ──── update-secret-ok ──▶ │   RabbitMQ's: a token that replaces an old one
//!     │ ◀────────── close, close-ok ──────────▶ │   from either side
//! ```

use bytes::Bytes;

use super::class::methods;
use crate::reply::{Exception, ReplyCode};
use crate::table::Table;
use crate::text::{Secret, ShortString};

methods! {
    10;

    /// The server's greeting.
    10 Start {
        /// Of the protocol: 0.
        version_major: u8,
        /// Of the protocol: 9.
        version_minor: u8,
        /// What the server says about itself; `capabilities` is a table in it.
        server_properties: Table,
        /// How one can log in, separated by spaces.
        mechanisms: Bytes,
        /// Languages of the texts, separated by spaces.
        locales: Bytes,
    }

    /// The client's greeting and login.
    11 StartOk {
        /// What the client says about itself; `capabilities` is a table in it.
        client_properties: Table,
        /// How it logs in.
        mechanism: ShortString,
        /// As whom, by the rules of the mechanism.
        response: Secret,
        /// Language of the texts.
        locale: ShortString,
    }

    /// A question of the login mechanism.
    20 Secure {
        /// By the rules of the mechanism.
        challenge: Bytes,
    }

    /// The answer.
    21 SecureOk {
        /// By the rules of the mechanism.
        response: Secret,
    }

    /// The limits that the server offers; 0 is none.
    30 Tune {
        /// The highest channel number.
        channel_max: u16,
        /// The largest frame.
        frame_max: u32,
        /// Seconds between signs of life.
        heartbeat: u16,
    }

    /// The limits that the client takes; 0 is none.
    31 TuneOk {
        /// The highest channel number.
        channel_max: u16,
        /// The largest frame.
        frame_max: u32,
        /// Seconds between signs of life.
        heartbeat: u16,
    }

    /// The client chooses the virtual host.
    40 Open {
        /// Its name.
        virtual_host: ShortString,
        /// Once capabilities; empty.
        reserved_1: ShortString,
        /// Once insist; unset.
        reserved_2: bool,
    }

    /// The connection is open.
    41 OpenOk {
        /// Once known hosts; empty.
        reserved_1: ShortString,
    }

    /// The connection ends. Nothing is sent after it but close-ok.
    50 Close {
        /// Why, as a number; see [`ReplyCode::of`].
        reply_code: u16,
        /// Why, in words.
        reply_text: ShortString,
        /// The class of the method that was at fault, or 0.
        class_id: u16,
        /// The method that was at fault, or 0.
        method_id: u16,
    }

    /// The connection has ended.
    51 CloseOk {}

    /// The server takes no messages for now.
    60 Blocked {
        /// Why, as `low on memory`.
        reason: ShortString,
    }

    /// It takes them again.
    61 Unblocked {}

    /// The client replaces the secret with which it logged in.
    70 UpdateSecret {
        /// The new one.
        new_secret: Secret,
        /// For the log.
        reason: ShortString,
    }

    /// The secret is replaced.
    71 UpdateSecretOk {}
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

#[cfg(test)]
mod tests;
