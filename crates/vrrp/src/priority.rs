//! What a router is worth: base priority, weights of checks, drain, clamps.
//!
//! A pure function of what is known now, with the arithmetic kept so that an operator can be shown it. How results
//! come about (rise, fall, timeouts) is the shell's business.

use std::fmt;

use crate::types::Priority;

/// What a router is worth right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fitness {
    /// Effective priority, 1..=255.
    pub priority: Priority,
    /// False: take no part (a releasing check failed or has not run yet, drained, group member failed).
    pub fit: bool,
}

/// A check and its latest settled result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckState {
    /// As configured; shown to the operator.
    pub name: String,
    /// `None` until it has run for the first time.
    pub ok: Option<bool>,
    /// What it is for.
    pub rule: Rule,
    /// Turns the rule round: a release on success, a weight with the opposite sign.
    pub reverse: bool,
}

/// What a check's result does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Failing releases the role (a weight of 0 in keepalived's words), and until the first result it is not taken.
    Release,
    /// A positive weight is added while the check succeeds, a negative one while it fails.
    Weight(i16),
    /// Added whatever the result is, once there is one: the number in a tracked file, times its weight.
    Value(i16),
}

/// What a router is worth, and how that comes about. Prints as `99 = 101 - 2 (chk_haproxy)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assessment {
    /// The outcome.
    pub fitness: Fitness,
    /// As configured.
    pub base: Priority,
    /// What was added or subtracted, in the order of the checks; never zero.
    pub contributions: Vec<Contribution>,
    /// Releasing checks that fail.
    pub failing: Vec<String>,
    /// Releasing checks that have not run yet.
    pub pending: Vec<String>,
    /// Taken out by the operator.
    pub drained: bool,
}

/// One check's part in the sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contribution {
    /// The check.
    pub name: String,
    /// What it adds.
    pub amount: i16,
}

/// Base priority and check results to effective priority.
#[must_use]
pub fn effective(base: Priority, checks: &[CheckState], drained: bool) -> Assessment {
    let owner = base == Priority::OWNER;
    let contributions: Vec<Contribution> = checks
        .iter()
        .map(|check| Contribution {
            name: check.name.clone(),
            amount: check.amount(),
        })
        // RFC 9568 §5.2.4: the address owner's priority MUST be 255; no weight touches it. [9568-5.2.4-1]
        .filter(|contribution| contribution.amount != 0 && !owner)
        .collect();
    let names = |verdict: Verdict| -> Vec<String> {
        checks
            .iter()
            .filter(|check| check.verdict() == verdict)
            .map(|check| check.name.clone())
            .collect()
    };
    let (failing, pending) = (names(Verdict::Release), names(Verdict::Pending));
    Assessment {
        fitness: Fitness {
            priority: clamp(
                base,
                contributions
                    .iter()
                    .map(|contribution| i32::from(contribution.amount))
                    .sum(),
            ),
            fit: !drained && failing.is_empty() && pending.is_empty(),
        },
        base,
        contributions,
        failing,
        pending,
        drained,
    }
}

/// `base` moved by `amount`, within what a router that is no owner may announce.
pub(crate) fn clamp(base: Priority, amount: i32) -> Priority {
    if base == Priority::OWNER {
        return base;
    }
    // RFC 9568 §5.2.4: a router that is no owner MUST use a priority from 1 to 254. [9568-5.2.4-2]
    let sum = i32::from(base.0).saturating_add(amount).clamp(1, 254);
    Priority(u8::try_from(sum).unwrap_or(1))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Pass,
    Pending,
    Release,
}

impl CheckState {
    fn amount(&self) -> i16 {
        let amount = match (self.rule, self.ok) {
            (Rule::Release, None | Some(true | false)) | (Rule::Weight(_) | Rule::Value(_), None) => 0,
            (Rule::Weight(weight), Some(true)) => weight.max(0),
            (Rule::Weight(weight), Some(false)) => weight.min(0),
            (Rule::Value(value), Some(true | false)) => value,
        };
        if self.reverse {
            amount.saturating_neg()
        } else {
            amount
        }
    }

    fn verdict(&self) -> Verdict {
        match (self.rule, self.ok) {
            (Rule::Release, None) => Verdict::Pending,
            (Rule::Release, Some(ok)) if ok == self.reverse => Verdict::Release,
            (Rule::Release, Some(true | false))
            | (Rule::Weight(_) | Rule::Value(_), None | Some(true | false)) => Verdict::Pass,
        }
    }
}

impl fmt::Display for Assessment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.fitness.priority)?;
        if self.contributions.is_empty() {
            return Ok(());
        }
        write!(f, " = {}", self.base)?;
        for Contribution { name, amount } in &self.contributions {
            let sign = if *amount < 0 { '-' } else { '+' };
            write!(f, " {sign} {} ({name})", amount.unsigned_abs())?;
        }
        let sum: i32 = self
            .contributions
            .iter()
            .map(|contribution| i32::from(contribution.amount))
            .sum();
        match i32::from(self.base.0) + sum {
            ..1 => f.write_str(", at least 1"),
            255.. => f.write_str(", at most 254"),
            1..=254 => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(name: &str, ok: impl Into<Option<bool>>, rule: Rule) -> CheckState {
        CheckState {
            name: name.to_owned(),
            ok: ok.into(),
            rule,
            reverse: false,
        }
    }

    fn reversed(check: CheckState) -> CheckState {
        CheckState {
            reverse: true,
            ..check
        }
    }

    fn worth(base: u8, checks: &[CheckState]) -> u8 {
        effective(Priority(base), checks, false).fitness.priority.0
    }

    #[test]
    fn negative_weight_counts_while_failing_and_positive_while_succeeding() {
        for (weight, ok, expected) in [
            (-2, Some(false), 99),
            (-2, Some(true), 101),
            (-2, None, 101),
            (2, Some(false), 101),
            (2, Some(true), 103),
            (2, None, 101),
        ] {
            let checks = [check("chk", ok, Rule::Weight(weight))];
            assert_eq!(worth(101, &checks), expected, "weight {weight}, result {ok:?}");
        }
    }

    #[test]
    fn reverse_flips_the_sign_of_a_weight() {
        assert_eq!(worth(100, &[reversed(check("chk", true, Rule::Weight(5)))]), 95);
        assert_eq!(
            worth(100, &[reversed(check("chk", false, Rule::Weight(-5)))]),
            105
        );
    }

    #[test]
    fn value_counts_whatever_the_result() {
        assert_eq!(worth(100, &[check("file", true, Rule::Value(-7))]), 93);
        assert_eq!(worth(100, &[check("file", false, Rule::Value(-7))]), 93);
        assert_eq!(worth(100, &[check("file", None, Rule::Value(-7))]), 100);
    }

    #[test]
    fn failing_check_without_weight_releases() {
        let assessment = effective(
            Priority(101),
            &[
                check("disk", true, Rule::Release),
                check("haproxy", false, Rule::Release),
            ],
            false,
        );
        assert_eq!(
            assessment.fitness,
            Fitness {
                priority: Priority(101),
                fit: false
            }
        );
        assert_eq!(assessment.failing, ["haproxy"]);
    }

    #[test]
    fn reversed_check_without_weight_releases_on_success() {
        assert!(
            !effective(Priority(9), &[reversed(check("chk", true, Rule::Release))], false)
                .fitness
                .fit
        );
        assert!(
            effective(
                Priority(9),
                &[reversed(check("chk", false, Rule::Release))],
                false
            )
            .fitness
            .fit
        );
    }

    #[test]
    fn router_waits_until_every_releasing_check_ran_once() {
        let mut checks = [
            check("a", None, Rule::Release),
            check("b", None, Rule::Weight(-2)),
        ];
        let waiting = effective(Priority(100), &checks, false);
        assert!(!waiting.fitness.fit);
        assert_eq!(waiting.pending, ["a"], "a weighted check keeps nobody waiting");
        checks[0].ok = Some(true);
        assert!(effective(Priority(100), &checks, false).fitness.fit);
    }

    #[test]
    fn drained_router_is_unfit_and_keeps_its_priority() {
        let drained = effective(Priority(101), &[], true);
        assert_eq!(
            drained.fitness,
            Fitness {
                priority: Priority(101),
                fit: false
            }
        );
    }

    #[test]
    fn sum_is_clamped_to_what_a_router_may_announce() {
        // shows RFC 9568 §5.2.4 [9568-5.2.4-2]
        assert_eq!(worth(100, &[check("chk", false, Rule::Weight(-254))]), 1);
        assert_eq!(worth(100, &[check("chk", true, Rule::Weight(254))]), 254);
        // Clamped once, at the end: the order of the checks does not matter.
        let both = [
            check("up", true, Rule::Weight(254)),
            check("down", false, Rule::Weight(-200)),
        ];
        assert_eq!(worth(100, &both), 154);
    }

    #[test]
    fn owner_is_not_weighed_but_can_be_released() {
        // shows RFC 9568 §5.2.4 [9568-5.2.4-1]
        let weighed = effective(Priority::OWNER, &[check("chk", false, Rule::Weight(-50))], false);
        assert_eq!(
            weighed.fitness,
            Fitness {
                priority: Priority::OWNER,
                fit: true
            }
        );
        assert_eq!(weighed.to_string(), "255");
        assert!(
            !effective(Priority::OWNER, &[check("chk", false, Rule::Release)], false)
                .fitness
                .fit
        );
    }

    #[test]
    fn arithmetic_is_shown_with_the_checks_that_matter() {
        let checks = [
            check("chk_haproxy", false, Rule::Weight(-2)),
            check("chk_disk", true, Rule::Weight(-9)),
            check("gateway", true, Rule::Weight(10)),
        ];
        assert_eq!(
            effective(Priority(101), &checks[..2], false).to_string(),
            "99 = 101 - 2 (chk_haproxy)"
        );
        let all = effective(Priority(101), &checks, false);
        assert_eq!(all.to_string(), "109 = 101 - 2 (chk_haproxy) + 10 (gateway)");
        assert_eq!(effective(Priority(101), &[], false).to_string(), "101");
        let low = [check("chk", false, Rule::Weight(-200))];
        assert_eq!(
            effective(Priority(101), &low, false).to_string(),
            "1 = 101 - 200 (chk), at least 1"
        );
    }

    proptest! {
        #[test]
        fn any_sum_stays_in_range(
            base in 1u8..=255,
            checks in prop::collection::vec((any::<Option<bool>>(), any::<i16>(), any::<bool>()), 0..20)
        ) {
            let checks: Vec<_> = checks
                .into_iter()
                .map(|(ok, weight, reverse)| CheckState {
                    name: "chk".to_owned(), ok, rule: Rule::Weight(weight), reverse,
                })
                .collect();
            let assessment = effective(Priority(base), &checks, false);
            let range = if base == 255 { 255..=255 } else { 1..=254 };
            prop_assert!(range.contains(&assessment.fitness.priority.0));
            prop_assert!(!assessment.to_string().is_empty());
        }
    }
}
