//! Stick table: what is remembered of a client, by its address or another key, and for how long.
//!
//! HAProxy manual, `stick-table`: of a bounded size; entries expire after they were last touched; a full table drops
//! the entry that was not touched for longest. An entry with open connections is neither dropped nor expires.
//!
//! Absent on purpose: replication to peers, and extracting keys from traffic.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use crate::time::Instant;

/// What an entry is found by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// `type ip`.
    Ip(Ipv4Addr),
    /// `type ipv6`.
    Ipv6(Ipv6Addr),
    /// `type integer`.
    Integer(u32),
    /// `type string`; made by [`Key::string`].
    String(Box<[u8]>),
}

impl Key {
    /// The first `len` octets of `text` (HAProxy manual, `type string len`: longer ones are truncated).
    #[must_use]
    pub fn string(text: &[u8], len: usize) -> Self {
        Self::String(text.get(..len).unwrap_or(text).into())
    }
}

impl From<IpAddr> for Key {
    /// An IPv4 address and its IPv6-mapped form are the same client.
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::Ip(v4),
            IpAddr::V6(v6) => Self::Ipv6(v6),
        }
    }
}

/// What is remembered of one key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Open connections.
    pub conn_cur: u32,
    /// Connections since the entry was made.
    pub conn_cnt: u64,
    /// Connections in the last period, estimated from this period and the one before.
    pub conn_rate: u64,
    /// HTTP requests since the entry was made.
    pub http_req_cnt: u64,
    /// HTTP requests in the last period.
    pub http_req_rate: u64,
    /// HTTP errors of the client since the entry was made.
    pub http_err_cnt: u64,
    /// HTTP errors of the client in the last period.
    pub http_err_rate: u64,
    /// General purpose counter.
    pub gpc0: u64,
    /// From the client.
    pub bytes_in: u64,
    /// To the client.
    pub bytes_out: u64,
}

/// Milliseconds over which each rate is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Periods {
    /// Of connections.
    pub conn: NonZeroU32,
    /// Of HTTP requests.
    pub http_req: NonZeroU32,
    /// Of HTTP errors.
    pub http_err: NonZeroU32,
}

impl Periods {
    /// All of them so long.
    #[must_use]
    pub const fn all(millis: NonZeroU32) -> Self {
        Self {
            conn: millis,
            http_req: millis,
            http_err: millis,
        }
    }
}

/// Every entry has open connections, so none can be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("all {0} entries of the stick table are in use: raise its size")]
pub struct TableFull(pub usize);

/// The entries.
#[derive(Clone, Debug)]
pub struct StickTable {
    size: usize,
    expire: Option<Duration>,
    periods: Periods,
    entries: HashMap<Key, Entry>,
    /// Entries without connections, the one touched longest ago first.
    idle: BTreeMap<Touch, Key>,
    touches: u64,
}

type Touch = (Instant, u64);

#[derive(Clone, Debug)]
struct Entry {
    counters: Counters,
    touched: Touch,
    conn: Rate,
    http_req: Rate,
    http_err: Rate,
}

/// Events of this period and of the one before.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    begun: Instant,
    current: u64,
    previous: u64,
}

impl StickTable {
    /// Of at most `size` entries that are forgotten `expire` after they were touched last.
    #[must_use]
    pub fn new(size: usize, expire: Option<Duration>, periods: Periods) -> Self {
        Self {
            size,
            expire,
            periods,
            entries: HashMap::new(),
            idle: BTreeMap::new(),
            touches: 0,
        }
    }

    /// A connection began. Says what is known of its key, this connection included.
    ///
    /// # Errors
    /// There is no room and nobody can be dropped.
    pub fn open(&mut self, now: Instant, key: &Key) -> Result<Counters, TableFull> {
        self.expire(now);
        if !self.entries.contains_key(key) {
            self.make_room()?;
        }
        let period = self.periods.conn;
        Ok(self.touch(now, key, |entry| {
            entry.counters.conn_cur = entry.counters.conn_cur.saturating_add(1);
            entry.counters.conn_cnt = entry.counters.conn_cnt.saturating_add(1);
            entry.conn.add(now, period);
        }))
    }

    /// An HTTP request came from a key that is known.
    pub fn add_request(&mut self, now: Instant, key: &Key) {
        let period = self.periods.http_req;
        if self.entries.contains_key(key) {
            self.touch(now, key, |entry| {
                entry.counters.http_req_cnt = entry.counters.http_req_cnt.saturating_add(1);
                entry.http_req.add(now, period);
            });
        }
    }

    /// A request from a key that is known was an error of the client's.
    pub fn add_error(&mut self, now: Instant, key: &Key) {
        let period = self.periods.http_err;
        if self.entries.contains_key(key) {
            self.touch(now, key, |entry| {
                entry.counters.http_err_cnt = entry.counters.http_err_cnt.saturating_add(1);
                entry.http_err.add(now, period);
            });
        }
    }

    /// A connection ended, having carried so many octets. Nothing happens if its key is not known.
    pub fn close(&mut self, now: Instant, key: &Key, bytes_in: u64, bytes_out: u64) {
        if self.entries.contains_key(key) {
            self.touch(now, key, |Entry { counters, .. }| {
                counters.conn_cur = counters.conn_cur.saturating_sub(1);
                counters.bytes_in = counters.bytes_in.saturating_add(bytes_in);
                counters.bytes_out = counters.bytes_out.saturating_add(bytes_out);
            });
        }
    }

    /// Adds to the general purpose counter of a key that is known.
    pub fn add_gpc0(&mut self, now: Instant, key: &Key, amount: u64) {
        if self.entries.contains_key(key) {
            self.touch(now, key, |Entry { counters, .. }| {
                counters.gpc0 = counters.gpc0.saturating_add(amount);
            });
        }
    }

    /// Sets the general purpose counter of a key, which is known from now on.
    ///
    /// # Errors
    /// There is no room and nobody can be dropped.
    pub fn set_gpc0(&mut self, now: Instant, key: &Key, value: u64) -> Result<(), TableFull> {
        self.expire(now);
        if !self.entries.contains_key(key) {
            self.make_room()?;
        }
        self.touch(now, key, |entry| entry.counters.gpc0 = value);
        Ok(())
    }

    /// Every general purpose counter becomes what `change` makes of it.
    pub fn change_gpc0(&mut self, change: impl Fn(u64) -> u64) {
        for entry in self.entries.values_mut() {
            entry.counters.gpc0 = change(entry.counters.gpc0);
        }
    }

    /// What is known of `key`, without touching it.
    #[must_use]
    pub fn get(&self, now: Instant, key: &Key) -> Option<Counters> {
        let entry = self.entries.get(key)?;
        let over = entry.counters.conn_cur == 0 && self.over(now, entry.touched);
        (!over).then(|| entry.counters(now, &self.periods))
    }

    /// All entries, with the time they have left unless they are in use or never expire; in no order.
    pub fn entries(&self, now: Instant) -> impl Iterator<Item = (&Key, Counters, Option<Duration>)> {
        let known = self
            .entries
            .iter()
            .filter(move |(_, entry)| entry.counters.conn_cur > 0 || !self.over(now, entry.touched));
        known.map(move |(key, entry)| {
            let (touched, _) = entry.touched;
            let age = Duration::from_millis(now.millis_since(touched));
            let left = self.expire.map(|expire| expire.saturating_sub(age));
            (key, entry.counters(now, &self.periods), left)
        })
    }

    /// Forgets a key; false if it is not known, or has open connections.
    pub fn remove(&mut self, key: &Key) -> bool {
        let Some(entry) = self.entries.get(key).filter(|entry| entry.counters.conn_cur == 0) else {
            return false;
        };
        self.idle.remove(&entry.touched);
        self.entries.remove(key).is_some()
    }

    /// Makes an entry, or touches it.
    ///
    /// # Errors
    /// There is no room and nobody can be dropped.
    pub fn keep(&mut self, now: Instant, key: &Key) -> Result<(), TableFull> {
        self.expire(now);
        if !self.entries.contains_key(key) {
            self.make_room()?;
        }
        self.touch(now, key, |_| {});
        Ok(())
    }

    /// Entries there may be.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.size
    }

    /// Forgets entries whose time is over; [`StickTable::open`] does so too.
    pub fn expire(&mut self, now: Instant) {
        while let Some((touch, _)) = self.idle.first_key_value() {
            if !self.over(now, *touch) {
                break;
            }
            self.drop_oldest();
        }
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// There is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn over(&self, now: Instant, (touched, _): Touch) -> bool {
        self.expire.is_some_and(|expire| touched + expire <= now)
    }

    fn make_room(&mut self) -> Result<(), TableFull> {
        if self.entries.len() < self.size || self.drop_oldest() {
            Ok(())
        } else {
            Err(TableFull(self.entries.len()))
        }
    }

    fn drop_oldest(&mut self) -> bool {
        let oldest = self.idle.pop_first();
        oldest.is_some_and(|(_, key)| self.entries.remove(&key).is_some())
    }

    fn touch(&mut self, now: Instant, key: &Key, change: impl FnOnce(&mut Entry)) -> Counters {
        self.touches += 1;
        let touched = (now, self.touches);
        let entry = self.entries.entry(key.clone()).or_insert_with(|| Entry {
            counters: Counters::default(),
            touched,
            conn: Rate::default(),
            http_req: Rate::default(),
            http_err: Rate::default(),
        });
        self.idle.remove(&entry.touched);
        entry.touched = touched;
        change(entry);
        if entry.counters.conn_cur == 0 {
            self.idle.insert(touched, key.clone());
        }
        entry.counters(now, &self.periods)
    }
}

impl Entry {
    fn counters(&self, now: Instant, periods: &Periods) -> Counters {
        Counters {
            conn_rate: self.conn.read(now, periods.conn),
            http_req_rate: self.http_req.read(now, periods.http_req),
            http_err_rate: self.http_err.read(now, periods.http_err),
            ..self.counters
        }
    }
}

impl Rate {
    fn add(&mut self, now: Instant, period: NonZeroU32) {
        let period_ms = u64::from(period.get());
        match now.millis_since(self.begun) / period_ms {
            0 => {}
            passed => {
                self.previous = if passed == 1 { self.current } else { 0 };
                self.current = 0;
                self.begun = self.begun + Duration::from_millis(passed.saturating_mul(period_ms));
            }
        }
        self.current = self.current.saturating_add(1);
    }

    /// This period's events, and of the one before the part that the sliding period still covers.
    fn read(&self, now: Instant, period: NonZeroU32) -> u64 {
        let period = u64::from(period.get());
        let age = now.millis_since(self.begun);
        let covered = |events: u64, left: u64| events.saturating_mul(left) / period;
        if age < period {
            self.current.saturating_add(covered(self.previous, period - age))
        } else {
            covered(self.current, (2 * period).saturating_sub(age))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Periods = Periods::all(NonZeroU32::new(1000).unwrap());

    const fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn a_full_table_drops_the_idle_entry_touched_longest_ago() {
        let mut table = StickTable::new(2, None, SECOND);
        let [one, two, three] = [1, 2, 3].map(Key::Integer);
        table.open(at(0), &one).unwrap();
        table.open(at(1), &two).unwrap();
        assert_eq!(table.open(at(2), &three), Err(TableFull(2)));
        table.close(at(3), &two, 5, 7);
        table.close(at(4), &one, 0, 0);
        table.open(at(5), &three).unwrap();
        assert_eq!(table.get(at(5), &two), None);
        assert_eq!(table.get(at(5), &one).unwrap().conn_cnt, 1);
    }

    #[test]
    fn an_entry_expires_after_its_last_touch_but_not_while_connected() {
        let mut table = StickTable::new(9, Some(Duration::from_secs(10)), SECOND);
        let key = Key::Ip(Ipv4Addr::LOCALHOST);
        table.open(at(0), &key).unwrap();
        assert_eq!(table.get(at(60_000), &key).unwrap().conn_cur, 1);
        table.close(at(60_000), &key, 5, 7);
        table.add_gpc0(at(65_000), &key, 2);
        let known = table.get(at(74_999), &key).unwrap();
        assert_eq!((known.bytes_in, known.bytes_out, known.gpc0), (5, 7, 2));
        assert_eq!(table.get(at(75_000), &key), None);
        table.expire(at(75_000));
        assert!(table.is_empty());
    }

    #[test]
    fn the_rate_slides_over_the_period_and_ends() {
        let mut table = StickTable::new(9, None, SECOND);
        let key = Key::string(b"administrator", 5);
        assert_eq!(key, Key::string(b"admin", 5));
        for millis in 0..100 {
            table.open(at(5000 + millis), &key).unwrap();
        }
        let rates = [5099, 5999, 6500, 7000].map(|millis| table.get(at(millis), &key).unwrap().conn_rate);
        assert_eq!(rates, [100, 100, 50, 0]);
    }

    #[test]
    fn requests_and_errors_are_counted_of_who_is_known_each_over_a_period_of_its_own() {
        let millis = |millis| NonZeroU32::new(millis).unwrap();
        let periods = Periods {
            http_req: millis(2000),
            http_err: millis(500),
            ..SECOND
        };
        let mut table = StickTable::new(9, None, periods);
        let key = Key::Integer(7);
        table.add_request(at(0), &key);
        assert!(table.is_empty());
        table.open(at(4000), &key).unwrap();
        for _ in 0..4 {
            table.add_request(at(4000), &key);
            table.add_error(at(4000), &key);
        }
        let rates = [4000, 4750, 5500, 7000].map(|millis| {
            let known = table.get(at(millis), &key).unwrap();
            [known.conn_rate, known.http_req_rate, known.http_err_rate]
        });
        assert_eq!(rates, [[1, 4, 4], [1, 4, 2], [0, 4, 0], [0, 2, 0]]);
        let known = table.get(at(9000), &key).unwrap();
        assert_eq!((known.http_req_cnt, known.http_err_cnt), (4, 4));
    }

    #[test]
    fn a_counter_can_be_set_whether_or_not_the_key_was_known() {
        let mut table = StickTable::new(1, None, SECOND);
        let key = Key::from("::ffff:192.0.2.1".parse::<IpAddr>().unwrap());
        assert_eq!(key, Key::Ip(Ipv4Addr::new(192, 0, 2, 1)));
        for value in [3, 1] {
            table.set_gpc0(at(0), &key, value).unwrap();
            assert_eq!(table.get(at(0), &key).unwrap().gpc0, value);
        }
        table.open(at(0), &key).unwrap();
        assert_eq!(table.set_gpc0(at(0), &Key::Integer(1), 1), Err(TableFull(1)));
    }

    #[test]
    fn a_key_can_be_made_seen_and_removed_unless_it_has_connections() {
        let mut table = StickTable::new(2, Some(Duration::from_secs(10)), SECOND);
        let (one, two) = (Key::Integer(1), Key::Integer(2));
        let now = Instant::from_millis(1000);
        table.keep(now, &one).unwrap();
        table.open(now, &two).unwrap();
        let later = Instant::from_millis(3000);
        let left: Vec<_> = table
            .entries(later)
            .filter(|(key, ..)| **key == one)
            .map(|(_, counters, left)| (counters.conn_cur, left))
            .collect();
        assert_eq!(left, [(0, Some(Duration::from_secs(8)))]);
        assert!(table.remove(&one) && !table.remove(&one) && !table.remove(&two));
        assert_eq!((table.len(), table.size()), (1, 2));
    }

    proptest! {
        #[test]
        fn a_table_never_exceeds_its_size_and_never_forgets_a_connected_key(
            steps in prop::collection::vec((0..6_u32, any::<bool>(), 0..400_u64), 1..200),
        ) {
            let mut table = StickTable::new(3, Some(Duration::from_secs(1)), SECOND);
            let mut connected = HashMap::<u32, u32>::new();
            let mut clock = 0;
            for (number, opens, millis) in steps {
                clock += millis;
                let count = connected.entry(number).or_default();
                if opens {
                    *count += u32::from(table.open(at(clock), &Key::Integer(number)).is_ok());
                } else if *count > 0 {
                    *count -= 1;
                    table.close(at(clock), &Key::Integer(number), 1, 1);
                }
                prop_assert!(table.len() <= 3);
                for (number, count) in connected.iter().filter(|(_, count)| **count > 0) {
                    let known = table.get(at(clock), &Key::Integer(*number));
                    prop_assert_eq!(known.map(|known| known.conn_cur), Some(*count));
                }
            }
        }
    }
}
