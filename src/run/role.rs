//! One role under the supervisor: its process, what that says of itself, and when something has to be done about it.

use std::fs::{self, Permissions};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::UnixDatagram;
use tokio::time::Instant;
use warren_api::run as api;
use warren_kit::clock::wall_clock;

use super::privileges;

/// Whoever is hung says nothing for this long.
const WATCHDOG: Duration = Duration::from_secs(30);
/// Between the end of a process and the start of the next.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest line of a role's log; more is cut in two.
const LINE_MAX: u64 = 64 << 10;
/// Octets of one message of a role about itself.
const MESSAGE_MAX: usize = 4096;
/// Tells a role that it belongs to this process, and ends with it.
pub const SUPERVISOR: &str = "WARREN_SUPERVISOR";

/// Which role, in the order in which they are started: the address comes last, and goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Broker,
    Proxy,
    Vrrp,
}

impl Name {
    /// Also what follows `warren` on a command line.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::Proxy => "proxy",
            Self::Vrrp => "vrrp",
        }
    }

    /// How long a stop may take; then its processes are killed. As in its unit.
    fn patience(self) -> Duration {
        match self {
            Self::Broker => Duration::from_secs(30),
            Self::Proxy | Self::Vrrp => Duration::from_secs(10),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// For those before it to be ready.
    Waiting,
    Starting,
    Ready,
    /// Until it is killed.
    Stopping(Instant),
    /// Until it is started again.
    Dead(Instant),
    /// For good.
    Ended,
}

impl State {
    fn text(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Stopping(_) => "stopping",
            Self::Dead(_) => "dead",
            Self::Ended => "ended",
        }
    }
}

/// Starts processes with a role's privileges, which are those of its thread. They end with the thread.
struct Starter(mpsc::SyncSender<(Command, mpsc::SyncSender<io::Result<Started>>)>);

/// A process and its log.
type Started = (u32, Option<ChildStderr>);

impl Starter {
    fn new(name: Name) -> io::Result<Self> {
        let (orders, ordered) = mpsc::sync_channel::<(Command, mpsc::SyncSender<_>)>(1);
        let (limited, is_limited) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name(format!("start-{}", name.text()));
        thread.spawn(move || {
            let limit = privileges::limit(name);
            let go_on = limit.is_ok();
            // Whoever asks waits for the answer.
            let _ = limited.send(limit);
            for (mut command, reply) in ordered.iter().take_while(|_| go_on) {
                // Not waited for here: the supervisor takes every end.
                let started = command.spawn().map(|mut child| (child.id(), child.stderr.take()));
                let _ = reply.send(started);
            }
        })?;
        is_limited.recv().map_err(io::Error::other)??;
        Ok(Self(orders))
    }

    fn start(&self, command: Command) -> io::Result<Started> {
        let (reply, started) = mpsc::sync_channel(1);
        self.0.send((command, reply)).map_err(io::Error::other)?;
        started.recv().map_err(io::Error::other)?
    }
}

pub(super) struct Role {
    pub(super) name: Name,
    pub(super) state: State,
    /// It has been ready since the supervisor runs.
    pub(super) was_ready: bool,
    program: PathBuf,
    arguments: Vec<std::ffi::OsString>,
    starter: Starter,
    /// Where it says how it is, as to systemd.
    socket: UnixDatagram,
    path: PathBuf,
    process: Option<Pid>,
    /// It was heard of last.
    heard: Instant,
    starts: u64,
    since: SystemTime,
    says: String,
    ended: String,
}

impl Role {
    /// `arguments` are those behind `warren ROLE`.
    pub(super) fn new(
        name: Name,
        program: &Path,
        arguments: Vec<std::ffi::OsString>,
        runtime_dir: &Path,
    ) -> io::Result<Self> {
        let path = runtime_dir.join(format!("run-{}.notify", name.text()));
        // One that nobody hears any more.
        let _ = fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok(Self {
            name,
            state: State::Waiting,
            was_ready: false,
            program: program.to_owned(),
            arguments,
            starter: Starter::new(name)?,
            socket,
            path,
            process: None,
            heard: Instant::now(),
            starts: 0,
            since: wall_clock(),
            says: String::new(),
            ended: String::new(),
        })
    }

    /// A process of its own, and a process group: what the terminal sends is for the supervisor to pass on in order.
    pub(super) fn start(&mut self) -> io::Result<()> {
        let mut command = Command::new(&self.program);
        command
            .arg0("warren")
            .arg(self.name.text())
            .args(&self.arguments)
            .env("NOTIFY_SOCKET", &self.path)
            .env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string())
            .env(SUPERVISOR, std::process::id().to_string())
            .process_group(0)
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        for name in [
            "WATCHDOG_PID",
            "JOURNAL_STREAM",
            "LISTEN_PID",
            "LISTEN_FDS",
            "LISTEN_FDNAMES",
        ] {
            command.env_remove(name);
        }
        let (process, log) = self.starter.start(command)?;
        if let Some(log) = log {
            pass_on(self.name, log)?;
        }
        tracing::info!(role = self.name.text(), process, "role started");
        self.process = i32::try_from(process).ok().map(Pid::from_raw);
        self.heard = Instant::now();
        self.starts += 1;
        self.says.clear();
        self.become_(State::Starting);
        Ok(())
    }

    fn become_(&mut self, state: State) {
        if self.state.text() != state.text() {
            self.since = wall_clock();
        }
        self.state = state;
    }

    /// Takes what it has said since the last time.
    pub(super) fn listen(&mut self) {
        let mut message = [0; MESSAGE_MAX];
        while let Ok(count) = self.socket.try_recv(&mut message) {
            let text = String::from_utf8_lossy(message.get(..count).unwrap_or_default()).into_owned();
            self.heard = Instant::now();
            for line in text.lines() {
                match line.split_once('=') {
                    Some(("READY", "1")) => self.is_ready(),
                    Some(("STATUS", status)) => status.clone_into(&mut self.says),
                    // An upgrade: what was started is followed by what it has started.
                    Some(("MAINPID", process)) => {
                        self.process = process.parse().ok().map(Pid::from_raw).or(self.process);
                    }
                    _ => {}
                }
            }
        }
    }

    fn is_ready(&mut self) {
        if self.state == State::Starting {
            tracing::info!(role = self.name.text(), "role is ready");
            self.was_ready = true;
            self.become_(State::Ready);
        }
    }

    pub(super) async fn speaks(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    pub(super) fn is(&self, process: Pid) -> bool {
        self.process == Some(process)
    }

    /// Its process has ended. Says whether that is for good.
    pub(super) fn has_ended(&mut self, how: String, is_stopping: bool) {
        self.process = None;
        let expected = matches!(self.state, State::Stopping(_));
        if expected {
            tracing::info!(role = self.name.text(), how, "role ended");
        } else {
            tracing::error!(role = self.name.text(), how, "role ended by itself");
        }
        self.ended = how;
        self.says.clear();
        let state = match expected || is_stopping {
            true => State::Ended,
            false => State::Dead(Instant::now() + PAUSE),
        };
        self.become_(state);
    }

    /// It shall end, and has so long; without a process it has ended.
    pub(super) fn stop(&mut self) {
        match self.process {
            None => self.become_(State::Ended),
            Some(_) if matches!(self.state, State::Stopping(_)) => {}
            Some(_) => {
                self.signal(Signal::SIGTERM);
                self.become_(State::Stopping(Instant::now() + self.name.patience()));
            }
        }
    }

    pub(super) fn signal(&self, signal: Signal) {
        if let Some(process) = self.process {
            // One that has just ended is taken note of soon.
            let _ = kill(process, signal);
        }
    }

    /// When something is to be done without anybody's asking.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Stopping(end) | State::Dead(end) => Some(end),
            State::Ready => Some(self.heard + WATCHDOG),
            State::Waiting | State::Starting | State::Ended => None,
        }
    }

    /// Does what is due.
    pub(super) fn act(&mut self, now: Instant) -> io::Result<()> {
        match self.state {
            State::Dead(end) if end <= now => self.start()?,
            State::Stopping(end) if end <= now => {
                tracing::error!(role = self.name.text(), "role does not end: killing it");
                self.kill();
                self.state = State::Stopping(now + self.name.patience());
            }
            State::Ready if self.heard + WATCHDOG <= now => {
                tracing::error!(role = self.name.text(), silent = ?WATCHDOG, "role hangs: killing it");
                self.kill();
                self.heard = now;
            }
            _ => {}
        }
        Ok(())
    }

    fn kill(&self) {
        if let Some(process) = self.process {
            // It and all that it has started, but what has left its group.
            let _ = nix::sys::signal::killpg(process, Signal::SIGKILL);
            let _ = kill(process, Signal::SIGKILL);
        }
    }

    pub(super) fn shown(&self) -> api::Role {
        api::Role {
            name: self.name.text().to_owned(),
            state: self.state.text().to_owned(),
            process: self
                .process
                .and_then(|process| u32::try_from(process.as_raw()).ok()),
            since: self.since.into(),
            restarts: self.starts.saturating_sub(1),
            says: self.says.clone(),
            ended: self.ended.clone(),
        }
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = fs::remove_file(&self.path);
    }
}

/// Writes a process's log lines into ours, with the role before each.
fn pass_on(name: Name, log: ChildStderr) -> io::Result<()> {
    let thread = std::thread::Builder::new().name(format!("log-{}", name.text()));
    thread
        .spawn(move || {
            let mut log = BufReader::new(log);
            let mut line = Vec::new();
            while (&mut log)
                .take(LINE_MAX)
                .read_until(b'\n', &mut line)
                .is_ok_and(|count| count > 0)
            {
                if line.last() != Some(&b'\n') {
                    line.push(b'\n');
                }
                let mut whole = format!("{:6} | ", name.text()).into_bytes();
                whole.append(&mut line);
                // With nobody left to read there is nothing to be done.
                let _ = io::stderr().lock().write_all(&whole);
            }
        })
        .map(drop)
}
