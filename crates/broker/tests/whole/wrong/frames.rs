//! Frames, contents and methods that are none, or not where they are.

use warren_amqp::{basic, channel, connection};

use super::{Wrong, furnished, on_channel, sends, wrong};
use crate::client::{frame, queue};

pub(super) fn all() -> Vec<Wrong> {
    [channels(), frames(), contents(), properties(), methods()]
        .into_iter()
        .flatten()
        .collect()
}

/// `basic.publish` to the default exchange.
const PUBLISH: [u8; 9] = [0, 60, 0, 40, 0, 0, 0, 0, 0];

/// The header of a content with so much body and no properties.
fn header(class: u8, size: u8) -> [u8; 14] {
    [0, class, 0, 0, 0, 0, 0, 0, 0, 0, 0, size, 0, 0]
}

fn channels() -> Vec<Wrong> {
    vec![
        sends("second channel.open", channel::Open::default()),
        on_channel(7, "method on a channel not open", |client| {
            client.send(7, queue("rt.q"));
        }),
        // Channels are counted; their numbers may be any.
        on_channel(3000, "channel above channel_max", |client| {
            client.send(3000, channel::Open::default());
        }),
        wrong("heartbeat on channel 1", |client| {
            client.send_raw(&frame(8, 1, b""));
        }),
        sends("connection method on channel 1", connection::Open::default()),
        wrong("channel method on channel 0", |client| {
            client.send(0, queue("rt.q"))
        }),
    ]
}

fn frames() -> Vec<Wrong> {
    vec![
        wrong("unknown frame type", |client| {
            client.send_raw(&frame(99, 1, b"x"))
        }),
        wrong("wrong frame end", |client| {
            let mut octets = frame(1, 1, &[0, 20, 0, 10]);
            *octets.last_mut().unwrap() = 0;
            client.send_raw(&octets);
        }),
        wrong("frame above frame_max", |client| {
            client.send_raw(&frame(1, 1, &PUBLISH));
            client.send_raw(&frame(2, 1, &header(60, 0)[..]));
            client.send_raw(&frame(3, 1, &[b'x'; 131_172]));
        }),
        wrong("unknown class", |client| {
            client.send_raw(&frame(1, 1, &[0, 99, 0, 10]))
        }),
        wrong("unknown method", |client| {
            client.send_raw(&frame(1, 1, &[0, 50, 0, 99]))
        }),
        wrong("method short of its arguments", |client| {
            client.send_raw(&frame(1, 1, &[0, 50, 0, 10, 0, 0]));
        }),
    ]
}

fn contents() -> Vec<Wrong> {
    fn parts(name: &'static str, parts: impl Fn() -> Vec<Vec<u8>> + 'static) -> Wrong {
        wrong(name, move |client| client.send_raw(&parts().concat()))
    }
    vec![
        parts("header frame with no method", || {
            vec![frame(2, 1, &header(60, 1))]
        }),
        parts("body frame with no method", || vec![frame(3, 1, b"x")]),
        parts("method in place of header", || {
            vec![frame(1, 1, &PUBLISH), frame(1, 1, &PUBLISH)]
        }),
        parts("header of another class", || {
            vec![frame(1, 1, &PUBLISH), frame(2, 1, &header(50, 1))]
        }),
        parts("weight 1", || {
            let heavy = [0, 60, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0];
            vec![frame(1, 1, &PUBLISH), frame(2, 1, &heavy)]
        }),
        parts("header class 10", || {
            vec![frame(1, 1, &PUBLISH), frame(2, 1, &header(10, 1))]
        }),
        parts("header too short", || {
            vec![frame(1, 1, &PUBLISH), frame(2, 1, &[0, 60, 0, 0, 0, 0])]
        }),
        parts("method in body", || {
            vec![
                frame(1, 1, &PUBLISH),
                frame(2, 1, &header(60, 2)),
                frame(3, 1, b"x"),
                frame(1, 1, &PUBLISH),
            ]
        }),
        parts("header in body", || {
            vec![
                frame(1, 1, &PUBLISH),
                frame(2, 1, &header(60, 2)),
                frame(3, 1, b"x"),
                frame(2, 1, &header(60, 1)),
            ]
        }),
        parts("body too long", || {
            vec![
                frame(1, 1, &PUBLISH),
                frame(2, 1, &header(60, 1)),
                frame(3, 1, b"xx"),
                frame(1, 1, &PUBLISH),
            ]
        }),
        parts("body too long later", || {
            let body = [frame(3, 1, b"ab"), frame(3, 1, b"cd")].concat();
            vec![
                frame(1, 1, &PUBLISH),
                frame(2, 1, &header(60, 3)),
                body,
                frame(1, 1, &PUBLISH),
            ]
        }),
        Wrong {
            name: "body longer than announced",
            request: Box::new(|at| {
                let mut client = furnished(at);
                client.open_channel(2);
                let parts = [
                    frame(1, 1, &PUBLISH),
                    frame(2, 1, &header(60, 1)),
                    frame(3, 1, b"xx"),
                ];
                client.send_raw(&parts.concat());
                client.end(2)
            }),
        },
        wrong("message above max_message_size", |client| {
            let size = (134_217_728_u64 + 1).to_be_bytes();
            let header = [&[0, 60, 0, 0][..], &size, &[0, 0]].concat();
            client.send_raw(&frame(1, 1, &PUBLISH));
            client.send_raw(&frame(2, 1, &header));
            for _ in 0..1024 {
                client.send_raw(&frame(3, 1, &[0; 131_064]));
            }
            client.send_raw(&frame(3, 1, &[0; 8193]));
        }),
    ]
}

/// Properties that cannot be read.
fn properties() -> Vec<Wrong> {
    fn flags(name: &'static str, flags: &'static [u8]) -> Wrong {
        wrong(name, move |client| {
            let header = [&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], flags].concat();
            client.send_raw(&[frame(1, 1, &PUBLISH), frame(2, 1, &header)].concat());
        })
    }
    vec![
        flags("header cut flags", b""),
        flags("header one flag octet", b"\x80"),
        flags("properties cut", b"\x80\x00\x05ab"),
        flags("properties surplus", b"\x80\x00\x02abc"),
        flags("property table cut", b"\x20\x00\x00\x00\x00\x09\x01kS\x00"),
        flags("property table bad letter", b"\x20\x00\x00\x00\x00\x04\x01k?\x00"),
    ]
}

fn methods() -> Vec<Wrong> {
    fn octets(name: &'static str, channel: u16, kind: u8, octets: &'static [u8]) -> Wrong {
        wrong(name, move |client| client.send_raw(&frame(kind, channel, octets)))
    }
    vec![
        octets(
            "declare not utf8",
            1,
            1,
            b"\0\x32\0\x0a\0\0\x02\xff\xfe\0\0\0\0\0",
        ),
        octets("publish cut", 1, 1, b"\0\x3c\0\x28\0\0\x05ab"),
        octets("credit", 1, 1, b"\0\x3c\0\xc8\x01q\0\0\0\0\0\0\0\0\0"),
        octets("ack trailing", 1, 1, b"\0\x3c\0\x50\0\0\0\0\0\0\0\0\0x"),
        octets(
            "declare-ok from client",
            1,
            1,
            b"\0\x32\0\x0b\x01q\0\0\0\0\0\0\0\0",
        ),
        wrong("deliver from client", |client| {
            let deliver = basic::Deliver::default();
            client.send(1, deliver);
            client.send_raw(&[frame(2, 1, &header(60, 1)), frame(3, 1, b"x")].concat());
        }),
        wrong("return from client", |client| {
            client.send(1, basic::Return::default());
            client.send_raw(&[frame(2, 1, &header(60, 1)), frame(3, 1, b"x")].concat());
        }),
        wrong("open on 0", |client| client.send(0, channel::Open::default())),
        wrong("queue method on 0", |client| client.send(0, queue("rt.q"))),
        octets("header on 0", 0, 2, &[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        octets("body on 0", 0, 3, b"x"),
    ]
}
