//! What is to be done, whatever format it was written in: immutable, and replaced as a whole by a reload.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::node::Settings;

/// Where AMQP is spoken unless said otherwise.
pub const PORT: u16 = 5672;

/// How long a stop may take unless said otherwise: shorter than what systemd allows.
pub const STOP_WITHIN: Duration = Duration::from_secs(10);

/// A broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// `rabbit@host`.
    pub node: String,
    /// Where everything is that outlives the process.
    pub data: PathBuf,
    /// Where it listens. Ports 0 are chosen by the system.
    pub listeners: Vec<Listener>,
    /// What holds for connections.
    pub settings: Settings,
    /// How long a stop may take.
    pub stop_within: Duration,
}

/// Somewhere to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// `[::]` is every address of both families.
    pub address: SocketAddr,
}

impl Plan {
    /// What runs where nothing is written.
    #[must_use]
    pub fn of_host(host: &str, data: PathBuf) -> Self {
        Self {
            node: node_name(host),
            data,
            listeners: vec![Listener {
                address: SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT)),
            }],
            settings: Settings::default(),
            stop_within: STOP_WITHIN,
        }
    }
}

/// `rabbit@` and the host's name up to its first dot.
#[must_use]
pub fn node_name(host: &str) -> String {
    format!("rabbit@{}", host.split('.').next().unwrap_or(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_named_after_its_host_without_the_domain() {
        assert_eq!(node_name("alpha.example.org"), "rabbit@alpha");
        assert_eq!(node_name("alpha"), "rabbit@alpha");
    }
}
