//! What the configuration makes of requests and responses.

use super::*;

#[test]
fn variables_of_a_connection_last_from_request_to_request() {
    let bench = http(1, |plan| {
        let expression = |text| Arc::new(crate::logs::Format::compile_expression(text).unwrap());
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
        frontend.stats = Some(Arc::new(StatsPage {
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
fn buttons_of_the_statistics_are_for_those_for_whom_a_condition_holds() {
    let bench = http(0, |plan| {
        let frontend = bench::frontend(plan);
        frontend.stats = Some(Arc::new(crate::stats::fixture::page()));
        frontend.stats_admin = vec![when(
            Sample::RequestHeader("x-shift".into()),
            Pattern::Exact("day".into()),
        )];
    });
    let uri = bench.frontend().plan().stats.as_ref().unwrap().uri.clone();
    for (shift, admin) in [("day", true), ("night", false)] {
        let mut client = bench.connect();
        say(
            &mut client,
            &format!("GET {uri} HTTP/1.1\r\nX-Shift: {shift}\r\n\r\n"),
        );
        assert_eq!(bench.visit().service, crate::worker::Service::Stats { admin });
    }
}

/// What HAProxy 2.6 counts of the same.
#[test]
fn of_a_client_requests_are_counted_and_errors_even_if_there_was_no_request() {
    let bench = http(1, |plan| {
        let stored = [Counter::HttpReqCnt, Counter::HttpErrCnt];
        plan.tables = vec![Arc::new(Table {
            name: "front".into(),
            key: TableKey::Ip,
            size: 10,
            expire: None,
            stored: stored.map(|counter| (counter, None)).into(),
        })];
        bench::frontend(plan).tcp_rules = vec![TcpRule {
            moment: Moment::Connection,
            action: TcpAction::Track(Track {
                slot: 0,
                key: TrackKey::Source,
                table: "front".into(),
            }),
            condition: Condition::always(),
        }];
        bench::frontend(plan).timeouts.http_request = Some(Duration::from_millis(100));
    });
    let table = Arc::clone(bench.live.snapshot().table("front").unwrap());
    let key = warren_balance::Key::from(std::net::IpAddr::from([127, 0, 0, 1]));
    let counted = || {
        let now = bench.live.time(Instant::now());
        let entry = table.entries.lock().get(now, &key).unwrap_or_default();
        (entry.http_req_cnt, entry.http_err_cnt, entry.conn_cur)
    };
    drop(bench.connect());
    eventually(|| counted() == (1, 1, 0));
    let (client, server) = served(&bench);
    assert_eq!(counted(), (2, 1, 1));
    drop((client, server));
    eventually(|| counted() == (2, 1, 0));
    let mut client = bench.connect();
    say(&mut client, "nonsense\r\n\r\n");
    all(&mut client);
    eventually(|| counted() == (3, 2, 0));
    let mut client = bench.connect();
    say(&mut client, "GET / HT");
    drop(client);
    eventually(|| counted() == (4, 3, 0));
    let mut client = bench.connect();
    say(&mut client, "GET / HT");
    assert!(all(&mut client).starts_with("HTTP/1.1 408 "));
    eventually(|| counted() == (5, 4, 0));
}
