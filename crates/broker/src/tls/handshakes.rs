//! Handshakes, on threads that do nothing else: a step of one is a signature, or a search for somebody who vouches for the client, and nobody
//! who is inside waits for that.
//!
//! What the client sends wakes his handshake on its own thread; the socket stays with those who serve him afterwards.

use std::io;
use std::sync::{Arc, LazyLock};

use rustls::{ServerConfig, ServerConnection};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::socket::Socket;

/// By so much these threads stand back when there are not enough processors for all: the broker's have three times as much then.
const STEP_BACK: i32 = 5;

/// They are there from the first client on who speaks TLS.
static THREADS: LazyLock<io::Result<Runtime>> = LazyLock::new(|| {
    Builder::new_multi_thread()
        .thread_name("handshakes")
        .on_thread_start(|| {
            let thread = Some(rustix::thread::gettid());
            if let Err(error) = rustix::process::setpriority_process(thread, STEP_BACK) {
                tracing::debug!(%error, "handshakes have the priority of clients");
            }
        })
        .build()
});

/// Shakes hands with a client, and says what is known of him then.
///
/// # Errors
/// He and the broker did not agree; or there are no threads.
pub(crate) async fn shake<T: Send + 'static>(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    known: impl FnOnce(&ServerConnection) -> T + Send + 'static,
) -> io::Result<(TlsStream<Socket>, T)> {
    let threads = THREADS
        .as_ref()
        .map_err(|error| io::Error::other(format!("there are no threads for handshakes: {error}")))?;
    // Who is not waited for any more is not served any more either.
    let mut work = JoinSet::new();
    let shaking = async {
        let mut stream = TlsAcceptor::from(config).accept(Socket::new(stream)).await?;
        let (socket, connection) = stream.get_mut();
        socket.is_open();
        let known = known(connection);
        Ok((stream, known))
    };
    work.spawn_on(shaking, threads.handle());
    match work.join_next().await {
        Some(done) => done.map_err(io::Error::other)?,
        None => Err(io::ErrorKind::Interrupted.into()),
    }
}
