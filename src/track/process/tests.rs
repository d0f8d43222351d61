use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);
const TRIES: usize = 5;

/// A program with a name of its own, so that only this test's processes match.
struct Program {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

impl Program {
    /// `name` is completed to one of this test run alone: others may run on the same host.
    fn new(name: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(own(name));
        // Not a copy: another test that forks while we write it would make it busy. The name is the link's.
        std::os::unix::fs::symlink("/bin/sleep", &path).unwrap();
        Self {
            _directory: directory,
            path,
        }
    }

    /// Returns when the kernel shows the new name, which may be a moment after it lets the parent go on.
    fn start(&self) -> Running {
        let process = Running(Command::new(&self.path).arg("1000").spawn().unwrap());
        let name = self.path.file_name().unwrap().to_str().unwrap();
        let comm = format!("/proc/{}/comm", process.0.id());
        while !name.starts_with(std::fs::read_to_string(&comm).unwrap().trim_end()) {
            std::thread::yield_now();
        }
        process
    }
}

struct Running(Child);

impl Running {
    fn end(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A name with this test run's number; with short names it stays within what the kernel keeps.
fn own(name: &str) -> String {
    format!("w{}{name}", std::process::id())
}

fn named(name: &str) -> ProcessPlan {
    ProcessPlan {
        name: own(name),
        command_line: None,
        least: 1,
        most: None,
        up_delay: Duration::ZERO,
        down_delay: Duration::ZERO,
    }
}

/// Waits until so many processes match and tells how long that took.
async fn until(census: &mut watch::Receiver<Option<Census>>, count: u32) -> Duration {
    let begin = Instant::now();
    let seen = timeout(
        PATIENCE,
        census.wait_for(|census| census.is_some_and(|census| census.count == count)),
    );
    if seen.await.is_err() {
        panic!("waited for {count}, last seen {:?}", *census.borrow());
    }
    begin.elapsed()
}

#[tokio::test]
async fn the_end_of_a_process_is_seen_at_once() {
    for connector in [true, false] {
        let mut shortest = Duration::MAX;
        // Who waits for a scan does so each time, a machine that does nothing for a while does not.
        for _ in 0..TRIES {
            let program = Program::new("-end");
            let process = program.start();
            let processes = Processes::start_with(connector);
            let mut census = processes.watch(&named("-end"));
            until(&mut census, 1).await;
            // Time for the connector's first answer.
            tokio::time::sleep(Duration::from_millis(50)).await;
            let begin = Instant::now();
            process.end();
            until(&mut census, 0).await;
            shortest = shortest.min(begin.elapsed());
        }
        println!("from SIGKILL to the census, connector {connector}: {shortest:?}");
        assert!(shortest < SCAN_CALM / 2, "sooner than any scan: {shortest:?}");
    }
}

#[tokio::test]
async fn a_new_process_is_seen_within_a_scan_or_at_once() {
    for connector in [true, false] {
        let mut shortest = Duration::MAX;
        for _ in 0..TRIES {
            let program = Program::new("-new");
            let processes = Processes::start_with(connector);
            let mut census = processes.watch(&named("-new"));
            until(&mut census, 0).await;
            tokio::time::sleep(Duration::from_millis(30)).await;
            let begin = Instant::now();
            let _process = program.start();
            until(&mut census, 1).await;
            shortest = shortest.min(begin.elapsed());
        }
        println!("from spawn to the census, connector {connector}: {shortest:?}");
        assert!(shortest < SCAN_CALM, "{shortest:?}");
    }
}

#[tokio::test]
async fn a_process_that_turns_into_another_program_is_seen() {
    let program = Program::new("-exec");
    let processes = Processes::start_with(false);
    let mut census = processes.watch(&named("-exec"));
    until(&mut census, 0).await;
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", "read line; exec \"$0\" 1000"])
        .arg(&program.path)
        .stdin(Stdio::piped());
    let mut process = Running(shell.spawn().unwrap());
    tokio::time::sleep(2 * SCAN_EAGER).await;
    assert_eq!(
        census.borrow().map(|census| census.count),
        Some(0),
        "still a shell"
    );
    drop(process.0.stdin.take());
    until(&mut census, 1).await;
}

#[tokio::test]
async fn a_service_that_replaces_itself_was_never_away() {
    let program = Program::new("-repl");
    let first = program.start();
    let processes = Processes::start_with(false);
    let mut census = processes.watch(&named("-repl"));
    until(&mut census, 1).await;
    // In the calm second after a scan nobody looks for new processes.
    let _second = program.start();
    let mut seen = census.clone();
    let counts = tokio::spawn(async move {
        let mut counts = Vec::new();
        while let Ok(Ok(())) = timeout(Duration::from_millis(300), seen.changed()).await {
            counts.extend(seen.borrow_and_update().map(|census| census.count));
        }
        counts
    });
    first.end();
    let counts = counts.await.unwrap();
    assert!(!counts.contains(&0), "{counts:?}");
    assert_eq!(census.borrow().map(|census| census.count), Some(1));
}

#[tokio::test]
async fn a_zombie_is_not_running() {
    let program = Program::new("-zombie");
    let mut process = program.start();
    process.0.kill().unwrap();
    let state = || std::fs::read_to_string(format!("/proc/{}/stat", process.0.id())).unwrap();
    while !state().contains(") Z ") {
        tokio::task::yield_now().await;
    }
    let processes = Processes::start_with(false);
    let mut census = processes.watch(&named("-zombie"));
    until(&mut census, 0).await;
    tokio::time::sleep(3 * SCAN_EAGER).await;
    assert_eq!(census.borrow().map(|census| census.count), Some(0));
}

#[tokio::test]
async fn names_longer_than_the_kernel_keeps_are_told_apart_by_the_command_line() {
    let (one, other) = (
        Program::new("-rather-long-name-1"),
        Program::new("-rather-long-name-2"),
    );
    let (_one, _other) = (one.start(), other.start());
    let processes = Processes::start_with(false);
    until(&mut processes.watch(&named("-rather-long-name-1")), 1).await;
    until(
        &mut processes.watch(&ProcessPlan {
            name: format!("/usr/sbin/{}", own("-rather-long-name-2")),
            ..named("")
        }),
        1,
    )
    .await;
    until(
        &mut processes.watch(&ProcessPlan {
            name: own("-rather-long-name")[..15].to_owned(),
            ..named("")
        }),
        2,
    )
    .await;
    until(&mut processes.watch(&named("-rather-long-name-3")), 0).await;
}

#[tokio::test]
async fn a_command_line_must_match_as_a_whole() {
    let program = Program::new("-line");
    let _process = program.start();
    let processes = Processes::start_with(false);
    let full = program.path.to_str().unwrap();
    let (name, elsewhere) = (own("-line"), format!("/elsewhere/{}", own("-line")));
    for (line, count) in [
        (&[&name, "1000"][..], 1),
        (&[full, "1000"], 1),
        (&[&name], 0),
        (&[&name, "100"], 0),
        (&[&name, "1000", ""], 0),
        (&[&elsewhere, "1000"], 0),
    ] {
        let words = line.iter().map(ToString::to_string).collect();
        let plan = ProcessPlan {
            command_line: Some(words),
            ..named("any")
        };
        until(&mut processes.watch(&plan), count).await;
    }
}

#[tokio::test]
async fn more_processes_than_are_guarded_are_still_counted() {
    let program = Program::new("-many");
    let mut all: Vec<Running> = (0..GUARDED_MAX + 10).map(|_| program.start()).collect();
    let processes = Processes::start_with(false);
    let mut census = processes.watch(&named("-many"));
    until(&mut census, 266).await;
    drop(all.split_off(1));
    until(&mut census, 1).await;
    drop(all);
    until(&mut census, 0).await;
}

#[test]
fn quorum_and_limit_make_the_verdict() {
    let settling = |least, most| Settling {
        least,
        most,
        up_delay: Duration::ZERO,
        down_delay: Duration::ZERO,
    };
    let verdict = |settling: Settling, count| {
        let attempt = settling.attempt(Census { count, hidden: false });
        (attempt.success, attempt.detail)
    };
    assert_eq!(verdict(settling(1, None), 0), (false, "not running".into()));
    assert_eq!(verdict(settling(1, None), 3), (true, "3 running".into()));
    assert_eq!(
        verdict(settling(2, None), 1),
        (false, "1 running, at least 2 wanted".into())
    );
    assert_eq!(
        verdict(settling(1, Some(1)), 2),
        (false, "2 running, at most 1 wanted".into())
    );
    assert_eq!(
        verdict(settling(0, Some(0)), 0),
        (true, "0 running".into()),
        "keepalived's quorum_max 0"
    );
    let hidden = settling(1, None).attempt(Census {
        count: 0,
        hidden: true,
    });
    assert!(hidden.detail.contains("hidepid"), "{}", hidden.detail);
}

/// One scan is what a missing process costs ten times a second.
#[tokio::test]
async fn a_scan_of_a_full_process_table_is_cheap() {
    let program = Program::new("-crowd");
    let _crowd: Vec<Running> = (0..300).map(|_| program.start()).collect();
    let processes = Processes::start_with(false);
    let mut census = processes.watch(&named("-none"));
    until(&mut census, 0).await;
    tokio::time::sleep(YOUNG).await;
    let spent = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let (begin, before) = (Instant::now(), spent());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let after = spent();
    let nanos = (after.tv_sec - before.tv_sec) * 1_000_000_000 + after.tv_nsec - before.tv_nsec;
    let share = nanos as f64 / begin.elapsed().as_nanos() as f64 * 100.0;
    let count = super::processes().count();
    println!("scanning {count} processes ten times a second took {share:.2} % of a core");
    assert!(share < 10.0, "{share}");
}
