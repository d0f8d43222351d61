//! A host whose time of day is set forwards or back by an hour, while the broker runs or while it does not: messages live as
//! long as they should, queues expire when nobody has used them for as long as they say, and delays take as long as they are.

use std::time::Instant;

use super::*;
use crate::client::{Client, short};
use crate::delayed::compile;
use crate::killed;
use crate::process::Broker;
use warren_amqp::client::Event;
use warren_amqp::content::{DeliveryMode, Properties};
use warren_amqp::{Method, Table, Value, basic, exchange, queue};

const HOUR: i64 = 3600;
/// Adds the seconds that a file says to the time of day.
const SHIM: &str = "
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *time) {
    static int file = -1;
    int result = syscall(SYS_clock_gettime, clock, time);
    if (clock == CLOCK_REALTIME && result == 0) {
        if (file < 0) file = open(getenv(\"SHIFT\"), O_RDONLY);
        char text[32] = {0};
        if (pread(file, text, 31, 0) > 0) time->tv_sec += atol(text);
    }
    return result;
}
";
/// What is to end does so after this time.
const SOON: u64 = 1500;
/// What is to stay stays for this time.
const LATE: u64 = 600_000;
const PATIENCE: Duration = Duration::from_secs(30);

/// A host with a clock of its own.
struct Host {
    directory: tempfile::TempDir,
    shim: std::path::PathBuf,
}

impl Host {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let shim = compile(directory.path(), SHIM);
        let host = Self { directory, shim };
        host.set(0);
        host
    }

    /// Sets the clock, so many seconds from what is right.
    fn set(&self, shift: i64) {
        // In one write of one length: whoever reads it meanwhile reads one or the other.
        let file = std::fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.file());
        std::os::unix::fs::FileExt::write_all_at(&file.unwrap(), format!("{shift:+06}").as_bytes(), 0)
            .unwrap();
    }

    fn file(&self) -> std::path::PathBuf {
        self.directory.path().join("shift")
    }

    fn broker(&self) -> Broker {
        let data = self.directory.path().join("data");
        killed::spawn(
            &data,
            &[
                ("LD_PRELOAD", self.shim.as_os_str()),
                ("SHIFT", self.file().as_os_str()),
            ],
        )
    }
}

fn properties(expiration: Option<u64>, delay: Option<u64>) -> Properties {
    Properties {
        expiration: expiration.map(|time| short(&time.to_string())),
        headers: delay.map(|delay| Table::new().with("x-delay", Value::I64(delay.try_into().unwrap()))),
        ..Properties::of(DeliveryMode::Persistent)
    }
}

/// One message with each time in a queue and in an exchange that delays, and a queue that expires. Each is in a queue of its
/// own, since messages wait for those before them.
async fn furnish(client: &mut Client) {
    client.confirms().await.unwrap();
    let delayed = exchange::Declare {
        exchange: short("later"),
        exchange_type: short("x-delayed-message"),
        durable: true,
        arguments: Table::new().with("x-delayed-type", Value::text("direct")),
        ..exchange::Declare::default()
    };
    client.call(delayed).await.unwrap();
    for (name, time) in [("soon", SOON), ("late", LATE)] {
        let names = ["dead", "idle", "live", "due"].map(|what| format!("{what}.{time}"));
        let [dead, idle, live, due] = &names;
        client.declare(dead, Table::new()).await.unwrap();
        client.declare(due, Table::new()).await.unwrap();
        let expires = Table::new().with("x-expires", Value::I64(time.try_into().unwrap()));
        client.declare(idle, expires).await.unwrap();
        let dying = Table::new()
            .with("x-dead-letter-exchange", Value::text(""))
            .with("x-dead-letter-routing-key", Value::text(dead));
        client.declare(live, dying).await.unwrap();
        let bind = queue::Bind {
            queue: short(due),
            exchange: short("later"),
            routing_key: short(name),
            ..queue::Bind::default()
        };
        client.call(bind).await.unwrap();
        client.publish_with(
            "",
            live,
            &properties(Some(time), None),
            bytes::Bytes::from_static(b"dies"),
        );
        client.publish_with(
            "later",
            name,
            &properties(None, Some(time)),
            bytes::Bytes::from_static(b"waits"),
        );
    }
    let mut confirms = warren_amqp::client::Confirms::default();
    for _ in 0..4 {
        confirms.published();
    }
    while confirms.count() > 0 {
        if let Event::Method {
            method: Method::Basic(basic::Method::Ack(ack)),
            ..
        } = client.event().await.unwrap()
        {
            confirms.settle(ack.delivery_tag, ack.multiple);
        }
    }
}

/// How many messages a queue has, if there is one. On a connection of its own: a question that has no answer closes its channel.
async fn count(address: SocketAddr, queue: &str) -> Option<u32> {
    let mut client = Client::open(address).await.unwrap();
    let passive = queue::Declare {
        queue: short(queue),
        passive: true,
        ..queue::Declare::default()
    };
    match client.call(passive).await {
        Ok(Method::Queue(queue::Method::DeclareOk(declared))) => Some(declared.message_count),
        _ => None,
    }
}

async fn eventually(address: SocketAddr, queue: &str, expected: Option<u32>) {
    let started = Instant::now();
    while count(address, queue).await != expected {
        assert!(started.elapsed() < PATIENCE, "{queue} never has {expected:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What was to end has ended, and nothing else.
async fn check_all(address: SocketAddr) {
    for queue in ["dead", "due"] {
        eventually(address, &format!("{queue}.{SOON}"), Some(1)).await;
    }
    // To ask for it is to use it: not before the end of its time may have come.
    tokio::time::sleep(Duration::from_millis(SOON + 500)).await;
    eventually_gone(address).await;
    for (queue, expected) in [("dead", 0), ("due", 0), ("live", 1), ("idle", 0)] {
        assert_eq!(
            count(address, &format!("{queue}.{LATE}")).await,
            Some(expected),
            "{queue}"
        );
    }
}

async fn eventually_gone(address: SocketAddr) {
    let started = Instant::now();
    while count(address, &format!("idle.{SOON}")).await.is_some() {
        assert!(started.elapsed() < PATIENCE, "the queue stays");
        tokio::time::sleep(Duration::from_millis(SOON + 500)).await;
    }
}

#[test]
fn a_clock_that_is_set_while_the_broker_runs_changes_nothing() {
    for shift in [HOUR, -HOUR] {
        let host = Host::new();
        let broker = host.broker();
        runtime(1).block_on(async {
            let published = Instant::now();
            furnish(&mut Client::open(broker.at).await.unwrap()).await;
            host.set(shift);
            check_all(broker.at).await;
            assert!(published.elapsed() >= Duration::from_millis(SOON));
        });
    }
}

/// A broker that was killed, and whose clock was set meanwhile.
fn started_again_after(shift: i64) -> (Host, Broker) {
    let host = Host::new();
    let broker = host.broker();
    runtime(1).block_on(async { furnish(&mut Client::open(broker.at).await.unwrap()).await });
    drop(broker);
    host.set(shift);
    let broker = host.broker();
    (host, broker)
}

#[test]
fn nothing_lives_longer_because_the_clock_was_set_back_before_a_restart() {
    let (_host, broker) = started_again_after(-HOUR);
    runtime(1).block_on(check_all(broker.at));
}

#[test]
fn an_hour_without_a_broker_is_an_hour() {
    let (_host, broker) = started_again_after(HOUR);
    runtime(1).block_on(async {
        for time in [SOON, LATE] {
            for queue in ["dead", "due"] {
                eventually(broker.at, &format!("{queue}.{time}"), Some(1)).await;
            }
        }
    });
}
