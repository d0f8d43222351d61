//! What is appended together: messages, settled positions, removed streams. A batch is in the log as a whole or not at all.
//!
//! The appender's thread encodes and sums, so that the writer thread has little left but to write. Bodies of some size are not copied: the
//! batch keeps a reference until they are on disk.

use std::io::IoSlice;
use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::format::{self, BLOCK_CRC, BLOCK_HEADER, FRAME_HEADER, FrameHeader, Place};
use crate::{MessageId, StreamId};

/// Parts of bodies shorter than this are copied, which costs less than a slice of their own in the system call.
const COPIED_BELOW: usize = 2048;
/// What the lengths of a frame can express, with some room.
pub(crate) const OCTETS_MAX: u64 = 1 << 31;

/// A message to append. `head` is whatever the broker needs besides the body (exchange, routing key, properties), given back as one piece;
/// `body` may come in parts, as it came off the wire.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    pub id: MessageId,
    pub places: &'a [Place],
    pub head: &'a [&'a [u8]],
    pub body: &'a [Bytes],
}

/// Collects what is appended together. Can be reused after [`Batch::clear`].
#[derive(Debug, Default)]
pub struct Batch {
    descriptors: Vec<u8>,
    count: u32,
    /// Content, except for the bodies that were not copied, which belong where `at` says.
    text: Vec<u8>,
    bodies: Vec<Uncopied>,
    octets: u64,
    messages: u32,
    essential: bool,
    /// Set by [`Batch::sum`].
    crc: u32,
}

#[derive(Debug)]
struct Uncopied {
    /// Offset in `text` before which it comes.
    at: usize,
    body: Bytes,
}

impl Batch {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a message. It is stored once, in however many places it is.
    pub fn message(&mut self, message: Message<'_>) {
        self.block(message, false);
    }

    /// Positions of a stream that are done with. Those that are not in the log are ignored, so that a purge is `0..=last`; but positions
    /// that are appended shortly afterwards count as settled, because batches may overtake each other.
    pub fn settle(&mut self, stream: StreamId, ranges: &[RangeInclusive<u64>]) {
        if !ranges.is_empty() {
            format::put_settled(&mut self.descriptors, stream, ranges);
            self.count += 1;
        }
    }

    /// Settles single positions, in order; successive ones become ranges.
    pub fn settle_each(&mut self, positions: impl IntoIterator<Item = (StreamId, u64)>) {
        let mut ranges: Vec<RangeInclusive<u64>> = Vec::new();
        let mut of: Option<StreamId> = None;
        for (stream, position) in positions {
            if of != Some(stream) {
                if let Some(before) = of.replace(stream) {
                    self.settle(before, &ranges);
                }
                ranges.clear();
            }
            match ranges.last_mut() {
                Some(last) if position <= last.end().saturating_add(1) => *last = *last.start()..=position,
                _ => ranges.push(position..=position),
            }
        }
        if let Some(stream) = of {
            self.settle(stream, &ranges);
        }
    }

    /// The stream is gone with all that is in it. Its number is never used again.
    pub fn remove(&mut self, stream: StreamId) {
        format::put_removed(&mut self.descriptors, stream);
        self.count += 1;
    }

    /// Takes the room kept for acknowledgements if it must, although it has messages: for metadata.
    pub fn essential(&mut self) {
        self.essential = true;
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Messages in it.
    pub fn messages(&self) -> u32 {
        self.messages
    }

    /// Octets that it takes in the log.
    pub fn octets(&self) -> u64 {
        FRAME_HEADER as u64 + self.descriptors.len() as u64 + self.octets
    }

    /// Octets of its allocations.
    pub(crate) fn capacity(&self) -> usize {
        self.descriptors.capacity() + self.text.capacity()
    }

    /// Forgets everything but its allocations.
    pub fn clear(&mut self) {
        self.descriptors.clear();
        self.text.clear();
        self.bodies.clear();
        (self.count, self.octets, self.messages, self.essential) = (0, 0, 0, false);
    }

    /// May be refused when the disk is full.
    pub(crate) fn may_be_refused(&self) -> bool {
        self.messages > 0 && !self.essential
    }

    /// Sums the descriptors; the last that the appender's thread does.
    pub(crate) fn sum(&mut self) {
        self.crc = crc32c::crc32c(&self.descriptors);
    }

    /// A message that is written again elsewhere, unless it has been settled until then.
    pub(crate) fn moved(&mut self, message: Message<'_>) {
        self.block(message, true);
        self.essential = true;
    }

    fn block(&mut self, message: Message<'_>, moved: bool) {
        self.messages += 1;
        let (head, body) = (message.head, message.body);
        let octets = |lengths: &mut dyn Iterator<Item = usize>| u32::try_from(lengths.sum::<usize>()).ok();
        let head_octets = octets(&mut head.iter().map(|part| part.len()));
        let body_octets = octets(&mut body.iter().map(Bytes::len));
        let (Some(head_octets), Some(body_octets)) = (head_octets, body_octets) else {
            // Too large for its own lengths: appending the batch will say so.
            self.octets = u64::MAX / 2;
            return;
        };
        let start = self.text.len();
        self.text
            .extend_from_slice(&format::block_header(message.id, head_octets, body_octets));
        for part in head {
            self.text.extend_from_slice(part);
        }
        // What lies together is summed at once, and not part by part.
        let (mut crc, mut summed) = (0, start + BLOCK_CRC);
        for part in body {
            if part.len() < COPIED_BELOW {
                self.text.extend_from_slice(part);
            } else {
                let at = self.text.len();
                crc = crc32c::crc32c_append(crc, self.text.get(summed..).unwrap_or_default());
                crc = crc32c::crc32c_append(crc, part);
                summed = at;
                let body = part.clone();
                self.bodies.push(Uncopied { at, body });
            }
        }
        crc = crc32c::crc32c_append(crc, self.text.get(summed..).unwrap_or_default());
        if let Some(place) = self.text.get_mut(start..start + BLOCK_CRC) {
            place.copy_from_slice(&crc.to_le_bytes());
        }
        let block = BLOCK_HEADER as u64 + u64::from(head_octets) + u64::from(body_octets);
        self.octets += block;
        format::put_message(
            &mut self.descriptors,
            moved,
            block as u32,
            body_octets,
            message.places,
        );
        self.count += 1;
    }

    pub(crate) fn descriptors(&self) -> &[u8] {
        &self.descriptors
    }

    pub(crate) fn header(&self, segment: u32, sequence: u64, safe: u64) -> FrameHeader {
        FrameHeader {
            segment,
            count: self.count,
            sequence,
            safe,
            descriptors: self.descriptors.len() as u32,
            content: self.octets as u32,
            descriptors_crc: self.crc,
        }
    }

    /// Everything behind the frame's head, to be written in this order.
    pub(crate) fn slices<'a>(&'a self, slices: &mut Vec<IoSlice<'a>>) {
        slices.push(IoSlice::new(&self.descriptors));
        let mut from = 0;
        for uncopied in &self.bodies {
            slices.extend(self.text.get(from..uncopied.at).map(IoSlice::new));
            slices.push(IoSlice::new(&uncopied.body));
            from = uncopied.at;
        }
        slices.extend(self.text.get(from..).map(IoSlice::new));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Descriptor, descriptors};

    #[test]
    fn single_positions_become_ranges_of_their_streams() {
        let mut batch = Batch::new();
        let positions = [(1, 2), (1, 3), (1, 4), (1, 7), (2, 8), (2, 9), (2, 9)];
        batch.settle_each(positions.map(|(stream, position)| (StreamId(stream), position)));
        let said: Vec<_> = descriptors(batch.descriptors())
            .map(|descriptor| match descriptor {
                Some(Descriptor::Settled { stream, ranges }) => (stream.0, ranges.iter().collect::<Vec<_>>()),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(said, [(1, vec![2..=4, 7..=7]), (2, vec![8..=9])]);
    }
}
