//! Advertisement intervals in the units of the wire.

use std::num::NonZeroU16;
use std::time::Duration;

use crate::types::Version;

/// An advertisement interval that its version can express: never zero, never too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Interval {
    version: Version,
    units: NonZeroU16,
}

/// Why a duration cannot be an advertisement interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidInterval {
    /// RFC 9568 erratum 8301: every timer would expire at once.
    #[error(
        "an advertisement interval of zero would never let a router sleep: use at least {least:?} with VRRPv{version}",
        least = unit(*.version), version = .version.number()
    )]
    Zero {
        /// The version meant to send it.
        version: Version,
    },
    /// Between two steps of the version's unit.
    #[error(
        "an advertisement interval of {got:?} is not a multiple of {unit:?}, the unit of VRRPv{version}: use one that is",
        unit = unit(*.version), version = .version.number()
    )]
    Fraction {
        /// The duration asked for.
        got: Duration,
        /// The version meant to send it.
        version: Version,
    },
    /// More than the field holds.
    #[error(
        "an advertisement interval of {got:?} is longer than VRRPv{version} can say: use at most {longest:?}",
        version = .version.number(), longest = Interval::longest(*.version)
    )]
    TooLong {
        /// The duration asked for.
        got: Duration,
        /// The version meant to send it.
        version: Version,
    },
}

impl Interval {
    /// Checks that `version` can say `interval`: 1 to 255 whole seconds in version 2, 1 to 4095 hundredths in version 3.
    pub fn new(version: Version, interval: Duration) -> Result<Self, InvalidInterval> {
        let unit = unit(version).as_nanos();
        let nanos = interval.as_nanos();
        if nanos > Self::longest(version).as_nanos() {
            return Err(InvalidInterval::TooLong {
                got: interval,
                version,
            });
        }
        if !nanos.is_multiple_of(unit) {
            return Err(InvalidInterval::Fraction {
                got: interval,
                version,
            });
        }
        u16::try_from(nanos / unit)
            .ok()
            .and_then(NonZeroU16::new)
            .map(|units| Self { version, units })
            .ok_or(InvalidInterval::Zero { version })
    }

    /// The longest interval `version` can say: 255 s or 40.95 s.
    #[must_use]
    pub const fn longest(version: Version) -> Duration {
        match version {
            Version::V2 => Duration::from_secs(255),
            Version::V3 => Duration::from_millis(40_950),
        }
    }

    /// The version it is for.
    #[must_use]
    pub const fn version(self) -> Version {
        self.version
    }

    /// As a duration.
    #[must_use]
    pub fn duration(self) -> Duration {
        unit(self.version) * u32::from(self.units.get())
    }

    /// The number on the wire: seconds or hundredths of a second.
    #[must_use]
    pub const fn units(self) -> u16 {
        self.units.get()
    }
}

impl From<Interval> for Duration {
    fn from(interval: Interval) -> Self {
        interval.duration()
    }
}

/// One step of the interval field.
pub(super) const fn unit(version: Version) -> Duration {
    match version {
        Version::V2 => Duration::from_secs(1),
        Version::V3 => Duration::from_millis(10),
    }
}
