//! How the broker is started, whatever name it was called by.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::Args;
use warren_broker::plan::PORT;

/// Everything the broker is told on its command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrokerOptions {
    /// Name of this host.
    pub host: Option<String>,
    /// Where to listen, whatever the configuration says.
    pub listen: Vec<SocketAddr>,
    /// The data directory, whatever the configuration says.
    pub data: Option<PathBuf>,
    /// The node's name, whatever the configuration says.
    pub node: Option<String>,
    /// Process number is written there.
    pub pid_file: Option<PathBuf>,
    /// Log decisions, not only state changes.
    pub log_detail: bool,
}

/// The flags of `warren broker`.
#[derive(Debug, Clone, Default, Args)]
pub struct BrokerArguments {
    /// Listen here instead of where the configuration says; may be given again. Port 0 is chosen by the system and logged
    /// [default: every address, port 5672].
    #[arg(long, value_name = "ADDRESS", value_parser = listen_address)]
    listen: Vec<SocketAddr>,
    /// Directory for everything that outlives the process [default: $STATE_DIRECTORY, /var/lib/warren/broker for root,
    /// $XDG_STATE_HOME/warren/broker for others].
    #[arg(long, value_name = "DIRECTORY")]
    data: Option<PathBuf>,
    /// Name of this node [default: rabbit@ and this host's name].
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,
    /// Name of this host, which also chooses the overrides of [host.NAME] [default: this host's name].
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Write the process number there.
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Log decisions, not only state changes.
    #[arg(short = 'D', long)]
    log_detail: bool,
}

impl BrokerArguments {
    #[must_use]
    pub fn options(self) -> BrokerOptions {
        BrokerOptions {
            host: self.host,
            listen: self.listen,
            data: self.data,
            node: self.node_name,
            pid_file: self.pid_file,
            log_detail: self.log_detail,
        }
    }
}

impl BrokerOptions {
    /// The same from any working directory.
    pub fn absolute(mut self) -> io::Result<Self> {
        for path in [self.data.as_mut(), self.pid_file.as_mut()].into_iter().flatten() {
            *path = std::path::absolute(&*path)?;
        }
        Ok(self)
    }
}

/// `192.0.2.1:5672`, `[::1]:5672`, `192.0.2.1`, or `5672` for every address.
fn listen_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok(SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port)));
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, PORT));
    }
    text.parse()
        .map_err(|_| "write an address such as 192.0.2.1:5672 or [::]:5672, or a port".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_leave_out_what_is_usual() {
        for (text, expected) in [
            ("0", "[::]:0"),
            ("5673", "[::]:5673"),
            ("192.0.2.1", "192.0.2.1:5672"),
            ("::1", "[::1]:5672"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("[::1]:1", "[::1]:1"),
        ] {
            assert_eq!(listen_address(text), Ok(expected.parse().unwrap()), "{text}");
        }
        assert!(listen_address("localhost:5672").is_err());
    }
}
