//! A client who minds his own business beside others who attack: how long he waits for a message and its confirm in windows of
//! time that are quiet and attacked in turns, all equally long.
//!
//! Of each window there are three figures: the middle wait, the slowest of a hundred, the longest. Of all windows of a kind the middle one
//! counts for each, so that what befalls a few of them from elsewhere counts for nothing. In turns with the broker he asks an echo
//! of this process: what that is late by is the machine's, and the attackers' who need it, too. While the broker's thread or his own is
//! ready and others have the core, nobody here waits for the broker: the kernel counts that time, and it is taken off. So is the time in which
//! the whole machine does nothing, as a virtual one may, of which its kernel knows nothing: a watch on the broker's core notices it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Add;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};
use std::{fmt, fs};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;
use warren_amqp::client::Login;
use warren_amqp::content::Properties;
use warren_amqp::hot::Publish;
use warren_amqp::{Method, ShortString, basic, channel, confirm, queue};

use super::{Broker, Client, Event};

/// Much longer than anything takes that is waited for here.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// How long a window is, and how many of each kind there are.
const WINDOW: Duration = Duration::from_millis(100);
const WINDOWS: usize = 11;

/// How often the broker's core is looked at, and how late a look is that means something.
const TICK: Duration = Duration::from_millis(2);
const LATE: Duration = Duration::from_millis(10);

/// So many times as long as in quiet windows the middle wait may be in those that are attacked.
const TIMES: u32 = 5;

/// What is promised is promised of a release; what one turn does takes a build for tests two to three times as long.
const SLOWER: u32 = if cfg!(debug_assertions) { 2 } else { 1 };

/// By how much later than in quiet windows, and than the echo is, he may have what he waits for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    /// Beyond so many times.
    median: Duration,
    slow: Duration,
    longest: Duration,
    /// The longest of all windows, beyond that of the others and of the echo.
    worst: Duration,
}

impl Limit {
    /// The longest is what a queue with ten thousand bindings may cost that is deleted.
    pub(super) const INTACT: Self = Self {
        median: Duration::ZERO,
        slow: Duration::from_millis(8),
        longest: Duration::from_millis(10),
        worst: Duration::from_millis(100),
    };

    /// So many never cease to talk, and have a millisecond each before it is his turn again, and one in which they end.
    pub(super) const fn after_turns(count: u64) -> Self {
        Self {
            median: Duration::from_millis(count + 1),
            ..Self::INTACT
        }
    }

    /// So many wait for their turn at once.
    pub(super) const fn in_crowd_of(count: u64) -> Self {
        Self {
            median: Duration::from_millis(count),
            slow: Duration::from_millis(8 + count),
            longest: Duration::from_millis(10 + count),
            worst: Duration::from_millis(400),
        }
    }
}

/// What one wait, half of all and one of a hundred are longer than in a window.
#[derive(Clone, Copy, Default)]
struct Waits {
    median: Duration,
    slow: Duration,
    longest: Duration,
}

impl Waits {
    fn of(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        let at = |part: usize| all[(all.len() - 1) * part / 100];
        Self {
            median: at(50),
            slow: at(99),
            longest: at(100),
        }
    }

    /// Of each figure the middle one.
    fn middle(of: impl Iterator<Item = Self> + Clone) -> Self {
        let middle = |figure: fn(Self) -> Duration| {
            let mut all: Vec<_> = of.clone().map(figure).collect();
            all.sort_unstable();
            all[all.len() / 2]
        };
        Self {
            median: middle(|waits| waits.median),
            slow: middle(|waits| waits.slow),
            longest: middle(|waits| waits.longest),
        }
    }

    fn combine(self, other: Self, how: fn(Duration, Duration) -> Duration) -> Self {
        Self {
            median: how(self.median, other.median),
            slow: how(self.slow, other.slow),
            longest: how(self.longest, other.longest),
        }
    }

    fn is_within(self, limit: Self) -> bool {
        self.median <= limit.median && self.slow <= limit.slow && self.longest <= limit.longest
    }
}

/// In milliseconds, so that they fit in a line.
impl fmt::Debug for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |wait: Duration| wait.as_secs_f64() * 1e3;
        write!(
            f,
            "{:.2}/{:.2}/{:.2}",
            of(self.median),
            of(self.slow),
            of(self.longest)
        )
    }
}

/// What a window was like: at the broker, and at the echo.
#[derive(Clone, Copy)]
struct Window {
    broker: Waits,
    echo: Waits,
}

/// What the kernel says of a thread.
#[derive(Debug)]
struct Thread(fs::File);

impl Thread {
    fn of(path: impl AsRef<Path>) -> Self {
        Self(fs::File::open(path.as_ref().join("schedstat")).unwrap())
    }

    /// How long it has had a core, and how long it was ready and had none.
    fn ran_and_was_ready(&self) -> [Duration; 2] {
        let mut text = [0; 64];
        let count = self.0.read_at(&mut text, 0).unwrap();
        let text = std::str::from_utf8(&text[..count]).unwrap();
        let mut figures = text.split_whitespace().map(|figure| figure.parse().unwrap());
        [(); 2].map(|()| Duration::from_nanos(figures.next().unwrap()))
    }

    fn was_ready(&self) -> Duration {
        self.ran_and_was_ready()[1]
    }
}

/// When nobody had the broker's core.
#[derive(Debug, Default)]
struct Gaps(Mutex<Vec<[Instant; 2]>>);

impl Gaps {
    /// Watches the core of who asks, for as long as he wants to know. A watch that is ready while others have the core counts nothing.
    fn watch() -> Arc<Self> {
        let gaps = Arc::<Self>::default();
        let wanted = Arc::downgrade(&gaps);
        thread::spawn(move || {
            let own = Thread::of("/proc/thread-self");
            let (mut then, mut ready_then) = (Instant::now(), own.was_ready());
            while let Some(gaps) = wanted.upgrade() {
                thread::sleep(TICK);
                let (now, ready) = (Instant::now(), own.was_ready());
                let late = (now - then).saturating_sub(TICK + (ready - ready_then));
                if late > LATE {
                    gaps.0.lock().unwrap().push([now - late, now]);
                }
                (then, ready_then) = (now, ready);
            }
        });
        gaps
    }

    /// How much of this time was such a time.
    fn within(&self, from: Instant, to: Instant) -> Duration {
        let gaps = self.0.lock().unwrap();
        let within =
            |[began, ended]: &[Instant; 2]| (*ended).min(to).saturating_duration_since((*began).max(from));
        gaps.iter().map(within).sum()
    }
}

/// When attackers act.
#[derive(Debug, Default)]
struct Stage {
    scene: Mutex<Scene>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Scene {
    attacked: bool,
    over: bool,
    /// Attackers in the middle of an act, and acts that are done.
    acting: usize,
    acts: usize,
}

/// An attacker in the middle of an act.
struct Act<'a>(&'a Stage);

impl Drop for Act<'_> {
    fn drop(&mut self) {
        let mut scene = self.0.scene();
        scene.acting -= 1;
        scene.acts += 1;
        self.0.changed.notify_all();
    }
}

/// Whatever comes, attackers are not left waiting.
struct End<'a>(&'a Stage);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.change(|scene| scene.over = true);
    }
}

impl Stage {
    fn scene(&self) -> MutexGuard<'_, Scene> {
        self.scene.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn wait(&self, until: impl Fn(&Scene) -> bool) -> MutexGuard<'_, Scene> {
        let waited = self.changed.wait_while(self.scene(), |scene| !until(scene));
        waited.unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn change(&self, change: impl FnOnce(&mut Scene)) {
        change(&mut self.scene());
        self.changed.notify_all();
    }

    /// When it is time to; `None`: it is over.
    fn act(&self) -> Option<Act<'_>> {
        let mut scene = self.wait(|scene| scene.attacked || scene.over);
        if scene.over {
            return None;
        }
        scene.acting += 1;
        Some(Act(self))
    }

    /// From now on it is quiet, once what has begun is done.
    fn be_quiet(&self) {
        self.change(|scene| scene.attacked = false);
        drop(self.wait(|scene| scene.acting == 0));
    }
}

/// Does a little harm, again and again, and rests for as long as it took: who has all of the machine makes others wait for that, whatever
/// the broker does.
pub(super) type Attacker<'a> = Box<dyn FnMut() + Send + 'a>;

/// What the bystander has to the broker.
pub(super) trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

/// A broker, and the client who minds his own business.
pub(super) struct Field {
    pub(super) broker: Broker,
    pub(super) at: SocketAddr,
    bystander: Client<Box<dyn Stream>>,
    echo: TcpStream,
    /// The broker's for all clients, and the bystander's.
    threads: [Thread; 2],
    gaps: Arc<Gaps>,
}

impl Field {
    /// The broker has one core, and with that one thread for all of its clients: whoever keeps it from others keeps it from all of them.
    pub(super) fn new(toml: &str) -> (tempfile::TempDir, Self) {
        Self::with(toml, |_, _| ())
    }

    /// The same, with something under it: a disk in this directory.
    pub(super) fn with(toml: &str, put_under: impl FnOnce(&Path, &mut Command)) -> (tempfile::TempDir, Self) {
        Self::start(toml, put_under, |broker| Box::new(connect(broker.address)))
    }

    /// The same, and the bystander comes over this.
    pub(super) fn over(
        toml: &str,
        stream: impl FnOnce(&Broker) -> Box<dyn Stream>,
    ) -> (tempfile::TempDir, Self) {
        Self::start(toml, |_, _| (), stream)
    }

    fn start(
        toml: &str,
        put_under: impl FnOnce(&Path, &mut Command),
        stream: impl FnOnce(&Broker) -> Box<dyn Stream>,
    ) -> (tempfile::TempDir, Self) {
        // Both ends of ten thousand connections; the broker inherits it.
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("warren.toml");
        fs::write(
            &file,
            format!("{toml}listen = [\"127.0.0.1:0\"]\nmetrics = \"off\"\n"),
        )
        .unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
        command.args(["broker", "--config"]).arg(&file);
        command.arg("--data").arg(directory.path().join("data"));
        put_under(directory.path(), &mut command);
        let (broker, gaps) = on_one_core(|| (Broker::run(&mut command), Gaps::watch()));
        // Nobody reads what it says about each of them, and it must not wait for that.
        let mut log = fs::File::from(broker.log.get_ref().as_fd().try_clone_to_owned().unwrap());
        thread::spawn(move || io::copy(&mut log, &mut io::sink()));
        let at = broker.address;
        let login = Login::plain("guest", "guest", "/", "bystander").unwrap();
        let mut bystander = Client::log_in(stream(&broker), login).unwrap();
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
        let tasks = fs::read_dir(format!("/proc/{}/task", broker.process.id())).unwrap();
        let busy = |task: &PathBuf| Thread::of(task).ran_and_was_ready()[0];
        let serves = |task: &PathBuf| fs::read_to_string(task.join("comm")).unwrap() == "broker\n";
        let tasks = tasks.map(|task| task.unwrap().path()).filter(serves);
        // Others of this name do what takes long, and have hardly done anything so far.
        let serving = tasks.max_by_key(busy).expect("a thread that serves clients");
        let field = Self {
            broker,
            at,
            bystander,
            echo: echo(),
            threads: [Thread::of(serving), Thread::of("/proc/thread-self")],
            gaps,
        };
        (directory, field)
    }

    /// Publishes, and waits for the message and its confirm.
    fn publish(&mut self) {
        let publish = Publish {
            routing_key: b"own",
            ..Publish::default()
        };
        let outbox = self.bystander.connection.outbox();
        outbox
            .publish(1, &publish, &Properties::default(), &"hello".into())
            .unwrap();
        let (one, two) = (self.bystander.next().unwrap(), self.bystander.next().unwrap());
        let is_message = |event: &Option<Event>| matches!(event, Some(Event::Message { .. }));
        assert!(is_message(&one) != is_message(&two), "{one:?}, {two:?}");
    }

    fn hear_echo(&mut self) {
        self.echo.write_all(&[1; 64]).unwrap();
        self.echo.read_exact(&mut [0; 64]).unwrap();
    }

    fn were_ready(&self) -> [Duration; 2] {
        self.threads.each_ref().map(Thread::was_ready)
    }

    fn window(&mut self) -> Window {
        let (mut broker, mut echo) = (Vec::new(), Vec::new());
        let began = Instant::now();
        while began.elapsed() < WINDOW {
            let (asked, [at_first, own_at_first]) = (Instant::now(), self.were_ready());
            self.publish();
            let (heard, [then, own_then]) = (Instant::now(), self.were_ready());
            broker.push((asked, heard, (then - at_first) + (own_then - own_at_first)));
            self.hear_echo();
            echo.push((heard, Instant::now(), self.were_ready()[1] - own_then));
        }
        // The watch may be a little late to say so.
        thread::sleep(2 * TICK);
        let waits = |all: Vec<_>| {
            let wait = |(asked, heard, ready): (Instant, Instant, Duration)| {
                (heard - asked).saturating_sub(ready + self.gaps.within(asked, heard))
            };
            Waits::of(all.into_iter().map(wait).collect())
        };
        Window {
            broker: waits(broker),
            echo: waits(echo),
        }
    }

    /// Is attacked while the bystander publishes, and judged by what he notices. `memory`: octets that the attack may cost while it
    /// lasts.
    pub(super) fn endures(&mut self, name: &str, memory: u64, limit: Limit, attackers: Vec<Attacker<'_>>) {
        let (before, stage) = (self.status("VmRSS:"), Stage::default());
        // From here on the most is counted anew.
        fs::write(format!("/proc/{}/clear_refs", self.broker.process.id()), "5").unwrap();
        let (mut quiet, mut attacked) = (Vec::new(), Vec::new());
        let mut used = [Duration::ZERO; 2];
        thread::scope(|scope| {
            let _end = End(&stage);
            for mut attacker in attackers {
                let stage = &stage;
                scope.spawn(move || {
                    yield_to_others();
                    while let Some(act) = stage.act() {
                        let began = Instant::now();
                        attacker();
                        drop(act);
                        thread::sleep(began.elapsed().min(WINDOW));
                    }
                });
            }
            for _ in 0..WINDOWS {
                let start = self.cpu();
                quiet.push(self.window());
                let middle = self.cpu();
                stage.change(|scene| scene.attacked = true);
                attacked.push(self.window());
                stage.be_quiet();
                used[0] += middle.saturating_sub(start);
                used[1] += self.cpu().saturating_sub(middle);
            }
        });
        let cost = self.status("VmHWM:").saturating_sub(before);
        let acts = stage.scene().acts;
        println!(
            "{name}: {acts} acts, {:?} each, {} KiB",
            used[1].saturating_sub(used[0]) / acts.max(1) as u32,
            cost >> 10
        );
        judge(name, limit, &quiet, &attacked);
        assert!(acts > 0, "{name}: nobody attacked");
        assert!(cost <= memory, "{name}: {cost} octets of memory");
    }

    /// Who comes meanwhile stays, and so does the bystander: neither their coming nor that they are there is noticed. `stay`: what they do
    /// then between windows. `memory`: octets that they may cost.
    pub(super) fn bears<T: Send>(
        &mut self,
        name: &str,
        memory: u64,
        coming_at_once: u64,
        come: impl FnOnce() -> T + Send,
        mut stay: impl FnMut(&mut T),
    ) -> T {
        let before = self.status("VmRSS:");
        // From here on the most is counted anew.
        fs::write(format!("/proc/{}/clear_refs", self.broker.process.id()), "5").unwrap();
        let quiet: Vec<_> = (0..WINDOWS).map(|_| self.window()).collect();
        let (coming, mut crowd) = self.meanwhile(come);
        let there: Vec<_> = (0..WINDOWS)
            .map(|_| {
                stay(&mut crowd);
                self.window()
            })
            .collect();
        let cost = self.status("VmHWM:").saturating_sub(before);
        println!("{name}: {} windows, {} KiB", coming.len(), cost >> 10);
        judge(
            &format!("{name}, coming"),
            Limit::in_crowd_of(coming_at_once),
            &quiet,
            &coming,
        );
        judge(&format!("{name}, there"), Limit::INTACT, &quiet, &there);
        assert!(cost <= memory, "{name}: {cost} octets of memory");
        crowd
    }

    /// All of them go at once, and are let go.
    pub(super) fn is_left<T: Send>(&mut self, name: &str, crowd: T) {
        let quiet: Vec<_> = (0..WINDOWS).map(|_| self.window()).collect();
        let files = self.files();
        let (mut going, ()) = self.meanwhile(|| drop(crowd));
        let deadline = Instant::now() + PATIENCE;
        // All but the bystander's and the broker's own.
        while self.files() > files / 10 {
            assert!(Instant::now() < deadline, "{} of {files} files", self.files());
            going.push(self.window());
        }
        println!("{name}: {} windows", going.len());
        judge(&format!("{name}, going"), Limit::after_turns(0), &quiet, &going);
    }

    /// What windows are like while others do something.
    fn meanwhile<T: Send>(&mut self, others: impl FnOnce() -> T + Send) -> (Vec<Window>, T) {
        thread::scope(|scope| {
            let others = scope.spawn(|| {
                yield_to_others();
                others()
            });
            let mut windows = vec![self.window()];
            while !others.is_finished() {
                windows.push(self.window());
            }
            (windows, others.join().expect("it goes as it should"))
        })
    }

    /// Processor time that the broker has used.
    pub(super) fn cpu(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.broker.process.id())).unwrap();
        let used = tasks.filter_map(|task| {
            let figures = fs::read_to_string(task.unwrap().path().join("schedstat")).ok()?;
            figures.split_whitespace().next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(used.sum())
    }

    /// A figure of the broker's, in octets.
    pub(super) fn status(&self, key: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.broker.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        1024 * line.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    }

    /// Files that the broker has open, sockets included.
    pub(super) fn files(&self) -> usize {
        let files = fs::read_dir(format!("/proc/{}/fd", self.broker.process.id()));
        files.unwrap().count()
    }
}

/// What he noticed is no more than he may.
fn judge(name: &str, limit: Limit, quiet: &[Window], attacked: &[Window]) {
    let broker = |windows: &[Window]| Waits::middle(windows.iter().map(|window| window.broker));
    let echo = |windows: &[Window]| Waits::middle(windows.iter().map(|window| window.echo));
    let worst = |windows: &[Window], of: fn(&Window) -> Waits| {
        let longest = windows.iter().map(|window| of(window).longest);
        longest.max().unwrap_or_default()
    };
    let (was, is, machine) = (broker(quiet), broker(attacked), (echo(quiet), echo(attacked)));
    let shared = machine.1.combine(machine.0, Duration::saturating_sub);
    let allowed = Waits {
        median: was.median * (TIMES - 1) + limit.median,
        slow: limit.slow * SLOWER,
        longest: limit.longest * SLOWER,
    };
    let allowed = was.combine(shared, Duration::add).combine(allowed, Duration::add);
    let worst_else = worst(quiet, |window| window.broker).max(worst(attacked, |window| window.echo));
    let worst = worst(attacked, |window| window.broker);
    let figures = format!(
        "{name}: {is:?} instead of {was:?} ms, echo {:?} instead of {:?}, the worst {worst:.1?} and {worst_else:.1?}",
        machine.1, machine.0
    );
    println!("{figures}");
    assert!(is.is_within(allowed), "{figures}");
    assert!(worst <= worst_else + limit.worst, "{figures}");
}

/// A connection on which nothing waits for more.
pub(super) fn connect(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The processes and threads that are started have one core.
fn on_one_core<T>(start: impl FnOnce() -> T) -> T {
    let this = Pid::from_raw(0);
    let all = sched_getaffinity(this).unwrap();
    let last = (0..CpuSet::count())
        .rfind(|core| all.is_set(*core).unwrap())
        .unwrap();
    let mut one = CpuSet::new();
    one.set(last).unwrap();
    sched_setaffinity(this, &one).unwrap();
    let started = start();
    sched_setaffinity(this, &all).unwrap();
    started
}

/// The attackers' work is not the broker's: on another host it would take none of this one's time.
pub(super) fn yield_to_others() {
    let thread = Some(rustix::thread::gettid());
    rustix::process::setpriority_process(thread, 19).unwrap();
}

/// Says again what it hears.
fn echo() -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut other, _) = listener.accept().unwrap();
    stream.set_nodelay(true).unwrap();
    other.set_nodelay(true).unwrap();
    thread::spawn(move || {
        let mut octets = [0; 64];
        while other.read_exact(&mut octets).is_ok() && other.write_all(&octets).is_ok() {}
    });
    stream
}
