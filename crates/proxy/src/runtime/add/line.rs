//! What follows `add server BACKEND/SERVER`: an address and options as on a `server` line.
//!
//! As in HAProxy nothing comes from `default-server`; what a check asks is what the other servers of the backend are
//! asked. Texts are HAProxy's where it has one.

use std::num::{NonZeroU8, NonZeroU32};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use warren_balance::health::ErrorAction;
use warren_balance::{ServerId, Weight};

use crate::config;
use crate::live::Backend;
use crate::plan::{
    Agent, Check, CheckKind, HostAddress, Observe, ProxyVersion, SendProxy, Server, ServerTls, Verify,
};

const NO_CA: &str = "verify is enabled by default but no CA file specified. If you're running on a LAN where you're \
certain to trust the server's certificate, please set an explicit 'verify none' statement on the 'server' line, or use \
'ssl-server-verify none' in the global section to disable server-side verifications by default.";

/// A server as it is read.
struct Line<'a> {
    backend: &'a Backend,
    plan: Server,
    check: Check,
    checked: bool,
    agent: Agent,
    agent_checked: bool,
    tls: Tls,
}

/// What is said of TLS.
#[derive(Default)]
struct Tls {
    on: bool,
    verify_none: bool,
    ca: Option<String>,
    /// Of `check-ssl`, and the name a check sends.
    check: Option<bool>,
    check_sni: Option<String>,
    sni: Option<String>,
    verify_host: Option<String>,
    alpn: Vec<String>,
    certificate: Option<PathBuf>,
}

/// The server that these words describe, with the lowest number that is free unless they say which.
///
/// # Errors
/// What is wrong with them, as it is said to who has written them.
pub(super) fn read(backend: &Backend, name: &str, words: &[String]) -> Result<Server, String> {
    let (address, options) = words
        .split_first()
        .ok_or("'server' expects <name> and <addr>[:<port>] as arguments.")?;
    let mut line = Line {
        backend,
        plan: template(backend, name, place(address)?),
        check: default_check(backend),
        checked: false,
        agent: Agent {
            port: 0,
            address: None,
            inter: Duration::from_secs(2),
            send: None,
        },
        agent_checked: false,
        tls: Tls::default(),
    };
    let mut options = options.iter().map(String::as_str);
    while let Some(option) = options.next() {
        line.option(option, &mut options)?;
    }
    line.complete()
}

fn place(word: &str) -> Result<HostAddress, String> {
    let port = word.rsplit_once(':').map(|(_, port)| port);
    if let Some(port) = port.filter(|port| port.parse::<u32>().is_ok_and(|port| port > 65_535)) {
        return Err(format!("invalid port '{port}'"));
    }
    config::server_address(word).map_err(|help| format!("invalid address '{word}': {help}."))
}

fn template(backend: &Backend, name: &str, address: HostAddress) -> Server {
    let servers = backend.servers();
    let taken = |id: &u32| servers.iter().any(|server| server.id().0 == *id);
    let id = (1..).find(|id| !taken(id)).unwrap_or(u32::MAX);
    Server {
        name: name.to_owned(),
        id: ServerId(id),
        address,
        cookie: None,
        backup: false,
        weight: Weight::DEFAULT,
        maxconn: None,
        minconn: None,
        maxqueue: None,
        // Out of service until `enable server`.
        disabled: true,
        check: None,
        agent: None,
        slowstart: Duration::ZERO,
        track: None,
        shutdown_sessions: false,
        shutdown_backup_sessions: false,
        observe: None,
        on_error: ErrorAction::default(),
        error_limit: NonZeroU32::MIN.saturating_add(9),
        tls: None,
        send_proxy: None,
        user_timeout: None,
        source: None,
        may_be_unresolved: true,
    }
}

/// What the other servers of the backend are asked.
fn default_check(backend: &Backend) -> Check {
    let servers = backend.servers();
    let other = servers.iter().find_map(|server| server.plan().check.clone());
    let timing = warren_balance::health::Check::default();
    Check {
        kind: other.map_or(CheckKind::Tcp, |check| check.kind),
        connect_timeout: timing.inter,
        timeout: timing.inter,
        timing,
        port: None,
        address: None,
        tls: None,
        send_proxy: false,
    }
}

impl Line<'_> {
    /// One option, and what it takes of the `words` after it.
    fn option<'w>(&mut self, option: &str, words: &mut impl Iterator<Item = &'w str>) -> Result<(), String> {
        let mut value = || words.next().ok_or_else(|| missing(option));
        let plan = &mut self.plan;
        match option {
            "backup" => plan.backup = true,
            "no-backup" => plan.backup = false,
            // It begins in maintenance whatever is said.
            "disabled" | "enabled" => {}
            "weight" => plan.weight = weight(&plan.name, value()?)?,
            "maxconn" => plan.maxconn = NonZeroU32::new(number(option, value()?)?),
            "minconn" => plan.minconn = NonZeroU32::new(number(option, value()?)?),
            "maxqueue" => plan.maxqueue = NonZeroU32::new(number(option, value()?)?),
            "slowstart" => plan.slowstart = duration(option, value()?)?,
            "error-limit" => {
                plan.error_limit = NonZeroU32::new(number(option, value()?)?)
                    .ok_or("'error-limit' needs a positive integer argument.")?;
            }
            "id" => plan.id = free(self.backend, number(option, value()?)?)?,
            "track" => plan.track = Some(tracked(self.backend, value()?)?),
            "observe" => {
                plan.observe = choice(
                    option,
                    value()?,
                    &[
                        ("none", None),
                        ("layer4", Some(Observe::Layer4)),
                        ("layer7", Some(Observe::Layer7)),
                    ],
                )?;
            }
            "on-error" => {
                plan.on_error = choice(
                    option,
                    value()?,
                    &[
                        ("fastinter", ErrorAction::FastInter),
                        ("fail-check", ErrorAction::FailCheck),
                        ("sudden-death", ErrorAction::SuddenDeath),
                        ("mark-down", ErrorAction::MarkDown),
                    ],
                )?;
            }
            "on-marked-down" => {
                plan.shutdown_sessions = choice(option, value()?, &[("shutdown-sessions", true)])?;
            }
            "on-marked-up" => {
                plan.shutdown_backup_sessions =
                    choice(option, value()?, &[("shutdown-backup-sessions", true)])?;
            }
            "send-proxy" => plan.send_proxy = Some(send_proxy(ProxyVersion::V1, false)),
            "send-proxy-v2" => plan.send_proxy = Some(send_proxy(ProxyVersion::V2, false)),
            "send-proxy-v2-ssl" | "send-proxy-v2-ssl-cn" => {
                plan.send_proxy = Some(send_proxy(ProxyVersion::V2, true));
            }
            "no-send-proxy" | "no-send-proxy-v2" | "no-send-proxy-v2-ssl" | "no-send-proxy-v2-ssl-cn" => {
                plan.send_proxy = None;
            }
            "source" => {
                let word = value()?;
                plan.source =
                    Some(config::source_address(word).ok_or_else(|| format!("invalid address '{word}'."))?);
            }
            _ => return self.check_option(option, words),
        }
        Ok(())
    }

    /// How it is looked after.
    fn check_option<'w>(
        &mut self,
        option: &str,
        words: &mut impl Iterator<Item = &'w str>,
    ) -> Result<(), String> {
        let mut value = || words.next().ok_or_else(|| missing(option));
        let check = &mut self.check;
        match option {
            "check" => self.checked = true,
            "no-check" => self.checked = false,
            "inter" => check.timing.inter = duration(option, value()?)?,
            "fastinter" => check.timing.fastinter = Some(duration(option, value()?)?),
            "downinter" => check.timing.downinter = Some(duration(option, value()?)?),
            "rise" => check.timing.rise = count(option, value()?)?,
            "fall" => check.timing.fall = count(option, value()?)?,
            "port" => check.port = Some(port(option, value()?)?),
            "addr" => check.address = Some(ip(value()?)?),
            "check-send-proxy" => check.send_proxy = true,
            "no-check-send-proxy" => check.send_proxy = false,
            "agent-check" => self.agent_checked = true,
            "no-agent-check" => self.agent_checked = false,
            "agent-inter" => self.agent.inter = duration(option, value()?)?,
            "agent-port" => self.agent.port = port(option, value()?)?,
            "agent-addr" => self.agent.address = Some(ip(value()?)?),
            "agent-send" => self.agent.send = Some(value()?.to_owned()),
            _ => return self.tls_option(option, words),
        }
        Ok(())
    }

    fn tls_option<'w>(
        &mut self,
        option: &str,
        words: &mut impl Iterator<Item = &'w str>,
    ) -> Result<(), String> {
        let mut value = || words.next().ok_or_else(|| missing(option));
        let tls = &mut self.tls;
        match option {
            "ssl" => tls.on = true,
            "no-ssl" => tls.on = false,
            "check-ssl" => tls.check = Some(true),
            "no-check-ssl" => tls.check = Some(false),
            "check-sni" => tls.check_sni = Some(value()?.to_owned()),
            "verify" => {
                tls.verify_none = match value()? {
                    "none" => true,
                    "required" => false,
                    other => {
                        return Err(format!(
                            "'verify' : unknown verify method '{other}', only 'none' and 'required' are supported."
                        ));
                    }
                };
            }
            "ca-file" => tls.ca = Some(value()?.to_owned()),
            "crt" => tls.certificate = Some(value()?.into()),
            "verifyhost" => tls.verify_host = Some(value()?.to_owned()),
            "no-verifyhost" => tls.verify_host = None,
            "sni" => {
                let word = value()?;
                let name = word.strip_prefix("str(").and_then(|rest| rest.strip_suffix(')'));
                tls.sni = Some(
                    name.ok_or_else(|| format!("'sni {word}' is not supported: write 'sni str(NAME)'."))?
                        .to_owned(),
                );
            }
            "alpn" => tls.alpn = value()?.split(',').map(str::to_owned).collect(),
            known if config::is_server_option(known) => {
                return Err(format!("'{known}' option is not accepted for dynamic server"));
            }
            unknown => return Err(format!("unknown keyword '{unknown}'.")),
        }
        Ok(())
    }

    fn complete(mut self) -> Result<Server, String> {
        let timeouts = self.backend.plan().timeouts;
        if self.tls.on || self.tls.check == Some(true) {
            let tls = self.tls.settings()?;
            if self.tls.on {
                self.plan.tls = Some(Arc::new(tls.clone()));
            }
            // A check of another port or host speaks TLS only if that is said.
            let elsewhere = self.check.port.is_some() || self.check.address.is_some();
            if self.tls.check.unwrap_or(self.tls.on && !elsewhere) {
                let sni = self.tls.check_sni.take().or_else(|| tls.sni.clone());
                self.check.tls = Some(Arc::new(ServerTls { sni, ..tls }));
            }
        }
        if self.agent_checked {
            if self.agent.port == 0 {
                return Err(format!(
                    "server {} does not have agent port. Agent check has been disabled.",
                    self.plan.name
                ));
            }
            self.plan.agent = Some(self.agent);
        }
        let inter = self.check.timing.inter;
        self.check.connect_timeout = timeouts.connect.map_or(inter, |connect| connect.min(inter));
        self.check.timeout = timeouts.check.unwrap_or(inter);
        self.plan.check = (self.checked && self.plan.track.is_none()).then_some(self.check);
        Ok(self.plan)
    }
}

impl Tls {
    fn settings(&self) -> Result<ServerTls, String> {
        Ok(ServerTls {
            verify: match (self.verify_none, self.ca.as_deref()) {
                (true, _) => Verify::None,
                (false, Some("@system-ca")) => Verify::System,
                (false, Some(file)) => Verify::Required(file.into()),
                (false, None) => return Err(NO_CA.to_owned()),
            },
            sni: self.sni.clone(),
            verify_host: self.verify_host.clone(),
            alpn: self.alpn.clone(),
            certificate: self.certificate.clone(),
        })
    }
}

const fn send_proxy(version: ProxyVersion, tls: bool) -> SendProxy {
    SendProxy {
        version,
        tls,
        unique_id: false,
    }
}

fn free(backend: &Backend, id: u32) -> Result<ServerId, String> {
    let servers = backend.servers();
    match servers.iter().find(|server| server.id().0 == id) {
        _ if id == 0 => Err("'id' : custom id has to be > 0.".to_owned()),
        Some(other) => Err(format!(
            "'id' : custom id {id} already used ('server {}').",
            other.name
        )),
        None => Ok(ServerId(id)),
    }
}

/// A server of this backend; another backend's is followed as the configuration says, not here.
fn tracked(backend: &Backend, word: &str) -> Result<(String, String), String> {
    let (of, server) = word.split_once('/').unwrap_or((&backend.name, word));
    if *of != *backend.name || backend.server_named(server).is_none() {
        return Err(format!("unable to find required server '{server}' for tracking."));
    }
    Ok((of.to_owned(), server.to_owned()))
}

fn weight(name: &str, word: &str) -> Result<Weight, String> {
    let weight: u32 = number("weight", word)?;
    Weight::try_from(weight)
        .map_err(|_| format!("weight of server {name} is not within 0 and 256 ({weight})."))
}

fn missing(option: &str) -> String {
    match option {
        "inter" | "fastinter" | "downinter" | "agent-inter" => {
            format!("'{option}' expects a delay as argument.")
        }
        _ => format!("'{option}' expects a value as argument."),
    }
}

fn choice<T: Clone>(option: &str, word: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let chosen = choices.iter().find(|(name, _)| *name == word);
    chosen.map(|(_, value)| value.clone()).ok_or_else(|| {
        let names: Vec<String> = choices.iter().map(|(name, _)| format!("'{name}'")).collect();
        match &names[..] {
            [only] => format!("'{option}' expects {only} but got '{word}'."),
            several => format!(
                "'{option}' expects one of {} but got '{word}'.",
                several.join(", ")
            ),
        }
    })
}

fn number<T: FromStr>(option: &str, word: &str) -> Result<T, String> {
    word.parse()
        .map_err(|_| format!("'{option}' expects a number, not '{word}'."))
}

fn count(option: &str, word: &str) -> Result<NonZeroU8, String> {
    NonZeroU8::new(number(option, word)?).ok_or_else(|| format!("'{option}' has to be > 0."))
}

fn port(option: &str, word: &str) -> Result<u16, String> {
    let port = number(option, word)?;
    if port == 0 {
        return Err(format!("'{option}' expects a port, not '{word}'."));
    }
    Ok(port)
}

fn ip(word: &str) -> Result<std::net::IpAddr, String> {
    word.parse()
        .map_err(|_| format!("invalid address '{word}': an IP address is expected."))
}

/// Milliseconds unless it has a unit.
fn duration(option: &str, word: &str) -> Result<Duration, String> {
    super::super::duration(word, Duration::from_millis(1))
        .ok_or_else(|| format!("'{option}' expects a time, not '{word}'."))
}
