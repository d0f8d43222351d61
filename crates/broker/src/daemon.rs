//! The broker as a process: start, reload, stop.
//!
//! ```text
//!   configuration ─▶ plan ─▶ data directory ─▶ node ─▶ listeners ─▶ ready
//!                                               ▲
//!                  signals ─▶ one loop, which owns what follows
//! ```
//!
//! Deliberately absent: going to the background and pid files of one's own making, which are the command line's business.

mod data;
mod listeners;
mod serve;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::runtime::Builder;

pub use data::default_directory;
pub use listeners::ListenError;

use crate::StorageError;
use crate::plan::{Listener, Plan};

/// How long tasks that are left may take to let go.
const END_WITHIN: Duration = Duration::from_secs(1);

/// How the process is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// This host's name.
    pub host: String,
    /// Where to listen, whatever the configuration says.
    pub listen: Vec<SocketAddr>,
    /// Where everything is that outlives the process, whatever the configuration says.
    pub data: Option<PathBuf>,
    /// Name of the node, whatever the configuration says.
    pub node: Option<String>,
}

/// Why the broker does not run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// No place for data.
    #[error("no directory for data is known: give --data, or set HOME")]
    NoDirectory,
    /// The data directory cannot be made.
    #[error("{path}: {source}; choose another --data", path = path.display())]
    Data {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is in the data directory cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The disk failed while the broker ran.
    #[error("{0}")]
    Disk(String),
    /// An address that cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
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
    let plan = plan(options)?;
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .thread_name("broker")
        .build()
        .map_err(DaemonError::system("no event loop"))?;
    let node = runtime.block_on(serve::start_and_serve(plan));
    // Whoever is left has been given his time.
    runtime.shutdown_timeout(END_WITHIN);
    node.map(drop)
}

fn plan(options: &Options) -> Result<Plan, DaemonError> {
    let data = match &options.data {
        Some(data) => data.clone(),
        None => default_directory().ok_or(DaemonError::NoDirectory)?,
    };
    let mut plan = Plan::of_host(&options.host, data);
    if let Some(node) = &options.node {
        plan.node.clone_from(node);
    }
    if !options.listen.is_empty() {
        let listeners = options.listen.iter();
        plan.listeners = listeners.map(|address| Listener { address: *address }).collect();
    }
    Ok(plan)
}
