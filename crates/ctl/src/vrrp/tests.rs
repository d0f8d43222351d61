//! What an operator reads, to the letter; and whole conversations with a daemon played by a thread.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::thread::JoinHandle;

use warren_api::Micros;
use warren_api::vrrp::*;

use super::*;

fn at(time: &str) -> Timestamp {
    format!("2026-11-21T{time}Z").parse().unwrap()
}

fn sample() -> Status {
    let active = RouterStatus {
        name: "VI_1".into(),
        interface: "eth0".into(),
        vrid: 51,
        version: 3,
        state: State::Active,
        since: at("12:03:04"),
        cause: Cause {
            code: cause::ACTIVE_SILENT.into(),
            peer: Some([10, 0, 0, 2].into()),
            silence_us: Some(Micros(361_000)),
            ..Cause::default()
        },
        base_priority: 101,
        priority: 99,
        contributions: vec![Contribution {
            check: "chk_haproxy".into(),
            weight: Some(-2),
            counted: -2,
            ..Contribution::default()
        }],
        interval_us: Micros(100_000),
        peers: vec![Peer {
            address: Some([10, 0, 0, 2].into()),
            priority: 98,
            heard_ago_us: Micros(34_000),
            ..Peer::default()
        }],
        addresses: vec![
            AddressStatus {
                address: Some([10, 0, 0, 100].into()),
                prefix: 24,
                device: "eth0".into(),
                advertised: true,
                in_kernel: true,
            },
            AddressStatus {
                address: Some([10, 0, 0, 101].into()),
                prefix: 24,
                device: "eth0".into(),
                advertised: true,
                in_kernel: false,
            },
        ],
        counters: Counters {
            rejected: [("bad-checksum".into(), 3), ("bad-ttl".into(), 1)].into(),
            ..Counters::default()
        },
        ..RouterStatus::default()
    };
    let drained = RouterStatus {
        name: "VI_2".into(),
        interface: "eth1".into(),
        vrid: 52,
        version: 2,
        state: State::Initialize,
        phase: Some(Phase::Drained),
        since: at("12:04:59.500"),
        cause: Cause {
            code: cause::DRAINED.into(),
            ..Cause::default()
        },
        base_priority: 100,
        priority: 100,
        interval_us: Micros(1_000_000),
        drained: true,
        ..RouterStatus::default()
    };
    Status {
        host: "alpha".into(),
        version: "0.1.0".into(),
        config: "/etc/warren/warren.toml".into(),
        time: at("12:05:00"),
        since: "2026-11-20T11:00:00Z".parse().unwrap(),
        realtime: Realtime {
            reason: Some("RLIMIT_RTPRIO is 0; set LimitRTPRIO=50".into()),
            ..Realtime::default()
        },
        routers: vec![active, drained],
        groups: vec![GroupStatus {
            name: "pair".into(),
            state: State::Active,
            since: at("12:03:04"),
            routers: vec!["VI_1".into()],
            ..GroupStatus::default()
        }],
        checks: vec![CheckStatus {
            name: "chk_haproxy".into(),
            what: "process haproxy".into(),
            verdict: Verdict::Failed,
            since: at("12:03:04"),
            routers: vec!["VI_1".into()],
            last: Some(CheckRun {
                result: "exit 1".into(),
                output: "no process \x1b[2Jfound\n".into(),
                ..CheckRun::default()
            }),
            ..CheckStatus::default()
        }],
        foreign: vec![ForeignRouter {
            interface: "eth0".into(),
            vrid: 77,
            family: "ipv4".into(),
            address: Some([10, 0, 0, 9].into()),
            priority: 100,
            heard_ago_us: Micros(3_000_000),
        }],
        warnings: vec!["k.conf:9:11: warning: nobody answers for VI_2".into()],
        ..Status::default()
    }
}

fn plain(status: &Status) -> String {
    status::text(status, &Clock::utc(status.time), Paint(false))
}

#[test]
fn the_status_reads_as_a_page() {
    let expected = "\
alpha  warren 0.1.0  since 2026-11-20 11:00:00 (1 d 1 h)  /etc/warren/warren.toml
  real-time  not in full: RLIMIT_RTPRIO is 0; set LimitRTPRIO=50
  warning    k.conf:9:11: nobody answers for VI_2

VI_1  ACTIVE  since 12:03:04 (1 m)  priority 99 = 101 - 2 (chk_haproxy)  eth0 vrid 51 v3 100 ms
  because    10.0.0.2 was silent for 361 ms
  addresses  10.0.0.100/24 eth0 ✓, 10.0.0.101/24 eth0 ✗ not in the kernel
  peers      10.0.0.2 priority 98, heard 34 ms ago
  check      chk_haproxy (process haproxy) FAILED since 12:03:04 (1 m): exit 1
             | no process \u{fffd}[2Jfound
  rejected   3 bad-checksum, 1 bad-ttl

VI_2  INITIALIZE (drained)  since 12:04:59  priority 100  eth1 vrid 52 v2 1 s
  because    it was drained; `warren resume VI_2` ends that

group pair  ACTIVE  since 12:03:04 (1 m)  VI_1

heard, but not ours
  eth0 vrid 77 ipv4 from 10.0.0.9 priority 100, 3 s ago
";
    assert_eq!(plain(&sample()), expected);
}

#[test]
fn colour_adds_nothing_but_colour() {
    let status = sample();
    let coloured = status::text(&status, &Clock::utc(status.time), Paint(true));
    assert!(coloured.contains("\x1b[1;32mACTIVE\x1b[0m"));
    let mut bare = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once('\x1b') {
        bare += before;
        rest = after.split_once('m').unwrap().1;
    }
    bare += rest;
    assert_eq!(bare.replace(' ', ""), plain(&status).replace(' ', ""));
}

#[test]
fn one_router_is_shown_with_what_concerns_it() {
    let one = narrowed(sample(), Some("VI_2")).unwrap();
    assert_eq!(one.routers.len(), 1);
    assert!(one.checks.is_empty() && one.groups.is_empty());
    let missed = narrowed(sample(), Some("VI_3")).unwrap_err().to_string();
    assert!(
        missed.starts_with("there is no virtual router `VI_3`; did you mean `VI_"),
        "{missed}"
    );
    let none = narrowed(Status::default(), Some("x")).unwrap_err().to_string();
    assert!(none.ends_with("the daemon runs none"), "{none}");
}

#[test]
fn an_event_is_one_line() {
    let clock = Clock::utc(at("12:10:00"));
    let mut event = Event {
        time: at("12:03:04.567"),
        kind: kind::TRANSITION.into(),
        router: Some("VI_1".into()),
        from: Some(State::Backup),
        to: Some(State::Active),
        cause: Some(sample().routers[0].cause.clone()),
        ..Event::default()
    };
    assert_eq!(
        events::line(&event, &clock, Paint(false)),
        "2026-11-21 12:03:04.567  VI_1  BACKUP -> ACTIVE  because 10.0.0.2 was silent for 361 ms"
    );
    event = Event {
        time: at("12:03:05"),
        kind: kind::RELOAD.into(),
        text: "configuration read:\n2 routers unchanged".into(),
        ..Event::default()
    };
    assert_eq!(
        events::line(&event, &clock, Paint(false)),
        "2026-11-21 12:03:05.000  daemon  configuration read: | 2 routers unchanged"
    );
}

/// A daemon that answers one request with these lines and tells what it was asked.
struct Played {
    directory: tempfile::TempDir,
    asked: JoinHandle<Request>,
}

fn played(replies: Vec<Reply>) -> Played {
    let directory = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(directory.path().join(SOCKET)).unwrap();
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut line = String::new();
        BufReader::new(stream.try_clone().unwrap())
            .read_line(&mut line)
            .unwrap();
        for reply in replies {
            writeln!(stream, "{}", serde_json::to_string(&reply).unwrap()).unwrap();
        }
        serde_json::from_str(&line).unwrap()
    });
    Played { directory, asked }
}

impl Played {
    fn daemon(&self) -> Daemon {
        Daemon {
            runtime_dir: self.directory.path().into(),
        }
    }
}

fn shown(json: bool, show: impl FnOnce(&mut View<'_>) -> Result<(), Error>) -> Result<String, Error> {
    let mut out = Vec::new();
    show(&mut View {
        out: &mut out,
        colour: false,
        json,
    })?;
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn status_as_json_is_the_daemons_answer() {
    let played = played(vec![Reply::Status(Box::new(sample()))]);
    let text = shown(true, |view| status(&played.daemon(), None, view)).unwrap();
    assert_eq!(serde_json::from_str::<Status>(&text).unwrap(), sample());
    assert_eq!(played.asked.join().unwrap(), Request::Status {});
}

#[test]
fn why_gives_the_answer_and_below_it_the_reasons() {
    let played = played(vec![Reply::Status(Box::new(sample()))]);
    let text = shown(false, |view| why(&played.daemon(), Some("VI_2"), view)).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        "VI_2 is INITIALIZE because it was drained; `warren resume VI_2` ends that"
    );
    assert!(lines[1..].iter().all(|line| line.starts_with("  ")), "{text}");
}

#[test]
fn events_are_asked_for_as_wanted_and_printed_as_they_come() {
    let event = |sequence| {
        Reply::Event(Event {
            sequence,
            text: format!("number {sequence}"),
            ..Event::default()
        })
    };
    let played = played(vec![event(8), event(9)]);
    let options = EventsOptions {
        router: Some("VI_1".into()),
        follow: true,
        after: Some(7),
    };
    let text = shown(true, |view| events(&played.daemon(), &options, view)).unwrap();
    let numbers: Vec<u64> = text
        .lines()
        .map(|line| serde_json::from_str::<Event>(line).unwrap().sequence)
        .collect();
    assert_eq!(numbers, [8, 9]);
    assert_eq!(
        played.asked.join().unwrap(),
        Request::Events {
            follow: true,
            after: Some(7),
            router: Some("VI_1".into()),
        }
    );
}

#[test]
fn a_change_prints_what_was_done_and_a_refusal_is_an_error() {
    let done = played(vec![Reply::Done {
        message: "VI_1 is drained; 10.0.0.2 is active".into(),
        warnings: vec!["mind the gap".into()],
    }]);
    let text = shown(false, |view| drain(&done.daemon(), "VI_1", view)).unwrap();
    assert_eq!(
        text,
        "warning: mind the gap\nVI_1 is drained; 10.0.0.2 is active\n"
    );
    assert_eq!(
        done.asked.join().unwrap(),
        Request::Drain {
            router: "VI_1".into()
        }
    );

    let refused = played(vec![Reply::Refused(Refused {
        code: refusal::FORBIDDEN.into(),
        message: "only root may reload; use sudo".into(),
    })]);
    let error = shown(false, |view| reload(&refused.daemon(), view)).unwrap_err();
    assert!(error.is_permission());
    assert_eq!(error.to_string(), "only root may reload; use sudo");
}

#[test]
fn without_a_daemon_the_error_says_how_to_start_it() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon {
        runtime_dir: directory.path().into(),
    };
    let error = shown(false, |view| status(&daemon, None, view))
        .unwrap_err()
        .to_string();
    assert!(error.contains("no failover daemon is running"), "{error}");
    assert!(error.contains("--runtime-dir"), "{error}");
}

#[test]
fn a_daemon_that_answers_something_else_is_not_believed() {
    let played = played(vec![Reply::Event(Event::default())]);
    let error = shown(false, |view| status(&played.daemon(), None, view)).unwrap_err();
    assert!(matches!(error, Error::Unexpected));
}
