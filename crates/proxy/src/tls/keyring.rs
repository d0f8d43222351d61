//! Everything that a plan needs to speak TLS: read before the plan is put in place, so that a plan whose files are no
//! good never is.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{Acceptor, CertificateInfo, Connector, TlsError, Watched};
use crate::live::Snapshot;
use crate::plan::{BindTls, Plan, ServerTls};

/// Between two warnings of the same.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Acceptors of all bind lines and connectors of all servers. Lines that say the same share one.
#[derive(Debug, Default)]
pub struct Keyring {
    acceptors: HashMap<Arc<BindTls>, Watched<BindTls>>,
    connectors: HashMap<Arc<ServerTls>, Watched<ServerTls>>,
    /// When the operator was told last.
    warned: Option<SystemTime>,
}

/// What is wrong, and where.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {error}")]
pub struct KeyringError {
    /// `frontend web`, `server rabbitmq/rabbit1`.
    pub place: String,
    /// What.
    #[source]
    pub error: TlsError,
}

impl Keyring {
    /// Reads every file. Clients may go on with the sessions that they began with the keyring before.
    pub fn load(plan: &Plan, before: Option<&Self>) -> Result<Self, KeyringError> {
        let mut keyring = Self::default();
        for frontend in &plan.frontends {
            for tls in frontend.binds.iter().filter_map(|bind| bind.tls.as_ref()) {
                let before = before.and_then(|before| before.acceptor(tls));
                let watched = Watched::load(tls, before.map(Arc::as_ref)).map_err(|error| KeyringError {
                    place: format!("frontend {}", frontend.name),
                    error,
                })?;
                keyring.acceptors.insert(Arc::clone(tls), watched);
            }
        }
        for backend in &plan.backends {
            for server in &backend.servers {
                let Some(tls) = &server.tls else { continue };
                let watched = Watched::load(tls, None).map_err(|error| KeyringError {
                    place: format!("server {}/{}", backend.name, server.name),
                    error,
                })?;
                keyring.connectors.insert(Arc::clone(tls), watched);
            }
        }
        Ok(keyring)
    }

    /// Nobody speaks TLS.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.acceptors.is_empty() && self.connectors.is_empty()
    }

    /// For the listeners of a bind line.
    #[must_use]
    pub fn acceptor(&self, bind: &BindTls) -> Option<&Arc<Acceptor>> {
        self.acceptors.get(bind).map(Watched::made)
    }

    /// For connections to a server.
    #[must_use]
    pub fn connector(&self, server: &ServerTls) -> Option<&Arc<Connector>> {
        self.connectors.get(server).map(Watched::made)
    }

    /// Gives every server what connections to it need, and tells frontends what they show. To be called once the plan is
    /// in place, and when certificates were read again.
    pub fn equip(&self, snapshot: &Snapshot) {
        for frontend in &snapshot.frontends {
            let plan = frontend.plan();
            let binds = plan.binds.iter();
            let acceptors = binds.map(|bind| self.acceptor(bind.tls.as_deref()?).cloned());
            frontend.acceptors.store(Arc::new(acceptors.collect()));
        }
        for backend in &snapshot.backends {
            // Those that were added at run time have read theirs.
            for server in backend
                .servers()
                .iter()
                .filter(|server| server.added.load().is_none())
            {
                let plan = server.plan();
                let connector = plan.tls.as_ref().and_then(|tls| self.connector(tls));
                server.connector.store(connector.cloned());
            }
        }
    }

    /// What came of files that have changed; what is no good leaves the old ones in use. To be called every few seconds; if
    /// something is new, servers are to be equipped and listeners to be told.
    pub fn look(&mut self) -> Vec<Result<(), TlsError>> {
        let acceptors = self.acceptors.values_mut();
        let acceptors = acceptors.filter_map(|watched| Some(watched.look()?.map(|_| ())));
        let connectors = self.connectors.values_mut();
        let connectors = connectors.filter_map(|watched| Some(watched.look()?.map(|_| ())));
        acceptors.chain(connectors).collect()
    }

    /// Every certificate that clients are shown, in no order.
    pub fn certificates(&self) -> impl Iterator<Item = &CertificateInfo> {
        self.acceptors
            .values()
            .flat_map(|watched| watched.made().certificates())
    }

    /// What an operator should know at this time: ends that are near, keys that everybody may read.
    #[must_use]
    pub fn warnings(&self, now: SystemTime) -> Vec<String> {
        let of_clients = self
            .acceptors
            .values()
            .flat_map(|watched| watched.made().warnings(now));
        let of_servers = self
            .connectors
            .values()
            .flat_map(|watched| watched.made().warnings(now));
        let mut warnings: Vec<String> = of_clients.chain(of_servers).collect();
        warnings.sort();
        warnings.dedup();
        warnings
    }

    /// The same, but once a day only: a process may run for longer than a certificate lasts.
    pub fn warnings_of_the_day(&mut self, now: SystemTime) -> Vec<String> {
        let is_over = |told: SystemTime| now.duration_since(told).is_ok_and(|since| since >= DAY);
        if self.warned.is_some_and(|told| !is_over(told)) {
            return Vec::new();
        }
        self.warned = Some(now);
        self.warnings(now)
    }
}
