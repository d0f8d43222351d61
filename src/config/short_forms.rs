//! The values that may be written short or as a table ([`ShortForms`]): `"10.0.0.1"` or `{ address = "10.0.0.1", ... }`.

use std::net::IpAddr;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess};
use warren_kit::config::ShortForms;

use super::{
    Address, AddressTable, CheckUse, CheckUseTable, Command, Peer, PeerTable, VirtualMac, VirtualMacTable,
};

macro_rules! deserialize_by_form {
    ($($type:ty),*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::of_any_form(deserializer)
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
