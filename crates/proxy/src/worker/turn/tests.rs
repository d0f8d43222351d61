//! One worker, turn by turn on the thread of the test.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use tokio::sync::mpsc;

use super::*;
use crate::live::Live;
use crate::plan::{self, testing};
use crate::record::Record;
use crate::worker::context::Peers;
use crate::worker::export::{Packing, Travel};
use crate::worker::mailbox::mailbox;
use crate::worker::{Listener, Log};

const PATIENCE: Duration = Duration::from_secs(30);
/// More than a session moves in two turns.
const OCTETS: usize = 4 << 20;

struct NoLog;

impl Log for NoLog {
    fn record(&mut self, _: &plan::Frontend, _: &Record<'_>) {}
    fn flush(&mut self) {}
    fn change(&mut self, _: &plan::Global) {}
}

/// A worker with one server, of which nobody else has heard.
struct Alone {
    worker: Worker,
    events: Events,
    address: SocketAddr,
    server: TcpListener,
}

impl Alone {
    fn new() -> Self {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let plan = testing::plan(&[server.local_addr().unwrap()]);
        let live = Arc::new(Live::new(Arc::new(plan)));
        let frontend = Arc::clone(&live.snapshot().frontends[0]);
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        let listener = Listener {
            socket: Arc::new(socket.into()),
            bind: Arc::new(frontend.plan().binds[0].clone()),
            frontend,
            tls: None,
            load: Arc::default(),
        };
        let (sender, mailbox) = mailbox().unwrap();
        let peers = Arc::new(Peers::new(vec![sender]));
        let (visits, _) = mpsc::channel(1);
        let context = Context::new(live, 0, peers, Box::new(NoLog), visits).unwrap();
        let mut worker = Worker::new(context, mailbox).unwrap();
        worker.obey(Command::Listen(Arc::new(vec![listener])));
        Self {
            worker,
            events: Events::default(),
            address,
            server,
        }
    }

    /// A client that has come in, and its connection to the server.
    fn session(&mut self) -> [TcpStream; 2] {
        let count = self.worker.sessions.len() + 1;
        let client = TcpStream::connect(self.address).unwrap();
        client.set_nonblocking(true).unwrap();
        self.until(|worker| {
            let connected = worker.sessions.iter().filter(|(_, session)| session.has_server());
            connected.count() == count
        });
        let (server, _) = self.server.accept().unwrap();
        [client, server]
    }

    #[track_caller]
    fn until(&mut self, mut done: impl FnMut(&mut Worker) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done(&mut self.worker) {
            assert!(Instant::now() < end, "{:?}", self.worker.sessions);
            self.worker.turn(&mut self.events);
        }
    }
}

fn stands_in_line(worker: &Worker, id: u64) -> bool {
    let mut sessions = worker.sessions.iter();
    sessions.any(|(_, session)| session.common.id == id && session.common.lined_up)
}

#[test]
fn a_session_that_stood_in_line_and_was_not_taken_by_a_successor_is_served_to_its_end() {
    let mut alone = Alone::new();
    let [mut client, mut server] = alone.session();
    let id = alone.worker.sessions[0].common.id;
    // It gives its place to the other one when both come back.
    let _other = alone.session();
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        server.read_to_end(&mut all).unwrap();
        all.len()
    });

    let mut written = 0;
    let mut write = |most: usize| {
        while written < most {
            match client.write(&vec![7; most - written]) {
                Ok(count) => written += count,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    break;
                }
            }
        }
        written
    };
    let mut most = OCTETS;
    alone.until(|worker| {
        if stands_in_line(worker, id) {
            return true;
        }
        most += OCTETS;
        write(most);
        false
    });

    let (sender, packed) = sync_channel(1);
    alone.worker.travel(Travel::Pack(Packing::All, 2, sender));
    let packed = packed.recv().unwrap();
    assert_eq!((packed.len(), alone.worker.sessions.len()), (2, 0));
    alone.worker.travel(Travel::Settle(Vec::new(), packed));
    let places: Vec<_> = alone
        .worker
        .sessions
        .iter()
        .map(|(_, session)| session.common.id)
        .collect();
    assert_eq!(
        places.iter().position(|there| *there == id),
        Some(1),
        "not where it was"
    );

    for (_, session) in &alone.worker.sessions {
        let found = alone.worker.context.ready.contains(&session.common.place());
        assert_eq!(session.common.lined_up, found, "{session:?}");
    }

    let most = most + OCTETS;
    alone.until(|_| write(most) == most);
    client.shutdown(std::net::Shutdown::Write).unwrap();
    alone.until(|worker| worker.sessions.len() == 1);
    assert_eq!(reader.join().unwrap(), most);
}
