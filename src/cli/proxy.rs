//! How the proxy is started, whatever name it was called by, and what a running one can be asked.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Daemon;

/// Where `warren proxy` finds its configuration unless told otherwise.
const CONFIG: &str = "/etc/warren/warren.toml";
/// Makes a process that only starts the one that is meant.
pub const APART: &str = "--apart";

/// An earlier process that this one takes over from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Former {
    /// Its number.
    pub pid: u32,
    /// It ends at once; otherwise it finishes what could not be taken over.
    pub end: bool,
}

/// Everything the proxy is told on its command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxyOptions {
    /// warren.toml, or one or more haproxy.cfg.
    pub files: Vec<PathBuf>,
    /// The files are in haproxy's format, and the process goes by that name.
    pub as_haproxy: bool,
    /// Name under which this host finds its overrides in the file.
    pub host: Option<String>,
    /// As given; `warren_kit::runtime_dir` knows the default.
    pub runtime_dir: Option<PathBuf>,
    /// Process number is written there.
    pub pid_file: Option<PathBuf>,
    /// Changed to before files are read.
    pub directory: Option<PathBuf>,
    /// `maxconn` of the process, whatever the file says.
    pub maxconn: Option<u32>,
    /// Processes to take over from.
    pub former: Vec<Former>,
    /// Servers whose names cannot be resolved are no reason not to start.
    pub allow_unresolved: bool,
    /// Servers' certificates are not verified.
    pub no_server_verify: bool,
    /// Warnings are errors.
    pub strict: bool,
    /// Say nothing that is no error.
    pub quiet: bool,
    /// Log decisions, not only state changes.
    pub log_detail: bool,
    /// This is the process that stays in the background.
    pub daemonised: bool,
    /// Only starts the one that is meant, and lasts as long.
    pub apart: bool,
}

/// The flags of `warren proxy`.
#[derive(Debug, Clone, Default, Args)]
pub struct ProxyArguments {
    /// Configuration file [default: /etc/warren/warren.toml].
    #[arg(long, value_name = "FILE", conflicts_with = "use_file")]
    pub(crate) config: Option<PathBuf>,
    /// Run a haproxy.cfg instead, or several.
    #[arg(short = 'f', long, value_name = "FILE")]
    pub(crate) use_file: Vec<PathBuf>,
    /// Apply the overrides of [host.NAME] [default: this host's name].
    #[arg(long, value_name = "NAME")]
    pub(crate) host: Option<String>,
    /// Directory for sockets [default: $RUNTIME_DIRECTORY, or /run/warren for root].
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) runtime_dir: Option<PathBuf>,
    /// Write the process number there.
    #[arg(long, value_name = "FILE")]
    pub(crate) pid_file: Option<PathBuf>,
    /// Log decisions, not only state changes.
    #[arg(short = 'D', long)]
    pub(crate) log_detail: bool,
    /// Take over listeners and sessions from this process.
    #[arg(long, hide = true, value_name = "PID")]
    pub(crate) take_over: Option<u32>,
    /// Start the process that takes over, and wait for it.
    #[arg(long, hide = true)]
    pub(crate) apart: bool,
    #[arg(long, hide = true)]
    pub(crate) maxconn: Option<u32>,
    #[arg(long, hide = true)]
    pub(crate) allow_unresolved: bool,
    #[arg(long, hide = true)]
    pub(crate) no_server_verify: bool,
    /// What to ask a running proxy instead of starting one.
    #[command(subcommand)]
    pub verb: Option<ProxyVerb>,
}

/// What a running proxy can be asked.
#[derive(Debug, Clone, Subcommand)]
pub enum ProxyVerb {
    /// Show frontends, backends and servers.
    Status {
        /// Print the answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Explain in sentences why servers and frontends are as they are.
    Why {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show every session: client, server, user, virtual host, traffic.
    Sessions {
        /// Print the answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say whether clients would be served: exit status 0 if every backend in use has a server.
    Ready {
        /// Only this backend.
        #[arg(value_name = "BACKEND")]
        backend: Option<String>,
    },
    /// Give a server no new connections and end those it has, politely.
    Drain {
        /// As BACKEND/SERVER.
        #[arg(value_name = "BACKEND/SERVER")]
        server: String,
    },
    /// Use a server again.
    Resume {
        /// As BACKEND/SERVER.
        #[arg(value_name = "BACKEND/SERVER")]
        server: String,
    },
    /// Move AMQP connections from servers that have more than their share: those that are idle, the oldest first.
    Rebalance {
        /// Only of this backend.
        #[arg(value_name = "BACKEND")]
        backend: Option<String>,
    },
    /// Run a command of the runtime socket, e.g. `show stat`.
    Ctl {
        /// The words of the command.
        #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Read the configuration again; all of it is applied, or nothing.
    Reload,
    /// Go on with the binary that is installed now; listeners and sessions are passed on.
    Upgrade,
}

impl ProxyArguments {
    /// Which daemon a verb is for.
    #[must_use]
    pub fn daemon(&self) -> Daemon {
        Daemon {
            runtime_dir: self.runtime_dir.clone(),
        }
    }

    #[must_use]
    pub fn options(self) -> ProxyOptions {
        let as_haproxy = !self.use_file.is_empty();
        let toml = || vec![self.config.clone().unwrap_or_else(|| CONFIG.into())];
        ProxyOptions {
            files: if as_haproxy { self.use_file.clone() } else { toml() },
            as_haproxy,
            host: self.host,
            runtime_dir: self.runtime_dir,
            pid_file: self.pid_file,
            former: self
                .take_over
                .map(|pid| Former { pid, end: false })
                .into_iter()
                .collect(),
            apart: self.apart,
            log_detail: self.log_detail,
            maxconn: self.maxconn,
            allow_unresolved: self.allow_unresolved,
            no_server_verify: self.no_server_verify,
            ..ProxyOptions::default()
        }
    }
}

impl ProxyOptions {
    /// The same from any working directory.
    pub fn absolute(mut self) -> io::Result<Self> {
        if let Some(directory) = self.directory.take() {
            std::env::set_current_dir(directory)?;
        }
        let singles = [self.runtime_dir.as_mut(), self.pid_file.as_mut()];
        for path in singles.into_iter().flatten().chain(&mut self.files) {
            *path = std::path::absolute(&*path)?;
        }
        Ok(self)
    }

    /// Arguments by which `warren` becomes this proxy in place of the process `pid`.
    #[must_use]
    pub fn successor(&self, pid: u32) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["proxy".into()];
        let flag = if self.as_haproxy { "--use-file" } else { "--config" };
        for file in &self.files {
            arguments.extend([flag.into(), file.into()]);
        }
        if let Some(host) = &self.host {
            arguments.extend(["--host".into(), host.into()]);
        }
        if let Some(directory) = &self.runtime_dir {
            arguments.extend(["--runtime-dir".into(), directory.into()]);
        }
        if let Some(file) = &self.pid_file {
            arguments.extend(["--pid-file".into(), file.into()]);
        }
        if let Some(maxconn) = self.maxconn {
            arguments.extend(["--maxconn".into(), maxconn.to_string().into()]);
        }
        let switches = [
            (self.log_detail, "--log-detail"),
            (self.allow_unresolved, "--allow-unresolved"),
            (self.no_server_verify, "--no-server-verify"),
        ];
        arguments.extend(switches.iter().filter(|(on, _)| *on).map(|(_, name)| name.into()));
        arguments.extend(["--take-over".into(), pid.to_string().into()]);
        // A process in between, which can end so that the successor becomes a child of the service manager.
        arguments.push(APART.into());
        arguments
    }
}
