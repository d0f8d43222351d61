//! Ethernet frames as the lab sees and forges them: VRRP adverts, ARP, neighbour advertisements.
//!
//! Written independently of the product's codec, so that one can witness against the other. Decoding is lenient on
//! purpose: a sniffer has to show wrong packets too.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A hardware address.
pub type Mac = [u8; 6];

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const PROTOCOL_VRRP: u8 = 112;
const PROTOCOL_ICMPV6: u8 = 58;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// Where VRRP over IPv4 is heard.
pub const VRRP_GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
const VRRP_GROUP_MAC: Mac = [0x01, 0x00, 0x5e, 0x00, 0x00, 0x12];

/// What was seen on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Something of protocol 112.
    Advert(Advert),
    /// ARP.
    Arp(Arp),
    /// An IPv6 neighbour advertisement.
    Neighbour(Neighbour),
}

/// A VRRP packet with the headers around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advert {
    /// Hardware address it came from.
    pub mac: Mac,
    /// IP source.
    pub source: IpAddr,
    /// IP destination.
    pub destination: IpAddr,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// Protocol version of the VRRP header.
    pub version: u8,
    /// The virtual router.
    pub vrid: u8,
    /// 0 says goodbye.
    pub priority: u8,
    /// How many addresses it claims to list.
    pub count: u8,
    /// The VRRP message, from its version byte on.
    pub message: Vec<u8>,
}

/// An ARP packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arp {
    /// Hardware address of the frame.
    pub mac: Mac,
    /// Request or reply.
    pub is_reply: bool,
    /// Who speaks.
    pub sender_mac: Mac,
    /// For which address it speaks.
    pub sender: Ipv4Addr,
    /// Which address it asks for.
    pub target: Ipv4Addr,
}

impl Arp {
    /// Sender and target are the same address: "this address lives here now".
    pub fn is_gratuitous(&self) -> bool {
        self.sender == self.target
    }
}

/// An IPv6 neighbour advertisement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// Hardware address of the frame.
    pub mac: Mac,
    /// IP source.
    pub source: Ipv6Addr,
    /// IP destination; all nodes when nobody asked.
    pub destination: Ipv6Addr,
    /// The address that is spoken for.
    pub target: Ipv6Addr,
    /// Router, solicited, override.
    pub flags: (bool, bool, bool),
}

impl Frame {
    /// Reads a whole Ethernet frame; `None` for everything the lab does not care about.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mac: Mac = bytes.get(6..12)?.try_into().ok()?;
        let body = bytes.get(14..)?;
        match u16::from_be_bytes(bytes.get(12..14)?.try_into().ok()?) {
            ETHERTYPE_ARP => decode_arp(mac, body),
            ETHERTYPE_IPV4 => decode_ipv4(mac, body),
            ETHERTYPE_IPV6 => decode_ipv6(mac, body),
            _ => None,
        }
    }

    /// The address this frame claims for the hardware address it comes from, if nobody asked for it.
    pub fn announced(&self) -> Option<IpAddr> {
        match self {
            Self::Arp(arp) if arp.is_gratuitous() => Some(IpAddr::V4(arp.sender)),
            Self::Neighbour(neighbour) if neighbour.destination.is_multicast() => {
                Some(IpAddr::V6(neighbour.target))
            }
            _ => None,
        }
    }
}

fn decode_arp(mac: Mac, body: &[u8]) -> Option<Frame> {
    Some(Frame::Arp(Arp {
        mac,
        is_reply: body.get(7)? == &2,
        sender_mac: body.get(8..14)?.try_into().ok()?,
        sender: v4(body, 14)?,
        target: v4(body, 24)?,
    }))
}

fn decode_ipv4(mac: Mac, body: &[u8]) -> Option<Frame> {
    let header = usize::from(body.first()? & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes(body.get(2..4)?.try_into().ok()?));
    if body.get(9)? != &PROTOCOL_VRRP {
        return None;
    }
    let message = body.get(header..total)?.to_vec();
    advert(
        mac,
        IpAddr::V4(v4(body, 12)?),
        IpAddr::V4(v4(body, 16)?),
        *body.get(8)?,
        message,
    )
}

fn decode_ipv6(mac: Mac, body: &[u8]) -> Option<Frame> {
    let (source, destination) = (v6(body, 8)?, v6(body, 24)?);
    let payload = body.get(40..)?;
    match *body.get(6)? {
        PROTOCOL_VRRP => advert(
            mac,
            IpAddr::V6(source),
            IpAddr::V6(destination),
            *body.get(7)?,
            payload.to_vec(),
        ),
        PROTOCOL_ICMPV6 if payload.first()? == &NEIGHBOUR_ADVERTISEMENT => {
            let bits = *payload.get(4)?;
            Some(Frame::Neighbour(Neighbour {
                mac,
                source,
                destination,
                target: v6(payload, 8)?,
                flags: (bits & 0x80 != 0, bits & 0x40 != 0, bits & 0x20 != 0),
            }))
        }
        _ => None,
    }
}

fn advert(mac: Mac, source: IpAddr, destination: IpAddr, ttl: u8, message: Vec<u8>) -> Option<Frame> {
    let &[kind, vrid, priority, count, ..] = message.as_slice() else {
        return None;
    };
    Some(Frame::Advert(Advert {
        mac,
        source,
        destination,
        ttl,
        version: kind >> 4,
        vrid,
        priority,
        count,
        message,
    }))
}

fn v4(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(at..at + 4)?).ok()?))
}

fn v6(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    Some(Ipv6Addr::from(
        <[u8; 16]>::try_from(bytes.get(at..at + 16)?).ok()?,
    ))
}

/// A multicast IPv4 advert to forge; every field may be set to nonsense before [`Forged::frame`].
#[derive(Debug, Clone)]
pub struct Forged {
    /// Hardware and IP source.
    pub mac: Mac,
    /// IP source.
    pub source: Ipv4Addr,
    /// IP time to live.
    pub ttl: u8,
    /// The VRRP message, checksum included.
    pub message: Vec<u8>,
}

impl Forged {
    /// A correct VRRPv2 advert; `interval` in seconds, `password` for authentication type 1.
    pub fn v2(
        source: Ipv4Addr,
        vrid: u8,
        priority: u8,
        interval: u8,
        password: Option<&str>,
        addresses: &[Ipv4Addr],
    ) -> Self {
        let authentication = u8::from(password.is_some());
        let mut message = vec![
            0x21,
            vrid,
            priority,
            count(addresses),
            authentication,
            interval,
            0,
            0,
        ];
        message.extend(addresses.iter().flat_map(|address| address.octets()));
        let mut secret = password.unwrap_or_default().as_bytes().to_vec();
        secret.resize(8, 0);
        message.extend(secret);
        let mut forged = Self::new(source, message);
        forged.sum(false);
        forged
    }

    /// A correct VRRPv3 advert; `interval` in centiseconds, the checksum in keepalived's form (with pseudo-header).
    pub fn v3(source: Ipv4Addr, vrid: u8, priority: u8, interval: u16, addresses: &[Ipv4Addr]) -> Self {
        let [high, low] = interval.to_be_bytes();
        let mut message = vec![0x31, vrid, priority, count(addresses), high & 0x0f, low, 0, 0];
        message.extend(addresses.iter().flat_map(|address| address.octets()));
        let mut forged = Self::new(source, message);
        forged.sum(true);
        forged
    }

    fn new(source: Ipv4Addr, message: Vec<u8>) -> Self {
        // The low bytes of the address make the hardware address unique enough for one network.
        let [_, b, c, d] = source.octets();
        Self {
            mac: [0x02, 0xbd, 0x00, b, c, d],
            source,
            ttl: 255,
            message,
        }
    }

    /// Sets the checksum right, after a field was changed.
    pub fn sum(&mut self, pseudo_header: bool) {
        if let Some(field) = self.message.get_mut(6..8) {
            field.fill(0);
        }
        let mut summed = self.message.clone();
        if pseudo_header {
            let length = u16::try_from(self.message.len())
                .unwrap_or(u16::MAX)
                .to_be_bytes();
            summed.extend(self.source.octets());
            summed.extend(VRRP_GROUP.octets());
            summed.extend([0, PROTOCOL_VRRP]);
            summed.extend(length);
        }
        let sum = internet_checksum(&summed).to_be_bytes();
        if let Some(field) = self.message.get_mut(6..8) {
            field.copy_from_slice(&sum);
        }
    }

    /// The whole Ethernet frame.
    pub fn frame(&self) -> Vec<u8> {
        let total = u16::try_from(20 + self.message.len())
            .unwrap_or(u16::MAX)
            .to_be_bytes();
        let mut header = vec![
            0x45,
            0xc0,
            total[0],
            total[1],
            0,
            0,
            0,
            0,
            self.ttl,
            PROTOCOL_VRRP,
            0,
            0,
        ];
        header.extend(self.source.octets());
        header.extend(VRRP_GROUP.octets());
        let sum = internet_checksum(&header).to_be_bytes();
        header[10..12].copy_from_slice(&sum);

        let mut frame = VRRP_GROUP_MAC.to_vec();
        frame.extend(self.mac);
        frame.extend(ETHERTYPE_IPV4.to_be_bytes());
        frame.extend(header);
        frame.extend(&self.message);
        frame.resize(frame.len().max(60), 0);
        frame
    }
}

fn count(addresses: &[Ipv4Addr]) -> u8 {
    u8::try_from(addresses.len()).unwrap_or(u8::MAX)
}

/// RFC 1071; an odd last byte counts as the high half of a word.
pub fn internet_checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| u32::from(low)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forged_advert_is_decoded_as_what_was_forged() {
        let source = Ipv4Addr::new(10, 77, 0, 9);
        let forged = Forged::v3(source, 51, 200, 10, &[Ipv4Addr::new(10, 77, 9, 1)]);
        let Some(Frame::Advert(advert)) = Frame::decode(&forged.frame()) else {
            panic!("no advert")
        };
        assert_eq!(
            (advert.version, advert.vrid, advert.priority, advert.count),
            (3, 51, 200, 1)
        );
        assert_eq!((advert.source, advert.ttl), (IpAddr::V4(source), 255));
        assert_eq!(advert.message, forged.message);
    }

    #[test]
    fn a_message_summed_with_its_checksum_gives_zero() {
        let forged = Forged::v2(
            Ipv4Addr::new(10, 0, 0, 1),
            1,
            100,
            1,
            Some("secret"),
            &[Ipv4Addr::new(10, 0, 0, 9)],
        );
        assert_eq!(forged.message.len(), 8 + 4 + 8);
        assert_eq!(internet_checksum(&forged.message), 0);
    }

    #[test]
    fn short_frames_are_ignored() {
        let frame = Forged::v3(Ipv4Addr::new(10, 0, 0, 1), 1, 100, 1, &[]).frame();
        for length in 0..42 {
            assert_eq!(Frame::decode(&frame[..length]), None, "{length} bytes");
        }
    }
}
