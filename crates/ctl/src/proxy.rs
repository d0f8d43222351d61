//! The proxy: what is asked of it for each verb.

use std::path::PathBuf;
use std::time::Duration;

use warren_api::Micros;
use warren_api::proxy::{Backend, Reply, Request, SOCKET, Session, Status, explain};
use warren_kit::control::{Address, Client};
use warren_kit::duration::HumanDuration;

use crate::paint::{Paint, clean};
use crate::{Error, View, write_json};

/// A reload reads files and resolves names; an upgrade starts a process and passes sessions to it.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The proxy of one runtime directory.
#[derive(Debug, Clone)]
pub struct Proxy {
    pub runtime_dir: PathBuf,
}

impl Proxy {
    fn ask(&self, request: &Request) -> Result<Reply, Error> {
        let client = Client::connect(&Address {
            path: self.runtime_dir.join(SOCKET),
            name: "proxy".into(),
            start:
                "systemctl start warren-proxy, or warren proxy; if it runs elsewhere, name its --runtime-dir"
                    .into(),
        })?;
        match client.timeout(TIMEOUT).call(request)? {
            Reply::Refused(refused) => Err(Error::Refused {
                code: refused.code,
                message: refused.message,
            }),
            reply => Ok(reply),
        }
    }

    fn fetch(&self) -> Result<Status, Error> {
        match self.ask(&Request::Status {})? {
            Reply::Status(status) => Ok(*status),
            _ => Err(Error::Unexpected),
        }
    }
}

/// Shows frontends, backends and servers.
pub fn status(proxy: &Proxy, view: &mut View<'_>) -> Result<(), Error> {
    let status = proxy.fetch()?;
    if view.json {
        return write_json(view.out, &status);
    }
    let text = page(&status, Paint(view.colour));
    view.out.write_all(text.as_bytes())?;
    Ok(())
}

/// Explains why everything is as it is.
pub fn why(proxy: &Proxy, view: &mut View<'_>) -> Result<(), Error> {
    let sentences = explain(&proxy.fetch()?);
    if view.json {
        return write_json(view.out, &sentences);
    }
    for sentence in sentences {
        writeln!(view.out, "{}", clean(&sentence))?;
    }
    Ok(())
}

/// Lists sessions.
pub fn sessions(proxy: &Proxy, view: &mut View<'_>) -> Result<(), Error> {
    let Reply::Sessions { sessions } = proxy.ask(&Request::Sessions {})? else {
        return Err(Error::Unexpected);
    };
    if view.json {
        return write_json(view.out, &sessions);
    }
    let rows: Vec<[String; 8]> = sessions.iter().map(session_row).collect();
    let head = [
        "client", "server", "user", "vhost", "program", "age", "idle", "state",
    ]
    .map(str::to_owned);
    view.out
        .write_all(table(&head, &rows, Paint(view.colour)).as_bytes())?;
    Ok(())
}

/// Whether clients would be served.
pub fn ready(proxy: &Proxy, backend: Option<&str>, view: &mut View<'_>) -> Result<(), Error> {
    let backend = backend.map(str::to_owned);
    done(proxy.ask(&Request::Ready { backend })?, view)
}

/// Takes a server out of service, or back into it.
pub fn drain(proxy: &Proxy, server: &str, resume: bool, view: &mut View<'_>) -> Result<(), Error> {
    let (backend, server) = server.split_once('/').ok_or_else(|| Error::Refused {
        code: warren_api::proxy::refusal::NO_SUCH_SERVER.into(),
        message: format!(
            "{server} does not name a server: say BACKEND/SERVER, as warren proxy status shows them"
        ),
    })?;
    let (backend, server) = (backend.to_owned(), server.to_owned());
    let request = match resume {
        true => Request::Resume { backend, server },
        false => Request::Drain { backend, server },
    };
    done(proxy.ask(&request)?, view)
}

/// Has clients of servers that have too many connect again.
pub fn rebalance(proxy: &Proxy, backend: Option<&str>, view: &mut View<'_>) -> Result<(), Error> {
    let backend = backend.map(str::to_owned);
    done(proxy.ask(&Request::Rebalance { backend })?, view)
}

/// Runs a command of the runtime socket.
pub fn ctl(proxy: &Proxy, words: &[String], view: &mut View<'_>) -> Result<(), Error> {
    match proxy.ask(&Request::Run {
        command: words.join(" "),
    })? {
        Reply::Text { text } => view.out.write_all(text.as_bytes())?,
        _ => return Err(Error::Unexpected),
    }
    Ok(())
}

/// Reads the configuration again.
pub fn reload(proxy: &Proxy, view: &mut View<'_>) -> Result<(), Error> {
    done(proxy.ask(&Request::Reload {})?, view)
}

/// Goes on with the binary that is installed now.
pub fn upgrade(proxy: &Proxy, view: &mut View<'_>) -> Result<(), Error> {
    done(proxy.ask(&Request::Upgrade {})?, view)
}

fn done(reply: Reply, view: &mut View<'_>) -> Result<(), Error> {
    let Reply::Done { message, warnings } = reply else {
        return Err(Error::Unexpected);
    };
    for warning in warnings {
        writeln!(view.out, "{}", Paint(view.colour).waiting(&clean(&warning)))?;
    }
    writeln!(view.out, "{}", clean(&message))?;
    Ok(())
}

fn page(status: &Status, paint: Paint) -> String {
    let mut text = format!(
        "warren {}  process {}  {} of {} connections  {}\n",
        clean(&status.version),
        status.pid,
        status.connections,
        status.maxconn,
        clean(&status.config)
    );
    if status.stopping {
        text += &format!("  {}\n", paint.waiting("stopping: waits for the last sessions"));
    }
    if let Some(former) = &status.former {
        let stay = format!(
            "upgraded: {} sessions that cannot travel (TLS) stay in process {} until they end",
            former.sessions, former.pid
        );
        text += &format!("  {}\n", paint.waiting(&stay));
    }
    if let Some(failure) = &status.reload_failure {
        text += &format!("  {} {}\n", paint.bad("not reloaded:"), clean(failure));
    }
    for frontend in &status.frontends {
        let state = match frontend.status.as_str() {
            "OPEN" => paint.good("OPEN"),
            other => paint.bad(&clean(other)),
        };
        text += &format!(
            "\n{}  {state}  {}  {}  {} of {} sessions, {} in all\n",
            paint.strong(&clean(&frontend.name)),
            frontend.mode,
            clean(&frontend.addresses.join(" ")),
            frontend.sessions,
            frontend.maxconn,
            frontend.total
        );
        if let Some(backend) = status
            .backends
            .iter()
            .find(|backend| backend.name == frontend.name)
        {
            text += &servers(backend, paint);
        }
    }
    let alone = |backend: &&Backend| {
        let listens = status
            .frontends
            .iter()
            .any(|frontend| frontend.name == backend.name);
        !listens && !backend.servers.is_empty()
    };
    for backend in status.backends.iter().filter(alone) {
        text += &format!(
            "\n{}  backend\n{}",
            paint.strong(&clean(&backend.name)),
            servers(backend, paint)
        );
    }
    text
}

fn servers(backend: &Backend, paint: Paint) -> String {
    let rows: Vec<[String; 8]> = backend
        .servers
        .iter()
        .map(|server| {
            let name = if server.backup {
                format!("{} (backup)", server.name)
            } else {
                server.name.clone()
            };
            [
                name,
                server.address.clone().unwrap_or_else(|| "unresolved".into()),
                server.status.clone(),
                short(server.since_us),
                server.check.clone().unwrap_or_default(),
                server.weight.to_string(),
                server.sessions.to_string(),
                server.total.to_string(),
            ]
        })
        .collect();
    let head = [
        "server", "address", "status", "since", "check", "weight", "sessions", "total",
    ]
    .map(str::to_owned);
    table(&head, &rows, paint)
}

fn session_row(session: &Session) -> [String; 8] {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
    let server = match (&session.backend, &session.server) {
        (Some(backend), Some(server)) => format!("{backend}/{server}"),
        _ => "-".into(),
    };
    let state = match &session.blocked {
        Some(reason) => format!("{} (blocked: {reason})", session.state),
        None => session.state.clone(),
    };
    [
        session.client.clone(),
        server,
        or_dash(&session.user),
        or_dash(&session.vhost),
        or_dash(&session.client_program),
        short(session.age_us),
        short(session.idle_us),
        state,
    ]
}

/// Whole seconds from one second on.
fn short(time: Micros) -> String {
    let time = Duration::from(time);
    let unit = if time.as_secs() > 0 {
        Duration::from_secs(1)
    } else {
        Duration::from_millis(1)
    };
    let whole = time.as_nanos() / unit.as_nanos();
    HumanDuration::from(unit * u32::try_from(whole).unwrap_or(u32::MAX)).to_string()
}

/// Columns as wide as they have to be, two spaces between.
fn table<const N: usize>(head: &[String; N], rows: &[[String; N]], paint: Paint) -> String {
    let width = |column: usize| {
        let cells = rows.iter().chain([head]).map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{:width$}", clean(cell)));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut text = format!("  {}\n", paint.faint(&line(head)));
    for row in rows {
        text += &format!("  {}\n", line(row));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use warren_api::proxy::{Frontend, Server};

    #[test]
    fn servers_stand_below_the_frontend_of_the_same_name() {
        let status = Status {
            frontends: vec![Frontend {
                name: "rabbit".into(),
                status: "OPEN".into(),
                addresses: vec!["0.0.0.0:5670".into()],
                ..Frontend::default()
            }],
            backends: vec![Backend {
                name: "rabbit".into(),
                servers: vec![Server {
                    name: "one".into(),
                    status: "UP".into(),
                    since_us: Micros(61_000_000),
                    ..Server::default()
                }],
                ..Backend::default()
            }],
            ..Status::default()
        };
        let text = page(&status, Paint(false));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[2].starts_with("rabbit  OPEN"), "{text}");
        assert!(lines[4].contains("one") && lines[4].contains("61s"), "{text}");
    }
}
