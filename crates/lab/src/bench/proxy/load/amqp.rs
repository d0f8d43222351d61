//! What AMQP traffic looks like to whoever only relays it: frames of 128 to 1024 octets, each sent by itself, a few
//! of them under way at a time, both ways.

use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;
use std::time::Instant;

use super::Tally;
use super::clients::{Talk, Then, receive, send};

/// Frames under way on one connection, as with a client that waits for confirms.
const WINDOW: usize = 4;
const SHORTEST: u64 = 128;
const LONGEST: u64 = 1024;

/// Connections that always have [`WINDOW`] frames under way; the server sends each back.
#[derive(Debug)]
pub(crate) struct Stream {
    under_way: VecDeque<(usize, Instant)>,
    received: usize,
    random: u64,
}

impl Stream {
    pub(crate) fn new() -> Self {
        Self {
            under_way: VecDeque::with_capacity(WINDOW),
            received: 0,
            random: 0x9E37_79B9_7F4A_7C15,
        }
    }

    fn send_one(&mut self, stream: &TcpStream) -> io::Result<()> {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let length = (SHORTEST + self.random % (LONGEST - SHORTEST + 1)) as usize;
        let sent = send(stream, &[b'm'; LONGEST as usize][..length])?;
        self.under_way.push_back((length, sent));
        Ok(())
    }
}

impl Talk for Stream {
    fn start(&mut self, stream: &TcpStream, _: &mut Tally) -> io::Result<()> {
        self.under_way.clear();
        self.received = 0;
        (0..WINDOW).try_for_each(|_| self.send_one(stream))
    }

    fn go_on(&mut self, stream: &TcpStream, scratch: &mut [u8], tally: &mut Tally) -> io::Result<Then> {
        let octets = receive(stream, scratch)?;
        self.received += octets;
        tally.octets += 2 * octets as u64;
        while let Some(&(length, sent)) = self
            .under_way
            .front()
            .filter(|(length, _)| *length <= self.received)
        {
            self.received -= length;
            self.under_way.pop_front();
            tally.operation(sent.elapsed());
            self.send_one(stream)?;
        }
        Ok(Then::Stay)
    }
}
