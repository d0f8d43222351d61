//! What must hold for whatever arrives where VRRP is expected. Shared by the fuzz target and by the test that replays
//! its corpus.
//!
//! Each input is a VRRP message as it follows the IP header. It is shown to one receiver of every kind, each of which
//! expects just the VRID, interval and password that the message has: guessing those would keep a fuzzer at the door.
//! So would the checksum, which is why every message is shown a second time with the checksum put right.

use std::net::IpAddr;
use std::time::Duration;

use warren_vrrp::checksum::{ChecksumForm, Sum};
use warren_vrrp::packet::{
    Advert, AdvertToSend, Auth, Delivery, Envelope, GROUP_V4, GROUP_V6, Interval, PROTOCOL, Password,
    ReceiveProfile, UnicastPeer, decode, vrid_of,
};
use warren_vrrp::{Family, Version, Vrid};

/// Whether any receiver believed the message, as it was or with its checksum put right.
///
/// Panics if one believed something that does not mean what was sent.
pub(crate) fn accepted(payload: &[u8]) -> bool {
    let mut any = false;
    for receiver in Receiver::ALL {
        any |= receiver.accepts(payload);
        any |= receiver.accepts(&receiver.repaired(payload));
    }
    any
}

#[derive(Clone, Copy)]
struct Receiver {
    version: Version,
    family: Family,
    with_password: bool,
    unicast: bool,
    zero_addresses: bool,
    form: ChecksumForm,
}

impl Receiver {
    const V2: Self = Self {
        version: Version::V2,
        family: Family::V4,
        with_password: false,
        unicast: false,
        zero_addresses: false,
        form: ChecksumForm::Rfc9568,
    };
    const V3: Self = Self {
        version: Version::V3,
        ..Self::V2
    };
    const V3_IPV6: Self = Self {
        family: Family::V6,
        ..Self::V3
    };

    const ALL: [Self; 9] = [
        Self::V2,
        Self {
            with_password: true,
            ..Self::V2
        },
        Self {
            unicast: true,
            zero_addresses: true,
            ..Self::V2
        },
        Self::V3,
        Self {
            form: ChecksumForm::PseudoHeader,
            ..Self::V3
        },
        Self {
            unicast: true,
            form: ChecksumForm::PseudoHeader,
            ..Self::V3
        },
        Self {
            zero_addresses: true,
            ..Self::V3
        },
        Self::V3_IPV6,
        Self {
            unicast: true,
            zero_addresses: true,
            ..Self::V3_IPV6
        },
    ];

    fn accepts(self, payload: &[u8]) -> bool {
        let envelope = self.envelope();
        let vrid = vrid_of(payload).and_then(|vrid| Vrid::try_from(vrid).ok());
        let vrid = vrid.unwrap_or_else(|| Vrid::try_from(1).expect("1 is a VRID"));
        let peers = [UnicastPeer::new(envelope.source)];
        let profile = ReceiveProfile {
            family: self.family,
            vrid,
            interval: self.interval(payload),
            auth: self.auth(payload),
            owner: false,
            addresses: &[],
            delivery: match self.unicast {
                true => Delivery::Unicast { peers: &peers },
                false => Delivery::Multicast {
                    group: self.family.group(),
                },
            },
            own_address: None,
            zero_addresses: self.zero_addresses,
            strict_link_local: false,
        };
        let Ok(advert) = decode(&envelope, payload, &profile, None) else {
            return false;
        };
        self.check_meaning(payload, &advert, &profile);
        true
    }

    /// Saying again what was understood gives the bytes that came, but for what a receiver has to ignore.
    fn check_meaning(self, payload: &[u8], advert: &Advert<'_>, profile: &ReceiveProfile<'_>) {
        let envelope = self.envelope();
        let addresses: Vec<IpAddr> = advert.addresses().collect();
        let interval =
            Interval::new(self.version, advert.interval).expect("an accepted interval can be sent");
        let mut again = Vec::new();
        AdvertToSend {
            vrid: profile.vrid,
            priority: advert.priority,
            interval,
            addresses: &addresses,
            auth: profile.auth,
            checksum: advert.checksum_form.unwrap_or(ChecksumForm::Rfc9568),
        }
        .encode(envelope.source, envelope.destination, &mut again)
        .expect("what was accepted can be sent");

        let same =
            decode(&envelope, &again, profile, advert.checksum_form).expect("what we send is accepted");
        assert_eq!((same.priority, same.interval), (advert.priority, advert.interval));
        assert_eq!(same.checksum_form, advert.checksum_form);
        assert!(same.addresses().eq(advert.addresses()));

        let (message, padding) = payload.split_at(again.len());
        assert!(padding.iter().all(|byte| *byte == 0), "only padding may follow");
        if !self.has_ignored_bits(message) {
            assert_eq!(message, again);
        }
    }

    /// Reserved bits, authentication data where there is no authentication, and the other spelling of checksum zero.
    fn has_ignored_bits(self, message: &[u8]) -> bool {
        let ignored = match self.version {
            Version::V2 => !self.with_password && message[message.len() - 8..] != [0; 8],
            Version::V3 => message[4] & 0xf0 != 0,
        };
        ignored || message[6..8] == [0xff, 0xff]
    }

    fn envelope(self) -> Envelope {
        let (source, group, host): (IpAddr, IpAddr, IpAddr) = match self.family {
            Family::V4 => ([10, 77, 0, 1].into(), GROUP_V4.into(), [10, 77, 0, 2].into()),
            Family::V6 => (
                [0xfe80, 0, 0, 0, 0, 0, 0, 1].into(),
                GROUP_V6.into(),
                [0xfe80, 0, 0, 0, 0, 0, 0, 2].into(),
            ),
        };
        Envelope {
            source,
            destination: if self.unicast { host } else { group },
            ttl: 255,
        }
    }

    fn interval(self, payload: &[u8]) -> Interval {
        let seconds = payload.get(5).copied().unwrap_or(1).max(1);
        let interval = match self.version {
            Version::V2 => Duration::from_secs(seconds.into()),
            Version::V3 => Duration::from_secs(1),
        };
        Interval::new(self.version, interval).expect("1 to 255 seconds can be sent")
    }

    fn auth(self, payload: &[u8]) -> Auth {
        let data = self
            .message_length(payload)
            .and_then(|length| payload.get(length - 8..length)?.first_chunk());
        match data {
            Some(data) if self.with_password => Auth::Pass(Password::from(*data)),
            _ if self.with_password => Auth::Pass(Password::new("secret77")),
            _ => Auth::None,
        }
    }

    /// How long a message with this count of addresses is, if it says so much.
    fn message_length(self, payload: &[u8]) -> Option<usize> {
        let count = usize::from(*payload.get(3)?);
        Some(match (self.version, self.family) {
            (Version::V2, _) => 8 + 4 * count + 8,
            (Version::V3, Family::V4) => 8 + 4 * count,
            (Version::V3, Family::V6) => 8 + 16 * count,
        })
    }

    /// The message with the checksum it should have, if there is room for one.
    fn repaired(self, payload: &[u8]) -> Vec<u8> {
        let mut repaired = payload.to_vec();
        let Some(message) = self
            .message_length(payload)
            .and_then(|length| repaired.get_mut(..length))
        else {
            return repaired;
        };
        message[6..8].fill(0);
        let mut sum = Sum::new().bytes(message);
        let plain =
            self.version == Version::V2 || (self.family == Family::V4 && self.form == ChecksumForm::Rfc9568);
        if !plain {
            let Envelope {
                source, destination, ..
            } = self.envelope();
            let length = u16::try_from(message.len()).expect("255 addresses fit");
            sum = sum.pseudo_header(source, destination, PROTOCOL, length);
        }
        message[6..8].copy_from_slice(&sum.checksum().to_be_bytes());
        repaired
    }
}
