//! The PROXY protocol, where it may be spoken or not: headers begin with octets with which no client of AMQP or TLS does.

use std::io;

use thiserror::Error;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use warren_kit::proxy_header::{self, Decoded, V2_LENGTH_MAX};

use crate::arrival::Arrival;

/// What was said is no header.
#[derive(Debug, Error)]
pub(super) enum IntroductionError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it closed the connection")]
    Closed,
    #[error("{0}")]
    Header(#[from] proxy_header::Error),
}

/// Hears what somebody who may be a proxy says of his client, if he says anything. Nothing behind that is taken from the
/// stream.
pub(super) async fn hear(stream: &mut TcpStream, arrival: &mut Arrival) -> Result<(), IntroductionError> {
    let from_here = arrival.from_loopback;
    // Behind a proxy on the same host everybody would be from here.
    arrival.from_loopback = false;
    let mut header = Vec::new();
    let mut seen = [0; V2_LENGTH_MAX];
    loop {
        let count = stream.peek(&mut seen).await?;
        let new = seen.get(..count).unwrap_or_default();
        if new.is_empty() {
            return Err(IntroductionError::Closed);
        }
        if header.is_empty() && !matches!(new.first(), Some(b'P' | b'\r')) {
            return Ok(());
        }
        let known = header.len();
        header.extend_from_slice(new);
        match proxy_header::decode(&header)? {
            // Whatever came is of the header.
            Decoded::Incomplete => take(stream, count).await?,
            Decoded::Header(decoded) => {
                take(stream, decoded.length.saturating_sub(known)).await?;
                if let Some(source) = decoded.source {
                    arrival.peer = source;
                    arrival.from_loopback = from_here && source.ip().to_canonical().is_loopback();
                }
                if let Some(destination) = decoded.destination {
                    arrival.local = destination;
                }
                return Ok(());
            }
        }
    }
}

async fn take(stream: &mut TcpStream, count: usize) -> io::Result<()> {
    let mut taken = vec![0; count];
    stream.read_exact(&mut taken).await.map(drop)
}
