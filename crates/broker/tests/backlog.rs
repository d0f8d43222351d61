//! A fast publisher, and a consumer that takes nothing: the backlog grows on disk, and the memory does not.
//!
//! Alone in its process, whose memory is measured.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use warren_amqp::content::Properties;
use warren_amqp::hot::Publish;
use warren_amqp::outbox::Outbox;
use warren_amqp::{FrameMax, Method, ShortString, basic, channel, connection, queue};
use warren_broker::alarms::MemoryLimit;
use warren_broker::{Member, Node, Settings, serve};

/// Octets of a body.
const BODY: usize = 8192;
/// Messages of a burst, and bursts.
const BURST: usize = 64;
const BURSTS: u64 = 800;
/// What the broker may have more than at the beginning; a third of what is published.
const ROOM: u64 = 128 << 20;
const PATIENCE: Duration = Duration::from_secs(120);

fn octets(outbox: &mut Outbox) -> Bytes {
    let count = outbox.remaining();
    outbox.copy_to_bytes(count)
}

/// Logs in, opens channel 1, declares the queue.
async fn open(at: std::net::SocketAddr) -> TcpStream {
    let mut outbox = Outbox::new(FrameMax::DEFAULT);
    outbox.octets(b"AMQP\0\0\x09\x01");
    let start = connection::StartOk {
        mechanism: ShortString::from_static("PLAIN"),
        response: warren_amqp::handshake::plain("guest", "guest"),
        locale: ShortString::from_static("en_US"),
        ..connection::StartOk::default()
    };
    let tune = connection::TuneOk {
        channel_max: 1,
        frame_max: FrameMax::DEFAULT.octets(),
        heartbeat: 0,
    };
    let vhost = connection::Open {
        virtual_host: ShortString::from_static("/"),
        ..connection::Open::default()
    };
    let hello: [Method; 3] = [start.into(), tune.into(), vhost.into()];
    for method in hello {
        outbox.method(0, method).unwrap();
    }
    outbox.method(1, channel::Open::default()).unwrap();
    let declare = queue::Declare {
        queue: ShortString::from_static("backlog"),
        durable: true,
        ..queue::Declare::default()
    };
    outbox.method(1, declare).unwrap();
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(&octets(&mut outbox)).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_stalled_consumer_memory_stays_below_its_limit_and_the_backlog_is_on_disk() {
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
    let mut stalled = open(at).await;
    stalled.write_all(&octets(&mut outbox)).await.unwrap();

    let body = vec![7; BODY].into();
    let publish = Publish {
        routing_key: b"backlog",
        ..Publish::default()
    };
    let properties = Properties {
        delivery_mode: Some(2),
        ..Properties::default()
    };
    for _ in 0..BURST {
        outbox.publish(1, &publish, &properties, &body).unwrap();
    }
    let burst = octets(&mut outbox);
    let (mut from, mut to) = open(at).await.into_split();
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

    let publisher = tokio::spawn(async move {
        for _ in 0..BURSTS {
            to.write_all(&burst).await.unwrap();
        }
        to
    });
    let (all, started, mut most) = (BURSTS * BURST as u64, Instant::now(), 0);
    loop {
        most = most.max(node.alarms.measured().memory);
        let counts = node.queues().0.first().map(|queue| queue.snapshot().counts);
        let there = counts.map_or(0, |counts| counts.ready + counts.unacked);
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
    println!("{most} octets at most of {limit}, {:?}", started.elapsed());
    assert!(
        most <= limit,
        "{most} octets instead of {limit}: {:?}",
        node.alarms
    );
    drop((publisher.await.unwrap(), stalled));
}
