//! The scripts that ship for operators, run by the shell they will meet.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name)
}

/// A process with a name of its own in the place of haproxy.
struct Service {
    directory: tempfile::TempDir,
    name: String,
    started: Vec<Child>,
}

impl Service {
    /// `name` is completed to one of this test run alone: others may run on the same host.
    fn new(name: &str) -> Self {
        let name = format!("w{}{name}", std::process::id());
        let directory = tempfile::tempdir().unwrap();
        // A link, not a copy: the name is the link's, and no other test's fork can make it busy.
        std::os::unix::fs::symlink("/bin/sleep", directory.path().join(&name)).unwrap();
        Self {
            directory,
            name,
            started: Vec::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn start(&mut self) {
        let child = Command::new(self.path(&self.name)).arg("1000").spawn().unwrap();
        // Its new name shows a moment after it was started.
        let comm = format!("/proc/{}/comm", child.id());
        while fs::read_to_string(&comm).unwrap().trim_end() != self.name {
            std::thread::yield_now();
        }
        self.started.push(child);
    }

    fn stop(&mut self) {
        for mut child in self.started.drain(..) {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// The check, with a command that brings the service back.
    fn check(&self, start: &str, environment: &[(&str, &str)]) -> (Option<i32>, String) {
        let output = Command::new(script("chk_haproxy"))
            .env("HAPROXY_NAME", &self.name)
            .env("HAPROXY_START", start)
            .env("HAPROXY_STATE", self.path("state"))
            .env("HAPROXY_WAIT", "1")
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        (output.status.code(), said(&output))
    }

    /// Starts the service in the background, counts how often it was asked to, and leaves its number.
    fn starter(&self) -> String {
        let [log, program, number] =
            ["log", &self.name, "number"].map(|name| self.path(name).display().to_string());
        format!("echo start >> {log}; {program} 1000 > /dev/null 2>&1 & echo $! > {number}")
    }

    fn starts(&self) -> usize {
        fs::read_to_string(self.path("log"))
            .unwrap_or_default()
            .lines()
            .count()
    }

    fn kill_started(&self) {
        let Ok(number) = fs::read_to_string(self.path("number")) else {
            return;
        };
        let process = nix::unistd::Pid::from_raw(number.trim().parse().unwrap());
        let _ = nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGKILL);
        let proc = format!("/proc/{process}/stat");
        while fs::read_to_string(&proc).is_ok_and(|stat| !stat.contains(") Z ")) {
            std::thread::yield_now();
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop();
        self.kill_started();
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_running_haproxy_is_left_alone() {
    let mut service = Service::new("-well");
    service.start();
    assert_eq!(service.check(&service.starter(), &[]), (Some(0), String::new()));
    assert_eq!(service.starts(), 0);
}

#[test]
fn a_dead_haproxy_is_started_once_and_then_given_up() {
    let service = Service::new("-dead");
    let starter = service.starter();
    let (code, text) = service.check(&starter, &[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("brought it back"), "{text}");
    service.kill_started();
    let (code, text) = service.check(&starter, &[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.starts_with(&format!("{} is not running: started ", service.name)),
        "{text}"
    );
    assert_eq!(service.starts(), 1);

    let (code, text) = service.check(&starter, &[("HAPROXY_RESTART_EVERY", "0")]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(service.starts(), 2, "later it may be started again");
}

#[test]
fn a_zombie_is_not_a_running_haproxy() {
    let mut service = Service::new("-zombie");
    service.start();
    service.started[0].kill().unwrap();
    let stat = format!("/proc/{}/stat", service.started[0].id());
    while !fs::read_to_string(&stat).unwrap().contains(") Z ") {
        std::thread::yield_now();
    }
    let (code, text) = service.check("", &[]);
    assert_eq!(
        (code, text.as_str()),
        (
            Some(1),
            format!("{} is not running: it is not ours to start\n", service.name).as_str()
        )
    );
    service.started[0].wait().unwrap();
    service.started.clear();
}

#[test]
fn every_way_to_fail_says_why() {
    let service = Service::new("-fail");
    for (start, environment, expected) in [
        (
            "echo no such unit; exit 5",
            ("X", ""),
            "is not running: `echo no such unit; exit 5` ended with status 5\n",
        ),
        (
            "true",
            ("HAPROXY_RESTART_EVERY", "0"),
            "did not appear within 1 seconds\n",
        ),
        (
            "true",
            ("HAPROXY_STATE", "/no/such/directory/state"),
            "or set HAPROXY_STATE\n",
        ),
    ] {
        let (code, text) = service.check(start, &[environment]);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.ends_with(expected), "{text}");
    }
}

#[test]
fn a_state_file_with_nonsense_or_a_time_to_come_does_not_prevent_a_start() {
    let service = Service::new("-state");
    for nonsense in ["", "soon\n", "99999999999\n"] {
        fs::write(service.path("state"), nonsense).unwrap();
        let (code, text) = service.check(&service.starter(), &[]);
        assert_eq!(code, Some(0), "{text}");
        service.kill_started();
    }
    assert_eq!(service.starts(), 3);
}

fn notify(arguments: &[&str]) -> (Option<i32>, String) {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let run = Command::new(script("notify-example"))
        .args(arguments)
        .env("NOTIFY_LOG", &log)
        .output()
        .unwrap();
    (
        run.status.code(),
        fs::read_to_string(&log).unwrap_or_else(|_| said(&run)),
    )
}

#[test]
fn the_notify_example_understands_what_the_daemon_says() {
    for (arguments, expected) in [
        (
            &["INSTANCE", "VI_1", "MASTER", "100"][..],
            "INSTANCE VI_1 is active here, priority 100\n",
        ),
        (
            &["INSTANCE", "VI_1", "BACKUP", "98"],
            "INSTANCE VI_1 is not active here (BACKUP), priority 98\n",
        ),
        (
            &["GROUP", "VG_1", "FAULT", "0"],
            "GROUP VG_1 is not active here (FAULT), priority 0\n",
        ),
        (
            &["own", "words", "INSTANCE", "a b", "STOP", "1"],
            "INSTANCE a b is not active here (STOP), priority 1\n",
        ),
        (
            &["INSTANCE", "VI_1", "DELETED", "1"],
            "INSTANCE VI_1 is DELETED, priority 1\n",
        ),
    ] {
        assert_eq!(notify(arguments), (Some(0), expected.to_owned()));
    }
    let (code, text) = notify(&["INSTANCE", "VI_1"]);
    assert_eq!(code, Some(64));
    assert!(text.starts_with("usage: "), "{text}");
}

#[test]
fn shells_find_no_mistake_in_the_scripts() {
    for name in ["chk_haproxy", "notify-example"] {
        for shell in ["sh", "bash", "dash"] {
            let checked = Command::new(shell).arg("-n").arg(script(name)).output();
            let Ok(checked) = checked else { continue };
            assert!(checked.status.success(), "{shell} {name}: {}", said(&checked));
        }
    }
}
