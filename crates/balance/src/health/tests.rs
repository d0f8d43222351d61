//! The rules one by one, and servers that flap under a balancer.

use proptest::prelude::*;

use super::*;
use crate::algorithm::{Algorithm, Balancer, Request, Unchosen};
use crate::types::Backups;

fn settings() -> Settings {
    Settings {
        id: ServerId(1),
        backup: false,
        weight: Weight::try_from(100).unwrap(),
        maxconn: NonZeroU32::new(50),
        check: Some(Check {
            fastinter: Some(Duration::from_millis(500)),
            downinter: Some(Duration::from_secs(10)),
            ..Check::default()
        }),
        agent: true,
        slowstart: Duration::from_secs(10),
        on_error: ErrorAction::FailCheck,
        shutdown_sessions: true,
        shutdown_backup_sessions: true,
    }
}

const fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn checked(results: &[bool]) -> Health {
    let mut health = Health::new(settings(), Admin::Ready);
    for ok in results {
        health.handle(at(0), &Input::Check(*ok));
    }
    health
}

#[test]
fn one_failure_at_the_start_takes_a_server_down() {
    assert_eq!(checked(&[]).state(), State::Up);
    assert_eq!(checked(&[false]).state(), State::Down);
}

#[test]
fn fall_failures_in_a_row_take_a_server_down_and_rise_successes_bring_it_up() {
    let statuses: Vec<_> = [
        &[true][..],
        &[true, false],
        &[true, false, false],
        &[true, false, false, true],
        &[true, false, false, false],
        &[false, true],
        &[false, true, false],
        &[false, true, true],
    ]
    .iter()
    .map(|results| checked(results).status(None))
    .collect();
    assert_eq!(
        statuses,
        ["UP", "UP 2/3", "UP 1/3", "UP", "DOWN", "DOWN 1/2", "DOWN", "UP"]
    );
}

#[test]
fn checks_are_fast_in_transition_and_slow_when_down() {
    let pause = |results: &[bool]| checked(results).next_check().map(|pause| pause.as_millis());
    assert_eq!(pause(&[]), Some(500));
    assert_eq!(pause(&[true]), Some(2000));
    assert_eq!(pause(&[true, false]), Some(500));
    assert_eq!(pause(&[false]), Some(10_000));
    assert_eq!(pause(&[false, true]), Some(500));
    assert_eq!(Health::new(settings(), Admin::Maint).next_check(), None);
}

#[test]
fn slow_start_grows_weight_and_maxconn_after_a_failure_but_not_at_the_start() {
    let seen = |health: &Health, millis| {
        let server = health.server(at(millis));
        (server.share.get(), server.maxconn.unwrap().get())
    };
    assert_eq!(seen(&checked(&[true]), 0), (25_600, 50));
    let mut health = checked(&[false, true]);
    health.handle(at(1000), &Input::Check(true));
    assert_eq!(seen(&health, 1000), (3, 1));
    assert_eq!(seen(&health, 6000), (12_800, 25));
    assert_eq!(seen(&health, 11_000), (25_600, 50));
    assert_eq!(health.deadline(at(1000)), Some(at(2000)));
    assert_eq!(health.deadline(at(10_500)), Some(at(11_000)));
    assert_eq!(health.deadline(at(11_000)), None);
}

#[test]
fn going_down_and_coming_up_have_the_effects_that_were_asked_for() {
    let mut health = checked(&[]);
    let changed = |from, to| Effect::Changed { from, to };
    assert_eq!(
        health.handle(at(0), &Input::Check(false)),
        [
            Effect::Scored(false),
            changed(State::Up, State::Down),
            Effect::ShutdownSessions,
            Effect::Redistribute
        ]
    );
    assert_eq!(health.handle(at(0), &Input::Check(true)), [Effect::Scored(true)]);
    assert_eq!(
        health.handle(at(0), &Input::Check(true)),
        [
            Effect::Scored(true),
            changed(State::Down, State::Up),
            Effect::ShutdownBackupSessions
        ]
    );
    assert_eq!(
        health.handle(at(0), &Input::Admin(Admin::Drain)),
        [changed(State::Up, State::Drain), Effect::Redistribute]
    );
}

#[test]
fn maintenance_ignores_late_results_and_ends_in_an_unchecked_server() {
    let mut health = checked(&[false]);
    health.handle(at(0), &Input::Admin(Admin::Maint));
    assert_eq!(health.handle(at(0), &Input::Check(true)), []);
    assert_eq!(health.status(None), "MAINT");
    health.handle(at(0), &Input::Admin(Admin::Ready));
    assert_eq!(health.state(), State::Up);
    health.handle(at(0), &Input::Check(false));
    assert_eq!(health.state(), State::Down);
}

#[test]
fn an_agent_can_take_down_and_weigh_but_not_overrule_a_failed_check() {
    let report = |up, percent| {
        Input::Agent(AgentReport {
            up,
            percent,
            ..AgentReport::default()
        })
    };
    let mut health = checked(&[true]);
    health.handle(at(0), &report(None, Some(50)));
    assert_eq!(health.server(at(0)).share.get(), 12_800);
    health.handle(at(0), &report(Some(false), None));
    assert_eq!(health.status(None), "DOWN (agent)");
    health.handle(at(0), &report(Some(true), None));
    assert_eq!(health.state(), State::Up);
    health.handle(at(0), &Input::Weight(Weight::ZERO));
    assert_eq!(
        (health.status(None), health.server(at(0)).eligible()),
        ("UP".to_owned(), false)
    );
    let mut failed = checked(&[false]);
    failed.handle(at(0), &report(Some(true), Some(100)));
    assert_eq!(failed.state(), State::Down);
}

fn told(results: &[bool], inputs: &[Input]) -> Health {
    let mut health = checked(results);
    for input in inputs {
        health.handle(at(0), input);
    }
    health
}

fn statuses(inputs: &[&[Input]]) -> Vec<String> {
    inputs
        .iter()
        .map(|inputs| told(&[true], inputs).status(Some(("b", "s"))))
        .collect()
}

const fn word(admin: Admin) -> Input {
    Input::Agent(AgentReport {
        admin: Some(admin),
        up: None,
        percent: None,
        maxconn: None,
    })
}

fn tracked(operation: Operation, maint: bool, drain: bool) -> Input {
    Input::Tracked(Tracked {
        operation,
        maint,
        drain,
        check: None,
        agent: None,
    })
}

#[test]
fn the_operators_word_on_health_holds_until_a_check_says_otherwise() {
    let (up, down) = (
        Input::Health(Operation::Running),
        Input::Health(Operation::Stopped),
    );
    let stopping = Input::Health(Operation::Stopping);
    assert_eq!(
        statuses(&[
            &[stopping],
            &[stopping, Input::Check(false)],
            &[stopping, Input::Check(true)],
            &[down],
            &[down, Input::Check(true)],
            &[down, up],
            &[Input::Admin(Admin::Maint), up],
        ]),
        ["NOLB", "NOLB 2/3", "UP", "DOWN", "DOWN 1/2", "UP", "MAINT"]
    );
    assert!(!told(&[true], &[stopping]).server(at(0)).usable);
}

#[test]
fn reasons_for_maintenance_and_drain_end_one_by_one() {
    let drained = Input::Admin(Admin::Drain);
    assert_eq!(
        statuses(&[
            &[Input::AgentAsked(false), drained],
            &[drained],
            &[drained, Input::Resolved(false)],
            &[drained, Input::Resolved(false), Input::Resolved(true)],
            &[
                Input::Resolved(false),
                Input::Admin(Admin::Maint),
                Input::Resolved(true)
            ],
            &[tracked(Operation::Stopped, true, false)],
            &[
                tracked(Operation::Stopped, true, false),
                Input::Admin(Admin::Ready)
            ],
            &[
                tracked(Operation::Stopped, true, false),
                tracked(Operation::Running, false, true)
            ],
            &[word(Admin::Maint), Input::Check(true)],
            &[word(Admin::Maint), word(Admin::Ready)],
            &[word(Admin::Drain), Input::Admin(Admin::Ready)],
        ]),
        [
            "DRAIN",
            "DRAIN (agent)",
            "MAINT (resolution)",
            "DRAIN (agent)",
            "MAINT",
            "MAINT (via b/s)",
            "MAINT (via b/s)",
            "DRAIN",
            "MAINT",
            "UP 1/3",
            "UP",
        ]
    );
    let bits = |input| told(&[true], &[input]).reasons().bits();
    assert_eq!(
        [
            bits(Input::Admin(Admin::Maint)),
            bits(tracked(Operation::Stopped, true, false)),
            Health::new(settings(), Admin::Maint).reasons().bits(),
            bits(Input::Admin(Admin::Drain)),
            bits(tracked(Operation::Running, false, true)),
            bits(Input::Resolved(false)),
        ],
        [1, 2, 5, 8, 16, 32]
    );
}

#[test]
fn an_agents_words_are_taken_together_in_the_order_of_the_manual() {
    let mut health = told(&[true], &[Input::Admin(Admin::Maint)]);
    let report = AgentReport {
        up: Some(false),
        percent: Some(50),
        maxconn: Some(30),
        admin: Some(Admin::Ready),
    };
    health.handle(at(0), &Input::Agent(report));
    assert_eq!(
        (
            health.status(None),
            health.weight(),
            health.maxconn().map(NonZeroU32::get)
        ),
        ("DOWN (agent)".to_owned(), 50, Some(30))
    );
    health.handle(at(0), &Input::AgentAsked(false));
    assert_eq!(health.status(None), "DOWN 2/2");
}

#[test]
fn a_weight_may_be_more_than_configured_but_not_more_than_256() {
    assert_eq!(told(&[true], &[Input::Percent(200)]).weight(), 200);
    assert_eq!(told(&[true], &[Input::Percent(1000)]).weight(), 256);
    assert_eq!(told(&[true], &[Input::Percent(0)]).weight(), 0);
}

#[test]
fn errors_in_traffic_bring_a_server_as_far_down_as_they_are_meant_to() {
    let after = |on_error, inputs: &[Input]| {
        let mut health = Health::new(
            Settings {
                on_error,
                ..settings()
            },
            Admin::Ready,
        );
        health.handle(at(0), &Input::Check(true));
        for input in inputs {
            let soon = health.handle(at(0), input).contains(&Effect::CheckSoon);
            assert_eq!(soon, *input == Input::ErrorLimit);
        }
        health.status(None)
    };
    let (erred, failed) = (Input::ErrorLimit, Input::Check(false));
    assert_eq!(after(ErrorAction::FastInter, &[erred]), "UP");
    assert_eq!(after(ErrorAction::FailCheck, &[erred]), "UP 2/3");
    assert_eq!(after(ErrorAction::SuddenDeath, &[erred]), "UP 1/3");
    assert_eq!(after(ErrorAction::SuddenDeath, &[erred, failed]), "DOWN");
    assert_eq!(after(ErrorAction::MarkDown, &[erred]), "DOWN");
}

#[test]
fn a_server_that_tracks_another_does_as_that_one_does_and_shows_its_checks() {
    let unchecked = Settings {
        check: None,
        agent: false,
        ..settings()
    };
    let mut follower = Health::new(unchecked, Admin::Ready);
    let mut leader = checked(&[true]);
    let mut seen = Vec::new();
    for input in [
        Input::Check(false),
        Input::Admin(Admin::Drain),
        Input::Admin(Admin::Ready),
        Input::Check(false),
        Input::Check(false),
        Input::Check(true),
        Input::Admin(Admin::Maint),
    ] {
        leader.handle(at(0), &input);
        follower.handle(at(0), &Input::Tracked(leader.tracked()));
        seen.push(follower.status(Some(("b", "leader"))));
    }
    assert_eq!(
        seen,
        [
            "UP 2/3",
            "DRAIN (agent)",
            "UP 2/3",
            "UP 1/3",
            "DOWN",
            "DOWN 1/2",
            "MAINT (via b/leader)"
        ]
    );
}

#[test]
fn another_configuration_keeps_what_was_said_and_what_was_found_unless_it_asks_something_else() {
    let mut health = checked(&[false]);
    health.handle(at(0), &Input::Weight(Weight::try_from(7).unwrap()));
    let mut asks_else = health.clone();
    health.reconfigure(settings(), Admin::Ready, false);
    assert_eq!((health.status(None), health.weight()), ("DOWN".to_owned(), 7));
    asks_else.reconfigure(settings(), Admin::Ready, true);
    assert_eq!(asks_else.status(None), "UP 1/3");
    health.handle(at(0), &Input::Admin(Admin::Maint));
    health.reconfigure(settings(), Admin::Ready, false);
    assert_eq!(health.status(None), "MAINT");
    let mut follower = told(&[true], &[tracked(Operation::Stopped, true, true)]);
    follower.reconfigure(settings(), Admin::Ready, false);
    assert_eq!(follower.status(Some(("b", "s"))), "MAINT (via b/s)");
    follower.reconfigure(settings(), Admin::Ready, true);
    assert_eq!(follower.status(None), "UP 1/3");
    let mut disabled = Health::new(settings(), Admin::Maint);
    disabled.reconfigure(settings(), Admin::Ready, false);
    assert_eq!(disabled.state(), State::Up);
}

#[test]
fn what_another_process_saved_is_taken_over() {
    let mut health = checked(&[]);
    health.restore(&Saved {
        operation: Operation::Stopped,
        maint: false,
        drain: true,
        weight: Weight::try_from(9).unwrap(),
        health: 1,
    });
    assert_eq!((health.status(None), health.weight()), ("DOWN 1/2".to_owned(), 9));
    health.handle(at(0), &Input::Check(true));
    assert_eq!(health.state(), State::Drain);
}

fn any_input() -> impl Strategy<Value = Input> {
    let admin = prop::sample::select(vec![Admin::Ready, Admin::Drain, Admin::Maint]);
    prop_oneof![
        8 => any::<bool>().prop_map(Input::Check),
        1 => admin.prop_map(Input::Admin),
        1 => (0..=256_u32).prop_map(|weight| Input::Weight(Weight::try_from(weight).unwrap())),
        1 => (prop::option::of(any::<bool>()), prop::option::of(0..=100_u32))
            .prop_map(|(up, percent)| Input::Agent(AgentReport { up, percent, ..AgentReport::default() })),
        1 => (0..1000_u32).prop_map(Input::Percent),
        1 => any::<bool>().prop_map(Input::Resolved),
        1 => Just(Input::ErrorLimit),
    ]
}

proptest! {
    /// Three servers, the last a backup, flap while connections come; results may come late and in any order.
    #[test]
    fn flapping_servers_get_connections_only_while_up_and_recover(
        story in prop::collection::vec((0..3_usize, any_input(), 0..3000_u64), 1..150),
        algorithm in prop::sample::select(vec![Algorithm::RoundRobin, Algorithm::LeastConn, Algorithm::ConsistentHash]),
    ) {
        let mut healths: Vec<_> = (0..3)
            .map(|id| Health::new(Settings { id: ServerId(id), backup: id == 2, ..settings() }, Admin::Ready))
            .collect();
        let mut balancer = Balancer::new(algorithm, Backups::First, Vec::new()).unwrap();
        let mut now = at(0);
        for (number, (index, input, millis)) in (0..).zip(story) {
            now = now + Duration::from_millis(millis);
            let before = healths[index].state();
            let effects = healths[index].handle(now, &input);
            let changed = effects.iter().any(|effect| matches!(effect, Effect::Changed { .. }));
            prop_assert_eq!(before != healths[index].state(), changed);
            balancer.update(healths.iter().map(|health| health.server(now)).collect()).unwrap();
            let request = Request { key: number, entropy: number, avoid: None, inflight: &|_| 0 };
            let working = |index: usize| {
                healths[index].state() == State::Up && healths[index].server(now).share != Share::ZERO
            };
            match balancer.choose(&request) {
                Ok(ServerId(2)) => prop_assert!(working(2) && !working(0) && !working(1)),
                Ok(ServerId(id)) => prop_assert!(working(id as usize)),
                Err(reason) => {
                    prop_assert_eq!(reason, Unchosen::NoServer);
                    prop_assert!(!(0..3).any(working));
                }
            }
        }
        // Every fault ends: all are up and at full weight when slow start is over.
        for health in &mut healths {
            health.handle(now, &Input::Resolved(true));
            health.handle(now, &Input::Admin(Admin::Ready));
            let report = AgentReport { up: Some(true), percent: Some(100), ..AgentReport::default() };
            health.handle(now, &Input::Agent(report));
            health.handle(now, &Input::Check(true));
            health.handle(now, &Input::Check(true));
            let server = health.server(now + Duration::from_secs(10));
            prop_assert!(server.usable && server.share == Share::full(settings().weight));
            prop_assert_eq!(health.status(None), "UP");
        }
    }
}
