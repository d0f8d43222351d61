//! The receive checks of RFC 9568 section 7.1 and RFC 3768 section 7.1, in one fixed order.
//!
//! The order is cheap before dear, and damage before meaning: nothing in a message is believed, let alone complained
//! about, before its checksum was right.

use std::net::IpAddr;
use std::time::Duration;

use super::auth::{self, Auth};
use super::encode::over_pseudo_header;
use super::{
    Addresses, Advert, Delivery, Envelope, HEADER, ReceiveProfile, Reject, TTL, TYPE_ADVERTISEMENT, interval,
};
use crate::checksum::{ChecksumForm, Sum};
use crate::types::{Family, Priority, Version};

/// The least payload of an Ethernet frame: whatever is shorter is padded to it.
const ETHERNET_PAYLOAD_MIN: usize = 46;
const IPV4_HEADER_MIN: usize = 20;

/// The VRID of a message, to find the virtual router it may be for. Nothing about it has been checked yet.
#[must_use]
pub fn vrid_of(payload: &[u8]) -> Option<u8> {
    payload.get(1).copied()
}

/// Checks a received message against what `profile` expects.
///
/// `remembered` is the checksum form last seen from this source; see [`Advert::checksum_form`].
pub fn decode<'a>(
    envelope: &Envelope,
    payload: &'a [u8],
    profile: &ReceiveProfile<'_>,
    remembered: Option<ChecksumForm>,
) -> Result<Advert<'a>, Reject> {
    check_carrier(envelope, profile)?;
    check_ttl(envelope, profile)?;
    check_version_and_type(payload, profile)?;
    let message = Message::complete(payload, profile)?;
    let checksum_form = message.check_checksum(envelope, profile, remembered)?;
    message.check_vrid(profile)?;
    message.check_auth(profile)?;
    let interval = message.check_interval(profile)?;
    let first_not_link_local = message.check_addresses(profile)?;
    check_delivery(envelope, profile)?;
    Ok(Advert {
        source: envelope.source,
        priority: message.priority,
        interval,
        checksum_form,
        interval_differs: interval != profile.interval.duration(),
        // Last because it is the dearest, and never a reason to drop: a member that was given an address a moment
        // before the others must not make two actives out of one.
        addresses_match: message.addresses.same_as(profile.addresses),
        first_not_link_local,
        rival_owner: profile.owner && message.priority == Priority::OWNER,
        addresses: message.addresses,
    })
}

fn check_carrier(envelope: &Envelope, profile: &ReceiveProfile<'_>) -> Result<(), Reject> {
    let expected = profile.family;
    if Family::of(envelope.source) != expected || Family::of(envelope.destination) != expected {
        return Err(Reject::Family { expected });
    }
    if profile.own_address == Some(envelope.source) {
        return Err(Reject::Own {
            source_address: envelope.source,
        });
    }
    Ok(())
}

// RFC 9568 §5.1.1.3, §5.1.2.3, §7.1, RFC 3768 §7.1: a TTL or hop limit that is not 255 MUST be discarded.
// [9568-5.1.1.3-1] [9568-5.1.2.3-1] [9568-7.1-1] [3768-7.1-1]
// Unicast is not in the RFCs; there a peer may be allowed less.
fn check_ttl(envelope: &Envelope, profile: &ReceiveProfile<'_>) -> Result<(), Reject> {
    let least = match profile.delivery {
        Delivery::Unicast { peers } if !envelope.destination.is_multicast() => peers
            .iter()
            .find(|peer| peer.address == envelope.source)
            .map_or(TTL, |peer| peer.min_ttl),
        Delivery::Unicast { .. } | Delivery::Multicast { .. } => TTL,
    };
    if envelope.ttl < least {
        Err(Reject::Ttl {
            got: envelope.ttl,
            least,
        })
    } else {
        Ok(())
    }
}

fn check_version_and_type(payload: &[u8], profile: &ReceiveProfile<'_>) -> Result<(), Reject> {
    let Some(first) = payload.first() else {
        return Err(Reject::Truncated { need: HEADER, got: 0 });
    };
    let expected = profile.version().number();
    match (first >> 4, first & 0x0f) {
        // RFC 9568 §7.1, RFC 3768 §7.1: the version MUST be ours. [9568-7.1-2] [3768-7.1-2]
        (version, _) if version != expected => Err(Reject::Version {
            got: version,
            expected,
        }),
        (_, TYPE_ADVERTISEMENT) => Ok(()),
        // RFC 9568 §5.2.2, §7.1: an unknown type MUST be discarded. [9568-5.2.2-1] [9568-7.1-3]
        (_, got) => Err(Reject::Type { got }),
    }
}

/// The fields of a complete message, not yet believed.
struct Message<'a> {
    /// All of it, without padding: what the checksum covers.
    bytes: &'a [u8],
    vrid: u8,
    priority: Priority,
    /// Version 2: authentication type and interval. Version 3: reserved bits and interval.
    fifth_and_sixth: [u8; 2],
    checksum: u16,
    addresses: Addresses<'a>,
    /// Version 2 only.
    auth_data: Option<[u8; auth::DATA]>,
}

impl<'a> Message<'a> {
    /// Takes the message apart if all of it is there, and nothing after it but Ethernet padding.
    fn complete(payload: &'a [u8], profile: &ReceiveProfile<'_>) -> Result<Self, Reject> {
        let truncated = |need| Reject::Truncated {
            need,
            got: payload.len(),
        };
        let (header, after_header) = payload
            .split_first_chunk::<HEADER>()
            .ok_or_else(|| truncated(HEADER))?;
        let [
            _,
            vrid,
            priority,
            count,
            fifth,
            sixth,
            checksum_high,
            checksum_low,
        ] = *header;

        let addresses_length = usize::from(count) * profile.family.address_length();
        let auth_length = match profile.version() {
            Version::V2 => auth::DATA,
            Version::V3 => 0,
        };
        let length = HEADER + addresses_length + auth_length;
        // RFC 9568 §7.1, RFC 3768 §7.1: the message MUST be complete. [9568-7.1-4] [3768-7.1-3]
        let (bytes, trailing) = payload
            .split_at_checked(length)
            .ok_or_else(|| truncated(length))?;
        if !is_padding(trailing, payload.len(), profile.family) {
            return Err(Reject::Trailing {
                extra: trailing.len(),
            });
        }
        let (addresses, after_addresses) = after_header
            .split_at_checked(addresses_length)
            .ok_or_else(|| truncated(length))?;
        let auth_data = match profile.version() {
            Version::V2 => Some(*after_addresses.first_chunk().ok_or_else(|| truncated(length))?),
            Version::V3 => None,
        };
        Ok(Self {
            bytes,
            vrid,
            priority: Priority(priority),
            fifth_and_sixth: [fifth, sixth],
            checksum: u16::from_be_bytes([checksum_high, checksum_low]),
            addresses: Addresses::new(addresses, profile.family),
            auth_data,
        })
    }

    fn check_checksum(
        &self,
        envelope: &Envelope,
        profile: &ReceiveProfile<'_>,
        remembered: Option<ChecksumForm>,
    ) -> Result<Option<ChecksumForm>, Reject> {
        let is_plain = || Sum::new().bytes(self.bytes).is_intact();
        let has_pseudo_header = || {
            let header = over_pseudo_header(envelope.source, envelope.destination, self.bytes.len());
            header.bytes(self.bytes).is_intact()
        };
        let wrong = Reject::Checksum { got: self.checksum };
        // RFC 9568 §7.1, RFC 3768 §7.1: the checksum MUST be verified. [9568-7.1-5] [3768-7.1-4]
        match (profile.version(), profile.family) {
            (Version::V2, _) => is_plain().then_some(None).ok_or(wrong),
            (Version::V3, Family::V6) => has_pseudo_header().then_some(None).ok_or(wrong),
            (Version::V3, Family::V4) => match (is_plain(), has_pseudo_header()) {
                (true, false) => Ok(Some(ChecksumForm::Rfc9568)),
                (false, true) => Ok(Some(ChecksumForm::PseudoHeader)),
                // The pseudo-header of these two hosts happens to sum to zero: the message says nothing about its form.
                (true, true) => Ok(remembered),
                (false, false) => Err(wrong),
            },
        }
    }

    fn check_vrid(&self, profile: &ReceiveProfile<'_>) -> Result<(), Reject> {
        let expected = profile.vrid.get();
        // RFC 9568 §7.1, RFC 3768 §7.1: the VRID MUST be configured here. [9568-7.1-6] [3768-7.1-5]
        if self.vrid == expected {
            Ok(())
        } else {
            Err(Reject::Vrid {
                got: self.vrid,
                expected,
            })
        }
    }

    fn check_auth(&self, profile: &ReceiveProfile<'_>) -> Result<(), Reject> {
        // RFC 3768 §7.1: the authentication type MUST match and its check MUST succeed. [3768-7.1-6]
        let Some(auth_data) = self.auth_data else {
            return Ok(());
        };
        let [got, _] = self.fifth_and_sixth;
        let expected = profile.auth.type_number();
        match profile.auth {
            _ if got == auth::TYPE_HEADER => Err(Reject::AuthHeader),
            _ if got != expected => Err(Reject::AuthType { got, expected }),
            Auth::Pass(password) if !password.admits(auth_data) => Err(Reject::AuthPassword),
            Auth::Pass(_) | Auth::None => Ok(()),
        }
    }

    fn check_interval(&self, profile: &ReceiveProfile<'_>) -> Result<Duration, Reject> {
        let [fifth, sixth] = self.fifth_and_sixth;
        let version = profile.version();
        let units = match version {
            Version::V2 => u16::from(sixth),
            // RFC 9568 §5.2.6: the reserved bits MUST be ignored. [9568-5.2.6-2]
            Version::V3 => u16::from_be_bytes([fifth & 0x0f, sixth]),
        };
        let got = interval::unit(version) * u32::from(units);
        let expected = profile.interval.duration();
        match version {
            // RFC 3768 §7.1: the interval MUST be the local one. [3768-7.1-7]
            Version::V2 if got != expected => Err(Reject::IntervalMismatch { got, expected }),
            // RFC 9568 §5.2.7, erratum 8301: an interval of zero MUST be discarded. [9568-5.2.7-1]
            _ if got.is_zero() => Err(Reject::IntervalZero),
            Version::V2 | Version::V3 => Ok(got),
        }
    }

    /// Whether the first address should have been link-local and is not.
    fn check_addresses(&self, profile: &ReceiveProfile<'_>) -> Result<bool, Reject> {
        match self.addresses.clone().next() {
            None if profile.zero_addresses => Ok(false),
            // RFC 9568 §5.2.5, erratum 8299: an advertisement without addresses MUST be ignored. [9568-5.2.5-1]
            None => Err(Reject::NoAddresses),
            // RFC 9568 §5.2.9, erratum 8300: the first IPv6 address MUST be link-local. [9568-5.2.9-1]
            Some(IpAddr::V6(first)) if !first.is_unicast_link_local() => {
                if profile.strict_link_local {
                    return Err(Reject::NotLinkLocal { got: first.into() });
                }
                Ok(true)
            }
            Some(_) => Ok(false),
        }
    }
}

/// Whether what follows a message is what Ethernet adds to short frames: zeros up to the 46th byte of its payload.
///
/// A raw socket has cut it off already by the length in the IP header; a packet socket has not. Beyond that length no
/// padding is needed, so an IPv6 message, with its longer header, never has any.
fn is_padding(trailing: &[u8], payload_length: usize, family: Family) -> bool {
    trailing.is_empty()
        || (family == Family::V4
            && IPV4_HEADER_MIN + payload_length <= ETHERNET_PAYLOAD_MIN
            && trailing.iter().all(|byte| *byte == 0))
}

fn check_delivery(envelope: &Envelope, profile: &ReceiveProfile<'_>) -> Result<(), Reject> {
    let is_multicast = envelope.destination.is_multicast();
    match profile.delivery {
        Delivery::Unicast { peers } if !peers.iter().any(|peer| peer.address == envelope.source) => {
            Err(Reject::NotAPeer {
                source_address: envelope.source,
            })
        }
        Delivery::Unicast { .. } if is_multicast => Err(Reject::MulticastToUnicast),
        Delivery::Multicast { .. } if !is_multicast => Err(Reject::UnicastToMulticast),
        Delivery::Multicast { group } if envelope.destination != group => Err(Reject::Group {
            got: envelope.destination,
            expected: group,
        }),
        Delivery::Unicast { .. } | Delivery::Multicast { .. } => Ok(()),
    }
}
