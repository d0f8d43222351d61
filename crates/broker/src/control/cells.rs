//! Tables of AMQP as listings have them.

use warren_amqp::{Table, Value};
use warren_api::broker::{Argument, Cell};
use warren_model::arguments::{integer, print, type_name};

/// Arguments of a thing, or what a client says of itself.
pub(super) fn arguments(table: &Table) -> Cell {
    let arguments = table.iter().map(|(name, value)| Argument {
        name: name.to_text(),
        kind: type_name(value).to_owned(),
        value: cell(value),
    });
    Cell::Arguments(arguments.collect())
}

fn cell(value: &Value) -> Cell {
    match value {
        Value::Bool(value) => Cell::Bool(*value),
        Value::Table(table) => arguments(table),
        Value::Array(values) => {
            let values = values.iter().map(|value| Argument {
                name: String::new(),
                kind: type_name(value).to_owned(),
                value: cell(value),
            });
            Cell::Arguments(values.collect())
        }
        Value::F32(number) => Cell::Float(f64::from(*number)),
        Value::F64(number) => Cell::Float(*number),
        Value::Void => Cell::Nothing,
        other => match integer(other) {
            Some(number) => Cell::Integer(number),
            None => Cell::Text(print(other)),
        },
    }
}
