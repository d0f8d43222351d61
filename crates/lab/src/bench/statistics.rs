//! Medians, and what can be said about them.

/// The median and an interval that holds it with a probability of at least 95 %.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Estimate {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Estimate {
    /// The interval is made of order statistics, so nothing is supposed about the distribution. With fewer than six
    /// values it is all of them, which holds the median less often.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let count = values.len();
        let rank = rank(count);
        Some(Self {
            median: median(&values)?,
            low: *values.get(rank)?,
            high: *values.get(count - 1 - rank)?,
        })
    }
}

/// The median of sorted values.
fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    let lower = if sorted.len().is_multiple_of(2) {
        sorted[middle - 1]
    } else {
        upper
    };
    Some(f64::midpoint(lower, upper))
}

/// How many values can be left away at each end: the largest number for which a fair coin, thrown `count` times, shows
/// at most so many heads with a probability of at most 2.5 %.
fn rank(count: usize) -> usize {
    let mut probability = 0.5f64.powi(count as i32);
    let mut below = 0.0;
    let mut rank = 0;
    for heads in 0..count / 2 {
        below += probability;
        if below > 0.025 {
            break;
        }
        rank = heads;
        probability *= (count - heads) as f64 / (heads + 1) as f64;
    }
    rank
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_has_the_ranks_of_the_tables() {
        // Tables of the sign test, two-sided 5 %: (n, rank counted from 1).
        for (count, from_one) in [(6, 1), (8, 1), (9, 2), (12, 3), (15, 4), (20, 6), (25, 8)] {
            assert_eq!(rank(count) + 1, from_one, "{count}");
        }
    }

    #[test]
    fn an_estimate_has_its_median_between_its_ends() {
        let estimate = Estimate::of((1..=9).rev().map(f64::from)).unwrap();
        assert_eq!((estimate.low, estimate.median, estimate.high), (2.0, 5.0, 8.0));
        assert_eq!(Estimate::of([]), None);
        assert_eq!(Estimate::of([3.0, 1.0]).unwrap().median, 2.0);
    }
}
