//! What is different where octets go through TLS.

use rustls::pki_types::ServerName;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket};
use tokio_rustls::client::TlsStream;
use warren_amqp::client::Login;

use super::*;
use crate::server::{Door, serve_door};
use crate::tls::tests::Authority;

/// So that little is enough to fill them.
const SOCKET_BUFFER: usize = 16 * 1024;

struct Encrypted {
    node: Arc<Node>,
    address: SocketAddr,
    authority: Authority,
}

impl Encrypted {
    async fn start() -> Self {
        let authority = Authority::new();
        let node = Node::new("rabbit@test".to_owned(), Settings::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        SockRef::from(&listener)
            .set_send_buffer_size(SOCKET_BUFFER)
            .unwrap();
        let address = listener.local_addr().unwrap();
        let door = Door {
            tls: Some(authority.server("one.test").into()),
            ..Door::default()
        };
        tokio::spawn(serve_door(Arc::clone(&node), listener, Arc::new(door)));
        Self {
            node,
            address,
            authority,
        }
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(SOCKET_BUFFER as u32).unwrap();
        let stream = socket.connect(self.address).await.unwrap();
        let name = ServerName::try_from("one.test").unwrap();
        self.authority.client(None).connect(name, stream).await.unwrap()
    }

    async fn client(&self) -> Client<TlsStream<TcpStream>> {
        Client::over(self.connect().await).await
    }
}

fn login(host: &str) -> Login {
    Login::plain("guest", "guest", host, "test").unwrap()
}

#[tokio::test]
async fn whoever_reads_to_the_end_over_tls_finds_an_end_and_no_cut() {
    let broker = Encrypted::start().await;
    // Its client closes it, or does what is not allowed.
    for method in [
        Method::from(connection::Close::default()),
        Method::from(connection::TuneOk::default()),
    ] {
        let mut client = broker.client().await;
        client.cast_on(0, method).await;
        client.event().await;
        client.end().await;
    }
    // Nobody may log in with that, or as that.
    let mut stream = broker.connect().await;
    stream.write_all(b"HTTP/1.1").await.unwrap();
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"AMQP\0\0\x09\x01");
    let mut refused = Client::begin(broker.connect().await, login("/nowhere"));
    refused.is_refused().await;
    refused.end().await;
    // It says nothing any more.
    let mut tired = login("/");
    tired.wanted.heartbeat = 1;
    Client::log_in(broker.connect().await, tired).await.end().await;
    // The broker stops.
    let mut client = broker.client().await;
    broker.node.registry.stop();
    client.event().await;
    client.end().await;
}

#[tokio::test]
async fn over_tls_nothing_stays_behind_when_the_socket_has_room_again() {
    const BODY: &[u8] = &[7; 8 * 1024];
    let broker = Encrypted::start().await;
    // One of these numbers is such that the socket is full when the last of it is with TLS.
    for count in 1..40 {
        let mut client = broker.client().await;
        client.declare("q").await;
        client.consume("q").await;
        eventually("the one before has gone", || broker.node.registry.count() == 1).await;
        let entry = broker.node.registry.connections().remove(0);
        let before = entry.counts.octets_received.get();
        for _ in 0..count {
            client.publish("q", false, BODY).await;
        }
        eventually("all of it was heard", || {
            entry.counts.octets_received.get() > before + (count * BODY.len()) as u64
        })
        .await;
        for number in 0..count {
            let event = client.event().await;
            assert!(
                matches!(event, Event::Message { .. }),
                "{number} of {count}: {event:?}"
            );
        }
        let gone = queue::Delete {
            queue: crate::connection::short("q"),
            ..queue::Delete::default()
        };
        client.call(gone).await;
    }
}
