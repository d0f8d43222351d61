//! A message as it goes through a broker: octets that came from one client and go to others unchanged, and what the
//! broker has to know of them.
//!
//! A message is made once and shared by all queues that it was routed to.

use warren_amqp::content;

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
    /// Its octets, with exchange and routing key.
    pub content: content::Message,
    /// delivery-mode 2: kept on disk in a durable queue.
    pub persistent: bool,
    /// The priority property.
    pub priority: Option<u8>,
    /// The expiration property, milliseconds.
    pub expiration: Option<u64>,
}

/// The expiration property is not a number of milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid expiration '{0}': no_integer")]
pub struct InvalidExpiration(pub String);

impl Message {
    /// Of what came.
    ///
    /// # Errors
    /// Its expiration is not a number.
    pub fn new(id: MessageId, content: content::Message) -> Result<Self, InvalidExpiration> {
        let header = content.header();
        let (persistent, priority) = (header.is_persistent(), header.priority());
        let expiration = header.expiration().map(parse_expiration).transpose()?;
        Ok(Self {
            id,
            content,
            persistent,
            priority,
            expiration,
        })
    }

    /// Octets of the body: what RabbitMQ counts against `x-max-length-bytes`.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.content.body_size() as u64
    }
}

fn parse_expiration(octets: &[u8]) -> Result<u64, InvalidExpiration> {
    let number = std::str::from_utf8(octets)
        .ok()
        .and_then(|text| text.parse().ok());
    number.ok_or_else(|| InvalidExpiration(String::from_utf8_lossy(octets).into_owned()))
}
