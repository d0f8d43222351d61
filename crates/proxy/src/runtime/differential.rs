//! The same commands, one after the other, to HAProxy and to ours with the same configuration.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::tests::{is_installed, of};
use super::{Context, run};
use crate::plan::{BindAddress, HostAddress, Mode, Plan, SocketAddress, SocketLevel, StatsSocket};
use crate::session::tests::bench::{self, Bench};
use crate::stats::fixture;

const HAPROXY: &str = "/usr/sbin/haproxy";

/// Answers that are the same to the letter.
const SAME: &[&str] = &[
    "show version",
    "show cli level",
    "show cli sockets",
    "show backend",
    "show env NO_SUCH_VARIABLE",
    "show stat nosuch 4 -1",
    "show servers state nosuch",
    "show servers conn nosuch",
    "show table",
    "show table nosuch",
    "show errors nosuch",
    "show errors request",
    "show errors 0",
    "show resolvers nosuch",
    "show fd x",
    "show fd 54321",
    "show sess 0x1",
    "show ssl cert nosuch",
    "set server",
    "set server rabbit",
    "set server nosuch/r1 state maint",
    "set server rabbit/nosuch state maint",
    "set server rabbit/r1",
    "set server rabbit/r1 foo",
    "set server rabbit/r1 state",
    "set server rabbit/r1 state foo",
    "set server rabbit/r1 weight",
    "set server rabbit/r1 weight 300",
    "set server rabbit/r1 weight x",
    "set server rabbit/r1 weight 50%",
    "get weight rabbit/r1",
    "get weight rabbit/nosuch",
    "get weight",
    "set weight rabbit/r1 7",
    "get weight rabbit/r1",
    "set weight rabbit/r1",
    "set server rabbit/r1 weight 10",
    "set server rabbit/r1 health",
    "set server rabbit/r1 health foo",
    "set server rabbit/r1 agent up",
    "set server rabbit/r1 agent-addr 127.0.0.1",
    "set server rabbit/r1 agent-send foo",
    "set server rabbit/r1 addr",
    "set server rabbit/r1 addr foo.bar",
    "set server rabbit/r4 addr 127.0.0.5",
    "set server rabbit/r4 addr 127.0.0.5",
    "set server rabbit/r4 addr 127.0.0.1 port 9",
    "set server rabbit/r4 addr 127.0.0.1 port 9",
    "set server rabbit/r4 check-port 9",
    "set server rabbit/r1 check-port x",
    "set server rabbit/r1 fqdn foo",
    "set server rabbit/r1 ssl on",
    "set maxconn frontend",
    "set maxconn frontend web",
    "set maxconn frontend nosuch 5",
    "set maxconn frontend web 900",
    "set maxconn server rabbit/r1",
    "set maxconn server rabbit/r1 x",
    "set maxconn server rabbit/nosuch 3",
    "set maxconn server rabbit/r1 30",
    "set maxconn global",
    "set maxconn global 2000",
    "set maxconn global 900",
    "set rate-limit",
    "set rate-limit connections",
    "set rate-limit foo global 1",
    "set rate-limit connections global 100",
    "set rate-limit sessions global 100",
    "set rate-limit ssl-sessions global 100",
    "set rate-limit http-compression global 100",
    "set timeout",
    "set timeout foo",
    "set timeout cli",
    "set timeout cli 0",
    "set timeout cli 30",
    "disable server",
    "disable server rabbit/nosuch",
    "disable server rabbit/r3",
    "enable server rabbit/r3",
    "enable agent rabbit/r1",
    "disable health rabbit/r1",
    "enable health rabbit/r1",
    "disable frontend",
    "disable frontend nosuch",
    "disable frontend web",
    "disable frontend web",
    "enable frontend web",
    "enable frontend web",
    "shutdown frontend nosuch",
    "shutdown session",
    "shutdown session foo",
    "shutdown session 0x1234",
    "shutdown sessions server",
    "shutdown sessions server rabbit/nosuch",
    "shutdown sessions server rabbit/r1",
    "clear counters",
    "clear counters all",
    "clear table",
    "clear table nosuch",
    "clear table webs",
    "clear table webs key 1.2.3.4",
    "set table webs key 1.2.3.4",
    "show table",
    "clear table webs key 1.2.3.4",
    "show table webs",
    "add server",
    "add server nosuch/new 127.0.0.1:9",
    "add server webs/new",
    "add server webs/new 127.0.0.1:9 weight 5",
    "add server webs/new 127.0.0.1:9",
    "del server",
    "del server webs/nosuch",
    "del server webs/w1",
    "enable server webs/new",
    "del server webs/new",
    "disable server webs/new",
    "del server webs/new",
    "set severity-output number",
    "experimental-mode on",
    "user;show cli level;operator;disable frontend web;set timeout cli 5;show env HOME;show sess",
    "operator;show cli level;clear counters all;clear counters;set weight rabbit/r1 3",
    "quit",
];

/// Answers that are the same but for numbers of their own.
const ALIKE: &[&str] = &[
    "show servers state",
    "show servers conn",
    "show info",
    "show info typed",
    "show stat",
    "show stat 2 4 -1",
    "show stat up",
    "show errors",
    "show stat typed",
    "show stat json",
    "show info json",
];

struct Haproxy {
    child: Child,
    socket: PathBuf,
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Haproxy {
    /// Runs with its proxies behind unix sockets, so that nothing on the host is in the way.
    fn start(directory: &Path, port: u16) -> Self {
        let at = |name: &str| directory.join(name).display().to_string();
        let socket = directory.join("stats");
        let server = |name: &str, more: &str| format!("    server {name} 127.0.0.1:{port} {more}\n");
        let file = [
            format!(
                "global\n    stats socket {} level admin\n    maxconn 1000\n    nbthread 1\n",
                socket.display()
            ),
            "    node node1\n    description desc one\n".to_owned(),
            "defaults\n    timeout connect 2s\n    timeout client 10s\n    timeout server 10s\n".to_owned(),
            format!(
                "listen rabbit\n    mode tcp\n    option socket-stats\n    bind unix@{} name door\n    maxconn 500\n",
                at("rabbit")
            ),
            server("r1", "check inter 300 weight 10 maxconn 20"),
            server("r2", "check inter 300"),
            server("r3", "check inter 300 backup"),
            server("r4", ""),
            format!(
                "frontend web\n    mode http\n    bind unix@{}\n    rate-limit sessions 100\n",
                at("web")
            ),
            "    http-request use-service prometheus-exporter if { path /metrics }\n".to_owned(),
            "    default_backend webs\n".to_owned(),
            "backend webs\n    mode http\n    stick-table type ip size 100 expire 10m\n    stick on src\n"
                .to_owned(),
            server("w1", "check inter 300"),
            server("w2", "check inter 300 disabled"),
        ];
        Self::with(directory, &file.concat())
    }

    /// Runs with this file, which has its socket in `directory`.
    fn with(directory: &Path, file: &str) -> Self {
        let socket = directory.join("stats");
        let path = directory.join("haproxy.cfg");
        std::fs::write(&path, file).unwrap();
        let child = Command::new(HAPROXY)
            .args(["-db", "-f"])
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, socket }
    }

    fn ask(&self, line: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(format!("{line}\n").as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// What its exporter for Prometheus says.
    fn metrics(&self) -> String {
        let mut stream = connect(&self.socket.with_file_name("web"));
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(" 200 "), "{head}");
        if head.contains("chunked") {
            unchunked(body)
        } else {
            body.to_owned()
        }
    }

    fn connect(&self) -> UnixStream {
        connect(&self.socket)
    }

    /// All first checks have succeeded.
    fn checked(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.ask("show stat").matches(",L4OK,").count() < 4 {
            assert!(Instant::now() < deadline, "{}", self.ask("show stat"));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn unchunked(mut body: &str) -> String {
    let mut text = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        text.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
    }
    text
}

fn connect(path: &Path) -> UnixStream {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return stream,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn ours(directory: &Path, port: u16) -> Context {
    let mut plan: Plan = fixture::plan();
    plan.global.sockets = vec![StatsSocket {
        address: SocketAddress::Unix(directory.join("stats")),
        user: None,
        group: None,
        mode: None,
        level: SocketLevel::Admin,
    }];
    let rabbit = Arc::make_mut(&mut plan.frontends[0]);
    rabbit.socket_stats = true;
    rabbit.binds[0].name = Some("door".to_owned());
    rabbit.binds[0].address = BindAddress::Unix(directory.join("rabbit"));
    for backend in &mut plan.backends {
        let backend = Arc::make_mut(backend);
        if backend.mode == Mode::Tcp {
            backend.stick = None;
        }
        for server in &mut backend.servers {
            Arc::make_mut(server).address = HostAddress::Ip(([127, 0, 0, 1], port).into());
        }
    }
    let context = of(plan);
    for (backend, name) in [
        ("rabbit", "r1"),
        ("rabbit", "r2"),
        ("rabbit", "r3"),
        ("webs", "w1"),
    ] {
        fixture::checked(&context.live, backend, name, "L4OK", "");
    }
    context
}

/// HAProxy and ours with the same configuration, and what their server's port and their files last with. Nothing where
/// there is no HAProxy.
fn both() -> Option<(Haproxy, Context, (TempDir, TcpListener))> {
    if !is_installed(HAPROXY) {
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let theirs = Haproxy::start(directory.path(), port);
    theirs.checked();
    let ours = ours(directory.path(), port);
    Some((theirs, ours, (directory, listener)))
}

/// What of an answer has to be the same in both.
fn shape(command: &str, answer: &str) -> Vec<String> {
    match command {
        "show info" => answer
            .lines()
            .map(|line| line.split(": ").next().unwrap_or_default().to_owned())
            .collect(),
        "show info typed" => answer
            .lines()
            .map(|line| line.splitn(4, ':').take(3).collect::<Vec<_>>().join(":"))
            .collect(),
        "show stat typed" => {
            let lines = answer
                .lines()
                .filter(|line| position(line).is_none_or(|place| place <= LAST_SHARED));
            lines
                .map(|line| line.splitn(4, ':').take(3).collect::<Vec<_>>().join(":"))
                .collect()
        }
        "show stat json" | "show info json" => json_shape(answer),
        "show errors" => answer.split('[').take(1).map(str::to_owned).collect(),
        _ if command.starts_with("show stat") => answer
            .lines()
            .map(|line| {
                let columns = line.split(',').take(LAST_SHARED + 1);
                let known = |place: usize, text: &str| {
                    if [
                        0, 1, 6, 17, 18, 19, 20, 26, 27, 28, 32, 36, 65, 67, 68, 69, 73, 75,
                    ]
                    .contains(&place)
                    {
                        text.to_owned()
                    } else {
                        u8::from(!text.is_empty()).to_string()
                    }
                };
                columns
                    .enumerate()
                    .map(|(place, text)| known(place, text))
                    .collect::<Vec<_>>()
                    .join(",")
            })
            .collect(),
        "show servers state" => answer
            .lines()
            .map(|line| {
                let mut columns: Vec<&str> = line.split(' ').collect();
                if columns.len() == 25 {
                    columns[9] = "age";
                }
                columns.join(" ")
            })
            .collect(),
        // Ours has no connection of its own to a server that it checks.
        "show servers conn" => answer
            .lines()
            .map(|line| {
                line.split(' ')
                    .enumerate()
                    .filter(|(place, _)| !(7..9).contains(place))
                    .map(|(_, word)| word)
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect(),
        _ => vec![answer.to_owned()],
    }
}

/// `agg_check_status`: what follows are the inner workings of its own protocols.
const LAST_SHARED: usize = 102;

fn position(line: &str) -> Option<usize> {
    line.split('.').nth(3)?.parse().ok()
}

fn json_shape(answer: &str) -> Vec<String> {
    let value: serde_json::Value = serde_json::from_str(answer.trim()).unwrap();
    let mut items = Vec::new();
    flatten(&value, &mut items);
    items
}

fn flatten(value: &serde_json::Value, items: &mut Vec<String>) {
    let Some(list) = value.as_array() else {
        if value["field"]["pos"]
            .as_u64()
            .is_some_and(|place| place <= LAST_SHARED as u64)
        {
            let mut value = value.clone();
            value["value"]["value"] = serde_json::Value::Null;
            items.push(value.to_string());
        }
        return;
    };
    for item in list {
        flatten(item, items);
    }
}

#[tokio::test]
async fn haproxy_and_ours_answer_alike() {
    let Some((theirs, ours, _kept)) = both() else {
        return;
    };
    for command in ALIKE.iter().chain(SAME) {
        let (their, our) = (theirs.ask(command), run(&ours, SocketLevel::Admin, command).await);
        assert_eq!(shape(command, &our), shape(command, &their), "{command}");
        // An empty line at the end of each answer.
        let ends = |text: &str| text.ends_with("\n\n") || text == "\n";
        assert_eq!(ends(&our), ends(&their), "{command}: {our:?}, {their:?}");
    }
    // What is not understood is answered in the same form, with commands that begin alike.
    for command in [
        "show proc",
        "show",
        "set maxconn",
        "shutdown",
        "foo",
        "@1 show info",
        "help show",
        "help foo",
        "",
    ] {
        let (their, our) = (theirs.ask(command), run(&ours, SocketLevel::Admin, command).await);
        assert_eq!(our.lines().next(), their.lines().next(), "{command}");
        let tail = |text: &str| {
            let lines = text.trim_end().lines().rev().take(3);
            lines
                .map(|line| line.split_whitespace().next().unwrap_or_default().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(tail(&our), tail(&their), "{command}");
        assert_eq!(our.ends_with("\n\n"), their.ends_with("\n\n"), "{command}");
    }
}

/// Name and labels of every sample, and every type.
fn series(text: &str) -> std::collections::BTreeSet<String> {
    // Inner workings of its protocols and of its compression.
    let others = [
        "_ssl_sess",
        "_ssl_reused_sess",
        "_ssl_failed_handshake",
        "_h1_",
        "_h2_",
        "_zlib_memory",
    ];
    text.lines()
        .filter(|line| !line.starts_with("# HELP") && !line.is_empty())
        .filter(|line| !others.iter().any(|other| line.contains(other)) && !line.contains("warren_"))
        .map(|line| match line.strip_prefix("# TYPE") {
            Some(kind) => kind.to_owned(),
            None => line.rsplit_once(' ').unwrap().0.replace("2.6.12-1+deb12u4", "V"),
        })
        .collect()
}

#[tokio::test]
async fn dashboards_for_haproxys_exporter_find_everything_they_look_for() {
    let Some((theirs, ours, _kept)) = both() else {
        return;
    };
    let (their, our) = (
        series(&theirs.metrics()),
        series(&crate::stats::metrics(&ours, Instant::now())),
    );
    let missing: Vec<_> = their.difference(&our).collect();
    let further: Vec<_> = our.difference(&their).collect();
    assert!(
        missing.is_empty() && further.is_empty(),
        "missing {missing:#?}, further {further:#?}"
    );
    assert!(our.len() > 400, "{}", our.len());
}

/// A server that says nonsense to whoever asks for `/bad`.
fn nonsense(listener: TcpListener) {
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut question = [0; 1024];
            let count = stream.read(&mut question).unwrap_or(0);
            if question[..count].starts_with(b"GET /bad ") {
                let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\nServ\x01er: x\r\n\r\nhi\x80\t\x7f");
            }
        }
    });
}

/// Answers an error, and ends.
fn provoke(mut client: impl Read + Write, question: &[u8], status: &str) {
    client.write_all(question).unwrap();
    let mut answer = [0; 12];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(str::from_utf8(&answer).unwrap(), format!("HTTP/1.1 {status}"));
}

/// Without moments, addresses, and what only its own protocols know.
fn masked(answer: &str) -> Vec<String> {
    let mask = |line: &str| {
        let line = line.split_once("] ").map_or(line, |(_, rest)| rest);
        let line = line.split_once(", src ").map_or(line, |(rest, _)| rest);
        match line.split_once("wraps at ") {
            Some((begin, rest)) => format!("{begin}{}", rest.split_once(',').unwrap().1),
            None if line.contains("flags 0x") => {
                let words = line.split(' ');
                let known = words.filter(|word| !word.starts_with("0x"));
                known.collect::<Vec<_>>().join(" ")
            }
            None => line.to_owned(),
        }
    };
    answer.lines().map(mask).collect()
}

#[tokio::test]
async fn what_was_not_understood_is_shown_as_haproxy_shows_it() {
    if !is_installed(HAPROXY) {
        return;
    }
    let bench = Bench::new(1, |plan| {
        bench::frontend(plan).mode = Mode::Http;
        bench::backend(plan).mode = Mode::Http;
        bench::frontend(plan).id = crate::plan::ProxyId(7);
        bench::backend(plan).id = crate::plan::ProxyId(8);
    });
    nonsense(bench.listener(0));
    let directory = tempfile::tempdir().unwrap();
    let (socket, front) = (directory.path().join("stats"), directory.path().join("front"));
    let file = [
        format!(
            "global\n    stats socket {} level admin\n    nbthread 1\n",
            socket.display()
        ),
        "defaults\n    mode http\n    timeout connect 2s\n    timeout client 10s\n    timeout server 10s\n"
            .to_owned(),
        format!(
            "frontend front\n    id 7\n    bind unix@{}\n    default_backend back\n",
            front.display()
        ),
        format!(
            "backend back\n    id 8\n    server server1 {}\n",
            bench.server_address(0)
        ),
    ];
    let theirs = Haproxy::with(directory.path(), &file.concat());
    let ours = super::tests::over(Arc::clone(&bench.live), bench.workers.clone());
    drop(theirs.connect());
    let long = [b"GET / HTTP/1.1\r\nX: ", &[b'\\'; 100][..], b"\r\nY\x1b\r\n\r\n"].concat();
    let questions: [(&[u8], &str); 4] = [
        (b"GET /bad HTTP/1.1\r\nHost: a\r\n\r\n", "502"),
        (b"\x16\x03\x01\x02\x00", "400"),
        (&long, "400"),
        (b"GET /ok HTTP/1.1\r\nHo st: a\r\n\r\n", "400"),
    ];
    for (question, status) in questions {
        provoke(connect(&front), question, status);
        provoke(bench.connect(), question, status);
        for command in [
            "show errors",
            "show errors front",
            "show errors 8",
            "show errors -1 response",
            "show errors front request",
            "show errors front response",
            "show errors back request",
            "show errors nosuch",
        ] {
            let (their, our) = (theirs.ask(command), run(&ours, SocketLevel::Admin, command).await);
            assert_eq!(masked(&our), masked(&their), "{command} after {question:?}");
        }
    }
}

#[tokio::test]
async fn a_certificate_is_described_as_haproxy_describes_it() {
    if !is_installed(HAPROXY) {
        return;
    }
    let files = crate::tls::Files::new();
    let certificate = files.path("server.pem");
    let bench = Bench::new(1, |plan| {
        bench::frontend(plan).binds[0].tls = Some(Arc::new(crate::tls::bind_tls(&[&certificate])));
    });
    let directory = tempfile::tempdir().unwrap();
    let certificate = certificate.display();
    let file = format!(
        "global\n    stats socket {0}/stats level admin\ndefaults\n    timeout connect 2s\n    timeout client 10s\n    \
         timeout server 10s\nlisten front\n    bind unix@{0}/front ssl crt {certificate}\n    server a 127.0.0.1:1\n",
        directory.path().display()
    );
    let theirs = Haproxy::with(directory.path(), &file);
    let ours = super::tests::over(Arc::clone(&bench.live), bench.workers.clone());
    for command in ["show ssl cert".to_owned(), format!("show ssl cert {certificate}")] {
        let (their, our) = (
            theirs.ask(&command),
            run(&ours, SocketLevel::Admin, &command).await,
        );
        assert_eq!(our, their, "{command}");
    }
    let metrics = crate::stats::metrics(&ours, Instant::now());
    let end = bench.frontend().certificates(None)[0].not_after;
    let end = end.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let sample =
        format!("warren_proxy_certificate_expiry_seconds{{proxy=\"front\",file=\"{certificate}\"}} {end}\n");
    assert!(metrics.contains(&sample), "{sample}");
}

/// Names of what a line says, and the values that are not of the moment.
fn said_of_session(answer: &str, frontend: &str) -> Vec<String> {
    let line = answer
        .lines()
        .find(|line| line.contains(&format!(" fe={frontend} ")));
    let words = line.unwrap_or_else(|| panic!("{answer}")).split(' ').skip(1);
    words
        .map(|word| match word.split_once('=') {
            Some((name @ ("proto" | "fe" | "be" | "srv" | "ts" | "epoch"), value)) => {
                format!("{name}={value}")
            }
            Some((name, _)) => name.to_owned(),
            None => word.to_owned(),
        })
        .collect()
}

#[tokio::test]
async fn sessions_are_shown_in_haproxys_shape() {
    let bench = Bench::new(1, |_| {});
    let ours = super::tests::over(Arc::clone(&bench.live), bench.workers.clone());
    let ask = async |command: &str| run(&ours, SocketLevel::Operator, command).await;
    let client = bench.connect();
    let server = bench.accept(0);
    let shown = ask("show sess").await;
    let number = shown.split(':').next().unwrap().to_owned();
    let details = ask(&format!("show sess {number}")).await;
    for fact in [
        format!("source={}", client.local_addr().unwrap()),
        "frontend=front ".to_owned(),
        "backend=back\n".to_owned(),
        format!("server=server1 addr={}", bench.server_address(0)),
    ] {
        assert!(details.contains(&fact), "{fact}: {details}");
    }
    let did = ask("show activity").await;
    assert!(did.contains("\naccepted: 1\n"), "{did}");
    drop((client, server));
    if !is_installed(HAPROXY) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let front = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let file = format!(
        "global\n    stats socket {}/stats level admin\n    nbthread 1\ndefaults\n    timeout connect 2s\n    timeout client \
         10s\n    timeout server 10s\nfrontend front\n    bind {front}\n    default_backend back\nbackend back\n    server \
         server1 {}\n",
        directory.path().display(),
        bench.server_address(0)
    );
    let theirs = Haproxy::with(directory.path(), &file);
    drop(theirs.connect());
    let client = std::net::TcpStream::connect(front).unwrap();
    let server = bench.accept(0);
    assert_eq!(
        said_of_session(&shown, "front"),
        said_of_session(&theirs.ask("show sess"), "front")
    );
    let names = |text: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        lines.map(|(name, _)| name.to_owned()).collect()
    };
    let known = names(&theirs.ask("show activity"));
    for name in ["thread_id", "date_now", "stream_calls", "accepted"].map(str::to_owned) {
        assert!(known.contains(&name) && names(&did).contains(&name), "{name}");
    }
    drop((client, server));
}

#[tokio::test]
async fn what_is_open_and_who_works_is_shown_in_haproxys_shape() {
    let bench = Bench::new(1, |_| {});
    let ours = super::tests::over(Arc::clone(&bench.live), bench.workers.clone());
    let ask = async |command: &str| run(&ours, SocketLevel::User, command).await;
    let client = bench.connect();
    let server = bench.accept(0);
    let open = ask("show fd").await;
    let (port, other) = (bench.address.port(), server.peer_addr().unwrap().port());
    assert!(
        open.contains(&format!(" : l.st=RDY fam=ipv4 lport={port}\n")),
        "{open}"
    );
    let to_server = format!(
        "fam=ipv4 lport={other} rport={}\n",
        bench.server_address(0).port()
    );
    let line = open
        .lines()
        .find(|line| to_server.trim_end().ends_with(line.split_once(" : ").unwrap().1));
    let number = line.unwrap().split_once(" : ").unwrap().0.trim();
    assert_eq!(ask(&format!("show fd {number}")).await.lines().next(), line);
    let threads = ask("show threads").await;
    assert!(threads.starts_with("  Thread 1 : id="), "{threads}");
    assert!(
        threads.contains(" act=1 glob=0 wq=1 ") && threads.contains("cpu_ns: poll="),
        "{threads}"
    );
    drop((client, server));
    if !is_installed(HAPROXY) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let theirs = Haproxy::start(directory.path(), bench.server_address(0).port());
    let shape = |answer: &str| {
        let lines = answer.lines().skip(2);
        let lines = lines.take_while(|line| !line.is_empty());
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let (their, our) = (
        theirs.ask("show resolvers default"),
        ask("show resolvers default").await,
    );
    assert!(
        their.starts_with("Resolvers section default\n nameserver ")
            && our.starts_with("Resolvers section default\n nameserver ")
    );
    assert_eq!(shape(&our), shape(&their));
}
