//! The warren.toml that a haproxy.cfg means, as text an operator would have written.
//!
//! What all servers of a backend have in common moves to `server_defaults`, timeouts that all proxies have in common to
//! `[proxy.timeouts]`. Sections keep their order, since it decides about their numbers.

mod value;

use std::fmt::Write;

use self::value::{NoForm, Value};
use super::file::{Proxy, Section};
use super::load::Loaded;

/// Longer lines are broken up.
const WIDTH: usize = 100;

/// Timeouts that every section with clients has.
const FRONT: [&str; 5] = [
    "client",
    "client_fin",
    "http_request",
    "http_keep_alive",
    "handshake",
];
/// Timeouts that every section with servers has.
const BACK: [&str; 6] = ["connect", "server", "server_fin", "queue", "tunnel", "check"];

/// The TOML of a configuration. What was dropped or needs a look stands above it as comments.
#[must_use]
pub fn translate(loaded: &Loaded) -> String {
    loaded.commented(document(&loaded.file))
}

/// A section with what it is called.
struct Part {
    kind: &'static str,
    name: String,
    place: usize,
    value: Value,
}

fn document(file: &Proxy) -> Result<String, NoForm> {
    let mut parts = Vec::new();
    for (kind, named) in [
        ("listen", &file.listen),
        ("frontend", &file.frontend),
        ("backend", &file.backend),
    ] {
        for (name, section) in named {
            parts.push(Part {
                kind,
                name: name.get_ref().clone(),
                place: name.span().start,
                value: section_value(section)?,
            });
        }
    }
    parts.sort_by_key(|part| part.place);
    let mut whole = table(Value::of(file)?);
    for kind in ["listen", "frontend", "backend"] {
        whole.remove(kind);
    }
    let own = table(whole.remove("timeouts"));
    let users = table(whole.remove("users"));
    let shared = share_timeouts(own, &mut parts);

    let mut text = String::new();
    section(&mut text, "proxy", &whole);
    if shared != table(None) {
        section(&mut text, "proxy.timeouts", &shared);
    }
    for (list, members) in entries(&users) {
        section(&mut text, &format!("proxy.users.{}", key(list)), members);
    }
    for part in &mut parts {
        let header = format!("proxy.{}.{}", part.kind, key(&part.name));
        let servers = part.value.remove("servers");
        section(&mut text, &header, &part.value);
        if let Some(servers) = servers {
            server_list(&mut text, &format!("{header}.servers"), &servers);
        }
    }
    Ok(text)
}

/// What is said of a section, its servers' common ground apart.
fn section_value(section: &Section) -> Result<Value, NoForm> {
    let mut value = table(Value::of(section)?);
    let Some(Value::Table(mut servers)) = value.remove("servers") else {
        return Ok(value);
    };
    let common = common_entries(&servers);
    for (_, server) in &mut servers {
        for (name, _) in &common {
            server.remove(name);
        }
        // A server of which nothing else is left to say is an address.
        if let Value::Table(entries) = server
            && let [(name, address)] = entries.as_slice()
            && name == "address"
        {
            *server = address.clone();
        }
    }
    if let Value::Table(entries) = &mut value {
        if !common.is_empty() {
            entries.push(("server_defaults".to_owned(), Value::Table(common)));
        }
        if !servers.is_empty() {
            entries.push(("servers".to_owned(), Value::Table(servers)));
        }
    }
    Ok(value)
}

/// What all of them say alike; a single server says it itself, unless little is left then.
fn common_entries(servers: &[(String, Value)]) -> Vec<(String, Value)> {
    let Some((_, first)) = servers.first() else {
        return Vec::new();
    };
    let own = ["address", "id", "backup", "track"];
    let alike = |(name, value): &&(String, Value)| {
        !own.contains(&name.as_str()) && servers.iter().all(|(_, server)| server.get(name) == Some(value))
    };
    entries(first).iter().filter(alike).cloned().collect()
}

/// Takes the timeouts that all have alike out of the parts.
fn share_timeouts(own: Value, parts: &mut [Part]) -> Value {
    let Value::Table(mut shared) = own else { return own };
    let groups = [
        (FRONT.as_slice(), ["listen", "frontend"]),
        (BACK.as_slice(), ["listen", "backend"]),
    ];
    for (names, kinds) in groups {
        for name in names {
            let concerned = || parts.iter().filter(|part| kinds.contains(&part.kind));
            let timeout = |part: &Part| part.value.get("timeouts").and_then(|all| all.get(name)).cloned();
            let Some(Some(first)) = concerned().next().map(timeout) else {
                continue;
            };
            if !concerned().all(|part| timeout(part).as_ref() == Some(&first)) {
                continue;
            }
            shared.push(((*name).to_owned(), first));
            for part in parts.iter_mut().filter(|part| kinds.contains(&part.kind)) {
                remove_timeout(&mut part.value, name);
            }
        }
    }
    Value::Table(shared)
}

fn remove_timeout(section: &mut Value, name: &str) {
    let Value::Table(entries) = section else { return };
    for (_, timeouts) in entries.iter_mut().filter(|(key, _)| key == "timeouts") {
        timeouts.remove(name);
    }
    entries.retain(|(key, value)| key != "timeouts" || *value != table(None));
}

fn table(value: Option<Value>) -> Value {
    value.unwrap_or(Value::Table(Vec::new()))
}

fn entries(value: &Value) -> &[(String, Value)] {
    match value {
        Value::Table(entries) => entries,
        _ => &[],
    }
}

/// A list of one is written without brackets where that is allowed.
fn unlisted(name: &str, value: &Value) -> Option<Value> {
    match value {
        Value::List(list) if ["bind", "certificates"].contains(&name) && list.len() == 1 => {
            list.first().cloned()
        }
        _ => None,
    }
}

/// A header and the keys below it; tables among them are written on one line as long as they fit.
fn section(text: &mut String, header: &str, value: &Value) {
    if !text.is_empty() {
        text.push('\n');
    }
    let _ = writeln!(text, "[{header}]");
    let mut tables = Vec::new();
    for (name, value) in entries(value) {
        let only = unlisted(name, value);
        let value = only.as_ref().unwrap_or(value);
        let line = format!("{} = {}", key(name), inline(value));
        match value {
            _ if line.len() <= WIDTH => {
                let _ = writeln!(text, "{line}");
            }
            Value::Table(_) => tables.push((name, value.clone())),
            Value::List(list) => {
                let _ = writeln!(text, "{} = [", key(name));
                for value in list {
                    let _ = writeln!(text, "    {},", inline(value));
                }
                text.push_str("]\n");
            }
            _ => {
                let _ = writeln!(text, "{line}");
            }
        }
    }
    for (name, value) in tables {
        section(text, &format!("{header}.{}", key(name)), &value);
    }
}

/// A line for each server. A server that does not fit on one makes all of them tables, so that they keep their order.
fn server_list(text: &mut String, header: &str, servers: &Value) {
    let fits = |(name, server): &(String, Value)| key(name).len() + 3 + inline(server).len() <= WIDTH;
    if entries(servers).iter().all(fits) {
        section(text, header, servers);
        return;
    }
    for (name, server) in entries(servers) {
        let server = match server {
            Value::Table(_) => server.clone(),
            address => Value::Table(vec![("address".to_owned(), address.clone())]),
        };
        section(text, &format!("{header}.{}", key(name)), &server);
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Text(text) => quoted(text),
        Value::List(list) => {
            let parts: Vec<String> = list.iter().map(inline).collect();
            format!("[{}]", parts.join(", "))
        }
        Value::Table(entries) if entries.is_empty() => "{}".to_owned(),
        Value::Table(entries) => {
            let parts = entries
                .iter()
                .map(|(name, value)| format!("{} = {}", key(name), inline(value)));
            format!("{{ {} }}", parts.collect::<Vec<_>>().join(", "))
        }
    }
}

/// Rules are full of quotes and backslashes: single quotes leave them as they are.
fn quoted(text: &str) -> String {
    let awkward = text.contains(['"', '\\']);
    if awkward && !text.contains('\'') && !text.contains(|c: char| c.is_control()) {
        return format!("'{text}'");
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted += "\\n",
            '\r' => quoted += "\\r",
            '\t' => quoted += "\\t",
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

fn key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.chars().all(bare) {
        name.to_owned()
    } else {
        quoted(name)
    }
}
