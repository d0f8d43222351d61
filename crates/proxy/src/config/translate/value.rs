//! What serde says of the file types, kept in their order: a tree of TOML values.

use std::fmt;

use serde::ser::{self, Serialize};

/// A TOML value whose tables keep their order.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Bool(bool),
    Integer(i64),
    Text(String),
    List(Vec<Self>),
    Table(Vec<(String, Self)>),
}

impl Value {
    /// What a type of the file says. `None` if it says nothing.
    pub(super) fn of<T: Serialize>(value: &T) -> Result<Option<Self>, NoForm> {
        value.serialize(Builder)
    }

    /// The entry of that name, taken out.
    pub(super) fn remove(&mut self, key: &str) -> Option<Self> {
        let Self::Table(entries) = self else { return None };
        let index = entries.iter().position(|(name, _)| name == key)?;
        Some(entries.remove(index).1)
    }

    /// The entry of that name.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let Self::Table(entries) = self else { return None };
        entries
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value)
    }
}

/// Something that TOML cannot express.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NoForm(String);

impl ser::Error for NoForm {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

struct Builder;

type Built = Result<Option<Value>, NoForm>;

fn none(what: &str) -> NoForm {
    NoForm(format!("{what} has no form in TOML"))
}

fn integer<T: TryInto<i64>>(value: T) -> Built {
    value
        .try_into()
        .map(|number| Some(Value::Integer(number)))
        .map_err(|_| none("such a number"))
}

impl ser::Serializer for Builder {
    type Ok = Option<Value>;
    type Error = NoForm;
    type SerializeSeq = List;
    type SerializeTuple = List;
    type SerializeTupleStruct = List;
    type SerializeTupleVariant = ser::Impossible<Option<Value>, NoForm>;
    type SerializeMap = Table;
    type SerializeStruct = Table;
    type SerializeStructVariant = ser::Impossible<Option<Value>, NoForm>;

    fn serialize_bool(self, value: bool) -> Built {
        Ok(Some(Value::Bool(value)))
    }

    fn serialize_i8(self, value: i8) -> Built {
        integer(value)
    }

    fn serialize_i16(self, value: i16) -> Built {
        integer(value)
    }

    fn serialize_i32(self, value: i32) -> Built {
        integer(value)
    }

    fn serialize_i64(self, value: i64) -> Built {
        integer(value)
    }

    fn serialize_u8(self, value: u8) -> Built {
        integer(value)
    }

    fn serialize_u16(self, value: u16) -> Built {
        integer(value)
    }

    fn serialize_u32(self, value: u32) -> Built {
        integer(value)
    }

    fn serialize_u64(self, value: u64) -> Built {
        integer(value)
    }

    fn serialize_f32(self, _: f32) -> Built {
        Err(none("a fraction"))
    }

    fn serialize_f64(self, _: f64) -> Built {
        Err(none("a fraction"))
    }

    fn serialize_char(self, value: char) -> Built {
        Ok(Some(Value::Text(value.to_string())))
    }

    fn serialize_str(self, value: &str) -> Built {
        Ok(Some(Value::Text(value.to_owned())))
    }

    fn serialize_bytes(self, _: &[u8]) -> Built {
        Err(none("a text that is none"))
    }

    fn serialize_none(self) -> Built {
        Ok(None)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Built {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Built {
        Ok(None)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Built {
        Ok(None)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Built {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Built {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Built {
        Err(none("a variant with a value"))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<List, NoForm> {
        Ok(List(Vec::new()))
    }

    fn serialize_tuple(self, _: usize) -> Result<List, NoForm> {
        Ok(List(Vec::new()))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<List, NoForm> {
        Ok(List(Vec::new()))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, NoForm> {
        Err(none("a variant with values"))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Table, NoForm> {
        Ok(Table::default())
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Table, NoForm> {
        Ok(Table::default())
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, NoForm> {
        Err(none("a variant with fields"))
    }
}

struct List(Vec<Value>);

impl ser::SerializeSeq for List {
    type Ok = Option<Value>;
    type Error = NoForm;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NoForm> {
        self.0.extend(value.serialize(Builder)?);
        Ok(())
    }

    fn end(self) -> Built {
        Ok(Some(Value::List(self.0)))
    }
}

impl ser::SerializeTuple for List {
    type Ok = Option<Value>;
    type Error = NoForm;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NoForm> {
        ser::SerializeSeq::serialize_element(self, value)
    }

    fn end(self) -> Built {
        ser::SerializeSeq::end(self)
    }
}

impl ser::SerializeTupleStruct for List {
    type Ok = Option<Value>;
    type Error = NoForm;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NoForm> {
        ser::SerializeSeq::serialize_element(self, value)
    }

    fn end(self) -> Built {
        ser::SerializeSeq::end(self)
    }
}

#[derive(Default)]
struct Table {
    entries: Vec<(String, Value)>,
    key: String,
}

impl ser::SerializeMap for Table {
    type Ok = Option<Value>;
    type Error = NoForm;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), NoForm> {
        match key.serialize(Builder)? {
            Some(Value::Text(key)) => self.key = key,
            _ => return Err(none("a key that is no text")),
        }
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NoForm> {
        let key = std::mem::take(&mut self.key);
        self.entries
            .extend(value.serialize(Builder)?.map(|value| (key, value)));
        Ok(())
    }

    fn end(self) -> Built {
        Ok(Some(Value::Table(self.entries)))
    }
}

impl ser::SerializeStruct for Table {
    type Ok = Option<Value>;
    type Error = NoForm;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), NoForm> {
        self.entries
            .extend(value.serialize(Builder)?.map(|value| (key.to_owned(), value)));
        Ok(())
    }

    fn end(self) -> Built {
        Ok(Some(Value::Table(self.entries)))
    }
}
