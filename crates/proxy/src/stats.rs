//! Statistics: how it is going, for people and for programs that know HAProxy's.
//!
//! Everything is written from one picture ([`Statistics::take`], [`Info::take`]): the page, CSV, JSON, typed output
//! and Prometheus agree because they cannot do otherwise.

mod csv;
mod field;
mod history;
mod info;
mod page;
mod prometheus;
mod rows;
mod servers;
mod typed;

pub use csv::{Selection, csv, header, json, typed};
pub use field::{Field, Tags};
pub use history::History;
pub use info::{Former, Info, Item, Process};
pub use page::Site;
pub use prometheus::{EXPOSITION, Family, families, metrics};
pub use rows::{Kind, Look, Row, Statistics, Value};
pub(crate) use servers::result_in_words;
pub use servers::{connection_table, state_table};
pub use typed::schema;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
