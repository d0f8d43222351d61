//! Sessions that leave for another process, come back because it did not take them, or come from one.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use super::context::{Entrance, Message};
use super::turn::Worker;
use super::{Listener, Workers};
use crate::handover::SessionRecord;
use crate::live::{Backend, Live, Server};
use crate::session::http::Exchange;
use crate::session::{Flow, Session};

/// A session that nothing happens to while it is on its way.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) record: SessionRecord,
    session: Box<Session>,
}

/// A session from another process, with its objects in this one.
#[derive(Debug)]
pub(crate) struct Unpacked {
    pub(crate) record: SessionRecord,
    pub(crate) client: OwnedFd,
    pub(crate) entrance: Arc<Entrance>,
    /// Whose it is.
    pub(crate) backend: Option<Arc<Backend>>,
    /// Its server.
    pub(crate) server: Option<(OwnedFd, Arc<Server>)>,
    /// The request that is under way.
    pub(crate) exchange: Option<Box<Exchange>>,
}

/// Which sessions are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    /// Those that have a server.
    Connected,
    /// Those that wait for one as well, in the order in which they came.
    All,
}

/// What is said about sessions that travel.
#[derive(Debug)]
pub(crate) enum Travel {
    /// Packs at most so many.
    Pack(Packing, usize, SyncSender<Vec<Packed>>),
    /// Those that are somebody else's now, and those that were not taken.
    Settle(Vec<Packed>, Vec<Packed>),
    /// New ones.
    Adopt(Vec<Unpacked>),
}

impl Packed {
    /// Its sockets: the client's, and the server's if it has one.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let common = &self.session.common;
        let server = common.server.as_ref().filter(|_| self.record.server.is_some());
        [Some(common.client.as_fd()), server.map(AsFd::as_fd)]
            .into_iter()
            .flatten()
    }
}

impl Unpacked {
    fn count(&self, live: &Live) {
        live.connections.enter();
        self.entrance.frontend.sessions.enter();
        self.entrance.load.enter();
        if let Some(backend) = &self.backend {
            backend.sessions.enter();
        }
        if let Some((_, server)) = &self.server {
            server.sessions.enter();
        }
    }
}

impl Entrance {
    /// That of a listener.
    pub(crate) fn of(listener: &Listener) -> Self {
        Self {
            frontend: Arc::clone(&listener.frontend),
            bind: Arc::clone(&listener.bind),
            tls: listener.tls.clone(),
            load: Arc::clone(&listener.load),
            socket: listener.frontend.socket(&listener.bind.address, &listener.load),
        }
    }
}

impl Workers {
    pub(crate) fn pack(&self, worker: usize, which: Packing, most: usize, sender: SyncSender<Vec<Packed>>) {
        self.travel(worker, Travel::Pack(which, most, sender));
    }

    pub(crate) fn settle(&self, worker: usize, given: Vec<Packed>, kept: Vec<Packed>) {
        if !given.is_empty() || !kept.is_empty() {
            self.travel(worker, Travel::Settle(given, kept));
        }
    }

    /// Spreads sessions over the workers. They count from now on, so that nobody takes their places.
    pub(crate) fn adopt(&self, live: &Live, sessions: Vec<Unpacked>) {
        let mut shares: BTreeMap<usize, Vec<Unpacked>> = BTreeMap::new();
        for session in sessions {
            session.count(live);
            let worker = self.peers.enter_least(0);
            shares.entry(worker).or_default().push(session);
        }
        for (worker, sessions) in shares {
            self.travel(worker, Travel::Adopt(sessions));
        }
    }

    fn travel(&self, worker: usize, travel: Travel) {
        if let Some(mailbox) = self.peers.mailboxes.get(worker) {
            mailbox.send(Message::Travel(travel));
        }
    }
}

impl Worker {
    pub(super) fn travel(&mut self, travel: Travel) {
        match travel {
            Travel::Pack(which, most, sender) => {
                let packed = self.pack(which, most);
                if let Err(lost) = sender.send(packed) {
                    self.settle(Vec::new(), lost.0);
                }
            }
            Travel::Settle(given, kept) => self.settle(given, kept),
            Travel::Adopt(sessions) => sessions.into_iter().for_each(|session| self.adopt(session)),
        }
    }

    fn pack(&mut self, which: Packing, most: usize) -> Vec<Packed> {
        let mut slots: Vec<(u64, usize)> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.can_travel() && (which == Packing::All || session.has_server()))
            .map(|(slot, session)| (session.common.id, slot))
            .collect();
        if most < slots.len() {
            slots.select_nth_unstable(most);
            slots.truncate(most);
        }
        slots.sort_unstable();
        let mut packed = Vec::with_capacity(slots.len());
        for (_, slot) in slots {
            let Some(session) = self.sessions.get_mut(slot) else {
                continue;
            };
            let Some(record) = session.pack(&mut self.context) else {
                continue;
            };
            // The sockets stay open elsewhere, so the kernel would go on telling us of them.
            self.context.reactor.remove(&session.common.client);
            if let Some(server) = &session.common.server {
                self.context.reactor.remove(server);
            }
            self.context.timers.disarm(slot as u32);
            session.common.leave_link(&mut self.context.links);
            packed.push(Packed {
                record,
                session: Box::new(self.sessions.remove(slot)),
            });
        }
        packed
    }

    fn settle(&mut self, given: Vec<Packed>, kept: Vec<Packed>) {
        for Packed { session, .. } in given {
            session.forget(&mut self.context);
        }
        for Packed { session, .. } in kept {
            self.enter(*session);
        }
    }

    fn adopt(&mut self, unpacked: Unpacked) {
        let session = Session::unpack(unpacked, &self.context);
        self.enter(session);
    }

    /// A session that exists already gets a slot here, and goes on.
    fn enter(&mut self, mut session: Session) {
        let entry = self.sessions.vacant_entry();
        let slot = entry.key() as u32;
        session.settle_at(slot);
        let mut watched = self
            .context
            .reactor
            .add(&session.common.client, session.common.client_token());
        if session.common.server.is_some() {
            let token = session.common.next_link(&mut self.context.links);
            let server = session.common.server.as_ref();
            watched = watched
                .and_then(|()| server.map_or(Ok(()), |server| self.context.reactor.add(server, token)));
        }
        let place = session.common.place();
        entry.insert(session);
        match watched {
            Ok(()) => self.drive(place),
            Err(error) => {
                tracing::warn!(%error, "a session that came from another process could not be watched");
                self.with(place, |_, _| Flow::End);
            }
        }
    }
}
