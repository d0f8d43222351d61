//! Waiting for an event with a deadline, and for the absence of one; both tell the last state when they give up.

use std::fmt::Debug;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(5);

/// Asks `probe` until it answers `Ok`, for at most `deadline`; panics with `what` and the last `Err` otherwise.
#[track_caller]
pub fn eventually<T, S: Debug>(deadline: Duration, what: &str, mut probe: impl FnMut() -> Result<T, S>) -> T {
    let start = Instant::now();
    loop {
        match probe() {
            Ok(answer) => return answer,
            Err(state) if start.elapsed() >= deadline => {
                panic!("{what}: not within {deadline:?}; last state: {state:?}")
            }
            Err(_) => std::thread::sleep(POLL),
        }
    }
}

/// Asks `probe` again and again for the whole `period`; panics with `what` and the state at the first `Err`.
#[track_caller]
pub fn holds_for<S: Debug>(period: Duration, what: &str, mut probe: impl FnMut() -> Result<(), S>) {
    let start = Instant::now();
    while start.elapsed() < period {
        if let Err(state) = probe() {
            panic!("{what}: broken after {:?}; state: {state:?}", start.elapsed());
        }
        std::thread::sleep(POLL);
    }
}
