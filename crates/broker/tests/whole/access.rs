//! Who may come in, how many of them, and what they may do: what clients are told, as RabbitMQ 3.10.8 tells it.

use std::time::{Duration, Instant};

use warren_amqp::client::Login;
use warren_amqp::{Method, channel, exchange, queue};
use warren_broker::Node;
use warren_model::meta::{Command, Permissions, TopicPermissions, UserLimits, VhostLimits};
use warren_model::{Name, Pattern};

use super::broker::Broker;
use super::client::{Client, Ended, short};
use super::words::PATIENCE;

fn name(text: &str) -> Name {
    Name::try_from(text).unwrap()
}

fn pattern(text: &str) -> Pattern {
    Pattern::new(text).unwrap()
}

fn add(node: &Node, user: &str) {
    node.apply(Command::PutUser {
        name: name(user),
        password: Some(node.hash_password("secret")),
        tags: Vec::new(),
    })
    .unwrap();
}

fn permit(node: &Node, user: &str, [configure, write, read]: [&str; 3]) {
    node.apply(Command::SetPermissions {
        user: name(user),
        vhost: name("/"),
        permissions: Permissions {
            configure: pattern(configure),
            write: pattern(write),
            read: pattern(read),
        },
    })
    .unwrap();
}

fn log_in(broker: &Broker, user: &str, password: &str) -> Result<Client, Ended> {
    Client::log_in(broker.at, Login::plain(user, password, "/", "test").unwrap())
}

fn ann(broker: &Broker) -> Client {
    let mut client = log_in(broker, "ann", "secret").unwrap();
    client.open_channel(1);
    client
}

/// Code and text.
fn told<T>(ended: Result<T, Ended>) -> (u16, String) {
    match ended {
        Err(Ended::Closed { code, text, .. }) => (code, text),
        Err(Ended::Silently) => panic!("silently"),
        Ok(_) => panic!("it was allowed"),
    }
}

fn refused(client: &mut Client, method: impl Into<Method>) -> (u16, String) {
    client.send(1, method);
    let said = told(client.end(1).map_or(Ok(()), Err));
    client.open_channel(1);
    said
}

fn bind(queue: &str, exchange: &str, key: &str) -> queue::Bind {
    queue::Bind {
        queue: short(queue),
        exchange: short(exchange),
        routing_key: short(key),
        ..queue::Bind::default()
    }
}

#[test]
fn a_wrong_password_a_missing_user_and_an_empty_password_are_told_the_same() {
    let broker = Broker::start();
    for (user, password) in [("guest", "bad"), ("nobody", "guest"), ("guest", "")] {
        assert_eq!(
            told(log_in(&broker, user, password)),
            (
                403,
                "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile."
                    .to_owned()
            )
        );
    }
}

#[test]
fn vhosts_and_users_have_no_more_connections_and_channels_than_they_may_have() {
    let broker = Broker::start();
    add(&broker.node, "ann");
    permit(&broker.node, "ann", [".*", ".*", ".*"]);
    let of_vhost = |connections| {
        let limits = VhostLimits {
            connections,
            queues: None,
        };
        let vhost = name("/");
        broker
            .node
            .apply(Command::SetVhostLimits { vhost, limits })
            .unwrap();
    };
    let of_user = |connections, channels| {
        let limits = UserLimits {
            connections,
            channels,
        };
        let user = name("ann");
        broker
            .node
            .apply(Command::SetUserLimits { user, limits })
            .unwrap();
    };
    of_vhost(Some(1));
    let only = ann(&broker);
    assert_eq!(
        told(log_in(&broker, "ann", "secret")),
        (
            530,
            "NOT_ALLOWED - access to vhost '/' refused for user 'ann': connection limit (1) is reached"
                .to_owned()
        )
    );
    of_vhost(None);
    of_user(Some(1), None);
    assert_eq!(
        told(log_in(&broker, "ann", "secret")),
        (
            530,
            "NOT_ALLOWED - connection refused for user 'ann': user connection limit (1) is reached"
                .to_owned()
        )
    );
    drop(log_in(&broker, "guest", "guest").unwrap());
    drop(only);
    let started = Instant::now();
    while log_in(&broker, "ann", "secret").is_err() {
        assert!(started.elapsed() < PATIENCE, "a connection that is gone counts");
    }
    of_user(None, Some(2));
    let mut client = ann(&broker);
    for _ in 0..3 {
        client.open_channel(2);
        client.call(2, channel::Close::default(), channel::CloseOk::ID);
    }
    client.open_channel(2);
    client.send(3, channel::Open::default());
    assert_eq!(
        told(client.end(3).map_or(Ok(()), Err)),
        (
            530,
            "NOT_ALLOWED - number of channels opened for user 'ann' has reached the maximum allowed user limit of (2)"
                .to_owned()
        )
    );
}

#[test]
fn topic_permissions_are_asked_when_keys_are_used() {
    let broker = Broker::start();
    let node = &broker.node;
    add(node, "ann");
    permit(node, "ann", [".*", ".*", ".*"]);
    node.apply(Command::SetTopicPermissions {
        user: name("ann"),
        vhost: name("/"),
        exchange: name("amq.topic"),
        permissions: TopicPermissions {
            write: pattern(r"^{username}\."),
            read: pattern(r"^r\."),
        },
    })
    .unwrap();
    let mut client = ann(&broker);
    client.queue("t", []);
    client.bind("t", "amq.topic", "r.#");
    client.bind("t", "amq.direct", "s");
    let no = |key: &str| {
        let text = format!(
            "ACCESS_REFUSED - access to topic '{key}' in exchange 'amq.topic' in vhost '/' refused for user 'ann'"
        );
        (403, text)
    };
    assert_eq!(refused(&mut client, bind("t", "amq.topic", "s.#")), no("s.#"));
    let unbind = queue::Unbind {
        queue: short("t"),
        exchange: short("amq.topic"),
        routing_key: short("s.#"),
        ..queue::Unbind::default()
    };
    assert_eq!(refused(&mut client, unbind), no("s.#"));
    let between = exchange::Bind {
        destination: short("amq.direct"),
        source: short("amq.topic"),
        routing_key: short("s.#"),
        ..exchange::Bind::default()
    };
    assert_eq!(refused(&mut client, between), no("s.#"));
    client.publish_at("amq.topic", "ann.x", b"1");
    client.publish_at("amq.topic", "other", b"1");
    assert_eq!(told(client.end(1).map_or(Ok(()), Err)), no("other"));
}

#[test]
fn rights_that_are_taken_away_are_gone_at_once() {
    let broker = Broker::start();
    let node = &broker.node;
    add(node, "ann");
    permit(node, "ann", [".*", ".*", ".*"]);
    let mut client = ann(&broker);
    client.queue("rights", []);
    client.publish_at("amq.direct", "k", b"1");
    client.bind("rights", "amq.direct", "k");
    permit(node, "ann", ["", "", ""]);
    client.publish_at("amq.direct", "k", b"1");
    assert_eq!(
        told(client.end(1).map_or(Ok(()), Err)).1,
        "ACCESS_REFUSED - access to exchange 'amq.direct' in vhost '/' refused for user 'ann'"
    );
    client.open_channel(1);
    assert_eq!(
        refused(&mut client, bind("rights", "amq.direct", "k")).1,
        "ACCESS_REFUSED - access to queue 'rights' in vhost '/' refused for user 'ann'"
    );
    node.apply(Command::DeleteUser { name: name("ann") }).unwrap();
    assert_eq!(told(log_in(&broker, "ann", "secret")).0, 403);
}

#[test]
fn clients_that_come_back_do_not_pay_for_a_slow_hash_each() {
    let settings = warren_broker::Settings {
        hashing: warren_broker::Hashing::Argon2id,
        ..warren_broker::Settings::default()
    };
    let broker = Broker::with(settings);
    add(&broker.node, "ann");
    permit(&broker.node, "ann", [".*", ".*", ".*"]);
    drop(log_in(&broker, "ann", "secret").unwrap());
    let started = Instant::now();
    for _ in 0..100 {
        drop(log_in(&broker, "ann", "secret").unwrap());
    }
    // Each would take as long as this together, without optimisation at least.
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
}
