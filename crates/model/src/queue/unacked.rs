//! Messages that somebody has, by position.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::{Entry, Position};

/// Messages that somebody has.
#[derive(Debug, Default)]
pub(super) struct Unacked(HashMap<Position, Entry, BuildHasherDefault<Spread>>);

impl Unacked {
    pub(super) fn insert(&mut self, entry: Entry) {
        let before = self.0.insert(entry.position, entry);
        debug_assert!(before.is_none(), "a position is given out once");
    }

    pub(super) fn remove(&mut self, position: Position) -> Option<Entry> {
        self.0.remove(&position)
    }

    pub(super) fn positions(&self) -> impl Iterator<Item = Position> {
        self.0.keys().copied()
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.0.values()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Positions are our own and grow by one: a multiplication spreads them well enough, and nobody can choose them badly.
#[derive(Default)]
pub(super) struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, octets: &[u8]) {
        for octet in octets {
            self.write_u64(self.0 ^ u64::from(*octet));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // The golden ratio of 2^64.
        self.0 = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
