//! Data for the script: the table of connections, and everything about one row.

use std::time::{Duration, Instant};

use super::words::Words;
use crate::live::Server;
use crate::plan::CheckKind;
use crate::runtime::Context;
use crate::stats::{Field, Kind, Row, Statistics};
use crate::worker::SessionInfo;

/// Connections shown at once; the page says how many there are in all.
pub(super) const SHOWN_MAX: usize = 1000;

/// The connections, busiest first where there are too many.
pub(super) fn sessions(
    mut sessions: Vec<SessionInfo>,
    scope: impl Fn(&SessionInfo) -> bool,
) -> serde_json::Value {
    sessions.retain(scope);
    let total = sessions.len();
    if total > SHOWN_MAX {
        sessions.sort_by_key(|session| std::cmp::Reverse(session.bytes_in.saturating_add(session.bytes_out)));
        sessions.truncate(SHOWN_MAX);
    }
    sessions.sort_by_key(|session| session.id);
    let list: Vec<_> = sessions.iter().map(session).collect();
    serde_json::json!({"total": total, "sessions": list})
}

fn session(session: &SessionInfo) -> serde_json::Value {
    let amqp = session.amqp.as_deref();
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let program = amqp.map(|amqp| {
        let words = [amqp.product.as_deref(), amqp.version.as_deref()];
        words.into_iter().flatten().collect::<Vec<_>>().join(" ")
    });
    let server = session.server.as_ref().map(|(name, address)| {
        let backend = session.backend.as_deref().unwrap_or_default();
        (format!("{backend}/{name}"), address.as_str())
    });
    serde_json::json!({
        "id": session.id,
        "client": session.client,
        "local": session.local,
        "frontend": &*session.frontend,
        "server": server.as_ref().map(|(name, _)| name),
        "address": server.as_ref().map(|(_, address)| address),
        "age": millis(session.age),
        "idle": millis(session.idle[0].min(session.idle[1])),
        "in": session.bytes_in,
        "out": session.bytes_out,
        "unsent": session.unsent,
        "state": session.state,
        "tls": session.tls,
        "user": amqp.and_then(|amqp| amqp.user.as_deref()),
        "vhost": amqp.and_then(|amqp| amqp.vhost.as_deref()),
        "program": program,
        "name": amqp.and_then(|amqp| amqp.connection_name.as_deref()),
        "heartbeat": amqp.and_then(|amqp| amqp.heartbeat),
        "channels": amqp.map(|amqp| amqp.channels),
        "blocked": amqp.and_then(|amqp| amqp.blocked.as_deref()),
    })
}

/// Everything about a row, `proxy/name`; `None` if there is none.
pub(super) fn detail(
    context: &Context,
    statistics: &Statistics,
    key: &str,
    words: &Words,
    discreet: bool,
) -> Option<serde_json::Value> {
    let (proxy, name) = key.rsplit_once('/')?;
    let row = statistics.row(proxy, name)?;
    let view = super::view::view(row, words, discreet);
    let mut facts: Vec<[String; 2]> = Vec::new();
    let mut checks = Vec::new();
    if row.kind == Kind::Server
        && let Some(server) = context
            .live
            .snapshot()
            .backend_named(proxy)
            .and_then(|it| it.server_named(name))
    {
        facts = server_facts(row, &server, words, discreet);
        checks = results(context, &server);
    }
    if let Some(end) = row.certificates_end {
        facts.push([words.certificate_end.to_owned(), super::view::day(end)]);
    }
    Some(serde_json::json!({
        "key": key,
        "name": view.name,
        "proxy": proxy,
        "look": view.look,
        "status": row.text(Field::Status),
        "since": super::view::human_time(row.number(Field::Lastchg)),
        "server": row.kind == Kind::Server,
        "cells": view.cells,
        "facts": facts,
        "checks": checks,
    }))
}

fn server_facts(row: &Row, server: &Server, words: &Words, discreet: bool) -> Vec<[String; 2]> {
    let plan = server.plan();
    let fact = |label: &str, value: String| [label.to_owned(), value];
    let mut facts = Vec::new();
    if !discreet {
        facts.push(fact(words.address, row.text(Field::Addr).to_owned()));
    }
    if plan.backup {
        facts.push(fact(words.mode, words.state_backup.to_owned()));
    }
    facts.push(fact(words.weight, row.number(Field::Weight).to_string()));
    let most = match row.number(Field::Slim) {
        0 => words.no_limit.to_owned(),
        limit => limit.to_string(),
    };
    facts.push(fact(words.max_connections, most));
    facts.push(fact(words.queue, row.number(Field::Qcur).to_string()));
    let checked = plan.check.as_ref().map_or_else(
        || words.not_checked.to_owned(),
        |check| {
            let rise_fall = words
                .rise_fall
                .replace("{rise}", &check.timing.rise.to_string())
                .replace("{fall}", &check.timing.fall.to_string());
            format!(
                "{}, {} {:?}; {rise_fall}",
                kind(&check.kind),
                words.every,
                check.timing.inter
            )
        },
    );
    facts.push(fact(words.checked_how, checked));
    facts
}

/// What has to succeed; nothing secret.
fn kind(kind: &CheckKind) -> String {
    match kind {
        CheckKind::Tcp => "TCP".to_owned(),
        CheckKind::Tls => "TLS".to_owned(),
        CheckKind::Http { method, uri, .. } => format!("HTTP {method} {uri}"),
        CheckKind::Script(_) => "TCP send/expect".to_owned(),
        CheckKind::AmqpGreeting => "AMQP connection.start".to_owned(),
        CheckKind::AmqpLogin { user, vhost, .. } => format!("AMQP login {user} {vhost}"),
        CheckKind::AmqpManagement { port, .. } => format!("RabbitMQ management :{port}"),
        CheckKind::AmqpFull {
            user, vhost, port, ..
        } => format!("AMQP login {user} {vhost}, management :{port}"),
    }
}

fn results(context: &Context, server: &Server) -> Vec<serde_json::Value> {
    let now = context.live.time(Instant::now());
    let operational = server.operational.lock();
    let mut results: Vec<_> = operational.results.iter().collect();
    if results.is_empty() {
        results.extend(&operational.last_check);
    }
    let results = results.iter().map(|result| {
        serde_json::json!({
            "ago": now.millis_since(result.at) / 1000,
            "status": result.status,
            "code": result.code,
            "ms": u64::try_from(result.duration.as_millis()).unwrap_or(u64::MAX),
            "detail": result.detail,
            "passed": result.passed,
            "words": crate::stats::result_in_words(result.status),
        })
    });
    results.collect()
}
