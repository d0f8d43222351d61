//! The daemon's end of a control socket.
//!
//! A client can neither hold the daemon up nor make it grow: connections, the length of a request and the time for
//! it are limited, and a reply that is not taken in time ends the connection.

use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{ControlSocket, Peer};
use crate::setbacks::Setbacks;

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub connections_max: usize,
    pub request_bytes_max: usize,
    /// From the connection to the end of the request's line.
    pub request_timeout: Duration,
    /// For the client to make room for one reply line.
    pub reply_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 32,
            request_bytes_max: 64 << 10,
            request_timeout: Duration::from_secs(5),
            reply_timeout: Duration::from_secs(5),
        }
    }
}

/// Why a request never reached the service. The text is a fact that ends with what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("{0} control connections are open, which is the limit: close one, such as an event stream")]
    TooManyConnections(usize),
    #[error("the request is longer than {0} bytes: send one shorter line of JSON")]
    TooLong(usize),
    #[error("no request came within {0:?}: send one line of JSON right after connecting")]
    TooSlow(Duration),
    #[error("the request is not understood: {0}; client and daemon may be of different versions")]
    NotUnderstood(String),
}

/// What a daemon does with requests.
pub trait Service: Send + Sync + 'static {
    type Request: DeserializeOwned + Send;
    type Reply: Serialize + Send + Sync;

    /// Answers one request. Cancelled when the client hangs up. Ends early with [`Gone`] when a reply cannot be sent.
    fn call(
        &self,
        peer: Peer,
        request: Self::Request,
        replies: &mut Replies<'_, Self::Reply>,
    ) -> impl Future<Output = Result<(), Gone>> + Send;

    /// How this protocol says that something is wrong with the request itself.
    fn refused(&self, problem: Problem) -> Self::Reply;
}

/// The client is not there any more, or does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client has gone")]
pub struct Gone;

/// Where reply lines go.
pub struct Replies<'a, R> {
    write: WriteHalf<'a>,
    timeout: Duration,
    reply: PhantomData<fn(R)>,
}

impl<R: Serialize> Replies<'_, R> {
    pub async fn send(&mut self, reply: &R) -> Result<(), Gone> {
        let line = reply_line(reply);
        match timeout(self.timeout, self.write.write_all(&line)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }
}

fn reply_line<R: Serialize>(reply: &R) -> Vec<u8> {
    let mut line = serde_json::to_vec(reply).unwrap_or_else(|error| {
        // Only a type that JSON cannot express gets here, such as a map with keys that are no text.
        tracing::error!(%error, "could not write a control reply");
        Vec::new()
    });
    line.push(b'\n');
    line
}

/// Asks for a socket to be closed, and is answered once whoever had connected before is being served and nobody else
/// will be.
pub type Closing = oneshot::Sender<()>;

/// Serves until dropped; then every connection is cut and the socket's file removed.
pub async fn serve<S: Service>(socket: ControlSocket, limits: Limits, service: S) -> io::Result<()> {
    let (_open, never) = mpsc::channel(1);
    serve_until(never, socket, limits, service).await
}

/// The same for a socket that has a successor: once it is closed, those who are connected are served to the end.
pub async fn serve_until<S: Service>(
    mut closing: mpsc::Receiver<Closing>,
    socket: ControlSocket,
    limits: Limits,
    service: S,
) -> io::Result<()> {
    let listener = socket.listener()?;
    let service = Arc::new(service);
    let mut setbacks = Setbacks::new(format!("a client of {}", socket.path().display()));
    let mut connections = JoinSet::new();
    let receive = |connections: &mut JoinSet<()>, stream: UnixStream| {
        if connections.len() < limits.connections_max {
            connections.spawn(converse(stream, limits, service.clone()));
        } else {
            // A fresh socket's buffer takes one line without waiting.
            let problem = Problem::TooManyConnections(limits.connections_max);
            let _ = stream.try_write(&reply_line(&service.refused(problem)));
        }
    };
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            Some(closed) = closing.recv() => {
                while let Some(stream) = socket.waiting()? {
                    receive(&mut connections, stream);
                }
                drop((listener, socket));
                let _ = closed.send(());
                while connections.join_next().await.is_some() {}
                return Ok(());
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => receive(&mut connections, stream),
                Err(error) => setbacks.rest(&error).await,
            }
        }
    }
}

async fn converse<S: Service>(mut stream: UnixStream, limits: Limits, service: Arc<S>) {
    let Ok(credentials) = stream.peer_cred() else {
        return;
    };
    let peer = Peer {
        uid: credentials.uid(),
        gid: credentials.gid(),
        pid: credentials.pid(),
    };
    let (mut read, write) = stream.split();
    let mut replies = Replies {
        write,
        timeout: limits.reply_timeout,
        reply: PhantomData,
    };
    let request = match read_request(&mut read, limits).await {
        Ok(None) => return,
        Ok(Some(line)) => {
            serde_json::from_slice(&line).map_err(|error| Problem::NotUnderstood(error.to_string()))
        }
        Err(problem) => Err(problem),
    };
    // A client that has gone is no error of ours.
    let _ = match request {
        Ok(request) => {
            tokio::select! {
                done = service.call(peer, request, &mut replies) => done,
                () = hung_up(&mut read) => Err(Gone),
            }
        }
        Err(problem) => replies.send(&service.refused(problem)).await,
    };
}

/// `None`: the client left, or was cut off, before its line was complete.
async fn read_request(read: &mut ReadHalf<'_>, limits: Limits) -> Result<Option<Vec<u8>>, Problem> {
    let mut line = Vec::new();
    let mut bounded = BufReader::with_capacity(1024, read).take(limits.request_bytes_max as u64 + 1);
    match timeout(limits.request_timeout, bounded.read_until(b'\n', &mut line)).await {
        Err(_) => Err(Problem::TooSlow(limits.request_timeout)),
        Ok(Ok(_)) if line.len() > limits.request_bytes_max => Err(Problem::TooLong(limits.request_bytes_max)),
        Ok(Ok(_)) if !line.trim_ascii().is_empty() => Ok(Some(line)),
        Ok(_) => Ok(None),
    }
}

/// Waits for the client to close. One that only said it will send no more (`nc -N`) still wants its reply.
async fn hung_up(read: &mut ReadHalf<'_>) {
    let mut ignored = [0; 256];
    while !matches!(read.read(&mut ignored).await, Ok(0) | Err(_)) {}
    loop {
        match read.ready(Interest::WRITABLE).await {
            Ok(ready) if !ready.is_write_closed() => sleep(Duration::from_millis(200)).await,
            _ => return,
        }
    }
}
