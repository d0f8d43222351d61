//! Field tables: named values of any type, as in arguments, headers and what peers say about themselves.
//!
//! ```text
//!   table   length (4 octets), then until it is used up:  name (short string), value
//!   array   length (4 octets), then until it is used up:  value
//!   value   letter (1 octet), then by the letter:
//!
//!     t  bit in an octet      b  signed 8        B  unsigned 8       S  long string      A  array
//!     f  float 32             s  signed 16       u  unsigned 16      x  octets           F  table
//!     d  float 64             I  signed 32       i  unsigned 32      T  seconds, 64      V  nothing
//!     D  scale 8, value 32    l  signed 64       L  signed 64
//! ```
//!
//! The letters are RabbitMQ's, which are not those of the specification. Every value keeps the letter it came with and
//! entries keep their order, so that a table leaves as it came. Strings and names are slices of what was read.

mod decode;
mod view;

use bytes::{Bytes, BytesMut};

use crate::text::ShortString;
use crate::wire::Writer;

pub use decode::InvalidTable;
pub use view::{ArrayView, Plain, TableView, ValueView};

/// How deep tables and arrays may be in one another.
pub const DEPTH_MAX: usize = 32;
/// How many values a table may have, with all that is in it. A value takes many times the room of its octets.
pub const VALUES_MAX: usize = 16_384;

/// One value, with the letter that it has on the wire.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `t`
    Bool(bool),
    /// `b`
    I8(i8),
    /// `B`
    U8(u8),
    /// `s`
    I16(i16),
    /// `u`
    U16(u16),
    /// `I`
    I32(i32),
    /// `i`
    U32(u32),
    /// `l`
    I64(i64),
    /// `L`, the same in other letters: some clients say it so.
    I64L(i64),
    /// `f`
    F32(f32),
    /// `d`
    F64(f64),
    /// `D`: the value divided by ten to the power of the scale.
    Decimal {
        /// Places after the point.
        scale: u8,
        /// The number without a point.
        value: u32,
    },
    /// `S`, text or not.
    Text(Bytes),
    /// `x`
    Octets(Bytes),
    /// `T`, seconds since 1970.
    Timestamp(u64),
    /// `A`
    Array(Vec<Self>),
    /// `F`
    Table(Table),
    /// `V`
    Void,
}

impl Value {
    /// A text.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::Text(Bytes::copy_from_slice(text.as_bytes()))
    }

    const fn letter(&self) -> u8 {
        match self {
            Self::Bool(_) => b't',
            Self::I8(_) => b'b',
            Self::U8(_) => b'B',
            Self::I16(_) => b's',
            Self::U16(_) => b'u',
            Self::I32(_) => b'I',
            Self::U32(_) => b'i',
            Self::I64(_) => b'l',
            Self::I64L(_) => b'L',
            Self::F32(_) => b'f',
            Self::F64(_) => b'd',
            Self::Decimal { .. } => b'D',
            Self::Text(_) => b'S',
            Self::Octets(_) => b'x',
            Self::Timestamp(_) => b'T',
            Self::Array(_) => b'A',
            Self::Table(_) => b'F',
            Self::Void => b'V',
        }
    }

    pub(crate) fn write(&self, out: &mut Writer<'_>) {
        out.u8(self.letter());
        match self {
            Self::Bool(value) => out.u8((*value).into()),
            Self::I8(value) => out.octets(&value.to_be_bytes()),
            Self::U8(value) => out.u8(*value),
            Self::I16(value) => out.octets(&value.to_be_bytes()),
            Self::U16(value) => out.u16(*value),
            Self::I32(value) => out.octets(&value.to_be_bytes()),
            Self::U32(value) => out.u32(*value),
            Self::I64(value) | Self::I64L(value) => out.octets(&value.to_be_bytes()),
            Self::F32(value) => out.octets(&value.to_be_bytes()),
            Self::F64(value) => out.octets(&value.to_be_bytes()),
            Self::Decimal { scale, value } => {
                out.u8(*scale);
                out.u32(*value);
            }
            Self::Text(octets) | Self::Octets(octets) => out.long_string(octets),
            Self::Timestamp(seconds) => out.u64(*seconds),
            Self::Array(values) => out.with_length(|out| values.iter().for_each(|value| value.write(out))),
            Self::Table(table) => table.write(out),
            Self::Void => {}
        }
    }
}

/// Named values in the order in which they came. A name may come twice; the first counts, as it does in RabbitMQ.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table(Vec<(ShortString, Value)>);

impl Table {
    /// With nothing in it.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Appends a value.
    pub fn push(&mut self, name: ShortString, value: Value) {
        self.0.push((name, value));
    }

    /// With one more value, for tables made in one expression.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: Value) -> Self {
        self.push(ShortString::from_static(name), value);
        self
    }

    /// The value of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.iter()
            .find(|(key, _)| **key == *name)
            .map(|(_, value)| value)
    }

    /// The text of this name, if it is a long string.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        match self.get(name) {
            Some(Value::Text(octets)) => Some(String::from_utf8_lossy(octets).into_owned()),
            Some(_) | None => None,
        }
    }

    /// Whether a peer says that it can do this, in the table `capabilities` among its properties.
    #[must_use]
    pub fn can(&self, capability: &str) -> bool {
        match self.get("capabilities") {
            Some(Value::Table(table)) => table.get(capability) == Some(&Value::Bool(true)),
            Some(_) | None => false,
        }
    }

    /// All of it, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&ShortString, &Value)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// How many names it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends it, with its length, to what will be sent.
    pub fn encode(&self, out: &mut BytesMut) {
        self.write(&mut Writer::new(out));
    }

    pub(crate) fn write(&self, out: &mut Writer<'_>) {
        out.with_length(|out| self.write_entries(out));
    }

    /// Without the length: this is how AMQPLAIN says who logs in.
    pub(crate) fn write_entries(&self, out: &mut Writer<'_>) {
        for (name, value) in &self.0 {
            out.short_string(name);
            value.write(out);
        }
    }
}

impl FromIterator<(ShortString, Value)> for Table {
    fn from_iter<I: IntoIterator<Item = (ShortString, Value)>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

#[cfg(test)]
mod tests;
