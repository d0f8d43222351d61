//! Class basic, but for what comes with every message: consumers, single fetches, limits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use warren_amqp::hot::GetOk;
use warren_amqp::{ReplyCode, ShortString, basic};
use warren_cluster::queue::{NoConsumer, OnlyIf};
use warren_cluster::{Next, QueueHandle};
use warren_model::arguments::{integer, type_name};
use warren_model::consumers::{ConsumerId, Terms};
use warren_model::meta::Access;
use warren_model::queue::Entry;
use warren_model::{Name, Refusal};

use super::{Around, Channel, Mode, ReplyTo, declare::generated, unimplemented};
use crate::client::precondition;
use crate::clock::now;
use crate::firehose::Given;
use crate::node::NotDeleted;
use crate::output::Consumer;
use crate::paging;
use crate::registry::Facts;
use crate::reply_to::REPLY_TO;

impl Channel {
    pub(super) fn basic(&mut self, method: basic::Method, around: &mut Around<'_>) -> Result<(), Refusal> {
        match method {
            basic::Method::Qos(qos) => self.qos(&qos, around),
            basic::Method::Consume(consume) => self.consume(consume, around),
            basic::Method::Cancel(cancel) => {
                if self
                    .reply_to
                    .as_ref()
                    .is_some_and(|it| it.tag == cancel.consumer_tag)
                {
                    self.reply_to = None;
                }
                if let Some(consumer) = self.consumers.remove(&cancel.consumer_tag) {
                    unsubscribe(&consumer, around);
                    around.flush();
                }
                self.answer_unless(
                    cancel.no_wait,
                    around,
                    basic::CancelOk {
                        consumer_tag: cancel.consumer_tag,
                    },
                )
            }
            // The answer to a cancel of ours.
            basic::Method::CancelOk(_) => Ok(()),
            basic::Method::Get(get) => self.get(&get, around),
            basic::Method::Recover(recover) => {
                self.recover(recover.requeue, around)?;
                self.answer(around, basic::RecoverOk {})
            }
            basic::Method::RecoverAsync(recover) => self.recover(recover.requeue, around),
            other => Err(unimplemented(other.id())),
        }
    }

    fn qos(&mut self, qos: &basic::Qos, around: &mut Around<'_>) -> Result<(), Refusal> {
        if qos.prefetch_size != 0 {
            return Err(Refusal::new(
                ReplyCode::NotImplemented,
                format_args!("prefetch_size!=0 ({})", qos.prefetch_size),
            ));
        }
        if !qos.global {
            self.prefetch = qos.prefetch_count;
            return self.answer(around, basic::QosOk {});
        }
        {
            let mut waiting = around.client.output.lock();
            if let Some(ledger) = waiting.ledgers.get_mut(&self.number) {
                ledger.set_limit(qos.prefetch_count.into());
            }
            waiting.method(self.number, basic::QosOk {});
        }
        // There may be more room than before.
        self.unblock(around);
        around.flush();
        Ok(())
    }

    fn consume(&mut self, consume: basic::Consume, around: &mut Around<'_>) -> Result<(), Refusal> {
        let client = Arc::clone(around.client);
        let tag = match consume.consumer_tag.as_bytes().is_empty() {
            true => ShortString::try_from(generated("amq.ctag-")?.as_str()).unwrap_or_default(),
            false => consume.consumer_tag.clone(),
        };
        self.forget_gone(around);
        let reused = || {
            Refusal::new(
                ReplyCode::NotAllowed,
                format_args!("attempt to reuse consumer tag '{}'", tag.to_text()),
            )
        };
        if consume.queue == *REPLY_TO {
            let is_its = |reply_to: &ReplyTo| reply_to.tag == tag;
            if self.consumers.contains_key(&tag) && !self.reply_to.as_ref().is_some_and(is_its) {
                return Err(reused());
            }
            return self.consume_replies(&tag, consume.no_ack, consume.no_wait, around);
        }
        let name = self.queue_name(&consume.queue)?;
        client.check(Access::Read, "queue", &name)?;
        if self.consumers.contains_key(&tag) {
            return Err(reused());
        }
        let queue = self.usable(&name, around)?;
        let terms = Terms {
            priority: priority(&consume.arguments, &name, &client.vhost)?,
            prefetch: (self.prefetch > 0 && !consume.no_ack).then(|| self.prefetch.into()),
            exclusive: consume.exclusive,
        };
        let counts = is_quorum(&client, &name);
        if counts && self.has_common_limit(around) {
            return Err(Refusal::new(
                ReplyCode::NotImplemented,
                format_args!(
                    "queue '{name}' in vhost '{}' does not support global qos",
                    client.vhost
                ),
            ));
        }
        let added = self.add_consumer(&queue, &tag, terms, consume.no_ack, counts, around);
        let id = added.map_err(|why| match why {
            NoConsumer::Gone => Refusal::not_found("queue", &name, &client.vhost),
            NoConsumer::InExclusiveUse => Refusal::new(
                ReplyCode::AccessRefused,
                format_args!("queue '{name}' in vhost '{}' in exclusive use", client.vhost),
            ),
        })?;
        if let Some(consumer) = self.consumers.get(&tag).filter(|_| !consume.arguments.is_empty()) {
            consumer
                .arguments
                .get_or_init(|| Facts::octets(&consume.arguments));
        }
        self.answer_unless(consume.no_wait, around, basic::ConsumeOk { consumer_tag: tag })?;
        // Only now: the client knows that it consumes.
        queue.unblock(now(), id, &mut around.batch.after);
        around.flush();
        Ok(())
    }

    /// Tags of consumers whose queues are gone are free again.
    fn forget_gone(&mut self, around: &Around<'_>) {
        let mut waiting = around.client.output.lock();
        let Some(ledger) = waiting.ledgers.get_mut(&self.number) else {
            return;
        };
        if std::mem::take(&mut ledger.bereft) {
            let gone = self
                .consumers
                .extract_if(|_, consumer| consumer.gone.load(Ordering::Acquire));
            gone.for_each(|(_, consumer)| ledger.close(consumer.origin));
        }
    }

    /// `basic.qos` was said for all of the channel's consumers together.
    fn has_common_limit(&self, around: &Around<'_>) -> bool {
        let waiting = around.client.output.lock();
        let ledger = waiting.ledgers.get(&self.number);
        ledger.is_some_and(|ledger| ledger.limit() > 0)
    }

    /// Answers come straight to this channel from now on.
    fn consume_replies(
        &mut self,
        tag: &ShortString,
        no_ack: bool,
        no_wait: bool,
        around: &mut Around<'_>,
    ) -> Result<(), Refusal> {
        if self.reply_to.is_some() {
            return Err(precondition("reply consumer already set"));
        }
        if !no_ack {
            return Err(precondition("reply consumer cannot acknowledge"));
        }
        let queue = around.client.node.replies.open(&around.client.vhost)?;
        let added = self.add_consumer(&queue, tag, Terms::default(), true, false, around);
        let Ok(id) = added else { return Ok(()) };
        self.reply_to = Some(ReplyTo {
            tag: tag.clone(),
            address: ShortString::try_from(queue.identity().name.as_str()).unwrap_or_default(),
        });
        self.answer_unless(
            no_wait,
            around,
            basic::ConsumeOk {
                consumer_tag: tag.clone(),
            },
        )?;
        queue.unblock(now(), id, &mut around.batch.after);
        Ok(())
    }

    /// A consumer, who gets nothing before he is unblocked.
    fn add_consumer(
        &mut self,
        queue: &QueueHandle,
        tag: &ShortString,
        terms: Terms,
        no_ack: bool,
        counts: bool,
        around: &Around<'_>,
    ) -> Result<ConsumerId, NoConsumer> {
        let output = &around.client.output;
        let (origin, limited) = match output.lock().ledgers.get_mut(&self.number) {
            Some(ledger) => (ledger.open(queue.clone()), Arc::clone(&ledger.limited)),
            // There is one as long as the channel is open.
            None => return Err(NoConsumer::Gone),
        };
        let consumer = Arc::new(Consumer {
            output: Arc::clone(output),
            channel: self.number,
            tag: bytes::Bytes::copy_from_slice(tag.as_bytes()),
            queue: queue.clone(),
            no_ack,
            origin,
            notify: around.client.consumer_cancel_notify,
            counts,
            id: OnceLock::new(),
            limited,
            gone: AtomicBool::new(false),
            arguments: OnceLock::new(),
        });
        let sink = Arc::clone(&consumer) as Arc<dyn warren_cluster::DeliverySink>;
        let added = queue.subscribe(now(), terms, no_ack, sink);
        if let Some(ledger) = output.lock().ledgers.get_mut(&self.number) {
            match added {
                Ok(id) => ledger.set_consumer(origin, id),
                Err(_) => ledger.close(origin),
            }
        }
        let id = added?;
        consumer.id.get_or_init(|| id);
        self.consumers.insert(tag.clone(), consumer);
        Ok(id)
    }

    fn get(&self, get: &basic::Get, around: &mut Around<'_>) -> Result<(), Refusal> {
        let client = Arc::clone(around.client);
        let name = self.queue_name(&get.queue)?;
        client.check(Access::Read, "queue", &name)?;
        let queue = self.usable(&name, around)?;
        let counts = is_quorum(&client, &name);
        if counts && queue.has_single_active_consumer() {
            return Err(Refusal::new(
                ReplyCode::ResourceLocked,
                format_args!(
                    "cannot obtain access to locked queue '{name}' in vhost '{}'. basic.get operations are not supported by \
                     quorum queues with single active consumer",
                    client.vhost
                ),
            ));
        }
        let Some((entry, left)) = next(&queue, get.no_ack, around) else {
            around.flush();
            return self.answer(around, basic::GetEmpty::default());
        };
        {
            let mut waiting = client.output.lock();
            let waiting = &mut *waiting;
            let Some(ledger) = waiting.ledgers.get_mut(&self.number) else {
                return Ok(());
            };
            let delivery_tag = match get.no_ack {
                true => ledger.next_tag(),
                false => ledger.fetch(&queue, entry.position),
            };
            let content = &entry.message.content;
            if let Some(published) = content.publish() {
                let answer = GetOk {
                    delivery_tag,
                    redelivered: entry.redelivered,
                    exchange: published.exchange,
                    routing_key: published.routing_key,
                    message_count: u32::try_from(left).unwrap_or(u32::MAX),
                };
                waiting.answer(
                    self.number,
                    &answer,
                    &entry.message,
                    counts.then_some(entry.returns),
                );
                if let Some(given) = &mut waiting.given {
                    given.push(Given {
                        channel: self.number,
                        queue: queue.clone(),
                        redelivered: entry.redelivered,
                        message: Arc::clone(&entry.message),
                    });
                }
            }
        }
        around.flush();
        Ok(())
    }

    fn recover(&mut self, requeue: bool, around: &mut Around<'_>) -> Result<(), Refusal> {
        if !requeue {
            return Err(Refusal::new(ReplyCode::NotImplemented, "requeue=false"));
        }
        self.settled.clear();
        {
            let mut waiting = around.client.output.lock();
            let Some(ledger) = waiting.ledgers.get_mut(&self.number) else {
                return Ok(());
            };
            // What a transaction settles is not given back.
            ledger.hold(0, true, |_, one| self.settled.push(one)).ok();
            ledger.let_go(self.settled.len());
            if self.mode != Mode::Transaction {
                ledger.trim();
            }
        }
        self.settle_with(super::settle::How::Requeue, around);
        self.unblock(around);
        around.flush();
        Ok(())
    }
}

/// How long somebody who asks for a message waits for the disk.
const DISK_PATIENCE: Duration = Duration::from_secs(5);

/// The next message. If it is on disk this waits for it: it is the answer.
fn next(queue: &QueueHandle, no_ack: bool, around: &mut Around<'_>) -> Option<(Entry, u64)> {
    let end = Instant::now() + DISK_PATIENCE;
    loop {
        match queue.get(now(), no_ack, &mut around.batch.after) {
            Next::Message { entry, left } => return Some((entry, left)),
            Next::OnDisk if Instant::now() < end => {
                paging::bring(&around.client.node, queue, &mut around.batch.after, end);
            }
            // A disk that does not answer is not the client's business: it may ask again.
            Next::OnDisk | Next::Nothing => return None,
        }
    }
}

/// A consumer goes, and with the last of them the queue, if it was declared so.
pub(super) fn unsubscribe(consumer: &Consumer, around: &mut Around<'_>) {
    let client = around.client;
    let Some(id) = consumer.id.get().copied() else {
        return;
    };
    let left = consumer.queue.unsubscribe(now(), id, &mut around.batch.after);
    if let Some(ledger) = client.output.lock().ledgers.get_mut(&consumer.channel) {
        ledger.close(consumer.origin);
    }
    if left > 0 {
        return;
    }
    let identity = consumer.queue.identity();
    if identity.name.starts_with(REPLY_TO) {
        return client.node.close_replies(&identity.name);
    }
    let goes = client.node.read(|meta| {
        let queue = meta.queue(identity.id);
        queue.is_some_and(|(_, _, queue)| queue.auto_delete)
    });
    let unused = OnlyIf {
        unused: true,
        empty: false,
    };
    // If somebody has come meanwhile it goes with him.
    if goes {
        match client.node.delete_queue(&consumer.queue, unused) {
            Ok((_, ticket)) => around.batch.await_change(client, ticket),
            Err(NotDeleted::Stays(_)) => {}
            Err(NotDeleted::Refused(refusal)) => {
                tracing::warn!(%refusal, queue = ?consumer.queue, "auto-delete queue stays");
            }
        }
    }
}

pub(super) fn is_quorum(client: &crate::client::Client, name: &Name) -> bool {
    client.node.read(|meta| {
        let queue = meta.vhost(&client.vhost).and_then(|vhost| vhost.queue(name));
        queue.is_some_and(|queue| queue.meaning.kind == warren_model::arguments::QueueType::Quorum)
    })
}

/// `x-priority` of a consumer; beyond what there is room for, the highest or lowest.
fn priority(arguments: &warren_amqp::Table, queue: &str, vhost: &str) -> Result<i32, Refusal> {
    let Some(value) = arguments.get("x-priority") else {
        return Ok(0);
    };
    let number = integer(value).ok_or_else(|| {
        let why = format_args!("\"expected integer, got {}\"", type_name(value)).to_string();
        Refusal::invalid_argument("x-priority", queue, vhost, why)
    })?;
    Ok(i32::try_from(number).unwrap_or(if number < 0 { i32::MIN } else { i32::MAX }))
}
