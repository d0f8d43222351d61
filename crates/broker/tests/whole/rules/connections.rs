//! Handshake, limits, signs of life, and how connections and channels end.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use warren_amqp::client::{Event, Login};
use warren_amqp::content::Properties;
use warren_amqp::handshake::Tuning;
use warren_amqp::hot::Publish;
use warren_amqp::{Secret, Table, Value, access, basic, channel, connection, queue};

use crate::client::{Client, Ended, frame, queue, short};
use crate::replies::words;

fn login(wanted: Tuning) -> Login {
    Login {
        wanted,
        ..Login::plain("guest", "guest", "/", "test").unwrap()
    }
}

/// A client that asked for these limits.
fn agreed(at: SocketAddr, wanted: Tuning) -> Client {
    Client::log_in(at, login(wanted)).unwrap()
}

const WANTED: Tuning = Tuning {
    channel_max: 2047,
    frame_max: 131_072,
    heartbeat: 60,
};

pub(crate) mod scenarios {
    crate::words::scenarios! {
        a_server_says_what_it_is_and_can,
        amqplain_is_as_good_as_plain,
        a_channel_number_is_free_when_its_channel_is_closed,
        a_channel_number_is_free_when_the_server_has_closed_its_channel,
        there_are_no_more_channels_than_agreed,
        a_secret_can_be_renewed,
        what_comes_on_a_channel_that_the_server_closes_is_of_no_effect,
        both_sides_may_close_a_channel_at_once,
        a_connection_closes_while_messages_come,
        signs_of_life_come_as_agreed_and_are_missed,
        any_frame_is_a_sign_of_life,
        frames_are_no_larger_than_agreed,
        flow_may_go_on_and_access_is_given,
    }
}

fn a_server_says_what_it_is_and_can(at: SocketAddr) {
    let any = Tuning {
        channel_max: 0,
        frame_max: 0,
        heartbeat: 0,
    };
    let (_, server, tuning) = Client::greeted(at, login(any)).unwrap();
    for capability in [
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "consumer_priorities",
        "authentication_failure_close",
        "per_consumer_qos",
        "direct_reply_to",
    ] {
        assert!(server.can(capability), "{capability}");
    }
    for text in [
        "product",
        "version",
        "platform",
        "cluster_name",
        "copyright",
        "information",
    ] {
        assert!(server.text(text).is_some(), "{text}");
    }
    assert_eq!(
        (tuning.channel_max, tuning.frame_max, tuning.heartbeat),
        (2047, 131_072, 60)
    );
}

fn amqplain_is_as_good_as_plain(at: SocketAddr) {
    let said = Table::new()
        .with("LOGIN", Value::text("guest"))
        .with("PASSWORD", Value::text("guest"));
    let mut octets = bytes::BytesMut::new();
    said.encode(&mut octets);
    let login = Login {
        mechanism: short("AMQPLAIN"),
        // Without the length before it.
        response: Secret::from(octets.freeze().slice(4..)),
        ..login(WANTED)
    };
    Client::log_in(at, login).unwrap().open_channel(1);
}

fn a_channel_number_is_free_when_its_channel_is_closed(at: SocketAddr) {
    let mut client = Client::connect(at);
    for _ in 0..500 {
        client.open_channel(9);
        client.call(9, channel::Close::normal(""), channel::CloseOk::ID);
    }
}

fn a_channel_number_is_free_when_the_server_has_closed_its_channel(at: SocketAddr) {
    let mut client = Client::connect(at);
    for _ in 0..20 {
        client.open_channel(9);
        client.send(
            9,
            queue::Declare {
                passive: true,
                ..queue("none-such")
            },
        );
        assert!(matches!(
            client.next(),
            Err(Ended::Closed {
                channel: 9,
                code: 404,
                ..
            })
        ));
    }
}

fn there_are_no_more_channels_than_agreed(at: SocketAddr) {
    let mut client = agreed(
        at,
        Tuning {
            channel_max: 3,
            ..WANTED
        },
    );
    for number in 1..=3 {
        client.open_channel(number);
    }
    client.send(4, channel::Open::default());
    assert_eq!(
        words(client.next().err().as_ref()),
        "connection 530 \"NOT_ALLOWED - number of channels opened (3) has reached the negotiated channel_max (3)\" (0,0)"
    );
}

fn a_secret_can_be_renewed(at: SocketAddr) {
    let mut client = Client::open(at);
    // Whoever keeps the passwords himself has no use for another one.
    for secret in ["guest", "another"] {
        let update = connection::UpdateSecret {
            new_secret: Secret::from(bytes::Bytes::from_static(secret.as_bytes())),
            reason: short("it was old"),
        };
        client.call(0, update, connection::UpdateSecretOk::ID);
        client.call(1, basic::Qos::default(), basic::QosOk::ID);
    }
    Client::open(at);
}

fn what_comes_on_a_channel_that_the_server_closes_is_of_no_effect(at: SocketAddr) {
    let mut client = Client::open(at);
    client.open_channel(2);
    client.call(2, queue("closes"), queue::DeclareOk::ID);
    let mut outbox = warren_amqp::outbox::Outbox::new(warren_amqp::FrameMax::DEFAULT);
    outbox
        .method(
            1,
            queue::Declare {
                passive: true,
                ..queue("none-such")
            },
        )
        .unwrap();
    outbox.ack(1, 77, false);
    outbox
        .method(
            1,
            queue::Delete {
                queue: short("closes"),
                ..queue::Delete::default()
            },
        )
        .unwrap();
    let publish = Publish {
        exchange: b"none-such",
        ..Publish::default()
    };
    outbox
        .publish(
            1,
            &publish,
            &Properties::default(),
            &bytes::Bytes::from_static(b"x"),
        )
        .unwrap();
    client.send_all(&mut outbox);
    assert!(matches!(
        client.next(),
        Err(Ended::Closed {
            channel: 1,
            code: 404,
            ..
        })
    ));
    client.open_channel(1);
    client.call(
        1,
        queue::Declare {
            passive: true,
            ..queue("closes")
        },
        queue::DeclareOk::ID,
    );
    client.delete("closes");
}

fn both_sides_may_close_a_channel_at_once(at: SocketAddr) {
    let mut client = Client::open(at);
    let mut outbox = warren_amqp::outbox::Outbox::new(warren_amqp::FrameMax::DEFAULT);
    let missing = queue::Declare {
        passive: true,
        ..queue("none-such")
    };
    outbox.method(1, missing).unwrap();
    outbox.method(1, channel::Close::normal("")).unwrap();
    client.send_all(&mut outbox);
    let ended = client.next();
    assert!(
        matches!(
            ended,
            Err(Ended::Closed {
                channel: 1,
                code: 404,
                ..
            })
        ),
        "{ended:?}"
    );
    match client.next() {
        Ok(Event::Method { channel: 1, method }) => assert_eq!(method.id(), channel::CloseOk::ID),
        other => panic!("{other:?}"),
    }
    client.open_channel(1);
}

fn a_connection_closes_while_messages_come(at: SocketAddr) {
    let mut client = Client::open(at);
    client.call(1, queue("busy"), queue::DeclareOk::ID);
    for _ in 0..200 {
        client.publish_to("busy", &[7; 1000]);
    }
    client.consume_as("busy", "t");
    client.send(0, connection::Close::normal(""));
    loop {
        match client.next() {
            Ok(Event::Message { .. }) => {}
            Ok(Event::Method { channel: 0, method }) if method.id() == connection::CloseOk::ID => break,
            other => panic!("{other:?}"),
        }
    }
    Client::open(at).delete("busy");
}

fn signs_of_life_come_as_agreed_and_are_missed(at: SocketAddr) {
    let mut client = agreed(
        at,
        Tuning {
            heartbeat: 1,
            ..WANTED
        },
    );
    let started = Instant::now();
    assert!(client.heartbeats_until_the_end() >= 1);
    let after = started.elapsed();
    assert!(
        after >= Duration::from_secs(2) && after < Duration::from_secs(10),
        "{after:?}"
    );
}

fn any_frame_is_a_sign_of_life(at: SocketAddr) {
    let mut client = agreed(
        at,
        Tuning {
            heartbeat: 1,
            ..WANTED
        },
    );
    client.open_channel(1);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(4) {
        client.call(1, basic::Qos::default(), basic::QosOk::ID);
        std::thread::sleep(Duration::from_millis(300));
    }
}

fn frames_are_no_larger_than_agreed(at: SocketAddr) {
    let mut client = agreed(
        at,
        Tuning {
            frame_max: 4096,
            ..WANTED
        },
    );
    client.open_channel(1);
    client.call(1, queue("chunks"), queue::DeclareOk::ID);
    // The client's side of the codec refuses larger ones.
    for size in [0, 1, 4087, 4088, 4089, 8176, 50_000] {
        let body: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        client.publish_to("chunks", &body);
        let message = client.get("chunks", true).expect("a message");
        assert_eq!(message.whole_body(), body, "{size}");
    }
    client.delete("chunks");
    // Eight octets more are forgiven.
    client.send_raw(&frame(3, 1, &[0; 4097]));
    assert_eq!(
        words(client.next().err().as_ref()),
        "connection 501 \"FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,4097,4088}\" (0,0)"
    );
}

fn flow_may_go_on_and_access_is_given(at: SocketAddr) {
    let mut client = Client::open(at);
    client.call(1, channel::Flow { active: true }, channel::FlowOk::ID);
    let answer = client.call(1, access::Request::default(), access::RequestOk::ID);
    assert_eq!(answer, access::RequestOk { ticket: 1 }.into());
}
