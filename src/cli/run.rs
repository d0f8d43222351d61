//! How the supervisor of all roles is started, and what it can be asked.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::Daemon;

/// Where the configuration is unless told otherwise, if it is there.
const CONFIG: &str = "/etc/warren/warren.toml";

/// Everything the supervisor is told on its command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// warren.toml; without one there is only a broker.
    pub config: Option<PathBuf>,
    /// Name under which this host finds its overrides in the file.
    pub host: Option<String>,
    /// As given; `warren_kit::runtime_dir` knows the default.
    pub runtime_dir: Option<PathBuf>,
    /// The broker's data directory, whatever the configuration says.
    pub data: Option<PathBuf>,
    /// Log decisions, not only state changes.
    pub log_detail: bool,
}

/// The flags of `warren run`.
#[derive(Debug, Clone, Default, Args)]
pub struct RunArguments {
    /// Configuration file, whose sections are the roles [default: /etc/warren/warren.toml; without that, a broker alone].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Apply the overrides of [host.NAME] [default: this host's name].
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Directory for sockets [default: $RUNTIME_DIRECTORY, or /run/warren for root].
    #[arg(long, value_name = "DIR", global = true)]
    runtime_dir: Option<PathBuf>,
    /// Directory for everything of the broker that outlives the process.
    #[arg(long, value_name = "DIRECTORY")]
    data: Option<PathBuf>,
    /// Log decisions, not only state changes.
    #[arg(short = 'D', long)]
    log_detail: bool,
    /// What to ask a running one instead of starting it.
    #[command(subcommand)]
    pub verb: Option<RunVerb>,
}

/// What a running supervisor can be asked.
#[derive(Debug, Clone, Subcommand)]
pub enum RunVerb {
    /// Show every role: how it is, since when, its process, what it says.
    Status {
        /// Print the answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Have every role read its configuration again.
    Reload,
}

impl RunArguments {
    /// Which one a verb is for.
    #[must_use]
    pub fn daemon(&self) -> Daemon {
        Daemon {
            runtime_dir: self.runtime_dir.clone(),
        }
    }

    #[must_use]
    pub fn options(self) -> RunOptions {
        let usual = || Path::new(CONFIG).is_file().then(|| CONFIG.into());
        RunOptions {
            config: self.config.or_else(usual),
            host: self.host,
            runtime_dir: self.runtime_dir,
            data: self.data,
            log_detail: self.log_detail,
        }
    }
}

impl RunOptions {
    /// The same from any working directory.
    pub fn absolute(mut self) -> io::Result<Self> {
        let paths = [
            self.config.as_mut(),
            self.runtime_dir.as_mut(),
            self.data.as_mut(),
        ];
        for path in paths.into_iter().flatten() {
            *path = std::path::absolute(&*path)?;
        }
        Ok(self)
    }
}
