//! How the failover daemon is started, whatever name it was called by.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use clap::Args;

use crate::config::Format;

/// Where `warren vrrp` finds its configuration unless told otherwise.
const CONFIG: &str = "/etc/warren/warren.toml";

/// Which of the daemon's processes this is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// The one that was started; parent of the worker.
    #[default]
    Guard,
    /// The one that does the work.
    Worker,
    /// Takes away what an earlier run left behind, and ends.
    CleanUp,
}

/// Where log lines go. Under systemd they go to the journal in any case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    /// Standard error as well.
    pub console: bool,
    /// Decisions, not only state changes.
    pub detail: bool,
    /// Not to syslog.
    pub no_syslog: bool,
    /// syslog facility: `local0` to `local7`, `user` or `daemon` (the default).
    pub facility: Option<String>,
}

/// Everything the daemon is told on its command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VrrpOptions {
    pub config: PathBuf,
    pub format: Format,
    /// Name under which this host finds its overrides in the file.
    pub host: Option<String>,
    /// keepalived's `@id` that selects lines of its format; the host name unless given.
    pub config_id: Option<String>,
    /// As given; `warren_kit::runtime_dir` knows the default.
    pub runtime_dir: Option<PathBuf>,
    pub mode: Mode,
    pub log: Log,
    /// Process numbers of guard and worker are written there.
    pub pid_file: Option<PathBuf>,
    pub worker_pid_file: Option<PathBuf>,
    /// Leave addresses, routes and rules in place on an orderly stop.
    pub keep_addresses: bool,
    /// Start the worker again when it dies.
    pub restart: bool,
}

/// The flags of `warren vrrp`.
#[derive(Debug, Clone, Default, Args)]
pub struct VrrpArguments {
    /// Configuration file [default: /etc/warren/warren.toml].
    #[arg(long, value_name = "FILE", conflicts_with = "use_file")]
    pub(crate) config: Option<PathBuf>,
    /// Run a keepalived.conf instead.
    #[arg(short = 'f', long, value_name = "FILE")]
    pub(crate) use_file: Option<PathBuf>,
    /// Apply the overrides of [host.NAME] [default: this host's name].
    #[arg(long, value_name = "NAME")]
    pub(crate) host: Option<String>,
    /// keepalived.conf: use the lines marked @ID [default: this host's name].
    #[arg(long, value_name = "ID")]
    pub(crate) config_id: Option<String>,
    /// Directory for sockets and state [default: $RUNTIME_DIRECTORY, or /run/warren for root].
    #[arg(long, value_name = "DIR")]
    pub(crate) runtime_dir: Option<PathBuf>,
    /// Log to standard error as well.
    #[arg(short = 'l', long)]
    pub(crate) log_console: bool,
    /// Log decisions, not only state changes.
    #[arg(short = 'D', long)]
    pub(crate) log_detail: bool,
    /// Do not log to syslog.
    #[arg(long)]
    pub(crate) no_syslog: bool,
    /// syslog facility: local0 to local7, user or daemon [default: daemon].
    #[arg(long, value_name = "NAME")]
    pub(crate) log_facility: Option<String>,
    /// Write the process number there.
    #[arg(long, value_name = "FILE")]
    pub(crate) pid_file: Option<PathBuf>,
    /// Write the worker's process number there.
    #[arg(long, value_name = "FILE")]
    pub(crate) worker_pid_file: Option<PathBuf>,
    /// Leave addresses, routes and rules in place on an orderly stop.
    #[arg(long)]
    pub(crate) keep_addresses: bool,
    /// Do not start the worker again when it dies.
    #[arg(long)]
    pub(crate) no_restart: bool,
    /// Be the worker; the guard says so.
    #[arg(long, hide = true, conflicts_with = "clean_up")]
    pub(crate) worker: bool,
    /// Take away what an earlier run left behind.
    #[arg(long, hide = true)]
    pub(crate) clean_up: bool,
}

impl VrrpArguments {
    #[must_use]
    pub fn options(self) -> VrrpOptions {
        let (config, format) = match self.use_file {
            Some(file) => (file, Format::Keepalived),
            None => (self.config.unwrap_or_else(|| CONFIG.into()), Format::Toml),
        };
        VrrpOptions {
            config,
            format,
            host: self.host,
            config_id: self.config_id,
            runtime_dir: self.runtime_dir,
            mode: match (self.worker, self.clean_up) {
                (true, _) => Mode::Worker,
                (_, true) => Mode::CleanUp,
                _ => Mode::Guard,
            },
            log: Log {
                console: self.log_console,
                detail: self.log_detail,
                no_syslog: self.no_syslog,
                facility: self.log_facility,
            },
            pid_file: self.pid_file,
            worker_pid_file: self.worker_pid_file,
            keep_addresses: self.keep_addresses,
            restart: !self.no_restart,
        }
    }
}

impl VrrpOptions {
    /// The same from any working directory.
    pub fn absolute(mut self) -> io::Result<Self> {
        let paths = [
            Some(&mut self.config),
            self.runtime_dir.as_mut(),
            self.pid_file.as_mut(),
            self.worker_pid_file.as_mut(),
        ];
        for path in paths.into_iter().flatten() {
            *path = std::path::absolute(&*path)?;
        }
        Ok(self)
    }

    /// Arguments by which `warren` becomes this daemon, e.g. for the guard to start its worker with.
    #[must_use]
    pub fn arguments(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec!["vrrp".into()];
        let mut option = |name: &str, value: Option<OsString>| {
            if let Some(value) = value {
                // One word, so that a value that begins with a dash is still a value.
                let mut word = OsString::from(name);
                word.push("=");
                word.push(value);
                words.push(word);
            }
        };
        let file = match self.format {
            Format::Toml => "--config",
            Format::Keepalived => "--use-file",
        };
        option(file, Some(self.config.clone().into()));
        option("--host", self.host.clone().map(Into::into));
        option("--config-id", self.config_id.clone().map(Into::into));
        option("--runtime-dir", self.runtime_dir.clone().map(Into::into));
        option("--log-facility", self.log.facility.clone().map(Into::into));
        option("--pid-file", self.pid_file.clone().map(Into::into));
        option("--worker-pid-file", self.worker_pid_file.clone().map(Into::into));
        let flags = [
            (self.log.console, "--log-console"),
            (self.log.detail, "--log-detail"),
            (self.log.no_syslog, "--no-syslog"),
            (self.keep_addresses, "--keep-addresses"),
            (!self.restart, "--no-restart"),
            (self.mode == Mode::Worker, "--worker"),
            (self.mode == Mode::CleanUp, "--clean-up"),
        ];
        words.extend(flags.iter().filter(|(set, _)| *set).map(|(_, flag)| flag.into()));
        words
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Cli, Command};
    use super::*;

    fn parsed<I: IntoIterator<Item = OsString>>(words: I) -> VrrpOptions {
        let words = std::iter::once("warren".into()).chain(words);
        match Cli::try_parse_from(words).unwrap().command {
            Command::Vrrp(arguments) => arguments.options(),
            other => panic!("{other:?} is not vrrp"),
        }
    }

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn without_flags_the_usual_file_is_run_by_a_guard() {
        let options = parsed(words("vrrp"));
        assert_eq!(options.config, PathBuf::from(CONFIG));
        assert_eq!(options.format, Format::Toml);
        assert_eq!(options.mode, Mode::Guard);
        assert!(options.restart);
    }

    #[test]
    fn the_workers_arguments_mean_what_the_guards_did() {
        for line in [
            "vrrp",
            "vrrp -f /etc/keepalived/keepalived.conf --config-id left -lD --runtime-dir /run/a",
            "vrrp --config=-odd.toml --host b --pid-file p --worker-pid-file w --keep-addresses --no-restart",
            "vrrp --log-facility local1 --no-syslog --clean-up",
        ] {
            let options = parsed(words(line));
            assert_eq!(parsed(options.arguments()), options, "{line}");
            let worker = VrrpOptions {
                mode: Mode::Worker,
                ..options
            };
            assert_eq!(parsed(worker.arguments()), worker, "{line} --worker");
        }
    }

    #[test]
    fn one_configuration_at_a_time() {
        assert!(Cli::try_parse_from(["warren", "vrrp", "--config", "a", "-f", "b"]).is_err());
    }
}
