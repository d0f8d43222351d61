//! The proxy as a process: start, reload, upgrade, drain, stop.
//!
//! ```text
//!   file ─▶ plan ─▶ sockets ─▶ live ─▶ workers ─▶ ready
//!                     ▲          ▲
//!          signals, control socket, runtime sockets ─▶ one loop on the control thread, which owns what follows
//! ```
//!
//! Absent on purpose: a parent process. The service manager restarts a proxy that dies, and a new binary takes over
//! listeners and sessions from the old process itself ([`crate::handover`]).

mod answers;
mod control;
mod doors;
mod limits;
mod listeners;
mod privileges;
mod reload;
mod serve;
mod start;
mod stop;
mod takeover;
mod upgrade;

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command as Program;

use warren_kit::control::BindError;
use warren_kit::runtime_dir::RuntimeDirError;
use warren_kit::threads::TooFewThreads;

use crate::config::{ConfigError, Format};
use crate::handover::HandoverError;
use crate::resolve::AllUnresolved;

pub use limits::{TooFewFiles, needed as files_needed};
pub use listeners::ListenError;
pub use privileges::PrivilegeError;
pub use start::run;

/// How the process is started.
pub struct Options {
    /// One warren.toml, or one or more haproxy.cfg.
    pub files: Vec<PathBuf>,
    /// How they are written.
    pub format: Format,
    /// This host's name, which selects overrides of warren.toml.
    pub host: String,
    /// For the control socket; a default is found if none is given.
    pub runtime_dir: Option<PathBuf>,
    /// The process's number is written there; else where the configuration says.
    pub pid_file: Option<PathBuf>,
    /// `maxconn` of the process, whatever the configuration says.
    pub maxconn: Option<u32>,
    /// Processes to take over from.
    pub former: Vec<Former>,
    /// Servers whose names cannot be resolved are no reason not to start.
    pub allow_unresolved: bool,
    /// Servers' certificates are not verified.
    pub no_server_verify: bool,
    /// Warnings are errors.
    pub strict: bool,
    /// The program that takes over from this process when it is told to upgrade.
    pub successor: Box<dyn Fn() -> Program>,
    /// Addresses that this host has lost: sessions through them are reset.
    pub addresses_lost: Option<tokio::sync::mpsc::Receiver<IpAddr>>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

/// A process to take over from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Former {
    /// Its number.
    pub pid: u32,
    /// It ends at once; otherwise it finishes what could not be taken over.
    pub end: bool,
}

/// Why the proxy does not run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// `-dW`
    #[error("there are warnings, which were to be errors:\n{0}")]
    Warnings(String),
    /// `maxconn` does not fit.
    #[error(transparent)]
    Files(#[from] TooFewFiles),
    /// There are threads that it cannot do without.
    #[error(transparent)]
    Threads(#[from] TooFewThreads),
    /// Nobody could connect.
    #[error("No enabled listener found (check for 'bind' directives) ! Exiting.")]
    NoListener,
    /// Addresses that cannot be listened on.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Listen(Vec<ListenError>),
    /// Certificates that cannot be used.
    #[error(transparent)]
    Tls(#[from] crate::tls::KeyringError),
    /// The user cannot be become.
    #[error(transparent)]
    Privileges(#[from] PrivilegeError),
    /// No place for sockets.
    #[error(transparent)]
    RuntimeDir(#[from] RuntimeDirError),
    /// The control socket.
    #[error(transparent)]
    Control(#[from] BindError),
    /// A stats socket.
    #[error(transparent)]
    Runtime(#[from] crate::runtime::BindError),
    /// Names of servers that cannot be resolved.
    #[error(transparent)]
    Unresolved(#[from] AllUnresolved),
    /// The pid file.
    #[error("pid file {path} not written: {source}; name another with -p or `pidfile`", path = path.display())]
    PidFile {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The metrics' address.
    #[error("metrics cannot be served on {address}: {source}; change `metrics`")]
    Metrics {
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Not now.
    #[error("an upgrade or the end is under way: ask again later")]
    Busy,
    /// The former process gave nothing.
    #[error("nothing was taken over: {0}")]
    Handover(#[from] HandoverError),
    /// Anything else the system refuses.
    #[error("{what}: {source}")]
    System {
        /// What was wanted.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
}

impl DaemonError {
    /// The mistake is in the configuration.
    #[must_use]
    pub const fn is_config(&self) -> bool {
        matches!(
            self,
            Self::Config(_) | Self::Warnings(_) | Self::Tls { .. } | Self::Unresolved(_)
        )
    }

    fn system(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}
