//! The protocol header: the first eight octets of a connection, from the client.
//!
//! ```text
//!     0   1   2   3    4       5       6       7
//!   +---+---+---+---+-------+-------+-------+----------+
//!   | A | M | Q | P | id    | major | minor | revision |
//!   +---+---+---+---+-------+-------+-------+----------+
//!   | A | M | Q | P | 0     | 0     | 9     | 1        |   AMQP 0-9-1
//!   | A | M | Q | P | 1     | 1     | 0     | 9        |   AMQP 0-9, the same in all that matters
//!   | A | M | Q | P | 1     | 1     | 8     | 0        |   AMQP 0-8
//!   | A | M | Q | P | 0,2,3 | 1     | 0     | 0        |   AMQP 1.0; 2 over TLS, 3 over SASL
//!   +---+---+---+---+-------+-------+-------+----------+
//! ```
//!
//! A server that does not speak what was asked for answers with the header of what it speaks, and closes. RabbitMQ
//! still speaks 0-8; here it is refused like any other.

use std::fmt;

/// How many octets a protocol header has.
pub const LENGTH: usize = 8;

/// What every protocol header begins with.
pub const MAGIC: [u8; 4] = *b"AMQP";

/// A protocol header, without the letters that all have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolHeader {
    /// Protocol id, 0 for AMQP over TCP.
    pub id: u8,
    /// Major version.
    pub major: u8,
    /// Minor version.
    pub minor: u8,
    /// Revision.
    pub revision: u8,
}

impl ProtocolHeader {
    /// AMQP 0-9-1: what a client sends first, and what a server answers to any other header.
    pub const AMQP_0_9_1: Self = Self::new([0, 0, 9, 1]);
    /// AMQP 0-9, which RabbitMQ treats as 0-9-1.
    pub const AMQP_0_9: Self = Self::new([1, 1, 0, 9]);

    const fn new([id, major, minor, revision]: [u8; 4]) -> Self {
        Self {
            id,
            major,
            minor,
            revision,
        }
    }

    /// Reads a header; nothing if the octets do not begin with `AMQP`.
    #[must_use]
    pub fn decode(octets: [u8; LENGTH]) -> Option<Self> {
        let (magic, version) = octets.split_first_chunk::<4>()?;
        (*magic == MAGIC).then_some(Self::new(*version.first_chunk()?))
    }

    /// The octets to send.
    #[must_use]
    pub const fn encode(self) -> [u8; LENGTH] {
        let [a, m, q, p] = MAGIC;
        [a, m, q, p, self.id, self.major, self.minor, self.revision]
    }

    /// What a server does with it: nothing to say if the connection goes on with `connection.start`, otherwise the
    /// header to answer with before closing.
    pub const fn judge(self) -> Result<(), Self> {
        match (self.id, self.major, self.minor, self.revision) {
            (0, 0, 9, 1) | (1, 1, 0, 9) => Ok(()),
            _ => Err(Self::AMQP_0_9_1),
        }
    }
}

impl fmt::Display for ProtocolHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "AMQP {}-{}-{}-{}",
            self.id, self.major, self.minor, self.revision
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_of_0_9_1_is_what_every_client_sends() {
        assert_eq!(ProtocolHeader::AMQP_0_9_1.encode(), *b"AMQP\x00\x00\x09\x01");
        assert_eq!(
            ProtocolHeader::decode(*b"AMQP\x00\x00\x09\x01"),
            Some(ProtocolHeader::AMQP_0_9_1)
        );
    }

    #[test]
    fn only_0_9_1_and_0_9_go_on_and_all_others_are_told_what_is_spoken() {
        for (version, goes_on) in [
            ([0, 0, 9, 1], true),
            ([1, 1, 0, 9], true),
            ([1, 1, 8, 0], false),
            ([0, 1, 0, 0], false),
            ([3, 1, 0, 0], false),
            ([0, 0, 9, 2], false),
        ] {
            let verdict = ProtocolHeader::new(version).judge();
            let expected = if goes_on {
                Ok(())
            } else {
                Err(ProtocolHeader::AMQP_0_9_1)
            };
            assert_eq!(verdict, expected, "{version:?}");
        }
    }

    #[test]
    fn other_protocols_have_no_header() {
        assert_eq!(ProtocolHeader::decode(*b"GET / HT"), None);
    }
}
