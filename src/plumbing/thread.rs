//! The thread itself: commands in order, and between them one slice of what is due by the clock.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use rustix::time::{ClockId, clock_gettime};
use thread_priority::unix::{
    RealtimeThreadSchedulePolicy, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};
use thread_priority::{ThreadPriority, ThreadPriorityValue};
use tokio::sync::mpsc;
use warren_kit::clock;

use super::announce::Announcer;
use super::holding::{Frame, Holding, frames};
use super::lease::{EARLY, Lengthening, Phase, RENEWALS_PER_LEASE, effective};
use super::port::Ports;
use super::secondaries;
use super::steps::{self, Key, key};
use super::{Cause, Command, Ledger, ROUTERS, Refusal, Report, Shared, leftovers};
use crate::netlink::{Address, Batch, Failure, Netlink, NetlinkError, delete_leftover_routes_and_rules};

/// Commands carried out before the clock is looked at again.
const COMMANDS_PER_SLICE: usize = 64;
/// Addresses renewed before the commands are looked at again.
const RENEWALS_PER_SLICE: usize = 64;
/// Work without a pause that is not taken for a runaway by RLIMIT_RTTIME.
const BUSY: Duration = Duration::from_millis(20);
/// The thread shows that it is alive at least this often, idle or not: the beat to the guard depends on it.
const LIFE_SIGN: Duration = Duration::from_millis(250);

struct Router {
    holding: Holding,
    frames: Vec<Frame>,
    announcer: Announcer,
    held: bool,
    /// The lease ran out; no claim or release since.
    expired: bool,
    /// Addresses that were there before us: neither renewed nor deleted.
    foreign: HashSet<Key>,
    /// The lease given last, and a moment before it was given.
    lease: Option<Duration>,
    renewed: Instant,
    renewal: Batch,
    phase: Phase,
    troubled: bool,
}

pub(super) struct Plumber {
    netlink: Netlink,
    ports: Ports,
    routers: BTreeMap<usize, Router>,
    /// Claimed before they were installed.
    early: HashSet<usize>,
    /// Addresses of an earlier run, until they are claimed or swept.
    leftovers: HashSet<Key>,
    ledger: Option<Ledger>,
    /// The ledger may differ from what is held.
    unrecorded: bool,
    lengthening: Lengthening,
    shared: Arc<Shared>,
    reports: mpsc::Sender<Report>,
}

impl Plumber {
    pub(super) fn new(
        mut netlink: Netlink,
        ledger: Option<Ledger>,
        shared: Arc<Shared>,
        reports: mpsc::Sender<Report>,
    ) -> Result<Self, NetlinkError> {
        let leftovers = leftovers(&mut netlink, ledger.as_ref())?
            .iter()
            .map(key)
            .collect();
        let (ports, routers, early) = (Ports::default(), BTreeMap::new(), HashSet::new());
        let lengthening = Lengthening::default();
        Ok(Self {
            netlink,
            ports,
            routers,
            early,
            leftovers,
            ledger,
            unrecorded: false,
            lengthening,
            shared,
            reports,
        })
    }

    pub(super) fn run(&mut self, commands: &Receiver<Command>, realtime_priority: Option<u8>) {
        if let Err(error) = schedule(realtime_priority) {
            self.report(Report::Scheduling { error });
        }
        let mut last_pause = Instant::now();
        loop {
            let patience = self.due().map_or(LIFE_SIGN, |due| {
                due.saturating_duration_since(Instant::now()).min(LIFE_SIGN)
            });
            self.show_life();
            match commands.recv_timeout(patience) {
                Ok(command) => {
                    let more = commands.try_iter().take(COMMANDS_PER_SLICE);
                    for command in std::iter::once(command).chain(more) {
                        if !self.execute(command) {
                            self.record();
                            return;
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.shared.missed.swap(false, Relaxed) {
                self.compare_roles();
            }
            self.work();
            self.record();
            // Sleeping, however shortly, restarts the kernel's count of uninterrupted real-time work.
            if last_pause.elapsed() > BUSY {
                std::thread::sleep(Duration::from_micros(1));
                last_pause = Instant::now();
            }
        }
    }

    /// `false` = stop.
    pub(super) fn execute(&mut self, command: Command) -> bool {
        self.show_life();
        match command {
            Command::Claim { router, asked } => self.claim(router, asked),
            Command::Release { router, asked } => self.release(router, asked),
            Command::Announce { router, cause } => self.announce(router, cause),
            Command::Repair { router, asked } => self.repair(router, asked),
            Command::Install { router, holding } => self.install(router, *holding),
            Command::Remove { router } => {
                self.release(router, Instant::now());
                self.routers.remove(&router);
                if let Some(count) = self.shared.announced.get(router) {
                    count.store(0, Relaxed);
                }
            }
            Command::Sweep => self.sweep(),
            Command::Stop => return false,
        }
        true
    }

    fn claim(&mut self, number: usize, asked: Instant) {
        self.note_delay(asked);
        let Some(router) = self.routers.get_mut(&number) else {
            if number < ROUTERS {
                self.early.insert(number);
            }
            return;
        };
        let refusals = router.add(&mut self.netlink, &mut self.leftovers, self.lengthening.factor());
        let now = Instant::now();
        let elapsed = now - asked;
        router.announcer.claimed(now);
        router.troubled = false;
        self.count_held();
        let sent = self.send_due_frames(number);
        let announced = sent.then(|| asked.elapsed());
        self.report(Report::Claimed {
            router: number,
            elapsed,
            announced,
            refusals,
        });
    }

    fn repair(&mut self, number: usize, asked: Instant) {
        // What looks deleted may have expired while this process was stopped; another host may hold it by now.
        self.expire_if_due(number);
        let Some(router) = self.routers.get_mut(&number).filter(|router| router.held) else {
            return;
        };
        let refusals = router.add(&mut self.netlink, &mut self.leftovers, self.lengthening.factor());
        let elapsed = asked.elapsed();
        self.announce(number, Cause::Repaired);
        self.report(Report::Repaired {
            router: number,
            elapsed,
            refusals,
        });
    }

    /// Leaves to other routers what they hold as well: when a router is replaced by one with another VRID, the new
    /// one found the address there.
    fn bequeath(&mut self, number: usize) {
        let Some(mut leaving) = self.routers.remove(&number) else {
            return;
        };
        for heir in self.routers.values_mut().filter(|router| router.held) {
            // Hardly ever is there anything that was there before a router.
            if heir.foreign.is_empty() {
                continue;
            }
            for key in leaving.holding.addresses.iter().map(|held| key(&held.address)) {
                if !leaving.foreign.contains(&key) && heir.foreign.remove(&key) {
                    leaving.foreign.insert(key);
                    heir.renewal.clear();
                }
            }
        }
        self.routers.insert(number, leaving);
    }

    fn release(&mut self, number: usize, asked: Instant) {
        self.note_delay(asked);
        self.early.remove(&number);
        self.bequeath(number);
        let Some(router) = self.routers.get_mut(&number) else {
            return;
        };
        router.announcer.released();
        router.expired = false;
        let refusals = if router.held {
            router.delete(&mut self.netlink)
        } else {
            Vec::new()
        };
        self.count_held();
        self.report(Report::Released {
            router: number,
            elapsed: asked.elapsed(),
            refusals,
        });
    }

    fn announce(&mut self, number: usize, cause: Cause) {
        self.expire_if_due(number);
        let Some(router) = self.routers.get_mut(&number) else {
            return;
        };
        if router.held {
            router.announcer.request(cause, Instant::now());
            self.send_due_frames(number);
        } else if router.expired && cause == Cause::LowerPriority {
            // Back from a pause, heard another active and outranks it: the role is ours still, and so are the addresses.
            self.shared.wanted[number].store(true, Relaxed);
            self.claim(number, Instant::now());
        }
    }

    fn install(&mut self, number: usize, holding: Holding) {
        if number >= ROUTERS {
            return;
        }
        let mut refusals = secondaries::promote(&holding);
        let frames = frames(&holding);
        if let Err(errno) = self.ports.open(frames.iter().map(|frame| frame.ifindex)) {
            refusals.push(Refusal {
                what: "socket for announcements".to_owned(),
                errno,
            });
        }
        match self.routers.get_mut(&number) {
            Some(router) if router.holding == holding => {}
            Some(router) => {
                router.frames = frames;
                if router.held {
                    refusals.extend(router.exchange(&mut self.netlink, holding, self.lengthening.factor()));
                    router.announcer.claimed(Instant::now());
                } else {
                    router.holding = holding;
                }
            }
            None => {
                self.routers.insert(number, Router::new(holding, frames));
                if self.early.remove(&number) {
                    self.claim(number, Instant::now());
                }
            }
        }
        self.count_held();
        if !refusals.is_empty() {
            self.report(Report::Changed {
                router: number,
                refusals,
            });
        }
    }

    fn sweep(&mut self) {
        let mut batch = Batch::new();
        let addresses = self.leftovers.len();
        for (ifindex, address, prefix) in self.leftovers.drain() {
            Address::bare(ifindex, address, prefix).delete(&mut batch);
        }
        let _ = self.netlink.run(&mut batch);
        self.count_held();
        let held = || self.routers.values().filter(|router| router.held);
        let routes: Vec<_> = held().flat_map(|router| &router.holding.routes).collect();
        let rules: Vec<_> = held().flat_map(|router| &router.holding.rules).collect();
        let swept = delete_leftover_routes_and_rules(&mut self.netlink, &routes, &rules);
        let routes_and_rules = swept.unwrap_or(0);
        self.report(Report::Swept {
            addresses,
            routes_and_rules,
        });
    }

    /// Makes good for commands that did not fit the queue.
    fn compare_roles(&mut self) {
        let now = Instant::now();
        let numbers: Vec<_> = self
            .routers
            .iter()
            .map(|(number, router)| (*number, router.held))
            .collect();
        for (number, held) in numbers {
            match (self.shared.wanted[number].load(Relaxed), held) {
                (true, false) => self.claim(number, now),
                (false, true) => self.release(number, now),
                _ => {}
            }
        }
    }

    fn due(&self) -> Option<Instant> {
        self.routers.values().filter_map(Router::due).min()
    }

    /// One slice of what is due: the announcements of one router, the renewal of some.
    fn work(&mut self) {
        let now = Instant::now();
        let announcing = self
            .routers
            .iter()
            .find(|(_, r)| r.announcer.due(&r.holding.announce).is_some_and(|due| due <= now));
        if let Some(number) = announcing.map(|(number, _)| *number) {
            self.send_due_frames(number);
        }
        if self
            .routers
            .values()
            .any(|router| router.renewal_due().is_some_and(|due| due <= now))
        {
            self.renew(now);
        }
    }

    /// `true` if a frame left.
    fn send_due_frames(&mut self, number: usize) -> bool {
        let Some(router) = self.routers.get_mut(&number) else {
            return false;
        };
        let plan = &router.holding.announce;
        let now = Instant::now();
        let free = router
            .frames
            .first()
            .and_then(|frame| self.ports.free(frame.ifindex));
        if let Some(free) = free.filter(|free| !plan.gap.is_zero() && *free > now) {
            router.announcer.hold_until(free);
            return false;
        }
        let (mut sent, mut refused, mut refusal) = (0, 0, None);
        while let Some(index) = router.announcer.next(plan, router.frames.len(), now) {
            let frame = &router.frames[index];
            match self.ports.send(frame.ifindex, &frame.bytes, now + plan.gap) {
                Ok(()) => sent += 1,
                Err(errno) => {
                    refused += 1;
                    refusal = Some(Refusal {
                        what: "announcement".to_owned(),
                        errno,
                    });
                }
            }
            if !plan.gap.is_zero() {
                router.announcer.hold_until(now + plan.gap);
            }
        }
        self.shared.figures.frames_sent.fetch_add(sent, Relaxed);
        self.shared.announced[number].fetch_add(sent, Relaxed);
        self.shared.figures.frames_refused.fetch_add(refused, Relaxed);
        if let Some(refusal) = refusal {
            self.trouble(number, refusal);
        }
        sent > 0
    }

    /// Renews the leases of routers that are due or nearly so, up to a slice.
    pub(super) fn renew(&mut self, now: Instant) {
        let cpu = thread_cpu();
        let mut batch = Batch::new();
        let mut renewed = Vec::new();
        let mut expired = Vec::new();
        for (number, router) in &mut self.routers {
            // Those a little early are taken along, so that routers claimed together stay together.
            let soon = now + router.lease.unwrap_or_default() / (4 * RENEWALS_PER_LEASE);
            if router.renewal_due().is_none_or(|due| due > soon) {
                continue;
            }
            if let Some(late) = router.expired_by(now) {
                expired.push((*number, late));
                continue;
            }
            renewed.push((*number, batch.len()));
            router.prepare_renewal(self.lengthening.factor());
            batch.append(&router.renewal);
            if batch.len() >= RENEWALS_PER_SLICE {
                break;
            }
        }
        let failures = self.netlink.post(&mut batch);
        let after = Instant::now();
        for (number, _) in &renewed {
            let Some(router) = self.routers.get_mut(number) else {
                continue;
            };
            // Stopped between the look at the clock and the request: what it brought back must go.
            match router.expired_by(after) {
                Some(late) => expired.push((*number, late)),
                None => router.grant(self.lengthening.factor(), now),
            }
        }
        self.lengthening
            .observe(thread_cpu().saturating_sub(cpu), batch.len());
        self.shared
            .figures
            .addresses_renewed
            .fetch_add(batch.len() as u64, Relaxed);
        self.report_renewal(&renewed, failures);
        for (number, late) in expired {
            self.expire(number, late);
        }
        self.choose_lease();
    }

    fn report_renewal(&mut self, renewed: &[(usize, usize)], failures: Result<Vec<Failure>, NetlinkError>) {
        let troubled = |router: usize, errno: Errno| {
            (
                router,
                Refusal {
                    what: "renewal of the lease".to_owned(),
                    errno,
                },
            )
        };
        let troubles: Vec<_> = match failures {
            Ok(failures) => failures
                .iter()
                .filter_map(|failure| {
                    let router = renewed.iter().rev().find(|(_, start)| *start <= failure.index)?.0;
                    Some(troubled(router, failure.errno))
                })
                .collect(),
            Err(error) => renewed
                .iter()
                .map(|(router, _)| troubled(*router, error.errno()))
                .collect(),
        };
        for (router, refusal) in troubles {
            self.trouble(router, refusal);
        }
    }

    fn expire_if_due(&mut self, number: usize) {
        let router = self.routers.get(&number).filter(|router| router.held);
        if let Some(late) = router.and_then(|router| router.expired_by(Instant::now())) {
            self.expire(number, late);
        }
    }

    fn expire(&mut self, number: usize, late: Duration) {
        self.shared.wanted[number].store(false, Relaxed);
        let Some(router) = self.routers.get_mut(&number) else {
            return;
        };
        router.announcer.released();
        router.delete(&mut self.netlink);
        router.expired = true;
        self.count_held();
        self.report(Report::Expired { router: number, late });
    }

    fn choose_lease(&mut self) {
        let leases = self.routers.values().filter(|router| router.held);
        let leases =
            leases.filter_map(|router| Some((router.holding.lease?, router.holding.addresses.len())));
        let changed = self.lengthening.choose(leases.clone());
        let factor = self.lengthening.factor();
        let share = self.lengthening.share_ppm(leases, factor);
        let figures = &self.shared.figures;
        figures.lease_factor.store(factor, Relaxed);
        figures
            .renewal_share_ppm
            .store(u32::try_from(share).unwrap_or(u32::MAX), Relaxed);
        if changed {
            self.report(Report::LeaseChanged { factor });
        }
    }

    fn trouble(&mut self, number: usize, refusal: Refusal) {
        let Some(router) = self.routers.get_mut(&number) else {
            return;
        };
        if !std::mem::replace(&mut router.troubled, true) {
            self.report(Report::Troubled {
                router: number,
                refusal,
            });
        }
    }

    /// Writes down what is ours, once for many commands.
    fn record(&mut self) {
        let (Some(ledger), true) = (&self.ledger, self.unrecorded) else {
            return;
        };
        let held = self.routers.values().filter(|router| router.held);
        let keys = held.flat_map(|router| {
            let keys = router.holding.addresses.iter().map(|held| key(&held.address));
            keys.filter(|key| !router.foreign.contains(key))
        });
        let ours = keys.chain(self.leftovers.iter().copied()).collect();
        self.unrecorded = false;
        if let Err(error) = ledger.write(&ours) {
            self.ledger = None;
            self.report(Report::Unrecorded {
                error: error.to_string(),
            });
        }
    }

    fn count_held(&mut self) {
        self.unrecorded = true;
        let held = self
            .routers
            .values()
            .filter(|router| router.held)
            .map(|router| router.holding.addresses.len());
        self.shared
            .figures
            .addresses_held
            .store(held.sum::<usize>() as u32, Relaxed);
    }

    fn show_life(&self) {
        self.shared.figures.alive.store(clock::boottime_nanos(), Relaxed);
    }

    fn note_delay(&self, asked: Instant) {
        let delay = asked.elapsed().as_micros() as u64;
        self.shared.figures.command_delay_max_us.fetch_max(delay, Relaxed);
    }

    fn report(&self, report: Report) {
        if self.reports.try_send(report).is_err() {
            self.shared.figures.reports_lost.fetch_add(1, Relaxed);
        }
    }
}

impl Router {
    fn new(holding: Holding, frames: Vec<Frame>) -> Self {
        Self {
            holding,
            frames,
            announcer: Announcer::default(),
            held: false,
            expired: false,
            foreign: HashSet::new(),
            lease: None,
            renewed: Instant::now(),
            renewal: Batch::new(),
            phase: Phase::measure(),
            troubled: false,
        }
    }

    fn due(&self) -> Option<Instant> {
        let announcement = self.announcer.due(&self.holding.announce);
        announcement.into_iter().chain(self.renewal_due()).min()
    }

    fn renewal_due(&self) -> Option<Instant> {
        let lease = self.lease.filter(|_| self.held)?;
        Some(self.phase.renewal(self.renewed, lease))
    }

    /// By how much the lease has run out, if it may have.
    fn expired_by(&self, now: Instant) -> Option<Duration> {
        let end = self.renewed + self.lease? - EARLY;
        (now >= end).then(|| now - end)
    }

    /// The kernel has been told this lease; `before` is a moment before that.
    fn grant(&mut self, factor: u32, before: Instant) {
        self.lease = self.holding.lease.map(|lease| effective(lease, factor));
        self.renewed = before;
    }

    /// Brings the renewal requests up to date with the lease.
    fn prepare_renewal(&mut self, factor: u32) {
        let lease = self.holding.lease.map(|lease| effective(lease, factor));
        if self.renewal.is_empty() || lease != self.lease {
            self.renewal.clear();
            for address in self.holding.addresses.iter().map(|held| &held.address) {
                if !self.foreign.contains(&key(address)) {
                    address.renew(lease, &mut self.renewal);
                }
            }
        }
    }

    /// Adds what is held, adopting what an earlier run left.
    fn add(&mut self, netlink: &mut Netlink, leftovers: &mut HashSet<Key>, factor: u32) -> Vec<Refusal> {
        let ours = |address: &Address| {
            let key = key(address);
            leftovers.remove(&key) || self.held && !self.foreign.contains(&key)
        };
        let steps = steps::adding(&self.holding, ours);
        let (before, lease) = (
            Instant::now(),
            self.holding.lease.map(|lease| effective(lease, factor)),
        );
        let outcome = steps::carry_out(netlink, &steps, lease);
        self.foreign = outcome.already_there.iter().map(key).collect();
        self.held = true;
        self.expired = false;
        self.renewal.clear();
        self.grant(factor, before);
        outcome.refusals
    }

    fn delete(&mut self, netlink: &mut Netlink) -> Vec<Refusal> {
        let foreign = |address: &Address| self.foreign.contains(&key(address));
        let outcome = steps::carry_out(netlink, &steps::removing(&self.holding, foreign), None);
        self.held = false;
        self.expired = false;
        self.foreign.clear();
        self.renewal.clear();
        self.lease = None;
        outcome.refusals
    }

    /// Takes up another holding while held: only the differences are touched.
    fn exchange(&mut self, netlink: &mut Netlink, new: Holding, factor: u32) -> Vec<Refusal> {
        let foreign = |address: &Address| self.foreign.contains(&key(address));
        let steps = steps::exchanging(&self.holding, &new, foreign);
        let (before, lease) = (Instant::now(), new.lease.map(|lease| effective(lease, factor)));
        let outcome = steps::carry_out(netlink, &steps, lease);
        let lease_changed = new.lease != self.holding.lease;
        let kept: HashSet<_> = new.addresses.iter().map(|held| key(&held.address)).collect();
        self.foreign.retain(|key| kept.contains(key));
        self.foreign.extend(outcome.already_there.iter().map(key));
        self.holding = new;
        self.renewal.clear();
        if lease_changed {
            self.grant(factor, before);
        }
        outcome.refusals
    }
}

fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// Real-time scheduling and exact timers, as far as the system allows.
fn schedule(priority: Option<u8>) -> Result<(), String> {
    nix::sys::prctl::set_timerslack(1).map_err(|errno| format!("timer slack not set: {errno}"))?;
    let Some(priority) = priority else { return Ok(()) };
    let value = ThreadPriorityValue::try_from(priority)?;
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin);
    set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Crossplatform(value), policy).map_err(
        |error| {
            format!("real-time priority {priority} refused ({error}); grant CAP_SYS_NICE or RLIMIT_RTPRIO")
        },
    )
}
