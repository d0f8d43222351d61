//! The client: asks the virtual address every millisecond who is there, and remembers every silence.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::clock::now;
use crate::echo::{Echo, ask_over_tcp};
use crate::host::Host;

/// An answer later than this counts as lost: the switch has no queue worth speaking of.
const LATE: Duration = Duration::from_millis(500);

/// A running stream of requests over UDP.
#[derive(Debug)]
pub struct Probe {
    stop: Arc<AtomicBool>,
    /// The number of the last request, and when nobody waits for its answer any more. Not there while there is a next one.
    last: Arc<OnceLock<(usize, Duration)>>,
    asking: JoinHandle<Vec<Duration>>,
    hearing: JoinHandle<Vec<Answer>>,
    period: Duration,
}

#[derive(Debug, Clone)]
struct Answer {
    number: usize,
    at: Duration,
    host: String,
}

/// A time without any answer, from the last answer before to the first answer after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The last answer before.
    pub from: Duration,
    /// The first answer after, or the last request.
    pub until: Duration,
}

impl Gap {
    /// How long it was.
    pub fn length(&self) -> Duration {
        self.until - self.from
    }
}

/// What the client experienced.
#[derive(Debug, Clone)]
pub struct ProbeReport {
    asked: Vec<Duration>,
    answers: Vec<Answer>,
    /// Time between two requests.
    pub period: Duration,
}

impl Probe {
    /// Asks `address` from `client` every `period`. Comes back with the first answer, or after a second without any.
    pub fn start(client: &Host, address: IpAddr, period: Duration) -> Self {
        let socket = client.enter(|| {
            let any: SocketAddr = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }
                .parse()
                .expect("an address");
            UdpSocket::bind(any).expect("a UDP socket")
        });
        socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .expect("a timeout");
        let stop = Arc::new(AtomicBool::new(false));
        let server = SocketAddr::new(address, Echo::PORT);
        let asking = {
            let (socket, stop) = (socket.try_clone().expect("a second handle"), Arc::clone(&stop));
            std::thread::spawn(move || ask(&socket, server, period, &stop))
        };
        let (told, first_answer) = sync_channel(1);
        let last = Arc::new(OnceLock::new());
        let hearing = {
            let last = Arc::clone(&last);
            std::thread::spawn(move || hear(&socket, address, &last, &told))
        };
        // Nobody may be there; the probe goes on all the same.
        let _ = first_answer.recv_timeout(Duration::from_secs(1));
        Self {
            stop,
            last,
            asking,
            hearing,
            period,
        }
    }

    /// Ends the stream, hears out who still has to answer, and reports.
    pub fn stop(self) -> ProbeReport {
        self.stop.store(true, Ordering::Relaxed);
        let asked = self.asking.join().expect("the asking thread does not panic");
        let last = (asked.len().saturating_sub(1), now() + LATE);
        self.last.set(last).expect("nobody else ends a probe");
        let answers = self.hearing.join().expect("the hearing thread does not panic");
        ProbeReport {
            asked,
            answers,
            period: self.period,
        }
    }

    /// One plain TCP connection from `client`: the name of the host that serves `address`.
    pub fn connect(client: &Host, address: IpAddr) -> std::io::Result<String> {
        Self::connect_to(client, address, Echo::PORT)
    }

    /// As [`Probe::connect`], to another port, for services that relay to the echo service.
    pub fn connect_to(client: &Host, address: IpAddr, port: u16) -> std::io::Result<String> {
        ask_over_tcp(client, SocketAddr::new(address, port), Duration::from_secs(1))
    }
}

impl ProbeReport {
    /// The longest silence that ended after `since`.
    pub fn longest_gap(&self, since: Duration) -> Gap {
        let mut gaps = self.gaps();
        gaps.retain(|gap| gap.until >= since);
        gaps.into_iter().max_by_key(Gap::length).unwrap_or(Gap {
            from: since,
            until: since,
        })
    }

    /// Requests sent after `since` that nobody answered in time.
    pub fn lost(&self, since: Duration) -> usize {
        let mut answered = vec![false; self.asked.len()];
        for answer in &self.answers {
            let in_time = self
                .asked
                .get(answer.number)
                .is_some_and(|&asked| answer.at <= asked + LATE);
            if let (true, Some(slot)) = (in_time, answered.get_mut(answer.number)) {
                *slot = true;
            }
        }
        let unanswered = self.asked.iter().zip(answered);
        unanswered
            .filter(|&(&asked, answered)| asked >= since && !answered)
            .count()
    }

    /// Requests sent after `since`.
    pub fn asked(&self, since: Duration) -> usize {
        self.asked.iter().filter(|&&asked| asked >= since).count()
    }

    /// Who answered, in order, without repetitions: `["a", "b"]` is one move.
    pub fn holders(&self) -> Vec<String> {
        let mut holders: Vec<String> = self.answers.iter().map(|answer| answer.host.clone()).collect();
        holders.dedup();
        holders
    }

    /// The first answer of `host` after `since`.
    pub fn first_answer(&self, host: &str, since: Duration) -> Option<Duration> {
        self.answers
            .iter()
            .find(|answer| answer.host == host && answer.at >= since)
            .map(|answer| answer.at)
    }

    /// The longest time between two requests: how much the machine starved the client itself.
    pub fn own_longest_pause(&self) -> Duration {
        self.asked
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .max()
            .unwrap_or_default()
    }

    fn gaps(&self) -> Vec<Gap> {
        let (start, end) = (self.asked.first().copied(), self.asked.last().copied());
        let answers = self.answers.iter().map(|answer| answer.at);
        let mut moments: Vec<Duration> = start.into_iter().chain(answers).chain(end).collect();
        moments.sort_unstable();
        moments
            .windows(2)
            .map(|pair| Gap {
                from: pair[0],
                until: pair[1],
            })
            .collect()
    }
}

fn ask(socket: &UdpSocket, server: SocketAddr, period: Duration, stop: &AtomicBool) -> Vec<Duration> {
    let mut asked = Vec::new();
    let mut next = now();
    while !stop.load(Ordering::Relaxed) {
        let at = now();
        if at < next {
            std::thread::sleep(next - at);
            continue;
        }
        // Nobody may be there; that is what the probe is for.
        let _ = socket.send_to(&(asked.len() as u64).to_be_bytes(), server);
        asked.push(at);
        // After a pause the client goes on from here; it does not catch up.
        next = (next + period).max(at);
    }
    asked
}

/// Ends with the answer to the last request, or when that would be late.
fn hear(
    socket: &UdpSocket,
    address: IpAddr,
    last: &OnceLock<(usize, Duration)>,
    told: &SyncSender<()>,
) -> Vec<Answer> {
    let mut answers: Vec<Answer> = Vec::new();
    let mut bytes = [0u8; 256];
    loop {
        if let Some(&(last, until)) = last.get() {
            let has_last = answers.iter().rev().any(|answer| answer.number == last);
            if has_last || now() > until {
                return answers;
            }
        }
        let Ok((length, from)) = socket.recv_from(&mut bytes) else {
            continue;
        };
        let at = now();
        let Some((number, host)) = bytes
            .get(..length)
            .and_then(|bytes| bytes.split_first_chunk::<8>())
        else {
            continue;
        };
        if from.ip() == address {
            let number = usize::try_from(u64::from_be_bytes(*number)).unwrap_or(usize::MAX);
            // Full or forgotten once the first answer has been waited for.
            let _ = told.try_send(());
            answers.push(Answer {
                number,
                at,
                host: String::from_utf8_lossy(host).into_owned(),
            });
        }
    }
}
