use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

fn header(octets: &[u8]) -> Header {
    match decode(octets) {
        Ok(Decoded::Header(header)) => *header,
        other => panic!("{other:?}"),
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn encoded(version: ProxyVersion, addresses: Option<(SocketAddr, SocketAddr)>, facts: &Facts) -> Vec<u8> {
    let mut out = Vec::new();
    encode(version, addresses, facts, &mut out);
    out
}

#[test]
fn a_line_tells_addresses_and_leaves_what_follows() {
    let line = b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\nGET";
    let read = header(line);
    assert_eq!(read.source, Some(address("192.0.2.1:56324")));
    assert_eq!(read.destination, Some(address("198.51.100.1:443")));
    assert_eq!(&line[read.length..], b"GET");
    assert_eq!(
        encoded(
            ProxyVersion::V1,
            read.source.zip(read.destination),
            &Facts::default()
        ),
        &line[..read.length]
    );
    let unknown = header(b"PROXY UNKNOWN whatever it is\r\n");
    assert_eq!((unknown.source, unknown.length), (None, 30));
    assert_eq!(
        encoded(ProxyVersion::V1, None, &Facts::default()),
        b"PROXY UNKNOWN\r\n"
    );
}

#[test]
fn the_longest_line_fits_and_a_longer_one_is_not_waited_for() {
    let ip = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let longest = format!("PROXY TCP6 {ip} {ip} 65535 65535\r\n");
    assert_eq!(header(longest.as_bytes()).length, longest.len());
    let endless = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat();
    assert_eq!(decode(&endless[..V1_LENGTH_MAX - 1]), Ok(Decoded::Incomplete));
    assert_eq!(decode(&endless[..V1_LENGTH_MAX]), Err(Error::LineTooLong));
}

#[test]
fn a_sender_without_a_header_is_known_by_its_first_octet_that_differs() {
    assert_eq!(decode(b"GET / HTTP/1.1\r\n"), Err(Error::Missing));
    assert_eq!(decode(b"PRI * HTTP/2.0"), Err(Error::Missing));
    assert_eq!(decode(b"PR"), Ok(Decoded::Incomplete));
    assert_eq!(decode(b""), Ok(Decoded::Incomplete));
    assert_eq!(decode(b"\r\n\r\n\0\r\nQUIT\n\x11"), Err(Error::Version(1)));
}

#[test]
fn everything_said_besides_addresses_arrives() {
    let facts = Facts {
        alpn: Some(b"amqp".to_vec()),
        authority: Some("a.example".into()),
        unique_id: Some(vec![7; 128]),
        tls: Some(TlsFacts {
            used: true,
            certificate: true,
            verified: true,
            version: Some("TLSv1.3".into()),
            common_name: Some("alice".into()),
            cipher: Some("TLS_AES_256_GCM_SHA384".into()),
        }),
        namespace: Some("blue".into()),
        checksum: true,
    };
    let addresses = (address("[2001:db8::1]:1"), address("[2001:db8::2]:2"));
    let octets = encoded(ProxyVersion::V2, Some(addresses), &facts);
    let read = header(&octets);
    assert_eq!(read.facts, facts);
    assert_eq!(
        (read.source, read.destination),
        (Some(addresses.0), Some(addresses.1))
    );
    assert_eq!(read.length, octets.len());
    for place in 16..octets.len() {
        let mut changed = octets.clone();
        changed[place] ^= 0x10;
        assert_ne!(
            decode(&changed),
            Ok(Decoded::Header(Box::new(read.clone()))),
            "octet {place}"
        );
    }
}

#[test]
fn a_checksum_is_castagnolis() {
    assert_eq!(crc32c(*b"123456789"), 0xe306_9283);
}

#[test]
fn who_speaks_for_itself_says_local() {
    let octets = encoded(ProxyVersion::V2, None, &Facts::default());
    assert_eq!(octets, [V2_SIGNATURE.as_slice(), &[0x20, 0, 0, 0]].concat());
    assert_eq!(header(&octets).source, None);
}

#[test]
fn addresses_of_two_families_are_said_in_the_wider_one() {
    let addresses = (address("10.0.0.1:5"), address("[2001:db8::1]:6"));
    let read = header(&encoded(ProxyVersion::V2, Some(addresses), &Facts::default()));
    assert_eq!(read.source, Some(address("[::ffff:10.0.0.1]:5")));
    let mapped = (address("[::ffff:10.0.0.1]:5"), address("10.0.0.2:6"));
    let line = encoded(ProxyVersion::V1, Some(mapped), &Facts::default());
    assert_eq!(line, b"PROXY TCP4 10.0.0.1 10.0.0.2 5 6\r\n");
}

#[test]
fn a_value_too_long_is_left_out_and_nothing_else() {
    let facts = Facts {
        authority: Some("x".repeat(VALUE_MAX + 1)),
        alpn: Some(b"h2".to_vec()),
        ..Facts::default()
    };
    let read = header(&encoded(ProxyVersion::V2, None, &facts));
    assert_eq!(read.facts.authority, None);
    assert_eq!(read.facts.alpn.as_deref(), Some(b"h2".as_slice()));
}

prop_compose! {
    fn addresses()(v4 in any::<bool>(), ips in any::<[u128; 2]>(), ports in any::<[u16; 2]>()) -> [SocketAddr; 2] {
        let ip = |number: u128| if v4 {
            Ipv4Addr::from(number as u32).into()
        } else {
            // Outside of what stands for IPv4.
            Ipv6Addr::from(number | 1 << 127).into()
        };
        [SocketAddr::new(ip(ips[0]), ports[0]), SocketAddr::new(ip(ips[1]), ports[1])]
    }
}

proptest! {
    #[test]
    fn what_is_said_is_understood_however_it_comes([source, destination] in addresses(), rest in any::<[u8; 3]>()) {
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            let mut octets = encoded(version, Some((source, destination)), &Facts::default());
            let length = octets.len();
            octets.extend_from_slice(&rest);
            for until in 0..length {
                prop_assert_eq!(decode(&octets[..until]), Ok(Decoded::Incomplete));
            }
            let read = header(&octets);
            prop_assert_eq!(read.length, length);
            prop_assert_eq!((read.source, read.destination), (Some(source), Some(destination)));
        }
    }

    #[test]
    fn no_octets_make_it_panic(octets in proptest::collection::vec(any::<u8>(), 0..300), version in 0usize..3) {
        let begin: &[u8] = [b"".as_slice(), b"PROXY TCP4 ", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0"][version];
        let _ = decode(&[begin, &octets].concat());
    }
}
