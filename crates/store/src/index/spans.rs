//! Successive positions with successive slots.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

/// `count` messages with positions from `first` on, whose slots are those from `at` on in the slot file of `segment`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first: u64,
    pub(crate) segment: u32,
    pub(crate) count: u32,
    pub(crate) at: u32,
}

impl Span {
    fn last(&self) -> u64 {
        self.first + u64::from(self.count) - 1
    }

    /// The part with positions in the range.
    fn part(&self, range: &RangeInclusive<u64>) -> Option<Self> {
        let first = self.first.max(*range.start());
        let last = self.last().min(*range.end());
        (first <= last).then(|| Self {
            first,
            segment: self.segment,
            count: (last - first) as u32 + 1,
            at: self.at + (first - self.first) as u32,
        })
    }
}

pub(crate) fn contains(spans: &VecDeque<Span>, position: u64) -> bool {
    let at = spans.partition_point(|span| span.last() < position);
    spans.get(at).is_some_and(|span| span.first <= position)
}

/// Adds a position that is in none of them.
pub(crate) fn add(spans: &mut VecDeque<Span>, position: u64, segment: u32, at: u32) {
    let index = spans.partition_point(|span| span.first < position);
    if let Some(before) = index.checked_sub(1).and_then(|before| spans.get_mut(before))
        && before.segment == segment
        && before.last() + 1 == position
        && before.at + before.count == at
    {
        before.count += 1;
        return;
    }
    let (first, count) = (position, 1);
    spans.insert(
        index,
        Span {
            first,
            segment,
            count,
            at,
        },
    );
}

/// Takes a range of positions out and tells of each segment how many there were.
pub(crate) fn subtract(
    spans: &mut VecDeque<Span>,
    range: &RangeInclusive<u64>,
    mut gone: impl FnMut(u32, u32),
) {
    let start = spans.partition_point(|span| span.last() < *range.start());
    let end = start
        + spans
            .range(start..)
            .take_while(|span| span.first <= *range.end())
            .count();
    let (Some(first), Some(last)) = (
        spans.get(start).copied(),
        end.checked_sub(1).and_then(|last| spans.get(last)).copied(),
    ) else {
        return;
    };
    if start == end {
        return;
    }
    for span in spans.range(start..end).filter_map(|span| span.part(range)) {
        gone(span.segment, span.count);
    }
    let left = range
        .start()
        .checked_sub(1)
        .and_then(|before| first.part(&(0..=before)));
    let right = range
        .end()
        .checked_add(1)
        .and_then(|after| last.part(&(after..=u64::MAX)));
    match (left, right, end - start) {
        // A piece off one span, the common cases, moves nothing.
        (Some(rest), None, 1) | (None, Some(rest), 1) => spans[start] = rest,
        _ => {
            spans.drain(start..end);
            if let Some(right) = right {
                spans.insert(start, right);
            }
            if let Some(left) = left {
                spans.insert(start, left);
            }
        }
    }
}

/// The spans from a position on, the first cut off before it.
pub(crate) fn from(spans: &VecDeque<Span>, position: u64) -> impl Iterator<Item = Span> {
    let start = spans.partition_point(|span| span.last() < position);
    spans
        .range(start..)
        .filter_map(move |span| span.part(&(position..=u64::MAX)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Positions added in any order and taken out in any ranges are where a plain map says.
        #[test]
        fn spans_are_a_map_from_positions_to_slots(
            slots in prop::collection::vec((0_u64..60, 1_u32..4), 1..60),
            ranges in prop::collection::vec((0_u64..60, 0_u64..20), 0..10),
            from in 0_u64..60,
        ) {
            let (mut spans, mut map) = (VecDeque::new(), BTreeMap::new());
            for (at, (position, segment)) in slots.into_iter().enumerate() {
                map.entry(position).or_insert_with(|| {
                    add(&mut spans, position, segment, at as u32);
                    (segment, at as u32)
                });
            }
            for (start, length) in ranges {
                let range = start..=start + length;
                let mut gone = BTreeMap::new();
                subtract(&mut spans, &range, |segment, count| *gone.entry(segment).or_insert(0) += count);
                let mut expected = BTreeMap::new();
                map.retain(|position, (segment, _)| {
                    let inside = range.contains(position);
                    *expected.entry(*segment).or_insert(0) += u32::from(inside);
                    !inside
                });
                expected.retain(|_, count| *count > 0);
                prop_assert_eq!(gone, expected);
            }
            let found: Vec<_> = super::from(&spans, from)
                .flat_map(|span| (0..span.count).map(move |index| (span.first + u64::from(index), (span.segment, span.at + index))))
                .collect();
            let expected: Vec<_> = map.range(from..).map(|(position, slot)| (*position, *slot)).collect();
            prop_assert_eq!(found, expected);
            for position in 0..80 {
                prop_assert_eq!(contains(&spans, position), map.contains_key(&position));
            }
        }
    }

    #[test]
    fn a_backlog_is_one_span_and_acknowledgements_in_order_keep_it_one() {
        let mut spans = VecDeque::new();
        (0..1000).for_each(|position| add(&mut spans, position, 1, position as u32));
        (0..500).for_each(|position| subtract(&mut spans, &(position..=position), |_, _| {}));
        let (first, segment, count, at) = (500, 1, 500, 500);
        assert_eq!(
            spans,
            [Span {
                first,
                segment,
                count,
                at
            }]
        );
    }
}
