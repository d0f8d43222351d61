//! Class exchange: where messages are published to, and how exchanges feed each other (RabbitMQ's bind and unbind).
//!
//! All are asked by the client and answered by the server, unless `no_wait` is set.

use super::class::methods;
use crate::table::Table;
use crate::text::ShortString;

methods! {
    40;

    /// Makes an exchange, or asks whether it is there.
    10 Declare {
        /// Without meaning; 0.
        ticket: u16,
        /// Its name.
        exchange: ShortString,
        /// `direct`, `fanout`, `topic`, `headers` and whatever the server has beyond; the wire's `type`.
        exchange_type: ShortString,
        /// Do not make it.
        passive: bool,
        /// It survives the server's end.
        durable: bool,
        /// It ends with its last binding.
        auto_delete: bool,
        /// Nobody may publish to it but other exchanges.
        internal: bool,
        /// No answer.
        no_wait: bool,
        /// What its type needs to know; `alternate-exchange`.
        arguments: Table,
    }

    /// It is there.
    11 DeclareOk {}

    /// Ends an exchange.
    20 Delete {
        /// Without meaning; 0.
        ticket: u16,
        /// Its name.
        exchange: ShortString,
        /// Only without bindings.
        if_unused: bool,
        /// No answer.
        no_wait: bool,
    }

    /// It is not there.
    21 DeleteOk {}

    /// Lets one exchange feed another.
    30 Bind {
        /// Without meaning; 0.
        ticket: u16,
        /// The one that is fed.
        destination: ShortString,
        /// The one that feeds.
        source: ShortString,
        /// With which messages, if the source's type looks at that.
        routing_key: ShortString,
        /// No answer.
        no_wait: bool,
        /// With which messages, if the source's type looks at these.
        arguments: Table,
    }

    /// It does.
    31 BindOk {}

    /// Takes such a binding away.
    40 Unbind {
        /// Without meaning; 0.
        ticket: u16,
        /// The one that was fed.
        destination: ShortString,
        /// The one that fed.
        source: ShortString,
        /// As it was bound.
        routing_key: ShortString,
        /// No answer.
        no_wait: bool,
        /// As it was bound.
        arguments: Table,
    }

    /// It is away. The number does not follow the others': it is RabbitMQ's.
    51 UnbindOk {}
}
