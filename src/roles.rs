//! What the command line sets going: one function for each thing that is not a conversation with a running daemon.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use warren_broker::config::Environment;
use warren_broker::daemon as broker_daemon;
use warren_kit::logging;
use warren_kit::report::{Code, Report};
use warren_kit::runtime_dir;
use warren_proxy::config::Format as ProxyFormat;
use warren_proxy::daemon as proxy_daemon;

use crate::cli::{APART, BrokerOptions, Mode, ProxyOptions, VrrpOptions, rabbitmq};
use crate::config::Format;
use crate::netlink::statics::{Statics, Wanted};
use crate::netlink::{self, Batch, Netlink};
use crate::plumbing::{self, Ledger};
use crate::{addresses, config, daemon, guard};

/// Runs the failover daemon until it is told to stop.
pub fn vrrp(options: &VrrpOptions) -> Result<ExitCode, Report> {
    let options = options.clone().absolute()?;
    let log = log_options(&options)?;
    match options.mode {
        Mode::Guard => {
            // Before logging has its thread.
            let signals = guard::take_signals()?;
            let _flushed_at_the_end = logging::init(&log)?;
            let command = guard::WorkerCommand {
                // Not /proc/self/exe: after an upgrade that is still the old file.
                program: std::env::current_exe()?,
                name: "warren".into(),
                arguments: options.arguments(),
                restart: options.restart,
            };
            let _pid_file = options.pid_file.as_deref().map(PidFile::write).transpose()?;
            Ok(guard::run(command, signals).into())
        }
        Mode::Worker => {
            // The kernel names a process after the path it was started by, and that was the guard's own.
            nix::sys::prctl::set_name(c"warren").map_err(io::Error::from)?;
            let _flushed_at_the_end = logging::init(&log)?;
            let _pid_file = options
                .worker_pid_file
                .as_deref()
                .map(PidFile::write)
                .transpose()?;
            daemon::run(&options)?;
            Ok(ExitCode::SUCCESS)
        }
        Mode::CleanUp => {
            let _flushed_at_the_end = logging::init(&log)?;
            clean_up(&options)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn log_options(options: &VrrpOptions) -> Result<logging::Options, Report> {
    let mut log = logging::Options::from_environment("warren-vrrp")?;
    // keepalived's custom outside systemd: syslog, and with its own format the terminal only when asked.
    if !log.journal && Path::new("/dev/log").exists() {
        log.syslog = !options.log.no_syslog;
        if options.format == Format::Keepalived && log.syslog && !options.log.console {
            log.console = None;
        }
    }
    if options.log.detail && std::env::var_os(logging::FILTER_VARIABLE).is_none() {
        log.filter = "debug".parse()?;
    }
    Ok(log)
}

/// Takes away the addresses, routes and rules that carry our mark.
fn clean_up(options: &VrrpOptions) -> Result<(), Report> {
    let mut netlink = Netlink::open()?;
    let mut batch = Batch::new();
    // Without a directory nothing was written down in it.
    let ledger = runtime_dir::for_daemon(options.runtime_dir.as_deref());
    let ledger = ledger.ok().and_then(|directory| Ledger::needed(&directory));
    for address in plumbing::leftovers(&mut netlink, ledger.as_ref())? {
        address.delete(&mut batch);
    }
    if !batch.is_empty() {
        netlink.run(&mut batch)?;
    }
    netlink::delete_leftover_routes_and_rules(&mut netlink, &[], &[])?;
    Statics::open()?.apply(&Wanted::default())?;
    Ok(())
}

/// A file with this process's number, for as long as it runs. Never read by us: nothing depends on it.
struct PidFile(PathBuf);

impl PidFile {
    fn write(path: &Path) -> Result<Self, Report> {
        std::fs::write(path, format!("{}\n", std::process::id())).map_err(|error| {
            let text = format!(
                "pid file {} not written: {error}; name another with --pid-file",
                path.display()
            );
            Report::new(Code::Runtime, text)
        })?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Runs the proxy until it is told to stop.
pub fn proxy(options: &ProxyOptions) -> Result<ExitCode, Report> {
    let options = options.clone().absolute()?;
    // Not /proc/self/exe: after an upgrade that is still the old file.
    let program = std::env::current_exe()?;
    if options.apart {
        return start_apart(&program);
    }
    let mut log = logging::Options::from_environment(if options.as_haproxy {
        "haproxy"
    } else {
        "warren-proxy"
    })?;
    if options.log_detail && std::env::var_os(logging::FILTER_VARIABLE).is_none() {
        log.filter = "debug".parse()?;
    }
    if options.quiet {
        log.filter = "error".parse()?;
    }
    let _flushed_at_the_end = logging::init(&log)?;
    let successor = options.clone();
    match proxy_daemon::run(proxy_daemon::Options {
        files: options.files.clone(),
        format: if options.as_haproxy {
            ProxyFormat::Haproxy
        } else {
            ProxyFormat::Toml
        },
        host: options.host.clone().unwrap_or_else(config::host_name),
        runtime_dir: options.runtime_dir.clone(),
        pid_file: options.pid_file.clone(),
        maxconn: options.maxconn,
        former: options
            .former
            .iter()
            .map(|former| proxy_daemon::Former {
                pid: former.pid,
                end: former.end,
            })
            .collect(),
        allow_unresolved: options.allow_unresolved,
        no_server_verify: options.no_server_verify,
        strict: options.strict,
        successor: Box::new(move || {
            let mut command = std::process::Command::new(&program);
            // Its arguments are ours, whatever name the file has.
            command.arg0("warren");
            command.args(successor.successor(std::process::id()));
            command
        }),
        addresses_lost: Some(addresses::lost()),
    }) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // Diagnostics come with their own "error:" and place.
        Err(proxy_daemon::DaemonError::Config(error)) => {
            let colour = warren_kit::terminal::wants_colour(&io::stderr());
            io::stderr().write_all(error.render(colour).as_bytes())?;
            let code = if options.as_haproxy {
                Code::Runtime
            } else {
                Code::Config
            };
            Ok(code.into())
        }
        Err(error) if error.is_config() => Err(Report::new(Code::Config, error)),
        Err(error) => Err(Report::new(Code::Runtime, error)),
    }
}

/// Starts the proxy that is meant, and lasts as long as it does; the process that wants it to be nobody's child ends this
/// one.
fn start_apart(program: &Path) -> Result<ExitCode, Report> {
    let mut command = std::process::Command::new(program);
    command.arg0("warren");
    command.args(std::env::args_os().skip(1).filter(|argument| argument != APART));
    let status = command.status()?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or_else(|| Code::Runtime.into(), ExitCode::from))
}

/// Whether haproxy.cfg says `daemon`. What is wrong with the file is said by whoever runs it.
pub fn wants_background(options: &ProxyOptions) -> Result<bool, Report> {
    let machine = warren_proxy::config::Machine::here(&config::host_name());
    let loaded = warren_proxy::config::load_haproxy(&options.files, &machine);
    Ok(loaded.is_ok_and(|loaded| loaded.plan.global.daemon))
}

/// Runs the broker until it is told to stop.
pub fn broker(options: &BrokerOptions) -> Result<ExitCode, Report> {
    let options = options.clone().absolute()?;
    let name = if options.as_rabbitmq {
        "rabbitmq-server"
    } else {
        "warren-broker"
    };
    let mut log = logging::Options::from_environment(name)?;
    if options.log_detail && std::env::var_os(logging::FILTER_VARIABLE).is_none() {
        log.filter = "debug".parse()?;
    }
    let _flushed_at_the_end = logging::init(&log)?;
    let _pid_file = options.pid_file.as_deref().map(PidFile::write).transpose()?;
    match broker_daemon::run(&broker_daemon::Options {
        files: options.files,
        format: options.format,
        environment: Environment::ours(),
        home: options.as_rabbitmq.then(|| rabbitmq::HOME.into()),
        host: options.host.unwrap_or_else(config::host_name),
        listen: options.listen,
        data: options.data,
        node: options.node,
        runtime_dir: options.runtime_dir,
        log: if log.journal { "<journal>" } else { "<stderr>" }.into(),
        metrics: options.metrics,
        log_is_chosen: options.log_detail || std::env::var_os(logging::FILTER_VARIABLE).is_some(),
    }) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // With its place, and the status of a wrong configuration.
        Err(broker_daemon::DaemonError::Config(error)) => Err(error.into()),
        Err(error) => Err(error.into()),
    }
}
