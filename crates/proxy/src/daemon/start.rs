//! From the command line to a proxy that serves.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use warren_kit::clock::wall_clock;
use warren_kit::control::{self as socket, BindError, Closing, ControlSocket, Limits};
use warren_kit::metrics;
use warren_kit::runtime_dir;
use warren_kit::systemd::ServiceManager;
use warren_kit::threads;

use super::control::{Control, Wish};
use super::doors::Doors;
use super::listeners::Sockets;
use super::serve::{ControlDoor, Daemon};
use super::takeover::{self, Door};
use super::{DaemonError, Options, limits, privileges, reload};
use crate::check::{self, Servers};
use crate::handover::Inherited;
use crate::live::Live;
use crate::logs;
use crate::plan::{Global, Origin, Plan};
use crate::rebalance;
use crate::resolve::{self, Addresses};
use crate::runtime::Context;
use crate::stats::{EXPOSITION, Former, Process, Site};
use crate::tls::Keyring;
use crate::worker::{Command, Log, Settings, Workers};

/// Requests for statistics that may wait.
const VISITS_MAX: usize = 256;
/// Day of this version, as `show info` says it.
const RELEASED: &str = "2026/11/21";
/// Threads beside the workers that may be needed at the same time: for names, files and hatop.
const THREADS_BESIDE: usize = 4;
/// Wishes of operators that may wait.
const WISHES_MAX: usize = 16;
/// News of successors that may wait.
const NEWS_MAX: usize = 4;

/// Runs the proxy until it is told to stop.
///
/// # Errors
/// It could not start.
pub fn run(options: Options) -> Result<(), DaemonError> {
    let (plan, warnings) = reload::read(&options)?;
    for warning in &warnings {
        tracing::warn!(warning, "configuration was accepted with a warning");
    }
    // haproxy's own rule; a warren.toml may be filled later.
    if plan.global.origin == Origin::Haproxy && !plan.listens() {
        return Err(DaemonError::NoListener);
    }
    limits::raise(&plan)?;
    threads::can_be_started(plan.global.threads.get() + THREADS_BESIDE)?;
    let addresses = match resolve::look_up_all(&plan) {
        Err(_) if options.allow_unresolved => Addresses::default(),
        looked_up => looked_up?,
    };
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(DaemonError::system("no event loop"))?;
    name_process(plan.global.origin);
    runtime.block_on(async {
        let inherited = takeover::from_any(&options.former)?;
        let bound = Bound::open(&options, &plan, inherited)?;
        start(options, plan, bound, &addresses)?.serve().await
    })
}

/// What a former process must not be bothered without.
struct Bound {
    sockets: Sockets,
    /// All that the former process had.
    former: Sockets,
    keyring: Keyring,
    inherited: Option<Inherited>,
}

impl Bound {
    fn open(options: &Options, plan: &Plan, mut inherited: Option<Inherited>) -> Result<Self, DaemonError> {
        let keyring = reload::keyring(plan, None)?;
        let former = inherited
            .as_mut()
            .map(|inherited| std::mem::take(&mut inherited.sockets));
        let former = Sockets::inherited(former.unwrap_or_default());
        let sockets =
            takeover::patiently(&options.former, || former.for_plan(plan)).map_err(DaemonError::Listen)?;
        Ok(Self {
            sockets,
            former,
            keyring,
            inherited,
        })
    }
}

/// Under a haproxy.cfg several proxies on one host are ordinary: all but the first have no control socket of the usual
/// name, and those who want to speak to them give each its own runtime directory.
fn control_socket(
    options: &Options,
    global: &Global,
    took_over: bool,
    inherited: Option<(&Path, &OwnedFd)>,
) -> Result<Option<ControlSocket>, DaemonError> {
    let bind = || -> Result<ControlSocket, DaemonError> {
        let path = match (inherited, &options.runtime_dir) {
            // Another user's place would be another one.
            (Some((path, _)), None) => path.to_owned(),
            (_, flag) => runtime_dir::for_daemon(flag.as_deref())?.join(warren_api::proxy::SOCKET),
        };
        let group = Some(nix::unistd::getegid().as_raw());
        Ok(match took_over {
            true => ControlSocket::bind_over(&path, group)?,
            false => ControlSocket::bind(&path, group)?,
        })
    };
    // Who is not root any more may not make a socket where root has made one.
    let bound = bind().or_else(|error| {
        let taken = inherited
            .and_then(|(path, socket)| ControlSocket::inherited(socket.try_clone().ok()?, path).ok());
        taken.ok_or(error)
    });
    match bound {
        Ok(socket) => Ok(Some(socket)),
        Err(error @ DaemonError::Control(BindError::InUse { .. }))
            if global.origin == Origin::Haproxy && options.runtime_dir.is_none() =>
        {
            tracing::info!(%error, "no control socket");
            Ok(None)
        }
        Err(error) if took_over || global.origin == Origin::Haproxy => {
            tracing::warn!(%error, "no control socket");
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
    let Bound {
        sockets,
        former,
        keyring,
        inherited,
    } = bound;
    let plan = Arc::new(plan);
    let live = Arc::new(match &inherited {
        Some(inherited) => inherited.live(Arc::clone(&plan)),
        None => Live::new(Arc::clone(&plan)),
    });
    keyring.equip(&live.snapshot());
    let (visits, received) = mpsc::channel(VISITS_MAX);
    let (wishes, wished) = mpsc::channel(WISHES_MAX);
    let (news, heard) = mpsc::channel(NEWS_MAX);
    let dropped = logs::Dropped::default();
    let (global, lost) = (plan.global.clone(), dropped.clone());
    let log = move |_| -> Box<dyn Log> { Box::new(logs::Writer::new(&global, lost.clone())) };
    let settings = Settings {
        visits,
        log: Box::new(log),
    };
    let workers =
        Workers::start(&live, &settings).map_err(DaemonError::system("workers could not be started"))?;
    let servers = Servers::of_process(Arc::clone(&live), workers.clone(), dropped.clone());
    addresses.apply(&servers);
    // Who takes over from another process knows better than any file.
    if inherited.is_none()
        && let Err(error) = crate::server_state::load(&servers)
    {
        tracing::warn!(%error, "server state");
    }
    let mut process = Process::this(env!("CARGO_PKG_VERSION"), RELEASED);
    process.dropped_logs = dropped;
    if let Some(inherited) = &inherited {
        process.started = wall_clock() - inherited.age();
    }
    let context = Context {
        live: Arc::clone(&live),
        process: Arc::new(process),
        workers: workers.clone(),
        servers: servers.clone(),
    };
    let manager = ServiceManager::from_environment().map_err(DaemonError::system("the service manager"))?;
    let took_over = inherited.is_some();
    let site = Site::new(context.clone());
    let mut daemon = Daemon {
        sockets,
        keyring,
        loads: HashMap::new(),
        control: None,
        doors: Doors::new(context, plan.global.socket_timeout),
        manager,
        pid_file: options.pid_file.clone().or_else(|| plan.global.pid_file.clone()),
        configured: wall_clock(),
        reload_failure: None,
        stopping: None,
        upgrade: None,
        retired: None,
        door: None,
        news,
        heard,
        servers,
        wishes: wished,
        visits: received,
        site,
        tasks: JoinSet::new(),
        options,
        live,
        workers,
    };
    let confirm = match &inherited {
        Some(inherited) => daemon.adopt(inherited)?,
        None => false,
    };
    // First, for it makes the directory that stats sockets may be in, too.
    let old = former.named(warren_api::proxy::SOCKET, &daemon.sockets);
    let control = control_socket(&daemon.options, &plan.global, took_over, old)?;
    // From here on a former process has let go: what fails is a pity, and no reason to leave its clients alone.
    let opened = daemon.open_doors(&plan.global, &former);
    match opened {
        Err(error) if took_over => tracing::error!(%error, "not everything could be opened"),
        opened => opened?,
    }
    daemon.serve_metrics(&plan.global, took_over)?;
    let (closing, closed) = mpsc::channel(1);
    daemon.control = control.as_ref().and_then(|control| {
        Some(ControlDoor {
            path: control.path().to_owned(),
            socket: control.share().ok()?,
            closing,
        })
    });
    // Whoever asks something from now on asks here: the former process may say that it is done.
    if let Some(inherited) = inherited.filter(|_| confirm)
        && let Err(error) = inherited.confirm()
    {
        tracing::error!(%error, "the former process has not heard that its sessions are here");
    }
    privileges::drop_to(
        plan.global.user.as_deref(),
        plan.global.group.as_deref(),
        daemon.pid_file.as_deref(),
    )?;
    daemon.start_tasks(control.map(|control| (control, closed)), wishes);
    // Last, so that whoever is served finds the sockets there, and nobody is served by root who should not be.
    if !took_over {
        daemon.listen();
    }
    Ok(daemon)
}

impl Daemon {
    /// Takes over the sessions of a former process. Says whether it waits to hear that all is well.
    fn adopt(&mut self, inherited: &Inherited) -> Result<bool, DaemonError> {
        let listeners = self.listeners();
        let mut accepted = false;
        let accept = || {
            accepted = true;
            self.workers
                .broadcast(&Command::Listen(Arc::new(listeners.clone())));
        };
        let adopted = inherited.adopt(&self.live, &self.workers, &listeners, accept);
        let all = adopted.is_ok();
        match adopted {
            Ok(adopted) => {
                tracing::info!(
                    sessions = adopted.sessions,
                    refused = adopted.refused,
                    left = adopted.left,
                    "took over"
                );
                if let Some(former) = Former::new(adopted.pid, adopted.left) {
                    // The first one is the one: nobody takes over twice.
                    let _ = self.doors.context().process.former.set(former);
                }
            }
            // The former process has let go already: somebody has to serve.
            Err(error) if accepted => tracing::error!(%error, "not all sessions were taken over"),
            Err(error) => return Err(error.into()),
        }
        for former in self.options.former.iter().filter(|former| former.end) {
            takeover::signal(*former);
        }
        Ok(all)
    }

    fn open_doors(&mut self, global: &Global, former: &Sockets) -> Result<(), DaemonError> {
        let door = Door::open().map_err(DaemonError::system("successors cannot be heard"))?;
        self.door = Some(door);
        if let Some(path) = &self.pid_file {
            write_pid(path)?;
        }
        let bound = self.doors.additions(global, former)?;
        self.doors.change(global, bound);
        Ok(())
    }

    /// Prometheus has an address of its own if the configuration says so.
    fn serve_metrics(&mut self, global: &Global, took_over: bool) -> Result<(), DaemonError> {
        let Some(address) = global.metrics else {
            return Ok(());
        };
        let listener = match std::net::TcpListener::bind(address) {
            Ok(listener) => Some(listener),
            // A former process is about to let go.
            Err(_) if took_over => None,
            Err(source) => return Err(DaemonError::Metrics { address, source }),
        };
        let site = Arc::clone(&self.site);
        self.tasks.spawn(async move {
            let listener = match listener {
                Some(listener) => listener,
                None => bind_soon(address).await?,
            };
            let text = move || std::future::ready(site.exposition());
            metrics::serve_as(EXPOSITION, listener, metrics::Timeouts::default(), text).await
        });
        Ok(())
    }

    fn start_tasks(
        &mut self,
        control: Option<(ControlSocket, mpsc::Receiver<Closing>)>,
        wishes: mpsc::Sender<Wish>,
    ) {
        if let Some((control, closed)) = control {
            let service = Control {
                live: Arc::clone(&self.live),
                workers: self.workers.clone(),
                wishes,
            };
            self.tasks
                .spawn(socket::serve_until(closed, control, Limits::default(), service));
        }
        let site = Arc::clone(&self.site);
        self.tasks.spawn(endless(async move { site.keep().await }));
        self.tasks.spawn(endless(check::run(self.servers.clone())));
        self.tasks.spawn(endless(resolve::run(self.servers.clone())));
        self.tasks.spawn(endless(rebalance::run(
            Arc::clone(&self.live),
            self.workers.clone(),
            self.servers.reloads(),
        )));
    }
}

/// Tries until whoever has the address lets go of it.
async fn bind_soon(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    const PAUSE: Duration = Duration::from_millis(50);
    const ATTEMPTS: u32 = 100;
    for _ in 1..ATTEMPTS {
        if let Ok(listener) = std::net::TcpListener::bind(address) {
            return Ok(listener);
        }
        tokio::time::sleep(PAUSE).await;
    }
    std::net::TcpListener::bind(address)
}

/// What ends only with the process.
async fn endless(task: impl Future<Output = ()>) -> std::io::Result<()> {
    task.await;
    Ok(())
}
