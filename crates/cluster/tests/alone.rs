//! What a node relies on, held against a node that is alone, while its disk loses what was not synced: many histories, each from one seed.
//!
//! - What a ticket called safe is there after any power cut; what was settled safely is not.
//! - Nothing is there that was not left, and what was left together is there together or not at all.
//! - Changes of the metadata that are there are the first ones, in order; those that were safe are there.
//!
//! `SEED=` starts with another seed, `SEEDS=` runs more of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use rand::prelude::*;
use warren_amqp::content::{self, DeliveryMode, Header, Properties};
use warren_amqp::hot;
use warren_cluster::meta_store::Found;
use warren_cluster::{Aftermath, ConfirmTicket, Follower, Gone, LogStore, Member, Placed, Purged, Waiter};
use warren_model::meta::{Change, Command};
use warren_model::{Message, MessageId, Meta, Name, Position, QueueId};
use warren_store::{Options, SimulatedDisk, Weather};

const QUEUES: u64 = 4;

type Place = (QueueId, Position);

/// What has been left, and what is known of it.
#[derive(Default)]
struct Model {
    /// Bodies, by place.
    placed: BTreeMap<Place, Bytes>,
    /// Of these a ticket was safe.
    safe: BTreeSet<Place>,
    /// Somebody said that these are done with, and of these a ticket was safe.
    settled: BTreeSet<Place>,
    settled_safely: BTreeSet<Place>,
    /// What was left together, as long as nobody settled any of it.
    together: Vec<Vec<Place>>,
    /// Where the next message of each queue goes.
    next: BTreeMap<QueueId, u64>,
    messages: u64,
    /// Vhosts that were added, and how many of them are safe.
    vhosts: u64,
    vhosts_safe: u64,
}

/// What one write said.
#[derive(Default)]
struct Said {
    placed: Vec<Place>,
    settled: Vec<Place>,
}

fn message(number: u64) -> (Arc<Message>, Bytes) {
    let properties = Properties::of(DeliveryMode::Persistent).header(8);
    let body = Bytes::copy_from_slice(&number.to_be_bytes());
    let header = Header::read(&properties).unwrap();
    let content = content::Message::new(&hot::Publish::default(), header, std::slice::from_ref(&body));
    let id = MessageId {
        incarnation: 1,
        sequence: number,
    };
    (Arc::new(Message::new(id, content).unwrap()), body)
}

fn vhost(number: u64) -> Name {
    Name::try_from(format!("v{number}").as_str()).unwrap()
}

impl Model {
    /// A few things to be kept and forgotten.
    fn leave(&mut self, rng: &mut StdRng, after: &mut Aftermath) -> Said {
        let mut said = Said::default();
        for number in 0..rng.random_range(0..6) {
            self.messages += 1;
            let (message, body) = message(self.messages);
            for queue in (1..=QUEUES).filter(|_| rng.random_ratio(1, 2)).map(QueueId) {
                let next = self.next.entry(queue).or_insert(1);
                let position = Position(*next);
                *next += 1;
                after.placed.push(Placed {
                    number,
                    message: Arc::clone(&message),
                    queue,
                    position,
                    expires: None,
                });
                self.placed.insert((queue, position), body.clone());
                said.placed.push((queue, position));
            }
        }
        for _ in 0..rng.random_range(0..4) {
            let Some(place) = self.placed.keys().choose(rng).copied() else {
                break;
            };
            if rng.random_ratio(1, 8) {
                // Only what there is can be purged: what is settled too early counts when it comes.
                let end = self.next.get(&place.0).map_or(place.1.0, |next| next - 1);
                let last = Position(end.min(place.1.0 + rng.random_range(0..5)));
                let through = self.placed.range(place..=(place.0, last));
                said.settled.extend(through.map(|(place, _)| *place));
                after.purged.push(Purged {
                    queue: place.0,
                    durable: true,
                    first: place.1,
                    last,
                });
            } else {
                after.settled.push(place);
                said.settled.push(place);
            }
        }
        self.settled.extend(&said.settled);
        self.together.push(said.placed.clone());
        said
    }

    fn is_safe(&mut self, said: &Said) {
        self.safe.extend(&said.placed);
        self.settled_safely.extend(&said.settled);
    }

    /// Compares with what a node finds, and goes on from there.
    fn check(&mut self, member: &Member) {
        let mut found: BTreeSet<Place> = BTreeSet::new();
        for queue in &member.recovered.queues {
            let mut entries = Vec::new();
            member.log.all(queue.id, Position(0), |some| entries.extend(some));
            assert_eq!(queue.run.map_or(0, |run| run.count), entries.len() as u64);
            for entry in entries {
                let place = (queue.id, entry.position);
                assert!(entry.position < queue.next, "{place:?} could be used again");
                let body: Vec<u8> = entry.message.content.pieces_of_body().flatten().collect();
                assert_eq!(
                    self.placed.get(&place).map(|body| &**body),
                    Some(&*body),
                    "{place:?}"
                );
                found.insert(place);
            }
        }
        for place in self.safe.difference(&self.settled) {
            assert!(found.contains(place), "{place:?} was safe, and is not there");
        }
        for place in &found {
            assert!(
                !self.settled_safely.contains(place),
                "{place:?} was settled, and is there"
            );
        }
        for together in &self.together {
            let unsettled = together.iter().filter(|place| !self.settled.contains(place));
            let there: Vec<bool> = unsettled.map(|place| found.contains(place)).collect();
            assert!(
                there.windows(2).all(|pair| pair[0] == pair[1]),
                "a part of {together:?}"
            );
        }
        // What is there now is on disk; what is not has never been.
        self.together.clear();
        self.placed.retain(|place, _| found.contains(place));
        self.settled.clear();
        self.settled_safely.clear();
        self.safe = found;
    }

    fn check_metadata(&mut self, member: &Member) {
        let there: Vec<bool> = member.view.read(|meta: &Meta| {
            (1..=self.vhosts)
                .map(|number| meta.vhost(&vhost(number)).is_some())
                .collect()
        });
        let first = there.iter().take_while(|there| **there).count() as u64;
        assert!(first >= self.vhosts_safe, "{first} of {}", self.vhosts_safe);
        assert!(
            !there
                .iter()
                .skip(usize::try_from(first).unwrap())
                .any(|there| *there),
            "a later change and not one before"
        );
        (self.vhosts, self.vhosts_safe) = (first, first);
    }
}

/// Counts what it is told.
#[derive(Default)]
struct Told {
    added: Mutex<Vec<Name>>,
}

impl Follower for Told {
    fn open_queue(&self, _meta: &Meta, _id: QueueId) {}

    fn follow(&self, _meta: &Meta, change: &Change, _after: &mut Aftermath) {
        if let Change::VhostAdded(name) = change {
            self.added.lock().push(name.clone());
        }
    }

    fn followed(&self, after: Aftermath) {
        assert!(after.is_done());
    }
}

#[derive(Default)]
struct Bell(AtomicUsize);

impl Waiter for Bell {
    fn safe(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Bell {
    fn rang(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

/// Longer than anything here takes, on a machine that does a lot besides.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for a ticket; it stays what it is then.
fn wait(log: &dyn LogStore, ticket: ConfirmTicket) -> bool {
    let bell = Arc::new(Bell::default());
    log.when_safe(ticket, Arc::clone(&bell) as Arc<dyn Waiter>);
    let is_safe = log.wait(ticket).is_ok();
    if is_safe {
        assert!(log.is_safe(ticket));
        let again = Arc::new(Bell::default());
        log.when_safe(ticket, Arc::clone(&again) as Arc<dyn Waiter>);
        assert!(again.rang(), "what is safe is said at once");
        let deadline = Instant::now() + PATIENCE;
        while !bell.rang() {
            assert!(Instant::now() < deadline, "nobody said that it is safe");
            std::thread::yield_now();
        }
    }
    is_safe
}

/// One node's life. Says whether the power went before it was over.
fn live(model: &mut Model, member: &Member, rng: &mut StdRng) {
    for _ in 0..rng.random_range(1..60) {
        if rng.random_ratio(1, 6) {
            let command = Command::AddVhost {
                name: vhost(model.vhosts + 1),
                description: String::new(),
            };
            let Ok((_, ticket)) = member.metadata.propose(command) else {
                return;
            };
            model.vhosts += 1;
            if rng.random_ratio(1, 2) && ticket.is_some_and(|ticket| wait(&*member.log, ticket)) {
                model.vhosts_safe = model.vhosts;
                assert_eq!(member.metadata.under_way(), None);
            }
            continue;
        }
        let mut after = Aftermath::default();
        let said = model.leave(rng, &mut after);
        let Ok(ticket) = member.log.write(&mut after) else {
            return;
        };
        assert!(after.is_done(), "nothing is left to be kept");
        assert_eq!(
            ticket.is_none(),
            said.placed.is_empty() && said.settled.is_empty()
        );
        if let Some(ticket) = ticket
            && rng.random_ratio(1, 3)
        {
            match wait(&*member.log, ticket) {
                true => model.is_safe(&said),
                false => {
                    assert!(
                        !member.session.holds(),
                        "a node whose log has ended may not serve"
                    );
                    return;
                }
            }
        }
    }
}

fn history(seed: u64) -> usize {
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut disk, mut model, mut found) = (SimulatedDisk::default(), Model::default(), 0);
    for _ in 0..5 {
        disk.set_weather(Weather::default());
        let options = Options {
            segment_octets: 64 << 10,
            ..Options::default()
        };
        let member = Member::alone_on(Arc::new(disk.clone()), Path::new("/data"), options).unwrap();
        model.check(&member);
        found += model.placed.len();
        let told = Arc::new(Told::default());
        let follower: Arc<dyn Follower> = told.clone();
        let started = member.metadata.start(Arc::downgrade(&follower)).unwrap();
        model.check_metadata(&member);
        assert_eq!(started == Found::Nothing, model.vhosts == 0);
        assert_eq!(
            told.added.lock().len() as u64,
            model.vhosts,
            "each change is told once"
        );
        let mut weather = Weather::default();
        match rng.random_range(0..4) {
            0 => {}
            1 => weather.sync_fails_at = Some(disk.syncs() + rng.random_range(0..20)),
            _ => weather.power_cut_at = Some(disk.operations() + rng.random_range(0..40)),
        }
        disk.set_weather(weather);
        live(&mut model, &member, &mut rng);
        disk.set_weather(Weather {
            power_cut_at: Some(0),
            ..Weather::default()
        });
        drop(member);
        disk = disk.after_power_cut(&mut || rng.random());
    }
    found
}

#[test]
fn what_is_safe_outlives_any_power_cut() {
    let number = |name: &str, otherwise: u64| {
        std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
    };
    let (first, count) = (number("SEED", 1), number("SEEDS", 300));
    let mut found = 0;
    for seed in first..first + count {
        println!("SEED={seed}");
        found += history(seed);
    }
    println!("{found} messages were found again");
    assert!(found > 0);
}

/// A queue that is gone takes its messages along; other queues keep theirs, the same messages included.
#[test]
fn a_deleted_queue_leaves_the_messages_of_others() {
    let disk = SimulatedDisk::default();
    let open = || Member::alone_on(Arc::new(disk.clone()), Path::new("/data"), Options::default()).unwrap();
    let member = open();
    let (message, _) = message(1);
    let mut after = Aftermath::default();
    for queue in [1, 2] {
        after.placed.push(Placed {
            number: 0,
            message: Arc::clone(&message),
            queue: QueueId(queue),
            position: Position(5),
            expires: None,
        });
    }
    member.log.write(&mut after).unwrap();
    after.gone.push(Gone {
        queue: QueueId(1),
        durable: true,
    });
    let ticket = member
        .log
        .write(&mut after)
        .unwrap()
        .expect("something to be kept");
    member.log.wait(ticket).unwrap();
    drop(member);
    let member = open();
    let queues: Vec<u64> = member.recovered.queues.iter().map(|queue| queue.id.0).collect();
    assert_eq!(queues, [2]);
    assert_eq!(member.recovered.messages(), 1);
    let found = member.log.fetch(QueueId(2), Position(0), 10, 1000).unwrap();
    assert_eq!(found.through, Some(Position(5)));
}
