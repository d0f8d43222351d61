//! Commands about a server: `set server`, `enable`, `disable`, weight, limits, address.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use warren_balance::health::{Input, Operation};
use warren_balance::{Admin, Weight};

use super::change::tell;
use super::commands::{Answer, Request};
use super::set::end_sessions;
use crate::live::{Backend, Server, Target};
use crate::plan;
use crate::worker::Scope;

/// The backend and server that `b/s` names, or what is to be said.
pub(super) fn named(request: &Request<'_>) -> Result<(Arc<Backend>, Arc<Server>), Answer> {
    let Some((backend, server)) = request.argument(0).split_once('/') else {
        return Err(Answer::line("Require 'backend/server'."));
    };
    let snapshot = request.context.live.snapshot();
    let backend = snapshot.backend_named(backend).cloned();
    let backend = backend.ok_or_else(|| Answer::line("No such backend."))?;
    let server = backend
        .server_named(server)
        .ok_or_else(|| Answer::line("No such server."))?;
    Ok((backend, server))
}

/// What is done to a server.
struct Change<'a> {
    request: &'a Request<'a>,
    backend: Arc<Backend>,
    server: Arc<Server>,
}

type Said = Result<Answer, Answer>;

fn change<'a>(request: &'a Request<'a>, what: impl FnOnce(&Change<'a>) -> Said) -> Answer {
    let said = named(request).and_then(|(backend, server)| {
        what(&Change {
            request,
            backend,
            server,
        })
    });
    said.unwrap_or_else(|refusal| refusal)
}

impl Change<'_> {
    fn tell(&self, input: &Input) -> Answer {
        tell(self.request.context, &self.backend, &self.server, input);
        Answer::nothing()
    }

    fn checked(&self, refusal: &str) -> Result<(), Answer> {
        let checked = self.server.plan().check.is_some();
        checked
            .then_some(())
            .ok_or_else(|| Answer::Text(refusal.to_owned()))
    }

    fn has_agent(&self, refusal: &str) -> Result<(), Answer> {
        let agent = self.server.plan().agent.is_some();
        agent
            .then_some(())
            .ok_or_else(|| Answer::Text(refusal.to_owned()))
    }

    fn adjust_check(&self, change: impl FnOnce(&mut plan::Check)) -> Said {
        self.checked("health checks are not enabled on this server")?;
        self.server.adjust(|plan| {
            if let Some(check) = &mut plan.check {
                change(check);
            }
        });
        Ok(Answer::nothing())
    }

    fn adjust_agent(&self, change: impl FnOnce(&mut plan::Agent)) -> Said {
        self.has_agent("agent checks are not enabled on this server")?;
        self.server.adjust(|plan| {
            if let Some(agent) = &mut plan.agent {
                change(agent);
            }
        });
        Ok(Answer::nothing())
    }

    fn weight(&self, word: &str) -> Said {
        if word.is_empty() {
            return Err(Answer::line("Require <weight> or <weight%>."));
        }
        let (digits, percent) = word
            .strip_suffix('%')
            .map_or((word, false), |digits| (digits, true));
        let number: u32 =
            digits
                .parse()
                .map_err(|_| match digits.starts_with(|c: char| c.is_ascii_digit()) {
                    true => Answer::Text("Trailing garbage in weight string".to_owned()),
                    false => Answer::Text("Empty weight string empty or preceded by garbage".to_owned()),
                })?;
        let (input, initial) = if percent {
            (Input::Percent(number), 100)
        } else {
            let weight = Weight::try_from(number)
                .map_err(|_| Answer::line("Absolute weight can only be between 0 and 256 inclusive."))?;
            (Input::Weight(weight), u32::from(self.server.plan().weight.get()))
        };
        if self.backend.plan().balance.algorithm.is_static() && ![0, initial].contains(&number) {
            return Err(Answer::line(
                "Backend is using a static LB algorithm and only accepts weights '0%' and '100%'.",
            ));
        }
        Ok(self.tell(&input))
    }
}

const USAGE: &str = "usage: set server <backend>/<server> addr | agent | agent-addr | agent-port | agent-send | \
check-addr | check-port | fqdn | health | ssl | state | weight\n";

pub(super) fn set_server(request: &Request<'_>) -> Answer {
    change(request, |change| {
        let value = request.argument(2);
        match request.argument(1) {
            "weight" => change.weight(value),
            "state" => {
                let admin = match value {
                    "ready" => Admin::Ready,
                    "drain" => Admin::Drain,
                    "maint" => Admin::Maint,
                    _ => {
                        return Err(Answer::line(
                            "'set server <srv> state' expects 'ready', 'drain' and 'maint'.",
                        ));
                    }
                };
                Ok(change.tell(&Input::Admin(admin)))
            }
            "health" => set_health(change, value),
            "agent" => set_agent(change, value),
            "agent-addr" => {
                let address = value.parse().map_err(|_| no_address("agent-addr", value));
                change.has_agent("agent checks are not enabled on this server")?;
                let address = address?;
                change.adjust_agent(|agent| agent.address = Some(address))
            }
            "agent-port" => {
                let port = port(value)?;
                change.adjust_agent(|agent| agent.port = port)
            }
            "agent-send" => {
                change.has_agent("agent checks are not enabled on this server.\n")?;
                change.adjust_agent(|agent| agent.send = Some(value.to_owned()))
            }
            "check-addr" => {
                change.checked("health checks are not enabled on this server")?;
                let address = value.parse().map_err(|_| no_address("check-addr", value))?;
                change.adjust_check(|check| check.address = Some(address))
            }
            "check-port" => {
                let port = port(value)?;
                change.adjust_check(|check| check.port = Some(port))
            }
            "addr" => set_address(change),
            "fqdn" => Err(Answer::line(
                "set server <b>/<s> fqdn failed because no resolution is configured.",
            )),
            "ssl" => Err(Answer::line(
                "'set server <srv> ssl' cannot be set.  default-server should define ssl settings",
            )),
            _ => Err(Answer::Text(USAGE.to_owned())),
        }
    })
}

fn port(word: &str) -> Result<u16, Answer> {
    if word.parse::<i64>().is_err() {
        return Err(Answer::Text("provided port is not an integer".to_owned()));
    }
    let port = word.parse().ok().filter(|port| *port > 0);
    port.ok_or_else(|| Answer::Text("provided port is invalid".to_owned()))
}

fn no_address(what: &str, word: &str) -> Answer {
    Answer::Text(format!(
        "incorrect {what} address '{word}': an IP address is expected"
    ))
}

fn set_health(change: &Change<'_>, word: &str) -> Said {
    let operation = match word {
        "up" => Operation::Running,
        "stopping" => Operation::Stopping,
        "down" => Operation::Stopped,
        _ => {
            return Err(Answer::line(
                "'set server <srv> health' expects 'up', 'stopping', or 'down'.",
            ));
        }
    };
    if change.server.plan().track.is_some() {
        return Err(Answer::line("cannot change health on a tracking server."));
    }
    Ok(change.tell(&Input::Health(operation)))
}

fn set_agent(change: &Change<'_>, word: &str) -> Said {
    change.has_agent("agent checks are not enabled on this server.\n")?;
    match word {
        "up" => Ok(change.tell(&Input::AgentHealth(true))),
        "down" => Ok(change.tell(&Input::AgentHealth(false))),
        _ => Err(Answer::line("'set server <srv> agent' expects 'up' or 'down'.")),
    }
}

/// `addr <ip> [port <port>]`.
fn set_address(change: &Change<'_>) -> Said {
    let request = change.request;
    let word = request.argument(2);
    if word.is_empty() {
        return Err(Answer::line(
            "set server <b>/<s> addr requires an address and optionally a port.",
        ));
    }
    let by = |what: String| Answer::line(format_args!("{what} by 'stats socket command'"));
    let address: IpAddr = word.parse().map_err(|_| by(format!("Invalid addr '{word}'")))?;
    let before = match change.server.target.load_full().as_deref() {
        Some(Target::Tcp(address)) => Some(*address),
        Some(Target::Unix(_)) => {
            return Err(by(
                "Update for the current server address family is only supported through configuration file."
                    .to_owned(),
            ));
        }
        None => None,
    };
    let port_before = before.map_or_else(|| configured_port(&change.server), |before| before.port());
    let mut said = Vec::new();
    match before.map(|before| before.ip()) {
        Some(old) if old == address => said.push("no need to change the addr".to_owned()),
        old => {
            let old = old.map_or_else(|| "(none)".to_owned(), |old| old.to_string());
            said.push(format!("IP changed from '{old}' to '{address}'"));
        }
    }
    let mut new_port = port_before;
    if request.argument(3) == "port" {
        let word = request.argument(4);
        new_port = word
            .parse()
            .map_err(|_| by("problem converting string to port".to_owned()))?;
        said.push(if new_port == port_before {
            "no need to change the port".to_owned()
        } else {
            format!("port changed from '{port_before}' to '{new_port}'")
        });
    }
    let target = Target::Tcp(SocketAddr::new(address, new_port));
    change.server.target.store(Some(Arc::new(target)));
    tell(
        request.context,
        &change.backend,
        &change.server,
        &Input::Resolved(true),
    );
    Ok(by(said.join(", ")))
}

fn configured_port(server: &Server) -> u16 {
    match &server.plan().address {
        plan::HostAddress::Ip(address) => address.port(),
        plan::HostAddress::Name(_, port) => *port,
        plan::HostAddress::Unix(_) => 0,
    }
}

pub(super) fn set_weight(request: &Request<'_>) -> Answer {
    change(request, |change| change.weight(request.argument(1)))
}

pub(super) fn get_weight(request: &Request<'_>) -> Answer {
    change(request, |change| {
        let now = change.server.operational.lock().health.weight();
        let initial = change.server.plan().weight.get();
        Ok(Answer::line(format_args!("{now} (initial {initial})")))
    })
}

pub(super) fn set_maxconn(request: &Request<'_>) -> Answer {
    change(request, |change| {
        let word = request.argument(1);
        if word.is_empty() {
            return Err(Answer::line("Require <maxconn>."));
        }
        if !word.starts_with(|character: char| character.is_ascii_digit()) {
            return Err(Answer::Text(
                "maxconn string empty or preceded by garbage".to_owned(),
            ));
        }
        let number = word
            .parse()
            .map_err(|_| Answer::Text("Trailing garbage in maxconn string".to_owned()))?;
        Ok(change.tell(&Input::Maxconn(number)))
    })
}

pub(super) fn switch(request: &Request<'_>, on: bool) -> Answer {
    let admin = if on { Admin::Ready } else { Admin::Maint };
    change(request, |change| Ok(change.tell(&Input::Admin(admin))))
}

pub(super) fn switch_checks(request: &Request<'_>, on: bool) -> Answer {
    change(request, |change| {
        if on {
            change.checked("Health checks are not configured on this server, cannot enable.\n")?;
        }
        Ok(change.tell(&Input::Checked(on)))
    })
}

pub(super) fn switch_agent(request: &Request<'_>, on: bool) -> Answer {
    change(request, |change| {
        if on {
            change.has_agent("Agent was not configured on this server, cannot enable.\n")?;
        }
        Ok(change.tell(&Input::AgentAsked(on)))
    })
}

pub(super) fn end_sessions_of(request: &Request<'_>) -> Answer {
    change(request, |change| {
        end_sessions(request.context, Scope::Server(Arc::clone(&change.server)));
        Ok(Answer::nothing())
    })
}
