//! Waking too late.

use super::*;

#[test]
fn backup_that_was_away_waits_once_more() {
    let mut rig = Rig::backup();
    rig.skip(Duration::from_secs(10));
    assert_eq!(rig.give(Input::Deadline), []);
    assert_eq!(
        (rig.remaining(), rig.router.stalls()),
        (rig.router.active_down(), 1)
    );
    rig.hear(9, 200);
    rig.skip(Duration::from_secs(10));
    assert_eq!(
        rig.give(Input::Deadline),
        [],
        "a living active was heard since: away again"
    );
}

#[test]
fn backup_that_always_wakes_late_takes_over_all_the_same() {
    let mut rig = Rig::backup();
    rig.skip(Duration::from_secs(10));
    rig.give(Input::Deadline);
    rig.skip(Duration::from_secs(10));
    rig.give(Input::Deadline);
    assert_eq!(rig.router.state(), State::Active);
}

#[test]
fn a_little_late_is_not_away() {
    let mut rig = Rig::backup();
    rig.skip(rig.remaining() + INTERVAL);
    rig.give(Input::Deadline);
    assert_eq!(rig.router.state(), State::Active);
}

#[test]
fn early_deadline_is_harmless() {
    for mut rig in [Rig::backup(), Rig::active()] {
        let due = rig.router.deadline();
        rig.skip(INTERVAL - US);
        assert_eq!(rig.give(Input::Deadline), []);
        assert_eq!(rig.router.deadline(), due);
    }
}

fn stalled() -> Rig {
    let mut rig = Rig::active();
    rig.skip(INTERVAL * 2 + US);
    assert_eq!(rig.give(Input::Deadline), []);
    assert_eq!(
        (rig.router.state(), rig.router.phase()),
        (State::Active, Phase::Listening)
    );
    rig
}

#[test]
fn active_that_was_away_listens_for_one_interval_and_goes_on() {
    let mut rig = stalled();
    assert_eq!(rig.run(INTERVAL - US), []);
    assert_eq!(rig.wake(), [advert(100)]);
    assert_eq!((rig.router.phase(), rig.remaining()), (Phase::Steady, INTERVAL));
}

#[test]
fn active_that_was_away_yields_to_a_better_one_without_a_word() {
    let mut rig = stalled();
    rig.skip(10 * MS);
    let left = transition(State::Active, State::Backup, outranked(9, 200, 100));
    assert_eq!(rig.hear(9, 200), [Effect::Release, left]);
}

#[test]
fn active_that_was_away_corrects_a_lower_one_at_once() {
    let mut rig = stalled();
    rig.skip(10 * MS);
    assert_eq!(rig.hear(9, 50), [HEARD_LOWER, advert(100)]);
}

#[test]
fn active_on_an_overloaded_host_listens_once_and_then_advertises_late() {
    let mut rig = stalled();
    let mut adverts = 0;
    for _ in 0..20 {
        rig.skip(rig.remaining() + INTERVAL + MS);
        adverts += rig.give(Input::Deadline).len();
    }
    assert_eq!(adverts, 20);
    // Once awake in time, the next stall is believed again.
    rig.wake();
    rig.skip(INTERVAL * 3);
    rig.give(Input::Deadline);
    assert_eq!(rig.router.phase(), Phase::Listening);
}

#[test]
fn clock_that_runs_backwards_is_ignored() {
    let mut rig = Rig::active();
    let due = rig.router.deadline();
    rig.router.handle(Instant::ZERO, &Input::Deadline);
    rig.router.handle(Instant::ZERO, &Input::Sent { ok: true });
    assert_eq!(rig.router.deadline(), due);
}
