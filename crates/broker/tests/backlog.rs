//! A fast publisher, and a consumer that takes nothing: the backlog grows on disk, and the memory does not. The same where
//! messages are not served in the order in which they came: with priorities, and in an exchange that delays them.
//!
//! Each is alone in its process, whose memory is measured. `MESSAGES=` and `BODY=` make it longer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use warren_amqp::client::Login;
use warren_amqp::content::Properties;
use warren_amqp::handshake::Tuning;
use warren_amqp::hot::Publish;
use warren_amqp::outbox::Outbox;
use warren_amqp::{FrameMax, ShortString, Table, Value, basic, channel, exchange, queue};
use warren_broker::alarms::MemoryLimit;
use warren_broker::{Member, Node, Settings, serve};

/// Octets of a body.
const BODY: usize = 8192;
/// Messages, and those of a burst.
const MESSAGES: usize = 51_200;
const BURST: usize = 64;
/// What the broker may have more than at the beginning; a third of what is published.
const ROOM: u64 = 128 << 20;
const PATIENCE: Duration = Duration::from_secs(120);
/// Longer than all of this takes.
const DELAY: i32 = 3_600_000;

/// What there is a backlog of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ordinary,
    Prioritised,
    Delayed,
}

fn number(name: &str, otherwise: usize) -> usize {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

fn octets(outbox: &mut Outbox) -> Bytes {
    let count = outbox.remaining();
    outbox.copy_to_bytes(count)
}

/// Logs in, opens channel 1, declares the queue and the exchange.
async fn open(at: std::net::SocketAddr, kind: Kind) -> TcpStream {
    let mut outbox = Outbox::new(FrameMax::DEFAULT);
    outbox.octets(b"AMQP\0\0\x09\x01");
    let login = Login {
        wanted: Tuning {
            channel_max: 1,
            frame_max: FrameMax::DEFAULT.octets(),
            heartbeat: 0,
        },
        ..Login::plain("guest", "guest", "/", "test").unwrap()
    };
    for method in login.methods() {
        outbox.method(0, method).unwrap();
    }
    outbox.method(1, channel::Open::default()).unwrap();
    let declare = queue::Declare {
        queue: ShortString::from_static("backlog"),
        durable: true,
        arguments: match kind {
            Kind::Prioritised => Table::new().with("x-max-priority", Value::I32(9)),
            Kind::Ordinary | Kind::Delayed => Table::new(),
        },
        ..queue::Declare::default()
    };
    outbox.method(1, declare).unwrap();
    if kind == Kind::Delayed {
        let delaying = exchange::Declare {
            exchange: ShortString::from_static("later"),
            exchange_type: ShortString::from_static("x-delayed-message"),
            durable: true,
            arguments: Table::new().with("x-delayed-type", Value::text("fanout")),
            ..exchange::Declare::default()
        };
        outbox.method(1, delaying).unwrap();
    }
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(&octets(&mut outbox)).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_stalled_consumer_memory_stays_below_its_limit_and_the_backlog_is_on_disk() {
    backlog(Kind::Ordinary).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_with_priorities_is_on_disk() {
    backlog(Kind::Prioritised).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_exchange_delays_is_on_disk() {
    backlog(Kind::Delayed).await;
}

async fn backlog(kind: Kind) {
    let directory = tempfile::tempdir().unwrap();
    let member = Member::alone(directory.path()).unwrap();
    let (node, _) = Node::open("rabbit@test".to_owned(), Settings::default(), member).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(serve(Arc::clone(&node), listener));

    let mut outbox = Outbox::new(FrameMax::DEFAULT);
    let consume = basic::Consume {
        queue: ShortString::from_static("backlog"),
        ..basic::Consume::default()
    };
    outbox.method(1, consume).unwrap();
    // Reads nothing, ever.
    let mut stalled = open(at, kind).await;
    stalled.write_all(&octets(&mut outbox)).await.unwrap();

    let body = vec![7; number("BODY", BODY)].into();
    let publish = Publish {
        exchange: if kind == Kind::Delayed { b"later" } else { b"" },
        routing_key: b"backlog",
        ..Publish::default()
    };
    for number in 0..BURST {
        let delay = DELAY - i32::try_from(number).unwrap() * 1000;
        let properties = Properties {
            delivery_mode: Some(2),
            priority: u8::try_from(number % 10).ok(),
            headers: (kind == Kind::Delayed).then(|| Table::new().with("x-delay", Value::I32(delay))),
            ..Properties::default()
        };
        outbox.publish(1, &publish, &properties, &body).unwrap();
    }
    let burst = octets(&mut outbox);
    let (mut from, mut to) = open(at, kind).await.into_split();
    tokio::spawn(async move {
        let mut ignored = [0; 4096];
        while let Ok(1..) = from.read(&mut ignored).await {}
    });
    while node.alarms.measured().memory == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let limit = node.alarms.measured().memory + ROOM;
    node.change_settings(Settings {
        memory_limit: MemoryLimit::Octets(limit),
        ..Settings::default()
    });

    let bursts = number("MESSAGES", MESSAGES) / BURST;
    let publisher = tokio::spawn(async move {
        for _ in 0..bursts {
            to.write_all(&burst).await.unwrap();
        }
        to
    });
    let (all, started, mut most) = ((bursts * BURST) as u64, Instant::now(), 0);
    loop {
        most = most.max(node.alarms.measured().memory);
        let counts = node.queues().0.into_iter().map(|queue| queue.snapshot().counts);
        let there: u64 = counts.map(|counts| counts.ready + counts.unacked).sum();
        if there == all {
            break;
        }
        assert!(
            started.elapsed() < PATIENCE,
            "{there} of {all}, {:?}",
            node.alarms
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let snapshots = node.queues().0.into_iter().map(|queue| queue.snapshot());
    let in_memory: usize = snapshots.map(|snapshot| snapshot.in_memory).sum();
    println!(
        "{most} octets at most of {limit}, {in_memory} of {all} messages in memory, {:?}",
        started.elapsed()
    );
    assert!(
        most <= limit,
        "{most} octets instead of {limit}: {:?}",
        node.alarms
    );
    drop((publisher.await.unwrap(), stalled));
}
