//! A check by a program of the operator's: exit status 0 is success.
//!
//! A failure counts at the deadline, whether or not the killed program has died. While it has not (a hung disk), no second
//! one is started beside it: each attempt waits for it until its own deadline and then fails, so that a program that
//! hangs for ever fails as often as the threshold expects.

use std::time::Duration;

use warren_kit::child::{Exit, Outcome};

use super::schedule::Schedule;
use super::{Attempt, Recorder};
use crate::program::{Program, ProgramError, Weak};

pub(crate) async fn check(
    program: Result<Program, ProgramError>,
    timeout: Duration,
    mut schedule: Schedule,
    mut recorder: Recorder,
) {
    let program = match program {
        Ok(program) => program,
        // Nothing but a reload can change who we are: one failure, for good.
        Err(error) => return recorder.record_failed_for_good(error.to_string()).await,
    };
    loop {
        schedule.slot().await;
        match program.run(&[], timeout).await {
            Ok((outcome, weak)) => {
                recorder.warn(weak.as_ref().map(ToString::to_string));
                let mut attempt = Attempt::new(outcome.success(), describe(&outcome, timeout, weak));
                attempt.output = outcome.text();
                attempt.latency = outcome.elapsed;
                recorder.record(attempt).await;
            }
            Err(error) => recorder.record(Attempt::new(false, error.to_string())).await,
        }
    }
}

fn describe(outcome: &Outcome, timeout: Duration, weak: Option<Weak>) -> String {
    let exit = match outcome.exit {
        Exit::TimedOut => format!("no exit within {timeout:?}"),
        exit => exit.to_string(),
    };
    match weak {
        Some(weak) => format!("{exit}; unsafe: {weak}"),
        None => exit,
    }
}
