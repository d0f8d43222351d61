//! The options of keepalived, for units, scripts and fingers that call it by that name.
//!
//! Each option either does what it did, is accepted because it cannot matter here, or is refused with the reason:
//! none is ignored in silence. Load balancing (LVS), BFD and SNMP are not part of this program.

use std::path::PathBuf;

use clap::Parser;

use super::{Log, Mode, VrrpOptions};
use crate::config::Format;

/// Where keepalived finds its configuration unless told otherwise.
const CONFIG: &str = "/etc/keepalived/keepalived.conf";

/// Where messages of `-t` go unless told otherwise.
const STDERR: &str = "-";

/// The failover daemon, called as keepalived.
#[derive(Debug, Clone, Parser)]
#[command(name = "keepalived", disable_version_flag = true, args_override_self = true)]
pub struct Keepalived {
    /// Configuration file.
    #[arg(short = 'f', long, value_name = "FILE", default_value = CONFIG)]
    use_file: PathBuf,
    /// Stay in the foreground.
    #[arg(short = 'n', long)]
    pub dont_fork: bool,
    /// Check the configuration and exit: 0 if it is right, 3 if it cannot be run.
    #[arg(short = 't')]
    test: bool,
    /// The same, with messages written to FILE if given.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = STDERR)]
    config_test: Option<PathBuf>,
    /// Log to the console as well.
    #[arg(short = 'l', long)]
    log_console: bool,
    /// Log in detail.
    #[arg(short = 'D', long)]
    log_detail: bool,
    /// syslog facility: 0 to 7 or local0 to local7, user, daemon.
    #[arg(short = 'S', long, value_name = "FACILITY", value_parser = facility)]
    log_facility: Option<String>,
    /// Do not log to syslog.
    #[arg(short = 'G', long)]
    no_syslog: bool,
    /// Leave addresses, routes and rules in place on an orderly stop.
    #[arg(short = 'V', long)]
    dont_release_vrrp: bool,
    /// Do not start the worker again when it dies.
    #[arg(short = 'R', long)]
    dont_respawn: bool,
    /// Write the process number there.
    #[arg(short = 'p', long, value_name = "FILE")]
    pid: Option<PathBuf>,
    /// Write the worker's process number there.
    #[arg(short = 'r', long = "vrrp_pid", value_name = "FILE")]
    vrrp_pid: Option<PathBuf>,
    /// Use the lines of the configuration marked @ID [default: this host's name].
    #[arg(short = 'i', long, value_name = "ID")]
    config_id: Option<String>,
    /// Print the number of the signal for STOP, RELOAD, DATA, STATS.
    #[arg(long, value_name = "NAME")]
    pub signum: Option<String>,
    /// Print the version.
    #[arg(short = 'v', long)]
    pub version: bool,
    /// Directory for sockets and state (not an option of keepalived) [default: as warren's].
    #[arg(long, value_name = "DIR")]
    runtime_dir: Option<PathBuf>,
    /// This is the process that stays; said by the one that does not.
    #[arg(long, hide = true)]
    pub daemonised: bool,

    #[command(flatten)]
    moot: Moot,
    #[command(flatten)]
    refused: NotHere,
}

/// Accepted: what they ask for is so in any case, or concerns a part that is not running.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Accepted, without effect")]
struct Moot {
    /// Only run VRRP: there is nothing else.
    #[arg(short = 'P', long)]
    vrrp: bool,
    /// Do not run BFD: it never is.
    #[arg(short = 'B', long = "no_bfd")]
    no_bfd: bool,
    /// Run all parts: there is one.
    #[arg(long)]
    all: bool,
    /// Dump the configuration: see `warren import` and `warren status --json`.
    #[arg(short = 'd', long)]
    dump_conf: bool,
    /// Drop addresses when stopped by a signal: they are.
    #[arg(short = 'X', long)]
    release_vips: bool,
    /// LVS is not part of this program.
    #[arg(short = 'I', long)]
    dont_release_ipvs: bool,
    /// There is no process for health checks.
    #[arg(short = 'c', long = "checkers_pid", value_name = "FILE")]
    checkers_pid: Option<PathBuf>,
    /// There is no process for BFD.
    #[arg(short = 'b', long = "bfd_pid", value_name = "FILE")]
    bfd_pid: Option<PathBuf>,
    /// Changes of addresses are events: see `warren events`.
    #[arg(short = 'a', long)]
    address_monitoring: bool,
    /// SNMP is not part of this program: see its metrics.
    #[arg(short = 'x', long)]
    snmp: bool,
    /// As above.
    #[arg(short = 'A', long, value_name = "FILE")]
    snmp_agent_socket: Option<PathBuf>,
    /// No core dump is needed to find a panic.
    #[arg(short = 'm', long)]
    core_dump: bool,
    /// A missing configuration file is always an error.
    #[arg(short = 'e', long)]
    all_config: bool,
    /// Files are created with the permissions they need.
    #[arg(short = 'u', long, value_name = "MASK")]
    umask: Option<String>,
    /// There is no log file to flush.
    #[arg(long)]
    flush_log_file: bool,
}

/// Refused, since leaving them out would change what the operator gets.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Refused")]
struct NotHere {
    /// Health checks of LVS are not part of this program.
    #[arg(short = 'C', long)]
    check: bool,
    /// genhash is not part of this program.
    #[arg(short = 'T', long)]
    genhash: bool,
    /// Log to a file: use the journal or syslog.
    #[arg(short = 'g', long, value_name = "FILE")]
    log_file: Option<PathBuf>,
    /// Run in a network namespace: use `ip netns exec NAME`, or NetworkNamespacePath= in the unit.
    #[arg(short = 's', long, value_name = "NAME")]
    namespace: Option<String>,
    /// Setting the system's core pattern is no business of a daemon.
    #[arg(short = 'M')]
    core_pattern: bool,
    /// As above.
    #[arg(long, value_name = "PATTERN", num_args = 0..=1, require_equals = true, default_missing_value = "core")]
    core_dump_pattern: Option<String>,
}

/// What a call by keepalived's name asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Errand {
    Run(Box<VrrpOptions>),
    /// `-t`; messages go to the file if there is one.
    Test {
        options: Box<VrrpOptions>,
        messages: Option<PathBuf>,
    },
    Version,
    Signal(i32),
}

/// A call that is well-formed and still not possible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("{option} is not supported: {instead}")]
    NotHere {
        option: &'static str,
        instead: &'static str,
    },
    #[error("there is no signal for `{0}`; STOP, RELOAD, DATA and STATS have one")]
    Signal(String),
}

impl Keepalived {
    /// Options of our own that stand for these, or the reason why there are none.
    pub fn errand(self) -> Result<Errand, Refused> {
        self.refused.complain()?;
        if self.version {
            return Ok(Errand::Version);
        }
        if let Some(name) = self.signum {
            return signal(&name).map(Errand::Signal).ok_or(Refused::Signal(name));
        }
        let options = Box::new(VrrpOptions {
            config: self.use_file,
            format: Format::Keepalived,
            host: None,
            config_id: self.config_id,
            runtime_dir: self.runtime_dir,
            mode: Mode::Guard,
            log: Log {
                console: self.log_console,
                detail: self.log_detail,
                no_syslog: self.no_syslog,
                facility: self.log_facility,
            },
            pid_file: self.pid,
            worker_pid_file: self.vrrp_pid,
            keep_addresses: self.dont_release_vrrp,
            restart: !self.dont_respawn,
        });
        if !self.test && self.config_test.is_none() {
            return Ok(Errand::Run(options));
        }
        Ok(Errand::Test {
            options,
            messages: self.config_test.filter(|file| file.as_os_str() != STDERR),
        })
    }

    /// Options that were given and change nothing, for a note in the log.
    #[must_use]
    pub fn without_effect(&self) -> Vec<&'static str> {
        let moot = &self.moot;
        // Only those whose absence could surprise; -P and the like ask for what is so anyway.
        [
            (moot.snmp || moot.snmp_agent_socket.is_some(), "--snmp"),
            (moot.core_dump, "--core-dump"),
            (moot.dump_conf, "--dump-conf"),
            (moot.umask.is_some(), "--umask"),
            (moot.checkers_pid.is_some(), "--checkers_pid"),
            (moot.bfd_pid.is_some(), "--bfd_pid"),
        ]
        .into_iter()
        .filter_map(|(given, name)| given.then_some(name))
        .collect()
    }
}

impl NotHere {
    fn complain(&self) -> Result<(), Refused> {
        let complaints = [
            (
                self.check,
                "--check (-C)",
                "health checks of LVS are not part of this program; run keepalived for them",
            ),
            (self.genhash, "--genhash (-T)", "use curl and md5sum"),
            (
                self.log_file.is_some(),
                "--log-file (-g)",
                "use the journal or syslog, or -l with standard error led to a file",
            ),
            (
                self.namespace.is_some(),
                "--namespace (-s)",
                "use `ip netns exec NAME keepalived ...`, or NetworkNamespacePath= in the unit",
            ),
            (
                self.core_pattern || self.core_dump_pattern.is_some(),
                "--core-dump-pattern (-M)",
                "set kernel.core_pattern with sysctl",
            ),
        ];
        match complaints.into_iter().find(|(given, ..)| *given) {
            Some((_, option, instead)) => Err(Refused::NotHere { option, instead }),
            None => Ok(()),
        }
    }
}

/// The signals this daemon knows under the names of keepalived.
fn signal(name: &str) -> Option<i32> {
    use nix::sys::signal::Signal;
    Some(match name {
        "STOP" => Signal::SIGTERM as i32,
        "RELOAD" => Signal::SIGHUP as i32,
        "DATA" => Signal::SIGUSR1 as i32,
        "STATS" => Signal::SIGUSR2 as i32,
        _ => return None,
    })
}

fn facility(text: &str) -> Result<String, String> {
    let number = text.strip_prefix("local").unwrap_or(text);
    match (text, number.as_bytes()) {
        ("user" | "daemon", _) => Ok(text.into()),
        (_, [b'0'..=b'7']) => Ok(format!("local{number}")),
        _ => Err("a facility is 0 to 7, local0 to local7, user or daemon".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errand(line: &str) -> Result<Errand, Refused> {
        Keepalived::try_parse_from(line.split_whitespace())
            .unwrap_or_else(|error| panic!("{error}"))
            .errand()
    }

    fn run(line: &str) -> VrrpOptions {
        match errand(line) {
            Ok(Errand::Run(options)) => *options,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn combined_short_flags_mean_what_they_did() {
        let line = "keepalived -nlDPdf /tmp/k.conf -p/run/k.pid -r /run/v.pid -RVS 3 -i left";
        let parsed = Keepalived::try_parse_from(line.split_whitespace()).unwrap();
        assert!(parsed.dont_fork);
        assert_eq!(parsed.without_effect(), ["--dump-conf"]);
        let options = run(line);
        assert_eq!(options.config, PathBuf::from("/tmp/k.conf"));
        assert_eq!(options.format, Format::Keepalived);
        assert!(options.log.console && options.log.detail && options.keep_addresses && !options.restart);
        assert_eq!(options.log.facility.as_deref(), Some("local3"));
        assert_eq!(options.pid_file, Some("/run/k.pid".into()));
        assert_eq!(options.worker_pid_file, Some("/run/v.pid".into()));
        assert_eq!(options.config_id.as_deref(), Some("left"));
    }

    #[test]
    fn no_pid_file_is_written_unless_asked_for() {
        let options = run("keepalived");
        assert_eq!(options.config, PathBuf::from(CONFIG));
        assert_eq!((options.pid_file, options.worker_pid_file), (None, None));
    }

    #[test]
    fn the_long_forms_of_units_work() {
        // Debian's unit, and the older one that forks.
        for line in [
            "keepalived --dont-fork",
            "keepalived --dont-fork --log-console --log-detail",
            "keepalived -D",
            "keepalived --use-file=/etc/keepalived/keepalived.conf --vrrp --snmp",
        ] {
            run(line);
        }
    }

    #[test]
    fn config_test_takes_its_file_only_after_an_equals_sign() {
        for (line, file) in [
            ("keepalived -t", None),
            ("keepalived -t -f a.conf", None),
            ("keepalived -tf a.conf", None),
            ("keepalived --config-test -f a.conf", None),
            ("keepalived --config-test=out.log -f a.conf", Some("out.log")),
        ] {
            match errand(line) {
                Ok(Errand::Test { messages, .. }) => assert_eq!(messages, file.map(PathBuf::from), "{line}"),
                other => panic!("{line}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_is_not_here_is_refused_with_the_way_out() {
        for line in ["-C", "-T", "-g f", "-s blue", "-M", "--core-dump-pattern=x"] {
            let refused = errand(&format!("keepalived {line}")).unwrap_err().to_string();
            assert!(refused.contains("is not supported: "), "{line}: {refused}");
        }
        assert!(Keepalived::try_parse_from(["keepalived", "--wat"]).is_err());
        assert!(Keepalived::try_parse_from(["keepalived", "-S", "8"]).is_err());
    }

    #[test]
    fn signals_have_the_numbers_that_scripts_send() {
        for (name, number) in [("STOP", 15), ("RELOAD", 1), ("DATA", 10), ("STATS", 12)] {
            assert_eq!(
                errand(&format!("keepalived --signum={name}")),
                Ok(Errand::Signal(number))
            );
        }
        assert_eq!(
            errand("keepalived --signum=XX"),
            Err(Refused::Signal("XX".into()))
        );
    }
}
