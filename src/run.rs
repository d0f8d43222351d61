//! `warren run`: every role that the file has, on this host, for containers and to try things out.
//!
//! ```text
//!   broker ─ready─▶ proxy ─ready─▶ vrrp        start: the address comes when there is something behind it
//!   broker ◀─ended─ proxy ◀─ended─ vrrp        end: it goes before what is behind it does
//! ```
//!
//! Each role is a process of its own with no more privileges than its unit would give it, is started again when it dies or
//! hangs, and says how it is in the words that systemd understands. As the first process of a container this one also takes
//! note of the ends of orphans.
//!
//! Deliberately absent: anything a role does. With systemd there is no need of this; each unit is better by itself.

mod privileges;
mod role;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use parking_lot::Mutex;
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use tokio::time::Instant;
use warren_api::run::{Refused, Reply, Request, SOCKET, Status, refusal};
use warren_kit::clock::wall_clock;
use warren_kit::control::{ControlSocket, Gone, Limits, Peer, Problem, Replies, Service};
use warren_kit::report::{Code, Report};
use warren_kit::systemd::ServiceManager;
use warren_kit::{logging, runtime_dir};

use crate::cli::RunOptions;
use crate::formats;
use role::{Name, Role, State};

pub use role::SUPERVISOR;

/// Statuses with which a process says that it will never start like this: wrong command line, not allowed, wrong
/// configuration.
const HOPELESS: [i32; 3] = [64, 77, 78];

/// Runs the roles until told to stop.
pub fn run(options: &RunOptions) -> Result<ExitCode, Report> {
    let options = options.clone().absolute()?;
    let _flushed_at_the_end = logging::init(&logging::Options::from_environment("warren-run")?)?;
    let names = names(&options)?;
    let runtime_dir = runtime_dir::for_daemon(options.runtime_dir.as_deref())?;
    // Not /proc/self/exe: after an upgrade that is still the old file.
    let program = std::env::current_exe()?;
    // Successors of a role's process become our children.
    prctl::set_child_subreaper(true).map_err(io::Error::from)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let socket = ControlSocket::bind(&runtime_dir.join(SOCKET), None)
            .map_err(|error| Report::new(Code::Runtime, error))?;
        let mut roles = Vec::new();
        for name in names {
            let arguments = options.arguments(name.text(), &runtime_dir);
            roles.push(Role::new(name, &program, arguments, &runtime_dir)?);
        }
        let shown = Arc::new(Mutex::new(Status::default()));
        let answering = tokio::spawn(warren_kit::control::serve(
            socket,
            Limits::default(),
            Control(Arc::clone(&shown)),
        ));
        let mut supervisor = Supervisor {
            roles,
            shown,
            manager: ServiceManager::from_environment()?,
            outcome: None,
            said_ready: false,
        };
        let code = supervisor.supervise().await;
        answering.abort();
        if supervisor.left_addresses() {
            let mut command = Command::new(&program);
            command
                .args(["vrrp", "--clean-up"])
                .args(options.arguments("vrrp", &runtime_dir));
            // It says itself what it cannot do.
            let _ = command.status();
        }
        Ok(code?)
    })
}

/// The roles that the file has. Without a file there is one that needs none.
fn names(options: &RunOptions) -> Result<Vec<Name>, Report> {
    let Some(file) = &options.config else {
        return Ok(vec![Name::Broker]);
    };
    if let Err(error) = std::fs::read_to_string(file) {
        let text = format!("{}: {error}; name the file with --config", file.display());
        return Err(Report::new(Code::Config, text));
    }
    let roles = formats::roles(file);
    let has = [
        (Name::Broker, roles.broker),
        (Name::Proxy, roles.proxy),
        (Name::Vrrp, roles.vrrp),
    ];
    Ok(has
        .into_iter()
        .filter_map(|(name, has)| has.then_some(name))
        .collect())
}

struct Supervisor {
    roles: Vec<Role>,
    shown: Arc<Mutex<Status>>,
    manager: ServiceManager,
    /// Once it is known, everything ends.
    outcome: Option<u8>,
    said_ready: bool,
}

impl Supervisor {
    async fn supervise(&mut self) -> io::Result<ExitCode> {
        let mut ended = signal(SignalKind::child())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        loop {
            if let Some(outcome) = self.advance()? {
                return Ok(outcome.into());
            }
            self.show();
            let deadline = self.roles.iter().filter_map(Role::deadline).min();
            tokio::select! {
                _ = ended.recv() => self.take_ends()?,
                () = somebody_speaks(&self.roles) => self.roles.iter_mut().for_each(Role::listen),
                _ = hangup.recv() => {
                    tracing::info!("reloading every role");
                    self.roles.iter().for_each(|role| role.signal(Signal::SIGHUP));
                }
                () = any(&mut terminate, &mut interrupt) => self.end(0),
                () = due(deadline) => {
                    let now = Instant::now();
                    for role in &mut self.roles {
                        role.act(now)?;
                    }
                }
            }
        }
    }

    /// Starts whoever may start, or ends whoever may end. The outcome is there once all have ended.
    fn advance(&mut self) -> io::Result<Option<u8>> {
        if let Some(outcome) = self.outcome {
            for role in self.roles.iter_mut().rev() {
                role.stop();
                if role.state != State::Ended {
                    return Ok(None);
                }
            }
            return Ok(Some(outcome));
        }
        for role in &mut self.roles {
            if role.state == State::Waiting {
                role.start()?;
            }
            if !role.was_ready {
                return Ok(None);
            }
        }
        if !self.said_ready {
            self.said_ready = true;
            tracing::info!(roles = self.roles.len(), "ready");
            // A service manager that does not listen is no reason not to go on.
            let _ = self.manager.ready(&format!("{} roles", self.roles.len()));
        }
        Ok(None)
    }

    fn end(&mut self, outcome: u8) {
        if self.outcome.is_none() {
            tracing::info!("stopping every role");
            let _ = self.manager.stopping();
            self.outcome = Some(outcome);
        } else {
            // Asked twice: what is still there goes at once.
            self.roles.iter().for_each(|role| role.signal(Signal::SIGKILL));
        }
    }

    /// Takes note of every process that has ended, orphans included.
    fn take_ends(&mut self) -> io::Result<()> {
        loop {
            let (process, how, status) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(process, status)) => {
                    (process, format!("status {status}"), Some(status))
                }
                Ok(WaitStatus::Signaled(process, signal, _)) => (process, format!("signal {signal}"), None),
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(()),
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            // What it said before may be that another is in its place.
            self.roles.iter_mut().for_each(Role::listen);
            let is_stopping = self.outcome.is_some();
            let Some(role) = self.roles.iter_mut().find(|role| role.is(process)) else {
                continue;
            };
            role.has_ended(how, is_stopping);
            let hopeless = status.filter(|status| HOPELESS.contains(status) && !role.was_ready);
            if let (Some(status), false) = (hopeless, is_stopping) {
                tracing::error!(role = role.name.text(), "role cannot start like this");
                self.end(u8::try_from(status).unwrap_or(1));
            }
        }
    }

    fn show(&self) {
        *self.shown.lock() = Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            process: std::process::id(),
            time: wall_clock().into(),
            roles: self.roles.iter().map(Role::shown).collect(),
        };
    }

    /// Whether the failover daemon was there and did not end by itself.
    fn left_addresses(&self) -> bool {
        let vrrp = self.roles.iter().find(|role| role.name == Name::Vrrp);
        vrrp.is_some_and(|role| !["", "status 0"].contains(&role.shown().ended.as_str()))
    }
}

async fn somebody_speaks(roles: &[Role]) {
    let speaks = |index: usize| async move {
        match roles.get(index) {
            Some(role) if role.speaks().await.is_ok() => {}
            _ => std::future::pending().await,
        }
    };
    tokio::select! {
        () = speaks(0) => {}
        () = speaks(1) => {}
        () = speaks(2) => {}
    }
}

async fn any(one: &mut Signals, other: &mut Signals) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

async fn due(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Answers who asks what runs.
struct Control(Arc<Mutex<Status>>);

impl Service for Control {
    type Request = Request;
    type Reply = Reply;

    async fn call(&self, _: Peer, request: Request, replies: &mut Replies<'_, Reply>) -> Result<(), Gone> {
        let reply = match request {
            Request::Status {} => Reply::Status(Status {
                time: wall_clock().into(),
                ..self.0.lock().clone()
            }),
            Request::Reload {} => match kill(Pid::this(), Signal::SIGHUP) {
                Ok(()) => Reply::Done,
                Err(error) => refused(error),
            },
        };
        replies.send(&reply).await
    }

    fn refused(&self, problem: Problem) -> Reply {
        refused(problem)
    }
}

fn refused(why: impl std::fmt::Display) -> Reply {
    Reply::Refused(Refused {
        code: refusal::BAD_REQUEST.to_owned(),
        message: why.to_string(),
    })
}

/// A role that a supervisor started ends with it, however that ends. To be called before there is another thread.
pub fn belong_to_supervisor() {
    let supervisor = std::env::var(SUPERVISOR)
        .ok()
        .and_then(|process| process.parse().ok());
    // Whoever a role starts has inherited the variable, and another parent.
    if supervisor == Some(Pid::parent().as_raw()) {
        // Where it cannot be had, the role stays when the supervisor is killed.
        let _ = prctl::set_pdeathsig(Signal::SIGTERM);
    }
}

/// What follows `warren ROLE`.
impl RunOptions {
    fn arguments(&self, role: &str, runtime_dir: &std::path::Path) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["--runtime-dir".into(), runtime_dir.into()];
        let mut add = |flag: &str, value: Option<OsString>| {
            if let Some(value) = value {
                arguments.extend([flag.into(), value]);
            }
        };
        add("--config", self.config.clone().map(PathBuf::into_os_string));
        add("--host", self.host.clone().map(Into::into));
        if role == "broker" {
            add("--data", self.data.clone().map(PathBuf::into_os_string));
        }
        if role == "vrrp" {
            arguments.extend(["--log-console".into(), "--no-syslog".into()]);
        }
        if self.log_detail {
            arguments.push("--log-detail".into());
        }
        arguments
    }
}
