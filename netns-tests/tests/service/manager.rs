//! A real systemd as the first process of a machine whose only units are ours, and the distribution's for HAProxy with
//! our program in the place that it names.
//!
//! It shares the network of a [`Host`] and has everything else for itself: processes, mounts, its own copy of /etc and
//! a cgroup below this process's. Where there is no systemd, or no cgroup to be had (an ordinary user, a container with
//! a read-only hierarchy), there is nothing to test, and [`Manager::boot`] says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use warren_lab::{Host, Process, eventually, warren_binary};

use crate::pair::PATIENCE;

const INIT: &str = include_str!("../../fixtures/systemd-init.sh");
/// Exit status for a machine on which this cannot work.
const IMPOSSIBLE: i32 = 77;
/// Runs on the host; makes the cgroup and the namespaces.
const OUTER: &str = r#"
give_up() { echo "$1"; exit 77; }
mountpoint -q /sys/fs/cgroup && umount -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup || give_up 'cgroup2 cannot be mounted'
own=$(sed -n 's/^0:://p' /proc/self/cgroup)
mkdir "/sys/fs/cgroup$own/$CGROUP" || give_up 'no cgroup can be made'
echo "/sys/fs/cgroup$own/$CGROUP" > "$CGROUP_NOTE"
echo $$ > "/sys/fs/cgroup$own/$CGROUP/cgroup.procs" || give_up 'the cgroup cannot be entered'
exec unshare --cgroup --mount --pid --fork --kill-child --uts --ipc sh -c "$INIT"
"#;

/// A running systemd; killed, with all its services, when dropped.
#[derive(Debug)]
pub(crate) struct Manager<'host> {
    host: &'host Host,
    unit: &'static str,
    process: Process,
    /// Its id as seen by the lab.
    id: i32,
    log: PathBuf,
    cgroup_note: PathBuf,
}

impl<'host> Manager<'host> {
    /// Boots systemd on `host` with the shipped units installed but not started, and this configuration; what is asked and
    /// told later is about warren-vrrp.service.
    pub(super) fn boot(host: &'host Host, toml: &str) -> Option<Self> {
        Self::boot_for("warren-vrrp.service", host, toml)
    }

    /// The same for another unit.
    pub(crate) fn boot_for(unit: &'static str, host: &'host Host, toml: &str) -> Option<Self> {
        let Some(systemd) = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"]
            .map(Path::new)
            .into_iter()
            .find(|path| path.is_file())
        else {
            crate::skip::skip("systemd is not installed");
            return None;
        };
        let log = host.directory().join("unit.log");
        let cgroup_note = host.directory().join("cgroup");
        let mut command = Command::new("sh");
        command
            .args(["-c", OUTER])
            .env("INIT", INIT)
            .env("SYSTEMD", systemd)
            .env("BINARY", warren_binary())
            .env("UNITS", Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd"))
            .env("LOG", &log)
            .env(
                "CGROUP",
                format!("warren-lab-{}-{}", std::process::id(), host.init()?),
            )
            .env("CGROUP_NOTE", &cgroup_note);
        let mut process = host.spawn_command(command);
        let id = eventually(PATIENCE, "systemd is the first process", || {
            if !process.is_running() {
                return Ok(None);
            }
            let ids = process.descendants();
            match ids.first() {
                Some(&id) if name(id) == "systemd" => Ok(Some(id)),
                _ => Err(process.log()),
            }
        });
        let Some(id) = id else {
            let status = process.wait(PATIENCE);
            assert_eq!(status.code(), Some(IMPOSSIBLE), "{status}: {}", process.log());
            crate::skip::skip(&process.log());
            return None;
        };
        let manager = Self {
            host,
            unit,
            process,
            id,
            log,
            cgroup_note,
        };
        eventually(PATIENCE, "systemd has booted", || {
            let state = text(&manager.try_run(&["systemctl", "is-system-running"]));
            if state == "running" { Ok(()) } else { Err(state) }
        });
        manager.configure(toml);
        Some(manager)
    }

    /// Replaces the configuration.
    pub(crate) fn configure(&self, toml: &str) {
        let file = self.host.write("warren.toml", toml);
        let file = file.display().to_string();
        self.run(&[
            "install",
            "-m",
            "640",
            "-g",
            "warren",
            &file,
            "/etc/warren/warren.toml",
        ]);
    }

    /// Adds settings to the `[Service]` section; `\\n` between them is for printf.
    pub(crate) fn drop_in(&self, settings: &str) {
        let line = format!(
            "printf '[Service]\\n{settings}\\n' > /etc/systemd/system/{}.d/test.conf",
            self.unit
        );
        self.run(&["sh", "-c", &line]);
        self.run(&["systemctl", "daemon-reload"]);
    }

    /// `systemctl VERB` of the unit, which must succeed.
    #[track_caller]
    pub(crate) fn systemctl(&self, verb: &str) {
        let output = self.try_run(&["systemctl", verb, self.unit]);
        let how = || text(&self.try_run(&["systemctl", "status", "--no-pager", self.unit]));
        assert!(output.status.success(), "{verb}: {}\n{}", how(), self.log());
    }

    /// A property of the unit.
    #[track_caller]
    pub(crate) fn property(&self, name: &str) -> String {
        self.run(&["systemctl", "show", self.unit, "--value", "--property", name])
    }

    /// The main process, as seen by the lab.
    #[track_caller]
    pub(crate) fn guard(&self) -> i32 {
        let inside = self.property("MainPID");
        let inside = inside.as_str();
        let found = self.process.descendants().into_iter().find(|&id| {
            let seen = status(id, "NSpid");
            seen.split_whitespace().next_back() == Some(inside)
        });
        found.unwrap_or_else(|| panic!("no process {inside}; the unit wrote:\n{}", self.log()))
    }

    /// The child of the main process.
    pub(crate) fn worker(&self) -> Option<i32> {
        let guard = self.guard().to_string();
        let mut all = self.process.descendants().into_iter();
        all.find(|&id| status(id, "PPid") == guard && name(id) == "warren")
    }

    /// Processes of the unit, by systemd's account.
    pub(crate) fn tasks(&self) -> usize {
        let file = format!("/sys/fs/cgroup/system.slice/{}/cgroup.procs", self.unit);
        // Without processes there is no cgroup.
        text(&self.try_run(&["cat", &file])).lines().count()
    }

    /// What the unit has printed.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Runs a program beside the unit, which must succeed.
    #[track_caller]
    pub(crate) fn run(&self, words: &[&str]) -> String {
        let output = self.try_run(words);
        assert!(
            output.status.success(),
            "{words:?}: {}: {}{}\nthe unit wrote:\n{}",
            output.status,
            text(&output),
            String::from_utf8_lossy(&output.stderr),
            self.log()
        );
        text(&output)
    }

    /// The same, whatever comes out.
    pub(crate) fn try_run(&self, words: &[&str]) -> Output {
        Command::new("nsenter")
            .arg(format!("--target={}", self.id))
            .args(["--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup"])
            .args(["timeout", "30"])
            .args(words)
            .output()
            .expect("nsenter runs")
    }
}

impl Drop for Manager<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the unit wrote:\n{}", self.log());
        }
        self.process.kill();
        let Ok(cgroup) = fs::read_to_string(&self.cgroup_note) else {
            return;
        };
        // It is busy until the last process of the namespace has gone.
        let remove = format!(
            "for i in $(seq 200); do find '{0}' -depth -type d -exec rmdir {{}} + 2>/dev/null; [ -e '{0}' ] || exit 0; sleep 0.01; done",
            cgroup.trim()
        );
        self.host.try_sh(&remove);
    }
}

/// Sends a signal to a process by its id as seen by the lab.
pub(crate) fn send(id: i32, signal: Signal) {
    kill(Pid::from_raw(id), signal).unwrap_or_else(|error| panic!("{signal} to {id}: {error}"));
}

/// A field of `/proc/ID/status`; empty once the process has gone.
pub(crate) fn status(id: i32, field: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.unwrap_or_default().trim().to_owned()
}

/// The process's name, as `pgrep` sees it.
pub(crate) fn name(id: i32) -> String {
    status(id, "Name")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
