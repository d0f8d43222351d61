//! Why a received message was not believed: one reason per check, in the order of the checks.

use std::net::IpAddr;
use std::time::Duration;

use crate::types::Family;

/// Why a received message was not believed. The first check that fails names it; the later ones were not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// The IP header is not of the virtual router's family.
    #[error("came over the wrong address family: this virtual router speaks {expected:?} only")]
    Family {
        /// The family configured.
        expected: Family,
    },
    /// Our own message came back.
    #[error(
        "is our own advertisement come back from {source_address}: look for a loop, or for a host with our address"
    )]
    Own {
        /// Our address.
        source_address: IpAddr,
    },
    /// A router forwarded it, or somebody off the link forged it.
    #[error("TTL {got} is below {least}: it did not come from this link; allow less with the peer's min_ttl")]
    Ttl {
        /// As received.
        got: u8,
        /// The least accepted.
        least: u8,
    },
    /// Another version of the protocol.
    #[error(
        "is VRRP version {got} but version {expected} is configured: use the same version on all members"
    )]
    Version {
        /// As received.
        got: u8,
        /// As configured.
        expected: u8,
    },
    /// Not an advertisement.
    #[error("has message type {got}, and VRRP knows type 1 only: find out what sends it")]
    Type {
        /// As received.
        got: u8,
    },
    /// The message is incomplete.
    #[error("has {got} bytes where {need} are needed: it was cut on the way or its sender is broken")]
    Truncated {
        /// Bytes that a complete message has.
        need: usize,
        /// Bytes received.
        got: usize,
    },
    /// More follows than a message and Ethernet padding.
    #[error(
        "has {extra} bytes after its end: turn off trailers such as keepalived's auth_hmac at its sender"
    )]
    Trailing {
        /// Bytes too many.
        extra: usize,
    },
    /// Wrong in every form it may have.
    #[error("checksum {got:#06x} is wrong in every form: it was damaged on the way or its sender is broken")]
    Checksum {
        /// As received.
        got: u16,
    },
    /// Of another virtual router.
    #[error("is for VRID {got}, not for {expected}: it was given to the wrong virtual router")]
    Vrid {
        /// As received.
        got: u8,
        /// As configured.
        expected: u8,
    },
    /// The IP authentication header of RFC 2338, which nobody should use.
    #[error("uses authentication by IP header (AH), which is not supported: set PASS or none at its sender")]
    AuthHeader,
    /// Another kind of authentication.
    #[error("has authentication type {got} but {expected} is configured: use the same on all members")]
    AuthType {
        /// As received.
        got: u8,
        /// As configured.
        expected: u8,
    },
    /// Wrong password.
    #[error("has the wrong password: set the same on all members, or another VRID if it is another cluster")]
    AuthPassword,
    /// Version 2 wants the same interval everywhere.
    #[error("has interval {got:?} but {expected:?} is configured: VRRPv2 needs the same on all members")]
    IntervalMismatch {
        /// As received.
        got: Duration,
        /// As configured.
        expected: Duration,
    },
    /// An interval of zero makes every timer expire at once.
    #[error("has an interval of zero: correct it at its sender")]
    IntervalZero,
    /// Lists no address.
    #[error("lists no addresses: give its sender some, or allow a role without addresses here too")]
    NoAddresses,
    /// IPv6, strict: the first address is not link-local.
    #[error("lists {got} first, which is not link-local: list the link-local address first at its sender")]
    NotLinkLocal {
        /// The first address.
        got: IpAddr,
    },
    /// Unicast from somebody who is not a peer.
    #[error("{source_address} is not one of the configured unicast peers: add it, or stop it")]
    NotAPeer {
        /// Who sent it.
        source_address: IpAddr,
    },
    /// Unicast to a virtual router that is configured for multicast.
    #[error(
        "came by unicast but multicast is configured: remove the unicast peers at its sender or add some here"
    )]
    UnicastToMulticast,
    /// Multicast to a virtual router that is configured for unicast.
    #[error(
        "came by multicast but unicast peers are configured: add unicast peers at its sender or remove them here"
    )]
    MulticastToUnicast,
    /// Multicast to a group that is not the configured one.
    #[error("was sent to group {got} but {expected} is configured: use the same group on all members")]
    Group {
        /// As received.
        got: IpAddr,
        /// As configured.
        expected: IpAddr,
    },
}

impl Reject {
    /// Every reason, in the order of the checks: the labels of an array of counters.
    pub const REASONS: [&'static str; 20] = [
        "family",
        "own",
        "ttl",
        "version",
        "type",
        "truncated",
        "trailing",
        "checksum",
        "vrid",
        "auth_header",
        "auth_type",
        "auth_password",
        "interval_mismatch",
        "interval_zero",
        "no_addresses",
        "not_link_local",
        "not_a_peer",
        "unicast_to_multicast",
        "multicast_to_unicast",
        "group",
    ];

    /// Its place in [`Self::REASONS`].
    #[must_use]
    pub const fn index(&self) -> usize {
        match self {
            Self::Family { .. } => 0,
            Self::Own { .. } => 1,
            Self::Ttl { .. } => 2,
            Self::Version { .. } => 3,
            Self::Type { .. } => 4,
            Self::Truncated { .. } => 5,
            Self::Trailing { .. } => 6,
            Self::Checksum { .. } => 7,
            Self::Vrid { .. } => 8,
            Self::AuthHeader => 9,
            Self::AuthType { .. } => 10,
            Self::AuthPassword => 11,
            Self::IntervalMismatch { .. } => 12,
            Self::IntervalZero => 13,
            Self::NoAddresses => 14,
            Self::NotLinkLocal { .. } => 15,
            Self::NotAPeer { .. } => 16,
            Self::UnicastToMulticast => 17,
            Self::MulticastToUnicast => 18,
            Self::Group { .. } => 19,
        }
    }

    /// Its name in metrics and logs.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        Self::REASONS.get(self.index()).copied().unwrap_or("unknown")
    }
}
