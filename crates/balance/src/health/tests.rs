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
        slowstart: Duration::from_secs(10),
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
    .map(|results| checked(results).status())
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
            changed(State::Up, State::Down),
            Effect::ShutdownSessions,
            Effect::Redistribute
        ]
    );
    assert_eq!(health.handle(at(0), &Input::Check(true)), []);
    assert_eq!(
        health.handle(at(0), &Input::Check(true)),
        [changed(State::Down, State::Up), Effect::ShutdownBackupSessions]
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
    assert_eq!(health.status(), "MAINT");
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
            admin: None,
        })
    };
    let mut health = checked(&[true]);
    health.handle(at(0), &report(None, Some(50)));
    assert_eq!(health.server(at(0)).share.get(), 12_800);
    health.handle(at(0), &report(Some(false), None));
    assert_eq!(health.status(), "DOWN (agent)");
    health.handle(at(0), &report(Some(true), None));
    assert_eq!(health.state(), State::Up);
    health.handle(at(0), &Input::Weight(Weight::ZERO));
    assert_eq!(health.status(), "DRAIN");
    let mut failed = checked(&[false]);
    failed.handle(at(0), &report(Some(true), Some(100)));
    assert_eq!(failed.state(), State::Down);
}

fn any_input() -> impl Strategy<Value = Input> {
    let admin = prop::sample::select(vec![Admin::Ready, Admin::Drain, Admin::Maint]);
    prop_oneof![
        8 => any::<bool>().prop_map(Input::Check),
        1 => admin.prop_map(Input::Admin),
        1 => (0..=256_u32).prop_map(|weight| Input::Weight(Weight::try_from(weight).unwrap())),
        1 => (prop::option::of(any::<bool>()), prop::option::of(0..=100_u8))
            .prop_map(|(up, percent)| Input::Agent(AgentReport { up, percent, admin: None })),
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
            prop_assert_eq!(before == healths[index].state(), effects.is_empty());
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
            health.handle(now, &Input::Admin(Admin::Ready));
            health.handle(now, &Input::Agent(AgentReport { up: Some(true), percent: Some(100), admin: None }));
            health.handle(now, &Input::Check(true));
            health.handle(now, &Input::Check(true));
            let server = health.server(now + Duration::from_secs(10));
            prop_assert!(server.usable && server.share == Share::full(settings().weight));
            prop_assert_eq!(health.status(), "UP");
        }
    }
}
