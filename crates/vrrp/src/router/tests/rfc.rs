//! Section 6.4 event by event.

use super::*;

#[test]
fn owner_is_active_at_once() {
    // shows RFC 9568 §6.4.1 [9568-6.4.1-1] [9568-6.4.1-3]
    let mut rig = Rig::new();
    rig.give(Input::LinkReady { source: host(5) });
    assert_eq!(
        rig.give(fit(255)),
        becomes_active(State::Initialize, 255, Cause::Owner)
    );
    assert_eq!(rig.remaining(), INTERVAL);
}

#[test]
fn other_router_starts_as_backup_with_a_full_down_timer() {
    // shows RFC 9568 §6.4.1 [9568-6.4.1-2], §6.1 [9568-6.1-1] [9568-6.1-2]
    let mut rig = Rig::new();
    rig.give(Input::LinkReady { source: host(5) });
    assert_eq!(
        rig.give(fit(100)),
        [transition(State::Initialize, State::Backup, Cause::Started)]
    );
    assert_eq!(rig.router.skew(), INTERVAL * 156 / 256);
    assert_eq!(rig.remaining(), INTERVAL * 3 + INTERVAL * 156 / 256);
}

#[test]
fn nothing_happens_before_the_link_and_the_checks_are_ready() {
    let mut rig = Rig::new();
    assert_eq!(rig.router.waiting_for(), Some(WaitingFor::Link));
    rig.give(fit(255));
    assert_eq!(rig.router.state(), State::Initialize);
    let mut rig = Rig::new();
    rig.give(Input::LinkReady { source: host(5) });
    assert_eq!(rig.router.waiting_for(), Some(WaitingFor::Checks));
    rig.give(unfit(255));
    assert_eq!(
        (rig.router.state(), rig.router.waiting_for()),
        (State::Initialize, Some(WaitingFor::Fitness))
    );
    assert_eq!(rig.router.deadline(), None);
}

#[test]
fn down_timer_makes_a_backup_active() {
    // shows RFC 9568 §6.4.2 [9568-6.4.2-2] [9568-6.4.2-7]
    let mut rig = Rig::backup();
    let silence = rig.router.active_down();
    assert_eq!(rig.run(silence - US), []);
    let effects = rig.wake();
    assert_eq!(
        effects,
        becomes_active(State::Backup, 100, Cause::ActiveSilent { peer: None, silence })
    );
    assert_eq!(rig.remaining(), INTERVAL);
}

#[test]
fn silence_is_counted_from_the_last_advert_of_the_active() {
    let mut rig = Rig::backup();
    rig.skip(50 * MS);
    rig.hear(9, 200);
    let silence = rig.router.active_down();
    let effects = rig.wake();
    let cause = Cause::ActiveSilent {
        peer: Some(host(9)),
        silence,
    };
    assert_eq!(
        effects.last(),
        Some(&transition(State::Backup, State::Active, cause))
    );
}

#[test]
fn skew_of_version_2_is_taken_from_a_second() {
    let mut rig = Rig::with(|settings| {
        settings.version = Version::V2;
        settings.interval = Duration::from_secs(5);
    })
    .started(100);
    assert_eq!(rig.router.skew(), Duration::from_secs(1) * 156 / 256);
    rig.hear_every(9, 200, Duration::from_secs(7));
    assert_eq!(
        rig.router.learned_interval(),
        Duration::from_secs(5),
        "version 2 does not learn"
    );
}

#[test]
fn skew_stays_above_zero_at_the_shortest_interval() {
    let rig = Rig::with(|settings| settings.interval = 10 * MS).started(254);
    assert_eq!(rig.router.skew(), 10 * MS * 2 / 256);
}

#[test]
fn dead_after_replaces_the_three() {
    let rig = Rig::with(|settings| settings.dead_after = 5).started(100);
    assert_eq!(rig.remaining(), INTERVAL * 5 + rig.router.skew());
}

#[test]
fn better_or_equal_advert_restarts_the_down_timer_and_teaches_the_interval() {
    // shows RFC 9568 §6.4.2 [9568-6.4.2-3] [9568-6.4.2-5]
    for priority in [100, 101, 255] {
        let mut rig = Rig::backup();
        rig.skip(200 * MS);
        assert_eq!(rig.hear_every(4, priority, 400 * MS), []);
        assert_eq!(rig.router.learned_interval(), 400 * MS);
        assert_eq!(
            rig.remaining(),
            400 * MS * 3 + 400 * MS * 156 / 256,
            "priority {priority}"
        );
        assert_eq!(rig.router.active().map(|peer| peer.address), Some(host(4)));
    }
}

#[test]
fn lower_advert_is_discarded_when_preempting() {
    // shows RFC 9568 §6.4.2 [9568-6.4.2-4]
    let mut rig = Rig::backup();
    let due = rig.router.deadline();
    for _ in 0..3 {
        rig.skip(100 * MS);
        assert_eq!(rig.hear_every(4, 99, 400 * MS), []);
        assert_eq!(
            (rig.router.deadline(), rig.router.learned_interval()),
            (due, INTERVAL)
        );
    }
    let cause = Cause::Preempted {
        peer: host(4),
        theirs: Priority(99),
        ours: Priority(100),
    };
    assert_eq!(rig.wake(), becomes_active(State::Backup, 100, cause));
}

#[test]
fn lower_advert_restarts_the_down_timer_when_not_preempting() {
    // shows RFC 9568 §6.4.2 [9568-6.4.2-5]
    let mut rig = Rig::with(|settings| settings.failback = Failback::Manual).started(100);
    for _ in 0..50 {
        rig.run(INTERVAL);
        rig.hear(4, 1);
        assert_eq!(
            (rig.router.state(), rig.remaining()),
            (State::Backup, rig.router.active_down())
        );
    }
}

#[test]
fn owner_preempts_whatever_the_failback_mode() {
    // shows RFC 9568 §6.1 [9568-6.1-3]
    for failback in [Failback::Manual, Failback::After(Duration::from_secs(60))] {
        let mut rig = Rig::with(|settings| settings.failback = failback).started(255);
        rig.hear(9, 255);
        assert_eq!(rig.router.state(), State::Backup, "two owners elect by address");
        for _ in 0..4 {
            rig.run(INTERVAL);
            rig.hear(4, 254);
        }
        assert_eq!(rig.router.state(), State::Active, "{failback:?}");
    }
}

#[test]
fn failback_after_a_delay_counts_from_the_first_lower_advert_and_starts_over_on_a_better_one() {
    let mut rig =
        Rig::with(|settings| settings.failback = Failback::After(Duration::from_secs(1))).started(100);
    let hear_for = |rig: &mut Rig, priority, intervals: u32| {
        for _ in 0..intervals {
            rig.run(INTERVAL);
            rig.hear(4, priority);
        }
    };
    hear_for(&mut rig, 99, 9);
    hear_for(&mut rig, 100, 1);
    hear_for(&mut rig, 99, 10);
    assert_eq!(rig.remaining(), rig.router.active_down(), "not preempting yet");
    hear_for(&mut rig, 99, 4);
    assert_eq!(
        rig.router.state(),
        State::Active,
        "the delay is over, and then one active-down interval"
    );
}

#[test]
fn resignation_of_the_active_leaves_only_the_skew() {
    // shows RFC 9568 §6.4.2 [9568-6.4.2-6]
    let mut rig = Rig::backup();
    rig.hear(9, 200);
    rig.skip(10 * MS);
    assert_eq!(rig.hear(9, 0), []);
    assert_eq!(rig.remaining(), rig.router.skew());
    assert_eq!(
        rig.wake(),
        becomes_active(State::Backup, 100, Cause::PeerResigned { peer: host(9) })
    );
}

#[test]
fn resignation_of_a_stranger_is_ignored_while_an_active_is_known() {
    let mut rig = Rig::backup();
    rig.hear(9, 200);
    let due = rig.router.deadline();
    rig.hear(77, 0);
    assert_eq!(rig.router.deadline(), due);
}

#[test]
fn advert_worse_than_the_actives_may_lengthen_the_wait_but_teaches_nothing() {
    let mut rig = Rig::backup();
    rig.hear(9, 200);
    rig.skip(10 * MS);
    let due = rig.router.deadline();
    rig.hear_every(77, 150, MS);
    assert_eq!(
        (rig.router.deadline(), rig.router.learned_interval()),
        (due, INTERVAL)
    );
    assert_eq!(rig.router.active().map(|peer| peer.address), Some(host(9)));
    rig.hear_every(77, 150, 10 * INTERVAL);
    assert_eq!(
        rig.remaining(),
        10 * rig.router.active_down(),
        "in case it is the one that stays"
    );
    rig.hear(9, 200);
    rig.skip(2 * INTERVAL);
    rig.hear(77, 150);
    assert_eq!(
        rig.remaining(),
        rig.router.active_down(),
        "the successor of one that fell silent is believed"
    );
}

#[test]
fn successor_of_a_router_that_resigned_is_believed_at_once() {
    let mut rig = Rig::backup();
    rig.hear(9, 200);
    rig.hear(9, 0);
    rig.skip(MS);
    rig.hear(7, 150);
    assert_eq!(rig.remaining(), rig.router.active_down());
}

#[test]
fn repeated_resignation_does_not_postpone_the_take_over() {
    let mut rig = Rig::backup();
    rig.hear(9, 200);
    rig.hear(9, 0);
    let due = rig.router.deadline();
    rig.skip(30 * MS);
    rig.hear(9, 0);
    assert_eq!(rig.router.deadline(), due);
}

#[test]
fn own_advert_coming_back_is_ignored_in_every_state() {
    for mut rig in [Rig::backup(), Rig::active()] {
        rig.skip(30 * MS);
        let due = rig.router.deadline();
        for priority in [0, 1, 100, 255] {
            assert_eq!(rig.hear(5, priority), []);
        }
        assert_eq!((rig.router.deadline(), rig.router.peers()), (due, &[][..]));
    }
}

#[test]
fn better_advert_makes_an_active_a_backup() {
    // shows RFC 9568 §6.4.3 [9568-6.4.3-2] [9568-6.4.3-5]
    for (from, priority) in [(4, 101), (6, 100)] {
        let mut rig = Rig::active();
        let effects = rig.hear_every(from, priority, 200 * MS);
        let cause = outranked(from, priority, 100);
        assert_eq!(
            effects,
            [Effect::Release, transition(State::Active, State::Backup, cause)]
        );
        assert_eq!(rig.remaining(), 200 * MS * 3 + 200 * MS * 156 / 256);
        assert_eq!(rig.router.active().map(|peer| peer.address), Some(host(from)));
    }
}

#[test]
fn lower_advert_is_answered_at_once_and_announced() {
    // shows RFC 9568 §6.4.3 [9568-6.4.3-6]
    for (from, priority) in [(9, 99), (4, 100)] {
        let mut rig = Rig::active();
        rig.skip(30 * MS);
        assert_eq!(rig.hear(from, priority), [HEARD_LOWER, advert(100)]);
        assert_eq!(rig.remaining(), INTERVAL);
    }
}

#[test]
fn equal_priority_is_decided_by_the_address_as_an_unsigned_number() {
    for (ours, theirs, better) in [
        ("10.0.1.5", "10.0.0.200", false),
        ("10.0.0.127", "10.0.0.128", true),
        ("fe80::1:0", "fe80::ffff", false),
        ("fe80::7fff:0:0:1", "fe80::8000:0:0:1", true),
    ] {
        let mut rig = Rig::new();
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        rig.give(Input::LinkReady {
            source: address(ours),
        });
        rig.give(fit(255));
        rig.give(Input::Advert {
            source: address(theirs),
            priority: Priority(255),
            interval: INTERVAL,
        });
        assert_eq!(
            rig.router.state() == State::Backup,
            better,
            "{theirs} against {ours}"
        );
    }
}

#[test]
fn last_heard_is_the_last_advert_that_counted() {
    let mut rig = Rig::active();
    rig.hear(9, 50);
    assert_eq!(rig.router.last_heard(), None, "discarded");
    rig.hear(9, 200);
    assert_eq!(rig.router.last_heard(), Some(rig.now));
    let counted = rig.now;
    rig.skip(MS);
    rig.hear(7, 50);
    assert_eq!(rig.router.last_heard(), Some(counted), "discarded");
}

#[test]
fn resignation_heard_by_an_active_is_answered() {
    // shows RFC 9568 §6.4.3 [9568-6.4.3-4]
    let mut rig = Rig::active();
    rig.skip(30 * MS);
    assert_eq!(rig.hear(9, 0), [HEARD_LOWER, advert(100)]);
}

#[test]
fn shutdown_of_a_backup_is_silent() {
    // shows RFC 9568 §6.4.2 [9568-6.4.2-1]
    let mut rig = Rig::backup();
    let effects = rig.give(Input::Shutdown { grace: INTERVAL });
    assert_eq!(
        effects,
        [transition(State::Backup, State::Initialize, Cause::Shutdown)]
    );
    assert!(rig.router.stopped());
    assert_eq!(rig.router.deadline(), None);
}

#[test]
fn shutdown_of_an_active_without_grace_resigns_first() {
    // shows RFC 9568 §6.4.3 [9568-6.4.3-1]
    let mut rig = Rig::active();
    let effects = rig.give(Input::Shutdown {
        grace: Duration::ZERO,
    });
    let left = transition(State::Active, State::Initialize, Cause::Shutdown);
    assert_eq!(effects, [advert(0), Effect::Release, left]);
    assert!(rig.router.stopped());
}

#[test]
fn lost_link_releases_without_an_advert_that_could_not_leave() {
    let mut rig = Rig::active();
    let effects = rig.give(Input::LinkLost);
    assert_eq!(
        effects,
        [
            Effect::Release,
            transition(State::Active, State::Initialize, Cause::LinkLost)
        ]
    );
    rig.give(Input::LinkReady { source: host(5) });
    assert_eq!(
        rig.router.state(),
        State::Backup,
        "and comes back with a full wait"
    );
    assert_eq!(rig.remaining(), rig.router.active_down());
}

#[test]
fn stopped_router_stays_stopped() {
    let mut rig = Rig::active();
    rig.give(Input::Shutdown {
        grace: Duration::ZERO,
    });
    for input in [
        Input::LinkLost,
        Input::LinkReady { source: host(5) },
        unfit(1),
        fit(255),
        Input::Adopt,
    ] {
        assert_eq!(rig.give(input), []);
    }
    assert_eq!(rig.router.waiting_for(), Some(WaitingFor::Nothing));
}

#[test]
fn adopted_role_goes_on_at_once() {
    let mut rig = Rig::new();
    rig.give(Input::Adopt);
    rig.give(fit(100));
    assert_eq!(rig.router.state(), State::Initialize, "needs a link");
    assert_eq!(
        rig.give(Input::LinkReady { source: host(5) }),
        becomes_active(State::Initialize, 100, Cause::Adopted)
    );
    assert_eq!(
        rig.hear(9, 101),
        [
            Effect::Release,
            transition(State::Active, State::Backup, outranked(9, 101, 100))
        ]
    );
}

#[test]
fn role_that_could_not_be_held_without_a_pause_is_not_adopted() {
    let mut late = Rig::new();
    late.give(Input::Adopt);
    late.skip(10 * INTERVAL);
    let mut lost = Rig::new();
    lost.give(Input::Adopt);
    lost.give(Input::LinkLost);
    for rig in [late, lost] {
        assert_eq!(rig.started(100).router.state(), State::Backup);
    }
}

#[test]
fn priority_change_shifts_the_running_down_timer_by_the_skew_difference() {
    let mut rig = Rig::backup();
    rig.skip(50 * MS);
    let before = rig.router.deadline().expect("a deadline");
    rig.give(fit(228));
    assert_eq!(
        before.since(rig.router.deadline().expect("a deadline")),
        INTERVAL * 128 / 256
    );
    rig.give(fit(100));
    assert_eq!(rig.router.deadline(), Some(before));
}

#[test]
fn peers_are_bounded_and_the_longest_silent_makes_room() {
    let mut rig = Rig::backup();
    for last in 10..200 {
        rig.skip(US);
        rig.hear(last, 200);
    }
    assert_eq!(rig.router.peers().len(), PEERS_MAX);
    assert!(rig.router.peers().iter().all(|peer| peer.address >= host(192)));
}

#[test]
fn outbox_that_nobody_polls_is_bounded_and_ends_with_the_last_word() {
    let mut rig = Rig::active();
    for _ in 0..100 {
        rig.router.handle(rig.now, &Input::LinkLost);
        rig.router.handle(rig.now, &Input::LinkReady { source: host(5) });
        rig.skip(rig.router.active_down());
        rig.router.handle(rig.now, &Input::Deadline);
    }
    rig.router.handle(rig.now, &Input::LinkLost);
    let effects: Vec<_> = std::iter::from_fn(|| rig.router.poll()).collect();
    assert!(effects.len() <= OUTBOX_MAX, "{effects:?}");
    assert!(
        !effects.contains(&Effect::Claim),
        "the release is the last word: {effects:?}"
    );
    assert!(effects.contains(&Effect::Release));
}

#[test]
fn orphaned_role_is_taken_up_after_one_silent_interval() {
    let mut rig = Rig::new();
    rig.give(Input::Orphaned);
    rig.give(Input::LinkReady { source: host(5) });
    assert_eq!(
        rig.give(fit(100)),
        [transition(State::Initialize, State::Backup, Cause::Started)]
    );
    rig.skip(INTERVAL);
    assert_eq!(rig.router.state(), State::Backup);
    rig.give(Input::Deadline);
    assert_eq!(rig.router.state(), State::Active);
}

#[test]
fn orphaned_role_is_left_to_whoever_took_it_up() {
    let mut rig = Rig::new();
    rig.give(Input::Orphaned);
    rig.give(Input::LinkReady { source: host(5) });
    rig.give(fit(100));
    rig.skip(INTERVAL / 2);
    assert_eq!(rig.hear(9, 101), []);
    rig.skip(INTERVAL);
    rig.give(Input::Deadline);
    assert_eq!(
        rig.router.state(),
        State::Backup,
        "from here on the full down timer counts"
    );
}
