//! All metrics that are sums, each once: for the page, for its documentation, and for the comparison with RabbitMQ's.

use std::sync::LazyLock;

use warren_api::broker::RABBITMQ_VERSION;
use warren_cluster::queue::Traffic;
use warren_model::arguments::QueueType;
use warren_model::queue::Reason;

use super::page::Page;
use super::scene::Scene;
use crate::registry::Deaths;

/// A metric.
#[derive(Debug)]
pub struct Family {
    /// The whole name.
    pub name: String,
    /// `gauge`, `counter` or `untyped`
    pub kind: &'static str,
    /// What it says, in a sentence.
    pub help: &'static str,
    source: Source,
}

#[derive(Clone, Copy, Debug)]
enum Source {
    /// One number.
    Number(fn(&Scene<'_>) -> u64),
    /// One number with a fraction.
    Real(fn(&Scene<'_>) -> f64),
    /// One number of what AMQP clients did.
    Protocol(fn(&Scene<'_>) -> u64),
    /// One for each type of queue.
    ByType(fn(&Traffic) -> u64),
    /// One for each type of queue, and for what becomes of messages that die so.
    ByDeath(fn(&Deaths, QueueType, bool) -> u64),
    Build,
    Identity,
}

/// All of them.
#[must_use]
pub fn families() -> &'static [Family] {
    &FAMILIES
}

const PROTOCOL: (&str, &str) = ("protocol", "amqp091");
const TYPES: [&str; 2] = ["rabbit_classic_queue", "rabbit_quorum_queue"];

impl Family {
    /// Whose metrics these are.
    pub(super) const fn is_identity(&self) -> bool {
        matches!(self.source, Source::Build | Source::Identity)
    }

    pub(super) fn write(&self, scene: &Scene<'_>, page: &mut Page) {
        let name = &self.name;
        page.family(name, self.kind, self.help);
        match self.source {
            Source::Number(of) => page.sample(name, &[], of(scene)),
            Source::Real(of) => page.sample(name, &[], of(scene)),
            Source::Protocol(of) => page.sample(name, &[PROTOCOL], of(scene)),
            Source::ByType(of) => {
                for (traffic, kind) in scene.traffic.iter().zip(TYPES) {
                    page.sample(name, &[PROTOCOL, ("queue_type", kind)], of(traffic));
                }
            }
            Source::ByDeath(of) => {
                for (kind, label) in [QueueType::Classic, QueueType::Quorum].into_iter().zip(TYPES) {
                    for (published, strategy) in [(true, "at_most_once"), (false, "disabled")] {
                        let labels = [("queue_type", label), ("dead_letter_strategy", strategy)];
                        page.sample(name, &labels, of(scene.deaths, kind, published));
                    }
                }
            }
            Source::Build => {
                let labels = [
                    ("rabbitmq_version", RABBITMQ_VERSION),
                    ("prometheus_plugin_version", RABBITMQ_VERSION),
                    ("prometheus_client_version", env!("CARGO_PKG_VERSION")),
                    ("erlang_version", ""),
                    ("warren_version", env!("CARGO_PKG_VERSION")),
                ];
                page.sample(name, &labels, 1);
            }
            Source::Identity => {
                let labels = [
                    ("rabbitmq_node", scene.node.as_str()),
                    ("rabbitmq_cluster", scene.cluster.as_str()),
                    ("rabbitmq_cluster_permanent_id", scene.cluster_id.as_str()),
                ];
                page.sample(name, &labels, 1);
            }
        }
    }
}

static FAMILIES: LazyLock<Vec<Family>> = LazyLock::new(|| {
    let family = |name: &str, kind, help, source| Family {
        name: format!("rabbitmq_{name}"),
        kind,
        help,
        source,
    };
    let gauge = |name: &str, help, of| family(name, "gauge", help, Source::Number(of));
    let counter = |name: &str, help, of| family(name, "counter", help, Source::Number(of));
    let protocol =
        |name: &str, help, of| family(&format!("global_{name}"), "counter", help, Source::Protocol(of));
    let by_type =
        |name: &str, help, of| family(&format!("global_{name}"), "counter", help, Source::ByType(of));
    let by_death = |name: &str, help, of| {
        let name = format!("global_messages_dead_lettered_{name}_total");
        family(&name, "counter", help, Source::ByDeath(of))
    };
    vec![
        family("build_info", "untyped", "Which versions run here.", Source::Build),
        family(
            "identity_info",
            "untyped",
            "Whose metrics these are.",
            Source::Identity,
        ),
        gauge("connections", "Connections that are open.", |it| {
            it.connections.len() as u64
        }),
        gauge("channels", "Channels that are open.", |it| it.sums.channels),
        gauge("consumers", "Consumers of all queues.", |it| it.sums.consumers),
        gauge("queues", "Queues there are.", |it| it.queues.len() as u64),
        counter("connections_opened_total", "Connections opened.", |it| {
            it.churn.connections_opened
        }),
        counter("connections_closed_total", "Connections closed or lost.", |it| {
            it.churn.connections_closed
        }),
        counter("channels_opened_total", "Channels opened.", |it| {
            it.churn.channels_opened
        }),
        counter("channels_closed_total", "Channels closed or lost.", |it| {
            it.churn.channels_closed
        }),
        counter(
            "queues_declared_total",
            "Declarations of queues, of those that there were already included.",
            |it| it.churn.queues_declared,
        ),
        counter("queues_created_total", "Queues created.", |it| {
            it.churn.queues_created
        }),
        counter("queues_deleted_total", "Queues deleted.", |it| {
            it.churn.queues_deleted
        }),
        gauge(
            "process_open_fds",
            "Files that the process has open, sockets included.",
            |it| it.process.files,
        ),
        gauge("process_max_fds", "Files that it may have open.", |it| {
            it.process.files_max
        }),
        gauge("process_open_tcp_sockets", "Sockets of clients.", |it| {
            it.connections.len() as u64
        }),
        gauge(
            "process_max_tcp_sockets",
            "Sockets that the process may have open.",
            |it| it.process.files_max,
        ),
        gauge(
            "process_resident_memory_bytes",
            "Memory that the process has.",
            |it| it.process.resident,
        ),
        gauge(
            "disk_space_available_bytes",
            "Room on the disk with the data.",
            |it| it.disk_free,
        ),
        family(
            "erlang_uptime_seconds",
            "gauge",
            "Time since the node started.",
            Source::Real(|it| it.uptime),
        ),
        gauge(
            "resident_memory_limit_bytes",
            "Memory from which on publishers wait.",
            |it| it.measured.memory_limit,
        ),
        gauge(
            "disk_space_available_limit_bytes",
            "Room on the disk below which publishers wait.",
            |it| it.measured.disk_limit,
        ),
        family(
            "alarms_memory_used_watermark",
            "untyped",
            "1 while publishers wait for memory.",
            Source::Number(|it| it.short.memory.into()),
        ),
        family(
            "alarms_free_disk_space_watermark",
            "untyped",
            "1 while publishers wait for room on the disk.",
            Source::Number(|it| it.short.disk.into()),
        ),
        family(
            "alarms_file_descriptor_limit",
            "untyped",
            "1 while no more files can be opened.",
            Source::Number(|it| (it.process.files >= it.process.files_max).into()),
        ),
        family(
            "auth_attempts_total",
            "counter",
            "Attempts to log in.",
            Source::Protocol(|it| it.attempts[0]),
        ),
        family(
            "auth_attempts_succeeded_total",
            "counter",
            "Attempts that succeeded.",
            Source::Protocol(|it| it.attempts[1]),
        ),
        family(
            "auth_attempts_failed_total",
            "counter",
            "Attempts that failed.",
            Source::Protocol(|it| it.attempts[2]),
        ),
        gauge(
            "queue_messages_ready",
            "Messages that wait for a consumer.",
            |it| it.sums.ready,
        ),
        gauge(
            "queue_messages_unacked",
            "Messages that consumers have and have not settled.",
            |it| it.sums.unacked,
        ),
        gauge("queue_messages", "Both together.", |it| {
            it.sums.ready + it.sums.unacked
        }),
        gauge(
            "queue_messages_bytes",
            "Octets of the bodies of messages.",
            |it| it.sums.ready_octets + it.sums.unacked_octets,
        ),
        gauge(
            "queue_messages_ready_bytes",
            "Octets of the bodies of those that wait.",
            |it| it.sums.ready_octets,
        ),
        gauge(
            "queue_messages_unacked_bytes",
            "Octets of the bodies of those that consumers have.",
            |it| it.sums.unacked_octets,
        ),
        gauge("queue_messages_ram", "Messages that are in memory.", |it| {
            it.sums.in_memory
        }),
        gauge(
            "queue_messages_paged_out",
            "Messages that are on disk only.",
            |it| (it.sums.ready + it.sums.unacked).saturating_sub(it.sums.in_memory),
        ),
        gauge("queue_consumers", "Consumers of queues.", |it| it.sums.consumers),
        counter(
            "queue_messages_published_total",
            "Messages that queues were given.",
            |it| it.traffic.iter().map(|traffic| traffic.published).sum(),
        ),
        gauge("channel_consumers", "Consumers of channels.", |it| {
            it.sums.consumers
        }),
        gauge(
            "channel_messages_unacked",
            "Messages that channels have and have not settled.",
            |it| it.sums.unacked,
        ),
        counter("channel_messages_published_total", "Messages published.", |it| {
            it.totals.published
        }),
        counter(
            "channel_messages_confirmed_total",
            "Messages confirmed to their publishers.",
            |it| it.totals.confirmed,
        ),
        counter(
            "channel_messages_unroutable_returned_total",
            "Messages that no queue wanted, returned.",
            |it| it.totals.returned,
        ),
        counter(
            "channel_messages_unroutable_dropped_total",
            "Messages that no queue wanted, dropped.",
            |it| it.totals.dropped,
        ),
        counter(
            "channel_messages_delivered_total",
            "Messages delivered that need no settling.",
            |it| it.traffic.iter().map(|traffic| traffic.delivered_no_ack).sum(),
        ),
        counter(
            "channel_messages_delivered_ack_total",
            "Messages delivered, to be settled.",
            |it| it.traffic.iter().map(|traffic| traffic.delivered).sum(),
        ),
        counter(
            "channel_get_total",
            "Messages fetched that need no settling.",
            |it| it.traffic.iter().map(|traffic| traffic.got_no_ack).sum(),
        ),
        counter(
            "channel_get_ack_total",
            "Messages fetched, to be settled.",
            |it| it.traffic.iter().map(|traffic| traffic.got).sum(),
        ),
        counter("channel_get_empty_total", "Fetches that found nothing.", |it| {
            it.traffic.iter().map(|traffic| traffic.got_empty).sum()
        }),
        counter(
            "channel_messages_redelivered_total",
            "Messages delivered or fetched again.",
            |it| it.traffic.iter().map(|traffic| traffic.redelivered).sum(),
        ),
        counter("channel_messages_acked_total", "Messages acknowledged.", |it| {
            it.traffic.iter().map(|traffic| traffic.acked).sum()
        }),
        gauge("connection_channels", "Channels of connections.", |it| {
            it.sums.channels
        }),
        counter(
            "connection_incoming_bytes_total",
            "Octets read from clients.",
            |it| it.totals.octets_received,
        ),
        counter(
            "connection_outgoing_bytes_total",
            "Octets written to clients.",
            |it| it.totals.octets_sent,
        ),
        gauge(
            "connection_pending_packets",
            "Connections whose client does not take what it was sent.",
            |it| it.sums.unsent,
        ),
        family(
            "global_consumers",
            "gauge",
            "Consumers.",
            Source::Protocol(|it| it.sums.consumers),
        ),
        family(
            "global_publishers",
            "gauge",
            "Channels on which something was published.",
            Source::Protocol(|it| it.sums.publishers),
        ),
        protocol("messages_received_total", "Messages published.", |it| {
            it.totals.published
        }),
        protocol(
            "messages_received_confirm_total",
            "Messages published, to be confirmed.",
            |it| it.totals.to_confirm,
        ),
        protocol(
            "messages_confirmed_total",
            "Messages confirmed to their publishers.",
            |it| it.totals.confirmed,
        ),
        protocol(
            "messages_routed_total",
            "Places that messages were given in queues.",
            |it| it.totals.routed,
        ),
        protocol(
            "messages_unroutable_dropped_total",
            "Messages that no queue wanted, dropped.",
            |it| it.totals.dropped,
        ),
        protocol(
            "messages_unroutable_returned_total",
            "Messages that no queue wanted, returned.",
            |it| it.totals.returned,
        ),
        by_type(
            "messages_delivered_total",
            "Messages that went to clients.",
            |it| it.delivered + it.delivered_no_ack + it.got + it.got_no_ack,
        ),
        by_type(
            "messages_delivered_consume_auto_ack_total",
            "Messages delivered that need no settling.",
            |it| it.delivered_no_ack,
        ),
        by_type(
            "messages_delivered_consume_manual_ack_total",
            "Messages delivered, to be settled.",
            |it| it.delivered,
        ),
        by_type(
            "messages_delivered_get_auto_ack_total",
            "Messages fetched that need no settling.",
            |it| it.got_no_ack,
        ),
        by_type(
            "messages_delivered_get_manual_ack_total",
            "Messages fetched, to be settled.",
            |it| it.got,
        ),
        by_type("messages_get_empty_total", "Fetches that found nothing.", |it| {
            it.got_empty
        }),
        by_type(
            "messages_redelivered_total",
            "Messages delivered or fetched again.",
            |it| it.redelivered,
        ),
        by_type("messages_acknowledged_total", "Messages acknowledged.", |it| {
            it.acked
        }),
        by_death(
            "expired",
            "Messages whose time ran out.",
            |it, kind, published| it.get(kind, Reason::Expired, published),
        ),
        by_death(
            "maxlen",
            "Messages that a full queue dropped, or turned away to its dead-letter exchange.",
            |it, kind, published| it.get(kind, Reason::MaxLength, published),
        ),
        by_death(
            "rejected",
            "Messages that a consumer did not want, nor that they come back.",
            |it, kind, published| it.get(kind, Reason::Rejected, published),
        ),
        by_death(
            "delivery_limit",
            "Messages that came back too often.",
            |it, kind, published| it.get(kind, Reason::DeliveryLimit, published),
        ),
    ]
});
