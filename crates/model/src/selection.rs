//! Routing keys that a publisher names beside the one of `basic.publish`: the headers `CC` and `BCC`, RabbitMQ's
//! sender-selected distribution. Nobody but the publisher sees `BCC`.

use bytes::Bytes;
use warren_amqp::content::Header;
use warren_amqp::table::ValueView;

use crate::arguments::type_name;

/// The headers, and whether consumers see them.
const HEADERS: [(&str, bool); 2] = [("CC", true), ("BCC", false)];

/// What a publisher named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The keys of `CC`.
    pub open: Vec<Bytes>,
    /// The keys of `BCC`.
    pub blind: Vec<Bytes>,
}

/// One of the headers is no array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid message: {{unacceptable_type_in_header,\"{header}\",{kind}}}")]
pub struct InvalidSelection {
    header: &'static str,
    kind: &'static str,
}

impl Selection {
    /// What a header says; nothing if it has neither `CC` nor `BCC`, as nearly all. As in RabbitMQ, what is no text among
    /// the keys does not count.
    ///
    /// # Errors
    /// One of them is no array.
    pub fn of(header: Header<'_>) -> Result<Option<Self>, InvalidSelection> {
        let Some(headers) = header.headers() else {
            return Ok(None);
        };
        let mut found: Option<Self> = None;
        for (name, open) in HEADERS {
            let Some(value) = headers.get(name) else {
                continue;
            };
            let selection = found.get_or_insert_default();
            let ValueView::Array(keys) = value else {
                let kind = value.to_value().map_or("unknown", |value| type_name(&value));
                return Err(InvalidSelection { header: name, kind });
            };
            let keys = keys
                .iter()
                .filter_map(ValueView::text)
                .map(Bytes::copy_from_slice);
            match open {
                true => selection.open.extend(keys),
                false => selection.blind.extend(keys),
            }
        }
        Ok(found)
    }

    /// All keys.
    #[must_use]
    pub fn keys(&self) -> Vec<Bytes> {
        self.open.iter().chain(&self.blind).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use warren_amqp::content::Properties;
    use warren_amqp::{Table, Value};

    use super::*;

    fn of(headers: Table) -> Result<Option<Selection>, InvalidSelection> {
        let properties = Properties {
            headers: Some(headers),
            ..Properties::default()
        };
        Selection::of(Header::read(&properties.header(0)).unwrap())
    }

    #[test]
    fn keys_are_the_texts_of_both_arrays() {
        let array = |keys: &[&str]| Value::Array(keys.iter().map(|key| Value::text(key)).collect());
        let mixed = Value::Array(vec![Value::text("b"), Value::I32(7), Value::text("c")]);
        let found = of(Table::new().with("CC", array(&["a"])).with("BCC", mixed))
            .unwrap()
            .unwrap();
        assert_eq!(found.keys(), ["a", "b", "c"]);
        assert_eq!((found.open.len(), found.blind.len()), (1, 2));
        assert_eq!(of(Table::new().with("cc", Value::I32(1))), Ok(None));
    }

    #[test]
    fn what_is_no_array_is_refused_in_the_words_of_rabbitmq() {
        let wrong = of(Table::new().with("CC", Value::text("a"))).unwrap_err();
        assert_eq!(
            wrong.to_string(),
            "invalid message: {unacceptable_type_in_header,\"CC\",longstr}"
        );
    }
}
