//! The failover daemon's control socket, `vrrp.sock` in the runtime directory.
//!
//! The client sends one [`Request`] as a line of JSON and reads [`Reply`] lines until the daemon closes: exactly one
//! for everything but `events`, which answers with an `event` line for each.

mod event;
mod explain;
mod status;

use serde::{Deserialize, Serialize};

pub use event::{Event, kind};
pub use explain::{arithmetic, cause_in_words, explain, reason};
pub use status::*;

pub use crate::refused::{Refused, refusal};

/// What a client may ask for, e.g. `{"request":"drain","router":"VI_1"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Everything there is to know: answered with [`Reply::Status`].
    Status {},
    /// History and, if asked for, what happens from now on: answered with [`Reply::Event`] lines.
    Events {
        /// Keep the connection and send events as they happen.
        #[serde(default)]
        follow: bool,
        /// Only events with a higher sequence number. With a number from an earlier run of the daemon (higher than
        /// any it has) everything is sent.
        #[serde(default)]
        after: Option<u64>,
        /// Only events of this router (and those that concern all of them).
        #[serde(default)]
        router: Option<String>,
    },
    /// Give a router's role up and take no part until resumed. Answered with [`Reply::Done`] when the role has been
    /// handed over or the address released.
    Drain { router: String },
    /// Take part again.
    Resume { router: String },
    /// Read the configuration again; all of it is applied or nothing.
    Reload {},
    /// Start the worker anew from the binary that is installed now; addresses and roles stay.
    Upgrade {},
}

/// One line of the daemon's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    Status(Box<Status>),
    Event(Event),
    /// It is done; `message` says what was, in a sentence.
    Done {
        #[serde(default)]
        message: String,
        /// Things the operator should know, e.g. configuration lines that were accepted with a warning.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        warnings: Vec<String>,
    },
    /// It is not, and nothing has changed.
    Refused(Refused),
}

#[cfg(test)]
mod tests;
