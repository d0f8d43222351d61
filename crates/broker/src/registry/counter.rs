//! Numbers that one task changes and others look at.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that grows. One task adds, so that adding is a load, an add and a store, and nobody waits for a cache line.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Only by the one task that counts.
    #[inline]
    pub(crate) fn add(&self, count: u64) {
        let sum = self.0.load(Ordering::Relaxed).wrapping_add(count);
        self.0.store(sum, Ordering::Relaxed);
    }

    /// How many there were.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that rises and falls. One task changes it.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Only by the one task that counts.
    #[inline]
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// How many there are.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::{Counter, Gauge};

    #[test]
    fn what_was_added_is_there() {
        let (counter, gauge) = (Counter::default(), Gauge::default());
        (1..=4).for_each(|count| counter.add(count));
        gauge.set(7);
        gauge.set(3);
        assert_eq!((counter.get(), gauge.get()), (10, 3));
    }
}
