//! The binary as a shell calls it: exit statuses, messages, names.

use std::path::Path;
use std::process::{Command, Output};

fn warren() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
    command.env_remove("RUNTIME_DIRECTORY");
    command
}

fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn help_is_an_answer_and_a_mistake_is_not() {
    let (code, out, _) = run(warren().arg("--help"));
    assert_eq!(code, Some(0));
    assert!(out.contains("failover daemon"), "{out}");
    let (code, out, err) = run(warren().arg("sttus"));
    assert_eq!((code, out.as_str()), (Some(64), ""));
    assert!(err.contains("'status'"), "{err}");
}

#[test]
fn without_a_daemon_every_verb_says_where_it_looked() {
    let directory = tempfile::tempdir().unwrap();
    for words in [
        &["status"][..],
        &["why"],
        &["events"],
        &["drain", "x"],
        &["resume", "x"],
        &["reload"],
        &["upgrade"],
    ] {
        let (code, out, err) = run(warren().args(words).arg("--runtime-dir").arg(directory.path()));
        assert_eq!((code, out.as_str()), (Some(1), ""), "{words:?}: {err}");
        let place = directory.path().join("vrrp.sock");
        assert!(err.contains(&place.display().to_string()), "{words:?}: {err}");
    }
}

/// A directory with a link by which the binary is `keepalived`.
fn linked() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let (code, out, err) = run(warren().arg("links").arg(directory.path()));
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("keepalived -> "), "{out}");
    directory
}

fn keepalived(directory: &Path) -> Command {
    Command::new(directory.join("keepalived"))
}

#[test]
fn by_its_other_name_it_takes_keepaliveds_options() {
    let directory = linked();
    let (code, out, _) = run(keepalived(directory.path()).arg("--signum=RELOAD"));
    assert_eq!((code, out.as_str()), (Some(0), "1\n"));
    let (code, _, err) = run(keepalived(directory.path()).arg("-v"));
    assert_eq!(code, Some(0));
    assert!(err.contains("in place of keepalived"), "{err}");
    let (code, _, err) = run(keepalived(directory.path()).arg("-C"));
    assert_eq!(code, Some(1));
    assert!(err.contains("health checks of LVS"), "{err}");
    let (code, ..) = run(keepalived(directory.path()).arg("--wat"));
    assert_eq!(code, Some(1));
}

#[test]
fn a_configuration_that_cannot_be_run_fails_the_test_and_the_start() {
    let directory = linked();
    let config = directory.path().join("keepalived.conf");
    std::fs::write(&config, "vrrp_instance VI_1 {\n    state SLAVE\n}\n").unwrap();
    let (code, _, err) = run(keepalived(directory.path()).arg("-t").arg("-f").arg(&config));
    assert_eq!(code, Some(3), "{err}");
    // In the background, the process that stays is the one that finds out; the first one passes it on.
    let (code, out, err) = run(keepalived(directory.path())
        .arg("-f")
        .arg(&config)
        .arg("--runtime-dir")
        .arg(directory.path().join("run")));
    assert!(code.is_some_and(|code| code != 0), "{code:?}");
    assert_eq!(out, "");
    assert!(err.contains("error"), "{err}");
}

const KEEPALIVED: &str = "\
vrrp_instance VI_1 {
    interface eth0
    virtual_router_id 51
    priority 101
    virtual_ipaddress {
        192.0.2.100
    }
}
";

#[test]
fn a_keepalived_conf_becomes_a_warren_toml_that_is_right() {
    let directory = tempfile::tempdir().unwrap();
    let old = directory.path().join("keepalived.conf");
    std::fs::write(&old, KEEPALIVED).unwrap();
    let (code, toml, err) = run(warren().arg("import").arg(&old));
    assert_eq!(code, Some(0), "{err}");
    let new = directory.path().join("warren.toml");
    std::fs::write(&new, toml).unwrap();
    for file in [&old, &new] {
        let (code, out, _) = run(warren().args(["check", "--host", "alpha"]).arg(file));
        assert_eq!(code, Some(0), "{out}");
        assert!(out.contains("right, 1 virtual router"), "{out}");
    }
    let linked = linked();
    let (code, _, err) = run(keepalived(linked.path()).arg("-tf").arg(&old));
    assert_eq!(code, Some(0), "{err}");
}

#[test]
fn a_mistake_in_a_file_is_shown_where_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("warren.toml");
    std::fs::write(&file, "[vrrp]\nrouterid = \"x\"\n").unwrap();
    let (code, out, err) = run(warren().args(["check", "--host", "alpha"]).arg(&file));
    assert_eq!((code, err.as_str()), (Some(78), ""));
    assert!(
        out.contains("warren.toml:2:1") && out.contains("router_id"),
        "{out}"
    );

    let old = directory.path().join("keepalived.conf");
    std::fs::write(&old, "vrrp_instance VI_1 {\n    state SLAVE\n}\n").unwrap();
    let (code, out, err) = run(warren().arg("import").arg(&old));
    assert_eq!((code, out.as_str()), (Some(78), ""));
    assert!(err.contains("SLAVE"), "{err}");

    // The same, where `keepalived -t` was told to write it.
    let linked = linked();
    let messages = directory.path().join("messages");
    let mut option = std::ffi::OsString::from("--config-test=");
    option.push(&messages);
    let (code, out, err) = run(keepalived(linked.path()).arg(option).arg("-f").arg(&old));
    assert_eq!((code, out.as_str(), err.as_str()), (Some(3), "", ""));
    assert!(std::fs::read_to_string(messages).unwrap().contains("SLAVE"));
}
