//! A node: is it there, what is it doing, and stop it.

use std::time::Duration;

use serde_json::json;
use warren_api::broker::{Listener, Request, Status};

use super::{MANY, Verb};
use crate::broker::Tool;
use crate::broker::failure::{Failure, TIMEOUT, USAGE};
use crate::broker::output::Format;
use crate::broker::session::Session;
use crate::paint::Paint;

const HELP_SECTION: &str = "Help";
const NODES_SECTION: &str = "Nodes";
const CLUSTER: &str = "Cluster";
const MONITORING: &str = "Monitoring, observability and health checks";
const FLAGS: &str = "Feature flags";

/// How often a node is asked whether it is there yet.
const PAUSE: Duration = Duration::from_millis(50);

/// Names of behaviours that clients may rely on: all of RabbitMQ 3.10's, always on.
pub(super) const FEATURE_FLAGS: [&str; 9] = [
    "classic_mirrored_queue_version",
    "drop_unroutable_metric",
    "empty_basic_get_metric",
    "implicit_default_bindings",
    "maintenance_mode_status",
    "quorum_queue",
    "stream_queue",
    "user_limits",
    "virtual_host_metadata",
];

pub(super) static HELP: [Verb; 3] = [
    Verb::new(
        "autocomplete",
        "[prefix] [--timeout <timeout>]",
        "Lists the verbs that begin so",
        (0, MANY),
        autocomplete,
    )
    .alone()
    .of(HELP_SECTION),
    Verb::new(
        "help",
        "(<command> | [--list-commands])",
        "Shows all verbs, or how one is used",
        (0, MANY),
        |_| Ok(()),
    )
    .options(&["list-commands"])
    .alone()
    .of(HELP_SECTION),
    Verb::new(
        "version",
        "",
        "Shows which RabbitMQ this is like, and which Warren it is",
        (0, 0),
        version,
    )
    .alone()
    .of(HELP_SECTION),
];

pub(super) static NODES: [Verb; 5] = [
    Verb::new(
        "await_startup",
        "",
        "Waits until the node serves clients",
        (0, 0),
        await_startup,
    )
    .alone()
    .of(NODES_SECTION),
    Verb::new(
        "wait",
        "[<pidfile>] [--pid|-P <pid>] [--timeout <timeout>]",
        "The same",
        (0, 1),
        await_startup,
    )
    .options(&["pid"])
    .alone()
    .of(NODES_SECTION),
    Verb::new(
        "stop",
        "[--idempotent] [<pidfile>]",
        "Stops the broker, and waits until it has ended",
        (0, 1),
        stop,
    )
    .options(&["idempotent"])
    .of(NODES_SECTION),
    Verb::new(
        "shutdown",
        "[--wait] [--timeout <timeout>]",
        "The same",
        (0, 0),
        stop,
    )
    .options(&["wait"])
    .of(NODES_SECTION),
    Verb::new(
        "await_online_nodes",
        "<count> [--timeout <timeout>]",
        "Waits until so many nodes are in the cluster",
        (1, 1),
        await_online_nodes,
    )
    .of(CLUSTER),
];

pub(super) static VERBS: [Verb; 4] = [
    Verb::new(
        "ping",
        "[--timeout <timeout>]",
        "Says whether the node answers",
        (0, 0),
        ping,
    )
    .of(MONITORING),
    Verb::new(
        "status",
        "[--unit <unit>] [--timeout <timeout>]",
        "Shows the node and what it is doing",
        (0, 0),
        status,
    )
    .options(&["unit"])
    .of(MONITORING),
    Verb::new(
        "cluster_status",
        "[--timeout <timeout>]",
        "Shows the nodes of the cluster",
        (0, 0),
        cluster_status,
    )
    .of(CLUSTER),
    Verb::new(
        "list_feature_flags",
        "[<column> ...] [--timeout <timeout>]",
        "Lists what clients may rely on",
        (0, MANY),
        list_feature_flags,
    )
    .of(FLAGS),
];

fn autocomplete(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let prefix = session.line.argument(0).to_owned();
    let fitting = super::of(Tool::Warren).filter(|verb| verb.name.starts_with(&prefix));
    let names: Vec<&str> = fitting.map(|verb| verb.name).collect();
    names.into_iter().try_for_each(|name| session.say(name))
}

fn version(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    session.say(warren_api::broker::RABBITMQ_VERSION)
}

fn await_startup(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let patience = session.line.timeout().unwrap_or(Duration::from_secs(300));
    let waited = std::time::Instant::now();
    loop {
        match session.fresh_status() {
            Ok(status) if status.ready => return Ok(()),
            _ if waited.elapsed() >= patience => {
                let text = format!(
                    "Error: the node was not ready within {} seconds",
                    patience.as_secs()
                );
                return Err(Failure::plain(TIMEOUT, text));
            }
            Ok(_) | Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

fn stop(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let idempotent = session.line.is_set("idempotent");
    let node = match session.node() {
        Err(_) if idempotent => return Ok(()),
        node => node?,
    };
    session.banner(format_args!("Stopping and halting node {node} ..."))?;
    session.change(&Request::Stop {})?;
    let patience = session.line.timeout().unwrap_or(Duration::from_secs(60));
    let waited = std::time::Instant::now();
    while session.fresh_status().is_ok() {
        if waited.elapsed() >= patience {
            let text = format!(
                "Error: node {node} was still there after {} seconds",
                patience.as_secs()
            );
            return Err(Failure::plain(TIMEOUT, text));
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

fn await_online_nodes(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let node = session.node()?;
    let wanted = session.line.argument(0).to_owned();
    session.banner(format_args!(
        "Will wait for at least {wanted} nodes to join the cluster of {node}. Timeout: {} seconds.",
        session
            .line
            .timeout()
            .unwrap_or(Duration::from_secs(300))
            .as_secs()
    ))?;
    match wanted.parse::<u32>() {
        Ok(0 | 1) => Ok(()),
        Ok(_) => Err(Failure::plain(
            TIMEOUT,
            format!("Error: {node} is a broker of one node: there will be no others"),
        )),
        Err(_) => Err(Failure::argument(USAGE, "Bad argument: the count is a number")),
    }
}

fn ping(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let node = session.node()?;
    let millis = session
        .line
        .timeout()
        .unwrap_or(Duration::from_secs(60))
        .as_millis();
    session.banner(format_args!(
        "Will ping {node}. This only checks if the OS process is running and registered with epmd. Timeout: {millis} ms."
    ))?;
    match session.format()? {
        Format::Json => session.say(json!({"message": "Ping succeeded"})),
        _ => session.say("Ping succeeded"),
    }
}

fn list_feature_flags(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    session.node()?;
    session.banner("Listing feature flags ...")?;
    let rows = FEATURE_FLAGS.map(|name| vec![name.into(), "enabled".into()]);
    session.rows(&["name", "state"], rows)
}

pub(super) fn status(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let status = session.status()?.clone();
    if session.format()? == Format::Json {
        return session.say(status_json(&status));
    }
    session.banner(format_args!("Status of node {} ...", status.node))?;
    let unit = Unit::parse(session.line.value("unit"))?;
    let page = status_page(&status, Paint(session.around.colour), &unit);
    write!(session.around.out, "{page}")?;
    Ok(())
}

/// What octets are told in.
pub(super) struct Unit {
    name: &'static str,
    octets: f64,
}

impl Unit {
    pub(super) fn parse(word: Option<&str>) -> Result<Self, Failure> {
        let (name, octets) = match word.unwrap_or("gb").to_ascii_lowercase().as_str() {
            "bytes" => ("bytes", 1.0),
            "mb" => ("mb", 1e6),
            "gb" => ("gb", 1e9),
            "tb" => ("tb", 1e12),
            other => {
                let text = format!("\"unit '{other}' is not supported. Please use one of: bytes, mb, gb\"");
                return Err(Failure::argument(USAGE, text));
            }
        };
        Ok(Self { name, octets })
    }

    pub(super) fn say(&self, octets: u64) -> String {
        // Counts of octets are far below where this loses any.
        let count = octets as f64 / self.octets;
        format!("{} {}", (count * 10_000.0).round() / 10_000.0, self.name)
    }
}

fn status_page(status: &Status, paint: Paint, unit: &Unit) -> String {
    let head = |text: &str| format!("{}\n\n", paint.strong(text));
    let uptime = status.time.since(status.started).as_secs();
    let mut page = head("Runtime")
        + &format!(
            "OS PID: {}\nOS: Linux\nUptime (seconds): {uptime}\nIs under maintenance?: {}\nRabbitMQ version: {}\n\
             Warren version: {}\nNode name: {}\n\n",
            status.pid, status.maintenance, status.rabbitmq_version, status.version, status.node
        );
    page += &head("Plugins");
    page += "Enabled plugins:\n\n";
    for name in super::plugins::BUILT_IN {
        page += &format!(" * {name}\n");
    }
    page += &format!(
        "\n{}Node data directory: {}\n\n",
        head("Data directory"),
        status.data_directory.as_deref().unwrap_or("(none)")
    );
    page += &list(&head("Config files"), &status.config_files);
    page += &list(&head("Log file(s)"), &status.log_files);
    page += &head("Alarms");
    page += &format!("{}\n\n", alarms(status).unwrap_or_else(|| "(none)".into()));
    page += &head("Memory");
    page += &format!(
        "Total memory used: {}\nCalculation strategy: rss\nMemory high watermark setting: {}, computed to: {}\n\n",
        unit.say(status.memory.resident),
        if status.memory.watermark.is_empty() {
            "(none)"
        } else {
            &status.memory.watermark
        },
        unit.say(status.memory.limit)
    );
    page += &head("File Descriptors");
    page += &format!(
        "Total: {}, limit: {}\nSockets: {}, limit: {}\n\n",
        status.files.open, status.files.limit, status.files.sockets, status.files.limit
    );
    page += &head("Free Disk Space");
    page += &format!(
        "Low free disk space watermark: {}\nFree disk space: {}\n\n",
        unit.say(status.disk.limit),
        unit.say(status.disk.free)
    );
    let unanswered = Duration::from(status.disk.unanswered_us);
    if !unanswered.is_zero() {
        page += &format!(
            "The disk has not answered for {} seconds\n\n",
            unanswered.as_secs()
        );
    }
    page += &head("Totals");
    page += &format!(
        "Connection count: {}\nQueue count: {}\nVirtual host count: {}\n\n",
        status.connections, status.queues, status.vhosts
    );
    page += &head("Listeners");
    for listener in &status.listeners {
        page += &format!("{}\n", interface(listener));
    }
    page
}

fn list(head: &str, lines: &[String]) -> String {
    let lines: String = lines.iter().map(|line| format!(" * {line}\n")).collect();
    format!("{head}{lines}\n")
}

/// `Interface: [::], port: 5672, protocol: amqp, purpose: AMQP 0-9-1`
pub(super) fn interface(listener: &Listener) -> String {
    format!(
        "Interface: {}, port: {}, protocol: {}, purpose: {}",
        listener.interface,
        listener.port,
        listener.protocol,
        listener.purpose()
    )
}

/// A sentence for each alarm.
pub(super) fn alarms(status: &Status) -> Option<String> {
    let sentences: Vec<String> = alarm_sentences(status).collect();
    (!sentences.is_empty()).then(|| sentences.join("\n"))
}

/// Each of them as a sentence.
pub(super) fn alarm_sentences(status: &Status) -> impl Iterator<Item = String> {
    status.alarms.iter().map(|alarm| match alarm.resource.as_str() {
        "memory" => format!("Memory alarm on node {}", status.node),
        "disk" => format!("Free disk space alarm on node {}", status.node),
        other => format!("{other} alarm on node {}", status.node),
    })
}

pub(super) fn cluster_status(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let status = session.status()?.clone();
    if session.format()? == Format::Json {
        return session.say(cluster_json(&status));
    }
    let node = &status.node;
    session.banner(format_args!("Cluster status of node {node} ..."))?;
    let paint = Paint(session.around.colour);
    let mut page = String::new();
    let mut part = |head: &str, text: String| page += &format!("{}\n\n{text}\n\n", paint.strong(head));
    part("Basics", format!("Cluster name: {}", status.cluster_name));
    part("Disk Nodes", node.clone());
    part("Running Nodes", node.clone());
    part(
        "Versions",
        format!(
            "{node}: RabbitMQ {} on Warren {}",
            status.rabbitmq_version, status.version
        ),
    );
    part(
        "Maintenance status",
        format!("Node: {node}, status: {}", maintenance(&status)),
    );
    part("Alarms", alarms(&status).unwrap_or_else(|| "(none)".into()));
    part("Network Partitions", "(none)".into());
    let listeners = status.listeners.iter();
    let listeners: Vec<String> = listeners
        .map(|listener| format!("Node: {node}, {}", interface(listener).replacen('I', "i", 1)))
        .collect();
    part("Listeners", listeners.join("\n"));
    let flags = FEATURE_FLAGS.map(|name| format!("Flag: {name}, state: enabled"));
    part("Feature flags", flags.join("\n"));
    writeln!(session.around.out, "{}", page.trim_end())?;
    Ok(())
}

/// RabbitMQ's words.
const fn maintenance(status: &Status) -> &'static str {
    match status.maintenance {
        true => "marked for maintenance",
        false => "not under maintenance",
    }
}

/// Listeners as JSON has them.
pub(super) fn listeners_json(status: &Status) -> serde_json::Value {
    let all = status.listeners.iter();
    all.map(|listener| listener_json(&status.node, listener))
        .collect()
}

pub(super) fn listener_json(node: &str, listener: &Listener) -> serde_json::Value {
    json!({
        "interface": listener.interface, "node": node, "port": listener.port,
        "protocol": listener.protocol, "purpose": listener.purpose(),
    })
}

pub(super) fn alarms_json(status: &Status) -> serde_json::Value {
    let one = |alarm: &warren_api::broker::Alarm| json!({"node": status.node, "resource": alarm.resource});
    status.alarms.iter().map(one).collect()
}

fn cluster_json(status: &Status) -> serde_json::Value {
    let node = &status.node;
    let flags: Vec<_> = FEATURE_FLAGS
        .iter()
        .map(|name| json!({"name": name, "state": "enabled", "stability": "stable", "desc": "", "doc_url": "", "provided_by": "rabbit"}))
        .collect();
    json!({
        "alarms": alarms_json(status),
        "cluster_name": status.cluster_name,
        "disk_nodes": [node],
        "ram_nodes": [],
        "running_nodes": [node],
        "versions": {node: {"rabbitmq_name": "RabbitMQ", "rabbitmq_version": status.rabbitmq_version, "erlang_version": "", "warren_version": status.version}},
        "maintenance_status": {node: maintenance(status)},
        "partitions": {},
        "listeners": {node: listeners_json(status)},
        "feature_flags": flags,
    })
}

fn status_json(status: &Status) -> serde_json::Value {
    json!({
        "active_plugins": super::plugins::BUILT_IN,
        "alarms": alarms_json(status),
        "config_files": status.config_files,
        "data_directory": status.data_directory,
        "disk_free": status.disk.free,
        "disk_free_limit": status.disk.limit,
        "file_descriptors": {
            "sockets_limit": status.files.limit, "sockets_used": status.files.sockets,
            "total_limit": status.files.limit, "total_used": status.files.open,
        },
        "is_under_maintenance": status.maintenance,
        "listeners": listeners_json(status),
        "log_files": status.log_files,
        "memory": {"strategy": "rss", "total": {"rss": status.memory.resident, "allocated": status.memory.resident, "erlang": status.memory.resident}},
        "net_ticktime": 60,
        "node_name": status.node,
        "os": "Linux",
        "pid": status.pid,
        "rabbitmq_version": status.rabbitmq_version,
        "warren_version": status.version,
        "release_series_support_status": "supported",
        "totals": {
            "connection_count": status.connections, "queue_count": status.queues,
            "virtual_host_count": status.vhosts,
        },
        "uptime": status.time.since(status.started).as_secs(),
        "vm_memory_high_watermark_limit": status.memory.limit,
        "vm_memory_high_watermark_setting": status.memory.watermark,
    })
}
