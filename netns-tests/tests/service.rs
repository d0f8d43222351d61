//! The shipped unit under a real systemd, and the daemon as the ordinary user that the unit makes of it.

mod broker;
pub(crate) mod manager;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use warren_lab::{Echo, Host, Network, Probe, eventually, holds_for, now, warren_binary};

use crate::pair::{PATIENCE, VIP, ip};
use manager::{Manager, send, status};

/// CAP_NET_ADMIN (12), CAP_NET_RAW (13), CAP_SYS_NICE (23).
const CAPABILITIES: &str = "0000000000803000";
const NONE: &str = "0000000000000000";
const NOBODY: &str = "65534";

fn toml(more: &str) -> String {
    format!(
        "[vrrp.router.VI_1]\ninterface = \"eth0\"\nvrid = 51\npriority = 200\naddresses = [\"{VIP}/32\"]\n{more}"
    )
}

/// A check that writes down who it is, as a line of `checks` and the check itself.
fn recording_check(file: &str, user: &str) -> String {
    format!(
        "checks = [\"who\"]\n[vrrp.check.who]\nuser = \"{user}\"\ninterval = \"100ms\"\nscript = [\"sh\", \"-c\", \
         \"(id -u; grep Cap /proc/self/status; ulimit -r) > {file}.new && mv {file}.new {file}\"]\n"
    )
}

#[track_caller]
fn eventually_held(host: &Host, by: bool) -> Duration {
    let start = Instant::now();
    eventually(PATIENCE, &format!("{VIP} held: {by}"), || {
        let held = host.has(ip(VIP));
        if held == by { Ok(()) } else { Err(held) }
    });
    start.elapsed()
}

/// Whether a thread of the process is under SCHED_RR.
fn is_realtime(id: i32) -> bool {
    let threads = fs::read_dir(format!("/proc/{id}/task")).expect("the process runs");
    threads.filter_map(Result::ok).any(|thread| {
        let text = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // Field 41, counted from behind the name, is the policy.
        let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields);
        fields.split_whitespace().nth(38) == Some("2")
    })
}

/// Each line of a record made by [`recording_check`]: user, inheritable to ambient capabilities, real-time limit.
#[track_caller]
fn assert_powerless(record: &str, user: &str) {
    assert_eq!(record.lines().next(), Some(user), "{record}");
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        let line = record.lines().find(|line| line.starts_with(set));
        assert_eq!(
            line.and_then(|line| line.split_whitespace().nth(1)),
            Some(NONE),
            "{record}"
        );
    }
}

#[test]
fn the_unit_starts_as_its_user_with_three_capabilities_and_stops_within_a_second() {
    let network = Network::new();
    let host = network.host("a");
    let check = recording_check("/run/warren/who", "warren");
    let Some(manager) = Manager::boot(&host, &toml(&check)) else {
        return;
    };
    manager.run(&["systemctl", "enable", "--now", "warren-vrrp.service"]);
    assert_eq!(manager.property("ActiveState"), "active");
    // Set in the unit and taken over at the start; another test waits for a shorter one.
    assert_eq!(manager.property("WatchdogUSec"), "10s");
    assert_eq!(
        manager.run(&["systemctl", "is-active", "keepalived.service"]),
        "active"
    );
    eventually_held(&host, true);

    let user = manager.run(&["id", "-u", "warren"]);
    let (guard, worker) = (manager.guard(), manager.worker().expect("a worker"));
    for id in [guard, worker] {
        let ids = status(id, "Uid");
        assert!(ids.split_whitespace().all(|id| id == user), "{ids}, not {user}");
        for set in ["CapPrm", "CapEff", "CapBnd"] {
            assert_eq!(status(id, set), CAPABILITIES, "{set} of {id}");
        }
        assert_eq!(status(id, "NoNewPrivs"), "1");
        // A container may not have locked memory to give.
        assert!(
            status(id, "VmLck") != "0 kB" || manager.log().contains("not locked"),
            "{}",
            manager.log()
        );
    }
    assert!(
        is_realtime(worker) || manager.log().contains("real-time"),
        "{}",
        manager.log()
    );

    let record = eventually(PATIENCE, "the check has run", || {
        let file = manager.run(&["sh", "-c", "cat /run/warren/who 2>&1 || true"]);
        if file.contains("CapAmb") {
            Ok(file)
        } else {
            Err(file)
        }
    });
    assert_powerless(&record, &user);

    let start = Instant::now();
    manager.systemctl("stop");
    let took = start.elapsed();
    assert!(!host.has(ip(VIP)));
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(manager.property("Result"), "success");
    assert_eq!(manager.tasks(), 0);
}

#[test]
fn reload_and_a_dead_worker_leave_the_unit_active_and_lose_no_probe() {
    let network = Network::new();
    let (host, client) = (network.host("a"), network.host("client"));
    let Some(manager) = Manager::boot(&host, &toml("")) else {
        return;
    };
    manager.systemctl("start");
    eventually_held(&host, true);
    let _echo = Echo::start(&host);
    let (guard, worker) = (manager.guard(), manager.worker().expect("a worker"));
    let probe = Probe::start(&client, ip(VIP), Duration::from_millis(1));
    let start = now();

    let line = manager.property("StatusText");
    manager.configure(&toml("excluded_addresses = [\"10.77.9.2/32\"]\n"));
    manager.systemctl("reload");
    eventually(PATIENCE, "the address that was added is there", || {
        host.has(ip("10.77.9.2")).then_some(()).ok_or("not there")
    });
    assert_eq!(manager.property("ActiveState"), "active");
    assert_eq!(manager.property("StatusText"), line, "as before");
    assert_eq!(manager.worker(), Some(worker));

    // A file with a mistake is refused, said, and changes nothing.
    manager.configure("[vrrp.router.VI_1]\nnonsense = 1\n");
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
    manager.configure(&toml(""));
    manager.systemctl("reload");

    send(worker, Signal::SIGKILL);
    eventually(PATIENCE, "another worker", || match manager.worker() {
        Some(id) if id != worker => Ok(()),
        other => Err(other),
    });
    holds_for(
        Duration::from_secs(1),
        "the unit is active and has its address",
        || {
            let (state, held) = (manager.property("ActiveState"), host.has(ip(VIP)));
            if state == "active" && held {
                Ok(())
            } else {
                Err((state, held))
            }
        },
    );
    assert_eq!(manager.guard(), guard);
    assert_eq!(manager.property("NRestarts"), "0");
    let report = probe.stop();
    assert_eq!((report.holders(), report.lost(start)), (vec!["a".to_owned()], 0));
}

#[test]
fn a_dead_guard_takes_the_group_and_the_addresses_with_it_and_comes_back() {
    let network = Network::new();
    let host = network.host("a");
    // Without a lease, and with a worker that can do nothing more, only `ExecStopPost` takes the address away.
    let configuration = format!("[vrrp]\nlease = \"off\"\n{}", toml(""));
    let Some(manager) = Manager::boot(&host, &configuration) else {
        return;
    };
    manager.systemctl("start");
    eventually_held(&host, true);
    let (guard, worker) = (manager.guard(), manager.worker().expect("a worker"));
    send(worker, Signal::SIGSTOP);
    send(guard, Signal::SIGKILL);
    let gone = eventually_held(&host, false);
    eventually(PATIENCE, "the worker has ended with its guard", || {
        let name = status(worker, "Name");
        if name.is_empty() { Ok(()) } else { Err(name) }
    });
    let back = eventually_held(&host, true);
    eprintln!("guard killed: address gone after {gone:?}, back {back:?} later");
    assert_eq!(manager.property("NRestarts"), "1");
    assert_ne!(manager.guard(), guard);
    assert_eq!(manager.tasks(), 2);
}

#[test]
fn a_guard_that_hangs_is_replaced_by_the_watchdog() {
    let network = Network::new();
    let host = network.host("a");
    let Some(manager) = Manager::boot(&host, &toml("")) else {
        return;
    };
    manager.drop_in("WatchdogSec=1s");
    manager.systemctl("start");
    eventually_held(&host, true);
    let guard = manager.guard();
    // Longer than the watchdog: it is fed.
    holds_for(Duration::from_millis(1500), "the unit stays as it is", || {
        let main = manager.guard();
        if main == guard { Ok(()) } else { Err(main) }
    });
    let start = Instant::now();
    send(guard, Signal::SIGSTOP);
    eventually(PATIENCE, "systemd has restarted the unit", || {
        let restarts = manager.property("NRestarts");
        if restarts == "1" { Ok(()) } else { Err(restarts) }
    });
    eprintln!("guard stopped: restarted after {:?}", start.elapsed());
    eventually(PATIENCE, "the unit is active", || {
        let state = manager.property("ActiveState");
        if state == "active" { Ok(()) } else { Err(state) }
    });
    assert_ne!(manager.guard(), guard);
    eventually_held(&host, true);
}

#[test]
fn guard_and_worker_are_locked_in_memory_where_that_is_allowed() {
    let network = Network::new();
    let host = network.host("a");
    let check = recording_check("/run/warren/who", "warren");
    let Some(manager) = Manager::boot(&host, &toml(&check)) else {
        return;
    };
    // Stands for LimitMEMLOCK=infinity, which a systemd in a container cannot grant.
    manager.drop_in("AmbientCapabilities=CAP_IPC_LOCK\\nCapabilityBoundingSet=CAP_IPC_LOCK");
    manager.systemctl("start");
    eventually_held(&host, true);
    for id in [manager.guard(), manager.worker().expect("a worker")] {
        assert_ne!(status(id, "VmLck"), "0 kB");
    }
    assert!(!manager.log().contains("not locked"), "{}", manager.log());
    // Programs start all the same, with nothing locked of their own.
    eventually(PATIENCE, "the check has run", || {
        let file = manager.run(&["sh", "-c", "cat /run/warren/who 2>&1 || true"]);
        if file.contains("CapAmb") {
            Ok(())
        } else {
            Err(file)
        }
    });
}

#[test]
fn an_ordinary_user_with_three_capabilities_serves_and_hands_none_to_scripts() {
    let network = Network::new();
    let host = network.host("a");
    if !host
        .try_sh(&format!("setpriv --reuid {NOBODY} --clear-groups true"))
        .status
        .success()
    {
        crate::skip::skip("there is no other user in this namespace");
        return;
    }
    let open = |mode: u32| fs::Permissions::from_mode(mode);
    fs::set_permissions(host.directory(), open(0o755)).unwrap();
    let runtime = host.directory().join("run");
    fs::create_dir(&runtime).unwrap();
    let binary = warren_binary();
    // The build may be where others cannot look.
    host.sh(&format!(
        "touch /run/warren && mount --bind '{}' /run/warren && chown {NOBODY}:{NOBODY} '{}'",
        binary.display(),
        runtime.display()
    ));
    let check = recording_check(&runtime.join("who").display().to_string(), "nobody");
    let more = "[vrrp.check.other]\nscript = \"true\"\nuser = \"root\"\n";
    let configuration = host.write(
        "warren.toml",
        &toml(&format!("{check}{more}"))
            .replace("[\"who\"]", "[\"who\", { check = \"other\", weight = -1 }]"),
    );
    fs::set_permissions(&configuration, open(0o644)).unwrap();

    let mut command = Command::new("setpriv");
    command
        .args([
            "--reuid",
            NOBODY,
            "--regid",
            NOBODY,
            "--clear-groups",
            "--no-new-privs",
        ])
        .args(
            ["inh-caps", "ambient-caps", "bounding-set"]
                .map(|set| format!("--{set}=-all,+net_admin,+net_raw,+sys_nice")),
        )
        .args(["/run/warren", "vrrp", "--log-console", "--no-syslog", "--config"])
        .arg(&configuration)
        .arg("--runtime-dir")
        .arg(&runtime);
    let mut daemon = host.spawn_command(command);
    let held = eventually_held(&host, true);
    eprintln!("as an ordinary user: address held after {held:?}");
    let worker = *daemon.descendants().first().expect("a worker");
    for id in [daemon.id(), worker] {
        assert_eq!(status(id, "CapEff"), CAPABILITIES);
        assert_eq!(status(id, "CapBnd"), CAPABILITIES);
    }
    assert!(
        is_realtime(worker) || daemon.log().contains("real-time"),
        "{}",
        daemon.log()
    );
    let record = eventually(PATIENCE, "the check has run", || {
        let record = fs::read_to_string(runtime.join("who")).unwrap_or_default();
        if record.contains("CapAmb") {
            Ok(record)
        } else {
            Err(daemon.log())
        }
    });
    assert_powerless(&record, NOBODY);
    eventually(PATIENCE, "the user that cannot be taken is reported", || {
        let log = daemon.log();
        if log.contains("it cannot run as root") {
            Ok(())
        } else {
            Err(log)
        }
    });
    daemon.terminate(Duration::from_secs(2));
    assert!(!host.has(ip(VIP)));
}
