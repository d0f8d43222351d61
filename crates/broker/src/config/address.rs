//! Addresses and networks as operators write them.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Addresses that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    length: u8,
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl Network {
    /// `10.0.0.0/8`, or one address.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            Some(length) => length.parse().ok().filter(|length| *length <= most)?,
            None => most,
        };
        Some(Self { address, length })
    }

    /// Is it in there? An IPv4 address is itself also where it comes in by IPv6.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let length = u32::from(self.length);
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (own.to_bits() ^ other.to_bits()).leading_zeros() >= length
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.to_bits() ^ other.to_bits()).leading_zeros() >= length
            }
            _ => false,
        }
    }
}

/// `192.0.2.1:5672`, `[::1]:5672`, `192.0.2.1`, and `5672` or `*:5672` for every address.
///
/// # Errors
/// It is none; says what to write.
pub fn listen_address(text: &str, port: u16) -> Result<SocketAddr, &'static str> {
    if let Ok(port) = text.strip_prefix("*:").unwrap_or(text).parse::<u16>() {
        return Ok(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)));
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, port));
    }
    text.parse()
        .map_err(|_| "write an address such as 192.0.2.1:5672 or [::1]:5672, or a port for every address")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_leave_out_what_is_usual() {
        for (text, expected) in [
            ("0", "[::]:0"),
            ("5673", "[::]:5673"),
            ("*:5673", "[::]:5673"),
            ("192.0.2.1", "192.0.2.1:5672"),
            ("::1", "[::1]:5672"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("[::1]:1", "[::1]:1"),
        ] {
            assert_eq!(
                listen_address(text, 5672),
                Ok(expected.parse().unwrap()),
                "{text}"
            );
        }
        assert!(listen_address("localhost:5672", 5672).is_err());
    }

    #[test]
    fn a_network_has_those_that_begin_alike() {
        let has = |network: &str, address: &str| {
            Network::parse(network)
                .unwrap()
                .contains(address.parse().unwrap())
        };
        assert!(has("10.0.0.0/8", "10.255.0.1") && !has("10.0.0.0/8", "11.0.0.1"));
        assert!(has("10.0.0.1", "::ffff:10.0.0.1") && !has("10.0.0.1", "10.0.0.2"));
        assert!(has("0.0.0.0/0", "192.0.2.1") && !has("0.0.0.0/0", "::1"));
        assert!(has("2001:db8::/32", "2001:db8::1") && !has("::1/128", "::2"));
        assert!(Network::parse("10.0.0.0/33").is_none() && Network::parse("x").is_none());
    }
}
