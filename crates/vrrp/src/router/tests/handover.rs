//! Leaving the role without leaving the addresses to nobody.

use super::*;

/// One interval and the largest skew.
const WINDOW: Duration = Duration::from_millis(200);

fn unfit_active() -> Rig {
    let mut rig = Rig::active();
    rig.skip(10 * MS);
    assert_eq!(rig.give(unfit(100)), [advert(0)]);
    assert_eq!(
        (rig.router.state(), rig.router.phase()),
        (State::Active, Phase::HandingOver)
    );
    rig
}

#[test]
fn released_router_keeps_the_addresses_until_any_other_active_is_heard() {
    for priority in [1, 100, 254] {
        let mut rig = unfit_active();
        rig.skip(10 * MS);
        let left = transition(
            State::Active,
            State::Initialize,
            Cause::HandedOver { peer: host(4) },
        );
        assert_eq!(rig.hear(4, priority), [Effect::Release, left]);
    }
}

#[test]
fn released_router_drops_the_addresses_when_nobody_takes_them() {
    let mut rig = unfit_active();
    let left = transition(State::Active, State::Initialize, Cause::Unfit);
    assert_eq!(rig.run(WINDOW), [(WINDOW, Effect::Release), (WINDOW, left)]);
}

#[test]
fn hand_over_of_version_2_allows_for_a_skew_of_a_second() {
    let mut rig = Rig::with(|settings| {
        settings.version = Version::V2;
        settings.interval = Duration::from_secs(3);
    })
    .started(100)
    .promoted();
    rig.give(unfit(100));
    assert_eq!(rig.remaining(), Duration::from_secs(4));
}

#[test]
fn resignation_of_another_is_no_successor() {
    let mut rig = unfit_active();
    assert_eq!(rig.hear(4, 0), []);
    assert_eq!(rig.router.phase(), Phase::HandingOver);
}

#[test]
fn resignation_that_did_not_leave_is_retried() {
    let mut rig = Rig::active();
    rig.sends_work = false;
    rig.give(unfit(100));
    assert_eq!(rig.remaining(), INTERVAL / 10);
    rig.sends_work = true;
    assert_eq!(rig.wake(), [advert(0)]);
    assert_eq!(rig.remaining(), WINDOW - INTERVAL / 10, "and not repeated");
}

#[test]
fn router_fit_again_in_time_goes_on_at_once() {
    let mut rig = unfit_active();
    rig.skip(10 * MS);
    assert_eq!(rig.give(fit(100)), [advert(100)]);
    assert_eq!((rig.router.phase(), rig.remaining()), (Phase::Steady, INTERVAL));
}

#[test]
fn released_router_comes_back_as_backup() {
    let mut rig = unfit_active();
    rig.run(WINDOW);
    rig.give(fit(100));
    assert_eq!(
        (rig.router.state(), rig.remaining()),
        (State::Backup, rig.router.active_down())
    );
}

#[test]
fn unfit_backup_leaves_at_once() {
    let mut rig = Rig::backup();
    assert_eq!(
        rig.give(unfit(100)),
        [transition(State::Backup, State::Initialize, Cause::Unfit)]
    );
}

fn demoted() -> Rig {
    let mut rig = Rig::active();
    rig.skip(10 * MS);
    assert_eq!(
        rig.give(fit(98)),
        [advert(0)],
        "no peer known: perhaps there is a better one"
    );
    rig
}

#[test]
fn demoted_router_gives_way_to_a_better_active() {
    let mut rig = demoted();
    rig.skip(5 * MS);
    let left = transition(State::Active, State::Backup, outranked(4, 99, 98));
    assert_eq!(rig.hear(4, 99), [Effect::Release, left]);
}

#[test]
fn demoted_router_stays_when_only_a_worse_one_answers() {
    let mut rig = demoted();
    rig.skip(5 * MS);
    assert_eq!(rig.hear(4, 97), [advert(98), HEARD_LOWER]);
    assert_eq!(
        (rig.router.state(), rig.router.phase()),
        (State::Active, Phase::Steady)
    );
}

#[test]
fn demoted_router_stays_without_ever_dropping_the_addresses_when_nobody_answers() {
    let mut rig = demoted();
    assert_eq!(rig.run(WINDOW), [(WINDOW, advert(98))]);
    assert_eq!((rig.router.state(), rig.remaining()), (State::Active, INTERVAL));
}

#[test]
fn demoted_router_that_recovers_goes_on_at_once() {
    let mut rig = demoted();
    assert_eq!(rig.give(fit(97)), [], "still looking for a successor");
    assert_eq!(rig.give(fit(100)), [advert(100)]);
}

#[test]
fn demotion_below_nobody_is_just_advertised() {
    let mut rig = Rig::backup();
    rig.hear(4, 50);
    rig.hear(6, 60);
    let mut rig = rig.promoted();
    rig.skip(10 * MS);
    assert_eq!(rig.give(fit(61)), [advert(61)]);
    assert_eq!(rig.router.phase(), Phase::Steady);
    assert_eq!(
        rig.give(fit(60)),
        [advert(0)],
        "now the peer at the higher address would win"
    );
}

#[test]
fn demoted_router_that_recovers_above_all_others_goes_on_at_once() {
    let mut rig = Rig::backup();
    rig.hear(4, 50);
    let mut rig = rig.promoted();
    rig.skip(10 * MS);
    assert_eq!(rig.give(fit(40)), [advert(0)]);
    assert_eq!(rig.give(fit(45)), []);
    assert_eq!(rig.give(fit(51)), [advert(51)]);
}

#[test]
fn router_that_could_not_resign_says_nothing_once_a_successor_speaks() {
    let mut rig = Rig::active();
    rig.sends_work = false;
    rig.give(unfit(100));
    let left = transition(
        State::Active,
        State::Initialize,
        Cause::HandedOver { peer: host(4) },
    );
    assert_eq!(rig.hear(4, 1), [Effect::Release, left]);
}

#[test]
fn role_surrendered_while_unfit_comes_back_with_fitness() {
    let mut rig = Rig::new();
    rig.give(Input::LinkReady { source: host(5) });
    rig.give(unfit(100));
    rig.give(Input::Surrender);
    rig.give(fit(100));
    assert_eq!(rig.router.state(), State::Backup);
}

#[test]
fn demoted_router_that_becomes_unfit_leaves() {
    let mut rig = demoted();
    assert_eq!(rig.give(unfit(98)), [], "priority 0 is out already");
    rig.hear(4, 1);
    assert_eq!(rig.router.state(), State::Initialize);
}

#[test]
fn shutdown_holds_the_addresses_until_another_active_is_heard() {
    let mut rig = Rig::active();
    assert_eq!(rig.give(Input::Shutdown { grace: 80 * MS }), [advert(0)]);
    assert!(!rig.router.stopped());
    rig.skip(8 * MS);
    let left = transition(
        State::Active,
        State::Initialize,
        Cause::HandedOver { peer: host(4) },
    );
    assert_eq!(rig.hear(4, 99), [Effect::Release, left]);
    assert!(rig.router.stopped());
}

#[test]
fn shutdown_ends_with_the_grace() {
    let mut rig = Rig::active();
    rig.give(Input::Shutdown { grace: 80 * MS });
    let left = transition(State::Active, State::Initialize, Cause::Shutdown);
    assert_eq!(rig.run(80 * MS), [(80 * MS, Effect::Release), (80 * MS, left)]);
    assert!(rig.router.stopped());
}

#[test]
fn shutdown_during_a_hand_over_shortens_it() {
    let mut rig = unfit_active();
    assert_eq!(rig.give(Input::Shutdown { grace: 20 * MS }), []);
    assert_eq!(rig.remaining(), 20 * MS);
    rig.give(fit(100));
    rig.run(20 * MS);
    assert!(rig.router.stopped(), "being fit again does not undo a shutdown");
}

#[test]
fn resignation_that_never_left_is_tried_a_last_time_at_release() {
    let mut rig = Rig::active();
    rig.sends_work = false;
    rig.give(Input::Shutdown { grace: 15 * MS });
    let effects: Vec<_> = rig.run(15 * MS).into_iter().map(|(_, effect)| effect).collect();
    let left = transition(State::Active, State::Initialize, Cause::Shutdown);
    assert_eq!(effects, [advert(0), advert(0), Effect::Release, left]);
}

#[test]
fn surrendered_role_stays_away_until_the_operator_drains_and_resumes() {
    let mut rig = Rig::active();
    assert_eq!(rig.give(Input::Surrender), [advert(0)]);
    let left = transition(State::Active, State::Initialize, Cause::Surrendered);
    assert_eq!(rig.run(WINDOW), [(WINDOW, Effect::Release), (WINDOW, left)]);
    rig.give(fit(100));
    rig.give(fit(120));
    assert_eq!(
        (rig.router.state(), rig.router.waiting_for()),
        (State::Initialize, Some(WaitingFor::Resume))
    );
    rig.give(unfit(120));
    rig.give(fit(120));
    assert_eq!(rig.router.state(), State::Backup);
}

#[test]
fn group_takes_over_from_backup() {
    let mut rig = Rig::backup();
    assert_eq!(
        rig.give(Input::GroupTakeOver),
        becomes_active(State::Backup, 100, Cause::Group)
    );
    assert_eq!(rig.give(Input::GroupTakeOver), []);
    let mut rig = Rig::new();
    assert_eq!(rig.give(Input::GroupTakeOver), []);
}

#[test]
fn group_steps_down_by_handing_over_and_does_not_take_the_role_back_by_itself() {
    let mut rig = Rig::active();
    assert_eq!(rig.give(Input::GroupStepDown), [advert(0)]);
    rig.skip(5 * MS);
    let left = transition(State::Active, State::Backup, Cause::HandedOver { peer: host(4) });
    assert_eq!(rig.hear(4, 50), [Effect::Release, left]);
    for _ in 0..20 {
        rig.run(INTERVAL);
        rig.hear(4, 50);
    }
    assert_eq!(rig.router.state(), State::Backup);
    rig.give(fit(101));
    for _ in 0..5 {
        rig.run(INTERVAL);
        rig.hear(4, 50);
    }
    assert_eq!(
        rig.router.state(),
        State::Active,
        "a new priority is a new decision"
    );
}

#[test]
fn group_steps_down_even_when_nobody_is_heard() {
    let mut rig = Rig::active();
    rig.give(Input::GroupStepDown);
    let left = transition(State::Active, State::Backup, Cause::Group);
    assert_eq!(rig.run(WINDOW), [(WINDOW, Effect::Release), (WINDOW, left)]);
}

#[test]
fn link_lost_while_handing_over_ends_it() {
    let mut rig = unfit_active();
    let left = transition(State::Active, State::Initialize, Cause::LinkLost);
    assert_eq!(rig.give(Input::LinkLost), [Effect::Release, left]);
}
