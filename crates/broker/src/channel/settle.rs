//! Ack, nack and reject: what a client says of messages that it has.
//!
//! Acks wait for those behind them ([`Acks`]), so that a queue is locked once for all that come in a row.

use warren_cluster::{Aftermath, QueueHandle};
use warren_model::{ConsumerId, Position, Refusal};

use super::{Around, Channel, Mode};
use crate::client::{Client, precondition};
use crate::clock::now;
use crate::ledger::{Ledger, UnknownTag, Unsettled};

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

impl How {
    /// The client does not want them.
    pub(crate) const fn unwanted(requeue: bool) -> Self {
        match requeue {
            true => Self::Requeue,
            false => Self::Reject,
        }
    }
}

/// Acks of one channel in a row, until its queues are told of all of them. Its ledger has forgotten the tags already.
#[derive(Debug, Default)]
pub(crate) struct Acks {
    channel: u16,
    settled: Vec<Unsettled>,
    /// All consumers of the channel together had as much as they may have.
    full: bool,
}

impl Acks {
    pub(crate) const fn is_empty(&self) -> bool {
        self.settled.is_empty()
    }

    /// Tells the queues. False: there are none.
    pub(crate) fn flush(&mut self, client: &Client, after: &mut Aftermath) -> bool {
        if self.is_empty() {
            return false;
        }
        // Of several consumers in turn: those of each together.
        self.settled.sort_by_key(|one| one.origin);
        tell_queues(self.channel, &mut self.settled, How::Ack, client, after);
        if std::mem::take(&mut self.full) {
            unblock(self.channel, client, after);
        }
        true
    }
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
        let (client, batch) = (around.client, &mut *around.batch);
        if how != How::Ack || batch.acks.channel != self.number {
            batch.acks.flush(client, &mut batch.after);
            batch.acks.channel = self.number;
        }
        self.settled.clear();
        let settled = match how {
            How::Ack => &mut batch.acks.settled,
            How::Reject | How::Requeue => &mut self.settled,
        };
        let full = {
            let mut waiting = client.output.lock();
            let Some(ledger) = waiting.ledgers.get_mut(&self.number) else {
                return Ok(());
            };
            let found = ledger.settle(tag, multiple, settled);
            found.map_err(|UnknownTag(tag)| precondition(format_args!("unknown delivery tag {tag}")))?;
            ledger.is_full()
        };
        if how == How::Ack {
            batch.acks.full |= full;
            return Ok(());
        }
        self.settle_with(how, around);
        if full {
            self.unblock(around);
        }
        Ok(())
    }

    /// The same for the channel itself.
    pub(super) fn unblock(&self, around: &mut Around<'_>) {
        unblock(self.number, around.client, &mut around.batch.after);
    }

    /// Tells queues of the messages that were settled.
    pub(super) fn settle_with(&mut self, how: How, around: &mut Around<'_>) {
        let after = &mut around.batch.after;
        tell_queues(self.number, &mut self.settled, how, around.client, after);
    }
}

/// There may be room again for all consumers of a channel together.
pub(crate) fn unblock(channel: u16, client: &Client, after: &mut Aftermath) {
    let next = || {
        let mut waiting = client.output.lock();
        let ledger = waiting.ledgers.get_mut(&channel);
        ledger.and_then(Ledger::next_refused)
    };
    while let Some((queue, id)) = next() {
        queue.unblock(now(), id, after);
    }
}

/// Tells queues, one after another, of messages in a row that came from the same place.
fn tell_queues(channel: u16, settled: &mut Vec<Unsettled>, how: How, client: &Client, after: &mut Aftermath) {
    let mut positions: Vec<Position> = Vec::with_capacity(settled.len());
    let mut settled = settled.drain(..).peekable();
    while let Some(one) = settled.next() {
        positions.push(one.position);
        if settled.peek().is_some_and(|next| next.origin == one.origin) {
            continue;
        }
        let count = u32::try_from(positions.len()).unwrap_or(u32::MAX);
        let from = client
            .output
            .lock()
            .ledgers
            .get_mut(&channel)
            .and_then(|ledger| ledger.release(one.origin, count));
        if let Some((queue, consumer)) = from {
            tell(&queue, consumer, &mut positions, how, after);
        }
        positions.clear();
    }
}

fn tell(
    queue: &QueueHandle,
    consumer: Option<ConsumerId>,
    positions: &mut [Position],
    how: How,
    after: &mut Aftermath,
) {
    match how {
        How::Ack => queue.settle(now(), consumer, positions, after),
        How::Reject => queue.reject(now(), consumer, positions, after),
        How::Requeue => queue.requeue(now(), consumer, positions, after),
    }
}
