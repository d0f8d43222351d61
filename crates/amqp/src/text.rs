//! Strings: short ones of at most 255 octets, and those that nobody may see.

use std::fmt;

use bytes::Bytes;
use thiserror::Error;

/// The most octets a short string has.
pub const SHORT_MAX: usize = 255;

/// A string with one octet of length before it. AMQP says that it is UTF-8, clients send what they like, and it goes
/// through a broker unchanged: therefore octets.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShortString(Bytes);

/// A short string has one octet for its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{0} octets are too many for a short string: use 255 or fewer")]
pub struct TooLong(pub usize);

impl ShortString {
    /// From text that cannot be too long, since it is in the program; what is too long is cut.
    #[must_use]
    pub const fn from_static(text: &'static str) -> Self {
        match text.as_bytes().split_at_checked(SHORT_MAX) {
            Some((start, _)) => Self(Bytes::from_static(start)),
            None => Self(Bytes::from_static(text.as_bytes())),
        }
    }

    /// The octets.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As text, with a replacement character for what is not UTF-8.
    #[must_use]
    pub fn to_text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }

    /// From what was read with one octet of length.
    pub(crate) fn read(octets: Bytes) -> Self {
        debug_assert!(octets.len() <= SHORT_MAX);
        Self(octets)
    }
}

impl TryFrom<Bytes> for ShortString {
    type Error = TooLong;

    fn try_from(octets: Bytes) -> Result<Self, TooLong> {
        match octets.len() {
            0..=SHORT_MAX => Ok(Self(octets)),
            length => Err(TooLong(length)),
        }
    }
}

impl TryFrom<&str> for ShortString {
    type Error = TooLong;

    fn try_from(text: &str) -> Result<Self, TooLong> {
        Self::try_from(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl PartialEq<str> for ShortString {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<&str> for ShortString {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

impl fmt::Debug for ShortString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_text())
    }
}

impl fmt::Display for ShortString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

/// A password or token: octets that are sent and never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Bytes);

impl Secret {
    /// No secret at all.
    #[must_use]
    pub const fn empty() -> Self {
        Self(Bytes::new())
    }

    /// The octets, for who has to check them.
    #[must_use]
    pub const fn reveal(&self) -> &Bytes {
        &self.0
    }
}

impl From<Bytes> for Secret {
    fn from(octets: Bytes) -> Self {
        Self(octets)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let shown = format!("{:?}", Secret::from(Bytes::from_static(b"hunter2")));
        assert_eq!(shown, "(secret)");
    }

    #[test]
    fn a_short_string_has_at_most_255_octets() {
        assert!(ShortString::try_from("x".repeat(255).as_str()).is_ok());
        assert_eq!(ShortString::try_from("x".repeat(256).as_str()), Err(TooLong(256)));
    }
}
