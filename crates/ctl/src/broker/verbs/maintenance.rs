//! Before an upgrade and after it: nobody comes in, and who is in goes.

use warren_api::broker::Request;

use super::Verb;
use crate::broker::failure::Failure;
use crate::broker::session::Session;

const UPGRADE: &str = "Upgrade";
const OPERATIONS: &str = "Operations";

pub(super) static UPGRADES: [Verb; 5] = [
    Verb::new(
        "await_online_quorum_plus_one",
        "[--timeout <timeout>]",
        "Waits until queues can do without this node",
        (0, 0),
        |session| {
            alone(
                session,
                "Will wait for a quorum + 1 of nodes to be online for all quorum queues",
            )
        },
    )
    .of(UPGRADE),
    Verb::new(
        "await_online_synchronized_mirror",
        "[--timeout <timeout>]",
        "Waits until mirrors can do without this node",
        (0, 0),
        |session| {
            alone(
                session,
                "Will wait for a synchronised mirror be online for all classic mirrored queues",
            )
        },
    )
    .of(UPGRADE),
    Verb::new(
        "drain",
        "",
        "Closes the listeners and asks all clients to go",
        (0, 0),
        drain,
    )
    .of(UPGRADE),
    Verb::new(
        "post_upgrade",
        "",
        "Does nothing: there are no leaders to be moved",
        (0, 0),
        post_upgrade,
    )
    .of(UPGRADE),
    Verb::new("revive", "", "Opens the listeners again", (0, 0), revive).of(UPGRADE),
];

pub(super) static LISTENERS: [Verb; 2] = [
    Verb::new(
        "resume_listeners",
        "[--timeout <timeout>]",
        "Opens the listeners for clients again",
        (0, 0),
        resume,
    )
    .of(OPERATIONS),
    Verb::new(
        "suspend_listeners",
        "[--timeout <timeout>]",
        "Closes the listeners: clients that are in stay, nobody else comes in",
        (0, 0),
        suspend,
    )
    .of(OPERATIONS),
];

/// There is no other node to wait for.
fn alone(session: &mut Session<'_, '_>, banner: &str) -> Result<(), Failure> {
    session.node()?;
    let seconds = session.line.timeout().map_or(120, |timeout| timeout.as_secs());
    session.banner(format_args!("{banner} for {seconds} seconds..."))?;
    session.say("Target node seems to be the only one in a single node cluster, the command does not apply")
}

fn drain(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let node = session.node()?;
    session.banner(format_args!(
        "Will put node {node} into maintenance mode. The node will no longer serve any client traffic!"
    ))?;
    session.change(&Request::Drain {})?;
    Ok(())
}

fn revive(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let node = session.node()?;
    session.banner(format_args!(
        "Will put node {node} back into regular operating mode. The node will again serve client traffic and host primary queue replicas."
    ))?;
    session.change(&Request::Revive {})?;
    Ok(())
}

fn post_upgrade(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    session.node()?;
    session.banner("Executing post upgrade tasks...")?;
    session.banner("Rebalancing queue masters...")
}

fn suspend(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let node = session.node()?;
    session.banner(format_args!(
        "Will suspend client connection listeners on node {node}. The node will no longer accept client connections!"
    ))?;
    session.change(&Request::Listeners { open: false })?;
    Ok(())
}

fn resume(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let node = session.node()?;
    session.banner(format_args!(
        "Will resume client connection listeners on node {node}. The node will now accept client connections"
    ))?;
    session.change(&Request::Listeners { open: true })?;
    Ok(())
}
