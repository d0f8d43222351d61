//! One value of a listing. What kind of value a column has is the column's business; here is how it travels and reads.

use serde::{Deserialize, Serialize};

/// A value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Cell {
    /// There is none.
    #[default]
    Nothing,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    /// Tags, and the like.
    Words(Vec<String>),
    /// Arguments of queues, exchanges, bindings; properties of clients.
    Arguments(Vec<Argument>),
}

/// An argument, or one value of a list, which has no name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Argument {
    pub name: String,
    /// RabbitMQ's word for its type: `longstr`, `signedint`, `table`, …
    pub kind: String,
    pub value: Cell,
}

impl Cell {
    /// From a count.
    #[must_use]
    pub fn count(count: u64) -> Self {
        Self::Integer(i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// From a text that may be missing.
    #[must_use]
    pub fn text(text: Option<impl Into<String>>) -> Self {
        text.map_or(Self::Nothing, |text| Self::Text(text.into()))
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Cell {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value_travels() {
        let argument = Argument {
            name: "x-max-length".into(),
            kind: "signedint".into(),
            value: Cell::Integer(5),
        };
        for cell in [
            Cell::Nothing,
            Cell::Bool(true),
            Cell::Integer(-1),
            Cell::Float(0.5),
            Cell::Text("12".into()),
            Cell::Words(vec!["a".into()]),
            Cell::Arguments(vec![argument]),
        ] {
            let text = serde_json::to_string(&cell).unwrap();
            assert_eq!(serde_json::from_str::<Cell>(&text).unwrap(), cell, "{text}");
        }
    }
}
