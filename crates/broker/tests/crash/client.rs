//! A client that expects its broker to die at any moment: everything but an answer is the end of it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use warren_amqp::client::{Confirms, Connection, Event, Login};
use warren_amqp::content::{Message, Properties};
use warren_amqp::hot::Publish;
use warren_amqp::{Method, ShortString, Table, basic, channel, confirm, connection, exchange, queue};

/// Longer than anything takes that is not broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// The broker is gone, or wants this client to be.
#[derive(Debug)]
pub(crate) struct Gone;

/// A connection with channel 1 open.
pub(crate) struct Client {
    stream: TcpStream,
    connection: Connection,
    /// Out of the connection's outbox.
    unsent: Bytes,
}

pub(crate) fn short(text: &str) -> ShortString {
    ShortString::try_from(text).unwrap()
}

impl Client {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self, Gone> {
        let stream = TcpStream::connect(address).await.map_err(|_| Gone)?;
        stream.set_nodelay(true).map_err(|_| Gone)?;
        let login = Login::plain("guest", "guest", "/", "crash test").unwrap();
        let connection = Connection::start(login);
        let mut client = Self {
            stream,
            connection,
            unsent: Bytes::new(),
        };
        let Event::Opened { .. } = client.event().await? else {
            return Err(Gone);
        };
        client.call(channel::Open::default()).await?;
        Ok(client)
    }

    /// Sends what waits, and reads meanwhile: a broker that reads no more has said why.
    pub(crate) async fn send(&mut self) -> Result<(), Gone> {
        while self.has_unsent() {
            self.exchange().await?;
        }
        Ok(())
    }

    /// Is there anything to be sent?
    fn has_unsent(&mut self) -> bool {
        let outbox = self.connection.outbox();
        if self.unsent.is_empty() && outbox.has_remaining() {
            self.unsent = outbox.copy_to_bytes(outbox.remaining());
        }
        !self.unsent.is_empty()
    }

    /// Reads some octets, or writes some if there are any.
    async fn exchange(&mut self) -> Result<(), Gone> {
        let has_unsent = self.has_unsent();
        let (mut reader, mut writer) = self.stream.split();
        let either = async {
            tokio::select! {
                read = reader.read_buf(self.connection.input()) => read,
                written = writer.write_buf(&mut self.unsent), if has_unsent => written,
            }
        };
        let either = tokio::time::timeout(PATIENCE, either).await;
        match either.expect("the broker lives and does not answer") {
            Ok(0) | Err(_) => Err(Gone),
            Ok(_) => Ok(()),
        }
    }

    /// What comes next. May be dropped while it waits.
    pub(crate) async fn event(&mut self) -> Result<Event, Gone> {
        loop {
            match self.connection.event().map_err(|_| Gone)? {
                Some(Event::Method {
                    method: Method::Connection(connection::Method::Close(close)),
                    ..
                }) => {
                    // It cannot write any more, and sends everybody away.
                    assert!(matches!(close.reply_code, 541 | 320), "{close:?}");
                    return Err(Gone);
                }
                Some(Event::Method {
                    method: Method::Channel(channel::Method::Close(close)),
                    ..
                }) => {
                    // A queue was deleted just now.
                    assert_eq!(close.reply_code, 404, "{close:?}");
                    return Err(Gone);
                }
                Some(Event::Heartbeat) => {}
                Some(event) => return Ok(event),
                None => self.exchange().await?,
            }
        }
    }

    /// Asks for a message; `None` if there is none.
    pub(crate) async fn get(&mut self, get: basic::Get) -> Result<Option<Message>, Gone> {
        self.connection.outbox().method(1, get).unwrap();
        match self.event().await? {
            Event::Message { message, .. } => Ok(Some(message)),
            _ => Ok(None),
        }
    }

    /// Sends a method; `others` takes what comes before its answer.
    pub(crate) async fn ask(
        &mut self,
        method: impl Into<Method>,
        mut others: impl FnMut(Event),
    ) -> Result<Method, Gone> {
        self.connection.outbox().method(1, method).unwrap();
        loop {
            match self.event().await? {
                Event::Method { method, .. } if !is_unasked(&method) => return Ok(method),
                other => others(other),
            }
        }
    }

    pub(crate) async fn call(&mut self, method: impl Into<Method>) -> Result<Method, Gone> {
        self.ask(method, drop).await
    }

    pub(crate) fn publish(&mut self, exchange: &str, key: &str, priority: Option<u8>, body: Bytes) {
        self.publish_as(2, exchange, key, priority, body);
    }

    pub(crate) fn publish_as(
        &mut self,
        mode: u8,
        exchange: &str,
        key: &str,
        priority: Option<u8>,
        body: Bytes,
    ) {
        let properties = Properties {
            delivery_mode: Some(mode),
            priority,
            ..Properties::default()
        };
        self.publish_with(exchange, key, &properties, body);
    }

    pub(crate) fn publish_with(&mut self, exchange: &str, key: &str, properties: &Properties, body: Bytes) {
        let publish = Publish {
            exchange: exchange.as_bytes(),
            routing_key: key.as_bytes(),
            mandatory: false,
            immediate: false,
        };
        let outbox = self.connection.outbox();
        outbox.publish(1, &publish, properties, &body).unwrap();
    }

    /// Publishes so many messages, some hundreds ahead of their confirms, until all are confirmed.
    pub(crate) async fn publish_all(
        &mut self,
        count: u32,
        mut publish: impl FnMut(&mut Self, u32),
    ) -> Result<(), Gone> {
        let mut unconfirmed = Confirms::default();
        for number in 0..count {
            publish(self, number);
            unconfirmed.published();
            while unconfirmed.count() > 500 || (number + 1 == count && unconfirmed.count() > 0) {
                match self.event().await? {
                    Event::Method {
                        method: Method::Basic(basic::Method::Ack(ack)),
                        ..
                    } => drop(unconfirmed.settle(ack.delivery_tag, ack.multiple)),
                    other => panic!("only confirms are due, not {other:?}"),
                }
            }
        }
        Ok(())
    }

    pub(crate) fn ack(&mut self, tag: u64, multiple: bool) {
        self.connection.outbox().ack(1, tag, multiple);
    }

    pub(crate) fn nack(&mut self, tag: u64, multiple: bool, requeue: bool) {
        self.connection.outbox().nack(1, tag, multiple, requeue);
    }

    pub(crate) async fn declare(&mut self, name: &str, arguments: Table) -> Result<(), Gone> {
        self.declare_as(true, name, arguments).await
    }

    pub(crate) async fn declare_as(
        &mut self,
        durable: bool,
        name: &str,
        arguments: Table,
    ) -> Result<(), Gone> {
        let declare = queue::Declare {
            queue: short(name),
            durable,
            arguments,
            ..queue::Declare::default()
        };
        self.call(declare).await.map(drop)
    }

    pub(crate) async fn bind(&mut self, exchange: &str, queue: &str) -> Result<(), Gone> {
        let declare = exchange::Declare {
            exchange: short(exchange),
            exchange_type: short("fanout"),
            durable: true,
            ..exchange::Declare::default()
        };
        self.call(declare).await?;
        let bind = queue::Bind {
            queue: short(queue),
            exchange: short(exchange),
            ..queue::Bind::default()
        };
        self.call(bind).await.map(drop)
    }

    pub(crate) async fn confirms(&mut self) -> Result<(), Gone> {
        self.call(confirm::Select { no_wait: false }).await.map(drop)
    }

    pub(crate) async fn close(mut self) -> Result<(), Gone> {
        let close = connection::Close {
            reply_code: 200,
            ..connection::Close::default()
        };
        self.connection.outbox().method(0, close).unwrap();
        self.send().await
    }
}

/// Comes without having been asked for.
fn is_unasked(method: &Method) -> bool {
    matches!(
        method,
        Method::Basic(basic::Method::Ack(_) | basic::Method::Nack(_) | basic::Method::Cancel(_))
            | Method::Connection(connection::Method::Blocked(_) | connection::Method::Unblocked(_))
    )
}
