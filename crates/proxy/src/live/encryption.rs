//! TLS connections of the process, with clients and with servers.

use std::sync::Arc;

use super::counters::{Gauge, Rate};

/// What is counted of them.
#[derive(Debug, Default)]
pub struct Encryption {
    /// Those that exist.
    pub connections: Gauge,
    /// Handshakes with clients that took up no earlier session, per second.
    pub client_keys: Rate,
    /// The same with servers.
    pub server_keys: Rate,
}

impl Encryption {
    /// A connection exists from now on, until this is dropped.
    #[must_use]
    pub fn count(self: &Arc<Self>) -> Counted {
        self.connections.enter();
        Counted(Arc::clone(self))
    }
}

/// A connection that is counted.
#[derive(Debug)]
pub struct Counted(Arc<Encryption>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.leave();
    }
}
