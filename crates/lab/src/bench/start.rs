//! From exec to the address of an owner (priority 255), and from SIGTERM to the exit.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};
use warren_lab::{Daemon, Network, eventually, now};

use super::table::{Table, cell, spread};
use super::{Options, instance, milliseconds, name};

const VIP: &str = "10.77.9.1";

pub(crate) fn measure(options: &Options) -> Value {
    let mut table = Table::new(&["daemon", "n", "exec -> owner's address ms", "SIGTERM -> exit ms"]);
    let mut rows = Vec::new();
    let repetitions = if options.quick { 3 } else { 10 };
    for flavour in options.flavours() {
        let (mut starts, mut stops) = (Vec::new(), Vec::new());
        let network = Network::new();
        for _ in 0..repetitions {
            let host = network.host("a");
            let vip: IpAddr = VIP.parse().expect("an address");
            let file = instance(51, 255, Duration::from_millis(100), &[format!("{VIP}/32")], "");
            let begin = now();
            let mut daemon = Daemon::start(flavour, &host, &file.replace("BACKUP", "MASTER"));
            while !host.has(vip) && now() - begin < Duration::from_secs(5) {
                std::thread::sleep(Duration::from_micros(100));
            }
            starts.push(milliseconds(now() - begin));
            std::thread::sleep(Duration::from_millis(500));
            stops.push(milliseconds(daemon.process.terminate(Duration::from_secs(10))));
            eventually(Duration::from_secs(2), "the address is gone", || {
                if host.has(vip) { Err(()) } else { Ok(()) }
            });
        }
        let (start, stop) = (spread(starts), spread(stops));
        table.row(vec![
            name(flavour).to_owned(),
            repetitions.to_string(),
            cell(start, 1),
            cell(stop, 1),
        ]);
        rows.push(json!({ "daemon": name(flavour), "n": repetitions, "exec_to_address_ms": start, "sigterm_to_exit_ms": stop }));
    }
    table.print("start and stop (min / median / max)");
    Value::Array(rows)
}
