//! One look at everything that is counted: figures of one page fit together.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use warren_cluster::queue::{Snapshot, Traffic};
use warren_cluster::{LogStatistics, Queue};
use warren_model::arguments::QueueType;

use crate::about::About;
use crate::alarms::{Measured, Short};
use crate::node::Node;
use crate::process::{Process, room};
use crate::registry::{Deaths, Entry, Totals, add_traffic};

/// What was seen.
pub(super) struct Scene<'a> {
    pub(super) node: String,
    pub(super) cluster: String,
    pub(super) cluster_id: String,
    pub(super) uptime: f64,
    pub(super) queues: Vec<(Arc<Queue>, Snapshot)>,
    pub(super) connections: Vec<Arc<Entry>>,
    /// Of all connections that are or were.
    pub(super) totals: Totals,
    /// Of all queues that are or were, classic ones and quorum ones.
    pub(super) traffic: [Traffic; 2],
    pub(super) deaths: &'a Deaths,
    pub(super) sums: Sums,
    pub(super) churn: Churned,
    pub(super) process: Process,
    pub(super) disk_free: u64,
    /// Of a node that keeps anything.
    pub(super) log: Option<LogStatistics>,
    pub(super) short: Short,
    pub(super) measured: Measured,
    /// To log in: all, succeeded, failed.
    pub(super) attempts: [u64; 3],
}

/// Of what there is now.
#[derive(Default)]
pub(super) struct Sums {
    pub(super) ready: u64,
    pub(super) unacked: u64,
    pub(super) ready_octets: u64,
    pub(super) unacked_octets: u64,
    pub(super) in_memory: u64,
    pub(super) consumers: u64,
    pub(super) channels: u64,
    pub(super) publishers: u64,
    pub(super) unsent: u64,
    pub(super) reads: u64,
    pub(super) writes: u64,
}

/// What happened since the node started.
pub(super) struct Churned {
    pub(super) connections_opened: u64,
    pub(super) connections_closed: u64,
    pub(super) channels_opened: u64,
    pub(super) channels_closed: u64,
    pub(super) queues_declared: u64,
    pub(super) queues_created: u64,
    pub(super) queues_deleted: u64,
}

/// Where a queue's counts belong.
pub(super) const fn place(kind: QueueType) -> usize {
    match kind {
        QueueType::Classic => 0,
        QueueType::Quorum => 1,
    }
}

impl<'a> Scene<'a> {
    pub(super) fn now(node: &'a Node, about: &About) -> Self {
        let (queues, mut traffic) = node.queues();
        let queues: Vec<(Arc<Queue>, Snapshot)> = queues
            .into_iter()
            .map(|queue| {
                let snapshot = queue.snapshot();
                (queue, snapshot)
            })
            .collect();
        let connections = node.registry.connections();
        let mut sums = Sums::default();
        for (queue, snapshot) in &queues {
            sums.ready += snapshot.counts.ready;
            sums.unacked += snapshot.counts.unacked;
            sums.ready_octets += snapshot.counts.ready_octets;
            sums.unacked_octets += snapshot.counts.unacked_octets;
            sums.in_memory += snapshot.in_memory as u64;
            sums.consumers += snapshot.consumers as u64;
            if let Some(sum) = traffic.get_mut(place(queue.identity().kind)) {
                add_traffic(sum, snapshot.traffic);
            }
        }
        for entry in &connections {
            sums.channels += entry.counts.channels.get();
            sums.publishers += entry.counts.publishers.get();
            sums.unsent += u64::from(entry.unsent() > 0);
            sums.reads += entry.counts.reads.get();
            sums.writes += entry.counts.writes.get();
        }
        let churn = &node.registry.churn;
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        Self {
            node: node.name.clone(),
            cluster: node.cluster_name(),
            cluster_id: node.cluster_id(),
            uptime: about.uptime().as_secs_f64(),
            totals: node.registry.totals(),
            traffic,
            deaths: &node.registry.deaths,
            sums,
            churn: Churned {
                connections_opened: count(&churn.connections_opened),
                connections_closed: count(&churn.connections_closed),
                channels_opened: count(&churn.channels_opened),
                channels_closed: count(&churn.channels_closed),
                queues_declared: count(&churn.queues_declared),
                queues_created: count(&churn.queues_created),
                queues_deleted: count(&churn.queues_deleted),
            },
            process: Process::now(),
            log: node.log.statistics(),
            disk_free: about.data_directory.as_deref().map_or(0, room),
            short: node.alarms.short(),
            measured: node.alarms.measured(),
            attempts: [
                count(&node.auth.attempts.total),
                count(&node.auth.attempts.succeeded),
                count(&node.auth.attempts.failed),
            ],
            queues,
            connections,
        }
    }
}
