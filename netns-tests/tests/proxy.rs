//! The proxy in front of servers like RabbitMQ, and HAProxy in its place: what holds for one must hold for the other.
//!
//! Nearly every test is a function of the flavour and runs for both, so that HAProxy itself vouches for the expectation.

mod amqp;
mod appliance;
mod balancing;
mod crowd;
mod failures;
mod farewells;
mod formats;
mod hostile;
mod idle;
mod journal;
mod limits;
mod rabbitmq;
mod records;
mod reload;
mod scraper;
mod seeds;
mod start;
mod tls;
mod unit;
mod upgrade;
mod vanished;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use warren_lab::{
    Broker, Host, Network, Process, Proxy, ProxyFlavour, Session, SyslogSink, eventually, warren_binary,
};

/// Runs each test against HAProxy and against ours.
macro_rules! for_both {
    ($($name:ident),+ $(,)?) => {
        mod haproxy {
            $(#[test] fn $name() { super::$name(warren_lab::ProxyFlavour::Haproxy); })+
        }
        mod warren {
            $(#[test] fn $name() { super::$name(warren_lab::ProxyFlavour::Warren); })+
        }
    };
}
pub(crate) use for_both;

/// How long anything may take that happens soon.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// Where the proxy listens.
pub(crate) const PORT: u16 = 5670;
/// Checks of a fifth of a second in the proportions of the tutorials.
pub(crate) const CHECK: &str = "check inter 200ms rise 2 fall 3";

/// A proxy's host, a client's, and three with servers; the proxy is not running yet.
pub(crate) struct Place {
    pub(crate) log: SyslogSink,
    pub(crate) servers: Vec<Server>,
    pub(crate) client: Host,
    pub(crate) proxy: Host,
    pub(crate) network: Network,
}

/// A host with a server like RabbitMQ.
pub(crate) struct Server {
    pub(crate) broker: Broker,
    pub(crate) host: Host,
    pub(crate) address: IpAddr,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::with(&["rabbitmq1", "rabbitmq2", "rabbitmq3"])
    }

    pub(crate) fn with(names: &[&str]) -> Self {
        let network = Network::new();
        let (proxy, client) = (network.host("proxy"), network.host("client"));
        let servers = names.iter().enumerate().map(|(number, name)| {
            let host = network.host(name);
            Server {
                broker: Broker::start(&host),
                host,
                address: IpAddr::from([10, 77, 0, 3 + number as u8]),
            }
        });
        Self {
            servers: servers.collect(),
            log: SyslogSink::start(&proxy),
            client,
            proxy,
            network,
        }
    }

    /// Ours in mode amqp with all servers, ready: `global` are lines of `[proxy]`, `listen` of the proxy `rabbitmq`, and
    /// `defaults` what its servers have besides a quick check.
    pub(crate) fn start_amqp(&self, global: &str, listen: &str, defaults: &str) -> Process {
        let servers: String = self
            .servers
            .iter()
            .map(|server| format!("{} = \"{}:5672\"\n", server.broker.name(), server.address))
            .collect();
        let file = self.proxy.write(
            "warren.toml",
            &format!(
                "[proxy]\n{global}\n[proxy.listen.rabbitmq]\nbind = \"*:{PORT}\"\n{listen}\ntimeouts = {{ check = \"300ms\" }}\n\
                 server_defaults = {{ {defaults} check = {{ interval = \"200ms\" }} }}\n[proxy.listen.rabbitmq.servers]\n{servers}"
            ),
        );
        let mut command = std::process::Command::new(warren_binary());
        command.args(["proxy", "--config"]).arg(file);
        command.args(["--runtime-dir", "/run/warren"]);
        let proxy = self.proxy.spawn_command(command);
        eventually(PATIENCE, "it answers those who ask how it is", || {
            let log = proxy.log();
            if log.contains("ready") { Ok(()) } else { Err(log) }
        });
        proxy
    }

    /// `warren proxy` with these words, on the proxy's host.
    #[track_caller]
    pub(crate) fn type_in(&self, words: &str) -> String {
        let binary = warren_binary();
        self.proxy.sh(&format!(
            "{} proxy {words} --runtime-dir /run/warren",
            binary.display()
        ))
    }

    /// Where clients connect.
    pub(crate) fn entry(&self) -> SocketAddr {
        SocketAddr::from(([10, 77, 0, 1], PORT))
    }

    /// A file as in the tutorials, with quick timeouts: `defaults` are more lines of that section, `listen` of the proxy
    /// `rabbitmq`, and `server` what follows each server's address.
    pub(crate) fn configuration(&self, defaults: &str, listen: &str, server: &str) -> String {
        let servers: String = self
            .servers
            .iter()
            .map(|each| {
                format!(
                    "    server {} {}:5672 {server}\n",
                    each.broker.name(),
                    each.address
                )
            })
            .collect();
        let (socket, defaults) = (Proxy::socket(&self.proxy), indented(defaults));
        format!(
            "global\n    log 127.0.0.1 local0 info\n    maxconn 4096\n    stats socket {} mode 600 level admin\n\n\
             defaults\n    log global\n    mode tcp\n    option tcplog\n    option dontlognull\n    retries 3\n    \
             option redispatch\n    maxconn 2000\n    timeout connect 1s\n    timeout client 120s\n    \
             timeout server 120s\n{defaults}\nlisten rabbitmq\n    bind *:{PORT}\n    balance roundrobin\n{}{servers}",
            socket.display(),
            indented(listen)
        )
    }

    /// The plain configuration with quick checks.
    pub(crate) fn start(&self, flavour: ProxyFlavour) -> Proxy {
        self.start_with(flavour, "", "", CHECK)
    }

    pub(crate) fn start_with(
        &self,
        flavour: ProxyFlavour,
        defaults: &str,
        listen: &str,
        server: &str,
    ) -> Proxy {
        Proxy::start(
            flavour,
            &self.proxy,
            &self.configuration(defaults, listen, server),
        )
    }

    /// A client that logs in through the proxy.
    pub(crate) fn try_session(&self) -> std::io::Result<Session> {
        Session::open(&self.client, self.entry(), PATIENCE)
    }

    #[track_caller]
    pub(crate) fn session(&self) -> Session {
        self.try_session()
            .unwrap_or_else(|error| panic!("a session through the proxy: {error}"))
    }

    /// A session at that server, after as many others as it takes.
    #[track_caller]
    pub(crate) fn session_at(&self, server: &str) -> Session {
        let mut tries = (0..20).map(|_| self.session());
        tries
            .find(|session| session.server() == server)
            .unwrap_or_else(|| panic!("no session at {server}"))
    }

    /// The servers that so many new sessions, one after the other, end up at.
    #[track_caller]
    pub(crate) fn servers_of(&self, sessions: usize) -> Vec<String> {
        (0..sessions)
            .map(|_| self.session().server().to_owned())
            .collect()
    }

    pub(crate) fn broker(&self, name: &str) -> &Broker {
        &self.server(name).broker
    }

    pub(crate) fn server(&self, name: &str) -> &Server {
        let found = self.servers.iter().find(|server| server.broker.name() == name);
        found.unwrap_or_else(|| panic!("no server {name}"))
    }
}

fn indented(lines: &str) -> String {
    lines
        .lines()
        .map(|line| format!("    {}\n", line.trim()))
        .collect()
}

/// Waits until the proxy says so of a server of the proxy `rabbitmq`.
#[track_caller]
pub(crate) fn eventually_status(proxy: &Proxy, server: &str, wanted: &str) {
    eventually(PATIENCE, &format!("{server} is {wanted}"), || {
        let status = proxy.status("rabbitmq", server);
        if status == wanted { Ok(()) } else { Err(status) }
    });
}
