//! A broker in a process of its own, until it is killed: a test that is started again, and serves.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Says to a test that it has to serve, and where from.
pub(crate) const DIRECTORY: &str = "WARREN_CRASH_DIRECTORY";

/// The broker, until it is killed: when it is dropped at the latest.
pub(crate) struct Broker {
    pub(crate) at: SocketAddr,
    pub(crate) process: Child,
}

impl Broker {
    /// As this test, which says `listens` and where; with `environment` besides what there is.
    pub(crate) fn of(test: &str, directory: &Path, environment: &[(&str, &OsStr)]) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(DIRECTORY, directory)
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let at = lines.find_map(|line| {
            let line = line.ok()?;
            // The harness has begun the line.
            line.split_once("listens ")
                .map(|(_, address)| address.parse().unwrap())
        });
        let Some(at) = at else {
            panic!("the broker did not start: {:?}", process.wait());
        };
        Self { at, process }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
