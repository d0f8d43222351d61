//! Whole http sessions on loopback: polite clients, hostile ones, and servers of all kinds.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::logs::Expression;
use crate::plan::{
    Answer, Condition, Edit, ErrorPage, ForwardFor, HttpAction, HttpRule, LogFormat, Mode, PageContent,
    Pattern, Plan, Redirect, RedirectOptions, Replace, Sample, StatsPage, Template, Term, Test,
};
use crate::session::tests::bench::{self, Bench, eventually, read};

fn template(text: &str) -> Template {
    std::sync::Arc::new(crate::logs::Format::compile_template(text).unwrap())
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn http(servers: usize, change: impl FnOnce(&mut Plan)) -> Bench {
    Bench::new(servers, |plan| {
        bench::frontend(plan).mode = Mode::Http;
        bench::backend(plan).mode = Mode::Http;
        change(plan);
    })
}

fn say(to: &mut TcpStream, text: &str) {
    to.write_all(text.as_bytes()).unwrap();
}

/// The next octets have to be these.
#[track_caller]
fn hear(from: &mut TcpStream, text: &str) {
    let mut octets = vec![0; text.len()];
    let mut got = 0;
    while got < octets.len() {
        match from.read(&mut octets[got..]) {
            Ok(0) => break,
            Ok(count) => got += count,
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&octets[..got])),
        }
        if !text.as_bytes().starts_with(&octets[..got]) {
            break;
        }
    }
    assert_eq!(String::from_utf8_lossy(&octets[..got]), text);
}

/// What one says reaches the other unchanged.
#[track_caller]
fn pass(from: &mut TcpStream, to: &mut TcpStream, text: &str) {
    say(from, text);
    hear(to, text);
}

/// The first server's end of a new connection, on which the client's request has come as it was.
#[track_caller]
fn asked(bench: &Bench, client: &mut TcpStream, request: &str) -> TcpStream {
    say(client, request);
    let mut server = bench.accept(0);
    hear(&mut server, request);
    server
}

/// A client that has been served, and the first server's end of the connection that is now idle.
#[track_caller]
fn served(bench: &Bench) -> (TcpStream, TcpStream) {
    let mut client = bench.connect();
    let mut server = asked(bench, &mut client, "GET /1 HTTP/1.1\r\n\r\n");
    pass(&mut server, &mut client, OK);
    (client, server)
}

/// A head, to its empty line.
#[track_caller]
fn head(from: &mut TcpStream) -> String {
    let mut octets = Vec::new();
    while !octets.ends_with(b"\r\n\r\n") {
        let mut one = [0];
        assert_eq!(
            from.read(&mut one).unwrap(),
            1,
            "{:?}",
            String::from_utf8_lossy(&octets)
        );
        octets.push(one[0]);
    }
    String::from_utf8(octets).unwrap()
}

/// Nothing but the end comes.
#[track_caller]
fn ends(from: &mut TcpStream) {
    let mut rest = Vec::new();
    from.read_to_end(&mut rest).unwrap();
    assert_eq!(String::from_utf8_lossy(&rest), "");
}

/// Everything until the end.
fn all(from: &mut TcpStream) -> String {
    let mut rest = Vec::new();
    from.read_to_end(&mut rest).unwrap();
    String::from_utf8_lossy(&rest).into_owned()
}

fn when(sample: Sample, pattern: Pattern) -> Condition {
    let test = Test {
        sample,
        ignore_case: false,
        patterns: vec![pattern],
    };
    Condition {
        any: vec![vec![Term { negated: false, test }]],
        negated: false,
    }
}

fn on_path(path: &str, action: HttpAction) -> HttpRule {
    HttpRule {
        action,
        condition: when(Sample::Path, Pattern::Exact(path.into())),
    }
}

#[test]
fn requests_of_one_client_go_on_as_they_came_over_one_connection() {
    let bench = http(1, |_| {});
    let mut client = bench.connect();
    let request = "GET /a?b HTTP/1.1\r\nHost: x\r\nX-Odd:   spaced  \r\n\r\n";
    let mut server = asked(&bench, &mut client, request);
    pass(&mut server, &mut client, OK);
    let line = bench.line();
    assert_eq!(
        (line.request.as_str(), line.status),
        ("GET /a?b HTTP/1.1", Some(200))
    );
    assert_eq!(
        (line.termination(), line.server.as_str()),
        ("--".into(), "server1")
    );
    assert_eq!(
        (line.bytes_in, line.bytes_out),
        (request.len() as u64, OK.len() as u64)
    );
    for _ in 0..3 {
        pass(
            &mut client,
            &mut server,
            "POST /c HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
        );
        pass(&mut server, &mut client, OK);
        bench.line();
    }
    let totals = bench.frontend().tally.totals();
    assert_eq!((totals.requests, totals.responses_2xx), (4, 4));
    let totals = bench.backend().tally.totals();
    assert_eq!((totals.requests, totals.connects, totals.reuses), (4, 1, 3));
    eventually(|| bench.backend().sessions.now() == 0);
    drop(client);
    bench.is_empty();
}

#[test]
fn an_idle_connection_serves_another_client() {
    let bench = http(1, |_| {});
    let (mut first, mut server) = served(&bench);
    let mut second = bench.connect();
    pass(&mut second, &mut server, "GET /2 HTTP/1.1\r\n\r\n");
    pass(&mut server, &mut second, OK);
    // And back again.
    pass(&mut first, &mut server, "GET /3 HTTP/1.1\r\n\r\n");
    pass(&mut server, &mut first, OK);
}

#[test]
fn the_first_request_of_a_client_that_cannot_be_sent_twice_gets_a_connection_of_its_own() {
    let bench = http(1, |_| {});
    let (_first, _server) = served(&bench);
    let mut second = bench.connect();
    let _other = asked(
        &bench,
        &mut second,
        "POST /2 HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    );
}

#[test]
fn a_request_is_sent_again_when_an_idle_connection_turns_out_to_be_closing() {
    let bench = http(1, |_| {});
    let (mut client, mut server) = served(&bench);
    pass(&mut client, &mut server, "GET /2 HTTP/1.1\r\n\r\n");
    // It closes without a word, and has not been idle for long enough to be given up.
    drop(server);
    let mut server = bench.accept(0);
    hear(&mut server, "GET /2 HTTP/1.1\r\n\r\n");
    pass(&mut server, &mut client, OK);
    bench.line();
    let line = bench.line();
    assert_eq!(
        (line.termination(), line.retries, line.status),
        ("--".into(), 1, Some(200))
    );
}

#[test]
fn what_may_have_been_done_is_not_done_again() {
    let bench = http(1, |_| {});
    let (mut client, mut server) = served(&bench);
    pass(
        &mut client,
        &mut server,
        "POST /2 HTTP/1.1\r\nContent-Length: 1\r\n\r\nx",
    );
    drop(server);
    // The client is told nothing but that its connection has ended.
    ends(&mut client);
    bench.is_empty();
}

#[test]
fn a_server_that_closes_an_idle_connection_is_not_asked_over_it() {
    let bench = http(1, |_| {});
    let (mut client, mut server) = served(&bench);
    server.shutdown(Shutdown::Write).unwrap();
    // The proxy closes its side as soon as it hears of it.
    ends(&mut server);
    let _server = asked(
        &bench,
        &mut client,
        "POST /2 HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    );
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let bench = http(1, |_| {});
    let mut client = bench.connect();
    say(
        &mut client,
        "GET /1 HTTP/1.1\r\n\r\nPOST /2 HTTP/1.1\r\nContent-Length: 2\r\n\r\nhiGET /3 HTTP/1.1\r\nConnection: close\r\n\r\n",
    );
    let mut server = bench.accept(0);
    for expected in [
        "GET /1 HTTP/1.1\r\n\r\n",
        "POST /2 HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi",
        "GET /3 HTTP/1.1\r\n\r\n",
    ] {
        hear(&mut server, expected);
        say(&mut server, OK);
    }
    hear(&mut client, OK);
    hear(&mut client, OK);
    assert_eq!(
        all(&mut client),
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
    );
    bench.is_empty();
}

#[test]
fn chunks_pass_as_they_are_both_ways_however_they_come() {
    let bench = http(1, |_| {});
    let up = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n003\r\nabc\r\n0\r\nTrailer: 1\r\n\r\n";
    let down = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let mut client = bench.connect();
    let mut server = None;
    for octet in up.as_bytes() {
        client.write_all(&[*octet]).unwrap();
        if server.is_none() && up.as_bytes()[..=0] != [*octet] {
            std::thread::yield_now();
        }
    }
    let server = server.get_or_insert_with(|| bench.accept(0));
    hear(server, up);
    for part in down.as_bytes().chunks(3) {
        server.write_all(part).unwrap();
    }
    hear(&mut client, down);
    pass(&mut client, server, "GET / HTTP/1.1\r\n\r\n");
    assert_eq!(bench.line().termination(), "--");
}

#[test]
fn large_bodies_pass_both_ways_octet_by_octet() {
    let bench = http(1, |_| {});
    let body: Vec<u8> = (0..3_000_000_u32)
        .map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let mut client = bench.connect();
    let sender = {
        let (mut client, body) = (client.try_clone().unwrap(), body.clone());
        std::thread::spawn(move || {
            write!(client, "PUT / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
            client.write_all(&body).unwrap();
        })
    };
    let mut server = bench.accept(0);
    assert!(head(&mut server).starts_with("PUT / "));
    let came = read(&mut server, body.len());
    assert_eq!(came.iter().zip(&body).position(|(came, sent)| came != sent), None);
    sender.join().unwrap();
    let answering = {
        let body = body.clone();
        std::thread::spawn(move || {
            write!(
                server,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: keep-alive\r\n\r\n",
                body.len()
            )
            .unwrap();
            server.write_all(&body).unwrap();
            server
        })
    };
    // A client that reads late makes the server wait, and loses nothing.
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(
        head(&mut client),
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len())
    );
    assert!(read(&mut client, body.len()) == body);
    answering.join().unwrap();
    let line = bench.line();
    assert!(line.bytes_out > 3_000_000 && line.bytes_in > 3_000_000);
    // Most of it is moved by the kernel.
    let spliced = bench.live.spliced.load(std::sync::atomic::Ordering::Relaxed);
    assert!(spliced > 5_000_000, "{spliced} octets");
}

#[test]
fn a_response_without_length_ends_with_its_connection_and_says_so() {
    let bench = http(1, |_| {});
    let mut client = bench.connect();
    let mut server = asked(&bench, &mut client, "GET / HTTP/1.1\r\n\r\n");
    say(&mut server, "HTTP/1.1 200 OK\r\n\r\nsome");
    say(&mut server, " more");
    drop(server);
    assert_eq!(
        all(&mut client),
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nsome more"
    );
    assert_eq!(bench.line().termination(), "--");
    bench.is_empty();
}

#[test]
fn what_has_no_body_is_not_waited_for() {
    let bench = http(1, |_| {});
    let mut client = bench.connect();
    let mut server = None;
    for (request, response) in [
        (
            "HEAD / HTTP/1.1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        ),
        (
            "GET / HTTP/1.1\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        ),
        ("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n"),
        (
            "GET / HTTP/1.1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        ),
    ] {
        say(&mut client, request);
        let server = server.get_or_insert_with(|| bench.accept(0));
        hear(server, request);
        pass(server, &mut client, response);
    }
}

#[test]
fn interim_responses_come_before_the_last_one() {
    let bench = http(1, |_| {});
    let mut client = bench.connect();
    let mut server = asked(
        &bench,
        &mut client,
        "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
    );
    pass(&mut server, &mut client, "HTTP/1.1 100 Continue\r\n\r\n");
    pass(&mut client, &mut server, "hi");
    pass(
        &mut server,
        &mut client,
        &format!("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n{OK}"),
    );
    assert_eq!(bench.line().status, Some(200));
}

#[test]
fn an_upgrade_becomes_a_tunnel() {
    let bench = http(1, |_| {});
    let mut client = bench.connect();
    let request = "GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    // A hasty client does not wait for the answer.
    say(&mut client, &format!("{request}early"));
    let mut server = bench.accept(0);
    hear(&mut server, request);
    let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    pass(&mut server, &mut client, &format!("{answer}\u{1}hello"));
    hear(&mut server, "early");
    pass(&mut client, &mut server, "ping");
    pass(&mut server, &mut client, "pong");
    client.shutdown(Shutdown::Write).unwrap();
    ends(&mut server);
    say(&mut server, "bye");
    drop(server);
    hear(&mut client, "bye");
    ends(&mut client);
    let line = bench.line();
    assert_eq!((line.status, line.termination()), (Some(101), "--".into()));
    assert_eq!(line.bytes_in, (request.len() + "earlyping".len()) as u64);
    bench.is_empty();
}

#[test]
fn connect_becomes_a_tunnel_if_the_server_agrees() {
    let bench = http(1, |_| {});
    let mut client = bench.connect();
    let mut server = asked(&bench, &mut client, "CONNECT a:443 HTTP/1.1\r\n\r\n");
    pass(&mut server, &mut client, "HTTP/1.1 200 OK\r\n\r\n");
    pass(&mut client, &mut server, "\u{16}");
}

#[test]
fn a_client_of_http_1_0_is_told_how_its_connection_goes_on() {
    let bench = http(1, |_| {});
    let mut client = bench.connect();
    let mut server = asked(
        &bench,
        &mut client,
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    );
    say(&mut server, OK);
    hear(
        &mut client,
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok",
    );
    say(&mut client, "GET / HTTP/1.0\r\n\r\n");
    hear(&mut server, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    say(&mut server, OK);
    assert_eq!(
        all(&mut client),
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
    );
}

#[test]
fn httpclose_ends_both_connections_after_each_response() {
    let bench = http(1, |plan| bench::frontend(plan).http_close = true);
    let mut client = bench.connect();
    say(&mut client, "GET / HTTP/1.1\r\n\r\n");
    let mut server = bench.accept(0);
    hear(&mut server, "GET / HTTP/1.1\r\nConnection: close\r\n\r\n");
    say(&mut server, OK);
    ends(&mut server);
    assert_eq!(
        all(&mut client),
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
    );
}

#[test]
fn a_client_that_closes_its_direction_gets_its_response() {
    let bench = http(1, |_| {});
    let mut client = bench.connect();
    say(&mut client, "GET / HTTP/1.1\r\n\r\n");
    client.shutdown(Shutdown::Write).unwrap();
    let mut server = bench.accept(0);
    hear(&mut server, "GET / HTTP/1.1\r\n\r\n");
    say(&mut server, OK);
    assert_eq!(all(&mut client), OK);
    assert_eq!(bench.line().termination(), "--");
    bench.is_empty();
}

#[test]
fn a_server_that_answers_early_still_gets_the_whole_request() {
    let bench = http(1, |_| {});
    let mut client = bench.connect();
    let mut server = asked(
        &bench,
        &mut client,
        "POST / HTTP/1.1\r\nContent-Length: 6\r\n\r\nabc",
    );
    pass(&mut server, &mut client, OK);
    pass(&mut client, &mut server, "def");
    assert_eq!(bench.line().termination(), "--");
    // And one that reads no more ends the connection, of which nobody could say where the next request begins.
    pass(
        &mut client,
        &mut server,
        "POST / HTTP/1.1\r\nContent-Length: 6\r\n\r\nabc",
    );
    say(&mut server, "HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n");
    drop(server);
    assert!(all(&mut client).starts_with("HTTP/1.1 413 No\r\n"));
    bench.is_empty();
}

#[test]
fn hostile_heads_are_refused_and_nobody_else_hears_of_them() {
    let bench = http(1, |_| {});
    let huge = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(20_000));
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(20_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(200));
    for (request, status) in [
        ("garbage\r\n\r\n", 400),
        ("GET /\r\n\r\n", 400),
        ("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0", 400),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nX: a\r\n b\r\n\r\n", 400),
        (
            "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\nx\n0\n\n",
            400,
        ),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (huge.as_str(), 431),
        (long.as_str(), 414),
        (many.as_str(), 431),
    ] {
        let mut client = bench.connect();
        say(&mut client, request);
        let answer = all(&mut client);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request:.40}: {answer}"
        );
        assert!(answer.contains("Connection: close\r\n"), "{answer}");
        let line = bench.line();
        assert_eq!(
            (line.request.as_str(), line.termination()),
            ("<BADREQ>", "PR".into())
        );
        assert_eq!((line.status, line.server.as_str()), (Some(status), "<NOSRV>"));
    }
    let totals = bench.frontend().tally.totals();
    assert_eq!(
        (totals.request_errors, totals.responses_4xx, totals.responses_5xx),
        (14, 12, 2)
    );
    assert_eq!(bench.backend().tally.totals().sessions, 0);
    bench.is_empty();
}

#[test]
fn a_body_that_turns_out_to_be_none_ends_the_request() {
    let bench = http(1, |_| {});
    let mut client = bench.connect();
    let mut server = asked(
        &bench,
        &mut client,
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    );
    say(&mut client, "zz");
    // The server must not take what it has for the whole.
    ends(&mut server);
    assert!(all(&mut client).starts_with("HTTP/1.1 400 "));
    bench.is_empty();
}

#[test]
fn slow_heads_time_out_and_idle_connections_end_without_a_word() {
    let bench = http(1, |plan| {
        let timeouts = &mut bench::frontend(plan).timeouts;
        timeouts.http_request = Some(Duration::from_millis(100));
        timeouts.http_keep_alive = Some(Duration::from_millis(50));
    });
    for begun in ["GET / HT", ""] {
        let mut client = bench.connect();
        say(&mut client, begun);
        assert!(all(&mut client).starts_with("HTTP/1.1 408 "), "{begun}");
        let line = bench.line();
        assert_eq!((line.termination(), line.status), ("cR".into(), Some(408)));
    }
    let mut client = bench.connect();
    let mut server = asked(&bench, &mut client, "GET / HTTP/1.1\r\n\r\n");
    say(&mut server, OK);
    assert_eq!(all(&mut client), OK);
    assert_eq!(bench.line().termination(), "--");
    bench.is_empty();
}

#[test]
fn a_client_that_leaves_before_its_request_is_whole_is_logged_as_one() {
    let bench = http(1, |_| {});
    let mut client = bench.connect();
    say(&mut client, "GET / HT");
    drop(client);
    let line = bench.line();
    assert_eq!(
        (line.termination(), line.status, line.bytes_in),
        ("CR".into(), Some(400), 8)
    );
    bench.is_empty();
}

#[test]
fn a_line_says_how_many_were_before_it_in_the_queue_and_the_next_request_begins_anew() {
    let bench = http(1, |plan| {
        bench::server(plan, 0).maxconn = std::num::NonZeroU32::new(1);
        bench::backend(plan).timeouts.queue = Some(Duration::from_secs(10));
    });
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut clients = Vec::new();
    for waiting in 0..3 {
        let mut client = bench.connect();
        say(&mut client, get);
        if waiting == 0 {
            eventually(|| bench.backend().servers()[0].sessions.now() == 1);
        }
        eventually(|| bench.backend().queued.now() == waiting);
        clients.push(client);
    }
    let mut server = bench.accept(0);
    for (place, client) in clients.iter_mut().enumerate() {
        hear(&mut server, get);
        pass(&mut server, client, OK);
        assert_eq!(bench.line().queues, [0, place as u32]);
    }
    say(&mut clients[2], get);
    hear(&mut server, get);
    say(&mut server, OK);
    hear(&mut clients[2], OK);
    assert_eq!(bench.line().queues, [0, 0]);
    drop(clients);
    bench.is_empty();
}

#[test]
fn a_format_that_asks_for_our_end_gets_it_though_the_connection_waits_for_others_by_then() {
    let bench = http(1, |plan| {
        bench::frontend(plan).log.format = LogFormat::Json;
    });
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut client = bench.connect();
    say(&mut client, get);
    let mut server = bench.accept(0);
    let ours = Some(server.peer_addr().unwrap());
    hear(&mut server, get);
    pass(&mut server, &mut client, OK);
    assert_eq!(bench.line().source, ours);
    // Over the same connection, which another error is about.
    pass(&mut client, &mut server, get);
    say(&mut server, "SSH-2.0-OpenSSH\r\n");
    assert!(head(&mut client).starts_with("HTTP/1.1 502 "));
    assert_eq!(bench.line().source, ours);
    // Who was never sent to a server has none.
    let mut client = bench.connect();
    say(&mut client, "no request\r\n\r\n");
    assert!(head(&mut client).starts_with("HTTP/1.1 400 "));
    assert_eq!(bench.line().source, None);
}

#[test]
fn without_an_option_what_is_no_request_is_not_announced() {
    let bench = http(1, |plan| {
        bench::frontend(plan).log.format = LogFormat::Plain;
    });
    for nonsense in ["no request\r\n\r\n", "GET / HT"] {
        let mut client = bench.connect();
        say(&mut client, nonsense);
        client.shutdown(Shutdown::Write).unwrap();
        all(&mut client);
    }
    bench.is_empty();
    let mut client = bench.connect();
    let mut server = asked(&bench, &mut client, "GET / HTTP/1.1\r\n\r\n");
    pass(&mut server, &mut client, OK);
    assert_eq!(bench.line().request, "GET / HTTP/1.1");
}

#[test]
fn servers_that_fail_become_the_right_errors() {
    let bench = http(1, |plan| {
        bench::backend(plan).timeouts.server = Some(Duration::from_millis(100))
    });
    let mut client = bench.connect();
    // It closes.
    say(&mut client, "GET /1 HTTP/1.1\r\n\r\n");
    drop(bench.accept(0));
    assert!(head(&mut client).starts_with("HTTP/1.1 502 "));
    read(&mut client, 107);
    let line = bench.line();
    assert_eq!((line.termination(), line.status), ("SH".into(), Some(502)));
    // It speaks something else. The client's connection has gone on.
    say(&mut client, "GET /2 HTTP/1.1\r\n\r\n");
    let mut server = bench.accept(0);
    say(&mut server, "SSH-2.0-OpenSSH\r\n");
    assert!(head(&mut client).starts_with("HTTP/1.1 502 "));
    read(&mut client, 107);
    assert_eq!(bench.line().termination(), "PH");
    // It says nothing.
    say(&mut client, "GET /3 HTTP/1.1\r\n\r\n");
    let server = bench.accept(0);
    assert!(head(&mut client).starts_with("HTTP/1.1 504 "));
    read(&mut client, 92);
    assert_eq!(bench.line().termination(), "sH");
    drop(server);
    // It does not say all.
    say(&mut client, "GET /4 HTTP/1.1\r\n\r\n");
    let mut server = bench.accept(0);
    say(&mut server, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    drop(server);
    assert_eq!(
        all(&mut client),
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"
    );
    let line = bench.line();
    assert_eq!((line.termination(), line.status), ("SD".into(), Some(200)));
    let totals = bench.backend().tally.totals();
    assert_eq!(
        (totals.response_errors, totals.responses_5xx, totals.responses_2xx),
        (3, 3, 1)
    );
    bench.is_empty();
}

#[test]
fn nobody_to_ask_is_a_503_and_the_connection_goes_on() {
    let bench = http(1, |plan| {
        bench::backend(plan).retries = 0;
    });
    bench.refuse(0);
    let mut client = bench.connect();
    for _ in 0..2 {
        say(&mut client, "GET / HTTP/1.1\r\n\r\n");
        assert!(head(&mut client).starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
        hear(
            &mut client,
            "<html><body><h1>503 Service Unavailable</h1>\nNo server is available to handle this request.\n</body></html>\n",
        );
        let line = bench.line();
        assert_eq!(
            (line.termination(), line.server.as_str()),
            ("SC".into(), "server1")
        );
    }
}

#[test]
fn a_client_that_resets_while_it_waits_aborts_its_request() {
    let bench = http(1, |_| {});
    let mut client = bench.connect();
    let mut server = asked(&bench, &mut client, "GET / HTTP/1.1\r\n\r\n");
    socket2::SockRef::from(&client)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(client);
    ends(&mut server);
    let line = bench.line();
    assert_eq!((line.termination(), line.status), ("CH".into(), None));
    bench.is_empty();
}

#[test]
fn a_client_that_does_not_send_or_read_on_times_out() {
    let bench = http(1, |plan| {
        bench::frontend(plan).timeouts.client = Some(Duration::from_millis(100))
    });
    let mut client = bench.connect();
    say(&mut client, "POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc");
    let _server = bench.accept(0);
    assert!(all(&mut client).starts_with("HTTP/1.1 408 "));
    assert_eq!(bench.line().termination(), "cH");
    let mut client = bench.connect();
    let mut server = asked(&bench, &mut client, "GET / HTTP/1.1\r\n\r\n");
    say(
        &mut server,
        "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n",
    );
    let writing = std::thread::spawn(move || while server.write_all(&[0; 65_536]).is_ok() {});
    let line = bench.line();
    assert_eq!((line.termination(), line.status), ("cD".into(), Some(200)));
    writing.join().unwrap();
    drop(client);
    bench.is_empty();
}

#[test]
fn variables_of_a_connection_last_from_request_to_request() {
    let bench = http(1, |plan| {
        let expression = |text| std::sync::Arc::new(crate::logs::Format::compile_expression(text).unwrap());
        let always = |action| HttpRule {
            action,
            condition: Condition::always(),
        };
        let set = |name: &str| {
            always(HttpAction::SetVariable {
                name: name.into(),
                value: expression("path"),
                expression: true,
            })
        };
        let show = always(HttpAction::Edit(Edit::SetHeader {
            name: "X-Before".into(),
            value: template("%[var(sess.path)] %[var(txn.path)]"),
        }));
        bench::frontend(plan).request_rules = vec![show, set("sess.path"), set("txn.path")];
    });
    let mut client = bench.connect();
    let mut server = None;
    for (path, before) in [("/one", " "), ("/two", "/one "), ("/three", "/two ")] {
        say(&mut client, &format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
        let server = server.get_or_insert_with(|| bench.accept(0));
        let asked = head(server);
        assert!(asked.contains(&format!("X-Before: {before}\r\n")), "{asked}");
        say(server, "HTTP/1.1 204 No Content\r\n\r\n");
        assert!(head(&mut client).contains("204"));
    }
}

/// And no line is logged of it.
#[test]
fn who_monitors_a_frontend_is_told_how_its_backend_is() {
    let bench = http(1, |plan| {
        let frontend = bench::frontend(plan);
        frontend.monitor_uri = Some("/alive".into());
        let test = Test {
            sample: Sample::RequestHeader("x-dead".into()),
            ignore_case: false,
            patterns: Vec::new(),
        };
        frontend.monitor_fail = vec![Condition {
            any: vec![vec![Term { negated: false, test }]],
            negated: false,
        }];
    });
    let mut client = bench.connect();
    for (header, status) in [("", "200 OK"), ("X-Dead: 1\r\n", "503 Service Unavailable")] {
        say(
            &mut client,
            &format!("GET /alive HTTP/1.1\r\nHost: h\r\n{header}\r\n"),
        );
        let told = head(&mut client);
        assert!(told.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{told}");
        let length = told.split("Content-length: ").nth(1).unwrap();
        let length = length.split("\r\n").next().unwrap().parse().unwrap();
        read(&mut client, length);
    }
    let mut server = None;
    say(&mut client, "GET /other HTTP/1.1\r\nHost: h\r\n\r\n");
    head(server.get_or_insert_with(|| bench.accept(0)));
    say(server.as_mut().unwrap(), "HTTP/1.1 204 No Content\r\n\r\n");
    assert!(head(&mut client).contains("204"));
    assert_eq!(bench.line().status, Some(204));
}

#[test]
fn rules_answer_themselves() {
    let bench = http(1, |plan| {
        let rules = [
            on_path("/deny", HttpAction::Deny { status: 403 }),
            on_path("/auth", HttpAction::Auth { realm: "Foo".into() }),
            on_path(
                "/old",
                HttpAction::Redirect {
                    code: 302,
                    to: Redirect::Location(template("/new?%[query]")),
                    options: RedirectOptions::default(),
                },
            ),
            on_path(
                "/tls",
                HttpAction::Redirect {
                    code: 301,
                    to: Redirect::Scheme(template("https")),
                    options: RedirectOptions::default(),
                },
            ),
            on_path(
                "/text",
                HttpAction::Return(Answer {
                    status: 200,
                    content_type: "text/plain".into(),
                    content: template("hello"),
                    headers: Vec::new(),
                }),
            ),
        ];
        let frontend = bench::frontend(plan);
        frontend.request_rules = rules.into();
        frontend.monitor_uri = Some("/alive".into());
    });
    let mut client = bench.connect();
    let mut ask = |target: &str| {
        say(&mut client, &format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
        let head = head(&mut client);
        let length = head
            .split("Content-length: ")
            .nth(1)
            .unwrap()
            .split('\r')
            .next()
            .unwrap();
        let body = read(&mut client, length.parse().unwrap());
        (head, String::from_utf8(body).unwrap())
    };
    let (denied, body) = ask("/deny");
    assert!(denied.starts_with("HTTP/1.1 403 Forbidden\r\n") && body.contains("administrative rules"));
    assert_eq!(bench.line().termination(), "PR");
    assert!(
        ask("/auth")
            .0
            .contains("WWW-Authenticate: Basic realm=\"Foo\"\r\n")
    );
    assert_eq!(bench.line().termination(), "LR");
    assert_eq!(
        ask("/old?q=1").0,
        "HTTP/1.1 302 Found\r\nContent-length: 0\r\nLocation: /new?q=1\r\nCache-Control: no-cache\r\n\r\n"
    );
    assert_eq!(
        ask("/tls?q=1").0,
        "HTTP/1.1 301 Moved Permanently\r\nContent-length: 0\r\nLocation: https://h/tls?q=1\r\n\r\n"
    );
    assert_eq!(ask("/text").1, "hello");
    assert!(ask("/alive").0.starts_with("HTTP/1.1 200 OK\r\n"));
    let totals = bench.frontend().tally.totals();
    assert_eq!((totals.denied_requests, totals.intercepted), (1, 4));
    // A body that nobody wants is not waited for: the connection ends.
    say(&mut client, "POST /deny HTTP/1.1\r\nContent-Length: 5\r\n\r\n");
    assert!(all(&mut client).contains("Connection: close\r\n"));
}

#[test]
fn rules_change_what_is_asked_and_what_is_answered() {
    let bench = http(1, |plan| {
        let always = |edit| HttpRule {
            action: HttpAction::Edit(edit),
            condition: Condition::always(),
        };
        let text = |text: &str| text.to_owned();
        let frontend = bench::frontend(plan);
        frontend.request_rules = vec![
            always(Edit::AddHeader {
                name: text("X-From"),
                value: template("%[src] %ci"),
            }),
            always(Edit::SetHeader {
                name: text("Host"),
                value: template("inner"),
            }),
            always(Edit::DelHeader { name: text("Cookie") }),
            always(Edit::DelHeader {
                name: text("Content-Length"),
            }),
            always(Edit::ReplacePath(Replace {
                regex: Expression(regex::bytes::Regex::new("^/a/(.*)").unwrap()),
                with: template(r"/b/\1"),
            })),
            always(Edit::SetQuery(template("was=%[path]"))),
        ];
        frontend.forwardfor = Some(ForwardFor {
            header: text("X-Forwarded-For"),
            except: None,
            if_none: false,
        });
        frontend.response_rules = vec![
            always(Edit::SetHeader {
                name: text("X-Status"),
                value: template("%[status]"),
            }),
            always(Edit::DelHeader { name: text("Server") }),
        ];
    });
    let mut client = bench.connect();
    say(
        &mut client,
        "PUT /a/x?y HTTP/1.1\r\nHost: outer\r\nCookie: a=b\r\nContent-Length: 1\r\n\r\nz",
    );
    let mut server = bench.accept(0);
    hear(
        &mut server,
        "PUT /b/x?was=/b/x HTTP/1.1\r\nContent-Length: 1\r\nX-From: 127.0.0.1 127.0.0.1\r\nHost: inner\r\n\
         X-Forwarded-For: 127.0.0.1\r\n\r\nz",
    );
    say(
        &mut server,
        "HTTP/1.1 201 Created\r\nServer: secret\r\nContent-Length: 0\r\n\r\n",
    );
    hear(
        &mut client,
        "HTTP/1.1 201 Created\r\nContent-Length: 0\r\nX-Status: 201\r\n\r\n",
    );
    assert_eq!(bench.line().request, "PUT /a/x?y HTTP/1.1");
}

#[test]
fn requests_go_where_the_first_condition_says() {
    let bench = http(2, |plan| {
        let mut other = plan.backends[0].as_ref().clone();
        other.name = "other".into();
        other.servers = vec![plan.backends[0].servers[1].clone()];
        bench::backend(plan).servers.pop();
        plan.backends.push(other.into());
        bench::frontend(plan).switches = vec![crate::plan::Switch {
            backend: crate::plan::SwitchTo::Backend(crate::plan::BackendName::new("other")),
            condition: when(
                Sample::RequestHeader("host".into()),
                Pattern::Prefix("api.".into()),
            ),
        }];
    });
    let mut client = bench.connect();
    for (host, server) in [("api.x", 1), ("www.x", 0)] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        say(&mut client, &request);
        let mut server = bench.accept(server);
        hear(&mut server, &request);
        pass(&mut server, &mut client, OK);
    }
    assert_eq!(bench.line().backend, "other");
    assert_eq!(bench.line().backend, "back");
}

#[test]
fn a_page_of_the_configuration_replaces_ours() {
    let bench = http(1, |plan| {
        bench::backend(plan).retries = 0;
        bench::backend(plan).error_pages = vec![ErrorPage {
            status: 503,
            content: PageContent::Whole(
                b"HTTP/1.0 503 Gone fishing\r\nContent-Type: text/plain\r\n\r\nsorry"[..].into(),
            ),
        }];
    });
    bench.refuse(0);
    let mut client = bench.connect();
    say(&mut client, "GET / HTTP/1.1\r\n\r\n");
    assert_eq!(
        all(&mut client),
        "HTTP/1.0 503 Gone fishing\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nsorry"
    );
}

#[test]
fn the_proxys_own_pages_are_visited_and_may_be_silent_for_long() {
    let bench = http(1, |plan| {
        let frontend = bench::frontend(plan);
        frontend.timeouts.client = Some(Duration::from_millis(50));
        frontend.stats = Some(std::sync::Arc::new(StatsPage {
            uri: "/stats".into(),
            realm: "r".into(),
            users: Vec::new(),
            admin: false,
            refresh: None,
            hide_version: false,
            show_node: None,
            show_description: None,
            show_legends: false,
            scope: Vec::new(),
        }));
        bench::backend(plan).timeouts.server = Some(Duration::from_millis(50));
    });
    let mut client = bench.connect();
    say(&mut client, "GET /stats;csv HTTP/1.1\r\n\r\n");
    let mut visit = bench.visit().stream;
    visit.set_nonblocking(false).unwrap();
    let mut request = [0; 64];
    let count = visit.read(&mut request).unwrap();
    assert!(request[..count].starts_with(b"GET /stats;csv HTTP/1.1\r\n"));
    let stream = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    visit.write_all(stream.as_bytes()).unwrap();
    hear(&mut client, stream);
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(60));
        visit.write_all(b"1\r\nx\r\n").unwrap();
        hear(&mut client, "1\r\nx\r\n");
    }
    visit.write_all(b"0\r\n\r\n").unwrap();
    hear(&mut client, "0\r\n\r\n");
    let line = bench.line();
    assert_eq!(
        (line.server.as_str(), line.termination()),
        ("<STATS>", "LR".into())
    );
}

#[test]
fn a_failure_that_the_configuration_names_is_tried_again() {
    let bench = http(1, |plan| {
        let backend = bench::backend(plan);
        backend.retry_on.statuses = vec![500];
        backend.retry_on.empty_response = true;
        backend.retry_on.response_timeout = true;
        backend.timeouts.server = Some(Duration::from_millis(100));
    });
    let mut client = bench.connect();
    say(&mut client, "POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx");
    let request = "POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx";
    let mut server = bench.accept(0);
    hear(&mut server, request);
    say(&mut server, "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n");
    let mut server = bench.accept(0);
    hear(&mut server, request);
    drop(server);
    let mut silent = bench.accept(0);
    hear(&mut silent, request);
    let mut server = bench.accept(0);
    hear(&mut server, request);
    pass(&mut server, &mut client, OK);
    let line = bench.line();
    assert_eq!((line.retries, line.status), (3, Some(200)));
}

#[test]
fn a_client_that_is_to_leave_politely_gets_its_response_and_an_idle_one_nothing() {
    let bench = http(1, |_| {});
    let (mut idle, mut server) = served(&bench);
    let mut busy = bench.connect();
    pass(&mut busy, &mut server, "GET /2 HTTP/1.1\r\n\r\n");
    bench
        .workers
        .broadcast(&crate::worker::Command::End(crate::worker::End {
            scope: crate::worker::Scope::All,
            how: crate::worker::Ending::Politely {
                cause: crate::record::Cause::Killed,
                deadline: Duration::from_secs(10),
                rate: crate::plan::testing::number(1000),
                within: None,
            },
        }));
    ends(&mut idle);
    // Sessions are told one after the other.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    eventually(|| {
        let sessions = runtime.block_on(bench.workers.sessions());
        sessions.len() == 1 && sessions.iter().all(|session| session.state == "closing")
    });
    say(&mut server, OK);
    assert_eq!(
        all(&mut busy),
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
    );
    bench.is_empty();
}

#[test]
fn whoever_waits_for_a_slot_gets_it_or_is_told_that_there_is_none() {
    let bench = http(1, |plan| {
        bench::server(plan, 0).maxconn = Some(crate::plan::testing::number(1));
        bench::backend(plan).timeouts.queue = Some(Duration::from_millis(300));
    });
    let mut first = bench.connect();
    let mut server = asked(&bench, &mut first, "GET /1 HTTP/1.1\r\n\r\n");
    let mut second = bench.connect();
    say(&mut second, "GET /2 HTTP/1.1\r\n\r\n");
    eventually(|| bench.backend().queued.now() + bench.backend().servers()[0].queued.now() == 1);
    pass(&mut server, &mut first, OK);
    // The slot is free between requests, though the first client is still there; and so is the connection.
    hear(&mut server, "GET /2 HTTP/1.1\r\n\r\n");
    let begun = Instant::now();
    say(&mut first, "GET /3 HTTP/1.1\r\n\r\n");
    assert!(head(&mut first).starts_with("HTTP/1.1 503 "));
    assert!(begun.elapsed() >= Duration::from_millis(290));
    bench.line();
    assert_eq!(bench.line().termination(), "sQ");
    pass(&mut server, &mut second, OK);
    drop((first, second));
    bench.is_empty();
}
