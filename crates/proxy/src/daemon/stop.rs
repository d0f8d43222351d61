//! How it ends: nothing new is accepted, AMQP connections are told at a frame boundary, and there is a deadline.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::listeners::Sockets;
use super::serve::Daemon;
use crate::plan::Origin;
use crate::record::Cause;
use crate::worker::{Command, End, Ending, Scope};

/// How long a stop on SIGTERM may take unless `hard-stop-after` says otherwise: shorter than what systemd allows.
const TERMINATE_WITHIN: Duration = Duration::from_secs(10);
/// How long a client may take to answer `connection.close`.
pub(super) const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// It has begun to end.
#[derive(Debug)]
pub(super) struct Stopping {
    /// Everything is over then, whoever is left; `None`: when the last session has ended.
    pub(super) deadline: Option<Instant>,
    /// Sessions are told, and until when; those that come to light later are, too.
    pub(super) telling: Option<Instant>,
}

/// How an operator asked for the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// SIGUSR1: sessions are left alone until they end.
    Finish,
    /// SIGTERM, SIGINT.
    Terminate,
}

impl Daemon {
    /// Begins to end, or ends at once if it had begun and is told again.
    pub(super) fn stop(&mut self, request: Request) {
        let plan = self.live.snapshot();
        let global = &plan.plan.global;
        let again = self.stopping.is_some();
        // HAProxy ends at once on SIGTERM, and so do the scripts that were written for it expect.
        let at_once = request == Request::Terminate && (again || global.origin == Origin::Haproxy);
        if !again {
            let _ = self.manager.stopping();
            self.doors.context().process.stopping.store(true, Relaxed);
            tracing::info!(connections = self.live.connections.now(), "stopping");
            self.workers
                .broadcast(&Command::Listen(std::sync::Arc::default()));
            self.sockets.remove_files_except(&Sockets::default());
            self.sockets = Sockets::default();
        }
        let now = Instant::now();
        let within = match request {
            Request::Terminate => Some(global.hard_stop_after.unwrap_or(TERMINATE_WITHIN)),
            Request::Finish => global.hard_stop_after,
        };
        let deadline = if at_once {
            Some(now)
        } else {
            within.map(|within| now + within)
        };
        let polite = request == Request::Terminate && !at_once;
        self.stopping = Some(Stopping {
            deadline,
            telling: deadline.filter(|_| polite),
        });
        self.end_politely();
    }

    /// Workers give clients to each other: one may still be on his way when they are told, and is told on a later turn.
    pub(super) fn end_stragglers(&self) {
        if self.is_telling() && self.live.connections.now() > 0 {
            self.end_politely();
        }
    }

    fn is_telling(&self) -> bool {
        self.stopping
            .as_ref()
            .is_some_and(|stopping| stopping.telling.is_some())
    }

    /// The time that is left is for beginning and for answers.
    fn end_politely(&self) {
        let Some(until) = self.stopping.as_ref().and_then(|stopping| stopping.telling) else {
            return;
        };
        let left = until.saturating_duration_since(Instant::now());
        let patience = CLOSE_WITHIN.min(left / 2);
        self.workers.broadcast(&Command::End(End {
            scope: Scope::All,
            how: Ending::Politely {
                cause: Cause::Killed,
                deadline: patience,
                rate: self.live.snapshot().plan.global.drain_rate,
                within: Some(left - patience),
            },
        }));
    }

    /// Whether nothing is left to wait for.
    pub(super) fn is_over(&self) -> bool {
        let Some(stopping) = &self.stopping else {
            return false;
        };
        if self.retired.is_some() {
            return false;
        }
        self.live.connections.now() == 0
            || stopping
                .deadline
                .is_some_and(|deadline| deadline <= Instant::now())
    }

    /// The last steps: sessions that are left are cut, workers end, files go.
    pub(super) fn end(self) {
        let left = self.live.connections.now();
        if left > 0 {
            tracing::warn!(sessions = left, "sessions were cut at the end");
            self.workers.broadcast(&Command::End(End {
                scope: Scope::All,
                how: Ending::Now(Cause::Killed),
            }));
        }
        self.workers.broadcast(&Command::Finish);
        self.workers.join();
        tracing::info!("stopped");
    }
}
