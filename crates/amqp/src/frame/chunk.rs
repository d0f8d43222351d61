//! Many frames at once: what one read brought, taken off the buffer once and looked at in place.

use bytes::Bytes;

use super::{FrameKind, HEADER_LENGTH, Head};
use crate::method::{Method, MethodError};

/// Whole frames, one after the other. As an iterator it gives their places; what is at a place is borrowed with
/// [`Chunk::payload`], or kept with [`Chunk::bytes`], which keeps the whole chunk alive.
#[derive(Clone, Debug, Default)]
pub struct Chunk {
    octets: Bytes,
    /// Where the next frame begins.
    at: usize,
}

/// Where in its chunk a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// What the frame carries.
    pub kind: FrameKind,
    /// The channel; 0 is the connection itself.
    pub channel: u16,
    /// Where its payload begins.
    pub(crate) start: usize,
    /// Where its payload ends.
    pub(crate) end: usize,
}

impl Chunk {
    /// Of frames that have been checked.
    pub(super) const fn new(octets: Bytes) -> Self {
        Self { octets, at: 0 }
    }

    /// The payload of a frame of this chunk.
    #[must_use]
    pub fn payload(&self, place: Place) -> &[u8] {
        self.octets.get(place.start..place.end).unwrap_or_default()
    }

    /// The payload to keep.
    #[must_use]
    pub fn bytes(&self, place: Place) -> Bytes {
        self.between(place.start, place.end)
    }

    /// The method in this frame.
    pub fn method(&self, place: Place) -> Result<Method, MethodError> {
        Method::decode(&self.bytes(place))
    }

    /// Octets of the frames that were not given yet.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.octets.len().saturating_sub(self.at)
    }

    /// The frame after the one whose payload ends here.
    pub(crate) fn after(&self, end: usize) -> Option<Place> {
        self.place(end + 1)
    }

    /// Goes on behind the frame whose payload ends here.
    pub(crate) const fn skip(&mut self, end: usize) {
        self.at = end + 1;
    }

    /// A part of the chunk to keep, over several frames.
    pub(crate) fn between(&self, start: usize, end: usize) -> Bytes {
        match start <= end && end <= self.octets.len() {
            true => self.octets.slice(start..end),
            false => Bytes::new(),
        }
    }

    fn place(&self, at: usize) -> Option<Place> {
        let head = Head::decode(*self.octets.get(at..)?.first_chunk()?);
        let start = at + HEADER_LENGTH;
        Some(Place {
            kind: FrameKind::of(head.kind)?,
            channel: head.channel,
            start,
            end: start + usize::try_from(head.size).ok()?,
        })
    }
}

impl Iterator for Chunk {
    type Item = Place;

    fn next(&mut self) -> Option<Place> {
        let place = self.place(self.at)?;
        self.skip(place.end);
        Some(place)
    }
}
