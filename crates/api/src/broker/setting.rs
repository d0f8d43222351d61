//! What operators set beside users, vhosts and policies, and take away again.

use serde::{Deserialize, Serialize};

/// Something to be set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Setting {
    /// Which routing keys a user may use with an exchange of type topic.
    TopicPermissions {
        user: String,
        vhost: String,
        exchange: String,
        write: String,
        read: String,
    },
    /// He may use all keys with an exchange, or with all of a vhost.
    NoTopicPermissions {
        user: String,
        vhost: String,
        exchange: Option<String>,
    },
    /// How much a vhost may have, an object of JSON; nothing: as much as it likes.
    VhostLimits { vhost: String, limits: Option<String> },
    /// How much a user may have, an object of JSON. What it does not name stays as it is.
    UserLimits { user: String, limits: String },
    /// A user's limit of this name goes, or `all` of them.
    NoUserLimit { user: String, limit: String },
    /// A parameter of a vhost, or of the whole broker; without a value it goes.
    Parameter {
        vhost: Option<String>,
        /// Empty for the whole broker's.
        #[serde(default)]
        component: String,
        name: String,
        /// JSON.
        value: Option<String>,
    },
    /// In place of those that a vhost has.
    VhostTags { vhost: String, tags: Vec<String> },
    /// The firehose of a vhost is on or off.
    Tracing { vhost: String, on: bool },
    /// `debug`, `info`, `warning`, `error`, `critical` or `none`, until the configuration is read again.
    LogLevel { level: String },
    /// Memory from which on publishers wait, until the configuration is read again.
    MemoryLimit { limit: Watermark },
    /// Room on disk below which publishers wait, until the configuration is read again.
    DiskLimit { limit: Watermark },
}

/// How much memory or room on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Watermark {
    /// Millionths of the memory that the machine has, or the control group.
    Millionths(u32),
    Octets(u64),
}
