//! The guard and its worker: what becomes of role and address when one of them is replaced, dies or stands still.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use warren_api::vrrp::{RouterStatus, State, Status};
use warren_lab::{Daemon, Probe, eventually, holds_for, now, warren_binary};

use crate::pair::{Node, PATIENCE, Pair, Router};

const PAIR: (warren_lab::Flavour, warren_lab::Flavour) = (crate::WARREN, crate::WARREN);
/// The shortest silence that the guard takes for a hung worker.
const BEAT_LIMIT: Duration = Duration::from_millis(250);
/// What a loaded machine may add to a figure that is a promise.
const SLACK: Duration = Duration::from_millis(250);
const MILLISECOND: Duration = Duration::from_millis(1);

fn status(node: &Node) -> Result<Status, String> {
    let output = node.daemon().ctl(&node.host, "status --json");
    serde_json::from_slice(&output.stdout).map_err(|_| String::from_utf8_lossy(&output.stderr).into_owned())
}

fn router(node: &Node) -> Result<RouterStatus, String> {
    status(node)?.routers.pop().ok_or_else(|| "no router".to_owned())
}

/// Waits until the worker that was started after `restarts` others answers and its router is in `state`.
#[track_caller]
fn eventually_restarted(node: &Node, restarts: u32, state: State) {
    let what = format!("{} has worker {restarts} and is {state:?}", node.name());
    eventually(PATIENCE, &what, || {
        let status = status(node)?;
        let found = status.routers.first().map(|router| router.state);
        if status.processes.restarts == restarts && found == Some(state) {
            Ok(())
        } else {
            Err(format!("{:?}, {found:?}", status.processes))
        }
    });
}

fn has_event(node: &Node, text: &str) -> bool {
    let events = node.daemon().ctl(&node.host, "events --json");
    String::from_utf8_lossy(&events.stdout).contains(text)
}

fn signal(process: i32, signal: Signal) {
    kill(Pid::from_raw(process), signal).unwrap();
}

fn has_ended(process: i32) -> Result<(), String> {
    let path = format!("/proc/{process}/status");
    std::fs::read_to_string(path).map_or(Ok(()), |status| {
        if status.contains("State:\tZ") {
            Ok(())
        } else {
            Err(status.lines().take(3).collect())
        }
    })
}

/// When `a` resigned, and when the other host spoke for the first time afterwards.
#[track_caller]
fn eventually_handed_over(pair: &Pair, since: Duration) -> (Duration, Duration) {
    eventually(PATIENCE, "a resigns and b speaks", || {
        let resigned = pair.adverts("a", since);
        let resigned = resigned
            .iter()
            .find(|(_, advert)| advert.priority == 0)
            .map(|(at, _)| *at);
        let spoke = pair.adverts("b", since).first().map(|(at, _)| *at);
        resigned.zip(spoke).ok_or((resigned, spoke))
    })
}

fn inode(path: impl AsRef<Path>) -> u64 {
    std::fs::metadata(path).unwrap().ino()
}

/// By a process of its own: a file that this one writes may stay open in the child of another test for a moment, and
/// nothing can be executed that is open for writing.
fn copy_binary(directory: &Path, name: &str) -> PathBuf {
    let copy = directory.join(name);
    let copied = Command::new("cp").arg(warren_binary()).arg(&copy).status();
    assert!(copied.unwrap().success());
    copy
}

fn upgraded_without_a_gap(interval: Duration) {
    let timed = |priority| Router {
        interval,
        ..Router::new(priority)
    };
    let mut pair = Pair::boot(PAIR, timed(200), timed(150));
    let directory = pair.a.host.directory().to_owned();
    let binary = copy_binary(&directory, "warren");
    pair.a.daemon = Some(Daemon::warren_copy(&binary, &pair.a.host, &pair.a.file));
    pair.b.start();
    pair.eventually_served_by("a");
    let guard = pair.a.daemon().process.id();
    let worker = pair.a.daemon().worker();

    let probe = Probe::start(&pair.client, pair.vip(), MILLISECOND);
    let start = now();
    std::fs::rename(copy_binary(&directory, "warren.new"), &binary).unwrap();
    let upgrade = pair.a.daemon().ctl(&pair.a.host, "upgrade");
    assert!(upgrade.status.success(), "{upgrade:?}");
    eventually(PATIENCE, "the new binary runs", || {
        if has_event(&pair.a, "continued after an upgrade") {
            Ok(())
        } else {
            Err(pair.a.daemon().process.descendants())
        }
    });
    assert_ne!(pair.a.daemon().worker(), worker);
    let installed = inode(&binary);
    for process in [guard, pair.a.daemon().worker()] {
        assert_eq!(
            inode(format!("/proc/{process}/exe")),
            installed,
            "process {process}"
        );
    }
    pair.stays_with("a", pair.b.router.down_interval() + interval);
    let silence = pair.longest_silence("a", start);
    assert!(
        silence < pair.b.router.down_interval(),
        "silent for {silence:?} at {interval:?}"
    );
    let report = probe.stop();
    assert_eq!((report.holders(), report.lost(start)), (vec!["a".to_owned()], 0));
    assert!(pair.adverts("b", start).is_empty());
    eventually_restarted(&pair.a, 0, State::Active);
    println!("upgrade at {interval:?}: adverts paused for {silence:?}");
}

#[test]
fn an_upgrade_keeps_process_role_and_every_probe_at_100_ms() {
    upgraded_without_a_gap(Duration::from_millis(100));
}

#[test]
fn an_upgrade_keeps_process_role_and_every_probe_at_1_s() {
    upgraded_without_a_gap(Duration::from_secs(1));
}

#[test]
fn an_upgrade_to_a_file_that_is_no_program_goes_on_with_the_old_binary() {
    let mut pair = Pair::boot(PAIR, Router::new(200), Router::new(150));
    let directory = pair.a.host.directory().to_owned();
    let binary = copy_binary(&directory, "warren");
    pair.a.daemon = Some(Daemon::warren_copy(&binary, &pair.a.host, &pair.a.file));
    pair.b.start();
    pair.eventually_served_by("a");
    let probe = Probe::start(&pair.client, pair.vip(), MILLISECOND);
    let start = now();
    let broken = copy_binary(&directory, "broken");
    std::fs::write(&broken, "no program").unwrap();
    std::fs::rename(&broken, &binary).unwrap();
    let upgrade = pair.a.daemon().ctl(&pair.a.host, "upgrade");
    assert!(!upgrade.status.success(), "{upgrade:?}");
    assert!(String::from_utf8_lossy(&upgrade.stderr).contains("the old one goes on"));
    eventually_restarted(&pair.a, 1, State::Active);
    assert!(
        pair.a
            .daemon()
            .process
            .log()
            .contains("going on with the old one")
    );
    pair.stays_with("a", Duration::from_secs(1));
    let report = probe.stop();
    assert_eq!((report.holders(), report.lost(start)), (vec!["a".to_owned()], 0));
    assert!(pair.adverts("b", start).is_empty());
}

#[test]
fn a_worker_may_die_three_times_a_minute_and_the_fourth_time_the_role_is_given_up() {
    let pair = Pair::plain(PAIR);
    let probe = Probe::start(&pair.client, pair.vip(), MILLISECOND);
    let start = now();
    for restarts in 1..=3 {
        signal(pair.a.daemon().worker(), Signal::SIGKILL);
        eventually_restarted(&pair.a, restarts, State::Active);
        assert!(has_event(&pair.a, "restarted by the guard"));
    }
    let silence = pair.longest_silence("a", start);
    let report = probe.stop();
    assert_eq!((report.holders(), report.lost(start)), (vec!["a".to_owned()], 0));
    assert!(pair.adverts("b", start).is_empty());
    println!("three restarts: adverts paused for {silence:?} at most");
    // An adopted role is announced again: this worker's count, not that of the first.
    let announced = router(&pair.a).unwrap().counters.announcements_sent;
    assert!(announced > 0, "{announced}");

    let worker = pair.a.daemon().worker();
    let start = now();
    signal(worker, Signal::SIGKILL);
    let (resigned, spoke) = eventually_handed_over(&pair, start);
    println!(
        "fourth end: resigned after {:?}, b spoke after {:?}",
        resigned - start,
        spoke - start
    );
    assert!(resigned - start < SLACK, "{:?}", resigned - start);
    assert!(
        spoke.saturating_sub(resigned) < pair.b.router.skew() + SLACK,
        "b spoke at {spoke:?}, a resigned at {resigned:?}"
    );
    assert_eq!(pair.holders(), ["b"]);
    // It is tried again, as a newcomer, and outranks b.
    pair.eventually_served_by("a");
    eventually_restarted(&pair.a, 4, State::Active);
}

#[test]
fn a_stopped_host_lets_go_within_the_lease_and_yields_without_a_word_when_it_wakes() {
    // b outranks a but does not preempt it.
    let mut pair = Pair::boot(PAIR, Router::new(150), Router::new(200).line("nopreempt"));
    pair.a.start();
    pair.eventually_served_by("a");
    pair.b.start();
    pair.stays_with("a", 3 * pair.b.router.down_interval());
    let start = now();
    pair.a.daemon().process.signal_all(Signal::SIGSTOP);
    eventually(PATIENCE, "the address has left the stopped host", || {
        if pair.a.host.has(pair.vip()) {
            Err("still there")
        } else {
            Ok(())
        }
    });
    let held = now() - start;
    println!("stopped: the address went after {held:?}");
    // The lease is 1 s; the kernel looks for ended ones with a few ticks to spare.
    assert!(held < Duration::from_millis(1100) + SLACK, "{held:?}");
    pair.eventually_served_by("b");
    let woken = now();
    pair.a.daemon().process.signal_all(Signal::SIGCONT);
    pair.stays_with("b", 2 * pair.b.router.down_interval() + Duration::from_secs(1));
    let spoken = pair.adverts("a", woken);
    assert!(
        spoken.iter().all(|(_, advert)| advert.priority == 0),
        "a spoke after it had been away: {spoken:?}"
    );
    eventually_restarted(&pair.a, 0, State::Backup);
}

#[test]
fn a_stopped_host_that_outranks_the_other_takes_role_and_address_back_together() {
    let pair = Pair::plain(PAIR);
    pair.a.daemon().process.signal_all(Signal::SIGSTOP);
    eventually(PATIENCE, "the address has moved", || match pair.holders()[..] {
        ["b"] => Ok(()),
        _ => Err(pair.holders().join(",")),
    });
    let probe = Probe::start(&pair.client, pair.vip(), MILLISECOND);
    let woken = now();
    pair.a.daemon().process.signal_all(Signal::SIGCONT);
    pair.eventually_served_by("a");
    pair.stays_with("a", Duration::from_secs(1));
    let gap = probe.stop().longest_gap(woken);
    println!("woken: longest gap {:?}", gap.length());
    assert!(gap.length() < Duration::from_millis(100), "{gap:?}");
}

#[test]
fn a_worker_without_its_guard_hands_over_and_ends() {
    let pair = Pair::plain(PAIR);
    let worker = pair.a.daemon().worker();
    let start = now();
    pair.a.daemon().process.signal(Signal::SIGKILL);
    let (resigned, spoke) = eventually_handed_over(&pair, start);
    println!(
        "guard killed: resigned after {:?}, b spoke after {:?}",
        resigned - start,
        spoke - start
    );
    assert!(resigned - start < SLACK, "{:?}", resigned - start);
    pair.eventually_served_by("b");
    eventually(PATIENCE, "the worker has ended", || has_ended(worker));
    pair.stays_with("b", Duration::from_secs(1));
}

fn hung_worker_is_replaced(interval: Duration) {
    let quiet = |priority| {
        Router {
            interval,
            ..Router::new(priority)
        }
        .line("nopreempt")
    };
    let pair = Pair::start(PAIR, quiet(200), quiet(150));
    let worker = pair.a.daemon().worker();
    let start = now();
    signal(worker, Signal::SIGSTOP);
    let (resigned, spoke) = eventually_handed_over(&pair, start);
    println!(
        "hung at {interval:?}: resigned after {:?}, b spoke after {:?}",
        resigned - start,
        spoke - start
    );
    let limit = BEAT_LIMIT.max(2 * interval);
    assert!(resigned - start < limit + SLACK, "{:?}", resigned - start);
    eventually(SLACK, "the hung worker is gone, and its address with it", || {
        has_ended(worker)?;
        if pair.a.host.has(pair.vip()) {
            Err("the address is there".to_owned())
        } else {
            Ok(())
        }
    });
    let others = 4 * interval;
    holds_for(others, "the address stays away", || {
        if pair.a.host.has(pair.vip()) {
            Err("back")
        } else {
            Ok(())
        }
    });
    eventually_restarted(&pair.a, 1, State::Backup);
    assert_eq!(router(&pair.b).map(|router| router.state), Ok(State::Active));
    pair.stays_with("b", Duration::from_secs(1));
}

#[test]
fn a_worker_that_hangs_is_resigned_for_within_250_ms_at_100_ms_and_starts_again_as_a_backup() {
    hung_worker_is_replaced(Duration::from_millis(100));
}

#[test]
fn a_worker_that_hangs_is_resigned_for_within_two_intervals_at_1_s() {
    hung_worker_is_replaced(Duration::from_secs(1));
}

#[test]
fn an_owners_own_address_survives_its_hung_worker() {
    let own = ["10.77.0.1/16"];
    let (owner, other) = (Router::new(255).addresses(&own), Router::new(150).addresses(&own));
    let mut pair = Pair::boot(PAIR, owner, other);
    pair.a.start();
    eventually_restarted(&pair.a, 0, State::Active);
    let start = now();
    signal(pair.a.daemon().worker(), Signal::SIGSTOP);
    eventually(PATIENCE, "a resigns", || {
        let adverts = pair.adverts("a", start);
        let resigned = adverts.iter().any(|(_, advert)| advert.priority == 0);
        if resigned { Ok(()) } else { Err(adverts.len()) }
    });
    eventually_restarted(&pair.a, 1, State::Active);
    assert!(
        pair.a
            .host
            .sh("ip address show dev eth0")
            .contains("10.77.0.1/16")
    );
}
