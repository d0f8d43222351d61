//! A hash for numbers that we hand out ourselves: nobody can choose them to collide.

use std::hash::{BuildHasherDefault, Hasher};

pub(crate) type ByNumber = BuildHasherDefault<NumberHasher>;

/// Multiplies by an odd constant and folds, which spreads successive numbers over the table.
#[derive(Debug, Default)]
pub(crate) struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, octets: &[u8]) {
        for octet in octets {
            self.write_u64(u64::from(*octet));
        }
    }

    fn write_u64(&mut self, number: u64) {
        let wide = u128::from(self.0 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
        self.0 = (wide as u64) ^ (wide >> 64) as u64;
    }
}
