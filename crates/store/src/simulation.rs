//! The log on a disk that loses power, loses what was not synced, tears writes, fails to sync and fills up, over many seeds.
//!
//! Writer and keeper are driven step by step instead of by threads, so that a seed always does the same. The rule that is checked after every
//! crash is the strongest there is: what recovery finds is exactly what the first *n* batches said, and *n* is at least the number of
//! batches that had been reported durable. `SEED=n` replays one seed, `SEEDS=n` runs so many.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::{SimulatedDisk, Weather};
use crate::keeper::Keeper;
use crate::recovery::recover;
use crate::shared::Shared;
use crate::writer::{Submitted, Writer};
use crate::{Batch, Durability, Message, MessageId, Options, Place, StreamId, identity};

const DIRECTORY: &str = "/data";
const SEGMENT: u64 = 8 << 10;

/// Chance that depends on the seed only.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

/// What a batch says, as the checker understands it.
#[derive(Debug, Clone)]
enum Said {
    Message {
        places: Vec<(StreamId, u64)>,
        size: usize,
    },
    Settled(StreamId, RangeInclusive<u64>),
    Removed(StreamId),
}

/// Streams with their live positions and the size of each message.
type State = BTreeMap<StreamId, BTreeMap<u64, usize>>;

fn apply(state: &mut State, early: &mut BTreeSet<(StreamId, u64)>, said: &Said) {
    match said {
        Said::Message { places, size } => {
            for (stream, position) in places {
                if !early.contains(&(*stream, *position)) {
                    state.entry(*stream).or_default().insert(*position, *size);
                }
            }
        }
        Said::Settled(stream, range) => {
            // Purges name positions that never come; only single ones overtake.
            if range.start() == range.end() {
                early.insert((*stream, *range.start()));
            }
            if let Some(positions) = state.get_mut(stream) {
                positions.retain(|position, _| !range.contains(position));
            }
        }
        Said::Removed(stream) => drop(state.remove(stream)),
    }
}

/// What a place stands for, so that a message can be recognised.
fn tag(stream: StreamId, position: u64) -> u32 {
    (stream.0 * 1000 + position) as u32
}

fn body(sequence: u64, size: usize) -> Vec<u8> {
    let mut octets = Dice(sequence).next().to_le_bytes().repeat(size / 8 + 1);
    octets.truncate(size);
    octets
}

struct World {
    dice: Dice,
    disk: SimulatedDisk,
    options: Options,
    /// Everything that every batch said, by sequence.
    history: Vec<Vec<Said>>,
    /// Batches that were reported durable.
    durable: u64,
    next_position: BTreeMap<StreamId, u64>,
    next_stream: u64,
    /// Sequence of the message that is stored in a place.
    stored: BTreeMap<(StreamId, u64), u64>,
    messages: u64,
    torn: u64,
    recoveries: u64,
    /// Newest segments that were taken away and had something in them that was durable.
    missed: u64,
}

/// A life of the log, from a start to a crash.
struct Life {
    shared: Arc<Shared>,
    writer: Writer,
    keeper: Keeper,
    waiting: Vec<Submitted>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let options = Options {
            segment_octets: SEGMENT,
            spares: 3 + dice.below(2) as usize,
            durability: if dice.one_in(8) {
                Durability::System
            } else {
                Durability::Disk
            },
            ..Options::default()
        };
        Self {
            dice,
            disk: SimulatedDisk::default(),
            options,
            history: Vec::new(),
            durable: 0,
            next_position: BTreeMap::new(),
            next_stream: 3,
            stored: BTreeMap::new(),
            messages: 0,
            torn: 0,
            recoveries: 0,
            missed: 0,
        }
    }

    /// The state after so many batches.
    fn state(&self, batches: usize) -> State {
        let (mut state, mut early) = (State::new(), BTreeSet::new());
        for said in self.history[..batches].iter().flatten() {
            apply(&mut state, &mut early, said);
        }
        state.retain(|_, positions| !positions.is_empty());
        state
    }

    /// Starts the log, and checks what it found. `None`: the power went before it was up.
    fn start(&mut self) -> Option<Life> {
        let disk: Arc<dyn crate::Disk> = Arc::new(self.disk.clone());
        let power_gone = |error: &crate::OpenError| matches!(error, crate::OpenError::Disk { .. });
        let opened = identity::take(&*disk, Path::new(DIRECTORY)).and_then(|identity| {
            let shared = Arc::new(Shared::new(
                disk,
                DIRECTORY.into(),
                self.options.clone(),
                &identity,
            ));
            let found = recover(&shared, &identity)?;
            Ok((shared, found))
        });
        let (shared, (recovered, segment, sequence)) = match opened {
            Ok(opened) => opened,
            Err(error) if power_gone(&error) => return None,
            Err(error) => panic!("recovery refused: {error}"),
        };
        self.recoveries += 1;
        self.torn += u64::from(recovered.torn.is_some());
        assert!(
            sequence >= self.durable,
            "{} batches were durable, {sequence} are left",
            self.durable
        );
        assert!(sequence <= self.history.len() as u64);
        self.history.truncate(sequence as usize);
        self.durable = sequence;
        let keeper = Keeper::new(shared.clone());
        let writer = Writer::new(shared.clone(), segment, sequence);
        let life = Life {
            shared,
            writer,
            keeper,
            waiting: Vec::new(),
        };
        let state = self.state(sequence as usize);
        self.check(&life, &state);
        let found: BTreeMap<_, _> = (recovered.streams.iter().filter(|one| one.messages > 0))
            .map(|one| (one.stream, (one.messages, one.octets, one.first)))
            .collect();
        let expected: BTreeMap<_, _> = (state.iter())
            .map(|(stream, positions)| {
                let octets = positions.values().sum::<usize>() as u64;
                (
                    *stream,
                    (positions.len() as u64, octets, positions.keys().next().copied()),
                )
            })
            .collect();
        assert_eq!(found, expected);
        for one in &recovered.streams {
            assert!(one.next <= self.next_position.get(&one.stream).copied().unwrap_or(0));
            let last = state
                .get(&one.stream)
                .and_then(|positions| positions.keys().next_back());
            assert!(last.is_none_or(|last| one.next > *last));
        }
        Some(life)
    }

    /// Whatever is lost with the newest segment, whoever starts without it gets no log with less than was durable.
    fn start_without_newest(&mut self) {
        let disk = self.disk.copy();
        let newest = disk.files().into_iter().map(|(path, _)| path).rfind(|path| {
            let name = path.extension().and_then(|kind| kind.to_str());
            name == Some("segment")
        });
        let Some(newest) = newest else { return };
        match self.dice.below(3) {
            0 => disk.damage(&newest, |octets| octets.clear()),
            1 => disk.damage(&newest, |octets| octets.fill(0)),
            _ => crate::Disk::remove(&disk, &newest).unwrap(),
        }
        let opened = identity::take(&disk, Path::new(DIRECTORY)).and_then(|identity| {
            let shared = Shared::new(Arc::new(disk), DIRECTORY.into(), self.options.clone(), &identity);
            recover(&shared, &identity)
        });
        match opened {
            Ok((_, _, sequence)) => {
                assert!(sequence >= self.durable, "{newest:?} is gone, and nobody noticed")
            }
            Err(error) => {
                assert!(error.to_string().contains(newest.to_str().unwrap()), "{error}");
                self.missed += 1;
            }
        }
    }

    /// Every stream has these messages and no other.
    fn check(&mut self, life: &Life, state: &State) {
        let accounted: u64 = life
            .shared
            .index
            .lock()
            .segments
            .values()
            .map(|used| used.live)
            .sum();
        assert_eq!(
            accounted,
            state
                .values()
                .map(|positions| positions.len() as u64)
                .sum::<u64>()
        );
        for stream in (0..self.next_stream).map(StreamId) {
            let expected = state.get(&stream).cloned().unwrap_or_default();
            let mut found = BTreeMap::new();
            let mut from = 0;
            loop {
                let (count, octets) = (1 + self.dice.below(20) as usize, self.dice.below(10_000));
                let some = life.shared.fetch(stream, from, count, octets).unwrap();
                let Some(last) = some.last() else { break };
                from = last.position + 1;
                for one in some {
                    let sequence = self.stored[&(stream, one.position)];
                    assert_eq!(one.id.sequence, sequence);
                    assert_eq!(one.tag, tag(stream, one.position));
                    assert_eq!(&one.head[..], sequence.to_string().as_bytes());
                    assert!(one.body == body(sequence, one.body.len()), "another body");
                    assert!(
                        found.insert(one.position, one.body.len()).is_none(),
                        "a position twice"
                    );
                }
            }
            assert_eq!(found, expected, "{stream:?}");
        }
    }

    fn stream(&mut self) -> StreamId {
        StreamId(self.next_stream - 1 - self.dice.below(3))
    }

    fn put(&mut self, batch: &mut Batch, said: &mut Vec<Said>, overtaken: bool) -> (StreamId, u64) {
        let count = if self.dice.one_in(5) { 3 } else { 1 };
        let mut streams: Vec<_> = (0..count).map(|_| self.stream()).collect();
        streams.sort_unstable();
        streams.dedup();
        let size = match self.dice.below(30) {
            0 => 20_000,
            1..10 => self.dice.below(3000) as usize,
            _ => self.dice.below(200) as usize,
        };
        // One that is settled beforehand must be small enough to be in the same or the next segment.
        let size = if overtaken { size.min(100) } else { size };
        let mut places = Vec::new();
        for stream in streams {
            let next = self.next_position.entry(stream).or_default();
            // Positions have gaps, where transient messages were.
            *next += 1 + u64::from(self.dice.one_in(4));
            let position = *next - 1;
            self.stored.insert((stream, position), self.messages);
            places.push(Place {
                stream,
                position,
                tag: tag(stream, position),
            });
        }
        let body = body(self.messages, size);
        let (one, other) = body.split_at(self.dice.below(size as u64 + 1) as usize);
        batch.message(Message {
            id: MessageId {
                incarnation: 1,
                sequence: self.messages,
            },
            places: &places,
            head: &[self.messages.to_string().as_bytes()],
            body: &[Bytes::copy_from_slice(one), Bytes::copy_from_slice(other)],
        });
        self.messages += 1;
        let first = (places[0].stream, places[0].position);
        let places = places
            .iter()
            .map(|place| (place.stream, place.position))
            .collect();
        said.push(Said::Message { places, size });
        first
    }

    fn settle(&mut self, batch: &mut Batch, said: &mut Vec<Said>) {
        let stream = self.stream();
        let next = self.next_position.get(&stream).copied().unwrap_or(0);
        let range = match self.dice.below(3) {
            // A purge, an acknowledgement of many, of one.
            0 if self.dice.one_in(4) => 0..=next.saturating_sub(1),
            1 => {
                let from = self.dice.below(next + 1).saturating_sub(1);
                from..=(from + 1 + self.dice.below(9))
                    .min(next.saturating_sub(1))
                    .max(from)
            }
            _ => {
                let one = self.dice.below(next + 1).saturating_sub(1);
                one..=one
            }
        };
        // Positions that were never used must not be settled.
        if next > 0 && *range.end() < next {
            batch.settle(stream, std::slice::from_ref(&range));
            said.push(Said::Settled(stream, range));
        }
    }

    /// A batch of anything, or two of which the first settles what the second brings.
    fn batches(&mut self) -> Vec<(Batch, Vec<Said>)> {
        let (mut batch, mut said) = (Batch::new(), Vec::new());
        if self.dice.one_in(10) {
            let (mut second, mut said_then) = (Batch::new(), Vec::new());
            let (stream, position) = self.put(&mut second, &mut said_then, true);
            batch.settle(stream, &[position..=position]);
            said.push(Said::Settled(stream, position..=position));
            return vec![(batch, said), (second, said_then)];
        }
        for _ in 0..self.dice.below(6) {
            match self.dice.below(40) {
                0 => {
                    let stream = self.stream();
                    batch.remove(stream);
                    said.push(Said::Removed(stream));
                    // Numbers are never used again.
                    self.next_stream += 3;
                }
                1..20 => self.settle(&mut batch, &mut said),
                _ => drop(self.put(&mut batch, &mut said, false)),
            }
        }
        vec![(batch, said)]
    }

    /// What consumers do while the disk is full: they take the oldest messages.
    fn consume(&self, life: &Life) -> Vec<(Batch, Vec<Said>)> {
        let state = self.state(life.writer.sequence() as usize);
        let (mut batch, mut said) = (Batch::new(), Vec::new());
        for (stream, positions) in state {
            let last = positions.keys().nth(10).or_else(|| positions.keys().next_back());
            let range = 0..=last.copied().unwrap_or(0);
            batch.settle(stream, std::slice::from_ref(&range));
            said.push(Said::Settled(stream, range));
        }
        vec![(batch, said)]
    }

    fn submit(&mut self, life: &mut Life) -> Result<(), ()> {
        let full = life.shared.space.lock().full;
        let batches = if full && self.dice.one_in(2) {
            self.consume(life)
        } else {
            self.batches()
        };
        for (mut batch, said) in batches {
            // Refused, its positions remain gaps; and nobody acknowledges twice all the time.
            let useless = said
                .iter()
                .all(|one| !matches!(one, Said::Settled(_, range) if *range.start() == 0));
            if full && (batch.may_be_refused() || useless) {
                continue;
            }
            let waiting: u64 = life.waiting.iter().map(|one| one.batch.octets()).sum();
            if waiting > 0 && waiting + batch.octets() > self.options.segment_octets / 2 {
                // Its appender would have to wait; here it goes away.
                continue;
            }
            let needed = batch.octets() + crate::format::SEGMENT_HEADER as u64;
            let room = (needed > self.options.segment_octets).then(|| life.shared.make_spare(needed));
            let room = match room {
                Some(Err(error)) if error.kind() == std::io::ErrorKind::StorageFull => continue,
                Some(Err(_)) => return Err(()),
                Some(Ok(room)) => Some(room),
                None => None,
            };
            batch.sum();
            self.history.push(said);
            life.waiting.push(Submitted { batch, room });
        }
        Ok(())
    }

    /// One thing happens. `Err`: the log has ended.
    fn step(&mut self, life: &mut Life) -> Result<(), ()> {
        let (shared, disk) = (life.shared.clone(), self.disk.clone());
        let failed = |error: crate::Fatal| {
            let kind = error.source.kind();
            if kind == std::io::ErrorKind::StorageFull {
                eprintln!(
                    "{:?} {:?} {:?}",
                    shared.index.lock().segments,
                    shared.tasks.lock().len(),
                    disk.files()
                );
            }
            assert_ne!(kind, std::io::ErrorKind::StorageFull, "{error}");
        };
        match self.dice.below(20) {
            0..8 if life.waiting.len() < 6 => self.submit(life)?,
            0..14 => {
                while !life.shared.may_write() {
                    life.keeper.prepare().map_err(failed)?;
                    life.keeper.step().map_err(failed)?;
                }
                life.writer.commit(&mut life.waiting).map_err(failed)?;
                if self.options.durability == Durability::Disk {
                    self.durable = life.writer.sequence();
                }
                life.waiting.clear();
            }
            14 => {
                life.writer.sync().map_err(failed)?;
                self.durable = life.writer.sequence();
            }
            15 => life.keeper.prepare().map_err(failed)?,
            16 | 17 => drop(life.keeper.step().map_err(failed)?),
            18 => {
                for batch in life.keeper.copy_forward() {
                    self.history.push(Vec::new());
                    life.waiting.push(Submitted { batch, room: None });
                }
            }
            _ if self.dice.one_in(4) => {
                let state = self.state(life.writer.sequence() as usize);
                self.check(life, &state);
            }
            _ if self.dice.one_in(40) => life.writer.seal(true).map_err(failed)?,
            _ => {}
        }
        Ok(())
    }

    fn run(&mut self, lives: u64) {
        for _ in 0..lives {
            let horizon = 1 + self.dice.below(400);
            let operations = self.disk.operations();
            let fails = self.dice.one_in(6);
            self.disk.set_weather(Weather {
                power_cut_at: Some(operations + horizon),
                sync_fails_at: fails.then(|| self.disk.syncs() + 1 + self.dice.below(60)),
                ..Weather::default()
            });
            if let Some(mut life) = self.start() {
                while self.step(&mut life).is_ok() {}
            }
            let dice = &mut self.dice;
            // Mostly a cut that keeps some, sometimes one that keeps all (a kill) or nothing.
            let keeps = dice.below(5);
            self.disk = self.disk.after_power_cut(&mut || match keeps {
                0 => true,
                1 => false,
                _ => dice.one_in(2),
            });
            self.start_without_newest();
        }
        let life = self.start().expect("the power is back");
        let state = self.state(self.history.len());
        self.check(&life, &state);
    }
}

fn seeds(default: u64) -> RangeInclusive<u64> {
    let number = |name| {
        std::env::var(name)
            .ok()
            .map(|value| value.parse::<u64>().unwrap())
    };
    match (number("SEED"), number("SEEDS")) {
        (Some(seed), _) => seed..=seed,
        (None, count) => 1..=count.unwrap_or(default),
    }
}

/// Runs seeds on all cores, and says which one failed.
fn each_seed(default: u64, run: impl Fn(u64) + Sync) {
    let seeds = seeds(default);
    let threads = std::thread::available_parallelism().map_or(2, |count| count.get() as u64);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (seeds, run) = (seeds.clone(), &run);
            scope.spawn(move || {
                for seed in seeds.skip(thread as usize).step_by(threads as usize) {
                    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(seed))).is_err() {
                        panic!("SEED={seed} failed");
                    }
                }
            });
        }
    });
}

#[test]
fn recovery_is_a_prefix_with_everything_durable_after_any_crash() {
    let totals = parking_lot::Mutex::new((0, 0, 0, 0));
    each_seed(2000, |seed| {
        let mut world = World::new(seed);
        world.run(6);
        let mut totals = totals.lock();
        totals.0 += world.recoveries;
        totals.1 += world.torn;
        totals.2 += world.messages;
        totals.3 += world.missed;
    });
    let (recoveries, torn, messages, missed) = *totals.lock();
    // The weather was bad enough to mean something.
    if std::env::var_os("SEED").is_none() {
        assert!(
            torn * 20 > recoveries && messages > recoveries && missed * 4 > recoveries,
            "{torn} torn of {recoveries}, {messages} messages, {missed} newest segments missed"
        );
    }
}

#[test]
fn a_full_disk_never_ends_the_log_and_loses_nothing() {
    let refused = parking_lot::Mutex::new(0);
    each_seed(100, |seed| {
        let mut world = World::new(seed);
        // The reserve is made for segments that are large beside what is written about them.
        world.options.segment_octets = 8 * SEGMENT;
        world.disk.set_weather(Weather {
            capacity: Some(world.options.segment_octets * (6 + world.dice.below(8))),
            ..Weather::default()
        });
        let mut life = world.start().unwrap();
        for _ in 0..1500 {
            world.step(&mut life).expect("it goes on");
        }
        *refused.lock() += u64::from(life.shared.space.lock().full);
        let state = world.state(life.writer.sequence() as usize);
        world.check(&life, &state);
    });
    assert!(*refused.lock() > 0 || std::env::var_os("SEED").is_some());
}

/// Whoever takes what is there makes room, however little room there is and wherever the few things are that stay: two segments beside the
/// reserve are enough.
#[test]
fn a_full_disk_has_room_again_when_messages_were_taken() {
    for segments in 5..9 {
        each_seed(20, |seed| {
            let mut world = World::new(seed);
            world.options.segment_octets = 8 * SEGMENT;
            let reserve = world.options.spares as u64 - 3;
            world.disk.set_weather(Weather {
                capacity: Some(world.options.segment_octets * (segments + reserve) + (32 << 10)),
                ..Weather::default()
            });
            let mut life = world.start().unwrap();
            let kept = StreamId(77);
            let mut position = 0;
            for round in 0..6 {
                // Few large messages, and among them one small thing after another that stays.
                let filled = (0..200).any(|_| {
                    life.append(place_batch(StreamId(1), position, 6000));
                    if world.dice.one_in(8) {
                        life.append(place_batch(kept, position, 10));
                    }
                    position += 1;
                    life.rest();
                    life.shared.space.lock().full
                });
                assert!(filled, "round {round}");
                let mut batch = Batch::new();
                batch.settle(StreamId(1), &[0..=position]);
                life.append(batch);
                let freed = (0..50).any(|_| {
                    life.rest();
                    !life.shared.space.lock().full
                });
                assert!(
                    freed,
                    "round {round} with {segments} segments: {:?}",
                    world.disk.files()
                );
            }
        });
    }
}

#[test]
fn a_scrub_reads_all_sealed_segments_and_finds_each_that_is_damaged() {
    let mut world = World::new(1);
    let mut life = world.start().unwrap();
    for position in 0..100 {
        life.append(place_batch(StreamId(1), position, 1000));
    }
    life.rest();
    let mut scrub = crate::scrub::Scrub::new(life.shared.clone());
    let mut all = |life: &Life| {
        let mut damaged = Vec::new();
        let before = life.shared.counters.picture().scrubbed_octets;
        while scrub.step(|what| damaged.push(what)).is_some() {}
        (life.shared.counters.picture().scrubbed_octets - before, damaged)
    };
    let sealed: Vec<_> = life.shared.index.lock().sealed().collect();
    let octets: u64 = sealed.iter().map(|(_, used)| used.octets).sum();
    let heads = (sealed.len() * crate::format::SEGMENT_HEADER) as u64;
    assert_eq!(all(&life), (octets - heads, vec![]));
    let (segment, used) = sealed[3];
    let path = life.shared.path(crate::shared::Kind::Frames, segment);
    for at in [
        crate::format::SEGMENT_HEADER as u64,
        used.octets / 2,
        used.octets - 1,
    ] {
        world.disk.damage(&path, |octets| octets[at as usize] ^= 1);
        let (read, damaged) = all(&life);
        assert_eq!((read, damaged.len()), (octets - heads, 1), "{damaged:?}");
        assert!(damaged[0].starts_with(path.to_str().unwrap()), "{damaged:?}");
        world.disk.damage(&path, |octets| octets[at as usize] ^= 1);
    }
    // What nobody needs any more is not looked at.
    let mut batch = Batch::new();
    batch.settle(StreamId(1), &[0..=99]);
    life.append(batch);
    life.rest();
    assert_eq!(all(&life), (0, vec![]));
    assert_eq!(life.shared.counters.picture().damaged, 3);
}

/// A message of one stream.
fn place_batch(stream: StreamId, position: u64, size: usize) -> Batch {
    let mut batch = Batch::new();
    let (id, tag) = (MessageId::default(), 0);
    let (places, body) = (
        [Place {
            stream,
            position,
            tag,
        }],
        [Bytes::from(vec![7; size])],
    );
    batch.message(Message {
        id,
        places: &places,
        head: &[],
        body: &body,
    });
    batch
}

impl Life {
    fn append(&mut self, mut batch: Batch) {
        batch.sum();
        while !self.shared.may_write() {
            self.keep();
        }
        self.writer
            .commit(&mut [Submitted { batch, room: None }])
            .unwrap();
    }

    fn keep(&mut self) {
        self.keeper.prepare().unwrap();
        while self.keeper.step().unwrap() {
            self.keeper.prepare().unwrap();
        }
    }

    /// What the threads do when nothing comes.
    fn rest(&mut self) {
        self.keep();
        for batch in self.keeper.copy_forward() {
            self.append(batch);
        }
        if self
            .shared
            .seal_wanted
            .swap(false, std::sync::atomic::Ordering::Relaxed)
        {
            self.writer.seal(true).unwrap();
        }
        self.keep();
    }
}
