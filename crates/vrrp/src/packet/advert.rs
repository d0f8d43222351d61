//! An advertisement that passed every check.

use std::iter::FusedIterator;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::checksum::ChecksumForm;
use crate::types::{Family, Priority};

/// An advertisement that passed every check. The flags are what a check found that is no reason to drop it.
#[derive(Clone, Debug)]
pub struct Advert<'a> {
    /// Who sent it.
    pub source: IpAddr,
    /// 255 is the owner's, 0 says "I stop".
    pub priority: Priority,
    /// The sender's interval, never zero.
    pub interval: Duration,
    /// The checksum form to remember for this peer: the one that matched, or the remembered one while both match.
    /// `None` where there is no choice (version 2, IPv6) or where both match and nothing was remembered.
    pub checksum_form: Option<ChecksumForm>,
    /// The interval is not ours (version 3; it is learnt all the same).
    pub interval_differs: bool,
    /// The same addresses as ours, in any order.
    pub addresses_match: bool,
    /// IPv6: addresses are listed and the first is not link-local (RFC 9568 section 5.2.9, erratum 8300).
    pub first_not_link_local: bool,
    /// We are the owner of the addresses, and so says the sender: a configuration mistake on one of the two hosts.
    pub rival_owner: bool,
    pub(super) addresses: Addresses<'a>,
}

impl<'a> Advert<'a> {
    /// The addresses it lists, in its order.
    #[must_use]
    pub fn addresses(&self) -> Addresses<'a> {
        self.addresses.clone()
    }
}

/// The addresses listed in a message, read from it one by one.
#[derive(Clone, Debug)]
pub struct Addresses<'a> {
    bytes: &'a [u8],
    family: Family,
}

impl<'a> Addresses<'a> {
    pub(super) const fn new(bytes: &'a [u8], family: Family) -> Self {
        Self { bytes, family }
    }

    /// Whether these are the addresses of `ours`, in any order. Same order is the common and cheap case.
    pub(super) fn same_as(&self, ours: &[IpAddr]) -> bool {
        self.clone().eq(ours.iter().copied())
            || (self.len() == ours.len()
                && self.clone().all(|address| ours.contains(&address))
                && ours
                    .iter()
                    .all(|address| self.clone().any(|listed| listed == *address)))
    }
}

impl Iterator for Addresses<'_> {
    type Item = IpAddr;

    fn next(&mut self) -> Option<IpAddr> {
        match self.family {
            Family::V4 => {
                let (octets, rest) = self.bytes.split_first_chunk::<4>()?;
                self.bytes = rest;
                Some(Ipv4Addr::from(*octets).into())
            }
            Family::V6 => {
                let (octets, rest) = self.bytes.split_first_chunk::<16>()?;
                self.bytes = rest;
                Some(Ipv6Addr::from(*octets).into())
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let count = self.bytes.len() / self.family.address_length();
        (count, Some(count))
    }
}

impl ExactSizeIterator for Addresses<'_> {}
impl FusedIterator for Addresses<'_> {}
