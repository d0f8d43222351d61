//! The fuzzer's corpus, replayed on stable: seeds from keepalived, hostile ones by hand, and whatever was found since.

use std::fs;
use std::path::PathBuf;

#[path = "../../../tests/fuzz/oracle/vrrp_decode.rs"]
mod oracle;

fn corpus() -> Vec<(String, Vec<u8>)> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus/vrrp_decode");
    let mut files: Vec<_> = fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            (
                path.file_name().unwrap().to_str().unwrap().to_owned(),
                fs::read(&path).unwrap(),
            )
        })
        .collect();
    files.sort();
    files
}

#[test]
fn every_input_ever_kept_is_decoded_without_panic_and_to_its_meaning() {
    let corpus = corpus();
    assert!(
        corpus.len() >= 30,
        "only {} inputs: the corpus was lost",
        corpus.len()
    );
    for (name, payload) in corpus {
        // Shown with the test's output if the oracle panics.
        println!("{name}: {payload:02x?}");
        oracle::accepted(&payload);
    }
}

#[test]
fn messages_of_keepalived_are_accepted_and_hostile_ones_are_not() {
    for (name, payload) in corpus() {
        let expected = match name.split_once('-') {
            Some(("keepalived", _)) => true,
            Some(("hostile", _)) => false,
            _ => continue,
        };
        assert_eq!(oracle::accepted(&payload), expected, "{name}");
    }
}
