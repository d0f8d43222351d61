//! What a metric is, and its lines.

use warren_api::broker::RABBITMQ_VERSION;
use warren_cluster::LogStatistics;
use warren_cluster::queue::{Snapshot, Traffic};
use warren_model::arguments::QueueType;
use warren_model::queue::Reason;

use super::page::Page;
use super::scene::{Objects, Scene};
use crate::registry::{ChannelReport, Entry};

/// A metric.
pub(super) struct Family {
    /// The whole name.
    pub(super) name: &'static str,
    /// `gauge`, `counter`, `histogram` or `untyped`
    pub(super) kind: &'static str,
    /// What it says, in a sentence.
    pub(super) help: &'static str,
    /// The node's figure; none where only things have one.
    pub(super) sum: Option<Sum>,
    /// That of each thing.
    pub(super) each: Option<Each>,
}

/// How the node's figure is read.
#[derive(Clone, Copy)]
pub(super) enum Sum {
    Count(fn(&Scene<'_>) -> u64),
    /// With a fraction.
    Real(fn(&Scene<'_>) -> f64),
    /// What AMQP clients did.
    Protocol(fn(&Scene<'_>) -> u64),
    /// Over the queues that there are.
    Queues(fn(&Snapshot) -> u64),
    /// Over the connections that there are.
    Connections(fn(&Entry) -> u64),
    /// Over the queues that are or were.
    Traffic(fn(&Traffic) -> u64),
    /// The same for each type of queue.
    ByType(fn(&Traffic) -> u64),
    /// For each type of queue, and for what becomes of messages that die so.
    Deaths(Reason),
    /// Messages that died and were confirmed by the queues they went to: nobody waits for that here.
    DeathsConfirmed,
    /// Of each other node of the cluster: there is none.
    Peers,
    /// How large what AMQP clients publish is.
    Sizes,
    /// Of the log, if the node keeps anything.
    Log(fn(&LogStatistics) -> f64),
    Build,
    Identity,
}

/// How the figure of each thing is read, and in which families of `/metrics/detailed` it is.
#[derive(Clone, Copy)]
pub(super) enum Each {
    Queue(&'static [&'static str], fn(&Snapshot) -> u64),
    /// What went which way, of a queue.
    Delivery(fn(&Traffic) -> u64),
    Channel(fn(&ChannelReport) -> u64),
    Connection(&'static [&'static str], fn(&Entry) -> u64),
    /// The thing is the node.
    Node(&'static str),
}

/// The family of all that channels have.
pub(super) const CHANNELS: &str = "channel_metrics";

const PROTOCOL: (&str, &str) = ("protocol", "amqp091");
const TYPES: [(QueueType, &str); 2] = [
    (QueueType::Classic, "rabbit_classic_queue"),
    (QueueType::Quorum, "rabbit_quorum_queue"),
];

impl Family {
    /// Says whose metrics these are.
    pub(super) const fn is_identity(&self) -> bool {
        matches!(self.sum, Some(Sum::Build | Sum::Identity))
    }

    /// Is there a line for each thing, in one of these families?
    pub(super) fn is_in(&self, families: &[String]) -> bool {
        let named: &[&str] = match self.each {
            None => &[],
            Some(Each::Queue(named, _) | Each::Connection(named, _)) => named,
            Some(Each::Node(named)) => return families.iter().any(|family| family == named),
            Some(Each::Delivery(_)) => &["queue_delivery_metrics"],
            Some(Each::Channel(_)) => &[CHANNELS],
        };
        families.iter().any(|family| named.contains(&family.as_str()))
    }

    /// Writes the node's figure, if there is one.
    pub(super) fn write(&self, scene: &Scene<'_>, page: &mut Page) {
        self.write_as(self.name, scene, page);
    }

    fn write_as(&self, name: &str, scene: &Scene<'_>, page: &mut Page) {
        let Some(sum) = self.sum else { return };
        // Not even a headline for what is not there.
        if matches!(sum, Sum::Log(_)) && scene.log.is_none() {
            return;
        }
        page.family(name, self.kind, self.help);
        match sum {
            Sum::Count(of) => page.sample(name, &[], of(scene)),
            Sum::Real(of) => page.sample(name, &[], of(scene)),
            Sum::Protocol(of) => page.sample(name, &[PROTOCOL], of(scene)),
            Sum::Queues(of) => {
                let each = scene.queues.iter().map(|(_, queue)| of(queue));
                page.sample(name, &[], each.sum::<u64>());
            }
            Sum::Connections(of) => {
                let each = scene.connections.iter().map(|entry| of(entry));
                page.sample(name, &[], each.sum::<u64>());
            }
            Sum::Traffic(of) => page.sample(name, &[], scene.traffic.iter().map(of).sum::<u64>()),
            Sum::ByType(of) => {
                for (traffic, (_, kind)) in scene.traffic.iter().zip(TYPES) {
                    page.sample(name, &[PROTOCOL, ("queue_type", kind)], of(traffic));
                }
            }
            Sum::Deaths(reason) => {
                for (kind, label) in TYPES {
                    for (published, strategy) in [(true, "at_most_once"), (false, "disabled")] {
                        let labels = [("queue_type", label), ("dead_letter_strategy", strategy)];
                        page.sample(name, &labels, scene.deaths.get(kind, reason, published));
                    }
                }
            }
            Sum::DeathsConfirmed => {
                let [_, (_, quorum)] = TYPES;
                let labels = [("queue_type", quorum), ("dead_letter_strategy", "at_least_once")];
                page.sample(name, &labels, 0);
            }
            Sum::Peers => {}
            Sum::Sizes => {
                let (sizes, bucket) = (&scene.totals.published, format!("{name}_bucket"));
                for (bound, count) in sizes.up_to() {
                    page.sample(&bucket, &[PROTOCOL, ("le", &bound.to_string())], count);
                }
                page.sample(&bucket, &[PROTOCOL, ("le", "+Inf")], sizes.count());
                page.sample(&format!("{name}_count"), &[PROTOCOL], sizes.count());
                page.sample(&format!("{name}_sum"), &[PROTOCOL], sizes.octets);
            }
            Sum::Log(of) => {
                if let Some(log) = &scene.log {
                    page.sample(name, &[], of(log));
                }
            }
            Sum::Build => {
                let labels = [
                    ("rabbitmq_version", RABBITMQ_VERSION),
                    ("prometheus_plugin_version", RABBITMQ_VERSION),
                    ("prometheus_client_version", env!("CARGO_PKG_VERSION")),
                    ("erlang_version", ""),
                    ("warren_version", env!("CARGO_PKG_VERSION")),
                ];
                page.sample(name, &labels, 1);
            }
            Sum::Identity => {
                let labels = [
                    ("rabbitmq_node", scene.node.as_str()),
                    ("rabbitmq_cluster", scene.cluster.as_str()),
                    ("rabbitmq_cluster_permanent_id", scene.cluster_id.as_str()),
                ];
                page.sample(name, &labels, 1);
            }
        }
    }

    /// Writes the figure of each thing.
    pub(super) fn write_each(&self, name: &str, objects: &Objects<'_>, page: &mut Page) {
        let Some(each) = self.each else { return };
        if !matches!(each, Each::Node(_)) {
            page.family(name, self.kind, self.help);
        }
        match each {
            Each::Node(_) => self.write_as(name, objects.scene, page),
            Each::Queue(_, of) => {
                for (vhost, queue, snapshot) in &objects.queues {
                    page.sample(name, &[("vhost", vhost), ("queue", queue)], of(snapshot));
                }
            }
            Each::Delivery(of) => {
                for (vhost, queue, snapshot) in &objects.queues {
                    page.sample(name, &[("vhost", vhost), ("queue", queue)], of(&snapshot.traffic));
                }
            }
            Each::Channel(of) => {
                for (pid, report) in &objects.channels {
                    page.sample(name, &[("channel", pid)], of(report));
                }
            }
            Each::Connection(_, of) => {
                for (pid, entry) in &objects.connections {
                    // So does RabbitMQ call it.
                    page.sample(name, &[("channel", pid)], of(entry));
                }
            }
        }
    }
}
