//! Listeners that cannot accept, because file descriptors are short most likely: they rest before they try again, which
//! would only burn the processor, and do not fill the log meanwhile.

use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::repeats::Repeats;

/// Between two attempts.
const REST: Duration = Duration::from_millis(100);
/// What is wrong for longer is said again after this.
const COMPLAINTS: Duration = Duration::from_secs(10);

/// Those of one listener.
#[derive(Debug)]
pub struct Setbacks {
    /// Who could not be accepted: "a metrics connection".
    whom: String,
    complaints: Repeats,
}

impl Setbacks {
    pub fn new(whom: impl Into<String>) -> Self {
        Self {
            whom: whom.into(),
            complaints: Repeats::new(COMPLAINTS),
        }
    }

    /// `accept` has failed: says so unless it was said lately, and rests.
    pub async fn rest(&mut self, error: &io::Error) {
        if let Some(unsaid) = self.complaints.pass(Instant::now().into_std()) {
            tracing::warn!(%error, unsaid, "could not accept {}; trying again", self.whom);
        }
        sleep(REST).await;
    }
}
