//! Names of vhosts, exchanges, queues and users.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// The most octets of a name: it has to fit into a short string.
pub const NAME_MAX: usize = warren_amqp::SHORT_MAX;

/// A name, cheap to copy.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// Octets that cannot be a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidName {
    /// AMQP says that a short string is UTF-8.
    #[error("the name is not UTF-8")]
    NotText,
    /// It would not fit into a frame.
    #[error("{0} octets are too many for a name: use 255 or fewer")]
    TooLong(usize),
}

impl Name {
    /// The name of the default exchange.
    #[must_use]
    pub fn empty() -> Self {
        Self(Arc::from(""))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&[u8]> for Name {
    type Error = InvalidName;

    fn try_from(octets: &[u8]) -> Result<Self, InvalidName> {
        std::str::from_utf8(octets)
            .map_err(|_| InvalidName::NotText)?
            .try_into()
    }
}

impl TryFrom<&str> for Name {
    type Error = InvalidName;

    fn try_from(text: &str) -> Result<Self, InvalidName> {
        match text.len() {
            0..=NAME_MAX => Ok(Self(Arc::from(text))),
            length => Err(InvalidName::TooLong(length)),
        }
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.as_str().try_into().map_err(serde::de::Error::custom)
    }
}
