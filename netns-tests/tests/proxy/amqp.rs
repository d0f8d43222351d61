//! Mode amqp of warren.toml, which HAProxy does not have: connections end in their own language, and checks speak it.

use std::time::Duration;

use nix::sys::signal::Signal;
use warren_lab::{End, Process, Session, eventually, holds_for};

use super::{PATIENCE, Place};

/// A place with a proxy that was given seven lines.
struct Amqp {
    proxy: Process,
    place: Place,
}

impl Amqp {
    fn new() -> Self {
        let place = Place::new();
        let proxy = place.start_amqp("", "", "");
        Self { proxy, place }
    }

    #[track_caller]
    fn eventually_says(&self, server: &str, wanted: &str) {
        eventually(PATIENCE, &format!("{server} is {wanted}"), || {
            let text = self.place.type_in("status");
            let line = text.lines().find(|line| line.contains(server)).map(str::to_owned);
            if line.is_some_and(|line| line.contains(wanted)) {
                Ok(())
            } else {
                Err(text)
            }
        });
    }
}

#[test]
fn a_drained_server_sends_its_clients_away_in_their_own_language() {
    let it = Amqp::new();
    let (leaving, mut staying) = (it.place.session_at("rabbitmq1"), it.place.session_at("rabbitmq2"));
    it.place.type_in("drain rabbitmq/rabbitmq1");
    assert_eq!(leaving.end(PATIENCE), End::Closed(320));
    staying.exchange(1000).unwrap();
    assert!(!it.place.servers_of(6).contains(&"rabbitmq1".to_owned()));
    it.place.type_in("resume rabbitmq/rabbitmq1");
    eventually(PATIENCE, "it is used again", || {
        let servers = it.place.servers_of(3);
        if servers.contains(&"rabbitmq1".to_owned()) {
            Ok(())
        } else {
            Err(servers)
        }
    });
}

#[test]
fn a_client_is_told_when_its_server_dies() {
    let mut it = Amqp::new();
    let session = it.place.session_at("rabbitmq1");
    it.place.servers[0].broker.process.kill();
    assert_eq!(session.end(PATIENCE), End::Closed(320));
    it.place.session().exchange(1000).unwrap();
}

#[test]
fn a_frozen_server_is_found_though_its_kernel_accepts_connections() {
    let it = Amqp::new();
    it.place.broker("rabbitmq1").process.signal(Signal::SIGSTOP);
    it.eventually_says("rabbitmq1", "DOWN");
    assert!(!it.place.servers_of(6).contains(&"rabbitmq1".to_owned()));
    it.place.broker("rabbitmq1").process.signal(Signal::SIGCONT);
    eventually(PATIENCE, "it is used again", || {
        let servers = it.place.servers_of(3);
        if servers.contains(&"rabbitmq1".to_owned()) {
            Ok(())
        } else {
            Err(servers)
        }
    });
}

#[test]
fn a_proxy_that_stops_tells_every_client() {
    let mut it = Amqp::new();
    let sessions: Vec<Session> = (0..9).map(|_| it.place.session()).collect();
    it.proxy.signal(Signal::SIGTERM);
    for session in &sessions {
        assert_eq!(session.end(PATIENCE), End::Closed(320));
    }
    drop(sessions);
    let status = it.proxy.wait(PATIENCE);
    assert!(status.success(), "{status}\n{}", it.proxy.log());
}

#[test]
fn checks_reset_no_connection_and_an_idle_client_is_kept() {
    let it = Amqp::new();
    let mut idle = it.place.session();
    let before = resets(&it.place);
    holds_for(Duration::from_secs(2), "nothing changes", || {
        let seen = it.place.broker("rabbitmq1").seen();
        // Some of them are checks under way.
        if seen.open <= 3 { Ok(()) } else { Err(seen) }
    });
    let seen = it.place.broker("rabbitmq1").seen();
    assert!(seen.accepted > 5, "{seen:?}");
    assert_eq!(resets(&it.place), before, "checks leave in order");
    idle.exchange(1000).unwrap();
}

/// Established connections that a reset has ended, as the kernel of the first server has counted them.
fn resets(place: &Place) -> u64 {
    let table = place.server("rabbitmq1").host.sh("grep ^Tcp: /proc/net/snmp");
    let mut lines = table.lines().map(|line| line.split(' '));
    let (names, numbers) = (lines.next().unwrap(), lines.next().unwrap());
    let mut counts = names.zip(numbers);
    let (_, count) = counts.find(|(name, _)| *name == "EstabResets").unwrap();
    count.parse().unwrap()
}

/// What the runtime socket says and does, over the control socket and by verbs.
#[test]
fn operators_have_verbs_for_what_they_want_to_know_and_do() {
    let mut it = Amqp::new();
    let session = it.place.session_at("rabbitmq2");
    let client = session.stream().local_addr().unwrap().to_string();
    let said = it.place.type_in("sessions");
    let line = said
        .lines()
        .find(|line| line.contains(&client))
        .unwrap_or_else(|| panic!("{said}"));
    for word in ["rabbitmq/rabbitmq2", "guest", "established"] {
        assert!(line.contains(word), "{line}");
    }
    let json = |words: &str| -> serde_json::Value {
        let said = it.place.type_in(&format!("{words} --json"));
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
    };
    let sessions = json("sessions");
    assert!(
        sessions
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["client"] == client),
        "{sessions}"
    );
    assert_eq!(
        json("status")["backends"][0]["servers"].as_array().unwrap().len(),
        3
    );
    let csv = it.place.type_in("ctl show stat");
    assert!(
        csv.starts_with("# pxname,svname,") && csv.contains("\nrabbitmq,rabbitmq2,"),
        "{csv}"
    );
    it.place.type_in("ctl set server rabbitmq/rabbitmq1 state maint");
    it.eventually_says("rabbitmq1", "MAINT");
    assert!(it.place.type_in("why").contains("rabbitmq1"));
    it.place.type_in("ready");
    it.place.type_in("ready rabbitmq");
    it.place
        .servers
        .iter_mut()
        .for_each(|server| server.broker.process.kill());
    for server in ["rabbitmq2", "rabbitmq3"] {
        it.eventually_says(server, "DOWN");
    }
    let command = format!(
        "{} proxy ready --runtime-dir /run/warren",
        warren_lab::warren_binary().display()
    );
    let refused = it.place.proxy.try_sh(&command);
    assert!(!refused.status.success(), "{refused:?}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut it = Amqp::new();
    // It does not answer when it is told to go.
    let silent = it.place.session();
    it.proxy.signal(Signal::SIGTERM);
    eventually(PATIENCE, "it is stopping", || {
        let log = it.proxy.log();
        if log.contains("stopping") {
            Ok(())
        } else {
            Err(log)
        }
    });
    holds_for(Duration::from_millis(500), "the client is waited for", || {
        if it.proxy.is_running() {
            Ok(())
        } else {
            Err(it.proxy.log())
        }
    });
    let start = std::time::Instant::now();
    it.proxy.signal(Signal::SIGTERM);
    assert!(it.proxy.wait(PATIENCE).success());
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    drop(silent);
}
