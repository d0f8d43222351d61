use std::net::IpAddr;

use warren_api::vrrp::{
    AddressStatus, CheckRun, Contribution, Counters, DualActive, ForeignRouter, Lateness, Lease, Peer,
    Processes, Realtime, Verdict, cause,
};
use warren_api::{Micros, Timestamp};

use super::families::PEERS_MAX;
use super::*;

mod open_metrics;

const START_MS: u64 = 1_795_262_400_000;

fn after_start(millis: u64) -> Timestamp {
    Timestamp::from_unix_millis(START_MS + millis)
}

fn peer(address: &str, heard_ago_us: u64) -> Peer {
    Peer {
        address: Some(address.parse().unwrap()),
        priority: 100,
        heard_ago_us: Micros(heard_ago_us),
        interval_us: Micros(100_000),
        checksum: None,
    }
}

fn address(text: &str, in_kernel: bool) -> AddressStatus {
    AddressStatus {
        address: Some(text.parse::<IpAddr>().unwrap()),
        prefix: 24,
        device: "eth0".into(),
        advertised: true,
        in_kernel,
    }
}

/// A backup that hears the active router, with one check, 184.567 s after the start.
fn small() -> Status {
    Status {
        host: "alpha".into(),
        version: "0.1.0".into(),
        time: after_start(184_567),
        since: after_start(0),
        config_read: after_start(250),
        processes: Processes {
            guard: Some(10),
            worker: 11,
            restarts: 1,
        },
        realtime: Realtime {
            scheduling: true,
            ..Realtime::default()
        },
        lease: Lease {
            cost_millipercent: 150,
            ..Lease::default()
        },
        routers: vec![backup()],
        checks: vec![CheckStatus {
            name: "haproxy".into(),
            verdict: Verdict::Failed,
            runs: 92,
            failures: 3,
            last: Some(CheckRun {
                took_us: Micros(2_500),
                ..CheckRun::default()
            }),
            ..CheckStatus::default()
        }],
        ..Status::default()
    }
}

fn backup() -> RouterStatus {
    RouterStatus {
        name: "vip".into(),
        interface: "eth0".into(),
        vrid: 51,
        state: State::Backup,
        since: after_start(180_000),
        base_priority: 101,
        priority: 99,
        contributions: vec![Contribution {
            check: "haproxy".into(),
            weight: Some(-2),
            counted: -2,
            ..Contribution::default()
        }],
        interval_us: Micros(100_000),
        active_down_us: Micros(361_328),
        skew_us: Micros(61_328),
        lease_us: Some(Micros(1_000_000)),
        active_peer: Some(peer("10.0.0.2", 40_000)),
        peers: vec![peer("10.0.0.2", 40_000)],
        addresses: vec![address("10.0.0.100", false)],
        counters: Counters {
            adverts_sent: 1800,
            adverts_received: 45,
            resignations_sent: 1,
            rejected: [("checksum".to_owned(), 2)].into(),
            became_active: 1,
            announcements_sent: 10,
            ..Counters::default()
        },
        lateness: Lateness {
            worst_us: Micros(781),
            ..Lateness::default()
        },
        ..RouterStatus::default()
    }
}

fn transition(router: &str, from: State, to: State, cause: &str) -> Transition {
    Transition {
        router: router.into(),
        from,
        to,
        cause: cause.into(),
    }
}

/// The small status, and something for every metric that it has nothing for.
fn full() -> Status {
    let mut status = small();
    status.routers[0].learned_interval_us = Some(Micros(1_000_000));
    status.checks[0].value = Some(-3);
    status.foreign = vec![foreign(7, 50)];
    status
}

fn foreign(vrid: u8, heard_ago_us: u64) -> ForeignRouter {
    ForeignRouter {
        interface: "eth0".into(),
        vrid,
        family: "ipv4".into(),
        heard_ago_us: Micros(heard_ago_us),
        ..ForeignRouter::default()
    }
}

fn transitions() -> BTreeMap<Transition, u64> {
    [
        (
            transition("vip", State::Initialize, State::Backup, cause::STARTED),
            1,
        ),
        (
            transition("vip", State::Backup, State::Active, cause::ACTIVE_SILENT),
            1,
        ),
        (
            transition("vip", State::Active, State::Backup, cause::OUTRANKED),
            1,
        ),
    ]
    .into()
}

fn lateness() -> LoopLateness<'static> {
    LoopLateness {
        buckets: &[
            (0.0001, 1700),
            (0.0003, 90),
            (0.001, 9),
            (0.003, 0),
            (0.01, 0),
            (0.03, 0),
            (0.1, 0),
        ],
        sum: 0.0625,
        count: 1800,
    }
}

/// Without the global count of log lines, which other tests raise.
fn written(status: &Status) -> String {
    encode(&Scrape {
        status,
        lateness: lateness(),
        transitions: &transitions(),
        log_lines_dropped: 4,
    })
}

fn read(text: &str) -> BTreeMap<String, open_metrics::Family> {
    open_metrics::read(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Values of a metric by those of one of its labels.
fn values(text: &str, family: &str, label: &str) -> Vec<(String, f64)> {
    let families = read(text);
    let samples = families.get(family).map(|family| family.samples.as_slice());
    let samples = samples.unwrap_or_default().iter();
    samples
        .map(|(_, labels, value)| (labels[label].clone(), *value))
        .collect()
}

#[test]
fn a_small_status_is_written_to_the_letter() {
    let text = written(&small());
    assert!(text == include_str!("tests/small.txt"), "{text}");
    read(&text);
}

#[test]
fn a_full_status_has_every_metric() {
    let families = read(&written(&full()));
    let missing: Vec<&str> = FAMILIES
        .iter()
        .filter(|family| {
            let unit = if family.seconds { "_seconds" } else { "" };
            !families.contains_key(&format!("{PREFIX}_{}{unit}", family.name))
        })
        .map(|family| family.name)
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!(families.len(), FAMILIES.len());
}

#[test]
fn an_empty_status_is_well_formed() {
    let families = read(&text(
        &Status::default(),
        LoopLateness::default(),
        &BTreeMap::new(),
    ));
    assert!(families.contains_key("warren_vrrp_start_time_seconds"));
    assert!(!families.contains_key("warren_vrrp_state"));
}

#[test]
fn names_with_quotes_and_line_ends_stay_in_their_label() {
    let mut status = full();
    let name = "a\"b\\c\n# EOF\n".to_owned();
    status.routers[0].name.clone_from(&name);
    status.checks[0].name.clone_from(&name);
    let text = written(&status);
    assert_eq!(
        values(&text, "warren_vrrp_base_priority", "router"),
        [(name.clone(), 101.0)]
    );
    assert_eq!(values(&text, "warren_vrrp_check_runs", "check"), [(name, 92.0)]);
}

#[test]
fn a_status_that_repeats_itself_is_written_once() {
    let mut status = full();
    status.routers.push(status.routers[0].clone());
    status.checks.push(status.checks[0].clone());
    status.routers[0].addresses.push(address("10.0.0.100", true));
    status.routers[0].peers.push(peer("10.0.0.2", 1));
    read(&written(&status));
}

#[test]
fn a_crowd_of_peers_gets_no_more_series_than_allowed() {
    let mut status = full();
    status.routers[0].peers = (0..100).map(|host| peer(&format!("10.0.1.{host}"), 1)).collect();
    let text = written(&status);
    for family in ["warren_vrrp_peer_priority", "warren_vrrp_peer_advert_age_seconds"] {
        assert_eq!(values(&text, family, "peer").len(), PEERS_MAX);
    }
    let help = FAMILIES
        .iter()
        .find(|family| family.name == "peer_advert_age")
        .unwrap()
        .help;
    assert!(help.contains(&PEERS_MAX.to_string()), "{help}");
}

#[test]
fn senders_of_one_foreign_vrid_share_a_series_with_the_age_of_the_youngest() {
    let mut status = full();
    status.foreign = vec![foreign(7, 3_000_000), foreign(7, 500_000), foreign(9, 2_000_000)];
    let text = written(&status);
    assert_eq!(
        values(&text, "warren_vrrp_foreign_router_advert_age_seconds", "vrid"),
        [("7".to_owned(), 0.5), ("9".to_owned(), 2.0)]
    );
}

#[test]
fn exactly_one_state_and_one_verdict_are_set() {
    let one = |text: &str, family, label| {
        let mut set = values(text, family, label);
        set.retain(|(_, value)| *value == 1.0);
        set.into_iter().map(|(word, _)| word).collect::<Vec<_>>()
    };
    for (state, word) in [
        (State::Initialize, "initialize"),
        (State::Backup, "backup"),
        (State::Active, "active"),
    ] {
        let mut status = small();
        status.routers[0].state = state;
        let text = written(&status);
        assert_eq!(one(&text, "warren_vrrp_state", "state"), [word]);
    }
    for (verdict, word) in [
        (Verdict::Pending, "pending"),
        (Verdict::Well, "well"),
        (Verdict::Failed, "failed"),
    ] {
        let mut status = small();
        status.checks[0].verdict = verdict;
        let text = written(&status);
        assert_eq!(one(&text, "warren_vrrp_check_verdict", "verdict"), [word]);
    }
}

#[test]
fn dual_active_and_kernel_addresses_are_flags() {
    let mut status = small();
    status.routers[0].dual_active = Some(DualActive::default());
    status.routers[0].addresses = vec![address("10.0.0.7", true), address("10.0.0.8", false)];
    let text = written(&status);
    assert_eq!(
        values(&text, "warren_vrrp_dual_active", "router"),
        [("vip".to_owned(), 1.0)]
    );
    assert_eq!(
        values(&text, "warren_vrrp_address_in_kernel", "address"),
        [("10.0.0.7/24".to_owned(), 1.0), ("10.0.0.8/24".to_owned(), 0.0)]
    );
}

#[test]
fn buckets_and_count_agree_whatever_the_thread_hands_over() {
    let bounds = [(0.1, 3), (f64::INFINITY, 2)];
    for (buckets, count, expected) in [
        // The last bucket given, left out, and a count that is behind.
        (&bounds[..], 5, 5.0),
        (&bounds[..1], 5, 5.0),
        (&bounds[..1], 2, 3.0),
        (&[][..], 5, 5.0),
    ] {
        let lateness = LoopLateness {
            buckets,
            sum: 1.0,
            count,
        };
        let families = read(&text(&small(), lateness, &BTreeMap::new()));
        let samples = &families["warren_vrrp_loop_lateness_seconds"].samples;
        let last = samples.last().unwrap();
        assert_eq!((last.1["le"].as_str(), last.2), ("+Inf", expected));
    }
}
