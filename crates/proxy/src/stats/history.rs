//! The last minutes of every row, for the lines on the page: the control thread looks every two seconds and keeps what
//! it saw. It also knows what needs two looks: octets per second, and how idle the process was.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Field, Info, Kind, Process, Row, Statistics};
use crate::live::Live;

/// Between two looks.
pub(super) const INTERVAL: Duration = Duration::from_secs(2);
/// Looks kept: five minutes.
pub(super) const POINTS_MAX: usize = 150;
/// Rows with a history; further ones have none.
const ROWS_MAX: usize = 4096;

/// What was seen at one moment.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    /// Rows.
    pub(super) statistics: Statistics,
    /// What was added to the history of each of them.
    pub(super) points: Vec<Point>,
    /// The process.
    pub(super) info: Info,
}

/// The last minutes.
#[derive(Debug)]
pub struct History {
    rows: Mutex<HashMap<Key, Series>>,
    latest: watch::Sender<Option<Arc<Moment>>>,
}

/// By names: another configuration may give the numbers to others.
type Key = (Kind, String, String);

/// Sessions, new sessions per second, octets per second from and to clients.
pub(super) type Point = [u32; 4];

/// One row's last minutes, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Series {
    /// What was seen.
    pub(super) points: VecDeque<Point>,
    /// Octets counted when it was looked at last.
    bytes: Option<[u64; 2]>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            rows: Mutex::default(),
            latest: watch::Sender::new(None),
        }
    }
}

impl History {
    /// Looks again and again, until dropped.
    pub async fn keep(&self, live: &Live, process: &Process) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut before = Measured::now(live);
        loop {
            ticks.tick().await;
            let now = Instant::now();
            before = before.next(live, process);
            self.look(live, process, now);
        }
    }

    /// One look. Whoever follows hears of it.
    pub(super) fn look(&self, live: &Live, process: &Process, now: Instant) {
        let statistics = Statistics::take(live, now);
        let points = {
            let mut rows = self.rows.lock();
            let present: HashSet<Key> = statistics.rows.iter().map(key_of).collect();
            rows.retain(|key, _| present.contains(key));
            let add = |row: &Row| {
                let full = rows.len() >= ROWS_MAX;
                match rows.get_mut(&key_of(row)) {
                    Some(series) => series.add(row),
                    None if full => Point::default(),
                    None => rows.entry(key_of(row)).or_default().add(row),
                }
            };
            statistics.rows.iter().map(add).collect()
        };
        let info = Info::take(live, process, now);
        self.latest.send_replace(Some(Arc::new(Moment {
            statistics,
            points,
            info,
        })));
    }

    /// Hears of every look from now on.
    pub(super) fn follow(&self) -> watch::Receiver<Option<Arc<Moment>>> {
        self.latest.subscribe()
    }

    /// A row's last minutes.
    pub(super) fn of(&self, row: &Row) -> Option<Series> {
        self.rows.lock().get(&key_of(row)).cloned()
    }
}

fn key_of(row: &Row) -> Key {
    let word = |field| row.text(field).to_owned();
    (row.kind, word(Field::Pxname), word(Field::Svname))
}

impl Series {
    fn add(&mut self, row: &Row) -> Point {
        let saturate = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let bytes = [row.number(Field::Bin), row.number(Field::Bout)];
        let before = self.bytes.replace(bytes).unwrap_or(bytes);
        // Counters that were cleared begin anew.
        let rate = |place: usize| {
            let [now, before] = [bytes[place], before[place]];
            saturate(now.saturating_sub(before) / INTERVAL.as_secs())
        };
        if self.points.len() >= POINTS_MAX {
            self.points.pop_front();
        }
        let point = [
            saturate(row.number(Field::Scur)),
            saturate(row.number(Field::Rate)),
            rate(0),
            rate(1),
        ];
        self.points.push_back(point);
        point
    }
}

/// What is only known from two moments.
struct Measured {
    at: Instant,
    bytes_out: u64,
    processor: Duration,
}

impl Measured {
    fn now(live: &Live) -> Self {
        Self {
            at: Instant::now(),
            bytes_out: live.tally.totals().bytes_out,
            processor: processor_time(),
        }
    }

    fn next(&self, live: &Live, process: &Process) -> Self {
        let now = Self::now(live);
        let passed = now.at.duration_since(self.at).as_secs_f64();
        if passed > 0.1 {
            let bytes = now.bytes_out.saturating_sub(self.bytes_out) as f64 / passed;
            let busy =
                (now.processor.saturating_sub(self.processor)).as_secs_f64() / passed / live.workers as f64;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "both are within their bounds"
            )]
            {
                process.bytes_out_rate.store(bytes as u64, Relaxed);
                let idle = (100.0 - 100.0 * busy).clamp(0.0, 100.0);
                process.idle_percent.store(idle.round() as u32, Relaxed);
            }
        }
        now
    }
}

/// What the whole process has used so far.
fn processor_time() -> Duration {
    use nix::sys::resource::{UsageWho, getrusage};
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else {
        return Duration::ZERO;
    };
    let part = |time: nix::sys::time::TimeVal| {
        let micros = u64::try_from(time.tv_usec()).unwrap_or(0);
        Duration::from_secs(u64::try_from(time.tv_sec()).unwrap_or(0)) + Duration::from_micros(micros)
    };
    part(usage.user_time()) + part(usage.system_time())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::fixture;

    #[test]
    fn a_row_remembers_five_minutes_and_bytes_as_rates() {
        let live = fixture::live();
        let process = Process::this("1", "");
        let history = History::default();
        let snapshot = live.snapshot();
        for turn in 0..POINTS_MAX + 10 {
            snapshot.frontends[0].tally.of(0).bytes_in.add(2000);
            if turn == 3 {
                snapshot.frontends[0].tally.clear();
            }
            history.look(&live, &process, Instant::now());
        }
        let latest = history.follow().borrow().clone().unwrap();
        let row = latest.statistics.row("rabbit", "FRONTEND").unwrap();
        let series = history.of(row).unwrap();
        assert_eq!(series.points.len(), POINTS_MAX);
        assert_eq!(series.points.back(), Some(&[0, 0, 1000, 0]));
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let live = fixture::live();
        let process = Process::this("1", "");
        let history = History::default();
        history.look(&live, &process, Instant::now());
        let before = history.rows.lock().len();
        let now = live.time(Instant::now());
        live.snapshot().backends[0].remove_server(now, "r4");
        history.look(&live, &process, Instant::now());
        assert_eq!(history.rows.lock().len(), before - 1);
    }
}
