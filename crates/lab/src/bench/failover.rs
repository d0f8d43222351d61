//! What a client and the wire see when the active fails, in every way it can.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use warren_lab::{Daemon, Echo, Flavour, Host, Network, Probe, Sniffer, eventually, now};

use super::table::{Table, cell, spread};
use super::{Options, instance, milliseconds, name};

const VIP: &str = "10.77.9.1";
const MORE_ADDRESSES: &str = "10.77.9.1 10.77.9.2";
const PATIENCE: Duration = Duration::from_secs(20);
const BACKUP_PRIORITY: u8 = 100;

/// A way for the active to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    /// The machine dies.
    Crash,
    /// SIGTERM.
    Stop,
    /// The service dies and its check script fails; the weight takes the priority below the backup's.
    Check,
    /// SIGKILL for the process that speaks the protocol.
    WorkerKill,
    /// SIGKILL for all processes.
    KillAll,
    /// SIGSTOP for all processes.
    Hang,
    /// SIGKILL for all processes and a start at once.
    Restart,
    /// A new address in the files of both hosts and SIGHUP for both.
    Reload,
}

const EVENTS: &[(Event, &str)] = &[
    (Event::Crash, "crash of the host"),
    (Event::Stop, "graceful stop"),
    (Event::Check, "check failure"),
    (Event::WorkerKill, "worker killed"),
    (Event::KillAll, "all killed"),
    (Event::Hang, "all stopped (SIGSTOP)"),
    (Event::Restart, "all killed, started"),
    (Event::Reload, "reload"),
];

/// One advert interval, and how much of it to measure.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: &'static str,
    interval: Duration,
    repetitions: usize,
    /// Pairs of hosts at the same time.
    worlds: usize,
}

impl Group {
    fn skew(&self) -> Duration {
        self.interval * (256 - u32::from(BACKUP_PRIORITY)) / 256
    }

    fn down_interval(&self) -> Duration {
        3 * self.interval + self.skew()
    }
}

pub(crate) fn groups(quick: bool) -> Vec<Group> {
    let group = |name, milliseconds, few, many, worlds| Group {
        name,
        interval: Duration::from_millis(milliseconds),
        repetitions: if quick { few } else { many },
        worlds,
    };
    vec![
        group("1 s", 1000, 2, 4, 4),
        group("100 ms", 100, 3, 8, 3),
        group("10 ms", 10, 3, 5, 1),
    ]
}

/// What one failure came to, in milliseconds.
#[derive(Debug, Clone, Default)]
struct Sample {
    gap: f64,
    lost: f64,
    to_advert: Option<f64>,
    silence: Option<f64>,
    lateness: Option<f64>,
    announced: Option<f64>,
    second_holder: Option<f64>,
    starved: f64,
}

pub(crate) fn measure(group: &Group, options: &Options) -> Value {
    let mut jobs = Vec::new();
    for repetition in 0..group.repetitions {
        for (index, &(event, _)) in EVENTS.iter().enumerate() {
            let phase = fraction((repetition * EVENTS.len() + index) as u64);
            jobs.extend(
                options
                    .flavours()
                    .into_iter()
                    .map(|flavour| (event, flavour, phase)),
            );
        }
    }
    jobs.reverse();
    let (jobs, samples) = (Mutex::new(jobs), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..group.worlds {
            scope.spawn(|| {
                while let Some((event, flavour, phase)) = next(&jobs) {
                    let sample = catch_unwind(AssertUnwindSafe(|| world(group, event, flavour, phase))).ok();
                    samples
                        .lock()
                        .expect("no panic while held")
                        .push((event, flavour, sample));
                }
            });
        }
    });
    report(
        group,
        options,
        &samples.into_inner().expect("no panic while held"),
    )
}

fn next<T>(jobs: &Mutex<Vec<T>>) -> Option<T> {
    jobs.lock().expect("no panic while held").pop()
}

/// When in the advert interval the failure happens: spread evenly, the same for both daemons.
fn fraction(number: u64) -> f64 {
    (number as f64 * 0.618_033_988_75).fract()
}

fn world(group: &Group, event: Event, flavour: Flavour, phase: f64) -> Sample {
    let vip: IpAddr = VIP.parse().expect("an address");
    let network = Network::new();
    let (a, b, client) = (network.host("a"), network.host("b"), network.host("client"));
    let (mut service, _other_service) = (Some(Echo::start(&a)), Echo::start(&b));
    let sniffer = Sniffer::start(&network);
    let mut daemon = Daemon::start(flavour, &a, &file(group, &a, 200, VIP));
    let backup = Daemon::start(flavour, &b, &file(group, &b, BACKUP_PRIORITY, VIP));
    eventually(PATIENCE, "a serves", || {
        let answer = Probe::connect(&client, vip).map_err(|error| error.to_string())?;
        if answer == "a" && a.has(vip) && !b.has(vip) {
            Ok(())
        } else {
            Err(answer)
        }
    });
    let probe = Probe::start(&client, vip, Duration::from_millis(1));
    std::thread::sleep(Duration::from_millis(500) + group.interval.mul_f64(1.0 + phase));

    let failed = now();
    let crashed = event == Event::Crash;
    match event {
        Event::Check => drop(service.take()),
        Event::Reload => backup.reload(&file(group, &b, BACKUP_PRIORITY, MORE_ADDRESSES)),
        _ => {}
    }
    let _again = fail(event, &mut daemon, &a, group);
    let takes_over = !matches!(event, Event::WorkerKill | Event::Restart | Event::Reload);
    if takes_over {
        eventually(PATIENCE, "b serves", || {
            let adverts = sniffer.adverts("b", 51, failed);
            if adverts.iter().any(|(_, advert)| advert.priority > 0) {
                Ok(())
            } else {
                Err("b is silent")
            }
        });
    } else {
        std::thread::sleep(group.down_interval() + Duration::from_millis(700));
    }
    let first_advert = sniffer.adverts("b", 51, failed).first().map(|(at, _)| *at);
    let second_holder = match first_advert {
        Some(first) if takes_over && !crashed => Some(second_holder(&a, vip, first)),
        _ => None,
    };
    std::thread::sleep(Duration::from_millis(150));
    let report = probe.stop();

    let frames = sniffer.frames();
    let last_advert = first_advert.and_then(|first| {
        let adverts = frames
            .iter()
            .filter(|seen| seen.host == "a" && seen.at < first && seen.advert().is_some());
        adverts.map(|seen| seen.at).max()
    });
    let silence = first_advert.zip(last_advert).map(|(first, last)| first - last);
    let floor = if event == Event::Stop {
        group.skew()
    } else {
        group.down_interval()
    };
    let announced = first_advert.and_then(|first| {
        let mut later = frames.iter().filter(|seen| seen.host == "b" && seen.at >= failed);
        let seen = later.find(|seen| seen.frame.announced() == Some(vip))?;
        Some(milliseconds(seen.at) - milliseconds(first))
    });
    let on_timer = matches!(event, Event::Crash | Event::Stop | Event::KillAll | Event::Hang);
    Sample {
        gap: milliseconds(report.longest_gap(failed).length()),
        lost: report.lost(failed) as f64,
        to_advert: first_advert.map(|first| milliseconds(first - failed)),
        silence: silence.map(milliseconds),
        lateness: silence
            .filter(|_| on_timer)
            .map(|silence| milliseconds(silence) - milliseconds(floor)),
        announced: announced.filter(|_| takes_over),
        second_holder,
        starved: milliseconds(report.own_longest_pause()),
    }
}

fn file(group: &Group, host: &Host, priority: u8, address: &str) -> String {
    let healthy = host.write("healthy", "yes");
    let script = format!(
        "vrrp_script healthy {{\n  script \"/usr/bin/test -e {}\"\n  interval 1\n  timeout 1\n  rise 1\n  fall 1\n  \
         user root\n  weight -150\n}}\n",
        healthy.display()
    );
    let addresses: Vec<String> = address
        .split(' ')
        .map(|address| format!("{address}/32"))
        .collect();
    script
        + &instance(
            51,
            priority,
            group.interval,
            &addresses,
            "track_script {\n    healthy\n  }",
        )
}

/// Makes the active fail; answers the daemon that was started instead, if any.
fn fail(event: Event, daemon: &mut Daemon, a: &Host, group: &Group) -> Option<Daemon> {
    match event {
        Event::Crash => a.crash(),
        Event::Stop => daemon.process.signal(Signal::SIGTERM),
        Event::Check => std::fs::remove_file(a.directory().join("healthy")).expect("the health file"),
        Event::WorkerKill => kill(Pid::from_raw(daemon.worker()), Signal::SIGKILL).expect("the worker"),
        Event::KillAll => daemon.process.kill(),
        Event::Hang => daemon.process.signal_all(Signal::SIGSTOP),
        Event::Restart => {
            daemon.process.kill();
            return Some(Daemon::start(daemon.flavour(), a, &file(group, a, 200, VIP)));
        }
        Event::Reload => daemon.reload(&file(group, a, 200, MORE_ADDRESSES)),
    }
    None
}

/// How long after the take-over the failed host still has the address; it is watched for two seconds.
fn second_holder(a: &Host, vip: IpAddr, since: Duration) -> f64 {
    while a.has(vip) {
        if now() - since > Duration::from_secs(2) {
            return f64::INFINITY;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    // Gone before anybody else had it: no second holder.
    milliseconds(now().saturating_sub(since))
}

type Taken = (Event, Flavour, Option<Sample>);

fn report(group: &Group, options: &Options, samples: &[Taken]) -> Value {
    let mut table = Table::new(&[
        "event",
        "daemon",
        "n",
        "client gap ms",
        "lost probes",
        "event -> first advert ms",
        "last -> first advert ms",
        "lateness ms",
        "advert -> first announcement ms",
        "second holder ms",
        "notes",
    ]);
    let mut rows = Vec::new();
    for &(event, title) in EVENTS {
        for flavour in options.flavours() {
            let of = samples.iter().filter(|(e, f, _)| (*e, *f) == (event, flavour));
            let (good, bad): (Vec<_>, Vec<_>) = of
                .map(|(_, _, sample)| sample)
                .partition(|sample| sample.is_some());
            let good: Vec<&Sample> = good.into_iter().flatten().collect();
            let of =
                |field: fn(&Sample) -> Option<f64>| spread(good.iter().filter_map(|sample| field(sample)));
            let gap = of(|sample| Some(sample.gap));
            let lost = of(|sample| Some(sample.lost));
            let to_advert = of(|sample| sample.to_advert);
            let silence = of(|sample| sample.silence);
            let lateness = of(|sample| sample.lateness);
            let announced = of(|sample| sample.announced);
            let second = of(|sample| sample.second_holder);
            let starved = good.iter().filter(|sample| sample.starved > 10.0).count();
            let mut notes = Vec::new();
            notes.extend((!bad.is_empty()).then(|| format!("{} failed", bad.len())));
            notes.extend((starved > 0).then(|| format!("client starved {starved} x")));
            let takers = good.iter().filter(|sample| sample.to_advert.is_some()).count();
            notes.push(format!("backup spoke {takers}/{}", good.len()));
            table.row(vec![
                title.to_owned(),
                name(flavour).to_owned(),
                good.len().to_string(),
                cell(gap, 1),
                cell(lost, 0),
                cell(to_advert, 1),
                cell(silence, 1),
                cell(lateness, 2),
                cell(announced, 2),
                cell(second, 0),
                notes.join("; "),
            ]);
            rows.push(json!({
                "event": title, "daemon": name(flavour), "n": good.len(), "failed": bad.len(),
                "client_gap_ms": gap, "lost_probes": lost, "event_to_first_advert_ms": to_advert,
                "last_to_first_advert_ms": silence, "lateness_ms": lateness,
                "advert_to_first_announcement_ms": announced,
                // JSON has no infinity: null stands for "still there after two seconds".
                "second_holder_ms": second, "client_starved": starved, "backup_spoke": takers,
            }));
        }
    }
    table.print(&format!(
        "adverts every {}: active-down interval {:.1} ms, skew {:.1} ms (min / median / max)",
        group.name,
        milliseconds(group.down_interval()),
        milliseconds(group.skew())
    ));
    Value::Array(rows)
}
