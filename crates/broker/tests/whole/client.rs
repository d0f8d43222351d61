//! A client that can do everything wrong: the one of `warren_amqp` with a blocking socket, and frames of the test's own.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use warren_amqp::client::{ClientError, Connection, Event, Login};
use warren_amqp::content::{Message, Properties};
use warren_amqp::frame::{Item, Splitter};
use warren_amqp::handshake::{Failure, Tuning, plain};
use warren_amqp::hot::Publish;
use warren_amqp::outbox::Outbox;
use warren_amqp::{
    FrameMax, Method, MethodId, ShortString, Table, basic, channel, confirm, connection, exchange, queue,
};

/// How long an answer may take. RabbitMQ takes its time to declare a durable queue.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection.
pub(crate) struct Client {
    stream: TcpStream,
    connection: Connection,
    /// Channel 99 is there and confirms.
    is_safe: bool,
}

/// How the server ended a channel or the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With a method.
    Closed {
        /// 0: the connection.
        channel: u16,
        code: u16,
        text: String,
        method: MethodId,
    },
    /// Without a word.
    Silently,
}

/// Text for a method. The tests' names are short.
pub(crate) fn short(text: &str) -> ShortString {
    ShortString::try_from(text).unwrap()
}

/// A frame with anything in it.
pub(crate) fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut octets = vec![kind];
    octets.put_u16(channel);
    octets.put_u32(payload.len().try_into().unwrap());
    octets.put_slice(payload);
    octets.put_u8(0xce);
    octets
}

/// Declares a queue for everybody, until the broker ends.
pub(crate) fn queue(name: &str) -> queue::Declare {
    queue::Declare {
        queue: short(name),
        ..queue::Declare::default()
    }
}

/// Declares a direct exchange, until the broker ends.
pub(crate) fn exchange(name: &str) -> exchange::Declare {
    exchange::Declare {
        exchange: short(name),
        exchange_type: short("direct"),
        ..exchange::Declare::default()
    }
}

impl Client {
    /// Logs in as guest, without a channel.
    pub(crate) fn connect(at: SocketAddr) -> Self {
        let login = Login::plain("guest", "guest", "/", "test").unwrap();
        Self::log_in(at, login).unwrap_or_else(|ended| panic!("{at}: {ended:?}"))
    }

    /// Logs in as guest and opens channel 1.
    pub(crate) fn open(at: SocketAddr) -> Self {
        let mut client = Self::connect(at);
        client.open_channel(1);
        client
    }

    /// Logs in.
    pub(crate) fn log_in(at: SocketAddr, login: Login) -> Result<Self, Ended> {
        Self::greeted(at, login).map(|(client, _, _)| client)
    }

    /// Logs in, and gives what the server says about itself, and the limits.
    pub(crate) fn greeted(at: SocketAddr, login: Login) -> Result<(Self, Table, Tuning), Ended> {
        let stream = TcpStream::connect_timeout(&at, PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut client = Self {
            stream,
            connection: Connection::start(login),
            is_safe: false,
        };
        client.flush();
        loop {
            match client.connection.event() {
                Ok(Some(Event::Opened { server, tuning })) => return Ok((client, server, tuning)),
                Ok(Some(event)) => panic!("{event:?} before the connection was open"),
                Ok(None) => client.flush(),
                Err(ClientError::Login(Failure::Closed { code, text, method })) => {
                    return Err(Ended::Closed {
                        channel: 0,
                        code,
                        text,
                        method,
                    });
                }
                Err(error) => panic!("the handshake went wrong: {error}"),
            }
            if !client.read() {
                return Err(Ended::Silently);
            }
        }
    }

    pub(crate) fn open_channel(&mut self, channel: u16) {
        self.call(channel, channel::Open::default(), channel::OpenOk::ID);
    }

    /// Sends a method.
    pub(crate) fn send(&mut self, channel: u16, method: impl Into<Method>) {
        self.connection.outbox().method(channel, method).unwrap();
        self.flush();
    }

    /// Sends octets, whatever they are.
    pub(crate) fn send_raw(&mut self, octets: &[u8]) {
        self.connection.outbox().octets(octets);
        self.flush();
    }

    /// Publishes on channel 1.
    pub(crate) fn publish(&mut self, publish: &Publish<'_>, properties: &Properties, body: &[u8]) {
        let body = Bytes::copy_from_slice(body);
        let outbox = self.connection.outbox();
        outbox.publish(1, publish, properties, &body).unwrap();
        self.flush();
    }

    /// Publishes to a queue, on channel 1.
    pub(crate) fn publish_to(&mut self, queue: &str, body: &[u8]) {
        let publish = Publish {
            routing_key: queue.as_bytes(),
            ..Publish::default()
        };
        self.publish(&publish, &Properties::default(), body);
    }

    /// Publishes to an exchange, on channel 1.
    pub(crate) fn publish_at(&mut self, exchange: &str, key: &str, body: &[u8]) {
        let publish = Publish {
            exchange: exchange.as_bytes(),
            routing_key: key.as_bytes(),
            ..Publish::default()
        };
        self.publish(&publish, &Properties::default(), body);
    }

    /// Publishes to a queue.
    pub(crate) fn publish_on(&mut self, channel: u16, queue: &str, body: &[u8]) {
        let publish = Publish {
            routing_key: queue.as_bytes(),
            ..Publish::default()
        };
        let body = Bytes::copy_from_slice(body);
        let outbox = self.connection.outbox();
        outbox
            .publish(channel, &publish, &Properties::default(), &body)
            .unwrap();
        self.flush();
    }

    /// Publishes to a queue, and knows that it is there: RabbitMQ's other answers may overtake a message. This is on
    /// channel 99.
    #[track_caller]
    pub(crate) fn publish_safely(&mut self, queue: &str, body: &[u8]) {
        if !self.is_safe {
            self.open_channel(99);
            self.call(99, confirm::Select::default(), confirm::SelectOk::ID);
            self.is_safe = true;
        }
        self.publish_on(99, queue, body);
        match self.next() {
            Ok(Event::Method { channel: 99, method }) if method.id() == basic::Ack::ID => {}
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn delete(&mut self, queue: &str) {
        let delete = queue::Delete {
            queue: short(queue),
            ..queue::Delete::default()
        };
        self.call(1, delete, queue::DeleteOk::ID);
    }

    #[track_caller]
    pub(crate) fn delete_exchange(&mut self, exchange: &str) {
        let delete = exchange::Delete {
            exchange: short(exchange),
            ..exchange::Delete::default()
        };
        self.call(1, delete, exchange::DeleteOk::ID);
    }

    /// Consumes on channel 1, and has to settle.
    #[track_caller]
    pub(crate) fn consume_as(&mut self, queue: &str, tag: &str) {
        let consume = basic::Consume {
            queue: short(queue),
            consumer_tag: short(tag),
            ..basic::Consume::default()
        };
        self.call(1, consume, basic::ConsumeOk::ID);
    }

    /// Fetches a message on channel 1, if there is one.
    #[track_caller]
    pub(crate) fn get(&mut self, queue: &str, no_ack: bool) -> Option<Message> {
        let get = basic::Get {
            queue: short(queue),
            no_ack,
            ..basic::Get::default()
        };
        self.send(1, get);
        match self.next() {
            Ok(Event::Message { message, .. }) => Some(message),
            Ok(Event::Method { method, .. }) if method.id() == basic::GetEmpty::ID => None,
            other => panic!("{queue}: {other:?}"),
        }
    }

    /// Sends frames put together before.
    pub(crate) fn send_all(&mut self, frames: &mut Outbox) {
        let octets = frames.copy_to_bytes(frames.remaining());
        self.send_raw(&octets);
    }

    /// Says nothing and counts signs of life until the server hangs up.
    pub(crate) fn heartbeats_until_the_end(&mut self) -> usize {
        let mut count = 0;
        loop {
            match self.connection.event() {
                Ok(Some(Event::Heartbeat)) => count += 1,
                Ok(None) if self.read() => {}
                Ok(None) => return count,
                other => panic!("{other:?}"),
            }
        }
    }

    /// Sends a method and waits for this answer to it.
    #[track_caller]
    pub(crate) fn call(&mut self, channel: u16, method: impl Into<Method>, answer: MethodId) -> Method {
        let method = method.into();
        self.send(channel, method.clone());
        match self.next() {
            Ok(Event::Method { channel: on, method }) if on == channel && method.id() == answer => method,
            other => panic!("{method:?} on channel {channel} led to {other:?}"),
        }
    }

    /// What comes next.
    pub(crate) fn next(&mut self) -> Result<Event, Ended> {
        loop {
            match self.connection.event() {
                Ok(Some(Event::Heartbeat)) => {}
                Ok(Some(Event::Method { channel, method })) => {
                    self.flush();
                    return match ended(channel, &method) {
                        Some(ended) => Err(ended),
                        None => Ok(Event::Method { channel, method }),
                    };
                }
                Ok(Some(event)) => return Ok(event),
                Ok(None) if self.read() => {}
                Ok(None) => return Err(Ended::Silently),
                Err(error) => panic!("the server sent nonsense: {error}"),
            }
        }
    }

    /// The next message.
    #[track_caller]
    pub(crate) fn message(&mut self) -> Message {
        match self.next() {
            Ok(Event::Message { message, .. }) => message,
            other => panic!("no message but {other:?}"),
        }
    }

    /// How the channel or the connection ended. Nothing, if the server still answers on the channel instead; it is
    /// asked something harmless.
    pub(crate) fn end(&mut self, channel: u16) -> Option<Ended> {
        self.send(channel, basic::Qos::default());
        loop {
            match self.next() {
                Ok(Event::Method { channel: on, method })
                    if on == channel && method.id() == basic::QosOk::ID =>
                {
                    return None;
                }
                Ok(_) => {}
                Err(ended) => return Some(ended),
            }
        }
    }

    fn flush(&mut self) {
        let outbox = self.connection.outbox();
        while outbox.has_remaining() {
            match self.stream.write(outbox.chunk()) {
                Ok(count) => outbox.advance(count),
                // The end is seen when reading.
                Err(_) => outbox.advance(outbox.remaining()),
            }
        }
    }

    /// Whether there was something.
    fn read(&mut self) -> bool {
        let mut octets = [0; 16 * 1024];
        match self.stream.read(&mut octets) {
            Ok(0) => false,
            Ok(count) => {
                self.connection.input().extend_from_slice(&octets[..count]);
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("nothing came: {error}"),
        }
    }
}

fn ended(channel: u16, method: &Method) -> Option<Ended> {
    let (code, text, method) = match method {
        Method::Channel(channel::Method::Close(close)) => (
            close.reply_code,
            close.reply_text.to_text(),
            MethodId::new(close.class_id, close.method_id),
        ),
        Method::Connection(connection::Method::Close(close)) => (
            close.reply_code,
            close.reply_text.to_text(),
            MethodId::new(close.class_id, close.method_id),
        ),
        _ => return None,
    };
    Some(Ended::Closed {
        channel,
        code,
        text,
        method,
    })
}

/// What a server says to these octets until that is enough, and whether it was.
pub(crate) fn shout(at: SocketAddr, octets: &[u8], enough: impl Fn(&[u8]) -> bool) -> (BytesMut, bool) {
    let mut stream = TcpStream::connect_timeout(&at, PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(octets).unwrap();
    let mut heard = BytesMut::new();
    let mut buffer = [0; 4096];
    while !enough(&heard) {
        match stream.read(&mut buffer) {
            Ok(0) => return (heard, false),
            Ok(count) => heard.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return (heard, false),
            Err(error) => panic!("after {} octets: {error}", heard.len()),
        }
    }
    (heard, true)
}

/// What a client says until its connection is open, all at once.
#[derive(Clone, Debug)]
pub(crate) struct Hello {
    pub(crate) start: connection::StartOk,
    pub(crate) tune: connection::TuneOk,
    pub(crate) vhost: &'static str,
}

impl Hello {
    /// Nothing wrong with it.
    pub(crate) fn guest() -> Self {
        Self {
            start: connection::StartOk {
                client_properties: Table::new(),
                mechanism: short("PLAIN"),
                response: plain("guest", "guest"),
                locale: short("en_US"),
            },
            tune: connection::TuneOk {
                channel_max: 2047,
                frame_max: 131_072,
                heartbeat: 0,
            },
            vhost: "/",
        }
    }

    /// Says it.
    pub(crate) fn say(self, at: SocketAddr) -> Result<(), Ended> {
        let mut outbox = Outbox::new(FrameMax::DEFAULT);
        outbox.octets(b"AMQP\0\0\x09\x01");
        let open = connection::Open {
            virtual_host: short(self.vhost),
            ..connection::Open::default()
        };
        outbox.method(0, self.start).unwrap();
        outbox.method(0, self.tune).unwrap();
        outbox.method(0, open).unwrap();
        let octets = outbox.copy_to_bytes(outbox.remaining());
        let last = |heard: &[u8]| {
            let (mut splitter, mut input) = (Splitter::of_server(), BytesMut::from(heard));
            let items = std::iter::from_fn(|| splitter.next(&mut input).unwrap());
            let methods = items.map(|item| match item {
                Item::Frame(frame) => Method::decode(&frame.payload).unwrap(),
                Item::Protocol(header) => panic!("{header}"),
            });
            methods.last()
        };
        let is_over = |method: &Method| matches!(method.id(), connection::OpenOk::ID | connection::Close::ID);
        let (heard, _) = shout(at, &octets, |heard| last(heard).as_ref().is_some_and(is_over));
        match last(&heard) {
            Some(Method::Connection(connection::Method::OpenOk(_))) => Ok(()),
            Some(method) => Err(ended(0, &method).unwrap_or(Ended::Silently)),
            None => Err(Ended::Silently),
        }
    }
}
