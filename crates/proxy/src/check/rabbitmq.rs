//! The checks of mode amqp against a real RabbitMQ: what they find, and that its log has nothing to complain about.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::sync::Semaphore;

use super::fixture;
use super::{Finding, Probe};
use crate::live::Target;
use crate::plan::{CheckKind, Expect, Expected, testing};

const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
const START: Duration = Duration::from_secs(120);
const ATTEMPTS: usize = 3;

/// A broker of this test's own, with its own directory, ports and port mapper.
pub(crate) struct Broker {
    children: Vec<Child>,
    pub(crate) amqp: SocketAddr,
    management: SocketAddr,
    log: PathBuf,
    environment: [(&'static str, String); 6],
    _directory: tempfile::TempDir,
}

impl Drop for Broker {
    fn drop(&mut self) {
        for child in &mut self.children {
            // Its scripts start it as a child of theirs.
            let _ = killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
            let _ = child.wait();
        }
    }
}

impl Broker {
    pub(crate) fn start() -> Option<Self> {
        if !Path::new(SERVER).exists() {
            crate::skip::skip("rabbitmq-server is not installed");
            return None;
        }
        // A port that was free may be somebody else's by the time that the broker wants it.
        let broker = (0..ATTEMPTS).find_map(|_| Self::attempt());
        assert!(broker.is_some(), "no start in {ATTEMPTS} attempts");
        broker
    }

    /// `None`: it has ended, or takes too long.
    fn attempt() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let [amqp, management, mapper, distribution] = free_ports();
        let path = |name: &str| directory.path().join(name);
        let configuration = format!(
            "listeners.tcp.default = {amqp}\nmanagement.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {}\nlog.file = broker.log\n\
             log.file.level = info\n",
            management.port()
        );
        fs::write(path("rabbitmq.conf"), configuration).unwrap();
        fs::write(path("plugins"), "[rabbitmq_management].").unwrap();
        fs::write(path("environment"), "").unwrap();
        let environment = [
            ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
            ("HOME", directory.path().display().to_string()),
            ("ERL_EPMD_PORT", mapper.port().to_string()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
            ("RABBITMQ_NODENAME", "checks@localhost".to_owned()),
            (
                "RABBITMQ_CONF_ENV_FILE",
                path("environment").display().to_string(),
            ),
        ];
        let mapper_child = Command::new("epmd")
            .args(["-port", &mapper.port().to_string(), "-address", "127.0.0.1"])
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        // A broker that finds no port mapper starts one that outlives it.
        let end = Instant::now() + START;
        while TcpStream::connect(mapper).is_err() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        let child = Command::new(SERVER)
            .env_clear()
            .envs(environment.clone())
            .env("RABBITMQ_DIST_PORT", distribution.port().to_string())
            .env("RABBITMQ_MNESIA_BASE", path("mnesia"))
            .env("RABBITMQ_LOG_BASE", path("log"))
            .env("RABBITMQ_FEATURE_FLAGS_FILE", path("flags"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", path("plugins"))
            .env("RABBITMQ_CONFIG_FILE", path("rabbitmq.conf"))
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+S 1:1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut broker = Self {
            children: vec![child, mapper_child],
            amqp,
            management,
            log: path("log").join("broker.log"),
            environment,
            _directory: directory,
        };
        broker.wait().then_some(broker)
    }

    /// Whether it is there.
    fn wait(&mut self) -> bool {
        let end = Instant::now() + START;
        loop {
            if self.logged().contains("Server startup complete")
                && TcpStream::connect(self.management).is_ok()
            {
                return true;
            }
            let ended = self
                .children
                .iter_mut()
                .any(|child| !matches!(child.try_wait(), Ok(None)));
            if ended || Instant::now() >= end {
                eprintln!("no start: {}", self.logged());
                return false;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// A command of an operator, which must succeed.
    pub(crate) fn tell(&self, program: &str, arguments: &[&str]) {
        let output = Command::new(Path::new("/usr/lib/rabbitmq/bin").join(program))
            .args(arguments)
            .env_clear()
            .envs(self.environment.clone())
            .output()
            .unwrap();
        assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    }

    pub(crate) fn logged(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn signal(&self, signal: Signal) {
        let group = Pid::from_raw(self.children[0].id().cast_signed());
        killpg(group, signal).unwrap();
    }

    /// Stops it in its tracks. A thread that hears of the signal stops the others, and goes on until it does.
    fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
        let end = Instant::now() + START;
        while threads_of_group(self.children[0].id()).any(|state| state != "T") {
            assert!(Instant::now() < end, "it does not stop");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    async fn check(&self, kind: CheckKind) -> Finding {
        self.check_within(kind, Duration::from_secs(10)).await
    }

    async fn check_within(&self, kind: CheckKind, timeout: Duration) -> Finding {
        let check = crate::plan::Check {
            connect_timeout: timeout,
            timeout,
            ..fixture::check(kind)
        };
        let server = crate::plan::Server {
            check: Some(check),
            ..testing::server(1, self.amqp)
        };
        let slots = Arc::new(Semaphore::new(1));
        let slot = Arc::clone(&slots).acquire_owned().await.unwrap();
        let probe = Probe::of_server(&server, Some(&Target::Tcp(self.amqp)), slot).unwrap();
        let finding = probe.run().await;
        drop(probe);
        // The farewell is over when the slot is free again.
        drop(slots.acquire().await);
        finding
    }
}

/// The states of all threads of a process group; what has ended has none.
fn threads_of_group(group: u32) -> impl Iterator<Item = String> {
    let entries = |path: PathBuf| fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
    let threads = entries("/proc".into()).flat_map(move |process| entries(process.path().join("task")));
    threads.filter_map(move |thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).ok()?;
        let mut words = stat.rsplit_once(") ")?.1.split(' ');
        let (state, _parent, of) = (words.next()?, words.next()?, words.next()?);
        (of == group.to_string() && state != "Z").then(|| state.to_owned())
    })
}

fn free_ports() -> [SocketAddr; 4] {
    let listeners = [(); 4].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap())
}

fn login(password: &str, vhost: &str) -> CheckKind {
    CheckKind::AmqpLogin {
        user: "guest".to_owned(),
        password: password.to_owned(),
        vhost: vhost.to_owned(),
    }
}

#[tokio::test]
async fn a_real_broker_passes_every_level_and_has_nothing_to_complain_about() {
    let Some(broker) = Broker::start() else { return };
    let port = broker.management.port();
    let management = |password: &str| CheckKind::AmqpManagement {
        port,
        user: "guest".to_owned(),
        password: password.to_owned(),
    };
    let http = CheckKind::Http {
        method: "GET".to_owned(),
        uri: "/".to_owned(),
        version: "HTTP/1.0".to_owned(),
        headers: Vec::new(),
        body: None,
        expect: Expect {
            negated: false,
            what: Expected::Success,
        },
    };
    let quiet = broker.logged().len();
    for (kind, status, detail) in [
        (CheckKind::Tcp, "L4OK", ""),
        (CheckKind::AmqpGreeting, "L7OK", "RabbitMQ 3."),
        (login("guest", "/"), "L7OK", "RabbitMQ 3."),
        (management("guest"), "L7OK", ""),
        (
            CheckKind::AmqpFull {
                user: "guest".to_owned(),
                password: "guest".to_owned(),
                vhost: "/".to_owned(),
                port,
            },
            "L7OK",
            "",
        ),
    ] {
        let finding = broker.check(kind.clone()).await;
        assert_eq!(finding.status, status, "{kind:?}: {finding:?}");
        assert!(finding.detail.starts_with(detail), "{kind:?}: {finding:?}");
    }
    // What a broker that is well hears from us is no reason for a warning.
    std::thread::sleep(Duration::from_millis(500));
    let heard = broker.logged().split_off(quiet);
    let loud = |line: &&str| {
        ["[warning]", "[error]", "[critical]"]
            .iter()
            .any(|level| line.contains(level))
    };
    let complaints: Vec<_> = heard
        .lines()
        .filter(loud)
        .filter_map(|line| line.split_once("> ").map(|(_, text)| text))
        .filter(|text| !text.starts_with("closing AMQP connection"))
        .collect();
    // A greeting that leads to nothing is the one thing it does not take silently, however it ends.
    assert_eq!(
        complaints,
        ["client unexpectedly closed TCP connection"],
        "{heard}"
    );

    let refused = broker.check(login("wrong", "/")).await;
    assert_eq!(
        (refused.status, refused.code),
        ("L7STS", Some(403)),
        "{refused:?}"
    );
    let nowhere = broker.check(login("guest", "nowhere")).await;
    assert_eq!(
        (nowhere.status, nowhere.code),
        ("L7STS", Some(530)),
        "{nowhere:?}"
    );
    let refused = broker.check(management("wrong")).await;
    assert_eq!(
        (refused.status, refused.code),
        ("L7STS", Some(401)),
        "{refused:?}"
    );
    let other = broker.check(http).await;
    assert_eq!((other.status, other.passed), ("L7RSP", false), "{other:?}");

    // One that is stopped in its tracks still has a kernel that takes connections.
    broker.freeze();
    assert_eq!(broker.check(CheckKind::Tcp).await.status, "L4OK");
    let frozen = broker
        .check_within(CheckKind::AmqpGreeting, Duration::from_secs(1))
        .await;
    assert_eq!(frozen.status, "L7TOUT", "{frozen:?}");
    broker.signal(Signal::SIGCONT);
    assert_eq!(broker.check(CheckKind::AmqpGreeting).await.status, "L7OK");

    // An alarm is for the management to tell, since logins go on. Whoever is drained takes no connections at all.
    broker.tell("rabbitmqctl", &["set_vm_memory_high_watermark", "0.0000001"]);
    let alarmed = broker.check(management("guest")).await;
    assert_eq!(
        (alarmed.status, alarmed.code),
        ("L7STS", Some(503)),
        "{alarmed:?}"
    );
    assert_eq!(broker.check(login("guest", "/")).await.status, "L7OK");
    broker.tell("rabbitmqctl", &["set_vm_memory_high_watermark", "0.4"]);
    let well = broker.check(management("guest")).await;
    assert_eq!(well.status, "L7OK", "{well:?}");
    broker.tell("rabbitmq-upgrade", &["drain"]);
    for kind in [management("guest"), login("guest", "/")] {
        assert_eq!(broker.check(kind).await.status, "L4CON");
    }
}
