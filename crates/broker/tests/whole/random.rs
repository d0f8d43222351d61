//! What nobody thought of: histories made by dice, played to us and to RabbitMQ, who have to say the same all along.
//!
//! `HISTORIES=n` plays so many, `SEED=n` begins with another one. One that leads to something else is cut down to the steps
//! that it takes, and shown.

mod heard;
mod history;
mod shortest;
mod stage;
mod values;

use std::net::SocketAddr;
use std::time::Duration;

use heard::Heard;
use history::{Step, history};

use super::broker::Broker;
use super::rabbitmq::RabbitMq;

/// In half a minute on a machine that does a lot besides.
const HISTORIES: u64 = 30;

/// For what a step leads to, when it was not the same at first.
const PATIENCE: Duration = Duration::from_millis(30);

/// Ours and RabbitMQ's.
#[derive(Clone, Copy)]
struct Both {
    ours: SocketAddr,
    theirs: SocketAddr,
}

/// Where they said something else.
struct Difference {
    step: usize,
    ours: Heard,
    theirs: Heard,
}

impl Both {
    fn difference(self, history: &[Step], patience: Duration) -> Option<Difference> {
        let (ours, theirs) = std::thread::scope(|scope| {
            let theirs = scope.spawn(|| stage::play(self.theirs, history, patience));
            (stage::play(self.ours, history, patience), theirs.join().unwrap())
        });
        let theirs = theirs.into_iter();
        let different = |(step, (ours, theirs)): (usize, (Heard, Heard))| {
            (ours != theirs).then_some(Difference { step, ours, theirs })
        };
        let first = ours.into_iter().zip(theirs).enumerate().find_map(different)?;
        (!first.ours.may_differ_from(&first.theirs)).then_some(first)
    }

    /// One that is there again when both have time.
    fn lasting_difference(self, history: &[Step]) -> Option<Difference> {
        self.difference(history, Duration::ZERO)?;
        self.difference(history, PATIENCE)
    }
}

#[test]
fn rabbitmq_and_we_say_the_same_whatever_clients_do() {
    let number = |name| std::env::var(name).ok().map(|value| value.parse().unwrap());
    let Some(rabbitmq) = RabbitMq::start() else { return };
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::on(directory.path());
    let both = Both {
        ours: broker.at,
        theirs: rabbitmq.at,
    };
    let first = number("SEED").unwrap_or(1);
    let mut different = 0;
    for seed in first..first + number("HISTORIES").unwrap_or(HISTORIES) {
        let history = history(seed);
        if let Some(difference) = both.lasting_difference(&history) {
            different += 1;
            println!("SEED={seed}\n{}", shortest::shortest(both, history, difference));
        }
    }
    assert_eq!(different, 0, "histories led to something else than with RabbitMQ");
}
