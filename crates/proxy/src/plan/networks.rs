//! Many networks, looked through at once.

use std::net::IpAddr;

/// Addresses of both families as ranges in order, which do not touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl Networks {
    /// All addresses of these, each a first address and how many of its bits count.
    #[must_use]
    pub fn new(networks: impl IntoIterator<Item = (IpAddr, u8)>) -> Self {
        let mut all = Self::default();
        for (address, length) in networks {
            match address {
                IpAddr::V4(address) => {
                    let own = u32::MAX.checked_shr(length.into()).unwrap_or(0);
                    let first = address.to_bits() & !own;
                    all.v4.push((first, first | own));
                }
                IpAddr::V6(address) => {
                    let own = u128::MAX.checked_shr(length.into()).unwrap_or(0);
                    let first = address.to_bits() & !own;
                    all.v6.push((first, first | own));
                }
            }
        }
        join(&mut all.v4, |last, first| last.saturating_add(1) >= first);
        join(&mut all.v6, |last, first| last.saturating_add(1) >= first);
        all
    }

    /// Whether an address is of one of them. An IPv4 address in IPv6's clothes is the one it stands for.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => is_within(&self.v4, address.to_bits()),
            IpAddr::V6(address) => is_within(&self.v6, address.to_bits()),
        }
    }
}

fn join<T: Ord + Copy>(ranges: &mut Vec<(T, T)>, touch: impl Fn(T, T) -> bool) {
    ranges.sort_unstable();
    ranges.dedup_by(|after, before| {
        let joined = touch(before.1, after.0);
        if joined {
            before.1 = before.1.max(after.1);
        }
        joined
    });
}

fn is_within<T: Ord + Copy>(ranges: &[(T, T)], address: T) -> bool {
    let before = ranges.partition_point(|(first, _)| *first <= address);
    let range = before.checked_sub(1).and_then(|place| ranges.get(place));
    range.is_some_and(|(_, last)| address <= *last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::session::condition::within;

    fn network() -> impl Strategy<Value = (IpAddr, u8)> {
        // Close to each other, so that they touch and overlap.
        prop_oneof![
            (0..=1024_u32, 0..=32_u8)
                .prop_map(|(bits, length)| (IpAddr::from(bits.rotate_right(10).to_be_bytes()), length)),
            (0..=1024_u128, 0..=128_u8)
                .prop_map(|(bits, length)| (IpAddr::from(bits.rotate_right(10).to_be_bytes()), length)),
            (0..=64_u32, 26..=32_u8).prop_map(|(bits, length)| (IpAddr::from(bits.to_be_bytes()), length)),
        ]
    }

    proptest! {
        #[test]
        fn an_address_is_within_all_of_them_if_it_is_within_one(
            networks in prop::collection::vec(network(), 0..20),
            address in network(),
        ) {
            let (address, _) = address;
            let expected = networks.iter().any(|(network, length)| within(address, *network, *length));
            prop_assert_eq!(Networks::new(networks).contains(address), expected);
        }
    }

    #[test]
    fn the_whole_and_the_last_address_are_ranges_like_others() {
        let whole = Networks::new([([0, 0, 0, 0].into(), 0), ([255, 255, 255, 255].into(), 32)]);
        assert!(whole.contains([255, 255, 255, 255].into()) && whole.contains([0, 0, 0, 0].into()));
        assert!(whole.contains("::ffff:192.0.2.1".parse().unwrap()));
        assert!(!whole.contains("::1".parse().unwrap()));
    }
}
