//! A single value as typed output and as JSON, which `show stat` and `show info` share; and the schema of the latter.

use std::fmt::Write as _;

use super::field::Tags;
use super::rows::Value;

impl Value {
    /// `u32`, `str` and the like; empty if there is no value.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Empty => "",
            Self::U32(_) => "u32",
            Self::U64(_) => "u64",
            Self::S32(_) => "s32",
            Self::Text(_) => "str",
        }
    }

    fn json(&self) -> serde_json::Value {
        match self {
            Self::Empty => serde_json::Value::Null,
            Self::U32(number) => (*number).into(),
            Self::U64(number) => (*number).into(),
            Self::S32(number) => (*number).into(),
            Self::Text(text) => text.as_ref().into(),
        }
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => Ok(()),
            Self::U32(number) => number.fmt(f),
            Self::U64(number) => number.fmt(f),
            Self::S32(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// `name.1:MGP:u32:5`, without what stands before and after.
pub(super) fn write_line(text: &mut String, name: &str, tags: Tags, value: &Value) {
    let _ = write!(text, "{name}.1:{}:{}:{value}", tags.letters(), value.kind());
}

/// The inside of a JSON object; `None` if there is no value.
pub(super) fn item(place: usize, name: &str, tags: Tags, value: &Value) -> Option<String> {
    if *value == Value::Empty {
        return None;
    }
    let [origin, nature, scope] = tags.words();
    Some(format!(
        "\"field\":{{\"pos\":{place},\"name\":\"{name}\"}},\"processNum\":1,\
         \"tags\":{{\"origin\":\"{origin}\",\"nature\":\"{nature}\",\"scope\":\"{scope}\"}},\
         \"value\":{{\"type\":\"{}\",\"value\":{}}}",
        value.kind(),
        value.json()
    ))
}

/// `show schema json`, `;json-schema`.
#[must_use]
pub fn schema() -> String {
    let number = |kind: &str, least: i64, most: u64| {
        serde_json::json!({
            "properties": {
                "type": {"type": "string", "enum": [kind]},
                "value": {"type": "integer", "minimum": least, "maximum": most},
            },
            "required": ["type", "value"],
        })
    };
    let reference = |name: &str| serde_json::json!({"$ref": format!("#/definitions/{name}")});
    let common = |extra: &[(&str, serde_json::Value)], required: &[&str]| {
        let mut properties = serde_json::Map::new();
        for (name, value) in extra {
            properties.insert((*name).to_owned(), value.clone());
        }
        for (name, definition) in [
            ("field", "field"),
            ("processNum", "processNum"),
            ("tags", "tags"),
            ("value", "typedValue"),
        ] {
            properties.insert(name.to_owned(), reference(definition));
        }
        serde_json::json!({"title": "InfoItem", "type": "object", "properties": properties, "required": required})
    };
    let index = serde_json::json!({"type": "integer", "minimum": 0});
    let kinds = serde_json::json!({"enum": ["Frontend", "Backend", "Listener", "Server", "Unknown"]});
    let stat = common(
        &[
            ("objType", kinds),
            ("proxyId", index.clone()),
            ("id", index.clone()),
        ],
        &["objType", "proxyId", "id", "field", "processNum", "tags", "value"],
    );
    let values = ["s32Value", "s64Value", "u32Value", "u64Value", "strValue"];
    let one_of: Vec<_> = values
        .iter()
        .map(|name| reference(&format!("typedValue/definitions/{name}")))
        .collect();
    serde_json::json!({
        "$schema": "http://json-schema.org/draft-04/schema#",
        "oneOf": [
            {"title": "Info", "type": "array",
             "items": common(&[], &["field", "processNum", "tags", "value"])},
            {"title": "Stat", "type": "array", "items": {"type": "array", "items": stat}},
            {"title": "Error", "type": "object",
             "properties": {"errorStr": {"type": "string"}}, "required": ["errorStr"]},
        ],
        "definitions": {
            "field": {"type": "object",
                      "properties": {"pos": index, "name": {"type": "string"}}, "required": ["pos", "name"]},
            "processNum": {"type": "integer", "minimum": 1},
            "tags": {"type": "object",
                     "properties": {
                         "origin": {"type": "string",
                                    "enum": ["Metric", "Status", "Key", "Config", "Product", "Unknown"]},
                         "nature": {"type": "string",
                                    "enum": ["Gauge", "Limit", "Min", "Max", "Rate", "Counter", "Duration", "Age",
                                             "Time", "Name", "Output", "Avg", "Unknown"]},
                         "scope": {"type": "string",
                                   "enum": ["Cluster", "Process", "Service", "System", "Unknown"]},
                     },
                     "required": ["origin", "nature", "scope"]},
            "typedValue": {"type": "object", "oneOf": one_of, "definitions": {
                "s32Value": number("s32", i64::from(i32::MIN), 2_147_483_647),
                "s64Value": number("s64", -9_007_199_254_740_991, 9_007_199_254_740_991),
                "u32Value": number("u32", 0, u64::from(u32::MAX)),
                "u64Value": number("u64", 0, 9_007_199_254_740_991),
                "strValue": {"properties": {"type": {"type": "string", "enum": ["str"]},
                                            "value": {"type": "string"}},
                             "required": ["type", "value"]},
            }},
        },
    })
    .to_string()
}
