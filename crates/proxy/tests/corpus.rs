//! The fuzzers' corpora, replayed on stable: good input and hostile one by hand, and whatever was found since.

use std::fs;
use std::path::PathBuf;

#[path = "../../../tests/fuzz/oracle/haproxy_cfg.rs"]
mod haproxy_cfg;
#[path = "../../../tests/fuzz/oracle/proxy_header.rs"]
mod proxy_header;
#[path = "../../../tests/fuzz/oracle/runtime_socket.rs"]
mod runtime_socket;
#[path = "../../../tests/fuzz/oracle/tls_hello.rs"]
mod tls_hello;

/// Replays all of it; names beginning with `good` have to be taken, with `hostile` refused.
fn replay(corpus: &str, least: usize, accepted: impl Fn(&[u8]) -> bool) {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fuzz/corpus")
        .join(corpus);
    let mut files: Vec<_> = fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(
        files.len() >= least,
        "only {} inputs: the corpus was lost",
        files.len()
    );
    for path in files {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let octets = fs::read(&path).unwrap();
        // Shown with the test's output if the oracle panics.
        println!("{name}: {}", octets.escape_ascii());
        let accepted = accepted(&octets);
        match name.split_once('-') {
            Some(("good", _)) => assert!(accepted, "{name}"),
            Some(("hostile", _)) => assert!(!accepted, "{name}"),
            _ => {}
        }
    }
}

#[test]
fn proxy_headers() {
    replay("proxy_header", 30, proxy_header::accepted);
}

#[test]
fn lines_of_the_runtime_socket() {
    replay("runtime_socket", 20, runtime_socket::accepted);
}

#[test]
fn tls_hellos() {
    replay("tls_hello", 8, tls_hello::accepted);
}

#[test]
fn configurations() {
    replay("haproxy_cfg", 40, haproxy_cfg::accepted);
}
