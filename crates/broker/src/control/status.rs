//! The node and what it is doing, on one page.

use warren_api::Timestamp;
use warren_api::broker::{Alarm, Disk, Files, Memory, RABBITMQ_VERSION, Status};

use crate::about::About;
use crate::alarms::MemoryLimit;
use crate::node::Node;
use crate::process::Process;

pub(super) fn status(node: &Node, about: &About) -> Status {
    let (queues, _) = node.queues();
    let (mut ready, mut unacked, mut consumers) = (0, 0, 0);
    for queue in &queues {
        let snapshot = queue.snapshot();
        ready += snapshot.counts.ready;
        unacked += snapshot.counts.unacked;
        consumers += snapshot.consumers as u64;
    }
    let connections = node.registry.connections();
    let process = Process::now();
    let measured = node.alarms.measured();
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        rabbitmq_version: RABBITMQ_VERSION.to_owned(),
        pid: std::process::id(),
        node: node.name.clone(),
        cluster_name: node.cluster_name(),
        time: Timestamp::from(warren_kit::clock::wall_clock()),
        started: Timestamp::from(about.started),
        ready: true,
        maintenance: node.gate.is_in_maintenance(),
        data_directory: about
            .data_directory
            .as_ref()
            .map(|path| path.display().to_string()),
        config_files: about
            .config_files
            .iter()
            .map(|path| path.display().to_string())
            .collect(),
        log_files: about.log_files.clone(),
        alarms: alarms(node),
        memory: Memory {
            resident: process.resident,
            used: measured.memory,
            limit: measured.memory_limit,
            watermark: watermark(node.settings().memory_limit),
        },
        disk: Disk {
            // As measured: to ask a disk that hangs would be to hang.
            free: measured.disk.unwrap_or_default(),
            limit: measured.disk_limit,
            unanswered_us: node.alarms.disk_unanswered(node).unwrap_or_default().into(),
        },
        files: Files {
            open: process.files,
            limit: process.files_max,
            sockets: connections.len() as u64,
        },
        connections: connections.len() as u64,
        channels: connections.iter().map(|entry| entry.counts.channels.get()).sum(),
        consumers,
        queues: queues.len() as u64,
        vhosts: node.read(|meta| meta.vhosts().count() as u64),
        messages_ready: ready,
        messages_unacknowledged: unacked,
        listeners: about.listeners.read().clone(),
        certificates: about.certificates.read().clone(),
    }
}

fn alarms(node: &Node) -> Vec<Alarm> {
    let short = node.alarms.short();
    [("memory", short.memory), ("disk", short.disk)]
        .into_iter()
        .filter(|(_, is_short)| *is_short)
        .map(|(resource, _)| Alarm {
            resource: resource.to_owned(),
            since: Timestamp::from(node.alarms.since(resource == "disk")),
        })
        .collect()
}

/// As RabbitMQ has it in its status.
fn watermark(limit: MemoryLimit) -> String {
    match limit {
        MemoryLimit::Millionths(part) => format!("{} of available memory", f64::from(part) / 1e6),
        MemoryLimit::Octets(octets) => format!("{octets} bytes"),
    }
}
