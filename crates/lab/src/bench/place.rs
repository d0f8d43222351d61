//! Where a benchmark takes place: a network namespace with nothing but a loopback.

use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// A place of our own: a loopback nobody else uses, with room for many short connections, and as many files as allowed.
/// Says which congestion control is used there: one that paces (bbr) arms a timer for every segment of a large flow.
pub(crate) fn prepare(congestion: Option<&str>) -> Result<String, String> {
    unshare(CloneFlags::CLONE_NEWNET)
        .map_err(|error| format!("no network namespace: {error}; run this as root"))?;
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
    if !up.is_ok_and(|status| status.success()) {
        return Err("the loopback cannot be brought up: is iproute2 installed?".to_owned());
    }
    for (key, value) in [
        ("ip_local_port_range", "12000 65000"),
        // RabbitMQ's other listeners: no client may happen to have their ports.
        ("ip_local_reserved_ports", "15672-15692,25672"),
        ("tcp_tw_reuse", "1"),
        // Connections that have ended a while ago would make every new one search longer for a port.
        ("tcp_max_tw_buckets", "4000"),
    ] {
        let path = format!("/proc/sys/net/ipv4/{key}");
        std::fs::write(&path, value).map_err(|error| format!("{path}: {error}"))?;
    }
    let path = "/proc/sys/net/ipv4/tcp_congestion_control";
    if let Some(name) = congestion {
        std::fs::write(path, name).map_err(|error| format!("{path}: {name}: {error}"))?;
    }
    let congestion = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(|error| error.to_string())?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_err(|error| error.to_string())?;
    Ok(congestion.trim().to_owned())
}
