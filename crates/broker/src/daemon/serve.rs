//! From a plan to a broker that serves, and its end.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval};
use warren_api::broker::SOCKET;
use warren_cluster::{Member, RecoveryProgress};
use warren_kit::control::ControlSocket;
use warren_kit::systemd::ServiceManager;

use super::certificates::Watch;
use super::{DaemonError, Options, cookie, data, definitions, listeners, recovery};
use crate::about::About;
use crate::control;
use crate::metrics;
use crate::node::Node;
use crate::plan::{Listener, Plan};
use crate::server::{self, Door};
use crate::tls;

/// What the service manager grants a stop beyond that: for the log to be closed.
const LOG_CLOSES_WITHIN: Duration = Duration::from_secs(20);

/// Of the time that a stop may take, clients have so much to hear what became of their messages; the rest is for the
/// goodbye.
const FINISH_PART: u32 = 2;

/// Starts, serves until it is told to stop, and stops. What it gives is dropped last: that closes the log.
pub(super) async fn start_and_serve(
    options: &Options,
    plan: Plan,
    runtime_dir: &Path,
) -> Result<Arc<Node>, DaemonError> {
    let manager = ServiceManager::from_environment().map_err(DaemonError::system("the service manager"))?;
    let mut signals = Signals::listen().map_err(DaemonError::system("signals cannot be waited for"))?;
    data::create(&plan.data)?;
    let socket = ControlSocket::bind(&runtime_dir.join(SOCKET), None)?;
    let home = options.home.as_ref().unwrap_or(&plan.data);
    // Nobody asks for it while the node is alone.
    let _ = cookie::take(&home.join(cookie::FILE), options.environment.cookie.as_ref())?;
    // Before anything that takes time.
    let watch = Watch::new(&plan);
    let tls = plan.tls.as_ref().map(|tls| tls::load(tls, None)).transpose()?;
    let node = open(&plan, &manager)?;
    let definitions = definitions::read(&node, plan.definitions.as_deref())?;
    definitions.into_iter().for_each(|file| file.add(&node));
    node.name_cluster(plan.cluster_name.as_deref());
    let mut daemon = Daemon {
        node,
        manager,
        tls,
        watch,
        listening: Vec::new(),
        options: options.clone(),
        operators: JoinSet::new(),
        about: Arc::new(About {
            data_directory: Some(plan.data.clone()),
            config_files: options.files.clone(),
            log_files: vec![options.log.clone()],
            certificates: plan.tls.as_ref().map(tls::shown).unwrap_or_default().into(),
            ..About::default()
        }),
        plan,
    };
    daemon.listen()?;
    daemon.answer_operators(socket);
    if let Some(address) = daemon.plan.metrics {
        daemon.serve_metrics(address)?;
    }
    daemon.ready();
    daemon.serve(&mut signals).await?;
    Ok(daemon.stop(&mut signals).await)
}

/// Everything that was kept is there again when this returns.
fn open(plan: &Plan, manager: &ServiceManager) -> Result<Arc<Node>, DaemonError> {
    let started = Instant::now();
    let (name, settings) = (plan.node.clone(), plan.settings.clone());
    let progress = Arc::<RecoveryProgress>::default();
    let (node, recovered) = recovery::watched(&progress, manager, || {
        let member = Member::alone_telling(&plan.data, plan.durability, &progress)?;
        Node::open(name, settings, member)
    })?;
    tracing::info!(
        data = %plan.data.display(),
        starts = recovered.incarnation,
        messages = recovered.messages(),
        elapsed_ms = millis(started),
        "data directory opened"
    );
    data::compare_name(&plan.data, &plan.node, recovered.incarnation == 1);
    Ok(node)
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    /// Nobody waits for them: unheard they would end the process without a word.
    _unheard: [Signal; 3],
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            _unheard: [
                signal(SignalKind::user_defined1())?,
                signal(SignalKind::user_defined2())?,
                // A file would be larger than a limit of the system; who writes hears of that.
                signal(SignalKind::from_raw(nix::sys::signal::Signal::SIGXFSZ as i32))?,
            ],
        })
    }

    /// Somebody wants the end.
    async fn stop(terminate: &mut Signal, interrupt: &mut Signal) {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}

/// What the loop owns.
pub(super) struct Daemon {
    pub(super) options: Options,
    pub(super) plan: Plan,
    pub(super) node: Arc<Node>,
    pub(super) manager: ServiceManager,
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) watch: Watch,
    pub(super) listening: Vec<Listening>,
    /// What answers operators: the control socket.
    operators: JoinSet<()>,
    pub(super) about: Arc<About>,
}

/// A listener that is open, or accepts. It ends when it is dropped.
pub(super) struct Listening {
    pub(super) listener: Listener,
    door: Arc<Door>,
    /// Where it listens: which port the system has chosen, for example.
    bound: SocketAddr,
    /// Opened, and nobody takes clients from it yet.
    socket: Option<TcpListener>,
    /// The same socket, as long as it is open.
    handle: Option<OwnedFd>,
    accepting: JoinSet<()>,
}

impl Listening {
    /// `leaving`: those that will be closed then.
    pub(super) fn open(
        listener: &Listener,
        plan: &Plan,
        tls: Option<&Arc<ServerConfig>>,
        leaving: &[&OwnedFd],
    ) -> Result<Self, DaemonError> {
        let tls = tls.filter(|_| listener.tls);
        let (socket, handle, bound) = open_socket(listener.address, leaving)?;
        Ok(Self {
            listener: listener.clone(),
            door: Arc::new(Door {
                proxies: ArcSwap::from_pointee(plan.proxies.clone()),
                tls: tls.map(|config| ArcSwap::new(Arc::clone(config))),
            }),
            bound,
            socket: Some(socket),
            handle: Some(handle),
            accepting: JoinSet::new(),
        })
    }

    /// Nobody comes in by it any more.
    async fn close(&mut self) {
        self.drop_socket();
        self.accepting.shutdown().await;
    }

    fn drop_socket(&mut self) {
        self.socket = None;
        self.handle = None;
    }

    /// Its socket, if it is open.
    pub(super) const fn handle(&self) -> Option<&OwnedFd> {
        self.handle.as_ref()
    }

    /// Opens it again, if it is closed.
    fn reopen(&mut self) -> Result<(), DaemonError> {
        if self.socket.is_none() && self.accepting.is_empty() {
            let (socket, handle, _) = open_socket(self.bound, &[])?;
            (self.socket, self.handle) = (Some(socket), Some(handle));
        }
        Ok(())
    }

    /// What it asks of those who come from now on.
    pub(super) fn change(&self, plan: &Plan, tls: Option<&Arc<ServerConfig>>) {
        self.door.proxies.store(Arc::new(plan.proxies.clone()));
        if let (Some(mine), Some(tls)) = (&self.door.tls, tls) {
            mine.store(Arc::clone(tls));
        }
    }
}

impl Daemon {
    fn listen(&mut self) -> Result<(), DaemonError> {
        for listener in self.plan.listeners.clone() {
            let listening = Listening::open(&listener, &self.plan, self.tls.as_ref(), &[])?;
            self.add(listening);
        }
        Ok(())
    }

    /// One more listener. While clients may not come in it is closed again.
    pub(super) fn add(&mut self, mut listening: Listening) {
        let tls = listening.listener.tls;
        self.about
            .listens(listening.bound, if tls { "amqp/ssl" } else { "amqp" });
        match self.node.gate.is_open() {
            true => self.accept(&mut listening),
            false => listening.drop_socket(),
        }
        self.listening.push(listening);
    }

    /// Those that are not wanted any more are closed.
    pub(super) fn keep(&mut self, wanted: &[Listener]) {
        let about = Arc::clone(&self.about);
        self.listening.retain(|known| {
            let kept = wanted.contains(&known.listener);
            if !kept {
                about.listens_no_more(known.bound);
            }
            kept
        });
    }

    fn accept(&self, listening: &mut Listening) {
        if let Some(socket) = listening.socket.take() {
            tracing::info!(address = %listening.bound, tls = listening.listener.tls, "listening");
            let (node, door) = (Arc::clone(&self.node), Arc::clone(&listening.door));
            listening.accepting.spawn(server::serve_door(node, socket, door));
        }
    }

    /// Opens or closes the listeners, as an operator wants it.
    async fn open_or_close(&mut self, open: bool) {
        let mut all = std::mem::take(&mut self.listening);
        let done = match open {
            true => all.iter_mut().try_for_each(Listening::reopen),
            false => {
                for listening in &mut all {
                    listening.close().await;
                }
                Ok(())
            }
        };
        if open && done.is_ok() {
            all.iter_mut().for_each(|listening| self.accept(listening));
        }
        self.listening = all;
        self.node
            .gate
            .report(done.map(|()| open).map_err(|error| error.to_string()));
    }

    fn serve_metrics(&mut self, address: SocketAddr) -> Result<(), DaemonError> {
        let failed = |source| DaemonError::Metrics { address, source };
        let listener = listeners::listen(address, &[]).map_err(|error| failed(error.source))?;
        let listener = listener.into_std().map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        tracing::info!(%address, "serving metrics");
        self.about.listens(address, "http/prometheus");
        let (node, about) = (Arc::clone(&self.node), Arc::clone(&self.about));
        self.operators.spawn(async move {
            if let Err(error) = metrics::serve(node, about, listener).await {
                tracing::error!(%error, "metrics are not served any more: restart the broker to have them served");
            }
        });
        Ok(())
    }

    fn answer_operators(&mut self, socket: ControlSocket) {
        let (node, about) = (Arc::clone(&self.node), Arc::clone(&self.about));
        self.operators.spawn(async move {
            if let Err(error) = control::serve(node, about, socket).await {
                tracing::error!(%error, "operators are not answered any more: restart the broker to have them answered");
            }
        });
    }

    fn ready(&self) {
        // A service manager that does not listen is no reason not to serve.
        let _ = self.manager.ready(&self.in_a_line());
        tracing::info!(node = %self.node.name, data = %self.plan.data.display(), "ready");
    }

    /// For `systemctl status`.
    pub(super) fn in_a_line(&self) -> String {
        format!(
            "{} serves {} connections",
            self.node.name,
            self.node.registry.count()
        )
    }

    async fn serve(&mut self, signals: &mut Signals) -> Result<(), DaemonError> {
        let watchdog = self.manager.watchdog().filter(|most| !most.is_zero());
        let mut watchdog = watchdog.map(|most| tokio::time::interval(most / 2));
        let mut failure = self.node.failure();
        let mut wishes = self.node.gate.wishes();
        loop {
            let look = self.looks_at_certificates();
            tokio::select! {
                () = Signals::stop(&mut signals.terminate, &mut signals.interrupt) => return Ok(()),
                _ = signals.hangup.recv() => self.reload(),
                Ok(()) = wishes.changed() => {
                    let open = *wishes.borrow_and_update();
                    self.open_or_close(open).await;
                }
                failed = failed(&mut failure) => return Err(DaemonError::Disk(failed)),
                () = fed(&mut watchdog) => {
                    let _ = self.manager.alive();
                }
                () = at(look) => self.look_after_certificates(),
            }
        }
    }

    /// Nobody comes in any more; clients hear what became of their messages, then that the broker goes.
    async fn stop(mut self, signals: &mut Signals) -> Arc<Node> {
        let started = Instant::now();
        let within = self.plan.stop_within;
        let _ = self.manager.stopping();
        let _ = self.manager.takes("stopping", within + LOG_CLOSES_WITHIN);
        tracing::info!(connections = self.node.registry.count(), "stopping");
        self.listening.clear();
        self.node.registry.stop();
        let gone = tokio::select! {
            gone = tokio::time::timeout(within / FINISH_PART, self.node.registry.none()) => gone.is_ok(),
            () = Signals::stop(&mut signals.terminate, &mut signals.interrupt) => false,
        };
        if !gone {
            self.node.registry.stop();
            let left = within.saturating_sub(started.elapsed());
            tokio::select! {
                _ = tokio::time::timeout(left, self.node.registry.none()) => {}
                () = Signals::stop(&mut signals.terminate, &mut signals.interrupt) => {}
            }
        }
        let left = self.node.registry.count();
        if left > 0 {
            tracing::warn!(connections = left, "connections were cut at the end");
        }
        self.node.stop();
        tracing::info!(elapsed_ms = millis(started), "stopped");
        self.node
    }
}

/// A socket, itself once more, and where it is.
fn open_socket(
    address: SocketAddr,
    leaving: &[&OwnedFd],
) -> Result<(TcpListener, OwnedFd, SocketAddr), DaemonError> {
    let failed = |source| listeners::ListenError { address, source };
    let socket = listeners::listen(address, leaving)?;
    let handle = socket.as_fd().try_clone_to_owned().map_err(failed)?;
    let bound = socket.local_addr().map_err(failed)?;
    Ok((socket, handle, bound))
}

/// Waits until the watchdog is to be fed, if there is one.
async fn fed(watchdog: &mut Option<Interval>) {
    match watchdog {
        Some(watchdog) => drop(watchdog.tick().await),
        None => std::future::pending().await,
    }
}

/// Waits until then, if it is ever.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Waits until nothing can be written any more, and says why.
async fn failed(failure: &mut watch::Receiver<Option<String>>) -> String {
    match failure.wait_for(Option::is_some).await {
        Ok(why) => why.clone().unwrap_or_default(),
        // Without a log nothing fails.
        Err(_) => std::future::pending().await,
    }
}
