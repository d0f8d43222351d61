//! Who gets a connection, while all is well and while an operator works on the servers.

use std::collections::BTreeMap;
use std::time::Duration;

use warren_lab::{End, ProxyFlavour, eventually};

use super::{CHECK, PATIENCE, Place, eventually_status, for_both};

for_both!(
    round_robin_gives_every_server_the_same,
    weights_are_proportions,
    static_round_robin_keeps_to_the_weights_of_the_file,
    random_prefers_nobody,
    leastconn_fills_up_the_emptiest,
    source_keeps_a_client_at_its_server,
    first_fills_one_server_before_the_next,
    a_drained_server_gets_nothing_new_and_keeps_what_it_has,
    a_server_in_maintenance_is_not_checked_and_gets_nothing,
    a_full_server_makes_clients_wait_in_order,
    a_client_that_waits_too_long_is_sent_away,
    the_backup_serves_only_while_no_other_can,
    all_backups_share_the_work_if_asked_for,
    sessions_at_a_backup_end_when_it_is_not_needed_any_more_if_asked_for,
    sessions_can_be_shut_down_by_an_operator,
    a_half_closed_connection_still_gets_its_answer,
);

fn counted(servers: Vec<String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for server in servers {
        *counts.entry(server).or_default() += 1;
    }
    counts
}

fn round_robin_gives_every_server_the_same(flavour: ProxyFlavour) {
    let place = Place::new();
    let proxy = place.start(flavour);
    let counts = counted(place.servers_of(30));
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [10, 10, 10]);
    eventually(PATIENCE, "all sessions are counted", || {
        let statistics = proxy.statistics();
        let totals = ["rabbitmq1", "rabbitmq2", "rabbitmq3", "FRONTEND", "BACKEND"]
            .map(|name| statistics.number("rabbitmq", name, "stot"));
        if totals == [10, 10, 10, 30, 30] {
            Ok(())
        } else {
            Err(totals)
        }
    });
}

fn weights_are_proportions(flavour: ProxyFlavour) {
    let place = Place::new();
    let proxy = place.start(flavour);
    proxy.ask("set server rabbitmq/rabbitmq1 weight 2");
    let counts = counted(place.servers_of(40));
    assert_eq!(counts["rabbitmq1"], 20, "{counts:?}");
    assert_eq!(counts["rabbitmq2"], 10, "{counts:?}");
    assert_eq!(proxy.field("rabbitmq", "rabbitmq1", "weight"), "2");
}

fn static_round_robin_keeps_to_the_weights_of_the_file(flavour: ProxyFlavour) {
    let place = Place::new();
    let text = place.configuration("", "balance static-rr", CHECK);
    let weighed = "server rabbitmq1 10.77.0.3:5672 weight 2";
    let text = text.replace("server rabbitmq1 10.77.0.3:5672", weighed);
    let proxy = warren_lab::Proxy::start(flavour, &place.proxy, &text);
    let counts = counted(place.servers_of(40));
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [20, 10, 10]);
    let refusal = "Backend is using a static LB algorithm and only accepts weights '0%' and '100%'.";
    for (weight, answer) in [
        ("3", refusal),
        ("50%", refusal),
        ("2", ""),
        ("0%", ""),
        ("100%", ""),
    ] {
        let said = proxy.ask(&format!("set server rabbitmq/rabbitmq1 weight {weight}"));
        assert_eq!(said.trim(), answer, "{weight}");
    }
}

fn random_prefers_nobody(flavour: ProxyFlavour) {
    let place = Place::new();
    let _proxy = place.start_with(flavour, "", "balance random", CHECK);
    let counts = counted(place.servers_of(150));
    // Four standard deviations.
    assert!(
        counts.len() == 3 && counts.values().all(|count| (26..=74).contains(count)),
        "{counts:?}"
    );
}

fn leastconn_fills_up_the_emptiest(flavour: ProxyFlavour) {
    let place = Place::new();
    let _proxy = place.start_with(flavour, "", "balance leastconn", CHECK);
    let held: Vec<_> = (0..9).map(|_| place.session()).collect();
    let counts = counted(held.iter().map(|session| session.server().to_owned()).collect());
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [3, 3, 3]);
    let (gone, kept): (Vec<_>, Vec<_>) = held
        .into_iter()
        .partition(|session| session.server() == "rabbitmq2");
    gone.into_iter().for_each(|session| session.close().unwrap());
    eventually(PATIENCE, "the server is empty", || {
        let open = place.broker("rabbitmq2").seen().open;
        if open <= 1 { Ok(()) } else { Err(open) }
    });
    std::thread::sleep(Duration::from_millis(50));
    let held: Vec<_> = (0..3).map(|_| place.session()).collect();
    assert!(
        held.iter().all(|session| session.server() == "rabbitmq2"),
        "{held:?}"
    );
    drop(kept);
}

fn source_keeps_a_client_at_its_server(flavour: ProxyFlavour) {
    let place = Place::new();
    let _proxy = place.start_with(flavour, "", "balance source", CHECK);
    let counts = counted(place.servers_of(10));
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [10]);
}

fn first_fills_one_server_before_the_next(flavour: ProxyFlavour) {
    let place = Place::new();
    let _proxy = place.start_with(flavour, "", "balance first", &format!("{CHECK} maxconn 2"));
    let held: Vec<_> = (0..5).map(|_| place.session()).collect();
    let servers: Vec<&str> = held.iter().map(|session| session.server()).collect();
    assert_eq!(
        servers,
        ["rabbitmq1", "rabbitmq1", "rabbitmq2", "rabbitmq2", "rabbitmq3"]
    );
}

fn a_drained_server_gets_nothing_new_and_keeps_what_it_has(flavour: ProxyFlavour) {
    let place = Place::new();
    let proxy = place.start(flavour);
    let mut session = place.session_at("rabbitmq2");
    assert_eq!(proxy.ask("set server rabbitmq/rabbitmq2 state drain").trim(), "");
    eventually_status(&proxy, "rabbitmq2", "DRAIN");
    assert!(!counted(place.servers_of(10)).contains_key("rabbitmq2"));
    session.exchange(1000).unwrap();
    proxy.ask("set server rabbitmq/rabbitmq2 state ready");
    eventually_status(&proxy, "rabbitmq2", "UP");
    assert_eq!(counted(place.servers_of(9))["rabbitmq2"], 3);
    session.exchange(1000).unwrap();
}

fn a_server_in_maintenance_is_not_checked_and_gets_nothing(flavour: ProxyFlavour) {
    let place = Place::new();
    let proxy = place.start(flavour);
    let mut session = place.session_at("rabbitmq3");
    proxy.ask("disable server rabbitmq/rabbitmq3");
    eventually_status(&proxy, "rabbitmq3", "MAINT");
    assert!(!counted(place.servers_of(10)).contains_key("rabbitmq3"));
    // One under way may still come.
    std::thread::sleep(Duration::from_millis(300));
    let seen = place.broker("rabbitmq3").seen();
    std::thread::sleep(Duration::from_millis(800));
    assert_eq!(
        place.broker("rabbitmq3").seen().accepted,
        seen.accepted,
        "four checks were due"
    );
    session.exchange(1000).unwrap();
    proxy.ask("enable server rabbitmq/rabbitmq3");
    eventually_status(&proxy, "rabbitmq3", "UP");
    assert_eq!(counted(place.servers_of(9))["rabbitmq3"], 3);
}

fn a_full_server_makes_clients_wait_in_order(flavour: ProxyFlavour) {
    let place = Place::with(&["rabbitmq1"]);
    let proxy = place.start_with(flavour, "timeout queue 10s", "", &format!("{CHECK} maxconn 1"));
    let mut served = place.session();
    std::thread::scope(|scope| {
        let waiting = [1, 2, 3].map(|count| {
            let client = scope.spawn(|| place.session());
            eventually(PATIENCE, "so many wait", || {
                let waiting = proxy.statistics().number("rabbitmq", "rabbitmq1", "qcur")
                    + proxy.statistics().number("rabbitmq", "BACKEND", "qcur");
                if waiting == count { Ok(()) } else { Err(waiting) }
            });
            client
        });
        std::thread::sleep(Duration::from_millis(300));
        let mut waiting = waiting.into_iter();
        while let Some(next) = waiting.next() {
            served.close().unwrap();
            served = next.join().unwrap();
            served.exchange(100).unwrap();
            assert!(waiting.as_slice().iter().all(|later| !later.is_finished()));
        }
    });
    eventually(PATIENCE, "the one that waited is logged", || {
        let lines = place.log.messages("rabbitmq/rabbitmq1");
        // Tw/Tc/Tt: it waited for about as long as the first stayed.
        let waited = lines.iter().filter_map(|line| {
            let times = line.split(' ').nth(4)?;
            times.split('/').next()?.parse::<u64>().ok()
        });
        if waited.max() >= Some(300) {
            Ok(())
        } else {
            Err(lines)
        }
    });
}

fn a_client_that_waits_too_long_is_sent_away(flavour: ProxyFlavour) {
    let place = Place::with(&["rabbitmq1"]);
    let _proxy = place.start_with(flavour, "timeout queue 300ms", "", &format!("{CHECK} maxconn 1"));
    let mut first = place.session();
    assert!(place.try_session().is_err());
    first.exchange(100).unwrap();
    eventually(PATIENCE, "it is logged as one that never got a server", || {
        let lines = place.log.messages("<NOSRV>");
        if lines.iter().any(|line| line.contains(" sQ ")) {
            Ok(())
        } else {
            Err(lines)
        }
    });
}

fn the_backup_serves_only_while_no_other_can(flavour: ProxyFlavour) {
    let mut place = Place::with(&["rabbit", "rabbit_backup"]);
    let plain = place.configuration("", "", CHECK);
    let proxy = warren_lab::Proxy::start(
        flavour,
        &place.proxy,
        &plain.replace(
            &format!("server rabbit_backup 10.77.0.4:5672 {CHECK}"),
            &format!("server rabbit_backup 10.77.0.4:5672 backup {CHECK}"),
        ),
    );
    let only = |name: &str| BTreeMap::from([(name.to_owned(), 6)]);
    assert_eq!(counted(place.servers_of(6)), only("rabbit"));
    let session = place.session();
    place.servers[0].broker.process.kill();
    assert_ne!(session.end(PATIENCE), End::StillOpen);
    eventually_status(&proxy, "rabbit", "DOWN");
    assert_eq!(counted(place.servers_of(6)), only("rabbit_backup"));
    let mut at_the_backup = place.session();

    place.servers[0].broker = warren_lab::Broker::start(&place.servers[0].host);
    eventually_status(&proxy, "rabbit", "UP");
    assert_eq!(counted(place.servers_of(6)), only("rabbit"));
    at_the_backup.exchange(1000).unwrap();
    assert_eq!(at_the_backup.server(), "rabbit_backup");
}

/// A configuration in which all servers but the first are backups.
fn with_backups(place: &Place, listen: &str, server: &str) -> String {
    let text = place.configuration("", listen, server);
    let lines = text.lines().map(|line| {
        let is_backup = line.contains("server backup");
        format!("{line}{}\n", if is_backup { " backup" } else { "" })
    });
    lines.collect()
}

fn all_backups_share_the_work_if_asked_for(flavour: ProxyFlavour) {
    for (option, shares) in [("", &[6][..]), ("option allbackups", &[3, 3])] {
        let mut place = Place::with(&["rabbit", "backup1", "backup2"]);
        let text = with_backups(&place, option, CHECK);
        let proxy = warren_lab::Proxy::start(flavour, &place.proxy, &text);
        assert!(place.servers_of(3).iter().all(|server| server == "rabbit"));
        place.servers[0].broker.process.kill();
        eventually_status(&proxy, "rabbit", "DOWN");
        let counts = counted(place.servers_of(6));
        assert!(!counts.contains_key("rabbit"), "{counts:?}");
        assert_eq!(counts.into_values().collect::<Vec<_>>(), shares, "{option}");
    }
}

fn sessions_at_a_backup_end_when_it_is_not_needed_any_more_if_asked_for(flavour: ProxyFlavour) {
    let mut place = Place::with(&["rabbit", "backup"]);
    let server = format!("{CHECK} on-marked-up shutdown-backup-sessions");
    let text = with_backups(&place, "", &server);
    let proxy = warren_lab::Proxy::start(flavour, &place.proxy, &text);
    eventually_status(&proxy, "rabbit", "UP");
    place.servers[0].broker.process.kill();
    eventually_status(&proxy, "rabbit", "DOWN");
    let session = place.session();
    assert_eq!(session.server(), "backup");
    place.servers[0].broker = warren_lab::Broker::start(&place.servers[0].host);
    eventually_status(&proxy, "rabbit", "UP");
    assert_ne!(session.end(PATIENCE), End::StillOpen);
    assert_eq!(place.session().server(), "rabbit");
    eventually(PATIENCE, "it is logged as ended because of the mark", || {
        let lines = place.log.messages("rabbitmq/backup");
        if lines.iter().any(|line| line.contains(" U- ")) {
            Ok(())
        } else {
            Err(lines)
        }
    });
}

fn sessions_can_be_shut_down_by_an_operator(flavour: ProxyFlavour) {
    let place = Place::new();
    let proxy = place.start(flavour);
    let (kept, ended) = (place.session_at("rabbitmq1"), place.session_at("rabbitmq2"));
    proxy.ask("shutdown sessions server rabbitmq/rabbitmq2");
    assert_ne!(ended.end(PATIENCE), End::StillOpen);
    let mut kept = kept;
    kept.exchange(1000).unwrap();
    eventually(PATIENCE, "it is logged as killed", || {
        let lines = place.log.messages("rabbitmq/rabbitmq2");
        if lines.iter().any(|line| line.contains(" K- ")) {
            Ok(())
        } else {
            Err(lines)
        }
    });
}

/// What `echo ... | nc -N` does: the client has nothing more to say but wants to hear.
fn a_half_closed_connection_still_gets_its_answer(flavour: ProxyFlavour) {
    let place = Place::with(&["rabbitmq1"]);
    let _proxy = place.start(flavour);
    let answer = place
        .client
        .sh("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -N -w 3 10.77.0.1 5670");
    assert_eq!(answer.as_bytes(), b"AMQP\0\0\x09\x01", "{answer:?}");
}
