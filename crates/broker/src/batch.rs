//! What the frames of one read do to queues, done together: a queue is locked once for all messages in a row that go to it.
//!
//! ```text
//!   publish, publish, publish ──▶ same way as before? ──▶ [messages] ── flush ──▶ QueueHandle::publish ──▶ Aftermath
//! ```
//!
//! Whatever looks at queues or changes them flushes first, so that a client finds done what it asked for.
//!
//! A message that is refused was refused before any queue had it, but for one case: of several queues that it went to, one
//! has no room (`x-overflow`). The others have it all the same then, as with RabbitMQ. So the disk is asked first whether
//! it takes messages, and what could not be written in spite of its answer is not said to be refused: the connection ends.

use std::sync::Arc;

use bytes::Bytes;
use warren_amqp::hot::{Publish, Return};
use warren_amqp::{Method, ReplyCode, content};
use warren_cluster::{Aftermath, ConfirmTicket, NotWritten, Queue, QueueHandle};
use warren_model::meta::Access;
use warren_model::routing::Said;
use warren_model::{Message, Refusal, Selection};

use crate::by_channel::ByChannel;
use crate::channel::confirm::Confirms;
use crate::channel::settle::Acks;
use crate::client::{Client, precondition};
use crate::clock::now;
use crate::firehose;
use crate::properties::{check_delivery_mode, check_user_id};
use crate::ways::{Way, Ways};

/// Places in queues that messages get at once: of one that goes to many queues a few are much work.
const PLACES_MAX: usize = 1024;
/// What it is to look something up or to change it, in such places.
pub(crate) const LOOK_UP: usize = 256;
/// Octets of a message from which on it is as much as what it keeps in memory besides.
const DETACHED_BELOW: usize = 32 << 10;

/// What is to be done to queues.
#[derive(Default)]
pub(crate) struct Batch {
    /// Ways by address, of the metadata of this version.
    ways: Ways,
    version: u64,
    /// The firehose is on, as of that version.
    traced: bool,
    /// The way of the last message.
    last: Option<(Bytes, Arc<Way>)>,
    /// Messages that go the same way.
    way: Option<Arc<Way>>,
    messages: Vec<(u32, Arc<Message>)>,
    /// Octets of messages for which the disk had room.
    promised: u64,
    /// What the messages of this batch are to their publisher, by their numbers.
    published: Vec<Published>,
    pub(crate) acks: Acks,
    pub(crate) after: Aftermath,
    /// What the connection has to be woken for besides what it is already.
    awaited: Vec<ConfirmTicket>,
    /// What the last flush did not bring to where it should be.
    pub(crate) failed: Failed,
    /// Whether any of what was published or settled last has to be kept; nothing so far: nobody knows.
    needs_disk: Option<bool>,
    /// The log has to have come this far before more is read: it was behind.
    behind: Option<ConfirmTicket>,
    /// What the client has changed in the metadata, until it is on disk. Nothing more of what he says is done before.
    pub(crate) change: Option<UnsafeChange>,
    /// These have to have less in memory before more is read.
    crowded: Vec<Arc<Queue>>,
    /// What was done since this was looked at beyond passing on a message or settling one, in places in queues.
    pub(crate) work: usize,
}

/// A change of the metadata that is not on disk.
#[derive(Debug)]
pub(crate) struct UnsafeChange {
    ticket: ConfirmTicket,
    /// What its client hears then, and on which channel.
    pub(crate) answer: Option<(u16, Method)>,
}

/// What became of messages that did not get to where they should.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Failed {
    /// A queue did not take one, or the disk had no room.
    pub(crate) refused: bool,
    /// Queues have some that cannot be written: nobody knows what becomes of them.
    pub(crate) lost: bool,
}

/// A message that goes this way, once it may.
pub(crate) struct Prepared {
    // Where it stays: a message is large enough that each move of it counts.
    message: Arc<Message>,
    way: Arc<Way>,
    mandatory: bool,
}

/// A message of a batch.
#[derive(Clone, Copy, Debug)]
struct Published {
    channel: u16,
    /// Its publisher wants to hear of it under this number; 0: he does not.
    confirm: u64,
    /// A queue did not take it.
    refused: bool,
    /// It has to be on disk.
    placed: bool,
    /// A change that is not safe yet may have led it past where it would be kept.
    misled: bool,
}

impl Batch {
    /// A client publishes a message.
    ///
    /// # Errors
    /// He cannot; the channel or the connection ends.
    pub(crate) fn publish(
        &mut self,
        client: &Client,
        channel: u16,
        confirm: u64,
        content: content::Message,
    ) -> Result<(), Refusal> {
        let prepared = self.prepare(client, content)?;
        self.add(client, channel, confirm, prepared);
        Ok(())
    }

    /// Finds out where a message goes, and whether its publisher may send it there.
    ///
    /// # Errors
    /// He may not; the channel or the connection ends.
    pub(crate) fn prepare(
        &mut self,
        client: &Client,
        content: content::Message,
    ) -> Result<Prepared, Refusal> {
        if content.is_immediate() {
            return Err(Refusal::new(ReplyCode::NotImplemented, "immediate=true"));
        }
        self.follow(client);
        let mandatory = content.is_mandatory();
        let selection = Selection::of(content.header());
        let way = match &selection {
            Ok(Some(selection)) => {
                self.work += LOOK_UP;
                Arc::new(find(client, &selection.keys(), &content)?.0)
            }
            Ok(None) | Err(_) => self.way(client, &content)?,
        };
        if let Some(user) = content.header().user_id() {
            check_user_id(client, user)?;
        }
        let content = match way.mixed && content.size() < DETACHED_BELOW {
            true => content.detached(),
            false => content,
        };
        let message = Message::new(client.node.message_id(), content).map_err(precondition)?;
        selection.map_err(precondition)?;
        if !message.persistent {
            check_delivery_mode(message.content.header())?;
        }
        Ok(Prepared {
            message: Arc::new(message),
            way,
            mandatory,
        })
    }

    /// A message goes its way, as far as that is still there: it was found some time ago.
    pub(crate) fn add_later(&mut self, client: &Client, channel: u16, mut prepared: Prepared) {
        if prepared.way.queues.iter().any(QueueHandle::is_gone) {
            let left = prepared.way.queues.iter().filter(|queue| !queue.is_gone());
            prepared.way = Arc::new(Way::to(left.cloned().collect()));
        }
        self.add(client, channel, 0, prepared);
    }

    /// A message goes its way.
    pub(crate) fn add(&mut self, client: &Client, channel: u16, confirm: u64, prepared: Prepared) {
        let Prepared {
            message,
            way,
            mandatory,
        } = prepared;
        let counts = &client.entry.counts;
        counts.published.add(message.content.body_size() as u64);
        counts.to_confirm.add(u64::from(confirm > 0));
        counts.routed.add(way.queues.len() as u64);
        if self.traced {
            firehose::published(client, channel, &message, &way.queues, &mut self.after);
        }
        let number = u32::try_from(self.published.len()).unwrap_or(u32::MAX);
        self.published.push(Published {
            channel,
            confirm,
            refused: false,
            placed: false,
            misled: way.queues.is_empty() || message.persistent && !way.by_name,
        });
        if way.queues.is_empty() {
            counts.returned.add(u64::from(mandatory));
            counts.dropped.add(u64::from(!mandatory));
            if mandatory {
                self.flush_messages(client);
                give_back(client, channel, &message);
            }
            return;
        }
        let queues = way.queues.len();
        if !self
            .way
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, &way))
        {
            self.flush_messages(client);
            self.way = Some(way);
        }
        self.messages.push((number, message));
        if queues > 1 && self.messages.len() * queues >= PLACES_MAX {
            self.flush_messages(client);
            self.work += PLACES_MAX;
        }
    }

    /// Does all of it, and says what became of messages to channels that want to know. Gives the ticket of what has to be
    /// on disk, if anything has.
    ///
    /// # Errors
    /// Nothing can be written; publishers who want to know know it.
    pub(crate) fn flush(
        &mut self,
        client: &Client,
        confirms: &mut ByChannel<Confirms>,
    ) -> Result<Option<ConfirmTicket>, NotWritten> {
        let works = self.acks.flush(client, &mut self.after) || !self.published.is_empty();
        if !works && self.after.is_done() {
            self.failed.refused = false;
            self.say(client, confirms);
            return Ok(None);
        }
        self.flush_messages(client);
        self.failed.refused = !self.after.refused.is_empty();
        for number in self.after.refused.drain(..) {
            if let Some(published) = self.published.get_mut(number as usize) {
                published.refused = true;
            }
        }
        for placed in &self.after.placed {
            if let Some(published) = self.published.get_mut(placed.number as usize) {
                published.placed = true;
            }
        }
        self.after.promised = std::mem::take(&mut self.promised) > 0;
        let written = client.node.carry_out(&mut self.after);
        // Who is told that a message went where nobody keeps it may rely on it: not before what led it there is on disk.
        let change = client.node.change_under_way();
        for published in self.published.drain(..).filter(|published| published.confirm > 0) {
            if let Some(confirms) = confirms.get_mut(&published.channel) {
                let ticket = match (published.placed, &written) {
                    (false, _) => change.filter(|_| published.misled),
                    (true, Ok(ticket)) => *ticket,
                    (true, Err(_)) => {
                        self.failed.lost = true;
                        break;
                    }
                };
                confirms.done(published.confirm, published.refused, ticket);
            }
        }
        self.say(client, confirms);
        self.after.tell();
        match &written {
            Ok(None) if works => self.needs_disk = Some(false),
            Ok(Some(_)) => self.needs_disk = Some(true),
            Ok(None) | Err(_) => {}
        }
        written
    }

    /// The client has changed the metadata. The connection is woken when that is on disk.
    pub(crate) fn await_change(&mut self, client: &Client, ticket: Option<ConfirmTicket>) {
        let ticket = ticket.filter(|ticket| !client.node.log.is_safe(*ticket));
        if let Some(ticket) = ticket {
            // An earlier one is safe when this is.
            let answer = self.change.take().and_then(|before| before.answer);
            self.change = Some(UnsafeChange { ticket, answer });
            wake_when_safe(client, ticket);
        }
    }

    /// What the client has changed, if it is on disk now.
    pub(crate) fn safe_change(&mut self, client: &Client) -> Option<UnsafeChange> {
        self.change
            .take_if(|change| client.node.log.is_safe(change.ticket))
    }

    /// There is something to be done.
    pub(crate) fn works(&self) -> bool {
        !self.acks.is_empty() || !self.published.is_empty() || !self.after.is_done()
    }

    /// Nothing has been published or settled yet.
    pub(crate) const fn is_new(&self) -> bool {
        self.needs_disk.is_none()
    }

    /// Messages come faster than the disk takes them, whoever brings them: no more should be read until it has. Who needs no disk goes on.
    pub(crate) fn is_behind(&mut self, client: &Client) -> bool {
        match self.needs_disk {
            Some(true) => {
                self.awaits_log(client);
            }
            Some(false) | None => {
                self.behind = self.behind.filter(|ticket| !client.node.log.is_safe(*ticket))
            }
        }
        // Asked for anew each time: others may have made it so again since we were told.
        self.crowded
            .retain(|queue| queue.when_relieved(client.output.clone()));
        self.behind.is_some() || !self.crowded.is_empty()
    }

    /// The log is behind. The connection is woken when it is not any more.
    pub(crate) fn awaits_log(&mut self, client: &Client) -> bool {
        let log = &client.node.log;
        self.behind = self.behind.filter(|ticket| !log.is_safe(*ticket));
        if self.behind.is_none() {
            self.behind = log.behind();
            if let Some(ticket) = self.behind {
                wake_when_safe(client, ticket);
            }
        }
        self.behind.is_some()
    }

    /// Says what became of messages as far as it is known, and asks to be woken for the rest.
    pub(crate) fn say(&mut self, client: &Client, confirms: &mut ByChannel<Confirms>) {
        // A node that may not serve says nothing that others would have to keep.
        if confirms.is_empty() || !client.node.session.holds() {
            return;
        }
        let mut confirmed = 0;
        {
            let mut waiting = client.output.lock();
            for (channel, confirms) in confirms.iter_mut() {
                let is_durable = |ticket| client.node.log.is_safe(ticket);
                confirmed += confirms.say(*channel, &mut waiting.outbox, is_durable);
                // Many have left something with the same write.
                let awaited = confirms.awaits();
                self.awaited
                    .extend(awaited.filter(|ticket| self.awaited.last() != Some(ticket)));
            }
        }
        client.entry.counts.confirmed.add(confirmed);
        for ticket in self.awaited.drain(..) {
            wake_when_safe(client, ticket);
        }
    }

    fn flush_messages(&mut self, client: &Client) {
        let Some(way) = self.way.take() else { return };
        if way.durable {
            self.ask_the_disk(client, way.keeps_all);
        }
        // Whoever settles or rejects messages, and with that publishes dead letters, is not slowed.
        self.after.crowded.clear();
        let now = now();
        match way.queues.as_slice() {
            [queue] => queue.publish(now, self.messages.drain(..), &mut self.after),
            queues => {
                for queue in queues {
                    let messages = self
                        .messages
                        .iter()
                        .map(|(number, message)| (*number, Arc::clone(message)));
                    queue.publish(now, messages, &mut self.after);
                }
                self.messages.clear();
            }
        }
        for queue in self.after.crowded.drain(..) {
            let is_known = self.crowded.iter().any(|other| Arc::ptr_eq(other, &queue));
            if !is_known && queue.when_relieved(client.output.clone()) {
                self.crowded.push(queue);
            }
        }
    }

    /// Messages that have to be on disk, and for which there is no room, go nowhere.
    fn ask_the_disk(&mut self, client: &Client, all: bool) {
        let kept = |message: &Message| all || message.persistent;
        let octets = self.messages.iter().filter(|(_, message)| kept(message));
        let octets: u64 = octets.map(|(_, message)| message.content.size() as u64).sum();
        if octets == 0 || client.node.log.has_room(self.promised + octets) {
            self.promised += octets;
            return;
        }
        let refused = self.messages.extract_if(.., |(_, message)| kept(message));
        self.after.refused.extend(refused.map(|(number, _)| number));
    }

    /// What was found out holds until the metadata changes.
    fn follow(&mut self, client: &Client) {
        let version = client.node.version();
        if version != self.version {
            self.ways.clear();
            self.last = None;
            self.version = version;
            self.traced = client.node.firehose.is_on(&client.vhost);
        }
    }

    fn way(&mut self, client: &Client, content: &content::Message) -> Result<Arc<Way>, Refusal> {
        // In one piece: to compare with an exchange without a name costs more than the rest of a comparison, since glibc
        // reads behind the pointer of an empty slice, where nothing is.
        let address = content.address();
        if let Some((last, way)) = &self.last
            && *last == address
        {
            return Ok(Arc::clone(way));
        }
        if let Some((last, way)) = self.ways.get(address) {
            self.last = Some((last.clone(), Arc::clone(way)));
            return Ok(Arc::clone(way));
        }
        self.work += LOOK_UP;
        let (way, by_key) = find(client, &[], content)?;
        let way = Arc::new(way);
        if by_key {
            let address = Bytes::copy_from_slice(address);
            self.ways.insert(address.clone(), Arc::clone(&way));
            self.last = Some((address, Arc::clone(&way)));
        }
        Ok(way)
    }
}

fn wake_when_safe(client: &Client, ticket: ConfirmTicket) {
    client.node.log.when_safe(ticket, client.output.clone());
}

/// Where a message goes, by its own routing key and `more`, and whether all with its exchange and key go there.
fn find(client: &Client, more: &[Bytes], content: &content::Message) -> Result<(Way, bool), Refusal> {
    let Some(Publish {
        exchange,
        routing_key: key,
        ..
    }) = content.publish()
    else {
        return Ok((Way::to(Vec::new()), false));
    };
    let name = String::from_utf8_lossy(exchange);
    client.check(Access::Write, "exchange", &name)?;
    let header = content.header();
    let said = Said::new(key, Some(header), client.node.message_id().sequence).with_more(more);
    let mut found = Vec::new();
    client.node.read(|meta| {
        let vhost = meta.vhost(&client.vhost);
        let Some(vhost) = vhost else {
            return Err(Refusal::not_found("exchange", &name, &client.vhost));
        };
        match vhost.exchange(&name) {
            None => return Err(Refusal::not_found("exchange", &name, &client.vhost)),
            Some(exchange) if exchange.internal => {
                return Err(Refusal::internal_exchange(&name, &client.vhost));
            }
            Some(_) => {}
        }
        // RabbitMQ 3.10 looks at the first key only, which lets CC lead around the permission.
        for key in said.keys() {
            client.check_topic(meta, Access::Write, &name, key)?;
        }
        vhost.route(&name, &said, &mut found);
        Ok(())
    })?;
    let mut queues: Vec<QueueHandle> = found.into_iter().filter_map(|id| client.node.way(id)).collect();
    if exchange.is_empty() {
        for queue in said.keys().filter_map(|key| client.node.replies.find(key)) {
            if !queues.iter().any(|other| other.is(&queue)) {
                queues.push(queue);
            }
        }
    }
    let by_name = exchange.is_empty() && more.is_empty() && !queues.is_empty();
    let way = Way {
        by_name,
        ..Way::to(queues)
    };
    Ok((way, said.is_by_key()))
}

/// `mandatory`: nobody wants the message, and its publisher has it again.
fn give_back(client: &Client, channel: u16, message: &Message) {
    let Some(publish) = message.content.publish() else {
        return;
    };
    let returned = Return {
        reply_code: ReplyCode::NoRoute.code(),
        reply_text: b"NO_ROUTE",
        exchange: publish.exchange,
        routing_key: publish.routing_key,
    };
    client.output.lock().answer(channel, &returned, message, None);
}
