//! A server like RabbitMQ, as far as a proxy can tell: greets whoever sends the header, lets everybody in, sends back
//! what it gets. What makes it interesting are its moods, which it is told over a socket while it runs.
//!
//! One thread per connection: it is a test's server, and is to be stopped, frozen and killed.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, SockRef, Socket, Type};

use super::{
    BLOCKED, BODY, CLOSE, CLOSE_OK, FRAME_MAX, Frame, HEADER, HEARTBEAT, OPEN, OPEN_OK, START, START_OK,
    TUNE, TUNE_OK, long, short, table,
};

/// How it behaves, and what it has seen.
#[derive(Debug, Default)]
struct Mood {
    refuses: AtomicBool,
    /// Connections wait in a queue that is soon full.
    stalls: AtomicBool,
    /// Milliseconds before the greeting.
    greets_after: AtomicU64,
    /// Resets a connection that has sent so many octets; 0 is never.
    resets_after: AtomicU64,
    alarm: AtomicBool,
    /// Seconds it proposes for heartbeats, in `tune`.
    heartbeat: AtomicUsize,
    accepted: AtomicU64,
    logged_in: AtomicU64,
    received: AtomicU64,
    open: Mutex<HashMap<u64, Arc<Connection>>>,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    writing: Mutex<()>,
}

impl Connection {
    fn send(&self, frame: &Frame) -> io::Result<()> {
        let _writing = self.writing.lock().expect("no thread panics while writing");
        frame.write(&self.stream)
    }
}

/// Serves at `address` until killed; takes orders at the socket `control`.
///
/// Orders: `refuse`, `listen`, `stall`, `greet-after MILLISECONDS`, `reset-after OCTETS`, `alarm on|off`,
/// `heartbeat SECONDS`, `force-close` (connection.close 320 to everybody, as when the application is stopped), `cut` (the
/// end of the stream, to everybody), `seen` (accepted, logged in, open, octets received).
pub fn serve(name: &str, address: SocketAddr, control: &Path) -> io::Result<()> {
    let mood = Arc::new(Mood::default());
    mood.heartbeat.store(60, Ordering::Relaxed);
    let mut listener = Some(listen(address, 1024)?);
    let orders = UnixListener::bind(control)?;
    let taken = Arc::clone(&mood);
    std::thread::spawn(move || {
        for order in orders.incoming().filter_map(Result::ok) {
            // Whoever gave the order may be gone.
            let _ = take_order(order, &taken);
        }
    });
    let mut number = 0;
    let mut admit = |stream: TcpStream| {
        number += 1;
        mood.accepted.fetch_add(1, Ordering::Relaxed);
        let (name, number, mood) = (name.to_owned(), number, Arc::clone(&mood));
        let thread = std::thread::Builder::new().stack_size(64 * 1024);
        let attending = thread.spawn(move || attend(&name, number, stream, &mood));
        attending
            .map(drop)
            .unwrap_or_else(|error| eprintln!("no thread for a connection: {error}"));
    };
    loop {
        let (refuses, stalls) = (
            mood.refuses.load(Ordering::Relaxed),
            mood.stalls.load(Ordering::Relaxed),
        );
        if refuses {
            // Who is in the queue has been let in already.
            let left = listener
                .take()
                .into_iter()
                .flat_map(|socket| std::iter::from_fn(move || socket.accept().ok()));
            left.for_each(|(stream, _)| admit(stream));
        } else if listener.is_none() {
            listener = Some(listen(address, if stalls { 0 } else { 1024 })?);
        }
        let Some(socket) = listener.as_ref().filter(|_| !stalls) else {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        };
        let mut ready = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, PollTimeout::from(20u8)).unwrap_or(0) == 0 {
            continue;
        }
        if let Ok((stream, _)) = socket.accept() {
            admit(stream);
        }
    }
}

fn listen(address: SocketAddr, queue: i32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(queue)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn take_order(stream: UnixStream, mood: &Mood) -> io::Result<()> {
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line)?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |text: &str| text.parse::<u64>().map_err(io::Error::other);
    let everybody =
        || -> Vec<Arc<Connection>> { mood.open.lock().expect("no panic").values().cloned().collect() };
    let mut answer = "done".to_owned();
    match words.as_slice() {
        ["refuse"] => mood.refuses.store(true, Ordering::Relaxed),
        ["stall"] => {
            // The queue's length is decided when listening begins.
            mood.refuses.store(true, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(50));
            mood.stalls.store(true, Ordering::Relaxed);
            mood.refuses.store(false, Ordering::Relaxed);
        }
        ["listen"] => {
            mood.stalls.store(false, Ordering::Relaxed);
            mood.refuses.store(false, Ordering::Relaxed);
        }
        ["greet-after", milliseconds] => mood.greets_after.store(number(milliseconds)?, Ordering::Relaxed),
        ["reset-after", octets] => mood.resets_after.store(number(octets)?, Ordering::Relaxed),
        ["heartbeat", seconds] => mood.heartbeat.store(number(seconds)? as usize, Ordering::Relaxed),
        ["alarm", state] => {
            mood.alarm.store(*state == "on", Ordering::Relaxed);
            if *state == "on" {
                everybody()
                    .iter()
                    .for_each(|connection| drop(connection.send(&blocked())));
            }
        }
        ["force-close"] => {
            for connection in everybody() {
                let _ = connection.send(&forced());
            }
        }
        ["cut"] => {
            for connection in everybody() {
                let _ = connection.stream.shutdown(Shutdown::Both);
            }
        }
        ["seen"] => {
            let seen =
                [&mood.accepted, &mood.logged_in, &mood.received].map(|count| count.load(Ordering::Relaxed));
            let open = mood.open.lock().expect("no panic").len();
            answer = format!("{} {} {open} {}", seen[0], seen[1], seen[2]);
        }
        other => answer = format!("unknown order {other:?}"),
    }
    (&stream).write_all(answer.as_bytes())
}

fn attend(name: &str, number: u64, stream: TcpStream, mood: &Mood) {
    // Accepted sockets do not inherit it on Linux; said all the same.
    let _ = stream.set_nonblocking(false);
    let _ = stream.set_nodelay(true);
    let connection = Arc::new(Connection {
        stream,
        writing: Mutex::default(),
    });
    mood.open
        .lock()
        .expect("no panic")
        .insert(number, Arc::clone(&connection));
    // However it ends, the other side has seen it.
    let _ = converse(name, &connection, mood);
    mood.open.lock().expect("no panic").remove(&number);
}

fn converse(name: &str, connection: &Connection, mood: &Mood) -> io::Result<()> {
    let mut first = [0; 8];
    (&connection.stream).read_exact(&mut first)?;
    if first != HEADER {
        // RabbitMQ says which protocol it wants, and closes.
        return (&connection.stream).write_all(&HEADER);
    }
    let wait = mood.greets_after.load(Ordering::Relaxed);
    std::thread::sleep(Duration::from_millis(wait));
    connection.send(&greeting(name))?;
    let mut reader = BufReader::with_capacity(16 * 1024, &connection.stream);
    let mut received = 0;
    loop {
        let frame = Frame::read(&mut reader)?;
        received += 8 + frame.payload.len() as u64;
        mood.received
            .fetch_add(8 + frame.payload.len() as u64, Ordering::Relaxed);
        let limit = mood.resets_after.load(Ordering::Relaxed);
        if limit != 0 && received >= limit {
            return SockRef::from(&connection.stream).set_linger(Some(Duration::ZERO));
        }
        match frame.as_method().map(|(method, _)| method) {
            Some(START_OK) => connection.send(&tune(mood.heartbeat.load(Ordering::Relaxed) as u16))?,
            Some(TUNE_OK) => {}
            Some(OPEN) => {
                mood.logged_in.fetch_add(1, Ordering::Relaxed);
                connection.send(&Frame::method(OPEN_OK, &short("")))?;
                if mood.alarm.load(Ordering::Relaxed) {
                    connection.send(&blocked())?;
                }
            }
            Some(CLOSE) => return connection.send(&Frame::method(CLOSE_OK, &[])),
            Some(CLOSE_OK) => return Ok(()),
            _ if matches!(frame.kind, BODY | HEARTBEAT) => connection.send(&frame)?,
            _ => return Err(io::Error::other("not expected")),
        }
    }
}

fn greeting(name: &str) -> Frame {
    let properties = table(&[
        ("product", "RabbitMQ"),
        ("version", "3.10.8"),
        ("cluster_name", name),
    ]);
    let arguments = [vec![0, 9], properties, long(b"PLAIN AMQPLAIN"), long(b"en_US")].concat();
    Frame::method(START, &arguments)
}

fn tune(heartbeat: u16) -> Frame {
    let arguments = [
        &2047u16.to_be_bytes()[..],
        &(FRAME_MAX as u32).to_be_bytes(),
        &heartbeat.to_be_bytes(),
    ];
    Frame::method(TUNE, &arguments.concat())
}

fn blocked() -> Frame {
    Frame::method(BLOCKED, &short("low on memory"))
}

fn forced() -> Frame {
    let text = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'";
    let arguments = [&320u16.to_be_bytes()[..], &short(text), &[0; 4]];
    Frame::method(CLOSE, &arguments.concat())
}
