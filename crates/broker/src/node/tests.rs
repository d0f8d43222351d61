//! Changes of the metadata: what a disk that fails or is full leaves of them.

use std::path::Path;
use std::sync::Arc;

use warren_amqp::client::Event;
use warren_amqp::{Method, ShortString, Table, Value, basic, confirm, queue};
use warren_cluster::Member;
use warren_model::meta::Command;
use warren_model::routing::Kind;
use warren_model::{Name, Refusal};
use warren_store::{Options, SimulatedDisk, Weather};

use super::Node;
use crate::Settings;
use crate::testing::{Client, listen};

const SEGMENT: u64 = 64 << 10;

fn name(text: &str) -> Name {
    Name::try_from(text).unwrap()
}

fn open(disk: &SimulatedDisk) -> Arc<Node> {
    let options = Options {
        segment_octets: SEGMENT,
        ..Options::default()
    };
    let member = Member::alone_on(Arc::new(disk.clone()), Path::new("/data"), options).unwrap();
    let opened = Node::open("rabbit@test".to_owned(), Settings::default(), member);
    opened.unwrap().0
}

/// A durable queue with an argument of so many octets.
fn declare(queue: &str, octets: usize) -> Command {
    Command::DeclareQueue {
        vhost: name("/"),
        name: name(queue),
        id: None,
        durable: true,
        auto_delete: false,
        exclusive: None,
        arguments: Table::new().with("note", Value::text(&"x".repeat(octets))),
    }
}

fn delete(queue: &str) -> Command {
    Command::DeleteQueue {
        vhost: name("/"),
        name: name(queue),
    }
}

fn queues(node: &Node) -> Vec<String> {
    let named = node.read(|meta| {
        let queues = meta.vhost("/").unwrap().queues();
        queues.map(|(name, _)| name.to_string()).collect::<Vec<_>>()
    });
    assert_eq!(node.queues().0.len(), named.len());
    named
}

fn not_written<T>(changed: Result<T, Refusal>) -> bool {
    changed.is_err_and(|refusal| refusal.code == warren_amqp::ReplyCode::InternalError)
}

#[test]
fn a_change_that_the_disk_has_no_room_for_has_not_happened() {
    let disk = SimulatedDisk::default();
    let node = open(&disk);
    node.apply(declare("small", 10)).unwrap();
    let used = disk.files().iter().map(|(_, octets)| octets).sum();
    disk.set_weather(Weather {
        capacity: Some(used),
        ..Weather::default()
    });
    let version = node.version();
    // It would need a segment of its own.
    assert!(not_written(node.apply(declare("large", 2 * SEGMENT as usize))));
    assert_eq!(queues(&node), ["small"]);
    assert_eq!(node.version(), version);
    assert!(node.change_under_way().is_none());
    node.apply(declare("other", 10)).unwrap();
    drop(node);
    assert_eq!(queues(&open(&disk)), ["other", "small"]);
}

#[test]
fn when_the_log_has_ended_nothing_changes() {
    let disk = SimulatedDisk::default();
    let node = open(&disk);
    node.apply(declare("there", 10)).unwrap();
    disk.set_weather(Weather {
        sync_fails_at: Some(0),
        ..Weather::default()
    });
    assert!(not_written(node.apply(declare("half", 10))));
    for command in [declare("never", 10), delete("there")] {
        assert!(not_written(node.apply(command)));
    }
    assert_eq!(queues(&node), ["half", "there"]);
    drop(node);
    assert_eq!(queues(&open(&disk.after_power_cut(&mut || false))), ["there"]);
}

/// A queue's deletion that is not on disk leads messages nowhere. Whoever were told that one is safe would not find it in the queue that is
/// there again after a crash.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_went_nowhere_is_not_confirmed_before_the_deletion_that_led_it_there_is_on_disk() {
    let disk = SimulatedDisk::default();
    let node = open(&disk);
    let address = listen(&node).await;
    node.apply(declare("gone", 10)).unwrap();
    let mut publisher = Client::open(address).await;
    publisher.call(confirm::Select::default()).await;
    let confirmed = |event: &Event| {
        matches!(
            event,
            Event::Method {
                method: Method::Basic(basic::Method::Ack(_)),
                ..
            }
        )
    };
    // As long as nothing is under way there is nothing to wait for.
    publisher.publish("nowhere", false, b"lost").await;
    assert!(confirmed(&publisher.event().await));
    disk.set_weather(Weather {
        sync_fails_at: Some(0),
        ..Weather::default()
    });
    let mut other = Client::open(address).await;
    let delete = queue::Delete {
        queue: ShortString::from_static("gone"),
        ..queue::Delete::default()
    };
    let refused = other.call(delete).await;
    assert!(matches!(refused, Method::Connection(_)), "{refused:?}");
    assert!(queues(&node).is_empty());
    publisher.publish("gone", false, b"to be there again").await;
    // A confirm would come before the answer to what was said later, or before the goodbye of a node that cannot write.
    let answer = publisher.call(basic::Qos::default()).await;
    assert!(
        matches!(
            answer,
            Method::Basic(basic::Method::QosOk(_)) | Method::Connection(_)
        ),
        "{answer:?}"
    );
    let after = open(&disk.after_power_cut(&mut || false));
    assert_eq!(queues(&after), ["gone"]);
}

/// Whoever is told that the exchange is there may publish to it.
#[test]
fn an_exchange_that_delays_has_its_queue_for_everybody_who_declares_it() {
    let node = open(&SimulatedDisk::default());
    let exchange = || Command::DeclareExchange {
        vhost: name("/"),
        name: name("later"),
        kind: Kind::Delayed(Box::new(Kind::Fanout)),
        durable: true,
        auto_delete: false,
        internal: false,
        arguments: Table::new().with("x-delayed-type", Value::text("fanout")),
    };
    // As far as its first declarer has come.
    let (_, ticket) = node.change(exchange()).unwrap();
    node.wait(ticket).unwrap();
    assert!(queues(&node).is_empty());
    node.apply(exchange()).unwrap();
    assert_eq!(queues(&node).len(), 1);
}
