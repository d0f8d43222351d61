use warren_cluster::Member;

use super::{Alarms, DiskLimit, FAR, FARTHEST, Measured, MemoryLimit, NEAR, Short, disk_pause, pause};
use crate::node::{Node, Settings};
use crate::registry::State;
use crate::testing::{Client, eventually, node};
use warren_amqp::client::Event;
use warren_amqp::{Method, basic, connection};

fn measured(memory: u64, disk: Option<u64>) -> Measured {
    Measured {
        memory,
        memory_limit: 100,
        disk,
        disk_limit: 50,
    }
}

#[test]
fn limits_are_parts_of_the_memory_or_octets() {
    assert_eq!(MemoryLimit::DEFAULT.octets(10_000), 4000);
    assert_eq!(MemoryLimit::Millionths(1_000_000).octets(u64::MAX), u64::MAX);
    assert_eq!(MemoryLimit::Octets(7).octets(10_000), 7);
    assert_eq!(DiskLimit::DEFAULT.octets(10_000), 50_000_000);
    assert_eq!(DiskLimit::MillionthsOfMemory(1_500_000).octets(10_000), 15_000);
}

#[test]
fn what_is_above_its_limit_is_short_until_it_is_not() {
    let alarms = Alarms::default();
    assert!(!alarms.judge(measured(100, None), false));
    assert!(alarms.judge(measured(101, Some(50)), false));
    assert_eq!(alarms.short().reason(), "low on memory");
    assert!(!alarms.judge(measured(200, Some(50)), false), "nothing new");
    assert!(alarms.judge(measured(200, Some(49)), false));
    assert_eq!(alarms.short().reason(), "low on disk & memory");
    assert!(alarms.judge(measured(1, Some(49)), false));
    assert_eq!(alarms.short().reason(), "low on disk");
    assert!(!alarms.judge(measured(1, Some(50)), true), "the log knows better");
    assert!(alarms.judge(measured(1, Some(50)), false));
    assert_eq!(alarms.short(), Short::default());
    assert_eq!(alarms.counts().0, 2);
    assert_eq!(alarms.measured(), measured(1, Some(50)));
}

fn with_memory(node: &Node, memory_limit: MemoryLimit) {
    node.change_settings(Settings {
        memory_limit,
        ..Settings::default()
    });
}

#[tokio::test]
async fn another_limit_counts_at_once() {
    let (node, _) = node().await;
    eventually("memory was looked at", || node.alarms.measured().memory > 0).await;
    for _ in 0..3 {
        with_memory(&node, MemoryLimit::Octets(1));
        assert!(node.alarms.short().memory);
        with_memory(&node, MemoryLimit::DEFAULT);
        assert!(!node.alarms.short().memory);
    }
}

fn states(node: &Node) -> Vec<State> {
    node.registry
        .connections()
        .iter()
        .map(|entry| entry.state())
        .collect()
}

async fn heard(client: &mut Client) -> Method {
    match client.event().await {
        Event::Method { method, .. } => method,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn who_publishes_while_memory_is_short_waits_and_hears_of_it() {
    let (node, address) = node().await;
    let mut publisher = Client::open(address).await;
    publisher.declare("q").await;
    publisher.publish("q", false, b"before").await;
    eventually("it is there", || {
        node.queues()
            .0
            .iter()
            .all(|queue| queue.snapshot().counts.ready == 1)
    })
    .await;
    with_memory(&node, MemoryLimit::Octets(1));
    eventually("memory is short", || node.alarms.short().memory).await;
    eventually("nobody is blocked yet", || states(&node) == [State::Blocking]).await;

    publisher.publish("q", false, b"waits").await;
    let Method::Connection(connection::Method::Blocked(blocked)) = heard(&mut publisher).await else {
        panic!("blocked");
    };
    assert_eq!(blocked.reason.to_text(), "low on memory");
    assert_eq!(states(&node), [State::Blocked]);
    assert_eq!(node.alarms.counts().1, 1);

    // Another one consumes and acknowledges meanwhile, and finds nothing but what came before.
    let mut consumer = Client::open(address).await;
    consumer.consume("q").await;
    let message = consumer.event().await;
    assert!(matches!(message, Event::Message { .. }), "{message:?}");
    consumer
        .cast(basic::Ack {
            delivery_tag: 1,
            multiple: false,
        })
        .await;
    eventually("it is acknowledged", || {
        node.queues().0.iter().all(|queue| {
            let counts = queue.snapshot().counts;
            counts.ready + counts.unacked == 0
        })
    })
    .await;
    assert_eq!(states(&node), [State::Blocked, State::Blocking]);

    with_memory(&node, MemoryLimit::DEFAULT);
    let unblocked = heard(&mut publisher).await;
    assert!(
        matches!(unblocked, Method::Connection(connection::Method::Unblocked(_))),
        "{unblocked:?}"
    );
    let message = consumer.event().await;
    assert!(
        matches!(message, Event::Message { .. }),
        "what waited comes: {message:?}"
    );
    eventually("all are running", || {
        states(&node) == [State::Running, State::Running]
    })
    .await;
}

#[tokio::test]
async fn a_blocked_connection_can_be_closed() {
    let (node, address) = node().await;
    let mut publisher = Client::open(address).await;
    with_memory(&node, MemoryLimit::Octets(1));
    eventually("memory is short", || node.alarms.short().memory).await;
    publisher.publish("q", false, b"waits").await;
    let blocked = heard(&mut publisher).await;
    assert!(matches!(
        blocked,
        Method::Connection(connection::Method::Blocked(_))
    ));
    for entry in node.registry.connections() {
        entry.close("enough");
    }
    let close = heard(&mut publisher).await;
    let Method::Connection(connection::Method::Close(close)) = close else {
        panic!("{close:?}");
    };
    assert_eq!(close.reply_text.to_text(), "CONNECTION_FORCED - enough");
    publisher.cast_on(0, connection::CloseOk {}).await;
    eventually("it is gone", || node.registry.count() == 0).await;
}

#[tokio::test]
async fn a_disk_with_too_little_room_is_an_alarm() {
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings {
        disk_free_limit: DiskLimit::Octets(u64::MAX),
        ..Settings::default()
    };
    let member = Member::alone(directory.path()).unwrap();
    let (node, _) = Node::open("rabbit@test".to_owned(), settings, member).unwrap();
    let address = crate::testing::listen(&node).await;
    let mut publisher = Client::open(address).await;
    eventually("the disk is short", || node.alarms.short().disk).await;
    publisher.publish("q", false, b"waits").await;
    let Method::Connection(connection::Method::Blocked(blocked)) = heard(&mut publisher).await else {
        panic!("blocked");
    };
    assert_eq!(blocked.reason.to_text(), "low on disk");
    node.change_settings(Settings::default());
    let unblocked = heard(&mut publisher).await;
    assert!(matches!(
        unblocked,
        Method::Connection(connection::Method::Unblocked(_))
    ));
}

#[test]
fn the_more_is_left_the_longer_nobody_looks() {
    const GIB: u64 = 1 << 30;
    let memory = |memory, memory_limit| {
        pause(Measured {
            memory,
            memory_limit,
            ..Measured::default()
        })
        .as_millis()
    };
    assert_eq!(memory(3 * GIB, 5 * GIB), NEAR.as_millis());
    assert_eq!(memory(9 * GIB, GIB), NEAR.as_millis());
    assert_eq!(memory(0, GIB / 2), FAR.as_millis());
    assert_eq!(memory(0, 2 * GIB), 500);
    assert_eq!(memory(0, 100 * GIB), FARTHEST.as_millis());
    let disk = |disk, disk_limit| {
        disk_pause(Measured {
            disk,
            disk_limit,
            ..Measured::default()
        })
        .as_secs()
    };
    assert_eq!(
        (disk(None, 0), disk(Some(GIB), 2 * GIB), disk(Some(3 * GIB), GIB)),
        (1, 1, 1)
    );
    assert_eq!((disk(Some(14 * GIB), 2 * GIB), disk(Some(1000 * GIB), 0)), (3, 5));
}
