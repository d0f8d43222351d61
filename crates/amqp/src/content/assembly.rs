//! Messages out of the frames of one channel.

use bytes::{BufMut, Bytes, BytesMut};

use super::message::append_header;
use super::{ContentError, Header, InvalidHeader, Message};
use crate::frame::{Chunk, FrameKind, OVERHEAD, Place};
use crate::hot::check_carrier;
use crate::method::MethodId;

/// The largest body that RabbitMQ can be told to take.
pub const BODY_SIZE_MAX: u64 = 512 << 20;
/// The largest body that RabbitMQ 3.10 takes unless told otherwise.
pub const BODY_SIZE_DEFAULT: u64 = 128 << 20;
/// A piece of a body up to this size is copied to its neighbours, so that a body has no more pieces than its size
/// divided by this, and two.
pub const SMALL_PIECE: usize = 1024;

/// What a frame was.
#[derive(Clone, Debug, PartialEq)]
pub enum Accepted {
    /// A method without content; [`crate::hot::Hot::read`] or [`Chunk::method`] reads it.
    Method,
    /// The last of a message.
    Message(Message),
    /// A part of a message.
    Part,
}

/// Puts the contents of one channel together.
///
/// A channel that has been told to close must not be given frames any more: what is left of a content means nothing.
#[derive(Clone, Debug)]
pub struct Assembly {
    body_size_max: u64,
    state: State,
}

#[derive(Clone, Debug, Default)]
enum State {
    #[default]
    Method,
    Header {
        method: Bytes,
    },
    Body(Box<Partial>),
}

/// A message some of whose body is missing.
#[derive(Clone, Debug)]
struct Partial {
    method: MethodId,
    /// As in a message; small pieces of the body are appended as long as there is no large one.
    octets: BytesMut,
    header_start: usize,
    header_end: usize,
    pieces: Vec<Bytes>,
    /// Small pieces after a large one.
    tail: BytesMut,
    missing: u64,
}

impl Default for Assembly {
    fn default() -> Self {
        Self::new(BODY_SIZE_DEFAULT)
    }
}

impl Assembly {
    /// For messages whose body has at most so many octets.
    #[must_use]
    pub const fn new(body_size_max: u64) -> Self {
        Self {
            body_size_max,
            state: State::Method,
        }
    }

    /// Octets that are kept of an unfinished message.
    #[must_use]
    pub fn kept(&self) -> usize {
        match &self.state {
            State::Method => 0,
            State::Header { method } => method.len(),
            State::Body(partial) => {
                let pieces = partial.pieces.iter().map(Bytes::len).sum::<usize>();
                partial.octets.len() + partial.tail.len() + pieces
            }
        }
    }

    /// Takes the channel's next frame, which the chunk gave last. A message that lies in the chunk as a whole is taken
    /// at once, with its header and body: the chunk goes on behind it.
    pub fn accept(&mut self, chunk: &mut Chunk, place: Place) -> Result<Accepted, ContentError> {
        match &mut self.state {
            State::Method => self.method(chunk, place),
            State::Header { .. } => self.header(chunk, place),
            State::Body(_) => self.body(chunk, place),
        }
    }

    fn method(&mut self, chunk: &mut Chunk, place: Place) -> Result<Accepted, ContentError> {
        if place.kind != FrameKind::Method {
            return Err(ContentError::NoMethod);
        }
        let payload = chunk.payload(place);
        let Some(id) = MethodId::of(payload).filter(|id| id.has_content()) else {
            return Ok(Accepted::Method);
        };
        check_carrier(id, payload)?;
        if let Some((header, end)) = self.in_one_piece(chunk, place) {
            let octets = chunk.between(place.start, end);
            let (start, header_end) = (header.start - place.start, header.end - place.start);
            chunk.skip(end);
            return Ok(Accepted::Message(Message::from_parts(
                octets,
                start,
                header_end,
                Vec::new(),
            )));
        }
        self.state = State::Header {
            // A copy, since the chunk may be much larger than what is kept of it.
            method: Bytes::copy_from_slice(payload),
        };
        Ok(Accepted::Part)
    }

    /// The header and the end of the message that begins with this method, if the next frames are all of it and nothing
    /// is wrong with them. What is wrong is found when they come one by one.
    fn in_one_piece(&self, chunk: &Chunk, method: Place) -> Option<(Place, usize)> {
        let belongs = |place: &Place, kind| place.kind == kind && place.channel == method.channel;
        let place = chunk
            .after(method.end)
            .filter(|place| belongs(place, FrameKind::Header))?;
        let size = Header::read(chunk.payload(place)).ok()?.body_size();
        if size == 0 {
            return Some((place, place.end));
        }
        let body = chunk
            .after(place.end)
            .filter(|place| belongs(place, FrameKind::Body))?;
        let is_all = u64::try_from(body.end - body.start) == Ok(size);
        (is_all && size <= self.body_size_max).then_some((place, body.end))
    }

    fn header(&mut self, chunk: &Chunk, place: Place) -> Result<Accepted, ContentError> {
        let State::Header { method } = std::mem::take(&mut self.state) else {
            return Err(ContentError::NoMethod);
        };
        let id = MethodId::of(&method).unwrap_or(MethodId::NONE);
        if place.kind != FrameKind::Header {
            return Err(ContentError::NoHeader { method: id });
        }
        let header = Header::read(chunk.payload(place)).map_err(|reason| match reason {
            InvalidHeader::Class(class) => ContentError::WrongClass { method: id, class },
            InvalidHeader::Weight(_) => ContentError::NoHeader { method: id },
            InvalidHeader::Cut | InvalidHeader::Surplus | InvalidHeader::Table(_) => {
                ContentError::Header { method: id, reason }
            }
        })?;
        let size = header.body_size();
        if size > self.body_size_max {
            return Err(ContentError::TooLarge {
                method: id,
                size,
                max: self.body_size_max,
            });
        }
        let mut octets = BytesMut::with_capacity(method.len() + header.payload().len() + 2 * OVERHEAD);
        octets.put_slice(&method);
        let (header_start, header_end) = append_header(&mut octets, header.payload());
        octets.put_bytes(0, OVERHEAD);
        let partial = Partial {
            method: id,
            octets,
            header_start,
            header_end,
            pieces: Vec::new(),
            tail: BytesMut::new(),
            missing: size,
        };
        Ok(self.go_on(Box::new(partial)))
    }

    fn body(&mut self, chunk: &Chunk, place: Place) -> Result<Accepted, ContentError> {
        let State::Body(mut partial) = std::mem::take(&mut self.state) else {
            return Err(ContentError::NoMethod);
        };
        let method = partial.method;
        if place.kind != FrameKind::Body {
            return Err(ContentError::NoBody { method });
        }
        let size = u64::try_from(place.end - place.start).unwrap_or(u64::MAX);
        let Some(missing) = partial.missing.checked_sub(size) else {
            let surplus = size - partial.missing;
            return Err(ContentError::BodyTooLong { method, surplus });
        };
        partial.missing = missing;
        partial.append(chunk, place);
        Ok(self.go_on(partial))
    }

    fn go_on(&mut self, partial: Box<Partial>) -> Accepted {
        if partial.missing == 0 {
            return Accepted::Message(partial.finish());
        }
        self.state = State::Body(partial);
        Accepted::Part
    }
}

impl Partial {
    fn append(&mut self, chunk: &Chunk, place: Place) {
        if place.end - place.start > SMALL_PIECE {
            if !self.tail.is_empty() {
                self.pieces.push(self.tail.split().freeze());
            }
            self.pieces.push(chunk.bytes(place));
        } else if self.pieces.is_empty() {
            self.octets.put_slice(chunk.payload(place));
        } else {
            self.tail.put_slice(chunk.payload(place));
        }
    }

    fn finish(mut self) -> Message {
        if !self.tail.is_empty() {
            self.pieces.push(self.tail.freeze());
        }
        Message::from_parts(
            self.octets.freeze(),
            self.header_start,
            self.header_end,
            self.pieces,
        )
    }
}

#[cfg(test)]
mod tests;
