//! What both processes say to each other, and a session as it travels.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::state::State;
use crate::plan;
use crate::record::{Cause, Termination};
use crate::session::amqp::Saved;
use crate::session::http::Extra;

/// From the old process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToNew {
    /// What is known, and a socket for each of these addresses.
    Known(Box<State>, Vec<Address>),
    /// It accepts no more. Sessions from here on have other numbers than those below this one.
    Quiet(u64),
    /// Sessions, with two sockets each if they have a server, one if not.
    Sessions(Vec<SessionRecord>),
    /// Whoever has a server has been sent: places at servers that are free now are free.
    Accept,
    /// That was all: what was counted until now, by which process, and how many sessions it keeps.
    Done(Box<State>, u32, u32),
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
    /// It serves, operators included.
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
    /// Number, table and key under which its client is counted.
    pub(crate) tracked: Vec<(u8, String, String)>,
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
    /// What its server is chosen by.
    pub(crate) key: u64,
    /// When octets last passed on the client's and on the server's side.
    pub(crate) activity: [u64; 2],
    /// Client and server have said that nothing follows.
    pub(crate) ended: [bool; 2],
    /// They were told so.
    pub(crate) shut: [bool; 2],
    pub(crate) queues: [u32; 2],
    /// The server that has failed it.
    pub(crate) avoid: Option<String>,
    /// The server that the client's cookie names.
    pub(crate) wanted: Option<String>,
    /// Whose session it is, once a backend is chosen.
    pub(crate) backend: Option<String>,
    /// Whose slot it has, and to whom it is connected.
    pub(crate) server: Option<ServerRecord>,
    pub(crate) stage: StageRecord,
}

/// The server of a session, whose socket travels as well.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ServerRecord {
    pub(crate) name: String,
    pub(crate) target: Option<Address>,
}

/// What a session is doing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum StageRecord {
    /// It waits for a server since then, which is to be told first what the client has said to another one.
    Joining {
        since: u64,
        said: Vec<u8>,
    },
    Relay(RelayRecord),
    Http(Box<HttpRecord>),
}

/// Octets both ways.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RelayRecord {
    /// Read from client and server, and not sent yet.
    pub(crate) held: [Vec<u8>; 2],
    /// What is known of an AMQP connection.
    pub(crate) tap: Option<Box<Saved>>,
}

/// A client of mode http.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct HttpRecord {
    pub(crate) state: HttpState,
    /// What has come of requests that are not under way yet.
    pub(crate) ahead: Vec<u8>,
    pub(crate) requests: u32,
    pub(crate) since: u64,
    pub(crate) began: Option<(u64, SystemTime)>,
    pub(crate) ending: bool,
    /// Variables of the connection.
    pub(crate) kept: Vec<(String, Vec<u8>)>,
    /// The request under way.
    pub(crate) exchange: Option<ExchangeRecord>,
}

/// How far it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum HttpState {
    Waiting,
    /// For a server, since then.
    Joining(u64),
    Passing,
    Tunnel(RelayRecord),
    Lingering {
        until: u64,
        thrown: u64,
    },
}

/// A request and its response.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ExchangeRecord {
    /// As it came, if it was understood.
    pub(crate) head: Vec<u8>,
    /// What is left of both bodies, as [`warren_balance::http::Body::pause`] has it.
    pub(crate) upload: [u64; 3],
    pub(crate) download: Option<[u64; 3]>,
    /// For the server, how much of it was sent, and for the client.
    pub(crate) up: Vec<u8>,
    pub(crate) up_sent: u64,
    pub(crate) down: Vec<u8>,
    /// Of the response's head.
    pub(crate) partial: Vec<u8>,
    /// It is a backend's.
    pub(crate) routed: bool,
    pub(crate) began: u64,
    pub(crate) date: SystemTime,
    pub(crate) idle: u64,
    /// Milliseconds to the end of both heads, and when the server's connection stood.
    pub(crate) request_time: Option<u64>,
    pub(crate) response_time: Option<u64>,
    pub(crate) joined: Option<u64>,
    pub(crate) status: Option<u16>,
    /// What is true of it.
    pub(crate) marks: [bool; 11],
    /// What the configuration wants to be remembered of it.
    pub(crate) extra: Option<Box<Extra>>,
}
