use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::*;

#[derive(Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
enum Ask {
    WhoAmI {},
    Count { to: u32 },
    Forever {},
    Flood {},
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
enum Answer {
    You { uid: u32, pid: Option<i32> },
    Number { number: u32, padding: String },
    Refused { message: String },
}

fn number(number: u32) -> Answer {
    Answer::Number {
        number,
        padding: String::new(),
    }
}

/// Counts the calls that are going on.
struct Counter {
    active: Arc<AtomicUsize>,
}

struct Active(Arc<AtomicUsize>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Service for Counter {
    type Request = Ask;
    type Reply = Answer;

    async fn call(&self, peer: Peer, request: Ask, replies: &mut Replies<'_, Answer>) -> Result<(), Gone> {
        self.active.fetch_add(1, Ordering::SeqCst);
        let _active = Active(self.active.clone());
        match request {
            Ask::WhoAmI {} => {
                replies
                    .send(&Answer::You {
                        uid: peer.uid,
                        pid: peer.pid,
                    })
                    .await
            }
            Ask::Count { to } => {
                for at in 0..to {
                    replies.send(&number(at)).await?;
                }
                Ok(())
            }
            Ask::Forever {} => {
                replies.send(&number(0)).await?;
                std::future::pending().await
            }
            Ask::Flood {} => loop {
                replies
                    .send(&Answer::Number {
                        number: 0,
                        padding: "x".repeat(1 << 16),
                    })
                    .await?;
            },
        }
    }

    fn refused(&self, problem: Problem) -> Answer {
        Answer::Refused {
            message: problem.to_string(),
        }
    }
}

/// A daemon on a thread of its own; stops when dropped.
struct Daemon {
    directory: TempDir,
    active: Arc<AtomicUsize>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Daemon {
    fn start(limits: Limits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = ControlSocket::bind(&directory.path().join("test.sock"), None).unwrap();
        let active = Arc::new(AtomicUsize::new(0));
        let service = Counter {
            active: active.clone(),
        };
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                tokio::select! {
                    served = serve(socket, limits, service) => panic!("{served:?}"),
                    _ = stopped => {}
                }
            });
        });
        Self {
            directory,
            active,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("test.sock")
    }

    fn client(&self) -> Client {
        Client::connect(&address(&self.path())).unwrap()
    }

    fn raw(&self) -> UnixStream {
        let stream = UnixStream::connect(self.path()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    /// What a raw client gets for these bytes, until the daemon closes.
    fn answer_to(&self, bytes: &[u8]) -> String {
        let mut stream = self.raw();
        // The daemon may have refused and closed before reading.
        let _ = stream.write_all(bytes);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    }

    fn eventually_active(&self, expected: usize) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.active.load(Ordering::SeqCst) != expected {
            let active = self.active.load(Ordering::SeqCst);
            assert!(
                Instant::now() < deadline,
                "{active} calls are active, not {expected}"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

fn address(path: &Path) -> Address {
    Address {
        path: path.into(),
        name: "pigeon loft".into(),
        start: "systemctl start pigeon".into(),
    }
}

#[test]
fn a_request_is_answered_and_the_peer_is_known() {
    let daemon = Daemon::start(Limits::default());
    let expected = Answer::You {
        uid: nix::unistd::getuid().as_raw(),
        pid: Some(i32::try_from(std::process::id()).unwrap()),
    };
    let answer: Answer = daemon.client().call(&Ask::WhoAmI {}).unwrap();
    assert_eq!(answer, expected);
}

#[test]
fn many_answers_arrive_in_order_and_end() {
    let daemon = Daemon::start(Limits::default());
    let answers: Vec<Answer> = daemon
        .client()
        .stream(&Ask::Count { to: 1000 })
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(answers.len(), 1000);
    assert_eq!(answers[999], number(999));
}

#[test]
fn a_request_that_is_not_understood_is_refused_in_the_protocols_own_words() {
    let daemon = Daemon::start(Limits::default());
    for (request, expected) in [
        (
            "{\"request\":\"conut\"}\n",
            "unknown variant `conut`, expected one of",
        ),
        (
            "{\"request\":\"count\",\"to\":-1}\n",
            "invalid value: integer `-1`, expected u32",
        ),
        ("{\"request\":\"who-am-i\",\"x\":1}\n", "unknown field `x`"),
        ("hello\n", "expected value at line 1 column 1"),
        ("\u{0}\n", "expected value"),
    ] {
        let answer = daemon.answer_to(request.as_bytes());
        assert!(
            answer.starts_with("{\"reply\":\"refused\",\"message\":\"the request is not understood: "),
            "{answer}"
        );
        assert!(answer.contains(expected) && answer.ends_with("}\n"), "{answer}");
    }
    assert_eq!(daemon.answer_to(b"\n"), "", "an empty line asks nothing");
}

#[test]
fn a_client_that_sends_no_more_still_gets_its_answer() {
    let daemon = Daemon::start(Limits::default());
    let mut stream = daemon.raw();
    stream.write_all(b"{\"request\":\"count\",\"to\":2}").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(
        BufReader::new(stream).lines().count(),
        2,
        "without a newline, too"
    );
}

#[test]
fn a_call_ends_when_its_client_hangs_up() {
    let daemon = Daemon::start(Limits::default());
    let mut answers = daemon.client().follow::<_, Answer>(&Ask::Forever {}).unwrap();
    assert_eq!(answers.next().unwrap().unwrap(), number(0));
    daemon.eventually_active(1);
    drop(answers);
    daemon.eventually_active(0);

    let mut half_closed = daemon.raw();
    half_closed.write_all(b"{\"request\":\"forever\"}\n").unwrap();
    half_closed.shutdown(std::net::Shutdown::Write).unwrap();
    daemon.eventually_active(1);
    drop(half_closed);
    daemon.eventually_active(0);
}

#[test]
fn a_client_that_does_not_read_is_cut_off() {
    let limits = Limits {
        // Longer than a machine does nothing: the call is seen to be active.
        reply_timeout: Duration::from_secs(1),
        ..Limits::default()
    };
    let daemon = Daemon::start(limits);
    let mut stream = daemon.raw();
    stream.write_all(b"{\"request\":\"flood\"}\n").unwrap();
    daemon.eventually_active(1);
    daemon.eventually_active(0);
}

#[test]
fn a_request_must_be_short_and_come_in_time() {
    let limits = Limits {
        request_bytes_max: 100,
        request_timeout: Duration::from_secs(1),
        ..Limits::default()
    };
    let daemon = Daemon::start(limits);
    let answer = daemon.answer_to(&[b'x'; 101]);
    assert!(
        answer.contains("the request is longer than 100 bytes"),
        "{answer}"
    );
    let answer = daemon.answer_to(b"{\"request\"");
    assert!(answer.contains("no request came within 1s"), "{answer}");
}

#[test]
fn connections_are_limited_and_become_free_again() {
    let daemon = Daemon::start(Limits {
        connections_max: 2,
        ..Limits::default()
    });
    let first = daemon.client().follow::<_, Answer>(&Ask::Forever {}).unwrap();
    let second = daemon.client().follow::<_, Answer>(&Ask::Forever {}).unwrap();
    daemon.eventually_active(2);
    let refused: Answer = daemon.client().call(&Ask::WhoAmI {}).unwrap();
    let Answer::Refused { message } = refused else {
        panic!("{refused:?}")
    };
    assert!(message.starts_with("2 control connections are open"), "{message}");
    drop((first, second));
    daemon.eventually_active(0);
    let deadline = Instant::now() + Duration::from_secs(5);
    while !matches!(daemon.client().call(&Ask::WhoAmI {}), Ok(Answer::You { .. })) {
        assert!(Instant::now() < deadline, "no connection became free");
    }
}

#[test]
fn nobody_there_is_told_with_the_command_that_starts_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.sock");
    let missing = Client::connect(&address(&path)).unwrap_err().to_string();
    let expected = format!(
        "no pigeon loft is running here: {}: No such file or directory",
        path.display()
    );
    assert!(missing.starts_with(&expected), "{missing}");
    assert!(
        missing.ends_with("; start it with: systemctl start pigeon"),
        "{missing}"
    );
    drop(UnixListener::bind(&path).unwrap());
    let refused = Client::connect(&address(&path)).unwrap_err().to_string();
    assert!(refused.contains("Connection refused"), "{refused}");
}

#[test]
fn a_silent_or_strange_daemon_is_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let ask = |reply: Option<&[u8]>| {
        let client = Client::connect(&address(&path))
            .unwrap()
            .timeout(Duration::from_millis(50));
        let (mut stream, _) = listener.accept().unwrap();
        // Silent: kept open until the client has given up. Otherwise written and closed before it asks.
        let kept = reply.is_none().then_some(stream.try_clone().unwrap());
        stream.write_all(reply.unwrap_or_default()).unwrap();
        drop(stream);
        let error = client.call::<_, Answer>(&Ask::WhoAmI {}).unwrap_err();
        drop(kept);
        error
    };
    assert!(matches!(ask(None), ClientError::TimedOut { .. }));
    assert!(matches!(ask(Some(b"")), ClientError::NoAnswer { .. }));
    assert!(matches!(ask(Some(b"{\"reply\"")), ClientError::CutOff { .. }));
    let strange = ask(Some(b"HTTP/1.1 400\r\n"));
    assert!(
        strange
            .to_string()
            .contains("HTTP/1.1 400; client and daemon may be of different versions"),
        "{strange}"
    );
}

#[test]
fn the_socket_is_for_owner_and_group_and_disappears_with_its_daemon() {
    let daemon = Daemon::start(Limits::default());
    let (path, file) = (daemon.path(), fs::metadata(daemon.path()).unwrap());
    assert!(file.file_type().is_socket());
    assert_eq!(file.mode() & 0o7777, 0o660);
    assert_eq!(
        fs::read_dir(daemon.directory.path()).unwrap().count(),
        1,
        "nothing but the socket"
    );
    let directory = tempfile::tempdir().unwrap();
    let own_group = nix::unistd::getgid().as_raw();
    let socket = ControlSocket::bind(&directory.path().join("s"), Some(own_group)).unwrap();
    assert_eq!(fs::metadata(socket.path()).unwrap().gid(), own_group);
    // The directory of the first is gone with its daemon, so look at the second's.
    let path_of_second = socket.path().to_owned();
    drop(socket);
    assert!(!path_of_second.exists());
    drop(daemon);
    assert!(!path.exists());
}

#[test]
fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.sock");
    drop(UnixListener::bind(&path).unwrap());
    let living = ControlSocket::bind(&path, None).unwrap();
    let error = ControlSocket::bind(&path, None).unwrap_err();
    let expected = format!(
        "a daemon with process id {} is already answering here",
        std::process::id()
    );
    assert!(error.to_string().contains(&expected), "{error}");
    UnixStream::connect(&path).unwrap();
    drop(living);
}

#[test]
fn what_is_no_socket_is_never_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.sock");
    fs::write(&path, "precious").unwrap();
    assert!(matches!(
        ControlSocket::bind(&path, None),
        Err(BindError::NotASocket(_))
    ));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    let long = directory.path().join("x".repeat(100));
    assert!(matches!(
        ControlSocket::bind(&long, None),
        Err(BindError::TooLong { .. })
    ));
}

#[test]
fn a_successors_socket_is_not_removed_by_its_predecessor() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.sock");
    let old = ControlSocket::bind(&path, None).unwrap();
    fs::remove_file(&path).unwrap();
    let new = ControlSocket::bind(&path, None).unwrap();
    drop(old);
    UnixStream::connect(&path).unwrap();
    drop(new);
}

#[test]
fn a_daemon_that_accepts_nobody_keeps_its_socket_and_no_one_waiting() {
    use nix::sys::socket as raw;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.sock");
    let stopped = raw::socket(
        raw::AddressFamily::Unix,
        raw::SockType::Stream,
        raw::SockFlag::SOCK_CLOEXEC,
        None,
    )
    .unwrap();
    raw::bind(
        std::os::fd::AsRawFd::as_raw_fd(&stopped),
        &raw::UnixAddr::new(&path).unwrap(),
    )
    .unwrap();
    raw::listen(&stopped, raw::Backlog::new(0).unwrap()).unwrap();
    let _waiting = UnixStream::connect(&path).unwrap();
    assert!(matches!(
        ControlSocket::bind(&path, None),
        Err(BindError::InUse { pid: None, .. })
    ));
    let error = socket::connect(&path, Duration::from_millis(20)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
}
