//! Why a connection is not read for a while: what its client has to wait for.
//!
//! - Memory or disk is short, and it publishes (`blocked`): what it wants to publish waits here. Until it publishes it is
//!   `blocking`, and everything else goes on.
//! - It publishes faster than the disk writes: what has to be safe, or what has to leave the memory (`flow`).
//! - It does not read the answers to what it asks.
//!
//! Nobody who cannot be heard is missed.

use std::sync::atomic::Ordering;

use tokio::time::Instant;
use warren_amqp::frame::{Chunk, FrameKind, Place};
use warren_amqp::{MethodId, basic, connection};

use super::{ANSWERS_MAX, Connection, Wire, short};
use crate::registry::State;

/// What waits.
#[derive(Default)]
pub(super) struct Throttle {
    /// Frames read and not carried out, from this place on.
    held: Option<(Chunk, Place)>,
    /// The client was told.
    told: bool,
    /// It was not read for other reasons when that was asked last.
    slowed: bool,
}

impl Throttle {
    pub(super) const fn is_blocked(&self) -> bool {
        self.held.is_some()
    }

    pub(super) const fn take_held(&mut self) -> Option<(Chunk, Place)> {
        self.held.take()
    }
}

impl<S: Wire> Connection<S> {
    /// Does this frame begin a message, while there is no room for any?
    pub(super) fn has_to_wait(&self, chunk: &Chunk, place: Place) -> bool {
        place.kind == FrameKind::Method
            && self.client.node.alarms.short().any()
            && MethodId::of(chunk.payload(place)) == Some(basic::Publish::ID)
    }

    /// Nothing more is done or read from this frame on, until there is room.
    pub(super) fn block(&mut self, chunk: Chunk, place: Place) {
        let alarms = &self.client.node.alarms;
        self.throttle.held = Some((chunk, place));
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
        if self.throttle.is_blocked() {
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
        !self.writing.is_empty() && self.client.output.lock().answers > ANSWERS_MAX
    }
}
