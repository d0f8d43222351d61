//! Reading field tables, within limits.

use bytes::Bytes;
use thiserror::Error;

use super::{DEPTH_MAX, Table, VALUES_MAX, Value};
use crate::wire::{Malformed, Reader};

/// A table that is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidTable {
    /// A length that goes beyond the end, or a value that is cut.
    #[error("the table ends in the middle of a value: the peer has to send lengths that are true")]
    Cut,
    /// No type has this letter.
    #[error("a value has the type {0:#04x}, which is none of RabbitMQ's letters: send one of those")]
    UnknownLetter(u8),
    /// Tables and arrays within each other, too many.
    #[error("tables and arrays are more than {DEPTH_MAX} deep in one another: send flatter ones")]
    TooDeep,
    /// Values, too many.
    #[error("the table has more than {VALUES_MAX} values: send fewer")]
    TooMany,
}

impl From<Malformed> for InvalidTable {
    fn from(_: Malformed) -> Self {
        Self::Cut
    }
}

impl Table {
    /// Reads what follows the length.
    pub fn decode_entries(octets: Bytes) -> Result<Self, InvalidTable> {
        Budget {
            depth: DEPTH_MAX,
            values: VALUES_MAX,
        }
        .table(&octets)
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, InvalidTable> {
        Self::decode_entries(reader.long_string()?)
    }
}

/// What is left of the limits.
struct Budget {
    depth: usize,
    values: usize,
}

impl Budget {
    fn table(&mut self, octets: &Bytes) -> Result<Table, InvalidTable> {
        self.deeper(|budget| {
            let (mut reader, mut entries) = (Reader::new(octets), Vec::new());
            while !reader.is_empty() {
                let name = reader.short_string()?;
                entries.push((name, budget.value(&mut reader)?));
            }
            Ok(Table(entries))
        })
    }

    fn array(&mut self, octets: &Bytes) -> Result<Vec<Value>, InvalidTable> {
        self.deeper(|budget| {
            let (mut reader, mut values) = (Reader::new(octets), Vec::new());
            while !reader.is_empty() {
                values.push(budget.value(&mut reader)?);
            }
            Ok(values)
        })
    }

    fn deeper<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, InvalidTable>,
    ) -> Result<T, InvalidTable> {
        self.depth = self.depth.checked_sub(1).ok_or(InvalidTable::TooDeep)?;
        let result = read(self);
        self.depth += 1;
        result
    }

    fn value(&mut self, reader: &mut Reader<'_>) -> Result<Value, InvalidTable> {
        self.values = self.values.checked_sub(1).ok_or(InvalidTable::TooMany)?;
        Ok(match reader.u8()? {
            b't' => Value::Bool(reader.u8()? != 0),
            b'b' => Value::I8(reader.u8()?.cast_signed()),
            b'B' => Value::U8(reader.u8()?),
            b's' => Value::I16(reader.u16()?.cast_signed()),
            b'u' => Value::U16(reader.u16()?),
            b'I' => Value::I32(reader.u32()?.cast_signed()),
            b'i' => Value::U32(reader.u32()?),
            b'l' => Value::I64(reader.u64()?.cast_signed()),
            b'L' => Value::I64L(reader.u64()?.cast_signed()),
            b'f' => Value::F32(f32::from_bits(reader.u32()?)),
            b'd' => Value::F64(f64::from_bits(reader.u64()?)),
            b'D' => Value::Decimal {
                scale: reader.u8()?,
                value: reader.u32()?,
            },
            b'S' => Value::Text(reader.long_string()?),
            b'x' => Value::Octets(reader.long_string()?),
            b'T' => Value::Timestamp(reader.u64()?),
            b'A' => Value::Array(self.array(&reader.long_string()?)?),
            b'F' => Value::Table(self.table(&reader.long_string()?)?),
            b'V' => Value::Void,
            letter => return Err(InvalidTable::UnknownLetter(letter)),
        })
    }
}
