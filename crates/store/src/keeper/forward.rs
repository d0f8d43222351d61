//! Copying forward: what is left in segments that are nearly empty is written again at the end of the log, so that they can be freed.
//!
//! One segment after each checkpoint, if few of its messages are left or few of its octets. On a full disk several at once: to free
//! segments the open one has to be ended, so that nothing is gained by freeing one.

use std::collections::BTreeMap;

use super::{Keeper, TOGETHER};
use crate::format::Place;
use crate::index::{Slot, Span, Use};
use crate::statistics::add;
use crate::{Batch, Message, StreamId};

/// Octets of messages in one batch.
const COPY_OCTETS: u64 = 256 << 10;
/// Spares that must be there while the disk is full: what is copied may need one.
const SPARES: usize = 2;
/// Segments whose slots are read to find such.
const LOOKED_AT: usize = 16;
/// Messages of a segment whose slots are read to learn how large they are.
const FEW: u64 = 4096;

/// What is remembered from one time to the next.
#[derive(Default)]
pub(super) struct Forward {
    /// There has been a checkpoint.
    pub(super) wanted: bool,
    /// Segments that cannot be copied completely, because something in them is damaged.
    unreadable: Vec<u32>,
    /// How many messages a segment had when they were too large to be copied.
    heavy: BTreeMap<u32, u64>,
    /// Segments and how many messages they had when the disk was full last: as long as nothing changes there is nothing more to gain.
    seen: Vec<(u32, u64)>,
}

/// Places of live messages in one segment.
type Left = Vec<(Slot, StreamId)>;

impl Forward {
    pub(super) fn forget(&mut self, segment: u32) {
        self.unreadable.retain(|other| *other != segment);
        self.heavy.remove(&segment);
    }
}

impl Keeper {
    /// Batches that write again what is left in nearly empty segments, so that the next checkpoint can free these.
    pub(crate) fn copy_forward(&mut self) -> Vec<Batch> {
        let wanted = std::mem::take(&mut self.forward.wanted);
        let (full, spares) = {
            let space = self.shared.space.lock();
            (space.full, space.spares.len())
        };
        let segments = match full {
            false if wanted => self.one(),
            true if spares >= SPARES => self.several(),
            _ => Vec::new(),
        };
        let mut batches = Vec::new();
        for (segment, left) in segments {
            self.copy(segment, left, &mut batches);
        }
        batches.retain(|batch| !batch.is_empty());
        batches.iter_mut().for_each(Batch::sum);
        batches
    }

    /// A segment of which few messages or few octets are left. The newest are left alone: what is in them may well be settled soon.
    fn one(&mut self) -> Vec<(u32, Left)> {
        let mut sealed = self.sealed();
        sealed.truncate(sealed.len().saturating_sub(2));
        let below = self.shared.options.copy_below;
        let nearly_empty = |(_, used): &&(u32, Use)| used.live.saturating_mul(below) < used.places;
        if let Some((segment, _)) = sealed.iter().find(nearly_empty) {
            return self.left_in(&[*segment]).into_iter().collect();
        }
        let heavy = &self.forward.heavy;
        let unknown = |(id, used): &&(u32, Use)| {
            let before = heavy.get(id).copied().unwrap_or(u64::MAX);
            used.live <= FEW && used.live < before.div_ceil(2)
        };
        let Some((segment, used)) = sealed.iter().filter(unknown).min_by_key(|(_, used)| used.live) else {
            return Vec::new();
        };
        let found = self.left_in(&[*segment]);
        if found
            .values()
            .any(|left| octets(left).saturating_mul(below) < used.octets)
        {
            return found.into_iter().collect();
        }
        self.forward.heavy.insert(*segment, used.live);
        Vec::new()
    }

    /// Segments of which so little is left that it fits into half a one together, if that gains room.
    fn several(&mut self) -> Vec<(u32, Left)> {
        let mut sealed = self.sealed();
        let now = sealed.iter().map(|(id, used)| (*id, used.live)).collect();
        if self.forward.seen == now {
            return Vec::new();
        }
        self.forward.seen = now;
        sealed.sort_by_key(|(_, used)| used.live);
        let segments: Vec<u32> = sealed.iter().map(|(id, _)| *id).take(LOOKED_AT).collect();
        let mut found: Vec<_> = self.left_in(&segments).into_iter().collect();
        found.sort_by_key(|(_, left)| octets(left));
        let mut room = self.shared.options.segment_octets / 2;
        found.retain(|(_, left)| {
            let rest = room.checked_sub(octets(left));
            room = rest.unwrap_or(0);
            rest.is_some()
        });
        let dead = self.shared.index.lock().dead();
        match found.len() + dead >= TOGETHER {
            true => found,
            false => Vec::new(),
        }
    }

    /// Sealed segments with something live in them, oldest first.
    fn sealed(&self) -> Vec<(u32, Use)> {
        let index = self.shared.index.lock();
        let sealed = index.sealed().filter(|(_, used)| used.live > 0);
        sealed
            .filter(|(id, _)| !self.forward.unreadable.contains(id))
            .collect()
    }

    /// What is left in segments, by segment, in the order in which it lies there.
    fn left_in(&mut self, segments: &[u32]) -> BTreeMap<u32, Left> {
        let mut spans: Vec<(StreamId, Span)> = Vec::new();
        // What is settled while we look is not copied in the end.
        let streams = self.shared.index.lock().streams.clone();
        for (id, stream) in streams.iter() {
            let inside = stream
                .spans
                .iter()
                .filter(|span| segments.contains(&span.segment));
            spans.extend(inside.map(|span| (id, *span)));
        }
        drop(streams);
        let mut found: BTreeMap<u32, Left> = BTreeMap::new();
        for (stream, span) in spans {
            match self.shared.slots_of(span.segment, span.at, span.count) {
                Ok(slots) => {
                    let left = found.entry(span.segment).or_default();
                    left.extend(slots.into_iter().map(|slot| (slot, stream)));
                }
                Err(_) => self.forward.unreadable.push(span.segment),
            }
        }
        for left in found.values_mut() {
            left.sort_unstable_by_key(|(slot, stream)| (slot.offset, *stream));
        }
        found
    }

    fn copy(&mut self, segment: u32, left: Left, batches: &mut Vec<Batch>) {
        for same in left.chunk_by(|(one, _), (other, _)| one.offset == other.offset) {
            let Some((slot, stream)) = same.first() else {
                continue;
            };
            let Ok(stored) = self.shared.read_one(segment, *slot, *stream) else {
                // Left where it is, for whoever fetches it to be told.
                self.forward.unreadable.push(segment);
                continue;
            };
            let places: Vec<_> = (same.iter())
                .map(|(slot, stream)| Place {
                    stream: *stream,
                    position: slot.position,
                    tag: slot.tag,
                })
                .collect();
            if batches.last().is_none_or(|batch| batch.octets() >= COPY_OCTETS) {
                batches.push(Batch::new());
            }
            if let Some(batch) = batches.last_mut() {
                batch.moved(Message {
                    id: stored.id,
                    places: &places,
                    head: &[&stored.head],
                    body: &[stored.body],
                });
                add(&self.shared.counters.moved, 1);
            }
        }
    }
}

/// Octets of messages, each once.
fn octets(left: &Left) -> u64 {
    let each = left.chunk_by(|(one, _), (other, _)| one.offset == other.offset);
    each.filter_map(|same| Some(u64::from(same.first()?.0.length)))
        .sum()
}
