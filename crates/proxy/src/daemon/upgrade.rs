//! The two ends of an upgrade as the daemon sees them: the old process starts its successor and gives, the new one
//! takes before it says that it is ready. Whatever fails, the old one serves on.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot};
use warren_api::proxy::{Reply, refusal};

use super::control::refused;
use super::listeners::Sockets;
use super::serve::{Daemon, done};
use super::stop::Stopping;
use crate::handover::{self, Given, HandoverError};
use crate::plan::BindAddress;
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
    /// It took everything, and is nobody's child any more.
    Orphaned,
}

/// A successor was started and not heard of yet.
#[derive(Debug)]
pub(super) struct Upgrade {
    answer: Option<oneshot::Sender<Reply>>,
    /// It is in the middle of taking: nothing else may change.
    giving: Arc<AtomicBool>,
    /// Who is taking.
    pid: Option<u32>,
    /// Tells whoever watches the process that stands between us and a successor of ours.
    taken: Option<oneshot::Sender<()>>,
    /// What was handed over, until the successor is on its own.
    given: Option<Given>,
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
        let mut program = (self.options.successor)();
        // The service manager's watchdog waits for the successor next; it knows the number of this process only.
        program.env_remove("WATCHDOG_PID");
        let child = tokio::process::Command::from(program).process_group(0).spawn();
        match child {
            Err(error) => {
                let text =
                    format!("the installed binary could not be started: {error}; this process goes on");
                let _ = answer.send(refused(refusal::FAILED, text));
            }
            Ok(child) => {
                tracing::info!(pid = child.id(), "successor was started");
                let giving = Arc::new(AtomicBool::new(false));
                let (taken, told) = oneshot::channel();
                tokio::spawn(watch(child, Arc::clone(&giving), told, self.news.clone()));
                self.upgrade = Some(Upgrade {
                    answer: Some(answer),
                    giving,
                    pid: None,
                    taken: Some(taken),
                    given: None,
                });
            }
        }
    }

    /// A successor asks, whether we have started it or not.
    pub(super) fn give(&mut self, socket: OwnedFd, pid: u32) {
        if self.stopping.is_some() || self.is_giving() {
            return;
        }
        let upgrade = self.upgrade.get_or_insert_with(|| Upgrade {
            answer: None,
            giving: Arc::default(),
            pid: None,
            taken: None,
            given: None,
        });
        upgrade.pid = Some(pid);
        upgrade.giving.store(true, Relaxed);
        let listeners = self.listeners();
        let doors = self.operators_sockets();
        let (workers, live, news) = (self.workers.clone(), Arc::clone(&self.live), self.news.clone());
        tokio::task::spawn_blocking(move || {
            let given = handover::give(&workers, &live, &listeners, &doors, socket);
            // The loop only ends after it has heard of this.
            let _ = news.blocking_send(News::Given(given));
        });
    }

    /// The control socket and the stats sockets: a successor that is not root any more may not be able to make them.
    fn operators_sockets(&self) -> Vec<(BindAddress, OwnedFd)> {
        let control = self.control.iter();
        let control = control.map(|control| (BindAddress::Unix(control.path.clone()), &control.socket));
        let all = control.chain(self.doors.shared());
        all.filter_map(|(address, socket)| Some((address, socket.try_clone().ok()?)))
            .collect()
    }

    /// Has the sockets of operators closed, which the successor has or has replaced. Over when whoever comes from now on
    /// comes to it.
    fn close_operators_sockets(&mut self) -> impl Future<Output = ()> + use<> {
        let control = self.control.take().map(|control| control.closing);
        let mut closed = Vec::new();
        for closing in control.iter().chain(self.doors.closings()) {
            let (sender, receiver) = oneshot::channel();
            // One that serves no more is closed.
            let _ = closing.try_send(sender);
            closed.push(receiver);
        }
        async {
            for closed in closed {
                let _ = closed.await;
            }
        }
    }

    /// A successor is in the middle of taking: nothing else may change.
    pub(super) fn is_giving(&self) -> bool {
        self.upgrade
            .as_ref()
            .is_some_and(|upgrade| upgrade.giving.load(Relaxed))
    }

    fn has_given(&self) -> bool {
        self.upgrade
            .as_ref()
            .is_some_and(|upgrade| upgrade.given.is_some())
    }

    pub(super) fn hear(&mut self, news: News) {
        match news {
            News::Ended(_) | News::Orphaned if self.has_given() => {
                if let Some(given) = self.upgrade.as_mut().and_then(|upgrade| upgrade.given.take()) {
                    self.retire(given);
                }
            }
            News::Orphaned => {}
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
                // A successor that we did not start has no child of ours above it.
                let told = self.upgrade.as_mut().and_then(|upgrade| upgrade.taken.take());
                match (told.map(|taken| taken.send(())), &mut self.upgrade) {
                    (Some(Ok(())), Some(upgrade)) => upgrade.given = Some(given),
                    _ => self.retire(given),
                }
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
        let closed = self.close_operators_sockets();
        if let Some(upgrade) = self.upgrade.take() {
            // Said by this process, which is the main one: the service manager believes it whatever NotifyAccess says,
            // and hears of it before this process ends.
            if let Some(pid) = upgrade.pid {
                let _ = self.manager.main_process(pid);
            }
            if let Some(answer) = upgrade.answer {
                // Whoever hears of it and asks something next asks the successor.
                tokio::spawn(async move {
                    closed.await;
                    let _ = answer.send(done(&text, Vec::new()));
                });
            }
        }
        // Paths of sockets belong to the successor: nothing is removed.
        self.sockets = Sockets::default();
        self.pid_file = None;
        self.workers.broadcast(&Command::Listen(Arc::default()));
        self.workers.broadcast(&Command::Retire);
        self.doors.context().process.stopping.store(true, Relaxed);
        let limit = self.live.snapshot().plan.global.hard_stop_after;
        self.stopping = Some(Stopping {
            deadline: limit.map(|limit| Instant::now() + limit),
            telling: None,
        });
        self.retired = Some(Instant::now() + LAST_ANSWERS);
    }
}

/// Says how a successor ended, if it does.
///
/// `child` is the process between us and the successor. It ends with the successor, or here, once the successor has
/// everything: then that one is a child of the service manager, which would otherwise not wait for its end when it stops
/// the unit, but kill it.
async fn watch(
    mut child: Child,
    giving: Arc<AtomicBool>,
    mut taken: oneshot::Receiver<()>,
    news: mpsc::Sender<News>,
) {
    let patience = async {
        tokio::time::sleep(SUCCESSOR_WITHIN).await;
        if giving.load(Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    let how = tokio::select! {
        ended = child.wait() => match ended {
            Ok(status) => format!("ended ({status})"),
            Err(error) => format!("could not be waited for ({error})"),
        },
        Ok(()) = &mut taken => {
            let _ = child.kill().await;
            let _ = news.send(News::Orphaned).await;
            return;
        }
        () = patience => {
            let group = child.id().and_then(|id| i32::try_from(id).ok());
            if let Some(group) = group {
                // Both of them. Whoever has gone already needs no end.
                let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
            }
            let _ = child.wait().await;
            format!("took nothing over within {SUCCESSOR_WITHIN:?} and was stopped")
        }
    };
    let _ = news.send(News::Ended(how)).await;
}
