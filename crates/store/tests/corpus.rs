//! The fuzzer's corpus, replayed on stable: data directories good and hostile by hand, and whatever was found since.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;

#[path = "../../../tests/fuzz/oracle/store_log.rs"]
mod oracle;

#[test]
fn good_directories_open_and_hostile_ones_are_refused() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus/store_log");
    let mut inputs = 0;
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let accepted = oracle::accepted(&fs::read(&path).unwrap());
        assert!(!name.starts_with("good") || accepted, "{name} was refused");
        assert!(!name.starts_with("hostile") || !accepted, "{name} was opened");
        inputs += 1;
    }
    assert!(inputs >= 20, "only {inputs} inputs: the corpus was lost");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn whatever_happened_to_some_octets_breaks_no_rule(changes in prop::collection::vec(any::<(u8, u16, u8)>(), 1..4)) {
        let changes = changes.iter().flat_map(|(file, at, bits)| [&[*file][..], &at.to_le_bytes(), &[*bits]].concat());
        let input: Vec<u8> = std::iter::once(b'x').chain(changes).collect();
        oracle::accepted(&input);
    }
}
