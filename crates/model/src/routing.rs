//! From an exchange to what its bindings lead to, one table for each kind of exchange.
//!
//! A table may answer with a target as often as bindings lead to it; who asks removes what is double.

mod direct;
mod fanout;
mod hash;
mod headers;
mod targets;
#[cfg(test)]
mod tests;
mod topic;

use std::cell::{Cell, OnceCell};

use bytes::Bytes;
use warren_amqp::Table;
use warren_amqp::content::Header;

use crate::name::Name;
use crate::refusal::Refusal;
use direct::Direct;
use fanout::Fanout;
use hash::Hash;
use headers::Headers;
pub use headers::integer;
use topic::Topic;

/// A queue, in all tables and logs: a number that no other queue of this data directory ever had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct QueueId(pub u64);

/// What a binding leads to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// A queue.
    Queue(QueueId),
    /// Another exchange of the vhost.
    Exchange(Name),
}

/// How an exchange finds its targets.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Kind {
    /// By equal keys.
    Direct,
    /// Always.
    Fanout,
    /// By patterns of words.
    Topic,
    /// By headers.
    Headers,
    /// `x-consistent-hash`: one target, the same for the same key as long as bindings stay.
    ConsistentHash,
    /// `x-modulus-hash`: one target by the hash of the key.
    ModulusHash,
    /// `x-random`: any one target.
    Random,
    /// `x-delayed-message`: later, by another kind.
    Delayed(Box<Self>),
}

/// What the name of a queue begins with in which messages wait for an exchange of kind [`Kind::Delayed`]; the exchange's name
/// follows.
const DELAYED: &str = "amq.delayed.";

/// The queue in which messages wait for an exchange that delays them. Nothing if there can be no such name.
#[must_use]
pub fn delaying_queue(exchange: &str) -> Option<Name> {
    Name::try_from(format!("{DELAYED}{exchange}").as_str()).ok()
}

/// The exchange for which messages wait in such a queue.
#[must_use]
pub fn delayed_exchange(queue: &str) -> Option<&str> {
    queue.strip_prefix(DELAYED)
}

impl Kind {
    /// By the name that clients use. `x-delayed-message` needs the argument `x-delayed-type`.
    ///
    /// # Errors
    /// Nobody knows such a kind, or its arguments say nothing.
    pub fn parse(name: &str, arguments: &Table) -> Result<Self, Refusal> {
        Ok(match name {
            "direct" => Self::Direct,
            "fanout" => Self::Fanout,
            "topic" => Self::Topic,
            "headers" => Self::Headers,
            "x-consistent-hash" => {
                hash::check_arguments(arguments)?;
                Self::ConsistentHash
            }
            "x-modulus-hash" => Self::ModulusHash,
            "x-random" => Self::Random,
            "x-delayed-message" => match arguments.text("x-delayed-type").as_deref() {
                Some("x-delayed-message") | None => {
                    return Err(Refusal::new(
                        warren_amqp::ReplyCode::PreconditionFailed,
                        "Invalid argument, 'x-delayed-type' must be an existing exchange type",
                    ));
                }
                Some(inner) => Self::Delayed(Box::new(Self::parse(inner, arguments)?)),
            },
            _ => return Err(Refusal::unknown_exchange_type(name)),
        })
    }

    /// The name that clients use.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
            Self::ConsistentHash => "x-consistent-hash",
            Self::ModulusHash => "x-modulus-hash",
            Self::Random => "x-random",
            Self::Delayed(_) => "x-delayed-message",
        }
    }
}

/// What is known of a message that has to find its way. What is beyond the key is read only if a table wants it.
pub struct Said<'a> {
    /// The routing key.
    pub key: &'a [u8],
    /// Further keys, of `CC` and `BCC`.
    more: &'a [Bytes],
    header: Option<Header<'a>>,
    random: u64,
    headers: OnceCell<Option<Table>>,
    by_key: Cell<bool>,
}

impl<'a> Said<'a> {
    /// A message with this routing key and header; `random` is another number for each.
    #[must_use]
    pub const fn new(key: &'a [u8], header: Option<Header<'a>>, random: u64) -> Self {
        Self {
            key,
            more: &[],
            header,
            random,
            headers: OnceCell::new(),
            by_key: Cell::new(true),
        }
    }

    /// With further keys, each of which leads where it would lead alone.
    #[must_use]
    pub const fn with_more(mut self, keys: &'a [Bytes]) -> Self {
        self.more = keys;
        self
    }

    /// All keys.
    pub fn keys(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        std::iter::once(self.key).chain(self.more.iter().map(|key| &key[..]))
    }

    /// Nothing but the key was looked at: every message with this key goes the same way until bindings change.
    #[must_use]
    pub const fn is_by_key(&self) -> bool {
        self.by_key.get()
    }

    /// It is to be held back by an exchange that does that.
    #[must_use]
    pub fn is_delayed(&self) -> bool {
        self.by_key.set(false);
        self.header.and_then(crate::message::delay).is_some()
    }

    fn headers(&self) -> Option<&Table> {
        self.by_key.set(false);
        let read = || self.header?.properties().headers;
        self.headers.get_or_init(read).as_ref()
    }

    /// A property as text; empty if it is not there.
    fn property(&self, name: &str) -> Vec<u8> {
        self.by_key.set(false);
        let Some(header) = self.header else {
            return Vec::new();
        };
        let octets = match name {
            "message_id" => header.message_id(),
            "correlation_id" => header.correlation_id(),
            "timestamp" => {
                return header
                    .timestamp()
                    .map(|seconds| seconds.to_string().into_bytes())
                    .unwrap_or_default();
            }
            _ => None,
        };
        octets.map(<[u8]>::to_vec).unwrap_or_default()
    }

    fn random(&self) -> u64 {
        self.by_key.set(false);
        self.random
    }
}

/// The bindings of one exchange, arranged for its kind.
#[derive(Debug)]
pub enum Routes {
    /// `direct`
    Direct(Direct),
    /// `fanout`
    Fanout(Fanout),
    /// `topic`
    Topic(Topic),
    /// `headers`
    Headers(Headers),
    /// Kinds that choose one target.
    One(Hash),
}

impl Routes {
    /// No bindings.
    #[must_use]
    pub fn new(kind: &Kind, arguments: &Table) -> Self {
        match kind {
            Kind::Direct => Self::Direct(Direct::default()),
            Kind::Fanout => Self::Fanout(Fanout::default()),
            Kind::Topic => Self::Topic(Topic::default()),
            Kind::Headers => Self::Headers(Headers::default()),
            Kind::ConsistentHash => Self::One(Hash::consistent(arguments)),
            Kind::ModulusHash => Self::One(Hash::modulus()),
            Kind::Random => Self::One(Hash::random()),
            Kind::Delayed(inner) => Self::new(inner, arguments),
        }
    }

    /// Can there be such a binding?
    ///
    /// # Errors
    /// Its key or its arguments mean nothing to this kind of exchange.
    pub fn check(&self, key: &str, arguments: &Table) -> Result<(), Refusal> {
        match self {
            Self::Headers(_) => headers::check(arguments),
            Self::One(hash) => hash.check(key),
            Self::Direct(_) | Self::Fanout(_) | Self::Topic(_) => Ok(()),
        }
    }

    /// Another binding, which has been checked.
    pub fn add(&mut self, key: &str, arguments: &Table, target: &Target) {
        match self {
            Self::Direct(routes) => routes.add(key, target),
            Self::Fanout(routes) => routes.add(target),
            Self::Topic(routes) => routes.add(key, target),
            Self::Headers(routes) => routes.add(arguments, target),
            Self::One(routes) => routes.add(key, target),
        }
    }

    /// A binding that was added goes.
    pub fn remove(&mut self, key: &str, arguments: &Table, target: &Target) {
        match self {
            Self::Direct(routes) => routes.remove(key, target),
            Self::Fanout(routes) => routes.remove(target),
            Self::Topic(routes) => routes.remove(key, target),
            Self::Headers(routes) => routes.remove(arguments, target),
            Self::One(routes) => routes.remove(target),
        }
    }

    /// Where a message goes.
    pub fn route<'a>(&'a self, said: &Said<'_>, found: &mut Vec<&'a Target>) {
        match self {
            Self::Direct(routes) => said.keys().for_each(|key| routes.route(key, found)),
            Self::Fanout(routes) => found.extend(routes.targets()),
            Self::Topic(routes) => said.keys().for_each(|key| routes.route(key, found)),
            Self::Headers(routes) => routes.route(said, found),
            Self::One(routes) => found.extend(routes.route(said)),
        }
    }
}
