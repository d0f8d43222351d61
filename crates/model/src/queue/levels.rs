//! The messages of a queue that nobody has, by priority.
//!
//! There may be 256 priorities, most of which have nothing most of the time. Of each it is known in a bit whether there is something in it,
//! so that a message costs about the same however many there could be.

use super::Entry;
use super::ready::{Ready, Run};

/// One bit for each level.
#[derive(Clone, Copy, Debug, Default)]
struct Bits([u64; 4]);

impl Bits {
    fn set(&mut self, level: usize, value: bool) {
        if let Some(word) = self.0.get_mut(level / 64) {
            let bit = 1 << (level % 64);
            *word = if value { *word | bit } else { *word & !bit };
        }
    }

    /// Levels with a bit, from the lowest.
    fn up(self) -> impl Iterator<Item = usize> {
        (0..).zip(self.0).flat_map(|(index, mut word)| {
            std::iter::from_fn(move || {
                let bit = (word != 0).then(|| word.trailing_zeros() as usize)?;
                word &= word - 1;
                Some(64 * index + bit)
            })
        })
    }

    /// Levels with a bit, from the highest.
    fn down(self) -> impl Iterator<Item = usize> {
        (0..4).zip(self.0).rev().flat_map(|(index, mut word)| {
            std::iter::from_fn(move || {
                let bit = word.checked_ilog2()? as usize;
                word &= !(1 << bit);
                Some(64 * index + bit)
            })
        })
    }
}

/// All levels. The highest is served first.
#[derive(Debug)]
pub(super) struct Levels {
    /// One if the queue has no priorities.
    all: Vec<Ready>,
    /// There is something, in memory or on disk.
    used: Bits,
    /// The time of the first message runs out.
    timed: Bits,
    /// There is more than a head has room for.
    deep: Bits,
}

impl Levels {
    pub(super) fn new(count: usize) -> Self {
        Self {
            all: std::iter::repeat_with(|| Ready::one_of(count))
                .take(count)
                .collect(),
            used: Bits::default(),
            timed: Bits::default(),
            deep: Bits::default(),
        }
    }

    /// How many there are, with something in them or not.
    pub(super) const fn len(&self) -> usize {
        self.all.len()
    }

    /// Changes one. `None`: there is no such.
    pub(super) fn change<T>(&mut self, level: usize, change: impl FnOnce(&mut Ready) -> T) -> Option<T> {
        let ready = self.all.get_mut(level)?;
        let changed = change(ready);
        self.used.set(level, !ready.is_empty());
        let expires = ready.first().and_then(|first| first.expires);
        self.timed.set(level, expires.is_some());
        self.deep.set(level, ready.is_deep());
        Some(changed)
    }

    /// Levels in which there is something, from the lowest.
    pub(super) fn used(&self) -> impl Iterator<Item = (usize, &Ready)> {
        self.these(self.used)
    }

    /// Those whose first message has a time.
    pub(super) fn timed(&self) -> impl Iterator<Item = (usize, &Ready)> {
        self.these(self.timed)
    }

    /// Those that have more than a head has room for.
    pub(super) fn deep(&self) -> impl Iterator<Item = (usize, &Ready)> {
        self.these(self.deep)
    }

    /// What the highest of them says that says something.
    pub(super) fn highest_deep<T>(&self, say: impl Fn(usize, &Ready) -> Option<T>) -> Option<T> {
        self.deep
            .down()
            .find_map(|level| say(level, self.all.get(level)?))
    }

    fn these(&self, bits: Bits) -> impl Iterator<Item = (usize, &Ready)> {
        bits.up().filter_map(|level| Some((level, self.all.get(level)?)))
    }

    /// What is delivered next, or leaves next: not from a lower level while the rest of a higher one has to be fetched.
    pub(super) fn pop(&mut self) -> Option<Entry> {
        let highest = self.used.down().next()?;
        self.change(highest, Ready::pop)?
    }

    /// What is only on disk.
    pub(super) fn gaps(&self) -> impl Iterator<Item = &Run> {
        self.deep().flat_map(|(_, ready)| ready.gap())
    }
}

#[cfg(test)]
mod tests {
    use super::Bits;

    #[test]
    fn bits_are_levels_in_both_orders() {
        let mut bits = Bits::default();
        let levels = [0, 1, 62, 63, 64, 127, 128, 200, 255];
        levels.iter().rev().for_each(|level| bits.set(*level, true));
        assert!(bits.up().eq(levels));
        assert!(bits.down().eq(levels.into_iter().rev()));
        bits.set(64, false);
        bits.set(256, true);
        assert_eq!((bits.up().count(), bits.up().nth(4)), (8, Some(127)));
    }
}
