//! Hashing that gives the same number in every process, on every host and in every version.
//!
//! Two hosts that share an address must send the same client to the same server, and a restart must not move
//! anybody: so there is no seed, and the known values in the tests may not change. It resists no attacker: who
//! chooses his own address chooses his server, and gains nothing by it.

use std::hash::{BuildHasherDefault, Hasher};
use std::net::IpAddr;

/// Spreads `value` over all 64 bits; a bijection, so different values stay different.
#[must_use]
pub const fn mix(value: u64) -> u64 {
    let mut mixed = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Key of a client's address. An IPv4 address and its IPv6-mapped form are the same client.
#[must_use]
pub const fn of_address(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(v4) => mix(v4.to_bits() as u64),
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            mix(mix((bits >> 64) as u64) ^ bits as u64)
        }
    }
}

/// Key of any other attribute: a path, a user name, a virtual host.
#[must_use]
pub fn of_bytes(bytes: &[u8]) -> u64 {
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    bytes.chunks(8).fold(mix(length), |hash, chunk| {
        let word = chunk
            .iter()
            .fold(0_u64, |word, byte| (word << 8) | u64::from(*byte));
        mix(hash ^ word)
    })
}

/// For maps that are asked with every request and whose keys the operator has chosen, or the process itself. Who may
/// choose keys for others to find slowly has to be kept from it by another one.
pub type Known = BuildHasherDefault<KnownHasher>;

/// See [`Known`].
#[derive(Clone, Copy, Debug, Default)]
pub struct KnownHasher(u64);

impl Hasher for KnownHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = mix(self.0 ^ of_bytes(bytes));
    }

    fn write_usize(&mut self, number: usize) {
        self.0 = mix(self.0 ^ number as u64);
    }

    /// What ends a text; [`of_bytes`] knows its length.
    fn write_u8(&mut self, number: u8) {
        self.0 ^= u64::from(number);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_client_has_the_same_key_in_every_version() {
        let key = |text: &str| of_address(text.parse().unwrap());
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn the_length_is_part_of_the_key() {
        assert_ne!(of_bytes(b""), of_bytes(b"\0"));
        assert_ne!(of_bytes(b"\0"), of_bytes(b"\0\0"));
        assert_ne!(of_bytes(b"abcdefgh"), of_bytes(b"abcdefgh\0"));
        assert_eq!(of_bytes(b"/vhost"), of_bytes(b"/vhost"));
    }

    #[test]
    fn neighbouring_addresses_spread_evenly() {
        let mut buckets = [0_u32; 16];
        for host in 0..65_536_u32 {
            let key = of_address(IpAddr::V4((0x0a00_0000 + host).into()));
            buckets[usize::try_from(key % 16).unwrap()] += 1;
        }
        // 4096 expected; five standard deviations are 310.
        assert!(
            buckets.iter().all(|count| count.abs_diff(4096) < 310),
            "{buckets:?}"
        );
    }
}
