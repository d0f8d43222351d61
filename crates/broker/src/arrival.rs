//! How a client came: from where, through whom, over what.

use std::net::SocketAddr;

use crate::registry::TlsFacts;

/// What is known of a client before he says anything.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    /// The client's own address, whoever passed the connection on.
    pub(crate) peer: SocketAddr,
    /// What he connected to.
    pub(crate) local: SocketAddr,
    /// He is on this host, as far as that can be known: what `loopback_users` asks.
    pub(crate) from_loopback: bool,
    /// What is known of his TLS, if he speaks any.
    pub(crate) tls: Option<TlsFacts>,
}

impl Arrival {
    /// A client who came by himself.
    pub(crate) fn direct(peer: SocketAddr, local: SocketAddr) -> Self {
        Self {
            peer,
            local,
            from_loopback: peer.ip().to_canonical().is_loopback(),
            tls: None,
        }
    }
}
