//! What is the case, shared by all threads: one object for each frontend, backend and server of the plan.
//!
//! Workers read the [`Snapshot`] once for each connection and then hold on to the objects they need. Numbers that
//! change with every octet have a cell for each worker ([`counters`]); those that change with every connection are
//! shared. A reload puts a new snapshot in place in which what has kept its name has kept its object.

pub mod backend;
mod capture;
pub mod counters;
mod encryption;
mod frontend;
mod server;
mod table;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use arc_swap::ArcSwap;
use warren_balance::hash::Known;

pub use backend::{Assignment, Backend, Outage, Waiter, Wanted};
pub use capture::{CAPTURE_MAX, Capture, LastRefused};
pub use counters::{Cells, Gauge, PipeCount, Rate, Tally, Timings, Totals};
pub use encryption::{Counted, Encryption};
pub use frontend::{Frontend, Socket};
pub use server::{CheckResult, Operational, Server, Target};
pub use table::Table;

use crate::plan::{self, Plan};
use crate::tls::Keyring;

/// Everything, for as long as the process runs.
#[derive(Debug)]
pub struct Live {
    snapshot: ArcSwap<Snapshot>,
    /// Client connections of the process.
    pub connections: Gauge,
    /// New connections per second.
    pub connection_rate: Rate,
    /// New sessions per second.
    pub session_rate: Rate,
    /// New TLS connections of clients per second.
    pub tls_rate: Rate,
    /// TLS connections, on both sides.
    pub encryption: Arc<Encryption>,
    /// The pipes of each worker.
    pub pipes: Vec<Arc<PipeCount>>,
    /// Names of servers that were looked up in the background.
    pub resolutions: AtomicU64,
    /// Names that could not be resolved.
    pub failed_resolutions: AtomicU64,
    /// Whatever the process counts as a whole; bytes are those to clients.
    pub tally: Tally,
    /// Octets that went through pipes of the processes before this one.
    spliced_before: AtomicU64,
    /// `set maxconn global`; 0 is as configured.
    pub maxconn: AtomicU32,
    /// `set rate-limit`.
    pub rate_limits: RateLimits,
    /// Worker threads; cells are numbered 0 to this, the last one being the control thread's.
    pub workers: usize,
    started: Instant,
    sessions: AtomicU64,
    captures: AtomicU64,
}

/// What the operator lets in per second, in the whole process; 0 is as configured.
#[derive(Debug, Default)]
pub struct RateLimits {
    /// `set rate-limit connections global`.
    pub connections: AtomicU32,
    /// `set rate-limit sessions global`.
    pub sessions: AtomicU32,
    /// `set rate-limit ssl-sessions global`.
    pub handshakes: AtomicU32,
}

impl RateLimits {
    /// Connections, sessions, handshakes.
    pub(crate) const fn each(&self) -> [&AtomicU32; 3] {
        [&self.connections, &self.sessions, &self.handshakes]
    }
}

/// One generation of the configuration and its objects, in the plan's order.
#[derive(Debug)]
pub struct Snapshot {
    /// What is to be done.
    pub plan: Arc<Plan>,
    /// As [`Plan::frontends`].
    pub frontends: Vec<Arc<Frontend>>,
    /// As [`Plan::backends`].
    pub backends: Vec<Arc<Backend>>,
    /// As [`Plan::tables`].
    pub tables: Vec<Arc<Table>>,
    /// Places in both lists of this snapshot, by name.
    named_frontends: HashMap<Arc<str>, usize, Known>,
    named_backends: HashMap<Arc<str>, usize, Known>,
}

impl Live {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(plan: Arc<Plan>) -> Self {
        Self::since(plan, Instant::now())
    }

    /// The same, counting time from an earlier moment: when the process started from which this one takes over.
    #[must_use]
    pub fn since(plan: Arc<Plan>, started: Instant) -> Self {
        let workers = plan.global.threads.get();
        Self {
            snapshot: ArcSwap::from_pointee(Snapshot::new(plan, workers, None)),
            connections: Gauge::default(),
            connection_rate: Rate::default(),
            session_rate: Rate::default(),
            tls_rate: Rate::default(),
            encryption: Arc::default(),
            pipes: (0..workers).map(|_| Arc::default()).collect(),
            resolutions: AtomicU64::new(0),
            failed_resolutions: AtomicU64::new(0),
            tally: Tally::new(workers),
            spliced_before: AtomicU64::new(0),
            maxconn: AtomicU32::new(0),
            rate_limits: RateLimits::default(),
            workers,
            started,
            sessions: AtomicU64::new(0),
            captures: AtomicU64::new(0),
        }
    }

    /// What holds now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// The same for who knows already what held: nothing is written that threads share unless it is another.
    pub(crate) fn look_again(&self, known: &mut Arc<Snapshot>) {
        let now = self.snapshot.load();
        if !Arc::ptr_eq(&now, known) {
            *known = Arc::clone(&now);
        }
    }

    /// Puts a new plan in place. What has kept its name keeps its object: counters, health, waiting connections. With
    /// what is needed to speak TLS to its servers, which may be used at once.
    pub fn replace(&self, plan: Arc<Plan>, keyring: &Keyring) -> Arc<Snapshot> {
        let before = self.snapshot();
        let snapshot = Arc::new(Snapshot::new(plan, self.workers, Some(&before)));
        let now = self.time(Instant::now());
        for (backend, plan) in snapshot.backends.iter().zip(&snapshot.plan.backends) {
            backend.change(now, Arc::clone(plan), keyring);
        }
        self.snapshot.store(Arc::clone(&snapshot));
        for (frontend, plan) in snapshot.frontends.iter().zip(&snapshot.plan.frontends) {
            frontend.change(Arc::clone(plan));
        }
        snapshot
    }

    /// When the process began its work.
    #[must_use]
    pub const fn started(&self) -> Instant {
        self.started
    }

    /// `now` as `balance` counts: milliseconds since the start.
    #[must_use]
    pub fn time(&self, now: Instant) -> warren_balance::Instant {
        let millis = now.saturating_duration_since(self.started).as_millis();
        warren_balance::Instant::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }

    /// `clear counters`: forgets the greatest values, and with `all` what was counted too.
    pub fn clear(&self, all: bool) {
        for rate in [
            &self.connection_rate,
            &self.session_rate,
            &self.tls_rate,
            &self.encryption.client_keys,
            &self.encryption.server_keys,
        ] {
            rate.clear();
        }
        self.connections.clear();
        if all {
            self.tally.clear();
        }
        let snapshot = self.snapshot();
        for frontend in &snapshot.frontends {
            frontend.clear(all);
        }
        for backend in &snapshot.backends {
            backend.clear(all);
        }
    }

    /// Octets that went through a pipe rather than through us.
    #[must_use]
    pub fn spliced(&self) -> u64 {
        let by_workers = self.pipes.iter().map(|pipes| pipes.spliced.load(Relaxed));
        by_workers.sum::<u64>() + self.spliced_before.load(Relaxed)
    }

    /// So many went through those of another process before this one took over.
    pub fn add_spliced(&self, octets: u64) {
        self.spliced_before.fetch_add(octets, Relaxed);
    }

    /// How many messages that were not understood were kept ([`LastRefused`]), though most are forgotten by now.
    #[must_use]
    pub fn captures(&self) -> u64 {
        self.captures.load(Relaxed)
    }

    /// The number of the next one.
    pub fn next_capture(&self) -> u64 {
        self.captures.fetch_add(1, Relaxed)
    }

    /// How many numbers sessions have had.
    #[must_use]
    pub fn sessions_begun(&self) -> u64 {
        self.sessions.load(Relaxed)
    }

    /// Numbers below this one are another process's.
    pub fn continue_from(&self, number: u64) {
        self.sessions.fetch_max(number, Relaxed);
    }

    /// A number no other session of this process has.
    pub fn next_session(&self) -> u64 {
        self.sessions.fetch_add(1, Relaxed)
    }
}

impl Snapshot {
    /// What has kept its name, as it is; everything else new.
    fn new(plan: Arc<Plan>, workers: usize, before: Option<&Self>) -> Self {
        let frontends: Vec<Arc<Frontend>> = plan
            .frontends
            .iter()
            .map(
                |new| match before.and_then(|before| before.frontend_named(&new.name)) {
                    Some(old) => Arc::clone(old),
                    None => Arc::new(Frontend::new(Arc::clone(new), workers)),
                },
            )
            .collect();
        let backends: Vec<Arc<Backend>> = plan
            .backends
            .iter()
            .map(
                |new| match before.and_then(|before| before.backend_named(&new.name)) {
                    Some(old) => Arc::clone(old),
                    None => Arc::new(Backend::new(Arc::clone(new), workers)),
                },
            )
            .collect();
        let names = frontends.iter().map(|frontend| Arc::clone(&frontend.name));
        let named_frontends = names.zip(0..).collect();
        let names = backends.iter().map(|backend| Arc::clone(&backend.name));
        let named_backends = names.zip(0..).collect();
        Self {
            tables: plan
                .tables
                .iter()
                .map(|new| {
                    // Laid out in another way, it begins anew.
                    let mut old = before.into_iter().flat_map(|before| &before.tables);
                    let same = old.find(|old| old.plan == *new);
                    same.map_or_else(|| Arc::new(Table::new(Arc::clone(new))), Arc::clone)
                })
                .collect(),
            plan,
            frontends,
            backends,
            named_frontends,
            named_backends,
        }
    }

    /// A table of clients by its name.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&Arc<Table>> {
        self.tables.iter().find(|table| table.plan.name == name)
    }

    /// A backend by its name.
    #[must_use]
    pub fn backend_named(&self, name: &str) -> Option<&Arc<Backend>> {
        self.backends.get(*self.named_backends.get(name)?)
    }

    /// The plan of the frontend of this name.
    pub(crate) fn frontend_plan(&self, name: &str) -> Option<&Arc<plan::Frontend>> {
        self.plan.frontends.get(*self.named_frontends.get(name)?)
    }

    /// The plan of the backend of this name.
    pub(crate) fn backend_plan(&self, name: &str) -> Option<&Arc<plan::Backend>> {
        self.plan.backends.get(*self.named_backends.get(name)?)
    }

    /// A frontend by its name.
    #[must_use]
    pub fn frontend_named(&self, name: &str) -> Option<&Arc<Frontend>> {
        self.frontends.get(*self.named_frontends.get(name)?)
    }
}
