use std::fs;
use std::path::Path;

use super::*;

/// What a program does first it has done by then, on a machine that does nothing for a second, too.
const ENOUGH: Duration = Duration::from_secs(2);

fn shell(script: &str) -> Spec {
    Spec::new(["/bin/sh", "-c", script])
}

/// Polls what only the kernel can tell us, for at most twenty seconds.
async fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !check() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn is_alive(pid: &str) -> bool {
    let state = fs::read_to_string(Path::new("/proc").join(pid.trim()).join("stat")).unwrap_or_default();
    // "pid (name) S ...": a zombie is dead.
    state
        .rsplit(')')
        .next()
        .and_then(|rest| rest.trim_start().chars().next())
        .is_some_and(|state| !"ZX".contains(state))
}

#[tokio::test]
async fn the_exit_code_and_both_streams_are_reported() {
    let outcome = run(&shell("echo out; echo err >&2; exit 3")).await.unwrap();
    assert_eq!(outcome.exit, Exit::Exited(3));
    assert_eq!(outcome.text(), "out\nerr\n");
    assert!(!outcome.success());
    assert!(run(&Spec::new(["/bin/true"])).await.unwrap().success());
}

#[tokio::test]
async fn arguments_reach_the_program_untouched_by_any_shell() {
    let outcome = run(&Spec::new(["/bin/echo", "$HOME", "a b", "*"])).await.unwrap();
    assert_eq!(outcome.text(), "$HOME a b *\n");
}

#[tokio::test]
async fn a_signal_is_told_from_an_exit() {
    let outcome = run(&shell("kill -TERM $$")).await.unwrap();
    assert_eq!(outcome.exit, Exit::Signalled(15));
    assert_eq!(outcome.exit.to_string(), "killed by SIGTERM");
}

#[tokio::test]
async fn the_whole_group_is_killed_at_the_deadline() {
    let mut spec = shell("sleep 1000 & echo $!; echo $$; wait");
    spec.deadline = ENOUGH;
    let outcome = run(&spec).await.unwrap();
    assert_eq!(outcome.exit, Exit::TimedOut);
    assert!(
        outcome.elapsed >= spec.deadline && outcome.elapsed < 2 * ENOUGH,
        "{outcome:?}"
    );
    let text = outcome.text();
    assert_eq!(text.lines().count(), 2, "{outcome:?}");
    for pid in text.lines() {
        eventually("the child and its child are dead", || !is_alive(pid)).await;
    }
}

#[tokio::test]
async fn a_killed_program_is_reaped_in_the_background() {
    let mut spec = shell("echo $$; exec sleep 1000");
    spec.deadline = ENOUGH;
    let pid = run(&spec).await.unwrap().text();
    eventually("no zombie is left", || {
        !Path::new("/proc").join(pid.trim()).exists()
    })
    .await;
}

#[tokio::test]
async fn a_caller_sees_how_many_of_its_killed_runs_have_not_died() {
    let (dying, mut count) = watch::channel(0);
    let undead = Dying::new(Some(dying.clone()));
    assert_eq!(*count.borrow(), 1);
    drop(undead);
    assert_eq!(*count.borrow(), 0);

    let mut spec = shell("exec sleep 1000");
    (spec.deadline, spec.dying) = (Duration::from_millis(100), Some(dying));
    assert_eq!(run(&spec).await.unwrap().exit, Exit::TimedOut);
    let died = tokio::time::timeout(Duration::from_secs(20), count.wait_for(|count| *count == 0)).await;
    assert!(died.is_ok(), "what can die is counted out again");
}

#[tokio::test]
async fn a_dropped_run_kills_the_group() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let spec = shell(&format!("sleep 1000 & echo $! > {}; wait", file.display()));
    let pid = || fs::read_to_string(&file).ok().filter(|text| text.ends_with('\n'));
    tokio::select! {
        outcome = run(&spec) => panic!("{outcome:?}"),
        () = eventually("the program wrote its number", || pid().is_some()) => {}
    }
    let pid = pid().unwrap();
    eventually("the child's child is dead", || !is_alive(&pid)).await;
}

#[tokio::test]
async fn only_the_tail_of_a_long_output_is_kept() {
    let mut spec = shell("i=0; while [ $i -lt 3000 ]; do echo 0123456789; i=$((i+1)); done; echo end");
    spec.output_bytes_max = 8;
    let outcome = run(&spec).await.unwrap();
    assert_eq!(outcome.text(), "789\nend\n");
    assert_eq!(outcome.output_dropped, 3000 * 11 + 4 - 8);
}

#[tokio::test]
async fn endless_output_neither_blocks_nor_grows() {
    let mut spec = Spec::new(["/usr/bin/yes"]);
    spec.deadline = ENOUGH;
    let outcome = run(&spec).await.unwrap();
    assert_eq!(outcome.exit, Exit::TimedOut);
    assert_eq!(outcome.output.len(), spec.output_bytes_max);
    assert!(outcome.output_dropped > 0);
}

#[tokio::test]
async fn a_process_left_in_the_background_is_neither_waited_for_nor_killed() {
    let outcome = run(&shell("sleep 1000 & echo $!")).await.unwrap();
    assert_eq!(outcome.exit, Exit::Exited(0));
    assert!(outcome.elapsed < Duration::from_secs(5), "{outcome:?}");
    let text = outcome.text();
    assert!(is_alive(&text));
    nix::sys::signal::kill(Pid::from_raw(text.trim().parse().unwrap()), Signal::SIGKILL).unwrap();
}

#[tokio::test]
async fn the_environment_is_ours_plus_what_is_given_without_the_service_managers() {
    let mut spec = Spec::new(["/usr/bin/env"]);
    spec.environment.push(("NOTIFY_SOCKET".into(), "/x".into()));
    spec.environment.push(("COLOUR".into(), "grey".into()));
    let text = run(&spec).await.unwrap().text();
    assert!(text.contains("COLOUR=grey\n") && text.contains("PATH="), "{text}");
    assert!(!text.contains("NOTIFY_SOCKET"), "{text}");
}

#[tokio::test]
async fn a_program_that_cannot_start_is_named_with_the_reason() {
    let error = run(&Spec::new(["/nonexistent/check"])).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("/nonexistent/check could not be started: No such file"),
        "{text}"
    );
}

#[tokio::test]
async fn another_user_is_taken_where_we_may() {
    if !nix::unistd::geteuid().is_root() {
        let mut spec = Spec::new(["/usr/bin/id", "-u"]);
        spec.identity = Some(Identity { uid: 0, gid: 0 });
        assert!(matches!(run(&spec).await, Err(RunError::StartAs { .. })));
        return;
    }
    let mut spec = shell("id -u; id -g; id -G; grep CapEff /proc/self/status");
    spec.identity = Some(Identity {
        uid: 65534,
        gid: 65533,
    });
    let text = run(&spec).await.unwrap().text();
    assert_eq!(text, "65534\n65533\n65533\nCapEff:\t0000000000000000\n");
}

#[test]
fn capabilities_are_withheld_without_any_right_and_ours_stay() {
    let sets = || {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let set = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name));
            line.unwrap().split_whitespace().nth(1).unwrap().to_owned()
        };
        ["CapInh:", "CapAmb:", "CapPrm:", "CapEff:"].map(set)
    };
    let (before, after) = std::thread::spawn(move || {
        let before = sets();
        withhold_capabilities().unwrap();
        (before, sets())
    })
    .join()
    .unwrap();
    assert_eq!(after[..2], ["0000000000000000", "0000000000000000"]);
    assert_eq!(after[2..], before[2..]);
}
