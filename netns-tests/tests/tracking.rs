//! Checks that move the role: the tutorial's configuration, unchanged, with a real haproxy.

use std::net::IpAddr;
use std::time::Duration;

use nix::sys::signal::Signal;
use warren_lab::{
    Daemon, Echo, Flavour, Haproxy, Host, Network, Probe, Sniffer, eventually, now, warren_binary,
};

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

/// Seed 002: the check of the tutorial starts haproxy again, and stops keepalived if that does not help. Everything
/// is called as the tutorial's machines call it, by the name of keepalived.
#[test]
fn the_tutorial_s_check_restarts_haproxy_or_stops_keepalived() {
    let network = Network::new();
    let client = network.host_with("client", &["10.211.55.10/24"]);
    let vip = ip("10.211.55.77");
    let node = |name: &str, address: &str, state: &str, priority: u8| {
        let host = network.host_with(name, &[&format!("{address}/24")]);
        let directory = host.directory().display();
        host.write(
            "haproxy.cfg",
            &format!(
                "defaults\n  mode tcp\n  timeout connect 1s\n  timeout client 10s\n  timeout server 10s\n\
                 listen service\n  bind *:5670\n  server one 127.0.0.1:{}\n",
                Echo::PORT
            ),
        );
        host.write(
            "haproxy_chk.sh",
            &format!(
                "#!/bin/sh\ndead() {{ [ `ps -C haproxy --no-header | wc -l` -eq 0 ]; }}\nif dead; then\n  \
                 haproxy -D -f {directory}/haproxy.cfg\n  sleep 0.5\n  if dead; then killall keepalived; fi\nfi\n"
            ),
        );
        host.write(
            "keepalived.conf",
            &format!(
                "global_defs {{\n  router_id {name}\n}}\nvrrp_script chk_haproxy {{\n  script \
                 \"{directory}/haproxy_chk.sh\"\n  interval 2\n  weight 2\n  user root\n}}\nvrrp_instance VI_1 {{\n  \
                 state {state}\n  interface eth0\n  virtual_router_id 51\n  priority {priority}\n  advert_int 1\n  \
                 authentication {{\n    auth_type PASS\n    auth_pass 1111\n  }}\n  track_script {{\n    \
                 chk_haproxy\n  }}\n  virtual_ipaddress {{\n    {vip}\n  }}\n}}\n"
            ),
        );
        std::os::unix::fs::symlink(warren_binary(), host.directory().join("keepalived")).unwrap();
        host.sh(&format!("chmod 777 {directory}/haproxy_chk.sh"));
        let echo = Echo::start(&host);
        start_both(&host);
        (host, echo)
    };
    let (first, _echo) = node("node1", "10.211.55.71", "MASTER", 100);
    let (second, _other_echo) = node("node2", "10.211.55.72", "BACKUP", 90);
    served_by(&client, vip, &first, &second);

    // It dies, and is started again.
    first.sh("killall -9 haproxy");
    eventually(PATIENCE, "haproxy is back", || runs(&first, "pidof haproxy"));
    served_by(&client, vip, &first, &second);

    // It dies and cannot be started: keepalived is stopped, and leaves nothing behind.
    let directory = first.directory().to_owned();
    std::fs::rename(directory.join("haproxy.cfg"), directory.join("gone")).unwrap();
    first.sh("killall -9 haproxy");
    served_by(&client, vip, &second, &first);

    std::fs::rename(directory.join("gone"), directory.join("haproxy.cfg")).unwrap();
    eventually(PATIENCE, "keepalived is gone", || {
        runs(&first, "! pidof keepalived")
    });
    start_both(&first);
    served_by(&client, vip, &first, &second);
}

/// As `systemctl start` of both does: each goes into the background when it is ready.
#[track_caller]
fn start_both(host: &Host) {
    let directory = host.directory().display();
    host.sh(&format!("haproxy -D -f {directory}/haproxy.cfg"));
    host.sh(&format!(
        "{directory}/keepalived -D -f {directory}/keepalived.conf > {directory}/log 2>&1"
    ));
}

fn runs(host: &Host, line: &str) -> Result<(), String> {
    let output = host.try_sh(line);
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{output:?}"))
    }
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
