//! `log-format`: what a variable becomes is HAProxy's to say, so both are asked and their lines compared.
//!
//! Left out is what is never the same twice (times, ports, numbers of sessions) or counted otherwise on purpose: octets,
//! which HAProxy counts as it keeps them and not as they pass.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use warren_lab::{Origin, Proxy, ProxyFlavour, eventually, read_all};

use super::{PATIENCE, Place};

const WEB: u16 = 8080;

/// Of mode http, each on a port of its own from [`FIRST`] on. Each has something that is known at the end only: of a
/// format that has not, HAProxy logs every request twice.
const HTTP: [&str; 4] = [
    "%ci %fi %fp %si %sp|%f %ft %b %s|%ts %tsc|%ac %fc %rc %sq %bq|%ST|%CC %CS %ID|%sslv %sslc|%%|%{+X}ci %{+X}fi %{+X}fp",
    "%s|%HM|%HP|%HPO|%HU|%HV|%HQ|%r|%{+Q}r|%{+Q}HQ|%{+E}r|%{+Q,+E}HU",
    "%{+Q}o %ci %fp %f %b %s %ts %ST %HM %HQ %hr %hs %CC %ID %sslv %{-Q}f  %ft ",
    "%{+E}o %r|%{-E}r|%[src]|%[dst_port]|%[ssl_fc]|%[ssl_fc_sni]|%{+Q}[ssl_fc_sni]|%{+Q}[src] %hr %hrl x",
];
const FIRST: u16 = 8001;

/// Of mode tcp.
const TCP: &str = "%ci %{+Q}s|%ts|%ft %b|%ac %fc %rc %sq %bq|%U|%sslv %{+Q}sslv|%{+Q}o %f %ci %{+X}ci";

const REQUESTS: [&str; 6] = [
    "GET /a/b%20c?x=1&y=1]z HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n",
    "GET http://a.test/absolute?q HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n",
    "GET /q\\z] HTTP/1.0\r\n\r\n",
    "POST /status/404 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab",
    "GARBAGE\r\n\r\n",
    "",
];

fn lines(flavour: ProxyFlavour) -> Vec<String> {
    let place = Place::with(&["web1"]);
    let _origin = Origin::start(&place.servers[0].host, WEB);
    let text = place.configuration("", "", "");
    let (mut text, server) = (text.replace("option tcplog", ""), "server web1 10.77.0.3");
    text += &format!("    log-format \"line {TCP}\"\n");
    for (format, port) in HTTP.iter().zip(FIRST..) {
        text += &format!(
            "listen web{port}\n    bind *:{port}\n    mode http\n    log-format \"line {format}\"\n    {server}:{WEB}\n"
        );
    }
    let _proxy = Proxy::start(flavour, &place.proxy, &text.replace("option dontlognull", ""));
    let mut seen = 0;
    let mut next = || {
        let line = eventually(PATIENCE, "another log line", || {
            let lines = place.log.messages("line ");
            lines.get(seen).cloned().ok_or(lines)
        });
        seen += 1;
        line
    };
    let mut lines = Vec::new();
    for port in FIRST..FIRST + HTTP.len() as u16 {
        for request in REQUESTS {
            let stream = connect(&place, port);
            (&stream).write_all(request.as_bytes()).unwrap();
            if !request.is_empty() {
                read_all(&stream, PATIENCE);
            }
            drop(stream);
            lines.push(format!("{request:?}: {}", next()));
        }
    }
    let mut session = place.session();
    session.exchange(100).unwrap();
    session.close().unwrap();
    lines.push(next());
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
fn lines_of_log_formats_are_those_of_haproxy() {
    let [theirs, ours] = [ProxyFlavour::Haproxy, ProxyFlavour::Warren].map(lines);
    for (theirs, ours) in theirs.iter().zip(&ours) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(ours.len(), theirs.len());
}
