//! The daemon's loop: everything that can happen to the process as a whole, one thing at a time.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use warren_api::proxy::{Reply, Request, refusal};
use warren_kit::control::Closing;
use warren_kit::systemd::ServiceManager;

use super::control::{Wish, refused};
use super::doors::Doors;
use super::listeners::Sockets;
use super::stop::{CLOSE_WITHIN, Request as Stop, Stopping};
use super::takeover::Door;
use super::upgrade::{News, Upgrade};
use super::{DaemonError, Options, answers};
use crate::check::Servers;
use crate::live::{Backend, Gauge, Live, Server, Snapshot};
use crate::plan::{BindAddress, Mode, SocketLevel};
use crate::record::Cause;
use crate::runtime::{self, Context};
use crate::stats::Site;
use crate::tls::Keyring;
use crate::worker::{Command, End, Ending, Scope, Visit, Workers};

/// How often the end is looked for once it has begun.
const TICK: Duration = Duration::from_millis(250);
/// The watchdog is fed so many times in the time that it allows.
const FEEDINGS: u32 = 3;
/// How often files of certificates are looked at.
const FILES: Duration = Duration::from_secs(3);
/// How long an operator waits for connections to be moved.
const REBALANCE_WITHIN: Duration = Duration::from_secs(30);

/// What the control thread owns.
pub(super) struct Daemon {
    pub(super) options: Options,
    pub(super) live: Arc<Live>,
    pub(super) workers: Workers,
    pub(super) sockets: Sockets,
    pub(super) keyring: Keyring,
    /// Clients of each listener; they outlive a reload.
    pub(super) loads: HashMap<BindAddress, Arc<Gauge>>,
    pub(super) control: Option<ControlDoor>,
    /// The stats sockets.
    pub(super) doors: Doors,
    pub(super) manager: ServiceManager,
    pub(super) pid_file: Option<PathBuf>,
    pub(super) configured: SystemTime,
    pub(super) reload_failure: Option<String>,
    pub(super) stopping: Option<Stopping>,
    /// A successor that was started or is taking.
    pub(super) upgrade: Option<Upgrade>,
    /// A successor serves; from then on only sessions are left here.
    pub(super) retired: Option<Instant>,
    /// Where successors knock.
    pub(super) door: Option<Door>,
    pub(super) news: mpsc::Sender<News>,
    pub(super) heard: mpsc::Receiver<News>,
    /// Where health changes; checks and names hear of another configuration from it.
    pub(super) servers: Servers,
    pub(super) wishes: mpsc::Receiver<Wish>,
    pub(super) visits: mpsc::Receiver<Visit>,
    /// What they are shown.
    pub(super) site: Arc<Site>,
    /// Checks, names, control socket: what runs beside the loop and ends with it.
    pub(super) tasks: JoinSet<io::Result<()>>,
}

/// The control socket as a successor needs it.
pub(super) struct ControlDoor {
    pub(super) path: PathBuf,
    pub(super) socket: OwnedFd,
    pub(super) closing: mpsc::Sender<Closing>,
}

struct Signals {
    hangup: Signal,
    user1: Signal,
    user2: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

impl Daemon {
    /// Serves until it is told to stop and has.
    pub(super) async fn serve(mut self) -> Result<(), DaemonError> {
        let mut signals = Signals::listen().map_err(DaemonError::system("signals cannot be waited for"))?;
        let mut looked = Instant::now();
        let mut files = tokio::time::interval(FILES);
        files.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut lost = self.options.addresses_lost.take();
        self.ready();
        while !self.is_over() {
            let next_look = self.next_look(looked);
            tokio::select! {
                // haproxy's master reads its configuration again on SIGUSR2, everybody else on SIGHUP.
                _ = signals.hangup.recv() => drop(self.reload_announced()),
                _ = signals.user2.recv() => drop(self.reload_announced()),
                _ = signals.user1.recv() => self.stop(Stop::Finish),
                _ = signals.terminate.recv() => self.stop(Stop::Terminate),
                _ = signals.interrupt.recv() => self.stop(Stop::Terminate),
                Some(wish) = self.wishes.recv() => self.grant(wish),
                Some(visit) = self.visits.recv() => self.receive(visit),
                Some(news) = self.heard.recv() => self.hear(news),
                (socket, pid) = knock(self.door.as_mut()) => self.give(socket, pid),
                Some(address) = next(&mut lost) => self.lost(address),
                Some(ended) = self.tasks.join_next() => report(ended),
                () = sleep_until(next_look) => {
                    looked = Instant::now();
                    self.look_around();
                }
                _ = files.tick(), if !self.keyring.is_empty() => self.renew_certificates(),
            }
        }
        if let Some(path) = &self.pid_file {
            // Gone already is as good.
            let _ = std::fs::remove_file(path);
        }
        self.end();
        Ok(())
    }

    fn ready(&self) {
        let status = self.in_a_line();
        // A service manager that does not listen is no reason not to serve.
        let _ = self.manager.ready(&status);
        tracing::info!(status, "ready");
    }

    /// For `systemctl status`: "12 connections, 5 of 6 servers up", and whether what is in force is what is in the file.
    fn in_a_line(&self) -> String {
        let snapshot = self.live.snapshot();
        let servers: Vec<_> = snapshot
            .backends
            .iter()
            .flat_map(|backend| backend.servers().to_vec())
            .collect();
        let up = servers
            .iter()
            .filter(|server| server.state() == warren_balance::health::State::Up)
            .count();
        let refused = match self.reload_failure {
            Some(_) => "; the latest configuration was refused, see the log",
            None => "",
        };
        format!(
            "{} connections, {up} of {} servers up{refused}",
            self.live.connections.now(),
            servers.len()
        )
    }

    fn reload_announced(&mut self) -> Result<Vec<String>, DaemonError> {
        let _ = self.manager.reloading();
        let result = self.reload();
        let _ = self.manager.ready(&self.in_a_line());
        result
    }

    /// When to look around although nothing has happened; `None` is never.
    fn next_look(&self, last: Instant) -> Option<Instant> {
        let ending = self.stopping.is_some() || self.retired.is_some();
        let watchdog = self.manager.watchdog().map(|limit| limit / FEEDINGS);
        let pause = watchdog.into_iter().chain(ending.then_some(TICK)).min()?;
        Some(last + pause)
    }

    fn look_around(&mut self) {
        let _ = self.manager.alive();
        self.end_stragglers();
        if self.retired.is_some_and(|at| at <= Instant::now()) {
            self.retired = None;
            self.door = None;
            self.doors.close();
            self.tasks.abort_all();
        }
    }

    fn receive(&self, visit: Visit) {
        tokio::spawn(Arc::clone(&self.site).serve_visit(visit));
    }

    /// Somebody else has the address now: nothing that is sent from it will be answered.
    fn lost(&self, address: IpAddr) {
        tracing::info!(%address, "address was lost, its sessions are reset");
        self.workers.broadcast(&Command::End(End {
            scope: Scope::Local(address),
            how: Ending::Reset(Cause::Killed),
        }));
    }

    fn grant(&mut self, wish: Wish) {
        let Wish { request, answer } = wish;
        let reply = match request {
            Request::Status {} => Reply::Status(Box::new(self.status())),
            Request::Reload {} => match self.reload_announced() {
                Ok(warnings) => done("the configuration was read again", warnings),
                Err(error) => refused(refusal::BAD_CONFIGURATION, error.to_string()),
            },
            Request::Release { addresses, within_us } => {
                let within = Duration::from(within_us);
                self.release(&addresses, within);
                tokio::spawn(released(self.workers.clone(), addresses, within, answer));
                return;
            }
            Request::Run { command } => {
                let context = self.doors.context().clone();
                tokio::spawn(async move {
                    let text = runtime::run(&context, SocketLevel::Admin, &command).await;
                    // Whoever asked may have gone.
                    let _ = answer.send(Reply::Text { text });
                });
                return;
            }
            Request::Drain { backend, server } => {
                let context = self.doors.context().clone();
                tokio::spawn(async move { answer.send(drain(&context, &backend, &server).await) });
                return;
            }
            Request::Resume { backend, server } => {
                let context = self.doors.context().clone();
                tokio::spawn(async move { answer.send(resume(&context, &backend, &server).await) });
                return;
            }
            Request::Rebalance { backend } => {
                let context = self.doors.context().clone();
                tokio::spawn(async move { answer.send(rebalance(&context, backend.as_deref()).await) });
                return;
            }
            Request::Upgrade {} => return self.upgrade(answer),
            Request::Ready { .. } | Request::Sessions {} => refused(
                refusal::BAD_REQUEST,
                "this is answered without the daemon's loop".into(),
            ),
        };
        let _ = answer.send(reply);
    }

    fn status(&self) -> warren_api::proxy::Status {
        let files: Vec<String> = self
            .options
            .files
            .iter()
            .map(|file| file.display().to_string())
            .collect();
        warren_api::proxy::Status {
            config: files.join(" "),
            configured: self.configured.into(),
            reload_failure: self.reload_failure.clone(),
            stopping: self.stopping.is_some(),
            former: self
                .doors
                .context()
                .process
                .former()
                .map(|former| warren_api::proxy::FormerProcess {
                    pid: former.pid,
                    sessions: former.sessions,
                }),
            ..answers::status(&self.live)
        }
    }

    fn release(&self, addresses: &[IpAddr], within: Duration) {
        let rate = self.live.snapshot().plan.global.drain_rate;
        for address in addresses {
            self.workers.broadcast(&Command::End(End {
                scope: Scope::Local(*address),
                how: Ending::Politely {
                    cause: Cause::Killed,
                    // Half of the time to begin, half of it for answers.
                    deadline: within / 2,
                    rate,
                    within: Some(within / 2),
                },
            }));
        }
    }
}

/// No new connections for a server, and an end to those it has.
async fn drain(context: &Context, backend: &str, server: &str) -> Reply {
    let command = format!("set server {backend}/{server} state drain");
    let said = runtime::run(context, SocketLevel::Admin, &command).await;
    let snapshot = context.live.snapshot();
    let Some(target) = find(&snapshot, backend, server) else {
        return no_server(backend, server, &said);
    };
    context.workers.broadcast(&Command::End(End {
        scope: Scope::Server(Arc::clone(&target)),
        how: Ending::Politely {
            cause: Cause::Killed,
            deadline: CLOSE_WITHIN,
            rate: snapshot.plan.global.drain_rate,
            within: None,
        },
    }));
    let sessions = target.sessions.now();
    done(
        &format!("{backend}/{server} gets no new connections; its {sessions} sessions are being ended"),
        Vec::new(),
    )
}

async fn resume(context: &Context, backend: &str, server: &str) -> Reply {
    let command = format!("set server {backend}/{server} state ready");
    let said = runtime::run(context, SocketLevel::Admin, &command).await;
    match find(&context.live.snapshot(), backend, server) {
        Some(_) => done(&format!("{backend}/{server} is used again"), Vec::new()),
        None => no_server(backend, server, &said),
    }
}

/// In all backends whose connections can be moved, or in the one named.
async fn rebalance(context: &Context, named: Option<&str>) -> Reply {
    let snapshot = context.live.snapshot();
    let is_meant = |backend: &&Arc<Backend>| {
        let is_named = named.is_none_or(|name| *backend.name == *name);
        is_named && backend.plan().mode == Mode::Amqp
    };
    let meant: Vec<_> = snapshot.backends.iter().filter(is_meant).collect();
    if meant.is_empty() {
        let what = match named {
            Some(name) => format!("{name} is no backend of mode amqp"),
            None => "no backend is of mode amqp".to_owned(),
        };
        let message = format!("{what}: only AMQP clients can be told to connect again");
        return refused(refusal::BAD_REQUEST, message);
    }
    let until = Instant::now() + REBALANCE_WITHIN;
    let mut moved = 0;
    for backend in meant {
        moved += crate::rebalance::now(backend, &context.live, &context.workers, until).await;
    }
    let left = if Instant::now() < until {
        "nothing more can be moved"
    } else {
        "ask again for more"
    };
    done(
        &format!("{moved} clients were told to connect again; {left}"),
        Vec::new(),
    )
}

fn find(snapshot: &Snapshot, backend: &str, server: &str) -> Option<Arc<Server>> {
    snapshot.backend_named(backend)?.server_named(server)
}

/// Waits until no session through the addresses is left, or the time is over.
async fn released(
    workers: Workers,
    addresses: Vec<IpAddr>,
    within: Duration,
    answer: tokio::sync::oneshot::Sender<Reply>,
) {
    let deadline = tokio::time::Instant::now() + within;
    let through = |local: &str| {
        addresses.iter().any(|address| {
            local
                .rsplit_once(':')
                .is_some_and(|(ip, _)| ip.trim_matches(['[', ']']) == address.to_string())
        })
    };
    loop {
        let left = workers
            .sessions()
            .await
            .iter()
            .filter(|session| through(&session.local))
            .count();
        if left == 0 || tokio::time::Instant::now() >= deadline {
            let _ = answer.send(done(&format!("{left} sessions are left"), Vec::new()));
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(super) fn done(message: &str, warnings: Vec<String>) -> Reply {
    Reply::Done {
        message: message.to_owned(),
        warnings,
    }
}

fn no_server(backend: &str, server: &str, said: &str) -> Reply {
    let said = said.trim();
    refused(
        refusal::NO_SUCH_SERVER,
        format!("there is no server {backend}/{server} ({said}); warren proxy status lists them"),
    )
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// The next address, if anybody tells.
async fn next(lost: &mut Option<mpsc::Receiver<IpAddr>>) -> Option<IpAddr> {
    match lost {
        Some(receiver) => receiver.recv().await,
        None => std::future::pending().await,
    }
}

/// The next successor, if any can be heard.
async fn knock(door: Option<&mut Door>) -> (OwnedFd, u32) {
    match door {
        Some(door) => door.knock().await,
        None => std::future::pending().await,
    }
}

fn report(ended: Result<io::Result<()>, tokio::task::JoinError>) {
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "a part of the proxy ended"),
        Err(error) if error.is_cancelled() => {}
        Err(error) => tracing::error!(%error, "a part of the proxy failed"),
    }
}
