//! Runs a program to its end or to its deadline, whichever comes first.
//!
//! - No shell: a program and its arguments. `sh -c` is for the caller to ask for.
//! - The program leads a process group of its own. At the deadline the whole group is killed and the outcome is
//!   reported at once, even if the kernel cannot end the process (a hung disk): reaping goes on in the background.
//! - Output of both streams is read into one bounded tail, so a program can neither block on a full pipe nor fill
//!   our memory. What a program left behind in the background writes later is not waited for.
//! - A dropped [`run`] kills the group.
//!
//! There is no hook between fork and exec: it would need unsafe code. Capabilities are withheld by
//! [`withhold_capabilities`] on the thread that starts programs.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rustix::thread::CapabilitySet;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::accounts::Identity;

/// Killed programs that have not died yet. More than this and the host is in trouble that new ones make worse.
const DYING_MAX: usize = 64;
static DYING: AtomicUsize = AtomicUsize::new(0);

/// Killed programs that have not died yet, for a metric.
pub fn dying() -> usize {
    DYING.load(Ordering::Relaxed)
}

/// What the service manager tells us about ourselves is not the program's business: a script must not be able to say
/// that we are ready, nor find our watchdog or sockets.
const PRIVATE_ENVIRONMENT: [&str; 8] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "JOURNAL_STREAM",
    "MAINPID",
];

/// What to run and within which limits.
#[derive(Clone, Debug)]
pub struct Spec {
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    /// Added to our own environment.
    pub environment: Vec<(OsString, OsString)>,
    /// `None`: as ourselves. Root drops the supplementary groups, too.
    pub identity: Option<Identity>,
    pub deadline: Duration,
    /// How much of the end of the output is kept.
    pub output_bytes_max: usize,
    /// Counts the runs with this sender that were killed and have not died yet, for callers that want no second run
    /// beside one that cannot die.
    pub dying: Option<watch::Sender<usize>>,
}

impl Spec {
    /// The program and arguments of `words` (see [`crate::words::split_command`]), ten seconds, 4 KiB of output.
    pub fn new<W: Into<OsString>>(words: impl IntoIterator<Item = W>) -> Self {
        let mut words = words.into_iter().map(Into::into);
        Self {
            program: words.next().unwrap_or_default().into(),
            arguments: words.collect(),
            environment: Vec::new(),
            identity: None,
            deadline: Duration::from_secs(10),
            output_bytes_max: 4096,
            dying: None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Exited(i32),
    Signalled(i32),
    TimedOut,
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit {code}"),
            Self::Signalled(number) => match Signal::try_from(*number) {
                Ok(signal) => write!(f, "killed by {signal}"),
                Err(_) => write!(f, "killed by signal {number}"),
            },
            Self::TimedOut => f.write_str("timed out"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub exit: Exit,
    /// The end of what the program wrote to either stream.
    pub output: Vec<u8>,
    /// Bytes before it that were not kept.
    pub output_dropped: u64,
    pub elapsed: Duration,
}

impl Outcome {
    pub fn success(&self) -> bool {
        self.exit == Exit::Exited(0)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("{program} could not be started: {source}; check that it exists and may be executed", program = .program.display())]
    Start { program: PathBuf, source: io::Error },
    #[error("{program} could not be started as user {uid} and group {gid}: {source}; check the program's permissions, and that this process may change its user (CAP_SETUID, CAP_SETGID)",
        program = .program.display(), uid = .identity.uid, gid = .identity.gid)]
    StartAs {
        program: PathBuf,
        identity: Identity,
        source: io::Error,
    },
    #[error("{program} was not started: {DYING_MAX} killed programs have not died yet; look for processes in state D", program = .0.display())]
    TooManyDying(PathBuf),
    #[error("waiting for {program}: {source}", program = .program.display())]
    Wait { program: PathBuf, source: io::Error },
}

/// Takes from the calling thread the capabilities that programs it starts would inherit. The thread's own stay.
pub fn withhold_capabilities() -> io::Result<()> {
    let mut sets = rustix::thread::capabilities(None)?;
    // With the inheritable ones go the ambient ones, and what a file marked to take them over would get.
    sets.inheritable = CapabilitySet::empty();
    Ok(rustix::thread::set_capabilities(None, sets)?)
}

/// Runs a program. Dropping the future kills its process group.
pub async fn run(spec: &Spec) -> Result<Outcome, RunError> {
    if dying() >= DYING_MAX {
        return Err(RunError::TooManyDying(spec.program.clone()));
    }
    let started = Instant::now();
    let (mut running, output) = Running::start(spec).map_err(|source| match spec.identity {
        Some(identity) => RunError::StartAs {
            program: spec.program.clone(),
            identity,
            source,
        },
        None => RunError::Start {
            program: spec.program.clone(),
            source,
        },
    })?;
    let mut tail = Tail::new(spec.output_bytes_max);
    let deadline = tokio::time::sleep(spec.deadline);
    tokio::pin!(deadline);
    let mut open = true;
    let exit = loop {
        tokio::select! {
            biased;
            () = &mut deadline => {
                running.kill();
                break Exit::TimedOut;
            }
            status = running.wait() => {
                let status = status.map_err(|source| RunError::Wait { program: spec.program.clone(), source })?;
                break exit_of(status);
            }
            readable = output.readable(), if open => {
                open = readable.is_ok() && tail.fill_from(&output);
            }
        }
    };
    // What it wrote just before its end.
    while open && tail.fill_from(&output) && tail.grew {}
    Ok(Outcome {
        exit,
        output: tail.bytes,
        output_dropped: tail.dropped,
        elapsed: started.elapsed(),
    })
}

fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Exited(code),
        (None, signal) => Exit::Signalled(signal.unwrap_or_default()),
    }
}

/// A started program; killed with its whole group when dropped before it was reaped.
struct Running {
    /// `None` once it was killed and handed to the background.
    child: Option<Child>,
    /// While the leader is not reaped its number cannot be given to another process.
    group: Option<Pid>,
    dying: Option<watch::Sender<usize>>,
}

impl Running {
    fn start(spec: &Spec) -> io::Result<(Self, pipe::Receiver)> {
        let (reader, writer) = io::pipe()?;
        let output = pipe::Receiver::from_owned_fd(reader.into())?;
        let mut command = Command::new(&spec.program);
        command
            .args(&spec.arguments)
            .envs(spec.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stderr(writer.try_clone()?)
            .stdout(writer)
            .process_group(0);
        for name in PRIVATE_ENVIRONMENT {
            command.env_remove(name);
        }
        if let Some(identity) = spec.identity {
            command.uid(identity.uid).gid(identity.gid);
        }
        let child = command.spawn()?;
        let group = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .map(Pid::from_raw);
        Ok((
            Self {
                child: Some(child),
                group,
                dying: spec.dying.clone(),
            },
            output,
        ))
    }

    async fn wait(&mut self) -> io::Result<ExitStatus> {
        let Some(child) = &mut self.child else {
            std::future::pending().await
        };
        let status = child.wait().await;
        self.group = None;
        status
    }

    /// Kills the group and lets the background wait for the leader.
    fn kill(&mut self) {
        let Some(group) = self.group.take() else { return };
        // Fails only if nobody of the group is left.
        let _ = killpg(group, Signal::SIGKILL);
        let Some(mut child) = self.child.take() else {
            return;
        };
        if let (false, Ok(runtime)) = (
            matches!(child.try_wait(), Ok(Some(_))),
            tokio::runtime::Handle::try_current(),
        ) {
            let counted = Dying::new(self.dying.take());
            runtime.spawn(async move {
                let _ = child.wait().await;
                drop(counted);
            });
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

struct Dying(Option<watch::Sender<usize>>);

impl Dying {
    fn new(own: Option<watch::Sender<usize>>) -> Self {
        DYING.fetch_add(1, Ordering::Relaxed);
        if let Some(own) = &own {
            own.send_modify(|count| *count += 1);
        }
        Self(own)
    }
}

impl Drop for Dying {
    fn drop(&mut self) {
        DYING.fetch_sub(1, Ordering::Relaxed);
        if let Some(own) = &self.0 {
            own.send_modify(|count| *count -= 1);
        }
    }
}

/// The last bytes of a stream.
struct Tail {
    bytes: Vec<u8>,
    bytes_max: usize,
    dropped: u64,
    grew: bool,
}

impl Tail {
    fn new(bytes_max: usize) -> Self {
        Self {
            bytes: Vec::new(),
            bytes_max,
            dropped: 0,
            grew: false,
        }
    }

    /// Takes what is there; `false` at the end of the stream.
    fn fill_from(&mut self, output: &pipe::Receiver) -> bool {
        let mut buffer = [0; 4096];
        self.grew = false;
        match output.try_read(&mut buffer) {
            Ok(0) => false,
            Ok(count) => {
                self.push(&buffer[..count]);
                true
            }
            Err(error) => matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
            ),
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.grew = true;
        self.bytes.extend_from_slice(bytes);
        let surplus = self.bytes.len().saturating_sub(self.bytes_max);
        self.bytes.drain(..surplus);
        self.dropped += surplus as u64;
    }
}

#[cfg(test)]
mod tests;
