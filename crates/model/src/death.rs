//! Dead letters: a message that left a queue without having been settled, as it is published again.
//!
//! ```text
//!   x-death: [ {count, reason, queue, time, exchange, routing-keys, original-expiration},   the last death first,
//!              … ]                                                     one for each queue and reason
//! ```
//!
//! These are the rules of RabbitMQ 3.10, down to the order of the fields: an entry says when a message died first in that
//! queue for that reason, and how often. `x-first-death-*` are said once. The entry of the last death comes first, and the
//! others are turned round with each death. What is a cycle depends on that order: a message that was rejected once may go
//! round for ever by its time to live, where by the order in which it died it would be lost.

use bytes::Bytes;
use warren_amqp::content::{self, HeaderEdit, Property};
use warren_amqp::hot::Publish;
use warren_amqp::table::ValueView;
use warren_amqp::{ShortString, Table, Value};

use crate::queue::Reason;
use crate::routing::integer;
use crate::selection::Selection;
use crate::time::Millis;

/// How a message died.
#[derive(Clone, Copy, Debug)]
pub struct Death<'a> {
    /// In which queue.
    pub queue: &'a str,
    /// Why.
    pub reason: Reason,
    /// When.
    pub time: Millis,
    /// `x-dead-letter-exchange`: where it is published now.
    pub exchange: &'a str,
    /// `x-dead-letter-routing-key`, if there is one; otherwise it keeps its keys.
    pub key: Option<&'a str>,
}

impl Death<'_> {
    /// The message as it is published to the dead-letter exchange.
    #[must_use]
    pub fn letter(&self, dead: &content::Message) -> content::Message {
        let header = dead.header();
        let published = dead.publish().unwrap_or_default();
        let selection = Selection::of(header).ok().flatten().unwrap_or_default();
        let mut info = vec![
            ("reason", Value::text(self.reason.name())),
            ("queue", Value::text(self.queue)),
            ("time", Value::Timestamp(self.time.0 / 1000)),
            ("exchange", text(published.exchange)),
            (
                "routing-keys",
                Value::Array(
                    std::iter::once(published.routing_key)
                        .chain(selection.open.iter().map(|key| &key[..]))
                        .map(text)
                        .collect(),
                ),
            ),
        ];
        info.extend(
            header
                .expiration()
                .map(|expiration| ("original-expiration", text(expiration))),
        );
        let mut edit = HeaderEdit::of(header).without(Property::Expiration);
        edit = match header.headers().and_then(|headers| headers.get("x-death")) {
            Some(ValueView::Array(deaths)) => {
                let before = deaths.iter().filter_map(|death| match death {
                    ValueView::Table(death) => death.to_table().ok(),
                    _ => None,
                });
                edit.with_header("x-death", self.add(info, before))
            }
            // One that a client made up and that is no list of deaths gives way.
            Some(_) => edit.with_header("x-death", Value::Array(vec![first(info)])),
            None => edit
                .with_header("x-death", Value::Array(vec![first(info)]))
                .with_header("x-first-death-exchange", text(published.exchange))
                .with_header("x-first-death-queue", Value::text(self.queue))
                .with_header("x-first-death-reason", Value::text(self.reason.name())),
        };
        if self.key.is_some() {
            edit = edit.without_header("CC").without_header("BCC");
        }
        let publish = Publish {
            exchange: self.exchange.as_bytes(),
            routing_key: self.key.map_or(published.routing_key, str::as_bytes),
            mandatory: false,
            immediate: false,
        };
        let payload = edit.finish();
        match content::Header::read(&payload) {
            Ok(header) => dead.republished(&publish, header),
            // Every header that was read can be read with these changes; its table may have had the most values there can be.
            Err(_) => dead.republished(&publish, dead.header()),
        }
    }

    /// The death is counted where there was one like it, and comes first. What is no death does not stay.
    fn add(&self, info: Vec<(&'static str, Value)>, before: impl Iterator<Item = Table>) -> Value {
        let (same, mut others): (Vec<Table>, Vec<Table>) = grouped(before.collect())
            .into_iter()
            .partition(|death| self.is_like(death));
        let entry = match same.first() {
            Some(death) => counted_again(death),
            None => named(std::iter::once(("count", Value::I64(1))).chain(info)),
        };
        others.insert(0, sorted(&entry));
        Value::Array(others.into_iter().map(Value::Table).collect())
    }

    fn is_like(&self, death: &Table) -> bool {
        let says = |name, text: &str| matches!(death.get(name), Some(Value::Text(octets)) if octets.as_ref() == text.as_bytes());
        says("queue", self.queue) && says("reason", self.reason.name())
    }
}

/// Would a letter that has died for this reason come back to a queue in which it died before, with no rejection among the entries up to
/// that one? Then that queue does not get it. So one that nobody ever rejected does not go round for ever; others may.
#[must_use]
pub fn is_cycle(letter: &content::Message, reason: Reason, queue: &str) -> bool {
    if reason == Reason::Rejected {
        return false;
    }
    let deaths = letter
        .header()
        .headers()
        .and_then(|headers| headers.get("x-death"));
    let Some(ValueView::Array(deaths)) = deaths else {
        return false;
    };
    for death in deaths.iter() {
        let ValueView::Table(death) = death else { continue };
        let says = |name, wanted: &str| death.get(name).and_then(ValueView::text) == Some(wanted.as_bytes());
        if says("reason", Reason::Rejected.name()) {
            return false;
        }
        if says("queue", queue) {
            return true;
        }
    }
    false
}

/// Of several, one for each queue and reason, the first of them. One without a count, of a RabbitMQ before there were any, gets that of
/// all like it. The last comes first.
fn grouped(deaths: Vec<Table>) -> Vec<Table> {
    if deaths.len() < 2 {
        return deaths;
    }
    let key = |death: &Table| [death.get("queue").cloned(), death.get("reason").cloned()];
    let mut groups: Vec<(Table, i64)> = Vec::new();
    for death in deaths {
        match groups.iter_mut().find(|(first, _)| key(first) == key(&death)) {
            Some((_, count)) => *count += 1,
            None => groups.push((death, 1)),
        }
    }
    let counted = groups
        .into_iter()
        .rev()
        .map(|(death, count)| match death.get("count") {
            Some(_) => death,
            None => death.with("count", Value::I64(count)),
        });
    counted.collect()
}

fn text(octets: &[u8]) -> Value {
    Value::Text(Bytes::copy_from_slice(octets))
}

fn first(info: Vec<(&'static str, Value)>) -> Value {
    Value::Table(named(std::iter::once(("count", Value::I64(1))).chain(info)))
}

fn named(fields: impl Iterator<Item = (&'static str, Value)>) -> Table {
    fields
        .map(|(name, value)| (ShortString::from_static(name), value))
        .collect()
}

fn counted_again(death: &Table) -> Table {
    let before = death.get("count").and_then(integer);
    let count = before.unwrap_or(0).saturating_add(1);
    let others = death
        .iter()
        .filter(|(name, _)| **name != *"count")
        .map(|(name, value)| (name.clone(), value.clone()));
    std::iter::once((ShortString::from_static("count"), Value::I64(count)))
        .chain(others)
        .collect()
}

fn sorted(table: &Table) -> Table {
    let mut fields: Vec<(ShortString, Value)> = table
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    fields.sort_by(|(one, _), (other, _)| one.as_bytes().cmp(other.as_bytes()));
    fields.into_iter().collect()
}

#[cfg(test)]
mod tests;
