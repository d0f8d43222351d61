//! What the README and the guides tell newcomers to type, typed as it stands there.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use warren_lab::{Host, Network, Process, Session, eventually, warren_binary};

const PATIENCE: Duration = Duration::from_secs(30);

/// A page of the repository.
fn page(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A host with nothing on it, where a broker keeps its data away from this machine's.
fn fresh(network: &Network) -> Host {
    let host = network.host("broker");
    host.sh("mount -t tmpfs tmpfs /var/lib");
    host
}

/// A line that starts a broker.
fn start(host: &Host, line: &str) -> Process {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec {line}")]);
    let broker = host.spawn_command(command);
    eventually(PATIENCE, "it serves", || {
        Session::open(host, ([127, 0, 0, 1], 5672).into(), PATIENCE)
            .map_err(|error| (error.to_string(), broker.log()))
    });
    broker
}

#[test]
fn the_readmes_first_minute_ends_with_a_message_of_ones_own() {
    let text = page("README.md");
    let block = text
        .split("```console\n")
        .filter_map(|rest| rest.split_once("```"))
        .map(|(block, _)| block)
        .find(|block| block.contains("warren broker &"))
        .expect("a block that starts a broker");
    let network = Network::new();
    let host = fresh(&network);
    let mut broker = None;
    let mut said = String::new();
    for line in block.trim_start_matches("$ ").split("\n$ ") {
        match line {
            // The programs are here: what is tested was built, and scripts/test installs the package.
            "cargo build --release" | "sudo apt install python3-pika" => {}
            _ => match line.strip_suffix(" &") {
                Some(line) => {
                    let line = line.replace("target/release/warren", &warren_binary().display().to_string());
                    broker = Some(start(&host, &line));
                }
                None => said += &host.sh(line),
            },
        }
    }
    assert!(broker.is_some() && said.trim_end().ends_with("b'one')"), "{said}");
}

#[test]
fn the_guides_first_program_gets_its_message() {
    for language in ["en", "zh"] {
        let text = page(&format!("docs/guide/{language}/03-broker.md"));
        let (_, rest) = text.split_once("```python\n").expect("a program");
        let (program, _) = rest.split_once("```").expect("its end");
        let network = Network::new();
        let host = fresh(&network);
        let _broker = start(&host, &format!("{} broker", warren_binary().display()));
        let file = host.write("first.py", program);
        let said = host.sh(&format!("/usr/bin/python3 {}", file.display()));
        assert!(said.trim_end().ends_with("b'one')"), "{language}: {said}");
    }
}
