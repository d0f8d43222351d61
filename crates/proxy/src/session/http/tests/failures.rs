//! Clients and servers that do not keep to the rules, or leave.

use super::*;

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
    eventually(|| {
        let sessions = bench.sessions();
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
