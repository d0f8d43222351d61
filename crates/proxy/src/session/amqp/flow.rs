//! One direction of an AMQP connection: where frames end, and the payloads of the few that matter.
//!
//! A payload that lies in the chunk is shown from there. Only if a frame that matters is cut by the end of a chunk, its
//! octets are collected, up to what is wanted of it. A stream that is not AMQP 0-9-1 makes it blind for good: then
//! octets are octets.

use std::borrow::Cow;
use std::fmt;

use warren_amqp::FrameMax;
use warren_amqp::frame::{Boundary, HEADER_LENGTH, Passed, Paused, Tracker};
use warren_amqp::protocol::ProtocolHeader;

/// What has passed.
#[derive(Debug)]
pub(super) enum Seen<'a> {
    /// A protocol header.
    Protocol(ProtocolHeader),
    /// A frame, and as much of its payload as was wanted.
    Frame(Boundary, Cow<'a, [u8]>),
}

/// One direction.
pub(super) struct Flow {
    tracker: Tracker,
    /// Of the current frame, from its first octet on, if it is wanted and began in an earlier chunk.
    partial: Vec<u8>,
    blind: bool,
}

impl fmt::Debug for Flow {
    /// Without octets: a login is among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow")
            .field("at_boundary", &self.tracker.at_boundary())
            .field("blind", &self.blind)
            .finish_non_exhaustive()
    }
}

impl Flow {
    /// What a client sends.
    pub(super) const fn of_client() -> Self {
        Self::new(Tracker::of_client(FrameMax::UNLIMITED))
    }

    /// What a server sends.
    pub(super) const fn of_server() -> Self {
        Self::new(Tracker::of_server(FrameMax::UNLIMITED))
    }

    const fn new(tracker: Tracker) -> Self {
        Self {
            tracker,
            partial: Vec::new(),
            blind: false,
        }
    }

    /// Whether a frame of our own may follow what has passed.
    pub(super) const fn at_boundary(&self) -> bool {
        self.tracker.at_boundary() && !self.blind
    }

    /// Whether octets are only octets.
    pub(super) const fn is_blind(&self) -> bool {
        self.blind
    }

    /// From now on octets are only octets.
    pub(super) fn close_eyes(&mut self) {
        self.blind = true;
        self.partial = Vec::new();
    }

    /// The first octets of the current item, at most eleven.
    pub(super) fn start(&self) -> &[u8] {
        self.tracker.start()
    }

    /// Octets of the current item that have passed.
    pub(super) const fn passed(&self) -> u64 {
        self.tracker.passed()
    }

    /// Goes to the end of the next item and leaves in `chunk` what comes after; nothing if the chunk ends first.
    /// `wanted` says how many octets of a frame's payload matter.
    pub(super) fn next<'a>(
        &mut self,
        chunk: &mut &'a [u8],
        wanted: impl Fn(&Boundary) -> Option<usize>,
    ) -> Option<Seen<'a>> {
        if self.blind {
            *chunk = &[];
            return None;
        }
        let (before, earlier) = (*chunk, Start::of(&self.tracker));
        let passed = match self.tracker.next(chunk) {
            Ok(Some(passed)) => passed,
            Ok(None) => {
                if let Some(length) = self.tracker.started().as_ref().and_then(wanted) {
                    self.collect(&earlier, before, length);
                }
                return None;
            }
            Err(_) => {
                self.close_eyes();
                *chunk = &[];
                return None;
            }
        };
        let boundary = match passed {
            Passed::Protocol(header) => return Some(Seen::Protocol(header)),
            Passed::Frame(boundary) => boundary,
        };
        let payload = match wanted(&boundary) {
            None => Cow::Borrowed(&[][..]),
            Some(length) if earlier.passed == 0 => {
                let payload = before.get(HEADER_LENGTH..).unwrap_or_default();
                Cow::Borrowed(payload.get(..length).unwrap_or_default())
            }
            Some(length) => {
                let here = before.get(..before.len() - chunk.len()).unwrap_or_default();
                self.collect(&earlier, here, length);
                let mut whole = std::mem::take(&mut self.partial);
                whole.truncate(HEADER_LENGTH + length);
                whole.drain(..HEADER_LENGTH.min(whole.len()));
                Cow::Owned(whole)
            }
        };
        Some(Seen::Frame(boundary, payload))
    }

    /// Keeps what is here of the current frame, and what came before if nobody knew then that it would matter.
    fn collect(&mut self, earlier: &Start, here: &[u8], length: usize) {
        let whole = HEADER_LENGTH + length;
        if self.partial.is_empty() {
            self.partial.reserve_exact(whole);
            self.partial.extend_from_slice(earlier.octets());
        }
        let missing = whole.saturating_sub(self.partial.len());
        self.partial
            .extend_from_slice(here.get(..missing).unwrap_or(here));
    }

    /// To go on in another process.
    pub(super) fn pause(&self) -> PausedFlow {
        let paused = self.tracker.pause();
        PausedFlow {
            expected: paused.expected,
            kept: paused.kept,
            passed: paused.passed,
            partial: self.partial.clone(),
            blind: self.blind,
        }
    }

    /// Goes on.
    pub(super) fn resume(paused: PausedFlow) -> Option<Self> {
        Some(Self {
            tracker: Tracker::resume(&Paused {
                frame_max: FrameMax::UNLIMITED.octets(),
                expected: paused.expected,
                kept: paused.kept,
                passed: paused.passed,
            })?,
            partial: paused.partial,
            blind: paused.blind,
        })
    }
}

/// What had passed of the current item before this chunk. If it is more than the tracker keeps, it was known then
/// whether it is wanted.
struct Start {
    octets: [u8; warren_amqp::frame::KEPT],
    passed: u64,
}

impl Start {
    fn of(tracker: &Tracker) -> Self {
        let mut octets = [0; warren_amqp::frame::KEPT];
        if tracker.at_boundary() {
            return Self { octets, passed: 0 };
        }
        let kept = tracker.start();
        if let Some(place) = octets.get_mut(..kept.len()) {
            place.copy_from_slice(kept);
        }
        Self {
            octets,
            passed: tracker.passed(),
        }
    }

    fn octets(&self) -> &[u8] {
        let count = usize::try_from(self.passed).unwrap_or(usize::MAX);
        self.octets.get(..count).unwrap_or(&self.octets)
    }
}

/// A [`Flow`] on its way to another process.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct PausedFlow {
    expected: u8,
    kept: [u8; warren_amqp::frame::KEPT],
    passed: u64,
    partial: Vec<u8>,
    blind: bool,
}

impl fmt::Debug for PausedFlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PausedFlow")
            .field("passed", &self.passed)
            .finish_non_exhaustive()
    }
}
