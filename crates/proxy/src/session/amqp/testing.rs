//! What clients and brokers say, for tests.

use bytes::{Bytes, BytesMut};
use warren_amqp::connection::{Close, Method, Open, OpenOk, Start, StartOk, Tune, TuneOk};
use warren_amqp::frame::Frame;
use warren_amqp::handshake::Direction::{self, FromClient, FromServer};
use warren_amqp::protocol::ProtocolHeader;
use warren_amqp::{FrameKind, FrameMax, ShortString, Table, Value, handshake};

/// A method of class connection.
pub(crate) fn method(method: impl Into<Method>) -> Vec<u8> {
    let mut out = BytesMut::new();
    method.into().encode(0, FrameMax::DEFAULT, &mut out).unwrap();
    out.to_vec()
}

pub(crate) fn frame(kind: FrameKind, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    let payload = Bytes::copy_from_slice(payload);
    Frame {
        kind,
        channel,
        payload,
    }
    .encode(FrameMax::DEFAULT, &mut out)
    .unwrap();
    out.to_vec()
}

/// A method above class connection.
pub(crate) fn other(channel: u16, ids: [u8; 2], arguments: &[u8]) -> Vec<u8> {
    let payload = [&[0, ids[0], 0, ids[1]], arguments].concat();
    frame(FrameKind::Method, channel, &payload)
}

pub(crate) fn short(text: &str) -> ShortString {
    ShortString::try_from(text).unwrap()
}

pub(crate) fn close(code: u16) -> Vec<u8> {
    method(Close {
        reply_code: code,
        reply_text: short("why"),
        ..Close::default()
    })
}

/// Both sides of a handshake, piece by piece in the order of time.
pub(crate) fn handshake(heartbeat: u16) -> Vec<(Direction, Vec<u8>)> {
    vec![
        (FromClient, ProtocolHeader::AMQP_0_9_1.encode().to_vec()),
        (
            FromServer,
            method(Start {
                version_minor: 9,
                server_properties: Table::new()
                    .with("product", Value::text("RabbitMQ"))
                    .with("version", Value::text("3.10.8")),
                mechanisms: Bytes::from_static(b"PLAIN"),
                ..Start::default()
            }),
        ),
        (
            FromClient,
            method(StartOk {
                client_properties: Table::new()
                    .with("product", Value::text("pika"))
                    .with("version", Value::text("1.3"))
                    .with("connection_name", Value::text("orders")),
                mechanism: short("PLAIN"),
                response: handshake::plain("alice", "hunter22"),
                locale: short("en_US"),
            }),
        ),
        (
            FromServer,
            method(Tune {
                channel_max: 2047,
                frame_max: 131_072,
                heartbeat: 60,
            }),
        ),
        (
            FromClient,
            method(TuneOk {
                channel_max: 2047,
                frame_max: 131_072,
                heartbeat,
            }),
        ),
        (
            FromClient,
            method(Open {
                virtual_host: short("/shop"),
                ..Open::default()
            }),
        ),
        (FromServer, method(OpenOk::default())),
    ]
}
