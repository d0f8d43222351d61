//! A process whose fdatasync takes long: nobody hears that something is on disk before it is.

use std::process::Command;
use std::time::Instant;

use super::*;
use crate::client::Client;
use crate::killed;
use warren_amqp::client::Event;
use warren_amqp::{Method, Table, basic};

const DELAY: Duration = Duration::from_millis(200);
const SHIM: &str = "
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <unistd.h>
int fdatasync(int file) { usleep(200000); return syscall(SYS_fdatasync, file); }
int fsync(int file) { usleep(200000); return syscall(SYS_fsync, file); }
";

/// A library that gets between a process and its libc.
pub(crate) fn compile(directory: &Path, text: &str) -> std::path::PathBuf {
    let (source, library) = (directory.join("shim.c"), directory.join("shim.so"));
    std::fs::write(&source, text).unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .status();
    assert!(
        compiled
            .expect("there is a compiler, which also links this test")
            .success()
    );
    library
}

/// How long until the broker has confirmed a message.
async fn confirmed(client: &mut Client, mode: u8) -> Duration {
    let published = Instant::now();
    client.publish_as(mode, "", "slow", None, bytes::Bytes::from_static(b"message"));
    loop {
        if let Event::Method {
            method: Method::Basic(basic::Method::Ack(_)),
            ..
        } = client.event().await.expect("the broker lives")
        {
            return published.elapsed();
        }
    }
}

#[test]
fn nothing_is_confirmed_before_fdatasync_has_returned() {
    let directory = tempfile::tempdir().unwrap();
    let shim = compile(directory.path(), SHIM);
    let broker = killed::spawn(
        &directory.path().join("data"),
        &[("LD_PRELOAD", shim.as_os_str())],
    );
    runtime(1).block_on(async {
        let mut client = Client::open(broker.at).await.unwrap();
        client.confirms().await.unwrap();
        let declared = Instant::now();
        client.declare("slow", Table::new()).await.unwrap();
        assert!(
            declared.elapsed() >= DELAY,
            "declared after {:?}",
            declared.elapsed()
        );
        let mut quickest = Duration::MAX;
        for round in 0..20 {
            let took = confirmed(&mut client, 2).await;
            assert!(took >= DELAY, "confirmed after {took:?} in round {round}");
            // At any moment of a write that is under way.
            tokio::time::sleep(Duration::from_millis(round * 7)).await;
            quickest = quickest.min(confirmed(&mut client, 1).await);
        }
        assert!(quickest < DELAY / 2, "what needs no disk takes {quickest:?}");
    });
}
