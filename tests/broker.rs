//! `warren broker` as a process: it starts with nothing written, and ends in order.

mod bystander;
mod calls;
mod ctl;
mod disk;
mod group;
mod hostile;
mod hung_disk;
mod idle;
mod shortage;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use warren_amqp::client::{ClientError, Connection, Event, Login};
use warren_amqp::content::{DeliveryMode, Properties};
use warren_amqp::handshake::Failure;
use warren_amqp::hot::Publish;
use warren_amqp::{Method, ShortString, Table, Value, basic, channel, confirm, connection, queue};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

struct Broker {
    process: Child,
    log: BufReader<ChildStderr>,
    address: SocketAddr,
    /// Where else it listens.
    others: Vec<SocketAddr>,
    /// Where its control socket is.
    _runtime: tempfile::TempDir,
}

impl Broker {
    /// Started in a directory of its own, on a port that the system chooses.
    fn start(directory: &Path, arguments: &[&str]) -> Self {
        Self::run(&mut Self::command(directory, arguments))
    }

    fn command(directory: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
        command
            .args(["broker", "--listen", "127.0.0.1:0", "--data"])
            .arg(directory.join("data"))
            .arg("--runtime-dir")
            .arg(directory.join("run"))
            .args(arguments);
        command
    }

    fn run(command: &mut Command) -> Self {
        let runtime = tempfile::tempdir().unwrap();
        command.env("RUNTIME_DIRECTORY", runtime.path());
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let address = address_in(&await_line(&mut log, "listening"));
        let mut others = Vec::new();
        loop {
            let line = await_line(&mut log, "");
            if line.contains("listening") {
                others.push(address_in(&line));
            } else if line.contains("ready") {
                break;
            }
        }
        Self {
            process,
            log,
            address,
            others,
            _runtime: runtime,
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.process.id()).unwrap());
        kill(pid, signal).unwrap();
    }

    fn await_end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the broker does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn address_in(line: &str) -> SocketAddr {
    let (_, address) = line.split_once("address=").unwrap();
    address.split_whitespace().next().unwrap().parse().unwrap()
}

/// The next line of the log that says so.
fn await_line(log: &mut impl BufRead, words: &str) -> String {
    let mut seen = String::new();
    loop {
        let mut line = String::new();
        assert_ne!(
            log.read_line(&mut line).unwrap(),
            0,
            "no {words:?} in the log:\n{seen}"
        );
        if line.contains(words) {
            return line;
        }
        seen += &line;
    }
}

/// A client that blocks.
struct Client<S = TcpStream> {
    stream: S,
    connection: Connection,
}

impl Client {
    /// With a name that others may have, too.
    fn connect_as(address: SocketAddr, name: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut login = Login::plain("guest", "guest", "/", "test").unwrap();
        let key = ShortString::from_static("connection_name");
        login.properties.push(key, Value::text(name));
        Self::log_in(stream, login).unwrap()
    }

    fn connect(address: SocketAddr, user: &str, password: &str, vhost: &str) -> Result<Self, ClientError> {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self::over(stream, user, password, vhost)
    }

    fn over(stream: TcpStream, user: &str, password: &str, vhost: &str) -> Result<Self, ClientError> {
        Self::log_in(stream, Login::plain(user, password, vhost, "test").unwrap())
    }
}

impl<S: Read + Write> Client<S> {
    fn log_in(stream: S, login: Login) -> Result<Self, ClientError> {
        let mut client = Self {
            stream,
            connection: Connection::start(login),
        };
        match client.next()? {
            Some(Event::Opened { .. }) => Ok(client),
            other => panic!("{other:?}"),
        }
    }

    /// The one channel that it uses.
    fn open_channel(&mut self) {
        self.call(channel::Open::default());
    }

    /// A durable queue with so many messages, each `hello`, once the broker has them.
    fn declare_and_publish(&mut self, queue: &str, count: usize) {
        let queue_of_this_name = queue::Declare {
            queue: queue.try_into().unwrap(),
            durable: true,
            ..queue::Declare::default()
        };
        self.call(queue_of_this_name.clone());
        (0..count).for_each(|_| self.publish(queue));
        // Done when what came before it is.
        self.call(queue_of_this_name);
    }

    fn publish(&mut self, queue: &str) {
        self.publish_with(queue, &Properties::default());
    }

    fn publish_persistent(&mut self, queue: &str) {
        self.publish_with(queue, &Properties::of(DeliveryMode::Persistent));
    }

    fn publish_with(&mut self, queue: &str, properties: &Properties) {
        let publish = Publish {
            routing_key: queue.as_bytes(),
            ..Publish::default()
        };
        let outbox = self.connection.outbox();
        outbox
            .publish(1, &publish, properties, &Bytes::from_static(b"hello"))
            .unwrap();
        self.flush();
    }

    /// Says something on the channel, and waits for the answer.
    fn call(&mut self, method: impl Into<Method>) {
        self.connection.outbox().method(1, method).unwrap();
        assert!(matches!(
            self.next().unwrap(),
            Some(Event::Method { channel: 1, .. })
        ));
    }

    /// Gets the next message of a queue: its routing key, its headers and its body.
    fn get(&mut self, queue: &str) -> Option<(String, Table, Bytes)> {
        let get = basic::Get {
            queue: queue.try_into().unwrap(),
            no_ack: true,
            ..basic::Get::default()
        };
        self.connection.outbox().method(1, get).unwrap();
        match self.next().unwrap() {
            Some(Event::Message { message, .. }) => {
                let key = message.get_ok().unwrap().routing_key;
                let key = String::from_utf8(key.to_vec()).unwrap();
                let headers = message.header().properties().headers;
                Some((key, headers.unwrap_or_default(), message.whole_body()))
            }
            Some(Event::Method { .. }) => None,
            other => panic!("{other:?}"),
        }
    }

    fn flush(&mut self) {
        let outbox = self.connection.outbox();
        while outbox.has_remaining() {
            let count = self.stream.write(outbox.chunk()).unwrap();
            outbox.advance(count);
        }
        self.stream.flush().unwrap();
    }

    /// What comes next; `None`: the server sends no more.
    fn next(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            if let Some(event) = self.connection.event()? {
                return Ok(Some(event));
            }
            self.flush();
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(None),
                Ok(count) => self.connection.input().extend_from_slice(&buffer[..count]),
                // The process may be gone before its socket has been emptied.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Why a login failed: code and text.
fn refusal(result: Result<Client, ClientError>) -> (u16, String) {
    match result {
        Err(ClientError::Login(Failure::Closed { code, text, .. })) => (code, text),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("the login was accepted"),
    }
}

#[test]
fn without_a_file_it_serves_guest_and_ends_with_a_word_to_its_clients() {
    let directory = tempfile::tempdir().unwrap();
    let mut broker = Broker::start(directory.path(), &["--node-name", "rabbit@here"]);
    let mut client = Client::connect(broker.address, "guest", "guest", "/").unwrap();
    broker.signal(Signal::SIGTERM);
    let Some(Event::Method {
        channel: 0,
        method: Method::Connection(connection::Method::Close(close)),
    }) = client.next().unwrap()
    else {
        panic!("no connection.close")
    };
    assert_eq!(close.reply_code, 320);
    assert_eq!(
        close.reply_text.to_text(),
        "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'"
    );
    assert!(client.next().unwrap().is_none());
    assert!(broker.await_end().success());
    let end = await_line(&mut broker.log, "stopped");
    assert!(end.contains("elapsed_ms="), "{end}");
    assert!(directory.path().join("data").is_dir());
}

#[test]
fn a_client_that_does_not_answer_delays_the_end_no_longer_than_a_second_signal() {
    let directory = tempfile::tempdir().unwrap();
    let mut broker = Broker::start(directory.path(), &[]);
    let _mute = Client::connect(broker.address, "guest", "guest", "/").unwrap();
    broker.signal(Signal::SIGTERM);
    await_line(&mut broker.log, "stopping");
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(50));
        broker.signal(Signal::SIGTERM);
    }
    assert!(broker.await_end().success());
    await_line(&mut broker.log, "connections were cut at the end");
}

#[test]
fn a_service_manager_is_asked_for_as_long_as_a_stop_may_take() {
    let directory = tempfile::tempdir().unwrap();
    let (socket, file) = (
        directory.path().join("notify"),
        directory.path().join("warren.toml"),
    );
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    std::fs::write(&file, "[broker]\nstop_timeout = \"60s\"\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
    command
        .args(["broker", "--listen", "127.0.0.1:0", "--config"])
        .arg(&file);
    command.arg("--data").arg(directory.path().join("data"));
    command.env("NOTIFY_SOCKET", &socket);
    let mut broker = Broker::run(&mut command);
    broker.signal(Signal::SIGTERM);
    let mut said = String::new();
    while !said.contains("EXTEND_TIMEOUT_USEC=80000000") {
        let mut message = [0; 4096];
        let length = manager
            .recv(&mut message)
            .unwrap_or_else(|error| panic!("{error}: {said}"));
        said += &String::from_utf8_lossy(&message[..length]);
    }
    assert!(said.contains("STOPPING=1"), "{said}");
    assert!(broker.await_end().success());
}

#[test]
fn a_service_manager_hears_that_it_recovers_and_that_it_is_ready_when_clients_can_come_in() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let disk = disk::Disk::new(directory.path());
    let command = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
        command.args(["broker", "--listen", "127.0.0.1:0", "--data"]);
        command.arg(directory.path().join("data"));
        disk.put_under(&mut command);
        command
    };
    // Killed: there is something to recover from.
    drop(Broker::run(&mut command()));
    disk.waits();
    let mut command = command();
    command.env("NOTIFY_SOCKET", &socket);
    let starting = std::thread::spawn(move || Broker::run(&mut command));
    let said = || {
        let mut message = [0; 4096];
        let length = manager.recv(&mut message).unwrap();
        String::from_utf8_lossy(&message[..length]).into_owned()
    };
    assert_eq!(said(), "STATUS=recovering\n");
    // As long as it lasts it asks for more time, and is not ready.
    for _ in 0..2 {
        let said = said();
        assert!(
            said.starts_with("EXTEND_TIMEOUT_USEC=60000000\nSTATUS=recovering"),
            "{said}"
        );
    }
    assert!(!starting.is_finished());
    disk.works();
    loop {
        let said = said();
        if said.starts_with("READY=1") {
            break;
        }
        assert!(said.contains("STATUS=recovering"), "{said}");
    }
    let broker = starting.join().unwrap();
    assert!(Client::connect(broker.address, "guest", "guest", "/").is_ok());
}

#[test]
fn a_disk_that_fails_ends_the_broker_which_says_so_and_has_all_that_it_confirmed_afterwards() {
    let directory = tempfile::tempdir().unwrap();
    let disk = disk::Disk::new(directory.path());
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
        command.args(["broker", "--listen", "127.0.0.1:0", "--data"]);
        command.arg(directory.path().join("data"));
        disk.put_under(&mut command);
        Broker::run(&mut command)
    };
    let mut broker = start();
    let mut client = Client::connect(broker.address, "guest", "guest", "/").unwrap();
    client.open_channel();
    client.declare_and_publish("kept", 0);
    client.call(confirm::Select::default());
    let heard = |client: &mut Client| {
        client.publish_persistent("kept");
        client.next().unwrap()
    };
    let confirmed = heard(&mut client);
    assert!(
        matches!(
            confirmed,
            Some(Event::Method {
                channel: 1,
                method: Method::Basic(basic::Method::Ack(_))
            })
        ),
        "{confirmed:?}"
    );
    disk.fails();
    let ended = heard(&mut client);
    assert!(
        matches!(ended, None | Some(Event::Method { channel: 0, .. })),
        "{ended:?}"
    );
    assert_eq!(broker.await_end().code(), Some(1));
    let mut said = String::new();
    broker.log.read_to_string(&mut said).unwrap();
    assert!(said.contains("the process has to end"), "{said}");
    disk.works();
    let broker = start();
    let mut client = Client::connect(broker.address, "guest", "guest", "/").unwrap();
    client.open_channel();
    assert!(client.get("kept").is_some());
}

#[test]
fn a_wrong_password_is_refused_in_rabbitmqs_words() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(directory.path(), &[]);
    let (code, text) = refusal(Client::connect(broker.address, "guest", "wrong", "/"));
    assert_eq!(code, 403);
    assert_eq!(
        text,
        "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile."
    );
}

#[test]
fn a_rabbitmq_conf_runs_as_it_is_and_the_environment_wins() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rabbitmq.conf");
    std::fs::write(
        &file,
        "default_user = admin\ndefault_pass = one\ndefault_vhost = shop\n",
    )
    .unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
    command
        .args(["broker", "--listen", "127.0.0.1:0", "-f"])
        .arg(&file);
    command.arg("--data").arg(directory.path().join("data"));
    command.env("RABBITMQ_DEFAULT_PASS", "two");
    let broker = Broker::run(&mut command);
    assert!(Client::connect(broker.address, "admin", "two", "shop").is_ok());
    let (code, _) = refusal(Client::connect(broker.address, "admin", "one", "shop"));
    assert_eq!(code, 403);
    let (code, _) = refusal(Client::connect(broker.address, "guest", "guest", "/"));
    assert_eq!(code, 403);
    let cookie = std::fs::read_to_string(directory.path().join("data/.erlang.cookie")).unwrap();
    assert_eq!(cookie.len(), 20);
}

#[test]
fn a_reload_says_what_is_different_and_a_wrong_file_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("warren.toml");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    write("[broker]\nheartbeat = \"60s\"\n");
    let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
    command
        .args(["broker", "--listen", "127.0.0.1:0", "--config"])
        .arg(&file);
    command.arg("--data").arg(directory.path().join("data"));
    let mut broker = Broker::run(&mut command);
    let client = Client::connect(broker.address, "guest", "guest", "/").unwrap();
    write("[broker]\nheartbeat = \"20s\"\nloopback_users = []\n");
    broker.signal(Signal::SIGHUP);
    let line = await_line(&mut broker.log, "configuration changed");
    assert!(line.contains("loopback_users: guest -> "), "{line}");
    let line = await_line(&mut broker.log, "configuration changed");
    assert!(line.contains("heartbeat: 60s -> 20s"), "{line}");
    await_line(&mut broker.log, "configuration was read again");
    write("[broker]\nheartbeat = 20\n");
    broker.signal(Signal::SIGHUP);
    await_line(&mut broker.log, "the earlier one stays in force");
    assert!(Client::connect(broker.address, "guest", "guest", "/").is_ok());
    drop(client);
}

#[test]
fn a_reload_narrows_where_the_broker_listens_and_widens_it_and_nobody_finds_it_closed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("warren.toml");
    let listen = |address: &str| {
        std::fs::write(
            &file,
            format!("[broker]\nlisten = [\"{address}\"]\nmetrics = \"off\"\n"),
        )
        .unwrap();
    };
    listen("0.0.0.0:0");
    let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
    command.args(["broker", "--config"]).arg(&file);
    command.arg("--data").arg(directory.path().join("data"));
    let mut broker = Broker::run(&mut command);
    let port = broker.address.port();
    let at = |host: &str| -> SocketAddr { format!("{host}:{port}").parse().unwrap() };
    let mut standing = Client::connect(at("127.0.0.2"), "guest", "guest", "/").unwrap();
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Whoever has been let in as the old one closed may be cut off; nobody is refused.
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                TcpStream::connect(at("127.0.0.1")).unwrap();
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        for address in ["127.0.0.1", "0.0.0.0", "127.0.0.1"] {
            listen(&at(address).to_string());
            broker.signal(Signal::SIGHUP);
            let line = await_line(&mut broker.log, "configuration changed");
            assert!(
                line.contains(&format!("-> {address}:{port}")) && !line.contains("next start"),
                "{line}"
            );
            await_line(&mut broker.log, "configuration was read again");
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(Client::connect(at("127.0.0.1"), "guest", "guest", "/").is_ok());
    // The old socket is closed by whoever accepted from it, a moment later.
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(at("127.0.0.2")).is_ok() {
        assert!(Instant::now() < deadline, "the wide address is still open");
        std::thread::sleep(Duration::from_millis(10));
    }
    standing
        .connection
        .outbox()
        .method(1, channel::Open::default())
        .unwrap();
    assert!(standing.next().unwrap().is_some(), "standing connections stay");
}

#[test]
fn a_reload_adds_who_is_new_in_the_file_of_users_and_a_wrong_one_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (file, users) = (
        directory.path().join("rabbitmq.conf"),
        directory.path().join("users.json"),
    );
    let write = |text: &str| std::fs::write(&users, text).unwrap();
    let configure = |more: &str| {
        let text = format!(
            "load_definitions = {}\ncluster_name = shop\n{more}",
            users.display()
        );
        std::fs::write(&file, text).unwrap();
    };
    configure("");
    write(r#"{"users": []}"#);
    let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
    command
        .args(["broker", "--listen", "127.0.0.1:0", "-f"])
        .arg(&file);
    command.arg("--data").arg(directory.path().join("data"));
    let mut broker = Broker::run(&mut command);
    let ann = r#"{"users": [{"name": "ann", "password": "secret", "tags": ""}],
        "permissions": [{"user": "ann", "vhost": "/", "configure": "", "write": "", "read": ""}]}"#;
    write(ann);
    broker.signal(Signal::SIGHUP);
    await_line(&mut broker.log, "configuration was read again");
    let client = Client::connect(broker.address, "ann", "secret", "/").unwrap();
    write("{");
    configure("heartbeat = 20\n");
    broker.signal(Signal::SIGHUP);
    let line = await_line(&mut broker.log, "the earlier one stays in force");
    assert!(line.contains("users.json cannot be used"), "{line}");
    write(ann);
    broker.signal(Signal::SIGHUP);
    let line = await_line(&mut broker.log, "configuration changed");
    assert!(
        line.contains("heartbeat: 60s -> 20s"),
        "it was not applied before: {line}"
    );
    drop(client);
}

#[test]
fn a_reload_changes_what_is_logged() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rabbitmq.conf");
    std::fs::write(&file, "log.console.level = info\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
    command
        .args(["broker", "--listen", "127.0.0.1:0", "-f"])
        .arg(&file);
    command.arg("--data").arg(directory.path().join("data"));
    command.env_remove("WARREN_LOG");
    let mut broker = Broker::run(&mut command);
    std::fs::write(&file, "log.console.level = error\n").unwrap();
    broker.signal(Signal::SIGHUP);
    // What says that it was read is not said any more; what follows is not either.
    std::fs::write(&file, "log.console.level = debug\n").unwrap();
    drop(Client::connect(broker.address, "guest", "guest", "/").unwrap());
    broker.signal(Signal::SIGHUP);
    let line = await_line(&mut broker.log, "log_level");
    assert!(line.contains("-> debug"), "{line}");
}

#[test]
fn metrics_are_where_the_file_says_and_a_port_in_use_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let file = directory.path().join("rabbitmq.conf");
    let serve_at = |address: SocketAddr| {
        let (ip, port) = (address.ip(), address.port());
        let text = format!("prometheus.tcp.ip = {ip}\nprometheus.tcp.port = {port}\n");
        std::fs::write(&file, text).unwrap();
    };
    serve_at(address);
    let command = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
        command
            .args(["broker", "--listen", "127.0.0.1:0", "-f"])
            .arg(&file);
        command.arg("--data").arg(directory.path().join("data"));
        command.arg("--runtime-dir").arg(directory.path().join("run"));
        command
    };
    let output = command().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains(&format!(
            "cannot serve metrics on {address}: Address already in use"
        )),
        "{said}"
    );
    assert!(said.contains("prometheus.tcp.port"), "{said}");
    // The same port of an address that nobody else uses.
    let address = SocketAddr::from(([127, 0, 0, 2], address.port()));
    serve_at(address);
    let _broker = Broker::run(&mut command());
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    assert!(page.contains("\nrabbitmq_connections 0\n"), "{page}");
}

/// What openssl, which is nobody's code here, sees of the server; with these arguments besides.
fn openssl(address: SocketAddr, arguments: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &address.to_string()])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("openssl is installed");
    [output.stdout, output.stderr]
        .map(|text| String::from_utf8_lossy(&text).into_owned())
        .concat()
}

/// A certificate of this name and for so many days with its key, in one file.
fn certificate(file: &Path, name: &str, days: &str) {
    let (key, whole) = (file.with_extension("new-key"), file.with_extension("new"));
    let status = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args([
            "-subj",
            &format!("/CN={name}"),
            "-addext",
            &format!("subjectAltName=DNS:{name}"),
        ])
        .args(["-days", days, "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&whole)
        .stderr(Stdio::null())
        .status()
        .expect("openssl is installed");
    assert!(status.success());
    let text = std::fs::read_to_string(&whole).unwrap() + &std::fs::read_to_string(&key).unwrap();
    std::fs::write(&whole, text).unwrap();
    std::fs::rename(whole, file).unwrap();
}

#[test]
fn renewed_certificates_are_used_without_a_word_and_bad_ones_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("broker.pem");
    certificate(&path, "first.example", "10");
    let file = directory.path().join("warren.toml");
    let text = format!(
        "[broker]\nlisten = []\ntls_listen = [\"127.0.0.1:0\"]\nmetrics = \"off\"\nhandshake_timeout = \"1s\"\n\
         tls = {{ certificates = [\"{}\"] }}\n",
        path.display()
    );
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
    command.args(["broker", "--config"]).arg(&file);
    command.arg("--data").arg(directory.path().join("data"));
    let mut broker = Broker::run(&mut command);
    let warning = await_line(&mut broker.log, "certificate expires soon");
    assert!(warning.contains("days=9"), "{warning}");
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let said = openssl(broker.address, &[version, "-servername", "first.example"]);
        assert!(said.contains("first.example") && said.contains(name), "{said}");
    }
    let said = openssl(broker.address, &["-tls1_1"]);
    assert!(!said.contains("first.example"), "{said}");
    let other = directory.path().join("other.pem");
    certificate(&other, "other.example", "10");
    let trusting = |file: &Path| {
        let file = file.display().to_string();
        openssl(broker.address, &["-verify_return_error", "-CAfile", &file])
    };
    assert!(trusting(&path).contains("Verification: OK"));
    let said = trusting(&other);
    assert!(
        said.contains("verify error"),
        "who trusts another authority goes: {said}"
    );

    certificate(&path, "second.example", "100");
    await_line(&mut broker.log, "certificates have changed and were read again");
    let said = openssl(broker.address, &[]);
    assert!(said.contains("second.example"), "{said}");

    std::fs::write(&path, "no certificate").unwrap();
    let line = await_line(&mut broker.log, "the earlier ones stay in force");
    assert!(line.contains("broker.pem"), "{line}");
    let said = openssl(broker.address, &[]);
    assert!(said.contains("second.example"), "{said}");

    // Who says nothing is not waited for.
    let mut mute = TcpStream::connect(broker.address).unwrap();
    mute.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(mute.read(&mut [0]).unwrap(), 0);
    await_line(&mut broker.log, "handshake took too long");
}

#[test]
fn without_file_descriptors_nobody_comes_in_and_those_inside_are_served_at_no_cost() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new("prlimit");
    command
        .args(["--nofile=64:64", env!("CARGO_BIN_EXE_warren"), "broker"])
        .args(["--listen", "127.0.0.1:0", "--data"])
        .arg(directory.path().join("data"));
    let mut broker = Broker::run(&mut command);
    let inside = Client::connect(broker.address, "guest", "guest", "/").unwrap();
    let crowd: Vec<TcpStream> = (0..100)
        .map(|_| TcpStream::connect(broker.address).unwrap())
        .collect();
    await_line(&mut broker.log, "could not accept a client");
    let said = Instant::now();
    // Ticks of the processor, of which there are a hundred in a second.
    let ticks = || -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", broker.process.id())).unwrap();
        let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
        fields
            .skip(11)
            .take(2)
            .map(|ticks| ticks.parse::<u64>().unwrap())
            .sum()
    };
    let before = ticks();
    std::thread::sleep(Duration::from_secs(2));
    assert!(ticks() - before < 60, "{} of 200 ticks", ticks() - before);
    let mut client = inside;
    client
        .connection
        .outbox()
        .method(1, channel::Open::default())
        .unwrap();
    assert!(matches!(
        client.next().unwrap(),
        Some(Event::Method { channel: 1, .. })
    ));
    drop(crowd);
    assert!(
        Client::connect(broker.address, "guest", "guest", "/").is_ok(),
        "there is room again"
    );
    broker.signal(Signal::SIGTERM);
    let mut rest = String::new();
    broker.log.read_to_string(&mut rest).unwrap();
    let again = rest.matches("could not accept a client").count() as u64;
    assert!(
        again <= said.elapsed().as_secs() / 10,
        "said once in ten seconds: {rest}"
    );
}

#[test]
fn a_wrong_configuration_is_shown_with_its_place_and_ends_the_start() {
    let directory = tempfile::tempdir().unwrap();
    for (name, flag, text, expected) in [
        (
            "rabbitmq.conf",
            "-f",
            "heartbeet = 1\n",
            "did you mean \"heartbeat\"?",
        ),
        (
            "warren.toml",
            "--config",
            "[broker]\nlissen = []\n",
            "did you mean `listen`?",
        ),
    ] {
        let file = directory.path().join(name);
        std::fs::write(&file, text).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_warren"))
            .args(["broker", flag])
            .arg(&file)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains(expected) && said.contains(name), "{said}");
        let output = Command::new(env!("CARGO_BIN_EXE_warren"))
            .arg("check")
            .arg(&file)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(78));
        assert!(String::from_utf8_lossy(&output.stdout).contains(expected));
    }
}

#[test]
fn an_address_in_use_ends_the_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_warren"))
        .args(["broker", "--listen", &address, "--data"])
        .arg(directory.path())
        .arg("--runtime-dir")
        .arg(directory.path().join("run"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("cannot listen on {address}")), "{said}");
}
