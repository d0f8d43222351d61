//! Real listeners that behave in every way a server can, and what is found, said and done about them.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use warren_balance::Admin;
use warren_balance::health::{Input, Operation, State};

use super::fixture::{self, World, eventually};
use super::{Cause, Finding, Probe};
use crate::live::Target;
use crate::plan::{CheckKind, Expect, Expected, Level, Mode, Origin, ProxyVersion, SendProxy, Step, testing};
use crate::record;
use crate::worker::{Ending, Scope};

/// A listener that does this with each connection, one after the other, for as long as the test runs.
fn serve(what: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            what(stream);
        }
    });
    address
}

/// Says this when asked, and hangs up.
fn answers(text: &'static str) -> SocketAddr {
    serve(move |mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(text.as_bytes());
    })
}

/// Says this at once, and holds the line.
fn greets(text: &'static [u8]) -> SocketAddr {
    serve(move |mut stream| {
        let _ = stream.write_all(text);
        std::thread::spawn(move || while matches!(stream.read(&mut [0; 4096]), Ok(1..)) {});
    })
}

fn silent() -> SocketAddr {
    greets(b"")
}

/// Nobody listens there.
fn refusing() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Resets each connection once something has come.
fn resetting() -> SocketAddr {
    serve(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    })
}

async fn find(check: crate::plan::Check, address: SocketAddr) -> Finding {
    let server = crate::plan::Server {
        check: Some(check),
        ..testing::server(1, address)
    };
    let slot = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
    let probe = Probe::of_server(&server, Some(&Target::Tcp(address)), slot).unwrap();
    probe.run().await
}

async fn found(kind: CheckKind, address: SocketAddr) -> (&'static str, String) {
    let finding = find(fixture::check(kind), address).await;
    (finding.status, finding.detail)
}

fn http(what: Expected, negated: bool) -> CheckKind {
    CheckKind::Http {
        method: "OPTIONS".to_owned(),
        uri: "/".to_owned(),
        version: "HTTP/1.0".to_owned(),
        headers: Vec::new(),
        body: None,
        expect: Expect { negated, what },
    }
}

fn said(status: &'static str, detail: &str) -> (&'static str, String) {
    (status, detail.to_owned())
}

#[tokio::test]
async fn a_tcp_check_connects_and_hangs_up_with_a_fin() {
    let (sender, ends) = std::sync::mpsc::sync_channel(8);
    let address = serve(move |mut stream| {
        let end = stream.read(&mut [0; 1]).map_err(|error| error.kind());
        sender.send(end).unwrap();
    });
    assert_eq!(found(CheckKind::Tcp, address).await, said("L4OK", ""));
    // The farewell goes on in the background, and this waits for it on another thread.
    let end = tokio::task::spawn_blocking(move || ends.recv()).await.unwrap();
    assert_eq!(end.unwrap(), Ok(0));
    assert_eq!(
        found(CheckKind::Tcp, refusing()).await,
        said("L4CON", "Connection refused")
    );
}

#[tokio::test]
async fn a_server_that_does_not_take_connections_in_time_is_l4tout() {
    // A listener whose queue is full drops what comes.
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let _queued: Vec<_> = (0..3)
        .map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(100)))
        .collect();
    assert_eq!(found(CheckKind::Tcp, address).await, said("L4TOUT", ""));
}

#[tokio::test]
async fn http_checks_find_what_haproxy_finds() {
    let fine = || answers("HTTP/1.1 200 Fine\r\nContent-Length: 5\r\n\r\nworld");
    let success = || http(Expected::Success, false);
    assert_eq!(found(success(), fine()).await, said("L7OK", ""));
    let failing = found(success(), answers("HTTP/1.0 503 No\r\n\r\n")).await;
    assert_eq!(failing, said("L7STS", "No"));
    assert_eq!(found(success(), answers("junk\r\n\r\n")).await, said("L7RSP", ""));
    assert_eq!(found(success(), answers("")).await, said("L7RSP", ""));
    assert_eq!(found(success(), silent()).await, said("L7TOUT", ""));
    assert_eq!(
        found(success(), resetting()).await,
        said("SOCKERR", "Connection reset by peer")
    );
    let body = http(Expected::Body("hello".to_owned()), false);
    assert_eq!(
        found(body, fine()).await,
        said("L7RSP", "HTTP content check did not match")
    );
    let not_status = http(Expected::Statuses(vec![(200, 200)]), true);
    let finding = find(fixture::check(not_status), fine()).await;
    assert_eq!(
        (finding.status, finding.code, &*finding.detail),
        ("L7STS", Some(200), "Fine")
    );
}

#[tokio::test]
async fn an_endless_answer_ends_a_check_and_not_the_memory() {
    let endless = serve(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n");
        while stream.write_all(&[b'x'; 4096]).is_ok() {}
    });
    let body = http(Expected::Body("hello".to_owned()), false);
    assert_eq!(
        found(body, endless).await,
        said("L7RSP", "HTTP content check did not match")
    );
}

#[tokio::test]
async fn scripts_find_what_haproxy_finds() {
    let expect = |text: &str, negated| Step::Expect {
        octets: text.as_bytes().to_vec(),
        negated,
    };
    let regex = |text| Step::ExpectRegex {
        regex: regex::bytes::Regex::new(text).unwrap(),
        negated: false,
    };
    let banner = || greets(b"+NO such thing\r\n");
    let script = |steps: Vec<Step>| CheckKind::Script(steps);
    let connect = |port| Step::Connect { port, tls: false };
    assert_eq!(
        found(script(vec![regex(r"^\+NO")]), banner()).await,
        said("L7OK", "(tcp-check)")
    );
    assert_eq!(
        found(script(vec![connect(None)]), silent()).await,
        said("L4OK", "(tcp-check)")
    );
    let send = Step::Send(b"PING\r\n".to_vec());
    assert_eq!(
        found(script(vec![send.clone(), expect("+PONG", false)]), silent()).await,
        said("L7TOUT", " at step 2 of tcp-check (expect string '+PONG')")
    );
    assert_eq!(
        found(script(vec![expect("+NO", true)]), banner()).await.0,
        "L7RSP"
    );
    // Something unwanted may still come as long as the connection lasts.
    assert_eq!(
        found(script(vec![expect("+YES", true)]), banner()).await,
        said("L7TOUT", " at step 1 of tcp-check (expect string '+YES')")
    );
    assert_eq!(
        found(script(vec![send, expect("+YES", true)]), answers("+NO\r\n")).await,
        said("L7OK", "(tcp-check)")
    );
    let nobody = refusing().port();
    assert_eq!(
        found(script(vec![connect(None), connect(Some(nobody))]), silent()).await,
        said(
            "L4CON",
            &format!(
                "Connection refused at step 2 of tcp-check (connect port {})",
                nobody
            )
        )
    );
}

#[tokio::test]
async fn tls_is_spoken_or_it_is_layer_6_that_fails() {
    let address = tls_server();
    assert_eq!(found(CheckKind::Tls, address).await, said("L6OK", ""));
    assert_eq!(
        found(CheckKind::Tls, greets(b"+NO such thing\r\n")).await.0,
        "L6RSP"
    );
    assert_eq!(found(CheckKind::Tls, silent()).await, said("L6TOUT", ""));
    let closed = serve(|_| {});
    assert_eq!(found(CheckKind::Tls, closed).await.0, "L6RSP");
    let secured = crate::plan::Check {
        tls: Some(Arc::new(crate::plan::ServerTls {
            verify: crate::plan::Verify::None,
            sni: None,
            verify_host: None,
            alpn: Vec::new(),
            certificate: None,
        })),
        ..fixture::check(http(Expected::Body("over TLS".to_owned()), false))
    };
    let finding = find(secured, address).await;
    assert_eq!((finding.status, finding.code), ("L7OK", Some(200)));
}

/// Answers one HTTP request over TLS, with a certificate that nobody signed.
fn tls_server() -> SocketAddr {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let config = Arc::new(config);
    serve(move |stream| {
        let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut stream = rustls::StreamOwned::new(connection, stream);
        if matches!(stream.read(&mut [0; 4096]), Ok(1..)) {
            let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nover TLS");
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    })
}

#[tokio::test]
async fn a_proxy_header_comes_first_in_the_version_of_the_server() {
    let (sender, heads) = std::sync::mpsc::sync_channel(8);
    let address = serve(move |mut stream| {
        let mut head = Vec::new();
        stream.read_to_end(&mut head).unwrap();
        sender.send(head).unwrap();
    });
    let heads = Arc::new(std::sync::Mutex::new(heads));
    for (kind, version, expected) in [
        (
            CheckKind::Tcp,
            ProxyVersion::V1,
            "PROXY TCP4 127.0.0.1 127.0.0.1 ",
        ),
        (CheckKind::Tcp, ProxyVersion::V2, "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"),
        // From 127.0.0.1 to 127.0.0.1: RabbitMQ does not get over the other one.
        (
            CheckKind::AmqpGreeting,
            ProxyVersion::V2,
            "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01",
        ),
    ] {
        let is_tcp = matches!(kind, CheckKind::Tcp);
        let server = crate::plan::Server {
            check: Some(crate::plan::Check {
                send_proxy: true,
                ..fixture::check(kind)
            }),
            send_proxy: Some(SendProxy {
                version,
                tls: false,
                unique_id: false,
            }),
            ..testing::server(1, address)
        };
        let slot = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        let probe = Probe::of_server(&server, Some(&Target::Tcp(address)), slot).unwrap();
        let found = probe.run().await.status;
        assert!(!is_tcp || found == "L4OK", "{found}");
        let heads = Arc::clone(&heads);
        let head = tokio::task::spawn_blocking(move || heads.lock().unwrap().recv().unwrap());
        let head = String::from_utf8_lossy(&head.await.unwrap()).into_owned();
        assert!(head.starts_with(expected), "{head:?}");
    }
}

#[tokio::test]
async fn amqp_checks_tell_a_broker_from_what_is_none() {
    let start = warren_amqp_start();
    let greeting = greets(start);
    assert_eq!(
        found(CheckKind::AmqpGreeting, greeting).await,
        said("L7OK", "Broker 1.2")
    );
    let slow = serve(|mut stream| {
        for octet in warren_amqp_start() {
            if stream.write_all(&[*octet]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        std::thread::spawn(move || while matches!(stream.read(&mut [0; 4096]), Ok(1..)) {});
    });
    assert_eq!(found(CheckKind::AmqpGreeting, slow).await.0, "L7OK");
    assert_eq!(
        found(CheckKind::AmqpGreeting, greets(b"SSH-2.0-OpenSSH\r\n"))
            .await
            .0,
        "L7RSP"
    );
    assert_eq!(
        found(CheckKind::AmqpGreeting, greets(b"AMQP\0\x01\0\0")).await.0,
        "L7RSP"
    );
    assert_eq!(found(CheckKind::AmqpGreeting, silent()).await, said("L7TOUT", ""));
    assert_eq!(found(CheckKind::AmqpGreeting, resetting()).await.0, "SOCKERR");
    assert_eq!(
        found(CheckKind::AmqpGreeting, answers("")).await,
        said("L7RSP", "the server closed the connection without a word")
    );
}

/// What a broker says first.
fn warren_amqp_start() -> &'static [u8] {
    static START: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
        use warren_amqp::connection::{Method, Start};
        use warren_amqp::{FrameMax, Table, Value};
        let start = Start {
            version_major: 0,
            version_minor: 9,
            server_properties: Table::new()
                .with("product", Value::text("Broker"))
                .with("version", Value::text("1.2")),
            mechanisms: bytes::Bytes::from_static(b"PLAIN"),
            locales: bytes::Bytes::from_static(b"en_US"),
        };
        let mut out = bytes::BytesMut::new();
        Method::from(start).encode(0, FrameMax::MIN, &mut out).unwrap();
        out.to_vec()
    });
    &START
}

#[tokio::test]
async fn a_server_that_flaps_is_logged_in_haproxys_words_and_counted() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut plan = fixture::checked(&CheckKind::Tcp, &[address, silent()]);
    fixture::change(&mut plan, |server| {
        server.backup = server.name == "server2";
        server.shutdown_sessions = true;
    });
    let world = World::checking(plan);
    let server = world.server(1);
    eventually("up", || {
        server.status() == "UP" && world.server(2).status() == "UP"
    })
    .await;
    assert_eq!(world.lines(), [""; 0]);
    drop(listener);
    eventually("down", || server.status() == "DOWN").await;
    let down = world.lines();
    assert!(
        down[0].starts_with(
            "Server back/server1 is DOWN, reason: Layer4 connection problem, info: \"Connection refused\", check \
             duration: "
        ) && down[0].ends_with(
            "ms. 0 active and 1 backup servers left. Running on backup. 0 sessions active, 0 requeued, 0 remaining in \
             queue."
        ),
        "{down:?}"
    );
    assert_eq!(down.len(), 1);
    {
        let ends = world.record.ends.lock();
        assert_eq!(ends.len(), 1);
        assert!(matches!(&ends[0].scope, Scope::Server(ended) if Arc::ptr_eq(ended, &server)));
        assert_eq!(ends[0].how, Ending::Now(record::Cause::Down));
        let operational = server.operational.lock();
        assert_eq!((operational.checks_failed, operational.times_down), (3, 1));
    }
    let _listener = TcpListener::bind(address).unwrap();
    eventually("up again", || server.status() == "UP").await;
    let up = world.lines();
    assert!(
        up[0].starts_with("Server back/server1 is UP, reason: Layer4 check passed, check duration: ")
            && up[0].ends_with(
                "ms. 1 active and 1 backup servers online. 0 sessions requeued, 0 total in queue."
            ),
        "{up:?}"
    );
    assert!(!server.operational.lock().downtime.is_zero());
}

#[tokio::test]
async fn while_a_check_is_under_way_the_last_result_has_a_mark_before_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let http = CheckKind::Http {
        method: "GET".to_owned(),
        uri: "/".to_owned(),
        version: "HTTP/1.0".to_owned(),
        headers: Vec::new(),
        body: None,
        expect: Expect {
            negated: false,
            what: Expected::Success,
        },
    };
    let world = World::checking(fixture::checked(&http, &[listener.local_addr().unwrap()]));
    let status = || {
        let picture = crate::stats::Statistics::take(&world.servers.live, std::time::Instant::now());
        let row = picture.row("back", "server1").unwrap();
        row.text(crate::stats::Field::CheckStatus).to_owned()
    };
    let mut first = None;
    eventually("asked", || {
        first = first.take().or_else(|| listener.accept().ok());
        first.is_some() && status() == "* INI"
    })
    .await;
    use std::io::Write as _;
    let (mut stream, _) = first.unwrap();
    stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").unwrap();
    drop(stream);
    eventually("answered", || status() == "L7OK").await;
    eventually("asked again", || status() == "* L7OK").await;
    world.servers.change(
        &world.backend(),
        &world.server(1),
        &Input::Admin(Admin::Maint),
        Cause::Operator,
    );
    eventually("given up", || !world.server(1).operational.lock().checking).await;
}

#[tokio::test]
async fn the_last_server_that_goes_makes_an_outage_that_ends_with_the_first_that_comes() {
    let address = refusing();
    let world = World::checking(fixture::checked(&CheckKind::Tcp, &[address]));
    eventually("outage", || world.backend().outage.lock().down).await;
    let lines: Vec<_> = world.record.lines.lock().drain(..).collect();
    assert_eq!(lines[0].0, Level::Alert);
    assert_eq!(
        lines[1],
        (Level::Emerg, "backend back has no server available!".to_owned())
    );
    let _listener = TcpListener::bind(address).unwrap();
    eventually("end of the outage", || !world.backend().outage.lock().down).await;
    let outage = *world.backend().outage.lock();
    assert_eq!((outage.times, outage.downtime.is_zero()), (1, false));
}

#[tokio::test]
async fn results_have_lines_of_their_own_if_they_are_to_be_logged() {
    let address = refusing();
    let mut plan = fixture::checked(&CheckKind::Tcp, &[address]);
    Arc::make_mut(&mut plan.backends[0]).log_checks = true;
    let world = World::checking(plan);
    eventually("down", || world.record.lines.lock().len() >= 3).await;
    let without_time = |line: &String| {
        regex::Regex::new(r"duration: \d+ms")
            .unwrap()
            .replace(line, "duration")
            .into_owned()
    };
    let lines: Vec<_> = world.lines().iter().map(without_time).collect();
    assert_eq!(
        lines,
        [
            "Health check for server back/server1 failed, reason: Layer4 connection problem, info: \"Connection \
             refused\", check duration, status: 0/2 DOWN.",
            "Server back/server1 is DOWN. 0 active and 0 backup servers left. 0 sessions active, 0 requeued, 0 \
             remaining in queue.",
            "backend back has no server available!",
        ]
    );
}

#[tokio::test]
async fn only_silent_sessions_end_when_a_broker_fails_its_checks() {
    let mut plan = fixture::checked(&CheckKind::Tcp, &[refusing()]);
    fixture::change(&mut plan, |server| server.shutdown_sessions = true);
    plan.global.origin = Origin::Toml;
    Arc::make_mut(&mut plan.backends[0]).mode = Mode::Amqp;
    let world = World::checking(plan);
    eventually("down", || !world.record.ends.lock().is_empty()).await;
    let ends = world.record.ends.lock();
    let silent = &ends[0].scope;
    assert!(
        matches!(silent, Scope::Silent(of, super::SILENCE) if Arc::ptr_eq(of, &world.server(1))),
        "{silent:?}"
    );
    assert!(matches!(ends[0].how, Ending::Politely { .. }));
}

#[tokio::test]
async fn an_agent_is_asked_on_a_schedule_of_its_own_and_obeyed() {
    let words = Arc::new(parking_lot::Mutex::new("up 50% maxconn:30\n"));
    let spoken = Arc::clone(&words);
    let agent = serve(move |mut stream| {
        let _ = stream.write_all(spoken.lock().as_bytes());
    });
    let mut plan = testing::plan(&[silent()]);
    fixture::change(&mut plan, |server| {
        server.weight = warren_balance::Weight::try_from(100).unwrap();
        server.agent = Some(crate::plan::Agent {
            port: agent.port(),
            address: Some(agent.ip()),
            inter: Duration::from_millis(20),
            send: None,
        });
    });
    let world = World::checking(plan);
    let server = world.server(1);
    let of = |server: &crate::live::Server| {
        let operational = server.operational.lock();
        (
            operational.health.weight(),
            operational.health.maxconn().map(std::num::NonZeroU32::get),
        )
    };
    eventually("weight and limit", || of(&server) == (50, Some(30))).await;
    for (word, status) in [
        ("drain\n", "DRAIN (agent)"),
        ("maint\n", "MAINT"),
        ("ready\n", "no check"),
        ("down # disk\n", "DOWN (agent)"),
        ("up\n", "no check"),
    ] {
        *words.lock() = word;
        eventually(status, || server.status() == status).await;
    }
}

#[tokio::test]
async fn servers_that_come_and_go_with_a_reload_are_looked_after_from_then_on_and_no_longer() {
    let hits = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = Arc::clone(&hits);
    let old = serve(move |_| {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    });
    let (new, count) = (silent(), || hits.load(std::sync::atomic::Ordering::Relaxed));
    let world = World::checking(fixture::checked(&CheckKind::Tcp, &[old]));
    eventually("checked", || count() > 2).await;
    let mut plan = fixture::checked(&CheckKind::Tcp, &[new]);
    fixture::change(&mut plan, |server| server.name = "server9".to_owned());
    world.reload(plan);
    eventually("the new one is up", || world.server(9).status() == "UP").await;
    let before = count();
    let results = world.server(9).operational.lock().results.len();
    eventually("more checks", || {
        world.server(9).operational.lock().results.len() > results + 4
    })
    .await;
    assert!(count() <= before + 1, "{} after {before}", count());
}

#[tokio::test]
async fn errors_in_traffic_count_as_far_as_they_are_observed() {
    let mut plan = fixture::checked(&CheckKind::Tcp, &[silent()]);
    fixture::change(&mut plan, |server| {
        server.observe = Some(crate::plan::Observe::Layer4);
        server.on_error = crate::plan::ErrorAction::MarkDown;
        server.error_limit = testing::number(3);
        server.check.as_mut().unwrap().timing.inter = Duration::from_secs(3600);
    });
    let world = World::checking(plan);
    let server = world.server(1);
    eventually("up", || server.status() == "UP").await;
    let layer = crate::plan::Observe::Layer4;
    for good in [false, false, true, false, false] {
        server.observed(layer, good);
    }
    server.observed(crate::plan::Observe::Layer7, false);
    assert_eq!(server.error_limits.load(std::sync::atomic::Ordering::Relaxed), 0);
    server.observed(layer, false);
    eventually("down", || server.status() == "DOWN").await;
    assert_eq!(
        world.lines()[0],
        "Server back/server1 is DOWN, reason: Health analyze, info: \"Detected 3 consecutive errors, last one was: L4 \
         unsuccessful connection\". 0 active and 0 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue."
    );
}

#[tokio::test]
async fn who_waits_for_a_server_gets_the_slots_that_a_change_makes() {
    let mut plan = testing::plan(&[silent(), silent()]);
    fixture::change(&mut plan, |server| server.maxconn = Some(testing::number(1)));
    let world = World::idle(plan);
    let (backend, first) = (world.backend(), world.server(1));
    let silent = Cause::Silent;
    world
        .servers
        .change(&backend, &world.server(2), &Input::Admin(Admin::Maint), silent);
    for session in 1..=3 {
        let wanted = crate::live::Wanted {
            server: Some(&first),
            forced: false,
        };
        let waiter = crate::live::Waiter { worker: 0, session };
        backend.assign(0, 0, wanted, None, waiter);
    }
    assert_eq!(first.queued.now(), 2);
    world.servers.change(&backend, &first, &Input::Maxconn(2), silent);
    let granted = |world: &World| -> Vec<_> {
        let granted = world.record.granted.lock();
        granted
            .iter()
            .map(|(waiter, name)| (waiter.session, name.to_string()))
            .collect()
    };
    assert_eq!(granted(&world), [(2, "server1".to_owned())]);
    world
        .servers
        .change(&backend, &world.server(2), &Input::Admin(Admin::Ready), silent);
    world.servers.change(
        &backend,
        &first,
        &Input::Health(Operation::Stopped),
        Cause::Operator,
    );
    assert_eq!(
        granted(&world),
        [(2, "server1".to_owned()), (3, "server2".to_owned())]
    );
    let last = world.lines().pop().unwrap();
    assert_eq!(
        last,
        "Server back/server1 is DOWN, changed from CLI. 1 active and 0 backup servers left. 2 sessions active, 1 \
         requeued, 0 remaining in queue."
    );
    assert_eq!(first.state(), State::Down);
}

#[tokio::test]
async fn slow_start_goes_on_by_itself_and_lets_in_who_waits() {
    let address = refusing();
    let mut plan = fixture::checked(&CheckKind::Tcp, &[address]);
    fixture::change(&mut plan, |server| {
        server.maxconn = Some(testing::number(4));
        server.slowstart = Duration::from_millis(700);
    });
    let world = World::checking(plan);
    let (backend, server) = (world.backend(), world.server(1));
    eventually("down", || server.status() == "DOWN").await;
    let _listener = TcpListener::bind(address).unwrap();
    eventually("up", || server.status() == "UP").await;
    for session in 0..4 {
        let waiter = crate::live::Waiter { worker: 0, session };
        backend.assign(0, 0, crate::live::Wanted::default(), None, waiter);
    }
    assert!(server.sessions.now() < 4, "all at once");
    eventually("all", || server.sessions.now() == 4).await;
    assert!(
        server
            .operational
            .lock()
            .health
            .throttle(world.servers.now())
            .is_none()
    );
}

#[tokio::test]
async fn a_server_that_tracks_another_starts_as_that_one_does() {
    let mut plan = fixture::checked(&CheckKind::Tcp, &[silent(), silent()]);
    fixture::change(&mut plan, |server| {
        if server.name == "server1" {
            server.disabled = true;
        } else {
            server.track = Some(("back".to_owned(), "server1".to_owned()));
            server.check = None;
        }
    });
    let world = World::checking(plan);
    eventually("the same", || {
        world.server(2).status() == "MAINT (via back/server1)"
    })
    .await;
    assert_eq!(world.server(1).status(), "MAINT");
}

#[tokio::test]
async fn sessions_that_fall_silent_later_end_too_for_as_long_as_their_server_is_down() {
    let mut plan = fixture::checked(&CheckKind::Tcp, &[silent()]);
    fixture::change(&mut plan, |server| server.shutdown_sessions = true);
    plan.global.origin = Origin::Toml;
    Arc::make_mut(&mut plan.backends[0]).mode = Mode::Amqp;
    let world = World::idle(plan);
    let (backend, server) = (world.backend(), world.server(1));
    let say = |operation| {
        let input = Input::Health(operation);
        world.servers.change(&backend, &server, &input, Cause::Operator);
    };
    say(Operation::Stopped);
    assert!(
        !world.servers.farewell_again(&backend, &server),
        "nobody is there"
    );
    server.sessions.enter();
    assert!(world.servers.farewell_again(&backend, &server));
    assert_eq!(world.record.ends.lock().len(), 2);
    say(Operation::Running);
    assert!(!world.servers.farewell_again(&backend, &server), "it is back");
}
