//! The proxy under a real systemd: our own unit, and the one of the package haproxy with our program in its place.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use warren_lab::{Broker, End, Host, Load, Network, Session, eventually, holds_for};

use super::PATIENCE;
use crate::service::manager::{Manager, name, send, status};

/// CAP_NET_BIND_SERVICE (10).
const CAPABILITIES: &str = "0000000000000400";
const ENTRY: ([u8; 4], u16) = ([10, 77, 0, 1], 5670);

/// The machine of the proxy, a client's, and one with a server.
struct Site {
    _broker: Broker,
    _server: Host,
    client: Host,
    proxy: Host,
    _network: Network,
}

impl Site {
    fn new() -> Self {
        let network = Network::new();
        let (proxy, client, server) = (
            network.host("proxy"),
            network.host("client"),
            network.host("rabbitmq1"),
        );
        Self {
            _broker: Broker::start(&server),
            _server: server,
            client,
            proxy,
            _network: network,
        }
    }

    fn try_at(&self, port: u16) -> std::io::Result<Session> {
        Session::open(&self.client, (ENTRY.0, port).into(), PATIENCE)
    }

    #[track_caller]
    fn session(&self) -> Session {
        eventually(PATIENCE, "a session through the proxy", || self.try_at(ENTRY.1))
    }
}

#[track_caller]
fn eventually_property(manager: &Manager<'_>, property: &str, wanted: &str) {
    eventually(PATIENCE, &format!("{property} is {wanted}"), || {
        let value = manager.property(property);
        if value == wanted { Ok(()) } else { Err(value) }
    });
}

fn toml(more: &str) -> String {
    format!(
        "[proxy.listen.rabbitmq]\nbind = \"*:5670\"\nservers = {{ rabbitmq1 = \"10.77.0.3:5672\" }}\n{more}"
    )
}

#[test]
fn our_unit_reloads_upgrades_restarts_and_stops_without_a_client_noticing_more_than_he_must() {
    let site = Site::new();
    let Some(manager) = Manager::boot_for("warren-proxy.service", &site.proxy, &toml("")) else {
        return;
    };
    manager.drop_in("WatchdogSec=1s");
    manager.systemctl("start");
    assert_eq!(manager.property("ActiveState"), "active");
    let first = manager.guard();
    let user = manager.run(&["id", "-u", "warren"]);
    let ids = status(first, "Uid");
    assert!(ids.split_whitespace().all(|id| id == user), "{ids}, not {user}");
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(status(first, set), CAPABILITIES, "{set}");
    }
    assert_eq!(
        (status(first, "NoNewPrivs"), status(first, "Seccomp")),
        ("1".into(), "2".into())
    );

    // The configuration, while clients are at work: a port for root only is added.
    let load = Load::start(&site.client, ENTRY.into(), 4, 20);
    let mut lasting = site.session();
    let low = "[proxy.listen.low]\nbind = \"*:389\"\nmode = \"amqp\"\nservers = { rabbitmq1 = \"10.77.0.3:5672\" }\n";
    manager.configure(&toml(low));
    manager.systemctl("reload");
    eventually(PATIENCE, "the port that was added is served", || site.try_at(389))
        .exchange(100)
        .unwrap();
    manager.configure("[proxy]\nnonsense = 1\n");
    manager.systemctl("reload");
    eventually(PATIENCE, "the refusal shows", || {
        let line = manager.property("StatusText");
        if line.contains("refused") {
            Ok(())
        } else {
            Err(line)
        }
    });
    assert_eq!(manager.property("ActiveState"), "active");
    manager.configure(&toml(low));
    manager.systemctl("reload");
    eventually(PATIENCE, "all is well again", || {
        let line = manager.property("StatusText");
        if line.contains("refused") {
            Err(line)
        } else {
            Ok(())
        }
    });
    assert_eq!(manager.guard(), first);

    // The binary, twice: what one successor can, the next must too.
    for _ in 0..2 {
        let before = manager.guard();
        manager.run(&["warren", "proxy", "upgrade"]);
        eventually(PATIENCE, "systemd follows", || {
            let main = manager.guard();
            if main == before { Err(main) } else { Ok(()) }
        });
        // Longer than the watchdog, and until the former process has gone.
        holds_for(Duration::from_millis(1300), "the successor is the unit", || {
            let state = manager.property("ActiveState");
            if state == "active" { Ok(()) } else { Err(state) }
        });
        assert_eq!(manager.tasks(), 1);
        assert_eq!(manager.property("NRestarts"), "0");
        lasting.exchange(3000).unwrap();
    }
    manager.configure(&toml(&low.replace("389", "390")));
    manager.systemctl("reload");
    eventually(PATIENCE, "the successor may bind low ports too", || {
        site.try_at(390)
    });
    let report = load.stop();
    assert!(report.is_clean() && report.opened > 10, "{report:?}");

    // Its death.
    let main = manager.guard();
    let start = Instant::now();
    send(main, Signal::SIGKILL);
    assert!(matches!(lasting.end(PATIENCE), End::Eof | End::Reset));
    let session = site.session();
    eprintln!("killed: served again after {:?}", start.elapsed());
    eventually_property(&manager, "NRestarts", "1");
    // That it hangs.
    send(manager.guard(), Signal::SIGSTOP);
    drop(session);
    eventually_property(&manager, "NRestarts", "2");
    let session = site.session();

    // Its end, which a successor must be given as much time for as the first.
    manager.run(&["warren", "proxy", "upgrade"]);
    let start = Instant::now();
    let ending = std::thread::scope(|scope| {
        let end = scope.spawn(|| session.end(PATIENCE));
        manager.systemctl("stop");
        end.join().unwrap()
    });
    assert_eq!(ending, End::Closed(320));
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!(manager.property("ActiveState"), "inactive");
    assert_eq!(manager.property("Result"), "success");
    assert_eq!(manager.tasks(), 0);
}

/// As the package's file begins, with sockets where it has them.
fn haproxy_cfg(more: &str) -> String {
    format!(
        "global\n  log /dev/log local0\n  chroot /var/lib/haproxy\n  stats socket /run/haproxy/admin.sock mode 660 level admin\n  \
         stats timeout 30s\n  user haproxy\n  group haproxy\n  daemon\n  maxconn 1000\n\
         defaults\n  log global\n  mode tcp\n  timeout connect 1s\n  timeout client 60s\n  timeout server 60s\n\
         listen rabbitmq\n  bind *:5670\n  server rabbitmq1 10.77.0.3:5672 check inter 200ms\n{more}"
    )
}

fn low(port: u16) -> String {
    format!("listen low\n  bind *:{port}\n  server rabbitmq1 10.77.0.3:5672\n")
}

#[test]
fn the_unit_of_the_package_haproxy_runs_our_program_as_it_is() {
    let site = Site::new();
    let Some(manager) = Manager::boot_for("haproxy.service", &site.proxy, "") else {
        return;
    };
    let configure = |text: &str| {
        let file = site.proxy.write("haproxy.cfg", text);
        manager.run(&["cp", &file.display().to_string(), "/etc/haproxy/haproxy.cfg"]);
    };
    configure(&haproxy_cfg(""));
    manager.systemctl("start");
    assert_eq!(manager.property("ActiveState"), "active");
    let first = manager.guard();
    assert_eq!(name(first), "haproxy");
    let user = manager.run(&["id", "-u", "haproxy"]);
    let ids = status(first, "Uid");
    assert!(ids.split_whitespace().all(|id| id == user), "{ids}, not {user}");
    let pid = manager.run(&["cat", "/run/haproxy.pid"]);
    assert_eq!(pid, manager.property("MainPID"));

    let load = Load::start(&site.client, ENTRY.into(), 4, 20);
    let mut lasting = site.session();
    configure(&haproxy_cfg(&low(389)));
    manager.systemctl("reload");
    eventually(PATIENCE, "the port that was added is served", || site.try_at(389));
    // The unit checks the file before it tells the process.
    configure("nonsense\n");
    let said = manager.try_run(&["systemctl", "reload", "haproxy.service"]);
    assert!(!said.status.success(), "{said:?}");
    assert_eq!(manager.property("ActiveState"), "active");
    configure(&haproxy_cfg(&low(389)));
    assert_eq!(manager.guard(), first);
    let before = manager.guard();
    manager.run(&["warren", "proxy", "upgrade"]);
    eventually(PATIENCE, "systemd follows", || {
        let main = manager.guard();
        if main == before { Err(main) } else { Ok(()) }
    });
    eventually(PATIENCE, "the former process has gone", || {
        let tasks = manager.tasks();
        if tasks == 1 { Ok(()) } else { Err(tasks) }
    });
    lasting.exchange(3000).unwrap();
    assert_eq!(name(manager.guard()), "haproxy");
    configure(&haproxy_cfg(&low(390)));
    manager.systemctl("reload");
    eventually(PATIENCE, "the successor may bind low ports too", || {
        site.try_at(390)
    });
    let pid = manager.run(&["cat", "/run/haproxy.pid"]);
    assert_eq!(pid, manager.property("MainPID"));
    let info = manager.run(&["sh", "-c", "echo show info | socat - /run/haproxy/admin.sock"]);
    assert!(info.contains(&format!("Pid: {pid}\n")), "{info}");
    let report = load.stop();
    assert!(report.is_clean() && report.opened > 10, "{report:?}");
    assert_eq!(manager.property("NRestarts"), "0");

    manager.systemctl("stop");
    assert!(matches!(lasting.end(PATIENCE), End::Eof | End::Reset));
    assert_eq!(manager.property("ActiveState"), "inactive");
    assert_eq!(manager.property("Result"), "success");
}
