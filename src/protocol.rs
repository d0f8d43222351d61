//! The real-time thread: it feeds packets and time to the virtual routers and carries out what they answer.
//!
//! ```text
//!   control thread ── Command ──▶ ┌──────────────┐ ── Event ──────────▶ control thread (log, history, notify)
//!   raw sockets ───── packet ───▶ │   protocol   │ ── claim, announce ─▶ plumbing thread (addresses, ARP, ND)
//!   clock ─────────── deadline ─▶ └──────────────┘ ── Role, Beat ──────▶ guard process
//!                                      │ adverts
//!                                      ▼ raw sockets
//! ```
//!
//! Invariant: nothing here blocks but the one wait in [`Protocol::wait`]; nothing allocates per packet, writes a log or
//! asks the kernel about addresses. Everything slow happens behind one of the channels, each of which is bounded and
//! never waited for.
//!
//! Invariant: received packets are looked at before an expired timer is believed.

mod agenda;
mod messages;
mod seat;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::sync::oneshot;
use warren_kit::clock;

use warren_vrrp::group;
use warren_vrrp::packet::vrid_of;
use warren_vrrp::router::AnnounceReason;
use warren_vrrp::{Cause, Effect, Input, Instant, State};

use crate::guard::messages::{Channel, FromWorker};
use crate::plumbing::{self, Plumbing};
use crate::wire::{self, PACKET_MAX, Receiver, Sender};

use agenda::Agenda;
use messages::COMMANDS_MAX;
pub(crate) use messages::{Command, Event, Handle, LATENESS_BOUNDS, Lateness, Slot, View};
use seat::Seat;
pub(crate) use seat::{Installation, SeatView, resignation};

/// Packets read from one socket before everything else gets its turn.
const PACKETS_PER_TURN: usize = 64;
/// Packets read before a silence is believed: more than a socket's queue holds, so that garbage hides no advert.
const PACKETS_PER_LAST_LOOK: usize = 1024;
/// Commands carried out before everything else gets its turn.
const COMMANDS_PER_TURN: usize = 64;
/// How long the thread may use the processor without a pause before the kernel stops the worker: a runaway real-time
/// thread would starve the host that it is meant to keep reachable.
pub(crate) const RUNAWAY_LIMIT: Duration = Duration::from_millis(1000);
/// A wait of this length was a pause in the kernel's eyes, whatever else the processor was busy with.
const PAUSE: Duration = Duration::from_millis(1);
/// Work after which the thread takes a pause of its own, however short: a flood of packets is not a runaway.
const BUSY: Duration = Duration::from_millis(250);

/// What an epoll event is about; sockets follow as `WIRES + index`.
const WAKE: u64 = 0;
const TIMER: u64 = 1;
const WIRES: u64 = 2;
/// Descriptors looked at after one wait; the rest follows in the next turn.
const READY_MAX: usize = 32;

/// Starts the thread.
pub(crate) fn start(
    events: tokio::sync::mpsc::Sender<Event>,
    plumbing: Plumbing,
    guard: Option<Channel>,
    realtime_priority: Option<u8>,
) -> io::Result<(Handle, oneshot::Receiver<Result<(), String>>)> {
    let (commands, queue) = mpsc::sync_channel(COMMANDS_MAX);
    let wake = Arc::new(EventFd::from_value_and_flags(
        0,
        EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK,
    )?);
    let (granted, scheduling) = oneshot::channel();
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let timer = TimerFd::new(
        ClockId::CLOCK_BOOTTIME,
        TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK,
    )?;
    epoll.add(&*wake, EpollEvent::new(EpollFlags::EPOLLIN, WAKE))?;
    epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, TIMER))?;
    let protocol = Protocol {
        epoll,
        timer,
        armed: None,
        commands: queue,
        wake: Arc::clone(&wake),
        events,
        events_lost: 0,
        plumbing,
        guard,
        seats: Vec::new(),
        wires: Vec::new(),
        groups: Vec::new(),
        agenda: Agenda::default(),
        buffer: vec![0; PACKET_MAX],
        control: wire::control_buffer(),
        lateness: Lateness::default(),
        beat_every: Duration::from_millis(60),
        plumbing_patience: plumbing::LONGEST_LEASE,
        beat_due: Instant::ZERO,
        rested: now(),
        roles_untold: false,
        leaving: false,
    };
    std::thread::Builder::new()
        .name("protocol".into())
        .stack_size(512 * 1024)
        .spawn(move || {
            let _ = granted.send(crate::realtime::become_realtime(realtime_priority));
            protocol.run();
        })?;
    Ok((Handle { commands, wake }, scheduling))
}

struct Wire {
    receiver: Option<Arc<Receiver>>,
    sender: Option<Arc<Sender>>,
    /// The router for each VRID.
    by_vrid: Box<[Option<Slot>; 256]>,
    /// Nothing more to read, as of this turn.
    drained: bool,
    /// Packets read in this turn.
    read: usize,
}

impl Wire {
    /// There may be a packet that has not been looked at.
    fn may_have_more(&self) -> bool {
        self.receiver.is_some() && !self.drained && self.read < PACKETS_PER_LAST_LOOK
    }
}

struct Protocol {
    epoll: Epoll,
    timer: TimerFd,
    /// What the timer is set to.
    armed: Option<Instant>,
    commands: mpsc::Receiver<Command>,
    wake: Arc<EventFd>,
    events: tokio::sync::mpsc::Sender<Event>,
    events_lost: u64,
    plumbing: Plumbing,
    guard: Option<Channel>,
    seats: Vec<Option<Box<Seat>>>,
    wires: Vec<Wire>,
    groups: Vec<Vec<Slot>>,
    agenda: Agenda,
    buffer: Vec<u8>,
    control: Vec<u8>,
    lateness: Lateness,
    beat_every: Duration,
    plumbing_patience: Duration,
    beat_due: Instant,
    /// When this thread last slept.
    rested: Instant,
    /// Some seat's role has yet to be told to the guard.
    roles_untold: bool,
    leaving: bool,
}

/// The beat speaks for the plumbing thread too: without it addresses expire while adverts go on.
fn vouches(now: Instant, plumbing_alive: Instant, patience: Duration) -> bool {
    now.since(plumbing_alive) <= patience
}

fn now() -> Instant {
    Instant::from_nanos(clock::boottime_nanos())
}

impl Protocol {
    fn run(mut self) {
        let mut ready = [EpollEvent::empty(); READY_MAX];
        loop {
            self.beat();
            let count = self.wait(&mut ready);
            let told = ready.iter().take(count).any(|event| event.data() == WAKE);
            if told && !self.take_commands() {
                return;
            }
            for wire in &mut self.wires {
                wire.drained = false;
                wire.read = 0;
            }
            for event in ready.iter().take(count) {
                if let Some(wire) = event.data().checked_sub(WIRES) {
                    self.drain(usize::try_from(wire).unwrap_or(usize::MAX));
                }
            }
            self.fire();
            if self.leaving {
                self.finish_leaving();
            }
        }
    }

    /// Waits for a packet, a command or the next deadline. The only place where this thread rests.
    fn wait(&mut self, ready: &mut [EpollEvent]) -> usize {
        let next = self
            .agenda
            .next()
            .map_or(self.beat_due, |due| due.min(self.beat_due));
        if self.armed != Some(next) {
            // Zero would switch the timer off.
            let at = TimeSpec::from_duration(Duration::from_nanos(next.as_nanos().max(1)));
            let set = self
                .timer
                .set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME);
            debug_assert!(set.is_ok(), "an absolute time is always accepted");
            self.armed = Some(next);
        }
        let before = now();
        let count = self.epoll.wait(ready, EpollTimeout::NONE).unwrap_or(0);
        self.pause(before, now());
        if ready.iter().take(count).any(|event| event.data() == TIMER) {
            self.armed = None;
        }
        count
    }

    /// Sleeps for a moment if it has been long since the kernel saw this thread rest, which would kill the worker.
    fn pause(&mut self, before: Instant, after: Instant) {
        if after.since(before) >= PAUSE {
            self.rested = after;
        } else if after.since(self.rested) >= BUSY {
            std::thread::sleep(Duration::from_micros(1));
            self.rested = now();
        }
    }

    /// False when the thread has been told to end.
    fn take_commands(&mut self) -> bool {
        let _ = self.wake.read();
        for turn in 0.. {
            if turn == COMMANDS_PER_TURN {
                // The rest comes after whatever is due by now.
                let _ = self.wake.write(1);
                break;
            }
            let Ok(command) = self.commands.try_recv() else {
                break;
            };
            match command {
                Command::Wire {
                    wire,
                    receiver,
                    sender,
                } => self.install_wire(wire, receiver, sender),
                Command::Install(installation) => self.install(*installation),
                Command::Remove { slot, grace } => self.remove(slot, grace),
                Command::Input { slot, input } => self.feed(slot, now(), &input),
                Command::Groups(groups) => self.groups = groups,
                Command::Beat { every, plumbing } => {
                    self.beat_every = every;
                    self.plumbing_patience = plumbing;
                }
                Command::Shutdown { grace } => self.shut_down(grace),
                Command::View(reply) => {
                    let _ = reply.send(self.view());
                }
                Command::Exit => return false,
            }
        }
        true
    }

    fn install_wire(&mut self, index: usize, receiver: Option<Arc<Receiver>>, sender: Option<Arc<Sender>>) {
        while self.wires.len() <= index {
            self.wires.push(Wire {
                receiver: None,
                sender: None,
                by_vrid: Box::new([None; 256]),
                drained: false,
                read: 0,
            });
        }
        let wire = &mut self.wires[index];
        if let Some(old) = wire.receiver.take() {
            let _ = self.epoll.delete(&*old);
        }
        if let Some(new) = &receiver {
            let event = EpollEvent::new(EpollFlags::EPOLLIN, WIRES + index as u64);
            let added = self.epoll.add(&**new, event);
            debug_assert!(added.is_ok(), "a fresh socket can be polled");
        }
        wire.receiver = receiver;
        wire.sender = sender;
        // Whoever is to hear it is installed after it.
        wire.by_vrid.fill(None);
    }

    fn install(&mut self, installation: Installation) {
        let slot = installation.slot;
        let index = usize::from(slot);
        if self.seats.len() <= index {
            self.seats.resize_with(index + 1, || None);
            self.agenda.make_room(index + 1);
        }
        for wire in &mut self.wires {
            for entry in wire.by_vrid.iter_mut().filter(|entry| **entry == Some(slot)) {
                *entry = None;
            }
        }
        for position in installation.receive_on().into_iter().flatten() {
            if let Some(wire) = self.wires.get_mut(position) {
                wire.by_vrid[usize::from(installation.settings.vrid.get())] = Some(slot);
            }
        }
        match &mut self.seats[index] {
            Some(seat) => {
                let settings = installation.settings.clone();
                let changed = *seat.router.settings() != settings;
                seat.reinstall(installation);
                if changed {
                    self.feed(slot, now(), &Input::Settings(settings));
                }
            }
            empty => *empty = Some(Box::new(Seat::new(installation))),
        }
    }

    fn remove(&mut self, slot: Slot, grace: Duration) {
        match self.seats.get_mut(usize::from(slot)).and_then(Option::as_mut) {
            Some(seat) => {
                seat.removed = true;
                self.feed(slot, now(), &Input::Shutdown { grace });
            }
            // Its link never came, so it was never installed.
            None => self.report(Event::Removed { slot }),
        }
    }

    fn forget(&mut self, slot: Slot) {
        self.seats[usize::from(slot)] = None;
        for wire in &mut self.wires {
            for entry in wire.by_vrid.iter_mut().filter(|entry| **entry == Some(slot)) {
                *entry = None;
            }
        }
        self.report(Event::Removed { slot });
    }

    /// Reads what one socket has, up to the budget of a turn.
    fn drain(&mut self, index: usize) {
        let mut buffer = std::mem::take(&mut self.buffer);
        for _ in 0..PACKETS_PER_TURN {
            let Some(wire) = self.wires.get_mut(index) else {
                break;
            };
            let Some(receiver) = wire.receiver.as_deref() else {
                break;
            };
            wire.read += 1;
            match receiver.receive(&mut buffer, &mut self.control) {
                Ok(Some((envelope, payload))) => {
                    let slot = vrid_of(payload).and_then(|vrid| wire.by_vrid[usize::from(vrid)]);
                    if let Some(slot) = slot {
                        self.hear(slot, &envelope, payload);
                    }
                }
                Ok(None) => {}
                Err(_) => {
                    // Nothing more, or the interface is gone, which netlink will tell the control thread.
                    wire.drained = true;
                    break;
                }
            }
        }
        self.buffer = buffer;
    }

    fn hear(&mut self, slot: Slot, envelope: &warren_vrrp::packet::Envelope, payload: &[u8]) {
        let Some(seat) = self.seats.get_mut(usize::from(slot)).and_then(Option::as_mut) else {
            return;
        };
        let now = now();
        match seat.hear(now, envelope, payload) {
            seat::Heard::Advert { input, note } => {
                if let Some(event) = note {
                    self.report(event);
                }
                self.feed(slot, now, &input);
            }
            // A refused packet touches counters only.
            seat::Heard::Refused { report } => {
                if let Some(event) = report {
                    self.report(event);
                }
            }
        }
    }

    /// Lets every router whose deadline has come act, after a last look at what has arrived for it.
    fn fire(&mut self) {
        while let Some(slot) = self.agenda.due(now()) {
            let Some(seat) = self.seats.get(usize::from(slot)).and_then(Option::as_ref) else {
                continue;
            };
            let wires = seat.receive_on();
            // An active router's own advert is due whatever others say; a backup must not act on a stale silence.
            let waits_for_others = seat.router.state() != State::Active;
            for wire in wires.into_iter().flatten() {
                while waits_for_others && self.wires.get(wire).is_some_and(Wire::may_have_more) {
                    self.drain(wire);
                }
            }
            let Some(seat) = self.seats.get(usize::from(slot)).and_then(Option::as_ref) else {
                continue;
            };
            let Some(deadline) = seat.router.deadline() else {
                continue;
            };
            let now = now();
            if deadline <= now {
                self.lateness.note(now.since(deadline));
                self.feed(slot, now, &Input::Deadline);
            } else {
                self.agenda.schedule(slot, deadline);
            }
        }
    }

    /// Gives one router an input and carries out what follows, sync group included.
    fn feed(&mut self, slot: Slot, now: Instant, input: &Input) {
        let Some(cause) = self.feed_one(slot, now, input) else {
            return;
        };
        let Some(position) = self.groups.iter().position(|group| group.contains(&slot)) else {
            return;
        };
        let members = std::mem::take(&mut self.groups[position]);
        let changed = members
            .iter()
            .position(|member| *member == slot)
            .unwrap_or_default();
        // One step is enough: a change that was ordered orders nothing in turn.
        let states: Vec<State> = members.iter().map(|member| self.state_of(*member)).collect();
        for (index, order) in group::orders(&states, changed, &cause) {
            self.feed_one(members[index], now, &order.into());
        }
        self.groups[position] = members;
    }

    /// Why its state changed, if it did.
    fn feed_one(&mut self, slot: Slot, now: Instant, input: &Input) -> Option<Cause> {
        let index = usize::from(slot);
        self.seats.get_mut(index)?.as_mut()?.take(now, input);
        let mut change = None;
        while let Some(effect) = self.seats[index].as_mut().and_then(|seat| seat.router.poll()) {
            if let Effect::Transition { cause, .. } = &effect {
                change = Some(cause.clone());
            }
            self.carry_out(slot, now, effect);
        }
        let seat = self.seats[index].as_ref()?;
        if let Some(deadline) = seat.router.deadline() {
            self.agenda.schedule(slot, deadline);
        }
        if seat.removed && seat.router.stopped() {
            self.forget(slot);
        }
        change
    }

    fn state_of(&self, slot: Slot) -> State {
        let seat = self.seats.get(usize::from(slot)).and_then(Option::as_ref);
        seat.map_or(State::Initialize, |seat| seat.router.state())
    }

    fn carry_out(&mut self, slot: Slot, now: Instant, effect: Effect) {
        let Some(seat) = self.seats.get_mut(usize::from(slot)).and_then(Option::as_mut) else {
            return;
        };
        match effect {
            Effect::SendAdvert { priority } => {
                let sender = self
                    .wires
                    .get(seat.send_on())
                    .and_then(|wire| wire.sender.as_deref());
                let outcome = seat.send_advert(sender, priority);
                seat.router.handle(now, &Input::Sent { ok: outcome.sent });
                if let Some(event) = outcome.report {
                    self.report(event);
                }
            }
            Effect::Claim => {
                self.tell_role(slot, true);
                self.plumbing.claim(usize::from(slot));
            }
            Effect::Announce { reason } => {
                // A claim announces what it has added by itself.
                if reason == AnnounceReason::LowerPriorityActive {
                    self.plumbing
                        .announce(usize::from(slot), plumbing::Cause::LowerPriority);
                    if let Some(event) = seat.lower_priority_event(now) {
                        self.report(event);
                    }
                }
            }
            Effect::Release => {
                self.plumbing.release(usize::from(slot));
                self.tell_role(slot, false);
            }
            Effect::Transition { from, to, cause } => {
                seat.note_transition(to);
                let priority = seat.router.priority().map_or(0, |priority| priority.0);
                self.report(Event::Transition {
                    slot,
                    from,
                    to,
                    cause,
                    priority,
                });
            }
        }
    }

    fn tell_role(&mut self, slot: Slot, active: bool) {
        let Some(guard) = &self.guard else { return };
        let Some(seat) = self.seats.get_mut(usize::from(slot)).and_then(Option::as_mut) else {
            return;
        };
        let role = FromWorker::Role {
            slot,
            active,
            priority: seat.router.priority().map_or(0, |priority| priority.0),
        };
        seat.role_untold = guard.send_small(&role).is_err();
        self.roles_untold |= seat.role_untold;
    }

    /// Makes good for roles that the guard had no room for: in a mass take-over it may not get to run for a while.
    fn tell_roles_again(&mut self) {
        self.roles_untold = false;
        for index in 0..self.seats.len() {
            let Some(seat) = self.seats[index].as_ref().filter(|seat| seat.role_untold) else {
                continue;
            };
            let active = seat.router.state() == State::Active;
            if let Ok(slot) = Slot::try_from(index) {
                self.tell_role(slot, active);
            }
            if self.roles_untold {
                return;
            }
        }
    }

    fn beat(&mut self) {
        let now = now();
        if now < self.beat_due {
            return;
        }
        self.beat_due = now + self.beat_every;
        let alive = Instant::from_nanos(self.plumbing.figures().alive.load(Relaxed));
        if let Some(guard) = &self.guard
            && vouches(now, alive, self.plumbing_patience)
        {
            let _ = guard.send_small(&FromWorker::Beat);
        }
        if self.roles_untold {
            self.tell_roles_again();
        }
    }

    fn report(&mut self, event: Event) {
        if self.events.try_send(event).is_err() {
            self.events_lost += 1;
        }
    }

    fn shut_down(&mut self, grace: Duration) {
        self.leaving = true;
        // Groups do not matter any more: everybody leaves.
        self.groups.clear();
        for index in 0..self.seats.len() {
            if let Ok(slot) = Slot::try_from(index) {
                self.feed_one(slot, now(), &Input::Shutdown { grace });
            }
        }
    }

    fn finish_leaving(&mut self) {
        if self.seats.iter().flatten().all(|seat| seat.router.stopped()) {
            self.leaving = false;
            self.report(Event::Stopped);
        }
    }

    fn view(&self) -> View {
        View {
            taken: now(),
            seats: self.seats.iter().flatten().map(|seat| seat.view()).collect(),
            lateness: self.lateness,
            events_lost: self.events_lost,
        }
    }
}

#[cfg(test)]
mod tests;
