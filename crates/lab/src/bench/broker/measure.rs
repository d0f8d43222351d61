//! One sample: some work, and what it cost the broker.

use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::client::Client;
use super::disturb;
use super::load::{Acks, Load, Plan, Progress, Route};
use super::peer::Unit;
use super::rows::Work;
use crate::bench::cpu::{self, Machine};
use crate::bench::histogram::Histogram;

const PATIENCE: Duration = Duration::from_secs(60);
/// Threads that connect and close: as many as the peers' figures are of.
const CHURN: usize = 4;
const CONNECTIONS: usize = 1000;
const QUEUES: usize = 2000;
/// Clients that declare very many.
const DECLARERS: usize = 16;
/// Messages of the deep queue.
const DEEP: u64 = 1_000_000;
/// How long memory may take to settle.
const SETTLE: Duration = Duration::from_secs(2);

/// What a sample came to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sample {
    /// In the unit of the row.
    pub(crate) figure: f64,
    /// Busy time of the whole machine for each operation, in microseconds, without processes that do not take part.
    pub(crate) machine: Option<f64>,
    /// Operations per second.
    pub(crate) rate: f64,
    /// Confirms' latencies, in milliseconds.
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
    pub(crate) errors: u64,
    /// How many cores were kept busy by processes that do not take part.
    pub(crate) others: f64,
}

/// One sample of this work, for so long if it has no end of its own.
pub(crate) fn sample(work: &Work, unit: &mut Unit, window: Duration) -> Result<Sample, String> {
    let taken = match work {
        Work::Stream(plan) => stream(*plan, unit, window),
        Work::Paced(plan) => paced(*plan, unit, window),
        Work::Churn => churn(unit, window),
        Work::Disturb(disturbance) => {
            disturb::measure(*disturbance, unit.address()).map(|(figure, rate)| Sample {
                figure,
                rate,
                ..Sample::default()
            })
        }
        Work::Node => {
            std::thread::sleep(SETTLE);
            let octets = cpu::resident_of_unit(unit.id());
            Ok(Sample {
                figure: octets as f64 / 1e6,
                ..Sample::default()
            })
        }
        Work::Connections => connections(unit),
        Work::Declare | Work::Queues => queues(unit, matches!(work, Work::Declare)),
        Work::Deep => deep(unit).map(|figure| Sample {
            figure,
            ..Sample::default()
        }),
        Work::Recovery(queues) => declare_many(unit, *queues).and_then(|()| {
            deep(unit)?;
            unit.crash().map_err(io::Error::other)?;
            Ok(Sample {
                figure: unit.ready_after.as_secs_f64(),
                ..Sample::default()
            })
        }),
    };
    taken.map_err(|error| format!("{}: {error}", unit.peer.name()))
}

fn name(unit: &Unit) -> String {
    format!("lab.{}", unit.peer.name())
}

/// What passed between two looks.
struct Passed {
    cpu: Duration,
    machine: Duration,
    others: f64,
    took: Duration,
}

/// Watches processes and machine while something is done.
fn watch(unit: &Unit, work: impl FnOnce()) -> Passed {
    let mut ours = cpu::family(unit.id());
    ours.push(std::process::id());
    let (machine, start, cpu) = (Machine::now(&ours), Instant::now(), cpu::of_unit(unit.id()));
    work();
    let (took, cpu) = (start.elapsed(), cpu::of_unit(unit.id()).saturating_sub(cpu));
    let (machine, others) = Machine::now(&ours).since(&machine, took);
    Passed {
        cpu,
        machine,
        others,
        took,
    }
}

fn stream(plan: Plan, unit: &Unit, window: Duration) -> io::Result<Sample> {
    let load = Load::start(plan, unit.address(), &name(unit))?;
    std::thread::sleep(window / 4);
    load.record(true);
    let before = load.progress();
    let mut after = Progress::default();
    let passed = watch(unit, || {
        std::thread::sleep(window);
        after = load.progress();
    });
    load.record(false);
    let latency = load.stop()?;
    let (sent, received) = (after.sent - before.sent, after.received - before.received);
    // Where one side is absent or gets each message many times, the larger side is the work; else the mean of both.
    let work = match (plan.consumers, plan.route) {
        (0, _) => sent as f64,
        (_, Route::Fanout) => received as f64,
        _ => sent.midpoint(received) as f64,
    };
    if work < 1.0 {
        return Err(io::Error::other("nothing was done"));
    }
    let p = |share| latency.quantile(share).map(|took| took.as_secs_f64() * 1e3);
    Ok(Sample {
        figure: passed.cpu.as_secs_f64() * 1e6 / work,
        machine: Some(passed.machine.as_secs_f64() * 1e6 / work),
        rate: work / passed.took.as_secs_f64(),
        p50: p(0.5),
        p99: p(0.99),
        errors: after.errors,
        others: passed.others,
    })
}

fn paced(plan: Plan, unit: &Unit, window: Duration) -> io::Result<Sample> {
    let sample = stream(plan, unit, window)?;
    let sync = fdatasync(unit)?;
    let p50 = sample
        .p50
        .ok_or_else(|| io::Error::other("nothing was confirmed"))?;
    Ok(Sample {
        figure: (p50 - sync).max(0.0),
        ..sample
    })
}

/// What half of the writes of 4 KiB with fdatasync take at least, in milliseconds, in a file that is there already: what
/// the disk itself asks for.
fn fdatasync(unit: &Unit) -> io::Result<f64> {
    let path = unit.directory().join("fdatasync");
    let mut file = File::create(&path)?;
    file.write_all(&vec![1; 1 << 20])?;
    file.sync_all()?;
    let mut latency = Histogram::default();
    for number in 0..200 {
        let start = Instant::now();
        file.write_all_at(&[2; 4096], number * 4096)?;
        file.sync_data()?;
        latency.add(start.elapsed());
    }
    std::fs::remove_file(path)?;
    Ok(latency.quantile(0.5).map_or(0.0, |took| took.as_secs_f64() * 1e3))
}

fn churn(unit: &Unit, window: Duration) -> io::Result<Sample> {
    let stop = Arc::new(AtomicBool::new(false));
    let address = unit.address();
    let mut threads = Vec::new();
    let passed = watch(unit, || {
        for _ in 0..CHURN {
            let stop = Arc::clone(&stop);
            threads.push(std::thread::spawn(move || {
                let (mut done, mut errors) = (0_u64, 0_u64);
                while !stop.load(Ordering::Relaxed) {
                    match once(address) {
                        Ok(()) => done += 1,
                        Err(_) => errors += 1,
                    }
                }
                (done, errors)
            }));
        }
        std::thread::sleep(window);
        stop.store(true, Ordering::Relaxed);
    });
    let ended = threads
        .into_iter()
        .map(|thread| thread.join().map_err(|_| io::Error::other("a client panicked")))
        .collect::<io::Result<Vec<(u64, u64)>>>()?;
    let done = ended.iter().map(|(done, _)| *done).sum::<u64>().max(1) as f64;
    Ok(Sample {
        figure: passed.cpu.as_secs_f64() * 1e6 / done,
        machine: Some(passed.machine.as_secs_f64() * 1e6 / done),
        rate: done / passed.took.as_secs_f64(),
        errors: ended.iter().map(|(_, errors)| errors).sum(),
        others: passed.others,
        ..Sample::default()
    })
}

fn once(address: SocketAddr) -> io::Result<()> {
    Client::with_channel(address, PATIENCE)?.close()
}

fn connections(unit: &Unit) -> io::Result<Sample> {
    let open = || Client::with_channel(unit.address(), PATIENCE).map(Client::into_stream);
    // What the first one needs and all others share does not count.
    let _first = open()?;
    std::thread::sleep(SETTLE);
    let (start, before) = (Instant::now(), cpu::resident_of_unit(unit.id()));
    let held = (0..CONNECTIONS).map(|_| open()).collect::<io::Result<Vec<_>>>()?;
    let took = start.elapsed();
    std::thread::sleep(SETTLE);
    let octets = cpu::resident_of_unit(unit.id()).saturating_sub(before);
    Ok(Sample {
        figure: octets as f64 / 1e3 / held.len() as f64,
        rate: held.len() as f64 / took.as_secs_f64(),
        ..Sample::default()
    })
}

fn queues(unit: &Unit, time: bool) -> io::Result<Sample> {
    let mut client = Client::with_channel(unit.address(), PATIENCE)?;
    std::thread::sleep(SETTLE);
    let (start, before) = (Instant::now(), cpu::resident_of_unit(unit.id()));
    for number in 0..QUEUES {
        client.declare(&format!("lab.durable.{number}"))?;
    }
    let took = start.elapsed();
    if !time {
        std::thread::sleep(SETTLE);
    }
    let octets = cpu::resident_of_unit(unit.id()).saturating_sub(before);
    Ok(Sample {
        figure: match time {
            true => took.as_secs_f64(),
            false => octets as f64 / 1e3 / QUEUES as f64,
        },
        rate: QUEUES as f64 / took.as_secs_f64(),
        ..Sample::default()
    })
}

/// Durable queues, by several clients at once: each waits for the disk.
fn declare_many(unit: &Unit, count: usize) -> io::Result<()> {
    let address = unit.address();
    let declare = |first: usize| -> io::Result<()> {
        let mut client = Client::with_channel(address, PATIENCE)?;
        (first..count)
            .step_by(DECLARERS)
            .try_for_each(|number| client.declare(&format!("lab.many.{number}")))?;
        client.close()
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..DECLARERS)
            .map(|first| scope.spawn(move || declare(first)))
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| io::Error::other("a client panicked"))?)
    })
}

/// Fills a queue with confirmed messages. Says how many megabytes are resident then.
fn deep(unit: &Unit) -> io::Result<f64> {
    let plan = Plan {
        consumers: 0,
        persistent: true,
        window: 5000,
        acks: Acks::Auto,
        most: DEEP,
        ..Plan::one_to_one(1024)
    };
    let mut load = Load::start(plan, unit.address(), &name(unit))?;
    let start = Instant::now();
    while load.progress().confirmed < DEEP {
        if start.elapsed() > 5 * PATIENCE || load.progress().errors > 0 {
            return Err(io::Error::other("the queue could not be filled"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    load.abandon()?;
    std::thread::sleep(SETTLE);
    Ok(cpu::resident_of_unit(unit.id()) as f64 / 1e6)
}
