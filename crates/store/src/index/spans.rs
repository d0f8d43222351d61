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
