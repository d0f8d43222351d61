//! Tables in records and snapshots: as they are on the wire, so that every value keeps its letter.

use bytes::{Bytes, BytesMut};
use serde::{Deserializer, Serializer, de::Error as _};
use warren_amqp::Table;

/// The octets of a table, without its length: equal tables have equal octets.
#[must_use]
pub(crate) fn octets(table: &Table) -> Bytes {
    if table.is_empty() {
        return Bytes::new();
    }
    let mut out = BytesMut::new();
    table.encode(&mut out);
    out.split_off(size_of::<u32>()).freeze()
}

pub(crate) fn serialize<S: Serializer>(table: &Table, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(&octets(table))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Table, D::Error> {
    let octets: Vec<u8> = serde::Deserialize::deserialize(deserializer)?;
    Table::decode_entries(Bytes::from(octets)).map_err(D::Error::custom)
}
