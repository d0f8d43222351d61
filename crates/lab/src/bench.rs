//! The VRRP benchmark: keepalived and warren with the same configuration, on the same topology, in the same run.
//!
//! Repetitions of both are interleaved, so that both meet the same noise of the machine. The figures are those of the
//! wire (kernel time stamps) and of a client (a request every millisecond), never of a daemon's own report.

pub(crate) mod broker;
pub(crate) mod comparison;
mod cores;
mod cpu;
mod failover;
mod histogram;
mod hostile;
mod place;
pub(crate) mod proxy;
mod scale;
mod start;
mod statistics;
mod table;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value, json};
use warren_lab::Flavour;

/// What to measure.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) only: Option<String>,
    pub(crate) parts: Vec<String>,
    pub(crate) json: Option<PathBuf>,
}

impl Options {
    fn flavours(&self) -> Vec<Flavour> {
        [Flavour::Keepalived, Flavour::Warren]
            .into_iter()
            .filter(|&flavour| self.only.as_deref().is_none_or(|only| only == name(flavour)))
            .collect()
    }

    fn wants(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|wanted| wanted == part)
    }
}

pub(crate) fn run(options: &Options) {
    let mut results = Map::new();
    if options.wants("failover") {
        for group in failover::groups(options.quick) {
            results.insert(
                format!("failover {}", group.name),
                failover::measure(&group, options),
            );
        }
    }
    if options.wants("start") {
        results.insert("start".to_owned(), start::measure(options));
    }
    if options.wants("hostile") {
        results.insert("hostile".to_owned(), hostile::measure(options));
    }
    if options.wants("scale") {
        results.insert("scale".to_owned(), scale::measure(options));
    }
    if let Some(path) = &options.json {
        let text = json!({ "quick": options.quick, "results": Value::Object(results) });
        std::fs::write(path, format!("{text:#}\n"))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        println!("\nwritten to {}", path.display());
    }
}

pub(crate) fn name(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::Keepalived => "keepalived",
        Flavour::Warren => "warren",
    }
}

pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// One instance of keepalived's format, which both daemons read.
pub(crate) fn instance(
    vrid: u8,
    priority: u8,
    interval: Duration,
    addresses: &[String],
    lines: &str,
) -> String {
    format!(
        "vrrp_instance VI_{vrid} {{\n  state BACKUP\n  interface eth0\n  version 3\n  virtual_router_id {vrid}\n  \
         priority {priority}\n  advert_int {}\n  {lines}\n  virtual_ipaddress {{\n    {}\n  }}\n}}\n",
        interval.as_secs_f64(),
        addresses.join("\n    ")
    )
}
