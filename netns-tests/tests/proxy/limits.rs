//! As many connections as may be, and memory that stays where it is.

use std::io::{Read as _, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use warren_lab::{Origin, Process, Proxy, ProxyFlavour, Session, eventually};

use super::{CHECK, PATIENCE, Place, for_both};

for_both!(
    eight_thousand_sessions_at_a_time,
    clients_that_do_not_read_cost_no_memory,
    a_client_too_many_waits_until_another_leaves,
    a_client_that_comes_too_often_is_turned_away_and_others_are_not,
);

const SESSIONS: usize = 8000;
const CLIENTS: usize = 8;
const CLIENTS_THAT_DO_NOT_READ: u64 = 25;

/// As many as the open-file limit lets a proxy have, which is raised: eight thousand on an ordinary host.
pub(super) fn as_many_as_may_be() -> usize {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let enough = hard.max(2 * SESSIONS as u64 + 1000);
    let may_be = match setrlimit(Resource::RLIMIT_NOFILE, enough, enough) {
        Ok(()) => enough,
        Err(_) => {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
            eprintln!("this host allows {hard} open files only");
            hard
        }
    };
    SESSIONS.min((may_be as usize).saturating_sub(1000) / 2)
}

/// A configuration with room for them.
pub(super) fn with_room(text: &str) -> String {
    text.replace("maxconn 4096", "maxconn 9000")
        .replace("maxconn 2000", "maxconn 9000")
}

/// So many clients, who stay.
pub(super) fn crowd(place: &Place, sessions: usize) -> Vec<Session> {
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    (0..sessions / CLIENTS)
                        .map(|_| place.session())
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect()
    })
}

fn eight_thousand_sessions_at_a_time(flavour: ProxyFlavour) {
    let sessions = as_many_as_may_be();
    let place = Place::new();
    let text = with_room(&place.configuration("", "", CHECK));
    let proxy = Proxy::start(flavour, &place.proxy, &text);
    let before = proxy.process.usage().resident;
    let mut held = crowd(&place, sessions);
    assert_eq!(
        proxy.statistics().number("rabbitmq", "FRONTEND", "scur"),
        held.len() as u64
    );
    for session in held.iter_mut().step_by(97) {
        session.exchange(1000).unwrap();
    }
    let each = proxy.process.usage().resident.saturating_sub(before) / held.len() as u64;
    println!("{flavour:?}: {} sessions, {each} octets each", held.len());
    if flavour == ProxyFlavour::Warren {
        assert!(each < 1500, "{each} octets for each session");
    }
    drop(held);
    eventually(Duration::from_secs(20), "all of them have ended", || {
        let left = proxy.statistics().number("rabbitmq", "FRONTEND", "scur");
        if left == 0 { Ok(()) } else { Err(left) }
    });
    place.session().exchange(1000).unwrap();
}

/// What goes to a client that does not read stays in the sockets, and the server is made to wait.
fn clients_that_do_not_read_cost_no_memory(flavour: ProxyFlavour) {
    let place = Place::with(&["rabbitmq1"]);
    let proxy = place.start(flavour);
    let grown = grown_by_clients_that_do_not_read(&place, &proxy.process);
    assert!(
        grown < CLIENTS_THAT_DO_NOT_READ * 64 * 1024,
        "{grown} octets for {CLIENTS_THAT_DO_NOT_READ} clients that do not read"
    );
}

/// Octets of memory by which a proxy grows while such clients are there; others are served afterwards.
fn grown_by_clients_that_do_not_read(place: &Place, proxy: &Process) -> u64 {
    let sessions: Vec<Session> = (0..CLIENTS_THAT_DO_NOT_READ).map(|_| place.session()).collect();
    let before = proxy.usage().resident;
    // Every frame would come back; nobody fetches them.
    let frame = [&[3, 0, 1, 0, 1, 0x86, 0xA0][..], &[7; 100_000], &[0xCE]].concat();
    for session in &sessions {
        session
            .stream()
            .set_write_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let mut written = 0;
        while written < 20_000_000 && fill(session.stream(), &frame) {
            written += frame.len();
        }
    }
    let grown = proxy.usage().resident.saturating_sub(before);
    drop(sessions);
    place.session().exchange(1000).unwrap();
    grown
}

fn fill(mut stream: &TcpStream, frame: &[u8]) -> bool {
    stream.write_all(frame).is_ok()
}

fn a_client_too_many_waits_until_another_leaves(flavour: ProxyFlavour) {
    let place = Place::with(&["rabbitmq1"]);
    let text = place.configuration("", "maxconn 3", CHECK);
    let proxy = Proxy::start(flavour, &place.proxy, &text);
    let mut held: Vec<Session> = (0..3).map(|_| place.session()).collect();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| place.session());
        // It is in the queue of the listener, where the proxy leaves it.
        std::thread::sleep(Duration::from_millis(500));
        assert!(!waiting.is_finished());
        assert_eq!(proxy.statistics().number("rabbitmq", "FRONTEND", "scur"), 3);
        held.pop().expect("three").close().unwrap();
        waiting.join().unwrap().exchange(100).unwrap();
    });
    eventually(PATIENCE, "never more than three", || {
        let most = proxy.statistics().number("rabbitmq", "FRONTEND", "smax");
        if most == 3 { Ok(()) } else { Err(most) }
    });
}

fn a_client_that_comes_too_often_is_turned_away_and_others_are_not(flavour: ProxyFlavour) {
    let place = Place::with(&["rabbitmq1"]);
    let rules = "stick-table type ip size 100 expire 60s store conn_rate(60s)\n\
                 tcp-request connection track-sc0 src\ntcp-request connection reject if { src_conn_rate gt 5 }";
    let proxy = Proxy::start(flavour, &place.proxy, &place.configuration("", rules, CHECK));
    let mut held: Vec<Session> = (0..5).map(|_| place.session()).collect();
    for _ in 0..3 {
        assert!(place.try_session().is_err());
    }
    // From another address.
    Session::open(&place.proxy, place.entry(), PATIENCE).unwrap();
    for session in &mut held {
        session.exchange(100).unwrap();
    }
    assert_eq!(proxy.statistics().number("rabbitmq", "FRONTEND", "dcon"), 3);
}

/// Of what it knows the frames of, a proxy has one buffer for each direction.
#[test]
fn clients_that_do_not_read_cost_no_more_than_their_buffers_in_mode_amqp() {
    let place = Place::with(&["rabbitmq1"]);
    let proxy = place.start_amqp("", "", "");
    let grown = grown_by_clients_that_do_not_read(&place, &proxy);
    assert!(
        grown < CLIENTS_THAT_DO_NOT_READ * 2 * 64 * 1024,
        "{grown} octets for {CLIENTS_THAT_DO_NOT_READ} clients that do not read"
    );
}

/// The bodies of large answers, in the clear and over TLS.
#[test]
fn clients_that_do_not_read_cost_no_memory_in_mode_http_and_over_tls() {
    let place = Place::with(&["web1"]);
    let _origin = Origin::start(&place.servers[0].host, 8080);
    let pem = place.proxy.directory().join("tls.pem");
    place.proxy.sh(&format!(
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout {0}.key -out {0}.crt -days 2 -subj /CN=a.test 2>/dev/null && \
         cat {0}.crt {0}.key > {0}",
        pem.display()
    ));
    let text = place.configuration("", "", CHECK);
    let (before, _) = text.split_once("listen rabbitmq").expect("a proxy");
    let text = format!(
        "{before}listen web\n    mode http\n    bind *:80\n    bind *:443 ssl crt {}\n    server web1 10.77.0.3:8080\n",
        pem.display()
    );
    let proxy = Proxy::start(ProxyFlavour::Warren, &place.proxy, &text);
    let ask = "GET /large/50000000 HTTP/1.1\r\nHost: a\r\n\r\n";
    let plain = |_| {
        let at = SocketAddr::from(([10, 77, 0, 1], 80));
        let mut stream = place.client.enter(|| TcpStream::connect(at)).unwrap();
        stream.write_all(ask.as_bytes()).unwrap();
        stream
    };
    let secure = |_| {
        // What nobody reads fills the pipe, and then the program reads no more.
        let line = format!(
            "(printf '{ask}'; sleep 600) | openssl s_client -quiet -connect 10.77.0.1:443 2>&1 | sleep 600"
        );
        place.client.spawn("/bin/sh", &["-c", &line])
    };
    let before = proxy.process.usage().resident;
    let plain: Vec<TcpStream> = (0..CLIENTS_THAT_DO_NOT_READ).map(plain).collect();
    let secure: Vec<_> = (0..CLIENTS_THAT_DO_NOT_READ).map(secure).collect();
    let sent = || proxy.statistics().number("web", "FRONTEND", "bout");
    let mut last = 0;
    eventually(PATIENCE, "everything on the way is full", || {
        let now = sent();
        let busy = proxy.statistics().number("web", "FRONTEND", "scur") == 2 * CLIENTS_THAT_DO_NOT_READ;
        std::thread::sleep(Duration::from_millis(500));
        if busy && now > 0 && std::mem::replace(&mut last, now) == now {
            Ok(())
        } else {
            Err((busy, now))
        }
    });
    let grown = proxy.process.usage().resident.saturating_sub(before);
    println!("{last} octets sent, {grown} octets of memory");
    assert!(
        grown < 2 * CLIENTS_THAT_DO_NOT_READ * 64 * 1024,
        "{grown} octets for {CLIENTS_THAT_DO_NOT_READ} clients of each kind that do not read"
    );
    drop((plain, secure));
}

/// What is dropped while the log cannot be opened is no reason to drop what comes later.
#[test]
fn lines_are_written_again_when_there_are_file_descriptors_again() {
    let place = Place::with(&["rabbitmq1"]);
    let proxy = place.start(ProxyFlavour::Warren);
    let id = place.proxy.sh("pgrep -x haproxy");
    let limit = |files: &str| {
        let line = format!("prlimit --pid {} --nofile={files}:", id.trim());
        place.proxy.sh(&line)
    };
    // Whoever is connected needs no file descriptor.
    let mut socket = UnixStream::connect(Proxy::socket(&place.proxy)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut ask = |command: &str| {
        socket.write_all(command.as_bytes()).unwrap();
        let mut said = String::new();
        while !said.ends_with("> ") {
            let mut octets = [0; 4096];
            let count = socket.read(&mut octets).unwrap();
            assert!(count > 0, "{said}");
            said += std::str::from_utf8(&octets[..count]).unwrap();
        }
        said
    };
    ask("prompt\n");
    limit("1");
    eventually(PATIENCE, "checks fail, too", || {
        let said = ask("show stat\n");
        if said.contains(",DOWN,") {
            Ok(())
        } else {
            Err(said)
        }
    });
    assert_eq!(place.log.messages("is DOWN"), [""; 0]);
    limit("4096");
    eventually(PATIENCE, "the log says so", || {
        let lines = place.log.messages("is UP");
        if lines.is_empty() { Err(()) } else { Ok(()) }
    });
    assert_eq!(proxy.status("rabbitmq", "rabbitmq1"), "UP");
}
