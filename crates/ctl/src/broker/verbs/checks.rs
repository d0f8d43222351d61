//! Health checks: a sentence, and the exit status that probes look at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::json;
use warren_api::broker::{Listener, Status};

use super::{Verb, node};
use crate::broker::failure::{DATA, Failure, UNAVAILABLE};
use crate::broker::output::Format;
use crate::broker::session::Session;

const SECTION: &str = "Monitoring, observability and health checks";

/// For a connection to a port of this host.
const CONNECT: Duration = Duration::from_secs(5);

pub(super) static VERBS: [Verb; 17] = [
    Verb::new("alarms", "", "Shows what is short", (0, 0), alarms).of(SECTION),
    Verb::new(
        "check_alarms",
        "",
        "Fails if something is short",
        (0, 0),
        check_alarms,
    )
    .of(SECTION),
    Verb::new(
        "check_local_alarms",
        "",
        "Fails if something is short on this node",
        (0, 0),
        check_local_alarms,
    )
    .of(SECTION),
    Verb::new(
        "check_running",
        "",
        "Fails if clients are not served",
        (0, 0),
        check_running,
    )
    .of(SECTION),
    Verb::new(
        "is_running",
        "",
        "Says whether clients are served",
        (0, 0),
        is_running,
    )
    .of(SECTION),
    Verb::new(
        "is_booting",
        "",
        "Says whether the node is starting",
        (0, 0),
        is_booting,
    )
    .of(SECTION),
    Verb::new(
        "check_port_connectivity",
        "",
        "Fails if one of the node's ports cannot be connected to",
        (0, 0),
        check_port_connectivity,
    )
    .of(SECTION),
    Verb::new(
        "check_port_listener",
        "<port> [--timeout <timeout>]",
        "Fails if the node does not listen on this port",
        (1, 1),
        check_port_listener,
    )
    .of(SECTION),
    Verb::new(
        "check_protocol_listener",
        "<protocol>",
        "Fails if the node does not listen for this protocol",
        (1, 1),
        check_protocol_listener,
    )
    .of(SECTION),
    Verb::new(
        "check_virtual_hosts",
        "",
        "Fails if a vhost is not served: all are, or none",
        (0, 0),
        check_virtual_hosts,
    )
    .of(SECTION),
    Verb::new(
        "check_if_node_is_quorum_critical",
        "",
        "Fails if queues would lose their majority without this node",
        (0, 0),
        quorum_critical,
    )
    .of(SECTION),
    Verb::new(
        "check_if_node_is_mirror_sync_critical",
        "",
        "Fails if queues would lose messages without this node",
        (0, 0),
        mirror_critical,
    )
    .of(SECTION),
    Verb::new("listeners", "", "Lists where the node listens", (0, 0), listeners).of(SECTION),
    Verb::new(
        "server_version",
        "",
        "Shows which RabbitMQ the node is like",
        (0, 0),
        server_version,
    )
    .of(SECTION),
    Verb::new(
        "log_location",
        "",
        "Shows where the node logs",
        (0, 0),
        log_location,
    )
    .options(&["all"])
    .of(SECTION),
    Verb::new(
        "memory_breakdown",
        "[--unit <unit>] [--timeout <timeout>]",
        "Shows what the node's memory is for",
        (0, 0),
        memory_breakdown,
    )
    .options(&["unit"])
    .of(SECTION),
    Verb::new(
        "discover_peers",
        "",
        "Lists other nodes: there are none",
        (0, 0),
        discover_peers,
    )
    .of(SECTION),
];

fn alarms(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let name = session.node()?;
    session.banner(format_args!(
        "Asking node {name} to report any known resource alarms ..."
    ))?;
    let status = session.status()?.clone();
    match node::alarms(&status) {
        None => session.answer(
            json!({"alarms": []}),
            format_args!("Node {name} reported no alarms, local or clusterwide"),
        ),
        Some(_) if session.format()? == Format::Json => {
            let mut alarms = reported(&status, "alarms");
            alarms["global"] = json!([]);
            alarms["result"] = "ok".into();
            session.say(alarms)
        }
        Some(sentence) => session.say(sentence),
    }
}

/// For who reads JSON: what is short.
fn reported(status: &Status, what: &str) -> serde_json::Value {
    let local: Vec<String> = node::alarm_sentences(status).collect();
    json!({"local": local, "message": format!("Node {} reported {what}", status.node)})
}

fn check_alarms(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let name = session.node()?;
    session.banner(format_args!(
        "Asking node {name} to report any local resource alarms ..."
    ))?;
    let status = session.status()?;
    match node::alarms(status) {
        Some(alarms) => {
            let mut object = reported(status, "alarms");
            object["global"] = json!([]);
            Err(Failure::plain(UNAVAILABLE, alarms).or_json(object))
        }
        None => session.answer(
            json!({}),
            format_args!("Node {name} reported no alarms, local or clusterwide"),
        ),
    }
}

fn check_local_alarms(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let name = session.node()?;
    session.banner(format_args!(
        "Asking node {name} to report any local resource alarms ..."
    ))?;
    let status = session.status()?;
    match node::alarms(status) {
        Some(alarms) => Err(Failure::new(UNAVAILABLE, alarms).or_json(reported(status, "local alarms"))),
        None => session.answer(json!({}), format_args!("Node {name} reported no local alarms")),
    }
}

fn check_running(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let name = session.node()?;
    session.banner(format_args!("Checking if RabbitMQ is running on node {name} ..."))?;
    match session.status()?.ready {
        true => {
            let text = format!("RabbitMQ on node {name} is fully booted and running");
            verdict(session, &text, None)
        }
        false => Err(Failure::new(
            UNAVAILABLE,
            format_args!(
                "RabbitMQ on node {name} is not running or has not fully booted yet (check with is_booting)"
            ),
        )),
    }
}

/// A sentence; as JSON with what was asked, if that is a question.
fn verdict(session: &mut Session<'_, '_>, text: &str, result: Option<bool>) -> Result<(), Failure> {
    match (session.format()?, result) {
        (Format::Json, None) => session.say(json!({ "message": text })),
        (Format::Json, Some(result)) => session.say(json!({"message": text, "result": result})),
        _ => session.say(text),
    }
}

fn is_running(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let name = session.node()?;
    session.banner(format_args!("Asking node {name} for its status ..."))?;
    let ready = session.status()?.ready;
    let text = match ready {
        true => format!("RabbitMQ on node {name} is fully booted and running"),
        false => {
            format!(
                "RabbitMQ on node {name} is not running or has not fully booted yet (check with is_booting)"
            )
        }
    };
    verdict(session, &text, Some(ready))
}

fn is_booting(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let name = session.node()?;
    session.banner(format_args!("Asking node {name} for its boot status ..."))?;
    match session.status()?.ready {
        true => {
            let text = format!(
                "RabbitMQ on node {name} is fully booted (check with is_running), stopped or has not started booting yet"
            );
            verdict(session, &text, Some(false))
        }
        false => verdict(
            session,
            &format!("RabbitMQ on node {name} is booting"),
            Some(true),
        ),
    }
}

fn check_port_connectivity(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let name = session.node()?;
    session.banner(format_args!(
        "Testing TCP connections to all active listeners on node {name} ..."
    ))?;
    let listeners = session.status()?.listeners.clone();
    let failed: Vec<&Listener> = listeners
        .iter()
        .filter(|listener| TcpStream::connect_timeout(&reachable(listener), CONNECT).is_err())
        .collect();
    let all = node::listeners_json(session.status()?);
    match failed.is_empty() {
        true => session.answer(
            json!({"listeners": all}),
            format_args!(
                "Successfully connected to ports {} on node {name}.",
                ports(&listeners)
            ),
        ),
        false => {
            let interfaces: Vec<String> = failed.iter().map(|listener| node::interface(listener)).collect();
            let text = format!(
                "Connection to ports of the following listeners on node {name} failed: \n{}",
                interfaces.join("\n")
            );
            let failures = failed.iter().map(|listener| node::listener_json(&name, listener));
            let failures: serde_json::Value = failures.collect();
            Err(Failure::new(UNAVAILABLE, text).or_json(json!({"failures": failures, "node": name})))
        }
    }
}

/// Where a listener is connected to from this host.
fn reachable(listener: &Listener) -> SocketAddr {
    let interface = listener.interface.trim_matches(['[', ']']);
    let address = match interface.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        // Listens for both families.
        Ok(IpAddr::V6(address)) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        Ok(address) => address,
        Err(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(address, listener.port)
}

fn ports(listeners: &[Listener]) -> String {
    let mut ports: Vec<u16> = listeners.iter().map(|listener| listener.port).collect();
    ports.sort_unstable();
    ports.dedup();
    let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
    ports.join(", ")
}

fn check_port_listener(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let port = session.line.argument(0).to_owned();
    if !port.parse::<u16>().is_ok_and(|port| port > 0) {
        let text = "Bad argument: Argument must be a positive integer";
        return Err(Failure::argument(DATA, text));
    }
    let name = session.node()?;
    session.banner(format_args!(
        "Asking node {name} if there's an active listener on port {port} ..."
    ))?;
    let listeners = session.status()?.listeners.clone();
    match listeners.iter().any(|listener| listener.port.to_string() == port) {
        true => session.answer(
            json!({"port": port}),
            format_args!("A listener for port {port} is running on node {name}."),
        ),
        false => {
            let text = format!(
                "No listener for port {port} is active on node {name}. Found listeners that use the following ports: {}",
                ports(&listeners)
            );
            let open: Vec<u16> = listeners.iter().map(|listener| listener.port).collect();
            let all = node::listeners_json(session.status()?);
            Err(Failure::plain(UNAVAILABLE, text)
                .or_json(json!({"listeners": all, "missing": port, "ports": open})))
        }
    }
}

fn check_protocol_listener(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let (name, protocol) = (session.node()?, session.line.argument(0).to_owned());
    session.banner(format_args!(
        "Asking node {name} if there's an active listener for protocol {protocol} ..."
    ))?;
    let mut protocols: Vec<String> = session
        .status()?
        .listeners
        .iter()
        .map(|it| it.protocol.clone())
        .collect();
    protocols.sort_unstable();
    protocols.dedup();
    // Other names that RabbitMQ takes.
    let wanted = match protocol.to_ascii_lowercase().as_str() {
        "amqp091" | "amqp0-9-1" | "amqp10" | "amqp1.0" => "amqp".to_owned(),
        "amqps" => "amqp/ssl".to_owned(),
        "prometheus" => "http/prometheus".to_owned(),
        other => other.to_owned(),
    };
    match protocols.contains(&wanted) {
        true => session.answer(
            json!({"protocol": protocol}),
            format_args!("A listener for protocol {protocol} is running on node {name}."),
        ),
        false => {
            let text = format!(
                "No listener for protocol {protocol} is active on node {name}. Found listeners for the following protocols: {}",
                protocols.join(", ")
            );
            let all = node::listeners_json(session.status()?);
            Err(Failure::new(UNAVAILABLE, text)
                .or_json(json!({"listeners": all, "missing": protocol, "protocols": protocols})))
        }
    }
}

fn check_virtual_hosts(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let name = session.node()?;
    session.banner(format_args!(
        "Checking if all vhosts are running on node {name} ..."
    ))?;
    match session.format()? {
        Format::Json => session.say(json!({"result": "ok"})),
        _ => session.say(format_args!("Node {name} reported all vhosts as running")),
    }
}

fn quorum_critical(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let name = session.node()?;
    session.banner(format_args!(
        "Checking if node {name} is critical for quorum of any quorum queues ..."
    ))?;
    only_node(session, &name)
}

fn mirror_critical(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let name = session.node()?;
    session.banner(format_args!(
        "Checking if node {name} is critical for data safety of any classic mirrored queues ..."
    ))?;
    only_node(session, &name)
}

fn only_node(session: &mut Session<'_, '_>, name: &str) -> Result<(), Failure> {
    let why = "seems to be the only one in a single node cluster, the check does not apply";
    match session.format()? {
        Format::Json => session.say(json!({"message": format!("Target node {why}"), "result": "ok"})),
        _ => session.say(format_args!("Node {name} {why}")),
    }
}

fn listeners(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let status = session.status()?.clone();
    if session.format()? == Format::Json {
        let listeners = node::listeners_json(&status);
        return session.say(json!({"listeners": listeners, "node": status.node, "result": "ok"}));
    }
    session.banner(format_args!(
        "Asking node {} to report its protocol listeners ...",
        status.node
    ))?;
    let mut lines = status.listeners.iter().map(node::interface);
    lines.try_for_each(|line| session.say(line))
}

fn server_version(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let name = session.node()?;
    session.banner(format_args!("Asking node {name} for its RabbitMQ version..."))?;
    let version = session.status()?.rabbitmq_version.clone();
    session.answer(json!({"value": version}), &version)
}

fn log_location(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let name = session.node()?;
    session.banner(format_args!("Log file location(s) on node {name} ..."))?;
    let files = session.status()?.log_files.clone();
    if session.format()? == Format::Json {
        return session.say(json!({"node_name": name, "paths": files, "result": "ok"}));
    }
    files.into_iter().try_for_each(|file| session.say(file))
}

fn memory_breakdown(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let unit = node::Unit::parse(session.line.value("unit"))?;
    let name = session.node()?;
    session.banner(format_args!("Reporting memory breakdown on node {name}..."))?;
    let resident = session.status()?.memory.resident;
    session.say(format_args!("resident: {} (100.0%)", unit.say(resident)))
}

fn discover_peers(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    session.node()?;
    session.banner("Discovering peers nodes ...")?;
    session.say("No peers discovered")
}
