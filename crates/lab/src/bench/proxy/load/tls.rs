//! The same requests through TLS: on connections that stay, or with a handshake for each. And TLS that costs the client
//! nothing once it is there.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::Tally;
use super::bulk::Down;
use super::clients::{Talk, Then};
use super::http::{REQUEST, Response};

/// The name in the certificate of the benchmark.
pub(crate) const NAME: &str = "bench.test";

/// Connections over TLS 1.3, nothing resumed.
pub(crate) struct TlsHttp {
    configuration: Arc<ClientConfig>,
    handshake_each: bool,
    session: Option<ClientConnection>,
    sent: Instant,
    response: Response,
}

impl fmt::Debug for TlsHttp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TlsHttp").finish_non_exhaustive()
    }
}

impl TlsHttp {
    /// What all connections share: whom to trust, and that no session is resumed.
    pub(crate) fn configuration(certificate: CertificateDer<'static>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(certificate).expect("our own certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut configuration = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider knows the versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        configuration.resumption = rustls::client::Resumption::disabled();
        Arc::new(configuration)
    }

    pub(crate) fn new(configuration: &Arc<ClientConfig>, handshake_each: bool) -> Self {
        Self {
            configuration: Arc::clone(configuration),
            handshake_each,
            session: None,
            sent: Instant::now(),
            response: Response::default(),
        }
    }
}

impl Talk for TlsHttp {
    fn start(&mut self, stream: &TcpStream, _: &mut Tally) -> io::Result<()> {
        let mut session = session(&self.configuration)?;
        self.response = Response::default();
        self.sent = Instant::now();
        session.writer().write_all(REQUEST)?;
        flush(&mut session, stream)?;
        self.session = Some(session);
        Ok(())
    }

    fn go_on(&mut self, mut stream: &TcpStream, scratch: &mut [u8], tally: &mut Tally) -> io::Result<Then> {
        let session = self.session.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        loop {
            match session.read_tls(&mut stream) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
            let state = session.process_new_packets().map_err(io::Error::other)?;
            let mut octets = state.plaintext_bytes_to_read();
            while octets > 0 {
                let read = session.reader().read(scratch)?;
                octets -= read;
                if self.response.take(&scratch[..read])? {
                    let now = Instant::now();
                    tally.operation(now - self.sent);
                    if self.handshake_each {
                        session.send_close_notify();
                        flush(session, stream)?;
                        return Ok(Then::Again);
                    }
                    self.sent = now;
                    session.writer().write_all(REQUEST)?;
                }
            }
        }
        flush(session, stream)?;
        Ok(Then::Stay)
    }
}

/// Connections to a server that sends for ever, of which the client throws away what it would have to decrypt: so that
/// whoever encrypts is what there is most to do for.
pub(crate) struct Sealed(Arc<ClientConfig>);

impl Sealed {
    pub(crate) fn new(configuration: &Arc<ClientConfig>) -> Self {
        Self(Arc::clone(configuration))
    }
}

impl Talk for Sealed {
    fn start(&mut self, mut stream: &TcpStream, _: &mut Tally) -> io::Result<()> {
        let mut session = session(&self.0)?;
        stream.set_nonblocking(false)?;
        session.complete_io(&mut stream)?;
        stream.set_nonblocking(true)
    }

    fn go_on(&mut self, stream: &TcpStream, scratch: &mut [u8], tally: &mut Tally) -> io::Result<Then> {
        Down.go_on(stream, scratch, tally)
    }
}

fn session(configuration: &Arc<ClientConfig>) -> io::Result<ClientConnection> {
    let name = ServerName::try_from(NAME).expect("a name");
    ClientConnection::new(Arc::clone(configuration), name).map_err(io::Error::other)
}

/// What a client of the benchmark has to say fits into the socket.
fn flush(session: &mut ClientConnection, mut stream: &TcpStream) -> io::Result<()> {
    while session.wants_write() {
        session.write_tls(&mut stream)?;
    }
    Ok(())
}
