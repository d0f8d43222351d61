//! The failover daemon's metrics, as text that a Prometheus server reads.
//!
//! Nothing is counted here. Whoever does the work counts, the [`Status`] carries the counts, and every scrape is
//! written from one such picture: figures of one scrape fit together, and a router that is removed takes its series
//! with it. What there is stands in `metrics/families.rs`, once for the scrape and for `docs/metrics.md`.

mod families;
mod page;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use warren_api::vrrp::{CheckStatus, RouterStatus, State, Status};

use families::FAMILIES;
pub(crate) use page::page;

/// What every name begins with.
const PREFIX: &str = "warren_vrrp";

/// How late the protocol thread woke up, over all its deadlines.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LoopLateness<'a> {
    /// Upper bounds in seconds, rising, each with the deadlines met below it and not below the one before.
    pub(crate) buckets: &'a [(f64, u64)],
    /// Seconds of all deadlines together.
    pub(crate) sum: f64,
    /// All deadlines. Those that are in no bucket were later than the last bound.
    pub(crate) count: u64,
}

/// A way to change state. There are as many as states and causes, times routers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Transition {
    pub(crate) router: String,
    pub(crate) from: State,
    pub(crate) to: State,
    /// Code of the [`warren_api::vrrp::Cause`].
    pub(crate) cause: String,
}

/// OpenMetrics text of the daemon at the moment of `status`.
pub(crate) fn text(
    status: &Status,
    lateness: LoopLateness<'_>,
    transitions: &BTreeMap<Transition, u64>,
) -> String {
    let log_lines_dropped = warren_kit::logging::dropped_lines();
    encode(&Scrape {
        status,
        lateness,
        transitions,
        log_lines_dropped,
    })
}

/// All that a scrape is written from.
struct Scrape<'a> {
    status: &'a Status,
    lateness: LoopLateness<'a>,
    transitions: &'a BTreeMap<Transition, u64>,
    log_lines_dropped: u64,
}

/// One metric: its name, what it says, and where its values are.
#[derive(Debug)]
struct Family {
    /// Without prefix, unit and the suffix of its type.
    name: &'static str,
    kind: MetricType,
    seconds: bool,
    help: &'static str,
    source: Source,
}

/// Where a family's values come from, which decides about its labels.
#[derive(Debug)]
enum Source {
    /// One of the daemon.
    Daemon(fn(&Scrape<'_>) -> Value),
    /// One of each router, or none.
    Router(fn(&RouterStatus) -> Option<Value>),
    /// Several of each router, told apart by further labels.
    RouterParts(&'static [&'static str], fn(&RouterStatus) -> Vec<Sample>),
    /// One of each check, or none.
    Check(fn(&CheckStatus) -> Option<Value>),
    /// Several of each check, told apart by further labels.
    CheckParts(&'static [&'static str], fn(&CheckStatus) -> Vec<Sample>),
    /// Anything else.
    Labelled(&'static [&'static str], fn(&Scrape<'_>) -> Vec<Sample>),
}

/// Values of the labels, and the value.
type Sample = (Vec<String>, Value);

#[derive(Debug)]
enum Value {
    Whole(u64),
    Real(f64),
    /// Bounds and what lies between them, up to infinity.
    Buckets {
        buckets: Vec<(f64, u64)>,
        sum: f64,
        count: u64,
    },
}

impl Value {
    fn flag(set: bool) -> Self {
        Self::Whole(set.into())
    }

    fn seconds(duration: impl Into<Duration>) -> Self {
        Self::Real(duration.into().as_secs_f64())
    }
}

const ROUTER: [&str; 3] = ["router", "vrid", "interface"];
const CHECK: [&str; 1] = ["check"];

impl Family {
    fn labels(&self) -> Vec<&'static str> {
        match self.source {
            Source::Daemon(_) => Vec::new(),
            Source::Router(_) => ROUTER.to_vec(),
            Source::RouterParts(further, _) => [&ROUTER, further].concat(),
            Source::Check(_) => CHECK.to_vec(),
            Source::CheckParts(further, _) => [&CHECK, further].concat(),
            Source::Labelled(labels, _) => labels.to_vec(),
        }
    }

    /// In order of the labels' values. Those of one scrape differ, whatever the status says: a server refuses all of
    /// a text in which two samples have the same labels.
    fn samples(&self, scrape: &Scrape<'_>) -> BTreeMap<Vec<String>, Value> {
        let routers = &scrape.status.routers;
        let checks = &scrape.status.checks;
        match self.source {
            Source::Daemon(value) => BTreeMap::from([(Vec::new(), value(scrape))]),
            Source::Router(value) => routers
                .iter()
                .filter_map(|router| Some((router_labels(router), value(router)?)))
                .collect(),
            Source::RouterParts(_, parts) => routers
                .iter()
                .flat_map(|router| with_labels(&router_labels(router), parts(router)))
                .collect(),
            Source::Check(value) => checks
                .iter()
                .filter_map(|check| Some((vec![check.name.clone()], value(check)?)))
                .collect(),
            Source::CheckParts(_, parts) => checks
                .iter()
                .flat_map(|check| with_labels(std::slice::from_ref(&check.name), parts(check)))
                .collect(),
            Source::Labelled(_, samples) => samples(scrape).into_iter().collect(),
        }
    }

    fn unit(&self) -> Option<Unit> {
        self.seconds.then_some(Unit::Seconds)
    }
}

/// Values of [`ROUTER`].
fn router_labels(router: &RouterStatus) -> Vec<String> {
    vec![
        router.name.clone(),
        router.vrid.to_string(),
        router.interface.clone(),
    ]
}

fn with_labels(first: &[String], samples: Vec<Sample>) -> Vec<Sample> {
    let prepend = |(further, value): Sample| ([first, &further].concat(), value);
    samples.into_iter().map(prepend).collect()
}

fn encode(scrape: &Scrape<'_>) -> String {
    let families = FAMILIES.iter().map(|family| Filled {
        family,
        labels: family.labels(),
        samples: family.samples(scrape),
    });
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(Picture(families.collect())));
    let mut text = String::new();
    text::encode(&mut text, &registry).expect("a string takes whatever is written to it");
    text
}

/// The families of one scrape with their samples.
#[derive(Debug)]
struct Picture(Vec<Filled>);

#[derive(Debug)]
struct Filled {
    family: &'static Family,
    labels: Vec<&'static str>,
    samples: BTreeMap<Vec<String>, Value>,
}

impl Collector for Picture {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for Filled {
            family,
            labels,
            samples,
        } in self.0.iter().filter(|filled| !filled.samples.is_empty())
        {
            let unit = family.unit();
            let mut metric =
                encoder.encode_descriptor(family.name, family.help, unit.as_ref(), family.kind)?;
            for (values, value) in samples {
                let labels: Vec<(&str, &str)> = labels
                    .iter()
                    .copied()
                    .zip(values.iter().map(String::as_str))
                    .collect();
                match family.kind {
                    MetricType::Info => metric.encode_info(&labels)?,
                    // An empty set of labels would leave a pair of braces behind.
                    _ if labels.is_empty() => encode_value(&mut metric, family.kind, value)?,
                    _ => encode_value(&mut metric.encode_family(&labels)?, family.kind, value)?,
                }
            }
        }
        Ok(())
    }
}

fn encode_value(metric: &mut MetricEncoder<'_>, kind: MetricType, value: &Value) -> fmt::Result {
    match (kind, value) {
        (MetricType::Counter, Value::Whole(number)) => {
            metric.encode_counter::<NoLabelSet, _, f64>(number, None)
        }
        (MetricType::Counter, Value::Real(number)) => {
            metric.encode_counter::<NoLabelSet, _, f64>(number, None)
        }
        (_, Value::Whole(number)) => metric.encode_gauge(number),
        (_, Value::Real(number)) => metric.encode_gauge(number),
        (_, Value::Buckets { buckets, sum, count }) => {
            metric.encode_histogram::<NoLabelSet>(*sum, *count, buckets, None)
        }
    }
}

#[cfg(test)]
mod tests;
