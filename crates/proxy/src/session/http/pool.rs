//! Connections to servers that have answered a request and wait for another, whoever's.
//!
//! A worker's connections stay with it. An idle one keeps the name under which its socket's events come, that of the
//! session that opened it: the same session gets it back without a word to the kernel. One that says anything while
//! it is idle, or is closed by its server, is dropped at once.
//!
//! They are given up after [`IDLE`]: shorter than what servers usually wait, so that a request seldom meets a server
//! that is just closing. However many there are, each is found at once, by the name of its events or by its server.

use std::collections::HashMap;
use std::sync::Arc;

use slab::Slab;

use crate::live::{Server, Target};
use crate::session::endpoint::{Endpoint, Received};
use crate::worker::reactor::{Place, Ready};

/// How long one waits for another request, in milliseconds. Node.js closes after 5 s, and others later.
const IDLE: u64 = 4_000;
/// Connections that wait in one worker. Beyond, the oldest is dropped.
const CONNECTIONS_MAX: usize = 4_096;

/// Under which name a socket's events come: a session, and which of its attempts.
pub(crate) type Owner = (Place, u8);

/// A worker's idle connections to servers.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    idle: Slab<Idle>,
    owners: HashMap<Owner, usize>,
    /// All of them.
    all: Chain,
    /// Those to each server, by where it is in memory.
    servers: HashMap<usize, Chain>,
}

#[derive(Debug)]
struct Idle {
    server: Arc<Server>,
    target: Arc<Target>,
    owner: Owner,
    until: u64,
    endpoint: Endpoint,
    /// Who came before and after it: among all, and among those to its server.
    beside: [[Option<usize>; 2]; 2],
}

/// Connections in the order in which they came: the first and the last.
#[derive(Clone, Copy, Debug, Default)]
struct Chain([Option<usize>; 2]);

/// Which chain a connection is in: that of all, or that of its server.
const ALL: usize = 0;
const OWN: usize = 1;

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
        if self.idle.len() >= CONNECTIONS_MAX
            && let Some(oldest) = self.all.first()
        {
            self.remove(oldest);
        }
        // A session's attempts have so many names, and then the first one again.
        if let Some(known) = self.owners.get(&owner).copied() {
            self.remove(known);
        }
        let place = place(&server);
        let key = self.idle.insert(Idle {
            server,
            target,
            owner,
            until: now + IDLE,
            endpoint,
            beside: [[None; 2]; 2],
        });
        self.owners.insert(owner, key);
        self.all.append(key, ALL, &mut self.idle);
        let own = self.servers.entry(place).or_default();
        own.append(key, OWN, &mut self.idle);
    }

    /// One to this server, wherever it is now: that of the session itself, which has it under this name, rather than the
    /// one that came last.
    pub(crate) fn take(&mut self, server: &Arc<Server>, target: &Target, owner: Owner) -> Option<Reused> {
        let own = self.owners.get(&owner).copied();
        let own = own.filter(|key| self.leads_to(*key, server, target));
        loop {
            let last = || self.servers.get(&place(server))?.last();
            let key = own.or_else(last)?;
            let fits = self.leads_to(key, server, target);
            let idle = self.remove(key)?;
            // Where the server was before nobody wants to go any more.
            if fits {
                return Some(Reused {
                    endpoint: idle.endpoint,
                    owner: idle.owner,
                });
            }
        }
    }

    fn leads_to(&self, key: usize, server: &Arc<Server>, target: &Target) -> bool {
        let idle = self.idle.get(key);
        idle.is_some_and(|idle| Arc::ptr_eq(&idle.server, server) && *idle.target == *target)
    }

    /// An event of a socket that is nobody's else. An idle server has nothing to say but that it closes.
    pub(crate) fn note(&mut self, owner: Owner, ready: Ready) {
        let Some(key) = self.owners.get(&owner).copied() else {
            return;
        };
        let Some(idle) = self.idle.get_mut(key) else {
            return;
        };
        idle.endpoint.note(ready);
        // The event may be older than the answer that was read since. Over TLS, too, an idle socket has no octets.
        let quiet =
            !idle.endpoint.has_hung_up() && (!ready.read || idle.endpoint.peek(&mut [0]) == Received::Wait);
        if !quiet {
            self.remove(key);
        }
    }

    /// When [`Pool::expire`] has something to do.
    pub(crate) fn deadline(&self) -> Option<u64> {
        Some(self.idle.get(self.all.first()?)?.until)
    }

    /// Drops those that have waited long enough.
    pub(crate) fn expire(&mut self, now: u64) {
        while let Some(oldest) = self.all.first()
            && self.idle.get(oldest).is_some_and(|idle| idle.until <= now)
        {
            self.remove(oldest);
        }
    }

    fn remove(&mut self, key: usize) -> Option<Idle> {
        let idle = self.idle.try_remove(key)?;
        self.owners.remove(&idle.owner);
        self.all.unlink(idle.beside[ALL], ALL, &mut self.idle);
        let place = place(&idle.server);
        if let Some(own) = self.servers.get_mut(&place) {
            own.unlink(idle.beside[OWN], OWN, &mut self.idle);
            if own.first().is_none() {
                self.servers.remove(&place);
            }
        }
        Some(idle)
    }
}

/// Where a server is in memory; an idle connection keeps it there.
fn place(server: &Arc<Server>) -> usize {
    Arc::as_ptr(server).addr()
}

impl Chain {
    const fn first(self) -> Option<usize> {
        self.0[0]
    }

    const fn last(self) -> Option<usize> {
        self.0[1]
    }

    fn append(&mut self, key: usize, chain: usize, idle: &mut Slab<Idle>) {
        let before = self.0[1].replace(key);
        match before.and_then(|before| idle.get_mut(before)) {
            Some(before) => before.beside[chain][1] = Some(key),
            None => self.0[0] = Some(key),
        }
        if let Some(new) = idle.get_mut(key) {
            new.beside[chain] = [before, None];
        }
    }

    /// The one between these two is gone.
    fn unlink(&mut self, [before, after]: [Option<usize>; 2], chain: usize, idle: &mut Slab<Idle>) {
        match before.and_then(|before| idle.get_mut(before)) {
            Some(before) => before.beside[chain][1] = after,
            None => self.0[0] = after,
        }
        match after.and_then(|after| idle.get_mut(after)) {
            Some(after) => after.beside[chain][0] = before,
            None => self.0[1] = before,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::live::Live;
    use crate::plan::testing;

    /// Two servers, where they are, and a pool.
    fn pool() -> (Pool, [Arc<Server>; 2], Arc<Target>) {
        let address = "127.0.0.1:1".parse().unwrap();
        let live = Live::new(Arc::new(testing::plan(&[address, address])));
        let servers = live.snapshot().backends[0].servers();
        let servers = [0, 1].map(|place: usize| Arc::clone(&servers[place]));
        (Pool::default(), servers, Arc::new(Target::Tcp(address)))
    }

    fn owner(slot: u32) -> Owner {
        (Place { slot, generation: 1 }, 1)
    }

    fn idle() -> (Endpoint, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (Endpoint::accepted(ours.into()), theirs)
    }

    #[test]
    fn who_has_one_gets_it_back_and_others_get_the_last_one_to_their_server() {
        let (mut pool, [one, two], target) = pool();
        for slot in 0..6 {
            let server = if slot % 2 == 0 { &one } else { &two };
            pool.put(Arc::clone(server), Arc::clone(&target), owner(slot), idle().0, 0);
        }
        let mut take = |server, slot| Some(pool.take(server, &target, owner(slot))?.owner);
        assert_eq!(take(&one, 0), Some(owner(0)));
        assert_eq!(take(&two, 2), Some(owner(5)), "its own is another server's");
        assert_eq!(take(&one, 9), Some(owner(4)));
        assert_eq!(take(&one, 9), Some(owner(2)));
        assert_eq!(take(&one, 9), None);
        assert_eq!((take(&two, 3), take(&two, 9)), (Some(owner(3)), Some(owner(1))));
        assert!(pool.idle.is_empty() && pool.owners.is_empty() && pool.servers.is_empty());
        assert_eq!((pool.all.first(), pool.all.last()), (None, None));
    }

    #[test]
    fn nobody_gets_a_connection_to_where_the_server_was_before() {
        let (mut pool, [one, _], target) = pool();
        let elsewhere = Arc::new(Target::Tcp("127.0.0.1:2".parse().unwrap()));
        pool.put(Arc::clone(&one), Arc::clone(&elsewhere), owner(1), idle().0, 0);
        pool.put(Arc::clone(&one), target, owner(2), idle().0, 0);
        assert_eq!(pool.take(&one, &elsewhere, owner(2)).unwrap().owner, owner(1));
        assert!(pool.idle.is_empty());
    }

    #[test]
    fn they_are_given_up_in_their_order_when_their_time_is_over_or_there_are_too_many() {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        let most = Rlimit {
            current: limit.maximum,
            ..limit
        };
        setrlimit(Resource::Nofile, most).unwrap();
        let (mut pool, [one, two], target) = pool();
        let (endpoint, _their_end) = idle();
        let count = CONNECTIONS_MAX as u32 + 3;
        for slot in 0..count {
            let server = if slot % 3 == 0 { &one } else { &two };
            let socket = endpoint.as_fd().try_clone_to_owned().unwrap();
            let endpoint = Endpoint::accepted(socket);
            pool.put(
                Arc::clone(server),
                Arc::clone(&target),
                owner(slot),
                endpoint,
                slot.into(),
            );
        }
        assert_eq!(pool.idle.len(), CONNECTIONS_MAX);
        assert_eq!(pool.deadline(), Some(3 + IDLE));
        pool.expire(IDLE + 99);
        assert_eq!(
            (pool.idle.len(), pool.deadline()),
            (count as usize - 100, Some(100 + IDLE))
        );
        pool.expire(u64::MAX);
        assert!(pool.idle.is_empty() && pool.owners.is_empty() && pool.servers.is_empty());
    }

    #[test]
    fn one_that_says_anything_or_closes_is_dropped() {
        use std::io::Write;
        let (mut pool, [one, _], target) = pool();
        let ready = |hung_up| Ready {
            read: true,
            hung_up,
            ..Ready::default()
        };
        for (slot, says, hangs_up) in [(1, false, false), (2, true, false), (3, false, true)] {
            let (endpoint, mut theirs) = idle();
            pool.put(Arc::clone(&one), Arc::clone(&target), owner(slot), endpoint, 0);
            if says {
                theirs.write_all(b"x").unwrap();
            }
            pool.note(owner(slot), ready(hangs_up));
            assert_eq!(pool.owners.contains_key(&owner(slot)), slot == 1);
        }
        assert_eq!(pool.take(&one, &target, owner(1)).unwrap().owner, owner(1));
    }
}
