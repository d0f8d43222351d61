//! Checks of databases, ours and the real HAProxy's, of the same servers: what they send, and what they conclude.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use warren_kit::diagnostics::SourceFile;

use super::fixture::{World, eventually};
use crate::config::{Machine, load_haproxy_text};

/// Option, what the server says first, what it answers, and what both have to find.
const CASES: &[(&str, &[u8], &[u8], &str)] = &[
    ("mysql-check", GREETING, b"", "L7OK"),
    ("mysql-check", BLOCKED, b"", "L7STS"),
    ("mysql-check user haproxy", GREETING, LET_IN, "L7OK"),
    ("mysql-check user haproxy post-41", GREETING, OTHER_WAY, "L7OK"),
    ("mysql-check user haproxy pre-41", GREETING, LET_IN, "L7OK"),
    ("mysql-check user haproxy", GREETING, DENIED, "L7STS"),
    ("mysql-check user haproxy", BLOCKED, b"", "L7STS"),
    ("pgsql-check user bob", b"", b"R\0\0\0\x08\0\0\0\0", "L7OK"),
    ("pgsql-check user bob", b"", b"R\0\0\0\x0c\0\0\0\x05salt", "L7OK"),
    (
        "pgsql-check user bob",
        b"",
        b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0",
        "L7OK",
    ),
    ("pgsql-check user bob", b"", b"E\0\0\0\x0dSFATAL\0\0\0", "L7RSP"),
    (
        "ldap-check",
        b"",
        b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\0\x04\0\x04\0",
        "L7OK",
    ),
    (
        "ldap-check",
        b"",
        b"\x30\x84\0\0\0\x10\x02\x01\x01\x61\x84\0\0\0\x07\x0a\x01\0\x04\0\x04\0",
        "L7OK",
    ),
];

const GREETING: &[u8] =
    b"\x2b\0\0\0\x0a5.5.5-10.11\0\x01\0\0\0abcdefgh\0\xff\xf7\x08\x02\0\xff\x81\x15\0\0\0\0\0\0\0\0\0";
const BLOCKED: &[u8] = b"\x0f\0\0\0\xff\x69\x04host blocked";
const LET_IN: &[u8] = b"\x07\0\0\x02\0\0\0\x02\0\0\0";
/// It wants to hear the password in another way.
const OTHER_WAY: &[u8] = b"\x01\0\0\x02\xfe";
const DENIED: &[u8] = b"\x16\0\0\x02\xff\x15\x04#28000access denied";

/// A server that says so, and what it was sent.
fn server(first: &'static [u8], answer: &'static [u8]) -> (SocketAddr, Arc<Mutex<BTreeSet<Vec<u8>>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let heard = Arc::<Mutex<BTreeSet<Vec<u8>>>>::default();
    let keep = Arc::clone(&heard);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let keep = Arc::clone(&keep);
            std::thread::spawn(move || {
                stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
                let _ = stream.write_all(first);
                let mut octets = vec![0; 1024];
                let count = stream.read(&mut octets).unwrap_or(0);
                keep.lock().insert(octets[..count].to_vec());
                let _ = stream.write_all(answer);
                // What follows its last word is the end.
                let _ = stream.shutdown(std::net::Shutdown::Write);
                let _ = stream.read(&mut octets);
            });
        }
    });
    (address, heard)
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

fn statuses(csv: &str) -> Vec<String> {
    let mut rows = csv.trim_start_matches("# ").lines().map(|line| line.split(','));
    let place = rows
        .next()
        .unwrap()
        .position(|name| name == "check_status")
        .unwrap();
    rows.filter_map(|mut row| {
        row.nth(1)
            .filter(|name| *name == "one")
            .and_then(|_| row.nth(place - 2))
    })
    .map(str::to_owned)
    .collect()
}

#[tokio::test]
async fn databases_are_asked_and_judged_as_by_haproxy() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("stats");
    let file = |servers: &[SocketAddr]| {
        let mut text = format!(
            "global\n stats socket {} level admin\ndefaults\n timeout connect 2s\n timeout client 2s\n timeout server 2s\n \
             timeout check 2s\n",
            socket.display()
        );
        for (number, ((option, ..), server)) in CASES.iter().zip(servers).enumerate() {
            text += &format!(
                "backend b{number}\n option {option}\n server one {server} check inter 200ms rise 1 fall 1\n"
            );
        }
        text
    };
    let servers = || CASES.iter().map(|(_, first, answer, _)| server(first, answer));
    let (theirs, ours): (Vec<_>, Vec<_>) = (servers().collect(), servers().collect());
    let addresses =
        |servers: &[(SocketAddr, _)]| servers.iter().map(|(address, _)| *address).collect::<Vec<_>>();

    let path = directory.path().join("haproxy.cfg");
    std::fs::write(&path, file(&addresses(&theirs))).unwrap();
    let mut command = Command::new("/usr/sbin/haproxy");
    command.arg("-db").arg("-f").arg(&path).stderr(Stdio::null());
    let _running = Running(command.spawn().expect("haproxy is installed (scripts/setup)"));
    let machine = Machine {
        host: "alpha".to_owned(),
        processors: NonZeroUsize::MIN,
        open_files: 20_000,
    };
    let loaded = load_haproxy_text(SourceFile::new("haproxy.cfg", file(&addresses(&ours))), &machine);
    let world = World::checking(loaded.unwrap_or_else(|error| panic!("{error}")).plan);

    let wanted: Vec<&str> = CASES.iter().map(|(.., status)| *status).collect();
    let their_statuses = || {
        let mut answer = String::new();
        if let Ok(mut stream) = UnixStream::connect(&socket) {
            stream.write_all(b"show stat\n").unwrap();
            stream.read_to_string(&mut answer).unwrap();
        }
        if answer.is_empty() {
            Vec::new()
        } else {
            statuses(&answer)
        }
    };
    let our_statuses = || {
        let taken = crate::stats::Statistics::take(&world.servers.live, Instant::now());
        statuses(&crate::stats::csv(&taken, &crate::stats::Selection::default()))
    };
    let mut last = (Vec::new(), Vec::new());
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline && (last.0 != wanted || last.1 != wanted) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        last = (their_statuses(), our_statuses());
    }
    for (((option, ..), theirs), (ours, wanted)) in CASES.iter().zip(&last.0).zip(last.1.iter().zip(&wanted))
    {
        assert_eq!((theirs.as_str(), ours.as_str()), (*wanted, *wanted), "{option}");
    }
    assert_eq!(last.0.len(), CASES.len());
    assert_eq!(last.1.len(), CASES.len());
    for ((option, ..), ((_, theirs), (_, ours))) in CASES.iter().zip(theirs.iter().zip(&ours)) {
        // One that breaks off before it has said anything may be either's.
        let said = |heard: &Mutex<BTreeSet<Vec<u8>>>| {
            let heard = heard.lock();
            heard
                .iter()
                .filter(|octets| !octets.is_empty())
                .cloned()
                .collect::<Vec<_>>()
        };
        eventually("both have asked", || said(theirs) == said(ours)).await;
        println!("{option}: {:?}", said(ours));
    }
}
