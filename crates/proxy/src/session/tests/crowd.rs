//! Many sessions: every worker has as many as the others, and nobody who comes or goes costs more because of those who stay.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::bench::{self, Bench, eventually};
use crate::plan::{Counter, Plan, SourceLimits, Stick, Table, TableKey, testing};

const WORKERS: usize = 4;
/// Sessions for each worker.
const EACH: usize = 6;

fn with_workers(plan: &mut Plan) {
    plan.global.threads = WORKERS.try_into().unwrap();
}

/// A client, and its connection at the server.
type Pair = (TcpStream, TcpStream);

fn pair(bench: &Bench) -> Pair {
    (bench.connect(), bench.accept(0))
}

/// Who serves which client.
fn workers(bench: &Bench) -> HashMap<SocketAddr, usize> {
    let sessions = bench.sessions().into_iter();
    sessions
        .map(|session| (session.client.parse().unwrap(), session.worker))
        .collect()
}

fn counted(bench: &Bench) -> [usize; WORKERS] {
    let mut count = [0; WORKERS];
    workers(bench).values().for_each(|worker| count[*worker] += 1);
    count
}

#[test]
fn long_connections_are_spread_evenly_also_after_many_of_one_worker_have_ended() {
    let bench = Bench::new(1, with_workers);
    let mut open: Vec<Pair> = (0..WORKERS * EACH).map(|_| pair(&bench)).collect();
    assert_eq!(counted(&bench), [EACH; WORKERS]);
    for loser in 0..WORKERS {
        let served = workers(&bench);
        open.retain(|(client, _)| served[&client.local_addr().unwrap()] != loser);
        eventually(|| bench.workers.loads()[loser] == 0);
        // Until it has as many as the others all new ones are its, whoever accepts them.
        for there_are in 1..=EACH {
            open.push(pair(&bench));
            let expected: [usize; WORKERS] =
                std::array::from_fn(|worker| if worker == loser { there_are } else { EACH });
            assert_eq!(counted(&bench), expected);
        }
    }
    drop(open);
    bench.is_empty();
    assert_eq!(bench.workers.loads(), [0; WORKERS]);
}

#[test]
fn clients_who_come_at_once_are_spread_as_evenly() {
    let bench = Bench::new(1, with_workers);
    let mut open: Vec<TcpStream> = Vec::new();
    for round in 1..=EACH {
        std::thread::scope(|scope| {
            let coming: Vec<_> = (0..WORKERS).map(|_| scope.spawn(|| bench.connect())).collect();
            open.extend(coming.into_iter().map(|client| client.join().unwrap()));
        });
        eventually(|| bench.workers.loads().iter().sum::<u32>() as usize == open.len());
        assert_eq!(bench.workers.loads(), [round as u32; WORKERS]);
    }
    // Those that are counted are on their way.
    eventually(|| counted(&bench) == [EACH; WORKERS]);
}

/// Sessions that stand there. Each has four sockets in this process.
const FEW: usize = 20;
const MANY: usize = 3500;
/// Connections that come and go in one sample.
const COMING: u32 = 50;
const SAMPLES: usize = 25;

/// With everything that remembers sessions or clients: servers' loads, tables of clients, timers.
fn with_memory(plan: &mut Plan) {
    let frontend = bench::frontend(plan);
    frontend.source_limits = Some(SourceLimits {
        connections: Some(testing::number(10_000)),
        rate: None,
    });
    frontend.timeouts.client = Some(Duration::from_secs(600));
    plan.tables = vec![std::sync::Arc::new(Table {
        name: "front".to_owned(),
        key: TableKey::Ip,
        size: 10_000,
        expire: Some(Duration::from_secs(600)),
        stored: vec![(Counter::ConnCur, None)],
    })];
    let backend = bench::backend(plan);
    backend.timeouts.server = Some(Duration::from_secs(600));
    backend.stick = Some(Stick {
        size: 10_000,
        expire: Some(Duration::from_secs(600)),
    });
}

/// Processor time of connections that come and go.
fn coming_and_going(bench: &Bench, worker: i32) -> Duration {
    let before = used(worker);
    for _ in 0..COMING {
        drop(pair(bench));
        bench.line();
    }
    used(worker) - before
}

/// Processor time of a thread so far, as the scheduler counts it.
fn used(thread: i32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}

/// Two proxies take turns, so that whatever else this machine does meets both.
#[test]
fn nobody_who_comes_or_goes_costs_more_because_of_those_who_stay() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, most).unwrap();
    let proxies = [FEW, MANY].map(|standing| {
        let bench = Bench::new(1, with_memory);
        let standing: Vec<Pair> = (0..standing).map(|_| pair(&bench)).collect();
        drop(pair(&bench));
        let worker = bench.line().thread;
        (bench, worker, standing)
    });
    let mut ratios: Vec<f64> = (0..SAMPLES)
        .map(|_| {
            let [few, many] = [0, 1].map(|proxy: usize| {
                let (bench, worker, _) = &proxies[proxy];
                coming_and_going(bench, *worker).as_secs_f64()
            });
            many / few
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    let median = ratios[SAMPLES / 2];
    println!("among {MANY} a connection costs {median:.2} of what it costs among {FEW}");
    // A look at each of them, however short, costs half as much again.
    assert!(median < 1.2, "{ratios:.2?}");
}
