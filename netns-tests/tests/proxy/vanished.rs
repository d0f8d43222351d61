//! A host that vanishes says nothing: no FIN, no RST. The kernel's own timers find it, the idle with probes and the busy
//! by what stays unacknowledged, in the time that the configuration gives.

use std::io::Write;
use std::time::Instant;

use warren_lab::{Broker, End, Proxy, ProxyFlavour, eventually};

use super::{PATIENCE, Place, for_both};

for_both!(
    a_client_that_vanishes_is_let_go,
    the_clients_of_a_server_that_vanishes_are_let_go_idle_or_not,
);

/// Silence of two seconds. For what is under way ours takes the same, and HAProxy has a word of its own.
const DEFAULTS: &str = "option clitcpka\nclitcpka-idle 1s\nclitcpka-intvl 1s\nclitcpka-cnt 1\n\
                        option srvtcpka\nsrvtcpka-idle 1s\nsrvtcpka-intvl 1s\nsrvtcpka-cnt 1";

fn start(place: &Place, flavour: ProxyFlavour) -> Proxy {
    let text = place.configuration(DEFAULTS, "", "tcp-ut 1s");
    let text = text.replace("bind *:5670", "bind *:5670 tcp-ut 1s");
    Proxy::start(flavour, &place.proxy, &text)
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

fn the_clients_of_a_server_that_vanishes_are_let_go_idle_or_not(flavour: ProxyFlavour) {
    let place = Place::with(&["rabbitmq1"]);
    let _proxy = start(&place, flavour);
    let (idle, busy) = (place.session(), place.session());
    place.network.isolate(&place.server("rabbitmq1").host);
    let frame = [&[3, 0, 1, 0, 0, 0x27, 0x10][..], &[7; 10_000], &[0xCE]].concat();
    busy.stream().write_all(&frame).unwrap();
    let start = Instant::now();
    for session in [&idle, &busy] {
        assert!(matches!(session.end(PATIENCE), End::Eof | End::Reset));
    }
    println!("{flavour:?}: let go after {:?}", start.elapsed());
    eventually_logged(&place, 2, [" SD ", " sD "]);
}

/// In warren.toml both are on by default, and a client of AMQP is told when its server is gone.
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
