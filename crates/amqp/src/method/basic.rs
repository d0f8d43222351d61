//! Class basic: messages, to the server and from it.
//!
//! ```text
//!   client                                        server
//!     │ publish + content ────────────────────────▶ │
//!     │ ◀──────────────────────── return + content │   mandatory, and no queue wanted it
//!     │ ◀─────────────────────────────── ack, nack │   after confirm.select; nack is RabbitMQ's
//!     │ qos, consume, cancel ─── and their ok ────▶ │   cancel also the other way, if the queue ends
//!     │ ◀─────────────────────── deliver + content │
//!     │ get ──────── get-ok + content or get-empty ▶│
//!     │ ack, nack, reject, recover ───────────────▶ │
//! ```
//!
//! What comes with every message can be read without a copy and without an allocation: see [`crate::hot`].

use super::class::methods;
use crate::table::Table;
use crate::text::ShortString;

methods! {
    60;

    /// How much may be delivered without an acknowledgement.
    10 Qos {
        /// In octets; RabbitMQ takes 0 only.
        prefetch_size: u32,
        /// In messages; 0 is no limit.
        prefetch_count: u16,
        /// For the whole channel together; otherwise for each consumer to come.
        global: bool,
    }

    /// So be it.
    11 QosOk {}

    /// The client wants a queue's messages.
    20 Consume {
        /// Without meaning; 0.
        ticket: u16,
        /// The queue; empty is the one declared last.
        queue: ShortString,
        /// What the consumer is called on this channel; empty lets the server name it.
        consumer_tag: ShortString,
        /// Not what this connection publishes; RabbitMQ takes no notice.
        no_local: bool,
        /// It will not acknowledge.
        no_ack: bool,
        /// Nobody else consumes.
        exclusive: bool,
        /// No answer.
        no_wait: bool,
        /// `x-priority` and the like.
        arguments: Table,
    }

    /// They will come.
    21 ConsumeOk {
        /// What the consumer is called.
        consumer_tag: ShortString,
    }

    /// The client wants no more of them; from the server, that there will be no more.
    30 Cancel {
        /// Which consumer.
        consumer_tag: ShortString,
        /// No answer.
        no_wait: bool,
    }

    /// No more will come.
    31 CancelOk {
        /// Which consumer.
        consumer_tag: ShortString,
    }

    /// A message, whose content follows.
    40 Publish {
        /// Without meaning; 0.
        ticket: u16,
        /// To which exchange; empty is the default one.
        exchange: ShortString,
        /// For whom.
        routing_key: ShortString,
        /// To be returned if no queue wants it.
        mandatory: bool,
        /// To be returned if no consumer wants it now; RabbitMQ refuses that.
        immediate: bool,
    }

    /// A message that could not be routed; its content follows.
    50 Return {
        /// Why, as a number.
        reply_code: u16,
        /// Why, in words.
        reply_text: ShortString,
        /// As published.
        exchange: ShortString,
        /// As published.
        routing_key: ShortString,
    }

    /// A message for a consumer; its content follows.
    60 Deliver {
        /// For which consumer.
        consumer_tag: ShortString,
        /// How the client names it when it settles it.
        delivery_tag: u64,
        /// It was delivered before.
        redelivered: bool,
        /// As published.
        exchange: ShortString,
        /// As published.
        routing_key: ShortString,
    }

    /// The client wants one message.
    70 Get {
        /// Without meaning; 0.
        ticket: u16,
        /// The queue; empty is the one declared last.
        queue: ShortString,
        /// It will not acknowledge.
        no_ack: bool,
    }

    /// Here it is; its content follows.
    71 GetOk {
        /// How the client names it when it settles it.
        delivery_tag: u64,
        /// It was delivered before.
        redelivered: bool,
        /// As published.
        exchange: ShortString,
        /// As published.
        routing_key: ShortString,
        /// So many more are ready.
        message_count: u32,
    }

    /// There is none.
    72 GetEmpty {
        /// Once a cluster id; empty.
        reserved_1: ShortString,
    }

    /// The client has done with messages; from the server, it is responsible for what was published.
    80 Ack {
        /// Which; 0 with `multiple` is all there are.
        delivery_tag: u64,
        /// All before it, too.
        multiple: bool,
    }

    /// The client does not want a message.
    90 Reject {
        /// Which.
        delivery_tag: u64,
        /// Back into the queue with it.
        requeue: bool,
    }

    /// As recover, without an answer.
    100 RecoverAsync {
        /// To whoever comes; RabbitMQ refuses anything else.
        requeue: bool,
    }

    /// Deliver again what was not settled.
    110 Recover {
        /// To whoever comes; RabbitMQ refuses anything else.
        requeue: bool,
    }

    /// It will be.
    111 RecoverOk {}

    /// RabbitMQ's: the client does not want messages; from the server, it could not take what was published.
    120 Nack {
        /// Which; 0 with `multiple` is all there are.
        delivery_tag: u64,
        /// All before it, too.
        multiple: bool,
        /// Back into the queue with them.
        requeue: bool,
    }
}
