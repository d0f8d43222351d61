//! The broker's benchmark: RabbitMQ, LavinMQ and warren with the same clients, on the same cores, in the same run.
//!
//! Beside them is a server that does nothing but to answer ([`floor`]): what is left of a figure above its own is the broker's.
//!
//! Everything is on the loopback of a network namespace of its own. The brokers run at the same time on cores that nothing
//! else of the benchmark uses, and get traffic in turns. The figure is the processor time of all processes of a broker for
//! each message: what it can do in a second follows from it, and it can be measured while others use the machine. Busy
//! time of the whole machine is beside it, since work can be left to the kernel. A row holds if the lower end of the 95 %
//! interval of the median does.
//!
//! Deliberately absent: a network, and clients that think.

mod client;
mod disturb;
pub(crate) mod floor;
mod load;
mod measure;
mod peer;
mod report;
mod rows;

use std::path::PathBuf;

use super::comparison::Options;
use super::{cores, place};
use measure::Sample;
use peer::{Peer, Site, Unit};
use report::{Report, Samples};
use rows::{ROWS, Row};

/// Measures; answers whether everything that must hold does.
pub(crate) fn run(options: &Options) -> Result<bool, String> {
    options.check(&report::names(), "broker", &Peer::ALL.map(Peer::name))?;
    let peers: Vec<Peer> = Peer::ALL
        .into_iter()
        .filter(|peer| options.wants_peer(peer.name()))
        .filter(|peer| *peer != Peer::Lavinmq || options.other.is_some())
        .collect();
    let congestion = place::prepare(options.congestion.as_deref())?;
    let (brokers, clients) = share(options.cores.unwrap_or(1));
    cores::stay_among(&clients);
    let own = |path: &PathBuf| {
        path.canonicalize()
            .map_err(|error| format!("{}: {error}", path.display()))
    };
    let warren = match (&options.warren, peers.contains(&Peer::Warren)) {
        (_, false) => None,
        (Some(path), true) => Some(own(path)?),
        (None, true) => Some(warren_lab::warren_binary()),
    };
    let site = Site {
        warren,
        lavinmq: options.other.as_ref().map(own).transpose()?,
        data: options.data.clone().unwrap_or_else(std::env::temp_dir),
        cores: brokers,
    };
    println!(
        "cores: brokers {:?}, clients {clients:?}; congestion control {congestion}",
        site.cores
    );

    let (mut report, mut complete) = (Report::default(), true);
    let mut units = Vec::new();
    for row in ROWS {
        if options.wants_row(row.name) {
            // What was measured before is not lost.
            match measure(row, options, &peers, &site, &mut units) {
                Ok(samples) => report.add(row, samples),
                Err(reason) => {
                    eprintln!("{}: {reason}", row.name);
                    complete = false;
                }
            }
        }
    }
    drop(units);
    let holds = report.print();
    options.write(&report.json())?;
    Ok(holds && complete)
}

/// So many cores for the brokers, and the others for clients; with few, they share.
fn share(brokers: usize) -> (Vec<usize>, Vec<usize>) {
    let all = cores::allowed();
    match all.len().checked_sub(brokers) {
        None | Some(0) => (all.clone(), all),
        Some(clients) => (
            all.iter().copied().skip(clients).collect(),
            all.iter().copied().take(clients).collect(),
        ),
    }
}

/// The brokers take turns, and who begins changes with every turn.
fn measure(
    row: &'static Row,
    options: &Options,
    peers: &[Peer],
    site: &Site,
    units: &mut Vec<Unit>,
) -> Result<Samples, String> {
    let window = options.window(1.0, 2.0);
    let turns = match row.work.needs_a_fresh_process() {
        true => options.count(1, 1),
        false => options.count(3, 6),
    };
    if row.work.needs_a_fresh_process() {
        // It gets the port of the one that has been used so far.
        units.clear();
    }
    let mut order: Vec<Peer> = peers
        .iter()
        .copied()
        .filter(|peer| row.work.suits(*peer))
        .collect();
    let mut samples = Samples::new();
    for turn in 0..turns {
        for &peer in &order {
            let sample = match row.work.needs_a_fresh_process() {
                true => measure::sample(&row.work, &mut Unit::start(peer, site)?, window)?,
                false => {
                    if !units.iter().any(|unit| unit.peer == peer) {
                        units.push(Unit::start(peer, site)?);
                    }
                    let unit = units.iter_mut().find(|unit| unit.peer == peer);
                    measure::sample(&row.work, unit.ok_or("it has ended")?, window)?
                }
            };
            say(row, peer, turn, &sample);
            samples.entry(peer).or_default().push(sample);
        }
        order.rotate_left(1);
    }
    Ok(samples)
}

fn say(row: &Row, peer: Peer, turn: usize, sample: &Sample) {
    println!(
        "{} {} {turn}: {:.3} {} ({:.0}/s, machine {:.2} us, others {:.1} cores, {} errors)",
        row.name,
        peer.name(),
        sample.figure,
        row.unit.name(),
        sample.rate,
        sample.machine.unwrap_or_default(),
        sample.others,
        sample.errors
    );
}
