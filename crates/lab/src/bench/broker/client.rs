//! One connection to a broker, with a socket that blocks.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::Buf;
use warren_amqp::client::{Connection, Event, Login};
use warren_amqp::{Method, MethodId, ShortString, Table, Value};
use warren_amqp::{basic, channel, confirm, connection, exchange, queue};

/// Octets taken from the socket at once.
const READ: usize = 256 * 1024;
/// The one channel that a connection has, if it has no more.
pub(crate) const CHANNEL: u16 = 1;

/// A connection that is open.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    amqp: Connection,
    buffer: Vec<u8>,
}

impl Client {
    /// Logs in as guest.
    pub(crate) fn open(address: SocketAddr, patience: Duration) -> io::Result<Self> {
        let mut client = Self::begin(address, patience)?;
        while !matches!(client.next()?, Event::Opened { .. }) {}
        Ok(client)
    }

    /// Begins to log in, and waits for no answer.
    pub(crate) fn begin(address: SocketAddr, patience: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        let mut login = Login::plain("guest", "guest", "/", "lab").map_err(io::Error::other)?;
        login.wanted.heartbeat = 0;
        let mut client = Self {
            stream,
            amqp: Connection::start(login),
            buffer: Vec::new(),
        };
        client.flush()?;
        Ok(client)
    }

    /// Waits for one answer and says what follows it. Says whether it is logged in.
    pub(crate) fn goes_on(&mut self) -> io::Result<bool> {
        // There may be thousands of these, each with a buffer of its own otherwise.
        let mut octets = [0; 4096];
        match self.stream.read(&mut octets)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => self.amqp.input().extend_from_slice(&octets[..count]),
        }
        while let Some(event) = self.event()? {
            if matches!(event, Event::Opened { .. }) {
                return Ok(true);
            }
        }
        self.flush()?;
        Ok(false)
    }

    /// Logs in and opens [`CHANNEL`].
    pub(crate) fn with_channel(address: SocketAddr, patience: Duration) -> io::Result<Self> {
        let mut client = Self::open(address, patience)?;
        client.channel(CHANNEL)?;
        Ok(client)
    }

    pub(crate) fn channel(&mut self, number: u16) -> io::Result<()> {
        self.call(number, channel::Open::default(), channel::OpenOk::ID)
    }

    /// A durable queue.
    pub(crate) fn declare(&mut self, name: &str) -> io::Result<()> {
        self.declare_with(name, Table::new())
    }

    /// A quorum queue.
    pub(crate) fn declare_quorum(&mut self, name: &str) -> io::Result<()> {
        self.declare_with(name, Table::new().with("x-queue-type", Value::text("quorum")))
    }

    fn declare_with(&mut self, name: &str, arguments: Table) -> io::Result<()> {
        let declare = queue::Declare {
            queue: short(name)?,
            durable: true,
            arguments,
            ..queue::Declare::default()
        };
        self.call(CHANNEL, declare, queue::DeclareOk::ID)
    }

    pub(crate) fn exchange(&mut self, name: &str, kind: &str) -> io::Result<()> {
        let declare = exchange::Declare {
            exchange: short(name)?,
            exchange_type: short(kind)?,
            ..exchange::Declare::default()
        };
        self.call(CHANNEL, declare, exchange::DeclareOk::ID)
    }

    pub(crate) fn bind(&mut self, queue: &str, exchange: &str, key: &str) -> io::Result<()> {
        let bind = queue::Bind {
            queue: short(queue)?,
            exchange: short(exchange)?,
            routing_key: short(key)?,
            ..queue::Bind::default()
        };
        self.call(CHANNEL, bind, queue::BindOk::ID)
    }

    /// Does not wait for an answer: there is none.
    pub(crate) fn bind_later(&mut self, queue: &str, exchange: &str, key: &str) -> io::Result<()> {
        let bind = queue::Bind {
            queue: short(queue)?,
            exchange: short(exchange)?,
            routing_key: short(key)?,
            no_wait: true,
            ..queue::Bind::default()
        };
        self.send(CHANNEL, bind)
    }

    /// A queue that keeps no more than so many messages.
    pub(crate) fn declare_short(&mut self, name: &str, messages: u32) -> io::Result<()> {
        let declare = queue::Declare {
            queue: short(name)?,
            durable: true,
            arguments: Table::new().with("x-max-length", Value::I64(messages.into())),
            ..queue::Declare::default()
        };
        self.call(CHANNEL, declare, queue::DeclareOk::ID)
    }

    /// Consumes from a queue of this connection alone.
    pub(crate) fn consume_own(&mut self) -> io::Result<()> {
        let declare = queue::Declare {
            exclusive: true,
            ..queue::Declare::default()
        };
        self.call(CHANNEL, declare, queue::DeclareOk::ID)?;
        // That which was declared last.
        self.call(CHANNEL, basic::Consume::default(), basic::ConsumeOk::ID)
    }

    pub(crate) fn delete_queue(&mut self, name: &str) -> io::Result<()> {
        let delete = queue::Delete {
            queue: short(name)?,
            ..queue::Delete::default()
        };
        self.call(CHANNEL, delete, queue::DeleteOk::ID)
    }

    pub(crate) fn delete_exchange(&mut self, name: &str) -> io::Result<()> {
        let delete = exchange::Delete {
            exchange: short(name)?,
            ..exchange::Delete::default()
        };
        self.call(CHANNEL, delete, exchange::DeleteOk::ID)
    }

    pub(crate) fn confirms(&mut self) -> io::Result<()> {
        self.call(CHANNEL, confirm::Select::default(), confirm::SelectOk::ID)
    }

    pub(crate) fn prefetch(&mut self, count: u16) -> io::Result<()> {
        let qos = basic::Qos {
            prefetch_count: count,
            ..basic::Qos::default()
        };
        self.call(CHANNEL, qos, basic::QosOk::ID)
    }

    /// Does not wait for the answer: messages may come with it.
    pub(crate) fn consume(&mut self, queue: &str, no_ack: bool) -> io::Result<()> {
        let consume = basic::Consume {
            queue: short(queue)?,
            no_ack,
            ..basic::Consume::default()
        };
        self.send(CHANNEL, consume)
    }

    pub(crate) fn close(mut self) -> io::Result<()> {
        let close = connection::Close {
            reply_code: 200,
            ..connection::Close::default()
        };
        self.call(0, close, connection::CloseOk::ID)
    }

    /// Sends a method and waits for its answer.
    fn call(&mut self, channel: u16, method: impl Into<Method>, answer: MethodId) -> io::Result<()> {
        self.send(channel, method)?;
        loop {
            if let Event::Method { method, .. } = self.next()? {
                match method.id() {
                    id if id == answer => return Ok(()),
                    connection::Close::ID | channel::Close::ID => {
                        return Err(io::Error::other(format!("the broker closed: {method:?}")));
                    }
                    _ => {}
                }
            }
        }
    }

    fn send(&mut self, channel: u16, method: impl Into<Method>) -> io::Result<()> {
        let outbox = self.amqp.outbox();
        outbox.method(channel, method).map_err(io::Error::other)?;
        self.flush()
    }

    /// Will acknowledge with the next [`Client::flush`].
    pub(crate) fn ack(&mut self, tag: u64, multiple: bool) {
        self.amqp.outbox().ack(CHANNEL, tag, multiple);
    }

    /// Sends what waits.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while self.amqp.outbox().has_remaining() {
            let count = self.stream.write(self.amqp.outbox().chunk())?;
            self.amqp.outbox().advance(count);
        }
        Ok(())
    }

    /// Sends frames that are ready.
    pub(crate) fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        self.stream.write_all(octets)
    }

    /// What has been read and not been looked at.
    pub(crate) fn event(&mut self) -> io::Result<Option<Event>> {
        self.amqp.event().map_err(io::Error::other)
    }

    /// Waits until there is something to read, and reads it.
    pub(crate) fn read(&mut self) -> io::Result<()> {
        self.buffer.resize(READ, 0);
        match self.stream.read(&mut self.buffer)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.amqp.input().extend_from_slice(&self.buffer[..count]);
                Ok(())
            }
        }
    }

    /// Is there something to read? Does not wait.
    pub(crate) fn is_readable(&self) -> bool {
        let mut descriptors = [nix::poll::PollFd::new(
            std::os::fd::AsFd::as_fd(&self.stream),
            nix::poll::PollFlags::POLLIN,
        )];
        nix::poll::poll(&mut descriptors, 0u8).is_ok_and(|count| count > 0)
    }

    /// Only the socket stays.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    fn next(&mut self) -> io::Result<Event> {
        loop {
            let event = self.event()?;
            // An answer of the handshake, or to a close.
            self.flush()?;
            match event {
                Some(event) => return Ok(event),
                None => self.read()?,
            }
        }
    }
}

pub(crate) fn short(text: &str) -> io::Result<ShortString> {
    ShortString::try_from(text).map_err(io::Error::other)
}
