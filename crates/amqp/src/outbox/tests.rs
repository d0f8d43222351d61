use bytes::Bytes;

use super::*;
use crate::content::{Assembly, DeliveryMode};

fn publish(size: usize) -> Outbox {
    let mut outbox = Outbox::new(FrameMax::DEFAULT);
    let to = Publish {
        routing_key: b"q",
        ..Publish::default()
    };
    let properties = Properties::of(DeliveryMode::Persistent);
    outbox
        .publish(3, &to, &properties, &Bytes::from(vec![7; size]))
        .unwrap();
    outbox
}

#[test]
fn a_publish_has_the_octets_that_the_specification_gives_it() {
    let expected = [
        &b"\x01\0\x03\0\0\0\x0a\0\x3c\0\x28\0\0\0\x01q\0\xce"[..],
        b"\x02\0\x03\0\0\0\x0f\0\x3c\0\0\0\0\0\0\0\0\0\x02\x10\0\x02\xce",
        b"\x03\0\x03\0\0\0\x02\x07\x07\xce",
    ]
    .concat();
    assert_eq!(written(&mut publish(2), 1000), expected);
}

#[test]
fn settlements_have_the_octets_that_the_specification_gives_them() {
    let mut outbox = Outbox::new(FrameMax::DEFAULT);
    outbox.ack(1, 258, true);
    outbox.nack(1, 2, false, true);
    outbox.reject(2, 3, true);
    outbox.heartbeat();
    let expected = [
        &b"\x01\0\x01\0\0\0\x0d\0\x3c\0\x50\0\0\0\0\0\0\x01\x02\x01\xce"[..],
        b"\x01\0\x01\0\0\0\x0d\0\x3c\0\x78\0\0\0\0\0\0\0\x02\x02\xce",
        b"\x01\0\x02\0\0\0\x0d\0\x3c\0\x5a\0\0\0\0\0\0\0\x03\x01\xce",
        b"\x08\0\0\0\0\0\0\xce",
    ]
    .concat();
    assert_eq!(written(&mut outbox, 1000), expected);
}

#[test]
fn small_bodies_are_copied_and_large_ones_are_not() {
    assert_eq!(publish(COPIED_MAX).shared.len(), 0);
    assert_eq!(publish(COPIED_MAX + 1).shared.len(), 1);
}

#[test]
fn a_body_is_cut_into_frames_that_the_peer_takes() {
    let sizes = |size| {
        let mut outbox = publish(size);
        let octets = written(&mut outbox, usize::MAX);
        let mut splitter = frame::Splitter::of_server();
        splitter.set_frame_max(FrameMax::DEFAULT);
        let chunk = splitter.chunk(&mut BytesMut::from(&octets[..])).unwrap().unwrap();
        let places = chunk.clone();
        places
            .filter(|place| place.kind == FrameKind::Body)
            .map(|place| chunk.payload(place).len())
            .collect::<Vec<_>>()
    };
    assert_eq!(sizes(0), []);
    assert_eq!(sizes(131_064), [131_064]);
    assert_eq!(sizes(131_065), [131_064, 1]);
    assert_eq!(sizes(2 * 131_064), [131_064, 131_064]);
}

#[test]
fn what_does_not_fit_into_a_frame_is_not_sent_in_part() {
    let mut outbox = Outbox::new(FrameMax::MIN);
    outbox.heartbeat();
    let before = outbox.len();
    let properties = Properties {
        headers: Some(crate::Table::new().with("n", crate::Value::text(&"x".repeat(5000)))),
        ..Properties::default()
    };
    assert!(
        outbox
            .publish(1, &Publish::default(), &properties, &Bytes::new())
            .is_err()
    );
    assert_eq!(outbox.len(), before);
}

#[test]
fn it_comes_out_as_it_went_in_however_much_is_taken_at_a_time() {
    let fill = || {
        let mut outbox = publish(5000);
        outbox.ack(1, 1, false);
        let body = Bytes::from(vec![1; 300_000]);
        for _ in 0..2 {
            outbox
                .publish(2, &Publish::default(), &Properties::default(), &body)
                .unwrap();
        }
        outbox.heartbeat();
        outbox
    };
    let whole = written(&mut fill(), usize::MAX);
    assert_eq!(whole.len(), fill().len());
    for step in [1, 7, 8, 1000, 4095, 131_072] {
        let mut outbox = fill();
        assert_eq!(written(&mut outbox, step), whole, "{step} at a time");
        assert!(outbox.is_empty() && outbox.chunk().is_empty());
    }
    // More while something waits.
    let mut outbox = fill();
    outbox.advance(5500);
    let rest = outbox.len();
    outbox.ack(1, 2, false);
    assert_eq!(written(&mut outbox, 999)[..rest], whole[5500..]);
}

#[test]
fn memory_of_a_burst_is_given_back_when_nothing_waits() {
    let mut outbox = publish(1000);
    outbox.shrink(16);
    assert!(!outbox.is_empty());
    outbox.advance(outbox.len());
    outbox.shrink(16);
    assert_eq!(outbox.copied.capacity(), 0);
}

#[test]
fn a_shared_body_is_that_of_the_message() {
    let mut outbox = publish(5000);
    let mut octets = BytesMut::from(&written(&mut outbox, usize::MAX)[..]);
    let mut splitter = frame::Splitter::of_server();
    splitter.set_frame_max(FrameMax::DEFAULT);
    let mut chunk = splitter.chunk(&mut octets).unwrap().unwrap();
    let place = chunk.next().unwrap();
    let Ok(crate::content::Accepted::Message(message)) = Assembly::default().accept(&mut chunk, place) else {
        panic!("a message");
    };
    outbox
        .message(1, &crate::hot::GetOk::default(), &message)
        .unwrap();
    assert_eq!(outbox.shared[0].octets.as_ptr(), message.whole_body().as_ptr());
}
