//! RabbitMQ's firehose: while it is on in a vhost, what clients publish there and what they are given is published again, to
//! the exchange `amq.rabbitmq.trace`, with `publish.EXCHANGE` or `deliver.QUEUE` as routing key and what is known of it as headers.
//!
//! ```text
//!   publisher ── batch (knows since the last change of metadata) ──▶ published ─┐
//!   consumer's output ── list of what was given, if there is one ──▶ given ─────┴─▶ amq.rabbitmq.trace
//! ```
//!
//! While it is off that costs one comparison for a message. What goes through the exchange itself is left out, or there would be no end.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use warren_amqp::content::{Header, Properties};
use warren_amqp::hot::Publish;
use warren_amqp::{ShortString, Table, Value};
use warren_cluster::{Aftermath, QueueHandle};
use warren_model::routing::Said;
use warren_model::{Message, Name, Selection};

use crate::client::Client;
use crate::clock::now;

const EXCHANGE: &str = "amq.rabbitmq.trace";

/// Vhosts in which it is on. None of them after a restart, as with RabbitMQ.
#[derive(Debug, Default)]
pub(crate) struct Firehose(RwLock<BTreeSet<Name>>);

impl Firehose {
    pub(crate) fn is_on(&self, vhost: &str) -> bool {
        self.0.read().contains(vhost)
    }

    pub(crate) fn set(&self, vhost: Name, on: bool) {
        match on {
            true => self.0.write().insert(vhost),
            false => self.0.write().remove(&*vhost),
        };
    }
}

/// A message that a client was given.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) channel: u16,
    pub(crate) queue: QueueHandle,
    pub(crate) redelivered: bool,
    pub(crate) message: Arc<Message>,
}

/// A client has published a message, which went to these queues.
pub(crate) fn published(
    client: &Client,
    channel: u16,
    message: &Message,
    queues: &[QueueHandle],
    after: &mut Aftermath,
) {
    let Some(publish) = message.content.publish() else {
        return;
    };
    let exchange = String::from_utf8_lossy(publish.exchange);
    let routed = queues.iter().map(|queue| Value::text(&queue.identity().name));
    let more = [(
        ShortString::from_static("routed_queues"),
        Value::Array(routed.collect()),
    )];
    trace(
        client,
        channel,
        message,
        &format!("publish.{exchange}"),
        more,
        after,
    );
}

/// A client was given messages.
pub(crate) fn given(client: &Client, given: Vec<Given>, after: &mut Aftermath) {
    for one in given {
        let more = [(
            ShortString::from_static("redelivered"),
            Value::I32(one.redelivered.into()),
        )];
        let key = format!("deliver.{}", one.queue.identity().name);
        trace(client, one.channel, &one.message, &key, more, after);
    }
}

fn trace(
    client: &Client,
    channel: u16,
    message: &Message,
    key: &str,
    more: [(ShortString, Value); 1],
    after: &mut Aftermath,
) {
    let Some(publish) = message.content.publish() else {
        return;
    };
    if publish.exchange == EXCHANGE.as_bytes() {
        return;
    }
    let header = message.content.header();
    let mut keys = vec![Value::Text(Bytes::copy_from_slice(publish.routing_key))];
    let selection = Selection::of(header).ok().flatten();
    keys.extend(selection.iter().flat_map(Selection::keys).map(Value::Text));
    let mut headers = Table::new()
        .with(
            "exchange_name",
            Value::Text(Bytes::copy_from_slice(publish.exchange)),
        )
        .with("routing_keys", Value::Array(keys))
        .with("properties", Value::Table(properties(header.properties())))
        .with("node", Value::text(&client.node.name))
        .with("vhost", Value::text(&client.vhost))
        .with("connection", Value::text(&client.entry.facts.name()))
        .with("channel", Value::I32(channel.into()))
        .with("user", Value::text(&client.user));
    for (name, value) in more {
        headers.push(name, value);
    }
    let properties = Properties {
        headers: Some(headers),
        ..Properties::default()
    };
    let octets = properties.header(message.content.body_size() as u64);
    let address = Publish {
        exchange: EXCHANGE.as_bytes(),
        routing_key: key.as_bytes(),
        ..Publish::default()
    };
    // A header with very many values is too large with those of ours: then there is no trace of the message.
    let Ok(header) = Header::read(&octets) else { return };
    let content = message.content.republished(&address, header);
    let Ok(copy) = Message::new(client.node.message_id(), content) else {
        return;
    };
    let mut found = Vec::new();
    client.node.read(|meta| {
        if let Some(vhost) = meta.vhost(&client.vhost) {
            let said = Said::new(key.as_bytes(), None, copy.id.sequence);
            vhost.route(EXCHANGE, &said, &mut found);
        }
    });
    let copy = Arc::new(copy);
    for queue in found.into_iter().filter_map(|id| client.node.queue(id)) {
        // No publisher waits for it.
        queue.publish(now(), [(u32::MAX, Arc::clone(&copy))], after);
    }
}

/// Those that are there, by RabbitMQ's names. `BCC` is for nobody to see.
fn properties(properties: Properties) -> Table {
    let mut table = Table::new();
    let mut put = |name: &'static str, value: Option<Value>| {
        if let Some(value) = value {
            table.push(ShortString::from_static(name), value);
        }
    };
    let text =
        |text: Option<ShortString>| text.map(|text| Value::Text(Bytes::copy_from_slice(text.as_bytes())));
    put("content_type", text(properties.content_type));
    put("content_encoding", text(properties.content_encoding));
    let seen = |headers: Table| -> Table {
        let kept = headers.iter().filter(|(name, _)| name.as_bytes() != b"BCC");
        kept.map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    put("headers", properties.headers.map(seen).map(Value::Table));
    put(
        "delivery_mode",
        properties.delivery_mode.map(|mode| Value::I32(mode.into())),
    );
    put(
        "priority",
        properties.priority.map(|priority| Value::I32(priority.into())),
    );
    put("correlation_id", text(properties.correlation_id));
    put("reply_to", text(properties.reply_to));
    put("expiration", text(properties.expiration));
    put("message_id", text(properties.message_id));
    let seconds = properties.timestamp.map(|seconds| match i32::try_from(seconds) {
        Ok(seconds) => Value::I32(seconds),
        Err(_) => Value::I64(i64::try_from(seconds).unwrap_or(i64::MAX)),
    });
    put("timestamp", seconds);
    put("type", text(properties.message_type));
    put("user_id", text(properties.user_id));
    put("app_id", text(properties.app_id));
    put("cluster_id", text(properties.cluster_id));
    table
}
