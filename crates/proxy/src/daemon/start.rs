//! From the command line to a proxy that serves.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use warren_kit::clock::wall_clock;
use warren_kit::control::{self as socket, BindError, ControlSocket, Limits};
use warren_kit::runtime_dir;
use warren_kit::systemd::ServiceManager;

use super::control::Control;
use super::doors::{self, Doors};
use super::listeners::Sockets;
use super::serve::Daemon;
use super::{DaemonError, Options, limits, privileges, reload};
use crate::check::{self, Servers};
use crate::live::Live;
use crate::logs;
use crate::plan::{self, Global, Origin, Plan};
use crate::rebalance;
use crate::record::Record;
use crate::resolve::{self, Addresses};
use crate::runtime::Context;
use crate::stats::Process;
use crate::tls::Keyring;
use crate::worker::{Log, Settings, Workers};

/// Requests for statistics that may wait.
const VISITS_MAX: usize = 256;
/// Day of this version, as `show info` says it.
const RELEASED: &str = "2026/11/21";
/// Wishes of operators that may wait.
const WISHES_MAX: usize = 16;

/// Runs the proxy until it is told to stop.
///
/// # Errors
/// It could not start.
pub fn run(options: Options) -> Result<(), DaemonError> {
    let (plan, warnings) = reload::read(&options)?;
    for warning in &warnings {
        tracing::warn!(warning, "configuration was accepted with a warning");
    }
    limits::raise(&plan)?;
    let addresses = match resolve::look_up_all(&plan) {
        Err(_) if options.allow_unresolved => Addresses::default(),
        looked_up => looked_up?,
    };
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(DaemonError::system("no event loop"))?;
    // Everything that needs root, then root no more, then threads.
    let entered = runtime.enter();
    let bound = Bound::open(&options, &plan)?;
    drop(entered);
    privileges::drop_to(plan.global.user.as_deref(), plan.global.group.as_deref())?;
    name_process(plan.global.origin);
    runtime.block_on(async { start(options, plan, bound, &addresses)?.serve().await })
}

/// What had to be opened before anything else.
struct Bound {
    sockets: Sockets,
    keyring: Keyring,
    doors: doors::Bound,
    control: Option<ControlSocket>,
    pid_file: Option<PathBuf>,
}

impl Bound {
    fn open(options: &Options, plan: &Plan) -> Result<Self, DaemonError> {
        let keyring = reload::keyring(plan, None)?;
        let sockets = Sockets::default().for_plan(plan).map_err(DaemonError::Listen)?;
        let doors = doors::bind(&plan.global)?;
        let pid_file = options.pid_file.clone().or_else(|| plan.global.pid_file.clone());
        if let Some(path) = &pid_file {
            write_pid(path)?;
        }
        Ok(Self {
            sockets,
            keyring,
            doors,
            control: control_socket(options, &plan.global)?,
            pid_file,
        })
    }
}

/// Under a haproxy.cfg several proxies on one host are ordinary: all but the first have no control socket of the usual
/// name, and those who want to speak to them give each its own runtime directory.
fn control_socket(options: &Options, global: &Global) -> Result<Option<ControlSocket>, DaemonError> {
    let bind = || -> Result<ControlSocket, DaemonError> {
        let directory = runtime_dir::for_daemon(options.runtime_dir.as_deref())?;
        let group = nix::unistd::getegid().as_raw();
        Ok(ControlSocket::bind(
            &directory.join(warren_api::proxy::SOCKET),
            Some(group),
        )?)
    };
    match bind() {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if global.origin == Origin::Haproxy && options.runtime_dir.is_none() => {
            let level_is_ordinary = matches!(error, DaemonError::Control(BindError::InUse { .. }));
            if level_is_ordinary {
                tracing::info!(%error, "no control socket");
            } else {
                tracing::warn!(%error, "no control socket");
            }
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn write_pid(path: &Path) -> Result<(), DaemonError> {
    std::fs::write(path, format!("{}\n", std::process::id())).map_err(|source| DaemonError::PidFile {
        path: path.to_owned(),
        source,
    })
}

/// `killall -0 haproxy`, `pgrep haproxy` and the scripts of a thousand sites look for that name.
fn name_process(origin: Origin) {
    let name = match origin {
        Origin::Haproxy => c"haproxy",
        Origin::Toml => c"warren",
    };
    if let Err(error) = nix::sys::prctl::set_name(name) {
        tracing::warn!(%error, "the process could not be named");
    }
}

fn start(options: Options, plan: Plan, bound: Bound, addresses: &Addresses) -> Result<Daemon, DaemonError> {
    let live = Arc::new(Live::new(Arc::new(plan)));
    bound.keyring.equip(&live.snapshot());
    let (visits, received) = mpsc::channel(VISITS_MAX);
    let (wishes, wished) = mpsc::channel(WISHES_MAX);
    let (global, dropped) = (live.snapshot().plan.global.clone(), logs::Dropped::default());
    let lost = dropped.clone();
    let workers = Workers::start(
        &live,
        &Settings {
            visits,
            log: Box::new(move |_| Box::new(WorkerLog(logs::Writer::new(&global, lost.clone())))),
        },
    )
    .map_err(DaemonError::system("workers could not be started"))?;
    let servers = Servers::of_process(Arc::clone(&live), workers.clone(), dropped);
    addresses.apply(&servers);
    let context = Context {
        live: Arc::clone(&live),
        process: Arc::new(Process::this(env!("CARGO_PKG_VERSION"), RELEASED)),
        workers: workers.clone(),
        servers: servers.clone(),
    };
    let timeout = live.snapshot().plan.global.socket_timeout;
    let doors = Doors::open(context, timeout, bound.doors);
    let mut daemon = Daemon {
        sockets: bound.sockets,
        keyring: bound.keyring,
        loads: HashMap::new(),
        doors,
        manager: ServiceManager::from_environment().map_err(DaemonError::system("the service manager"))?,
        pid_file: bound.pid_file,
        configured: wall_clock(),
        reload_failure: None,
        stopping: None,
        servers,
        wishes: wished,
        visits: received,
        tasks: JoinSet::new(),
        options,
        live,
        workers,
    };
    daemon.start_tasks(bound.control, wishes)?;
    daemon.listen();
    Ok(daemon)
}

impl Daemon {
    fn start_tasks(
        &mut self,
        control: Option<ControlSocket>,
        wishes: mpsc::Sender<super::control::Wish>,
    ) -> Result<(), DaemonError> {
        let (live, workers) = (&self.live, &self.workers);
        if let Some(control) = control {
            let service = Control {
                live: Arc::clone(live),
                workers: workers.clone(),
                wishes,
            };
            self.tasks
                .spawn(async { socket::serve(control, Limits::default(), service).await });
        }
        self.tasks.spawn(endless(check::run(self.servers.clone())));
        self.tasks.spawn(endless(resolve::run(self.servers.clone())));
        self.tasks
            .spawn(endless(rebalance::run(Arc::clone(live), workers.clone())));
        Ok(())
    }
}

/// What a worker logs, on its own thread.
struct WorkerLog(logs::Writer);

impl Log for WorkerLog {
    fn record(&mut self, frontend: &plan::Frontend, record: &Record<'_>) {
        self.0.session(&frontend.log, record);
    }

    fn flush(&mut self) {
        self.0.flush();
    }
}

/// What ends only with the process.
async fn endless(task: impl Future<Output = ()>) -> std::io::Result<()> {
    task.await;
    Ok(())
}
