//! A host that vanishes says nothing: no FIN, no RST. The kernel's own timers find it, in the time that the configuration
//! gives. A host that is there is left alone, however long it takes.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use warren_lab::{Broker, End, Proxy, ProxyFlavour, eventually, holds_for};

use super::{PATIENCE, Place, for_both};

for_both!(
    a_client_that_vanishes_is_let_go,
    the_clients_of_a_server_that_vanishes_are_let_go,
    a_server_that_is_there_and_reads_nothing_is_waited_for,
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

/// Idle or with data under way, which `user_timeout` is for.
#[test]
fn in_mode_amqp_a_client_is_told_that_its_server_vanished() {
    let place = Place::with(&["rabbitmq1", "rabbitmq2"]);
    let keepalive = "{ idle = \"1s\", interval = \"1s\", count = 1, user_timeout = \"1s\" }";
    let file = place.proxy.write(
        "warren.toml",
        &format!(
            "[proxy.listen.rabbitmq]\nbind = \"*:5670\"\nclient_keepalive = {keepalive}\nserver_keepalive = {keepalive}\n\
             server_defaults = {{ check = false }}\n\
             servers = {{ rabbitmq1 = \"10.77.0.3:{port}\", rabbitmq2 = \"10.77.0.4:{port}\" }}\n",
            port = Broker::PORT
        ),
    );
    let mut command = std::process::Command::new(warren_lab::warren_binary());
    command.args(["proxy", "--config"]).arg(file);
    command.args(["--runtime-dir", "/run/warren"]);
    let _proxy = place.proxy.spawn_command(command);
    eventually(PATIENCE, "it serves", || place.try_session());
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
