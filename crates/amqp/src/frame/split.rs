//! Whole frames out of a growing buffer.

use bytes::{Buf, Bytes, BytesMut};

use super::{Chunk, FRAME_END, Frame, FrameError, FrameKind, FrameMax, HEADER_LENGTH, Head, OVERHEAD};
use crate::protocol::{self, MAGIC, ProtocolHeader};

/// What a stream consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// From a client, what it wants to speak. From a server, that it refuses, and what it speaks instead.
    Protocol(ProtocolHeader),
    /// Everything else.
    Frame(Frame),
}

/// Takes one direction of a connection apart.
///
/// The caller appends what it reads to a buffer and calls [`Splitter::next`] until there is nothing more; what then
/// stays in the buffer is less than one frame, and so never more than the limit. An error stays: there is no way to
/// find the next frame.
#[derive(Clone, Debug)]
pub struct Splitter {
    frame_max: FrameMax,
    expected: Expected,
}

/// A protocol header can only be the first thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Protocol,
    ProtocolOrFrame,
    Frame,
}

impl Expected {
    /// Whether the item that begins with these octets (at least one) is a protocol header.
    pub(super) fn is_protocol(self, start: &[u8]) -> Result<bool, FrameError> {
        let magic = start.iter().zip(&MAGIC).all(|(octet, magic)| octet == magic);
        match self {
            Self::Protocol if magic => Ok(true),
            Self::Protocol => Err(FrameError::NotAmqp),
            // No frame has the type 'A', so one octet is enough to tell.
            Self::ProtocolOrFrame if start.first() == MAGIC.first() => match magic {
                true => Ok(true),
                false => Err(FrameError::NotAmqp),
            },
            Self::ProtocolOrFrame | Self::Frame => Ok(false),
        }
    }
}

impl Splitter {
    /// For what a client sends: a protocol header, then frames.
    #[must_use]
    pub const fn of_client() -> Self {
        Self {
            frame_max: FrameMax::MIN,
            expected: Expected::Protocol,
        }
    }

    /// For what a server sends: frames, or a protocol header if it refuses.
    #[must_use]
    pub const fn of_server() -> Self {
        Self {
            frame_max: FrameMax::MIN,
            expected: Expected::ProtocolOrFrame,
        }
    }

    /// Sets the limit, from the next frame on: what was negotiated, or more room for a long login before that.
    pub const fn set_frame_max(&mut self, frame_max: FrameMax) {
        self.frame_max = frame_max;
    }

    /// Takes the next item off the buffer, if all of it is there.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Item>, FrameError> {
        if input.is_empty() {
            return Ok(None);
        }
        let item = match self.expected.is_protocol(input)? {
            true => self.protocol(input)?.map(Item::Protocol),
            false => self.frame(input)?.map(Item::Frame),
        };
        if item.is_some() {
            self.expected = Expected::Frame;
        }
        Ok(item)
    }

    /// Takes all the whole frames there are off the buffer at once; nothing if there is none. What is wrong with a frame
    /// is said when it is the first.
    ///
    /// This is for a connection whose protocol header has been taken by [`Splitter::next`].
    pub fn chunk(&mut self, input: &mut BytesMut) -> Result<Option<Chunk>, FrameError> {
        if let Some(start) = input.get(..1)
            && self.expected.is_protocol(start)?
        {
            return Err(FrameError::NotAmqp);
        }
        let mut end = 0;
        loop {
            match self.whole(input.get(end..).unwrap_or_default()) {
                Ok(Some((_, _, size))) => end += size + OVERHEAD,
                Err(error) if end == 0 => return Err(error),
                Ok(None) | Err(_) => break,
            }
        }
        if end == 0 {
            return Ok(None);
        }
        self.expected = Expected::Frame;
        Ok(Some(Chunk::new(input.split_to(end).freeze())))
    }

    /// A frame that was read to where it stays, as a chunk of its own; nothing if the octets are not one whole frame.
    pub fn alone(&self, octets: Bytes) -> Result<Option<Chunk>, FrameError> {
        let whole = self.whole(&octets)?;
        let is_alone = whole.is_some_and(|(_, _, size)| size + OVERHEAD == octets.len());
        Ok(is_alone.then(|| Chunk::new(octets)))
    }

    /// How many octets are missing of the frame with which the buffer begins, as far as that can be told. To read so
    /// many at once spares copies of a large one.
    #[must_use]
    pub fn missing(input: &[u8]) -> usize {
        let Some((head, rest)) = input.split_first_chunk::<HEADER_LENGTH>() else {
            return HEADER_LENGTH - input.len();
        };
        let size = usize::try_from(Head::decode(*head).size).unwrap_or(usize::MAX);
        size.saturating_add(1).saturating_sub(rest.len())
    }

    /// Kind, channel and size of the payload of the frame with which the octets begin, if all of it is there.
    fn whole(&self, octets: &[u8]) -> Result<Option<(FrameKind, u16, usize)>, FrameError> {
        let Some((head, rest)) = octets.split_first_chunk::<HEADER_LENGTH>() else {
            return Ok(None);
        };
        let head = Head::decode(*head);
        head.check_size(self.frame_max)?;
        let size = usize::try_from(head.size).unwrap_or(usize::MAX);
        let (Some(payload), Some(end)) = (rest.get(..size), rest.get(size)) else {
            return Ok(None);
        };
        let kind = head.check_whole(payload, *end)?;
        debug_assert_eq!(*end, FRAME_END);
        Ok(Some((kind, head.channel, size)))
    }

    fn protocol(&self, input: &mut BytesMut) -> Result<Option<ProtocolHeader>, FrameError> {
        let Some(octets) = input.first_chunk::<{ protocol::LENGTH }>() else {
            return Ok(None);
        };
        let header = ProtocolHeader::decode(*octets).ok_or(FrameError::NotAmqp)?;
        input.advance(protocol::LENGTH);
        Ok(Some(header))
    }

    fn frame(&self, input: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let Some((kind, channel, size)) = self.whole(input)? else {
            return Ok(None);
        };
        let mut whole = input.split_to(size + OVERHEAD).freeze();
        whole.advance(HEADER_LENGTH);
        whole.truncate(size);
        Ok(Some(Frame {
            kind,
            channel,
            // An empty slice would keep the whole buffer alive for nothing.
            payload: if whole.is_empty() { Bytes::new() } else { whole },
        }))
    }
}
