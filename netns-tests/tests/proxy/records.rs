//! What is written down: log lines, statistics, health. Both proxies live through the same, and must tell the same.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use warren_lab::{End, Load, Origin, Proxy, ProxyFlavour, Statistics, eventually, now, read_all};

use super::{CHECK, PATIENCE, Place, eventually_status, for_both};

const BOTH: [ProxyFlavour; 2] = [ProxyFlavour::Haproxy, ProxyFlavour::Warren];
const WEB: u16 = 8080;

for_both!(frontends_backends_servers_and_log_lines_add_up);

/// Ports, dates and times of a log line are never the same twice; whether a time was reached (-1) is.
fn masked(line: &str) -> String {
    let words = line.split(' ').enumerate().map(|(place, word)| match place {
        0 => word
            .rsplit_once(':')
            .map_or(word, |(address, _)| address)
            .to_owned(),
        1 => "[date]".to_owned(),
        4 => {
            let times = word.split('/').map(|time| if time == "-1" { time } else { "t" });
            times.collect::<Vec<_>>().join("/")
        }
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Waits for the next line that is not about a server's health.
#[track_caller]
fn next_line(place: &Place, seen: &mut usize) -> String {
    eventually(PATIENCE, "another log line", || {
        let lines: Vec<String> = place
            .log
            .messages(" ")
            .into_iter()
            .filter(|line| line.starts_with("10.77.0.2:"))
            .collect();
        match lines.get(*seen) {
            Some(line) => {
                *seen += 1;
                Ok(masked(line))
            }
            None => Err(lines),
        }
    })
}

/// Waits until a proxy has let go of everybody: HAProxy writes its line before it does, and who comes meanwhile is counted
/// together with who is about to be gone.
#[track_caller]
fn nobody_is_left(proxy: &Proxy, name: &str) {
    eventually(PATIENCE, "no session is left", || {
        match proxy.field(name, "FRONTEND", "scur") {
            none if none == "0" => Ok(()),
            some => Err(some),
        }
    });
}

fn tcp_scenario(flavour: ProxyFlavour) -> Vec<String> {
    let place = Place::with(&["rabbitmq1"]);
    let proxy = place.start(flavour);
    let (mut lines, mut seen) = (Vec::new(), 0);
    // Closed in order.
    let mut session = place.session();
    session.exchange(1000).unwrap();
    session.close().unwrap();
    lines.push(next_line(&place, &mut seen));
    nobody_is_left(&proxy, "rabbitmq");
    // The client goes away without a word.
    let mut session = place.session();
    session.exchange(1000).unwrap();
    drop(session);
    lines.push(next_line(&place, &mut seen));
    nobody_is_left(&proxy, "rabbitmq");
    // The server ends it.
    let session = place.session();
    place.broker("rabbitmq1").tell("cut");
    assert_eq!(session.end(PATIENCE), End::Eof);
    drop(session);
    lines.push(next_line(&place, &mut seen));
    nobody_is_left(&proxy, "rabbitmq");
    // The server resets it.
    place.broker("rabbitmq1").tell("reset-after 1000");
    let mut session = place.session();
    assert!(session.exchange(2000).is_err());
    lines.push(next_line(&place, &mut seen));
    nobody_is_left(&proxy, "rabbitmq");
    place.broker("rabbitmq1").tell("reset-after 0");
    // An operator ends it.
    let session = place.session();
    proxy.ask("shutdown sessions server rabbitmq/rabbitmq1");
    assert_ne!(session.end(PATIENCE), End::StillOpen);
    lines.push(next_line(&place, &mut seen));
    nobody_is_left(&proxy, "rabbitmq");
    // Not AMQP: what the server says is passed on, and counted.
    let stream = connect(&place, super::PORT);
    (&stream).write_all(b"NOT AMQP").unwrap();
    assert_eq!(read_all(&stream, PATIENCE).0, b"AMQP\0\0\x09\x01");
    drop(stream);
    lines.push(next_line(&place, &mut seen));
    nobody_is_left(&proxy, "rabbitmq");
    // Two at a time.
    let (one, mut other) = (place.session(), place.session());
    one.close().unwrap();
    lines.push(next_line(&place, &mut seen));
    other.exchange(10).unwrap();
    other.close().unwrap();
    lines.push(next_line(&place, &mut seen));
    nobody_is_left(&proxy, "rabbitmq");
    // Nobody is there.
    place.broker("rabbitmq1").tell("refuse");
    eventually_status(&proxy, "rabbitmq1", "DOWN");
    lines
}

fn connect(place: &Place, port: u16) -> TcpStream {
    let at = SocketAddr::from(([10, 77, 0, 1], port));
    place
        .client
        .enter(|| TcpStream::connect(at))
        .expect("the proxy listens")
}

#[test]
fn lines_of_tcplog_are_those_of_haproxy() {
    let [theirs, ours] = BOTH.map(tcp_scenario);
    assert_eq!(ours, theirs);
}

fn web(place: &Place, defaults: &str, lines: &str) -> String {
    let text = place.configuration(defaults, "", CHECK);
    let (before, _) = text.split_once("listen rabbitmq").expect("a proxy");
    let servers: String = place
        .servers
        .iter()
        .map(|server| {
            format!(
                "    server {} {}:{WEB} {CHECK}\n",
                server.broker.name(),
                server.address
            )
        })
        .collect();
    format!(
        "{before}listen web\n    bind *:80\n    mode http\n    option httplog\n    timeout http-request 2s\n{lines}{servers}"
    )
}

/// Sends octets and answers everything that comes back.
fn tell(place: &Place, octets: &[u8]) -> String {
    let stream = connect(place, 80);
    (&stream).write_all(octets).unwrap();
    String::from_utf8_lossy(&read_all(&stream, PATIENCE).0).into_owned()
}

/// A response with its fields in the order of the alphabet and a chunked body in one piece: neither means anything.
fn normal(response: &str) -> String {
    let Some((head, mut body)) = response.split_once("\r\n\r\n") else {
        return response.to_owned();
    };
    let mut lines: Vec<&str> = head.lines().collect();
    lines[1..].sort_unstable();
    let mut whole = String::new();
    while let Some((length, rest)) = body.split_once("\r\n").filter(|_| head.contains("chunked")) {
        let length = usize::from_str_radix(length, 16).expect("the length of a chunk");
        whole += &rest[..length];
        body = &rest[length + 2..];
    }
    format!("{}\n\n{whole}{body}", lines.join("\n"))
}

fn http_scenario(flavour: ProxyFlavour) -> Vec<String> {
    let place = Place::with(&["web1"]);
    let _origin = Origin::start(&place.servers[0].host, WEB);
    let lines = "    option forwardfor\n    http-request set-header X-Was-Here yes\n    http-response set-header X-Back yes\n";
    let proxy = Proxy::start(flavour, &place.proxy, &web(&place, "", lines));
    let (mut heard, mut seen) = (Vec::new(), 0);
    for request in [
        "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n",
        "GET /status/404 HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n",
        "GET /chunked HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n",
        "GET /until-the-end HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "HEAD / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
        "GET / HTTP/1.0\r\n\r\n",
        "GET /drop HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n",
        "GET /status/304 HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n",
        "nonsense\r\n\r\n",
    ] {
        // HAProxy writes the names of fields in small letters, ours as they came; they mean the same.
        heard.push(normal(&tell(&place, request.as_bytes()).to_ascii_lowercase()));
        // HAProxy counts octets of its own form of the answer, not those of the wire; and it keeps connections to servers
        // for the client that caused them, so that it never has to try again on another.
        let line = next_line(&place, &mut seen);
        let words = line.split(' ').enumerate().map(|(place, word)| match place {
            6 => "octets",
            10 => word.rsplit_once('/').map_or(word, |(counts, _retries)| counts),
            _ => word,
        });
        heard.push(words.collect::<Vec<_>>().join(" "));
        nobody_is_left(&proxy, "web");
    }
    heard
}

#[test]
fn requests_responses_and_lines_of_httplog_are_those_of_haproxy() {
    let [theirs, ours] = BOTH.map(http_scenario);
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs);
    }
}

/// Values that depend on the moment, or on which moment of a second it was.
const VOLATILE: &[&str] = &[
    "pid",
    "lastchg",
    "lastsess",
    "check_duration",
    "qtime",
    "ctime",
    "rtime",
    "ttime",
    "qtime_max",
    "ctime_max",
    "rtime_max",
    "ttime_max",
    "rate",
    "rate_max",
    "conn_rate",
    "conn_rate_max",
    "req_rate",
    "req_rate_max",
    "used_conn_cur",
    "need_conn_est",
    "smax",
    "idle_conn_cur",
    "safe_conn_cur",
];
/// The columns that old scripts find by their place.
const COLUMNS: usize = 95;

fn statistics_scenario(flavour: ProxyFlavour) -> Statistics {
    let place = Place::new();
    let proxy = place.start(flavour);
    for server in ["rabbitmq1", "rabbitmq2", "rabbitmq3"] {
        eventually(PATIENCE, "every server has been checked", || {
            let status = proxy.field("rabbitmq", server, "check_status");
            if status == "L4OK" && proxy.field("rabbitmq", server, "check_health") == "4" {
                Ok(())
            } else {
                Err(status)
            }
        });
    }
    for _ in 0..6 {
        let mut session = place.session();
        session.exchange(500).unwrap();
        session.close().unwrap();
    }
    eventually(PATIENCE, "all sessions have ended", || {
        let statistics = proxy.statistics();
        let counts = [("FRONTEND", "scur"), ("BACKEND", "scur"), ("BACKEND", "stot")]
            .map(|(row, field)| statistics.number("rabbitmq", row, field));
        if counts == [0, 0, 6] {
            Ok(statistics)
        } else {
            Err(counts)
        }
    })
}

#[test]
fn statistics_have_haproxys_columns_and_values() {
    let [theirs, ours] = BOTH.map(statistics_scenario);
    assert_eq!(ours.columns[..COLUMNS], theirs.columns[..COLUMNS]);
    let mut differences = Vec::new();
    for (ours, theirs) in ours.rows.iter().zip(&theirs.rows) {
        for column in &theirs_columns(theirs)[..] {
            let (our, their) = (&ours[column], &theirs[column]);
            let same = if VOLATILE.contains(&column.as_str()) {
                our.is_empty() == their.is_empty()
            } else {
                our == their
            };
            if !same {
                differences.push(format!(
                    "{}/{} {column}: {our:?}, HAProxy {their:?}",
                    theirs["pxname"], theirs["svname"]
                ));
            }
        }
    }
    assert_eq!(ours.rows.len(), theirs.rows.len());
    assert!(differences.is_empty(), "{differences:#?}");
}

fn theirs_columns(row: &BTreeMap<String, String>) -> Vec<String> {
    row.keys()
        .filter(|column| {
            *column != "-"
                && !column.starts_with("h1_")
                && !column.starts_with("h2_")
                && !column.starts_with("ssl_")
        })
        .cloned()
        .collect()
}

fn frontends_backends_servers_and_log_lines_add_up(flavour: ProxyFlavour) {
    let place = Place::new();
    let proxy = place.start(flavour);
    let load = Load::start(&place.client, place.entry(), 8, 5);
    std::thread::sleep(Duration::from_millis(1500));
    let report = load.stop();
    assert!(report.is_clean(), "{report:?}");
    eventually(PATIENCE, "every session is counted everywhere", || {
        let statistics = proxy.statistics();
        let of = |name: &str, field: &str| statistics.number("rabbitmq", name, field);
        let lines = place.log.messages(" rabbitmq/rabbitmq");
        let octets: u64 = lines
            .iter()
            .filter_map(|line| line.split(' ').nth(5)?.parse::<u64>().ok())
            .sum();
        let servers = ["rabbitmq1", "rabbitmq2", "rabbitmq3"];
        let sum = |field: &str| servers.iter().map(|name| of(name, field)).sum::<u64>();
        let sessions = [
            of("FRONTEND", "stot"),
            of("BACKEND", "stot"),
            sum("stot"),
            lines.len() as u64,
        ];
        let out = [of("FRONTEND", "bout"), of("BACKEND", "bout"), sum("bout"), octets];
        let came = [of("FRONTEND", "bin"), of("BACKEND", "bin"), sum("bin")];
        let same = |values: &[u64]| values.iter().all(|value| *value == values[0]);
        if sessions[0] == report.opened && same(&sessions) && same(&out) && same(&came) {
            Ok(())
        } else {
            Err((report.opened, sessions, out, came))
        }
    });
}

/// The messages about a server's health, and how long after its cause each came.
fn health_scenario(flavour: ProxyFlavour) -> (Vec<String>, Vec<Duration>) {
    let place = Place::with(&["rabbitmq1", "rabbitmq2"]);
    let proxy = place.start(flavour);
    std::thread::sleep(Duration::from_millis(600));
    let mut causes = Vec::new();
    for order in ["refuse", "listen", "refuse", "listen"] {
        causes.push(now());
        place.broker("rabbitmq1").tell(order);
        eventually_status(&proxy, "rabbitmq1", if order == "refuse" { "DOWN" } else { "UP" });
    }
    let said = eventually(PATIENCE, "four messages", || {
        let said: Vec<_> = place
            .log
            .timed()
            .into_iter()
            .filter(|(_, line)| line.contains("Server rabbitmq/"))
            .collect();
        if said.len() == 4 { Ok(said) } else { Err(said) }
    });
    let after = said
        .iter()
        .zip(causes)
        .map(|((at, _), cause)| at.saturating_sub(cause));
    let texts = said.iter().map(|(_, line)| {
        let text = line.split_once("]: ").map_or(line.as_str(), |(_, text)| text);
        let (before, rest) = text.split_once("check duration: ").expect("a duration");
        let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        format!("{before}check duration: N{rest}")
    });
    (texts.collect(), after.collect())
}

#[test]
fn health_changes_are_told_in_haproxys_words_and_at_its_pace() {
    let [(theirs, their_times), (ours, our_times)] = BOTH.map(health_scenario);
    assert_eq!(ours, theirs);
    for (ours, theirs) in our_times.iter().zip(&their_times) {
        // The phase of the checks is up to a fifth of a second, and the machine may be busy.
        assert!(
            ours.abs_diff(*theirs) < Duration::from_millis(500),
            "{our_times:?}, HAProxy {their_times:?}"
        );
    }
}

#[test]
fn who_talked_in_a_session_is_in_json() {
    let place = Place::with(&["rabbitmq1"]);
    let _proxy = place.start_amqp("log = [\"127.0.0.1 local0 info\"]", "log_format = \"json\"", "");
    let mut session = place.session();
    session.exchange(1000).unwrap();
    session.close().unwrap();
    let line = eventually(PATIENCE, "a line for the session", || {
        let lines = place.log.messages("\"amqp\"");
        lines.first().cloned().ok_or(lines)
    });
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["termination"], "--");
    assert_eq!(line["server"], "rabbitmq1");
    assert_eq!(line["amqp"]["user"], "guest");
    assert_eq!(line["amqp"]["vhost"], "/");
}
