//! For tests: a node that listens, and a client of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use warren_amqp::client::{Connection, Event, Login};
use warren_amqp::content::Properties;
use warren_amqp::hot::Publish;
use warren_amqp::{Method, Table, basic, channel, queue};
use warren_model::Name;
use warren_model::meta::Command;

use crate::node::{Node, Settings};

/// Longer than anything here takes, on a machine that does a lot besides.
const PATIENCE: Duration = Duration::from_secs(20);

/// A name that fits.
pub(crate) fn name(text: &str) -> Name {
    Name::try_from(text).unwrap()
}

/// Declares a durable queue.
pub(crate) fn declare(vhost: &str, queue: &str) -> Command {
    Command::DeclareQueue {
        vhost: name(vhost),
        name: name(queue),
        id: None,
        durable: true,
        auto_delete: false,
        exclusive: None,
        arguments: Table::new(),
    }
}

/// A node and where it listens.
pub(crate) async fn node() -> (Arc<Node>, SocketAddr) {
    let node = Node::new("rabbit@test".to_owned(), Settings::default());
    let address = listen(&node).await;
    (node, address)
}

/// Lets clients in.
pub(crate) async fn listen(node: &Arc<Node>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(crate::serve(Arc::clone(node), listener));
    address
}

/// Waits until something is the case.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "not within {PATIENCE:?}: {what}"
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A client with channel 1 open.
pub(crate) struct Client<S = TcpStream> {
    stream: S,
    connection: Connection,
}

impl Client {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap()).await
    }

    /// The client's end.
    pub(crate) fn address(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) async fn over(stream: S) -> Self {
        Self::log_in(stream, Login::plain("guest", "guest", "/", "test").unwrap()).await
    }

    pub(crate) async fn log_in(stream: S, login: Login) -> Self {
        let mut client = Self::begin(stream, login);
        let opened = client.event().await;
        assert!(matches!(opened, Event::Opened { .. }), "{opened:?}");
        client.call(channel::Open::default()).await;
        client
    }

    /// Has said nothing yet.
    pub(crate) fn begin(stream: S, login: Login) -> Self {
        let connection = Connection::start(login);
        Self { stream, connection }
    }

    /// To say anything.
    pub(crate) const fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    pub(crate) async fn send(&mut self) {
        self.stream.write_all_buf(self.connection.outbox()).await.unwrap();
    }

    pub(crate) async fn event(&mut self) -> Event {
        self.send().await;
        loop {
            if let Some(event) = self.connection.event().unwrap() {
                self.send().await;
                return event;
            }
            self.send().await;
            let read = self.stream.read_buf(self.connection.input());
            let count = tokio::time::timeout(PATIENCE, read)
                .await
                .expect("in time")
                .unwrap();
            assert_ne!(count, 0, "the broker closed the connection");
        }
    }

    /// Sends a method on channel 1 and gives the next method that comes.
    pub(crate) async fn call(&mut self, method: impl Into<Method>) -> Method {
        self.connection.outbox().method(1, method).unwrap();
        match self.event().await {
            Event::Method { method, .. } => method,
            other => panic!("{other:?}"),
        }
    }

    /// Sends a method that nothing answers, on channel 1.
    pub(crate) async fn cast(&mut self, method: impl Into<Method>) {
        self.cast_on(1, method).await;
    }

    /// Lets the handshake go wrong.
    pub(crate) async fn is_refused(&mut self) {
        self.send().await;
        while self.connection.event().is_ok() {
            self.send().await;
            self.stream.read_buf(self.connection.input()).await.unwrap();
        }
        self.send().await;
    }

    /// Reads to the end: there is one.
    pub(crate) async fn end(&mut self) {
        let mut rest = Vec::new();
        let end = tokio::time::timeout(PATIENCE, self.stream.read_to_end(&mut rest));
        end.await.expect("in time").expect("an end, and no cut");
    }

    pub(crate) async fn cast_on(&mut self, channel: u16, method: impl Into<Method>) {
        self.connection.outbox().method(channel, method).unwrap();
        self.send().await;
    }

    /// Consumes on channel 1, and has to settle.
    pub(crate) async fn consume(&mut self, queue: &'static str) {
        let consume = basic::Consume {
            queue: warren_amqp::ShortString::from_static(queue),
            ..basic::Consume::default()
        };
        let answer = self.call(consume).await;
        assert!(
            matches!(answer, Method::Basic(basic::Method::ConsumeOk(_))),
            "{answer:?}"
        );
    }

    pub(crate) async fn declare(&mut self, name: &'static str) {
        let declare = queue::Declare {
            queue: warren_amqp::ShortString::from_static(name),
            ..queue::Declare::default()
        };
        let answer = self.call(declare).await;
        assert!(
            matches!(answer, Method::Queue(queue::Method::DeclareOk(_))),
            "{answer:?}"
        );
    }

    /// Publishes through the default exchange, and does not wait.
    pub(crate) async fn publish(&mut self, key: &str, mandatory: bool, body: &'static [u8]) {
        let publish = Publish {
            routing_key: key.as_bytes(),
            mandatory,
            ..Publish::default()
        };
        self.say(&publish, &Properties::default(), body).await;
    }

    /// The same, with properties.
    pub(crate) async fn publish_with(&mut self, key: &str, properties: &Properties, body: &'static [u8]) {
        let publish = Publish {
            routing_key: key.as_bytes(),
            ..Publish::default()
        };
        self.say(&publish, properties, body).await;
    }

    async fn say(&mut self, publish: &Publish<'_>, properties: &Properties, body: &'static [u8]) {
        let outbox = self.connection.outbox();
        let body = bytes::Bytes::from_static(body);
        outbox.publish(1, publish, properties, &body).unwrap();
        self.send().await;
    }
}
