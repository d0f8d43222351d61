//! Workers, a frontend and servers to play with.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::live::{self, Live};
use crate::plan::{self, Plan, testing};
use crate::record::{Record, Termination};
use crate::tls::Keyring;
use crate::worker::{Command, Listener, Log, SessionInfo, Settings, Visit, Workers};

/// How long a test waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// Everything a test of whole sessions needs.
pub(crate) struct Bench {
    pub(crate) live: Arc<Live>,
    pub(crate) workers: Workers,
    pub(crate) address: SocketAddr,
    servers: Vec<Mutex<Option<TcpListener>>>,
    addresses: Vec<SocketAddr>,
    lines: Mutex<std::sync::mpsc::Receiver<Line>>,
    visits: Mutex<mpsc::Receiver<Visit>>,
}

/// What a test looks at of a [`Record`].
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) frontend: String,
    pub(crate) backend: String,
    pub(crate) server: String,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) termination: Termination,
    pub(crate) retries: u32,
    pub(crate) redispatched: bool,
    pub(crate) times: crate::record::Times,
    pub(crate) connections: [u32; 4],
    pub(crate) queues: [u32; 2],
    pub(crate) amqp: Option<crate::record::AmqpFacts>,
    /// Method, target and version of a request; `<BADREQ>` if it was none.
    pub(crate) request: String,
    pub(crate) status: Option<u16>,
    pub(crate) client: Option<SocketAddr>,
    pub(crate) source: Option<SocketAddr>,
    pub(crate) refusal: Option<crate::record::Refusal>,
    /// Its version.
    pub(crate) tls: Option<String>,
    /// What the frontend's own `log-format` makes of it.
    pub(crate) text: String,
    /// The worker that logged it, as the kernel numbers threads.
    pub(crate) thread: i32,
}

impl Line {
    pub(crate) fn termination(&self) -> String {
        [self.termination.cause.letter(), self.termination.phase.letter()]
            .iter()
            .collect()
    }
}

struct Lines(std::sync::mpsc::SyncSender<Line>);

impl Log for Lines {
    fn record(&mut self, plan: &plan::Frontend, record: &Record<'_>) {
        let mut text = Vec::new();
        if let plan::LogFormat::Custom(format) = &plan.log.format {
            format.expand(record, record, &mut crate::logs::Dates::default(), &mut text);
        }
        let line = Line {
            frontend: record.frontend.to_owned(),
            backend: record.backend.to_owned(),
            server: record.server.to_owned(),
            bytes_in: record.bytes_in,
            bytes_out: record.bytes_out,
            termination: record.termination,
            retries: record.retries,
            redispatched: record.redispatched,
            times: record.times,
            connections: record.connections,
            queues: record.queues,
            amqp: record.amqp.cloned(),
            request: record.http.map_or_else(String::new, |http| match http.method {
                "" => "<BADREQ>".into(),
                method => format!("{method} {} {}", http.uri, http.version),
            }),
            status: record.http.and_then(|http| http.status),
            client: record.client,
            source: record.source,
            refusal: record.refused.map(|refused| refused.why),
            tls: record.tls.map(|tls| tls.version.to_owned()),
            text: String::from_utf8(text).unwrap(),
            thread: nix::unistd::gettid().as_raw(),
        };
        let _nobody_looks = self.0.send(line);
    }

    fn flush(&mut self) {}

    fn change(&mut self, _: &plan::Global) {}
}

impl Bench {
    /// So many servers, and a plan that the test has changed.
    pub(crate) fn new(servers: usize, change: impl FnOnce(&mut Plan)) -> Self {
        let servers: Vec<TcpListener> = (0..servers)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let addresses: Vec<SocketAddr> = servers
            .iter()
            .map(|server| server.local_addr().unwrap())
            .collect();
        let mut plan = testing::plan(&addresses);
        change(&mut plan);
        let keyring = Keyring::load(&plan, None).unwrap();
        let live = Arc::new(Live::new(Arc::new(plan)));
        keyring.equip(&live.snapshot());
        let (visits, visited) = mpsc::channel(16);
        let (lines, line) = std::sync::mpsc::sync_channel(100_000);
        let settings = Settings {
            visits,
            log: Box::new(move |_| Box::new(Lines(lines.clone()))),
        };
        let workers = Workers::start(&live, &settings).unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        let frontend = Arc::clone(&live.snapshot().frontends[0]);
        let bind = frontend.plan().binds[0].clone();
        let tls = bind.tls.as_ref().and_then(|tls| keyring.acceptor(tls));
        let listener = Listener {
            socket: Arc::new(OwnedFd::from(socket)),
            tls: tls.cloned(),
            bind: Arc::new(bind),
            frontend,
            load: Arc::default(),
        };
        workers.broadcast(&Command::Listen(Arc::new(vec![listener])));
        Self {
            live,
            workers,
            address,
            addresses,
            servers: servers
                .into_iter()
                .map(|server| Mutex::new(Some(server)))
                .collect(),
            lines: Mutex::new(line),
            visits: Mutex::new(visited),
        }
    }

    /// A new client.
    pub(crate) fn connect(&self) -> TcpStream {
        patient(TcpStream::connect(self.address).unwrap())
    }

    /// The next connection to a server.
    pub(crate) fn accept(&self, server: usize) -> TcpStream {
        let listener = self.servers[server].lock().unwrap();
        patient(listener.as_ref().unwrap().accept().unwrap().0)
    }

    /// A server's socket.
    pub(crate) fn listener(&self, server: usize) -> TcpListener {
        let listener = self.servers[server].lock().unwrap();
        listener.as_ref().unwrap().try_clone().unwrap()
    }

    /// Where a server listens.
    pub(crate) fn server_address(&self, server: usize) -> SocketAddr {
        self.addresses[server]
    }

    /// A server listens no longer.
    pub(crate) fn refuse(&self, server: usize) {
        self.servers[server].lock().unwrap().take();
    }

    /// The next log line.
    pub(crate) fn line(&self) -> Line {
        self.lines
            .lock()
            .unwrap()
            .recv_timeout(PATIENCE)
            .expect("a log line")
    }

    /// The next visit to what the proxy itself serves.
    pub(crate) fn visit(&self) -> Visit {
        self.visits.lock().unwrap().blocking_recv().expect("a visit")
    }

    /// As the live table lists them.
    pub(crate) fn sessions(&self) -> Vec<SessionInfo> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(self.workers.sessions())
    }

    pub(crate) fn backend(&self) -> Arc<live::Backend> {
        Arc::clone(&self.live.snapshot().backends[0])
    }

    pub(crate) fn frontend(&self) -> Arc<live::Frontend> {
        Arc::clone(&self.live.snapshot().frontends[0])
    }

    /// Everything that was taken is given back.
    pub(crate) fn is_empty(&self) {
        eventually(|| {
            let backend = self.backend();
            let servers = backend.servers();
            self.live.connections.now() == 0
                && self.frontend().sessions.now() == 0
                && backend.sessions.now() == 0
                && backend.queued.now() == 0
                && servers
                    .iter()
                    .all(|server| server.sessions.now() == 0 && server.queued.now() == 0)
        });
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.workers.broadcast(&Command::Listen(Arc::default()));
        self.workers.broadcast(&Command::Finish);
    }
}

/// Waits until it is so.
pub(crate) fn eventually(mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "it has not come to be so");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Exactly so many octets.
pub(crate) fn read(from: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut octets = vec![0; count];
    from.read_exact(&mut octets).unwrap();
    octets
}

/// The first frontend.
pub(crate) fn frontend(plan: &mut Plan) -> &mut plan::Frontend {
    Arc::get_mut(&mut plan.frontends[0]).unwrap()
}

/// The first backend.
pub(crate) fn backend(plan: &mut Plan) -> &mut plan::Backend {
    Arc::get_mut(&mut plan.backends[0]).unwrap()
}

/// One of its servers.
pub(crate) fn server(plan: &mut Plan, server: usize) -> &mut plan::Server {
    Arc::get_mut(&mut backend(plan).servers[server]).unwrap()
}

/// With timeouts, so that a test fails rather than hangs.
pub(crate) fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}
