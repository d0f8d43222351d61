//! What is done to queues and connections.

use std::time::Duration;

use serde_json::json;
use warren_api::Micros;
use warren_api::broker::{Request, refusal};

use super::Verb;
use crate::broker::failure::{Failure, UNAVAILABLE, USAGE};
use crate::broker::output::Format;
use crate::broker::session::Session;

const OPERATIONS: &str = "Operations";
const QUEUES: &str = "Queues";

pub(super) static VERBS: [Verb; 6] = [
    Verb::new(
        "close_all_connections",
        "[--vhost <vhost> --limit <limit>] [-n <node> --global] [--per-connection-delay <delay>] <explanation>",
        "Closes the connections of a vhost, or all of them with --global",
        (1, 1),
        close_all_connections,
    )
    .options(&["limit", "global", "per-connection-delay"])
    .of(OPERATIONS),
    Verb::new(
        "close_all_user_connections",
        "<username> <explanation>",
        "Closes the connections of a user",
        (2, 2),
        close_all_user_connections,
    )
    .of(OPERATIONS),
    Verb::new(
        "close_connection",
        "<connection pid> <explanation>",
        "Closes a connection, by pid or name; its client is told why",
        (2, 2),
        close_connection,
    )
    .of(OPERATIONS),
    Verb::new(
        "force_gc",
        "[--timeout <timeout>]",
        "Does nothing: there is no garbage to be collected",
        (0, 0),
        force_gc,
    )
    .of(OPERATIONS),
    Verb::new(
        "delete_queue",
        "<queue_name> [--if-empty|-e] [--if-unused|-u] [--timeout <timeout>]",
        "Deletes a queue and its messages",
        (1, 1),
        delete_queue,
    )
    .options(&["if-empty", "if-unused"])
    .of(QUEUES),
    Verb::new(
        "purge_queue",
        "<queue> [--timeout <timeout>]",
        "Removes all ready messages of a queue",
        (1, 1),
        purge_queue,
    )
    .of(QUEUES),
];

fn close_all_connections(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let reason = session.line.argument(0).to_owned();
    let number = |name: &str| {
        session
            .line
            .value(name)
            .and_then(|value| value.parse::<u64>().ok())
    };
    let (limit, delay) = (
        number("limit").unwrap_or(0),
        number("per-connection-delay").unwrap_or(0),
    );
    let vhost = (!session.line.is_set("global")).then(|| session.line.vhost().to_owned());
    match &vhost {
        Some(vhost) => session.banner(format_args!(
            "Closing all connections in vhost {vhost}, reason: {reason}..."
        ))?,
        None => session.banner(format_args!("Closing all connections, reason: {reason}..."))?,
    }
    let count = session.change(&Request::CloseConnections {
        vhost,
        user: None,
        limit,
        delay_us: Micros::from(Duration::from_millis(delay)),
        reason,
    })?;
    let text = format!("Closed {count} connections");
    session.answer(json!({"value": text}), &text)
}

fn close_all_user_connections(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let (user, reason) = (
        session.line.argument(0).to_owned(),
        session.line.argument(1).to_owned(),
    );
    session.banner(format_args!(
        "Closing connections of user {user}, reason: {reason}..."
    ))?;
    session.change(&Request::CloseConnections {
        vhost: None,
        user: Some(user),
        limit: 0,
        delay_us: Micros::default(),
        reason,
    })?;
    Ok(())
}

fn close_connection(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let (connection, reason) = (
        session.line.argument(0).to_owned(),
        session.line.argument(1).to_owned(),
    );
    session.banner(format_args!(
        "Closing connection {connection}, reason: {reason}..."
    ))?;
    let is_pid = connection.starts_with('<');
    match session.try_change(&Request::CloseConnection { connection, reason })? {
        // It is gone, which is what was wanted.
        Err(refused) if refused.code == refusal::NOT_FOUND && is_pid => Ok(()),
        Err(refused) => Err(Failure::refused(&refused)),
        Ok(_) => Ok(()),
    }
}

fn force_gc(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let node = session.node()?;
    session.banner(format_args!(
        "Will ask all processes on node {node} to schedule a full sweep GC"
    ))
}

fn delete_queue(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let (queue, vhost) = (
        session.line.argument(0).to_owned(),
        session.line.vhost().to_owned(),
    );
    let (if_empty, if_unused) = (session.line.is_set("if-empty"), session.line.is_set("if-unused"));
    let condition = match (if_empty, if_unused) {
        (true, true) => "if queue is empty and if queue is unused ",
        (true, false) => "if queue is empty ",
        (false, true) => "if queue is unused ",
        (false, false) => "",
    };
    session.banner(format_args!(
        "Deleting queue '{queue}' on vhost '{vhost}' {condition}..."
    ))?;
    let request = Request::DeleteQueue {
        vhost,
        queue,
        if_unused,
        if_empty,
    };
    let count = session
        .try_change(&request)?
        .map_err(|refused| match refused.code.as_str() {
            refusal::NOT_FOUND => Failure::new(USAGE, refused.message),
            _ => Failure::refused(&refused),
        })?;
    let text = format!("Queue was successfully deleted with {count} ready messages");
    match session.format()? {
        Format::Json => session.say(json!({"message": text})),
        _ => session.banner(text),
    }
}

fn purge_queue(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let (queue, vhost) = (
        session.line.argument(0).to_owned(),
        session.line.vhost().to_owned(),
    );
    session.banner(format_args!("Purging queue '{queue}' in vhost '{vhost}' ..."))?;
    let purged = session.try_change(&Request::PurgeQueue { vhost, queue })?;
    purged.map_err(|refused| match refused.code.as_str() {
        refusal::NOT_FOUND => Failure::new(UNAVAILABLE, "not_found"),
        _ => Failure::refused(&refused),
    })?;
    Ok(())
}
