//! The proxies that are compared, each with the configuration of an operator who followed a tutorial.

use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::net::UdpSocket;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::load;
use super::load::hold_idle;
use crate::bench::{cores, cpu};

const PATIENCE: Duration = Duration::from_secs(10);

/// A proxy, and how it is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Peer {
    /// The distribution's HAProxy with the settings that tutorials have.
    Haproxy,
    /// The same, told to splice and to use edge-triggered events.
    Tuned,
    /// A HAProxy whose binary was given.
    Newer,
    Warren,
}

impl Peer {
    pub(crate) const ALL: [Self; 4] = [Self::Haproxy, Self::Tuned, Self::Newer, Self::Warren];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Haproxy => "haproxy",
            Self::Tuned => "tuned",
            Self::Newer => "newer",
            Self::Warren => "warren",
        }
    }

    /// Each has ports of its own, since all of them run at the same time: this one and 99 more.
    fn first_port(self, workers: usize) -> u16 {
        7000 + 100 * (Self::ALL.len() * (workers - 1) + self as usize) as u16
    }
}

/// What a client can connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    Echo,
    Source,
    Sink,
    HttpSmall,
    HttpLarge,
    TlsLarge,
    TlsSmall,
    TlsSource,
}

impl Entry {
    const ALL: [Self; 8] = [
        Self::Echo,
        Self::Source,
        Self::Sink,
        Self::HttpSmall,
        Self::HttpLarge,
        Self::TlsLarge,
        Self::TlsSmall,
        Self::TlsSource,
    ];

    fn service(self) -> load::Service {
        match self {
            Self::Echo => load::Service::Echo,
            Self::Source | Self::TlsSource => load::Service::Source,
            Self::Sink => load::Service::Sink,
            Self::HttpSmall | Self::TlsSmall => load::Service::HttpSmall,
            Self::HttpLarge | Self::TlsLarge => load::Service::HttpLarge,
        }
    }
}

/// Where the binaries are.
#[derive(Debug, Clone)]
pub(crate) struct Binaries {
    pub(crate) warren: Option<PathBuf>,
    pub(crate) newer: Option<PathBuf>,
    /// A PEM file with key and certificate.
    pub(crate) certificate: PathBuf,
}

/// A running proxy; ended when dropped.
#[derive(Debug)]
pub(crate) struct Unit {
    pub(crate) peer: Peer,
    first_port: u16,
    child: Child,
    /// Who has taken over.
    successor: Option<u32>,
    directory: tempfile::TempDir,
    log: LogSink,
}

impl Unit {
    /// Starts it with a worker for each of its cores and waits until it relays.
    pub(crate) fn start(peer: Peer, binaries: &Binaries, its_cores: &[usize]) -> Result<Self, String> {
        let first_port = peer.first_port(its_cores.len());
        let directory = tempfile::Builder::new()
            .prefix("bench-")
            .tempdir()
            .map_err(|error| error.to_string())?;
        let log =
            LogSink::start(log_port(first_port)).map_err(|error| format!("the log's socket: {error}"))?;
        let program = program(peer, binaries, directory.path())?;
        let file = directory.path().join("haproxy.cfg");
        let text = configuration(
            peer,
            first_port,
            its_cores.len(),
            directory.path(),
            &binaries.certificate,
        );
        std::fs::write(&file, text).map_err(|error| error.to_string())?;
        let output =
            std::fs::File::create(directory.path().join("output")).map_err(|error| error.to_string())?;
        let errors = output.try_clone().map_err(|error| error.to_string())?;
        let child = std::thread::scope(|scope| {
            let start = || {
                cores::stay_among(its_cores);
                Command::new(&program)
                    .args(["-db", "-f"])
                    .arg(&file)
                    .env("RUNTIME_DIRECTORY", directory.path())
                    .stdin(Stdio::null())
                    .stdout(output)
                    .stderr(errors)
                    .spawn()
            };
            scope.spawn(start).join().expect("no panic at a start")
        });
        let child = child.map_err(|error| format!("{}: {error}", program.display()))?;
        let mut unit = Self {
            peer,
            first_port,
            child,
            successor: None,
            directory,
            log,
        };
        unit.wait_until_it_relays()?;
        Ok(unit)
    }

    fn wait_until_it_relays(&mut self) -> Result<(), String> {
        let start = Instant::now();
        while let Err(error) = hold_idle(self.port(Entry::Echo), 1) {
            let ended = self.child.try_wait().ok().flatten();
            if ended.is_some() || start.elapsed() > PATIENCE {
                let output =
                    std::fs::read_to_string(self.directory.path().join("output")).unwrap_or_default();
                let (name, state) = (self.peer.name(), ended.map(|status| status.to_string()));
                return Err(format!(
                    "{name} does not relay: {error}; ended: {state:?}; it wrote:\n{output}"
                ));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    pub(crate) fn port(&self, entry: Entry) -> u16 {
        self.first_port + entry as u16
    }

    pub(crate) fn id(&self) -> u32 {
        self.successor.unwrap_or_else(|| self.child.id())
    }

    /// Has another process take over; ours only.
    pub(crate) fn upgrade(&mut self) -> Result<(), String> {
        let binary = self
            .directory
            .path()
            .join("haproxy")
            .canonicalize()
            .map_err(|error| error.to_string())?;
        let said = Command::new(binary)
            .args(["proxy", "upgrade", "--runtime-dir"])
            .arg(self.directory.path())
            .output()
            .map_err(|error| error.to_string())?;
        if !said.status.success() {
            return Err(String::from_utf8_lossy(&said.stderr).into_owned());
        }
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            self.successor = self.serving().filter(|id| *id != self.child.id());
            if self.successor.is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err("nobody has taken over".to_owned())
    }

    /// The number of the process behind the statistics socket.
    fn serving(&self) -> Option<u32> {
        let mut stream = UnixStream::connect(self.directory.path().join("stats.sock")).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
        stream.write_all(b"show info\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer
            .lines()
            .find_map(|line| line.strip_prefix("Pid: ")?.parse().ok())
    }

    pub(crate) fn log_lines(&self) -> u64 {
        self.log.lines.load(Ordering::Relaxed)
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        for id in cpu::family(self.child.id()).into_iter().chain(self.successor) {
            // One that has ended meanwhile is no error.
            let _ = kill(Pid::from_raw(id.cast_signed()), Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }
}

/// Ours is called by the name that it replaces, so that all of them are started the same way.
fn program(peer: Peer, binaries: &Binaries, directory: &Path) -> Result<PathBuf, String> {
    let given = |path: &Option<PathBuf>| path.clone().ok_or_else(|| "its binary was not given".to_owned());
    match peer {
        Peer::Haproxy | Peer::Tuned => Ok(PathBuf::from("haproxy")),
        Peer::Newer => given(&binaries.newer),
        Peer::Warren => {
            let link = directory.join("haproxy");
            let binary = given(&binaries.warren)?;
            let binary = binary
                .canonicalize()
                .map_err(|error| format!("{}: {error}", binary.display()))?;
            symlink(&binary, &link).map_err(|error| error.to_string())?;
            Ok(link)
        }
    }
}

/// Where a proxy's log goes.
fn log_port(first_port: u16) -> u16 {
    first_port + 99
}

fn configuration(
    peer: Peer,
    first_port: u16,
    workers: usize,
    directory: &Path,
    certificate: &Path,
) -> String {
    let (directory, maximum) = (directory.display(), super::CONNECTIONS_AT_MOST);
    let log = log_port(first_port);
    let (tuned_globally, tuned) = match peer {
        Peer::Tuned => (
            "    expose-experimental-directives\n    tune.fd.edge-triggered on\n    profiling.tasks off\n",
            "    option splice-auto\n",
        ),
        _ => ("", ""),
    };
    let mut text = format!(
        "global\n    log 127.0.0.1:{log} local0 info\n    maxconn {maximum}\n    nbthread {workers}\n    \
         stats socket {directory}/stats.sock mode 600 level admin\n{tuned_globally}\n\
         defaults\n    log global\n    mode tcp\n    option tcplog\n    option dontlognull\n    retries 3\n    \
         option redispatch\n    maxconn {maximum}\n    timeout connect 5s\n    timeout client 120s\n    \
         timeout server 120s\n{tuned}\n"
    );
    for entry in Entry::ALL {
        let port = first_port + entry as u16;
        let (tls, http) = match entry {
            Entry::TlsLarge | Entry::TlsSmall | Entry::TlsSource => {
                (format!(" ssl crt {}", certificate.display()), "")
            }
            Entry::HttpSmall | Entry::HttpLarge => (String::new(), "    mode http\n    option httplog\n"),
            _ => (String::new(), ""),
        };
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "listen entry_{}\n    bind *:{port}{tls}\n{http}",
            entry as u16
        );
        let _ = writeln!(text, "    balance roundrobin");
        for (number, address) in load::ADDRESSES.iter().enumerate() {
            let server = entry.service().port();
            let _ = writeln!(
                text,
                "    server s{number} {address}:{server} check inter 5s rise 2 fall 3"
            );
        }
        text.push('\n');
    }
    text
}

/// Stands for the system log: takes every line, as it comes, and counts it.
#[derive(Debug)]
struct LogSink {
    lines: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl LogSink {
    fn start(port: u16) -> io::Result<Self> {
        let socket = UdpSocket::bind(("127.0.0.1", port))?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let (lines, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, ended) = (Arc::clone(&lines), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut line = [0; 4096];
            while !ended.load(Ordering::Relaxed) {
                if socket.recv(&mut line).is_ok() {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Ok(Self {
            lines,
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for LogSink {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // The port is free when it has ended.
        drop(self.thread.take().map(JoinHandle::join));
    }
}
