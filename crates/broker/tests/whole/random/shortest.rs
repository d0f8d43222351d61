//! A history that leads to a difference, cut down to the steps that it takes.

use std::fmt::Write as _;

use super::heard::Heard;
use super::history::Step;
use super::{Both, Difference};

/// What is left, and what each said in its last step.
pub(crate) fn shortest(both: Both, mut history: Vec<Step>, mut difference: Difference) -> String {
    history.truncate(difference.step + 1);
    let mut length = history.len().div_ceil(2);
    loop {
        let mut start = 0;
        while start < history.len() {
            let mut shorter = history.clone();
            shorter.drain(start..(start + length).min(history.len()));
            match both.lasting_difference(&shorter) {
                Some(still) => {
                    shorter.truncate(still.step + 1);
                    (history, difference) = (shorter, still);
                }
                None => start += length,
            }
        }
        if length == 1 {
            return told(&history, &difference);
        }
        length = length.div_ceil(2);
    }
}

fn told(history: &[Step], difference: &Difference) -> String {
    let mut told = String::new();
    for step in history {
        let action = brief(format!("{:?}", step.action));
        writeln!(told, "  {}.{} {action}", step.connection, step.channel).unwrap();
    }
    let Difference { ours, theirs, .. } = difference;
    writeln!(told, "RabbitMQ{}\nwe{}", only(theirs, ours), only(ours, theirs)).unwrap();
    told
}

/// What one heard and the other did not.
fn only(heard: &Heard, other: &Heard) -> String {
    let mut only = String::new();
    for (place, channel) in &heard.channels {
        if other.channels.get(place) != Some(channel) {
            write!(only, "\n  {}.{} {channel:?}", place.0, place.1).unwrap();
        }
    }
    for (name, counts) in &heard.queues {
        if other.queues.get(name) != Some(counts) {
            write!(only, "\n  {name}: {counts}").unwrap();
        }
    }
    only
}

/// Without what is as if it had not been said.
fn brief(mut step: String) -> String {
    for nothing in ["ticket: 0, ", "arguments: Table([])", "Some"] {
        step = step.replace(nothing, "");
    }
    let fields = step.split(", ").filter(|field| {
        ![": false", ": None", ": \"\"", ": None }"]
            .iter()
            .any(|end| field.ends_with(end))
    });
    fields.collect::<Vec<_>>().join(", ")
}
