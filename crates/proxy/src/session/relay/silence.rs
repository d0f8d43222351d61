//! How long a side may be silent.
//!
//! HAProxy's rules: a side is awake when octets came from it or could be sent to it. It is waited for while it may still
//! send something or has to take something. `timeout tunnel` replaces those of client and server; once we have told a
//! side that nothing follows, its `-fin` timeout does.

use std::time::Duration;

use super::Relay;
use crate::plan::{BackendTimeouts, FrontendTimeouts};
use crate::session::connect::millis;
use crate::session::endpoint::Endpoint;
use crate::session::{Common, Side};

impl Relay {
    /// When silence has lasted too long, and whose.
    pub(crate) fn deadline(&self, common: &Common) -> Option<(u64, Side)> {
        let frontend = common.frontend().plan().timeouts;
        let backend = common.backend.as_ref().map(|backend| backend.plan().timeouts);
        let backend = backend.unwrap_or_default();
        let client = self.silent(Side::Client, &common.client, common, &frontend, &backend);
        let server = common.server.as_ref();
        let server = server.and_then(|server| self.silent(Side::Server, server, common, &frontend, &backend));
        let client = client.map(|at| (at, Side::Client));
        let server = server.map(|at| (at, Side::Server));
        // At the same time: the client.
        client.into_iter().chain(server).min_by_key(|(at, _)| *at)
    }

    fn silent(
        &self,
        side: Side,
        endpoint: &Endpoint,
        common: &Common,
        frontend: &FrontendTimeouts,
        backend: &BackendTimeouts,
    ) -> Option<u64> {
        let owes = !self.ways[side.other() as usize].is_empty();
        if endpoint.ended && !owes {
            return None;
        }
        let (usual, closing) = match side {
            Side::Client => (frontend.client, frontend.client_fin),
            Side::Server => (backend.server, backend.server_fin),
        };
        let usual = backend.tunnel.or(usual);
        let usual = self.tap.as_ref().map_or(usual, |tap| tap.timeout(usual));
        let timeout: Option<Duration> = if endpoint.shut { closing.or(usual) } else { usual };
        Some(common.activity[side as usize].saturating_add(millis(timeout?)))
    }
}
