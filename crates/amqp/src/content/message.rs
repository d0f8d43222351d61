//! A message: method, header and body as they lie on the wire.

use bytes::{BufMut, Bytes, BytesMut};

use super::Header;
use crate::frame::OVERHEAD;
use crate::hot::{Carrier, Deliver, GetOk, Publish, Return};
use crate::method::MethodId;

/// A method with its content. Cloning it counts references and copies nothing.
///
/// ```text
///   octets   method's payload | 8 | header's payload | 8 | body, or its first piece
///   more     further pieces of the body
/// ```
///
/// The eights are the ends and beginnings of frames, or nothing of interest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    octets: Bytes,
    /// Where the header's payload is.
    header_start: usize,
    header_end: usize,
    more: Option<Box<[Bytes]>>,
}

impl Message {
    /// One that came by no connection, or not as it is now: published anew by a dead-letter exchange, read from a disk.
    /// The body may be in pieces; small ones are better put together before. The header says how large it is.
    #[must_use]
    pub fn new(publish: &Publish<'_>, header: Header<'_>, body: &[Bytes]) -> Self {
        let small = body.iter().map(Bytes::len).sum::<usize>() <= super::SMALL_PIECE;
        let mut octets = BytesMut::with_capacity(
            publish.exchange.len()
                + publish.routing_key.len()
                + header.payload().len()
                + 32
                + super::SMALL_PIECE * usize::from(small),
        );
        publish.write(&mut octets);
        let (header_start, header_end) = append_header(&mut octets, header.payload());
        octets.put_bytes(0, OVERHEAD);
        let more = match small {
            true => {
                body.iter().for_each(|piece| octets.put_slice(piece));
                Vec::new()
            }
            false => body.to_vec(),
        };
        Self::from_parts(octets.freeze(), header_start, header_end, more)
    }

    pub(super) fn from_parts(
        octets: Bytes,
        header_start: usize,
        header_end: usize,
        more: Vec<Bytes>,
    ) -> Self {
        Self {
            octets,
            header_start,
            header_end,
            more: (!more.is_empty()).then(|| more.into_boxed_slice()),
        }
    }

    /// Which method brought it.
    #[must_use]
    pub fn id(&self) -> MethodId {
        MethodId::of(&self.octets).unwrap_or(MethodId::NONE)
    }

    /// The payload of its method frame.
    #[must_use]
    pub fn method(&self) -> &[u8] {
        self.octets
            .get(..self.header_start.saturating_sub(OVERHEAD))
            .unwrap_or_default()
    }

    /// How it was published, if it was.
    #[must_use]
    pub fn publish(&self) -> Option<Publish<'_>> {
        Publish::read(self.method()).ok()
    }

    /// Exchange and routing key as they lie on the wire, if it was published: the same for messages of the same, and for no
    /// others.
    #[must_use]
    pub fn address(&self) -> &[u8] {
        // Ids and a number without meaning come before, bits behind.
        let method = self.method();
        method.get(6..method.len().saturating_sub(1)).unwrap_or_default()
    }

    /// To be returned if no queue wants it; only of one that was published.
    #[must_use]
    pub fn is_mandatory(&self) -> bool {
        self.publish_bits() & 1 != 0
    }

    /// To be returned if no consumer wants it now; only of one that was published.
    #[must_use]
    pub fn is_immediate(&self) -> bool {
        self.publish_bits() & 2 != 0
    }

    /// The last octet of basic.publish, which was read as a whole when the message was put together.
    fn publish_bits(&self) -> u8 {
        self.method().last().copied().unwrap_or_default()
    }

    /// How it was delivered, if it was.
    #[must_use]
    pub fn deliver(&self) -> Option<Deliver<'_>> {
        Deliver::read(self.method()).ok()
    }

    /// How it was returned, if it was.
    #[must_use]
    pub fn returned(&self) -> Option<Return<'_>> {
        Return::read(self.method()).ok()
    }

    /// How it answered a get, if it did.
    #[must_use]
    pub fn get_ok(&self) -> Option<GetOk<'_>> {
        GetOk::read(self.method()).ok()
    }

    /// Its properties and size.
    #[must_use]
    pub fn header(&self) -> Header<'_> {
        let payload = self.octets.get(self.header_start..self.header_end);
        Header::checked(payload.unwrap_or_default())
    }

    /// Octets of the body.
    #[must_use]
    pub fn body_size(&self) -> usize {
        let more = self.more.iter().flatten().map(Bytes::len).sum::<usize>();
        self.octets.len().saturating_sub(self.body_start()) + more
    }

    /// The body, in as many pieces as it has.
    pub fn body(&self) -> impl Iterator<Item = &[u8]> {
        let more = self.more.as_deref().unwrap_or_default();
        let first = self.octets.get(self.body_start()..).unwrap_or_default();
        std::iter::once(first)
            .chain(more.iter().map(|piece| &piece[..]))
            .filter(|piece| !piece.is_empty())
    }

    /// The body, in as many pieces as it has, to be kept: nothing is copied.
    pub fn pieces_of_body(&self) -> impl Iterator<Item = Bytes> {
        let more = self.more.iter().flatten().cloned();
        std::iter::once(self.first_piece())
            .chain(more)
            .filter(|piece| !piece.is_empty())
    }

    /// The body in one piece, copied only if it has more.
    #[must_use]
    pub fn whole_body(&self) -> Bytes {
        match self.more.as_deref() {
            None => self.first_piece(),
            Some([piece]) if self.octets.len() <= self.body_start() => piece.clone(),
            Some(_) => {
                let mut whole = BytesMut::with_capacity(self.body_size());
                self.body().for_each(|piece| whole.put_slice(piece));
                whole.freeze()
            }
        }
    }

    /// Octets that it keeps in memory if nothing else does. A small message keeps the chunk alive in which it came;
    /// see [`Message::detached`].
    #[must_use]
    pub fn size(&self) -> usize {
        self.octets.len() + self.more.iter().flatten().map(Bytes::len).sum::<usize>()
    }

    /// The same in memory of its own, for a message that stays while those around it go.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self {
            octets: Bytes::copy_from_slice(&self.octets),
            more: self
                .more
                .as_deref()
                .map(|pieces| pieces.iter().map(|piece| Bytes::copy_from_slice(piece)).collect()),
            ..*self
        }
    }

    /// The same body, published otherwise.
    #[must_use]
    pub fn republished(&self, publish: &Publish<'_>, header: Header<'_>) -> Self {
        let pieces: Vec<Bytes> = self.pieces_of_body().collect();
        Self::new(publish, header, &pieces)
    }

    /// The pieces of the body as they can be kept: each with what it is a part of.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = (&Bytes, usize)> {
        let more = self.more.as_deref().unwrap_or_default();
        std::iter::once((&self.octets, self.body_start())).chain(more.iter().map(|piece| (piece, 0)))
    }

    fn first_piece(&self) -> Bytes {
        match self.body_start() < self.octets.len() {
            true => self.octets.slice(self.body_start()..),
            false => Bytes::new(),
        }
    }

    const fn body_start(&self) -> usize {
        self.header_end + OVERHEAD
    }
}

/// Appends what is between a method and its header, and the header; gives where it is.
pub(super) fn append_header(octets: &mut BytesMut, header: &[u8]) -> (usize, usize) {
    octets.put_bytes(0, OVERHEAD);
    let start = octets.len();
    octets.put_slice(header);
    (start, octets.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Properties;

    #[test]
    fn what_a_publisher_wishes_is_found_without_reading_the_rest() {
        let header = Properties::default().header(0);
        for (mandatory, immediate) in [(false, false), (true, false), (false, true), (true, true)] {
            let publish = Publish {
                exchange: b"logs",
                routing_key: b"a.b",
                mandatory,
                immediate,
            };
            let message = Message::new(&publish, Header::read(&header).unwrap(), &[]);
            assert_eq!(
                (message.is_mandatory(), message.is_immediate()),
                (mandatory, immediate)
            );
        }
    }

    #[test]
    fn an_address_is_that_of_one_exchange_and_one_key() {
        let header = Properties::default().header(0);
        let address = |exchange: &str, routing_key: &str, mandatory| {
            let publish = Publish {
                exchange: exchange.as_bytes(),
                routing_key: routing_key.as_bytes(),
                mandatory,
                immediate: false,
            };
            let header = Header::read(&header).unwrap();
            Message::new(&publish, header, &[]).address().to_vec()
        };
        assert_eq!(address("logs", "a.b", false), address("logs", "a.b", true));
        assert_ne!(address("logs", "a.b", false), address("logsa", ".b", false));
        assert_ne!(address("", "logs", false), address("logs", "", false));
        assert_eq!(address("", "", false), [0, 0]);
    }
}
