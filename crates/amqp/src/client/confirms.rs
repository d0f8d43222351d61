//! Which published messages the server has not answered for.

use std::collections::BTreeSet;

/// The numbers of a channel's messages after confirm.select, from 1 on. It grows with what is unconfirmed, which is for
/// the publisher to bound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confirms {
    last: u64,
    open: BTreeSet<u64>,
}

impl Confirms {
    /// A message is published: its number.
    pub fn published(&mut self) -> u64 {
        self.last += 1;
        self.open.insert(self.last);
        self.last
    }

    /// The server answered, by ack or nack: the messages for which it had not done so before.
    pub fn settle(&mut self, delivery_tag: u64, multiple: bool) -> Vec<u64> {
        match (delivery_tag, multiple) {
            (0, true) => std::mem::take(&mut self.open).into_iter().collect(),
            (tag, true) => {
                let later = self.open.split_off(&tag.saturating_add(1));
                std::mem::replace(&mut self.open, later).into_iter().collect()
            }
            (tag, false) => self.open.take(&tag).into_iter().collect(),
        }
    }

    /// Those that the server has not answered for, in order.
    pub fn outstanding(&self) -> impl Iterator<Item = u64> {
        self.open.iter().copied()
    }

    /// How many that are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_is_settled_once_however_the_server_says_it() {
        let mut confirms = Confirms::default();
        let numbers: Vec<u64> = (0..6).map(|_| confirms.published()).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
        assert_eq!(confirms.settle(2, false), [2]);
        assert_eq!(confirms.settle(2, false), []);
        assert_eq!(confirms.settle(4, true), [1, 3, 4]);
        assert_eq!(confirms.outstanding().collect::<Vec<_>>(), [5, 6]);
        assert_eq!(confirms.settle(99, false), []);
        assert_eq!(confirms.settle(0, true), [5, 6]);
        assert_eq!((confirms.count(), confirms.published()), (0, 7));
    }

    #[test]
    fn the_largest_tag_settles_all() {
        let mut confirms = Confirms::default();
        confirms.published();
        assert_eq!(confirms.settle(u64::MAX, true), [1]);
    }
}
