//! Reply codes: what a peer is told when something ends or fails.
//!
//! A code is said with its name and a text, `FRAME_ERROR - type 99, all octets = <<"x">>: unknown_frame`. Clients and
//! their tests compare those texts, so they are RabbitMQ's, down to the way Erlang prints octets.

use std::fmt::{self, Write as _};

use crate::method::MethodId;

/// The longest text a close method can carry: it is a short string.
const TEXT_MAX: usize = 255;

macro_rules! reply_codes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal $name:literal $weight:ident;)*) => {
        /// A reply code of AMQP 0-9-1 section 1.1, by its name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ReplyCode {
            $($(#[$doc])* $variant,)*
        }

        impl ReplyCode {
            /// Every code there is.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The number on the wire.
            #[must_use]
            pub const fn code(self) -> u16 {
                match self { $(Self::$variant => $code,)* }
            }

            /// The name that precedes the text, as in `NOT_ALLOWED - vhost v not found`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it ends.
            #[must_use]
            pub const fn weight(self) -> Weight {
                match self { $(Self::$variant => Weight::$weight,)* }
            }

            /// The code with this number, if the protocol has one. A peer may say any number.
            #[must_use]
            pub const fn of(code: u16) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

/// What a reply code ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Nothing: all is well.
    None,
    /// The channel.
    Channel,
    /// The connection.
    Connection,
}

reply_codes! {
    /// A close without a reason.
    Success = 200 "SUCCESS" None;
    /// The content is larger than the server takes.
    ContentTooLarge = 311 "CONTENT_TOO_LARGE" Channel;
    /// A mandatory message reached no queue.
    NoRoute = 312 "NO_ROUTE" Channel;
    /// An immediate message found no consumer.
    NoConsumers = 313 "NO_CONSUMERS" Channel;
    /// An operator, or the end of the server, closed the connection.
    ConnectionForced = 320 "CONNECTION_FORCED" Connection;
    /// The virtual host has a name that cannot be.
    InvalidPath = 402 "INVALID_PATH" Connection;
    /// The user may not do this.
    AccessRefused = 403 "ACCESS_REFUSED" Channel;
    /// There is no such queue or exchange.
    NotFound = 404 "NOT_FOUND" Channel;
    /// Somebody else has it for himself.
    ResourceLocked = 405 "RESOURCE_LOCKED" Channel;
    /// What was asked for does not agree with what is.
    PreconditionFailed = 406 "PRECONDITION_FAILED" Channel;
    /// A frame that cannot be decoded.
    FrameError = 501 "FRAME_ERROR" Connection;
    /// A frame with values that cannot be.
    SyntaxError = 502 "SYNTAX_ERROR" Connection;
    /// A method that has no place here.
    CommandInvalid = 503 "COMMAND_INVALID" Connection;
    /// A channel that is not open, or open already.
    ChannelError = 504 "CHANNEL_ERROR" Connection;
    /// A frame of a kind that was not expected.
    UnexpectedFrame = 505 "UNEXPECTED_FRAME" Connection;
    /// The server has not enough of something.
    ResourceError = 506 "RESOURCE_ERROR" Connection;
    /// Not permitted, whoever asks.
    NotAllowed = 530 "NOT_ALLOWED" Connection;
    /// The server cannot do this.
    NotImplemented = 540 "NOT_IMPLEMENTED" Connection;
    /// The server is at fault.
    InternalError = 541 "INTERNAL_ERROR" Connection;
}

/// What goes into a close method: a code, a text that begins with its name, and the method that caused it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Why.
    pub code: ReplyCode,
    /// In words, at most 255 octets.
    pub text: String,
    /// The method that was at fault, [`MethodId::NONE`] if no method was.
    pub method: MethodId,
}

impl Exception {
    /// The name of the code and the explanation; one that is too long ends in `...`, as RabbitMQ's do.
    #[must_use]
    pub fn new(code: ReplyCode, explanation: impl fmt::Display, method: MethodId) -> Self {
        let mut text = format!("{} - {explanation}", code.name());
        if text.len() > TEXT_MAX {
            text.truncate(text.floor_char_boundary(TEXT_MAX - 3));
            text.push_str("...");
        }
        Self { code, text, method }
    }
}

/// Octets as Erlang's `~p` prints a binary: a string if all of it can be printed, numbers otherwise.
pub(crate) struct Printed<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Printed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let printable = |octet: &u8| (0x20..0x7f).contains(octet);
        if self.0.is_empty() || !self.0.iter().all(printable) {
            return Numbers(self.0).fmt(f);
        }
        f.write_str("<<\"")?;
        for octet in self.0 {
            if matches!(octet, b'"' | b'\\') {
                f.write_char('\\')?;
            }
            f.write_char(char::from(*octet))?;
        }
        f.write_str("\">>")
    }
}

/// Octets as Erlang's `~w` prints a binary: always numbers.
pub(crate) struct Numbers<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Numbers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<<")?;
        for (index, octet) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{octet}")?;
        }
        f.write_str(">>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_found_by_its_number() {
        for code in ReplyCode::ALL {
            assert_eq!(ReplyCode::of(code.code()), Some(*code));
        }
        assert_eq!(ReplyCode::of(500), None);
        assert_eq!(ReplyCode::ALL.len(), 19);
    }

    #[test]
    fn codes_that_end_a_connection_are_those_of_the_specification() {
        let hard: Vec<u16> = ReplyCode::ALL
            .iter()
            .filter(|code| code.weight() == Weight::Connection)
            .map(|code| code.code())
            .collect();
        assert_eq!(hard, [320, 402, 501, 502, 503, 504, 505, 506, 530, 540, 541]);
    }

    #[test]
    fn octets_are_printed_as_erlang_does() {
        assert_eq!(Printed(b"").to_string(), "<<>>");
        assert_eq!(Printed(b"a\"b").to_string(), r#"<<"a\"b">>"#);
        assert_eq!(Printed(&[0, 20]).to_string(), "<<0,20>>");
        assert_eq!(Numbers(b"x").to_string(), "<<120>>");
    }

    #[test]
    fn a_text_that_is_too_long_for_a_short_string_is_cut() {
        let exact = Exception::new(ReplyCode::NotFound, "x".repeat(255 - 12), MethodId::NONE);
        assert_eq!(exact.text.len(), 255);
        assert!(exact.text.ends_with('x'));
        let long = Exception::new(ReplyCode::NotFound, "兔".repeat(100), MethodId::NONE);
        assert!(long.text.len() <= 255, "{}", long.text.len());
        assert!(long.text.ends_with("兔..."));
    }
}
