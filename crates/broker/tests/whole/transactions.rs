//! Class tx: what is published and settled is done when it is committed.

use std::net::SocketAddr;

use warren_amqp::client::Event;
use warren_amqp::content::Properties;
use warren_amqp::hot::Publish;
use warren_amqp::{Value, basic, channel, queue, tx};

use super::client::{Client, Ended, short};
use super::words::body;

impl Client {
    fn select(&mut self) {
        self.call(1, tx::Select {}, tx::SelectOk::ID);
    }

    fn commit(&mut self) {
        self.call(1, tx::Commit {}, tx::CommitOk::ID);
    }

    fn roll_back(&mut self) {
        self.call(1, tx::Rollback {}, tx::RollbackOk::ID);
    }

    fn text(&mut self, queue: &str, body: &str) {
        self.put(queue, &Properties::default(), body);
    }

    fn fetch_tag(&mut self, queue: &str) -> u64 {
        let message = self.wait_for_unacked(queue, false);
        message.get_ok().unwrap().delivery_tag
    }
}

fn messages_are_there_when_they_are_committed(at: SocketAddr) {
    let mut client = Client::open(at);
    client.queue("tx.published", []);
    client.select();
    client.text("tx.published", "1");
    client.text("tx.published", "2");
    assert_eq!(client.count("tx.published"), 0);
    client.commit();
    assert_eq!(client.count("tx.published"), 2);
    client.text("tx.published", "never");
    client.roll_back();
    client.commit();
    assert_eq!(client.drain("tx.published"), ["1", "2"]);
}

fn durable_messages_are_there_when_they_are_committed(at: SocketAddr) {
    let mut client = Client::open(at);
    client.declare(queue::Declare {
        queue: short("tx.durable"),
        durable: true,
        ..queue::Declare::default()
    });
    client.select();
    let persistent = Properties::of(warren_amqp::content::DeliveryMode::Persistent);
    for round in 1..4 {
        client.put("tx.durable", &persistent, "kept");
        client.commit();
        assert_eq!(client.count("tx.durable"), round);
    }
    client.call(
        1,
        queue::Delete {
            queue: short("tx.durable"),
            ..queue::Delete::default()
        },
        queue::DeleteOk::ID,
    );
}

fn what_is_settled_is_settled_by_the_commit(at: SocketAddr) {
    let mut client = Client::open(at);
    client.queue("tx.settled", []);
    for body in ["1", "2", "3", "4"] {
        client.text("tx.settled", body);
    }
    client.select();
    let tags: Vec<u64> = (0..4).map(|_| client.fetch_tag("tx.settled")).collect();
    client.ack(tags[1], true);
    client.reject(tags[2], true);
    assert_eq!(client.count("tx.settled"), 0, "nothing comes back yet");
    client.roll_back();
    // They are still the client's, who may say something else of them.
    client.ack(tags[0], false);
    client.reject(tags[1], true);
    client.commit();
    assert_eq!(client.count("tx.settled"), 1);
    assert_eq!(body(&client.wait_for("tx.settled")), "2");
    // What was never settled comes back with the channel's end, what was settled without a commit too.
    client.ack(tags[2], false);
    client.call(1, channel::Close::default(), channel::CloseOk::ID);
    client.open_channel(1);
    assert_eq!(body(&client.wait_for("tx.settled")), "3");
    assert_eq!(client.drain("tx.settled"), ["4"]);
}

fn a_message_is_settled_once_in_a_transaction(at: SocketAddr) {
    let mut client = Client::open(at);
    client.queue("tx.once", []);
    client.text("tx.once", "1");
    client.select();
    let tag = client.fetch_tag("tx.once");
    client.ack(tag, false);
    client.ack(tag, false);
    let Some(Ended::Closed { code, text, .. }) = client.end(1) else {
        panic!("it was settled twice");
    };
    assert_eq!(
        (code, text.as_str()),
        (406, "PRECONDITION_FAILED - unknown delivery tag 1")
    );
    client.open_channel(1);
    assert_eq!(client.drain("tx.once"), ["1"]);
}

fn messages_come_back_at_the_commit(at: SocketAddr) {
    let mut client = Client::open(at);
    client.select();
    let publish = Publish {
        routing_key: b"tx.nowhere",
        mandatory: true,
        ..Publish::default()
    };
    client.publish(&publish, &Properties::default(), b"back");
    client.call(1, basic::Qos::default(), basic::QosOk::ID);
    client.send(1, tx::Commit {});
    match client.next() {
        Ok(Event::Message { message, .. }) => assert!(message.returned().is_some()),
        other => panic!("{other:?}"),
    }
    match client.next() {
        Ok(Event::Method { method, .. }) => assert_eq!(method.id(), tx::CommitOk::ID),
        other => panic!("{other:?}"),
    }
}

fn a_queue_may_go_before_the_commit(at: SocketAddr) {
    let mut client = Client::open(at);
    client.queue("tx.gone", []);
    client.select();
    client.text("tx.gone", "to nobody");
    let mandatory = Publish {
        routing_key: b"tx.gone",
        mandatory: true,
        ..Publish::default()
    };
    client.publish(&mandatory, &Properties::default(), b"to somebody");
    client.call(
        1,
        queue::Delete {
            queue: short("tx.gone"),
            ..queue::Delete::default()
        },
        queue::DeleteOk::ID,
    );
    client.send(1, tx::Commit {});
    let message = client.message();
    assert_eq!(message.returned().unwrap().reply_code, 312);
    assert_eq!(body(&message), "to somebody");
    assert!(matches!(client.next(), Ok(Event::Method { method, .. }) if method.id() == tx::CommitOk::ID));
}

fn a_missing_exchange_is_found_at_once(at: SocketAddr) {
    let mut client = Client::open(at);
    client.select();
    let publish = Publish {
        exchange: b"tx.no.such",
        ..Publish::default()
    };
    client.publish(&publish, &Properties::default(), b"");
    let ended = client.end(1);
    assert!(
        matches!(ended, Some(Ended::Closed { code: 404, .. })),
        "{ended:?}"
    );
}

fn prefetch_counts_until_the_commit(at: SocketAddr) {
    let mut client = Client::open(at);
    client.queue("tx.prefetch", []);
    client.text("tx.prefetch", "1");
    client.text("tx.prefetch", "2");
    let one = basic::Qos {
        prefetch_count: 1,
        global: true,
        ..basic::Qos::default()
    };
    client.call(1, one, basic::QosOk::ID);
    client.select();
    client.consume(basic::Consume {
        queue: short("tx.prefetch"),
        ..basic::Consume::default()
    });
    let first = client.delivered();
    client.ack(first.deliver().unwrap().delivery_tag, false);
    client.send(1, tx::Commit {});
    let mut bodies = Vec::new();
    let mut committed = false;
    while bodies.is_empty() || !committed {
        match client.next() {
            Ok(Event::Message { message, .. }) => bodies.push(body(&message)),
            Ok(Event::Method { method, .. }) => {
                assert_eq!(method.id(), tx::CommitOk::ID);
                committed = true;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(bodies, ["2"]);
}

fn a_transaction_fails_if_a_queue_refuses_a_message_of_it(at: SocketAddr) {
    let mut client = Client::open(at);
    client.queue("tx.open", []);
    client.queue(
        "tx.full",
        [
            ("x-max-length", Value::I32(0)),
            ("x-overflow", Value::text("reject-publish")),
        ],
    );
    client.select();
    client.text("tx.open", "taken");
    client.text("tx.full", "refused");
    client.send(1, tx::Commit {});
    let Err(Ended::Closed {
        code, text, method, ..
    }) = client.next()
    else {
        panic!("it was committed");
    };
    assert_eq!((code, method), (406, tx::Commit::ID));
    assert_eq!(text, "PRECONDITION_FAILED - partial tx completion");
    client.open_channel(1);
    assert_eq!(client.drain("tx.open"), ["taken"], "other queues have theirs");
    assert_eq!(client.count("tx.full"), 0);
}

fn what_goes_nowhere_comes_back_at_the_commit(at: SocketAddr) {
    let mut client = Client::open(at);
    client.queue("tx.somewhere", []);
    client.select();
    let publish = |key: &'static [u8]| Publish {
        routing_key: key,
        mandatory: true,
        ..Publish::default()
    };
    for (key, text) in [
        (&b"tx.nowhere"[..], &b"1"[..]),
        (b"tx.somewhere", b"2"),
        (b"tx.nowhere", b"3"),
    ] {
        client.publish(&publish(key), &Properties::default(), text);
    }
    client.send(1, basic::Qos::default());
    assert!(
        matches!(client.next(), Ok(Event::Method { method, .. }) if method.id() == basic::QosOk::ID),
        "nothing comes back before"
    );
    client.send(1, tx::Commit {});
    for text in ["1", "3"] {
        let message = client.message();
        assert_eq!(message.returned().unwrap().reply_code, 312);
        assert_eq!(body(&message), text);
    }
    assert!(
        matches!(client.next(), Ok(Event::Method { method, .. }) if method.id() == tx::CommitOk::ID),
        "after that it is committed"
    );
    assert_eq!(client.drain("tx.somewhere"), ["2"]);
}

pub(crate) mod scenarios {
    super::super::words::scenarios![
        messages_are_there_when_they_are_committed,
        durable_messages_are_there_when_they_are_committed,
        what_is_settled_is_settled_by_the_commit,
        a_message_is_settled_once_in_a_transaction,
        messages_come_back_at_the_commit,
        a_queue_may_go_before_the_commit,
        a_missing_exchange_is_found_at_once,
        prefetch_counts_until_the_commit,
        a_transaction_fails_if_a_queue_refuses_a_message_of_it,
        what_goes_nowhere_comes_back_at_the_commit,
    ];
}
