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
use std::time::Duration;

use serde_json::json;

use super::{cores, place};
use measure::Sample;
use peer::{Peer, Site, Unit};
use report::{Report, Samples};
use rows::{ROWS, Row};

/// What to measure.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) rows: Vec<String>,
    pub(crate) only: Vec<String>,
    pub(crate) json: Option<PathBuf>,
    pub(crate) warren: Option<PathBuf>,
    pub(crate) lavinmq: Option<PathBuf>,
    /// Where brokers keep their data: the disk that is measured.
    pub(crate) data: Option<PathBuf>,
    /// How many the brokers have; clients have the rest.
    pub(crate) cores: Option<usize>,
    /// How often each broker is measured.
    pub(crate) samples: Option<usize>,
    pub(crate) seconds: Option<f64>,
    /// Of TCP, for all of them.
    pub(crate) congestion: Option<String>,
}

/// Measures; answers whether everything that must hold does.
pub(crate) fn run(options: &Options) -> Result<bool, String> {
    let unknown = options
        .rows
        .iter()
        .find(|name| !ROWS.iter().any(|row| row.name == **name));
    if let Some(name) = unknown {
        return Err(format!("there is no row {name}; there are: {}", report::names()));
    }
    if let Some(name) = options.only.iter().find(|name| Peer::by_name(name).is_none()) {
        return Err(format!(
            "there is no broker {name}; there are: rabbitmq lavinmq floor warren"
        ));
    }
    let wanted = |peer: &Peer| options.only.is_empty() || options.only.iter().any(|name| name == peer.name());
    let peers: Vec<Peer> = Peer::ALL
        .into_iter()
        .filter(wanted)
        .filter(|peer| *peer != Peer::Lavinmq || options.lavinmq.is_some())
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
        lavinmq: options.lavinmq.as_ref().map(own).transpose()?,
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
        if options.rows.is_empty() || options.rows.iter().any(|name| name == row.name) {
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
    if let Some(path) = &options.json {
        let text = json!({ "quick": options.quick, "rows": report.json() });
        std::fs::write(path, format!("{text:#}\n"))
            .map_err(|error| format!("{}: {error}", path.display()))?;
        println!("\nwritten to {}", path.display());
    }
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
    let window = options.seconds.unwrap_or(if options.quick { 1.0 } else { 2.0 });
    let window = Duration::from_secs_f64(window);
    let turns = match row.work.needs_a_fresh_process() {
        true => options.samples.unwrap_or(1),
        false => options.samples.unwrap_or(if options.quick { 3 } else { 6 }),
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
