//! What a client is told when it may not have what it asks for: the code and RabbitMQ 3.10's text.
//!
//! All texts that the model says are in this file. Clients and their tests compare them to the letter.

use std::fmt;

use warren_amqp::ReplyCode;

/// What permissions call a thing: the default exchange has a name there.
#[must_use]
pub const fn permitted_name(name: &str) -> &str {
    if name.is_empty() { "amq.default" } else { name }
}

/// A request that changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} - {text}", code.name())]
pub struct Refusal {
    /// Why, which also says whether the channel ends or the connection.
    pub code: ReplyCode,
    /// In words, without the name of the code.
    pub text: String,
}

impl Refusal {
    /// With a text of the caller's.
    #[must_use]
    pub fn new(code: ReplyCode, text: impl fmt::Display) -> Self {
        Self {
            code,
            text: text.to_string(),
        }
    }

    /// There is no such thing; `kind` is `queue` or `exchange`.
    #[must_use]
    pub fn not_found(kind: &str, name: &str, vhost: &str) -> Self {
        Self::new(
            ReplyCode::NotFound,
            format_args!("no {kind} '{name}' in vhost '{vhost}'"),
        )
    }

    /// Declared again with another property.
    #[must_use]
    pub fn inequivalent(
        argument: &str,
        kind: &str,
        name: &str,
        vhost: &str,
        received: &str,
        current: &str,
    ) -> Self {
        Self::new(
            ReplyCode::PreconditionFailed,
            format_args!(
                "inequivalent arg '{argument}' for {kind} '{name}' in vhost '{vhost}': received {received} but current is {current}"
            ),
        )
    }

    /// An argument with a value that cannot be.
    #[must_use]
    pub fn invalid_argument(argument: &str, queue: &str, vhost: &str, why: impl fmt::Display) -> Self {
        Self::new(
            ReplyCode::PreconditionFailed,
            format_args!("invalid arg '{argument}' for queue '{queue}' in vhost '{vhost}': {why}"),
        )
    }

    /// An argument that has to be the name of an exchange, and is of another type.
    #[must_use]
    pub fn invalid_type(argument: &str, value: &str, kind: &str, name: &str, vhost: &str) -> Self {
        Self::new(
            ReplyCode::PreconditionFailed,
            format_args!("invalid type '{value}' for arg '{argument}' in {kind} '{name}' in vhost '{vhost}'"),
        )
    }

    /// A property that this type of queue does not have.
    #[must_use]
    pub fn invalid_property(property: &str, queue: &str, vhost: &str) -> Self {
        Self::new(
            ReplyCode::PreconditionFailed,
            format_args!("invalid property '{property}' for queue '{queue}' in vhost '{vhost}'"),
        )
    }

    /// Something that quorum queues do not do.
    #[must_use]
    pub fn not_with_quorum(flag: &str, queue: &str, vhost: &str) -> Self {
        Self::new(
            ReplyCode::NotImplemented,
            format_args!(
                "cannot delete queue '{queue}' in vhost '{vhost}'. queue.delete operations with {flag} flag set are not \
                 supported by quorum queues"
            ),
        )
    }

    /// A name that only the broker gives.
    #[must_use]
    pub fn reserved_prefix(kind: &str, name: &str) -> Self {
        Self::new(
            ReplyCode::AccessRefused,
            format_args!("{kind} name '{name}' contains reserved prefix 'amq.*'"),
        )
    }

    /// The default exchange is as it is.
    #[must_use]
    pub fn default_exchange() -> Self {
        Self::new(
            ReplyCode::AccessRefused,
            "operation not permitted on the default exchange",
        )
    }

    /// `amq.*` exchanges stay.
    #[must_use]
    pub fn system_exchange(name: &str, vhost: &str) -> Self {
        Self::new(
            ReplyCode::AccessRefused,
            format_args!("deletion of system exchange '{name}' in vhost '{vhost}' not allowed"),
        )
    }

    /// `if-unused`.
    #[must_use]
    pub fn in_use(kind: &str, name: &str, vhost: &str) -> Self {
        Self::new(
            ReplyCode::PreconditionFailed,
            format_args!("{kind} '{name}' in vhost '{vhost}' in use"),
        )
    }

    /// `if-empty`.
    #[must_use]
    pub fn not_empty(name: &str, vhost: &str) -> Self {
        Self::new(
            ReplyCode::PreconditionFailed,
            format_args!("queue '{name}' in vhost '{vhost}' not empty"),
        )
    }

    /// Somebody else's exclusive queue.
    #[must_use]
    pub fn locked(queue: &str, vhost: &str) -> Self {
        Self::new(
            ReplyCode::ResourceLocked,
            format_args!(
                "cannot obtain exclusive access to locked queue '{queue}' in vhost '{vhost}'. It could be originally declared on \
                 another connection or the exclusive property value does not match that of the original declaration."
            ),
        )
    }

    /// In 3.10 this ends the connection.
    #[must_use]
    pub fn unknown_exchange_type(kind: &str) -> Self {
        Self::new(
            ReplyCode::CommandInvalid,
            format_args!("unknown exchange type '{kind}'"),
        )
    }

    /// `internal` exchanges are for other exchanges.
    #[must_use]
    pub fn internal_exchange(name: &str, vhost: &str) -> Self {
        Self::new(
            ReplyCode::AccessRefused,
            format_args!("cannot publish to internal exchange '{name}' in vhost '{vhost}'"),
        )
    }

    /// Permissions say no; `kind` is `queue` or `exchange`.
    #[must_use]
    pub fn access(kind: &str, name: &str, vhost: &str, user: &str) -> Self {
        let name = permitted_name(name);
        Self::new(
            ReplyCode::AccessRefused,
            format_args!("access to {kind} '{name}' in vhost '{vhost}' refused for user '{user}'"),
        )
    }

    /// Permissions say no to a routing key.
    #[must_use]
    pub fn topic_access(key: &str, exchange: &str, vhost: &str, user: &str) -> Self {
        Self::new(
            ReplyCode::AccessRefused,
            format_args!(
                "access to topic '{key}' in exchange '{exchange}' in vhost '{vhost}' refused for user '{user}'"
            ),
        )
    }

    /// A vhost has as many queues as it may have.
    #[must_use]
    pub fn queue_limit(queue: &str, vhost: &str, limit: i64) -> Self {
        Self::new(
            ReplyCode::PreconditionFailed,
            format_args!(
                "cannot declare queue '{queue}': queue limit in vhost '{vhost}' ({limit}) is reached"
            ),
        )
    }

    /// What operators set and cannot be.
    #[must_use]
    pub fn validation(text: impl fmt::Display) -> Self {
        Self::new(
            ReplyCode::PreconditionFailed,
            format_args!("Validation failed\n\n{text}"),
        )
    }
}
