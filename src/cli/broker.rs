//! How the broker is started, whatever name it was called by.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use warren_broker::config::{self, Format};
use warren_broker::plan::PORT;

use super::Daemon;
use crate::formats;

/// Where `warren broker` finds its configuration unless told otherwise, if it is there.
const CONFIG: &str = "/etc/warren/warren.toml";

/// Everything the broker is told on its command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrokerOptions {
    /// One warren.toml, one or more rabbitmq.conf, or nothing.
    pub files: Vec<PathBuf>,
    /// How they are written.
    pub format: Option<Format>,
    /// The process goes by RabbitMQ's name.
    pub as_rabbitmq: bool,
    /// Name of this host.
    pub host: Option<String>,
    /// Where to listen, whatever the configuration says.
    pub listen: Vec<SocketAddr>,
    /// The data directory, whatever the configuration says.
    pub data: Option<PathBuf>,
    /// The node's name, whatever the configuration says.
    pub node: Option<String>,
    /// As given; `warren_kit::runtime_dir` knows the default.
    pub runtime_dir: Option<PathBuf>,
    /// Where metrics are served.
    pub metrics: Option<SocketAddr>,
    /// Process number is written there.
    pub pid_file: Option<PathBuf>,
    /// Log decisions, not only state changes.
    pub log_detail: bool,
}

/// The flags of `warren broker`.
#[derive(Debug, Clone, Default, Args)]
pub struct BrokerArguments {
    /// Configuration file [default: /etc/warren/warren.toml, if that has a section [broker]].
    #[arg(long, value_name = "FILE", conflicts_with = "use_file")]
    config: Option<PathBuf>,
    /// Run a rabbitmq.conf instead, or several, or a directory of such.
    #[arg(short = 'f', long, value_name = "FILE")]
    use_file: Vec<PathBuf>,
    /// Listen here instead of where the configuration says; may be given again. Port 0 is chosen by the system and logged
    /// [default: every address, port 5672].
    #[arg(long, value_name = "ADDRESS", value_parser = listen_address)]
    listen: Vec<SocketAddr>,
    /// Directory for everything that outlives the process [default: $STATE_DIRECTORY, /var/lib/warren/broker for root,
    /// $XDG_STATE_HOME/warren/broker for others].
    #[arg(long, value_name = "DIRECTORY")]
    data: Option<PathBuf>,
    /// Name of this node [default: rabbit@ and this host's name].
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,
    /// Name of this host, which also chooses the overrides of [host.NAME] [default: this host's name].
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Directory for sockets [default: $RUNTIME_DIRECTORY, or /run/warren for root].
    #[arg(long, value_name = "DIR", global = true)]
    runtime_dir: Option<PathBuf>,
    /// Serve metrics for Prometheus here instead of where the configuration says, e.g. 127.0.0.1:15692 [default: every address, port
    /// 15692; none with --listen].
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
    /// Write the process number there.
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Log decisions, not only state changes.
    #[arg(short = 'D', long)]
    log_detail: bool,
    /// What to ask a running broker instead of starting one.
    #[command(subcommand)]
    pub verb: Option<BrokerVerb>,
}

/// What a running broker can be asked. `warren ctl` has RabbitMQ's verbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum BrokerVerb {
    /// Show the node, what it has and what is short.
    Status {
        /// Print the answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Explain in sentences what is not as it should be, since when, and what to do.
    Why {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Let nobody in and ask all clients to go, politely.
    Drain,
    /// Serve clients again.
    Resume,
}

impl BrokerArguments {
    /// Where the broker that is to be asked is.
    #[must_use]
    pub fn daemon(&self) -> Daemon {
        Daemon {
            runtime_dir: self.runtime_dir.clone(),
        }
    }

    #[must_use]
    pub fn options(self) -> BrokerOptions {
        let (files, format) = match (self.use_file, self.config) {
            (files, _) if !files.is_empty() => (files, Some(Format::Rabbitmq)),
            (_, Some(file)) => (vec![file], Some(Format::Toml)),
            _ if has_section(Path::new(CONFIG)) => (vec![CONFIG.into()], Some(Format::Toml)),
            _ => (Vec::new(), None),
        };
        BrokerOptions {
            files,
            format,
            as_rabbitmq: false,
            host: self.host,
            listen: self.listen,
            data: self.data,
            node: self.node_name,
            runtime_dir: self.runtime_dir,
            metrics: self.metrics,
            pid_file: self.pid_file,
            log_detail: self.log_detail,
        }
    }
}

impl BrokerOptions {
    /// The same from any working directory.
    pub fn absolute(mut self) -> io::Result<Self> {
        let singles = [
            self.data.as_mut(),
            self.runtime_dir.as_mut(),
            self.pid_file.as_mut(),
        ];
        for path in singles.into_iter().flatten().chain(&mut self.files) {
            *path = std::path::absolute(&*path)?;
        }
        Ok(self)
    }
}

/// As the configuration has it.
fn listen_address(text: &str) -> Result<SocketAddr, &'static str> {
    config::listen_address(text, PORT)
}

/// Whether there is a file with a section for the broker.
fn has_section(path: &Path) -> bool {
    path.is_file() && formats::roles(path).broker
}
