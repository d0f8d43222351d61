//! The supervisor: what runs on this host.

use std::path::PathBuf;

use warren_api::Timestamp;
use warren_api::run::{Reply, Request, Role, SOCKET, Status};
use warren_kit::control::{Address, Client};

use crate::clock::Clock;
use crate::paint::{Paint, clean};
use crate::{Error, View, write_json};

/// The supervisor of one runtime directory.
#[derive(Debug, Clone)]
pub struct Supervisor {
    pub runtime_dir: PathBuf,
}

impl Supervisor {
    fn ask(&self, request: &Request) -> Result<Reply, Error> {
        let client = Client::connect(&Address {
            path: self.runtime_dir.join(SOCKET),
            name: "supervisor".into(),
            start:
                "warren run; if it runs elsewhere, name its --runtime-dir; under systemd there is none, and \
                    systemctl status 'warren-*' shows the units"
                    .into(),
        })?;
        match client.call(request)? {
            Reply::Refused(refused) => Err(Error::Refused {
                code: refused.code,
                message: refused.message,
            }),
            reply => Ok(reply),
        }
    }
}

/// Shows every role.
pub fn status(supervisor: &Supervisor, view: &mut View<'_>) -> Result<(), Error> {
    let Reply::Status(status) = supervisor.ask(&Request::Status {})? else {
        return Err(Error::Unexpected);
    };
    if view.json {
        return write_json(view.out, &status);
    }
    let clock = Clock::local(status.time);
    view.out
        .write_all(page(&status, &clock, Paint(view.colour)).as_bytes())?;
    Ok(())
}

/// Has every role read its configuration again.
pub fn reload(supervisor: &Supervisor) -> Result<(), Error> {
    match supervisor.ask(&Request::Reload {})? {
        Reply::Done => Ok(()),
        _ => Err(Error::Unexpected),
    }
}

fn page(status: &Status, clock: &Clock, paint: Paint) -> String {
    let mut text = format!("warren {}  process {}\n", clean(&status.version), status.process);
    for role in &status.roles {
        text += &format!("{}\n", line(role, clock, paint));
    }
    text
}

/// `broker  ready     process 12  since 12:00:01  rabbit@a serves 3 connections`
fn line(role: &Role, clock: &Clock, paint: Paint) -> String {
    let state = format!("{:8}", clean(&role.state));
    let state = match role.state.as_str() {
        "ready" => paint.good(&state),
        "dead" => paint.bad(&state),
        _ => paint.waiting(&state),
    };
    let mut line = format!(
        "{:6}  {state}  since {}",
        clean(&role.name),
        since(role.since, clock)
    );
    if let Some(process) = role.process {
        line += &format!("  process {process}");
    }
    if role.restarts > 0 {
        line += &format!(
            "  started again {} times, last after {}",
            role.restarts,
            clean(&role.ended)
        );
    } else if !role.ended.is_empty() {
        line += &format!("  ended with {}", clean(&role.ended));
    }
    if !role.says.is_empty() {
        line += &format!("  {}", clean(&role.says));
    }
    line
}

fn since(time: Timestamp, clock: &Clock) -> String {
    clock.words(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_is_a_line() {
        let role = |name: &str, state: &str, process: Option<u32>, restarts: u64, ended: &str| Role {
            name: name.into(),
            state: state.into(),
            process,
            restarts,
            ended: ended.into(),
            says: if state == "ready" {
                "well".into()
            } else {
                String::new()
            },
            since: Timestamp::from_unix_millis(1000),
        };
        let status = Status {
            version: "1.2.3".into(),
            process: 7,
            time: Timestamp::from_unix_millis(2000),
            roles: vec![
                role("broker", "ready", Some(8), 0, ""),
                role("proxy", "ready", Some(9), 2, "signal SIGKILL"),
                role("vrrp", "dead", None, 0, "status 1"),
            ],
        };
        let clock = Clock::utc(Timestamp::from_unix_millis(2000));
        assert_eq!(
            page(&status, &clock, Paint(false)),
            "warren 1.2.3  process 7\n\
             broker  ready     since 00:00:01  process 8  well\n\
             proxy   ready     since 00:00:01  process 9  started again 2 times, last after signal SIGKILL  well\n\
             vrrp    dead      since 00:00:01  ended with status 1\n"
        );
    }
}
