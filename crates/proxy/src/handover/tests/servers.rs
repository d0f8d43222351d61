//! What was said of servers at run time holds in the process that takes over.

use warren_balance::Admin;
use warren_balance::health::{By, Input, Operation, State as Health};

use super::*;
use crate::live::{Backend, Server};
use crate::runtime::make_server;

/// One server that is checked, of which the file says more.
fn plan(change: impl FnOnce(&mut plan::Server)) -> Plan {
    let mut plan = testing::plan(&[SocketAddr::from(([127, 0, 0, 1], 9))]);
    let backend = Arc::get_mut(&mut plan.backends[0]).unwrap();
    let server = Arc::get_mut(&mut backend.servers[0]).unwrap();
    server.check = Some(plan::Check {
        kind: plan::CheckKind::Tcp,
        timing: warren_balance::health::Check::default(),
        connect_timeout: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        port: None,
        address: None,
        tls: None,
        send_proxy: false,
    });
    server.agent = Some(plan::Agent {
        port: 1,
        address: None,
        inter: Duration::from_secs(1),
        send: None,
    });
    change(server);
    plan
}

fn backend(process: &Process) -> Arc<Backend> {
    Arc::clone(&process.live.snapshot().backends[0])
}

fn server(process: &Process) -> Arc<Server> {
    Arc::clone(&backend(process).servers()[0])
}

fn tell(process: &Process, server: &Server, input: &Input) {
    let now = process.live.time(Instant::now());
    server.operational.lock().health.handle(now, input);
    backend(process).refresh(now);
}

#[test]
fn ready_holds_for_a_server_that_the_file_has_disabled_until_the_file_says_otherwise() {
    let disabled = || plan(|server| server.disabled = true);
    let process = Process::first(disabled());
    assert_eq!(server(&process).state(), Health::Maint);
    tell(&process, &server(&process), &Input::Admin(Admin::Ready));
    let (next, ..) = process.succeed(disabled());
    assert_eq!(server(&next).state(), Health::Up);
    assert_eq!(backend(&next).usable(), 1);
    // Another file, which has it enabled and then disabled again.
    let (next, ..) = next.succeed(plan(|_| {}));
    assert_eq!(server(&next).state(), Health::Up);
    let (next, ..) = next.succeed(disabled());
    assert_eq!(server(&next).state(), Health::Maint);
    assert_eq!(
        server(&next).operational.lock().health.reasons().maint_by,
        Some(By::Configuration)
    );
    let (next, ..) = next.succeed(plan(|_| {}));
    assert_eq!(server(&next).state(), Health::Up);
}

#[test]
fn maintenance_and_drain_are_who_said_them_and_a_failed_server_stays_down() {
    let process = Process::first(plan(|_| {}));
    for (admin, state) in [(Admin::Maint, Health::Maint), (Admin::Drain, Health::Drain)] {
        tell(&process, &server(&process), &Input::Admin(admin));
        let (next, ..) = process.succeed(plan(|_| {}));
        assert_eq!(server(&next).state(), state);
        let reasons = server(&next).operational.lock().health.reasons();
        assert_eq!(reasons.maint_by.or(reasons.drain_by), Some(By::Operator));
    }
    tell(&process, &server(&process), &Input::Admin(Admin::Ready));
    for _ in 0..3 {
        tell(&process, &server(&process), &Input::Check(false));
    }
    server(&process).operational.lock().times_down = 4;
    let (next, ..) = process.succeed(plan(|_| {}));
    assert_eq!(server(&next).state(), Health::Down);
    assert_eq!(server(&next).operational.lock().times_down, 4);
    // Who is not checked any more would be down for ever.
    let (next, ..) = next.succeed(plan(|server| (server.check, server.agent) = (None, None)));
    assert_eq!(server(&next).state(), Health::Up);
}

#[test]
fn weights_limits_checks_and_agents_are_as_the_operator_has_set_them() {
    let process = Process::first(plan(|server| server.weight = 10_u32.try_into().unwrap()));
    let old = server(&process);
    tell(&process, &old, &Input::Percent(25));
    tell(&process, &old, &Input::Checked(false));
    tell(&process, &old, &Input::AgentHealth(false));
    tell(&process, &old, &Input::Health(Operation::Stopping));
    old.adjust(|plan| {
        let (check, agent) = (plan.check.as_mut().unwrap(), plan.agent.as_mut().unwrap());
        check.port = Some(77);
        agent.address = Some([127, 0, 0, 7].into());
        agent.send = Some("hello".to_owned());
    });
    old.maxconn.store(5, Relaxed);
    let live = &process.live;
    live.rate_limits.sessions.store(66, Relaxed);
    live.snapshot().frontends[0].stopped.store(true, Relaxed);
    backend(&process).outage.lock().times = 3;

    let (next, ..) = process.succeed(plan(|server| server.weight = 10_u32.try_into().unwrap()));
    let new = server(&next);
    {
        let operational = new.operational.lock();
        let health = &operational.health;
        assert_eq!(health.base(), old.operational.lock().health.base());
        assert_eq!(health.weight(), 3, "a quarter of ten");
        assert_eq!(health.check(), None, "nobody checks it");
        assert_eq!(health.agent().map(|agent| agent.passes()), Some(false));
        assert_eq!(health.operation(), Operation::Stopping);
    }
    assert_eq!(new.plan(), old.plan());
    assert_eq!(new.maxconn.load(Relaxed), 5);
    assert_eq!(next.live.rate_limits.sessions.load(Relaxed), 66);
    assert!(next.live.snapshot().frontends[0].stopped.load(Relaxed));
    assert_eq!(backend(&next).outage.lock().times, 3);
    // And once more, from what was restored.
    let (next, ..) = next.succeed(plan(|server| server.weight = 20_u32.try_into().unwrap()));
    assert_eq!(server(&next).operational.lock().health.weight(), 20, "said anew");
    assert_eq!(server(&next).plan().check.as_ref().unwrap().port, Some(77));
}

#[test]
fn a_server_that_was_added_at_run_time_travels_with_its_sessions() {
    let disabled = || plan(|server| server.disabled = true);
    let process = Process::first(disabled());
    let now = process.live.time(Instant::now());
    let words = |text: &str| -> Vec<String> { text.split(' ').map(str::to_owned).collect() };
    let line = format!("{} id 40 weight 7 maxconn 99 backup check inter 5s", echo());
    let added = make_server(&backend(&process), "added", &words(&line), None, now).unwrap();
    make_server(&backend(&process), "other", &words("127.0.0.1:9"), None, now).unwrap();
    tell(&process, &added, &Input::Checked(false));
    tell(&process, &added, &Input::Admin(Admin::Ready));
    let clients = Clients::start(20, process.address(), |client| 10 + client * 1000);
    clients.go_on(40);

    let mut next = process;
    for _ in 0..2 {
        let (successor, given, adopted) = next.succeed(disabled());
        assert_eq!((given.sessions, given.left, adopted.refused), (20, 0, 0));
        let servers = backend(&successor).servers();
        let names: Vec<&str> = servers.iter().map(|server| &*server.name).collect();
        assert_eq!(names[1..], ["added", "other"]);
        let again = &servers[1];
        assert_eq!((again.id(), again.state()), (added.id(), Health::Up));
        assert_eq!(again.plan(), added.plan());
        assert_eq!(again.operational.lock().health.check(), None);
        assert_eq!(servers[2].state(), Health::Maint);
        clients.go_on(100);
        assert_eq!(again.sessions.now(), 20);
        next = successor;
    }
    assert_eq!(clients.end(), 20);
}
