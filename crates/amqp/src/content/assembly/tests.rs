use proptest::prelude::*;

use super::*;
use crate::content::{Properties, Property};
use crate::frame::{Frame, FrameMax, Splitter};
use crate::hot::{Carrier, Deliver, Publish};
use crate::outbox::Outbox;
use crate::reply::Weight;
use crate::text::ShortString;

const PUBLISH: Publish<'_> = Publish {
    exchange: b"ex",
    routing_key: b"key",
    mandatory: true,
    immediate: false,
};

fn frame(kind: FrameKind, channel: u16, payload: impl Into<Bytes>) -> Frame {
    Frame {
        kind,
        channel,
        payload: payload.into(),
    }
}

fn method() -> Frame {
    let mut payload = BytesMut::new();
    PUBLISH.write(&mut payload);
    frame(FrameKind::Method, 1, payload)
}

fn header(size: u64) -> Frame {
    frame(FrameKind::Header, 1, Properties::default().header(size))
}

fn body(octets: &[u8]) -> Frame {
    frame(FrameKind::Body, 1, octets.to_vec())
}

fn octets(frames: &[Frame]) -> BytesMut {
    let mut out = BytesMut::new();
    for frame in frames {
        frame.encode(FrameMax::DEFAULT, &mut out).unwrap();
    }
    out
}

fn splitter() -> Splitter {
    let mut splitter = Splitter::of_server();
    splitter.set_frame_max(FrameMax::DEFAULT);
    splitter
}

/// What a connection with one channel does with what it reads.
fn assemble(assembly: &mut Assembly, reads: &[&[u8]]) -> Result<Vec<Message>, ContentError> {
    let (mut splitter, mut input, mut messages) = (splitter(), BytesMut::new(), Vec::new());
    for read in reads {
        input.extend_from_slice(read);
        while let Some(mut chunk) = splitter.chunk(&mut input).unwrap() {
            while let Some(place) = chunk.next() {
                if let Accepted::Message(message) = assembly.accept(&mut chunk, place)? {
                    messages.push(message);
                }
            }
        }
    }
    assert!(input.is_empty());
    Ok(messages)
}

fn refusal(frames: &[Frame]) -> String {
    // In one read and in many: both ways the same.
    let whole = octets(frames);
    let together = assemble(&mut Assembly::new(100), &[&whole]).unwrap_err();
    let apart: Vec<_> = whole.chunks(1).collect();
    assert_eq!(assemble(&mut Assembly::new(100), &apart).unwrap_err(), together);
    let exception = together.exception();
    let level = match exception.code.weight() {
        Weight::Connection => "connection",
        Weight::Channel | Weight::None => "channel",
    };
    format!(
        "{level} {} \"{}\" {}",
        exception.code.code(),
        exception.text,
        exception.method
    )
}

#[test]
fn what_is_no_content_is_refused_with_rabbitmqs_words() {
    let other_class = frame(FrameKind::Header, 1, &b"\0\x32\0\0\0\0\0\0\0\0\0\x01\0\0"[..]);
    let heavy = frame(FrameKind::Header, 1, &b"\0\x3c\0\x01\0\0\0\0\0\0\0\x01\0\0"[..]);
    let cut = frame(FrameKind::Method, 1, &b"\0\x3c\0\x28\0\0\x05ab"[..]);
    let recorded = include_str!("../../../recorded/reply-texts.txt");
    for (case, frames) in [
        ("header frame with no method", vec![header(1)]),
        ("body frame with no method", vec![body(b"x")]),
        ("method in place of header", vec![method(), method()]),
        ("header of another class", vec![method(), other_class]),
        ("weight 1", vec![method(), heavy]),
        ("method in body", vec![method(), header(2), body(b"x"), method()]),
        ("header in body", vec![method(), header(2), body(b"x"), header(1)]),
        ("publish cut", vec![cut]),
    ] {
        let line = format!("{case} -> {}", refusal(&frames));
        assert!(recorded.lines().any(|recorded| recorded == line), "{line}");
    }
}

#[test]
fn a_body_that_is_longer_than_its_header_says_is_refused() {
    assert_eq!(
        refusal(&[method(), header(3), body(b"ab"), body(b"cd")]),
        "connection 505 \"UNEXPECTED_FRAME - expected end of content body, got 1 octets more\" (60,40)"
    );
    assert!(refusal(&[method(), header(3), body(b"abcd")]).contains("got 1 octets more"));
}

#[test]
fn a_message_above_the_limit_closes_the_channel_when_it_is_announced() {
    assert_eq!(
        refusal(&[method(), header(101)]),
        "channel 406 \"PRECONDITION_FAILED - message size 101 is larger than configured max size 100\" (60,40)"
    );
    let error = assemble(
        &mut Assembly::new(BODY_SIZE_MAX),
        &[&octets(&[method(), header(u64::MAX)])],
    )
    .unwrap_err();
    assert!(
        error
            .exception()
            .text
            .ends_with("is larger than max size 536870912"),
        "RabbitMQ has other words for its own limit"
    );
    let taken = octets(&[method(), header(100), body(&[7; 100])]);
    assert_eq!(assemble(&mut Assembly::new(100), &[&taken]).unwrap().len(), 1);
}

#[test]
fn properties_that_cannot_be_read_are_refused() {
    let cut = frame(FrameKind::Header, 1, &b"\0\x3c\0\0\0\0\0\0\0\0\0\0\x80\0"[..]);
    assert!(refusal(&[method(), cut]).starts_with("connection 502 \"SYNTAX_ERROR - invalid properties"));
}

#[test]
fn a_message_in_one_piece_is_a_slice_of_what_was_read() {
    let whole = octets(&[method(), header(3), body(b"abc"), method(), header(0)]);
    let mut input = whole.clone();
    let mut chunk = splitter().chunk(&mut input).unwrap().unwrap();
    let range = chunk
        .payload(Place {
            start: 0,
            end: whole.len(),
            kind: FrameKind::Body,
            channel: 1,
        })
        .as_ptr_range();
    let mut assembly = Assembly::default();
    let mut messages = Vec::new();
    while let Some(place) = chunk.next() {
        let Accepted::Message(message) = assembly.accept(&mut chunk, place).unwrap() else {
            panic!("each of the two is taken at once");
        };
        messages.push(message);
    }
    let [first, second] = &messages[..] else {
        panic!("{messages:?}");
    };
    assert_eq!(first.publish(), Some(PUBLISH));
    assert_eq!(
        (first.whole_body(), first.body_size()),
        (Bytes::from_static(b"abc"), 3)
    );
    assert!(range.contains(&first.whole_body().as_ptr()));
    assert!(!range.contains(&first.detached().whole_body().as_ptr()));
    assert_eq!(first.detached(), *first);
    assert_eq!((second.body_size(), second.body().count()), (0, 0));
    assert_eq!(
        (first.deliver(), first.returned(), first.get_ok()),
        (None, None, None)
    );
}

#[test]
fn other_channels_frames_may_come_in_between() {
    let mut other = header(2);
    other.channel = 2;
    let whole = octets(&[method(), other, header(1), body(b"x")]);
    let mut chunk = splitter()
        .chunk(&mut BytesMut::from(&whole[..]))
        .unwrap()
        .unwrap();
    let mut assembly = Assembly::default();
    let mut seen = Vec::new();
    while let Some(place) = chunk.next() {
        if place.channel == 1 {
            seen.push(assembly.accept(&mut chunk, place).unwrap());
        }
    }
    assert!(matches!(
        &seen[..],
        [Accepted::Part, Accepted::Part, Accepted::Message(_)]
    ));
}

#[test]
fn a_body_in_very_small_pieces_becomes_one() {
    let mut frames = vec![method(), header(5000)];
    frames.extend((0..5000).map(|_| body(b"x")));
    let reads = octets(&frames);
    let reads: Vec<_> = reads.chunks(64).collect();
    let messages = assemble(&mut Assembly::default(), &reads).unwrap();
    assert_eq!(messages[0].body().count(), 1);
    assert_eq!(messages[0].whole_body(), vec![b'x'; 5000]);
}

#[test]
fn small_pieces_between_large_ones_are_put_together() {
    let mut frames = vec![method(), header(2 * 3000 + 4)];
    frames.extend([body(&[1; 3000]), body(b"ab"), body(b"cd"), body(&[2; 3000])]);
    let messages = assemble(&mut Assembly::default(), &[&octets(&frames)]).unwrap();
    let sizes: Vec<_> = messages[0].body().map(<[u8]>::len).collect();
    assert_eq!(sizes, [3000, 4, 3000]);
}

#[test]
fn what_is_kept_of_an_unfinished_message_is_counted() {
    let mut assembly = Assembly::default();
    assert_eq!(assembly.kept(), 0);
    let whole = octets(&[method(), header(4000), body(&[0; 3000]), body(&[0; 500])]);
    assemble(&mut assembly, &[&whole]).unwrap();
    assert!((3500..3700).contains(&assembly.kept()), "{}", assembly.kept());
}

fn properties() -> impl Strategy<Value = Properties> {
    (
        prop::option::of("[a-z]{0,30}"),
        prop::option::of(any::<u8>()),
        prop::option::of(any::<u64>()),
    )
        .prop_map(|(reply_to, delivery_mode, timestamp)| Properties {
            reply_to: reply_to.map(|text| ShortString::try_from(text.as_str()).unwrap()),
            delivery_mode,
            timestamp,
            ..Properties::default()
        })
}

proptest! {
    /// Published, taken in by somebody in any reads, delivered to a third: nothing has changed.
    #[test]
    fn a_message_goes_through_unchanged(
        body in prop::collection::vec(any::<u8>(), 0..12_000),
        properties in properties(),
        published in prop::sample::select(&[4096_u32, 5000, 131_072][..]),
        delivered in prop::sample::select(&[4096_u32, 5000, 131_072][..]),
        read in 1_usize..20_000,
    ) {
        let body = Bytes::from(body);
        let mut publisher = Outbox::new(FrameMax::new(published).unwrap());
        publisher.publish(1, &PUBLISH, &properties, &body).unwrap();
        publisher.publish(1, &PUBLISH, &properties, &Bytes::new()).unwrap();
        let sent = crate::outbox::written(&mut publisher, read);
        let reads: Vec<_> = sent.chunks(read).collect();
        let messages = assemble(&mut Assembly::default(), &reads).unwrap();
        prop_assert_eq!(messages.len(), 2);
        prop_assert_eq!(messages[0].body_size(), body.len());
        prop_assert_eq!(messages[0].header().body_size(), body.len() as u64);
        prop_assert_eq!(&messages[0].whole_body(), &body);
        prop_assert_eq!(messages[0].publish(), Some(PUBLISH));
        prop_assert_eq!(messages[0].header().properties(), properties.clone());

        let deliver = Deliver { consumer_tag: b"tag", delivery_tag: 7, redelivered: true, exchange: b"ex", routing_key: b"key" };
        let mut broker = Outbox::new(FrameMax::new(delivered).unwrap());
        let again = messages[0].republished(&PUBLISH, messages[0].header());
        for message in [&messages[0], &messages[1], &again] {
            broker.message(9, &deliver, message).unwrap();
        }
        let sent = crate::outbox::written(&mut broker, read);
        prop_assert!(broker.is_empty());
        let received = assemble(&mut Assembly::default(), &[&sent]).unwrap();
        prop_assert_eq!(received.len(), 3);
        for (message, original) in received.iter().zip([&messages[0], &messages[1], &messages[0]]) {
            prop_assert_eq!(message.deliver(), Some(deliver));
            prop_assert_eq!(message.header(), original.header());
            prop_assert_eq!(message.whole_body(), original.whole_body());
            prop_assert_eq!(message.header().has(Property::ReplyTo), properties.reply_to.is_some());
        }
    }

    #[test]
    fn no_frames_make_an_assembly_panic(frames in prop::collection::vec(
        (prop::sample::select(&[FrameKind::Method, FrameKind::Header, FrameKind::Body][..]),
         prop::collection::vec(prop_oneof![Just(0_u8), Just(60), Just(40), Just(1), any::<u8>()], 0..40)),
        0..6,
    )) {
        let frames: Vec<_> = frames
            .into_iter()
            .filter(|(kind, payload)| match kind {
                FrameKind::Method => payload.len() >= 4,
                FrameKind::Header => payload.len() >= 12,
                FrameKind::Body | FrameKind::Heartbeat => true,
            })
            .map(|(kind, payload)| frame(kind, 1, payload))
            .collect();
        if let Err(error) = assemble(&mut Assembly::new(100), &[&octets(&frames)]) {
            prop_assert!(error.exception().text.len() <= 255);
        }
    }
}
