//! The fuzzer's corpus, replayed on stable: what RabbitMQ said, good streams and hostile ones by hand, and whatever was
//! found since.

use std::fs;
use std::path::PathBuf;

#[path = "../../../tests/fuzz/oracle/amqp_frame.rs"]
mod oracle;

fn corpus() -> Vec<(String, Vec<u8>)> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus/amqp_frame");
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
fn every_stream_ever_kept_is_read_alike_by_everybody() {
    let corpus = corpus();
    assert!(
        corpus.len() >= 25,
        "only {} inputs: the corpus was lost",
        corpus.len()
    );
    for (name, stream) in corpus {
        // Shown with the test's output if the oracle panics.
        println!("{name}: {stream:02x?}");
        oracle::accepted(&stream);
    }
}

#[test]
fn good_streams_are_read_to_their_end_and_hostile_ones_are_not() {
    for (name, stream) in corpus() {
        let expected = match name.split_once('-') {
            Some(("rabbitmq" | "good", _)) => true,
            Some(("hostile", _)) => false,
            _ => continue,
        };
        assert_eq!(oracle::accepted(&stream), expected, "{name}");
    }
}
