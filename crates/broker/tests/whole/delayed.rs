//! Exchanges that delay messages: what RabbitMQ needs a plugin for.

use std::time::{Duration, Instant};

use warren_amqp::content::{DeliveryMode, Properties};
use warren_amqp::hot::Publish;
use warren_amqp::{Table, Value, exchange, queue};

use super::broker::Broker;
use super::client::{Client, Ended, short};
use super::words::{Heard, PATIENCE, body, headers, table, with_headers};

const KIND: &str = "x-delayed-message";

fn declare(client: &mut Client, durable: bool) {
    client.call(
        1,
        exchange::Declare {
            exchange: short("later"),
            exchange_type: short(KIND),
            durable,
            arguments: table([("x-delayed-type", Value::text("topic"))]),
            ..exchange::Declare::default()
        },
        exchange::DeclareOk::ID,
    );
    client.declare(queue::Declare {
        queue: short("due"),
        durable,
        ..queue::Declare::default()
    });
    client.bind("due", "later", "order.*");
}

fn delayed(delay: Value) -> Properties {
    Properties {
        delivery_mode: Some(DeliveryMode::Persistent.code()),
        ..with_headers([("x-delay", delay)])
    }
}

fn publish(client: &mut Client, key: &str, properties: &Properties, body: &str) {
    let publish = Publish {
        exchange: b"later",
        routing_key: key.as_bytes(),
        ..Publish::default()
    };
    client.publish(&publish, properties, body.as_bytes());
}

#[test]
fn messages_come_when_their_delay_is_over() {
    let broker = Broker::start();
    let mut client = Client::open(broker.at);
    declare(&mut client, false);
    let started = Instant::now();
    publish(&mut client, "order.1", &delayed(Value::I32(400)), "last");
    publish(&mut client, "order.2", &delayed(Value::I64(150)), "second");
    publish(&mut client, "other", &delayed(Value::I32(1)), "to nobody");
    publish(&mut client, "order.3", &delayed(Value::I32(0)), "first");
    publish(&mut client, "order.4", &delayed(Value::I32(-7)), "first, too");
    publish(
        &mut client,
        "order.5",
        &delayed(Value::text("soon")),
        "first as well",
    );
    for body in ["first", "first, too", "first as well"] {
        assert_eq!(self::body(&client.take("due").unwrap()), body);
    }
    for (expected, key, delay, after) in [
        ("second", "order.2", Value::I32(-150), 150),
        ("last", "order.1", Value::I32(-400), 400),
    ] {
        let message = client.wait_for("due");
        assert!(
            started.elapsed() >= Duration::from_millis(after),
            "{expected} came too early"
        );
        let got = message.get_ok().unwrap();
        assert_eq!(
            (&*body(&message), got.exchange, got.routing_key),
            (expected, &b"later"[..], key.as_bytes())
        );
        assert_eq!(*headers(&message).get("x-delay").unwrap(), delay);
        assert_eq!(headers(&message).get("x-death"), None, "it has not died");
    }
    assert_eq!(client.count("amq.delayed.later"), 0);
}

#[test]
fn where_a_message_goes_is_found_when_its_delay_is_over() {
    let broker = Broker::start();
    let mut client = Client::open(broker.at);
    declare(&mut client, false);
    client.queue("bound.late", []);
    // Through another exchange, it waits as well.
    client.exchange("before", "fanout", Table::new());
    client.call(
        1,
        exchange::Bind {
            destination: short("later"),
            source: short("before"),
            ..exchange::Bind::default()
        },
        exchange::BindOk::ID,
    );
    let to = Publish {
        exchange: b"before",
        routing_key: b"order.7",
        mandatory: true,
        ..Publish::default()
    };
    client.select_confirms();
    client.publish(&to, &delayed(Value::I32(100)), b"late");
    assert_eq!(client.hear(1), [Heard::Ack(1)]);
    client.bind("bound.late", "later", "#");
    for queue in ["bound.late", "due"] {
        let message = client.wait_for(queue);
        assert_eq!(message.get_ok().unwrap().exchange, b"before");
        assert_eq!(body(&message), "late");
    }
}

#[test]
fn delayed_messages_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::on(directory.path());
    let mut client = Client::open(broker.at);
    declare(&mut client, true);
    client.select_confirms();
    let started = Instant::now();
    publish(&mut client, "order.1", &delayed(Value::I32(1500)), "later");
    publish(&mut client, "order.2", &delayed(Value::I32(50)), "soon");
    let transient = with_headers([("x-delay", Value::I32(60))]);
    publish(&mut client, "order.3", &transient, "forgotten");
    client.hear(3);
    drop((client, broker));

    let broker = Broker::on(directory.path());
    let mut client = Client::open(broker.at);
    assert_eq!(body(&client.wait_for("due")), "soon");
    let message = client.wait_for("due");
    assert_eq!(body(&message), "later");
    assert!(
        started.elapsed() >= Duration::from_millis(1500),
        "it came too early"
    );
    assert_eq!(client.count("amq.delayed.later"), 0);
    // What came through is on disk in its queue, and no more with its exchange.
    publish(&mut client, "order.4", &delayed(Value::I32(1)), "once");
    let deadline = Instant::now() + PATIENCE;
    while client.count("due") == 0 {
        assert!(Instant::now() < deadline);
    }
    drop((client, broker));
    let broker = Broker::on(directory.path());
    let mut client = Client::open(broker.at);
    assert_eq!(body(&client.wait_for("due")), "once");
    assert_eq!(client.count("due"), 0);
    assert_eq!(client.count("amq.delayed.later"), 0);
}

#[test]
fn what_waits_goes_with_its_exchange() {
    let broker = Broker::start();
    let mut client = Client::open(broker.at);
    declare(&mut client, false);
    publish(&mut client, "order.1", &delayed(Value::I32(60_000)), "never");
    assert_eq!(client.count("amq.delayed.later"), 1);
    client.call(
        1,
        exchange::Delete {
            exchange: short("later"),
            ..exchange::Delete::default()
        },
        exchange::DeleteOk::ID,
    );
    client.send(
        1,
        queue::Declare {
            queue: short("amq.delayed.later"),
            passive: true,
            ..queue::Declare::default()
        },
    );
    let ended = client.next();
    assert!(matches!(ended, Err(Ended::Closed { code: 404, .. })), "{ended:?}");
}

#[test]
fn nobody_gets_what_waits() {
    let broker = Broker::start();
    let mut client = Client::open(broker.at);
    declare(&mut client, false);
    client.consume(warren_amqp::basic::Consume {
        queue: short("amq.delayed.later"),
        ..warren_amqp::basic::Consume::default()
    });
    publish(&mut client, "order.1", &delayed(Value::I32(50)), "due only");
    assert_eq!(client.end(1), None);
    assert_eq!(body(&client.wait_for("due")), "due only");
}
