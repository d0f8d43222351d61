//! What both processes say to each other, and a session as it travels.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::state::State;
use crate::plan;
use crate::record::{Cause, Termination};
use crate::session::amqp::Saved;

/// From the old process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToNew {
    /// What is known, and a socket for each of these addresses.
    Known(Box<State>, Vec<Address>),
    /// It accepts no more. Sessions from here on have other numbers than this one and those below.
    Quiet(u64),
    /// Sessions, with two sockets each if they have a server, one if not.
    Sessions(Vec<SessionRecord>),
    /// That was all: what was counted until now.
    Done(Box<State>),
}

/// From the new one.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToOld {
    /// First, and alone in being understood by every version.
    Hello(u32),
    /// It could serve.
    Prepared,
    /// It has the sessions of the last message, except those with these places in it.
    Taken(Vec<u32>),
    /// It serves.
    Ready,
}

/// Where a socket listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl From<&plan::BindAddress> for Address {
    fn from(address: &plan::BindAddress) -> Self {
        match address {
            plan::BindAddress::Tcp(address) => Self::Tcp(*address),
            plan::BindAddress::Unix(path) => Self::Unix(path.clone()),
        }
    }
}

impl From<Address> for plan::BindAddress {
    fn from(address: Address) -> Self {
        match address {
            Address::Tcp(address) => Self::Tcp(address),
            Address::Unix(path) => Self::Unix(path),
        }
    }
}

/// A session on its way. Times are milliseconds since the old process started, which the new one counts from as well.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SessionRecord {
    pub(crate) id: u64,
    /// Where it came in.
    pub(crate) frontend: String,
    pub(crate) bind: Address,
    pub(crate) client_address: Option<SocketAddr>,
    /// The address it came in by, if somebody else had to say so.
    pub(crate) told: Option<Option<SocketAddr>>,
    pub(crate) counted_source: bool,
    pub(crate) accepted_at: SystemTime,
    pub(crate) accepted: u64,
    /// Octets from client and server.
    pub(crate) bytes: [u64; 2],
    /// Handshake, queue, connect.
    pub(crate) spent: [Option<u32>; 3],
    pub(crate) retries: u32,
    pub(crate) redispatched: bool,
    pub(crate) unlogged: bool,
    pub(crate) termination: Option<Termination>,
    /// It is to end, then at the latest.
    pub(crate) leaving: Option<(Cause, u64)>,
    /// Mode http, idle: requests that were answered.
    pub(crate) requests: Option<u32>,
    /// `None`: it has no server, and nothing was read that was not answered.
    pub(crate) joined: Option<JoinedRecord>,
}

/// A session that has a server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct JoinedRecord {
    pub(crate) backend: String,
    pub(crate) server: String,
    pub(crate) target: Option<Address>,
    pub(crate) key: u64,
    pub(crate) activity: [u64; 2],
    /// Client and server have said that nothing follows.
    pub(crate) ended: [bool; 2],
    /// They were told so.
    pub(crate) shut: [bool; 2],
    /// Read from client and server, and not sent yet.
    pub(crate) held: [Vec<u8>; 2],
    /// What is known of an AMQP connection.
    pub(crate) tap: Option<Saved>,
}
