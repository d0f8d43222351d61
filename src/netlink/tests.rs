//! What the kernel really does with our requests; each test runs in a network namespace of its own, as root.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::*;
use crate::namespace::{in_namespace, ip};

fn address(ifindex: u32, address: &str, prefix: u8) -> Address {
    Address {
        ifindex,
        address: address.parse().unwrap(),
        prefix,
        label: None,
        scope: 0,
        broadcast: None,
        prefix_route: false,
    }
}

fn held(netlink: &mut Netlink) -> Vec<IpAddr> {
    let mut held: Vec<_> = leftovers(netlink).unwrap().iter().map(|a| a.address).collect();
    held.sort();
    held
}

fn numbered(family: char, count: u32) -> Vec<Address> {
    (0..count)
        .map(|i| match family {
            '4' => address(
                1,
                &format!("10.{}.{}.{}", 1 + i / 65536, i / 256 % 256, i % 256),
                32,
            ),
            _ => address(1, &format!("fd77::{:x}:{:x}", i / 65536, i % 65536), 128),
        })
        .collect()
}

#[test]
fn a_batch_reports_each_refusal_by_its_position() {
    in_namespace(|| {
        ip("link set lo up");
        let mut netlink = Netlink::open().unwrap();
        let mut batch = Batch::new();
        address(1, "10.9.0.1", 32).add(None, &mut batch);
        address(1, "10.9.0.1", 32).add(None, &mut batch);
        address(99, "10.9.0.2", 32).add(None, &mut batch);
        address(1, "fd99::1", 128).add(None, &mut batch);
        address(1, "10.9.0.3", 32).delete(&mut batch);
        let failures = netlink.run(&mut batch).unwrap();
        let expected = [(1, Errno::EEXIST), (2, Errno::ENODEV), (4, Errno::EADDRNOTAVAIL)];
        assert_eq!(failures, expected.map(|(index, errno)| Failure { index, errno }));
        assert_eq!(
            held(&mut netlink),
            ["10.9.0.1", "fd99::1"].map(|a| a.parse::<IpAddr>().unwrap())
        );
        // The same batch again, without acknowledgements.
        let failures = netlink.post(&mut batch).unwrap();
        assert_eq!(
            failures.iter().map(|f| f.index).collect::<Vec<_>>(),
            [0, 1, 2, 3, 4]
        );
    });
}

#[test]
fn leftovers_are_only_what_carries_our_tag_and_are_read_back_as_given() {
    in_namespace(|| {
        ip("link set lo up");
        ip("address add 10.9.9.9/32 dev lo");
        let mut netlink = Netlink::open().unwrap();
        let mut batch = Batch::new();
        let mut ours = address(1, "10.9.0.1", 24);
        ours.label = Some("lo:vip".to_owned());
        ours.broadcast = Some("10.9.0.255".parse().unwrap());
        ours.scope = 253;
        ours.add(Some(Duration::from_secs(5)), &mut batch);
        assert_eq!(netlink.run(&mut batch).unwrap(), []);
        assert_eq!(leftovers(&mut netlink).unwrap(), [ours]);
    });
}

#[test]
fn an_address_expires_with_its_lease_and_a_renewal_extends_it_quietly() {
    // The kernel rounds a second by up to 20 ms either way, and removes addresses when it comes to do so.
    const LEAST: Duration = Duration::from_millis(975);
    const MOST: Duration = Duration::from_millis(2500);
    /// What a look takes at the most, unless the machine does nothing for a while: that is not the lease's.
    const LOOK: Duration = Duration::from_millis(100);
    in_namespace(|| {
        ip("link set lo up");
        let mut netlink = Netlink::open().unwrap();
        let lease = Some(Duration::from_secs(1));
        let renewed = [address(1, "10.9.0.1", 32), address(1, "fd99::1", 128)];
        let forgotten = [address(1, "10.9.0.2", 32), address(1, "fd99::2", 128)];
        let start = Instant::now();
        let mut batch = Batch::new();
        for address in renewed.iter().chain(&forgotten) {
            address.add(lease, &mut batch);
        }
        assert_eq!(netlink.run(&mut batch).unwrap(), []);
        let mut renewal = Batch::new();
        for address in &renewed {
            address.renew(lease, &mut renewal);
        }
        let (mut gone, mut late): (Vec<Address>, _) = (Vec::new(), Duration::ZERO);
        while gone.len() < forgotten.len() {
            let before = Instant::now();
            assert_eq!(netlink.post(&mut renewal).unwrap(), []);
            std::thread::sleep(Duration::from_millis(2));
            let held = held(&mut netlink);
            for address in &forgotten {
                if !held.contains(&address.address) && !gone.contains(address) {
                    println!("{} expired after {:?}", address.address, start.elapsed());
                    gone.push(address.clone());
                }
            }
            for address in &renewed {
                assert!(
                    held.contains(&address.address) || before.elapsed() >= LEAST,
                    "{} gone after {:?}",
                    address.address,
                    start.elapsed()
                );
            }
            late += before.elapsed().saturating_sub(LOOK);
            assert!(start.elapsed() < MOST + late, "still held: {held:?}");
        }
        assert!(start.elapsed() >= LEAST);
        let (last, mut late) = (Instant::now(), Duration::ZERO);
        loop {
            let before = Instant::now();
            let held = held(&mut netlink);
            if held.is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
            late += before.elapsed().saturating_sub(LOOK);
            assert!(last.elapsed() < MOST + late, "still held: {held:?}");
        }
        println!("the renewed ones expired after {:?}", last.elapsed());
    });
}

/// The reason why the plumbing looks at the clock before it renews.
#[test]
fn a_renewal_of_a_missing_address_creates_it_whatever_the_flags() {
    in_namespace(|| {
        use rtnetlink::packet_core::NLM_F_REPLACE;
        use rtnetlink::packet_route::RouteNetlinkMessage::NewAddress;
        ip("link set lo up");
        let mut netlink = Netlink::open().unwrap();
        let mut batch = Batch::new();
        for address in [address(1, "10.9.0.1", 32), address(1, "fd99::1", 128)] {
            batch.push(NewAddress(address.message(None)), NLM_F_REPLACE);
        }
        assert_eq!(netlink.run(&mut batch).unwrap(), []);
        assert_eq!(held(&mut netlink).len(), 2);
    });
}

#[test]
fn routes_and_rules_come_and_go_and_leave_another_s_equal_route_alone() {
    in_namespace(|| {
        ip("link add v0 type veth peer name v1");
        ip("address add 10.0.0.1/24 dev v0");
        ip("link set v0 up");
        ip("link set v1 up");
        ip("route add 10.6.0.0/16 via 10.0.0.9");
        let state = || {
            (
                ip("route show table all"),
                ip("-6 route show table all proto 87"),
                ip("rule"),
            )
        };
        let before = state();
        let ifindex = nix::net::if_::if_nametoindex("v0").unwrap();
        let plain = Route {
            ipv6: false,
            to: None,
            via: None,
            ifindex: Some(ifindex),
            source: None,
            table: None,
            metric: None,
            scope: None,
        };
        let network = |text: &str, prefix| Some((text.parse().unwrap(), prefix));
        let routes = [
            Route {
                via: Some("10.0.0.254".parse().unwrap()),
                ifindex: None,
                metric: Some(50),
                ..plain
            },
            Route {
                to: network("10.5.0.0", 16),
                source: Some("10.0.0.1".parse().unwrap()),
                ..plain
            },
            Route {
                to: network("10.4.0.0", 16),
                table: Some(1000),
                scope: Some(253),
                ..plain
            },
            Route {
                ipv6: true,
                to: network("fd55::", 64),
                table: Some(77),
                ..plain
            },
        ];
        let same = Route {
            to: network("10.6.0.0", 16),
            via: Some("10.0.0.9".parse().unwrap()),
            ..plain
        };
        let rule = Rule {
            ipv6: false,
            from: network("10.9.0.1", 32),
            to: None,
            table: Some(1000),
            preference: Some(99),
            mark: Some(7),
            device: Some("v0".to_owned()),
        };
        let mut netlink = Netlink::open().unwrap();
        let mut add = Batch::new();
        routes.iter().for_each(|route| route.add(&mut add));
        rule.add(&mut add);
        assert_eq!(netlink.run(&mut add).unwrap(), []);
        let table = ip("route show table all");
        assert!(
            table.contains("default via 10.0.0.254 dev v0 proto 87 metric 50"),
            "{table}"
        );
        assert!(
            table.contains("10.5.0.0/16 dev v0 proto 87 scope link src 10.0.0.1"),
            "{table}"
        );
        assert!(
            table.contains("10.4.0.0/16 dev v0 table 1000 proto 87 scope link"),
            "{table}"
        );
        assert!(ip("-6 route show table 77").contains("fd55::/64 dev v0 proto 87 metric 1024"));
        assert!(
            ip("rule").contains("99:\tfrom 10.9.0.1 fwmark 0x7 iif v0 lookup 1000 proto 87"),
            "{}",
            ip("rule")
        );

        let mut delete = Batch::new();
        routes
            .iter()
            .chain([&same])
            .for_each(|route| route.delete(&mut delete));
        rule.delete(&mut delete);
        assert_eq!(
            netlink.run(&mut delete).unwrap(),
            [Failure {
                index: 4,
                errno: Errno::ESRCH
            }]
        );
        assert_eq!(state(), before);

        assert_eq!(netlink.run(&mut add).unwrap(), []);
        let kept: Vec<_> = routes.iter().collect();
        assert_eq!(
            delete_leftover_routes_and_rules(&mut netlink, &kept, &[&rule]).unwrap(),
            0
        );
        assert_eq!(
            delete_leftover_routes_and_rules(&mut netlink, &kept[1..], &[]).unwrap(),
            2
        );
        assert_eq!(
            delete_leftover_routes_and_rules(&mut netlink, &[], &[]).unwrap(),
            3
        );
        assert_eq!(state(), before);
    });
}

/// Prints what the figures in the documentation are made of: `cargo test -p warren --release measured -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a rule"]
fn measured_cost_of_adding_renewing_and_deleting() {
    for (family, count) in [('4', 100), ('4', 1000), ('4', 5100), ('6', 1000), ('6', 5100)] {
        in_namespace(move || {
            ip("link set lo up");
            let mut netlink = Netlink::open().unwrap();
            let addresses = numbered(family, count);
            let mut step = |name: &str, build: &dyn Fn(&Address, &mut Batch), acknowledged: bool| {
                let mut batch = Batch::new();
                addresses.iter().for_each(|address| build(address, &mut batch));
                let (wall, cpu, workers) = (Instant::now(), thread_cpu(), workers_cpu());
                let failures = if acknowledged {
                    netlink.run(&mut batch)
                } else {
                    netlink.post(&mut batch)
                };
                let (wall, cpu) = (wall.elapsed(), thread_cpu() - cpu);
                assert_eq!(failures.unwrap(), []);
                std::thread::sleep(Duration::from_millis(300));
                let each = |total: Duration| total.as_secs_f64() * 1e6 / addresses.len() as f64;
                let workers = workers_cpu() - workers;
                println!(
                    "IPv{family} {name} {count}: {:.2} us wall, {:.2} us cpu each, kworkers {workers:?}",
                    each(wall),
                    each(cpu)
                );
            };
            let lease = std::env::var_os("NOLEASE")
                .is_none()
                .then_some(Duration::from_secs(3));
            step("add", &|address, batch| address.add(lease, batch), true);
            step("renew", &|address, batch| address.renew(lease, batch), false);
            step("renew", &|address, batch| address.renew(lease, batch), false);
            step("delete", &|address, batch| address.delete(batch), true);
        });
    }
}

fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// CPU time of all kernel worker threads, in the kernel's 10 ms ticks.
fn workers_cpu() -> Duration {
    let mut ticks = 0;
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        if stat.contains("(kworker") {
            let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
            ticks += fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        }
    }
    Duration::from_millis(ticks * 10)
}
