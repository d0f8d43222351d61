//! What is there when the first client is served, where clients may come in, and what happens when files run out.

use std::net::{Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use nix::sys::signal::Signal;
use warren_lab::{End, Proxy, ProxyFlavour, Session, eventually};

use super::{CHECK, PATIENCE, PORT, Place, for_both};

for_both!(
    addresses_of_both_families_and_ranges_of_ports_are_served,
    without_files_clients_wait_and_nobody_else_is_harmed,
    a_maxconn_for_which_there_are_not_enough_files_ends_the_start,
    who_is_told_to_finish_serves_its_sessions_to_their_end,
    who_is_told_to_end_does_so_at_once,
);

#[test]
fn a_file_without_a_listener_is_right_and_does_not_start() {
    let network = warren_lab::Network::new();
    let host = network.host("proxy");
    let timeouts = "    mode tcp\n    timeout connect 1s\n    timeout client 1s\n    timeout server 1s\n";
    let backend = "backend back\n    server one 127.0.0.1:1\n";
    let files = [
        format!("defaults\n{timeouts}{backend}"),
        format!(
            "defaults\n{timeouts}frontend front\n    disabled\n    bind :1234\n    default_backend back\n{backend}"
        ),
        format!("defaults\n{timeouts}frontend front\n    bind :1234\n    default_backend back\n{backend}"),
        "global\n    stats socket /run/only.sock\n".to_owned(),
    ];
    let warren = warren_lab::warren_binary();
    let seen = |program: &str| {
        let each = files.iter().map(|text| {
            let file = host.write("haproxy.cfg", text);
            let run = |options: &str| {
                let line = format!("exec -a haproxy {program} {options} -f {} 2>&1", file.display());
                let output = host.try_sh(&format!("bash -c '{line}'"));
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                let wanted = ["Configuration file", "No enabled listener"];
                let told = text.lines().filter_map(|line| {
                    let at = wanted.iter().find_map(|wanted| line.find(wanted))?;
                    Some(line[at..].to_owned())
                });
                (output.status.code(), told.collect::<Vec<_>>())
            };
            let checked = (run("-c"), run("-c -q"), run("-c -V"));
            let starts = checked.0.0 == Some(0);
            (checked, (!starts).then(|| run("-db")))
        });
        each.collect::<Vec<_>>()
    };
    let (theirs, ours) = (seen("haproxy"), seen(&warren.display().to_string()));
    assert_eq!(ours, theirs);
    let codes: Vec<_> = ours.iter().map(|((checked, ..), _)| checked.0).collect();
    assert_eq!(codes, [Some(2), Some(2), Some(0), Some(0)]);
}

#[test]
fn whoever_is_served_finds_the_sockets_there() {
    let flavour = ProxyFlavour::Warren;
    let place = Place::with(&["rabbitmq1"]);
    let text = place
        .configuration("", "", "")
        .replace("mode 600", "mode 640 user 65534 group 65534");
    for _ in 0..5 {
        let proxy = Proxy::start_without_waiting(flavour, &place.proxy, &text);
        let session = (0..20_000).find_map(|_| place.try_session().ok());
        assert!(session.is_some(), "{}", proxy.process.log());
        assert!(proxy.ask("show info").contains("Pid:"));
        place.proxy.sh("test -S /run/warren/proxy.sock");
        let file = std::fs::metadata(Proxy::socket(&place.proxy)).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o640);
        assert_eq!((file.uid(), file.gid()), (65534, 65534));
        drop(session);
    }
}

fn addresses_of_both_families_and_ranges_of_ports_are_served(flavour: ProxyFlavour) {
    let place = Place::with(&["rabbitmq1"]);
    let server = &place.server("rabbitmq1").host;
    // The server of the laboratory speaks IPv4; this one passes the other family on to it.
    let _six = server.spawn(
        "socat",
        &[
            "TCP6-LISTEN:5673,fork,reuseaddr,ipv6only=1",
            "TCP4:127.0.0.1:5672",
        ],
    );
    let text = place
        .configuration("", "", CHECK)
        .replace(
            &format!("bind *:{PORT}"),
            &format!("bind *:{PORT}\n    bind :::{PORT} v6only\n    bind :8000-8003,[fd77::1]:8100-8101"),
        )
        .replace("10.77.0.3:5672", "[fd77::3]:5673");
    let proxy = Proxy::start(flavour, &place.proxy, &text);
    super::eventually_status(&proxy, "rabbitmq1", "UP");
    let six = |port| SocketAddr::from((Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1), port));
    let four = |port| SocketAddr::from(([10, 77, 0, 1], port));
    let served = [
        four(PORT),
        six(PORT),
        four(8000),
        four(8003),
        six(8100),
        six(8101),
    ];
    for address in served {
        let mut session = Session::open(&place.client, address, PATIENCE)
            .unwrap_or_else(|error| panic!("{address}: {error}"));
        session.exchange(1000).unwrap();
    }
    for address in [four(8004), six(8000), four(8100), six(8102)] {
        assert!(
            Session::open(&place.client, address, PATIENCE).is_err(),
            "{address}"
        );
    }
    eventually(PATIENCE, "the client's address is logged", || {
        let lines = place.log.messages("fd77::2:");
        if lines.len() == 3 { Ok(()) } else { Err(lines) }
    });
}

fn without_files_clients_wait_and_nobody_else_is_harmed(flavour: ProxyFlavour) {
    let place = Place::with(&["rabbitmq1"]);
    let proxy = place.start(flavour);
    let mut early = place.session();
    let id = proxy.process.id();
    let open = std::fs::read_dir(format!("/proc/{id}/fd")).unwrap().count();
    // Room for four sessions and half of another, which no configuration would be allowed.
    limit(id, open + 9);
    let address = SocketAddr::from(([10, 77, 0, 1], PORT));
    let waiting: Vec<TcpStream> = (0..20)
        .map(|_| {
            place
                .client
                .enter(|| TcpStream::connect_timeout(&address, PATIENCE).unwrap())
        })
        .collect();
    let before = proxy.process.usage().cpu;
    std::thread::sleep(Duration::from_secs(1));
    let spent = proxy.process.usage().cpu - before;
    assert!(spent < Duration::from_millis(300), "{spent:?} of a second");
    early.exchange(1000).unwrap();
    if flavour == ProxyFlavour::Warren {
        let log = proxy.process.log();
        assert!(log.contains("accepting has failed"), "{log}");
    }
    drop(waiting);
    limit(id, 4096);
    eventually(PATIENCE, "clients are served again", || {
        place.try_session()?.exchange(1000)
    });
    early.exchange(1000).unwrap();
}

/// From outside: the process has another number on its host.
fn limit(id: i32, files: usize) {
    let mut command = std::process::Command::new("prlimit");
    command
        .arg(format!("--pid={id}"))
        .arg(format!("--nofile={files}:"));
    assert!(command.status().unwrap().success());
}

fn a_maxconn_for_which_there_are_not_enough_files_ends_the_start(flavour: ProxyFlavour) {
    let place = Place::with(&["rabbitmq1"]);
    let file = place
        .proxy
        .write("haproxy.cfg", &place.configuration("", "", CHECK));
    place
        .proxy
        .sh(&format!("chmod 777 {}", place.proxy.directory().display()));
    let mut program = Proxy::program(flavour, &place.proxy);
    if let Ok(built) = std::fs::canonicalize(&program) {
        // Whoever runs it may not get to where it was built.
        let copied = place.proxy.directory().join("copied");
        std::fs::create_dir(&copied).unwrap();
        program = copied.join("haproxy");
        std::fs::copy(built, &program).unwrap();
    }
    // As somebody who may raise the soft limit and not the hard one.
    let run = |limits: &str| {
        let line = format!(
            "prlimit --nofile={limits} setpriv --reuid 65534 --regid 65534 --clear-groups timeout 2 {} -db -f {} 2>&1",
            program.display(),
            file.display()
        );
        let output = place.proxy.try_sh(&line);
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    };
    let (code, text) = run("1000:1000");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("4096") || text.contains("FD limit"), "{text}");
    // Ended by `timeout`.
    let (code, text) = run("1000:20000");
    assert_eq!(code, Some(124), "{text}");
}

fn who_is_told_to_finish_serves_its_sessions_to_their_end(flavour: ProxyFlavour) {
    let place = Place::with(&["rabbitmq1"]);
    let mut proxy = place.start(flavour);
    let mut session = place.session();
    proxy.process.signal(Signal::SIGUSR1);
    eventually(PATIENCE, "nobody comes in any more", || {
        if place.try_session().is_err() {
            Ok(())
        } else {
            Err(())
        }
    });
    session.exchange(10_000).unwrap();
    assert!(proxy.process.is_running());
    session.close().unwrap();
    proxy.process.wait(PATIENCE);
}

fn who_is_told_to_end_does_so_at_once(flavour: ProxyFlavour) {
    let place = Place::with(&["rabbitmq1"]);
    let mut proxy = place.start(flavour);
    let session = place.session();
    let start = std::time::Instant::now();
    proxy.process.signal(Signal::SIGTERM);
    proxy.process.wait(PATIENCE);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert!(matches!(session.end(PATIENCE), End::Eof | End::Reset));
}
