//! The floor under every broker: a server that says what a client has to hear and hands each message to the last consumer
//! that came, but has no users, no queues, no tables and no log. What it needs, the kernel and the protocol ask for.
//!
//! One thread with one epoll, so that nothing is spent on changing threads. Writes block: clients of the benchmark read.
//! Messages of several publishers would get mixed up.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use bytes::{Buf, BytesMut};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use warren_amqp::content::Header;
use warren_amqp::frame::{self, Chunk, FRAME_END, FrameKind, Item, Place, Splitter};
use warren_amqp::hot::{Carrier, Deliver, Publish};
use warren_amqp::outbox::Outbox;
use warren_amqp::{FrameMax, Method, Table, basic, channel, confirm, connection, exchange, queue};

use super::client::short;

/// Octets taken from a socket at once.
const READ: usize = 256 * 1024;
/// The listener's token; connections have those after it.
const LISTENER: u64 = 0;

/// Serves until it is killed.
pub(crate) fn serve(address: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let epoll = Epoll::new(EpollCreateFlags::empty())?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let mut floor = Floor {
        connections: HashMap::new(),
        consumer: None,
        buffer: vec![0; READ],
    };
    let mut events = [EpollEvent::empty(); 64];
    let mut token = LISTENER;
    loop {
        let count = epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in events.iter().take(count) {
            if event.data() != LISTENER {
                floor.read(event.data());
                continue;
            }
            match listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nodelay(true)?;
                    token += 1;
                    epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, token))?;
                    floor.connections.insert(token, Connection::new(stream));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

struct Floor {
    connections: HashMap<u64, Connection>,
    /// Who gets messages: its token, its tag, how many it has had.
    consumer: Option<(u64, Vec<u8>, u64)>,
    buffer: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    splitter: Splitter,
    input: BytesMut,
    out: Outbox,
    /// It has sent its protocol header.
    greeted: bool,
    /// Messages whose last octet was read, once it wants them to be confirmed.
    confirms: Option<u64>,
    /// Octets that are missing of the last one.
    missing: u64,
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        let mut splitter = Splitter::of_client();
        splitter.set_frame_max(FrameMax::DEFAULT);
        Self {
            stream,
            splitter,
            input: BytesMut::new(),
            out: Outbox::new(FrameMax::DEFAULT),
            greeted: false,
            confirms: None,
            missing: 0,
        }
    }

    fn say(&mut self, channel: u16, method: impl Into<Method>) -> io::Result<()> {
        self.out.method(channel, method).map_err(io::Error::other)
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.out.has_remaining() {
            let count = self.stream.write(self.out.chunk())?;
            self.out.advance(count);
        }
        Ok(())
    }
}

impl Floor {
    /// Something came from a client, or its end.
    fn read(&mut self, token: u64) {
        let Some(mut connection) = self.connections.remove(&token) else {
            return;
        };
        let mut messages = Vec::new();
        let goes_on = self.answer(token, &mut connection, &mut messages);
        if matches!(goes_on, Ok(true)) {
            self.connections.insert(token, connection);
        }
        let consumer = self.consumer.as_ref().map(|(token, ..)| *token);
        if let Some(consumer) = consumer.and_then(|token| self.connections.get_mut(&token)) {
            // It may be gone.
            let _ = consumer.stream.write_all(&messages);
        }
    }

    /// Says whether the connection goes on.
    fn answer(
        &mut self,
        token: u64,
        connection: &mut Connection,
        messages: &mut Vec<u8>,
    ) -> io::Result<bool> {
        let count = connection.stream.read(&mut self.buffer)?;
        let read = self.buffer.get(..count).unwrap_or_default();
        connection.input.extend_from_slice(read);
        if !connection.greeted {
            connection.greeted = matches!(
                connection.splitter.next(&mut connection.input),
                Ok(Some(Item::Protocol(_)))
            );
            let start = connection::Start {
                version_major: 0,
                version_minor: 9,
                server_properties: Table::new(),
                mechanisms: "PLAIN".into(),
                locales: "en_US".into(),
            };
            connection.say(0, start)?;
        }
        let before = connection.confirms;
        let chunk = connection.splitter.chunk(&mut connection.input);
        let mut goes_on = count > 0;
        if let Some(mut chunk) = chunk.map_err(io::Error::other)? {
            while let Some(place) = chunk.next() {
                match place.kind {
                    FrameKind::Method => {
                        goes_on &= self.method(token, connection, &chunk, place, messages)?
                    }
                    FrameKind::Header | FrameKind::Body => {
                        let payload = chunk.payload(place);
                        connection.missing = match place.kind {
                            FrameKind::Header => Header::read(payload).map_err(io::Error::other)?.body_size(),
                            _ => connection.missing.saturating_sub(payload.len() as u64),
                        };
                        let whole = u64::from(connection.missing == 0);
                        connection.confirms = connection.confirms.map(|published| published + whole);
                        frame(place.kind, place.channel, payload, messages);
                    }
                    FrameKind::Heartbeat => {}
                }
            }
        }
        if let Some(published) = connection.confirms.filter(|_| connection.confirms != before) {
            connection.out.ack(super::client::CHANNEL, published, true);
        }
        connection.flush()?;
        Ok(goes_on)
    }

    fn method(
        &mut self,
        token: u64,
        connection: &mut Connection,
        chunk: &Chunk,
        place: Place,
        messages: &mut Vec<u8>,
    ) -> io::Result<bool> {
        if let Ok(publish) = Publish::read(chunk.payload(place)) {
            self.publish(publish, place.channel, messages);
            return Ok(true);
        }
        let to = place.channel;
        match chunk.method(place).map_err(io::Error::other)? {
            Method::Connection(connection::Method::StartOk(_)) => connection.say(
                to,
                connection::Tune {
                    channel_max: 2047,
                    frame_max: FrameMax::DEFAULT.octets(),
                    heartbeat: 0,
                },
            )?,
            Method::Connection(connection::Method::Open(_)) => {
                connection.say(to, connection::OpenOk::default())?;
            }
            Method::Connection(connection::Method::Close(_)) => {
                connection.say(to, connection::CloseOk {})?;
                return Ok(false);
            }
            Method::Channel(channel::Method::Open(_)) => connection.say(to, channel::OpenOk::default())?,
            Method::Confirm(confirm::Method::Select(_)) => {
                connection.confirms = Some(0);
                connection.say(to, confirm::SelectOk {})?;
            }
            Method::Basic(basic::Method::Qos(_)) => connection.say(to, basic::QosOk {})?,
            Method::Basic(basic::Method::Consume(_)) => {
                let consumer_tag = short("floor")?;
                self.consumer = Some((token, consumer_tag.as_bytes().to_vec(), 0));
                connection.say(to, basic::ConsumeOk { consumer_tag })?;
            }
            Method::Queue(queue::Method::Declare(declare)) => {
                let answer = queue::DeclareOk {
                    queue: declare.queue,
                    ..queue::DeclareOk::default()
                };
                connection.say(to, answer)?;
            }
            Method::Queue(queue::Method::Delete(_)) => {
                connection.say(to, queue::DeleteOk::default())?;
            }
            Method::Exchange(exchange::Method::Declare(_)) => {
                connection.say(to, exchange::DeclareOk {})?;
            }
            _ => {}
        }
        Ok(true)
    }

    fn publish(&mut self, publish: Publish<'_>, channel: u16, messages: &mut Vec<u8>) {
        let Some((_, consumer_tag, delivered)) = &mut self.consumer else {
            return;
        };
        *delivered += 1;
        let deliver = Deliver {
            consumer_tag,
            delivery_tag: *delivered,
            redelivered: false,
            exchange: publish.exchange,
            routing_key: publish.routing_key,
        };
        let mut payload = BytesMut::new();
        deliver.write(&mut payload);
        frame(FrameKind::Method, channel, &payload, messages);
    }
}

fn frame(kind: FrameKind, channel: u16, payload: &[u8], out: &mut Vec<u8>) {
    let size = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&frame::header(kind, channel, size));
    out.extend_from_slice(payload);
    out.push(FRAME_END);
}
