//! JSON, which operators write policies and parameters in: how it is kept, and how RabbitMQ shows it in its refusals.

use serde::{Deserialize, Deserializer, Serializer};
pub use serde_json::Value;

/// Settings by name, as in the definition of a policy.
pub type Settings = serde_json::Map<String, Value>;

/// In records and snapshots JSON is its text: their format does not tell what comes next.
pub(crate) fn serialize<T: serde::Serialize, S: Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&serde_json::to_string(value).map_err(serde::ser::Error::custom)?)
}

pub(crate) fn deserialize<'de, T: serde::de::DeserializeOwned, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    serde_json::from_str(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

/// A value as Erlang prints it, which is what RabbitMQ puts into its texts: `<<"all">>`, `-1`, `[{<<"a">>,1}]`.
#[must_use]
pub fn term(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("<<{text:?}>>"),
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(term).collect();
            format!("[{}]", values.join(","))
        }
        Value::Object(settings) => {
            let settings: Vec<String> = settings
                .iter()
                .map(|(name, value)| format!("<<{name:?}>> => {}", term(value)))
                .collect();
            format!("#{{{}}}", settings.join(","))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn values_are_shown_as_erlang_shows_them() {
        for (value, text) in [
            (json!(-1), "-1"),
            (json!("all"), r#"<<"all">>"#),
            (json!(["a", 1, true]), r#"[<<"a">>,1,true]"#),
            (json!({"a": 1}), r#"#{<<"a">> => 1}"#),
        ] {
            assert_eq!(super::term(&value), text);
        }
    }
}
