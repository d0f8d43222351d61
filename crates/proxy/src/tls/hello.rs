//! What a TLS client says first, read by somebody who only passes it on: the name of the host it wants. Pure.
//!
//! ```text
//! record     type 22 | version (2) | length (2) | part of a message          one or more
//! message    type 1 | length (3) | version (2) | random (32) | session <1> | ciphers <2> | compression <1>
//!            | extensions <2>: (type (2), length (2), value)*
//! ```
//!
//! RFC 8446, sections 4.1.2 and 5.1; RFC 6066, section 3; RFC 7301, section 3.1. What is encrypted (ECH) stays so: the
//! outer name is the one that is found.

use std::borrow::Cow;

/// Octets that are looked at, records' headers included. Clients say a few hundred.
pub const HELLO_MAX: usize = 16 << 10;

/// Longest name of a host.
const NAME_MAX: usize = 255;

/// What was said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The host that is wanted (SNI), in small letters.
    pub server_name: Option<String>,
    /// Protocols that are offered (ALPN), best first.
    pub alpn: Vec<Vec<u8>>,
}

/// Why it is no TLS, or none that is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// The first octets are not those of a TLS record.
    #[error("the client does not speak TLS")]
    NotTls,
    /// A TLS record, but not the first that a client sends.
    #[error("the client's first TLS message is no ClientHello")]
    NotHello,
    /// Lengths that contradict each other.
    #[error("the client's first TLS message is malformed: {0}")]
    Malformed(&'static str),
    /// Longer than is looked at.
    #[error("the client's first TLS message is longer than {HELLO_MAX} octets")]
    TooLong,
}

/// Reads what a client has sent so far; `None`: more has to come.
pub fn parse(octets: &[u8]) -> Result<Option<ClientHello>, HelloError> {
    let Some(message) = message(octets)? else {
        return Ok(None);
    };
    extensions(&message).map(Some)
}

/// The first message, without its head, out of its records.
fn message(octets: &[u8]) -> Result<Option<Cow<'_, [u8]>>, HelloError> {
    const HANDSHAKE: u8 = 22;
    const RECORD_MAX: usize = 1 << 14;
    let octets = octets.get(..HELLO_MAX).unwrap_or(octets);
    let mut rest = octets;
    let mut gathered: Cow<'_, [u8]> = Cow::Borrowed(&[]);
    loop {
        // Looked at as far as it is there: garbage is not waited for.
        let is_handshake = rest.first().is_none_or(|kind| *kind == HANDSHAKE);
        let is_version = rest.get(1).is_none_or(|major| *major == 3);
        if !is_handshake || !is_version {
            return Err(HelloError::NotTls);
        }
        let mut reader = Reader(rest.get(3..).unwrap_or_default());
        let length = reader.u16();
        if length.is_some_and(|length| length == 0 || length > RECORD_MAX) {
            return Err(HelloError::NotTls);
        }
        let part = length.and_then(|length| reader.0.get(..length).or(Some(reader.0)));
        let part = part.unwrap_or_default();
        let is_whole = length.is_some_and(|length| length == part.len());
        match &mut gathered {
            gathered if gathered.is_empty() => *gathered = Cow::Borrowed(part),
            gathered => gathered.to_mut().extend_from_slice(part),
        }
        if let Some(length) = message_length(&gathered)?
            && gathered.len() >= length
        {
            return Ok(Some(match gathered {
                Cow::Borrowed(gathered) => Cow::Borrowed(gathered.get(4..length).unwrap_or_default()),
                Cow::Owned(gathered) => Cow::Owned(gathered.get(4..length).unwrap_or_default().to_vec()),
            }));
        }
        if !is_whole {
            return if octets.len() >= HELLO_MAX {
                Err(HelloError::TooLong)
            } else {
                Ok(None)
            };
        }
        rest = reader.0.get(part.len()..).unwrap_or_default();
    }
}

/// With its head of four octets, once that is there.
fn message_length(message: &[u8]) -> Result<Option<usize>, HelloError> {
    const CLIENT_HELLO: u8 = 1;
    if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
        return Err(HelloError::NotHello);
    }
    let Some([_, high, middle, low]) = message.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = usize::from(*high) << 16 | usize::from(*middle) << 8 | usize::from(*low);
    if length > HELLO_MAX {
        return Err(HelloError::TooLong);
    }
    Ok(Some(4 + length))
}

fn extensions(message: &[u8]) -> Result<ClientHello, HelloError> {
    const SERVER_NAME: usize = 0;
    const ALPN: usize = 16;
    const CUT: HelloError = HelloError::Malformed("it ends too early");
    let mut reader = Reader(message);
    reader.take(2 + 32).ok_or(CUT)?;
    reader.short_block().ok_or(CUT)?;
    reader.block().ok_or(CUT)?;
    reader.short_block().ok_or(CUT)?;
    let mut hello = ClientHello::default();
    if reader.0.is_empty() {
        return Ok(hello);
    }
    let mut extensions = Reader(reader.block().ok_or(CUT)?);
    while !extensions.0.is_empty() {
        let kind = extensions.u16().ok_or(CUT)?;
        let value = extensions.block().ok_or(CUT)?;
        match kind {
            SERVER_NAME => hello.server_name = server_name(value)?,
            ALPN => hello.alpn = protocols(value)?,
            _ => {}
        }
    }
    Ok(hello)
}

fn server_name(value: &[u8]) -> Result<Option<String>, HelloError> {
    const HOST_NAME: u8 = 0;
    const BAD: HelloError = HelloError::Malformed("the server's name is none");
    let mut names = Reader(Reader(value).block().ok_or(BAD)?);
    while !names.0.is_empty() {
        let kind = names.u8().ok_or(BAD)?;
        let name = names.block().ok_or(BAD)?;
        if kind == HOST_NAME {
            let is_host = |octet: &u8| octet.is_ascii_graphic();
            if name.is_empty() || name.len() > NAME_MAX || !name.iter().all(is_host) {
                return Err(BAD);
            }
            return Ok(Some(String::from_utf8_lossy(name).to_ascii_lowercase()));
        }
    }
    Ok(None)
}

fn protocols(value: &[u8]) -> Result<Vec<Vec<u8>>, HelloError> {
    const BAD: HelloError = HelloError::Malformed("the protocols are none");
    let mut list = Reader(Reader(value).block().ok_or(BAD)?);
    let mut protocols = Vec::new();
    while !list.0.is_empty() {
        protocols.push(list.short_block().ok_or(BAD)?.to_vec());
    }
    Ok(protocols)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<usize> {
        let octets = self.take(2)?.first_chunk::<2>()?;
        Some(usize::from(u16::from_be_bytes(*octets)))
    }

    /// After two octets of length.
    fn block(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(length)
    }

    /// After one octet of length.
    fn short_block(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(usize::from(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::test_hello;

    #[test]
    fn the_name_and_the_protocols_of_a_real_client_are_found() {
        let hello = test_hello("Broker.Example", &[b"h2", b"amqp"]);
        let parsed = parse(&hello).unwrap().unwrap();
        assert_eq!(parsed.server_name.as_deref(), Some("broker.example"));
        assert_eq!(parsed.alpn, [b"h2".to_vec(), b"amqp".to_vec()]);
    }

    #[test]
    fn an_unfinished_hello_is_waited_for_octet_by_octet() {
        let hello = test_hello("broker.example", &[]);
        for length in 0..hello.len() {
            assert_eq!(parse(&hello[..length]), Ok(None), "of {length}");
        }
    }

    #[test]
    fn a_hello_in_many_records_is_one() {
        let hello = test_hello("broker.example", &[]);
        let records: Vec<u8> = hello[5..]
            .chunks(7)
            .flat_map(|part| [&[22, 3, 1, 0, u8::try_from(part.len()).unwrap()], part].concat())
            .collect();
        let parsed = parse(&records).unwrap().unwrap();
        assert_eq!(parsed.server_name.as_deref(), Some("broker.example"));
        assert_eq!(parse(&records[..records.len() - 1]), Ok(None));
    }

    #[test]
    fn what_is_no_tls_is_known_at_once() {
        assert_eq!(parse(b"GET / HTTP/1.1\r\n"), Err(HelloError::NotTls));
        assert_eq!(parse(b"AMQP\0\0\x09\x01"), Err(HelloError::NotTls));
        assert_eq!(parse(b"G"), Err(HelloError::NotTls));
        assert_eq!(parse(&[22, 3, 1, 0, 0]), Err(HelloError::NotTls));
        assert_eq!(parse(&[22, 3, 1, 0, 1, 2]), Err(HelloError::NotHello));
        assert_eq!(parse(&[22, 3, 1, 0, 9, 1, 1, 0, 0]), Err(HelloError::TooLong));
        assert_eq!(parse(&[]), Ok(None));
    }

    #[test]
    fn a_hello_that_never_ends_is_given_up() {
        // Records of one octet cost six each and never complete the message they announce.
        let mut octets = vec![22, 3, 1, 0, 4, 1, 0, 0x3f, 0xff];
        while octets.len() < HELLO_MAX {
            octets.extend_from_slice(&[22, 3, 1, 0, 1, 0]);
        }
        octets.truncate(HELLO_MAX);
        assert_eq!(parse(&octets), Err(HelloError::TooLong));
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(octets in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200), at in 0usize..200, cut in 0usize..300) {
            let _ = parse(&octets);
            let mut hello = test_hello("a.example", &[b"h2"]);
            hello.truncate(cut);
            for (place, octet) in octets.iter().take(3).enumerate() {
                if let Some(old) = hello.get_mut(at + place) {
                    *old = *octet;
                }
            }
            let _ = parse(&hello);
        }
    }
}
