//! How much the kernel still has for each client: octets that wait in the socket or that the client has not
//! acknowledged. A client that reads too slowly shows here first.
//!
//! ```text
//!   sl  local_address rem_address   st tx_queue rx_queue ...
//!    0: 0100007F:1F90 0100007F:C350 01 00000010:00000000 ...      /proc/net/tcp, numbers of four octets as the host has them
//! ```
//!
//! One look shows all sockets at once, so that listing sessions asks the kernel once and no worker has to. It takes
//! milliseconds where there are many sockets: to be called on a thread that may wait.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::SessionInfo;

/// Octets of a table that are read; beyond, sockets are not known.
const TABLE_MAX: u64 = 64 * 1024 * 1024;

/// Ours, and the other end's.
type Ends = (SocketAddr, SocketAddr);

/// Adds what the kernel has to what waits here.
pub(super) fn add_to(sessions: &mut [SessionInfo]) {
    let mut wanted: HashMap<Ends, &mut SessionInfo> = sessions
        .iter_mut()
        .filter_map(|session| {
            let ends = (session.local.parse().ok()?, session.client.parse().ok()?);
            Some((canonical(ends), session))
        })
        .collect();
    if wanted.is_empty() {
        return;
    }
    for table in ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"] {
        // Without it the figure is only what waits here.
        let Ok(file) = File::open(table) else { continue };
        let mut lines = BufReader::with_capacity(64 * 1024, file.take(TABLE_MAX));
        let mut line = String::new();
        while lines.read_line(&mut line).is_ok_and(|count| count > 0) {
            if let Some((ends, octets)) = row(&line)
                && let Some(session) = wanted.get_mut(&canonical(ends))
            {
                session.unsent += octets;
            }
            line.clear();
        }
    }
}

fn row(line: &str) -> Option<(Ends, u64)> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let (local, remote, _state) = (address(words.next()?)?, address(words.next()?)?, words.next()?);
    let (queued, _) = words.next()?.split_once(':')?;
    Some(((local, remote), u64::from_str_radix(queued, 16).ok()?))
}

fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let word = |at: usize| {
        let digits = ip.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    let ip = match ip.len() {
        8 => IpAddr::from(Ipv4Addr::from(word(0)?)),
        32 => {
            let octets: Vec<u8> = [word(0)?, word(1)?, word(2)?, word(3)?].concat();
            IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// An IPv4 client of an IPv6 socket is written in two ways.
fn canonical((local, remote): Ends) -> Ends {
    let one = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    (one(local), one(remote))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn rows_are_read_as_the_kernel_writes_them() {
        let line =
            "   1: 0100007F:1F90 0200000A:C350 01 000A0010:00000000 00:00000000 00000000     0        0 1";
        let ends = (
            "127.0.0.1:8080".parse().unwrap(),
            "10.0.0.2:50000".parse().unwrap(),
        );
        assert_eq!(row(line), Some((ends, 0x000a_0010)));
        let line = "   0: 00000000000000000000000001000000:0016 0000000000000000FFFF00000100007F:0001 01 00000001:0 ";
        let ends = ("[::1]:22".parse().unwrap(), "127.0.0.1:1".parse().unwrap());
        assert_eq!(
            row(line).map(|(ends, octets)| (canonical(ends), octets)),
            Some((ends, 1))
        );
        assert_eq!(
            row("  sl  local_address rem_address   st tx_queue rx_queue"),
            None
        );
        assert_eq!(row("   0: 0100007F 0200000A:C350 01 0:0"), None);
    }
}
