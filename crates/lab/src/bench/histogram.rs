//! Latencies in buckets 3 % wide: small, and cheap to add to.

use std::time::Duration;

/// Buckets per doubling.
const STEPS: u64 = 32;
const BUCKETS: usize = 64 * STEPS as usize;

#[derive(Debug, Clone)]
pub(crate) struct Histogram(Vec<u32>);

impl Default for Histogram {
    fn default() -> Self {
        Self(vec![0; BUCKETS])
    }
}

impl Histogram {
    pub(crate) fn add(&mut self, took: Duration) {
        if let Some(count) = self.0.get_mut(bucket(took.as_nanos() as u64)) {
            *count += 1;
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(&other.0) {
            *count += more;
        }
    }

    /// The latency that `share` (0 to 1) of the operations did not exceed; `None` without any.
    pub(crate) fn quantile(&self, share: f64) -> Option<Duration> {
        let total: u64 = self.0.iter().map(|&count| u64::from(count)).sum();
        let wanted = (total as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        self.0.iter().enumerate().find_map(|(index, &count)| {
            seen += u64::from(count);
            (count > 0 && seen >= wanted).then(|| Duration::from_nanos(upper_edge(index as u64)))
        })
    }
}

fn bucket(nanoseconds: u64) -> usize {
    let value = nanoseconds.max(STEPS);
    let doubling = u64::from(value.ilog2() - STEPS.ilog2());
    let step = (value >> doubling) - STEPS;
    ((doubling * STEPS + step) as usize).min(BUCKETS - 1)
}

fn upper_edge(index: u64) -> u64 {
    let (doubling, step) = (index / STEPS, index % STEPS);
    (STEPS + step + 1) << doubling
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_at_most_one_bucket_above_the_value() {
        let mut histogram = Histogram::default();
        for microseconds in 1..=1000 {
            histogram.add(Duration::from_micros(microseconds));
        }
        for (share, exact) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = histogram.quantile(share).unwrap().as_secs_f64() * 1e6;
            assert!((exact..=exact * 1.035).contains(&found), "{share}: {found}");
        }
        assert_eq!(Histogram::default().quantile(0.5), None);
    }
}
