//! Rules of the codec that hold for every message, checked on many.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use proptest::prelude::*;
use warren_vrrp::checksum::ChecksumForm::{self, PseudoHeader, Rfc9568};
use warren_vrrp::packet::{
    AdvertToSend, Auth, Delivery, Envelope, Interval, Password, ReceiveProfile, Reject, UnicastPeer, decode,
    set_priority, vrid_of,
};
use warren_vrrp::{Family, Priority, Version, Vrid};

/// An advertisement that its receiver expects.
#[derive(Clone, Debug)]
struct Valid {
    version: Version,
    family: Family,
    vrid: u8,
    priority: u8,
    interval: Interval,
    addresses: Vec<IpAddr>,
    auth: Auth,
    form: ChecksumForm,
    source: IpAddr,
    /// Our address if unicast, none if multicast.
    destination: Option<IpAddr>,
    remembered: Option<ChecksumForm>,
}

impl Valid {
    fn envelope(&self) -> Envelope {
        let destination = self.destination.unwrap_or_else(|| self.family.group());
        Envelope {
            source: self.source,
            destination,
            ttl: 255,
        }
    }

    fn vrid(&self) -> Vrid {
        Vrid::try_from(self.vrid).unwrap()
    }

    fn with_priority(&self, priority: u8) -> Vec<u8> {
        let mut message = Vec::new();
        AdvertToSend {
            vrid: self.vrid(),
            priority: Priority(priority),
            interval: self.interval,
            addresses: &self.addresses,
            auth: self.auth,
            checksum: self.form,
        }
        .encode(self.source, self.envelope().destination, &mut message)
        .unwrap();
        message
    }

    fn message(&self) -> Vec<u8> {
        self.with_priority(self.priority)
    }

    fn peers(&self) -> [UnicastPeer; 1] {
        [UnicastPeer::new(self.source)]
    }

    fn profile<'a>(&'a self, peers: &'a [UnicastPeer]) -> ReceiveProfile<'a> {
        ReceiveProfile {
            family: self.family,
            vrid: self.vrid(),
            interval: self.interval,
            auth: self.auth,
            owner: false,
            addresses: &self.addresses,
            delivery: match self.destination {
                Some(_) => Delivery::Unicast { peers },
                None => Delivery::Multicast {
                    group: self.family.group(),
                },
            },
            own_address: None,
            zero_addresses: true,
            strict_link_local: false,
        }
    }

    fn has_a_choice_of_form(&self) -> bool {
        (self.version, self.family) == (Version::V3, Family::V4)
    }
}

fn version_and_family() -> impl Strategy<Value = (Version, Family)> {
    prop_oneof![
        Just((Version::V2, Family::V4)),
        Just((Version::V3, Family::V4)),
        Just((Version::V3, Family::V6)),
    ]
}

fn host(family: Family) -> BoxedStrategy<IpAddr> {
    let is_host = |address: &IpAddr| !address.is_multicast();
    match family {
        Family::V4 => any::<Ipv4Addr>()
            .prop_map(IpAddr::from)
            .prop_filter("a host's", is_host)
            .boxed(),
        Family::V6 => any::<Ipv6Addr>()
            .prop_map(IpAddr::from)
            .prop_filter("a host's", is_host)
            .boxed(),
    }
}

fn interval(version: Version) -> BoxedStrategy<Interval> {
    let interval = move |duration| Interval::new(version, duration).unwrap();
    match version {
        Version::V2 => (1..=255u64)
            .prop_map(Duration::from_secs)
            .prop_map(interval)
            .boxed(),
        Version::V3 => (1..=4095u64)
            .prop_map(|cs| Duration::from_millis(cs * 10))
            .prop_map(interval)
            .boxed(),
    }
}

fn auth(version: Version) -> BoxedStrategy<Auth> {
    match version {
        Version::V2 => prop_oneof![
            Just(Auth::None),
            any::<[u8; 8]>().prop_map(|bytes| Auth::Pass(bytes.into()))
        ]
        .boxed(),
        Version::V3 => Just(Auth::None).boxed(),
    }
}

fn form() -> impl Strategy<Value = ChecksumForm> {
    prop_oneof![Just(Rfc9568), Just(PseudoHeader)]
}

fn addresses(family: Family) -> impl Strategy<Value = Vec<IpAddr>> {
    let count = prop_oneof![8 => 0..=4usize, 1 => 0..=255usize];
    count.prop_flat_map(move |count| prop::collection::vec(host(family), count))
}

fn valid() -> impl Strategy<Value = Valid> {
    version_and_family().prop_flat_map(|(version, family)| {
        (
            (
                1..=255u8,
                any::<u8>(),
                interval(version),
                addresses(family),
                auth(version),
            ),
            (
                form(),
                host(family),
                prop::option::of(host(family)),
                prop::option::of(form()),
            ),
        )
            .prop_map(move |((vrid, priority, interval, addresses, auth), more)| {
                let (form, source, destination, remembered) = more;
                Valid {
                    version,
                    family,
                    vrid,
                    priority,
                    interval,
                    addresses,
                    auth,
                    form,
                    source,
                    destination,
                    remembered,
                }
            })
    })
}

/// Any envelope, sensible or not, with the values that open doors more frequent than chance has them.
fn any_envelope() -> impl Strategy<Value = Envelope> {
    let address = prop_oneof![
        any::<IpAddr>(),
        Just(Family::V4.group()),
        Just(Family::V6.group()),
        host(Family::V4),
        host(Family::V6)
    ];
    let ttl = prop_oneof![Just(255), any::<u8>()];
    (address.clone(), address, ttl).prop_map(|(source, destination, ttl)| Envelope {
        source,
        destination,
        ttl,
    })
}

/// Bytes without meaning, most of them behind a believable first one.
fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![Just(0x21), Just(0x31), any::<u8>()];
    (first, prop::collection::vec(any::<u8>(), 0..1200)).prop_map(|(first, mut bytes)| {
        if let Some(byte) = bytes.first_mut() {
            *byte = first;
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn what_is_encoded_decodes_to_the_same(valid in valid()) {
        let message = valid.message();
        let peers = valid.peers();
        let advert = decode(&valid.envelope(), &message, &valid.profile(&peers), valid.remembered).unwrap();
        prop_assert_eq!(vrid_of(&message), Some(valid.vrid));
        prop_assert_eq!(advert.source, valid.source);
        prop_assert_eq!(advert.priority, Priority(valid.priority));
        prop_assert_eq!(advert.interval, valid.interval.duration());
        prop_assert!(!advert.interval_differs);
        prop_assert!(advert.addresses_match);
        prop_assert_eq!(advert.addresses().len(), valid.addresses.len());
        prop_assert_eq!(advert.addresses().collect::<Vec<_>>(), valid.addresses.clone());
        if !valid.has_a_choice_of_form() {
            prop_assert_eq!(advert.checksum_form, None);
        } else if advert.checksum_form != Some(valid.form) {
            // Only a pseudo-header that sums to zero hides the form, and then what was remembered stays.
            prop_assert_eq!(advert.checksum_form, valid.remembered);
            let other = Valid { form: other_form(valid.form), ..valid.clone() };
            prop_assert_eq!(other.message(), message);
        }
    }

    #[test]
    fn arbitrary_bytes_from_anywhere_never_panic(
        valid in valid(),
        envelope in any_envelope(),
        bytes in any_bytes(),
    ) {
        let peers = valid.peers();
        let profile = valid.profile(&peers);
        // The outcome hardly matters; but what is accepted must at least have been long enough to mean it.
        for envelope in [envelope, valid.envelope()] {
            if let Ok(advert) = decode(&envelope, &bytes, &profile, valid.remembered) {
                prop_assert!(bytes.len() >= 8);
                prop_assert_eq!(advert.addresses().count(), usize::from(bytes[3]));
            }
        }
    }

    // A single flipped bit changes a one's complement sum by a power of two, never by a multiple of 65535. So it is
    // rejected under the form the message was sent in. Where two forms are accepted, it can at most turn the message
    // into a valid one of the *other* form, and then the advert says so: it is never taken for an intact message.
    #[test]
    fn single_flipped_bit_is_rejected_or_shows_as_the_other_checksum_form(
        valid in valid(),
        position in any::<prop::sample::Index>(),
    ) {
        let mut message = valid.message();
        let bit = position.index(message.len() * 8);
        message[bit / 8] ^= 1 << (bit % 8);
        let peers = valid.peers();
        if let Ok(advert) = decode(&valid.envelope(), &message, &valid.profile(&peers), None) {
            prop_assert!(valid.has_a_choice_of_form());
            prop_assert_eq!(advert.checksum_form, Some(other_form(valid.form)));
        }
    }

    #[test]
    fn part_of_a_message_is_rejected(valid in valid(), at in any::<prop::sample::Index>()) {
        let message = valid.message();
        let part = &message[..at.index(message.len())];
        let peers = valid.peers();
        let reject = decode(&valid.envelope(), part, &valid.profile(&peers), None).unwrap_err();
        let need = if part.len() < 8 { 8 } else { message.len() };
        prop_assert_eq!(reject, Reject::Truncated { need, got: part.len() });
    }

    #[test]
    fn wrong_password_is_rejected(valid in valid(), ours in any::<[u8; 8]>(), theirs in any::<[u8; 8]>()) {
        prop_assume!(ours != theirs);
        let interval = Interval::new(Version::V2, Duration::from_secs(1)).unwrap();
        let theirs = Auth::Pass(Password::from(theirs));
        let addresses = vec![IpAddr::from([10, 0, 0, 1])];
        let source = IpAddr::from([10, 0, 0, 2]);
        let sent = Valid {
            version: Version::V2,
            family: Family::V4,
            interval,
            auth: theirs,
            addresses,
            source,
            destination: None,
            ..valid
        };
        let profile = ReceiveProfile { auth: Auth::Pass(Password::from(ours)), ..sent.profile(&[]) };
        prop_assert_eq!(
            decode(&sent.envelope(), &sent.message(), &profile, None).unwrap_err(),
            Reject::AuthPassword
        );
    }

    #[test]
    fn setting_the_priority_equals_encoding_anew(valid in valid(), priority in any::<u8>()) {
        let mut message = valid.message();
        set_priority(&mut message, Priority(priority)).unwrap();
        prop_assert_eq!(message, valid.with_priority(priority));
    }

    #[test]
    fn order_of_the_addresses_does_not_matter(
        (valid, shuffled) in valid()
            .prop_flat_map(|valid| (Just(valid.clone()), Just(valid.addresses).prop_shuffle())),
    ) {
        let peers = valid.peers();
        let profile = ReceiveProfile { addresses: &shuffled, ..valid.profile(&peers) };
        let message = valid.message();
        prop_assert!(decode(&valid.envelope(), &message, &profile, None).unwrap().addresses_match);
    }

    #[test]
    fn interval_survives_its_duration(
        interval in version_and_family().prop_flat_map(|(version, _)| interval(version)),
    ) {
        prop_assert_eq!(Interval::new(interval.version(), interval.duration()), Ok(interval));
    }
}

fn other_form(form: ChecksumForm) -> ChecksumForm {
    match form {
        Rfc9568 => PseudoHeader,
        PseudoHeader => Rfc9568,
    }
}

/// The exception in the rule about flipped bits exists: it needs a pseudo-header that sums to a power of two.
#[test]
fn flipped_bit_can_turn_one_checksum_form_into_the_other_and_is_reported_as_such() {
    // Pseudo-header of this source, the group, protocol 112 and 12 bytes: 0x0100.
    let sent = Valid {
        version: Version::V3,
        family: Family::V4,
        vrid: 51,
        priority: 200,
        interval: Interval::new(Version::V3, Duration::from_secs(1)).unwrap(),
        addresses: vec![IpAddr::from([10, 0, 0, 100])],
        auth: Auth::None,
        form: PseudoHeader,
        source: IpAddr::from([10, 0, 22, 113]),
        destination: None,
        remembered: Some(PseudoHeader),
    };
    let mut message = sent.message();
    message[2] ^= 1;
    let advert = decode(&sent.envelope(), &message, &sent.profile(&[]), sent.remembered).unwrap();
    assert_eq!(advert.priority, Priority(201));
    assert_eq!(advert.checksum_form, Some(Rfc9568));
}
