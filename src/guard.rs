//! The unit's main process: parent of the worker, and the one that cleans up after it.
//!
//! ```text
//!            signals, watchdog                       beats, roles, holdings
//!   systemd ◀───────────────▶ guard (this process) ◀────────────────────────▶ worker (protocol, checks, control)
//!                               │ if the worker dies:  start another, which adopts the roles
//!                               └ if that does not help: priority 0, remove the addresses, try again later
//! ```
//!
//! It is single-threaded, small and locked in memory, parses no configuration and depends on nothing that can hang:
//! all it needs in an emergency - finished packets, the list of addresses, open sockets - it has beforehand.
//! Deliberately absent: any knowledge of VRRP.

mod custody;
pub mod messages;
mod successor;

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use warren_kit::systemd::ServiceManager;

use custody::Custody;
use messages::{Channel, FromWorker, ROLES_PER_MESSAGE, Received, ToWorker};

/// A worker that dies more often than this within [`RESTART_WINDOW`] does not get its roles back at once.
const RESTARTS_MAX: usize = 3;
const RESTART_WINDOW: Duration = Duration::from_secs(60);
/// How long a worker may take until it says `Ready`.
const START_LIMIT: Duration = Duration::from_secs(10);
/// How long a worker may take to stop, notify scripts included.
const STOP_LIMIT: Duration = Duration::from_millis(2500);
/// How long a worker may take to end after `Detach`.
const DETACH_LIMIT: Duration = Duration::from_millis(100);
/// First and longest pause before another attempt once restarting at once did not help.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// A guard that wakes this much too late was away itself: what it has not heard meanwhile proves nothing.
const OWN_ABSENCE: Duration = Duration::from_millis(100);
/// Silence that counts as hung before the worker has named its own limit.
const BEAT_LIMIT: Duration = Duration::from_secs(2);

/// The worker is always of the guard's own binary, whatever has been installed meanwhile: the two speak a language that
/// may differ between versions. An upgrade replaces the guard first.
const OWN_BINARY: &str = "/proc/self/exe";

/// How the worker is started.
#[derive(Debug, Clone)]
pub struct WorkerCommand {
    /// The binary that an upgrade starts, as a path that leads to its successor once it has been replaced.
    pub program: PathBuf,
    /// The name it is called by, which decides what the arguments mean.
    pub name: OsString,
    pub arguments: Vec<OsString>,
    /// Start another when it dies.
    pub restart: bool,
}

/// Takes the signals that ask something of us out of the kernel's default hands.
///
/// To be called before there is any other thread: a signal goes to whichever thread does not block it. Children start
/// with nothing blocked.
pub fn take_signals() -> io::Result<SignalFd> {
    let mut mask = SigSet::empty();
    for signal in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGQUIT,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGCHLD,
        Signal::SIGPIPE,
    ] {
        mask.add(signal);
    }
    mask.thread_block()?;
    Ok(SignalFd::with_flags(
        &mask,
        SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK,
    )?)
}

/// Runs until told to stop; the process's exit status.
#[must_use]
pub fn run(command: WorkerCommand, signals: SignalFd) -> u8 {
    let mut guard = match Guard::new(command, signals) {
        Ok(guard) => guard,
        Err(error) => {
            tracing::error!(%error, "guard could not start");
            return 1;
        }
    };
    guard.run()
}

struct Guard {
    command: WorkerCommand,
    service: ServiceManager,
    signals: SignalFd,
    worker: Option<Worker>,
    custody: Custody,
    /// Workers started so far.
    starts: u32,
    /// This process took the place of another binary's.
    upgraded: bool,
    /// The operator asked for the installed binary.
    upgrade_wanted: bool,
    /// Ends of workers within the last [`RESTART_WINDOW`].
    restarts: VecDeque<Instant>,
    backoff: Duration,
    /// When to try again, while there is no worker.
    retry_at: Option<Instant>,
    /// A worker has been ready once: from then on a failing start is not a configuration error to end with.
    was_ready: bool,
    stopping: Option<Instant>,
    watchdog: Option<(Duration, Instant)>,
    /// What the worker last said of itself, for the service manager.
    summary: String,
    buffer: Vec<u8>,
}

struct Worker {
    child: Child,
    pidfd: std::os::fd::OwnedFd,
    channel: Channel,
    /// It has closed its end.
    hung_up: bool,
    started: Instant,
    ready: bool,
    last_beat: Instant,
    beat_limit: Duration,
}

impl Guard {
    fn new(command: WorkerCommand, signals: SignalFd) -> io::Result<Self> {
        let service = ServiceManager::from_environment()?;
        let watchdog = service.watchdog().map(|interval| (interval / 3, Instant::now()));
        let inherited = successor::inherited_custody().unwrap_or_else(|error| {
            // Another version's may be unreadable. What it held then expires, or is swept by the worker.
            tracing::error!(%error, "custody of the process before not understood; its roles are elected anew");
            Some(Custody::default())
        });
        let upgraded = inherited.is_some();
        Ok(Self {
            custody: inherited.unwrap_or_default(),
            starts: 0,
            upgraded,
            upgrade_wanted: false,
            command,
            service,
            signals,
            worker: None,
            restarts: VecDeque::new(),
            backoff: BACKOFF_FIRST,
            retry_at: None,
            was_ready: upgraded,
            stopping: None,
            watchdog,
            summary: "running".to_owned(),
            buffer: Vec::new(),
        })
    }

    fn run(&mut self) -> u8 {
        if let Err(error) = crate::realtime::lock_memory() {
            tracing::warn!(%error, "guard's memory not locked");
        }
        if let Err(error) = self.start_worker() {
            tracing::error!(%error, "worker could not be started");
            self.custody.release_all();
            return 1;
        }
        loop {
            let due = self.next_wake();
            self.wait(due);
            self.allow_for_own_absence(due);
            if let Some(code) = self.handle_signals() {
                return code;
            }
            self.read_messages();
            if std::mem::take(&mut self.upgrade_wanted) && self.stopping.is_none() {
                self.upgrade();
            }
            if let Some(code) = self.watch_worker() {
                return code;
            }
            self.retry();
            self.feed_watchdog();
        }
    }

    /// Starts a worker; the roles held so far are its to adopt.
    fn start_worker(&mut self) -> io::Result<()> {
        let (ours, theirs) = Channel::pair()?;
        // Tell it before it runs: its first look at the channel finds everything.
        for roles in self.custody.begin_handover().chunks(ROLES_PER_MESSAGE) {
            ours.send(&ToWorker::Adopt(roles.to_vec()))?;
        }
        ours.send(&ToWorker::Begin {
            restarts: self.starts,
            upgraded: self.upgraded && self.starts == 0,
        })?;
        let mut child = Command::new(OWN_BINARY)
            .arg0(&self.command.name)
            .args(&self.command.arguments)
            .arg("--worker")
            // The service manager deals with the main process only.
            .env_remove("NOTIFY_SOCKET")
            .env_remove("WATCHDOG_USEC")
            .env_remove(successor::VARIABLE)
            // glibc keeps freed memory at the end of its heap up to this; what reading a large configuration takes is
            // not needed again, and all of it would stay locked in memory.
            .env("MALLOC_TRIM_THRESHOLD_", "65536")
            // The channel travels as standard input: the one descriptor a child is given without unsafe code.
            .stdin(Stdio::from(theirs.into_fd()))
            .spawn()?;
        let pid = i32::try_from(child.id())
            .ok()
            .and_then(Pid::from_raw)
            .ok_or(io::ErrorKind::Other)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).inspect_err(|_| {
            // It was started, but cannot be watched.
            let _ = child.kill();
            let _ = child.wait();
        })?;
        let now = Instant::now();
        self.worker = Some(Worker {
            child,
            pidfd,
            channel: ours,
            hung_up: false,
            started: now,
            ready: false,
            last_beat: now,
            beat_limit: BEAT_LIMIT,
        });
        self.starts = self.starts.saturating_add(1);
        self.retry_at = None;
        Ok(())
    }

    fn wait(&self, due: Option<Instant>) {
        let timeout = due.map_or(PollTimeout::NONE, |at| {
            let millis = at
                .saturating_duration_since(Instant::now())
                .as_micros()
                .div_ceil(1000);
            PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)
        });
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        if let Some(worker) = &self.worker {
            fds.push(PollFd::new(worker.pidfd.as_fd(), PollFlags::POLLIN));
            if !worker.hung_up {
                fds.push(PollFd::new(worker.channel.as_fd(), PollFlags::POLLIN));
            }
        }
        // An interrupted wait is as good as a finished one: everything is looked at afresh.
        let _ = poll(&mut fds, timeout);
    }

    fn next_wake(&self) -> Option<Instant> {
        let worker = self.worker.as_ref().map(|worker| worker.limit(self.stopping));
        let watchdog = self.watchdog.map(|(_, due)| due);
        [worker, self.retry_at, watchdog].into_iter().flatten().min()
    }

    /// A process that was stopped finds every limit passed, although the worker may have been as still as itself.
    fn allow_for_own_absence(&mut self, due: Option<Instant>) {
        let now = Instant::now();
        if let Some(worker) = &mut self.worker
            && due.is_some_and(|due| now.saturating_duration_since(due) > OWN_ABSENCE)
        {
            worker.last_beat = now;
        }
    }

    fn handle_signals(&mut self) -> Option<u8> {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            match i32::try_from(signal.ssi_signo)
                .ok()
                .and_then(|number| Signal::try_from(number).ok())
            {
                Some(Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT) => {
                    if let Some(code) = self.stop() {
                        return Some(code);
                    }
                }
                Some(Signal::SIGHUP) => {
                    let _ = self.service.reloading();
                    self.tell(&ToWorker::Reload);
                }
                Some(Signal::SIGUSR1 | Signal::SIGUSR2) => {
                    tracing::info!(
                        "signal ignored: `warren status` and `warren status --json` show the state"
                    );
                }
                _ => {}
            }
        }
        None
    }

    fn stop(&mut self) -> Option<u8> {
        // A service manager that cannot be told learns it from the process's end.
        let _ = self.service.stopping();
        if self.worker.is_none() {
            self.custody.release_all();
            return Some(0);
        }
        if self.stopping.is_none() {
            self.stopping = Some(Instant::now());
            self.tell(&ToWorker::Stop);
        }
        None
    }

    fn tell(&self, message: &ToWorker) {
        if let Some(worker) = &self.worker
            && let Err(error) = worker.channel.send(message)
        {
            tracing::error!(%error, ?message, "worker could not be told");
        }
    }

    fn read_messages(&mut self) {
        // Bounded: a worker gone mad must not keep its guard from the clock.
        for _ in 0..8192 {
            let Some(worker) = &mut self.worker else { return };
            match worker.channel.receive(&mut self.buffer) {
                Ok(Received::Message(message)) => self.take(message),
                Ok(Received::Nothing) => return,
                // Its end shows in the pidfd; the channel would only keep saying that it is closed.
                Ok(Received::Closed) => {
                    worker.hung_up = true;
                    return;
                }
                Err(error) => {
                    tracing::error!(%error, "message from the worker not understood");
                    return;
                }
            }
        }
    }

    fn take(&mut self, message: FromWorker) {
        let Some(worker) = &mut self.worker else { return };
        match message {
            FromWorker::Beat => worker.last_beat = Instant::now(),
            FromWorker::BeatLimit(limit) => worker.beat_limit = limit,
            FromWorker::Ready => {
                worker.ready = true;
                worker.last_beat = Instant::now();
                self.was_ready = true;
                self.custody.end_handover();
                let _ = self.service.ready(&self.summary);
            }
            FromWorker::Hold(holding) => self.custody.hold(holding),
            FromWorker::Forget { slot } => self.custody.forget(slot),
            FromWorker::Role {
                slot,
                active,
                priority,
            } => self.custody.note_role(slot, active, priority),
            FromWorker::Reloaded { ok } => {
                let _ = if ok {
                    self.service.ready(&self.summary)
                } else {
                    let refused = format!("{}; reload refused, see the log", self.summary);
                    self.service.ready(&refused)
                };
            }
            FromWorker::Status(line) => {
                let _ = self.service.status(&line);
                self.summary = line;
            }
            FromWorker::Upgrade => self.upgrade_wanted = true,
        }
    }

    /// Looks whether the worker has ended or hangs.
    fn watch_worker(&mut self) -> Option<u8> {
        let worker = self.worker.as_mut()?;
        match worker.child.try_wait() {
            Ok(Some(status)) => {
                // What it said before it ended counts.
                self.read_messages();
                self.worker = None;
                self.after_end(status)
            }
            Ok(None) => {
                if Instant::now() < worker.limit(self.stopping) {
                    return None;
                }
                self.kill_hung()
            }
            Err(error) => {
                // Whoever started us ignores SIGCHLD: the kernel keeps no exit status then, but the end is an end.
                tracing::error!(%error, "worker could not be waited for; taken for ended");
                self.read_messages();
                self.worker = None;
                self.after_end(ExitStatus::from_raw(Signal::SIGKILL as i32))
            }
        }
    }

    fn kill_hung(&mut self) -> Option<u8> {
        let mut worker = self.worker.take()?;
        let silent_ms = worker.last_beat.elapsed().as_millis();
        tracing::error!(
            pid = worker.child.id(),
            silent_ms,
            "worker hangs; killed, roles given up"
        );
        let _ = worker.child.kill();
        // First what the neighbours wait for, then the funeral: a process in the kernel's hands may take its time.
        let released = self.custody.release_all();
        let _ = worker.child.wait();
        // Between its death sentence and its end it may have renewed a lease, which puts a missing address back.
        self.custody.remove_again(&released);
        if self.stopping.is_some() {
            return Some(1);
        }
        self.note_end();
        self.retry_later();
        None
    }

    fn after_end(&mut self, status: ExitStatus) -> Option<u8> {
        if self.stopping.is_some() {
            self.custody.release_all();
            return Some(if status.success() { 0 } else { 1 });
        }
        if !self.was_ready
            && let Some(code) = status.code()
        {
            // It never ran: the configuration or the environment is at fault, and it has said so.
            self.custody.release_all();
            return Some(u8::try_from(code).unwrap_or(1));
        }
        let roles = self.custody.active_roles();
        if !self.command.restart {
            tracing::error!(%status, roles, "worker ended; not restarted, as asked");
            self.custody.release_all();
            return Some(1);
        }
        if self.note_end() <= RESTARTS_MAX {
            tracing::error!(%status, roles, "worker ended; starting another, which adopts its roles");
            match self.start_worker() {
                Ok(()) => return None,
                Err(error) => tracing::error!(%error, "worker could not be started"),
            }
        } else {
            tracing::error!(%status, roles, "worker ended too often; roles given up");
        }
        self.custody.release_all();
        self.retry_later();
        None
    }

    /// Counts the end of a worker: how many there were lately, this one included.
    fn note_end(&mut self) -> usize {
        let now = Instant::now();
        self.restarts
            .retain(|at| now.duration_since(*at) <= RESTART_WINDOW);
        self.restarts.push_back(now);
        // One more than allowed says as much as a thousand.
        if self.restarts.len() > RESTARTS_MAX + 1 {
            self.restarts.pop_front();
        }
        self.restarts.len()
    }

    fn retry_later(&mut self) {
        let _ = self
            .service
            .status("worker is down; roles given up; trying again");
        self.retry_at = Some(Instant::now() + self.backoff);
        self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
    }

    fn retry(&mut self) {
        if self.worker.is_some() {
            let steady = |worker: &Worker| worker.ready && worker.started.elapsed() > RESTART_WINDOW;
            if self.worker.as_ref().is_some_and(steady) {
                self.backoff = BACKOFF_FIRST;
            }
            return;
        }
        if self.retry_at.is_some_and(|at| at <= Instant::now())
            && let Err(error) = self.start_worker()
        {
            tracing::error!(%error, "worker could not be started");
            self.retry_later();
        }
    }

    fn feed_watchdog(&mut self) {
        if let Some((interval, due)) = &mut self.watchdog
            && *due <= Instant::now()
        {
            let _ = self.service.alive();
            *due = Instant::now() + *interval;
        }
    }

    /// Replaces this process by the binary that is installed now; addresses and roles stay.
    fn upgrade(&mut self) {
        tracing::info!(program = %self.command.program.display(), "starting the installed binary in place");
        self.tell(&ToWorker::Detach);
        let deadline = Instant::now() + DETACH_LIMIT;
        if let Some(mut worker) = self.worker.take() {
            while matches!(worker.child.try_wait(), Ok(None)) && Instant::now() < deadline {
                let mut fds = [PollFd::new(worker.pidfd.as_fd(), PollFlags::POLLIN)];
                let _ = poll(&mut fds, PollTimeout::from(10u8));
            }
            let _ = worker.child.kill();
            let _ = worker.child.wait();
            // What it said before it ended counts.
            self.worker = Some(worker);
            self.read_messages();
            self.worker = None;
            self.upgrade_wanted = false;
        }
        // On success this does not return.
        let error = successor::replace(&self.command, &self.custody);
        tracing::error!(%error, "binary not replaced; going on with the old one");
        if let Err(error) = self.start_worker() {
            tracing::error!(%error, "worker could not be started");
            self.custody.release_all();
            self.retry_later();
        }
    }
}

impl Worker {
    /// When patience ends.
    fn limit(&self, stopping: Option<Instant>) -> Instant {
        let hung = if self.ready {
            self.last_beat + self.beat_limit
        } else {
            self.started + START_LIMIT
        };
        stopping.map_or(hung, |since| since + STOP_LIMIT)
    }
}
