//! One frontend's numbers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

use arc_swap::ArcSwap;

use super::capture::LastRefused;
use super::counters::{Gauge, Rate, Tally, Timings};
use crate::plan;
use crate::tls::{Acceptor, CertificateInfo};

/// One of its listeners, where `option socket-stats` asks for rows of their own.
#[derive(Debug)]
pub struct Socket {
    /// Where it listens.
    pub address: plan::BindAddress,
    /// Its clients now.
    pub load: Arc<Gauge>,
    /// What it counted.
    pub tally: Tally,
}

/// A frontend as it is.
#[derive(Debug)]
pub struct Frontend {
    /// Its name, which never changes.
    pub name: Arc<str>,
    plan: ArcSwap<plan::Frontend>,
    /// Sessions now.
    pub sessions: Gauge,
    /// New sessions.
    pub session_rate: Rate,
    /// New connections.
    pub connection_rate: Rate,
    /// HTTP requests.
    pub request_rate: Rate,
    /// What it counted.
    pub tally: Tally,
    /// How long its sessions took.
    pub timings: Timings,
    /// `set maxconn frontend`; 0 is as configured.
    pub maxconn: AtomicU32,
    /// `set rate-limit`; 0 is as configured.
    pub rate_limit: AtomicU32,
    /// `disable frontend`: it accepts nothing for now.
    pub paused: AtomicBool,
    /// `shutdown frontend`, or gone from the configuration.
    pub stopped: AtomicBool,
    /// When the last session began, in milliseconds since the start; 0 is never.
    pub last_session: AtomicU64,
    /// With what TLS is ended at each of its listeners, in the order of the plan ([`crate::tls::Keyring::equip`]).
    pub acceptors: ArcSwap<Vec<Option<Arc<Acceptor>>>>,
    /// The last request that was none.
    pub refused: LastRefused,
    /// Its listeners, if they have rows of their own.
    sockets: ArcSwap<Vec<Arc<Socket>>>,
    workers: usize,
}

impl Frontend {
    pub(super) fn new(plan: Arc<plan::Frontend>, workers: usize) -> Self {
        Self {
            name: plan.name.as_str().into(),
            acceptors: ArcSwap::default(),
            refused: LastRefused::default(),
            sockets: ArcSwap::default(),
            workers,
            plan: ArcSwap::new(plan),
            sessions: Gauge::default(),
            session_rate: Rate::default(),
            connection_rate: Rate::default(),
            request_rate: Rate::default(),
            tally: Tally::new(workers),
            timings: Timings::default(),
            maxconn: AtomicU32::new(0),
            rate_limit: AtomicU32::new(0),
            paused: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            last_session: AtomicU64::new(0),
        }
    }

    pub(super) fn change(&self, plan: Arc<plan::Frontend>) {
        self.plan.store(plan);
    }

    pub(super) fn clear(&self, all: bool) {
        self.sessions.clear();
        for rate in [&self.session_rate, &self.connection_rate, &self.request_rate] {
            rate.clear();
        }
        self.timings.clear();
        for socket in self.sockets.load().iter() {
            socket.load.clear();
            if all {
                socket.tally.clear();
            }
        }
        if all {
            self.tally.clear();
        }
    }

    /// The listener at an address, whose clients are counted in `load`; `None` if it has no row of its own.
    pub fn socket(&self, address: &plan::BindAddress, load: &Arc<Gauge>) -> Option<Arc<Socket>> {
        if !self.plan.load().socket_stats {
            return None;
        }
        let known = |sockets: &[Arc<Socket>]| {
            let mut sockets = sockets.iter();
            sockets
                .find(|socket| socket.address == *address && Arc::ptr_eq(&socket.load, load))
                .cloned()
        };
        let new = Arc::new(Socket {
            address: address.clone(),
            load: Arc::clone(load),
            tally: Tally::new(self.workers),
        });
        // Every worker asks, perhaps at once: the first one's is everybody's.
        self.sockets.rcu(|sockets| {
            let mut sockets = Vec::clone(sockets);
            if known(&sockets).is_none() {
                sockets.retain(|socket| socket.address != *address);
                sockets.push(Arc::clone(&new));
            }
            sockets
        });
        known(&self.sockets.load())
    }

    /// Its listeners that have rows of their own.
    #[must_use]
    pub fn sockets(&self) -> Arc<Vec<Arc<Socket>>> {
        self.sockets.load_full()
    }

    /// The certificates that clients are shown at one of its listeners; at all of them without a place.
    #[must_use]
    pub fn certificates(&self, place: Option<usize>) -> Vec<CertificateInfo> {
        let acceptors = self.acceptors.load();
        let at = acceptors
            .iter()
            .enumerate()
            .filter(|(at, _)| place.is_none_or(|place| place == *at));
        at.filter_map(|(_, acceptor)| acceptor.as_deref())
            .flat_map(Acceptor::certificates)
            .cloned()
            .collect()
    }

    /// What it is to do.
    #[must_use]
    pub fn plan(&self) -> Arc<plan::Frontend> {
        self.plan.load_full()
    }
}
