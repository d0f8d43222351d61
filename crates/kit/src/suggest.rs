//! "Did you mean": the candidate nearest to a mistyped word.

/// The candidate that takes the fewest edits (insert, delete, replace, swap neighbours) to become `word`, if they
/// are few for its length. Case and the difference between `-` and `_` do not count.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Long input is no typing error, and the distance takes quadratic time.
    const LENGTH_MAX: usize = 100;
    let word = normalised(word);
    if word.is_empty() || word.len() > LENGTH_MAX {
        return None;
    }
    let edits_max = (word.len() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= LENGTH_MAX)
        .map(|candidate| (edit_distance(&word, &normalised(candidate)), candidate))
        .filter(|(edits, candidate)| *edits <= edits_max && *edits < candidate.chars().count())
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

fn normalised(word: &str) -> Vec<char> {
    word.chars()
        .flat_map(char::to_lowercase)
        .map(|c| if c == '-' { '_' } else { c })
        .collect()
}

/// Optimal string alignment distance.
fn edit_distance(from: &[char], to: &[char]) -> usize {
    let mut before_last: Vec<usize> = vec![0; to.len() + 1];
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for i in 1..=from.len() {
        let mut row = vec![i; to.len() + 1];
        for j in 1..=to.len() {
            let replaced = last[j - 1] + usize::from(from[i - 1] != to[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            let swapped = i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1];
            if swapped {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 5] = ["interval", "priority", "preempt", "id", "on_fail"];

    #[test]
    fn a_typing_error_finds_its_word() {
        for (typed, meant) in [
            ("intreval", "interval"),
            ("prioritty", "priority"),
            ("pre-empt", "preempt"),
            ("On-Fail", "on_fail"),
            ("di", "id"),
        ] {
            assert_eq!(did_you_mean(typed, KEYS), Some(meant), "{typed}");
        }
    }

    #[test]
    fn an_unrelated_word_finds_nothing() {
        for typed in ["", "state", "weight", "x", "xy"] {
            assert_eq!(did_you_mean(typed, KEYS), None, "{typed}");
        }
        assert_eq!(did_you_mean(&"i".repeat(100_000), KEYS), None);
    }

    #[test]
    fn the_nearest_of_several_wins() {
        assert_eq!(did_you_mean("weigh", ["weights", "weight"]), Some("weight"));
    }
}
