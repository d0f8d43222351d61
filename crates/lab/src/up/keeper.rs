//! The process that holds the machines of the demonstration, and does to them what it is asked.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use serde_json::json;
use warren_lab::{Host, Network, Process, Session, now, warren_binary};

use super::{request, service};

/// What the keeper prints once everything runs.
pub(crate) const READY: &str = "ready\n";
/// First line of the reply to a request that was carried out; anything else is followed by the reason.
pub(crate) const DONE: &str = "done";
/// The shared address, from the block set aside for benchmarks (RFC 2544), so that it is nobody's.
pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(198, 18, 77, 100);
/// The hosts and their own addresses.
pub(crate) const HOSTS: [(&str, &str); 2] = [("a", "198.18.77.1/24"), ("b", "198.18.77.2/24")];
const CLIENT: &str = "198.18.77.3/24";
/// With `--host-address`: this machine's own.
const MACHINE: &str = "198.18.77.254/24";

/// The servers behind the proxies and their addresses.
const SERVERS: [(&str, &str); 3] = [
    ("q1", "198.18.77.11/24"),
    ("q2", "198.18.77.12/24"),
    ("q3", "198.18.77.13/24"),
];

/// Where clients of the shared address come in, and brokers listen.
pub(crate) const PORT: u16 = 5672;
/// Who may come from other hosts than the broker's, and his password.
pub(crate) const USER: &str = "shop";

const CONFIGURATION: &str = r#"# Every host runs this file: a and b the failover daemon and the proxy, q1, q2 and q3 the broker.
[vrrp.router.VI_1]
interface = "eth0"
vrid = 51
addresses = ["198.18.77.100/24"]
checks = ["proxy"]

[vrrp.check.proxy]
service = "proxy/rabbitmq"
interval = "50ms"

[host.b.vrrp.router.VI_1]
priority = 250

[proxy.listen.rabbitmq]
bind = "*:5672"
mode = "amqp"

# Brokers are told whose connection it is.
[proxy.listen.rabbitmq.server_defaults]
send_proxy = "v2"
check = { interval = "500ms", rise = 2, fall = 2 }

# Each is a broker by itself, so that all clients belong to the same one.
[proxy.listen.rabbitmq.servers]
q1 = "198.18.77.11:5672"
q2 = { address = "198.18.77.12:5672", backup = true }
q3 = { address = "198.18.77.13:5672", backup = true }

[proxy.listen.statistics]
bind = "*:8100"
mode = "http"
stats = { uri = "/", admin = true }

[broker]
proxies = ["198.18.77.1", "198.18.77.2"]
first = { user = "shop", password = "shop" }
"#;

/// How long the demonstration may take to come up, and how long a failure is watched.
const PATIENCE: Duration = Duration::from_secs(20);
const WATCH: Duration = Duration::from_millis(1500);

pub(crate) fn socket(directory: &Path) -> PathBuf {
    directory.join("up.sock")
}

/// Holds the machines until asked to end, by request, by signal or (if wanted) by the end of standard input.
pub(crate) fn keep(directory: &Path, host_address: bool, until_stdin_ends: bool) -> io::Result<()> {
    nix::unistd::setsid()?;
    let mut signals = SigSet::empty();
    signals.extend([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    signals.thread_block()?;
    let ask_to_end = |directory: PathBuf| move || drop(request(&directory, "down"));

    let mut place = Demonstration::start(directory, host_address)?;
    // One that nobody listens at is what a killed keeper left.
    let _ = std::fs::remove_file(socket(directory));
    let listener = UnixListener::bind(socket(directory))?;
    let down = ask_to_end(directory.to_owned());
    std::thread::spawn(move || signals.wait().map(|_| down()));
    if until_stdin_ends {
        let down = ask_to_end(directory.to_owned());
        std::thread::spawn(move || io::stdin().read(&mut [0]).map(|_| down()));
    }
    print!("{READY}");
    io::stdout().flush()?;
    for stream in listener.incoming() {
        let mut stream = stream?;
        let mut line = String::new();
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        if BufReader::new(&mut stream).read_line(&mut line).is_err() {
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        if words == ["down"] {
            drop(place);
            std::fs::remove_dir_all(directory)?;
            return reply(&mut stream, Ok("everything is down\n".to_owned()));
        }
        // Whoever asked may be gone; what was asked for is done.
        let _ = reply(&mut stream, place.carry_out(&words));
    }
    Ok(())
}

fn reply(stream: &mut UnixStream, answer: Result<String, String>) -> io::Result<()> {
    let text = match answer {
        Ok(text) => format!("{DONE}\n{text}"),
        Err(reason) => format!("refused\n{reason}\n"),
    };
    stream.write_all(text.as_bytes())
}

/// One host with what runs on it. Dropping it ends its processes, then the host.
struct Machine {
    daemon: Process,
    proxy: Option<Process>,
    _witness: Process,
    host: Host,
}

struct Demonstration {
    machines: BTreeMap<&'static str, Option<Machine>>,
    servers: BTreeMap<&'static str, (Option<Process>, Host)>,
    client: Host,
    network: Network,
    configuration: PathBuf,
}

impl Demonstration {
    fn start(directory: &Path, host_address: bool) -> io::Result<Self> {
        let configuration = directory.join("warren.toml");
        std::fs::write(&configuration, CONFIGURATION)?;
        let network = Network::new();
        let client = network.host_with("client", &[CLIENT]);
        if host_address {
            network.plug_in_this_machine("warren-up", MACHINE);
        }
        let mut place = Self {
            machines: BTreeMap::new(),
            servers: BTreeMap::new(),
            client,
            network,
            configuration,
        };
        for (name, address) in SERVERS {
            let host = place.host(name, address);
            place.servers.insert(name, (Some(start_broker(&host)), host));
        }
        // A proxy that finds nobody at its first check takes the server for dead, and clients begin at another broker.
        for (name, address) in SERVERS {
            let serves = || place.client.enter(|| greets(address));
            warren_lab::eventually(PATIENCE, &format!("{name} serves"), serves);
        }
        for (name, address) in HOSTS {
            let machine = place.boot(name, address);
            place.machines.insert(name, Some(machine));
        }
        let first = (HOSTS[0].0.to_owned(), SERVERS[0].0.to_owned());
        warren_lab::eventually(PATIENCE, "a client is answered by the first of each", || {
            let answer = place.ask()?;
            (answer == first)
                .then_some(())
                .ok_or_else(|| format!("{answer:?}"))
        });
        Ok(place)
    }

    fn boot(&self, name: &str, address: &str) -> Machine {
        let host = self.host(name, address);
        let proxy = start_proxy(&host);
        let mut command = warren(&host, &["vrrp", "--no-syslog", "--log-console"]);
        command.args(["--host", name]);
        Machine {
            daemon: host.spawn_command(command),
            proxy: Some(proxy),
            _witness: start_witness(&host),
            host,
        }
    }

    /// A host with the configuration, where nothing runs yet.
    fn host(&self, name: &str, address: &str) -> Host {
        let host = self.network.host_with(name, &[address]);
        // The host has a /run of its own, where the directory of the demonstration may be.
        let configuration = std::fs::read_to_string(&self.configuration).expect("the file is there");
        host.write("warren.toml", &configuration);
        std::fs::create_dir_all(runtime(&host)).expect("a runtime directory");
        host
    }

    fn carry_out(&mut self, words: &[&str]) -> Result<String, String> {
        match words {
            ["ask"] => self
                .ask()
                .map(|(host, server)| format!("{server}, through {host}\n")),
            ["status"] => Ok(self.status()),
            ["places"] => Ok(self.places()),
            ["boot", name] => {
                let &(name, address) = HOSTS
                    .iter()
                    .find(|(host, _)| host == name)
                    .ok_or_else(|| format!("there is no host {name}"))?;
                if self.machines[name].is_some() {
                    return Err(format!("{name} is running"));
                }
                let machine = self.boot(name, address);
                self.machines.insert(name, Some(machine));
                Ok(format!("{name} boots\n"))
            }
            ["kill", name] => {
                let machine = self.machine(name)?.take();
                Ok(self.watch(|| machine.iter().for_each(|machine| machine.host.crash())))
            }
            ["worker", name] => {
                let machine = running(self.machine(name)?, name)?;
                let worker = *machine.daemon.descendants().first().ok_or_else(|| {
                    format!("the daemon of {name} has no worker:\n{}", machine.daemon.log())
                })?;
                let worker = nix::unistd::Pid::from_raw(worker);
                // One that has died meanwhile is as dead as it should be.
                Ok(self.watch(|| {
                    let _ = nix::sys::signal::kill(worker, Signal::SIGKILL);
                }))
            }
            ["proxy", name, "stop"] => {
                let machine = running(self.machine(name)?, name)?;
                let proxy = machine.proxy.take();
                let proxy = proxy.ok_or_else(|| format!("the proxy on {name} is stopped already"))?;
                Ok(self.watch(move || drop(proxy)))
            }
            ["proxy", name, "start"] => {
                let machine = running(self.machine(name)?, name)?;
                if machine.proxy.is_some() {
                    return Err(format!("the proxy on {name} is running"));
                }
                machine.proxy = Some(start_proxy(&machine.host));
                Ok(format!("the proxy on {name} runs\n"))
            }
            ["server", name, "stop"] => {
                let broker = self.server(name)?.0.take();
                let broker = broker.ok_or_else(|| format!("the server {name} is stopped already"))?;
                Ok(self.watch(move || drop(broker)))
            }
            ["server", name, "start"] => {
                let (broker, host) = self.server(name)?;
                if broker.is_some() {
                    return Err(format!("the server {name} is running"));
                }
                *broker = Some(start_broker(host));
                Ok(format!("the server {name} runs\n"))
            }
            other => Err(format!("not understood: {other:?}")),
        }
    }

    fn machine(&mut self, name: &str) -> Result<&mut Option<Machine>, String> {
        self.machines
            .get_mut(name)
            .ok_or_else(|| format!("there is no host {name}, only a and b"))
    }

    fn server(&mut self, name: &str) -> Result<&mut (Option<Process>, Host), String> {
        self.servers
            .get_mut(name)
            .ok_or_else(|| format!("there is no server {name}, only q1, q2 and q3"))
    }

    /// The host and the server that a client gets.
    fn ask(&self) -> Result<(String, String), String> {
        let patience = Duration::from_secs(1);
        self.client
            .enter(|| ask(patience))
            .map_err(|error| format!("nobody answers at {VIP}: {error}"))
    }

    fn status(&self) -> String {
        let mut text = String::new();
        for (name, machine) in &self.machines {
            let Some(machine) = machine else {
                text += &format!("--- {name}: without power\n");
                continue;
            };
            let proxy = if machine.proxy.is_some() {
                "runs"
            } else {
                "is stopped"
            };
            text += &format!("--- {name}: its proxy {proxy}\n");
            for words in [&["status"][..], &["proxy", "status"]]
                .iter()
                .take(1 + usize::from(machine.proxy.is_some()))
            {
                let output = Command::new(warren_binary())
                    .args(*words)
                    .arg("--runtime-dir")
                    .arg(runtime(&machine.host))
                    .stdin(Stdio::null())
                    .output();
                match output {
                    Ok(output) => {
                        text += &String::from_utf8_lossy(&output.stdout);
                        text += &String::from_utf8_lossy(&output.stderr);
                    }
                    Err(error) => text += &format!("warren {}: {error}\n", words.join(" ")),
                }
            }
        }
        text
    }

    /// Where everything is, for commands that go there themselves.
    fn places(&self) -> String {
        let hosts: BTreeMap<_, _> = self
            .machines
            .iter()
            .map(|(name, machine)| (name, machine.as_ref().map(|machine| runtime(&machine.host))))
            .collect();
        let servers: BTreeMap<_, _> = self
            .servers
            .iter()
            .map(|(name, (_, host))| (name, runtime(host)))
            .collect();
        json!({ "client": self.client.init(), "hosts": hosts, "servers": servers }).to_string()
    }

    /// Lets something fail while a client connects again and again, and tells what the client noticed.
    fn watch(&self, fail: impl FnOnce()) -> String {
        let answers = Mutex::new(Vec::new());
        let failed_at = std::thread::scope(|scope| {
            let (end, answers) = (now() + Duration::from_millis(100) + WATCH, &answers);
            let client = scope.spawn(move || self.client.enter(|| ask_until(end, answers)));
            // Who answers before it fails.
            std::thread::sleep(Duration::from_millis(100));
            let failed_at = now();
            fail();
            client.join().expect("the client does not panic");
            failed_at
        });
        tell(
            &answers.into_inner().expect("the client did not panic"),
            failed_at,
        )
    }
}

fn running<'a>(machine: &'a mut Option<Machine>, name: &str) -> Result<&'a mut Machine, String> {
    machine
        .as_mut()
        .ok_or_else(|| format!("{name} has no power; scripts/up boot {name}"))
}

fn runtime(host: &Host) -> PathBuf {
    host.directory().join("run")
}

fn warren(host: &Host, words: &[&str]) -> Command {
    let mut command = Command::new(warren_binary());
    command
        .args(words)
        .arg("--config")
        .arg(host.directory().join("warren.toml"));
    command.arg("--runtime-dir").arg(runtime(host));
    command
}

fn start_proxy(host: &Host) -> Process {
    host.spawn_command(warren(host, &["proxy", "--host", host.name()]))
}

/// What it keeps is there again when it is started again.
fn start_broker(host: &Host) -> Process {
    let mut command = warren(host, &["broker", "--host", host.name()]);
    command.arg("--data").arg(host.directory().join("data"));
    host.spawn_command(command)
}

fn start_witness(host: &Host) -> Process {
    let this = std::env::current_exe().expect("this program knows its path");
    host.spawn(this, &["serve", host.name()])
}

/// Whether somebody speaks AMQP there.
fn greets(address: &str) -> Result<(), String> {
    let address = address.split('/').next().unwrap_or(address);
    let patience = Duration::from_secs(1);
    let stream = TcpStream::connect((address, PORT)).map_err(|error| error.to_string())?;
    let session = Session::log_in_as(USER, USER, stream, patience).map_err(|error| error.to_string())?;
    session.close().map_err(|error| error.to_string())
}

/// Logs in at the shared address: the name of the host it is on, and of the server behind.
fn ask(patience: Duration) -> io::Result<(String, String)> {
    let entry = SocketAddr::from((VIP, PORT));
    let stream = TcpStream::connect_timeout(&entry, patience)?;
    let session = Session::log_in_as(USER, USER, stream, patience)?;
    let server = session.server().trim_start_matches("rabbit@").to_owned();
    session.close()?;
    let witness = SocketAddr::from((VIP, service::PORT));
    let stream = TcpStream::connect_timeout(&witness, patience)?;
    stream.set_read_timeout(Some(patience))?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    match line.trim_end() {
        "" => Err(io::ErrorKind::UnexpectedEof.into()),
        name => Ok((name.to_owned(), server)),
    }
}

/// A connection each millisecond or so. One that does not come about within 50 ms is given up for another.
fn ask_until(end: Duration, answers: &Mutex<Vec<(Duration, String)>>) {
    while now() < end {
        if let Ok((host, _)) = ask(Duration::from_millis(50)) {
            answers
                .lock()
                .expect("only this thread writes")
                .push((now(), host));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn tell(answers: &[(Duration, String)], failed_at: Duration) -> String {
    let mut names: Vec<&str> = answers.iter().map(|(_, name)| name.as_str()).collect();
    names.dedup();
    let before = answers.iter().rfind(|(at, _)| *at <= failed_at);
    let after = answers.iter().filter(|(at, _)| *at > failed_at);
    let moments: Vec<Duration> = before.into_iter().chain(after).map(|(at, _)| *at).collect();
    let longest = moments.windows(2).map(|pair| pair[1] - pair[0]).max();
    let seconds = WATCH.as_secs_f64();
    match (names.as_slice(), longest) {
        ([], _) => format!("a client was not answered at all, for {seconds} s\n"),
        (names, Some(longest)) => format!(
            "answers from {}; the longest wait for one was {:.1} ms\n",
            names.join(", then "),
            longest.as_secs_f64() * 1e3
        ),
        (names, None) => format!(
            "answers from {}, then none for {seconds} s\n",
            names.join(", then ")
        ),
    }
}
