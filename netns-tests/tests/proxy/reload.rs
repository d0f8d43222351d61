//! Changes of the configuration while clients are at work: nothing is refused, nothing cut, no octet lost.

use std::time::Duration;

use warren_lab::{Load, Proxy, ProxyFlavour, Session, eventually, warren_binary};

use super::{CHECK, PATIENCE, Place, eventually_status, for_both};

for_both!(a_server_that_was_added_at_run_time_is_gone_after_a_reload_and_its_sessions_are_not);

const RELOADS: usize = 20;

#[test]
fn reloads_in_a_loop_under_load_harm_no_client() {
    let place = Place::new();
    let mut proxy = place.start(ProxyFlavour::Warren);
    let files = [
        place.configuration("", "", CHECK),
        place.configuration(
            "timeout queue 7s",
            "balance leastconn",
            "check inter 300ms rise 2 fall 3",
        ),
        place.configuration("", "", CHECK).replace(
            "server rabbitmq3",
            "server another 10.77.0.5:5672 check\n    # server",
        ),
        place.configuration("", "", &format!("{CHECK} weight 7 maxconn 500")),
        // Another backend comes first, and of the servers the first is gone: all that follow have other places.
        place
            .configuration("", "", CHECK)
            .replace(
                "listen rabbitmq",
                "backend before\n    server other 10.77.0.9:1\n\nlisten rabbitmq",
            )
            .replace("server rabbitmq1", "# server rabbitmq1"),
    ];
    let load = Load::start(&place.client, place.entry(), 24, 30);
    // Long-lived ones, which every reload must leave alone.
    let mut lasting: Vec<Session> = (0..6).map(|_| place.session()).collect();
    for number in 0..RELOADS {
        proxy.reload(&place.proxy, &files[number % files.len()]);
        std::thread::sleep(Duration::from_millis(100));
        for session in &mut lasting {
            session
                .exchange(3000)
                .unwrap_or_else(|error| panic!("after reload {number}: {error}"));
        }
    }
    let report = load.stop();
    let odd: Vec<String> = place
        .log
        .messages(" rabbitmq ")
        .into_iter()
        .filter(|line| !line.contains(" -- "))
        .collect();
    assert!(report.is_clean(), "{report:?}\n{odd:#?}");
    assert!(report.opened > 100 && report.exchanged > 1000, "{report:?}");
    assert!(proxy.process.is_running());
    assert!(proxy.process.descendants().len() < 3, "no old processes stay");
    println!("{report:?}");
}

#[test]
fn a_file_with_a_mistake_changes_nothing_and_is_said() {
    let place = Place::with(&["rabbitmq1"]);
    let mut proxy = place.start(ProxyFlavour::Warren);
    let mut session = place.session();
    proxy.reload(
        &place.proxy,
        "listen rabbitmq\n    bind *:5670\n    balanse roundrobin\n",
    );
    eventually(PATIENCE, "the refusal is said, with its line", || {
        let log = proxy.process.log();
        if log.contains("balanse") && log.contains(":3") {
            Ok(())
        } else {
            Err(log)
        }
    });
    session.exchange(1000).unwrap();
    place.session().exchange(1000).unwrap();
}

#[test]
fn counters_and_health_survive_a_reload() {
    let place = Place::new();
    let mut proxy = place.start(ProxyFlavour::Warren);
    place.broker("rabbitmq2").tell("refuse");
    eventually_status(&proxy, "rabbitmq2", "DOWN");
    drop(place.servers_of(10));
    let total = |proxy: &Proxy| proxy.statistics().number("rabbitmq", "FRONTEND", "stot");
    eventually(PATIENCE, "ten are counted", || {
        if total(&proxy) == 10 {
            Ok(())
        } else {
            Err(total(&proxy))
        }
    });
    proxy.reload(&place.proxy, &place.configuration("timeout queue 7s", "", CHECK));
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(
        proxy.status("rabbitmq", "rabbitmq2"),
        "DOWN",
        "it is not believed to be up until the next check"
    );
    assert!(!place.servers_of(6).contains(&"rabbitmq2".to_owned()));
    assert!(total(&proxy) >= 16);
}

#[test]
fn a_listener_moves_and_the_old_port_is_closed() {
    let place = Place::with(&["rabbitmq1"]);
    let mut proxy = place.start(ProxyFlavour::Warren);
    let mut session = place.session();
    let moved = place
        .configuration("", "", CHECK)
        .replace("bind *:5670", "bind *:5671");
    proxy.reload(&place.proxy, &moved);
    eventually(PATIENCE, "the new port serves, the old one does not", || {
        let new = Session::open(&place.client, "10.77.0.1:5671".parse().unwrap(), PATIENCE);
        let old = place.try_session();
        if new.is_ok() && old.is_err() {
            Ok(())
        } else {
            Err((new.is_ok(), old.is_ok()))
        }
    });
    session.exchange(1000).unwrap();
}

/// Workers and the control thread keep what they write lines with: every one of them has to hear of it.
#[test]
fn tag_host_name_and_target_of_the_log_change_with_a_reload() {
    let place = Place::with(&["rabbitmq1"]);
    let log = "log 127.0.0.1 local0 info";
    let before = place.configuration("", "", CHECK);
    let mut proxy = Proxy::start(ProxyFlavour::Warren, &place.proxy, &before);
    let older = place.session();
    let line_of = |what: &str, text: &str, number: usize| {
        eventually(PATIENCE, what, || {
            let lines = place.log.lines().into_iter();
            let mut lines = lines.filter(|line| line.contains(text));
            lines.nth(number).ok_or_else(|| place.log.lines())
        })
    };
    const SESSION: &str = " rabbitmq rabbitmq/rabbitmq1 ";
    drop(place.session());
    let line = line_of("a session before", SESSION, 0);
    assert!(line.starts_with("<134>") && !line.contains(" lb1 "), "{line}");
    let after = before.replace(
        log,
        "log 127.0.0.1 local5 info\n    log-tag balance\n    log-send-hostname lb1",
    );
    assert_ne!(before, after);
    proxy.reload(&place.proxy, &after);
    eventually(PATIENCE, "the reload is said", || {
        let said = proxy.process.log();
        let done = said.contains("configuration was read again");
        done.then_some(()).ok_or(said)
    });
    drop(older);
    let line = line_of("the session that the reload found", SESSION, 1);
    assert!(
        line.starts_with("<174>") && line.contains(" lb1 balance["),
        "{line}"
    );
    place.broker("rabbitmq1").tell("refuse");
    let line = line_of("the change of health", "Server rabbitmq/rabbitmq1 is DOWN", 0);
    assert!(
        line.starts_with("<169>") && line.contains(" lb1 balance["),
        "{line}"
    );
}

fn a_server_that_was_added_at_run_time_is_gone_after_a_reload_and_its_sessions_are_not(
    flavour: ProxyFlavour,
) {
    let place = Place::with(&["rabbitmq1", "rabbitmq2"]);
    let text = place.configuration("", "", CHECK);
    let text: String = text
        .lines()
        .filter(|line| !line.contains("server rabbitmq2"))
        .map(|line| format!("{line}\n"))
        .collect();
    let mut proxy = Proxy::start(flavour, &place.proxy, &text);
    proxy.ask("add server rabbitmq/added 10.77.0.4:5672");
    proxy.ask("enable server rabbitmq/added");
    let mut session = place.session_at("rabbitmq2");
    proxy.reload(&place.proxy, &text);
    eventually(PATIENCE, "it is gone", || {
        let rows = proxy.try_ask("show stat").map_err(|error| error.to_string())?;
        if rows.contains("rabbitmq,rabbitmq1,") && !rows.contains("rabbitmq,added,") {
            Ok(())
        } else {
            Err(rows)
        }
    });
    assert_eq!(place.servers_of(4), ["rabbitmq1"; 4]);
    session.exchange(1000).unwrap();
}

/// What HAProxy does instead: a second process, and the first stays until its last client has gone.
#[test]
fn haproxy_itself_serves_through_a_reload_with_two_processes() {
    let place = Place::new();
    let mut proxy = place.start(ProxyFlavour::Haproxy);
    let mut session = place.session();
    let old = serving(&proxy);
    proxy.reload(&place.proxy, &place.configuration("timeout queue 7s", "", CHECK));
    eventually(PATIENCE, "the new process serves", || {
        let now = serving(&proxy);
        if now.is_some() && now != old {
            Ok(())
        } else {
            Err(now)
        }
    });
    assert!(proxy.process.is_running());
    place.session().exchange(1000).unwrap();
    session.exchange(1000).unwrap();
    // Without what has ended and nobody has asked for.
    let processes = || place.proxy.sh("pgrep --runstates R,S -c haproxy");
    assert_eq!(processes().trim(), "2");
    session.close().unwrap();
    eventually(PATIENCE, "one process is left", || {
        let processes = processes();
        if processes.trim() == "1" {
            Ok(())
        } else {
            Err(processes)
        }
    });
}

const UPGRADES: usize = 6;

/// The number that the serving process says it has.
fn serving(proxy: &Proxy) -> Option<String> {
    let answer = proxy.try_ask("show info").ok()?;
    answer
        .lines()
        .find_map(|line| line.strip_prefix("Pid: "))
        .map(str::to_owned)
}

#[test]
fn upgrades_in_a_loop_under_load_harm_no_client() {
    let place = Place::new();
    let mut proxy = place.start(ProxyFlavour::Warren);
    let load = Load::start(&place.client, place.entry(), 16, 30);
    let mut lasting: Vec<Session> = (0..50).map(|_| place.session()).collect();
    for number in 0..UPGRADES {
        let before = serving(&proxy);
        place.proxy.sh(&format!(
            "{} proxy upgrade --runtime-dir /run/warren",
            warren_binary().display()
        ));
        eventually(PATIENCE, "another process serves", || {
            let now = serving(&proxy);
            if now.is_some() && now != before {
                Ok(())
            } else {
                Err(now)
            }
        });
        for session in &mut lasting {
            session
                .exchange(2000)
                .unwrap_or_else(|error| panic!("after upgrade {number}: {error}"));
        }
    }
    let report = load.stop();
    let odd: Vec<String> = place
        .log
        .messages(" rabbitmq ")
        .into_iter()
        .filter(|line| !line.contains(" -- "))
        .collect();
    assert!(report.is_clean(), "{report:?}\n{odd:#?}");
    assert!(report.opened > 50 && report.exchanged > 500, "{report:?}");
    eventually(PATIENCE, "one process is left", || {
        let first = proxy.process.is_running();
        let processes = place.proxy.sh("pgrep -c haproxy || true");
        if !first && processes.trim() == "1" {
            Ok(())
        } else {
            Err((first, processes))
        }
    });
    println!("{report:?}");
}
