use bytes::{Buf, Bytes};

use super::*;
use crate::content::{DeliveryMode, Properties};
use crate::hot::{Deliver, Publish};
use crate::outbox;
use crate::{basic, confirm};

/// A server that says what a test wants it to say.
fn said(method: impl Into<Method>) -> Vec<u8> {
    let mut outbox = Outbox::new(FrameMax::DEFAULT);
    outbox.method(0, method).unwrap();
    outbox::written(&mut outbox, usize::MAX)
}

fn start() -> Vec<u8> {
    said(Start {
        version_minor: 9,
        server_properties: Table::new().with("product", Value::text("RabbitMQ")),
        mechanisms: Bytes::from_static(b"AMQPLAIN PLAIN"),
        locales: Bytes::from_static(b"en_US"),
        ..Start::default()
    })
}

fn tune() -> Vec<u8> {
    said(Tune {
        channel_max: 100,
        frame_max: 8192,
        heartbeat: 0,
    })
}

fn client() -> Connection {
    Connection::start(Login::plain("guest", "secret77", "/", "test").unwrap())
}

fn hear(client: &mut Connection, octets: &[u8]) -> Option<Event> {
    client.input().extend_from_slice(octets);
    client.event().unwrap()
}

fn open() -> Connection {
    let mut client = client();
    assert_eq!(hear(&mut client, &[start(), tune()].concat()), None);
    let event = hear(&mut client, &said(OpenOk::default()));
    assert!(matches!(event, Some(Event::Opened { .. })), "{event:?}");
    let length = client.outbox().len();
    client.outbox().advance(length);
    client
}

/// What a server would have to say to, from after the protocol header on.
fn methods(client: &mut Connection) -> Vec<Method> {
    let octets = outbox::written(client.outbox(), usize::MAX);
    let (mut splitter, mut input) = (Splitter::of_client(), BytesMut::from(&octets[..]));
    let mut methods = Vec::new();
    while let Some(item) = splitter.next(&mut input).unwrap() {
        if let Item::Frame(frame) = item {
            methods.push(Method::decode(&frame.payload).unwrap());
        }
    }
    methods
}

#[test]
fn it_logs_in_within_the_smaller_limits_and_says_what_it_can() {
    let mut client = client();
    hear(&mut client, &[start(), tune()].concat());
    let sent = methods(&mut client);
    let [
        Method::Connection(connection::Method::StartOk(start_ok)),
        Method::Connection(connection::Method::TuneOk(tune_ok)),
        Method::Connection(connection::Method::Open(open)),
    ] = &sent[..]
    else {
        panic!("{sent:?}");
    };
    assert!(start_ok.client_properties.can("publisher_confirms"));
    assert_eq!(start_ok.response.reveal(), "\0guest\0secret77");
    assert_eq!(
        (tune_ok.channel_max, tune_ok.frame_max, tune_ok.heartbeat),
        (100, 8192, 60)
    );
    assert_eq!(open.virtual_host, "/");
    assert!(!client.is_open());
    let Some(Event::Opened { server, tuning }) = hear(&mut client, &said(OpenOk::default())) else {
        panic!("open");
    };
    assert_eq!(server.text("product").as_deref(), Some("RabbitMQ"));
    assert_eq!(tuning.frame_max, 8192);
    assert!(client.is_open());
}

#[test]
fn where_nobody_limits_frames_they_have_a_limit() {
    let mut login = Login::plain("guest", "secret77", "/", "test").unwrap();
    login.wanted.frame_max = 0;
    let mut client = Connection::start(login);
    hear(&mut client, &[start(), said(Tune::default())].concat());
    let said_so = methods(&mut client).into_iter().any(|method| {
        matches!(method, Method::Connection(connection::Method::TuneOk(tune_ok)) if tune_ok.frame_max == 131_072)
    });
    assert!(said_so);
}

#[test]
fn a_login_that_is_refused_says_why_and_owes_an_answer() {
    let mut client = client();
    hear(&mut client, &start());
    let close = connection::Close {
        reply_code: 403,
        reply_text: ShortString::from_static("ACCESS_REFUSED - Login was refused"),
        ..connection::Close::default()
    };
    client.input().extend_from_slice(&said(close));
    let error = client.event().unwrap_err();
    assert!(
        matches!(error, ClientError::Login(Failure::Closed { code: 403, .. })),
        "{error}"
    );
    assert_eq!(methods(&mut client).pop(), Some(CloseOk {}.into()));
}

#[test]
fn a_mechanism_that_is_not_offered_is_not_tried() {
    let login = Login {
        mechanism: ShortString::from_static("EXTERNAL"),
        ..Login::plain("", "", "/", "test").unwrap()
    };
    let mut client = Connection::start(login);
    client.input().extend_from_slice(&start());
    let error = client.event().unwrap_err().to_string();
    assert!(
        error.contains("AMQPLAIN PLAIN") && error.contains("EXTERNAL"),
        "{error}"
    );
}

#[test]
fn messages_come_whole_however_they_are_read() {
    let mut server = Outbox::new(FrameMax::new(8192).unwrap());
    let publish = Publish::default();
    let header = Properties::of(DeliveryMode::Persistent).header(20_000);
    let header = crate::content::Header::read(&header).unwrap();
    let message = Message::new(&publish, header, &[Bytes::from(vec![7; 20_000])]);
    let deliver = Deliver {
        consumer_tag: b"tag",
        delivery_tag: 3,
        ..Deliver::default()
    };
    server.message(5, &deliver, &message).unwrap();
    server.ack(5, 9, true);
    server.heartbeat();
    let octets = outbox::written(&mut server, usize::MAX);
    for read in [1, 1000, octets.len()] {
        let mut client = open();
        let events: Vec<Event> = octets
            .chunks(read)
            .flat_map(|octets| {
                client.input().extend_from_slice(octets);
                std::iter::from_fn(|| client.event().unwrap()).collect::<Vec<_>>()
            })
            .collect();
        let [
            Event::Message { channel: 5, message },
            Event::Method { channel: 5, method },
            Event::Heartbeat,
        ] = &events[..]
        else {
            panic!("{events:?}");
        };
        assert_eq!(message.deliver(), Some(deliver));
        assert_eq!(message.whole_body(), vec![7; 20_000]);
        let ack = basic::Ack {
            delivery_tag: 9,
            multiple: true,
        };
        assert_eq!(*method, ack.into());
    }
}

#[test]
fn a_channel_that_the_server_closes_is_answered_and_can_be_used_again() {
    let mut client = open();
    // In the middle of a message.
    let mut half = Outbox::new(FrameMax::DEFAULT);
    half.method(1, basic::GetOk::default()).unwrap();
    half.method(2, channel::Close::normal("")).unwrap();
    let half = outbox::written(&mut half, usize::MAX);
    assert!(matches!(
        hear(&mut client, &half),
        Some(Event::Method { channel: 2, .. })
    ));
    assert_eq!(methods_after(&mut client), [Method::from(channel::CloseOk {})]);
    client.outbox().method(2, confirm::Select::default()).unwrap();
    assert_eq!(client.outbox().len(), 13);
}

/// As [`methods`], of an open connection.
fn methods_after(client: &mut Connection) -> Vec<Method> {
    let octets = outbox::written(client.outbox(), usize::MAX);
    let mut chunk = Splitter::of_server()
        .chunk(&mut BytesMut::from(&octets[..]))
        .unwrap()
        .unwrap();
    let mut methods = Vec::new();
    while let Some(place) = chunk.next() {
        methods.push(chunk.method(place).unwrap());
    }
    methods
}

#[test]
fn the_end_of_the_connection_is_answered() {
    let mut client = open();
    let close = connection::Close::normal("bye");
    assert!(matches!(
        hear(&mut client, &said(close)),
        Some(Event::Method { channel: 0, .. })
    ));
    assert_eq!(methods_after(&mut client), [Method::from(CloseOk {})]);
}

#[test]
fn a_server_that_speaks_something_else_is_named() {
    let mut client = client();
    client.input().extend_from_slice(b"AMQP\0\x01\0\0");
    let error = client.event().unwrap_err();
    assert!(matches!(error, ClientError::Login(Failure::Refused(_))));
    let mut client = open();
    client.input().extend_from_slice(b"HTTP/1.1 400 Bad Request\r\n");
    assert!(matches!(client.event(), Err(ClientError::Frame(_))));
}
