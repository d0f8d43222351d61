//! Large bodies, which the kernel moves from one socket to the other without showing them to us.
//!
//! Only what is known to be body is moved, and a pipe is empty before it is filled again.

use warren_balance::http::Body;

use crate::session::endpoint::Endpoint;
use crate::session::relay::pipe::{Moved, Pipe, Pipes};

/// A body of which less is left is copied: a pipe would cost as much.
const LEFT_MIN: u64 = 64 * 1024;
/// A call that moves less was not worth it.
const MOVED_MIN: usize = 8 * 1024;
/// After so many such calls in a row the rest is copied: it comes in small pieces.
const SMALL_MAX: u8 = 4;

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Moving {
    /// Octets are in it.
    pipe: Option<Box<Pipe>>,
    /// It has begun with this body, and goes on to its end.
    begun: bool,
    /// Calls in a row that moved little.
    small: u8,
}

/// How far it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// So many octets were taken.
    Took(usize),
    /// What was taken is with the reader.
    Gave,
    /// Until one of both sockets has to tell.
    Waits,
    /// There is nothing to be moved: what comes next is to be received.
    Copy,
    /// The connection to which they go is gone.
    SinkGone,
}

impl Moving {
    /// One call to the kernel, if there is something to be moved.
    pub(super) fn step(
        &mut self,
        body: &mut Body,
        from: &mut Endpoint,
        into: &mut Endpoint,
        pipes: &mut Pipes,
    ) -> Step {
        if self.pipe.is_some() {
            return self.drain(into, pipes);
        }
        let left = body.unseen();
        let worth = left >= LEFT_MIN || (self.begun && left > 0);
        if !worth || self.small > SMALL_MAX || !from.is_plain() || !into.is_plain() {
            self.begun &= left > 0;
            return Step::Copy;
        }
        if !from.readable || !into.writable {
            return Step::Waits;
        }
        let Some(mut pipe) = pipes.take() else {
            return Step::Copy;
        };
        let most = usize::try_from(left).unwrap_or(usize::MAX);
        match pipe.fill_at_most(&*from, most) {
            Moved::Octets(count) => {
                self.begun = true;
                self.small = match count < MOVED_MIN && left > count as u64 {
                    true => self.small.saturating_add(1),
                    false => 0,
                };
                body.skip(count as u64);
                self.pipe = Some(pipe);
                Step::Took(count)
            }
            Moved::Wait => {
                pipes.give_back(pipe);
                from.readable = false;
                Step::Waits
            }
            // Receiving tells how it ended, and works where moving does not.
            Moved::End | Moved::Failed(_) => {
                pipes.give_back(pipe);
                self.small = u8::MAX;
                Step::Copy
            }
        }
    }

    fn drain(&mut self, into: &mut Endpoint, pipes: &mut Pipes) -> Step {
        // An event tells of room only to who has found none: trying before would leave it unsaid for ever.
        if !into.writable {
            return Step::Waits;
        }
        let Some(mut pipe) = self.pipe.take() else {
            return Step::Gave;
        };
        let moved = pipe.drain(&*into);
        if pipe.holds == 0 {
            pipes.give_back(pipe);
            return Step::Gave;
        }
        self.pipe = Some(pipe);
        match moved {
            Moved::Octets(_) | Moved::Wait => {
                into.writable = false;
                Step::Waits
            }
            Moved::End | Moved::Failed(_) => Step::SinkGone,
        }
    }

    /// Octets wait for the reader.
    pub(super) const fn owes(&self) -> bool {
        self.pipe.is_some()
    }

    /// Octets that wait for the reader, for whoever wants to see them. `None`: the kernel does not give them back.
    pub(super) fn take_out(&mut self, pipes: &mut Pipes) -> Option<Vec<u8>> {
        let Some(pipe) = &mut self.pipe else {
            return Some(Vec::new());
        };
        let octets = pipe.take_out().ok()?;
        self.end(pipes);
        Some(octets)
    }

    /// It is over, whatever is left.
    pub(super) fn end(&mut self, pipes: &mut Pipes) {
        if let Some(pipe) = self.pipe.take() {
            pipes.give_back(pipe);
        }
        *self = Self::default();
    }
}
