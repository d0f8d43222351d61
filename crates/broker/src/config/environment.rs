//! RabbitMQ's environment, as its container image and its scripts understand it. It goes with a rabbitmq.conf, or with
//! nothing written at all; a warren.toml says everything itself.

use std::path::PathBuf;

use toml::Spanned;
use warren_kit::config::{Report, Sources};
use warren_kit::diagnostics::SourceFile;

use super::file::Broker;
use crate::furniture::Secret;

/// What these diagnostics point into.
const NAME: &str = "environment";

/// The variables that mean something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// `RABBITMQ_DEFAULT_USER`
    pub user: Option<String>,
    /// `RABBITMQ_DEFAULT_PASS`
    pub password: Option<Secret>,
    /// `RABBITMQ_DEFAULT_VHOST`
    pub vhost: Option<String>,
    /// `RABBITMQ_NODENAME`
    pub node: Option<String>,
    /// `RABBITMQ_NODE_PORT`
    pub port: Option<String>,
    /// `RABBITMQ_NODE_IP_ADDRESS`
    pub address: Option<String>,
    /// `RABBITMQ_MNESIA_DIR`: the data directory.
    pub data: Option<PathBuf>,
    /// `RABBITMQ_CONFIG_FILE`, with or without `.conf`.
    pub file: Option<PathBuf>,
    /// `RABBITMQ_PID_FILE`
    pub pid_file: Option<PathBuf>,
    /// `RABBITMQ_ERLANG_COOKIE`
    pub cookie: Option<Secret>,
    /// Names of others that begin with `RABBITMQ_`.
    pub unknown: Vec<String>,
}

/// Those that are understood.
const NAMES: [&str; 10] = [
    "RABBITMQ_DEFAULT_USER",
    "RABBITMQ_DEFAULT_PASS",
    "RABBITMQ_DEFAULT_VHOST",
    "RABBITMQ_NODENAME",
    "RABBITMQ_NODE_PORT",
    "RABBITMQ_NODE_IP_ADDRESS",
    "RABBITMQ_MNESIA_DIR",
    "RABBITMQ_CONFIG_FILE",
    "RABBITMQ_PID_FILE",
    "RABBITMQ_ERLANG_COOKIE",
];

impl Environment {
    /// That of this process.
    #[must_use]
    pub fn ours() -> Self {
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        let unknown = names.filter(|name| name.starts_with("RABBITMQ_") && !NAMES.contains(&name.as_str()));
        let mut unknown: Vec<String> = unknown.collect();
        unknown.sort_unstable();
        Self {
            unknown,
            ..Self::from(&|name| std::env::var(name).ok())
        }
    }

    /// Empty variables are not set.
    pub fn from(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let get = |name: &str| variable(name).filter(|value| !value.is_empty());
        Self {
            user: get("RABBITMQ_DEFAULT_USER"),
            password: get("RABBITMQ_DEFAULT_PASS").map(Secret::from),
            vhost: get("RABBITMQ_DEFAULT_VHOST"),
            node: get("RABBITMQ_NODENAME"),
            port: get("RABBITMQ_NODE_PORT"),
            address: get("RABBITMQ_NODE_IP_ADDRESS"),
            data: get("RABBITMQ_MNESIA_DIR").map(PathBuf::from),
            file: get("RABBITMQ_CONFIG_FILE").map(PathBuf::from),
            pid_file: get("RABBITMQ_PID_FILE").map(PathBuf::from),
            cookie: get("RABBITMQ_ERLANG_COOKIE").map(Secret::from),
            unknown: Vec::new(),
        }
    }

    /// Writes it into a file, over what that says; listeners only where it says nothing. What the places of the new values
    /// point to is added to the sources.
    pub(super) fn apply(&self, file: &mut Broker, sources: &mut Sources, report: &mut Report) {
        let mut text = String::new();
        let mut spans = Vec::new();
        for (name, value) in self.shown() {
            let start = text.len() + name.len() + 1;
            spans.push(start..start + value.len());
            text += &format!("{name}={value}\n");
        }
        let mut unknown = Vec::new();
        for name in &self.unknown {
            unknown.push((text.len()..text.len() + name.len(), name));
            text += &format!("{name}\n");
        }
        if text.is_empty() && self.password.is_none() {
            return;
        }
        let base = sources.add(SourceFile::new(NAME, text));
        for (span, name) in unknown {
            report.warn(
                base + span.start..base + span.end,
                format!("{name} has no effect"),
                "write what it says into the configuration",
            );
        }
        let mut places = spans.iter().map(|span| base + span.start..base + span.end);
        let mut spanned = |value: &Option<String>| {
            let value = value.as_ref()?;
            Some(Spanned::new(places.next()?, value.clone()))
        };
        let (user, vhost, node) = (spanned(&self.user), spanned(&self.vhost), spanned(&self.node));
        let (port, address) = (spanned(&self.port), spanned(&self.address));
        file.first.user = user.or_else(|| file.first.user.take());
        file.first.vhost = vhost.or_else(|| file.first.vhost.take());
        file.node_name = node.or_else(|| file.node_name.take());
        if let Some(password) = &self.password {
            file.first.password = Some(Spanned::new(base..base, password.reveal().to_owned()));
        }
        if let Some(data) = &self.data {
            file.data = Some(data.clone());
        }
        let Some(span) = port.as_ref().or(address.as_ref()).map(Spanned::span) else {
            return;
        };
        let number = port.as_ref().map_or("5672", |port| port.get_ref().as_str());
        if number.parse::<u16>().is_err() {
            report.error(
                span.clone(),
                format!("\"{number}\" is no port"),
                "write a number up to 65535",
            );
        }
        let listen = match address.as_ref().map(|address| address.get_ref().as_str()) {
            None => number.to_owned(),
            Some(address) if address.contains(':') => format!("[{address}]:{number}"),
            Some(address) => format!("{address}:{number}"),
        };
        file.listen
            .get_or_insert_with(|| vec![Spanned::new(span, listen)]);
    }

    /// All but secrets, in the order in which they are taken.
    fn shown(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("RABBITMQ_DEFAULT_USER", &self.user),
            ("RABBITMQ_DEFAULT_VHOST", &self.vhost),
            ("RABBITMQ_NODENAME", &self.node),
            ("RABBITMQ_NODE_PORT", &self.port),
            ("RABBITMQ_NODE_IP_ADDRESS", &self.address),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }
}
