//! Values that may be written short or as a table: `"10.0.0.1:5672"` or `{ address = "10.0.0.1:5672", ... }`.
//!
//! serde's `untagged` would read them too, but forgets where the mistake is and says "did not match any variant".
//! This reader looks at what is there and leaves the complaint to the form that was meant.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};

/// A type with more than one way to write it; every way it does not have is a type error.
pub trait ShortForms: Sized {
    /// The ways there are, in words.
    const EXPECTED: &'static str;

    /// # Errors
    /// It is not written so, or what is written is wrong.
    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        Err(E::invalid_type(Unexpected::Str(text), &Self::EXPECTED))
    }

    /// # Errors
    /// It is not written so.
    fn from_switch<E: Error>(switch: bool) -> Result<Self, E> {
        Err(E::invalid_type(Unexpected::Bool(switch), &Self::EXPECTED))
    }

    /// # Errors
    /// It is not written so, or the table is wrong.
    fn from_table<'de, A: MapAccess<'de>>(_table: A) -> Result<Self, A::Error> {
        Err(A::Error::invalid_type(Unexpected::Map, &Self::EXPECTED))
    }

    /// # Errors
    /// It is not written so, or the list is wrong.
    fn from_list<'de, A: SeqAccess<'de>>(_list: A) -> Result<Self, A::Error> {
        Err(A::Error::invalid_type(Unexpected::Seq, &Self::EXPECTED))
    }

    /// What `Deserialize` is to call.
    ///
    /// # Errors
    /// Those of the form that was used.
    fn of_any_form<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Forms(PhantomData))
    }
}

struct Forms<T>(PhantomData<T>);

impl<'de, T: ShortForms> Visitor<'de> for Forms<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::from_text(text)
    }

    fn visit_bool<E: Error>(self, switch: bool) -> Result<T, E> {
        T::from_switch(switch)
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<T, A::Error> {
        T::from_table(table)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<T, A::Error> {
        T::from_list(list)
    }
}
