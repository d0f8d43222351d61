//! What was measured, for people (a table) and for programs (JSON).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::measure::Sample;
use super::peer::Peer;
use super::rows::{Against, Figure, Row};
use crate::bench::comparison::number;
use crate::bench::statistics::Estimate;
use crate::bench::table::Table;

/// How much more of the whole machine than the best peer ours may use.
const MACHINE_AT_MOST: f64 = 1.05;

/// The samples of a row, by proxy, in the order in which they were taken.
pub(crate) type Samples = BTreeMap<Peer, Vec<Sample>>;

/// One comparison with one limit.
struct Verdict {
    peer: Option<Peer>,
    ratio: Estimate,
    limit: f64,
}

impl Verdict {
    fn holds(&self) -> bool {
        self.ratio.low <= self.limit
    }
}

#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<(&'static Row, Samples)>,
}

impl Report {
    pub(crate) fn add(&mut self, row: &'static Row, samples: Samples) {
        self.rows.push((row, samples));
    }

    /// Prints the tables; answers whether every limit that could be judged holds.
    pub(crate) fn print(&self) -> bool {
        if self.rows.is_empty() {
            return true;
        }
        let mut figures = Table::new(&[
            "one thread, CPU of the proxy",
            "HAProxy",
            "tuned",
            "newer",
            "Warren",
            "ratio (95 % interval)",
            "must hold",
            "aim",
            "holds",
        ]);
        let mut beside = Table::new(&[
            "the same rows",
            "proxy",
            "operations or kB/s",
            "p50 us",
            "p99 us",
            "machine busy",
            "machine ratio",
            "others' cores",
            "errors",
            "n",
        ]);
        let mut all = true;
        for (row, samples) in &self.rows {
            let verdicts = verdicts(row, samples);
            let machine = machine(row, samples);
            let errors = samples.get(&Peer::Warren).is_some_and(|taken| errors(taken) > 0);
            let machine_holds = machine.is_none_or(|ratio| ratio.low <= MACHINE_AT_MOST);
            let holds = verdicts.iter().all(Verdict::holds) && machine_holds && !errors;
            all &= holds;
            let cell = |peer| figure(row, samples, peer);
            figures.row(vec![
                row.title.to_owned(),
                cell(Peer::Haproxy),
                cell(Peer::Tuned),
                cell(Peer::Newer),
                cell(Peer::Warren),
                join(verdicts.iter().map(ratio)),
                join(row.limits.iter().map(limit)),
                row.aim.to_owned(),
                match (verdicts.is_empty(), holds) {
                    (true, _) => "-".to_owned(),
                    (false, true) => "yes".to_owned(),
                    (false, false) if !machine_holds => "NO (machine)".to_owned(),
                    (false, false) => "NO".to_owned(),
                },
            ]);
            for (peer, taken) in samples {
                let machine = machine.filter(|_| *peer == Peer::Warren);
                beside.row(rest(row, *peer, taken, machine));
            }
        }
        figures.print("CPU of the proxy's processes per operation (median of the samples)");
        beside.print("the rest of what was seen (medians)");
        all
    }

    pub(crate) fn json(&self) -> Vec<Value> {
        let rows = self.rows.iter().map(|(row, samples)| {
            let proxies: BTreeMap<&str, Value> = samples.iter().map(|(peer, taken)| (peer.name(), raw(taken))).collect();
            let verdicts: Vec<Value> = verdicts(row, samples)
                .iter()
                .map(|verdict| {
                    json!({ "against": verdict.peer.map(Peer::name), "ratio": verdict.ratio.median, "low": verdict.ratio.low,
                            "high": verdict.ratio.high, "limit": verdict.limit, "holds": verdict.holds() })
                })
                .collect();
            let machine = machine(row, samples).map(|of| json!({ "ratio": of.median, "low": of.low, "high": of.high }));
            json!({ "row": row.name, "title": row.title, "unit": row.figure.unit(), "samples": proxies, "verdicts": verdicts,
                    "machine": machine })
        });
        rows.collect()
    }
}

/// What else was seen of a proxy.
fn rest(row: &Row, peer: Peer, taken: &[Sample], machine: Option<Estimate>) -> Vec<String> {
    let median = |field| median(taken, field);
    vec![
        row.name.to_owned(),
        peer.name().to_owned(),
        median(|sample| (sample.rate > 0.0).then_some(sample.rate)),
        median(|sample| sample.p50),
        median(|sample| sample.p99),
        median(|sample| sample.machine),
        machine.map_or_else(String::new, interval),
        median(|sample| Some(sample.others)),
        errors(taken).to_string(),
        taken.len().to_string(),
    ]
}

pub(super) fn errors(taken: &[Sample]) -> u64 {
    taken.iter().map(|sample| sample.errors).sum()
}

pub(super) fn median(taken: &[Sample], field: fn(&Sample) -> Option<f64>) -> String {
    Estimate::of(taken.iter().filter_map(field)).map_or_else(|| "-".to_owned(), |of| number(of.median))
}

pub(super) fn interval(Estimate { median, low, high }: Estimate) -> String {
    format!("{median:.2} ({low:.2}-{high:.2})")
}

pub(super) fn raw(taken: &[Sample]) -> Value {
    taken
        .iter()
        .map(|sample| {
            json!({ "figure": sample.figure, "machine": sample.machine, "rate": sample.rate, "p50_us": sample.p50,
                    "p99_us": sample.p99, "errors": sample.errors, "others_cores": sample.others, "busiest_thread": sample.busiest,
                    "clients_busy": sample.clients })
        })
        .collect()
}

fn verdicts(row: &Row, samples: &Samples) -> Vec<Verdict> {
    let of_limit = |&(against, limit): &(Against, f64)| {
        let peer = match against {
            Against::Best => Some(best(samples)?),
            Against::Default => Some(Peer::Haproxy),
            Against::Tuned => Some(Peer::Tuned),
            Against::Nobody => None,
        };
        let ours = samples.get(&Peer::Warren)?;
        let ratio = match peer {
            Some(peer) => ratios(ours, samples.get(&peer)?, |sample| Some(sample.figure)),
            None => Estimate::of(ours.iter().map(|sample| sample.figure)),
        };
        Some(Verdict {
            peer,
            ratio: ratio?,
            limit,
        })
    };
    row.limits.iter().filter_map(of_limit).collect()
}

/// The peer with the smallest median figure.
fn best(samples: &Samples) -> Option<Peer> {
    let medians = samples
        .iter()
        .filter(|(peer, _)| **peer != Peer::Warren)
        .filter_map(|(peer, taken)| {
            let estimate = Estimate::of(taken.iter().map(|sample| sample.figure))?;
            Some((*peer, estimate.median))
        });
    medians
        .min_by(|one, other| one.1.total_cmp(&other.1))
        .map(|(peer, _)| peer)
}

/// Samples that were taken one after the other are compared with each other.
pub(super) fn ratios(
    ours: &[Sample],
    theirs: &[Sample],
    field: fn(&Sample) -> Option<f64>,
) -> Option<Estimate> {
    let pairs = ours.iter().zip(theirs);
    Estimate::of(pairs.filter_map(|(ours, theirs)| Some(field(ours)? / field(theirs)?)))
}

/// Busy time of the machine beside that of the peer that needs least of it.
fn machine(row: &Row, samples: &Samples) -> Option<Estimate> {
    if matches!(row.figure, Figure::Latency | Figure::Pause) {
        return None;
    }
    let ours = samples.get(&Peer::Warren)?;
    let peers = samples.iter().filter(|(peer, _)| **peer != Peer::Warren);
    let ratios = peers.filter_map(|(_, theirs)| ratios(ours, theirs, |sample| sample.machine));
    ratios.max_by(|one, other| one.median.total_cmp(&other.median))
}

fn figure(row: &Row, samples: &Samples, peer: Peer) -> String {
    let taken = samples.get(&peer).into_iter().flatten();
    Estimate::of(taken.map(|sample| sample.figure)).map_or_else(String::new, |of| {
        format!("{} {}", number(of.median), row.figure.unit())
    })
}

fn ratio(verdict: &Verdict) -> String {
    let decimals = if verdict.peer.is_some() { 2 } else { 0 };
    let Estimate { median, low, high } = verdict.ratio;
    let against = verdict
        .peer
        .map_or(String::new(), |peer| format!(" x {}", peer.name()));
    format!("{median:.decimals$} ({low:.decimals$}-{high:.decimals$}){against}")
}

fn limit((against, limit): &(Against, f64)) -> String {
    match against {
        Against::Best => format!("{limit:.2} x best"),
        Against::Default => format!("{limit:.2} x default"),
        Against::Tuned => format!("{limit:.2} x tuned"),
        Against::Nobody => format!("{limit:.0}"),
    }
}

fn join(texts: impl Iterator<Item = String>) -> String {
    texts.collect::<Vec<_>>().join(", ")
}
