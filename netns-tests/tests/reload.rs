//! What a changed configuration, or a changed host, may not cost.

use std::net::IpAddr;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use warren_lab::{Probe, eventually, holds_for, now};

use crate::pair::{PATIENCE, Pair, Router};

const PAIR: (warren_lab::Flavour, warren_lab::Flavour) = (crate::WARREN, crate::WARREN);

#[test]
fn a_renamed_router_keeps_its_role() {
    let pair = Pair::plain(PAIR);
    let probe = Probe::start(&pair.client, pair.vip(), Duration::from_millis(1));
    let start = now();
    let renamed = Router {
        name: "FRONT",
        ..pair.a.router.clone()
    };
    pair.a.daemon().reload(&renamed.file());
    eventually(PATIENCE, "the new name is in force", || {
        let why = pair.a.daemon().ctl(&pair.a.host, "why FRONT");
        if why.status.success() { Ok(()) } else { Err(why) }
    });
    pair.stays_with("a", Duration::from_secs(2));
    let report = probe.stop();
    assert_eq!((report.holders(), report.lost(start)), (vec!["a".to_owned()], 0));
}

#[test]
fn a_router_with_another_vrid_keeps_the_addresses_that_the_old_one_leaves() {
    let mut pair = Pair::plain(PAIR);
    pair.b.stop();
    let changed = Router {
        vrid: 52,
        ..pair.a.router.clone()
    };
    let start = now();
    pair.a.daemon().reload(&changed.file());
    eventually(PATIENCE, "it advertises the new VRID", || {
        if pair.sniffer.adverts("a", 52, start).is_empty() {
            Err("nothing heard")
        } else {
            Ok(())
        }
    });
    // The old one leaves a second after the reload, when nobody has taken over from it.
    holds_for(Duration::from_secs(3), "a holds the address", || {
        if pair.a.host.has(pair.vip()) {
            Ok(())
        } else {
            Err(pair.a.host.addresses())
        }
    });
    pair.eventually_served_by("a");
}

#[test]
fn a_virtual_mac_interface_that_somebody_deletes_is_made_again() {
    let virtual_mac = |priority| Router::new(priority).line("use_vmac vrrp.51");
    let mut pair = Pair::start(PAIR, virtual_mac(200), virtual_mac(150));
    pair.b.stop();
    pair.a.host.sh("ip link del vrrp.51");
    pair.eventually_served_by("a");
}

#[test]
fn a_virtual_mac_interface_goes_with_its_router() {
    let virtual_mac = |priority| Router::new(priority).line("use_vmac vrrp.51");
    let pair = Pair::start(PAIR, virtual_mac(200), virtual_mac(150));
    let successor = Router {
        vrid: 52,
        ..Router::new(200)
            .addresses(&["10.77.9.7/32"])
            .line("use_vmac vrrp.52")
    };
    pair.a.daemon().reload(&successor.file());
    eventually(PATIENCE, "only the successor's interface is left", || {
        let links = pair.a.host.sh("ip -br link");
        if links.contains("vrrp.52") && !links.contains("vrrp.51") {
            Ok(())
        } else {
            Err(links)
        }
    });
    pair.eventually_served_by("b");
}

#[test]
fn a_worker_that_is_replaced_does_not_wait_for_the_delay_of_a_start() {
    let delayed = |priority| Router::new(priority).block("global_defs {\n    vrrp_startup_delay 4\n}");
    let pair = Pair::start(PAIR, delayed(200), delayed(150));
    let probe = Probe::start(&pair.client, pair.vip(), Duration::from_millis(1));
    let start = now();
    kill(Pid::from_raw(pair.a.daemon().worker()), Signal::SIGKILL).unwrap();
    pair.stays_with("a", Duration::from_secs(2));
    let report = probe.stop();
    assert_eq!((report.holders(), report.lost(start)), (vec!["a".to_owned()], 0));
}

#[test]
fn a_stop_leaves_no_address_behind_however_many_there_were() {
    const NAMES: [&str; 8] = ["R0", "R1", "R2", "R3", "R4", "R5", "R6", "R7"];
    let mut pair = Pair::boot(PAIR, Router::new(200), Router::new(150));
    pair.a.file = (0..8u8)
        .map(|number| {
            let addresses: Vec<String> = (0..250).map(|n| format!("10.78.{number}.{n}/32")).collect();
            let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
            let router = Router {
                name: NAMES[usize::from(number)],
                vrid: 60 + number,
                ..Router::new(200)
            };
            router.addresses(&addresses).instance()
        })
        .collect();
    pair.a.start();
    let ours = |address: &IpAddr| address.to_string().starts_with("10.78.");
    let held = |pair: &Pair| pair.a.host.addresses().into_iter().filter(ours).count();
    eventually(PATIENCE, "all addresses are held", || match held(&pair) {
        2000.. => Ok(()),
        count => Err(count),
    });
    pair.a.stop();
    assert_eq!(held(&pair), 0);
}
