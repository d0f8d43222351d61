//! What a quorum queue knows of its messages when its broker was killed, with SIGKILL and with clients in the middle of them: how often
//! each was given out.
//!
//! What is expected is what RabbitMQ 3.10.8 answered when it was treated like that, by hand: some of its queues never come back
//! if it is killed within seconds of their declaration. It says of what nobody had that it is new, where ours says of
//! everything that somebody may have seen it; and it gives what came back in the order in which it did.

use std::net::SocketAddr;
use std::path::Path;

use warren_amqp::content::{DeliveryMode, Properties};
use warren_amqp::{Value, basic, queue};

use super::broker;
use super::client::{Client, short};
use super::process::{Broker, DIRECTORY};
use super::words::{body, deaths, dying_into, headers, table};

const TEST: &str = "killed::what_a_client_had_when_the_broker_was_killed_counts";

/// A message: what it is, how often it came back, and of which queue it is a dead letter.
type Known = (&'static str, i64, Option<&'static str>);

/// What a queue has when the broker was killed once, all of which is fetched and not settled, and when it was killed again.
type Queue = (&'static str, &'static [Known], &'static [Known]);

const QUEUES: [Queue; 9] = [
    (
        "held",
        &[("0", 1, None), ("1", 1, None)],
        &[("0", 2, None), ("1", 2, None)],
    ),
    (
        "untouched",
        &[("0", 0, None), ("1", 0, None)],
        &[("0", 1, None), ("1", 1, None)],
    ),
    (
        "prefetched",
        &[("0", 1, None), ("1", 0, None)],
        &[("0", 2, None), ("1", 1, None)],
    ),
    (
        "fetched",
        &[("0", 1, None), ("1", 0, None)],
        &[("0", 2, None), ("1", 1, None)],
    ),
    (
        "acked",
        &[("1", 1, None), ("mark", 0, None)],
        &[("1", 2, None), ("mark", 1, None)],
    ),
    // One came back twice and is out again, one came back once and is not.
    (
        "back",
        &[("0", 3, None), ("1", 1, None)],
        &[("0", 4, None), ("1", 2, None)],
    ),
    // May come back once.
    ("limited", &[("0", 1, None), ("1", 0, None)], &[("1", 1, None)]),
    // May not come back.
    ("unforgiving", &[("1", 0, None)], &[]),
    (
        "dead",
        &[("0", 0, Some("unforgiving"))],
        &[
            ("0", 0, Some("limited")),
            ("0", 1, Some("unforgiving")),
            ("1", 0, Some("unforgiving")),
        ],
    ),
];

fn open(at: SocketAddr) -> Client {
    let mut client = Client::open(at);
    for (name, ..) in QUEUES {
        let limit = match name {
            "limited" => 1,
            "unforgiving" => 0,
            _ => 20,
        };
        let [exchange, key] = dying_into("dead");
        let arguments = [
            ("x-queue-type", Value::text("quorum")),
            ("x-delivery-limit", Value::I32(limit)),
            exchange,
            key,
        ];
        client.declare(queue::Declare {
            queue: short(name),
            durable: true,
            arguments: table(arguments),
            ..queue::Declare::default()
        });
    }
    client
}

/// What was said on this connection before is written when this is.
fn put(client: &mut Client, queue: &str, text: &str, number: u64) {
    client.put(queue, &Properties::of(DeliveryMode::Persistent), text);
    client.hear(number);
}

/// The same, where nobody has what was said.
fn mark(client: &mut Client) {
    client.declare(queue::Declare {
        queue: short("marks"),
        durable: true,
        ..queue::Declare::default()
    });
    client.select_confirms();
    put(client, "marks", "mark", 1);
}

fn take(client: &mut Client, queue: &str) -> u64 {
    let message = client.wait_for_unacked(queue, false);
    message.get_ok().unwrap().delivery_tag
}

fn consume(client: &mut Client, queue: &str, prefetch_count: u16, count: usize) {
    let qos = basic::Qos {
        prefetch_count,
        ..basic::Qos::default()
    };
    client.call(1, qos, basic::QosOk::ID);
    client.consume(basic::Consume {
        queue: short(queue),
        consumer_tag: short(queue),
        ..basic::Consume::default()
    });
    (0..count).for_each(|_| drop(client.delivered()));
}

/// Clients that have messages when the broker is killed.
fn use_up(at: SocketAddr) -> Vec<Client> {
    let mut client = open(at);
    client.select_confirms();
    let mut number = 0;
    let mut next = || {
        number += 1;
        number
    };
    let filled = QUEUES.iter().filter(|(name, ..)| *name != "dead");
    for (name, ..) in filled {
        put(&mut client, name, "0", next());
        put(&mut client, name, "1", next());
    }
    for _ in 0..2 {
        let tag = take(&mut client, "back");
        client.reject(tag, true);
    }
    let (_, second) = (take(&mut client, "back"), take(&mut client, "back"));
    client.reject(second, true);
    let taken = ["fetched", "limited", "unforgiving"];
    for (name, ..) in QUEUES.iter().filter(|(name, ..)| taken.contains(name)) {
        take(&mut client, name);
    }
    let tag = take(&mut client, "acked");
    take(&mut client, "acked");
    client.ack(tag, false);
    // Behind all of that, as far as this queue goes.
    put(&mut client, "acked", "mark", next());
    let others = [("held", 0, 2), ("prefetched", 1, 1)];
    let mut clients = Vec::from(others.map(|(queue, prefetch, count)| {
        let mut client = Client::open(at);
        consume(&mut client, queue, prefetch, count);
        mark(&mut client);
        client
    }));
    clients.push(client);
    clients
}

/// Fetches all that queues have, and settles nothing.
fn fetch(at: SocketAddr, expected: fn(&Queue) -> &'static [Known]) -> Client {
    let mut client = open(at);
    for queue in &QUEUES {
        let (name, expected) = (queue.0, expected(queue));
        let expected: Vec<(String, i64, Option<String>)> = expected
            .iter()
            .map(|(text, count, died)| ((*text).to_owned(), *count, died.map(str::to_owned)))
            .collect();
        let mut found = Vec::new();
        while found.len() < expected.len() {
            let message = client.wait_for_unacked(name, false);
            let Some(Value::I64(count)) = headers(&message).get("x-delivery-count").cloned() else {
                panic!("{name} does not say how often it came back");
            };
            assert!(message.get_ok().unwrap().redelivered || count == 0, "{name}");
            let died = deaths(&message).pop();
            found.push((
                body(&message),
                count,
                died.map(|(_, reason, queue)| {
                    assert_eq!(reason, "delivery_limit");
                    queue
                }),
            ));
        }
        found.sort();
        assert_eq!(found, expected, "{name}");
        assert!(client.fetch(name, false).is_none(), "{name} has more");
    }
    mark(&mut client);
    client
}

#[test]
fn what_a_client_had_when_the_broker_was_killed_counts() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        let broker = broker::Broker::on(Path::new(&directory));
        println!("listens {}", broker.at);
        loop {
            std::thread::park();
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let start = || Broker::of(TEST, directory.path(), &[]);
    let broker = start();
    let clients = use_up(broker.at);
    drop(broker);
    drop(clients);
    let broker = start();
    let client = fetch(broker.at, |queue| queue.1);
    drop(broker);
    drop(client);
    fetch(start().at, |queue| queue.2);
}
