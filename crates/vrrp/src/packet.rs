//! The advertisement on the wire: the only message VRRP has, in its two versions.
//!
//! [`decode`] takes what the IP header said, the bytes after it and what the configuration expects, and answers with an
//! [`Advert`] or with the one [`Reject`] that names the first check of RFC 9568 section 7.1 that failed. Nothing on that
//! path allocates, and no input panics. [`AdvertToSend::encode`] is the way back.
//!
//! Absent on purpose: IP options and extension headers (the shell strips them by their length fields), the IP
//! authentication header of RFC 2338 (refused by name), and keepalived's HMAC trailer.
//!
//! Version 2 (RFC 3768 section 5.1), IPv4 only. The eight bytes of authentication data are always there:
//!
//! ```text
//!   0                   1                   2                   3
//!   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//!  +-------+-------+---------------+---------------+---------------+
//!  | ver 2 | type 1| VRID          | priority      | address count |
//!  +-------+-------+---------------+---------------+---------------+
//!  | authentication| interval, s   | checksum                      |
//!  +---------------+---------------+-------------------------------+
//!  | IPv4 address, once per address                                |
//!  +---------------------------------------------------------------+
//!  | authentication data                                           |
//!  |                                                               |
//!  +---------------------------------------------------------------+
//! ```
//!
//! Version 3 (RFC 9568 section 5.1), the family is that of the IP header it came in:
//!
//! ```text
//!   0                   1                   2                   3
//!   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//!  +-------+-------+---------------+---------------+---------------+
//!  | ver 3 | type 1| VRID          | priority      | address count |
//!  +-------+-------+---------------+---------------+---------------+
//!  | rsvd  | interval, 1/100 s     | checksum                      |
//!  +-------+-----------------------+-------------------------------+
//!  | IPv4 or IPv6 address, once per address                        |
//!  +---------------------------------------------------------------+
//! ```
//!
//! There and back:
//!
//! ```
//! use std::net::IpAddr;
//! use std::time::Duration;
//! use warren_vrrp::checksum::{ChecksumForm, ChecksumPolicy};
//! use warren_vrrp::packet::{AdvertToSend, Auth, Delivery, Envelope, Interval, ReceiveProfile, decode};
//! use warren_vrrp::{Family, Priority, Version, Vrid};
//!
//! let addresses: [IpAddr; 1] = ["10.0.0.100".parse()?];
//! let (vrid, interval) = (Vrid::try_from(51)?, Interval::new(Version::V3, Duration::from_millis(100))?);
//! let (source, destination) = ("10.0.0.1".parse()?, Family::V4.group());
//!
//! let policy = ChecksumPolicy::Auto { first: ChecksumForm::Rfc9568 };
//! let mut message = Vec::new();
//! let advert = AdvertToSend {
//!     vrid,
//!     priority: Priority(254),
//!     interval,
//!     addresses: &addresses,
//!     auth: Auth::None,
//!     checksum: policy.to_send(None),
//! };
//! advert.encode(source, destination, &mut message)?;
//!
//! let profile = ReceiveProfile {
//!     family: Family::V4,
//!     vrid,
//!     interval,
//!     auth: Auth::None,
//!     owner: false,
//!     addresses: &addresses,
//!     delivery: Delivery::Multicast { group: Family::V4.group() },
//!     own_address: Some("10.0.0.2".parse()?),
//!     zero_addresses: false,
//!     strict_link_local: false,
//! };
//! let advert = decode(&Envelope { source, destination, ttl: 255 }, &message, &profile, None)?;
//! assert_eq!(advert.priority, Priority(254));
//! assert_eq!(policy.to_send(advert.checksum_form), ChecksumForm::Rfc9568);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
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

mod advert;
mod auth;
mod decode;
mod encode;
mod interval;
mod ip;
mod profile;
mod reject;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use advert::{Addresses, Advert};
pub use auth::{Auth, Password};
pub use decode::{decode, vrid_of};
pub use encode::{AdvertToSend, EncodeError, NotAnAdvert, set_priority};
pub use interval::{Interval, InvalidInterval};
pub use ip::{Envelope, ipv4_header, ipv6_header};
pub use profile::{Delivery, ReceiveProfile, UnicastPeer};
pub use reject::Reject;

use crate::types::Family;

/// IP protocol number of VRRP.
pub const PROTOCOL: u8 = 112;
/// Where multicast advertisements go, IPv4.
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// Where multicast advertisements go, IPv6.
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
/// TTL (hop limit) of every advertisement sent, and the only one accepted from the link: it proves that no router
/// forwarded the packet.
pub const TTL: u8 = 255;
/// More addresses than this do not fit into the count field.
pub const ADDRESSES_MAX: usize = 255;
/// The longest message there is: 255 IPv6 addresses. A receive buffer needs this and room for an IPv4 header.
pub const MESSAGE_MAX: usize = HEADER + ADDRESSES_MAX * 16;

const HEADER: usize = 8;
const TYPE_ADVERTISEMENT: u8 = 1;

impl Family {
    /// The family of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The group that multicast advertisements go to.
    #[must_use]
    pub const fn group(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(GROUP_V4),
            Self::V6 => IpAddr::V6(GROUP_V6),
        }
    }

    const fn address_length(self) -> usize {
        match self {
            Self::V4 => 4,
            Self::V6 => 16,
        }
    }
}

#[cfg(test)]
mod tests;
