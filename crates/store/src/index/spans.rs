//! Successive positions with successive slots.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;

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

    /// Is this slot the one behind its last?
    fn goes_on_with(&self, position: u64, segment: u32, at: u32) -> bool {
        self.segment == segment && self.last() + 1 == position && self.at + self.count == at
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

/// Spans of a piece; one with more becomes two.
const PIECE: usize = 256;

/// The spans of a stream in the order of their positions, in pieces that pictures of it share.
#[derive(Debug, Default, Clone)]
pub(crate) struct Spans(VecDeque<Arc<Vec<Span>>>);

fn first(piece: &[Span]) -> u64 {
    piece.first().map_or(0, |span| span.first)
}

fn last(piece: &[Span]) -> u64 {
    piece.last().map_or(0, Span::last)
}

impl Spans {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Span> {
        self.0.iter().flat_map(|piece| piece.iter())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|piece| piece.len()).sum()
    }

    pub(crate) fn contains(&self, position: u64) -> bool {
        self.from(position)
            .next()
            .is_some_and(|span| span.first == position)
    }

    /// Behind all others.
    pub(crate) fn push(&mut self, span: Span) {
        match self.0.back_mut().filter(|piece| piece.len() < PIECE) {
            Some(piece) => Arc::make_mut(piece).push(span),
            None => self.0.push_back(Arc::new(vec![span])),
        }
    }

    /// Adds a position that is in none of them.
    pub(crate) fn add(&mut self, position: u64, segment: u32, at: u32) {
        // Mostly it is behind the last of all: nothing has to be looked for.
        if let Some(piece) = self.0.back_mut()
            && piece
                .last()
                .is_some_and(|last| last.goes_on_with(position, segment, at))
        {
            if let Some(last) = Arc::make_mut(piece).last_mut() {
                last.count += 1;
            }
            return;
        }
        let behind = self.0.partition_point(|piece| first(piece) < position);
        let index = behind.saturating_sub(1);
        match self.0.get_mut(index) {
            Some(piece) => {
                add(Arc::make_mut(piece), position, segment, at);
                self.split(index);
            }
            None => self.push(Span {
                first: position,
                segment,
                count: 1,
                at,
            }),
        }
    }

    /// Takes a range of positions out and tells of each segment how many there were.
    pub(crate) fn subtract(&mut self, range: &RangeInclusive<u64>, mut gone: impl FnMut(u32, u32)) {
        let covered = |piece: &[Span]| range.contains(&first(piece)) && range.contains(&last(piece));
        let mut start = self.0.partition_point(|piece| last(piece) < *range.start());
        let mut end = self.0.partition_point(|piece| first(piece) <= *range.end());
        // The outer ones may stay in part.
        if start < end
            && let Some(piece) = self.0.get_mut(end - 1)
            && !covered(piece)
        {
            subtract(Arc::make_mut(piece), range, &mut gone);
            self.split(end - 1);
            end -= 1;
        }
        if start < end
            && let Some(piece) = self.0.get_mut(start)
            && !covered(piece)
        {
            subtract(Arc::make_mut(piece), range, &mut gone);
            start += 1;
        }
        if start < end {
            let whole = self.0.drain(start..end);
            whole.for_each(|piece| piece.iter().for_each(|span| gone(span.segment, span.count)));
        }
    }

    /// The spans from a position on, the first cut off before it.
    pub(crate) fn from(&self, position: u64) -> impl Iterator<Item = Span> {
        let start = self.0.partition_point(|piece| last(piece) < position);
        let within = self
            .0
            .get(start)
            .map_or(0, |piece| piece.partition_point(|span| span.last() < position));
        let spans = self.0.range(start..).flat_map(|piece| piece.iter());
        spans
            .skip(within)
            .filter_map(move |span| span.part(&(position..=u64::MAX)))
    }

    fn split(&mut self, index: usize) {
        if let Some(piece) = self.0.get_mut(index)
            && piece.len() > PIECE
        {
            let behind = Arc::make_mut(piece).split_off(PIECE / 2);
            self.0.insert(index + 1, Arc::new(behind));
        }
    }

    /// Pieces, and those of them that another has, too.
    #[cfg(test)]
    pub(super) fn shared(&self, other: &Self) -> (usize, usize) {
        let has = |piece: &&Arc<Vec<Span>>| other.0.iter().any(|other| Arc::ptr_eq(piece, other));
        (self.0.len(), self.0.iter().filter(has).count())
    }
}

/// The same within a piece.
fn add(spans: &mut Vec<Span>, position: u64, segment: u32, at: u32) {
    let index = spans.partition_point(|span| span.first < position);
    if let Some(before) = index.checked_sub(1).and_then(|before| spans.get_mut(before))
        && before.goes_on_with(position, segment, at)
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

fn subtract(spans: &mut Vec<Span>, range: &RangeInclusive<u64>, mut gone: impl FnMut(u32, u32)) {
    let start = spans.partition_point(|span| span.last() < *range.start());
    let end = spans.partition_point(|span| span.first <= *range.end());
    let Some(inside) = spans.get(start..end) else {
        return;
    };
    let (Some(first), Some(last)) = (inside.first().copied(), inside.last().copied()) else {
        return;
    };
    for span in inside.iter().filter_map(|span| span.part(range)) {
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
    spans.splice(start..end, left.into_iter().chain(right));
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
            let (mut spans, mut map) = (Spans::default(), BTreeMap::new());
            for (at, (position, segment)) in slots.into_iter().enumerate() {
                map.entry(position).or_insert_with(|| {
                    spans.add(position, segment, at as u32);
                    (segment, at as u32)
                });
            }
            for (start, length) in ranges {
                let range = start..=start + length;
                let mut gone = BTreeMap::new();
                spans.subtract(&range, |segment, count| *gone.entry(segment).or_insert(0) += count);
                let mut expected = BTreeMap::new();
                map.retain(|position, (segment, _)| {
                    let inside = range.contains(position);
                    *expected.entry(*segment).or_insert(0) += u32::from(inside);
                    !inside
                });
                expected.retain(|_, count| *count > 0);
                prop_assert_eq!(gone, expected);
            }
            let found: Vec<_> = spans.from(from)
                .flat_map(|span| (0..span.count).map(move |index| (span.first + u64::from(index), (span.segment, span.at + index))))
                .collect();
            let expected: Vec<_> = map.range(from..).map(|(position, slot)| (*position, *slot)).collect();
            prop_assert_eq!(found, expected);
            for position in 0..80 {
                prop_assert_eq!(spans.contains(position), map.contains_key(&position));
            }
        }
    }

    #[test]
    fn a_backlog_is_one_span_and_acknowledgements_in_order_keep_it_one() {
        let mut spans = Spans::default();
        (0..1000).for_each(|position| spans.add(position, 1, position as u32));
        (0..500).for_each(|position| spans.subtract(&(position..=position), |_, _| {}));
        let (first, segment, count, at) = (500, 1, 500, 500);
        assert_eq!(
            spans.iter().copied().collect::<Vec<_>>(),
            [Span {
                first,
                segment,
                count,
                at
            }]
        );
    }

    #[test]
    fn a_picture_shares_all_pieces_but_those_that_change() {
        const COUNT: u64 = 100_000;
        let mut spans = Spans::default();
        (0..COUNT).for_each(|number| spans.add(2 * number, 1, number as u32));
        assert_eq!(spans.len() as u64, COUNT);
        let picture = spans.clone();
        spans.subtract(&(COUNT..=COUNT), |_, _| {});
        spans.add(2 * COUNT, 2, 0);
        let (pieces, shared) = spans.shared(&picture);
        assert!(
            pieces - shared <= 2 && pieces as u64 <= 2 * COUNT / PIECE as u64 + 1,
            "{shared} of {pieces}"
        );
        assert_eq!(picture.len() as u64, COUNT);
        let mut gone = 0;
        spans.subtract(&(0..=COUNT), |_, count| gone += count);
        assert_eq!(u64::from(gone), COUNT / 2);
        assert_eq!((picture.len() as u64, spans.len() as u64), (COUNT, COUNT / 2));
    }
}
