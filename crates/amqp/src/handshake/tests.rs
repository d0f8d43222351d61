use bytes::{Bytes, BytesMut};

use super::*;
use crate::connection::{Blocked, Close, CloseOk, Method, Open, OpenOk, Secure, Start, StartOk, Unblocked};
use crate::frame::{Frame, FrameKind, FrameMax, Item, Splitter};
use crate::method::MethodId;
use crate::protocol::ProtocolHeader;
use crate::table::{Table, Value};
use crate::text::ShortString;

fn frame(method: impl Into<Method>) -> Frame {
    let mut out = BytesMut::new();
    method.into().encode(0, FrameMax::DEFAULT, &mut out).unwrap();
    match Splitter::of_server().next(&mut out) {
        Ok(Some(Item::Frame(frame))) => frame,
        other => panic!("{other:?}"),
    }
}

fn said(out: &mut BytesMut) -> Vec<Method> {
    let mut splitter = Splitter::of_server();
    std::iter::from_fn(|| match splitter.next(out).unwrap()? {
        Item::Frame(frame) => Some(Method::decode(&frame.payload).unwrap()),
        Item::Protocol(header) => panic!("{header}"),
    })
    .collect()
}

fn start() -> Start {
    Start {
        version_minor: 9,
        server_properties: Table::new()
            .with("product", Value::text("RabbitMQ"))
            .with("version", Value::text("3.10.8")),
        mechanisms: Bytes::from_static(b"AMQPLAIN PLAIN"),
        locales: Bytes::from_static(b"en_US"),
        ..Start::default()
    }
}

fn tune() -> Tune {
    Tune {
        channel_max: 2047,
        frame_max: 131_072,
        heartbeat: 60,
    }
}

fn client(out: &mut BytesMut) -> Client {
    let settings = Settings::open("checker", "secret77", "/orders", "warren check").unwrap();
    let client = Client::start(settings, out);
    assert_eq!(out[..], ProtocolHeader::AMQP_0_9_1.encode());
    out.clear();
    client
}

/// The client after each of these went well.
fn client_after(methods: &[Method], out: &mut BytesMut) -> Client {
    let mut client = client(out);
    for method in methods {
        let item = Item::Frame(frame(method.clone()));
        assert_eq!(client.handle(&item, out), Ok(Progress::Going));
    }
    out.clear();
    client
}

fn handle(client: &mut Client, method: impl Into<Method>, out: &mut BytesMut) -> Result<Progress, Failure> {
    client.handle(&Item::Frame(frame(method)), out)
}

#[test]
fn a_check_logs_in_opens_the_virtual_host_and_says_goodbye() {
    let mut out = BytesMut::new();
    let mut client = client(&mut out);

    assert_eq!(handle(&mut client, start(), &mut out), Ok(Progress::Going));
    let [Method::StartOk(start_ok)] = &said(&mut out)[..] else {
        panic!("start-ok");
    };
    assert_eq!(start_ok.mechanism, "PLAIN");
    assert_eq!(start_ok.response.reveal(), "\0checker\0secret77");
    assert!(start_ok.client_properties.can("authentication_failure_close"));

    assert_eq!(handle(&mut client, tune(), &mut out), Ok(Progress::Going));
    let [Method::TuneOk(tune_ok), Method::Open(open)] = &said(&mut out)[..] else {
        panic!("tune-ok, open");
    };
    assert_eq!(
        (tune_ok.channel_max, tune_ok.frame_max, tune_ok.heartbeat),
        (1, 4096, 0)
    );
    assert_eq!(open.virtual_host, "/orders");

    assert_eq!(
        handle(&mut client, OpenOk::default(), &mut out),
        Ok(Progress::Going)
    );
    let [Method::Close(close)] = &said(&mut out)[..] else {
        panic!("close");
    };
    assert_eq!(close.reply_code, 200);

    let done = handle(&mut client, CloseOk {}, &mut out);
    assert_eq!(done, Ok(Progress::Done(start().server_properties)));
    assert!(out.is_empty());
}

#[test]
fn a_check_of_the_greeting_is_done_with_it_and_says_nothing_more() {
    let mut out = BytesMut::new();
    let mut client = Client::start(Settings::greeting(), &mut out);
    out.clear();
    let done = handle(&mut client, start(), &mut out);
    assert_eq!(done, Ok(Progress::Done(start().server_properties)));
    assert!(out.is_empty());
}

#[test]
fn a_close_is_answered_and_told_at_every_step() {
    let steps = [start().into(), tune().into(), OpenOk::default().into()];
    for count in 0..=steps.len() {
        let mut out = BytesMut::new();
        let mut client = client_after(&steps[..count], &mut out);
        let close = Close {
            reply_code: 530,
            reply_text: ShortString::from_static("NOT_ALLOWED - vhost /orders not found"),
            class_id: 10,
            method_id: 40,
        };
        let failure = Failure::Closed {
            code: 530,
            text: "NOT_ALLOWED - vhost /orders not found".to_owned(),
            method: MethodId::new(10, 40),
        };
        assert_eq!(
            handle(&mut client, close, &mut out),
            Err(failure),
            "after {count} steps"
        );
        assert_eq!(said(&mut out), [Method::CloseOk(CloseOk {})]);
    }
}

#[test]
fn a_server_that_says_something_else_is_not_well() {
    let mut out = BytesMut::new();
    let refused = Item::Protocol(ProtocolHeader::AMQP_0_9);
    assert_eq!(
        client(&mut out).handle(&refused, &mut out),
        Err(Failure::Refused(ProtocolHeader::AMQP_0_9))
    );
    assert_eq!(
        handle(&mut client(&mut out), tune(), &mut out),
        Err(Failure::Unexpected {
            got: Tune::ID,
            wanted: Start::ID
        })
    );
    let mut started = client_after(&[start().into()], &mut out);
    let secure = handle(&mut started, Secure::default(), &mut out);
    assert!(matches!(secure, Err(Failure::Unexpected { got: Secure::ID, .. })));
    let body = Frame {
        kind: FrameKind::Body,
        channel: 0,
        payload: Bytes::new(),
    };
    let body = client(&mut out).handle(&Item::Frame(body), &mut out);
    assert!(matches!(body, Err(Failure::NoMethod { .. })));
    assert!(out.is_empty());
}

#[test]
fn a_server_without_plain_and_one_with_tiny_frames_are_told_apart() {
    let mut out = BytesMut::new();
    let external = Start {
        // A name that only begins like it.
        mechanisms: Bytes::from_static(b"EXTERNAL PLAINER"),
        ..start()
    };
    assert_eq!(
        handle(&mut client(&mut out), external, &mut out),
        Err(Failure::NoPlain("EXTERNAL PLAINER".to_owned()))
    );
    let mut started = client_after(&[start().into()], &mut out);
    let tiny = Tune {
        frame_max: 100,
        ..tune()
    };
    assert_eq!(handle(&mut started, tiny, &mut out), Err(Failure::FrameMax(100)));
}

#[test]
fn heartbeats_and_alarms_do_not_disturb_a_check() {
    let mut out = BytesMut::new();
    let mut client = client_after(&[start().into(), tune().into()], &mut out);
    assert_eq!(
        client.handle(&Item::Frame(Frame::HEARTBEAT), &mut out),
        Ok(Progress::Going)
    );
    assert_eq!(
        handle(&mut client, Blocked::default(), &mut out),
        Ok(Progress::Going)
    );
    assert_eq!(
        handle(&mut client, OpenOk::default(), &mut out),
        Ok(Progress::Going)
    );
}

#[test]
fn a_limit_of_zero_is_none() {
    let tuning = |channel_max, frame_max, heartbeat| Tuning {
        channel_max,
        frame_max,
        heartbeat,
    };
    assert_eq!(
        tuning(0, 8192, 10).within(tuning(2047, 0, 60)),
        tuning(2047, 8192, 10)
    );
    assert_eq!(
        tuning(5, 9000, 90).within(tuning(9, 8192, 60)),
        tuning(5, 8192, 60)
    );
    assert_eq!(tuning(0, 0, 0).within(tuning(0, 0, 0)), tuning(0, 0, 0));
}

#[test]
fn a_bystander_learns_who_where_and_within_which_limits() {
    use Direction::{FromClient, FromServer};
    let observe = |from, method: Method| Observer.observe(from, &frame(method));
    let login = StartOk {
        client_properties: Table::new()
            .with("product", Value::text("pika"))
            .with("version", Value::text("1.3.2"))
            .with("connection_name", Value::text("billing"))
            .with(
                "capabilities",
                Value::Table(Table::new().with("connection.blocked", Value::Bool(true))),
            ),
        mechanism: ShortString::from_static("PLAIN"),
        response: plain("admin", "hunter2"),
        locale: ShortString::from_static("en_US"),
    };
    let rabbit = Identity {
        product: Some("RabbitMQ".to_owned()),
        version: Some("3.10.8".to_owned()),
        connection_name: None,
    };
    let pika = Identity {
        product: Some("pika".to_owned()),
        version: Some("1.3.2".to_owned()),
        connection_name: Some("billing".to_owned()),
    };
    assert_eq!(observe(FromServer, start().into()), Some(Fact::Server(rabbit)));
    let fact = observe(FromClient, login.into());
    assert!(!format!("{fact:?}").contains("hunter2"));
    assert_eq!(
        fact,
        Some(Fact::Client {
            user: Some("admin".to_owned()),
            mechanism: "PLAIN".to_owned(),
            identity: pika,
            wants_blocked: true,
        })
    );
    assert_eq!(
        observe(FromServer, tune().into()),
        None,
        "an offer is no agreement"
    );
    let taken = Tuning {
        heartbeat: 30,
        ..Tuning::from(&tune())
    };
    assert_eq!(
        observe(FromClient, TuneOk::from(taken).into()),
        Some(Fact::Tuned(taken))
    );
    let open = Open {
        virtual_host: ShortString::from_static("/"),
        ..Open::default()
    };
    let virtual_host = "/".to_owned();
    assert_eq!(
        observe(FromClient, open.clone().into()),
        Some(Fact::Asked { virtual_host })
    );
    assert_eq!(observe(FromServer, open.into()), None, "a server opens nothing");
    assert_eq!(observe(FromServer, OpenOk::default().into()), Some(Fact::Opened));
    let blocked = Blocked {
        reason: ShortString::from_static("low on memory"),
    };
    let reason = "low on memory".to_owned();
    assert_eq!(
        observe(FromServer, blocked.into()),
        Some(Fact::Blocked { reason })
    );
    assert_eq!(observe(FromServer, Unblocked {}.into()), Some(Fact::Unblocked));
    for by in [FromClient, FromServer] {
        assert_eq!(
            observe(by, Close::normal("bye").into()),
            Some(Fact::Closing {
                by,
                code: 200,
                text: "bye".to_owned()
            })
        );
        assert_eq!(observe(by, CloseOk {}.into()), Some(Fact::Closed));
    }
}

#[test]
fn users_are_found_in_both_mechanisms_and_not_in_what_is_neither() {
    assert_eq!(plain_user(&plain("u", "p")).as_deref(), Some("u"));
    let plain = |octets: &'static [u8]| plain_user(&Bytes::from_static(octets).into());
    assert_eq!(plain(b"as\0u\0p").as_deref(), Some("u"));
    assert_eq!(plain(b"\0u"), None);
    assert_eq!(plain(b""), None);
    assert_eq!(plain(b"\0u\0p\0q"), None);
    let amqplain = |octets: &'static [u8]| amqplain_user(&Bytes::from_static(octets).into());
    let response = b"\x05LOGINS\0\0\0\x05guest\x08PASSWORDS\0\0\0\x05guest";
    assert_eq!(amqplain(response).as_deref(), Some("guest"));
    assert_eq!(amqplain(b"\x05LOGIN"), None);
    assert_eq!(amqplain(b""), None);
}

#[test]
fn frames_of_other_channels_and_nonsense_tell_nothing() {
    let close = frame(CloseOk {});
    let other = Frame {
        channel: 1,
        ..close.clone()
    };
    let cut = Frame {
        payload: Bytes::from_static(&[0, 10, 0, 50, 1]),
        ..close
    };
    for frame in [other, cut, Frame::HEARTBEAT] {
        assert_eq!(Observer.observe(Direction::FromServer, &frame), None, "{frame:?}");
    }
}
