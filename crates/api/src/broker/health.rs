//! What an operator should know of a node beside its status: who waits, and for what.

use serde::{Deserialize, Serialize};

use super::Status;
use crate::Micros;

/// A node, and what of it is not as it should be. Lists have the worst first, and no more than a few; counts are of all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    pub status: Status,
    /// An operator has closed the listeners.
    pub suspended: bool,
    /// Publishers who wait since memory or disk is short.
    pub blocked: Vec<Publisher>,
    pub blocked_count: u64,
    /// Publishers who are read slowly, since queues or the disk do not keep up.
    pub slowed_count: u64,
    /// Queues with messages from which nobody consumes.
    pub unattended: Vec<Unattended>,
    pub unattended_count: u64,
    /// Between the two looks by which growth is known.
    pub looked_for: Micros,
    /// Consumers who get no more messages until they settle some.
    pub holders: Vec<Holder>,
    pub holders_count: u64,
    /// Logins that were refused since the node started, or since they are counted.
    pub logins_refused: u64,
    /// Addresses whose logins are looked at one after another, since too many failed.
    pub guessers: Vec<Guesser>,
    /// Clients that were not accepted since the node started, mostly for want of file descriptors.
    pub not_accepted: u64,
    /// How often something that was read of the log was not what was written, since the node started.
    pub damaged: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Publisher {
    /// `10.0.0.1:50123 -> 10.0.0.2:5672`
    pub connection: String,
    pub user: String,
    pub vhost: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Unattended {
    pub vhost: String,
    pub queue: String,
    pub messages: u64,
    pub octets: u64,
    /// Messages more than at the look before.
    pub grown: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Holder {
    pub connection: String,
    pub channel: u16,
    pub user: String,
    pub vhost: String,
    /// Those it consumes from.
    pub queues: Vec<String>,
    /// Messages that it has and has not settled.
    pub messages: u64,
    /// As many as each of its consumers may have; 0: any number.
    pub prefetch: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Guesser {
    /// An address, or of IPv6 a network.
    pub address: String,
    pub failures: u64,
}
