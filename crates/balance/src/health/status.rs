//! The status as the statistics show it, letter by letter HAProxy's.

use super::{Health, Operation, Score};

impl Health {
    /// `UP`, `UP 1/3`, `DOWN`, `DOWN 1/2`, `DOWN (agent)`, `NOLB`, `DRAIN`, `DRAIN (agent)`, `MAINT`,
    /// `MAINT (via b/s)`, `MAINT (resolution)`, `no check`. `via` names the server that it tracks.
    #[must_use]
    pub fn status(&self, via: Option<(&str, &str)>) -> String {
        if self.reasons.unresolved {
            return "MAINT (resolution)".to_owned();
        }
        if self.reasons.inherited_maint {
            let (backend, server) = via.unwrap_or_default();
            return format!("MAINT (via {backend}/{server})");
        }
        if self.reasons.maint() {
            return "MAINT".to_owned();
        }
        let seen = self.tracked();
        match self.operation {
            Operation::Stopped => down(seen.check, seen.agent),
            Operation::Stopping => with_part("NOLB", seen.check),
            Operation::Running if self.reasons.drain() && seen.agent.is_some() => "DRAIN (agent)".to_owned(),
            Operation::Running if self.reasons.drain() => with_part("DRAIN", seen.check),
            Operation::Running if seen.check.is_none() => "no check".to_owned(),
            Operation::Running => with_part("UP", seen.check),
        }
    }
}

fn down(check: Option<Score>, agent: Option<Score>) -> String {
    match (check, agent) {
        (_, Some(agent)) if agent.health == 0 => "DOWN (agent)".to_owned(),
        (Some(check), _) if check.health > 0 => format!("DOWN {}/{}", check.health, check.rise),
        _ => "DOWN".to_owned(),
    }
}

fn with_part(word: &str, check: Option<Score>) -> String {
    match check.filter(|check| check.health < check.best()) {
        Some(check) => {
            let left = (check.health + 1).saturating_sub(check.rise);
            format!("{word} {left}/{}", check.fall)
        }
        None => word.to_owned(),
    }
}
