//! The real RabbitMQ, where it is installed, to be asked the same.

use std::fs::File;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Erlang on a busy machine.
const START: Duration = Duration::from_secs(120);
/// Where it may be started: nobody has a port before he listens.
const STARTS: usize = 5;
const PROGRAM: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// Those of exchanges that we have without a plugin.
const PLUGINS: &str = "[rabbitmq_consistent_hash_exchange,rabbitmq_random_exchange,rabbitmq_sharding].\n";

/// A node with a name, an epmd and a directory of its own, until it is dropped.
pub(crate) struct RabbitMq {
    pub(crate) at: SocketAddr,
    /// `unshare`, with which all that it started ends.
    process: Child,
    epmd: u16,
    directory: tempfile::TempDir,
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl RabbitMq {
    /// Nothing where it is not installed, or where processes cannot have a namespace of their own.
    pub(crate) fn start() -> Option<Self> {
        Self::with(None)
    }

    /// One that begins with these definitions, and listens when it has them.
    pub(crate) fn with_definitions(definitions: &str) -> Option<Self> {
        Self::with(Some(definitions))
    }

    fn with(definitions: Option<&str>) -> Option<Self> {
        let can = Command::new("unshare")
            .args(["--pid", "--mount-proc", "--fork", "true"])
            .status();
        if !Path::new(PROGRAM).exists() || !can.is_ok_and(|status| status.success()) {
            crate::skip::skip(
                "rabbitmq-server is not installed, or no process can have a namespace of its own",
            );
            return None;
        }
        // Between asking for a free port and taking it another may have taken it: then it ends.
        let started = (0..STARTS).find_map(|_| Self::run(definitions));
        assert!(started.is_some(), "RabbitMQ ends as often as it is started");
        started
    }

    /// Starts it. Nothing: it has ended.
    fn run(definitions: Option<&str>) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let path = |file: &str| directory.path().join(file);
        if let Some(definitions) = definitions {
            let file = path("definitions.json");
            std::fs::write(&file, definitions).unwrap();
            let line = format!("load_definitions = {}\n", file.display());
            std::fs::write(path("rabbitmq.conf"), line).unwrap();
        }
        let (port, epmd, distribution) = (free_port(), free_port(), free_port());
        File::create(path("plugins"))
            .unwrap()
            .write_all(PLUGINS.as_bytes())
            .unwrap();
        let log = File::create(path("log.txt")).unwrap();
        let process = Command::new("unshare")
            .args(["--pid", "--mount-proc", "--fork", "--kill-child", PROGRAM])
            .env("HOME", directory.path())
            .env("ERL_EPMD_PORT", epmd.to_string())
            .env("RABBITMQ_NODENAME", "oracle@localhost")
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", port.to_string())
            .env("RABBITMQ_DIST_PORT", distribution.to_string())
            .env("RABBITMQ_MNESIA_BASE", path("mnesia"))
            .env("RABBITMQ_LOG_BASE", path("log"))
            .env("RABBITMQ_LOGS", "-")
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", path("plugins"))
            .env("RABBITMQ_CONFIG_FILE", path("rabbitmq.conf"))
            .env("RABBITMQ_PID_FILE", path("pid"))
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+S 1:1 +sbwt none")
            .stdin(Stdio::null())
            .stderr(log.try_clone().unwrap())
            .stdout(log)
            .spawn()
            .unwrap();
        let mut rabbitmq = Self {
            at: SocketAddr::from(([127, 0, 0, 1], port)),
            process,
            epmd,
            directory,
        };
        rabbitmq.listens().then_some(rabbitmq)
    }

    /// Evaluates Erlang on the node.
    pub(crate) fn eval(&self, expression: &str) {
        let output = Command::new("/usr/lib/rabbitmq/bin/rabbitmqctl")
            .args(["--node", "oracle@localhost", "eval", expression])
            .env("HOME", self.directory.path())
            .env("ERL_EPMD_PORT", self.epmd.to_string())
            .output()
            .unwrap();
        assert!(output.status.success(), "{expression}: {output:?}");
    }

    /// Waits until it does. False: it has ended instead.
    fn listens(&mut self) -> bool {
        let started = Instant::now();
        while TcpStream::connect(self.at).is_err() {
            let said = || std::fs::read_to_string(self.directory.path().join("log.txt")).unwrap_or_default();
            assert!(started.elapsed() < START, "RabbitMQ does not listen:\n{}", said());
            if self.process.try_wait().unwrap().is_some() {
                println!("RabbitMQ has ended:\n{}", said());
                return false;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        true
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        // With the process go those in its namespace.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
