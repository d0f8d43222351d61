//! Ack, nack and reject: what a client says of messages that it has.

use std::sync::Arc;

use warren_cluster::Queue;
use warren_model::{ConsumerId, Position, Refusal};

use super::{Around, Channel, Mode};
use crate::client::precondition;
use crate::ledger::{Ledger, UnknownTag};
use crate::node::now;

/// What becomes of settled messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// The client is done with them.
    Ack,
    /// It does not want them, nor that they come back.
    Reject,
    /// They come back.
    Requeue,
}

impl Channel {
    /// The client settles a tag, and all before it if `multiple`.
    ///
    /// # Errors
    /// It has no message of this tag.
    pub(crate) fn settle(
        &mut self,
        tag: u64,
        multiple: bool,
        how: How,
        around: &mut Around<'_>,
    ) -> Result<(), Refusal> {
        if self.mode == Mode::Transaction {
            return self.settle_later(tag, multiple, how, around);
        }
        self.settled.clear();
        let full = {
            let mut waiting = around.client.output.lock();
            let Some(ledger) = waiting.ledgers.get_mut(&self.number) else {
                return Ok(());
            };
            let settled = ledger.settle(tag, multiple, &mut self.settled);
            settled.map_err(|UnknownTag(tag)| precondition(format_args!("unknown delivery tag {tag}")))?;
            ledger.is_full()
        };
        self.settle_with(how, around);
        if full {
            self.unblock(around);
        }
        Ok(())
    }

    /// There may be room again for all consumers of the channel together.
    pub(super) fn unblock(&self, around: &mut Around<'_>) {
        let consumers = {
            let waiting = around.client.output.lock();
            let ledger = waiting.ledgers.get(&self.number);
            ledger
                .filter(|ledger| !ledger.is_full())
                .map(Ledger::consumers)
                .unwrap_or_default()
        };
        for (queue, id) in consumers {
            queue.unblock(now(), id, &mut around.batch.after);
        }
    }

    /// Tells queues, one after another, of messages in a row that came from the same place.
    pub(super) fn settle_with(&mut self, how: How, around: &mut Around<'_>) {
        let mut positions: Vec<Position> = Vec::new();
        let mut settled = self.settled.drain(..).peekable();
        while let Some(one) = settled.next() {
            positions.push(one.position);
            if settled.peek().is_some_and(|next| next.origin == one.origin) {
                continue;
            }
            let count = u32::try_from(positions.len()).unwrap_or(u32::MAX);
            let from = around
                .client
                .output
                .lock()
                .ledgers
                .get_mut(&self.number)
                .and_then(|ledger| ledger.release(one.origin, count));
            if let Some((queue, consumer)) = from {
                tell(&queue, consumer, &mut positions, how, around);
            }
            positions.clear();
        }
    }
}

fn tell(
    queue: &Arc<Queue>,
    consumer: Option<ConsumerId>,
    positions: &mut [Position],
    how: How,
    around: &mut Around<'_>,
) {
    let after = &mut around.batch.after;
    match how {
        How::Ack => queue.settle(now(), consumer, positions, after),
        How::Reject => queue.reject(now(), consumer, positions, after),
        How::Requeue => queue.requeue(now(), consumer, positions, true, after),
    }
}
