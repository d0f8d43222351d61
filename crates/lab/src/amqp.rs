//! As much of AMQP 0-9-1 as a test needs on either side: a [`Broker`](crate::Broker) that behaves like RabbitMQ towards a
//! proxy, and a [`Session`](crate::Session) that checks every octet it gets back.
//!
//! Written apart from the product's own codec, so that a mistake in one shows against the other.

pub(crate) mod client;
pub mod server;

use std::io::{self, Read, Write};

/// What a client says first.
pub(crate) const HEADER: [u8; 8] = *b"AMQP\0\0\x09\x01";
/// The longest payload either side accepts, as in RabbitMQ's default.
pub(crate) const FRAME_MAX: usize = 131_072;

pub(crate) const METHOD: u8 = 1;
pub(crate) const BODY: u8 = 3;
pub(crate) const HEARTBEAT: u8 = 8;
const END: u8 = 0xCE;

/// Methods by class and number.
pub(crate) const START: (u16, u16) = (10, 10);
pub(crate) const START_OK: (u16, u16) = (10, 11);
pub(crate) const TUNE: (u16, u16) = (10, 30);
pub(crate) const TUNE_OK: (u16, u16) = (10, 31);
pub(crate) const OPEN: (u16, u16) = (10, 40);
pub(crate) const OPEN_OK: (u16, u16) = (10, 41);
pub(crate) const CLOSE: (u16, u16) = (10, 50);
pub(crate) const CLOSE_OK: (u16, u16) = (10, 51);
pub(crate) const BLOCKED: (u16, u16) = (10, 60);

/// One frame as it was on the wire.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) channel: u16,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn method((class, number): (u16, u16), arguments: &[u8]) -> Self {
        let mut payload = Vec::with_capacity(4 + arguments.len());
        payload.extend(class.to_be_bytes());
        payload.extend(number.to_be_bytes());
        payload.extend(arguments);
        Self {
            kind: METHOD,
            channel: 0,
            payload,
        }
    }

    /// Class, number and arguments, if it is a method.
    pub(crate) fn as_method(&self) -> Option<((u16, u16), &[u8])> {
        let (class, rest) = self.payload.split_first_chunk::<2>()?;
        let (number, arguments) = rest.split_first_chunk::<2>()?;
        (self.kind == METHOD).then_some((
            (u16::from_be_bytes(*class), u16::from_be_bytes(*number)),
            arguments,
        ))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut octets = Vec::with_capacity(8 + self.payload.len());
        octets.push(self.kind);
        octets.extend(self.channel.to_be_bytes());
        octets.extend((self.payload.len() as u32).to_be_bytes());
        octets.extend(&self.payload);
        octets.push(END);
        octets
    }

    pub(crate) fn write(&self, mut stream: impl Write) -> io::Result<()> {
        stream.write_all(&self.encode())
    }

    pub(crate) fn read(mut stream: impl Read) -> io::Result<Self> {
        let mut head = [0; 7];
        stream.read_exact(&mut head)?;
        let [kind, channel @ .., a, b, c, d] = head;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > FRAME_MAX {
            return Err(io::Error::other(format!("a frame of {length} octets")));
        }
        let mut payload = vec![0; length + 1];
        stream.read_exact(&mut payload)?;
        match payload.pop() {
            Some(END) => Ok(Self {
                kind,
                channel: u16::from_be_bytes(channel),
                payload,
            }),
            other => Err(io::Error::other(format!("a frame that ends with {other:?}"))),
        }
    }
}

pub(crate) fn short(text: &str) -> Vec<u8> {
    let mut octets = vec![u8::try_from(text.len()).expect("a short string")];
    octets.extend(text.as_bytes());
    octets
}

pub(crate) fn long(text: &[u8]) -> Vec<u8> {
    let mut octets = (text.len() as u32).to_be_bytes().to_vec();
    octets.extend(text);
    octets
}

/// A field table of texts.
pub(crate) fn table(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut octets = Vec::new();
    for (name, value) in fields {
        octets.extend(short(name));
        octets.push(b'S');
        octets.extend(long(value.as_bytes()));
    }
    long(&octets)
}
