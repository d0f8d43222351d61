//! Static addresses, routes and rules: there while the daemon runs, whatever the roles, as with keepalived.

use std::time::Duration;

use warren_lab::eventually;

use crate::pair::{PATIENCE, Pair, Router};

const PAIR: (warren_lab::Flavour, warren_lab::Flavour) = (crate::WARREN, crate::WARREN);
const PROMPT: Duration = Duration::from_secs(2);

fn with_statics(addresses: &[&str]) -> Router {
    let lines: String = addresses
        .iter()
        .map(|address| format!("    {address}/24 dev d0\n"))
        .collect();
    Router::new(200)
        .block(&format!("static_ipaddress {{\n{lines}}}"))
        .block("static_routes {\n    10.67.0.0/24 via 10.66.0.9 dev d0\n}")
        .block("static_rules {\n    from 10.66.0.0/24 table 77\n}")
}

/// Which of the static things the kernel of `a` has.
fn there(pair: &Pair) -> String {
    let mut found = String::new();
    for third in 0..3 {
        let address = format!("10.66.{third}.1");
        if pair.a.host.has(address.parse().unwrap()) {
            found += &format!("{address} ");
        }
    }
    for (what, command, sign) in [
        ("route", "ip route show", "10.67.0.0/24"),
        ("rule", "ip rule show", "lookup 77"),
    ] {
        if pair.a.host.sh(command).contains(sign) {
            found += &format!("{what} ");
        }
    }
    found.trim_end().to_owned()
}

#[track_caller]
fn eventually_there(pair: &Pair, what: &str) {
    eventually(PROMPT, &format!("`{what}` and nothing else"), || {
        let found = there(pair);
        if found == what { Ok(()) } else { Err(found) }
    });
}

#[test]
fn statics_wait_for_their_interface_follow_the_configuration_and_outlive_no_orderly_stop() {
    let mut pair = Pair::boot(PAIR, with_statics(&["10.66.0.1", "10.66.1.1"]), Router::new(150));
    pair.a.start();
    eventually(PATIENCE, "the missing interface is told", || {
        let log = pair.a.daemon().process.log();
        if log.contains("d0 wait: the interface does not exist") {
            Ok(())
        } else {
            Err(log)
        }
    });
    pair.eventually_served_by("a");
    pair.a
        .host
        .sh("ip link add d0 type veth peer name d1 && ip link set d1 up && ip link set d0 up");
    eventually_there(&pair, "10.66.0.1 10.66.1.1 route rule");

    // By difference: the address that stays is not touched, so neither is the route through it.
    pair.a
        .daemon()
        .reload(&with_statics(&["10.66.0.1", "10.66.2.1"]).file());
    eventually_there(&pair, "10.66.0.1 10.66.2.1 route rule");

    pair.a.host.sh("ip address del 10.66.2.1/24 dev d0");
    eventually_there(&pair, "10.66.0.1 10.66.2.1 route rule");
    pair.a.host.sh("ip link set d0 down");
    eventually_there(&pair, "10.66.0.1 10.66.2.1 rule");
    pair.a.host.sh("ip link set d0 up");
    eventually_there(&pair, "10.66.0.1 10.66.2.1 route rule");

    pair.a.stop();
    assert_eq!(there(&pair), "");
}

#[test]
fn statics_survive_a_crash_and_what_is_not_configured_any_more_is_removed_afterwards() {
    let mut pair = Pair::boot(PAIR, with_statics(&["10.66.0.1", "10.66.1.1"]), Router::new(150));
    pair.a
        .host
        .sh("ip link add d0 type veth peer name d1 && ip link set d1 up && ip link set d0 up");
    pair.a.start();
    eventually_there(&pair, "10.66.0.1 10.66.1.1 route rule");
    pair.a.daemon.take().unwrap().process.kill();
    assert_eq!(there(&pair), "10.66.0.1 10.66.1.1 route rule");
    pair.a.file = with_statics(&["10.66.0.1"]).file();
    pair.a.start();
    eventually_there(&pair, "10.66.0.1 route rule");
    pair.a.daemon.take().unwrap().process.kill();
    let binary = warren_lab::warren_binary();
    pair.a.host.sh(&format!(
        "{} vrrp --clean-up --config {} --runtime-dir {}",
        binary.display(),
        pair.a.host.directory().join("keepalived.conf").display(),
        pair.a.host.directory().join("run").display()
    ));
    assert_eq!(there(&pair), "");
}

#[test]
fn a_router_speaks_from_a_static_address() {
    let speaker = Router::new(200).block("static_ipaddress {\n    10.77.0.1/16 dev eth0\n}");
    let mut pair = Pair::boot(PAIR, speaker, Router::new(150));
    pair.a.host.sh("ip address flush dev eth0 scope global");
    pair.a.start();
    pair.eventually_served_by("a");
}
