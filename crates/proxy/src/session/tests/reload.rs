//! Another configuration while sessions of every kind live: they go on, and where they go next is what its name says.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use warren_balance::Algorithm;
use warren_balance::health::State;

use super::bench::{self, Bench, eventually, patient, read};
use crate::plan::{
    self, BackendName, Condition, Mode, Pattern, Plan, ProxyId, Sample, Stick, Switch, SwitchTo, Term, Test,
    testing,
};
use crate::record::Cause;
use crate::tls::Keyring;
use crate::worker::{Command, End, Ending, Scope};

const HEADER: &[u8] = b"AMQP\0\0\x09\x01";

/// Backends of these names, each with these of the bench's servers, named after their places in the bench: `s0`.
type Arranged<'a> = &'a [(&'a str, &'a [usize])];

/// The frontend leads to `web`.
fn arrange(plan: &mut Plan, mode: Mode, addresses: &[SocketAddr], arranged: Arranged<'_>) {
    let server = |(place, id): (&usize, u32)| {
        Arc::new(plan::Server {
            name: format!("s{place}"),
            ..testing::server(id, addresses[*place])
        })
    };
    let backend = |((name, servers), id): (&(&str, &[usize]), u32)| {
        Arc::new(plan::Backend {
            name: (*name).to_owned(),
            id: ProxyId(id),
            mode,
            ..testing::backend(servers.iter().zip(1..).map(server).collect())
        })
    };
    plan.backends = arranged.iter().zip(2..).map(backend).collect();
    let front = bench::frontend(plan);
    front.mode = mode;
    front.default_backend = Some(BackendName::new("web"));
}

fn addresses(plan: &Plan) -> Vec<SocketAddr> {
    let address = |server: &Arc<plan::Server>| match server.address {
        plan::HostAddress::Ip(address) => address,
        _ => unreachable!("servers of the bench have addresses"),
    };
    plan.backends[0].servers.iter().map(address).collect()
}

/// What a test changes in every backend of its plans.
type Change = fn(&mut plan::Backend);

fn change_all(plan: &mut Plan, change: Change) {
    for backend in &mut plan.backends {
        change(Arc::make_mut(backend));
    }
}

/// A bench whose configuration is read again and again.
struct Changing {
    bench: Bench,
    mode: Mode,
    addresses: Vec<SocketAddr>,
    change: Change,
}

impl Changing {
    fn new(mode: Mode, servers: usize, arranged: Arranged<'_>, change: Change) -> Self {
        let mut found = Vec::new();
        let bench = Bench::new(servers, |plan| {
            found = addresses(plan);
            arrange(plan, mode, &found, arranged);
            change_all(plan, change);
        });
        Self {
            bench,
            mode,
            addresses: found,
            change,
        }
    }

    fn plan(&self, arranged: Arranged<'_>) -> Plan {
        let mut plan = testing::plan(&[]);
        arrange(&mut plan, self.mode, &self.addresses, arranged);
        change_all(&mut plan, self.change);
        plan
    }

    fn reload(&self, arranged: Arranged<'_>) {
        self.reload_to(self.plan(arranged));
    }

    /// What the daemon does.
    fn reload_to(&self, plan: Plan) {
        let live = &self.bench.live;
        let snapshot = live.replace(Arc::new(plan), &Keyring::default());
        for backend in &snapshot.backends {
            backend.refresh(live.time(std::time::Instant::now()));
            self.bench.workers.serve_queue(backend);
        }
        self.bench.workers.broadcast(&Command::Reloaded);
    }

    fn server(&self, name: &str) -> Arc<crate::live::Server> {
        let snapshot = self.bench.live.snapshot();
        snapshot.backend_named("web").unwrap().server_named(name).unwrap()
    }

    /// So many of `web`'s clients wait, for any server and for these.
    fn waiting(&self, anybody: u32, servers: &[(&str, u32)]) {
        eventually(|| {
            let snapshot = self.bench.live.snapshot();
            let backend = snapshot.backend_named("web").unwrap();
            backend.queued.now() == anybody
                && servers
                    .iter()
                    .all(|(name, count)| self.server(name).queued.now() == *count)
        });
    }
}

fn one_each(backend: &mut plan::Backend) {
    for server in &mut backend.servers {
        Arc::make_mut(server).maxconn = Some(testing::number(1));
    }
}

/// What one says reaches the other.
fn pass(from: &mut TcpStream, to: &mut TcpStream, text: &[u8]) {
    from.write_all(text).unwrap();
    assert_eq!(read(to, text.len()), text);
}

/// The rest of a request, which a new connection to the first server brings, and its answer.
fn served(changing: &Changing, client: &mut TcpStream, rest: &[u8]) {
    client.write_all(rest).unwrap();
    answer(&mut changing.bench.accept(0), client);
}

fn answer(server: &mut TcpStream, client: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.extend(read(server, 1));
    }
    pass(server, client, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
}

#[test]
fn requests_go_to_the_backend_of_the_name_whatever_becomes_of_its_place() {
    const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let changing = Changing::new(Mode::Http, 3, &[("web", &[0])], |backend| {
        backend.server_close = true
    });
    // One between two requests, one in the middle of a head, one whose request is under way.
    let [mut between, mut half, mut asked] = [(); 3].map(|()| changing.bench.connect());
    served(&changing, &mut between, ASK);
    half.write_all(&ASK[..20]).unwrap();
    asked.write_all(ASK).unwrap();
    let mut asked_server = changing.bench.accept(0);
    changing.reload(&[("other", &[1]), ("web", &[0]), ("more", &[2])]);
    answer(&mut asked_server, &mut asked);
    served(&changing, &mut half, &ASK[20..]);
    served(&changing, &mut between, ASK);
    // The frontend is no more. Who came in by it has what it led to, for as long as there is a backend of that name.
    let mut without = changing.plan(&[("other", &[1]), ("more", &[2]), ("web", &[0])]);
    without.frontends = Vec::new();
    changing.reload_to(without);
    served(&changing, &mut between, ASK);
    served(&changing, &mut half, ASK);
    let mut without = changing.plan(&[("other", &[1])]);
    without.frontends = Vec::new();
    changing.reload_to(without);
    between.write_all(ASK).unwrap();
    assert_eq!(read(&mut between, 12), b"HTTP/1.1 503");
}

#[test]
fn what_was_upgraded_goes_on_without_its_server_in_the_configuration() {
    const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n";
    const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n";
    let changing = Changing::new(Mode::Http, 2, &[("web", &[0])], |_| {});
    let mut client = changing.bench.connect();
    client.write_all(ASK).unwrap();
    let mut server = changing.bench.accept(0);
    assert_eq!(read(&mut server, ASK.len()), ASK);
    pass(&mut server, &mut client, SWITCH);
    let arrangements: [Arranged<'_>; 3] = [&[("web", &[1])], &[("other", &[1, 0])], &[]];
    for arranged in arrangements {
        changing.reload(arranged);
        pass(&mut client, &mut server, b"one way");
        pass(&mut server, &mut client, b"and the other");
    }
}

#[test]
fn an_amqp_client_that_has_said_nothing_yet_gets_a_server_of_the_configuration_that_holds() {
    let redispatch: Change = |backend| backend.redispatch = Some(1);
    let changing = Changing::new(Mode::Amqp, 3, &[("web", &[0, 1])], redispatch);
    let mut client = changing.bench.connect();
    let first = changing.bench.accept(0);
    changing.reload(&[("other", &[0]), ("web", &[2])]);
    drop(first);
    let mut second = changing.bench.accept(2);
    pass(&mut client, &mut second, HEADER);
}

#[test]
fn who_waits_gets_a_slot_of_a_server_that_is_there_and_none_of_one_that_is_not() {
    let changing = Changing::new(Mode::Tcp, 3, &[("web", &[0, 1])], one_each);
    let bench = &changing.bench;
    let [mut first, mut second] = [(); 2].map(|()| bench.connect());
    let (mut at_first, mut at_second) = (bench.accept(0), bench.accept(1));
    pass(&mut first, &mut at_first, b"1");
    pass(&mut second, &mut at_second, b"2");
    let mut third = bench.connect();
    changing.waiting(1, &[]);
    // The second is number 1 now, as the first was, and has as many clients as it may.
    changing.reload(&[("web", &[1, 2])]);
    let mut at_third = bench.accept(2);
    pass(&mut third, &mut at_third, b"3");
    let mut fourth = bench.connect();
    changing.waiting(1, &[]);
    drop((first, at_first));
    eventually(|| bench.live.connections.now() == 3);
    assert_eq!(bench.line().server, "s0");
    assert_eq!(bench.backend().queued.now(), 1);
    pass(&mut second, &mut at_second, b"still");
    drop((second, at_second));
    let mut at_fourth = bench.accept(1);
    pass(&mut fourth, &mut at_fourth, b"4");
}

/// All clients have one address, so all belong to the same server.
#[test]
fn who_waits_for_a_server_that_is_gone_waits_for_any_and_for_one_that_stays_still_for_that() {
    let by_address: Change = |backend| {
        backend.balance.algorithm = Algorithm::MapHash;
        one_each(backend);
    };
    let changing = Changing::new(Mode::Tcp, 3, &[("web", &[0, 1])], by_address);
    let bench = &changing.bench;
    let first = bench.connect();
    eventually(|| bench.backend().sessions.now() == 1);
    let busy = usize::from(changing.server("s1").sessions.now() == 1);
    let at_first = bench.accept(busy);
    let name = format!("s{busy}");
    let mut second = bench.connect();
    changing.waiting(0, &[(&name, 1)]);
    // Its number is another, and it is the same server.
    changing.reload(&[("web", &[2, 1 - busy, busy])]);
    changing.waiting(0, &[(&name, 1)]);
    changing.reload(&[("web", &[1 - busy])]);
    let mut at_second = bench.accept(1 - busy);
    pass(&mut second, &mut at_second, b"2");
    // Who waits for one that is gone may leave as well.
    let third = bench.connect();
    changing.waiting(0, &[(&format!("s{}", 1 - busy), 1)]);
    changing.reload(&[("web", &[])]);
    changing.waiting(1, &[]);
    drop(third);
    changing.waiting(0, &[]);
    drop((first, at_first, second, at_second));
    bench.is_empty();
}

#[test]
fn a_server_that_has_kept_its_name_is_the_same_wherever_its_line_stands() {
    let remembers: Change = |backend| {
        backend.stick = Some(Stick {
            size: 10,
            expire: None,
        })
    };
    let changing = Changing::new(Mode::Tcp, 3, &[("web", &[0, 1])], remembers);
    let bench = &changing.bench;
    let backend = bench.backend();
    let [first, second] = ["s0", "s1"].map(|name| changing.server(name));
    // The client belongs to the second.
    let now = bench.live.time(std::time::Instant::now());
    backend.stick_to(
        now,
        &warren_balance::Key::from(std::net::IpAddr::from([127, 0, 0, 1])),
        &second,
    );
    let mut client = bench.connect();
    let mut at_second = bench.accept(1);
    pass(&mut client, &mut at_second, b"x");
    first.operational.lock().health.handle(
        now,
        &warren_balance::health::Input::Health(warren_balance::health::Operation::Stopped),
    );
    changing.reload(&[("other", &[2]), ("web", &[2, 1, 0])]);
    assert!(Arc::ptr_eq(&second, &changing.server("s1")) && Arc::ptr_eq(&first, &changing.server("s0")));
    assert_eq!((first.id().0, second.id().0), (3, 2));
    assert_eq!((first.state(), second.sessions.now()), (State::Down, 1));
    changing.reload(&[("web", &[1, 2])]);
    assert_eq!((second.id().0, second.sessions.now()), (1, 1));
    // And it is still the one that the client belongs to, and whose sessions an operator means.
    let mut again = bench.connect();
    let mut at_second_again = bench.accept(1);
    pass(&mut again, &mut at_second_again, b"y");
    let end = |server| {
        let how = Ending::Now(Cause::Killed);
        let scope = Scope::Server(server);
        bench.workers.broadcast(&Command::End(End { scope, how }));
    };
    end(first);
    pass(&mut client, &mut at_second, b"z");
    end(second);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    assert_eq!(again.read(&mut [0]).unwrap(), 0);
}

/// Each server says its number to whoever comes and hangs up.
fn say_numbers(bench: &Bench, servers: usize, closed: &Arc<AtomicBool>) {
    for server in 0..servers {
        let (listener, closed) = (bench.listener(server), Arc::clone(closed));
        std::thread::spawn(move || {
            for stream in listener.incoming().take_while(|_| !closed.load(Relaxed)) {
                // Who has gone already needs no answer.
                let _gone = stream.and_then(|mut stream| stream.write_all(&[server as u8]));
            }
        });
    }
}

#[test]
fn reloads_at_any_moment_lead_nobody_to_a_stranger() {
    const SERVERS: usize = 4;
    const RELOADS: u32 = 300;
    let workers = |plan: &mut Plan| plan.global.threads = 3.try_into().unwrap();
    // `web` has the first two, whatever its place and theirs.
    let arrangements: [Arranged<'_>; 5] = [
        &[("web", &[0, 1])],
        &[("other", &[2]), ("web", &[1, 0])],
        &[("other", &[2]), ("more", &[3, 2]), ("web", &[1])],
        &[("more", &[3]), ("web", &[0]), ("other", &[2])],
        &[("web", &[1, 0]), ("more", &[2, 3])],
    ];
    let mut found = Vec::new();
    let bench = Bench::new(SERVERS, |plan| {
        workers(plan);
        found = addresses(plan);
        arrange(plan, Mode::Tcp, &found, arrangements[0]);
    });
    let [over, closed] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
    say_numbers(&bench, SERVERS, &closed);
    // A rule that asks for another backend, which may not be there, and one that leads to it if it has no server.
    let asks = |plan: &mut Plan| {
        if !plan.backends.iter().any(|backend| backend.name == "other") {
            return;
        }
        let other = BackendName::new("other");
        let test = Test {
            sample: Sample::NbSrv(other.clone()),
            ignore_case: false,
            patterns: vec![Pattern::Range(0, 0)],
        };
        bench::frontend(plan).switches = vec![Switch {
            backend: SwitchTo::Backend(other),
            condition: Condition {
                any: vec![vec![Term { negated: false, test }]],
                negated: false,
            },
        }];
    };
    let address = bench.address;
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let over = Arc::clone(&over);
            std::thread::spawn(move || {
                let mut served = 0;
                while !over.load(Relaxed) {
                    let mut stream = patient(TcpStream::connect(address).unwrap());
                    let number = read(&mut stream, 1)[0];
                    assert!(number < 2, "a server of another backend: {number}");
                    served += 1;
                }
                served
            })
        })
        .collect();
    for number in 0..RELOADS {
        let mut plan = testing::plan(&[]);
        workers(&mut plan);
        arrange(
            &mut plan,
            Mode::Tcp,
            &found,
            arrangements[number as usize * 7 % 5],
        );
        asks(&mut plan);
        let snapshot = bench.live.replace(Arc::new(plan), &Keyring::default());
        for backend in &snapshot.backends {
            bench.workers.serve_queue(backend);
        }
        bench.workers.broadcast(&Command::Reloaded);
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    over.store(true, Relaxed);
    let served: Vec<u32> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    assert!(served.iter().all(|count| *count > 0), "{served:?}");
    closed.store(true, Relaxed);
    for server in 0..SERVERS {
        drop(TcpStream::connect(bench.server_address(server)));
    }
    bench.is_empty();
}
