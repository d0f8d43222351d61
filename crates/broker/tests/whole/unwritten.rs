//! What costs no disk: messages that nobody needs after a restart, or that are taken for good at once.

use std::sync::Arc;

use warren_amqp::basic;
use warren_amqp::content::{DeliveryMode, Properties};
use warren_broker::{Member, Node, Settings};
use warren_cluster::LogStore;

use super::broker::Broker;
use super::client::{Client, queue, short};
use super::words::body;

/// A broker, and its log.
fn start(directory: &tempfile::TempDir) -> (Broker, Arc<dyn LogStore>) {
    let member = Member::alone(directory.path()).unwrap();
    let log = Arc::clone(&member.log);
    let node = || {
        let opened = Node::open("rabbit@test".to_owned(), Settings::default(), member);
        opened.unwrap().0
    };
    (Broker::of(node), log)
}

#[test]
fn transient_messages_and_those_that_are_taken_at_once_for_good_are_never_written() {
    const COUNT: u64 = 200;
    let directory = tempfile::tempdir().unwrap();
    let (broker, log) = start(&directory);
    let (transient, persistent) = (DeliveryMode::Transient, DeliveryMode::Persistent);
    for (name, durable, mode, no_ack, written) in [
        ("durable, transient", true, transient, false, false),
        ("not durable, persistent", false, persistent, false, false),
        (
            "durable, persistent, never settled",
            true,
            persistent,
            true,
            false,
        ),
        ("durable, persistent", true, persistent, false, true),
    ] {
        let mut client = Client::open(broker.at);
        let mut declare = queue(name);
        declare.durable = durable;
        client.declare(declare);
        client.select_confirms();
        client.consume(basic::Consume {
            queue: short(name),
            no_ack,
            ..basic::Consume::default()
        });
        let before = log.statistics().unwrap();
        let mut consumer = Consumer::default();
        for number in 1..=COUNT {
            client.put(name, &Properties::of(mode), &number.to_string());
            consumer.hears(&mut client);
            if !no_ack {
                client.ack(number, false);
            }
        }
        // What was settled last has been heard.
        assert_eq!(client.end(1), None);
        let after = log.statistics().unwrap();
        let more = (
            after.batches > before.batches,
            after.octets > before.octets,
            after.messages - before.messages,
        );
        assert_eq!(
            more,
            (written, written, if written { COUNT } else { 0 }),
            "{name}"
        );
    }
}

/// Who gets a message and hears that it is confirmed, in whatever order.
#[derive(Default)]
struct Consumer(u64);

impl Consumer {
    fn hears(&mut self, client: &mut Client) {
        use warren_amqp::client::Event;
        self.0 += 1;
        let (mut message, mut confirm) = (None, None);
        for _ in 0..2 {
            match client.next() {
                Ok(Event::Message { message: got, .. }) => message = Some(body(&got)),
                Ok(Event::Method { method, .. }) => confirm = Some(method.id()),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(message, Some(self.0.to_string()));
        assert_eq!(confirm, Some(basic::Ack::ID));
    }
}
