//! Sessions of mode amqp, with clients and brokers that say what the real ones do.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::sync::mpsc;
use warren_amqp::connection::{Close, CloseOk, Method, Open, StartOk};
use warren_amqp::frame::{Frame, Item, Splitter};
use warren_amqp::handshake::Direction;
use warren_amqp::protocol::ProtocolHeader;
use warren_amqp::{FrameKind, FrameMax, MethodId, Table, Value};
use warren_balance::Admin;
use warren_balance::health::Input;

use super::bench::{self, Bench, eventually};
use crate::plan::{HostAddress, Mode, Plan, Rebalance};
use crate::rebalance;
use crate::record::Cause;
use crate::session::amqp::testing::{frame, handshake, method, other, short};
use crate::worker::{Command, End, Ending, Move, Scope};

fn amqp(plan: &mut Plan) {
    bench::frontend(plan).mode = Mode::Amqp;
    bench::backend(plan).mode = Mode::Amqp;
}

/// One connection through the proxy, both of its ends ours.
struct Connection {
    client: TcpStream,
    server: TcpStream,
}

impl Connection {
    fn open(bench: &Bench, server: usize, heartbeat: u16) -> Self {
        let mut client = bench.connect();
        let mut said = false;
        let mut server = {
            let mut steps = handshake(heartbeat).into_iter();
            let (_, header) = steps.next().unwrap();
            client.write_all(&header).unwrap();
            bench.accept(server)
        };
        for (from, octets) in handshake(heartbeat) {
            let (to, from) = match from {
                Direction::FromClient => (&mut server, &mut client),
                Direction::FromServer => (&mut client, &mut server),
            };
            if std::mem::replace(&mut said, true) {
                from.write_all(&octets).unwrap();
            }
            assert_eq!(bench::read(to, octets.len()), octets);
        }
        Self { client, server }
    }
}

/// The next method of class connection; what comes before is skipped.
fn next_method(from: &mut TcpStream) -> Method {
    let (mut splitter, mut read) = (Splitter::of_server(), BytesMut::new());
    splitter.set_frame_max(FrameMax::DEFAULT);
    loop {
        let mut octet = [0];
        from.read_exact(&mut octet).expect("a frame");
        read.extend_from_slice(&octet);
        let item = splitter.next(&mut read).expect("a frame");
        if let Some(Item::Frame(Frame {
            kind: FrameKind::Method,
            channel: 0,
            payload,
        })) = item
        {
            return Method::decode(&payload).unwrap();
        }
    }
}

fn closed(from: &mut TcpStream) -> Close {
    match next_method(from) {
        Method::Close(close) => close,
        other => panic!("{other:?}"),
    }
}

fn is_at_end(stream: &mut TcpStream) {
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

fn politely(bench: &Bench, scope: Scope, deadline: Duration, rate: u32) {
    let how = Ending::Politely {
        cause: Cause::Killed,
        deadline,
        rate: NonZeroU32::new(rate).unwrap(),
        within: None,
    };
    bench.workers.broadcast(&Command::End(End { scope, how }));
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_session_is_known_by_who_talks_in_it() {
    let bench = Bench::new(1, amqp);
    let mut connection = Connection::open(&bench, 0, 60);
    connection.client.write_all(&other(1, [20, 10], b"\0")).unwrap();
    bench::read(&mut connection.server, 13);
    let [row] = &bench.sessions()[..] else {
        panic!("one session");
    };
    let facts = row.amqp.as_ref().unwrap();
    assert_eq!(
        (
            facts.user.as_deref(),
            facts.vhost.as_deref(),
            facts.heartbeat,
            facts.channels
        ),
        (Some("alice"), Some("/shop"), Some(60), 1)
    );
    assert_eq!(row.state, "established");
    assert_eq!(row.server.as_ref().unwrap().0.as_ref(), "server1");
    drop(connection);
    let line = bench.line();
    assert_eq!(line.amqp.unwrap().connection_name.as_deref(), Some("orders"));
    bench.is_empty();
}

#[test]
fn a_connection_that_has_to_end_is_closed_in_its_own_language_on_both_sides() {
    let bench = Bench::new(1, amqp);
    let Connection {
        mut client,
        mut server,
    } = Connection::open(&bench, 0, 60);
    // The server is within a frame: nothing can be said yet.
    let body = frame(FrameKind::Body, 1, &[7; 1000]);
    server.write_all(&body[..600]).unwrap();
    assert_eq!(bench::read(&mut client, 600), &body[..600]);
    politely(&bench, Scope::All, LONG, 1000);
    eventually(|| bench.sessions()[0].state == "closing");
    server.write_all(&body[600..]).unwrap();
    server.write_all(&body).unwrap();
    assert_eq!(bench::read(&mut client, body.len() - 600), &body[600..]);
    let told = closed(&mut client);
    assert_eq!(told.reply_code, 320);
    // What the client has said before it knew is for the server.
    let publish = other(1, [60, 40], b"\0\0\0\x01q\0");
    client
        .write_all(&[&publish[..], &method(CloseOk {})].concat())
        .unwrap();
    assert_eq!(bench::read(&mut server, publish.len()), publish);
    assert_eq!(closed(&mut server).reply_code, 200);
    is_at_end(&mut client);
    server.write_all(&method(CloseOk {})).unwrap();
    is_at_end(&mut server);
    let line = bench.line();
    assert_eq!(line.termination(), "K-");
    assert_eq!(line.amqp.unwrap().close.unwrap().0, "proxy");
    bench.is_empty();
}

#[test]
fn a_client_that_does_not_answer_is_cut_when_its_time_is_over() {
    let bench = Bench::new(1, amqp);
    let mut connection = Connection::open(&bench, 0, 60);
    let begun = Instant::now();
    politely(&bench, Scope::All, Duration::from_millis(100), 1000);
    assert_eq!(closed(&mut connection.client).reply_code, 320);
    is_at_end(&mut connection.client);
    assert!(begun.elapsed() >= Duration::from_millis(95));
    is_at_end(&mut connection.server);
    assert_eq!(bench.line().termination(), "K-");
    bench.is_empty();
}

#[test]
fn connections_end_at_the_pace_that_was_said() {
    let bench = Bench::new(1, amqp);
    let mut connections: Vec<Connection> = (0..20).map(|_| Connection::open(&bench, 0, 60)).collect();
    let begun = Instant::now();
    politely(&bench, Scope::All, LONG, 100);
    for Connection { client, .. } in &mut connections {
        assert_eq!(closed(client).reply_code, 320);
    }
    assert!(
        begun.elapsed() >= Duration::from_millis(180),
        "{:?}",
        begun.elapsed()
    );
    for Connection { client, server } in &mut connections {
        client.write_all(&method(CloseOk {})).unwrap();
        closed(server);
        server.write_all(&method(CloseOk {})).unwrap();
        is_at_end(client);
    }
    bench.is_empty();
}

#[test]
fn a_client_whose_server_dies_is_told_to_come_again() {
    let bench = Bench::new(1, amqp);
    for reset in [false, true] {
        let Connection { mut client, server } = Connection::open(&bench, 0, 60);
        if reset {
            rustix::net::sockopt::set_socket_linger(&server, Some(Duration::ZERO)).unwrap();
        }
        drop(server);
        let told = closed(&mut client);
        assert_eq!(
            (told.reply_code, told.reply_text.to_text().as_str()),
            (320, "CONNECTION_FORCED - the server is gone, connect again")
        );
        // It had more to say, and answers.
        client.write_all(&frame(FrameKind::Body, 1, &[1; 5000])).unwrap();
        client.write_all(&method(CloseOk {})).unwrap();
        is_at_end(&mut client);
        assert_eq!(bench.line().termination(), "SD", "reset: {reset}");
        bench.is_empty();
    }
}

#[test]
fn a_client_whose_server_falls_silent_is_told_to_come_again() {
    let bench = Bench::new(1, |plan| {
        amqp(plan);
        bench::backend(plan).timeouts.server = Some(Duration::from_millis(50));
    });
    // Heartbeats every second: three may fail.
    let mut connection = Connection::open(&bench, 0, 1);
    let begun = Instant::now();
    assert_eq!(closed(&mut connection.client).reply_code, 320);
    assert!(begun.elapsed() >= Duration::from_millis(2900));
    connection.client.write_all(&method(CloseOk {})).unwrap();
    is_at_end(&mut connection.client);
    assert_eq!(bench.line().termination(), "sD");
    bench.is_empty();
}

#[test]
fn silence_ends_nothing_where_no_heartbeat_was_agreed() {
    let bench = Bench::new(1, |plan| {
        amqp(plan);
        bench::backend(plan).timeouts.server = Some(Duration::from_millis(300));
        bench::frontend(plan).timeouts.client = Some(Duration::from_millis(300));
    });
    let mut idle = Connection::open(&bench, 0, 0);
    // A connection that is cut shows that the time is over for the other one, too.
    let mut cut = bench.connect();
    cut.write_all(&ProtocolHeader::AMQP_0_9_1.encode()).unwrap();
    let _server = bench.accept(0);
    is_at_end(&mut cut);
    assert_eq!(bench.line().termination(), "cD");
    idle.client
        .write_all(&frame(FrameKind::Heartbeat, 0, b""))
        .unwrap();
    assert_eq!(bench::read(&mut idle.server, 8).len(), 8);
}

#[test]
fn a_server_that_leaves_without_a_word_is_replaced_by_another() {
    let bench = Bench::new(2, |plan| {
        amqp(plan);
        bench::backend(plan).redispatch = Some(1);
    });
    let header = ProtocolHeader::AMQP_0_9_1.encode();
    let mut client = bench.connect();
    client.write_all(&header).unwrap();
    let mut first = bench.accept(0);
    assert_eq!(bench::read(&mut first, 8), header);
    drop(first);
    let mut second = bench.accept(1);
    assert_eq!(bench::read(&mut second, 8), header);
    let (_, start) = handshake(0).remove(1);
    second.write_all(&start).unwrap();
    assert_eq!(bench::read(&mut client, start.len()), start);
    // This one has said something: there is no third attempt.
    drop(second);
    is_at_end(&mut client);
    drop(client);
    let line = bench.line();
    assert_eq!(
        (line.server.as_str(), line.retries, line.redispatched),
        ("server2", 1, true)
    );
    bench.is_empty();
}

#[test]
fn only_connections_that_lose_nothing_are_moved_and_the_oldest_first() {
    let bench = Bench::new(1, amqp);
    let consume = other(1, [60, 20], b"\0\0\x01q\x01t\0\0\0\0\0");
    let deliver = other(1, [60, 60], b"\x01t\0\0\0\0\0\0\0\x01\0\0\x01q");
    let mut busy = Connection::open(&bench, 0, 60);
    for octets in [other(1, [20, 10], b"\0"), consume] {
        busy.client.write_all(&octets).unwrap();
        bench::read(&mut busy.server, octets.len());
    }
    busy.server.write_all(&deliver).unwrap();
    bench::read(&mut busy.client, deliver.len());
    let mut old = Connection::open(&bench, 0, 60);
    std::thread::sleep(Duration::from_millis(5));
    let mut young = Connection::open(&bench, 0, 60);
    let move_away = |count, silence| {
        let (answer, mut heard) = mpsc::channel(1);
        let scope = Scope::Server(Arc::clone(&bench.backend().servers()[0]));
        bench.workers.broadcast(&Command::Move(Move {
            scope,
            count,
            silence,
            cause: Cause::Up,
            deadline: LONG,
            answer,
        }));
        heard.blocking_recv().unwrap().begun
    };
    assert_eq!(move_away(9, LONG), 0, "nobody has been silent for so long");
    assert_eq!(move_away(1, Duration::ZERO), 1);
    assert_eq!(closed(&mut old.client).reply_code, 320);
    assert_eq!(move_away(9, Duration::ZERO), 1);
    let told = closed(&mut young.client).reply_text.to_text();
    assert_eq!(
        told,
        "CONNECTION_FORCED - another server is up again, connect again"
    );
    assert_eq!(move_away(9, Duration::ZERO), 0);
    let states: Vec<&str> = bench.sessions().iter().map(|row| row.state).collect();
    assert_eq!(states.iter().filter(|state| **state == "established").count(), 1);
}

#[test]
fn connections_that_fled_come_back_when_their_server_does_and_no_faster_than_allowed() {
    let bench = Bench::new(2, |plan| {
        amqp(plan);
        bench::backend(plan).balance.algorithm = warren_balance::Algorithm::LeastConn;
        bench::server(plan, 1).disabled = true;
    });
    let mut connections: Vec<Connection> = (0..10).map(|_| Connection::open(&bench, 0, 60)).collect();
    let (backend, back) = (bench.backend(), bench.backend().servers()[1].clone());
    let rules = Rebalance {
        after: Duration::ZERO,
        rate: NonZeroU32::new(3).unwrap(),
        idle: Duration::ZERO,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let round = || {
        let now = bench.live.time(Instant::now());
        runtime.block_on(rebalance::round(&backend, &rules, now, &bench.workers, 0))
    };
    assert_eq!(round(), 0, "the server is not back yet");
    let now = bench.live.time(Instant::now());
    back.operational
        .lock()
        .health
        .handle(now, &Input::Admin(Admin::Ready));
    backend.refresh(now);
    assert_eq!(round(), 3);
    assert_eq!(round(), 2, "those that are leaving count already");
    assert_eq!(round(), 0);
    for Connection { client, server } in &mut connections[..5] {
        assert_eq!(closed(client).reply_code, 320);
        client.write_all(&method(CloseOk {})).unwrap();
        closed(server);
        server.write_all(&method(CloseOk {})).unwrap();
        is_at_end(client);
        assert_eq!(bench.line().termination(), "U-");
    }
    let _moved: Vec<Connection> = (0..5).map(|_| Connection::open(&bench, 1, 60)).collect();
    assert_eq!(round(), 0);
}

/// What a client says to a real broker; what the broker says is read up to the method that is waited for.
struct Client {
    stream: TcpStream,
    splitter: Splitter,
    read: BytesMut,
}

impl Client {
    fn open(bench: &Bench) -> Self {
        let mut splitter = Splitter::of_server();
        splitter.set_frame_max(FrameMax::DEFAULT);
        let mut client = Self {
            stream: bench.connect(),
            splitter,
            read: BytesMut::new(),
        };
        let said: Vec<Vec<u8>> = handshake(60)
            .into_iter()
            .filter(|(from, _)| *from == Direction::FromClient)
            .map(|(_, octets)| octets)
            .collect();
        client.say(&said[0]);
        client.wait(10, 10);
        client.say(&method(StartOk {
            client_properties: Table::new().with("product", Value::text("test")),
            mechanism: short("PLAIN"),
            response: warren_amqp::handshake::plain("guest", "guest"),
            locale: short("en_US"),
        }));
        client.wait(10, 30);
        client.say(&said[2]);
        client.say(&method(Open {
            virtual_host: short("/"),
            ..Open::default()
        }));
        client.wait(10, 41);
        client.say(&other(1, [20, 10], b"\0"));
        client.wait(20, 11);
        client
    }

    fn say(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).unwrap();
    }

    /// Reads until this method has come.
    fn wait(&mut self, class: u16, number: u16) -> Frame {
        loop {
            while let Some(item) = self.splitter.next(&mut self.read).expect("whole frames") {
                if let Item::Frame(frame) = item
                    && frame.method() == Some(MethodId::new(class, number))
                {
                    return frame;
                }
            }
            let mut chunk = [0; 4096];
            let count = self.stream.read(&mut chunk).unwrap();
            assert!(count > 0, "closed while waiting for {class}.{number}");
            self.read.extend_from_slice(&chunk[..count]);
        }
    }

    fn publish(&mut self, queue: &str, octets: &[u8]) {
        let mut arguments = vec![0, 0, 0, queue.len() as u8];
        arguments.extend(queue.as_bytes());
        arguments.push(0);
        let size = octets.len() as u64;
        let head = [&[0, 60, 0, 0][..], &size.to_be_bytes(), &[0, 0]].concat();
        self.say(&other(1, [60, 40], &arguments));
        self.say(&frame(FrameKind::Header, 1, &head));
        self.say(&frame(FrameKind::Body, 1, octets));
    }
}

#[test]
fn a_real_broker_is_understood_and_sees_connections_end_as_they_should() {
    let Some(broker) = crate::check::rabbitmq::Broker::start() else {
        return;
    };
    let bench = Bench::new(1, |plan| {
        amqp(plan);
        bench::server(plan, 0).address = HostAddress::Ip(broker.amqp);
    });
    let quiet = broker.logged().len();

    let mut client = Client::open(&bench);
    client.say(&other(1, [50, 10], b"\0\0\x01q\x02\0\0\0\0"));
    client.wait(50, 11);
    client.say(&other(1, [60, 20], b"\0\0\x01q\x01t\0\0\0\0\0"));
    client.wait(60, 21);
    for _ in 0..3 {
        client.publish("q", &[7; 5000]);
    }
    client.wait(60, 60);
    client.wait(60, 60);
    client.wait(60, 60);
    client.say(&other(1, [60, 80], b"\0\0\0\0\0\0\0\x02\x01"));
    client.say(&frame(FrameKind::Heartbeat, 0, b""));
    let facts = |bench: &Bench| bench.sessions()[0].amqp.clone().unwrap();
    eventually(|| facts(&bench).unsettled == 1);
    let known = facts(&bench);
    assert_eq!(
        (known.user.as_deref(), known.vhost.as_deref(), known.channels),
        (Some("guest"), Some("/"), 1)
    );
    assert!(
        known.broker.as_ref().unwrap().starts_with("RabbitMQ 3."),
        "{known:?}"
    );
    assert_eq!((known.published, known.delivered), (3, 3));

    // It publishes while it is told to go, and answers in the middle of it.
    politely(&bench, Scope::All, LONG, 1000);
    let close = client.wait(10, 50);
    assert!(close.payload.starts_with(b"\0\x0a\0\x32\x01\x40"), "320");
    client.publish("q", &[8; 5000]);
    client.say(&method(CloseOk {}));
    is_at_end(&mut client.stream);
    assert_eq!(bench.line().termination(), "K-");

    // Everything it had said was taken: what it did not acknowledge, and what it published last.
    let mut client = Client::open(&bench);
    client.say(&other(1, [60, 70], b"\0\0\x01q\x01"));
    client.wait(60, 71);
    client.say(&other(1, [60, 70], b"\0\0\x01q\x01"));
    client.wait(60, 71);
    client.say(&other(1, [60, 70], b"\0\0\x01q\x01"));
    client.wait(60, 72);
    assert_eq!(facts(&bench).unsettled, 0, "nobody settles these");
    let heard = broker.logged().split_off(quiet);
    assert!(!heard.contains("unexpectedly"), "{heard}");
    assert!(!heard.contains("[error]"), "{heard}");

    // A broker that stops says so itself.
    broker.tell("rabbitmqctl", &["stop_app"]);
    client.wait(10, 50);
    client.say(&method(CloseOk {}));
    is_at_end(&mut client.stream);
    drop(client);
    let (by, code, _) = bench.line().amqp.unwrap().close.unwrap();
    assert_eq!((by.as_str(), code), ("broker", 320));
    bench.is_empty();
}

#[test]
fn a_client_that_does_not_read_shows_by_what_the_kernel_still_has_for_it() {
    let bench = Bench::new(1, amqp);
    let Connection { client, mut server } = Connection::open(&bench, 0, 60);
    eventually(|| bench.sessions()[0].unsent == 0);
    server
        .set_write_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let body = frame(FrameKind::Body, 1, &[7; 100_000]);
    // Until nothing goes any more.
    let mut written = 0;
    while let Ok(count) = server.write(&body[written % body.len()..]) {
        written += count;
    }
    let unsent = bench.sessions()[0].unsent;
    assert!(unsent > 200_000, "{unsent} of {written}");
    drop(client);
    bench.is_empty();
}
