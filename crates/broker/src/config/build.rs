//! The rules, from the file's types to the plan.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use toml::Spanned;
use warren_amqp::FrameMax;
use warren_amqp::content::BODY_SIZE_MAX;
use warren_cluster::Durability;
use warren_kit::config::{Built, Report};
use warren_model::{Name, Pattern};

use super::address::{Network, listen_address};
use super::file::{Broker, First, Tls as TlsFile};
use super::load::Machine;
use crate::alarms::{DiskLimit, MemoryLimit};
use crate::auth::Mechanism;
use crate::furniture::{Furniture, Secret};
use crate::node::Settings;
use crate::password::Hashing;
use crate::plan::{
    ClientCertificates, Listener, LogLevel, METRICS_PORT, PORT, Plan, STOP_WITHIN, TLS_PORT, Tls, TlsVersion,
    node_name,
};
use crate::tls::CertificateName;

/// Listeners of one broker.
const LISTENERS_MAX: usize = 256;
/// The longest a client may take to open a connection, and a stop.
const PATIENCE_MAX: Duration = Duration::from_secs(3600);

/// Applies the rules.
pub(super) fn build(file: &Broker, machine: &Machine) -> Built<Plan> {
    let mut report = Report::default();
    let tls = file.tls.as_ref().and_then(|tls| build_tls(&mut report, tls));
    let mut listeners = addresses(&mut report, file.listen.as_deref(), PORT);
    let encrypted = addresses(&mut report, Some(&file.tls_listen), TLS_PORT);
    if let (Some(first), None) = (file.tls_listen.first(), &file.tls) {
        report.error(
            first.span(),
            "TLS without a certificate",
            "name a PEM file with certificate and key: tls = { certificates = [\"FILE\"] }",
        );
    }
    listeners.extend(encrypted.into_iter().map(|listener| Listener {
        tls: true,
        ..listener
    }));
    let proxies = file.proxies.iter();
    let proxies = proxies
        .filter_map(|text| {
            let network = Network::parse(text.get_ref());
            if network.is_none() {
                report.error(
                    text.span(),
                    format!("\"{}\" is not a network", text.get_ref()),
                    "write an address, or one such as \"10.0.0.0/8\"",
                );
            }
            network
        })
        .collect();
    let node = match &file.node_name {
        Some(name) => named_node(&mut report, name, &machine.host),
        None => node_name(&machine.host),
    };
    let settings = settings(&mut report, file);
    somebody_may_log_in(&mut report, file, tls.as_ref());
    let metrics = metrics(&mut report, file.metrics.as_ref());
    let level = file.log_level.as_ref();
    let level = level.and_then(|word| report.choice("level", word.span(), word.get_ref(), &LOG_LEVELS));
    let seconds = Duration::from_secs;
    let stop = file.stop_timeout.as_ref();
    let stop_within = report.duration("stop_timeout", stop, seconds(0)..=PATIENCE_MAX, STOP_WITHIN);
    const DURABILITIES: [(&str, Durability); 2] = [("disk", Durability::Disk), ("os", Durability::System)];
    let durability = file
        .durability
        .as_ref()
        .and_then(|word| report.choice("durability", word.span(), word.get_ref(), &DURABILITIES));
    let plan = Plan {
        node,
        cluster_name: file.cluster_name.as_ref().map(|name| name.get_ref().clone()),
        data: file.data.clone().unwrap_or_else(|| machine.data.clone()),
        listeners,
        tls,
        proxies,
        durability: durability.unwrap_or_default(),
        definitions: file.definitions.clone(),
        metrics,
        log_level: level.unwrap_or_default(),
        settings,
        stop_within,
    };
    Ok((plan, report.finish()?))
}

const LOG_LEVELS: [(&str, LogLevel); 5] = [
    ("debug", LogLevel::Debug),
    ("info", LogLevel::Info),
    ("warning", LogLevel::Warning),
    ("error", LogLevel::Error),
    ("none", LogLevel::None),
];

fn metrics(report: &mut Report, text: Option<&Spanned<String>>) -> Option<SocketAddr> {
    let Some(text) = text else {
        return Some((Ipv6Addr::UNSPECIFIED, METRICS_PORT).into());
    };
    if text.get_ref() == "off" {
        return None;
    }
    let address = listen_address(text.get_ref(), METRICS_PORT);
    if let Err(help) = address {
        let what = format!("\"{}\" is nothing to serve metrics on", text.get_ref());
        report.error(text.span(), what, format!("{help}, or \"off\""));
    }
    address.ok()
}

fn addresses(report: &mut Report, texts: Option<&[Spanned<String>]>, port: u16) -> Vec<Listener> {
    let Some(texts) = texts else {
        let address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        return vec![Listener { address, tls: false }];
    };
    if let Some(last) = texts.last() {
        report.at_most(last.span(), "listeners", texts.len(), LISTENERS_MAX);
    }
    let mut listeners = Vec::new();
    for text in texts {
        match listen_address(text.get_ref(), port) {
            Ok(address) => listeners.push(Listener { address, tls: false }),
            Err(help) => report.error(
                text.span(),
                format!("\"{}\" is nothing to listen on", text.get_ref()),
                help,
            ),
        }
    }
    listeners
}

fn named_node(report: &mut Report, name: &Spanned<String>, host: &str) -> String {
    let text = name.get_ref();
    let part = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    match text.split_once('@') {
        Some((short, host)) if part(short) && part(host) => return text.clone(),
        // As RabbitMQ does.
        None if part(text) => return node_name(host).replace("rabbit@", &format!("{text}@")),
        _ => {}
    }
    report.error(
        name.span(),
        format!("\"{}\" cannot be the name of a node", text.escape_debug()),
        "write one such as \"rabbit@alpha\": letters, digits, '-', '_' and '.' around one '@'",
    );
    text.clone()
}

/// Ten years, as with other times of messages.
const CONSUMER_TIMEOUT_MAX: Duration = Duration::from_secs(315_360_000);

fn settings(report: &mut Report, file: &Broker) -> Settings {
    const HASHES: [(&str, Hashing); 3] = [
        ("sha256", Hashing::Sha256),
        ("sha512", Hashing::Sha512),
        ("argon2id", Hashing::Argon2id),
    ];
    let hashing = file.password_hashing.as_ref();
    let hashing = hashing.and_then(|word| report.choice("hash", word.span(), word.get_ref(), &HASHES));
    let certificate_name = file.certificate_name.as_ref().and_then(|word| {
        report.choice(
            "name in a certificate",
            word.span(),
            word.get_ref(),
            &CertificateName::ALL,
        )
    });
    let default = Settings::default();
    let seconds = Duration::from_secs;
    let heartbeat = report.duration(
        "heartbeat",
        file.heartbeat.as_ref(),
        seconds(0)..=seconds(u16::MAX.into()),
        seconds(default.heartbeat.into()),
    );
    let frames = i64::from(FrameMax::MIN.octets())..=i64::from(i32::MAX);
    let frame_max = report.number(
        "frame_max",
        file.frame_max.as_ref(),
        frames,
        default.frame_max.octets(),
    );
    Settings {
        frame_max: FrameMax::new(frame_max).unwrap_or(default.frame_max),
        channel_max: report.number(
            "channel_max",
            file.channel_max.as_ref(),
            0..=u16::MAX.into(),
            default.channel_max,
        ),
        connection_max: file
            .connection_max
            .as_ref()
            .map(|most| report.number("connection_max", Some(most), 0..=u32::MAX.into(), u32::MAX)),
        heartbeat: u16::try_from(heartbeat.as_secs()).unwrap_or(default.heartbeat),
        handshake_timeout: report.duration(
            "handshake_timeout",
            file.handshake_timeout.as_ref(),
            Duration::from_millis(1)..=PATIENCE_MAX,
            default.handshake_timeout,
        ),
        body_max: report.number(
            "max_message_size",
            file.max_message_size.as_ref(),
            1..=i64::try_from(BODY_SIZE_MAX).unwrap_or(i64::MAX),
            default.body_max,
        ),
        consumer_timeout: Some(report.duration(
            "consumer_timeout",
            file.consumer_timeout.as_ref(),
            Duration::ZERO..=CONSUMER_TIMEOUT_MAX,
            default.consumer_timeout.unwrap_or_default(),
        ))
        .filter(|timeout| !timeout.is_zero()),
        memory_limit: memory_limit(report, file.memory_limit.as_ref()),
        disk_free_limit: disk_limit(report, file.disk_free_limit.as_ref()),
        loopback_users: match &file.loopback_users {
            Some(users) => users.iter().map(|user| user.get_ref().clone()).collect(),
            None => default.loopback_users,
        },
        first: first(report, &file.first),
        hashing: hashing.unwrap_or_default(),
        mechanisms: mechanisms(report, file.auth_mechanisms.as_ref()),
        certificate_name: certificate_name.unwrap_or_default(),
    }
}

fn mechanisms(report: &mut Report, listed: Option<&Spanned<Vec<Spanned<String>>>>) -> Option<Vec<Mechanism>> {
    let known = Mechanism::ALL.map(|mechanism| (mechanism.name(), mechanism));
    let listed = listed?;
    if listed.get_ref().is_empty() {
        report.error(
            listed.span(),
            "no mechanism: nobody could log in",
            "write one or more of \"PLAIN\", \"AMQPLAIN\" and \"EXTERNAL\", or leave the key out",
        );
    }
    let mut choose = |word: &Spanned<String>| report.choice("mechanism", word.span(), word.get_ref(), &known);
    Some(listed.get_ref().iter().filter_map(&mut choose).collect())
}

/// Certificates alone are of use only where clients can show them. What else is wrong with TLS has been said already.
fn somebody_may_log_in(report: &mut Report, file: &Broker, tls: Option<&Tls>) {
    let mut listed = file.auth_mechanisms.iter().flat_map(Spanned::get_ref);
    let external = |word: &Spanned<String>| word.get_ref() == Mechanism::External.name();
    let Some(word) = listed.clone().next().filter(|_| listed.all(external)) else {
        return;
    };
    if file.tls_listen.is_empty() {
        report.error(
            word.span(),
            "EXTERNAL alone, and no listener speaks TLS: nobody could log in",
            "listen for TLS and ask clients for certificates (`tls_listen` and `tls`; `listeners.ssl.default` and `ssl_options`), \
             or list \"PLAIN\", too",
        );
    } else if tls.is_some_and(|tls| tls.clients == ClientCertificates::None) {
        report.error(
            word.span(),
            "EXTERNAL alone, and no client is asked for a certificate: nobody could log in",
            "ask for them (`clients` and `client_ca` in `tls`; `ssl_options.verify = verify_peer` and `ssl_options.cacertfile`), \
             or list \"PLAIN\", too",
        );
    }
}

/// Up to here a limit is a part of the memory, above it octets.
const PARTS_MAX: f64 = 100.0;
/// Octets that a number with a fraction tells apart.
const OCTETS_MAX: f64 = 9e15;

fn memory_limit(report: &mut Report, limit: Option<&Spanned<f64>>) -> MemoryLimit {
    match part_or_octets(report, "memory_limit", limit, 1.0) {
        None => MemoryLimit::DEFAULT,
        Some(Amount::Part(part)) => MemoryLimit::Millionths(part),
        Some(Amount::Octets(octets)) => MemoryLimit::Octets(octets),
    }
}

fn disk_limit(report: &mut Report, limit: Option<&Spanned<f64>>) -> DiskLimit {
    match part_or_octets(report, "disk_free_limit", limit, PARTS_MAX) {
        None => DiskLimit::DEFAULT,
        Some(Amount::Part(part)) => DiskLimit::MillionthsOfMemory(part),
        Some(Amount::Octets(octets)) => DiskLimit::Octets(octets),
    }
}

enum Amount {
    /// Millionths.
    Part(u32),
    Octets(u64),
}

/// A number that is a part if it is at most `parts`, and octets if it is beyond all parts.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it has been looked at before"
)]
fn part_or_octets(
    report: &mut Report,
    name: &str,
    limit: Option<&Spanned<f64>>,
    parts: f64,
) -> Option<Amount> {
    let limit = limit?;
    match *limit.get_ref() {
        part if (0.0..=parts).contains(&part) => Some(Amount::Part((part * 1e6).round() as u32)),
        octets if (PARTS_MAX..=OCTETS_MAX).contains(&octets) => Some(Amount::Octets(octets as u64)),
        other => {
            report.error(
                limit.span(),
                format!("{name} {other} is out of range"),
                format!("write a part of the memory, from 0 to {parts}, or a number of octets"),
            );
            None
        }
    }
}

fn first(report: &mut Report, file: &First) -> Furniture {
    let default = Furniture::default();
    let mut name = |what: &str, text: Option<&Spanned<String>>, default: &str| {
        let Some(text) = text else {
            return default.to_owned();
        };
        if text.get_ref().is_empty() || Name::try_from(text.get_ref().as_str()).is_err() {
            report.error(
                text.span(),
                format!(
                    "\"{}\" cannot be the name of a {what}",
                    text.get_ref().escape_debug()
                ),
                "write between 1 and 255 octets",
            );
        }
        text.get_ref().clone()
    };
    let vhost = name("vhost", file.vhost.as_ref(), &default.vhost);
    let user = name("user", file.user.as_ref(), &default.user);
    let tags = match &file.tags {
        Some(tags) => tags.iter().map(|tag| name("tag", Some(tag), "")).collect(),
        None => default.tags,
    };
    let mut expression = |text: Option<&Spanned<String>>| {
        let Some(text) = text else { return ".*".to_owned() };
        if let Err(error) = Pattern::new(text.get_ref()) {
            report.error(
                text.span(),
                error.to_string(),
                "write one such as \"^amq\\.gen.*\"",
            );
        }
        text.get_ref().clone()
    };
    let permissions = [&file.configure, &file.write, &file.read].map(|text| expression(text.as_ref()));
    let password = file.password.as_ref();
    Furniture {
        vhost,
        user,
        password: password.map_or(default.password, |text| Secret::from(text.get_ref().clone())),
        tags,
        permissions,
    }
}

fn build_tls(report: &mut Report, at: &Spanned<TlsFile>) -> Option<Tls> {
    const VERSIONS: [(&str, TlsVersion); 2] = [("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)];
    const WISHES: [(&str, u8); 3] = [("none", 0), ("optional", 1), ("required", 2)];
    let file = at.get_ref();
    if file.certificates.is_empty() {
        report.error(
            at.span(),
            "TLS without a certificate",
            "name a PEM file with certificate and key: certificates = [\"FILE\"]",
        );
        return None;
    }
    let wish = file.clients.as_ref().and_then(|word| {
        report.choice(
            "wish for client certificates",
            word.span(),
            word.get_ref(),
            &WISHES,
        )
    });
    let clients = match (wish.unwrap_or(0), &file.client_ca) {
        (0, _) => ClientCertificates::None,
        (1, Some(ca)) => ClientCertificates::Optional(ca.get_ref().clone()),
        (_, Some(ca)) => ClientCertificates::Required(ca.get_ref().clone()),
        (_, None) => {
            report.error(
                file.clients.as_ref().map_or_else(|| at.span(), Spanned::span),
                "client certificates that nobody has to have signed",
                "name the file of the authority (`client_ca`, `ssl_options.cacertfile`)",
            );
            ClientCertificates::None
        }
    };
    let version = file.min_version.as_ref();
    let version =
        version.and_then(|word| report.choice("version of TLS", word.span(), word.get_ref(), &VERSIONS));
    Some(Tls {
        certificates: file
            .certificates
            .iter()
            .map(|path| path.get_ref().clone())
            .collect(),
        key: file.key.as_ref().map(|path| path.get_ref().clone()),
        clients,
        min_version: version.unwrap_or_default(),
    })
}
