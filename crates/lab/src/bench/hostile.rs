//! Adverts of the active under a stream of packets that must be refused.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::{Value, json};
use warren_lab::frame::Forged;
use warren_lab::{Daemon, Injector, Network, Sniffer, eventually, now};

use super::table::Table;
use super::{Options, instance, milliseconds, name};

const INTERVAL: Duration = Duration::from_millis(100);

pub(crate) fn measure(options: &Options) -> Value {
    let mut table = Table::new(&[
        "packets/s",
        "daemon",
        "adverts of the active (30 due)",
        "longest silence ms",
        "adverts of the backup",
        "CPU % active",
    ]);
    let mut rows = Vec::new();
    for rate in [100, 10_000] {
        for flavour in options.flavours() {
            let network = Network::new();
            let (a, b, attacker) = (network.host("a"), network.host("b"), network.host("attacker"));
            let sniffer = Sniffer::start(&network);
            let file = |priority| instance(51, priority, INTERVAL, &["10.77.9.1/32".to_owned()], "");
            let active = Daemon::start(flavour, &a, &file(200));
            let _backup = Daemon::start(flavour, &b, &file(100));
            eventually(Duration::from_secs(10), "a advertises alone", || {
                let since = now().saturating_sub(Duration::from_millis(500));
                let (ours, theirs) = (
                    sniffer.adverts("a", 51, since).len(),
                    sniffer.adverts("b", 51, since).len(),
                );
                if ours >= 3 && theirs == 0 {
                    Ok(())
                } else {
                    Err((ours, theirs))
                }
            });
            let mut forged = Forged::v3(
                Ipv4Addr::new(10, 77, 0, 3),
                51,
                254,
                10,
                &[Ipv4Addr::new(10, 77, 9, 1)],
            );
            forged.message[6] ^= 0xff;
            let frame = forged.frame();
            let (start, before) = (now(), active.process.usage());
            Injector::new(&attacker).flood(rate, Duration::from_secs(3), |_| frame.clone());
            let (end, after) = (now(), active.process.usage());
            let ours = sniffer.adverts("a", 51, start);
            let moments: Vec<Duration> = std::iter::once(start)
                .chain(ours.iter().map(|(at, _)| *at))
                .chain([end])
                .collect();
            let silence = moments
                .windows(2)
                .map(|pair| pair[1].saturating_sub(pair[0]))
                .max()
                .unwrap_or_default();
            let usurped = sniffer.adverts("b", 51, start).len();
            let cpu = 100.0 * (after.cpu - before.cpu).as_secs_f64() / (end - start).as_secs_f64();
            table.row(vec![
                rate.to_string(),
                name(flavour).to_owned(),
                ours.len().to_string(),
                format!("{:.1}", milliseconds(silence)),
                usurped.to_string(),
                format!("{cpu:.1}"),
            ]);
            rows.push(json!({
                "rate": rate, "daemon": name(flavour), "adverts": ours.len(),
                "longest_silence_ms": milliseconds(silence), "backup_adverts": usurped, "cpu_percent": cpu,
            }));
        }
    }
    table.print("adverts every 100 ms while packets with a wrong checksum arrive for 3 s");
    Value::Array(rows)
}
