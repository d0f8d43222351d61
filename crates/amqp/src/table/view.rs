//! Field tables read where they lie, for who wants one value of many and no copy of any.

use bytes::Bytes;

use super::{DEPTH_MAX, InvalidTable, Table, VALUES_MAX, Value};
use crate::wire::Octets;

/// The entries of a table, without its length. What cannot be read ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableView<'a> {
    entries: &'a [u8],
}

/// The values of an array, without its length. What cannot be read ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArrayView<'a> {
    values: &'a [u8],
}

/// A [`Value`] that borrows its octets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueView<'a> {
    /// Any value that is not one of the following.
    Plain(Plain),
    /// `S`, text or not.
    Text(&'a [u8]),
    /// `x`
    Octets(&'a [u8]),
    /// `A`
    Array(ArrayView<'a>),
    /// `F`
    Table(TableView<'a>),
}

/// A value of a fixed size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Plain {
    /// `t`
    Bool(bool),
    /// `b`, `s`, `I`, `l`, `L`, and `B`, `u`, `i`: any integer, with its letter.
    Integer(u8, i64),
    /// `f`
    F32(f32),
    /// `d`
    F64(f64),
    /// `D`: scale and value.
    Decimal(u8, u32),
    /// `T`, seconds since 1970.
    Timestamp(u64),
    /// `V`
    Void,
}

impl<'a> TableView<'a> {
    /// Of a table's entries, which need not have been checked.
    #[must_use]
    pub const fn new(entries: &'a [u8]) -> Self {
        Self { entries }
    }

    /// The octets, without the length.
    #[must_use]
    pub const fn entries(self) -> &'a [u8] {
        self.entries
    }

    /// Whether all of it can be read, within the limits that [`Table::decode_entries`] has.
    pub fn check(self) -> Result<(), InvalidTable> {
        let mut budget = Budget { values: VALUES_MAX };
        budget.table(self.entries, DEPTH_MAX)
    }

    /// All of it, in order.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], ValueView<'a>)> {
        let mut rest = Octets(self.entries);
        std::iter::from_fn(move || {
            let name = rest.short().ok()?;
            Some((name, ValueView::read(&mut rest).ok()?))
        })
    }

    /// The value of this name; of several the first.
    #[must_use]
    pub fn get(self, name: &str) -> Option<ValueView<'a>> {
        self.iter()
            .find(|(key, _)| *key == name.as_bytes())
            .map(|(_, value)| value)
    }

    /// The same as values, copied.
    pub fn to_table(self) -> Result<Table, InvalidTable> {
        Table::decode_entries(Bytes::copy_from_slice(self.entries))
    }

    /// Each entry with its name and all of its octets.
    pub(crate) fn raw(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut rest = self.entries;
        std::iter::from_fn(move || {
            let mut octets = Octets(rest);
            let name = octets.short().ok()?;
            ValueView::read(&mut octets).ok()?;
            let (entry, after) = rest.split_at_checked(rest.len() - octets.0.len())?;
            rest = after;
            Some((name, entry))
        })
    }
}

impl<'a> ArrayView<'a> {
    /// All of it, in order.
    pub fn iter(self) -> impl Iterator<Item = ValueView<'a>> {
        let mut rest = Octets(self.values);
        std::iter::from_fn(move || match rest.0 {
            [] => None,
            _ => ValueView::read(&mut rest).ok(),
        })
    }
}

impl<'a> ValueView<'a> {
    fn read(octets: &mut Octets<'a>) -> Result<Self, InvalidTable> {
        Ok(match octets.u8()? {
            b'S' => Self::Text(octets.long()?),
            b'x' => Self::Octets(octets.long()?),
            b'A' => Self::Array(ArrayView {
                values: octets.long()?,
            }),
            b'F' => Self::Table(TableView::new(octets.long()?)),
            letter => Self::Plain(Plain::read(letter, octets)?),
        })
    }

    /// The octets of a text.
    #[must_use]
    pub const fn text(self) -> Option<&'a [u8]> {
        match self {
            Self::Text(text) => Some(text),
            Self::Plain(_) | Self::Octets(_) | Self::Array(_) | Self::Table(_) => None,
        }
    }

    /// An integer of any letter.
    #[must_use]
    pub const fn integer(self) -> Option<i64> {
        match self {
            Self::Plain(Plain::Integer(_, value)) => Some(value),
            Self::Plain(_) | Self::Text(_) | Self::Octets(_) | Self::Array(_) | Self::Table(_) => None,
        }
    }

    /// The same as a value, copied.
    pub fn to_value(self) -> Result<Value, InvalidTable> {
        Ok(match self {
            Self::Plain(plain) => plain.to_value(),
            Self::Text(text) => Value::Text(Bytes::copy_from_slice(text)),
            Self::Octets(octets) => Value::Octets(Bytes::copy_from_slice(octets)),
            Self::Array(array) => {
                let values: Result<_, _> = array.iter().map(Self::to_value).collect();
                Value::Array(values?)
            }
            Self::Table(table) => Value::Table(table.to_table()?),
        })
    }
}

impl Plain {
    fn read(letter: u8, octets: &mut Octets<'_>) -> Result<Self, InvalidTable> {
        let integer = |value: i64| Self::Integer(letter, value);
        Ok(match letter {
            b't' => Self::Bool(octets.u8()? != 0),
            b'b' => integer(octets.u8()?.cast_signed().into()),
            b'B' => integer(octets.u8()?.into()),
            b's' => integer(octets.u16()?.cast_signed().into()),
            b'u' => integer(octets.u16()?.into()),
            b'I' => integer(octets.u32()?.cast_signed().into()),
            b'i' => integer(octets.u32()?.into()),
            b'l' | b'L' => integer(octets.u64()?.cast_signed()),
            b'f' => Self::F32(f32::from_bits(octets.u32()?)),
            b'd' => Self::F64(f64::from_bits(octets.u64()?)),
            b'D' => Self::Decimal(octets.u8()?, octets.u32()?),
            b'T' => Self::Timestamp(octets.u64()?),
            b'V' => Self::Void,
            letter => return Err(InvalidTable::UnknownLetter(letter)),
        })
    }

    fn to_value(self) -> Value {
        match self {
            Self::Bool(value) => Value::Bool(value),
            Self::Integer(letter, value) => Self::integer(letter, value),
            Self::F32(value) => Value::F32(value),
            Self::F64(value) => Value::F64(value),
            Self::Decimal(scale, value) => Value::Decimal { scale, value },
            Self::Timestamp(seconds) => Value::Timestamp(seconds),
            Self::Void => Value::Void,
        }
    }

    /// With a value that has been read with this letter, no conversion fails.
    fn integer(letter: u8, value: i64) -> Value {
        match letter {
            b'b' => Value::I8(value.try_into().unwrap_or_default()),
            b'B' => Value::U8(value.try_into().unwrap_or_default()),
            b's' => Value::I16(value.try_into().unwrap_or_default()),
            b'u' => Value::U16(value.try_into().unwrap_or_default()),
            b'I' => Value::I32(value.try_into().unwrap_or_default()),
            b'i' => Value::U32(value.try_into().unwrap_or_default()),
            b'L' => Value::I64L(value),
            _ => Value::I64(value),
        }
    }
}

/// What is left of the limit on values.
struct Budget {
    values: usize,
}

impl Budget {
    fn table(&mut self, entries: &[u8], depth: usize) -> Result<(), InvalidTable> {
        let depth = depth.checked_sub(1).ok_or(InvalidTable::TooDeep)?;
        let mut octets = Octets(entries);
        while octets.end().is_err() {
            octets.short()?;
            self.value(&mut octets, depth)?;
        }
        Ok(())
    }

    fn array(&mut self, values: &[u8], depth: usize) -> Result<(), InvalidTable> {
        let depth = depth.checked_sub(1).ok_or(InvalidTable::TooDeep)?;
        let mut octets = Octets(values);
        while octets.end().is_err() {
            self.value(&mut octets, depth)?;
        }
        Ok(())
    }

    fn value(&mut self, octets: &mut Octets<'_>, depth: usize) -> Result<(), InvalidTable> {
        self.values = self.values.checked_sub(1).ok_or(InvalidTable::TooMany)?;
        match ValueView::read(octets)? {
            ValueView::Table(table) => self.table(table.entries, depth),
            ValueView::Array(array) => self.array(array.values, depth),
            ValueView::Plain(_) | ValueView::Text(_) | ValueView::Octets(_) => Ok(()),
        }
    }
}
