//! Servers, clients and cables that fail in every way they can.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use warren_lab::{Broker, End, Load, ProxyFlavour, eventually, holds_for};

use super::{CHECK, PATIENCE, Place, eventually_status, for_both};

for_both!(
    a_server_that_crashes_is_left_and_comes_back,
    a_server_that_refuses_costs_no_client_anything,
    a_server_that_accepts_nothing_costs_clients_time_but_no_connection,
    a_frozen_server_is_found_by_a_check_that_expects_a_greeting,
    a_reset_in_the_middle_reaches_the_client_and_the_log,
    a_client_whose_host_vanishes_is_let_go,
    a_server_that_cannot_be_reached_is_left_and_comes_back,
    a_flapping_server_disturbs_nobody_at_the_others,
    sessions_end_when_their_server_is_marked_down_if_asked_for,
    without_any_server_clients_are_sent_away_at_once,
    a_slow_greeting_is_waited_for,
);

fn a_server_that_crashes_is_left_and_comes_back(flavour: ProxyFlavour) {
    let mut place = Place::new();
    let proxy = place.start(flavour);
    let (lost, mut kept) = (place.session_at("rabbitmq1"), place.session_at("rabbitmq2"));
    place.servers[0].broker.process.kill();
    assert!(matches!(lost.end(PATIENCE), End::Eof | End::Reset));
    eventually_status(&proxy, "rabbitmq1", "DOWN");
    assert!(!place.servers_of(10).contains(&"rabbitmq1".to_owned()));
    kept.exchange(5000).unwrap();

    place.servers[0].broker = Broker::start(&place.servers[0].host);
    eventually_status(&proxy, "rabbitmq1", "UP");
    assert!(place.servers_of(3).contains(&"rabbitmq1".to_owned()));
    let said = place.log.messages("Server rabbitmq/rabbitmq1 is");
    assert!(
        said[0].contains("is DOWN, reason: Layer4 connection problem"),
        "{said:?}"
    );
    assert!(said[1].contains("is UP, reason: Layer4 check passed"), "{said:?}");
}

fn a_server_that_refuses_costs_no_client_anything(flavour: ProxyFlavour) {
    let place = Place::new();
    // Checks come too late to help.
    let proxy = place.start_with(flavour, "", "", "check inter 60s");
    eventually_status(&proxy, "rabbitmq1", "UP");
    std::thread::sleep(Duration::from_millis(300));
    place.broker("rabbitmq1").tell("refuse");
    std::thread::sleep(Duration::from_millis(100));
    let servers = place.servers_of(9);
    assert!(!servers.contains(&"rabbitmq1".to_owned()), "{servers:?}");
    let statistics = proxy.statistics();
    assert_eq!(proxy.status("rabbitmq", "rabbitmq1"), "UP");
    // Another server is tried at once, so nothing is tried twice.
    let counts = ["wretr", "wredis"].map(|field| statistics.number("rabbitmq", "BACKEND", field));
    assert!(counts[0] == 0 && counts[1] >= 3, "{counts:?}");
}

fn a_server_that_accepts_nothing_costs_clients_time_but_no_connection(flavour: ProxyFlavour) {
    let place = Place::with(&["rabbitmq1", "rabbitmq2"]);
    let _proxy = place.start_with(flavour, "timeout connect 200ms", "", "");
    let stalled = place.server("rabbitmq1");
    stalled.broker.tell("stall");
    // Its queue is filled from its own host until nothing goes in, so that the proxy finds no room in it.
    let mut filler = Vec::new();
    eventually(PATIENCE, "the queue is full", || {
        let address = (stalled.address, Broker::PORT).into();
        let patience = Duration::from_millis(200);
        match stalled
            .host
            .enter(|| TcpStream::connect_timeout(&address, patience))
        {
            Err(error) if error.kind() == ErrorKind::TimedOut => Ok(()),
            other => {
                filler.extend(other);
                Err("there was room")
            }
        }
    });
    let start = Instant::now();
    let servers = place.servers_of(4);
    assert!(servers.iter().all(|server| server == "rabbitmq2"), "{servers:?}");
    assert!(
        start.elapsed() > Duration::from_millis(200),
        "{:?}",
        start.elapsed()
    );
    drop(filler);
}

fn a_frozen_server_is_found_by_a_check_that_expects_a_greeting(flavour: ProxyFlavour) {
    let place = Place::new();
    let check = "option tcp-check\ntcp-check connect\ntcp-check send-binary 414d515000000901\n\
                 tcp-check expect string RabbitMQ\ntimeout check 300ms";
    let proxy = place.start_with(flavour, "", check, CHECK);
    eventually_status(&proxy, "rabbitmq1", "UP");
    let mut kept = place.session_at("rabbitmq2");
    place.broker("rabbitmq1").process.signal(Signal::SIGSTOP);
    eventually_status(&proxy, "rabbitmq1", "DOWN");
    assert_eq!(proxy.field("rabbitmq", "rabbitmq1", "check_status"), "L7TOUT");
    assert!(!place.servers_of(6).contains(&"rabbitmq1".to_owned()));
    kept.exchange(1000).unwrap();
    place.broker("rabbitmq1").process.signal(Signal::SIGCONT);
    eventually_status(&proxy, "rabbitmq1", "UP");
    assert_eq!(proxy.field("rabbitmq", "rabbitmq1", "check_status"), "L7OK");
}

fn a_reset_in_the_middle_reaches_the_client_and_the_log(flavour: ProxyFlavour) {
    let place = Place::with(&["rabbitmq1"]);
    let _proxy = place.start(flavour);
    let mut session = place.session();
    place.broker("rabbitmq1").tell("reset-after 2000");
    session.exchange(1000).unwrap();
    assert!(session.exchange(2000).is_err());
    eventually(
        PATIENCE,
        "it is logged as the server's doing, in the data",
        || {
            let lines = place.log.messages("rabbitmq/rabbitmq1");
            if lines.iter().any(|line| line.contains(" SD ")) {
                Ok(())
            } else {
                Err(lines)
            }
        },
    );
}

fn a_client_whose_host_vanishes_is_let_go(flavour: ProxyFlavour) {
    let place = Place::with(&["rabbitmq1"]);
    let _proxy = place.start_with(flavour, "timeout client 1s", "", CHECK);
    let session = place.session();
    place.client.crash();
    eventually(PATIENCE, "it is logged as silent", || {
        let lines = place.log.messages("rabbitmq/rabbitmq1");
        if lines.iter().any(|line| line.contains(" cD ")) {
            Ok(())
        } else {
            Err(lines)
        }
    });
    drop(session);
}

fn a_server_that_cannot_be_reached_is_left_and_comes_back(flavour: ProxyFlavour) {
    let place = Place::new();
    let proxy = place.start_with(flavour, "timeout connect 300ms\ntimeout check 300ms", "", CHECK);
    place.network.isolate(&place.server("rabbitmq2").host);
    eventually_status(&proxy, "rabbitmq2", "DOWN");
    assert_eq!(proxy.field("rabbitmq", "rabbitmq2", "check_status"), "L4TOUT");
    assert!(!place.servers_of(6).contains(&"rabbitmq2".to_owned()));
    place.network.heal();
    eventually_status(&proxy, "rabbitmq2", "UP");
    assert!(place.servers_of(3).contains(&"rabbitmq2".to_owned()));
}

fn a_flapping_server_disturbs_nobody_at_the_others(flavour: ProxyFlavour) {
    let place = Place::new();
    let proxy = place.start(flavour);
    let load = Load::start(&place.client, place.entry(), 6, 20);
    for _ in 0..3 {
        place.broker("rabbitmq3").tell("refuse");
        eventually_status(&proxy, "rabbitmq3", "DOWN");
        place.broker("rabbitmq3").tell("listen");
        eventually_status(&proxy, "rabbitmq3", "UP");
    }
    let report = load.stop();
    assert!(report.is_clean(), "{report:?}");
    assert!(report.exchanged > 100, "{report:?}");
    assert_eq!(report.servers.len(), 3, "{report:?}");
    assert_eq!(proxy.field("rabbitmq", "rabbitmq3", "chkdown"), "3");
}

fn sessions_end_when_their_server_is_marked_down_if_asked_for(flavour: ProxyFlavour) {
    let place = Place::new();
    let proxy = place.start_with(
        flavour,
        "timeout check 300ms",
        "",
        &format!("{CHECK} on-marked-down shutdown-sessions"),
    );
    let (lost, mut kept) = (place.session_at("rabbitmq1"), place.session_at("rabbitmq2"));
    // The connection itself would go on for ever.
    place.network.isolate(&place.server("rabbitmq1").host);
    eventually_status(&proxy, "rabbitmq1", "DOWN");
    assert_ne!(lost.end(PATIENCE), End::StillOpen);
    kept.exchange(1000).unwrap();
    eventually(PATIENCE, "it is logged as ended because of the mark", || {
        let lines = place.log.messages("rabbitmq/rabbitmq1");
        if lines.iter().any(|line| line.contains(" D- ")) {
            Ok(())
        } else {
            Err(lines)
        }
    });
}

fn without_any_server_clients_are_sent_away_at_once(flavour: ProxyFlavour) {
    let place = Place::with(&["rabbitmq1"]);
    // Whether the proxy has read anything when it turns the client away is a matter of luck.
    let proxy = place.start_with(flavour, "no option dontlognull", "", CHECK);
    place.broker("rabbitmq1").tell("refuse");
    eventually_status(&proxy, "rabbitmq1", "DOWN");
    let start = Instant::now();
    assert!(place.try_session().is_err());
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    eventually(PATIENCE, "it is logged without a server", || {
        let lines = place.log.messages("rabbitmq/<NOSRV>");
        if lines.iter().any(|line| line.contains(" SC ")) {
            Ok(())
        } else {
            Err(lines)
        }
    });
    let said = place.log.messages("has no server available!");
    assert_eq!(said.len(), 1, "{said:?}");
}

fn a_slow_greeting_is_waited_for(flavour: ProxyFlavour) {
    let place = Place::with(&["rabbitmq1"]);
    let _proxy = place.start(flavour);
    let mut early = place.session();
    place.broker("rabbitmq1").tell("greet-after 1500");
    std::thread::scope(|scope| {
        let late = scope.spawn(|| place.session());
        holds_for(Duration::from_secs(1), "others are served", || {
            early.exchange(100)
        });
        late.join().unwrap().exchange(100).unwrap();
    });
}
