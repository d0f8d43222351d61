//! Tells the operator's programs and pipes about changes of state, with keepalived's words and arguments.
//!
//! Each virtual router and each group has a queue of its own in which programs run one at a time: first the one for the
//! state (`notify_master` and so on, no argument of ours), then the general one with
//! `INSTANCE|GROUP NAME MASTER|BACKUP|FAULT|STOP PRIORITY`; the router's own before those of all routers. While they run,
//! only the newest state is kept: **the final state wins**, whatever came between is not delivered late and out of order.
//! Pipes (see `notify/fifo.rs`) get every change, in order.
//!
//! A program that does not end in time is killed with its whole process group, and the next is run. Nothing here can
//! hold up the protocol: programs run on the control thread's runtime and nobody waits for them, except
//! [`Notifier::finish`] for a bounded time.

pub(crate) mod fifo;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use warren_kit::child::Outcome;

use crate::config::plan::{NotifyPlan, Plan};
use crate::program::{self, Program, ProgramError, ProgramPolicy};
use fifo::Fifo;

/// Whose state changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    Instance,
    Group,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Instance => "INSTANCE",
            Self::Group => "GROUP",
        })
    }
}

/// The state as keepalived names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotifyState {
    Master,
    Backup,
    Fault,
    Stop,
    /// Not a change: the active router heard another of lower priority, which may have moved things outside.
    LowerPriority,
}

impl fmt::Display for NotifyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Master => "MASTER",
            Self::Backup => "BACKUP",
            Self::Fault => "FAULT",
            Self::Stop => "STOP",
            Self::LowerPriority => "MASTER_RX_LOWER_PRI",
        })
    }
}

/// One change to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    pub scope: Scope,
    pub name: Arc<str>,
    pub state: NotifyState,
    /// Effective priority; 0 for a group.
    pub priority: u8,
}

/// What has become of notifications since start.
#[derive(Debug, Default)]
pub struct NotifyCounters {
    pub programs_run: AtomicU64,
    /// Not started, ended with a failure, or killed at their deadline.
    pub programs_failed: AtomicU64,
    /// States not delivered because a newer one came while programs ran.
    pub superseded: AtomicU64,
    /// Lines for a pipe that nobody read in time.
    pub lines_lost: AtomicU64,
}

/// Everybody who is told.
pub struct Notifier {
    queues: HashMap<(Scope, Arc<str>), Queue>,
    /// Queues that a reload removed and that have something left to deliver.
    leaving: Vec<JoinHandle<()>>,
    pipes: HashMap<PathBuf, Fifo>,
    counters: Arc<NotifyCounters>,
}

struct Queue {
    states: watch::Sender<Option<Notification>>,
    lower_priority: watch::Sender<Option<Notification>>,
    hooks: Arc<Mutex<Vec<Arc<Hooks>>>>,
    pipes: Vec<PathBuf>,
    /// The newest state waits for programs to end.
    waiting: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Notifier {
    /// Opens the pipes and starts their readers. Must be called within a runtime.
    #[must_use]
    pub fn start(plan: &Plan, policy: &ProgramPolicy) -> Self {
        let mut notifier = Self::idle();
        notifier.reconfigure(plan, policy);
        notifier
    }

    /// One that has nobody to tell yet.
    #[must_use]
    pub fn idle() -> Self {
        Self {
            queues: HashMap::new(),
            leaving: Vec::new(),
            pipes: HashMap::new(),
            counters: Arc::default(),
        }
    }

    /// Goes over to other programs and pipes. What is being delivered ends as it began; routers and groups that are gone
    /// still deliver what was theirs.
    pub fn reconfigure(&mut self, plan: &Plan, policy: &ProgramPolicy) {
        self.leaving.retain(|task| !task.is_finished());
        let general = Arc::new(Hooks::new(&plan.notify, policy));
        let mut former = std::mem::take(&mut self.queues);
        for (scope, name, own) in audience(plan) {
            let hooks = vec![Arc::new(Hooks::new(own, policy)), Arc::clone(&general)];
            let pipes = own.fifo.iter().chain(&plan.notify.fifo).cloned().collect();
            let key = (scope, Arc::clone(name));
            let queue = match former.remove(&key) {
                Some(queue) => {
                    *queue.hooks.lock() = hooks;
                    Queue { pipes, ..queue }
                }
                None => Queue::start(hooks, pipes, Arc::clone(&self.counters)),
            };
            self.queues.insert(key, queue);
        }
        self.leaving.extend(former.into_values().map(|queue| queue.task));
        self.open_pipes(plan, policy);
    }

    /// Tells everybody concerned. Never waits.
    pub fn notify(&mut self, notification: Notification) {
        let key = (notification.scope, Arc::clone(&notification.name));
        let Some(queue) = self.queues.get(&key) else {
            return;
        };
        let line = line(&notification);
        for pipe in queue.pipes.iter().filter_map(|path| self.pipes.get(path)) {
            pipe.write(line.clone());
        }
        if notification.state == NotifyState::LowerPriority {
            queue.lower_priority.send_replace(Some(notification));
        } else {
            if queue.waiting.swap(true, Relaxed) {
                self.counters.superseded.fetch_add(1, Relaxed);
            }
            queue.states.send_replace(Some(notification));
        }
    }

    #[must_use]
    pub fn counters(&self) -> &NotifyCounters {
        &self.counters
    }

    /// Waits until everything is delivered, at most for `limit`; what then still runs is killed. At once if there is
    /// nothing to wait for.
    pub async fn finish(mut self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let queues = std::mem::take(&mut self.queues);
        // A queue whose sender is gone delivers what it has and ends.
        self.leaving.extend(queues.into_values().map(|queue| queue.task));
        for mut task in std::mem::take(&mut self.leaving) {
            if timeout_at(deadline, &mut task).await.is_err() {
                tracing::warn!(?limit, "notify programs were killed because the daemon stopped");
                task.abort();
            }
        }
        for (_, pipe) in std::mem::take(&mut self.pipes) {
            pipe.finish(deadline).await;
        }
    }

    fn open_pipes(&mut self, plan: &Plan, policy: &ProgramPolicy) {
        let mut former = std::mem::take(&mut self.pipes);
        let plans = audience(plan).map(|(_, _, notify)| notify);
        for notify in std::iter::once(&plan.notify).chain(plans) {
            let Some(path) = &notify.fifo else { continue };
            if self.pipes.contains_key(path) {
                continue;
            }
            let setup = fifo::Setup::new(path, notify, policy);
            let pipe = match former.remove(path) {
                Some(pipe) if *pipe.setup() == setup => pipe,
                _ => Fifo::start(setup, Arc::clone(&self.counters)),
            };
            self.pipes.insert(path.clone(), pipe);
        }
    }
}

/// Programs that cannot run as the user they should, to be told at start: each of them will only ever fail.
#[must_use]
pub fn problems(plan: &Plan, policy: &ProgramPolicy) -> Vec<(String, ProgramError)> {
    let plans = audience(plan).map(|(_, name, notify)| (name.as_ref(), notify));
    let programs = std::iter::once(("all routers", &plan.notify))
        .chain(plans)
        .flat_map(|(name, notify)| {
            let programs = [
                &notify.master,
                &notify.backup,
                &notify.fault,
                &notify.stop,
                &notify.change,
                &notify.lower_priority,
                &notify.fifo_reader,
            ];
            programs
                .into_iter()
                .flatten()
                .map(move |words| (name, notify, words))
        });
    let failing = programs.filter_map(|(name, notify, words)| {
        let error = program::problem(words, notify.user.as_ref(), policy)?;
        Some((format!("{name}: {}", words.join(" ")), error))
    });
    failing.collect()
}

fn audience(plan: &Plan) -> impl Iterator<Item = (Scope, &Arc<str>, &NotifyPlan)> {
    let routers = plan
        .routers
        .iter()
        .map(|router| (Scope::Instance, &router.name, &router.notify));
    let groups = plan
        .groups
        .iter()
        .map(|group| (Scope::Group, &group.name, &group.notify));
    routers.chain(groups)
}

fn line(notification: &Notification) -> String {
    let Notification {
        scope,
        name,
        state,
        priority,
    } = notification;
    format!("{scope} \"{name}\" {state} {priority}\n")
}

impl Queue {
    fn start(hooks: Vec<Arc<Hooks>>, pipes: Vec<PathBuf>, counters: Arc<NotifyCounters>) -> Self {
        let (states, state) = watch::channel(None);
        let (lower_priority, lower) = watch::channel(None);
        let hooks = Arc::new(Mutex::new(hooks));
        let waiting = Arc::<AtomicBool>::default();
        let delivery = Delivery {
            hooks: Arc::clone(&hooks),
            waiting: Arc::clone(&waiting),
            counters,
        };
        let task = tokio::spawn(delivery.run(state, lower));
        Self {
            states,
            lower_priority,
            hooks,
            pipes,
            waiting,
            task,
        }
    }
}

struct Delivery {
    hooks: Arc<Mutex<Vec<Arc<Hooks>>>>,
    waiting: Arc<AtomicBool>,
    counters: Arc<NotifyCounters>,
}

impl Delivery {
    /// Ends when both senders are gone and everything is delivered.
    async fn run(
        self,
        mut states: watch::Receiver<Option<Notification>>,
        mut lower: watch::Receiver<Option<Notification>>,
    ) {
        loop {
            let newest = tokio::select! {
                biased;
                Ok(()) = states.changed() => {
                    self.waiting.store(false, Relaxed);
                    states.borrow_and_update().clone()
                }
                Ok(()) = lower.changed() => lower.borrow_and_update().clone(),
                else => return,
            };
            let Some(notification) = newest else { continue };
            let hooks = self.hooks.lock().clone();
            for hooks in hooks {
                self.deliver(&notification, &hooks).await;
            }
        }
    }

    async fn deliver(&self, notification: &Notification, hooks: &Hooks) {
        let Notification {
            scope,
            name,
            state,
            priority,
        } = notification;
        if let Some(program) = hooks.specific(*state) {
            self.run_program(program, notification, &[], hooks.timeout).await;
        }
        if let (Some(program), true) = (&hooks.change, *state != NotifyState::LowerPriority) {
            let words = [
                &scope.to_string(),
                name.as_ref(),
                &state.to_string(),
                &priority.to_string(),
            ];
            self.run_program(program, notification, &words, hooks.timeout)
                .await;
        }
    }

    async fn run_program(&self, hook: &Hook, notification: &Notification, extra: &[&str], limit: Duration) {
        self.counters.programs_run.fetch_add(1, Relaxed);
        let Notification {
            scope, name, state, ..
        } = notification;
        let program = &hook.command;
        let result = match &hook.program {
            Ok(program) => program.run(extra, limit).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.clone()),
        };
        let problem = match result {
            Ok((outcome, weak)) => {
                if let Some(reason) = weak {
                    tracing::warn!(program, %reason, "notify program runs as root and should be mended");
                }
                match failure(&outcome) {
                    None => {
                        let elapsed_ms = outcome.elapsed.as_millis();
                        tracing::info!(%scope, %name, %state, program, elapsed_ms, "notify program succeeded");
                        return;
                    }
                    Some(problem) => problem,
                }
            }
            Err(problem) => problem,
        };
        self.counters.programs_failed.fetch_add(1, Relaxed);
        tracing::warn!(%scope, %name, %state, program, reason = problem, "notify program failed");
    }
}

fn failure(outcome: &Outcome) -> Option<String> {
    let output = outcome.text();
    (!outcome.success()).then(|| match output.trim_end() {
        "" => outcome.exit.to_string(),
        output => format!("{}: {output}", outcome.exit),
    })
}

/// The programs of one `notify` table.
struct Hooks {
    master: Option<Hook>,
    backup: Option<Hook>,
    fault: Option<Hook>,
    stop: Option<Hook>,
    change: Option<Hook>,
    lower_priority: Option<Hook>,
    timeout: Duration,
}

struct Hook {
    command: String,
    /// Or why it can never run.
    program: Result<Program, String>,
}

impl Hooks {
    fn new(plan: &NotifyPlan, policy: &ProgramPolicy) -> Self {
        let hook = |words: &Option<Vec<String>>| {
            words.as_ref().map(|words| Hook {
                command: words.join(" "),
                program: Program::prepare(words, plan.user.as_ref(), policy)
                    .map_err(|error| error.to_string()),
            })
        };
        Self {
            master: hook(&plan.master),
            backup: hook(&plan.backup),
            fault: hook(&plan.fault),
            stop: hook(&plan.stop),
            change: hook(&plan.change),
            lower_priority: hook(&plan.lower_priority),
            timeout: plan.timeout,
        }
    }

    fn specific(&self, state: NotifyState) -> Option<&Hook> {
        match state {
            NotifyState::Master => self.master.as_ref(),
            NotifyState::Backup => self.backup.as_ref(),
            NotifyState::Fault => self.fault.as_ref(),
            NotifyState::Stop => self.stop.as_ref(),
            NotifyState::LowerPriority => self.lower_priority.as_ref(),
        }
    }
}

#[cfg(test)]
mod tests;
