//! One sample: traffic for a while, and what it cost.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use super::load::{Clients, Pace, Paced, Servers, hold_idle};
use super::peer::{Entry, Unit};
use super::rows::{Figure, Row, Traffic};
use crate::bench::cores::{self, Cores};
use crate::bench::cpu::{self, Machine};

/// Connections of the row about memory.
const IDLE: usize = 4000;
pub(crate) const PACED: usize = 64;
/// Sessions that are handed over, and the messages that they carry in a second meanwhile.
const HANDED_OVER: usize = 1000;
const MESSAGES: f64 = 5000.0;
/// How long clients may take to open their connections.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a sample came to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sample {
    /// In the unit of the row.
    pub(crate) figure: f64,
    /// Busy time of the whole machine in the same unit, without processes that do not take part.
    pub(crate) machine: Option<f64>,
    /// Operations or kilobytes per second.
    pub(crate) rate: f64,
    /// Latencies in microseconds.
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
    pub(crate) errors: u64,
    /// How many cores were kept busy by processes that do not take part.
    pub(crate) others: f64,
    /// Which part of its processor time the proxy's busiest thread used.
    pub(crate) busiest: Option<f64>,
    /// How busy clients and servers were: the busiest of their threads, or the cores that they have; 1.0 is all of the time.
    pub(crate) clients: Option<f64>,
}

/// What every sample needs.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) cores: Cores,
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) window: Duration,
}

impl Bench {
    /// Starts the servers on their core, and goes where it disturbs nobody.
    pub(crate) fn take_cores(&self) -> Result<Servers, String> {
        let Cores {
            proxy,
            servers,
            clients,
            rest,
        } = &self.cores;
        println!("cores: proxy {proxy:?}, servers {servers}, clients {clients:?}");
        cores::stay_on(*rest);
        Servers::start(*servers).map_err(|error| format!("the servers: {error}"))
    }

    /// One sample of a row; `rate` is for the row at a given load.
    pub(crate) fn sample(&self, row: &Row, unit: &mut Unit, rate: f64) -> Result<Sample, String> {
        match row.traffic {
            Traffic::Idle => idle(unit),
            Traffic::HandOver => self.hand_over(unit),
            Traffic::Paced => {
                let core = self.cores.clients.first().copied().unwrap_or_default();
                let clients = Pace::start(Paced::Messages, unit.port(Entry::Echo), PACED, rate, core);
                self.observe(row.figure, unit, clients)
            }
            traffic => {
                let clients = traffic.start(unit, &self.cores, &self.tls);
                self.observe(row.figure, unit, clients.ok_or("no clients")?)
            }
        }
    }

    /// Operations per second that a proxy can bear.
    pub(crate) fn maximum(&self, traffic: Traffic, unit: &Unit) -> Result<f64, String> {
        let clients = traffic.start(unit, &self.cores, &self.tls);
        Ok(self
            .observe(Figure::PerOperation, unit, clients.ok_or("no clients")?)?
            .rate)
    }

    /// What the clients of live sessions notice while another process takes them over.
    fn hand_over(&self, unit: &mut Unit) -> Result<Sample, String> {
        let core = self.cores.clients.first().copied().unwrap_or_default();
        let clients = Pace::start(
            Paced::Messages,
            unit.port(Entry::Echo),
            HANDED_OVER,
            MESSAGES,
            core,
        );
        std::thread::sleep(self.window);
        let counters = clients.counters();
        counters.recording.store(true, Ordering::Relaxed);
        let upgraded = unit.upgrade();
        std::thread::sleep(self.window);
        counters.recording.store(false, Ordering::Relaxed);
        let errors = counters.errors.load(Ordering::Relaxed);
        let latency = clients.stop();
        upgraded?;
        let milliseconds = |share| latency.quantile(share).map(|took| took.as_secs_f64() * 1e3);
        Ok(Sample {
            figure: milliseconds(1.0).ok_or("no message came through")?,
            rate: MESSAGES,
            p50: milliseconds(0.5).map(|took| took * 1e3),
            p99: milliseconds(0.99).map(|took| took * 1e3),
            errors,
            ..Sample::default()
        })
    }

    /// What the proxy and the machine do for a while, and what comes of it.
    pub(crate) fn observe(&self, figure: Figure, unit: &Unit, clients: Clients) -> Result<Sample, String> {
        let counters = clients.counters();
        let count = || match figure {
            Figure::PerKilobyte => counters.octets.load(Ordering::Relaxed) as f64 / 1024.0,
            _ => counters.operations.load(Ordering::Relaxed) as f64,
        };
        clients.wait_until_open(PATIENCE);
        std::thread::sleep(self.window / 4);
        let mut ours = cpu::family(unit.id());
        ours.push(std::process::id());
        let machine = Machine::now(&ours);
        counters.recording.store(true, Ordering::Relaxed);
        let (start, before, cpu) = (Instant::now(), count(), cpu::of_unit(unit.id()));
        let threads = Threads::now(unit);
        std::thread::sleep(self.window);
        let threads = Threads::now(unit).since(&threads);
        let (took, done, cpu) = (start.elapsed(), count() - before, cpu::of_unit(unit.id()) - cpu);
        counters.recording.store(false, Ordering::Relaxed);
        let (machine, others) = Machine::now(&ours).since(&machine, took);
        let errors = counters.errors.load(Ordering::Relaxed);
        let latency = clients.stop();
        if done < 1.0 {
            return Err(format!("{}: nothing was done; {errors} errors", unit.peer.name()));
        }
        let microseconds = |share| latency.quantile(share).map(|took| took.as_secs_f64() * 1e6);
        let scale = if figure == Figure::PerKilobyte { 1e9 } else { 1e6 };
        let p99 = microseconds(0.99);
        Ok(Sample {
            figure: match figure {
                Figure::Latency => p99.ok_or("no latencies")?,
                _ => cpu.as_secs_f64() * scale / done,
            },
            machine: Some(machine.as_secs_f64() * scale / done),
            rate: done / took.as_secs_f64(),
            p50: microseconds(0.5),
            p99,
            errors,
            others,
            busiest: threads.busiest(),
            clients: threads.clients(took, &self.cores),
        })
    }
}

/// Processor time of the threads of the proxy and of the benchmark.
#[derive(Debug, Default)]
struct Threads {
    proxy: BTreeMap<u32, Duration>,
    ours: BTreeMap<u32, Duration>,
}

impl Threads {
    fn now(unit: &Unit) -> Self {
        Self {
            proxy: cpu::of_threads(unit.id()).unwrap_or_default(),
            ours: cpu::of_threads(std::process::id()).unwrap_or_default(),
        }
    }

    fn since(mut self, before: &Self) -> Self {
        for (now, before) in [(&mut self.proxy, &before.proxy), (&mut self.ours, &before.ours)] {
            for (id, used) in now {
                *used -= before.get(id).copied().unwrap_or_default();
            }
        }
        self
    }

    fn busiest(&self) -> Option<f64> {
        let all: Duration = self.proxy.values().sum();
        let busiest = self.proxy.values().max()?;
        (all > Duration::ZERO).then(|| busiest.as_secs_f64() / all.as_secs_f64())
    }

    fn clients(&self, took: Duration, cores: &Cores) -> Option<f64> {
        let theirs: HashSet<usize> = cores
            .clients
            .iter()
            .copied()
            .chain([cores.servers, cores.rest])
            .collect();
        let all: Duration = self.ours.values().sum();
        let all = all.as_secs_f64() / theirs.len() as f64;
        let busiest = self.ours.values().max()?.as_secs_f64();
        Some(all.max(busiest) / took.as_secs_f64())
    }
}

/// Memory per connection: those that are there less those that were.
fn idle(unit: &Unit) -> Result<Sample, String> {
    let before = cpu::memory_of_unit(unit.id());
    let held = hold_idle(unit.port(Entry::Echo), IDLE).map_err(|error| error.to_string())?;
    // What was put aside for a moment is given back.
    std::thread::sleep(Duration::from_millis(500));
    let octets = cpu::memory_of_unit(unit.id()).saturating_sub(before);
    Ok(Sample {
        figure: octets as f64 / held.len() as f64,
        ..Sample::default()
    })
}
