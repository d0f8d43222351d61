//! What is to be done, whatever format it was written in: immutable, and replaced as a whole by a reload.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use warren_cluster::Durability;

use crate::config::Network;
use crate::node::Settings;

/// Where AMQP is spoken unless said otherwise.
pub const PORT: u16 = 5672;

/// The same with TLS.
pub const TLS_PORT: u16 = 5671;

/// Where metrics are served unless said otherwise.
pub const METRICS_PORT: u16 = 15692;

/// How long a stop may take unless said otherwise: shorter than what systemd allows.
pub const STOP_WITHIN: Duration = Duration::from_secs(10);

/// A broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// `rabbit@host`.
    pub node: String,
    /// What the cluster is to be called.
    pub cluster_name: Option<String>,
    /// Where everything is that outlives the process.
    pub data: PathBuf,
    /// When what is kept there is safe.
    pub durability: Durability,
    /// Where it listens. Ports 0 are chosen by the system.
    pub listeners: Vec<Listener>,
    /// What listeners with TLS need.
    pub tls: Option<Tls>,
    /// Whom to believe what they say of clients.
    pub proxies: Vec<Network>,
    /// What is added at the start: a file, or all `.json` files of a directory.
    pub definitions: Option<PathBuf>,
    /// Where metrics are served.
    pub metrics: Option<SocketAddr>,
    /// What is logged.
    pub log_level: LogLevel,
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
    /// With TLS.
    pub tls: bool,
}

/// Certificates and rules of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// PEM files or directories of such; at least one.
    pub certificates: Vec<PathBuf>,
    /// The key of the first, if it is elsewhere.
    pub key: Option<PathBuf>,
    /// Whether clients show certificates.
    pub clients: ClientCertificates,
    /// The oldest version.
    pub min_version: TlsVersion,
}

impl fmt::Display for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "certificates")?;
        for path in &self.certificates {
            write!(f, " {}", path.display())?;
        }
        if let Some(key) = &self.key {
            write!(f, ", key {}", key.display())?;
        }
        match &self.clients {
            ClientCertificates::None => {}
            ClientCertificates::Optional(ca) => write!(f, ", client_ca {}, clients optional", ca.display())?,
            ClientCertificates::Required(ca) => write!(f, ", client_ca {}, clients required", ca.display())?,
        }
        f.write_str(match self.min_version {
            TlsVersion::V1_2 => ", min_version 1.2",
            TlsVersion::V1_3 => ", min_version 1.3",
        })
    }
}

/// Whether clients show certificates, signed by an authority of this file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They are not asked.
    None,
    /// They may.
    Optional(PathBuf),
    /// They must.
    Required(PathBuf),
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// 1.2
    #[default]
    V1_2,
    /// 1.3
    V1_3,
}

/// From which weight on lines are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// None.
    None,
    /// What went wrong.
    Error,
    /// And what may.
    Warning,
    /// And what happened.
    #[default]
    Info,
    /// And why.
    Debug,
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
