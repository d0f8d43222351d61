//! What holds for a broker, whatever a client sends, once it has logged in or instead of that: the connection ends with the
//! client, nobody has its messages any more, nobody consumes, and every queue gives as many messages as it says it has.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use warren_amqp::client::{Connection, Event, Login};
use warren_amqp::handshake::Tuning;
use warren_amqp::outbox::Outbox;
use warren_amqp::{FrameMax, ShortString, basic, channel};
use warren_broker::{Node, Settings, serve_stream};

/// Octets on their way between client and broker.
const PIPE: usize = 4096;
/// Of a clock that runs ahead while nothing else does: nobody waits for the other.
const FOR_EVER: Duration = Duration::from_secs(24 * 3600);

/// Lets a client say this: when it has logged in, or from the beginning if it begins like that.
///
/// # Panics
/// Something does not hold.
pub(crate) fn accepted(said: &[u8]) {
    let before = match said.starts_with(b"AMQP") {
        true => Bytes::new(),
        false => hello(),
    };
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    let node = Node::new("rabbit@test".to_owned(), Settings::default());
    runtime.block_on(async {
        let talk = tokio::time::timeout(FOR_EVER, talk(&node, &before, said));
        talk.await.expect("the connection ends with its client");
        assert_eq!(node.registry.count(), 0);
        for queue in node.queues().0 {
            let snapshot = queue.snapshot();
            assert_eq!(snapshot.counts.unacked, 0, "{queue:?}");
            assert_eq!(snapshot.consumers, 0, "{queue:?}");
            let name = &queue.identity().name;
            let drain = tokio::time::timeout(FOR_EVER, drain(&node, name));
            let found = drain.await.expect("an answer");
            assert_eq!(found, snapshot.counts.ready, "{queue:?}");
        }
    });
}

fn served(node: &Arc<Node>) -> (DuplexStream, impl Future<Output = ()> + use<>) {
    let (client, stream) = tokio::io::duplex(PIPE);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 5672));
    (client, serve_stream(Arc::clone(node), stream, address, address))
}

async fn talk(node: &Arc<Node>, before: &[u8], said: &[u8]) {
    let (client, broker) = served(node);
    let (mut from, mut to) = tokio::io::split(client);
    let say = async {
        // The broker may have heard enough.
        let _ = to.write_all(before).await;
        let _ = to.write_all(said).await;
        let _ = to.shutdown().await;
    };
    let hear = async {
        let mut ignored = [0; 1024];
        while let Ok(1..) = from.read(&mut ignored).await {}
    };
    tokio::join!(broker, say, hear);
}

/// All that a client says until its connection is open.
fn hello() -> Bytes {
    let mut outbox = Outbox::new(FrameMax::DEFAULT);
    outbox.octets(b"AMQP\0\0\x09\x01");
    let login = Login {
        wanted: Tuning {
            channel_max: 3,
            frame_max: 4096,
            heartbeat: 0,
        },
        ..Login::plain("guest", "guest", "/", "test").unwrap()
    };
    for method in login.methods() {
        outbox.method(0, method).unwrap();
    }
    outbox.copy_to_bytes(outbox.remaining())
}

/// Fetches all messages of a queue, and says how many there were.
async fn drain(node: &Arc<Node>, queue: &str) -> u64 {
    let (client, broker) = served(node);
    let (_, count) = tokio::join!(broker, fetch_all(client, queue));
    count
}

async fn fetch_all(mut stream: DuplexStream, queue: &str) -> u64 {
    let mut client = Connection::start(Login::plain("guest", "guest", "/", "test").unwrap());
    let get = basic::Get {
        queue: ShortString::try_from(queue).unwrap(),
        no_ack: true,
        ..basic::Get::default()
    };
    let mut count = 0;
    loop {
        match client.event().unwrap() {
            Some(Event::Opened { .. }) => client.outbox().method(1, channel::Open::default()).unwrap(),
            Some(Event::Message { .. }) => {
                count += 1;
                client.outbox().method(1, get.clone()).unwrap();
            }
            Some(Event::Method { method, .. }) if method.id() == channel::OpenOk::ID => {
                client.outbox().method(1, get.clone()).unwrap();
            }
            Some(Event::Method { method, .. }) if method.id() == basic::GetEmpty::ID => return count,
            Some(other) => panic!("{queue}: {other:?}"),
            None => {
                stream.write_all_buf(client.outbox()).await.unwrap();
                let read = stream.read_buf(client.input()).await.unwrap();
                assert_ne!(read, 0, "{queue}: the broker hung up");
            }
        }
    }
}
