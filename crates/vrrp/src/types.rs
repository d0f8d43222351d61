//! The numbers of the protocol, each as a type that cannot hold a wrong one.

use std::fmt;
use std::num::NonZeroU8;

/// Virtual Router Identifier, 1 to 255, unique per interface and address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vrid(NonZeroU8);

/// Zero is not a VRID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a virtual router identifier is a number from 1 to 255")]
pub struct InvalidVrid;

impl Vrid {
    /// The number on the wire.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0.get()
    }
}

impl TryFrom<u8> for Vrid {
    type Error = InvalidVrid;

    fn try_from(value: u8) -> Result<Self, InvalidVrid> {
        NonZeroU8::new(value).map(Self).ok_or(InvalidVrid)
    }
}

impl fmt::Display for Vrid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Priority as it stands in an advertisement: 255 is the address owner's, 0 says "I stop".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(pub u8);

impl Priority {
    /// The address owner's priority.
    pub const OWNER: Self = Self(255);
    /// The priority that resigns.
    pub const RESIGN: Self = Self(0);
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// RFC 3768: IPv4 only, intervals in whole seconds.
    V2,
    /// RFC 9568: both families, intervals in centiseconds.
    V3,
}

impl Version {
    /// The number in the packet's first nibble.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }
}

/// Address family of a virtual router. The same VRID on both is two virtual routers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}
