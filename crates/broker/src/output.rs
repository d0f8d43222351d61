//! What a connection will send, and how others make it send: queues that have messages for its consumers, the log that has
//! confirms for its publishers, operators who want it closed.
//!
//! ```text
//!   queue (locked) ── deliver ──▶ [frames that wait] ── swap ──▶ the connection's task ── one writev ──▶ client
//!                                  ledger: tag → queue, position
//! ```
//!
//! There is one lock, held to put in frames or to take all of them out; never while writing.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use atomic_waker::AtomicWaker;
use bytes::Bytes;
use parking_lot::MutexGuard;
use warren_amqp::FrameMax;
use warren_amqp::basic;
use warren_amqp::content::{Header, HeaderEdit};
use warren_amqp::hot::{Carrier, Forward};
use warren_amqp::outbox::Outbox;
use warren_amqp::{Method, ShortString, Value};
use warren_cluster::lock::{Guard, Mutex, OUTPUT};
use warren_cluster::{Delivery, DeliverySink, QueueHandle, Room, Waiter};
use warren_model::{ConsumerId, Message, Millis};

use crate::by_channel::ByChannel;
use crate::firehose::Given;
use crate::ledger::Ledger;

/// Octets that wait for a client from which on its consumers get no more.
const WAITING_MAX: usize = 512 * 1024;
/// Octets at which they get messages again.
const WAITING_LOW: usize = 128 * 1024;

/// Octets of answers that wait for a client from which on he is not read: deliveries end before, and it is his own fault.
pub(crate) const ANSWERS_MAX: usize = 4 << 20;

/// Something waits to be sent.
pub(crate) const SEND: u32 = 1;
/// Somebody wants the connection closed.
pub(crate) const CLOSE: u32 = 1 << 1;
/// The broker stops.
pub(crate) const STOP: u32 = 1 << 2;
/// Somebody wants to know about channels.
pub(crate) const REPORT: u32 = 1 << 8;
/// What some of its publishers wait for is on disk.
pub(crate) const WRITTEN: u32 = 1 << 3;
/// Channels have had messages for too long.
pub(crate) const OVERDUE: u32 = 1 << 4;
/// Memory or disk is short, or no longer.
pub(crate) const ALARM: u32 = 1 << 5;

// Each is another bit.
const _: () = assert!((SEND | CLOSE | STOP | WRITTEN | OVERDUE | ALARM | REPORT).count_ones() == 7);

/// The way out of a connection.
#[derive(Debug)]
pub(crate) struct Output {
    /// Of the connection's task.
    pub(crate) waker: AtomicWaker,
    news: AtomicU32,
    waiting: Mutex<OUTPUT, Waiting>,
}

/// What waits.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    pub(crate) outbox: Outbox,
    /// Octets of the outbox that are no deliveries.
    pub(crate) answers: usize,
    pub(crate) ledgers: ByChannel<Ledger>,
    /// Consumers that have no room until octets have left.
    parked: Vec<(QueueHandle, ConsumerId)>,
    /// Channels with a limit that had no room for some of their consumers, and may have now.
    roomy: Vec<u16>,
    /// Channels that have had a message for too long.
    pub(crate) overdue: Vec<u16>,
    /// What the client was given since somebody looked, if the firehose is on in his vhost. There is no more than what waits
    /// in the outbox.
    pub(crate) given: Option<Vec<Given>>,
}

impl Output {
    pub(crate) fn new(frame_max: FrameMax) -> Self {
        let waiting = Waiting {
            outbox: Outbox::new(frame_max),
            ..Waiting::default()
        };
        Self {
            waker: AtomicWaker::new(),
            news: AtomicU32::new(0),
            waiting: Mutex::new(waiting),
        }
    }

    pub(crate) fn lock(&self) -> Guard<OUTPUT, MutexGuard<'_, Waiting>> {
        self.waiting.lock()
    }

    /// There is something to do for the connection's task.
    pub(crate) fn tell(&self, news: u32) {
        if self.news.fetch_or(news, Ordering::AcqRel) & news != news {
            self.waker.wake();
        }
    }

    /// What there is to do. Asked before it is done.
    pub(crate) fn news(&self) -> u32 {
        self.news.swap(0, Ordering::AcqRel)
    }
}

impl Waiter for Output {
    fn safe(&self) {
        self.tell(WRITTEN);
    }
}

impl Waiting {
    pub(crate) fn method(&mut self, channel: u16, method: impl Into<Method>) {
        let before = self.outbox.len();
        if let Err(error) = self.outbox.method(channel, method) {
            tracing::warn!(%error, "method was not sent");
        }
        self.answers += self.outbox.len().saturating_sub(before);
    }

    /// Notes what clients have now, and says whether they have had something for longer than `timeout` milliseconds.
    pub(crate) fn look(&mut self, now: Millis, timeout: u64) -> bool {
        for (channel, ledger) in &mut self.ledgers {
            if ledger
                .had_since(now)
                .is_some_and(|since| since.after(timeout) <= now)
                && !self.overdue.contains(channel)
            {
                self.overdue.push(*channel);
            }
        }
        !self.overdue.is_empty()
    }

    /// A message that the client asked for, or has back.
    pub(crate) fn answer(
        &mut self,
        channel: u16,
        method: &impl Carrier,
        message: &Message,
        returns: Option<u32>,
    ) {
        let before = self.outbox.len();
        self.message(channel, method, message, returns);
        self.answers += self.outbox.len().saturating_sub(before);
    }

    /// A message for the client, who does not see its `BCC`; `returns`: he sees how often it came back.
    fn message(&mut self, channel: u16, method: &impl Carrier, message: &Message, returns: Option<u32>) {
        let content = &message.content;
        let sent = match returns.is_none() && !message.blind {
            true => self.outbox.message(channel, method, content),
            false => {
                let mut edit = HeaderEdit::of(content.header());
                if message.blind {
                    edit = edit.without_header("BCC");
                }
                if let Some(returns) = returns {
                    edit = edit.with_header("x-delivery-count", Value::I64(returns.into()));
                }
                let header = edit.finish();
                // Cannot fail, unless the header has the most values there can be already.
                let header = Header::read(&header).unwrap_or_else(|_| content.header());
                self.outbox.with_header(channel, method, header, content)
            }
        };
        if let Err(error) = sent {
            tracing::warn!(%error, "message does not fit into the frames of its consumer");
        }
    }

    /// Consumers that may have messages again, and channels of which some may: `left` octets wait.
    pub(crate) fn unpark(&mut self, left: usize) -> (Vec<(QueueHandle, ConsumerId)>, Vec<u16>) {
        match left + self.outbox.len() <= WAITING_LOW {
            true => (std::mem::take(&mut self.parked), std::mem::take(&mut self.roomy)),
            false => (Vec::new(), Vec::new()),
        }
    }
}

/// A consumer of this connection, as its queue knows it.
#[derive(Debug)]
pub(crate) struct Consumer {
    pub(crate) output: Arc<Output>,
    pub(crate) channel: u16,
    pub(crate) tag: Bytes,
    pub(crate) queue: QueueHandle,
    pub(crate) no_ack: bool,
    /// What the channel's ledger knows it by.
    pub(crate) origin: u32,
    /// Its client wants to know when the queue goes.
    pub(crate) notify: bool,
    /// Deliveries say how often they came back, if they did.
    pub(crate) counts: bool,
    /// Known before the first delivery. No lock: whoever delivers has the queue and the output, whoever ends the channel wants the queue.
    pub(crate) id: OnceLock<ConsumerId>,
    /// Its channel has a limit for all of its consumers. There is one of these for each channel that ever was.
    pub(crate) limited: Arc<AtomicBool>,
    /// Its queue is gone.
    pub(crate) gone: AtomicBool,
    /// What was said with it: octets of a table.
    pub(crate) arguments: OnceLock<Bytes>,
}

impl Consumer {
    /// It is about to end, and gets nothing more.
    pub(crate) fn block(&self) {
        if let Some(id) = self.id.get() {
            self.queue.block(*id);
        }
    }
}

impl DeliverySink for Consumer {
    fn reserve(&self) -> bool {
        if !self.limited.load(Ordering::Relaxed) {
            return true;
        }
        let mut waiting = self.output.lock();
        let ledger = waiting.ledgers.get_mut(&self.channel);
        ledger.is_some_and(|ledger| ledger.reserve(self.origin, self.no_ack))
    }

    fn release(&self) {
        if self.no_ack || !self.limited.load(Ordering::Relaxed) {
            return;
        }
        let mut waiting = self.output.lock();
        let waiting = &mut *waiting;
        if let Some(ledger) = waiting.ledgers.get_mut(&self.channel)
            && ledger.unreserve()
        {
            if !waiting.roomy.contains(&self.channel) {
                waiting.roomy.push(self.channel);
            }
            self.output.tell(SEND);
        }
    }

    fn deliver(&self, delivery: Delivery<'_>) -> Room {
        let mut waiting = self.output.lock();
        let waiting = &mut *waiting;
        let Some(ledger) = waiting.ledgers.get_mut(&self.channel) else {
            return Room::Full;
        };
        let delivery_tag = match self.no_ack {
            true => ledger.next_tag(),
            false => ledger.deliver(self.origin, delivery.position),
        };
        let deliver = Forward {
            consumer_tag: &self.tag,
            delivery_tag,
            redelivered: delivery.redelivered,
            address: delivery.message.content.address(),
        };
        // With the last that its channel may have it waits until all others of it were asked.
        let last = ledger.is_full();
        let returns = Some(delivery.returns).filter(|returns| self.counts && *returns > 0);
        waiting.message(self.channel, &deliver, delivery.message, returns);
        if let Some(given) = &mut waiting.given {
            given.push(Given {
                channel: self.channel,
                queue: self.queue.clone(),
                redelivered: delivery.redelivered,
                message: Arc::clone(delivery.message),
            });
        }
        if waiting.outbox.len() < WAITING_MAX {
            if !last {
                return Room::Left;
            }
            if let Some(ledger) = waiting.ledgers.get_mut(&self.channel) {
                ledger.refuse(self.origin);
            }
            return Room::Full;
        }
        let id = self.id.get();
        waiting.parked.extend(id.map(|id| (self.queue.clone(), *id)));
        Room::Full
    }

    fn wake(&self) {
        self.output.tell(SEND);
    }

    fn cancel(&self) {
        self.gone.store(true, Ordering::Release);
        let mut waiting = self.output.lock();
        // Its channel may be closed by now, and another may have the number.
        let ledger = waiting.ledgers.get_mut(&self.channel);
        let Some(ledger) = ledger.filter(|ledger| Arc::ptr_eq(&ledger.limited, &self.limited)) else {
            return;
        };
        ledger.bereft = true;
        if self.notify
            && let Ok(consumer_tag) = ShortString::try_from(self.tag.clone())
        {
            waiting.method(
                self.channel,
                basic::Cancel {
                    consumer_tag,
                    no_wait: true,
                },
            );
            self.output.tell(SEND);
        }
    }
}

#[cfg(test)]
mod tests {
    use warren_cluster::Queue;
    use warren_cluster::queue::Identity;
    use warren_model::arguments::QueueType;
    use warren_model::queue::Limits;
    use warren_model::{Name, QueueId};

    use super::*;

    #[test]
    fn a_consumer_whose_queue_goes_is_cancelled_on_its_own_channel_or_nowhere() {
        let output = Arc::new(Output::new(FrameMax::DEFAULT));
        let name = |text| Name::try_from(text).unwrap();
        let identity = Identity {
            id: QueueId(1),
            vhost: name("/"),
            name: name("q"),
            durable: false,
            kind: QueueType::Classic,
        };
        let queue = Queue::new(identity, Limits::default(), 0, false, Millis(1));
        let consumer = Consumer {
            output: Arc::clone(&output),
            channel: 1,
            tag: Bytes::from_static(b"tag"),
            queue: QueueHandle::here(Arc::new(queue)),
            no_ack: false,
            origin: 0,
            notify: true,
            counts: false,
            id: OnceLock::new(),
            limited: Arc::clone(&output.lock().ledgers.entry(1).or_default().limited),
            gone: AtomicBool::new(false),
            arguments: OnceLock::new(),
        };
        let its_own = output.lock().ledgers.remove(&1).unwrap();
        consumer.cancel();
        assert!(output.lock().outbox.is_empty(), "the channel is closed");
        let another = |output: &Output| output.lock().ledgers.get(&1).is_some_and(|ledger| ledger.bereft);
        output.lock().ledgers.entry(1).or_default();
        consumer.cancel();
        assert!(
            output.lock().outbox.is_empty() && !another(&output),
            "this is another channel"
        );
        output.lock().ledgers.insert(1, its_own);
        consumer.cancel();
        assert!(!output.lock().outbox.is_empty() && another(&output));
    }
}
