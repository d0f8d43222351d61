//! What is measured, and what must hold.

use super::disturb::Disturbance;
use super::load::{Acks, Plan, Route};
use super::peer::Peer;

/// A line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    /// For `--row`.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) work: Work,
    pub(crate) unit: Unit,
    /// What the figure may be; infinite where nothing has to hold.
    pub(crate) limit: f64,
    pub(crate) aim: f64,
}

/// What the figure is, and its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Microseconds of processor time of all processes of the broker.
    Microseconds,
    /// Resident megabytes of all processes of the broker.
    Megabytes,
    /// Resident kilobytes.
    Kilobytes,
    /// Seconds that pass.
    Seconds,
    /// Milliseconds that pass.
    Milliseconds,
}

impl Unit {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Microseconds => "us",
            Self::Megabytes => "MB",
            Self::Kilobytes => "KB",
            Self::Seconds => "s",
            Self::Milliseconds => "ms",
        }
    }
}

/// What is done.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Work {
    /// Messages: processor time for each.
    Stream(Plan),
    /// Connections that open a channel and close: processor time for each.
    Churn,
    /// A fresh node that nobody uses.
    Node,
    /// Connections with a channel that do nothing: memory for each.
    Connections,
    /// Durable queues: how long to declare all of them.
    Declare,
    /// Durable queues: memory for each.
    Queues,
    /// A million messages of 1 KiB in a durable queue: memory.
    Deep,
    /// The same beside so many durable queues, killed: until a client can log in again.
    Recovery(usize),
    /// Much work of somebody's: how much longer others wait for a confirm than in a quiet time.
    Disturb(Disturbance),
    /// A paced stream of confirmed messages: what the median waits beyond one fdatasync of this disk.
    Paced(Plan),
}

impl Work {
    /// What it leaves behind would change what others find.
    pub(crate) const fn needs_a_fresh_process(&self) -> bool {
        !matches!(
            self,
            Self::Stream(_) | Self::Churn | Self::Paced(_) | Self::Disturb(_)
        )
    }

    /// Whether it makes sense to ask this of a broker.
    pub(crate) fn suits(&self, peer: Peer) -> bool {
        match (peer, self) {
            // It knows one queue, and keeps nothing.
            (Peer::Floor, Self::Stream(plan)) => {
                plan.publishers == 1 && plan.consumers < 2 && plan.route == Route::Default && !plan.persistent
            }
            (Peer::Floor, work) => matches!(work, Self::Churn | Self::Connections),
            // An hour.
            (Peer::Rabbitmq | Peer::Lavinmq, Self::Recovery(queues)) => *queues == 0,
            _ => true,
        }
    }
}

const fn plan(size: usize) -> Plan {
    Plan::one_to_one(size)
}

#[rustfmt::skip]
pub(crate) const ROWS: &[Row] = &[
    Row { name: "publish", title: "publish only, 16 B transient", unit: Unit::Microseconds, limit: 0.45, aim: 0.25,
          work: Work::Stream(Plan { consumers: 0, ..plan(16) }) },
    Row { name: "auto16", title: "1 → 1, 16 B transient, auto-ack", unit: Unit::Microseconds, limit: 0.6, aim: 0.4,
          work: Work::Stream(plan(16)) },
    Row { name: "auto1k", title: "1 → 1, 1 KiB transient, auto-ack", unit: Unit::Microseconds, limit: 1.8, aim: 1.2,
          work: Work::Stream(plan(1024)) },
    Row { name: "ack", title: "16 B transient, prefetch 100, ack each", unit: Unit::Microseconds, limit: 0.95, aim: 0.6,
          work: Work::Stream(Plan { acks: Acks::Every(1, 100), ..plan(16) }) },
    Row { name: "durable1k", title: "1 KiB persistent, confirms (1000 in flight), ack per 100", unit: Unit::Microseconds, limit: 3.0, aim: 2.5,
          work: Work::Stream(Plan { persistent: true, window: 1000, acks: Acks::Every(100, 1000), ..plan(1024) }) },
    Row { name: "quorum1k", title: "the same, a quorum queue", unit: Unit::Microseconds, limit: f64::INFINITY, aim: f64::INFINITY,
          work: Work::Stream(Plan { persistent: true, quorum: true, window: 1000, acks: Acks::Every(100, 1000), ..plan(1024) }) },
    Row { name: "quorum1", title: "the same, each message acknowledged, 100 of them at a client", unit: Unit::Microseconds, limit: f64::INFINITY, aim: f64::INFINITY,
          work: Work::Stream(Plan { persistent: true, quorum: true, window: 1000, acks: Acks::Every(1, 100), ..plan(1024) }) },
    Row { name: "durable64k", title: "64 KiB persistent, confirms (50 in flight), acks", unit: Unit::Microseconds, limit: 120.0, aim: 80.0,
          work: Work::Stream(Plan { persistent: true, window: 50, acks: Acks::Every(1, 50), ..plan(64 << 10) }) },
    Row { name: "large", title: "512 KiB transient, confirms (larger than frame_max)", unit: Unit::Microseconds, limit: 450.0, aim: 350.0,
          work: Work::Stream(Plan { window: 20, ..plan(512 << 10) }) },
    Row { name: "eight", title: "8 → 8 on one queue, 128 B, ack per 100", unit: Unit::Microseconds, limit: 0.9, aim: 0.6,
          work: Work::Stream(Plan { publishers: 8, consumers: 8, acks: Acks::Every(100, 1000), ..plan(128) }) },
    Row { name: "fanout", title: "fan-out to 10 queues, 128 B, per delivery", unit: Unit::Microseconds, limit: 0.45, aim: 0.25,
          work: Work::Stream(Plan { consumers: 10, queues: 10, route: Route::Fanout, ..plan(128) }) },
    Row { name: "topic", title: "topic, 1000 bindings, 4 queues, 128 B", unit: Unit::Microseconds, limit: 1.2, aim: 0.6,
          work: Work::Stream(Plan { consumers: 4, queues: 4, route: Route::Topic(1000), ..plan(128) }) },
    Row { name: "connect", title: "connect + channel + close", unit: Unit::Microseconds, limit: 100.0, aim: 60.0,
          work: Work::Churn },
    Row { name: "paced", title: "2000/s 128 B confirmed: confirm p50 beyond one fdatasync", unit: Unit::Milliseconds, limit: 1.0, aim: 0.3,
          work: Work::Paced(Plan { persistent: true, window: 1000, rate: Some(2000.0), acks: Acks::Every(1, 1000), ..plan(128) }) },
    Row { name: "unbind", title: "a queue with 10 000 bindings deleted: others' longest wait beyond a quiet one", unit: Unit::Milliseconds, limit: 10.0, aim: 5.0,
          work: Work::Disturb(Disturbance::Queue(10_000)) },
    Row { name: "exchange", title: "an exchange with 10 000 bindings deleted: the same", unit: Unit::Milliseconds, limit: 10.0, aim: 5.0,
          work: Work::Disturb(Disturbance::Exchange(10_000)) },
    Row { name: "close", title: "5000 connections with a queue each closed at once: the same", unit: Unit::Milliseconds, limit: 10.0, aim: 5.0,
          work: Work::Disturb(Disturbance::Connections(5000)) },
    Row { name: "come", title: "5000 clients who come at once and log in: the same", unit: Unit::Milliseconds, limit: f64::INFINITY, aim: f64::INFINITY,
          work: Work::Disturb(Disturbance::Clients(5000)) },
    Row { name: "node", title: "idle node, resident", unit: Unit::Megabytes, limit: 20.0, aim: 12.0,
          work: Work::Node },
    Row { name: "connection", title: "idle connection with a channel", unit: Unit::Kilobytes, limit: 16.0, aim: 12.0,
          work: Work::Connections },
    Row { name: "declare", title: "2000 durable queues: declare", unit: Unit::Seconds, limit: 2.0, aim: 1.0,
          work: Work::Declare },
    Row { name: "queue", title: "2000 durable queues: memory each", unit: Unit::Kilobytes, limit: 4.0, aim: 2.0,
          work: Work::Queues },
    Row { name: "deep", title: "1 M × 1 KiB persistent: resident after fill", unit: Unit::Megabytes, limit: 64.0, aim: 40.0,
          work: Work::Deep },
    Row { name: "recovery", title: "the same, kill -9, ready again", unit: Unit::Seconds, limit: 1.0, aim: 0.3,
          work: Work::Recovery(0) },
    Row { name: "many", title: "the same beside 100 000 durable queues, kill -9, ready again", unit: Unit::Seconds, limit: 5.0, aim: 2.0,
          work: Work::Recovery(100_000) },
];
