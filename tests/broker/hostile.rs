//! Clients out to do harm, as many and as loud as one machine can have, and a bystander who publishes meanwhile: he waits for
//! his confirms as long as in a quiet time, the broker needs no more memory than each attack is allowed, and when it is over nobody is
//! left.

mod handshakes;
mod octets;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit};
use socket2::{Domain, Socket, Type};

use super::bystander::{Attacker, Field, Limit, PATIENCE};
use super::disk::Disk;

/// Attackers at the same time: more than the broker has threads.
const ATTACKERS: usize = 3;

/// A connection that takes little from who does not read it.
fn connect(at: SocketAddr) -> TcpStream {
    connect_from(Ipv4Addr::LOCALHOST, at)
}

/// The same from another address of this host.
fn connect_from(from: Ipv4Addr, at: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    if from != Ipv4Addr::LOCALHOST {
        socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    }
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&at.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// What the broker says to these octets until it hangs up.
fn answers(mut stream: TcpStream, octets: &[u8]) -> Vec<u8> {
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

/// Each of them says these one after another, each on a connection of its own. Every one has to lead to its text, or to nothing but an
/// end.
fn one_after_another(at: SocketAddr, said: &[octets::Said]) -> Vec<Attacker<'_>> {
    let attacker = |number: usize| {
        let mut turn = number * said.len() / ATTACKERS;
        Box::new(move || {
            let (name, octets, expected) = &said[turn % said.len()];
            turn += 1;
            let heard = answers(connect(at), octets);
            let heard = String::from_utf8_lossy(&heard);
            let expected = expected.unwrap_or_default();
            assert!(
                heard.contains(expected),
                "{name}: {expected:?} is not in {heard:?}"
            );
        }) as Attacker<'_>
    };
    (0..ATTACKERS).map(attacker).collect()
}

/// Each of them has one connection, and says all of it on it, again and again as soon as the broker has done it.
fn on_and_on(at: SocketAddr, before: &[u8], said: &[u8]) -> Vec<Attacker<'static>> {
    let attacker = |_| {
        let mut stream = connect(at);
        stream
            .write_all(&[&octets::open(), before, &octets::are_you_there()].concat())
            .unwrap();
        octets::await_yes(&mut stream);
        let said = [said, &octets::are_you_there()].concat();
        Box::new(move || {
            stream.write_all(&said).unwrap();
            octets::await_yes(&mut stream);
        }) as Attacker<'static>
    };
    (0..ATTACKERS).map(attacker).collect()
}

#[test]
fn frames_that_lie_cost_nothing_but_their_connection() {
    let (_directory, mut field) = Field::new("[broker]\n");
    let said = octets::frames();
    field.endures(
        "frames",
        32 << 20,
        Limit::INTACT,
        one_after_another(field.at, &said),
    );
}

#[test]
fn tables_that_are_deep_or_lie_cost_nothing_but_their_connection() {
    let (_directory, mut field) = Field::new("[broker]\n");
    let said = octets::tables();
    field.endures(
        "tables",
        32 << 20,
        Limit::INTACT,
        one_after_another(field.at, &said),
    );
}

#[test]
fn channels_that_are_not_there_cost_nothing_but_their_connection() {
    let (_directory, mut field) = Field::new("[broker]\n");
    let said = octets::channels();
    field.endures(
        "channels",
        32 << 20,
        Limit::INTACT,
        one_after_another(field.at, &said),
    );
}

#[test]
fn whoever_says_much_on_one_connection_has_no_more_than_his_turn() {
    let (_directory, mut field) = Field::new("[broker]\n");
    for (name, before, said) in octets::floods() {
        let attackers = on_and_on(field.at, &before, &said);
        field.endures(name, 64 << 20, Limit::after_turns(ATTACKERS as u64), attackers);
    }
}

#[test]
fn whoever_waits_for_a_slow_disk_waits_alone() {
    let (_directory, mut field) = Field::with("[broker]\n", |directory, broker| {
        let disk = Disk::new(directory);
        disk.lingers();
        disk.put_under(broker);
    });
    for (name, before, said) in octets::writers() {
        let attackers = on_and_on(field.at, &before, &said);
        field.endures(name, 64 << 20, Limit::INTACT, attackers);
    }
}

#[test]
fn messages_for_many_queues_are_put_there_a_few_at_a_time() {
    let (_directory, mut field) = Field::new("[broker]\n");
    let (before, said) = octets::fan();
    // What becomes of messages that have no room any more is done by other threads, which share the core with him.
    let limit = Limit::in_crowd_of(4 * ATTACKERS as u64);
    let attackers = on_and_on(field.at, &before, &said);
    field.endures("messages for many queues", 64 << 20, limit, attackers);
}

#[test]
fn octets_that_come_one_by_one_cost_others_nothing() {
    /// Connections of each attacker. Half of them are open when it begins.
    const EACH: usize = 100;
    /// How long an octet is waited for.
    const PAUSE: Duration = Duration::from_millis(2);
    let (_directory, mut field) = Field::new("[broker]\n");
    let (hello, message) = (octets::open(), octets::lost_message());
    let attacker = |_| {
        let begin = |number: usize| {
            let mut stream = connect(field.at);
            if number.is_multiple_of(2) {
                stream.write_all(&hello).unwrap();
            }
            let said = match number.is_multiple_of(2) {
                true => &message,
                false => &hello,
            };
            (stream, said.iter().chain(message.iter().cycle()))
        };
        let mut all: Vec<_> = (0..EACH).map(begin).collect();
        Box::new(move || {
            for (stream, said) in &mut all {
                stream.write_all(&[*said.next().unwrap()]).unwrap();
            }
            thread::sleep(PAUSE);
        }) as Attacker<'_>
    };
    let attackers = (0..ATTACKERS).map(attacker).collect();
    field.endures("octet by octet", 32 << 20, Limit::INTACT, attackers);
}

#[test]
fn whoever_tries_passwords_costs_others_nothing() {
    for hashing in ["sha256", "argon2id"] {
        let (_directory, mut field) = Field::new(&format!("[broker]\npassword_hashing = \"{hashing}\"\n"));
        let (said, attempts) = (octets::wrong_password(), &AtomicU32::new(0));
        let attacker = |_| {
            let (at, said) = (field.at, &said);
            Box::new(move || {
                // Who failed from one address waits longer each time.
                let address = Ipv4Addr::from_bits(0x7f01_0000 + attempts.fetch_add(1, Ordering::Relaxed));
                let heard = answers(connect_from(address, at), said);
                let heard = String::from_utf8_lossy(&heard);
                assert!(heard.contains("ACCESS_REFUSED"), "{heard:?}");
            }) as Attacker<'_>
        };
        let attackers = (0..ATTACKERS).map(attacker).collect();
        field.endures(hashing, 256 << 20, Limit::INTACT, attackers);
    }
}

#[test]
fn handshakes_that_lead_nowhere_cost_nothing_but_their_connection() {
    let proxy = Ipv4Addr::new(127, 0, 0, 2);
    let (_directory, mut field) = Field::new("[broker]\nproxies = [\"127.0.0.2\"]\n");
    let said = octets::introductions();
    let attacker = |number: usize| {
        let (mut turn, said, at) = (number, &said, field.at);
        Box::new(move || {
            answers(connect_from(proxy, at), &said[turn % said.len()]);
            turn += 1;
        }) as Attacker<'_>
    };
    let attackers = (0..ATTACKERS).map(attacker).collect();
    field.endures("introductions", 32 << 20, Limit::INTACT, attackers);
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
    let (at, said) = (field.at, octets::half_a_hello());
    let come = || {
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
        streams
    };
    let stay = |streams: &mut Vec<TcpStream>| {
        // An octet now and then is no hello either.
        for stream in streams.iter_mut().step_by(said.len()) {
            let _ = stream.write(b"A");
        }
    };
    let streams = field.bears("half open", count * EACH, 1, come, stay);
    for mut stream in streams {
        let mut heard = Vec::new();
        // Cut off, however that looks.
        if let Err(error) = stream.read_to_end(&mut heard) {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
        }
    }
}

#[test]
fn who_never_reads_is_not_heard_any_more() {
    /// Clients, and octets of memory for each: what waits for it, twice as long as it may become, since one half is being written.
    const COUNT: u64 = 24;
    const EACH: u64 = 9 << 20;
    let (_directory, mut field) = Field::new("[broker]\n");
    let lost = octets::lost_message().repeat(100);
    let at = field.at;
    let come = || {
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
        deaf
    };
    field.bears("never reading", COUNT * EACH, COUNT, come, |_| ());
}

#[test]
fn five_thousand_connections_that_come_and_end_at_once_hold_up_nobody() {
    const COUNT: u64 = 5000;
    /// Octets of memory for each, with a channel, a queue and a consumer.
    const EACH: u64 = 32 * 1024;
    let (_directory, mut field) = Field::new("[broker]\n");
    let said = octets::queue_of_his_own();
    let at = field.at;
    let come = || {
        let mut streams = Vec::new();
        for _ in 0..COUNT {
            let mut stream = connect(at);
            stream.write_all(&said).unwrap();
            streams.push(stream);
        }
        streams.iter_mut().for_each(octets::await_consume_ok);
        streams
    };
    let streams = field.bears("five thousand", COUNT * EACH, 20, come, |_| ());
    field.is_left("five thousand", streams);
}
