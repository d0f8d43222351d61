//! Whose a socket towards a server is.
//!
//! The kernel knows the socket by its link from the beginning to the end, whoever's it is meanwhile: a session's, nobody's
//! (it waits for another request), another session's. So giving it away needs no call of the kernel's, which would tell
//! everything that it has told already once more.
//!
//! A session has one link at most. An event says which socket of those that had the link it is about, so one that was
//! fetched before its socket was closed comes to nobody.

use std::num::NonZeroU32;

use slab::Slab;

use super::reactor::{Named, Place, Token};

/// By what the kernel knows a socket towards a server: one more than the index of the slab, at most [`Link::LAST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link(pub(super) NonZeroU32);

/// Who is to hear of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// A session.
    Session(Place),
    /// An idle connection: its key in the pool.
    Idle(u32),
}

/// The links of a worker.
#[derive(Debug, Default)]
pub(crate) struct Links {
    /// With each the number of its socket.
    slots: Slab<(u32, Whose)>,
    sockets: u32,
}

impl Link {
    /// There cannot be as many: there are fewer sessions, and few idle connections.
    pub(super) const LAST: Self = Self(NonZeroU32::new((1 << 30) - 1).unwrap());

    const fn slot(self) -> usize {
        self.0.get() as usize - 1
    }
}

impl Links {
    /// One for a new socket of a session's, and the name under which its events come.
    pub(crate) fn open(&mut self, place: Place) -> (Link, Token) {
        self.sockets = self.sockets.wrapping_add(1);
        let slot = self.slots.insert((self.sockets, Whose::Session(place)));
        let link = Link(NonZeroU32::MIN.saturating_add(slot as u32).min(Link::LAST.0));
        (link, Token::new(Named::Server(link, self.sockets)))
    }

    /// Who hears of an event.
    pub(crate) fn hears(&self, link: Link, socket: u32) -> Option<Whose> {
        let (known, whose) = self.slots.get(link.slot())?;
        (*known == socket).then_some(*whose)
    }

    /// Whose it is, if there still is one.
    pub(crate) fn whose(&self, link: Link) -> Option<Whose> {
        Some(self.slots.get(link.slot())?.1)
    }

    /// It is somebody else's from now on.
    pub(crate) fn give(&mut self, link: Link, to: Whose) {
        if let Some((_, whose)) = self.slots.get_mut(link.slot()) {
            *whose = to;
        }
    }

    /// How many there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// It was this one's, and its socket is closed. Nothing happens if somebody else has it.
    pub(crate) fn close(&mut self, link: Link, owner: Whose) {
        if self.whose(link) == Some(owner) {
            self.slots.remove(link.slot());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_comes_to_whoever_has_the_link_and_to_nobody_once_the_socket_is_closed() {
        let places = [0, 1].map(|slot| Place { slot, generation: 7 });
        let sessions = places.map(Whose::Session);
        let mut links = Links::default();
        let open = |links: &mut Links| {
            let (link, token) = links.open(places[0]);
            match token.named() {
                Named::Server(named, socket) if named == link => (link, socket),
                other => panic!("{other:?}"),
            }
        };
        let (link, socket) = open(&mut links);
        assert_eq!(links.hears(link, socket), Some(sessions[0]));
        for whose in [Whose::Idle(3), sessions[1]] {
            links.give(link, whose);
            links.close(link, sessions[0]);
            assert_eq!(
                links.hears(link, socket),
                Some(whose),
                "it is not its first owner's any more"
            );
        }
        links.close(link, sessions[1]);
        assert_eq!(links.hears(link, socket), None);
        let (next, next_socket) = open(&mut links);
        assert_eq!(next, link, "the room is used again");
        assert_eq!(links.hears(next, socket), None);
        assert_eq!(links.hears(next, next_socket), Some(sessions[0]));
    }
}
