//! The proxy's control socket, `proxy.sock` in the runtime directory.
//!
//! The client sends one [`Request`] as a line of JSON and reads one [`Reply`].

mod explain;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use crate::refused::{Refused, refusal};
use crate::{Micros, Timestamp};
pub use explain::explain;

/// Name of the control socket in the runtime directory.
pub const SOCKET: &str = "proxy.sock";

/// What a client may ask for, e.g. `{"request":"ready"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Frontends, backends, servers: answered with [`Reply::Status`].
    Status {},
    /// Whether clients would be served: [`Reply::Done`] if every backend that a frontend uses (or the one named) has
    /// a server, else [`Reply::Refused`] with [`refusal::NOT_READY`].
    Ready {
        #[serde(default)]
        backend: Option<String>,
    },
    /// Every session: answered with [`Reply::Sessions`].
    Sessions {},
    /// A command of the runtime socket (`show stat`, `set server b/s state drain`, ...): [`Reply::Text`].
    Run { command: String },
    /// Read the configuration again; all of it is applied or nothing.
    Reload {},
    /// Go on with the binary that is installed now; listeners and sessions are passed to it.
    Upgrade {},
    /// Give a server no new connections and end those it has, politely.
    Drain { backend: String, server: String },
    /// Use the server again.
    Resume { backend: String, server: String },
    /// Have AMQP clients of servers that have more than their share connect again, in every backend of mode amqp or in
    /// the one named. Answered when nothing is left to move, or half a minute is over.
    Rebalance {
        #[serde(default)]
        backend: Option<String>,
    },
    /// These addresses are about to leave this host: sessions through them are ended politely, within this time.
    /// Answered when they have ended or the time is over.
    Release {
        addresses: Vec<IpAddr>,
        within_us: Micros,
    },
}

/// The proxy's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    Status(Box<Status>),
    Sessions {
        sessions: Vec<Session>,
    },
    Text {
        text: String,
    },
    /// It is done; `message` says what was, in a sentence.
    Done {
        #[serde(default)]
        message: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        warnings: Vec<String>,
    },
    /// It is not, and nothing has changed.
    Refused(Refused),
}

/// The whole proxy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    pub version: String,
    pub pid: u32,
    pub time: Timestamp,
    pub started: Timestamp,
    /// The configuration in force.
    pub config: String,
    /// When it was read, and what became of the last attempt to read it again if that failed.
    pub configured: Timestamp,
    pub reload_failure: Option<String>,
    /// Client connections now, and at most.
    pub connections: u32,
    pub maxconn: u32,
    /// It accepts no new connections and waits for the last sessions to end.
    pub stopping: bool,
    /// The process this one took over from, while it has sessions that cannot travel.
    pub former: Option<FormerProcess>,
    pub frontends: Vec<Frontend>,
    pub backends: Vec<Backend>,
}

/// A process that finishes what it could not give away.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FormerProcess {
    pub pid: u32,
    /// When it gave everything else away; there are fewer and fewer.
    pub sessions: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Frontend {
    pub name: String,
    pub mode: String,
    pub addresses: Vec<String>,
    /// `OPEN`, `STOP`, `PAUSED`, `FULL`.
    pub status: String,
    pub sessions: u32,
    pub maxconn: u32,
    pub total: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Backend {
    pub name: String,
    pub mode: String,
    pub balance: String,
    /// A frontend leads here.
    pub used: bool,
    /// Servers that may be chosen now.
    pub usable: u32,
    pub sessions: u32,
    pub queued: u32,
    pub servers: Vec<Server>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Server {
    pub name: String,
    /// `None` while its name cannot be resolved.
    pub address: Option<String>,
    pub backup: bool,
    /// As the statistics show it: `UP`, `UP 1/3`, `DOWN`, `MAINT`, `no check`.
    pub status: String,
    /// It may be chosen.
    pub usable: bool,
    pub weight: u32,
    pub sessions: u32,
    pub queued: u32,
    pub total: u64,
    /// How long it has been so.
    pub since_us: Micros,
    /// Result of the last check: HAProxy's word, and what else is known.
    pub check: Option<String>,
    pub check_detail: String,
    pub check_took_us: Option<Micros>,
    /// How it is checked, in words.
    pub checked: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Session {
    pub id: u64,
    pub client: String,
    pub frontend: String,
    pub backend: Option<String>,
    pub server: Option<String>,
    pub age_us: Micros,
    pub idle_us: Micros,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub unsent: u64,
    pub state: String,
    pub tls: bool,
    pub user: Option<String>,
    pub vhost: Option<String>,
    /// Product and version of the client's program.
    pub client_program: Option<String>,
    pub connection_name: Option<String>,
    pub channels: Option<u16>,
    pub heartbeat: Option<u16>,
    pub blocked: Option<String>,
}
