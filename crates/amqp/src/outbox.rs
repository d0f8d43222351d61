//! What will be sent: frames put together in one buffer, with large bodies beside it.
//!
//! ```text
//!   copied   ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒░░░░░░░░░░░░░      one buffer: methods, headers, small bodies, frames' ends
//!                               ▲
//!   shared                      █ body               large bodies are not copied: the message and this share them
//! ```
//!
//! It is a [`Buf`], so whoever writes to a socket takes from it with one vectored write, as many octets as go.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::basic;
use crate::content::{Header, Message, Properties};
use crate::frame::{self, FRAME_END, FrameKind, FrameMax, HEADER_LENGTH, OVERHEAD, TooLarge};
use crate::hot::{Carrier, Publish};
use crate::method::Method;

/// A piece of a body up to this size is copied, since to share it costs more.
pub const COPIED_MAX: usize = 1024;

/// Frames that wait to be sent, in order.
///
/// It is as large as what is put into it: whoever does so looks at [`Outbox::len`] before.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    frame_max: FrameMax,
    copied: BytesMut,
    shared: VecDeque<Shared>,
    /// Octets of `copied` that come before the last shared piece.
    before_shared: usize,
    /// Octets of all shared pieces.
    shared_octets: usize,
}

/// A piece of a body.
#[derive(Clone, Debug)]
struct Shared {
    /// Octets of the buffer that come between the piece before and this one.
    after: usize,
    octets: Bytes,
}

impl Outbox {
    /// For a peer that takes frames of this size.
    #[must_use]
    pub fn new(frame_max: FrameMax) -> Self {
        Self {
            frame_max,
            ..Self::default()
        }
    }

    /// Sets the limit, from the next frame on.
    pub const fn set_frame_max(&mut self, frame_max: FrameMax) {
        self.frame_max = frame_max;
    }

    /// Octets that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.copied.len() + self.shared_octets
    }

    /// Whether none wait.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether all of it is one piece: [`Buf::chunk`].
    #[must_use]
    pub fn is_in_one(&self) -> bool {
        self.shared.is_empty()
    }

    /// Gives back memory that a burst has left, beyond so many octets. Only when nothing waits.
    pub fn shrink(&mut self, octets: usize) {
        if self.is_empty() && self.copied.capacity() > octets {
            self.copied = BytesMut::new();
            self.shared = VecDeque::new();
        }
    }

    /// Appends octets as they are, such as a protocol header.
    pub fn octets(&mut self, octets: &[u8]) {
        self.copied.put_slice(octets);
    }

    /// Appends a sign of life.
    pub fn heartbeat(&mut self) {
        self.copied.put_slice(&frame::header(FrameKind::Heartbeat, 0, 0));
        self.copied.put_u8(FRAME_END);
    }

    /// Appends a method.
    pub fn method(&mut self, channel: u16, method: impl Into<Method>) -> Result<(), TooLarge> {
        method.into().encode(channel, self.frame_max, &mut self.copied)
    }

    /// Appends `basic.ack`; `multiple` is for all before it, too.
    pub fn ack(&mut self, channel: u16, delivery_tag: u64, multiple: bool) {
        self.settle(channel, basic::Ack::ID.method, delivery_tag, multiple.into());
    }

    /// Appends `basic.nack`; `multiple` is for all before it, too.
    pub fn nack(&mut self, channel: u16, delivery_tag: u64, multiple: bool, requeue: bool) {
        let bits = u8::from(multiple) | u8::from(requeue) << 1;
        self.settle(channel, basic::Nack::ID.method, delivery_tag, bits);
    }

    /// Appends `basic.reject`.
    pub fn reject(&mut self, channel: u16, delivery_tag: u64, requeue: bool) {
        self.settle(channel, basic::Reject::ID.method, delivery_tag, requeue.into());
    }

    /// Appends a message that came from somewhere, with the octets of its header as they are. Nothing is appended if
    /// the header does not fit into a frame.
    pub fn message(
        &mut self,
        channel: u16,
        method: &impl Carrier,
        message: &Message,
    ) -> Result<(), TooLarge> {
        self.with_header(channel, method, message.header(), message)
    }

    /// Appends a message with another header, one of a [`crate::content::HeaderEdit`].
    pub fn with_header(
        &mut self,
        channel: u16,
        method: &impl Carrier,
        header: Header<'_>,
        message: &Message,
    ) -> Result<(), TooLarge> {
        self.carrier(channel, method, header.payload())?;
        for (octets, start) in message.pieces() {
            self.body(channel, octets, start);
        }
        Ok(())
    }

    /// Appends a message of our own.
    pub fn publish(
        &mut self,
        channel: u16,
        publish: &Publish<'_>,
        properties: &Properties,
        body: &Bytes,
    ) -> Result<(), TooLarge> {
        let size = u64::try_from(body.len()).unwrap_or(u64::MAX);
        self.carrier(channel, publish, &properties.header(size))?;
        self.body(channel, body, 0);
        Ok(())
    }

    fn settle(&mut self, channel: u16, method: u16, delivery_tag: u64, bits: u8) {
        const SIZE: usize = 13;
        let [t, c1, c2, s1, s2, s3, s4] = frame::header(FrameKind::Method, channel, SIZE as u32);
        let [m1, m2] = method.to_be_bytes();
        let [d1, d2, d3, d4, d5, d6, d7, d8] = delivery_tag.to_be_bytes();
        let frame: [u8; SIZE + OVERHEAD] = [
            t, c1, c2, s1, s2, s3, s4, 0, 60, m1, m2, d1, d2, d3, d4, d5, d6, d7, d8, bits, FRAME_END,
        ];
        self.copied.put_slice(&frame);
    }

    /// Method frame and header frame.
    fn carrier(&mut self, channel: u16, method: &impl Carrier, header: &[u8]) -> Result<(), TooLarge> {
        let size = self.frame_max.fits(header.len())?;
        self.copied.reserve(CARRIER_MAX + header.len() + COPIED_MAX);
        // No method that carries a content is longer than the smallest frame.
        let start = self.copied.len();
        self.copied.put_slice(&[0; HEADER_LENGTH]);
        method.write(&mut self.copied);
        let length = self.copied.len() - start - HEADER_LENGTH;
        let length = u32::try_from(length).unwrap_or_default();
        if let Some(place) = self.copied.get_mut(start..start + HEADER_LENGTH) {
            place.copy_from_slice(&frame::header(FrameKind::Method, channel, length));
        }
        let [t, c1, c2, s1, s2, s3, s4] = frame::header(FrameKind::Header, channel, size);
        self.copied.put_slice(&[FRAME_END, t, c1, c2, s1, s2, s3, s4]);
        self.copied.put_slice(header);
        self.copied.put_u8(FRAME_END);
        Ok(())
    }

    /// A piece of a body, from `start` on, in as many frames as it needs.
    fn body(&mut self, channel: u16, octets: &Bytes, start: usize) {
        let most = usize::try_from(self.frame_max.payload()).unwrap_or(usize::MAX);
        let (mut at, end) = (start, octets.len());
        while at < end {
            let length = (end - at).min(most);
            let header = frame::header(
                FrameKind::Body,
                channel,
                u32::try_from(length).unwrap_or(u32::MAX),
            );
            self.copied.put_slice(&header);
            if length <= COPIED_MAX {
                self.copied
                    .put_slice(octets.get(at..at + length).unwrap_or_default());
            } else {
                self.share(octets.slice(at..at + length));
            }
            self.copied.put_u8(FRAME_END);
            at += length;
        }
    }

    fn share(&mut self, octets: Bytes) {
        let after = self.copied.len() - self.before_shared;
        self.before_shared = self.copied.len();
        self.shared_octets += octets.len();
        self.shared.push_back(Shared { after, octets });
    }
}

/// The longest frames before a body, without the header's payload: three short strings and what is around them.
const CARRIER_MAX: usize = 3 * 256 + 64;

impl Buf for Outbox {
    fn remaining(&self) -> usize {
        self.len()
    }

    fn chunk(&self) -> &[u8] {
        match self.shared.front() {
            Some(Shared { after: 0, octets }) => octets,
            Some(Shared { after, .. }) => self.copied.get(..*after).unwrap_or_default(),
            None => &self.copied,
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let (mut rest, mut filled) = (&self.copied[..], slices.iter_mut());
        let mut count = 0;
        let mut fill = |octets: &'a [u8]| match octets.is_empty() {
            true => true,
            false => filled.next().is_some_and(|slice| {
                *slice = IoSlice::new(octets);
                count += 1;
                true
            }),
        };
        for Shared { after, octets } in &self.shared {
            let (before, behind) = rest.split_at_checked(*after).unwrap_or((rest, &[]));
            rest = behind;
            if !fill(before) || !fill(octets) {
                return count;
            }
        }
        fill(rest);
        count
    }

    fn advance(&mut self, mut count: usize) {
        debug_assert!(count <= self.len());
        while let Some(front) = self.shared.front_mut() {
            let copied = count.min(front.after);
            front.after -= copied;
            self.copied.advance(copied);
            self.before_shared -= copied;
            count -= copied;
            if front.after > 0 {
                return;
            }
            let shared = count.min(front.octets.len());
            front.octets.advance(shared);
            self.shared_octets -= shared;
            count -= shared;
            if front.octets.has_remaining() {
                return;
            }
            self.shared.pop_front();
        }
        self.copied.advance(count.min(self.copied.len()));
    }
}

#[cfg(test)]
mod tests;

/// Everything that waits, taken so many octets at a time by vectored writes.
#[cfg(test)]
pub(crate) fn written(outbox: &mut Outbox, step: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while outbox.has_remaining() {
        let mut slices = [IoSlice::new(&[]); 3];
        let count = outbox.chunks_vectored(&mut slices);
        let taken: Vec<u8> = slices[..count]
            .iter()
            .flat_map(|slice| slice.iter().copied())
            .take(step)
            .collect();
        assert!(!taken.is_empty());
        assert_eq!(
            taken[..outbox.chunk().len().min(step)],
            outbox.chunk()[..outbox.chunk().len().min(step)]
        );
        outbox.advance(taken.len());
        all.extend(taken);
    }
    all
}
