use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;

use super::*;
use crate::config::{Format, load};
use crate::program::ScriptSecurity;

const PATIENCE: Duration = Duration::from_secs(20);
const FILE: &str = "\
[vrrp.router.VI_1]\ninterface = \"eth0\"\nvrid = 51\naddresses = [\"192.0.2.1\"]
[vrrp.router.VI_2]\ninterface = \"eth0\"\nvrid = 52\naddresses = [\"192.0.2.2\"]
[vrrp.group.VG_1]\nrouters = [\"VI_1\", \"VI_2\"]\n";

/// Two routers in a group; programs and pipes are up to the test.
fn plan(directory: &Path) -> Plan {
    let file = directory.join("warren.toml");
    fs::write(&file, FILE).unwrap();
    load(&file, Format::Toml, "host").unwrap().plan
}

fn policy() -> ProgramPolicy {
    ProgramPolicy {
        security: ScriptSecurity::Warn,
        default_user: None,
    }
}

fn shell(script: &str) -> Option<Vec<String>> {
    Some(["/bin/sh", "-c", script].map(String::from).to_vec())
}

/// A program that writes `word` and its arguments to the log.
fn logging(directory: &Path, word: &str) -> Option<Vec<String>> {
    let script = format!("echo {word} \"$@\" >> {}", directory.join("log").display());
    Some(["/bin/sh", "-c", &script, "sh"].map(String::from).to_vec())
}

fn told(name: &str, state: NotifyState, priority: u8) -> Notification {
    Notification {
        scope: Scope::Instance,
        name: name.into(),
        state,
        priority,
    }
}

fn log(directory: &Path) -> String {
    fs::read_to_string(directory.join("log")).unwrap_or_default()
}

async fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !check() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn the_program_of_the_state_comes_first_and_the_general_one_gets_four_arguments() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let mut plan = plan(path);
    plan.notify.change = logging(path, "all");
    let notify = &mut plan.routers[0].notify;
    notify.master = logging(path, "master");
    notify.stop = logging(path, "stop");
    notify.change = logging(path, "change");
    notify.lower_priority = logging(path, "lower");
    plan.groups[0].notify.fault = logging(path, "fault");
    plan.groups[0].notify.change = logging(path, "change");

    let mut notifier = Notifier::start(&plan, &policy());
    let mut expected = String::new();
    for (notification, lines) in [
        (
            told("VI_1", NotifyState::Master, 100),
            "master\nchange INSTANCE VI_1 MASTER 100\nall INSTANCE VI_1 MASTER 100\n",
        ),
        (
            told("VI_1", NotifyState::Backup, 98),
            "change INSTANCE VI_1 BACKUP 98\nall INSTANCE VI_1 BACKUP 98\n",
        ),
        (told("VI_1", NotifyState::LowerPriority, 100), "lower\n"),
        (
            Notification {
                scope: Scope::Group,
                ..told("VG_1", NotifyState::Fault, 0)
            },
            "fault\nchange GROUP VG_1 FAULT 0\nall GROUP VG_1 FAULT 0\n",
        ),
        (told("VI_2", NotifyState::Fault, 7), "all INSTANCE VI_2 FAULT 7\n"),
        (
            told("VI_1", NotifyState::Stop, 100),
            "stop\nchange INSTANCE VI_1 STOP 100\nall INSTANCE VI_1 STOP 100\n",
        ),
    ] {
        notifier.notify(notification);
        expected += lines;
        eventually("every program has run", || log(path) == expected).await;
    }
    notifier.notify(told("unknown", NotifyState::Master, 1));
    notifier.finish(PATIENCE).await;
    assert_eq!(log(path), expected);
}

#[tokio::test]
async fn the_final_state_wins_over_those_that_came_while_a_program_ran() {
    let directory = tempfile::tempdir().unwrap();
    let (path, gate) = (directory.path(), directory.path().join("gate"));
    let mut plan = plan(path);
    let wait = format!(
        "echo $3 $4 >> {}; while [ ! -e {} ]; do sleep 0.01; done",
        path.join("log").display(),
        gate.display()
    );
    plan.routers[0].notify.change = Some(["/bin/sh", "-c", &wait, "sh"].map(String::from).to_vec());
    let mut notifier = Notifier::start(&plan, &policy());
    notifier.notify(told("VI_1", NotifyState::Backup, 1));
    eventually("the first program runs", || log(path) == "BACKUP 1\n").await;
    for (state, priority) in [
        (NotifyState::Master, 2),
        (NotifyState::Backup, 3),
        (NotifyState::Fault, 4),
        (NotifyState::Master, 5),
    ] {
        notifier.notify(told("VI_1", state, priority));
    }
    fs::write(gate, "").unwrap();
    let counters = Arc::clone(&notifier.counters);
    notifier.finish(PATIENCE).await;
    assert_eq!(log(path), "BACKUP 1\nMASTER 5\n");
    assert_eq!(
        (
            counters.superseded.load(Relaxed),
            counters.programs_run.load(Relaxed)
        ),
        (3, 2)
    );
}

#[tokio::test]
async fn a_slow_router_does_not_hold_up_another() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let mut plan = plan(path);
    plan.routers[0].notify.master = shell("sleep 1000");
    plan.routers[1].notify.master = logging(path, "other");
    let mut notifier = Notifier::start(&plan, &policy());
    notifier.notify(told("VI_1", NotifyState::Master, 1));
    notifier.notify(told("VI_2", NotifyState::Master, 1));
    eventually("the other is told", || log(path) == "other\n").await;
    let begin = Instant::now();
    notifier.finish(Duration::from_millis(200)).await;
    assert!(
        begin.elapsed() < Duration::from_secs(2),
        "what is slow is killed at the limit: {:?}",
        begin.elapsed()
    );
}

#[tokio::test]
async fn a_program_that_hangs_or_fails_does_not_stop_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let mut plan = plan(path);
    let notify = &mut plan.routers[0].notify;
    notify.master = shell("trap '' TERM; sleep 1000");
    notify.change = logging(path, "change");
    notify.timeout = Duration::from_millis(200);
    plan.notify.master = shell("echo why; exit 3");
    plan.notify.change = Some(vec!["/no/such/program".into()]);
    let mut notifier = Notifier::start(&plan, &policy());
    notifier.notify(told("VI_1", NotifyState::Master, 1));
    let counters = Arc::clone(&notifier.counters);
    notifier.finish(PATIENCE).await;
    assert_eq!(log(path), "change INSTANCE VI_1 MASTER 1\n");
    assert_eq!(
        (
            counters.programs_run.load(Relaxed),
            counters.programs_failed.load(Relaxed)
        ),
        (4, 3)
    );
}

#[tokio::test]
async fn finishing_with_nothing_to_deliver_takes_no_time() {
    let directory = tempfile::tempdir().unwrap();
    let mut plan = plan(directory.path());
    plan.notify.fifo = Some(directory.path().join("pipe"));
    let mut shortest = Duration::MAX;
    // Whoever waits for something does so each time, a machine that does nothing for a while does not.
    for _ in 0..10 {
        let notifier = Notifier::start(&plan, &policy());
        let begin = Instant::now();
        notifier.finish(PATIENCE).await;
        shortest = shortest.min(begin.elapsed());
    }
    assert!(shortest < Duration::from_millis(90), "{shortest:?}");
}

#[tokio::test]
async fn a_reload_changes_programs_and_a_removed_router_still_delivers() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let mut plan = plan(path);
    plan.routers[0].notify.fault = logging(path, "old");
    plan.routers[1].notify.fault = logging(path, "old");
    let mut notifier = Notifier::start(&plan, &policy());
    notifier.notify(told("VI_2", NotifyState::Fault, 1));
    plan.routers.pop();
    plan.groups.clear();
    plan.routers[0].notify.fault = logging(path, "new");
    notifier.reconfigure(&plan, &policy());
    eventually("the removed router's program has run", || log(path) == "old\n").await;
    notifier.notify(told("VI_1", NotifyState::Fault, 1));
    notifier.notify(told("VI_2", NotifyState::Fault, 1));
    notifier.finish(PATIENCE).await;
    assert_eq!(log(path), "old\nnew\n");
}

#[tokio::test]
async fn a_pipe_keeps_every_change_in_order_until_its_reader_comes() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    let mut plan = plan(directory.path());
    plan.notify.fifo = Some(pipe.clone());
    let mut notifier = Notifier::start(&plan, &policy());
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&pipe).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    notifier.notify(told("VI_1", NotifyState::Backup, 100));
    notifier.notify(told("VI_1", NotifyState::Master, 100));
    notifier.notify(told("VI_1", NotifyState::LowerPriority, 100));
    notifier.notify(Notification {
        scope: Scope::Group,
        ..told("VG_1", NotifyState::Master, 0)
    });
    let lines = tokio::task::spawn_blocking(move || {
        let reader = BufReader::new(fs::File::open(pipe).unwrap());
        reader.lines().take(4).collect::<Result<Vec<_>, _>>().unwrap()
    });
    assert_eq!(
        lines.await.unwrap(),
        [
            "INSTANCE \"VI_1\" BACKUP 100",
            "INSTANCE \"VI_1\" MASTER 100",
            "INSTANCE \"VI_1\" MASTER_RX_LOWER_PRI 100",
            "GROUP \"VG_1\" MASTER 0",
        ]
    );
    notifier.finish(PATIENCE).await;
}

#[tokio::test]
async fn lines_that_nobody_reads_are_bounded_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let mut plan = plan(directory.path());
    plan.notify.fifo = Some(directory.path().join("pipe"));
    let mut notifier = Notifier::start(&plan, &policy());
    for _ in 0..10 {
        for _ in 0..500 {
            notifier.notify(told("VI_1", NotifyState::Master, 100));
        }
        tokio::task::yield_now().await;
    }
    let lost = notifier.counters().lines_lost.load(Relaxed);
    assert!(lost > 0 && lost < 5000, "{lost}");
    let begin = Instant::now();
    notifier.finish(Duration::from_millis(100)).await;
    assert!(begin.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_pipe_that_was_replaced_is_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    let mut plan = plan(directory.path());
    plan.routers[0].notify.fifo = Some(pipe.clone());
    let mut notifier = Notifier::start(&plan, &policy());
    fs::remove_file(&pipe).unwrap();
    notifier.notify(told("VI_1", NotifyState::Master, 100));
    eventually("the pipe is made again", || pipe.exists()).await;
    let (opened, is_open) = tokio::sync::oneshot::channel();
    let read = tokio::task::spawn_blocking(move || {
        let mut pipe = fs::File::open(pipe).unwrap();
        opened.send(()).unwrap();
        std::io::read_to_string(&mut pipe).unwrap()
    });
    // The reader's end comes with ours.
    is_open.await.unwrap();
    notifier.finish(PATIENCE).await;
    assert_eq!(read.await.unwrap(), "INSTANCE \"VI_1\" MASTER 100\n");
}

#[tokio::test]
async fn a_file_in_the_place_of_the_pipe_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pipe");
    fs::write(&file, "precious").unwrap();
    let mut plan = plan(directory.path());
    plan.notify.fifo = Some(file.clone());
    let mut notifier = Notifier::start(&plan, &policy());
    notifier.notify(told("VI_1", NotifyState::Master, 100));
    let counters = Arc::clone(&notifier.counters);
    notifier.finish(PATIENCE).await;
    assert_eq!(fs::read_to_string(file).unwrap(), "precious");
    assert_eq!(counters.lines_lost.load(Relaxed), 1);
}

#[tokio::test]
async fn the_reader_gets_the_pipe_as_last_argument_is_restarted_and_sees_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let mut plan = plan(path);
    plan.notify.fifo = Some(path.join("pipe"));
    // The first one ends after a line; the next reads to the end.
    let log_path = path.join("log");
    let script = format!(
        "exec < \"$1\"; echo start >> {log}; read line; echo $line >> {log}; \
         [ -e {log}.again ] && cat >> {log} && echo end >> {log}; touch {log}.again",
        log = log_path.display()
    );
    plan.notify.fifo_reader = Some(["/bin/sh", "-c", &script, "sh"].map(String::from).to_vec());
    let mut notifier = Notifier::start(&plan, &policy());
    eventually("the reader is started", || log(path) == "start\n").await;
    notifier.notify(told("VI_1", NotifyState::Backup, 1));
    let begun = || log(path).matches("start").count();
    eventually("the reader is started again", || begun() == 2).await;
    notifier.notify(told("VI_1", NotifyState::Master, 2));
    eventually("the second reader got a line", || log(path).contains("MASTER 2")).await;
    notifier.notify(told("VI_1", NotifyState::Stop, 3));
    notifier.finish(PATIENCE).await;
    let expected = "start\nINSTANCE \"VI_1\" BACKUP 1\nstart\nINSTANCE \"VI_1\" MASTER 2\nINSTANCE \"VI_1\" STOP 3\nend\n";
    assert_eq!(log(path), expected);
}

#[tokio::test]
async fn programs_that_can_never_run_are_told_before_anything_happens() {
    let directory = tempfile::tempdir().unwrap();
    let mut plan = plan(directory.path());
    plan.routers[1].notify.master = shell("exit 0");
    plan.routers[1].notify.user = Some(crate::config::plan::UserPlan {
        user: "no-such-user".into(),
        group: None,
    });
    let told = problems(&plan, &policy());
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].0, "VI_2: /bin/sh -c exit 0");
}
