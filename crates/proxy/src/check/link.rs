//! A connection to a server, for one check: plain or TLS, and closed as the other side likes it.
//!
//! Every read has a limit and every phase a deadline, so that no server can hold a check for longer, or make it keep
//! more, than the configuration allows.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustls::ClientConnection;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, UnixStream};
use tokio::time::{Instant, timeout_at};

use super::finding::Finding;
use crate::live::Target;
use crate::plan::socket_address;

/// Most octets of an answer that are looked at; what comes after is not read.
pub(super) const ANSWER_MAX: usize = 64 * 1024;
/// Octets that are read at once.
const READ: usize = 4096;
/// How long the other side may take to hang up after we did.
const LINGER: Duration = Duration::from_secs(1);

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The connection.
pub(super) struct Link {
    stream: Box<dyn Stream>,
    tls: Option<Box<ClientConnection>>,
    local: Option<SocketAddr>,
    remote: Option<SocketAddr>,
}

impl Link {
    /// Connects before `deadline`, from `source` if given.
    pub(super) async fn connect(
        target: &Target,
        source: Option<SocketAddr>,
        deadline: Instant,
    ) -> Result<Self, Finding> {
        match timeout_at(deadline, Self::open(target, source)).await {
            Ok(Ok(link)) => Ok(link),
            Ok(Err(error)) => Err(Finding::failed("L4CON", reason(&error))),
            Err(_) => Err(Finding::failed("L4TOUT", String::new())),
        }
    }

    async fn open(target: &Target, source: Option<SocketAddr>) -> io::Result<Self> {
        let address = match target {
            Target::Tcp(address) => *address,
            Target::Unix(path) => {
                let stream = connect(path).await?;
                return Ok(Self {
                    stream: Box::new(stream),
                    tls: None,
                    local: None,
                    remote: None,
                });
            }
        };
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        if let Some(source) = source {
            socket.bind(source)?;
        }
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            local: stream.local_addr().ok(),
            remote: Some(address),
            stream: Box::new(stream),
            tls: None,
        })
    }

    /// Our address and the server's, for a PROXY protocol header.
    pub(super) const fn addresses(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        (self.local, self.remote)
    }

    /// TLS from here on.
    pub(super) async fn secure(
        &mut self,
        config: Arc<rustls::ClientConfig>,
        name: rustls::pki_types::ServerName<'static>,
        deadline: Instant,
    ) -> Result<(), Finding> {
        let failed = |detail: String| Finding::failed("L6RSP", detail);
        let tls = ClientConnection::new(config, name).map_err(|error| failed(error.to_string()))?;
        let tls = self.tls.insert(Box::new(tls));
        let handshake = async {
            while tls.is_handshaking() {
                flush(tls, &mut self.stream).await?;
                if tls.is_handshaking() && !take(tls, &mut self.stream).await? {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            flush(tls, &mut self.stream).await
        };
        match timeout_at(deadline, handshake).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(failed(handshake_failure(&error))),
            Err(_) => Err(Finding::failed("L6TOUT", String::new())),
        }
    }

    /// Sends everything.
    pub(super) async fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            None => self.stream.write_all(octets).await,
            Some(tls) => {
                for part in octets.chunks(16 * 1024) {
                    tls.writer().write_all(part)?;
                    flush(tls, &mut self.stream).await?;
                }
                Ok(())
            }
        }
    }

    /// Appends what comes next; 0 is the end.
    pub(super) async fn receive(&mut self, into: &mut Vec<u8>) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            into.reserve(READ);
            return self.stream.read_buf(into).await;
        };
        loop {
            match deciphered(tls, into) {
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Many servers hang up without saying so in TLS.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                Err(error) => return Err(error),
            }
            if !take(tls, &mut self.stream).await? {
                return Ok(0);
            }
            flush(tls, &mut self.stream).await?;
        }
    }

    /// Hangs up with a FIN and waits a moment for the other side to do the same. A reset, which is cheaper and what
    /// HAProxy does, makes brokers log an error for each check.
    pub(super) async fn close(mut self) {
        let farewell = async {
            if let Some(tls) = &mut self.tls {
                tls.send_close_notify();
                flush(tls, &mut self.stream).await?;
            }
            self.stream.shutdown().await?;
            let (mut buffer, mut rest) = (Vec::with_capacity(READ), ANSWER_MAX);
            while rest > 0 {
                match self.stream.read_buf(&mut buffer).await? {
                    0 => break,
                    count => rest = rest.saturating_sub(count),
                }
                buffer.clear();
            }
            io::Result::Ok(())
        };
        // Whatever goes wrong now says nothing about the server.
        let _ = tokio::time::timeout(LINGER, farewell).await;
    }
}

async fn flush(tls: &mut ClientConnection, stream: &mut Box<dyn Stream>) -> io::Result<()> {
    let mut out = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut out)?;
    }
    stream.write_all(&out).await
}

/// Appends what has been deciphered already.
fn deciphered(tls: &mut ClientConnection, into: &mut Vec<u8>) -> io::Result<usize> {
    let mut buffer = [0; READ];
    let count = tls.reader().read(&mut buffer)?;
    into.extend_from_slice(buffer.get(..count).unwrap_or_default());
    Ok(count)
}

/// Reads once; false at the end.
async fn take(tls: &mut ClientConnection, stream: &mut Box<dyn Stream>) -> io::Result<bool> {
    let mut buffer = Vec::with_capacity(READ);
    let count = stream.read_buf(&mut buffer).await?;
    let mut octets = &*buffer;
    while !octets.is_empty() {
        tls.read_tls(&mut octets)?;
        tls.process_new_packets()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    }
    Ok(count > 0)
}

fn handshake_failure(error: &io::Error) -> String {
    match error.get_ref() {
        Some(why) => format!("SSL handshake failure ({why})"),
        None => "SSL handshake failure".to_owned(),
    }
}

/// The text of an errno, without its number.
pub(super) fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => nix::errno::Errno::from_raw(number).desc().to_owned(),
        None => error.to_string(),
    }
}

/// Where a path leads, or a name that is in no directory.
async fn connect(path: &std::path::Path) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // Whoever listens takes it at once, or has no room.
    rustix::net::connect(&socket, &socket_address(path)?)?;
    UnixStream::from_std(socket.into())
}
