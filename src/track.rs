//! Health checks: what runs them, what they found, and who is told.
//!
//! One task per check. Scripts, TCP and HTTP are attempted every interval and counted by [`threshold`]. Processes, files and
//! interfaces are watched and need no attempts: `rise` and `fall` mean nothing for files and interfaces, and give a
//! process its delays (see `track/process.rs`). A [`CheckReport`] is sent for the first result and whenever the verdict or
//! a file's number changes; every attempt shows in the [`CheckStatus`].
//!
//! Everything lives on the control thread's runtime; a slow check never delays another. What a verdict does to a
//! priority is the routers' business, not ours.

pub(crate) mod connector;
pub(crate) mod file;
pub(crate) mod probe;
pub(crate) mod process;
pub(crate) mod schedule;
pub(crate) mod script;
pub mod threshold;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use warren_api::vrrp::{CheckRun, CheckStatus, Verdict as Shown};
use warren_api::{Micros, Timestamp};
use warren_kit::clock::wall_clock;

use crate::config::plan::{CheckKind, CheckPlan};
use crate::program::{self, Program, ProgramError, ProgramPolicy};
use process::Processes;
use threshold::Threshold;
pub use threshold::Verdict;

/// A verdict that is new to the routers.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckReport {
    pub name: Arc<str>,
    pub verdict: Verdict,
    /// A file's number; otherwise 0 for up and 1 for down.
    pub value: i32,
    /// A fact: `exit 1`, `connect: Connection refused`, `not running`.
    pub detail: String,
    /// End of what a script wrote.
    pub output: String,
    pub at: Timestamp,
    pub latency: Duration,
}

/// One result.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Attempt {
    pub(crate) success: bool,
    /// A file's number, which weighted uses multiply.
    pub(crate) number: Option<i32>,
    /// Processes found.
    pub(crate) found: Option<u32>,
    pub(crate) detail: String,
    pub(crate) output: String,
    pub(crate) at: Timestamp,
    pub(crate) latency: Duration,
}

impl Attempt {
    fn new(success: bool, detail: impl Into<String>) -> Self {
        Self {
            success,
            number: None,
            found: None,
            detail: detail.into(),
            output: String::new(),
            at: wall_clock().into(),
            latency: Duration::ZERO,
        }
    }
}

/// All checks of the daemon. Dropping it stops them and kills their scripts.
pub struct Tracker {
    runtime_dir: PathBuf,
    policy: ProgramPolicy,
    results: mpsc::Sender<CheckReport>,
    checks: Vec<Running>,
    processes: Processes,
    interfaces: HashMap<String, watch::Sender<Option<bool>>>,
}

struct Running {
    plan: CheckPlan,
    status: Arc<Mutex<CheckStatus>>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Tracker {
    /// Starts every check at once. Must be called within a runtime, on the thread whose network namespace is meant.
    ///
    /// Other roles of this host are asked over their control sockets in `runtime_dir`.
    #[must_use]
    pub fn start(
        checks: Vec<CheckPlan>,
        policy: ProgramPolicy,
        runtime_dir: PathBuf,
        results: mpsc::Sender<CheckReport>,
    ) -> Self {
        let mut tracker = Self {
            runtime_dir,
            policy: policy.clone(),
            results,
            checks: Vec::new(),
            processes: Processes::start(),
            interfaces: HashMap::new(),
        };
        tracker.reconfigure(checks, policy);
        tracker
    }

    /// Goes over to other checks. Equal ones go on untouched; one that measures the same thing by other numbers keeps its
    /// verdict and is not reported again until that turns.
    pub fn reconfigure(&mut self, checks: Vec<CheckPlan>, policy: ProgramPolicy) {
        let same_policy = policy == self.policy;
        self.policy = policy;
        let mut former = std::mem::take(&mut self.checks);
        let count = checks.len();
        for (index, plan) in checks.into_iter().enumerate() {
            let position = former.iter().position(|running| running.plan.name == plan.name);
            let known = position.map(|position| former.swap_remove(position));
            let running = match known {
                Some(known) if known.plan == plan && (same_policy || !plan.runs_program()) => known,
                Some(known) if known.plan.kind == plan.kind => {
                    let status = known.status.lock().clone();
                    drop(known);
                    self.launch(plan, Some(status), index, count)
                }
                _ => self.launch(plan, None, index, count),
            };
            self.checks.push(running);
        }
    }

    /// Stops every check; running scripts are killed with their process groups.
    pub fn stop(self) {}

    /// The state of an interface, from whoever watches netlink. Kept for checks that come later.
    pub fn interface(&mut self, name: &str, up: bool) {
        self.interface_state(name).send_replace(Some(up));
    }

    /// Every check, in the order of the configuration. Which routers it decides about is for the caller to fill in.
    #[must_use]
    pub fn status(&self) -> Vec<CheckStatus> {
        self.checks
            .iter()
            .map(|running| running.status.lock().clone())
            .collect()
    }

    fn interface_state(&mut self, name: &str) -> &watch::Sender<Option<bool>> {
        self.interfaces
            .entry(name.to_owned())
            .or_insert_with(|| watch::Sender::new(None))
    }

    fn launch(
        &mut self,
        plan: CheckPlan,
        former: Option<CheckStatus>,
        index: usize,
        count: usize,
    ) -> Running {
        let mut recorder = Recorder::new(&plan, former, self.results.clone());
        let status = Arc::clone(&recorder.status);
        let schedule = schedule::Schedule::new(plan.interval, index, count);
        let task = match plan.kind.clone() {
            CheckKind::Script { argv, user } => {
                let program = Program::prepare(&argv, user.as_ref(), &self.policy);
                tokio::spawn(script::check(program, plan.timeout, schedule, recorder))
            }
            CheckKind::Process(process) => {
                let census = self.processes.watch(&process);
                tokio::spawn(process::check(
                    process::Settling::new(&plan, &process),
                    census,
                    recorder,
                ))
            }
            CheckKind::File { path } => tokio::spawn(file::check(path, plan.interval, recorder)),
            CheckKind::Interface { name } => {
                let state = self.interface_state(&name).subscribe();
                tokio::spawn(async move { recorder.follow_interface(state).await })
            }
            CheckKind::Tcp { target } => {
                let probe = probe::Probe::Tcp { target };
                tokio::spawn(probe::check(probe, plan.timeout, schedule, recorder))
            }
            CheckKind::Http { host, target, path } => {
                let probe = probe::Probe::Http { host, target, path };
                tokio::spawn(probe::check(probe, plan.timeout, schedule, recorder))
            }
            CheckKind::Service { backend } => {
                let socket = self.runtime_dir.join(warren_api::proxy::SOCKET);
                let probe = probe::Probe::Service { socket, backend };
                tokio::spawn(probe::check(probe, plan.timeout, schedule, recorder))
            }
        };
        Running { plan, status, task }
    }
}

/// Checks whose script cannot run as the user it should, to be told at start: each of them will only ever fail.
#[must_use]
pub fn problems(checks: &[CheckPlan], policy: &ProgramPolicy) -> Vec<(Arc<str>, ProgramError)> {
    let scripts = checks.iter().filter_map(|check| match &check.kind {
        CheckKind::Script { argv, user } => {
            Some((&check.name, program::problem(argv, user.as_ref(), policy)?))
        }
        _ => None,
    });
    scripts.map(|(name, error)| (Arc::clone(name), error)).collect()
}

impl CheckPlan {
    fn runs_program(&self) -> bool {
        matches!(self.kind, CheckKind::Script { .. })
    }

    /// Attempts that have to agree; what is watched needs none.
    fn threshold(&self) -> (u32, u32) {
        match self.kind {
            CheckKind::Script { .. }
            | CheckKind::Tcp { .. }
            | CheckKind::Http { .. }
            | CheckKind::Service { .. } => (self.rise, self.fall),
            CheckKind::Process(_) | CheckKind::File { .. } | CheckKind::Interface { .. } => (1, 1),
        }
    }
}

impl CheckKind {
    /// What is looked at, as status shows it.
    fn what(&self) -> String {
        match self {
            Self::Script { argv, .. } => format!("script {}", argv.join(" ")),
            Self::Process(process) => match &process.command_line {
                Some(words) => format!("process {}", words.join(" ")),
                None => format!("process {}", process.name),
            },
            Self::File { path } => format!("file {}", path.display()),
            Self::Interface { name } => format!("interface {name}"),
            Self::Tcp { target } => format!("tcp {target}"),
            Self::Http { target, path, .. } => format!("http {target}{path}"),
            Self::Service { backend: None } => "service proxy".to_owned(),
            Self::Service {
                backend: Some(backend),
            } => format!("service proxy/{backend}"),
        }
    }
}

/// Turns attempts of one check into verdicts, its status, and reports.
pub(crate) struct Recorder {
    name: Arc<str>,
    status: Arc<Mutex<CheckStatus>>,
    threshold: Threshold,
    /// The number of the last report.
    reported: i32,
    warning: Option<String>,
    results: mpsc::Sender<CheckReport>,
}

impl Recorder {
    fn new(plan: &CheckPlan, former: Option<CheckStatus>, results: mpsc::Sender<CheckReport>) -> Self {
        let (rise, fall) = plan.threshold();
        let former = former.unwrap_or_default();
        let verdict = match former.verdict {
            Shown::Well => Some(Verdict::Up),
            Shown::Failed => Some(Verdict::Down),
            Shown::Pending | Shown::Unknown => None,
        };
        let threshold = match verdict {
            Some(verdict) => Threshold::resume(rise, fall, verdict),
            None => Threshold::new(rise, fall, plan.start_failed),
        };
        let number = verdict.map_or(0, |verdict| i32::from(verdict == Verdict::Down));
        let reported = match (&plan.kind, former.value) {
            (CheckKind::File { .. }, Some(value)) => value.try_into().unwrap_or(number),
            _ => number,
        };
        let status = CheckStatus {
            name: plan.name.to_string(),
            what: plan.kind.what(),
            interval_us: Micros::from(plan.interval),
            timeout_us: Micros::from(plan.timeout),
            rise,
            fall,
            contrary: threshold.contrary(),
            ..former
        };
        Self {
            name: Arc::clone(&plan.name),
            status: Arc::new(Mutex::new(status)),
            threshold,
            reported,
            warning: None,
            results,
        }
    }

    /// Counts an attempt and reports what is new in it.
    async fn record(&mut self, attempt: Attempt) {
        let Some(report) = self.count(attempt) else { return };
        match report.verdict {
            Verdict::Up => tracing::info!(check = %report.name, detail = %report.detail, "check succeeded"),
            Verdict::Down => {
                tracing::warn!(check = %report.name, detail = %report.detail, output = %report.output, "check failed");
            }
        }
        // The receiver is gone only when the daemon stops.
        let _ = self.results.send(report).await;
    }

    fn count(&mut self, attempt: Attempt) -> Option<CheckReport> {
        let turned = self.threshold.record(attempt.success).is_some();
        let verdict = self.threshold.verdict();
        let mut status = self.status.lock();
        status.runs += 1;
        status.failures += u64::from(!attempt.success);
        status.contrary = self.threshold.contrary();
        status.value = attempt
            .number
            .map(i64::from)
            .or_else(|| attempt.found.map(i64::from));
        status.verdict = match verdict {
            Verdict::Up => Shown::Well,
            Verdict::Down => Shown::Failed,
        };
        if turned {
            status.since = attempt.at;
        }
        status.last = Some(CheckRun {
            ok: attempt.success,
            time: attempt.at,
            took_us: attempt.latency.into(),
            result: attempt.detail.clone(),
            output: attempt.output.clone(),
        });
        drop(status);

        let value = match attempt.number {
            Some(number) => number,
            None => i32::from(verdict == Verdict::Down),
        };
        let news = turned || value != self.reported;
        self.reported = value;
        news.then(|| CheckReport {
            name: Arc::clone(&self.name),
            verdict,
            value,
            detail: attempt.detail,
            output: attempt.output,
            at: attempt.at,
            latency: attempt.latency,
        })
    }

    /// Fails whatever the threshold: nothing but a reload can help.
    async fn record_failed_for_good(&mut self, detail: String) {
        self.threshold = Threshold::new(1, 1, true);
        self.record(Attempt::new(false, detail)).await;
    }

    /// Logs what works today and should be mended, when it is new.
    fn warn(&mut self, warning: Option<String>) {
        if let Some(warning) = warning.as_ref().filter(|_| self.warning != warning) {
            tracing::warn!(check = %self.name, reason = %warning, "check runs as root and should be mended");
        }
        self.warning = warning;
    }

    async fn follow_interface(&mut self, mut state: watch::Receiver<Option<bool>>) {
        loop {
            let up = *state.borrow_and_update();
            if let Some(up) = up {
                self.record(Attempt::new(up, if up { "up" } else { "down" }))
                    .await;
            }
            if state.changed().await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
