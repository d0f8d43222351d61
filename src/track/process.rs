//! A check by processes that must run, seen as they come and go.
//!
//! What `killall -0 NAME` asks every second, the kernel can tell: a process file descriptor becomes readable when its
//! process ends, and the [`connector`](super::connector) announces new ones. Where that is silent, /proc is scanned: every
//! 100 ms while something is missing, every second while nothing is. To stay cheap, the scans in between look again only
//! at young processes, which are likely to start another program, at those that match, and at a tenth of the others: a shell that waits for long
//! and then becomes the service is seen within a second. Before the last process of a check is believed gone,
//! /proc is scanned once more, so that a service that replaced itself (`haproxy -sf`) was never away.
//!
//! One observer serves all checks. Zombies do not count as running. A name is the kernel's (`/proc/PID/comm`), exact; where
//! it is longer than the 15 characters kept there, the file name in the command line decides. A path before the name is
//! ignored.

mod table;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::net::unix::pipe;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::connector::{Connector, Notice};
use super::{Attempt, Recorder};
use crate::config::plan::{CheckPlan, ProcessPlan};
use table::{Glimpse, Pattern, processes};

/// While something is missing, or there may be too many.
const SCAN_EAGER: Duration = Duration::from_millis(100);
/// While nothing is missing.
const SCAN_CALM: Duration = Duration::from_secs(1);
/// While the connector speaks.
const SCAN_ASSURED: Duration = Duration::from_secs(5);
/// A process older than this has most likely become what it will be.
const YOUNG: Duration = Duration::from_secs(2);
/// Of older processes a glance looks at one in so many.
const GLANCE_SHARE: u32 = 10;
/// Other tasks get their turn after so many processes.
const SCAN_BATCH: usize = 64;
/// Process file descriptors held. More matching processes than this are counted by scans alone.
const GUARDED_MAX: usize = 256;

/// How many processes match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Census {
    pub(crate) count: u32,
    /// Other users' processes are hidden from us (hidepid), so the count may be too low.
    pub(crate) hidden: bool,
}

/// When a check's processes count as enough, and for how long that must have been so.
#[derive(Debug, Clone)]
pub(crate) struct Settling {
    least: u32,
    most: Option<u32>,
    up_delay: Duration,
    down_delay: Duration,
}

impl Settling {
    /// `rise` and `fall` above 1 ask that a state outlasts so many intervals; here that is a delay.
    pub(crate) fn new(check: &CheckPlan, process: &ProcessPlan) -> Self {
        Self {
            least: process.least,
            most: process.most,
            up_delay: process.up_delay + check.interval * check.rise.saturating_sub(1),
            down_delay: process.down_delay + check.interval * check.fall.saturating_sub(1),
        }
    }

    fn attempt(&self, census: Census) -> Attempt {
        let Census { count, hidden } = census;
        let (enough, few) = (count >= self.least, self.most.is_none_or(|most| count <= most));
        let mut detail = match (count, self.least, self.most) {
            (0, 1, _) => "not running".to_owned(),
            (_, least, _) if !enough => format!("{count} running, at least {least} wanted"),
            (_, _, Some(most)) if !few => format!("{count} running, at most {most} wanted"),
            _ => format!("{count} running"),
        };
        if hidden && !enough {
            detail += ", as far as we may see: /proc hides other users' processes, mount it without hidepid";
        }
        Attempt {
            found: Some(count),
            ..Attempt::new(enough && few, detail)
        }
    }
}

/// Follows the census of one check. The first is believed at once; later ones when they have lasted.
pub(crate) async fn check(
    settling: Settling,
    mut census: watch::Receiver<Option<Census>>,
    mut recorder: Recorder,
) {
    let mut believed = None;
    let mut doubted_since = None;
    loop {
        let found = census.borrow_and_update().map(|census| settling.attempt(census));
        let mut decide_at = None;
        if let Some(attempt) = found {
            let delay = if attempt.success {
                settling.up_delay
            } else {
                settling.down_delay
            };
            let since = *doubted_since.get_or_insert_with(Instant::now);
            if believed.is_none_or(|believed| believed == attempt.success) || since.elapsed() >= delay {
                believed = Some(attempt.success);
                doubted_since = None;
                recorder.record(attempt).await;
            } else {
                decide_at = Some(since + delay);
            }
        }
        tokio::select! {
            changed = census.changed() => if changed.is_err() { return },
            () = sleep_until(decide_at.unwrap_or_else(Instant::now)), if decide_at.is_some() => {}
        }
    }
}

/// The observer of all processes some check asks for. It rests while there is none.
pub(crate) struct Processes {
    arrivals: Arc<Arrivals>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Arrivals {
    rules: Mutex<Vec<Rule>>,
    wake: Notify,
}

impl Processes {
    pub(crate) fn start() -> Self {
        Self::start_with(true)
    }

    /// Without the connector, as in a container.
    fn start_with(connector: bool) -> Self {
        let arrivals = Arc::new(Arrivals::default());
        let observer = Observer {
            arrivals: Arc::clone(&arrivals),
            rules: Vec::new(),
            guarded: HashSet::new(),
            exits: JoinSet::new(),
            unguarded: false,
            connector: None,
            connector_wanted: connector,
            listening: false,
            known_since: HashMap::new(),
            round: 0,
            scanned_at: Instant::now(),
        };
        Self {
            arrivals,
            task: tokio::spawn(observer.run()),
        }
    }

    /// The count of matching processes, from the first scan on. It ends with the receiver.
    pub(crate) fn watch(&self, plan: &ProcessPlan) -> watch::Receiver<Option<Census>> {
        let (census, receiver) = watch::channel(None);
        let rule = Rule {
            pattern: Pattern::new(plan),
            least: plan.least,
            most: plan.most,
            processes: BTreeSet::new(),
            census,
        };
        self.arrivals.rules.lock().push(rule);
        self.arrivals.wake.notify_one();
        receiver
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What one check asks for.
struct Rule {
    pattern: Pattern,
    least: u32,
    most: Option<u32>,
    processes: BTreeSet<i32>,
    census: watch::Sender<Option<Census>>,
}

impl Rule {
    fn lacks(&self) -> bool {
        (self.processes.len() as u64) < u64::from(self.least)
    }

    fn publish(&self, hidden: bool) {
        let count = u32::try_from(self.processes.len()).unwrap_or(u32::MAX);
        let now = Some(Census { count, hidden });
        self.census
            .send_if_modified(|census| std::mem::replace(census, now) != now);
    }
}

struct Observer {
    arrivals: Arc<Arrivals>,
    rules: Vec<Rule>,
    /// Processes with a file descriptor in `exits`.
    guarded: HashSet<i32>,
    exits: JoinSet<i32>,
    /// Some matching process has no file descriptor: only a scan can tell its end.
    unguarded: bool,
    connector: Option<Connector>,
    connector_wanted: bool,
    listening: bool,
    /// When each process was first seen.
    known_since: HashMap<i32, Instant>,
    /// Glances so far.
    round: u32,
    scanned_at: Instant,
}

/// How closely a scan looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scan {
    Everything,
    /// New and young processes, those that matched, and some of the others.
    Glance,
}

impl Observer {
    async fn run(mut self) {
        let arrivals = Arc::clone(&self.arrivals);
        loop {
            self.rules.retain(|rule| !rule.census.is_closed());
            let new = std::mem::take(&mut *arrivals.rules.lock());
            if !new.is_empty() {
                self.rules.extend(new);
                self.listen();
                self.scan(Scan::Everything).await;
            }
            if self.rules.is_empty() {
                self.rest();
                arrivals.wake.notified().await;
                continue;
            }
            let next_scan = self.scanned_at + self.pace();
            tokio::select! {
                // Who came is heard before who went: a service that replaced itself was never away.
                biased;
                notice = next_notice(self.connector.as_ref()) => self.noticed(notice).await,
                Some(Ok(process)) = self.exits.join_next() => self.ended(process).await,
                () = arrivals.wake.notified() => {}
                () = sleep_until(next_scan) => self.scan(Scan::Glance).await,
            }
        }
    }

    fn listen(&mut self) {
        if self.connector.is_none() && self.connector_wanted {
            self.connector = Connector::open()
                .inspect_err(|error| tracing::debug!(%error, "no process connector"))
                .ok();
        }
    }

    fn rest(&mut self) {
        self.connector = None;
        self.listening = false;
        self.exits.abort_all();
        self.guarded.clear();
        self.known_since.clear();
    }

    fn pace(&self) -> Duration {
        if self.unguarded {
            SCAN_EAGER
        } else if self.listening {
            SCAN_ASSURED
        } else if self.rules.iter().any(|rule| rule.lacks() || rule.most.is_some()) {
            SCAN_EAGER
        } else {
            SCAN_CALM
        }
    }

    async fn noticed(&mut self, notice: std::io::Result<Notice>) {
        match notice {
            Ok(Notice::Listening) => {
                self.listening = true;
                // What came between the last scan and this is known to nobody.
                self.scan(Scan::Everything).await;
            }
            Ok(Notice::Changed(process)) => self.examine(process),
            Ok(Notice::Forked { parent, child }) => {
                // A fork has its parent's name and command line.
                if self.rules.iter().any(|rule| rule.processes.contains(&parent)) {
                    self.examine(child);
                }
            }
            Ok(Notice::Lost) => self.scan(Scan::Everything).await,
            Err(error) => {
                tracing::debug!(%error, "no process connector");
                (self.connector, self.connector_wanted, self.listening) = (None, false, false);
            }
        }
    }

    async fn ended(&mut self, process: i32) {
        self.guarded.remove(&process);
        let mut lacking = false;
        for rule in &mut self.rules {
            lacking |= rule.processes.remove(&process) && rule.lacks();
        }
        if lacking && !self.listening {
            // Another may have taken its place unseen.
            self.scan(Scan::Everything).await;
        } else {
            self.publish(false);
        }
    }

    /// Looks at one process again.
    fn examine(&mut self, process: i32) {
        let mut glimpse = Glimpse::new(process);
        for index in 0..self.rules.len() {
            let matches =
                self.rules[index].pattern.matches(&mut glimpse) && glimpse.running() && self.guard(process);
            let rule = &mut self.rules[index];
            if matches {
                rule.processes.insert(process)
            } else {
                rule.processes.remove(&process)
            };
        }
        self.publish(false);
    }

    /// Goes through the process table.
    async fn scan(&mut self, scan: Scan) {
        let begin = Instant::now();
        self.unguarded = false;
        self.round = self.round.wrapping_add(1);
        let mut found: Vec<BTreeSet<i32>> = vec![BTreeSet::new(); self.rules.len()];
        let mut known_since = HashMap::with_capacity(self.known_since.len());
        let mut hidden = std::fs::metadata("/proc/1").is_err();
        for (position, process) in processes().enumerate() {
            if position % SCAN_BATCH == SCAN_BATCH - 1 {
                tokio::task::yield_now().await;
            }
            let since = self.known_since.get(&process).copied();
            known_since.insert(process, since.unwrap_or(begin));
            let looked_at = scan == Scan::Everything
                || since.is_none_or(|since| begin - since < YOUNG)
                || process.unsigned_abs() % GLANCE_SHARE == self.round % GLANCE_SHARE
                || self.rules.iter().any(|rule| rule.processes.contains(&process));
            if !looked_at {
                continue;
            }
            let mut glimpse = Glimpse::new(process);
            for (index, matching) in found.iter_mut().enumerate() {
                let matches = self.rules[index].pattern.matches(&mut glimpse) && glimpse.running();
                if matches && self.guard(process) {
                    matching.insert(process);
                }
            }
            hidden |= glimpse.hidden;
        }
        for (rule, found) in self.rules.iter_mut().zip(found) {
            rule.processes = found;
        }
        self.known_since = known_since;
        self.scanned_at = Instant::now();
        self.publish(hidden);
    }

    fn publish(&self, hidden: bool) {
        self.rules.iter().for_each(|rule| rule.publish(hidden));
    }

    /// Sees to it that we are told when a matching process ends; `false` if it already has.
    fn guard(&mut self, process: i32) -> bool {
        if self.guarded.contains(&process) {
            return true;
        }
        if self.guarded.len() >= GUARDED_MAX {
            self.unguarded = true;
            return true;
        }
        let opened = Pid::from_raw(process).map(|process| pidfd_open(process, PidfdFlags::NONBLOCK));
        let descriptor = match opened {
            Some(Ok(descriptor)) => descriptor,
            Some(Err(rustix::io::Errno::SRCH)) | None => return false,
            Some(Err(error)) => {
                tracing::debug!(%error, process, "no process file descriptor");
                self.unguarded = true;
                return true;
            }
        };
        // Only its readiness is used, which a pipe tells the same way.
        let Ok(descriptor) = pipe::Receiver::from_owned_fd_unchecked(descriptor) else {
            self.unguarded = true;
            return true;
        };
        self.guarded.insert(process);
        self.exits.spawn(async move {
            let _ = descriptor.readable().await;
            process
        });
        true
    }
}

async fn next_notice(connector: Option<&Connector>) -> std::io::Result<Notice> {
    match connector {
        Some(connector) => connector.next().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
