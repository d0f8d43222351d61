//! The event loop: one turn is what the kernel has to tell, then what others have said, then what is due.

use std::sync::Arc;
use std::time::Duration;

use slab::Slab;

use super::accept::Doors;
use super::context::{Context, Message};
use super::leaving::{Group, Leavings};
use super::links::Whose;
use super::mailbox::Mailbox;
use super::reactor::{Events, Named, Place, Ready, Token};
use super::vanished::Watch;
use super::{Command, End, Ending, Move, Moved, Scope};
use crate::session::connect::millis;
use crate::session::{Arrival, Flow, Session};

/// Sessions that go on in one turn although nothing new has happened to them: each may move a megabyte, and what is new
/// should not wait for all of them.
const READY_PER_TURN: usize = 8;

/// One worker thread.
pub(super) struct Worker {
    pub(super) context: Context,
    mailbox: Mailbox<Message>,
    doors: Doors,
    pub(super) sessions: Slab<Session>,
    /// Those that are to end one after the other.
    leavings: Leavings,
    /// Finds peers that say nothing any more.
    watch: Watch,
    /// Ends once there is no session left.
    finishing: bool,
}

impl Worker {
    pub(super) fn new(context: Context, mailbox: Mailbox<Message>) -> std::io::Result<Self> {
        context.reactor.add_shared(&mailbox, Token::new(Named::Mailbox))?;
        let watch = Watch::of(&context.snapshot().plan, context.now);
        Ok(Self {
            context,
            mailbox,
            doors: Doors::new(),
            sessions: Slab::new(),
            leavings: Leavings::default(),
            watch,
            finishing: false,
        })
    }

    /// Until it has been told to finish and has done so.
    pub(super) fn run(mut self) {
        let mut events = Events::default();
        while !(self.finishing && self.sessions.is_empty()) {
            self.turn(&mut events);
        }
        self.context.log.flush();
    }

    fn turn(&mut self, events: &mut Events) {
        let count = match self.context.reactor.wait(events, self.patience()) {
            Ok(count) => count,
            Err(error) => {
                tracing::error!(%error, "waiting for events has failed");
                return std::thread::sleep(Duration::from_millis(10));
            }
        };
        self.context.tick();
        let due = self.context.ready.len().min(READY_PER_TURN);
        self.context.crowded = count > 1;
        if count > 0 {
            self.watch.stir(self.context.now);
        }
        for (token, ready) in events.by_side() {
            self.event(token, ready);
        }
        self.context.crowded = false;
        // Nobody defers any more; the list is kept for its room.
        let mut deferred = std::mem::take(&mut self.context.deferred);
        for place in deferred.drain(..) {
            self.drive(place);
        }
        self.context.deferred = deferred;
        for _ in 0..due {
            if let Some(place) = self.context.ready.pop_front() {
                self.with(place, |session, context| {
                    session.common.lined_up = false;
                    session.drive(context)
                });
            }
        }
        while let Some(slot) = self.context.timers.expired(self.context.now) {
            self.with_slot(slot, |session, context| session.expire(context));
        }
        while let Some((place, cause, patience)) = self.leavings.next(self.context.now) {
            let until = self.context.now + patience;
            let mut told = false;
            self.with(place, |session, context| match session.common.leaving {
                // For another reason, since it was put in the queue.
                Some(_) => Flow::Stay,
                None => {
                    told = true;
                    session.leave(cause, until, context)
                }
            });
            if !told {
                self.leavings.pass_over();
            }
        }
        while let Some(message) = self.context.own.pop_front() {
            self.hear(message);
        }
        self.doors.reopen(false, &self.context);
        self.context.drop_idle();
        let sessions = self.sessions.iter().map(|(_, session)| session);
        self.watch.look(sessions, self.context.now);
        self.context.log.flush();
    }

    /// How long nothing may happen.
    fn patience(&self) -> Option<Duration> {
        if !self.context.ready.is_empty() {
            return Some(Duration::ZERO);
        }
        let next = [
            self.context.timers.next(),
            self.doors.deadline(),
            self.leavings.deadline(),
            self.context.http.pool.deadline(),
            self.watch.deadline(),
        ];
        let next = next.into_iter().flatten().min()?;
        Some(Duration::from_millis(next.saturating_sub(self.context.now)))
    }

    fn event(&mut self, token: Token, ready: Ready) {
        match token.named() {
            Named::Client(place) => self.with(place, |session, context| {
                session.common.client.note(ready);
                session.drive(context)
            }),
            Named::Server(link, socket) => match self.context.links.hears(link, socket) {
                Some(Whose::Session(place)) => self.with(place, |session, context| {
                    match &mut session.common.server {
                        Some(server) => server.note(ready),
                        None => return Flow::Stay,
                    }
                    session.drive(context)
                }),
                Some(Whose::Idle(key)) => self.context.note_idle(key, ready),
                None => {}
            },
            Named::Listener(number) => self.doors.accept(number, &mut self.context),
            Named::Mailbox => {
                for message in self.mailbox.take() {
                    self.hear(message);
                }
            }
        }
    }

    fn hear(&mut self, message: Message) {
        match message {
            Message::Arrival(arrival) => self.arrive(arrival),
            Message::Room => self.doors.reopen(true, &self.context),
            Message::Travel(travel) => {
                self.watch.look_at_all(self.context.now);
                self.travel(travel);
            }
            Message::Command(command) => self.obey(command),
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Listen(listeners) => self.doors.listen(&listeners, &self.context),
            Command::End(end) => self.end(&end),
            Command::Move(request) => self.move_away(&request),
            Command::List(listing) => {
                let all = self.sessions.iter();
                let all = all.map(|(_, session)| session.info(&self.context)).collect();
                // Nobody waits for it any more, or too many ask at once.
                let _lost = listing.try_send(all);
            }
            Command::Granted {
                session,
                backend,
                server,
            } => {
                let mut taken = false;
                self.with(Place::from_number(session), |session, context| {
                    taken = session.granted(&server, context);
                    session.drive(context)
                });
                if !taken && let Some(waiter) = backend.release(&server) {
                    self.context.grant(waiter, backend, server);
                }
            }
            Command::Reloaded => {
                let snapshot = self.context.live.snapshot();
                self.context.log.change(&snapshot.plan.global);
                self.watch.follow(&snapshot.plan, self.context.now);
            }
            Command::Retire => {
                let sessions = self.sessions.iter();
                let places: Vec<Place> = sessions.map(|(_, session)| session.common.place()).collect();
                for place in places {
                    self.with(place, Session::retire);
                }
            }
            Command::Finish => self.finishing = true,
        }
    }

    fn end(&mut self, end: &End) {
        let concerned = self.sessions.iter().map(|(_, session)| &session.common);
        // Whoever is leaving politely has been told. A process that ends says it again and again.
        let again = matches!(end.how, Ending::Politely { .. });
        if again && matches!(end.scope, Scope::All) && self.leavings.has_urgent() {
            return;
        }
        let places: Vec<Place> = concerned
            .filter(|common| end.scope.has(common, self.context.now))
            .filter(|common| !again || common.leaving.is_none())
            .map(crate::session::Common::place)
            .collect();
        match end.how {
            Ending::Now(cause) => {
                for place in places {
                    self.with(place, |session, _| session.end(cause));
                }
            }
            Ending::Reset(cause) => {
                for place in places {
                    self.with(place, |session, _| session.reset(cause));
                }
            }
            Ending::Politely {
                cause,
                deadline,
                rate,
                within,
            } => {
                let share = f64::from(rate.get()) / self.context.peers.mailboxes.len().max(1) as f64;
                let group = Group::new(places, cause, deadline, self.context.now);
                match within {
                    Some(within) => self.leavings.add_urgent(group.at(share).or_within(within)),
                    None => self.leavings.add(group.at(share)),
                }
            }
        }
    }

    /// Ends connections that lose nothing by it, so that they come back to another server: the oldest first.
    fn move_away(&mut self, request: &Move) {
        let (silence, now) = (millis(request.silence), self.context.now);
        let (mut movable, mut leaving) = (Vec::new(), 0);
        for (_, session) in &self.sessions {
            let common = &session.common;
            if !request.scope.has(common, now) {
                continue;
            }
            leaving += u32::from(common.leaving.is_some());
            if request.count > 0 && session.is_movable(silence, now) {
                movable.push((common.accepted, common.place()));
            }
        }
        movable.sort_unstable_by_key(|(accepted, _)| *accepted);
        movable.truncate(request.count as usize);
        let until = now.saturating_add(millis(request.deadline));
        for (_, place) in &movable {
            self.with(*place, |session, context| {
                session.leave(request.cause, until, context)
            });
        }
        let begun = u32::try_from(movable.len()).unwrap_or(u32::MAX);
        // Whoever asked may be gone.
        let _gone = request.answer.try_send(Moved { begun, leaving });
    }

    /// A client that was accepted, here or elsewhere.
    fn arrive(&mut self, arrival: Arrival) {
        let entry = self.sessions.vacant_entry();
        let slot = entry.key();
        let entrance = Arc::clone(&arrival.entrance);
        let session = Session::new(arrival, slot as u32, &self.context);
        let place = session.common.place();
        let watched = self
            .context
            .reactor
            .add(&session.common.client, session.common.client_token());
        if slot >= Place::SLOTS || watched.is_err() {
            tracing::warn!("a client was turned away: no room for its session");
            return self.context.leave(&entrance);
        }
        entry.insert(session);
        self.drive(place);
    }

    pub(super) fn drive(&mut self, place: Place) {
        self.with(place, |session, context| session.drive(context));
    }

    /// Does something with a session, if it is still there.
    pub(super) fn with(&mut self, place: Place, act: impl FnOnce(&mut Session, &mut Context) -> Flow) {
        let found = self.sessions.get(place.slot as usize);
        if found.is_some_and(|session| session.common.place() == place) {
            self.with_slot(place.slot, act);
        }
    }

    fn with_slot(&mut self, slot: u32, act: impl FnOnce(&mut Session, &mut Context) -> Flow) {
        let Some(session) = self.sessions.get_mut(slot as usize) else {
            return;
        };
        match act(session, &mut self.context) {
            Flow::Stay => {
                if std::mem::take(&mut session.common.changed)
                    && let Some(deadline) = session.deadline()
                {
                    // Never in this turn again, or a deadline that is over and stays so would be all that we do.
                    self.context.timers.arm(slot, deadline.max(self.context.now + 1));
                }
            }
            Flow::End => {
                self.context.timers.disarm(slot);
                self.sessions.remove(slot as usize).finish(&mut self.context);
            }
        }
    }
}

#[cfg(test)]
mod tests;
