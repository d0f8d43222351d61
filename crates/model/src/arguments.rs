//! The arguments of a queue: what they mean, and what RabbitMQ 3.10 says of those that mean nothing.

use warren_amqp::{ReplyCode, Table, Value};

use crate::json::{Settings, Value as Json};
use crate::message::EXPIRATION_MAX;
use crate::name::Name;
use crate::queue::{Limits, Overflow};
use crate::refusal::Refusal;
use crate::routing::delayed_exchange;
pub use crate::routing::integer;

/// `x-queue-type`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueType {
    /// On one node.
    #[default]
    Classic,
    /// On several nodes, as many as there are.
    Quorum,
}

impl QueueType {
    /// By the name that clients use.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Classic, Self::Quorum]
            .into_iter()
            .find(|kind| kind.as_str() == name)
    }

    /// The name that clients use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Quorum => "quorum",
        }
    }
}

/// What only other types of queues have. A delivery limit we have for all types.
const NOT_CLASSIC: [&str; 8] = [
    "x-quorum-initial-group-size",
    "x-dead-letter-strategy",
    "x-max-in-memory-length",
    "x-max-in-memory-bytes",
    "x-queue-leader-locator",
    "x-max-age",
    "x-stream-max-segment-size-bytes",
    "x-initial-cluster-size",
];
const NOT_QUORUM: [&str; 7] = [
    "x-max-priority",
    "x-queue-mode",
    "x-queue-version",
    "x-queue-master-locator",
    "x-max-age",
    "x-stream-max-segment-size-bytes",
    "x-initial-cluster-size",
];

/// What the arguments of a queue mean. Policies may say more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueArguments {
    /// `x-queue-type`
    pub kind: QueueType,
    /// Limits of its messages.
    pub limits: Limits,
    /// `x-max-priority`: 0 if it has no priorities.
    pub priority_max: u8,
    /// `x-expires`: milliseconds without use after which it goes.
    pub expires: Option<u64>,
    /// `x-dead-letter-exchange`
    pub dead_letter_exchange: Option<Name>,
    /// `x-dead-letter-routing-key`
    pub dead_letter_key: Option<Name>,
    /// `x-single-active-consumer`
    pub single_active: bool,
    /// `x-delayed-exchange`: messages wait in it for this exchange. Only the broker declares such queues.
    pub delayed_exchange: Option<Name>,
}

impl QueueArguments {
    /// Reads arguments as they were said. Of several that cannot be the one is named that RabbitMQ names.
    ///
    /// # Errors
    /// One of them has a type or a value that cannot be.
    pub fn parse(arguments: &Table, name: &str, vhost: &str) -> Result<Self, Refusal> {
        let asked = Asked {
            arguments,
            name,
            vhost,
        };
        let kind = asked.kind()?;
        let expires = asked.time("x-expires", 1)?;
        let message_ttl = asked.time("x-message-ttl", 0)?;
        let dead_letter_exchange = asked.name("x-dead-letter-exchange")?;
        let dead_letter_key = asked.dead_letter_key()?;
        if kind == QueueType::Quorum {
            asked.word(
                "x-dead-letter-strategy",
                &["at-most-once", "at-least-once"],
                "invalid_dlx_strategy",
            )?;
        }
        let length = asked.number("x-max-length", 0)?;
        let octets = asked.number("x-max-length-bytes", 0)?;
        let priority_max = match kind {
            QueueType::Classic => asked.priority_max()?,
            QueueType::Quorum => {
                asked.number("x-max-in-memory-length", 0)?;
                asked.number("x-max-in-memory-bytes", 0)?;
                0
            }
        };
        let overflow = asked.overflow()?;
        if kind == QueueType::Classic {
            asked.mode()?;
            asked.version()?;
        }
        let single_active = asked.single_active()?;
        match kind {
            QueueType::Classic => asked.check_none_of(&NOT_CLASSIC, "rabbit_classic_queue")?,
            QueueType::Quorum => {
                asked.number("x-quorum-initial-group-size", 1)?;
                asked.word(
                    "x-queue-leader-locator",
                    &["client-local", "balanced", "random", "least-leaders"],
                    "invalid_queue_locator_arg",
                )?;
                asked.check_none_of(&NOT_QUORUM, "rabbit_quorum_queue")?;
            }
        }
        Ok(Self {
            kind,
            limits: Limits {
                message_ttl,
                length,
                octets,
                overflow,
                deliveries: asked.delivery_limit()?,
            },
            priority_max,
            expires,
            dead_letter_exchange,
            dead_letter_key,
            single_active,
            delayed_exchange: match asked.arguments.get("x-delayed-exchange").is_some() {
                true => delayed_exchange(name).and_then(|name| Name::try_from(name).ok()),
                false => None,
            },
        })
    }
}

impl QueueArguments {
    /// What policies set: of numbers the lower counts, of anything else what the arguments say.
    pub(crate) fn add_policy(&mut self, arguments: &Table, policy: &Settings) {
        let lower = |said: Option<u64>, name: &str| {
            let set = policy.get(name).and_then(Json::as_u64);
            said.into_iter().chain(set).min()
        };
        let text = |name: &str| policy.get(name).and_then(Json::as_str);
        let limits = &mut self.limits;
        limits.message_ttl = lower(limits.message_ttl, "message-ttl");
        limits.length = lower(limits.length, "max-length");
        limits.octets = lower(limits.octets, "max-length-bytes");
        limits.deliveries = lower(limits.deliveries.map(u64::from), "delivery-limit")
            .map(|limit| u32::try_from(limit).unwrap_or(u32::MAX));
        self.expires = lower(self.expires, "expires");
        if arguments.get("x-overflow").is_none() {
            limits.overflow = match text("overflow") {
                Some("reject-publish") => Overflow::RejectPublish,
                Some("reject-publish-dlx") => Overflow::RejectPublishDlx,
                _ => Overflow::DropHead,
            };
        }
        let name = |said: Option<Name>, name: &str| {
            said.or_else(|| text(name).and_then(|text| Name::try_from(text).ok()))
        };
        self.dead_letter_exchange = name(self.dead_letter_exchange.take(), "dead-letter-exchange");
        self.dead_letter_key = name(self.dead_letter_key.take(), "dead-letter-routing-key");
    }
}

struct Asked<'a> {
    arguments: &'a Table,
    name: &'a str,
    vhost: &'a str,
}

impl Asked<'_> {
    fn invalid(&self, argument: &str, why: impl std::fmt::Display) -> Refusal {
        Refusal::invalid_argument(argument, self.name, self.vhost, why)
    }

    fn unacceptable(&self, argument: &str, value: &Value) -> Refusal {
        self.invalid(
            argument,
            format_args!("{{unacceptable_type,{}}}", type_name(value)),
        )
    }

    fn number(&self, argument: &str, least: i64) -> Result<Option<u64>, Refusal> {
        let Some(value) = self.arguments.get(argument) else {
            return Ok(None);
        };
        let Some(number) = integer(value) else {
            return Err(self.invalid(
                argument,
                format_args!("\"expected integer, got {}\"", type_name(value)),
            ));
        };
        if number < 0 {
            return Err(self.invalid(argument, format_args!("{{value_negative,{number}}}")));
        }
        if number < least {
            return Err(self.invalid(argument, "{value_zero,0}"));
        }
        Ok(u64::try_from(number).ok())
    }

    /// Milliseconds, of ten years at most.
    fn time(&self, argument: &str, least: i64) -> Result<Option<u64>, Refusal> {
        let time = self.number(argument, least)?;
        match time.filter(|time| *time > EXPIRATION_MAX) {
            None => Ok(time),
            Some(time) => Err(self.invalid(argument, format_args!("{{value_too_large,{time}}}"))),
        }
    }

    fn name(&self, argument: &str) -> Result<Option<Name>, Refusal> {
        match self.arguments.get(argument) {
            None => Ok(None),
            Some(Value::Text(octets)) => match Name::try_from(octets.as_ref()) {
                Ok(name) => Ok(Some(name)),
                Err(error) => Err(self.invalid(argument, format_args!("\"{error}\""))),
            },
            Some(other) => Err(Refusal::invalid_type(
                argument,
                type_name(other),
                "queue",
                self.name,
                self.vhost,
            )),
        }
    }

    fn dead_letter_key(&self) -> Result<Option<Name>, Refusal> {
        const KEY: &str = "x-dead-letter-routing-key";
        match self.arguments.get(KEY) {
            Some(Value::Text(_)) if self.arguments.get("x-dead-letter-exchange").is_none() => {
                Err(self.invalid(KEY, "routing_key_but_no_dlx_defined"))
            }
            None | Some(Value::Text(_)) => self.name(KEY),
            Some(other) => Err(self.unacceptable(KEY, other)),
        }
    }

    fn kind(&self) -> Result<QueueType, Refusal> {
        match self.arguments.get("x-queue-type") {
            None => Ok(QueueType::Classic),
            Some(Value::Text(text)) => {
                let name = String::from_utf8_lossy(text);
                let why = format_args!("\"unsupported queue type '{name}'\"");
                QueueType::parse(&name).ok_or_else(|| self.invalid("x-queue-type", why))
            }
            Some(other) => Err(self.unacceptable("x-queue-type", other)),
        }
    }

    /// Arguments that this type of queue does not have.
    fn check_none_of(&self, arguments: &[&str], kind: &str) -> Result<(), Refusal> {
        let mut said = self.arguments.iter();
        match said.find(|(name, _)| arguments.iter().any(|argument| **name == **argument)) {
            None => Ok(()),
            Some((argument, _)) => Err(Refusal::new(
                ReplyCode::PreconditionFailed,
                format_args!(
                    "invalid arg '{argument}' for queue '{}' in vhost '{}' of queue type {kind}",
                    self.name, self.vhost
                ),
            )),
        }
    }

    /// One of these words, or nothing.
    fn word(&self, argument: &str, words: &[&str], why: &str) -> Result<(), Refusal> {
        match self.arguments.get(argument) {
            None => Ok(()),
            Some(Value::Text(text)) if words.iter().any(|word| word.as_bytes() == text.as_ref()) => Ok(()),
            Some(Value::Text(_)) => Err(self.invalid(argument, why)),
            Some(other) => Err(self.unacceptable(argument, other)),
        }
    }

    /// Below 0 there is no limit.
    fn delivery_limit(&self) -> Result<Option<u32>, Refusal> {
        let below = self.arguments.get("x-delivery-limit").and_then(integer);
        if below.is_some_and(|number| number < 0) {
            return Ok(None);
        }
        let limit = self.number("x-delivery-limit", 0)?;
        Ok(limit.map(|limit| u32::try_from(limit).unwrap_or(u32::MAX)))
    }

    fn overflow(&self) -> Result<Overflow, Refusal> {
        match self.arguments.get("x-overflow") {
            None => Ok(Overflow::DropHead),
            Some(Value::Text(text)) => match text.as_ref() {
                b"drop-head" => Ok(Overflow::DropHead),
                b"reject-publish" => Ok(Overflow::RejectPublish),
                b"reject-publish-dlx" => Ok(Overflow::RejectPublishDlx),
                _ => Err(self.invalid("x-overflow", "invalid_overflow")),
            },
            Some(other) => Err(self.unacceptable("x-overflow", other)),
        }
    }

    fn priority_max(&self) -> Result<u8, Refusal> {
        let Some(number) = self.number("x-max-priority", 0)? else {
            return Ok(0);
        };
        u8::try_from(number)
            .map_err(|_| self.invalid("x-max-priority", format_args!("{{max_value_exceeded,{number}}}")))
    }

    fn single_active(&self) -> Result<bool, Refusal> {
        match self.arguments.get("x-single-active-consumer") {
            None => Ok(false),
            Some(Value::Bool(single)) => Ok(*single),
            Some(other) => Err(self.unacceptable("x-single-active-consumer", other)),
        }
    }

    /// Accepted, and of no effect: there is one way to keep messages.
    fn version(&self) -> Result<(), Refusal> {
        match self.number("x-queue-version", 0)? {
            None | Some(1 | 2) => Ok(()),
            Some(other) => Err(self.invalid(
                "x-queue-version",
                format_args!("\"unsupported queue version '{other}'\""),
            )),
        }
    }

    /// Accepted, and of no effect: every queue is lazy.
    fn mode(&self) -> Result<(), Refusal> {
        match self.arguments.get("x-queue-mode") {
            None => Ok(()),
            Some(Value::Text(text)) => match text.as_ref() {
                b"default" | b"lazy" => Ok(()),
                other => {
                    let other = String::from_utf8_lossy(other);
                    Err(self.invalid(
                        "x-queue-mode",
                        format_args!("\"unsupported queue mode '{other}'\""),
                    ))
                }
            },
            Some(other) => Err(self.unacceptable("x-queue-mode", other)),
        }
    }
}

/// What RabbitMQ calls the type of a value.
#[must_use]
pub const fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Bool(_) => "bool",
        Value::I8(_) => "byte",
        Value::U8(_) => "unsignedbyte",
        Value::I16(_) => "short",
        Value::U16(_) => "unsignedshort",
        Value::I32(_) => "signedint",
        Value::U32(_) => "unsignedint",
        Value::I64(_) | Value::I64L(_) => "long",
        Value::F32(_) => "float",
        Value::F64(_) => "double",
        Value::Decimal { .. } => "decimal",
        Value::Text(_) => "longstr",
        Value::Octets(_) => "binary",
        Value::Timestamp(_) => "timestamp",
        Value::Array(_) => "array",
        Value::Table(_) => "table",
        Value::Void => "void",
    }
}

/// A value within a text, as Erlang says it.
#[must_use]
pub fn print(value: &Value) -> String {
    match value {
        Value::Text(octets) | Value::Octets(octets) => String::from_utf8_lossy(octets).into_owned(),
        other => term(other),
    }
}

/// A value as an Erlang term.
pub(crate) fn term(value: &Value) -> String {
    let list = |terms: Vec<String>| format!("[{}]", terms.join(","));
    match value {
        Value::Bool(value) => value.to_string(),
        Value::Timestamp(seconds) => seconds.to_string(),
        Value::F32(number) => format!("{:?}", f64::from(*number)),
        Value::F64(number) => format!("{number:?}"),
        Value::Decimal { scale, value } => format!("{{{scale},{value}}}"),
        Value::Void => "undefined".to_owned(),
        Value::Text(octets) | Value::Octets(octets) => binary(octets),
        Value::Array(values) => list(
            values
                .iter()
                .map(|value| format!("{{{},{}}}", type_name(value), term(value)))
                .collect(),
        ),
        Value::Table(table) => list(
            table
                .iter()
                .map(|(name, value)| {
                    let name = binary(name.as_bytes());
                    format!("{{{name},{},{}}}", type_name(value), term(value))
                })
                .collect(),
        ),
        number => integer(number).unwrap_or_default().to_string(),
    }
}

/// Text between quotes, or octets.
fn binary(octets: &[u8]) -> String {
    match octets.iter().all(|octet| matches!(octet, b' '..=b'~')) {
        true if !octets.is_empty() => {
            let text = String::from_utf8_lossy(octets);
            format!("<<{:?}>>", text)
        }
        _ => {
            let numbers: Vec<String> = octets.iter().map(u8::to_string).collect();
            format!("<<{}>>", numbers.join(","))
        }
    }
}
