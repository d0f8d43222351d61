//! hatop, as Debian has it, in a terminal of its own.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::tests::{context, is_installed, socket};
use super::{Listener, serve};
use crate::plan::SocketLevel;
use crate::stats::fixture;

const HATOP: &str = "/usr/bin/hatop";

#[tokio::test]
async fn hatop_shows_the_servers() {
    if !is_installed(HATOP) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("stats");
    let context = context();
    fixture::checked(&context.live, "rabbit", "r2", "L4CON", "Connection refused");
    let listener = Listener::bind(&socket(&path)).unwrap();
    let served = serve(
        context,
        listener,
        SocketLevel::Admin,
        Duration::from_secs(30),
        super::tests::never(),
    );
    tokio::spawn(served);
    let screen = tokio::task::spawn_blocking(move || screen(&path.display().to_string()));
    let screen = screen.await.unwrap();
    for wanted in [
        "HAProxy Version: 2.6.12",
        "rabbit",
        "r1",
        "r2",
        "DOWN",
        "w2",
        "MAINT",
        "BACKEND",
    ] {
        assert!(screen.contains(wanted), "{wanted} is not in\n{screen}");
    }
}

/// What it has drawn once it shows a server in maintenance, which is the last of the list.
fn screen(socket: &str) -> String {
    let mut child = Command::new("script")
        .args(["-q", "-e", "-c"])
        .arg(format!("stty cols 160 rows 50; exec {HATOP} -s {socket} -i 1"))
        .arg("/dev/null")
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (sender, drawn) = mpsc::sync_channel(16);
    let mut output = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut part = [0; 4096];
        while let Ok(count @ 1..) = output.read(&mut part) {
            if sender.send(part[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut screen = Vec::new();
    while !String::from_utf8_lossy(&screen).contains("MAINT") {
        match drawn.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(part) => screen.extend(part),
            Err(_) => break,
        }
    }
    let mut input = child.stdin.take().unwrap();
    let _ = input.write_all(b"q");
    drop(input);
    let ended = child.wait().unwrap();
    drop(drawn);
    reader.join().unwrap();
    let screen = String::from_utf8_lossy(&screen).into_owned();
    assert!(ended.success(), "{ended}: {screen}");
    screen
}
