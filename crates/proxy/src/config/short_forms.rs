//! The values that may be written short or as a table ([`ShortForms`]): `"10.0.0.1:5672"` or `{ address = "10.0.0.1:5672", ... }`.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer, StrDeserializer};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use toml::Spanned;
use warren_kit::config::ShortForms;

use super::file::{
    Bind, BindTable, CheckTable, CheckUse, ForwardForTable, ForwardForUse, KeepaliveTable, KeepaliveUse,
    RebalanceTable, RebalanceUse, Server, ServerTlsTable, ServerTlsUse, ServerUse, Servers, Socket,
    SocketTable, StatsTable, StatsUse,
};
use super::named::Named;

/// `$type: Variant of a table` plus `text` or `switch` for its short form.
macro_rules! short_forms {
    ($($type:ident { $expected:literal, table $table:ident as $long:ident, $($form:ident as $short:ident),+ })+) => {$(
        impl ShortForms for $type {
            const EXPECTED: &'static str = $expected;

            $(short_forms!(@$form $short);)+

            fn from_table<'de, A: MapAccess<'de>>(table: A) -> Result<Self, A::Error> {
                $table::deserialize(MapAccessDeserializer::new(table)).map(|table| Self::$long(table.into()))
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::of_any_form(deserializer)
            }
        }
    )+};
    (@text $short:ident) => {
        fn from_text<E: Error>(text: &str) -> Result<Self, E> {
            Ok(Self::$short(text.to_owned()))
        }
    };
    (@switch $short:ident) => {
        fn from_switch<E: Error>(switch: bool) -> Result<Self, E> {
            Ok(Self::$short(switch))
        }
    };
}

short_forms! {
    Socket { "a path, or a table with `address`", table SocketTable as Long, text as Short }
    Bind { "an address such as \"*:5672\", or a table with `address`", table BindTable as Long, text as Short }
    StatsUse { "true, false, or a table", table StatsTable as Table, switch as Switch }
    ForwardForUse { "true, false, or a table", table ForwardForTable as Table, switch as Switch }
    KeepaliveUse { "true, false, or a table", table KeepaliveTable as Table, switch as Switch }
    ServerTlsUse { "true, false, or a table", table ServerTlsTable as Table, switch as Switch }
    RebalanceUse { "true, false, or a table", table RebalanceTable as Table, switch as Switch }
    CheckUse {
        "true, false, a word such as \"amqp\", or a table", table CheckTable as Table, switch as Switch, text as Kind
    }
}

impl Serialize for ServerUse {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Short(address) => address.get_ref().serialize(serializer),
            Self::Long(server) => server.serialize(serializer),
        }
    }
}

/// A server, with the place of a short form's text.
struct Placed(Spanned<Entry>);

enum Entry {
    Address(String),
    Table(Box<Server>),
}

impl ShortForms for Entry {
    const EXPECTED: &'static str = "an address such as \"10.0.0.1:5672\", or a table with `address`";

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        Ok(Self::Address(text.to_owned()))
    }

    fn from_table<'de, A: MapAccess<'de>>(table: A) -> Result<Self, A::Error> {
        Server::deserialize(MapAccessDeserializer::new(table)).map(|server| Self::Table(server.into()))
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::of_any_form(deserializer)
    }
}

impl<'de> Deserialize<'de> for Placed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(Self)
    }
}

impl Placed {
    fn into_use(self) -> ServerUse {
        let span = self.0.span();
        match self.0.into_inner() {
            Entry::Address(text) => ServerUse::Short(Spanned::new(span, text)),
            Entry::Table(server) => ServerUse::Long(server),
        }
    }
}

impl ShortForms for Servers {
    const EXPECTED: &'static str = "a table of names and addresses, or a list of addresses";

    fn from_table<'de, A: MapAccess<'de>>(table: A) -> Result<Self, A::Error> {
        let Named(entries) = Named::<Placed>::from_map(table)?;
        let named = entries.into_iter().map(|(name, entry)| (name, entry.into_use()));
        Ok(Self(Named(named.collect())))
    }

    /// Without names of their own they are called what they are.
    fn from_list<'de, A: SeqAccess<'de>>(list: A) -> Result<Self, A::Error> {
        let addresses: Vec<Spanned<String>> = Vec::deserialize(SeqAccessDeserializer::new(list))?;
        let host = |address: &str| {
            address
                .rsplit_once(':')
                .map_or(address, |(host, _)| host)
                .to_owned()
        };
        let hosts: Vec<String> = addresses.iter().map(|address| host(address.get_ref())).collect();
        let unique = |name: &String| hosts.iter().filter(|other| *other == name).count() == 1;
        let named = addresses.iter().zip(&hosts).map(|(address, host)| {
            let name = if unique(host) { host } else { address.get_ref() };
            let name = Spanned::new(address.span(), name.clone());
            (name, ServerUse::Short(address.clone()))
        });
        Ok(Self(Named(named.collect())))
    }
}

impl<'de> Deserialize<'de> for Servers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::of_any_form(deserializer)
    }
}

/// One value, or a list of them.
pub(super) fn one_or_more<'de, D, T>(deserializer: D) -> Result<Vec<Spanned<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let value = Spanned::<OneOrMore<T>>::deserialize(deserializer)?;
    let span = value.span();
    Ok(match value.into_inner() {
        OneOrMore::One(one) => vec![Spanned::new(span, one)],
        OneOrMore::More(more) => more,
    })
}

enum OneOrMore<T> {
    One(T),
    More(Vec<Spanned<T>>),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMore<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = OneOrMore<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value, or a list of such")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                T::deserialize(StrDeserializer::new(text)).map(OneOrMore::One)
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(table)).map(OneOrMore::One)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(OneOrMore::More)
            }
        }

        deserializer.deserialize_any(Either(PhantomData))
    }
}
