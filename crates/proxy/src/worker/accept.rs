//! Listeners: who may come in, and which worker serves him.
//!
//! All workers wait for all listeners; the kernel wakes one. Whoever accepts gives the client to the worker with the
//! fewest sessions, so that long connections spread evenly. When there is no room (`maxconn`, rate limits) a listener is
//! not waited for until there is: clients wait in the kernel's queue, as with HAProxy.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::SocketFlags;
use warren_kit::repeats::Repeats;

use super::Listener;
use super::context::{Context, Entrance, Message, Peers};
use super::reactor::{Named, Token};
use crate::session::Arrival;
use crate::session::connect::{keep_alive, set_user_timeout};

/// Clients that one listener may bring in one turn of the loop.
const ACCEPTS_PER_TURN: usize = 32;
/// A listener that has stopped for want of room tries again after so many milliseconds even if nobody tells it.
const RETRY: u64 = 100;
/// The same while a rate is too high.
const RETRY_RATE: u64 = 10;

/// What is wrong for longer is said again after this.
const COMPLAINTS: Duration = Duration::from_secs(10);

/// A worker's listeners.
#[derive(Debug)]
pub(super) struct Doors {
    doors: slab::Slab<Door>,
    /// Those that are not waited for, by their numbers, and until when.
    closed: Vec<(usize, u64)>,
    complaints: Repeats,
}

#[derive(Debug)]
struct Door {
    socket: Arc<OwnedFd>,
    entrance: Arc<Entrance>,
}

/// Why nobody is let in.
enum Refusal {
    /// There is no room.
    Full,
    /// Too many came.
    TooFast,
    /// It was said so.
    Paused,
}

impl Doors {
    pub(super) const fn new() -> Self {
        Self {
            doors: slab::Slab::new(),
            closed: Vec::new(),
            complaints: Repeats::new(COMPLAINTS),
        }
    }

    /// From now on these and no others.
    pub(super) fn listen(&mut self, listeners: &[Listener], context: &Context) {
        self.doors.retain(|_, door| {
            let stays = listeners
                .iter()
                .any(|listener| Arc::ptr_eq(&listener.socket, &door.socket));
            if !stays {
                context.reactor.remove(&door.socket);
            }
            stays
        });
        self.closed.retain(|(number, _)| self.doors.contains(*number));
        for listener in listeners {
            prepare(listener);
            let entrance = Arc::new(Entrance::of(listener));
            let known = self
                .doors
                .iter_mut()
                .find(|(_, door)| Arc::ptr_eq(&listener.socket, &door.socket));
            if let Some((_, door)) = known {
                door.entrance = entrance;
                continue;
            }
            let number = self.doors.insert(Door {
                socket: Arc::clone(&listener.socket),
                entrance,
            });
            self.open(number, context);
        }
    }

    /// When a listener that is not waited for has to be looked at.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.closed.iter().map(|(_, until)| *until).min()
    }

    /// Waits again for those that were closed until now or, if there is `room`, for whatever reason.
    pub(super) fn reopen(&mut self, room: bool, context: &Context) {
        for (number, until) in std::mem::take(&mut self.closed) {
            if room || until <= context.now {
                self.open(number, context);
            } else {
                self.closed.push((number, until));
            }
        }
    }

    fn open(&mut self, number: usize, context: &Context) {
        let Some(door) = self.doors.get(number) else {
            return;
        };
        let token = Token::new(Named::Listener(number as u32));
        if let Err(error) = context.reactor.add_shared(&door.socket, token) {
            tracing::warn!(%error, "a listener cannot be waited for; trying again");
            self.closed.push((number, context.now + RETRY));
        }
    }

    /// Somebody waits at this listener.
    pub(super) fn accept(&mut self, number: u32, context: &mut Context) {
        let number = number as usize;
        let Some(door) = self.doors.get(number) else {
            return;
        };
        for _ in 0..ACCEPTS_PER_TURN {
            let pause = match admit(&door.entrance, context) {
                Ok(()) => match accept(&door.socket) {
                    Ok((socket, address)) => {
                        settle(&door.entrance, context);
                        let entrance = Arc::clone(&door.entrance);
                        hand_over(
                            Arrival {
                                socket,
                                address,
                                entrance,
                            },
                            context,
                        );
                        continue;
                    }
                    Err(errno) => {
                        dismiss(&door.entrance, context);
                        match errno {
                            Errno::AGAIN => return,
                            // These clients are gone already; there may be others.
                            Errno::CONNABORTED | Errno::INTR | Errno::PERM | Errno::PROTO => continue,
                            _ => {
                                if let Some(unsaid) = self.complaints.pass(Instant::now()) {
                                    tracing::warn!(error = %errno, unsaid, "accepting has failed; trying again");
                                }
                                RETRY
                            }
                        }
                    }
                },
                Err(Refusal::Full) => {
                    context.peers.full.fetch_or(Peers::bit(context.worker), Relaxed);
                    RETRY
                }
                Err(Refusal::Paused) => RETRY,
                Err(Refusal::TooFast) => RETRY_RATE,
            };
            context.reactor.remove(&door.socket);
            self.closed.push((number, context.now + pause));
            return;
        }
    }
}

/// Options that accepted sockets inherit, so that they need not be set for each.
fn prepare(listener: &Listener) {
    if matches!(listener.bind.address, crate::plan::BindAddress::Tcp(_)) {
        let _slower = rustix::net::sockopt::set_tcp_nodelay(&listener.socket, true);
        keep_alive(&listener.socket, &listener.frontend.plan().keepalive);
        set_user_timeout(&listener.socket, listener.bind.user_timeout);
    }
}

fn accept(socket: &OwnedFd) -> Result<(OwnedFd, Option<SocketAddr>), Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (client, address) = rustix::net::acceptfrom_with(socket, flags)?;
    let address = address.and_then(|address| SocketAddr::try_from(address).ok());
    if let Some(address) = address {
        warren_kit::pacing::end_within_host(&client, address.ip());
    }
    Ok((client, address))
}

/// Takes a place in the process, the frontend and the listener, before there is a client for it: so that no client is
/// accepted who has none.
fn admit(entrance: &Entrance, context: &Context) -> Result<(), Refusal> {
    let frontend = &entrance.frontend;
    if frontend.paused.load(Relaxed) || frontend.stopped.load(Relaxed) {
        return Err(Refusal::Paused);
    }
    let plan = frontend.plan();
    let global = &context.live.snapshot().plan.global;
    let number = |limit: Option<NonZeroU32>| limit.map_or(u32::MAX, NonZeroU32::get);
    let set = |value: &std::sync::atomic::AtomicU32, configured: u32| match value.load(Relaxed) {
        0 => configured,
        set => set,
    };
    let rate = set(&frontend.rate_limit, number(plan.rate_limit));
    if rate != u32::MAX && frontend.session_rate.now(context.time()) >= rate {
        return Err(Refusal::TooFast);
    }
    let live = &context.live;
    let rates = [
        (
            &live.rate_limits.connections,
            number(global.maxconnrate),
            &live.connection_rate,
        ),
        (&live.rate_limits.sessions, u32::MAX, &live.session_rate),
    ];
    let handshakes = (
        &live.rate_limits.handshakes,
        number(global.maxsslrate),
        &live.tls_rate,
    );
    let of_tls = entrance.tls.is_some().then_some(handshakes);
    let too_fast = |(limit, configured, rate): (_, u32, &crate::live::Rate)| {
        let limit = set(limit, configured);
        limit != u32::MAX && rate.now(context.time()) >= limit
    };
    if rates.into_iter().chain(of_tls).any(too_fast) {
        return Err(Refusal::TooFast);
    }
    if !live
        .connections
        .enter_below(set(&live.maxconn, global.maxconn.get()))
    {
        return Err(Refusal::Full);
    }
    if !frontend
        .sessions
        .enter_below(set(&frontend.maxconn, plan.maxconn.get()))
    {
        context.live.connections.withdraw();
        return Err(Refusal::Full);
    }
    if !entrance.load.enter_below(number(entrance.bind.maxconn)) {
        frontend.sessions.withdraw();
        context.live.connections.withdraw();
        return Err(Refusal::Full);
    }
    Ok(())
}

/// The place is taken.
fn settle(entrance: &Entrance, context: &Context) {
    let frontend = &entrance.frontend;
    context.live.connections.settle();
    frontend.sessions.settle();
    entrance.load.settle();
    context.live.connection_rate.count(context.time());
    frontend.connection_rate.count(context.time());
    if entrance.tls.is_some() {
        context.live.tls_rate.count(context.time());
    }
    context.live.tally.of(context.worker).connections.count();
    frontend.tally.of(context.worker).connections.count();
}

/// The place is free again: nobody came.
fn dismiss(entrance: &Entrance, context: &Context) {
    entrance.load.withdraw();
    entrance.frontend.sessions.withdraw();
    context.live.connections.withdraw();
}

/// To the worker with the fewest sessions; to this one if it has no more than others.
fn hand_over(arrival: Arrival, context: &mut Context) {
    let chosen = context.peers.enter_least(context.worker);
    let mut message = Message::Arrival(arrival);
    if chosen != context.worker {
        match context.peers.mailboxes[chosen].offer(message) {
            Ok(()) => return,
            // Its mailbox is full of clients: it cannot be the least loaded for long.
            Err(refused) => message = refused,
        }
        context.peers.leave(chosen);
        context.peers.enter(context.worker);
    }
    context.own.push_back(message);
}
