//! Open files: a proxied connection needs two, and a limit that is too low shows itself in the worst moment. So it is
//! raised at the start, and a `maxconn` that does not fit is refused then.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::plan::Plan;

/// Beyond connections: logs, epoll and event descriptors, pipes that wait in pools, control sockets, checks under way.
const RESERVE: u64 = 256;
/// Pipes of one worker's pool, two descriptors each.
const PIPES_PER_WORKER: u64 = 128;

/// The limit is too low.
#[derive(Debug, thiserror::Error)]
#[error(
    "maxconn {maxconn} needs {needed} open files and this process may have {limit}: \
     lower maxconn to {fitting}, or raise the limit (LimitNOFILE= in the unit, ulimit -Hn in a shell)"
)]
pub struct TooFewFiles {
    maxconn: u32,
    needed: u64,
    limit: u64,
    fitting: u64,
}

/// Open files that a plan needs.
#[must_use]
pub fn needed(plan: &Plan) -> u64 {
    u64::from(plan.global.maxconn.get()) * 2 + beside(plan)
}

fn beside(plan: &Plan) -> u64 {
    let binds: usize = plan.frontends.iter().map(|frontend| frontend.binds.len()).sum();
    let servers: usize = plan.backends.iter().map(|backend| backend.servers.len()).sum();
    let workers = plan.global.threads.get() as u64;
    // A check has one of its own while it runs.
    RESERVE + binds as u64 + servers as u64 + workers * (2 * PIPES_PER_WORKER + 4)
}

/// Raises the limit as far as the plan needs.
///
/// # Errors
/// It may not be raised so far.
pub(super) fn raise(plan: &Plan) -> Result<(), TooFewFiles> {
    let needed = needed(plan);
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((0, u64::MAX));
    if soft >= needed {
        return Ok(());
    }
    // Only root may raise the hard limit; then both.
    let raised = setrlimit(Resource::RLIMIT_NOFILE, needed.min(hard), hard)
        .and_then(|()| match needed > hard {
            true => setrlimit(Resource::RLIMIT_NOFILE, needed, needed),
            false => Ok(()),
        })
        .map_err(io::Error::from);
    match raised {
        Ok(()) => Ok(()),
        Err(_) => Err(TooFewFiles {
            maxconn: plan.global.maxconn.get(),
            needed,
            limit: hard,
            fitting: hard.saturating_sub(beside(plan)) / 2,
        }),
    }
}
