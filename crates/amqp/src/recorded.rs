//! A conversation between a client that others wrote and a real RabbitMQ: all of it is understood, and leaves as it
//! came.

use std::collections::BTreeMap;

use bytes::{Buf, Bytes, BytesMut};

use crate::content::{Accepted, Assembly, Header, Message};
use crate::frame::{FrameKind, FrameMax, Item, Splitter};
use crate::hot::{Deliver, GetOk, Publish, Return};
use crate::method::{Method, MethodId};
use crate::outbox::{self, Outbox};
use crate::table::Value;
use crate::{ValueView, basic, channel};

const CONVERSATION: &str = include_str!("../recorded/conversation.hex");

/// What one side said, and the splitter that reads it.
fn side(letter: char) -> (Vec<Bytes>, Splitter) {
    let said = CONVERSATION
        .lines()
        .filter_map(|line| line.strip_prefix(letter))
        .map(|hex| hex::decode(hex.trim()))
        .collect();
    let mut splitter = match letter {
        'C' => Splitter::of_client(),
        _ => Splitter::of_server(),
    };
    splitter.set_frame_max(FrameMax::DEFAULT);
    (said, splitter)
}

mod hex {
    use bytes::Bytes;

    pub(super) fn decode(text: &str) -> Bytes {
        let octet = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(octet).collect()
    }
}

#[test]
fn every_method_and_every_header_leaves_as_it_came() {
    let mut seen = BTreeMap::new();
    for letter in ['C', 'S'] {
        let (said, mut splitter) = side(letter);
        for octets in said {
            let mut input = BytesMut::from(&octets[..]);
            let Some(Item::Frame(frame)) = splitter.next(&mut input).unwrap() else {
                assert!(octets.starts_with(b"AMQP"));
                continue;
            };
            let mut again = BytesMut::new();
            match frame.kind {
                FrameKind::Method => {
                    let method = Method::decode(&frame.payload).unwrap();
                    *seen.entry((method.id().class, method.id().method)).or_insert(0) += 1;
                    method
                        .encode(frame.channel, FrameMax::DEFAULT, &mut again)
                        .unwrap();
                }
                FrameKind::Header => {
                    let header = Header::read(&frame.payload).unwrap();
                    assert_eq!(header.properties().header(header.body_size()), frame.payload);
                    frame.encode(FrameMax::DEFAULT, &mut again).unwrap();
                }
                FrameKind::Body | FrameKind::Heartbeat => {
                    frame.encode(FrameMax::DEFAULT, &mut again).unwrap()
                }
            }
            assert_eq!(again, octets, "{frame:?}");
        }
    }
    // The recording is worth something: it has nearly every method.
    let missing: Vec<String> = Method::IDS
        .iter()
        .flat_map(|class| class.iter())
        .filter(|id| !seen.contains_key(&(id.class, id.method)))
        .map(MethodId::to_string)
        .collect();
    let expected = "(10,20) (10,21) (10,60) (10,61) (10,70) (10,71) (30,10) (30,11) (60,100)";
    assert_eq!(missing.join(" "), expected);
}

/// The messages that one side sent, taken out of as few chunks as there can be, or out of as many.
fn messages(letter: char, read: usize) -> Vec<(u16, Message)> {
    let (said, mut splitter) = side(letter);
    let stream = said.concat();
    let (mut input, mut channels, mut messages) = (BytesMut::new(), BTreeMap::new(), Vec::new());
    let mut begun = letter == 'S';
    for octets in stream.chunks(read) {
        input.extend_from_slice(octets);
        if !begun {
            begun = splitter.next(&mut input).unwrap().is_some();
        }
        while begun && let Some(mut chunk) = splitter.chunk(&mut input).unwrap() {
            while let Some(place) = chunk.next() {
                let assembly: &mut Assembly = channels.entry(place.channel).or_default();
                if let Accepted::Message(message) = assembly.accept(&mut chunk, place).unwrap() {
                    messages.push((place.channel, message));
                }
            }
        }
    }
    assert!(input.is_empty());
    messages
}

#[test]
fn messages_are_the_same_however_they_arrive() {
    for (letter, count) in [('C', 6), ('S', 6)] {
        let whole = messages(letter, usize::MAX);
        assert_eq!(whole.len(), count, "{letter}");
        for read in [1, 10, 1000] {
            let parts = messages(letter, read);
            let told = |messages: &[(u16, Message)]| -> Vec<_> {
                let one = |(channel, message): &(u16, Message)| {
                    let header = message.header().payload().to_vec();
                    (*channel, message.method().to_vec(), header, message.whole_body())
                };
                messages.iter().map(one).collect()
            };
            assert_eq!(told(&whole), told(&parts), "{read} octets at a time");
        }
    }
}

#[test]
fn messages_leave_as_they_came() {
    for letter in ['C', 'S'] {
        let stream = side(letter).0.concat();
        for (channel, message) in messages(letter, usize::MAX) {
            let mut outbox = Outbox::new(FrameMax::DEFAULT);
            let payload = message.method();
            match message.id() {
                basic::Publish::ID => outbox.message(channel, &Publish::read(payload).unwrap(), &message),
                basic::Deliver::ID => outbox.message(channel, &Deliver::read(payload).unwrap(), &message),
                basic::GetOk::ID => outbox.message(channel, &GetOk::read(payload).unwrap(), &message),
                _ => outbox.message(channel, &Return::read(payload).unwrap(), &message),
            }
            .unwrap();
            let length = outbox.remaining();
            let again = outbox::written(&mut outbox, usize::MAX);
            assert!(
                stream.windows(length).any(|window| window == again),
                "{message:?}"
            );
        }
    }
}

#[test]
fn a_dead_letters_history_can_be_read_where_it_lies() {
    let messages = messages('S', usize::MAX);
    let dead = messages
        .iter()
        .find_map(|(_, message)| {
            message
                .header()
                .headers()
                .filter(|table| table.get("x-death").is_some())
        })
        .unwrap();
    let first = |name| dead.get(name).and_then(ValueView::text);
    assert_eq!(first("x-first-death-reason"), Some(&b"rejected"[..]));
    assert_eq!(first("x-first-death-queue"), Some(&b"work"[..]));
    let Some(ValueView::Array(deaths)) = dead.get("x-death") else {
        panic!("an array");
    };
    let deaths: Vec<_> = deaths.iter().collect();
    let [ValueView::Table(death)] = deaths[..] else {
        panic!("{deaths:?}");
    };
    assert_eq!(death.get("count").and_then(ValueView::integer), Some(1));
    assert_eq!(
        death.get("original-expiration").and_then(ValueView::text),
        Some(&b"60000"[..])
    );
    assert_eq!(
        death.get("routing-keys").unwrap().to_value().unwrap(),
        Value::Array(vec![Value::text("a.b.c"), Value::text("also")])
    );
}

#[test]
fn the_server_says_why_it_closes_a_channel() {
    let (said, _) = side('S');
    let close = said
        .iter()
        .filter(|octets| octets[0] == 1)
        .filter_map(
            |octets| match Method::decode(&octets.slice(7..octets.len() - 1)) {
                Ok(Method::Channel(channel::Method::Close(close))) => Some(close),
                Ok(_) => None,
                Err(error) => panic!("{error}"),
            },
        )
        .next()
        .unwrap();
    assert_eq!(close.reply_text, "NOT_FOUND - no queue 'nope' in vhost '/'");
    assert_eq!((close.reply_code, close.class_id, close.method_id), (404, 60, 70));
}
