//! `scripts/up`, typed as it says: the address moves for a plain TCP client, clients publish through it, and nothing stays.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use warren_lab::eventually;

const VIP: &str = "198.18.77.100";

/// One demonstration with a directory for everything it writes. Ended in any case when the test is.
struct Up(PathBuf);

impl Up {
    fn new(name: &str) -> Self {
        let everything = std::env::temp_dir().join(format!("up-test-{name}-{}", std::process::id()));
        fs::create_dir(&everything).unwrap();
        Self(everything)
    }

    fn directory(&self) -> PathBuf {
        self.0.join("up")
    }

    fn command(&self, words: &str) -> Command {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut command = Command::new(root.join("scripts/up"));
        command
            .args(words.split_whitespace())
            .env("WARREN_UP_DIR", self.directory())
            // The directories of the hosts, which every daemon and its clients have in their arguments.
            .env("TMPDIR", &self.0)
            // What was tested until here; an operator gets the release build.
            .env("WARREN_UP_PROFILE", "dev")
            .stdin(Stdio::null());
        command
    }

    fn try_type(&self, words: &str) -> Output {
        self.command(words).output().expect("scripts/up starts")
    }

    #[track_caller]
    fn type_in(&self, words: &str) -> String {
        said(&format!("scripts/up {words}"), &self.try_type(words))
    }

    /// A line as it was printed, for the shell to take apart.
    #[track_caller]
    fn type_line(&self, line: &str) -> String {
        let command = self.command("");
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).stdin(Stdio::null());
        shell.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
        for (name, value) in command.get_envs() {
            shell.env(name, value.expect("variables are set, not removed"));
        }
        said(line, &shell.output().expect("sh starts"))
    }

    /// A plain TCP client in the network of the demonstration, at the witness that tells its host.
    fn netcat(&self) -> String {
        let output = self.try_type(&format!("shell nc -w 1 -N {VIP} 7000"));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    #[track_caller]
    fn left_nothing(&self) {
        eventually(
            Duration::from_secs(5),
            "neither files nor processes are left",
            || {
                let files = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path());
                let files = files.map(|path| path.display().to_string());
                let left: Vec<String> = files.chain(processes_that_mention(&self.0)).collect();
                if left.is_empty() { Ok(()) } else { Err(left) }
            },
        );
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.try_type("--down");
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[track_caller]
fn said(line: &str, output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{line}: {}\n{said}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    said
}

fn processes_that_mention(path: &Path) -> Vec<String> {
    let path = path.to_str().expect("a plain path");
    fs::read_dir("/proc")
        .expect("/proc is mounted")
        .filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("cmdline")).ok())
        .map(|line| line.replace('\0', " "))
        .filter(|line| line.contains(path))
        .collect()
}

#[test]
fn the_address_moves_for_a_plain_client_when_the_service_behind_it_dies() {
    let up = Up::new("moves");
    up.type_in("--detach");
    assert!(
        processes_that_mention(&up.0).len() > 4,
        "daemons, services, keeper"
    );
    assert_eq!(up.netcat(), "a");
    assert!(up.type_in("ask").ends_with(", through a\n"));
    let noticed = up.type_in("proxy a stop");
    println!("the proxy of the active host died: {noticed}");
    assert!(noticed.starts_with("answers from a, then b; "), "{noticed}");
    assert_eq!(up.netcat(), "b");
    let status = up.type_in("status");
    assert!(status.contains("proxy failing"), "{status}");
    let page = up.type_in("shell curl -s http://198.18.77.100:8100/;csv");
    assert_eq!(page.matches("\nrabbitmq,q").count(), 3, "{page}");
    let noticed = up.type_in("server q1 stop");
    println!("a server died: {noticed}");
    eventually(Duration::from_secs(10), "the page says so", || {
        let page = up.type_in("shell curl -s http://198.18.77.100:8100/;csv");
        let row = page
            .lines()
            .find(|line| line.starts_with("rabbitmq,q1,"))
            .map(str::to_owned);
        if row.as_ref().is_some_and(|row| row.contains(",DOWN,")) {
            Ok(())
        } else {
            Err(row)
        }
    });
    assert!(!up.type_in("ask").starts_with("q1"));

    let again = up.try_type("--detach");
    assert!(
        !again.status.success(),
        "a second demonstration in the same place"
    );
    up.type_in("--down");
    up.left_nothing();
    assert!(!up.try_type("ask").status.success());
}

#[test]
fn everything_that_it_prints_to_try_works_as_typed() {
    let up = Up::new("printed");
    let introduction = up.type_in("--detach");
    let lines: Vec<&str> = introduction
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| line.starts_with("scripts/up "))
        .map(|line| line.split("  ").next().expect("a first part"))
        .collect();
    assert!(lines.len() >= 16, "{lines:#?}");
    for line in lines {
        // What goes on until somebody ends it, and what needs a terminal.
        if ["scripts/up events", "scripts/up shell"].contains(&line) {
            continue;
        }
        let answer = up.type_line(line);
        println!("{line}\n{answer}");
        let expected = match line.split(' ').skip(1).collect::<Vec<_>>()[..] {
            ["shell", "amqp-declare-queue", ..] => "orders",
            ["shell", "amqp-get", ..] => "one",
            ["ctl", "q1", ..] => "Listing connections ...",
            ["ask"] => "q1, through a",
            ["status"] => "--- b: its proxy runs",
            ["proxy", "a", "stop"] => "answers from a, then b; ",
            ["server", "q1", "stop"] => "answers from ",
            ["kill", "a"] => "answers from ",
            ["--down"] => "everything is down",
            _ => "",
        };
        assert!(answer.contains(expected), "{line}: {answer}");
    }
    up.left_nothing();
}

#[test]
fn a_broker_that_dies_has_what_it_confirmed_once_it_is_back_and_knows_whose_connections_it_has() {
    let up = Up::new("broker");
    up.type_in("--detach");
    let url = format!("--url=amqp://shop:shop@{VIP}");
    up.type_in(&format!("shell amqp-declare-queue {url} -d -q orders"));
    up.type_in(&format!("shell amqp-publish {url} -r orders -p -b kept"));
    let guest = up.try_type(&format!(
        "shell amqp-get --url=amqp://guest:guest@{VIP} -q orders"
    ));
    assert!(
        String::from_utf8_lossy(&guest.stderr).contains("403"),
        "guest comes from this host only: {guest:?}"
    );
    let mut consumer = up
        .command(&format!("shell amqp-consume {url} -q orders cat"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("scripts/up starts");
    let mut delivered = [0; 4];
    std::io::Read::read_exact(&mut consumer.stdout.take().expect("a pipe"), &mut delivered).unwrap();
    assert_eq!(&delivered, b"kept");
    let connections = up.type_in("ctl q1 list_connections user peer_host");
    assert!(connections.contains("shop\t198.18.77.3"), "{connections}");
    consumer.kill().unwrap();
    consumer.wait().unwrap();

    up.type_in(&format!("shell amqp-publish {url} -r orders -p -b later"));
    up.type_in("server q1 stop");
    eventually(Duration::from_secs(10), "q2 takes over", || {
        let answer = up.type_in("ask");
        if answer.starts_with("q2") {
            Ok(())
        } else {
            Err(answer)
        }
    });
    up.type_in("server q1 start");
    eventually(Duration::from_secs(10), "q1 is back", || {
        let answer = up.type_in("ask");
        if answer.starts_with("q1") {
            Ok(())
        } else {
            Err(answer)
        }
    });
    assert_eq!(up.type_in(&format!("shell amqp-get {url} -q orders")), "later");
    up.type_in("--down");
    up.left_nothing();
}

#[test]
fn a_host_without_power_is_replaced_and_boots_again() {
    let up = Up::new("power");
    up.type_in("--detach");
    let noticed = up.type_in("kill a");
    println!("the active host lost its power: {noticed}");
    assert!(noticed.starts_with("answers from a, then b; "), "{noticed}");
    up.type_in("boot a");
    eventually(Duration::from_secs(10), "a serves again", || {
        let answer = up.netcat();
        if answer == "a" { Ok(()) } else { Err(answer) }
    });
    up.type_in("--down");
    up.left_nothing();
}

#[test]
fn in_the_foreground_it_follows_events_and_ends_with_the_terminal() {
    for ending in [Some(Signal::SIGINT), None] {
        let up = Up::new("foreground");
        let mut terminal = up.command("").stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(terminal.stdout.take().unwrap()).lines();
        lines
            .by_ref()
            .map_while(Result::ok)
            .find(|line| line.contains("Ctrl-C"));
        up.type_in("proxy a stop");
        let event = lines
            .by_ref()
            .map_while(Result::ok)
            .find(|line| line.starts_with("b | "));
        assert!(event.is_some());
        match ending {
            Some(signal) => {
                kill(Pid::from_raw(terminal.id().cast_signed()), signal).unwrap();
                assert!(terminal.wait().unwrap().success());
            }
            None => terminal.kill().unwrap(),
        }
        terminal.wait().unwrap();
        up.left_nothing();
    }
}
