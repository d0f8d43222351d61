//! The `[broker]` section as it is written: every key, with the rule it stands for. A rabbitmq.conf becomes the same types.
//!
//! The comments on these fields are the configuration reference.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use toml::Spanned;
use warren_kit::duration::HumanDuration;

/// The message broker: `[broker]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Broker {
    /// Where it listens: `"192.0.2.1:5672"`, `"[::1]:5672"`, or `"5672"` for every address. Default `["5672"]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<Vec<Spanned<String>>>,
    /// Where it listens for TLS, as `"5671"`. Needs the table `tls`. Default: nowhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tls_listen: Vec<Spanned<String>>,
    /// What TLS needs.
    pub tls: Option<Spanned<Tls>>,
    /// Proxies, as addresses or networks such as `"10.0.0.0/8"`: what they say of clients with the PROXY protocol is believed.
    /// Who comes from there without it is a client himself, but not one of this host. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub proxies: Vec<Spanned<String>>,
    /// Name of the node. Default: `rabbit@` and the host's name.
    pub node_name: Option<Spanned<String>>,
    /// Name of the cluster, given to it at each start: clients see it. Default: what it is called already, at first like the node.
    pub cluster_name: Option<Spanned<String>>,
    /// Directory for everything that outlives the process. Default: what the service manager prepared, else
    /// `/var/lib/warren/broker` for root and `$XDG_STATE_HOME/warren/broker` for others.
    pub data: Option<PathBuf>,
    /// When a message is safe, and confirmed: `"disk"`, when fdatasync has returned, or `"os"`, when the kernel has it, which a power cut within
    /// a second loses and a kill does not. Default `"disk"`.
    pub durability: Option<Spanned<String>>,
    /// File or directory of definitions (JSON) that are added at each start and each reload. Nothing is taken away by them.
    pub definitions: Option<PathBuf>,
    /// The vhost and the user of a node that is new.
    #[serde(skip_serializing_if = "First::is_empty")]
    pub first: First,
    /// Users who may log in from this host only. Default `["guest"]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loopback_users: Option<Vec<Spanned<String>>>,
    /// How new passwords are kept: `"sha256"` and `"sha512"` as RabbitMQ keeps them, or `"argon2id"`, which is slow for thieves and
    /// cannot be exported to RabbitMQ. Default `"sha256"`.
    pub password_hashing: Option<Spanned<String>>,
    /// How clients may log in: `"PLAIN"`, `"AMQPLAIN"`, `"EXTERNAL"`. What is listed is offered, EXTERNAL to all who speak TLS. Default: the first two, and
    /// EXTERNAL to those whose certificate has a user's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_mechanisms: Option<Spanned<Vec<Spanned<String>>>>,
    /// What in a client's certificate is the name of its user, for EXTERNAL: `"distinguished_name"`, `"common_name"`, or the first alternative
    /// name of a kind: `"dns"`, `"email"` or `"uri"`. Default `"distinguished_name"`.
    pub certificate_name: Option<Spanned<String>>,
    /// Time between signs of life, offered to clients in whole seconds. `"0s"`: none. Default `"60s"`.
    pub heartbeat: Option<Spanned<HumanDuration>>,
    /// How long a client may take until its connection is open. Default `"10s"`.
    pub handshake_timeout: Option<Spanned<HumanDuration>>,
    /// How long a client may have a message without settling it; then its channel is closed and the message goes to others.
    /// `"0s"`: for ever. Default `"30m"`.
    pub consumer_timeout: Option<Spanned<HumanDuration>>,
    /// Octets of the largest frame, offered to clients. Default 131072.
    pub frame_max: Option<Spanned<i64>>,
    /// How many connections may be open at once. Default: any number.
    pub connection_max: Option<Spanned<i64>>,
    /// The highest channel number, offered to clients. Default 2047.
    pub channel_max: Option<Spanned<i64>>,
    /// Octets of the largest message body. Default 134217728.
    pub max_message_size: Option<Spanned<i64>>,
    /// Memory from which on who publishes has to wait: a part of what the machine or the control group has, as `0.4`, or octets, as
    /// `2000000000`. Default 0.4.
    pub memory_limit: Option<Spanned<f64>>,
    /// Room on the disk below which who publishes has to wait: octets, or a part of the memory if it is less than 100. Default
    /// 50000000.
    pub disk_free_limit: Option<Spanned<f64>>,
    /// Where metrics for Prometheus are served: `"15692"` for every address, as RabbitMQ's plugin does, `"127.0.0.1:15692"`, or
    /// `"off"`. Who may connect may read the names of queues. Default `"15692"`; off where `--listen` says where to serve.
    pub metrics: Option<Spanned<String>>,
    /// What is logged: `"debug"`, `"info"`, `"warning"`, `"error"` or `"none"`. `WARREN_LOG` and `--log-detail` win over it. Default
    /// `"info"`.
    pub log_level: Option<Spanned<String>>,
    /// How long a stop may take: half of it is for confirms that are outstanding. Default `"10s"`.
    pub stop_timeout: Option<Spanned<HumanDuration>>,
}

/// `[broker.tls]`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// PEM files with certificate, chain and key, or directories of such. The one is used whose name a client asks for; else
    /// the first. A file may lack the key if it is beside it, as `x.pem.key`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<Spanned<PathBuf>>,
    /// The key of the first certificate, if it is in neither of those places.
    pub key: Option<Spanned<PathBuf>>,
    /// PEM file with the authorities that sign clients' certificates.
    pub client_ca: Option<Spanned<PathBuf>>,
    /// Whether clients show a certificate: `"none"`, `"optional"` or `"required"`. Default `"none"`.
    pub clients: Option<Spanned<String>>,
    /// The oldest version: `"1.2"` or `"1.3"`. Default `"1.2"`.
    pub min_version: Option<Spanned<String>>,
}

/// `[broker.first]`: the vhost and the user of a node that is new. Later they are changed like all others.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct First {
    /// Name of the vhost. Default `"/"`.
    pub vhost: Option<Spanned<String>>,
    /// Name of the user. Default `"guest"`.
    pub user: Option<Spanned<String>>,
    /// His password. Default `"guest"`.
    pub password: Option<Spanned<String>>,
    /// His tags. Default `["administrator"]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<Spanned<String>>>,
    /// Regular expression for what he may declare and delete. Default `".*"`.
    pub configure: Option<Spanned<String>>,
    /// The same for what he may publish to. Default `".*"`.
    pub write: Option<Spanned<String>>,
    /// The same for what he may consume from. Default `".*"`.
    pub read: Option<Spanned<String>>,
}

impl First {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
