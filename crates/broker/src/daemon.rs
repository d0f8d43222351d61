//! The broker as a process: start, reload, stop.
//!
//! ```text
//!   configuration ─▶ plan ─▶ data directory ─▶ node ─▶ listeners ─▶ ready
//!                                               ▲
//!                  signals ─▶ one loop, which owns what follows
//! ```
//!
//! Deliberately absent: going to the background and pid files of one's own making, which are the command line's business.

mod certificates;
mod cookie;
mod data;
mod definitions;
mod listeners;
mod recovery;
mod reload;
mod serve;

use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use warren_kit::control::BindError;
use warren_kit::descriptors;
use warren_kit::logging;
use warren_kit::runtime_dir::{self, RuntimeDirError};
use warren_kit::threads::{self, TooFewThreads};

pub use cookie::CookieError;
pub use data::default_directory;
pub use listeners::ListenError;

use crate::StorageError;
use crate::config::{self, ConfigError, Environment, Format, Machine};
use crate::newcomers;
use crate::plan::{Listener, LogLevel, Plan};
use crate::tls::TlsError;

/// How long tasks that are left may take to let go.
const END_WITHIN: Duration = Duration::from_secs(1);

/// Threads beside those that serve clients: three of the log, two of what need not outlive the process, and some that wait for a hash or the disk.
const THREADS_BESIDE: usize = 12;

/// How the process is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What says how to run, in order.
    pub files: Vec<PathBuf>,
    /// How the files are written; nothing is written without one.
    pub format: Option<Format>,
    /// RabbitMQ's, which counts unless there is a warren.toml.
    pub environment: Environment,
    /// RabbitMQ's home, where cookie and data are unless said otherwise.
    pub home: Option<PathBuf>,
    /// This host's name.
    pub host: String,
    /// Where to listen, whatever the configuration says.
    pub listen: Vec<SocketAddr>,
    /// Where everything is that outlives the process, whatever the configuration says.
    pub data: Option<PathBuf>,
    /// Name of the node, whatever the configuration says.
    pub node: Option<String>,
    /// Where sockets are, if not in the usual place.
    pub runtime_dir: Option<PathBuf>,
    /// Where it logs, for whoever asks: a file, or in RabbitMQ's manner `<stderr>`.
    pub log: String,
    /// Where metrics are served, whatever the configuration says.
    pub metrics: Option<SocketAddr>,
    /// What is logged was chosen otherwise, and the configuration says nothing about it.
    pub log_is_chosen: bool,
}

/// Why the broker does not run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory cannot be made.
    #[error("{path}: {source}; choose another --data", path = path.display())]
    Data {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The cookie.
    #[error(transparent)]
    Cookie(#[from] CookieError),
    /// What is in the data directory cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The disk failed while the broker ran.
    #[error("{0}")]
    Disk(String),
    /// Definitions that cannot be added.
    #[error("definitions in {path} cannot be used: {reason}; mend them, or leave out `definitions`", path = path.display())]
    Definitions {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Certificates that cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An address that cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Metrics cannot be served there.
    #[error(
        "cannot serve metrics on {address}: {source}; end what listens there, or name another address with `metrics` \
         (prometheus.tcp.port in a rabbitmq.conf) or --metrics, or write metrics = \"off\""
    )]
    Metrics {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// There is no place for sockets.
    #[error(transparent)]
    RuntimeDir(#[from] RuntimeDirError),
    /// The control socket cannot be listened on.
    #[error(transparent)]
    Control(#[from] BindError),
    /// There are threads that it cannot do without.
    #[error(transparent)]
    Threads(#[from] TooFewThreads),
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
    fn system(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}

/// Runs the broker until it is told to stop.
///
/// # Errors
/// It could not start.
pub fn run(options: &Options) -> Result<(), DaemonError> {
    let plan = read(options)?;
    if !options.log_is_chosen {
        log_at(plan.log_level);
    }
    let runtime_dir = runtime_dir::for_daemon(options.runtime_dir.as_deref())?;
    descriptors::make_room();
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    // As many shake hands over TLS, if anybody wants to.
    threads::can_be_started(2 * workers + THREADS_BESIDE)?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .thread_name("broker")
        .on_thread_park(newcomers::rest)
        .build()
        .map_err(DaemonError::system("no event loop"))?;
    let node = runtime.block_on(serve::start_and_serve(options, plan, &runtime_dir));
    // Whoever is left has been given his time.
    runtime.shutdown_timeout(END_WITHIN);
    node.map(drop)
}

/// Reads the configuration and applies what the command line says to it.
fn read(options: &Options) -> Result<Plan, DaemonError> {
    let machine = Machine {
        host: options.host.clone(),
        data: options.data.clone().unwrap_or_else(default_directory),
    };
    let loaded = match (options.format, options.files.as_slice()) {
        (None, _) => config::load_none(&options.environment, &machine),
        (Some(Format::Toml), [file]) => config::load_toml(file, &machine),
        (Some(_), files) => config::load_rabbitmq(files, &options.environment, &machine),
    }?;
    for warning in loaded.warning_lines() {
        tracing::warn!(warning, "configuration was accepted with a warning");
    }
    let is_elsewhere = loaded.file.data.is_some();
    let says_metrics = loaded.file.metrics.is_some();
    let mut plan = loaded.plan;
    if let Some(node) = &options.node {
        plan.node.clone_from(node);
    }
    match (&options.data, &options.home) {
        (Some(data), _) => plan.data.clone_from(data),
        // Not where RabbitMQ has its own files of another kind.
        (None, Some(home)) if !is_elsewhere => plan.data = home.join("warren").join(&plan.node),
        (None, _) => {}
    }
    if let Some(address) = options.metrics {
        plan.metrics = Some(address);
    } else if !options.listen.is_empty() && !says_metrics {
        // One of several on this host, perhaps.
        plan.metrics = None;
    }
    if !options.listen.is_empty() {
        let listeners = options.listen.iter().map(|address| Listener {
            address: *address,
            tls: false,
        });
        plan.listeners = listeners.collect();
    }
    Ok(plan)
}

pub(crate) fn log_at(level: LogLevel) {
    let filter = match level {
        LogLevel::None => "off",
        LogLevel::Error => "error",
        LogLevel::Warning => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
    };
    if let Ok(filter) = filter.parse() {
        logging::change(filter);
    }
}
