//! A message as it goes through a broker: octets that came from one client and go to others unchanged, and what the
//! broker has to know of them.
//!
//! A message is made once and shared by all queues that it was routed to.

use std::sync::atomic::{AtomicU64, Ordering};

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
    /// It has a header `BCC`, which nobody sees who gets it.
    pub blind: bool,
    /// Whether it is in a log.
    pub written: Written,
}

/// With which write a message went into the log, if it did: another queue may have to know.
#[derive(Debug, Default)]
pub struct Written(AtomicU64);

impl Written {
    /// It went with this one.
    pub fn set(&self, ticket: u64) {
        self.0.store(ticket.saturating_add(1), Ordering::Relaxed);
    }

    /// With which it went.
    #[must_use]
    pub fn ticket(&self) -> Option<u64> {
        self.0.load(Ordering::Relaxed).checked_sub(1)
    }
}

impl Clone for Written {
    fn clone(&self) -> Self {
        Self(AtomicU64::new(self.0.load(Ordering::Relaxed)))
    }
}

/// The longest delay, milliseconds: more than 49 days.
pub const DELAY_MAX: u64 = u32::MAX as u64 - 2;

/// For how many milliseconds an exchange that delays messages is to hold this one back: the header `x-delay`, if it is a
/// number above 0.
#[must_use]
pub fn delay(header: content::Header<'_>) -> Option<u64> {
    let value = header.headers()?.get("x-delay")?.integer()?;
    let delay = u64::try_from(value).ok().filter(|delay| *delay > 0)?;
    Some(delay.min(DELAY_MAX))
}

/// The longest time to live: ten years.
pub(crate) const EXPIRATION_MAX: u64 = 315_360_000_000;

/// The expiration property is not a number of milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid expiration '{text}': {why}")]
pub struct InvalidExpiration {
    text: String,
    why: String,
}

impl Message {
    /// Of what came.
    ///
    /// # Errors
    /// Its expiration is not a number.
    pub fn new(id: MessageId, content: content::Message) -> Result<Self, InvalidExpiration> {
        let header = content.header();
        let (persistent, priority) = (header.is_persistent(), header.priority());
        let expiration = header.expiration().map(parse_expiration).transpose()?;
        let blind = header
            .headers()
            .is_some_and(|headers| headers.get("BCC").is_some());
        Ok(Self {
            id,
            content,
            persistent,
            priority,
            expiration,
            blind,
            written: Written::default(),
        })
    }

    /// The same in memory of its own, for one that stays while those go that came with it.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self {
            content: self.content.detached(),
            ..self.clone()
        }
    }

    /// For how many milliseconds it is to be held back by an exchange that does that.
    #[must_use]
    pub fn delay(&self) -> Option<u64> {
        delay(self.content.header())
    }

    /// Octets of the body: what RabbitMQ counts against `x-max-length-bytes`.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.content.body_size() as u64
    }
}

/// As Erlang reads a number: an optional sign, digits, and what is left over.
fn parse_expiration(octets: &[u8]) -> Result<u64, InvalidExpiration> {
    let text = String::from_utf8_lossy(octets);
    let invalid = |why: String| InvalidExpiration {
        text: text.clone().into_owned(),
        why,
    };
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(&text)),
    };
    let end = unsigned
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(unsigned.len());
    let (digits, rest) = unsigned.split_at(end);
    if digits.is_empty() {
        return Err(invalid("no_integer".to_owned()));
    }
    if !rest.is_empty() {
        return Err(invalid(format!("{{leftover_string,\"{rest}\"}}")));
    }
    let digits = match digits.trim_start_matches('0') {
        "" => "0",
        digits => digits,
    };
    if negative && digits != "0" {
        return Err(invalid(format!("{{value_negative,-{digits}}}")));
    }
    let number = digits.parse().ok().filter(|number| *number <= EXPIRATION_MAX);
    number.ok_or_else(|| invalid(format!("{{value_too_large,{digits}}}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<u64, String> {
        parse_expiration(text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn expirations_are_read_as_rabbitmq_reads_them() {
        for (text, time) in [
            ("0", 0),
            ("+5", 5),
            ("-0", 0),
            ("007", 7),
            ("315360000000", EXPIRATION_MAX),
        ] {
            assert_eq!(parsed(text), Ok(time), "{text}");
        }
        for (text, why) in [
            ("", "no_integer"),
            (" 5", "no_integer"),
            ("-", "no_integer"),
            ("soon", "no_integer"),
            ("-1", "{value_negative,-1}"),
            ("12x", "{leftover_string,\"x\"}"),
            ("1.5", "{leftover_string,\".5\"}"),
            ("315360000001", "{value_too_large,315360000001}"),
            (
                "99999999999999999999999",
                "{value_too_large,99999999999999999999999}",
            ),
        ] {
            assert_eq!(parsed(text), Err(format!("invalid expiration '{text}': {why}")));
        }
    }
}
