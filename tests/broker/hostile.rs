//! Clients out to do harm, as many and as loud as one machine can have, and a bystander who publishes meanwhile: he waits for
//! his confirms as long as in a quiet time before, the broker needs no more memory than each attack is allowed, and when it
//! is over nobody is left.
//!
//! Times are compared with those of the same run only, and generously: what is looked for is a broker that stands still, not
//! one that has less of the machine for a while.

mod octets;

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};
use warren_amqp::content::Properties;
use warren_amqp::hot::Publish;
use warren_amqp::{Method, ShortString, basic, channel, confirm, queue};

use super::{Broker, Client, Event};

/// Much longer than anything takes that is waited for here.
const PATIENCE: Duration = Duration::from_secs(60);
/// Round trips that are measured at least, and before an attack.
const TRIPS: usize = 400;
/// The longest quiet time.
const QUIET_MAX: Duration = Duration::from_secs(5);
/// So many times as long as in a quiet time may a message wait for its confirm in the middle, and the slowest.
const MEDIAN: u32 = 10;
const WORST: u32 = 50;
/// What the slowest in a quiet time is of the middle, at least: none may happen to be slow on a machine that does nothing else.
const USUAL: u32 = 100;
/// Whoever else uses this machine may spoil a measurement, but not all of them.
const ATTEMPTS: usize = 3;

/// How long confirms took.
#[derive(Clone, Copy, Debug)]
struct Waits {
    median: Duration,
    worst: Duration,
}

impl Waits {
    fn of(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        Self {
            median: all[all.len() / 2],
            worst: all[all.len() - 1],
        }
    }
}

/// How far an attack is, and whether it may end.
#[derive(Debug, Default)]
struct Stage {
    /// It cannot become worse.
    full: AtomicBool,
    /// What the bystander notices of it was measured.
    measured: AtomicBool,
}

/// A broker, and one client who minds his own business.
struct Field {
    broker: Broker,
    bystander: Client,
    at: SocketAddr,
}

impl Field {
    fn new(toml: &str) -> (tempfile::TempDir, Self) {
        // Both ends of ten thousand connections; the broker inherits it.
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("warren.toml");
        fs::write(&file, toml).unwrap();
        let broker = Broker::start(directory.path(), &["--config", file.to_str().unwrap()]);
        // Nobody reads what it says about each of them, and it must not wait for that.
        let mut log = fs::File::from(broker.log.get_ref().as_fd().try_clone_to_owned().unwrap());
        thread::spawn(move || io::copy(&mut log, &mut io::sink()));
        let at = broker.address;
        let mut bystander = Client::connect(at, "guest", "guest", "/").unwrap();
        let own = queue::Declare {
            queue: ShortString::from_static("own"),
            exclusive: true,
            ..queue::Declare::default()
        };
        let consume = basic::Consume {
            queue: ShortString::from_static("own"),
            no_ack: true,
            ..basic::Consume::default()
        };
        let hello: [Method; 4] = [
            channel::Open::default().into(),
            confirm::Select::default().into(),
            own.into(),
            consume.into(),
        ];
        for method in hello {
            bystander.connection.outbox().method(1, method).unwrap();
            bystander.next().unwrap();
        }
        let field = Self {
            broker,
            bystander,
            at,
        };
        (directory, field)
    }

    /// Publishes, and waits for the message and its confirm: some times at least, and until that is enough.
    fn publish(&mut self, waits: &mut Vec<Duration>, enough: impl Fn() -> bool) {
        let publish = Publish {
            routing_key: b"own",
            ..Publish::default()
        };
        let least = waits.len() + TRIPS;
        while waits.len() < least || !enough() {
            let started = Instant::now();
            let outbox = self.bystander.connection.outbox();
            outbox
                .publish(1, &publish, &Properties::default(), &"hello".into())
                .unwrap();
            let (one, two) = (self.bystander.next().unwrap(), self.bystander.next().unwrap());
            let is_message = |event: &Option<Event>| matches!(event, Some(Event::Message { .. }));
            assert!(is_message(&one) != is_message(&two), "{one:?}, {two:?}");
            waits.push(started.elapsed());
        }
    }

    /// Is attacked while the bystander publishes, and judged by what he notices when all is quiet, for about as long. `memory`:
    /// octets that the attack may cost while it lasts.
    fn endures(&mut self, name: &str, memory: u64, attack: impl Fn(SocketAddr, &Stage) + Sync) {
        for attempt in 1..=ATTEMPTS {
            let (mut quiet, mut noticed) = (Vec::new(), Vec::new());
            let began = Instant::now();
            let (before, files) = (self.status("VmRSS:"), self.files());
            // From here on the most is counted anew.
            fs::write(format!("/proc/{}/clear_refs", self.broker.process.id()), "5").unwrap();
            let (stage, at) = (Stage::default(), self.at);
            thread::scope(|scope| {
                let attacker = scope.spawn(|| attack(at, &stage));
                let over = || attacker.is_finished();
                self.publish(&mut noticed, || stage.full.load(Ordering::Relaxed) || over());
                self.publish(&mut noticed, || true);
                stage.measured.store(true, Ordering::Relaxed);
                self.publish(&mut noticed, over);
                attacker.join().expect("the attack goes as it should");
            });
            let cost = self.status("VmHWM:").saturating_sub(before);
            let (lasted, left) = (began.elapsed().min(QUIET_MAX), Instant::now());
            self.await_files(files);
            self.publish(&mut quiet, || left.elapsed() >= lasted);
            let (quiet, noticed) = (Waits::of(quiet), Waits::of(noticed));
            println!("{name}: {noticed:?} instead of {quiet:?}, {} KiB", cost >> 10);
            assert!(cost <= memory, "{name}: {cost} octets of memory");
            if noticed.median <= quiet.median * MEDIAN
                && noticed.worst <= quiet.worst.max(quiet.median * USUAL) * WORST
            {
                return;
            }
            assert!(attempt < ATTEMPTS, "{name}: {noticed:?} instead of {quiet:?}");
        }
    }

    /// A figure of the broker's, in octets.
    fn status(&self, key: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.broker.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        1024 * line.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    }

    /// Files that the broker has open, sockets included.
    fn files(&self) -> usize {
        let files = fs::read_dir(format!("/proc/{}/fd", self.broker.process.id()));
        files.unwrap().count()
    }

    /// The broker has let go of all who came later.
    fn await_files(&self, files: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.files() > files {
            assert!(Instant::now() < deadline, "{} of {files} files", self.files());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A connection that takes little from who does not read it.
fn connect(at: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&at.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// What the broker says to these octets until it hangs up.
fn answers(at: SocketAddr, octets: &[u8]) -> Vec<u8> {
    let mut stream = connect(at);
    // It may have heard enough before the end.
    let _ = stream.write_all(octets);
    let _ = stream.shutdown(Shutdown::Write);
    let mut heard = Vec::new();
    match stream.read_to_end(&mut heard) {
        Ok(_) => heard,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => heard,
        Err(error) => panic!("the broker does not hang up: {error}"),
    }
}

/// Says each of these on a connection of its own, again and again. Every one has to lead to its text, or to nothing but an end.
fn again_and_again(at: SocketAddr, stage: &Stage, rounds: usize, said: &[octets::Said]) {
    stage.full.store(true, Ordering::Relaxed);
    let mut round = 0;
    while round < rounds || !stage.measured.load(Ordering::Relaxed) {
        for (name, octets, expected) in said {
            let heard = answers(at, octets);
            let heard = String::from_utf8_lossy(&heard);
            let expected = expected.unwrap_or_default();
            assert!(
                heard.contains(expected),
                "{name}: {expected:?} is not in {heard:?}"
            );
        }
        round += 1;
    }
}

#[test]
fn ten_thousand_half_open_connections_are_borne_and_let_go() {
    /// As many as there may be, with room for all else that is open.
    const MOST: u64 = 10_000;
    /// Octets of memory for each.
    const EACH: u64 = 16 * 1024;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let count = MOST.min(hard.saturating_sub(200));
    assert!(
        count >= 8000,
        "not more than {hard} files can be open here: raise the hard limit"
    );
    let (_directory, mut field) = Field::new("[broker]\nhandshake_timeout = \"20s\"\n");
    let process = field.broker.process.id();
    let open = move || fs::read_dir(format!("/proc/{process}/fd")).unwrap().count() as u64;
    let said = octets::half_a_hello();
    field.endures("half open", count * EACH, |at, stage| {
        let mut streams = Vec::new();
        for number in 0..count {
            let mut stream = connect(at);
            let part = &said[number as usize % said.len()];
            stream.write_all(part).unwrap();
            streams.push(stream);
        }
        let deadline = Instant::now() + PATIENCE;
        while open() < count {
            assert!(Instant::now() < deadline, "{} of {count} were let in", open());
            thread::sleep(Duration::from_millis(10));
        }
        stage.full.store(true, Ordering::Relaxed);
        while !stage.measured.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(5));
        }
        for mut stream in streams {
            let mut heard = Vec::new();
            // Cut off, however that looks.
            if let Err(error) = stream.read_to_end(&mut heard) {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
            }
        }
    });
}

#[test]
fn frames_that_lie_cost_nothing_but_their_connection() {
    let (_directory, mut field) = Field::new("[broker]\n");
    let said = octets::frames();
    field.endures("frames", 32 << 20, |at, stage| {
        again_and_again(at, stage, 30, &said)
    });
}

#[test]
fn tables_that_are_deep_or_lie_cost_nothing_but_their_connection() {
    let (_directory, mut field) = Field::new("[broker]\n");
    let said = octets::tables();
    field.endures("tables", 32 << 20, |at, stage| {
        again_and_again(at, stage, 15, &said)
    });
}

#[test]
fn channels_that_are_not_there_cost_nothing_but_their_connection() {
    let (_directory, mut field) = Field::new("[broker]\n");
    let said = octets::channels();
    field.endures("channels", 32 << 20, |at, stage| {
        again_and_again(at, stage, 50, &said)
    });
}

#[test]
fn who_never_reads_is_not_heard_any_more() {
    /// Clients, and octets of memory for each: what waits for it, twice as long as it may become, since one half is being written.
    const COUNT: u64 = 24;
    const EACH: u64 = 9 << 20;
    let (_directory, mut field) = Field::new("[broker]\n");
    let lost = octets::lost_message().repeat(100);
    field.endures("never reading", COUNT * EACH, |at, stage| {
        let deaf = (0..COUNT).map(|_| {
            let mut stream = connect(at);
            stream.write_all(&octets::open()).unwrap();
            // A write that takes so long will not be taken at all.
            stream
                .set_write_timeout(Some(Duration::from_millis(300)))
                .unwrap();
            stream
        });
        let deaf: Vec<TcpStream> = deaf.collect();
        stage.full.store(true, Ordering::Relaxed);
        // Round and round, until a second brings no more than what the kernel still finds room for.
        let (mut places, mut marked, mut since) = (vec![0; deaf.len()], 0, Instant::now());
        while since.elapsed() < Duration::from_secs(1) {
            for (mut stream, place) in deaf.iter().zip(&mut places) {
                if let Ok(count) = stream.write(&lost[*place % lost.len()..]) {
                    *place += count;
                }
            }
            let all = places.iter().sum::<usize>();
            assert!(all < 1 << 30, "they are heard for ever");
            if all > marked + (4 << 20) {
                (marked, since) = (all, Instant::now());
            }
        }
        while !stage.measured.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(5));
        }
    });
}

#[test]
fn five_thousand_connections_that_come_and_end_at_once_hold_up_nobody() {
    const COUNT: u64 = 5000;
    /// Octets of memory for each, with a channel, a queue and a consumer.
    const EACH: u64 = 32 * 1024;
    let (_directory, mut field) = Field::new("[broker]\n");
    let said = octets::queue_of_his_own();
    field.endures("ending", COUNT * EACH, |at, stage| {
        let mut streams = Vec::new();
        for _ in 0..COUNT {
            let mut stream = connect(at);
            stream.write_all(&said).unwrap();
            streams.push(stream);
        }
        for stream in &mut streams {
            octets::await_consume_ok(stream);
        }
        stage.full.store(true, Ordering::Relaxed);
        drop(streams);
        while !stage.measured.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(5));
        }
    });
}
