use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tokio::time::timeout;

use super::*;
use crate::config::plan::ProcessPlan;
use crate::program::ScriptSecurity;

const PATIENCE: Duration = Duration::from_secs(20);

fn policy() -> ProgramPolicy {
    ProgramPolicy {
        security: ScriptSecurity::Warn,
        default_user: None,
    }
}

fn plan(name: &str, kind: CheckKind) -> CheckPlan {
    CheckPlan {
        name: name.into(),
        kind,
        interval: Duration::from_millis(50),
        timeout: Duration::from_millis(50),
        rise: 1,
        fall: 1,
        start_failed: false,
    }
}

fn shell(script: &str) -> CheckKind {
    CheckKind::Script {
        argv: ["sh", "-c", script].map(String::from).to_vec(),
        user: None,
    }
}

fn start(checks: Vec<CheckPlan>) -> (Tracker, mpsc::Receiver<CheckReport>) {
    let (results, reports) = mpsc::channel(64);
    (
        Tracker::start(checks, policy(), std::env::temp_dir(), results),
        reports,
    )
}

async fn next(reports: &mut mpsc::Receiver<CheckReport>) -> CheckReport {
    timeout(PATIENCE, reports.recv())
        .await
        .expect("a report in time")
        .unwrap()
}

async fn quiet(reports: &mut mpsc::Receiver<CheckReport>) {
    if let Ok(report) = timeout(Duration::from_millis(300), reports.recv()).await {
        panic!("{report:?}");
    }
}

fn is_alive(pid: &str) -> bool {
    let state = fs::read_to_string(Path::new("/proc").join(pid.trim()).join("stat")).unwrap_or_default();
    state
        .rsplit(')')
        .next()
        .and_then(|rest| rest.trim_start().chars().next())
        .is_some_and(|it| !"ZX".contains(it))
}

async fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !check() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn the_first_result_is_reported_at_once_and_then_only_what_turns() {
    let directory = tempfile::tempdir().unwrap();
    let flag = directory.path().join("down");
    let script = format!("if [ -e {} ]; then echo gone; exit 7; fi", flag.display());
    let mut check = plan("chk", shell(&script));
    (check.interval, check.timeout) = (Duration::from_millis(100), PATIENCE);
    let (tracker, mut reports) = start(vec![check]);
    let first = next(&mut reports).await;
    assert_eq!(
        (first.name.as_ref(), first.verdict, first.value),
        ("chk", Verdict::Up, 0)
    );
    eventually("it goes on being attempted", || tracker.status()[0].runs > 3).await;
    fs::write(&flag, "").unwrap();
    let failed = next(&mut reports).await;
    assert_eq!(
        (failed.verdict, failed.value, failed.detail.as_str()),
        (Verdict::Down, 1, "exit 7")
    );
    assert_eq!(failed.output, "gone\n");
    let status = &tracker.status()[0];
    assert_eq!((status.verdict, status.failures), (Shown::Failed, 1));
    assert!(status.what.starts_with("script sh -c if"), "{}", status.what);
    assert_eq!(status.last.as_ref().unwrap().result, "exit 7");
}

#[tokio::test]
async fn a_hanging_script_fails_at_its_deadline_though_it_ignores_the_request_to_end() {
    let directory = tempfile::tempdir().unwrap();
    let number = directory.path().join("pid");
    let script = format!(
        "trap '' TERM INT HUP; echo $$ > {}; echo stuck; sleep 1000",
        number.display()
    );
    let mut check = plan("chk", shell(&script));
    // It has said what it says by then, on a machine that does nothing for a second, too.
    (check.interval, check.timeout) = (Duration::from_secs(2), Duration::from_secs(2));
    let begin = Instant::now();
    let (_tracker, mut reports) = start(vec![check]);
    let report = next(&mut reports).await;
    let elapsed = begin.elapsed();
    assert_eq!(
        (report.verdict, report.detail.as_str()),
        (Verdict::Down, "no exit within 2s")
    );
    assert_eq!(report.output, "stuck\n");
    assert!(
        elapsed >= Duration::from_secs(2) && elapsed < Duration::from_secs(6),
        "{elapsed:?}"
    );
}

#[tokio::test]
async fn hanging_scripts_fail_once_an_interval_so_that_fall_counts_them() {
    let mut check = plan("chk", shell("[ -n \"$0\" ] && trap '' TERM; sleep 1000"));
    (check.interval, check.timeout, check.fall) = (Duration::from_millis(400), Duration::from_millis(400), 3);
    let (tracker, mut reports) = start(vec![check]);
    // Of a check never well, the first failure is enough; three in a row are what takes it down later.
    assert_eq!(next(&mut reports).await.verdict, Verdict::Down);
    let begin = Instant::now();
    let runs = tracker.status()[0].runs;
    eventually("three more failures", || tracker.status()[0].runs >= runs + 3).await;
    let elapsed = begin.elapsed();
    assert!(
        elapsed < Duration::from_millis(2200),
        "three intervals, not more: {elapsed:?}"
    );
}

#[tokio::test]
async fn stopping_kills_what_a_script_started() {
    let directory = tempfile::tempdir().unwrap();
    let number = directory.path().join("pid");
    let mut check = plan(
        "chk",
        shell(&format!("sleep 1000 & echo $! > {}; wait", number.display())),
    );
    check.timeout = PATIENCE;
    let (tracker, _reports) = start(vec![check]);
    let pid = || {
        fs::read_to_string(&number)
            .ok()
            .filter(|text| text.ends_with('\n'))
    };
    eventually("the script's child runs", || pid().is_some()).await;
    let pid = pid().unwrap();
    assert!(is_alive(&pid));
    tracker.stop();
    eventually("the script's child is dead", || !is_alive(&pid)).await;
}

#[tokio::test]
async fn a_script_whose_user_cannot_be_taken_fails_for_good_and_is_told_at_start() {
    let user = crate::config::plan::UserPlan {
        user: "no-such-user".into(),
        group: None,
    };
    let CheckKind::Script { argv, .. } = shell("exit 0") else {
        unreachable!()
    };
    let mut check = plan(
        "chk",
        CheckKind::Script {
            argv,
            user: Some(user),
        },
    );
    check.fall = 10;
    let told = problems(std::slice::from_ref(&check), &policy());
    assert!(
        told[0].1.to_string().starts_with("it cannot run as no-such-user"),
        "{told:?}"
    );
    let (_tracker, mut reports) = start(vec![check]);
    let report = next(&mut reports).await;
    assert_eq!(report.verdict, Verdict::Down);
    assert!(
        report.detail.starts_with("it cannot run as no-such-user"),
        "{report:?}"
    );
}

#[tokio::test]
async fn equal_checks_go_on_through_a_reload_and_changed_numbers_keep_the_verdict() {
    let directory = tempfile::tempdir().unwrap();
    let marker = directory.path().join("runs");
    let mut kept = plan(
        "kept",
        shell(&format!("echo run >> {}; exit 1", marker.display())),
    );
    (kept.interval, kept.timeout) = (Duration::from_secs(1000), PATIENCE);
    let mut slower = plan("slower", shell("exit 1"));
    slower.timeout = PATIENCE;
    let gone = plan("gone", CheckKind::Interface { name: "eth9".into() });
    let (mut tracker, mut reports) = start(vec![kept.clone(), slower.clone(), gone]);
    for _ in 0..2 {
        assert_eq!(next(&mut reports).await.verdict, Verdict::Down);
    }
    slower.interval = Duration::from_millis(70);
    let mut new = plan("new", shell("exit 0"));
    new.timeout = PATIENCE;
    tracker.reconfigure(vec![slower, new, kept], policy());
    assert_eq!(next(&mut reports).await.name.as_ref(), "new");
    quiet(&mut reports).await;
    let names: Vec<String> = tracker.status().into_iter().map(|status| status.name).collect();
    assert_eq!(names, ["slower", "new", "kept"]);
    assert!(
        tracker
            .status()
            .iter()
            .all(|status| (status.verdict == Shown::Well) == (status.name == "new"))
    );
    assert_eq!(
        fs::read_to_string(marker).unwrap(),
        "run\n",
        "the kept check was not started again"
    );
}

#[tokio::test]
async fn an_interface_is_what_we_are_told_before_or_after_the_check_begins() {
    let check = plan("link", CheckKind::Interface { name: "eth0".into() });
    let (mut tracker, mut reports) = start(vec![]);
    tracker.interface("eth0", true);
    tracker.reconfigure(vec![check], policy());
    assert_eq!(next(&mut reports).await.verdict, Verdict::Up);
    tracker.interface("eth1", false);
    tracker.interface("eth0", true);
    quiet(&mut reports).await;
    tracker.interface("eth0", false);
    let report = next(&mut reports).await;
    assert_eq!((report.verdict, report.detail.as_str()), (Verdict::Down, "down"));
}

fn file(path: &Path) -> CheckPlan {
    // So long that only the watch can be in time.
    CheckPlan {
        interval: Duration::from_secs(1000),
        ..plan("file", CheckKind::File { path: path.into() })
    }
}

#[tokio::test]
async fn every_new_number_of_a_file_is_reported_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path: PathBuf = directory.path().join("number");
    let (_tracker, mut reports) = start(vec![file(&path)]);
    let missing = next(&mut reports).await;
    assert_eq!(
        (missing.verdict, missing.value),
        (Verdict::Up, 0),
        "a missing file counts as 0"
    );

    fs::write(&path, "5\n").unwrap();
    let report = next(&mut reports).await;
    assert_eq!(
        (report.verdict, report.value, report.detail.as_str()),
        (Verdict::Down, 5, "5")
    );
    assert!(report.latency < Duration::from_secs(1));

    fs::write(directory.path().join("new"), " -20 ").unwrap();
    fs::rename(directory.path().join("new"), &path).unwrap();
    let report = next(&mut reports).await;
    assert_eq!(
        (report.verdict, report.value),
        (Verdict::Down, -20),
        "the verdict is old, the number new"
    );

    fs::write(&path, "many\n").unwrap();
    quiet(&mut reports).await;
    fs::remove_file(&path).unwrap();
    assert_eq!(next(&mut reports).await.verdict, Verdict::Up);
}

#[tokio::test]
async fn a_file_whose_directory_comes_later_is_found_by_reading_again() {
    let directory = tempfile::tempdir().unwrap();
    let path: PathBuf = directory.path().join("later/number");
    let check = CheckPlan {
        interval: Duration::from_millis(50),
        ..file(&path)
    };
    let (_tracker, mut reports) = start(vec![check]);
    assert_eq!(next(&mut reports).await.value, 0);
    fs::create_dir(path.parent().unwrap()).unwrap();
    fs::write(&path, "1").unwrap();
    assert_eq!(next(&mut reports).await.value, 1);
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
    assert_eq!(next(&mut reports).await.value, 0);
}

/// A process that does not outlive its test.
struct Service(std::process::Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_killed_process_is_reported_and_a_short_absence_is_not() {
    // Longer than a machine does nothing: the process is away for shorter than that.
    const DELAY: Duration = Duration::from_secs(2);
    let directory = tempfile::tempdir().unwrap();
    // Of this test run alone: others may run on the same host.
    let name = format!("wr{}", std::process::id());
    let program = directory.path().join(&name);
    std::os::unix::fs::symlink("/bin/sleep", &program).unwrap();
    let spawn = || Service(std::process::Command::new(&program).arg("1000").spawn().unwrap());
    let process = ProcessPlan {
        name,
        command_line: None,
        least: 1,
        most: None,
        up_delay: Duration::ZERO,
        down_delay: Duration::ZERO,
    };
    let patient = ProcessPlan {
        down_delay: DELAY,
        ..process.clone()
    };
    let mut child = spawn();
    let at_once = plan("at-once", CheckKind::Process(process));
    let (tracker, mut reports) = start(vec![at_once, plan("patient", CheckKind::Process(patient))]);
    for _ in 0..2 {
        assert_eq!(next(&mut reports).await.verdict, Verdict::Up);
    }
    let mut shortest = Duration::MAX;
    for _ in 0..5 {
        let begin = Instant::now();
        drop(child);
        let report = next(&mut reports).await;
        shortest = shortest.min(begin.elapsed());
        assert_eq!(
            (report.name.as_ref(), report.detail.as_str()),
            ("at-once", "not running")
        );
        child = spawn();
        assert_eq!(next(&mut reports).await.name.as_ref(), "at-once");
    }
    println!("from SIGKILL to the report: {shortest:?}");
    assert!(shortest < Duration::from_millis(500), "{shortest:?}");

    drop(child);
    let begin = Instant::now();
    let names = [next(&mut reports).await.name, next(&mut reports).await.name];
    assert_eq!(names.each_ref().map(AsRef::as_ref), ["at-once", "patient"]);
    assert!(
        begin.elapsed() >= DELAY - Duration::from_millis(10),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!(tracker.status()[1].value, Some(0));
}
