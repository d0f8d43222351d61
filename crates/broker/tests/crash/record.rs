//! What was published, confirmed, delivered and settled, and what of it contradicts the rest.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;

/// A message: who published it, and its number among his.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Id {
    pub(crate) publisher: u32,
    pub(crate) number: u32,
    pub(crate) priority: u8,
}

impl Id {
    pub(crate) fn body(self, padding: usize) -> bytes::Bytes {
        let mut body = Vec::with_capacity(9 + padding);
        body.extend(self.publisher.to_be_bytes());
        body.extend(self.number.to_be_bytes());
        body.push(self.priority);
        body.resize(9 + padding, b'.');
        body.into()
    }

    pub(crate) fn of(body: &[u8]) -> Self {
        let number = |at: usize| u32::from_be_bytes(body[at..at + 4].try_into().unwrap());
        Self {
            publisher: number(0),
            number: number(4),
            priority: body[8],
        }
    }
}

/// What became of a message in one queue.
#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    confirmed: bool,
    /// Its publisher was told that nobody gets it.
    refused: bool,
    deliveries: u32,
    /// One of them said that nobody had seen it before.
    new: bool,
    /// In which life of the broker it was delivered last, and with which counts in that, as bits.
    life: u32,
    counts: u64,
    /// So often it was given out for sure, as of a life: it is on disk.
    counted: (u32, u32),
    /// Consumers that its queue had had when the life began in which it was published.
    opened: u32,
    /// A consumer has said that it is done with it.
    settled: bool,
    /// A confirm of something later came on the same connection: the settling is on disk.
    flushed: bool,
    /// It may be missing: its queue was purged or deleted.
    excused: bool,
}

/// By queue and message.
#[derive(Default)]
pub(crate) struct Record {
    fates: Mutex<HashMap<(&'static str, Id), Fate>>,
    life: AtomicU32,
    /// Queues that may not be there now: what is published to them may go nowhere, and be confirmed all the same.
    absent: Mutex<HashSet<&'static str>>,
    /// Consumers that queues have had, and how many before this life.
    opened: Mutex<HashMap<&'static str, (u32, u32)>>,
    /// The disk has room at all times: how often messages were given out is written like everything else.
    has_room: bool,
    /// Messages that came after what was on disk of them in an earlier life.
    compared: AtomicU32,
}

/// What one consumer saw last of each publisher that nobody had seen before.
#[derive(Default)]
pub(crate) struct Order(HashMap<(u32, u8), u32>);

impl Record {
    /// Of brokers whose disk has room at all times.
    pub(crate) fn with_room() -> Self {
        Self {
            has_room: true,
            ..Self::default()
        }
    }

    /// The broker has been started, and all queues are going to be declared.
    pub(crate) fn started(&self) {
        self.life.fetch_add(1, Ordering::Relaxed);
        self.absent.lock().clear();
        let mut opened = self.opened.lock();
        opened.values_mut().for_each(|(all, before)| *before = *all);
    }

    /// A consumer comes: he may be given messages that he never reads, each once.
    pub(crate) fn opened(&self, queue: &'static str) {
        self.opened.lock().entry(queue).or_default().0 += 1;
    }

    /// A queue is going to be deleted, or has been declared again.
    pub(crate) fn set_absent(&self, queue: &'static str, absent: bool) {
        let mut queues = self.absent.lock();
        match absent {
            true => queues.insert(queue),
            false => queues.remove(queue),
        };
    }

    /// Before it is sent.
    pub(crate) fn published(&self, queue: &'static str, id: Id) {
        let fate = Fate {
            excused: self.absent.lock().contains(queue),
            opened: self.opened.lock().get(queue).map_or(0, |(_, before)| *before),
            ..Fate::default()
        };
        let before = self.fates.lock().insert((queue, id), fate);
        assert!(before.is_none());
    }

    pub(crate) fn confirmed(&self, queue: &'static str, id: Id) {
        self.change(queue, id, |fate| fate.confirmed = true);
    }

    /// None of its queues rejects what others take: so nobody has it, nor ever will.
    pub(crate) fn refused(&self, queue: &'static str, id: Id) {
        self.change(queue, id, |fate| {
            assert_eq!(
                fate.deliveries, 0,
                "{queue} had delivered {id:?}, which was refused"
            );
            fate.refused = true;
        });
    }

    /// `count`: so often it came back, if its queue counts that.
    pub(crate) fn delivered(
        &self,
        queue: &'static str,
        id: Id,
        redelivered: bool,
        count: Option<u32>,
        order: &mut Order,
    ) {
        let life = self.life.load(Ordering::Relaxed);
        let opened = self.opened.lock().get(queue).map_or(0, |(all, _)| *all);
        let mut fates = self.fates.lock();
        let Some(fate) = fates.get_mut(&(queue, id)) else {
            panic!("{queue} delivers {id:?}, which nobody published");
        };
        assert!(!fate.refused, "{queue} delivers {id:?}, which was refused");
        if let Some(count) = count {
            let known = fate.count(queue, id, count, life, opened);
            self.compared.fetch_add(known.into(), Ordering::Relaxed);
        }
        fate.deliveries += 1;
        // Not more than once. Whoever was sent away may read it after the one who has got it since.
        assert!(
            redelivered || !fate.new,
            "{queue} delivers {id:?} again and says that it is new: {fate:?}, now {life}"
        );
        fate.new |= !redelivered;
        fate.life = life;
        assert!(
            !fate.flushed,
            "{queue} delivers {id:?}, which was settled: {fate:?}"
        );
        if !redelivered {
            order.next(queue, id);
        }
    }

    /// Before it is sent.
    pub(crate) fn settled(&self, queue: &'static str, id: Id) {
        self.change(queue, id, |fate| fate.settled = true);
    }

    pub(crate) fn flushed(&self, queue: &'static str, id: Id) {
        self.change(queue, id, |fate| fate.flushed = true);
    }

    /// A message was given out so often: that is on disk.
    pub(crate) fn counted(&self, queue: &'static str, id: Id, count: u32) {
        if self.has_room {
            let life = self.life.load(Ordering::Relaxed);
            self.change(queue, id, |fate| fate.counted = fate.counted.max((life, count)));
        }
    }

    /// What was published to the queue until now may be missing.
    pub(crate) fn wiped(&self, queue: &'static str) {
        let mut fates = self.fates.lock();
        let of_queue = fates.iter_mut().filter(|((name, _), _)| *name == queue);
        of_queue.for_each(|(_, fate)| fate.excused = true);
    }

    /// All that the queue still had was `drained` by one consumer, in this order.
    pub(crate) fn check_drained(&self, queue: &'static str, drained: &[Id]) {
        let mut order = Order::default();
        drained.iter().for_each(|id| order.next(queue, *id));
        let drained: BTreeMap<Id, ()> = drained.iter().map(|id| (*id, ())).collect();
        let fates = self.fates.lock();
        let missing: Vec<_> = fates
            .iter()
            .filter(|((name, id), fate)| {
                let has_to_be = fate.confirmed && !fate.settled && !fate.excused;
                *name == queue && has_to_be && !drained.contains_key(id)
            })
            .collect();
        assert!(
            missing.is_empty(),
            "{queue} lost {} messages that it had confirmed, of them {:?}",
            missing.len(),
            missing.iter().take(5).collect::<Vec<_>>()
        );
    }

    /// How many messages there were of which it was known how often they had been given out.
    pub(crate) fn compared(&self) -> u32 {
        self.compared.load(Ordering::Relaxed)
    }

    /// How many there were in all: published, confirmed, delivered, flushed, refused.
    pub(crate) fn sums(&self) -> [usize; 5] {
        let fates = self.fates.lock();
        let count = |is: fn(&Fate) -> bool| fates.values().filter(|fate| is(fate)).count();
        [
            fates.len(),
            count(|fate| fate.confirmed),
            count(|fate| fate.deliveries > 0),
            count(|fate| fate.flushed),
            count(|fate| fate.refused),
        ]
    }

    fn change(&self, queue: &'static str, id: Id, change: impl FnOnce(&mut Fate)) {
        change(self.fates.lock().get_mut(&(queue, id)).unwrap());
    }
}

impl Fate {
    /// It is delivered, having come back so often. Says whether it was known how often at least.
    fn count(&mut self, queue: &str, id: Id, count: u32, life: u32, opened: u32) -> bool {
        if self.life != life {
            self.counts = 0;
        }
        let bit = 1_u64.checked_shl(count).unwrap_or(0);
        assert!(
            self.counts & bit == 0,
            "{queue} delivers {id:?} twice as the same time: {count}, {self:?}"
        );
        self.counts |= bit;
        // Once by each who read it, and once by each who did not come to that.
        let most = self.deliveries + (opened - self.opened);
        assert!(
            count <= most,
            "{queue} delivers {id:?} and says {count}, not {most} at most: {self:?}"
        );
        let (of_life, known) = self.counted;
        assert!(
            of_life == life || count >= known,
            "{queue} delivers {id:?} and says {count}, though {known} was on disk: {self:?}"
        );
        of_life != life && known > 0
    }
}

impl Order {
    fn next(&mut self, queue: &str, id: Id) {
        let last = self.0.insert((id.publisher, id.priority), id.number);
        assert!(
            last.is_none_or(|last| last < id.number),
            "{queue} delivers {id:?} after {last:?}"
        );
    }
}
