//! How long a client who sends without end is served before others have their turn.
//!
//! What was read at once may be thousands of frames, and some of them much work: it is left in the middle if need be.

use std::time::Duration;

use tokio::time::Instant;

use super::{Connection, Wire};
use crate::batch::LOOK_UP;

/// The longest, but for what has begun.
const LONGEST: Duration = Duration::from_millis(1);
/// Octets that are read from him in that time at most: whoever gets the messages sends them on while the processor still has
/// them at hand.
const OCTETS_MAX: usize = 256 * 1024;
/// Work after which the clock is looked at: so many frames, or a few that are more than to pass on a message or to settle one.
const WORK: usize = 4 * LOOK_UP;

/// What a client has had without a pause.
#[derive(Debug)]
pub(super) struct Turn {
    since: Instant,
    octets: usize,
    work: usize,
}

impl Turn {
    pub(super) const fn begin(since: Instant) -> Self {
        Self {
            since,
            octets: 0,
            work: 0,
        }
    }

    /// So much has been read; is it over when that is done?
    pub(super) fn is_over_with(&mut self, octets: usize, now: Instant) -> bool {
        self.octets += octets;
        self.octets >= OCTETS_MAX || now.duration_since(self.since) > LONGEST
    }

    /// More was done.
    fn is_over(&mut self, work: usize) -> bool {
        self.work += work;
        if self.work < WORK {
            return false;
        }
        self.work = 0;
        self.since.elapsed() > LONGEST
    }
}

impl<S: Wire> Connection<S> {
    /// Others have their turn.
    pub(super) async fn let_others(&mut self) {
        self.turn = None;
        tokio::task::yield_now().await;
    }

    /// Others should have their turn before another frame is done.
    pub(super) fn turn_is_over(&mut self) -> bool {
        let work = 1 + std::mem::take(&mut self.batch.work);
        self.turn.as_mut().is_some_and(|turn| turn.is_over(work))
    }
}
