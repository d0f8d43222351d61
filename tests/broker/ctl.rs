//! `rabbitmqctl` and its kin against a broker of ours, beside what RabbitMQ 3.10.8's own printed for the same words on a node
//! that had just been reset (`fixtures/ctl`): lines of standard output begin with `1|`, those of standard error with `2|`.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use super::Broker;

/// Words, and what they led to.
#[derive(Debug, Default, PartialEq)]
struct Step {
    words: Vec<String>,
    out: Vec<String>,
    err: Vec<String>,
    status: i32,
}

fn recorded(tool: &str) -> Vec<Step> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/ctl/{tool}.txt"));
    let text = std::fs::read_to_string(path).unwrap();
    let (mut steps, mut step) = (Vec::new(), Step::default());
    for line in text.lines() {
        if let Some(words) = line.strip_prefix("$ ") {
            step.words = words.split_whitespace().skip(1).map(str::to_owned).collect();
        } else if let Some(said) = line.strip_prefix("1|") {
            step.out.push(said.to_owned());
        } else if let Some(said) = line.strip_prefix("2|") {
            step.err.push(said.to_owned());
        } else {
            let status = line.strip_prefix("rc=").unwrap_or_else(|| panic!("{line}"));
            step.status = status.parse().unwrap();
            steps.push(std::mem::take(&mut step));
        }
    }
    steps
}

/// A broker, and the program under the names of RabbitMQ's tools.
struct Place {
    directory: tempfile::TempDir,
    _broker: Broker,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let broker = Broker::start(directory.path(), &["--node-name", "rabbit@vm"]);
        for name in ["rabbitmqctl", "rabbitmq-diagnostics", "rabbitmq-plugins"] {
            symlink(env!("CARGO_BIN_EXE_warren"), directory.path().join(name)).unwrap();
        }
        Self {
            directory,
            _broker: broker,
        }
    }

    fn run(&self, tool: &str, words: &[&str]) -> Output {
        Command::new(self.directory.path().join(tool))
            .args(words)
            .env("RUNTIME_DIRECTORY", self.directory.path().join("run"))
            .output()
            .unwrap()
    }

    fn step(&self, tool: &str, words: &[String]) -> Step {
        let words_of_it: Vec<&str> = words.iter().map(String::as_str).collect();
        let output = self.run(tool, &words_of_it);
        let lines = |octets: Vec<u8>| {
            let text = String::from_utf8(octets).unwrap();
            text.lines().map(str::to_owned).collect()
        };
        Step {
            words: words.to_vec(),
            out: lines(output.stdout),
            err: lines(output.stderr),
            status: output.status.code().unwrap(),
        }
    }
}

/// RabbitMQ's rows come in no order, commas before all rows of JSON but the first, and there may be an empty line at the end.
fn comparable(mut step: Step) -> Step {
    for line in &mut step.out {
        *line = line.trim_start_matches(',').to_owned();
    }
    step.out.sort_unstable();
    while step.err.last().is_some_and(String::is_empty) {
        step.err.pop();
    }
    step
}

#[track_caller]
fn compare(tool: &str) {
    let place = Place::new();
    let steps = recorded(tool);
    assert!(steps.len() > 10, "only {} steps were recorded", steps.len());
    let mut different = Vec::new();
    for recorded in steps {
        let ours = comparable(place.step(tool, &recorded.words));
        let theirs = comparable(recorded);
        if ours != theirs {
            different.push(format!("theirs {theirs:#?}\nours {ours:#?}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn rabbitmqctl_says_and_returns_what_rabbitmqs_does() {
    compare("rabbitmqctl");
}

#[test]
fn diagnostics_say_and_return_what_rabbitmqs_do() {
    compare("rabbitmq-diagnostics");
}

#[test]
fn ports_that_are_listened_on_can_be_connected_to() {
    let place = Place::new();
    let output = place.run("rabbitmq-diagnostics", &["check_port_connectivity"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("\nSuccessfully connected to ports "), "{text}");
    let output = place.run("rabbitmq-diagnostics", &["check_port_listener", "1"]);
    assert_eq!(output.status.code(), Some(69));
}

#[test]
fn without_a_broker_the_status_is_that_of_an_unreachable_node() {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_warren"))
        .args(["ctl", "status"])
        .env("RUNTIME_DIRECTORY", directory.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(69), "{text}");
    assert!(
        text.starts_with("Error: unable to perform an operation on node"),
        "{text}"
    );
}

#[test]
fn another_node_is_not_mistaken_for_this_one() {
    let place = Place::new();
    let output = place.run("rabbitmqctl", &["-n", "rabbit@other", "list_users"]);
    assert_eq!(output.status.code(), Some(69));
    let output = place.run("rabbitmqctl", &["-n", "rabbit@vm", "list_users"]);
    assert!(output.status.success());
}

#[test]
fn plugins_of_tutorials_are_accepted_and_unknown_ones_are_not() {
    let place = Place::new();
    let output = place.run("rabbitmq-plugins", &["enable", "rabbitmq_management"]);
    assert!(output.status.success());
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("not part of this version")
    );
    let output = place.run("rabbitmq-plugins", &["enable", "rabbitmq_nonsense"]);
    assert_eq!(output.status.code(), Some(70));
}

#[test]
fn a_broker_that_is_told_to_stop_has_ended_when_that_is_done() {
    let place = Place::new();
    let output = place.run("rabbitmqctl", &["shutdown"]);
    assert!(output.status.success(), "{output:?}");
    let output = place.run("rabbitmqctl", &["ping"]);
    assert_eq!(output.status.code(), Some(69));
}
