//! TLS that is ended here, that begins here, and that passes by.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConnection, StreamOwned};

use super::bench::{self, Bench, eventually};
use crate::plan::{
    BindTls, Condition, Moment, Pattern, Plan, Sample, TcpAction, TcpRule, Term, Test, Verify, testing,
};
use crate::proxy_header::{Decoded, decode};
use crate::record::{Cause, Phase, Refusal};
use crate::tls::{Files, bind_tls, server_tls, test_hello};

fn with_tls(plan: &mut Plan, files: &Files) {
    let tls: BindTls = bind_tls(&[&files.path("server.pem")]);
    bench::frontend(plan).binds[0].tls = Some(Arc::new(tls));
    bench::frontend(plan).timeouts.handshake = Some(Duration::from_millis(300));
}

fn client(files: &Files, stream: TcpStream) -> StreamOwned<ClientConnection, TcpStream> {
    let name = ServerName::try_from("a.example").unwrap();
    let connection = ClientConnection::new(Arc::new(files.client()), name).unwrap();
    StreamOwned::new(connection, stream)
}

#[test]
fn tls_is_ended_here_and_the_server_is_told_who_it_was() {
    let files = Files::new();
    let bench = Bench::new(1, |plan| {
        with_tls(plan, &files);
        bench::server(plan, 0).send_proxy = Some(crate::plan::SendProxy {
            version: crate::plan::ProxyVersion::V2,
            tls: true,
            unique_id: false,
        });
    });
    let mut client = client(&files, bench.connect());
    client.write_all(b"question").unwrap();
    let mut server = bench.accept(0);
    let mut octets = Vec::new();
    let header = loop {
        octets.extend(bench::read(&mut server, 1));
        if let Decoded::Header(header) = decode(&octets).unwrap() {
            break header;
        }
    };
    let tls = header.facts.tls.unwrap();
    assert_eq!((tls.used, tls.version.as_deref()), (true, Some("TLSv1.3")));
    assert_eq!(header.facts.authority.as_deref(), Some("a.example"));
    assert_eq!(bench::read(&mut server, 8), b"question");
    server.write_all(b"the answer").unwrap();
    let mut answer = [0; 10];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"the answer");
    // Each side closes by itself.
    client.conn.send_close_notify();
    client.flush().unwrap();
    assert_eq!(server.read(&mut [0]).unwrap(), 0);
    server.write_all(b"still here").unwrap();
    drop(server);
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"still here");
    let line = bench.line();
    assert_eq!(
        (line.bytes_in, line.bytes_out, line.termination().as_str()),
        (8, 20, "--")
    );
    assert_eq!(line.tls.as_deref(), Some("TLSv1.3"));
    bench.is_empty();
}

fn of_process(bench: &Bench, key: &str) -> u32 {
    let process = crate::stats::Process::this("1", "2");
    match crate::stats::Info::take(&bench.live, &process, std::time::Instant::now()).value(key) {
        crate::stats::Value::U32(number) => *number,
        other => panic!("{key}: {other:?}"),
    }
}

#[test]
fn connections_and_keys_of_tls_are_counted_on_both_sides_and_sessions_gone_on_with_need_none() {
    let files = Files::new();
    let bench = Bench::new(1, |plan| {
        with_tls(plan, &files);
        bench::server(plan, 0).tls = Some(Arc::new(server_tls(Verify::None)));
    });
    let (config, server) = (Arc::new(files.client()), Arc::new(files.server()));
    let name = ServerName::try_from("a.example").unwrap();
    let meet = || {
        let connection = ClientConnection::new(Arc::clone(&config), name.clone()).unwrap();
        let mut client = StreamOwned::new(connection, bench.connect());
        std::thread::scope(|scope| {
            let met = scope.spawn(|| {
                let connection = ServerConnection::new(Arc::clone(&server)).unwrap();
                let mut server = StreamOwned::new(connection, bench.accept(0));
                server.write_all(b"hello").unwrap();
                server
            });
            client.read_exact(&mut [0; 5]).unwrap();
            (client, met.join().unwrap())
        })
    };
    let first = meet();
    assert_eq!(of_process(&bench, "CurrSslConns"), 2);
    assert_eq!(of_process(&bench, "CumSslConns"), 2);
    assert_eq!(of_process(&bench, "SslFrontendMaxKeyRate"), 1);
    assert_eq!(of_process(&bench, "SslBackendMaxKeyRate"), 1);
    drop(first);
    bench.is_empty();
    eventually(|| of_process(&bench, "CurrSslConns") == 0);
    let keys = || bench.live.encryption.client_keys.most();
    let before = keys();
    let again = meet();
    assert_eq!((keys(), of_process(&bench, "CumSslConns")), (before, 4));
    drop(again);
}

#[test]
fn new_connections_of_tls_are_limited_per_second() {
    let files = Files::new();
    for configured in [true, false] {
        let bench = Bench::new(1, |plan| {
            with_tls(plan, &files);
            plan.global.maxsslrate = configured.then(|| testing::number(5));
        });
        if !configured {
            bench.live.rate_limits.handshakes.store(5, Relaxed);
        }
        assert_eq!(of_process(&bench, "SslRateLimit"), 5);
        let begin = std::time::Instant::now();
        let clients: Vec<_> = (0..11).map(|_| bench.connect()).collect();
        eventually(|| bench.live.tally.totals().connections == 11);
        // Five at once, and five more in the second that follows.
        assert!(
            begin.elapsed() > Duration::from_millis(500),
            "{:?}",
            begin.elapsed()
        );
        drop(clients);
    }
}

#[test]
fn megabytes_come_whole_through_tls_on_both_sides() {
    let files = Files::new();
    let bench = Bench::new(1, |plan| {
        with_tls(plan, &files);
        let mut tls = server_tls(Verify::Required(files.path("ca.pem")));
        tls.sni = Some("a.example".into());
        bench::server(plan, 0).tls = Some(Arc::new(tls));
    });
    let octets: Vec<u8> = (0..3_000_000_u32).map(|number| (number / 7) as u8).collect();
    let config = files.server();
    let stream = bench.connect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let connection = ServerConnection::new(Arc::new(config)).unwrap();
            let mut server = StreamOwned::new(connection, bench.accept(0));
            let mut all = Vec::new();
            server.read_to_end(&mut all).unwrap();
            assert!(all == octets);
            // More than all buffers hold, to a client that has begun to listen by then.
            server.write_all(&all).unwrap();
            server.conn.send_close_notify();
            server.flush().unwrap();
        });
        let mut client = client(&files, stream);
        client.write_all(&octets).unwrap();
        client.conn.send_close_notify();
        client.flush().unwrap();
        let mut all = Vec::new();
        client.read_to_end(&mut all).unwrap();
        assert!(all == octets);
    });
    assert_eq!(bench.line().termination(), "--");
    bench.is_empty();
}

#[test]
fn requests_share_connections_with_tls_on_both_sides_and_large_bodies_come_whole() {
    let files = Files::new();
    let bench = Bench::new(1, |plan| {
        with_tls(plan, &files);
        bench::frontend(plan).mode = crate::plan::Mode::Http;
        bench::backend(plan).mode = crate::plan::Mode::Http;
        bench::server(plan, 0).tls = Some(Arc::new(server_tls(Verify::None)));
    });
    let body: Vec<u8> = (0..1_000_000_u32).map(|number| (number / 7) as u8).collect();
    let (request, response) = (
        "GET / HTTP/1.1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n",
    );
    let config = files.server();
    let stream = bench.connect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let connection = ServerConnection::new(Arc::new(config)).unwrap();
            let mut server = StreamOwned::new(connection, bench.accept(0));
            for _ in 0..3 {
                let mut asked = vec![0; request.len()];
                server.read_exact(&mut asked).unwrap();
                assert_eq!(asked, request.as_bytes());
                server.write_all(response.as_bytes()).unwrap();
                server.write_all(&body).unwrap();
                server.flush().unwrap();
            }
        });
        let mut client = client(&files, stream);
        for _ in 0..3 {
            client.write_all(request.as_bytes()).unwrap();
            client.flush().unwrap();
            let mut answer = vec![0; response.len() + body.len()];
            client.read_exact(&mut answer).unwrap();
            assert_eq!(&answer[..response.len()], response.as_bytes());
            assert!(answer[response.len()..] == body);
        }
    });
    let line = bench.line();
    assert_eq!((line.status, line.tls.as_deref()), (Some(200), Some("TLSv1.3")));
    let totals = bench.backend().tally.totals();
    assert_eq!((totals.requests, totals.connects, totals.reuses), (3, 1, 2));
    bench.is_empty();
}

#[test]
fn who_speaks_no_tls_or_nothing_does_not_come_in() {
    let files = Files::new();
    let bench = Bench::new(1, |plan| with_tls(plan, &files));
    let mut plain = bench.connect();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(plain.read(&mut [0]).unwrap(), 0);
    assert_eq!(bench.line().refusal, Some(Refusal::TlsFailure));
    let mut silent = bench.connect();
    assert_eq!(silent.read(&mut [0]).unwrap(), 0);
    assert_eq!(bench.line().refusal, Some(Refusal::TlsTimeout));
    drop(bench.connect());
    assert_eq!(bench.line().refusal, Some(Refusal::TlsClosed));
    bench.is_empty();
}

#[test]
fn a_server_that_speaks_no_tls_has_refused() {
    let files = Files::new();
    let bench = Bench::new(1, |plan| {
        bench::server(plan, 0).tls = Some(Arc::new(server_tls(Verify::None)));
        bench::backend(plan).retries = 0;
        bench::backend(plan).timeouts.connect = Some(Duration::from_millis(300));
    });
    let _ = files;
    for answer in [b"HTTP/1.1 400 Bad Request\r\n\r\n".as_slice(), b""] {
        let mut client = bench.connect();
        let mut server = bench.accept(0);
        server.write_all(answer).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        let line = bench.line();
        let expected = if answer.is_empty() {
            Cause::ServerTimeout
        } else {
            Cause::ServerAborted
        };
        assert_eq!(
            (line.termination.cause, line.termination.phase),
            (expected, Phase::Connect)
        );
    }
    bench.is_empty();
}

#[test]
fn tls_that_passes_by_is_let_in_by_the_name_it_asks_for() {
    let sni = |name: &str| Condition {
        negated: true,
        any: vec![vec![Term {
            negated: false,
            test: Test {
                sample: Sample::Sni,
                ignore_case: true,
                patterns: vec![Pattern::Exact(name.into())],
            },
        }]],
    };
    let bench = Bench::new(1, |plan| {
        let frontend = bench::frontend(plan);
        frontend.inspect_delay = Some(Duration::from_secs(5));
        frontend.tcp_rules = vec![TcpRule {
            moment: Moment::Content,
            action: TcpAction::Reject,
            condition: sni("a.example"),
        }];
    });
    let hello = test_hello("a.example", &[]);
    let mut client = bench.connect();
    client.write_all(&hello[..50]).unwrap();
    client.write_all(&hello[50..]).unwrap();
    let mut server = bench.accept(0);
    assert_eq!(bench::read(&mut server, hello.len()), hello);
    for other in [test_hello("b.example", &[]), b"SSH-2.0-x\r\n".to_vec()] {
        let mut client = bench.connect();
        client.write_all(&other).unwrap();
        // What was not read may turn the end into a reset.
        assert!(!matches!(client.read(&mut [0]), Ok(1..)));
    }
    eventually(|| bench.frontend().tally.totals().denied_requests == 2);
}
