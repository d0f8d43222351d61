//! What forms clusters. A node serves alone here: these verbs change nothing, and say so.

use warren_api::broker::Request;

use super::{MANY, Verb};
use crate::broker::failure::{Failure, UNAVAILABLE};
use crate::broker::session::Session;

const NODES: &str = "Nodes";
const CLUSTER: &str = "Cluster";
const REPLICATION: &str = "Replication";

pub(super) static VERBS: [Verb; 12] = [
    Verb::new(
        "start_app",
        "",
        "Serves clients again after stop_app",
        (0, 0),
        start_app,
    )
    .of(NODES),
    Verb::new(
        "stop_app",
        "",
        "Serves no clients any more and leaves the node running",
        (0, 0),
        stop_app,
    )
    .of(NODES),
    Verb::new(
        "reset",
        "",
        "Makes a node leave its cluster and forget everything",
        (0, 0),
        alone,
    )
    .of(NODES),
    Verb::new(
        "force_reset",
        "",
        "The same without its cluster's knowledge",
        (0, 0),
        alone,
    )
    .of(NODES),
    Verb::new(
        "force_boot",
        "",
        "Starts a node without the others of its cluster",
        (0, 0),
        alone,
    )
    .of(CLUSTER),
    Verb::new(
        "join_cluster",
        "[--disc|--ram] <existing_cluster_member>",
        "Makes a node a member of a cluster",
        (1, 1),
        alone,
    )
    .options(&["disc", "ram"])
    .of(CLUSTER),
    Verb::new(
        "change_cluster_node_type",
        "<disc | ram>",
        "Says whether a node keeps metadata on disk",
        (1, 1),
        alone,
    )
    .of(CLUSTER),
    Verb::new(
        "forget_cluster_node",
        "[--offline] <existing_cluster_member_node>",
        "Takes a node out of its cluster",
        (1, 1),
        forget_cluster_node,
    )
    .options(&["offline"])
    .of(CLUSTER),
    Verb::new(
        "update_cluster_nodes",
        "<seed_node>",
        "Asks a member of the cluster who the others are",
        (1, 1),
        alone,
    )
    .of(CLUSTER),
    Verb::new(
        "rename_cluster_node",
        "<oldnode1> <newnode1> [oldnode2] [newnode2] ...",
        "Gives nodes of a cluster other names",
        (2, MANY),
        alone,
    )
    .of(CLUSTER),
    Verb::new(
        "sync_queue",
        "[--vhost <vhost>] <queue>",
        "Makes mirrors of a queue the same: there is nothing to be done for a queue on one node",
        (1, 1),
        sync_queue,
    )
    .of(REPLICATION),
    Verb::new(
        "cancel_sync_queue",
        "[--vhost <vhost>] <queue>",
        "Stops that",
        (1, 1),
        cancel_sync_queue,
    )
    .of(REPLICATION),
];

fn alone(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let (node, version) = {
        let status = session.status()?;
        (status.node.clone(), status.version.clone())
    };
    Err(Failure::new(
        UNAVAILABLE,
        format_args!(
            "{} is for clusters, and {node} (Warren {version}) is a broker of one node: reset, join_cluster and \
             forget_cluster_node come with clustering. Nothing was changed. To start anew, stop the broker and give it an \
             empty data directory.",
            session.verb.name
        ),
    ))
}

/// Nobody is served; what the node has, it keeps, and who asks about it is answered.
fn stop_app(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let node = session.node()?;
    session.banner(format_args!("Stopping rabbit application on node {node} ..."))?;
    session.change(&Request::Drain {})?;
    Ok(())
}

/// Done before is done.
fn start_app(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let node = session.node()?;
    session.banner(format_args!("Starting node {node} ..."))?;
    session.change(&Request::Revive {})?;
    Ok(())
}

fn forget_cluster_node(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let (node, wanted) = (session.node()?, session.line.argument(0).to_owned());
    session.banner(format_args!("Removing node {wanted} from the cluster"))?;
    Err(match wanted == node {
        true => Failure::new(
            UNAVAILABLE,
            format_args!(
                "RabbitMQ on node {node} must be stopped with 'rabbitmqctl -n {node} stop_app' before it can be removed"
            ),
        ),
        false => Failure::new(
            UNAVAILABLE,
            "{:not_a_cluster_node, 'The node selected is not in the cluster.'}",
        ),
    })
}

fn sync_queue(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let (queue, vhost) = (
        session.line.argument(0).to_owned(),
        session.line.vhost().to_owned(),
    );
    session.node()?;
    session.banner(format_args!(
        "Synchronising queue '{queue}' in vhost '{vhost}' ..."
    ))?;
    let text = match super::quorum::find(session)? {
        Some(_) => "not_mirrored",
        None => "not_found",
    };
    Err(Failure::new(UNAVAILABLE, text))
}

fn cancel_sync_queue(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let (queue, vhost) = (
        session.line.argument(0).to_owned(),
        session.line.vhost().to_owned(),
    );
    session.node()?;
    session.banner(format_args!(
        "Stopping synchronising queue '{queue}' in vhost '{vhost}' ..."
    ))?;
    session.say("not_syncing")
}
