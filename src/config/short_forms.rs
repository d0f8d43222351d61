//! Values that may be written short or as a table: `"10.0.0.1"` or `{ address = "10.0.0.1", ... }`.
//!
//! serde's `untagged` would read them too, but forgets where the mistake is and says "did not match any variant".
//! These readers look at what is there and leave the complaint to the form that was meant.

use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{
    Address, AddressTable, CheckUse, CheckUseTable, Command, Peer, PeerTable, VirtualMac, VirtualMacTable,
};

/// A type with more than one way to write it; every way it does not have is a type error.
trait ShortForms: Sized {
    const EXPECTED: &'static str;

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        Err(E::invalid_type(serde::de::Unexpected::Str(text), &Self::EXPECTED))
    }

    fn from_switch<E: Error>(switch: bool) -> Result<Self, E> {
        Err(E::invalid_type(
            serde::de::Unexpected::Bool(switch),
            &Self::EXPECTED,
        ))
    }

    fn from_table<'de, A: MapAccess<'de>>(_table: A) -> Result<Self, A::Error> {
        Err(A::Error::invalid_type(
            serde::de::Unexpected::Map,
            &Self::EXPECTED,
        ))
    }

    fn from_list<'de, A: SeqAccess<'de>>(_list: A) -> Result<Self, A::Error> {
        Err(A::Error::invalid_type(
            serde::de::Unexpected::Seq,
            &Self::EXPECTED,
        ))
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

macro_rules! deserialize_by_form {
    ($($type:ty),*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Forms(PhantomData))
            }
        }
    )*};
}

deserialize_by_form!(Address, Peer, VirtualMac, CheckUse, Command);

impl ShortForms for Address {
    const EXPECTED: &'static str = "an address such as \"192.0.2.1/24\", or a table with `address`";

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        Ok(Self::Short(text.to_owned()))
    }

    fn from_table<'de, A: MapAccess<'de>>(table: A) -> Result<Self, A::Error> {
        AddressTable::deserialize(MapAccessDeserializer::new(table)).map(Self::Long)
    }
}

impl ShortForms for Peer {
    const EXPECTED: &'static str = "an address such as \"192.0.2.1\", or a table with `address`";

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        let wrong = |_| {
            E::custom(format!(
                "\"{text}\" is not an IP address: write one such as \"192.0.2.1\", without a prefix length"
            ))
        };
        text.parse::<IpAddr>().map(Self::Short).map_err(wrong)
    }

    fn from_table<'de, A: MapAccess<'de>>(table: A) -> Result<Self, A::Error> {
        PeerTable::deserialize(MapAccessDeserializer::new(table)).map(Self::Long)
    }
}

impl ShortForms for VirtualMac {
    const EXPECTED: &'static str = "true, false, or a table with `name`";

    fn from_switch<E: Error>(switch: bool) -> Result<Self, E> {
        Ok(Self::Switch(switch))
    }

    fn from_table<'de, A: MapAccess<'de>>(table: A) -> Result<Self, A::Error> {
        VirtualMacTable::deserialize(MapAccessDeserializer::new(table)).map(Self::Table)
    }
}

impl ShortForms for CheckUse {
    const EXPECTED: &'static str = "the name of a check, or a table with `check`";

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        Ok(Self::Short(text.to_owned()))
    }

    fn from_table<'de, A: MapAccess<'de>>(table: A) -> Result<Self, A::Error> {
        CheckUseTable::deserialize(MapAccessDeserializer::new(table)).map(Self::Long)
    }
}

impl ShortForms for Command {
    const EXPECTED: &'static str = "a command line, or a list of its words";

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        Ok(Self::Line(text.to_owned()))
    }

    fn from_list<'de, A: SeqAccess<'de>>(list: A) -> Result<Self, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(Self::Words)
    }
}
