//! What goes with what: auto-delete, exclusive, bindings.

use std::net::SocketAddr;

use warren_amqp::client::Event;
use warren_amqp::{Method, basic, channel, connection, exchange, queue};

use crate::client::{Client, Ended, exchange, queue, short};
use crate::replies::words;

/// Whether there is such a queue that others may see.
fn is_there(at: SocketAddr, name: &str) -> bool {
    let mut client = Client::open(at);
    client.send(
        1,
        queue::Declare {
            passive: true,
            ..queue(name)
        },
    );
    client.next().is_ok()
}

/// Ends are done a moment after the client has gone.
fn eventually_gone(at: SocketAddr, name: &str) {
    let started = std::time::Instant::now();
    while is_there(at, name) {
        assert!(started.elapsed().as_secs() < 10, "{name} is still there");
    }
}

fn exchange_is_there(at: SocketAddr, name: &str) -> bool {
    let mut client = Client::open(at);
    client.send(
        1,
        exchange::Declare {
            passive: true,
            ..exchange(name)
        },
    );
    client.next().is_ok()
}

fn cancel(tag: &str) -> basic::Cancel {
    basic::Cancel {
        consumer_tag: short(tag),
        no_wait: false,
    }
}

pub(crate) mod scenarios {
    crate::words::scenarios! {
        an_auto_delete_queue_stays_until_it_was_used,
        an_auto_delete_queue_goes_with_a_client_that_says_nothing,
        queues_of_a_connection_are_gone_when_it_is_closed,
        a_queue_of_ones_own_is_made_anew_after_a_reconnect,
        an_auto_delete_exchange_goes_with_its_last_binding,
        bindings_go_with_their_queue,
        deleting_and_purging_tell_how_many_messages_there_were,
        a_queue_that_is_not_used_or_is_empty_may_be_deleted_on_condition,
        an_unused_queue_is_not_deleted_under_who_just_began_to_use_it,
        messages_given_back_late_find_no_queue_and_nothing_breaks,
    }
}

fn an_auto_delete_queue_stays_until_it_was_used(at: SocketAddr) {
    let mut client = Client::open(at);
    let declare = || queue::Declare {
        auto_delete: true,
        ..queue("auto")
    };
    client.declare(declare());
    client.publish_to("auto", b"x");
    client.get("auto", true).unwrap();
    client.call(1, channel::Close::normal(""), channel::CloseOk::ID);
    client.open_channel(1);
    assert!(is_there(at, "auto"));
    client.consume_as("auto", "one");
    client.consume_as("auto", "other");
    client.call(1, cancel("one"), basic::CancelOk::ID);
    assert!(is_there(at, "auto"));
    client.call(1, cancel("other"), basic::CancelOk::ID);
    assert!(!is_there(at, "auto"));
    // With its consumer's channel.
    client.declare(declare());
    client.consume_as("auto", "one");
    client.call(1, channel::Close::normal(""), channel::CloseOk::ID);
    eventually_gone(at, "auto");
    // With its consumer's connection.
    client.open_channel(1);
    client.declare(declare());
    client.consume_as("auto", "one");
    client.call(0, connection::Close::normal(""), connection::CloseOk::ID);
    eventually_gone(at, "auto");
}

fn an_auto_delete_queue_goes_with_a_client_that_says_nothing(at: SocketAddr) {
    let mut client = Client::open(at);
    client.declare(queue::Declare {
        auto_delete: true,
        ..queue("silent")
    });
    client.consume_as("silent", "one");
    drop(client);
    eventually_gone(at, "silent");
}

fn queues_of_a_connection_are_gone_when_it_is_closed(at: SocketAddr) {
    for _ in 0..20 {
        let mut client = Client::open(at);
        client.declare(queue::Declare {
            exclusive: true,
            ..queue("own")
        });
        client.call(0, connection::Close::normal(""), connection::CloseOk::ID);
    }
    assert!(!is_there(at, "own"));
}

fn a_queue_of_ones_own_is_made_anew_after_a_reconnect(at: SocketAddr) {
    let declare = || queue::Declare {
        exclusive: true,
        durable: true,
        ..queue("mine")
    };
    let mut client = Client::open(at);
    client.declare(declare());
    client.bind("mine", "amq.fanout", "");
    client.publish_safely("mine", b"x");
    client.consume_as("mine", "t");
    client.message();
    // Without a word: until the server notices, it is still the other connection's.
    drop(client);
    let mut client = Client::open(at);
    let started = std::time::Instant::now();
    let there = loop {
        client.send(1, declare());
        match client.next() {
            Ok(Event::Method {
                method: Method::Queue(queue::Method::DeclareOk(there)),
                ..
            }) => break there,
            Err(Ended::Closed { code: 405, .. }) => client.open_channel(1),
            other => panic!("{other:?}"),
        }
        assert!(
            started.elapsed().as_secs() < 10,
            "it stays the other connection's"
        );
    };
    assert_eq!((there.message_count, there.consumer_count), (0, 0));
    client.publish_at("amq.fanout", "", b"x");
    assert!(client.get("mine", true).is_none(), "its binding is gone");
}

fn an_auto_delete_exchange_goes_with_its_last_binding(at: SocketAddr) {
    let mut client = Client::open(at);
    client.declare(queue::Declare {
        exclusive: true,
        ..queue("bound")
    });
    let declare = |name| exchange::Declare {
        auto_delete: true,
        ..exchange(name)
    };
    let bind = |key| queue::Bind {
        queue: short("bound"),
        exchange: short("autox"),
        routing_key: short(key),
        ..queue::Bind::default()
    };
    let unbind = |key| queue::Unbind {
        queue: short("bound"),
        exchange: short("autox"),
        routing_key: short(key),
        ..queue::Unbind::default()
    };
    client.call(1, declare("autox"), exchange::DeclareOk::ID);
    // It never had one.
    client.call(1, unbind("a"), queue::UnbindOk::ID);
    assert!(exchange_is_there(at, "autox"));
    client.call(1, bind("a"), queue::BindOk::ID);
    client.call(1, bind("b"), queue::BindOk::ID);
    client.call(1, unbind("a"), queue::UnbindOk::ID);
    assert!(exchange_is_there(at, "autox"));
    client.call(1, unbind("b"), queue::UnbindOk::ID);
    assert!(!exchange_is_there(at, "autox"));
    // With the queue.
    client.call(1, declare("autox"), exchange::DeclareOk::ID);
    client.call(1, bind("a"), queue::BindOk::ID);
    client.delete("bound");
    assert!(!exchange_is_there(at, "autox"));
    // One behind another, with the exchange that it leads to.
    client.call(1, declare("autox"), exchange::DeclareOk::ID);
    client.call(1, declare("autoy"), exchange::DeclareOk::ID);
    client.call(1, exchange("autoz"), exchange::DeclareOk::ID);
    for (source, destination) in [("autox", "autoy"), ("autoy", "autoz")] {
        let bind = exchange::Bind {
            source: short(source),
            destination: short(destination),
            ..exchange::Bind::default()
        };
        client.call(1, bind, exchange::BindOk::ID);
    }
    client.delete_exchange("autoz");
    assert!(!exchange_is_there(at, "autoy"));
    assert!(!exchange_is_there(at, "autox"));
}

fn bindings_go_with_their_queue(at: SocketAddr) {
    let mut client = Client::open(at);
    client.call(1, exchange("leads"), exchange::DeclareOk::ID);
    let declare = || queue::Declare {
        exclusive: true,
        ..queue("leads")
    };
    client.declare(declare());
    client.bind("leads", "leads", "k");
    client.delete("leads");
    client.declare(declare());
    client.publish_at("leads", "k", b"x");
    assert!(client.get("leads", true).is_none());
    let delete = exchange::Delete {
        exchange: short("leads"),
        if_unused: true,
        ..exchange::Delete::default()
    };
    client.call(1, delete, exchange::DeleteOk::ID);
}

fn deleting_and_purging_tell_how_many_messages_there_were(at: SocketAddr) {
    let mut client = Client::open(at);
    client.declare(queue("many"));
    for _ in 0..5 {
        client.publish_to("many", b"x");
    }
    // What somebody has is not counted.
    client.get("many", false).unwrap();
    let purge = queue::Purge {
        queue: short("many"),
        ..queue::Purge::default()
    };
    assert_eq!(
        client.call(1, purge, queue::PurgeOk::ID),
        queue::PurgeOk { message_count: 4 }.into()
    );
    client.publish_to("many", b"x");
    let delete = queue::Delete {
        queue: short("many"),
        ..queue::Delete::default()
    };
    assert_eq!(
        client.call(1, delete, queue::DeleteOk::ID),
        queue::DeleteOk { message_count: 1 }.into()
    );
}

fn a_queue_that_is_not_used_or_is_empty_may_be_deleted_on_condition(at: SocketAddr) {
    let mut client = Client::open(at);
    client.declare(queue("idle"));
    let delete = queue::Delete {
        queue: short("idle"),
        if_unused: true,
        if_empty: true,
        ..queue::Delete::default()
    };
    client.call(1, delete, queue::DeleteOk::ID);
    client.call(1, exchange("idle"), exchange::DeclareOk::ID);
    let delete = exchange::Delete {
        exchange: short("idle"),
        if_unused: true,
        ..exchange::Delete::default()
    };
    client.call(1, delete, exchange::DeleteOk::ID);
}

/// Two clients at once: either the one consumes and the other is refused, or there is nothing to consume from.
fn an_unused_queue_is_not_deleted_under_who_just_began_to_use_it(at: SocketAddr) {
    let (mut one, mut other) = (Client::open(at), Client::open(at));
    for round in 0..100 {
        one.declare(queue("race"));
        let consume = basic::Consume {
            queue: short("race"),
            no_ack: true,
            ..basic::Consume::default()
        };
        let delete = queue::Delete {
            queue: short("race"),
            if_unused: true,
            ..queue::Delete::default()
        };
        let started = std::sync::Barrier::new(2);
        let (came, went) = std::thread::scope(|scope| {
            let deleting = scope.spawn(|| {
                started.wait();
                other.send(1, delete);
                other.next().is_ok()
            });
            started.wait();
            one.send(1, consume);
            (one.next().is_ok(), deleting.join().unwrap())
        });
        assert_ne!(came, went, "round {round}: a consumer, and its queue is gone");
        // Whoever was refused has lost his channel.
        let refused = if came { &mut other } else { &mut one };
        refused.open_channel(1);
        other.delete("race");
        if came {
            // He was told that it is gone.
            one = Client::open(at);
        }
    }
}

fn messages_given_back_late_find_no_queue_and_nothing_breaks(at: SocketAddr) {
    let mut client = Client::open(at);
    client.declare(queue("late"));
    client.publish_to("late", b"x");
    client.get("late", false).unwrap();
    client.delete("late");
    client.send(
        1,
        basic::Nack {
            delivery_tag: 1,
            multiple: false,
            requeue: true,
        },
    );
    assert_eq!(words(client.end(1).as_ref()), "nothing within 4 s");
}
