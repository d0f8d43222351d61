//! Clients that are slow, wrong or out to deceive. Others must not notice, and no server may hear what was not meant for it.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use warren_lab::{End, Load, Origin, Proxy, ProxyFlavour, Session, eventually, read_all};

use super::{CHECK, PATIENCE, Place, for_both};

for_both!(
    a_slow_head_is_answered_with_408,
    heads_that_are_too_long_are_refused,
    requests_that_could_be_read_two_ways_reach_no_server,
    well_formed_requests_reach_the_server,
    garbage_instead_of_tls_disturbs_nobody,
    a_proxy_header_is_believed_where_it_is_expected,
    bad_proxy_headers_are_refused,
    silent_clients_are_let_go,
);

const WEB: u16 = 8080;
/// How long a head may take.
const HEAD: Duration = Duration::from_secs(1);

struct Web {
    origin: Origin,
    _proxy: Proxy,
    place: Place,
}

impl Web {
    fn new(flavour: ProxyFlavour) -> Self {
        let place = Place::with(&["web1"]);
        let origin = Origin::start(&place.servers[0].host, WEB);
        let text = place.configuration("", "", CHECK);
        let (before, _) = text.split_once("listen rabbitmq").expect("a proxy");
        let text = format!(
            "{before}listen web\n    bind *:80\n    mode http\n    option httplog\n    timeout http-request 1s\n    \
             server web1 10.77.0.3:{WEB}\n"
        );
        Self {
            origin,
            _proxy: Proxy::start(flavour, &place.proxy, &text),
            place,
        }
    }

    fn connect(&self) -> TcpStream {
        connect(&self.place, 80)
    }

    /// Sends octets; answers the status of what comes back, and how many requests the server got from it.
    fn ask(&self, octets: &[u8]) -> (String, u64) {
        let before = self.origin.requests();
        let stream = self.connect();
        // It may be refused before all is written.
        let _ = (&stream).write_all(octets);
        let (answer, _) = read_all(&stream, Duration::from_millis(2500));
        let text = String::from_utf8_lossy(&answer);
        let status = text.split(' ').nth(1).unwrap_or_default().to_owned();
        (status, self.origin.requests() - before)
    }
}

fn connect(place: &Place, port: u16) -> TcpStream {
    let at = SocketAddr::from(([10, 77, 0, 1], port));
    place
        .client
        .enter(|| TcpStream::connect(at))
        .expect("the proxy listens")
}

fn a_slow_head_is_answered_with_408(flavour: ProxyFlavour) {
    let web = Web::new(flavour);
    let stream = web.connect();
    let start = Instant::now();
    for octet in b"GET / HTTP/1.1\r\nHost: a" {
        if start.elapsed() > HEAD + Duration::from_millis(300) || (&stream).write_all(&[*octet]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let (answer, end) = read_all(&stream, PATIENCE);
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{answer:?}");
    assert_ne!(end, End::StillOpen);
    assert!(start.elapsed() < HEAD * 3, "{:?}", start.elapsed());
    assert_eq!(web.origin.requests(), 0);
    let lines = web.place.log.messages("<BADREQ>");
    eventually(PATIENCE, "it is logged as the client's slowness", || {
        let lines = web.place.log.messages("<BADREQ>");
        if lines
            .iter()
            .any(|line| line.contains(" 408 ") && line.contains(" cR-- "))
        {
            Ok(())
        } else {
            Err(lines)
        }
    });
    drop(lines);
}

/// By one of the statuses that say so (400, 413, 414, 431), and no server heard of it.
#[track_caller]
fn refused((status, heard): (String, u64)) {
    assert!(
        status.starts_with('4') && heard == 0,
        "{status}, heard {heard} times"
    );
}

fn heads_that_are_too_long_are_refused(flavour: ProxyFlavour) {
    let web = Web::new(flavour);
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    refused(web.ask(long.as_bytes()));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(2000));
    refused(web.ask(many.as_bytes()));
    let path = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(100_000));
    refused(web.ask(path.as_bytes()));
}

/// What two readers can understand differently (RFC 9112, section 11.2).
const AMBIGUOUS: &[&str] = &[
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 6\r\n\r\nhello!",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5x\r\n\r\nhello",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\nhello",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello",
    "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX\0Y: 1\r\n\r\n",
    "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
    "GE(T / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
    "GET / HTTX/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/11\r\nHost: a\r\n\r\n",
    "GET /\u{7f} HTTP/1.1\r\nHost: a\r\n\r\n",
    "\u{16}\u{3}\u{1} this is not HTTP\r\n\r\n",
];

/// What HAProxy 2.6 lets through, though the standard says no.
const FORGIVEN: &str = "GET / HTTP/1.1\r\nHost: a\r\nX: 1\0\r\n\r\n";

fn requests_that_could_be_read_two_ways_reach_no_server(flavour: ProxyFlavour) {
    let web = Web::new(flavour);
    let let_through: Vec<_> = AMBIGUOUS
        .iter()
        .map(|request| (request, web.ask(request.as_bytes())))
        .filter(|(_, (status, heard))| !status.starts_with('4') || *heard != 0)
        .collect();
    assert!(let_through.is_empty(), "{let_through:#?}");
    if flavour == ProxyFlavour::Warren {
        assert_eq!(web.ask(FORGIVEN.as_bytes()), ("400".to_owned(), 0));
    }
}

fn well_formed_requests_reach_the_server(flavour: ProxyFlavour) {
    let web = Web::new(flavour);
    for (request, requests) in [
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 1),
        ("GET / HTTP/1.0\r\n\r\n", 1),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
            1,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            1,
        ),
        // Two at once, answered in order.
        (
            "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            2,
        ),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 1),
    ] {
        assert_eq!(
            web.ask(request.as_bytes()),
            ("200".to_owned(), requests),
            "{request}"
        );
    }
    // What was smuggled behind a body is a request of its own, to the proxy as well as to the server.
    let smuggled = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /admin HTTP/1.1\r\nHost: a\r\n\r\n";
    let before = web.origin.requests();
    let stream = web.connect();
    (&stream).write_all(smuggled.as_bytes()).unwrap();
    let text = String::from_utf8_lossy(&read_all(&stream, Duration::from_millis(1500)).0).into_owned();
    let answers = text.matches("HTTP/1.1 ").count() as u64;
    assert!(
        web.origin.requests() - before <= answers,
        "every request the server got was one to the proxy: {text}"
    );
    assert!(
        !text
            .to_ascii_lowercase()
            .contains("\r\ncontent-length: 4\r\ntransfer-encoding"),
        "not both: {text}"
    );
}

fn garbage_instead_of_tls_disturbs_nobody(flavour: ProxyFlavour) {
    let place = Place::new();
    let pem = place.proxy.directory().join("tls.pem");
    place.proxy.sh(&format!(
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout {0}.key -out {0}.crt -days 2 -subj /CN=a.test 2>/dev/null && \
         cat {0}.crt {0}.key > {0}",
        pem.display()
    ));
    let text = place.configuration("timeout client 5s", "", CHECK).replace(
        "bind *:5670",
        &format!("bind *:5670\n    bind *:5671 ssl crt {}", pem.display()),
    );
    let proxy = Proxy::start(flavour, &place.proxy, &text);
    let load = Load::start(&place.client, place.entry(), 4, 20);
    let hellos: [&[u8]; 6] = [
        b"AMQP\0\0\x09\x01",
        b"GET / HTTP/1.1\r\n\r\n",
        &[0x16, 3, 1, 0xFF, 0xFF, 1, 0, 0xFF, 0xFF],
        &[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0],
        &[0x80, 0x2E, 1, 0, 2],
        &[0; 3000],
    ];
    for hello in hellos {
        let stream = connect(&place, 5671);
        let _ = (&stream).write_all(hello);
        // Half a hello is waited for; the rest is not TLS and never will be.
        let (_, end) = read_all(&stream, Duration::from_secs(7));
        assert_ne!(end, End::StillOpen, "{hello:?}");
    }
    let hello = "(printf 'AMQP\\0\\0\\011\\001'; sleep 1) | timeout 5 openssl s_client -quiet -connect 10.77.0.1:5671";
    let answer = place
        .client
        .sh(&format!("{hello} 2>/dev/null | tr -d '\\0' | grep -ac AMQPLAIN"));
    assert_eq!(answer.trim(), "1", "whoever speaks TLS is served");
    assert_eq!(proxy.status("rabbitmq", "rabbitmq1"), "UP");
    let report = load.stop();
    assert!(report.is_clean() && report.exchanged > 100, "{report:?}");
}

fn behind_a_proxy(place: &Place, flavour: ProxyFlavour) -> Proxy {
    let text = place
        .configuration("timeout client 2s", "", CHECK)
        .replace("bind *:5670", "bind *:5670 accept-proxy");
    Proxy::start(flavour, &place.proxy, &text)
}

/// Version 2, TCP over IPv4, from 192.0.2.7:4711 to 192.0.2.8:5670.
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc0\0\x02\x08\x12\x67\x16\x26";

fn a_proxy_header_is_believed_where_it_is_expected(flavour: ProxyFlavour) {
    let place = Place::with(&["rabbitmq1"]);
    let _proxy = behind_a_proxy(&place, flavour);
    let text: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.8 4711 5670\r\n";
    for (number, header) in [text, BINARY].into_iter().enumerate() {
        let stream = connect(&place, super::PORT);
        // A network may deliver it in two pieces, which HAProxy asks senders not to let happen.
        let pieces = if flavour == ProxyFlavour::Warren {
            header.split_at(9)
        } else {
            (header, &[][..])
        };
        (&stream).write_all(pieces.0).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        (&stream).write_all(pieces.1).unwrap();
        let mut session = Session::log_in(stream, PATIENCE).unwrap();
        session.exchange(1000).unwrap();
        session.close().unwrap();
        eventually(PATIENCE, "the log has the client's own address", || {
            let lines = place.log.messages("192.0.2.7:4711 ");
            if lines.len() == number + 1 {
                Ok(())
            } else {
                Err(place.log.lines())
            }
        });
    }
}

fn bad_proxy_headers_are_refused(flavour: ProxyFlavour) {
    let place = Place::with(&["rabbitmq1"]);
    let proxy = behind_a_proxy(&place, flavour);
    let long = [b"PROXY TCP4 ".as_slice(), &[b'1'; 300]].concat();
    let headers: [&[u8]; 8] = [
        b"AMQP\0\0\x09\x01 without any header",
        b"PROXY TCP4 192.0.2.7 192.0.2.8 4711\r\n",
        b"PROXY TCP4 999.0.2.7 192.0.2.8 4711 5670\r\n",
        b"PROXY TCP9 192.0.2.7 192.0.2.8 4711 5670\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.8 99999 5670\r\n",
        &long,
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c\xc0\0\x02\x07\xc0\0\x02\x08\x12\x67\x16\x26",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x03\xc0\0\x02",
    ];
    let before = place.broker("rabbitmq1").seen().logged_in;
    for header in headers {
        let stream = connect(&place, super::PORT);
        let _ = (&stream).write_all(header);
        let (answer, end) = read_all(&stream, Duration::from_secs(4));
        assert!(answer.is_empty(), "{header:?}: {answer:?}");
        assert_ne!(end, End::StillOpen, "{header:?}");
    }
    // One that never comes.
    let stream = connect(&place, super::PORT);
    assert_ne!(read_all(&stream, Duration::from_secs(4)).1, End::StillOpen);
    assert_eq!(place.broker("rabbitmq1").seen().logged_in, before);
    assert_eq!(proxy.statistics().number("rabbitmq", "FRONTEND", "scur"), 0);
}

fn silent_clients_are_let_go(flavour: ProxyFlavour) {
    let place = Place::with(&["rabbitmq1"]);
    let proxy = place.start_with(flavour, "timeout client 1s", "", CHECK);
    let streams: Vec<TcpStream> = (0..50).map(|_| connect(&place, super::PORT)).collect();
    for stream in &streams {
        assert_ne!(read_all(stream, Duration::from_secs(5)).1, End::StillOpen);
    }
    eventually(PATIENCE, "none is left", || {
        let left = proxy.statistics().number("rabbitmq", "FRONTEND", "scur");
        if left == 0 { Ok(()) } else { Err(left) }
    });
}
