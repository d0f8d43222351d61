//! Plays a history on a broker, one step after the other, each when nothing comes of the one before any more.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use warren_amqp::client::Event;
use warren_amqp::content::Message;
use warren_amqp::outbox::Outbox;
use warren_amqp::{FrameMax, Method, access, basic, channel, confirm, connection, hot, queue};

use super::heard::{self, Heard, words};
use super::history::{Action, CHANNELS, CONNECTIONS, EXCHANGES, HASHES, Publish, QUEUES, Step, UNKNOWN};
use crate::client::{Client, Ended, queue, short};

/// On this channel and the next ones a connection asks for queues.
const ASKING: u16 = 50;

/// What was heard in each step. The broker is as it was before.
///
/// What a step leads to is heard when the queues have answered twice and nothing has changed. RabbitMQ's processes may need
/// longer for it on a machine that does a lot besides: `patience` is for each step.
pub(crate) fn play(at: SocketAddr, history: &[Step], patience: Duration) -> Vec<Heard> {
    let mut stage = Stage {
        at,
        seats: (0..CONNECTIONS).map(|_| Seat::new(at)).collect(),
        asked: BTreeMap::new(),
        made: BTreeSet::new(),
    };
    let heard = history.iter().map(|step| {
        let mut heard = Heard::default();
        stage.act(step);
        stage.settle_down(&mut heard, patience);
        heard
    });
    let heard = heard.collect();
    stage.clear();
    heard
}

struct Stage {
    at: SocketAddr,
    seats: Vec<Seat>,
    /// Queues that may be there, and which connection can ask for them: one that is exclusive answers only its own.
    asked: BTreeMap<&'static str, usize>,
    /// Names that the server made up.
    made: BTreeSet<String>,
}

/// A connection.
struct Seat {
    client: Client,
    channels: BTreeMap<u16, Channel>,
    /// It has asked to be closed.
    is_closing: bool,
    /// On which channels something will come.
    awaited: BTreeSet<u16>,
}

#[derive(Default)]
struct Channel {
    /// It has asked to be closed.
    is_closing: bool,
    /// What it has to settle.
    has: BTreeSet<u64>,
    /// Consumers and fetches that settle nothing.
    settles_nothing: BTreeSet<String>,
    confirms: bool,
    published: u64,
    unconfirmed: BTreeSet<u64>,
}

impl Channel {
    fn takes(&mut self, consumer: String, no_ack: bool) {
        match no_ack {
            true => self.settles_nothing.insert(consumer),
            false => self.settles_nothing.remove(&consumer),
        };
    }
}

impl Seat {
    fn new(at: SocketAddr) -> Self {
        let mut client = Client::connect(at);
        for channel in CHANNELS {
            client.open_channel(channel);
        }
        for number in (ASKING..).take(QUEUES.len()) {
            client.open_channel(number);
        }
        Self {
            client,
            channels: CHANNELS.map(|number| (number, Channel::default())).into(),
            is_closing: false,
            awaited: BTreeSet::new(),
        }
    }

    fn publish(&mut self, number: u16, publish: &Publish) {
        let channel = self.channels.get_mut(&number).unwrap();
        if channel.confirms {
            channel.published += 1;
            channel.unconfirmed.insert(channel.published);
        }
        let method = hot::Publish {
            exchange: publish.exchange.as_bytes(),
            routing_key: publish.routing_key.as_bytes(),
            mandatory: publish.mandatory,
            immediate: publish.immediate,
        };
        let mut frames = Outbox::new(FrameMax::DEFAULT);
        let mut body = publish.mark.clone().into_bytes();
        body.resize(publish.size, b'.');
        let body = Bytes::from(body);
        frames
            .publish(number, &method, &publish.properties, &body)
            .unwrap();
        self.client.send_all(&mut frames);
    }

    /// Settles what the channel has, if it has any.
    fn settle(&mut self, number: u16, method: &Method) {
        let channel = self.channels.get_mut(&number).unwrap();
        let mut method = method.clone();
        let (tag, multiple) = match &mut method {
            Method::Basic(basic::Method::Ack(ack)) => (&mut ack.delivery_tag, ack.multiple),
            Method::Basic(basic::Method::Nack(nack)) => (&mut nack.delivery_tag, nack.multiple),
            Method::Basic(basic::Method::Reject(reject)) => (&mut reject.delivery_tag, false),
            other => panic!("{other:?} settles nothing"),
        };
        match *tag {
            0 => {}
            UNKNOWN => {}
            place => match channel.has.iter().nth(place as usize - 1) {
                Some(there) => *tag = *there,
                None => return,
            },
        }
        let tag = *tag;
        match multiple {
            true if tag == 0 => channel.has.clear(),
            true => channel.has.retain(|other| *other > tag),
            false => drop(channel.has.remove(&tag)),
        }
        self.client.send(number, method);
    }
}

impl Stage {
    fn act(&mut self, step: &Step) {
        let seat = &mut self.seats[step.connection];
        let method = match &step.action {
            Action::Publish(publish) => return seat.publish(step.channel, publish),
            Action::Settle(method) => return seat.settle(step.channel, method),
            Action::Method(method) => method,
        };
        let channel = seat.channels.get_mut(&step.channel).unwrap();
        let mut on = step.channel;
        match method {
            Method::Queue(queue::Method::Declare(declare)) => {
                if let Some(name) = QUEUES.iter().find(|name| declare.queue == short(name)) {
                    self.asked.insert(name, 0);
                }
            }
            Method::Basic(basic::Method::Consume(consume)) => {
                channel.takes(consume.consumer_tag.to_text(), consume.no_ack);
            }
            Method::Basic(basic::Method::Get(get)) => channel.takes("get".to_owned(), get.no_ack),
            Method::Basic(basic::Method::Recover(_) | basic::Method::RecoverAsync(_)) => channel.has.clear(),
            Method::Confirm(confirm::Method::Select(_)) => channel.confirms = true,
            Method::Channel(channel::Method::Close(_)) => channel.is_closing = true,
            Method::Connection(_) => {
                seat.is_closing = true;
                on = 0;
            }
            _ => {}
        }
        seat.client.send(on, method.clone());
    }

    /// Until nothing more is heard and the queues stay as they are.
    fn settle_down(&mut self, heard: &mut Heard, patience: Duration) {
        let mut quiet = 0;
        std::thread::sleep(patience);
        while quiet < 2 {
            let before = heard.clone();
            self.ask();
            for seat in 0..self.seats.len() {
                self.listen(seat, heard);
            }
            quiet = if *heard == before { quiet + 1 } else { 0 };
        }
    }

    /// Asks on every channel for something that changes nothing, and for every queue.
    fn ask(&mut self) {
        for seat in &mut self.seats {
            if seat.is_closing {
                seat.awaited.insert(0);
                continue;
            }
            for (number, channel) in &seat.channels {
                if !channel.is_closing {
                    seat.client.send(*number, access::Request::default());
                }
                seat.awaited.insert(*number);
            }
        }
        for (name, number) in QUEUES.into_iter().zip(ASKING..) {
            let Some(seat) = self.asked.get(name).map(|seat| &mut self.seats[*seat]) else {
                continue;
            };
            if seat.is_closing {
                continue;
            }
            let passive = queue::Declare {
                passive: true,
                ..queue(name)
            };
            seat.client.send(number, passive);
            seat.awaited.insert(number);
        }
    }

    /// Until all has come that has to come.
    fn listen(&mut self, number: usize, heard: &mut Heard) {
        loop {
            let seat = &mut self.seats[number];
            let is_confirmed = seat
                .channels
                .values()
                .all(|channel| channel.unconfirmed.is_empty());
            if seat.awaited.is_empty() && is_confirmed {
                return;
            }
            match seat.client.next() {
                Ok(Event::Message { channel, message }) => self.message((number, channel), &message, heard),
                Ok(Event::Method { channel, method }) => self.method((number, channel), method, heard),
                Ok(event) => panic!("{event:?}"),
                Err(Ended::Closed { channel, .. }) if channel >= ASKING => {
                    self.not_there(number, channel, heard)
                }
                Err(ended) => self.ended(number, ended, heard),
            }
        }
    }

    fn message(&mut self, place: heard::Place, message: &Message, heard: &mut Heard) {
        let channel = self.seats[place.0].channels.get_mut(&place.1).unwrap();
        let heard = heard.channels.entry(place).or_default();
        let words = heard::message(message);
        let mut has = |tag, consumer: &str| {
            if !channel.settles_nothing.contains(consumer) {
                channel.has.insert(tag);
            }
        };
        if let Some(deliver) = message.deliver() {
            let consumer = String::from_utf8_lossy(deliver.consumer_tag).into_owned();
            has(deliver.delivery_tag, &consumer);
            let to = format!("{} {:?}", deliver.delivery_tag, deliver.redelivered);
            let from = format!("{:?} {:?}", text(deliver.exchange), text(deliver.routing_key));
            let consumer = heard::words(&consumer);
            heard.deliveries.push((consumer, format!("{to} {from} {words}")));
        } else if let Some(got) = message.get_ok() {
            has(got.delivery_tag, "get");
            let to = format!("{} {:?} {}", got.delivery_tag, got.redelivered, got.message_count);
            let from = format!("{:?} {:?}", text(got.exchange), text(got.routing_key));
            heard.replies.push(format!("got {to} {from} {words}"));
        } else if let Some(returned) = message.returned() {
            let why = format!("{} {:?}", returned.reply_code, text(returned.reply_text));
            let from = format!("{:?} {:?}", text(returned.exchange), text(returned.routing_key));
            heard.returns.push(format!("{why} {from} {words}"));
        }
    }

    fn method(&mut self, place: heard::Place, method: Method, heard: &mut Heard) {
        let seat = &mut self.seats[place.0];
        match &method {
            Method::Queue(queue::Method::DeclareOk(there)) if place.1 >= ASKING => {
                seat.awaited.remove(&place.1);
                let name = QUEUES[usize::from(place.1 - ASKING)];
                let counts = format!(
                    "{} messages, {} consumers",
                    there.message_count, there.consumer_count
                );
                heard.queues.insert(name, counts);
                return;
            }
            Method::Access(_) => {
                seat.awaited.remove(&place.1);
                return;
            }
            Method::Connection(connection::Method::CloseOk(_)) => {
                self.seats[place.0] = Seat::new(self.at);
            }
            Method::Channel(channel::Method::CloseOk(_)) => {
                seat.awaited.remove(&place.1);
                seat.client.send(place.1, channel::Open::default());
                seat.channels.insert(place.1, Channel::default());
                seat.awaited.insert(place.1);
            }
            Method::Channel(channel::Method::OpenOk(_)) => {
                seat.awaited.remove(&place.1);
                return;
            }
            Method::Queue(queue::Method::DeclareOk(declared)) => {
                self.made.insert(declared.queue.to_text());
            }
            _ => {}
        }
        let on = heard.channels.entry(place).or_default();
        let channel = self.seats[place.0].channels.entry(place.1).or_default();
        match method {
            Method::Basic(basic::Method::Ack(ack)) => on
                .confirms
                .extend(confirmed(channel, ack.delivery_tag, ack.multiple).map(|tag| (tag, true))),
            Method::Basic(basic::Method::Nack(nack)) => on
                .confirms
                .extend(confirmed(channel, nack.delivery_tag, nack.multiple).map(|tag| (tag, false))),
            Method::Basic(basic::Method::Cancel(cancel)) => {
                on.cancelled.insert(words(&cancel));
            }
            reply => on.replies.push(words(&reply)),
        }
    }

    /// A queue is not there, or another connection's.
    fn not_there(&mut self, number: usize, on: u16, heard: &mut Heard) {
        let name = QUEUES[usize::from(on - ASKING)];
        let next = number + 1;
        heard.queues.insert(name, "cannot be asked".to_owned());
        if next < self.seats.len() {
            self.asked.insert(name, next);
        } else {
            self.asked.remove(name);
        }
        self.seats[number].client.send(on, channel::Open::default());
    }

    fn ended(&mut self, number: usize, ended: Ended, heard: &mut Heard) {
        match &ended {
            Ended::Closed { channel, .. } if *channel > 0 => {
                let on = heard.channels.entry((number, *channel)).or_default();
                on.replies.push(words(&ended));
                let seat = &mut self.seats[number];
                seat.client.send(*channel, channel::Open::default());
                seat.channels.insert(*channel, Channel::default());
                seat.awaited.insert(*channel);
            }
            Ended::Closed { .. } | Ended::Silently => {
                let on = heard.channels.entry((number, 0)).or_default();
                on.replies.push(words(&ended));
                self.seats[number] = Seat::new(self.at);
            }
        }
    }

    /// Leaves nothing behind.
    fn clear(self) {
        for mut seat in self.seats {
            seat.client.send(0, connection::Close::default());
            while let Ok(event) = seat.client.next() {
                if matches!(&event, Event::Method { channel: 0, method } if method.id() == connection::CloseOk::ID)
                {
                    break;
                }
            }
        }
        let mut client = Client::open(self.at);
        for name in self.made.iter().map(String::as_str).chain(QUEUES) {
            client.delete(name);
        }
        for name in EXCHANGES.into_iter().chain([HASHES]) {
            client.delete_exchange(name);
        }
    }
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// Those that are answered so.
fn confirmed(channel: &mut Channel, tag: u64, multiple: bool) -> impl Iterator<Item = u64> {
    let first = if multiple { 0 } else { tag };
    let answered: Vec<u64> = channel.unconfirmed.range(first..=tag).copied().collect();
    for tag in &answered {
        channel.unconfirmed.remove(tag);
    }
    answered.into_iter()
}
