//! `warren run`: every role of one file on one host, as in a container.

use std::net::SocketAddr;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::Value;
use warren_lab::{Host, Network, Process, Session, eventually, warren_binary};

use crate::pair::PATIENCE;
use crate::service::manager::{send, status as of_process};

const FILE: &str = r#"
[vrrp.router.VI_1]
interface = "eth0"
vrid = 51
addresses = ["10.77.0.100/24"]
checks = ["proxy"]

[vrrp.check.proxy]
service = "proxy"
interval = "50ms"

[proxy.listen.rabbitmq]
bind = "*:5670"
mode = "amqp"
servers = ["127.0.0.1:5672"]

[proxy.listen.rabbitmq.server_defaults]
send_proxy = "v2"
check = { interval = "200ms" }

[broker]
proxies = ["127.0.0.1"]
loopback_users = []
"#;

const VIP: &str = "10.77.0.100";
const ROLES: [&str; 3] = ["broker", "proxy", "vrrp"];

fn start(host: &Host, file: &str) -> Process {
    let file = host.write("warren.toml", file);
    let mut command = Command::new(warren_binary());
    command.args(["run", "--config"]).arg(file);
    command.arg("--data").arg(host.directory().join("data"));
    host.spawn_command(command)
}

fn status(host: &Host) -> Result<Value, String> {
    let output = host.try_sh(&format!("{} run status --json", warren_binary().display()));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    serde_json::from_str(&text).map_err(|_| format!("{output:?}"))
}

fn role(status: &Value, name: &str) -> Value {
    let roles = status["roles"].as_array().expect("roles");
    let role = roles.iter().find(|role| role["name"] == name);
    role.unwrap_or_else(|| panic!("no {name} in {status}")).clone()
}

/// All roles are ready, and a client is served at the shared address.
#[track_caller]
fn serves(host: &Host, run: &Process) -> Value {
    let status = eventually(PATIENCE, "every role is ready", || {
        let status = status(host)?;
        let ready = ROLES.iter().all(|name| role(&status, name)["state"] == "ready");
        if ready {
            Ok(status)
        } else {
            Err(format!("{status}\n{}", run.log()))
        }
    });
    let entry: SocketAddr = format!("{VIP}:5670").parse().expect("an address");
    eventually(PATIENCE, "a client is served at the shared address", || {
        Session::open(host, entry, PATIENCE)
    });
    status
}

/// A process as the lab sees it, of one as the host does.
fn process(run: &Process, inside: &Value) -> i32 {
    let inside = inside.to_string();
    let found = run.descendants().into_iter().find(|&id| {
        let seen = of_process(id, "NSpid");
        seen.split_whitespace().next_back() == Some(inside.as_str())
    });
    found.unwrap_or_else(|| panic!("no process {inside}; it wrote:\n{}", run.log()))
}

#[test]
fn roles_start_one_after_the_other_and_end_in_the_other_order() {
    let network = Network::new();
    let host = network.host("a");
    let mut run = start(&host, FILE);
    serves(&host, &run);
    assert!(host.has(VIP.parse().expect("an address")));
    run.signal(Signal::SIGTERM);
    assert!(run.wait(PATIENCE).success(), "{}", run.log());
    assert!(!host.has(VIP.parse().expect("an address")));
    let log = run.log();
    let order = |what: &str| -> Vec<usize> {
        let place = |name: &&str| {
            let line = |line: &str| line.contains(what) && line.contains(&format!("role=\"{name}\""));
            log.lines()
                .position(line)
                .unwrap_or_else(|| panic!("no {what} of {name}:\n{log}"))
        };
        ROLES.iter().map(place).collect()
    };
    assert!(order("role is ready").is_sorted(), "{log}");
    assert!(order("role ended").iter().rev().is_sorted(), "{log}");
    assert!(log.contains("broker | "), "lines say whose they are: {log}");
}

#[test]
fn what_dies_is_started_again_and_the_others_stay() {
    let network = Network::new();
    let host = network.host("a");
    let run = start(&host, FILE);
    let mut before = serves(&host, &run);
    for name in ROLES {
        send(process(&run, &role(&before, name)["process"]), Signal::SIGKILL);
        let now = eventually(PATIENCE, &format!("{name} is there again"), || {
            let status = status(&host)?;
            let role = role(&status, name);
            if role["state"] == "ready" && role["restarts"] == 1 {
                Ok(status)
            } else {
                Err(role.to_string())
            }
        });
        assert_eq!(role(&now, name)["ended"], "signal SIGKILL");
        for other in ROLES.iter().filter(|other| **other != name) {
            assert_eq!(
                role(&now, other)["process"],
                role(&before, other)["process"],
                "{other}"
            );
        }
        before = serves(&host, &run);
    }
}

#[test]
fn a_role_that_hands_over_to_a_new_binary_is_still_looked_after() {
    let network = Network::new();
    let host = network.host("a");
    let run = start(&host, FILE);
    let before = serves(&host, &run);
    host.sh(&format!("{} proxy upgrade", warren_binary().display()));
    let after = serves(&host, &run);
    let successor = &role(&after, "proxy")["process"];
    assert_ne!(successor, &role(&before, "proxy")["process"]);
    assert_eq!(role(&after, "proxy")["restarts"], 0);
    send(process(&run, successor), Signal::SIGKILL);
    eventually(PATIENCE, "its end was noticed", || {
        let status = status(&host)?;
        if role(&status, "proxy")["restarts"] == 1 {
            Ok(())
        } else {
            Err(status.to_string())
        }
    });
    serves(&host, &run);
}

#[test]
fn no_role_has_more_privileges_than_it_needs() {
    const BIND: u64 = 1 << 10;
    const NETWORK: u64 = 1 << 12 | 1 << 13;
    const ALL_FILES: u64 = 1 << 1;
    const SYSTEM: u64 = 1 << 21;
    let network = Network::new();
    let host = network.host("a");
    let run = start(&host, FILE);
    let status = serves(&host, &run);
    let set = |name: &str, field: &str| {
        let id = process(&run, &role(&status, name)["process"]);
        u64::from_str_radix(&of_process(id, field), 16).expect("a set of capabilities")
    };
    for field in ["CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(set("broker", field), 0, "{field}");
        assert_eq!(
            set("proxy", field) & (BIND | NETWORK | ALL_FILES | SYSTEM),
            BIND,
            "{field}"
        );
        assert_eq!(
            set("vrrp", field) & (BIND | NETWORK | ALL_FILES | SYSTEM),
            NETWORK,
            "{field}"
        );
    }
    for name in ROLES {
        let id = process(&run, &role(&status, name)["process"]);
        assert_eq!(of_process(id, "NoNewPrivs"), "1", "{name}");
    }
}

#[test]
fn a_wrong_file_ends_the_start_with_its_place() {
    let network = Network::new();
    let host = network.host("a");
    let mut run = start(&host, &FILE.replace("mode = \"amqp\"", "mode = \"amqq\""));
    assert_eq!(run.wait(PATIENCE).code(), Some(78), "{}", run.log());
    let log = run.log();
    assert!(log.contains("proxy  | ") && log.contains("amqq"), "{log}");
    assert!(log.contains("warren.toml:"), "{log}");
}

#[test]
fn roles_end_with_their_supervisor_however_that_ends() {
    let network = Network::new();
    let host = network.host("a");
    let mut run = start(&host, FILE);
    let status = serves(&host, &run);
    let ids: Vec<i32> = ROLES
        .map(|name| process(&run, &role(&status, name)["process"]))
        .into();
    run.signal(Signal::SIGKILL);
    run.wait(PATIENCE);
    eventually(PATIENCE, "nobody is left", || {
        let left: Vec<i32> = ids
            .iter()
            .copied()
            .filter(|id| !of_process(*id, "Name").is_empty())
            .collect();
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
    assert!(!host.has(VIP.parse().expect("an address")));
}

#[test]
fn a_reload_reaches_every_role_and_without_a_file_there_is_a_broker() {
    let network = Network::new();
    let host = network.host("a");
    let run = start(&host, FILE);
    serves(&host, &run);
    host.write(
        "warren.toml",
        &FILE.replace("[broker]\n", "[broker]\nheartbeat = \"20s\"\n"),
    );
    host.sh(&format!("{} run reload", warren_binary().display()));
    eventually(PATIENCE, "everybody read it again", || {
        let log = run.log();
        let all = log.contains("heartbeat: 60s -> 20s")
            && log.contains("proxy  | ")
            && log
                .lines()
                .any(|line| line.starts_with("vrrp") && line.contains("configuration read: "));
        if all { Ok(()) } else { Err(log) }
    });
    drop(run);

    let other = network.host("b");
    let mut command = Command::new(warren_binary());
    command
        .args(["run", "--data"])
        .arg(other.directory().join("data"));
    let _run = other.spawn_command(command);
    eventually(PATIENCE, "guest is served", || {
        Session::open(&other, ([127, 0, 0, 1], 5672).into(), PATIENCE)
    });
}
