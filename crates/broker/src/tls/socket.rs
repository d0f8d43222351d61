//! What is between TLS and a socket: how much, and for how long, a client is heard who says nothing that would get any further.
//!
//! TLS reads until it has something for who asked, or nothing is there any more. A client whose records have nothing in them but new keys
//! could have the thread for as long as he sends.

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The longest that is read without a pause.
const LONGEST: Duration = Duration::from_millis(1);

/// Octets of a handshake: a chain of long certificates has room in it.
const HANDSHAKE_MAX: usize = 32 * 1024;

/// A client's socket.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    /// When it was first read after it had nothing.
    since: Option<Instant>,
    /// Octets that a handshake may still have, while it lasts.
    left: Option<usize>,
}

impl Socket {
    pub(super) const fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            since: None,
            left: Some(HANDSHAKE_MAX),
        }
    }

    /// The handshake is done.
    pub(super) const fn is_open(&mut self) {
        self.left = None;
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == Some(0) {
            let text = format!("its handshake has more than {HANDSHAKE_MAX} octets");
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, text)));
        }
        if self.since.get_or_insert_with(Instant::now).elapsed() > LONGEST {
            self.since = None;
            // Not before the event loop has looked who else has said something.
            let pause = pin!(tokio::task::yield_now());
            return pause.poll(cx).map(Ok);
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if polled.is_pending() {
            self.since = None;
        }
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(buffer.filled().len() - before);
        }
        polled
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, octets)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, octets)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::ready;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// A client, and his socket, behind which so many octets wait.
    async fn pair(count: usize) -> (TcpStream, Socket) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let socket = Socket::new(listener.accept().await.unwrap().0);
        client.write_all(&vec![7; count]).await.unwrap();
        (client, socket)
    }

    #[tokio::test]
    async fn who_says_much_is_not_heard_without_a_pause() {
        const MUCH: usize = 256 * 1024;
        let (_client, mut socket) = pair(MUCH).await;
        socket.is_open();
        let (mut turns, mut heard) = (0, 0);
        // The event loop's own patience is for everything that is read, however long it takes.
        let reading = tokio::task::unconstrained(poll_fn(|cx| {
            turns += 1;
            loop {
                let mut octet = [0];
                ready!(Pin::new(&mut socket).poll_read(cx, &mut ReadBuf::new(&mut octet)))?;
                heard += 1;
                if heard == MUCH {
                    return Poll::Ready(io::Result::Ok(()));
                }
            }
        }));
        let began = Instant::now();
        reading.await.unwrap();
        assert!(began.elapsed() > 10 * LONGEST, "this was not much");
        assert!(turns > 5, "{turns} turns");
    }

    #[tokio::test]
    async fn a_handshake_that_does_not_end_is_not_heard_to_its_end() {
        let (_client, mut socket) = pair(2 * HANDSHAKE_MAX).await;
        let mut heard = vec![0; HANDSHAKE_MAX];
        socket.read_exact(&mut heard).await.unwrap();
        let error = socket.read(&mut heard).await.unwrap_err();
        assert!(error.to_string().contains("more than 32768 octets"), "{error}");
        socket.is_open();
        assert_eq!(socket.read_exact(&mut heard).await.unwrap(), HANDSHAKE_MAX);
    }
}
