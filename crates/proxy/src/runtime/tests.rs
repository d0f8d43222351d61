use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::*;
use crate::check::Servers;
use crate::logs;
use crate::plan::{HostAddress, ProxyVersion, SocketAddress, StatsSocket, Verify};
use crate::record::Record;
use crate::stats::fixture;
use crate::worker::{Log, Settings};

#[derive(Debug)]
struct NoLog;

impl Log for NoLog {
    fn record(&mut self, _: &crate::plan::Frontend, _: &Record<'_>) {}
    fn flush(&mut self) {}
    fn change(&mut self, _: &crate::plan::Global) {}
}

/// Whether there is something to compare with.
pub(super) fn is_installed(program: &str) -> bool {
    let is_there = Path::new(program).exists();
    if !is_there {
        eprintln!("there is no {program} to compare with: scripts/test installs it");
    }
    is_there
}

/// The fixture's configuration with workers that have no sessions.
pub(crate) fn context() -> Context {
    of(fixture::plan())
}

pub(crate) fn of(plan: crate::plan::Plan) -> Context {
    let live = Arc::new(Live::new(Arc::new(plan)));
    let (visits, _) = mpsc::channel(1);
    let settings = Settings {
        visits,
        log: Box::new(|_| Box::new(NoLog)),
    };
    let workers = Workers::start(&live, &settings).unwrap();
    over(live, workers)
}

/// Commands about these.
pub(crate) fn over(live: Arc<Live>, workers: Workers) -> Context {
    let servers = Servers::of_process(Arc::clone(&live), workers.clone(), logs::Dropped::default());
    Context {
        servers,
        live,
        process: Arc::new(Process::this("2.6.12-1+deb12u4", "2026/10/17")),
        workers,
    }
}

async fn said(context: &Context, line: &str) -> String {
    run(context, SocketLevel::Admin, line).await
}

fn status(context: &Context, proxy: &str, name: &str) -> String {
    let statistics = crate::stats::Statistics::take(&context.live, std::time::Instant::now());
    statistics
        .row(proxy, name)
        .unwrap()
        .text(crate::stats::Field::Status)
        .to_owned()
}

#[tokio::test]
async fn a_state_that_is_set_is_the_state_that_is_shown() {
    let context = context();
    for (command, shown) in [
        ("set server rabbit/r4 state drain", "DRAIN"),
        ("set server rabbit/r4 state maint", "MAINT"),
        ("set server rabbit/r4 state ready", "no check"),
        ("disable server rabbit/r4", "MAINT"),
        ("enable server rabbit/r4", "no check"),
        ("set server rabbit/r4 health down", "DOWN"),
        ("set server rabbit/r4 health up", "no check"),
    ] {
        assert_eq!(said(&context, command).await, "\n", "{command}");
        assert_eq!(status(&context, "rabbit", "r4"), shown, "{command}");
    }
}

#[tokio::test]
async fn weights_and_limits_that_are_set_are_in_force() {
    let context = context();
    assert_eq!(said(&context, "set server rabbit/r1 weight 50%").await, "\n");
    assert_eq!(said(&context, "get weight rabbit/r1").await, "5 (initial 10)\n\n");
    assert_eq!(
        said(
            &context,
            "set weight rabbit/r1 7; set maxconn server rabbit/r1 33"
        )
        .await,
        "\n\n"
    );
    let csv = said(&context, "show stat 2 4 1").await;
    let row: Vec<&str> = csv.lines().nth(1).unwrap().split(',').collect();
    assert_eq!((row[6], row[18]), ("33", "7"));
    assert_eq!(said(&context, "set maxconn frontend web 900").await, "\n");
    assert!(
        said(&context, "show stat web 1 -1")
            .await
            .contains("web,FRONTEND,,,0,0,900,")
    );
    assert_eq!(
        said(
            &context,
            "set maxconn global 800; set rate-limit sessions global 50"
        )
        .await,
        "\n\n"
    );
    let info = said(&context, "show info").await;
    assert!(
        info.contains("\nMaxconn: 800\nHard_maxconn: 1000\n") && info.contains("SessRateLimit: 50\n"),
        "{info}"
    );
}

#[tokio::test]
async fn a_server_can_be_added_used_and_removed_at_run_time() {
    let context = context();
    let add = "add server rabbit/new 127.0.0.1:18009 weight 5 maxconn 3 check inter 1s rise 4";
    assert_eq!(said(&context, add).await, "New server registered.\n\n");
    assert_eq!(status(&context, "rabbit", "new"), "MAINT");
    assert_eq!(said(&context, "enable server rabbit/new").await, "\n");
    let new = fixture::server_of(&context.live, "rabbit", "new");
    let check = new.plan().check.clone().unwrap();
    assert_eq!(
        (check.timing.inter, check.timing.rise.get()),
        (Duration::from_secs(1), 4)
    );
    assert_eq!(
        said(&context, "del server rabbit/new").await,
        "Only servers in maintenance mode can be deleted.\n"
    );
    assert_eq!(said(&context, "disable server rabbit/new").await, "\n");
    assert_eq!(said(&context, "del server rabbit/new").await, "Server deleted.\n");
    assert_eq!(said(&context, "del server rabbit/new").await, "No such server.\n");
}

#[tokio::test]
async fn a_server_that_is_added_says_whatever_a_line_of_the_configuration_could() {
    let context = context();
    let directory = tempfile::tempdir().unwrap();
    let authority = directory.path().join("ca.pem");
    let certified = rcgen::generate_simple_self_signed(vec!["broker.test".to_owned()]).unwrap();
    std::fs::write(&authority, certified.cert.pem()).unwrap();
    let add = format!(
        "add server rabbit/new broker.test:5671 ssl verify required ca-file {} sni str(broker.test) check inter 5s \
         fastinter 1s port 15671 check-ssl backup weight 3 maxconn 9 send-proxy-v2 on-marked-down shutdown-sessions \
         agent-check agent-port 99 agent-addr 127.0.0.9 source 127.0.0.1 slowstart 5s",
        authority.display()
    );
    assert_eq!(said(&context, &add).await, "New server registered.\n\n");
    let server = fixture::server_of(&context.live, "rabbit", "new");
    let plan = server.plan();
    assert_eq!(plan.address, HostAddress::Name("broker.test".to_owned(), 5671));
    let tls = plan.tls.as_ref().unwrap();
    assert_eq!(
        (&tls.verify, tls.sni.as_deref()),
        (&Verify::Required(authority.clone()), Some("broker.test"))
    );
    assert!(server.connector.load().is_some());
    let check = plan.check.as_ref().unwrap();
    assert_eq!((check.port, check.tls.is_some()), (Some(15671), true));
    assert_eq!(check.timing.fastinter, Some(Duration::from_secs(1)));
    assert_eq!(plan.send_proxy.map(|proxy| proxy.version), Some(ProxyVersion::V2));
    assert_eq!(plan.agent.as_ref().map(|agent| agent.port), Some(99));
    assert!(plan.backup && plan.shutdown_sessions && plan.source.is_some());
    assert_eq!(plan.slowstart, Duration::from_secs(5));
    // A reload's certificates are for servers of the configuration.
    crate::tls::Keyring::load(&context.live.snapshot().plan, None)
        .unwrap()
        .equip(&context.live.snapshot());
    assert!(server.connector.load().is_some());
}

/// As HAProxy 2.6 refuses them.
#[tokio::test]
async fn a_server_that_cannot_be_added_is_refused_in_haproxys_words() {
    let context = context();
    for (words, answer) in [
        ("127.0.0.1:99999", "invalid port '99999'"),
        (
            "127.0.0.1:80 weight 300",
            "weight of server new is not within 0 and 256 (300).",
        ),
        ("127.0.0.1:80 bogus", "unknown keyword 'bogus'."),
        (
            "127.0.0.1:80 cookie x",
            "'cookie' option is not accepted for dynamic server",
        ),
        (
            "127.0.0.1:80 resolvers x",
            "'resolvers' option is not accepted for dynamic server",
        ),
        (
            "127.0.0.1:80 init-addr last",
            "'init-addr' option is not accepted for dynamic server",
        ),
        ("127.0.0.1:80 inter", "'inter' expects a delay as argument."),
        ("127.0.0.1:80 rise 0", "'rise' has to be > 0."),
        (
            "127.0.0.1:80 track rabbit/nosuch",
            "unable to find required server 'nosuch' for tracking.",
        ),
        (
            "127.0.0.1:80 observe layer9",
            "'observe' expects one of 'none', 'layer4', 'layer7' but got 'layer9'.",
        ),
        (
            "127.0.0.1:80 verify maybe",
            "'verify' : unknown verify method 'maybe', only 'none' and 'required' are supported.",
        ),
        (
            "127.0.0.1:80 on-marked-down foo",
            "'on-marked-down' expects 'shutdown-sessions' but got 'foo'.",
        ),
        (
            "127.0.0.1:80 agent-check",
            "server new does not have agent port. Agent check has been disabled.",
        ),
    ] {
        let said = said(&context, &format!("add server rabbit/new {words}")).await;
        assert_eq!(said.trim_end(), answer, "{words}");
    }
    let said = said(&context, "add server rabbit/new 127.0.0.1:80 ssl").await;
    assert!(
        said.starts_with("verify is enabled by default but no CA file specified."),
        "{said}"
    );
    let snapshot = context.live.snapshot();
    assert!(
        snapshot
            .backend_named("rabbit")
            .unwrap()
            .server_named("new")
            .is_none()
    );
}

#[tokio::test]
async fn a_server_that_another_follows_is_not_removed() {
    let context = context();
    assert_eq!(
        said(&context, "add server rabbit/one 127.0.0.1:9").await,
        "New server registered.\n\n"
    );
    assert_eq!(
        said(&context, "add server rabbit/two 127.0.0.1:9 track rabbit/one").await,
        "New server registered.\n\n"
    );
    assert_eq!(
        said(&context, "del server rabbit/one").await,
        "This server cannot be removed at runtime due to other configuration elements pointing to it.\n"
    );
    assert_eq!(said(&context, "del server rabbit/two").await, "Server deleted.\n");
    assert_eq!(said(&context, "del server rabbit/one").await, "Server deleted.\n");
}

#[tokio::test]
async fn counters_are_cleared_as_far_as_the_level_allows() {
    let context = context();
    let snapshot = context.live.snapshot();
    let frontend = &snapshot.frontends[0];
    frontend.tally.of(0).sessions.add(5);
    frontend.sessions.enter();
    frontend.sessions.leave();
    assert_eq!(
        run(&context, SocketLevel::User, "clear counters").await,
        "Permission denied\n\n"
    );
    assert_eq!(
        run(&context, SocketLevel::Operator, "clear counters all").await,
        "Permission denied\n\n"
    );
    assert_eq!(frontend.sessions.most(), 1);
    assert_eq!(run(&context, SocketLevel::Operator, "clear counters").await, "\n");
    assert_eq!(
        (frontend.sessions.most(), frontend.tally.totals().sessions),
        (0, 5)
    );
    assert_eq!(said(&context, "clear counters all").await, "\n");
    assert_eq!(frontend.tally.totals().sessions, 0);
}

#[tokio::test]
async fn stick_tables_are_shown_filtered_and_cleared() {
    let context = context();
    assert_eq!(
        said(
            &context,
            "set table webs key 10.1.2.3; set table webs key 10.1.2.4"
        )
        .await,
        "\n\n"
    );
    let shown = said(&context, "show table webs").await;
    assert!(
        shown.starts_with("# table: webs, type: ip, size:100, used:2\n0x1: key=10.1.2.3 use=0 exp="),
        "{shown}"
    );
    let one = said(&context, "show table webs key 10.1.2.4").await;
    assert!(one.contains("10.1.2.4") && !one.contains("10.1.2.3"), "{one}");
    let user = run(&context, SocketLevel::User, "show table webs").await;
    assert!(
        user.ends_with("# contents not dumped due to insufficient privileges\n\n"),
        "{user}"
    );
    assert_eq!(said(&context, "clear table webs key 10.1.2.4").await, "\n");
    assert!(said(&context, "show table webs").await.contains("used:1"));
    assert_eq!(said(&context, "clear table webs data.server_id gt 0").await, "\n");
    assert!(
        said(&context, "show table")
            .await
            .contains("# table: webs, type: ip, size:100, used:1\n")
    );
    assert_eq!(said(&context, "clear table webs").await, "\n");
    assert!(said(&context, "show table").await.contains("used:0"));
}

/// Nobody asks for the socket to be closed.
pub(super) fn never() -> mpsc::Receiver<Closing> {
    mpsc::channel(1).1
}

/// A client of a socket that is served.
async fn client(level: SocketLevel, timeout: Duration) -> (UnixStream, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let listener = Listener::bind(&socket(&path)).unwrap();
    tokio::spawn(serve(context(), listener, level, timeout, never()));
    (UnixStream::connect(&path).await.unwrap(), directory)
}

pub(crate) fn socket(path: &Path) -> StatsSocket {
    StatsSocket {
        address: SocketAddress::Unix(path.to_owned()),
        user: None,
        group: None,
        mode: Some(0o640),
        level: SocketLevel::Admin,
    }
}

async fn exchange(stream: &mut UnixStream, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut answer))
        .await
        .expect("the conversation ends")
        .unwrap();
    answer
}

const PATIENT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn one_line_is_answered_and_then_the_conversation_is_over() {
    let (mut stream, _directory) = client(SocketLevel::Admin, PATIENT).await;
    let answer = exchange(&mut stream, "show version; show cli level\n").await;
    assert_eq!(answer, "2.6.12-1+deb12u4\n\nadmin\n\n");
    let (mut stream, _directory) = client(SocketLevel::Admin, PATIENT).await;
    let answer = exchange(&mut stream, "show version\nshow version\n").await;
    assert_eq!(answer, "2.6.12-1+deb12u4\n\n".repeat(2));
}

#[tokio::test]
async fn a_prompt_keeps_the_conversation_going_until_quit() {
    let (mut stream, _directory) = client(SocketLevel::Admin, PATIENT).await;
    let answer = exchange(
        &mut stream,
        "prompt\nshow version\nset timeout cli 3\nquit\nshow version\n",
    )
    .await;
    assert_eq!(answer, "\n> 2.6.12-1+deb12u4\n\n> \n> ");
}

#[tokio::test]
async fn a_level_can_be_lowered_and_never_raised() {
    let (mut stream, _directory) = client(SocketLevel::Operator, PATIENT).await;
    let line = "show cli level;user;show cli level;operator;disable frontend web;show sess\n";
    let answer = exchange(&mut stream, line).await;
    let denied = "Permission denied\n\n";
    assert_eq!(answer, format!("operator\n\n\nuser\n\n{denied}{denied}{denied}"));
}

#[tokio::test]
async fn who_is_silent_or_talks_without_end_is_cut_off() {
    let (mut stream, _directory) = client(SocketLevel::Admin, Duration::from_millis(50)).await;
    assert_eq!(exchange(&mut stream, "show ver").await, "");
    let (mut stream, _directory) = client(SocketLevel::Admin, PATIENT).await;
    let answer = exchange(&mut stream, &"x".repeat(words::LINE_MAX)).await;
    assert_eq!(answer, "The line is too long.\n\n");
}

#[tokio::test]
async fn a_socket_left_behind_is_replaced_and_a_living_one_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    // As a process that was killed leaves it.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let first = Listener::bind(&socket(&path)).unwrap();
    let second = Listener::bind(&socket(&path)).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    tokio::spawn(serve(context(), second, SocketLevel::User, PATIENT, never()));
    let mut stream = UnixStream::connect(&path).await.unwrap();
    assert_eq!(exchange(&mut stream, "show cli level\n").await, "user\n\n");
    drop(first);
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[tokio::test]
async fn an_owner_that_does_not_exist_is_no_reason_to_fail() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let socket = StatsSocket {
        user: Some("no-such-user".to_owned()),
        group: Some("no-such-group".to_owned()),
        ..socket(&path)
    };
    Listener::bind(&socket).unwrap();
    let owner = std::fs::metadata(&path).unwrap();
    assert_eq!(owner.uid(), nix::unistd::geteuid().as_raw());
}

#[tokio::test]
async fn a_tcp_socket_is_served_alike() {
    let socket = StatsSocket {
        address: SocketAddress::Tcp(([127, 0, 0, 1], 0).into()),
        ..socket(Path::new(""))
    };
    let listener = Listener::bind(&socket).unwrap();
    let Listener::Tcp(tcp) = &listener else {
        panic!("{listener:?}")
    };
    let address = tcp.local_addr().unwrap();
    tokio::spawn(serve(context(), listener, SocketLevel::User, PATIENT, never()));
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(b"show version\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "2.6.12-1+deb12u4\n\n");
}

/// Words that lead deep into the commands, and some that lead astray.
const WORDS: &[&str] = &[
    "show",
    "set",
    "add",
    "del",
    "get",
    "clear",
    "enable",
    "disable",
    "shutdown",
    "stat",
    "info",
    "servers",
    "state",
    "conn",
    "sess",
    "session",
    "sessions",
    "server",
    "frontend",
    "backend",
    "table",
    "counters",
    "all",
    "weight",
    "maxconn",
    "global",
    "rate-limit",
    "timeout",
    "cli",
    "health",
    "agent",
    "addr",
    "port",
    "check-port",
    "key",
    "data.conn_cnt",
    "gt",
    "rabbit",
    "rabbit/r1",
    "rabbit/r2",
    "webs/w1",
    "webs",
    "web",
    "nosuch/x",
    "rabbit/new",
    "127.0.0.1:9",
    "1.2.3.4",
    "::1",
    "0",
    "1",
    "-1",
    "50%",
    "4294967296",
    "99999999999999999999",
    "0x10",
    "0xzz",
    "up",
    "down",
    "drain",
    "maint",
    "ready",
    "check",
    "inter",
    "1s",
    "rise",
    "backup",
    "typed",
    "json",
    "desc",
    "<<",
    "help",
];

#[test]
fn no_line_brings_the_process_down_or_goes_unanswered() {
    use proptest::prelude::*;
    let context = context();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(3000));
    let line = prop::collection::vec(prop::sample::select(WORDS), 0..8);
    let ran = runner.run(&line, |words| {
        let line = words.join(" ");
        let answer = runtime.block_on(run(&context, SocketLevel::Admin, &line));
        prop_assert!(answer.ends_with('\n'), "{line}: {answer}");
        let rows = crate::stats::Statistics::take(&context.live, std::time::Instant::now());
        prop_assert!(
            crate::stats::csv(&rows, &crate::stats::Selection::default())
                .lines()
                .count()
                > 5
        );
        Ok(())
    });
    ran.unwrap();
}
