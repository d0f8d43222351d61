//! Messages that a client has had for too long: its channel is closed, and they go to others.
//!
//! No message has a time of its own for this. Every channel is looked at now and then, and notes how far its tags had come:
//! what it had then, it has had since then at least. A channel ends up to one look later than it might.

use std::sync::{Arc, Weak};
use std::time::Duration;

use warren_amqp::{Exception, MethodId, ReplyCode};

use crate::clock::now;
use crate::node::Node;

/// The longest time between two looks: RabbitMQ's.
const LOOK: Duration = Duration::from_secs(60);
/// Looks within a timeout, at least.
const LOOKS: u32 = 4;

/// Looks at all channels, as long as there is the node.
pub(crate) async fn run(node: Weak<Node>) {
    loop {
        let Some(timeout) = node.upgrade().map(|node| node.settings().consumer_timeout) else {
            return;
        };
        let look = timeout.map_or(LOOK, |timeout| (timeout / LOOKS).min(LOOK));
        tokio::time::sleep(look.max(Duration::from_millis(10))).await;
        if let (Some(node), Some(timeout)) = (node.upgrade(), timeout) {
            look_at_all(&node, timeout);
        }
    }
}

fn look_at_all(node: &Arc<Node>, timeout: Duration) {
    let (now, timeout) = (now(), u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
    for entry in node.registry.connections() {
        entry.look(now, timeout);
    }
}

/// What the client hears of it.
pub(crate) fn exception(channel: u16, timeout: Option<Duration>) -> Exception {
    let timeout = timeout.unwrap_or_default().as_millis();
    Exception::new(
        ReplyCode::PreconditionFailed,
        format_args!(
            "delivery acknowledgement on channel {channel} timed out. Timeout value used: {timeout} ms. This timeout value can \
             be configured, see consumers doc guide to learn more"
        ),
        MethodId::NONE,
    )
}
