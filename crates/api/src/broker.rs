//! The broker's control socket, `broker.sock` in the runtime directory.
//!
//! The client sends one [`Request`] as a line of JSON and reads [`Reply`] lines until the broker closes: one for everything
//! but a [`Listing`], which answers with as many lines of rows as there are, or with none.
//! Words are RabbitMQ's, so that whoever knows `rabbitmqctl` knows what is asked.

mod cell;
mod explain;
mod health;
mod listing;
mod setting;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Micros, Timestamp};
pub use cell::{Argument, Cell};
pub use explain::{explain, octets};
pub use health::{Guesser, Health, Holder, Publisher, Unattended};
pub use listing::Listing;
pub use setting::{Setting, Watermark};

pub use crate::refused::{Refused, refusal};

/// Name of the control socket in the runtime directory.
pub const SOCKET: &str = "broker.sock";

/// The RabbitMQ whose behaviour clients and scripts find here.
pub const RABBITMQ_VERSION: &str = "3.10.8";

/// What a client may ask for, e.g. `{"request":"delete-user","user":"guest"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// The node and what it is doing: [`Reply::Status`].
    Status {},
    /// The node and who waits on it: [`Reply::Health`], after a moment.
    Health {},
    /// End, as on SIGTERM. Done when it has begun.
    Stop {},
    /// Things of one kind: [`Reply::Rows`] with these columns, in no order, until the end.
    List {
        listing: Listing,
        columns: Vec<String>,
    },
    /// A user who does not exist: no password means that he cannot log in with one.
    AddUser {
        user: String,
        password: Option<Secret>,
    },
    DeleteUser {
        user: String,
    },
    ChangePassword {
        user: String,
        password: Secret,
    },
    /// He cannot log in with a password any more.
    ClearPassword {
        user: String,
    },
    /// [`Reply::Done`] if it is his password.
    AuthenticateUser {
        user: String,
        password: Secret,
    },
    SetUserTags {
        user: String,
        tags: Vec<String>,
    },
    /// Nothing if there is one of this name.
    AddVhost {
        vhost: String,
        #[serde(default)]
        description: String,
        #[serde(default)]
        tags: Vec<String>,
        /// Of queues that do not say one: `classic` or `quorum`.
        #[serde(default)]
        default_queue_type: Option<String>,
    },
    DeleteVhost {
        vhost: String,
    },
    SetPermissions {
        user: String,
        vhost: String,
        configure: String,
        write: String,
        read: String,
    },
    ClearPermissions {
        user: String,
        vhost: String,
    },
    /// A policy, or with `operator` one that only lowers what users may have.
    SetPolicy {
        vhost: String,
        name: String,
        pattern: String,
        /// An object of JSON.
        definition: String,
        priority: i64,
        /// `queues`, `exchanges` or `all`
        apply_to: String,
        #[serde(default)]
        operator: bool,
    },
    ClearPolicy {
        vhost: String,
        name: String,
        #[serde(default)]
        operator: bool,
    },
    /// Something is set, or taken away.
    Set {
        setting: Setting,
    },
    /// Adds what a file of definitions says to what there is.
    ImportDefinitions {
        definitions: String,
    },
    /// All definitions, or those of one vhost: [`Reply::Definitions`].
    ExportDefinitions {
        #[serde(default)]
        vhost: Option<String>,
    },
    DeleteQueue {
        vhost: String,
        queue: String,
        /// Only without consumers.
        #[serde(default)]
        if_unused: bool,
        /// Only without ready messages.
        #[serde(default)]
        if_empty: bool,
    },
    /// All ready messages of a queue go.
    PurgeQueue {
        vhost: String,
        queue: String,
    },
    /// Listeners for clients are closed, or opened again. Done when they are.
    Listeners {
        open: bool,
    },
    /// Listeners are closed and clients are told to go: before an upgrade.
    Drain {},
    /// The end of that.
    Revive {},
    /// Logins are counted from nothing.
    ResetLogins {},
    /// A connection, as listings name it by `pid` or `name`; its client hears the reason.
    CloseConnection {
        connection: String,
        reason: String,
    },
    /// All connections of a vhost or of a user, or all there are.
    CloseConnections {
        #[serde(default)]
        vhost: Option<String>,
        #[serde(default)]
        user: Option<String>,
        /// No more than so many; 0 is all of them.
        #[serde(default)]
        limit: u64,
        /// Between one and the next.
        #[serde(default)]
        delay_us: Micros,
        reason: String,
    },
}

/// A password on its way. It is not shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// One line of the broker's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    Status(Box<Status>),
    Health(Box<Health>),
    /// Rows of a listing, with the columns that were asked for.
    Rows {
        rows: Vec<Vec<Cell>>,
    },
    Definitions {
        /// JSON as RabbitMQ writes it.
        definitions: String,
        /// What could not be carried, a sentence each.
        #[serde(default)]
        notes: Vec<String>,
    },
    /// It is done.
    Done {
        /// What was, in a sentence, or nothing.
        #[serde(default)]
        message: String,
        /// To how many things it was done, where that is not known beforehand.
        #[serde(default)]
        count: u64,
        /// What was not done, a sentence each.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        notes: Vec<String>,
    },
    /// It is not, and nothing has changed.
    Refused(Refused),
}

/// The node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Of this program.
    pub version: String,
    /// The RabbitMQ whose behaviour clients and scripts find here.
    pub rabbitmq_version: String,
    pub pid: u32,
    /// `rabbit@host`
    pub node: String,
    pub cluster_name: String,
    pub time: Timestamp,
    pub started: Timestamp,
    /// Whether clients are served.
    pub ready: bool,
    /// Whether the node has been drained and not revived.
    pub maintenance: bool,
    pub data_directory: Option<String>,
    pub config_files: Vec<String>,
    pub log_files: Vec<String>,
    pub alarms: Vec<Alarm>,
    pub memory: Memory,
    pub disk: Disk,
    pub files: Files,
    pub connections: u64,
    pub channels: u64,
    pub consumers: u64,
    pub queues: u64,
    pub vhosts: u64,
    pub messages_ready: u64,
    pub messages_unacknowledged: u64,
    pub listeners: Vec<Listener>,
    /// Of listeners with TLS.
    pub certificates: Vec<Certificate>,
}

/// A certificate that clients are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Certificate {
    pub file: String,
    /// `CN=broker,O=Warren`
    pub subject: String,
    pub expires: Timestamp,
}

/// Something is short, and publishers are held back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Alarm {
    /// `memory` or `disk`
    pub resource: String,
    pub since: Timestamp,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// Octets that the process has in memory, those of files included.
    pub resident: u64,
    /// Octets of them that are compared with the limit.
    pub used: u64,
    /// Octets at which publishers are held back; 0 is no limit.
    pub limit: u64,
    /// As it was configured.
    pub watermark: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Disk {
    /// Octets that are free where the data is.
    pub free: u64,
    /// Octets below which publishers are held back.
    pub limit: u64,
    /// For how long it has not answered, if that is long.
    pub unanswered_us: Micros,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Files {
    /// Open ones, sockets included.
    pub open: u64,
    pub limit: u64,
    pub sockets: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Listener {
    /// `[::]`, `127.0.0.1`
    pub interface: String,
    pub port: u16,
    /// `amqp`, `amqp/ssl`, `http/prometheus`
    pub protocol: String,
}

impl Listener {
    /// What it is for, in RabbitMQ's words.
    #[must_use]
    pub fn purpose(&self) -> &str {
        match self.protocol.as_str() {
            "amqp" => "AMQP 0-9-1",
            "amqp/ssl" => "AMQP 0-9-1 over TLS",
            "http" => "HTTP API",
            "https" => "HTTP API over TLS (HTTPS)",
            "http/prometheus" => "Prometheus exporter API over HTTP",
            "https/prometheus" => "Prometheus exporter API over TLS (HTTPS)",
            "clustering" => "inter-node and CLI tool communication",
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_object_with_its_name() {
        let request = Request::AddUser {
            user: "admin".into(),
            password: Some(Secret("123".into())),
        };
        let line = serde_json::to_string(&request).unwrap();
        assert_eq!(line, r#"{"request":"add-user","user":"admin","password":"123"}"#);
        assert_eq!(serde_json::from_str::<Request>(&line).unwrap(), request);
        let list = Request::List {
            listing: Listing::Queues {
                vhost: Some("/".into()),
            },
            columns: vec!["name".into()],
        };
        let line = serde_json::to_string(&list).unwrap();
        assert_eq!(
            line,
            r#"{"request":"list","listing":{"of":"queues","vhost":"/"},"columns":["name"]}"#
        );
        assert_eq!(serde_json::from_str::<Request>(&line).unwrap(), list);
    }

    #[test]
    fn a_password_is_not_shown() {
        let request = Request::ChangePassword {
            user: "admin".into(),
            password: Secret("hush".into()),
        };
        assert!(!format!("{request:?}").contains("hush"));
    }

    #[test]
    fn a_reply_of_a_later_broker_is_understood() {
        let status: Status = serde_json::from_str(r#"{"node":"rabbit@a","mood":"good"}"#).unwrap();
        assert_eq!(status.node, "rabbit@a");
    }
}
