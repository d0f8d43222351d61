//! One check of one server, from connecting to hanging up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::finding::Finding;
use super::link::Link;
use super::script::in_time;
use super::{agent, amqp, http, script, tls};
use crate::live::Target;
use crate::plan::{self, CheckKind, ProxyVersion, ServerTls, Step};
use crate::proxy_header::{self, Facts};

/// What is to be found out, where, and how long it may take.
pub(super) struct Probe {
    kind: CheckKind,
    target: Target,
    source: Option<SocketAddr>,
    tls: Option<Arc<ServerTls>>,
    send_proxy: Option<ProxyVersion>,
    connect_timeout: Duration,
    timeout: Duration,
    /// Held until the connection is closed, so that checks and their farewells together keep their bound.
    permit: Arc<OwnedSemaphorePermit>,
}

impl Probe {
    /// The check of a server; `None` while its address is not known.
    pub(super) fn of_server(
        server: &plan::Server,
        target: Option<&Target>,
        permit: OwnedSemaphorePermit,
    ) -> Option<Self> {
        let check = server.check.as_ref()?;
        let version = server
            .send_proxy
            .map_or(ProxyVersion::V1, |header| header.version);
        Some(Self {
            kind: check.kind.clone(),
            target: elsewhere(target, check.address, check.port)?,
            source: server.source,
            tls: check.tls.clone(),
            send_proxy: check.send_proxy.then_some(version),
            connect_timeout: check.connect_timeout,
            timeout: check.timeout,
            permit: Arc::new(permit),
        })
    }

    /// The question to a server's agent.
    pub(super) fn of_agent(
        server: &plan::Server,
        target: Option<&Target>,
        timeouts: [Duration; 2],
        permit: OwnedSemaphorePermit,
    ) -> Option<Self> {
        let agent = server.agent.as_ref()?;
        Some(Self {
            kind: CheckKind::Tcp,
            target: elsewhere(target, agent.address, Some(agent.port))?,
            source: server.source,
            tls: None,
            send_proxy: None,
            connect_timeout: timeouts[0],
            timeout: timeouts[1],
            permit: Arc::new(permit),
        })
    }

    /// Makes the check.
    pub(super) async fn run(&self) -> Finding {
        match self.attempt().await {
            Ok(finding) | Err(finding) => finding,
        }
    }

    /// Asks the agent.
    pub(super) async fn ask_agent(
        &self,
        send: Option<&str>,
    ) -> (Finding, warren_balance::health::AgentReport) {
        agent::ask(self, send).await
    }

    async fn attempt(&self) -> Result<Finding, Finding> {
        match &self.kind {
            CheckKind::Tcp => {
                let link = self.connect(None, None).await?;
                self.close(link);
                let status = if self.tls.is_some() { "L6OK" } else { "L4OK" };
                Ok(Finding::passed(status, ""))
            }
            CheckKind::Tls => {
                let link = self.connect(None, Some(true)).await?;
                self.close(link);
                Ok(Finding::passed("L6OK", ""))
            }
            CheckKind::Http {
                method,
                uri,
                version,
                headers,
                body,
                expect,
            } => {
                let question = http::Question {
                    method,
                    uri,
                    version,
                    headers,
                    body: body.as_deref(),
                };
                let mut link = self.connect(None, None).await?;
                let finding = in_time(self.deadline(), http::check(&mut link, &question, expect)).await;
                self.close(link);
                finding?
            }
            CheckKind::Script(_) => Ok(script::check(self).await),
            CheckKind::AmqpGreeting => amqp::greeting(self).await,
            CheckKind::AmqpLogin {
                user,
                password,
                vhost,
            } => amqp::login(self, user, password, vhost).await,
            CheckKind::AmqpManagement { port, user, password } => {
                amqp::management(self, *port, user, password).await
            }
            CheckKind::AmqpFull {
                user,
                password,
                vhost,
                port,
            } => {
                amqp::login(self, user, password, vhost).await?;
                amqp::management(self, *port, user, password).await
            }
        }
    }

    /// The steps of `tcp-check`.
    pub(super) fn steps(&self) -> &[Step] {
        match &self.kind {
            CheckKind::Script(steps) => steps,
            _ => &[],
        }
    }

    /// Connects, perhaps to another port, and with TLS if that is said here or, `None`, by the configuration.
    pub(super) async fn connect(&self, port: Option<u16>, secure: Option<bool>) -> Result<Link, Finding> {
        let target = elsewhere(Some(&self.target), None, port).unwrap_or_else(|| self.target.clone());
        let deadline = Instant::now() + self.connect_timeout;
        let mut link = Link::connect(&target, self.source, deadline).await?;
        if let Some(version) = self.send_proxy {
            link.send(&self.proxy_header(version, link.addresses())).await?;
        }
        if secure.unwrap_or_else(|| self.tls.is_some()) {
            let (config, name) = tls::client(
                self.tls.as_deref(),
                link.addresses().1.map(|address| address.ip()),
            )
            .map_err(|error| Finding::failed("L6RSP", error.to_string()))?;
            link.secure(config, name, self.deadline()).await?;
        }
        Ok(link)
    }

    /// `check-send-proxy`. In the second version it says that it comes from ourselves; RabbitMQ ends connections that go on to speak
    /// after that, and so is told our address.
    fn proxy_header(&self, version: ProxyVersion, of: (Option<SocketAddr>, Option<SocketAddr>)) -> Vec<u8> {
        let speaks_amqp = matches!(
            self.kind,
            CheckKind::AmqpGreeting | CheckKind::AmqpLogin { .. } | CheckKind::AmqpFull { .. }
        );
        let addresses = match version {
            ProxyVersion::V2 if !speaks_amqp => None,
            ProxyVersion::V1 | ProxyVersion::V2 => of.0.zip(of.1),
        };
        let mut header = Vec::new();
        proxy_header::encode(version, addresses, &Facts::default(), &mut header);
        header
    }

    /// When an answer that is asked for now has to be there.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Says goodbye without keeping the result waiting.
    pub(super) fn close(&self, link: Link) {
        let permit = Arc::clone(&self.permit);
        tokio::spawn(async move {
            link.close().await;
            drop(permit);
        });
    }
}

/// A target with another address or port.
fn elsewhere(
    target: Option<&Target>,
    address: Option<std::net::IpAddr>,
    port: Option<u16>,
) -> Option<Target> {
    match (target, address) {
        (Some(Target::Unix(path)), None) => Some(Target::Unix(path.clone())),
        (Some(Target::Tcp(own)), _) => Some(Target::Tcp(SocketAddr::new(
            address.unwrap_or_else(|| own.ip()),
            port.unwrap_or_else(|| own.port()),
        ))),
        (None | Some(Target::Unix(_)), Some(address)) => Some(Target::Tcp(SocketAddr::new(address, port?))),
        (None, None) => None,
    }
}
