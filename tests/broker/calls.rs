//! What messages cost in calls of the kernel, as strace counts them: they are made for what comes together, not for a message.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use bytes::{Buf, Bytes};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use warren_amqp::content::{DeliveryMode, Properties};
use warren_amqp::hot::Publish;
use warren_amqp::{Method, ShortString, basic, confirm, connection, queue};

use super::{Broker, Client, Event};

/// Messages that are published at once, and how often.
const CHUNK: u64 = 100;
const CHUNKS: u64 = 100;
/// Clients who come and go.
const VISITS: u64 = 100;

/// Counts the calls of a process until it is told to stop.
struct Trace {
    strace: Child,
    table: std::path::PathBuf,
}

impl Trace {
    fn of(broker: &Broker, directory: &Path) -> Self {
        let table = directory.join("calls");
        let mut strace = Command::new("strace");
        strace.args([
            "-f",
            "-c",
            "-U",
            "calls,name",
            "-p",
            &broker.process.id().to_string(),
            "-o",
        ]);
        let strace = strace.arg(&table).stderr(Stdio::piped()).spawn();
        let mut strace = strace.expect("strace is installed");
        let mut said = BufReader::new(strace.stderr.as_mut().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert!(line.contains("attached"), "{line}");
        Self { strace, table }
    }

    /// How often which was called.
    fn end(mut self) -> BTreeMap<String, u64> {
        let pid = Pid::from_raw(i32::try_from(self.strace.id()).unwrap());
        kill(pid, Signal::SIGINT).unwrap();
        self.strace.wait().unwrap();
        let table = std::fs::read_to_string(&self.table).unwrap();
        let lines = table.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            let (calls, name) = (words.next()?, words.next()?);
            Some((name.to_owned(), calls.parse().ok()?))
        });
        let calls: BTreeMap<String, u64> = lines.filter(|(name, _)| name != "total").collect();
        assert!(!calls.is_empty(), "{table}");
        calls
    }
}

/// One client publishes, another consumes; what is published at once has come before more is. Gives the calls of the broker.
fn calls(mode: DeliveryMode) -> BTreeMap<String, u64> {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(directory.path(), &[]);
    let [mut publisher, mut consumer] =
        [(); 2].map(|()| Client::connect(broker.address, "guest", "guest", "/").unwrap());
    publisher.open_channel();
    consumer.open_channel();
    publisher.call(queue::Declare {
        queue: ShortString::from_static("q"),
        durable: true,
        ..queue::Declare::default()
    });
    publisher.call(confirm::Select { no_wait: false });
    consumer.call(basic::Consume {
        queue: ShortString::from_static("q"),
        ..basic::Consume::default()
    });
    let publish = Publish {
        routing_key: b"q",
        ..Publish::default()
    };
    for _ in 0..CHUNK {
        let (outbox, body) = (publisher.connection.outbox(), Bytes::from_static(b"hello"));
        outbox.publish(1, &publish, &Properties::of(mode), &body).unwrap();
    }
    let outbox = publisher.connection.outbox();
    let chunk = outbox.copy_to_bytes(outbox.remaining());
    let mut chunks = |count: u64, before: u64| {
        for last in (1..=count).map(|number| (before + number) * CHUNK) {
            publisher.stream.write_all(&chunk).unwrap();
            for _ in 0..CHUNK {
                let event = consumer.next().unwrap();
                assert!(matches!(event, Some(Event::Message { .. })), "{event:?}");
            }
            consumer.connection.outbox().ack(1, last, true);
            consumer.flush();
            let mut confirmed = 0;
            while confirmed < last {
                match publisher.next().unwrap() {
                    Some(Event::Method {
                        method: Method::Basic(basic::Method::Ack(ack)),
                        ..
                    }) => confirmed = ack.delivery_tag,
                    other => panic!("{other:?}"),
                }
            }
        }
    };
    // What comes but once.
    chunks(2, 0);
    let trace = Trace::of(&broker, directory.path());
    chunks(CHUNKS, 2);
    trace.end()
}

/// For a chunk there are a read, a write to the consumer and one to the publisher, the acknowledgement, and whoever is woken.
fn check(calls: &BTreeMap<String, u64>) {
    let sum = |names: &[&str]| names.iter().filter_map(|name| calls.get(*name)).sum::<u64>();
    assert_eq!(
        sum(&[
            "epoll_ctl",
            "timerfd_settime",
            "timerfd_create",
            "setsockopt",
            "mmap"
        ]),
        0,
        "{calls:?}"
    );
    // Each that brings something, and that there is nothing more. Files of the system are looked at by time, which a slow disk makes long: each is
    // read, and that there is nothing more.
    assert!(
        sum(&["read", "readv", "recvfrom", "recvmsg"]) < 5 * CHUNKS + 2 * sum(&["openat"]),
        "{calls:?}"
    );
    assert!(
        sum(&["write", "writev", "sendto", "sendmsg"]) < 5 * CHUNKS,
        "{calls:?}"
    );
    let all: u64 = calls.values().sum();
    println!(
        "{:.2} calls for each message: {calls:?}",
        all as f64 / (CHUNK * CHUNKS) as f64
    );
    assert!(all < CHUNK * CHUNKS / 3, "{calls:?}");
}

#[test]
fn calls_of_the_kernel_are_for_what_comes_together_and_not_for_a_message() {
    check(&calls(DeliveryMode::Transient));
    let calls = calls(DeliveryMode::Persistent);
    check(&calls);
    let synced = calls.get("fdatasync").copied().unwrap_or_default();
    assert!((1..=2 * CHUNKS).contains(&synced), "{calls:?}");
}

#[test]
fn who_comes_and_goes_costs_the_calls_that_bring_something_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(directory.path(), &[]);
    let visit = || {
        let mut client = Client::connect(broker.address, "guest", "guest", "/").unwrap();
        client.open_channel();
        let outbox = client.connection.outbox();
        outbox.method(0, connection::Close::default()).unwrap();
        let answer = client.next().unwrap();
        assert!(
            matches!(answer, Some(Event::Method { channel: 0, .. })),
            "{answer:?}"
        );
    };
    // What comes but once.
    visit();
    let trace = Trace::of(&broker, directory.path());
    (0..VISITS).for_each(|_| visit());
    let calls = trace.end();
    println!("{calls:?}");
    let sum = |names: &[&str]| names.iter().filter_map(|name| calls.get(*name)).sum::<u64>();
    for (names, most) in [
        (&["accept4", "accept"][..], 1),
        // Whether another one waits.
        (&["poll", "ppoll"], 1),
        (&["epoll_ctl"], 2),
        // Hello, who he is, what he agrees to and where he goes, the channel, that he goes.
        (&["recvfrom", "recvmsg", "readv"], 5),
        // An answer to each.
        (&["writev", "sendto", "sendmsg"], 5),
        (&["shutdown"], 1),
        // All else is the listener's, or known. A build for tests asks with `fcntl` whether descriptors are open.
        (
            &["setsockopt", "getsockopt", "getsockname", "getpeername", "ioctl"],
            0,
        ),
        (&["mmap", "munmap", "brk", "madvise", "timerfd_settime"], 0),
    ] {
        assert!(sum(names) <= most * VISITS + VISITS / 10, "{names:?}: {calls:?}");
    }
}
