//! Two to six routers on a bad network, thousands of times over.
//!
//! Each seed is one story: chaos first (loss, duplicates, reordering, partitions, crashes, stalls, flapping links and
//! checks), then every fault ends and the routers must agree, stay agreed under a stranger's packets, and hand the
//! role over without a gap when told to, or within the promised time when the active router dies.
//!
//! `SEEDS=n` runs n stories, `SEED=n` replays one and prints what happened.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use warren_vrrp::router::Failback;
use warren_vrrp::{Family, Input, Instant, Priority, Settings, State, Version, Vrid};

#[path = "simulation/world.rs"]
mod world;

use world::{Rng, Weather, What, World};

const STORIES: u64 = 2000;

/// What the wire and the host add to a time the protocol promises.
const SLACK: Duration = Duration::from_millis(1);

#[test]
fn routers_agree_after_chaos_and_hand_over_without_a_gap() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().expect("a number"))
    };
    if let Some(seed) = number("SEED") {
        let mut story = Story::new(seed);
        let end = story.tell();
        story.print();
        end.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        return;
    }
    let (stories, next) = (number("SEEDS").unwrap_or(STORIES), AtomicU64::new(0));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(seed) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < stories)
                {
                    if let Err(error) = Story::new(seed).tell() {
                        next.store(stories, Ordering::Relaxed);
                        panic!(
                            "seed {seed}: {error}\nSEED={seed} cargo test -p warren-vrrp --test simulation"
                        );
                    }
                }
            });
        }
    });
}

struct Story {
    world: World,
    settings: Vec<Settings>,
}

type Outcome = Result<(), String>;

impl Story {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let version = rng.pick(&[Version::V3, Version::V3, Version::V2]);
        let intervals: &[u64] = match version {
            Version::V2 => &[1000],
            Version::V3 => &[10, 100, 1000],
        };
        let (same, mixed) = (rng.pick(intervals), rng.chance(40));
        let links = rng.pick(&[1, 1, 2, 3]);
        let mut hosts = Vec::new();
        for _ in 0..2 + rng.below(5) {
            let interval = Duration::from_millis(if mixed { rng.pick(intervals) } else { same });
            let failback = match rng.below(10) {
                0..6 => Failback::Auto,
                6..8 => Failback::Manual,
                _ => Failback::After(rng.time(interval * 5)),
            };
            let settings = Settings {
                vrid: Vrid::try_from(51).expect("51 is a VRID"),
                version,
                family: Family::V4,
                interval,
                failback,
                dead_after: 3,
            };
            // An owner's priority cannot be shared by a group's weights.
            let owner = if links == 1 { 255 } else { 254 };
            hosts.push((rng.pick(&[1, 99, 100, 100, 101, 150, 254, owner]), settings));
        }
        let settings = hosts.iter().map(|(_, settings)| settings.clone()).collect();
        Self {
            world: World::new(rng, hosts, links),
            settings,
        }
    }

    fn tell(&mut self) -> Outcome {
        self.chaos();
        self.heal();
        self.agree("after the chaos")?;
        self.quiet("after the chaos")?;
        self.stranger()?;
        match self.world.rng.below(6) {
            0 => self.loss_of_the_active("died", World::crash)?,
            1 => self.loss_of_the_active("lost its links", |world, host| {
                world.nodes_of(host).for_each(|node| world.set_link(node, false));
            })?,
            2 => self.stall_of_the_active()?,
            3 => self.demotion()?,
            4 => self.hand_over("unfit", |world, host| world.set_worth(host, 0, false))?,
            _ => self.hand_over("shut down", World::shut_down)?,
        }
        self.quiet("after the hand-over")
    }

    /// Everything at once.
    fn chaos(&mut self) {
        let slowest = self.slowest();
        let world = &mut self.world;
        world.weather = Weather {
            loss: world.rng.below(40),
            duplicates: world.rng.below(20),
            failing_sends: world.rng.below(20),
            jitter: world.rng.time(slowest * 2),
            reorders: true,
            ..Weather::FAIR
        };
        for _ in 0..10 + world.rng.below(15) {
            let host = world.rng.below(world.hosts.len() as u64) as usize;
            let node = host * world.links + world.rng.below(world.links as u64) as usize;
            let interval = world.nodes[node].router.settings().interval;
            match world.rng.below(13) {
                0 => world.set_link(node, false),
                1 => world.set_link(node, true),
                2 | 3 => world.crash(host),
                4 => world.restart(host, false),
                5 => world.restart(host, true),
                6 | 7 => {
                    let time = world.rng.time(interval * 6);
                    world.stall(host, time);
                }
                8 => {
                    let (amount, fit) = (world.rng.below(60) as i16 - 40, world.rng.chance(70));
                    world.set_worth(host, amount, fit);
                }
                9 => {
                    let mut sides = vec![0; world.hosts.len()];
                    sides.iter_mut().for_each(|side| *side = world.rng.below(2) as u8);
                    world.side = sides;
                }
                10 => world.side.fill(0),
                11 => {
                    let faster = Settings {
                        interval: interval / 2,
                        ..self.settings[host].clone()
                    };
                    world
                        .nodes_of(host)
                        .for_each(|node| world.give(node, Input::Settings(faster.clone())));
                }
                _ => world.deaf = Some((host, world.rng.below(world.hosts.len() as u64) as usize)),
            }
            let pause = world.rng.time(slowest * 2);
            world.run(pause);
        }
    }

    /// Ends every fault, and lets what is still on the wire arrive.
    fn heal(&mut self) {
        let world = &mut self.world;
        world.weather = Weather::FAIR;
        world.side.fill(0);
        world.deaf = None;
        for host in 0..world.hosts.len() {
            world.restart(host, false);
            world.nodes_of(host).for_each(|node| {
                world.give(node, Input::Settings(self.settings[host].clone()));
            });
            world.set_worth(host, 0, true);
            for node in world.nodes_of(host) {
                world.set_link(node, true);
            }
        }
        self.world.run(self.slowest() * 6);
    }

    fn slowest(&self) -> Duration {
        self.settings
            .iter()
            .map(|settings| settings.interval)
            .max()
            .unwrap_or_default()
    }

    /// How long agreement may take: a wait postponed by a stall, a full wait, a failback delay and a wait to take the
    /// role back; in a group once more for the members that follow.
    fn patience(&self) -> Duration {
        let delay = self.settings.iter().map(|settings| match settings.failback {
            Failback::After(delay) => delay,
            Failback::Auto | Failback::Manual => Duration::ZERO,
        });
        (self.slowest() * 12 + delay.max().unwrap_or_default()) * self.world.links.min(2) as u32
    }

    /// Exactly one active router per link, the same host on all, and nobody who would take the role from it.
    fn disagreement(&self) -> Option<String> {
        let world = &self.world;
        let active: Vec<_> = (0..world.links).map(|link| world.active_on(link)).collect();
        let [first] = active.first()?[..] else {
            return Some(format!("active: {active:?}"));
        };
        let host = world.nodes[first].host;
        if !world.settled()
            || active
                .iter()
                .any(|on_link| on_link.len() != 1 || world.nodes[on_link[0]].host != host)
        {
            return Some(format!("not settled, or not one active host: {active:?}"));
        }
        let ours = world.nodes[first].router.priority();
        let challenger = world.nodes.iter().find(|node| {
            let owner = node.router.priority() == Some(Priority::OWNER);
            node.router.state() == State::Backup
                && node.router.priority() > ours
                && (owner || node.router.settings().failback != Failback::Manual)
                && !node.router.held_back()
        });
        challenger.map(|node| {
            format!(
                "host {} at {ours:?} is active below {:?}",
                host,
                node.router.priority()
            )
        })
    }

    fn agree(&mut self, when: &str) -> Outcome {
        let end = self.world.now + self.patience();
        loop {
            let changes = self.changes();
            let disagreement = self.disagreement();
            if disagreement.is_none() {
                // What is on the wire may undo it, and what a torn group agrees on may be a chance of the moment.
                let settling = if self.torn() {
                    self.slowest() * 5
                } else {
                    Duration::ZERO
                };
                self.world.run(settling + SLACK * 2);
                if self.changes() == changes {
                    return self.unbroken();
                }
            }
            if self.world.now >= end {
                return Err(format!("no agreement {when}: {disagreement:?}"));
            }
            self.world.run(self.slowest() / 4);
        }
    }

    fn changes(&self) -> usize {
        let changes = self.world.recent().iter();
        changes
            .filter(|note| matches!(note.what, What::Changed { .. }))
            .count()
    }

    fn unbroken(&self) -> Outcome {
        self.world.broken.clone().map_or(Ok(()), Err)
    }

    fn active_host(&self) -> usize {
        self.world.nodes[self.world.active_on(0)[0]].host
    }

    /// With nothing wrong nothing happens, and adverts keep their cadence.
    fn quiet(&mut self, when: &str) -> Outcome {
        let host = self.active_host();
        let interval = self.settings[host].interval;
        self.world.forget();
        self.world.run(interval * 20);
        self.unchanged(when)?;
        for node in self.world.nodes_of(host) {
            let adverts = self.adverts_of(node);
            if adverts.len() < 19 || adverts.len() > 21 {
                return Err(format!("{} adverts in 20 intervals {when}", adverts.len()));
            }
        }
        Ok(())
    }

    fn adverts_of(&self, of: usize) -> Vec<Instant> {
        let of_node = self.world.recent().iter().filter(|note| note.node == of);
        of_node
            .filter(|note| matches!(note.what, What::Advert(_)))
            .map(|note| note.at)
            .collect()
    }

    fn unchanged(&self, when: &str) -> Outcome {
        self.unbroken()?;
        let changed = self
            .world
            .recent()
            .iter()
            .find(|note| matches!(note.what, What::Changed { .. }));
        changed.map_or(Ok(()), |note| Err(format!("a change of state {when}: {note:?}")))
    }

    /// Packets of a stranger that is worth less, that resigns from what it never had, or that copies our addresses:
    /// no change of state, and adverts neither late nor more than four times as many.
    fn stranger(&mut self) -> Outcome {
        let host = self.active_host();
        let interval = self.settings[host].interval;
        let ours = self.world.nodes[host * self.world.links]
            .router
            .priority()
            .map_or(1, |priority| priority.0);
        self.world.forget();
        for _ in 0..100 {
            let world = &mut self.world;
            let to = world.rng.below(world.nodes.len() as u64) as usize;
            let copies = world.rng.chance(20);
            let source = if copies {
                world.nodes[to].address
            } else {
                [10, 0, 9, world.rng.below(3) as u8].into()
            };
            let worth = if copies { 256 } else { u64::from(ours) };
            let priority = Priority(if world.rng.chance(40) {
                0
            } else {
                world.rng.below(worth) as u8
            });
            let interval = Duration::from_millis(10 + world.rng.below(1000));
            world.deliver(
                to,
                Input::Advert {
                    source,
                    priority,
                    interval,
                },
            );
            let pause = world.rng.time(self.settings[host].interval / 5);
            self.world.run(pause);
        }
        // A leaving router takes a stranger's packet for its successor's, and a slow stranger's lengthens the wait until
        // the next advert: what follows comes after that.
        self.world.run(interval + SLACK * 2);
        self.unchanged("because of a stranger")?;
        for node in self.world.nodes_of(host) {
            let adverts = self.adverts_of(node);
            let gap = adverts
                .windows(2)
                .map(|pair| pair[1].since(pair[0]))
                .max()
                .unwrap_or_default();
            if gap > interval + SLACK {
                return Err(format!("a stranger silenced the active for {gap:?}"));
            }
            if adverts.len() > 20 * 4 + 2 {
                return Err(format!("a stranger drew {} adverts", adverts.len()));
            }
        }
        Ok(())
    }

    /// A group on hosts of equal priority: its links may elect different hosts, and then it takes a few rounds until all
    /// follow the first link. That ends in agreement but promises no times.
    fn torn(&self) -> bool {
        let world = &self.world;
        let worth: Vec<_> = world
            .nodes
            .iter()
            .map(|node| (node.host, node.router.priority()))
            .collect();
        world.grouped
            && worth
                .iter()
                .any(|one| worth.iter().any(|other| one.0 != other.0 && one.1 == other.1))
    }

    /// The best of the others, as the protocol will see it: the skew decides.
    fn shortest_skew(&self, host: usize) -> Duration {
        let others = self.world.nodes.iter().filter(|node| node.host != host);
        others.map(|node| node.router.skew()).min().unwrap_or_default()
    }

    /// From the last advert of the router that is gone to the first of its successor.
    fn loss_of_the_active(&mut self, how: &str, lose: impl FnOnce(&mut World, usize)) -> Outcome {
        let host = self.active_host();
        let pause = self.world.rng.time(self.settings[host].interval);
        self.world.run(pause);
        let promised = self.settings[host].interval * 3 + self.shortest_skew(host) + SLACK;
        let torn = self.torn();
        let last_sent = self.world.nodes[host * self.world.links]
            .router
            .last_sent()
            .unwrap_or_default();
        self.world.forget();
        lose(&mut self.world, host);
        self.agree(&format!("after the active router {how}"))?;
        let first = self.first_change_to_active()?;
        if first.since(last_sent) > promised && !torn {
            return Err(format!(
                "{:?} without an active router, promised were {promised:?}",
                first.since(last_sent)
            ));
        }
        Ok(())
    }

    /// The active router freezes with the addresses and comes back up to eleven of its intervals later: agreement again.
    fn stall_of_the_active(&mut self) -> Outcome {
        let host = self.active_host();
        let interval = self.settings[host].interval;
        let time = interval + self.world.rng.time(interval * 10);
        self.world.forget();
        self.world.stall(host, time);
        self.world.run(time + SLACK);
        self.agree("after the active router froze")
    }

    fn first_change_to_active(&self) -> Result<Instant, String> {
        let mut changes = self.world.recent().iter();
        let first = changes.find(|note| {
            matches!(
                note.what,
                What::Changed {
                    to: State::Active,
                    ..
                }
            )
        });
        first
            .map(|note| note.at)
            .ok_or_else(|| "nobody became active".to_owned())
    }

    /// The active router leaves in good order: a successor within its skew, and no instant without a holder.
    fn hand_over(&mut self, how: &str, leave: impl FnOnce(&mut World, usize)) -> Outcome {
        let host = self.active_host();
        let promised = self.shortest_skew(host) + SLACK;
        self.world.forget();
        let (start, torn) = (self.world.now, self.torn());
        leave(&mut self.world, host);
        self.agree(how)?;
        if torn {
            return Ok(());
        }
        let took = self.first_change_to_active()?.since(start);
        if took > promised {
            return Err(format!(
                "{how}: a successor after {took:?}, promised were {promised:?}"
            ));
        }
        if self.world.fewest == 0 {
            return Err(format!("{how}: nobody held the addresses for a time"));
        }
        Ok(())
    }

    /// The active router is worth less all of a sudden: the best takes over or it stays, never without a holder.
    fn demotion(&mut self) -> Outcome {
        let host = self.active_host();
        let amount = -(self.world.rng.below(120) as i16);
        self.world.forget();
        self.world.set_worth(host, amount, true);
        self.world.run(self.settings[host].interval * 4);
        self.agree("demoted")?;
        if self.world.fewest == 0 && !self.torn() {
            return Err(format!(
                "demoted by {amount}: nobody held the addresses for a time"
            ));
        }
        Ok(())
    }

    fn print(&self) {
        let world = &self.world;
        for (index, node) in world.nodes.iter().enumerate() {
            println!(
                "node {index}: host {} link {} {:?}",
                node.host, node.link, node.router
            );
        }
        let long_ago = world.history().len().saturating_sub(1000);
        for note in world.history().iter().skip(long_ago) {
            println!("{:>16} node {} {:?}", note.at.as_nanos(), note.node, note.what);
        }
    }
}
