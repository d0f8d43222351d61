//! Where frames end, for who passes a stream on without keeping it.

use super::split::Expected;
use super::{FRAME_END, FrameError, FrameKind, FrameMax, HEADER_LENGTH, Head};
use crate::method::MethodId;
use crate::protocol::{self, ProtocolHeader};

/// As much of a frame as is kept: its header and the ids of a method.
pub const KEPT: usize = HEADER_LENGTH + 4;

/// A frame that has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boundary {
    /// What it carried.
    pub kind: FrameKind,
    /// The channel; 0 is the connection itself.
    pub channel: u16,
    /// Octets of its payload.
    pub size: u32,
    /// Which method, if it carried one.
    pub method: Option<MethodId>,
}

/// What has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// A protocol header, which only the first item can be.
    Protocol(ProtocolHeader),
    /// A frame.
    Frame(Boundary),
}

/// A [`Tracker`] as plain numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paused {
    /// The limit.
    pub frame_max: u32,
    /// What may come next: 0 a protocol header, 1 that or a frame, 2 a frame.
    pub expected: u8,
    /// The first octets of the current item; what is beyond `passed` means nothing.
    pub kept: [u8; KEPT],
    /// Octets of it that have passed.
    pub passed: u64,
}

/// Follows one direction of a connection through chunks of any size.
///
/// It keeps the first eleven octets of the current frame and a count, nothing else. After an error it is not to be used
/// again: there is no way to find the next frame.
#[derive(Clone, Debug)]
pub struct Tracker {
    frame_max: FrameMax,
    expected: Expected,
    kept: [u8; KEPT],
    /// How much of the current item has passed.
    passed: u64,
}

impl Tracker {
    /// For what a client sends: a protocol header, then frames.
    #[must_use]
    pub const fn of_client(frame_max: FrameMax) -> Self {
        Self::new(Expected::Protocol, frame_max)
    }

    /// For what a server sends: frames, or a protocol header if it refuses.
    #[must_use]
    pub const fn of_server(frame_max: FrameMax) -> Self {
        Self::new(Expected::ProtocolOrFrame, frame_max)
    }

    /// For either direction, from a frame boundary after the handshake on.
    #[must_use]
    pub const fn established(frame_max: FrameMax) -> Self {
        Self::new(Expected::Frame, frame_max)
    }

    const fn new(expected: Expected, frame_max: FrameMax) -> Self {
        Self {
            frame_max,
            expected,
            kept: [0; KEPT],
            passed: 0,
        }
    }

    /// Sets the limit, from the next frame on.
    pub const fn set_frame_max(&mut self, frame_max: FrameMax) {
        self.frame_max = frame_max;
    }

    /// Whether the last octet seen ended an item: only here may a frame of our own go in between.
    #[must_use]
    pub const fn at_boundary(&self) -> bool {
        self.passed == 0
    }

    /// Octets of the current item that have passed; none at a boundary.
    #[must_use]
    pub const fn passed(&self) -> u64 {
        self.passed
    }

    /// The first of them, at most [`KEPT`].
    #[must_use]
    pub fn start(&self) -> &[u8] {
        self.kept()
    }

    /// What the current frame is, once that is known: header and, of a method, the ids have passed.
    #[must_use]
    pub fn started(&self) -> Option<Boundary> {
        let start = self.kept();
        if self.expected.is_protocol(start.get(..1)?) != Ok(false) {
            return None;
        }
        let (head, payload) = start.split_first_chunk()?;
        let head = Head::decode(*head);
        let kind = FrameKind::of(head.kind)?;
        let method = MethodId::of(payload);
        (kind != FrameKind::Method || method.is_some()).then_some(Boundary {
            kind,
            channel: head.channel,
            size: head.size,
            method: method.filter(|_| kind == FrameKind::Method),
        })
    }

    /// What is known of the current item, to go on elsewhere by [`Tracker::resume`].
    #[must_use]
    pub const fn pause(&self) -> Paused {
        Paused {
            frame_max: self.frame_max.octets(),
            expected: match self.expected {
                Expected::Protocol => 0,
                Expected::ProtocolOrFrame => 1,
                Expected::Frame => 2,
            },
            kept: self.kept,
            passed: self.passed,
        }
    }

    /// Goes on where another one paused. Nothing if it cannot have said so.
    #[must_use]
    pub fn resume(paused: &Paused) -> Option<Self> {
        let expected = match paused.expected {
            0 => Expected::Protocol,
            1 => Expected::ProtocolOrFrame,
            2 => Expected::Frame,
            _ => return None,
        };
        let tracker = Self {
            frame_max: FrameMax::new(paused.frame_max).ok()?,
            expected,
            kept: paused.kept,
            passed: paused.passed,
        };
        // No more can have passed than the item has.
        let whole = match tracker.kept().split_first_chunk() {
            Some((head, _)) if expected == Expected::Frame => u64::from(Head::decode(*head).size) + 7,
            Some(_) | None => u64::MAX,
        };
        (tracker.passed <= whole).then_some(tracker)
    }

    /// Goes to the end of the current item and leaves in `chunk` what comes after it; nothing if the chunk ends first.
    pub fn next(&mut self, chunk: &mut &[u8]) -> Result<Option<Passed>, FrameError> {
        if self.at_boundary()
            && self.expected == Expected::Frame
            && let Some(boundary) = self.whole(chunk)?
        {
            return Ok(Some(Passed::Frame(boundary)));
        }
        self.keep(chunk, 1);
        if self.at_boundary() {
            return Ok(None);
        }
        let passed = match self.expected.is_protocol(self.kept())? {
            true => self.protocol(chunk)?.map(Passed::Protocol),
            false => self.frame(chunk)?.map(Passed::Frame),
        };
        if passed.is_some() {
            self.expected = Expected::Frame;
            self.passed = 0;
        }
        Ok(passed)
    }

    /// A frame that lies in the chunk from its first octet to its last, as nearly all do: nothing has to be kept.
    fn whole(&self, chunk: &mut &[u8]) -> Result<Option<Boundary>, FrameError> {
        let Some((head, rest)) = chunk.split_first_chunk::<HEADER_LENGTH>() else {
            return Ok(None);
        };
        let head = Head::decode(*head);
        head.check_size(self.frame_max)?;
        let size = usize::try_from(head.size).unwrap_or(usize::MAX);
        let Some((payload, [last, after @ ..])) = rest.split_at_checked(size) else {
            return Ok(None);
        };
        let start = payload.get(..4).unwrap_or(payload);
        let boundary = Self::boundary(head, start, *last)?;
        *chunk = after;
        Ok(Some(boundary))
    }

    /// What the frame was, now that its end is there. `start` is as much of the payload as is looked at.
    fn boundary(head: Head, start: &[u8], last: u8) -> Result<Boundary, FrameError> {
        let kind = head.check_whole(start, last)?;
        debug_assert_eq!(last, FRAME_END);
        Ok(Boundary {
            kind,
            channel: head.channel,
            size: head.size,
            method: match kind {
                FrameKind::Method => MethodId::of(start),
                FrameKind::Header | FrameKind::Body | FrameKind::Heartbeat => None,
            },
        })
    }

    fn protocol(&mut self, chunk: &mut &[u8]) -> Result<Option<ProtocolHeader>, FrameError> {
        self.keep(chunk, protocol::LENGTH);
        self.expected.is_protocol(self.kept())?;
        let Some(octets) = self.kept().first_chunk() else {
            return Ok(None);
        };
        ProtocolHeader::decode(*octets)
            .map(Some)
            .ok_or(FrameError::NotAmqp)
    }

    fn frame(&mut self, chunk: &mut &[u8]) -> Result<Option<Boundary>, FrameError> {
        self.keep(chunk, HEADER_LENGTH);
        let Some(head) = self.kept().first_chunk() else {
            return Ok(None);
        };
        let head = Head::decode(*head);
        head.check_size(self.frame_max)?;
        self.keep(chunk, HEADER_LENGTH + head.size.min(4) as usize);

        let end = HEADER_LENGTH as u64 + u64::from(head.size);
        let missing = usize::try_from(end.saturating_sub(self.passed)).unwrap_or(usize::MAX);
        let Some((_, [last, rest @ ..])) = chunk.split_at_checked(missing) else {
            self.passed += chunk.len() as u64;
            *chunk = &[];
            return Ok(None);
        };
        *chunk = rest;
        let start = self.kept().get(HEADER_LENGTH..).unwrap_or_default();
        Self::boundary(head, start, *last).map(Some)
    }

    /// Takes octets off the chunk until this many of the item are kept, or the chunk is empty.
    fn keep(&mut self, chunk: &mut &[u8], wanted: usize) {
        let have = self.kept().len();
        let free = self.kept.get_mut(have..wanted.max(have)).unwrap_or_default();
        let taken = free.len().min(chunk.len());
        if let (Some(free), Some((start, rest))) = (free.get_mut(..taken), chunk.split_at_checked(taken)) {
            free.copy_from_slice(start);
            *chunk = rest;
            self.passed += taken as u64;
        }
    }

    fn kept(&self) -> &[u8] {
        let count = usize::try_from(self.passed).unwrap_or(KEPT).min(KEPT);
        self.kept.get(..count).unwrap_or_default()
    }
}
