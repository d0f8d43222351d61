//! Names: those that the server makes, those that are short for others, those that nobody may have.

use std::net::SocketAddr;

use warren_amqp::{MethodId, exchange, queue};

use crate::client::{Client, exchange, queue, short};
use crate::replies::words;

/// Declares a queue without a name, and gives the one that it has got.
fn made_up(client: &mut Client, exclusive: bool) -> String {
    client
        .declare(queue::Declare {
            exclusive,
            ..queue("")
        })
        .queue
        .to_text()
}

pub(crate) mod scenarios {
    crate::words::scenarios! {
        a_queue_without_a_name_gets_one,
        no_name_is_that_of_the_last_queue_declared,
        binding_without_names_uses_that_of_the_queue_as_key,
        line_ends_are_no_part_of_names,
        what_begins_with_amq_may_be_used_but_not_made,
        the_default_exchange_is_nobodys_to_change,
    }
}

fn a_queue_without_a_name_gets_one(at: SocketAddr) {
    let mut client = Client::open(at);
    let (one, other) = (made_up(&mut client, true), made_up(&mut client, true));
    assert!(one.starts_with("amq.gen-") && one.len() == 30, "{one}");
    assert_ne!(one, other);
    // It may be used and asked for, but not declared again.
    client.declare(queue::Declare {
        passive: true,
        ..queue(&one)
    });
    client.send(1, queue(&one));
    assert_eq!(
        words(client.end(1).as_ref()),
        format!(
            "channel 403 \"ACCESS_REFUSED - queue name '{one}' contains reserved prefix 'amq.*'\" (50,10)"
        )
    );
}

fn no_name_is_that_of_the_last_queue_declared(at: SocketAddr) {
    let mut client = Client::open(at);
    let name = made_up(&mut client, true);
    client.publish_to(&name, b"x");
    let bind = queue::Bind {
        exchange: short("amq.direct"),
        ..queue::Bind::default()
    };
    client.call(1, bind, queue::BindOk::ID);
    assert_eq!(client.get("", true).unwrap().whole_body(), "x");
    client.open_channel(2);
    // Each channel has its own.
    client.send(2, queue::Purge::default());
    assert_eq!(
        words(client.end(2).as_ref()),
        "channel 404 \"NOT_FOUND - no previously declared queue\" (50,30)"
    );
}

fn binding_without_names_uses_that_of_the_queue_as_key(at: SocketAddr) {
    let mut client = Client::open(at);
    let name = made_up(&mut client, true);
    let bind = queue::Bind {
        exchange: short("amq.direct"),
        ..queue::Bind::default()
    };
    client.call(1, bind, queue::BindOk::ID);
    client.publish_at("amq.direct", &name, b"x");
    assert_eq!(client.get(&name, true).unwrap().whole_body(), "x");
}

fn line_ends_are_no_part_of_names(at: SocketAddr) {
    let mut client = Client::open(at);
    let declare = queue::Declare {
        exclusive: true,
        ..queue("ends\r\n-here\n")
    };
    assert_eq!(client.declare(declare).queue, "ends-here");
    client.call(1, exchange("ends\n-there\r"), exchange::DeclareOk::ID);
    client.call(
        1,
        exchange::Declare {
            passive: true,
            ..exchange("ends-there")
        },
        exchange::DeclareOk::ID,
    );
    client.delete_exchange("ends-there");
}

fn what_begins_with_amq_may_be_used_but_not_made(at: SocketAddr) {
    let mut client = Client::open(at);
    for (name, kind) in [
        ("amq.direct", "direct"),
        ("amq.fanout", "fanout"),
        ("amq.topic", "topic"),
        ("amq.headers", "headers"),
        ("amq.match", "headers"),
    ] {
        let declare = exchange::Declare {
            durable: true,
            exchange_type: short(kind),
            ..exchange(name)
        };
        client.call(1, declare.clone(), exchange::DeclareOk::ID);
        client.call(
            1,
            exchange::Declare {
                passive: true,
                ..declare
            },
            exchange::DeclareOk::ID,
        );
    }
    let trace = exchange::Declare {
        passive: true,
        ..exchange("amq.rabbitmq.trace")
    };
    client.call(1, trace, exchange::DeclareOk::ID);
}

fn the_default_exchange_is_nobodys_to_change(at: SocketAddr) {
    const REFUSED: &str = "channel 403 \"ACCESS_REFUSED - operation not permitted on the default exchange\"";
    let mut client = Client::open(at);
    client.declare(queue::Declare {
        exclusive: true,
        ..queue("defaults")
    });
    let refused = |client: &mut Client, method: MethodId| {
        assert_eq!(words(client.next().err().as_ref()), format!("{REFUSED} {method}"));
        client.open_channel(1);
    };
    client.send(
        1,
        queue::Bind {
            queue: short("defaults"),
            ..queue::Bind::default()
        },
    );
    refused(&mut client, queue::Bind::ID);
    client.send(
        1,
        queue::Unbind {
            queue: short("defaults"),
            ..queue::Unbind::default()
        },
    );
    refused(&mut client, queue::Unbind::ID);
    client.send(
        1,
        exchange::Bind {
            source: short("amq.fanout"),
            ..exchange::Bind::default()
        },
    );
    refused(&mut client, exchange::Bind::ID);
    client.send(
        1,
        exchange::Bind {
            destination: short("amq.fanout"),
            ..exchange::Bind::default()
        },
    );
    refused(&mut client, exchange::Bind::ID);
    client.send(
        1,
        exchange::Unbind {
            destination: short("amq.fanout"),
            ..exchange::Unbind::default()
        },
    );
    refused(&mut client, exchange::Unbind::ID);
    client.send(
        1,
        exchange::Declare {
            passive: true,
            ..exchange("")
        },
    );
    refused(&mut client, exchange::Declare::ID);
    client.publish_to("defaults", b"x");
    assert!(client.get("defaults", true).is_some());
}
