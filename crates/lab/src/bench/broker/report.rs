//! What was measured, for people (a table) and for programs (JSON).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::measure::Sample;
use super::peer::Peer;
use super::rows::{ROWS, Row};
use crate::bench::comparison::number;
use crate::bench::statistics::Estimate;
use crate::bench::table::Table;

/// The samples of a row, by broker, in the order in which they were taken.
pub(crate) type Samples = BTreeMap<Peer, Vec<Sample>>;

#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<(&'static Row, Samples)>,
}

impl Report {
    pub(crate) fn add(&mut self, row: &'static Row, samples: Samples) {
        self.rows.push((row, samples));
    }

    /// Prints the tables; answers whether everything that must hold does.
    pub(crate) fn print(&self) -> bool {
        let mut figures = Table::new(&[
            "",
            "RabbitMQ",
            "LavinMQ",
            "floor",
            "Warren",
            "95 % interval",
            "must hold",
            "aim",
            "holds",
        ]);
        let mut beside = Table::new(&[
            "row",
            "broker",
            "per second",
            "machine busy us",
            "confirm p50 ms",
            "p99 ms",
            "others' cores",
            "errors",
            "n",
        ]);
        let mut all = true;
        for (row, samples) in &self.rows {
            let of = |peer| estimate(samples.get(&peer)?, |sample| Some(sample.figure));
            let cell = |peer| of(peer).map_or_else(String::new, |of| with_unit(row, of.median));
            let ours = of(Peer::Warren);
            let holds = ours.is_none_or(|ours| ours.low <= row.limit);
            all &= holds;
            figures.row(vec![
                row.title.to_owned(),
                cell(Peer::Rabbitmq),
                cell(Peer::Lavinmq),
                cell(Peer::Floor),
                cell(Peer::Warren),
                ours.map_or_else(String::new, |of| {
                    format!("{}-{}", number(of.low), number(of.high))
                }),
                said(row.limit, with_unit(row, row.limit)),
                said(row.aim, number(row.aim)),
                match (ours, holds) {
                    (Some(_), _) if row.limit.is_infinite() => "-".to_owned(),
                    (None, _) => "-".to_owned(),
                    (Some(_), true) => "yes".to_owned(),
                    (Some(_), false) => "NO".to_owned(),
                },
            ]);
            for (peer, taken) in samples {
                let median = |field: fn(&Sample) -> Option<f64>| {
                    estimate(taken, field).map_or_else(|| "-".to_owned(), |of| number(of.median))
                };
                beside.row(vec![
                    row.name.to_owned(),
                    peer.name().to_owned(),
                    median(|sample| (sample.rate > 0.0).then_some(sample.rate)),
                    median(|sample| sample.machine),
                    median(|sample| sample.p50),
                    median(|sample| sample.p99),
                    median(|sample| Some(sample.others)),
                    taken.iter().map(|sample| sample.errors).sum::<u64>().to_string(),
                    taken.len().to_string(),
                ]);
            }
        }
        figures.print(
            "processor time of all processes of the broker for each operation, memory, time (medians)",
        );
        beside.print("the rest of what was seen (medians)");
        all
    }

    pub(crate) fn json(&self) -> Value {
        let rows = self.rows.iter().map(|(row, samples)| {
            let brokers: BTreeMap<&str, Value> = samples
                .iter()
                .map(|(peer, taken)| (peer.name(), raw(taken)))
                .collect();
            json!({ "row": row.name, "title": row.title, "unit": row.unit.name(), "limit": row.limit, "aim": row.aim,
                    "samples": brokers })
        });
        Value::Array(rows.collect())
    }
}

/// The names for `--row`.
pub(crate) fn names() -> Vec<&'static str> {
    ROWS.iter().map(|row| row.name).collect()
}

fn estimate(taken: &[Sample], field: impl Fn(&Sample) -> Option<f64>) -> Option<Estimate> {
    Estimate::of(taken.iter().filter_map(field))
}

fn raw(taken: &[Sample]) -> Value {
    taken
        .iter()
        .map(|sample| {
            json!({ "figure": sample.figure, "machine_us": sample.machine, "rate": sample.rate, "p50_ms": sample.p50,
                    "p99_ms": sample.p99, "errors": sample.errors, "others_cores": sample.others })
        })
        .collect()
}

/// What is measured and need not hold has no limit.
fn said(limit: f64, text: String) -> String {
    match limit.is_finite() {
        true => text,
        false => "-".to_owned(),
    }
}

fn with_unit(row: &Row, value: f64) -> String {
    format!("{} {}", number(value), row.unit.name())
}
