//! 255 virtual routers with 20 addresses each at 100 ms: what they cost, and a take-over of all of them.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};
use warren_lab::{Daemon, Flavour, Host, Network, Sniffer, eventually, now};

use super::table::{Table, cell, spread};
use super::{Options, instance, milliseconds, name};

const INTERVAL: Duration = Duration::from_millis(100);
const ADDRESSES: usize = 20;
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn measure(options: &Options) -> Value {
    let mut table = Table::new(&[
        "daemon",
        "CPU % active",
        "CPU % backup",
        "memory MB active",
        "memory MB backup",
        "processes",
        "adverts/s",
        "take-over: lateness ms",
        "all addresses after ms",
        "lease",
    ]);
    let rows: Vec<Value> = options
        .flavours()
        .into_iter()
        .map(|flavour| one(flavour, options.quick, &mut table))
        .collect();
    table.print(&format!(
        "255 routers x {ADDRESSES} addresses, adverts every 100 ms (min / median / max)"
    ));
    Value::Array(rows)
}

fn file(priority: u8) -> String {
    (1..=255u8)
        .map(|vrid| {
            let addresses: Vec<String> = (1..=ADDRESSES).map(|n| format!("10.78.{vrid}.{n}/32")).collect();
            instance(vrid, priority, INTERVAL, &addresses, "")
        })
        .collect()
}

fn held(host: &Host) -> usize {
    host.addresses()
        .iter()
        .filter(|address| address.to_string().starts_with("10.78."))
        .count()
}

fn one(flavour: Flavour, quick: bool, table: &mut Table) -> Value {
    let network = Network::new();
    let (a, b) = (network.host("a"), network.host("b"));
    let sniffer = Sniffer::start(&network);
    let active = Daemon::start(flavour, &a, &file(200));
    let backup = Daemon::start(flavour, &b, &file(100));
    eventually(PATIENCE, "a holds everything", || {
        let counts = (held(&a), held(&b));
        if counts == (255 * ADDRESSES, 0) {
            Ok(())
        } else {
            Err(counts)
        }
    });
    // keepalived repeats its announcements five seconds later; that is not the steady state.
    std::thread::sleep(Duration::from_secs(7));
    let lease = a.sh("ip address show dev eth0 | grep -A1 '10\\.78\\.' | sed -n 's/.*valid_lft \\([^ ]*\\) .*/\\1/p' | head -1");

    let period = Duration::from_secs(if quick { 4 } else { 10 });
    sniffer.clear();
    let (start, before) = (now(), (active.process.usage(), backup.process.usage()));
    std::thread::sleep(period);
    let (after, took) = ((active.process.usage(), backup.process.usage()), now() - start);
    let percent =
        |before: Duration, after: Duration| 100.0 * (after - before).as_secs_f64() / took.as_secs_f64();
    let cpu = (
        percent(before.0.cpu, after.0.cpu),
        percent(before.1.cpu, after.1.cpu),
    );
    let adverts = sniffer
        .frames()
        .iter()
        .filter(|seen| seen.advert().is_some())
        .count() as f64
        / took.as_secs_f64();
    let megabytes = |bytes: u64| bytes as f64 / 1e6;

    sniffer.clear();
    std::thread::sleep(Duration::from_millis(500));
    let crashed = now();
    a.crash();
    eventually(PATIENCE, "b holds everything", || {
        let count = held(&b);
        if count == 255 * ADDRESSES {
            Ok(())
        } else {
            Err(count)
        }
    });
    let complete = now() - crashed;
    std::thread::sleep(Duration::from_millis(500));
    let lateness = spread(lateness(&sniffer));

    table.row(vec![
        name(flavour).to_owned(),
        format!("{:.1}", cpu.0),
        format!("{:.1}", cpu.1),
        format!("{:.1}", megabytes(after.0.resident)),
        format!("{:.1}", megabytes(after.1.resident)),
        after.0.processes.to_string(),
        format!("{adverts:.0}"),
        cell(lateness, 1),
        format!("{:.0}", milliseconds(complete)),
        lease.trim().to_owned(),
    ]);
    json!({
        "daemon": name(flavour), "cpu_percent_active": cpu.0, "cpu_percent_backup": cpu.1,
        "resident_bytes_active": after.0.resident, "resident_bytes_backup": after.1.resident,
        "processes": after.0.processes, "adverts_per_second": adverts, "takeover_lateness_ms": lateness,
        "all_addresses_after_ms": milliseconds(complete), "lease": lease.trim(),
    })
}

/// How much later than its active-down interval each virtual router of `b` spoke.
fn lateness(sniffer: &Sniffer) -> Vec<f64> {
    let floor = milliseconds(3 * INTERVAL + INTERVAL * 156 / 256);
    let (mut last, mut first) = (HashMap::new(), HashMap::new());
    for seen in sniffer.frames() {
        let Some(advert) = seen.advert() else { continue };
        if seen.host == "a" {
            last.insert(advert.vrid, seen.at);
        } else {
            first.entry(advert.vrid).or_insert(seen.at);
        }
    }
    let mut late = Vec::new();
    for (vrid, at) in &first {
        late.extend(
            last.get(vrid)
                .map(|last| milliseconds(*at) - milliseconds(*last) - floor),
        );
    }
    assert_eq!(late.len(), 255, "every virtual router is taken over");
    late
}
