//! What a proxy does when nobody says anything: next to nothing, however many are connected.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use warren_lab::{Process, Session, eventually, holds_for, warren_binary};

use super::limits::crowd;
use super::{PATIENCE, PORT, Place};

const SESSIONS: usize = 1000;
const WORKERS: u64 = 2;
/// Between two looks for peers that have vanished: a sixth of what `start` says of them.
const LOOK: Duration = Duration::from_secs(1);
/// A multiple of this is when silence of twelve seconds is noticed: a sixty-fourth of it, as a power of two.
const GRAIN: Duration = Duration::from_millis(128);
/// An empty frame of type 8.
const HEARTBEAT: [u8; 8] = [8, 0, 0, 0, 0, 0, 0, 0xCE];

/// Without checks, which are what a proxy does when nobody else does anything. `global` are lines of `[proxy]`, `listen`
/// of its listener.
fn start(place: &Place, global: &str, listen: &str) -> Process {
    let keepalive = "{ idle = \"60s\", interval = \"10s\", count = 3, unanswered = \"6s\" }";
    let file = place.proxy.write(
        "warren.toml",
        &format!(
            "[proxy]\nthreads = {WORKERS}\n{global}\n[proxy.listen.rabbitmq]\nbind = \"*:{PORT}\"\n{listen}\n\
             client_keepalive = {keepalive}\nserver_keepalive = {keepalive}\nserver_defaults = {{ check = false }}\n\
             servers = {{ rabbitmq1 = \"10.77.0.3:5672\" }}\n"
        ),
    );
    let mut command = std::process::Command::new(warren_binary());
    command.args(["proxy", "--config"]).arg(file);
    command.args(["--runtime-dir", "/run/warren"]);
    let proxy = place.proxy.spawn_command(command);
    eventually(PATIENCE, "it serves", || {
        let log = proxy.log();
        if log.contains("ready") { Ok(()) } else { Err(log) }
    });
    proxy
}

/// How often threads of this name have gone to sleep so far, all together.
fn wake_ups(proxy: &Process, name: &str) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", proxy.id())).unwrap();
    let count = |task: std::fs::DirEntry| -> Option<u64> {
        let status = std::fs::read_to_string(task.path().join("status")).ok()?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
        field("Name:\t")?.starts_with(name).then_some(())?;
        field("voluntary_ctxt_switches:\t")?.parse().ok()
    };
    let counts: Vec<u64> = tasks.filter_map(|task| count(task.ok()?)).collect();
    assert!(!counts.is_empty(), "no thread {name}");
    counts.iter().sum()
}

fn wake_ups_while(proxy: &Process, name: &str, pause: Duration) -> u64 {
    let before = wake_ups(proxy, name);
    std::thread::sleep(pause);
    wake_ups(proxy, name) - before
}

fn sessions(place: &Place, count: usize) -> Vec<Session> {
    match count {
        1 => vec![place.session()],
        count => crowd(place, count),
    }
}

fn silent_connections_wake_no_worker(mode: &str) {
    let place = Place::with(&["rabbitmq1"]);
    place.broker("rabbitmq1").tell("heartbeat 0");
    let listen = format!("mode = \"{mode}\"\ntimeouts = {{ client = \"10m\", server = \"10m\" }}");
    let proxy = start(&place, "", &listen);
    for count in [1, SESSIONS] {
        let _silent = sessions(&place, count);
        // What was said at login has been looked at.
        eventually(PATIENCE, "the workers sleep", || {
            match wake_ups_while(&proxy, "worker-", 2 * LOOK) {
                0 => Ok(()),
                woken => Err(woken),
            }
        });
        let woken = wake_ups_while(&proxy, "worker-", 5 * LOOK);
        println!("{mode}, {count} connections: woken {woken} times");
        // Of ten minutes, those that are far away are looked at once on the way.
        assert!(
            woken <= WORKERS,
            "{mode}, {count} connections: woken {woken} times"
        );
    }
}

#[test]
fn silent_connections_of_mode_tcp_wake_no_worker() {
    silent_connections_wake_no_worker("tcp");
}

#[test]
fn silent_connections_of_mode_amqp_wake_no_worker() {
    silent_connections_wake_no_worker("amqp");
}

/// Everybody's heartbeats come at once, so that there is time between them in which nothing passes.
#[test]
fn between_heartbeats_wake_ups_do_not_grow_with_the_number_of_connections() {
    let place = Place::with(&["rabbitmq1"]);
    place.broker("rabbitmq1").tell("heartbeat 4");
    let listen = "mode = \"amqp\"\ntimeouts = { client = \"12s\", server = \"12s\" }";
    let proxy = start(&place, "", listen);
    for count in [1, SESSIONS] {
        let sessions = sessions(&place, count);
        let (mut woken, mut silence) = (0, Duration::ZERO);
        // Long enough for every timeout that began at login, and for those that heartbeats began.
        while silence < Duration::from_secs(20) {
            for session in &sessions {
                session.stream().write_all(&HEARTBEAT).unwrap();
            }
            for session in &sessions {
                let mut echo = [0; 8];
                session.stream().read_exact(&mut echo).unwrap();
                assert_eq!(echo, HEARTBEAT);
            }
            let begun = Instant::now();
            woken += wake_ups_while(&proxy, "worker-", 3 * LOOK);
            silence += begun.elapsed();
        }
        let times = |period: Duration| WORKERS * (silence.as_millis() / period.as_millis() + 1) as u64;
        println!(
            "{count} connections: woken {woken} times in {silence:?}; {} looks, {} timers",
            times(LOOK),
            times(GRAIN)
        );
        let most = times(LOOK) + times(GRAIN);
        assert!(
            woken <= most,
            "{count} connections: woken {woken} times, not {most}"
        );
    }
}

#[test]
fn a_proxy_without_connections_keeps_its_statistics_and_does_nothing_else() {
    let place = Place::with(&["rabbitmq1"]);
    let proxy = start(&place, "", "");
    let pause = Duration::from_secs(10);
    // Whoever asked when it was ready has gone.
    std::thread::sleep(LOOK);
    let woken = wake_ups_while(&proxy, "warren", pause);
    println!("the control thread: woken {woken} times in {pause:?}");
    // Every two seconds; the runtime's timers need up to three wake-ups for each.
    let most = 3 * (pause.as_secs() / 2 + 1);
    assert!(woken <= most, "woken {woken} times, not {most}");
}

/// Accepting fails ten times a second for each of them.
#[test]
fn listeners_of_operators_that_have_no_file_descriptor_say_so_once_and_serve_when_they_have() {
    let place = Place::with(&["rabbitmq1"]);
    let proxy = start(
        &place,
        "metrics = \"127.0.0.1:9101\"\nsockets = [\"/run/warren/stats.sock\"]",
        "",
    );
    let id = place.proxy.sh("pgrep -x warren");
    let limit = |files: &str| {
        let line = format!("prlimit --pid {} --nofile={files}:", id.trim());
        place.proxy.sh(&line)
    };
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", proxy.id())).unwrap();
    let files = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .unwrap();
    let before = files.split_whitespace().nth(3).unwrap();
    limit("1");
    let asked = [
        "echo 'show info' | socat -t 20 - /run/warren/stats.sock",
        "curl -s -m 20 http://127.0.0.1:9101/metrics",
        &format!(
            "{} proxy status --runtime-dir /run/warren",
            warren_binary().display()
        ),
    ];
    std::thread::scope(|scope| {
        let answers: Vec<_> = asked
            .iter()
            .map(|line| scope.spawn(|| place.proxy.sh(line)))
            .collect();
        let complaints = || proxy.log().matches("could not accept").count();
        eventually(PATIENCE, "all three have said so", || match complaints() {
            3 => Ok(()),
            count => Err(count),
        });
        holds_for(
            Duration::from_secs(2),
            "none says it again",
            || match complaints() {
                3 => Ok(()),
                count => Err(count),
            },
        );
        limit(before);
        for (answer, wanted) in answers.into_iter().zip(["CurrConns", "haproxy_", "rabbitmq"]) {
            let answer = answer.join().unwrap();
            assert!(answer.contains(wanted), "{answer}");
        }
    });
}
