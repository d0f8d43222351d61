//! `rabbitmq-queues`: quorum queues and their members. On a node that is alone each has one.

use warren_api::broker::{Cell, Listing};

use super::Verb;
use crate::broker::failure::{Failure, UNAVAILABLE, USAGE};
use crate::broker::session::Session;

const CLUSTER: &str = "Cluster";
const REPLICATION: &str = "Replication";
const MONITORING: &str = "Monitoring, observability and health checks";
const OPERATIONS: &str = "Operations";

/// Those that `rabbitmq-diagnostics` has, too.
pub(super) static STATUS: [Verb; 3] = [
    Verb::new(
        "quorum_status",
        "[--vhost <vhost>] <queue> [--timeout <timeout>]",
        "Shows the members of a quorum queue",
        (1, 1),
        quorum_status,
    )
    .of(MONITORING),
    Verb::new(
        "stream_status",
        "[--vhost <vhost>] <queue>",
        "Shows the members of a stream: there are no streams here",
        (1, 1),
        stream_status,
    )
    .options(&["tracking"])
    .of(MONITORING),
    Verb::new(
        "reclaim_quorum_memory",
        "[--vhost <vhost>] <quorum queue>",
        "Does nothing: a quorum queue has no memory that could be reclaimed",
        (1, 1),
        reclaim,
    )
    .of(OPERATIONS),
];

pub(super) static VERBS: [Verb; 6] = [
    Verb::new(
        "grow",
        "<node> <all | even> [--vhost-pattern <pattern>] [--queue-pattern <pattern>]",
        "Adds members of quorum queues on a node: they have one on this",
        (2, 2),
        grow,
    )
    .options(&["vhost-pattern", "queue-pattern", "errors-only"])
    .of(CLUSTER),
    Verb::new(
        "rebalance",
        "< all | classic | quorum > [--vhost-pattern <pattern>] [--queue-pattern <pattern>]",
        "Moves leaders between nodes: there is one node",
        (1, 1),
        rebalance,
    )
    .options(&["vhost-pattern", "queue-pattern"])
    .of(CLUSTER),
    Verb::new(
        "shrink",
        "<node> [--errors-only]",
        "Removes members of quorum queues from another node: there is none",
        (1, 1),
        shrink,
    )
    .options(&["errors-only"])
    .of(CLUSTER),
    Verb::new(
        "add_member",
        "[--vhost <vhost>] <queue> <node>",
        "Adds a member of a quorum queue on a node",
        (2, 2),
        |session| member(session, "Adding a replica for"),
    )
    .of(REPLICATION),
    Verb::new(
        "delete_member",
        "[--vhost <vhost>] <queue> <node>",
        "Removes a member of a quorum queue from a node",
        (2, 2),
        |session| member(session, "Removing a replica of"),
    )
    .of(REPLICATION),
    Verb::new(
        "peek",
        "[--vhost <vhost>] <queue> <position> [--timeout <timeout>]",
        "Does not show messages: basic.get and a requeue do",
        (2, 2),
        peek,
    )
    .of(MONITORING),
];

/// A queue's type and messages, by its name in the vhost that was said.
pub(super) struct Found {
    quorum: bool,
    messages: u64,
}

pub(super) fn find(session: &mut Session<'_, '_>) -> Result<Option<Found>, Failure> {
    let wanted = session.line.argument(0).to_owned();
    let vhost = Some(session.line.vhost().to_owned());
    let rows = session.rows_of(Listing::Queues { vhost }, &["name", "type", "messages"])?;
    Ok(rows.iter().find_map(|row| match row.as_slice() {
        [name, kind, messages] if *name == wanted => Some(Found {
            quorum: kind == "quorum",
            messages: messages.parse().unwrap_or(0),
        }),
        _ => None,
    }))
}

fn quorum_status(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let (queue, node) = (session.line.argument(0).to_owned(), session.node()?);
    session.banner(format_args!("Status of quorum queue {queue} on node {node} ..."))?;
    match find(session)? {
        None => Err(Failure::new(UNAVAILABLE, "not_found")),
        Some(found) if !found.quorum => Err(Failure::new(
            UNAVAILABLE,
            "Cannot get quorum status of a classic queue",
        )),
        Some(found) => {
            let columns = [
                "Node Name",
                "Raft State",
                "Log Index",
                "Commit Index",
                "Snapshot Index",
                "Term",
                "Machine Version",
            ];
            // One member has what was committed, in a term that never ends.
            let messages = Cell::count(found.messages);
            let row = vec![
                Cell::Text(node),
                "leader".into(),
                messages.clone(),
                messages,
                "undefined".into(),
                Cell::Integer(1),
                Cell::Integer(2),
            ];
            session.pretty_rows(&columns, [row])
        }
    }
}

fn stream_status(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let (queue, node) = (session.line.argument(0).to_owned(), session.node()?);
    session.banner(format_args!("Status of stream {queue} on node {node} ..."))?;
    Err(match find(session)? {
        None => Failure::new(UNAVAILABLE, "not_found"),
        Some(found) => {
            let kind = if found.quorum { "quorum" } else { "classic" };
            Failure::new(
                UNAVAILABLE,
                format_args!("Cannot get stream status of a {kind} queue"),
            )
        }
    })
}

fn reclaim(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let queue = session.line.argument(0).to_owned();
    session.banner(format_args!("Will flush Raft WAL of quorum queue {queue} ..."))?;
    match find(session)? {
        None => Err(no_target(session)),
        Some(found) if !found.quorum => Err(Failure::new(
            UNAVAILABLE,
            "This operation is not applicable to classic queues",
        )),
        Some(_) => Ok(()),
    }
}

fn no_target(session: &Session<'_, '_>) -> Failure {
    let vhost = session.line.vhost();
    Failure::new(
        UNAVAILABLE,
        format_args!("Target queue was not found in virtual host '{vhost}'"),
    )
}

fn grow(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let [node, strategy] = [0, 1].map(|place| session.line.argument(place).to_owned());
    if !matches!(strategy.as_str(), "all" | "even") {
        let text = format!("\"strategy '{strategy}' is not recognised.\"");
        return Err(Failure::argument(USAGE, text));
    }
    session.node()?;
    session.banner(format_args!("Growing all quorum queues on {node}..."))
}

fn shrink(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let node = session.line.argument(0).to_owned();
    session.node()?;
    session.banner(format_args!("Shrinking quorum queues on {node}..."))
}

fn rebalance(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let kind = session.line.argument(0).to_owned();
    session.node()?;
    match kind.as_str() {
        "all" => session.banner("Re-balancing leaders of all queues..."),
        "classic" | "quorum" => session.banner(format_args!("Re-balancing leaders of {kind} queues...")),
        other => Err(Failure::new(
            UNAVAILABLE,
            format_args!("type {other} is not supported. Try one of all, classic, quorum."),
        )),
    }
}

/// The member on this node is there; another node is not.
fn member(session: &mut Session<'_, '_>, doing: &str) -> Result<(), Failure> {
    let [queue, node] = [0, 1].map(|place| session.line.argument(place).to_owned());
    let here = session.node()?;
    session.banner(format_args!("{doing} queue {queue} on node {node}..."))?;
    let adds = doing.starts_with("Adding");
    match find(session)? {
        None => Err(Failure::new(UNAVAILABLE, "not_found")),
        Some(found) if !found.quorum => Err(Failure::new(
            UNAVAILABLE,
            format_args!(
                "Cannot {} a classic queue",
                if adds {
                    "add members to"
                } else {
                    "delete members from"
                }
            ),
        )),
        // There already, or not there any more.
        Some(_) if adds == (node == here) => Ok(()),
        Some(_) if adds => Err(Failure::new(UNAVAILABLE, "node_not_running")),
        Some(_) => Err(Failure::new(UNAVAILABLE, "last_node")),
    }
}

fn peek(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let [queue, position] = [0, 1].map(|place| session.line.argument(place).to_owned());
    if !position.parse::<u64>().is_ok_and(|position| position > 0) {
        return Err(Failure::argument(
            USAGE,
            "\"position value must be a positive integer\"",
        ));
    }
    let node = session.node()?;
    session.banner(format_args!(
        "Peeking at quorum queue {queue} at position {position} on node {node} ..."
    ))?;
    Err(match find(session)? {
        None => no_target(session),
        Some(found) if !found.quorum => Failure::new(UNAVAILABLE, "Cannot peek into a classic queue"),
        Some(found)
            if position
                .parse::<u64>()
                .is_ok_and(|position| position > found.messages) =>
        {
            Failure::new(
                UNAVAILABLE,
                "Target queue does not have a message at that position",
            )
        }
        Some(_) => Failure::new(
            UNAVAILABLE,
            "peek shows no messages here: take one with basic.get and put it back with basic.nack and requeue",
        ),
    })
}
