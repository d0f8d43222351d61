//! The broker under a real systemd.

use warren_lab::{Network, Session, eventually};

use super::manager::{Manager, status};
use super::{NONE, PATIENCE};

#[test]
fn the_brokers_unit_serves_without_any_capability_reloads_restarts_and_stops() {
    let network = Network::new();
    let host = network.host("a");
    let Some(manager) = Manager::boot_for("warren-broker.service", &host, "[broker]\n") else {
        return;
    };
    manager.systemctl("start");
    assert_eq!(manager.property("ActiveState"), "active", "{}", manager.log());
    let main = manager.guard();
    let user = manager.run(&["id", "-u", "warren-broker"]);
    let ids = status(main, "Uid");
    assert!(ids.split_whitespace().all(|id| id == user), "{ids}, not {user}");
    let others = manager.run(&["id", "-u", "warren"]);
    assert_ne!(user, others, "its own user, not that of the other daemons");
    assert_eq!(
        manager.run(&["stat", "-c", "%U %a", "/var/lib/warren/broker"]),
        "warren-broker 750"
    );
    let asked = manager.run(&["warren", "ctl", "-q", "list_users"]);
    assert!(asked.contains("guest"), "root finds its socket: {asked}");
    let other = manager.try_run(&[
        "setpriv",
        "--reuid=warren",
        "--regid=warren",
        "--clear-groups",
        "cat",
        "/var/lib/warren/broker/node",
    ]);
    assert!(
        !other.status.success(),
        "the other daemons' user reads nothing of it"
    );
    for set in ["CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status(main, set), NONE, "{set}");
    }
    assert_eq!(status(main, "NoNewPrivs"), "1");
    let session = || {
        eventually(PATIENCE, "a session of guest on this host", || {
            Session::open(&host, ([127, 0, 0, 1], 5672).into(), PATIENCE)
        })
    };
    let first = session();
    let kept = manager.run(&["ls", "/var/lib/warren/broker"]);
    assert!(kept.lines().any(|name| name == "lock"), "{kept}");

    manager.configure("[broker]\nheartbeat = \"20s\"\n");
    manager.systemctl("reload");
    eventually(PATIENCE, "the reload is told", || {
        let log = manager.log();
        if log.contains("heartbeat: 60s -> 20s") {
            Ok(())
        } else {
            Err(log)
        }
    });
    assert_eq!(manager.guard(), main);
    drop(first);

    manager.systemctl("restart");
    drop(session());
    manager.systemctl("stop");
    assert_eq!(manager.property("Result"), "success");
    assert_eq!(manager.tasks(), 0);
}
