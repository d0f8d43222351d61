//! Whether clients may come in. An operator closes the listeners, with a word to those who are in if the node is to be
//! drained, and opens them again; the daemon, whose listeners they are, does it and says so.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;

/// How long the daemon may take to close its listeners or to open them: it does so between two things that it does.
const PATIENCE: Duration = Duration::from_secs(10);

/// What an operator wants of the listeners, and what is the case.
#[derive(Debug)]
pub(crate) struct Gate {
    wanted: watch::Sender<bool>,
    done: watch::Sender<Result<bool, String>>,
    maintenance: AtomicBool,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            wanted: watch::Sender::new(true),
            done: watch::Sender::new(Ok(true)),
            maintenance: AtomicBool::new(false),
        }
    }
}

impl Gate {
    /// The node has been drained, and not been revived.
    pub(crate) fn is_in_maintenance(&self) -> bool {
        self.maintenance.load(Ordering::Relaxed)
    }

    pub(crate) fn set_maintenance(&self, maintenance: bool) {
        self.maintenance.store(maintenance, Ordering::Relaxed);
    }

    /// Are listeners to be open?
    pub(crate) fn is_open(&self) -> bool {
        *self.wanted.borrow()
    }

    /// For who has the listeners: changes when they are to be opened or closed.
    pub(crate) fn wishes(&self) -> watch::Receiver<bool> {
        self.wanted.subscribe()
    }

    /// They are open now, or closed, or cannot be opened.
    pub(crate) fn report(&self, done: Result<bool, String>) {
        let _before = self.done.send_replace(done);
    }

    /// Has listeners opened or closed, and waits until they are.
    ///
    /// # Errors
    /// They cannot be, or nobody has any.
    pub(crate) async fn set(&self, open: bool) -> Result<(), String> {
        let mut done = self.done.subscribe();
        if self.is_open() == open && *done.borrow_and_update() == Ok(open) {
            return Ok(());
        }
        if done.borrow().is_err() {
            // What became of an earlier attempt is no answer to this one.
            let _before = self.done.send_replace(Ok(false));
        }
        self.wanted.send_replace(open);
        let report = done.wait_for(|done| match done {
            Ok(now) => *now == open,
            Err(_) => open,
        });
        match tokio::time::timeout(PATIENCE, report).await {
            Ok(Ok(report)) => report.clone().map(drop),
            _ => Err(
                "nobody closes or opens listeners: the broker is starting, stopping or has none".to_owned(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Gate;

    #[tokio::test]
    async fn whoever_closes_it_waits_until_it_is_closed() {
        let gate = Arc::new(Gate::default());
        gate.set(true).await.unwrap();
        let mut wishes = gate.wishes();
        let closing = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move { gate.set(false).await }
        });
        wishes.changed().await.unwrap();
        assert!(!*wishes.borrow_and_update() && !closing.is_finished());
        gate.report(Ok(false));
        closing.await.unwrap().unwrap();
        let opening = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move { gate.set(true).await }
        });
        wishes.changed().await.unwrap();
        gate.report(Err("the address is in use".into()));
        assert_eq!(opening.await.unwrap().unwrap_err(), "the address is in use");
    }

    #[tokio::test(start_paused = true)]
    async fn without_listeners_nobody_waits_for_ever() {
        assert!(Gate::default().set(false).await.is_err());
    }
}
