//! Arguments in JSON: tables whose values have lost their letters.

use bytes::Bytes;
use warren_amqp::table::DEPTH_MAX;
use warren_amqp::{ShortString, Table, Value};

use crate::json::{Settings, Value as Json};

/// A table from an object, with the letters that RabbitMQ gives: whole numbers become `l`, others `d`.
///
/// # Errors
/// A name is longer than 255 octets, or values are too deep in one another.
pub fn from_json(object: &Settings) -> Result<Table, String> {
    table(object, DEPTH_MAX)
}

fn table(object: &Settings, depth: usize) -> Result<Table, String> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(format!("arguments are more than {DEPTH_MAX} levels deep"));
    };
    let mut table = Table::new();
    for (name, json) in object {
        let short = ShortString::try_from(name.as_str())
            .map_err(|_| format!("the name of argument \"{name}\" is longer than 255 octets"))?;
        table.push(short, value(json, depth)?);
    }
    Ok(table)
}

fn value(json: &Json, depth: usize) -> Result<Value, String> {
    Ok(match json {
        Json::Null => Value::Void,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::I64(number),
            None => Value::F64(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::Text(Bytes::copy_from_slice(text.as_bytes())),
        Json::Array(values) => {
            let Some(depth) = depth.checked_sub(1) else {
                return Err(format!("arguments are more than {DEPTH_MAX} levels deep"));
            };
            Value::Array(
                values
                    .iter()
                    .map(|json| value(json, depth))
                    .collect::<Result<_, _>>()?,
            )
        }
        Json::Object(object) => Value::Table(table(object, depth)?),
    })
}

/// An object from a table. Octets that are no text are shown as well as they can be.
#[must_use]
pub fn to_json(table: &Table) -> Settings {
    let entries = table.iter();
    entries
        .map(|(name, value)| (name.to_text(), show(value)))
        .collect()
}

fn show(value: &Value) -> Json {
    match value {
        Value::Bool(value) => (*value).into(),
        Value::F32(number) => f64::from(*number).into(),
        Value::F64(number) => (*number).into(),
        Value::Decimal { scale, value } => (f64::from(*value) / 10_f64.powi(i32::from(*scale))).into(),
        Value::Timestamp(seconds) => (*seconds).into(),
        Value::Text(octets) | Value::Octets(octets) => String::from_utf8_lossy(octets).into_owned().into(),
        Value::Array(values) => values.iter().map(show).collect(),
        Value::Table(table) => Json::Object(to_json(table)),
        Value::Void => Json::Null,
        other => crate::arguments::integer(other).into(),
    }
}
