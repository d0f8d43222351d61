//! A message as it goes through a broker: octets that came from one client and go to others unchanged, and what the
//! broker has to know of them.
//!
//! A message is made once and shared by all queues that it was routed to. Its octets are slices of what was read.

use bytes::Bytes;
use warren_amqp::ShortString;

/// Which message this is, for ever: no two have the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// Which start of which node.
    pub incarnation: u64,
    /// Which message since then.
    pub sequence: u64,
}

/// What was published.
#[derive(Clone, Debug)]
pub struct Message {
    /// Which message this is.
    pub id: MessageId,
    /// The exchange it was published to.
    pub exchange: ShortString,
    /// The routing key it was published with.
    pub routing_key: ShortString,
    /// Property flags and property list of the content header, as on the wire.
    pub properties: Bytes,
    /// What the application said.
    pub body: Body,
    /// delivery-mode 2: kept on disk in a durable queue.
    pub persistent: bool,
    /// The priority property.
    pub priority: Option<u8>,
    /// The expiration property, milliseconds.
    pub expiration: Option<u64>,
}

impl Message {
    /// Octets of the body: what RabbitMQ counts against `x-max-length-bytes`.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.body.len() as u64
    }
}

/// The octets of a message, in the pieces in which they came.
#[derive(Clone, Debug)]
pub enum Body {
    /// In one piece, as most are; empty if there are none.
    One(Bytes),
    /// In several frames.
    Many(Vec<Bytes>),
}

impl Body {
    /// Octets in all.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::One(piece) => piece.len(),
            Self::Many(pieces) => pieces.iter().map(Bytes::len).sum(),
        }
    }

    /// Nothing was said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pieces, in order.
    #[must_use]
    pub fn pieces(&self) -> &[Bytes] {
        match self {
            Self::One(piece) => std::slice::from_ref(piece),
            Self::Many(pieces) => pieces,
        }
    }
}

impl From<Bytes> for Body {
    fn from(piece: Bytes) -> Self {
        Self::One(piece)
    }
}

impl From<Vec<Bytes>> for Body {
    fn from(mut pieces: Vec<Bytes>) -> Self {
        match pieces.len() {
            0 => Self::One(Bytes::new()),
            1 => Self::One(pieces.remove(0)),
            _ => Self::Many(pieces),
        }
    }
}
