//! Authentication of version 2: none, or the eight-byte password of RFC 2338 that everybody on the link can read.

use std::fmt;
use std::hint::black_box;

pub(super) const TYPE_NONE: u8 = 0;
pub(super) const TYPE_PASS: u8 = 1;
pub(super) const TYPE_HEADER: u8 = 2;
/// Bytes of authentication data at the end of every version 2 message.
pub(super) const DATA: usize = 8;

/// How the members of a virtual router recognise each other. Version 3 has only `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Not at all; the data is zero when sent and not looked at when received.
    None,
    /// By a password in clear text.
    Pass(Password),
}

impl Auth {
    pub(super) const fn type_number(self) -> u8 {
        match self {
            Self::None => TYPE_NONE,
            Self::Pass(_) => TYPE_PASS,
        }
    }

    pub(super) const fn data(self) -> [u8; DATA] {
        match self {
            Self::None => [0; DATA],
            Self::Pass(Password(bytes)) => bytes,
        }
    }
}

/// A password as it is on the wire. Does not print itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Password([u8; DATA]);

impl Password {
    /// Bytes of a longer password beyond these are not sent.
    pub const LENGTH_MAX: usize = DATA;

    /// The first eight bytes of `text`, padded with zero: what keepalived makes of the same text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut bytes = [0; DATA];
        for (slot, byte) in bytes.iter_mut().zip(text.bytes()) {
            *slot = byte;
        }
        Self(bytes)
    }

    /// Compares in a time that does not depend on how much of the password was right.
    pub(super) fn admits(self, received: [u8; DATA]) -> bool {
        let difference = self
            .0
            .iter()
            .zip(received)
            .fold(0, |sum, (ours, theirs)| black_box(sum | (ours ^ theirs)));
        black_box(difference) == 0
    }
}

impl From<[u8; DATA]> for Password {
    fn from(bytes: [u8; DATA]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(hidden)")
    }
}
