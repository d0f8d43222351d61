//! The proxy's state in sentences.

use std::time::Duration;

use super::{Backend, Frontend, Server, Status};

/// One or more sentences for each thing that is not as it should be, and one for each that is; the most important
/// first within each backend.
#[must_use]
pub fn explain(status: &Status) -> Vec<String> {
    let mut sentences = Vec::new();
    if status.stopping {
        sentences.push(format!(
            "The proxy is stopping: it accepts nothing new and waits for {} connections to end.",
            status.connections
        ));
    }
    if let Some(former) = &status.former {
        sentences.push(format!(
            "Process {}, which served before the upgrade, still has some of {} sessions that cannot travel (TLS), and \
             ends with the last of them.",
            former.pid, former.sessions
        ));
    }
    if let Some(failure) = &status.reload_failure {
        sentences.push(format!(
            "The configuration could not be read again and the earlier one is in force: {failure}"
        ));
    }
    if status.maxconn > 0 && status.connections >= status.maxconn {
        sentences.push(format!(
            "No client is accepted: {} connections are as many as maxconn allows.",
            status.connections
        ));
    }
    sentences.extend(status.frontends.iter().filter_map(frontend));
    for backend in &status.backends {
        sentences.extend(self::backend(backend));
    }
    sentences
}

fn frontend(frontend: &Frontend) -> Option<String> {
    let name = &frontend.name;
    match frontend.status.as_str() {
        "STOP" => Some(format!("Frontend {name} is stopped: nobody listens there.")),
        "PAUSED" => Some(format!(
            "Frontend {name} was disabled by an operator: clients are not accepted until `enable frontend {name}`."
        )),
        "FULL" => Some(format!(
            "Frontend {name} is full: {} sessions are as many as its maxconn allows; further clients wait.",
            frontend.sessions
        )),
        _ => None,
    }
}

fn backend(backend: &Backend) -> Vec<String> {
    let name = &backend.name;
    let mut sentences = Vec::new();
    if backend.servers.is_empty() {
        return sentences;
    }
    let backups = backend
        .servers
        .iter()
        .filter(|server| server.backup && server.usable)
        .count();
    let active = backend
        .servers
        .iter()
        .filter(|server| !server.backup && server.usable)
        .count();
    sentences.push(match (active, backups) {
        (0, 0) => format!("Backend {name} has no server: its clients are refused."),
        (0, backups) => {
            format!("Backend {name} lives on its backup ({backups} usable): no active server is usable.")
        }
        (active, _) => format!(
            "Backend {name} shares its connections among {active} of {} active servers ({}).",
            backend.servers.iter().filter(|server| !server.backup).count(),
            backend.balance
        ),
    });
    if backend.queued > 0 {
        sentences.push(format!(
            "{} connections wait in backend {name}: every server has as many as its maxconn allows.",
            backend.queued
        ));
    }
    sentences.extend(
        backend
            .servers
            .iter()
            .map(|server| format!("  {}", self::server(server))),
    );
    sentences
}

fn server(server: &Server) -> String {
    let name = &server.name;
    let since = words(server.since_us.into());
    let Some(address) = &server.address else {
        return format!("{name} is not used: its name could not be resolved.");
    };
    let why = match (&server.check, server.check_detail.is_empty()) {
        (Some(check), true) => check.clone(),
        (Some(check), false) => format!("{check}, {}", server.check_detail),
        (None, _) => "no check has ended yet".to_owned(),
    };
    let checked = &server.checked;
    match server.status.as_str() {
        "no check" => format!("{name} ({address}) is taken to be up: it is not checked."),
        status if status.starts_with("MAINT") => {
            format!(
                "{name} ({address}) is in maintenance for {since}: it gets no connections and no checks until it is set ready."
            )
        }
        status if status.starts_with("DRAIN") || status.starts_with("NOLB") => {
            format!(
                "{name} ({address}) is draining for {since}: it keeps {} sessions and gets no new ones.",
                server.sessions
            )
        }
        status if status.starts_with("DOWN") => {
            format!("{name} ({address}) is {status} for {since}: {why}. It is checked by {checked}.")
        }
        "UP" => format!(
            "{name} ({address}) is up for {since} with {} sessions: {why}.",
            server.sessions
        ),
        status => format!("{name} ({address}) is {status} for {since}: {why}. It is checked by {checked}."),
    }
}

/// `3 s`, `5 min`, `2 h`, `4 days`.
fn words(duration: Duration) -> String {
    match duration.as_secs() {
        secs @ 0..60 => format!("{secs} s"),
        secs @ 60..3600 => format!("{} min", secs / 60),
        secs @ 3600..172_800 => format!("{} h", secs / 3600),
        secs => format!("{} days", secs / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Micros;

    fn broken() -> Status {
        let server = |name: &str, status: &str, usable: bool, backup: bool| Server {
            name: name.into(),
            address: Some("10.0.0.1:5672".into()),
            status: status.into(),
            usable,
            backup,
            since_us: Micros(200_000_000),
            check: Some("L4CON".into()),
            check_detail: "Connection refused".into(),
            checked: "a connection, every 5s; down after 3 failures, up after 2 successes".into(),
            ..Server::default()
        };
        Status {
            backends: vec![Backend {
                name: "rabbit".into(),
                servers: vec![
                    server("one", "DOWN", false, false),
                    server("two", "UP", true, true),
                ],
                ..Backend::default()
            }],
            ..Status::default()
        }
    }

    #[test]
    fn a_backend_without_active_servers_says_so_and_why() {
        let sentences = explain(&broken()).join("\n");
        assert!(
            sentences.contains("lives on its backup (1 usable)"),
            "{sentences}"
        );
        assert!(
            sentences.contains("one (10.0.0.1:5672) is DOWN for 3 min: L4CON, Connection refused."),
            "{sentences}"
        );
    }

    #[test]
    fn a_backend_without_any_server_refuses_its_clients() {
        let mut status = broken();
        status.backends[0].servers.pop();
        assert!(explain(&status)[0].contains("has no server"));
    }
}
