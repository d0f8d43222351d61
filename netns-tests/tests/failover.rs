//! Who is active, and how the role moves: every rule for each daemon alone and for both kinds of mixed pair.

use std::time::Duration;

use nix::sys::signal::Signal;
use warren_lab::{Flavour, Probe, eventually, now};

use crate::pair::{PATIENCE, Pair, Router};

/// Runs each scenario for keepalived alone (the instruments work), warren alone, and both mixtures.
macro_rules! every_pair {
    ($($scenario:ident),* $(,)?) => {
        mod keepalived {
            $(#[test] fn $scenario() { super::$scenario((crate::KEEPALIVED, crate::KEEPALIVED)); })*
        }
        mod warren {
            $(#[test] fn $scenario() { super::$scenario((crate::WARREN, crate::WARREN)); })*
        }
        mod warren_then_keepalived {
            $(#[test] fn $scenario() { super::$scenario((crate::WARREN, crate::KEEPALIVED)); })*
        }
        mod keepalived_then_warren {
            $(#[test] fn $scenario() { super::$scenario((crate::KEEPALIVED, crate::WARREN)); })*
        }
    };
}
pub(crate) use every_pair;

type Flavours = (Flavour, Flavour);

every_pair!(
    the_higher_priority_becomes_active_and_returns,
    a_manual_failback_waits,
    a_graceful_stop_says_goodbye_with_priority_0,
    a_crashed_host_is_replaced_after_the_down_interval,
    a_dead_link_moves_the_role_and_a_live_one_brings_it_back,
    a_pulled_cable_moves_the_role_and_the_cable_brings_it_back,
    a_partition_ends_with_one_active_and_correct_caches,
    a_backup_that_is_not_heard_disturbs_nobody,
    an_active_that_is_not_heard_wins_when_it_is_heard_again,
    a_stopped_daemon_is_replaced_and_yields_nothing_when_it_continues,
    a_killed_daemon_is_replaced,
    a_reload_loses_nothing,
    vrrp2_moves_the_role_both_ways,
    vrrp2_with_a_password_moves_the_role_both_ways,
    ipv6_moves_the_role_both_ways,
    unicast_moves_the_role_both_ways,
    a_lower_priority_started_first_is_preempted,
    a_sync_group_moves_together,
    a_virtual_mac_moves_with_the_role,
    a_partition_with_a_virtual_mac_ends_with_one_active,
    a_partition_with_a_virtual_mac_on_ipv6_ends_with_one_active,
    a_partition_ends_with_one_active_whichever_mac_each_speaks_from,
    an_owner_is_active_at_once,
    a_delayed_failback_waits_its_time,
    routes_and_excluded_addresses_follow_the_role,
    notify_scripts_hear_every_state_in_order,
    a_daemon_started_before_its_link_waits_for_it,
);

fn the_higher_priority_becomes_active_and_returns(flavours: Flavours) {
    let mut pair = Pair::plain(flavours);
    pair.a.stop();
    pair.eventually_served_by("b");
    pair.a.start();
    pair.eventually_served_by("a");
    pair.stays_with("a", Duration::from_secs(1));
}

fn a_lower_priority_started_first_is_preempted(flavours: Flavours) {
    let mut pair = Pair::boot(flavours, Router::new(101), Router::new(100));
    pair.b.start();
    pair.eventually_served_by("b");
    pair.a.start();
    pair.eventually_served_by("a");
    pair.stays_with("a", Duration::from_secs(1));
}

fn a_manual_failback_waits(flavours: Flavours) {
    let manual = |priority| Router::new(priority).line("nopreempt");
    let mut pair = Pair::start(flavours, manual(200), manual(150));
    pair.a.stop();
    pair.eventually_served_by("b");
    pair.a.start();
    pair.stays_with("b", Duration::from_secs(2));
    pair.b.stop();
    pair.eventually_served_by("a");
}

fn a_graceful_stop_says_goodbye_with_priority_0(flavours: Flavours) {
    let mut pair = Pair::plain(flavours);
    let probe = Probe::start(&pair.client, pair.vip(), Duration::from_millis(1));
    let start = now();
    pair.a.stop();
    pair.eventually_served_by("b");
    let report = probe.stop();

    let adverts = pair.adverts("a", start);
    let (goodbye, _) = adverts
        .iter()
        .find(|(_, advert)| advert.priority == 0)
        .expect("a says goodbye");
    let (first, _) = pair.adverts("b", start).into_iter().next().expect("b advertises");
    let silence = first - *goodbye;
    let skew = pair.b.router.skew();
    assert!(
        silence >= skew - Duration::from_millis(2),
        "{silence:?} < skew {skew:?}"
    );
    assert!(
        silence < skew + Duration::from_millis(150),
        "{silence:?} > skew {skew:?}"
    );
    assert_eq!(report.holders(), ["a", "b"]);
    // Nobody speaks for the address again after the goodbye.
    assert!(
        adverts
            .iter()
            .all(|(at, advert)| *at <= *goodbye || advert.priority == 0),
        "{adverts:?}"
    );
}

fn a_crashed_host_is_replaced_after_the_down_interval(flavours: Flavours) {
    let pair = Pair::plain(flavours);
    let probe = Probe::start(&pair.client, pair.vip(), Duration::from_millis(1));
    let start = now();
    pair.a.host.crash();
    eventually(PATIENCE, "b serves", || pair_serves_without_a(&pair));
    let report = probe.stop();

    let (silence, down) = (pair.silence(start), pair.b.router.down_interval());
    assert!(
        silence >= down - Duration::from_millis(2),
        "{silence:?} < {down:?}"
    );
    assert!(
        silence < down + Duration::from_millis(150),
        "{silence:?} > {down:?}"
    );
    let gap = report.longest_gap(start);
    assert!(gap.length() < down + Duration::from_millis(250), "{gap:?}");
    // The first thing after the first advert is the announcement of the address. Of an earlier time there may be one as well: when
    // both were started b may have waited its interval before a was there.
    let (first, _) = pair.adverts("b", start)[0].clone();
    let announced = eventually(PATIENCE, "b announces the address", || {
        let frames = pair.sniffer.frames();
        let mut frames = frames.iter().filter(|seen| seen.host == "b" && seen.at >= start);
        let announcement = frames.find(|seen| seen.frame.announced() == Some(pair.vip()));
        announcement.map(|seen| seen.at).ok_or("not seen")
    });
    let lateness = announced.abs_diff(first);
    assert!(
        lateness < Duration::from_millis(100),
        "announced {lateness:?} after the first advert"
    );
}

/// A crashed host cannot be asked what it holds.
fn pair_serves_without_a(pair: &Pair) -> Result<(), String> {
    match Probe::connect(&pair.client, pair.vip()) {
        Ok(answer) if answer == "b" && pair.b.host.has(pair.vip()) => Ok(()),
        other => Err(format!("a client got {other:?}")),
    }
}

fn a_dead_link_moves_the_role_and_a_live_one_brings_it_back(flavours: Flavours) {
    let pair = Pair::plain(flavours);
    pair.a.host.set_link(false);
    eventually(PATIENCE, "b serves", || pair_serves_without_a(&pair));
    pair.a.host.set_link(true);
    pair.eventually_served_by("a");
    pair.stays_with("a", Duration::from_secs(1));
}

fn a_pulled_cable_moves_the_role_and_the_cable_brings_it_back(flavours: Flavours) {
    let pair = Pair::plain(flavours);
    pair.a.host.set_carrier(false);
    eventually(PATIENCE, "b serves", || pair_serves_without_a(&pair));
    eventually(PATIENCE, "a lets go of the address", || {
        if pair.holders() == ["b"] {
            Ok(())
        } else {
            Err(pair.holders())
        }
    });
    pair.a.host.set_carrier(true);
    pair.eventually_served_by("a");
    pair.stays_with("a", Duration::from_secs(1));
}

fn a_partition_ends_with_one_active_and_correct_caches(flavours: Flavours) {
    let pair = Pair::plain(flavours);
    both_are_active_apart(&pair);
    // b spoke last, so the client believes b.
    eventually(PATIENCE, "the client believes b", || pair.eventually_answer("b"));
    pair.network.heal();
    pair.eventually_served_by("a");
    client_knows(&pair, "a");
    pair.stays_with("a", Duration::from_secs(1));
    client_knows(&pair, "a");
}

/// Both speak from the same MAC then, and each has an interface with just that MAC.
fn a_partition_with_a_virtual_mac_ends_with_one_active(flavours: Flavours) {
    let virtual_mac = |priority| Router::new(priority).line("use_vmac");
    one_is_active_after_a_partition(&Pair::start(flavours, virtual_mac(200), virtual_mac(150)));
}

fn a_partition_with_a_virtual_mac_on_ipv6_ends_with_one_active(flavours: Flavours) {
    let virtual_mac = |priority| {
        let six = Router::new(priority).addresses(&["fe80::77:9:1/64", "fd77::9:1/64"]);
        six.line("use_vmac")
    };
    one_is_active_after_a_partition(&Pair::start(flavours, virtual_mac(200), virtual_mac(150)));
}

/// One speaks from the virtual MAC, the other from its own.
fn a_partition_ends_with_one_active_whichever_mac_each_speaks_from(flavours: Flavours) {
    let own = Router::new(200).line("use_vmac").line("vmac_xmit_base");
    let virtual_mac = Router::new(150).line("use_vmac");
    one_is_active_after_a_partition(&Pair::start(flavours, own, virtual_mac));
}

fn both_are_active_apart(pair: &Pair) {
    pair.network.partition(&pair.a.host, &pair.b.host);
    eventually(PATIENCE, "both are active", || {
        if pair.holders() == ["a", "b"] {
            Ok(())
        } else {
            Err(pair.holders())
        }
    });
}

fn one_is_active_after_a_partition(pair: &Pair) {
    pair.stays_with("a", Duration::from_millis(500));
    both_are_active_apart(pair);
    pair.network.heal();
    pair.eventually_served_by("a");
    pair.stays_with("a", Duration::from_secs(1));
}

/// The neighbour table of the client, not only who answers.
#[track_caller]
fn client_knows(pair: &Pair, name: &str) {
    let node = if name == "a" { &pair.a } else { &pair.b };
    let mac = node.host.mac();
    let entry = pair.client.sh(&format!("ip neigh show {}", pair.vip()));
    assert!(entry.contains(&mac), "client: {entry:?}, {name} is {mac}");
}

fn a_backup_that_is_not_heard_disturbs_nobody(flavours: Flavours) {
    let pair = Pair::plain(flavours);
    let probe = Probe::start(&pair.client, pair.vip(), Duration::from_millis(1));
    pair.network.block(&pair.b.host, &pair.a.host);
    pair.stays_with("a", Duration::from_secs(2));
    let report = probe.stop();
    assert_eq!(
        (report.holders(), report.lost(Duration::ZERO)),
        (vec!["a".to_owned()], 0)
    );
}

fn an_active_that_is_not_heard_wins_when_it_is_heard_again(flavours: Flavours) {
    let pair = Pair::plain(flavours);
    let start = now();
    pair.network.block(&pair.a.host, &pair.b.host);
    eventually(PATIENCE, "b is active too", || {
        if pair.b.host.has(pair.vip()) {
            Ok(())
        } else {
            Err(pair.holders())
        }
    });
    // a hears b's lower priority and keeps the role.
    assert!(
        pair.adverts("a", start)
            .iter()
            .all(|(_, advert)| advert.priority == 200)
    );
    pair.network.heal();
    pair.eventually_served_by("a");
    pair.stays_with("a", Duration::from_secs(1));
    client_knows(&pair, "a");
}

fn a_stopped_daemon_is_replaced_and_yields_nothing_when_it_continues(flavours: Flavours) {
    let pair = Pair::plain(flavours);
    pair.a.daemon().process.signal_all(Signal::SIGSTOP);
    eventually(PATIENCE, "b is active", || {
        if pair.b.host.has(pair.vip()) {
            Ok(())
        } else {
            Err(pair.holders())
        }
    });
    if flavours.0 == Flavour::Warren {
        // The lease of the address runs out: nobody renews it.
        eventually(
            Duration::from_secs(3),
            "the stopped host loses the address",
            || {
                if pair.holders() == ["b"] {
                    Ok(())
                } else {
                    Err(pair.holders())
                }
            },
        );
        pair.eventually_served_by("b");
    }
    pair.a.daemon().process.signal_all(Signal::SIGCONT);
    pair.eventually_served_by("a");
    pair.stays_with("a", Duration::from_secs(1));
    client_knows(&pair, "a");
}

fn a_killed_daemon_is_replaced(flavours: Flavours) {
    let mut pair = Pair::plain(flavours);
    let start = now();
    pair.a.daemon.take().unwrap().process.kill();
    eventually(PATIENCE, "b is active", || {
        if pair.b.host.has(pair.vip()) {
            Ok(())
        } else {
            Err(pair.holders())
        }
    });
    let (silence, down) = (pair.silence(start), pair.b.router.down_interval());
    assert!(
        silence < down + Duration::from_millis(150),
        "{silence:?} > {down:?}"
    );
    if flavours.0 == Flavour::Warren {
        eventually(
            Duration::from_secs(3),
            "the dead daemon's address is gone",
            || {
                if pair.holders() == ["b"] {
                    Ok(())
                } else {
                    Err(pair.holders())
                }
            },
        );
        pair.eventually_served_by("b");
    }
    // The next start finds whatever was left behind and takes its place again.
    pair.a.start();
    pair.eventually_served_by("a");
    pair.stays_with("a", Duration::from_secs(1));
}

fn a_reload_loses_nothing(flavours: Flavours) {
    let pair = Pair::plain(flavours);
    let probe = Probe::start(&pair.client, pair.vip(), Duration::from_millis(1));
    let start = now();
    let second = pair.a.router.clone().addresses(&["10.77.9.1/32", "10.77.9.2/32"]);
    pair.a.daemon().reload(&second.file());
    pair.b.daemon().reload(
        &pair
            .b
            .router
            .clone()
            .addresses(&["10.77.9.1/32", "10.77.9.2/32"])
            .file(),
    );
    eventually(PATIENCE, "the added address is there", || {
        if pair.a.host.has("10.77.9.2".parse().unwrap()) {
            Ok(())
        } else {
            Err(pair.a.host.addresses())
        }
    });
    pair.stays_with("a", Duration::from_secs(1));
    let silence = pair.longest_silence("a", start);
    let report = probe.stop();
    assert!(
        silence < pair.b.router.down_interval(),
        "a was silent for {silence:?}"
    );
    assert_eq!((report.holders(), report.lost(start)), (vec!["a".to_owned()], 0));
}

/// Graceful stop of `a`, its return, its crash.
#[track_caller]
fn moves_both_ways(mut pair: Pair) {
    let version = pair.a.router.version;
    for name in ["a", "b"] {
        assert!(
            pair.adverts(name, Duration::ZERO)
                .iter()
                .all(|(_, advert)| advert.version == version)
        );
    }
    pair.a.stop();
    pair.eventually_served_by("b");
    pair.a.start();
    pair.eventually_served_by("a");
    pair.a.host.crash();
    eventually(PATIENCE, "b serves", || pair_serves_without_a(&pair));
}

fn vrrp2_moves_the_role_both_ways(flavours: Flavours) {
    moves_both_ways(Pair::start(
        flavours,
        Router::new(101).v2(),
        Router::new(100).v2(),
    ));
}

fn vrrp2_with_a_password_moves_the_role_both_ways(flavours: Flavours) {
    let secret = |priority| {
        Router::new(priority)
            .v2()
            .line("authentication { \n auth_type PASS \n auth_pass secret\n }")
    };
    let pair = Pair::start(flavours, secret(101), secret(100));
    let (_, advert) = pair.adverts("a", Duration::ZERO).pop().expect("an advert");
    assert!(advert.message.ends_with(b"secret\0\0"), "{advert:?}");
    moves_both_ways(pair);
}

fn ipv6_moves_the_role_both_ways(flavours: Flavours) {
    let six = |priority| Router::new(priority).addresses(&["fe80::77:9:1/64", "fd77::9:1/64"]);
    moves_both_ways(Pair::start(flavours, six(200), six(150)));
}

fn unicast_moves_the_role_both_ways(flavours: Flavours) {
    let to = |priority, own: &str, peer: &str| {
        Router::new(priority)
            .line(&format!("unicast_src_ip {own}"))
            .line(&format!("unicast_peer {{\n        {peer}\n    }}"))
    };
    let pair = Pair::start(
        flavours,
        to(200, "10.77.0.1", "10.77.0.2"),
        to(150, "10.77.0.2", "10.77.0.1"),
    );
    let adverts = pair.adverts("a", Duration::ZERO);
    assert!(
        adverts
            .iter()
            .all(|(_, advert)| advert.destination.to_string() == "10.77.0.2"),
        "{adverts:?}"
    );
    moves_both_ways(pair);
}

fn a_sync_group_moves_together(flavours: Flavours) {
    let file = |node: &crate::pair::Node, priority| {
        let healthy = node.host.write("healthy", "yes");
        let first = Router::new(priority);
        let second = Router {
            name: "VI_2",
            vrid: 52,
            ..Router::new(priority)
        }
        .addresses(&["10.77.9.2/32"])
        .line("track_script {\n        healthy\n    }");
        format!(
            "vrrp_script healthy {{\n    script \"/usr/bin/test -e {}\"\n    interval 1\n    timeout 1\n    \
             rise 1\n    fall 1\n    user root\n}}\nvrrp_sync_group G {{\n    group {{\n        VI_1\n        VI_2\n    }}\n}}\n{}{}",
            healthy.display(),
            first.instance(),
            second.instance()
        )
    };
    let mut pair = Pair::boot(flavours, Router::new(200), Router::new(150));
    pair.a.file = file(&pair.a, 200);
    pair.b.file = file(&pair.b, 150);
    pair.a.start();
    pair.b.start();
    let second = "10.77.9.2".parse().unwrap();
    pair.eventually_served_by("a");
    eventually(PATIENCE, "a has both addresses", || {
        if pair.a.host.has(second) {
            Ok(())
        } else {
            Err("no")
        }
    });

    std::fs::remove_file(pair.a.host.directory().join("healthy")).unwrap();
    pair.eventually_served_by("b");
    eventually(PATIENCE, "b has both addresses", || {
        if pair.b.host.has(second) && !pair.a.host.has(second) {
            Ok(())
        } else {
            Err("no")
        }
    });
    pair.a.host.write("healthy", "yes");
    pair.eventually_served_by("a");
}

fn a_virtual_mac_moves_with_the_role(flavours: Flavours) {
    let virtual_mac = |priority| Router::new(priority).line("use_vmac");
    let mut pair = Pair::start(flavours, virtual_mac(200), virtual_mac(150));
    let own = [0x00, 0x00, 0x5e, 0x00, 0x01, 51];
    let is_virtual = |pair: &Pair, name: &str, since| {
        let adverts = pair.adverts(name, since);
        !adverts.is_empty() && adverts.iter().all(|(_, advert)| advert.mac == own)
    };
    pair.stays_with("a", Duration::from_secs(1));
    assert!(is_virtual(&pair, "a", Duration::ZERO));
    client_knows_the_virtual_mac(&pair, flavours.0);
    let moved = now();
    pair.a.stop();
    pair.eventually_served_by("b");
    assert!(is_virtual(&pair, "b", moved));
    client_knows_the_virtual_mac(&pair, flavours.1);
}

/// keepalived leaves `arp_ignore` of the parent interface alone, so the parent may answer too, with its own address.
#[track_caller]
fn client_knows_the_virtual_mac(pair: &Pair, holder: Flavour) {
    if holder == Flavour::Warren {
        let entry = pair.client.sh("ip neigh show 10.77.9.1");
        assert!(entry.contains("00:00:5e:00:01:33"), "{entry}");
    }
}

fn an_owner_is_active_at_once(flavours: Flavours) {
    let mut pair = Pair::boot(flavours, Router::new(255), Router::new(254));
    pair.b.start();
    pair.eventually_served_by("b");
    pair.a.start();
    pair.eventually_served_by("a");
    pair.a.host.crash();
    eventually(PATIENCE, "b serves", || pair_serves_without_a(&pair));
}

fn a_delayed_failback_waits_its_time(flavours: Flavours) {
    let delayed = |priority| Router::new(priority).line("preempt_delay 2");
    let mut pair = Pair::boot(flavours, delayed(200), delayed(150));
    pair.b.start();
    pair.eventually_served_by("b");
    pair.a.start();
    let started = now();
    pair.stays_with("b", Duration::from_millis(1500));
    pair.eventually_served_by("a");
    let (first, _) = pair.adverts("a", started).first().cloned().expect("a advertises");
    assert!(
        first - started >= Duration::from_millis(2000),
        "{:?}",
        first - started
    );
}

fn routes_and_excluded_addresses_follow_the_role(flavours: Flavours) {
    let more = |priority| {
        Router::new(priority)
            .line("virtual_ipaddress_excluded {\n        10.77.9.7/32\n        fd77::9:7/128\n    }")
            .line("virtual_routes {\n        10.99.0.0/16 via 10.77.0.3 dev eth0 metric 50\n    }")
    };
    let mut pair = Pair::start(flavours, more(200), more(150));
    let excluded = ["10.77.9.7".parse().unwrap(), "fd77::9:7".parse().unwrap()];
    let state = |node: &crate::pair::Node| {
        let has = excluded.map(|address| node.host.has(address));
        (
            has,
            node.host
                .sh("ip route show 10.99.0.0/16")
                .contains("via 10.77.0.3"),
        )
    };
    for (holder, other) in [("a", "b"), ("b", "a")] {
        eventually(
            PATIENCE,
            &format!("{holder} has everything and {other} nothing"),
            || {
                let (mine, theirs) = if holder == "a" {
                    (state(&pair.a), state(&pair.b))
                } else {
                    (state(&pair.b), state(&pair.a))
                };
                if mine == ([true; 2], true) && theirs == ([false; 2], false) {
                    Ok(())
                } else {
                    Err((mine, theirs))
                }
            },
        );
        if holder == "a" {
            pair.a.stop();
        }
    }
    pair.eventually_served_by("b");
}

/// keepalived's arguments: what, name, state, priority.
fn notify_scripts_hear_every_state_in_order(flavours: Flavours) {
    let mut pair = Pair::boot(flavours, Router::new(200), Router::new(150));
    for node in [&mut pair.a, &mut pair.b] {
        let told = node.host.directory().join("told");
        let script = node.host.write(
            "notify.sh",
            &format!("#!/bin/sh\necho \"$*\" >> {}\n", told.display()),
        );
        node.host.sh(&format!(
            "chmod 755 {} {}",
            script.display(),
            node.host.directory().display()
        ));
        node.router = node
            .router
            .clone()
            .line(&format!("notify \"{}\" root", script.display()));
        node.file = node.router.file();
        node.start();
    }
    pair.eventually_served_by("a");
    pair.a.stop();
    pair.eventually_served_by("b");
    pair.a.start();
    pair.eventually_served_by("a");
    let told = |node: &crate::pair::Node| {
        let text = std::fs::read_to_string(node.host.directory().join("told")).unwrap_or_default();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let line = |state: &str, priority: u8| format!("INSTANCE VI_1 {state} {priority}");
    let a = ["BACKUP", "MASTER", "STOP", "BACKUP", "MASTER"].map(|state| line(state, 200));
    eventually(PATIENCE, "a's script heard everything", || {
        if told(&pair.a) == a {
            Ok(())
        } else {
            Err(told(&pair.a))
        }
    });
    let b = ["BACKUP", "MASTER", "BACKUP"].map(|state| line(state, 150));
    eventually(PATIENCE, "b's script heard everything", || {
        if told(&pair.b).ends_with(&b) {
            Ok(())
        } else {
            Err(told(&pair.b))
        }
    });
}

/// IFF_UP is not enough to be heard: the first advert and the first announcement must reach the others.
fn a_daemon_started_before_its_link_waits_for_it(flavours: Flavours) {
    let mut pair = Pair::boot(flavours, Router::new(200), Router::new(150));
    pair.a.host.set_link(false);
    pair.a.start();
    pair.b.start();
    eventually(PATIENCE, "b serves", || pair_serves_without_a(&pair));
    assert!(!pair.a.host.has(pair.vip()));
    pair.a.host.set_link(true);
    pair.eventually_served_by("a");
    client_knows(&pair, "a");
    pair.stays_with("a", Duration::from_secs(1));
}
