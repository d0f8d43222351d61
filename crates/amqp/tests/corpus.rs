//! The fuzzers' corpus, replayed on stable: what RabbitMQ said, good input and hostile one by hand, and whatever was
//! found since.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;

#[path = "../../../tests/fuzz/oracle/amqp_content.rs"]
mod content;
#[path = "../../../tests/fuzz/oracle/amqp_frame.rs"]
mod frame;
#[path = "../../../tests/fuzz/oracle/amqp_header.rs"]
mod header;
#[path = "../../../tests/fuzz/oracle/amqp_method.rs"]
mod method;

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fuzz/corpus")
        .join(target);
    let mut files: Vec<_> = fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read(&path).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// Good input is taken, hostile input is not, and whatever else there is breaks no rule.
fn replay(target: &str, at_least: usize, accepted: fn(&[u8]) -> bool) {
    let corpus = corpus(target);
    assert!(
        corpus.len() >= at_least,
        "only {} inputs: the corpus was lost",
        corpus.len()
    );
    for (name, input) in corpus {
        // Shown with the test's output if the oracle panics.
        println!("{name}: {input:02x?}");
        let accepted = accepted(&input);
        match name.split_once('-') {
            Some(("rabbitmq" | "good", _)) => assert!(accepted, "{name} is good"),
            Some(("hostile", _)) => assert!(!accepted, "{name} is hostile"),
            _ => {}
        }
    }
}

#[test]
fn every_stream_ever_kept_is_read_alike_by_everybody() {
    replay("amqp_frame", 25, frame::accepted);
}

#[test]
fn every_content_ever_kept_goes_on_as_it_came_or_not_at_all() {
    replay("amqp_content", 20, content::accepted);
}

#[test]
fn every_method_ever_kept_means_the_same_when_it_is_said_again() {
    replay("amqp_method", 60, method::accepted);
}

#[test]
fn every_header_ever_kept_changes_only_where_it_is_changed() {
    replay("amqp_header", 15, header::accepted);
}

/// An input of the corpus with some octets changed, left out or doubled.
fn mutated(target: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let inputs: Vec<Vec<u8>> = corpus(target).into_iter().map(|(_, input)| input).collect();
    let octet = prop_oneof![Just(0_u8), Just(1), Just(0xce), Just(0xff), any::<u8>()];
    let change = (any::<prop::sample::Index>(), 0_u8..4, octet);
    (prop::sample::select(inputs), prop::collection::vec(change, 1..4)).prop_map(|(mut input, changes)| {
        for (at, kind, octet) in changes {
            let at = at.index(input.len() + 1);
            match kind {
                0 => input.truncate(at),
                1 => input.insert(at, octet),
                2 if at < input.len() => drop(input.remove(at)),
                _ => input.iter_mut().skip(at).take(1).for_each(|place| *place = octet),
            }
        }
        input
    })
}

proptest! {
    #[test]
    fn contents_with_a_few_octets_changed_break_no_rule(input in mutated("amqp_content")) {
        content::accepted(&input);
    }

    #[test]
    fn methods_with_a_few_octets_changed_break_no_rule(input in mutated("amqp_method")) {
        method::accepted(&input);
    }

    #[test]
    fn headers_with_a_few_octets_changed_break_no_rule(input in mutated("amqp_header")) {
        header::accepted(&input);
    }
}
