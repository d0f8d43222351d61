//! Checkpoints: the whole index as it was at the border between two segments, in one file that is replaced as a whole.
//!
//! Recovery starts from it and reads only the segments behind it. Its size follows from the number of streams and spans, so it is written
//! less often where there are many.
//!
//! ```text
//! file   = magic 8 │ version u32 │ crc u32 of all behind it │ node 16 │ segment u32 │ segments u32 │ next sequence u64
//!        │ streams u32 │ early u32 │ segment… │ stream… │ early…
//! segment = id u32 │ 0 u32 │ octets u64 │ places u64 │ live u64
//! stream  = id u64 │ next u64 │ live u64 │ spans u32 │ span…;  span = first u64 │ segment u32 │ count u32 │ at u32
//! early   = stream u64 │ ranges u32 │ range…;                 range = first u64 │ last u64
//! ```

use std::collections::BTreeMap;

use crate::StreamId;
use crate::format::{VERSION, u32_at, u64_at};
use crate::index::{Index, Picture, Span, Stream, Use};

pub(crate) const NAME: &str = "checkpoint";
const MAGIC: [u8; 8] = *b"WarrnChk";
const HEADER: usize = 56;

/// A checkpoint taken apart.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    pub(crate) node: [u8; 16],
    /// The last segment that it covers.
    pub(crate) segment: u32,
    /// The first sequence that it does not cover.
    pub(crate) next: u64,
    pub(crate) index: Index,
}

/// Why a checkpoint cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Damaged,
    Version(u32),
}

/// Of a picture that was made when a segment had been sealed.
pub(crate) fn encode(index: &Picture, node: [u8; 16], segment: u32, next: u64) -> Vec<u8> {
    let streams = index
        .streams
        .iter()
        .map(|(_, stream)| 28 + stream.spans.len() * 20);
    let room = HEADER + index.segments.len() * 32 + streams.sum::<usize>();
    let mut octets = Vec::with_capacity(room);
    octets.extend_from_slice(&MAGIC);
    octets.extend_from_slice(&VERSION.to_le_bytes());
    octets.extend_from_slice(&[0; 4]);
    octets.extend_from_slice(&node);
    octets.extend_from_slice(&segment.to_le_bytes());
    octets.extend_from_slice(&(index.segments.len() as u32).to_le_bytes());
    octets.extend_from_slice(&next.to_le_bytes());
    octets.extend_from_slice(&(index.streams.len() as u32).to_le_bytes());
    octets.extend_from_slice(&(index.early.iter().count() as u32).to_le_bytes());
    for (id, used) in &index.segments {
        octets.extend_from_slice(&u64::from(*id).to_le_bytes());
        for number in [used.octets, used.places, used.live] {
            octets.extend_from_slice(&number.to_le_bytes());
        }
    }
    for (id, stream) in index.streams.iter() {
        for number in [id.0, stream.next, stream.live] {
            octets.extend_from_slice(&number.to_le_bytes());
        }
        octets.extend_from_slice(&(stream.spans.len() as u32).to_le_bytes());
        for span in stream.spans.iter() {
            octets.extend_from_slice(&span.first.to_le_bytes());
            for number in [span.segment, span.count, span.at] {
                octets.extend_from_slice(&number.to_le_bytes());
            }
        }
    }
    for (stream, ranges) in index.early.iter() {
        octets.extend_from_slice(&stream.0.to_le_bytes());
        octets.extend_from_slice(&(ranges.len() as u32).to_le_bytes());
        for (first, last) in ranges {
            octets.extend_from_slice(&first.to_le_bytes());
            octets.extend_from_slice(&last.to_le_bytes());
        }
    }
    let crc = crc32c::crc32c(&octets[16..]);
    octets[12..16].copy_from_slice(&crc.to_le_bytes());
    octets
}

pub(crate) fn decode(octets: &[u8]) -> Result<Checkpoint, Refused> {
    let version = u32_at(octets, 8).ok_or(Refused::Damaged)?;
    let summed = octets.get(16..).ok_or(Refused::Damaged)?;
    if octets[..8] != MAGIC || version == 0 || u32_at(octets, 12) != Some(crc32c::crc32c(summed)) {
        return Err(Refused::Damaged);
    }
    if version > VERSION {
        return Err(Refused::Version(version));
    }
    take(octets).ok_or(Refused::Damaged)
}

fn take(octets: &[u8]) -> Option<Checkpoint> {
    let mut index = Index::default();
    let mut at = HEADER;
    let number = |at: &mut usize| {
        *at += 4;
        u32_at(octets, *at - 4)
    };
    let long = |at: &mut usize| {
        *at += 8;
        u64_at(octets, *at - 8)
    };
    for _ in 0..u32_at(octets, 36)? {
        let id = u32::try_from(long(&mut at)?).ok()?;
        let (octets, places, live) = (long(&mut at)?, long(&mut at)?, long(&mut at)?);
        index.segments.insert(id, Use { octets, places, live });
    }
    for _ in 0..u32_at(octets, 48)? {
        let id = StreamId(long(&mut at)?);
        let mut stream = Stream {
            next: long(&mut at)?,
            live: long(&mut at)?,
            ..Stream::default()
        };
        for _ in 0..number(&mut at)? {
            let first = long(&mut at)?;
            let (segment, count, at) = (number(&mut at)?, number(&mut at)?, number(&mut at)?);
            stream.spans.push(Span {
                first,
                segment,
                count,
                at,
            });
        }
        index.streams.insert(id, stream);
    }
    for _ in 0..u32_at(octets, 52)? {
        let stream = StreamId(long(&mut at)?);
        for _ in 0..number(&mut at)? {
            let (first, last) = (long(&mut at)?, long(&mut at)?);
            index.early.add(stream, first..=last);
        }
    }
    (at == octets.len() && adds_up(&index)).then_some(())?;
    Some(Checkpoint {
        node: *octets.get(16..)?.first_chunk()?,
        segment: u32_at(octets, 32)?,
        next: u64_at(octets, 40)?,
        index,
    })
}

/// What everything else takes for granted: spans have something in them, in order, in segments that are there, and the counts are right.
fn adds_up(index: &Index) -> bool {
    let mut live: BTreeMap<u32, u64> = BTreeMap::new();
    let streams = index.streams.iter().all(|(_, stream)| {
        let (mut next, mut sum) = (0, 0);
        let spans = stream.spans.iter().all(|span| {
            let count = u64::from(span.count);
            let fits = count > 0 && span.first >= next && span.at.checked_add(span.count).is_some();
            next = span.first.saturating_add(count);
            sum += count;
            *live.entry(span.segment).or_default() += count;
            fits && next < u64::MAX
        });
        spans && sum == stream.live && next <= stream.next
    });
    let counted = live
        .into_iter()
        .eq(index.segments.iter().map(|(id, used)| (*id, used.live)));
    streams && counted && index.segments.keys().all(|id| *id > 0)
}
