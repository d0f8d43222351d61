//! Hosts, links and a clock that jumps from event to event.
//!
//! Every host has one router per link. A link loses, doubles, delays and reorders as told; a host crashes, stalls and
//! comes back. Everything random comes out of one seed.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use warren_vrrp::group::{self, Member};
use warren_vrrp::priority::Fitness;
use warren_vrrp::{Cause, Effect, Input, Instant, Phase, Priority, Router, Settings, State};

/// Packets a stalled host's socket keeps.
const SOCKET_MAX: usize = 32;

/// A xorshift generator: small, seedable, the same everywhere.
#[derive(Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        // Neighbouring seeds must not give neighbouring runs.
        let mut rng = Self((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for _ in 0..4 {
            rng.next();
        }
        rng
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// 0 to `below` - 1.
    pub(crate) fn below(&mut self, below: u64) -> u64 {
        (self.next() >> 11) % below.max(1)
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// Zero to `most`.
    pub(crate) fn time(&mut self, most: Duration) -> Duration {
        Duration::from_nanos(self.below(most.as_nanos() as u64 + 1))
    }
}

/// What the network and the sockets do to packets.
#[derive(Clone, Copy)]
pub(crate) struct Weather {
    pub(crate) loss: u64,
    pub(crate) duplicates: u64,
    pub(crate) failing_sends: u64,
    pub(crate) latency: Duration,
    /// On top of the latency.
    pub(crate) jitter: Duration,
    /// Packets of one sender may overtake each other.
    pub(crate) reorders: bool,
    /// How late a host wakes up when nothing is wrong with it.
    pub(crate) lateness: Duration,
}

impl Weather {
    pub(crate) const FAIR: Self = Self {
        loss: 0,
        duplicates: 0,
        failing_sends: 0,
        latency: Duration::from_micros(50),
        jitter: Duration::from_micros(150),
        reorders: false,
        lateness: Duration::from_micros(100),
    };
}

enum Event {
    Deliver { node: usize, advert: Input },
    Wake { node: usize, generation: u64 },
    Resume { host: usize },
}

pub(crate) struct Host {
    pub(crate) base: u8,
    /// What checks add.
    pub(crate) amount: i16,
    pub(crate) fit: bool,
    pub(crate) alive: bool,
    stalled_until: Instant,
}

pub(crate) struct Node {
    pub(crate) host: usize,
    pub(crate) link: usize,
    pub(crate) router: Router,
    pub(crate) address: IpAddr,
    pub(crate) up: bool,
    pub(crate) holds: bool,
    given: Option<Fitness>,
    generation: u64,
    /// When the last packet sent so far arrives.
    heard_until: Instant,
    inbox: VecDeque<Input>,
}

/// Something worth remembering.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    pub(crate) at: Instant,
    pub(crate) node: usize,
    pub(crate) what: What,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum What {
    Advert(Priority),
    Changed { from: State, to: State, cause: Cause },
    Did(String),
}

pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) now: Instant,
    pub(crate) weather: Weather,
    pub(crate) hosts: Vec<Host>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) links: usize,
    pub(crate) grouped: bool,
    /// Hosts on different sides do not hear each other.
    pub(crate) side: Vec<u8>,
    /// The second does not hear the first.
    pub(crate) deaf: Option<(usize, usize)>,
    notes: Vec<Note>,
    forgotten: usize,
    /// Since the last `forget`: fewest and most holders of a link's addresses at any instant.
    pub(crate) fewest: usize,
    pub(crate) most: usize,
    /// A rule that must never be broken was.
    pub(crate) broken: Option<String>,
    events: BTreeMap<(Instant, u64), Event>,
    serial: u64,
}

impl World {
    pub(crate) fn new(rng: Rng, hosts: Vec<(u8, Settings)>, links: usize) -> Self {
        let mut world = Self {
            rng,
            now: Instant::from_nanos(1_000_000_000_000),
            weather: Weather::FAIR,
            side: vec![0; hosts.len()],
            deaf: None,
            nodes: Vec::new(),
            links,
            grouped: links > 1,
            notes: Vec::new(),
            forgotten: 0,
            fewest: 0,
            most: 0,
            broken: None,
            events: BTreeMap::new(),
            serial: 0,
            hosts: Vec::new(),
        };
        for (host, (base, settings)) in hosts.into_iter().enumerate() {
            world.hosts.push(Host {
                base,
                amount: 0,
                fit: true,
                alive: true,
                stalled_until: Instant::ZERO,
            });
            for link in 0..links {
                // Another order of addresses on every link.
                let last = [host as u8 + 10, 200 - host as u8][link % 2];
                world.nodes.push(Node {
                    host,
                    link,
                    router: Router::new(settings.clone()),
                    address: IpAddr::from([10, 0, link as u8, last]),
                    up: true,
                    holds: false,
                    given: None,
                    generation: 0,
                    heard_until: Instant::ZERO,
                    inbox: VecDeque::new(),
                });
            }
        }
        for host in 0..world.hosts.len() {
            world.boot(host);
        }
        world
    }

    pub(crate) fn nodes_of(&self, host: usize) -> std::ops::Range<usize> {
        host * self.links..(host + 1) * self.links
    }

    /// Routers that are active on `link`.
    pub(crate) fn active_on(&self, link: usize) -> Vec<usize> {
        let on_link = |node: &&usize| {
            self.nodes[**node].link == link && self.nodes[**node].router.state() == State::Active
        };
        (0..self.nodes.len())
            .collect::<Vec<_>>()
            .iter()
            .filter(on_link)
            .copied()
            .collect()
    }

    /// Every living router is Backup or steadily Active if it is fit, and in Initialize if it is not.
    pub(crate) fn settled(&self) -> bool {
        let reachable = |node: &&Node| self.hosts[node.host].alive && node.up;
        self.nodes.iter().filter(reachable).all(|node| {
            let fit = self.hosts[node.host].fit;
            node.router.phase() == Phase::Steady && fit == (node.router.state() != State::Initialize)
        })
    }

    pub(crate) fn forget(&mut self) {
        self.forgotten = self.notes.len();
        self.fewest = usize::MAX;
        self.most = 0;
        self.count_holders();
    }

    /// What was noted since the last `forget`.
    pub(crate) fn recent(&self) -> &[Note] {
        &self.notes[self.forgotten..]
    }

    pub(crate) fn history(&self) -> &[Note] {
        &self.notes
    }

    pub(crate) fn note(&mut self, node: usize, what: What) {
        self.notes.push(Note {
            at: self.now,
            node,
            what,
        });
    }

    // What can happen to a host.

    fn boot(&mut self, host: usize) {
        for node in self.nodes_of(host) {
            if self.nodes[node].up {
                let source = self.nodes[node].address;
                self.give(node, Input::LinkReady { source });
            }
        }
        self.assess(host);
    }

    /// The process dies; its guard takes the addresses down.
    pub(crate) fn crash(&mut self, host: usize) {
        self.hosts[host].alive = false;
        for index in self.nodes_of(host) {
            let node = &mut self.nodes[index];
            node.router = Router::new(node.router.settings().clone());
            node.inbox.clear();
            node.holds = false;
            node.given = None;
            node.generation += 1;
            self.note(index, What::Did("crashes".to_owned()));
        }
        self.count_holders();
    }

    pub(crate) fn restart(&mut self, host: usize, adopt: bool) {
        if self.hosts[host].alive {
            return;
        }
        self.hosts[host].alive = true;
        let first = self.nodes_of(host).start;
        self.note(first, What::Did("starts".to_owned()));
        if adopt {
            self.nodes_of(host).for_each(|node| self.give(node, Input::Adopt));
        }
        self.boot(host);
    }

    /// Leaves in good order: not fit any more, and for good.
    pub(crate) fn shut_down(&mut self, host: usize) {
        self.hosts[host].fit = false;
        for node in self.nodes_of(host) {
            let grace = self.nodes[node].router.settings().interval * 2 + Duration::from_millis(1);
            self.note(node, What::Did("shuts down".to_owned()));
            self.give(node, Input::Shutdown { grace });
        }
    }

    pub(crate) fn stall(&mut self, host: usize, time: Duration) {
        self.note(host * self.links, What::Did(format!("stalls for {time:?}")));
        self.hosts[host].stalled_until = self.hosts[host].stalled_until.max(self.now + time);
        self.at(self.hosts[host].stalled_until, Event::Resume { host });
    }

    pub(crate) fn set_link(&mut self, node: usize, up: bool) {
        if self.nodes[node].up == up {
            return;
        }
        self.note(node, What::Did(format!("link up: {up}")));
        self.nodes[node].up = up;
        let source = self.nodes[node].address;
        self.give(
            node,
            if up {
                Input::LinkReady { source }
            } else {
                Input::LinkLost
            },
        );
        self.assess(self.nodes[node].host);
    }

    pub(crate) fn set_worth(&mut self, host: usize, amount: i16, fit: bool) {
        let first = self.nodes_of(host).start;
        self.note(first, What::Did(format!("amount {amount}, fit: {fit}")));
        self.hosts[host].amount = amount;
        self.hosts[host].fit = fit;
        self.assess(host);
    }

    fn assess(&mut self, host: usize) {
        if !self.hosts[host].alive {
            return;
        }
        let Host {
            base, amount, fit, ..
        } = self.hosts[host];
        let worth = match base {
            255 => 255,
            _ => (i16::from(base) + amount).clamp(1, 254) as u8,
        };
        let own = Fitness {
            priority: Priority(worth),
            fit,
        };
        let members: Vec<_> = self
            .nodes_of(host)
            .map(|node| Member {
                base: Priority(base),
                fitness: own,
                ready: self.nodes[node].up,
            })
            .collect();
        let shared = if self.grouped {
            group::fitness(&members)
        } else {
            vec![own; members.len()]
        };
        for (node, fitness) in self.nodes_of(host).zip(shared) {
            if self.nodes[node].given != Some(fitness) {
                self.nodes[node].given = Some(fitness);
                self.give(node, Input::Fitness(fitness));
            }
        }
    }

    // The shell around a router.

    /// Gives an input, carries the effects out, and whatever the group makes of them.
    pub(crate) fn give(&mut self, node: usize, input: Input) {
        if !self.hosts[self.nodes[node].host].alive {
            return;
        }
        let mut orders = Vec::new();
        self.nodes[node].router.handle(self.now, &input);
        while let Some(effect) = self.nodes[node].router.poll() {
            match effect {
                Effect::SendAdvert { priority } => {
                    let ok = self.nodes[node].up && !self.rng.chance(self.weather.failing_sends);
                    if ok {
                        self.note(node, What::Advert(priority));
                        self.broadcast(node, priority);
                    }
                    self.nodes[node].router.handle(self.now, &Input::Sent { ok });
                }
                Effect::Claim => self.hold(node, true),
                Effect::Release => self.hold(node, false),
                Effect::Announce { .. } => {}
                Effect::Transition { from, to, cause } => {
                    if self.grouped {
                        let (host, link) = (self.nodes[node].host, self.nodes[node].link);
                        let states: Vec<_> = self
                            .nodes_of(host)
                            .map(|node| self.nodes[node].router.state())
                            .collect();
                        let told = group::orders(&states, link, &cause);
                        orders.extend(told.map(|(link, order)| (host * self.links + link, order)));
                    }
                    self.note(node, What::Changed { from, to, cause });
                }
            }
        }
        let active = self.nodes[node].router.state() == State::Active;
        if active != self.nodes[node].holds {
            self.broken = Some(format!(
                "node {node} is active: {active}, but holds the addresses: {}",
                !active
            ));
        }
        self.schedule(node);
        for (member, order) in orders {
            self.give(member, order.into());
        }
    }

    fn hold(&mut self, node: usize, holds: bool) {
        if self.nodes[node].holds == holds {
            self.broken = Some(format!("node {node} claims or releases twice: {holds}"));
        }
        self.nodes[node].holds = holds;
        self.count_holders();
    }

    fn count_holders(&mut self) {
        for link in 0..self.links {
            let holders = self
                .nodes
                .iter()
                .filter(|node| node.link == link && node.holds)
                .count();
            self.fewest = self.fewest.min(holders);
            self.most = self.most.max(holders);
        }
    }

    fn schedule(&mut self, node: usize) {
        self.nodes[node].generation += 1;
        let generation = self.nodes[node].generation;
        if let Some(due) = self.nodes[node].router.deadline() {
            let at = due.max(self.now) + self.rng.time(self.weather.lateness);
            self.at(at, Event::Wake { node, generation });
        }
    }

    fn broadcast(&mut self, from: usize, priority: Priority) {
        let (source, interval) = (
            self.nodes[from].address,
            self.nodes[from].router.settings().interval,
        );
        let (host, link) = (self.nodes[from].host, self.nodes[from].link);
        for to in 0..self.nodes.len() {
            let other = self.nodes[to].host;
            let heard = other != host
                && self.nodes[to].link == link
                && self.side[other] == self.side[host]
                && self.deaf != Some((host, other));
            if !heard {
                continue;
            }
            let copies = u64::from(!self.rng.chance(self.weather.loss))
                + u64::from(self.rng.chance(self.weather.duplicates));
            for _ in 0..copies {
                self.deliver(
                    to,
                    Input::Advert {
                        source,
                        priority,
                        interval,
                    },
                );
            }
        }
    }

    /// Puts a packet on the way to `node`.
    pub(crate) fn deliver(&mut self, node: usize, advert: Input) {
        let mut at = self.now + self.weather.latency + self.rng.time(self.weather.jitter);
        if !self.weather.reorders {
            at = at.max(self.nodes[node].heard_until);
        }
        self.nodes[node].heard_until = at;
        self.at(at, Event::Deliver { node, advert });
    }

    fn at(&mut self, at: Instant, event: Event) {
        self.serial += 1;
        self.events.insert((at, self.serial), event);
    }

    /// Lets the world run until `end`.
    pub(crate) fn run_until(&mut self, end: Instant) {
        while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= end) {
            let ((at, _), event) = entry.remove_entry();
            self.now = self.now.max(at);
            self.happen(event);
        }
        self.now = end;
    }

    pub(crate) fn run(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver { node, advert } => {
                if !self.nodes[node].up || !self.hosts[self.nodes[node].host].alive {
                    return;
                }
                if self.stalled(self.nodes[node].host) {
                    if self.nodes[node].inbox.len() < SOCKET_MAX {
                        self.nodes[node].inbox.push_back(advert);
                    }
                } else {
                    self.give(node, advert);
                }
            }
            Event::Wake { node, generation } => {
                // A stalled host wakes up with everything else it missed.
                if self.nodes[node].generation == generation && !self.stalled(self.nodes[node].host) {
                    self.give(node, Input::Deadline);
                }
            }
            Event::Resume { host } => {
                if self.stalled(host) {
                    return;
                }
                for node in self.nodes_of(host) {
                    while let Some(advert) = self.nodes[node].inbox.pop_front() {
                        self.give(node, advert);
                    }
                    self.give(node, Input::Deadline);
                }
            }
        }
    }

    fn stalled(&self, host: usize) -> bool {
        self.now < self.hosts[host].stalled_until
    }
}
