//! All connections of a node: who is at the other end, what they have counted, and how one is made to end.
//!
//! ```text
//!   connection's task ── add (it alone counts) ──▶ Entry ◀── get ── listings, metrics
//!                     ◀── CLOSE, REPORT ───────── Registry ◀── operators
//! ```
//!
//! Counting costs a plain add, since one task does all of it; whoever wants a sum makes it. What only the task knows, its
//! channels, it says when it is asked ([`Registry::channels`]): nothing has to be kept up to date for nobody.
//! What leaves queues is counted by queues.

mod counter;
mod deaths;
mod sizes;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use warren_amqp::Table;
use warren_cluster::queue::Traffic;
use warren_kit::repeats::Repeats;
use warren_model::arguments::QueueType;
use warren_model::{ConsumerId, Millis, Name, QueueId};

use crate::clock::now;
use crate::output::{CLOSE, OVERDUE, Output, REPORT, STOP};
pub use counter::{Counter, Gauge};
pub use deaths::Deaths;
pub use sizes::{Sizes, SizesSum};

/// What is known of a connection when it opens, and does not change.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Never used twice while the node runs.
    pub number: u64,
    /// The client's end.
    pub peer: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
    /// Who logged in.
    pub user: Name,
    /// Where.
    pub vhost: Name,
    /// `PLAIN`, …
    pub mechanism: String,
    /// What the TLS of the connection is, if it has any.
    pub tls: Option<TlsFacts>,
    /// The largest frame, agreed upon.
    pub frame_max: u32,
    /// The highest channel number, agreed upon; 0: any.
    pub channel_max: u16,
    /// Seconds between signs of life, agreed upon; 0: none.
    pub heartbeat: u16,
    /// When it opened.
    pub since: Millis,
    /// As the client said them: octets of a table, which keep nothing else in memory.
    pub(crate) properties: Bytes,
}

/// What the TLS of a connection is.
#[derive(Clone, Debug, Default)]
pub struct TlsFacts {
    /// `tlsv1.3`, …
    pub protocol: String,
    /// `aes_256_gcm`, …
    pub cipher: String,
    /// The client's certificate was issued to this name.
    pub subject: Option<String>,
    /// The user that it names: [`crate::CertificateName`] says how.
    pub user: Option<String>,
}

/// Octets that clients mostly need to say of themselves.
const PROPERTIES: usize = 512;

impl Facts {
    /// What a client said, as it is kept.
    pub(crate) fn octets(properties: &Table) -> Bytes {
        if properties.is_empty() {
            return Bytes::new();
        }
        let mut octets = BytesMut::with_capacity(PROPERTIES);
        properties.encode(&mut octets);
        Bytes::copy_from_slice(octets.get(size_of::<u32>()..).unwrap_or_default())
    }

    /// As RabbitMQ names connections: where from and where to.
    #[must_use]
    pub fn name(&self) -> String {
        let plain = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
        format!("{} -> {}", plain(self.peer), plain(self.local))
    }

    /// What the client said of itself.
    #[must_use]
    pub fn properties(&self) -> Table {
        Table::decode_entries(self.properties.clone()).unwrap_or_default()
    }

    /// The name that the client gave its connection.
    #[must_use]
    pub fn given_name(&self) -> Option<String> {
        self.properties().text("connection_name")
    }
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// It is served.
    #[default]
    Running = 0,
    /// Memory or disk is short: it will be blocked when it publishes.
    Blocking = 1,
    /// It published while memory or disk was short, and is not read.
    Blocked = 2,
    /// It publishes faster than queues or the log take messages, and is not read, or was not a moment ago.
    Flow = 3,
    /// The client has been told that it ends.
    Closing = 4,
}

impl State {
    /// RabbitMQ's word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Blocking => "blocking",
            Self::Blocked => "blocked",
            Self::Flow => "flow",
            Self::Closing => "closing",
        }
    }

    const fn of(number: u8) -> Self {
        match number {
            1 => Self::Blocking,
            2 => Self::Blocked,
            3 => Self::Flow,
            4 => Self::Closing,
            _ => Self::Running,
        }
    }
}

/// What a connection has counted. Only its task adds.
#[derive(Debug, Default)]
pub struct Counts {
    /// Octets read.
    pub octets_received: Counter,
    /// Reads that brought some.
    pub reads: Counter,
    /// Octets written.
    pub octets_sent: Counter,
    /// Writes that took some.
    pub writes: Counter,
    /// Octets taken out of the output that the socket has not taken.
    pub(crate) unwritten: Gauge,
    /// Channels that are open.
    pub channels: Gauge,
    /// Channels of them on which something was published.
    pub publishers: Gauge,
    /// Messages published by the client.
    pub published: Sizes,
    /// Those of them that it wants to be confirmed.
    pub to_confirm: Counter,
    /// Places that messages were given in queues: a message may have several, or none.
    pub routed: Counter,
    /// Messages that no queue wanted, and that were lost.
    pub dropped: Counter,
    /// Messages that no queue wanted, and that the client has again.
    pub returned: Counter,
    /// Messages confirmed to the client.
    pub confirmed: Counter,
}

/// A connection as others see it.
#[derive(Debug)]
pub struct Entry {
    /// Who and where.
    pub facts: Facts,
    /// What it has counted.
    pub counts: Counts,
    state: AtomicU8,
    /// When it was slowed last; 0: it never was.
    slowed: AtomicU64,
    output: Arc<Output>,
    /// Why somebody wants it closed.
    reason: Mutex<Option<String>>,
    asked: Mutex<Vec<oneshot::Sender<Vec<ChannelReport>>>>,
}

/// How long a connection that was slowed is said to be, in milliseconds. RabbitMQ's: a moment would never be seen.
const SLOWED_SHOWN: u64 = 1000;

impl Entry {
    /// What it is doing.
    #[must_use]
    pub fn state(&self) -> State {
        match State::of(self.state.load(Ordering::Relaxed)) {
            State::Running if self.was_slowed(now()) => State::Flow,
            state => state,
        }
    }

    fn was_slowed(&self, now: Millis) -> bool {
        let slowed = self.slowed.load(Ordering::Relaxed);
        slowed > 0 && now < Millis(slowed).after(SLOWED_SHOWN)
    }

    /// It is not read for a while.
    pub(crate) fn slowed(&self) {
        self.slowed.store(now().0.max(1), Ordering::Relaxed);
    }

    pub(crate) fn set_state(&self, state: State) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    /// Octets that wait until the client reads.
    #[must_use]
    pub fn unsent(&self) -> u64 {
        self.counts.unwritten.get() + self.output.lock().outbox.len() as u64
    }

    /// Makes it end; its client hears why.
    pub fn close(&self, reason: &str) {
        self.reason.lock().get_or_insert_with(|| reason.to_owned());
        self.output.tell(CLOSE);
    }

    /// Keeps a list of what its client is given, for the firehose, or none any more.
    pub(crate) fn tap(&self, on: bool) {
        self.output.lock().given = on.then(Vec::new);
    }

    /// Tells it which of its channels have had a message for longer than `timeout` milliseconds.
    pub(crate) fn look(&self, now: Millis, timeout: u64) {
        if self.output.lock().look(now, timeout) {
            self.output.tell(OVERDUE);
        }
    }

    /// Why somebody wants it closed.
    pub(crate) fn reason(&self) -> String {
        let reason = self.reason.lock().take();
        reason.unwrap_or_else(|| "Closed via management plugin".to_owned())
    }

    /// Who wants to know about its channels. Asked by its task.
    pub(crate) fn asked(&self) -> Vec<oneshot::Sender<Vec<ChannelReport>>> {
        std::mem::take(&mut self.asked.lock())
    }

    fn ask(&self) -> oneshot::Receiver<Vec<ChannelReport>> {
        let (answer, answered) = oneshot::channel();
        let mut asked = self.asked.lock();
        // Nobody waits any more for what a connection that is stuck did not say in time.
        asked.retain(|answer| !answer.is_closed());
        asked.push(answer);
        drop(asked);
        self.output.tell(REPORT);
        answered
    }
}

/// What a connection's task says of a channel.
#[derive(Clone, Debug)]
pub struct ChannelReport {
    /// Its number.
    pub number: u16,
    /// It is in tx mode.
    pub transactional: bool,
    /// It is in confirm mode.
    pub confirm: bool,
    /// Limit of unsettled messages of each consumer to come; 0: none.
    pub prefetch: u32,
    /// Limit of unsettled messages of all consumers together; 0: none.
    pub prefetch_global: u32,
    /// Messages that its client has to settle.
    pub unsettled: u32,
    /// Messages that its client waits to hear of.
    pub unconfirmed: u64,
    /// Messages that wait for `tx.commit`.
    pub uncommitted: u64,
    /// Acknowledgements that wait for `tx.commit`.
    pub acks_uncommitted: u64,
    /// Who consumes on it.
    pub consumers: Vec<ConsumerReport>,
}

/// What a connection's task says of a consumer.
#[derive(Clone, Debug)]
pub struct ConsumerReport {
    /// What the client calls it.
    pub tag: Bytes,
    /// From where.
    pub queue: QueueId,
    /// The queue's name.
    pub queue_name: Name,
    /// What the queue knows it by.
    pub id: Option<ConsumerId>,
    /// Messages need not be settled.
    pub no_ack: bool,
    /// What was said with it: octets of a table.
    pub arguments: Bytes,
}

/// What happened on this node since it started.
#[derive(Debug, Default)]
pub struct Churn {
    /// Connections that opened.
    pub connections_opened: AtomicU64,
    /// Connections that ended.
    pub connections_closed: AtomicU64,
    /// Clients that did not get as far as an open connection: they went, spoke something else, or were refused.
    pub connections_not_opened: AtomicU64,
    /// Clients that took longer than [`crate::Settings::handshake_timeout`] for that.
    pub handshakes_too_long: AtomicU64,
    /// Attempts to accept a client that failed, mostly since no file descriptor was left.
    pub not_accepted: AtomicU64,
    /// Channels that opened.
    pub channels_opened: AtomicU64,
    /// Channels that ended.
    pub channels_closed: AtomicU64,
    /// Declarations of queues, those that there were already included.
    pub queues_declared: AtomicU64,
    /// Queues that came.
    pub queues_created: AtomicU64,
    /// Queues that went.
    pub queues_deleted: AtomicU64,
}

impl Churn {
    pub(crate) fn one(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Sums over connections, those that have ended included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Octets read.
    pub octets_received: u64,
    /// Octets written.
    pub octets_sent: u64,
    /// As in [`Counts`].
    pub reads: u64,
    /// As in [`Counts`].
    pub writes: u64,
    /// As in [`Counts`].
    pub published: SizesSum,
    /// As in [`Counts`].
    pub to_confirm: u64,
    /// As in [`Counts`].
    pub routed: u64,
    /// As in [`Counts`].
    pub dropped: u64,
    /// As in [`Counts`].
    pub returned: u64,
    /// As in [`Counts`].
    pub confirmed: u64,
}

impl Totals {
    fn add(&mut self, counts: &Counts) {
        self.octets_received += counts.octets_received.get();
        self.octets_sent += counts.octets_sent.get();
        self.reads += counts.reads.get();
        self.writes += counts.writes.get();
        self.published.add(&counts.published);
        self.to_confirm += counts.to_confirm.get();
        self.routed += counts.routed.get();
        self.dropped += counts.dropped.get();
        self.returned += counts.returned.get();
        self.confirmed += counts.confirmed.get();
    }
}

/// Lines about clients who get no connection, and the time in which there are no more: whoever can reach the port can make thousands a
/// second need one.
const UNOPENED_LINES: u32 = 100;
const UNOPENED_WITHIN: Duration = Duration::from_secs(10);

/// All connections of a node.
#[derive(Debug, Default)]
pub struct Registry {
    open: Mutex<BTreeMap<u64, Arc<Entry>>>,
    /// What connections counted that have ended.
    ended: Mutex<Totals>,
    /// What happened.
    pub churn: Churn,
    /// What became of messages that nobody settled.
    pub deaths: Deaths,
    /// What queues counted that are gone.
    retired: Mutex<[Traffic; 2]>,
    /// Lines of the log about clients who got no connection.
    unopened: Mutex<Option<Repeats>>,
    /// The broker stops.
    stopping: AtomicBool,
    /// A connection has ended.
    gone: Notify,
}

impl Registry {
    /// Whether to say that a client got no connection, and how many were not spoken of since that was done last.
    pub(crate) fn speaks_of_unopened(&self) -> Option<u64> {
        let mut lines = self.unopened.lock();
        let lines = lines.get_or_insert_with(|| Repeats::few(UNOPENED_LINES, UNOPENED_WITHIN));
        lines.pass(tokio::time::Instant::now().into_std())
    }

    /// A connection opened.
    pub(crate) fn opened(&self, facts: Facts, output: Arc<Output>) -> Arc<Entry> {
        let number = facts.number;
        let entry = Arc::new(Entry {
            facts,
            counts: Counts::default(),
            state: AtomicU8::new(State::Running as u8),
            slowed: AtomicU64::new(0),
            output,
            reason: Mutex::default(),
            asked: Mutex::default(),
        });
        Churn::one(&self.churn.connections_opened);
        self.open.lock().insert(number, Arc::clone(&entry));
        if self.stopping.load(Ordering::SeqCst) {
            entry.output.tell(STOP);
        }
        entry
    }

    /// A connection has ended. What it counted stays in the sums.
    pub(crate) fn ended(&self, number: u64) {
        let mut open = self.open.lock();
        if let Some(entry) = open.remove(&number) {
            // Under the same lock as sums are made: none counts it twice, or not at all.
            self.ended.lock().add(&entry.counts);
            Churn::one(&self.churn.connections_closed);
        }
        self.gone.notify_waiters();
    }

    /// Tells all connections that the broker stops, those to come included: first to finish, and when they are told again,
    /// to end.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.tell(STOP);
    }

    /// Tells all connections something.
    pub(crate) fn tell(&self, news: u32) {
        for entry in self.connections() {
            entry.output.tell(news);
        }
    }

    /// Waits until there is no connection.
    pub(crate) async fn none(&self) {
        loop {
            let gone = self.gone.notified();
            tokio::pin!(gone);
            gone.as_mut().enable();
            if self.count() == 0 {
                return;
            }
            gone.await;
        }
    }

    /// A queue is gone. What it counted stays in the sums.
    pub(crate) fn retire(&self, kind: QueueType, traffic: Traffic) {
        let [classic, quorum] = &mut *self.retired.lock();
        match kind {
            QueueType::Classic => add_traffic(classic, traffic),
            QueueType::Quorum => add_traffic(quorum, traffic),
        }
    }

    pub(crate) fn retired(&self) -> [Traffic; 2] {
        *self.retired.lock()
    }

    /// All connections, oldest first.
    #[must_use]
    pub fn connections(&self) -> Vec<Arc<Entry>> {
        self.open.lock().values().cloned().collect()
    }

    /// How many connections.
    #[must_use]
    pub fn count(&self) -> usize {
        self.open.lock().len()
    }

    /// A connection by its number.
    #[must_use]
    pub fn connection(&self, number: u64) -> Option<Arc<Entry>> {
        self.open.lock().get(&number).cloned()
    }

    /// Sums over all connections that are or were.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let open = self.open.lock();
        let mut totals = *self.ended.lock();
        open.values().for_each(|entry| totals.add(&entry.counts));
        totals
    }

    /// Makes a connection end; its client hears why. Says whether there is such.
    pub fn close_connection(&self, number: u64, reason: &str) -> bool {
        let entry = self.connection(number);
        if let Some(entry) = &entry {
            entry.close(reason);
        }
        entry.is_some()
    }

    /// Channels of all connections, with what each connection's task says of them. A connection that does not answer in
    /// time is left out.
    pub async fn channels(&self, patience: Duration) -> Vec<(Arc<Entry>, Vec<ChannelReport>)> {
        let deadline = tokio::time::Instant::now() + patience;
        let asked: Vec<_> = self
            .connections()
            .into_iter()
            .map(|entry| {
                let answered = entry.ask();
                (entry, answered)
            })
            .collect();
        let mut channels = Vec::with_capacity(asked.len());
        for (entry, answered) in asked {
            if let Ok(Ok(reports)) = tokio::time::timeout_at(deadline, answered).await {
                channels.push((entry, reports));
            }
        }
        channels
    }
}

/// What queues counted, summed up.
pub(crate) const fn add_traffic(sum: &mut Traffic, traffic: Traffic) {
    sum.published += traffic.published;
    sum.delivered += traffic.delivered;
    sum.delivered_no_ack += traffic.delivered_no_ack;
    sum.got += traffic.got;
    sum.got_no_ack += traffic.got_no_ack;
    sum.got_empty += traffic.got_empty;
    sum.redelivered += traffic.redelivered;
    sum.acked += traffic.acked;
}
