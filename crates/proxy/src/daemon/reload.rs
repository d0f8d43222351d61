//! From files to a plan that can be put in place, and putting it in place while everything runs.
//!
//! All of it is applied or nothing: sockets and certificates of the new plan are opened before anything of the old one
//! is let go.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

use warren_kit::clock::wall_clock;

use super::listeners::Sockets;
use super::serve::Daemon;
use super::{DaemonError, Options, limits};
use crate::config::{self, Format, Loaded, Machine};
use crate::live::{Gauge, Snapshot};
use crate::plan::{BindAddress, Plan, Verify};
use crate::tls::Keyring;
use crate::worker::{Command, Listener};

/// Reads the configuration and applies what the command line says to it. Warnings are logged by the caller.
pub(super) fn read(options: &Options) -> Result<(Plan, Vec<String>), DaemonError> {
    let machine = Machine::here(&options.host);
    let loaded = match (options.format, options.files.as_slice()) {
        (Format::Toml, [file]) => config::load_toml(file, &machine)?,
        (Format::Toml | Format::Haproxy, files) => config::load_haproxy(files, &machine)?,
    };
    let warnings: Vec<String> = loaded.warning_lines().collect();
    if options.strict && !warnings.is_empty() {
        return Err(DaemonError::Warnings(warnings.join("\n")));
    }
    let Loaded { mut plan, .. } = loaded;
    if let Some(maxconn) = options.maxconn.and_then(NonZeroU32::new) {
        plan.global.maxconn = maxconn;
    }
    if options.no_server_verify {
        plan.backends = plan.backends.iter().map(unverified).collect();
    }
    Ok((plan, warnings))
}

/// `-dV`
fn unverified(backend: &Arc<crate::plan::Backend>) -> Arc<crate::plan::Backend> {
    let mut backend = crate::plan::Backend::clone(backend);
    for server in &mut backend.servers {
        if let Some(tls) = &server.tls {
            let mut tls = crate::plan::ServerTls::clone(tls);
            tls.verify = Verify::None;
            let mut changed = crate::plan::Server::clone(server);
            changed.tls = Some(Arc::new(tls));
            *server = Arc::new(changed);
        }
    }
    Arc::new(backend)
}

/// The certificates of a plan, all of them read anew. What clients have of the sessions before stays good.
pub(super) fn keyring(plan: &Plan, before: Option<&Keyring>) -> Result<Keyring, DaemonError> {
    let mut keyring = Keyring::load(plan, before)?;
    warn_of_certificates(&mut keyring);
    Ok(keyring)
}

fn warn_of_certificates(keyring: &mut Keyring) {
    for warning in keyring.warnings_of_the_day(wall_clock()) {
        tracing::warn!(warning, "certificate");
    }
}

/// What the workers are to accept from.
pub(super) fn listeners(
    snapshot: &Snapshot,
    sockets: &Sockets,
    keyring: &Keyring,
    loads: &mut HashMap<BindAddress, Arc<Gauge>>,
) -> Vec<Listener> {
    let mut listeners = Vec::new();
    for (frontend, plan) in snapshot.frontends.iter().zip(&snapshot.plan.frontends) {
        for bind in plan.binds.iter().filter(|_| !plan.disabled) {
            let Some(socket) = sockets.get(&bind.address) else {
                continue;
            };
            listeners.push(Listener {
                socket: Arc::clone(socket),
                bind: Arc::new(bind.clone()),
                frontend: Arc::clone(frontend),
                tls: bind.tls.as_ref().and_then(|tls| keyring.acceptor(tls)).cloned(),
                load: Arc::clone(loads.entry(bind.address.clone()).or_default()),
            });
        }
    }
    listeners
}

impl Daemon {
    /// Reads the configuration again and puts it in place. Says what the operator should know.
    pub(super) fn reload(&mut self) -> Result<Vec<String>, DaemonError> {
        let result = self.try_reload();
        match &result {
            Ok(warnings) => {
                for warning in warnings {
                    tracing::warn!(warning, "configuration was accepted with a warning");
                }
                tracing::info!("configuration was read again");
                self.reload_failure = None;
                self.configured = wall_clock();
            }
            Err(error) => {
                tracing::error!(%error, "configuration was not read again, the earlier one stays in force");
                self.reload_failure = Some(error.to_string());
            }
        }
        result
    }

    fn try_reload(&mut self) -> Result<Vec<String>, DaemonError> {
        if self.stopping.is_some() || self.is_giving() {
            return Err(DaemonError::Busy);
        }
        let (plan, mut warnings) = read(&self.options)?;
        limits::raise(&plan)?;
        let keyring = keyring(&plan, Some(&self.keyring))?;
        let sockets = self.sockets.for_plan(&plan).map_err(DaemonError::Listen)?;
        let before = self.live.snapshot();
        warnings.extend(needs_restart(&before.plan, &plan));
        let doors = self.doors.additions(&plan.global, &Sockets::default())?;

        let snapshot = self.live.replace(Arc::new(plan), &keyring);
        keyring.equip(&snapshot);
        let now = self.live.time(Instant::now());
        for backend in &snapshot.backends {
            backend.refresh(now);
            self.workers.serve_queue(backend);
        }
        self.sockets.remove_files_except(&sockets);
        self.sockets = sockets;
        self.keyring = keyring;
        self.doors.change(&snapshot.plan.global, doors);
        self.loads
            .retain(|address, _| self.sockets.get(address).is_some());
        self.listen();
        self.workers.broadcast(&Command::Reloaded);
        self.servers.reloaded();
        Ok(warnings)
    }

    /// Certificates whose files have changed. New ones that are no good leave the old ones in use.
    pub(super) fn renew_certificates(&mut self) {
        let mut renewed = false;
        for change in self.keyring.look() {
            match change {
                Ok(()) => {
                    renewed = true;
                    tracing::info!("certificates were read again");
                }
                Err(error) => {
                    tracing::error!(%error, "certificates were not read again, the earlier ones stay in use");
                }
            }
        }
        if renewed {
            self.keyring.equip(&self.live.snapshot());
            self.listen();
        }
        warn_of_certificates(&mut self.keyring);
    }

    /// Tells the workers what to accept from.
    pub(super) fn listen(&mut self) {
        let listeners = self.listeners();
        self.workers.broadcast(&Command::Listen(Arc::new(listeners)));
    }

    /// What workers are to accept from now.
    pub(super) fn listeners(&mut self) -> Vec<Listener> {
        let snapshot = self.live.snapshot();
        listeners(&snapshot, &self.sockets, &self.keyring, &mut self.loads)
    }
}

/// What a running process cannot change.
fn needs_restart(before: &Plan, after: &Plan) -> Vec<String> {
    let (before, after) = (&before.global, &after.global);
    let differences = [
        (before.threads != after.threads, "nbthread"),
        (
            before.user != after.user || before.group != after.group,
            "user and group",
        ),
        (before.metrics != after.metrics, "metrics"),
        (before.buffer != after.buffer, "tune.bufsize"),
    ];
    let changed = differences.iter().filter(|(differs, _)| *differs);
    changed
        .map(|(_, what)| format!("{what} takes effect at the next start or upgrade"))
        .collect()
}
