//! One channel of a connection: what its client declared, consumes and has promised.
//!
//! Methods are carried out in the order in which they come, by the connection's task. A [`Refusal`] closes the channel or
//! the connection, as its code says.

pub(crate) mod confirm;
mod consume;
mod declare;
pub(crate) mod settle;
#[cfg(test)]
mod tests;
mod transaction;

use std::collections::HashMap;
use std::sync::Arc;

use warren_amqp::content::{self, Assembly, HeaderEdit, Property};
use warren_amqp::{Method, MethodId, ReplyCode, ShortString, access, channel, confirm as class_confirm};
use warren_cluster::QueueHandle;
use warren_model::meta::Command;
use warren_model::{Name, Refusal};

use crate::batch::Batch;
use crate::by_channel::ByChannel;
use crate::client::{Client, precondition};
use crate::clock::now;
use crate::ledger::{Ledger, Unsettled};
use crate::output::Consumer;
use crate::registry::{ChannelReport, Churn, ConsumerReport, Counts};
use crate::reply_to::REPLY_TO;
use confirm::Confirms;
use transaction::Transaction;

/// What becomes of published messages and acknowledgements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    /// They are done.
    #[default]
    Plain,
    /// They are done, and the publisher hears of it.
    Confirm,
    /// They are done at `tx.commit`.
    Transaction,
}

/// Where answers come straight to a channel.
struct ReplyTo {
    tag: ShortString,
    address: ShortString,
}

/// A channel.
pub(crate) struct Channel {
    pub(crate) number: u16,
    pub(crate) assembly: Assembly,
    pub(crate) mode: Mode,
    /// It was told to close: nothing that comes counts but the answer.
    pub(crate) closing: bool,
    consumers: HashMap<ShortString, Arc<Consumer>>,
    /// For consumers to come; 0 is no limit.
    prefetch: u16,
    /// What an empty name means.
    last_queue: Option<Name>,
    settled: Vec<Unsettled>,
    transaction: Transaction,
    /// Where answers to it go, with `amq.rabbitmq.reply-to`.
    reply_to: Option<ReplyTo>,
    /// Something was published on it.
    publishes: bool,
}

/// What a channel needs of its connection.
pub(crate) struct Around<'a> {
    pub(crate) client: &'a Arc<Client>,
    pub(crate) batch: &'a mut Batch,
    pub(crate) confirms: &'a mut ByChannel<Confirms>,
}

impl Around<'_> {
    /// Everything that came before is done now.
    pub(crate) fn flush(&mut self) {
        // What cannot be written has been said to those who wait for it.
        drop(self.batch.flush(self.client, self.confirms));
    }

    /// Changes the metadata. The client hears of it, and is heard again, when it is on disk.
    fn change(&mut self, command: Command) -> Result<(), Refusal> {
        let (_, ticket) = self.client.node.begin(command)?;
        self.batch.await_change(self.client, ticket);
        Ok(())
    }

    /// Answers what the client has asked for: now, or when what has changed by it is on disk.
    pub(crate) fn answer(&mut self, channel: u16, method: impl Into<Method>) {
        match &mut self.batch.change {
            Some(change) => change.answer = Some((channel, method.into())),
            None => self.client.output.lock().method(channel, method),
        }
    }

    /// The same, where nobody waits to hear of it: a connection may end thousands of channels that leave nothing to be done, each of which
    /// would ask all others for confirms.
    fn flush_what_is_left(&mut self) {
        if self.batch.works() {
            self.flush();
        }
    }
}

impl Channel {
    pub(crate) fn new(number: u16, client: &Client) -> Self {
        client.output.lock().ledgers.entry(number).or_default();
        let channels = &client.entry.counts.channels;
        channels.set(channels.get() + 1);
        Churn::one(&client.node.registry.churn.channels_opened);
        Self {
            number,
            assembly: Assembly::new(client.node.settings().body_max),
            mode: Mode::Plain,
            closing: false,
            consumers: HashMap::new(),
            prefetch: 0,
            last_queue: None,
            settled: Vec::new(),
            transaction: Transaction::default(),
            reply_to: None,
            publishes: false,
        }
    }

    /// A message that its client publishes.
    ///
    /// # Errors
    /// It cannot be.
    pub(crate) fn publish(
        &mut self,
        content: content::Message,
        around: &mut Around<'_>,
    ) -> Result<(), Refusal> {
        self.publishes(&around.client.entry.counts);
        let content = match content.header().reply_to() {
            Some(address) if address == REPLY_TO.as_bytes() => self.with_address(&content)?,
            _ => content,
        };
        let confirm = match self.mode {
            Mode::Plain => 0,
            Mode::Confirm => around.confirms.get_mut(&self.number).map_or(0, Confirms::next),
            Mode::Transaction => return self.publish_later(content, around),
        };
        around.batch.publish(around.client, self.number, confirm, content)
    }

    /// A message whose answers are to come straight to this channel.
    fn with_address(&self, content: &content::Message) -> Result<content::Message, Refusal> {
        let reply_to = self
            .reply_to
            .as_ref()
            .ok_or_else(|| precondition("fast reply consumer does not exist"))?;
        let header = HeaderEdit::of(content.header())
            .with_short(Property::ReplyTo, &reply_to.address)
            .finish();
        let publish = content.publish().unwrap_or_default();
        // One text for another: it can be read as before.
        let header = content::Header::read(&header).unwrap_or_else(|_| content.header());
        Ok(content.republished(&publish, header))
    }

    /// A method other than those that come with every message.
    ///
    /// # Errors
    /// It cannot be.
    pub(crate) fn method(&mut self, method: Method, around: &mut Around<'_>) -> Result<(), Refusal> {
        around.flush();
        match method {
            Method::Exchange(method) => self.exchange(method, around),
            Method::Queue(method) => self.queue(method, around),
            Method::Basic(method) => self.basic(method, around),
            Method::Channel(channel::Method::Flow(flow)) => match flow.active {
                true => self.answer(around, channel::FlowOk { active: true }),
                false => Err(Refusal::new(ReplyCode::NotImplemented, "active=false")),
            },
            Method::Access(access::Method::Request(_)) => {
                self.answer(around, access::RequestOk { ticket: 1 })
            }
            Method::Confirm(class_confirm::Method::Select(select)) => {
                self.select_confirm(select.no_wait, around)
            }
            Method::Tx(method) => self.transaction(method, around),
            other => Err(unimplemented(other.id())),
        }
    }

    /// Gives back what the client had, and forgets its consumers. The channel is gone.
    pub(crate) fn end(&mut self, around: &mut Around<'_>) {
        around.flush_what_is_left();
        // Or they would be given what nobody knows of.
        self.block();
        let ledger = around.client.output.lock().ledgers.remove(&self.number);
        self.end_with(ledger, around);
    }

    /// The same for one whose consumers get nothing any more. `ledger`: unless it ended before.
    pub(crate) fn end_with(&mut self, ledger: Option<Ledger>, around: &mut Around<'_>) {
        if let Some(mut ledger) = ledger {
            self.count_end(around.client);
            self.roll_back(&mut ledger);
            // It comes back before another is the single active one, or that one would get later messages first.
            give_back(ledger, around);
        }
        for (_, consumer) in self.consumers.drain() {
            consume::unsubscribe(&consumer, around);
        }
        around.confirms.remove(&self.number);
        around.flush_what_is_left();
    }

    /// Its consumers get nothing more.
    pub(crate) fn block(&self) {
        self.consumers.values().for_each(|consumer| consumer.block());
    }

    /// A message was published.
    #[inline]
    fn publishes(&mut self, counts: &Counts) {
        if !std::mem::replace(&mut self.publishes, true) {
            counts.publishers.set(counts.publishers.get() + 1);
        }
    }

    /// What an operator may want to know.
    pub(crate) fn report(&self, client: &Client, confirms: Option<&Confirms>) -> ChannelReport {
        let (unsettled, limit) = {
            let waiting = client.output.lock();
            let ledger = waiting.ledgers.get(&self.number);
            ledger.map_or((0, 0), |ledger| (ledger.unsettled(), ledger.limit()))
        };
        let consumers = self.consumers.values().map(|consumer| ConsumerReport {
            tag: consumer.tag.clone(),
            queue: consumer.queue.identity().id,
            queue_name: consumer.queue.identity().name.clone(),
            id: consumer.id.get().copied(),
            no_ack: consumer.no_ack,
            arguments: consumer.arguments.get().cloned().unwrap_or_default(),
        });
        ChannelReport {
            number: self.number,
            transactional: self.mode == Mode::Transaction,
            confirm: self.mode == Mode::Confirm,
            prefetch: self.prefetch.into(),
            prefetch_global: limit,
            unsettled,
            unconfirmed: confirms.map_or(0, Confirms::unconfirmed),
            uncommitted: self.transaction.messages() as u64,
            acks_uncommitted: self.transaction.settled() as u64,
            consumers: consumers.collect(),
        }
    }

    fn count_end(&self, client: &Client) {
        let counts = &client.entry.counts;
        counts.channels.set(counts.channels.get().saturating_sub(1));
        let publishers = counts.publishers.get();
        counts
            .publishers
            .set(publishers.saturating_sub(u64::from(self.publishes)));
        Churn::one(&client.node.registry.churn.channels_closed);
    }

    fn select_confirm(&mut self, no_wait: bool, around: &mut Around<'_>) -> Result<(), Refusal> {
        if self.mode == Mode::Transaction {
            return Err(precondition("cannot switch from tx to confirm mode"));
        }
        self.mode = Mode::Confirm;
        around.confirms.entry(self.number).or_default();
        self.answer_unless(no_wait, around, class_confirm::SelectOk {})
    }

    fn answer(&self, around: &mut Around<'_>, method: impl Into<Method>) -> Result<(), Refusal> {
        around.answer(self.number, method);
        Ok(())
    }

    fn answer_unless(
        &self,
        no_wait: bool,
        around: &mut Around<'_>,
        method: impl Into<Method>,
    ) -> Result<(), Refusal> {
        match no_wait {
            true => Ok(()),
            false => self.answer(around, method),
        }
    }

    /// A queue by the name that a method has: an empty one is that of the last queue declared.
    fn queue_name(&self, name: &ShortString) -> Result<Name, Refusal> {
        if !name.as_bytes().is_empty() {
            return to_name(name);
        }
        self.last_queue
            .clone()
            .ok_or_else(|| Refusal::new(ReplyCode::NotFound, "no previously declared queue"))
    }

    /// A queue that this connection may use.
    fn usable(&self, name: &Name, around: &Around<'_>) -> Result<QueueHandle, Refusal> {
        let client = around.client;
        let missing = || Refusal::not_found("queue", name, &client.vhost);
        let id = client.node.read(|meta| {
            let queue = meta
                .vhost(&client.vhost)
                .and_then(|vhost| vhost.queue(name))
                .ok_or_else(missing)?;
            queue.check_access(client.number, name, &client.vhost)?;
            Ok(queue.id)
        })?;
        client.node.way(id).ok_or_else(missing)
    }
}

/// All that a client had goes back to where it came from.
fn give_back(mut ledger: Ledger, around: &mut Around<'_>) {
    let mut back: HashMap<warren_model::QueueId, (QueueHandle, Vec<warren_model::Position>)> = HashMap::new();
    for (origin, position) in ledger.drain() {
        let entry = back
            .entry(origin.queue.identity().id)
            .or_insert_with(|| (origin.queue.clone(), Vec::new()));
        entry.1.push(position);
    }
    for (queue, mut positions) in back.into_values() {
        queue.requeue(now(), None, &mut positions, &mut around.batch.after);
    }
}

/// A method that has no place where it came.
pub(crate) fn unimplemented(_: MethodId) -> Refusal {
    Refusal::new(ReplyCode::CommandInvalid, "unimplemented method")
}

/// A name out of a method: CR and LF are left out, as RabbitMQ does.
pub(crate) fn to_name(text: &ShortString) -> Result<Name, Refusal> {
    let octets = text.as_bytes();
    let name = match octets.iter().any(|octet| matches!(octet, b'\r' | b'\n')) {
        false => Name::try_from(octets),
        true => {
            let left: Vec<u8> = octets
                .iter()
                .copied()
                .filter(|octet| !matches!(octet, b'\r' | b'\n'))
                .collect();
            Name::try_from(left.as_slice())
        }
    };
    name.map_err(|error| Refusal::new(ReplyCode::SyntaxError, error))
}
