//! `warren check` and `warren import` on whole files.

use std::path::{Path, PathBuf};

use assert_cmd::Command;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// Exit code, standard output and standard error of `warren ARGUMENTS`.
fn warren(arguments: &[&str], files: &[&Path]) -> (i32, String, String) {
    let output = Command::cargo_bin("warren")
        .unwrap()
        .args(arguments)
        .args(files)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("warren.toml");
    std::fs::write(&path, text).unwrap();
    (directory, path)
}

#[test]
fn the_pair_of_the_tutorial_is_right_and_its_failover_is_told() {
    let files = [
        fixture("keepalived/tutorial-master.conf"),
        fixture("keepalived/tutorial-backup.conf"),
    ];
    let (code, out, err) = warren(&["check"], &[&files[0], &files[1]]);
    assert_eq!(code, 0, "{out}{err}");
    let expected = "note: VI_1: with chk_haproxy failing on tutorial-master (tutorial-master 99, tutorial-backup 100): \
                    tutorial-backup becomes active";
    assert!(out.contains(expected), "{out}");
}

#[test]
fn a_pair_that_cannot_work_is_78() {
    let (_kept, other) = written(
        "[vrrp.router.VI_1]\ninterface = \"eth0\"\nvrid = 52\nversion = 2\naddresses = [\"192.168.125.245\"]\n",
    );
    let (code, out, _) = warren(&["check"], &[&fixture("keepalived/tutorial-master.conf"), &other]);
    assert_eq!(code, 78, "{out}");
    assert!(out.contains("different virtual router identifiers"), "{out}");
}

#[test]
fn the_hosts_of_one_file_are_compared() {
    let text = "[vrrp.router.web]\ninterface = \"eth0\"\nvrid = 51\npriority = 100\nchecks = [\"c\"]\n\
                [vrrp.check.c]\nprocess = \"haproxy\"\nweight = -2\n\
                [host.alpha.vrrp.router.web]\npriority = 150\n[host.beta.vrrp.router.web]\npriority = 100\n";
    let (_kept, file) = written(text);
    let (code, out, _) = warren(&["check", "--host", "alpha"], &[&file]);
    assert_eq!(code, 0, "{out}");
    assert!(
        out.contains("(alpha 148, beta 100): alpha stays active, nothing moves"),
        "{out}"
    );
    assert!(out.contains("make the weight -51 or lower"), "{out}");
}

#[test]
fn a_mistake_is_78_and_shown_with_a_caret() {
    let (_kept, file) = written("[vrrp.router.web]\ninterface = \"eth0\"\nvrid = 300\n");
    let (code, out, _) = warren(&["check"], &[&file]);
    assert_eq!(code, 78);
    assert!(
        out.contains("virtual router identifier 300 is out of range"),
        "{out}"
    );
    assert!(out.contains("3 | vrid = 300\n  |        ^^^"), "{out}");
}

#[test]
fn no_file_is_64() {
    assert_eq!(warren(&["check"], &[]).0, 64);
}

#[test]
fn what_import_prints_is_right() {
    for name in [
        "tutorial-master.conf",
        "haproxy-pair-a.conf",
        "everything.conf",
        "sync-group.conf",
    ] {
        let (code, toml, err) = warren(&["import"], &[&fixture("keepalived").join(name)]);
        assert_eq!(code, 0, "{name}: {err}");
        let (_kept, file) = written(&toml);
        let (code, out, _) = warren(&["check"], &[&file]);
        assert_eq!(code, 0, "{name}: {out}\n{toml}");
    }
}

#[test]
fn import_of_a_wrong_file_prints_no_toml() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keepalived.conf");
    std::fs::write(&path, "vrrp_instance a {\nstate SLAVE\n}\n").unwrap();
    let (code, out, err) = warren(&["import"], &[&path]);
    assert_eq!((code, out.as_str()), (78, ""));
    assert!(err.contains("there is no state `SLAVE`"), "{err}");
}
