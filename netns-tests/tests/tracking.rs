//! Checks that move the role: the tutorial's configuration, unchanged, with a real haproxy.

use std::net::IpAddr;
use std::time::Duration;

use nix::sys::signal::Signal;
use warren_lab::{Daemon, Echo, Flavour, Haproxy, Host, Network, Probe, Sniffer, eventually, now};

use crate::failover::every_pair;
use crate::pair::{PATIENCE, Pair, Router, ip};

every_pair!(
    the_tutorial_moves_the_address_with_haproxy,
    a_failing_check_releases_the_role,
    a_weight_lowers_the_priority
);

const MASTER: &str = include_str!("../fixtures/seed-001-master.conf");
const BACKUP: &str = include_str!("../fixtures/seed-001-backup.conf");

struct Tutorial {
    daemon: Option<Daemon>,
    haproxy: Option<Haproxy>,
    _echo: Echo,
    host: Host,
}

impl Tutorial {
    fn boot(network: &Network, name: &str, address: &str) -> Self {
        let host = network.host_with(name, &[&format!("{address}/24")]);
        Self {
            daemon: None,
            haproxy: None,
            _echo: Echo::start(&host),
            host,
        }
    }

    /// As the tutorial's haproxy: on every address, in front of a service on another port.
    fn start_haproxy(&mut self) {
        self.haproxy = Some(Haproxy::start(
            &self.host,
            5670,
            &format!("127.0.0.1:{}", Echo::PORT),
        ));
    }
}

/// Seed 001 word for word: two machines, `killall -0 haproxy` every 5 s, weight -2, priorities 101 and 100.
fn the_tutorial_moves_the_address_with_haproxy(flavours: (Flavour, Flavour)) {
    let network = Network::new();
    let mut master = Tutorial::boot(&network, "master", "192.168.125.222");
    let mut backup = Tutorial::boot(&network, "backup", "192.168.125.168");
    let client = network.host_with("client", &["192.168.125.26/24"]);
    let sniffer = Sniffer::start(&network);
    let vip = ip("192.168.125.245");
    master.start_haproxy();
    backup.start_haproxy();
    master.daemon = Some(Daemon::start(flavours.0, &master.host, MASTER));
    backup.daemon = Some(Daemon::start(flavours.1, &backup.host, BACKUP));
    served_by(&client, vip, &master.host, &backup.host);

    let stopped = now();
    master.haproxy.as_mut().unwrap().process.kill();
    served_by(&client, vip, &backup.host, &master.host);
    let adverts = sniffer.adverts("master", 51, stopped);
    let told = adverts
        .iter()
        .any(|(_, advert)| advert.priority == 99 || advert.priority == 0);
    assert!(
        told,
        "the master advertises 101 - 2, or that it leaves: {adverts:?}"
    );

    master.start_haproxy();
    served_by(&client, vip, &master.host, &backup.host);
}

/// `holder` has the address, `other` has not, and a client that speaks through haproxy reaches `holder`.
#[track_caller]
fn served_by(client: &Host, vip: IpAddr, holder: &Host, other: &Host) {
    eventually(PATIENCE, &format!("{} serves {vip}", holder.name()), || {
        let held = (holder.has(vip), other.has(vip));
        if held != (true, false) {
            return Err(format!("(holder, other) have it: {held:?}"));
        }
        match Probe::connect_to(client, vip, 5670) {
            Ok(answer) if answer == holder.name() => Ok(()),
            answer => Err(format!("{answer:?}")),
        }
    });
}

/// A check without weight: no check, no role.
fn a_failing_check_releases_the_role(flavours: (Flavour, Flavour)) {
    let pair = checked_pair(flavours, "");
    pair.eventually_served_by("a");
    remove_health(&pair);
    pair.eventually_served_by("b");
    pair.stays_with("b", Duration::from_secs(1));
    pair.a.host.write("healthy", "yes");
    pair.eventually_served_by("a");
}

/// A check with a weight: the router stays, with less priority.
fn a_weight_lowers_the_priority(flavours: (Flavour, Flavour)) {
    let pair = checked_pair(flavours, "weight -100");
    pair.eventually_served_by("a");
    remove_health(&pair);
    pair.eventually_served_by("b");
    // With the peer gone, 100 is better than nobody.
    pair.b.daemon().process.signal_all(Signal::SIGSTOP);
    let alone = now();
    eventually(PATIENCE, "a is active with the lower priority", || {
        let adverts = pair.adverts("a", alone);
        if adverts.iter().any(|(_, advert)| advert.priority == 100) {
            Ok(())
        } else {
            Err(adverts.len())
        }
    });
    pair.b.daemon().process.signal_all(Signal::SIGCONT);
    pair.a.host.write("healthy", "yes");
    pair.eventually_served_by("a");
}

fn remove_health(pair: &Pair) {
    std::fs::remove_file(pair.a.host.directory().join("healthy")).unwrap();
}

/// Both with a script that looks for a file of their own, every second.
fn checked_pair(flavours: (Flavour, Flavour), weight: &str) -> Pair {
    let mut pair = Pair::boot(flavours, Router::new(200), Router::new(150));
    for node in [&mut pair.a, &mut pair.b] {
        let healthy = node.host.write("healthy", "yes");
        let script = format!(
            "vrrp_script healthy {{\n    script \"/usr/bin/test -e {}\"\n    interval 1\n    timeout 1\n    rise 1\n    \
             fall 1\n    user root\n    {weight}\n}}",
            healthy.display()
        );
        node.router = node
            .router
            .clone()
            .block(&script)
            .line("track_script {\n        healthy\n    }");
        node.file = node.router.file();
        node.start();
    }
    pair
}
