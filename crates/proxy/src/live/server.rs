//! One server's numbers and health.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use tokio::sync::Notify;
use warren_balance::health::{Settings, State};
use warren_balance::{Admin, Health, Instant, ServerId};

use super::counters::{Gauge, Rate, Tally, Timings};
use crate::plan;

/// A server as it is.
#[derive(Debug)]
pub struct Server {
    /// Its name, which never changes.
    pub name: Arc<str>,
    /// Its number in the backend, which another configuration may change.
    id: AtomicU32,
    plan: ArcSwap<plan::Server>,
    /// What `add server` was told of it: its address and options. `None`: it is the configuration's.
    pub added: ArcSwapOption<Vec<String>>,
    /// Its plan is not what it began with: an operator said otherwise ([`Server::adjust`]).
    adjusted: AtomicBool,
    /// Where it is now; `None` while its name cannot be resolved.
    pub target: ArcSwapOption<Target>,
    /// What is needed to speak TLS to it, if its plan says so ([`crate::tls::Keyring::equip`]).
    pub connector: ArcSwapOption<crate::tls::Connector>,
    /// Sessions it serves, and slots it has promised.
    pub sessions: Gauge,
    /// Connections that wait for it and for nobody else.
    pub queued: Gauge,
    /// New sessions.
    pub session_rate: Rate,
    /// What it counted.
    pub tally: Tally,
    /// How long its sessions took.
    pub timings: Timings,
    /// `set maxconn server`; 0 is as configured.
    pub maxconn: AtomicU32,
    /// When the last session began, in milliseconds since the start; 0 is never.
    pub last_session: AtomicU64,
    /// Failures in traffic in a row (`observe`).
    pub errors_in_row: AtomicU32,
    /// How often [`plan::Server::error_limit`] was reached, not yet taken in.
    pub error_limits: AtomicU32,
    /// Something was said to it that its checks have to know.
    pub wake: Notify,
    /// The same for questions to its agent.
    pub agent_wake: Notify,
    /// What is known of its health.
    pub operational: Mutex<Operational>,
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// Over the network.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// What is known of a server's health. Only the control thread writes here.
#[derive(Debug)]
pub struct Operational {
    /// The state machine.
    pub health: Health,
    /// The result of the last check.
    pub last_check: Option<CheckResult>,
    /// The last results, newest last, at most [`Operational::RESULTS_MAX`].
    pub results: std::collections::VecDeque<CheckResult>,
    /// A check is under way.
    pub checking: bool,
    /// Its agent is being asked.
    pub asking: bool,
    /// The last result has another word than the one before.
    pub word_changed: bool,
    /// What the agent said last.
    pub last_agent: Option<CheckResult>,
    /// The agent's last result has another word than the one before.
    pub agent_word_changed: bool,
    /// Failed checks while up (`chkfail`).
    pub checks_failed: u64,
    /// Times it went down (`chkdown`).
    pub times_down: u64,
    /// When its state changed last.
    pub changed: Instant,
    /// All the time it was down before it last came up.
    pub downtime: Duration,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckResult {
    /// HAProxy's word: `L4OK`, `L4TOUT`, `L4CON`, `L6OK`, `L7OK`, `L7STS`, `L7RSP`, `L7TOUT`, ... while a check
    /// runs the statistics show it with `* ` before it.
    pub status: &'static str,
    /// Status of the answer, if there was one.
    pub code: Option<u16>,
    /// How long it took.
    pub duration: Duration,
    /// What else is known, for people: an errno's text, the end of an answer.
    pub detail: String,
    /// Whether it counts as a success.
    pub passed: bool,
    /// When it ended.
    pub at: Instant,
}

impl Operational {
    /// How many results are kept for the page.
    pub const RESULTS_MAX: usize = 60;
}

impl Server {
    pub(super) fn new(plan: Arc<plan::Server>, added: Option<Vec<String>>, workers: usize) -> Self {
        let target = match &plan.address {
            plan::HostAddress::Ip(address) => Some(Target::Tcp(*address)),
            plan::HostAddress::Unix(path) => Some(Target::Unix(path.clone())),
            plan::HostAddress::Name(..) => None,
        };
        let admin = if plan.disabled { Admin::Maint } else { Admin::Ready };
        Self {
            name: plan.name.as_str().into(),
            id: AtomicU32::new(plan.id.0),
            added: ArcSwapOption::from_pointee(added),
            adjusted: AtomicBool::new(false),
            target: ArcSwapOption::from_pointee(target),
            connector: ArcSwapOption::empty(),
            sessions: Gauge::default(),
            queued: Gauge::default(),
            session_rate: Rate::default(),
            tally: Tally::new(workers),
            timings: Timings::default(),
            maxconn: AtomicU32::new(0),
            last_session: AtomicU64::new(0),
            errors_in_row: AtomicU32::new(0),
            error_limits: AtomicU32::new(0),
            wake: Notify::new(),
            agent_wake: Notify::new(),
            operational: Mutex::new(Operational {
                health: Health::new(settings(&plan), admin),
                last_check: None,
                results: std::collections::VecDeque::new(),
                checking: false,
                asking: false,
                word_changed: false,
                last_agent: None,
                agent_word_changed: false,
                checks_failed: 0,
                times_down: 0,
                changed: Instant::default(),
                downtime: Duration::ZERO,
            }),
            plan: ArcSwap::new(plan),
        }
    }

    /// A changed line of the configuration. Its health begins anew only if what it rests on has changed.
    pub(super) fn change(&self, plan: Arc<plan::Server>) {
        self.added.store(None);
        let before = self.plan.swap(Arc::clone(&plan));
        if *before == *plan {
            return;
        }
        self.adjusted.store(false, Relaxed);
        if before.address != plan.address {
            self.target.store(match &plan.address {
                plan::HostAddress::Ip(address) => Some(Arc::new(Target::Tcp(*address))),
                plan::HostAddress::Unix(path) => Some(Arc::new(Target::Unix(path.clone()))),
                // The old address serves until the new name has one.
                plan::HostAddress::Name(..) => self.target.load_full(),
            });
        }
        let admin = if plan.disabled { Admin::Maint } else { Admin::Ready };
        // What was found is about somebody else, or is the answer to another question.
        let question = |plan: &plan::Server| {
            let kind = plan.check.as_ref().map(|check| check.kind.clone());
            (plan.address.clone(), kind, plan.track.clone())
        };
        let anew = question(&before) != question(&plan);
        self.operational
            .lock()
            .health
            .reconfigure(settings(&plan), admin, anew);
    }

    /// The operator changes how it is looked after: where its check or agent is, what the agent is told.
    pub fn adjust(&self, change: impl FnOnce(&mut plan::Server)) {
        let mut plan = plan::Server::clone(&self.plan.load());
        change(&mut plan);
        self.plan.store(Arc::new(plan));
        self.adjusted.store(true, Relaxed);
    }

    /// Whether [`Server::adjust`] was called since the configuration was read.
    #[must_use]
    pub fn is_adjusted(&self) -> bool {
        self.adjusted.load(Relaxed)
    }

    pub(super) fn clear(&self, all: bool) {
        self.sessions.clear();
        self.queued.clear();
        self.session_rate.clear();
        self.timings.clear();
        if all {
            self.tally.clear();
            let mut operational = self.operational.lock();
            operational.checks_failed = 0;
            operational.times_down = 0;
        }
    }

    /// Its number in the backend at this moment. Who has to know it again later keeps the server.
    #[must_use]
    pub fn id(&self) -> ServerId {
        ServerId(self.id.load(Relaxed))
    }

    pub(super) fn renumber(&self, id: ServerId) {
        self.id.store(id.0, Relaxed);
    }

    /// What it is to do.
    #[must_use]
    pub fn plan(&self) -> Arc<plan::Server> {
        self.plan.load_full()
    }

    /// Whether connections to it begin with a PROXY protocol header.
    pub(crate) fn is_told_of_clients(&self) -> bool {
        self.plan.load().send_proxy.is_some()
    }

    /// What traffic says of it (`observe`): to be called by workers for each connection made or failed (`Layer4`) and
    /// for each answer, right or wrong (`Layer7`). A success ends the row of failures.
    pub fn observed(&self, layer: plan::Observe, good: bool) {
        let plan = self.plan.load();
        let counts = match plan.observe {
            Some(plan::Observe::Layer7) => true,
            Some(plan::Observe::Layer4) => layer == plan::Observe::Layer4,
            None => false,
        };
        if !counts {
            return;
        }
        if good {
            self.errors_in_row.store(0, Relaxed);
        } else if self.errors_in_row.fetch_add(1, Relaxed) + 1 >= plan.error_limit.get() {
            self.errors_in_row.store(0, Relaxed);
            self.error_limits.fetch_add(1, Relaxed);
            self.wake.notify_one();
        }
    }

    /// Its status in the statistics' words.
    #[must_use]
    pub fn status(&self) -> String {
        let plan = self.plan.load();
        let via = plan.track.as_ref();
        let via = via.map(|(backend, server)| (backend.as_str(), server.as_str()));
        self.operational.lock().health.status(via)
    }

    /// What it is.
    #[must_use]
    pub fn state(&self) -> State {
        self.operational.lock().health.state()
    }

    /// Neither down nor in maintenance.
    #[must_use]
    pub fn is_there(&self) -> bool {
        !matches!(self.state(), State::Down | State::Maint)
    }
}

pub(super) fn settings(plan: &plan::Server) -> Settings {
    Settings {
        id: plan.id,
        backup: plan.backup,
        weight: plan.weight,
        maxconn: plan.maxconn,
        check: plan.check.as_ref().map(|check| check.timing),
        agent: plan.agent.is_some(),
        slowstart: plan.slowstart,
        on_error: plan.on_error,
        shutdown_sessions: plan.shutdown_sessions,
        shutdown_backup_sessions: plan.shutdown_backup_sessions,
    }
}
