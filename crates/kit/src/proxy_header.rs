//! The PROXY protocol, versions 1 and 2: how one proxy tells the next who the client is. Pure: octets in, addresses out.
//!
//! ```text
//! version 1   PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n                          at most 107 octets
//!
//! version 2   0d 0a 0d 0a 00 0d 0a 51 55 49 54 0a | 2, command | family, protocol | length (2) |
//!             source, destination, source port, destination port | (type, length (2), value)*
//! ```
//!
//! <https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt>. Whether a sender is believed at all is for the
//! listener to say. Datagrams and paths of unix sockets are understood and of no use to anybody here, so they are
//! passed over.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

pub use decode::decode;
pub use encode::encode;

/// Longest header of version 1, its line end included.
pub const V1_LENGTH_MAX: usize = 107;

/// Longest header of version 2: its 16 fixed octets, and what others were seen to send several times over.
pub const V2_LENGTH_MAX: usize = 16 + V2_REST_MAX;

/// What may follow the fixed octets.
const V2_REST_MAX: usize = 4096;

/// Longest value that is sent along; what is longer is left out.
const VALUE_MAX: usize = 1024;

const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Form of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// Text.
    V1,
    /// Binary.
    V2,
}

/// What the octets so far are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// The beginning of a header.
    Incomplete,
    /// A header, whole.
    Header(Box<Header>),
}

/// A header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Octets it took; what follows is the client's.
    pub length: usize,
    /// Who the client is. `None`: the sender speaks for itself (a check), or did not say: the connection's own
    /// addresses stay.
    pub source: Option<SocketAddr>,
    /// What the client connected to.
    pub destination: Option<SocketAddr>,
    /// What else was said (version 2).
    pub facts: Facts,
}

/// What can be said besides addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Protocol agreed with ALPN.
    pub alpn: Option<Vec<u8>>,
    /// Name of the host that the client asked for (SNI).
    pub authority: Option<String>,
    /// Identifies the connection, at most 128 octets.
    pub unique_id: Option<Vec<u8>>,
    /// What is known of the client's TLS.
    pub tls: Option<TlsFacts>,
    /// Name of a network namespace.
    pub namespace: Option<String>,
    /// With a checksum. Of a decoded header: it had one, and it was right.
    pub checksum: bool,
}

/// TLS as the other side of the sender saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// TLS is spoken at all.
    pub used: bool,
    /// The client showed a certificate, on this connection.
    pub certificate: bool,
    /// It was verified.
    pub verified: bool,
    /// `TLSv1.3`
    pub version: Option<String>,
    /// Of the client's certificate.
    pub common_name: Option<String>,
    /// `TLS_AES_256_GCM_SHA384`
    pub cipher: Option<String>,
}

/// Why something is no header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Neither signature.
    #[error(
        "the connection does not begin with a PROXY protocol header: the sender has to be told to send one"
    )]
    Missing,
    /// Version 1 without an end.
    #[error("the PROXY line does not end within {V1_LENGTH_MAX} octets")]
    LineTooLong,
    /// Version 1 of another shape.
    #[error("the PROXY line is malformed: {0}")]
    Line(&'static str),
    /// Version 1 for something else.
    #[error("the PROXY line is for neither TCP4, TCP6 nor UNKNOWN")]
    Protocol,
    /// A version that does not exist.
    #[error("the PROXY header is of version {0}: only 1 and 2 are known")]
    Version(u8),
    /// Neither LOCAL nor PROXY.
    #[error("the PROXY header has command {0}: only 0 (LOCAL) and 1 (PROXY) are known")]
    Command(u8),
    /// A family or protocol that does not exist.
    #[error("the PROXY header is for family and protocol 0x{0:02x}, which do not exist")]
    Family(u8),
    /// Longer than we keep.
    #[error("the PROXY header announces {0} octets: at most {V2_REST_MAX} are taken")]
    TooLong(usize),
    /// No room for the addresses it promises.
    #[error("the PROXY header is too short for its addresses")]
    Short,
    /// A value that reaches over the end.
    #[error("value 0x{0:02x} of the PROXY header reaches over its end")]
    Value(u8),
    /// The checksum is wrong.
    #[error("the checksum of the PROXY header is wrong")]
    Checksum,
}

/// Types of values.
mod kind {
    pub(super) const ALPN: u8 = 0x01;
    pub(super) const AUTHORITY: u8 = 0x02;
    pub(super) const CRC32C: u8 = 0x03;
    pub(super) const UNIQUE_ID: u8 = 0x05;
    pub(super) const SSL: u8 = 0x20;
    pub(super) const SSL_VERSION: u8 = 0x21;
    pub(super) const SSL_CN: u8 = 0x22;
    pub(super) const SSL_CIPHER: u8 = 0x23;
    pub(super) const NETNS: u8 = 0x30;
}

/// Bits of the first octet of an SSL value.
mod client {
    pub(super) const SSL: u8 = 0x01;
    pub(super) const CERTIFICATE_ON_CONNECTION: u8 = 0x02;
    pub(super) const CERTIFICATE_IN_SESSION: u8 = 0x04;
}

/// Castagnoli's checksum.
fn crc32c(octets: impl IntoIterator<Item = u8>) -> u32 {
    !octets.into_iter().fold(!0u32, |crc, octet| {
        (0..8).fold(crc ^ u32::from(octet), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg())
        })
    })
}
