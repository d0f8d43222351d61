//! The advertisement timer: what re-arms it and what does not.

use super::*;

#[test]
fn adverts_leave_on_a_fixed_cadence() {
    // shows RFC 9568 §6.4.3 [9568-6.4.3-3] [9568-6.4.3-7]
    let mut rig = Rig::active();
    let sent = rig.run(INTERVAL * 5);
    assert_eq!(
        sent,
        (1..=5).map(|n| (INTERVAL * n, advert(100))).collect::<Vec<_>>()
    );
}

#[test]
fn advert_that_leaves_late_does_not_shift_the_cadence() {
    let mut rig = Rig::active();
    rig.skip(INTERVAL + 30 * MS);
    assert_eq!(rig.give(Input::Deadline), [advert(100)]);
    assert_eq!(rig.remaining(), INTERVAL - 30 * MS);
}

#[test]
fn missed_adverts_are_not_made_up_for() {
    let mut rig = Rig::active();
    rig.sends_work = false;
    rig.run(INTERVAL * 4);
    rig.sends_work = true;
    rig.wake();
    assert_eq!(rig.remaining(), INTERVAL);
}

#[test]
fn advert_that_did_not_leave_is_retried_soon_and_counts_as_not_sent() {
    let mut rig = Rig::active();
    let sent = rig.router.last_sent();
    rig.sends_work = false;
    assert_eq!(rig.run(INTERVAL + 20 * MS).len(), 3);
    assert_eq!(rig.router.last_sent(), sent);
    rig.sends_work = true;
    assert_eq!(rig.wake(), [advert(100)]);
    assert_eq!(rig.remaining(), INTERVAL - 30 * MS, "back on the old cadence");
}

#[test]
fn retry_waits_a_millisecond_at_least() {
    let mut rig = Rig::with(|settings| settings.interval = 5 * MS)
        .started(100)
        .promoted();
    rig.sends_work = false;
    rig.wake();
    assert_eq!(rig.remaining(), MS);
}

#[test]
fn answer_that_never_comes_does_not_silence_us() {
    let mut rig = Rig::active();
    rig.skip(INTERVAL);
    rig.router.handle(rig.now, &Input::Deadline);
    assert_eq!(rig.router.poll(), Some(advert(100)));
    assert_eq!(rig.remaining(), INTERVAL / 10);
    assert_eq!(rig.wake(), [advert(100)]);
    // The late answer to the first does not arm the timer a second time.
    let due = rig.router.deadline();
    rig.give(Input::Sent { ok: true });
    assert_eq!(rig.router.deadline(), due);
}

#[test]
fn assertions_are_rate_limited_to_four_per_interval() {
    for priority in [0, 50] {
        let mut rig = Rig::active();
        let mut adverts = 0;
        for _ in 0..1000 {
            let passed = rig.run(MS).into_iter().map(|(_, effect)| effect);
            let answer = rig.hear(77, priority);
            adverts += passed
                .chain(answer)
                .filter(|effect| *effect == advert(100))
                .count();
        }
        assert_eq!(adverts, 40, "1000 packets of priority {priority} in 10 intervals");
    }
}

#[test]
fn assertion_right_after_an_advert_is_pulled_to_a_quarter_of_the_interval() {
    let mut rig = Rig::active();
    rig.skip(5 * MS);
    assert_eq!(rig.hear(4, 50), [HEARD_LOWER]);
    assert_eq!(rig.remaining(), 20 * MS);
}

#[test]
fn assertions_are_rate_limited_when_sends_fail() {
    let mut rig = Rig::active();
    rig.sends_work = false;
    let mut attempts = 0;
    for _ in 0..100 {
        rig.skip(MS / 10);
        attempts += rig
            .hear(77, 50)
            .iter()
            .filter(|effect| **effect == advert(100))
            .count();
    }
    assert_eq!(
        attempts, 0,
        "10 ms of packets while the next advert is 100 ms away"
    );
}

#[test]
fn raised_priority_is_advertised_at_once() {
    let mut rig = Rig::active();
    rig.skip(MS);
    assert_eq!(rig.give(fit(120)), [advert(120)]);
    assert_eq!(rig.give(fit(120)), []);
}

#[test]
fn changed_interval_is_advertised_at_once() {
    let mut rig = Rig::active();
    rig.skip(MS);
    let settings = Settings {
        interval: 10 * INTERVAL,
        ..rig.router.settings().clone()
    };
    assert_eq!(rig.give(Input::Settings(settings.clone())), [advert(100)]);
    assert_eq!(rig.remaining(), 10 * INTERVAL);
    assert_eq!(
        rig.give(Input::Settings(settings)),
        [],
        "and nothing when nothing changed"
    );
}

#[test]
fn reload_keeps_a_backups_state_and_learned_interval() {
    let mut rig = Rig::backup();
    rig.hear_every(9, 200, 200 * MS);
    rig.skip(100 * MS);
    let due = rig.router.deadline();
    let mut settings = rig.router.settings().clone();
    settings.failback = Failback::Manual;
    assert_eq!(rig.give(Input::Settings(settings.clone())), []);
    assert_eq!(rig.router.deadline(), due);
    settings.interval = 50 * MS;
    rig.give(Input::Settings(settings));
    assert_eq!(
        (rig.router.state(), rig.router.learned_interval()),
        (State::Backup, 200 * MS)
    );
}

fn any_input() -> impl Strategy<Value = Input> {
    let peer = (0u8..12).prop_map(host);
    prop_oneof![
        8 => (peer, prop_oneof![Just(0u8), Just(100), 1u8..=255], 1u64..500).prop_map(|(source, priority, ms)| {
            Input::Advert { source, priority: Priority(priority), interval: Duration::from_millis(ms) }
        }),
        6 => Just(Input::Deadline),
        1 => Just(Input::LinkReady { source: host(5) }),
        1 => Just(Input::LinkLost),
        4 => (1u8..=255, prop::bool::weighted(0.8)).prop_map(|(priority, fit)| {
            Input::Fitness(Fitness { priority: Priority(priority), fit })
        }),
        1 => Just(Input::Adopt),
        1 => Just(Input::GroupTakeOver),
        1 => Just(Input::GroupStepDown),
        1 => Just(Input::Surrender),
        1 => (1u64..500, 1u8..5).prop_map(|(ms, dead_after)| {
            let settings = Rig::new().router.settings().clone();
            Input::Settings(Settings { interval: Duration::from_millis(ms), dead_after, ..settings })
        }),
        1 => prop::bool::ANY.prop_map(|ok| Input::Sent { ok }),
    ]
}

proptest! {
    /// Whatever happens to an active router, its next advertisement is never put off: unless one was asked for at
    /// that moment, or the router gave the role up or listens, the deadline does not move later.
    #[test]
    fn nothing_but_an_advert_moves_the_advert_timer_later(
        inputs in prop::collection::vec((0u64..150, any_input()), 1..60)
    ) {
        let mut rig = Rig::active();
        for (ms, input) in inputs {
            rig.skip(Duration::from_millis(ms));
            let before = (rig.router.state(), rig.router.phase(), rig.router.deadline());
            let sent = matches!(input, Input::Sent { .. });
            let effects = rig.give(input.clone());
            if before.0 == State::Active
                && before.1 == Phase::Steady
                && rig.router.state() == State::Active
                && rig.router.phase() == Phase::Steady
                && !sent
                && !effects.iter().any(|effect| matches!(effect, Effect::SendAdvert { .. }))
            {
                prop_assert!(rig.router.deadline() <= before.2, "{input:?} put the advert off");
            }
        }
    }

    /// Claims and releases alternate, and agree with the state.
    #[test]
    fn addresses_are_ours_exactly_while_active(
        inputs in prop::collection::vec((0u64..150, any_input()), 1..80)
    ) {
        let mut rig = Rig::new();
        let mut ours = false;
        for (ms, input) in inputs {
            rig.skip(Duration::from_millis(ms));
            for effect in rig.give(input) {
                match effect {
                    Effect::Claim => { prop_assert!(!ours); ours = true; }
                    Effect::Release => { prop_assert!(ours); ours = false; }
                    Effect::SendAdvert { .. } | Effect::Announce { .. } | Effect::Transition { .. } => {}
                }
            }
            prop_assert_eq!(ours, rig.router.state() == State::Active);
        }
    }
}
