//! Connections to servers that have answered a request and wait for another, whoever's.
//!
//! A worker's connections stay with it, and stay registered with the kernel as they are (see [`links`](crate::worker::links)).
//! One that says anything while it is idle, or is closed by its server, is dropped at once.
//!
//! They are given up after [`IDLE`]: shorter than what servers usually wait, so that a request seldom meets a server
//! that is just closing. However many there are, each is found at once, by its link or by its server.

use std::collections::HashMap;
use std::sync::Arc;

use slab::Slab;
use warren_balance::hash::Known;

use crate::live::{Server, Target};
use crate::session::endpoint::{Endpoint, Received};
use crate::worker::links::{Link, Links, Whose};
use crate::worker::reactor::Ready;

/// How long one waits for another request, in milliseconds. Node.js closes after 5 s, and others later.
const IDLE: u64 = 4_000;
/// Connections that wait in one worker. Beyond, the oldest is dropped.
const CONNECTIONS_MAX: usize = 4_096;

/// A worker's idle connections to servers.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    idle: Slab<Idle>,
    /// All of them.
    all: Chain,
    /// Those to each server, by where it is in memory.
    servers: HashMap<usize, Chain, Known>,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Idle {
    server: Arc<Server>,
    target: Arc<Target>,
    link: Link,
    until: u64,
    endpoint: Endpoint,
    /// Who came before and after it: among all, and among those to its server.
    beside: [[Option<u32>; 2]; 2],
}

/// Connections in the order in which they came: the first and the last.
#[derive(Clone, Copy, Debug, Default)]
struct Chain([Option<u32>; 2]);

/// Which chain a connection is in: that of all, or that of its server.
const ALL: usize = 0;
const OWN: usize = 1;

impl Idle {
    /// One that waits from now on.
    pub(crate) fn new(
        server: Arc<Server>,
        target: Arc<Target>,
        link: Link,
        endpoint: Endpoint,
        now: u64,
    ) -> Self {
        Self {
            server,
            target,
            link,
            until: now + IDLE,
            endpoint,
            beside: [[None; 2]; 2],
        }
    }
}

impl Pool {
    /// It is nobody's, until somebody takes it.
    pub(crate) fn put(&mut self, idle: Idle, links: &mut Links) {
        if self.idle.len() >= CONNECTIONS_MAX
            && let Some(oldest) = self.all.first()
        {
            self.discard(oldest, links);
        }
        let (link, place) = (idle.link, place(&idle.server));
        let key = self.idle.insert(idle) as u32;
        links.give(link, Whose::Idle(key));
        self.all.append(key, ALL, &mut self.idle);
        let own = self.servers.entry(place).or_default();
        own.append(key, OWN, &mut self.idle);
    }

    /// One to this server, wherever it is now: this one if it is still there, rather than the one that came last. Its
    /// link is for whoever asks.
    pub(crate) fn take(
        &mut self,
        server: &Arc<Server>,
        target: &Target,
        own: Option<Link>,
        links: &mut Links,
    ) -> Option<(Endpoint, Link)> {
        let own = own.and_then(|link| match links.whose(link)? {
            Whose::Idle(key) => Some(key),
            Whose::Session(_) => None,
        });
        let own = own.filter(|key| self.leads_to(*key, server, target));
        loop {
            let last = || self.servers.get(&place(server))?.last();
            let key = own.or_else(last)?;
            if self.leads_to(key, server, target) {
                let idle = self.remove(key)?;
                return Some((idle.endpoint, idle.link));
            }
            // Where the server was before nobody wants to go any more.
            self.discard(key, links);
        }
    }

    fn leads_to(&self, key: u32, server: &Arc<Server>, target: &Target) -> bool {
        let idle = self.idle.get(key as usize);
        idle.is_some_and(|idle| Arc::ptr_eq(&idle.server, server) && *idle.target == *target)
    }

    /// An event of one. An idle server has nothing to say but that it closes.
    pub(crate) fn note(&mut self, key: u32, ready: Ready, links: &mut Links) {
        let Some(idle) = self.idle.get_mut(key as usize) else {
            return;
        };
        idle.endpoint.note(ready);
        // The event may be older than the answer that was read since. Over TLS, too, an idle socket has no octets.
        let quiet =
            !idle.endpoint.has_hung_up() && (!ready.read || idle.endpoint.peek(&mut [0]) == Received::Wait);
        if !quiet {
            self.discard(key, links);
        }
    }

    /// When [`Pool::expire`] has something to do.
    pub(crate) fn deadline(&self) -> Option<u64> {
        Some(self.idle.get(self.all.first()? as usize)?.until)
    }

    /// Drops those that have waited long enough.
    pub(crate) fn expire(&mut self, now: u64, links: &mut Links) {
        while let Some(oldest) = self.all.first()
            && self
                .idle
                .get(oldest as usize)
                .is_some_and(|idle| idle.until <= now)
        {
            self.discard(oldest, links);
        }
    }

    /// Closes it.
    fn discard(&mut self, key: u32, links: &mut Links) {
        if let Some(idle) = self.remove(key) {
            links.close(idle.link, Whose::Idle(key));
        }
    }

    fn remove(&mut self, key: u32) -> Option<Idle> {
        let idle = self.idle.try_remove(key as usize)?;
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
    const fn first(self) -> Option<u32> {
        self.0[0]
    }

    const fn last(self) -> Option<u32> {
        self.0[1]
    }

    fn append(&mut self, key: u32, chain: usize, idle: &mut Slab<Idle>) {
        let before = self.0[1].replace(key);
        match before.and_then(|before| idle.get_mut(before as usize)) {
            Some(before) => before.beside[chain][1] = Some(key),
            None => self.0[0] = Some(key),
        }
        if let Some(new) = idle.get_mut(key as usize) {
            new.beside[chain] = [before, None];
        }
    }

    /// The one between these two is gone.
    fn unlink(&mut self, [before, after]: [Option<u32>; 2], chain: usize, idle: &mut Slab<Idle>) {
        match before.and_then(|before| idle.get_mut(before as usize)) {
            Some(before) => before.beside[chain][1] = after,
            None => self.0[0] = after,
        }
        match after.and_then(|after| idle.get_mut(after as usize)) {
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
    use crate::worker::reactor::Place;

    /// A pool, the links of a worker, and two servers that are at the same place.
    struct Fixture {
        pool: Pool,
        links: Links,
        servers: [Arc<Server>; 2],
        target: Arc<Target>,
    }

    impl Fixture {
        fn new() -> Self {
            let address = "127.0.0.1:1".parse().unwrap();
            let live = Live::new(Arc::new(testing::plan(&[address, address])));
            let servers = live.snapshot().backends[0].servers();
            Self {
                pool: Pool::default(),
                links: Links::default(),
                servers: [0, 1].map(|place: usize| Arc::clone(&servers[place])),
                target: Arc::new(Target::Tcp(address)),
            }
        }

        /// A connection to a server that becomes idle.
        fn put(&mut self, server: usize, endpoint: Endpoint, now: u64) -> Link {
            self.put_to(server, Arc::clone(&self.target), endpoint, now)
        }

        fn put_to(&mut self, server: usize, target: Arc<Target>, endpoint: Endpoint, now: u64) -> Link {
            let (link, _) = self.links.open(Place {
                slot: 1,
                generation: 1,
            });
            let server = Arc::clone(&self.servers[server]);
            let idle = Idle::new(server, target, link, endpoint, now);
            self.pool.put(idle, &mut self.links);
            link
        }

        fn take(&mut self, server: usize, own: Option<Link>) -> Option<Link> {
            let (server, links) = (&self.servers[server], &mut self.links);
            let (_, link) = self.pool.take(server, &self.target, own, links)?;
            let place = Place {
                slot: 2,
                generation: 1,
            };
            self.links.give(link, Whose::Session(place));
            Some(link)
        }

        fn is_empty(&self) -> bool {
            let pool = &self.pool;
            let ends = (pool.all.first(), pool.all.last());
            pool.idle.is_empty() && pool.servers.is_empty() && ends == (None, None)
        }
    }

    fn idle() -> (Endpoint, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (Endpoint::accepted(ours.into()), theirs)
    }

    #[test]
    fn who_has_had_one_gets_it_back_and_others_get_the_last_one_to_their_server() {
        let mut fixture = Fixture::new();
        let links: [Link; 6] = std::array::from_fn(|number| fixture.put(number % 2, idle().0, 0));
        let own = |number: usize| Some(links[number]);
        assert_eq!(fixture.take(0, own(0)), own(0));
        assert_eq!(fixture.take(1, own(2)), own(5), "its own is another server's");
        assert_eq!(fixture.take(0, None), own(4));
        assert_eq!(
            fixture.take(0, own(0)),
            own(2),
            "its own is somebody else's by now"
        );
        assert_eq!(fixture.take(0, None), None);
        assert_eq!((fixture.take(1, own(3)), fixture.take(1, None)), (own(3), own(1)));
        assert!(fixture.is_empty());
    }

    #[test]
    fn nobody_gets_a_connection_to_where_the_server_was_before() {
        let mut fixture = Fixture::new();
        let elsewhere = Arc::new(Target::Tcp("127.0.0.1:2".parse().unwrap()));
        let there = fixture.put(0, idle().0, 0);
        let before = fixture.put_to(0, elsewhere, idle().0, 0);
        assert_eq!(fixture.take(0, Some(before)), Some(there));
        assert!(fixture.is_empty());
        assert_eq!(fixture.links.whose(before), None);
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
        let mut fixture = Fixture::new();
        let (endpoint, _their_end) = idle();
        let count = CONNECTIONS_MAX + 3;
        for number in 0..count {
            let socket = endpoint.as_fd().try_clone_to_owned().unwrap();
            fixture.put(
                usize::from(number % 3 > 0),
                Endpoint::accepted(socket),
                number as u64,
            );
        }
        let open = |fixture: &Fixture| {
            assert_eq!(fixture.pool.idle.len(), fixture.links.len(), "one link for each");
            fixture.pool.idle.len()
        };
        assert_eq!(open(&fixture), CONNECTIONS_MAX);
        assert_eq!(fixture.pool.deadline(), Some(3 + IDLE));
        fixture.pool.expire(IDLE + 99, &mut fixture.links);
        assert_eq!(
            (open(&fixture), fixture.pool.deadline()),
            (count - 100, Some(100 + IDLE))
        );
        fixture.pool.expire(u64::MAX, &mut fixture.links);
        assert!(fixture.is_empty());
        assert_eq!(open(&fixture), 0);
    }

    #[test]
    fn one_that_says_anything_or_closes_is_dropped() {
        use std::io::Write;
        let mut fixture = Fixture::new();
        for (says, hangs_up) in [(false, false), (true, false), (false, true)] {
            let (endpoint, mut theirs) = idle();
            let link = fixture.put(0, endpoint, 0);
            if says {
                theirs.write_all(b"x").unwrap();
            }
            let ready = Ready {
                read: true,
                hung_up: hangs_up,
                ..Ready::default()
            };
            let Some(Whose::Idle(key)) = fixture.links.whose(link) else {
                panic!("it waits");
            };
            fixture.pool.note(key, ready, &mut fixture.links);
            assert_eq!(fixture.links.whose(link).is_some(), !says && !hangs_up);
        }
        assert!(fixture.take(0, None).is_some() && fixture.is_empty());
    }
}
