//! Policies change what live queues and exchanges do, and leave nothing behind when they go.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use warren_amqp::Table;
use warren_amqp::content::Properties;
use warren_broker::Node;
use warren_model::Name;
use warren_model::meta::{ApplyTo, Author, Command, Policy};

use super::broker::Broker;
use super::client::Client;
use super::words::{PATIENCE, body, deaths};

fn set(node: &Node, author: Author, name: &str, pattern: &str, definition: &Value) {
    let definition = definition.as_object().unwrap().clone();
    node.apply(Command::SetPolicy {
        vhost: Name::try_from("/").unwrap(),
        name: Name::try_from(name).unwrap(),
        author,
        policy: Policy::new(author, pattern, ApplyTo::All, definition, 0).unwrap(),
    })
    .unwrap();
}

fn clear(node: &Node, author: Author, name: &str) {
    node.apply(Command::ClearPolicy {
        vhost: Name::try_from("/").unwrap(),
        name: Name::try_from(name).unwrap(),
        author,
    })
    .unwrap();
}

fn fill(client: &mut Client, queue: &str, count: usize) {
    for number in 0..count {
        client.put(queue, &Properties::default(), &number.to_string());
    }
    client.count(queue);
}

/// Queues hear of policies a moment later.
#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_live_queue_is_cut_to_its_new_length_and_grows_again_without_the_policy() {
    let broker = Broker::start();
    let mut client = Client::open(broker.at);
    client.queue("po.long", []);
    client.queue("letters", []);
    fill(&mut client, "po.long", 5);
    let definition =
        json!({"max-length": 2, "dead-letter-exchange": "", "dead-letter-routing-key": "letters"});
    set(&broker.node, Author::User, "p", "^po\\.", &definition);
    let letter = client.wait_for("letters");
    assert_eq!(body(&letter), "0");
    assert_eq!(deaths(&letter), [(1, "maxlen".to_owned(), "po.long".to_owned())]);
    assert_eq!(client.drain("po.long"), ["3", "4"]);
    clear(&broker.node, Author::User, "p");
    until("it grows", || {
        fill(&mut client, "po.long", 1);
        client.count("po.long") >= 5
    });
    set(
        &broker.node,
        Author::Operator,
        "o",
        "^po\\.",
        &json!({"max-length": 1}),
    );
    until("it shrinks", || client.count("po.long") == 1);
}

#[test]
fn messages_get_the_time_to_live_of_a_policy_and_its_dead_letter_exchange() {
    let broker = Broker::start();
    let mut client = Client::open(broker.at);
    client.queue("po.dying", []);
    client.queue("letters", []);
    let definition =
        json!({"message-ttl": 20, "dead-letter-exchange": "", "dead-letter-routing-key": "letters"});
    set(&broker.node, Author::User, "p", "^po\\.", &definition);
    // Messages that came before the queue heard of it live on, and those behind them.
    until("messages die", || {
        client.drain("po.dying");
        fill(&mut client, "po.dying", 1);
        std::thread::sleep(Duration::from_millis(40));
        client.count("letters") > 0
    });
    let letter = client.wait_for("letters");
    assert_eq!(body(&letter), "0");
    assert_eq!(
        deaths(&letter),
        [(1, "expired".to_owned(), "po.dying".to_owned())]
    );
    clear(&broker.node, Author::User, "p");
    until("messages live", || {
        client.drain("po.dying");
        fill(&mut client, "po.dying", 1);
        std::thread::sleep(Duration::from_millis(40));
        client.count("po.dying") == 1
    });
}

#[test]
fn a_queue_goes_when_a_policy_says_that_it_is_out_of_use() {
    let broker = Broker::start();
    let mut client = Client::open(broker.at);
    client.queue("po.idle", []);
    set(&broker.node, Author::User, "p", "^po\\.", &json!({"expires": 50}));
    let gone = || {
        broker
            .node
            .read(|meta| meta.vhost("/").unwrap().queue("po.idle").is_none())
    };
    until("it goes", gone);
}

#[test]
fn an_exchange_gets_an_alternate_and_loses_it() {
    let broker = Broker::start();
    let mut client = Client::open(broker.at);
    client.exchange("po.e", "direct", Table::new());
    client.queue("lost", []);
    client.bind("lost", "amq.fanout", "");
    client.publish_at("po.e", "nowhere", b"0");
    client.count("lost");
    set(
        &broker.node,
        Author::User,
        "p",
        "^po\\.",
        &json!({"alternate-exchange": "amq.fanout"}),
    );
    client.count("lost");
    client.publish_at("po.e", "nowhere", b"1");
    assert_eq!(body(&client.wait_for("lost")), "1");
    clear(&broker.node, Author::User, "p");
    client.publish_at("po.e", "nowhere", b"2");
    assert_eq!(client.count("lost"), 0);
}
