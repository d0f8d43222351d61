//! Headers: the arguments of a binding are compared with the headers of a message.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use warren_amqp::{ReplyCode, Table, Value};

use super::{Said, Target};
use crate::arguments::{term, type_name};
use crate::refusal::Refusal;
use crate::wire_table;

/// How many of its arguments a binding wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Match {
    All,
    Any,
}

#[derive(Debug)]
struct Binding {
    arguments: Table,
    wants: Match,
    /// Names that begin with `x-` are compared, too.
    with_x: bool,
    target: Target,
}

/// Bindings, each compared with each message.
#[derive(Debug, Default)]
pub struct Headers {
    bindings: Vec<Binding>,
    /// Where they are, by target and arguments: a queue with thousands of bindings goes without looking at each for each.
    places: HashMap<(Target, Bytes), BTreeSet<usize>>,
}

fn key(arguments: &Table, target: &Target) -> (Target, Bytes) {
    (target.clone(), wire_table::octets(arguments))
}

/// `x-match` is one of four words, or absent.
pub(super) fn check(arguments: &Table) -> Result<(), Refusal> {
    parse(arguments).map(|_| ())
}

fn parse(arguments: &Table) -> Result<(Match, bool), Refusal> {
    let wrong = |text: String| Refusal::new(ReplyCode::PreconditionFailed, text);
    match arguments.get("x-match") {
        None => Ok((Match::All, false)),
        Some(Value::Text(word)) => match word.as_ref() {
            b"all" => Ok((Match::All, false)),
            b"any" => Ok((Match::Any, false)),
            b"all-with-x" => Ok((Match::All, true)),
            b"any-with-x" => Ok((Match::Any, true)),
            _ => Err(wrong(format!(
                "Invalid x-match field value {}; expected all, any, all-with-x, or any-with-x",
                term(&Value::Text(word.clone()))
            ))),
        },
        Some(other) => Err(wrong(format!(
            "Invalid x-match field type {} (value {}); expected longstr",
            type_name(other),
            term(other)
        ))),
    }
}

impl Headers {
    pub(super) fn add(&mut self, arguments: &Table, target: &Target) {
        let (wants, with_x) = parse(arguments).unwrap_or((Match::All, false));
        let place = self.places.entry(key(arguments, target)).or_default();
        place.insert(self.bindings.len());
        self.bindings.push(Binding {
            arguments: arguments.clone(),
            wants,
            with_x,
            target: target.clone(),
        });
    }

    pub(super) fn remove(&mut self, arguments: &Table, target: &Target) {
        let Entry::Occupied(mut places) = self.places.entry(key(arguments, target)) else {
            return;
        };
        let Some(index) = places.get_mut().pop_last() else {
            return;
        };
        if places.get().is_empty() {
            places.remove();
        }
        let last = self.bindings.len() - 1;
        self.bindings.swap_remove(index);
        // The last one is in its place now.
        let moved = self
            .bindings
            .get(index)
            .map(|moved| key(&moved.arguments, &moved.target));
        if let Some(places) = moved.and_then(|moved| self.places.get_mut(&moved)) {
            places.remove(&last);
            places.insert(index);
        }
    }

    pub(super) fn route<'a>(&'a self, said: &Said<'_>, found: &mut Vec<&'a Target>) {
        let none = Table::new();
        let headers = said.headers().unwrap_or(&none);
        found.extend(
            self.bindings
                .iter()
                .filter(|binding| binding.matches(headers))
                .map(|binding| &binding.target),
        );
    }
}

impl Binding {
    fn matches(&self, headers: &Table) -> bool {
        let mut compared = self
            .arguments
            .iter()
            .filter(|(name, _)| self.with_x && **name != *"x-match" || !name.as_bytes().starts_with(b"x-"))
            .map(|(name, wanted)| {
                headers
                    .iter()
                    .any(|(other, value)| other == name && is_equal(wanted, value))
            });
        match self.wants {
            Match::All => compared.all(|equal| equal),
            Match::Any => compared.any(|equal| equal),
        }
    }
}

/// Values are compared as RabbitMQ does, which is to say as Erlang does: whatever their types. Nothing is equal to anything.
fn is_equal(wanted: &Value, value: &Value) -> bool {
    match (wanted, value) {
        (Value::Void, _) => true,
        (Value::Text(one) | Value::Octets(one), Value::Text(other) | Value::Octets(other)) => one == other,
        _ => match (whole(wanted), whole(value)) {
            (Some(one), Some(other)) => one == other,
            _ => match (number(wanted), number(value)) {
                (Some(one), Some(other)) => one == other,
                _ => wanted == value,
            },
        },
    }
}

fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Timestamp(seconds) => i64::try_from(*seconds).ok(),
        other => integer(other),
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::F32(number) => Some(f64::from(*number)),
        Value::F64(number) => Some(*number),
        other => whole(other).map(|number| number as f64),
    }
}

/// A whole number of any width.
#[must_use]
pub fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::I8(number) => Some(i64::from(*number)),
        Value::U8(number) => Some(i64::from(*number)),
        Value::I16(number) => Some(i64::from(*number)),
        Value::U16(number) => Some(i64::from(*number)),
        Value::I32(number) => Some(i64::from(*number)),
        Value::U32(number) => Some(i64::from(*number)),
        Value::I64(number) | Value::I64L(number) => Some(*number),
        _ => None,
    }
}
