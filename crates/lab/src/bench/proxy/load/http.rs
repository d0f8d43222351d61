//! Requests on connections that stay open, one at a time each.

use std::io;
use std::net::TcpStream;
use std::time::Instant;

use super::Tally;
use super::bulk::discard;
use super::clients::{Talk, Then, receive, send};

pub(crate) const REQUEST: &[u8] =
    b"GET /figures HTTP/1.1\r\nHost: bench.test\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n";

/// The part of a response that is still to come, read out of octets as they arrive.
#[derive(Debug, Default)]
pub(crate) struct Response {
    head: Vec<u8>,
    body_left: usize,
}

impl Response {
    /// Whether the response is complete with these octets; `Err` if it is no answer of our server.
    pub(crate) fn take(&mut self, octets: &[u8]) -> io::Result<bool> {
        if self.body_left > 0 {
            return self.take_body(octets.len());
        }
        self.head.extend_from_slice(octets);
        let Some(end) = find(&self.head, b"\r\n\r\n") else {
            return Ok(false);
        };
        let head = String::from_utf8_lossy(&self.head[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: Option<usize> = length.and_then(|text| text.trim().parse().ok());
        let (true, Some(length)) = (head.starts_with("http/1.1 200"), length) else {
            return Err(io::Error::other(head));
        };
        let body = self.head.len() - end - 4;
        self.head.clear();
        self.body_left = length;
        self.take_body(body)
    }

    pub(crate) fn in_body(&self) -> bool {
        self.body_left > 0
    }

    pub(crate) fn take_body(&mut self, octets: usize) -> io::Result<bool> {
        let left = self.body_left.checked_sub(octets);
        self.body_left = left.ok_or_else(|| io::Error::other("more than was announced"))?;
        Ok(self.body_left == 0)
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

/// Connections that ask again when they have been answered.
#[derive(Debug, Default)]
pub(crate) struct Http {
    sent: Option<Instant>,
    response: Response,
}

impl Talk for Http {
    fn start(&mut self, stream: &TcpStream, _: &mut Tally) -> io::Result<()> {
        self.response = Response::default();
        self.sent = Some(send(stream, REQUEST)?);
        Ok(())
    }

    fn go_on(&mut self, stream: &TcpStream, scratch: &mut [u8], tally: &mut Tally) -> io::Result<Then> {
        let complete = if self.response.in_body() {
            let octets = discard(stream, scratch)?;
            self.response.take_body(octets)?
        } else {
            let octets = receive(stream, scratch)?;
            self.response.take(&scratch[..octets])?
        };
        if complete {
            let now = send(stream, REQUEST)?;
            let before = self.sent.replace(now).unwrap_or(now);
            tally.operation(now - before);
        }
        Ok(Then::Stay)
    }
}
