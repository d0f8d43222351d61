//! What is known of the process around a node: where it listens, where its files are. For people; nothing depends on it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use parking_lot::RwLock;
use warren_api::broker::{Certificate, Listener};

/// The process around a node.
#[derive(Debug)]
pub struct About {
    /// When it started.
    pub started: SystemTime,
    /// Where everything is that outlives it.
    pub data_directory: Option<PathBuf>,
    /// What was read.
    pub config_files: Vec<PathBuf>,
    /// Where it logs, in words or as paths.
    pub log_files: Vec<String>,
    /// What clients are shown where TLS is spoken.
    pub certificates: RwLock<Vec<Certificate>>,
    /// Where it listens. Complete before clients are served.
    pub listeners: RwLock<Vec<Listener>>,
}

impl Default for About {
    fn default() -> Self {
        Self {
            started: warren_kit::clock::wall_clock(),
            data_directory: None,
            config_files: Vec::new(),
            log_files: Vec::new(),
            certificates: RwLock::default(),
            listeners: RwLock::default(),
        }
    }
}

impl About {
    /// How long it has run.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        let now = warren_kit::clock::wall_clock();
        now.duration_since(self.started).unwrap_or_default()
    }

    /// It listens here now: `amqp`, `amqp/ssl`, `http/prometheus`.
    pub fn listens(&self, address: SocketAddr, protocol: &str) {
        self.listeners.write().push(Listener {
            interface: interface(address),
            port: address.port(),
            protocol: protocol.to_owned(),
        });
    }

    /// It does not listen here any more.
    pub fn listens_no_more(&self, address: SocketAddr) {
        let interface = interface(address);
        self.listeners
            .write()
            .retain(|listener| (&listener.interface, listener.port) != (&interface, address.port()));
    }
}

fn interface(address: SocketAddr) -> String {
    match address.ip() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}
