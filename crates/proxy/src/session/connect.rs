//! The way to a server: choice, queue, connecting, and what follows when that fails.
//!
//! ```text
//!   Choosing ──▶ Opening ──▶ Connecting ──▶ Joined
//!      │  ▲         ▲  ▲          │ failed
//!      ▼  │         │  └─ Pausing ◀┤ same server: a second later
//!    Queued ────────┘              └─▶ Choosing: another server (redispatch)
//! ```
//!
//! The rules of retries are HAProxy's: `retries` further attempts; with `option redispatch` the last of them (or every
//! n-th) may go to another server, and with round robin and several servers every one does, at once. An attempt at the
//! same server waits for a second or `timeout connect`, whichever is shorter, unless the last one timed out.

use std::io;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use nix::libc;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use warren_balance::{Algorithm, Ticket};
use warren_kit::pacing;

use super::endpoint::Endpoint;
use super::{Common, Spent, introduction};
use crate::live::{Assignment, Server, Target, Waiter, Wanted};
use crate::plan::{Keepalive, Observe, socket_address};
use crate::record::{Cause, Phase, Termination};
use crate::worker::context::Context;

/// Before the same server is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// How far the way to a server is. Times are the worker's milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Upstream {
    /// Nobody wants to go there.
    #[default]
    None,
    /// A server has to be chosen.
    Choosing { since: u64 },
    /// All that may be chosen are busy.
    Queued {
        ticket: Ticket,
        since: u64,
        until: Option<NonZeroU64>,
    },
    /// A server has a slot for us.
    Opening { since: u64 },
    /// It refused. The next attempt comes at `until`.
    Pausing { since: u64, until: u64, again: Again },
    /// The kernel connects.
    Connecting { since: u64, until: Option<NonZeroU64> },
    /// The connection stands; TLS is agreed upon.
    Introducing { since: u64, until: Option<NonZeroU64> },
    /// There we are.
    Joined,
}

/// What the next attempt begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    Choose,
    Open,
}

/// What [`advance`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It waits for an event, a slot or a time.
    Pending,
    /// [`Common::server`] can be used.
    Joined,
    /// There will be no server.
    Failed(Termination),
}

/// Why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// Refused, unreachable, or reset.
    Refused,
    /// `timeout connect`.
    TimedOut,
    /// We have no more file descriptors, ports or memory.
    Resource,
}

impl Upstream {
    /// From the beginning.
    pub(crate) const fn begin(now: u64) -> Self {
        Self::Choosing { since: now }
    }

    /// When something has to be done although nothing happens.
    pub(crate) const fn deadline(&self) -> Option<u64> {
        match self {
            Self::Queued { until, .. } | Self::Connecting { until, .. } | Self::Introducing { until, .. } => {
                match until {
                    Some(until) => Some(until.get()),
                    None => None,
                }
            }
            Self::Pausing { until, .. } => Some(*until),
            Self::None | Self::Choosing { .. } | Self::Opening { .. } | Self::Joined => None,
        }
    }

    /// For the log, if it ends here.
    pub(crate) const fn phase(&self) -> Phase {
        match self {
            Self::Queued { .. } => Phase::Queue,
            _ => Phase::Connect,
        }
    }
}

/// Goes on as far as it can.
pub(crate) fn advance(common: &mut Common, context: &mut Context) -> Progress {
    loop {
        let step = match common.upstream {
            Upstream::Choosing { since } => choose(common, context, since),
            Upstream::Queued { until, .. } if over(until, context) => {
                common.leave_server(context);
                return Progress::Failed(Termination::new(Cause::ServerTimeout, Phase::Queue));
            }
            Upstream::Opening { since } => open(common, context, since),
            Upstream::Pausing { since, until, again } if until <= context.now => {
                common.upstream = match again {
                    Again::Choose => Upstream::Choosing { since },
                    Again::Open => Upstream::Opening { since },
                };
                None
            }
            Upstream::Connecting { since, until } => watch(common, context, since, until),
            Upstream::Introducing { since, until } => introduce(common, context, since, until),
            Upstream::Queued { .. } | Upstream::Pausing { .. } | Upstream::None => Some(Progress::Pending),
            Upstream::Joined => Some(Progress::Joined),
        };
        if let Some(progress) = step {
            common.changed = true;
            return progress;
        }
    }
}

/// So long from now, if there is a limit.
fn after(timeout: Option<Duration>, context: &Context) -> Option<NonZeroU64> {
    NonZeroU64::new(context.now.saturating_add(millis(timeout?)))
}

fn over(until: Option<NonZeroU64>, context: &Context) -> bool {
    until.is_some_and(|until| until.get() <= context.now)
}

/// A server, or a place in the queue. `None` means that it goes on at once.
fn choose(common: &mut Common, context: &mut Context, since: u64) -> Option<Progress> {
    let failed = |cause, phase| Some(Progress::Failed(Termination::new(cause, phase)));
    let Some(backend) = common.backend.clone() else {
        return failed(Cause::ServerAborted, Phase::Connect);
    };
    let waiter = Waiter {
        worker: context.worker,
        session: common.place().number(),
    };
    let own = match (&common.avoid, &common.wanted) {
        (None, Some(server)) => Some(Arc::clone(server)),
        (None, None) => context.stuck_to(&backend, common),
        (Some(_), _) => None,
    };
    let wanted = Wanted {
        server: own.as_ref(),
        forced: common.wanted.is_some(),
    };
    let entropy = context.random.next();
    match backend.assign(common.key, entropy, wanted, common.avoid.as_ref(), waiter) {
        Assignment::Server(server) => {
            common.spent.queue = Spent::since(since, context.now);
            assigned(common, context, server);
            common.upstream = Upstream::Opening { since: context.now };
            None
        }
        Assignment::Wait { ticket, queues } => {
            common.queues = queues;
            let plan = backend.plan();
            let timeout = plan.timeouts.queue.or(plan.timeouts.connect);
            let until = after(timeout, context);
            common.upstream = Upstream::Queued { ticket, since, until };
            Some(Progress::Pending)
        }
        Assignment::NoServer => {
            backend.tally.of(context.worker).connect_errors.count();
            failed(Cause::ServerAborted, Phase::Connect)
        }
        Assignment::QueueFull => {
            backend.tally.of(context.worker).connect_errors.count();
            failed(Cause::ServerTimeout, Phase::Queue)
        }
    }
}

/// The slot of `server` is ours.
fn assigned(common: &mut Common, context: &Context, server: Arc<Server>) {
    let Some(backend) = &common.backend else { return };
    let worker = context.worker;
    server.session_rate.count(context.time());
    server.last_session.store(context.now, Relaxed);
    let cells = server.tally.of(worker);
    cells.sessions.count();
    cells.chosen.count();
    backend.tally.of(worker).chosen.count();
    if let Some(before) = &common.avoid {
        if Arc::ptr_eq(before, &server) {
            cells.retries.count();
            backend.tally.of(worker).retries.count();
        } else {
            common.redispatched = true;
            cells.redispatches.count();
            backend.tally.of(worker).redispatches.count();
        }
    }
    context.stick(backend, common, &server);
    common.assigned = Some(server);
}

/// A slot it waited for. False if it does not wait any more.
pub(crate) fn granted(common: &mut Common, server: &Arc<Server>, context: &Context) -> bool {
    let Upstream::Queued { since, .. } = common.upstream else {
        return false;
    };
    common.spent.queue = Spent::since(since, context.now);
    assigned(common, context, Arc::clone(server));
    common.upstream = Upstream::Opening { since: context.now };
    true
}

/// Has the kernel connect.
fn open(common: &mut Common, context: &mut Context, since: u64) -> Option<Progress> {
    let (Some(server), Some(backend)) = (common.assigned.clone(), common.backend.clone()) else {
        return Some(Progress::Failed(Termination::new(
            Cause::Internal,
            Phase::Connect,
        )));
    };
    common.server = None;
    common.target = server.target.load_full();
    let Some(target) = common.target.clone() else {
        return failed(common, context, since, Failure::Refused);
    };
    if super::http::reuse(common, &server, &target, context) {
        return Some(Progress::Joined);
    }
    let plan = backend.plan();
    server.tally.of(context.worker).connects.count();
    backend.tally.of(context.worker).connects.count();
    let (socket, connecting) = match socket_to(&target, &server, &plan.keepalive) {
        Ok(opened) => opened,
        Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::ADDRNOTAVAIL) => {
            return failed(common, context, since, Failure::Resource);
        }
        Err(_) => return failed(common, context, since, Failure::Refused),
    };
    let token = common.next_link(&mut context.links);
    if context.reactor.add(&socket, token).is_err() {
        return failed(common, context, since, Failure::Resource);
    }
    let endpoint = if connecting {
        Endpoint::connecting(socket)
    } else {
        Endpoint::accepted(socket)
    };
    common.server = Some(endpoint);
    let until = after(plan.timeouts.connect, context);
    common.upstream = Upstream::Connecting { since, until };
    None
}

/// A socket on its way to `target`, and whether it still is.
fn socket_to(target: &Target, server: &Server, keepalive: &Keepalive) -> Result<(OwnedFd, bool), Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (socket, connected) = match target {
        Target::Tcp(address) => {
            let family = if address.is_ipv4() {
                AddressFamily::INET
            } else {
                AddressFamily::INET6
            };
            let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
            let _slower = sockopt::set_tcp_nodelay(&socket, true);
            keep_alive(&socket, keepalive);
            if let Some(timeout) = server.plan().user_timeout {
                set_user_timeout(&socket, Some(timeout));
            }
            if let Some(source) = server.plan().source {
                sockopt::set_socket_reuseaddr(&socket, true)?;
                rustix::net::bind(&socket, &source)?;
            }
            pacing::end_within_host(&socket, address.ip());
            let connected = rustix::net::connect(&socket, address);
            // Again, now that the kernel has chosen this end's address.
            pacing::end_within_host(&socket, address.ip());
            (socket, connected)
        }
        Target::Unix(path) => {
            let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
            let connected = rustix::net::connect(&socket, &socket_address(path)?);
            (socket, connected)
        }
    };
    match connected {
        Ok(()) => Ok((socket, false)),
        Err(Errno::INPROGRESS | Errno::INTR) => Ok((socket, true)),
        Err(errno) => Err(errno),
    }
}

/// Has the kernel look after a connection on which nothing is said. What it does not support it does without.
pub(crate) fn keep_alive(socket: &impl std::os::fd::AsFd, keepalive: &Keepalive) {
    if !keepalive.on {
        return;
    }
    let set = || -> io::Result<()> {
        sockopt::set_socket_keepalive(socket, true)?;
        sockopt::set_tcp_keepidle(socket, keepalive.idle)?;
        sockopt::set_tcp_keepintvl(socket, keepalive.interval)?;
        Ok(sockopt::set_tcp_keepcnt(socket, keepalive.count)?)
    };
    if let Err(error) = set() {
        tracing::debug!(%error, "keepalive was not set");
    }
    // Who takes nothing is asked again as often as who says nothing, or `unanswered` would wait for two minutes. Older
    // kernels do wait.
    let interval = u32::try_from(keepalive.interval.as_millis()).unwrap_or(u32::MAX);
    let _unknown = nix::sys::socket::setsockopt(socket, RtoMax, &interval.clamp(1_000, 120_000));
}

const TCP_RTO_MAX_MS: libc::c_int = 44;

/// The longest pause between two packets that ask for an answer, in milliseconds. Since Linux 6.15.
#[derive(Clone, Copy, Debug)]
struct RtoMax;

nix::setsockopt_impl!(
    RtoMax,
    libc::IPPROTO_TCP,
    TCP_RTO_MAX_MS,
    u32,
    nix::sys::socket::sockopt::SetStruct<'_, u32>
);

/// Has the kernel end the connection when nothing of what was sent has been taken for so long.
pub(crate) fn set_user_timeout(socket: &impl std::os::fd::AsFd, timeout: Option<Duration>) {
    let timeout = timeout.map_or(0, |timeout| {
        u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX)
    });
    if let Err(error) = sockopt::set_tcp_user_timeout(socket, timeout) {
        tracing::debug!(%error, "TCP_USER_TIMEOUT was not set");
    }
}

/// What has become of the kernel's attempt.
fn watch(
    common: &mut Common,
    context: &mut Context,
    since: u64,
    until: Option<NonZeroU64>,
) -> Option<Progress> {
    let Some(endpoint) = &common.server else {
        return failed(common, context, since, Failure::Refused);
    };
    if !endpoint.writable {
        return if over(until, context) {
            failed(common, context, since, Failure::TimedOut)
        } else {
            Some(Progress::Pending)
        };
    }
    if endpoint.has_hung_up() && endpoint.error().is_some() {
        return failed(common, context, since, Failure::Refused);
    }
    let Some(server) = common.assigned.clone() else {
        return failed(common, context, since, Failure::Refused);
    };
    match introduction::begin(common, &server, context) {
        Ok(false) => joined(common, context, since),
        Ok(true) => {
            common.upstream = Upstream::Introducing { since, until };
            None
        }
        Err(introduction::Broken) => failed(common, context, since, Failure::Refused),
    }
}

/// How far TLS is.
fn introduce(
    common: &mut Common,
    context: &mut Context,
    since: u64,
    until: Option<NonZeroU64>,
) -> Option<Progress> {
    let Some(server) = common.assigned.clone() else {
        return failed(common, context, since, Failure::Refused);
    };
    match introduction::go_on(common, &server, context) {
        Ok(true) => joined(common, context, since),
        Ok(false) if over(until, context) => failed(common, context, since, Failure::TimedOut),
        Ok(false) => Some(Progress::Pending),
        Err(introduction::Broken) => failed(common, context, since, Failure::Refused),
    }
}

fn joined(common: &mut Common, context: &Context, since: u64) -> Option<Progress> {
    common.spent.connect = Spent::since(since, context.now);
    common.upstream = Upstream::Joined;
    if let Some(server) = &common.assigned {
        server.observed(Observe::Layer4, true);
    }
    Some(Progress::Joined)
}

/// An attempt has failed: the next one, or none.
fn failed(common: &mut Common, context: &mut Context, since: u64, failure: Failure) -> Option<Progress> {
    let (Some(server), Some(backend)) = (common.assigned.clone(), common.backend.clone()) else {
        return Some(Progress::Failed(Termination::new(
            Cause::Internal,
            Phase::Connect,
        )));
    };
    common.server = None;
    let plan = backend.plan();
    if failure != Failure::Resource {
        server.observed(Observe::Layer4, false);
    }
    if common.retries >= plan.retries {
        server.tally.of(context.worker).connect_errors.count();
        backend.tally.of(context.worker).connect_errors.count();
        let cause = match failure {
            Failure::Refused => Cause::ServerAborted,
            Failure::TimedOut => Cause::ServerTimeout,
            Failure::Resource => Cause::Resource,
        };
        return Some(Progress::Failed(Termination::new(cause, Phase::Connect)));
    }
    common.retries += 1;
    let turns = plan.balance.algorithm == Algorithm::RoundRobin && backend.usable() > 1;
    let elsewhere = plan
        .redispatch
        .is_some_and(|after| turns || falls_due(after, common.retries, plan.retries));
    let again = if elsewhere {
        common.avoid = Some(Arc::clone(&server));
        common.leave_server(context);
        Again::Choose
    } else {
        server.tally.of(context.worker).retries.count();
        backend.tally.of(context.worker).retries.count();
        Again::Open
    };
    common.upstream = match again {
        Again::Choose if turns => Upstream::Choosing { since: context.now },
        Again::Choose if failure == Failure::TimedOut => Upstream::Choosing { since: context.now },
        Again::Open if failure == Failure::TimedOut => Upstream::Opening { since },
        Again::Choose | Again::Open => {
            let pause = plan.timeouts.connect.map_or(PAUSE, |connect| connect.min(PAUSE));
            Upstream::Pausing {
                since,
                until: context.now + millis(pause),
                again,
            }
        }
    };
    None
}

/// The server that was joined left without a word: the next attempt, as if it had refused. A termination if there is
/// none.
pub(crate) fn again(common: &mut Common, context: &mut Context) -> Option<Termination> {
    common.changed = true;
    match failed(common, context, context.now, Failure::Refused) {
        Some(Progress::Failed(termination)) => Some(termination),
        Some(Progress::Pending | Progress::Joined) | None => None,
    }
}

/// Whether the attempt after `failures` failed ones of `1 + retries` may go elsewhere (`option redispatch [after]`).
fn falls_due(after: i32, failures: u32, retries: u32) -> bool {
    let every = if after > 0 {
        i64::from(after)
    } else {
        i64::from(retries) + 1 + i64::from(after)
    };
    every > 0 && i64::from(failures) % every == 0
}

/// As the worker counts.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redispatch_comes_with_the_last_retry_or_every_so_many() {
        let due = |after| {
            (1..=3)
                .filter(|failures| falls_due(after, *failures, 3))
                .collect::<Vec<_>>()
        };
        assert_eq!(due(-1), [3]);
        assert_eq!(due(1), [1, 2, 3]);
        assert_eq!(due(2), [2]);
        assert_eq!(due(-2), [2]);
        assert!(due(-9).is_empty());
    }
}
