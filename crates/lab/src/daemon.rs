//! The daemons under test, started the same way: keepalived from the distribution, warren from this workspace.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::host::Host;
use crate::process::Process;

/// Which daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavour {
    /// The distribution's keepalived.
    Keepalived,
    /// Ours.
    Warren,
}

/// A running VRRP daemon. Dropping it kills all its processes.
#[derive(Debug)]
pub struct Daemon {
    /// Its main process.
    pub process: Process,
    flavour: Flavour,
    configuration: PathBuf,
    runtime: PathBuf,
}

impl Daemon {
    /// Starts a daemon with a configuration in keepalived's format.
    #[track_caller]
    pub fn start(flavour: Flavour, host: &Host, keepalived_conf: &str) -> Self {
        match flavour {
            Flavour::Keepalived => Self::keepalived(host, keepalived_conf),
            Flavour::Warren => {
                let configuration = host.write("keepalived.conf", keepalived_conf);
                Self::warren_with(&warren_binary(), host, "-f", configuration)
            }
        }
    }

    /// Starts the distribution's keepalived. It logs to its log file only: without a system log it would write every
    /// line to the console of the machine, slowly, between two adverts.
    #[track_caller]
    pub fn keepalived(host: &Host, configuration: &str) -> Self {
        let configuration = host.write("keepalived.conf", configuration);
        let runtime = host.directory().to_owned();
        let file: &Path = &configuration;
        let process = host.spawn(
            "keepalived",
            &[
                "--dont-fork",
                "--no-syslog",
                "--log-console",
                "--log-detail",
                "--vrrp",
                "--use-file",
            ]
            .map(OsString::from)
            .into_iter()
            .chain([file.as_os_str().to_owned()])
            .collect::<Vec<_>>(),
        );
        Self {
            process,
            flavour: Flavour::Keepalived,
            configuration,
            runtime,
        }
    }

    /// Starts warren with a configuration of its own format.
    #[track_caller]
    pub fn warren(host: &Host, toml: &str) -> Self {
        let configuration = host.write("warren.toml", toml);
        Self::warren_with(&warren_binary(), host, "--config", configuration)
    }

    /// Starts a copy of warren that can be replaced, with a configuration in keepalived's format.
    #[track_caller]
    pub fn warren_copy(binary: &Path, host: &Host, keepalived_conf: &str) -> Self {
        let configuration = host.write("keepalived.conf", keepalived_conf);
        Self::warren_with(binary, host, "-f", configuration)
    }

    #[track_caller]
    fn warren_with(binary: &Path, host: &Host, option: &str, configuration: PathBuf) -> Self {
        let runtime = host.directory().join("run");
        std::fs::create_dir_all(&runtime).expect("a runtime directory");
        let mut command = Command::new(binary);
        command
            .args(["vrrp", option])
            .arg(&configuration)
            .arg("--runtime-dir")
            .arg(&runtime)
            .args(["--log-console", "--no-syslog"]);
        Self {
            process: host.spawn_command(command),
            flavour: Flavour::Warren,
            configuration,
            runtime,
        }
    }

    /// Which daemon it is.
    pub fn flavour(&self) -> Flavour {
        self.flavour
    }

    /// Replaces the configuration file and has it loaded (SIGHUP).
    pub fn reload(&self, configuration: &str) {
        std::fs::write(&self.configuration, configuration).expect("the configuration can be replaced");
        self.process.signal(nix::sys::signal::Signal::SIGHUP);
    }

    /// The process that speaks the protocol: the child of the main process, in both daemons.
    #[track_caller]
    pub fn worker(&self) -> i32 {
        let children = self.process.descendants();
        *children.first().unwrap_or_else(|| {
            panic!(
                "{:?} has no worker; it wrote:\n{}",
                self.flavour,
                self.process.log()
            )
        })
    }

    /// Where warren keeps its socket.
    pub fn runtime_directory(&self) -> &Path {
        &self.runtime
    }

    /// Runs a command of warren's command line against this daemon, on `host`.
    #[track_caller]
    pub fn ctl(&self, host: &Host, arguments: &str) -> std::process::Output {
        let binary = warren_binary();
        host.try_sh(&format!(
            "{} {arguments} --runtime-dir {}",
            binary.display(),
            self.runtime.display()
        ))
    }
}

/// The binary under test: `WARREN_BIN`, else the one next to this program in the target directory. Whoever runs the
/// tests builds it first (`cargo build -p warren`); a missing binary is a failure, never a skipped test.
#[track_caller]
pub fn warren_binary() -> PathBuf {
    if let Some(path) = std::env::var_os("WARREN_BIN") {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "WARREN_BIN={} is not a file", path.display());
        return path;
    }
    beside_this_program("warren")
        .unwrap_or_else(|| panic!("no warren binary: run `cargo build -p warren` or set WARREN_BIN"))
}

/// The laboratory as a program, for what has to be a process of its own.
#[track_caller]
pub fn lab_binary() -> PathBuf {
    beside_this_program("lab").unwrap_or_else(|| panic!("no lab binary: run `cargo build -p warren-lab`"))
}

/// A program in the target directory that this one is in.
fn beside_this_program(name: &str) -> Option<PathBuf> {
    let this = std::env::current_exe().expect("this program knows its path");
    this.ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
}

/// The real haproxy, relaying TCP connections on one port to another address.
#[derive(Debug)]
pub struct Haproxy {
    /// The process.
    pub process: Process,
}

impl Haproxy {
    /// Listens on `port` of every address of the host and relays to `server`.
    #[track_caller]
    pub fn start(host: &Host, port: u16, server: &str) -> Self {
        let configuration = host.write(
            "haproxy.cfg",
            &format!(
                "defaults\n  mode tcp\n  timeout connect 1s\n  timeout client 10s\n  timeout server 10s\n\
                 listen service\n  bind *:{port}\n  server one {server}\n"
            ),
        );
        let process = host.spawn("haproxy", &[Path::new("-db"), Path::new("-f"), &configuration]);
        Self { process }
    }
}
