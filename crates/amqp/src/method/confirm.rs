//! Class confirm, RabbitMQ's: from select on, the server answers each publish with basic.ack or basic.nack.

use super::class::methods;

methods! {
    85;

    /// From here on the channel's publishes are numbered from 1 and confirmed.
    10 Select {
        /// No answer.
        no_wait: bool,
    }

    /// They are.
    11 SelectOk {}
}
