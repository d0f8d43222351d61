//! One look at everything that is counted: figures of one page fit together.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use warren_cluster::queue::{Snapshot, Traffic};
use warren_cluster::{LogStatistics, Queue};
use warren_model::Name;
use warren_model::arguments::QueueType;

use crate::about::About;
use crate::alarms::{Measured, Short};
use crate::auth::Attempts;
use crate::node::Node;
use crate::process::Process;
use crate::registry::{ChannelReport, Churn, Deaths, Entry, Totals, add_traffic};

/// What was seen.
pub(super) struct Scene<'a> {
    pub(super) node: String,
    pub(super) cluster: String,
    pub(super) cluster_id: String,
    pub(super) uptime: f64,
    /// In seconds since 1970.
    pub(super) started: f64,
    pub(super) queues: Vec<(Arc<Queue>, Snapshot)>,
    pub(super) connections: Vec<Arc<Entry>>,
    /// Of all connections that are or were.
    pub(super) totals: Totals,
    /// Of all queues that are or were, classic ones and quorum ones.
    pub(super) traffic: [Traffic; 2],
    pub(super) deaths: &'a Deaths,
    pub(super) churn: &'a Churn,
    pub(super) attempts: &'a Attempts,
    pub(super) process: Process,
    /// Of a node that keeps anything.
    pub(super) log: Option<LogStatistics>,
    pub(super) short: Short,
    pub(super) measured: Measured,
    /// How often something became short, and a connection had to wait for that.
    pub(super) alarms: (u64, u64),
}

/// Everything there are lines about.
pub(super) struct Objects<'a> {
    pub(super) scene: &'a Scene<'a>,
    /// Vhost and name, by which they are sorted.
    pub(super) queues: Vec<(&'a Name, &'a Name, &'a Snapshot)>,
    /// By what listings call them.
    pub(super) channels: Vec<(String, &'a ChannelReport)>,
    pub(super) connections: Vec<(String, &'a Entry)>,
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
        let [classic, quorum] = &mut traffic;
        for (queue, snapshot) in &queues {
            let sum = match queue.identity().kind {
                QueueType::Classic => &mut *classic,
                QueueType::Quorum => &mut *quorum,
            };
            add_traffic(sum, snapshot.traffic);
        }
        let started = about.started.duration_since(UNIX_EPOCH);
        Self {
            node: node.name.clone(),
            cluster: node.cluster_name(),
            cluster_id: node.cluster_id(),
            uptime: about.uptime().as_secs_f64(),
            started: started.unwrap_or_default().as_secs_f64(),
            totals: node.registry.totals(),
            traffic,
            deaths: &node.registry.deaths,
            churn: &node.registry.churn,
            attempts: &node.auth.attempts,
            process: Process::now(),
            log: node.log.statistics(),
            short: node.alarms.short(),
            measured: node.alarms.measured(),
            alarms: node.alarms.counts(),
            connections: node.registry.connections(),
            queues,
        }
    }
}

impl<'a> Objects<'a> {
    /// Queues of some vhosts, or of all; all connections, and the channels that were reported.
    pub(super) fn new(
        node: &Node,
        scene: &'a Scene<'a>,
        channels: &'a [(Arc<Entry>, Vec<ChannelReport>)],
        vhosts: &[String],
    ) -> Self {
        let wanted = |vhost: &Name| vhosts.is_empty() || vhosts.iter().any(|name| name == vhost.as_str());
        let queues = scene.queues.iter().map(|(queue, snapshot)| {
            let identity = queue.identity();
            (&identity.vhost, &identity.name, snapshot)
        });
        let mut queues: Vec<_> = queues.filter(|(vhost, ..)| wanted(vhost)).collect();
        queues.sort_unstable_by_key(|(vhost, name, _)| (*vhost, *name));
        let channels = channels.iter().flat_map(|(entry, reports)| {
            let pid = |report: &ChannelReport| node.pid(entry.facts.number, report.number.into());
            reports.iter().map(move |report| (pid(report), report))
        });
        let connections = scene.connections.iter();
        Self {
            scene,
            queues,
            channels: channels.collect(),
            connections: connections
                .map(|entry| (node.pid(entry.facts.number, 0), &**entry))
                .collect(),
        }
    }
}
