//! Pages in the repository that are made by the program: they must say what it does now.
//!
//! `scripts/gen` writes them anew.

use std::collections::BTreeMap;
use std::path::Path;

fn files(directory: &Path) -> BTreeMap<String, String> {
    std::fs::read_dir(directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read_to_string(entry.path()).unwrap())
        })
        .collect()
}

#[test]
fn the_man_pages_are_those_of_this_program() {
    let fresh = tempfile::tempdir().unwrap();
    warren::docs::man(fresh.path()).unwrap();
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/man");
    for (name, text) in files(fresh.path()) {
        let old = std::fs::read_to_string(kept.join(&name)).unwrap_or_default();
        assert!(old == text, "docs/man/{name} is out of date; run scripts/gen");
    }
    assert_eq!(
        files(&kept).into_keys().collect::<Vec<_>>(),
        files(fresh.path()).into_keys().collect::<Vec<_>>()
    );
}

#[test]
fn completions_exist_for_the_shells_of_debian() {
    let fresh = tempfile::tempdir().unwrap();
    warren::docs::completions(fresh.path()).unwrap();
    let names: Vec<String> = files(fresh.path()).into_keys().collect();
    assert_eq!(names, ["_warren", "warren.bash", "warren.fish"]);
    assert!(files(fresh.path())["warren.bash"].contains("drain"));
}

#[test]
fn the_configuration_references_are_those_of_this_program() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    for (name, fresh) in [
        ("config.md", warren::docs::reference::page()),
        ("keepalived.md", warren::config::keepalived_page()),
        ("haproxy.md", warren_proxy::config::haproxy_page()),
    ] {
        let old = std::fs::read_to_string(docs.join(name)).unwrap_or_default();
        assert!(old == fresh, "docs/{name} is out of date; run scripts/gen");
    }
}

#[test]
fn the_table_of_metrics_is_that_of_this_program() {
    let fresh = tempfile::tempdir().unwrap();
    warren::docs::metrics(fresh.path()).unwrap();
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let old = std::fs::read_to_string(kept).unwrap_or_default();
    assert!(
        old == files(fresh.path())["metrics.md"],
        "docs/metrics.md is out of date; run scripts/gen"
    );
}
