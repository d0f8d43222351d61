//! Control sockets: how operators and programs talk to a running daemon.
//!
//! ```text
//! client                                    daemon
//!   connect /run/warren/ROLE.sock   ───▶    peer's uid, gid, pid from the kernel
//!   one request, a line of JSON     ───▶    Service::call
//!   reply lines                     ◀───    one, or as many as there are events
//!   end of stream                   ◀───    close
//! ```
//!
//! One connection carries one request: the end of the stream ends the reply, so `nc -U` is a client, and there is no
//! framing to get wrong. What requests and replies mean is not known here. Who may connect is decided by the
//! socket's group and mode; who may ask for what, by the [`server::Service`] from its [`Peer`].

pub mod client;
pub mod server;
pub mod socket;

pub use client::{Address, Client, ClientError};
pub use server::{Closing, Gone, Limits, Problem, Replies, Service, serve, serve_until};
pub use socket::{BindError, ControlSocket};

/// Who is at the other end, as the kernel tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    pub uid: u32,
    pub gid: u32,
    /// Unknown when it lives in a PID namespace that is not ours.
    pub pid: Option<i32>,
}

#[cfg(test)]
mod tests;
