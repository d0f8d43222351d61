//! What an operator sees and does: status, why, events, drain, reload, upgrade.

use std::time::Duration;

use warren_api::vrrp::{RouterStatus, State, Status};
use warren_lab::{Echo, Injector, Probe, eventually, frame::Forged, holds_for, now};

use crate::pair::{Node, PATIENCE, Pair, Router};

const PAIR: (warren_lab::Flavour, warren_lab::Flavour) = (crate::WARREN, crate::WARREN);

/// Runs a command against the daemon of a node; it must succeed.
#[track_caller]
fn ctl(node: &Node, arguments: &str) -> String {
    let output = node.daemon().ctl(&node.host, arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments}: {}: {error}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn status(node: &Node) -> Status {
    let text = ctl(node, "status --json");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[track_caller]
fn router(node: &Node) -> RouterStatus {
    status(node)
        .routers
        .into_iter()
        .find(|router| router.vrid == 51)
        .expect("the router is listed")
}

#[test]
fn status_agrees_with_the_kernel_and_the_wire() {
    let pair = Pair::plain(PAIR);
    let (a, b) = (router(&pair.a), router(&pair.b));
    assert_eq!(
        (a.state, a.keepalived.as_str(), a.priority),
        (State::Active, "MASTER", 200)
    );
    assert_eq!(
        (b.state, b.keepalived.as_str(), b.priority),
        (State::Backup, "BACKUP", 150)
    );
    assert!(
        a.addresses.iter().all(|address| address.in_kernel),
        "{:?}",
        a.addresses
    );
    assert!(
        b.addresses.iter().all(|address| !address.in_kernel),
        "{:?}",
        b.addresses
    );
    let heard = b.active_peer.expect("b hears a");
    assert_eq!(
        (heard.address.map(|address| address.to_string()), heard.priority),
        (Some("10.77.0.1".to_owned()), 200)
    );
    let seen = pair.adverts("a", Duration::ZERO).len() as u64;
    assert!(
        a.counters.adverts_sent.abs_diff(seen) <= 20,
        "{} sent, {seen} seen",
        a.counters.adverts_sent
    );
}

#[test]
fn why_names_the_peer_and_both_priorities() {
    let pair = Pair::plain(PAIR);
    let why = ctl(&pair.b, "why VI_1");
    for fact in ["BACKUP", "10.77.0.1", "200", "150"] {
        assert!(why.contains(fact), "{fact} is missing in: {why}");
    }
}

#[test]
fn why_says_that_nothing_fails_back_by_itself() {
    let mut pair = Pair::boot(PAIR, Router::new(200).line("nopreempt"), Router::new(150));
    pair.b.start();
    pair.eventually_served_by("b");
    pair.a.start();
    eventually(PATIENCE, "a says what keeps it", || {
        let output = pair.a.daemon().ctl(&pair.a.host, "why VI_1");
        let why = String::from_utf8_lossy(&output.stdout).into_owned();
        if why.contains("`failback` does not let this host take the role back") {
            Ok(())
        } else {
            Err(why)
        }
    });
    pair.stays_with("b", Duration::from_secs(1));
}

#[test]
fn events_tell_the_transitions() {
    let mut pair = Pair::plain(PAIR);
    pair.a.stop();
    pair.eventually_served_by("b");
    let events = ctl(&pair.b, "events --json");
    let transitions: Vec<&str> = events
        .lines()
        .filter(|line| line.contains("\"transition\""))
        .collect();
    assert!(transitions.len() >= 2, "{events}");
    assert!(transitions.last().unwrap().contains("active"), "{events}");
}

#[test]
fn drain_moves_the_role_and_resume_brings_it_back() {
    let pair = Pair::plain(PAIR);
    let probe = Probe::start(&pair.client, pair.vip(), Duration::from_millis(1));
    let start = now();
    ctl(&pair.a, "drain VI_1");
    pair.eventually_served_by("b");
    assert!(router(&pair.a).drained);
    // The address was kept until the other had it: less than one interval without an answer.
    let gap = probe.stop().longest_gap(start);
    assert!(gap.length() < pair.b.router.down_interval(), "{gap:?}");
    pair.stays_with("b", Duration::from_secs(1));
    ctl(&pair.a, "resume VI_1");
    pair.eventually_served_by("a");
    assert!(!router(&pair.a).drained);
}

#[test]
fn a_stranger_with_the_address_raises_the_dual_active_alarm() {
    let pair = Pair::plain(PAIR);
    let stranger = pair.network.host("stranger");
    let _echo = Echo::start(&stranger);
    stranger.sh("ip address add 10.77.9.1/32 dev eth0");
    let alarm = eventually(Duration::from_secs(30), "the alarm is raised", || {
        router(&pair.a).dual_active.ok_or("none")
    });
    assert_eq!(alarm.mac.to_lowercase(), stranger.mac());
    stranger.sh("ip address del 10.77.9.1/32 dev eth0");
    eventually(Duration::from_secs(30), "the alarm ends", || {
        router(&pair.a).dual_active.map_or(Ok(()), Err)
    });
}

#[test]
fn a_stranger_who_held_the_address_before_is_named_when_the_role_is_taken() {
    let mut pair = Pair::boot(PAIR, Router::new(200).v2(), Router::new(150).v2());
    let stranger = pair.network.host("stranger");
    stranger.sh("ip address add 10.77.9.1/32 dev eth0");
    pair.a.start();
    eventually(PATIENCE, "a answers", || {
        let output = pair.a.daemon().ctl(&pair.a.host, "status");
        if output.status.success() {
            Ok(())
        } else {
            Err(output)
        }
    });
    let listening = Duration::from_millis(500);
    holds_for(listening, "a listens", || {
        if pair.a.host.has(pair.vip()) {
            Err("active")
        } else {
            Ok(())
        }
    });
    // Gone again before a takes over: only who asked during the silence can have seen it.
    stranger.sh("ip address del 10.77.9.1/32 dev eth0");
    eventually(Duration::from_secs(10), "a is active", || {
        if pair.a.host.has(pair.vip()) {
            Ok(())
        } else {
            Err("not yet")
        }
    });
    let events = ctl(&pair.a, "events --json");
    assert!(events.contains("two hosts hold it"), "{events}");
}

#[test]
fn a_foreign_virtual_router_is_reported() {
    let pair = Pair::plain(PAIR);
    let stranger = pair.network.host_with("stranger", &["10.77.0.66/16"]);
    let advert = Forged::v3(
        "10.77.0.66".parse().unwrap(),
        99,
        100,
        100,
        &["10.77.9.9".parse().unwrap()],
    )
    .frame();
    Injector::new(&stranger).flood(10, Duration::from_secs(1), |_| advert.clone());
    eventually(PATIENCE, "VRID 99 is listed", || {
        let foreign = status(&pair.a).foreign;
        if foreign.iter().any(|router| router.vrid == 99) {
            Ok(())
        } else {
            Err(foreign)
        }
    });
}

#[test]
fn a_broken_file_is_refused_and_changes_nothing() {
    let pair = Pair::plain(PAIR);
    let start = now();
    let before = router(&pair.a);
    let broken = format!(
        "{}\nvrrp_instance VI_2 {{\n  no_such_keyword yes\n}}\n",
        pair.a.file
    );
    std::fs::write(pair.a.host.directory().join("keepalived.conf"), broken).unwrap();
    let output = pair.a.daemon().ctl(&pair.a.host, "reload");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{output:?}");
    assert!(error.contains("no_such_keyword"), "{error}");
    pair.stays_with("a", Duration::from_secs(1));
    assert!(pair.longest_silence("a", start) < pair.b.router.down_interval());
    assert_eq!(router(&pair.a).since, before.since);
}

#[test]
fn a_check_added_by_a_reload_moves_no_role_before_its_first_result() {
    let pair = Pair::plain(PAIR);
    let start = now();
    let before = router(&pair.a);
    let checked = pair
        .a
        .router
        .clone()
        .block("vrrp_script slow {\n    script \"/bin/sleep 0.8\"\n    interval 5\n    user root\n}")
        .line("track_script {\n        slow\n    }");
    pair.a.daemon().reload(&checked.file());
    eventually(PATIENCE, "the check is well", || {
        let checks = status(&pair.a).checks;
        let well = checks
            .iter()
            .any(|check| check.name == "slow" && check.verdict == warren_api::vrrp::Verdict::Well);
        if well { Ok(()) } else { Err(checks) }
    });
    assert!(
        pair.adverts("a", start)
            .iter()
            .all(|(_, advert)| advert.priority != 0)
    );
    assert_eq!(router(&pair.a).since, before.since);
}

/// What a neighbour sends from its own MAC arrives on both interfaces of a virtual MAC.
#[test]
fn an_advert_counts_once_however_many_ways_in_it_takes() {
    for sender in [
        Router::new(200),
        Router::new(200).line("use_vmac"),
        Router::new(200).line("use_vmac").line("vmac_xmit_base"),
    ] {
        let pair = Pair::start(PAIR, sender, Router::new(150).line("use_vmac"));
        let (start, before) = (now(), router(&pair.b).counters.adverts_received);
        pair.stays_with("a", Duration::from_secs(1));
        let heard = router(&pair.b).counters.adverts_received - before;
        let sent = pair.adverts("a", start).len() as u64;
        // The wire and the counters are not looked at in the same instant.
        assert!(
            sent >= 5 && heard.abs_diff(sent) <= 2,
            "{sent} sent, {heard} heard"
        );
    }
}

#[test]
fn an_upgrade_loses_no_probe() {
    let pair = Pair::plain(PAIR);
    let probe = Probe::start(&pair.client, pair.vip(), Duration::from_millis(1));
    let start = now();
    let before = status(&pair.a).processes;
    ctl(&pair.a, "upgrade");
    eventually(PATIENCE, "another worker answers", || {
        let output = pair.a.daemon().ctl(&pair.a.host, "status --json");
        let status: Status = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
        if status.processes.worker == before.worker {
            Err(format!("{:?}", status.processes))
        } else {
            Ok(())
        }
    });
    pair.stays_with("a", Duration::from_secs(1));
    let report = probe.stop();
    assert_eq!((report.holders(), report.lost(start)), (vec!["a".to_owned()], 0));
}

/// keepalived 2.2 refuses such adverts, and both become active.
#[test]
fn different_address_lists_do_not_make_two_actives() {
    let pair = Pair::start(
        PAIR,
        Router::new(200),
        Router::new(150).addresses(&["10.77.9.1/32", "10.77.9.2/32"]),
    );
    pair.stays_with("a", Duration::from_secs(1));
}
