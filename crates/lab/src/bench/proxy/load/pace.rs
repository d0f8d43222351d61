//! Small messages at a given rate, whether or not the answers keep up: what is waited for counts from when a message
//! was due, so that a proxy that stalls cannot hide it by slowing the client down. On connections that stay, or on one for each.

use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::clients::{Clients, connect, receive, send};
use super::{Counters, SMALL, Tally};
use crate::bench::cores;

const TIMER: u64 = u64::MAX;
/// Messages waited for on one connection; beyond, the proxy cannot bear the rate, which counts as errors.
const UNDER_WAY_AT_MOST: usize = 1000;

/// What comes at a given rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paced {
    /// Messages on connections that stay.
    Messages,
    /// Connections: one message there and back on each.
    Connections,
}

/// A loop that does so much per second.
#[derive(Debug)]
pub(crate) struct Pace {
    what: Paced,
    port: u16,
    epoll: Epoll,
    /// Nobody is where a connection has ended.
    connections: Vec<Option<Waiting>>,
    next: usize,
    due: Instant,
    between: Duration,
}

#[derive(Debug)]
struct Waiting {
    stream: TcpStream,
    due: VecDeque<Instant>,
    received: usize,
}

impl Pace {
    /// Starts it: `rate` per second, on `connections` connections to `port` or at most so many at a time.
    pub(crate) fn start(what: Paced, port: u16, connections: usize, rate: f64, core: usize) -> Clients {
        let counters = Arc::new(Counters::default());
        let shared = Arc::clone(&counters);
        let thread = std::thread::spawn(move || {
            cores::stay_on(core);
            let mut tally = Tally::default();
            let done =
                Self::new(what, port, connections, rate).and_then(|pace| pace.run(&shared, &mut tally));
            if done.is_err() {
                tally.errors += 1;
            }
            tally.publish(&shared);
            tally.latency
        });
        Clients::from_thread(counters, thread)
    }

    fn new(what: Paced, port: u16, connections: usize, rate: f64) -> io::Result<Self> {
        let mut pace = Self {
            what,
            port,
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            connections: (0..connections).map(|_| None).collect(),
            next: 0,
            due: Instant::now(),
            between: Duration::from_secs_f64(1.0 / rate),
        };
        if what == Paced::Messages {
            (0..connections).try_for_each(|number| pace.open(number))?;
            pace.due = Instant::now();
        }
        Ok(pace)
    }

    fn open(&mut self, number: usize) -> io::Result<()> {
        let stream = connect(self.port, number)?;
        let interest = EpollEvent::new(EpollFlags::EPOLLIN, number as u64);
        self.epoll.add(stream.as_fd(), interest)?;
        self.connections[number] = Some(Waiting {
            stream,
            due: VecDeque::new(),
            received: 0,
        });
        Ok(())
    }

    fn run(mut self, counters: &Counters, tally: &mut Tally) -> io::Result<()> {
        let timer = TimerFd::new(
            ClockId::CLOCK_MONOTONIC,
            TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC,
        )?;
        let interest = EpollEvent::new(EpollFlags::EPOLLIN, TIMER);
        self.epoll.add(timer.as_fd(), interest)?;
        counters.open.fetch_add(1, Ordering::Relaxed);
        let mut scratch = vec![0; 4096];
        let mut events = [EpollEvent::empty(); 256];
        while !counters.stop.load(Ordering::Relaxed) {
            let wait = self.send_what_is_due(tally)?;
            timer.set(
                Expiration::OneShot(TimeSpec::from_duration(wait)),
                TimerSetTimeFlags::empty(),
            )?;
            let ready = self
                .epoll
                .wait(&mut events, EpollTimeout::from(50u8))
                .unwrap_or(0);
            for event in events.iter().take(ready) {
                let Some(place) = self.connections.get_mut(event.data() as usize) else {
                    continue;
                };
                if let Some(connection) = place {
                    connection.receive(&mut scratch, tally)?;
                    if self.what == Paced::Connections && connection.due.is_empty() {
                        *place = None;
                    }
                }
            }
            tally.publish(counters);
        }
        Ok(())
    }

    /// Answers how long until the next.
    fn send_what_is_due(&mut self, tally: &mut Tally) -> io::Result<Duration> {
        loop {
            let now = Instant::now();
            if self.due > now {
                return Ok((self.due - now).max(Duration::from_nanos(1)));
            }
            self.next = (self.next + 1) % self.connections.len();
            let is_there = self.connections[self.next].is_some();
            match self.what {
                // It cannot bear the rate.
                Paced::Connections if is_there => tally.errors += 1,
                Paced::Connections => {
                    self.open(self.next)?;
                    self.send(tally)?;
                }
                Paced::Messages => self.send(tally)?,
            }
            self.due += self.between;
        }
    }

    fn send(&mut self, tally: &mut Tally) -> io::Result<()> {
        if let Some(connection) = &mut self.connections[self.next] {
            if connection.due.len() >= UNDER_WAY_AT_MOST {
                tally.errors += 1;
            } else {
                send(&connection.stream, &[b'p'; SMALL])?;
                connection.due.push_back(self.due);
            }
        }
        Ok(())
    }
}

impl Waiting {
    fn receive(&mut self, scratch: &mut [u8], tally: &mut Tally) -> io::Result<()> {
        self.received += receive(&self.stream, scratch)?;
        while self.received >= SMALL {
            self.received -= SMALL;
            let due = self.due.pop_front().ok_or(io::ErrorKind::InvalidData)?;
            tally.operation(due.elapsed());
        }
        Ok(())
    }
}
