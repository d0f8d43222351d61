//! The little of IP that VRRP looks at or has to write itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{PROTOCOL, TTL};
use crate::checksum::Sum;

/// What the IP header said about a received message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Who sent it.
    pub source: IpAddr,
    /// Where it was sent to: a group or one of our own addresses.
    pub destination: IpAddr,
    /// IPv4 TTL or IPv6 hop limit as received.
    pub ttl: u8,
}

/// The IPv4 header of an advertisement, for a socket that wants it from us (`IP_HDRINCL`).
///
/// ```text
///   0                   1                   2                   3
///   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
///  +-------+-------+---------------+-------------------------------+
///  | ver 4 | IHL 5 | TOS 0xc0      | total length                  |
///  +-------+-------+---------------+-------------------------------+
///  | identification 0              | flags and offset 0: DF clear  |
///  +---------------+---------------+-------------------------------+
///  | TTL 255       | protocol 112  | header checksum               |
///  +---------------+---------------+-------------------------------+
///  | source                                                        |
///  | destination                                                   |
///  +---------------------------------------------------------------+
/// ```
///
/// The identification is left zero because Linux fills it in. A payload too long for IPv4 has its length capped; no
/// VRRP message comes near.
// RFC 9568 §5.1.1.3: the TTL MUST be sent as 255. [9568-5.1.1.3-2]
#[must_use]
pub fn ipv4_header(source: Ipv4Addr, destination: Ipv4Addr, payload_length: u16) -> [u8; 20] {
    let [length_high, length_low] = payload_length.saturating_add(20).to_be_bytes();
    let [s0, s1, s2, s3] = source.octets();
    let [d0, d1, d2, d3] = destination.octets();
    let with_checksum = |[high, low]: [u8; 2]| {
        [
            0x45,
            0xc0,
            length_high,
            length_low,
            0,
            0,
            0,
            0,
            TTL,
            PROTOCOL,
            high,
            low,
            s0,
            s1,
            s2,
            s3,
            d0,
            d1,
            d2,
            d3,
        ]
    };
    let checksum = Sum::new().bytes(&with_checksum([0, 0])).checksum();
    with_checksum(checksum.to_be_bytes())
}

/// The IPv6 header of an advertisement, for a socket that wants it from us (`IPV6_HDRINCL`).
///
/// ```text
///   0                   1                   2                   3
///   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
///  +-------+---------------+---------------------------------------+
///  | ver 6 | class 0xc0    | flow label 0                          |
///  +-------+---------------+-------+---------------+---------------+
///  | payload length                | next head. 112| hop limit 255 |
///  +-------------------------------+---------------+---------------+
///  | source, 16 bytes                                              |
///  | destination, 16 bytes                                         |
///  +---------------------------------------------------------------+
/// ```
// RFC 9568 §5.1.2.3: the hop limit MUST be sent as 255. [9568-5.1.2.3-2]
#[must_use]
pub fn ipv6_header(source: Ipv6Addr, destination: Ipv6Addr, payload_length: u16) -> [u8; 40] {
    let [length_high, length_low] = payload_length.to_be_bytes();
    let mut header = [0; 40];
    let fields = [0x6c, 0, 0, 0, length_high, length_low, PROTOCOL, TTL];
    let bytes = fields
        .into_iter()
        .chain(source.octets())
        .chain(destination.octets());
    for (slot, byte) in header.iter_mut().zip(bytes) {
        *slot = byte;
    }
    header
}
