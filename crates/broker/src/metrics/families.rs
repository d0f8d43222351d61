//! All metrics, each once: its name, its type, what it says, how the node's figure is read, and how that of each queue, channel or
//! connection where there is a line for each.
//!
//! Names that begin with `rabbitmq_` are those of RabbitMQ's plugin. Whatever that has no name for begins with `warren_`.

use std::sync::atomic::{AtomicU64, Ordering};

use warren_cluster::queue::{Snapshot, Traffic};
use warren_model::queue::Reason;

use super::family::Sum::{
    Build, ByType, Connections, Count, Deaths, DeathsConfirmed, Identity, Log, Peers, Protocol, Queues, Real,
    Sizes, Traffic as Sent,
};
use super::family::{Each, Family, Sum};
use crate::registry::{ChannelReport, Entry};

const COARSE: &[&str] = &["queue_coarse_metrics"];
const QUEUE: &[&str] = &["queue_metrics"];
const CONSUMERS: &[&str] = &["queue_consumer_count", "queue_metrics"];
const OCTETS: &[&str] = &["connection_coarse_metrics"];
const CONNECTION: &[&str] = &["connection_metrics"];
const CHURN: &str = "connection_churn_metrics";
const NODE: &str = "node_coarse_metrics";
const LIMITS: &str = "node_metrics";
const ATTEMPTS: &str = "auth_attempt_metrics";

/// Those of channels are of the queues where they count the same and channels would have to be asked.
#[rustfmt::skip]
pub(super) static FAMILIES: &[Family] = &[
    untyped("rabbitmq_build_info", "Which versions run here.", Build),
    untyped("rabbitmq_identity_info", "Whose metrics these are.", Identity),

    gauge("rabbitmq_connections", "Connections that are open.", Count(|it| it.connections.len() as u64)),
    gauge("rabbitmq_channels", "Channels that are open.", Connections(|it| it.counts.channels.get())),
    gauge("rabbitmq_consumers", "Consumers of all queues.", Queues(|it| it.consumers as u64)),
    gauge("rabbitmq_queues", "Queues there are.", Count(|it| it.queues.len() as u64)),
    within(CHURN, counter("rabbitmq_connections_opened_total", "Connections opened.", Count(|it| now(&it.churn.connections_opened)))),
    within(CHURN, counter("rabbitmq_connections_closed_total", "Connections closed or lost.", Count(|it| now(&it.churn.connections_closed)))),
    within(CHURN, counter("rabbitmq_channels_opened_total", "Channels opened.", Count(|it| now(&it.churn.channels_opened)))),
    within(CHURN, counter("rabbitmq_channels_closed_total", "Channels closed or lost.", Count(|it| now(&it.churn.channels_closed)))),
    within(CHURN, counter("rabbitmq_queues_declared_total", "Declarations of queues, of those that there were already included.", Count(|it| now(&it.churn.queues_declared)))),
    within(CHURN, counter("rabbitmq_queues_created_total", "Queues created.", Count(|it| now(&it.churn.queues_created)))),
    within(CHURN, counter("rabbitmq_queues_deleted_total", "Queues deleted.", Count(|it| now(&it.churn.queues_deleted)))),
    counter("warren_connections_not_opened_total", "Clients that did not get as far as an open connection: they went, spoke something else, or were refused.", Count(|it| now(&it.churn.connections_not_opened))),
    counter("warren_handshakes_too_long_total", "Clients that took too long for that.", Count(|it| now(&it.churn.handshakes_too_long))),
    counter("warren_connections_not_accepted_total", "Clients that could not be accepted, mostly for want of file descriptors.", Count(|it| now(&it.churn.not_accepted))),

    within(NODE, gauge("rabbitmq_process_open_fds", "Files that the process has open, sockets included.", Count(|it| it.process.files))),
    within(LIMITS, gauge("rabbitmq_process_max_fds", "Files that it may have open.", Count(|it| it.process.files_max))),
    within(NODE, gauge("rabbitmq_process_open_tcp_sockets", "Sockets of clients.", Count(|it| it.connections.len() as u64))),
    within(LIMITS, gauge("rabbitmq_process_max_tcp_sockets", "Sockets that the process may have open.", Count(|it| it.process.files_max))),
    within(NODE, gauge("rabbitmq_process_resident_memory_bytes", "Memory that the process has.", Count(|it| it.process.resident))),
    within(LIMITS, gauge("rabbitmq_resident_memory_limit_bytes", "Memory from which on publishers wait.", Count(|it| it.measured.memory_limit))),
    within(NODE, gauge("rabbitmq_disk_space_available_bytes", "Room on the disk with the data.", Count(|it| it.measured.disk.unwrap_or_default()))),
    within(LIMITS, gauge("rabbitmq_disk_space_available_limit_bytes", "Room on the disk below which publishers wait.", Count(|it| it.measured.disk_limit))),
    within(LIMITS, gauge("rabbitmq_erlang_uptime_seconds", "Time since the node started.", Real(|it| it.uptime))),
    gauge("erlang_vm_dist_node_state", "The way to each other node of the cluster, by `peer`: 3 as long as it is open. A node that is alone has none.", Peers),
    gauge("process_start_time_seconds", "When that was, in seconds since 1970.", Real(|it| it.started)),
    untyped("rabbitmq_alarms_memory_used_watermark", "1 while publishers wait for memory.", Count(|it| it.short.memory.into())),
    untyped("rabbitmq_alarms_free_disk_space_watermark", "1 while publishers wait for room on the disk.", Count(|it| it.short.disk.into())),
    untyped("rabbitmq_alarms_file_descriptor_limit", "1 while no more files can be opened.", Count(|it| (it.process.files >= it.process.files_max).into())),
    counter("warren_alarms_raised_total", "How often memory or disk became short.", Count(|it| it.alarms.0)),
    counter("warren_connections_blocked_total", "Connections that had to wait for that.", Count(|it| it.alarms.1)),
    within(ATTEMPTS, counter("rabbitmq_auth_attempts_total", "Attempts to log in.", Protocol(|it| now(&it.attempts.total)))),
    within(ATTEMPTS, counter("rabbitmq_auth_attempts_succeeded_total", "Attempts that succeeded.", Protocol(|it| now(&it.attempts.succeeded)))),
    within(ATTEMPTS, counter("rabbitmq_auth_attempts_failed_total", "Attempts that failed.", Protocol(|it| now(&it.attempts.failed)))),
    counter("warren_auth_attempts_slowed_total", "Attempts that had to wait, since others from there had failed.", Protocol(|it| now(&it.attempts.slowed))),

    of_queues("rabbitmq_queue_messages_ready", "Messages that wait for a consumer.", COARSE, |it| it.counts.ready),
    of_queues("rabbitmq_queue_messages_unacked", "Messages that consumers have and have not settled.", COARSE, |it| it.counts.unacked),
    of_queues("rabbitmq_queue_messages", "Both together.", COARSE, |it| it.counts.ready + it.counts.unacked),
    of_queues("rabbitmq_queue_consumers", "Consumers of queues.", CONSUMERS, |it| it.consumers as u64),
    of_queues("rabbitmq_queue_messages_bytes", "Octets of the bodies of messages.", QUEUE, |it| it.counts.ready_octets + it.counts.unacked_octets),
    of_queues("rabbitmq_queue_messages_ready_bytes", "Octets of the bodies of those that wait.", QUEUE, |it| it.counts.ready_octets),
    of_queues("rabbitmq_queue_messages_unacked_bytes", "Octets of the bodies of those that consumers have.", QUEUE, |it| it.counts.unacked_octets),
    of_queues("rabbitmq_queue_messages_ram", "Messages that are in memory.", QUEUE, |it| it.in_memory as u64),
    of_queues("rabbitmq_queue_messages_ready_ram", "Those of them that wait.", QUEUE, |it| (it.in_memory as u64).saturating_sub(it.counts.unacked)),
    of_queues("rabbitmq_queue_messages_unacked_ram", "Those of them that consumers have.", QUEUE, |it| it.counts.unacked),
    of_queues("rabbitmq_queue_messages_paged_out", "Messages that are on disk only.", QUEUE, |it| (it.counts.ready + it.counts.unacked).saturating_sub(it.in_memory as u64)),
    of_traffic("rabbitmq_queue_messages_published_total", "Messages that queues were given.", |it| it.published),
    of_traffic("rabbitmq_queue_messages_delivered_total", "Messages of queues delivered that need no settling.", |it| it.delivered_no_ack),
    of_traffic("rabbitmq_queue_messages_delivered_ack_total", "Messages of queues delivered, to be settled.", |it| it.delivered),
    of_traffic("rabbitmq_queue_messages_redelivered_total", "Messages of queues delivered or fetched again.", |it| it.redelivered),
    of_traffic("rabbitmq_queue_messages_acked_total", "Messages of queues acknowledged.", |it| it.acked),
    of_traffic("rabbitmq_queue_get_total", "Messages of queues fetched that need no settling.", |it| it.got_no_ack),
    of_traffic("rabbitmq_queue_get_ack_total", "Messages of queues fetched, to be settled.", |it| it.got),
    of_traffic("rabbitmq_queue_get_empty_total", "Fetches from queues that found nothing.", |it| it.got_empty),

    of_channels("rabbitmq_channel_consumers", "Consumers of channels.", Some(Queues(|it| it.consumers as u64)), |it| it.consumers.len() as u64),
    of_channels("rabbitmq_channel_messages_unacked", "Messages that clients have and have not settled.", Some(Queues(|it| it.counts.unacked)), |it| it.unsettled.into()),
    of_channels("rabbitmq_channel_messages_unconfirmed", "Messages that clients wait to hear of.", None, |it| it.unconfirmed),
    of_channels("rabbitmq_channel_messages_uncommitted", "Messages that wait for a commit.", None, |it| it.uncommitted),
    of_channels("rabbitmq_channel_acks_uncommitted", "Acknowledgements that wait for a commit.", None, |it| it.acks_uncommitted),
    of_channels("rabbitmq_consumer_prefetch", "Limit of each consumer to come.", None, |it| it.prefetch.into()),
    of_channels("rabbitmq_channel_prefetch", "Limit of all consumers together.", None, |it| it.prefetch_global.into()),
    counter("rabbitmq_channel_messages_published_total", "Messages published.", Count(|it| it.totals.published.count())),
    counter("rabbitmq_channel_messages_confirmed_total", "Messages confirmed to their publishers.", Count(|it| it.totals.confirmed)),
    counter("rabbitmq_channel_messages_unroutable_returned_total", "Messages that no queue wanted, returned.", Count(|it| it.totals.returned)),
    counter("rabbitmq_channel_messages_unroutable_dropped_total", "Messages that no queue wanted, dropped.", Count(|it| it.totals.dropped)),
    counter("rabbitmq_channel_messages_delivered_total", "Messages delivered that need no settling.", Sent(|it| it.delivered_no_ack)),
    counter("rabbitmq_channel_messages_delivered_ack_total", "Messages delivered, to be settled.", Sent(|it| it.delivered)),
    counter("rabbitmq_channel_messages_redelivered_total", "Messages delivered or fetched again.", Sent(|it| it.redelivered)),
    counter("rabbitmq_channel_messages_acked_total", "Messages acknowledged.", Sent(|it| it.acked)),
    counter("rabbitmq_channel_get_total", "Messages fetched that need no settling.", Sent(|it| it.got_no_ack)),
    counter("rabbitmq_channel_get_ack_total", "Messages fetched, to be settled.", Sent(|it| it.got)),
    counter("rabbitmq_channel_get_empty_total", "Fetches that found nothing.", Sent(|it| it.got_empty)),

    of_connections(gauge("rabbitmq_connection_channels", "Channels of connections.", Connections(|it| it.counts.channels.get())), CONNECTION, |it| it.counts.channels.get()),
    of_connections(gauge("rabbitmq_connection_pending_packets", "Octets that clients do not take.", Connections(Entry::unsent)), CONNECTION, Entry::unsent),
    of_connections(counter("rabbitmq_connection_incoming_bytes_total", "Octets read from clients.", Count(|it| it.totals.octets_received)), OCTETS, |it| it.counts.octets_received.get()),
    of_connections(counter("rabbitmq_connection_outgoing_bytes_total", "Octets written to clients.", Count(|it| it.totals.octets_sent)), OCTETS, |it| it.counts.octets_sent.get()),
    of_connections(counter("rabbitmq_connection_incoming_packets_total", "Reads from clients.", Count(|it| it.totals.reads)), CONNECTION, |it| it.counts.reads.get()),
    of_connections(counter("rabbitmq_connection_outgoing_packets_total", "Writes to clients.", Count(|it| it.totals.writes)), CONNECTION, |it| it.counts.writes.get()),

    gauge("rabbitmq_global_consumers", "Consumers.", Protocol(|it| it.queues.iter().map(|(_, queue)| queue.consumers as u64).sum())),
    gauge("rabbitmq_global_publishers", "Channels on which something was published.", Protocol(|it| it.connections.iter().map(|entry| entry.counts.publishers.get()).sum())),
    counter("rabbitmq_global_messages_received_total", "Messages published.", Protocol(|it| it.totals.published.count())),
    family("rabbitmq_message_size_bytes", "histogram", "Octets of the bodies of messages published.", Some(Sizes)),
    counter("rabbitmq_global_messages_received_confirm_total", "Messages published, to be confirmed.", Protocol(|it| it.totals.to_confirm)),
    counter("rabbitmq_global_messages_confirmed_total", "Messages confirmed to their publishers.", Protocol(|it| it.totals.confirmed)),
    counter("rabbitmq_global_messages_routed_total", "Places that messages were given in queues.", Protocol(|it| it.totals.routed)),
    counter("rabbitmq_global_messages_unroutable_dropped_total", "Messages that no queue wanted, dropped.", Protocol(|it| it.totals.dropped)),
    counter("rabbitmq_global_messages_unroutable_returned_total", "Messages that no queue wanted, returned.", Protocol(|it| it.totals.returned)),
    counter("rabbitmq_global_messages_delivered_total", "Messages that went to clients.", ByType(|it| it.delivered + it.delivered_no_ack + it.got + it.got_no_ack)),
    counter("rabbitmq_global_messages_delivered_consume_auto_ack_total", "Messages delivered that need no settling.", ByType(|it| it.delivered_no_ack)),
    counter("rabbitmq_global_messages_delivered_consume_manual_ack_total", "Messages delivered, to be settled.", ByType(|it| it.delivered)),
    counter("rabbitmq_global_messages_delivered_get_auto_ack_total", "Messages fetched that need no settling.", ByType(|it| it.got_no_ack)),
    counter("rabbitmq_global_messages_delivered_get_manual_ack_total", "Messages fetched, to be settled.", ByType(|it| it.got)),
    counter("rabbitmq_global_messages_get_empty_total", "Fetches that found nothing.", ByType(|it| it.got_empty)),
    counter("rabbitmq_global_messages_redelivered_total", "Messages delivered or fetched again.", ByType(|it| it.redelivered)),
    counter("rabbitmq_global_messages_acknowledged_total", "Messages acknowledged.", ByType(|it| it.acked)),
    counter("rabbitmq_global_messages_dead_lettered_expired_total", "Messages whose time ran out.", Deaths(Reason::Expired)),
    counter("rabbitmq_global_messages_dead_lettered_maxlen_total", "Messages that a full queue dropped, or turned away to its dead-letter exchange.", Deaths(Reason::MaxLength)),
    counter("rabbitmq_global_messages_dead_lettered_rejected_total", "Messages that a consumer did not want, nor that they come back.", Deaths(Reason::Rejected)),
    counter("rabbitmq_global_messages_dead_lettered_delivery_limit_total", "Messages that came back too often.", Deaths(Reason::DeliveryLimit)),
    counter("rabbitmq_global_messages_dead_lettered_confirmed_total", "Messages that died and were confirmed where they went: nobody asks for that here.", DeathsConfirmed),

    counter("warren_log_batches_total", "Batches appended.", Log(|it| it.batches as f64)),
    counter("warren_log_messages_total", "Messages appended.", Log(|it| it.messages as f64)),
    counter("warren_log_bytes_total", "What was appended.", Log(|it| it.octets as f64)),
    counter("warren_log_writes_total", "Writes, each of all batches that waited.", Log(|it| it.writes as f64)),
    counter("warren_log_syncs_total", "Calls of fdatasync.", Log(|it| it.syncs as f64)),
    counter("warren_log_sync_seconds_total", "Time in fdatasync.", Log(|it| it.sync_time.as_secs_f64())),
    gauge("warren_log_sync_longest_seconds", "The longest fdatasync since the start.", Log(|it| it.sync_longest.as_secs_f64())),
    gauge("warren_log_unanswered_seconds", "How long the disk has not answered the log; 0 when nothing was asked of it.", Log(|it| it.unanswered.as_secs_f64())),
    gauge("warren_log_waiting_bytes", "What waits to be written.", Log(|it| it.waiting as f64)),
    gauge("warren_log_segments", "Files with something in them that is still needed.", Log(|it| it.segments as f64)),
    gauge("warren_log_segment_bytes", "Their size.", Log(|it| it.segment_octets as f64)),
    gauge("warren_log_live_messages", "Messages in them that are still needed, once for each queue.", Log(|it| it.live as f64)),
    counter("warren_log_moved_messages_total", "Messages copied out of files in which little was needed.", Log(|it| it.moved as f64)),
    counter("warren_log_fetched_messages_total", "Messages read back.", Log(|it| it.fetched as f64)),
    counter("warren_log_fetched_bytes_total", "What was read back.", Log(|it| it.fetched_octets as f64)),
    counter("warren_log_checkpoints_total", "Indexes written, so that the next start need not read everything.", Log(|it| it.checkpoints as f64)),
    counter("warren_log_segments_used_total", "Files taken into use.", Log(|it| it.segments_used as f64)),
    counter("warren_log_refused_batches_total", "Batches refused since the disk was full.", Log(|it| it.refused as f64)),
    gauge("warren_log_full", "Whether messages are refused since the disk is full.", Log(|it| f64::from(u8::from(it.full)))),
    counter("warren_log_scrubbed_bytes_total", "What was read to see whether it is what was written.", Log(|it| it.scrubbed_octets as f64)),
    counter("warren_log_damaged_total", "How often it was not: put back a copy of the data directory while there is one.", Log(|it| it.damaged as f64)),
];

const fn family(name: &'static str, kind: &'static str, help: &'static str, sum: Option<Sum>) -> Family {
    Family {
        name,
        kind,
        help,
        sum,
        each: None,
    }
}

const fn gauge(name: &'static str, help: &'static str, sum: Sum) -> Family {
    family(name, "gauge", help, Some(sum))
}

const fn counter(name: &'static str, help: &'static str, sum: Sum) -> Family {
    family(name, "counter", help, Some(sum))
}

const fn untyped(name: &'static str, help: &'static str, sum: Sum) -> Family {
    family(name, "untyped", help, Some(sum))
}

/// In this family of `/metrics/detailed`, too.
const fn within(name: &'static str, family: Family) -> Family {
    Family {
        each: Some(Each::Node(name)),
        ..family
    }
}

/// Of each queue; the node's is the sum.
const fn of_queues(
    name: &'static str,
    help: &'static str,
    named: &'static [&'static str],
    of: fn(&Snapshot) -> u64,
) -> Family {
    let family = gauge(name, help, Queues(of));
    Family {
        each: Some(Each::Queue(named, of)),
        ..family
    }
}

/// What each queue counts; the node's is the sum with those that are gone.
const fn of_traffic(name: &'static str, help: &'static str, of: fn(&Traffic) -> u64) -> Family {
    let family = counter(name, help, Sent(of));
    Family {
        each: Some(Each::Delivery(of)),
        ..family
    }
}

const fn of_channels(
    name: &'static str,
    help: &'static str,
    sum: Option<Sum>,
    of: fn(&ChannelReport) -> u64,
) -> Family {
    Family {
        each: Some(Each::Channel(of)),
        ..family(name, "gauge", help, sum)
    }
}

/// The same of each connection.
const fn of_connections(family: Family, named: &'static [&'static str], of: fn(&Entry) -> u64) -> Family {
    Family {
        each: Some(Each::Connection(named, of)),
        ..family
    }
}

fn now(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
