//! The handshake: two views of how a connection begins and ends.
//!
//! [`Client`] is one side of it, for checks: it logs in, opens a virtual host and closes cleanly. [`Observer`] looks on
//! while others do so and says what it learned: who, on which virtual host, within which limits, and why it ended.
//!
//! Absent on purpose: time. How long a peer may take is for the caller to say.

mod client;
mod login;
mod observer;

pub use client::{Client, Depth, Failure, Progress, Settings};
pub use login::{amqplain_user, plain, plain_user};
pub use observer::{Direction, Fact, Identity, Observer};

use crate::connection::{Tune, TuneOk};

/// The limits of a connection; 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// The highest channel number.
    pub channel_max: u16,
    /// The largest frame.
    pub frame_max: u32,
    /// Seconds between signs of life.
    pub heartbeat: u16,
}

impl Tuning {
    /// The smaller of what is wanted and what is offered, where 0 is larger than anything.
    #[must_use]
    pub fn within(self, offered: Self) -> Self {
        Self {
            channel_max: smaller(self.channel_max, offered.channel_max),
            frame_max: smaller(self.frame_max, offered.frame_max),
            heartbeat: smaller(self.heartbeat, offered.heartbeat),
        }
    }
}

fn smaller<T: Ord + Default + Copy>(one: T, other: T) -> T {
    let none = T::default();
    match (one == none, other == none) {
        (true, _) => other,
        (false, true) => one,
        (false, false) => one.min(other),
    }
}

impl From<&Tune> for Tuning {
    fn from(tune: &Tune) -> Self {
        Self {
            channel_max: tune.channel_max,
            frame_max: tune.frame_max,
            heartbeat: tune.heartbeat,
        }
    }
}

impl From<&TuneOk> for Tuning {
    fn from(tune: &TuneOk) -> Self {
        Self {
            channel_max: tune.channel_max,
            frame_max: tune.frame_max,
            heartbeat: tune.heartbeat,
        }
    }
}

impl From<Tuning> for TuneOk {
    fn from(tuning: Tuning) -> Self {
        Self {
            channel_max: tuning.channel_max,
            frame_max: tuning.frame_max,
            heartbeat: tuning.heartbeat,
        }
    }
}

#[cfg(test)]
mod tests;
