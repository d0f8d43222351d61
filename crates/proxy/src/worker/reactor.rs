//! What a worker asks the kernel about many sockets at once: epoll, edge-triggered.
//!
//! A socket is registered once, when it is opened, and leaves by being closed. Its token names a session or a [`Link`],
//! and a generation, so that an event that was fetched before its socket was closed harms nobody.
//! Events are hints: only the next `recv` or `send` says what is the case.
//!
//! These few calls are all that the rest knows of epoll.

use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use super::links::Link;

/// Events fetched at once.
const EVENTS_MAX: usize = 512;

/// Whom an event concerns: `generation (32) | slot (30) | kind (2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Token(u64);

/// What a token names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// A session's client.
    Client(Place),
    /// A socket towards a server: its link, and which of those that had it.
    Server(Link, u32),
    /// A listener, by its number.
    Listener(u32),
    /// The mailbox.
    Mailbox,
}

/// Where a session is: its slot, and who is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// Index of the slab, below [`Place::SLOTS`].
    pub(crate) slot: u32,
    /// The lower half of the session's number.
    pub(crate) generation: u32,
}

impl Place {
    /// Sessions of one worker at once.
    pub(crate) const SLOTS: usize = 1 << 24;

    /// As one number, for whoever has to name a session of this worker.
    pub(crate) const fn number(self) -> u64 {
        (self.generation as u64) << 32 | self.slot as u64
    }

    /// The opposite of [`Place::number`].
    pub(crate) const fn from_number(number: u64) -> Self {
        Self {
            slot: (number & 0xffff_ffff) as u32,
            generation: (number >> 32) as u32,
        }
    }
}

impl Token {
    pub(crate) const fn new(named: Named) -> Self {
        let (generation, slot, kind) = match named {
            Named::Client(place) => (place.generation, place.slot, 0),
            Named::Server(link, socket) => (socket, link.0.get(), 1),
            Named::Listener(number) => (0, number, 2),
            Named::Mailbox => (0, 0, 3),
        };
        Self((generation as u64) << 32 | (slot as u64) << 2 | kind)
    }

    /// Whether it names a socket towards a server.
    const fn is_server(self) -> bool {
        matches!(self.named(), Named::Server(..))
    }

    pub(crate) const fn named(self) -> Named {
        let (slot, generation) = ((self.0 as u32) >> 2, (self.0 >> 32) as u32);
        match (self.0 & 3, NonZeroU32::new(slot)) {
            (0, _) => Named::Client(Place { slot, generation }),
            (1, Some(slot)) => Named::Server(Link(slot), generation),
            (2, _) => Named::Listener(slot),
            _ => Named::Mailbox,
        }
    }
}

/// What may be possible now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ready {
    /// Reading.
    pub(crate) read: bool,
    /// Writing.
    pub(crate) write: bool,
    /// The other end has closed its direction, or the connection is gone: reading on will tell.
    pub(crate) hung_up: bool,
    /// The connection is gone, or never came to be.
    pub(crate) failed: bool,
}

/// The kernel's list of sockets.
#[derive(Debug)]
pub(crate) struct Reactor {
    epoll: OwnedFd,
}

/// What was fetched last. Stays on its thread.
pub(crate) struct Events(Vec<epoll::Event>);

impl Default for Events {
    fn default() -> Self {
        Self(Vec::with_capacity(EVENTS_MAX))
    }
}

impl Reactor {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
        })
    }

    /// A socket of a session, both directions, for as long as it is open.
    pub(crate) fn add(&self, socket: impl AsFd, token: Token) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        Ok(epoll::add(
            &self.epoll,
            socket,
            EventData::new_u64(token.0),
            flags,
        )?)
    }

    /// A listener or the mailbox. Of all workers that wait for a listener one is woken, and again as long as there is
    /// something to accept.
    pub(crate) fn add_shared(&self, socket: impl AsFd, token: Token) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::EXCLUSIVE;
        Ok(epoll::add(
            &self.epoll,
            socket,
            EventData::new_u64(token.0),
            flags,
        )?)
    }

    /// Hears no more of it, though it stays open.
    pub(crate) fn remove(&self, socket: impl AsFd) {
        // It may have been closed, or never been added: both are what is wanted.
        let _gone = epoll::delete(&self.epoll, socket);
    }

    /// Waits until something happens or `timeout` is over (`None` is for ever). Says how many events there are.
    pub(crate) fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<usize> {
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        });
        events.0.clear();
        let free = rustix::buffer::spare_capacity(&mut events.0);
        match epoll::wait(&self.epoll, free, timeout.as_ref()) {
            Ok(count) => Ok(count),
            Err(rustix::io::Errno::INTR) => Ok(0),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Events {
    /// All that were fetched: first what servers have said, then the rest.
    ///
    /// A process that is sent many messages in a row is woken once. Where messages for servers and for clients take turns, each
    /// has fallen asleep again when its next one comes; to wake it costs as much as a third of passing the message on.
    pub(crate) fn by_side(&self) -> impl Iterator<Item = (Token, Ready)> {
        let all = || (0..self.0.len()).filter_map(|index| self.get(index));
        let servers = all().filter(|(token, _)| token.is_server());
        servers.chain(all().filter(|(token, _)| !token.is_server()))
    }

    /// Whom an event concerns, and what it says.
    fn get(&self, index: usize) -> Option<(Token, Ready)> {
        let epoll::Event { flags, data, .. } = *self.0.get(index)?;
        let failed = flags.intersects(EventFlags::ERR | EventFlags::HUP);
        let hung_up = failed || flags.contains(EventFlags::RDHUP);
        let ready = Ready {
            read: hung_up || flags.contains(EventFlags::IN),
            write: failed || flags.contains(EventFlags::OUT),
            hung_up,
            failed,
        };
        Some((Token(data.u64()), ready))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_token_says_again_what_it_was_made_of() {
        let place = Place {
            slot: 0x00ff_fffe,
            generation: 0xdead_beef,
        };
        for named in [
            Named::Client(place),
            Named::Server(Link::LAST, u32::MAX),
            Named::Listener(7),
            Named::Mailbox,
        ] {
            assert_eq!(Token::new(named).named(), named);
        }
        assert_eq!(Place::from_number(place.number()), place);
    }

    #[test]
    fn what_servers_say_comes_first_and_nothing_is_left_out() {
        let (reactor, mut events) = (Reactor::new().unwrap(), Events::default());
        let pairs: Vec<_> = (0..6).map(|_| UnixStream::pair().unwrap()).collect();
        let place = |slot| Place { slot, generation: 1 };
        let link = |slot| Link(NonZeroU32::new(slot).unwrap());
        let tokens = [
            Named::Client(place(0)),
            Named::Server(link(1), 1),
            Named::Mailbox,
            Named::Server(link(2), 1),
            Named::Client(place(1)),
            Named::Listener(0),
        ];
        for ((ours, _), named) in pairs.iter().zip(tokens) {
            reactor.add(ours, Token::new(named)).unwrap();
        }
        assert_eq!(reactor.wait(&mut events, Some(Duration::ZERO)).unwrap(), 6);
        let found: Vec<Named> = events.by_side().map(|(token, _)| token.named()).collect();
        assert_eq!(found, [1, 3, 0, 2, 4, 5].map(|index| tokens[index]));
    }

    #[test]
    fn an_edge_is_told_once_and_a_hang_up_with_what_is_left_to_read() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (reactor, mut events) = (Reactor::new().unwrap(), Events::default());
        let token = Token::new(Named::Listener(3));
        reactor.add(&ours, token).unwrap();
        let now = Some(Duration::ZERO);
        assert_eq!(reactor.wait(&mut events, now).unwrap(), 1);
        let (found, ready) = events.get(0).unwrap();
        assert_eq!((found, ready.read, ready.write), (token, false, true));
        assert_eq!(reactor.wait(&mut events, now).unwrap(), 0);
        theirs.write_all(b"x").unwrap();
        drop(theirs);
        assert_eq!(reactor.wait(&mut events, now).unwrap(), 1);
        let (_, ready) = events.get(0).unwrap();
        assert!(ready.read && ready.hung_up);
    }
}
