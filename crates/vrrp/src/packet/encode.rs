//! Advertisements to send.

use std::net::IpAddr;

use super::{ADDRESSES_MAX, Auth, HEADER, Interval, PROTOCOL, TYPE_ADVERTISEMENT};
use crate::checksum::{self, ChecksumForm, Sum};
use crate::types::{Family, Priority, Version, Vrid};

/// An advertisement to send. The version is that of `interval`, the family that of the addresses it travels between.
#[derive(Clone, Copy, Debug)]
pub struct AdvertToSend<'a> {
    /// Identifier.
    pub vrid: Vrid,
    /// 255 for the owner, 0 to resign.
    pub priority: Priority,
    /// Our interval.
    pub interval: Interval,
    /// The addresses of the virtual router in the configured order; in IPv6 the link-local one first.
    pub addresses: &'a [IpAddr],
    /// Version 2 only.
    pub auth: Auth,
    /// Which checksum; only version 3 over IPv4 has a choice.
    pub checksum: ChecksumForm,
}

/// Why an advertisement cannot be put on the wire. All of them are mistakes that the configuration can be checked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// More addresses than the count field can say.
    #[error(
        "{count} addresses do not fit into an advertisement: use at most 255 and exclude the others from it"
    )]
    TooManyAddresses {
        /// How many there are.
        count: usize,
    },
    /// IPv4 and IPv6 in one message.
    #[error(
        "{address} is not of the family of {source_address}: give each family a virtual router of its own"
    )]
    MixedFamilies {
        /// The address that does not fit.
        address: IpAddr,
        /// The sender.
        source_address: IpAddr,
    },
    /// Version 2 over IPv6.
    #[error("VRRPv2 does not know IPv6: use version 3")]
    Version2OverIpv6,
    /// A password in version 3.
    #[error("VRRPv3 has no passwords: remove it or use version 2")]
    PasswordInVersion3,
}

/// Too short to be an advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{length} bytes are not an advertisement, which has at least 8: build it with `AdvertToSend::encode`"
)]
pub struct NotAnAdvert {
    /// How long it is.
    pub length: usize,
}

impl AdvertToSend<'_> {
    /// Replaces the contents of `out` with the message from `source` to `destination`; leaves it empty on error.
    ///
    /// Once `out` has grown to the message's length, nothing is allocated.
    pub fn encode(&self, source: IpAddr, destination: IpAddr, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.clear();
        let count = self.check(source, destination)?;
        self.write_header(count, out);
        self.write_addresses(out);
        if self.interval.version() == Version::V2 {
            out.extend_from_slice(&self.auth.data());
        }
        self.seal(source, destination, out);
        Ok(())
    }

    fn check(&self, source: IpAddr, destination: IpAddr) -> Result<u8, EncodeError> {
        // RFC 9568 §5.2.9: the addresses MUST be of the family that carries them. [9568-5.2.9-2]
        let family = Family::of(source);
        let mut others = self.addresses.iter().chain([&destination]);
        if let Some(address) = others.find(|address| Family::of(**address) != family) {
            return Err(EncodeError::MixedFamilies {
                address: *address,
                source_address: source,
            });
        }
        match (self.interval.version(), family, self.auth) {
            (Version::V2, Family::V6, _) => return Err(EncodeError::Version2OverIpv6),
            (Version::V3, _, Auth::Pass(_)) => return Err(EncodeError::PasswordInVersion3),
            (Version::V2, Family::V4, _) | (Version::V3, _, Auth::None) => {}
        }
        debug_assert!(ADDRESSES_MAX == usize::from(u8::MAX));
        u8::try_from(self.addresses.len()).map_err(|_| EncodeError::TooManyAddresses {
            count: self.addresses.len(),
        })
    }

    fn write_header(&self, count: u8, out: &mut Vec<u8>) {
        let version = self.interval.version();
        let [interval_high, interval_low] = self.interval.units().to_be_bytes();
        // Version 2: authentication type, seconds. Version 3: twelve bits of centiseconds below four reserved ones.
        // RFC 9568 §5.2.6: the reserved bits MUST be sent as zero. [9568-5.2.6-1]
        let fifth = match version {
            Version::V2 => self.auth.type_number(),
            Version::V3 => interval_high,
        };
        out.extend_from_slice(&[
            (version.number() << 4) | TYPE_ADVERTISEMENT,
            self.vrid.get(),
            self.priority.0,
            count,
            fifth,
            interval_low,
            0,
            0,
        ]);
    }

    fn write_addresses(&self, out: &mut Vec<u8>) {
        for address in self.addresses {
            match address {
                IpAddr::V4(address) => out.extend_from_slice(&address.octets()),
                IpAddr::V6(address) => out.extend_from_slice(&address.octets()),
            }
        }
    }

    fn seal(&self, source: IpAddr, destination: IpAddr, message: &mut [u8]) {
        let plain = match (self.interval.version(), Family::of(source)) {
            (Version::V2, _) => true,
            (Version::V3, Family::V4) => self.checksum == ChecksumForm::Rfc9568,
            (Version::V3, Family::V6) => false,
        };
        let sum = if plain {
            Sum::new()
        } else {
            over_pseudo_header(source, destination, message.len())
        };
        // RFC 9568 §7.2, RFC 3768 §7.2: the checksum MUST be computed before sending. [9568-7.2-1] [3768-7.2-1]
        let checksum = sum.bytes(message).checksum();
        if let Some(slot) = message.get_mut(6..HEADER) {
            slot.copy_from_slice(&checksum.to_be_bytes());
        }
    }
}

/// Gives a ready-made message another priority and the checksum that goes with it, whatever form that has.
pub fn set_priority(message: &mut [u8], priority: Priority) -> Result<(), NotAnAdvert> {
    let length = message.len();
    let Some([_, _, old_priority, count, _, _, checksum_high, checksum_low]) =
        message.first_chunk_mut::<HEADER>()
    else {
        return Err(NotAnAdvert { length });
    };
    let old = u16::from_be_bytes([*old_priority, *count]);
    let new = u16::from_be_bytes([priority.0, *count]);
    let checksum = u16::from_be_bytes([*checksum_high, *checksum_low]);
    *old_priority = priority.0;
    [*checksum_high, *checksum_low] = checksum::updated(checksum, old, new).to_be_bytes();
    Ok(())
}

/// The sum over the pseudo-header of a message. No message is longer than 65535 bytes.
pub(super) fn over_pseudo_header(source: IpAddr, destination: IpAddr, length: usize) -> Sum {
    let length = u16::try_from(length).unwrap_or(u16::MAX);
    Sum::new().pseudo_header(source, destination, PROTOCOL, length)
}
