//! May this node serve? One that others may believe to be dead serves nothing, so that no two of them serve the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// The node's leave to serve: it has it from the start, until it is taken away for good.
///
/// A node that is alone loses it when its log ends, since nothing that it says can be relied on then. Whoever is connected to a node
/// without it is sent away.
#[derive(Clone, Debug, Default)]
pub struct Session(Arc<Leave>);

#[derive(Debug, Default)]
struct Leave {
    is_over: AtomicBool,
    why: watch::Sender<Option<String>>,
}

impl Session {
    /// The node may not serve from now on. The first reason is the one that is told.
    pub fn end(&self, why: impl Into<String>) {
        self.0.is_over.store(true, Ordering::Release);
        self.0.why.send_if_modified(|ended| {
            let first = ended.is_none();
            if first {
                *ended = Some(why.into());
            }
            first
        });
    }

    /// May it serve?
    #[must_use]
    pub fn holds(&self) -> bool {
        !self.0.is_over.load(Ordering::Acquire)
    }

    /// Why it may not, as soon as that is so.
    #[must_use]
    pub fn ended(&self) -> watch::Receiver<Option<String>> {
        self.0.why.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::Session;

    #[test]
    fn a_session_ends_once_and_says_why_to_all_who_ask() {
        let session = Session::default();
        let (same, before) = (session.clone(), session.ended());
        assert!(same.holds());
        session.end("the disk failed");
        session.end("and everything else");
        assert!(!same.holds());
        for asked in [before, same.ended()] {
            assert_eq!(asked.borrow().as_deref(), Some("the disk failed"));
        }
    }
}
