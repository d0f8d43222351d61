//! The wire form as other programs meet it, and the sentences as an operator does.

use super::*;
use crate::{Micros, Timestamp};

fn clock(time: Timestamp) -> String {
    time.to_string()[11..19].to_owned()
}

fn at(time: &str) -> Timestamp {
    format!("2026-11-21T{time}Z").parse().unwrap()
}

fn peer(priority: u8) -> Peer {
    Peer {
        address: Some([10, 0, 0, 2].into()),
        priority,
        ..Peer::default()
    }
}

fn failing_check() -> CheckStatus {
    CheckStatus {
        name: "chk_haproxy".into(),
        what: "process haproxy".into(),
        verdict: Verdict::Failed,
        since: at("12:03:04"),
        last: Some(CheckRun {
            result: "exit 1".into(),
            output: "haproxy: no process found\n".into(),
            ..CheckRun::default()
        }),
        ..CheckStatus::default()
    }
}

fn router(state: State) -> RouterStatus {
    RouterStatus {
        name: "VI_1".into(),
        interface: "eth0".into(),
        state,
        since: at("12:03:05"),
        base_priority: 101,
        priority: 101,
        active_down_us: Micros(3_609_375),
        ..RouterStatus::default()
    }
}

fn demoted(mut router: RouterStatus) -> RouterStatus {
    router.priority = 99;
    router.contributions.push(Contribution {
        check: "chk_haproxy".into(),
        weight: Some(-2),
        counted: -2,
        ..Contribution::default()
    });
    router
}

#[test]
fn a_backup_names_the_peer_the_sum_and_the_failing_check() {
    let mut router = demoted(router(State::Backup));
    router.active_peer = Some(peer(101));
    router.cause = Cause {
        code: cause::OUTRANKED.into(),
        peer: Some([10, 0, 0, 2].into()),
        theirs: Some(101),
        ours: Some(99),
        ..Cause::default()
    };
    assert_eq!(
        explain(&router, &[failing_check()], &clock),
        [
            "VI_1 is BACKUP because 10.0.0.2 announces 101 > 99 = 101 - 2 (chk_haproxy failing since 12:03:04: exit 1)",
            "it became BACKUP at 12:03:05 because 10.0.0.2 announced 101 > 99",
            "chk_haproxy (process haproxy) printed: haproxy: no process found",
            "it takes over once 10.0.0.2 has been silent for 3.6 s",
        ]
    );
}

#[test]
fn an_active_router_says_how_it_became_so() {
    let mut router = router(State::Active);
    router.cause = Cause {
        code: cause::ACTIVE_SILENT.into(),
        peer: Some([10, 0, 0, 2].into()),
        silence_us: Some(Micros(3_609_500)),
        ..Cause::default()
    };
    assert_eq!(
        explain(&router, &[], &clock),
        [
            "VI_1 is ACTIVE because 10.0.0.2 was silent for 3.6 s",
            "it has been so since 12:03:05",
        ]
    );
}

#[test]
fn a_released_router_names_the_check_that_released_it() {
    let mut router = router(State::Initialize);
    router.phase = Some(Phase::Unfit);
    router.contributions.push(Contribution {
        check: "chk_haproxy".into(),
        releases: true,
        ..Contribution::default()
    });
    assert_eq!(
        explain(&router, &[failing_check()], &clock)[0],
        "VI_1 is INITIALIZE because a failing check releases the role: chk_haproxy failing since 12:03:04: exit 1"
    );
}

#[test]
fn a_check_without_a_result_is_awaited_not_blamed() {
    let mut router = router(State::Initialize);
    router.phase = Some(Phase::Unfit);
    router.contributions.push(Contribution {
        check: "chk_haproxy".into(),
        releases: true,
        ..Contribution::default()
    });
    let pending = CheckStatus {
        verdict: Verdict::Pending,
        ..failing_check()
    };
    assert_eq!(
        explain(&router, &[pending], &clock),
        [
            "VI_1 is INITIALIZE because the first result of chk_haproxy is awaited",
            "it has been so since 12:03:05",
        ]
    );
}

#[test]
fn every_phase_has_a_sentence_of_its_own() {
    let mut said = std::collections::BTreeSet::new();
    for (state, phase) in [
        (State::Initialize, Phase::WaitingForLink),
        (State::Initialize, Phase::StartupDelay),
        (State::Initialize, Phase::Unfit),
        (State::Initialize, Phase::GroupUnfit),
        (State::Initialize, Phase::Drained),
        (State::Initialize, Phase::Surrendered),
        (State::Active, Phase::Listening),
        (State::Active, Phase::HandingOver),
        (State::Backup, Phase::FailbackDelay),
    ] {
        let mut router = router(state);
        router.phase = Some(phase);
        router.active_peer = (state == State::Backup).then(|| peer(99));
        let first = explain(&router, &[], &clock).remove(0);
        assert!(!first.contains("did not give"), "{phase:?}: {first}");
        assert!(said.insert(first.clone()), "{phase:?} repeats: {first}");
    }
}

#[test]
fn a_backup_that_outranks_the_active_says_what_holds_it_back() {
    let mut router = router(State::Backup);
    router.active_peer = Some(peer(99));
    let manual = explain(&router, &[], &clock).remove(0);
    assert!(manual.contains("`failback` does not let this host"), "{manual}");
    router.phase = Some(Phase::FailbackDelay);
    let delayed = explain(&router, &[], &clock).remove(0);
    assert!(delayed.contains("failback delay is running"), "{delayed}");
}

#[test]
fn alarms_come_last_and_name_the_other_host() {
    let mut router = router(State::Active);
    router.dual_active = Some(DualActive {
        address: Some([10, 0, 0, 100].into()),
        mac: "02:00:00:00:00:07".into(),
        since: at("12:04:00"),
    });
    router.addresses.push(AddressStatus {
        address: Some([10, 0, 0, 100].into()),
        device: "eth0".into(),
        ..AddressStatus::default()
    });
    let said = explain(&router, &[], &clock);
    assert_eq!(
        said[said.len() - 2..],
        [
            "ALARM: 10.0.0.100 is also answered for by 02:00:00:00:00:07 since 12:04:00; find that host and take \
             the address from it",
            "ALARM: the kernel does not have 10.0.0.100 on eth0",
        ]
    );
}

#[test]
fn the_sum_shows_clamps_and_leaves_out_what_does_not_count() {
    let mut router = demoted(router(State::Active));
    assert_eq!(arithmetic(&router), "99 = 101 - 2 (chk_haproxy)");
    router.contributions[0].counted = -200;
    router.priority = 1;
    assert_eq!(
        arithmetic(&router),
        "1 = 101 - 200 (chk_haproxy) kept within 1 to 254"
    );
    router.contributions[0].counted = 0;
    router.priority = 101;
    assert_eq!(arithmetic(&router), "101");
}

#[test]
fn requests_are_one_tagged_line() {
    for (line, request) in [
        (r#"{"request":"status"}"#, Request::Status {}),
        (
            r#"{"request":"events","follow":true,"after":7,"router":null}"#,
            Request::Events {
                follow: true,
                after: Some(7),
                router: None,
            },
        ),
        (
            r#"{"request":"drain","router":"VI_1"}"#,
            Request::Drain {
                router: "VI_1".into(),
            },
        ),
        (r#"{"request":"reload"}"#, Request::Reload {}),
    ] {
        assert_eq!(serde_json::from_str::<Request>(line).unwrap(), request);
        assert_eq!(serde_json::to_string(&request).unwrap(), line);
    }
    let short: Request = serde_json::from_str(r#"{"request":"events"}"#).unwrap();
    assert!(matches!(
        short,
        Request::Events {
            follow: false,
            after: None,
            router: None
        }
    ));
    for wrong in [
        r#"{"request":"stop"}"#,
        r#"{"request":"drain"}"#,
        r#"{"request":"status","x":1}"#,
    ] {
        assert!(serde_json::from_str::<Request>(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_reply_of_another_version_is_still_read() {
    let line = r#"{"reply":"status","host":"a","novelty":1,"routers":[{"name":"x","state":"levitating","phase":"upside-down"}]}"#;
    let Reply::Status(status) = serde_json::from_str(line).unwrap() else {
        panic!("not a status");
    };
    assert_eq!(status.routers[0].state, State::Unknown);
    assert_eq!(status.routers[0].phase, Some(Phase::Unknown));
    assert_eq!(status.routers[0].priority, 0);
}

#[test]
fn a_status_survives_the_wire() {
    let mut router = demoted(router(State::Backup));
    router.active_peer = Some(peer(101));
    router.counters.rejected.insert("bad-checksum".into(), 3);
    let reply = Reply::Status(Box::new(Status {
        host: "alpha".into(),
        time: at("12:05:00"),
        routers: vec![router],
        checks: vec![failing_check()],
        ..Status::default()
    }));
    let line = serde_json::to_string(&reply).unwrap();
    assert!(!line.contains('\n'));
    assert_eq!(serde_json::from_str::<Reply>(&line).unwrap(), reply);
}
