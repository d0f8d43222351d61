//! Connections to servers that have answered a request and wait for another, whoever's.
//!
//! A worker's connections stay with it. An idle one keeps the name under which its socket's events come, that of the
//! session that opened it: the same session gets it back without a word to the kernel. One that says anything while
//! it is idle, or is closed by its server, is dropped at once.
//!
//! They are given up after [`IDLE`]: shorter than what servers usually wait, so that a request seldom meets a server
//! that is just closing.

use std::sync::Arc;

use crate::live::{Server, Target};
use crate::session::endpoint::{Endpoint, Received};
use crate::worker::reactor::{Place, Ready};

/// How long one waits for another request, in milliseconds. Node.js closes after 5 s, and others later.
const IDLE: u64 = 4_000;
/// Connections that wait in one worker. Beyond, the oldest is dropped.
const CONNECTIONS_MAX: usize = 4_096;

/// Under which name a socket's events come: a session, and which of its attempts.
pub(crate) type Owner = (Place, u8);

/// A worker's idle connections to servers, those that came last at the end.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    idle: Vec<Idle>,
}

#[derive(Debug)]
struct Idle {
    server: Arc<Server>,
    target: Arc<Target>,
    owner: Owner,
    until: u64,
    endpoint: Endpoint,
}

/// A connection that was idle.
#[derive(Debug)]
pub(crate) struct Reused {
    pub(crate) endpoint: Endpoint,
    /// Under which name its events come.
    pub(crate) owner: Owner,
}

impl Pool {
    /// It waits from now on.
    pub(crate) fn put(
        &mut self,
        server: Arc<Server>,
        target: Arc<Target>,
        owner: Owner,
        endpoint: Endpoint,
        now: u64,
    ) {
        if self.idle.len() >= CONNECTIONS_MAX {
            self.idle.remove(0);
        }
        self.idle.push(Idle {
            server,
            target,
            owner,
            until: now + IDLE,
            endpoint,
        });
    }

    /// One to this server, wherever it is now: that of the session itself rather than the one that came last.
    pub(crate) fn take(&mut self, server: &Arc<Server>, target: &Target, place: Place) -> Option<Reused> {
        let fits = |idle: &Idle| Arc::ptr_eq(&idle.server, server) && *idle.target == *target;
        let own = self
            .idle
            .iter()
            .rposition(|idle| idle.owner.0 == place && fits(idle));
        let found = own.or_else(|| self.idle.iter().rposition(fits))?;
        let idle = self.idle.remove(found);
        Some(Reused {
            endpoint: idle.endpoint,
            owner: idle.owner,
        })
    }

    /// An event of a socket that is nobody's else. An idle server has nothing to say but that it closes.
    pub(crate) fn note(&mut self, owner: Owner, ready: Ready) {
        let Some(found) = self.idle.iter().position(|idle| idle.owner == owner) else {
            return;
        };
        let Some(idle) = self.idle.get_mut(found) else {
            return;
        };
        idle.endpoint.note(ready);
        // The event may be older than the answer that was read since. Over TLS, too, an idle socket has no octets.
        let quiet =
            !idle.endpoint.has_hung_up() && (!ready.read || idle.endpoint.peek(&mut [0]) == Received::Wait);
        if !quiet {
            self.idle.remove(found);
        }
    }

    /// When [`Pool::expire`] has something to do.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.idle.first().map(|oldest| oldest.until)
    }

    /// Drops those that have waited long enough.
    pub(crate) fn expire(&mut self, now: u64) {
        let expired = self.idle.iter().take_while(|idle| idle.until <= now).count();
        self.idle.drain(..expired);
    }
}
