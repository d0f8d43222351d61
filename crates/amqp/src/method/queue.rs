//! Class queue: where messages wait, and which of them come there.
//!
//! All are asked by the client and answered by the server, unless `no_wait` is set. An empty name is that of the queue
//! which the channel declared last; in declare, one that the server makes up.

use super::class::methods;
use crate::table::Table;
use crate::text::ShortString;

methods! {
    50;

    /// Makes a queue, or asks whether it is there.
    10 Declare {
        /// Without meaning; 0.
        ticket: u16,
        /// Its name.
        queue: ShortString,
        /// Do not make it.
        passive: bool,
        /// It survives the server's end.
        durable: bool,
        /// For this connection alone, and it ends with it.
        exclusive: bool,
        /// It ends with its last consumer.
        auto_delete: bool,
        /// No answer.
        no_wait: bool,
        /// `x-message-ttl`, `x-queue-type` and the like.
        arguments: Table,
    }

    /// It is there.
    11 DeclareOk {
        /// Its name.
        queue: ShortString,
        /// Messages that are ready.
        message_count: u32,
        /// Consumers.
        consumer_count: u32,
    }

    /// Lets an exchange feed it.
    20 Bind {
        /// Without meaning; 0.
        ticket: u16,
        /// The queue.
        queue: ShortString,
        /// The exchange.
        exchange: ShortString,
        /// With which messages, if the exchange's type looks at that.
        routing_key: ShortString,
        /// No answer.
        no_wait: bool,
        /// With which messages, if the exchange's type looks at these.
        arguments: Table,
    }

    /// It does.
    21 BindOk {}

    /// Drops all messages that are ready.
    30 Purge {
        /// Without meaning; 0.
        ticket: u16,
        /// The queue.
        queue: ShortString,
        /// No answer.
        no_wait: bool,
    }

    /// They are dropped.
    31 PurgeOk {
        /// So many were.
        message_count: u32,
    }

    /// Ends the queue.
    40 Delete {
        /// Without meaning; 0.
        ticket: u16,
        /// The queue.
        queue: ShortString,
        /// Only without consumers.
        if_unused: bool,
        /// Only without messages.
        if_empty: bool,
        /// No answer.
        no_wait: bool,
    }

    /// It is not there.
    41 DeleteOk {
        /// So many messages ended with it.
        message_count: u32,
    }

    /// Takes a binding away. There is no `no_wait` here.
    50 Unbind {
        /// Without meaning; 0.
        ticket: u16,
        /// The queue.
        queue: ShortString,
        /// The exchange.
        exchange: ShortString,
        /// As it was bound.
        routing_key: ShortString,
        /// As it was bound.
        arguments: Table,
    }

    /// It is away.
    51 UnbindOk {}
}
