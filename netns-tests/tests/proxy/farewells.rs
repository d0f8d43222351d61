//! Polite endings when several workers share the clients: each client is told once, none is forgotten, not all at once.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use warren_lab::{End, Process, Session, eventually};

use super::{PATIENCE, Place};

const CLIENTS: usize = 90;

/// A proxy with three workers and lines of yours in its `[proxy]` section.
struct Three {
    proxy: Process,
    place: Place,
}

impl Three {
    fn new(global: &str, listen: &str) -> Self {
        let place = Place::new();
        let proxy = place.start_amqp(
            &format!("threads = 3\n{global}"),
            &format!("balance = \"leastconn\"\n{listen}"),
            "slow_start = \"0s\",",
        );
        Self { proxy, place }
    }

    fn sessions(&self) -> Vec<Session> {
        (0..CLIENTS).map(|_| self.place.session()).collect()
    }

    /// The same, none of them at the third server, which is out.
    fn fled(&self) -> Vec<Session> {
        self.place.broker("rabbitmq3").tell("refuse");
        self.eventually_says("DOWN");
        self.sessions()
    }

    /// Of the third server.
    fn eventually_says(&self, wanted: &str) {
        eventually(PATIENCE, &format!("it is {wanted}"), || {
            let text = self.place.type_in("status");
            let line = text.lines().find(|line| line.contains("rabbitmq3"));
            if line.is_some_and(|line| line.contains(wanted)) {
                Ok(())
            } else {
                Err(text.clone())
            }
        });
    }
}

/// How each session ends, and when.
fn ends(sessions: &[Session]) -> Vec<(End, Duration)> {
    let start = Instant::now();
    std::thread::scope(|scope| {
        let waiting: Vec<_> = sessions
            .iter()
            .map(|session| scope.spawn(move || (session.end(PATIENCE), start.elapsed())))
            .collect();
        waiting
            .into_iter()
            .map(|waiting| waiting.join().unwrap())
            .collect()
    })
}

#[track_caller]
fn assert_all_were_told(ends: &[(End, Duration)]) {
    let missed: Vec<_> = ends.iter().filter(|(end, _)| *end != End::Closed(320)).collect();
    assert!(
        missed.is_empty(),
        "{} of {}: {missed:?}",
        missed.len(),
        ends.len()
    );
}

/// How long it took from the first to the last.
fn spread(ends: &[(End, Duration)]) -> Duration {
    let times = || ends.iter().map(|(_, when)| *when);
    times().max().unwrap_or_default() - times().min().unwrap_or_default()
}

#[test]
fn a_drained_server_loses_so_many_per_second_whoever_serves_them() {
    let it = Three::new("drain_rate = 30", "");
    let sessions = it.sessions();
    let (leaving, mut staying): (Vec<_>, Vec<_>) = sessions
        .into_iter()
        .partition(|session| session.server() == "rabbitmq1");
    assert_eq!(leaving.len(), CLIENTS / 3);
    it.place.type_in("drain rabbitmq/rabbitmq1");
    let ends = ends(&leaving);
    assert_all_were_told(&ends);
    // Thirty at thirty per second; the first three, one of each worker, have not waited.
    let spread = spread(&ends);
    assert!(
        spread > Duration::from_millis(600) && spread < Duration::from_secs(3),
        "{spread:?}"
    );
    for session in &mut staying {
        session.exchange(100).unwrap();
    }
}

#[test]
fn a_process_that_stops_tells_all_of_them_in_the_time_it_has() {
    // At this rate it would take a minute and a half.
    let mut it = Three::new("drain_rate = 1\ndrain_timeout = \"3s\"", "");
    let sessions = it.sessions();
    it.proxy.signal(Signal::SIGTERM);
    let start = Instant::now();
    let ends = ends(&sessions);
    assert_all_were_told(&ends);
    let (took, spread) = (start.elapsed(), spread(&ends));
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert!(spread > Duration::from_millis(700), "not all at once: {spread:?}");
    drop(sessions);
    assert!(it.proxy.wait(PATIENCE).success());
}

#[test]
fn clients_that_come_while_the_process_stops_are_told_too() {
    let mut it = Three::new("drain_timeout = \"4s\"", "");
    let place = &it.place;
    let (told, others) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    // Until nobody listens any more.
                    let mut sessions = Vec::new();
                    while let Ok(session) = place.try_session() {
                        sessions.push(session);
                    }
                    sessions
                })
            })
            .collect();
        eventually(PATIENCE, "they come and come", || {
            let seen = place.broker("rabbitmq1").seen().logged_in;
            if seen > 20 { Ok(()) } else { Err(seen) }
        });
        it.proxy.signal(Signal::SIGTERM);
        let sessions: Vec<Session> = clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect();
        ends(&sessions)
            .into_iter()
            .map(|(end, _)| end)
            .partition::<Vec<End>, _>(|end| *end == End::Closed(320))
    });
    assert!(others.is_empty(), "{} were told, {others:?} not", told.len());
    assert!(it.proxy.wait(PATIENCE).success());
}

#[test]
fn the_clients_of_a_server_that_dies_are_told_by_every_worker() {
    let mut it = Three::new("", "");
    let sessions = it.sessions();
    let lost: Vec<Session> = sessions
        .into_iter()
        .filter(|session| session.server() == "rabbitmq1")
        .collect();
    it.place.servers[0].broker.process.kill();
    assert_all_were_told(&ends(&lost));
}

#[test]
fn a_server_that_returns_gets_its_share_of_idle_clients_of_every_worker() {
    let it = Three::new("", "rebalance = { after = \"1s\", idle = \"1s\", rate = 100 }");
    let sessions = it.fled();
    it.place.broker("rabbitmq3").tell("listen");
    the_third_server_gets_its_share(&it.place, sessions, Duration::from_secs(6));
}

#[test]
fn an_operator_may_have_connections_moved_that_would_stay_otherwise() {
    let it = Three::new("", "");
    let sessions = it.fled();
    it.place.broker("rabbitmq3").tell("listen");
    it.eventually_says("UP");
    // Nobody is moved unasked.
    std::thread::sleep(Duration::from_secs(2));
    let statistics = it.place.type_in("ctl show stat rabbitmq 4 -1");
    let row = statistics.lines().find(|line| line.contains(",rabbitmq3,"));
    assert_eq!(
        row.and_then(|row| row.split(',').nth(4)),
        Some("0"),
        "{statistics}"
    );
    let said = std::thread::scope(|scope| {
        let asked = scope.spawn(|| it.place.type_in("rebalance rabbitmq"));
        the_third_server_gets_its_share(&it.place, sessions, Duration::from_secs(9));
        asked.join().unwrap()
    });
    assert!(
        said.contains("clients were told to connect again; nothing more can be moved"),
        "{said}"
    );
    let binary = warren_lab::warren_binary();
    let command = format!(
        "{} proxy rebalance nobody --runtime-dir /run/warren",
        binary.display()
    );
    let refused = it.place.proxy.try_sh(&command);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && said.contains("nobody is no backend of mode amqp"),
        "{refused:?}"
    );
}

/// A third of the clients come to the server that returned, and not many more than those have been moved.
fn the_third_server_gets_its_share(place: &Place, sessions: Vec<Session>, patience: Duration) {
    // Whoever is told to go comes back, as client libraries do.
    let servers: Vec<(bool, String)> = std::thread::scope(|scope| {
        let clients: Vec<_> = sessions
            .into_iter()
            .map(|session| {
                scope.spawn(move || match session.end(patience) {
                    End::StillOpen => (false, session.server().to_owned(), session),
                    End::Closed(320) => {
                        let session = place.session();
                        (true, session.server().to_owned(), session)
                    }
                    other => panic!("{other:?}"),
                })
            })
            .collect();
        let held: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        held.into_iter()
            .map(|(moved, server, _)| (moved, server))
            .collect()
    });
    let moved = servers.iter().filter(|(moved, _)| *moved).count();
    let there = servers.iter().filter(|(_, server)| server == "rabbitmq3").count();
    assert!(
        (25..=35).contains(&there) && moved <= there + 5,
        "{moved} were moved, {there} are there"
    );
}
