//! Small messages at a given rate, whether or not the answers keep up: what is waited for counts from when a message
//! was due, so that a proxy that stalls cannot hide it by slowing the client down.

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

/// Starts `connections` connections to `port` that send `rate` messages per second together.
#[derive(Debug)]
pub(crate) struct Pace {
    connections: Vec<Waiting>,
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
    pub(crate) fn start(port: u16, connections: usize, rate: f64, core: usize) -> Clients {
        let counters = Arc::new(Counters::default());
        let shared = Arc::clone(&counters);
        let thread = std::thread::spawn(move || {
            cores::stay_on(core);
            let mut tally = Tally::default();
            if Self::run(port, connections, rate, &shared, &mut tally).is_err() {
                tally.errors += 1;
            }
            tally.publish(&shared);
            tally.latency
        });
        Clients::from_thread(counters, thread)
    }

    fn run(
        port: u16,
        connections: usize,
        rate: f64,
        counters: &Counters,
        tally: &mut Tally,
    ) -> io::Result<()> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let timer = TimerFd::new(
            ClockId::CLOCK_MONOTONIC,
            TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC,
        )?;
        epoll.add(timer.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, TIMER))?;
        let connections = (0..connections).map(|number| {
            let stream = connect(port, number)?;
            epoll.add(
                stream.as_fd(),
                EpollEvent::new(EpollFlags::EPOLLIN, number as u64),
            )?;
            Ok(Waiting {
                stream,
                due: VecDeque::new(),
                received: 0,
            })
        });
        let mut pace = Self {
            connections: connections.collect::<io::Result<_>>()?,
            next: 0,
            due: Instant::now(),
            between: Duration::from_secs_f64(1.0 / rate),
        };
        let mut scratch = vec![0; 4096];
        let mut events = [EpollEvent::empty(); 256];
        while !counters.stop.load(Ordering::Relaxed) {
            let wait = pace.send_what_is_due(tally)?;
            timer.set(
                Expiration::OneShot(TimeSpec::from_duration(wait)),
                TimerSetTimeFlags::empty(),
            )?;
            let ready = epoll.wait(&mut events, EpollTimeout::from(50u8)).unwrap_or(0);
            for event in events.iter().take(ready) {
                if let Some(connection) = pace.connections.get_mut(event.data() as usize) {
                    connection.receive(&mut scratch, tally)?;
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
            if let Some(connection) = self.connections.get_mut(self.next) {
                if connection.due.len() >= UNDER_WAY_AT_MOST {
                    tally.errors += 1;
                } else {
                    send(&connection.stream, &[b'p'; SMALL])?;
                    connection.due.push_back(self.due);
                }
            }
            self.due += self.between;
        }
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
