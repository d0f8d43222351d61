//! Maps from channel numbers, which are looked into for every frame.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// What there is of each channel.
pub(crate) type ByChannel<T> = HashMap<u16, T, BuildHasherDefault<Spread>>;

/// Clients choose the numbers, but there are so few of them that no choice makes a map much slower.
#[derive(Default)]
pub(crate) struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, octets: &[u8]) {
        for octet in octets {
            self.write_u16((*octet).into());
        }
    }

    fn write_u16(&mut self, number: u16) {
        // The golden ratio of 2^64.
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
