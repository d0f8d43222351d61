//! The instruments themselves: what the other tests believe, shown with nothing but the kernel.

use std::net::IpAddr;
use std::time::Duration;

use nix::sys::signal::Signal;
use warren_lab::{Echo, Network, Probe, Sniffer, eventually, now};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn hosts_see_only_their_own_processes_and_files() {
    let network = Network::new();
    let (a, b) = (network.host("a"), network.host("b"));
    let _sleeper = a.spawn("sleep", &["61"]);
    eventually(Duration::from_secs(5), "the sleeper runs", || {
        a.try_sh("killall -0 sleep")
            .status
            .success()
            .then_some(())
            .ok_or("not yet")
    });
    assert!(!b.try_sh("killall -0 sleep").status.success());
    a.sh("echo 1 > /run/only-here");
    assert!(!b.try_sh("test -e /run/only-here").status.success());
}

#[test]
fn a_crash_ends_every_process_of_the_host_at_once() {
    let network = Network::new();
    let a = network.host("a");
    let mut process = a.spawn("sh", &["-c", "sleep 62 & setsid sleep 63 & wait"]);
    eventually(Duration::from_secs(5), "three processes", || {
        let family = process.descendants();
        (family.len() == 2).then_some(()).ok_or(family)
    });
    let family = process.descendants();
    a.crash();
    process.wait(Duration::from_secs(5));
    for id in family {
        eventually(Duration::from_secs(5), "the child is gone", || {
            let alive = nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), None::<Signal>).is_ok();
            if alive { Err(id) } else { Ok(()) }
        });
    }
}

#[test]
fn the_probe_names_the_holder_and_measures_the_gap() {
    let network = Network::new();
    let (a, b, client) = (network.host("a"), network.host("b"), network.host("client"));
    let _echoes = (Echo::start(&a), Echo::start(&b));
    let sniffer = Sniffer::start(&network);
    a.sh("ip address add 10.77.9.1/32 dev eth0");
    let probe = Probe::start(&client, ip("10.77.9.1"), Duration::from_millis(1));
    eventually(Duration::from_secs(5), "a TCP client reaches a", || {
        let answer = Probe::connect(&client, ip("10.77.9.1")).map_err(|error| error.to_string())?;
        if answer == "a" { Ok(()) } else { Err(answer) }
    });
    let start = now();
    a.crash();
    std::thread::sleep(Duration::from_millis(100));
    b.sh("ip address add 10.77.9.1/32 dev eth0");
    let moved = now();
    client.sh("ip neigh flush all");
    eventually(Duration::from_secs(5), "b serves", || {
        let answer = Probe::connect(&client, ip("10.77.9.1")).map_err(|error| error.to_string())?;
        if answer == "b" { Ok(()) } else { Err(answer) }
    });
    let report = probe.stop();
    assert_eq!(report.holders(), ["a", "b"]);
    let gap = report.longest_gap(start);
    assert!(gap.length() >= Duration::from_millis(90), "{gap:?}");
    assert!(
        gap.until >= moved - Duration::from_millis(60),
        "{gap:?} {moved:?}"
    );
    assert!(report.lost(start) >= 50, "{} lost", report.lost(start));
    // The client asked for the address, and the switch saw it.
    assert!(sniffer.frames().iter().any(|seen| seen.host == "client"));
}

#[test]
fn a_block_is_one_way_and_heals() {
    let network = Network::new();
    let (a, b) = (network.host("a"), network.host("b"));
    let reaches = || Probe::connect(&a, ip("10.77.0.2")).is_ok();
    let _echo = Echo::start(&b);
    assert!(reaches());
    network.block(&b, &a);
    assert!(!reaches());
    network.heal();
    assert!(reaches());
}

#[test]
fn pulling_the_cable_takes_the_carrier_and_leaves_the_interface_up() {
    let network = Network::new();
    let a = network.host("a");
    a.set_carrier(false);
    eventually(Duration::from_secs(5), "no carrier", || {
        let link = a.sh("ip link show eth0");
        if link.contains("NO-CARRIER") && link.contains(",UP") {
            Ok(())
        } else {
            Err(link)
        }
    });
    a.set_carrier(true);
    eventually(Duration::from_secs(5), "carrier again", || {
        let link = a.sh("ip link show eth0");
        if link.contains("state UP") {
            Ok(())
        } else {
            Err(link)
        }
    });
}
