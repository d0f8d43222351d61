//! The proxy's benchmark: HAProxy and warren with the same configuration, the same traffic, in the same run.
//!
//! Everything is on the loopback of a network namespace of its own. The proxies run at the same time, all on one core
//! that nothing of the benchmark shares, and get traffic in turns, so that all meet the same noise of the machine. The
//! figure is processor time per operation: what a proxy can do in a second follows from it, and it can be measured while
//! others use the machine. A row holds if the lower end of the 95 % interval of the median ratio does.
//!
//! Deliberately absent: a network. On the loopback splicing moves pages, on a network card it gains less.

mod load;
mod measure;
mod peer;
mod report;
mod rows;

use super::comparison::Options;
use super::cores::{self, Cores};
use super::place;
use load::TlsHttp;
use measure::Bench;
use peer::{Binaries, Peer, Unit};
use report::{Report, Samples};
use rows::{ROWS, Row, Traffic};

/// What every proxy is told. Two files each, and pipes: within the 20000 that a process may open in many places.
const CONNECTIONS_AT_MOST: usize = 6000;
/// The offered load of the row about latency, as a share of what the slower proxy can bear.
const LOAD: f64 = 0.7;

/// Measures; answers whether everything that must hold does.
pub(crate) fn run(options: &Options) -> Result<bool, String> {
    options.check(&report::names(), "proxy", &Peer::ALL.map(Peer::name))?;
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
    let cores = Cores::choose();
    let bench = Bench {
        tls: TlsHttp::configuration(certificate),
        window: options.window(0.6, 1.2),
        cores,
    };
    cores::stay_on(bench.cores.rest);
    let _servers = peer::servers(bench.cores.servers)?;
    println!(
        "cores: proxy {}, servers {}, clients {:?}; congestion control {congestion}",
        bench.cores.proxy, bench.cores.servers, bench.cores.clients
    );

    let mut report = Report::default();
    for row in ROWS {
        if options.wants_row(row.name) {
            let samples = measure(row, options, &bench, &binaries)
                .map_err(|reason| format!("{}: {reason}", row.name))?;
            report.add(row, samples);
        }
    }
    let holds = report.print();
    options.write(&report.json())?;
    Ok(holds)
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
    let start = |peer: Peer| Unit::start(peer, binaries, bench.cores.proxy);
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
            .map(|unit| bench.maximum(unit))
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
