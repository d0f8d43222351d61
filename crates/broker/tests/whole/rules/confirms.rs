//! Returns and confirms.

use std::net::SocketAddr;

use warren_amqp::client::{Confirms, Event};
use warren_amqp::content::Properties;
use warren_amqp::hot::Publish;
use warren_amqp::{Method, Table, Value, basic, confirm, queue};

use crate::client::{Client, queue, short};

/// Waits for answers to the first so many messages: which were refused.
fn answers(client: &mut Client, count: u64) -> Vec<u64> {
    later_answers(client, 0, count)
}

/// Waits for answers to so many messages behind those that were answered before.
fn later_answers(client: &mut Client, before: u64, count: u64) -> Vec<u64> {
    let mut confirms = Confirms::default();
    for _ in 0..before + count {
        confirms.published();
    }
    for number in 1..=before {
        confirms.settle(number, false);
    }
    let mut refused = Vec::new();
    while confirms.count() > 0 {
        let event = client.next().unwrap();
        match event {
            Event::Method {
                method: Method::Basic(basic::Method::Ack(ack)),
                ..
            } => {
                assert!(
                    !confirms.settle(ack.delivery_tag, ack.multiple).is_empty(),
                    "{ack:?} says nothing new"
                );
            }
            Event::Method {
                method: Method::Basic(basic::Method::Nack(nack)),
                ..
            } => {
                refused.extend(confirms.settle(nack.delivery_tag, nack.multiple));
            }
            other => panic!("{other:?}"),
        }
    }
    refused
}

/// No message was refused.
const NONE: [u64; 0] = [];

fn select(client: &mut Client) {
    client.call(1, confirm::Select::default(), confirm::SelectOk::ID);
}

pub(crate) mod scenarios {
    crate::words::scenarios! {
        a_message_that_finds_no_queue_is_returned_before_it_is_confirmed,
        messages_are_numbered_from_1_on_and_answered_once,
        each_channel_counts_for_itself,
        a_message_for_many_queues_is_confirmed_once,
        a_full_queue_that_rejects_says_so,
        what_is_dropped_expired_purged_or_deleted_is_confirmed,
        confirms_do_not_wait_for_consumers,
    }
}

fn a_message_that_finds_no_queue_is_returned_before_it_is_confirmed(at: SocketAddr) {
    let mut client = Client::open(at);
    select(&mut client);
    let properties = Properties {
        message_id: Some(short("m-1")),
        headers: Some(Table::new().with("n", Value::I8(-3))),
        ..Properties::default()
    };
    let publish = Publish {
        exchange: b"amq.direct",
        routing_key: b"nobody",
        mandatory: true,
        ..Publish::default()
    };
    client.publish(&publish, &properties, b"body");
    let message = client.message();
    let returned = message.returned().unwrap();
    assert_eq!(
        (returned.reply_code, returned.reply_text),
        (312, &b"NO_ROUTE"[..])
    );
    assert_eq!(
        (returned.exchange, returned.routing_key),
        (&b"amq.direct"[..], &b"nobody"[..])
    );
    assert_eq!(message.whole_body(), "body");
    assert_eq!(message.header().payload()[..], properties.header(4)[..]);
    assert_eq!(answers(&mut client, 1), NONE);
}

fn messages_are_numbered_from_1_on_and_answered_once(at: SocketAddr) {
    let mut client = Client::open(at);
    client.declare(queue::Declare {
        exclusive: true,
        ..queue("confirmed")
    });
    // Before, they have no number.
    client.publish_to("confirmed", b"x");
    select(&mut client);
    for number in 0..50 {
        client.publish_to(if number % 3 == 0 { "nobody" } else { "confirmed" }, b"x");
    }
    assert_eq!(answers(&mut client, 50), NONE);
    // Asking again changes nothing, and goes on counting.
    select(&mut client);
    client.publish_to("confirmed", b"x");
    match client.next() {
        Ok(Event::Method {
            method: Method::Basic(basic::Method::Ack(ack)),
            ..
        }) => assert_eq!(ack.delivery_tag, 51),
        other => panic!("{other:?}"),
    }
}

fn each_channel_counts_for_itself(at: SocketAddr) {
    let mut client = Client::open(at);
    client.open_channel(2);
    for channel in [1, 2] {
        client.call(channel, confirm::Select::default(), confirm::SelectOk::ID);
        client.publish_on(channel, "nobody", b"x");
        match client.next() {
            Ok(Event::Method {
                channel: on,
                method: Method::Basic(basic::Method::Ack(ack)),
            }) => {
                assert_eq!((on, ack.delivery_tag), (channel, 1));
            }
            other => panic!("{other:?}"),
        }
    }
}

fn a_message_for_many_queues_is_confirmed_once(at: SocketAddr) {
    let mut client = Client::open(at);
    for name in ["many.a", "many.b", "many.c"] {
        client.declare(queue::Declare {
            exclusive: true,
            ..queue(name)
        });
        client.bind(name, "amq.fanout", "");
    }
    select(&mut client);
    for _ in 0..10 {
        client.publish_at("amq.fanout", "", b"x");
    }
    assert_eq!(answers(&mut client, 10), NONE);
    assert!(client.get("many.c", true).is_some());
}

fn a_full_queue_that_rejects_says_so(at: SocketAddr) {
    let mut client = Client::open(at);
    let arguments = Table::new()
        .with("x-max-length", Value::I32(2))
        .with("x-overflow", Value::text("reject-publish"));
    client.declare(queue::Declare {
        exclusive: true,
        arguments,
        ..queue("full")
    });
    select(&mut client);
    for number in 0..5_u8 {
        client.publish_to("full", &[number]);
        let refused = match client.next() {
            Ok(Event::Method { method, .. }) => method.id() == basic::Nack::ID,
            other => panic!("{other:?}"),
        };
        assert_eq!(refused, number > 1, "{number}");
    }
    assert_eq!(client.get("full", true).unwrap().whole_body(), vec![0]);
}

fn what_is_dropped_expired_purged_or_deleted_is_confirmed(at: SocketAddr) {
    let mut client = Client::open(at);
    let arguments = Table::new().with("x-max-length", Value::I32(1));
    client.declare(queue::Declare {
        exclusive: true,
        arguments,
        ..queue("dropped")
    });
    select(&mut client);
    for _ in 0..10 {
        client.publish_to("dropped", b"x");
    }
    assert_eq!(answers(&mut client, 10), NONE);
    assert!(client.get("dropped", true).is_some());
    assert!(client.get("dropped", true).is_none());
    // These may be gone before they are confirmed.
    let persistent = |expiration: Option<&str>| Properties {
        delivery_mode: Some(2),
        expiration: expiration.map(short),
        ..Properties::default()
    };
    let mut outbox = warren_amqp::outbox::Outbox::new(warren_amqp::FrameMax::DEFAULT);
    let body = bytes::Bytes::from_static(b"x");
    for (name, expiration) in [("expired", Some("0")), ("purged", None), ("deleted", None)] {
        client.declare(queue::Declare {
            durable: true,
            ..queue(name)
        });
        let publish = Publish {
            routing_key: name.as_bytes(),
            ..Publish::default()
        };
        for _ in 0..5 {
            outbox
                .publish(1, &publish, &persistent(expiration), &body)
                .unwrap();
        }
    }
    for name in ["expired", "purged"] {
        let purge = queue::Purge {
            queue: short(name),
            no_wait: true,
            ..queue::Purge::default()
        };
        outbox.method(1, purge).unwrap();
    }
    for name in ["expired", "purged", "deleted"] {
        let delete = queue::Delete {
            queue: short(name),
            no_wait: true,
            ..queue::Delete::default()
        };
        outbox.method(1, delete).unwrap();
    }
    client.send_all(&mut outbox);
    assert_eq!(later_answers(&mut client, 10, 15), NONE);
}

fn confirms_do_not_wait_for_consumers(at: SocketAddr) {
    let mut client = Client::open(at);
    client.declare(queue::Declare {
        exclusive: true,
        ..queue("unacked")
    });
    let mut consumer = Client::open(at);
    drop(consumer.end(1));
    client.open_channel(2);
    client.call(
        2,
        basic::Consume {
            queue: short("unacked"),
            ..basic::Consume::default()
        },
        basic::ConsumeOk::ID,
    );
    select(&mut client);
    client.publish_to("unacked", b"x");
    let (mut confirmed, mut delivered) = (false, false);
    while !(confirmed && delivered) {
        match client.next().unwrap() {
            Event::Message { .. } => delivered = true,
            Event::Method { method, .. } => confirmed |= method.id() == basic::Ack::ID,
            other => panic!("{other:?}"),
        }
    }
}
