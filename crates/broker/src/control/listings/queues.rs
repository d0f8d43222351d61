//! Queues, with what they have.

use std::collections::HashMap;

use warren_api::broker::Cell;
use warren_cluster::queue::Snapshot;
use warren_kit::control::Gone;
use warren_model::arguments::QueueType;
use warren_model::{Name, meta};

use super::{Column, LOT, Lots, Rows, cells, clients, text};
use crate::node::Node;

/// What an entry of a queue takes in memory, roughly: itself, its place, its message's head.
const ENTRY: usize = 256;
/// What an empty queue takes, roughly.
const EMPTY: usize = 1024;

struct Listed {
    node: String,
    pid: String,
    vhost: Name,
    name: Name,
    declared: meta::Queue,
    owner: Option<String>,
    snapshot: Option<Snapshot>,
    /// The consumer who alone gets messages: his channel's pid and his tag.
    chosen: Option<(String, String)>,
}

/// Sends a row for each queue.
pub(super) async fn list(node: &Node, vhost: Option<&str>, rows: &mut Rows<'_, '_>) -> Result<(), Gone> {
    let columns = match rows.find(column) {
        Ok(columns) => columns,
        Err(unknown) => return rows.refuse(unknown).await,
    };
    let chosen = match rows.want(&[
        "exclusive_consumer_pid",
        "exclusive_consumer_tag",
        "single_active_consumer_pid",
        "single_active_consumer_tag",
    ]) {
        true => clients::chosen(node).await,
        false => HashMap::new(),
    };
    let look = |(vhost, name, declared): (Name, Name, meta::Queue)| Listed {
        node: node.name.clone(),
        pid: node.pid(declared.id.0, 0),
        vhost,
        name,
        owner: declared.exclusive.map(|number| node.pid(number, 0)),
        snapshot: node.queue(declared.id).map(|queue| queue.snapshot()),
        chosen: chosen.get(&declared.id).cloned(),
        declared,
    };
    let mut lots = Lots::of(node, vhost);
    while let Some(lot) = lots.next(|vhost, it, last| {
        let queues = it.queues_behind(last).take(LOT);
        queues
            .map(|(name, queue)| (name.clone(), (vhost.clone(), name.clone(), queue.clone())))
            .collect()
    }) {
        let listed: Vec<Listed> = lot.into_iter().map(look).collect();
        rows.send(&listed, &columns).await?;
    }
    Ok(())
}

impl Listed {
    fn is_quorum(&self) -> bool {
        self.declared.meaning.kind == QueueType::Quorum
    }

    fn count(&self, count: impl Fn(&Snapshot) -> u64) -> Cell {
        self.snapshot
            .as_ref()
            .map_or(Cell::Nothing, |snapshot| Cell::count(count(snapshot)))
    }

    fn member(&self) -> Cell {
        match self.is_quorum() {
            true => Cell::Text(self.node.clone()),
            false => Cell::Nothing,
        }
    }
}

fn column(column: &str) -> Option<Column<Listed>> {
    Some(match column {
        "name" => |queue| text(&queue.name),
        "vhost" => |queue| text(&queue.vhost),
        "durable" => |queue| Cell::Bool(queue.declared.durable),
        "auto_delete" => |queue| Cell::Bool(queue.declared.auto_delete),
        "arguments" => |queue| cells::arguments(&queue.declared.arguments),
        "type" => |queue| match queue.is_quorum() {
            true => Cell::from("quorum"),
            false => Cell::from("classic"),
        },
        "pid" => |queue| Cell::Text(queue.pid.clone()),
        "owner_pid" => |queue| Cell::text(queue.owner.clone()),
        "exclusive" => |queue| match queue.is_quorum() {
            true => Cell::Nothing,
            false => Cell::Bool(queue.owner.is_some()),
        },
        "state" => |queue| match queue.snapshot {
            Some(_) => Cell::from("running"),
            None => Cell::from("down"),
        },
        "messages" => |queue| queue.count(|it| it.counts.ready + it.counts.unacked),
        "messages_ready" => |queue| queue.count(|it| it.counts.ready),
        "messages_unacknowledged" | "messages_unacknowledged_ram" => {
            |queue| queue.count(|it| it.counts.unacked)
        }
        "messages_ram" => |queue| queue.count(|it| it.in_memory as u64),
        "messages_ready_ram" => {
            |queue| queue.count(|it| (it.in_memory as u64).saturating_sub(it.counts.unacked))
        }
        "message_bytes" => |queue| queue.count(|it| it.counts.ready_octets + it.counts.unacked_octets),
        "message_bytes_ready" => |queue| queue.count(|it| it.counts.ready_octets),
        "message_bytes_unacknowledged" => |queue| queue.count(|it| it.counts.unacked_octets),
        "consumers" => |queue| queue.count(|it| it.consumers as u64),
        "memory" => |queue| queue.count(|it| (EMPTY + it.in_memory * ENTRY) as u64),
        "leader" | "members" | "online" => Listed::member,
        "exclusive_consumer_pid" | "single_active_consumer_pid" => {
            |queue| Cell::text(queue.chosen.as_ref().map(|(pid, _)| pid.clone()))
        }
        "exclusive_consumer_tag" | "single_active_consumer_tag" => {
            |queue| Cell::text(queue.chosen.as_ref().map(|(_, tag)| tag.clone()))
        }
        "policy" => |queue| {
            let applied = queue.declared.applied.as_ref();
            let policy = applied.and_then(|applied| applied.policy.as_ref());
            policy.map_or(Cell::Nothing, text)
        },
        "operator_policy" => |queue| {
            let applied = queue.declared.applied.as_ref();
            let policy = applied.and_then(|applied| applied.operator_policy.as_ref());
            policy.map_or(Cell::Nothing, text)
        },
        "effective_policy_definition" => |queue| {
            let applied = queue.declared.applied.as_ref();
            Cell::text(
                applied.map(|applied| serde_json::Value::Object(applied.definition.clone()).to_string()),
            )
        },
        // Nobody keeps count of these, or there are no mirrors to be told of.
        "messages_persistent"
        | "message_bytes_ram"
        | "message_bytes_persistent"
        | "head_message_timestamp"
        | "disk_reads"
        | "disk_writes"
        | "consumer_utilisation"
        | "consumer_capacity"
        | "slave_pids"
        | "synchronised_slave_pids"
        | "mirror_pids"
        | "synchronised_mirror_pids" => |_| Cell::Nothing,
        _ => return None,
    })
}
