//! How large messages are that clients publish, in RabbitMQ's classes.

use super::Counter;

/// The largest body of each class, in octets; what is larger is in one more.
const BOUNDS: [u64; 8] = [
    100,
    1000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    50_000_000,
    100_000_000,
];
const CLASSES: usize = BOUNDS.len() + 1;

/// Of one connection, whose task alone adds.
#[derive(Debug, Default)]
pub struct Sizes {
    classes: [Counter; CLASSES],
    octets: Counter,
}

impl Sizes {
    /// One more message, of so many octets.
    #[inline]
    pub(crate) fn add(&self, octets: u64) {
        let class = BOUNDS.iter().position(|bound| octets <= *bound);
        if let Some(class) = self.classes.get(class.unwrap_or(BOUNDS.len())) {
            class.add(1);
        }
        self.octets.add(octets);
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.classes.iter().map(Counter::get).sum()
    }
}

/// Of several connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SizesSum {
    classes: [u64; CLASSES],
    /// Octets of all bodies.
    pub octets: u64,
}

impl SizesSum {
    pub(super) fn add(&mut self, sizes: &Sizes) {
        for (sum, class) in self.classes.iter_mut().zip(&sizes.classes) {
            *sum += class.get();
        }
        self.octets += sizes.octets.get();
    }

    /// How many messages there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.classes.iter().sum()
    }

    /// Each bound with the messages that are not larger.
    pub fn up_to(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut sum = 0;
        BOUNDS.into_iter().zip(self.classes).map(move |(bound, count)| {
            sum += count;
            (bound, sum)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_in_the_class_of_its_size_and_counted_up_to_all_larger_ones() {
        let (sizes, mut sum) = (Sizes::default(), SizesSum::default());
        for octets in [0, 100, 101, 10_000, 50_000_000, 100_000_001] {
            sizes.add(octets);
        }
        sum.add(&sizes);
        let up_to: Vec<u64> = sum.up_to().map(|(_, count)| count).collect();
        assert_eq!(up_to, [2, 3, 4, 4, 4, 4, 5, 5]);
        assert_eq!((sizes.count(), sum.count(), sum.octets), (6, 6, 150_010_202));
        sum.add(&sizes);
        assert_eq!((sum.count(), sum.octets), (12, 300_020_404));
    }
}
