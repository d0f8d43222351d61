//! Direct reply-to: answers that go straight to the channel that asked.

use std::net::SocketAddr;

use warren_amqp::client::Event;
use warren_amqp::content::Properties;
use warren_amqp::hot::Publish;
use warren_amqp::{ShortString, basic, queue};

use super::client::{Client, Ended, short};
use super::words::body;

const ADDRESS: &str = "amq.rabbitmq.reply-to";

fn asking(no_ack: bool) -> basic::Consume {
    basic::Consume {
        queue: short(ADDRESS),
        consumer_tag: short("answers"),
        no_ack,
        ..basic::Consume::default()
    }
}

fn question() -> Properties {
    Properties {
        reply_to: Some(ShortString::from_static(ADDRESS)),
        correlation_id: Some(ShortString::from_static("7")),
        ..Properties::default()
    }
}

/// A client that waits for answers, a server, and the address that the server was given.
fn ask(at: SocketAddr, queue: &str) -> (Client, Client, String) {
    let (mut client, mut server) = (Client::open(at), Client::open(at));
    server.declare(queue::Declare {
        queue: short(queue),
        auto_delete: true,
        ..queue::Declare::default()
    });
    client.consume(asking(true));
    client.put(queue, &question(), "question");
    let asked = server.wait_for(queue);
    let header = asked.header();
    assert_eq!(header.correlation_id(), Some(&b"7"[..]));
    let address = String::from_utf8(header.reply_to().unwrap().to_vec()).unwrap();
    assert!(address.starts_with("amq.rabbitmq.reply-to."), "{address}");
    (client, server, address)
}

#[track_caller]
fn refusal(client: &mut Client) -> (u16, String) {
    match client.end(1) {
        Some(Ended::Closed { code, text, .. }) => (code, text),
        other => panic!("{other:?}"),
    }
}

fn an_answer_comes_straight_back(at: SocketAddr) {
    let (mut client, mut server, address) = ask(at, "rt.asked");
    for answer in ["one", "two"] {
        server.put(&address, &Properties::default(), answer);
        let message = client.delivered();
        let delivered = message.deliver().unwrap();
        assert_eq!(body(&message), answer);
        assert_eq!(
            (delivered.consumer_tag, delivered.exchange, delivered.routing_key),
            (&b"answers"[..], &b""[..], address.as_bytes())
        );
    }
    // Another channel of the same connection has another address, or none.
    client.open_channel(2);
    client.put("rt.asked", &question(), "again");
    let again = server.wait_for("rt.asked");
    assert_eq!(again.header().reply_to(), Some(address.as_bytes()));
}

fn an_address_can_be_asked_whether_somebody_is_there(at: SocketAddr) {
    let (client, mut server, address) = ask(at, "rt.there");
    assert_eq!(server.count(&address), 0);
    assert_eq!(server.count(ADDRESS), 0);
    server.select_confirms();
    drop(client);
    let passive = queue::Declare {
        queue: short(&address),
        passive: true,
        ..queue::Declare::default()
    };
    let deadline = std::time::Instant::now() + super::words::PATIENCE;
    loop {
        server.send(1, passive.clone());
        match server.next() {
            Ok(Event::Method { .. }) => assert!(std::time::Instant::now() < deadline),
            Err(Ended::Closed { code, text, .. }) => {
                let expected = format!("NOT_FOUND - no queue '{address}' in vhost '/'");
                assert_eq!((code, text), (404, expected));
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    server.open_channel(1);
    let publish = Publish {
        routing_key: address.as_bytes(),
        mandatory: true,
        ..Publish::default()
    };
    server.publish(&publish, &Properties::default(), b"too late");
    assert_eq!(
        server.end(1),
        None,
        "it is dropped or comes back, and nothing else"
    );
}

fn who_asks_for_answers_says_so_once_and_does_not_ack(at: SocketAddr) {
    let mut client = Client::open(at);
    client.send(1, asking(false));
    assert_eq!(
        refusal(&mut client),
        (
            406,
            "PRECONDITION_FAILED - reply consumer cannot acknowledge".to_owned()
        )
    );
    client.open_channel(1);
    client.consume(asking(true));
    let mut other = asking(true);
    other.consumer_tag = short("others");
    client.send(1, other);
    assert_eq!(
        refusal(&mut client),
        (406, "PRECONDITION_FAILED - reply consumer already set".to_owned())
    );
    client.open_channel(1);
    client.put("rt.nowhere", &question(), "");
    assert_eq!(
        refusal(&mut client),
        (
            406,
            "PRECONDITION_FAILED - fast reply consumer does not exist".to_owned()
        )
    );
    client.open_channel(1);
    client.consume(asking(true));
    client.call(
        1,
        basic::Cancel {
            consumer_tag: short("answers"),
            no_wait: false,
        },
        basic::CancelOk::ID,
    );
    client.consume(asking(true));
    client.send(1, asking(true));
    assert_eq!(
        refusal(&mut client),
        (406, "PRECONDITION_FAILED - reply consumer already set".to_owned())
    );
}

fn an_address_is_no_queue_for_anything_else(at: SocketAddr) {
    let (mut client, _server, address) = ask(at, "rt.else");
    for name in [ADDRESS, &address] {
        let missing = |client: &mut Client, method: warren_amqp::Method| {
            let id = method.id();
            client.send(1, method);
            let (code, text) = refusal(client);
            assert_eq!(
                (code, text),
                (404, format!("NOT_FOUND - no queue '{name}' in vhost '/'")),
                "{id}"
            );
            client.open_channel(1);
        };
        let queue = || short(name);
        missing(
            &mut client,
            basic::Get {
                queue: queue(),
                ..basic::Get::default()
            }
            .into(),
        );
        missing(
            &mut client,
            queue::Purge {
                queue: queue(),
                ..queue::Purge::default()
            }
            .into(),
        );
        missing(
            &mut client,
            queue::Bind {
                queue: queue(),
                exchange: short("amq.fanout"),
                ..queue::Bind::default()
            }
            .into(),
        );
    }
}

pub(crate) mod scenarios {
    super::super::words::scenarios![
        an_answer_comes_straight_back,
        an_address_can_be_asked_whether_somebody_is_there,
        who_asks_for_answers_says_so_once_and_does_not_ack,
        an_address_is_no_queue_for_anything_else,
    ];
}
