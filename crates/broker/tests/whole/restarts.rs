//! What a restart leaves of messages besides the messages: who may have seen them, and how often they came back.
//!
//! RabbitMQ 3.10, stopped and killed by hand, does the same but for two things: a quorum queue that was killed says of what nobody had
//! that it is new; and it gives what came back in the order in which it did.

use std::path::Path;
use std::time::{Duration, Instant};

use warren_amqp::content::{DeliveryMode, Properties};
use warren_amqp::{Value, queue};

use super::broker::Broker;
use super::client::{Client, short};
use super::words::{PATIENCE, body, dying_into, headers, table};

/// Bodies, whether they say that somebody may have seen them, and `x-delivery-count`, in order.
type Seen = Vec<(String, bool, Option<i64>)>;

fn declare<const N: usize>(client: &mut Client, name: &str, arguments: [(&str, Value); N]) {
    client.declare(queue::Declare {
        queue: short(name),
        durable: true,
        arguments: table(arguments),
        ..queue::Declare::default()
    });
}

fn declare_both(client: &mut Client) {
    declare(client, "re.classic", []);
    declare(client, "re.quorum", [("x-queue-type", Value::text("quorum"))]);
}

fn put(client: &mut Client, queue: &str, text: &str) {
    client.put(queue, &Properties::of(DeliveryMode::Persistent), text);
}

fn take(client: &mut Client, queue: &str) -> u64 {
    client
        .wait_for_unacked(queue, false)
        .get_ok()
        .unwrap()
        .delivery_tag
}

/// Of six messages the first came back four times, the second once, and the third is still with a client.
fn use_up(client: &mut Client, queue: &str) {
    for number in 0..6 {
        put(client, queue, &number.to_string());
    }
    for _ in 0..3 {
        let tag = take(client, queue);
        client.reject(tag, true);
    }
    let tags = [(); 3].map(|()| take(client, queue));
    client.reject(tags[1], true);
    client.reject(tags[0], true);
    assert_eq!(client.end(1), None);
}

fn seen(client: &mut Client, queue: &str) -> Seen {
    let messages = (0..6).map(|_| client.wait_for_unacked(queue, false));
    let seen = messages.map(|message| {
        let headers = match message.header().headers() {
            Some(_) => headers(&message),
            None => warren_amqp::Table::new(),
        };
        let count = match headers.get("x-delivery-count") {
            Some(Value::I64(count)) => Some(*count),
            _ => None,
        };
        (body(&message), message.get_ok().unwrap().redelivered, count)
    });
    seen.collect()
}

fn expected(redelivered: [bool; 6], counts: Option<[i64; 6]>) -> Seen {
    let line = |number: usize| {
        let count = counts.map(|counts| counts[number]);
        (number.to_string(), redelivered[number], count)
    };
    (0..6).map(line).collect()
}

fn used_up(directory: &Path) -> (Broker, Client) {
    let broker = Broker::on(directory);
    let mut client = Client::open(broker.at);
    declare_both(&mut client);
    for queue in ["re.classic", "re.quorum"] {
        use_up(&mut client, queue);
    }
    (broker, client)
}

#[test]
fn a_durable_queue_of_ones_own_is_not_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::on(directory.path());
    let mut client = Client::open(broker.at);
    let declare = || queue::Declare {
        queue: short("re.own"),
        durable: true,
        exclusive: true,
        ..queue::Declare::default()
    };
    client.declare(declare());
    put(&mut client, "re.own", "gone");
    client.count("re.own");
    // Killed: nobody has said goodbye to anybody.
    drop(broker);
    let broker = Broker::on(directory.path());
    let mut client = Client::open(broker.at);
    assert_eq!(client.declare(declare()).message_count, 0);
    client.declare(queue::Declare {
        passive: true,
        ..declare()
    });
    assert_eq!(
        broker.node.read(|meta| meta.vhost("/").unwrap().queues().count()),
        1
    );
}

#[test]
fn a_quorum_queue_keeps_what_its_publisher_calls_transient() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::on(directory.path());
    let mut client = Client::open(broker.at);
    declare_both(&mut client);
    for queue in ["re.classic", "re.quorum"] {
        client.put(queue, &Properties::default(), "one");
        client.put(queue, &Properties::of(DeliveryMode::Transient), "two");
        // A confirm says that it is on disk, where it has to be, with what came before it.
        client.publish_safely(queue, b"three");
    }
    let tag = take(&mut client, "re.quorum");
    client.reject(tag, false);
    client.publish_safely("re.quorum", b"four");
    drop(broker);
    let broker = Broker::on(directory.path());
    let mut client = Client::open(broker.at);
    assert_eq!(client.count("re.classic"), 0);
    let left = ["two", "three", "four"].map(|_| body(&client.wait_for("re.quorum")));
    assert_eq!(left, ["two", "three", "four"]);
}

#[test]
fn what_was_seen_is_known_after_an_end_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let (broker, client) = used_up(directory.path());
    // What a client has goes back with it.
    drop(client);
    let mut other = Client::open(broker.at);
    for queue in ["re.classic", "re.quorum"] {
        let deadline = Instant::now() + PATIENCE;
        while other.count(queue) < 6 {
            assert!(Instant::now() < deadline, "{queue} does not have them back");
        }
    }
    broker.stop();
    for round in 0..2 {
        let broker = Broker::on(directory.path());
        let mut client = Client::open(broker.at);
        let redelivered = [true, true, true, false, false, false];
        let counts = [4, 1, 1, 0, 0, 0];
        if round == 1 {
            let classic = seen(&mut client, "re.classic");
            assert_eq!(classic, expected(redelivered, None));
            let quorum = seen(&mut client, "re.quorum");
            assert_eq!(quorum, expected(redelivered, Some(counts)));
        }
        // The first time nobody has looked, and so it is as before.
        broker.stop();
    }
    // This time a client had all of it.
    let broker = Broker::on(directory.path());
    let mut client = Client::open(broker.at);
    assert_eq!(seen(&mut client, "re.classic"), expected([true; 6], None));
}

#[test]
fn everything_may_have_been_seen_after_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    drop(used_up(directory.path()));
    // Once more: that a process before this one ended in order means nothing.
    Broker::on(directory.path()).stop();
    drop(Broker::on(directory.path()));
    let broker = Broker::on(directory.path());
    let mut client = Client::open(broker.at);
    assert_eq!(seen(&mut client, "re.classic"), expected([true; 6], None));
    let counts = [4, 1, 1, 0, 0, 0];
    assert_eq!(seen(&mut client, "re.quorum"), expected([true; 6], Some(counts)));
}

/// One queue whose first message ends soon, one whose second does, and where they go then.
#[test]
fn a_message_that_a_restart_found_ends_though_nobody_uses_its_queue() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::on(directory.path());
    let mut client = Client::open(broker.at);
    let persistent = |text: &str| Properties {
        expiration: Some(short(text)),
        ..Properties::of(DeliveryMode::Persistent)
    };
    for queue in ["re.dead.first", "re.dead.second"] {
        declare(&mut client, queue, []);
    }
    let [exchange, _] = dying_into("");
    for (queue, dead) in [("re.first", "re.dead.first"), ("re.second", "re.dead.second")] {
        declare(
            &mut client,
            queue,
            [exchange.clone(), ("x-dead-letter-routing-key", Value::text(dead))],
        );
    }
    let started = Instant::now();
    client.select_confirms();
    client.put("re.first", &persistent("1000"), "ends");
    client.put("re.first", &persistent("1000"), "ends as well");
    client.put("re.first", &persistent("600000"), "stays");
    client.put("re.second", &persistent("600000"), "before it");
    client.put("re.second", &persistent("1000"), "waits for the one before");
    client.hear(5);
    drop((client, broker));
    let broker = Broker::on(directory.path());
    let mut client = Client::open(broker.at);
    for text in ["ends", "ends as well"] {
        assert_eq!(body(&client.wait_for("re.dead.first")), text);
    }
    assert!(started.elapsed() >= Duration::from_secs(1), "too early");
    assert_eq!((client.count("re.first"), client.count("re.second")), (1, 2));
    assert_eq!(client.count("re.dead.second"), 0);
    // What is before it goes, and then it goes, too.
    assert_eq!(body(&client.wait_for("re.second")), "before it");
    assert_eq!(
        body(&client.wait_for("re.dead.second")),
        "waits for the one before"
    );
}

#[test]
fn a_restart_does_not_let_a_message_come_back_more_often() {
    for kind in ["classic", "quorum"] {
        let directory = tempfile::tempdir().unwrap();
        let limited = [
            ("x-queue-type", Value::text(kind)),
            ("x-delivery-limit", Value::I32(2)),
            ("x-dead-letter-exchange", Value::text("")),
            ("x-dead-letter-routing-key", Value::text("re.dead")),
        ];
        for life in 0..3 {
            let broker = Broker::on(directory.path());
            let mut client = Client::open(broker.at);
            declare(&mut client, "re.dead", []);
            declare(&mut client, "re.limited", limited.clone());
            if life == 0 {
                put(&mut client, "re.limited", "unwanted");
            }
            let tag = take(&mut client, "re.limited");
            client.reject(tag, true);
            assert_eq!(client.end(1), None);
            let left = u32::from(life < 2);
            assert_eq!(client.count("re.limited"), left, "{kind}, life {life}");
            match life {
                0 => drop(broker),
                1 => broker.stop(),
                _ => assert_eq!(body(&client.wait_for("re.dead")), "unwanted", "{kind}"),
            }
        }
    }
}

#[test]
fn a_count_is_known_however_often_it_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::on(directory.path());
    let mut client = Client::open(broker.at);
    declare(&mut client, "re.busy", [("x-queue-type", Value::text("quorum"))]);
    put(&mut client, "re.busy", "comes back");
    // More often than is written down before it is written anew.
    const TIMES: i64 = 20_000;
    for _ in 0..TIMES {
        let tag = take(&mut client, "re.busy");
        client.reject(tag, true);
    }
    assert_eq!(client.end(1), None);
    drop((client, broker));
    let broker = Broker::on(directory.path());
    let mut client = Client::open(broker.at);
    let message = client.wait_for_unacked("re.busy", false);
    assert_eq!(
        headers(&message).get("x-delivery-count"),
        Some(&Value::I64(TIMES))
    );
}
