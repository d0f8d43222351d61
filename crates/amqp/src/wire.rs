//! Reading and writing the elementary types: integers in network order, strings with their lengths.
//!
//! ```text
//!   octet, short, long, long-long   1, 2, 4, 8 octets
//!   short string                    length (1 octet), octets
//!   long string                     length (4 octets), octets
//!   bits                            up to eight in one octet, the first in the lowest place
//! ```

use bytes::{BufMut, Bytes, BytesMut};

use crate::text::ShortString;

/// What is being read is shorter than it says, or says something that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Takes elementary types off a payload. Strings are slices of it.
pub(crate) struct Reader<'a> {
    octets: &'a Bytes,
    at: usize,
    /// The octet of bits that was last read, and how many of them are used.
    bits: Option<(u8, u32)>,
    utf8: bool,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(octets: &'a Bytes) -> Self {
        Self::from(octets, 0)
    }

    /// Begins behind so many octets.
    pub(crate) const fn from(octets: &'a Bytes, at: usize) -> Self {
        Self {
            octets,
            at,
            bits: None,
            utf8: true,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.at >= self.octets.len()
    }

    /// Whether all short strings so far were text.
    pub(crate) const fn is_utf8(&self) -> bool {
        self.utf8
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.bits = None;
        let rest = self.octets.get(self.at..).unwrap_or_default();
        let array = rest.first_chunk().ok_or(Malformed)?;
        self.at += N;
        Ok(*array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn bit(&mut self) -> Result<bool, Malformed> {
        let (octet, used) = match self.bits {
            Some((octet, used)) if used < u8::BITS => (octet, used),
            Some(_) | None => (self.u8()?, 0),
        };
        self.bits = Some((octet, used + 1));
        Ok(octet >> used & 1 == 1)
    }

    pub(crate) fn octets(&mut self, count: usize) -> Result<Bytes, Malformed> {
        self.bits = None;
        let end = self.at.checked_add(count).filter(|end| *end <= self.octets.len());
        let octets = self.octets.slice(self.at..end.ok_or(Malformed)?);
        self.at += count;
        Ok(octets)
    }

    pub(crate) fn short_string(&mut self) -> Result<ShortString, Malformed> {
        let length = self.u8()?;
        let octets = self.octets(length.into())?;
        self.utf8 &= std::str::from_utf8(&octets).is_ok();
        Ok(ShortString::read(octets))
    }

    pub(crate) fn long_string(&mut self) -> Result<Bytes, Malformed> {
        let length = self.u32()?;
        self.octets(usize::try_from(length).map_err(|_| Malformed)?)
    }
}

/// Takes elementary types off octets where they lie. Strings are borrowed.
#[derive(Clone, Copy)]
pub(crate) struct Octets<'a>(pub(crate) &'a [u8]);

impl<'a> Octets<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn short(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.u8()?;
        self.take(length.into())
    }

    pub(crate) fn long(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.u32()?;
        self.take(usize::try_from(length).map_err(|_| Malformed)?)
    }

    /// That there is nothing more.
    pub(crate) const fn end(&self) -> Result<(), Malformed> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(Malformed),
        }
    }
}

/// Appends elementary types to what will be sent.
///
/// Lengths that do not fit are cut short: whoever sends the result measures it first, and refuses far smaller ones.
pub(crate) struct Writer<'a> {
    out: &'a mut BytesMut,
    /// Where the octet of bits is that was last written, and how many of them are used.
    bits: Option<(usize, u32)>,
}

impl<'a> Writer<'a> {
    pub(crate) const fn new(out: &'a mut BytesMut) -> Self {
        Self { out, bits: None }
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.bits = None;
        self.out.put_u8(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.bits = None;
        self.out.put_u16(value);
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.bits = None;
        self.out.put_u32(value);
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.bits = None;
        self.out.put_u64(value);
    }

    pub(crate) fn bit(&mut self, value: bool) {
        let (at, used) = match self.bits {
            Some((at, used)) if used < u8::BITS => (at, used),
            Some(_) | None => {
                self.u8(0);
                (self.out.len() - 1, 0)
            }
        };
        if let Some(octet) = self.out.get_mut(at) {
            *octet |= u8::from(value) << used;
        }
        self.bits = Some((at, used + 1));
    }

    pub(crate) fn octets(&mut self, octets: &[u8]) {
        self.bits = None;
        self.out.put_slice(octets);
    }

    pub(crate) fn short_string(&mut self, text: &ShortString) {
        let octets = text.as_bytes();
        self.u8(u8::try_from(octets.len()).unwrap_or(u8::MAX));
        self.octets(octets);
    }

    pub(crate) fn long_string(&mut self, octets: &[u8]) {
        self.u32(u32::try_from(octets.len()).unwrap_or(u32::MAX));
        self.octets(octets);
    }

    /// What `write` writes, with its length in four octets before it.
    pub(crate) fn with_length(&mut self, write: impl FnOnce(&mut Self)) {
        self.u32(0);
        let start = self.out.len();
        write(self);
        let length = u32::try_from(self.out.len() - start).unwrap_or(u32::MAX);
        if let Some(place) = self.out.get_mut(start - 4..start) {
            place.copy_from_slice(&length.to_be_bytes());
        }
        self.bits = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_share_octets_until_something_else_comes() {
        let mut out = BytesMut::new();
        let mut writer = Writer::new(&mut out);
        for bit in [true, false, true] {
            writer.bit(bit);
        }
        writer.u8(7);
        for _ in 0..9 {
            writer.bit(true);
        }
        assert_eq!(out[..], [0b101, 7, 0xff, 1]);

        let out = out.freeze();
        let mut reader = Reader::new(&out);
        let bits: Vec<_> = (0..3).map(|_| reader.bit().unwrap()).collect();
        assert_eq!(bits, [true, false, true]);
        assert_eq!(reader.u8(), Ok(7));
        assert!((0..9).all(|_| reader.bit() == Ok(true)));
        assert!(reader.is_empty());
        assert_eq!(
            reader.bit().and_then(|_| reader.bit()),
            Ok(false),
            "the rest of the last octet"
        );
    }

    #[test]
    fn a_string_that_says_more_than_there_is_is_malformed() {
        assert_eq!(
            Reader::new(&Bytes::from_static(b"\x03ab")).short_string(),
            Err(Malformed)
        );
        assert_eq!(
            Reader::new(&Bytes::from_static(b"\xff\xff\xff\xffab")).long_string(),
            Err(Malformed)
        );
    }
}
