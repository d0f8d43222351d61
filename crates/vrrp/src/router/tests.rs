//! The rules of the state machine, one test each, on a clock that only the test moves.

use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::types::{Family, Vrid};

mod handover;
mod rfc;
mod stall;
mod timer;

const MS: Duration = Duration::from_millis(1);
const US: Duration = Duration::from_micros(1);
/// The interval most tests use.
const INTERVAL: Duration = Duration::from_millis(100);

/// 10.0.0.`last`.
fn host(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

/// A shell of one router: carries effects out by writing them down, and answers for advertisements.
struct Rig {
    router: Router,
    now: Instant,
    sends_work: bool,
}

impl Rig {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings {
            vrid: Vrid::try_from(51).expect("51 is a VRID"),
            version: Version::V3,
            family: Family::V4,
            interval: INTERVAL,
            failback: Failback::Auto,
            dead_after: 3,
        };
        change(&mut settings);
        Self {
            router: Router::new(settings),
            now: Instant::from_nanos(1_000_000_000_000),
            sends_work: true,
        }
    }

    /// At 10.0.0.5, worth 100, waiting for the first time.
    fn backup() -> Self {
        Self::new().started(100)
    }

    fn started(mut self, priority: u8) -> Self {
        self.give(Input::LinkReady { source: host(5) });
        self.give(fit(priority));
        self
    }

    /// At 10.0.0.5, worth 100, active with the first advertisement just sent.
    fn active() -> Self {
        Self::backup().promoted()
    }

    fn promoted(mut self) -> Self {
        while self.router.state() != State::Active {
            self.wake();
        }
        self
    }

    /// Gives one input and carries out everything that follows from it at this instant.
    fn give(&mut self, input: Input) -> Vec<Effect> {
        self.router.handle(self.now, &input);
        let mut done = Vec::new();
        while let Some(effect) = self.router.poll() {
            if matches!(effect, Effect::SendAdvert { .. }) {
                self.router.handle(self.now, &Input::Sent { ok: self.sends_work });
            }
            done.push(effect);
        }
        done
    }

    fn hear(&mut self, from: u8, priority: u8) -> Vec<Effect> {
        self.hear_every(from, priority, INTERVAL)
    }

    fn hear_every(&mut self, from: u8, priority: u8, interval: Duration) -> Vec<Effect> {
        self.give(Input::Advert {
            source: host(from),
            priority: Priority(priority),
            interval,
        })
    }

    /// Lets time pass without anybody noticing.
    fn skip(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    /// Moves to the deadline, and past it by no more than an honest delay.
    fn wake(&mut self) -> Vec<Effect> {
        self.now = self.now.max(self.router.deadline().expect("a deadline"));
        self.give(Input::Deadline)
    }

    /// Lets `time` pass, waking in time for every deadline; what came out, and how long after the start.
    fn run(&mut self, time: Duration) -> Vec<(Duration, Effect)> {
        let start = self.now;
        let mut log = Vec::new();
        while let Some(due) = self.router.deadline().filter(|due| *due <= start + time) {
            self.now = self.now.max(due);
            log.extend(
                self.give(Input::Deadline)
                    .into_iter()
                    .map(|effect| (self.now.since(start), effect)),
            );
        }
        self.now = start + time;
        log
    }

    fn remaining(&self) -> Duration {
        self.router.deadline().expect("a deadline").since(self.now)
    }
}

fn fit(priority: u8) -> Input {
    Input::Fitness(Fitness {
        priority: Priority(priority),
        fit: true,
    })
}

fn unfit(priority: u8) -> Input {
    Input::Fitness(Fitness {
        priority: Priority(priority),
        fit: false,
    })
}

fn advert(priority: u8) -> Effect {
    Effect::SendAdvert {
        priority: Priority(priority),
    }
}

const HEARD_LOWER: Effect = Effect::Announce {
    reason: AnnounceReason::LowerPriorityActive,
};

fn becomes_active(from: State, priority: u8, cause: Cause) -> Vec<Effect> {
    vec![
        advert(priority),
        Effect::Claim,
        Effect::Announce {
            reason: AnnounceReason::Claimed,
        },
        Effect::Transition {
            from,
            to: State::Active,
            cause,
        },
    ]
}

fn transition(from: State, to: State, cause: Cause) -> Effect {
    Effect::Transition { from, to, cause }
}

fn outranked(peer: u8, theirs: u8, ours: u8) -> Cause {
    Cause::Outranked {
        peer: host(peer),
        theirs: Priority(theirs),
        ours: Priority(ours),
    }
}
