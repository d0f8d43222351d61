//! Whole http sessions on loopback: polite clients, hostile ones, and servers of all kinds.

mod failures;
mod rules;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::logs::Expression;
use crate::plan::{
    Answer, Condition, Counter, Edit, ErrorPage, ForwardFor, HttpAction, HttpRule, LogFormat, Mode, Moment,
    PageContent, Pattern, Plan, Redirect, RedirectOptions, Replace, Sample, StatsPage, Table, TableKey,
    TcpAction, TcpRule, Template, Term, Test, Track, TrackKey,
};
use crate::session::tests::bench::{self, Bench, eventually, read};

fn template(text: &str) -> Template {
    Arc::new(crate::logs::Format::compile_template(text).unwrap())
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
    let spliced = bench.live.spliced();
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
