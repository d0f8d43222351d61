//! Metrics with a line for each queue, channel or connection.

use std::sync::Arc;

use warren_cluster::Queue;
use warren_cluster::queue::Snapshot;
use warren_model::Name;

use super::page::Page;
use super::scene::Scene;
use crate::node::Node;
use crate::registry::{ChannelReport, Entry};

type OfQueue = fn(&Snapshot) -> u64;
type OfChannel = fn(&ChannelReport) -> u64;
type OfConnection = fn(&Entry) -> u64;

/// What a line is about.
#[derive(Clone, Copy)]
enum Source {
    Queue(OfQueue),
    Channel(OfChannel),
    Connection(OfConnection),
}

/// A metric: the family by which it is asked for, its name without what all names begin with, and its values.
struct Object {
    family: &'static str,
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    source: Source,
}

const fn queue(family: &'static str, name: &'static str, help: &'static str, of: OfQueue) -> Object {
    Object {
        family,
        name,
        kind: "gauge",
        help,
        source: Source::Queue(of),
    }
}

const fn counter(mut object: Object) -> Object {
    object.kind = "counter";
    object
}

const fn channel(name: &'static str, help: &'static str, of: OfChannel) -> Object {
    Object {
        family: "channel_metrics",
        name,
        kind: "gauge",
        help,
        source: Source::Channel(of),
    }
}

const fn connection(
    family: &'static str,
    name: &'static str,
    help: &'static str,
    of: OfConnection,
) -> Object {
    Object {
        family,
        name,
        kind: "gauge",
        help,
        source: Source::Connection(of),
    }
}

const COARSE: &str = "queue_coarse_metrics";
const QUEUE: &str = "queue_metrics";
const DELIVERY: &str = "queue_delivery_metrics";

const OBJECTS: [Object; 30] = [
    queue(
        COARSE,
        "queue_messages_ready",
        "Messages that wait for a consumer.",
        |it| it.counts.ready,
    ),
    queue(
        COARSE,
        "queue_messages_unacked",
        "Messages that consumers have.",
        |it| it.counts.unacked,
    ),
    queue(COARSE, "queue_messages", "Both together.", |it| {
        it.counts.ready + it.counts.unacked
    }),
    queue("queue_consumer_count", "queue_consumers", "Consumers.", |it| {
        it.consumers as u64
    }),
    queue(QUEUE, "queue_messages_bytes", "Octets of bodies.", |it| {
        it.counts.ready_octets + it.counts.unacked_octets
    }),
    queue(
        QUEUE,
        "queue_messages_ready_bytes",
        "Octets of bodies that wait.",
        |it| it.counts.ready_octets,
    ),
    queue(
        QUEUE,
        "queue_messages_unacked_bytes",
        "Octets of bodies that consumers have.",
        |it| it.counts.unacked_octets,
    ),
    queue(QUEUE, "queue_messages_ram", "Messages in memory.", |it| {
        it.in_memory as u64
    }),
    queue(
        QUEUE,
        "queue_messages_paged_out",
        "Messages on disk only.",
        |it| (it.counts.ready + it.counts.unacked).saturating_sub(it.in_memory as u64),
    ),
    counter(queue(
        DELIVERY,
        "queue_messages_published_total",
        "Messages that came in.",
        |it| it.traffic.published,
    )),
    counter(queue(
        DELIVERY,
        "queue_messages_delivered_total",
        "Messages delivered that need no settling.",
        |it| it.traffic.delivered_no_ack,
    )),
    counter(queue(
        DELIVERY,
        "queue_messages_delivered_ack_total",
        "Messages delivered, to be settled.",
        |it| it.traffic.delivered,
    )),
    counter(queue(
        DELIVERY,
        "queue_messages_redelivered_total",
        "Messages delivered again.",
        |it| it.traffic.redelivered,
    )),
    counter(queue(
        DELIVERY,
        "queue_messages_acked_total",
        "Messages acknowledged.",
        |it| it.traffic.acked,
    )),
    counter(queue(
        DELIVERY,
        "queue_get_total",
        "Messages fetched that need no settling.",
        |it| it.traffic.got_no_ack,
    )),
    counter(queue(
        DELIVERY,
        "queue_get_ack_total",
        "Messages fetched, to be settled.",
        |it| it.traffic.got,
    )),
    counter(queue(
        DELIVERY,
        "queue_get_empty_total",
        "Fetches that found nothing.",
        |it| it.traffic.got_empty,
    )),
    channel("channel_consumers", "Consumers.", |it| it.consumers.len() as u64),
    channel(
        "channel_messages_unacked",
        "Messages that its client has.",
        |it| it.unsettled.into(),
    ),
    channel(
        "channel_messages_unconfirmed",
        "Messages that its client waits to hear of.",
        |it| it.unconfirmed,
    ),
    channel(
        "channel_messages_uncommitted",
        "Messages that wait for a commit.",
        |it| it.uncommitted,
    ),
    channel(
        "channel_acks_uncommitted",
        "Acknowledgements that wait for a commit.",
        |it| it.acks_uncommitted,
    ),
    channel("consumer_prefetch", "Limit of each consumer to come.", |it| {
        it.prefetch.into()
    }),
    channel("channel_prefetch", "Limit of all consumers together.", |it| {
        it.prefetch_global.into()
    }),
    counter(connection(
        "connection_coarse_metrics",
        "connection_incoming_bytes_total",
        "Octets read.",
        |it| it.counts.octets_received.get(),
    )),
    counter(connection(
        "connection_coarse_metrics",
        "connection_outgoing_bytes_total",
        "Octets written.",
        |it| it.counts.octets_sent.get(),
    )),
    counter(connection(
        "connection_metrics",
        "connection_incoming_packets_total",
        "Reads.",
        |it| it.counts.reads.get(),
    )),
    counter(connection(
        "connection_metrics",
        "connection_outgoing_packets_total",
        "Writes.",
        |it| it.counts.writes.get(),
    )),
    connection(
        "connection_metrics",
        "connection_pending_packets",
        "Octets that its client does not take.",
        Entry::unsent,
    ),
    connection("connection_metrics", "connection_channels", "Channels.", |it| {
        it.counts.channels.get()
    }),
];

/// Is there a line for each object?
pub(super) fn has(name: &str) -> bool {
    let bare = name.strip_prefix("rabbitmq_").unwrap_or(name);
    OBJECTS.iter().any(|object| object.name == bare)
}

/// Have connections to be asked?
pub(super) fn need_channels(families: &[String]) -> bool {
    families.iter().any(|family| family == "channel_metrics")
}

/// Everything there are lines about.
pub(super) struct Objects<'a> {
    queues: Vec<(&'a Name, &'a Name, &'a Snapshot)>,
    channels: Vec<(String, &'a ChannelReport)>,
    connections: Vec<(String, &'a Entry)>,
}

impl<'a> Objects<'a> {
    pub(super) fn new(
        node: &Node,
        scene: &'a Scene<'a>,
        channels: &'a [(Arc<Entry>, Vec<ChannelReport>)],
        vhosts: Vec<String>,
    ) -> Self {
        let wanted = |vhost: &Name| vhosts.is_empty() || vhosts.iter().any(|name| name == vhost.as_str());
        let mut queues: Vec<_> = scene
            .queues
            .iter()
            .map(|(queue, snapshot): &(Arc<Queue>, Snapshot)| {
                let identity = queue.identity();
                (&identity.vhost, &identity.name, snapshot)
            })
            .filter(|(vhost, ..)| wanted(vhost))
            .collect();
        queues.sort_unstable_by_key(|(vhost, name, _)| (*vhost, *name));
        let channels = channels.iter().flat_map(|(entry, reports)| {
            reports
                .iter()
                .map(|report| (node.pid(entry.facts.number, report.number.into()), report))
        });
        let connections = scene.connections.iter();
        Self {
            queues,
            channels: channels.collect(),
            connections: connections
                .map(|entry| (node.pid(entry.facts.number, 0), &**entry))
                .collect(),
        }
    }

    /// All metrics, or those of some families.
    pub(super) fn write(&self, prefix: &str, families: Option<&[String]>, page: &mut Page) {
        let wanted = |object: &&Object| {
            families.is_none_or(|families| {
                let asked = |family: &str| families.iter().any(|name| name == family);
                // RabbitMQ has the consumers in two families.
                asked(object.family) || (object.name == "queue_consumers" && asked(QUEUE))
            })
        };
        for object in OBJECTS.iter().filter(wanted) {
            let name = format!("{prefix}{}", object.name);
            page.family(&name, object.kind, object.help);
            match object.source {
                Source::Queue(of) => {
                    for (vhost, queue, snapshot) in &self.queues {
                        page.sample(&name, &[("vhost", vhost), ("queue", queue)], of(snapshot));
                    }
                }
                Source::Channel(of) => {
                    for (pid, report) in &self.channels {
                        page.sample(&name, &[("channel", pid)], of(report));
                    }
                }
                Source::Connection(of) => {
                    for (pid, entry) in &self.connections {
                        page.sample(&name, &[("connection", pid)], of(entry));
                    }
                }
            }
        }
    }
}
