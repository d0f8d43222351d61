//! Traffic: publishers and consumers, each a thread with a connection that blocks.
//!
//! The loop is closed: publishers stop when they are so many messages ahead of the consumers, so that the rate is that of
//! the broker from end to end and not of what it can swallow.

use std::collections::VecDeque;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use warren_amqp::client::Event;
use warren_amqp::content::Properties;
use warren_amqp::hot::Publish;
use warren_amqp::outbox::Outbox;
use warren_amqp::{FrameMax, Method, basic, channel, connection};

use super::client::Client;
use crate::bench::histogram::Histogram;

/// Messages that publishers may be ahead of consumers.
const BACKLOG: u64 = 20_000;
/// Octets given to one write.
const WRITE: usize = 64 * 1024;
/// How long setting up may take: a thousand bindings, one by one.
const PATIENCE: Duration = Duration::from_secs(60);

/// How messages find queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// By the queue's name.
    Default,
    /// To all queues.
    Fanout,
    /// By pattern, among so many bindings.
    Topic(usize),
}

/// What consumers do with what they get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acks {
    /// Nothing is expected of them.
    Auto,
    /// One ack for so many, with this prefetch.
    Every(u64, u16),
}

/// A workload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) publishers: usize,
    pub(crate) consumers: usize,
    pub(crate) queues: usize,
    /// They are quorum queues.
    pub(crate) quorum: bool,
    pub(crate) route: Route,
    pub(crate) size: usize,
    pub(crate) persistent: bool,
    /// Messages in flight without a confirm, for each publisher; 0: none is asked for.
    pub(crate) window: u64,
    pub(crate) acks: Acks,
    /// Messages per second of all publishers; `None`: as many as go.
    pub(crate) rate: Option<f64>,
    /// Messages that each publisher sends at most.
    pub(crate) most: u64,
}

impl Plan {
    /// One publisher, one queue, one consumer.
    pub(crate) const fn one_to_one(size: usize) -> Self {
        Self {
            publishers: 1,
            consumers: 1,
            queues: 1,
            quorum: false,
            route: Route::Default,
            size,
            persistent: false,
            window: 0,
            acks: Acks::Auto,
            rate: None,
            most: u64::MAX,
        }
    }

    /// Deliveries of one message.
    const fn fan(&self) -> u64 {
        match self.route {
            Route::Fanout => self.queues as u64,
            Route::Default | Route::Topic(_) => 1,
        }
    }
}

/// A counter that shares its cache line with nobody.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Count(AtomicU64);

impl Count {
    fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }
}

/// What all threads see.
#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    recording: AtomicBool,
    sent: Count,
    confirmed: Count,
    received: Count,
    errors: Count,
}

/// How far it is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Progress {
    pub(crate) sent: u64,
    pub(crate) confirmed: u64,
    pub(crate) received: u64,
    pub(crate) errors: u64,
}

/// Traffic that goes on.
pub(crate) struct Load {
    plan: Plan,
    address: SocketAddr,
    name: String,
    shared: Arc<Shared>,
    sockets: Vec<TcpStream>,
    threads: Vec<JoinHandle<Histogram>>,
}

impl Load {
    /// Declares what is needed and begins. Nobody else uses this name.
    pub(crate) fn start(plan: Plan, address: SocketAddr, name: &str) -> io::Result<Self> {
        let (exchange, keys) = declare(&plan, address, name)?;
        let mut load = Self {
            plan,
            address,
            name: name.to_owned(),
            shared: Arc::default(),
            sockets: Vec::new(),
            threads: Vec::new(),
        };
        for number in 0..plan.consumers {
            let mut client = Client::with_channel(address, PATIENCE)?;
            if let Acks::Every(_, prefetch) = plan.acks {
                client.prefetch(prefetch)?;
            }
            client.consume(&queue(name, number % plan.queues), plan.acks == Acks::Auto)?;
            load.spawn(client, move |client, shared, _| {
                consume(client, shared, plan.acks)
            })?;
        }
        for number in 0..plan.publishers {
            let mut client = Client::with_channel(address, PATIENCE)?;
            if plan.window > 0 {
                client.confirms()?;
            }
            // Publishers share the keys, or all have one.
            let own: Vec<&String> = match plan.queues >= plan.publishers {
                true => keys.iter().skip(number).step_by(plan.publishers).collect(),
                false => keys.iter().skip(number % plan.queues).take(1).collect(),
            };
            let messages = own
                .into_iter()
                .map(|key| encode(&plan, &exchange, key))
                .collect::<io::Result<Vec<Vec<u8>>>>()?;
            load.spawn(client, move |client, shared, latency| {
                Publisher::new(plan, messages).run(client, shared, latency)
            })?;
        }
        Ok(load)
    }

    fn spawn(
        &mut self,
        mut client: Client,
        work: impl FnOnce(&mut Client, &Shared, &mut Histogram) -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        client.stream.set_read_timeout(None)?;
        self.sockets.push(client.stream.try_clone()?);
        let shared = Arc::clone(&self.shared);
        self.threads.push(std::thread::spawn(move || {
            let mut latency = Histogram::default();
            if let Err(error) = work(&mut client, &shared, &mut latency)
                && !shared.stop.load(Relaxed)
            {
                eprintln!("a client ended: {error}");
                shared.errors.add(1);
            }
            latency
        }));
        Ok(())
    }

    pub(crate) fn progress(&self) -> Progress {
        let of = |count: &Count| count.0.load(Relaxed);
        Progress {
            sent: of(&self.shared.sent),
            confirmed: of(&self.shared.confirmed),
            received: of(&self.shared.received),
            errors: of(&self.shared.errors),
        }
    }

    /// Latencies of confirms count from now on, or no more.
    pub(crate) fn record(&self, on: bool) {
        self.shared.recording.store(on, Relaxed);
    }

    /// Ends it; what was declared and published stays. Gives the latencies of confirms.
    pub(crate) fn abandon(&mut self) -> io::Result<Histogram> {
        self.shared.stop.store(true, Relaxed);
        for socket in &self.sockets {
            // One that has ended is no error.
            let _ = socket.shutdown(Shutdown::Both);
        }
        let mut latency = Histogram::default();
        for thread in self.threads.drain(..) {
            latency.merge(&thread.join().map_err(|_| io::Error::other("a client panicked"))?);
        }
        Ok(latency)
    }

    /// Ends it, deletes what was declared, and gives the latencies of confirms.
    pub(crate) fn stop(mut self) -> io::Result<Histogram> {
        let latency = self.abandon()?;
        let mut client = Client::with_channel(self.address, PATIENCE)?;
        for number in 0..self.plan.queues {
            client.delete_queue(&queue(&self.name, number))?;
        }
        if self.plan.route != Route::Default {
            client.delete_exchange(&self.name)?;
        }
        client.close()?;
        Ok(latency)
    }
}

fn queue(name: &str, number: usize) -> String {
    format!("{name}.{number}")
}

/// Queues, exchange and bindings: the exchange's name and the routing keys, one for each queue.
fn declare(plan: &Plan, address: SocketAddr, name: &str) -> io::Result<(String, Vec<String>)> {
    let mut client = Client::with_channel(address, PATIENCE)?;
    let queues: Vec<String> = (0..plan.queues).map(|number| queue(name, number)).collect();
    for queue in &queues {
        match plan.quorum {
            true => client.declare_quorum(queue)?,
            false => client.declare(queue)?,
        }
    }
    let answer = match plan.route {
        Route::Default => (String::new(), queues),
        Route::Fanout => {
            client.exchange(name, "fanout")?;
            for queue in &queues {
                client.bind(queue, name, "")?;
            }
            (name.to_owned(), vec![String::new()])
        }
        Route::Topic(bindings) => {
            client.exchange(name, "topic")?;
            for (number, queue) in queues.iter().enumerate() {
                client.bind(queue, name, &format!("*.k{number}.#"))?;
            }
            // Most bindings match nothing: the router has something to sift.
            for number in queues.len()..bindings {
                let queue = &queues[number % queues.len()];
                client.bind(queue, name, &format!("site.n{number}.*.f"))?;
            }
            let keys = (0..queues.len()).map(|number| format!("site.k{number}.temp.c"));
            (name.to_owned(), keys.collect())
        }
    };
    client.close()?;
    Ok(answer)
}

/// All frames of one message.
pub(super) fn encode(plan: &Plan, exchange: &str, key: &str) -> io::Result<Vec<u8>> {
    let mut outbox = Outbox::new(FrameMax::DEFAULT);
    let publish = Publish {
        exchange: exchange.as_bytes(),
        routing_key: key.as_bytes(),
        ..Publish::default()
    };
    let properties = Properties {
        delivery_mode: Some(if plan.persistent { 2 } else { 1 }),
        ..Properties::default()
    };
    let body = Bytes::from(vec![b'x'; plan.size]);
    outbox
        .publish(super::client::CHANNEL, &publish, &properties, &body)
        .map_err(io::Error::other)?;
    let mut octets = vec![0; outbox.remaining()];
    outbox.copy_to_slice(&mut octets);
    Ok(octets)
}

struct Publisher {
    plan: Plan,
    /// In turn.
    messages: Vec<Vec<u8>>,
    next: usize,
    sent: u64,
    window: Window,
}

impl Publisher {
    fn new(plan: Plan, messages: Vec<Vec<u8>>) -> Self {
        Self {
            plan,
            messages,
            next: 0,
            sent: 0,
            window: Window::default(),
        }
    }

    fn run(&mut self, client: &mut Client, shared: &Shared, latency: &mut Histogram) -> io::Result<()> {
        let largest = self.messages.iter().map(Vec::len).max().unwrap_or(1);
        let room = (WRITE / largest).max(1) as u64;
        let mut octets = Vec::with_capacity(WRITE.max(largest));
        let begin = Instant::now();
        while !shared.stop.load(Relaxed) {
            let mut count = room.min(self.allowed(shared)).min(self.plan.most - self.sent);
            if let Some(rate) = self.plan.rate {
                let rate = rate / self.plan.publishers as f64;
                let due = (begin.elapsed().as_secs_f64() * rate) as u64 + 1;
                count = count.min(due.saturating_sub(self.sent));
            }
            if count > 0 {
                octets.clear();
                let now = Instant::now();
                for _ in 0..count {
                    octets.extend_from_slice(&self.messages[self.next]);
                    self.next = (self.next + 1) % self.messages.len();
                    if self.plan.window > 0 {
                        self.window.sent(now);
                    }
                }
                client.write(&octets)?;
                self.sent += count;
                shared.sent.add(count);
            } else if self.plan.window == 0 || self.window.is_empty() {
                std::thread::sleep(Duration::from_micros(100));
                continue;
            }
            let full = self.window.len() >= self.plan.window;
            if self.plan.window > 0 && (full || client.is_readable()) {
                client.read()?;
                self.confirms(client, shared, latency)?;
            } else if count == 0 {
                std::thread::sleep(Duration::from_micros(50));
            }
        }
        Ok(())
    }

    /// How many messages may be sent now.
    fn allowed(&self, shared: &Shared) -> u64 {
        let mut count = u64::MAX;
        if self.plan.window > 0 {
            count = self.plan.window - self.window.len();
        }
        if self.plan.consumers > 0 {
            let fan = self.plan.fan();
            let ahead = (shared.sent.0.load(Relaxed) * fan).saturating_sub(shared.received.0.load(Relaxed));
            count = count.min(BACKLOG.saturating_sub(ahead).div_ceil(fan));
        }
        count
    }

    fn confirms(&mut self, client: &mut Client, shared: &Shared, latency: &mut Histogram) -> io::Result<()> {
        let (now, recording) = (Instant::now(), shared.recording.load(Relaxed));
        while let Some(event) = client.event()? {
            let Event::Method { method, .. } = event else {
                continue;
            };
            let (tag, multiple) = match method {
                Method::Basic(basic::Method::Ack(ack)) => (ack.delivery_tag, ack.multiple),
                Method::Basic(basic::Method::Nack(nack)) => {
                    shared.errors.add(1);
                    (nack.delivery_tag, nack.multiple)
                }
                other => {
                    refuse(&other)?;
                    continue;
                }
            };
            let count = self.window.settled(tag, multiple, |sent| {
                if recording {
                    latency.add(now - sent);
                }
            });
            shared.confirmed.add(count);
        }
        Ok(())
    }
}

/// Messages in flight, in order: when they were sent, unless they were confirmed out of turn.
#[derive(Debug, Default)]
struct Window {
    /// The tag before that of the first.
    before: u64,
    sent: VecDeque<Option<Instant>>,
    open: u64,
}

impl Window {
    fn sent(&mut self, now: Instant) {
        self.sent.push_back(Some(now));
        self.open += 1;
    }

    fn len(&self) -> u64 {
        self.open
    }

    fn is_empty(&self) -> bool {
        self.open == 0
    }

    /// Says how many were not confirmed before.
    fn settled(&mut self, tag: u64, multiple: bool, mut each: impl FnMut(Instant)) -> u64 {
        let last = tag.saturating_sub(self.before) as usize;
        let first = if multiple { 0 } else { last.saturating_sub(1) };
        let mut count = 0;
        for place in self
            .sent
            .range_mut(first.min(self.sent.len())..last.min(self.sent.len()))
        {
            if let Some(sent) = place.take() {
                each(sent);
                count += 1;
            }
        }
        while self.sent.front().is_some_and(Option::is_none) {
            self.sent.pop_front();
            self.before += 1;
        }
        self.open -= count;
        count
    }
}

fn consume(client: &mut Client, shared: &Shared, acks: Acks) -> io::Result<()> {
    let mut acked = 0;
    loop {
        client.read()?;
        let mut count = 0;
        while let Some(event) = client.event()? {
            match event {
                Event::Message { message, .. } => {
                    count += 1;
                    let tag = message.deliver().map_or(0, |deliver| deliver.delivery_tag);
                    if let Acks::Every(many, _) = acks
                        && tag - acked >= many
                    {
                        client.ack(tag, many > 1);
                        acked = tag;
                    }
                }
                Event::Method { method, .. } => refuse(&method)?,
                Event::Opened { .. } | Event::Heartbeat => {}
            }
        }
        client.flush()?;
        shared.received.add(count);
    }
}

/// The broker does not want to go on.
fn refuse(method: &Method) -> io::Result<()> {
    match method.id() {
        channel::Close::ID | connection::Close::ID | basic::Cancel::ID => {
            Err(io::Error::other(format!("the broker ended it: {method:?}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_leaves_the_window_once_however_it_is_confirmed() {
        let mut window = Window::default();
        let now = Instant::now();
        for _ in 0..6 {
            window.sent(now);
        }
        let mut seen = 0;
        let mut settle = |tag, multiple| window.settled(tag, multiple, |_| seen += 1);
        assert_eq!(settle(2, false), 1);
        assert_eq!(settle(2, false), 0);
        assert_eq!(settle(4, true), 3);
        assert_eq!(settle(3, false), 0);
        assert_eq!(settle(99, true), 2);
        assert_eq!((window.len(), window.before, seen), (0, 6, 6));
    }
}
