//! Addresses as they are written: of listeners, servers, networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use crate::plan::{BindAddress, HostAddress};

/// The most ports of one range.
const PORTS_MAX: usize = 1024;

/// A host and what follows the last colon. `[::1]:80`, `::1:80`, `host:80`, `:80`.
fn host_and_port(text: &str) -> (&str, Option<&str>) {
    if let Some(rest) = text.strip_prefix('[')
        && let Some((host, after)) = rest.split_once(']')
    {
        return (host, after.strip_prefix(':'));
    }
    match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    }
}

/// `ipv4@`, `ipv6@`, `tcp4@` and the like say what an address shows anyway.
fn without_family(text: &str) -> &str {
    let families = ["ipv4@", "ipv6@", "tcp@", "tcp4@", "tcp6@"];
    families
        .iter()
        .find_map(|family| text.strip_prefix(family))
        .unwrap_or(text)
}

fn unix_path(text: &str) -> Option<PathBuf> {
    let path = text.strip_prefix("unix@").unwrap_or(text);
    path.starts_with('/').then(|| PathBuf::from(path))
}

/// `abns@NAME`: a name that is in no directory. It is kept as it is written, which no path is.
fn abstract_name(text: &str) -> Option<PathBuf> {
    let name = text.strip_prefix(crate::plan::ABSTRACT)?;
    let fits = (1..=crate::plan::ABSTRACT_MAX).contains(&name.len());
    fits.then(|| PathBuf::from(text))
}

/// Where a frontend listens: one address, a range of ports, or several of both with commas.
pub(super) fn bind_addresses(text: &str) -> Result<Vec<BindAddress>, &'static str> {
    const HELP: &str =
        "write an address and a port, such as 192.0.2.1:80, *:80, [2001:db8::1]:80, or the path of a socket";
    let mut addresses = Vec::new();
    for part in text.split(',') {
        if let Some(path) = unix_path(part).or_else(|| abstract_name(part)) {
            addresses.push(BindAddress::Unix(path));
            continue;
        }
        if part.contains('@') && without_family(part) == part {
            return Err("listeners are found by address: `fd@` and QUIC are not supported");
        }
        let v6 = part.starts_with("ipv6@") || part.starts_with("tcp6@");
        let (host, ports) = host_and_port(without_family(part));
        let ip = match host {
            "" | "*" if v6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            "" | "*" | "0" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            host => host.parse().map_err(|_| HELP)?,
        };
        let (first, last) = range(ports.ok_or("the port is missing")?).ok_or(HELP)?;
        if usize::from(last - first) >= PORTS_MAX {
            return Err("a range of ports has 1024 at most");
        }
        addresses.extend((first..=last).map(|port| BindAddress::Tcp(SocketAddr::new(ip, port))));
    }
    Ok(addresses)
}

/// `80` or `80-85`, neither zero.
fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    (first > 0 && first <= last).then_some((first, last))
}

/// Where a server is. Without a port it is the client's, which is not supported.
pub(crate) fn server_address(text: &str) -> Result<HostAddress, &'static str> {
    if let Some(path) = unix_path(text).or_else(|| abstract_name(text)) {
        return Ok(HostAddress::Unix(path));
    }
    let plain = without_family(text);
    if plain.contains('@') {
        return Err("servers are found by name or address: other families are not supported");
    }
    if let Ok(address) = plain.parse::<SocketAddr>() {
        return match address.port() {
            0 => Err("port 0 cannot be connected to"),
            _ => Ok(HostAddress::Ip(address)),
        };
    }
    let (host, port) = host_and_port(plain);
    let port = port.ok_or("the port is missing: write HOST:PORT")?;
    if port.starts_with(['+', '-']) {
        return Err("ports relative to the client's are not supported: write the port");
    }
    let port: u16 = port.parse().map_err(|_| "a port is a number from 1 to 65535")?;
    if port == 0 {
        return Err("port 0 cannot be connected to");
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(HostAddress::Ip(SocketAddr::new(ip, port)));
    }
    if !is_host_name(host) {
        return Err("write a name or an address, and a port: HOST:PORT");
    }
    Ok(HostAddress::Name(host.to_owned(), port))
}

/// Letters, digits, hyphens, underscores and dots.
fn is_host_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=253).contains(&text.len()) && text.chars().all(fits) && !text.starts_with('.')
}

/// An address to connect from, with or without a port; `*` is any.
pub(crate) fn source_address(text: &str) -> Option<SocketAddr> {
    let plain = without_family(text);
    if let Ok(address) = plain.parse() {
        return Some(address);
    }
    match host_and_port(plain) {
        _ if plain.parse::<IpAddr>().is_ok() => Some(SocketAddr::new(plain.parse().ok()?, 0)),
        ("*" | "", port) => {
            let port = port.map_or(Some(0), |port| port.parse().ok())?;
            Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port))
        }
        (host, Some(port)) => Some(SocketAddr::new(host.parse().ok()?, port.parse().ok()?)),
        (host, None) => Some(SocketAddr::new(host.parse().ok()?, 0)),
    }
}

/// `192.0.2.0/24`, `192.0.2.0/255.255.255.0`, `2001:db8::/32`, or one address.
pub(crate) fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length = match length {
        None => most,
        Some(length) => match length.parse::<u8>() {
            Ok(length) => length,
            Err(_) => {
                let mask = u32::from(length.parse::<Ipv4Addr>().ok()?);
                (mask.leading_ones() + mask.trailing_zeros() == 32 || mask == 0)
                    .then_some(u8::try_from(mask.leading_ones()).ok()?)?
            }
        },
    };
    (length <= most).then_some((address, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(text: &str) -> BindAddress {
        BindAddress::Tcp(text.parse().unwrap())
    }

    #[test]
    fn listeners_are_written_as_in_haproxy() {
        for (text, expected) in [
            ("*:80", vec![tcp("0.0.0.0:80")]),
            (":80", vec![tcp("0.0.0.0:80")]),
            ("192.0.2.1:80", vec![tcp("192.0.2.1:80")]),
            (":::80", vec![tcp("[::]:80")]),
            ("[::]:80", vec![tcp("[::]:80")]),
            ("2001:db8::1:80", vec![tcp("[2001:db8::1]:80")]),
            ("ipv6@:80", vec![tcp("[::]:80")]),
            ("ipv4@*:80", vec![tcp("0.0.0.0:80")]),
            (":80-81", vec![tcp("0.0.0.0:80"), tcp("0.0.0.0:81")]),
            (
                "127.0.0.1:1,127.0.0.2:2",
                vec![tcp("127.0.0.1:1"), tcp("127.0.0.2:2")],
            ),
            ("/run/x.sock", vec![BindAddress::Unix("/run/x.sock".into())]),
            ("unix@/run/x.sock", vec![BindAddress::Unix("/run/x.sock".into())]),
        ] {
            assert_eq!(bind_addresses(text), Ok(expected), "{text}");
        }
        for text in [
            "", "80", "*", "x:80", "*:0", "*:http", ":90-80", "abns@", "fd@3", ":1-2000",
        ] {
            assert!(bind_addresses(text).is_err(), "{text}");
        }
    }

    #[test]
    fn servers_are_names_or_addresses_with_a_port() {
        let ip = |text: &str| HostAddress::Ip(text.parse().unwrap());
        for (text, expected) in [
            ("10.0.0.1:5672", ip("10.0.0.1:5672")),
            ("[2001:db8::1]:80", ip("[2001:db8::1]:80")),
            ("2001:db8::1:80", ip("[2001:db8::1]:80")),
            ("ipv4@10.0.0.1:80", ip("10.0.0.1:80")),
            (
                "rabbit-1.example.org:5672",
                HostAddress::Name("rabbit-1.example.org".into(), 5672),
            ),
            ("/run/x", HostAddress::Unix("/run/x".into())),
        ] {
            assert_eq!(server_address(text), Ok(expected), "{text}");
        }
        for text in [
            "", "host", "10.0.0.1", "host:0", "host:x", "host:+1", "a b:1", "abns@",
        ] {
            assert!(server_address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn networks_have_a_length_or_a_mask() {
        for (text, expected) in [
            ("10.0.0.0/8", Some(("10.0.0.0", 8))),
            ("10.0.0.0/255.0.0.0", Some(("10.0.0.0", 8))),
            ("10.0.0.1", Some(("10.0.0.1", 32))),
            ("0.0.0.0/0", Some(("0.0.0.0", 0))),
            ("2001:db8::/32", Some(("2001:db8::", 32))),
            ("10.0.0.0/33", None),
            ("10.0.0.0/255.0.255.0", None),
            ("host/8", None),
        ] {
            let expected = expected.map(|(address, length): (&str, u8)| (address.parse().unwrap(), length));
            assert_eq!(network(text), expected, "{text}");
        }
    }
}
