//! One clock for everything the lab records: CLOCK_MONOTONIC, as the time since boot.
//!
//! Frames are stamped by the kernel with the wall clock; [`Offset`] moves such a stamp to the monotonic clock.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// The present moment on the lab's clock.
pub fn now() -> Duration {
    read(ClockId::CLOCK_MONOTONIC)
}

/// How far the wall clock is from the monotonic one, measured once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offset(Duration);

impl Offset {
    /// The wall clock is read between two readings of the monotonic clock; the closest pair of a few is believed.
    pub(crate) fn measure() -> Self {
        let sample = || {
            let before = now();
            let wall = read(ClockId::CLOCK_REALTIME);
            let after = now();
            (after - before, wall - (before + (after - before) / 2))
        };
        let best = (0..16).map(|_| sample()).min().expect("sixteen samples");
        Self(best.1)
    }

    pub(crate) fn to_monotonic(self, wall: Duration) -> Duration {
        wall.saturating_sub(self.0)
    }
}

fn read(clock: ClockId) -> Duration {
    clock_gettime(clock).expect("the clock can be read").into()
}
