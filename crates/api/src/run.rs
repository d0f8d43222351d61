//! The supervisor's control socket, `run.sock` in the runtime directory: what runs on this host.
//!
//! The client sends one [`Request`] as a line of JSON and reads one [`Reply`].

use serde::{Deserialize, Serialize};

use crate::Timestamp;
pub use crate::refused::{Refused, refusal};

/// Name of the control socket in the runtime directory.
pub const SOCKET: &str = "run.sock";

/// What a client may ask for, e.g. `{"request":"status"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Every role: answered with [`Reply::Status`].
    Status {},
    /// Every role reads its configuration again: [`Reply::Done`] once they have been told.
    Reload {},
}

/// The supervisor's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    /// What runs.
    Status(Status),
    /// It was done.
    Done,
    /// It was not.
    Refused(Refused),
}

/// What runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The supervisor's version.
    pub version: String,
    /// Its process.
    pub process: u32,
    /// When this was so.
    pub time: Timestamp,
    /// In the order in which they are started.
    pub roles: Vec<Role>,
}

/// One role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Role {
    /// `broker`, `proxy` or `vrrp`.
    pub name: String,
    /// `waiting`, `starting`, `ready`, `stopping`, `dead` or `ended`.
    pub state: String,
    /// Its main process, if it has one.
    pub process: Option<u32>,
    /// When its state became this.
    pub since: Timestamp,
    /// How often it was started again.
    pub restarts: u64,
    /// What it says of itself, in a line.
    pub says: String,
    /// How its process ended the last time; nothing if none has.
    pub ended: String,
}
