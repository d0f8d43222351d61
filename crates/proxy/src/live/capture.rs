//! The last message of each proxy that was not understood, kept for `show errors`: whoever wrote the client or the
//! server has to see what it said.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwapOption;
use warren_balance::http::Fault;

use crate::plan::ProxyId;

/// Octets that are kept of a message: as many as HAProxy's buffer has unless told otherwise.
pub const CAPTURE_MAX: usize = 16 * 1024;

/// A message that was refused.
#[derive(Clone, Debug)]
pub struct Capture {
    /// When.
    pub at: SystemTime,
    /// Its number among those of the process, from 0.
    pub event: u64,
    /// The proxy on the other side and its number: of a response the frontend, of a request nobody yet.
    pub other: Option<(Arc<str>, u32)>,
    /// The server, of a response.
    pub server: Option<(Arc<str>, u32)>,
    /// Whose request it is, or was.
    pub client: Option<SocketAddr>,
    /// Where it goes wrong.
    pub fault: Fault,
    /// What had come of it, at most [`CAPTURE_MAX`].
    pub octets: Box<[u8]>,
}

impl Capture {
    /// Whether this proxy is the one on the other side.
    #[must_use]
    pub fn is_also_of(&self, proxy: ProxyId) -> bool {
        self.other.as_ref().is_some_and(|(_, id)| *id == proxy.0)
    }
}

/// The last one, if there was any.
#[derive(Debug, Default)]
pub struct LastRefused(ArcSwapOption<Capture>);

impl LastRefused {
    /// Forgets the one before.
    pub fn keep(&self, capture: Capture) {
        self.0.store(Some(Arc::new(capture)));
    }

    /// It.
    #[must_use]
    pub fn get(&self) -> Option<Arc<Capture>> {
        self.0.load_full()
    }
}
