//! What concerns the whole process.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;
use warren_kit::config::Report;

use super::{address, log};
use crate::config::file::{Proxy, Socket, SocketTable};
use crate::config::load::Machine;
use crate::plan::{BindAddress, Global, Origin, SocketAddress, SocketLevel, StatsSocket};

/// More threads than any machine has.
const THREADS_MAX: i64 = 1024;
const SOCKETS_MAX: usize = 64;
/// What is needed besides two files for each session: listeners, checks, sockets, logs.
const FILES_BESIDES: u64 = 200;
/// As in HAProxy (`tune.bufsize`). A head may have so many octets; no thread reads into less than four times as many.
const BUFFER: usize = 16_384;

pub(super) fn global(report: &mut Report, file: &Proxy, origin: Origin, machine: &Machine) -> Global {
    let threads = report.number(
        "threads",
        file.threads.as_ref(),
        1..=THREADS_MAX,
        machine.processors.get().min(64),
    );
    report.at_most(0..0, "runtime sockets", file.sockets.len(), SOCKETS_MAX);
    Global {
        origin,
        maxconn: super::positive(report, "maxconn", file.maxconn.as_ref())
            .unwrap_or_else(|| fitting(machine.open_files)),
        maxconnrate: super::limit(report, "maxconnrate", file.maxconnrate.as_ref()),
        maxsslrate: super::limit(report, "maxsslrate", file.maxsslrate.as_ref()),
        threads: NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN),
        sockets: file
            .sockets
            .iter()
            .filter_map(|socket| stats_socket(report, socket))
            .collect(),
        socket_timeout: report.duration(
            "socket_timeout",
            file.socket_timeout.as_ref(),
            Duration::from_millis(1)..=Duration::MAX,
            Duration::from_secs(10),
        ),
        daemon: file.daemon,
        pid_file: file.pid_file.clone(),
        server_state_file: file.server_state_file.clone(),
        user: file.user.clone().map(Spanned::into_inner),
        group: file.group.clone().map(Spanned::into_inner),
        node: file.node.clone(),
        description: file.description.clone(),
        logs: file
            .log
            .iter()
            .filter_map(|target| log::target(report, target).map(Arc::new))
            .collect(),
        log_tag: file.log_tag.clone().unwrap_or_else(|| "haproxy".to_owned()),
        log_hostname: match file.log_hostname.as_deref() {
            Some("") => Some(machine.host.clone()),
            given => given.map(str::to_owned),
        },
        hard_stop_after: file.drain_timeout.as_ref().map(|timeout| timeout.get_ref().get()),
        spread_checks: report.number("spread_checks", file.spread_checks.as_ref(), 0..=50, 5),
        metrics: file.metrics.as_ref().and_then(|address| metrics(report, address)),
        buffer: NonZeroUsize::new(report.number("buffer", file.buffer.as_ref(), 1024..=1 << 24, BUFFER))
            .unwrap_or(NonZeroUsize::MIN),
        drain_rate: super::positive(report, "drain_rate", file.drain_rate.as_ref())
            .unwrap_or(NonZeroU32::MIN.saturating_add(99)),
    }
}

/// As many connections as so many files are enough for.
#[must_use]
fn fitting(open_files: u64) -> NonZeroU32 {
    let connections = open_files.saturating_sub(FILES_BESIDES) / 2;
    let connections = u32::try_from(connections).unwrap_or(u32::MAX).min(1 << 20);
    NonZeroU32::new(connections).unwrap_or(NonZeroU32::MIN)
}

fn metrics(report: &mut Report, address: &Spanned<String>) -> Option<SocketAddr> {
    let parsed = address.get_ref().parse().ok();
    if parsed.is_none() {
        report.error(
            address.span(),
            format!("\"{}\" is not an address with a port", address.get_ref()),
            "write one such as \"127.0.0.1:9113\"",
        );
    }
    parsed
}

fn stats_socket(report: &mut Report, socket: &Spanned<Socket>) -> Option<StatsSocket> {
    const LEVELS: [(&str, SocketLevel); 3] = [
        ("user", SocketLevel::User),
        ("operator", SocketLevel::Operator),
        ("admin", SocketLevel::Admin),
    ];
    let table = match socket.get_ref() {
        Socket::Short(address) => SocketTable {
            address: address.clone(),
            ..SocketTable::default()
        },
        Socket::Long(table) => table.clone(),
    };
    let address = match address::bind_addresses(&table.address).as_deref() {
        Ok([BindAddress::Unix(path)]) => SocketAddress::Unix(path.clone()),
        Ok([BindAddress::Tcp(address)]) => SocketAddress::Tcp(*address),
        Ok(_) | Err(_) => {
            report.error(
                socket.span(),
                format!("\"{}\" is no place for a runtime socket", table.address),
                "write a path such as /run/haproxy/admin.sock, or ipv4@127.0.0.1:9999",
            );
            return None;
        }
    };
    Some(StatsSocket {
        address,
        user: table.user,
        group: table.group,
        mode: table.mode.and_then(|mode| permissions(report, socket, &mode)),
        level: table
            .level
            .and_then(|level| report.choice("level", socket.span(), &level, &LEVELS))
            .unwrap_or_default(),
    })
}

/// `660`, octal.
pub(super) fn permissions<T>(report: &mut Report, at: &Spanned<T>, mode: &str) -> Option<u32> {
    let bits = u32::from_str_radix(mode, 8).ok().filter(|bits| *bits <= 0o777);
    if bits.is_none() {
        report.error(
            at.span(),
            format!("\"{mode}\" are no permissions"),
            "write three octal digits, such as 660",
        );
    }
    bits
}
