//! What others notice of somebody's much work: the longest time between two confirms of publishers, beyond that of an equally long quiet
//! time before.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use warren_amqp::client::Event;
use warren_amqp::{Method, basic};

use super::client::Client;
use super::load::{Plan, encode};

/// What somebody does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disturbance {
    /// Deletes a queue with so many bindings.
    Queue(usize),
    /// Deletes an exchange with so many bindings.
    Exchange(usize),
    /// So many connections, each with a queue of its own that it consumes from, are closed at once.
    Connections(usize),
    /// So many clients come at once and log in.
    Clients(usize),
}

const PATIENCE: Duration = Duration::from_secs(60);
const PUBLISHERS: usize = 2;
/// Messages of theirs that stay: nothing is to be written to disk.
const KEPT: u32 = 1000;
/// How long what follows a deletion or an end may last.
const AFTERMATH: Duration = Duration::from_millis(500);
const NAME: &str = "lab.much";

/// How much longer, in milliseconds, the longest gap is; and the rate of confirms meanwhile, or that at which clients were let in.
pub(super) fn measure(disturbance: Disturbance, address: SocketAddr) -> io::Result<(f64, f64)> {
    let prepared = prepare(disturbance, address)?;
    let others = Others::start(address)?;
    std::thread::sleep(AFTERMATH);
    others.longest();
    let before = others.confirmed.load(Relaxed);
    let start = Instant::now();
    let stays = prepared.disturb()?;
    let disturbed = start.elapsed();
    std::thread::sleep(AFTERMATH);
    let (took, during) = (start.elapsed(), others.longest());
    let rate = match disturbance {
        Disturbance::Clients(count) => count as f64 / disturbed.as_secs_f64(),
        _ => (others.confirmed.load(Relaxed) - before) as f64 / took.as_secs_f64(),
    };
    // As long, and when all is over: what went on before began with making what was to go.
    std::thread::sleep(took);
    let quiet = others.longest();
    drop(stays);
    others.stop()?;
    Ok(((during.as_secs_f64() - quiet.as_secs_f64()).max(0.0) * 1e3, rate))
}

enum Prepared {
    Queue(Client),
    Exchange(Client),
    Connections(Vec<TcpStream>),
    Clients(SocketAddr, usize),
}

fn prepare(disturbance: Disturbance, address: SocketAddr) -> io::Result<Prepared> {
    let mut client = Client::with_channel(address, PATIENCE)?;
    let mut bind = |count: usize| {
        client.declare(NAME)?;
        client.exchange(NAME, "topic")?;
        (0..count).try_for_each(|number| client.bind_later(NAME, NAME, &format!("site.n{number}.*")))?;
        // Its answer comes when all of them are there.
        client.declare(NAME)
    };
    match disturbance {
        Disturbance::Queue(count) => bind(count).map(|()| Prepared::Queue(client)),
        Disturbance::Exchange(count) => bind(count).map(|()| Prepared::Exchange(client)),
        Disturbance::Connections(count) => {
            let open = |_| {
                let mut client = Client::with_channel(address, PATIENCE)?;
                client.consume_own()?;
                Ok(client.into_stream())
            };
            let open: io::Result<_> = (0..count).map(open).collect();
            open.map(Prepared::Connections)
        }
        Disturbance::Clients(count) => Ok(Prepared::Clients(address, count)),
    }
}

impl Prepared {
    /// Does it, and leaves nothing but what is to stay until others have been looked at.
    fn disturb(self) -> io::Result<Vec<Client>> {
        match self {
            Self::Queue(mut client) => {
                client.delete_queue(NAME)?;
                client.delete_exchange(NAME)?;
            }
            Self::Exchange(mut client) => {
                client.delete_exchange(NAME)?;
                client.delete_queue(NAME)?;
            }
            Self::Connections(streams) => {
                for stream in &streams {
                    stream.shutdown(Shutdown::Both)?;
                }
            }
            Self::Clients(address, count) => return come(address, count),
        }
        Ok(Vec::new())
    }
}

/// All of them say something before the first one waits for an answer.
fn come(address: SocketAddr, count: usize) -> io::Result<Vec<Client>> {
    let begin = |_| Client::begin(address, PATIENCE);
    let mut coming: Vec<Client> = (0..count).map(begin).collect::<io::Result<_>>()?;
    let mut inside = Vec::with_capacity(count);
    while !coming.is_empty() {
        let mut still = Vec::with_capacity(coming.len());
        for mut client in coming {
            match client.goes_on()? {
                true => inside.push(client),
                false => still.push(client),
            }
        }
        coming = still;
    }
    Ok(inside)
}

/// Publishers that have one message on its way each.
struct Others {
    address: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    confirmed: AtomicU64,
    /// In nanoseconds, since somebody asked last.
    longest: AtomicU64,
}

impl std::ops::Deref for Others {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl Others {
    fn start(address: SocketAddr) -> io::Result<Self> {
        let shared: Arc<Shared> = Arc::default();
        let mut threads = Vec::new();
        for number in 0..PUBLISHERS {
            let mut client = Client::with_channel(address, PATIENCE)?;
            let queue = format!("{NAME}.{number}");
            client.declare_short(&queue, KEPT)?;
            client.confirms()?;
            let message = encode(&Plan::one_to_one(16), "", &queue)?;
            let shared = Arc::clone(&shared);
            threads.push(std::thread::spawn(move || {
                while !shared.stop.load(Relaxed) {
                    let start = Instant::now();
                    client.write(&message)?;
                    confirmed(&mut client)?;
                    let took = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
                    shared.longest.fetch_max(took, Relaxed);
                    shared.confirmed.fetch_add(1, Relaxed);
                }
                client.close()
            }));
        }
        Ok(Self {
            address,
            shared,
            threads,
        })
    }

    /// The longest that one of them waited since this was asked last.
    fn longest(&self) -> Duration {
        Duration::from_nanos(self.longest.swap(0, Relaxed))
    }

    fn stop(self) -> io::Result<()> {
        self.shared.stop.store(true, Relaxed);
        for thread in self.threads {
            thread
                .join()
                .map_err(|_| io::Error::other("a publisher panicked"))??;
        }
        let mut client = Client::with_channel(self.address, PATIENCE)?;
        (0..PUBLISHERS).try_for_each(|number| client.delete_queue(&format!("{NAME}.{number}")))
    }
}

fn confirmed(client: &mut Client) -> io::Result<()> {
    loop {
        match client.event()? {
            Some(Event::Method {
                method: Method::Basic(basic::Method::Ack(_)),
                ..
            }) => return Ok(()),
            Some(other) => return Err(io::Error::other(format!("no confirm: {other:?}"))),
            None => client.read()?,
        }
    }
}
