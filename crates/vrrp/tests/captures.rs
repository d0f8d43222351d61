//! What keepalived really sends is understood, and said again byte for byte.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use warren_vrrp::checksum::ChecksumForm::{self, PseudoHeader, Rfc9568};
use warren_vrrp::packet::{
    AdvertToSend, Auth, Delivery, Envelope, Interval, PROTOCOL, Password, ReceiveProfile, Reject,
    UnicastPeer, decode, ipv4_header, ipv6_header, set_priority, vrid_of,
};
use warren_vrrp::{Family, Priority, Version, Vrid};

/// What a capture's configuration was, as far as a receiver has to know it.
struct Case {
    name: &'static str,
    hex: &'static str,
    version: Version,
    family: Family,
    interval_ms: u64,
    auth: Auth,
    unicast: bool,
    /// The form the checksum is in, where there is a choice.
    form: Option<ChecksumForm>,
    /// Of the advertisements in their order; the last resigns.
    priorities: [u8; 3],
    addresses: Vec<IpAddr>,
}

macro_rules! case {
    ($name:literal, $version:ident, $family:ident, $interval_ms:literal) => {
        Case {
            name: $name,
            hex: include_str!(concat!("../captures/", $name, ".hex")),
            version: Version::$version,
            family: Family::$family,
            interval_ms: $interval_ms,
            auth: Auth::None,
            unicast: false,
            form: match (Version::$version, Family::$family) {
                (Version::V3, Family::V4) => Some(PseudoHeader),
                _ => None,
            },
            priorities: [200, 200, 0],
            addresses: match Family::$family {
                Family::V4 => v4(9, 1, 1),
                Family::V6 => vec![address("fe80::77:9:1"), address("fd77::9:1")],
            },
        }
    };
}

fn cases() -> Vec<Case> {
    let pass = |text| Auth::Pass(Password::new(text));
    vec![
        Case {
            addresses: v4(9, 1, 2),
            ..case!("v2-noauth", V2, V4, 1000)
        },
        case!("v2-noauth-1addr", V2, V4, 3000),
        Case {
            addresses: v4(9, 1, 2),
            auth: pass("secret77"),
            ..case!("v2-pass", V2, V4, 1000)
        },
        Case {
            auth: pass("abc"),
            ..case!("v2-pass-short", V2, V4, 1000)
        },
        Case {
            auth: pass("0123456789abc"),
            ..case!("v2-pass-long", V2, V4, 1000)
        },
        Case {
            unicast: true,
            ..case!("v2-unicast", V2, V4, 1000)
        },
        Case {
            addresses: v4(9, 1, 2),
            ..case!("v3-ipv4", V3, V4, 1000)
        },
        case!("v3-ipv4-100ms", V3, V4, 100),
        case!("v3-ipv4-10ms", V3, V4, 10),
        Case {
            priorities: [255, 0, 0],
            ..case!("v3-ipv4-40s", V3, V4, 40950)
        },
        Case {
            form: Some(Rfc9568),
            ..case!("v3-ipv4-csum-as-v2", V3, V4, 1000)
        },
        Case {
            unicast: true,
            ..case!("v3-ipv4-unicast", V3, V4, 1000)
        },
        case!("v3-ipv4-vmac", V3, V4, 1000),
        Case {
            addresses: v4(8, 1, 20),
            ..case!("v3-20addr", V3, V4, 1000)
        },
        case!("v3-ipv6", V3, V6, 1000),
        Case {
            unicast: true,
            ..case!("v3-ipv6-unicast", V3, V6, 1000)
        },
        case!("v3-ipv6-vmac", V3, V6, 1000),
    ]
}

fn v4(third: u8, first: u8, count: u8) -> Vec<IpAddr> {
    (first..first + count)
        .map(|last| Ipv4Addr::new(10, 77, third, last).into())
        .collect()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// An IP packet out of a captured frame.
struct Packet {
    envelope: Envelope,
    protocol: u8,
    ip_header: Vec<u8>,
    payload: Vec<u8>,
}

/// The IP packets among the frames of a capture that carry `protocol`.
fn packets(hex: &str, protocol: u8) -> Vec<Packet> {
    hex.lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .filter_map(|line| ip_packet(&bytes(line.trim())))
        .filter(|packet| packet.protocol == protocol)
        .collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn ip_packet(frame: &[u8]) -> Option<Packet> {
    let (ethernet, packet) = frame.split_at(14);
    match ethernet[12..14] {
        [0x08, 0x00] => {
            let header_length = usize::from(packet[0] & 0x0f) * 4;
            let total_length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
            Some(Packet {
                envelope: Envelope {
                    source: Ipv4Addr::from(*packet[12..].first_chunk::<4>().unwrap()).into(),
                    destination: Ipv4Addr::from(*packet[16..].first_chunk::<4>().unwrap()).into(),
                    ttl: packet[8],
                },
                protocol: packet[9],
                ip_header: packet[..header_length].to_vec(),
                payload: packet[header_length..total_length].to_vec(),
            })
        }
        [0x86, 0xdd] => Some(Packet {
            envelope: Envelope {
                source: Ipv6Addr::from(*packet[8..].first_chunk::<16>().unwrap()).into(),
                destination: Ipv6Addr::from(*packet[24..].first_chunk::<16>().unwrap()).into(),
                ttl: packet[7],
            },
            protocol: packet[6],
            ip_header: packet[..40].to_vec(),
            payload: packet[40..].to_vec(),
        }),
        _ => None,
    }
}

impl Case {
    fn interval(&self) -> Interval {
        Interval::new(self.version, Duration::from_millis(self.interval_ms)).unwrap()
    }

    /// keepalived sends IPv6 unicast with the kernel's default hop limit: such a peer needs `min_ttl`.
    fn peer(&self, packet: &Packet) -> UnicastPeer {
        let on_link = UnicastPeer::new(packet.envelope.source);
        match self.family {
            Family::V4 => on_link,
            Family::V6 => UnicastPeer {
                min_ttl: 64,
                ..on_link
            },
        }
    }

    fn profile<'a>(&'a self, peers: &'a [UnicastPeer]) -> ReceiveProfile<'a> {
        ReceiveProfile {
            family: self.family,
            vrid: vrid(),
            interval: self.interval(),
            auth: self.auth,
            owner: false,
            addresses: &self.addresses,
            delivery: match self.unicast {
                true => Delivery::Unicast { peers },
                false => Delivery::Multicast {
                    group: self.family.group(),
                },
            },
            own_address: None,
            zero_addresses: false,
            strict_link_local: true,
        }
    }

    fn to_send(&self, priority: u8) -> AdvertToSend<'_> {
        AdvertToSend {
            vrid: vrid(),
            priority: Priority(priority),
            interval: self.interval(),
            addresses: &self.addresses,
            auth: self.auth,
            checksum: self.form.unwrap_or(Rfc9568),
        }
    }

    fn encoded(&self, priority: u8, envelope: &Envelope) -> Vec<u8> {
        let mut message = Vec::new();
        self.to_send(priority)
            .encode(envelope.source, envelope.destination, &mut message)
            .unwrap();
        message
    }
}

fn vrid() -> Vrid {
    Vrid::try_from(51).unwrap()
}

#[test]
fn every_advertisement_of_keepalived_passes_every_check() {
    for case in cases() {
        let packets = packets(case.hex, PROTOCOL);
        assert_eq!(packets.len(), 3, "{}", case.name);
        for (packet, priority) in packets.iter().zip(case.priorities) {
            let peers = [case.peer(packet)];
            let advert = decode(&packet.envelope, &packet.payload, &case.profile(&peers), None)
                .unwrap_or_else(|reject| panic!("{}: {reject}", case.name));
            assert_eq!(vrid_of(&packet.payload), Some(51), "{}", case.name);
            assert_eq!(advert.source, packet.envelope.source, "{}", case.name);
            assert_eq!(advert.priority, Priority(priority), "{}", case.name);
            assert_eq!(
                advert.interval,
                Duration::from_millis(case.interval_ms),
                "{}",
                case.name
            );
            assert_eq!(advert.checksum_form, case.form, "{}", case.name);
            assert_eq!(
                advert.addresses().collect::<Vec<_>>(),
                case.addresses,
                "{}",
                case.name
            );
            assert!(advert.addresses_match, "{}", case.name);
            assert!(!advert.interval_differs, "{}", case.name);
            assert!(!advert.first_not_link_local, "{}", case.name);
            assert!(!advert.rival_owner, "{}", case.name);
        }
    }
}

// shows RFC 9568 §7.2 [9568-7.2-1], §5.2.6 [9568-5.2.6-1], RFC 3768 §7.2 [3768-7.2-1]
#[test]
fn encoding_gives_the_bytes_keepalived_sent() {
    for case in cases() {
        for (packet, priority) in packets(case.hex, PROTOCOL).iter().zip(case.priorities) {
            assert_eq!(
                case.encoded(priority, &packet.envelope),
                packet.payload,
                "{}",
                case.name
            );
        }
    }
}

#[test]
fn patching_the_priority_gives_the_resignation_keepalived_sent() {
    for case in cases() {
        let packets = packets(case.hex, PROTOCOL);
        let mut message = packets[0].payload.clone();
        set_priority(&mut message, Priority::RESIGN).unwrap();
        assert_eq!(message, packets[2].payload, "{}", case.name);
    }
}

// shows RFC 9568 §5.1.1.3 [9568-5.1.1.3-2]
#[test]
fn ipv4_header_is_that_of_keepalived_but_for_the_identification() {
    for case in cases().into_iter().filter(|case| case.family == Family::V4) {
        for packet in packets(case.hex, PROTOCOL) {
            let (IpAddr::V4(source), IpAddr::V4(destination)) =
                (packet.envelope.source, packet.envelope.destination)
            else {
                panic!("{}: not IPv4", case.name);
            };
            let ours = ipv4_header(source, destination, u16::try_from(packet.payload.len()).unwrap());
            assert_eq!(ones_complement_sum(&ours), 0xffff, "{}", case.name);
            let without_identification_and_checksum = |header: &[u8]| {
                let mut header = header.to_vec();
                header[4..6].fill(0);
                header[10..12].fill(0);
                header
            };
            assert_eq!(
                without_identification_and_checksum(&ours),
                without_identification_and_checksum(&packet.ip_header),
                "{}",
                case.name
            );
        }
    }
}

// shows RFC 9568 §5.1.2.3 [9568-5.1.2.3-2]
#[test]
fn ipv6_header_is_that_of_keepalived_but_for_the_flow_label_and_the_unicast_hop_limit() {
    for case in cases().into_iter().filter(|case| case.family == Family::V6) {
        for packet in packets(case.hex, PROTOCOL) {
            let (IpAddr::V6(source), IpAddr::V6(destination)) =
                (packet.envelope.source, packet.envelope.destination)
            else {
                panic!("{}: not IPv6", case.name);
            };
            let ours = ipv6_header(source, destination, u16::try_from(packet.payload.len()).unwrap());
            let mut theirs = packet.ip_header;
            theirs[1] &= 0xf0;
            theirs[2..4].fill(0);
            if case.unicast {
                theirs[7] = 255;
            }
            assert_eq!(ours[..], theirs, "{}", case.name);
        }
    }
}

/// Written anew here so that the code under test is not its own judge.
fn ones_complement_sum(bytes: &[u8]) -> u32 {
    let sum: u32 = bytes
        .chunks(2)
        .map(|word| u32::from(word[0]) * 256 + u32::from(word[1]))
        .sum();
    (sum & 0xffff) + (sum >> 16)
}

#[test]
fn authentication_header_is_refused_by_name() {
    let case = case!("v2-ah", V2, V4, 1000);
    let packets = packets(case.hex, 51);
    assert_eq!(packets.len(), 3);
    for packet in packets {
        // IP protocol 51: next header, length in words less two, then the VRRP message.
        assert_eq!(packet.payload[0], PROTOCOL);
        let header_length = (usize::from(packet.payload[1]) + 2) * 4;
        let message = &packet.payload[header_length..];
        for auth in [Auth::None, Auth::Pass(Password::new("secret77"))] {
            let profile = ReceiveProfile {
                auth,
                ..case.profile(&[])
            };
            assert_eq!(
                decode(&packet.envelope, message, &profile, None).unwrap_err(),
                Reject::AuthHeader
            );
        }
    }
}

#[test]
fn every_captured_advertisement_is_rejected_by_a_router_of_the_other_version() {
    for case in cases() {
        let (other, interval) = match case.version {
            Version::V2 => (Version::V3, Duration::from_secs(1)),
            Version::V3 => (Version::V2, Duration::from_secs(1)),
        };
        for packet in packets(case.hex, PROTOCOL) {
            let peers = [case.peer(&packet)];
            let interval = Interval::new(other, interval).unwrap();
            let profile = ReceiveProfile {
                interval,
                ..case.profile(&peers)
            };
            assert_eq!(
                decode(&packet.envelope, &packet.payload, &profile, None).unwrap_err(),
                Reject::Version {
                    got: case.version.number(),
                    expected: other.number()
                },
                "{}",
                case.name
            );
        }
    }
}

#[test]
fn ipv6_unicast_of_keepalived_is_refused_unless_the_peer_is_allowed_its_hop_limit() {
    let case = Case {
        unicast: true,
        ..case!("v3-ipv6-unicast", V3, V6, 1000)
    };
    for packet in packets(case.hex, PROTOCOL) {
        let peers = [UnicastPeer::new(packet.envelope.source)];
        assert_eq!(
            decode(&packet.envelope, &packet.payload, &case.profile(&peers), None).unwrap_err(),
            Reject::Ttl { got: 64, least: 255 }
        );
    }
}

#[test]
fn every_capture_file_is_covered() {
    let listed: Vec<_> = cases().iter().map(|case| format!("{}.hex", case.name)).collect();
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/captures");
    for entry in std::fs::read_dir(directory).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".hex") && name != "v2-ah.hex" {
            assert!(listed.contains(&name), "{name} has no test case");
        }
    }
}
