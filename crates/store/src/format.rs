//! What is in a segment, octet by octet. All numbers are little-endian.
//!
//! ```text
//! segment  = header, frame, frame, …; then zeros, or what is left of an earlier use
//! header   = magic 8 │ version u32 │ crc u32 │ node 16 │ segment u32 │ 0 u32 │ first sequence u64
//! frame    = magic u32 │ crc u32 │ segment u32 │ count u32 │ sequence u64 │ safe u64
//!          │ descriptors u32 │ content u32 │ crc of descriptors u32 │ 0 u32 │ descriptors │ content
//! content  = block, block, …                               one for each message, in the order of their descriptors
//! block    = crc u32 │ head u32 │ body u32 │ 0 u32 │ incarnation u64 │ sequence u64 │ head │ body
//! ```
//!
//! A frame is one batch as its appender gave it: it is in the log as a whole or not at all. Every octet is under exactly one CRC32C:
//! of the header, of a frame's head, of its descriptors, or of a block; so bodies are summed once, and a block can be read and
//! verified by itself.
//!
//! `sequence` counts frames over all segments. `safe` is the sequence up to which (exclusively) everything was synced before this frame was
//! written. That tells a torn tail from damage: a frame that is not valid was lost in a power cut if no frame behind it calls it safe,
//! and was damaged otherwise.

use std::ops::RangeInclusive;

use crate::{MessageId, StreamId};

/// Written into every file. A change that an older program would misread adds one.
pub(crate) const VERSION: u32 = 1;

pub(crate) const SEGMENT_MAGIC: [u8; 8] = *b"WarrnLog";
pub(crate) const SEGMENT_HEADER: usize = 48;
pub(crate) const FRAME_MAGIC: [u8; 4] = [0xF5, b'W', b'f', b'r'];
pub(crate) const FRAME_HEADER: usize = 48;
pub(crate) const BLOCK_HEADER: usize = 32;
/// Octets at its start that are its CRC.
pub(crate) const BLOCK_CRC: usize = 4;

/// Kinds of descriptors.
const MESSAGE: u8 = 1;
const SETTLED: u8 = 2;
const REMOVED: u8 = 3;
const MOVED: u8 = 4;
/// Octets of a descriptor before its list, of a place, of a range.
const DESCRIPTOR: usize = 16;
const PLACE: usize = 20;
const RANGE: usize = 16;

pub(crate) fn u32_at(octets: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*octets.get(at..)?.first_chunk()?))
}

pub(crate) fn u64_at(octets: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*octets.get(at..)?.first_chunk()?))
}

/// Why a segment's header is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// Only zeros: prepared, and not used before the process ended.
    Unused,
    Damaged,
    Version(u32),
}

/// The first octets of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) node: [u8; 16],
    pub(crate) segment: u32,
    /// Sequence of the first frame.
    pub(crate) first: u64,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut octets = [0; SEGMENT_HEADER];
        octets[..8].copy_from_slice(&SEGMENT_MAGIC);
        octets[8..12].copy_from_slice(&VERSION.to_le_bytes());
        octets[16..32].copy_from_slice(&self.node);
        octets[32..36].copy_from_slice(&self.segment.to_le_bytes());
        octets[40..].copy_from_slice(&self.first.to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&octets[..12]), &octets[16..]);
        octets[12..16].copy_from_slice(&crc.to_le_bytes());
        octets
    }

    pub(crate) fn decode(octets: &[u8]) -> Result<Self, HeaderError> {
        let octets: &[u8; SEGMENT_HEADER] = octets.first_chunk().ok_or(HeaderError::Damaged)?;
        if octets == &[0; SEGMENT_HEADER] {
            return Err(HeaderError::Unused);
        }
        let number = |at| u32_at(octets, at).ok_or(HeaderError::Damaged);
        let crc = crc32c::crc32c_append(crc32c::crc32c(&octets[..12]), &octets[16..]);
        if octets[..8] != SEGMENT_MAGIC || number(12)? != crc {
            return Err(HeaderError::Damaged);
        }
        if number(8)? > VERSION {
            return Err(HeaderError::Version(number(8)?));
        }
        Ok(Self {
            node: *octets[16..].first_chunk().ok_or(HeaderError::Damaged)?,
            segment: number(32)?,
            first: u64_at(octets, 40).ok_or(HeaderError::Damaged)?,
        })
    }
}

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) segment: u32,
    /// Descriptors in it.
    pub(crate) count: u32,
    pub(crate) sequence: u64,
    /// Everything below was synced before this frame was written.
    pub(crate) safe: u64,
    pub(crate) descriptors: u32,
    pub(crate) content: u32,
    pub(crate) descriptors_crc: u32,
}

impl FrameHeader {
    pub(crate) fn encode(&self) -> [u8; FRAME_HEADER] {
        let mut octets = [0; FRAME_HEADER];
        octets[..4].copy_from_slice(&FRAME_MAGIC);
        octets[8..12].copy_from_slice(&self.segment.to_le_bytes());
        octets[12..16].copy_from_slice(&self.count.to_le_bytes());
        octets[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        octets[24..32].copy_from_slice(&self.safe.to_le_bytes());
        octets[32..36].copy_from_slice(&self.descriptors.to_le_bytes());
        octets[36..40].copy_from_slice(&self.content.to_le_bytes());
        octets[40..44].copy_from_slice(&self.descriptors_crc.to_le_bytes());
        let crc = crc32c::crc32c(&octets[8..]);
        octets[4..8].copy_from_slice(&crc.to_le_bytes());
        octets
    }

    pub(crate) fn decode(octets: &[u8]) -> Option<Self> {
        let octets: &[u8; FRAME_HEADER] = octets.first_chunk()?;
        if octets[..4] != FRAME_MAGIC || u32_at(octets, 4)? != crc32c::crc32c(&octets[8..]) {
            return None;
        }
        Some(Self {
            segment: u32_at(octets, 8)?,
            count: u32_at(octets, 12)?,
            sequence: u64_at(octets, 16)?,
            safe: u64_at(octets, 24)?,
            descriptors: u32_at(octets, 32)?,
            content: u32_at(octets, 36)?,
            descriptors_crc: u32_at(octets, 40)?,
        })
    }

    /// Octets of the whole frame.
    pub(crate) fn octets(&self) -> u64 {
        FRAME_HEADER as u64 + u64::from(self.descriptors) + u64::from(self.content)
    }
}

/// Where a message is in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub stream: StreamId,
    /// Chosen by the appender: higher than any other position of the stream so far, except that batches appended at the same time may
    /// overtake each other. Never used twice.
    pub position: u64,
    /// The appender's own, given back with the message.
    pub tag: u32,
}

/// One thing that a frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Descriptor<'a> {
    /// The next block is a message, in these places.
    Message {
        block: u32,
        body: u32,
        places: Places<'a>,
    },
    /// The same, but it was in these places already, somewhere else: it is there only where it has not been settled since.
    Moved {
        block: u32,
        body: u32,
        places: Places<'a>,
    },
    Settled {
        stream: StreamId,
        ranges: Ranges<'a>,
    },
    /// The stream with all that is in it.
    Removed {
        stream: StreamId,
    },
}

/// The places of a message, as octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Places<'a>(&'a [u8]);

/// Ranges of positions, as octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ranges<'a>(&'a [u8]);

impl Places<'_> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = Place> {
        self.0.chunks_exact(PLACE).filter_map(|place| {
            Some(Place {
                stream: StreamId(u64_at(place, 0)?),
                position: u64_at(place, 8)?,
                tag: u32_at(place, 16)?,
            })
        })
    }
}

impl Ranges<'_> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = RangeInclusive<u64>> {
        self.0
            .chunks_exact(RANGE)
            .filter_map(|range| Some(u64_at(range, 0)?..=u64_at(range, 8)?))
    }
}

fn put_descriptor(octets: &mut Vec<u8>, kind: u8, list: usize, last: u64) {
    octets.extend_from_slice(&[kind, 0, 0, 0]);
    octets.extend_from_slice(&(list as u32).to_le_bytes());
    octets.extend_from_slice(&last.to_le_bytes());
}

pub(crate) fn put_message(octets: &mut Vec<u8>, moved: bool, block: u32, body: u32, places: &[Place]) {
    let kind = if moved { MOVED } else { MESSAGE };
    put_descriptor(
        octets,
        kind,
        places.len(),
        u64::from(block) | u64::from(body) << 32,
    );
    for place in places {
        octets.extend_from_slice(&place.stream.0.to_le_bytes());
        octets.extend_from_slice(&place.position.to_le_bytes());
        octets.extend_from_slice(&place.tag.to_le_bytes());
    }
}

pub(crate) fn put_settled(octets: &mut Vec<u8>, stream: StreamId, ranges: &[RangeInclusive<u64>]) {
    put_descriptor(octets, SETTLED, ranges.len(), stream.0);
    for range in ranges {
        octets.extend_from_slice(&range.start().to_le_bytes());
        octets.extend_from_slice(&range.end().to_le_bytes());
    }
}

pub(crate) fn put_removed(octets: &mut Vec<u8>, stream: StreamId) {
    put_descriptor(octets, REMOVED, 0, stream.0);
}

/// Takes descriptors apart. `None` is a descriptor that is not one.
pub(crate) fn descriptors(octets: &[u8]) -> impl Iterator<Item = Option<Descriptor<'_>>> {
    let mut rest = octets;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let one = descriptor(&mut rest);
        if one.is_none() {
            rest = &[];
        }
        Some(one)
    })
}

fn descriptor<'a>(rest: &mut &'a [u8]) -> Option<Descriptor<'a>> {
    let kind = *rest.first()?;
    let count = u32_at(rest, 4)? as usize;
    let last = u64_at(rest, 8)?;
    let width = match kind {
        MESSAGE | MOVED => PLACE,
        SETTLED => RANGE,
        REMOVED if count == 0 => 0,
        _ => return None,
    };
    let end = count.checked_mul(width)?.checked_add(DESCRIPTOR)?;
    let list = rest.get(DESCRIPTOR..end)?;
    *rest = rest.get(end..)?;
    let (block, body, places) = (last as u32, (last >> 32) as u32, Places(list));
    Some(match kind {
        MESSAGE => Descriptor::Message { block, body, places },
        MOVED => Descriptor::Moved { block, body, places },
        SETTLED => Descriptor::Settled {
            stream: StreamId(last),
            ranges: Ranges(list),
        },
        _ => Descriptor::Removed {
            stream: StreamId(last),
        },
    })
}

/// The head of a block without its CRC, which is over all behind it: the rest of the head, head and body of the message.
pub(crate) fn block_header(id: MessageId, head: u32, body: u32) -> [u8; BLOCK_HEADER] {
    let mut octets = [0; BLOCK_HEADER];
    octets[4..8].copy_from_slice(&head.to_le_bytes());
    octets[8..12].copy_from_slice(&body.to_le_bytes());
    octets[16..24].copy_from_slice(&id.incarnation.to_le_bytes());
    octets[24..32].copy_from_slice(&id.sequence.to_le_bytes());
    octets
}

/// A block's id, and the lengths of its head and body, if the block is whole.
pub(crate) fn read_block(block: &[u8]) -> Option<(MessageId, usize, usize)> {
    let (head, body) = (u32_at(block, 4)? as usize, u32_at(block, 8)? as usize);
    if block.len() != BLOCK_HEADER.checked_add(head)?.checked_add(body)? {
        return None;
    }
    if u32_at(block, 0)? != crc32c::crc32c(block.get(4..)?) {
        return None;
    }
    let id = MessageId {
        incarnation: u64_at(block, 16)?,
        sequence: u64_at(block, 24)?,
    };
    Some((id, head, body))
}
