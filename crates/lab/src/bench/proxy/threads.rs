//! How the proxy scales with threads: the same traffic for one worker, for two and for three.
//!
//! More workers are asked three things. Whether an operation costs what it costs with one: for that each worker is offered
//! the same load, however many there are, since one that has less to do at a time pays more for being woken. Whether each
//! does its share: the busiest has little more than its part of the processor time. And whether more is done where as much
//! is asked for as can be had: of TLS that the proxy ends and the client throws away as it comes, for that is where clients
//! and servers have less to do than the proxy.
//!
//! Clients and servers have those cores that the most workers leave, whoever is measured, so that nothing else differs. Where
//! they were busy all the time the figure is their bound, not the proxy's; so that is printed, too.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::load::{Clients, Pace, Paced, Sealed};
use super::measure::{Bench, Sample};
use super::peer::{Binaries, Entry, Peer, Unit};
use super::report::{errors, interval, median, ratios, raw};
use super::rows::{Figure, Traffic};
use crate::bench::comparison::Options;
use crate::bench::statistics::Estimate;
use crate::bench::table::Table;

/// For `--row`.
pub(crate) const NAME: &str = "threads";
/// What fits beside clients and servers on a machine of four cores.
pub(crate) const WORKERS_AT_MOST: usize = 3;

const PEERS: [Peer; 2] = [Peer::Haproxy, Peer::Warren];
/// What each worker is offered, as a share of what the slower proxy can bear with one: so little that clients and servers
/// on one core bear it three times.
const LOAD_OF_EACH: f64 = 0.15;
/// Connections for each worker.
const CONNECTIONS: usize = 64;
const STREAMS: usize = 16;

/// An operation costs at most so many times what it costs with one worker.
const COST_AT_MOST: f64 = 1.10;
/// The busiest worker has at most so many times its share of the processor time.
const SHARE_AT_MOST: f64 = 1.15;
/// As much is done as by so many workers alone, times this.
const DONE_AT_LEAST: f64 = 0.85;
/// Clients and servers that were busier were the bound.
const BOUND: f64 = 0.95;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Work {
    /// Connections at a given rate, with one message there and back.
    Connect,
    /// Messages at a given rate.
    Message,
    /// As much as can be had, over TLS.
    Sealed,
}

/// One cell of the table: the samples of a proxy with so many workers, in the order in which they were taken.
type Samples = BTreeMap<(Work, usize, Peer), Vec<Sample>>;

#[derive(Debug, Default)]
pub(crate) struct Report(Samples);

/// Everything in turns: one pair after the other, in each both proxies, each with all numbers of workers.
pub(crate) fn measure(options: &Options, bench: &Bench, binaries: &Binaries) -> Result<Report, String> {
    let _servers = bench.take_cores()?;
    let cores = &bench.cores.proxy;
    if cores.len() < 2 {
        println!("{NAME}: there is a core for one worker only, so there is nothing to compare");
    }
    let mut peers: Vec<Peer> = PEERS
        .into_iter()
        .filter(|peer| options.wants_peer(peer.name()))
        .collect();
    let mut units = BTreeMap::new();
    for &peer in &peers {
        for workers in 1..=cores.len() {
            units.insert(
                (peer, workers),
                Unit::start(peer, binaries, &cores[cores.len() - workers..])?,
            );
        }
    }
    let mut samples = Samples::new();
    for work in Work::ALL {
        let alone = peers.iter().filter_map(|peer| units.get(&(*peer, 1)));
        let rate = work.rate(bench, alone)?;
        for pair in 0..options.count(6, 9) {
            for &peer in &peers {
                for workers in 1..=cores.len() {
                    let unit = &units[&(peer, workers)];
                    let clients = work.start(bench, unit, workers, rate);
                    let sample = bench.observe(work.figure(), unit, clients)?;
                    println!(
                        "{NAME}: {}, {workers} x {} {pair}: {:.2} {} ({:.0}/s, {} errors)",
                        work.title(),
                        peer.name(),
                        sample.figure,
                        work.figure().unit(),
                        sample.rate,
                        sample.errors
                    );
                    samples.entry((work, workers, peer)).or_default().push(sample);
                }
            }
            peers.rotate_left(1);
        }
    }
    Ok(Report(samples))
}

impl Work {
    const ALL: [Self; 3] = [Self::Connect, Self::Message, Self::Sealed];

    fn title(self) -> &'static str {
        match self {
            Self::Connect => "connect + request + close",
            Self::Message => "ping-pong 64 B",
            Self::Sealed => "TLS, bulk down",
        }
    }

    fn figure(self) -> Figure {
        match self {
            Self::Connect | Self::Message => Figure::PerOperation,
            Self::Sealed => Figure::PerKilobyte,
        }
    }

    /// What each worker is offered per second; nothing is said of who takes what it can.
    fn rate<'a>(self, bench: &Bench, alone: impl Iterator<Item = &'a Unit>) -> Result<f64, String> {
        let traffic = match self {
            Self::Connect => Traffic::Once,
            Self::Message => Traffic::Ping(CONNECTIONS),
            Self::Sealed => return Ok(0.0),
        };
        let maxima = alone
            .map(|unit| bench.maximum(traffic, unit))
            .collect::<Result<Vec<f64>, _>>()?;
        let rate = LOAD_OF_EACH * maxima.into_iter().min_by(f64::total_cmp).unwrap_or_default();
        println!("{NAME}: {}: {rate:.0} per second for each worker", self.title());
        Ok(rate)
    }

    fn start(self, bench: &Bench, unit: &Unit, workers: usize, rate: f64) -> Clients {
        let clients = &bench.cores.clients;
        let paced = |what| {
            let (all, core) = (
                CONNECTIONS * workers,
                clients.first().copied().unwrap_or_default(),
            );
            Pace::start(what, unit.port(Entry::Echo), all, rate * workers as f64, core)
        };
        match self {
            Self::Connect => paced(Paced::Connections),
            Self::Message => paced(Paced::Messages),
            Self::Sealed => {
                let port = unit.port(Entry::TlsSource);
                Clients::start(port, STREAMS * workers, clients, || Sealed::new(&bench.tls))
            }
        }
    }
}

impl Report {
    /// Prints the table; answers whether everything that could be judged holds for ours.
    pub(crate) fn print(&self) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let mut table = Table::new(&[
            "more workers",
            "workers",
            "proxy",
            "CPU",
            "x one worker's",
            "busiest worker's share",
            "done per second",
            "x one worker's",
            "clients busy",
            "errors",
            "holds",
        ]);
        let mut all = true;
        for (&(work, workers, peer), samples) in &self.0 {
            let Some(one) = self.0.get(&(work, 1, peer)) else {
                continue;
            };
            let seen = Seen::of(samples, one);
            let wrong = seen.wrong(work, workers);
            let judged = peer == Peer::Warren && workers > 1;
            all &= !judged || wrong.is_empty();
            let more = |ratio: Option<Estimate>| cell(ratio.filter(|_| workers > 1));
            table.row(vec![
                work.title().to_owned(),
                workers.to_string(),
                peer.name().to_owned(),
                format!(
                    "{} {}",
                    median(samples, |sample| Some(sample.figure)),
                    work.figure().unit()
                ),
                more(seen.cost),
                cell(seen.busiest),
                median(samples, |sample| Some(sample.rate)),
                more(seen.done),
                cell(seen.clients) + if seen.is_bound() { ": the bound" } else { "" },
                seen.errors.to_string(),
                match (judged, wrong.is_empty()) {
                    (false, _) => "-".to_owned(),
                    (true, true) => "yes".to_owned(),
                    (true, false) => format!("NO ({})", wrong.join(", ")),
                },
            ]);
        }
        table.print("with more workers (medians, 95 % intervals; CPU for each operation or kB)");
        all
    }

    pub(crate) fn json(&self) -> Vec<Value> {
        let cells = self.0.iter().map(|(&(work, workers, peer), samples)| {
            json!({ "row": NAME, "title": work.title(), "unit": work.figure().unit(), "workers": workers,
                    "proxy": peer.name(), "samples": raw(samples) })
        });
        cells.collect()
    }
}

/// What several workers came to, beside one.
struct Seen {
    cost: Option<Estimate>,
    done: Option<Estimate>,
    busiest: Option<Estimate>,
    clients: Option<Estimate>,
    errors: u64,
}

impl Seen {
    fn of(samples: &[Sample], one: &[Sample]) -> Self {
        let estimate = |field: fn(&Sample) -> Option<f64>| Estimate::of(samples.iter().filter_map(field));
        Self {
            cost: ratios(samples, one, |sample| Some(sample.figure)),
            done: ratios(samples, one, |sample| Some(sample.rate)),
            busiest: estimate(|sample| sample.busiest),
            clients: estimate(|sample| sample.clients),
            errors: errors(samples),
        }
    }

    /// Whether clients and servers could do no more.
    fn is_bound(&self) -> bool {
        self.clients.is_some_and(|clients| clients.median >= BOUND)
    }

    /// What does not hold.
    fn wrong(&self, work: Work, workers: usize) -> Vec<&'static str> {
        let workers = workers as f64;
        // A connection that is over at once stays with whoever accepted it, if nobody has fewer; where all have none, as
        // under a small load, that is mostly the same one.
        let stays = work == Work::Connect;
        let least = DONE_AT_LEAST * workers;
        let all = [
            ("cost", self.cost.is_some_and(|cost| cost.low > COST_AT_MOST)),
            (
                "share",
                !stays
                    && self
                        .busiest
                        .is_some_and(|share| share.low > SHARE_AT_MOST / workers),
            ),
            (
                "done",
                !self.is_bound() && self.done.is_some_and(|done| done.high < least),
            ),
            ("errors", self.errors > 0),
        ];
        all.into_iter()
            .filter(|(_, is)| *is)
            .map(|(what, _)| what)
            .collect()
    }
}

fn cell(of: Option<Estimate>) -> String {
    of.map_or_else(String::new, interval)
}
