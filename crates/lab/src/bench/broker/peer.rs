//! The brokers that are compared, each as it comes from its package.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::client::Client;
use crate::bench::{cores, cpu};

/// Erlang on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Peer {
    /// The distribution's, with its management plugin, as tutorials have it.
    Rabbitmq,
    /// One whose binary was given.
    Lavinmq,
    /// One that does nothing but to answer: [`super::floor`].
    Floor,
    /// Ours, as an operator starts it: it logs, and serves metrics.
    Warren,
}

impl Peer {
    pub(crate) const ALL: [Self; 4] = [Self::Rabbitmq, Self::Lavinmq, Self::Floor, Self::Warren];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Rabbitmq => "rabbitmq",
            Self::Lavinmq => "lavinmq",
            Self::Floor => "floor",
            Self::Warren => "warren",
        }
    }

    /// Each has a port of its own, since all of them run at the same time.
    const fn port(self) -> u16 {
        match self {
            Self::Rabbitmq => 5672,
            Self::Lavinmq => 5673,
            Self::Warren => 5674,
            Self::Floor => 5675,
        }
    }
}

/// Where binaries, data and cores are.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    pub(crate) warren: Option<PathBuf>,
    pub(crate) lavinmq: Option<PathBuf>,
    /// Every broker has a directory in it.
    pub(crate) data: PathBuf,
    pub(crate) cores: Vec<usize>,
}

/// A running broker with all its processes; killed when dropped, and its data with it.
#[derive(Debug)]
pub(crate) struct Unit {
    pub(crate) peer: Peer,
    site: Site,
    directory: tempfile::TempDir,
    child: Child,
    /// From the start of the process to the first connection that was open.
    pub(crate) ready_after: Duration,
}

impl Unit {
    /// Starts it on its cores, with no data, and waits until a client can log in.
    pub(crate) fn start(peer: Peer, site: &Site) -> Result<Self, String> {
        let directory = tempfile::Builder::new()
            .prefix(&format!("bench-{}-", peer.name()))
            .tempdir_in(&site.data)
            .map_err(|error| format!("{}: {error}", site.data.display()))?;
        let child = spawn(peer, site, &directory)?;
        let mut unit = Self {
            peer,
            site: site.clone(),
            directory,
            child,
            ready_after: Duration::ZERO,
        };
        unit.wait_until_ready()?;
        Ok(unit)
    }

    /// Ends it as a power cut would end its processes, and starts it again with its data.
    pub(crate) fn crash(&mut self) -> Result<(), String> {
        self.kill();
        self.child = spawn(self.peer, &self.site, &self.directory)?;
        self.wait_until_ready()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.peer.port()).into()
    }

    /// On the disk that its data is on.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    fn wait_until_ready(&mut self) -> Result<(), String> {
        let start = Instant::now();
        loop {
            let opened = Client::with_channel(self.address(), Duration::from_secs(5));
            // Somebody else may have its port.
            let ended = self.child.try_wait().ok().flatten();
            let error = match (opened, ended) {
                (Ok(_), None) => {
                    self.ready_after = start.elapsed();
                    return Ok(());
                }
                (opened, _) => opened.err(),
            };
            if ended.is_some() || start.elapsed() > PATIENCE {
                let output = std::fs::read_to_string(self.directory.path().join("output"));
                return Err(format!(
                    "{} takes no client: {error:?}; ended: {ended:?}; it wrote:\n{}",
                    self.peer.name(),
                    output.unwrap_or_default()
                ));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn kill(&mut self) {
        let family = cpu::family(self.child.id());
        for id in &family {
            // One that has ended meanwhile is no error.
            let _ = kill(Pid::from_raw(id.cast_signed()), Signal::SIGKILL);
        }
        let _ = self.child.wait();
        // Ports and data are free when all of them are gone; much memory takes a while.
        let (start, there) = (Instant::now(), |id: &u32| {
            Path::new(&format!("/proc/{id}")).exists()
        });
        while family.iter().any(there) && start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        self.kill();
    }
}

/// In a process namespace of its own, so that whatever it starts ends with it.
fn spawn(peer: Peer, site: &Site, directory: &tempfile::TempDir) -> Result<Child, String> {
    let path = |name: &str| directory.path().join(name);
    let given = |path: &Option<PathBuf>| path.clone().ok_or_else(|| "its binary was not given".to_owned());
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
    match peer {
        Peer::Rabbitmq => {
            std::fs::write(path("enabled_plugins"), "[rabbitmq_management].\n")
                .map_err(|error| error.to_string())?;
            command
                .arg("/usr/lib/rabbitmq/bin/rabbitmq-server")
                .env("RABBITMQ_NODENAME", "bench@localhost")
                .env("RABBITMQ_LOG_BASE", path("log"))
                .env("RABBITMQ_LOGS", path("log/node.log"))
                .env("RABBITMQ_ENABLED_PLUGINS_FILE", path("enabled_plugins"))
                .env("RABBITMQ_CONFIG_FILE", path("rabbitmq.conf"))
                .env("RABBITMQ_PID_FILE", path("pid"));
        }
        Peer::Lavinmq => {
            command.arg(given(&site.lavinmq)?);
            command.args(["--bind=127.0.0.1", "--http-port=15673"]);
            command.arg(format!("--amqp-port={}", peer.port()));
            command.arg(format!("--data-dir={}", path("data").display()));
        }
        Peer::Floor => {
            command.arg(std::env::current_exe().map_err(|error| error.to_string())?);
            command.args(["floor", &format!("127.0.0.1:{}", peer.port())]);
        }
        Peer::Warren => {
            command.arg(given(&site.warren)?);
            command.args(["broker", "--listen", &format!("127.0.0.1:{}", peer.port())]);
            command.args(["--metrics", "127.0.0.1:15674"]);
            command.arg("--data").arg(path("data"));
            command.arg("--runtime-dir").arg(path("run"));
        }
    }
    let output = File::options()
        .create(true)
        .append(true)
        .open(path("output"))
        .map_err(|error| error.to_string())?;
    let errors = output.try_clone().map_err(|error| error.to_string())?;
    command
        .env("HOME", directory.path())
        .env("RABBITMQ_NODE_PORT", peer.port().to_string())
        .env("RABBITMQ_MNESIA_BASE", path("data"))
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors);
    let child = std::thread::scope(|scope| {
        let start = || {
            cores::stay_among(&site.cores);
            command.spawn()
        };
        scope.spawn(start).join().expect("no panic at a start")
    });
    child.map_err(|error| format!("{}: {error}", peer.name()))
}
