//! What a configured virtual router expects of the advertisements of its peers.

use std::net::IpAddr;

use super::{Auth, Interval, TTL};
use crate::types::{Family, Version, Vrid};

/// What a configured virtual router expects of the advertisements of its peers.
///
/// Borrowed and cheap to put together per packet. The version is that of `interval`.
#[derive(Clone, Copy, Debug)]
pub struct ReceiveProfile<'a> {
    /// Address family.
    pub family: Family,
    /// Identifier.
    pub vrid: Vrid,
    /// Our own advertisement interval. In version 2 everybody must have the same.
    pub interval: Interval,
    /// How peers prove themselves; only looked at in version 2.
    pub auth: Auth,
    /// We announce priority 255 because the addresses are ours to keep.
    pub owner: bool,
    /// The addresses we would advertise, to compare.
    pub addresses: &'a [IpAddr],
    /// Where our peers are.
    pub delivery: Delivery<'a>,
    /// Our own primary address: a message from it is our own, looped back. `None` while it is not known.
    pub own_address: Option<IpAddr>,
    /// A role without addresses: accept advertisements that list none.
    pub zero_addresses: bool,
    /// Reject IPv6 advertisements whose first address is not link-local instead of only saying so.
    pub strict_link_local: bool,
}

impl ReceiveProfile<'_> {
    /// The version spoken.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.interval.version()
    }
}

/// How advertisements travel between the members.
#[derive(Clone, Copy, Debug)]
pub enum Delivery<'a> {
    /// To a group on the link, usually [`Family::group`].
    Multicast {
        /// The group.
        group: IpAddr,
    },
    /// To each of these, and from nobody else.
    Unicast {
        /// The other members.
        peers: &'a [UnicastPeer],
    },
}

/// A peer that is spoken to by unicast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnicastPeer {
    /// Its address.
    pub address: IpAddr,
    /// The least TTL accepted from it: 255 if it is on the link, less by the number of routers between.
    pub min_ttl: u8,
}

impl UnicastPeer {
    /// A peer on the link.
    #[must_use]
    pub const fn new(address: IpAddr) -> Self {
        Self {
            address,
            min_ttl: TTL,
        }
    }
}
