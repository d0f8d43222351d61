//! Whatever a client of mode http does while another binary takes over, in the middle of it: downloads that last, of
//! known length and in chunks, uploads, WebSockets, one request after the other. Every octet is checked.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use warren_lab::{Host, Session, eventually};

use super::{CHECK, Installed, PATIENCE, UPGRADES};

const PORT: u16 = 8000;
/// Octets of a body that takes as long as the server likes.
const LONG: usize = 3_000_000;
/// And of its pieces, with a pause between two.
const PIECE: usize = 30_000;
const PAUSE: Duration = Duration::from_millis(10);
/// Of each kind.
const CLIENTS: usize = 4;

/// What is at a place of every body.
fn octet(place: usize) -> u8 {
    (place ^ (place >> 8) ^ (place >> 16)) as u8
}

fn body(from: usize, count: usize) -> Vec<u8> {
    (from..from + count).map(octet).collect()
}

/// A web server on a host that answers until the test is over.
fn serve(host: &Host) {
    let listener = host.enter(|| TcpListener::bind(("0.0.0.0", PORT)).unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Whoever leaves, as checks do, has left.
            std::thread::spawn(move || answer(stream));
        }
    });
}

/// Requests until there are no more.
fn answer(stream: TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    loop {
        let (line, length) = head(&mut reader)?;
        match line.split(' ').nth(1).unwrap_or_default() {
            "/sized" => {
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {LONG}\r\n\r\n")?;
                for from in (0..LONG).step_by(PIECE) {
                    stream.write_all(&body(from, PIECE))?;
                    std::thread::sleep(PAUSE);
                }
            }
            "/chunked" => {
                write!(stream, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
                for from in (0..LONG).step_by(PIECE) {
                    // In two writes, so that lines of chunks are cut, too.
                    let chunk = [format!("{PIECE:x}\r\n").as_bytes(), &body(from, PIECE), b"\r\n"].concat();
                    let (first, rest) = chunk.split_at(from % 7 + 1);
                    stream.write_all(first)?;
                    std::thread::sleep(PAUSE);
                    stream.write_all(rest)?;
                }
                stream.write_all(b"0\r\n\r\n")?;
            }
            "/upload" => {
                let mut heard = vec![0; length];
                reader.read_exact(&mut heard)?;
                let status = if heard == body(0, length) { 200 } else { 500 };
                write!(stream, "HTTP/1.1 {status} Read\r\ncontent-length: 0\r\n\r\n")?;
            }
            "/talk" => {
                let agreed = "HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
                stream.write_all(agreed.as_bytes())?;
                return io::copy(&mut reader, &mut stream).map(|_| ());
            }
            _ => {
                std::thread::sleep(Duration::from_millis(3));
                let (length, body) = (2000, body(0, 2000));
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n")?;
                stream.write_all(&body)?;
            }
        }
    }
}

/// The first line of a head, and how long its body is.
fn head(reader: &mut impl BufRead) -> io::Result<(String, usize)> {
    let (mut first, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end() {
            "" => return Ok((first, length)),
            text if first.is_empty() => first = text.to_owned(),
            text => {
                if let Some((name, value)) = text.split_once(':')
                    && name.eq_ignore_ascii_case("content-length")
                {
                    length = value.trim().parse().map_err(io::Error::other)?;
                }
            }
        }
    }
}

/// What a client does again and again on one connection, given the number of the round.
type Round = fn(&mut BufReader<TcpStream>, usize) -> io::Result<()>;

fn wrong(what: &str) -> io::Error {
    io::Error::other(what.to_owned())
}

fn ok(reader: &mut BufReader<TcpStream>) -> io::Result<usize> {
    match head(reader)? {
        (line, length) if line.starts_with("HTTP/1.1 200 ") => Ok(length),
        (line, _) => Err(wrong(&line)),
    }
}

fn small(reader: &mut BufReader<TcpStream>, _: usize) -> io::Result<()> {
    reader.get_mut().write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")?;
    let mut heard = vec![0; ok(reader)?];
    reader.read_exact(&mut heard)?;
    if heard == body(0, 2000) {
        Ok(())
    } else {
        Err(wrong("small"))
    }
}

fn sized(reader: &mut BufReader<TcpStream>, _: usize) -> io::Result<()> {
    reader
        .get_mut()
        .write_all(b"GET /sized HTTP/1.1\r\nhost: h\r\n\r\n")?;
    let mut heard = vec![0; ok(reader)?];
    reader.read_exact(&mut heard)?;
    if heard == body(0, LONG) {
        Ok(())
    } else {
        Err(wrong("sized"))
    }
}

fn chunked(reader: &mut BufReader<TcpStream>, _: usize) -> io::Result<()> {
    reader
        .get_mut()
        .write_all(b"GET /chunked HTTP/1.1\r\nhost: h\r\n\r\n")?;
    ok(reader)?;
    let mut place = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let size = usize::from_str_radix(line.trim_end(), 16).map_err(io::Error::other)?;
        let mut heard = vec![0; size + 2];
        reader.read_exact(&mut heard)?;
        if heard[..size] != body(place, size) || !heard.ends_with(b"\r\n") {
            return Err(wrong("chunked"));
        }
        place += size;
        if size == 0 {
            return if place == LONG {
                Ok(())
            } else {
                Err(wrong("too short"))
            };
        }
    }
}

fn upload(reader: &mut BufReader<TcpStream>, _: usize) -> io::Result<()> {
    let stream = reader.get_mut();
    write!(
        stream,
        "POST /upload HTTP/1.1\r\nhost: h\r\ncontent-length: {LONG}\r\n\r\n"
    )?;
    for from in (0..LONG).step_by(PIECE) {
        stream.write_all(&body(from, PIECE))?;
        std::thread::sleep(PAUSE);
    }
    ok(reader).map(|_| ())
}

fn talk(reader: &mut BufReader<TcpStream>, round: usize) -> io::Result<()> {
    if round == 0 {
        let asked = "GET /talk HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        reader.get_mut().write_all(asked.as_bytes())?;
        let (line, _) = head(reader)?;
        if !line.starts_with("HTTP/1.1 101 ") {
            return Err(wrong(&line));
        }
    }
    let said = body(round, 1 + round * 37 % 20_000);
    reader.get_mut().write_all(&said)?;
    let mut heard = vec![0; said.len()];
    reader.read_exact(&mut heard)?;
    if heard == said { Ok(()) } else { Err(wrong("talk")) }
}

/// Clients that go on until they are told to stop, each on one connection from beginning to end.
struct Clients {
    stop: Arc<AtomicBool>,
    rounds: Vec<(&'static str, Arc<AtomicUsize>)>,
    threads: Vec<JoinHandle<Result<(), String>>>,
}

impl Clients {
    fn start(host: &Host, entry: SocketAddr) -> Self {
        let kinds: [(&str, Round); 5] = [
            ("small", small),
            ("sized", sized),
            ("chunked", chunked),
            ("upload", upload),
            ("talk", talk),
        ];
        let stop = Arc::new(AtomicBool::new(false));
        let (mut rounds, mut threads) = (Vec::new(), Vec::new());
        for (name, kind) in kinds {
            let done = Arc::new(AtomicUsize::new(0));
            rounds.push((name, Arc::clone(&done)));
            for _ in 0..CLIENTS {
                let stream = host
                    .enter(|| TcpStream::connect_timeout(&entry, PATIENCE))
                    .unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
                threads.push(std::thread::spawn(move || {
                    let mut reader = BufReader::new(stream);
                    let mut round = 0;
                    while !stop.load(Relaxed) {
                        kind(&mut reader, round).map_err(|error| format!("{name} {round}: {error}"))?;
                        round += 1;
                        done.fetch_add(1, Relaxed);
                    }
                    Ok(())
                }));
            }
        }
        Self {
            stop,
            rounds,
            threads,
        }
    }

    /// Nobody has failed yet.
    fn go_on(&self) {
        assert!(self.threads.iter().all(|thread| !thread.is_finished()));
    }

    /// How often each kind has come to its end.
    fn end(self) -> Vec<(&'static str, usize)> {
        self.stop.store(true, Relaxed);
        let ended: Vec<_> = self
            .threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect();
        assert!(ended.iter().all(Result::is_ok), "{ended:?}");
        let count = |(name, done): (&'static str, Arc<AtomicUsize>)| (name, done.load(Relaxed));
        self.rounds.into_iter().map(count).collect()
    }
}

#[test]
fn upgrades_in_a_loop_cut_no_request_in_the_middle_and_no_tunnel() {
    let mut installed = Installed::start_with(CHECK, |text| {
        format!(
            "{text}\nlisten web\n    mode http\n    option httplog\n    bind *:{PORT}\n    \
             server web1 10.77.0.3:{PORT} check\n"
        )
    });
    let place = &installed.place;
    serve(&place.server("rabbitmq1").host);
    let entry = SocketAddr::from(([10, 77, 0, 1], PORT));
    let mut lasting: Vec<Session> = (0..20).map(|_| place.session()).collect();
    eventually(PATIENCE, "the web server is up", || {
        let mut stream = place
            .client
            .enter(|| TcpStream::connect_timeout(&entry, PATIENCE))?;
        small(&mut BufReader::new(stream.try_clone()?), 0)?;
        stream.flush()
    });
    let clients = Clients::start(&place.client, entry);
    for number in 0..UPGRADES {
        let before = installed.answering();
        let said = installed.upgrade();
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(said.status.success(), "{said:?}");
        assert!(
            text.contains(" 0 stay until they end"),
            "everything travels: {text}"
        );
        assert_ne!(installed.answering(), before);
        clients.go_on();
        for session in &mut lasting {
            session
                .exchange(3000)
                .unwrap_or_else(|error| panic!("after upgrade {number}: {error}"));
        }
        // Some of everything has to happen before the next one.
        std::thread::sleep(Duration::from_millis(300));
    }
    let start = Instant::now();
    let rounds = clients.end();
    println!("{rounds:?}, ended after {:?}", start.elapsed());
    assert!(rounds.iter().all(|(_, count)| *count >= CLIENTS), "{rounds:?}");
    let odd: Vec<String> = place
        .log
        .messages(" web/web1 ")
        .into_iter()
        .filter(|line| !line.contains(" 200 ") && !line.contains(" 101 "))
        .collect();
    assert!(odd.is_empty(), "{odd:#?}");
    assert!(
        installed.first.wait(PATIENCE).success(),
        "the first process has nothing left to do"
    );
}
