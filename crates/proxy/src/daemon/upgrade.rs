//! The two ends of an upgrade as the daemon sees them: the old process starts its successor and gives, the new one
//! takes before it says that it is ready. Whatever fails, the old one serves on.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use warren_api::proxy::{Reply, refusal};

use super::control::refused;
use super::listeners::Sockets;
use super::serve::{Daemon, done};
use super::stop::Stopping;
use crate::handover::{self, Given, HandoverError};
use crate::worker::Command;

/// A successor that has not asked for our sessions by then is not going to.
const SUCCESSOR_WITHIN: Duration = Duration::from_secs(30);
/// Answers that are on their way reach whoever asked before the control socket goes.
const LAST_ANSWERS: Duration = Duration::from_millis(100);

/// Something about a successor.
#[derive(Debug)]
pub(super) enum News {
    /// It ended before it took anything.
    Ended(String),
    /// It took everything, or nothing.
    Given(Result<Given, HandoverError>),
}

/// A successor was started and not heard of yet.
#[derive(Debug)]
pub(super) struct Upgrade {
    answer: Option<oneshot::Sender<Reply>>,
    /// It is in the middle of taking: nothing else may change.
    giving: Arc<AtomicBool>,
}

impl Daemon {
    /// Starts the installed binary, which will ask for what is ours.
    pub(super) fn upgrade(&mut self, answer: oneshot::Sender<Reply>) {
        if self.upgrade.is_some() || self.stopping.is_some() {
            // Whoever asked may have gone.
            let _ = answer.send(refused(
                refusal::BUSY,
                "another upgrade or the end is under way".into(),
            ));
            return;
        }
        let program = (self.options.successor)();
        let child = tokio::process::Command::from(program).spawn();
        match child {
            Err(error) => {
                let text =
                    format!("the installed binary could not be started: {error}; this process goes on");
                let _ = answer.send(refused(refusal::FAILED, text));
            }
            Ok(child) => {
                tracing::info!(pid = child.id(), "successor was started");
                let giving = Arc::new(AtomicBool::new(false));
                tokio::spawn(watch(child, Arc::clone(&giving), self.news.clone()));
                self.upgrade = Some(Upgrade {
                    answer: Some(answer),
                    giving,
                });
            }
        }
    }

    /// A successor asks, whether we have started it or not.
    pub(super) fn give(&mut self, socket: OwnedFd) {
        if self.stopping.is_some() || self.is_giving() {
            return;
        }
        let upgrade = self.upgrade.get_or_insert_with(|| Upgrade {
            answer: None,
            giving: Arc::default(),
        });
        upgrade.giving.store(true, Relaxed);
        let listeners = self.listeners();
        let (workers, live, news) = (self.workers.clone(), Arc::clone(&self.live), self.news.clone());
        tokio::task::spawn_blocking(move || {
            let given = handover::give(&workers, &live, &listeners, socket);
            // The loop only ends after it has heard of this.
            let _ = news.blocking_send(News::Given(given));
        });
    }

    /// A successor is in the middle of taking: nothing else may change.
    pub(super) fn is_giving(&self) -> bool {
        self.upgrade
            .as_ref()
            .is_some_and(|upgrade| upgrade.giving.load(Relaxed))
    }

    pub(super) fn hear(&mut self, news: News) {
        match news {
            News::Ended(how) => {
                // One that has taken over reports by taking.
                let Some(upgrade) = self.upgrade.take_if(|upgrade| !upgrade.giving.load(Relaxed)) else {
                    return;
                };
                tracing::error!(how, "successor ended before it took over, this process goes on");
                if let Some(answer) = upgrade.answer {
                    let text = format!("the installed binary {how}; the old process goes on: see the log");
                    let _ = answer.send(refused(refusal::FAILED, text));
                }
            }
            News::Given(Ok(given)) => {
                // Slots that left were given to nobody here: those who are left may have them.
                self.servers.reloaded();
                self.retire(given);
            }
            News::Given(Err(error)) => {
                self.servers.reloaded();
                tracing::error!(%error, "sessions were not handed over, this process goes on");
                if let Some(answer) = self.upgrade.take().and_then(|upgrade| upgrade.answer) {
                    let text = format!("nothing was handed over: {error}; the old process goes on");
                    let _ = answer.send(refused(refusal::FAILED, text));
                }
            }
        }
    }

    /// Somebody else serves now. What could not travel ends here.
    fn retire(&mut self, given: Given) {
        let took = given.took.as_secs_f64() * 1e3;
        let text = format!(
            "{} sessions were handed over in {took:.1} ms, {} stay until they end",
            given.sessions, given.left
        );
        tracing::info!(
            sessions = given.sessions,
            left = given.left,
            took_ms = took,
            "handed over"
        );
        if let Some(answer) = self.upgrade.take().and_then(|upgrade| upgrade.answer) {
            let _ = answer.send(done(&text, Vec::new()));
        }
        // Paths of sockets belong to the successor: nothing is removed.
        self.sockets = Sockets::default();
        self.pid_file = None;
        self.workers.broadcast(&Command::Listen(Arc::default()));
        let limit = self.live.snapshot().plan.global.hard_stop_after;
        self.stopping = Some(Stopping {
            deadline: limit.map(|limit| Instant::now() + limit),
        });
        self.retired = Some(Instant::now() + LAST_ANSWERS);
    }
}

/// Says how a successor ended, if it does.
async fn watch(mut child: tokio::process::Child, giving: Arc<AtomicBool>, news: mpsc::Sender<News>) {
    let ended = tokio::time::timeout(SUCCESSOR_WITHIN, child.wait()).await;
    let how = match ended {
        Ok(Ok(status)) => format!("ended ({status})"),
        Ok(Err(error)) => format!("could not be waited for ({error})"),
        Err(_) if giving.load(Relaxed) => {
            // It lives on. Waited for, so that it is no zombie if it ends before this process does.
            let _ = child.wait().await;
            return;
        }
        Err(_) => {
            let _ = child.kill().await;
            format!("took nothing over within {SUCCESSOR_WITHIN:?} and was stopped")
        }
    };
    let _ = news.send(News::Ended(how)).await;
}
