use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::protocol::ProtocolHeader;

fn octets(kind: u8, channel: u16, payload: &[u8], end: u8) -> Vec<u8> {
    let mut octets = vec![kind];
    octets.extend(channel.to_be_bytes());
    octets.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
    octets.extend(payload);
    octets.push(end);
    octets
}

/// Feeds the chunks one after the other; what a connection does.
fn split(mut splitter: Splitter, chunks: &[&[u8]]) -> (Vec<Item>, Option<FrameError>) {
    let (mut buffer, mut items) = (BytesMut::new(), Vec::new());
    for chunk in chunks {
        buffer.extend_from_slice(chunk);
        loop {
            match splitter.next(&mut buffer) {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(error) => return (items, Some(error)),
            }
        }
    }
    (items, None)
}

fn track(mut tracker: Tracker, chunks: &[&[u8]]) -> (Vec<Passed>, Option<FrameError>) {
    let mut items = Vec::new();
    for chunk in chunks {
        let mut rest = *chunk;
        loop {
            match tracker.next(&mut rest) {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(error) => return (items, Some(error)),
            }
        }
        assert!(rest.is_empty(), "a chunk is taken whole");
    }
    (items, None)
}

fn refusal(frame: &[u8]) -> String {
    let mut splitter = Splitter::of_server();
    splitter.set_frame_max(FrameMax::DEFAULT);
    let (items, error) = split(splitter, &[frame]);
    assert_eq!(items, []);
    let exception = error.expect("refused").exception().expect("with a reason");
    assert_eq!(exception.method, MethodId::NONE);
    format!("{} {}", exception.code.code(), exception.text)
}

#[test]
fn wrong_frames_are_refused_with_rabbitmqs_words() {
    assert_eq!(
        refusal(&octets(8, 1, b"", FRAME_END)),
        "505 UNEXPECTED_FRAME - type 8, all octets = <<>>"
    );
    assert_eq!(
        refusal(&octets(99, 0, b"x", FRAME_END)),
        r#"501 FRAME_ERROR - type 99, all octets = <<"x">>: unknown_frame"#
    );
    assert_eq!(
        refusal(&octets(1, 1, &[0, 20, 0, 10], 0)),
        "501 FRAME_ERROR - type 1, all octets = <<0,20,0,10>>: {invalid_frame_end_marker,0}"
    );
    assert_eq!(
        refusal(&header(FrameKind::Body, 1, 131_172)),
        "501 FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,131172,131064}"
    );
}

#[test]
fn those_words_are_the_recorded_ones() {
    let recorded = include_str!("../../recorded/reply-texts.txt");
    for frame in [
        octets(8, 1, b"", FRAME_END),
        octets(99, 0, b"x", FRAME_END),
        octets(1, 1, &[0, 20, 0, 10], 0),
        header(FrameKind::Body, 1, 131_172).to_vec(),
    ] {
        let refusal = refusal(&frame);
        let (code, text) = refusal.split_once(' ').unwrap();
        let line = format!("connection {code} \"{text}\" (0,0)");
        assert!(recorded.contains(&line), "{line}");
    }
}

#[test]
fn contents_on_channel_0_are_refused_with_the_recorded_words() {
    let recorded = include_str!("../../recorded/reply-texts.txt");
    for (case, kind, payload) in [
        (
            "header on 0",
            FrameKind::Header,
            &b"\0\x3c\0\0\0\0\0\0\0\0\0\0\0\0"[..],
        ),
        ("body on 0", FrameKind::Body, b"x"),
    ] {
        let exception = unexpected(kind, payload);
        let line = format!("{case} -> connection 505 \"{}\" (0,0)", exception.text);
        assert!(recorded.lines().any(|recorded| recorded == line), "{line}");
    }
}

#[test]
fn a_long_payload_is_quoted_by_its_first_sixteen_octets() {
    assert_eq!(
        refusal(&octets(7, 1, b"abcdefghijklmnopqrstuvwxyz", FRAME_END)),
        r#"501 FRAME_ERROR - type 7, first 16 octets = <<"abcdefghijklmnop">>: unknown_frame"#
    );
}

#[test]
fn a_content_header_without_its_size_is_no_frame() {
    assert_eq!(
        refusal(&octets(2, 1, b"\0\x3c\0\0\0\0", FRAME_END)),
        "501 FRAME_ERROR - type 2, all octets = <<0,60,0,0,0,0>>: unknown_frame"
    );
}

#[test]
fn a_method_without_its_ids_and_a_heartbeat_with_a_payload_are_no_frames() {
    assert!(refusal(&octets(1, 1, b"abc", FRAME_END)).ends_with("unknown_frame"));
    assert!(refusal(&octets(8, 0, b"x", FRAME_END)).ends_with("unknown_frame"));
}

#[test]
fn a_frame_that_is_too_large_is_refused_by_its_header_alone() {
    let limit = FrameMax::MIN;
    let taken = header(FrameKind::Body, 1, limit.octets());
    let refused = header(FrameKind::Body, 1, limit.octets() + 1);
    assert_eq!(split(Splitter::of_server(), &[&taken]), (vec![], None));
    assert!(matches!(
        split(Splitter::of_server(), &[&refused]).1,
        Some(FrameError::TooLarge {
            size: 4097,
            payload_max: 4088,
            ..
        })
    ));
    assert!(track(Tracker::of_server(limit), &[&taken]).1.is_none());
    assert!(track(Tracker::of_server(limit), &[&refused]).1.is_some());
}

#[test]
fn what_is_sent_keeps_to_the_limit_exactly() {
    let frame = |size| Frame {
        kind: FrameKind::Body,
        channel: 1,
        payload: Bytes::from(vec![0; size]),
    };
    let mut out = BytesMut::new();
    frame(4088).encode(FrameMax::MIN, &mut out).unwrap();
    assert_eq!(out.len(), 4096);
    let refused = frame(4089).encode(FrameMax::MIN, &mut out).unwrap_err();
    assert_eq!(refused.size, 4089);
    assert_eq!(out.len(), 4096, "nothing of it is sent");
}

#[test]
fn a_client_begins_with_a_protocol_header_and_nothing_else() {
    let header = ProtocolHeader::AMQP_0_9_1.encode();
    let (items, error) = split(Splitter::of_client(), &[&header, &octets(8, 0, b"", FRAME_END)]);
    assert_eq!(
        items,
        [
            Item::Protocol(ProtocolHeader::AMQP_0_9_1),
            Item::Frame(Frame::HEARTBEAT)
        ]
    );
    assert_eq!(error, None);
    for wrong in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"AMQX",
        b"\x16\x03\x01",
        &octets(8, 0, b"", FRAME_END),
    ] {
        assert_eq!(
            split(Splitter::of_client(), &[wrong]),
            (vec![], Some(FrameError::NotAmqp))
        );
        let tracker = Tracker::of_client(FrameMax::MIN);
        assert_eq!(track(tracker, &[wrong]), (vec![], Some(FrameError::NotAmqp)));
    }
    assert_eq!(FrameError::NotAmqp.exception(), None);
}

#[test]
fn a_server_may_refuse_with_a_protocol_header_but_only_at_first() {
    let header = ProtocolHeader::AMQP_0_9_1.encode();
    assert_eq!(
        split(Splitter::of_server(), &[&header]).0,
        [Item::Protocol(ProtocolHeader::AMQP_0_9_1)]
    );
    let late = [&octets(8, 0, b"", FRAME_END)[..], &header];
    assert_eq!(split(Splitter::of_server(), &late).0.len(), 1);
    // 'A' is type 65, whose size is then read from the letters.
    assert!(matches!(
        split(Splitter::of_server(), &late).1,
        Some(FrameError::TooLarge { kind: 65, .. })
    ));
}

#[test]
fn payloads_are_slices_of_what_was_read() {
    let mut buffer = BytesMut::from(&octets(3, 1, &[7; 1000], FRAME_END)[..]);
    let start = buffer.as_ptr();
    let Some(Item::Frame(frame)) = Splitter::of_server().next(&mut buffer).unwrap() else {
        panic!("a frame");
    };
    assert_eq!(frame.payload.as_ptr(), start.wrapping_add(HEADER_LENGTH));
    assert!(buffer.is_empty());
}

#[test]
fn our_own_frame_may_go_in_only_between_two_of_theirs() {
    let frame = octets(3, 1, b"ab", FRAME_END);
    let mut tracker = Tracker::established(FrameMax::MIN);
    for (index, octet) in frame.iter().enumerate() {
        assert_eq!(tracker.at_boundary(), index == 0, "before octet {index}");
        tracker.next(&mut &[*octet][..]).unwrap();
    }
    assert!(tracker.at_boundary());
}

#[test]
fn methods_are_named_wherever_the_chunks_end() {
    let frame = octets(1, 3, &[0, 10, 0, 50, 1, 2, 3], FRAME_END);
    for cut in 0..=frame.len() {
        let (before, after) = frame.split_at(cut);
        let (passed, error) = track(Tracker::established(FrameMax::MIN), &[before, after]);
        assert_eq!(error, None);
        let expected = Boundary {
            kind: FrameKind::Method,
            channel: 3,
            size: 7,
            method: Some(MethodId::new(10, 50)),
        };
        assert_eq!(passed, [Passed::Frame(expected)], "cut at {cut}");
    }
}

#[test]
fn a_frame_under_way_is_known_as_soon_as_its_ids_have_passed() {
    let frame = octets(1, 3, &[0, 10, 0, 50, 1, 2, 3], FRAME_END);
    for cut in 0..frame.len() {
        let mut tracker = Tracker::established(FrameMax::MIN);
        assert_eq!(tracker.next(&mut &frame[..cut]), Ok(None));
        assert_eq!(tracker.passed(), cut as u64);
        assert_eq!(tracker.start(), &frame[..cut.min(KEPT)]);
        let method = tracker.started().map(|started| started.method);
        let expected = (cut >= KEPT).then_some(Some(MethodId::new(10, 50)));
        assert_eq!(method, expected, "cut at {cut}");
    }
}

#[test]
fn nobody_can_go_on_where_nobody_can_have_paused() {
    let mut tracker = Tracker::established(FrameMax::MIN);
    tracker.next(&mut &octets(3, 1, b"abc", FRAME_END)[..8]).unwrap();
    let paused = tracker.pause();
    assert!(Tracker::resume(&paused).is_some());
    assert!(Tracker::resume(&Paused { passed: 11, ..paused }).is_none());
    assert!(
        Tracker::resume(&Paused {
            expected: 3,
            ..paused
        })
        .is_none()
    );
    assert!(
        Tracker::resume(&Paused {
            frame_max: 1,
            ..paused
        })
        .is_none()
    );
}

/// A stream that is mostly right: a header, frames, and perhaps one wrong octet somewhere.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![Just(1_u8), Just(2), Just(3), Just(8)];
    let frame = (kind, any::<u16>(), prop::collection::vec(any::<u8>(), 0..40)).prop_map(
        |(kind, channel, payload)| match kind {
            8 => octets(8, 0, b"", FRAME_END),
            1 => octets(1, channel, &[&[0, 10, 0, 10], &payload[..]].concat(), FRAME_END),
            _ => octets(kind, channel, &payload, FRAME_END),
        },
    );
    let frames = prop::collection::vec(frame, 0..8);
    let damage = prop::option::weighted(0.5, (any::<prop::sample::Index>(), any::<u8>()));
    (frames, damage).prop_map(|(frames, damage)| {
        let mut stream = ProtocolHeader::AMQP_0_9_1.encode().to_vec();
        stream.extend(frames.concat());
        if let Some((at, octet)) = damage {
            let at = at.index(stream.len());
            stream[at] = octet;
        }
        stream
    })
}

fn cut<'a>(stream: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    at.extend([0, stream.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect()
}

/// What a splitter's item is to a tracker.
fn passed(item: &Item) -> Passed {
    match item {
        Item::Protocol(header) => Passed::Protocol(*header),
        Item::Frame(frame) => Passed::Frame(Boundary {
            kind: frame.kind,
            channel: frame.channel,
            size: u32::try_from(frame.payload.len()).unwrap(),
            method: frame.method(),
        }),
    }
}

proptest! {
    #[test]
    fn frames_do_not_depend_on_how_the_stream_arrives(
        stream in stream(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let whole = split(Splitter::of_client(), &[&stream]);
        let pieces = split(Splitter::of_client(), &cut(&stream, &cuts));
        let octets: Vec<&[u8]> = stream.chunks(1).collect();
        prop_assert_eq!(&whole, &pieces);
        prop_assert_eq!(&whole, &split(Splitter::of_client(), &octets));
    }

    #[test]
    fn the_tracker_sees_the_frames_that_the_splitter_gives(
        stream in stream(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let (items, error) = split(Splitter::of_client(), &[&stream]);
        let (seen, wrong) = track(Tracker::of_client(FrameMax::MIN), &cut(&stream, &cuts));
        prop_assert_eq!(items.iter().map(passed).collect::<Vec<_>>(), seen);
        let kind = |error: &FrameError| std::mem::discriminant(error);
        prop_assert_eq!(error.as_ref().map(kind), wrong.as_ref().map(kind));
    }

    #[test]
    fn a_tracker_goes_on_where_another_paused(stream in stream(), cut in any::<prop::sample::Index>()) {
        let (before, after) = stream.split_at(cut.index(stream.len() + 1));
        let mut tracker = Tracker::of_client(FrameMax::MIN);
        let (mut seen, mut rest, mut error) = (Vec::new(), before, None);
        while error.is_none() {
            match tracker.next(&mut rest) {
                Ok(Some(item)) => seen.push(item),
                Ok(None) => break,
                Err(wrong) => error = Some(wrong),
            }
        }
        if error.is_none() {
            let again = Tracker::resume(&tracker.pause()).expect("what it said itself");
            let (more, wrong) = track(again, &[after]);
            seen.extend(more);
            error = wrong;
        }
        prop_assert_eq!((seen, error), track(Tracker::of_client(FrameMax::MIN), &[&stream]));
    }

    #[test]
    fn frames_come_out_as_they_went_in(stream in stream()) {
        let (items, error) = split(Splitter::of_client(), &[&stream]);
        let mut again = BytesMut::new();
        for item in &items {
            match item {
                Item::Protocol(header) => again.extend_from_slice(&header.encode()),
                Item::Frame(frame) => frame.encode(FrameMax::MIN, &mut again).unwrap(),
            }
        }
        prop_assert!(stream.starts_with(&again));
        if error.is_none() {
            // What is left is the beginning of one frame.
            prop_assert!(stream.len() - again.len() < FrameMax::MIN.octets() as usize + OVERHEAD);
        }
    }

    #[test]
    fn no_octets_make_them_panic(octets in prop::collection::vec(any::<u8>(), 0..300)) {
        split(Splitter::of_client(), &[&octets]);
        split(Splitter::of_server(), &[&octets]);
        track(Tracker::established(FrameMax::UNLIMITED), &[&octets]);
    }
}
