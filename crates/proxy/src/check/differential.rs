//! The real HAProxy and ours check the same servers and are told the same things: what they log and show must be the
//! same, line by line and column by column.
//!
//! The servers tell the two apart by what they ask for, and give each the same answers in the same order: so nothing
//! depends on who is a little earlier.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use warren_balance::health::{Input, Operation};
use warren_balance::{Admin, Weight};

use super::Cause;
use super::fixture::{self, World, eventually};
use crate::plan::{CheckKind, Expect, Expected, Plan};

const HAPROXY: &str = "/usr/sbin/haproxy";
/// What each asks for.
const THEIRS: &str = "/theirs";
const OURS: &str = "/ours";
const INTER: Duration = Duration::from_millis(200);
const FAST: Duration = Duration::from_millis(80);

/// Answers of a server: `P` passes, `F` fails, `J` is no HTTP; the last one again and again.
#[derive(Clone)]
struct Scripted {
    address: SocketAddr,
    asked: Arc<Mutex<HashMap<String, Vec<Instant>>>>,
}

impl Scripted {
    fn start(script: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            asked: Arc::default(),
        };
        let asked = Arc::clone(&server.asked);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut head = [0; 1024];
                let Ok(count @ 1..) = stream.read(&mut head) else {
                    continue;
                };
                let head = String::from_utf8_lossy(&head[..count]).into_owned();
                let who = head.split(' ').nth(1).unwrap().to_owned();
                let mut asked = asked.lock();
                let times = asked.entry(who).or_default();
                let place = times.len().min(script.len() - 1);
                times.push(Instant::now());
                let answer = match script.as_bytes()[place] {
                    b'P' => "HTTP/1.0 200 OK\r\n\r\n",
                    b'F' => "HTTP/1.0 503 Busy\r\n\r\n",
                    _ => "junk\r\n\r\n",
                };
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        server
    }

    fn times(&self, who: &str) -> Vec<Instant> {
        self.asked.lock().get(who).cloned().unwrap_or_default()
    }

    /// From the first question to the last of the script.
    fn lasted(&self, who: &str, count: usize) -> Duration {
        let times = self.times(who);
        times[count - 1] - times[0]
    }
}

struct Haproxy {
    child: Child,
    socket: PathBuf,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Haproxy {
    fn start(directory: &Path, servers: &[(u32, SocketAddr, &str)]) -> Self {
        let sink = UdpSocket::bind("127.0.0.1:0").unwrap();
        let socket = directory.join("stats");
        let mut file = format!(
            "global\n  stats socket {} level admin\n  log {} local0 debug\ndefaults\n  mode http\n  log global\n  \
             timeout connect 2s\n  timeout client 2s\n  timeout server 2s\n  timeout check 2s\nbackend back\n  option \
             httpchk GET {THEIRS}\n  option log-health-checks\n",
            socket.display(),
            sink.local_addr().unwrap()
        );
        for (id, address, options) in servers {
            file += &format!("  server server{id} {address} {options}\n");
        }
        let path = directory.join("haproxy.cfg");
        std::fs::write(&path, file).unwrap();
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let log = Arc::clone(&lines);
        std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while let Ok(count) = sink.recv(&mut buffer) {
                let line = String::from_utf8_lossy(&buffer[..count]);
                // <133>Nov 21 14:42:01 haproxy[1]: text
                let text = line.split_once("]: ").map_or("", |(_, text)| text);
                log.lock().push(text.trim_end().to_owned());
            }
        });
        let child = Command::new(HAPROXY)
            .args(["-db", "-f"])
            .arg(path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, socket, lines }
    }

    fn say(&self, command: &str) -> String {
        let end = Instant::now() + Duration::from_secs(10);
        let mut stream = loop {
            match UnixStream::connect(&self.socket) {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < end, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        stream.write_all(format!("{command}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// What `show stat` says of each server, in these columns.
    fn shows(&self) -> Vec<Vec<String>> {
        rows(&self.say("show stat"))
    }
}

const COLUMNS: [&str; 9] = [
    "svname",
    "status",
    "weight",
    "chkfail",
    "chkdown",
    "check_status",
    "check_code",
    "check_health",
    "last_chk",
];

fn ours(world: &World) -> Vec<Vec<String>> {
    let statistics = crate::stats::Statistics::take(&world.servers.live, Instant::now());
    rows(&crate::stats::csv(
        &statistics,
        &crate::stats::Selection::default(),
    ))
}

/// These columns of each server's row.
fn rows(table: &str) -> Vec<Vec<String>> {
    let mut rows = table.trim_start_matches("# ").lines().map(|line| line.split(','));
    let names: Vec<_> = rows.next().unwrap().collect();
    let rows = rows.map(|row| names.iter().copied().zip(row).collect::<HashMap<_, _>>());
    rows.filter(|row| row.get("svname").is_some_and(|name| name.starts_with("server")))
        .map(|row| COLUMNS.map(|column| row[column].to_owned()).to_vec())
        .collect()
}

fn plan(servers: &[(u32, SocketAddr, &str)]) -> Plan {
    let addresses: Vec<_> = servers.iter().map(|(_, address, _)| *address).collect();
    let kind = CheckKind::Http {
        method: "GET".to_owned(),
        uri: OURS.to_owned(),
        version: "HTTP/1.0".to_owned(),
        headers: Vec::new(),
        body: None,
        expect: Expect {
            negated: false,
            what: Expected::Success,
        },
    };
    let mut plan = fixture::checked(&kind, &addresses);
    fixture::change(&mut plan, |server| {
        let options = servers[server.id.0 as usize - 1].2;
        server.backup = options.contains("backup");
        server.weight = Weight::try_from(10).unwrap();
        if options.contains("track") {
            server.track = Some(("back".to_owned(), "server1".to_owned()));
        }
        if !options.contains("check") {
            server.check = None;
        }
        if let Some(check) = &mut server.check {
            check.timing.inter = INTER;
            check.timing.fastinter = Some(FAST);
            check.timeout = Duration::from_secs(2);
        }
    });
    let backend = Arc::make_mut(&mut plan.backends[0]);
    backend.log_checks = true;
    backend.mode = crate::plan::Mode::Http;
    plan
}

/// The lines about one server, without how long its checks took.
fn about(name: &str, lines: &[String]) -> Vec<String> {
    let duration = regex::Regex::new(r"check duration: \d+ms").unwrap();
    let of_server = |line: &&String| line.contains(&format!("erver back/{name} "));
    lines
        .iter()
        .filter(of_server)
        .map(|line| duration.replace(line, "check duration").into_owned())
        .collect()
}

#[tokio::test]
async fn haproxy_and_ours_say_the_same_of_the_same_servers() {
    if !Path::new(HAPROXY).exists() {
        crate::skip::skip("haproxy is not installed");
        return;
    }
    const SCRIPT: &str = "PPFPFFPFFFPFPPPFJFFPPP";
    let (flapping, steady, dead) = (
        Scripted::start(SCRIPT),
        Scripted::start("P"),
        Scripted::start("F"),
    );
    let options = "check inter 200ms fastinter 80ms weight 10";
    let backup = format!("{options} backup");
    let servers = [
        (1, flapping.address, options),
        (2, steady.address, &*backup),
        (3, steady.address, "track back/server1 weight 10"),
        (4, steady.address, "weight 10"),
        (5, dead.address, options),
    ];
    let directory = tempfile::tempdir().unwrap();
    let theirs = Haproxy::start(directory.path(), &servers);
    let world = World::checking(plan(&servers));

    let both = |count| flapping.times(THEIRS).len() > count && flapping.times(OURS).len() > count;
    eventually("the script is over", || both(SCRIPT.len())).await;
    let settled = async |when: &str| eventually(when, || theirs.shows() == ours(&world)).await;
    settled("after the script").await;

    let told = [
        (
            "set server back/server1 state maint",
            1,
            Input::Admin(Admin::Maint),
        ),
        (
            "set server back/server1 state drain",
            1,
            Input::Admin(Admin::Drain),
        ),
        (
            "set server back/server1 state ready",
            1,
            Input::Admin(Admin::Ready),
        ),
        (
            "set server back/server1 state drain",
            1,
            Input::Admin(Admin::Drain),
        ),
        (
            "set server back/server1 state maint",
            1,
            Input::Admin(Admin::Maint),
        ),
        (
            "set server back/server1 state ready",
            1,
            Input::Admin(Admin::Ready),
        ),
        (
            "set server back/server4 health down",
            4,
            Input::Health(Operation::Stopped),
        ),
        (
            "set server back/server4 state maint",
            4,
            Input::Admin(Admin::Maint),
        ),
        (
            "set server back/server4 state ready",
            4,
            Input::Admin(Admin::Ready),
        ),
        (
            "set server back/server4 health stopping",
            4,
            Input::Health(Operation::Stopping),
        ),
        (
            "set server back/server4 state drain",
            4,
            Input::Admin(Admin::Drain),
        ),
        (
            "set server back/server4 health up",
            4,
            Input::Health(Operation::Running),
        ),
        (
            "set server back/server4 state ready",
            4,
            Input::Admin(Admin::Ready),
        ),
        (
            "set server back/server3 state drain",
            3,
            Input::Admin(Admin::Drain),
        ),
        (
            "set server back/server1 state maint",
            1,
            Input::Admin(Admin::Maint),
        ),
        (
            "set server back/server3 state maint",
            3,
            Input::Admin(Admin::Maint),
        ),
        (
            "set server back/server1 state ready",
            1,
            Input::Admin(Admin::Ready),
        ),
        (
            "set server back/server3 state ready",
            3,
            Input::Admin(Admin::Ready),
        ),
        (
            "set server back/server5 state drain",
            5,
            Input::Admin(Admin::Drain),
        ),
        (
            "set server back/server5 state ready",
            5,
            Input::Admin(Admin::Ready),
        ),
        ("disable health back/server1", 1, Input::Checked(false)),
        ("enable health back/server1", 1, Input::Checked(true)),
        ("set server back/server1 weight 50%", 1, Input::Percent(50)),
        ("set server back/server1 weight 0", 1, Input::Weight(Weight::ZERO)),
        ("set server back/server1 weight 10", 1, Input::Percent(100)),
        (
            "set server back/server2 state drain",
            2,
            Input::Admin(Admin::Drain),
        ),
        (
            "set server back/server2 state ready",
            2,
            Input::Admin(Admin::Ready),
        ),
    ];
    for (command, id, input) in told {
        theirs.say(command);
        let cause = match input {
            Input::Health(_) => Cause::Operator,
            _ => Cause::Silent,
        };
        world
            .servers
            .change(&world.backend(), &world.server(id), &input, cause);
        settled(command).await;
    }

    let (their_lines, our_lines) = (theirs.lines.lock().clone(), world.lines());
    for id in 1..=5 {
        let name = format!("server{id}");
        let (theirs, ours) = (about(&name, &their_lines), about(&name, &our_lines));
        for (place, (theirs, ours)) in theirs.iter().zip(&ours).enumerate() {
            assert_eq!(ours, theirs, "line {place} of {name}");
        }
        assert_eq!(ours.len(), theirs.len(), "{name}: {ours:#?} {theirs:#?}");
    }
    // The same questions in about the same time: intervals follow the same rules.
    let [theirs, ours] = [THEIRS, OURS].map(|who| flapping.lasted(who, SCRIPT.len()).as_secs_f64());
    assert!(
        (ours - theirs).abs() < 0.5 + theirs * 0.2,
        "{ours} s where HAProxy took {theirs} s"
    );
}
