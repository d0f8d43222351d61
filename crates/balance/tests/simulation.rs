//! Servers that fail, recover, flap and are told things, thousands of times over.
//!
//! Each seed is one story: three servers and one that tracks the first, checked on the schedule that their health
//! asks for, while they die and come back, agents talk, an operator interferes, traffic errs and names lose their
//! addresses. All along each server is compared with [`Model`], which counts what happened in a row and nothing else.
//! Then every fault ends: all must be up within the time that the settings promise, and one that dies must be noticed
//! in time and never be chosen afterwards.
//!
//! `SEEDS=n` runs n stories, `SEED=n` replays one and prints what happened.

use std::num::{NonZeroU8, NonZeroU32};
use std::time::Duration;

use warren_balance::health::{
    AgentReport, Check, Effect, ErrorAction, Input, Operation, Settings, State, spread,
};
use warren_balance::{
    Admin, Algorithm, Backups, Balancer, Health, Instant, Request, ServerId, Share, Weight,
};

const STORIES: u64 = 2000;
const SERVERS: usize = 3;
/// The one that tracks server 0.
const FOLLOWER: usize = SERVERS;

#[test]
fn servers_are_what_a_simple_count_says_and_recover_when_faults_end() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse().expect("a number"))
    };
    if let Some(seed) = number("SEED") {
        Story::new(seed, true)
            .tell()
            .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        return;
    }
    for seed in 0..number("SEEDS").unwrap_or(STORIES) {
        if let Err(error) = Story::new(seed, false).tell() {
            panic!("seed {seed}: {error}\nSEED={seed} cargo test -p warren-balance --test simulation");
        }
    }
}

/// What happened in a row, and who said what: no count goes up and down here.
#[derive(Clone, Debug)]
struct Model {
    check: Check,
    on_error: ErrorAction,
    operation: Operation,
    passed: u32,
    failed: u32,
    agent_down: bool,
    maint: bool,
    drain: bool,
    unresolved: bool,
}

impl Model {
    fn new(check: Check, on_error: ErrorAction) -> Self {
        Self {
            // One failure is enough at the start.
            failed: u32::from(check.fall.get()) - 1,
            passed: 0,
            operation: Operation::Running,
            agent_down: false,
            maint: false,
            drain: false,
            unresolved: false,
            check,
            on_error,
        }
    }

    const fn out(&self) -> bool {
        self.maint || self.unresolved
    }

    /// Too many failures in a row, and not enough successes since.
    fn sick(&self) -> bool {
        self.failed >= u32::from(self.check.fall.get()) && self.passed < u32::from(self.check.rise.get())
    }

    fn checked(&mut self, passed: bool) {
        if self.out() {
            return;
        }
        if !passed {
            if !self.sick() && self.passed > 0 {
                self.failed = 0;
            }
            self.passed = 0;
            self.failed += 1;
            if self.sick() {
                self.operation = Operation::Stopped;
            }
            return;
        }
        self.passed += 1;
        if !self.sick() {
            // Of those on their way down one success is as good as many.
            self.failed = 0;
            if !self.agent_down {
                self.operation = Operation::Running;
            }
        }
    }

    fn take(&mut self, input: &Input) {
        let before = self.out();
        let fall = u32::from(self.check.fall.get());
        match *input {
            Input::Check(passed) => self.checked(passed),
            Input::ErrorLimit if before => {}
            Input::ErrorLimit => {
                let sick = self.sick();
                self.failed = match self.on_error {
                    ErrorAction::FastInter => return,
                    ErrorAction::SuddenDeath if !sick => self.failed.max(fall.saturating_sub(2)),
                    ErrorAction::MarkDown if !sick => self.failed.max(fall - 1),
                    ErrorAction::FailCheck | ErrorAction::SuddenDeath | ErrorAction::MarkDown => self.failed,
                };
                if self.on_error != ErrorAction::FailCheck && !sick {
                    self.passed = 0;
                }
                self.checked(false);
            }
            Input::Agent(report) => self.reported(&report, before),
            Input::Admin(admin) => self.say(admin, before),
            Input::Resolved(resolved) => {
                self.unresolved = !resolved;
                self.left(before);
            }
            Input::Health(operation) => {
                self.passed = 0;
                self.failed = if operation == Operation::Stopped { fall } else { 0 };
                if !before {
                    self.operation = operation;
                }
            }
            Input::AgentHealth(_)
            | Input::Checked(_)
            | Input::AgentAsked(_)
            | Input::Weight(_)
            | Input::Percent(_)
            | Input::Maxconn(_)
            | Input::Tracked(_) => {}
        }
    }

    fn reported(&mut self, report: &AgentReport, before: bool) {
        if let Some(admin) = report.admin {
            self.say(admin, before);
        }
        self.agent_down = report.up.map_or(self.agent_down, |up| !up);
        match report.up {
            Some(false) if !self.out() => self.operation = Operation::Stopped,
            Some(true) if !self.out() && !self.sick() && self.operation == Operation::Stopped => {
                self.operation = Operation::Running;
            }
            _ => {}
        }
    }

    fn say(&mut self, admin: Admin, before: bool) {
        (self.maint, self.drain) = (admin == Admin::Maint, admin == Admin::Drain);
        self.left(before);
    }

    fn left(&mut self, before: bool) {
        if self.out() {
            self.operation = Operation::Stopped;
        } else if before {
            (self.passed, self.failed) = (0, u32::from(self.check.fall.get()) - 1);
            self.operation = if self.agent_down {
                Operation::Stopped
            } else {
                Operation::Running
            };
        }
    }

    fn state(&self) -> State {
        match self.operation {
            _ if self.out() => State::Maint,
            Operation::Stopped => State::Down,
            Operation::Stopping => State::Stopping,
            Operation::Running if self.drain => State::Drain,
            Operation::Running => State::Up,
        }
    }
}

struct Story {
    random: Random,
    loud: bool,
    clock: u64,
    settings: Vec<Settings>,
    healths: Vec<Health>,
    models: Vec<Model>,
    /// What a check would find.
    well: [bool; SERVERS],
    /// When the next check is made.
    due: [Option<u64>; SERVERS],
    balancer: Balancer,
}

type Outcome = Result<(), String>;

impl Story {
    fn new(seed: u64, loud: bool) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let settings: Vec<_> = (0..=FOLLOWER)
            .map(|number| settings(&mut random, number))
            .collect();
        Self {
            healths: settings
                .iter()
                .map(|settings| Health::new(settings.clone(), Admin::Ready))
                .collect(),
            models: settings
                .iter()
                .map(|settings| Model::new(settings.check.unwrap_or_default(), settings.on_error))
                .collect(),
            balancer: Balancer::new(Algorithm::RoundRobin, Backups::First, Vec::new()).expect("no servers"),
            clock: 0,
            well: [true; SERVERS],
            due: [(); SERVERS].map(|()| Some(random.below(1000))),
            random,
            loud,
            settings,
        }
    }

    fn now(&self) -> Instant {
        Instant::from_millis(self.clock)
    }

    fn tell(&mut self) -> Outcome {
        let end = self.random.below(60_000);
        while self.clock < end {
            let millis = 1 + self.random.below(2000);
            self.run(millis)?;
            let server = self.random.below(SERVERS as u64) as usize;
            if self.random.below(3) == 0 {
                self.well[server] = !self.well[server];
                self.note(&format!("server {server} is well: {}", self.well[server]));
            } else {
                let input = self.anything();
                self.say(server, &input)?;
            }
        }
        self.heal()?;
        self.die()
    }

    /// Every fault ends, and within its `rise` and intervals each server is up and at full weight.
    fn heal(&mut self) -> Outcome {
        self.well = [true; SERVERS];
        let report = AgentReport {
            up: Some(true),
            percent: Some(100),
            ..AgentReport::default()
        };
        for server in 0..SERVERS {
            self.say(server, &Input::Resolved(true))?;
            self.say(server, &Input::Admin(Admin::Ready))?;
            self.say(server, &Input::Agent(report))?;
        }
        self.run(self.settings.iter().map(recovery).max().unwrap_or_default())?;
        let now = self.now();
        let ill = self.healths.iter().find(|health| {
            health.state() != State::Up
                || health.server(now).share == Share::ZERO
                || health.throttle(now).is_some()
        });
        ill.map_or(Ok(()), |health| Err(format!("not well again: {health:?}")))
    }

    /// One that dies is noticed within its `fall` and intervals, and so is it at the one that tracks it.
    fn die(&mut self) -> Outcome {
        self.well[0] = false;
        let check = self.settings[0].check.unwrap_or_default();
        let failing = check.fastinter.unwrap_or(check.inter) * u32::from(check.fall.get() - 1);
        let longest = (check.inter + failing).mul_f64(1.5) + Duration::from_millis(10);
        self.run(longest.as_millis() as u64)?;
        for number in [0, FOLLOWER] {
            if self.healths[number].state() != State::Down {
                return Err(format!("not noticed: {:?}", self.healths[number]));
            }
        }
        Ok(())
    }

    fn run(&mut self, millis: u64) -> Outcome {
        let until = self.clock + millis;
        while let Some((at, server)) = self.next().filter(|(at, _)| *at <= until) {
            self.clock = self.clock.max(at);
            self.due[server] = None;
            self.say(server, &Input::Check(self.well[server]))?;
        }
        self.clock = until;
        Ok(())
    }

    fn next(&self) -> Option<(u64, usize)> {
        let due = (0..SERVERS).filter_map(|server| Some((self.due[server]?, server)));
        due.min()
    }

    fn say(&mut self, server: usize, input: &Input) -> Outcome {
        let now = self.now();
        let before = self.healths[server].state();
        let effects = self.healths[server].handle(now, input);
        self.models[server].take(input);
        let (after, model) = (self.healths[server].state(), self.models[server].state());
        self.note(&format!("server {server}: {input:?}, {after:?}, {effects:?}"));
        if after != model {
            return Err(format!(
                "{after:?}, but {model:?} by counting, after {input:?} to server {server}"
            ));
        }
        let change = Effect::Changed {
            from: before,
            to: after,
        };
        if effects.contains(&change) == (before == after) {
            return Err(format!("{before:?} to {after:?} with {effects:?}"));
        }
        self.plan(server, effects.contains(&Effect::CheckSoon));
        self.follow()?;
        self.choose()
    }

    /// The next check, as the health asks for it, spread as far as it may be.
    fn plan(&mut self, server: usize, soon: bool) {
        let Some(pause) = self.healths[server].next_check() else {
            self.due[server] = None;
            return;
        };
        let next = self.clock + spread(pause, 50, self.random.next()).as_millis() as u64;
        let due = self.due[server].unwrap_or(next);
        self.due[server] = Some(if soon { due.min(next) } else { due });
    }

    fn follow(&mut self) -> Outcome {
        let (now, leader) = (self.now(), self.healths[0].tracked());
        self.healths[FOLLOWER].handle(now, &Input::Tracked(leader));
        let (follower, leader) = (self.healths[FOLLOWER].state(), self.healths[0].state());
        if follower != leader {
            return Err(format!("{follower:?} follows {leader:?}"));
        }
        Ok(())
    }

    /// Only servers that are up are chosen, and somebody is as long as anybody is.
    fn choose(&mut self) -> Outcome {
        let now = self.now();
        let views = self.healths.iter().map(|health| health.server(now)).collect();
        self.balancer.update(views).map_err(|error| error.to_string())?;
        let chosen = self.balancer.choose(&Request {
            key: 0,
            entropy: 0,
            avoid: None,
            inflight: &|_| 0,
        });
        let works = |health: &Health| health.state() == State::Up && health.server(now).eligible();
        match chosen {
            Ok(ServerId(number)) if works(&self.healths[number as usize]) => Ok(()),
            Err(_) if !self.healths.iter().any(works) => Ok(()),
            other => Err(format!("chosen: {other:?}")),
        }
    }

    fn anything(&mut self) -> Input {
        let admin = [Admin::Ready, Admin::Drain, Admin::Maint][self.random.below(3) as usize];
        let operation = [Operation::Running, Operation::Stopped, Operation::Stopping];
        match self.random.below(7) {
            0 => Input::Admin(admin),
            1 => Input::Health(operation[self.random.below(3) as usize]),
            2 => Input::Resolved(self.random.below(2) == 0),
            3 | 4 => Input::Agent(AgentReport {
                up: [None, Some(true), Some(false)][self.random.below(3) as usize],
                percent: (self.random.below(3) == 0).then_some(self.random.below(200) as u32),
                maxconn: (self.random.below(5) == 0).then_some(self.random.below(20) as u32),
                admin: (self.random.below(4) == 0).then_some(admin),
            }),
            5 => Input::ErrorLimit,
            _ => Input::Percent(self.random.below(300) as u32),
        }
    }

    fn note(&self, text: &str) {
        if self.loud {
            println!("{:>8} {text}", self.clock);
        }
    }
}

fn settings(random: &mut Random, number: usize) -> Settings {
    let mut small = || NonZeroU8::MIN.saturating_add(random.below(4) as u8);
    let (rise, fall) = (small(), small());
    let mut millis = || Duration::from_millis(100 + random.below(3000));
    let (inter, fast, down) = (millis(), millis(), millis());
    let check = Check {
        rise,
        fall,
        inter,
        fastinter: (random.below(2) == 0).then_some(fast),
        downinter: (random.below(2) == 0).then_some(down),
    };
    let actions = [
        ErrorAction::FastInter,
        ErrorAction::FailCheck,
        ErrorAction::SuddenDeath,
        ErrorAction::MarkDown,
    ];
    Settings {
        id: ServerId(number as u32),
        backup: number == 2,
        weight: Weight::try_from(1 + random.below(100) as u32).expect("small"),
        maxconn: NonZeroU32::new(random.below(10) as u32),
        check: (number != FOLLOWER).then_some(check),
        agent: number != FOLLOWER,
        slowstart: Duration::from_millis(random.below(2) * 3000),
        on_error: actions[random.below(4) as usize],
        shutdown_sessions: random.below(2) == 0,
        shutdown_backup_sessions: random.below(2) == 0,
    }
}

/// How long it takes at most from well to up and at full weight, with pauses spread by half.
fn recovery(settings: &Settings) -> u64 {
    let check = settings.check.unwrap_or_default();
    let pauses = [Some(check.inter), check.fastinter, check.downinter];
    let longest = pauses.into_iter().flatten().max().unwrap_or_default();
    let rising = longest.mul_f64(1.5) * (u32::from(check.rise.get()) + 1);
    (rising + settings.slowstart).as_millis() as u64 + 10
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 11) % limit
    }
}
