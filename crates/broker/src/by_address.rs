//! Maps from what messages are addressed to, exchange and routing key in one piece, which are looked into for many messages.
//!
//! The hash multiplies eight octets at a time with numbers that nobody outside the process knows: clients choose the keys.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::LazyLock;

use bytes::Bytes;

/// What there is of each address.
pub(crate) type ByAddress<T> = HashMap<Bytes, T, Keyed>;

/// Numbers of this process.
static KEY: LazyLock<[u64; 2]> = LazyLock::new(|| {
    let random = || RandomState::new().hash_one(0_u8);
    // An even factor would lose a bit of every octet.
    [random(), random() | 1]
});

/// Makes hashers that know the numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keyed([u64; 2]);

impl Default for Keyed {
    fn default() -> Self {
        Self(*KEY)
    }
}

impl BuildHasher for Keyed {
    type Hasher = Folded;

    fn build_hasher(&self) -> Folded {
        let Self([start, factor]) = *self;
        Folded { sum: start, factor }
    }
}

/// Both halves of each product go into the sum.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Folded {
    sum: u64,
    factor: u64,
}

impl Folded {
    fn fold(&mut self, word: u64) {
        let product = u128::from(self.sum ^ word) * u128::from(self.factor);
        self.sum = (product as u64) ^ (product >> 64) as u64;
    }
}

impl Hasher for Folded {
    fn write(&mut self, octets: &[u8]) {
        let (words, rest) = octets.as_chunks::<8>();
        for word in words {
            self.fold(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        for (to, octet) in last.iter_mut().zip(rest) {
            *to = *octet;
        }
        self.fold(u64::from_le_bytes(last));
    }

    fn write_usize(&mut self, number: usize) {
        self.fold(number as u64);
    }

    fn finish(&self) -> u64 {
        let mut last = *self;
        last.fold(0x9e37_79b9_7f4a_7c15);
        last.sum
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn addresses_that_differ_in_one_octet_or_in_length_have_other_hashes() {
        let keyed = Keyed([0x1234_5678_9abc_def0, 0xa076_1d64_78bd_642f]);
        let mut seen = HashSet::new();
        let mut count = 0;
        for length in 0..24_usize {
            for place in 0..length {
                for octet in 1..=255_u8 {
                    let mut address = vec![0; length];
                    *address.get_mut(place).unwrap() = octet;
                    seen.insert(keyed.hash_one(Bytes::from(address)));
                    count += 1;
                }
            }
            seen.insert(keyed.hash_one(Bytes::from(vec![0; length])));
            count += 1;
        }
        assert_eq!(seen.len(), count);
    }

    #[test]
    fn what_was_put_in_as_bytes_is_found_by_a_slice() {
        let mut map = ByAddress::default();
        for number in 0..1000_u32 {
            map.insert(Bytes::from(format!("\u{4}logs\u{8}key.{number}")), number);
        }
        for number in 0..1000_u32 {
            assert_eq!(
                map.get(format!("\u{4}logs\u{8}key.{number}").as_bytes()),
                Some(&number)
            );
        }
    }
}
