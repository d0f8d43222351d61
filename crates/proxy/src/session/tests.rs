//! Whole sessions: workers with a plan made by hand, clients and servers on loopback.

mod bench;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use self::bench::{Bench, eventually};
use crate::record::{Cause, Phase};

#[test]
fn octets_pass_both_ways_and_the_log_says_so() {
    let bench = Bench::new(1, |_| {});
    let mut client = bench.connect();
    let mut server = bench.accept(0);
    client.write_all(b"question").unwrap();
    assert_eq!(bench::read(&mut server, 8), b"question");
    server.write_all(b"the answer").unwrap();
    assert_eq!(bench::read(&mut client, 10), b"the answer");
    drop(server);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    drop(client);
    let line = bench.line();
    assert_eq!((line.bytes_in, line.bytes_out), (8, 10));
    assert_eq!(line.termination(), "--");
    assert_eq!(
        (
            line.frontend.as_str(),
            line.backend.as_str(),
            line.server.as_str()
        ),
        ("front", "back", "server1")
    );
    let totals = bench.backend().tally.totals();
    assert_eq!((totals.bytes_in, totals.bytes_out, totals.sessions), (8, 10, 1));
    bench.is_empty();
}

#[test]
fn a_direction_that_is_closed_leaves_the_other_one_open() {
    let bench = Bench::new(1, |_| {});
    for client_first in [true, false] {
        let client = bench.connect();
        let server = bench.accept(0);
        let (mut first, mut second) = if client_first {
            (client, server)
        } else {
            (server, client)
        };
        first.write_all(b"all I have").unwrap();
        first.shutdown(Shutdown::Write).unwrap();
        let mut all = Vec::new();
        second.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"all I have");
        second.write_all(b"still here").unwrap();
        assert_eq!(bench::read(&mut first, 10), b"still here");
        drop(second);
        assert_eq!(first.read(&mut [0]).unwrap(), 0);
        assert_eq!(bench.line().termination(), "--");
    }
    bench.is_empty();
}

#[test]
fn a_client_whose_servers_refuse_is_closed_after_the_retries() {
    let bench = Bench::new(1, |plan| {
        bench::backend(plan).retries = 1;
        bench::backend(plan).timeouts.connect = Some(std::time::Duration::from_millis(50));
    });
    bench.refuse(0);
    let mut client = bench.connect();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    let line = bench.line();
    assert_eq!(
        (line.termination.cause, line.termination.phase),
        (Cause::ServerAborted, Phase::Connect)
    );
    assert_eq!((line.retries, line.redispatched), (1, false));
    let totals = bench.backend().tally.totals();
    assert_eq!((totals.retries, totals.connect_errors), (1, 1));
    bench.is_empty();
}

#[test]
fn a_megabyte_comes_whole_through_small_windows() {
    let bench = Bench::new(1, |_| {});
    let client = bench.connect();
    let server = bench.accept(0);
    let octets: Vec<u8> = (0..4_000_000_u32).map(|number| (number / 7) as u8).collect();
    let send = |mut to: TcpStream, octets: Vec<u8>| {
        std::thread::spawn(move || {
            to.write_all(&octets).unwrap();
            to.shutdown(Shutdown::Write).unwrap();
        })
    };
    let senders = [
        send(client.try_clone().unwrap(), octets.clone()),
        send(server.try_clone().unwrap(), octets.clone()),
    ];
    let receivers = [client, server].map(|mut from| {
        std::thread::spawn(move || {
            let mut all = Vec::new();
            from.read_to_end(&mut all).unwrap();
            all
        })
    });
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    for receiver in receivers {
        assert!(receiver.join().unwrap() == octets);
    }
    assert_eq!(bench.line().termination(), "--");
    eventually(|| bench.live.connections.now() == 0);
}
