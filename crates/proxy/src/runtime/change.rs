//! The operator's word reaches a server: its health takes it in, and what follows is done.

use std::sync::Arc;
use std::time::{Duration, Instant};

use warren_balance::health::{Effect, Input, State};

use super::Context;
use crate::live::{Backend, Server};
use crate::record::Cause;
use crate::worker::{Command, End, Ending, Scope};

/// Tells a server's health something, and does what follows from it.
pub(crate) fn tell(context: &Context, backend: &Arc<Backend>, server: &Arc<Server>, input: &Input) {
    let now = context.live.time(Instant::now());
    let effects = {
        let mut operational = server.operational.lock();
        let effects = operational.health.handle(now, input);
        for effect in &effects {
            let Effect::Changed { from, to } = effect else {
                continue;
            };
            let out = |state| matches!(state, State::Down | State::Maint);
            if out(*from) && !out(*to) {
                let down = now.millis_since(operational.changed);
                operational.downtime += Duration::from_millis(down);
            }
            operational.changed = now;
            tracing::warn!(server = %format_args!("{}/{}", backend.name, server.name), ?from, ?to, "changed by the operator");
        }
        effects
    };
    backend.refresh(now);
    for effect in effects {
        let id = backend.plan().id;
        let end = |scope| {
            context.workers.broadcast(&Command::End(End {
                scope,
                how: Ending::Now(Cause::Down),
            }));
        };
        match effect {
            Effect::ShutdownSessions => end(Scope::Server(id, server.id)),
            Effect::ShutdownBackupSessions => end(Scope::Backups(id)),
            Effect::Redistribute => backend.redistribute(server),
            Effect::Scored(_) | Effect::Changed { .. } | Effect::CheckSoon => {}
        }
    }
    context.workers.serve_queue(backend);
}
