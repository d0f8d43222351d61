//! Arguments made of any octets, so that a property can be asked of every method there is.

use bytes::Bytes;

use crate::table::{Table, Value};
use crate::text::ShortString;

/// Octets that arguments are made of; zeros when they are used up.
pub(crate) struct Seed(pub(crate) Vec<u8>);

impl Seed {
    fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.0.pop().unwrap_or_default())
    }

    pub(super) fn u8(&mut self) -> u8 {
        u8::from_be_bytes(self.array())
    }

    pub(super) fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.array())
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.array())
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.array())
    }

    pub(super) fn bit(&mut self) -> bool {
        self.u8() & 1 == 1
    }

    pub(super) fn short_string(&mut self) -> ShortString {
        let length = self.u8();
        let text: Vec<u8> = (0..length).map(|_| b'a' + self.u8() % 26).collect();
        ShortString::try_from(Bytes::from(text)).unwrap()
    }

    pub(super) fn long_string(&mut self) -> Bytes {
        let length = self.u8();
        (0..length).map(|_| self.u8()).collect()
    }

    pub(super) fn table(&mut self) -> Table {
        let count = self.u8() % 4;
        (0..count)
            .map(|_| {
                let value = match self.u8() % 4 {
                    0 => Value::I32(self.u32().cast_signed()),
                    1 => Value::Text(self.long_string()),
                    2 => Value::Bool(self.bit()),
                    _ => Value::Array(vec![Value::Void, Value::Timestamp(self.u64())]),
                };
                (self.short_string(), value)
            })
            .collect()
    }
}
