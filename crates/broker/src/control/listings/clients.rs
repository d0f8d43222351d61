//! Connections, their channels, and who consumes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use warren_amqp::Table;
use warren_api::broker::Cell;
use warren_cluster::queue::ConsumerInfo;
use warren_kit::control::Gone;
use warren_model::{ConsumerId, QueueId};

use super::{Column, Rows, cells, text};
use crate::node::Node;
use crate::registry::{ChannelReport, ConsumerReport, Entry};

/// A connection says what its channels are like as soon as its task runs.
const PATIENCE: Duration = Duration::from_secs(2);

struct Connection {
    pid: String,
    entry: Arc<Entry>,
}

pub(super) async fn connections(node: &Node, rows: &mut Rows<'_, '_>) -> Result<(), Gone> {
    let all = node.registry.connections().into_iter();
    let all: Vec<Connection> = all
        .map(|entry| Connection {
            pid: node.pid(entry.facts.number, 0),
            entry,
        })
        .collect();
    rows.all(&all, connection_column).await
}

fn connection_column(column: &str) -> Option<Column<Connection>> {
    Some(match column {
        "pid" => |it| Cell::Text(it.pid.clone()),
        "name" => |it| Cell::Text(it.entry.facts.name()),
        "port" => |it| Cell::Integer(it.entry.facts.local.port().into()),
        "host" => |it| Cell::Text(it.entry.facts.local.ip().to_canonical().to_string()),
        "peer_port" => |it| Cell::Integer(it.entry.facts.peer.port().into()),
        "peer_host" => |it| Cell::Text(it.entry.facts.peer.ip().to_canonical().to_string()),
        "ssl" => |it| Cell::Bool(it.entry.facts.tls.is_some()),
        "ssl_protocol" => |it| Cell::text(it.entry.facts.tls.as_ref().map(|tls| tls.protocol.clone())),
        "ssl_cipher" => |it| Cell::text(it.entry.facts.tls.as_ref().map(|tls| tls.cipher.clone())),
        "peer_cert_subject" => |it| {
            let tls = it.entry.facts.tls.as_ref();
            Cell::text(tls.and_then(|tls| tls.subject.clone()))
        },
        "ssl_key_exchange" | "ssl_hash" | "peer_cert_issuer" | "peer_cert_validity" => |_| Cell::Nothing,
        "state" => |it| Cell::from(it.entry.state().name()),
        "channels" => |it| Cell::count(it.entry.counts.channels.get()),
        "protocol" => |_| Cell::from("{0,9,1}"),
        "auth_mechanism" => |it| Cell::Text(it.entry.facts.mechanism.clone()),
        "user" => |it| text(&it.entry.facts.user),
        "vhost" => |it| text(&it.entry.facts.vhost),
        "timeout" => |it| Cell::Integer(it.entry.facts.heartbeat.into()),
        "frame_max" => |it| Cell::Integer(it.entry.facts.frame_max.into()),
        "channel_max" => |it| Cell::Integer(it.entry.facts.channel_max.into()),
        "client_properties" => |it| cells::arguments(&it.entry.facts.properties()),
        "recv_oct" => |it| Cell::count(it.entry.counts.octets_received.get()),
        "recv_cnt" => |it| Cell::count(it.entry.counts.reads.get()),
        "send_oct" => |it| Cell::count(it.entry.counts.octets_sent.get()),
        "send_cnt" => |it| Cell::count(it.entry.counts.writes.get()),
        "send_pend" => |it| Cell::count(it.entry.unsent()),
        "connected_at" => |it| Cell::count(it.entry.facts.since.0),
        "user_provided_name" => |it| Cell::text(it.entry.facts.given_name()),
        _ => return None,
    })
}

struct Channel {
    pid: String,
    connection: String,
    entry: Arc<Entry>,
    report: ChannelReport,
}

pub(super) async fn channels(node: &Node, rows: &mut Rows<'_, '_>) -> Result<(), Gone> {
    let mut all = Vec::new();
    for (entry, reports) in node.registry.channels(PATIENCE).await {
        all.extend(reports.into_iter().map(|report| Channel {
            pid: node.pid(entry.facts.number, report.number.into()),
            connection: node.pid(entry.facts.number, 0),
            entry: Arc::clone(&entry),
            report,
        }));
    }
    rows.all(&all, channel_column).await
}

fn channel_column(column: &str) -> Option<Column<Channel>> {
    Some(match column {
        "pid" => |it| Cell::Text(it.pid.clone()),
        "connection" => |it| Cell::Text(it.connection.clone()),
        "name" => |it| Cell::Text(format!("{} ({})", it.entry.facts.name(), it.report.number)),
        "number" => |it| Cell::Integer(it.report.number.into()),
        "user" => |it| text(&it.entry.facts.user),
        "vhost" => |it| text(&it.entry.facts.vhost),
        "transactional" => |it| Cell::Bool(it.report.transactional),
        "confirm" => |it| Cell::Bool(it.report.confirm),
        "consumer_count" => |it| Cell::count(it.report.consumers.len() as u64),
        "messages_unacknowledged" => |it| Cell::Integer(it.report.unsettled.into()),
        "messages_uncommitted" => |it| Cell::count(it.report.uncommitted),
        "acks_uncommitted" => |it| Cell::count(it.report.acks_uncommitted),
        "messages_unconfirmed" => |it| Cell::count(it.report.unconfirmed),
        "prefetch_count" => |it| Cell::Integer(it.report.prefetch.into()),
        "global_prefetch_count" => |it| Cell::Integer(it.report.prefetch_global.into()),
        "state" => |it| Cell::from(it.entry.state().name()),
        _ => return None,
    })
}

struct Consumer {
    /// Its channel's pid.
    channel: String,
    entry: Arc<Entry>,
    report: ConsumerReport,
    info: Option<ConsumerInfo>,
}

pub(super) async fn consumers(node: &Node, vhost: Option<&str>, rows: &mut Rows<'_, '_>) -> Result<(), Gone> {
    let all: Vec<Consumer> = all_consumers(node)
        .await
        .into_iter()
        .filter(|it| vhost.is_none_or(|vhost| it.entry.facts.vhost.as_str() == vhost))
        .collect();
    rows.all(&all, consumer_column).await
}

async fn all_consumers(node: &Node) -> Vec<Consumer> {
    let mut all = Vec::new();
    let mut known: HashMap<QueueId, HashMap<ConsumerId, ConsumerInfo>> = HashMap::new();
    for (entry, reports) in node.registry.channels(PATIENCE).await {
        for channel in reports {
            for report in channel.consumers {
                let infos = known.entry(report.queue).or_insert_with(|| {
                    let queue = node.queue(report.queue);
                    let infos = queue.map(|queue| queue.consumers()).unwrap_or_default();
                    infos.into_iter().map(|info| (info.id, info)).collect()
                });
                let info = report.id.and_then(|id| infos.get(&id).copied());
                all.push(Consumer {
                    channel: node.pid(entry.facts.number, channel.number.into()),
                    entry: Arc::clone(&entry),
                    report,
                    info,
                });
            }
        }
    }
    all
}

/// Who alone gets the messages of a queue, where that is one: channel and tag.
pub(super) async fn chosen(node: &Node) -> HashMap<QueueId, (String, String)> {
    let mut chosen = HashMap::new();
    for consumer in all_consumers(node).await {
        let single = node.read(|meta| {
            let queue = meta.queue(consumer.report.queue);
            queue.is_some_and(|(_, _, queue)| queue.meaning.single_active)
        });
        let alone = consumer
            .info
            .is_some_and(|info| info.terms.exclusive || (single && info.active));
        if alone {
            let tag = String::from_utf8_lossy(&consumer.report.tag).into_owned();
            chosen.insert(consumer.report.queue, (consumer.channel, tag));
        }
    }
    chosen
}

fn consumer_column(column: &str) -> Option<Column<Consumer>> {
    Some(match column {
        "queue_name" => |it| text(&it.report.queue_name),
        "channel_pid" => |it| Cell::Text(it.channel.clone()),
        "consumer_tag" => |it| Cell::Text(String::from_utf8_lossy(&it.report.tag).into_owned()),
        "ack_required" => |it| Cell::Bool(!it.report.no_ack),
        "prefetch_count" => {
            |it| Cell::Integer(it.info.and_then(|info| info.terms.prefetch).unwrap_or(0).into())
        }
        "active" => |it| Cell::Bool(it.info.is_some_and(|info| info.active)),
        "activity_status" => |it| match it.info.is_some_and(|info| info.active) {
            true => Cell::from("up"),
            false => Cell::from("waiting"),
        },
        "arguments" => |it| {
            let arguments = Table::decode_entries(it.report.arguments.clone());
            cells::arguments(&arguments.unwrap_or_default())
        },
        "vhost" => |it| text(&it.entry.facts.vhost),
        _ => return None,
    })
}
