//! One small message there and back: for ever on one connection ([`Ping`]), or once per connection ([`Once`]).

use std::io;
use std::net::TcpStream;
use std::time::Instant;

use super::clients::{Talk, Then, receive, send};
use super::{SMALL, Tally};

/// Connections that send a message when the one before has come back.
#[derive(Debug, Default)]
pub(crate) struct Ping {
    sent: Option<Instant>,
    received: usize,
}

impl Talk for Ping {
    fn start(&mut self, stream: &TcpStream, _: &mut Tally) -> io::Result<()> {
        self.received = 0;
        self.sent = Some(send(stream, &[b'p'; SMALL])?);
        Ok(())
    }

    fn go_on(&mut self, stream: &TcpStream, scratch: &mut [u8], tally: &mut Tally) -> io::Result<Then> {
        self.received += receive(stream, scratch)?;
        if self.received >= SMALL {
            self.received -= SMALL;
            let now = send(stream, &[b'p'; SMALL])?;
            let before = self.sent.replace(now).unwrap_or(now);
            tally.operation(now - before);
        }
        Ok(Then::Stay)
    }
}

/// Connect, one message there and back, close.
#[derive(Debug, Default)]
pub(crate) struct Once(Ping);

impl Talk for Once {
    fn start(&mut self, stream: &TcpStream, tally: &mut Tally) -> io::Result<()> {
        self.0.start(stream, tally)
    }

    fn go_on(&mut self, stream: &TcpStream, scratch: &mut [u8], tally: &mut Tally) -> io::Result<Then> {
        self.0.received += receive(stream, scratch)?;
        if self.0.received < SMALL {
            return Ok(Then::Stay);
        }
        tally.operation(self.0.sent.take().map(|sent| sent.elapsed()).unwrap_or_default());
        Ok(Then::Again)
    }
}
