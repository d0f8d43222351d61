//! Positions that were settled before they were appended.
//!
//! A message is delivered as soon as it is in its queue, and its acknowledgement may reach the log before the batch of the publisher
//! does. Such positions are remembered, and count as settled when they arrive. That is a matter of microseconds; what has not arrived when
//! two more segments have been filled never will, and is forgotten.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;

use super::hash::ByNumber;
use crate::StreamId;

/// Ranges kept for one stream; the lowest is forgotten, at the price of a redelivery after a crash.
const RANGES_MAX: usize = 4096;

#[derive(Debug, Default, Clone)]
pub(crate) struct Early {
    now: Ranges,
    before: Ranges,
    /// Nothing is settled before it is appended, but what was settled may be appended again.
    never: bool,
}

type Ranges = HashMap<StreamId, BTreeMap<u64, u64>, ByNumber>;

impl Early {
    /// Of a log whose appenders wait before they settle.
    pub(crate) fn never() -> Self {
        Self {
            never: true,
            ..Self::default()
        }
    }

    pub(crate) fn covers(&self, stream: StreamId, position: u64) -> bool {
        [&self.now, &self.before].into_iter().any(|ranges| {
            // Nearly always empty.
            let range = (!ranges.is_empty()).then(|| ranges.get(&stream)).flatten();
            range.is_some_and(|ranges| {
                let below = ranges.range(..=position).next_back();
                below.is_some_and(|(_, last)| *last >= position)
            })
        })
    }

    pub(crate) fn add(&mut self, stream: StreamId, range: RangeInclusive<u64>) {
        if self.never {
            return;
        }
        let ranges = self.now.entry(stream).or_default();
        let (mut first, mut last) = range.into_inner();
        // Those that touch or overlap become one with it.
        while let Some((&from, &to)) = ranges.range(..=last.saturating_add(1)).next_back() {
            if to.saturating_add(1) < first {
                break;
            }
            ranges.remove(&from);
            (first, last) = (first.min(from), last.max(to));
        }
        ranges.insert(first, last);
        if ranges.len() > RANGES_MAX {
            ranges.pop_first();
        }
    }

    /// A segment has been filled.
    pub(crate) fn age(&mut self) {
        self.before = std::mem::take(&mut self.now);
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (StreamId, &BTreeMap<u64, u64>)> {
        let both = self.now.iter().chain(&self.before);
        both.map(|(stream, ranges)| (*stream, ranges))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const STREAM: StreamId = StreamId(1);

    proptest! {
        #[test]
        fn ranges_cover_what_was_added_and_touching_ones_become_one(ranges in prop::collection::vec((0_u64..50, 0_u64..5), 0..20)) {
            let (mut early, mut set) = (Early::default(), BTreeSet::new());
            for (start, length) in ranges {
                early.add(STREAM, start..=start + length);
                set.extend(start..=start + length);
            }
            for position in 0..60 {
                prop_assert_eq!(early.covers(STREAM, position), set.contains(&position));
            }
            let kept: Vec<_> = early.iter().flat_map(|(_, ranges)| ranges.clone()).collect();
            prop_assert!(kept.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
        }
    }

    #[test]
    fn what_did_not_arrive_within_two_segments_is_forgotten() {
        let mut early = Early::default();
        early.add(STREAM, 3..=u64::MAX);
        early.age();
        assert!(early.covers(STREAM, 3) && early.covers(STREAM, u64::MAX) && !early.covers(STREAM, 2));
        early.age();
        assert!(!early.covers(STREAM, 3));
    }
}
