//! The proxy's benchmark: HAProxy and warren with the same configuration, the same traffic, in the same run.
//!
//! Everything is on the loopback of a network namespace of its own. The proxies run at the same time, all on one core
//! that nothing of the benchmark shares, and get traffic in turns, so that all meet the same noise of the machine. The
//! figure is processor time per operation: what a proxy can do in a second follows from it, and it can be measured while
//! others use the machine. A row holds if the lower end of the 95 % interval of the median ratio does.
//!
//! One row is not like the others: how it scales, with two and three workers beside one ([`threads`]).
//!
//! Deliberately absent: a network. On the loopback splicing moves pages, on a network card it gains less.

mod load;
mod measure;
mod peer;
mod report;
mod rows;
mod threads;

use std::sync::Arc;

use super::comparison::Options;
use super::cores::Cores;
use super::place;
use load::TlsHttp;
use measure::{Bench, PACED};
use peer::{Binaries, Peer, Unit};
use report::{Report, Samples};
use rows::{ROWS, Row, Traffic};

/// What every proxy is told. Two files each, and pipes: within the 20000 that a process may open in many places.
const CONNECTIONS_AT_MOST: usize = 6000;
/// The offered load of the row about latency, as a share of what the slower proxy can bear.
const LOAD: f64 = 0.7;

/// Measures; answers whether everything that must hold does.
pub(crate) fn run(options: &Options) -> Result<bool, String> {
    let names: Vec<&str> = ROWS.iter().map(|row| row.name).chain([threads::NAME]).collect();
    options.check(&names, "proxy", &Peer::ALL.map(Peer::name))?;
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let wants_warren = options.wants_peer(Peer::Warren.name());
    let (certificate, pem) = certificate()?;
    let binaries = Binaries {
        warren: wants_warren.then(|| options.warren.clone().unwrap_or_else(warren_lab::warren_binary)),
        newer: options.other.clone(),
        certificate: directory.path().join("bench.pem"),
    };
    std::fs::write(&binaries.certificate, pem).map_err(|error| error.to_string())?;
    let congestion = place::prepare(options.congestion.as_deref())?;
    println!("congestion control {congestion}");
    let tls = TlsHttp::configuration(certificate);
    let bench = |workers| Bench {
        tls: Arc::clone(&tls),
        window: options.window(0.6, 1.2),
        cores: Cores::choose(workers),
    };
    let (one, many) = (bench(1), bench(threads::WORKERS_AT_MOST));

    let mut report = Report::default();
    let servers = one.take_cores()?;
    for row in ROWS {
        if options.wants_row(row.name) {
            let samples =
                measure(row, options, &one, &binaries).map_err(|reason| format!("{}: {reason}", row.name))?;
            report.add(row, samples);
        }
    }
    drop(servers);
    let mut scaling = threads::Report::default();
    if options.wants_row(threads::NAME) {
        scaling = threads::measure(options, &many, &binaries)
            .map_err(|reason| format!("{}: {reason}", threads::NAME))?;
    }
    let holds = [report.print(), scaling.print()];
    options.write(&[report.json(), scaling.json()].concat().into())?;
    Ok(holds == [true; 2])
}

fn certificate() -> Result<(rustls::pki_types::CertificateDer<'static>, String), String> {
    let made =
        rcgen::generate_simple_self_signed([load::NAME.to_owned()]).map_err(|error| error.to_string())?;
    let pem = made.signing_key.serialize_pem() + &made.cert.pem();
    Ok((made.cert.der().clone(), pem))
}

/// The proxies take turns, and who begins changes with every turn.
fn measure(
    row: &'static Row,
    options: &Options,
    bench: &Bench,
    binaries: &Binaries,
) -> Result<Samples, String> {
    let wanted =
        |peer: &Peer| options.wants_peer(peer.name()) && (*peer != Peer::Newer || binaries.newer.is_some());
    let mut peers: Vec<Peer> = row.peers.iter().copied().filter(wanted).collect();
    let start = |peer: Peer| Unit::start(peer, binaries, &bench.cores.proxy);
    let at_once: &[Peer] = if row.traffic.needs_a_fresh_process() {
        &[]
    } else {
        &peers
    };
    let mut units = at_once
        .iter()
        .map(|&peer| start(peer))
        .collect::<Result<Vec<Unit>, _>>()?;
    let mut rate = 0.0;
    if row.traffic == Traffic::Paced {
        let maxima = units
            .iter()
            .map(|unit| bench.maximum(Traffic::Ping(PACED), unit))
            .collect::<Result<Vec<f64>, _>>()?;
        rate = LOAD * maxima.into_iter().min_by(f64::total_cmp).unwrap_or_default();
        println!("p99: {rate:.0} messages per second are offered");
    }
    let pairs = match row.traffic {
        Traffic::Idle | Traffic::HandOver => 3,
        _ => options.count(6, 15),
    };
    let mut samples = Samples::new();
    for pair in 0..pairs {
        for &peer in &peers {
            let mut fresh;
            let unit = match units.iter_mut().find(|unit| unit.peer == peer) {
                Some(unit) => unit,
                None => {
                    fresh = start(peer)?;
                    &mut fresh
                }
            };
            let lines = unit.log_lines();
            let sample = bench.sample(row, unit, rate)?;
            println!(
                "{} {} {pair}: {:.2} {} ({:.0}/s, {} log lines, {} errors)",
                row.name,
                peer.name(),
                sample.figure,
                row.figure.unit(),
                sample.rate,
                unit.log_lines() - lines,
                sample.errors
            );
            samples.entry(peer).or_default().push(sample);
        }
        peers.rotate_left(1);
    }
    Ok(samples)
}
