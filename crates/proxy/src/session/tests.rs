//! Whole sessions: workers with a plan made by hand, clients and servers on loopback.

mod amqp;
pub(crate) mod bench;
mod crowd;
mod proxy_header;
mod reload;
mod tls;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::bench::{Bench, eventually};
use crate::plan::{
    Condition, Counter, HostAddress, Moment, Pattern, Plan, Sample, SourceLimits, Stick, Table, TableKey,
    TcpAction, TcpRule, Term, Test, testing,
};
use crate::record::{Cause, Phase};
use crate::worker::{Command, End, Ending, Scope};

#[test]
fn octets_pass_both_ways_and_the_log_says_so() {
    let bench = Bench::new(1, |_| {});
    let mut client = bench.connect();
    let mut server = bench.accept(0);
    client.write_all(b"question").unwrap();
    assert_eq!(bench::read(&mut server, 8), b"question");
    server.write_all(b"the answer").unwrap();
    assert_eq!(bench::read(&mut client, 10), b"the answer");
    drop(server);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    drop(client);
    let line = bench.line();
    assert_eq!((line.bytes_in, line.bytes_out), (8, 10));
    assert_eq!(line.termination(), "--");
    assert_eq!(
        (
            line.frontend.as_str(),
            line.backend.as_str(),
            line.server.as_str()
        ),
        ("front", "back", "server1")
    );
    let totals = bench.backend().tally.totals();
    assert_eq!((totals.bytes_in, totals.bytes_out, totals.sessions), (8, 10, 1));
    bench.is_empty();
}

#[test]
fn a_direction_that_is_closed_leaves_the_other_one_open() {
    let bench = Bench::new(1, |_| {});
    for client_first in [true, false] {
        let client = bench.connect();
        let server = bench.accept(0);
        let (mut first, mut second) = if client_first {
            (client, server)
        } else {
            (server, client)
        };
        first.write_all(b"all I have").unwrap();
        first.shutdown(Shutdown::Write).unwrap();
        let mut all = Vec::new();
        second.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"all I have");
        second.write_all(b"still here").unwrap();
        assert_eq!(bench::read(&mut first, 10), b"still here");
        drop(second);
        assert_eq!(first.read(&mut [0]).unwrap(), 0);
        assert_eq!(bench.line().termination(), "--");
    }
    bench.is_empty();
}

#[test]
fn a_client_whose_servers_refuse_is_closed_after_the_retries() {
    let bench = Bench::new(1, |plan| {
        bench::backend(plan).retries = 1;
        bench::backend(plan).timeouts.connect = Some(Duration::from_millis(50));
    });
    bench.refuse(0);
    let mut client = bench.connect();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    let line = bench.line();
    assert_eq!(
        (line.termination.cause, line.termination.phase),
        (Cause::ServerAborted, Phase::Connect)
    );
    assert_eq!((line.retries, line.redispatched), (1, false));
    let totals = bench.backend().tally.totals();
    assert_eq!((totals.retries, totals.connect_errors), (1, 1));
    bench.is_empty();
}

#[test]
fn a_megabyte_comes_whole_through_small_windows() {
    let bench = Bench::new(1, |_| {});
    let client = bench.connect();
    let server = bench.accept(0);
    let octets: Vec<u8> = (0..4_000_000_u32).map(|number| (number / 7) as u8).collect();
    let send = |mut to: TcpStream, octets: Vec<u8>| {
        std::thread::spawn(move || {
            to.write_all(&octets).unwrap();
            to.shutdown(Shutdown::Write).unwrap();
        })
    };
    let senders = [
        send(client.try_clone().unwrap(), octets.clone()),
        send(server.try_clone().unwrap(), octets.clone()),
    ];
    let receivers = [client, server].map(|mut from| {
        std::thread::spawn(move || {
            let mut all = Vec::new();
            from.read_to_end(&mut all).unwrap();
            all
        })
    });
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    for receiver in receivers {
        assert!(receiver.join().unwrap() == octets);
    }
    assert_eq!(bench.line().termination(), "--");
    eventually(|| bench.live.connections.now() == 0);
}

/// What a test wants otherwise.
type Change = fn(&mut Plan);

/// A time after which something is over, long enough for a busy machine to be in time before.
const SHORT: Duration = Duration::from_millis(150);

#[test]
fn whoever_is_silent_for_too_long_is_named_by_the_log() {
    // A machine that does nothing for a second does not make anybody silent.
    const SILENT: Duration = Duration::from_millis(1500);
    let cases: [(&str, Change); 3] = [
        ("cD", |plan| bench::frontend(plan).timeouts.client = Some(SILENT)),
        ("sD", |plan| bench::backend(plan).timeouts.server = Some(SILENT)),
        ("cD", |plan| bench::backend(plan).timeouts.tunnel = Some(SILENT)),
    ];
    let all_at_a_time = cases.map(|(expected, change)| {
        std::thread::spawn(move || {
            let bench = Bench::new(1, change);
            let begun = Instant::now();
            let mut client = bench.connect();
            let mut server = bench.accept(0);
            for _ in 0..5 {
                std::thread::sleep(SILENT / 5);
                client.write_all(b"alive").unwrap();
                bench::read(&mut server, 5);
            }
            assert_eq!(client.read(&mut [0]).unwrap(), 0);
            assert_eq!(server.read(&mut [0]).unwrap(), 0);
            assert!(
                begun.elapsed() >= SILENT * 2 - Duration::from_millis(5),
                "it was not silent"
            );
            assert_eq!(bench.line().termination(), expected);
            bench.is_empty();
        })
    });
    for case in all_at_a_time {
        case.join().unwrap();
    }
}

#[test]
fn after_one_direction_was_closed_the_fin_timeouts_count() {
    for client_first in [true, false] {
        let bench = Bench::new(1, |plan| {
            bench::frontend(plan).timeouts.client = Some(Duration::from_secs(60));
            bench::backend(plan).timeouts.server = Some(Duration::from_secs(60));
            if client_first {
                bench::backend(plan).timeouts.server_fin = Some(SHORT);
            } else {
                bench::frontend(plan).timeouts.client_fin = Some(SHORT);
            }
        });
        let client = bench.connect();
        let server = bench.accept(0);
        let (first, mut second, expected) = if client_first {
            (client, server, "sD")
        } else {
            (server, client, "cD")
        };
        first.shutdown(Shutdown::Write).unwrap();
        assert_eq!(second.read(&mut [0]).unwrap(), 0);
        assert_eq!(bench.line().termination(), expected);
    }
}

#[test]
fn a_reset_ends_both_sides_at_once() {
    for (side, expected) in [("client", "CD"), ("server", "SD")] {
        let bench = Bench::new(1, |_| {});
        let mut client = bench.connect();
        let mut server = bench.accept(0);
        client.write_all(b"x").unwrap();
        bench::read(&mut server, 1);
        let (gone, mut other) = if side == "client" {
            (client, server)
        } else {
            (server, client)
        };
        socket2::SockRef::from(&gone)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(gone);
        assert!(matches!(other.read(&mut [0]), Ok(0) | Err(_)));
        assert_eq!(bench.line().termination(), expected);
        let totals = bench.backend().tally.totals();
        assert_eq!(
            (totals.client_aborts, totals.server_aborts),
            (u64::from(side == "client"), u64::from(side == "server"))
        );
    }
}

#[test]
fn a_connection_waits_for_a_slot_and_gets_the_next_one() {
    let bench = Bench::new(1, |plan| {
        bench::server(plan, 0).maxconn = Some(testing::number(1))
    });
    let first = bench.connect();
    let mut server = bench.accept(0);
    let mut second = bench.connect();
    eventually(|| bench.backend().queued.now() == 1);
    second.write_all(b"patience").unwrap();
    drop(first);
    assert_eq!(server.read(&mut [0]).unwrap(), 0);
    drop(server);
    let mut server = bench.accept(0);
    assert_eq!(bench::read(&mut server, 8), b"patience");
    drop((second, server));
    assert_eq!(
        [bench.line(), bench.line()].map(|line| line.termination()),
        ["--", "--"]
    );
    bench.is_empty();
}

#[test]
fn whoever_waits_too_long_or_leaves_gets_no_slot() {
    let bench = Bench::new(1, |plan| {
        bench::server(plan, 0).maxconn = Some(testing::number(1));
        bench::backend(plan).timeouts.queue = Some(SHORT);
    });
    let _first = bench.connect();
    let _server = bench.accept(0);
    let mut patient = bench.connect();
    assert_eq!(patient.read(&mut [0]).unwrap(), 0);
    let line = bench.line();
    assert_eq!(
        (line.termination().as_str(), line.server.as_str()),
        ("sQ", "<NOSRV>")
    );
    assert!(line.times.queue.unwrap() >= SHORT && line.times.connect.is_none());
    // Of the backend's sessions and the server's, those that are left are counted.
    assert_eq!((line.queues, line.connections), ([0, 1], [2, 2, 1, 0]));
    drop(bench.connect());
    assert_eq!(bench.line().termination(), "CQ");
    eventually(|| bench.backend().queued.now() == 0);
}

#[test]
fn with_redispatch_another_server_is_tried_at_once() {
    let bench = Bench::new(2, |plan| bench::backend(plan).redispatch = Some(-1));
    bench.refuse(0);
    let begun = Instant::now();
    let mut answered = 0;
    for _ in 0..4 {
        let mut client = bench.connect();
        drop(bench.accept(1));
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        answered += 1;
    }
    // Each would be a second.
    assert!(begun.elapsed() < Duration::from_secs(3), "there were pauses");
    let lines: Vec<_> = (0..answered).map(|_| bench.line()).collect();
    assert!(
        lines
            .iter()
            .all(|line| line.server == "server2" && line.termination() == "--"),
        "{lines:?}"
    );
    let moved = lines
        .iter()
        .filter(|line| line.redispatched && line.retries == 1)
        .count();
    // The turn after a refusal is the refusing server's again.
    assert_eq!((moved, bench.backend().tally.totals().redispatches), (4, 4));
    bench.is_empty();
}

#[test]
fn a_client_that_resets_while_we_connect_is_told_from_one_that_leaves() {
    // A listener whose queue is full lets nobody connect.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    let _fill: Vec<_> = (0..4)
        .map(|_| {
            let one = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            one.set_nonblocking(true).unwrap();
            let _under_way = one.connect(&address.into());
            one
        })
        .collect();
    let bench = Bench::new(1, |plan| {
        bench::server(plan, 0).address = HostAddress::Ip(address)
    });
    for (reset, expected) in [(true, "CD"), (false, "CC")] {
        let client = bench.connect();
        eventually(|| bench.backend().tally.totals().connects > u64::from(!reset));
        if reset {
            socket2::SockRef::from(&client)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
        }
        drop(client);
        assert_eq!(bench.line().termination(), expected);
    }
    bench.is_empty();
}

#[test]
fn servers_may_be_unix_sockets() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("server");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let bench = Bench::new(1, |plan| {
        bench::server(plan, 0).address = HostAddress::Unix(path.clone())
    });
    let mut client = bench.connect();
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(b"question").unwrap();
    let mut question = [0; 8];
    server.read_exact(&mut question).unwrap();
    assert_eq!(&question, b"question");
    server.write_all(b"answer").unwrap();
    drop(server);
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"answer");
    drop(client);
    assert_eq!(bench.line().termination(), "--");
}

/// As HAProxy names them: filled with zeros to the end.
#[test]
fn servers_may_be_sockets_in_no_directory() {
    let name = format!("{}warren-test-{}", crate::plan::ABSTRACT, std::process::id());
    let flags = rustix::net::SocketFlags::CLOEXEC;
    let unix = rustix::net::AddressFamily::UNIX;
    let stream = rustix::net::SocketType::STREAM;
    let listener = rustix::net::socket_with(unix, stream, flags, None).unwrap();
    let filled = name.strip_prefix(crate::plan::ABSTRACT).unwrap().to_owned() + &"\0".repeat(107);
    let address = rustix::net::SocketAddrUnix::new_abstract_name(&filled.as_bytes()[..107]).unwrap();
    rustix::net::bind(&listener, &address).unwrap();
    rustix::net::listen(&listener, 1).unwrap();
    let listener = std::os::unix::net::UnixListener::from(listener);
    let bench = Bench::new(1, |plan| {
        bench::server(plan, 0).address = HostAddress::Unix(name.into())
    });
    let mut client = bench.connect();
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(b"question").unwrap();
    let mut question = [0; 8];
    server.read_exact(&mut question).unwrap();
    assert_eq!(&question, b"question");
}

#[test]
fn the_same_server_is_tried_again_after_a_pause() {
    let bench = Bench::new(1, |plan| bench::backend(plan).retries = 1);
    let address = bench.server_address(0);
    bench.refuse(0);
    let begun = Instant::now();
    let mut client = bench.connect();
    eventually(|| bench.backend().tally.totals().retries == 1);
    let again = std::net::TcpListener::bind(address).unwrap();
    let (mut server, _) = again.accept().unwrap();
    assert!(begun.elapsed() > Duration::from_millis(900));
    server.write_all(b"back").unwrap();
    assert_eq!(bench::read(&mut client, 4), b"back");
}

#[test]
fn no_more_clients_come_in_than_there_is_room_for() {
    let changes: [Change; 3] = [
        |plan| bench::frontend(plan).maxconn = testing::number(1),
        |plan| plan.global.maxconn = testing::number(1),
        |plan| bench::frontend(plan).binds[0].maxconn = Some(testing::number(1)),
    ];
    for change in changes {
        let bench = Bench::new(1, change);
        let first = bench.connect();
        let server = bench.accept(0);
        let mut second = bench.connect();
        second.write_all(b"later").unwrap();
        std::thread::sleep(SHORT);
        assert_eq!(
            (bench.live.connections.now(), bench.live.connections.most()),
            (1, 1)
        );
        drop((first, server));
        let mut server = bench.accept(0);
        assert_eq!(bench::read(&mut server, 5), b"later");
        drop((second, server));
        bench.is_empty();
        assert_eq!(bench.frontend().sessions.most(), 1);
    }
}

#[test]
fn sessions_come_no_faster_than_allowed() {
    let changes: [Change; 2] = [
        |plan| bench::frontend(plan).rate_limit = Some(testing::number(5)),
        |plan| plan.global.maxconnrate = Some(testing::number(5)),
    ];
    for change in changes {
        let bench = Bench::new(1, change);
        let begun = Instant::now();
        let open: Vec<_> = (0..11).map(|_| (bench.connect(), bench.accept(0))).collect();
        // Five at once, and five more in the second that follows.
        assert!(
            begun.elapsed() > Duration::from_millis(500),
            "{:?}",
            begun.elapsed()
        );
        drop(open);
        bench.is_empty();
    }
}

#[test]
fn sessions_end_when_they_are_told_to() {
    const DEADLINE: Duration = Duration::from_secs(2);
    let bench = Bench::new(1, |_| {});
    let server = || Arc::clone(&bench.backend().servers()[0]);
    let stranger = Bench::new(1, |_| {});
    let cases = [
        (Scope::All, Ending::Now(Cause::Killed), "K-"),
        (Scope::Server(server()), Ending::Now(Cause::Down), "D-"),
        (
            Scope::Local([127, 0, 0, 1].into()),
            Ending::Reset(Cause::Local),
            "L-",
        ),
        (
            Scope::All,
            Ending::Politely {
                cause: Cause::Up,
                deadline: DEADLINE,
                rate: testing::number(100),
                within: None,
            },
            "U-",
        ),
    ];
    for (scope, how, expected) in cases {
        let others = [
            Scope::Session(u64::MAX),
            Scope::Server(Arc::clone(&stranger.backend().servers()[0])),
            Scope::Backups(bench.backend()),
            Scope::Local([127, 0, 0, 2].into()),
        ];
        let mut client = bench.connect();
        let mut server = bench.accept(0);
        for scope in others {
            bench.workers.broadcast(&Command::End(End { scope, how }));
        }
        client.write_all(b"x").unwrap();
        bench::read(&mut server, 1);
        let begun = Instant::now();
        bench.workers.broadcast(&Command::End(End { scope, how }));
        let gone = client.read(&mut [0]);
        match how {
            Ending::Reset(_) => assert_eq!(gone.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset),
            _ => assert_eq!(gone.unwrap(), 0),
        }
        let polite = matches!(how, Ending::Politely { .. });
        assert_eq!(begun.elapsed() >= DEADLINE - Duration::from_millis(5), polite);
        assert_eq!(bench.line().termination(), expected);
        bench.is_empty();
    }
}

#[test]
fn the_live_table_shows_what_a_session_is_doing() {
    let bench = Bench::new(1, |plan| {
        bench::server(plan, 0).maxconn = Some(testing::number(1))
    });
    let mut client = bench.connect();
    let mut server = bench.accept(0);
    client.write_all(b"12345").unwrap();
    bench::read(&mut server, 5);
    let _waiting = bench.connect();
    eventually(|| bench.backend().queued.now() == 1);
    let mut sessions = bench.sessions();
    sessions.sort_by_key(|session| session.id);
    let states: Vec<_> = sessions.iter().map(|session| session.state).collect();
    assert_eq!(states, ["established", "queued"]);
    assert_eq!(sessions[0].client, client.local_addr().unwrap().to_string());
    assert_eq!(sessions[0].local, bench.address.to_string());
    assert_eq!((sessions[0].bytes_in, sessions[0].bytes_out), (5, 0));
    let server = sessions[0].server.clone().unwrap();
    assert_eq!(
        (&*server.0, server.1),
        ("server1", bench.server_address(0).to_string())
    );
}

#[test]
fn rules_turn_clients_away_before_and_after_they_are_sessions() {
    let source = |network: [u8; 4]| Condition {
        any: vec![vec![Term {
            negated: false,
            test: Test {
                sample: Sample::Src,
                ignore_case: false,
                patterns: vec![Pattern::Network(network.into(), 8)],
            },
        }]],
        negated: false,
    };
    let rule = |content, network| TcpRule {
        moment: if content {
            Moment::Content
        } else {
            Moment::Connection
        },
        action: TcpAction::Reject,
        condition: source(network),
    };
    for content in [false, true] {
        let bench = Bench::new(1, |plan| {
            bench::frontend(plan).tcp_rules =
                vec![rule(content, [10, 0, 0, 0]), rule(content, [127, 0, 0, 0])];
        });
        let mut client = bench.connect();
        assert_eq!(client.read(&mut [0]).unwrap_or(0), 0);
        bench.is_empty();
        let totals = bench.frontend().tally.totals();
        assert_eq!((totals.connections, totals.sessions), (1, u64::from(content)));
        assert_eq!(
            (totals.denied_requests, totals.denied_connections),
            (u64::from(content), u64::from(!content))
        );
        if content {
            assert_eq!(bench.line().termination(), "PR");
        }
    }
}

#[test]
fn one_client_may_not_have_more_connections_than_allowed() {
    let bench = Bench::new(1, |plan| {
        bench::frontend(plan).source_limits = Some(SourceLimits {
            connections: Some(testing::number(1)),
            rate: None,
        });
        plan.tables = vec![Arc::new(Table {
            name: "front".to_owned(),
            key: TableKey::Ip,
            size: 10,
            expire: Some(Duration::from_secs(10)),
            stored: vec![(Counter::ConnCur, None)],
        })];
    });
    for _ in 0..2 {
        let first = bench.connect();
        let server = bench.accept(0);
        let mut second = bench.connect();
        assert_eq!(second.read(&mut [0]).unwrap_or(0), 0);
        drop((first, server));
        bench.is_empty();
    }
    assert_eq!(bench.frontend().tally.totals().denied_connections, 2);
}

#[test]
fn one_client_may_not_come_faster_than_allowed() {
    let bench = Bench::new(1, |plan| {
        bench::frontend(plan).source_limits = Some(SourceLimits {
            connections: None,
            rate: Some(testing::number(3)),
        });
        plan.tables = vec![Arc::new(Table {
            name: "front".to_owned(),
            key: TableKey::Ip,
            size: 10,
            expire: Some(Duration::from_secs(60)),
            stored: vec![(Counter::ConnRate, Some(Duration::from_secs(60)))],
        })];
    });
    for _ in 0..3 {
        drop((bench.connect(), bench.accept(0)));
        bench.line();
    }
    let mut fourth = bench.connect();
    assert_eq!(fourth.read(&mut [0]).unwrap_or(0), 0);
    bench.is_empty();
    assert_eq!(bench.frontend().tally.totals().denied_connections, 1);
}

#[test]
fn a_client_stays_with_its_server_if_the_backend_remembers() {
    let bench = Bench::new(2, |plan| {
        bench::backend(plan).stick = Some(Stick {
            size: 10,
            expire: None,
        });
    });
    for _ in 0..3 {
        let mut client = bench.connect();
        drop(bench.accept(0));
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        drop(client);
        assert_eq!(bench.line().server, "server1");
    }
}

#[test]
fn workers_that_are_told_to_finish_do_so_with_their_last_session() {
    let bench = Bench::new(1, |plan| plan.global.threads = 2.try_into().unwrap());
    let mut client = bench.connect();
    let mut server = bench.accept(0);
    bench.workers.broadcast(&Command::Finish);
    let workers = bench.workers.clone();
    let joined = std::thread::spawn(move || workers.join());
    client.write_all(b"still").unwrap();
    assert_eq!(bench::read(&mut server, 5), b"still");
    assert!(!joined.is_finished());
    drop((client, server));
    joined.join().unwrap();
}

/// What one side of a connection does, by a number that a test draws.
fn behave(mut stream: TcpStream, number: u64) {
    let mut octets = vec![0; 1 + (number >> 8) as usize % 50_000];
    let reset = |stream: &TcpStream| {
        let _gone = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
    };
    // Whatever the other side does may make any of these fail.
    let _done = match number % 7 {
        0 => Ok(()),
        1 => stream.write_all(&octets),
        2 => stream
            .write_all(&octets)
            .and_then(|()| stream.read_exact(&mut octets[..1])),
        3 => stream
            .read_exact(&mut octets[..1])
            .and_then(|()| stream.write_all(&octets)),
        4 => stream
            .shutdown(Shutdown::Write)
            .and_then(|()| stream.read(&mut octets).map(|_| ())),
        5 => stream.write_all(&octets).map(|()| reset(&stream)),
        _ => stream.read(&mut octets).map(|_| reset(&stream)),
    };
}

#[test]
fn whatever_clients_and_servers_do_everything_is_given_back_and_counted_once() {
    const CLIENTS: u64 = 8;
    const CONNECTIONS: u64 = 60;
    let bench = Bench::new(1, |plan| {
        plan.global.threads = 3.try_into().unwrap();
        bench::server(plan, 0).maxconn = Some(testing::number(5));
        bench::frontend(plan).timeouts.client = Some(SHORT);
        bench::backend(plan).timeouts.server = Some(SHORT);
        bench::backend(plan).timeouts.queue = Some(Duration::from_secs(5));
    });
    let draw = |number: u64| warren_balance::hash::mix(number);
    let listener = bench.listener(0);
    listener.set_nonblocking(true).unwrap();
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let bench = &bench;
                scope.spawn(move || {
                    for number in 0..CONNECTIONS {
                        behave(bench.connect(), draw(client << 32 | number));
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            let mut number = 0;
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                let Ok((stream, _)) = listener.accept() else {
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                };
                stream.set_nonblocking(false).unwrap();
                number += 1;
                scope.spawn(move || behave(bench::patient(stream), draw(1 << 60 | number)));
            }
        });
        for client in clients {
            client.join().unwrap();
        }
        bench.is_empty();
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let lines: Vec<_> = (0..CLIENTS * CONNECTIONS).map(|_| bench.line()).collect();
    let totals = bench.frontend().tally.totals();
    assert_eq!(
        (totals.connections, totals.sessions),
        (CLIENTS * CONNECTIONS, CLIENTS * CONNECTIONS)
    );
    assert_eq!(
        totals.bytes_out,
        lines.iter().map(|line| line.bytes_out).sum::<u64>()
    );
    let backend = bench.backend().tally.totals();
    assert_eq!(
        (backend.bytes_in, backend.bytes_out),
        (totals.bytes_in, totals.bytes_out)
    );
    let servers = bench.backend().servers();
    let server = servers[0].tally.totals();
    assert_eq!(
        (server.bytes_in, server.bytes_out),
        (totals.bytes_in, totals.bytes_out)
    );
    assert!(servers[0].sessions.most() <= 5);
    let workers = bench.workers.clone();
    bench.workers.broadcast(&Command::Finish);
    workers.join();
}
