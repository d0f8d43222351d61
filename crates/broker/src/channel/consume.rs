//! Class basic, but for what comes with every message: consumers, single fetches, limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use warren_amqp::hot::GetOk;
use warren_amqp::{ReplyCode, ShortString, basic};
use warren_model::arguments::{integer, type_name};
use warren_model::consumers::Terms;
use warren_model::meta::{Access, Command};
use warren_model::{Name, Refusal};

use super::{Around, Channel, declare::generated, unimplemented};
use crate::node::now;
use crate::output::Consumer;

impl Channel {
    pub(super) fn basic(&mut self, method: basic::Method, around: &mut Around<'_>) -> Result<(), Refusal> {
        match method {
            basic::Method::Qos(qos) => self.qos(&qos, around),
            basic::Method::Consume(consume) => self.consume(consume, around),
            basic::Method::Cancel(cancel) => {
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
        let name = self.queue_name(&consume.queue)?;
        client.check(Access::Read, "queue", &name)?;
        let tag = match consume.consumer_tag.as_bytes().is_empty() {
            true => ShortString::try_from(generated("amq.ctag-")?.as_str()).unwrap_or_default(),
            false => consume.consumer_tag,
        };
        self.forget_gone(around);
        if self.consumers.contains_key(&tag) {
            return Err(Refusal::new(
                ReplyCode::NotAllowed,
                format_args!("attempt to reuse consumer tag '{}'", tag.to_text()),
            ));
        }
        let queue = self.usable(&name, around)?;
        let terms = Terms {
            priority: priority(&consume.arguments, &name, &client.vhost)?,
            prefetch: (self.prefetch > 0 && !consume.no_ack).then(|| self.prefetch.into()),
            exclusive: consume.exclusive,
        };
        let (origin, limited) = {
            let mut waiting = client.output.lock();
            let Some(ledger) = waiting.ledgers.get_mut(&self.number) else {
                return Ok(());
            };
            (ledger.open(Arc::clone(&queue)), Arc::clone(&ledger.limited))
        };
        let consumer = Arc::new(Consumer {
            output: Arc::clone(&client.output),
            channel: self.number,
            tag: bytes::Bytes::copy_from_slice(tag.as_bytes()),
            queue: Arc::clone(&queue),
            no_ack: consume.no_ack,
            origin,
            notify: client.consumer_cancel_notify,
            counts: is_quorum(&client, &name),
            id: parking_lot::Mutex::new(None),
            limited,
            gone: AtomicBool::new(false),
        });
        let sink = Arc::clone(&consumer) as Arc<dyn warren_cluster::DeliverySink>;
        let Ok(id) = queue.subscribe(now(), terms, consume.no_ack, sink) else {
            if let Some(ledger) = client.output.lock().ledgers.get_mut(&self.number) {
                ledger.close(origin);
            }
            return Err(Refusal::new(
                ReplyCode::AccessRefused,
                format_args!("queue '{name}' in vhost '{}' in exclusive use", client.vhost),
            ));
        };
        *consumer.id.lock() = Some(id);
        {
            let mut waiting = client.output.lock();
            if let Some(ledger) = waiting.ledgers.get_mut(&self.number) {
                ledger.set_consumer(origin, id);
            }
            if !consume.no_wait {
                waiting.method(
                    self.number,
                    basic::ConsumeOk {
                        consumer_tag: tag.clone(),
                    },
                );
            }
        }
        self.consumers.insert(tag, consumer);
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

    fn get(&mut self, get: &basic::Get, around: &mut Around<'_>) -> Result<(), Refusal> {
        let client = Arc::clone(around.client);
        let name = self.queue_name(&get.queue)?;
        client.check(Access::Read, "queue", &name)?;
        let queue = self.usable(&name, around)?;
        let found = queue.get(now(), get.no_ack, &mut around.batch.after);
        let Some((entry, left)) = found else {
            around.flush();
            return self.answer(around, basic::GetEmpty::default());
        };
        let counts = is_quorum(&client, &name);
        {
            let mut waiting = client.output.lock();
            let waiting = &mut *waiting;
            let Some(ledger) = waiting.ledgers.get_mut(&self.number) else {
                return Ok(());
            };
            let delivery_tag = match get.no_ack {
                true => ledger.next_tag(),
                false => {
                    let id = queue.identity().id;
                    let origin = *self
                        .fetched
                        .entry(id)
                        .or_insert_with(|| ledger.open(Arc::clone(&queue)));
                    ledger.deliver(origin, entry.position)
                }
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
                waiting.message(
                    self.number,
                    &answer,
                    &entry.message,
                    counts.then_some(entry.returns),
                );
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
            ledger.settle(0, true, &mut self.settled).ok();
        }
        self.settle_with(super::settle::How::Requeue, around);
        self.unblock(around);
        around.flush();
        Ok(())
    }
}

/// A consumer goes, and with the last of them the queue, if it was declared so.
pub(super) fn unsubscribe(consumer: &Consumer, around: &mut Around<'_>) {
    let client = around.client;
    let Some(id) = *consumer.id.lock() else { return };
    let left = consumer.queue.unsubscribe(now(), id, &mut around.batch.after);
    if let Some(ledger) = client.output.lock().ledgers.get_mut(&consumer.channel) {
        ledger.close(consumer.origin);
    }
    if left > 0 {
        return;
    }
    let identity = consumer.queue.identity();
    let goes = client.node.read(|meta| {
        let queue = meta
            .vhost(&identity.vhost)
            .and_then(|vhost| vhost.queue(&identity.name));
        queue.is_some_and(|queue| queue.id == identity.id && queue.auto_delete)
    });
    if goes {
        let command = Command::DeleteQueue {
            vhost: identity.vhost.clone(),
            name: identity.name.clone(),
        };
        if let Err(refusal) = client.node.apply(command) {
            tracing::warn!(%refusal, queue = ?consumer.queue, "auto-delete queue stays");
        }
    }
}

fn is_quorum(client: &crate::client::Client, name: &Name) -> bool {
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
