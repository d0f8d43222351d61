//! One connection: a task that reads frames, does what they say, and writes what waits for its client.
//!
//! It waits in one place only ([`Connection::next`]), for whatever comes first: octets to read, room to write, news from a
//! queue, time.

mod ending;
mod frames;
mod greeting;
mod handshake;
mod large;
#[cfg(test)]
mod tests;
mod throttle;
mod turn;
mod wire;

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::ReadBuf;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use warren_amqp::frame::{Chunk, FrameError, Splitter};
use warren_amqp::outbox::Outbox;
use warren_amqp::{Exception, FrameMax, MethodId, ReplyCode, ShortString, connection};
use warren_cluster::{QueueHandle, lock};
use warren_model::ConsumerId;

use crate::arrival::Arrival;
use crate::batch::Batch;
use crate::by_channel::ByChannel;
use crate::channel::confirm::Confirms;
use crate::channel::{Around, Channel, settle};
use crate::client::Client;
use crate::firehose;
use crate::node::Node;
use crate::output::{ALARM, ANSWERS_MAX, CLOSE, OVERDUE, REPORT, STOP, WRITTEN};
use crate::registry::Churn;
use crate::seats::Seat;
pub(crate) use greeting::Greeting;
use large::Large;
use throttle::Throttle;
use turn::Turn;
pub(crate) use wire::Wire;

/// Octets taken from the socket at once.
const READ: usize = 64 * 1024;
/// Pieces given to one vectored write.
const SLICES: usize = 64;
/// Memory that an idle connection keeps for what it sends.
const KEPT: usize = 4096;

/// Serves one client until it goes.
pub(crate) async fn run<S: Wire>(mut stream: S, arrival: Arrival, node: Arc<Node>) {
    let (peer, timeout) = (arrival.peer, node.settings().handshake_timeout);
    let opened = {
        // In one place, and of no more use when the connection needs its own: a task is as large as what it waits for, twice if that
        // is given away.
        let opening = pin!(handshake::open(&mut stream, &arrival, &node));
        let opening = node.newcomers.in_turn(opening);
        tokio::time::timeout(timeout, opening).await
    };
    let opened = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err(error)) => {
            Churn::one(&node.registry.churn.connections_not_opened);
            if let Some(unsaid) = node.registry.speaks_of_unopened() {
                tracing::info!(%peer, %error, unsaid, "connection was not opened");
            }
            return wire::end(&mut stream).await;
        }
        Err(_) => {
            Churn::one(&node.registry.churn.handshakes_too_long);
            if let Some(unsaid) = node.registry.speaks_of_unopened() {
                tracing::info!(%peer, unsaid, "handshake took too long");
            }
            return wire::end(&mut stream).await;
        }
    };
    let (user, vhost) = (opened.client.user.clone(), opened.client.vhost.clone());
    // Put into letters once: it takes longer than all else in a line of the log.
    let peer = peer.to_string();
    tracing::info!(%peer, %user, %vhost, "connection opened");
    let mut connection = Connection::new(stream, opened);
    let why = connection.serve().await;
    connection.end_in_turn().await;
    wire::end(&mut connection.stream).await;
    node.registry.ended(connection.client.number);
    match why {
        Ok(()) => tracing::info!(%peer, %user, %vhost, "connection closed"),
        Err(error) => tracing::info!(%peer, %user, %vhost, %error, "connection was lost"),
    }
}

/// What woke the task.
enum Event {
    /// So many octets were read.
    Read(usize),
    /// The client has read answers, and may ask for more.
    Heard,
    /// What was read is not done yet, and others have not had their turn.
    More,
    /// The client sends no more.
    End,
    /// Others have something to say.
    News(u32),
    /// Half of the heartbeat interval has passed.
    Tick,
}

struct Connection<S> {
    stream: S,
    client: Arc<Client>,
    /// Until everything that the client had has gone back.
    seat: Option<Seat>,
    splitter: Splitter,
    input: BytesMut,
    /// What comes before the input, which is empty until all of it has come.
    large: Option<Large>,
    /// Taken out of the output, to be written.
    writing: Outbox,
    /// Each in memory of its own: a map has room for some, and mostly there is one.
    channels: ByChannel<Box<Channel>>,
    confirms: ByChannel<Confirms>,
    batch: Batch,
    throttle: Throttle,
    channel_max: u16,
    frame_max: FrameMax,
    tick: Option<Interval>,
    /// When something was last read, and whether anything was written since the last tick.
    heard: Instant,
    wrote: bool,
    /// What it has been served without a pause, if it has.
    turn: Option<Turn>,
    /// The broker stops: the client hears what became of its messages, and is not listened to any more.
    leaving: bool,
    /// The client was told that the connection closes, and has until then to answer; or has closed it, and to take what is left for it.
    closing: Option<Instant>,
    /// The last frames were written or are being: nothing is read any more.
    done: bool,
    /// The client closes the connection, and waits for the answer.
    takes_leave: bool,
}

impl<S: Wire> Connection<S> {
    fn new(stream: S, opened: handshake::Opened) -> Self {
        let tick = (!opened.heartbeat.is_zero()).then(|| {
            let half = opened.heartbeat / 2;
            let mut tick = tokio::time::interval_at(Instant::now() + half, half);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            tick
        });
        Self {
            stream,
            client: opened.client,
            seat: Some(opened.seat),
            splitter: opened.splitter,
            input: opened.input,
            large: None,
            writing: Outbox::default(),
            channels: ByChannel::default(),
            confirms: ByChannel::default(),
            batch: Batch::default(),
            throttle: Throttle::default(),
            channel_max: opened.channel_max,
            frame_max: opened.frame_max,
            tick,
            heard: Instant::now(),
            wrote: false,
            turn: None,
            leaving: false,
            closing: None,
            done: false,
            takes_leave: false,
        }
    }

    async fn serve(&mut self) -> io::Result<()> {
        self.follow_alarms();
        // What came with the last of the handshake.
        self.process();
        loop {
            if std::mem::take(&mut self.takes_leave) {
                self.end_in_turn().await;
                self.client.output.lock().method(0, connection::CloseOk {});
            }
            if self.done && self.writing.is_empty() && self.client.output.lock().outbox.is_empty() {
                return Ok(());
            }
            match self.next().await? {
                Event::Read(count) => {
                    self.heard = Instant::now();
                    let turn = self.turn.get_or_insert_with(|| Turn::begin(self.heard));
                    let is_over = turn.is_over_with(count, self.heard);
                    self.process();
                    if is_over {
                        self.let_others().await;
                    }
                }
                Event::Heard => {
                    self.heard = Instant::now();
                    self.process();
                }
                Event::More => {
                    self.let_others().await;
                    self.heard = Instant::now();
                    self.process();
                }
                Event::End => return Ok(()),
                Event::News(news) => {
                    if news & WRITTEN != 0 {
                        self.batch.say(&self.client, &mut self.confirms);
                        self.follow_log();
                        self.follow_change();
                    }
                    if news & OVERDUE != 0 {
                        self.close_overdue();
                    }
                    if news & ALARM != 0 {
                        self.follow_alarms();
                    }
                    if news & CLOSE != 0 {
                        self.close(&Exception::new(
                            ReplyCode::ConnectionForced,
                            self.client.entry.reason(),
                            MethodId::NONE,
                        ));
                    }
                    if news & STOP != 0 {
                        self.leave();
                    }
                }
                Event::Tick => self.tick()?,
            }
        }
    }

    /// Writes what can be written, then waits for what comes first.
    async fn next(&mut self) -> io::Result<Event> {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Event>> {
        self.client.output.waker.register(cx.waker());
        let news = self.client.output.news();
        self.write(cx)?;
        if news & REPORT != 0 {
            self.report();
        }
        if news & (ALARM | CLOSE | STOP | WRITTEN | OVERDUE) != 0 {
            return Poll::Ready(Ok(Event::News(news)));
        }
        if self.done {
            if self.writing.is_empty() {
                return Poll::Ready(Ok(Event::End));
            }
            // Who takes it slowly has all the time for it, who takes nothing of it has not.
            if std::mem::take(&mut self.wrote) || self.closing.is_none() {
                self.grant();
            }
        }
        // A client that never stops to send does not stop the clock.
        if self.closing.is_some() && self.poll_tick(cx) {
            return Poll::Ready(Ok(Event::Tick));
        }
        if self.done {
            return Poll::Pending;
        }
        if self.leaving && self.closing.is_none() {
            if self.is_settled() {
                return Poll::Ready(Ok(Event::News(STOP)));
            }
        } else if self.may_ask() {
            return Poll::Ready(Ok(Event::Heard));
        } else if self.may_read() {
            if self.throttle.is_paused() {
                return Poll::Ready(Ok(Event::More));
            }
            if let Poll::Ready(count) = self.read(cx)? {
                return Poll::Ready(Ok(match count {
                    0 => Event::End,
                    count => Event::Read(count),
                }));
            }
        }
        match self.poll_tick(cx) {
            true => Poll::Ready(Ok(Event::Tick)),
            false => {
                self.turn = None;
                Poll::Pending
            }
        }
    }

    fn poll_tick(&mut self, cx: &mut Context<'_>) -> bool {
        self.tick
            .as_mut()
            .is_some_and(|tick| tick.poll_tick(cx).is_ready())
    }

    /// Writes until nothing waits or the socket takes no more, and lets consumers have messages again.
    fn write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let client = Arc::clone(&self.client);
        loop {
            if self.writing.is_empty() {
                self.writing.shrink(KEPT);
                let mut waiting = client.output.lock();
                if waiting.outbox.is_empty() {
                    client.entry.counts.unwritten.set(0);
                    let free = waiting.unpark(0);
                    drop(waiting);
                    if free.0.is_empty() && free.1.is_empty() {
                        // TLS keeps what the socket did not take.
                        let _later = Pin::new(&mut self.stream).poll_flush(cx)?;
                        return Ok(());
                    }
                    self.unblock(free);
                    continue;
                }
                std::mem::swap(&mut self.writing, &mut waiting.outbox);
                waiting.answers = 0;
                waiting.outbox.set_frame_max(self.frame_max);
                if let Some(given) = &mut waiting.given {
                    let given = std::mem::take(given);
                    drop(waiting);
                    firehose::given(&client, given, &mut self.batch.after);
                    self.around().flush();
                }
            }
            lock::waits();
            match self.write_some(cx)? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(count) => {
                    self.wrote = true;
                    self.writing.advance(count);
                    client.entry.counts.octets_sent.add(count as u64);
                    client.entry.counts.writes.add(1);
                }
                Poll::Pending => {
                    client.entry.counts.unwritten.set(self.writing.len() as u64);
                    return Ok(());
                }
            }
            let free = client.output.lock().unpark(self.writing.len());
            self.unblock(free);
        }
    }

    /// Writes as much as goes at once.
    fn write_some(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.stream);
        let write = match self.done {
            true => S::poll_write_last,
            false => S::poll_write_vectored,
        };
        if self.writing.is_in_one() {
            return write(stream, cx, &[IoSlice::new(self.writing.chunk())]);
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count = self.writing.chunks_vectored(&mut slices);
        write(stream, cx, slices.get(..count).unwrap_or_default())
    }

    /// Consumers may have messages again, and some of those of these channels.
    fn unblock(&mut self, (consumers, channels): (Vec<(QueueHandle, ConsumerId)>, Vec<u16>)) {
        for (queue, id) in consumers {
            queue.unblock(crate::clock::now(), id, &mut self.batch.after);
        }
        for channel in channels {
            settle::unblock(channel, &self.client, &mut self.batch.after);
        }
        self.around().flush();
    }

    /// Large frames are read to where they stay. All else goes through a buffer that all connections of a thread share, so
    /// that an idle one has none.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        thread_local! {
            static SHARED: std::cell::RefCell<Vec<u8>> = std::cell::RefCell::new(vec![0; READ]);
        }
        if self.large.is_none() {
            self.large = Large::begin(&mut self.input);
        }
        let stream = Pin::new(&mut self.stream);
        let input = &mut self.input;
        let read = match &mut self.large {
            Some(large) => large.read(stream, cx),
            None => SHARED.with_borrow_mut(|shared| {
                let mut buffer = ReadBuf::new(shared);
                ready!(stream.poll_read(cx, &mut buffer))?;
                input.extend_from_slice(buffer.filled());
                Poll::Ready(Ok(buffer.filled().len()))
            }),
        };
        if let Poll::Ready(Ok(count)) = &read {
            let counts = &self.client.entry.counts;
            counts.octets_received.add(*count as u64);
            counts.reads.add(1);
        }
        read
    }

    /// All the whole frames that were read.
    fn chunk(&mut self) -> Result<Option<Chunk>, FrameError> {
        match self.large.take_if(|large| large.is_whole()) {
            Some(large) => self.splitter.alone(large.finish(&mut self.input)),
            None => self.splitter.chunk(&mut self.input),
        }
    }

    fn tick(&mut self) -> io::Result<()> {
        if self.closing.is_some_and(|until| Instant::now() >= until) {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the client neither answers that its connection closes nor takes what is left for it",
            ));
        }
        if let Some(tick) = &self.tick
            && self.closing.is_none()
        {
            // Two intervals without a sign of life, as RabbitMQ counts; ticks come twice in one.
            if self.heard.elapsed() > tick.period() * 4 && self.may_read() {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "missed heartbeats from client",
                ));
            }
            if !std::mem::take(&mut self.wrote) {
                self.client.output.lock().outbox.heartbeat();
            }
        }
        Ok(())
    }

    /// Says what only this task knows.
    fn report(&self) {
        let reports: Vec<_> = self
            .channels
            .values()
            .filter(|channel| !channel.closing)
            .map(|channel| channel.report(&self.client, self.confirms.get(&channel.number)))
            .collect();
        for answer in self.client.entry.asked() {
            // Who asked may have lost patience.
            drop(answer.send(reports.clone()));
        }
    }

    const fn around(&mut self) -> Around<'_> {
        Around {
            client: &self.client,
            batch: &mut self.batch,
            confirms: &mut self.confirms,
        }
    }
}

/// A text that fits.
pub(crate) fn short(text: &str) -> ShortString {
    ShortString::try_from(text).unwrap_or_default()
}
