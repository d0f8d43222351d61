//! The loop of the clients: keeps so many connections open to one port, and lets each talk when it can.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::{Counters, Histogram, Tally};
use crate::bench::cores;

/// Clients spread over so many addresses of the loopback, so that no pair of addresses runs out of ports.
const ADDRESSES: u8 = 64;
const SCRATCH: usize = 256 * 1024;
/// A loop that gets nothing but errors ends, and the row with it.
const ERRORS_AT_MOST: u64 = 1000;

/// What a connection says and expects.
pub(crate) trait Talk: Send {
    /// When it wants to be called.
    const INTEREST: EpollFlags = EpollFlags::EPOLLIN;

    /// The connection has been opened.
    fn start(&mut self, stream: &TcpStream, tally: &mut Tally) -> io::Result<()>;

    /// It can be read (or written).
    fn go_on(&mut self, stream: &TcpStream, scratch: &mut [u8], tally: &mut Tally) -> io::Result<Then>;
}

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Stay,
    /// Closed, and another opened in its place.
    Again,
}

/// Running clients; they end when dropped or stopped.
#[derive(Debug)]
pub(crate) struct Clients {
    counters: Arc<Counters>,
    threads: Vec<JoinHandle<Histogram>>,
}

impl Clients {
    /// Opens `connections` connections to `port`, spread evenly over one loop on each of `on`.
    pub(crate) fn start<T: Talk + 'static>(
        port: u16,
        connections: usize,
        on: &[usize],
        make: impl Fn() -> T,
    ) -> Self {
        let counters = Arc::new(Counters::default());
        let threads = on
            .iter()
            .enumerate()
            .map(|(number, &core)| {
                let share = (connections + number) / on.len();
                let talks: Vec<T> = (0..share).map(|_| make()).collect();
                let counters = Arc::clone(&counters);
                std::thread::spawn(move || {
                    cores::stay_on(core);
                    let mut tally = Tally::default();
                    // The error is counted: nothing to talk to is what the row then shows.
                    if run(port, talks, &counters, &mut tally).is_err() {
                        tally.errors += 1;
                    }
                    tally.publish(&counters);
                    tally.latency
                })
            })
            .collect();
        Self { counters, threads }
    }

    pub(crate) fn from_thread(counters: Arc<Counters>, thread: JoinHandle<Histogram>) -> Self {
        Self {
            counters,
            threads: vec![thread],
        }
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Waits until all their connections have been opened, or for so long: what then is missing shows in the figures.
    pub(crate) fn wait_until_open(&self, at_most: Duration) {
        let start = Instant::now();
        while self.counters.open.load(Ordering::Relaxed) < self.threads.len() && start.elapsed() < at_most {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends them; answers the latencies recorded.
    pub(crate) fn stop(mut self) -> Histogram {
        self.counters.stop.store(true, Ordering::Relaxed);
        let mut all = Histogram::default();
        for thread in self.threads.drain(..) {
            all.merge(&thread.join().expect("a client loop does not panic"));
        }
        all
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.counters.stop.store(true, Ordering::Relaxed);
    }
}

/// On the loopback a connection is there as soon as the listener's queue has it, so this does not block a loop.
pub(crate) fn connect(port: u16, number: usize) -> io::Result<TcpStream> {
    let address = Ipv4Addr::new(127, 0, 0, 1 + (number % usize::from(ADDRESSES)) as u8);
    let stream =
        TcpStream::connect_timeout(&SocketAddrV4::new(address, port).into(), Duration::from_secs(3))?;
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn run<T: Talk>(port: u16, talks: Vec<T>, counters: &Counters, tally: &mut Tally) -> io::Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let mut opened = 0;
    let mut open = |talk: &mut T, slot: usize, tally: &mut Tally| -> io::Result<TcpStream> {
        opened += 1;
        let stream = connect(port, opened)?;
        epoll.add(stream.as_fd(), EpollEvent::new(T::INTEREST, slot as u64))?;
        talk.start(&stream, tally)?;
        Ok(stream)
    };
    let mut conversations = Vec::with_capacity(talks.len());
    for (slot, mut talk) in talks.into_iter().enumerate() {
        let stream = open(&mut talk, slot, tally)?;
        conversations.push((stream, talk));
    }
    counters.open.fetch_add(1, Ordering::Relaxed);
    let mut scratch = vec![0u8; SCRATCH];
    let mut events = [EpollEvent::empty(); 256];
    let mut errors = 0;
    while !counters.stop.load(Ordering::Relaxed) {
        let ready = epoll
            .wait(&mut events, EpollTimeout::from(50u8))
            .or_else(interrupted)?;
        for event in events.iter().take(ready) {
            let slot = event.data() as usize;
            let Some((stream, talk)) = conversations.get_mut(slot) else {
                continue;
            };
            match talk.go_on(stream, &mut scratch, tally) {
                Ok(Then::Stay) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(Then::Again) => *stream = open(talk, slot, tally)?,
                Err(_) => {
                    (errors, tally.errors) = (errors + 1, tally.errors + 1);
                    if errors > ERRORS_AT_MOST {
                        return Err(io::ErrorKind::ConnectionReset.into());
                    }
                    *stream = open(talk, slot, tally)?;
                }
            }
        }
        tally.publish(counters);
    }
    Ok(())
}

fn interrupted(errno: nix::errno::Errno) -> nix::Result<usize> {
    if errno == nix::errno::Errno::EINTR {
        Ok(0)
    } else {
        Err(errno)
    }
}

/// Opens connections that have said and heard eight octets each, and keeps them.
pub(crate) fn hold_idle(port: u16, connections: usize) -> io::Result<Vec<TcpStream>> {
    (0..connections)
        .map(|number| {
            let mut stream = connect(port, number)?;
            stream.set_nonblocking(false)?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(b"8 octets")?;
            stream.read_exact(&mut [0; 8])?;
            Ok(stream)
        })
        .collect()
}

/// Reads once; the end of the stream is an error here, since no server of the benchmark ends one.
pub(crate) fn receive(mut stream: &TcpStream, into: &mut [u8]) -> io::Result<usize> {
    match stream.read(into)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        octets => Ok(octets),
    }
}

/// Writes what fits into any send buffer at once.
pub(crate) fn send(mut stream: &TcpStream, octets: &[u8]) -> io::Result<Instant> {
    let at = Instant::now();
    if stream.write(octets)? == octets.len() {
        Ok(at)
    } else {
        Err(io::ErrorKind::WriteZero.into())
    }
}
