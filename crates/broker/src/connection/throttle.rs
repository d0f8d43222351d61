//! Why a connection is not read for a while: what its client has to wait for.
//!
//! - Memory or disk is short, and it publishes (`blocked`): what it wants to publish waits here, the rest of what it has begun included, which
//!   may be much on many channels. Until it publishes it is `blocking`, and everything else goes on.
//! - It publishes faster than the disk writes: what has to be safe, or what has to leave the memory (`flow`). Of a client who has published
//!   nothing yet, only what may have to be safe waits.
//! - It does not read the answers to what it asks. What asks for messages waits here when there are too many answers: a read may ask for
//!   thousands of them.
//! - It has had its turn, and others have not (`turn`).
//! - It has changed the metadata, and that is not on disk.
//!
//! Nobody who cannot be heard is missed.

use std::sync::atomic::Ordering;

use tokio::time::Instant;
use warren_amqp::content::Header;
use warren_amqp::frame::{Chunk, FrameKind, Place};
use warren_amqp::{Exception, MethodId, ReplyCode, basic, connection};

use super::{ANSWERS_MAX, Connection, Wire, short};
use crate::registry::State;

/// What waits.
#[derive(Default)]
pub(super) struct Throttle {
    /// Frames read and not carried out, from this place on.
    held: Option<(Chunk, Place)>,
    waits: Waits,
    /// The client was told.
    told: bool,
    /// It was not read for other reasons when that was asked last.
    slowed: bool,
}

/// For what frames wait.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Waits {
    /// Room in memory or on disk.
    #[default]
    Room,
    /// The log.
    Log,
    /// That the client reads.
    Client,
    /// That others have had their turn.
    Turn,
}

impl Throttle {
    pub(super) const fn is_blocked(&self) -> bool {
        self.holds() && !matches!(self.waits, Waits::Turn)
    }

    pub(super) const fn is_paused(&self) -> bool {
        self.holds() && matches!(self.waits, Waits::Turn)
    }

    pub(super) const fn holds(&self) -> bool {
        self.held.is_some()
    }

    /// Nothing more is done from this frame on, until others have had their turn.
    pub(super) fn pause(&mut self, chunk: Chunk, place: Place) {
        self.held = Some((chunk, place));
        self.waits = Waits::Turn;
    }

    pub(super) const fn take_held(&mut self) -> Option<(Chunk, Place)> {
        self.held.take()
    }
}

impl<S: Wire> Connection<S> {
    /// Does this frame begin a message, or go on with one, while there is no room for any?
    pub(super) fn has_to_wait(&self, chunk: &Chunk, place: Place) -> bool {
        let publishes = || match place.kind {
            FrameKind::Method => MethodId::of(chunk.payload(place)) == Some(basic::Publish::ID),
            FrameKind::Header | FrameKind::Body => true,
            FrameKind::Heartbeat => false,
        };
        self.client.node.alarms.short().any() && publishes()
    }

    /// Nothing more is done or read from this frame on, until there is room.
    pub(super) fn block(&mut self, chunk: Chunk, place: Place) {
        let alarms = &self.client.node.alarms;
        self.throttle.held = Some((chunk, place));
        self.throttle.waits = Waits::Room;
        if self.client.entry.state() == State::Blocked {
            return;
        }
        alarms.blocked.fetch_add(1, Ordering::Relaxed);
        self.client.entry.set_state(State::Blocked);
        if self.client.blocked_notify {
            let reason = short(alarms.short().reason());
            self.client
                .output
                .lock()
                .method(0, connection::Blocked { reason });
            self.throttle.told = true;
        }
    }

    /// Does this frame begin the first message of a client, one that may have to be kept, while the log is behind? Many of them who come at once
    /// would have more written than may wait.
    pub(super) fn has_to_wait_for_log(&mut self, chunk: &Chunk, place: Place) -> bool {
        self.batch.is_new()
            && place.kind == FrameKind::Method
            && MethodId::of(chunk.payload(place)) == Some(basic::Publish::ID)
            && !is_transient(chunk)
            && self.batch.awaits_log(&self.client)
    }

    /// Does this frame ask for a message, while many answers wait for the client?
    pub(super) fn has_to_wait_for_client(&self, chunk: &Chunk, place: Place) -> bool {
        place.kind == FrameKind::Method
            && MethodId::of(chunk.payload(place)) == Some(basic::Get::ID)
            && self.has_many_answers()
    }

    fn has_many_answers(&self) -> bool {
        self.client.output.lock().answers > ANSWERS_MAX
    }

    /// What asks for messages need not wait any more.
    pub(super) fn may_ask(&self) -> bool {
        self.throttle.is_blocked() && self.throttle.waits == Waits::Client && !self.has_many_answers()
    }

    /// Nothing more is done or read from this frame on, until what it waits for has come.
    pub(super) fn hold(&mut self, chunk: Chunk, place: Place, waits: Waits) {
        self.throttle.held = Some((chunk, place));
        (self.throttle.waits, self.throttle.slowed) = (waits, true);
        self.client.entry.slowed();
        self.show();
    }

    /// The log has come further.
    pub(super) fn follow_log(&mut self) {
        if self.throttle.is_blocked()
            && self.throttle.waits == Waits::Log
            && !self.batch.is_behind(&self.client)
        {
            self.heard = Instant::now();
            self.process();
        }
    }

    /// What the client has changed is on disk, and it hears so; or nothing ever will be again.
    pub(super) fn follow_change(&mut self) {
        if let Some(change) = self.batch.safe_change(&self.client) {
            if let Some((channel, answer)) = change.answer {
                self.client.output.lock().method(channel, answer);
            }
            self.heard = Instant::now();
            if !self.leaving {
                self.process();
            }
        } else if self.batch.change.is_some() && !self.client.node.session.holds() {
            self.close(&Exception::new(
                ReplyCode::InternalError,
                "the change cannot be written",
                MethodId::NONE,
            ));
        }
    }

    /// Something is short, or no longer.
    pub(super) fn follow_alarms(&mut self) {
        if self.closing.is_some() || self.done {
            return;
        }
        if self.client.node.alarms.short().any() {
            if !self.throttle.is_blocked() {
                self.show();
            }
            return;
        }
        self.show();
        if std::mem::take(&mut self.throttle.told) {
            self.client.output.lock().method(0, connection::Unblocked {});
        }
        if self.throttle.is_blocked() {
            self.heard = Instant::now();
            self.process();
        }
    }

    /// Is there anything for which the client has to wait before he is heard again?
    pub(super) fn may_read(&mut self) -> bool {
        if self.throttle.is_blocked() || self.batch.change.is_some() {
            return false;
        }
        let is_behind = self.batch.is_behind(&self.client);
        let slowed = is_behind || self.is_deaf();
        if slowed != std::mem::replace(&mut self.throttle.slowed, slowed) {
            match slowed {
                true => self.client.entry.slowed(),
                false => self.heard = Instant::now(),
            }
            if self.closing.is_none() {
                self.show();
            }
        }
        !slowed
    }

    /// Says what it is doing, for others. What it wants to publish does not wait.
    fn show(&self) {
        let state = match self.throttle.slowed {
            true => State::Flow,
            false if self.client.node.alarms.short().any() => State::Blocking,
            false => State::Running,
        };
        self.client.entry.set_state(state);
    }

    /// The client asks and does not read what he is answered.
    fn is_deaf(&self) -> bool {
        !self.writing.is_empty() && self.has_many_answers()
    }
}

/// The message whose method was the last frame need not be kept.
fn is_transient(chunk: &Chunk) -> bool {
    let header = chunk.clone().next();
    header
        .is_some_and(|header| Header::read(chunk.payload(header)).is_ok_and(|header| !header.is_persistent()))
}
