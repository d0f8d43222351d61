use proptest::prelude::*;
use warren_amqp::connection::{Blocked, StartOk, Unblocked};
use warren_amqp::frame::{Item, Splitter};

use super::Direction::{FromClient, FromServer};
use super::testing::{close, frame, handshake, method, other, short};
use super::*;

fn opened_with(heartbeat: u16) -> Tap {
    let mut tap = Tap::new();
    for (from, octets) in handshake(heartbeat) {
        assert_eq!(tap.pass(from, &octets), octets);
    }
    tap
}

fn opened() -> Tap {
    opened_with(60)
}

/// What goes on in the direction of `from`, owed included.
fn through(tap: &mut Tap, from: Direction, chunk: &[u8]) -> Vec<u8> {
    let mut passed = tap.pass(from, chunk).into_owned();
    passed.extend_from_slice(&tap.take_owed(from));
    passed
}

/// The whole frames of a stream, and what is left at its end.
fn frames(stream: &[u8]) -> (Vec<Frame>, usize) {
    let mut splitter = Splitter::of_server();
    splitter.set_frame_max(FrameMax::DEFAULT);
    let (mut rest, mut frames) = (BytesMut::from(stream), Vec::new());
    while let Some(item) = splitter.next(&mut rest).expect("frames") {
        match item {
            Item::Frame(frame) => frames.push(frame),
            Item::Protocol(_) => {}
        }
    }
    (frames, rest.len())
}

fn last_close(stream: &[u8]) -> Close {
    let (frames, left) = frames(stream);
    assert_eq!(left, 0, "ends with a frame");
    match Method::decode(&frames.last().expect("a frame").payload) {
        Ok(Method::Close(close)) => close,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_handshake_tells_who_talks_to_whom() {
    let tap = opened();
    let facts = tap.facts();
    let expected = AmqpFacts {
        user: Some("alice".to_owned()),
        vhost: Some("/shop".to_owned()),
        product: Some("pika".to_owned()),
        version: Some("1.3".to_owned()),
        connection_name: Some("orders".to_owned()),
        broker: Some("RabbitMQ 3.10.8".to_owned()),
        heartbeat: Some(60),
        frame_max: Some(131_072),
        ..AmqpFacts::default()
    };
    assert_eq!(facts, expected);
    assert!(!format!("{tap:?}").contains("hunter22"));
}

#[test]
fn channels_messages_and_alarms_are_followed() {
    let mut tap = opened();
    let blocked = Blocked {
        reason: short("low on memory"),
    };
    for (from, octets) in [
        (FromClient, other(1, [20, 10], b"\0")),
        (FromServer, other(1, [20, 11], b"\0\0\0\0")),
        (FromClient, other(2, [20, 10], b"\0")),
        (FromClient, other(2, [60, 20], b"\0\0\x01q\x01t\0\0\0\0\0")),
        (FromClient, other(1, [60, 40], b"\0\0\0\x01q\0")),
        (
            FromServer,
            other(2, [60, 60], b"\x01t\0\0\0\0\0\0\0\x01\0\0\x01q"),
        ),
        (FromServer, method(blocked)),
    ] {
        tap.pass(from, &octets);
    }
    let facts = tap.facts();
    let numbers = (facts.channels, facts.published, facts.delivered, facts.unsettled);
    assert_eq!(numbers, (2, 1, 1, 1));
    assert_eq!(facts.blocked.as_deref(), Some("low on memory"));
    assert!(!tap.is_movable());

    for (from, octets) in [
        (FromClient, other(2, [60, 80], b"\0\0\0\0\0\0\0\x01\0")),
        (FromServer, method(Unblocked {})),
        (FromClient, other(1, [20, 40], b"\0\xc8\0\0\0\0\0")),
        (FromServer, other(1, [20, 41], b"")),
    ] {
        tap.pass(from, &octets);
    }
    let facts = tap.facts();
    assert_eq!((facts.channels, facts.unsettled, &facts.blocked), (1, 0, &None));
    assert!(tap.is_movable());
}

#[test]
fn a_connection_is_ended_at_once_if_the_server_stands_between_two_frames() {
    let mut tap = opened();
    assert_eq!(tap.end(Cause::Killed), End::Going);
    let told = last_close(&tap.take_owed(FromServer));
    assert_eq!((told.reply_code, told.class_id, told.method_id), (320, 0, 0));
    assert_eq!(
        told.reply_text.to_text(),
        "CONNECTION_FORCED - closed by the operator of the proxy"
    );
    // What the server says now is for nobody; what the client said before it knew is for the server.
    let delivery = other(1, [60, 60], b"\x01t\0\0\0\0\0\0\0\x01\0\0\x01q");
    assert!(through(&mut tap, FromServer, &delivery).is_empty());
    let publish = other(1, [60, 40], b"\0\0\0\x01q\0");
    assert_eq!(through(&mut tap, FromClient, &publish), publish);

    let to_server = through(&mut tap, FromClient, &method(CloseOk {}));
    assert_eq!(last_close(&to_server).reply_code, 200);
    assert!(!tap.is_over());
    assert!(through(&mut tap, FromServer, &method(CloseOk {})).is_empty());
    assert!(tap.is_over());
    assert_eq!(tap.facts().close.unwrap().0, "proxy");
}

#[test]
fn a_server_in_the_middle_of_a_frame_is_heard_to_the_end_of_it() {
    let mut tap = opened();
    let body = frame(FrameKind::Body, 1, &[7; 100]);
    tap.pass(FromServer, &body[..50]);
    assert_eq!(tap.end(Cause::Down), End::Going);
    assert!(!tap.owes());
    let next = frame(FrameKind::Body, 1, b"not any more");
    let passed = through(&mut tap, FromServer, &[&body[50..], &next].concat());
    assert!(passed.starts_with(&body[50..]));
    assert_eq!(last_close(&passed[50 + 8..]).reply_code, 320);
}

#[test]
fn nobody_is_told_anything_before_the_connection_is_open() {
    for count in 0..handshake(0).len() {
        let mut tap = Tap::new();
        for (from, octets) in &handshake(0)[..count] {
            tap.pass(*from, octets);
        }
        assert_eq!(tap.end(Cause::Killed), End::Close, "after {count} steps");
        assert_eq!(tap.server_gone(), End::Close, "after {count} steps");
        assert!(!tap.owes());
    }
}

#[test]
fn what_is_being_closed_already_is_left_to_end_by_itself() {
    for by in [FromClient, FromServer] {
        let mut tap = opened();
        tap.pass(by, &close(200));
        assert_eq!(tap.end(Cause::Killed), End::Going);
        assert!(!tap.owes());
        let other = [FromServer, FromClient][by as usize];
        let answer = method(CloseOk {});
        assert_eq!(through(&mut tap, other, &answer), answer);
        assert_eq!(tap.server_gone(), End::Close);
    }
}

#[test]
fn a_client_whose_server_died_between_two_frames_is_told() {
    let mut tap = opened();
    assert_eq!(tap.server_gone(), End::Going);
    let told = last_close(&tap.take_owed(FromServer));
    assert_eq!(
        (told.reply_code, told.reply_text.to_text().as_str()),
        (320, "CONNECTION_FORCED - the server is gone, connect again")
    );
    let publish = other(1, [60, 40], b"\0\0\0\x01q\0");
    assert!(through(&mut tap, FromClient, &publish).is_empty());
    assert!(!tap.is_over());
    assert!(through(&mut tap, FromClient, &method(CloseOk {})).is_empty());
    assert!(tap.is_over());
}

#[test]
fn a_client_whose_server_died_within_a_frame_cannot_be_told() {
    let mut tap = opened();
    tap.pass(FromServer, &frame(FrameKind::Body, 1, b"abc")[..9]);
    assert_eq!(tap.server_gone(), End::Close);
    assert!(!tap.owes());
}

#[test]
fn a_client_that_closes_at_the_same_moment_gets_its_answer_and_so_does_the_server() {
    let mut tap = opened();
    tap.end(Cause::Killed);
    tap.take_owed(FromServer);
    let own = close(200);
    assert_eq!(through(&mut tap, FromClient, &own), own);
    assert_eq!(tap.take_owed(FromServer), method(CloseOk {}));
    assert!(through(&mut tap, FromServer, &method(CloseOk {})).is_empty());
    assert!(tap.is_over());
}

#[test]
fn a_server_that_closes_at_the_same_moment_gets_its_answer_from_us() {
    let mut tap = opened();
    tap.end(Cause::Killed);
    tap.take_owed(FromServer);
    assert!(through(&mut tap, FromServer, &close(320)).is_empty());
    assert_eq!(tap.take_owed(FromClient), method(CloseOk {}));
    assert!(through(&mut tap, FromClient, &method(CloseOk {})).is_empty());
    assert!(tap.is_over());
}

#[test]
fn a_client_that_hangs_up_instead_of_answering_is_said_goodbye_for() {
    let mut tap = opened();
    tap.end(Cause::Killed);
    tap.take_owed(FromServer);
    assert_eq!(tap.client_gone(), End::Going);
    assert_eq!(last_close(&tap.take_owed(FromClient)).reply_code, 200);
    assert_eq!(tap.server_gone(), End::Going);
    assert!(tap.is_over());
}

#[test]
fn idle_timeouts_follow_the_heartbeat_once_it_is_agreed() {
    let seconds = Duration::from_secs;
    let configured = Some(seconds(120));
    assert_eq!(Tap::new().timeout(configured), configured);
    assert_eq!(opened_with(60).timeout(configured), Some(seconds(180)));
    assert_eq!(opened_with(10).timeout(configured), configured);
    assert_eq!(opened_with(0).timeout(configured), None);
    assert_eq!(opened_with(60).timeout(None), None);
}

#[test]
fn only_the_protocol_header_can_be_said_to_another_server() {
    let header = ProtocolHeader::AMQP_0_9_1.encode();
    let mut tap = Tap::new();
    for end in 0..=header.len() {
        assert_eq!(tap.replay().as_deref(), Some(&header[..end]));
        tap.pass(FromClient, header.get(end..=end).unwrap_or_default());
    }
    let mut eager = Tap::new();
    eager.pass(FromClient, &[&header[..], &[1]].concat());
    assert_eq!(eager.replay(), None);
    eager.pass(FromClient, &method(StartOk::default())[1..]);
    assert_eq!(eager.replay(), None);
    tap.pass(FromServer, &[1]);
    assert_eq!(tap.replay(), None);
}

#[test]
fn what_is_not_amqp_0_9_1_passes_and_cannot_be_ended_politely() {
    for first in [
        &b"AMQP\x00\x01\x00\x00"[..],
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\0",
    ] {
        let mut tap = Tap::new();
        assert_eq!(tap.pass(FromClient, first), first);
        assert_eq!(
            tap.pass(FromServer, b"AMQP\0\x01\0\0anything"),
            &b"AMQP\0\x01\0\0anything"[..]
        );
        assert_eq!(tap.end(Cause::Killed), End::Close);
        assert_eq!(tap.server_gone(), End::Close);
        assert!(!tap.is_movable());
    }
    let mut tap = opened();
    tap.pass(FromServer, b"\xff\xff\xff\0\0\0\x01xx");
    assert_eq!(tap.end(Cause::Killed), End::Close);
}

/// Frames that a client or server may send once the connection is open.
fn traffic(from: Direction) -> impl Strategy<Value = Vec<u8>> {
    let octets = || prop::collection::vec(any::<u8>(), 0..60);
    let client = prop_oneof![
        Just(other(1, [20, 10], b"\0")),
        Just(other(1, [60, 20], b"\0\0\x01q\x01t\0\0\0\0\0")),
        Just(other(1, [60, 20], b"\0\0\x01q\x01t\x02\0\0\0\0")),
        Just(other(1, [50, 10], b"\0\0\x01q\x04\0\0\0\0")),
        Just(other(1, [90, 10], b"")),
        (0..9_u8, 0..2_u8)
            .prop_map(|(tag, multiple)| { other(1, [60, 80], &[0, 0, 0, 0, 0, 0, 0, tag, multiple]) }),
        octets().prop_map(|octets| other(1, [60, 40], &octets)),
        octets().prop_map(|octets| frame(FrameKind::Body, 1, &octets)),
        Just(frame(FrameKind::Heartbeat, 0, b"")),
        // Looks much like an answer to a close.
        Just(other(0, [10, 70], b"\0\0\0\0\0")),
        Just(other(0, [20, 51], b"")),
    ];
    let server = prop_oneof![
        Just(other(1, [20, 11], b"\0\0\0\0")),
        octets().prop_map(|octets| other(1, [60, 60], &octets)),
        octets().prop_map(|octets| frame(FrameKind::Body, 1, &octets)),
        Just(method(Blocked {
            reason: short("low on disk")
        })),
        Just(method(Unblocked {})),
        Just(other(1, [20, 41], b"")),
    ];
    match from {
        FromClient => client.boxed(),
        FromServer => server.boxed(),
    }
}

/// A conversation after the handshake: frames of both sides in the order of time.
fn conversation() -> impl Strategy<Value = Vec<(Direction, Vec<u8>)>> {
    let one = prop_oneof![
        traffic(FromClient).prop_map(|frame| (FromClient, frame)),
        traffic(FromServer).prop_map(|frame| (FromServer, frame)),
    ];
    prop::collection::vec(one, 0..25)
}

type Cuts = Vec<prop::sample::Index>;

fn cuts() -> impl Strategy<Value = Cuts> {
    prop::collection::vec(any::<prop::sample::Index>(), 0..30)
}

fn cut<'a>(stream: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    at.extend([0, stream.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect()
}

/// Neighbours of one direction become one stream.
fn runs(conversation: &[(Direction, Vec<u8>)]) -> Vec<(Direction, Vec<u8>)> {
    let mut runs: Vec<(Direction, Vec<u8>)> = Vec::new();
    for (from, octets) in conversation {
        match runs.last_mut() {
            Some((same, run)) if same == from => run.extend_from_slice(octets),
            _ => runs.push((*from, octets.clone())),
        }
    }
    runs
}

proptest! {
    #[test]
    fn facts_do_not_depend_on_how_the_octets_arrive_and_all_of_them_pass(
        conversation in conversation(), cuts in cuts(),
    ) {
        let mut whole = opened();
        for (from, octets) in &conversation {
            whole.pass(*from, octets);
        }
        let mut pieces = Tap::new();
        let all: Vec<_> = handshake(60).into_iter().chain(conversation).collect();
        for (from, octets) in runs(&all) {
            let mut passed = Vec::new();
            for chunk in cut(&octets, &cuts) {
                passed.extend_from_slice(&pieces.pass(from, chunk));
                prop_assert!(!pieces.owes());
            }
            prop_assert_eq!(passed, octets);
        }
        prop_assert_eq!(whole.facts(), pieces.facts());
        prop_assert_eq!(whole.is_movable(), pieces.is_movable());
    }

    #[test]
    fn an_ending_never_cuts_a_frame_and_never_loses_one_of_the_client(
        conversation in conversation(),
        cuts in cuts(),
        moment in any::<prop::sample::Index>(),
        gone in any::<bool>(),
        saved in any::<bool>(),
    ) {
        let mut tap = opened();
        let (mut to_client, mut to_server, mut from_client) = (Vec::new(), Vec::new(), Vec::new());
        let runs = runs(&conversation);
        let mut chunks: Vec<(Direction, &[u8])> = Vec::new();
        for (from, octets) in &runs {
            chunks.extend(cut(octets, &cuts).into_iter().map(|chunk| (*from, chunk)));
        }
        let moment = moment.index(chunks.len() + 1);
        let mut begun = None;
        for index in 0..=chunks.len() {
            if index == moment {
                begun = Some(if gone { tap.server_gone() } else { tap.end(Cause::Killed) });
                to_client.extend_from_slice(&tap.take_owed(FromServer));
            }
            if saved {
                tap = Tap::restore(tap.save()).expect("what it saved itself");
            }
            match chunks.get(index) {
                Some((FromServer, chunk)) => to_client.extend(through(&mut tap, FromServer, chunk)),
                Some((FromClient, chunk)) => {
                    from_client.extend_from_slice(chunk);
                    to_server.extend(through(&mut tap, FromClient, chunk));
                }
                None => {}
            }
        }
        prop_assume!(begun == Some(End::Going));
        prop_assert_eq!(last_close(&to_client).reply_code, 320);
        for octet in method(CloseOk {}) {
            to_server.extend(through(&mut tap, FromClient, &[octet]));
        }
        if gone {
            prop_assert!(from_client.starts_with(&to_server) && tap.is_over());
        } else {
            let (own, close) = to_server.split_at(from_client.len());
            prop_assert_eq!(own, from_client);
            prop_assert_eq!(last_close(close).reply_code, 200);
        }
    }

    #[test]
    fn a_tap_goes_on_in_another_process_where_it_was(
        conversation in conversation(), cuts in cuts(), moment in 0..100_usize,
    ) {
        let (mut here, mut there) = (Tap::new(), Tap::new());
        let all: Vec<_> = handshake(60).into_iter().chain(conversation).collect();
        let mut count = 0;
        for (from, octets) in runs(&all) {
            for chunk in cut(&octets, &cuts) {
                if count == moment {
                    let saved = postcard::to_stdvec(&there.save()).unwrap();
                    there = Tap::restore(postcard::from_bytes(&saved).unwrap()).unwrap();
                }
                count += 1;
                prop_assert_eq!(here.pass(from, chunk), there.pass(from, chunk));
            }
        }
        prop_assert_eq!(here.save(), there.save());
    }

    #[test]
    fn no_octets_make_a_tap_panic_and_all_of_them_pass(
        chunks in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..50)), 0..20),
        after_handshake in any::<bool>(),
    ) {
        let mut tap = if after_handshake { opened() } else { Tap::new() };
        for (client, chunk) in &chunks {
            let from = if *client { FromClient } else { FromServer };
            prop_assert_eq!(&*tap.pass(from, chunk), &chunk[..]);
        }
        tap.end(Cause::Killed);
        for (client, chunk) in &chunks {
            tap.pass(if *client { FromClient } else { FromServer }, chunk);
        }
        tap.client_gone();
        tap.server_gone();
    }
}
