//! Every check by itself, and the order between them. The messages are put together here by hand, so that encoder and
//! decoder cannot agree on a mistake.

use std::net::IpAddr;
use std::time::Duration;

use super::*;
use crate::checksum::{ChecksumForm, Sum};
use crate::types::{Priority, Version, Vrid};

/// A message and its circumstances, right in everything until a fault is put in.
struct Scenario {
    version: Version,
    family: Family,
    envelope: Envelope,
    // Of the message.
    version_and_type: u8,
    vrid: u8,
    priority: u8,
    fifth: u8,
    sixth: u8,
    addresses: Vec<IpAddr>,
    auth_data: [u8; 8],
    plain: bool,
    checksum_error: u16,
    cut: usize,
    trailing: Vec<u8>,
    // Of the receiver.
    auth: Auth,
    owner: bool,
    ours: Vec<IpAddr>,
    peers: Option<Vec<UnicastPeer>>,
    own_address: Option<IpAddr>,
    zero_addresses: bool,
    strict_link_local: bool,
    remembered: Option<ChecksumForm>,
}

/// What was decoded, without the borrow.
#[derive(Debug, PartialEq)]
struct Outcome {
    priority: u8,
    interval: Duration,
    checksum_form: Option<ChecksumForm>,
    interval_differs: bool,
    addresses_match: bool,
    first_not_link_local: bool,
    rival_owner: bool,
    addresses: Vec<IpAddr>,
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn v2() -> Scenario {
    Scenario {
        version: Version::V2,
        version_and_type: 0x21,
        fifth: 1,
        sixth: 1,
        auth_data: *b"abc\0\0\0\0\0",
        plain: true,
        auth: Auth::Pass(Password::new("abc")),
        ..v3()
    }
}

fn v3() -> Scenario {
    Scenario {
        version: Version::V3,
        family: Family::V4,
        envelope: Envelope {
            source: ip("10.0.0.1"),
            destination: GROUP_V4.into(),
            ttl: 255,
        },
        version_and_type: 0x31,
        vrid: 7,
        priority: 100,
        fifth: 0,
        sixth: 100,
        addresses: vec![ip("10.0.0.100")],
        auth_data: [0; 8],
        plain: true,
        checksum_error: 0,
        cut: 0,
        trailing: Vec::new(),
        auth: Auth::None,
        owner: false,
        ours: vec![ip("10.0.0.100")],
        peers: None,
        own_address: Some(ip("10.0.0.2")),
        zero_addresses: false,
        strict_link_local: false,
        remembered: None,
    }
}

fn v3_ipv6() -> Scenario {
    Scenario {
        family: Family::V6,
        envelope: Envelope {
            source: ip("fe80::1"),
            destination: GROUP_V6.into(),
            ttl: 255,
        },
        addresses: vec![ip("fe80::100"), ip("fd00::100")],
        ours: vec![ip("fe80::100"), ip("fd00::100")],
        plain: false,
        own_address: Some(ip("fe80::2")),
        ..v3()
    }
}

fn unicast(scenario: Scenario, source: &str, destination: &str) -> Scenario {
    Scenario {
        envelope: Envelope {
            source: ip(source),
            destination: ip(destination),
            ttl: 255,
        },
        peers: Some(vec![UnicastPeer::new(ip(source))]),
        ..scenario
    }
}

impl Scenario {
    fn bytes(&self) -> Vec<u8> {
        let count = u8::try_from(self.addresses.len()).unwrap();
        let mut bytes = vec![self.version_and_type, self.vrid, self.priority, count];
        bytes.extend([self.fifth, self.sixth, 0, 0]);
        for address in &self.addresses {
            match address {
                IpAddr::V4(address) => bytes.extend(address.octets()),
                IpAddr::V6(address) => bytes.extend(address.octets()),
            }
        }
        if self.version == Version::V2 {
            bytes.extend(self.auth_data);
        }
        let mut sum = Sum::new().bytes(&bytes);
        if !self.plain {
            let length = u16::try_from(bytes.len()).unwrap();
            sum = sum.pseudo_header(self.envelope.source, self.envelope.destination, 112, length);
        }
        let checksum = sum.checksum() ^ self.checksum_error;
        bytes[6..8].copy_from_slice(&checksum.to_be_bytes());
        bytes.truncate(bytes.len() - self.cut);
        bytes.extend(&self.trailing);
        bytes
    }

    fn decode(&self) -> Result<Outcome, Reject> {
        let one_second = Interval::new(self.version, Duration::from_secs(1)).unwrap();
        let profile = ReceiveProfile {
            family: self.family,
            vrid: Vrid::try_from(7).unwrap(),
            interval: one_second,
            auth: self.auth,
            owner: self.owner,
            addresses: &self.ours,
            delivery: match &self.peers {
                Some(peers) => Delivery::Unicast { peers },
                None => Delivery::Multicast {
                    group: self.family.group(),
                },
            },
            own_address: self.own_address,
            zero_addresses: self.zero_addresses,
            strict_link_local: self.strict_link_local,
        };
        decode(&self.envelope, &self.bytes(), &profile, self.remembered).map(|advert| Outcome {
            priority: advert.priority.0,
            interval: advert.interval,
            checksum_form: advert.checksum_form,
            interval_differs: advert.interval_differs,
            addresses_match: advert.addresses_match,
            first_not_link_local: advert.first_not_link_local,
            rival_owner: advert.rival_owner,
            addresses: advert.addresses().collect(),
        })
    }

    fn reject(&self) -> Reject {
        self.decode().unwrap_err()
    }

    fn advert(&self) -> Outcome {
        self.decode().unwrap()
    }
}

type Fault = (&'static str, fn(&mut Scenario));

/// Each fault is found when alone, and before all that come after it.
fn assert_found_in_order(right: fn() -> Scenario, faults: &[Fault]) {
    right().advert();
    for (place, (reason, fault)) in faults.iter().enumerate() {
        let mut alone = right();
        fault(&mut alone);
        assert_eq!(alone.reject().reason(), *reason, "alone");

        let mut first_of_many = right();
        for (_, later) in &faults[place..] {
            later(&mut first_of_many);
        }
        assert_eq!(first_of_many.reject().reason(), *reason, "before the later ones");
    }
}

// The order is that of RFC 9568 §7.1 with authentication after the VRID.
// shows RFC 3768 §7.1 [3768-7.1-1] [3768-7.1-2] [3768-7.1-3] [3768-7.1-4] [3768-7.1-5] [3768-7.1-6] [3768-7.1-7]
#[test]
fn checks_of_version_2_are_made_in_order() {
    assert_found_in_order(
        v2,
        &[
            ("family", |s| s.envelope.source = ip("fe80::1")),
            ("own", |s| s.own_address = Some(s.envelope.source)),
            ("ttl", |s| s.envelope.ttl = 254),
            ("version", |s| {
                s.version_and_type = 0x30 | (s.version_and_type & 0x0f)
            }),
            ("type", |s| s.version_and_type = (s.version_and_type & 0xf0) | 2),
            ("truncated", |s| s.cut = 1),
            ("checksum", |s| s.checksum_error = 1),
            ("vrid", |s| s.vrid = 8),
            ("auth_type", |s| s.fifth = 0),
            ("interval_mismatch", |s| s.sixth = 2),
            ("no_addresses", |s| s.addresses.clear()),
            ("unicast_to_multicast", |s| {
                s.envelope.destination = ip("10.0.0.2")
            }),
        ],
    );
}

// shows RFC 9568 §7.1 [9568-7.1-1] [9568-7.1-2] [9568-7.1-3] [9568-7.1-5] [9568-7.1-6], §5.2.2 [9568-5.2.2-1]
// shows RFC 9568 §5.1.2.3 [9568-5.1.2.3-1]
#[test]
fn checks_of_version_3_are_made_in_order() {
    assert_found_in_order(
        || Scenario {
            strict_link_local: true,
            ..unicast(v3_ipv6(), "fe80::1", "fe80::2")
        },
        &[
            ("family", |s| s.envelope.source = ip("10.0.0.1")),
            ("own", |s| s.own_address = Some(s.envelope.source)),
            ("ttl", |s| s.envelope.ttl = 254),
            ("version", |s| {
                s.version_and_type = 0x20 | (s.version_and_type & 0x0f)
            }),
            ("type", |s| s.version_and_type = (s.version_and_type & 0xf0) | 2),
            ("trailing", |s| s.trailing = vec![0]),
            ("checksum", |s| s.checksum_error = 1),
            ("vrid", |s| s.vrid = 8),
            ("interval_zero", |s| s.sixth = 0),
            ("not_link_local", |s| s.addresses.swap(0, 1)),
            ("not_a_peer", |s| s.peers = Some(Vec::new())),
        ],
    );
}

#[test]
fn stranger_is_named_before_the_way_the_message_came() {
    assert_found_in_order(
        || unicast(v3(), "10.0.0.1", "10.0.0.2"),
        &[
            ("not_a_peer", |s| s.peers = Some(Vec::new())),
            ("multicast_to_unicast", |s| {
                s.envelope.destination = GROUP_V4.into()
            }),
        ],
    );
}

#[test]
fn another_multicast_group_is_rejected() {
    let mut message = v3();
    message.envelope.destination = ip("224.0.0.19");
    assert_eq!(
        message.reject(),
        Reject::Group {
            got: ip("224.0.0.19"),
            expected: GROUP_V4.into()
        }
    );
}

// shows RFC 9568 §7.1 [9568-7.1-4], RFC 3768 §7.1 [3768-7.1-3]
#[test]
fn missing_bytes_are_counted() {
    let mut message = v2();
    for (cut, need) in [(1, 20), (12, 20), (13, 8), (19, 8)] {
        message.cut = cut;
        assert_eq!(message.reject(), Reject::Truncated { need, got: 20 - cut });
    }
    message.cut = 20;
    assert_eq!(message.reject(), Reject::Truncated { need: 8, got: 0 });
}

#[test]
fn version_2_without_its_authentication_data_is_truncated() {
    let message = Scenario {
        cut: 8,
        auth: Auth::None,
        fifth: 0,
        ..v2()
    };
    assert_eq!(message.reject(), Reject::Truncated { need: 20, got: 12 });
}

#[test]
fn zeros_up_to_the_shortest_ethernet_frame_are_padding() {
    for (right, length) in [(v2 as fn() -> Scenario, 20), (v3, 12)] {
        for extra in 0..=26 - length {
            Scenario {
                trailing: vec![0; extra],
                ..right()
            }
            .advert();
        }
        let too_many = Scenario {
            trailing: vec![0; 27 - length],
            ..right()
        };
        assert_eq!(too_many.reject(), Reject::Trailing { extra: 27 - length });
        let not_zero = Scenario {
            trailing: vec![0, 1],
            ..right()
        };
        assert_eq!(not_zero.reject(), Reject::Trailing { extra: 2 });
    }
}

#[test]
fn hmac_trailer_of_keepalived_is_rejected() {
    let message = Scenario {
        trailing: vec![0; 28],
        ..v3()
    };
    assert_eq!(message.reject(), Reject::Trailing { extra: 28 });
}

// shows RFC 9568 §5.1.1.3 [9568-5.1.1.3-1]
#[test]
fn ttl_below_255_is_accepted_only_from_a_unicast_peer_that_is_allowed_it() {
    let mut message = unicast(v3(), "10.0.0.1", "10.0.0.2");
    message.envelope.ttl = 63;
    assert_eq!(message.reject(), Reject::Ttl { got: 63, least: 255 });
    message.peers = Some(vec![UnicastPeer {
        address: ip("10.0.0.1"),
        min_ttl: 64,
    }]);
    assert_eq!(message.reject(), Reject::Ttl { got: 63, least: 64 });
    message.envelope.ttl = 64;
    message.advert();
    // Somebody else's allowance is not ours, and none is for multicast.
    message.envelope.source = ip("10.0.0.3");
    assert_eq!(message.reject(), Reject::Ttl { got: 64, least: 255 });
    message.envelope.source = ip("10.0.0.1");
    message.envelope.destination = GROUP_V4.into();
    assert_eq!(message.reject(), Reject::Ttl { got: 64, least: 255 });
}

#[test]
fn checksum_form_is_reported_where_there_is_a_choice() {
    assert_eq!(v3().advert().checksum_form, Some(ChecksumForm::Rfc9568));
    let pseudo_header = Scenario { plain: false, ..v3() };
    assert_eq!(
        pseudo_header.advert().checksum_form,
        Some(ChecksumForm::PseudoHeader)
    );
    assert_eq!(v2().advert().checksum_form, None);
    assert_eq!(v3_ipv6().advert().checksum_form, None);
}

#[test]
fn other_form_than_the_remembered_one_is_accepted_and_reported() {
    let changed = Scenario {
        plain: false,
        remembered: Some(ChecksumForm::Rfc9568),
        ..v3()
    };
    assert_eq!(changed.advert().checksum_form, Some(ChecksumForm::PseudoHeader));
}

#[test]
fn checksum_that_is_right_in_neither_form_is_rejected_whatever_was_remembered() {
    for plain in [true, false] {
        for remembered in [
            None,
            Some(ChecksumForm::Rfc9568),
            Some(ChecksumForm::PseudoHeader),
        ] {
            let damaged = Scenario {
                plain,
                remembered,
                checksum_error: 0x0400,
                ..v3()
            };
            assert_eq!(damaged.reject().reason(), "checksum");
        }
    }
}

#[test]
fn version_2_and_ipv6_have_one_form_only() {
    assert_eq!(Scenario { plain: false, ..v2() }.reject().reason(), "checksum");
    assert_eq!(
        Scenario {
            plain: true,
            ..v3_ipv6()
        }
        .reject()
        .reason(),
        "checksum"
    );
}

#[test]
fn message_that_fits_both_forms_does_not_change_the_remembered_one() {
    // This source makes the pseudo-header of a 12-byte message to the group sum to zero.
    let mut message = v3();
    message.envelope.source = ip("10.0.21.113");
    let pseudo_header = Sum::new().pseudo_header(message.envelope.source, GROUP_V4.into(), 112, 12);
    assert_eq!(pseudo_header.folded(), 0xffff);
    for remembered in [
        None,
        Some(ChecksumForm::Rfc9568),
        Some(ChecksumForm::PseudoHeader),
    ] {
        message.remembered = remembered;
        assert_eq!(message.advert().checksum_form, remembered);
    }
}

#[test]
fn authentication_is_that_of_the_configuration() {
    let none = Scenario {
        auth: Auth::None,
        fifth: 0,
        ..v2()
    };
    none.advert();
    assert_eq!(
        Scenario { fifth: 0, ..v2() }.reject(),
        Reject::AuthType { got: 0, expected: 1 }
    );
    assert_eq!(
        Scenario { fifth: 1, ..none }.reject(),
        Reject::AuthType { got: 1, expected: 0 }
    );
    assert_eq!(Scenario { fifth: 2, ..v2() }.reject(), Reject::AuthHeader);
    assert_eq!(
        Scenario {
            auth: Auth::None,
            fifth: 2,
            ..v2()
        }
        .reject(),
        Reject::AuthHeader
    );
    assert_eq!(
        Scenario {
            auth_data: *b"abd\0\0\0\0\0",
            ..v2()
        }
        .reject(),
        Reject::AuthPassword
    );
    assert_eq!(
        Scenario {
            auth_data: *b"abc\0\0\0\0x",
            ..v2()
        }
        .reject(),
        Reject::AuthPassword
    );
}

// RFC 3768 section 5.3.10: the data is zero on transmission and ignored on reception.
#[test]
fn authentication_data_is_ignored_without_authentication() {
    Scenario {
        auth: Auth::None,
        fifth: 0,
        auth_data: [0xff; 8],
        ..v2()
    }
    .advert();
}

#[test]
fn password_is_cut_at_eight_bytes_and_padded_with_zeros() {
    assert_eq!(Password::new("0123456789"), Password::from(*b"01234567"));
    assert_eq!(Password::new("abc"), Password::from(*b"abc\0\0\0\0\0"));
    assert_eq!(Password::new(""), Password::from([0; 8]));
}

#[test]
fn password_does_not_show_in_debug_output() {
    assert!(!format!("{:?}", Auth::Pass(Password::new("secret77"))).contains("secret"));
}

#[test]
fn another_interval_is_learnt_in_version_3() {
    let advert = Scenario {
        fifth: 0x01,
        sixth: 0x2c,
        ..v3()
    }
    .advert();
    assert_eq!(advert.interval, Duration::from_secs(3));
    assert!(advert.interval_differs);
    assert!(!v3().advert().interval_differs);
}

#[test]
fn another_interval_is_rejected_in_version_2() {
    let [one, three] = [1, 3].map(Duration::from_secs);
    assert_eq!(
        Scenario { sixth: 3, ..v2() }.reject(),
        Reject::IntervalMismatch {
            got: three,
            expected: one
        }
    );
}

// shows RFC 9568 §5.2.6 [9568-5.2.6-2]
#[test]
fn reserved_bits_are_ignored() {
    let advert = Scenario { fifth: 0xf0, ..v3() }.advert();
    assert_eq!(advert.interval, Duration::from_secs(1));
    assert!(!advert.interval_differs);
}

// shows RFC 9568 §5.2.7, erratum 8301 [9568-5.2.7-1]
#[test]
fn interval_of_zero_is_rejected_even_with_reserved_bits_set() {
    assert_eq!(
        Scenario {
            fifth: 0xf0,
            sixth: 0,
            ..v3()
        }
        .reject(),
        Reject::IntervalZero
    );
}

// shows RFC 9568 §5.2.5, erratum 8299 [9568-5.2.5-1]
#[test]
fn no_addresses_are_accepted_only_for_a_role_without_addresses() {
    for right in [v2 as fn() -> Scenario, v3, v3_ipv6] {
        let without = Scenario {
            addresses: Vec::new(),
            ..right()
        };
        assert_eq!(without.reject(), Reject::NoAddresses);
        let role = Scenario {
            zero_addresses: true,
            ours: Vec::new(),
            ..without
        };
        let advert = role.advert();
        assert!(advert.addresses_match && !advert.first_not_link_local && advert.addresses.is_empty());
    }
}

// RFC 9568 section 7.1: a different list is at most logged.
#[test]
fn different_addresses_are_reported_and_never_dropped() {
    let (first, second, third) = (ip("10.0.0.100"), ip("10.0.0.101"), ip("10.0.0.102"));
    for (listed, ours, same) in [
        (vec![first, second], vec![first, second], true),
        (vec![second, first], vec![first, second], true),
        (vec![first], vec![first, second], false),
        (vec![first, second], vec![first], false),
        (vec![first, third], vec![first, second], false),
        (vec![first, first], vec![first, second], false),
        (vec![first, second], vec![first, first], false),
    ] {
        let advert = Scenario {
            addresses: listed.clone(),
            ours: ours.clone(),
            ..v3()
        }
        .advert();
        assert_eq!(advert.addresses_match, same, "{listed:?} against {ours:?}");
        assert_eq!(advert.addresses, listed);
    }
}

// shows RFC 9568 §5.2.9, erratum 8300 [9568-5.2.9-1]
#[test]
fn first_address_that_is_not_link_local_is_reported() {
    let mut message = v3_ipv6();
    assert!(!message.advert().first_not_link_local);
    message.addresses.swap(0, 1);
    assert!(message.advert().first_not_link_local);
    message.strict_link_local = true;
    assert_eq!(message.reject(), Reject::NotLinkLocal { got: ip("fd00::100") });
}

// RFC 9568 section 7.1 with erratum 8298: verified and logged, not dropped.
#[test]
fn owner_hears_of_a_rival_owner() {
    for (owner, priority, rival) in [(true, 255, true), (true, 254, false), (false, 255, false)] {
        let advert = Scenario {
            owner,
            priority,
            ..v3()
        }
        .advert();
        assert_eq!(advert.rival_owner, rival, "owner {owner}, priority {priority}");
        assert_eq!(advert.priority, priority);
    }
}

#[test]
fn message_of_one_byte_has_no_vrid() {
    assert_eq!(vrid_of(&[]), None);
    assert_eq!(vrid_of(&[0x31]), None);
    assert_eq!(vrid_of(&[0x31, 9]), Some(9));
}

#[test]
fn every_reason_has_a_place_of_its_own() {
    let address = ip("10.0.0.1");
    let second = Duration::from_secs(1);
    let all = [
        Reject::Family { expected: Family::V4 },
        Reject::Own {
            source_address: address,
        },
        Reject::Ttl { got: 1, least: 255 },
        Reject::Version { got: 2, expected: 3 },
        Reject::Type { got: 2 },
        Reject::Truncated { need: 8, got: 1 },
        Reject::Trailing { extra: 1 },
        Reject::Checksum { got: 1 },
        Reject::Vrid { got: 1, expected: 2 },
        Reject::AuthHeader,
        Reject::AuthType { got: 1, expected: 0 },
        Reject::AuthPassword,
        Reject::IntervalMismatch {
            got: second,
            expected: second,
        },
        Reject::IntervalZero,
        Reject::NoAddresses,
        Reject::NotLinkLocal { got: address },
        Reject::NotAPeer {
            source_address: address,
        },
        Reject::UnicastToMulticast,
        Reject::MulticastToUnicast,
        Reject::Group {
            got: address,
            expected: address,
        },
    ];
    assert_eq!(all.len(), Reject::REASONS.len());
    for (place, reject) in all.iter().enumerate() {
        assert_eq!(reject.index(), place);
        let variant: String = format!("{reject:?}")
            .chars()
            .take_while(|c| c.is_alphanumeric())
            .collect();
        assert_eq!(reject.reason().replace('_', ""), variant.to_lowercase());
    }
}

fn to_send(addresses: &[IpAddr]) -> AdvertToSend<'_> {
    AdvertToSend {
        vrid: Vrid::try_from(7).unwrap(),
        priority: Priority(100),
        interval: Interval::new(Version::V3, Duration::from_secs(1)).unwrap(),
        addresses,
        auth: Auth::None,
        checksum: ChecksumForm::Rfc9568,
    }
}

// shows RFC 9568 §5.2.9 [9568-5.2.9-2]
#[test]
fn what_the_wire_cannot_say_is_refused_and_leaves_nothing_to_send() {
    let (v4_source, v4_group) = (ip("10.0.0.1"), ip("224.0.0.18"));
    let (v6_source, v6_group) = (ip("fe80::1"), ip("ff02::12"));
    let many = vec![ip("10.0.0.100"); 256];
    let v2_interval = Interval::new(Version::V2, Duration::from_secs(1)).unwrap();
    let pass = Auth::Pass(Password::new("abc"));
    let mixed = |address, source_address| EncodeError::MixedFamilies {
        address,
        source_address,
    };
    for (advert, source, destination, error) in [
        (
            to_send(&many),
            v4_source,
            v4_group,
            EncodeError::TooManyAddresses { count: 256 },
        ),
        (
            to_send(&many[..1]),
            v6_source,
            v6_group,
            mixed(many[0], v6_source),
        ),
        (
            to_send(&many[..1]),
            v4_source,
            v6_group,
            mixed(v6_group, v4_source),
        ),
        (
            AdvertToSend {
                auth: pass,
                ..to_send(&[])
            },
            v4_source,
            v4_group,
            EncodeError::PasswordInVersion3,
        ),
        (
            AdvertToSend {
                interval: v2_interval,
                ..to_send(&[])
            },
            v6_source,
            v6_group,
            EncodeError::Version2OverIpv6,
        ),
    ] {
        let mut out = vec![1, 2, 3];
        assert_eq!(advert.encode(source, destination, &mut out), Err(error));
        assert!(out.is_empty());
    }
}

#[test]
fn longest_message_fits_the_announced_size() {
    let addresses = vec![ip("fe80::100"); ADDRESSES_MAX];
    let mut out = Vec::new();
    to_send(&addresses)
        .encode(ip("fe80::1"), GROUP_V6.into(), &mut out)
        .unwrap();
    assert_eq!(out.len(), MESSAGE_MAX);
}

#[test]
fn priority_of_something_too_short_is_not_set() {
    let mut short = [0x31; 7];
    assert_eq!(
        set_priority(&mut short, Priority::RESIGN),
        Err(NotAnAdvert { length: 7 })
    );
    assert_eq!(short, [0x31; 7]);
}

#[test]
fn interval_is_what_the_version_can_say() {
    let seconds = |seconds| Interval::new(Version::V2, Duration::from_secs(seconds)).map(Interval::units);
    let millis = |version, millis| Interval::new(version, Duration::from_millis(millis)).map(Interval::units);
    assert_eq!(seconds(1), Ok(1));
    assert_eq!(seconds(255), Ok(255));
    assert_eq!(millis(Version::V3, 10), Ok(1));
    assert_eq!(millis(Version::V3, 40_950), Ok(4095));
    for version in [Version::V2, Version::V3] {
        assert_eq!(millis(version, 0), Err(InvalidInterval::Zero { version }));
        let got = Duration::from_millis(1005);
        assert_eq!(
            Interval::new(version, got),
            Err(InvalidInterval::Fraction { got, version })
        );
        for got in [
            Interval::longest(version) + Duration::from_nanos(1),
            Duration::MAX,
        ] {
            assert_eq!(
                Interval::new(version, got),
                Err(InvalidInterval::TooLong { got, version })
            );
        }
    }
}

#[test]
fn interval_errors_say_what_to_do() {
    let text = |version, millis| {
        Interval::new(version, Duration::from_millis(millis))
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        text(Version::V2, 1500),
        "an advertisement interval of 1.5s is not a multiple of 1s, the unit of VRRPv2: use one that is"
    );
    assert_eq!(
        text(Version::V3, 41_000),
        "an advertisement interval of 41s is longer than VRRPv3 can say: use at most 40.95s"
    );
    assert_eq!(
        text(Version::V3, 0),
        "an advertisement interval of zero would never let a router sleep: use at least 10ms with VRRPv3"
    );
}
