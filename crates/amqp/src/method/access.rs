//! Class access: once tickets for realms, now a form without meaning. Whoever asks gets a ticket, which nobody looks at.

use super::class::methods;
use crate::text::ShortString;

methods! {
    30;

    /// The client asks for a ticket.
    10 Request {
        /// What for.
        realm: ShortString,
        /// For it alone.
        exclusive: bool,
        /// To ask about it.
        passive: bool,
        /// To change it.
        active: bool,
        /// To publish to it.
        write: bool,
        /// To consume from it.
        read: bool,
    }

    /// The client gets one.
    11 RequestOk {
        /// RabbitMQ's is 1.
        ticket: u16,
    }
}
