//! A header out of octets, as far as they have come.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::{
    Decoded, Error, Facts, Header, TlsFacts, V1_LENGTH_MAX, V2_REST_MAX, V2_SIGNATURE, client, crc32c, kind,
};

/// The fixed octets of version 2.
const V2_FIXED: usize = 16;

/// Longest `unique_id`, by the protocol.
const UNIQUE_ID_MAX: usize = 128;

/// Reads a header at the beginning of what a connection has brought so far.
pub fn decode(octets: &[u8]) -> Result<Decoded, Error> {
    const V1_SIGNATURE: &[u8] = b"PROXY ";
    if begins(octets, V2_SIGNATURE) {
        version_2(octets)
    } else if begins(octets, V1_SIGNATURE) {
        version_1(octets)
    } else {
        Err(Error::Missing)
    }
}

/// As far as there is something to compare.
fn begins(octets: &[u8], signature: &[u8]) -> bool {
    octets.iter().zip(signature).all(|(one, other)| one == other)
}

fn version_1(octets: &[u8]) -> Result<Decoded, Error> {
    let seen = octets.get(..V1_LENGTH_MAX).unwrap_or(octets);
    let Some(feed) = seen.iter().position(|octet| *octet == b'\n') else {
        return if octets.len() >= V1_LENGTH_MAX {
            Err(Error::LineTooLong)
        } else {
            Ok(Decoded::Incomplete)
        };
    };
    let Some(line) = seen.get(..feed).and_then(|line| line.strip_suffix(b"\r")) else {
        return Err(Error::Line("it has to end with CR LF"));
    };
    let line = std::str::from_utf8(line).map_err(|_| Error::Line("it is not text"))?;
    let (source, destination) = line_addresses(line)?.unzip();
    Ok(Decoded::Header(Box::new(Header {
        length: feed + 1,
        source,
        destination,
        facts: Facts::default(),
    })))
}

fn line_addresses(line: &str) -> Result<Option<(SocketAddr, SocketAddr)>, Error> {
    let mut words = line.split(' ').skip(1);
    let family = words.next().unwrap_or_default();
    if family == "UNKNOWN" {
        // Whatever follows is to be ignored.
        return Ok(None);
    }
    let mut word = |missing| words.next().ok_or(Error::Line(missing));
    let (source, destination) = (word("no source address")?, word("no destination address")?);
    let (from, to) = (word("no source port")?, word("no destination port")?);
    if words.next().is_some() {
        return Err(Error::Line("something follows the ports"));
    }
    let (source, destination) = match family {
        "TCP4" => (address::<Ipv4Addr>(source)?, address::<Ipv4Addr>(destination)?),
        "TCP6" => (address::<Ipv6Addr>(source)?, address::<Ipv6Addr>(destination)?),
        _ => return Err(Error::Protocol),
    };
    Ok(Some((
        SocketAddr::new(source, port(from)?),
        SocketAddr::new(destination, port(to)?),
    )))
}

fn address<T: FromStr + Into<IpAddr>>(word: &str) -> Result<IpAddr, Error> {
    let address: Result<T, _> = word.parse();
    address
        .map(Into::into)
        .map_err(|_| Error::Line("an address is none of its family"))
}

/// Digits, without leading zeros.
fn port(word: &str) -> Result<u16, Error> {
    let is_canonical =
        word.bytes().all(|octet| octet.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    word.parse()
        .ok()
        .filter(|_| is_canonical)
        .ok_or(Error::Line("a port is none"))
}

fn version_2(octets: &[u8]) -> Result<Decoded, Error> {
    // Each fixed octet is looked at as soon as it is there: garbage is not waited for.
    if let Some(version) = octets
        .get(12)
        .map(|octet| octet >> 4)
        .filter(|version| *version != 2)
    {
        return Err(Error::Version(version));
    }
    if let Some(command) = octets
        .get(12)
        .map(|octet| octet & 0xf)
        .filter(|command| *command > 1)
    {
        return Err(Error::Command(command));
    }
    let mut fixed = Reader(octets.get(12..).unwrap_or_default());
    let (Some(command), Some(family), Some(length)) = (fixed.u8(), fixed.u8(), fixed.u16()) else {
        return Ok(Decoded::Incomplete);
    };
    let length = usize::from(length);
    if length > V2_REST_MAX {
        return Err(Error::TooLong(length));
    }
    let Some(header) = octets.get(..V2_FIXED + length) else {
        return Ok(Decoded::Incomplete);
    };
    let mut rest = Reader(header.get(V2_FIXED..).unwrap_or_default());
    let is_local = command & 0xf == 0;
    let addresses = addresses(family, is_local, &mut rest)?;
    let (source, destination) = addresses.filter(|_| !is_local).unzip();
    Ok(Decoded::Header(Box::new(Header {
        length: header.len(),
        source,
        destination,
        facts: facts(rest, header)?,
    })))
}

/// Addresses of TCP; those of others are passed over. The sender of LOCAL may leave them out.
fn addresses(
    family: u8,
    is_local: bool,
    rest: &mut Reader<'_>,
) -> Result<Option<(SocketAddr, SocketAddr)>, Error> {
    let length = match family >> 4 {
        0 => 0,
        1 => 12,
        2 => 36,
        3 => 216,
        _ => return Err(Error::Family(family)),
    };
    if family & 0xf > 2 {
        return Err(Error::Family(family));
    }
    if is_local && rest.0.len() < length {
        rest.0 = &[];
        return Ok(None);
    }
    let mut block = Reader(rest.take(length).ok_or(Error::Short)?);
    let (source, destination) = match family {
        0x11 => (block.ipv4(), block.ipv4()),
        0x21 => (block.ipv6(), block.ipv6()),
        _ => return Ok(None),
    };
    let (from, to) = (block.u16(), block.u16());
    let both = |address: Option<IpAddr>, port: Option<u16>| Some(SocketAddr::new(address?, port?));
    Ok(both(source, from).zip(both(destination, to)))
}

fn facts(mut rest: Reader<'_>, header: &[u8]) -> Result<Facts, Error> {
    let mut facts = Facts::default();
    while let Some((kind, value)) = rest.value()? {
        match kind {
            kind::ALPN => facts.alpn = Some(value.to_vec()),
            kind::AUTHORITY => facts.authority = Some(text(value)),
            kind::UNIQUE_ID if value.len() <= UNIQUE_ID_MAX => facts.unique_id = Some(value.to_vec()),
            kind::UNIQUE_ID => return Err(Error::Value(kind)),
            kind::NETNS => facts.namespace = Some(text(value)),
            kind::SSL => facts.tls = Some(tls(value)?),
            kind::CRC32C => {
                // The checksum counts as zero in what it is made of.
                let end = header.len() - rest.0.len();
                let zeroed = end.saturating_sub(4)..end;
                let octets = header.iter().enumerate().map(
                    |(place, octet)| {
                        if zeroed.contains(&place) { 0 } else { *octet }
                    },
                );
                let said = <[u8; 4]>::try_from(value).map_err(|_| Error::Value(kind))?;
                if crc32c(octets) != u32::from_be_bytes(said) {
                    return Err(Error::Checksum);
                }
                facts.checksum = true;
            }
            // NOOP, and whatever may come to be.
            _ => {}
        }
    }
    Ok(facts)
}

fn tls(value: &[u8]) -> Result<TlsFacts, Error> {
    let mut rest = Reader(value);
    let (Some(flags), Some(verify)) = (rest.u8(), rest.take(4)) else {
        return Err(Error::Value(kind::SSL));
    };
    let certificate = flags & (client::CERTIFICATE_ON_CONNECTION | client::CERTIFICATE_IN_SESSION) != 0;
    let mut tls = TlsFacts {
        used: flags & client::SSL != 0,
        certificate,
        verified: certificate && verify == [0; 4],
        ..TlsFacts::default()
    };
    while let Some((kind, value)) = rest.value()? {
        match kind {
            kind::SSL_VERSION => tls.version = Some(text(value)),
            kind::SSL_CN => tls.common_name = Some(text(value)),
            kind::SSL_CIPHER => tls.cipher = Some(text(value)),
            _ => {}
        }
    }
    Ok(tls)
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn ipv4(&mut self) -> Option<IpAddr> {
        self.array::<4>().map(|octets| Ipv4Addr::from(octets).into())
    }

    fn ipv6(&mut self) -> Option<IpAddr> {
        self.array::<16>().map(|octets| Ipv6Addr::from(octets).into())
    }

    /// The next type and value; `None` at the end.
    fn value(&mut self) -> Result<Option<(u8, &'a [u8])>, Error> {
        let Some(kind) = self.u8() else { return Ok(None) };
        let length = self.u16().ok_or(Error::Value(kind))?;
        let value = self.take(usize::from(length)).ok_or(Error::Value(kind))?;
        Ok(Some((kind, value)))
    }
}
