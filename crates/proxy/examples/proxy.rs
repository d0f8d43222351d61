//! The proxy alone, with a haproxy.cfg or a warren.toml: for trying things and for the tests of its pages.
//!
//! `cargo run -p warren-proxy --example proxy -- haproxy.cfg`

use std::path::PathBuf;

use warren_proxy::config::Format;
use warren_proxy::daemon::{Options, run};

fn main() {
    let files: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let Some(directory) = files.first().and_then(|file| file.parent()) else {
        eprintln!("usage: proxy HAPROXY.CFG... or proxy WARREN.TOML");
        std::process::exit(64);
    };
    let options = Options {
        runtime_dir: Some(directory.join("run")),
        format: files.first().map_or(Format::Haproxy, |file| Format::of(file)),
        files,
        host: "example".to_owned(),
        pid_file: None,
        maxconn: None,
        former: Vec::new(),
        allow_unresolved: false,
        no_server_verify: false,
        strict: false,
        successor: Box::new(|| std::process::Command::new("false")),
        addresses_lost: None,
    };
    if let Err(error) = run(options) {
        eprintln!("{error}");
        std::process::exit(1);
    }
}
