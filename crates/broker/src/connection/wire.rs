//! What a client's octets come and go by, and how it ends.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, DuplexStream, Interest};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use crate::tls::Socket;

/// How long a client may take to take what is still here for it, and the end.
const END_WITHIN: Duration = Duration::from_secs(5);

/// Nothing more is written, and the client hears that: with TLS by its `close_notify`, without which it could not tell an end from octets that
/// somebody has kept from it.
pub(super) async fn end(stream: &mut impl Wire) {
    // A client who has gone already, or takes nothing, needs to be told nothing.
    let _gone = timeout(END_WITHIN, stream.shutdown()).await;
}

/// A way to a client and back.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin {
    /// Writes what is the last: it may stay here until the stream is shut down, which has to come soon.
    fn poll_write_last(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        last: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, last)
    }
}

impl Wire for TlsStream<Socket> {}

/// A client in this process.
impl Wire for DuplexStream {}

/// The last octets and the end leave in one segment: the kernel has one to carry, and the client one to be woken for. To close
/// alone would not do, since a client who has sent something more would find his connection reset, and the answer lost.
impl Wire for TcpStream {
    fn poll_write_last(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        last: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_write_ready(cx))?;
            let send = || {
                let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
                Ok(sendmsg(&*self, last, &mut SendAncillaryBuffer::default(), flags)?)
            };
            match self.try_io(Interest::WRITABLE, send) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{Read as _, Write as _};

    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (std::net::TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    async fn write_last(stream: &mut TcpStream, octets: &[u8]) -> usize {
        let write = poll_fn(|cx| Pin::new(&mut *stream).poll_write_last(cx, &[IoSlice::new(octets)]));
        write.await.unwrap()
    }

    #[tokio::test]
    async fn a_client_who_says_something_after_he_asked_to_end_hears_the_answer() {
        let (mut client, mut stream) = pair().await;
        client.write_all(b"nobody reads this").unwrap();
        assert_eq!(write_last(&mut stream, b"bye").await, 3);
        end(&mut stream).await;
        drop(stream);
        let mut heard = [0; 3];
        client.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"bye");
    }

    #[tokio::test]
    async fn who_takes_no_more_is_waited_for() {
        let (mut client, mut stream) = pair().await;
        let much = vec![7; 1 << 20];
        let mut written = 0;
        let reading = tokio::task::spawn_blocking(move || {
            let mut heard = Vec::new();
            client.read_to_end(&mut heard).unwrap();
            heard.len()
        });
        while written < 64 * much.len() {
            written += write_last(&mut stream, &much).await;
        }
        end(&mut stream).await;
        assert_eq!(reading.await.unwrap(), written);
    }
}
