//! A broker in a group of processes that may have little more memory than the broker's own limit: a fast publisher, and a consumer that takes
//! nothing. `MESSAGES=` makes it longer. Skipped, and saying so, where no group can be made.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use warren_amqp::content::{DeliveryMode, Properties};
use warren_amqp::hot::Publish;
use warren_amqp::{ShortString, basic, queue};

use super::{Broker, Client};

/// The limit of the broker's configuration.
const LIMIT: u64 = 128 << 20;
/// What the group may have: a fifth more.
const GROUP: u64 = LIMIT + LIMIT / 5;
/// Octets of a body, of which so many come: twice as much as there may be in memory.
const BODY: usize = 8192;
const MESSAGES: usize = 32_768;
const PATIENCE: Duration = Duration::from_secs(240);

/// A group below that of this test, until it is dropped.
struct Group(PathBuf);

impl Group {
    /// Nothing where this test may not make one.
    fn new() -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        own.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            let (root, limit) = match controllers {
                "" => ("/sys/fs/cgroup", "memory.max"),
                _ if controllers.split(',').any(|one| one == "memory") => {
                    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
                }
                _ => return None,
            };
            let name = format!("warren-test-{}", std::process::id());
            let group = Self(Path::new(root).join(path.trim_start_matches('/')).join(name));
            fs::create_dir(&group.0).ok()?;
            fs::write(group.0.join(limit), GROUP.to_string()).ok()?;
            Some(group)
        })
    }

    /// A program in it.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]);
        command.arg(self.0.join("cgroup.procs")).arg(program);
        command
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The last of its processes may be there for a moment.
        let end = Instant::now() + Duration::from_secs(5);
        while fs::remove_dir(&self.0).is_err() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Octets that a process alone has in memory: what no file could give back.
fn own(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let of = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let count = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        1024 * count.unwrap_or_else(|| panic!("no {key}: the broker is gone\n{status}"))
    };
    of("RssAnon:") + of("RssShmem:")
}

#[test]
fn a_backlog_is_borne_in_a_group_with_little_more_memory_than_the_brokers_limit() {
    let Some(group) = Group::new() else {
        crate::skip::skip("no group with a limit of memory can be made");
        return;
    };
    // On a disk: what is in /tmp is memory of the group where that is in memory.
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let file = directory.path().join("warren.toml");
    fs::write(&file, format!("[broker]\nmemory_limit = {LIMIT}\n")).unwrap();
    let mut command = group.command(env!("CARGO_BIN_EXE_warren"));
    command
        .args(["broker", "--listen", "127.0.0.1:0", "--config"])
        .arg(&file);
    command.arg("--data").arg(directory.path().join("data"));
    let broker = Broker::run(&mut command);
    let name = || ShortString::from_static("backlog");
    let declare = queue::Declare {
        queue: name(),
        durable: true,
        ..queue::Declare::default()
    };
    let mut stalled = Client::connect(broker.address, "guest", "guest", "/").unwrap();
    stalled.open_channel();
    stalled.call(declare.clone());
    // Reads nothing, ever.
    let consume = basic::Consume {
        queue: name(),
        ..basic::Consume::default()
    };
    stalled.connection.outbox().method(1, consume).unwrap();
    stalled.flush();

    let mut publisher = Client::connect(broker.address, "guest", "guest", "/").unwrap();
    publisher.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    publisher.open_channel();
    let messages = std::env::var("MESSAGES").map_or(MESSAGES, |text| text.parse().expect("a number"));
    let process = broker.process.id();
    let groups = fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap();
    assert!(groups.contains("/warren-test-"), "{groups}");
    let publishing = std::thread::spawn(move || {
        let publish = Publish {
            routing_key: b"backlog",
            ..Publish::default()
        };
        let body = vec![7; BODY].into();
        for _ in 0..messages {
            let properties = Properties::of(DeliveryMode::Persistent);
            publisher
                .connection
                .outbox()
                .publish(1, &publish, &properties, &body)
                .unwrap();
            publisher.flush();
        }
        // Done when what came before it is.
        publisher.call(declare);
    });
    let mut most = 0;
    while !publishing.is_finished() {
        most = most.max(own(process));
        std::thread::sleep(Duration::from_millis(5));
    }
    publishing.join().expect("all of it was taken");
    println!("{} MiB at most of {}", most >> 20, LIMIT >> 20);
    assert!(most <= LIMIT, "{most} octets instead of {LIMIT}");
    drop(stalled);
}
