//! What the benchmarks of proxy and broker have in common: what may be chosen, and where the figures go.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

/// What to measure.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) quick: bool,
    /// All, if none is named.
    pub(crate) rows: Vec<String>,
    /// All, if none is named.
    pub(crate) only: Vec<String>,
    pub(crate) json: Option<PathBuf>,
    pub(crate) warren: Option<PathBuf>,
    /// The binary of a peer that is not the distribution's.
    pub(crate) other: Option<PathBuf>,
    /// Where brokers keep their data: the disk that is measured.
    pub(crate) data: Option<PathBuf>,
    /// How many the brokers have; clients have the rest.
    pub(crate) cores: Option<usize>,
    /// How often each is measured.
    pub(crate) samples: Option<usize>,
    pub(crate) seconds: Option<f64>,
    /// TCP's congestion control; otherwise the one of this machine.
    pub(crate) congestion: Option<String>,
}

impl Options {
    /// Is everything that is named among these?
    pub(crate) fn check(&self, rows: &[&str], what: &str, peers: &[&str]) -> Result<(), String> {
        for (what, asked, there) in [("row", &self.rows, rows), (what, &self.only, peers)] {
            if let Some(name) = asked.iter().find(|name| !there.contains(&name.as_str())) {
                return Err(format!(
                    "there is no {what} {name}; there are: {}",
                    there.join(" ")
                ));
            }
        }
        Ok(())
    }

    pub(crate) fn wants_row(&self, name: &str) -> bool {
        wants(&self.rows, name)
    }

    pub(crate) fn wants_peer(&self, name: &str) -> bool {
        wants(&self.only, name)
    }

    /// How long a sample takes, unless its work has an end of its own.
    pub(crate) fn window(&self, quick: f64, thorough: f64) -> Duration {
        Duration::from_secs_f64(self.seconds.unwrap_or(if self.quick { quick } else { thorough }))
    }

    pub(crate) fn count(&self, quick: usize, thorough: usize) -> usize {
        self.samples.unwrap_or(if self.quick { quick } else { thorough })
    }

    /// Writes what was measured, if it is to be.
    pub(crate) fn write(&self, rows: &Value) -> Result<(), String> {
        let Some(path) = &self.json else { return Ok(()) };
        let text = json!({ "quick": self.quick, "rows": rows });
        std::fs::write(path, format!("{text:#}\n"))
            .map_err(|error| format!("{}: {error}", path.display()))?;
        println!("\nwritten to {}", path.display());
        Ok(())
    }
}

fn wants(named: &[String], name: &str) -> bool {
    named.is_empty() || named.iter().any(|one| one == name)
}

/// Three digits that count.
pub(crate) fn number(value: f64) -> String {
    let decimals = match value.abs() {
        0.0..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}
