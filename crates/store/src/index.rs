//! Where the live messages of every stream are.
//!
//! A stream's messages in the open segment have a slot each in memory, which the size of a segment bounds. When a segment is
//! sealed, the slots of its live messages move into the segment's slot file, and memory keeps *spans*: so many successive positions, from there
//! on in that file. A backlog appended in one go is one span for each segment, whatever the number of messages; settling cuts
//! pieces off spans. Thus liveness and place are one structure, and its size follows from how ragged a queue is, not from how long.
//!
//! The same code applies batches that have just been written and those that recovery finds: what a log does after a crash cannot differ from
//! what it did before.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::StreamId;
use crate::format::{BLOCK_HEADER, Descriptor, Place, descriptors};

mod early;
mod hash;
mod spans;
mod streams;

pub(crate) use early::Early;
pub(crate) use spans::{Span, Spans};
pub(crate) use streams::Streams;

/// What a broker that counts from zero never reaches.
const POSITION_MAX: u64 = u64::MAX - 1;
/// Segments are counted from one.
const NONE: u32 = 0;

/// A live message in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) position: u64,
    /// Of the block, from the start of the segment.
    pub(crate) offset: u32,
    /// Of the block. Zero: settled while its segment is still open.
    pub(crate) length: u32,
    /// Octets of the body.
    pub(crate) body: u32,
    pub(crate) tag: u32,
}

#[derive(Debug, Default, Clone)]
pub(crate) struct Stream {
    /// Above all positions seen.
    pub(crate) next: u64,
    /// Messages.
    pub(crate) live: u64,
    /// In sealed segments, ordered by position. Disjoint.
    pub(crate) spans: Spans,
    /// In the open segment, ordered by position.
    pub(crate) open: VecDeque<Slot>,
}

/// What a segment is used for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Use {
    /// End of its frames.
    pub(crate) octets: u64,
    /// Places of messages that were written, and that are left.
    pub(crate) places: u64,
    pub(crate) live: u64,
}

/// Messages found for a reader, in the order of their positions.
#[derive(Debug)]
pub(crate) enum Found {
    Open(u32, Slot),
    /// Slots `at..` of a sealed segment; they are in memory as long as their file is not written.
    Sealed {
        segment: u32,
        at: u32,
        count: u32,
        slots: Option<Arc<[Slot]>>,
    },
}

/// The index at one moment, at the border of two segments. It shares with the index whatever does not change.
#[derive(Debug)]
pub(crate) struct Picture {
    pub(crate) streams: Streams,
    pub(crate) segments: BTreeMap<u32, Use>,
    pub(crate) early: Early,
}

#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) streams: Streams,
    /// Segments in use, the open one included.
    pub(crate) segments: BTreeMap<u32, Use>,
    pub(crate) early: Early,
    open: u32,
    /// Streams with something in the open segment; may name one more than once.
    touched: Vec<StreamId>,
    /// Slots of sealed segments whose file is not written yet.
    unwritten: HashMap<u32, Arc<[Slot]>>,
    /// Positions that were appended twice and ignored the second time.
    pub(crate) duplicates: u64,
}

impl Index {
    /// From here on everything is in this segment.
    pub(crate) fn begin(&mut self, segment: u32) {
        self.open = segment;
        self.segments.insert(segment, Use::default());
    }

    /// Takes in a frame of the open segment whose content starts at `content`. `None`: the descriptors are not what they should be,
    /// and some of them may have been taken in.
    #[must_use]
    pub(crate) fn apply(&mut self, octets: &[u8], mut content: u32) -> Option<()> {
        for descriptor in descriptors(octets) {
            match descriptor? {
                Descriptor::Message { block, body, places } => {
                    for place in places.iter() {
                        self.insert(place, content, block, body);
                    }
                    content = content.checked_add(block)?;
                }
                Descriptor::Moved { block, body, places } => {
                    for place in places.iter() {
                        if self.subtract(place.stream, place.position..=place.position) == 1 {
                            self.insert(place, content, block, body);
                        }
                    }
                    content = content.checked_add(block)?;
                }
                Descriptor::Settled { stream, ranges } => {
                    ranges.iter().for_each(|range| self.settle(stream, range))
                }
                Descriptor::Removed { stream } => {
                    self.settle(stream, 0..=u64::MAX);
                    self.streams.remove(stream);
                }
            }
        }
        Some(())
    }

    /// The end of frames in the open segment.
    pub(crate) fn written(&mut self, end: u64) {
        if let Some(open) = self.segments.get_mut(&self.open) {
            open.octets = end;
        }
    }

    fn insert(&mut self, place: Place, offset: u32, length: u32, body: u32) {
        if self.early.covers(place.stream, place.position) {
            return;
        }
        // There must be one behind it.
        if place.position >= POSITION_MAX {
            self.duplicates += 1;
            return;
        }
        let stream = self.streams.of(place.stream);
        let slot = Slot {
            position: place.position,
            offset,
            length: length.max(BLOCK_HEADER as u32),
            body,
            tag: place.tag,
        };
        if stream.next <= place.position {
            stream.next = place.position + 1;
            if stream.open.is_empty() {
                self.touched.push(place.stream);
            }
            stream.open.push_back(slot);
        } else {
            let at = stream.open.partition_point(|one| one.position < place.position);
            let again = stream
                .open
                .get(at)
                .is_some_and(|one| one.position == place.position && one.length > 0);
            if again || stream.spans.contains(place.position) {
                self.duplicates += 1;
                return;
            }
            if stream.open.is_empty() {
                self.touched.push(place.stream);
            }
            // In the place of a settled one, when a message was moved within the segment.
            match stream.open.get_mut(at) {
                Some(one) if one.position == place.position => *one = slot,
                _ => stream.open.insert(at, slot),
            }
        }
        stream.live += 1;
        let segment = self.segments.entry(self.open).or_default();
        segment.places += 1;
        segment.live += 1;
    }

    fn settle(&mut self, stream: StreamId, range: RangeInclusive<u64>) {
        if range.is_empty() {
            return;
        }
        let positions = (range.end() - range.start()).saturating_add(1);
        if self.subtract(stream, range.clone()) < positions {
            self.early.add(stream, range);
        }
    }

    /// Takes positions out of a stream and returns how many of them were there.
    fn subtract(&mut self, stream: StreamId, range: RangeInclusive<u64>) -> u64 {
        let Some(stream) = self.streams.get_mut(stream) else {
            return 0;
        };
        let segments = &mut self.segments;
        // Neighbours are mostly in one segment.
        let (mut gone, mut within, mut of) = (0, NONE, 0);
        let mut account = |segment: u32, count: u64| {
            if let Some(segment) = segments.get_mut(&segment) {
                segment.live -= count;
            }
        };
        stream.spans.subtract(&range, |segment, count| {
            if segment != within {
                account(within, of);
                (within, of) = (segment, 0);
            }
            gone += u64::from(count);
            of += u64::from(count);
        });
        account(within, of);
        let mut gone_open = 0;
        let from = stream.open.partition_point(|slot| slot.position < *range.start());
        for slot in stream
            .open
            .range_mut(from..)
            .take_while(|slot| slot.position <= *range.end())
        {
            gone_open += u64::from(slot.length > 0);
            slot.length = 0;
        }
        while stream.open.front().is_some_and(|slot| slot.length == 0) {
            stream.open.pop_front();
        }
        if let Some(segment) = segments.get_mut(&self.open) {
            segment.live -= gone_open;
        }
        stream.live -= gone + gone_open;
        gone + gone_open
    }

    /// Ends the open segment. Returns the slots of what is live in it.
    pub(crate) fn seal(&mut self) -> Arc<[Slot]> {
        let mut slots = Vec::new();
        let streams = &mut self.streams;
        for id in self.touched.drain(..) {
            let Some(stream) = streams.get_mut(id) else {
                continue;
            };
            for slot in std::mem::take(&mut stream.open) {
                if slot.length > 0 {
                    stream.spans.add(slot.position, self.open, slots.len() as u32);
                    slots.push(slot);
                }
            }
        }
        let slots: Arc<[Slot]> = slots.into();
        if !slots.is_empty() {
            self.unwritten.insert(self.open, slots.clone());
        }
        self.open = NONE;
        slots
    }

    /// All of it as it is now, to be written down while others go on.
    pub(crate) fn picture(&self) -> Picture {
        Picture {
            streams: self.streams.clone(),
            segments: self.segments.clone(),
            early: self.early.clone(),
        }
    }

    /// The slots of a segment can be read from its file from now on.
    pub(crate) fn slots_written(&mut self, segment: u32) {
        self.unwritten.remove(&segment);
    }

    /// Forgets sealed segments in which nothing is live, and returns them.
    pub(crate) fn forget_dead(&mut self) -> Vec<u32> {
        let dead = |(&id, used): (&u32, &Use)| (used.live == 0 && id != self.open).then_some(id);
        let dead: Vec<_> = self.segments.iter().filter_map(dead).collect();
        for id in &dead {
            self.segments.remove(id);
        }
        dead
    }

    /// Segments that are not open, oldest first.
    pub(crate) fn sealed(&self) -> impl Iterator<Item = (u32, Use)> {
        let all = self.segments.iter().map(|(id, used)| (*id, *used));
        all.filter(|(id, _)| *id != self.open)
    }

    /// How many segments a checkpoint at the end of the open one would free.
    pub(crate) fn dead(&self) -> usize {
        let dead = self
            .segments
            .values()
            .filter(|used| used.live == 0 && used.octets > 0);
        dead.count()
    }

    /// Up to `count` messages of a stream from a position on.
    pub(crate) fn find(&self, stream: StreamId, from: u64, count: usize) -> Vec<Found> {
        let Some(stream) = self.streams.get(stream) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        let mut left = count as u64;
        let mut spans = stream.spans.from(from).peekable();
        let start = stream.open.partition_point(|slot| slot.position < from);
        let mut open = stream
            .open
            .range(start..)
            .filter(|slot| slot.length > 0)
            .peekable();
        while left > 0 {
            match (spans.peek(), open.peek()) {
                (Some(span), slot) if slot.is_none_or(|slot| span.first < slot.position) => {
                    let count = left.min(u64::from(span.count)) as u32;
                    left -= u64::from(count);
                    found.push(Found::Sealed {
                        segment: span.segment,
                        at: span.at,
                        count,
                        slots: self.unwritten.get(&span.segment).cloned(),
                    });
                    spans.next();
                }
                (_, Some(slot)) => {
                    left -= 1;
                    found.push(Found::Open(self.open, **slot));
                    open.next();
                }
                (_, None) => break,
            }
        }
        found
    }

    /// The lowest live position.
    pub(crate) fn first(stream: &Stream) -> Option<u64> {
        let sealed = stream.spans.iter().next().map(|span| span.first);
        let open = stream
            .open
            .iter()
            .find(|slot| slot.length > 0)
            .map(|slot| slot.position);
        sealed.into_iter().chain(open).min()
    }
}
