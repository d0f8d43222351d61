//! The monitor against the real kernel; each test in a network namespace of its own, as root.

use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

use warren_vrrp::Family;

use super::*;
use crate::namespace::{in_namespace, ip};
use crate::netlink::{Address, Batch};

const LIMIT: Duration = Duration::from_secs(3);

fn on_runtime<F: Future<Output = ()>>(body: impl FnOnce() -> F + Send + 'static) {
    in_namespace(|| {
        ip("link set lo up");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(body());
    });
}

/// Reads changes until one satisfies `wanted`; returns all.
async fn until(monitor: &mut Monitor, wanted: impl Fn(&Change) -> bool) -> Vec<Change> {
    let mut seen = Vec::new();
    while !seen.iter().any(&wanted) {
        match tokio::time::timeout(LIMIT, monitor.changes()).await {
            Ok(changes) => seen.extend(changes),
            Err(_) => panic!("not within {LIMIT:?}; seen {seen:?}"),
        }
    }
    seen
}

fn interface(name: &str, up: bool) -> Change {
    Change::Interface {
        name: name.to_owned(),
        up,
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn an_interface_is_operational_when_its_state_is_up_and_not_before() {
    on_runtime(|| async {
        let mut monitor = Monitor::start(&[]).unwrap();
        assert!(
            monitor.interfaces().by_name("lo").unwrap().operational(),
            "an unknown state counts by flags"
        );
        ip("link add v0 type veth peer name v1");
        until(&mut monitor, |change| *change == interface("v0", false)).await;
        // Switched on, but without a carrier as long as the other end is off.
        ip("link set v0 up");
        ip("address add 10.0.0.1/24 dev v0");
        let seen = until(&mut monitor, |change| matches!(change, Change::Addresses { .. })).await;
        assert!(!seen.contains(&interface("v0", true)), "{seen:?}");
        assert_eq!(
            monitor.interfaces().by_name("v0").unwrap().operstate_word(),
            "lower layer down"
        );
        ip("link set v1 up");
        until(&mut monitor, |change| *change == interface("v0", true)).await;
        let v0 = monitor.interfaces().by_name("v0").unwrap().clone();
        assert!(v0.operational() && v0.operstate_word() == "up");
        ip("link set v1 down");
        until(&mut monitor, |change| *change == interface("v0", false)).await;
        ip("link set v0 down name renamed");
        let seen = until(&mut monitor, |change| *change == interface("renamed", false)).await;
        assert!(seen.contains(&interface("v0", false)), "{seen:?}");
        assert_eq!(
            monitor.interfaces().by_index(v0.index).unwrap().operstate_word(),
            "switched off"
        );
        ip("link del renamed");
        until(&mut monitor, |change| *change == interface("renamed", false)).await;
        assert!(monitor.interfaces().by_index(v0.index).is_none());
    });
}

#[test]
fn the_source_is_the_host_s_own_address_and_usable() {
    on_runtime(|| async {
        ip("link add v0 type veth peer name v1");
        ip("link set v1 up");
        let mut monitor = Monitor::start(&[]).unwrap();
        let source = |monitor: &Monitor, family| {
            let v0 = monitor.interfaces().by_name("v0").unwrap();
            v0.source(family, &|address| {
                address == "10.0.0.77".parse::<IpAddr>().unwrap()
            })
        };
        let v0 = monitor.interfaces().by_name("v0").unwrap().index;
        assert_eq!(source(&monitor, Family::V4), None);
        // A virtual address left by an earlier run, one known by the configuration, then our own.
        let mut batch = Batch::new();
        Address {
            ifindex: v0,
            ..Address::bare(0, address("10.0.0.9"), 32)
        }
        .add(None, &mut batch);
        assert_eq!(Netlink::open().unwrap().run(&mut batch).unwrap(), []);
        ip("address add 10.0.0.77/32 dev v0");
        ip("address add 10.0.0.1/24 dev v0");
        ip("address add 10.0.0.2/24 dev v0");
        let all = |monitor: &Monitor| {
            monitor
                .interfaces()
                .by_index(v0)
                .unwrap()
                .has("10.0.0.2".parse().unwrap())
        };
        while !all(&monitor) {
            until(&mut monitor, |change| *change == Change::Addresses { index: v0 }).await;
        }
        assert_eq!(source(&monitor, Family::V4), Some(address("10.0.0.1")));
        assert_eq!(source(&monitor, Family::V6), None);
        ip("link set v0 up");
        // The link-local address comes with the link, but only duplicate address detection makes it usable.
        while source(&monitor, Family::V6).is_none() {
            until(&mut monitor, |_| true).await;
        }
        assert!(
            ip("-6 address show dev v0 scope link").contains("fe80"),
            "not before the address is there"
        );
        assert!(!ip("-6 address show dev v0 scope link").contains("tentative"));
        ip("address flush dev v0 scope link");
        while source(&monitor, Family::V6).is_some() {
            until(&mut monitor, |_| true).await;
        }
    });
}

#[test]
fn our_own_renewals_wake_nobody_but_a_foreign_deletion_does() {
    on_runtime(|| async {
        let mut plumbing = Netlink::open().unwrap();
        let mut another = Netlink::open().unwrap();
        let mut monitor = Monitor::start(&[1, plumbing.port(), 2]).unwrap();
        let ours: Vec<_> = (0..1000)
            .map(|i| Address::bare(1, [10, 9, (i / 250) as u8, (i % 250) as u8].into(), 32))
            .collect();
        for _ in 0..2 {
            let mut batch = Batch::new();
            ours.iter()
                .for_each(|address| address.renew(Some(Duration::from_secs(9)), &mut batch));
            assert_eq!(plumbing.post(&mut batch).unwrap(), []);
        }
        let nothing = tokio::time::timeout(Duration::from_millis(100), monitor.socket.readable()).await;
        assert!(nothing.is_err(), "woken by our own doing");
        let mut batch = Batch::new();
        ours[500].delete(&mut batch);
        assert_eq!(another.run(&mut batch).unwrap(), []);
        let deleted = Change::Deleted {
            index: 1,
            address: ours[500].address,
        };
        let seen = until(&mut monitor, |change| *change == deleted).await;
        assert_eq!(seen, [deleted], "and of nothing else");
        // Without the filter each of them is heard.
        let mut unfiltered = Monitor::start(&[]).unwrap();
        let mut batch = Batch::new();
        ours.iter().for_each(|address| address.delete(&mut batch));
        plumbing.run(&mut batch).unwrap();
        let last = Change::Deleted {
            index: 1,
            address: ours[999].address,
        };
        let seen = until(&mut unfiltered, |change| *change == last).await;
        assert_eq!(
            seen.iter()
                .filter(|change| matches!(change, Change::Deleted { .. }))
                .count(),
            999
        );
    });
}

#[test]
fn a_lease_that_runs_out_is_told_as_a_deletion() {
    on_runtime(|| async {
        let mut plumbing = Netlink::open().unwrap();
        let mut monitor = Monitor::start(&[plumbing.port()]).unwrap();
        let mut batch = Batch::new();
        for text in ["10.9.0.1", "fd99::1"] {
            let prefix = if text.contains(':') { 128 } else { 32 };
            Address::bare(1, address(text), prefix).add(Some(Duration::from_secs(1)), &mut batch);
        }
        assert_eq!(plumbing.run(&mut batch).unwrap(), []);
        let mut missing = vec![address("10.9.0.1"), address("fd99::1")];
        while !missing.is_empty() {
            for change in until(&mut monitor, |_| true).await {
                missing.retain(|address| {
                    change
                        != Change::Deleted {
                            index: 1,
                            address: *address,
                        }
                });
            }
        }
    });
}

#[test]
fn a_full_queue_is_made_good_by_a_dump_that_tells_what_was_missed() {
    on_runtime(|| async {
        let mut another = Netlink::open().unwrap();
        let mut batch = Batch::new();
        Address::bare(1, address("10.9.0.1"), 32).add(None, &mut batch);
        another.run(&mut batch).unwrap();
        let mut monitor = Monitor::start(&[]).unwrap();
        SockRef::from(&monitor.socket).set_recv_buffer_size(1).unwrap();
        // Enough noise to fill the queue before the changes that count.
        for _ in 0..50 {
            ip("address add 10.8.0.1/32 dev lo");
            ip("address del 10.8.0.1/32 dev lo");
        }
        ip("address del 10.9.0.1/32 dev lo");
        ip("link add v0 type veth peer name v1");
        let seen = until(&mut monitor, |change| *change == interface("v1", false)).await;
        assert!(
            seen.contains(&Change::Deleted {
                index: 1,
                address: address("10.9.0.1")
            }),
            "{seen:?}"
        );
        assert!(!monitor.interfaces().by_index(1).unwrap().has(address("10.9.0.1")));
    });
}
