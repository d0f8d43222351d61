//! What hostile clients say, octet by octet: no library would.

use std::io::Read;
use std::net::TcpStream;

use bytes::Buf;
use warren_amqp::client::Login;
use warren_amqp::content::{DeliveryMode, Properties};
use warren_amqp::hot::Publish;
use warren_amqp::outbox::Outbox;
use warren_amqp::{FrameMax, Method, ShortString, Table, Value, basic, channel, exchange, queue};

/// Name, octets, and a word of the broker's answer, if there has to be one.
pub(super) type Said = (&'static str, Vec<u8>, Option<&'static str>);

const HEADER: &[u8] = b"AMQP\0\0\x09\x01";
/// What a table may have in one frame.
const FRAME: usize = 120_000;

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut octets = head(kind, channel, payload.len() as u32);
    octets.extend(payload);
    octets.push(0xce);
    octets
}

/// The head of a frame, whatever follows.
fn head(kind: u8, channel: u16, length: u32) -> Vec<u8> {
    let mut octets = vec![kind];
    octets.extend(channel.to_be_bytes());
    octets.extend(length.to_be_bytes());
    octets
}

fn methods(channel: u16, methods: impl IntoIterator<Item = Method>) -> Vec<u8> {
    let mut outbox = Outbox::new(FrameMax::DEFAULT);
    for method in methods {
        outbox.method(channel, method).unwrap();
    }
    outbox.copy_to_bytes(outbox.remaining()).to_vec()
}

/// A table or an array: its octets after its length.
fn sized(octets: &[u8]) -> Vec<u8> {
    let mut sized = (octets.len() as u32).to_be_bytes().to_vec();
    sized.extend(octets);
    sized
}

fn login() -> [Method; 3] {
    let mut login = Login::plain("guest", "guest", "/", "hostile").unwrap();
    login.wanted.heartbeat = 0;
    login.methods()
}

/// A hello that is refused.
pub(super) fn wrong_password() -> Vec<u8> {
    let login = Login::plain("guest", "guessed", "/", "hostile").unwrap();
    [HEADER, &methods(0, login.methods().into_iter().take(1))].concat()
}

/// All that a client says until its connection is open.
pub(super) fn hello() -> Vec<u8> {
    [HEADER, &methods(0, login())].concat()
}

/// The same, with channel 1 open.
pub(super) fn open() -> Vec<u8> {
    [hello(), methods(1, [channel::Open::default().into()])].concat()
}

/// Beginnings after which nothing comes.
pub(super) fn half_a_hello() -> Vec<Vec<u8>> {
    let said = |count: usize| methods(0, login().into_iter().take(count));
    let start = said(1);
    vec![
        Vec::new(),
        HEADER[..5].to_vec(),
        HEADER.to_vec(),
        [HEADER, &start[..start.len() / 2]].concat(),
        [HEADER, &start].concat(),
        [HEADER, &said(2)].concat(),
    ]
}

/// A message that nobody wants, and that has to come back.
pub(super) fn lost_message() -> Vec<u8> {
    let mut outbox = Outbox::new(FrameMax::DEFAULT);
    let publish = Publish {
        routing_key: b"nowhere",
        mandatory: true,
        ..Publish::default()
    };
    let body = vec![7; 1024].into();
    outbox
        .publish(1, &publish, &Properties::default(), &body)
        .unwrap();
    outbox.copy_to_bytes(outbox.remaining()).to_vec()
}

/// A connection with a queue that goes with it, and a consumer.
pub(super) fn queue_of_his_own() -> Vec<u8> {
    let declare = queue::Declare {
        exclusive: true,
        ..queue::Declare::default()
    };
    // Of the queue that was declared last.
    let consume = basic::Consume::default();
    [open(), methods(1, [declare.into(), consume.into()])].concat()
}

/// Reads until a consumer is there.
pub(super) fn await_consume_ok(stream: &mut TcpStream) {
    let (mut heard, mut buffer) = (Vec::<u8>::new(), [0; 4096]);
    // Class basic, method consume-ok.
    while !heard.windows(4).any(|octets| octets == [0, 60, 0, 21]) {
        let count = stream.read(&mut buffer).unwrap();
        assert_ne!(count, 0, "the broker hung up");
        heard.extend(&buffer[..count]);
    }
}

/// Frames that are not what they say.
pub(super) fn frames() -> Vec<Said> {
    // Class basic, method publish: to nobody.
    let publish = frame(1, 1, &[0, 60, 0, 40, 0, 0, 0, 1, b'x', 0]);
    let content = |size: u64| {
        let mut payload = vec![0, 60, 0, 0];
        payload.extend(size.to_be_bytes());
        payload.extend([0, 0]);
        frame(2, 1, &payload)
    };
    let crumbs = [publish.clone(), content(1), frame(3, 1, &[]).repeat(20_000)].concat();
    let garbage = (0..60_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8);
    vec![
        (
            "a frame of 4 GiB before login",
            [HEADER, &head(1, 0, u32::MAX)].concat(),
            None,
        ),
        (
            "a frame of 4 GiB",
            [open(), head(1, 1, u32::MAX)].concat(),
            Some("FRAME_ERROR"),
        ),
        (
            "a frame longer than agreed",
            [open(), frame(3, 1, &[0; 140_000])].concat(),
            Some("FRAME_ERROR"),
        ),
        (
            "a frame without its end",
            [open(), head(1, 1, 4), vec![0; 5]].concat(),
            Some("FRAME_ERROR"),
        ),
        (
            "a kind that there is not",
            [open(), frame(77, 1, b"?")].concat(),
            Some("FRAME_ERROR"),
        ),
        (
            "a message of 2^64 octets",
            [open(), publish, content(u64::MAX)].concat(),
            Some("PRECONDITION_FAILED"),
        ),
        ("a message in crumbs of nothing", [open(), crumbs].concat(), None),
        (
            "a content after none",
            [open(), frame(3, 1, b"body")].concat(),
            Some("UNEXPECTED_FRAME"),
        ),
        (
            "garbage",
            [open(), garbage.collect()].concat(),
            Some("FRAME_ERROR"),
        ),
    ]
}

/// Channels that nobody opened, and more than there may be.
pub(super) fn channels() -> Vec<Said> {
    let many = (1..=2048).flat_map(|number| methods(number, [channel::Open::default().into()]));
    let many: Vec<u8> = many.collect();
    let unknown = frame(1, 77, &[0, 60, 0, 10, 0, 0, 0, 0, 0, 1, 0]);
    vec![
        (
            "a method on a channel that is not open",
            [hello(), unknown].concat(),
            Some("CHANNEL_ERROR"),
        ),
        (
            "a channel that is open already",
            [open(), methods(1, [channel::Open::default().into()])].concat(),
            Some("CHANNEL_ERROR"),
        ),
        (
            "more channels than there may be",
            [hello(), many].concat(),
            Some("NOT_ALLOWED"),
        ),
        (
            "a content on no channel",
            [hello(), frame(3, 9, b"body")].concat(),
            Some("UNEXPECTED_FRAME"),
        ),
    ]
}

/// Tables that are deep, long or lie about their length, wherever a client may send one.
pub(super) fn tables() -> Vec<Said> {
    let mut all = Vec::new();
    for (name, table) in [
        ("tables in tables", deep(b"\x01kF")),
        (
            "arrays in arrays",
            sized(&[b"\x01kA".as_slice(), &nested(FRAME / 5, b"A")].concat()),
        ),
        ("values without end", sized(&b"\x01kV".repeat(FRAME / 3))),
        ("a table of 4 GiB", u32::MAX.to_be_bytes().to_vec()),
        ("a text of 4 GiB", sized(b"\x01kS\xff\xff\xff\xff?")),
        ("an array of 4 GiB", sized(b"\x01kA\xff\xff\xff\xff?")),
        ("a value of no kind", sized(b"\x01k?")),
    ] {
        // Before anybody knows who it is.
        let mut start = vec![0, 10, 0, 11];
        start.extend(&table);
        start.extend(b"\x05PLAIN\0\0\0\x0c\0guest\0guest\x05en_US");
        all.push((name, [HEADER, &frame(1, 0, &start)].concat(), None));
        let mut declare = b"\0\x32\0\x0a\0\0\x01q\0".to_vec();
        declare.extend(&table);
        all.push((name, [open(), frame(1, 1, &declare)].concat(), Some("_ERROR")));
        let mut content = b"\0\x3c\0\0\0\0\0\0\0\0\0\x01\x20\0".to_vec();
        content.extend(&table);
        let publish = frame(1, 1, &[0, 60, 0, 40, 0, 0, 0, 1, b'x', 0]);
        all.push((
            name,
            [open(), publish, frame(2, 1, &content)].concat(),
            Some("_ERROR"),
        ));
    }
    all
}

/// A table that holds nothing but a table, and so on, as deep as a frame allows.
fn deep(entry: &[u8]) -> Vec<u8> {
    nested(FRAME / (entry.len() + 4), entry)
}

/// Each length counts all that is inside.
fn nested(depth: usize, entry: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    for level in (0..depth).rev() {
        octets.extend(((level * (entry.len() + 4)) as u32).to_be_bytes());
        if level > 0 {
            octets.extend(entry);
        }
    }
    octets
}

/// Asks what is answered when all before it is done, whatever that was.
pub(super) fn are_you_there() -> Vec<u8> {
    methods(1, [basic::Qos::default().into()])
}

/// Reads until that is answered.
pub(super) fn await_yes(stream: &mut impl Read) {
    let answer = methods(1, [basic::QosOk {}.into()]);
    let (mut heard, mut buffer) = (Vec::<u8>::new(), [0; 65536]);
    while !heard.windows(answer.len()).any(|octets| octets == answer) {
        heard.drain(..heard.len().saturating_sub(answer.len()));
        let count = stream.read(&mut buffer).unwrap();
        assert_ne!(
            count,
            0,
            "the broker hung up: {}",
            String::from_utf8_lossy(&heard)
        );
        heard.extend(&buffer[..count]);
    }
}

fn name(text: &str) -> ShortString {
    text.try_into().unwrap()
}

/// A message for so and so.
fn message(exchange: &str, key: &str, properties: &Properties, body: &[u8]) -> Vec<u8> {
    let mut outbox = Outbox::new(FrameMax::DEFAULT);
    let publish = Publish {
        exchange: exchange.as_bytes(),
        routing_key: key.as_bytes(),
        ..Publish::default()
    };
    outbox
        .publish(1, &publish, properties, &body.to_vec().into())
        .unwrap();
    outbox.copy_to_bytes(outbox.remaining()).to_vec()
}

/// Octets said at once: more than the broker reads at once.
const AT_ONCE: usize = 70_000;

fn exchange_of(kind: &str) -> Method {
    exchange::Declare {
        exchange: name(kind),
        exchange_type: name(kind),
        ..exchange::Declare::default()
    }
    .into()
}

/// With room for one message.
fn narrow_queue(number: usize) -> Method {
    queue::Declare {
        queue: name(&format!("{number}")),
        arguments: Table::new().with("x-max-length", Value::I32(1)),
        ..queue::Declare::default()
    }
    .into()
}

fn bind(kind: &str, number: usize, key: &str, arguments: Table) -> Method {
    queue::Bind {
        queue: name(&format!("{number}")),
        exchange: name(kind),
        routing_key: name(key),
        arguments,
        ..queue::Bind::default()
    }
    .into()
}

/// What makes an exchange with a hundred queues, and messages for all of them.
pub(super) fn fan() -> (Vec<u8>, Vec<u8>) {
    let queues = (0..100).flat_map(|number| [narrow_queue(number), bind("fanout", number, "", Table::new())]);
    let said = message("fanout", "", &Properties::default(), b"");
    (
        methods(1, [exchange_of("fanout")].into_iter().chain(queues)),
        said.repeat(AT_ONCE / said.len()),
    )
}

/// What is valid and much: its name, what is said once before, and what is said again and again.
pub(super) fn floods() -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
    let repeat = |octets: Vec<u8>| octets.repeat(AT_ONCE / octets.len());
    let delete = |queue: ShortString| queue::Delete {
        queue,
        ..queue::Delete::default()
    };
    let come_and_go = |durable: bool, part: usize| {
        // Whose name the broker makes up, and an empty one means the last.
        let here = queue::Declare {
            durable,
            exclusive: !durable,
            ..queue::Declare::default()
        };
        let both = methods(1, [here.into(), delete(ShortString::default()).into()]);
        both.repeat(AT_ONCE / part / both.len())
    };
    let headers = |number: usize| {
        Table::new()
            .with("x-match", Value::text("any"))
            .with("n", Value::I64(number as i64))
    };
    let of_headers = Properties {
        headers: Some(Table::new().with("n", Value::I64(-1)).with("m", Value::I64(7))),
        ..Properties::default()
    };
    let many_headers = (0..200).map(|number| bind("headers", 0, &number.to_string(), headers(number)));
    vec![
        ("signs of life", Vec::new(), repeat(frame(8, 0, &[]))),
        (
            "empty bodies",
            Vec::new(),
            [
                frame(1, 1, &[0, 60, 0, 40, 0, 0, 0, 1, b'x', 0]),
                frame(2, 1, &[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]),
                repeat(frame(3, 1, &[])),
                frame(3, 1, b"!"),
            ]
            .concat(),
        ),
        (
            "flow",
            Vec::new(),
            repeat(methods(1, [channel::Flow { active: true }.into()])),
        ),
        (
            "tags that are not there",
            Vec::new(),
            repeat(
                [
                    methods(2, [channel::Open::default().into()]),
                    methods(
                        2,
                        [
                            basic::Ack {
                                delivery_tag: 77,
                                multiple: false,
                            }
                            .into(),
                            channel::CloseOk {}.into(),
                        ],
                    ),
                ]
                .concat(),
            ),
        ),
        (
            "channels that come and go",
            Vec::new(),
            repeat(methods(
                2,
                [channel::Open::default().into(), channel::Close::default().into()],
            )),
        ),
        ("queues that come and go", Vec::new(), come_and_go(false, 1)),
        (
            "durable queues that come and go",
            Vec::new(),
            // Each of them waits for the disk twice.
            come_and_go(true, 64),
        ),
        ("messages that come back", Vec::new(), lost_message().repeat(60)),
        (
            "messages with headers",
            methods(
                1,
                [exchange_of("headers"), narrow_queue(0)]
                    .into_iter()
                    .chain(many_headers),
            ),
            repeat(message("headers", "", &of_headers, b"")),
        ),
    ]
}

/// What has to be on disk before it is answered, as [`floods`], but little of it.
pub(super) fn writers() -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
    let queue = |name: &'static str| queue::Declare {
        queue: ShortString::from_static(name),
        durable: true,
        ..queue::Declare::default()
    };
    let persistent = Properties::of(DeliveryMode::Persistent);
    let delete = queue::Delete::default();
    vec![
        (
            "a queue on a slow disk",
            Vec::new(),
            methods(1, [queue("").into(), delete.into()]),
        ),
        (
            "messages on a slow disk",
            methods(1, [queue("kept").into()]),
            [
                message("", "kept", &persistent, &[b'x'; 1024]).repeat(20),
                methods(
                    1,
                    [queue::Purge {
                        queue: ShortString::from_static("kept"),
                        ..queue::Purge::default()
                    }
                    .into()],
                ),
            ]
            .concat(),
        ),
    ]
}

/// What proxies do not say.
pub(super) fn introductions() -> Vec<Vec<u8>> {
    const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
    let binary = |rest: &[u8], said: &[u8]| [SIGNATURE, rest, said].concat();
    vec![
        b"PROXY ".to_vec(),
        [b"PROXY TCP4 ".as_slice(), &b"1".repeat(60_000)].concat(),
        b"PROXY TCP4 1.2.3.4 5.6.7.8 99999 -1\r\n".to_vec(),
        b"PROXY UNKNOWN\r\nPROXY UNKNOWN\r\n".to_vec(),
        binary(b"\x21\x11\xff\xff", &[0xff; 65_535]),
        binary(b"\x21\x11\0\x02", b"??"),
        binary(b"\x99\x99\0\0", HEADER),
        binary(b"\x21\x21\xff\xff", b"less"),
    ]
}
