//! The numbers of balancing, each as a type that cannot hold a wrong one.

use std::fmt;
use std::num::NonZeroU32;

/// Numeric identifier of a server, unique within its backend (HAProxy manual, server keyword `id`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(pub u32);

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Weight of a server as written, 0 to 256; a server of weight 0 gets no new connection by balancing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u16);

/// A weight above 256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a weight of {0} is more than 256: give a weight from 0 to 256")]
pub struct InvalidWeight(pub u32);

impl Weight {
    /// No share at all.
    pub const ZERO: Self = Self(0);
    /// HAProxy manual, server keyword `weight`: "The default weight is 1".
    pub const DEFAULT: Self = Self(1);
    /// The greatest.
    pub const MAX: Self = Self(256);

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl TryFrom<u32> for Weight {
    type Error = InvalidWeight;

    fn try_from(value: u32) -> Result<Self, InvalidWeight> {
        match u16::try_from(value) {
            Ok(weight) if weight <= Self::MAX.0 => Ok(Self(weight)),
            Ok(_) | Err(_) => Err(InvalidWeight(value)),
        }
    }
}

/// What a server is worth at this moment: its weight with the agent's percentage and slow start applied.
///
/// Finer than a weight by [`Share::SCALE`], so that even a server of weight 1 can start slowly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(u32);

impl Share {
    /// The share of one unit of weight.
    pub const SCALE: u32 = 256;
    /// Nothing: the server may not be chosen.
    pub const ZERO: Self = Self(0);

    /// The whole of `weight`.
    #[must_use]
    pub const fn full(weight: Weight) -> Self {
        Self(weight.0 as u32 * Self::SCALE)
    }

    /// So many of the smallest shares, as a table counts them.
    pub(crate) const fn units(count: u32) -> Self {
        Self(count)
    }

    /// So many percent of this share.
    #[must_use]
    pub fn percent(self, percent: u8) -> Self {
        const HUNDRED: NonZeroU32 = NonZeroU32::MIN.saturating_add(99);
        self.scaled(u64::from(percent), HUNDRED)
    }

    /// `numerator / denominator` of this share, at least the smallest there is unless one of them is zero.
    #[must_use]
    pub fn scaled(self, numerator: u64, denominator: NonZeroU32) -> Self {
        let part = u64::from(self.0)
            .saturating_mul(numerator)
            .div_ceil(u64::from(denominator.get()));
        Self(
            u32::try_from(part)
                .unwrap_or(u32::MAX)
                .min(Self::full(Weight::MAX).0),
        )
    }

    /// The number, 0 to 65536.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// Which backup servers share the work when no active server may be chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backups {
    /// The first usable one, in the order of the configuration, takes all.
    #[default]
    First,
    /// HAProxy manual, `option allbackups`: all usable ones are balanced.
    All,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_is_at_most_256() {
        assert_eq!(Weight::try_from(256), Ok(Weight::MAX));
        assert_eq!(Weight::try_from(257), Err(InvalidWeight(257)));
        assert_eq!(Weight::try_from(70_000), Err(InvalidWeight(70_000)));
        assert_eq!(Weight::default().get(), 1);
    }

    #[test]
    fn a_part_of_a_share_is_never_rounded_to_nothing() {
        let hundred = NonZeroU32::new(100).unwrap();
        let one = Share::full(Weight::DEFAULT);
        assert_eq!(one.get(), 256);
        assert_eq!(one.scaled(50, hundred).get(), 128);
        assert_eq!(one.scaled(1, NonZeroU32::new(1_000_000).unwrap()).get(), 1);
        assert_eq!(one.scaled(0, hundred), Share::ZERO);
        assert_eq!(Share::ZERO.scaled(100, hundred), Share::ZERO);
        assert_eq!(
            Share::full(Weight::MAX).scaled(200, hundred),
            Share::full(Weight::MAX)
        );
    }
}
