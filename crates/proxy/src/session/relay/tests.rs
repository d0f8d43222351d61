//! The relay between four sockets, driven step by step: whatever happens in whatever order, octets arrive whole and in
//! order, and both ends are closed once both have said so.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use proptest::prelude::*;
use socket2::{Domain, Socket, Type};
use tokio::sync::mpsc;

use super::*;
use crate::live::Live;
use crate::plan::{self, testing};
use crate::record::Record;
use crate::session::{Arrival, Session};
use crate::worker::Log;
use crate::worker::context::{Entrance, Peers};
use crate::worker::reactor::{Events, Named};

struct NoLog;

impl Log for NoLog {
    fn record(&mut self, _: &plan::Frontend, _: &Record<'_>) {}
    fn flush(&mut self) {}
    fn change(&mut self, _: &plan::Global) {}
}

/// A relay, its two connections, and who is at their other ends.
struct Between {
    relay: Relay,
    common: Common,
    context: Context,
    events: Events,
    /// Client and server.
    outside: [Socket; 2],
    /// What each has written, read, and whether it has closed its direction.
    written: [u64; 2],
    read: [u64; 2],
    closed: [bool; 2],
    over: bool,
}

/// The octets of the stream from a side, beginning at a place. They repeat after a prime number, so that nothing that is
/// lost or doubled goes unnoticed.
fn octets(from: usize, at: u64, count: usize) -> Vec<u8> {
    static CYCLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        (0..65_521_u64)
            .map(|at| (warren_balance::hash::mix(at) >> 9) as u8)
            .collect()
    });
    let start = (at + 1000 * from as u64) % CYCLE.len() as u64;
    let mut octets = Vec::with_capacity(count);
    let mut rest = &CYCLE[start as usize..];
    while octets.len() < count {
        let take = rest.len().min(count - octets.len());
        octets.extend_from_slice(&rest[..take]);
        rest = &CYCLE;
    }
    octets
}

impl Between {
    fn new(window: usize) -> Self {
        let live = Arc::new(Live::new(Arc::new(testing::plan(&[]))));
        let frontend = Arc::clone(&live.snapshot().frontends[0]);
        let entrance = Arc::new(Entrance {
            bind: Arc::new(frontend.plan().binds[0].clone()),
            frontend,
            tls: None,
            load: Arc::default(),
            socket: None,
        });
        let peers = Arc::new(Peers::new(Vec::new()));
        let (visits, _) = mpsc::channel(1);
        let mut context = Context::new(live, 0, peers, Box::new(NoLog), visits).unwrap();
        let [(client, ours), (server, theirs)] = [(); 2].map(|()| connected(window));
        let arrival = Arrival {
            socket: ours,
            address: None,
            entrance,
        };
        let mut common = Session::new(arrival, 0, &context).common;
        common.server = Some(Endpoint::connecting(theirs));
        context
            .reactor
            .add(&common.client, common.client_token())
            .unwrap();
        let token = common.next_link(&mut context.links);
        context
            .reactor
            .add(common.server.as_ref().unwrap(), token)
            .unwrap();
        Self {
            relay: Relay::default(),
            common,
            context,
            events: Events::default(),
            outside: [client, server],
            written: [0; 2],
            read: [0; 2],
            closed: [false; 2],
            over: false,
        }
    }

    /// Writes up to `count` octets from a side, as many as there is room for.
    fn write(&mut self, side: usize, count: usize) {
        if self.closed[side] {
            return;
        }
        match self.outside[side].write(&octets(side, self.written[side], count)) {
            Ok(count) => self.written[side] += count as u64,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }

    /// Reads up to `count` octets at a side and looks at each. False at the end of the stream.
    fn read(&mut self, side: usize, count: usize) -> bool {
        let mut found = vec![0; count];
        match self.outside[side].read(&mut found) {
            Ok(0) => return count == 0,
            Ok(count) => {
                let expected = octets(1 - side, self.read[side], count);
                assert!(found[..count] == expected, "from octet {} on", self.read[side]);
                self.read[side] += count as u64;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        true
    }

    fn close(&mut self, side: usize) {
        if !std::mem::replace(&mut self.closed[side], true) {
            self.outside[side].shutdown(Shutdown::Write).unwrap();
        }
    }

    /// One turn of a loop. False if nothing happened for a while.
    fn turn(&mut self, patience: Duration) -> bool {
        let ready = std::mem::take(&mut self.context.ready);
        let patience = if ready.is_empty() {
            patience
        } else {
            Duration::ZERO
        };
        let count = self
            .context
            .reactor
            .wait(&mut self.events, Some(patience))
            .unwrap();
        for (token, ready) in self.events.by_side() {
            match token.named() {
                Named::Client(_) => self.common.client.note(ready),
                Named::Server(..) => self.common.server.as_mut().unwrap().note(ready),
                other => panic!("{other:?}"),
            }
        }
        self.common.lined_up = false;
        let happened = count > 0 || !ready.is_empty();
        if happened && !self.over {
            self.over = self.relay.drive(&mut self.common, &mut self.context) == Flow::End;
        }
        happened
    }

    /// Both sides say what they have left, close, and read to the end. What the relay counted, and why it ended.
    fn finish(mut self) -> Finished {
        for side in [0, 1] {
            self.close(side);
        }
        for _ in 0..1_000_000 {
            self.turn(Duration::from_millis(1));
            for side in [0, 1] {
                self.read(side, 1 << 20);
            }
            if self.over {
                break;
            }
        }
        assert!(self.over, "{:?} {:?} {:?}", self.written, self.read, self.common);
        self.relay.finish(&mut self.context);
        let finished = Finished {
            counted: self.common.bytes,
            termination: self.common.termination,
            pipes: self.context.pipes.count().1,
            ..Finished::default()
        };
        // Both sockets are closed, but what is in them still arrives.
        drop(std::mem::replace(&mut self.common, Self::new(0).common));
        for side in [0, 1] {
            self.outside[side].set_nonblocking(false).unwrap();
            while self.read(side, 1 << 20) {}
        }
        Finished {
            written: self.written,
            read: self.read,
            ..finished
        }
    }
}

#[derive(Debug, Default)]
struct Finished {
    written: [u64; 2],
    read: [u64; 2],
    counted: [u64; 2],
    termination: Option<Termination>,
    pipes: usize,
}

/// A connection of two sockets that do not block. With a window they are unix sockets that hold about so many octets: what
/// TCP does when there is no room is a matter of timers.
fn connected(window: usize) -> (Socket, OwnedFd) {
    let (one, two) = if window > 0 {
        let (one, two) = Socket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
        for socket in [&one, &two] {
            socket.set_send_buffer_size(window).unwrap();
        }
        (one, two)
    } else {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (one.into(), listener.accept().unwrap().0.into())
    };
    for socket in [&one, &two] {
        socket.set_nonblocking(true).unwrap();
    }
    (one, two.into())
}

#[derive(Clone, Debug)]
enum Step {
    Write(usize, usize),
    Read(usize, usize),
    Turn,
    Close(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![1..200_usize, 1..20_000_usize, 30_000..400_000_usize];
    prop_oneof![
        6 => (0..2_usize, size.clone()).prop_map(|(side, size)| Step::Write(side, size)),
        4 => (0..2_usize, size).prop_map(|(side, size)| Step::Read(side, size)),
        8 => Just(Step::Turn),
        1 => (0..2_usize).prop_map(Step::Close),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn every_octet_arrives_in_order_whatever_happens_when(
        window in prop_oneof![Just(0_usize), Just(2_000), Just(100_000)],
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let mut between = Between::new(window);
        for step in steps {
            match step {
                Step::Write(side, count) => between.write(side, count),
                Step::Read(side, count) => {
                    between.read(side, count);
                }
                Step::Turn => {
                    between.turn(Duration::ZERO);
                }
                Step::Close(side) => between.close(side),
            }
        }
        let finished = between.finish();
        let read = [finished.read[1], finished.read[0]];
        prop_assert_eq!(finished.written, read, "everything written was read at the other end");
        prop_assert_eq!(finished.written, finished.counted);
        prop_assert_eq!(finished.termination, None);
        prop_assert_eq!(finished.pipes, 0, "all pipes were given back");
    }
}

#[test]
fn a_large_flow_is_moved_by_the_kernel_and_small_messages_are_not() {
    let mut between = Between::new(0);
    let flow = |between: &mut Between| {
        between.write(0, 1 << 20);
        between.turn(Duration::ZERO);
        between.read(1, 1 << 20);
    };
    let is_moved = |between: &Between| matches!(between.relay.methods[0], Method::Pipe { .. });
    // How much there is at a time, and so when it is seen to be large, is for the kernel to say.
    let begun = (0..1000).any(|_| {
        flow(&mut between);
        is_moved(&between)
    });
    assert!(begun);
    let before = (between.context.live.spliced(), between.written[0]);
    (0..200).for_each(|_| flow(&mut between));
    assert!(is_moved(&between));
    let (spliced, written) = (
        between.context.live.spliced() - before.0,
        between.written[0] - before.1,
    );
    assert!(spliced > written / 2, "{spliced} of {written}");
    while between.read[1] < between.written[0] {
        between.turn(Duration::from_millis(1));
        between.read(1, 1 << 20);
    }
    for _ in 0..20 {
        between.write(0, 100);
        between.write(1, 100);
        between.turn(Duration::from_millis(100));
    }
    assert_eq!(between.relay.methods[0], Method::default());
    let pipes = Arc::clone(&between.context.live.pipes[0]);
    between.finish();
    assert_eq!(pipes.used.load(Relaxed), 0);
    assert!(
        pipes.spare.load(Relaxed) > 0,
        "the pipe is kept, and the statistics know"
    );
}

#[test]
fn the_last_words_of_a_server_that_is_gone_are_for_the_client() {
    let mut between = Between::new(0);
    between.write(1, 1000);
    // What the server has not read makes its end a reset.
    between.write(0, 1);
    between.turn(Duration::from_millis(100));
    between.write(1, 1000);
    between.close(1);
    let [client, _] = [0, 1].map(|side| between.outside[side].try_clone().unwrap());
    between.outside[1] = client;
    for _ in 0..100 {
        between.write(0, 100);
        between.turn(Duration::from_millis(1));
        between.read(0, 10_000);
    }
    assert!(between.over);
    assert_eq!(between.read[0], 2000);
}

#[test]
fn an_idle_session_is_small() {
    // What is on the heap besides is there only while octets wait.
    assert!(size_of::<Session>() <= 336, "{} octets", size_of::<Session>());
}
