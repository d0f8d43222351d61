//! Addresses and facts to a header.

use std::io::Write as _;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::{Facts, ProxyVersion, TlsFacts, V2_SIGNATURE, VALUE_MAX, client, crc32c, kind};

/// Appends a header. Without addresses we speak for ourselves: LOCAL, or in version 1 UNKNOWN.
///
/// `facts` are of version 2; values longer than 1024 octets are left out, as is nothing else.
pub fn encode(
    version: ProxyVersion,
    addresses: Option<(SocketAddr, SocketAddr)>,
    facts: &Facts,
    out: &mut Vec<u8>,
) {
    let addresses = addresses.map(|(source, destination)| of_one_family(source, destination));
    match version {
        ProxyVersion::V1 => line(addresses, out),
        ProxyVersion::V2 => binary(addresses, facts, out),
    }
}

/// A header has one family for both addresses.
fn of_one_family(source: SocketAddr, destination: SocketAddr) -> (SocketAddr, SocketAddr) {
    let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let mapped = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    let (source, destination) = (plain(source), plain(destination));
    if source.is_ipv4() == destination.is_ipv4() {
        (source, destination)
    } else {
        (mapped(source), mapped(destination))
    }
}

fn line(addresses: Option<(SocketAddr, SocketAddr)>, out: &mut Vec<u8>) {
    // A vector takes everything.
    let _ = match addresses {
        None => write!(out, "PROXY UNKNOWN\r\n"),
        Some((source, destination)) => {
            let family = if source.is_ipv4() { 4 } else { 6 };
            write!(
                out,
                "PROXY TCP{family} {} {} {} {}\r\n",
                source.ip(),
                destination.ip(),
                source.port(),
                destination.port()
            )
        }
    };
}

fn binary(addresses: Option<(SocketAddr, SocketAddr)>, facts: &Facts, out: &mut Vec<u8>) {
    const VERSION: u8 = 0x20;
    let begin = out.len();
    out.extend_from_slice(V2_SIGNATURE);
    match addresses {
        None => out.extend_from_slice(&[VERSION, 0, 0, 0]),
        Some((source, destination)) => {
            let family = if source.is_ipv4() { 0x11 } else { 0x21 };
            out.extend_from_slice(&[VERSION | 1, family, 0, 0]);
            for address in [source, destination] {
                match address.ip() {
                    IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
                    IpAddr::V6(ip) => out.extend_from_slice(&Ipv6Addr::octets(&ip)),
                }
            }
            for address in [source, destination] {
                out.extend_from_slice(&address.port().to_be_bytes());
            }
        }
    }
    values(facts, out);
    if facts.checksum {
        value(kind::CRC32C, &[0; 4], out);
    }
    let length = u16::try_from(out.len() - begin - 16).unwrap_or(u16::MAX);
    replace(out, begin + 14, &length.to_be_bytes());
    if facts.checksum {
        let sum = crc32c(out.iter().skip(begin).copied());
        let place = out.len() - 4;
        replace(out, place, &sum.to_be_bytes());
    }
}

fn values(facts: &Facts, out: &mut Vec<u8>) {
    let mut some = |kind, octets: Option<&[u8]>| {
        if let Some(octets) = octets {
            value(kind, octets, out);
        }
    };
    some(kind::ALPN, facts.alpn.as_deref());
    some(kind::AUTHORITY, facts.authority.as_deref().map(str::as_bytes));
    some(kind::UNIQUE_ID, facts.unique_id.as_deref());
    if let Some(tls) = &facts.tls {
        value(kind::SSL, &tls_value(tls), out);
    }
    some_text(kind::NETNS, facts.namespace.as_deref(), out);
}

fn tls_value(tls: &TlsFacts) -> Vec<u8> {
    let mut flags = 0;
    if tls.used {
        flags |= client::SSL;
    }
    if tls.certificate {
        flags |= client::CERTIFICATE_ON_CONNECTION | client::CERTIFICATE_IN_SESSION;
    }
    let verify = u32::from(!tls.verified).to_be_bytes();
    let mut out = [&[flags], verify.as_slice()].concat();
    some_text(kind::SSL_VERSION, tls.version.as_deref(), &mut out);
    some_text(kind::SSL_CN, tls.common_name.as_deref(), &mut out);
    some_text(kind::SSL_CIPHER, tls.cipher.as_deref(), &mut out);
    out
}

fn some_text(kind: u8, text: Option<&str>, out: &mut Vec<u8>) {
    if let Some(text) = text {
        value(kind, text.as_bytes(), out);
    }
}

fn value(kind: u8, octets: &[u8], out: &mut Vec<u8>) {
    let length = u16::try_from(octets.len()).unwrap_or(u16::MAX);
    // The SSL value holds three others.
    if usize::from(length) <= 3 * (VALUE_MAX + 3) + 5 && (kind == kind::SSL || octets.len() <= VALUE_MAX) {
        out.push(kind);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(octets);
    }
}

fn replace(out: &mut [u8], place: usize, with: &[u8]) {
    for (octet, new) in out.iter_mut().skip(place).zip(with) {
        *octet = *new;
    }
}
