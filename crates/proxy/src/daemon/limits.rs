//! Open files: a proxied connection needs two, and a limit that is too low shows itself in the worst moment. So it is
//! raised at the start, and a `maxconn` that does not fit is refused then.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use warren_kit::descriptors;

use crate::plan::Plan;

/// Beyond connections: logs, epoll and event descriptors, listeners, control sockets, checks under way.
const BESIDES: u64 = 200;
/// Raised by so much more if that is allowed: pipes for splicing are taken where there is room and done without where
/// there is none.
const ROOM: u64 = 4096;

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
    u64::from(plan.global.maxconn.get()) * 2 + BESIDES
}

/// Raises the limit as far as the plan needs, and a little further where that is allowed, and makes room for as many.
///
/// # Errors
/// It may not be raised so far.
pub(super) fn raise(plan: &Plan) -> Result<(), TooFewFiles> {
    raise_limit(plan)?;
    descriptors::make_room();
    Ok(())
}

fn raise_limit(plan: &Plan) -> Result<(), TooFewFiles> {
    let needed = needed(plan);
    let wanted = needed + ROOM;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((0, u64::MAX));
    if soft >= wanted {
        return Ok(());
    }
    // Only root may raise the hard limit.
    let raised = setrlimit(Resource::RLIMIT_NOFILE, wanted, wanted.max(hard))
        .or_else(|_| setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard));
    if needed <= hard
        || (raised.is_ok() && getrlimit(Resource::RLIMIT_NOFILE).is_ok_and(|(soft, _)| soft >= needed))
    {
        return Ok(());
    }
    Err(TooFewFiles {
        maxconn: plan.global.maxconn.get(),
        needed,
        limit: hard,
        fitting: hard.saturating_sub(BESIDES) / 2,
    })
}
