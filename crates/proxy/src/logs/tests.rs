use std::io::Read as _;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::*;
use crate::plan::testing::global;
use crate::plan::{Facility, LogFormat, LogTarget, Transport};
use crate::record::{AmqpFacts, HttpFacts, Phase, Refusal, Refused, Termination, Times, TlsFacts};

fn address(text: &str) -> Option<SocketAddr> {
    Some(text.parse().unwrap())
}

fn ms(milliseconds: u64) -> Option<Duration> {
    Some(Duration::from_micros(milliseconds * 1000 + 999))
}

/// The local zone's text of 2017-08-11 10:07:03.042, whatever the zone.
fn accepted() -> SystemTime {
    let local: jiff::civil::DateTime = "2017-08-11T10:07:03.042".parse().unwrap();
    let zoned = local.to_zoned(jiff::tz::TimeZone::system()).unwrap();
    zoned.timestamp().into()
}

/// The session of the tutorial's line.
fn session() -> Record<'static> {
    Record {
        client: address("127.0.0.1:53708"),
        local: address("127.0.0.1:5670"),
        source: address("127.0.0.1:40001"),
        server_address: address("192.168.0.3:5672"),
        accepted: accepted(),
        frontend: "rabbitmq_cluster",
        tls: None,
        backend: "rabbitmq_cluster",
        server: "rabbit_2",
        times: Times {
            queue: ms(1),
            connect: ms(0),
            total: Duration::from_millis(299),
            ..Times::default()
        },
        bytes_out: 572,
        bytes_in: 8,
        termination: Termination::new(Cause::ServerAborted, Phase::Data),
        connections: [2, 2, 2, 0],
        retries: 0,
        redispatched: false,
        queues: [0, 0],
        http: None,
        amqp: None,
        session: 9,
        refused: None,
    }
}

const HEADERS: &[(&str, &str)] = &[("Host", "Example.org"), ("Cookie", "a=1; id=xy")];

fn headers() -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    HEADERS.iter().map(owned).collect()
}

fn request(headers: &[(String, String)]) -> Record<'_> {
    Record {
        frontend: "web",
        backend: "web",
        server: "a",
        times: Times {
            handshake: ms(0),
            idle: ms(10),
            request: ms(1),
            queue: ms(2),
            connect: ms(3),
            response: ms(4),
            total: Duration::from_millis(20),
        },
        bytes_out: 60,
        bytes_in: 100,
        termination: Termination::NORMAL,
        connections: [1, 1, 0, 0],
        http: Some(HttpFacts {
            method: "GET",
            uri: "/a/b%20c?x=1&y=1]z",
            version: "HTTP/1.1",
            status: Some(200),
            headers,
            ..HttpFacts::default()
        }),
        ..session()
    }
}

fn bad_request() -> Record<'static> {
    Record {
        server: "<NOSRV>",
        times: Times::default(),
        bytes_out: 0,
        termination: Termination::new(Cause::Proxy, Phase::Request),
        http: Some(HttpFacts {
            method: "",
            uri: "",
            version: "",
            status: Some(400),
            headers: &[],
            ..HttpFacts::default()
        }),
        ..request(&[])
    }
}

fn rendered(format: &str, record: &Record<'_>, early: bool) -> String {
    let mut out = Vec::new();
    let format = Format::compile(format).unwrap();
    format.render(record, record, early, &mut Dates::default(), &mut out);
    String::from_utf8(out).unwrap()
}

fn expanded(template: &str, record: &Record<'_>) -> String {
    let mut out = Vec::new();
    let format = Format::compile_template(template).unwrap();
    format.expand(record, record, &mut Dates::default(), &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_tcplog_line_is_haproxys_field_by_field() {
    assert_eq!(
        rendered(format::TCP, &session(), false),
        "127.0.0.1:53708 [11/Aug/2017:10:07:03.042] rabbitmq_cluster rabbitmq_cluster/rabbit_2 1/0/299 572 SD 2/2/2/0/0 0/0"
    );
}

#[test]
fn an_httplog_line_is_haproxys_field_by_field() {
    assert_eq!(
        rendered(format::HTTP, &request(&[]), false),
        "127.0.0.1:53708 [11/Aug/2017:10:07:03.042] web web/a 1/2/3/4/20 200 60 - - ---- 1/1/0/0/0 0/0 \"GET /a/b%20c?x=1&y=1]z HTTP/1.1\""
    );
    assert_eq!(
        rendered(format::HTTP, &bad_request(), false),
        "127.0.0.1:53708 [11/Aug/2017:10:07:03.042] web web/<NOSRV> -1/-1/-1/-1/0 400 0 - - PR-- 1/1/0/0/0 0/0 \"<BADREQ>\""
    );
}

#[test]
fn what_is_not_known_to_its_end_has_a_plus() {
    let line = rendered(format::TCP, &session(), true);
    assert!(line.contains(" 1/0/+299 +572 SD "), "{line}");
    let line = rendered(format::HTTP, &request(&[]), true);
    assert!(line.contains(" 1/2/3/4/+20 200 +60 - - "), "{line}");
}

#[test]
fn tls_and_redispatch_are_marked() {
    let record = Record {
        tls: Some(TlsFacts {
            version: "TLSv1.3",
            cipher: "TLS_AES_256_GCM_SHA384",
            sni: Some("a.example"),
            resumed: false,
            client: Some("alice"),
        }),
        retries: 3,
        redispatched: true,
        ..session()
    };
    assert_eq!(
        rendered(
            "%ft %rc %sslv %sslc %[ssl_fc_sni] %[ssl_c_s_dn(cn)] %[ssl_fc]",
            &record,
            false
        ),
        "rabbitmq_cluster~ +3 TLSv1.3 TLS_AES_256_GCM_SHA384 a.example alice 1"
    );
    assert_eq!(
        rendered("%ft %sslv %{+Q}sslc %[ssl_fc_sni]", &session(), false),
        "rabbitmq_cluster - \"\" -"
    );
}

/// Lines of HAProxy 2.6 for the same formats, with what differs from run to run replaced.
#[test]
fn variables_and_flags_come_out_as_from_haproxy() {
    let record = Record {
        times: Times {
            handshake: Some(Duration::ZERO),
            idle: Some(Duration::ZERO),
            request: ms(0),
            queue: ms(0),
            connect: ms(0),
            response: ms(0),
            total: Duration::ZERO,
        },
        ..request(&[])
    };
    assert_eq!(
        rendered(
            "%Th %Ti %TR %Tw %Tc %Tr %Tt %Ta %Td %Tq %Tu|%B|%U|%ts|%tsc|%ac|%fc|%bc|%sc|%rc|%sq|%bq|%ST|%HM|%HP|%HPO|%HU|%HV|%HQ|%r|%hr|%hs|%hrl|%hsl|%CC|%CS|%ID|%rt|%sslv|%sslc|%%",
            &record,
            false
        ),
        "0 0 0 0 0 0 0 0 0 0 0|60|100|--|----|1|1|0|0|0|0|0|200|GET|/a/b%20c|/a/b%20c|/a/b%20c?x=1&y=1]z|HTTP/1.1|?x=1&y=1]z|GET /a/b%20c?x=1&y=1]z HTTP/1.1|||||-|-|-|9|-|-|%"
    );
    let bad = bad_request();
    assert_eq!(
        rendered(
            "%Th %Ti %TR %Tw %Tc %Tr %Tt %Ta %Td %Tq|%HM|%HP|%HQ|%r",
            &bad,
            false
        ),
        "0 0 -1 -1 -1 -1 0 0 -1 -1|<BADREQ>|<BADREQ>|<BADREQ>|<BADREQ>"
    );
    let port = Record {
        client: address("127.0.0.1:35604"),
        session: 6,
        ..bad.clone()
    };
    assert_eq!(
        rendered(
            "%{+Q}o %ci %cp %s %r %hr %{-Q}ts %CC x %{+X}o %ci %cp %Tt %B %ST %rt %rc",
            &port,
            false
        ),
        "\"127.0.0.1\" 35604 \"<NOSRV>\" \"<BADREQ>\" PR \"\" x 7F000001 8B14 0 0 400 0006 0"
    );
    assert_eq!(
        rendered("%{+E}r|%{+Q,+E}r|%[src]|%{+Q}[ssl_fc_sni]", &record, false),
        "GET /a/b%20c?x=1&y=1\\]z HTTP/1.1|\"GET /a/b%20c?x=1&y=1\\]z HTTP/1.1\"|127.0.0.1|\"\""
    );
    assert_eq!(
        rendered("  %{+Q}o %ft  %B %hr %hrl x ", &record, false),
        "\"web\" 60 x "
    );
    assert_eq!(
        rendered("%{+X}Ts %ms %{+X}ms", &record, false).split(' ').nth(1),
        Some("042")
    );
}

/// As HAProxy 2.6 wrote them.
#[test]
fn a_line_of_https_ends_with_what_is_known_of_tls() {
    let line = |version, sni, resumed| {
        let record = Record {
            tls: Some(TlsFacts {
                version,
                cipher: "TLS_AES_256_GCM_SHA384",
                sni,
                resumed,
                client: None,
            }),
            ..request(&[])
        };
        let line = rendered(HTTPS, &record, false);
        line.rsplit_once("\" ").unwrap().1.to_owned()
    };
    assert_eq!(
        line("TLSv1.3", None, false),
        "0/0000000000000000/0/0/0 -/TLSv1.3/TLS_AES_256_GCM_SHA384"
    );
    assert_eq!(
        line("TLSv1.2", Some("localhost"), true),
        "0/0000000000000000/0/0/1 localhost/TLSv1.2/TLS_AES_256_GCM_SHA384"
    );
}

#[test]
fn times_add_up() {
    let whole = |milliseconds| Some(Duration::from_millis(milliseconds));
    let record = Record {
        times: Times {
            handshake: whole(0),
            idle: whole(10),
            request: whole(1),
            queue: whole(2),
            connect: whole(3),
            response: whole(4),
            total: Duration::from_millis(20),
        },
        ..request(&[])
    };
    assert_eq!(rendered("%Tq %Td %Ta %Tt %Tu", &record, false), "11 10 20 30 20");
}

#[test]
fn addresses_that_are_not_known_are_dashes_and_ipv6_is_written_plainly() {
    let record = Record {
        client: address("[2001:db8::1]:7"),
        source: None,
        server_address: address("[::ffff:10.0.0.1]:80"),
        ..session()
    };
    assert_eq!(
        rendered("%ci:%cp %bi:%bp %si:%sp %fi:%fp", &record, false),
        "2001:db8::1:7 -:- 10.0.0.1:80 127.0.0.1:5670"
    );
    let unix = Record {
        client: None,
        ..session()
    };
    assert_eq!(rendered("%ci:%cp", &unix, false), "unix:0");
}

#[test]
fn what_a_client_sends_cannot_forge_a_line() {
    let owned = [("host".to_owned(), "x\r\ny".to_owned())];
    let mut record = request(&owned);
    if let Some(http) = &mut record.http {
        http.uri = "/\"#\n\u{7f}";
    }
    assert_eq!(
        rendered("%{+Q}r %[req.hdr(host)]", &record, false),
        "\"GET /#22#23#0A#7F HTTP/1.1\" x#0D#0Ay"
    );
    assert_eq!(expanded("%[req.hdr(host)]", &record), "xy");
}

#[test]
fn templates_keep_their_spaces_and_leave_out_what_is_not_known() {
    let headers = headers();
    let record = request(&headers);
    assert_eq!(
        expanded(
            "  [%{+Q}[res.hdr(nope)]|%[req.hdr(nope)]|%sslv|  x  %hr %ID y ]",
            &record
        ),
        "  [|||  x    y ]"
    );
    assert_eq!(
        expanded("https://%[req.hdr(host),lower]%[url]", &record),
        "https://example.org/a/b%20c?x=1&y=1]z"
    );
    assert_eq!(
        expanded(
            "%[method,lower] %[path] %[query] %[req.cook(id)] %[url_param(y)] %[dst_port]",
            &record
        ),
        "get /a/b%20c x=1&y=1]z xy 1]z 5670"
    );
}

#[test]
fn why_a_session_ended_is_said_in_words() {
    for (cause, phase, words) in [
        (Cause::Normal, Phase::Normal, None),
        (
            Cause::ClientTimeout,
            Phase::Data,
            Some("the client was silent for too long while octets passed"),
        ),
        (
            Cause::ServerTimeout,
            Phase::Data,
            Some("the server was silent for too long while octets passed"),
        ),
        (
            Cause::ServerTimeout,
            Phase::Queue,
            Some("no server was free in time while the client waited for a server"),
        ),
        (Cause::Killed, Phase::Normal, Some("it was ended from here")),
    ] {
        let record = Record {
            termination: Termination::new(cause, phase),
            ..session()
        };
        let mut out = Vec::new();
        json::write(&record, &mut out);
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value.get("reason").and_then(|reason| reason.as_str()), words);
    }
}

#[test]
fn json_has_everything_that_is_known() {
    let amqp = AmqpFacts {
        user: Some("guest".into()),
        vhost: Some("/".into()),
        close: Some(("broker".into(), 320, "CONNECTION_FORCED".into())),
        ..AmqpFacts::default()
    };
    let record = Record {
        amqp: Some(&amqp),
        ..session()
    };
    let mut out = Vec::new();
    json::write(&record, &mut out);
    let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(value["client"], "127.0.0.1:53708");
    assert_eq!(value["termination"], "SD");
    assert_eq!(value["reason"], "the server broke off while octets passed");
    assert_eq!(value["times_ms"]["connect"], 0);
    assert_eq!(value["times_ms"].get("request"), None);
    assert_eq!(value["amqp"]["user"], "guest");
    assert_eq!(value["amqp"]["close"][1], 320);
    assert_eq!(value["connections"]["process"], 2);
    let time: jiff::Timestamp = value["time"].as_str().unwrap().parse().unwrap();
    assert_eq!(SystemTime::from(time), accepted());
    assert_eq!(value.get("http"), None);
}

fn logging(transport: Transport) -> Logging {
    Logging {
        targets: vec![target(transport)],
        format: LogFormat::Tcp,
        ..Logging::default()
    }
}

fn target(transport: Transport) -> Arc<LogTarget> {
    Arc::new(LogTarget {
        transport,
        facility: Facility(16),
        level: Level::Debug,
        level_at_most: Level::Emerg,
        length: 1024,
    })
}

fn receiver() -> (UdpSocket, Transport) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let transport = Transport::Udp(socket.local_addr().unwrap());
    (socket, transport)
}

fn received(socket: &UdpSocket) -> String {
    let mut octets = [0; 4096];
    let length = socket.recv(&mut octets).unwrap();
    String::from_utf8(octets[..length].to_vec()).unwrap()
}

#[test]
fn what_is_normal_is_info_and_what_is_not_may_be_an_error() {
    let (_socket, transport) = receiver();
    let with = |change: fn(&mut Logging)| {
        let mut logging = logging(transport.clone());
        change(&mut logging);
        logging
    };
    let normal = Record {
        termination: Termination::NORMAL,
        ..session()
    };
    let cause = |cause| Record {
        termination: Termination::new(cause, Phase::Data),
        ..session()
    };
    let retried = Record {
        retries: 1,
        ..normal.clone()
    };
    let redispatched = Record {
        redispatched: true,
        ..normal.clone()
    };
    let mut unavailable = request(&[]);
    if let Some(http) = &mut unavailable.http {
        http.status = Some(503);
    }
    let usual = with(|_| {});
    let separate = with(|logging| logging.separate_errors = true);
    let errors_only = with(|logging| logging.dontlog_normal = true);
    for record in [&normal, &cause(Cause::Local)] {
        assert_eq!(severity(&usual, record), Some(Level::Info));
        assert_eq!(severity(&separate, record), Some(Level::Info));
        assert_eq!(severity(&errors_only, record), None);
    }
    for record in [
        &cause(Cause::ClientAborted),
        &cause(Cause::ServerTimeout),
        &cause(Cause::Killed),
        &retried,
        &redispatched,
        &unavailable,
    ] {
        assert_eq!(severity(&usual, record), Some(Level::Info));
        assert_eq!(severity(&separate, record), Some(Level::Err));
        assert_eq!(severity(&errors_only, record), Some(Level::Info));
    }
    let silent = Record {
        bytes_in: 0,
        ..session()
    };
    assert_eq!(severity(&usual, &silent), Some(Level::Info));
    assert_eq!(
        severity(&with(|logging| logging.dontlognull = true), &silent),
        None
    );
    assert_eq!(severity(&Logging::default(), &normal), None);
}

/// Lines of HAProxy 2.6.
#[test]
fn whoever_never_came_in_has_a_line_of_its_own() {
    let (socket, transport) = receiver();
    let mut writer = Writer::new(&global(), Dropped::default());
    let mut logging = logging(transport);
    let record = |bind, why| Record {
        refused: Some(Refused { bind, place: 2, why }),
        bytes_in: 0,
        ..session()
    };
    writer.session(&logging, &record(None, Refusal::TlsFailure));
    logging.separate_errors = true;
    logging.dontlog_normal = true;
    writer.session(&logging, &record(Some("named"), Refusal::TlsClosed));
    logging.dontlognull = true;
    for null in [
        Refusal::TlsClosed,
        Refusal::TlsTimeout,
        Refusal::HeaderAbsent,
        Refusal::HeaderTimeout,
    ] {
        writer.session(&logging, &record(None, null));
    }
    writer.session(&logging, &record(None, Refusal::HeaderTruncated));
    writer.flush();
    for (level, end) in [
        ("<134>", "rabbitmq_cluster/2: SSL handshake failure\n"),
        (
            "<131>",
            "rabbitmq_cluster/named: Connection closed during SSL handshake\n",
        ),
        (
            "<131>",
            "rabbitmq_cluster/2: Truncated PROXY protocol header received\n",
        ),
    ] {
        let line = received(&socket);
        let end = format!(": 127.0.0.1:53708 [11/Aug/2017:10:07:03.042] {end}");
        assert!(line.starts_with(level) && line.ends_with(&end), "{line}");
    }
}

#[test]
fn a_datagram_begins_as_haproxys_does() {
    let (socket, transport) = receiver();
    let mut writer = Writer::new(&global(), Dropped::default());
    writer.session(&logging(transport), &session());
    writer.flush();
    let line = received(&socket);
    let pid = std::process::id();
    let (header, rest) = line.split_once(": ").unwrap();
    assert_eq!(rest, format!("{}\n", rendered(format::TCP, &session(), false)));
    let date = header
        .strip_prefix("<134>")
        .unwrap()
        .strip_suffix(&format!(" haproxy[{pid}]"))
        .unwrap();
    assert!(
        jiff::fmt::strtime::parse("%b %e %H:%M:%S", date).is_ok(),
        "{date}"
    );
    assert_eq!(date.len(), 15);
}

#[test]
fn a_proxys_tag_and_the_hosts_name_are_in_the_header() {
    let (socket, transport) = receiver();
    let mut global = global();
    global.log_hostname = Some("here".into());
    let mut writer = Writer::new(&global, Dropped::default());
    let logging = Logging {
        tag: Some("web".into()),
        ..logging(transport)
    };
    writer.event(&logging, Level::Alert, "Server a/b is DOWN\nforged");
    writer.flush();
    let line = received(&socket);
    let end = format!(" here web[{}]: Server a/b is DOWN forged\n", std::process::id());
    assert!(line.starts_with("<129>") && line.ends_with(&end), "{line}");
}

#[test]
fn levels_and_lengths_are_each_targets_own() {
    let (socket, transport) = receiver();
    let with = |level, level_at_most, length| {
        Arc::new(LogTarget {
            transport: transport.clone(),
            facility: Facility(17),
            level,
            level_at_most,
            length,
        })
    };
    let logging = Logging {
        targets: vec![
            with(Level::Notice, Level::Emerg, 1024),
            with(Level::Info, Level::Notice, 100),
        ],
        ..logging(transport.clone())
    };
    let mut writer = Writer::new(&global(), Dropped::default());
    writer.session(&logging, &session());
    writer.event(&logging, Level::Alert, "first");
    writer.flush();
    // Only the second takes sessions, and cuts them; both take alerts, the second as notices.
    let line = received(&socket);
    assert!(
        line.starts_with("<142>") && line.len() == 100 && line.ends_with('\n'),
        "{line:?}"
    );
    assert!(received(&socket).starts_with("<137>"));
    assert!(received(&socket).starts_with("<141>"));
}

#[test]
fn many_lines_arrive_in_order_and_none_is_lost() {
    let (socket, transport) = receiver();
    let dropped = Dropped::default();
    let mut writer = Writer::new(&global(), dropped.clone());
    let logging = Logging {
        format: LogFormat::Custom(Arc::new(Format::compile("%rt").unwrap())),
        ..logging(transport)
    };
    for number in 0..100 {
        let record = Record {
            session: number,
            ..session()
        };
        writer.session(&logging, &record);
    }
    writer.flush();
    for number in 0..100 {
        let line = received(&socket);
        assert!(line.ends_with(&format!(": {number}\n")), "{line}");
    }
    assert_eq!(dropped.count(), 0);
}

#[test]
fn a_receiver_that_is_absent_costs_lines_and_nothing_else_and_is_found_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let dropped = Dropped::default();
    let mut writer = Writer::new(&global(), dropped.clone());
    let logging = logging(Transport::Unix(path.clone()));
    for _ in 0..3 {
        writer.event(&logging, Level::Info, "nobody hears this");
    }
    writer.flush();
    assert_eq!(dropped.count(), 3);
    let socket = UnixDatagram::bind(&path).unwrap();
    writer.event(&logging, Level::Info, "somebody hears this");
    writer.flush();
    let mut octets = [0; 256];
    let length = socket.recv(&mut octets).unwrap();
    assert!(octets[..length].ends_with(b": somebody hears this\n"));
    assert_eq!(dropped.count(), 3);
}

#[test]
fn a_receiver_that_does_not_read_makes_nobody_wait() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let _socket = UnixDatagram::bind(&path).unwrap();
    let dropped = Dropped::default();
    let mut writer = Writer::new(&global(), dropped.clone());
    let logging = logging(Transport::Unix(path));
    for _ in 0..100_000 {
        writer.session(&logging, &session());
    }
    writer.flush();
    assert!(dropped.count() > 0);
}

/// Lines that differ from each other, some of them in length.
fn various_lines(count: usize) -> (Vec<u8>, Vec<usize>) {
    let (mut octets, mut ends) = (Vec::new(), Vec::new());
    for number in 0..count {
        let filling = match number / 8 % 4 {
            0 => 10,
            1 => 12 - number % 2,
            2 if number % 5 == 0 => 3000,
            _ => 11,
        };
        octets.extend_from_slice(format!("{number:04} {}\n", "x".repeat(filling)).as_bytes());
        ends.push(octets.len());
    }
    (octets, ends)
}

/// What arrives: every line once, whole, and in order.
fn all_received(socket: &UdpSocket, octets: &[u8], count: usize) {
    let received: Vec<Vec<u8>> = (0..count)
        .map(|_| {
            let mut line = vec![0; 4096];
            let length = socket.recv(&mut line).unwrap();
            line.truncate(length);
            line
        })
        .collect();
    let sent: Vec<&[u8]> = octets.split_inclusive(|octet| *octet == b'\n').collect();
    assert_eq!(received, sent);
}

#[test]
fn each_line_is_a_datagram_however_many_go_together() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(socket) = UdpSocket::bind(address) else {
            continue;
        };
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut sink = sink::Sink::open(&Transport::Udp(socket.local_addr().unwrap())).unwrap();
        for count in [1, 2, 3, 100, 1, 40] {
            let (octets, ends) = various_lines(count);
            assert_eq!(sink.send(&octets, &ends), 0);
            all_received(&socket, &octets, count);
        }
    }
}

#[test]
fn lines_arrive_where_the_kernel_cuts_no_messages() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut sink = sink::Sink::open(&Transport::Udp(socket.local_addr().unwrap())).unwrap();
    sink.refuse_to_cut();
    for count in [100, 1, 40] {
        let (octets, ends) = various_lines(count);
        assert_eq!(sink.send(&octets, &ends), 0);
        all_received(&socket, &octets, count);
    }
}

#[test]
fn a_full_pipe_gets_whole_lines_and_the_rest_is_counted() {
    let (reader, pipe) = std::io::pipe().unwrap();
    let again = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&pipe));
    let mut stream = sink::Stream::open(std::os::fd::AsFd::as_fd(&pipe), &again).unwrap();
    let line = [vec![b'x'; 999], vec![b'\n']].concat();
    let mut dropped = 0;
    for _ in 0..200 {
        dropped += stream.send(&line, &[line.len()]);
    }
    assert!(dropped > 100, "{dropped}");
    drop((stream, pipe));
    let (mut reader, mut out) = (reader, Vec::new());
    reader.read_to_end(&mut out).unwrap();
    assert!(out.len() >= (200 - dropped as usize - 1) * 1000, "{}", out.len());
    assert!(
        out.split_inclusive(|octet| *octet == b'\n')
            .rev()
            .skip(1)
            .all(|kept| kept == line)
    );
}

#[test]
fn connections_are_announced_plainly_without_an_option() {
    let (socket, transport) = receiver();
    let mut writer = Writer::new(&global(), Dropped::default());
    let logging = Logging {
        format: LogFormat::Plain,
        ..logging(transport)
    };
    writer.session(&logging, &session());
    writer.flush();
    let end = "Connect from 127.0.0.1:53708 to 127.0.0.1:5670 (rabbitmq_cluster/TCP)\n";
    assert!(received(&socket).ends_with(end));
}
