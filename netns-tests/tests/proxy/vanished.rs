//! A host that vanishes says nothing: no FIN, no RST. It is found in the time that the configuration gives: by the kernel's
//! own timers while nothing is under way, by what it leaves unanswered otherwise. A host that is there is left alone,
//! however long it takes.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use warren_lab::{Broker, End, Proxy, ProxyFlavour, Session, eventually, holds_for};

use super::{PATIENCE, Place, for_both};

for_both!(
    a_client_that_vanishes_is_let_go,
    the_clients_of_a_server_that_vanishes_are_let_go,
    a_server_that_is_there_and_reads_nothing_is_waited_for,
    whoever_takes_nothing_for_longer_than_tcp_ut_is_let_go,
);

/// Silence of two seconds.
const DEFAULTS: &str = "option clitcpka\nclitcpka-idle 1s\nclitcpka-intvl 1s\nclitcpka-cnt 1\n\
                        option srvtcpka\nsrvtcpka-idle 1s\nsrvtcpka-intvl 1s\nsrvtcpka-cnt 1";

fn start(place: &Place, flavour: ProxyFlavour) -> Proxy {
    place.start_with(flavour, DEFAULTS, "", "")
}

#[track_caller]
fn eventually_logged(place: &Place, count: usize, states: [&str; 2]) {
    eventually(PATIENCE, &format!("{count} lines with {states:?}"), || {
        let lines = place.log.messages("rabbitmq/rabbitmq1");
        let found = lines
            .iter()
            .filter(|line| states.iter().any(|state| line.contains(state)))
            .count();
        if found == count { Ok(()) } else { Err(lines) }
    });
}

fn a_client_that_vanishes_is_let_go(flavour: ProxyFlavour) {
    let place = Place::with(&["rabbitmq1"]);
    let proxy = start(&place, flavour);
    let idle = place.session();
    // What is still under way would be sent again and again, and no probe.
    eventually(PATIENCE, "it has acknowledged all it was sent", || {
        let queue = place
            .proxy
            .sh("ss -Htn state established '( sport = :5670 )' | awk '{print $2}'");
        if queue.trim() == "0" { Ok(()) } else { Err(queue) }
    });
    place.network.isolate(&place.client);
    let start = Instant::now();
    // Of the client's kernel, as it is noticed.
    eventually_logged(&place, 1, [" CD ", " cD "]);
    println!("{flavour:?}: let go after {:?}", start.elapsed());
    assert_eq!(proxy.field("rabbitmq", "FRONTEND", "scur"), "0");
    eventually(PATIENCE, "the server has been told", || {
        let open = place.broker("rabbitmq1").seen().open;
        if open == 0 { Ok(()) } else { Err(open) }
    });
    drop(idle);
}

fn the_clients_of_a_server_that_vanishes_are_let_go(flavour: ProxyFlavour) {
    let place = Place::with(&["rabbitmq1"]);
    let _proxy = start(&place, flavour);
    let idle = place.session();
    place.network.isolate(&place.server("rabbitmq1").host);
    assert!(matches!(idle.end(PATIENCE), End::Eof | End::Reset));
    eventually_logged(&place, 1, [" SD ", " sD "]);
}

/// As RabbitMQ does with publishers while it has an alarm: their octets wait, for as long as it takes.
fn a_server_that_is_there_and_reads_nothing_is_waited_for(flavour: ProxyFlavour) {
    let place = Place::with(&["rabbitmq1"]);
    let proxy = start(&place, flavour);
    let session = place.session();
    let broker = &place.broker("rabbitmq1").process;
    broker.signal(Signal::SIGSTOP);
    let frame = [&[3, 0, 1, 0, 1, 0x86, 0xA0][..], &[7; 100_000], &[0xCE]].concat();
    let patience = Some(Duration::from_millis(300));
    session.stream().set_write_timeout(patience).unwrap();
    while session.stream().write_all(&frame).is_ok() {}
    // Longer than any probe may take.
    holds_for(Duration::from_secs(4), "it is kept", || {
        let sessions = proxy.field("rabbitmq", "FRONTEND", "scur");
        if sessions == "1" { Ok(()) } else { Err(sessions) }
    });
    broker.signal(Signal::SIGCONT);
    // What was sent comes back.
    let mut first = [0; 100_008];
    session.stream().set_read_timeout(Some(PATIENCE)).unwrap();
    session.stream().read_exact(&mut first).unwrap();
    assert_eq!(first[..], frame[..]);
}

/// The kernel ends both sides, one soon after the other, with octets for either of them at hand.
fn whoever_takes_nothing_for_longer_than_tcp_ut_is_let_go(flavour: ProxyFlavour) {
    let place = Place::with(&["rabbitmq1"]);
    let text = place.configuration(DEFAULTS, "", "tcp-ut 1s");
    let text = text.replace("bind *:5670", "bind *:5670 tcp-ut 1s");
    let proxy = Proxy::start(flavour, &place.proxy, &text);
    let session = place.session();
    fill(&session);
    place.network.isolate(&place.client);
    eventually_logged(&place, 1, [" CD ", " SD "]);
    assert_eq!(proxy.field("rabbitmq", "FRONTEND", "scur"), "0");
}

/// A proxy whose limits for silence and for what is under way are those, in front of the brokers.
fn start_watching(place: &Place, mode: &str, unanswered: &str) -> warren_lab::Process {
    let keepalive =
        format!("{{ idle = \"1s\", interval = \"1s\", count = 1, unanswered = \"{unanswered}\" }}");
    let servers: Vec<String> = place
        .servers
        .iter()
        .map(|server| {
            format!(
                "{} = \"{}:{}\"",
                server.broker.name(),
                server.address,
                Broker::PORT
            )
        })
        .collect();
    let file = place.proxy.write(
        "warren.toml",
        &format!(
            "[proxy]\nlog = [\"127.0.0.1 local0 info\"]\n\
             [proxy.listen.rabbitmq]\nmode = \"{mode}\"\nbalance = \"roundrobin\"\nbind = \"*:5670\"\nclient_keepalive = {keepalive}\n\
             server_keepalive = {keepalive}\nserver_defaults = {{ check = false }}\n\
             servers = {{ {} }}\n",
            servers.join(", ")
        ),
    );
    let mut command = std::process::Command::new(warren_lab::warren_binary());
    command.args(["proxy", "--config"]).arg(file);
    command.args(["--runtime-dir", "/run/warren"]);
    let proxy = place.proxy.spawn_command(command);
    eventually(PATIENCE, "it serves", || place.try_session());
    proxy
}

/// Sends until nothing more goes in. The server sends everything back, and nobody reads it.
fn fill(session: &Session) {
    let frame = [&[3, 0, 1, 0, 1, 0x86, 0xA0][..], &[7; 100_000], &[0xCE]].concat();
    let patience = Some(Duration::from_millis(200));
    session.stream().set_write_timeout(patience).unwrap();
    while session.stream().write_all(&frame).is_ok() {}
}

/// Octets that the proxy has for, or has not heard of from, whoever is at this end.
fn under_way(place: &Place, end: &str) -> u64 {
    let table = format!("ss -Htn state established '( {end} )'");
    let table = place.proxy.sh(&table);
    let queues = table.lines().filter_map(|line| line.split_whitespace().nth(1));
    queues.filter_map(|queue| queue.parse::<u64>().ok()).sum()
}

#[test]
fn a_client_that_vanishes_is_let_go_whatever_is_under_way() {
    let place = Place::with(&["rabbitmq1"]);
    let _proxy = start_watching(&place, "tcp", "2s");
    let (receiving, full) = (place.session(), place.session());
    fill(&full);
    assert!(under_way(&place, "sport = :5670") > 0);
    place.network.isolate(&place.client);
    // It comes back to a client that is not there any more.
    let start = Instant::now();
    eventually(PATIENCE, "the server has been told of both", || {
        let open = place.broker("rabbitmq1").seen().open;
        if open == 0 { Ok(()) } else { Err(open) }
    });
    println!("let go after {:?}", start.elapsed());
    drop((receiving, full));
}

#[test]
fn the_clients_of_a_server_that_vanishes_are_let_go_whatever_is_under_way() {
    for mode in ["tcp", "amqp"] {
        let place = Place::with(&["rabbitmq1"]);
        let _proxy = start_watching(&place, mode, "2s");
        let (sending, full) = (place.session(), place.session());
        fill(&full);
        place.network.isolate(&place.server("rabbitmq1").host);
        let frame = [&[3, 0, 1, 0, 0, 0x27, 0x10][..], &[7; 10_000], &[0xCE]].concat();
        sending.stream().write_all(&frame).unwrap();
        let start = Instant::now();
        match mode {
            "tcp" => assert!(matches!(sending.end(PATIENCE), End::Eof | End::Reset)),
            _ => assert_eq!(sending.end(PATIENCE), End::Closed(320)),
        }
        println!("{mode}: let go after {:?}", start.elapsed());
        // The other one has not read what came back: it is still for it.
        full.stream().set_read_timeout(Some(PATIENCE)).unwrap();
        let mut scratch = vec![0; 1 << 20];
        while matches!(full.stream().read(&mut scratch), Ok(count) if count > 0) {}
        eventually(PATIENCE, "nothing is left", || {
            let open = place.proxy.sh("ss -Htn state established '( sport = :5670 )'");
            if open.is_empty() { Ok(()) } else { Err(open) }
        });
    }
}

/// Not so with HAProxy, which has to be asked.
#[test]
fn both_sides_are_watched_unless_that_is_switched_off() {
    for (defaults, watched) in [
        ("", 2),
        ("no option clitcpka", 1),
        ("no option clitcpka\nno option srvtcpka", 0),
    ] {
        let place = Place::with(&["rabbitmq1"]);
        let _proxy = place.start_with(ProxyFlavour::Warren, defaults, "", "");
        let _idle = place.session();
        eventually(
            PATIENCE,
            &format!("{watched} have a timer after {defaults:?}"),
            || {
                let table = "ss -Htno state established '( sport = :5670 or dport = :5672 )'";
                let table = place.proxy.sh(table);
                let found = table.matches("timer:(keepalive").count();
                let all = table.lines().count();
                if (found, all) == (watched, 2) {
                    Ok(())
                } else {
                    Err(table)
                }
            },
        );
    }
}

/// Several times the limit, and longer than the kernel waits between two of its questions at first.
#[test]
fn who_is_there_and_reads_nothing_is_waited_for_beyond_every_limit() {
    let place = Place::with(&["rabbitmq1"]);
    let _proxy = start_watching(&place, "tcp", "1s");
    let (client, server) = (place.session(), place.session());
    fill(&client);
    let broker = &place.broker("rabbitmq1").process;
    broker.signal(Signal::SIGSTOP);
    fill(&server);
    for end in ["sport = :5670", "dport = :5672"] {
        assert!(under_way(&place, end) > 0, "{end}");
    }
    holds_for(Duration::from_secs(8), "both are kept", || {
        let open = place
            .proxy
            .sh("ss -Htn state established '( sport = :5670 )' | wc -l");
        if open.trim() == "2" { Ok(()) } else { Err(open) }
    });
    broker.signal(Signal::SIGCONT);
    for session in [client, server] {
        let mut first = [0; 100_008];
        session.stream().set_read_timeout(Some(PATIENCE)).unwrap();
        session.stream().read_exact(&mut first).unwrap();
        assert_eq!(first[..7], [3, 0, 1, 0, 1, 0x86, 0xA0]);
    }
}

/// Idle or with data under way.
#[test]
fn in_mode_amqp_a_client_is_told_that_its_server_vanished() {
    let place = Place::with(&["rabbitmq1", "rabbitmq2"]);
    let _proxy = start_watching(&place, "amqp", "1s");
    let (idle, busy) = (place.session_at("rabbitmq1"), place.session_at("rabbitmq1"));
    let mut other = place.session_at("rabbitmq2");
    place.network.isolate(&place.server("rabbitmq1").host);
    let frame = [&[3, 0, 1, 0, 0, 0x27, 0x10][..], &[7; 10_000], &[0xCE]].concat();
    busy.stream().write_all(&frame).unwrap();
    let start = Instant::now();
    for session in [&idle, &busy] {
        assert_eq!(session.end(PATIENCE), End::Closed(320));
    }
    println!("told after {:?}", start.elapsed());
    other.exchange(1000).unwrap();
}
