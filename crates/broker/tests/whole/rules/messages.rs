//! Messages leave as they came.

use std::net::SocketAddr;

use warren_amqp::content::Properties;
use warren_amqp::hot::Publish;
use warren_amqp::{Table, Value, queue};

use crate::client::{Client, queue, short};
use crate::replies::words;

/// One value of each type, and tables in tables.
fn everything() -> Table {
    Table::new()
        .with("t", Value::Bool(true))
        .with("b", Value::I8(-1))
        .with("B", Value::U8(255))
        .with("s", Value::I16(-300))
        .with("u", Value::U16(65_000))
        .with("I", Value::I32(-70_000))
        .with("i", Value::U32(4_000_000_000))
        .with("l", Value::I64(i64::MIN))
        .with("f", Value::F32(0.25))
        .with("d", Value::F64(-0.1))
        .with(
            "D",
            Value::Decimal {
                scale: 2,
                value: 12_345,
            },
        )
        .with("S", Value::text("text"))
        .with("x", Value::Octets(bytes::Bytes::from_static(&[0, 255, 10])))
        .with("T", Value::Timestamp(1_700_000_000))
        .with("V", Value::Void)
        .with(
            "A",
            Value::Array(vec![Value::I32(1), Value::text("two"), Value::Array(Vec::new())]),
        )
        .with(
            "F",
            Value::Table(Table::new().with("inner", Value::Table(Table::new().with("x", Value::Void)))),
        )
}

pub(crate) mod scenarios {
    crate::words::scenarios! {
        every_property_leaves_as_it_came,
        a_routing_key_need_not_be_text,
        a_large_message_comes_through,
        messages_of_two_channels_may_come_in_pieces_by_turns,
        an_expiration_is_a_number_of_milliseconds,
        a_delivery_mode_is_1_or_2,
        who_publishes_may_say_who_he_is,
    }
}

fn every_property_leaves_as_it_came(at: SocketAddr) {
    let mut client = Client::open(at);
    client.declare(queue::Declare {
        exclusive: true,
        ..queue("echo")
    });
    let all = Properties {
        content_type: Some(short("text/plain")),
        content_encoding: Some(short("utf-8")),
        headers: Some(everything()),
        delivery_mode: Some(1),
        priority: Some(200),
        correlation_id: Some(short("c")),
        reply_to: Some(short("r")),
        expiration: Some(short("60000")),
        message_id: Some(short("m")),
        timestamp: Some(1_700_000_000),
        message_type: Some(short("t")),
        user_id: Some(short("guest")),
        app_id: Some(short("a")),
        cluster_id: Some(short("k")),
    };
    let some = Properties {
        headers: Some(Table::new()),
        message_type: Some(short("")),
        ..Properties::default()
    };
    for properties in [all, some, Properties::default()] {
        for body in ["", "body"] {
            let publish = Publish {
                routing_key: b"echo",
                ..Publish::default()
            };
            client.publish(&publish, &properties, body.as_bytes());
            let message = client.get("echo", true).unwrap();
            assert_eq!(
                message.header().payload()[..],
                properties.header(body.len() as u64)[..]
            );
            assert_eq!(message.whole_body(), body);
        }
    }
}

fn a_routing_key_need_not_be_text(at: SocketAddr) {
    let mut client = Client::open(at);
    client.declare(queue::Declare {
        exclusive: true,
        ..queue("octets")
    });
    client.bind("octets", "amq.fanout", "");
    let publish = Publish {
        exchange: b"amq.fanout",
        routing_key: &[0xff, 0, 0xfe],
        ..Publish::default()
    };
    client.publish(&publish, &Properties::default(), b"x");
    let message = client.get("octets", true).unwrap();
    assert_eq!(message.get_ok().unwrap().routing_key, [0xff, 0, 0xfe]);
}

fn a_large_message_comes_through(at: SocketAddr) {
    let mut client = Client::open(at);
    client.declare(queue::Declare {
        exclusive: true,
        ..queue("large")
    });
    let body: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 253) as u8).collect();
    client.publish_to("large", &body);
    client.consume_as("large", "t");
    assert!(client.message().whole_body() == body);
}

fn messages_of_two_channels_may_come_in_pieces_by_turns(at: SocketAddr) {
    let mut client = Client::open(at);
    client.open_channel(2);
    client.declare(queue::Declare {
        exclusive: true,
        ..queue("mixed")
    });
    let publish = b"\0\x3c\0\x28\0\0\0\x05mixed\0";
    let frame = crate::client::frame;
    let header = [0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0];
    for part in [
        frame(1, 1, publish),
        frame(1, 2, publish),
        frame(2, 2, &header),
        frame(2, 1, &header),
        frame(3, 1, b"on"),
        frame(8, 0, b""),
        frame(3, 2, b"two!"),
        frame(3, 1, b"e!"),
    ] {
        client.send_raw(&part);
    }
    // Each channel is heard before the other is asked.
    assert!(client.end(2).is_none() && client.end(1).is_none());
    let mut bodies =
        [client.get("mixed", true), client.get("mixed", true)].map(|message| message.unwrap().whole_body());
    bodies.sort();
    assert_eq!(bodies, ["one!", "two!"]);
}

fn an_expiration_is_a_number_of_milliseconds(at: SocketAddr) {
    for (expiration, reason) in [
        ("-1", "{value_negative,-1}"),
        ("", "no_integer"),
        ("1s", "{leftover_string,\"s\"}"),
        ("1.5", "{leftover_string,\".5\"}"),
    ] {
        let mut client = Client::open(at);
        let properties = Properties {
            expiration: Some(short(expiration)),
            ..Properties::default()
        };
        client.publish(&Publish::default(), &properties, b"x");
        assert_eq!(
            words(client.end(1).as_ref()),
            format!(
                "channel 406 \"PRECONDITION_FAILED - invalid expiration '{expiration}': {reason}\" (60,40)"
            )
        );
    }
}

fn a_delivery_mode_is_1_or_2(at: SocketAddr) {
    for mode in [0, 3, 255] {
        let mut client = Client::open(at);
        let mut properties = Properties {
            delivery_mode: Some(mode),
            ..Properties::default()
        };
        client.publish(&Publish::default(), &properties, b"x");
        assert_eq!(
            words(client.end(1).as_ref()),
            format!(
                "channel 406 \"PRECONDITION_FAILED - invalid message: {{delivery_mode_unknown,{mode}}}\" (60,40)"
            )
        );
        client.open_channel(1);
        properties.headers = Some(Table::new().with("CC", Value::Void));
        client.publish(&Publish::default(), &properties, b"x");
        assert_eq!(
            words(client.end(1).as_ref()),
            "channel 406 \"PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,\\\"CC\\\",void}\" (60,40)"
                .replace("\\\"", "\"")
        );
    }
}

fn who_publishes_may_say_who_he_is(at: SocketAddr) {
    let mut client = Client::open(at);
    client.declare(queue::Declare {
        exclusive: true,
        ..queue("who")
    });
    let properties = Properties {
        user_id: Some(short("guest")),
        ..Properties::default()
    };
    client.publish(
        &Publish {
            routing_key: b"who",
            ..Publish::default()
        },
        &properties,
        b"x",
    );
    assert_eq!(
        client.get("who", true).unwrap().header().user_id(),
        Some(&b"guest"[..])
    );
}
