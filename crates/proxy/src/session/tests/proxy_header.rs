//! PROXY protocol headers from clients and to servers.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use super::bench::{self, Bench};
use crate::plan::{ProxyVersion, SendProxy};
use crate::proxy_header::{Decoded, decode};
use crate::record::Refusal;

fn accepting() -> Bench {
    Bench::new(1, |plan| {
        let frontend = bench::frontend(plan);
        frontend.binds[0].accept_proxy = true;
        frontend.timeouts.handshake = Some(Duration::from_millis(300));
        bench::server(plan, 0).send_proxy = Some(SendProxy {
            version: ProxyVersion::V2,
            tls: true,
            unique_id: true,
        });
    })
}

#[test]
fn what_one_proxy_says_the_next_one_hears() {
    let bench = accepting();
    let mut client = bench.connect();
    let line = b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n";
    // In three pieces, the last of which is the client's own.
    client.write_all(&line[..7]).unwrap();
    client.write_all(&line[7..]).unwrap();
    client.write_all(b"question").unwrap();
    let mut server = bench.accept(0);
    let mut octets = Vec::new();
    let header = loop {
        octets.extend(bench::read(&mut server, 1));
        if let Decoded::Header(header) = decode(&octets).unwrap() {
            break header;
        }
    };
    assert_eq!(header.source, Some("192.0.2.1:56324".parse().unwrap()));
    assert_eq!(header.destination, Some("198.51.100.1:443".parse().unwrap()));
    assert!(!header.facts.tls.unwrap().used);
    assert!(header.facts.unique_id.is_some());
    assert_eq!(bench::read(&mut server, 8), b"question");
    drop((client, server));
    let line = bench.line();
    assert_eq!(line.client, header.source);
    assert_eq!(line.bytes_in, 8, "the header is not the client's");
    bench.is_empty();
}

#[test]
fn who_says_nothing_or_something_else_does_not_come_in() {
    let bench = accepting();
    let mut liar = bench.connect();
    liar.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    // Its octets were not read: a reset is as good as an end.
    let _ = liar.read(&mut [0]);
    assert_eq!(bench.line().refusal, Some(Refusal::NoHeader));
    let mut silent = bench.connect();
    assert_eq!(silent.read(&mut [0]).unwrap(), 0);
    assert_eq!(bench.line().refusal, Some(Refusal::HeaderTimeout));
    drop(bench.connect());
    assert_eq!(bench.line().refusal, Some(Refusal::HeaderAbsent));
    for (said, why) in [
        (b"PROXY TC".as_slice(), Refusal::HeaderTruncated),
        (b"PROXY TCP4 1.1.1.1\r\n", Refusal::HeaderInvalid),
        (b"PROXY TCP5 1.1.1.1 1.1.1.1 1 1\r\n", Refusal::HeaderProtocol),
    ] {
        let mut client = bench.connect();
        client.write_all(said).unwrap();
        // Whoever is wrong early may be reset before.
        let _ = client.shutdown(Shutdown::Write);
        let _ = client.read(&mut [0]);
        assert_eq!(bench.line().refusal, Some(why));
    }
    bench.is_empty();
}

#[test]
fn a_header_is_only_looked_for_where_it_is_to_be_believed() {
    let bench = Bench::new(1, |plan| {
        bench::frontend(plan).binds[0].proxy_from = vec![([192, 0, 2, 0].into(), 24)];
    });
    let mut client = bench.connect();
    let line = b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n";
    client.write_all(line).unwrap();
    let mut server = bench.accept(0);
    assert_eq!(bench::read(&mut server, line.len()), line);
    let bench = Bench::new(1, |plan| {
        bench::frontend(plan).binds[0].proxy_from = vec![([127, 0, 0, 0].into(), 8)];
    });
    let mut client = bench.connect();
    client.write_all(&[line.as_slice(), b"rest"].concat()).unwrap();
    let mut server = bench.accept(0);
    assert_eq!(bench::read(&mut server, 4), b"rest");
}
