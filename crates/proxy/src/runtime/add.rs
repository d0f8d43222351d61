//! `add server`, `del server`.

mod line;

use std::sync::Arc;
use std::time::Instant;

use warren_balance::health::{Input, State};
use warren_balance::{Instant as Time, ServerId};

use super::change::tell;
use super::commands::{Answer, Request};
use super::server::named;
use crate::live::{Backend, Server, Snapshot};
use crate::tls::Connector;

/// Servers of one backend; a runaway script must not take all memory.
const SERVERS_MAX: usize = 4096;

pub(super) fn add_server(request: &Request<'_>) -> Answer {
    match add(request) {
        Ok(()) => Answer::line("New server registered."),
        Err(answer) => answer,
    }
}

/// As HAProxy has it: most refusals of these two commands end without a newline of their own.
fn refusal(text: &str) -> Answer {
    Answer::Text(text.to_owned())
}

fn add(request: &Request<'_>) -> Result<(), Answer> {
    let Some((backend, name)) = request.argument(0).split_once('/') else {
        return Err(refusal("Require 'backend/server'."));
    };
    let snapshot = request.context.live.snapshot();
    let backend = snapshot
        .backend_named(backend)
        .ok_or_else(|| refusal("No such backend."))?;
    if backend.server_named(name).is_some() {
        return Err(Answer::line(
            "Already exists a server with the same name in backend.",
        ));
    }
    if name.is_empty() || request.argument(1).is_empty() {
        return Err(Answer::line(
            "'server' expects <name> and <addr>[:<port>] as arguments.",
        ));
    }
    let words = request.arguments.get(1..).unwrap_or_default();
    let now = request.context.live.time(Instant::now());
    let server = make(backend, name, words, None, now).map_err(Answer::line)?;
    // Not checked until `enable health`.
    tell(request.context, backend, &server, &Input::Checked(false));
    request.context.servers.reloaded();
    Ok(())
}

/// A server as these words describe it, in maintenance. With the number it had in another process, if it comes from one.
///
/// # Errors
/// What is wrong with the words, as it is said to who has written them.
pub(crate) fn make(
    backend: &Backend,
    name: &str,
    words: &[String],
    id: Option<ServerId>,
    now: Time,
) -> Result<Arc<Server>, String> {
    let servers = backend.servers();
    if servers.len() >= SERVERS_MAX {
        return Err(format!("The backend has {SERVERS_MAX} servers already."));
    }
    let mut plan = line::read(backend, name, words)?;
    if let Some(id) = id.filter(|id| servers.iter().all(|server| server.id() != *id)) {
        plan.id = id;
    }
    let connector = match &plan.tls {
        Some(tls) => Some(Connector::load(tls).map_err(|error| error.to_string())?),
        None => None,
    };
    let server = backend.add_server(now, Arc::new(plan), words.to_vec());
    server.connector.store(connector.map(Arc::new));
    Ok(server)
}

pub(super) fn del_server(request: &Request<'_>) -> Answer {
    let (backend, server) = match named(request) {
        Ok(found) => found,
        // Here, too, without a newline.
        Err(Answer::Text(text)) => return Answer::Text(text.trim_end().to_owned()),
        Err(answer) => return answer,
    };
    if is_tracked(&request.context.live.snapshot(), &backend, &server) {
        return refusal(
            "This server cannot be removed at runtime due to other configuration elements pointing to it.",
        );
    }
    if server.state() != State::Maint {
        return refusal("Only servers in maintenance mode can be deleted.");
    }
    if server.sessions.now() > 0 || server.queued.now() > 0 {
        return refusal("Server still has connections attached to it, cannot remove it.");
    }
    let now = request.context.live.time(Instant::now());
    backend.remove_server(now, &server.name);
    request.context.servers.reloaded();
    refusal("Server deleted.")
}

/// Another server follows this one.
fn is_tracked(snapshot: &Snapshot, backend: &Backend, server: &Server) -> bool {
    let follows = |other: &Arc<Server>| {
        other
            .plan()
            .track
            .as_ref()
            .is_some_and(|(of, name)| **of == *backend.name && **name == *server.name)
    };
    snapshot
        .backends
        .iter()
        .any(|backend| backend.servers().iter().any(follows))
}
