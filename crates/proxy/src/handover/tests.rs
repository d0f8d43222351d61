//! Two sets of workers in one process, as two processes would be, and clients that check every octet.

mod http;
mod servers;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::message::{ToNew, ToOld};
use super::wire::Wire;
use super::*;
use crate::live::{self, Live};
use crate::plan::{self, BindAddress, Mode, Plan, testing};
use crate::record::{Cause, Record};
use crate::session::amqp::testing::{frame, handshake, method};
use crate::worker::{Command, End, Ending, Listener, Log, Scope, Settings, Workers};

/// What could be a process.
struct Process {
    live: Arc<Live>,
    workers: Workers,
    listeners: Vec<Listener>,
    visits: mpsc::Receiver<crate::worker::Visit>,
}

struct NoLog;

impl Log for NoLog {
    fn record(&mut self, _: &plan::Frontend, _: &Record<'_>) {}
    fn flush(&mut self) {}
    fn change(&mut self, _: &plan::Global) {}
}

impl Process {
    fn first(plan: Plan) -> Self {
        let socket = listener();
        let process = Self::with(Live::new(Arc::new(plan)), OwnedFd::from(socket));
        process.accept();
        process
    }

    fn with(live: Live, socket: OwnedFd) -> Self {
        let live = Arc::new(live);
        let (visits, visited) = mpsc::channel(1);
        let settings = Settings {
            visits,
            log: Box::new(|_| Box::new(NoLog)),
        };
        let workers = Workers::start(&live, &settings).unwrap();
        let frontend = Arc::clone(&live.snapshot().frontends[0]);
        let listener = Listener {
            socket: Arc::new(socket),
            bind: Arc::new(frontend.plan().binds[0].clone()),
            frontend,
            tls: None,
            load: Arc::default(),
        };
        Self {
            live,
            workers,
            listeners: vec![listener],
            visits: visited,
        }
    }

    fn accept(&self) {
        self.workers
            .broadcast(&Command::Listen(Arc::new(self.listeners.clone())));
    }

    fn address(&self) -> SocketAddr {
        let address = rustix::net::getsockname(&*self.listeners[0].socket).unwrap();
        SocketAddr::try_from(address).unwrap()
    }

    /// A process that takes over, and what was said about it on both sides.
    fn succeed(&self, plan: Plan) -> (Self, Given, Adopted) {
        let (ours, theirs) = pair().unwrap();
        std::thread::scope(|scope| {
            let next = scope.spawn(|| {
                let mut inherited = take(theirs).unwrap();
                let live = inherited.live(Arc::new(plan));
                let (address, socket) = inherited.sockets.pop().unwrap();
                assert!(matches!(address, BindAddress::Tcp(_)));
                let next = Self::with(live, socket);
                let adopted = inherited
                    .adopt(&next.live, &next.workers, &next.listeners, || next.accept())
                    .unwrap();
                inherited.confirm().unwrap();
                (next, adopted)
            });
            let given = give(&self.workers, &self.live, &self.listeners, &[], ours).unwrap();
            let (next, adopted) = next.join().unwrap();
            (next, given, adopted)
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.workers.broadcast(&Command::Listen(Arc::default()));
        self.workers.broadcast(&Command::Finish);
        self.visits.close();
    }
}

/// As many files as this process may have.
fn files() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit {
        current: limit.maximum,
        ..limit
    };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).unwrap();
}

/// Has room for all who connect at once: the kernel resets who finds none, after having said that the connection stands.
fn listener() -> TcpListener {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking().cloexec(), None).unwrap();
    socket
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    socket.listen(4096).unwrap();
    socket.into()
}

/// A server that says everything again, until the test is over.
fn echo() -> SocketAddr {
    let listener = listener();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    let _ended = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
    });
    address
}

/// What a client says at a place of its stream.
fn octet(client: usize, place: usize) -> u8 {
    (client.wrapping_mul(31) ^ place ^ (place >> 8)) as u8
}

/// So many clients that say and check octets until they are told to stop.
struct Clients {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    /// Clients that have been answered at all.
    served: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<usize>,
}

impl Clients {
    /// `sizes` is how many octets a client says before it listens.
    fn start(count: usize, address: SocketAddr, sizes: fn(usize) -> usize) -> Self {
        let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let served = Arc::new(AtomicU64::new(0));
        let thread = std::thread::spawn({
            let (stop, rounds, served) = (Arc::clone(&stop), Arc::clone(&rounds), Arc::clone(&served));
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(async move {
                    let mut tasks = tokio::task::JoinSet::new();
                    for client in 0..count {
                        let (stop, rounds) = (Arc::clone(&stop), Arc::clone(&rounds));
                        let served = Arc::clone(&served);
                        tasks.spawn(async move {
                            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
                            talk(stream, client, sizes(client), &stop, &rounds, &served).await
                        });
                    }
                    tasks.join_all().await.into_iter().sum()
                })
            }
        });
        Self {
            stop,
            rounds,
            served,
            thread,
        }
    }

    /// Waits until so many have been answered: that many sessions there are then.
    fn all_served(&self, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.served.load(Relaxed) < count as u64 {
            assert!(Instant::now() < deadline, "not all clients are served");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until all of them have been answered so often again.
    fn go_on(&self, count: usize) {
        let wanted = self.rounds.load(Relaxed) + count as u64;
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.rounds.load(Relaxed) < wanted {
            assert!(!self.thread.is_finished(), "the clients have ended");
            assert!(Instant::now() < deadline, "the clients stand still");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// How many connections had been all right to the end.
    fn end(self) -> usize {
        self.stop.store(true, Relaxed);
        self.thread.join().unwrap()
    }
}

/// Says octets in pieces and checks that they come back. 1 if all did.
async fn talk(
    mut stream: tokio::net::TcpStream,
    client: usize,
    size: usize,
    stop: &AtomicBool,
    rounds: &AtomicU64,
    served: &AtomicU64,
) -> usize {
    let (mut read, mut write) = stream.split();
    let mut place = 0;
    while !stop.load(Relaxed) {
        let said: Vec<u8> = (place..place + size).map(|place| octet(client, place)).collect();
        let mut heard = vec![0; size];
        let both = tokio::try_join!(write.write_all(&said), read.read_exact(&mut heard));
        if let Err(error) = both {
            panic!("client {client} at {place}: {error}");
        }
        assert!(heard == said, "client {client} at {place}");
        if place == 0 {
            served.fetch_add(1, Relaxed);
        }
        place += size;
        rounds.fetch_add(1, Relaxed);
    }
    write.shutdown().await.unwrap();
    assert_eq!(read.read(&mut [0]).await.unwrap(), 0);
    1
}

fn with_workers(server: SocketAddr, workers: usize) -> Plan {
    let mut plan = testing::plan(&[server]);
    plan.global.threads = workers.try_into().unwrap();
    plan
}

#[test]
fn a_thousand_sessions_move_to_another_process_again_and_again_and_lose_no_octet() {
    const SESSIONS: usize = 1000;
    files();
    let server = echo();
    let mut process = Process::first(with_workers(server, 2));
    let address = process.address();
    // Most say little; some say more than fits anywhere, so that something is always on its way.
    let clients = Clients::start(SESSIONS, address, |client| match client % 50 {
        0 => 300_000,
        few => few * 7,
    });
    clients.all_served(SESSIONS);
    for workers in [2, 1, 3] {
        let (next, given, adopted) = process.succeed(with_workers(server, workers));
        println!("{} sessions in {:?}", given.sessions, given.took);
        assert_eq!((given.sessions, given.left), (SESSIONS, 0));
        assert_eq!((adopted.sessions, adopted.refused), (SESSIONS, 0));
        assert_eq!(process.live.connections.now(), 0);
        assert_eq!(next.live.connections.now() as usize, SESSIONS);
        clients.go_on(2 * SESSIONS);
        // Who comes now is served by the new one, and was never refused.
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"new").unwrap();
        stream.read_exact(&mut [0; 3]).unwrap();
        drop(stream);
        while next.live.connections.now() as usize > SESSIONS {
            clients.go_on(1);
        }
        process = next;
    }
    assert_eq!(clients.end(), SESSIONS);
    let totals = process.live.tally.totals();
    assert_eq!(totals.connections as usize, SESSIONS + 3);
    let frontend = &process.live.snapshot().frontends[0];
    assert_eq!(frontend.sessions.most() as usize, SESSIONS + 1);
}

/// A process that says this much and then is no more.
fn dies(socket: OwnedFd, after: usize) {
    let wire = Wire::new(socket, PATIENCE).unwrap();
    let mut sockets = Vec::new();
    for step in 0..after {
        match step {
            0 => wire.send(&ToOld::Hello(VERSION), &[]).unwrap(),
            1 => sockets.push(wire.receive::<ToNew>().unwrap()),
            2 => wire.send(&ToOld::Prepared, &[]).unwrap(),
            3 => sockets.push(wire.receive::<ToNew>().unwrap()),
            // Sessions, which it does not touch.
            4 => sockets.push(wire.receive::<ToNew>().unwrap()),
            _ => wire.send(&ToOld::Ready, &[]).unwrap(),
        }
    }
}

#[test]
fn wherever_the_new_process_dies_the_old_one_serves_on() {
    files();
    let server = echo();
    let process = Process::first(with_workers(server, 2));
    let clients = Clients::start(60, process.address(), |client| 10 + client * 3000);
    clients.go_on(60);
    for after in 0..=5 {
        let (ours, theirs) = pair().unwrap();
        let given = std::thread::scope(|scope| {
            scope.spawn(|| dies(theirs, after));
            give(&process.workers, &process.live, &process.listeners, &[], ours)
        });
        assert!(given.is_err(), "after {after} steps: {given:?}");
        clients.go_on(120);
        assert_eq!(process.live.connections.now(), 60, "after {after} steps");
        let mut stream = TcpStream::connect(process.address()).unwrap();
        stream.write_all(b"new").unwrap();
        stream.read_exact(&mut [0; 3]).unwrap();
        drop(stream);
        eventually(|| process.live.connections.now() == 60);
    }
    assert_eq!(clients.end(), 60);
}

#[test]
fn a_process_that_falls_silent_gets_no_session_later() {
    let process = Process::first(with_workers(echo(), 1));
    let clients = Clients::start(20, process.address(), |client| 10 + client * 3000);
    clients.go_on(20);
    let (ours, theirs) = pair().unwrap();
    let given = std::thread::scope(|scope| {
        let silent = scope.spawn(|| {
            let wire = Wire::new(theirs, 4 * PATIENCE).unwrap();
            wire.send(&ToOld::Hello(VERSION), &[]).unwrap();
            let _known = wire.receive::<ToNew>().unwrap();
            wire.send(&ToOld::Prepared, &[]).unwrap();
            let _quiet = wire.receive::<ToNew>().unwrap();
            let sessions = wire.receive::<ToNew>().unwrap();
            // Until the other one has had enough.
            assert!(matches!(wire.receive::<ToNew>(), Err(WireError::Closed)));
            assert!(wire.send(&ToOld::Taken(Vec::new()), &[]).is_err());
            drop(sessions);
        });
        let given = give(&process.workers, &process.live, &process.listeners, &[], ours);
        silent.join().unwrap();
        given
    });
    assert!(matches!(given, Err(HandoverError::Wire(WireError::TimedOut))));
    clients.go_on(60);
    assert_eq!(clients.end(), 20);
}

#[test]
fn a_process_that_speaks_another_version_gets_nothing() {
    let process = Process::first(with_workers(echo(), 1));
    let (ours, theirs) = pair().unwrap();
    let wire = Wire::new(theirs, PATIENCE).unwrap();
    wire.send(&ToOld::Hello(VERSION + 1), &[]).unwrap();
    let refused = give(&process.workers, &process.live, &process.listeners, &[], ours);
    assert!(matches!(refused, Err(HandoverError::Version(version)) if version == VERSION + 1));
}

#[test]
fn sessions_that_have_no_place_in_the_new_configuration_stay_where_they_are() {
    let server = echo();
    let process = Process::first(with_workers(server, 1));
    let clients = Clients::start(5, process.address(), |_| 100);
    clients.go_on(5);
    let mut changed = with_workers(server, 1);
    let backend = Arc::get_mut(&mut changed.backends[0]).unwrap();
    Arc::get_mut(&mut backend.servers[0]).unwrap().name = "another".to_owned();
    let (next, given, adopted) = process.succeed(changed);
    assert_eq!(
        (given.sessions, given.left, adopted.refused),
        (0, 5, adopted.refused)
    );
    assert!(adopted.refused >= 5);
    clients.go_on(20);
    assert_eq!(process.live.connections.now(), 5);
    assert_eq!(next.live.connections.now(), 0);
    assert_eq!(clients.end(), 5);
}

#[test]
fn a_connection_without_its_server_is_not_taken() {
    let process = Process::first(with_workers(echo(), 1));
    let clients = Clients::start(1, process.address(), |_| 100);
    clients.go_on(1);
    let ((old, to_old), (to_new, new)) = (pair().unwrap(), pair().unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| give(&process.workers, &process.live, &process.listeners, &[], old));
        scope.spawn(|| {
            let mut inherited = take(new).unwrap();
            let live = inherited.live(Arc::new(with_workers(process.address(), 1)));
            let (_, socket) = inherited.sockets.pop().unwrap();
            let next = Process::with(live, socket);
            let adopted = inherited.adopt(&next.live, &next.workers, &next.listeners, || {});
            assert!(adopted.is_err());
        });
        // Who stands between both changes what they say.
        let [to_old, to_new] = [to_old, to_new].map(|socket| Wire::new(socket, PATIENCE).unwrap());
        for _ in 0..2 {
            to_old.send(&to_new.receive::<ToOld>().unwrap().0, &[]).unwrap();
            let (message, sockets) = to_old.receive::<ToNew>().unwrap();
            let sockets: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
            to_new.send(&message, &sockets).unwrap();
        }
        let (ToNew::Sessions(mut records), sockets) = to_old.receive::<ToNew>().unwrap() else {
            panic!("sessions come first");
        };
        records[0].server = None;
        to_new
            .send(&ToNew::Sessions(records), &[sockets[0].as_fd()])
            .unwrap();
        let (answer, _) = to_new.receive::<ToOld>().unwrap();
        assert!(matches!(answer, ToOld::Taken(refused) if refused == [0]));
    });
    clients.go_on(3);
    assert_eq!(clients.end(), 1);
}

#[test]
fn servers_are_as_they_were_and_clients_belong_where_they_did() {
    use warren_balance::health::{Input, State as Health};
    use warren_balance::{Admin, Key};
    let servers: Vec<SocketAddr> = (0..3).map(|_| echo()).collect();
    let plan = || {
        let mut plan = testing::plan(&servers);
        let backend = Arc::get_mut(&mut plan.backends[0]).unwrap();
        backend.stick = Some(plan::Stick {
            size: 10,
            expire: None,
        });
        plan
    };
    let process = Process::first(plan());
    let backend = Arc::clone(&process.live.snapshot().backends[0]);
    let now = process.live.time(Instant::now());
    let tell = |server: usize, input: &Input| {
        let servers = backend.servers();
        servers[server].operational.lock().health.handle(now, input);
    };
    tell(0, &Input::Admin(Admin::Maint));
    tell(1, &Input::Weight(7_u32.try_into().unwrap()));
    backend.servers()[1].maxconn.store(9, Relaxed);
    tell(2, &Input::Admin(Admin::Drain));
    let key = Key::from(std::net::IpAddr::from([10, 0, 0, 1]));
    let mut stick = backend.stick.lock();
    stick.as_mut().unwrap().set_gpc0(now, &key, 2).unwrap();
    drop(stick);
    process.live.snapshot().frontends[0].maxconn.store(77, Relaxed);

    let begun = Instant::now();
    let (next, _, _) = process.succeed(plan());
    let took = begun.elapsed();
    let backend = Arc::clone(&next.live.snapshot().backends[0]);
    let states: Vec<Health> = backend.servers().iter().map(|server| server.state()).collect();
    assert_eq!(states, [Health::Maint, Health::Up, Health::Drain]);
    assert_eq!(backend.servers()[1].operational.lock().health.weight(), 7);
    assert_eq!(backend.servers()[1].maxconn.load(Relaxed), 9);
    assert_eq!(backend.usable(), 1);
    let now = next.live.time(Instant::now());
    let known = backend.stick.lock().as_ref().unwrap().get(now, &key);
    assert_eq!(known.map(|known| known.gpc0), Some(2));
    assert_eq!(next.live.snapshot().frontends[0].maxconn.load(Relaxed), 77);
    // Its age was some time on its way.
    assert!(next.live.started() <= process.live.started() + took);
}

#[test]
fn an_amqp_connection_that_moved_within_a_frame_can_still_be_ended_politely() {
    let broker = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = broker.local_addr().unwrap();
    let plan = || {
        let mut plan = testing::plan(&[address]);
        Arc::get_mut(&mut plan.frontends[0]).unwrap().mode = Mode::Amqp;
        Arc::get_mut(&mut plan.backends[0]).unwrap().mode = Mode::Amqp;
        plan
    };
    let process = Process::first(plan());
    let mut client = TcpStream::connect(process.address()).unwrap();
    client.write_all(&handshake(60)[0].1).unwrap();
    let (mut server, _) = broker.accept().unwrap();
    server.read_exact(&mut [0; 8]).unwrap();
    for (from, octets) in handshake(60).into_iter().skip(1) {
        let (from, to) = match from {
            warren_amqp::handshake::Direction::FromClient => (&mut client, &mut server),
            warren_amqp::handshake::Direction::FromServer => (&mut server, &mut client),
        };
        from.write_all(&octets).unwrap();
        to.read_exact(&mut vec![0; octets.len()]).unwrap();
    }
    let body = frame(warren_amqp::FrameKind::Body, 1, &[7; 100]);
    server.write_all(&body[..50]).unwrap();
    client.read_exact(&mut [0; 50]).unwrap();

    let (next, given, _) = process.succeed(plan());
    assert_eq!(given.sessions, 1);
    let how = Ending::Politely {
        cause: Cause::Killed,
        deadline: Duration::from_secs(60),
        rate: 100.try_into().unwrap(),
        within: None,
    };
    let scope = Scope::All;
    next.workers.broadcast(&Command::End(End { scope, how }));
    server.write_all(&body[50..]).unwrap();
    let mut rest = vec![0; body.len() - 50];
    client.read_exact(&mut rest).unwrap();
    assert_eq!(rest, &body[50..]);
    let mut close = [0; 11];
    client.read_exact(&mut close).unwrap();
    assert_eq!((close[0], &close[7..]), (1, &[0, 10, 0, 50][..]));
    client
        .write_all(&method(warren_amqp::connection::CloseOk {}))
        .unwrap();
    let mut close = [0; 13];
    server.read_exact(&mut close).unwrap();
    assert_eq!(close[7..], [0, 10, 0, 50, 0, 200]);
}

#[test]
fn a_client_of_mode_http_moves_between_two_requests() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in server.incoming() {
            std::thread::spawn(|| {
                let mut stream = stream.unwrap();
                let mut request = Vec::new();
                while stream.read_exact(&mut [0]).is_ok_and(|()| {
                    request.push(0);
                    true
                }) {
                    // Requests have a known length here.
                    if request.len() == ASKED.len() {
                        request.clear();
                        stream.write_all(ANSWER).unwrap();
                    }
                }
            });
        }
    });
    const ASKED: &[u8] = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n";
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let plan = || {
        let mut plan = testing::plan(&[address]);
        Arc::get_mut(&mut plan.frontends[0]).unwrap().mode = Mode::Http;
        Arc::get_mut(&mut plan.backends[0]).unwrap().mode = Mode::Http;
        plan
    };
    let ask = |client: &mut TcpStream| {
        client.write_all(ASKED).unwrap();
        let mut answer = vec![0; ANSWER.len()];
        client.read_exact(&mut answer).unwrap();
        assert!(answer.ends_with(b"ok"), "{}", String::from_utf8_lossy(&answer));
    };
    let process = Process::first(plan());
    let mut client = TcpStream::connect(process.address()).unwrap();
    ask(&mut client);
    let (next, given, _) = process.succeed(plan());
    assert_eq!((given.sessions, given.left), (1, 0));
    ask(&mut client);
    let frontend = Arc::clone(&next.live.snapshot().frontends[0]);
    assert_eq!(frontend.tally.totals().requests, 2);
}

#[test]
fn whoever_waits_for_a_server_goes_on_waiting_in_the_new_process() {
    let server = echo();
    let plan = || {
        let mut plan = with_workers(server, 1);
        let backend = Arc::get_mut(&mut plan.backends[0]).unwrap();
        Arc::get_mut(&mut backend.servers[0]).unwrap().maxconn = Some(1.try_into().unwrap());
        plan
    };
    let process = Process::first(plan());
    let echoes = |client: &mut TcpStream| {
        client.write_all(b"x").unwrap();
        client.read_exact(&mut [0]).unwrap();
    };
    let mut first = TcpStream::connect(process.address()).unwrap();
    echoes(&mut first);
    let mut second = TcpStream::connect(process.address()).unwrap();
    let backend = Arc::clone(&process.live.snapshot().backends[0]);
    let queued = |backend: &live::Backend| backend.servers()[0].queued.now() + backend.queued.now();
    eventually(|| queued(&backend) == 1);
    let (next, given, _) = process.succeed(plan());
    assert_eq!(given.sessions, 2);
    let backend = Arc::clone(&next.live.snapshot().backends[0]);
    eventually(|| queued(&backend) == 1);
    echoes(&mut first);
    drop(first);
    echoes(&mut second);
    assert_eq!(backend.servers()[0].sessions.now(), 1);
}

/// Waits until it is so.
fn eventually(mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !so() {
        assert!(Instant::now() < deadline, "it has not come to be so");
        std::thread::sleep(Duration::from_millis(1));
    }
}
