//! Names that do not resolve, listeners that clash, and connections that would come back.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::{Findings, Resolve};
use crate::plan::{Bind, BindAddress, HostAddress, Plan, SocketAddress};

/// Every name is asked for once.
pub(super) fn names(findings: &mut Findings, plan: &Plan, resolve: &Resolve<'_>) {
    let mut asked: BTreeMap<&str, Result<Vec<IpAddr>, String>> = BTreeMap::new();
    for backend in &plan.backends {
        for server in &backend.servers {
            let HostAddress::Name(name, _) = &server.address else {
                continue;
            };
            let answer = asked.entry(name).or_insert_with(|| resolve(name));
            let why = match answer {
                Ok(addresses) if addresses.is_empty() => "it has no address",
                Ok(_) => continue,
                Err(why) => why.as_str(),
            };
            let text = format!("{}/{}: {name} does not resolve: {why}", backend.name, server.name);
            if server.may_be_unresolved {
                findings.warn(text, "mend the name: the server counts as down until it resolves");
            } else {
                findings.error(
                    text,
                    "mend the name, or write `init-addr last,libc,none` to start without it",
                );
            }
        }
    }
}

/// A place to listen on, and whose it is.
struct Listener<'a> {
    owner: String,
    address: BindAddress,
    bind: Option<&'a Bind>,
}

fn listeners(plan: &Plan) -> Vec<Listener<'_>> {
    let mut listeners = Vec::new();
    for frontend in plan.frontends.iter().filter(|frontend| !frontend.disabled) {
        listeners.extend(frontend.binds.iter().map(|bind| Listener {
            owner: frontend.name.clone(),
            address: bind.address.clone(),
            bind: Some(bind),
        }));
    }
    listeners.extend(plan.global.sockets.iter().map(|socket| Listener {
        owner: "the runtime socket".to_owned(),
        address: match &socket.address {
            SocketAddress::Unix(path) => BindAddress::Unix(path.clone()),
            SocketAddress::Tcp(address) => BindAddress::Tcp(*address),
        },
        bind: None,
    }));
    listeners.extend(plan.global.metrics.map(|address| Listener {
        owner: "the metrics".to_owned(),
        address: BindAddress::Tcp(address),
        bind: None,
    }));
    listeners
}

pub(super) fn clashes(findings: &mut Findings, plan: &Plan) {
    let listeners = listeners(plan);
    for (index, one) in listeners.iter().enumerate() {
        for other in listeners.iter().skip(index + 1) {
            let apart = |listener: &Listener<'_>| listener.bind.and_then(|bind| bind.interface.clone());
            if apart(one) != apart(other) {
                continue;
            }
            let whose = if one.owner == other.owner {
                format!("{} listens", one.owner)
            } else {
                format!("{} and {} listen", one.owner, other.owner)
            };
            match (&one.address, &other.address) {
                (one, other) if one == other => findings.error(
                    format!("{whose} on {} twice", shown(one)),
                    "give one of them another address or port",
                ),
                (BindAddress::Tcp(a), BindAddress::Tcp(b)) if covers(a, b, one) || covers(b, a, other) => {
                    findings.warn(
                        format!(
                            "{whose} on {a} and {b}: the one that names an address gets the connections to it"
                        ),
                        "give one of them another port, or both their own addresses",
                    )
                }
                _ => {}
            }
        }
    }
}

/// A wildcard and another address of the same port.
fn covers(wildcard: &SocketAddr, other: &SocketAddr, of: &Listener<'_>) -> bool {
    let v6only = of.bind.is_some_and(|bind| bind.v6only);
    let family = wildcard.is_ipv4() == other.is_ipv4() || (wildcard.is_ipv6() && !v6only);
    wildcard.ip().is_unspecified() && wildcard.port() == other.port() && family
}

fn shown(address: &BindAddress) -> String {
    match address {
        BindAddress::Tcp(address) => address.to_string(),
        BindAddress::Unix(path) => path.display().to_string(),
    }
}

/// A server that is the frontend itself.
pub(super) fn loops(findings: &mut Findings, plan: &Plan, resolve: &Resolve<'_>) {
    for frontend in &plan.frontends {
        for backend in super::targets(plan, frontend) {
            for server in &backend.servers {
                let addresses: Vec<SocketAddr> = match &server.address {
                    HostAddress::Ip(address) => vec![*address],
                    HostAddress::Name(name, port) => {
                        let found = resolve(name).unwrap_or_default();
                        found.into_iter().map(|ip| SocketAddr::new(ip, *port)).collect()
                    }
                    HostAddress::Unix(_) => Vec::new(),
                };
                let returns = |bind: &&Bind| match &bind.address {
                    BindAddress::Tcp(own) => addresses.iter().any(|server| comes_back(own, server)),
                    BindAddress::Unix(path) => server.address == HostAddress::Unix(path.clone()),
                };
                if let Some(bind) = frontend.binds.iter().find(returns) {
                    findings.error(
                        format!(
                            "{}/{} is {} itself ({}): every connection would come back",
                            backend.name,
                            server.name,
                            frontend.name,
                            shown(&bind.address)
                        ),
                        "correct the server's address or port, or listen on another port",
                    );
                }
            }
        }
    }
}

/// Of all addresses of this host only loopback is known to be its own.
fn comes_back(own: &SocketAddr, server: &SocketAddr) -> bool {
    let wildcard = own.ip().is_unspecified() && server.ip().is_loopback();
    own.port() == server.port() && (own.ip() == server.ip() || wildcard)
}
