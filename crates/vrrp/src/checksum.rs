//! The internet checksum (RFC 1071) and the two ways VRRPv3 over IPv4 is known to use it.
//!
//! VRRPv2 sums the message alone and VRRPv3 over IPv6 sums a pseudo-header too: nobody disagrees. VRRPv3 over IPv4
//! is the message alone in RFC 9568 section 5.2.8, but RFC 5798 could be read otherwise, and keepalived and FRR put the
//! pseudo-header in by default. So a receiver accepts either form (never neither), and a sender has to choose.
//!
//! Absent on purpose: the multicast address in a *unicast* pseudo-header, as keepalived before 1.3.6 had it.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]
#![warn(missing_docs)]

use std::net::IpAddr;

/// What the checksum of a VRRPv3 message over IPv4 covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChecksumForm {
    /// The VRRP message alone: RFC 9568 section 5.2.8; Cisco, Juniper, keepalived's `v3_checksum_as_v2`.
    Rfc9568,
    /// A pseudo-header of both IP addresses, protocol and length, then the message: keepalived and FRR by default.
    PseudoHeader,
}

/// Which form to send. What is received is not its business: that is verified in either form whatever we send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChecksumPolicy {
    /// Answer a peer in its own form; `first` until one has been heard.
    Auto {
        /// The form sent before any peer was heard.
        first: ChecksumForm,
    },
    /// Always the message alone.
    Rfc9568,
    /// Always with the pseudo-header.
    PseudoHeader,
}

impl ChecksumPolicy {
    /// The form to send to a peer whose last known form is `heard`.
    #[must_use]
    pub const fn to_send(self, heard: Option<ChecksumForm>) -> ChecksumForm {
        match (self, heard) {
            (Self::Rfc9568, _) => ChecksumForm::Rfc9568,
            (Self::PseudoHeader, _) => ChecksumForm::PseudoHeader,
            (Self::Auto { .. }, Some(form)) => form,
            (Self::Auto { first }, None) => first,
        }
    }
}

/// A one's complement sum in the making.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// The sum of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(0)
    }

    /// Adds bytes as big-endian 16-bit words. An odd last byte is padded with zero, so only the last call may have one.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        let (words, odd) = bytes.as_chunks::<2>();
        for word in words {
            self.0 += u64::from(u16::from_be_bytes(*word));
        }
        if let [last] = *odd {
            self.0 += u64::from(u16::from_be_bytes([last, 0]));
        }
        self
    }

    /// Adds one 16-bit word.
    #[must_use]
    pub fn word(self, word: u16) -> Self {
        Self(self.0 + u64::from(word))
    }

    /// Adds the pseudo-header of a message of `length` bytes: both addresses, the length and the protocol number.
    ///
    /// IPv4's (RFC 793) has a 16-bit length and IPv6's (RFC 8200 section 8.1) a 32-bit one; for a length that fits in 16
    /// bits both add up to the same, and the zero fields add nothing.
    #[must_use]
    pub fn pseudo_header(self, source: IpAddr, destination: IpAddr, protocol: u8, length: u16) -> Self {
        self.address(source)
            .address(destination)
            .word(u16::from(protocol))
            .word(length)
    }

    fn address(self, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => self.bytes(&address.octets()),
            IpAddr::V6(address) => self.bytes(&address.octets()),
        }
    }

    /// The sum folded to 16 bits. Over data that contains its own correct checksum it is `0xffff`.
    #[must_use]
    pub const fn folded(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    /// The checksum to write into data that was summed with zero in the checksum's place.
    #[must_use]
    pub const fn checksum(self) -> u16 {
        !self.folded()
    }

    /// Whether the data summed, its checksum among it, is intact.
    #[must_use]
    pub const fn is_intact(self) -> bool {
        self.folded() == 0xffff
    }
}

/// The checksum of data of which one 16-bit word changed (RFC 1624, equation 3), without the rest of the data.
#[must_use]
pub fn updated(checksum: u16, old: u16, new: u16) -> u16 {
    Sum::new().word(!checksum).word(!old).word(new).checksum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sum_of_the_example_in_rfc_1071() {
        let sum = Sum::new().bytes(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.folded(), 0xddf2);
        assert_eq!(sum.checksum(), !0xddf2);
    }

    #[test]
    fn odd_last_byte_counts_as_the_high_half_of_a_word() {
        assert_eq!(Sum::new().bytes(&[1, 2, 3]).folded(), 0x0102 + 0x0300);
    }

    #[test]
    fn auto_answers_in_the_peers_form_and_starts_with_its_own() {
        use ChecksumForm::{PseudoHeader, Rfc9568};
        for first in [Rfc9568, PseudoHeader] {
            let auto = ChecksumPolicy::Auto { first };
            assert_eq!(auto.to_send(None), first);
            assert_eq!(auto.to_send(Some(Rfc9568)), Rfc9568);
            assert_eq!(auto.to_send(Some(PseudoHeader)), PseudoHeader);
        }
    }

    #[test]
    fn fixed_policy_sends_its_form_whatever_the_peer_does() {
        use ChecksumForm::{PseudoHeader, Rfc9568};
        for heard in [None, Some(Rfc9568), Some(PseudoHeader)] {
            assert_eq!(ChecksumPolicy::Rfc9568.to_send(heard), Rfc9568);
            assert_eq!(ChecksumPolicy::PseudoHeader.to_send(heard), PseudoHeader);
        }
    }
}
