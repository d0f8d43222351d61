//! The fuzzer's corpus, replayed on stable: good messages and hostile ones by hand, and whatever was found since.

use std::fs;
use std::path::PathBuf;

#[path = "../../../tests/fuzz/oracle/http_message.rs"]
mod oracle;

fn corpus() -> Vec<(String, Vec<u8>)> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus/http_message");
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

#[test]
fn every_message_ever_kept_is_read_alike_however_it_comes() {
    let corpus = corpus();
    assert!(
        corpus.len() >= 50,
        "only {} inputs: the corpus was lost",
        corpus.len()
    );
    for (name, stream) in corpus {
        // Shown with the test's output if the oracle panics.
        println!("{name}: {}", stream.escape_ascii());
        oracle::accepted(&stream);
    }
}

#[test]
fn good_messages_are_taken_and_hostile_ones_are_not() {
    for (name, stream) in corpus() {
        let expected = match name.split_once('-') {
            Some(("good", _)) => true,
            Some(("hostile", _)) => false,
            _ => continue,
        };
        assert_eq!(oracle::accepted(&stream), expected, "{name}");
    }
}
